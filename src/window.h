/*-------------------------------------------------------------------------
 *
 * window.h
 *	  Counts of the recent past, by slots of time, in a ring of atomics.
 *
 * A slot is a number that grows with time, such as the seconds since some
 * moment.  A cell holds the slot that it counts and its count in one atomic,
 * 40 and 24 bits, so that nothing needs to be cleared: the first event of a
 * slot takes the cell over.  No lock, no allocation, no error: it may be
 * called anywhere.
 *
 * Where the clock is set back, slots begin anew that were counted before: their
 * events are added to those, as long as the ring still has them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_WINDOW_H
#define IMON_WINDOW_H

#include "port/atomics.h"

#define IMON_WINDOW_COUNT_BITS 24
#define IMON_WINDOW_COUNT_MASK ((UINT64CONST(1) << IMON_WINDOW_COUNT_BITS) - 1)

/* Makes a ring of "n" cells in shared memory empty. */
static inline void
imon_window_init(pg_atomic_uint64 *cells, int n)
{
	for (int i = 0; i < n; i++)
		pg_atomic_init_u64(&cells[i], 0);
}

/* Forgets what was counted. */
static inline void
imon_window_clear(pg_atomic_uint64 *cells, int n)
{
	for (int i = 0; i < n; i++)
		pg_atomic_write_u64(&cells[i], 0);
}

/* Adds one to a slot. */
static inline void
imon_window_count(pg_atomic_uint64 *cells, int n, uint64 slot)
{
	pg_atomic_uint64 *cell = &cells[slot % n];
	uint64		old = pg_atomic_read_u64(cell);
	uint64		new;

	do
	{
		/* a later slot is that of a clock which was ahead, and set back since */
		if ((old >> IMON_WINDOW_COUNT_BITS) != slot)
			new = (slot << IMON_WINDOW_COUNT_BITS) | 1;
		else if ((old & IMON_WINDOW_COUNT_MASK) < IMON_WINDOW_COUNT_MASK)
			new = old + 1;
		else
			return;
	} while (!pg_atomic_compare_exchange_u64(cell, &old, new));
}

/* The count of a slot that is not older than the ring is long. */
static inline uint64
imon_window_read(pg_atomic_uint64 *cells, int n, uint64 slot)
{
	uint64		cell = pg_atomic_read_u64(&cells[slot % n]);

	return (cell >> IMON_WINDOW_COUNT_BITS) == slot ?
		cell & IMON_WINDOW_COUNT_MASK : 0;
}

#endif							/* IMON_WINDOW_H */
