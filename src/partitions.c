/*-------------------------------------------------------------------------
 *
 * partitions.c
 *	  Writes to the tables of the history, and looks after their partitions.
 *
 * Writers are serialised by a lock on the extension itself, which nobody can
 * take without being its owner and which DROP EXTENSION takes too.
 *
 * Tables are written with the rights of their owner.  A table that somebody
 * has given triggers, rules, row security, another owner or functions of his own
 * is left alone: no foreign code may run with our rights.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "contained.h"
#include "executor/spi.h"
#include "foreign_code.h"
#include "guc.h"
#include "miscadmin.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "partitions.h"
#include "port/atomics.h"
#include "rows.h"
#include "shmem.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#define MAX_INDEXED (INT64CONST(512) * 1024 * 1024) /* bytes of a partition */

/* The partition of which an index could not be made. */
static char unindexable[NAMEDATALEN] = "";

const char *const imon_history_tables[IMON_N_HISTORY_TABLES] = {
	"samples", "wait_samples", "statement_samples", "statement_texts",
	"slow_query_samples", "health_events", "epochs", "setting_samples",
	"samples_hourly", "wait_samples_hourly", "statement_samples_hourly",
	"samples_daily", "wait_samples_daily", "statement_samples_daily",
	"statement_texts_monthly"
};

typedef struct ImonPartitions
{
	pg_atomic_uint64 rollups_lost;
} ImonPartitions;

static ImonPartitions *shared = NULL;

PG_FUNCTION_INFO_V1(imon_history_tables_1_0);

static Size
partitions_size(void)
{
	return sizeof(ImonPartitions);
}

static void
partitions_init(void *part, LWLock *lock)
{
	pg_atomic_init_u64(&((ImonPartitions *) part)->rollups_lost, 0);
}

static const ImonShmemPart partitions_part = {
	.name = "infra_monitor partitions",
	.size = partitions_size,
	.init = partitions_init,
	.address = (void **) &shared
};

void
imon_partitions_init(void)
{
	imon_shmem_register(&partitions_part);
}

uint64
imon_rollups_lost(void)
{
	return pg_atomic_read_u64(&shared->rollups_lost);
}

/* Runs a command that returns nothing.  Needs SPI to be connected. */
static void
run_command(const char *command)
{
	int			result = SPI_execute(command, false, 0);

	if (result < 0)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(result));
}

/* Refuses a table. */
static void
refuse_table(Relation rel, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" has been altered and is not written: %s",
					RelationGetRelationName(rel), why),
			 errhint("Undo that, or drop and create the extension again.")));
}

/*
 * Refuses a table whose writing could run code that is not ours, and locks it
 * so that this stays so until the transaction ends.
 */
static void
check_table(Oid table, char kind)
{
	Relation	rel = table_open(table, RowExclusiveLock);
	const char *alteration = imon_alteration(rel, kind);

	if (alteration)
		refuse_table(rel, alteration);
	table_close(rel, NoLock);
}

char *
imon_day_name(TimestampTz moment)
{
	pg_time_t	seconds = timestamptz_to_time_t(moment);
	struct pg_tm *tm = pg_gmtime(&seconds);

	return psprintf("%04d%02d%02d",
					tm->tm_year + 1900, tm->tm_mon + 1, tm->tm_mday);
}

/* Is the table partitioned by month? */
static bool
is_of_months(const char *table)
{
	for (int i = IMON_N_TABLES_OF_DAYS; i < IMON_N_HISTORY_TABLES; i++)
		if (strcmp(imon_history_tables[i], table) == 0)
			return true;
	return false;
}

/* Is it one of those that have partitions? */
static bool
is_partitioned(const char *table)
{
	for (int i = 0; i < IMON_N_HISTORY_TABLES; i++)
		if (strcmp(imon_history_tables[i], table) == 0)
			return true;
	return false;
}

/* A table of ours.  Raises an error unless it is there. */
static Oid
table_oid(const char *table)
{
	Oid			found =
		get_relname_relid(table, get_namespace_oid("infra_monitor", false));

	if (!OidIsValid(found))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"infra_monitor.%s\" does not exist", table)));
	return found;
}

/* The beginning of the UTC day of a moment. */
static TimestampTz
day_of(TimestampTz moment)
{
	TimestampTz remainder = moment % USECS_PER_DAY;

	return moment - (remainder < 0 ? remainder + USECS_PER_DAY : remainder);
}

/* The beginning of the UTC month of a moment. */
static TimestampTz
month_of(TimestampTz moment)
{
	TimestampTz day = day_of(moment);
	pg_time_t	seconds = timestamptz_to_time_t(day);

	return day - (pg_gmtime(&seconds)->tm_mday - 1) * USECS_PER_DAY;
}

TimestampTz
imon_period_of(const char *table, TimestampTz moment)
{
	return is_of_months(table) ? month_of(moment) : day_of(moment);
}

/* The end of the partition in which a moment is. */
static TimestampTz
period_end(const char *table, TimestampTz moment)
{
	if (is_of_months(table))
		return month_of(month_of(moment) + 31 * USECS_PER_DAY);
	return day_of(moment) + USECS_PER_DAY;
}

/* The name of a table's partition for a moment: with the day, or month. */
static char *
partition_name(const char *table, TimestampTz moment)
{
	return psprintf("%s_%.*s", table, is_of_months(table) ? 6 : 8,
					imon_day_name(moment));
}

Oid
imon_partition_of(const char *table, TimestampTz moment)
{
	return get_relname_relid(partition_name(table, moment),
							 get_namespace_oid("infra_monitor", false));
}

/* The partition to which rows of a moment go; InvalidOid if there is none. */
static Oid
target_of(Relation parent, TimestampTz moment)
{
	PartitionKey key = RelationGetPartitionKey(parent);
	PartitionDesc desc = RelationGetPartitionDesc(parent, true);
	PartitionBoundInfo bounds = desc->boundinfo;
	Datum		value = TimestampTzGetDatum(moment);
	bool		equal;
	int			index;

	if (key->strategy != PARTITION_STRATEGY_RANGE || key->partnatts != 1 ||
		key->parttypid[0] != TIMESTAMPTZOID ||
		key->partopfamily[0] >= FirstNormalObjectId || desc->nparts == 0)
		return InvalidOid;
	index = bounds->indexes[1 +
							partition_range_datum_bsearch(key->partsupfunc,
														  key->partcollation,
														  bounds, 1, &value,
														  &equal)];
	if (index < 0)
		index = bounds->default_index;
	return index < 0 ? InvalidOid : desc->oids[index];
}

/*
 * Refuses a table of which rows of a moment do not go to the partition that we
 * look after.
 */
static void
check_target(const char *table, TimestampTz moment, Oid partition)
{
	Relation	parent = table_open(table_oid(table), RowExclusiveLock);

	if (target_of(parent, moment) != partition)
		refuse_table(parent, psprintf("rows of %s do not go to partition \"%s\"",
									  imon_day_name(moment),
									  partition_name(table, moment)));
	table_close(parent, NoLock);
}

/* Creates a table's partition for a moment.  Needs SPI to be connected. */
static void
make_partition(const char *table, TimestampTz moment)
{
	const char *name = partition_name(table, moment);

	run_command(psprintf("CREATE TABLE infra_monitor.%s"
						 " (LIKE infra_monitor.%s INCLUDING DEFAULTS)",
						 name, table));
	run_command(psprintf("ALTER TABLE infra_monitor.%s"
						 " ATTACH PARTITION infra_monitor.%s"
						 " FOR VALUES FROM ('%s 00:00:00+00') TO ('%s 00:00:00+00')",
						 table, name,
						 imon_day_name(imon_period_of(table, moment)),
						 imon_day_name(period_end(table, moment))));
	run_command(psprintf("ALTER EXTENSION infra_monitor"
						 " ADD TABLE infra_monitor.%s", name));
}

bool
imon_ensure_partition(const char *table, TimestampTz moment)
{
	Oid			partition = imon_partition_of(table, moment);

	if (!OidIsValid(partition))
	{
		make_partition(table, moment);
		return true;
	}
	check_table(partition, RELKIND_RELATION);
	check_target(table, moment, partition);
	return false;
}

Oid
imon_check_table(const char *table)
{
	Oid			found = table_oid(table);

	check_table(found, is_partitioned(table) ?
				RELKIND_PARTITIONED_TABLE : RELKIND_RELATION);
	return found;
}

/*
 * A setting for as long as we write.  It wins over what somebody has set for the
 * session, the role or the database.
 */
static void
set_for_writing(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

void
imon_begin_writing(ImonIdentity *identity, const char *table)
{
	Oid			parent;
	HeapTuple	tuple;
	Oid			owner;

	LockDatabaseObject(ExtensionRelationId,
					   get_extension_oid("infra_monitor", false), 0,
					   ShareUpdateExclusiveLock);
	parent = imon_check_table(table);
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
	set_for_writing("search_path", "pg_catalog, pg_temp");
	set_for_writing("default_tablespace", "");
	set_for_writing("default_table_access_method", DEFAULT_TABLE_ACCESS_METHOD);
}

void
imon_end_writing(const ImonIdentity *identity)
{
	AtEOXact_GUC(false, identity->guc_level);
	SetUserIdAndSecContext(identity->user, identity->security_context);
}

/* Days, or months, before that of this moment are past retention: their ends are. */
static TimestampTz
expired_before(bool of_months, TimestampTz now)
{
	return now - (TimestampTz) (of_months ? imon_rollup_retention : imon_retention) *
		USECS_PER_MINUTE;
}

TimestampTz
imon_rollups_kept_from(TimestampTz now)
{
	return month_of(expired_before(true, now));
}

/*
 * Is there anything in a partition of this day, 20260131, that is to be rolled
 * up?  Needs SPI to be connected.
 */
static bool
to_be_rolled_up(const char *table, const char *day)
{
	static const char *const query =
		"SELECT FROM infra_monitor.rollups_due() d"
		" WHERE d.source OPERATOR(pg_catalog.=) $1"
		"  AND d.begins_at OPERATOR(pg_catalog.<)"
		"   (($2 OPERATOR(pg_catalog.||) ' 00:00:00+00')::pg_catalog.timestamptz"
		"    OPERATOR(pg_catalog.+) '1 day'::pg_catalog.interval)";
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2];

	if (is_of_months(table))
		return false;
	values[0] = CStringGetTextDatum(table);
	values[1] = CStringGetTextDatum(day);
	if (SPI_execute_with_args(query, 2, types, values, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look for what is to be rolled up");
	return SPI_processed > 0;
}

/*
 * Empties a partition, and takes note if it should have been rolled up.  Needs
 * SPI to be connected and the writers' lock.
 */
static void
empty_partition(const char *table, const char *name)
{
	const char *day = name + strlen(table) + 1;

	if (to_be_rolled_up(table, day))
	{
		ereport(LOG,
				(errmsg("infra_monitor removes rows of table \"%s\" that have not been rolled up",
						name)));
		pg_atomic_fetch_add_u64(&shared->rollups_lost, 1);
	}
	run_command(psprintf("TRUNCATE infra_monitor.%s", name));
}

/* Drops a partition.  Needs SPI to be connected and the writers' lock. */
static void
drop_partition(const char *name)
{
	run_command(psprintf("ALTER EXTENSION infra_monitor"
						 " DROP TABLE infra_monitor.%s", name));
	run_command(psprintf("DROP TABLE infra_monitor.%s", name));
}

/*
 * Removes the rows of an expired partition or, later, itself.  False if it is
 * left: what is to be rolled up, for a day more.  Needs SPI to be connected and
 * the writers' lock.
 */
static bool
remove_partition(const char *table, const char *name, bool has_rows,
				 TimestampTz expired)
{
	const char *day = name + strlen(table) + 1;

	(void) imon_check_table(name);
	if (!has_rows)
		drop_partition(name);
	else if (strcmp(day, imon_day_name(expired - USECS_PER_DAY)) >= 0 &&
			 to_be_rolled_up(table, day))
		return false;
	else
		empty_partition(table, name);
	return true;
}

/*
 * One step towards removing the partitions whose days are past retention.
 * First their rows, oldest first: TRUNCATE locks that partition only.  Then,
 * each in a later transaction, the empty tables: that locks the parent.
 * Returns true if there was something to do.  Needs SPI to be connected and the
 * writers' lock.
 */
static bool
remove_expired(const char *table, TimestampTz now)
{
	static const char *const query =
		"SELECT p.name, p.has_rows FROM infra_monitor.history_partitions() p"
		" WHERE p.history OPERATOR(pg_catalog.=) $1"
		"  AND p.day OPERATOR(pg_catalog.<) $2"
		" ORDER BY p.has_rows DESC, p.day";
	TimestampTz expired = expired_before(is_of_months(table), now);
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2];
	SPITupleTable *list;
	uint64		n;

	values[0] = CStringGetTextDatum(table);
	values[1] = CStringGetTextDatum(partition_name(table, expired) + strlen(table) + 1);
	if (SPI_execute_with_args(query, 2, types, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not list the partitions");
	list = SPI_tuptable;
	n = SPI_processed;
	for (uint64 i = 0; i < n; i++)
	{
		const char *name = SPI_getvalue(list->vals[i], list->tupdesc, 1);
		bool		isnull;
		bool		has_rows =
			DatumGetBool(SPI_getbinval(list->vals[i], list->tupdesc, 2, &isnull));

		if (remove_partition(table, name, has_rows, expired))
			return true;
	}
	return false;
}

/*
 * Makes the partitions of today and tomorrow, or else does at most one step
 * towards removing the expired ones.  Returns true if another step remains.
 */
static bool
maintain_table(const char *table)
{
	TimestampTz now = GetCurrentTimestamp();
	ImonIdentity identity;
	bool		more;

	imon_begin_writing(&identity, table);
	SPI_connect();
	more = imon_ensure_partition(table, now);
	more |= imon_ensure_partition(table, now + USECS_PER_DAY);

	/* not in one transaction: removing may fail, what was made must stay */
	if (!more)
		more = remove_expired(table, now);
	SPI_finish();
	imon_end_writing(&identity);
	return more;
}

/* The table of a partition of that name: without the day. */
static char *
table_of(const char *partition)
{
	return pnstrdup(partition, strrchr(partition, '_') - partition);
}

/*
 * Begins writing to the table of a partition, and refuses to go on if the latter
 * has been altered.
 */
static void
begin_removing(ImonIdentity *identity, const char *partition)
{
	imon_begin_writing(identity, table_of(partition));
	(void) imon_check_table(partition);
}

bool
imon_empty_partition(const char *name)
{
	ImonIdentity identity;

	begin_removing(&identity, name);
	SPI_connect();
	empty_partition(table_of(name), name);
	SPI_finish();
	imon_end_writing(&identity);
	return true;
}

/* Drops a partition that is empty. */
static bool
drop_empty_partition(const char *name)
{
	ImonIdentity identity;

	begin_removing(&identity, name);
	SPI_connect();
	drop_partition(name);
	SPI_finish();
	imon_end_writing(&identity);
	return true;
}

/*
 * The oldest empty partition of a day, or month, before all that have rows: what
 * is left of one that was emptied for want of room.  Not of those that have
 * expired, on which maintain_table() works.  NULL if there is none.
 */
static char *
find_emptied(void)
{
	static const char *const query =
		"SELECT p.name FROM infra_monitor.history_partitions() p"
		" WHERE NOT p.has_rows AND p.day OPERATOR(pg_catalog.<)"
		"  (SELECT least(min(r.day), pg_catalog.left($1, pg_catalog.length(p.day)))"
		"   FROM infra_monitor.history_partitions() r"
		"   WHERE r.has_rows AND pg_catalog.length(r.day)"
		"    OPERATOR(pg_catalog.=) pg_catalog.length(p.day))"
		"  AND p.day OPERATOR(pg_catalog.>=) CASE pg_catalog.length(p.day)"
		"   WHEN 6 THEN pg_catalog.left($3, 6) ELSE $2 END"
		" ORDER BY p.day, p.name LIMIT 1";
	MemoryContext context = CurrentMemoryContext;
	TimestampTz now = GetCurrentTimestamp();
	Oid			types[3] = {TEXTOID, TEXTOID, TEXTOID};
	Datum		values[3];
	char	   *name = NULL;

	values[0] = CStringGetTextDatum(imon_day_name(now));
	values[1] = CStringGetTextDatum(imon_day_name(expired_before(false, now)));
	values[2] = CStringGetTextDatum(imon_day_name(expired_before(true, now)));
	SPI_connect();
	if (SPI_execute_with_args(query, 3, types, values, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not list the partitions");
	if (SPI_processed > 0)
		name = MemoryContextStrdup(context,
								   SPI_getvalue(SPI_tuptable->vals[0],
												SPI_tuptable->tupdesc, 1));
	SPI_finish();
	return name;
}

bool
imon_run_contained(bool (*action) (const char *), const char *argument,
				   ErrorData **error)
{
	ImonContained contained;
	volatile bool more = false;

	imon_begin_contained(&contained);
	PG_TRY();
	{
		more = action(argument);
		imon_end_contained(&contained);
	}
	PG_CATCH();
	{
		ErrorData  *caught = imon_catch_contained(&contained);

		if (*error == NULL)
			*error = caught;
	}
	PG_END_TRY();
	return more;
}

/*
 * The youngest day of statement_samples that is over, has rows, and no index
 * that finds a statement.  NULL if there is none.  A very large one, of which that
 * would take long, is left without.
 */
static char *
find_unindexed(void)
{
	static const char *const query =
		"SELECT p.name FROM infra_monitor.history_partitions() p"
		"  JOIN pg_catalog.pg_class c ON c.relname OPERATOR(pg_catalog.=) p.name"
		"   AND c.relnamespace OPERATOR(pg_catalog.=)"
		"    'infra_monitor'::pg_catalog.regnamespace"
		" WHERE p.history OPERATOR(pg_catalog.=) 'statement_samples'"
		"  AND p.day OPERATOR(pg_catalog.<) $1 AND p.has_rows"
		"  AND p.bytes OPERATOR(pg_catalog.<=) $2"
		"  AND p.name OPERATOR(pg_catalog.<>) $3"
		"  AND NOT EXISTS (SELECT FROM pg_catalog.pg_index x"
		"    JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) x.indrelid"
		"     AND a.attnum OPERATOR(pg_catalog.=) x.indkey[0]"
		"   WHERE x.indrelid OPERATOR(pg_catalog.=) c.oid"
		"    AND a.attname OPERATOR(pg_catalog.=) 'queryid')"
		" ORDER BY p.day DESC LIMIT 1";
	MemoryContext context = CurrentMemoryContext;
	Oid			types[3] = {TEXTOID, INT8OID, TEXTOID};
	Datum		values[3];
	char	   *name = NULL;

	values[0] = CStringGetTextDatum(imon_day_name(GetCurrentTimestamp()));
	values[1] = Int64GetDatum(MAX_INDEXED);
	values[2] = CStringGetTextDatum(unindexable);
	SPI_connect();
	if (SPI_execute_with_args(query, 3, types, values, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not list the partitions");
	if (SPI_processed > 0)
		name = MemoryContextStrdup(context,
								   SPI_getvalue(SPI_tuptable->vals[0],
												SPI_tuptable->tupdesc, 1));
	SPI_finish();
	return name;
}

/*
 * Makes an index on a partition that finds a statement.  Nothing writes to that
 * any more, so that it is small and made once.
 */
static bool
index_partition(const char *name)
{
	ImonIdentity identity;

	begin_removing(&identity, name);
	SPI_connect();
	run_command(psprintf("CREATE INDEX ON infra_monitor.%s (queryid)", name));
	SPI_finish();
	imon_end_writing(&identity);
	return true;
}

/*
 * Makes the next index, if one is missing.  It is a help for readers only: should
 * that fail, it is told of and not tried again, unless somebody is in the way,
 * such as a vacuum.  Returns true if one was made.
 */
static bool
index_next(void)
{
	ErrorData  *error = NULL;
	char	   *name = find_unindexed();

	if (name == NULL)
		return false;
	if (imon_run_contained(index_partition, name, &error))
		return true;
	if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
		return false;
	strlcpy(unindexable, name, sizeof(unindexable));
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("infra_monitor could not make an index on \"%s\": %s",
					name, error->message),
			 errdetail("The history of a statement takes longer to read on that day.")));
	return false;
}

/*
 * A table that cannot be looked after does not hold up those behind it.  Its
 * error is raised when there is nothing else to do, so that nothing done is
 * rolled back.
 */
bool
imon_maintain_partitions(void)
{
	ErrorData  *error = NULL;
	char	   *emptied;

	for (int i = 0; i < IMON_N_HISTORY_TABLES; i++)
		if (imon_run_contained(maintain_table, imon_history_tables[i], &error))
			return true;
	emptied = find_emptied();
	if (emptied && imon_run_contained(drop_empty_partition, emptied, &error))
		return true;
	if (index_next())
		return true;
	if (error)
		ReThrowError(error);
	return false;
}

/* SQL: history_tables(), a row for each table: history, period. */
Datum
imon_history_tables_1_0(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = imon_begin_rows(fcinfo, 2);

	for (int i = 0; i < IMON_N_HISTORY_TABLES; i++)
	{
		Datum		values[2];
		bool		nulls[2] = {false};

		values[0] = CStringGetTextDatum(imon_history_tables[i]);
		values[1] = CStringGetTextDatum(i < IMON_N_TABLES_OF_DAYS ? "day" : "month");
		imon_put_row(rsinfo, values, nulls);
	}
	return (Datum) 0;
}
