/*-------------------------------------------------------------------------
 *
 * slow_log.h
 *	  Single executions over infra_monitor.slow_query_threshold.
 *
 * An execution that is fast costs a look at the clock when it begins, if it is
 * a statement of the client, and a comparison when it ends.  Nothing here waits
 * for anybody or fails, but for what is said at imon_log_slow().
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_SLOW_LOG_H
#define IMON_SLOW_LOG_H

#include "access/xact.h"
#include "activity.h"
#include "clock.h"
#include "executor/execdesc.h"
#include "executor/instrument.h"
#include "guc.h"
#include "internal.h"
#include "locks.h"
#include "server.h"
#include "statements.h"
#include "utils/timestamp.h"

#define IMON_SLOW_LOG_COLUMNS 26	/* of the SQL function slow_query_log */

/* When an execution began. */
typedef struct ImonBeginning
{
	TimestampTz statement;		/* the client's statement */
	int64		pre_us;			/* from there to executor or utility command;
								 * -1 = runs inside another */
} ImonBeginning;

/* A text with a statement in it, as in PlannedStmt. */
typedef struct ImonSource
{
	const char *text;
	int			location;
	int			length;
} ImonSource;

/* What a process has used before a utility command. */
typedef struct ImonUsage
{
	BufferUsage buffers;
	WalUsage	wal;
} ImonUsage;

/* An execution that ends. */
typedef struct ImonEnded
{
	const ImonStatementKey *key;
	const ImonBeginning *beginning;
	ImonOutcome outcome;
	int			sqlerrcode;
	uint64		ns;				/* in the executor or utility command */
	QueryDesc  *desc;			/* NULL: was not in the executor */
	const ImonSource *source;	/* NULL: that of "desc", or noted */
	const ImonUsage *before;	/* NULL: that of "desc", or not known */
	int64		rows;			/* without "desc"; -1 = not known */
} ImonEnded;

/* Registers shared memory and installs a hook.  Call once, in _PG_init. */
extern void imon_slow_log_init(void);

/*
 * From which nanoseconds of imon_slow_ns on a tick of the system, 10 ms at most,
 * makes no difference: it is 1 %.
 */
#define IMON_SLOW_BY_TICKS UINT64CONST(1000000000)

/* Takes note that an execution of the client begins now. */
static inline void
imon_begin_exactly(ImonBeginning *beginning)
{
	beginning->statement = GetCurrentStatementStartTimestamp();
	beginning->pre_us = Max(GetCurrentTimestamp() - beginning->statement, 0);
}

/* The same for any execution, and fast: less than a tick may count as none. */
static inline void
imon_begin_execution(ImonBeginning *beginning, bool toplevel)
{
	beginning->statement = imon_server.GetCurrentStatementStartTimestamp();
	if (unlikely(!toplevel))
		beginning->pre_us = -1;
#ifdef IMON_HAS_TICKS
	else if (likely(imon_slow_ns >= IMON_SLOW_BY_TICKS) &&
			 likely(imon_last_tick() <= beginning->statement))
		beginning->pre_us = 0;
#endif
	else
		imon_begin_exactly(beginning);
}

/* The statement of the client that was parsed last. */
typedef struct ImonParsed
{
	uint64		queryid;		/* 0 = none that has not been executed */
	TimestampTz statement;
	int64		us;
} ImonParsed;

extern IMON_INTERNAL ImonParsed imon_parsed;

/*
 * Adds the time of parsing, which waits for the locks of tables, if that was
 * another message of the client; for a query of the client.
 */
static inline void
imon_add_parsing(ImonBeginning *beginning, uint64 queryid)
{
	if (likely(imon_parsed.queryid != queryid))
		return;
	imon_parsed.queryid = 0;
	if (imon_parsed.statement == beginning->statement)
		return;
	beginning->statement = imon_parsed.statement;
	beginning->pre_us += imon_parsed.us;
}

/* Nanoseconds of an execution with what was before it in the same message. */
static inline uint64
imon_elapsed_ns(const ImonBeginning *beginning, uint64 ns)
{
	return ns + 1000 * (uint64) Max(beginning->pre_us, 0);
}

/*
 * Can an execution be slow, with so many nanoseconds elapsed?  It is not if
 * others in the same message have used up its time.
 */
static inline bool
imon_may_be_slow(uint64 elapsed_ns)
{
	return elapsed_ns >= imon_slow_ns;
}

/*
 * Keeps an execution that ends, in whatever way, if it was slow; for those that
 * may be.  Raises no error, unless it has completed and its plan is wanted
 * (slow_query_plan): then a cancel or the end of the session can come while the
 * plan is written.
 */
extern void imon_log_slow(const ImonEnded *ended);

/* Up to where the time of the client's message is used up. */
extern IMON_INTERNAL TimestampTz imon_last_statement;
extern IMON_INTERNAL int64 imon_last_end_ns;

/* Takes note that the time of an execution is used up; after the above. */
static inline void
imon_end_execution(const ImonBeginning *beginning, uint64 elapsed_ns)
{
	if (unlikely(beginning->pre_us < 0))
		return;
	imon_last_statement = beginning->statement;
	imon_last_end_ns = (int64) elapsed_ns;
}

/* Microseconds of the client's message that are used up by others in it. */
static inline int64
imon_used_up(TimestampTz statement, int64 elapsed_us)
{
	return statement == imon_last_statement ?
		Min(imon_last_end_ns / 1000, elapsed_us) : 0;
}

/*
 * Notes the text of a statement that fails before it gets to the executor, if
 * it is slow already.  For the log hook.
 */
extern void imon_note_slow_text(const char *query, TimestampTz statement,
								int64 elapsed_us);

/*
 * Notes what each active client waits for, and who is in the way ("snapshot" of
 * lock waits, or NULL if nobody waits).  For the sampler only.
 */
extern void imon_note_waits(const ImonSessions *sessions,
							const ImonLockSnapshot *snapshot);

/* Forgets all executions.  Shared memory must be ready. */
extern void imon_slow_log_reset(void);

/*
 * Executions that were not kept because a slot was still being written, and
 * that gave way to newer ones before they were stored.  Shared memory must be
 * ready.
 */
extern uint64 imon_slow_log_dropped(void);
extern uint64 imon_slow_log_overwritten(void);

/*
 * What follows is for the sampler, which stores the executions.  They have
 * numbers, in the order in which they ended.
 */

/*
 * The slots of those that are kept, from "first" until before "end", each with
 * the number that it was for last.
 */
extern void imon_slow_log_range(uint64 *first, uint64 *end);

/*
 * Moves *slot on to the next before "end" with an execution that is not taken
 * over, *number; false if there is none.
 */
extern bool imon_next_slow_query(uint64 *slot, uint64 end, uint64 *number);

/*
 * Takes an execution over, with the columns of the SQL function slow_query_log:
 * whoever overwrites it then does not count it.  The caller stores it, or
 * returns it.  False if it has gone meanwhile.  Needs a transaction, and memory
 * for the columns.
 */
extern bool imon_take_slow_query(uint64 number, Datum *values, bool *nulls);

/*
 * Returns an execution that was taken over and could not be stored; if it has
 * gone, counts it.  Raises no error.
 */
extern void imon_return_slow_query(uint64 number);

/* Notes that the slots before this one have been looked at. */
extern void imon_slow_log_looked_through(uint64 slot);

/* Executions that were slow since shared memory was created. */
extern uint64 imon_slow_queries_ever(void);

/* Have more come since than a quarter of those that can be kept? */
extern bool imon_slow_log_presses(void);

#endif							/* IMON_SLOW_LOG_H */
