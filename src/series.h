/*-------------------------------------------------------------------------
 *
 * series.h
 *	  How the number of connections moves: the last samples of the pool, and
 *	  for each role, database and group of sessions its part in them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_SERIES_H
#define IMON_SERIES_H

/* Registers shared memory.  Call once, in _PG_init. */
extern void imon_series_init(void);

/*
 * Takes a sample of the pool; the sampler only.  Needs no transaction, but the
 * caller must then clear its snapshot of backend states.  Nothing is done less
 * than half an interval after the sample before.
 */
extern void imon_sample_series(void);

/*
 * How often something was not followed because there was no room for it.
 * Shared memory must be ready.
 */
extern uint64 imon_series_dropped(void);

#endif							/* IMON_SERIES_H */
