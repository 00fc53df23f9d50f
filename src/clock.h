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

#include "server.h"
#include "utils/timestamp.h"

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

/*
 * Milliseconds of a clock that all processes of the server share, from the start
 * of the machine on.  It goes on while the machine sleeps, if there is one that
 * does.
 */
static inline int64
imon_boot_ms(void)
{
#ifdef CLOCK_BOOTTIME
	struct timespec now;

	if (clock_gettime(CLOCK_BOOTTIME, &now) == 0)
		return (int64) now.tv_sec * 1000 + now.tv_nsec / 1000000;
#endif
	return imon_clock_ms();
}

/*
 * The time of day as GetCurrentTimestamp() would have told it at the last tick of
 * the system, 10 ms ago at most.  Reads memory instead of a counter of the
 * processor, which takes much longer.
 */
#ifdef CLOCK_REALTIME_COARSE
#define IMON_HAS_TICKS
static inline TimestampTz
imon_last_tick(void)
{
	struct timespec then;

	imon_server.clock_gettime(CLOCK_REALTIME_COARSE, &then);
	return ((TimestampTz) then.tv_sec -
			(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY) * USECS_PER_SEC +
		then.tv_nsec / 1000;
}
#endif

#endif							/* IMON_CLOCK_H */
