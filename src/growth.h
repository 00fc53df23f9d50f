/*-------------------------------------------------------------------------
 *
 * growth.h
 *	  How much counters of the server and the machine have grown in the last
 *	  hour.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_GROWTH_H
#define IMON_GROWTH_H

/* Registers shared memory.  Call once, in _PG_init. */
extern void imon_growth_init(void);

/*
 * Keeps a reading if the last one is five minutes old.  For the sampler, once
 * before each evaluation of the health checks; needs a transaction.
 */
extern void imon_note_growth(void);

#endif							/* IMON_GROWTH_H */
