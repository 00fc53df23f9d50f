/*-------------------------------------------------------------------------
 *
 * statement_samples.c
 *	  History of the statements: what each has grown by in an interval.
 *
 * A sample has a row for each statement that was among the first
 * infra_monitor.top_statements by time, calls, time of failures or p95 of the
 * interval, and one row for all others, so that the sum is right.
 *
 * How much has been stored is known to the table of statements, and advances
 * on commit only.  So does what pg_stat_statements had counted then; its
 * counters can begin anew at any time, together or one by one, and unless it
 * is certain what they have grown by, that is stored as NULL.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "guc.h"
#include "histogram_type.h"
#include "miscadmin.h"
#include "partitions.h"
#include "pg_stat_statements.h"
#include "rows.h"
#include "samples.h"
#include "shmem.h"
#include "statement_samples.h"
#include "statements.h"
#include "texts.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#define MAX_TEXT 8192			/* characters of a query that are kept */
#define KEY_COLUMNS 4			/* of the query on pg_stat_statements */
#define SAMPLE_COLUMNS 18

/* What a sample says of a statement. */
typedef struct ImonLine
{
	ImonStatementGrowth *growth;	/* NULL: all others */
	uint64		calls;
	double		p95;			/* ns, 0 if nothing has completed */
	bool		on_top;
	bool		usage_known;
	int64		usage[IMON_N_USAGE];
} ImonLine;

/* What pg_stat_statements counts of a statement now. */
typedef struct ImonPgssEntry
{
	ImonStatementKey key;
	ImonPgssCounts usage;
} ImonPgssEntry;

/* A sample of this transaction, until it ends. */
static List *pending = NIL;		/* in TopTransactionContext */
static SubTransactionId pending_in;

PG_FUNCTION_INFO_V1(imon_take_statement_sample_1_0);
PG_FUNCTION_INFO_V1(imon_top_statements_order_1_0);

/* Transaction callback: the sample is stored, or it never was. */
static void
writing_ends(XactEvent event, void *arg)
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
			imon_statements_stored(pending);
			pending = NIL;
			break;
		case XACT_EVENT_ABORT:
			pending = NIL;
			break;
		default:
			break;
	}
}

/* Subtransaction callback: forgets the sample if it was rolled back with it. */
static void
writing_rolled_back(SubXactEvent event, SubTransactionId mySubid,
					SubTransactionId parentSubid, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB && pending_in >= mySubid)
		pending = NIL;
}

/* Notes that all of this is stored, once the transaction commits. */
static void
expect_commit(List *growths)
{
	static bool registered = false;

	if (!registered)
	{
		RegisterXactCallback(writing_ends, NULL);
		RegisterSubXactCallback(writing_rolled_back, NULL);
		registered = true;
	}
	pending_in = GetCurrentSubTransactionId();
	pending = growths;
}

/* Copies a row of pg_stat_statements into the hash table. */
static void
keep_usage(HTAB *usages, HeapTuple row, TupleDesc tupdesc)
{
	ImonStatementKey key;
	ImonPgssEntry *entry;
	bool		isnull;
	bool		unknown = false;
	Datum		since;

	memset(&key, 0, sizeof(key));
	key.userid = DatumGetObjectId(SPI_getbinval(row, tupdesc, 1, &isnull));
	key.dbid = DatumGetObjectId(SPI_getbinval(row, tupdesc, 2, &isnull));
	key.queryid = (uint64) DatumGetInt64(SPI_getbinval(row, tupdesc, 3, &isnull));
	key.toplevel = DatumGetBool(SPI_getbinval(row, tupdesc, 4, &isnull));
	entry = hash_search(usages, &key, HASH_ENTER, NULL);
	entry->usage.calls =
		DatumGetInt64(SPI_getbinval(row, tupdesc, KEY_COLUMNS + 1, &isnull));
	for (int i = 0; i < IMON_N_USAGE; i++)
	{
		entry->usage.columns[i] =
			DatumGetInt64(SPI_getbinval(row, tupdesc, KEY_COLUMNS + 2 + i, &isnull));
		unknown |= isnull;
	}
	since = SPI_getbinval(row, tupdesc, KEY_COLUMNS + 2 + IMON_N_USAGE, &isnull);
	entry->usage.since = isnull ? 0 : DatumGetTimestampTz(since);
	entry->usage.known = !unknown;
}

/*
 * Reads pg_stat_statements, without texts; empty if it does not collect.  Needs
 * SPI to be connected.
 */
static HTAB *
read_usages(void)
{
	static const char *const query =
		"SELECT s.userid, s.dbid, s.queryid, s.toplevel, s.calls, s.rows,"
		" s.shared_blks_hit, s.shared_blks_read, s.temp_blks_written,"
		" s.wal_bytes::pg_catalog.int8, s.stats_since"
		" FROM infra_monitor.statement_stats(false) s"
		" WHERE s.queryid IS NOT NULL";
	HASHCTL		control = {.keysize = sizeof(ImonStatementKey),
	.entrysize = sizeof(ImonPgssEntry),.hcxt = CurrentMemoryContext};
	HTAB	   *usages = hash_create("infra_monitor usages", 1024, &control,
									 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	if (!imon_pg_stat_statements_loaded())
		return usages;
	if (SPI_execute(query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read pg_stat_statements");
	for (uint64 i = 0; i < SPI_processed; i++)
		keep_usage(usages, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
	SPI_freetuptable(SPI_tuptable);
	return usages;
}

/* Can the second be what the first has become? */
static bool
continues(const ImonPgssCounts *before, const ImonPgssCounts *now)
{
	if (!before->known || before->since != now->since ||
		before->calls > now->calls)
		return false;
	for (int i = 0; i < IMON_N_USAGE; i++)
		if (before->columns[i] > now->columns[i])
			return false;
	return true;
}

/*
 * What a statement has used in the interval, if it is certain.  Where the
 * counters have begun anew, it is if they have as many calls as we.  Otherwise
 * they may only differ by what is being counted at this moment; if more is
 * missing, they have begun anew and passed what they were.
 */
static void
compare_usage(ImonLine *line, const ImonPgssCounts *now)
{
	static const ImonPgssCounts none = {.known = true};
	ImonPgssCounts *before = &line->growth->usage;
	bool		same = now && continues(before, now);
	const ImonPgssCounts *from = same ? before : &none;
	int64		missing = now ?
		(int64) line->calls - (now->calls - from->calls) : 0;

	line->usage_known = now && now->known &&
		(same ? missing <= MaxBackends : missing == 0);

	/* statements that only fail may not be there, and have used nothing */
	if (now == NULL && line->calls == 0 && !before->known)
		line->usage_known = true;
	for (int i = 0; now && i < IMON_N_USAGE; i++)
		line->usage[i] = now->columns[i] - from->columns[i];
	if (now)
		*before = *now;
	else
		before->known = false;
}

/* What the sample says of each statement; returns how many. */
static int
make_lines(List *growths, HTAB *usages, ImonLine **result)
{
	ImonLine   *lines = palloc0(sizeof(ImonLine) * list_length(growths));
	int			n = 0;
	ListCell   *cell;

	foreach(cell, growths)
	{
		ImonStatementGrowth *growth = lfirst(cell);
		ImonLine   *line = &lines[n++];

		line->growth = growth;
		line->calls = imon_histogram_total(growth->counts.latency);
		if (line->calls > 0)
			line->p95 = imon_histogram_quantile(growth->counts.latency, 0.95);
		if (growth->has_key)
		{
			ImonPgssEntry *entry = hash_search(usages, &growth->key, HASH_FIND, NULL);

			compare_usage(line, entry ? &entry->usage : NULL);
		}
		else
			line->usage_known = (line->calls == 0);
	}
	*result = lines;
	return n;
}

/* By what statements are chosen. */
static double
by_time(const ImonLine *line)
{
	return line->growth->counts.total_ns;
}

static double
by_calls(const ImonLine *line)
{
	return line->calls;
}

static double
by_failed_time(const ImonLine *line)
{
	return line->growth->counts.failed_ns;
}

static double
by_p95(const ImonLine *line)
{
	return line->p95;
}

typedef double (*ImonMeasure) (const ImonLine *line);

/* Comparator for qsort_arg: the greatest first. */
static int
compare_lines(const void *a, const void *b, void *arg)
{
	ImonMeasure measure = *(const ImonMeasure *) arg;
	double		x = measure(*(ImonLine *const *) a);
	double		y = measure(*(ImonLine *const *) b);

	return x > y ? -1 : x < y ? 1 : 0;
}

/* Chooses the statements that have a row of their own. */
static void
choose_top(ImonLine *lines, int n)
{
	static const ImonMeasure measures[] = {by_time, by_calls, by_failed_time, by_p95};
	ImonLine  **order = palloc(sizeof(ImonLine *) * n);
	int			n_keyed = 0;

	for (int i = 0; i < n; i++)
		if (lines[i].growth->has_key)
			order[n_keyed++] = &lines[i];
	for (int m = 0; m < lengthof(measures); m++)
	{
		qsort_arg(order, n_keyed, sizeof(ImonLine *), compare_lines,
				  unconstify(ImonMeasure *, &measures[m]));
		for (int i = 0; i < Min(n_keyed, imon_top_statements); i++)
			if (measures[m] (order[i]) > 0)
				order[i]->on_top = true;
	}
	pfree(order);
}

/* Adds up those that have no row of their own. */
static void
add_up_others(const ImonLine *lines, int n, ImonLine *others)
{
	ImonStatementGrowth *sum = palloc0(sizeof(ImonStatementGrowth));

	memset(others, 0, sizeof(*others));
	others->growth = sum;
	others->usage_known = true;
	for (int i = 0; i < n; i++)
	{
		const ImonLine *line = &lines[i];
		const ImonGrowth *counts = &line->growth->counts;

		if (line->on_top)
			continue;
		others->calls += line->calls;
		sum->counts.total_ns += counts->total_ns;
		sum->counts.failures += counts->failures;
		sum->counts.failed_ns += counts->failed_ns;
		for (int b = 0; b < IMON_HISTOGRAM_BUCKETS; b++)
			sum->counts.latency[b] += counts->latency[b];
		others->usage_known &= line->usage_known;
		for (int u = 0; u < IMON_N_USAGE; u++)
			others->usage[u] += line->usage[u];
	}
}

/* The command that inserts a row.  Needs SPI to be connected. */
static SPIPlanPtr
prepare_insert(void)
{
	static const char *const command =
		"INSERT INTO infra_monitor.statement_samples VALUES"
		" ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15,"
		"  $16, $17, $18)";
	Oid			types[SAMPLE_COLUMNS] = {
		TIMESTAMPTZOID, INT8OID, OIDOID, OIDOID, TEXTOID, TEXTOID, INT8OID,
		BOOLOID, INT8OID, FLOAT8OID, INT8OID, INT8OID, FLOAT8OID, INT8OID,
		INT8OID, INT8OID, INT8OID, InvalidOid
	};
	SPIPlanPtr	plan;

	types[SAMPLE_COLUMNS - 1] =
		GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
						CStringGetDatum("histogram"),
						ObjectIdGetDatum(get_namespace_oid("infra_monitor", false)));
	plan = SPI_prepare(command, SAMPLE_COLUMNS, types);
	if (plan == NULL)
		elog(ERROR, "could not prepare to insert statement samples");
	return plan;
}

/* A text of a name, NULL if there is none. */
static Datum
name_or_null(const char *name, char *null)
{
	if (name)
		return imon_text_datum(name);
	*null = 'n';
	return (Datum) 0;
}

/* Inserts a row. */
static void
insert_line(SPIPlanPtr plan, TimestampTz at, int64 epoch, const ImonLine *line)
{
	const ImonStatementGrowth *growth = line->growth;
	const ImonStatementKey *key = &growth->key;
	Datum		values[SAMPLE_COLUMNS] = {0};
	char		nulls[SAMPLE_COLUMNS];
	int			i = 0;

	memset(nulls, growth->has_key ? ' ' : 'n', sizeof(nulls));
	values[i++] = TimestampTzGetDatum(at);
	values[i++] = Int64GetDatum(epoch);
	memset(nulls, ' ', i);
	if (growth->has_key)
	{
		values[2] = ObjectIdGetDatum(key->userid);
		values[3] = ObjectIdGetDatum(key->dbid);
		values[4] = name_or_null(GetUserNameFromId(key->userid, true), &nulls[4]);
		values[5] = name_or_null(get_database_name(key->dbid), &nulls[5]);
		values[6] = Int64GetDatum((int64) key->queryid);
		if (key->queryid == 0)
			nulls[6] = 'n';
		values[7] = BoolGetDatum(key->toplevel);
	}
	i = 8;
	memset(&nulls[i], ' ', sizeof(nulls) - i);
	values[i++] = Int64GetDatum((int64) line->calls);
	values[i++] = Float8GetDatum(growth->counts.total_ns / 1e6);
	values[i++] = Int64GetDatum(line->usage[IMON_ROWS]);
	values[i++] = Int64GetDatum((int64) growth->counts.failures);
	values[i++] = Float8GetDatum(growth->counts.failed_ns / 1e6);
	for (int u = IMON_SHARED_BLKS_HIT; u < IMON_N_USAGE; u++)
		values[i++] = Int64GetDatum(line->usage[u]);
	values[i++] = imon_histogram_datum(growth->counts.latency);
	Assert(i == lengthof(values));

	if (!line->usage_known)
	{
		nulls[10] = 'n';
		memset(&nulls[13], 'n', IMON_N_USAGE - 1);
	}
	if (SPI_execute_plan(plan, values, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not insert statement samples");
}

/*
 * Stores the texts of the statements of this sample that have none of this day.
 * All texts are read only if there is such a statement.  Needs SPI to be
 * connected.
 */
static void
store_texts(TimestampTz at)
{
	static const char *const missing =
		"SELECT FROM infra_monitor.statement_samples m"
		" WHERE m.sampled_at OPERATOR(pg_catalog.=) $1 AND m.queryid IS NOT NULL"
		"  AND NOT EXISTS (SELECT FROM infra_monitor.statement_texts t"
		"   WHERE t.first_seen OPERATOR(pg_catalog.>=) $2"
		"    AND t.queryid OPERATOR(pg_catalog.=) m.queryid"
		"    AND t.dbid OPERATOR(pg_catalog.=) m.dbid)";
	static const char *const insert =
		"WITH missing AS MATERIALIZED ("
		" SELECT DISTINCT m.queryid, m.dbid"
		" FROM infra_monitor.statement_samples m"
		" WHERE m.sampled_at OPERATOR(pg_catalog.=) $1 AND m.queryid IS NOT NULL"
		"  AND NOT EXISTS (SELECT FROM infra_monitor.statement_texts t"
		"   WHERE t.first_seen OPERATOR(pg_catalog.>=) $2"
		"    AND t.queryid OPERATOR(pg_catalog.=) m.queryid"
		"    AND t.dbid OPERATOR(pg_catalog.=) m.dbid)"
		") INSERT INTO infra_monitor.statement_texts"
		" SELECT DISTINCT ON (m.queryid, m.dbid) $1, m.queryid, m.dbid,"
		"  pg_catalog.left(s.query, $3)"
		" FROM missing m JOIN infra_monitor.statement_stats(true) s"
		"  ON s.queryid OPERATOR(pg_catalog.=) m.queryid"
		"   AND s.dbid OPERATOR(pg_catalog.=) m.dbid"
		" WHERE s.query IS NOT NULL";
	Oid			types[3] = {TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID};
	Datum		values[3];

	values[0] = TimestampTzGetDatum(at);
	values[1] = TimestampTzGetDatum(at - at % USECS_PER_DAY);
	values[2] = Int32GetDatum(MAX_TEXT);
	if (SPI_execute_with_args(missing, 2, types, values, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look for statement texts");
	if (SPI_processed > 0 &&
		SPI_execute_with_args(insert, 3, types, values, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not insert statement texts");
}

/*
 * All that was counted.  The list has to outlive everything but the
 * transaction.
 */
static List *
read_growth(void)
{
	MemoryContext context = MemoryContextSwitchTo(TopTransactionContext);
	List	   *growths = imon_statement_growth();

	MemoryContextSwitchTo(context);
	return growths;
}

/* Writes a sample.  Needs SPI to be connected, and the writers' lock. */
static void
write_sample(TimestampTz at)
{
	/* first: what is counted meanwhile is then missing there, not here */
	HTAB	   *usages = read_usages();
	List	   *growths = read_growth();
	int64		epoch = imon_current_epoch();
	SPIPlanPtr	plan = prepare_insert();
	ImonLine   *lines;
	ImonLine	others;
	int			n = make_lines(growths, usages, &lines);

	choose_top(lines, n);
	add_up_others(lines, n, &others);
	for (int i = 0; i < n; i++)
		if (lines[i].on_top)
			insert_line(plan, at, epoch, &lines[i]);
	insert_line(plan, at, epoch, &others);
	if (imon_pg_stat_statements_loaded())
		store_texts(at);
	expect_commit(growths);
}

/* Takes a sample in this transaction and returns its time. */
static TimestampTz
take_sample(void)
{
	TimestampTz at;
	ImonIdentity identity;

	imon_begin_writing(&identity, "statement_samples");
	(void) imon_check_table("statement_texts");
	at = GetCurrentTimestamp(); /* not earlier: another may have written */
	SPI_connect();
	imon_ensure_partition("statement_samples", at);
	imon_ensure_partition("statement_texts", at);
	write_sample(at);
	SPI_finish();
	imon_end_writing(&identity);
	return at;
}

void
imon_store_statements(void)
{
	if (RecoveryInProgress())
		imon_statements_stored(read_growth());
	else
		(void) take_sample();
}

/* SQL: take_statement_sample() returns the time of the sample. */
Datum
imon_take_statement_sample_1_0(PG_FUNCTION_ARGS)
{
	imon_require_home();
	if (pending != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this transaction has taken a sample of the statements already"),
				 errhint("Commit it first.")));
	PG_RETURN_TIMESTAMPTZ(take_sample());
}

/*
 * SQL: top_statements_order(order_by, n) returns order_by.  Errors: it is none
 * of the columns below, n is not positive.
 */
Datum
imon_top_statements_order_1_0(PG_FUNCTION_ARGS)
{
	static const char *const valid[] = {
		"exec_time", "calls", "failed_time", "p95_time", "rows",
		"shared_blks_read", "temp_blks_written", "wal_bytes"
	};
	char	   *order;

	imon_require_arguments(fcinfo, 2);
	order = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (PG_GETARG_INT32(1) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the number of statements must be greater than zero")));
	for (int i = 0; i < lengthof(valid); i++)
		if (strcmp(order, valid[i]) == 0)
			PG_RETURN_TEXT_P(cstring_to_text(order));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("statements cannot be ordered by \"%s\"", order),
			 errhint("Valid values are \"exec_time\", \"calls\", \"failed_time\", \"p95_time\", \"rows\", \"shared_blks_read\", \"temp_blks_written\" and \"wal_bytes\".")));
}
