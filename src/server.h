/*-------------------------------------------------------------------------
 *
 * server.h
 *	  What each execution of a statement needs of the server, by its address.
 *
 * The linker spreads the addresses of functions and variables of the server over a
 * table of all those that we use, in no order: each of these would cost a line of the
 * cache, and another one of what the server itself needs next.  Here they share one.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_SERVER_H
#define IMON_SERVER_H

#include <time.h>

#include "datatype/timestamp.h"
#include "internal.h"

/* Each member is the function, or points to the variable, of its name. */
typedef struct ImonServer
{
	TimestampTz (*GetCurrentStatementStartTimestamp) (void);
	int			(*clock_gettime) (clockid_t clock, struct timespec *time);
	Oid			(*GetUserId) (void);
	bool		(*IsTransactionBlock) (void);
	int		   *ParallelWorkerNumber;
	Oid		   *MyDatabaseId;
} ImonServer;

/* Never written to; not constant, so that no compiler uses the table after all. */
extern IMON_INTERNAL ImonServer imon_server;

#endif							/* IMON_SERVER_H */
