/*-------------------------------------------------------------------------
 *
 * clock.h
 *	  A clock that is never set, the same for all processes.
 *
 * Not that of instr_time: since 19 a setting chooses it, at any time, and times
 * from before and after cannot be compared.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_CLOCK_H
#define IMON_CLOCK_H

#include <time.h>

/* Its nanoseconds. */
static inline int64
imon_clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64) now.tv_sec * INT64CONST(1000000000) + now.tv_nsec;
}

/* Its milliseconds. */
static inline int64
imon_clock_ms(void)
{
	return imon_clock_ns() / 1000000;
}

#endif							/* IMON_CLOCK_H */
