/*-------------------------------------------------------------------------
 *
 * growth.h
 *	  How much counters have grown in the last minutes.
 *
 * For health checks about counters that only ever grow, and of which nobody
 * else keeps the past.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_GROWTH_H
#define IMON_GROWTH_H

/* Registers shared memory.  Call once, in _PG_init. */
extern void imon_growth_init(void);

#endif							/* IMON_GROWTH_H */
