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
#include "compat.h"
#include "executions.h"
#include "executor/executor.h"
#include "executor/instrument.h"
#include "guc.h"
#include "libpq/libpq-be.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "repeated.h"
#include "server.h"
#include "slow_log.h"
#include "statements.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "transactions.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define MIN_OPEN 16
#define MAX_OPEN 4096			/* executions watched at a time */

/* An execution between ExecutorStart and ExecutorEnd. */
typedef struct ImonExecution
{
	QueryDesc  *desc;
	ImonStatementKey key;
	ImonBeginning beginning;
	SubTransactionId subid;		/* in which it began */
	int			clock;			/* of the executor's times when it began */
	uint64		ns;				/* so far, of a nested one */
} ImonExecution;

/*
 * Those that are watched, the newest last, behind a first one that stands for
 * none and has no QueryDesc.  What an error has left over goes when its
 * subtransaction or transaction ends, or when its QueryDesc is used again.
 */
static IMON_HOT_LINES ImonExecution first_executions[MIN_OPEN];
static IMON_HOT_DATA ImonExecution *executions = first_executions;
static IMON_HOT_DATA ImonExecution *newest = first_executions;
static IMON_HOT_DATA ImonExecution *last_place = &first_executions[MIN_OPEN - 1];

/* The subtransaction that runs now, as its callback has said. */
static IMON_HOT_DATA SubTransactionId current_subid = TopSubTransactionId;

/*
 * How deep in the executor, in utility commands and in the planner are we?  And
 * in the planner alone?
 */
static IMON_HOT_DATA int nesting = 0;
static int	planning = 0;

/* The client's own statement that is in the executor now, if any. */
static IMON_HOT_DATA QueryDesc *running = NULL;

/* When something began, and by which clock. */
typedef struct ImonMoment
{
	instr_time	time;
	int			clock;
} ImonMoment;

/* A utility command that runs now. */
typedef struct ImonUtility
{
	ImonStatementKey key;
	ImonBeginning beginning;
	ImonSource	source;
	ImonUsage	before;
	ImonMoment	start;
} ImonUtility;

/* The client's own, if any. */
static const ImonUtility *running_utility = NULL;

/* An error outside of them, until its transaction aborts. */
static struct
{
	bool		is_set;
	uint64		queryid;
	ImonOutcome outcome;
	int			sqlerrcode;
	ImonBeginning beginning;
}			noted_failure;

/* Has the exit callback been asked for? */
static bool watching_exit = false;

/* Has the error that is on its way to the client been counted? */
static bool error_counted = false;

/* Why this process ends, and the time that "running" had taken then. */
static int	fatal_sqlerrcode = ERRCODE_ADMIN_SHUTDOWN;
static uint64 fatal_ns = 0;

static IMON_HOT_DATA ExecutorStart_hook_type prev_ExecutorStart = NULL;
static IMON_HOT_DATA ExecutorRun_hook_type prev_ExecutorRun = NULL;
static IMON_HOT_DATA ExecutorFinish_hook_type prev_ExecutorFinish = NULL;
static IMON_HOT_DATA ExecutorEnd_hook_type prev_ExecutorEnd = NULL;
static planner_hook_type prev_planner = NULL;
static ProcessUtility_hook_type prev_ProcessUtility = NULL;
static emit_log_hook_type prev_emit_log_hook = NULL;

IMON_HOT_LINE ImonServer imon_server = {
	.GetCurrentStatementStartTimestamp = GetCurrentStatementStartTimestamp,
	.clock_gettime = clock_gettime,
	.GetUserId = GetUserId,
	.IsTransactionBlock = IsTransactionBlock,
	.ParallelWorkerNumber = &ParallelWorkerNumber,
	.MyDatabaseId = &MyDatabaseId
};

/* Is a statement at this depth to be watched? */
static inline bool
is_tracked(void)
{
	return likely(nesting < imon_tracked_depth) && likely(*imon_server.ParallelWorkerNumber < 0);
}

static inline void
set_key(ImonStatementKey *key, uint64 queryid)
{
	memset(key, 0, sizeof(ImonStatementKey));
	key->queryid = queryid;
	key->userid = imon_server.GetUserId();
	key->dbid = *imon_server.MyDatabaseId;
	key->toplevel = (nesting == 0);
}

/* The same as find_execution() below, for one that is not the newest. */
static pg_noinline ImonExecution *
find_older_execution(const QueryDesc *desc)
{
	for (ImonExecution *older = newest; older > executions; older--)
		if (older->desc == desc)
			return older;
	return NULL;
}

/* The execution of this QueryDesc, or NULL if it is not watched. */
static inline ImonExecution *
find_execution(const QueryDesc *desc)
{
	return likely(newest->desc == desc) ? newest : find_older_execution(desc);
}

/* Logs a query that may have been slow. */
static pg_noinline void
log_slow_query(const ImonExecution *execution, ImonOutcome outcome,
			   int sqlerrcode, uint64 ns)
{
	ImonEnded	ended = {
		.key = &execution->key,
		.beginning = &execution->beginning,
		.outcome = outcome,
		.sqlerrcode = sqlerrcode,
		.ns = ns,
		.desc = execution->desc,
		.rows = -1
	};

	imon_log_slow(&ended);
}

/*
 * A query has ended without completing: for all who take an interest.  No
 * error, no lock that is waited for.
 */
static void
query_failed(const ImonExecution *execution, ImonOutcome outcome,
			 int sqlerrcode, uint64 ns)
{
	uint64		elapsed_ns = imon_elapsed_ns(&execution->beginning, ns);

	imon_count_execution(&execution->key, outcome, ns);
	if (unlikely(imon_may_be_slow(elapsed_ns)))
		log_slow_query(execution, outcome, sqlerrcode, ns);
	imon_end_execution(&execution->beginning, elapsed_ns);
}

/* Ends watching an execution. */
static inline void
forget(ImonExecution *execution)
{
	if (unlikely(execution != newest))
		memmove(execution, execution + 1,
				(newest - execution) * sizeof(ImonExecution));
	if (--newest == executions)
		imon_awaits &= ~IMON_AWAITS_EXECUTION;
}

static inline void
set_moment(ImonMoment *moment)
{
	moment->clock = imon_instr_clock();
	INSTR_TIME_SET_CURRENT(moment->time);
}

/* Nanoseconds since a time by the clock of now. */
static uint64
ns_since_time(instr_time start)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, start);
	return imon_instr_time_ns(now);
}

/* Nanoseconds since a moment; none if the clock is another one since then. */
static uint64
ns_since(const ImonMoment *start)
{
	if (unlikely(start->clock != imon_instr_clock()))
		return 0;
	return ns_since_time(start->time);
}

/*
 * A utility command has ended, in whatever way: for all who take an interest.
 * Returns the time that it took.  No error, no lock that is waited for.
 */
static uint64
utility_ended(const ImonUtility *utility, ImonOutcome outcome, int sqlerrcode,
			  int64 rows)
{
	ImonEnded	ended = {
		.key = &utility->key,
		.beginning = &utility->beginning,
		.outcome = outcome,
		.sqlerrcode = sqlerrcode,
		.ns = ns_since(&utility->start),
		.source = &utility->source,
		.before = &utility->before,
		.rows = rows
	};
	uint64		elapsed_ns;

	elapsed_ns = imon_elapsed_ns(ended.beginning, ended.ns);
	imon_count_execution(ended.key, outcome, ended.ns);
	if (unlikely(imon_may_be_slow(elapsed_ns)))
		imon_log_slow(&ended);
	imon_end_execution(ended.beginning, elapsed_ns);
	return ended.ns;
}

/*
 * imon_query_time() of an execution; none if the clock of the executor is another
 * one since it began.
 */
static inline uint64
query_time(const ImonExecution *execution, instr_time *running_since)
{
	if (likely(execution->clock == imon_instr_clock()))
		return imon_query_time(execution->desc, running_since);
	INSTR_TIME_SET_ZERO(*running_since);
	return 0;
}

/* The time that an execution has taken so far, also while it runs. */
static inline uint64
time_so_far(const ImonExecution *execution)
{
	instr_time	since;
	uint64		ns;

	if (!execution->key.toplevel)
		return execution->ns;
	ns = query_time(execution, &since);
	if (unlikely(!INSTR_TIME_IS_ZERO(since)))
		ns += ns_since_time(since);
	return ns;
}

/*
 * Counts what was noted: all of its time was before execution, but after the
 * statements before it in the same message.  The transaction is being cleaned
 * up, or the process is about to end.
 */
static void
count_noted_failure(void)
{
	ImonStatementKey key;
	ImonEnded	ended = {
		.key = &key,
		.beginning = &noted_failure.beginning,
		.outcome = noted_failure.outcome,
		.sqlerrcode = noted_failure.sqlerrcode,
		.rows = -1
	};
	int64		us = noted_failure.beginning.pre_us;
	uint64		elapsed_ns;

	error_counted = false;
	if (likely(!noted_failure.is_set))
		return;
	noted_failure.is_set = false;
	us -= imon_used_up(noted_failure.beginning.statement, us);
	set_key(&key, noted_failure.queryid);
	key.toplevel = true;
	imon_count_execution(&key, ended.outcome, 1000 * (uint64) us);
	elapsed_ns = imon_elapsed_ns(ended.beginning, 0);
	if (imon_may_be_slow(elapsed_ns))
		imon_log_slow(&ended);
	imon_end_execution(ended.beginning, elapsed_ns);
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
		query_failed(execution, IMON_TERMINATED, fatal_sqlerrcode,
					 time_so_far(execution));
	else if (running_utility)
		utility_ended(running_utility, IMON_TERMINATED, fatal_sqlerrcode, -1);
	count_noted_failure();
	running = NULL;
	running_utility = NULL;
	imon_flush_executions();
	imon_flush_repeated();
}

/*
 * The session ends, as the log hook is told: takes note of what runs, should its
 * transaction be aborted before the exit callback.
 */
static void
note_running(void)
{
	ImonExecution *execution = running ? find_execution(running) : NULL;

	if (execution == NULL)
		return;
	fatal_ns = time_so_far(execution);
	imon_note_slow_text(debug_query_string, execution->beginning.statement,
						(int64) (imon_elapsed_ns(&execution->beginning, fatal_ns) / 1000));
}

/*
 * A transaction or subtransaction aborts while the process ends: an exit callback
 * that was asked for later than ours, such as that of temporary tables, comes
 * earlier and does that.  What the executor knew has gone by now.
 */
static void
count_running(void)
{
	ImonExecution *execution = running ? find_execution(running) : NULL;

	running = NULL;
	if (execution == NULL)
		return;
	execution->desc = NULL;
	query_failed(execution, IMON_TERMINATED, fatal_sqlerrcode, fatal_ns);
}

/* Makes room for more to be watched, if there is memory. */
static pg_noinline bool
make_room(void)
{
	Size		places = last_place - executions + 1;
	ImonExecution *new;

	if (places >= MAX_OPEN)
		return false;
	new = MemoryContextAllocExtended(TopMemoryContext,
									 2 * places * sizeof(ImonExecution),
									 MCXT_ALLOC_NO_OOM);
	if (new == NULL)
		return false;
	memcpy(new, executions, places * sizeof(ImonExecution));
	if (executions != first_executions)
		pfree(executions);
	executions = new;
	newest = &new[places - 1];
	last_place = &new[2 * places - 1];
	return true;
}

/* Begins to watch an execution, which is not watched. */
static inline void
watch(QueryDesc *desc)
{
	ImonExecution *execution;

	if (unlikely(newest == last_place) && !make_room())
	{
		imon_drop_execution();
		return;
	}
	execution = ++newest;
	imon_awaits |= IMON_AWAITS_EXECUTION;
	execution->desc = desc;
	execution->subid = current_subid;
	execution->clock = imon_instr_clock();
	execution->ns = 0;
	set_key(&execution->key, (uint64) desc->plannedstmt->queryId);
	imon_begin_execution(&execution->beginning, execution->key.toplevel);
	if (likely(execution->key.toplevel))
		imon_add_parsing(&execution->beginning, execution->key.queryid);
	if (unlikely(imon_knows_many))
		imon_expect_execution(&execution->key);
}

static pg_attribute_hot void
imon_ExecutorStart(QueryDesc *queryDesc, int eflags)
{
	/* without an identifier it is part of a utility command, or unknown */
	bool		tracked = likely(queryDesc->plannedstmt->queryId != 0) && is_tracked();

	if (tracked && nesting == 0)
		imon_before_executor_start(queryDesc);
	if (prev_ExecutorStart)
		prev_ExecutorStart(queryDesc, eflags);
	else
		standard_ExecutorStart(queryDesc, eflags);
	if (likely(tracked) && likely(nesting == 0) &&
		unlikely(!imon_after_executor_start(queryDesc)))
	{
		imon_drop_execution();
		tracked = false;
	}

	if (unlikely(newest > executions))
	{
		ImonExecution *left_over = find_execution(queryDesc);

		if (left_over)
			forget(left_over);
	}
	if (likely(tracked))
		watch(queryDesc);
}

/* The error that is on its way to the client has been counted. */
static inline void
expect_report(void)
{
	error_counted = true;
	imon_awaits |= IMON_AWAITS_FAILURE;
}

/* A call of ExecutorRun or ExecutorFinish. */
typedef struct ImonRun
{
	QueryDesc  *was_running;
	bool		is_timed;		/* by ourselves */
	ImonMoment	start;
} ImonRun;

static inline void
begin_run(ImonRun *run, QueryDesc *desc)
{
	run->was_running = running;
	run->is_timed = false;
	if (likely(nesting == 0))
		running = desc;
	else if (nesting < imon_tracked_depth && find_execution(desc))
	{
		run->is_timed = true;
		set_moment(&run->start);
	}
	nesting++;
}

/* Ends a run, also one that has raised an error. */
static inline void
end_run(const ImonRun *run, const QueryDesc *desc)
{
	ImonExecution *execution;

	nesting--;
	running = run->was_running;
	if (likely(!run->is_timed))
		return;
	execution = find_execution(desc);
	if (execution)
		execution->ns += ns_since(&run->start);
}

/*
 * Counts a run that has raised the current error, if it is watched.  Needs
 * end_run().
 */
static void
count_failed_run(const QueryDesc *desc)
{
	ImonExecution *execution = find_execution(desc);

	if (execution == NULL)
		return;
	if (execution->key.toplevel)
		expect_report();
	query_failed(execution, imon_outcome_of_error(geterrcode()), geterrcode(),
				 time_so_far(execution));
	forget(execution);
}

static pg_attribute_hot void
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
		end_run(&run, queryDesc);
		count_failed_run(queryDesc);
		PG_RE_THROW();
	}
	PG_END_TRY();
	end_run(&run, queryDesc);
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
		end_run(&run, queryDesc);
		count_failed_run(queryDesc);
		PG_RE_THROW();
	}
	PG_END_TRY();
	end_run(&run, queryDesc);
}

/* ExecutorFinish hook.  What only reads has nothing to do there. */
static pg_attribute_hot void
imon_ExecutorFinish(QueryDesc *queryDesc)
{
	if (queryDesc->operation == CMD_SELECT &&
		!queryDesc->plannedstmt->hasModifyingCTE)
		run_finish(queryDesc);
	else
		watch_finish(queryDesc);
}

/*
 * Logs a query that has completed, and may have been slow, before it is counted:
 * should a cancel or the end of the session come while its plan is written, it
 * counts as that.  Like a part of its run: what the plan executes is nested, and
 * may move what is watched.  Returns where the execution is then.
 */
static pg_noinline ImonExecution *
log_completed(const ImonExecution *execution, uint64 ns)
{
	QueryDesc  *desc = execution->desc;
	ImonExecution copy = *execution;
	ImonRun		run;

	begin_run(&run, desc);
	PG_TRY();
	{
		log_slow_query(&copy, IMON_COMPLETED, 0, ns);
	}
	PG_CATCH();
	{
		end_run(&run, desc);
		count_failed_run(desc);
		PG_RE_THROW();
	}
	PG_END_TRY();
	end_run(&run, desc);
	return find_execution(desc);
}

/*
 * Counts an execution that has completed, for the role that it has left behind:
 * as pg_stat_statements does.  Returns where it is then.
 */
static inline ImonExecution *
count_completed(ImonExecution *execution)
{
	instr_time	ignored;
	uint64		ns = likely(execution->key.toplevel) ?
		query_time(execution, &ignored) : execution->ns;
	uint64		elapsed_ns = imon_elapsed_ns(&execution->beginning, ns);

	execution->key.userid = imon_server.GetUserId();
	if (unlikely(imon_may_be_slow(elapsed_ns)))
		execution = log_completed(execution, ns);
	imon_count_execution(&execution->key, IMON_COMPLETED, ns);
	imon_end_execution(&execution->beginning, elapsed_ns);
	if (likely(execution->key.toplevel))
	{
		/* a portal that the client reads bit by bit, while it does this */
		for (ImonExecution *open = executions + 1; open < execution; open++)
			if (open->key.toplevel)
				imon_note_open(&open->key);
		imon_note_repeated(&execution->key, execution->desc,
						   execution->beginning.statement, ns,
						   imon_server.IsTransactionBlock());
	}
	return execution;
}

static pg_attribute_hot void
imon_ExecutorEnd(QueryDesc *queryDesc)
{
	ImonExecution *execution = find_execution(queryDesc);

	if (likely(execution != NULL))
		forget(count_completed(execution));
	if (prev_ExecutorEnd)
		prev_ExecutorEnd(queryDesc);
	else
		standard_ExecutorEnd(queryDesc);
}

/* Planner hook: what functions execute meanwhile is nested. */
static PlannedStmt *
imon_plan(IMON_PLANNER_PARAMETERS)
{
	PlannedStmt *result;

	nesting++;
	planning++;
	PG_TRY();
	{
		if (prev_planner)
			result = prev_planner(IMON_PLANNER_ARGUMENTS);
		else
			result = standard_planner(IMON_PLANNER_ARGUMENTS);
	}
	PG_FINALLY();
	{
		nesting--;
		planning--;
	}
	PG_END_TRY();
	return result;
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

/* Begins a utility command. */
static void
begin_utility(ImonUtility *utility, const PlannedStmt *pstmt,
			  const char *queryString)
{
	set_key(&utility->key, utility_queryid(pstmt));
	utility->source.text = queryString;
	utility->source.location = pstmt->stmt_location;
	utility->source.length = pstmt->stmt_len;
	utility->before.buffers = pgBufferUsage;
	utility->before.wal = pgWalUsage;
	imon_begin_execution(&utility->beginning, utility->key.toplevel);
	set_moment(&utility->start);
}

/* Rows of a utility command, for those that pg_stat_statements counts. */
static int64
rows_of_utility(const QueryCompletion *qc)
{
	if (qc && (qc->commandTag == CMDTAG_COPY ||
			   qc->commandTag == CMDTAG_FETCH ||
			   qc->commandTag == CMDTAG_SELECT ||
			   qc->commandTag == CMDTAG_REFRESH_MATERIALIZED_VIEW))
		return (int64) qc->nprocessed;
	return 0;
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
	const ImonUtility *was_running = running_utility;
	NodeTag		command = nodeTag(pstmt->utilityStmt);
	ImonUtility utility;
	uint64		ns;

	if (!is_tracked() || !imon_is_counted_utility(pstmt->utilityStmt))
	{
		run_utility(pstmt, queryString, readOnlyTree, context, params,
					queryEnv, dest, qc);
		return;
	}

	begin_utility(&utility, pstmt, queryString);
	if (nesting == 0)
		running_utility = &utility;
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
		if (utility.key.toplevel)
			expect_report();
		if (utility.key.queryid != 0 || utility.key.toplevel)
			utility_ended(&utility, imon_outcome_of_error(geterrcode()),
						  geterrcode(), -1);
		PG_RE_THROW();
	}
	PG_END_TRY();
	nesting--;
	running_utility = was_running;
	if (utility.key.queryid == 0)
		return;
	utility.key.userid = GetUserId();	/* as in count_completed() */
	ns = utility_ended(&utility, IMON_COMPLETED, 0, rows_of_utility(qc));
	if (utility.key.toplevel)
		imon_note_utility(&utility.key, command, utility.beginning.statement,
						  qc ? qc->nprocessed : 0, ns);
}

/* Notes an error that comes from outside executor and utility commands. */
static void
note_failure(ImonOutcome outcome, int sqlerrcode)
{
	if (noted_failure.is_set || MyProcPort == NULL || CritSectionCount > 0 ||
		proc_exit_inprogress || !IsTransactionState() || IsParallelWorker() ||
		imon_tracked_depth == 0)
		return;
	noted_failure.is_set = true;
	imon_awaits |= IMON_AWAITS_FAILURE;
	noted_failure.queryid = (uint64) pgstat_get_my_query_id();
	noted_failure.outcome = outcome;
	noted_failure.sqlerrcode = sqlerrcode;
	imon_begin_exactly(&noted_failure.beginning);
	imon_note_slow_text(debug_query_string, noted_failure.beginning.statement,
						noted_failure.beginning.pre_us);
}

/*
 * Log hook: notes an error that comes from outside executor and utility
 * commands, also one that ends the session while the client waits.  It takes no
 * lock and allocates nothing; what is noted is counted when the transaction
 * aborts, or the process ends.  In a transaction that has been aborted before,
 * nothing is executed and nothing fails.
 */
static void
imon_note_error(ErrorData *edata)
{
	if (edata->elevel == FATAL)
	{
		fatal_sqlerrcode = edata->sqlerrcode;
		if (nesting == planning && debug_query_string != NULL)
			note_failure(IMON_TERMINATED, edata->sqlerrcode);
		note_running();
	}
	else if (edata->elevel == ERROR && nesting == 0)
	{
		if (error_counted)
			error_counted = false;
		else
			note_failure(imon_outcome_of_error(edata->sqlerrcode),
						 edata->sqlerrcode);
	}
	if (prev_emit_log_hook)
		prev_emit_log_hook(edata);
}

/*
 * Transaction callback: no execution outlives its transaction.  The first one
 * is that in which the process connects to its database, before it executes
 * anything: the moment to ask for the exit callback.
 */
static void
transaction_ends(XactEvent event)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT &&
		event != XACT_EVENT_PREPARE)
		return;
	if (!watching_exit)
		before_shmem_exit(terminated, (Datum) 0);
	watching_exit = true;
	if (unlikely(proc_exit_inprogress))
		count_running();
	newest = executions;
	count_noted_failure();
	imon_repeated_end_transaction();
	imon_awaits &= ~(IMON_AWAITS_EXECUTION | IMON_AWAITS_FAILURE |
					 IMON_AWAITS_BLOCK);
}

/* Subtransaction callback: what began in it, or in one of its own, is gone. */
static void
subtransaction_ends(SubXactEvent event, SubTransactionId mySubid,
					SubTransactionId parentSubid, void *arg)
{
	if (event == SUBXACT_EVENT_PRE_COMMIT_SUB)
		return;
	current_subid = event == SUBXACT_EVENT_START_SUB ? mySubid : parentSubid;
	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	if (unlikely(proc_exit_inprogress))
		count_running();
	for (ImonExecution *open = newest; open > executions; open--)
		if (open->subid >= mySubid)
			forget(open);
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
	if (IMON_PLANNING_NESTS)
	{
		prev_planner = planner_hook;
		planner_hook = imon_plan;
	}
	prev_ProcessUtility = ProcessUtility_hook;
	ProcessUtility_hook = imon_execute_utility;
	prev_emit_log_hook = emit_log_hook;
	emit_log_hook = imon_note_error;
	imon_await_transactions(IMON_AWAITS_EXECUTION | IMON_AWAITS_FAILURE |
							IMON_AWAITS_BLOCK, transaction_ends);
	RegisterSubXactCallback(subtransaction_ends, NULL);
}
