/*-------------------------------------------------------------------------
 *
 * samples.c
 *	  Writes samples and looks after the partitions they are stored in.
 *
 * Writers are serialised by a lock on the extension itself, which nobody can
 * take without being its owner and which DROP EXTENSION takes too.
 *
 * What a row says about the interval before it is a difference between two
 * readings of counters.  The reading before is kept in shared memory and
 * advances when the row is committed, so that an aborted sample loses nothing.
 * Differences never cross an epoch.
 *
 * Tables are written with the rights of their owner.  A table that somebody
 * has given triggers, rules, row security or another owner is left alone: no
 * foreign code may run with our rights.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "common/hashfn.h"
#include "compat.h"
#include "connections.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "guc.h"
#include "home_database.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "samples.h"
#include "shmem.h"
#include "storage/lmgr.h"
#include "system.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"
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
	uint32		databases_dropped;
	int64		counters[N_COUNTERS];
	uint64		active_sum;
	uint64		active_looks;
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
 * resets, the timeline, the server's version.
 */
static int64
current_epoch(TimestampTz pool_reset, TimestampTz statistics_reset)
{
	int64		parts[5];

	parts[0] = imon_shmem_created_at();
	parts[1] = pool_reset;
	parts[2] = statistics_reset;
	parts[3] = GetWALInsertionTimeLine();
	parts[4] = IMON_SERVER_MAJOR;
	return (int64) hash_bytes_extended((unsigned char *) parts,
									   sizeof(parts), 0);
}

/* Reads all counters.  Needs SPI to be connected. */
static void
read_counters(ImonReading *reading)
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
		" greatest(max(d.stats_reset),"
		"  (SELECT w.stats_reset FROM pg_catalog.pg_stat_wal w))"
		" FROM pg_catalog.pg_stat_database d";
	ImonConnectionCounts connections;
	HeapTuple	row;
	TupleDesc	tupdesc;
	bool		isnull;
	Datum		reset;

	if (SPI_execute(query, true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not read the cumulative statistics");
	row = SPI_tuptable->vals[0];
	tupdesc = SPI_tuptable->tupdesc;
	for (int i = COUNTER_COMMITS; i < N_COUNTERS; i++)
		reading->counters[i] =
			DatumGetInt64(SPI_getbinval(row, tupdesc, i - COUNTER_COMMITS + 1,
										&isnull));
	reset = SPI_getbinval(row, tupdesc, N_COUNTERS - COUNTER_COMMITS + 1, &isnull);

	imon_connection_counts(&connections);
	reading->counters[COUNTER_CONNECTS] = (int64) connections.connects;
	reading->counters[COUNTER_REJECTED] = (int64) connections.rejected;
	reading->databases_dropped = imon_home_databases_dropped();
	reading->active_sum = pg_atomic_read_u64(&samples->active_sum);
	reading->active_looks = pg_atomic_read_u64(&samples->active_looks);
	reading->epoch = current_epoch(connections.stats_reset,
								   isnull ? 0 : DatumGetTimestampTz(reset));
	reading->valid = true;
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

/* Runs a command that returns nothing.  Needs SPI to be connected. */
static void
run_command(const char *command)
{
	int			result = SPI_execute(command, false, 0);

	if (result < 0)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(result));
}

/*
 * Refuses a table whose writing could run code that is not ours, and locks it
 * so that this stays so until the transaction ends.
 */
static void
check_table(Oid table)
{
	Relation	rel = table_open(table, RowExclusiveLock);
	bool		altered = rel->trigdesc != NULL || rel->rd_rules != NULL ||
		rel->rd_rel->relrowsecurity ||
		!superuser_arg(rel->rd_rel->relowner);

	if (altered)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" has been altered and is not written",
						RelationGetRelationName(rel)),
				 errdetail("It has a trigger, a rule, row security, or an owner who is no superuser."),
				 errhint("Undo that, or drop and create the extension again.")));
	table_close(rel, NoLock);
}

/* A day as it stands in the name of its partition: 20260131. */
static char *
day_name(TimestampTz day)
{
	pg_time_t	seconds = timestamptz_to_time_t(day);
	struct pg_tm *tm = pg_gmtime(&seconds);

	return psprintf("%04d%02d%02d",
					tm->tm_year + 1900, tm->tm_mon + 1, tm->tm_mday);
}

/* The beginning of the UTC day of a moment. */
static TimestampTz
day_of(TimestampTz moment)
{
	TimestampTz remainder = moment % USECS_PER_DAY;

	return moment - (remainder < 0 ? remainder + USECS_PER_DAY : remainder);
}

/*
 * Creates the partition of a UTC day unless it exists, and makes it a member
 * of the extension, so that pg_dump leaves it out and DROP EXTENSION drops it.
 * Created alone and then attached, the parent is never locked against writing.
 * Returns true if it was created.  Needs SPI to be connected and the writers'
 * lock.
 */
static bool
ensure_partition(Oid schema, TimestampTz day)
{
	const char *name = psprintf("samples_%s", day_name(day));
	Oid			partition = get_relname_relid(name, schema);

	if (OidIsValid(partition))
	{
		check_table(partition);
		return false;
	}
	run_command(psprintf("CREATE TABLE infra_monitor.%s"
						 " (LIKE infra_monitor.samples INCLUDING DEFAULTS)", name));
	run_command(psprintf("ALTER TABLE infra_monitor.samples"
						 " ATTACH PARTITION infra_monitor.%s"
						 " FOR VALUES FROM ('%s 00:00:00+00') TO ('%s 00:00:00+00')",
						 name, day_name(day), day_name(day + USECS_PER_DAY)));
	run_command(psprintf("ALTER EXTENSION infra_monitor"
						 " ADD TABLE infra_monitor.%s", name));
	return true;
}

/* State to restore when we stop acting as the owner of the tables. */
typedef struct ImonIdentity
{
	Oid			schema;			/* infra_monitor */
	Oid			user;
	int			security_context;
	int			guc_level;
} ImonIdentity;

/*
 * Begins writing: takes the writers' lock, checks the table, and acts as its
 * owner with a fixed search path.  An error undoes it by itself.
 */
static void
begin_writing(ImonIdentity *identity)
{
	Oid			parent;
	HeapTuple	tuple;
	Oid			owner;

	LockDatabaseObject(ExtensionRelationId,
					   get_extension_oid("infra_monitor", false), 0,
					   ShareUpdateExclusiveLock);
	identity->schema = get_namespace_oid("infra_monitor", false);
	parent = get_relname_relid("samples", identity->schema);
	if (!OidIsValid(parent))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"infra_monitor.samples\" does not exist")));
	check_table(parent);

	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(parent));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", parent);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);

	GetUserIdAndSecContext(&identity->user, &identity->security_context);
	SetUserIdAndSecContext(owner, identity->security_context |
						   SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	identity->guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp",
							 PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

static void
end_writing(const ImonIdentity *identity)
{
	AtEOXact_GUC(false, identity->guc_level);
	SetUserIdAndSecContext(identity->user, identity->security_context);
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
		"  (h.document OPERATOR(pg_catalog.->>) 'score')::pg_catalog.float8,"
		"  pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()"
		"   OPERATOR(pg_catalog.-) $1) OPERATOR(pg_catalog.*) 1000"
		" FROM infra_monitor.pool_pressure p"
		"  CROSS JOIN infra_monitor.system_usage() s"
		"  LEFT JOIN infra_monitor.health_cache() h ON true";
	Oid			types[N_COUNTERS + 3];
	Datum		values[N_COUNTERS + 3];
	char		nulls[N_COUNTERS + 3];
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

	if (SPI_execute_with_args(query, n, types, values, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not insert a sample");
}

TimestampTz
imon_take_sample(void)
{
	TimestampTz at;
	ImonReading last;
	ImonReading now;
	ImonIdentity identity;

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

	begin_writing(&identity);
	at = GetCurrentTimestamp(); /* not earlier: another may have written */
	imon_look_at_processors();
	SPI_connect();
	ensure_partition(identity.schema, day_of(at));
	last = previous_reading();
	read_counters(&now);
	insert_sample(at, &last, &now);
	SPI_finish();
	end_writing(&identity);

	keep_reading(&now);
	return at;
}

/* SQL: take_sample() returns the time of the sample. */
Datum
imon_take_sample_1_0(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(imon_take_sample());
}

/*
 * One step towards removing the partitions whose days are past retention.
 * First their rows, oldest first: TRUNCATE locks that partition only.  Then,
 * each in a later transaction, the empty tables: that locks the parent.
 * Returns true if there was something to do.  Needs SPI to be connected and the
 * writers' lock.
 */
static bool
remove_expired(Oid schema, TimestampTz now)
{
	static const char *const query =
		"SELECT c.relname::pg_catalog.text, pg_catalog.pg_relation_size(c.oid)"
		" FROM pg_catalog.pg_inherits i"
		"  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.inhrelid"
		" WHERE i.inhparent OPERATOR(pg_catalog.=) 'infra_monitor.samples'::pg_catalog.regclass"
		"  AND c.relname OPERATOR(pg_catalog.~) '^samples_[0-9]{8}$'"
		"  AND c.relname OPERATOR(pg_catalog.<) $1"
		" ORDER BY pg_catalog.pg_relation_size(c.oid) OPERATOR(pg_catalog.=) 0, c.relname"
		" LIMIT 1";
	TimestampTz expired = now - (TimestampTz) imon_retention * USECS_PER_MINUTE;
	Oid			types[1] = {NAMEOID};
	Datum		values[1];
	const char *name;
	bool		isnull;

	/* a day has expired when its end has */
	values[0] = DirectFunctionCall1(namein,
									CStringGetDatum(psprintf("samples_%s",
															 day_name(day_of(expired)))));
	if (SPI_execute_with_args(query, 1, types, values, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not list the partitions");
	if (SPI_processed == 0)
		return false;

	name = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	check_table(get_relname_relid(name, schema));
	if (DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
									SPI_tuptable->tupdesc, 2, &isnull)) > 0)
		run_command(psprintf("TRUNCATE infra_monitor.%s", name));
	else
	{
		run_command(psprintf("ALTER EXTENSION infra_monitor"
							 " DROP TABLE infra_monitor.%s", name));
		run_command(psprintf("DROP TABLE infra_monitor.%s", name));
	}
	return true;
}

bool
imon_maintain_partitions(void)
{
	TimestampTz now = GetCurrentTimestamp();
	ImonIdentity identity;
	bool		more;

	begin_writing(&identity);
	SPI_connect();
	more = ensure_partition(identity.schema, day_of(now));
	more |= ensure_partition(identity.schema, day_of(now) + USECS_PER_DAY);

	/* not in one transaction: removing may fail, what was made must stay */
	if (!more)
		more = remove_expired(identity.schema, now);
	SPI_finish();
	end_writing(&identity);
	return more;
}
