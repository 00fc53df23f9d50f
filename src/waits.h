/*-------------------------------------------------------------------------
 *
 * waits.h
 *	  Wait sampling: what active sessions were seen waiting for.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_WAITS_H
#define IMON_WAITS_H

#include "activity.h"

/* Registers shared memory.  Call once, in _PG_init. */
extern void imon_waits_init(void);

/*
 * Counts what each active client waits for.  For the sampler only; allocates in
 * the current memory context.
 */
extern void imon_count_waits(const ImonSessions *sessions);

/*
 * Writes what was counted since the last writing to wait_samples; it counts as
 * stored when the transaction commits.  Without room there, writes nothing and
 * goes on counting.  For the sampler only.  Needs a snapshot; errors as for imon_begin_writing().
 */
extern void imon_store_waits(void);

/* Lets all counts begin anew.  Shared memory must be ready. */
extern void imon_waits_reset(void);

/*
 * What was lost since the last reset.  Shared memory must be ready.
 */
extern uint64 imon_wait_queries_lost(void); /* observations counted without
											 * their query, for lack of room */
extern uint64 imon_wait_observations_lost(void);	/* observations not
													 * counted at all */

#endif							/* IMON_WAITS_H */
