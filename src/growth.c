/*-------------------------------------------------------------------------
 *
 * growth.c
 *	  How much counters of the server and the machine have grown in the last
 *	  hour.
 *
 * PostgreSQL counts since the last reset, which may be years ago.  The sampler
 * keeps a reading each five minutes, in a ring that holds an hour; what has
 * grown is the difference between the counter now and the oldest of them.  A
 * counter that has become smaller was reset, and then the readings before are
 * of no use.  Moments are those of a clock that is never set.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "fmgr.h"
#include "growth.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "rows.h"
#include "shmem.h"
#include "system.h"

#define READING_SECONDS 300		/* between two readings */
#define WINDOW_SECONDS 3600
#define MAX_READINGS (WINDOW_SECONDS / READING_SECONDS + 1)
#define GROWTH_COLUMNS (N_GROWING + 1)

typedef enum ImonGrowing
{
	GROWING_CHECKPOINTS_TIMED,
	GROWING_CHECKPOINTS_REQUESTED,
	GROWING_OOM_KILLS
} ImonGrowing;

#define N_GROWING (GROWING_OOM_KILLS + 1)

typedef struct ImonCounters
{
	double		at;				/* monotonic, seconds */
	int64		counters[N_GROWING];	/* -1 = not known */
} ImonCounters;

typedef struct ImonGrowth
{
	LWLock	   *lock;			/* guards the rest */
	int			n;				/* readings that are kept */
	int			next;			/* where the next one goes */
	ImonCounters readings[MAX_READINGS];
} ImonGrowth;

static ImonGrowth *growth = NULL;

PG_FUNCTION_INFO_V1(imon_recent_growth_1_0);

static Size
growth_size(void)
{
	return sizeof(ImonGrowth);
}

static void
growth_init(void *part, LWLock *lock)
{
	((ImonGrowth *) part)->lock = lock;
}

static const ImonShmemPart growth_part = {
	.name = "infra_monitor growth",
	.size = growth_size,
	.init = growth_init,
	.address = (void **) &growth
};

void
imon_growth_init(void)
{
	imon_shmem_register(&growth_part);
}

/* Reads all counters now. */
static void
take_reading(ImonCounters *reading)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	reading->at = INSTR_TIME_GET_DOUBLE(now);
	imon_count_checkpoints(&reading->counters[GROWING_CHECKPOINTS_TIMED],
						   &reading->counters[GROWING_CHECKPOINTS_REQUESTED]);
	reading->counters[GROWING_OOM_KILLS] = imon_oom_kills();
}

/* A reading that is kept, 0 the oldest.  The lock must be held. */
static ImonCounters *
kept(int index)
{
	return &growth->readings[(growth->next - growth->n + index + MAX_READINGS) %
							 MAX_READINGS];
}

/* Has a counter become smaller since the other reading? */
static bool
was_reset(const ImonCounters *before, const ImonCounters *now)
{
	for (int i = 0; i < N_GROWING; i++)
		if (now->counters[i] >= 0 && now->counters[i] < before->counters[i])
			return true;
	return false;
}

void
imon_note_growth(void)
{
	ImonCounters now;

	take_reading(&now);
	LWLockAcquire(growth->lock, LW_EXCLUSIVE);
	if (growth->n > 0 && was_reset(kept(growth->n - 1), &now))
		growth->n = 0;
	if (growth->n == 0 ||
		now.at - kept(growth->n - 1)->at >= READING_SECONDS)
	{
		growth->readings[growth->next] = now;
		growth->next = (growth->next + 1) % MAX_READINGS;
		growth->n = Min(growth->n + 1, MAX_READINGS);
	}
	LWLockRelease(growth->lock);
}

/*
 * The oldest reading that belongs to the last hour and to the same counters as
 * now.  False if there is none.
 */
static bool
find_oldest(const ImonCounters *now, ImonCounters *oldest)
{
	bool		found = false;

	LWLockAcquire(growth->lock, LW_SHARED);
	for (int i = 0; i < growth->n && !found; i++)
	{
		*oldest = *kept(i);
		found = now->at - oldest->at <= WINDOW_SECONDS + READING_SECONDS &&
			!was_reset(oldest, now);
	}
	LWLockRelease(growth->lock);
	return found;
}

/*
 * SQL: recent_growth(), one row: seconds, checkpoints_timed,
 * checkpoints_requested, oom_kills; NULL is not known.
 */
Datum
imon_recent_growth_1_0(PG_FUNCTION_ARGS)
{
	Datum		values[GROWTH_COLUMNS] = {0};
	bool		nulls[GROWTH_COLUMNS];
	ImonCounters oldest;
	ImonCounters now;

	imon_shmem_require();
	memset(nulls, true, sizeof(nulls));
	take_reading(&now);
	if (find_oldest(&now, &oldest))
	{
		values[0] = Float8GetDatum(now.at - oldest.at);
		nulls[0] = false;
		for (int i = 0; i < N_GROWING; i++)
		{
			values[i + 1] = Int64GetDatum(now.counters[i] - oldest.counters[i]);
			nulls[i + 1] = now.counters[i] < 0 || oldest.counters[i] < 0;
		}
	}
	PG_RETURN_DATUM(imon_one_row(fcinfo, GROWTH_COLUMNS, values, nulls));
}
