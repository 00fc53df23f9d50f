/*-------------------------------------------------------------------------
 *
 * clock.h
 *	  A clock that is never set.
 *
 * That of another process may be another one: its times are not to be
 * compared, nor kept in shared memory for others.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_CLOCK_H
#define IMON_CLOCK_H

#include "portability/instr_time.h"

/* Its milliseconds. */
static inline int64
imon_clock_ms(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MILLISEC(now);
}

#endif							/* IMON_CLOCK_H */
