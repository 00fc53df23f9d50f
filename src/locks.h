/*-------------------------------------------------------------------------
 *
 * locks.h
 *	  Who waits for whom: a snapshot of all waits for heavyweight locks.
 *
 * A party is a process, or all members of a lock group (a parallel query) under
 * the pid of their leader, or a prepared transaction, which has the pid 0.
 * Parties are numbered from 0; the numbers mean something within one snapshot.
 *
 * No function here needs a transaction.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_LOCKS_H
#define IMON_LOCKS_H

#include "datatype/timestamp.h"
#include "storage/lock.h"
#include "utils/backend_status.h"

/* The state of a prepared transaction, which has no backend that shows one. */
#define IMON_PREPARED_STATE "prepared transaction"

typedef struct ImonLockSnapshot ImonLockSnapshot;

typedef struct ImonLockParty
{
	int			pid;			/* 0 = prepared transaction */
	Oid			role;			/* invalid if it has none */
	Oid			database;		/* invalid if it has none */
	TransactionId xid;			/* invalid if it has none */
} ImonLockParty;

typedef struct ImonWaiter
{
	int			number;			/* of this party */
	ImonLockParty party;
	TimestampTz since;			/* when its wait began; 0 = not yet known */
	LOCKTAG		tag;			/* what it waits for */
	LOCKMODE	mode;
	int			root_number;	/* -1 = nobody is in its way any more */
	ImonLockParty root;			/* only if root_number is one */
	int			depth;			/* steps to the root */
	bool		in_cycle;		/* its chain comes back to it */
} ImonWaiter;

/*
 * Does anybody wait for a heavyweight lock?  Looks without any lock, so that
 * it is a matter of luck whether a wait that just begins or ends counts.
 */
extern bool imon_anybody_waits(void);

/*
 * All waits for heavyweight locks at one moment; NULL if nobody waits, and then
 * no lock was taken.  Holds all lock manager partitions in shared mode while it
 * copies what is contested.  Allocates in the current memory context.
 */
extern ImonLockSnapshot *imon_take_lock_snapshot(void);
extern void imon_free_lock_snapshot(ImonLockSnapshot *snapshot);

/* Number of parties, those that wait and those in their way. */
extern int	imon_lock_parties(const ImonLockSnapshot *snapshot);

/*
 * The waiters: call with *position 0 at first, until it returns false.
 */
extern bool imon_next_lock_wait(const ImonLockSnapshot *snapshot,
								int *position, ImonWaiter *waiter);

/*
 * The pids that a party waits for, as pg_blocking_pids() has them but each
 * once, into *pids, which must have room for all parties.  Returns how many.
 */
extern int	imon_lock_blockers(ImonLockSnapshot *snapshot, int number,
							   int *pids);

#endif							/* IMON_LOCKS_H */
