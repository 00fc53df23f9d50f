/*-------------------------------------------------------------------------
 *
 * connection_churn.h
 *	  Who connects how often: by database, role and application, and how many
 *	  in the last hour.
 *
 * Nothing here takes a lock, waits, allocates or raises an error, except the
 * SQL functions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_CONNECTION_CHURN_H
#define IMON_CONNECTION_CHURN_H

#include "datatype/timestamp.h"

/* Registers shared memory.  Call once, in _PG_init. */
extern void imon_churn_init(void);

/*
 * This process was established at that moment.  "counted": counts it for its
 * application, so that its end will be, too; otherwise only the number of all
 * connections is kept up.  Call it in the transaction that ends InitPostgres,
 * or in that transaction's callbacks.
 */
extern void imon_churn_begin(TimestampTz at, bool counted);

/* This process, which was counted, ends after so many microseconds. */
extern void imon_churn_end(TimestampTz at, uint64 session_time);

/*
 * Connections counted since the last reset, and how many of these and of those
 * before have ended: the sums of all applications.  The ends are read first,
 * so the balance is never short of a beginning.  Shared memory must be ready.
 */
extern void imon_churn_totals(uint64 *connects, uint64 *disconnects);

/*
 * The same since shared memory was created, whatever was reset since.
 */
extern void imon_churn_ever(uint64 *connects, uint64 *disconnects);

/* Lets all counts begin anew.  Shared memory must be ready. */
extern void imon_churn_reset(void);

#endif							/* IMON_CONNECTION_CHURN_H */
