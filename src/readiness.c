/*-------------------------------------------------------------------------
 *
 * readiness.c
 *	  The audit before a launch: collects its facts and keeps its result.
 *
 * A fact is a function infra_monitor.fact_<name>() that returns jsonb.  What
 * follows from the facts is decided in readiness.sql, by functions of nothing
 * but them.
 *
 * The cached result is written by the sampler only, under the part's lock.  The
 * sampler sees all, so what not everybody may see is kept apart.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "contained.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "readiness.h"
#include "rows.h"
#include "shmem.h"
#include "storage/fd.h"
#include "system.h"
#include "texts.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define CACHE_SIZE (16 * 1024)	/* the longest texts in four bytes a letter
								 * fit */
#define NAMES_SIZE (4 * 1024)

typedef struct ImonReadiness
{
	LWLock	   *lock;			/* guards all but "overflows" */
	TimestampTz evaluated_at;	/* 0 = never */
	Size		length;			/* of the document */
	char		document[CACHE_SIZE];	/* jsonb as text, valid in "encoding" */
	Size		names_length;
	char		names[NAMES_SIZE];	/* the same, for readers of pg_authid */
	int			encoding;
	pg_atomic_uint64 overflows;
} ImonReadiness;

static ImonReadiness *readiness = NULL;

static const char *const facts[] = {
	"settings", "pending", "files", "server", "machine", "hba", "roles",
	"timeouts", "passwords", "schema", "archiver", "replication", "slots",
	"extensions"
};

PG_FUNCTION_INFO_V1(imon_collect_facts_1_0);
PG_FUNCTION_INFO_V1(imon_machine_size_1_0);
PG_FUNCTION_INFO_V1(imon_readiness_cache_1_0);
PG_FUNCTION_INFO_V1(imon_setting_number_1_0);

static Size
readiness_size(void)
{
	return sizeof(ImonReadiness);
}

static void
readiness_init(void *part, LWLock *lock)
{
	ImonReadiness *shared = (ImonReadiness *) part;

	shared->lock = lock;
	pg_atomic_init_u64(&shared->overflows, 0);
}

static const ImonShmemPart readiness_part = {
	.name = "infra_monitor readiness",
	.size = readiness_size,
	.init = readiness_init,
	.address = (void **) &readiness
};

void
imon_readiness_init(void)
{
	imon_shmem_register(&readiness_part);
}

uint64
imon_readiness_overflows(void)
{
	return pg_atomic_read_u64(&readiness->overflows);
}

/*
 * Calls the function of a fact in a subtransaction of its own, and appends what
 * it returned to "known", or its error to "errors".  Only a cancel goes on to
 * the caller.  Needs SPI to be connected.
 */
static void
collect_fact(const char *name, StringInfo known, StringInfo errors)
{
	char	   *call = psprintf("SELECT infra_monitor.fact_%s()", name);
	ImonContained contained;
	char	   *volatile fact = NULL;
	ErrorData  *volatile error = NULL;

	imon_begin_contained(&contained);
	PG_TRY();
	{
		if (SPI_execute(call, true, 1) != SPI_OK_SELECT || SPI_processed != 1)
			elog(ERROR, "could not collect fact \"%s\"", name);
		fact = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
		imon_end_contained(&contained);
	}
	PG_CATCH();
	{
		error = imon_catch_contained(&contained);
	}
	PG_END_TRY();

	if (error == NULL)
		appendStringInfo(known, "\"%s\": %s, ", name, fact ? fact : "null");
	else if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		ReThrowError(error);
	else
	{
		appendStringInfo(errors, "%s\"%s\": ", errors->len > 0 ? ", " : "", name);
		escape_json(errors, error->message);
	}
}

/*
 * SQL: collect_facts(), all facts by name; those that could not be collected
 * are missing, and their errors stand in "errors".
 */
Datum
imon_collect_facts_1_0(PG_FUNCTION_ARGS)
{
	StringInfoData known;
	StringInfoData errors;

	initStringInfo(&known);
	initStringInfo(&errors);
	SPI_connect();
	for (int i = 0; i < lengthof(facts); i++)
		collect_fact(facts[i], &known, &errors);
	SPI_finish();

	return DirectFunctionCall1(jsonb_in,
							   CStringGetDatum(psprintf("{%s\"errors\": {%s}}",
														known.data, errors.data)));
}

/* The number in a file of one line, -1 if there is none. */
static int64
read_number(const char *path)
{
	FILE	   *file = AllocateFile(path, "r");
	long long	number;

	if (file == NULL)
		return -1;
	if (fscanf(file, "%lld", &number) != 1)
		number = -1;
	FreeFile(file);
	return number;
}

/*
 * The lowest limit of a control group and those around it, or "memory" if that
 * is lower.  In a container the path may be that of the host; what can be found
 * of it is then the container's own group, at the root.
 */
static int64
limit_in_group(const char *root, const char *group, const char *file,
			   int64 memory)
{
	char	   *path = pstrdup(group);

	for (;;)
	{
		int64		limit = read_number(psprintf("%s%s/%s", root, path, file));
		char	   *slash = strrchr(path, '/');

		if (limit > 0)
			memory = Min(memory, limit);
		if (slash == NULL)
			return memory;
		*slash = '\0';
	}
}

/*
 * What the server may have of the machine's memory: see cgroups(7), a line of
 * /proc/self/cgroup is hierarchy:controllers:path.
 */
static int64
limited_memory(int64 memory)
{
	FILE	   *file = AllocateFile("/proc/self/cgroup", "r");
	char		line[MAXPGPATH + 64];

	if (file == NULL)
		return memory;
	while (fgets(line, sizeof(line), file))
	{
		char	   *controllers = strchr(line, ':');
		char	   *path = controllers ? strchr(controllers + 1, ':') : NULL;

		if (path == NULL)
			continue;
		*path++ = '\0';
		path[strcspn(path, "\n")] = '\0';
		if (strcmp(controllers, ":") == 0)
			memory = limit_in_group("/sys/fs/cgroup", path, "memory.max", memory);
		else if (strstr(controllers, "memory"))
			memory = limit_in_group("/sys/fs/cgroup/memory", path,
									"memory.limit_in_bytes", memory);
	}
	FreeFile(file);
	return memory;
}

/* Where goes what the server writes to its standard error? */
static const char *
standard_error(void)
{
	struct stat ours;
	struct stat null;

	if (fstat(fileno(stderr), &ours) != 0)
		return "closed";
	if (S_ISCHR(ours.st_mode) && stat("/dev/null", &null) == 0 &&
		ours.st_rdev == null.st_rdev)
		return "/dev/null";
	if (isatty(fileno(stderr)))
		return "terminal";
	return "file or pipe";
}

/*
 * SQL: machine_size(), one row: memory, wal_disk, standard_error; NULL is not
 * known.
 */
Datum
imon_machine_size_1_0(PG_FUNCTION_ARGS)
{
	ImonSystem	usage;
	struct statvfs fs;
	Datum		values[3] = {0};
	bool		nulls[3] = {false};

	imon_read_system(&usage);
	nulls[0] = usage.memory_total < 0;
	if (!nulls[0])
		values[0] = Int64GetDatum(limited_memory(usage.memory_total));
	nulls[1] = statvfs("pg_wal", &fs) != 0;
	if (!nulls[1])
		values[1] = Int64GetDatum((int64) fs.f_blocks * (int64) fs.f_frsize);
	values[2] = CStringGetTextDatum(standard_error());

	PG_RETURN_DATUM(imon_one_row(fcinfo, lengthof(values), values, nulls));
}

/* Units of pg_settings; those of blocks begin with a digit. */
static const struct
{
	const char *name;
	int			flag;
	double		factor;			/* to bytes or ms */
}			units[] =

{
	{"B", GUC_UNIT_BYTE, 1},
	{"kB", GUC_UNIT_KB, 1024},
	{"MB", GUC_UNIT_MB, 1024 * 1024},
	{"ms", GUC_UNIT_MS, 1},
	{"s", GUC_UNIT_S, 1000},
	{"min", GUC_UNIT_MIN, 60000},
};

/*
 * SQL: setting_number(value, unit), the value of a setting as a number of bytes
 * or ms, or as it is if the unit is NULL or the value negative.
 */
Datum
imon_setting_number_1_0(PG_FUNCTION_ARGS)
{
	const char *hint;
	double		number;
	double		factor = 1;
	int			flag = 0;

	imon_require_arguments(fcinfo, 2);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	if (!PG_ARGISNULL(1))
	{
		char	   *unit = text_to_cstring(PG_GETARG_TEXT_PP(1));

		if (unit[0] >= '0' && unit[0] <= '9')
		{
			flag = GUC_UNIT_BLOCKS;
			factor = BLCKSZ;
		}
		for (int i = 0; i < lengthof(units); i++)
			if (strcmp(unit, units[i].name) == 0)
			{
				flag = units[i].flag;
				factor = units[i].factor;
			}
	}
	if (!parse_real(text_to_cstring(PG_GETARG_TEXT_PP(0)), &number, flag, &hint))
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(number < 0 ? number : number * factor);
}

/* Stores a result; one that is too large leaves the old one and is counted. */
static void
store_document(const char *document, const char *names, TimestampTz at)
{
	Size		length = strlen(document);
	Size		names_length = strlen(names);

	if (length > CACHE_SIZE || names_length > NAMES_SIZE)
	{
		pg_atomic_fetch_add_u64(&readiness->overflows, 1);
		return;
	}
	LWLockAcquire(readiness->lock, LW_EXCLUSIVE);
	memcpy(readiness->document, document, length);
	readiness->length = length;
	memcpy(readiness->names, names, names_length);
	readiness->names_length = names_length;
	readiness->encoding = GetDatabaseEncoding();
	readiness->evaluated_at = at;
	LWLockRelease(readiness->lock);
}

/* A column of the row that SPI returned, in an encoding that is kept. */
static char *
kept_column(int number)
{
	return imon_convert(SPI_getvalue(SPI_tuptable->vals[0],
									 SPI_tuptable->tupdesc, number),
						GetDatabaseEncoding());
}

void
imon_evaluate_readiness(void)
{
	static const char *const query =
		"SELECT document, named FROM infra_monitor.readiness_document()";
	TimestampTz now = GetCurrentTimestamp();

	SPI_connect();
	if (SPI_execute(query, true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not evaluate the production readiness");
	store_document(kept_column(1), kept_column(2), now);
	SPI_finish();
}

/* May the caller read what the sampler has read of passwords? */
static bool
may_see_names(void)
{
	return pg_class_aclcheck(AuthIdRelationId, GetUserId(), ACL_SELECT) == ACLCHECK_OK;
}

/* Stored text in an encoding as jsonb. */
static Datum
jsonb_datum(const char *text, Size length, int encoding)
{
	return DirectFunctionCall1(jsonb_in,
							   CStringGetDatum(imon_convert(pnstrdup(text, length), encoding)));
}

/*
 * SQL: readiness_cache(), the last result, what only some may see of it, and its
 * time; no row if there was none, or if the library was not preloaded.
 */
Datum
imon_readiness_cache_1_0(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo;
	ImonReadiness *copy;
	Datum		values[3] = {0};
	bool		nulls[3] = {false};

	rsinfo = imon_begin_rows(fcinfo, lengthof(values));
	if (readiness == NULL)
		return (Datum) 0;

	copy = palloc(sizeof(ImonReadiness));
	LWLockAcquire(readiness->lock, LW_SHARED);
	memcpy(copy, readiness, sizeof(ImonReadiness));
	LWLockRelease(readiness->lock);
	if (copy->evaluated_at == 0)
		return (Datum) 0;

	values[0] = jsonb_datum(copy->document, copy->length, copy->encoding);
	nulls[1] = !may_see_names();
	if (!nulls[1])
		values[1] = jsonb_datum(copy->names, copy->names_length, copy->encoding);
	values[2] = TimestampTzGetDatum(copy->evaluated_at);
	imon_put_row(rsinfo, values, nulls);
	return (Datum) 0;
}
