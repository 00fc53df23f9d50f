/*-------------------------------------------------------------------------
 *
 * transactions.h
 *	  Who wants to know that the transaction of this process has ended.
 *
 * The server calls us at the end of each transaction.  Nearly always nobody
 * has anything to do then, and one comparison tells.
 *
 * State is private to the process; no locks, no errors.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_TRANSACTIONS_H
#define IMON_TRANSACTIONS_H

#include "access/xact.h"
#include "internal.h"

/* What awaits the end of a transaction. */
#define IMON_AWAITS_CONNECTION	0x01	/* the session is being established */
#define IMON_AWAITS_HOME		0x02	/* a command about the home database */
#define IMON_AWAITS_EXECUTION	0x04	/* an execution is watched */
#define IMON_AWAITS_FAILURE		0x08	/* a failure is to be counted */
#define IMON_AWAITS_BLOCK		0x10	/* statements were noted in a block */

/* Those of this process now: set what you await, and clear it when it is done. */
extern IMON_INTERNAL uint32 imon_awaits;

/*
 * Asks for calls, at the events of a transaction callback, while any of "what"
 * is set.  Call in _PG_init only.
 */
extern void imon_await_transactions(uint32 what, void (*callback) (XactEvent));

/* Installs the callback.  Call once, in _PG_init. */
extern void imon_transactions_init(void);

#endif							/* IMON_TRANSACTIONS_H */
