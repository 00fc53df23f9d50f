/*-------------------------------------------------------------------------
 *
 * connections.h
 *	  Counts connections: established, ended, authenticating, refused.
 *
 * All numbers are since the counters were reset, or since shared memory was
 * created, unless it says otherwise.  Nothing here takes a lock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_CONNECTIONS_H
#define IMON_CONNECTIONS_H

#include "datatype/timestamp.h"

/* Why a connection was refused; the order is that of pool_rejections. */
typedef enum ImonRejection
{
	IMON_REJECTED_MAX_CONNECTIONS,
	IMON_REJECTED_RESERVED,
	IMON_REJECTED_ROLE_LIMIT,
	IMON_REJECTED_DATABASE_LIMIT,
	IMON_REJECTED_AUTHENTICATION,
	IMON_REJECTED_STARTING_UP,
	IMON_REJECTED_SHUTTING_DOWN,
	IMON_REJECTED_OTHER
} ImonRejection;

#define IMON_N_REJECTIONS (IMON_REJECTED_OTHER + 1)

/* The longest window that imon_rejected_recently() can look back, seconds. */
#define IMON_REJECTION_WINDOW 300

typedef struct ImonConnectionCounts
{
	int			established;	/* client backends now */
	int			authenticating; /* slots held by others than those, now */
	int			peak;			/* most established at one moment */
	TimestampTz peak_at;		/* exact to the millisecond */
	uint64		connects;
	uint64		disconnects;
	uint64		rejected;		/* all reasons but authentication */
	uint64		auth_failures;
	TimestampTz stats_reset;
} ImonConnectionCounts;

/* Registers shared memory, callback and log hook.  Call once, in _PG_init. */
extern void imon_connections_init(void);

/* Reads all counts.  Shared memory must be ready. */
extern void imon_connection_counts(ImonConnectionCounts *counts);

/*
 * Connections refused for other reasons than authentication in the last
 * IMON_REJECTION_WINDOW seconds.  Shared memory must be ready.
 */
extern uint64 imon_rejected_recently(void);

/*
 * Lets all counts begin anew, the peak at what is established now.  What
 * happens meanwhile is counted either before or after, never lost.  Shared
 * memory must be ready.
 */
extern void imon_connections_reset(void);

/*
 * Connections refused for a reason since shared memory was created, whatever was
 * reset since, and the name of the reason.  Shared memory must be ready.
 */
extern uint64 imon_rejected_ever(ImonRejection reason);
extern const char *imon_rejection_name(ImonRejection reason);

/* Refusals whose details could not be kept.  Shared memory must be ready. */
extern uint64 imon_rejections_dropped(void);

#endif							/* IMON_CONNECTIONS_H */
