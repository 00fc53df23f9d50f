/*-------------------------------------------------------------------------
 *
 * readiness.h
 *	  The audit before a launch: collects its facts and keeps its result.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_READINESS_H
#define IMON_READINESS_H

/* Registers shared memory.  Call once, in _PG_init. */
extern void imon_readiness_init(void);

/*
 * Evaluates the audit and stores the result for all readers.  For the sampler
 * only.  Needs a transaction, a snapshot, and the extension in this database.
 */
extern void imon_evaluate_readiness(void);

/* Results that were too large for the cache.  Shared memory must be ready. */
extern uint64 imon_readiness_overflows(void);

#endif							/* IMON_READINESS_H */
