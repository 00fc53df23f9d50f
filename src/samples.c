/*-------------------------------------------------------------------------
 *
 * samples.c
 *	  Takes samples.
 *
 * What a row says about the interval before it is a difference between two
 * readings of counters.  The reading before is kept in shared memory and
 * advances when the row is committed, so that an aborted sample loses nothing.
 * Differences never cross an epoch.
 *
 * What an epoch is made of is stored with its first sample, and once more with
 * the first of each day, so that it is kept as long as its samples.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "clock.h"
#include "commands/dbcommands.h"
#include "common/hashfn.h"
#include "compat.h"
#include "connections.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "guc.h"
#include "histogram_type.h"
#include "home_database.h"
#include "miscadmin.h"
#include "partitions.h"
#include "port/atomics.h"
#include "samples.h"
#include "shmem.h"
#include "statements.h"
#include "storage.h"
#include "system.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Counters of which a sample stores the growth, in the order of its columns. */
typedef enum ImonCounter
{
	COUNTER_CONNECTS,
	COUNTER_REJECTED,
	COUNTER_COMMITS,			/* from here on of pg_stat_database */
	COUNTER_ROLLBACKS,
	COUNTER_BLKS_HIT,
	COUNTER_BLKS_READ,
	COUNTER_TEMP_BYTES,
	COUNTER_DEADLOCKS,
	COUNTER_WAL_BYTES			/* of pg_stat_wal */
} ImonCounter;

#define N_COUNTERS (COUNTER_WAL_BYTES + 1)

typedef struct ImonReading
{
	bool		valid;
	int64		epoch;
	Oid			epoch_stored_in;	/* partition of "epochs" that has it */
	int64		boot_ms;
	TimestampTz pool_reset;
	TimestampTz statements_reset;
	TimestampTz statistics_reset;	/* the last one; 0 = never */
	uint32		databases_dropped;
	int64		counters[N_COUNTERS];
	uint64		active_sum;
	uint64		active_looks;
	uint64		latency[IMON_HISTOGRAM_BUCKETS];	/* of all statements */
} ImonReading;

typedef struct ImonSamples
{
	LWLock	   *lock;			/* guards "last" */
	ImonReading last;			/* of the last committed sample */
	pg_atomic_uint64 stored;

	/* active sessions seen, summed over the looks at them */
	pg_atomic_uint64 active_sum;
	pg_atomic_uint64 active_looks;
} ImonSamples;

static ImonSamples *samples = NULL;

/* The reading of a sample in this transaction, until it commits. */
typedef struct ImonPending
{
	SubTransactionId subid;		/* that took the sample */
	ImonReading reading;
} ImonPending;

/* All of this transaction, oldest first; in TopTransactionContext. */
static List *pending = NIL;

PG_FUNCTION_INFO_V1(imon_take_sample_1_0);

static Size
samples_size(void)
{
	return sizeof(ImonSamples);
}

static void
samples_init(void *part, LWLock *lock)
{
	ImonSamples *shared = (ImonSamples *) part;

	shared->lock = lock;
	shared->last.valid = false;
	pg_atomic_init_u64(&shared->stored, 0);
	pg_atomic_init_u64(&shared->active_sum, 0);
	pg_atomic_init_u64(&shared->active_looks, 0);
}

static const ImonShmemPart samples_part = {
	.name = "infra_monitor samples",
	.size = samples_size,
	.init = samples_init,
	.address = (void **) &samples
};

void
imon_samples_init(void)
{
	imon_shmem_register(&samples_part);
}

void
imon_add_activity(int active)
{
	pg_atomic_fetch_add_u64(&samples->active_sum, active);
	pg_atomic_fetch_add_u64(&samples->active_looks, 1);
}

uint64
imon_samples_stored(void)
{
	return pg_atomic_read_u64(&samples->stored);
}

/*
 * Transaction callback: the samples are stored, or they never were.  A
 * prepared transaction would be neither, and keep other writers waiting.
 */
static void
sample_ends(XactEvent event, void *arg)
{
	if (likely(pending == NIL))
		return;
	switch (event)
	{
		case XACT_EVENT_PRE_PREPARE:
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot PREPARE a transaction that has taken a sample")));
			break;
		case XACT_EVENT_COMMIT:
			LWLockAcquire(samples->lock, LW_EXCLUSIVE);
			samples->last = ((ImonPending *) llast(pending))->reading;
			LWLockRelease(samples->lock);
			pg_atomic_fetch_add_u64(&samples->stored, list_length(pending));
			pending = NIL;
			break;
		case XACT_EVENT_ABORT:
			pending = NIL;
			break;
		default:
			break;
	}
}

/* Subtransaction callback: forgets the samples that were rolled back with it. */
static void
sample_rolled_back(SubXactEvent event, SubTransactionId mySubid,
				   SubTransactionId parentSubid, void *arg)
{
	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	while (pending != NIL && ((ImonPending *) llast(pending))->subid >= mySubid)
		pending = list_delete_last(pending);
}

/* Keeps the reading until the transaction ends. */
static void
keep_reading(const ImonReading *reading)
{
	static bool registered = false;
	MemoryContext context;
	ImonPending *entry;

	if (!registered)
	{
		RegisterXactCallback(sample_ends, NULL);
		RegisterSubXactCallback(sample_rolled_back, NULL);
		registered = true;
	}
	context = MemoryContextSwitchTo(TopTransactionContext);
	entry = palloc(sizeof(ImonPending));
	entry->subid = GetCurrentSubTransactionId();
	entry->reading = *reading;
	pending = lappend(pending, entry);
	MemoryContextSwitchTo(context);
}

/* The reading that the next sample is compared with. */
static ImonReading
previous_reading(void)
{
	ImonReading reading;

	if (pending != NIL)
		return ((ImonPending *) llast(pending))->reading;
	LWLockAcquire(samples->lock, LW_SHARED);
	reading = samples->last;
	LWLockRelease(samples->lock);
	return reading;
}

/*
 * A number for everything that makes counters begin anew: shared memory, the
 * resets, the timeline, the server's version.  Of the resets of the cumulative
 * statistics each counts, not only the last: the clock may have been set back.
 */
static int64
compute_epoch(const ImonReading *reading, int64 statistics_resets)
{
	int64		parts[6];

	parts[0] = imon_shmem_created_at();
	parts[1] = reading->pool_reset;
	parts[2] = reading->statements_reset;
	parts[3] = statistics_resets;
	parts[4] = GetWALInsertionTimeLine();
	parts[5] = IMON_SERVER_MAJOR;
	return (int64) hash_bytes_extended((unsigned char *) parts,
									   sizeof(parts), 0);
}

/*
 * Reads all counters but those of the statements, which began at this moment.
 * Needs SPI to be connected.
 */
static void
read_counters(ImonReading *reading, TimestampTz statements_reset)
{
	/* sums of bigint are numeric, hence the casts */
	static const char *const query =
		"SELECT sum(d.xact_commit)::pg_catalog.int8,"
		" sum(d.xact_rollback)::pg_catalog.int8,"
		" sum(d.blks_hit)::pg_catalog.int8,"
		" sum(d.blks_read)::pg_catalog.int8,"
		" sum(d.temp_bytes)::pg_catalog.int8,"
		" sum(d.deadlocks)::pg_catalog.int8,"
		" (SELECT w.wal_bytes::pg_catalog.int8 FROM pg_catalog.pg_stat_wal w),"
		" pg_catalog.hashtextextended(pg_catalog.concat_ws(' ',"
		"  string_agg(pg_catalog.concat(d.datid, ':', extract(epoch FROM d.stats_reset)),"
		"   ' ' ORDER BY d.datid) FILTER (WHERE d.stats_reset IS NOT NULL),"
		"  (SELECT extract(epoch FROM w.stats_reset) FROM pg_catalog.pg_stat_wal w)), 0),"
		" greatest(max(d.stats_reset),"
		"  (SELECT w.stats_reset FROM pg_catalog.pg_stat_wal w))"
		" FROM pg_catalog.pg_stat_database d";
	ImonConnectionCounts connections;
	HeapTuple	row;
	TupleDesc	tupdesc;
	bool		isnull;
	int			column = 1;
	int64		resets;
	Datum		reset;

	if (SPI_execute(query, true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not read the cumulative statistics");
	row = SPI_tuptable->vals[0];
	tupdesc = SPI_tuptable->tupdesc;
	for (int i = COUNTER_COMMITS; i < N_COUNTERS; i++)
		reading->counters[i] =
			DatumGetInt64(SPI_getbinval(row, tupdesc, column++, &isnull));
	resets = DatumGetInt64(SPI_getbinval(row, tupdesc, column++, &isnull));
	reset = SPI_getbinval(row, tupdesc, column, &isnull);

	imon_connection_counts(&connections);
	reading->counters[COUNTER_CONNECTS] = (int64) connections.connects;
	reading->counters[COUNTER_REJECTED] = (int64) connections.rejected;
	reading->databases_dropped = imon_home_databases_dropped();
	reading->active_sum = pg_atomic_read_u64(&samples->active_sum);
	reading->active_looks = pg_atomic_read_u64(&samples->active_looks);
	reading->pool_reset = connections.stats_reset;
	reading->statements_reset = statements_reset;
	reading->statistics_reset = isnull ? 0 : DatumGetTimestampTz(reset);
	reading->epoch = compute_epoch(reading, resets);
	reading->epoch_stored_in = InvalidOid;
	reading->boot_ms = imon_boot_ms();
	reading->valid = true;
}

int64
imon_current_epoch(void)
{
	return imon_epoch_of_statements(imon_statements_reset_at());
}

int64
imon_epoch_of_statements(TimestampTz statements_reset)
{
	ImonReading reading;

	read_counters(&reading, statements_reset);
	return reading.epoch;
}

/*
 * Growth of a counter since the reading before.  False if it is not known: no
 * reading in this epoch, or a database was dropped and took its share along.
 */
static bool
growth(const ImonReading *last, const ImonReading *now, ImonCounter counter,
	   int64 *result)
{
	bool		of_databases = counter >= COUNTER_COMMITS &&
		counter < COUNTER_WAL_BYTES;

	if (!last->valid || last->epoch != now->epoch)
		return false;
	if (of_databases && last->databases_dropped != now->databases_dropped)
		return false;
	*result = now->counters[counter] - last->counters[counter];
	return *result >= 0;
}

/*
 * The durations of the statements that completed since the reading before, a
 * histogram.  False if they are not known.
 */
static bool
latency_growth(const ImonReading *last, const ImonReading *now, Datum *result)
{
	uint64		latency[IMON_HISTOGRAM_BUCKETS];

	if (!last->valid || last->epoch != now->epoch)
		return false;
	for (int i = 0; i < IMON_HISTOGRAM_BUCKETS; i++)
	{
		Assert(now->latency[i] >= last->latency[i]);
		if (now->latency[i] < last->latency[i])
			return false;
		latency[i] = now->latency[i] - last->latency[i];
	}
	*result = imon_histogram_datum(latency);
	return true;
}

/* Inserts the row of this sample.  Needs SPI to be connected. */
static void
insert_sample(TimestampTz at, const ImonReading *last, const ImonReading *now)
{
	static const char *const query =
		"INSERT INTO infra_monitor.samples"
		" SELECT $1, $2, p.*, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,"
		"  s.cpu_ratio, s.memory_used, s.memory_total, s.disk_used,"
		"  s.disk_total, h.document OPERATOR(pg_catalog.->>) 'status',"
		"  (h.document OPERATOR(pg_catalog.->>) 'score')::pg_catalog.float8, $13,"
		"  greatest(pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()"
		"   OPERATOR(pg_catalog.-) $1) OPERATOR(pg_catalog.*) 1000, 0),"
		"  pg_catalog.make_interval(secs => $14), $15"
		" FROM infra_monitor.pool_pressure p"
		"  CROSS JOIN infra_monitor.system_usage() s"
		"  LEFT JOIN infra_monitor.health_cache() h ON true";
	Oid			types[N_COUNTERS + 6];
	Datum		values[N_COUNTERS + 6] = {0};
	char		nulls[N_COUNTERS + 6];
	uint64		looks = now->active_looks - last->active_looks;
	int			n = 0;

	memset(nulls, ' ', sizeof(nulls));
	types[n] = TIMESTAMPTZOID;
	values[n++] = TimestampTzGetDatum(at);
	types[n] = INT8OID;
	values[n++] = Int64GetDatum(now->epoch);
	for (int i = 0; i < N_COUNTERS; i++)
	{
		int64		value = 0;

		if (!growth(last, now, i, &value))
			nulls[n] = 'n';
		types[n] = INT8OID;
		values[n++] = Int64GetDatum(value);
	}
	if (!last->valid || last->epoch != now->epoch || looks == 0)
	{
		nulls[n] = 'n';
		looks = 1;
	}
	types[n] = FLOAT8OID;
	values[n++] = Float8GetDatum((double) (now->active_sum - last->active_sum) / looks);
	types[n] = imon_histogram_type();
	if (!latency_growth(last, now, &values[n]))
		nulls[n] = 'n';
	n++;

	/* only the sampler promises another one */
	if (imon_home_sampler_pid() != MyProcPid)
		nulls[n] = 'n';
	types[n] = FLOAT8OID;
	values[n++] = Float8GetDatum(imon_sample_interval / 1000.0);
	if (!last->valid)
		nulls[n] = 'n';
	types[n] = FLOAT8OID;
	values[n++] = Float8GetDatum((double) (now->boot_ms - last->boot_ms));

	if (SPI_execute_with_args(query, n, types, values, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not insert a sample");
}

/*
 * Stores what the epoch of a sample is made of, unless this day's partition has
 * it.  Needs SPI to be connected and the writers' lock.
 */
static void
store_epoch(TimestampTz at, const ImonReading *last, ImonReading *now)
{
	static const char *const query =
		"INSERT INTO infra_monitor.epochs"
		" SELECT $1, $2, 1 OPERATOR(pg_catalog.+)"
		"  coalesce((SELECT max(e.number) FROM infra_monitor.epochs e), 0),"
		"  pg_catalog.pg_postmaster_start_time(), $3, $4,"
		"  pg_catalog.current_setting('server_version'), $5, $6, $7"
		" WHERE NOT EXISTS (SELECT FROM infra_monitor.epochs e"
		"  WHERE e.epoch OPERATOR(pg_catalog.=) $2"
		"   AND e.tableoid OPERATOR(pg_catalog.=) $8)";
	Oid			types[8] = {TIMESTAMPTZOID, INT8OID, TIMESTAMPTZOID, INT8OID,
	TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, OIDOID};
	Datum		values[8];
	char		nulls[8];

	now->epoch_stored_in = imon_partition_of("epochs", at);
	if (OidIsValid(now->epoch_stored_in) && last->valid &&
		last->epoch == now->epoch &&
		last->epoch_stored_in == now->epoch_stored_in)
		return;
	(void) imon_check_table("epochs");
	imon_ensure_partition("epochs", at);
	now->epoch_stored_in = imon_partition_of("epochs", at);

	memset(nulls, ' ', sizeof(nulls));
	values[0] = TimestampTzGetDatum(at);
	values[1] = Int64GetDatum(now->epoch);
	values[2] = TimestampTzGetDatum(imon_shmem_created_at());
	values[3] = Int64GetDatum((int64) GetWALInsertionTimeLine());
	values[4] = TimestampTzGetDatum(now->pool_reset);
	values[5] = TimestampTzGetDatum(now->statements_reset);
	values[6] = TimestampTzGetDatum(now->statistics_reset);
	if (now->statistics_reset == 0)
		nulls[6] = 'n';
	values[7] = ObjectIdGetDatum(now->epoch_stored_in);
	if (SPI_execute_with_args(query, lengthof(values), types, values, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not insert an epoch");
	imon_note_written("epochs", at);
}

void
imon_require_home(void)
{
	imon_shmem_require();
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot take a sample during recovery"),
				 errhint("Samples are stored on the primary server; live views work here.")));
	if (strcmp(get_database_name(MyDatabaseId), imon_database) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("samples are stored in database \"%s\" only",
						imon_database),
				 errhint("Connect to it, or change infra_monitor.database.")));
}

TimestampTz
imon_take_sample(void)
{
	TimestampTz at;
	TimestampTz statements_reset;
	ImonReading last;
	ImonReading now;
	ImonIdentity identity;

	imon_require_home();
	imon_begin_writing(&identity, "samples");
	at = GetCurrentTimestamp(); /* not earlier: another may have written */
	imon_look_at_processors();
	SPI_connect();
	imon_ensure_partition("samples", at);
	if (imon_room_to_write(IMON_WRITES_SAMPLES, "samples", at) == 0)
		imon_raise_no_room();
	last = previous_reading();
	statements_reset = imon_latency_of_all(now.latency);
	read_counters(&now, statements_reset);
	store_epoch(at, &last, &now);
	insert_sample(at, &last, &now);
	imon_note_written("samples", at);
	SPI_finish();
	imon_end_writing(&identity);

	keep_reading(&now);
	return at;
}

/* SQL: take_sample() returns the time of the sample. */
Datum
imon_take_sample_1_0(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(imon_take_sample());
}
