/*-------------------------------------------------------------------------
 *
 * statements.h
 *	  The table of statements: how long their executions took, and how they
 *	  ended.
 *
 * Counting takes no lock if this process has counted the statement before,
 * allocates nothing then, makes no system call, and never raises an error.
 * What cannot be counted at once is kept in the process and tried again; what
 * cannot be kept is dropped, and the drop is counted.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_STATEMENTS_H
#define IMON_STATEMENTS_H

#include "internal.h"

/* How an execution ended. */
typedef enum ImonOutcome
{
	IMON_COMPLETED,
	IMON_CANCELLED,				/* 57014, also by statement_timeout */
	IMON_LOCK_NOT_AVAILABLE,	/* 55P03, also by lock_timeout */
	IMON_TERMINATED,			/* the session ended meanwhile */
	IMON_FAILED					/* any other error */
} ImonOutcome;

#define IMON_N_OUTCOMES (IMON_FAILED + 1)

/* The key of pg_stat_statements.  A queryid of 0 is not known. */
typedef struct ImonStatementKey
{
	uint64		queryid;
	Oid			userid;
	Oid			dbid;
	bool		toplevel;
	char		padding[7];		/* zero: keys are compared as bytes */
} ImonStatementKey;

/* Registers shared memory.  Call once, in _PG_init. */
extern void imon_statements_init(void);

/* The outcome of an execution that raised an error of this SQLSTATE. */
extern ImonOutcome imon_outcome_of_error(int sqlerrcode);

/*
 * Counts an execution that took so many nanoseconds.  Shared memory must be
 * ready.
 */
extern IMON_INTERNAL void imon_count_execution(const ImonStatementKey *key,
											   ImonOutcome outcome, uint64 ns);

/*
 * Lets all counts begin anew.  Waits for the table's lock.  Shared memory must
 * be ready.
 */
extern void imon_statements_reset(void);

/* Counts an execution that could not be watched.  Shared memory must be ready. */
extern void imon_drop_execution(void);

/*
 * Counts what this process has kept for later; waits for the table's lock if
 * there is something.  For the end of the process.
 */
extern void imon_flush_executions(void);

/* Executions that were not counted.  Shared memory must be ready. */
extern uint64 imon_executions_dropped(void);

/*
 * Statements that were added to the remainder of their database to make room.
 * Shared memory must be ready.
 */
extern uint64 imon_statements_evicted(void);

#endif							/* IMON_STATEMENTS_H */
