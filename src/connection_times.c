/*-------------------------------------------------------------------------
 *
 * connection_times.c
 *	  How long it takes to connect, and how long sessions last.
 *
 * A histogram and a total for each of the two.  Each process adds to them when
 * it is established and when it ends; all is atomic, and only grows.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "clock.h"
#include "connection_times.h"
#include "fmgr.h"
#include "histogram.h"
#include "histogram_type.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "rows.h"
#include "shmem.h"
#include "totals.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define NS_IN_US 1000
#define US_IN_MS 1000.0

#define TIMES_COLUMNS 4

typedef enum ImonConnectionPhase
{
	PHASE_ESTABLISH,			/* from the start of the process */
	PHASE_SESSION				/* from there to its end */
} ImonConnectionPhase;

#define N_PHASES (PHASE_SESSION + 1)

static const char *const phase_names[] = {"establish", "session"};

StaticAssertDecl(lengthof(phase_names) == N_PHASES, "each phase needs a name");

typedef struct ImonTimes
{
	pg_atomic_uint64 time;		/* us */
	pg_atomic_uint64 counts[IMON_HISTOGRAM_BUCKETS];
} ImonTimes;

typedef struct ImonConnectionTimes
{
	ImonTimes	totals[N_PHASES];	/* since shared memory was created */
	ImonTimes	base[N_PHASES]; /* totals at the last reset */
} ImonConnectionTimes;

static ImonConnectionTimes *times = NULL;

/* When this process was established; the clock does not jump. */
static int64 established_at;

PG_FUNCTION_INFO_V1(imon_connection_times_1_0);

static Size
times_size(void)
{
	return sizeof(ImonConnectionTimes);
}

static void
init_times(ImonTimes *part)
{
	pg_atomic_init_u64(&part->time, 0);
	imon_histogram_init(part->counts);
}

static void
times_init(void *part, LWLock *lock)
{
	ImonConnectionTimes *shared = (ImonConnectionTimes *) part;

	for (int i = 0; i < N_PHASES; i++)
	{
		init_times(&shared->totals[i]);
		init_times(&shared->base[i]);
	}
}

static const ImonShmemPart times_part = {
	.name = "infra_monitor connection times",
	.size = times_size,
	.init = times_init,
	.address = (void **) &times
};

void
imon_connection_times_init(void)
{
	imon_shmem_register(&times_part);
}

/* Adds a duration in microseconds. */
static void
observe(ImonConnectionPhase phase, uint64 us)
{
	pg_atomic_fetch_add_u64(&times->totals[phase].time, (int64) us);
	imon_histogram_observe(times->totals[phase].counts, us * NS_IN_US);
}

void
imon_connection_times_begin(TimestampTz at)
{
	established_at = imon_clock_ns();
	observe(PHASE_ESTABLISH, (uint64) Max(at - MyStartTimestamp, 0));
}

uint64
imon_connection_times_end(void)
{
	uint64		us = (imon_clock_ns() - established_at) / 1000;

	observe(PHASE_SESSION, us);
	return us;
}

void
imon_connection_times_ever(bool sessions, uint64 *counts, double *sum)
{
	ImonTimes  *total = &times->totals[sessions ? PHASE_SESSION : PHASE_ESTABLISH];

	*sum = pg_atomic_read_u64(&total->time) / 1e6;
	imon_histogram_read(total->counts, counts);
}

void
imon_connection_times_reset(void)
{
	for (int i = 0; i < N_PHASES; i++)
	{
		ImonTimes  *total = &times->totals[i];
		ImonTimes  *base = &times->base[i];

		imon_reset_total(&total->time, &base->time);
		for (int j = 0; j < IMON_HISTOGRAM_BUCKETS; j++)
			imon_reset_total(&total->counts[j], &base->counts[j]);
	}
}

/*
 * SQL: connection_times, a row for each phase: phase, connections, total_time,
 * latency.
 */
Datum
imon_connection_times_1_0(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo;

	imon_shmem_require();
	rsinfo = imon_begin_rows(fcinfo, TIMES_COLUMNS);

	for (int i = 0; i < N_PHASES; i++)
	{
		ImonTimes  *total = &times->totals[i];
		ImonTimes  *base = &times->base[i];
		uint64		counts[IMON_HISTOGRAM_BUCKETS];
		Datum		values[TIMES_COLUMNS];
		bool		nulls[TIMES_COLUMNS] = {false};

		for (int j = 0; j < IMON_HISTOGRAM_BUCKETS; j++)
			counts[j] = imon_since_reset(&total->counts[j], &base->counts[j]);

		values[0] = CStringGetTextDatum(phase_names[i]);
		values[1] = Int64GetDatum((int64) imon_histogram_total(counts));
		values[2] = Float8GetDatum(imon_since_reset(&total->time, &base->time) /
								   US_IN_MS);
		values[3] = imon_histogram_datum(counts);
		imon_put_row(rsinfo, values, nulls);
	}
	return (Datum) 0;
}
