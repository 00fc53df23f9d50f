/*-------------------------------------------------------------------------
 *
 * histogram.h
 *	  Histograms of durations: which bucket a duration belongs to, and what an
 *	  array of counts says.
 *
 * Durations are whole nanoseconds here.  The bounds of the buckets are the
 * preferred numbers R20 of ISO 3 (1, 1.12, 1.25, 1.4, 1.6, 1.8, 2, 2.24, 2.5,
 * 2.8, 3.15, 3.55, 4, 4.5, 5, 5.6, 6.3, 7.1, 8, 9) in each of the ten decades
 * from 1 us to 10 000 s; in nanoseconds all of them are whole numbers.  A
 * duration that equals a bound belongs to the bucket below it, as "le" means
 * in Prometheus.
 *
 *	bucket 0		up to 1 us (underflow)
 *	bucket 1 ... 200	above the bound before, up to its own
 *	bucket 201		above 10 000 s (overflow)
 *
 * A quantile is known to its bucket, in which estimate and true value both
 * lie.  The widest bucket is that of 1.4 to 1.6, so that from 1 us to 10 000 s
 * an estimate is off by 0.2 / 1.4 = 14.3 % at most.  Outside that range the
 * estimate is the end of the range.
 *
 * There is no state, no lock, no allocation and no error in here: it may be
 * called anywhere.  Counts that are added to concurrently are atomics; reading
 * them one by one gives counts that may be of slightly different moments.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_HISTOGRAM_H
#define IMON_HISTOGRAM_H

#include "internal.h"
#include "port/atomics.h"
#include "port/pg_bitutils.h"

#define IMON_HISTOGRAM_BUCKETS 202

/* Upper bounds of all buckets but the last, in nanoseconds. */
#define IMON_HISTOGRAM_BOUNDS (IMON_HISTOGRAM_BUCKETS - 1)
#define IMON_HISTOGRAM_MIN UINT64CONST(1000)	/* the first of them */
#define IMON_HISTOGRAM_MAX UINT64CONST(10000000000000)	/* the last */
extern IMON_INTERNAL const uint64 imon_histogram_bounds[];

/*
 * Each power of two from 2^9 to 2^43 is divided into 16 equal cells, one row
 * each.  Adjacent bounds are farther apart than a cell is wide, so that there
 * is at most one within a cell; this is the bucket of its lowest value, and the
 * others may be in the next.  Above 10 000 s it is not looked at.
 */
#define IMON_CELL_BITS 4
#define IMON_FIRST_POWER 9
extern IMON_INTERNAL const uint8 imon_histogram_cells[];

/* The bucket of a duration in nanoseconds.  No logarithm, no loop. */
static inline int
imon_histogram_bucket(uint64 ns)
{
	int			power;
	int			bucket;

	if (unlikely(ns - IMON_HISTOGRAM_MIN - 1 >=
				 IMON_HISTOGRAM_MAX - IMON_HISTOGRAM_MIN))
		return ns <= IMON_HISTOGRAM_MIN ? 0 : IMON_HISTOGRAM_BOUNDS;
#ifdef __GNUC__
	power = 63 ^ __builtin_clzll(ns);	/* the same in fewer instructions */
#else
	power = pg_leftmost_one_pos64(ns);
#endif
	/* its highest bit makes the second term one row more */
	bucket = imon_histogram_cells[((Size) power << IMON_CELL_BITS) +
								  (Size) (ns >> (power - IMON_CELL_BITS)) -
								  ((IMON_FIRST_POWER + 1) << IMON_CELL_BITS)];
	return bucket + (ns > imon_histogram_bounds[bucket]);
}

/*
 * The upper bound of a bucket in nanoseconds, exact; PG_UINT64_MAX is that of
 * the last one, which has none.
 */
extern uint64 imon_histogram_bound(int bucket);

/* The number of observations, PG_INT64_MAX if there are more. */
extern uint64 imon_histogram_total(const uint64 *counts);

/*
 * The quantile q, in nanoseconds: the bucket that holds observation q * total
 * in ascending order, and within it a point that divides it geometrically as
 * the rank divides its observations.  0 is thus the lower bound of the first
 * occupied bucket, 1 the upper bound of the last one.  Below 1 us the answer
 * is 1 us, above 10 000 s it is 10 000 s.  NaN if there is no observation, or
 * if q is not from 0 to 1.
 */
extern double imon_histogram_quantile(const uint64 *counts, double q);

/*
 * The reverse: the share of the observations up to so many nanoseconds.  It
 * divides a bucket as the quantile does; those above 10 000 s count as longer
 * than any duration but infinity.  NaN if there is no observation.
 */
extern double imon_histogram_fraction(const uint64 *counts, double ns);

/* Makes an array of IMON_HISTOGRAM_BUCKETS counts in shared memory empty. */
static inline void
imon_histogram_init(pg_atomic_uint64 *counts)
{
	for (int i = 0; i < IMON_HISTOGRAM_BUCKETS; i++)
		pg_atomic_init_u64(&counts[i], 0);
}

/* Counts a duration in such an array. */
static inline void
imon_histogram_observe(pg_atomic_uint64 *counts, uint64 ns)
{
	pg_atomic_fetch_add_u64(&counts[imon_histogram_bucket(ns)], 1);
}

/* Copies such an array to ordinary memory. */
static inline void
imon_histogram_read(pg_atomic_uint64 *from, uint64 *counts)
{
	for (int i = 0; i < IMON_HISTOGRAM_BUCKETS; i++)
		counts[i] = pg_atomic_read_u64(&from[i]);
}

#endif							/* IMON_HISTOGRAM_H */
