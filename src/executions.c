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
 * table, say) by the log hook, which only takes a note that is counted when
 * the transaction aborts; the end of the process by its exit callback.
 *
 * Parallel workers are left out: their leader's time is the statement's.
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
#include "slow_log.h"
#include "statements.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/timestamp.h"

#define MAX_OPEN 64				/* executions watched at a time */

/* An execution between ExecutorStart and ExecutorEnd. */
typedef struct ImonExecution
{
	QueryDesc  *desc;
	ImonStatementKey key;
	ImonBeginning beginning;
	uint64		ns;				/* so far, of a nested one */
} ImonExecution;

/*
 * Those that are watched, the newest last.  Some may be left over from a
 * subtransaction that failed; they go when the transaction ends, or when their
 * QueryDesc or their place is used again.
 */
static ImonExecution executions[MAX_OPEN];
static int	n_executions = 0;

/* How deep in the executor and in utility commands are we? */
static int	nesting = 0;

/* The client's own statement that is in the executor now, if any. */
static QueryDesc *running = NULL;

/* A utility command that runs now. */
typedef struct ImonUtility
{
	ImonStatementKey key;
	ImonBeginning beginning;
	ImonSource	source;
	ImonUsage	before;
	instr_time	start;
} ImonUtility;

/* The client's own, if any. */
static const ImonUtility *running_utility = NULL;

/* An error before the executor, until its transaction aborts. */
static struct
{
	bool		is_set;
	uint64		queryid;
	int			sqlerrcode;
	ImonOutcome outcome;
	ImonBeginning beginning;
}			noted_failure;

/* The error that ends this process, if one does. */
static int	fatal_sqlerrcode = ERRCODE_ADMIN_SHUTDOWN;

/* The error that is on its way has been counted. */
static bool error_counted = false;

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
 * An execution has ended: for all who take an interest.  No error (but see
 * imon_log_if_slow()), no lock that is waited for.
 */
static inline void
execution_ended(const ImonEnded *ended)
{
	imon_count_execution(ended->key, ended->outcome, ended->ns);
	imon_log_if_slow(ended);
}

/* The same for one in the executor. */
static inline void
query_ended(const ImonExecution *execution, ImonOutcome outcome,
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

	execution_ended(&ended);
}

/* Ends watching an execution. */
static inline void
forget(ImonExecution *execution)
{
	int			behind = n_executions - 1 - (execution - executions);

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

/* The same as query_ended() for a utility command. */
static void
utility_ended(const ImonUtility *utility, ImonOutcome outcome, int sqlerrcode,
			  int64 rows)
{
	ImonEnded	ended = {
		.key = &utility->key,
		.beginning = &utility->beginning,
		.outcome = outcome,
		.sqlerrcode = sqlerrcode,
		.ns = ns_since(utility->start),
		.source = &utility->source,
		.before = &utility->before,
		.rows = rows
	};

	execution_ended(&ended);
}

/* The time that an execution has taken so far, also while it runs. */
static uint64
time_so_far(const ImonExecution *execution)
{
	const Instrumentation *instr = imon_query_instrumentation(execution->desc);
	uint64		ns;

	if (!execution->key.toplevel || instr == NULL)
		return execution->ns;
	ns = (uint64) (instr->total * 1e9) + imon_instr_time_ns(instr->counter);
	if (!INSTR_TIME_IS_ZERO(instr->starttime))
		ns += ns_since(instr->starttime);
	return ns;
}

/*
 * Exit callback: what runs now ends with the process.
 */
static void
terminated(int code, Datum arg)
{
	ImonExecution *execution = running ? find_execution(running) : NULL;

	if (execution)
		query_ended(execution, IMON_TERMINATED, fatal_sqlerrcode,
					time_so_far(execution));
	else if (running_utility)
		utility_ended(running_utility, IMON_TERMINATED, fatal_sqlerrcode, -1);
	running = NULL;
	running_utility = NULL;
}

/* Makes sure that terminated() will be called. */
static inline void
watch_exit(void)
{
	static bool registered = false;

	if (likely(registered))
		return;
	before_shmem_exit(terminated, (Datum) 0);
	registered = true;
}

/* Begins to watch an execution. */
static void
watch(QueryDesc *desc)
{
	ImonExecution *execution = find_execution(desc);

	if (unlikely(execution != NULL))
		forget(execution);		/* left over */
	if (unlikely(n_executions == MAX_OPEN))
	{
		imon_drop_execution();
		forget(&executions[0]);
	}
	execution = &executions[n_executions++];
	execution->desc = desc;
	execution->ns = 0;
	set_key(&execution->key, (uint64) desc->plannedstmt->queryId);
	imon_begin_execution(&execution->beginning, execution->key.toplevel);
	if (execution->key.toplevel)
		imon_instrument_query(desc);
	watch_exit();
}

static void
imon_ExecutorStart(QueryDesc *queryDesc, int eflags)
{
	if (prev_ExecutorStart)
		prev_ExecutorStart(queryDesc, eflags);
	else
		standard_ExecutorStart(queryDesc, eflags);

	/* without an identifier it is part of a utility command, or unknown */
	if (queryDesc->plannedstmt->queryId != 0 && is_tracked())
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
	query_ended(execution, imon_outcome_of_error(geterrcode()), geterrcode(),
				time_so_far(execution));
	error_counted |= execution->key.toplevel;
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

static void
imon_ExecutorFinish(QueryDesc *queryDesc)
{
	ImonRun		run;

	begin_run(&run, queryDesc);
	PG_TRY();
	{
		if (prev_ExecutorFinish)
			prev_ExecutorFinish(queryDesc);
		else
			standard_ExecutorFinish(queryDesc);
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

/* Counts an execution that has completed. */
static inline void
count_completed(ImonExecution *execution)
{
	Instrumentation *instr = imon_query_instrumentation(execution->desc);

	/* several may do this, but only the first time it does something */
	if (execution->key.toplevel && instr)
		InstrEndLoop(instr);
	query_ended(execution, IMON_COMPLETED, 0, time_so_far(execution));
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
	INSTR_TIME_SET_CURRENT(utility->start);
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
	ImonUtility utility;

	if (!is_tracked() || !imon_is_counted_utility(pstmt->utilityStmt))
	{
		run_utility(pstmt, queryString, readOnlyTree, context, params,
					queryEnv, dest, qc);
		return;
	}

	begin_utility(&utility, pstmt, queryString);
	watch_exit();
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
		error_counted |= utility.key.toplevel;
		utility_ended(&utility, imon_outcome_of_error(geterrcode()),
					  geterrcode(), -1);
		PG_RE_THROW();
	}
	PG_END_TRY();
	nesting--;
	running_utility = was_running;
	if (utility.key.queryid != 0)
		utility_ended(&utility, IMON_COMPLETED, 0, rows_of_utility(qc));
}

/*
 * Log hook: notes an error that comes from outside executor and utility
 * commands, also one that ends the session in the middle of a statement.  It
 * takes no lock and allocates nothing; what is noted is counted when the
 * transaction aborts.
 */
static void
imon_note_error(ErrorData *edata)
{
	bool		fatal = edata->elevel == FATAL;

	if (fatal)
		fatal_sqlerrcode = edata->sqlerrcode;
	if ((edata->elevel == ERROR || (fatal && debug_query_string != NULL)) &&
		!error_counted && !noted_failure.is_set &&
		nesting == 0 && MyProcPort != NULL && CritSectionCount == 0 &&
		!proc_exit_inprogress && IsTransactionState() && is_tracked())
	{
		noted_failure.is_set = true;
		noted_failure.queryid = (uint64) pgstat_get_my_query_id();
		noted_failure.sqlerrcode = edata->sqlerrcode;
		noted_failure.outcome = fatal ? IMON_TERMINATED :
			imon_outcome_of_error(edata->sqlerrcode);
		imon_begin_execution(&noted_failure.beginning, true);
		imon_note_slow_text(debug_query_string,
							noted_failure.beginning.statement,
							noted_failure.beginning.pre_us);
	}
	if (prev_emit_log_hook)
		prev_emit_log_hook(edata);
}

/* Counts what was noted, now that the transaction is being cleaned up. */
static void
count_noted_failure(void)
{
	ImonStatementKey key;
	ImonEnded	ended = {
		.key = &key,
		.beginning = &noted_failure.beginning,
		.rows = -1
	};

	error_counted = false;
	if (likely(!noted_failure.is_set))
		return;
	noted_failure.is_set = false;
	set_key(&key, noted_failure.queryid);
	ended.outcome = noted_failure.outcome;
	ended.sqlerrcode = noted_failure.sqlerrcode;
	imon_count_execution(&key, ended.outcome,
						 1000 * (uint64) noted_failure.beginning.pre_us);
	imon_log_if_slow(&ended);
}

/* Transaction callback: no execution outlives its transaction. */
static void
transaction_ends(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT &&
		event != XACT_EVENT_PREPARE)
		return;
	n_executions = 0;
	count_noted_failure();
}

static void
subtransaction_ends(SubXactEvent event, SubTransactionId mySubid,
					SubTransactionId parentSubid, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
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
