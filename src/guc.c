/*-------------------------------------------------------------------------
 *
 * guc.c
 *	  Configuration parameters.
 *
 * Check hooks are pure: they run in the postmaster and outside transactions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "guc.h"
#include "utils/guc.h"

#define MS_PER_S	1000
#define MS_PER_HOUR (3600 * MS_PER_S)
#define MIN_PER_DAY (24 * 60)

static const struct config_enum_entry track_options[] = {
	{"none", IMON_TRACK_NONE, false},
	{"top", IMON_TRACK_TOP, false},
	{"all", IMON_TRACK_ALL, false},
	{NULL, 0, false}
};
#define MIN_ACTIVITY_INTERVAL 100	/* ms */
#define TEXTFILE_SUFFIX ".prom"
#define MAX_SNAPSHOT_PATH (MAXPGPATH - 64)	/* we put something behind it */

bool		imon_enabled = true;
int			imon_track = IMON_TRACK_TOP;
int			imon_max_statements = 5000;
char	   *imon_database = NULL;
char	   *imon_system_root = NULL;
char	   *imon_textfile = NULL;
char	   *imon_snapshot_directory = NULL;
int			imon_sample_interval = 10 * MS_PER_S;
int			imon_health_interval = 30 * MS_PER_S;
int			imon_activity_interval = 1 * MS_PER_S;
int			imon_statement_interval = 60 * MS_PER_S;
int			imon_top_statements = 100;
int			imon_database_check_interval = MS_PER_HOUR;
int			imon_idle_threshold = 5 * 60 * MS_PER_S;
int			imon_retention = 7 * MIN_PER_DAY;
int			imon_rollup_retention = 400 * MIN_PER_DAY;
int			imon_max_storage = 1024;
int			imon_slow_query_threshold = 1 * MS_PER_S;
bool		imon_slow_query_plan = false;
bool		imon_log_parameters = false;
int			imon_slow_query_log_size = 1024;
int			imon_slow_query_text_size = 1024;
IMON_HOT_DATA int imon_repeated_query_threshold = 20;
IMON_HOT_DATA int imon_tracked_depth = 1;
IMON_HOT_DATA uint64 imon_slow_ns = UINT64CONST(1000000000);

/*
 * Refuses what cannot be the name of a database.  Whether it exists is not
 * known here; the sampler waits for it.
 */
static bool
check_database(char **newval, void **extra, GucSource source)
{
	if (**newval != '\0' && strlen(*newval) < NAMEDATALEN)
		return true;

	if (**newval == '\0')
		GUC_check_errdetail("The name is empty.");
	else
		GUC_check_errdetail("The name has more than %d bytes.", NAMEDATALEN - 1);
	GUC_check_errhint("Set it to the name of the database in which samples are stored, or set infra_monitor.enabled to off.");
	return false;
}

/* Refuses what would depend on the directory of the process that reads it. */
static bool
check_system_root(char **newval, void **extra, GucSource source)
{
	if (**newval == '\0' || is_absolute_path(*newval))
		return true;
	GUC_check_errdetail("It is neither empty nor an absolute path.");
	return false;
}

/* Refuses what a collector of such files would not read, or what is too long. */
static bool
check_textfile(char **newval, void **extra, GucSource source)
{
	const char *name = strrchr(*newval, '/');
	size_t		suffix = strlen(TEXTFILE_SUFFIX);

	if (**newval == '\0')
		return true;
	if (!is_absolute_path(*newval))
		GUC_check_errdetail("It is neither empty nor an absolute path.");
	else if (name == NULL || strlen(name + 1) <= suffix ||
			 strcmp(*newval + strlen(*newval) - suffix, TEXTFILE_SUFFIX) != 0)
		GUC_check_errdetail("The name of the file does not end in \"%s\".", TEXTFILE_SUFFIX);
	else if (strlen(*newval) >= MAX_SNAPSHOT_PATH)
		GUC_check_errdetail("The path has more than %d bytes.", MAX_SNAPSHOT_PATH - 1);
	else
		return true;
	GUC_check_errhint("Set it to a file in the directory of node_exporter's --collector.textfile.directory.");
	return false;
}

static bool
check_snapshot_directory(char **newval, void **extra, GucSource source)
{
	if (strlen(*newval) < MAX_SNAPSHOT_PATH)
		return true;
	GUC_check_errdetail("The path has more than %d bytes.", MAX_SNAPSHOT_PATH - 1);
	return false;
}

/*
 * Refuses looks so often that the sampler would do nothing else, and more in an
 * hour than what counts them has room for.
 */
static bool
check_activity_interval(int *newval, void **extra, GucSource source)
{
	if (*newval == 0 || *newval >= MIN_ACTIVITY_INTERVAL)
		return true;
	GUC_check_errdetail("It must be 0 or at least %d ms.",
						MIN_ACTIVITY_INTERVAL);
	return false;
}

/* Statements are counted down to this depth. */
static int
tracked_depth(bool enabled, int track)
{
	if (!enabled || track == IMON_TRACK_NONE)
		return 0;
	return track == IMON_TRACK_ALL ? INT_MAX : 1;
}

static void
assign_enabled(bool newval, void *extra)
{
	imon_tracked_depth = tracked_depth(newval, imon_track);
}

static void
assign_track(int newval, void *extra)
{
	imon_tracked_depth = tracked_depth(imon_enabled, newval);
}

static void
assign_slow_query_threshold(int newval, void *extra)
{
	imon_slow_ns = newval < 0 ? PG_UINT64_MAX : (uint64) newval * 1000000;
}

/*
 * Defines an interval in milliseconds that the sampler follows after a reload.
 */
static void
define_interval(const char *name, const char *summary, const char *detail,
				int *variable, int min, int max, GucIntCheckHook check)
{
	DefineCustomIntVariable(name, summary, detail,
							variable, *variable, min, max,
							PGC_SIGHUP, GUC_UNIT_MS,
							check, NULL, NULL);
}

/* Defines what is kept of slow queries, and how much. */
static void
define_slow_log(void)
{
	DefineCustomBoolVariable("infra_monitor.slow_query_plan",
							 "Keeps the plans of slow queries that complete.",
							 "They are written when a query ends.",
							 &imon_slow_query_plan, false,
							 PGC_SUSET, 0,
							 NULL, NULL, NULL);

	DefineCustomBoolVariable("infra_monitor.log_parameters",
							 "Keeps literals and comments in texts of slow queries and plans.",
							 "Those of commands that can carry a secret are never kept.",
							 &imon_log_parameters, false,
							 PGC_SUSET, 0,
							 NULL, NULL, NULL);

	DefineCustomIntVariable("infra_monitor.slow_query_log_size",
							"Number of slow executions that are kept in memory.",
							NULL,
							&imon_slow_query_log_size, imon_slow_query_log_size,
							16, 100000,
							PGC_POSTMASTER, 0,
							NULL, NULL, NULL);

	DefineCustomIntVariable("infra_monitor.slow_query_text_size",
							"Size at which texts of slow queries and plans are clipped.",
							"A plan has room for what its query leaves, and a quarter more.",
							&imon_slow_query_text_size, imon_slow_query_text_size,
							64, IMON_MAX_SLOW_TEXT,
							PGC_POSTMASTER, GUC_UNIT_BYTE,
							NULL, NULL, NULL);
}

/* Defines how often the sampler does what, and what it stores of it. */
static void
define_intervals(void)
{
	define_interval("infra_monitor.sample_interval",
					"Time between two samples.", NULL,
					&imon_sample_interval, MS_PER_S, MS_PER_HOUR, NULL);
	define_interval("infra_monitor.health_interval",
					"Time between two evaluations of the health checks.", NULL,
					&imon_health_interval, MS_PER_S, MS_PER_HOUR, NULL);
	define_interval("infra_monitor.activity_interval",
					"Time between two looks at the states of all backends.",
					"Zero turns them off; average active sessions are then not known, and nobody is charged in lock_blame.",
					&imon_activity_interval, 0, 60 * MS_PER_S,
					check_activity_interval);

	define_interval("infra_monitor.statement_interval",
					"Time between two writings of what is kept in detail.", NULL,
					&imon_statement_interval, MS_PER_S, MS_PER_HOUR, NULL);

	DefineCustomIntVariable("infra_monitor.top_statements",
							"Number of statements of which history is stored, by each of several measures.",
							"Those that are not among the first by time, calls, time of failures or p95 of an interval are added up.",
							&imon_top_statements, imon_top_statements,
							10, 5000,
							PGC_SIGHUP, 0,
							NULL, NULL, NULL);

	define_interval("infra_monitor.database_check_interval",
					"Time between two rounds through the catalogs of all databases.",
					"Zero turns them off; what needs them is then not known.",
					&imon_database_check_interval, 0, 24 * MS_PER_HOUR, NULL);
	define_interval("infra_monitor.idle_threshold",
					"Idle time after which a session counts as forgotten.",
					"It is then named in what is proposed to free connections.",
					&imon_idle_threshold, MS_PER_S, 24 * MS_PER_HOUR, NULL);
}

/* Defines how long history is kept, and how much of it. */
static void
define_retention(void)
{
	DefineCustomIntVariable("infra_monitor.retention",
							"Age at which stored samples are removed, a day at a time.",
							NULL,
							&imon_retention, imon_retention,
							60, 3650 * MIN_PER_DAY,
							PGC_SIGHUP, GUC_UNIT_MIN,
							NULL, NULL, NULL);

	DefineCustomIntVariable("infra_monitor.rollup_retention",
							"Age at which what hours and days were rolled up to is removed, a month at a time.",
							NULL,
							&imon_rollup_retention, imon_rollup_retention,
							60, 3650 * MIN_PER_DAY,
							PGC_SIGHUP, GUC_UNIT_MIN,
							NULL, NULL, NULL);

	DefineCustomIntVariable("infra_monitor.max_storage",
							"Size of the history at which its oldest days are removed.",
							"Where that is not enough, first detail and then samples are no longer written.",
							&imon_max_storage, imon_max_storage,
							16, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MB,
							NULL, NULL, NULL);
}

/* Defines the files that others read. */
static void
define_files(void)
{
	DefineCustomStringVariable("infra_monitor.textfile",
							   "File to which metrics are written, for node_exporter's textfile collector.",
							   "An absolute path that ends in .prom; empty means none.",
							   &imon_textfile, "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY,
							   check_textfile, NULL, NULL);

	DefineCustomStringVariable("infra_monitor.snapshot_directory",
							   "Directory in which health.json is written.",
							   "Relative to the data directory unless absolute; empty means none.",
							   &imon_snapshot_directory, "pg_stat_tmp",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY,
							   check_snapshot_directory, NULL, NULL);
}

void
imon_guc_init(void)
{
	DefineCustomBoolVariable("infra_monitor.enabled",
							 "Collects statistics and takes samples.",
							 "When off, hooks return at once and the sampler idles.",
							 &imon_enabled, true,
							 PGC_SIGHUP, 0,
							 NULL, assign_enabled, NULL);

	DefineCustomEnumVariable("infra_monitor.track",
							 "Which statements are counted.",
							 "\"top\": those that clients send; \"all\": also those inside of functions.",
							 &imon_track, IMON_TRACK_TOP, track_options,
							 PGC_SUSET, 0,
							 NULL, assign_track, NULL);

	DefineCustomIntVariable("infra_monitor.max_statements",
							"Number of statements that are told apart.",
							"Those not used for longest are then added up by database.",
							&imon_max_statements, imon_max_statements,
							100, 1000000,
							PGC_POSTMASTER, 0,
							NULL, NULL, NULL);

	DefineCustomStringVariable("infra_monitor.database",
							   "Name of the database in which the sampler stores history.",
							   "The extension must be created in it.",
							   &imon_database, "postgres",
							   PGC_SIGHUP, 0,
							   check_database, NULL, NULL);

	DefineCustomStringVariable("infra_monitor.system_root",
							   "Directory below which /proc and /sys of the machine are read.",
							   "For a server in a container that has those of the host elsewhere; empty means the root.",
							   &imon_system_root, "",
							   PGC_SUSET, GUC_SUPERUSER_ONLY,
							   check_system_root, NULL, NULL);

	define_intervals();

	define_retention();

	DefineCustomIntVariable("infra_monitor.slow_query_threshold",
							"Execution time above which a query counts as slow.",
							"-1 turns it off, 0 means every query.",
							&imon_slow_query_threshold, imon_slow_query_threshold,
							-1, 24 * MS_PER_HOUR,
							PGC_SUSET, GUC_UNIT_MS,
							NULL, assign_slow_query_threshold, NULL);

	define_files();
	define_slow_log();
	DefineCustomIntVariable("infra_monitor.repeated_query_threshold",
							"Executions of a statement in a row that count as a loop.",
							"Zero turns it off.",
							&imon_repeated_query_threshold, imon_repeated_query_threshold,
							0, 100000,
							PGC_SUSET, 0,
							NULL, NULL, NULL);

	MarkGUCPrefixReserved("infra_monitor");
}
