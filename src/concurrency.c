/*-------------------------------------------------------------------------
 *
 * concurrency.c
 *	  How many sessions of each role and database were at work at once.
 *
 * Each look at the sessions counts, for each pair of database and role, those
 * that are active, and those that hold a connection which nobody else could
 * use: active or in a transaction.  How often each number was seen is kept in
 * histograms, one for each of the last 24 hours.  The hours are those of a clock
 * that is never set, so no jump of the time of day mixes or hides them; an hour
 * without looks is one that was not looked at.
 *
 * A pair that a look does not find had none at that moment.  That number, the
 * commonest, is not counted for each pair, but follows from the looks of the
 * hour.
 *
 * One lock guards all of it.  Only the sampler counts; readers take the lock
 * shared and copy, a reset takes it exclusive.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "clock.h"
#include "concurrency.h"
#include "datatype/timestamp.h"
#include "fmgr.h"
#include "guc.h"
#include "port/pg_bitutils.h"
#include "rows.h"
#include "shmem.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define MAX_PAIRS 64
#define N_HOURS 24
#define MS_PER_HOUR INT64CONST(3600000)

/*
 * Buckets: one for each number below 64, then 8 to the octave; the last one
 * also takes what is beyond.
 */
#define EXACT 64
#define PER_OCTAVE 8
#define N_BUCKETS 128

/* Percentiles of an hour with fewer looks are those of a few moments. */
#define MIN_LOOKS 100

#define CONCURRENCY_COLUMNS 13
#define STATE_COLUMNS 3

/* How often so many sessions were seen; none is not counted. */
typedef struct ImonOccupancy
{
	uint64		sum;			/* of sessions over looks */
	uint32		max;
	uint16		looks[N_BUCKETS];	/* at most that of its type */
} ImonOccupancy;

typedef enum ImonOccupancyKind
{
	OCCUPANCY_ACTIVE,
	OCCUPANCY_HELD				/* active or in a transaction */
} ImonOccupancyKind;

#define N_KINDS (OCCUPANCY_HELD + 1)

typedef struct ImonPairHour
{
	int64		hour;
	ImonOccupancy kinds[N_KINDS];
} ImonPairHour;

typedef struct ImonPair
{
	Oid			database;		/* 0 = not in use */
	Oid			role;
	uint64		seen;			/* number of the last look that found it */
	ImonPairHour hours[N_HOURS];	/* hour n is at n % N_HOURS */
} ImonPair;

typedef struct ImonHour
{
	int64		hour;			/* 0 = none */
	uint32		looks;
	int64		observed_ms;	/* time that these looks stand for */
} ImonHour;

typedef struct ImonConcurrency
{
	LWLock	   *lock;			/* guards all of it */
	uint64		looks;
	int64		last_look_ms;	/* by the sampler's clock; 0 = none */
	TimestampTz last_look_at;	/* the same by the time of day */
	uint64		evicted;		/* pairs, for others */
	uint64		dropped;		/* looks at pairs for which there was no room */
	ImonHour	hours[N_HOURS];
	ImonPair	all;			/* the whole server */
	ImonPair	pairs[MAX_PAIRS];
} ImonConcurrency;

/* What a look found. */
typedef struct ImonPairCount
{
	Oid			database;
	Oid			role;
	int			kinds[N_KINDS];
	ImonPair   *pair;			/* NULL = not there yet */
} ImonPairCount;

/* What is said about a pair over several hours. */
typedef struct ImonSummary
{
	double		avg;
	int			p95;
	int			p99;
	int			max;
	int			busiest_p99;	/* of the hour in which it was highest */
} ImonSummary;

static ImonConcurrency *concurrency = NULL;

PG_FUNCTION_INFO_V1(imon_concurrency_1_0);
PG_FUNCTION_INFO_V1(imon_concurrency_state_1_0);

static Size
concurrency_size(void)
{
	return sizeof(ImonConcurrency);
}

static void
concurrency_init(void *part, LWLock *lock)
{
	((ImonConcurrency *) part)->lock = lock;
}

static const ImonShmemPart concurrency_part = {
	.name = "infra_monitor concurrency",
	.size = concurrency_size,
	.init = concurrency_init,
	.address = (void **) &concurrency
};

void
imon_concurrency_init(void)
{
	imon_shmem_register(&concurrency_part);
}

void
imon_concurrency_reset(void)
{
	LWLockAcquire(concurrency->lock, LW_EXCLUSIVE);
	/* the lock itself is read by others meanwhile */
	memset((char *) concurrency + offsetof(ImonConcurrency, looks), 0,
		   sizeof(ImonConcurrency) - offsetof(ImonConcurrency, looks));
	LWLockRelease(concurrency->lock);
}

/* The hour of a moment, from 1. */
static int64
hour_of(int64 ms)
{
	return ms / MS_PER_HOUR + 1;
}

/* The bucket of a number of sessions. */
static int
bucket_of(uint32 sessions)
{
	int			octave;

	if (sessions < EXACT)
		return sessions;
	octave = pg_leftmost_one_pos32(sessions);
	return Min(EXACT + (octave - 6) * PER_OCTAVE +
			   ((sessions >> (octave - 3)) & (PER_OCTAVE - 1)),
			   N_BUCKETS - 1);
}

/* The greatest number of sessions of a bucket. */
static int
bucket_end(int bucket)
{
	int			octave = 6 + (bucket - EXACT) / PER_OCTAVE;
	int			step = (bucket - EXACT) % PER_OCTAVE;

	if (bucket < EXACT)
		return bucket;
	return ((PER_OCTAVE + step + 1) << (octave - 3)) - 1;
}

/* Adds a look that found so many sessions. */
static void
add_look(ImonOccupancy *occupancy, int sessions)
{
	uint16	   *looks = &occupancy->looks[bucket_of(sessions)];

	if (sessions == 0)
		return;
	if (*looks < PG_UINT16_MAX)
		(*looks)++;
	occupancy->sum += sessions;
	occupancy->max = Max(occupancy->max, sessions);
}

/* Adds what a look in this hour found of a pair.  The lock must be held. */
static void
add_to_pair(ImonPair *pair, const int *kinds, int64 hour)
{
	ImonPairHour *slice = &pair->hours[hour % N_HOURS];

	if (slice->hour != hour)
		memset(slice, 0, sizeof(*slice));
	slice->hour = hour;
	for (int i = 0; i < N_KINDS; i++)
		add_look(&slice->kinds[i], kinds[i]);
	pair->seen = concurrency->looks;
}

/* Adds a look, of a moment by both clocks, to its hour.  The lock must be held. */
static void
add_to_hour(int64 now, TimestampTz at)
{
	int64		hour = hour_of(now);
	ImonHour   *slice = &concurrency->hours[hour % N_HOURS];
	int64		elapsed = 0;

	if (slice->hour != hour)
		memset(slice, 0, sizeof(*slice));
	slice->hour = hour;
	slice->looks++;

	/* after a gap, a look stands for the usual time, and a bit */
	if (concurrency->last_look_ms != 0)
		elapsed = Min(now - concurrency->last_look_ms,
					  2 * (int64) imon_activity_interval);
	slice->observed_ms += Max(elapsed, 0);
	concurrency->last_look_ms = now;
	concurrency->last_look_at = at;
	concurrency->looks++;
}

/* Orders what a look found by database and role. */
static int
compare_pairs(const void *a, const void *b)
{
	const ImonPairCount *pair_a = a;
	const ImonPairCount *pair_b = b;

	if (pair_a->database != pair_b->database)
		return pair_a->database > pair_b->database ? 1 : -1;
	return (pair_a->role > pair_b->role) - (pair_a->role < pair_b->role);
}

/*
 * Counts the sessions of each pair, in "counts", and of all of them, in "all".
 * Returns how many pairs have any at work.
 */
static int
count_pairs(const ImonSessions *sessions, ImonPairCount *counts, int *all)
{
	int			n = 0;
	int			merged = 0;

	for (int i = 0; i < sessions->count; i++)
	{
		const PgBackendStatus *status = sessions->sessions[i].status;
		BackendState state = status->st_state;
		ImonPairCount *count = &counts[n];

		if (!sessions->sessions[i].is_client ||
			!OidIsValid(status->st_databaseid) ||
			(state != STATE_RUNNING && state != STATE_IDLEINTRANSACTION &&
			 state != STATE_IDLEINTRANSACTION_ABORTED))
			continue;
		count->database = status->st_databaseid;
		count->role = status->st_userid;
		count->pair = NULL;
		count->kinds[OCCUPANCY_ACTIVE] = (state == STATE_RUNNING);
		count->kinds[OCCUPANCY_HELD] = 1;
		for (int kind = 0; kind < N_KINDS; kind++)
			all[kind] += count->kinds[kind];
		n++;
	}
	if (n == 0)
		return 0;

	qsort(counts, n, sizeof(ImonPairCount), compare_pairs);
	for (int i = 1; i < n; i++)
	{
		if (compare_pairs(&counts[i], &counts[merged]) != 0)
			counts[++merged] = counts[i];
		else
			for (int kind = 0; kind < N_KINDS; kind++)
				counts[merged].kinds[kind] += counts[i].kinds[kind];
	}
	return merged + 1;
}

/* The pair, or NULL.  The lock must be held. */
static ImonPair *
find_pair(Oid database, Oid role)
{
	for (int i = 0; i < MAX_PAIRS; i++)
		if (concurrency->pairs[i].database == database &&
			concurrency->pairs[i].role == role)
			return &concurrency->pairs[i];
	return NULL;
}

/* All that a pair has done in the hours that are kept. */
static uint64
work_of(const ImonPair *pair, int64 hour)
{
	uint64		work = 0;

	for (int i = 0; i < N_HOURS; i++)
		if (pair->hours[i].hour > hour - N_HOURS)
			work += pair->hours[i].kinds[OCCUPANCY_HELD].sum;
	return work;
}

/*
 * The pair that has done least among those that this look has not found, or
 * NULL.  The lock must be held.
 */
static ImonPair *
least_busy_pair(int64 hour)
{
	ImonPair   *least = NULL;
	uint64		least_work = 0;

	for (int i = 0; i < MAX_PAIRS; i++)
	{
		ImonPair   *pair = &concurrency->pairs[i];
		uint64		work;

		if (pair->seen == concurrency->looks)
			continue;
		work = work_of(pair, hour);
		if (least == NULL || work < least_work)
		{
			least = pair;
			least_work = work;
		}
	}
	return least;
}

/*
 * A new pair, in the place of another one if there is no other.  NULL if there
 * is none.  The lock must be held.
 */
static ImonPair *
make_pair(Oid database, Oid role, int64 hour)
{
	ImonPair   *pair = find_pair(InvalidOid, InvalidOid);

	if (pair == NULL)
	{
		pair = least_busy_pair(hour);
		if (pair == NULL)
			return NULL;
		concurrency->evicted++;
	}
	memset(pair, 0, sizeof(ImonPair));
	pair->database = database;
	pair->role = role;
	return pair;
}

void
imon_count_concurrency(const ImonSessions *sessions)
{
	ImonPairCount *counts = palloc(sizeof(ImonPairCount) * Max(sessions->count, 1));
	int			all[N_KINDS] = {0};
	int			n = count_pairs(sessions, counts, all);
	int64		now = imon_clock_ms();
	int64		hour = hour_of(now);

	LWLockAcquire(concurrency->lock, LW_EXCLUSIVE);
	add_to_hour(now, sessions->at);
	add_to_pair(&concurrency->all, all, hour);

	/* those that are there first, so that none of them makes room */
	for (int i = 0; i < n; i++)
	{
		counts[i].pair = find_pair(counts[i].database, counts[i].role);
		if (counts[i].pair)
			add_to_pair(counts[i].pair, counts[i].kinds, hour);
	}
	for (int i = 0; i < n; i++)
	{
		if (counts[i].pair)
			continue;
		counts[i].pair = make_pair(counts[i].database, counts[i].role, hour);
		if (counts[i].pair)
			add_to_pair(counts[i].pair, counts[i].kinds, hour);
		else
			concurrency->dropped++;
	}
	LWLockRelease(concurrency->lock);
	pfree(counts);
}

/*
 * The number of sessions that so large a share of the looks did not exceed.
 * "seen" are the looks that found any, by bucket.
 */
static int
percentile(const uint32 *seen, uint32 looks, double share, int max)
{
	double		above = looks * (1.0 - share);	/* may exceed it */

	/* from above: the looks that found none need not be known */
	for (int bucket = N_BUCKETS - 1; bucket > 0; bucket--)
	{
		above -= seen[bucket];
		if (above < -1e-9 * looks)
			return bucket == N_BUCKETS - 1 ? max : Min(bucket_end(bucket), max);
	}
	return 0;
}

/*
 * Sums up a pair over the hours from the first one on.  "copy" is no longer
 * written.
 */
static void
summarize(const ImonConcurrency *copy, const ImonPair *pair, int kind,
		  int64 first_hour, ImonSummary *summary)
{
	uint32		total[N_BUCKETS] = {0};
	uint32		looks = 0;
	uint64		sum = 0;

	memset(summary, 0, sizeof(*summary));
	for (int i = 0; i < N_HOURS; i++)
	{
		const ImonHour *hour = &copy->hours[i];
		const ImonOccupancy *occupancy = &pair->hours[i].kinds[kind];
		uint32		seen[N_BUCKETS];

		if (hour->hour < first_hour)
			continue;
		looks += hour->looks;
		if (pair->hours[i].hour != hour->hour)
			continue;			/* none in that hour */
		sum += occupancy->sum;
		summary->max = Max(summary->max, (int) occupancy->max);
		for (int bucket = 0; bucket < N_BUCKETS; bucket++)
		{
			seen[bucket] = occupancy->looks[bucket];
			total[bucket] += seen[bucket];
		}
		if (hour->looks >= MIN_LOOKS)
			summary->busiest_p99 = Max(summary->busiest_p99,
									   percentile(seen, hour->looks, 0.99,
												  occupancy->max));
	}
	if (looks == 0)
		return;
	summary->avg = (double) sum / looks;
	summary->p95 = percentile(total, looks, 0.95, summary->max);
	summary->p99 = percentile(total, looks, 0.99, summary->max);
	summary->busiest_p99 = Max(summary->busiest_p99, summary->p99);
}

/* Puts a pair into the result, or the whole server. */
static void
put_pair(ReturnSetInfo *rsinfo, const ImonConcurrency *copy,
		 const ImonPair *pair, int64 first_hour, int64 looks, Datum observed)
{
	bool		is_server = (pair == &copy->all);
	ImonSummary active;
	ImonSummary held;
	Datum		values[CONCURRENCY_COLUMNS];
	bool		nulls[CONCURRENCY_COLUMNS] = {false};
	int			i = 0;

	summarize(copy, pair, OCCUPANCY_ACTIVE, first_hour, &active);
	summarize(copy, pair, OCCUPANCY_HELD, first_hour, &held);
	values[i] = ObjectIdGetDatum(pair->database);
	nulls[i++] = is_server;
	values[i] = ObjectIdGetDatum(pair->role);
	nulls[i++] = is_server;
	values[i++] = Int64GetDatum(looks);
	values[i++] = observed;
	values[i++] = Float8GetDatum(active.avg);
	values[i++] = Int32GetDatum(active.p95);
	values[i++] = Int32GetDatum(active.p99);
	values[i++] = Int32GetDatum(active.max);
	values[i++] = Float8GetDatum(held.avg);
	values[i++] = Int32GetDatum(held.p95);
	values[i++] = Int32GetDatum(held.p99);
	values[i++] = Int32GetDatum(held.max);
	values[i++] = Int32GetDatum(held.busiest_p99);
	Assert(i == lengthof(values));

	/* nobody looked: nothing is known */
	for (i = 3; looks == 0 && i < lengthof(values); i++)
		nulls[i] = true;
	imon_put_row(rsinfo, values, nulls);
}

/*
 * How far to look back, in milliseconds.  An hour at least, since nothing finer
 * is kept.
 */
static int64
lookback_ms(const Interval *lookback)
{
	double		seconds = lookback->time / (double) USECS_PER_SEC +
		((double) lookback->month * DAYS_PER_MONTH + lookback->day) * SECS_PER_DAY;

	if (seconds < SECS_PER_HOUR)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cannot look back for less than an hour"),
				 errhint("Concurrency is kept by the hour, for a day.")));
	return (int64) (Min(seconds, SECS_PER_DAY) * 1000);
}

/*
 * SQL: concurrency(lookback), one row for the server and one for each pair:
 * dbid, userid, looks, observed, then average, 95th and 99th percentile and
 * maximum of active sessions, the same of those that hold a connection, and
 * the 99th percentile of these in the busiest hour.
 */
Datum
imon_concurrency_1_0(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo;
	ImonConcurrency *copy;
	int64		back;
	int64		since_look_ms;
	int64		first_hour;
	int64		looks = 0;
	int64		observed_ms = 0;
	Interval   *observed;

	imon_require_arguments(fcinfo, 1);
	imon_shmem_require();
	rsinfo = imon_begin_rows(fcinfo, CONCURRENCY_COLUMNS);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	back = lookback_ms(PG_GETARG_INTERVAL_P(0));

	copy = palloc(sizeof(ImonConcurrency));
	LWLockAcquire(concurrency->lock, LW_SHARED);
	memcpy(copy, concurrency, sizeof(ImonConcurrency));
	LWLockRelease(concurrency->lock);

	/* the hours that began within that time; only the sampler knows its clock */
	since_look_ms = Max(GetCurrentTimestamp() - copy->last_look_at, 0) / 1000;
	first_hour = hour_of(copy->last_look_ms + since_look_ms) -
		back / MS_PER_HOUR + 1;
	for (int i = 0; i < N_HOURS; i++)
	{
		if (copy->hours[i].hour < first_hour)
			continue;
		looks += copy->hours[i].looks;
		observed_ms += copy->hours[i].observed_ms;
	}
	observed = palloc0(sizeof(Interval));
	observed->time = Min(observed_ms, back) * 1000;

	put_pair(rsinfo, copy, &copy->all, first_hour, looks,
			 IntervalPGetDatum(observed));
	for (int i = 0; looks > 0 && i < MAX_PAIRS; i++)
		if (copy->pairs[i].database != InvalidOid)
			put_pair(rsinfo, copy, &copy->pairs[i], first_hour, looks,
					 IntervalPGetDatum(observed));
	pfree(copy);
	return (Datum) 0;
}

uint64
imon_concurrency_evictions(void)
{
	return imon_read_counter(concurrency->lock, &concurrency->evicted);
}

uint64
imon_concurrency_drops(void)
{
	return imon_read_counter(concurrency->lock, &concurrency->dropped);
}

/* SQL: concurrency_state, one row: pairs, evicted, dropped. */
Datum
imon_concurrency_state_1_0(PG_FUNCTION_ARGS)
{
	Datum		values[STATE_COLUMNS];
	bool		nulls[STATE_COLUMNS] = {false};
	int			pairs = 0;
	uint64		evicted;
	uint64		dropped;
	int			i = 0;

	imon_shmem_require();
	LWLockAcquire(concurrency->lock, LW_SHARED);
	for (int pair = 0; pair < MAX_PAIRS; pair++)
		pairs += (concurrency->pairs[pair].database != InvalidOid);
	evicted = concurrency->evicted;
	dropped = concurrency->dropped;
	LWLockRelease(concurrency->lock);

	values[i++] = Int32GetDatum(pairs);
	values[i++] = Int64GetDatum((int64) evicted);
	values[i++] = Int64GetDatum((int64) dropped);
	Assert(i == lengthof(values));

	PG_RETURN_DATUM(imon_one_row(fcinfo, lengthof(values), values, nulls));
}
