/*-------------------------------------------------------------------------
 *
 * connection_limits.h
 *	  How many connections roles and databases have of those that they may.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_CONNECTION_LIMITS_H
#define IMON_CONNECTION_LIMITS_H

#include "activity.h"

/*
 * How near the nearest limit is, of all roles and of all databases that have
 * connections: 1 is reached.  Needs a transaction.
 */
extern void imon_nearest_limits(const ImonSessions *sessions,
								double *role, double *database);

#endif							/* IMON_CONNECTION_LIMITS_H */
