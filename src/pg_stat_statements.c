/*-------------------------------------------------------------------------
 *
 * pg_stat_statements.c
 *	  The one reader of pg_stat_statements.
 *
 * No object of ours depends on an object of pg_stat_statements: its update
 * scripts drop and recreate their functions.  So its schema and its columns
 * are looked up at run time, by name, and differences between its versions end
 * here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "contained.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "pg_stat_statements.h"
#include "rows.h"
#include "texts.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#define FETCH_ROWS 500			/* bounds memory; texts can be long */

/*
 * Columns of the result, in order, by their names in pg_stat_statements.
 * "toplevel" came with 1.9, "stats_since" with 1.11.
 */
typedef enum ImonStatementColumn
{
	COLUMN_USERID,
	COLUMN_DBID,
	COLUMN_QUERYID,
	COLUMN_TOPLEVEL,
	COLUMN_QUERY,
	COLUMN_CALLS,
	COLUMN_TOTAL_EXEC_TIME,
	COLUMN_MAX_EXEC_TIME,
	COLUMN_ROWS,
	COLUMN_SHARED_BLKS_HIT,
	COLUMN_SHARED_BLKS_READ,
	COLUMN_TEMP_BLKS_WRITTEN,
	COLUMN_WAL_BYTES,
	COLUMN_STATS_SINCE
} ImonStatementColumn;

#define N_COLUMNS (COLUMN_STATS_SINCE + 1)

static const struct
{
	const char *name;
	Oid			type;
}			columns[N_COLUMNS] =

{
	[COLUMN_USERID] = {"userid", OIDOID},
	[COLUMN_DBID] = {"dbid", OIDOID},
	[COLUMN_QUERYID] = {"queryid", INT8OID},
	[COLUMN_TOPLEVEL] = {"toplevel", BOOLOID},
	[COLUMN_QUERY] = {"query", TEXTOID},
	[COLUMN_CALLS] = {"calls", INT8OID},
	[COLUMN_TOTAL_EXEC_TIME] = {"total_exec_time", FLOAT8OID},
	[COLUMN_MAX_EXEC_TIME] = {"max_exec_time", FLOAT8OID},
	[COLUMN_ROWS] = {"rows", INT8OID},
	[COLUMN_SHARED_BLKS_HIT] = {"shared_blks_hit", INT8OID},
	[COLUMN_SHARED_BLKS_READ] = {"shared_blks_read", INT8OID},
	[COLUMN_TEMP_BLKS_WRITTEN] = {"temp_blks_written", INT8OID},
	[COLUMN_WAL_BYTES] = {"wal_bytes", NUMERICOID},
	[COLUMN_STATS_SINCE] = {"stats_since", TIMESTAMPTZOID},
};

/* When pg_stat_statements began to count, if it tells. */
typedef struct ImonSince
{
	Datum		moment;
	bool		isnull;
} ImonSince;

/* Takes a row of the columns above. */
typedef void (*ImonRowSink) (void *arg, Datum *values, bool *nulls);

PG_FUNCTION_INFO_V1(imon_statement_stats_1_0);
PG_FUNCTION_INFO_V1(imon_pg_stat_statements_loaded_1_0);
PG_FUNCTION_INFO_V1(imon_pg_stat_statements_evictions_1_0);

bool
imon_pg_stat_statements_loaded(void)
{
	int			flags = GetConfigOptionFlags("pg_stat_statements.max", true);

	/* without the library it is only a line in a configuration file */
	return GetConfigOption("pg_stat_statements.max", true, false) != NULL &&
		(flags & GUC_CUSTOM_PLACEHOLDER) == 0;
}

/* SQL: pg_stat_statements_loaded. */
Datum
imon_pg_stat_statements_loaded_1_0(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(imon_pg_stat_statements_loaded());
}

/*
 * Name of the schema of pg_stat_statements, or an error.  Needs SPI to be
 * connected.
 */
static char *
pg_stat_statements_schema(void)
{
	static const char *const query =
		"SELECT n.nspname FROM pg_catalog.pg_extension e"
		" JOIN pg_catalog.pg_namespace n"
		"  ON n.oid OPERATOR(pg_catalog.=) e.extnamespace"
		" WHERE e.extname OPERATOR(pg_catalog.=) 'pg_stat_statements'";

	if (SPI_execute(query, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look for pg_stat_statements");
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"pg_stat_statements\" does not exist in this database"),
				 errhint("Run CREATE EXTENSION pg_stat_statements.")));
	if (!imon_pg_stat_statements_loaded())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pg_stat_statements must be loaded via \"shared_preload_libraries\""),
				 errhint("Add pg_stat_statements and infra_monitor to \"shared_preload_libraries\" in postgresql.conf and restart the server.")));

	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
}

/*
 * Does the extension have this function?  Where its version is too old for it,
 * whoever may create functions in its schema could have made one of that name,
 * and the sampler, a superuser, would call it.
 */
static bool
has_function(char *schema, char *name, int n_arguments, const Oid *arguments)
{
	Oid			function = LookupFuncName(list_make2(makeString(schema),
													 makeString(name)),
										  n_arguments, arguments, true);

	return OidIsValid(function) &&
		getExtensionOfObject(ProcedureRelationId, function) ==
		get_extension_oid("pg_stat_statements", false);
}

/*
 * A column of pg_stat_statements_info (1.9 and later): "stats_reset", when
 * pg_stat_statements began to count, or "dealloc".  Needs SPI to be connected;
 * the result outlives it.
 */
static Datum
information(char *schema, const char *column, bool *isnull)
{
	*isnull = true;
	if (!has_function(schema, "pg_stat_statements_info", 0, NULL))
		return (Datum) 0;
	if (SPI_execute(psprintf("SELECT %s FROM %s.pg_stat_statements_info()",
							 column, quote_identifier(schema)), true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not read pg_stat_statements_info");
	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, isnull);
}

/* When it began to count. */
static ImonSince
statistics_begin(char *schema)
{
	ImonSince	since;

	since.moment = information(schema, "stats_reset", &since.isnull);
	return since;
}

/*
 * SQL: pg_stat_statements_evictions(), how often pg_stat_statements has given
 * up statements for new ones; NULL where its version does not count that.
 * Errors: not installed, not preloaded.
 */
Datum
imon_pg_stat_statements_evictions_1_0(PG_FUNCTION_ARGS)
{
	Datum		result;
	bool		isnull;

	SPI_connect();
	result = information(pg_stat_statements_schema(), "dealloc", &isnull);
	SPI_finish();
	if (isnull)
		PG_RETURN_NULL();
	PG_RETURN_INT64(DatumGetInt64(result));
}

/* Finds the columns in what this version returns; absent ones are 0 or less. */
static void
find_columns(TupleDesc source, int *numbers)
{
	for (int i = 0; i < N_COLUMNS; i++)
	{
		numbers[i] = SPI_fnumber(source, columns[i].name);
		if (numbers[i] <= 0)
		{
			if (i == COLUMN_TOPLEVEL || i == COLUMN_STATS_SINCE)
				continue;
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("pg_stat_statements has no column \"%s\"", columns[i].name),
					 errhint("Run ALTER EXTENSION pg_stat_statements UPDATE.")));
		}
		else if (SPI_gettypeid(source, numbers[i]) != columns[i].type)
			elog(ERROR, "column \"%s\" of pg_stat_statements has an unexpected type",
				 columns[i].name);
	}
}

/* Passes the fetched rows on. */
static void
pass_rows(const ImonSince *since, ImonRowSink sink, void *arg)
{
	TupleDesc	source = SPI_tuptable->tupdesc;
	int			numbers[N_COLUMNS];

	find_columns(source, numbers);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		Datum		values[N_COLUMNS];
		bool		nulls[N_COLUMNS];

		for (int i = 0; i < N_COLUMNS; i++)
		{
			nulls[i] = false;
			if (numbers[i] > 0)
				values[i] = SPI_getbinval(SPI_tuptable->vals[row], source,
										  numbers[i], &nulls[i]);
			else if (i == COLUMN_TOPLEVEL)
				values[i] = BoolGetDatum(true);
			else
			{
				values[i] = since->moment;
				nulls[i] = since->isnull;
			}
		}
		sink(arg, values, nulls);
	}
}

/* Reads all statements.  Needs SPI to be connected. */
static void
read_statements(char *schema, bool showtext, const ImonSince *since,
				ImonRowSink sink, void *arg)
{
	Oid			types[1] = {BOOLOID};
	Datum		args[1] = {BoolGetDatum(showtext)};
	Portal		portal;

	if (!has_function(schema, "pg_stat_statements", 1, types))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("extension \"pg_stat_statements\" has no function pg_stat_statements(boolean)"),
				 errhint("Run ALTER EXTENSION pg_stat_statements UPDATE.")));
	portal = SPI_cursor_open_with_args(NULL,
									   psprintf("SELECT * FROM %s.pg_stat_statements($1)",
												quote_identifier(schema)),
									   1, types, args, NULL, true, 0);
	for (;;)
	{
		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		if (SPI_processed == 0)
			break;
		pass_rows(since, sink, arg);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
}

/* Puts a row into the result, a ReturnSetInfo. */
static void
put_statement(void *arg, Datum *values, bool *nulls)
{
	if (!nulls[COLUMN_QUERY])
		values[COLUMN_QUERY] =
			imon_query_datum(TextDatumGetCString(values[COLUMN_QUERY]));
	imon_put_row((ReturnSetInfo *) arg, values, nulls);
}

/*
 * The same in a subtransaction.  Returns false, with no rows, if a text could
 * not be converted: pg_stat_statements converts those of all databases to the
 * encoding of this one, and raises an error where that is impossible.
 */
static bool
read_with_texts(ReturnSetInfo *rsinfo, char *schema,
				const ImonSince *since)
{
	ImonContained contained;
	volatile bool done = true;

	imon_begin_contained(&contained);
	PG_TRY();
	{
		read_statements(schema, true, since, put_statement, rsinfo);
		imon_end_contained(&contained);
	}
	PG_CATCH();
	{
		ErrorData  *error = imon_catch_contained(&contained);

		if (error->sqlerrcode != ERRCODE_UNTRANSLATABLE_CHARACTER &&
			error->sqlerrcode != ERRCODE_CHARACTER_NOT_IN_REPERTOIRE &&
			error->sqlerrcode != ERRCODE_UNDEFINED_FUNCTION)
			ReThrowError(error);
		tuplestore_clear(rsinfo->setResult);
		done = false;
	}
	PG_END_TRY();
	return done;
}

/*
 * SQL: statement_stats(showtext), the columns above of pg_stat_statements in
 * whatever version is installed.  It applies its own privileges, to the
 * caller.  Texts are NULL if they cannot all be shown in this database.
 * Errors: not installed, not preloaded.
 */
Datum
imon_statement_stats_1_0(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo;
	bool		showtext;
	char	   *schema;
	ImonSince	since;

	imon_require_arguments(fcinfo, 1);
	showtext = !PG_ARGISNULL(0) && PG_GETARG_BOOL(0);
	rsinfo = imon_begin_rows(fcinfo, N_COLUMNS);

	SPI_connect();
	schema = pg_stat_statements_schema();
	since = statistics_begin(schema);
	if (!showtext || !read_with_texts(rsinfo, schema, &since))
		read_statements(schema, false, &since, put_statement, rsinfo);
	SPI_finish();
	return (Datum) 0;
}

/* Who wants to know what is counted. */
typedef struct ImonListener
{
	ImonPgssSink sink;
	void	   *arg;
} ImonListener;

/* Passes what a row counts on.  Rows that may not be seen have no queryid. */
static void
pass_counts(void *arg, Datum *values, bool *nulls)
{
	static const ImonStatementColumn usage[IMON_N_USAGE] = {
		[IMON_ROWS] = COLUMN_ROWS,
		[IMON_SHARED_BLKS_HIT] = COLUMN_SHARED_BLKS_HIT,
		[IMON_SHARED_BLKS_READ] = COLUMN_SHARED_BLKS_READ,
		[IMON_TEMP_BLKS_WRITTEN] = COLUMN_TEMP_BLKS_WRITTEN,
		[IMON_WAL_BYTES] = COLUMN_WAL_BYTES
	};
	const ImonListener *listener = arg;
	ImonStatementKey key;
	ImonPgssCounts counts;

	if (nulls[COLUMN_QUERYID])
		return;
	memset(&key, 0, sizeof(key));
	key.userid = DatumGetObjectId(values[COLUMN_USERID]);
	key.dbid = DatumGetObjectId(values[COLUMN_DBID]);
	key.queryid = (uint64) DatumGetInt64(values[COLUMN_QUERYID]);
	key.toplevel = DatumGetBool(values[COLUMN_TOPLEVEL]);

	memset(&counts, 0, sizeof(counts));
	counts.known = true;
	counts.since = nulls[COLUMN_STATS_SINCE] ? 0 :
		DatumGetTimestampTz(values[COLUMN_STATS_SINCE]);
	counts.calls = DatumGetInt64(values[COLUMN_CALLS]);
	values[COLUMN_WAL_BYTES] = DirectFunctionCall1(numeric_int8,
												   values[COLUMN_WAL_BYTES]);
	for (int i = 0; i < IMON_N_USAGE; i++)
		counts.columns[i] = DatumGetInt64(values[usage[i]]);
	listener->sink(listener->arg, &key, &counts);
}

void
imon_read_pgss_counts(ImonPgssSink sink, void *arg)
{
	char	   *schema = pg_stat_statements_schema();
	ImonSince	since = statistics_begin(schema);
	ImonListener listener = {sink, arg};

	read_statements(schema, false, &since, pass_counts, &listener);
}
