/*-------------------------------------------------------------------------
 *
 * trend.c
 *	  Does a series of numbers rise, and how fast?
 *
 * The newest 30, 60, 120 and 240 observations are tried; the longest
 * window that passes wins.  It is cut into six blocks, each with its middle
 * (the mean of the half between the quartiles).  A window passes if
 *
 * 1. no middle is below the one before, and the last one is above it;
 * 2. it rises by 3 at least, and steadily: each of the five steps is as large
 *    as their average, give or take 3/5 of that, or 1.2 where that is more,
 *    because connections come whole (a single step up is not steady, nor is a
 *    rise that has ended);
 * 3. r^2 of the straight line through all observations is 0.8 at least;
 * 4. the twenty windows before, in blocks of the same duration, were nowhere
 *    as high as the newest block, nowhere fell by as much as the window rises,
 *    and did not rise like it before they rose less than half as fast: what
 *    breathes falls as far as it rises, rises no higher, and does so again;
 * 5. half as many observations as are in the window are known before it.
 *
 * The slope is that of Theil and Sen: the median of the slopes between points
 * at least a third of the window apart, thinned out to 120.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "rows.h"
#include "trend.h"
#include "utils/array.h"
#include "utils/timestamp.h"

#define N_BLOCKS 6
#define N_STEPS (N_BLOCKS - 1)
#define MAX_BLOCK (IMON_TREND_WINDOW / N_BLOCKS)
#define MAX_POINTS 120
#define MAX_GAP 5				/* intervals between two observations */

#define MIN_RISE 3.0
#define MIN_R2 0.8
#define STEP_TOLERANCE 0.6		/* of the average step */
#define STEP_TOLERANCE_MIN 1.2

#define MAX_HISTORY (IMON_TREND_REACH * N_BLOCKS)
#define SLOW 0.5				/* as fast as the window rises */
#define FAST 0.75

#define USECS_PER_MIN_D (60.0 * USECS_PER_SEC)

#define MAX_SPAN (1000 * 366.0 * USECS_PER_DAY)

#define TREND_COLUMNS 4

/* The observations of a window, with moments in minutes before the newest. */
typedef struct ImonWindow
{
	int			n;
	double		x[IMON_TREND_WINDOW];
	double		y[IMON_TREND_WINDOW];
	double		middles[N_BLOCKS];
} ImonWindow;

/* Blocks of what was before a window, the newest first. */
typedef struct ImonHistory
{
	int			n;
	TimestampTz at[MAX_HISTORY];
	double		middles[MAX_HISTORY];
} ImonHistory;

static const int window_sizes[] = {240, 120, 60, 30};

PG_FUNCTION_INFO_V1(imon_trend_1_0);

static int
compare_doubles(const void *a, const void *b)
{
	double		left = *(const double *) a;
	double		right = *(const double *) b;

	return (left > right) - (left < right);
}

/* The mean of the half of at most MAX_BLOCK values between their quartiles. */
static double
middle_of(const double *values, int n)
{
	double		sorted[MAX_BLOCK];
	double		sum = 0;
	int			cut = n / 4;

	memcpy(sorted, values, sizeof(double) * n);
	qsort(sorted, n, sizeof(double), compare_doubles);
	for (int i = cut; i < n - cut; i++)
		sum += sorted[i];
	return sum / (n - 2 * cut);
}

/* Cuts out the newest "size" of n observations. */
static void
cut_window(const TimestampTz *at, const double *values, int n, int size,
		   ImonWindow *window)
{
	int			block = size / N_BLOCKS;

	window->n = size;
	for (int i = 0; i < size; i++)
	{
		window->x[i] = (at[n - size + i] - at[n - 1]) / USECS_PER_MIN_D;
		window->y[i] = values[n - size + i];
	}
	for (int b = 0; b < N_BLOCKS; b++)
		window->middles[b] = middle_of(&window->y[b * block], block);
}

/* Rules 1 and 2. */
static bool
rises_steadily(const double *middles)
{
	double		average = (middles[N_STEPS] - middles[0]) / N_STEPS;
	double		tolerance = Max(STEP_TOLERANCE * average, STEP_TOLERANCE_MIN);

	if (average * N_STEPS < MIN_RISE || middles[N_STEPS] <= middles[N_STEPS - 1])
		return false;
	for (int i = 0; i < N_STEPS; i++)
	{
		double		step = middles[i + 1] - middles[i];

		if (step < 0 || fabs(step - average) > tolerance)
			return false;
	}
	return true;
}

/* r^2 of the straight line of least squares. */
static double
straightness(const ImonWindow *window)
{
	double		mean_x = 0;
	double		mean_y = 0;
	double		xx = 0;
	double		xy = 0;
	double		yy = 0;

	for (int i = 0; i < window->n; i++)
	{
		mean_x += window->x[i] / window->n;
		mean_y += window->y[i] / window->n;
	}
	for (int i = 0; i < window->n; i++)
	{
		double		x = window->x[i] - mean_x;
		double		y = window->y[i] - mean_y;

		xx += x * x;
		xy += x * y;
		yy += y * y;
	}
	return xx > 0 && yy > 0 ? xy * xy / (xx * yy) : 0;
}

/*
 * Cuts the n observations before a window into blocks of the duration of its
 * own, from the newest to the oldest, as far back as it reaches.  They may be
 * less dense than those of the window.
 */
static void
cut_history(const TimestampTz *at, const double *values, int n,
			TimestampTz duration, ImonHistory *history)
{
	TimestampTz oldest = at[n] - IMON_TREND_REACH * duration;
	int			newest = n - 1;

	history->n = 0;
	while (newest >= 0 && at[newest] >= oldest && history->n < MAX_HISTORY)
	{
		int			from = newest;

		while (from > 0 && newest - from + 1 < MAX_BLOCK &&
			   at[from - 1] > at[newest] - duration / N_BLOCKS)
			from--;
		history->at[history->n] = at[from] + (at[newest] - at[from]) / 2;
		history->middles[history->n++] =
			middle_of(&values[from], newest - from + 1);
		newest = from - 1;
	}
}

/*
 * Rule 4.  How fast it rose before is seen over the distance between the
 * middles of the first and the last block of the window, at least.
 */
static bool
is_unheard_of(const ImonHistory *history, const ImonWindow *window,
			  TimestampTz duration)
{
	double		height = window->middles[N_STEPS];
	double		rise = height - window->middles[0];
	TimestampTz distance = duration / N_BLOCKS * N_STEPS;
	double		lowest = window->middles[0];	/* of all that came later */
	bool		ended = false;
	int			older = 0;

	for (int i = 0; i < history->n; i++)
	{
		double		rose;

		if (history->middles[i] >= height ||
			history->middles[i] - lowest >= rise)
			return false;
		lowest = Min(lowest, history->middles[i]);
		while (older < history->n &&
			   history->at[older] > history->at[i] - distance)
			older++;
		if (older == history->n)
			continue;
		rose = (history->middles[i] - history->middles[older]) * distance /
			(history->at[i] - history->at[older]);
		if (rose < SLOW * rise)
			ended = true;
		else if (ended && rose > FAST * rise)
			return false;
	}
	return true;
}

/*
 * Slope of the window, and level at its end.  Thinning takes the means of
 * neighbours.
 */
static void
fit_line(const ImonWindow *window, double *slope, double *level)
{
	int			each = (window->n + MAX_POINTS - 1) / MAX_POINTS;
	int			n = window->n / each;
	double		x[MAX_POINTS];
	double		y[MAX_POINTS];
	double		slopes[MAX_POINTS * (MAX_POINTS - 1) / 2];
	int			n_slopes = 0;
	double		apart = -window->x[0] / 3;

	for (int i = 0; i < n; i++)
	{
		x[i] = y[i] = 0;
		for (int j = 0; j < each; j++)
		{
			x[i] += window->x[i * each + j] / each;
			y[i] += window->y[i * each + j] / each;
		}
	}
	for (int i = 0; i < n; i++)
		for (int j = i + 1; j < n; j++)
			if (x[j] - x[i] >= apart)
				slopes[n_slopes++] = (y[j] - y[i]) / (x[j] - x[i]);
	qsort(slopes, n_slopes, sizeof(double), compare_doubles);
	*slope = slopes[n_slopes / 2];

	for (int i = 0; i < n; i++)
		y[i] -= *slope * x[i];
	qsort(y, n, sizeof(double), compare_doubles);
	*level = y[n / 2];
}

/*
 * How many of the newest observations follow each other without a gap, and
 * without a clock that was set back.
 */
static int
without_gap(const TimestampTz *at, int n, int usable)
{
	int			count = Min(n, 1);
	TimestampTz allowed = 0;	/* the sum of the newest MAX_GAP intervals */

	for (; count < usable; count++)
	{
		TimestampTz distance = at[n - count] - at[n - count - 1];

		/* the first few, whatever they are, say what is usual */
		if (count <= MAX_GAP)
			allowed += distance;
		if (distance <= 0 || (count > MAX_GAP && distance > allowed))
			break;
	}
	return count;
}

/* Does the newest "size" of n observations rise?  Then describes how. */
static bool
window_rises(const TimestampTz *at, const double *values, int n, int size,
			 ImonTrend *trend)
{
	ImonWindow	window;
	ImonHistory history;
	TimestampTz duration = at[n - 1] - at[n - size];

	cut_window(at, values, n, size, &window);
	if (!rises_steadily(window.middles))
		return false;
	trend->r2 = straightness(&window);
	if (trend->r2 < MIN_R2)
		return false;
	cut_history(at, values, n - size, duration, &history);
	if (!is_unheard_of(&history, &window, duration))
		return false;

	fit_line(&window, &trend->slope, &trend->level);
	trend->observations = size;
	trend->from = at[n - size];
	trend->until = at[n - 1];
	return trend->slope > 0;
}

bool
imon_find_trend(const TimestampTz *at, const double *values, int n, int usable,
				ImonTrend *trend)
{
	usable = without_gap(at, n, Min(usable, n));
	for (int i = 0; i < lengthof(window_sizes); i++)
	{
		int			size = window_sizes[i];

		if (size <= usable && size + size / 2 <= n &&
			window_rises(at, values, n, size, trend))
			return true;
	}
	return false;
}

/*
 * The elements of an array that must be of one dimension, without NULLs.
 */
static Datum *
array_elements(ArrayType *array, Oid type, const char *name, int *n)
{
	Datum	   *elements;

	if (ARR_NDIM(array) > 1 || array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("array \"%s\" must have one dimension and no NULLs",
						name)));
	deconstruct_array(array, type, sizeof(int64), FLOAT8PASSBYVAL,
					  TYPALIGN_DOUBLE, &elements, NULL, n);
	return elements;
}

/* Raises an error for what is not a series. */
static void
check_series(const TimestampTz *at, const double *values, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (isnan(values[i]) || isinf(values[i]) || TIMESTAMP_NOT_FINITE(at[i]))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("moments and values must be finite")));
		if (i > 0 && at[i] <= at[i - 1])
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("each moment must be later than the one before"),
					 errhint("Build both arrays with the same ORDER BY.")));
	}

	/* nothing that is computed from them can then overflow */
	if (n > 0 && (double) at[n - 1] - (double) at[0] > MAX_SPAN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("moments must lie within 1000 years")));
}

/*
 * SQL: trend(at, value), one row: slope_per_minute, level, r2, observations;
 * all NULL if there is no trend.
 */
Datum
imon_trend_1_0(PG_FUNCTION_ARGS)
{
	Datum		result[TREND_COLUMNS] = {0};
	bool		nulls[TREND_COLUMNS] = {true, true, true, true};
	Datum	   *moments;
	Datum	   *numbers;
	TimestampTz *at;
	double	   *values;
	int			n;
	int			n_values;
	ImonTrend	trend;

	imon_require_arguments(fcinfo, 2);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	moments = array_elements(PG_GETARG_ARRAYTYPE_P(0), TIMESTAMPTZOID, "at", &n);
	numbers = array_elements(PG_GETARG_ARRAYTYPE_P(1), FLOAT8OID, "value",
							 &n_values);
	if (n != n_values)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("arrays \"at\" and \"value\" must have the same length")));

	at = palloc(sizeof(TimestampTz) * Max(n, 1));
	values = palloc(sizeof(double) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		at[i] = DatumGetTimestampTz(moments[i]);
		values[i] = DatumGetFloat8(numbers[i]);
	}
	check_series(at, values, n);

	if (imon_find_trend(at, values, n, n, &trend))
	{
		memset(nulls, false, sizeof(nulls));
		result[0] = Float8GetDatum(trend.slope);
		result[1] = Float8GetDatum(trend.level);
		result[2] = Float8GetDatum(trend.r2);
		result[3] = Int32GetDatum(trend.observations);
	}
	PG_RETURN_DATUM(imon_one_row(fcinfo, TREND_COLUMNS, result, nulls));
}
