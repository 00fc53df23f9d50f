/*-------------------------------------------------------------------------
 *
 * clock.h
 *	  A clock that is never set.
 *
 * That of another process may be another one: its times are not to be
 * compared, nor kept in shared memory for others; but for imon_boot_ms().
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_CLOCK_H
#define IMON_CLOCK_H

#include <time.h>

#include "portability/instr_time.h"

/* Its milliseconds. */
static inline int64
imon_clock_ms(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MILLISEC(now);
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

#endif							/* IMON_CLOCK_H */
