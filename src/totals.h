/*-------------------------------------------------------------------------
 *
 * totals.h
 *	  Totals in shared memory that only grow.
 *
 * A reset does not clear a total but remembers what it was, its "base": an
 * event between reading a counter and clearing it would be lost.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_TOTALS_H
#define IMON_TOTALS_H

#include "port/atomics.h"

/*
 * What a total has grown by since the last reset.  The base is read first:
 * read later, it could be ahead of the total.
 */
static inline uint64
imon_since_reset(pg_atomic_uint64 *total, pg_atomic_uint64 *base)
{
	uint64		from = pg_atomic_read_u64(base);

	pg_read_barrier();
	return pg_atomic_read_u64(total) - from;
}

/* Lets a total begin anew. */
static inline void
imon_reset_total(pg_atomic_uint64 *total, pg_atomic_uint64 *base)
{
	pg_atomic_write_u64(base, pg_atomic_read_u64(total));
}

#endif							/* IMON_TOTALS_H */
