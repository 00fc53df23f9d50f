/*-------------------------------------------------------------------------
 *
 * growth.c
 *	  How much counters have grown in the last minutes.
 *
 * A check gives the name of a counter, its value now, and a span of time, which
 * is always the same for a counter.  If it is the sampler that asks, the value
 * is remembered, about ten times in the span.  Whoever asks is told the growth
 * since the oldest value of the span: since the sampler first saw the counter,
 * if that is not so long ago.
 *
 * A counter that has become smaller has begun anew; so does what we remember.
 *
 * The part's lock guards everything; nobody holds it for longer than it takes
 * to look through a few arrays.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "fmgr.h"
#include "growth.h"
#include "home_database.h"
#include "miscadmin.h"
#include "rows.h"
#include "shmem.h"
#include "storage/lwlock.h"
#include "system.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define READINGS 11				/* the first and the last of a span */
#define MAX_COUNTERS 64

typedef struct ImonCounterReading
{
	TimestampTz at;
	int64		value;
} ImonCounterReading;

/* Readings of a counter, a ring; the newest is at (n - 1) % READINGS. */
typedef struct ImonCounterPast
{
	char		name[NAMEDATALEN];
	uint64		n;				/* readings ever; 0 = free */
	ImonCounterReading readings[READINGS];
} ImonCounterPast;

typedef struct ImonGrowths
{
	LWLock	   *lock;
	ImonCounterPast counters[MAX_COUNTERS];
} ImonGrowths;

static ImonGrowths *growths = NULL;

PG_FUNCTION_INFO_V1(imon_recent_growth_1_0);
PG_FUNCTION_INFO_V1(imon_growing_counters_1_0);

static Size
growth_size(void)
{
	return sizeof(ImonGrowths);
}

static void
growth_init(void *part, LWLock *lock)
{
	ImonGrowths *shared = (ImonGrowths *) part;

	shared->lock = lock;
	for (int i = 0; i < MAX_COUNTERS; i++)
		shared->counters[i].n = 0;
}

static const ImonShmemPart growth_part = {
	.name = "infra_monitor growth",
	.size = growth_size,
	.init = growth_init,
	.address = (void **) &growths
};

void
imon_growth_init(void)
{
	imon_shmem_register(&growth_part);
}

/*
 * The past of a counter; "add": a free one if it has none.  NULL if there is
 * none.  Needs the lock.
 */
static ImonCounterPast *
find_past(const char *name, bool add)
{
	for (int i = 0; i < MAX_COUNTERS; i++)
	{
		ImonCounterPast *past = &growths->counters[i];

		if (past->n == 0)
		{
			if (!add)
				return NULL;
			strlcpy(past->name, name, NAMEDATALEN);
			return past;
		}
		if (strcmp(past->name, name) == 0)
			return past;
	}
	return NULL;
}

/* Reading "number", which must still be there. */
static inline ImonCounterReading *
reading(ImonCounterPast *past, uint64 number)
{
	return &past->readings[number % READINGS];
}

/* Time between two readings, microseconds. */
static inline int64
step_of(int64 span)
{
	return span / (READINGS - 1);
}

/*
 * Remembers a value unless the newest one is not old enough.  Needs the lock,
 * exclusive.
 */
static void
remember(ImonCounterPast *past, TimestampTz now, int64 value, int64 span)
{
	ImonCounterReading *newest = past->n > 0 ? reading(past, past->n - 1) : NULL;

	/* begun anew, or the clock has been set back */
	if (newest && (value < newest->value || now < newest->at))
		past->n = 0;
	else if (newest && now - newest->at < step_of(span) / 4 * 3)
		return;
	*reading(past, past->n++) = (ImonCounterReading)
	{
		now, value
	};
}

/*
 * Growth since the oldest reading of the span.  False if there is none, or if the
 * counter has begun anew since.  Needs the lock.
 */
static bool
find_growth(ImonCounterPast *past, TimestampTz now, int64 value, int64 span,
			int64 *growth)
{
	uint64		first = past->n > READINGS ? past->n - READINGS : 0;

	for (uint64 number = first; number < past->n; number++)
	{
		ImonCounterReading *oldest = reading(past, number);

		if (oldest->at > now || now - oldest->at > span + step_of(span))
			continue;
		*growth = value - oldest->value;
		return *growth >= 0;
	}
	return false;
}

/*
 * SQL: recent_growth(counter, value, span), how much the counter has grown to
 * this value in a span of time up to now; NULL if that is not known.
 */
Datum
imon_recent_growth_1_0(PG_FUNCTION_ARGS)
{
	bool		is_sampler;
	bool		known = false;
	int64		growth = 0;
	int64		value;
	int64		span;
	TimestampTz now = GetCurrentTimestamp();
	char	   *name;
	ImonCounterPast *past;

	imon_require_arguments(fcinfo, 3);
	imon_shmem_require();
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	value = PG_GETARG_INT64(1);
	span = PG_GETARG_INTERVAL_P(2)->time;
	if (span < USECS_PER_MINUTE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a span of growth must be a minute at least, in hours, minutes and seconds")));
	is_sampler = imon_home_sampler_pid() == MyProcPid;

	LWLockAcquire(growths->lock, is_sampler ? LW_EXCLUSIVE : LW_SHARED);
	past = find_past(name, is_sampler);
	if (past && is_sampler)
		remember(past, now, value, span);
	if (past)
		known = find_growth(past, now, value, span, &growth);
	LWLockRelease(growths->lock);

	if (!known)
		PG_RETURN_NULL();
	PG_RETURN_INT64(growth);
}

/*
 * SQL: growing_counters(), one row: checkpoints_timed, checkpoints_requested,
 * oom_kills; NULL is not known.
 */
Datum
imon_growing_counters_1_0(PG_FUNCTION_ARGS)
{
	int64		counters[3];
	Datum		values[lengthof(counters)];
	bool		nulls[lengthof(counters)];

	imon_count_checkpoints(&counters[0], &counters[1]);
	counters[2] = imon_oom_kills();
	for (int i = 0; i < lengthof(counters); i++)
	{
		values[i] = Int64GetDatum(counters[i]);
		nulls[i] = counters[i] < 0;
	}
	PG_RETURN_DATUM(imon_one_row(fcinfo, lengthof(counters), values, nulls));
}
