/*-------------------------------------------------------------------------
 *
 * history.c
 *	  Into which buckets a span of history is divided.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/int.h"
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
