/*-------------------------------------------------------------------------
 *
 * statement_samples.c
 *	  History of the statements: what each has grown by in an interval.
 *
 * A sample has a row for each statement that was among the first
 * infra_monitor.top_statements by time, calls, time of failures or p95 of the
 * interval, and one row for all others, so that the sum is right.
 *
 * What they are compared with is in the baseline, which advances on commit only
 * (see baseline.c), and has what pg_stat_statements had counted then, too.  Its
 * counters can begin anew at any time, together or one by one, and unless it
 * is certain what they have grown by, that is stored as NULL.
 *
 * A table of a million statements is a lot of memory to copy twice: what was
 * counted is kept as in the baseline, packed, and unpacked one by one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/stat.h>

#include "access/xlog.h"
#include "baseline.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "guc.h"
#include "histogram_type.h"
#include "miscadmin.h"
#include "partitions.h"
#include "pg_stat_statements.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "rows.h"
#include "samples.h"
#include "shmem.h"
#include "statement_samples.h"
#include "statements.h"
#include "storage.h"
#include "texts.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define MAX_TEXT 8192			/* characters of a query that are kept */
#define MAX_LINE_BYTES 2048		/* of a row of statement_samples, indexed */
#define SAMPLE_COLUMNS 18

/* The file in which pg_stat_statements keeps its texts. */
#define PGSS_TEXT_FILE PG_STAT_TMP_DIR "/pgss_query_texts.stat"
#define MAX_TEXT_FILE (64 * 1024 * 1024)

typedef struct ImonTextsShared
{
	pg_atomic_uint64 texts_skipped;
} ImonTextsShared;

static ImonTextsShared *shared = NULL;

/* What a statement has grown by, if it has. */
typedef struct ImonLine
{
	ImonTallyEntry *now;
	const ImonTallyEntry *before;	/* NULL: new */
	uint64		calls;
	uint64		total_ns;
	uint64		failures;
	uint64		failed_ns;
	double		p95;			/* ns, 0 if nothing has completed */
	bool		on_top;
	bool		usage_known;
	int64		usage[IMON_N_USAGE];
} ImonLine;

/* What all statements have grown by. */
typedef struct ImonInterval
{
	ImonLine   *lines;
	int			n_lines;
	ImonCounts	evicted;		/* what has no line: statements that are gone */
} ImonInterval;

/* Where a statement is in a tally. */
typedef struct ImonPlace
{
	ImonStatementKey key;
	ImonTallyEntry *entry;
} ImonPlace;

PG_FUNCTION_INFO_V1(imon_baseline_size_1_0);
PG_FUNCTION_INFO_V1(imon_take_statement_sample_1_0);
PG_FUNCTION_INFO_V1(imon_top_statements_order_1_0);

static Size
texts_size(void)
{
	return sizeof(ImonTextsShared);
}

static void
texts_init(void *part, LWLock *lock)
{
	pg_atomic_init_u64(&((ImonTextsShared *) part)->texts_skipped, 0);
}

static const ImonShmemPart texts_part = {
	.name = "infra_monitor statement texts",
	.size = texts_size,
	.init = texts_init,
	.address = (void **) &shared
};

void
imon_statement_samples_init(void)
{
	imon_shmem_register(&texts_part);
}

uint64
imon_statement_texts_skipped(void)
{
	return pg_atomic_read_u64(&shared->texts_skipped);
}

/* Takes what pg_stat_statements counts of a statement, if we count it too. */
static void
keep_usage(void *arg, const ImonStatementKey *key, const ImonPgssCounts *counts)
{
	ImonPlace  *place = hash_search((HTAB *) arg, key, HASH_FIND, NULL);

	if (place)
		place->entry->usage = *counts;
}

/*
 * Completes a tally with what pg_stat_statements counts now, if it does.  Needs
 * SPI to be connected.
 */
static void
read_usages(ImonTally *tally)
{
	HASHCTL		control = {.keysize = sizeof(ImonStatementKey),
	.entrysize = sizeof(ImonPlace),.hcxt = CurrentMemoryContext};
	HTAB	   *places;

	if (!imon_pg_stat_statements_loaded())
		return;
	places = hash_create("infra_monitor places", Max(tally->n_entries, 1),
						 &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	for (ImonTallyEntry *entry = imon_first_entry(tally);
		 entry != imon_end_of_entries(tally); entry = imon_next_entry(entry))
	{
		ImonPlace  *place = hash_search(places, &entry->key, HASH_ENTER, NULL);

		place->entry = entry;
	}
	imon_read_pgss_counts(keep_usage, places);
	hash_destroy(places);
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
 * What a statement has used in the interval, if it is certain.
 *
 * Counters that go on have grown by as many calls as ours; fewer only by what
 * was being executed at this moment.  Had they begun anew meanwhile, and passed
 * what they were, they would lack all the calls that they had before; so half
 * of these is the most that may be missing.  Counters that have begun anew are
 * good if they have as many calls as we.
 */
static void
compare_usage(ImonLine *line, const ImonPgssCounts *before,
			  const ImonPgssCounts *now)
{
	static const ImonPgssCounts none = {.known = true};
	const ImonPgssCounts *from = &none;

	if (now->calls == 0)
	{
		/* statements that only fail may not be there, and have used nothing */
		line->usage_known = line->calls == 0 && !before->known;
		return;
	}
	if (continues(before, now) &&
		2 * ((int64) line->calls - (now->calls - before->calls)) <= before->calls)
	{
		from = before;
		line->usage_known = true;
	}
	else
		line->usage_known = now->known && now->calls == (int64) line->calls;
	for (int i = 0; i < IMON_N_USAGE; i++)
		line->usage[i] = now->columns[i] - from->columns[i];
}

/* Has a statement been executed since? */
static bool
has_grown(const ImonTallyEntry *now, const ImonTallyEntry *before)
{
	return before == NULL || now->total_ns != before->total_ns ||
		now->failures != before->failures ||
		now->failed_ns != before->failed_ns ||
		now->latency_bytes != before->latency_bytes ||
		memcmp(now->latency, before->latency, now->latency_bytes) != 0;
}

/*
 * What a count has grown by.  It never decreases; should it seem so all the
 * same, the interval shall not be one of immense growth.
 */
static inline uint64
difference(uint64 now, uint64 before)
{
	Assert(now >= before);
	return now > before ? now - before : 0;
}

/* The times of the executions of a line. */
static void
read_latency(const ImonLine *line, uint64 *latency)
{
	uint64		before[IMON_HISTOGRAM_BUCKETS];

	imon_histogram_unpack(line->now->latency, line->now->latency_bytes, latency);
	if (line->before == NULL)
		return;
	imon_histogram_unpack(line->before->latency, line->before->latency_bytes,
						  before);
	for (int i = 0; i < IMON_HISTOGRAM_BUCKETS; i++)
		latency[i] = difference(latency[i], before[i]);
}

/* Fills in what a statement has grown by. */
static void
fill_line(ImonLine *line, ImonTallyEntry *now, const ImonTallyEntry *before)
{
	uint64		latency[IMON_HISTOGRAM_BUCKETS];

	line->now = now;
	line->before = before;
	line->total_ns = difference(now->total_ns, before ? before->total_ns : 0);
	line->failures = difference(now->failures, before ? before->failures : 0);
	line->failed_ns = difference(now->failed_ns, before ? before->failed_ns : 0);
	read_latency(line, latency);
	line->calls = imon_histogram_total(latency);
	if (line->calls > 0)
		line->p95 = imon_histogram_quantile(latency, 0.95);
}

/*
 * Looks at a statement, and adds a line if it has grown.  If it has not,
 * whatever pg_stat_statements has counted belongs to the next time it does.
 */
static void
add_line(ImonInterval *interval, ImonTallyEntry *now,
		 const ImonTallyEntry *before)
{
	static const ImonPgssCounts none = {0};
	const ImonPgssCounts *usage = before ? &before->usage : &none;
	ImonLine   *line = &interval->lines[interval->n_lines];

	if (!has_grown(now, before))
	{
		now->usage = *usage;
		return;
	}
	interval->n_lines++;
	memset(line, 0, sizeof(*line));
	fill_line(line, now, before);
	compare_usage(line, usage, &now->usage);
}

/* Subtracts what was known before from what those that are gone have left. */
static void
subtract(ImonCounts *from, uint64 total_ns, uint64 failures, uint64 failed_ns,
		 const uint64 *latency)
{
	from->total_ns = difference(from->total_ns, total_ns);
	from->failures = difference(from->failures, failures);
	from->failed_ns = difference(from->failed_ns, failed_ns);
	for (int i = 0; i < IMON_HISTOGRAM_BUCKETS; i++)
		from->latency[i] = difference(from->latency[i], latency[i]);
}

/* The same, of a statement that has been evicted since. */
static void
subtract_entry(ImonCounts *from, const ImonTallyEntry *gone)
{
	uint64		latency[IMON_HISTOGRAM_BUCKETS];

	imon_histogram_unpack(gone->latency, gone->latency_bytes, latency);
	subtract(from, gone->total_ns, gone->failures, gone->failed_ns, latency);
}

/*
 * What was counted since the baseline (NULL: nothing was counted then).  Both
 * are in the order of the slots.  A statement is the same if slot and
 * generation are; one that is gone has added all its counts to those of the
 * evicted, so what it had before is subtracted there.
 */
static void
compare_tallies(ImonInterval *interval, const ImonTally *now,
				const ImonTally *before)
{
	ImonTallyEntry *entry = imon_first_entry(now);
	ImonTallyEntry *end = imon_end_of_entries(now);
	const ImonTallyEntry *old = before ? imon_first_entry(before) : NULL;
	const ImonTallyEntry *old_end = before ? imon_end_of_entries(before) : NULL;

	interval->lines = MemoryContextAllocHuge(CurrentMemoryContext,
											 sizeof(ImonLine) * (now->n_entries + 1));
	interval->n_lines = 0;
	interval->evicted = now->evicted;
	if (before)
		subtract(&interval->evicted, before->evicted.total_ns,
				 before->evicted.failures, before->evicted.failed_ns,
				 before->evicted.latency);
	while (entry != end || old != old_end)
	{
		bool		same = entry != end && old != old_end &&
			entry->slot == old->slot && entry->generation == old->generation;

		if (old != old_end && !same &&
			(entry == end || old->slot <= entry->slot))
		{
			subtract_entry(&interval->evicted, old);
			old = imon_next_entry(old);
			continue;
		}
		add_line(interval, entry, same ? old : NULL);
		entry = imon_next_entry(entry);
		if (same)
			old = imon_next_entry(old);
	}
}

/* By what statements are chosen. */
static double
by_time(const ImonLine *line)
{
	return line->total_ns;
}

static double
by_calls(const ImonLine *line)
{
	return line->calls;
}

static double
by_failed_time(const ImonLine *line)
{
	return line->failed_ns;
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

/*
 * Chooses the statements that have a row of their own, at most as many as there
 * is room for: the others are added up.
 */
static void
choose_top(const ImonInterval *interval, int64 room)
{
	static const ImonMeasure measures[] = {by_time, by_calls, by_failed_time, by_p95};
	int			n = interval->n_lines;
	int			top = Min(imon_top_statements,
						  room / MAX_LINE_BYTES / lengthof(measures));
	ImonLine  **order = MemoryContextAllocHuge(CurrentMemoryContext,
											   sizeof(ImonLine *) * (n + 1));

	for (int i = 0; i < n; i++)
		order[i] = &interval->lines[i];
	for (int m = 0; m < lengthof(measures); m++)
	{
		qsort_arg(order, n, sizeof(ImonLine *), compare_lines,
				  unconstify(ImonMeasure *, &measures[m]));
		for (int i = 0; i < Min(n, top); i++)
			if (measures[m] (order[i]) > 0)
				order[i]->on_top = true;
	}
	pfree(order);
}

/*
 * Adds up those that have no row of their own.  What those that are gone have
 * used is not known.
 */
static void
add_up_others(const ImonInterval *interval, ImonLine *others, uint64 *latency)
{
	const ImonCounts *evicted = &interval->evicted;
	uint64		one[IMON_HISTOGRAM_BUCKETS];

	memset(others, 0, sizeof(*others));
	memcpy(latency, evicted->latency, sizeof(evicted->latency));
	others->calls = imon_histogram_total(latency);
	others->usage_known = others->calls == 0;
	others->total_ns = evicted->total_ns;
	others->failures = evicted->failures;
	others->failed_ns = evicted->failed_ns;
	for (int i = 0; i < interval->n_lines; i++)
	{
		const ImonLine *line = &interval->lines[i];

		if (line->on_top)
			continue;
		others->calls += line->calls;
		others->total_ns += line->total_ns;
		others->failures += line->failures;
		others->failed_ns += line->failed_ns;
		read_latency(line, one);
		for (int b = 0; b < IMON_HISTOGRAM_BUCKETS; b++)
			latency[b] += one[b];
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

	types[SAMPLE_COLUMNS - 1] = imon_histogram_type();
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
insert_line(SPIPlanPtr plan, TimestampTz at, int64 epoch, const ImonLine *line,
			const uint64 *latency)
{
	const ImonStatementKey *key = line->now ? &line->now->key : NULL;
	Datum		values[SAMPLE_COLUMNS] = {0};
	char		nulls[SAMPLE_COLUMNS];
	int			i = 0;

	memset(nulls, key ? ' ' : 'n', sizeof(nulls));
	values[i++] = TimestampTzGetDatum(at);
	values[i++] = Int64GetDatum(epoch);
	memset(nulls, ' ', i);
	if (key)
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
	values[i++] = Float8GetDatum(line->total_ns / 1e6);
	values[i++] = Int64GetDatum(line->usage[IMON_ROWS]);
	values[i++] = Int64GetDatum((int64) line->failures);
	values[i++] = Float8GetDatum(line->failed_ns / 1e6);
	for (int u = IMON_SHARED_BLKS_HIT; u < IMON_N_USAGE; u++)
		values[i++] = Int64GetDatum(line->usage[u]);
	values[i++] = imon_histogram_datum(latency);
	Assert(i == lengthof(values));

	if (!line->usage_known)
	{
		nulls[10] = 'n';
		memset(&nulls[13], 'n', IMON_N_USAGE - 1);
	}
	if (SPI_execute_plan(plan, values, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not insert statement samples");
}

/* Inserts all rows of a sample.  Needs SPI to be connected. */
static void
insert_lines(const ImonInterval *interval, TimestampTz at, int64 epoch)
{
	SPIPlanPtr	plan = prepare_insert();
	uint64		latency[IMON_HISTOGRAM_BUCKETS];
	MemoryContext row = AllocSetContextCreate(CurrentMemoryContext,
											  "infra_monitor row",
											  ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(row);
	ImonLine	others;

	for (int i = 0; i < interval->n_lines; i++)
	{
		const ImonLine *line = &interval->lines[i];

		if (!line->on_top)
			continue;
		read_latency(line, latency);
		insert_line(plan, at, epoch, line, latency);
		MemoryContextReset(row);
		CHECK_FOR_INTERRUPTS();
	}
	add_up_others(interval, &others, latency);
	insert_line(plan, at, epoch, &others, latency);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(row);
}

/* Is the file of the texts so large that it is better left alone? */
static bool
texts_too_large(void)
{
	struct stat file;

	return stat(PGSS_TEXT_FILE, &file) == 0 && file.st_size > MAX_TEXT_FILE;
}

/*
 * Statements of this sample that have no text of this day.
 */
#define WITHOUT_TEXT \
	"SELECT DISTINCT m.queryid, m.dbid" \
	" FROM infra_monitor.statement_samples m" \
	" WHERE m.sampled_at OPERATOR(pg_catalog.=) $1 AND m.queryid IS NOT NULL" \
	"  AND NOT EXISTS (SELECT FROM infra_monitor.statement_texts t" \
	"   WHERE t.first_seen OPERATOR(pg_catalog.>=) $2" \
	"    AND t.queryid OPERATOR(pg_catalog.=) m.queryid" \
	"    AND t.dbid OPERATOR(pg_catalog.=) m.dbid)"

/*
 * Stores the texts of these statements.  pg_stat_statements reads its whole file
 * for any of them; so that is done only if there is such a statement, and not
 * at all if the file is very large: then it is counted.  Those for which there
 * is no room are left for the next sample.  Needs SPI to be connected.
 */
static void
store_texts(TimestampTz at, int64 room)
{
	static const char *const insert =
		"WITH missing AS MATERIALIZED (" WITHOUT_TEXT ")"
		", texts AS ("
		" SELECT DISTINCT ON (m.queryid, m.dbid) m.queryid, m.dbid,"
		"  pg_catalog.left(s.query, $3) AS query"
		" FROM missing m JOIN infra_monitor.statement_stats(true) s"
		"  ON s.queryid OPERATOR(pg_catalog.=) m.queryid"
		"   AND s.dbid OPERATOR(pg_catalog.=) m.dbid"
		" WHERE s.query IS NOT NULL"
		") INSERT INTO infra_monitor.statement_texts"
		" SELECT $1, t.queryid, t.dbid, t.query"
		" FROM (SELECT *, sum(pg_catalog.octet_length(x.query)"
		"   OPERATOR(pg_catalog.+) 256) OVER (ORDER BY x.queryid, x.dbid) AS bytes"
		"  FROM texts x) t"
		" WHERE t.bytes OPERATOR(pg_catalog.<=) $4";
	Oid			types[4] = {TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID, INT8OID};
	Datum		values[4];

	values[0] = TimestampTzGetDatum(at);
	values[1] = TimestampTzGetDatum(at - at % USECS_PER_DAY);
	values[2] = Int32GetDatum(MAX_TEXT);
	values[3] = Int64GetDatum(room);
	if (SPI_execute_with_args(WITHOUT_TEXT, 2, types, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for statement texts");
	if (SPI_processed == 0)
		return;
	if (texts_too_large())
		pg_atomic_fetch_add_u64(&shared->texts_skipped, SPI_processed);
	else if (SPI_execute_with_args(insert, 4, types, values, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not insert statement texts");
}

/*
 * Compares the counts with the baseline, and writes what they have grown by, in
 * so many bytes; 0 on a standby, which only notes what they are.  Returns false
 * if what they were is not known.  Needs SPI to be connected.
 */
static bool
write_sample(TimestampTz at, int64 room)
{
	ImonTally  *tally = imon_tally_statements();
	ImonInterval *interval = palloc(sizeof(ImonInterval));
	ImonBaseline baseline;
	const ImonTally *before;

	read_usages(tally);
	imon_open_baseline(&baseline);
	before = baseline.tally;
	if (before && before->stats_reset != tally->stats_reset)
		before = NULL;			/* all counts have begun anew */
	compare_tallies(interval, tally, before);
	if (room > 0 && baseline.known)
	{
		choose_top(interval, room / 2);
		insert_lines(interval, at, imon_epoch_of_statements(tally->stats_reset));
	}
	imon_close_baseline(&baseline);
	imon_replace_baseline(&baseline, tally);

	/* texts can take a lot of memory, too */
	pfree(interval->lines);
	pfree(tally);
	if (room > 0 && baseline.known && imon_pg_stat_statements_loaded())
		store_texts(at, room / 2);
	return baseline.known;
}

/*
 * Takes a sample in this transaction, if there is room for it; *known is false
 * if what was counted since the one before is not.  Without room, false: then
 * the next sample has it.
 */
static bool
take_sample(TimestampTz *at, bool *known)
{
	ImonIdentity identity;
	int64		room;

	imon_begin_writing(&identity, "statement_samples");
	(void) imon_check_table("statement_texts");
	*at = GetCurrentTimestamp();	/* not earlier: another may have written */
	SPI_connect();
	imon_ensure_partition("statement_samples", *at);
	imon_ensure_partition("statement_texts", *at);
	room = imon_room_to_write(IMON_WRITES_DETAIL, "statement_samples", *at);
	if (room > 0)
	{
		imon_note_written("statement_texts", *at);
		*known = write_sample(*at, room);
		imon_note_written("statement_samples", *at);
		imon_note_written("statement_texts", *at);
	}
	SPI_finish();
	imon_end_writing(&identity);
	return room > 0;
}

void
imon_store_statements(void)
{
	TimestampTz at;
	bool		known;

	if (RecoveryInProgress())
	{
		SPI_connect();
		(void) write_sample(0, 0);
		SPI_finish();
	}
	else
		(void) take_sample(&at, &known);
}

/* SQL: take_statement_sample() returns the time of the sample. */
Datum
imon_take_statement_sample_1_0(PG_FUNCTION_ARGS)
{
	TimestampTz at;
	bool		known = false;

	imon_require_home();
	if (imon_baseline_pending())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this transaction has taken a sample of the statements already"),
				 errhint("Commit it first.")));
	if (!take_sample(&at, &known))
		imon_raise_no_room();
	if (!known)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(at);
}

/* SQL: baseline_size(). */
Datum
imon_baseline_size_1_0(PG_FUNCTION_ARGS)
{
	imon_shmem_require();
	PG_RETURN_INT64((int64) imon_baseline_size());
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
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
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
