/*-------------------------------------------------------------------------
 *
 * partitions.c
 *	  Writes to the tables of the history, and looks after their partitions.
 *
 * Writers are serialised by a lock on the extension itself, which nobody can
 * take without being its owner and which DROP EXTENSION takes too.
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
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "guc.h"
#include "miscadmin.h"
#include "partitions.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

const char *const imon_history_tables[IMON_N_HISTORY_TABLES] = {
	"samples", "wait_samples", "statement_samples", "statement_texts",
	"slow_query_samples", "health_events"
};

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

char *
imon_day_name(TimestampTz moment)
{
	pg_time_t	seconds = timestamptz_to_time_t(moment);
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

Oid
imon_partition_of(const char *table, TimestampTz moment)
{
	return get_relname_relid(psprintf("%s_%s", table, imon_day_name(moment)),
							 get_namespace_oid("infra_monitor", false));
}

bool
imon_ensure_partition(const char *table, TimestampTz moment)
{
	TimestampTz day = day_of(moment);
	const char *name = psprintf("%s_%s", table, imon_day_name(day));
	Oid			partition = imon_partition_of(table, moment);

	if (OidIsValid(partition))
	{
		check_table(partition);
		return false;
	}
	run_command(psprintf("CREATE TABLE infra_monitor.%s"
						 " (LIKE infra_monitor.%s INCLUDING DEFAULTS)",
						 name, table));
	run_command(psprintf("ALTER TABLE infra_monitor.%s"
						 " ATTACH PARTITION infra_monitor.%s"
						 " FOR VALUES FROM ('%s 00:00:00+00') TO ('%s 00:00:00+00')",
						 table, name,
						 imon_day_name(day), imon_day_name(day + USECS_PER_DAY)));
	run_command(psprintf("ALTER EXTENSION infra_monitor"
						 " ADD TABLE infra_monitor.%s", name));
	return true;
}

Oid
imon_check_table(const char *table)
{
	Oid			parent =
		get_relname_relid(table, get_namespace_oid("infra_monitor", false));

	if (!OidIsValid(parent))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"infra_monitor.%s\" does not exist", table)));
	check_table(parent);
	return parent;
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

/* Days before that of this moment are past retention: their ends are. */
static TimestampTz
expired_before(TimestampTz now)
{
	return now - (TimestampTz) imon_retention * USECS_PER_MINUTE;
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
		"SELECT c.relname::pg_catalog.text, pg_catalog.pg_relation_size(c.oid),"
		" c.oid"
		" FROM pg_catalog.pg_inherits i"
		"  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.inhrelid"
		" WHERE i.inhparent OPERATOR(pg_catalog.=)"
		"   ('infra_monitor.' OPERATOR(pg_catalog.||) $1)::pg_catalog.regclass"
		"  AND c.relname OPERATOR(pg_catalog.~)"
		"   ('^' OPERATOR(pg_catalog.||) $1 OPERATOR(pg_catalog.||) '_[0-9]{8}$')"
		"  AND c.relname OPERATOR(pg_catalog.<) $2"
		" ORDER BY pg_catalog.pg_relation_size(c.oid) OPERATOR(pg_catalog.=) 0, c.relname"
		" LIMIT 1";
	Oid			types[2] = {TEXTOID, NAMEOID};
	Datum		values[2];
	const char *name;
	bool		isnull;

	values[0] = CStringGetTextDatum(table);
	values[1] = DirectFunctionCall1(namein,
									CStringGetDatum(psprintf("%s_%s", table,
															 imon_day_name(expired_before(now)))));
	if (SPI_execute_with_args(query, 2, types, values, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not list the partitions");
	if (SPI_processed == 0)
		return false;

	name = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	check_table(DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[0],
											   SPI_tuptable->tupdesc, 3, &isnull)));
	if (DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
									SPI_tuptable->tupdesc, 2, &isnull)) > 0)
		run_command(psprintf("TRUNCATE infra_monitor.%s", name));
	else
		drop_partition(name);
	return true;
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
	run_command(psprintf("TRUNCATE infra_monitor.%s", name));
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
 * The oldest empty partition of a day before all that have rows: what is left
 * of one that was emptied for want of room.  Not of those that have expired, on
 * which maintain_table() works.  NULL if there is none.
 */
static char *
find_emptied(void)
{
	static const char *const query =
		"SELECT p.name FROM infra_monitor.history_partitions() p"
		" WHERE NOT p.has_rows AND p.day OPERATOR(pg_catalog.<)"
		"  (SELECT least(min(r.day), $1)"
		"   FROM infra_monitor.history_partitions() r WHERE r.has_rows)"
		"  AND p.day OPERATOR(pg_catalog.>=) $2"
		" ORDER BY p.day, p.name LIMIT 1";
	MemoryContext context = CurrentMemoryContext;
	TimestampTz now = GetCurrentTimestamp();
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2];
	char	   *name = NULL;

	values[0] = CStringGetTextDatum(imon_day_name(now));
	values[1] = CStringGetTextDatum(imon_day_name(expired_before(now)));
	SPI_connect();
	if (SPI_execute_with_args(query, 2, types, values, NULL, false, 1) != SPI_OK_SELECT)
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
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool more = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		more = action(argument);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		if (*error == NULL)
			*error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return more;
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
	if (error)
		ReThrowError(error);
	return false;
}
