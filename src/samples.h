/*-------------------------------------------------------------------------
 *
 * samples.h
 *	  Takes samples.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_SAMPLES_H
#define IMON_SAMPLES_H

#include "datatype/timestamp.h"

/* Registers shared memory.  Call once, in _PG_init. */
extern void imon_samples_init(void);

/*
 * Takes a sample in the caller's transaction and returns its time.  Creates
 * the partition of the day if it is missing.  Needs a snapshot.  Errors: in
 * recovery; not in the home database, which alone has a history; the lock of another writer not had within lock_timeout; no room for it; a table
 * of ours in a state in which writing it could run foreign code.
 */
extern TimestampTz imon_take_sample(void);

/*
 * Raises an error unless samples are stored here: without shared memory, in
 * recovery, outside the home database.
 */
extern void imon_require_home(void);

/*
 * The epoch that a sample would have now; the second, if counts of statements
 * began at this moment.  Need SPI to be connected, and shared memory to be
 * ready.
 */
extern int64 imon_current_epoch(void);
extern int64 imon_epoch_of_statements(TimestampTz statements_reset);

/* Adds one look at the backends to the average of active sessions. */
extern void imon_add_activity(int active);

/* Samples stored since shared memory was created. */
extern uint64 imon_samples_stored(void);

#endif							/* IMON_SAMPLES_H */
