/*-------------------------------------------------------------------------
 *
 * pool.h
 *	  How close the server is to running out of connections.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_POOL_H
#define IMON_POOL_H

#include "activity.h"
#include "connections.h"

typedef struct ImonPool
{
	ImonConnectionCounts counts;
	ImonActivity activity;
	int			max_connections;
	int			reserved;		/* slots that ordinary roles cannot use */
	int			available;		/* slots that an ordinary role can still get */
	double		used_ratio;		/* of those that ordinary roles can use */
} ImonPool;

/* Reads the state of the pool.  Shared memory must be ready. */
extern void imon_read_pool(const ImonSessions *sessions, ImonPool *pool);

#endif							/* IMON_POOL_H */
