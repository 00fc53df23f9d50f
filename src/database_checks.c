/*-------------------------------------------------------------------------
 *
 * database_checks.c
 *	  Rounds through all databases, and what was found in them.
 *
 * Some of what ails a database is in its own catalogs only.  So each
 * infra_monitor.database_check_interval the sampler goes through the databases
 * in the order of their OIDs, and sends a background worker of a few
 * milliseconds to one after the other, some time apart: never to templates, nor
 * to databases that allow no connections.  If there is no slot for a worker, the
 * round waits.  That a command may want a database alone is the business of
 * home_database.c.
 *
 * The worker writes what it finds to shared memory, which works on a standby,
 * too; after a start of the server the first round is soon.  For each check the
 * MAX_FINDINGS highest values above zero are kept.  All is guarded by the part's
 * lock.
 *
 * A table that was loaded a moment ago is beyond what autovacuum is meant to
 * allow, but autovacuum had no time to come.  So more than that counts only if
 * the round before has found it, too, and another round is wanted soon.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "database_checks.h"
#include "database_visit.h"
#include "fmgr.h"
#include "home_database.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "rows.h"
#include "shmem.h"
#include "texts.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define MAX_FINDINGS 32			/* of each check */
#define MAX_MESSAGE 256
#define START_SECONDS 15		/* then a worker that is not there won't come */
#define INVALID_CONNLIMIT (-2)	/* of a database whose DROP was interrupted */
#define ALL_CHECKS ((1U << N_IMON_DATABASE_CHECKS) - 1)
#define FINDING_COLUMNS 5
#define ROUND_COLUMNS 5

static const char *const check_names[N_IMON_DATABASE_CHECKS] = {
	[IMON_INVALID_INDEXES] = "invalid_indexes",
	[IMON_SEQUENCE_EXHAUSTION] = "sequence_exhaustion",
	[IMON_VACUUM_DEBT] = "vacuum_debt",
	[IMON_STALE_STATISTICS] = "stale_statistics",
};

typedef struct ImonFinding
{
	Oid			database;		/* InvalidOid = free */
	uint32		round;			/* in which the database was last seen */
	TimestampTz at;
	double		found;
	double		value;			/* as far as it counts */
	char		datname[NAMEDATALEN];
	char		message[MAX_MESSAGE];
	int			encoding;		/* of the message */
} ImonFinding;

typedef struct ImonRound
{
	TimestampTz started_at;		/* 0 = there was none */
	TimestampTz finished_at;	/* 0 = not yet */
	int			examined;		/* databases */
	int			failed;			/* at least one check has no value */
	bool		unconfirmed;	/* some value counts less than was found */
	char		error[MAX_MESSAGE]; /* of the last that failed, or "" */
	int			error_encoding;
} ImonRound;

typedef struct ImonDatabaseChecks
{
	LWLock	   *lock;			/* guards the rest */
	uint32		round;			/* number of the current one */
	ImonRound	current;
	ImonRound	last;			/* that is complete */
	Oid			visited;		/* last in this round */
	Oid			before;			/* the one before */
	bool		away;			/* and not yet accounted for */
	TimestampTz sent_at;
	uint32		done;			/* bits of the checks that have a value */
	ImonFinding findings[N_IMON_DATABASE_CHECKS][MAX_FINDINGS];
} ImonDatabaseChecks;

static ImonDatabaseChecks *checks = NULL;

/* The last worker that this process has sent. */
static BackgroundWorkerHandle *visitor = NULL;

PG_FUNCTION_INFO_V1(imon_database_findings_1_0);
PG_FUNCTION_INFO_V1(imon_database_round_1_0);

static Size
checks_size(void)
{
	return sizeof(ImonDatabaseChecks);
}

static void
checks_init(void *part, LWLock *lock)
{
	((ImonDatabaseChecks *) part)->lock = lock;
}

static const ImonShmemPart checks_part = {
	.name = "infra_monitor database checks",
	.size = checks_size,
	.init = checks_init,
	.address = (void **) &checks
};

void
imon_database_checks_init(void)
{
	imon_shmem_register(&checks_part);
}

/* Copies a message, clipped between two characters; returns its encoding. */
static int
copy_message(char *copy, const char *message)
{
	int			encoding = GetDatabaseEncoding();
	int			length = pg_encoding_mbcliplen(encoding, message,
											   strlen(message), MAX_MESSAGE - 1);

	memcpy(copy, message, length);
	copy[length] = '\0';
	return encoding;
}

/*
 * Where the value of a check in a database goes: to the one that it replaces, a
 * free place, or that of the lowest value if it is higher; else NULL.  The lock
 * must be held.
 */
static ImonFinding *
place_for(ImonDatabaseCheck check, Oid database, double value)
{
	ImonFinding *place = NULL;

	for (int i = 0; i < MAX_FINDINGS; i++)
	{
		ImonFinding *finding = &checks->findings[check][i];

		if (finding->database == database)
			return finding;
		if (!OidIsValid(finding->database))
			place = finding;
		else if (place == NULL || (OidIsValid(place->database) &&
								   finding->found < place->found))
			place = finding;
	}
	if (OidIsValid(place->database) && place->found >= value)
		return NULL;
	return place;
}

/*
 * How much of a value counts, which replaces another one of the same database,
 * or none: no more than the one before, or than is allowed.
 */
static double
confirmed(ImonDatabaseCheck check, Oid database, double value,
		  const ImonFinding *before)
{
	double		allowed = 1;

	if (check != IMON_VACUUM_DEBT && check != IMON_STALE_STATISTICS)
		return value;
	if (before->database == database)
		allowed = Max(allowed, before->found);
	return Min(value, allowed);
}

void
imon_keep_finding(ImonDatabaseCheck check, double value, const char *message)
{
	TimestampTz now = GetCurrentTimestamp();
	char	   *name = get_database_name(MyDatabaseId);
	ImonFinding *place;

	LWLockAcquire(checks->lock, LW_EXCLUSIVE);
	checks->done |= 1U << check;
	place = place_for(check, MyDatabaseId, value);
	if (place != NULL)
	{
		place->value = confirmed(check, MyDatabaseId, value, place);
		checks->current.unconfirmed |= place->value < value;
		place->found = value;
		place->database = value > 0 ? MyDatabaseId : InvalidOid;
		place->round = checks->round;
		place->at = now;
		strlcpy(place->datname, name ? name : "", NAMEDATALEN);
		place->encoding = copy_message(place->message, message);
	}
	LWLockRelease(checks->lock);
}

void
imon_keep_visit_error(const char *message)
{
	char	   *name = get_database_name(MyDatabaseId);
	char	   *error = psprintf("\"%s\": %s", name ? name : "", message);

	LWLockAcquire(checks->lock, LW_EXCLUSIVE);
	checks->current.error_encoding = copy_message(checks->current.error, error);
	LWLockRelease(checks->lock);
}

/*
 * Accounts for a visit that has ended.  What was found before stays where
 * nothing was found out.  The lock must be held.
 */
static void
account_for_visit(void)
{
	if (!checks->away)
		return;
	checks->away = false;
	if (checks->done != ALL_CHECKS && imon_visit_was_cut_short())
	{
		checks->visited = checks->before;	/* once more, if it is still there */
		return;
	}
	checks->current.examined++;
	if (checks->done == ALL_CHECKS)
		return;

	checks->current.failed++;
	for (int check = 0; check < N_IMON_DATABASE_CHECKS; check++)
		for (int i = 0; i < MAX_FINDINGS; i++)
			if (checks->findings[check][i].database == checks->visited)
				checks->findings[check][i].round = checks->round;
}

/* Begins a round, unless one is under way. */
static void
begin_round(void)
{
	LWLockAcquire(checks->lock, LW_EXCLUSIVE);
	if (checks->current.started_at == 0)
	{
		checks->round++;
		memset(&checks->current, 0, sizeof(checks->current));
		checks->current.started_at = GetCurrentTimestamp();
		checks->visited = InvalidOid;
	}
	LWLockRelease(checks->lock);
}

/* Ends the round; databases that were not seen in it are gone. */
static void
end_round(void)
{
	LWLockAcquire(checks->lock, LW_EXCLUSIVE);
	for (int check = 0; check < N_IMON_DATABASE_CHECKS; check++)
		for (int i = 0; i < MAX_FINDINGS; i++)
			if (checks->findings[check][i].round != checks->round)
				checks->findings[check][i].database = InvalidOid;
	checks->last = checks->current;
	checks->last.finished_at = GetCurrentTimestamp();
	checks->current.started_at = 0;
	LWLockRelease(checks->lock);
}

/* The database behind this one in the round, or InvalidOid. */
static Oid
next_database(Oid last)
{
	Relation	catalog = table_open(DatabaseRelationId, AccessShareLock);
	Oid			next = InvalidOid;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_database_oid, BTGreaterStrategyNumber, F_OIDGT,
				ObjectIdGetDatum(last));
	scan = systable_beginscan(catalog, DatabaseOidIndexId, true, NULL, 1, &key);
	while (!OidIsValid(next) && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

		if (database->datallowconn && !database->datistemplate &&
			database->datconnlimit != INVALID_CONNLIMIT)
			next = database->oid;
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return next;
}

/* Starts a worker for a database.  False if there is no slot for one. */
static bool
send_visitor(Oid database)
{
	BackgroundWorker worker;
	MemoryContext context;
	bool		sent;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_ConsistentState;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "infra_monitor", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, IMON_VISITOR_MAIN, BGW_MAXLEN);
	strlcpy(worker.bgw_name, "infra_monitor database check", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "infra_monitor database check", BGW_MAXLEN);
	worker.bgw_main_arg = ObjectIdGetDatum(database);

	if (visitor != NULL)
		pfree(visitor);
	visitor = NULL;
	context = MemoryContextSwitchTo(TopMemoryContext);
	sent = RegisterDynamicBackgroundWorker(&worker, &visitor);
	MemoryContextSwitchTo(context);
	return sent;
}

/*
 * Will the worker that was sent never come?  It has ended without a word, or
 * has had enough time, and was perhaps sent by a sampler before this one.
 */
static bool
visitor_is_lost(void)
{
	pid_t		pid;

	if (imon_visitor_pid() != 0)
		return false;
	if (visitor != NULL && GetBackgroundWorkerPid(visitor, &pid) == BGWH_STOPPED)
		return true;
	return TimestampDifferenceExceeds(checks->sent_at, GetCurrentTimestamp(),
									  START_SECONDS * 1000);
}

bool
imon_visit_databases(void)
{
	Oid			next;

	if (OidIsValid(imon_visited_database()))
	{
		if (!visitor_is_lost())
			return false;
		imon_forget_visit();
	}
	begin_round();
	LWLockAcquire(checks->lock, LW_EXCLUSIVE);
	account_for_visit();
	LWLockRelease(checks->lock);

	next = next_database(checks->visited);
	if (!OidIsValid(next))
	{
		end_round();
		return true;
	}
	LWLockAcquire(checks->lock, LW_EXCLUSIVE);
	checks->done = 0;
	checks->sent_at = GetCurrentTimestamp();
	LWLockRelease(checks->lock);
	if (!imon_announce_visit(next))
		return false;

	/* from here on nobody drops it unnoticed; was it before? */
	if (next_database(checks->visited) != next || !send_visitor(next))
	{
		imon_forget_visit();
		return false;
	}
	LWLockAcquire(checks->lock, LW_EXCLUSIVE);
	checks->before = checks->visited;
	checks->visited = next;
	checks->away = true;
	LWLockRelease(checks->lock);
	return false;
}

bool
imon_round_is_unconfirmed(void)
{
	bool		unconfirmed;

	LWLockAcquire(checks->lock, LW_SHARED);
	unconfirmed = checks->last.unconfirmed;
	LWLockRelease(checks->lock);
	return unconfirmed;
}

/*
 * SQL: database_findings(), a row for each that is kept: check_name, datname,
 * value, message, examined_at.
 */
Datum
imon_database_findings_1_0(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo;
	ImonDatabaseChecks *copy;

	imon_shmem_require();
	rsinfo = imon_begin_rows(fcinfo, FINDING_COLUMNS);
	copy = palloc(sizeof(ImonDatabaseChecks));
	LWLockAcquire(checks->lock, LW_SHARED);
	memcpy(copy, checks, sizeof(ImonDatabaseChecks));
	LWLockRelease(checks->lock);

	for (int i = 0; i < N_IMON_DATABASE_CHECKS * MAX_FINDINGS; i++)
	{
		ImonFinding *finding = &copy->findings[i / MAX_FINDINGS][i % MAX_FINDINGS];
		Datum		values[FINDING_COLUMNS];
		bool		nulls[FINDING_COLUMNS] = {false};

		if (!OidIsValid(finding->database))
			continue;
		values[0] = CStringGetTextDatum(check_names[i / MAX_FINDINGS]);
		values[1] = imon_name_datum(finding->datname, &nulls[1]);
		values[2] = Float8GetDatum(finding->value);
		values[3] = CStringGetTextDatum(imon_convert(finding->message,
													 finding->encoding));
		values[4] = TimestampTzGetDatum(finding->at);
		imon_put_row(rsinfo, values, nulls);
	}
	return (Datum) 0;
}

/*
 * SQL: database_round(), one row about the last complete round: started_at,
 * finished_at, examined, failed, error.
 */
Datum
imon_database_round_1_0(PG_FUNCTION_ARGS)
{
	Datum		values[ROUND_COLUMNS];
	bool		nulls[ROUND_COLUMNS] = {false};
	ImonRound	last;

	imon_shmem_require();
	LWLockAcquire(checks->lock, LW_SHARED);
	last = checks->last;
	LWLockRelease(checks->lock);

	values[0] = imon_moment_datum(last.started_at, &nulls[0]);
	values[1] = imon_moment_datum(last.finished_at, &nulls[1]);
	values[2] = Int32GetDatum(last.examined);
	values[3] = Int32GetDatum(last.failed);
	values[4] = CStringGetTextDatum(imon_convert(last.error, last.error_encoding));
	nulls[2] = nulls[3] = nulls[1];
	nulls[4] = last.error[0] == '\0';
	PG_RETURN_DATUM(imon_one_row(fcinfo, ROUND_COLUMNS, values, nulls));
}
