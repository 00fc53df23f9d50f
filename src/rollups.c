/*-------------------------------------------------------------------------
 *
 * rollups.c
 *	  Merges the history of each hour into a few rows, and that of each day.
 *
 * Soon after an hour (UTC) has ended, its samples are merged into one row, its
 * statement and wait samples into a limited number of rows.  When all hours of a
 * day are done, they are merged once more.  How is said in SQL, see
 * rollup_merges.sql.
 *
 * What was done is known from what is there: an hour with rows is never done
 * again, and work goes on with the first one after the youngest that has some.
 * Where no samples were taken it goes on with the next that has samples.  All
 * that is under the lock of the writers, so no sample of an hour that has
 * ended is missing.  What a clock writes that was set back into an hour that is
 * done stays in the samples only; hours of a clock that was ahead are passed
 * over as long as they are in the future.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "guc.h"
#include "miscadmin.h"
#include "partitions.h"
#include "rollups.h"
#include "rows.h"
#include "samples.h"
#include "shmem.h"
#include "storage.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define DELAY (5 * USECS_PER_SEC)	/* after the hour; not at the same moment
									 * as samples */
#define MAX_LINE_BYTES 2048		/* of a row of statements, indexed */

/* A table of rollups. */
typedef struct ImonRollup
{
	const char *table;
	const char *from;			/* table that is merged */
	const char *from_column;	/* its time */
	const char *source;			/* table of days that is read for it */
	int64		length;			/* of what a row stands for */
	ImonWriter	writer;
	const char *command;		/* since $1, until $2, at most $3 statements */
} ImonRollup;

/* Those of days after those of hours that they are made of. */
static const ImonRollup rollups[] = {
	{
		"samples_hourly", "samples", "sampled_at", "samples",
		USECS_PER_HOUR, IMON_WRITES_SAMPLES,
		"SELECT infra_monitor.roll_up_samples($1, $2)"
	},
	{
		"statement_samples_hourly", "statement_samples", "sampled_at", "statement_samples",
		USECS_PER_HOUR, IMON_WRITES_DETAIL,
		"INSERT INTO infra_monitor.statement_samples_hourly"
		" SELECT * FROM infra_monitor.merged_statements($1, $2, false, $3)"
	},
	{
		"wait_samples_hourly", "wait_samples", "sampled_at", "wait_samples",
		USECS_PER_HOUR, IMON_WRITES_DETAIL,
		"INSERT INTO infra_monitor.wait_samples_hourly"
		" SELECT * FROM infra_monitor.merged_waits($1, $2, false)"
	},
	{
		"samples_daily", "samples_hourly", "begins_at", "samples",
		USECS_PER_DAY, IMON_WRITES_SAMPLES,
		"SELECT infra_monitor.roll_up_sample_hours($1, $2)"
	},
	{
		"statement_samples_daily", "statement_samples_hourly", "begins_at", "statement_texts",
		USECS_PER_DAY, IMON_WRITES_DETAIL,
		"INSERT INTO infra_monitor.statement_samples_daily"
		" SELECT * FROM infra_monitor.merged_statements($1, $2, true, $3)"
	},
	{
		"wait_samples_daily", "wait_samples_hourly", "begins_at", "wait_samples",
		USECS_PER_DAY, IMON_WRITES_DETAIL,
		"INSERT INTO infra_monitor.wait_samples_daily"
		" SELECT * FROM infra_monitor.merged_waits($1, $2, true)"
	}
};

/* Everything that had ended then is done, by what this process has found. */
static TimestampTz done_until = 0;

PG_FUNCTION_INFO_V1(imon_roll_up_1_0);
PG_FUNCTION_INFO_V1(imon_rollups_due_1_0);

static TimestampTz
floor_to(TimestampTz moment, int64 length)
{
	int64		remainder = moment % length;

	return moment - (remainder < 0 ? remainder + length : remainder);
}

/*
 * Runs a query that returns one moment.  False if it returns none.  Needs SPI to
 * be connected.
 */
static bool
find_moment(const char *query, TimestampTz since, TimestampTz until,
			TimestampTz *moment)
{
	Oid			types[2] = {TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum		values[2];
	bool		isnull = true;
	Datum		value = 0;

	values[0] = TimestampTzGetDatum(since);
	values[1] = TimestampTzGetDatum(until);
	if (SPI_execute_with_args(query, 2, types, values, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look for what is to be rolled up");
	if (SPI_processed > 0)
		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
							  &isnull);
	if (!isnull)
		*moment = DatumGetTimestampTz(value);
	SPI_freetuptable(SPI_tuptable);
	return !isnull;
}

/* The last one that is there in a span. */
static bool
find_last_done(const ImonRollup *rollup, TimestampTz since, TimestampTz until,
			   TimestampTz *begins)
{
	return find_moment(psprintf("SELECT pg_catalog.max(r.begins_at) FROM infra_monitor.%s r"
								" WHERE r.begins_at OPERATOR(pg_catalog.>=) $1"
								"  AND r.begins_at OPERATOR(pg_catalog.<) $2",
								rollup->table),
					   since, until, begins);
}

/*
 * Finds the first row to be merged in a span.  A table is read as it was
 * written: the first row that is found is the first of its partition, unless the
 * clock was set back meanwhile.
 */
static bool
find_first(const ImonRollup *rollup, TimestampTz since, TimestampTz until,
		   TimestampTz *first)
{
	const char *some = psprintf("SELECT s.%s FROM infra_monitor.%s s"
								" WHERE s.%s OPERATOR(pg_catalog.>=) $1"
								"  AND s.%s OPERATOR(pg_catalog.<) $2 LIMIT 1",
								rollup->from_column, rollup->from,
								rollup->from_column, rollup->from_column);
	const char *least = psprintf("SELECT pg_catalog.min(s.%s) FROM infra_monitor.%s s"
								 " WHERE s.%s OPERATOR(pg_catalog.>=) $1"
								 "  AND s.%s OPERATOR(pg_catalog.<) $2",
								 rollup->from_column, rollup->from,
								 rollup->from_column, rollup->from_column);
	TimestampTz earlier;

	/* nearly always, and then one partition is enough */
	if (find_moment(some, since, Min(until, since + rollup->length), first))
		return true;
	if (!find_moment(some, since, until, first))
		return false;
	if (find_moment(least, since, floor_to(*first, rollup->length), &earlier))
		*first = earlier;
	return true;
}

/*
 * Finds the next hour or day of a table that had ended at this moment and is to
 * be rolled up, if that would be kept then; a day only if all its hours are.
 * Needs SPI to be connected.
 */
static bool
find_due(int i, TimestampTz until, TimestampTz *begins)
{
	const ImonRollup *rollup = &rollups[i];
	TimestampTz end = floor_to(until, rollup->length);
	TimestampTz since = imon_rollups_kept_from(until);
	TimestampTz last;
	TimestampTz first;
	TimestampTz hour;

	if (find_last_done(rollup, since, end, &last))
		since = last + rollup->length;
	if (!find_first(rollup, since, end, &first))
		return false;
	*begins = floor_to(first, rollup->length);
	if (rollup->length == USECS_PER_HOUR)
		return true;
	return !find_due(i - lengthof(rollups) / 2, until, &hour) ||
		hour >= *begins + USECS_PER_DAY;
}

/*
 * Stores texts of the statements of a day that have none yet of this month, in
 * so many bytes.
 */
static void
keep_texts(TimestampTz day, int64 room)
{
	static const char *const command =
		"WITH texts AS ("
		" SELECT DISTINCT ON (t.queryid, t.dbid) t.queryid, t.dbid, t.query"
		" FROM infra_monitor.statement_samples_daily d"
		"  JOIN infra_monitor.statement_texts t"
		"   ON t.queryid OPERATOR(pg_catalog.=) d.queryid"
		"    AND t.dbid OPERATOR(pg_catalog.=) d.dbid"
		" WHERE d.begins_at OPERATOR(pg_catalog.=) $1"
		"  AND t.first_seen OPERATOR(pg_catalog.>=) $1"
		"  AND t.first_seen OPERATOR(pg_catalog.<) $2"
		"  AND NOT EXISTS (SELECT FROM infra_monitor.statement_texts_monthly m"
		"   WHERE m.first_seen OPERATOR(pg_catalog.>=) $3"
		"    AND m.first_seen OPERATOR(pg_catalog.<) $2"
		"    AND m.queryid OPERATOR(pg_catalog.=) d.queryid"
		"    AND m.dbid OPERATOR(pg_catalog.=) d.dbid)"
		") INSERT INTO infra_monitor.statement_texts_monthly"
		" SELECT $1, t.queryid, t.dbid, t.query"
		" FROM (SELECT *, sum(pg_catalog.octet_length(x.query)"
		"   OPERATOR(pg_catalog.+) 256) OVER (ORDER BY x.queryid, x.dbid) AS bytes"
		"  FROM texts x) t"
		" WHERE t.bytes OPERATOR(pg_catalog.<=) $4";
	Oid			types[4] = {TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID};
	Datum		values[4];

	values[0] = TimestampTzGetDatum(day);
	values[1] = TimestampTzGetDatum(day + USECS_PER_DAY);
	values[2] = TimestampTzGetDatum(imon_period_of("statement_texts_monthly", day));
	values[3] = Int64GetDatum(room);
	(void) imon_check_table("statement_texts_monthly");
	imon_ensure_partition("statement_texts_monthly", day);
	imon_note_written("statement_texts_monthly", day);
	if (SPI_execute_with_args(command, 4, types, values, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not store texts of statements");
	imon_note_written("statement_texts_monthly", day);
}

/*
 * Rolls up an hour or day.  False if there is no room for it.  Needs the
 * writers' lock, and SPI to be connected.
 */
static bool
roll_up(const ImonRollup *rollup, TimestampTz begins)
{
	Oid			types[3] = {TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID};
	Datum		values[3];
	int64		room;

	imon_ensure_partition(rollup->table, begins);
	room = imon_room_to_write(rollup->writer, rollup->table, begins);
	if (room == 0)
		return false;
	values[0] = TimestampTzGetDatum(begins);
	values[1] = TimestampTzGetDatum(begins + rollup->length);
	values[2] = Int32GetDatum(Min(imon_top_statements, room / 2 / MAX_LINE_BYTES));
	if (SPI_execute_with_args(rollup->command, 3, types, values, NULL, false, 0) < 0)
		elog(ERROR, "could not roll up");
	if (strcmp(rollup->table, "statement_samples_daily") == 0)
		keep_texts(begins, room / 2);
	imon_note_written(rollup->table, begins);
	return true;
}

/*
 * Rolls up what is due of a table, one hour or day or all of them, and returns
 * how many these were.  *full is set if there was no room for more.
 */
static int
roll_up_due(int i, TimestampTz until, bool all, bool *full)
{
	ImonIdentity identity;
	TimestampTz begins;
	int			n = 0;

	imon_begin_writing(&identity, rollups[i].table);
	do
	{
		CHECK_FOR_INTERRUPTS();
		SPI_connect();
		if (!find_due(i, until, &begins))
			all = false;
		else if (roll_up(&rollups[i], begins))
			n++;
		else
		{
			*full = true;
			all = false;
		}
		SPI_finish();
	} while (all);
	imon_end_writing(&identity);
	return n;
}

/* One step for a table; false if there is nothing to do, or no room for it. */
static bool
roll_up_step(const char *table)
{
	bool		full = false;

	for (int i = 0; i < lengthof(rollups); i++)
		if (strcmp(rollups[i].table, table) == 0)
			return roll_up_due(i, GetCurrentTimestamp() - DELAY, false, &full) > 0;
	return false;
}

/* The moment up to which all is to be done now. */
static TimestampTz
end_of_work(void)
{
	return floor_to(GetCurrentTimestamp() - DELAY, USECS_PER_HOUR);
}

bool
imon_rollups_pending(void)
{
	return end_of_work() != done_until;
}

/*
 * A table that cannot be written does not hold up the others.  Its error is
 * raised when there is nothing else to do.
 */
bool
imon_roll_up_next(void)
{
	TimestampTz end = end_of_work();
	ErrorData  *error = NULL;

	for (int i = 0; i < lengthof(rollups); i++)
		if (imon_run_contained(roll_up_step, rollups[i].table, &error))
			return true;
	if (error)
		ReThrowError(error);

	/* if there was no room for them, they are as due in an hour */
	done_until = end;
	return false;
}

/* SQL: roll_up(until) returns how many hours and days it has rolled up. */
Datum
imon_roll_up_1_0(PG_FUNCTION_ARGS)
{
	TimestampTz until;
	bool		full = false;
	int			n = 0;

	imon_require_arguments(fcinfo, 1);
	imon_require_home();
	until = Min(PG_GETARG_TIMESTAMPTZ(0), GetCurrentTimestamp());
	for (int i = 0; i < lengthof(rollups); i++)
		n += roll_up_due(i, until, true, &full);
	if (full)
		imon_raise_no_room();
	PG_RETURN_INT32(n);
}

/*
 * SQL: rollups_due(until), a row for each table that has something to be rolled
 * up: rollup, source, begins_at.
 */
Datum
imon_rollups_due_1_0(PG_FUNCTION_ARGS)
{
	TimestampTz until;
	TimestampTz begins[lengthof(rollups)];
	bool		due[lengthof(rollups)];
	ReturnSetInfo *rsinfo;

	imon_require_arguments(fcinfo, 1);
	until = Min(PG_GETARG_TIMESTAMPTZ(0), GetCurrentTimestamp());
	for (int i = 0; i < lengthof(rollups); i++)
	{
		SPI_connect();
		due[i] = find_due(i, until, &begins[i]);
		SPI_finish();
	}
	rsinfo = imon_begin_rows(fcinfo, 3);
	for (int i = 0; i < lengthof(rollups); i++)
	{
		Datum		values[3];
		bool		nulls[3] = {false};

		if (!due[i])
			continue;
		values[0] = CStringGetTextDatum(rollups[i].table);
		values[1] = CStringGetTextDatum(rollups[i].source);
		values[2] = TimestampTzGetDatum(begins[i]);
		imon_put_row(rsinfo, values, nulls);
	}
	return (Datum) 0;
}
