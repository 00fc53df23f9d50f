/*-------------------------------------------------------------------------
 *
 * storage.c
 *	  Keeps the history within infra_monitor.max_storage.
 *
 * A little below it the oldest days are emptied, one partition in a
 * transaction, as those that have expired.  When there is none before today, the
 * oldest months of rollups are, but for this one.  Where that is not enough, for
 * today alone is too large or somebody reads the oldest day, writers pause: at
 * the maximum those of detail, a little short of 10 % above it those of samples,
 * and at last those of health events, which are what tells of it.  So that no
 * single writing goes further, each of detail is told how much it may add.
 *
 * The size of all partitions is measured by the sampler from time to time, and
 * by a writer that would have to pause.  Between two such looks each writer
 * adds what its own table has grown by: it must not depend on the locks of the
 * others.  What is known stands in shared memory, under a lock; nothing is
 * allocated or raised under that.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "guc.h"
#include "miscadmin.h"
#include "partitions.h"
#include "port/atomics.h"
#include "rows.h"
#include "shmem.h"
#include "storage.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#define BYTES_PER_MB INT64CONST(1048576)

/* Short of 10 % above the maximum: for new partitions, and for events. */
#define RESERVE (BYTES_PER_MB * 3 / 4)

/* Partitions of today, or this month, one for each table. */
typedef struct ImonToday
{
	Oid			partition;		/* InvalidOid: not measured */
	int64		bytes;
} ImonToday;

typedef struct ImonStorage
{
	LWLock	   *lock;			/* guards all but "paused" */
	Oid			database;		/* that was measured, or InvalidOid */
	int64		bytes;			/* of the whole history */
	bool		removable;		/* is there a day before today, or a month? */
	ImonToday	today[IMON_N_HISTORY_TABLES];
	pg_atomic_uint64 paused;
} ImonStorage;

static ImonStorage *storage = NULL;

PG_FUNCTION_INFO_V1(imon_history_limit_1_0);

static Size
storage_size(void)
{
	return sizeof(ImonStorage);
}

static void
storage_init(void *part, LWLock *lock)
{
	ImonStorage *shared = (ImonStorage *) part;

	shared->lock = lock;
	shared->database = InvalidOid;
	pg_atomic_init_u64(&shared->paused, 0);
}

static const ImonShmemPart storage_part = {
	.name = "infra_monitor storage",
	.size = storage_size,
	.init = storage_init,
	.address = (void **) &storage
};

void
imon_storage_init(void)
{
	imon_shmem_register(&storage_part);
}

static int64
max_bytes(void)
{
	return imon_max_storage * BYTES_PER_MB;
}

/* What the history must never exceed. */
static int64
most_bytes(void)
{
	return max_bytes() + max_bytes() / 10;
}

/* At this size the oldest day is removed. */
static int64
removal_bytes(void)
{
	return max_bytes() - max_bytes() / 20;
}

/* At this size a writer pauses. */
static int64
pause_bytes(ImonWriter writer)
{
	switch (writer)
	{
		case IMON_WRITES_DETAIL:
			return max_bytes();
		case IMON_WRITES_SAMPLES:
			return most_bytes() - RESERVE;
		case IMON_WRITES_EVENTS:
			break;
	}
	return most_bytes() - RESERVE / 2;
}

/*
 * What one writing may make of it that began below the pause.  Of detail, half
 * of what is left to samples then: they go on when detail has paused.
 */
static int64
most_bytes_of(ImonWriter writer)
{
	if (writer == IMON_WRITES_DETAIL)
		return (max_bytes() + pause_bytes(IMON_WRITES_SAMPLES)) / 2;
	return most_bytes() - RESERVE / 2;
}

/* The size of this database's history; false if it has not been measured. */
static bool
known_bytes(int64 *bytes)
{
	bool		known;

	LWLockAcquire(storage->lock, LW_SHARED);
	known = storage->database == MyDatabaseId;
	*bytes = storage->bytes;
	LWLockRelease(storage->lock);
	return known;
}

static int
table_number(const char *table)
{
	for (int i = 0; i < IMON_N_HISTORY_TABLES; i++)
		if (strcmp(imon_history_tables[i], table) == 0)
			return i;
	elog(ERROR, "table \"%s\" is not one of the history", table);
	return -1;					/* keep compiler quiet */
}

/* Bytes of a partition with its indexes; 0 if it has gone. */
static int64
partition_bytes(Oid partition)
{
	return OidIsValid(partition) ?
		DatumGetInt64(DirectFunctionCall1(pg_total_relation_size,
										  ObjectIdGetDatum(partition))) : 0;
}

/*
 * Measures all partitions, and returns those that could be emptied, oldest day
 * first and in it the largest, and months behind all days, with columns table,
 * name and day.  Their number is in SPI_processed.  Needs SPI to be connected.
 */
static SPITupleTable *
measure(void)
{
	static const char *const sum =
		"SELECT coalesce(sum(p.bytes), 0)::pg_catalog.int8"
		" FROM infra_monitor.history_partitions() p";
	static const char *const removable =
		"SELECT p.history, p.name, p.day FROM infra_monitor.history_partitions() p"
		" WHERE p.has_rows AND p.day OPERATOR(pg_catalog.<)"
		"  pg_catalog.left($1, pg_catalog.length(p.day))"
		" ORDER BY pg_catalog.length(p.day) DESC, p.day, p.bytes DESC, p.history";
	TimestampTz now = GetCurrentTimestamp();
	Oid			types[1] = {TEXTOID};
	Datum		values[1];
	ImonToday	today[IMON_N_HISTORY_TABLES];
	int64		bytes;
	bool		isnull;

	/* these first: what is written in between counts once */
	for (int i = 0; i < IMON_N_HISTORY_TABLES; i++)
	{
		today[i].partition = imon_partition_of(imon_history_tables[i], now);
		today[i].bytes = partition_bytes(today[i].partition);
	}
	if (SPI_execute(sum, false, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not measure the history");
	bytes = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
										SPI_tuptable->tupdesc, 1, &isnull));
	values[0] = CStringGetTextDatum(imon_day_name(now));
	if (SPI_execute_with_args(removable, 1, types, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not list the partitions");

	LWLockAcquire(storage->lock, LW_EXCLUSIVE);
	storage->database = MyDatabaseId;
	storage->bytes = bytes;
	storage->removable = SPI_processed > 0;
	memcpy(storage->today, today, sizeof(today));
	LWLockRelease(storage->lock);
	return SPI_tuptable;
}

void
imon_note_written(const char *table, TimestampTz at)
{
	int			i = table_number(table);
	Oid			partition = imon_partition_of(table, at);
	int64		bytes = partition_bytes(partition);
	ImonToday  *today = &storage->today[i];

	LWLockAcquire(storage->lock, LW_EXCLUSIVE);
	if (storage->database == MyDatabaseId)
	{
		/* one that is new was counted as empty, or not at all */
		storage->bytes += bytes;
		if (today->partition == partition)
			storage->bytes -= today->bytes;
		today->partition = partition;
		today->bytes = bytes;
	}
	LWLockRelease(storage->lock);
}

int64
imon_room_to_write(ImonWriter writer, const char *table, TimestampTz at)
{
	int64		bytes;

	imon_note_written(table, at);
	if (!known_bytes(&bytes) || bytes >= pause_bytes(writer))
	{
		/* there may be room meanwhile */
		(void) measure();
		(void) known_bytes(&bytes);
	}
	if (bytes < pause_bytes(writer))
		return most_bytes_of(writer) - bytes;
	pg_atomic_fetch_add_u64(&storage->paused, 1);
	return 0;
}

void
imon_raise_no_room(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("the history has reached infra_monitor.max_storage"),
			 errdetail("Its oldest days are removed to make room, but that was not enough, or not possible."),
			 errhint("Raise infra_monitor.max_storage, or store less in a day; see check history_size.")));
}

/*
 * Empties one of these partitions, of the oldest day.  One that is being read
 * keeps the younger days; a table that cannot be written keeps only its own.
 * Returns false, and the first error, if there is none.
 */
static bool
empty_oldest(SPITupleTable *list, uint64 n, ErrorData **error)
{
	const char *locked_day = NULL;
	const char *failed[IMON_N_HISTORY_TABLES] = {NULL};

	for (uint64 i = 0; i < n; i++)
	{
		const char *table = SPI_getvalue(list->vals[i], list->tupdesc, 1);
		const char *name = SPI_getvalue(list->vals[i], list->tupdesc, 2);
		const char *day = SPI_getvalue(list->vals[i], list->tupdesc, 3);
		ErrorData  *failure = NULL;

		if (locked_day && strcmp(day, locked_day) != 0)
			return false;
		if (failed[table_number(table)])
			continue;
		if (imon_run_contained(imon_empty_partition, name, &failure))
			return true;
		if (*error == NULL)
			*error = failure;
		failed[table_number(table)] = name;
		if (failure->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
			locked_day = day;
	}
	return false;
}

bool
imon_limit_storage(void)
{
	ErrorData  *error = NULL;
	SPITupleTable *list;
	int64		bytes;
	bool		more = false;

	SPI_connect();
	list = measure();
	if (known_bytes(&bytes) && bytes >= removal_bytes())
		more = empty_oldest(list, SPI_processed, &error);
	SPI_finish();
	if (error && !more)
		ReThrowError(error);
	return more;
}

bool
imon_storage_presses(void)
{
	int64		bytes;

	return known_bytes(&bytes) && bytes >= removal_bytes() && storage->removable;
}

bool
imon_detail_paused(void)
{
	int64		bytes;

	return known_bytes(&bytes) && bytes >= pause_bytes(IMON_WRITES_DETAIL);
}

int64
imon_history_size(void)
{
	int64		bytes;

	LWLockAcquire(storage->lock, LW_SHARED);
	bytes = OidIsValid(storage->database) ? storage->bytes : -1;
	LWLockRelease(storage->lock);
	return bytes;
}

uint64
imon_writings_paused(void)
{
	return pg_atomic_read_u64(&storage->paused);
}

/*
 * SQL: history_limit(bytes), one row: max_bytes, level of a history of that
 * size: 0 nothing is to be done, 1 the oldest day is removed, 2 detail pauses,
 * 3 samples, too, 4 and health events.
 */
Datum
imon_history_limit_1_0(PG_FUNCTION_ARGS)
{
	Datum		values[2];
	bool		nulls[2] = {false};
	int64		bytes;
	int			level;

	imon_shmem_require();
	imon_require_arguments(fcinfo, 1);
	bytes = PG_GETARG_INT64(0);
	level = bytes >= removal_bytes() ? 1 : 0;
	for (int writer = IMON_WRITES_DETAIL; writer <= IMON_WRITES_EVENTS; writer++)
		if (bytes >= pause_bytes(writer))
			level = writer + 2;
	values[0] = Int64GetDatum(max_bytes());
	values[1] = Int32GetDatum(level);
	PG_RETURN_DATUM(imon_one_row(fcinfo, lengthof(values), values, nulls));
}
