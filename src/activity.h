/*-------------------------------------------------------------------------
 *
 * activity.h
 *	  What the client backends are doing now.
 *
 * Read from the caller's snapshot of backend states, which is frozen within a
 * transaction as in pg_stat_activity.  No locks.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_ACTIVITY_H
#define IMON_ACTIVITY_H

#include "datatype/timestamp.h"
#include "utils/backend_status.h"

typedef struct ImonActivity
{
	int			active;
	int			idle;
	int			idle_in_transaction;	/* also in an aborted transaction */
	int			waiting;		/* active and waiting for a heavyweight lock */
	TimestampTz oldest_transaction; /* start; 0 = none */
	TimestampTz oldest_idle_in_transaction; /* idle since; 0 = none */
	TimestampTz oldest_lock_wait;	/* waiting since; 0 = none */
} ImonActivity;

/*
 * Counts client backends by state.  Allocates in the current memory context;
 * works outside a transaction too, if the caller then clears its snapshot.
 */
extern void imon_count_activity(ImonActivity *activity);

/* The name that pg_stat_activity gives to a state, or NULL. */
extern const char *imon_state_name(BackendState state);

#endif							/* IMON_ACTIVITY_H */
