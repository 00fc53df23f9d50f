/*-------------------------------------------------------------------------
 *
 * concurrency.h
 *	  How many sessions of each role and database were at work at once.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_CONCURRENCY_H
#define IMON_CONCURRENCY_H

#include "activity.h"

/* Registers shared memory.  Call once, in _PG_init. */
extern void imon_concurrency_init(void);

/*
 * Counts the sessions at work at this moment.  For the sampler only; allocates
 * in the current memory context.
 */
extern void imon_count_concurrency(const ImonSessions *sessions);

/* Lets all counts begin anew.  Shared memory must be ready. */
extern void imon_concurrency_reset(void);

/*
 * What was lost since the last reset.  Shared memory must be ready.
 */
extern uint64 imon_concurrency_evictions(void); /* pairs of database and role
												 * that gave way to others */
extern uint64 imon_concurrency_drops(void); /* looks at pairs for which there
											 * was no room */

#endif							/* IMON_CONCURRENCY_H */
