/*-------------------------------------------------------------------------
 *
 * executions.c
 *	  Watches the executions of statements in this process.
 *
 * An execution is known by its QueryDesc, from ExecutorStart to ExecutorEnd;
 * that these come in pairs, or in any order, is not assumed.  Its time is that
 * of the instrumentation which pg_stat_statements uses too, for a statement of
 * the client; nested ones are timed by ourselves, so that pg_stat_statements
 * never finds an instrumentation that it would not have made.
 *
 * A failure is seen where it passes by: an ERROR inside executor or utility
 * command by the wrapper around it; one before (waiting for the lock of a
 * table, say) or after (at commit) by the log hook, which only takes a note
 * that is counted when the transaction aborts; the end of the process by its
 * exit callback.  The log hook is not called for errors that the server is
 * told not to log (log_min_messages above error): those are missed.
 *
 * Parallel workers are left out: their leader's time is the statement's.
 *
 * All state is private to the process; there is no lock here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "compat.h"
#include "executions.h"
#include "executor/executor.h"
#include "executor/instrument.h"
#include "guc.h"
#include "libpq/libpq-be.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "repeated.h"
#include "statements.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define MIN_OPEN 16
#define MAX_OPEN 4096			/* executions watched at a time */

/* An execution between ExecutorStart and ExecutorEnd. */
typedef struct ImonExecution
{
	QueryDesc  *desc;
	ImonStatementKey key;
	SubTransactionId subid;		/* in which it began */
	uint64		ns;				/* so far, of a nested one */
} ImonExecution;

/*
 * Those that are watched, the newest last.  What an error has left over goes
 * when its subtransaction or transaction ends, or when its QueryDesc is used
 * again.
 */
static ImonExecution first_executions[MIN_OPEN];
static ImonExecution *executions = first_executions;
static int	n_executions = 0;
static int	max_executions = MIN_OPEN;

/* How deep in the executor and in utility commands are we? */
static int	nesting = 0;

/* The client's own statement that is in the executor now, if any. */
static QueryDesc *running = NULL;

/* The client's own utility command that runs now, if any, and since when. */
static const ImonStatementKey *running_utility = NULL;
static instr_time running_since;

/* An error outside of them, until its transaction aborts. */
static struct
{
	bool		is_set;
	uint64		queryid;
	int			sqlerrcode;
	uint64		ns;
}			noted_failure;

/* Has the exit callback been asked for? */
static bool watching_exit = false;

/* The error that is on its way to the client has been counted. */
static bool error_counted = false;

/* Why this process ends, and did its client wait for something then? */
static int	fatal_sqlerrcode = ERRCODE_ADMIN_SHUTDOWN;
static bool client_waits = false;

static ExecutorStart_hook_type prev_ExecutorStart = NULL;
static ExecutorRun_hook_type prev_ExecutorRun = NULL;
static ExecutorFinish_hook_type prev_ExecutorFinish = NULL;
static ExecutorEnd_hook_type prev_ExecutorEnd = NULL;
static ProcessUtility_hook_type prev_ProcessUtility = NULL;
static emit_log_hook_type prev_emit_log_hook = NULL;

/* Is a statement at this depth to be watched? */
static inline bool
is_tracked(void)
{
	return imon_enabled && !IsParallelWorker() &&
		(nesting == 0 ? imon_track != IMON_TRACK_NONE :
		 imon_track == IMON_TRACK_ALL);
}

static inline void
set_key(ImonStatementKey *key, uint64 queryid)
{
	memset(key, 0, sizeof(ImonStatementKey));
	key->queryid = queryid;
	key->userid = GetUserId();
	key->dbid = MyDatabaseId;
	key->toplevel = (nesting == 0);
}

/* The execution of this QueryDesc, or NULL if it is not watched. */
static inline ImonExecution *
find_execution(const QueryDesc *desc)
{
	for (int i = n_executions - 1; i >= 0; i--)
		if (executions[i].desc == desc)
			return &executions[i];
	return NULL;
}

/*
 * An execution has ended: for all who take an interest.  No error, no lock
 * that is waited for; "desc" is NULL for what was not in the executor.
 */
static inline void
execution_ended(const ImonStatementKey *key, QueryDesc *desc,
				ImonOutcome outcome, int sqlerrcode, uint64 ns)
{
	imon_count_execution(key, outcome, ns);
}

/* Ends watching an execution. */
static inline void
forget(ImonExecution *execution)
{
	int			behind = n_executions - 1 - (execution - executions);

	if (unlikely(behind > 0))
		memmove(execution, execution + 1, behind * sizeof(ImonExecution));
	n_executions--;
}

/* Nanoseconds since a moment. */
static uint64
ns_since(instr_time start)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, start);
	return imon_instr_time_ns(now);
}

/* Nanoseconds since the client sent what is being processed. */
static uint64
ns_since_sent(void)
{
	TimestampTz sent = GetCurrentStatementStartTimestamp();

	return 1000 * (uint64) Max(GetCurrentTimestamp() - sent, 0);
}

/* The time that an execution has taken so far, also while it runs. */
static inline uint64
time_so_far(const ImonExecution *execution)
{
	instr_time	since;
	uint64		ns;

	if (!execution->key.toplevel)
		return execution->ns;
	ns = imon_query_time(execution->desc, &since);
	if (unlikely(!INSTR_TIME_IS_ZERO(since)))
		ns += ns_since(since);
	return ns;
}

/* Counts what the client is waiting for, other than an execution. */
static void
count_unexecuted(uint64 queryid, ImonOutcome outcome, int sqlerrcode, uint64 ns)
{
	ImonStatementKey key;

	set_key(&key, queryid);
	key.toplevel = true;
	execution_ended(&key, NULL, outcome, sqlerrcode, ns);
}

/*
 * Exit callback: what runs now ends with the process.  It comes before the one
 * that aborts the transaction, so what "running" points to is still there.
 */
static void
terminated(int code, Datum arg)
{
	ImonExecution *execution = running ? find_execution(running) : NULL;

	if (execution)
		execution_ended(&execution->key, execution->desc, IMON_TERMINATED,
						fatal_sqlerrcode, time_so_far(execution));
	else if (running_utility)
		execution_ended(running_utility, NULL, IMON_TERMINATED,
						fatal_sqlerrcode, ns_since(running_since));
	else if (client_waits)
		count_unexecuted((uint64) pgstat_get_my_query_id(), IMON_TERMINATED,
						 fatal_sqlerrcode, ns_since_sent());
	running = NULL;
	running_utility = NULL;
	imon_flush_executions();
	imon_flush_repeated();
}

/* Makes room for more to be watched, if there is memory. */
static pg_noinline bool
make_room(void)
{
	Size		size = max_executions * sizeof(ImonExecution);
	ImonExecution *new;

	if (max_executions >= MAX_OPEN)
		return false;
	new = MemoryContextAllocExtended(TopMemoryContext, 2 * size,
									 MCXT_ALLOC_NO_OOM);
	if (new == NULL)
		return false;
	memcpy(new, executions, size);
	if (executions != first_executions)
		pfree(executions);
	executions = new;
	max_executions *= 2;
	return true;
}

/* Begins to watch an execution, which is not watched. */
static inline void
watch(QueryDesc *desc)
{
	ImonExecution *execution;

	if (unlikely(n_executions == max_executions) && !make_room())
	{
		imon_drop_execution();
		return;
	}
	execution = &executions[n_executions++];
	execution->desc = desc;
	execution->subid = GetCurrentSubTransactionId();
	execution->ns = 0;
	set_key(&execution->key, (uint64) desc->plannedstmt->queryId);
}

static void
imon_ExecutorStart(QueryDesc *queryDesc, int eflags)
{
	/* without an identifier it is part of a utility command, or unknown */
	bool		tracked = queryDesc->plannedstmt->queryId != 0 && is_tracked();
	ImonExecution *left_over;

	if (tracked && nesting == 0)
		imon_before_executor_start(queryDesc);
	if (prev_ExecutorStart)
		prev_ExecutorStart(queryDesc, eflags);
	else
		standard_ExecutorStart(queryDesc, eflags);
	if (tracked && nesting == 0)
		imon_after_executor_start(queryDesc);

	left_over = find_execution(queryDesc);
	if (unlikely(left_over != NULL))
		forget(left_over);
	if (tracked)
		watch(queryDesc);
}

/* A call of ExecutorRun or ExecutorFinish. */
typedef struct ImonRun
{
	QueryDesc  *desc;
	QueryDesc  *was_running;
	instr_time	start;			/* zero unless timed by ourselves */
} ImonRun;

static inline void
begin_run(ImonRun *run, QueryDesc *desc)
{
	run->desc = desc;
	run->was_running = running;
	INSTR_TIME_SET_ZERO(run->start);
	if (nesting == 0)
		running = desc;
	else if (imon_track == IMON_TRACK_ALL && find_execution(desc))
		INSTR_TIME_SET_CURRENT(run->start);
	nesting++;
}

/* Ends a run, also one that has raised an error. */
static inline void
end_run(ImonRun *run)
{
	ImonExecution *execution;

	nesting--;
	running = run->was_running;
	if (likely(INSTR_TIME_IS_ZERO(run->start)))
		return;
	execution = find_execution(run->desc);
	if (execution)
		execution->ns += ns_since(run->start);
}

/*
 * Counts a run that has raised the current error, if it is watched.  Needs
 * end_run().
 */
static void
count_failed_run(const ImonRun *run)
{
	ImonExecution *execution = find_execution(run->desc);

	if (execution == NULL)
		return;
	error_counted |= execution->key.toplevel;
	execution_ended(&execution->key, execution->desc,
					imon_outcome_of_error(geterrcode()), geterrcode(),
					time_so_far(execution));
	forget(execution);
}

static void
imon_ExecutorRun(IMON_EXECUTOR_RUN_PARAMETERS)
{
	ImonRun		run;

	begin_run(&run, queryDesc);
	PG_TRY();
	{
		if (prev_ExecutorRun)
			prev_ExecutorRun(IMON_EXECUTOR_RUN_ARGUMENTS);
		else
			standard_ExecutorRun(IMON_EXECUTOR_RUN_ARGUMENTS);
	}
	PG_CATCH();
	{
		end_run(&run);
		count_failed_run(&run);
		PG_RE_THROW();
	}
	PG_END_TRY();
	end_run(&run);
}

/* Calls the next ExecutorFinish hook. */
static inline void
run_finish(QueryDesc *desc)
{
	if (prev_ExecutorFinish)
		prev_ExecutorFinish(desc);
	else
		standard_ExecutorFinish(desc);
}

/* Watches ExecutorFinish, where triggers run. */
static pg_noinline void
watch_finish(QueryDesc *queryDesc)
{
	ImonRun		run;

	begin_run(&run, queryDesc);
	PG_TRY();
	{
		run_finish(queryDesc);
	}
	PG_CATCH();
	{
		end_run(&run);
		count_failed_run(&run);
		PG_RE_THROW();
	}
	PG_END_TRY();
	end_run(&run);
}

/* ExecutorFinish hook.  What only reads has nothing to do there. */
static void
imon_ExecutorFinish(QueryDesc *queryDesc)
{
	if (queryDesc->operation == CMD_SELECT &&
		!queryDesc->plannedstmt->hasModifyingCTE)
		run_finish(queryDesc);
	else
		watch_finish(queryDesc);
}

/*
 * Counts an execution that has completed, for the role that it has left behind:
 * as pg_stat_statements does.
 */
static inline void
count_completed(ImonExecution *execution)
{
	uint64		ns = time_so_far(execution);

	execution->key.userid = GetUserId();
	execution_ended(&execution->key, execution->desc, IMON_COMPLETED, 0, ns);
	if (execution->key.toplevel)
	{
		/* a portal that the client reads bit by bit, while it does this */
		for (ImonExecution *open = executions; open < execution; open++)
			if (open->key.toplevel)
				imon_note_open(&open->key);
		imon_note_repeated(&execution->key, execution->desc, ns);
	}
}

static void
imon_ExecutorEnd(QueryDesc *queryDesc)
{
	ImonExecution *execution = find_execution(queryDesc);

	if (execution)
	{
		count_completed(execution);
		forget(execution);
	}
	if (prev_ExecutorEnd)
		prev_ExecutorEnd(queryDesc);
	else
		standard_ExecutorEnd(queryDesc);
}

/* Calls the next utility hook. */
static inline void
run_utility(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
			ProcessUtilityContext context, ParamListInfo params,
			QueryEnvironment *queryEnv, DestReceiver *dest,
			QueryCompletion *qc)
{
	if (prev_ProcessUtility)
		prev_ProcessUtility(pstmt, queryString, readOnlyTree, context,
							params, queryEnv, dest, qc);
	else
		standard_ProcessUtility(pstmt, queryString, readOnlyTree, context,
								params, queryEnv, dest, qc);
}

/*
 * The identifier of a utility command.  Where pg_stat_statements, called
 * before us, has put a zero, the client's own command has reported it.
 */
static uint64
utility_queryid(const PlannedStmt *pstmt)
{
	if (pstmt->queryId == 0 && nesting == 0)
		return (uint64) pgstat_get_my_query_id();
	return (uint64) pstmt->queryId;
}

/*
 * Utility hook.  "pstmt" must not be touched after the call down, which may
 * free it.  Those that pg_stat_statements leaves to the executor, like
 * EXECUTE, are left to it here too.
 */
static void
imon_execute_utility(PlannedStmt *pstmt, const char *queryString,
					 bool readOnlyTree, ProcessUtilityContext context,
					 ParamListInfo params, QueryEnvironment *queryEnv,
					 DestReceiver *dest, QueryCompletion *qc)
{
	const ImonStatementKey *was_running = running_utility;
	NodeTag		command = nodeTag(pstmt->utilityStmt);
	ImonStatementKey key;
	instr_time	start;

	if (!is_tracked() || !imon_is_counted_utility(pstmt->utilityStmt))
	{
		run_utility(pstmt, queryString, readOnlyTree, context, params,
					queryEnv, dest, qc);
		return;
	}

	set_key(&key, utility_queryid(pstmt));
	INSTR_TIME_SET_CURRENT(start);
	if (nesting == 0)
	{
		running_utility = &key;
		running_since = start;
	}
	nesting++;
	PG_TRY();
	{
		run_utility(pstmt, queryString, readOnlyTree, context, params,
					queryEnv, dest, qc);
	}
	PG_CATCH();
	{
		nesting--;
		running_utility = was_running;
		error_counted |= key.toplevel;
		if (key.queryid != 0 || key.toplevel)
			execution_ended(&key, NULL, imon_outcome_of_error(geterrcode()),
							geterrcode(), ns_since(start));
		PG_RE_THROW();
	}
	PG_END_TRY();
	nesting--;
	running_utility = was_running;
	if (key.queryid == 0)
		return;
	key.userid = GetUserId();	/* as in count_completed() */
	execution_ended(&key, NULL, IMON_COMPLETED, 0, ns_since(start));
	if (key.toplevel)
		imon_note_utility(&key, command, qc ? qc->nprocessed : 0,
						  ns_since(start));
}

/*
 * Log hook: notes an error that comes from outside executor and utility
 * commands, and what ends the process.  It takes no lock and allocates nothing; what is noted is counted
 * when the transaction aborts.  In a transaction that has been aborted before,
 * nothing is executed and nothing fails.
 */
static void
imon_note_error(ErrorData *edata)
{
	if (edata->elevel == FATAL)
	{
		fatal_sqlerrcode = edata->sqlerrcode;
		client_waits = debug_query_string != NULL && MyProcPort != NULL &&
			IsTransactionState() && imon_enabled && imon_track != IMON_TRACK_NONE;
	}
	else if (edata->elevel == ERROR && nesting == 0)
	{
		if (error_counted)
			error_counted = false;
		else if (!noted_failure.is_set && MyProcPort != NULL &&
				 CritSectionCount == 0 && !proc_exit_inprogress &&
				 IsTransactionState() && is_tracked())
		{
			noted_failure.is_set = true;
			noted_failure.queryid = (uint64) pgstat_get_my_query_id();
			noted_failure.sqlerrcode = edata->sqlerrcode;
			noted_failure.ns = ns_since_sent();
		}
	}
	if (prev_emit_log_hook)
		prev_emit_log_hook(edata);
}

/* Counts what was noted, now that the transaction is being cleaned up. */
static void
count_noted_failure(void)
{
	error_counted = false;
	if (likely(!noted_failure.is_set))
		return;
	noted_failure.is_set = false;
	count_unexecuted(noted_failure.queryid,
					 imon_outcome_of_error(noted_failure.sqlerrcode),
					 noted_failure.sqlerrcode, noted_failure.ns);
}

/*
 * Transaction callback: no execution outlives its transaction.  The first one
 * is that in which the process connects to its database, before it executes
 * anything: the moment to ask for the exit callback.
 */
static pg_noinline void
end_transaction(XactEvent event)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT &&
		event != XACT_EVENT_PREPARE)
		return;
	if (!watching_exit)
		before_shmem_exit(terminated, (Datum) 0);
	watching_exit = true;
	n_executions = 0;
	count_noted_failure();
	imon_repeated_end_transaction();
}

static void
transaction_ends(XactEvent event, void *arg)
{
	if (unlikely(!watching_exit || n_executions > 0 ||
				 noted_failure.is_set || error_counted ||
				 imon_noted_in_block))
		end_transaction(event);
}

/* Subtransaction callback: what began in it, or in one of its own, is gone. */
static void
subtransaction_ends(SubXactEvent event, SubTransactionId mySubid,
					SubTransactionId parentSubid, void *arg)
{
	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	for (int i = n_executions - 1; i >= 0; i--)
		if (executions[i].subid >= mySubid)
			forget(&executions[i]);
	count_noted_failure();
}

void
imon_executions_init(void)
{
	EnableQueryId();			/* unless compute_query_id is off */

	prev_ExecutorStart = ExecutorStart_hook;
	ExecutorStart_hook = imon_ExecutorStart;
	prev_ExecutorRun = ExecutorRun_hook;
	ExecutorRun_hook = imon_ExecutorRun;
	prev_ExecutorFinish = ExecutorFinish_hook;
	ExecutorFinish_hook = imon_ExecutorFinish;
	prev_ExecutorEnd = ExecutorEnd_hook;
	ExecutorEnd_hook = imon_ExecutorEnd;
	prev_ProcessUtility = ProcessUtility_hook;
	ProcessUtility_hook = imon_execute_utility;
	prev_emit_log_hook = emit_log_hook;
	emit_log_hook = imon_note_error;
	RegisterXactCallback(transaction_ends, NULL);
	RegisterSubXactCallback(subtransaction_ends, NULL);
}
