/*-------------------------------------------------------------------------
 *
 * slow_samples.h
 *	  Stores single executions over infra_monitor.slow_query_threshold.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_SLOW_SAMPLES_H
#define IMON_SLOW_SAMPLES_H

/*
 * Stores what the log of slow executions has and the table has not, in the
 * caller's transaction, as far as that is one step.  Returns false if there is
 * more; without room in the table it stores nothing.  For the sampler only; not in recovery.  Needs a snapshot, and no
 * second call in the same transaction.  Errors as imon_begin_writing().
 */
extern bool imon_store_slow_queries(void);

#endif							/* IMON_SLOW_SAMPLES_H */
