/*-------------------------------------------------------------------------
 *
 * repeated.h
 *	  Finds statements that a client executes in a loop (N+1).
 *
 * What is noted takes no lock, allocates nothing, makes no system call and
 * never raises an error.  Only the end of a loop that was long enough takes a
 * lock, if it is free.  Shared memory must be ready.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_REPEATED_H
#define IMON_REPEATED_H

#include "executor/execdesc.h"
#include "internal.h"
#include "nodes/nodes.h"
#include "statements.h"
#include "utils/timestamp.h"

/* Registers shared memory.  Call once, in _PG_init. */
extern void imon_repeated_init(void);

/*
 * A statement of the client has completed; its executor has not yet ended.
 * "sent" is when the client has sent it, "is_block" whether that is part of a
 * transaction block.
 */
extern IMON_INTERNAL void imon_note_repeated(const ImonStatementKey *key,
											 const QueryDesc *desc,
											 TimestampTz sent, uint64 ns,
											 bool is_block);

/*
 * A statement of the client is still being read, while others complete that
 * began after it.
 */
extern IMON_INTERNAL void imon_note_open(const ImonStatementKey *key);

/* A utility command of the client has completed. */
extern void imon_note_utility(const ImonStatementKey *key, NodeTag command,
							  TimestampTz sent, uint64 rows, uint64 ns);

/* A transaction of this process has ended; for blocks in which it has. */
extern void imon_repeated_end_transaction(void);

/*
 * Ends all loops of this process, and waits for the table's lock if there is
 * something to record.  For the end of the process.
 */
extern void imon_flush_repeated(void);

/*
 * Forgets all that was recorded, and what this process has not yet recorded.
 * Waits for the table's lock.
 */
extern void imon_repeated_reset(void);

/*
 * Loops, and executions in them, since shared memory was created, whatever was
 * reset since.  Waits for the table's lock.
 */
extern void imon_repeated_ever(uint64 *bursts, uint64 *executions);

/* Loops that were not recorded because the table was busy. */
extern uint64 imon_bursts_dropped(void);

/* Rows of the table that were removed to make room. */
extern uint64 imon_repeated_evicted(void);

#endif							/* IMON_REPEATED_H */
