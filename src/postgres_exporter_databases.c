/*-------------------------------------------------------------------------
 *
 * postgres_exporter_databases.c
 *	  The dialect "postgres_exporter" of metrics: databases.
 *
 * Values come from the functions that the server's own views are made of: these
 * are the same in all versions, what they read is not.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/multixact.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/pg_database.h"
#include "postgres_exporter.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

/* What a function returns. */
typedef enum ImonResultKind
{
	RESULT_INT32,
	RESULT_INT64,
	RESULT_FLOAT8,
	RESULT_MOMENT
} ImonResultKind;

/* A column of pg_stat_database, or of pg_stat_database_conflicts. */
typedef struct ImonDatabaseColumn
{
	const char *name;
	ImonMetricType type;
	PGFunction	function;		/* of the OID of the database */
	PGFunction	minus;			/* take this away, or NULL */
	ImonResultKind kind;
	double		factor;
	bool		with_shared;	/* also of what belongs to no database */
	const char *help;
} ImonDatabaseColumn;

static const ImonDatabaseColumn columns[] = {
	{"stat_database_numbackends", IMON_GAUGE, pg_stat_get_db_numbackends, NULL,
	RESULT_INT32, 1, true, "Backends that are connected now."},
	{"stat_database_xact_commit", IMON_UNTYPED, pg_stat_get_db_xact_commit, NULL,
	RESULT_INT64, 1, true, "Transactions committed."},
	{"stat_database_xact_rollback", IMON_UNTYPED, pg_stat_get_db_xact_rollback, NULL,
	RESULT_INT64, 1, true, "Transactions rolled back."},
	{"stat_database_blks_read", IMON_UNTYPED, pg_stat_get_db_blocks_fetched,
		pg_stat_get_db_blocks_hit,
	RESULT_INT64, 1, true, "Blocks read that were in no buffer."},
	{"stat_database_blks_hit", IMON_UNTYPED, pg_stat_get_db_blocks_hit, NULL,
	RESULT_INT64, 1, true, "Blocks that were found in a buffer."},
	{"stat_database_tup_returned", IMON_UNTYPED, pg_stat_get_db_tuples_returned, NULL,
	RESULT_INT64, 1, true, "Rows read by sequential scans and entries of indexes."},
	{"stat_database_tup_fetched", IMON_UNTYPED, pg_stat_get_db_tuples_fetched, NULL,
	RESULT_INT64, 1, true, "Rows fetched by index scans."},
	{"stat_database_tup_inserted", IMON_UNTYPED, pg_stat_get_db_tuples_inserted, NULL,
	RESULT_INT64, 1, true, "Rows inserted."},
	{"stat_database_tup_updated", IMON_UNTYPED, pg_stat_get_db_tuples_updated, NULL,
	RESULT_INT64, 1, true, "Rows updated."},
	{"stat_database_tup_deleted", IMON_UNTYPED, pg_stat_get_db_tuples_deleted, NULL,
	RESULT_INT64, 1, true, "Rows deleted."},
	{"stat_database_conflicts", IMON_UNTYPED, pg_stat_get_db_conflict_all, NULL,
	RESULT_INT64, 1, true, "Queries cancelled on a standby because of conflicts with recovery."},
	{"stat_database_temp_files", IMON_UNTYPED, pg_stat_get_db_temp_files, NULL,
	RESULT_INT64, 1, true, "Temporary files made."},
	{"stat_database_temp_bytes", IMON_UNTYPED, pg_stat_get_db_temp_bytes, NULL,
	RESULT_INT64, 1, true, "Bytes written to temporary files."},
	{"stat_database_deadlocks", IMON_UNTYPED, pg_stat_get_db_deadlocks, NULL,
	RESULT_INT64, 1, true, "Deadlocks."},
	{"stat_database_checksum_failures", IMON_UNTYPED, pg_stat_get_db_checksum_failures, NULL,
	RESULT_INT64, 1, true, "Pages whose checksum was wrong; absent without checksums."},
	{"stat_database_checksum_last_failure", IMON_UNTYPED, pg_stat_get_db_checksum_last_failure, NULL,
	RESULT_MOMENT, 1, true, "When the last of these was found, as seconds since 1970."},
	{"stat_database_blk_read_time", IMON_UNTYPED, pg_stat_get_db_blk_read_time, NULL,
	RESULT_FLOAT8, 1, true, "Time spent reading blocks, in milliseconds."},
	{"stat_database_blk_write_time", IMON_UNTYPED, pg_stat_get_db_blk_write_time, NULL,
	RESULT_FLOAT8, 1, true, "Time spent writing blocks, in milliseconds."},
	{"stat_database_session_time", IMON_UNTYPED, pg_stat_get_db_session_time, NULL,
	RESULT_FLOAT8, 1, true, "Time that sessions have lasted, in milliseconds."},
	{"stat_database_active_time", IMON_UNTYPED, pg_stat_get_db_active_time, NULL,
	RESULT_FLOAT8, 1, true, "Time that sessions were active, in milliseconds."},
	{"stat_database_active_time_seconds_total", IMON_COUNTER, pg_stat_get_db_active_time, NULL,
	RESULT_FLOAT8, 0.001, true, "Time that sessions were active."},
	{"stat_database_idle_in_transaction_time", IMON_UNTYPED,
		pg_stat_get_db_idle_in_transaction_time, NULL,
	RESULT_FLOAT8, 1, true, "Time that sessions were idle in a transaction, in milliseconds."},
	{"stat_database_sessions", IMON_UNTYPED, pg_stat_get_db_sessions, NULL,
	RESULT_INT64, 1, true, "Sessions established."},
	{"stat_database_sessions_abandoned", IMON_UNTYPED, pg_stat_get_db_sessions_abandoned, NULL,
	RESULT_INT64, 1, true, "Sessions whose client went away."},
	{"stat_database_sessions_fatal", IMON_UNTYPED, pg_stat_get_db_sessions_fatal, NULL,
	RESULT_INT64, 1, true, "Sessions that a fatal error ended."},
	{"stat_database_sessions_killed", IMON_UNTYPED, pg_stat_get_db_sessions_killed, NULL,
	RESULT_INT64, 1, true, "Sessions that somebody terminated."},
	{"stat_database_stats_reset", IMON_UNTYPED, pg_stat_get_db_stat_reset_time, NULL,
	RESULT_MOMENT, 1, true, "When these were last reset, as seconds since 1970."},
	{"stat_database_conflicts_confl_tablespace", IMON_UNTYPED,
		pg_stat_get_db_conflict_tablespace, NULL,
	RESULT_INT64, 1, false, "Queries cancelled because a tablespace was dropped."},
	{"stat_database_conflicts_confl_lock", IMON_UNTYPED, pg_stat_get_db_conflict_lock, NULL,
	RESULT_INT64, 1, false, "Queries cancelled because of a lock."},
	{"stat_database_conflicts_confl_snapshot", IMON_UNTYPED,
		pg_stat_get_db_conflict_snapshot, NULL,
	RESULT_INT64, 1, false, "Queries cancelled because of an old snapshot."},
	{"stat_database_conflicts_confl_bufferpin", IMON_UNTYPED,
		pg_stat_get_db_conflict_bufferpin, NULL,
	RESULT_INT64, 1, false, "Queries cancelled because of a pinned buffer."},
	{"stat_database_conflicts_confl_deadlock", IMON_UNTYPED,
		pg_stat_get_db_conflict_startup_deadlock, NULL,
	RESULT_INT64, 1, false, "Queries cancelled because of a deadlock with recovery."}
};

static int
compare_databases(const void *a, const void *b)
{
	Oid			oid_a = ((const ImonExportedDatabase *) a)->oid;
	Oid			oid_b = ((const ImonExportedDatabase *) b)->oid;

	return (oid_a > oid_b) - (oid_a < oid_b);
}

ImonExportedDatabases *
imon_exported_databases(void)
{
	ImonExportedDatabases *result = palloc0(sizeof(ImonExportedDatabases));
	int			size = 64;
	Relation	rel = table_open(DatabaseRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;

	result->databases = palloc(sizeof(ImonExportedDatabase) * size);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);
		ImonExportedDatabase *database;

		if (result->n == size)
			result->databases = repalloc_huge(result->databases,
											  sizeof(ImonExportedDatabase) * (size *= 2));
		database = &result->databases[result->n++];
		database->oid = form->oid;
		database->label = NULL;
		database->connection_limit = form->datconnlimit;
		database->allows_connections = form->datallowconn;
		database->frozen_xid = form->datfrozenxid;
		database->min_multi = form->datminmxid;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	qsort(result->databases, result->n, sizeof(ImonExportedDatabase),
		  compare_databases);
	result->n_labels = Min(result->n, IMON_EXPORTER_GROUPS);
	for (int i = 0; i < result->n_labels; i++)
		result->databases[i].label = imon_database_label(result->databases[i].oid);
	return result;
}

int
imon_exported_place(const ImonExportedDatabases *databases, Oid oid)
{
	ImonExportedDatabase key = {.oid = oid};
	ImonExportedDatabase *found = bsearch(&key, databases->databases, databases->n,
										  sizeof(ImonExportedDatabase),
										  compare_databases);

	return found == NULL ? -1 :
		Min((int) (found - databases->databases), databases->n_labels);
}

const char *
imon_exported_label(const ImonExportedDatabases *databases, int place)
{
	return place < databases->n_labels ? databases->databases[place].label :
		IMON_OTHER_LABEL;
}

/* What a function says of a database; NaN for NULL. */
static double
call(PGFunction function, ImonResultKind kind, Oid database)
{
	LOCAL_FCINFO(fcinfo, 1);
	Datum		result;

	InitFunctionCallInfoData(*fcinfo, NULL, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = ObjectIdGetDatum(database);
	fcinfo->args[0].isnull = false;
	result = function(fcinfo);
	if (fcinfo->isnull)
		return NAN;
	switch (kind)
	{
		case RESULT_INT32:
			return DatumGetInt32(result);
		case RESULT_INT64:
			return (double) DatumGetInt64(result);
		case RESULT_FLOAT8:
			return DatumGetFloat8(result);
		case RESULT_MOMENT:
			break;
	}
	return (double) DatumGetTimestampTz(result) / USECS_PER_SEC +
		(double) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY;
}

/* A value of a database; of no database if InvalidOid. */
static double
read_column(const ImonDatabaseColumn *column, Oid database)
{
	double		value = call(column->function, column->kind, database);

	if (column->minus)
		value -= call(column->minus, column->kind, database);
	return value * column->factor;
}

static ImonLabels
database_labels(const char *datid, const char *datname)
{
	ImonLabels	labels = imon_label("datid", datid);

	imon_add_label(&labels, "datname", datname);
	return labels;
}

/* Exposes a column: of no database, of each, of all others. */
static void
export_column(ImonExposition *exposition, const ImonDatabaseColumn *column,
			  const ImonExportedDatabases *databases, const ImonLabels *labels)
{
	double		others = 0;

	imon_family(exposition, column->name, column->type, column->help);
	if (column->with_shared)
	{
		ImonLabels	shared = database_labels("0", "");

		/* sessions without a database are not counted here */
		imon_put_number(exposition, &shared, column->kind == RESULT_INT32 ? 0 :
						read_column(column, InvalidOid));
	}
	for (int i = 0; i < databases->n; i++)
	{
		double		value = read_column(column, databases->databases[i].oid);

		if (i < databases->n_labels)
			imon_put_number(exposition, &labels[i], value);
		else if (column->kind != RESULT_MOMENT)
			others += value;
	}
	if (databases->n > databases->n_labels && column->kind != RESULT_MOMENT)
		imon_put_number(exposition, &labels[databases->n_labels], others);
}

/* How far something is behind what comes next, as age() has it. */
static double
age(uint32 next, uint32 then, uint32 first)
{
	return then < first ? NAN : (int32) (next - then);
}

/* An age of each database that can be connected to; of others the greatest. */
static void
export_age(ImonExposition *exposition, const ImonExportedDatabases *databases,
		   const char *name, bool multi, const char *help)
{
	uint32		next = multi ? (uint32) ReadNextMultiXactId() : ReadNextTransactionId();
	double		others = NAN;

	imon_family(exposition, name, IMON_GAUGE, help);
	for (int i = 0; i < databases->n; i++)
	{
		const ImonExportedDatabase *database = &databases->databases[i];
		double		value = multi ?
			age(next, database->min_multi, FirstMultiXactId) :
			age(next, database->frozen_xid, FirstNormalTransactionId);
		ImonLabels	labels = imon_label("datname", database->label);

		if (!database->allows_connections)
			continue;
		if (database->label)
			imon_put_number(exposition, &labels, value);
		else
			others = fmax(others, value);
	}
	if (!isnan(others))
	{
		ImonLabels	labels = imon_label("datname", IMON_OTHER_LABEL);

		imon_put_number(exposition, &labels, others);
	}
}

void
imon_export_databases(ImonExposition *exposition,
					  const ImonExportedDatabases *databases)
{
	ImonLabels *labels = palloc(sizeof(ImonLabels) * (databases->n_labels + 1));

	for (int i = 0; i < databases->n_labels; i++)
		labels[i] = database_labels(psprintf("%u", databases->databases[i].oid),
									databases->databases[i].label);
	labels[databases->n_labels] = database_labels(IMON_OTHER_LABEL, IMON_OTHER_LABEL);
	for (int i = 0; i < lengthof(columns); i++)
		export_column(exposition, &columns[i], databases, labels);

	imon_family(exposition, "database_connection_limit", IMON_GAUGE,
				"Connection limit of a database, -1 is none; the 100 oldest databases.");
	for (int i = 0; i < databases->n_labels; i++)
	{
		ImonLabels	label = imon_label("datname", databases->databases[i].label);

		imon_put_number(exposition, &label, databases->databases[i].connection_limit);
	}
	export_age(exposition, databases, "database_wraparound_age_datfrozenxid_seconds",
			   false, "Age of the oldest transaction that is not frozen, in transactions, whatever the name says.");
	export_age(exposition, databases, "database_wraparound_age_datminmxid_seconds",
			   true, "Age of the oldest multixact that may be needed, in multixacts, whatever the name says.");
}
