/*-------------------------------------------------------------------------
 *
 * history.c
 *	  Into which buckets a span of history is divided, and what they are made of.
 *
 * The samples of some days are kept, and for longer what they were rolled up to:
 * a row for each hour and, of that, for each day.  A span is read from the
 * coarsest of them that gives the same result: whole hours or days of it where
 * the buckets are made of such, and samples at its ends.  Where what is wanted
 * is no longer kept, the finest is read that is, and then all that has a part in
 * the span.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "common/int.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "rows.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#define MOST_BUCKETS 100000
#define USUAL_BUCKETS 300		/* at most, where the caller names no step */

/* Steps that we choose, seconds; longer ones are whole days. */
static const int usual_steps[] = {
	1, 2, 5, 10, 15, 20, 30,
	60, 120, 300, 600, 900, 1200, 1800,
	3600, 7200, 10800, 14400, 21600, 28800, 43200
};

/* What a span is made of. */
typedef enum ImonGrain
{
	GRAIN_SAMPLE,
	GRAIN_HOUR,
	GRAIN_DAY
} ImonGrain;

static const char *const grain_names[] = {"sample", "hour", "day"};

typedef struct ImonSpan
{
	TimestampTz from;
	TimestampTz until;
} ImonSpan;

/* Of which time what is kept; of none if it ends before it begins. */
typedef struct ImonKept
{
	TimestampTz oldest;			/* of all, DT_NOEND if there is nothing */
	ImonSpan	grains[GRAIN_DAY + 1];	/* whole days or, at the end, hours */
} ImonKept;

/* Where the result goes. */
typedef struct ImonDivision
{
	const ImonKept *kept;
	int64		step;
	ReturnSetInfo *rsinfo;
} ImonDivision;

PG_FUNCTION_INFO_V1(imon_history_grains_1_0);
PG_FUNCTION_INFO_V1(imon_history_step_1_0);

/* The length of a span in microseconds.  Raises an error unless it has one. */
static int64
length_of(TimestampTz since, TimestampTz until)
{
	int64		length;

	if (TIMESTAMP_NOT_FINITE(since) || TIMESTAMP_NOT_FINITE(until))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a span of history must be finite")));
	if (until < since)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a span of history must not end before it begins"),
				 errhint("The first argument is when it begins, the second when it ends.")));
	return pg_sub_s64_overflow(until, since, &length) ? PG_INT64_MAX : length;
}

/* Seconds as an interval, in days if they are whole days. */
static Interval *
interval_of(int64 seconds)
{
	Interval   *interval = palloc0(sizeof(Interval));

	if (seconds % SECS_PER_DAY == 0)
		interval->day = (int32) (seconds / SECS_PER_DAY);
	else
		interval->time = seconds * USECS_PER_SEC;
	return interval;
}

/* The step for a span of which the caller has named none. */
static Interval *
usual_step(int64 length)
{
	int64		least = length / USUAL_BUCKETS;

	for (int i = 0; i < lengthof(usual_steps); i++)
		if (usual_steps[i] * USECS_PER_SEC > least)
			return interval_of(usual_steps[i]);
	return interval_of((least / USECS_PER_DAY + 1) * SECS_PER_DAY);
}

/*
 * The microseconds of a step, in which a day has 24 hours.  Raises an error
 * unless it has a length, and one that is always the same.
 */
static int64
step_length(const Interval *step)
{
	int64		length;

	if (step->month != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a step of history must not have months or years"),
				 errhint("Use days: months differ in length.")));
	if (pg_mul_s64_overflow(step->day, USECS_PER_DAY, &length) ||
		pg_add_s64_overflow(length, step->time, &length))
		ereport(ERROR,
				(errcode(ERRCODE_INTERVAL_FIELD_OVERFLOW),
				 errmsg("a step of history is out of range")));
	if (length <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a step of history must be greater than zero")));
	return length;
}

/*
 * SQL: history_step(since, until, step), the step or, if that is NULL, one that
 * suits the span; NULL for an unknown span.  Wrong arguments are an error.
 */
Datum
imon_history_step_1_0(PG_FUNCTION_ARGS)
{
	int64		length;
	Interval   *step;

	imon_require_arguments(fcinfo, 3);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	length = length_of(PG_GETARG_TIMESTAMPTZ(0), PG_GETARG_TIMESTAMPTZ(1));
	if (PG_ARGISNULL(2))
		PG_RETURN_INTERVAL_P(usual_step(length));

	step = PG_GETARG_INTERVAL_P(2);
	if (length / step_length(step) > MOST_BUCKETS)
	{
		int64		least = length / MOST_BUCKETS / USECS_PER_SEC + 1;
		Datum		shown = DirectFunctionCall1(interval_out,
												IntervalPGetDatum(interval_of(least)));

		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a history can have %d buckets at most", MOST_BUCKETS),
				 errhint("Use a step of at least %s, or a shorter span.",
						 DatumGetCString(shown))));
	}
	PG_RETURN_INTERVAL_P(step);
}

/* The beginning of the hour or day, by UTC, in which a moment is. */
static TimestampTz
floor_to(TimestampTz moment, int64 length)
{
	int64		remainder = moment % length;

	return moment - (remainder < 0 ? remainder + length : remainder);
}

static TimestampTz
ceil_to(TimestampTz moment, int64 length)
{
	TimestampTz floor = floor_to(moment, length);

	return floor == moment ? floor : floor + length;
}

static int64
length_of_grain(ImonGrain grain)
{
	return grain == GRAIN_DAY ? USECS_PER_DAY : USECS_PER_HOUR;
}

/* A moment in the first row of the last result of SPI; or this one, if NULL. */
static TimestampTz
moment_in_row(int column, TimestampTz otherwise)
{
	bool		isnull;
	Datum		moment = SPI_getbinval(SPI_tuptable->vals[0],
									   SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? otherwise : DatumGetTimestampTz(moment);
}

/*
 * Looks up what is kept of a table and its rollups.  Its first row is as good as
 * its oldest: it is the first that was written to the partition of the oldest
 * day.  Rollups later than now are of a clock that was wrong.
 */
static void
look_up_kept(ImonKept *kept, const char *table)
{
	static const char *const query =
		"SELECT (SELECT s.sampled_at FROM infra_monitor.%1$s s LIMIT 1),"
		" (SELECT pg_catalog.min(h.begins_at) FROM infra_monitor.%1$s_hourly h),"
		" (SELECT pg_catalog.max(h.begins_at) FROM infra_monitor.%1$s_hourly h"
		"  WHERE h.begins_at OPERATOR(pg_catalog.<) $1),"
		" (SELECT pg_catalog.min(d.begins_at) FROM infra_monitor.%1$s_daily d),"
		" (SELECT pg_catalog.max(d.begins_at) FROM infra_monitor.%1$s_daily d"
		"  WHERE d.begins_at OPERATOR(pg_catalog.<) $2)";
	TimestampTz now = GetCurrentTimestamp();
	Oid			types[2] = {TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum		values[2];

	values[0] = TimestampTzGetDatum(floor_to(now, USECS_PER_HOUR));
	values[1] = TimestampTzGetDatum(floor_to(now, USECS_PER_DAY));
	SPI_connect();
	if (SPI_execute_with_args(psprintf(query, table), 2, types, values, NULL,
							  true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look up what is kept");
	kept->oldest = DT_NOEND;
	for (ImonGrain grain = GRAIN_SAMPLE; grain <= GRAIN_DAY; grain++)
	{
		ImonSpan   *span = &kept->grains[grain];
		TimestampTz first = moment_in_row(grain == GRAIN_SAMPLE ? 1 : 2 * grain,
										  DT_NOEND);
		TimestampTz last = grain == GRAIN_SAMPLE ? DT_NOEND :
			moment_in_row(2 * grain + 1, DT_NOBEGIN);

		kept->oldest = Min(kept->oldest, first);
		span->from = first == DT_NOEND ? DT_NOEND : floor_to(first, USECS_PER_DAY);
		span->until = last == DT_NOEND ? DT_NOEND :
			last == DT_NOBEGIN ? DT_NOBEGIN : last + length_of_grain(grain);
	}
	SPI_finish();
	/* where nothing is kept of all, somebody may know more: the ring */
	if (kept->oldest == DT_NOEND)
		kept->grains[GRAIN_SAMPLE].from = DT_NOBEGIN;
}

/* Raises an error if all that is kept is before the span, or behind it. */
static void
check_kept(const ImonKept *kept, TimestampTz since, TimestampTz until)
{
	if (kept->oldest == DT_NOEND || since == until)
		return;
	if (until <= kept->oldest)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no history is kept of that time"),
				 errhint("The oldest that is kept is of %s.",
						 timestamptz_to_str(kept->oldest))));
	if (since > GetCurrentTimestamp())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a span of history must not begin in the future")));
}

/* What both spans have in common; it may end before it begins. */
static ImonSpan
common(ImonSpan a, ImonSpan b)
{
	return (ImonSpan)
	{
		Max(a.from, b.from), Min(a.until, b.until)
	};
}

/* Do so long buckets consist of whole hours, or days? */
static bool
fits(const ImonDivision *division, ImonGrain grain)
{
	return grain == GRAIN_SAMPLE ||
		division->step % length_of_grain(grain) == 0;
}

/* Adds a span to the result, unless it is empty. */
static void
put_span(const ImonDivision *division, ImonGrain grain, ImonSpan span)
{
	Datum		values[4];
	bool		nulls[4] = {false};

	if (span.from >= span.until)
		return;
	values[0] = CStringGetTextDatum(grain_names[grain]);
	values[1] = TimestampTzGetDatum(span.from);
	values[2] = TimestampTzGetDatum(span.until);
	values[3] = BoolGetDatum(fits(division, grain));
	imon_put_row(division->rsinfo, values, nulls);
}

/* All that has a part in the span. */
static ImonSpan
rounded_up(ImonSpan span, ImonGrain grain)
{
	int64		length = length_of_grain(grain);

	return (ImonSpan)
	{
		floor_to(span.from, length), ceil_to(span.until, length)
	};
}

/* The whole hours or days in the span. */
static ImonSpan
rounded_down(ImonSpan span, ImonGrain grain)
{
	int64		length = length_of_grain(grain);

	return (ImonSpan)
	{
		ceil_to(span.from, length), floor_to(span.until, length)
	};
}

/*
 * Divides what is better read from samples.  Before the oldest of these there
 * are hours, and before the oldest hour there are days.
 */
static void
divide_into_samples(const ImonDivision *division, ImonSpan span)
{
	const ImonSpan *kept = division->kept->grains;
	ImonSpan	gone = {span.from, Min(span.until, kept[GRAIN_SAMPLE].from)};

	put_span(division, GRAIN_SAMPLE, common(span, kept[GRAIN_SAMPLE]));
	if (gone.from >= gone.until)
		return;
	put_span(division, GRAIN_HOUR,
			 common(rounded_up(gone, GRAIN_HOUR), kept[GRAIN_HOUR]));
	gone.until = Min(gone.until, kept[GRAIN_HOUR].from);
	if (gone.from < gone.until)
		put_span(division, GRAIN_DAY,
				 common(rounded_up(gone, GRAIN_DAY), kept[GRAIN_DAY]));
}

/*
 * Divides a span: takes the whole days or hours in it, if these fit, and goes on
 * with what is before and behind them.
 */
static void
divide(const ImonDivision *division, ImonGrain grain, ImonSpan span)
{
	ImonSpan	whole;
	ImonSpan	before = span;
	ImonSpan	behind = span;

	if (span.from >= span.until)
		return;
	if (grain == GRAIN_SAMPLE)
	{
		divide_into_samples(division, span);
		return;
	}
	whole = common(rounded_down(span, grain), division->kept->grains[grain]);
	if (!fits(division, grain) || whole.from >= whole.until)
	{
		divide(division, grain - 1, span);
		return;
	}
	before.until = whole.from;
	behind.from = whole.until;
	divide(division, grain - 1, before);
	put_span(division, grain, whole);
	divide(division, grain - 1, behind);
}

/*
 * SQL: history_grains(history, since, until, step, required), a row for each
 * part of the span: grain, from_at, until_at, fits.
 */
Datum
imon_history_grains_1_0(PG_FUNCTION_ARGS)
{
	static const char *const tables[] = {
		"samples", "statement_samples", "wait_samples"
	};
	ImonKept	kept = {DT_NOEND, {{DT_NOBEGIN, DT_NOEND}}};
	ImonDivision division = {&kept};
	char	   *history;
	ImonSpan	span;
	int			i = 0;

	imon_require_arguments(fcinfo, 5);
	division.rsinfo = imon_begin_rows(fcinfo, 4);
	for (int n = 0; n < 5; n++)
		if (PG_ARGISNULL(n))
			return (Datum) 0;
	history = text_to_cstring(PG_GETARG_TEXT_PP(0));
	span.from = PG_GETARG_TIMESTAMPTZ(1);
	span.until = PG_GETARG_TIMESTAMPTZ(2);
	(void) length_of(span.from, span.until);
	division.step = step_length(PG_GETARG_INTERVAL_P(3));
	while (i < lengthof(tables) && strcmp(history, tables[i]) != 0)
		i++;
	if (i == lengthof(tables))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("table \"%s\" has no rollups", history)));

	/* on a standby, samples are the primary's: it reads the ring alone */
	if (i > 0 || !RecoveryInProgress())
	{
		look_up_kept(&kept, tables[i]);
		if (PG_GETARG_BOOL(4))
			check_kept(&kept, span.from, span.until);
	}
	divide(&division, GRAIN_DAY, span);
	return (Datum) 0;
}
