/*-------------------------------------------------------------------------
 *
 * connection_times.h
 *	  How long it takes to connect, and how long sessions last.
 *
 * Nothing here takes a lock, allocates or raises an error, except the SQL
 * function.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_CONNECTION_TIMES_H
#define IMON_CONNECTION_TIMES_H

#include "datatype/timestamp.h"

/* Registers shared memory.  Call once, in _PG_init. */
extern void imon_connection_times_init(void);

/* This process was established at that moment. */
extern void imon_connection_times_begin(TimestampTz at);

/* This process, for which that was called, ends.  Returns microseconds. */
extern uint64 imon_connection_times_end(void);

/*
 * All durations since shared memory was created, whatever was reset since: an
 * array of IMON_HISTOGRAM_BUCKETS counts, and their sum in seconds.  Of how long
 * it took to connect, or of sessions that have ended.
 */
extern void imon_connection_times_ever(bool sessions, uint64 *counts,
									   double *sum);

/* Lets all counts begin anew.  Shared memory must be ready. */
extern void imon_connection_times_reset(void);

#endif							/* IMON_CONNECTION_TIMES_H */
