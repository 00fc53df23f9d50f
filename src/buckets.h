/*-------------------------------------------------------------------------
 *
 * buckets.h
 *	  A histogram in shared memory that takes six bytes a bucket.
 *
 * A count has 47 bits: the lower 32 in an atomic that wraps around, and how
 * often it has passed a multiple of 2^31 in a number of 16 bits.  The process
 * whose addition passes it adds one to that number, right after, and nobody
 * else does for the next 2^31 additions.  Until then the number is too small by
 * one, which shows: its lowest bit must be the highest of the atomic.  Thus
 * adding is one atomic addition, and a reader never sees a count decrease.
 *
 * Hardly any histogram gets that far.  One that has not says so, and then these
 * numbers, which lie apart from the atomics, are not looked at.
 *
 * No lock, no allocation, no error.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_BUCKETS_H
#define IMON_BUCKETS_H

#include "histogram.h"
#include "port/atomics.h"

#define IMON_HALF_BITS 31
#define IMON_HALF_MASK (((uint32) 1 << IMON_HALF_BITS) - 1)

typedef struct ImonBuckets
{
	volatile uint32 has_halves; /* has one of them ever passed 2^31? */
	pg_atomic_uint32 low[IMON_HISTOGRAM_BUCKETS];
	volatile uint16 halves[IMON_HISTOGRAM_BUCKETS]; /* of 2^32 */
} ImonBuckets;

/* Makes them empty. */
static inline void
imon_buckets_init(ImonBuckets *buckets)
{
	buckets->has_halves = 0;
	for (int i = 0; i < IMON_HISTOGRAM_BUCKETS; i++)
	{
		pg_atomic_init_u32(&buckets->low[i], 0);
		buckets->halves[i] = 0;
	}
}

/* Counts one. */
static inline void
imon_bucket_count(ImonBuckets *buckets, int i)
{
	uint32		before = pg_atomic_fetch_add_u32(&buckets->low[i], 1);

	if (unlikely((before & IMON_HALF_MASK) == IMON_HALF_MASK))
	{
		buckets->has_halves = 1;
		pg_write_barrier();
		buckets->halves[i]++;
	}
}

/* How often the bucket has passed a multiple of 2^31. */
static inline uint16
imon_bucket_halves(ImonBuckets *buckets, int i)
{
	return unlikely(buckets->has_halves) ? buckets->halves[i] : 0;
}

/* The count that these two make. */
static inline uint64
imon_bucket_value(uint16 halves, uint32 low)
{
	uint64		passed = halves;

	passed += (passed ^ (low >> IMON_HALF_BITS)) & 1;	/* not yet noted */
	return passed << IMON_HALF_BITS | (low & IMON_HALF_MASK);
}

/* The count of a bucket; others may be adding to it. */
static inline uint64
imon_bucket_read(ImonBuckets *buckets, int i)
{
	uint16		halves = imon_bucket_halves(buckets, i);

	pg_read_barrier();
	return imon_bucket_value(halves, pg_atomic_read_u32(&buckets->low[i]));
}

/*
 * Adds the counts of "n" buckets, from "first" on, to as many sums; others may
 * be adding to the buckets.
 */
static inline void
imon_buckets_add(uint64 *to, ImonBuckets *buckets, int first, int n)
{
	bool		has_halves = buckets->has_halves != 0;

	pg_read_barrier();
	if (likely(!has_halves))
		for (int i = 0; i < n; i++)
			to[i] += pg_atomic_read_u32(&buckets->low[first + i]);
	else
		for (int i = 0; i < n; i++)
			to[i] += imon_bucket_read(buckets, first + i);
}

/* Gives a bucket a count; for one that nobody is adding to. */
static inline void
imon_bucket_write(ImonBuckets *buckets, int i, uint64 count)
{
	uint16		halves = (uint16) (count >> IMON_HALF_BITS);

	if (unlikely(halves != 0))
		buckets->has_halves = 1;
	if (unlikely(buckets->has_halves))
		buckets->halves[i] = halves;
	pg_atomic_write_u32(&buckets->low[i], (uint32) count);
}

/*
 * Empties a bucket and returns its count.  What others are adding is in the
 * count, or in the bucket after it.
 */
static inline uint64
imon_bucket_take(ImonBuckets *buckets, int i)
{
	uint16		halves = imon_bucket_halves(buckets, i);
	uint32		low = pg_atomic_exchange_u32(&buckets->low[i], 0);

	if (unlikely(buckets->has_halves))
		buckets->halves[i] = 0;
	return imon_bucket_value(halves, low);
}

/*
 * Moves the counts of some buckets to where nobody else is adding, from "first"
 * until before "behind".
 */
static inline void
imon_buckets_move(ImonBuckets *to, ImonBuckets *from, int first, int behind)
{
	bool		has_halves = from->has_halves != 0;

	for (int i = first; i < behind; i++)
		if (unlikely(pg_atomic_read_u32(&from->low[i]) != 0 || has_halves))
			imon_bucket_write(to, i, imon_bucket_read(to, i) + imon_bucket_take(from, i));
}

#endif							/* IMON_BUCKETS_H */
