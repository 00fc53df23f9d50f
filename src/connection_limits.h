/*-------------------------------------------------------------------------
 *
 * connection_limits.h
 *	  How many connections roles and databases have of those that they may.
 *
 * For limits.c; the C library has a header of that name.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_CONNECTION_LIMITS_H
#define IMON_CONNECTION_LIMITS_H

#include "activity.h"
#include "nodes/pg_list.h"

/* A role or database that has both a limit and connections. */
typedef struct ImonLimit
{
	const char *scope;			/* role or database */
	Oid			oid;
	const char *name;
	int			connections;
	int			limit;
} ImonLimit;

/* All of them, ImonLimits.  Needs a transaction. */
extern List *imon_collect_limits(const ImonSessions *sessions);

/* How near the limit is: 1 is reached, and so is a limit of 0. */
extern double imon_limit_ratio(const ImonLimit *limit);

/*
 * How near the nearest limit is, of all roles and of all databases that have
 * connections: 1 is reached.  Needs a transaction.
 */
extern void imon_nearest_limits(const ImonSessions *sessions,
								double *role, double *database);

#endif							/* IMON_CONNECTION_LIMITS_H */
