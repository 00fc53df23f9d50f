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

/* A backend at the moment of a look. */
typedef struct ImonSession
{
	int			pid;
	int			procno;			/* of its PGPROC; -1 = not known */
	const PgBackendStatus *status;	/* of the caller's snapshot */
	bool		is_client;		/* not a worker, walsender, or the like */
	uint32		wait_event;		/* wait_event_info; 0 = runs, or not known */
	TimestampTz lock_since;		/* 0 = not waiting for a heavyweight lock */
} ImonSession;

typedef struct ImonSessions
{
	TimestampTz at;
	int			count;
	ImonSession *sessions;		/* sorted by pid */
} ImonSessions;

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
 * All backends now.  Allocates in the current memory context, and is valid as
 * long as the caller's snapshot of backend states; works outside a transaction
 * too, if the caller then clears that.
 */
extern void imon_look_at_sessions(ImonSessions *sessions);

/* The session of a process, or NULL. */
extern const ImonSession *imon_find_session(const ImonSessions *sessions,
											int pid);

/* Does the session wait for a heavyweight lock? */
extern bool imon_waits_for_lock(const ImonSession *session);

/* The name that pg_stat_activity gives to a state, or NULL. */
extern const char *imon_state_name(BackendState state);

/* Counts client backends by state. */
extern void imon_count_activity(const ImonSessions *sessions,
								ImonActivity *activity);

#endif							/* IMON_ACTIVITY_H */
