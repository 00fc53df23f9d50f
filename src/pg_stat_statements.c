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
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "rows.h"
#include "pg_stat_statements.h"
#include "texts.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/tuplestore.h"

#define FETCH_ROWS 500			/* bounds memory; texts can be long */

/*
 * Columns of the result, in order, by their names in pg_stat_statements.
 * "toplevel" came with 1.9, "stats_since" with 1.11.
 */
static const char *const columns[] = {
	"userid", "dbid", "queryid", "toplevel", "query", "calls",
	"total_exec_time", "max_exec_time", "rows", "shared_blks_hit",
	"shared_blks_read", "temp_blks_written", "wal_bytes", "stats_since"
};

#define COLUMN_TOPLEVEL 3
#define COLUMN_QUERY 4
#define COLUMN_STATS_SINCE 13
#define N_COLUMNS lengthof(columns)

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
 * A column of pg_stat_statements_info (1.9 and later): "stats_reset", when
 * pg_stat_statements began to count, or "dealloc".  Needs SPI to be connected;
 * the result outlives it.
 */
static Datum
information(char *schema, const char *column, bool *isnull)
{
	List	   *names = list_make2(makeString(schema),
								   makeString("pg_stat_statements_info"));

	*isnull = true;
	if (!OidIsValid(LookupFuncName(names, 0, NULL, true)))
		return (Datum) 0;
	if (SPI_execute(psprintf("SELECT %s FROM %s.pg_stat_statements_info()",
							 column, quote_identifier(schema)), true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not read pg_stat_statements_info");
	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, isnull);
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
find_columns(TupleDesc source, TupleDesc target, int *numbers)
{
	for (int i = 0; i < N_COLUMNS; i++)
	{
		numbers[i] = SPI_fnumber(source, columns[i]);
		if (numbers[i] <= 0)
		{
			if (i == COLUMN_TOPLEVEL || i == COLUMN_STATS_SINCE)
				continue;
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("pg_stat_statements has no column \"%s\"", columns[i]),
					 errhint("Run ALTER EXTENSION pg_stat_statements UPDATE.")));
		}
		else if (SPI_gettypeid(source, numbers[i]) != TupleDescAttr(target, i)->atttypid)
			elog(ERROR, "column \"%s\" of pg_stat_statements has an unexpected type",
				 columns[i]);
	}
}

/* Puts the fetched rows into the result. */
static void
put_statements(ReturnSetInfo *rsinfo, Datum since, bool since_isnull)
{
	TupleDesc	source = SPI_tuptable->tupdesc;
	int			numbers[N_COLUMNS];

	find_columns(source, rsinfo->setDesc, numbers);
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
				values[i] = since;
				nulls[i] = since_isnull;
			}
		}
		if (!nulls[COLUMN_QUERY])
			values[COLUMN_QUERY] =
				imon_query_datum(TextDatumGetCString(values[COLUMN_QUERY]));
		imon_put_row(rsinfo, values, nulls);
	}
}

/*
 * Reads all statements into the result.  Needs SPI to be connected.
 */
static void
read_statements(ReturnSetInfo *rsinfo, const char *schema, bool showtext,
				Datum since, bool since_isnull)
{
	Oid			types[1] = {BOOLOID};
	Datum		args[1] = {BoolGetDatum(showtext)};
	Portal		portal;

	portal = SPI_cursor_open_with_args(NULL,
									   psprintf("SELECT * FROM %s.pg_stat_statements($1)",
												quote_identifier(schema)),
									   1, types, args, NULL, true, 0);
	for (;;)
	{
		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		if (SPI_processed == 0)
			break;
		put_statements(rsinfo, since, since_isnull);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
}

/*
 * The same in a subtransaction.  Returns false, with no rows, if a text could
 * not be converted: pg_stat_statements converts those of all databases to the
 * encoding of this one, and raises an error where that is impossible.
 */
static bool
read_with_texts(ReturnSetInfo *rsinfo, const char *schema,
				Datum since, bool since_isnull)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool done = true;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		read_statements(rsinfo, schema, true, since, since_isnull);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		int			code = geterrcode();

		if (code != ERRCODE_UNTRANSLATABLE_CHARACTER &&
			code != ERRCODE_CHARACTER_NOT_IN_REPERTOIRE &&
			code != ERRCODE_UNDEFINED_FUNCTION)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		tuplestore_clear(rsinfo->setResult);
		done = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
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
	Datum		since;
	bool		since_isnull;

	imon_require_arguments(fcinfo, 1);
	showtext = !PG_ARGISNULL(0) && PG_GETARG_BOOL(0);
	rsinfo = imon_begin_rows(fcinfo, N_COLUMNS);

	SPI_connect();
	schema = pg_stat_statements_schema();
	since = information(schema, "stats_reset", &since_isnull);
	if (!showtext || !read_with_texts(rsinfo, schema, since, since_isnull))
		read_statements(rsinfo, schema, false, since, since_isnull);
	SPI_finish();
	return (Datum) 0;
}
