/*-------------------------------------------------------------------------
 *
 * sampler.c
 *	  The background worker.
 *
 * Its life: wait until it may connect (enabled, nobody wants the home database
 * alone, the backoff after a failed attempt has passed); connect; do what is
 * due; sleep on the latch.  A missing home database is FATAL inside
 * PostgreSQL, so failures are known only to the next incarnation: the fact
 * that an attempt is under way is kept in shared memory.  Whenever it must
 * leave its database it exits with status 1, and the postmaster starts it
 * anew.
 *
 * Each task that needs the database runs in a short transaction, inside a
 * subtransaction that contains its errors.  An error is logged once; the task
 * then waits longer and longer, up to MAX_BACKOFF of its intervals.  Anything
 * else that goes wrong ends the process.
 *
 * Between two tasks it holds no transaction, no snapshot and no copy of the
 * backend states.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "activity.h"
#include "blame.h"
#include "catalog/pg_authid.h"
#include "check_states.h"
#include "commands/dbcommands.h"
#include "clock.h"
#include "compat.h"
#include "concurrency.h"
#include "connections.h"
#include "contained.h"
#include "database_checks.h"
#include "disks.h"
#include "exposition.h"
#include "extension.h"
#include "fmgr.h"
#include "foreign_code.h"
#include "growth.h"
#include "guc.h"
#include "health.h"
#include "health_events.h"
#include "home_database.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "partitions.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "readiness.h"
#include "repeated.h"
#include "rollups.h"
#include "rows.h"
#include "sampler.h"
#include "samples.h"
#include "series.h"
#include "settings.h"
#include "shmem.h"
#include "slow_log.h"
#include "slow_samples.h"
#include "statement_metrics.h"
#include "statement_samples.h"
#include "statements.h"
#include "storage.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/procarray.h"
#include "storage/procsignal.h"
#include "system.h"
#include "tcop/tcopprot.h"
#include "textfile.h"
#include "texts.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
#include "version.h"
#include "waits.h"

#define RESTART_SECONDS 5		/* of a sampler that has ended */
#define CONNECT_BACKOFF_MIN_MS (5 * 1000)
#define CONNECT_BACKOFF_MAX_MS (5 * 60 * 1000)
#define LOOK_FOR_EXTENSION_MS (60 * 1000)
#define ROLLUPS_INTERVAL_MS (10 * 1000)
#define PARTITIONS_INTERVAL_MS (60 * 60 * 1000)
#define READINESS_INTERVAL_MS (60 * 60 * 1000)
#define FIRST_ROUND_MS (60 * 1000)	/* databases can wait at first */
#define CONFIRM_ROUND_MS (5 * 60 * 1000)	/* after one that found much */
#define NEXT_STEP_MS 1000		/* between two steps of the same work, */
#define MIN_STEP_MS 100			/* or less if the interval is that short */
#define TASK_TIMEOUT_MS 2000	/* of one task */
#define LOCK_TIMEOUT "500ms"	/* below deadlock_timeout: we give up first */

/*
 * Commands that need the home database alone, one after the other without end,
 * would keep us away for ever.  After so long we come in between for a sample;
 * the next command waits that long for it, and PostgreSQL lets it wait for 5 s.
 */
#define LONGEST_AWAY_MS (30 * 1000)
#define LONGEST_AWAY_MAX_MS (5 * 60 * 1000) /* after failures */
#define COME_IN_BETWEEN_TIMEOUT "1500ms"	/* for the lock on the database */
#define LOOK_IF_AWAY_MS 1000
#define MAX_BACKOFF 30			/* intervals, and no longer than */
#define MAX_BACKOFF_MS (5 * 60 * 1000)	/* this if one is not */
#define MAX_MESSAGE 1024

typedef enum ImonSamplerState
{
	SAMPLER_STARTING,
	SAMPLER_DISABLED,
	SAMPLER_AWAY,				/* somebody wants the home database alone */
	SAMPLER_WAITING_FOR_DATABASE,
	SAMPLER_WAITING_FOR_EXTENSION,
	SAMPLER_VERSION_MISMATCH,
	SAMPLER_STANDBY,
	SAMPLER_RUNNING
} ImonSamplerState;

static const char *const state_names[] = {
	"starting", "disabled", "away", "waiting for database",
	"waiting for extension", "version mismatch", "standby", "running"
};

typedef enum ImonTaskId
{
	TASK_ACTIVITY,
	TASK_HEALTH,
	TASK_EVENTS,
	TASK_NOTIFY,
	TASK_SERIES,
	TASK_STORAGE,
	TASK_SAMPLE,
	TASK_WAITS,
	TASK_STATEMENTS,
	TASK_LIST,
	TASK_FILES,
	TASK_SLOW_QUERIES,
	TASK_ROLLUPS,
	TASK_SETTINGS,
	TASK_DATABASES,
	TASK_PARTITIONS,
	TASK_READINESS
} ImonTaskId;

#define N_TASKS (TASK_READINESS + 1)

typedef struct ImonSampler
{
	LWLock	   *lock;			/* guards all that is not atomic */
	ImonSamplerState state;
	TimestampTz last_tick;		/* of the sample task; 0 = never */
	TimestampTz next_tick;		/* 0 = not known */
	int64		sample_due;		/* the same, monotonic ms; outlives the
								 * process */
	TimestampTz next_partitions;	/* of that task; 0 = not known */
	TimestampTz last_error_at;	/* 0 = never */
	char		last_error[MAX_MESSAGE];	/* in "error_encoding" */
	int			error_encoding;

	/* attempts to connect */
	bool		connecting;		/* an attempt is under way, or has failed */
	int			failed_attempts;	/* in a row */
	uint32		changes_then;	/* imon_home_changes() at the last attempt */
	bool		recovery_then;	/* and was the server in recovery? */
	TimestampTz attempted_at;	/* 0 = never */
	char		attempted[NAMEDATALEN]; /* database of the last attempt */

	pg_atomic_uint64 ticks;		/* of the sample task */
	pg_atomic_uint64 missed;
	pg_atomic_uint64 task_us[N_TASKS];	/* time spent, microseconds */
} ImonSampler;

/*
 * A task.  "run" returns false if it found more to do than one step, and is
 * then called again soon.  A task of the database runs in a transaction there,
 * and may raise errors; the others also run while there is no database.  One of
 * any database does both.
 */
typedef struct ImonTask
{
	const char *name;
	bool		(*run) (void);
	bool		in_database;	/* with our extension */
	bool		on_standby;
	bool		(*pending) (void);	/* is there anything to do? NULL = always */
	bool		in_any_database;	/* if there is one, whatever is in it */
	int			interval;		/* ms, 0 = off */
	int			step;			/* ms between two steps of the same work */
	int64		due;			/* monotonic ms */
	int			failures;		/* in a row */
} ImonTask;

static ImonSampler *sampler = NULL;

/* The extension is not usable; looked for again at this moment.  0 = it is. */
static int64 look_for_extension_at = 0;

/*
 * Did the task that was run last do its work?  On a standby, those that write
 * have none.
 */
static bool task_done = false;

/* Was the configuration read again, perhaps with errors, since the last audit? */
static bool configuration_read = false;

/*
 * The extension when it was last looked for (InvalidOid if it was not usable),
 * and imon_home_changes() then.
 */
static Oid	extension_seen = InvalidOid;
static uint32 changes_seen = 0;

/* The home database, as this process connected to it. */
static char connected_to[NAMEDATALEN];

PG_FUNCTION_INFO_V1(imon_installation_warnings_1_0);
PG_FUNCTION_INFO_V1(imon_sampler_costs_1_0);
PG_FUNCTION_INFO_V1(imon_sampler_drops_1_0);
PG_FUNCTION_INFO_V1(imon_sampler_state_1_0);

static void expose(ImonExposition *exposition);

static Size
sampler_size(void)
{
	return sizeof(ImonSampler);
}

static void
sampler_init(void *part, LWLock *lock)
{
	ImonSampler *shared = (ImonSampler *) part;

	shared->lock = lock;
	shared->state = SAMPLER_STARTING;
	pg_atomic_init_u64(&shared->ticks, 0);
	pg_atomic_init_u64(&shared->missed, 0);
	for (int i = 0; i < N_TASKS; i++)
		pg_atomic_init_u64(&shared->task_us[i], 0);
}

static const ImonShmemPart sampler_part = {
	.name = "infra_monitor sampler",
	.size = sampler_size,
	.init = sampler_init,
	.address = (void **) &sampler
};

void
imon_sampler_init(void)
{
	BackgroundWorker worker;

	imon_shmem_register(&sampler_part);
	imon_register_metrics(expose);

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_ConsistentState;
	worker.bgw_restart_time = RESTART_SECONDS;
	strlcpy(worker.bgw_library_name, "infra_monitor", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "imon_sampler_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "infra_monitor sampler", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "infra_monitor sampler", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}

static void
set_state(ImonSamplerState state)
{
	LWLockAcquire(sampler->lock, LW_EXCLUSIVE);
	sampler->state = state;
	LWLockRelease(sampler->lock);
}

/* Remembers an error for sampler_status. */
static void
record_error(const char *message)
{
	int			encoding = OidIsValid(MyDatabaseId) ?
		GetDatabaseEncoding() : PG_SQL_ASCII;
	int			length = pg_encoding_mbcliplen(encoding, message,
											   strlen(message), MAX_MESSAGE - 1);

	LWLockAcquire(sampler->lock, LW_EXCLUSIVE);
	memcpy(sampler->last_error, message, length);
	sampler->last_error[length] = '\0';
	sampler->error_encoding = encoding;
	sampler->last_error_at = GetCurrentTimestamp();
	LWLockRelease(sampler->lock);
}

/*
 * Sleeps until the moment, or until something happens, and follows the
 * configuration file.
 */
static void
sleep_until(int64 moment)
{
	int64		timeout = Max(moment - imon_clock_ms(), 0);

	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 (long) timeout, imon_sampler_wait_event());
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		configuration_read = true;
		imon_settings_changed();
	}
}

/* Task: one look at what the backends are doing. */
static bool
look_at_activity(void)
{
	ImonSessions sessions;
	ImonActivity activity;
	ImonLockSnapshot *locks;

	imon_look_at_sessions(&sessions);
	locks = imon_take_lock_snapshot();
	imon_count_activity(&sessions, &activity);
	imon_add_activity(activity.active);
	imon_note_blame(&sessions, locks);
	imon_note_waits(&sessions, locks);
	imon_count_waits(&sessions);
	imon_count_concurrency(&sessions);
	return true;
}

/* Task: a sample of the pool in shared memory. */
static bool
sample_series(void)
{
	imon_look_at_processors();	/* here also on a standby */
	imon_sample_series();
	return true;
}

/* Task: the size of the history. */
static bool
limit_storage(void)
{
	return !imon_limit_storage();
}

/* Task: a sample. */
static bool
store_sample(void)
{
	(void) imon_take_sample();
	return true;
}

/* Task: what sessions were seen waiting for. */
static bool
store_waits(void)
{
	imon_store_waits();
	return true;
}

/* Task: what the statements have grown by. */
static bool
store_statements(void)
{
	imon_store_statements();
	return true;
}

/* Task: which statements have metrics of their own. */
static bool
list_statements(void)
{
	imon_list_statements();
	return true;
}

/* Task: files for others. */
static bool
write_files(void)
{
	imon_write_textfiles();
	return true;
}

/* Task: slow executions. */
static bool
store_slow_queries(void)
{
	return imon_store_slow_queries();
}

/* Task: hours and days that have ended. */
static bool
roll_up_history(void)
{
	return !imon_roll_up_next();
}

/* Task: settings that have changed. */
static bool
store_settings(void)
{
	imon_store_settings();
	return true;
}

/* Task: all health checks. */
static bool
check_health(void)
{
	imon_note_disks();
	imon_evaluate_health();
	return true;
}

/* Task: changes of health. */
static bool
store_health_events(void)
{
	imon_store_health_events();
	return true;
}

/* Task: listeners. */
static bool
notify_health_events(void)
{
	imon_notify_health_events();
	return true;
}

static ImonTask tasks[N_TASKS];

/*
 * Task: the next step of a round through all databases.  One that wants to be
 * confirmed counts as one of long ago, so that the next one is soon.
 */
static bool
visit_databases(void)
{
	ImonTask   *task = &tasks[TASK_DATABASES];

	if (!imon_visit_databases())
		return false;
	if (imon_round_is_unconfirmed() && task->interval > CONFIRM_ROUND_MS)
		task->due = imon_clock_ms() - task->interval + CONFIRM_ROUND_MS;
	return true;
}

/* Task: partitions. */
static bool
look_after_partitions(void)
{
	return !imon_maintain_partitions();
}

/* Task: the audit before a launch. */
static bool
audit_readiness(void)
{
	imon_evaluate_readiness();
	return true;
}

/* In the order in which they run when several are due. */
static ImonTask tasks[N_TASKS] = {
	[TASK_ACTIVITY] = {"activity", look_at_activity, false, true},
	[TASK_HEALTH] = {"health", check_health, true, true},
	[TASK_EVENTS] = {"events", store_health_events, true, false, imon_health_events_pending},
	[TASK_NOTIFY] = {"notify", notify_health_events, true, false, imon_notifications_pending},
	[TASK_SERIES] = {"series", sample_series, false, true},
	[TASK_STORAGE] = {"storage", limit_storage, true, false},
	[TASK_SAMPLE] = {"sample", store_sample, true, false},
	[TASK_WAITS] = {"waits", store_waits, true, false},
	[TASK_STATEMENTS] = {"statements", store_statements, true, true},
	[TASK_LIST] = {"list", list_statements, false, true},
	[TASK_FILES] = {"files", write_files, false, true, NULL, true},
	[TASK_SLOW_QUERIES] = {"slow_queries", store_slow_queries, true, false},
	[TASK_ROLLUPS] = {"rollups", roll_up_history, true, false, imon_rollups_pending},
	[TASK_SETTINGS] = {"settings", store_settings, true, false, imon_settings_pending},
	[TASK_DATABASES] = {"databases", visit_databases, true, true},
	[TASK_PARTITIONS] = {"partitions", look_after_partitions, true, false},
	[TASK_READINESS] = {"readiness", audit_readiness, true, true},
};

/*
 * Lets the audit run as soon as the configuration was read again: whoever
 * follows its advice wants to see that.
 */
static void
audit_again(void)
{
	if (configuration_read)
		tasks[TASK_READINESS].due = imon_clock_ms();
	configuration_read = false;
}

/* How many intervals a task waits for its turn: more and more while it fails. */
static int64
intervals_to_wait(const ImonTask *task)
{
	int64		steps = Min(INT64CONST(1) << Min(task->failures, 10), MAX_BACKOFF);

	return Max(Min(steps, MAX_BACKOFF_MS / Max(task->interval, 1)), 1);
}

/*
 * Follows the configured intervals: a shorter one takes effect at once.
 */
static void
set_intervals(void)
{
	int64		now = imon_clock_ms();

	tasks[TASK_ACTIVITY].interval = imon_activity_interval;
	tasks[TASK_HEALTH].interval = imon_health_interval;
	tasks[TASK_EVENTS].interval = imon_health_interval;
	tasks[TASK_NOTIFY].interval = imon_health_interval;
	tasks[TASK_SERIES].interval = imon_sample_interval;
	tasks[TASK_STORAGE].interval = imon_statement_interval;
	tasks[TASK_SAMPLE].interval = imon_sample_interval;
	tasks[TASK_WAITS].interval = imon_statement_interval;
	tasks[TASK_STATEMENTS].interval = imon_statement_interval;
	tasks[TASK_LIST].interval = imon_statement_interval;
	tasks[TASK_FILES].interval = imon_sample_interval;
	tasks[TASK_SLOW_QUERIES].interval = imon_statement_interval;
	tasks[TASK_ROLLUPS].interval = ROLLUPS_INTERVAL_MS;
	tasks[TASK_SETTINGS].interval = imon_statement_interval;
	tasks[TASK_DATABASES].interval = imon_database_check_interval;
	tasks[TASK_PARTITIONS].interval = PARTITIONS_INTERVAL_MS;
	tasks[TASK_READINESS].interval = READINESS_INTERVAL_MS;
	for (int i = 0; i < N_TASKS; i++)
	{
		tasks[i].step = Min(NEXT_STEP_MS, Max(MIN_STEP_MS, tasks[i].interval / 10));
		tasks[i].due = Min(tasks[i].due,
						   now + intervals_to_wait(&tasks[i]) * tasks[i].interval);
	}
	audit_again();
}

/* Lets a task run now that continues another one, unless it is backing off. */
static void
run_now(ImonTask *task)
{
	if (task->failures == 0)
		task->due = imon_clock_ms();
}

/*
 * Lets the samples that were due since the incarnation before this one has ended
 * count as missed, but for the one that is taken now.  The grid begins anew: the
 * next one is after an interval, in which sessions are looked at.
 */
static void
resume_samples(void)
{
	ImonTask   *task = &tasks[TASK_SAMPLE];
	int64		due;

	LWLockAcquire(sampler->lock, LW_SHARED);
	due = sampler->sample_due;
	LWLockRelease(sampler->lock);
	if (due != 0 && due < task->due && task->interval > 0)
		task->due -= (task->due - due) / task->interval * task->interval;
}

/* Lets all tasks run now, but for one that is not urgent. */
static void
run_all_now(void)
{
	for (int i = 0; i < N_TASKS; i++)
		tasks[i].due = imon_clock_ms();
	tasks[TASK_DATABASES].due += Min(FIRST_ROUND_MS, imon_database_check_interval);
	resume_samples();
}

/* Nobody wants samples now, so none is missed until there is one. */
static void
suspend_samples(void)
{
	LWLockAcquire(sampler->lock, LW_EXCLUSIVE);
	sampler->sample_due = 0;
	LWLockRelease(sampler->lock);
}

/*
 * Computes when a task runs next: on its grid, ahead of now.  Returns how many
 * moments of the grid are left out; they are not made up for.
 */
static int64
schedule_next(ImonTask *task, bool done)
{
	int64		now = imon_clock_ms();
	int64		steps = intervals_to_wait(task);

	if (!done)
	{
		task->due = now + task->step;
		return 0;
	}
	if (task->due + steps * task->interval <= now)
		steps = (now - task->due) / task->interval + 1;
	task->due += steps * task->interval;
	return steps - 1;
}

/* Reports an error of a task: to the log when it begins, to the status always. */
static void
report_failure(ImonTask *task, const ErrorData *error)
{
	record_error(psprintf("%s: %s", task->name, error->message));
	if (task->failures++ == 0)
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("infra_monitor could not do its task \"%s\": %s",
						task->name, error->message),
				 error->detail ? errdetail_internal("%s", error->detail) : 0,
				 error->hint ? errhint("%s", error->hint) : 0));
}

/* Takes note that a task has done its work, to the log when it had failed. */
static void
note_success(ImonTask *task)
{
	if (task->failures > 0)
		ereport(LOG,
				(errmsg("infra_monitor does its task \"%s\" again", task->name)));
	task->failures = 0;
}

/*
 * Runs a task in a subtransaction; what it raises ends there.
 */
static bool
run_contained(ImonTask *task)
{
	ImonContained contained;
	volatile bool done = true;

	imon_begin_contained(&contained);
	PG_TRY();
	{
		done = task->run();
		imon_end_contained(&contained);
		task_done = true;
	}
	PG_CATCH();
	{
		report_failure(task, imon_catch_contained(&contained));
	}
	PG_END_TRY();
	return done;
}

/*
 * Takes note that the extension is absent, or of another version than the
 * library (version not NULL): known for a minute, or until a command may have
 * changed it.  It is logged once.
 */
static void
note_unusable(const char *version)
{
	static ImonSamplerState logged = SAMPLER_RUNNING;
	ImonSamplerState state = version ?
		SAMPLER_VERSION_MISMATCH : SAMPLER_WAITING_FOR_EXTENSION;

	if (OidIsValid(extension_seen))
		logged = SAMPLER_RUNNING;	/* it was usable meanwhile */
	set_state(state);
	extension_seen = InvalidOid;
	look_for_extension_at = imon_clock_ms() + LOOK_FOR_EXTENSION_MS;
	if (state == logged)
		return;

	logged = state;
	if (version)
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"infra_monitor\" is of version \"%s\", the library of version \"%s\", no samples are taken",
						version, IMON_VERSION),
				 errhint("Run ALTER EXTENSION infra_monitor UPDATE in database \"%s\", or restart the server after an upgrade of the package.",
						 connected_to)));
	else
		ereport(LOG,
				(errmsg("extension \"infra_monitor\" does not exist in database \"%s\", no samples are taken",
						connected_to),
				 errhint("Run CREATE EXTENSION infra_monitor CASCADE in it, or set infra_monitor.database.")));
}

/*
 * Is the extension there, usable, and kept from being dropped until the
 * transaction ends?
 */
static bool
extension_usable(void)
{
	Oid			extension;
	char	   *version;

	changes_seen = imon_home_changes();
	switch (imon_hold_extension(&extension, &version))
	{
		case IMON_EXTENSION_PRESENT:
			extension_seen = extension;
			look_for_extension_at = 0;
			return true;
		case IMON_EXTENSION_BUSY:
			return false;
		default:
			note_unusable(version);
			return false;
	}
}

/*
 * Runs a task if its time has come for that: not on a standby if it writes,
 * not without the extension.  Needs a transaction.  Returns false if the task
 * found more to do.
 */
static bool
run_if_possible(ImonTask *task)
{
	bool		standby = RecoveryInProgress();

	if (!extension_usable())
		return true;
	set_state(standby ? SAMPLER_STANDBY : SAMPLER_RUNNING);
	if (standby && !task->on_standby)
	{
		task->failures = 0;
		task_done = true;
		return true;
	}
	return run_contained(task);
}

/*
 * May the extension have come since it was looked for?  A command says so, but
 * not on a standby, where it is replayed: the promotion is the moment to look.
 */
static bool
extension_may_have_come(void)
{
	static bool recovery_seen = false;
	bool		recovery = RecoveryInProgress();
	bool		promoted = recovery_seen && !recovery;

	recovery_seen = recovery;
	return promoted || changes_seen != imon_home_changes();
}

/*
 * Lets all tasks run now if a command has created or updated the extension,
 * perhaps after one that dropped it.
 */
static void
welcome_extension(void)
{
	ImonExtension found;
	Oid			extension;
	char	   *version;

	changes_seen = imon_home_changes();
	StartTransactionCommand();
	found = imon_find_extension(&extension, &version);
	CommitTransactionCommand();

	if (found != IMON_EXTENSION_ABSENT && extension != extension_seen)
	{
		look_for_extension_at = 0;
		imon_settings_changed();
		run_all_now();
	}
}

/*
 * Commits the transaction of a task.  That can fail, too: when there is no room
 * for a notification.
 */
static void
commit_contained(ImonTask *task, MemoryContext context)
{
	PG_TRY();
	{
		CommitTransactionCommand();
		if (task_done)
			note_success(task);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		HOLD_INTERRUPTS();
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		AbortOutOfAnyTransaction();
		RESUME_INTERRUPTS();
		MemoryContextSwitchTo(context);
		task_done = false;
		report_failure(task, error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
}

/* Runs a task in a transaction of its own, for a limited time. */
static bool
run_in_transaction(ImonTask *task)
{
	MemoryContext context = CurrentMemoryContext;
	bool		done;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, task->name);
	enable_timeout_after(STATEMENT_TIMEOUT, task == &tasks[TASK_HEALTH] ?
						 imon_health_time_limit() : TASK_TIMEOUT_MS);

	done = task->in_any_database ? run_contained(task) : run_if_possible(task);

	/* a cancel that came too late is for nobody */
	disable_timeout(STATEMENT_TIMEOUT, false);
	QueryCancelPending = false;

	PopActiveSnapshot();
	commit_contained(task, context);
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	return done;
}

/* Runs a task that needs no database; nothing it allocates is left. */
static bool
run_alone(ImonTask *task)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "infra_monitor task",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	bool		done = task->run();

	pgstat_clear_backend_activity_snapshot();
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return done;
}

/*
 * Accounts for a tick of the sample task: one that stored a sample, or on a
 * standby could not, but would have.  Without the extension there is nothing
 * to miss.
 */
static void
account_for_tick(const ImonTask *task, int64 left_out)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		absent = look_for_extension_at != 0;

	if (task_done)
		pg_atomic_fetch_add_u64(&sampler->ticks, 1);
	if (!absent)
		pg_atomic_fetch_add_u64(&sampler->missed, left_out + (task_done ? 0 : 1));

	LWLockAcquire(sampler->lock, LW_EXCLUSIVE);
	if (task_done)
		sampler->last_tick = now;
	sampler->next_tick = now + (task->due - imon_clock_ms()) * 1000;
	sampler->sample_due = absent ? 0 : task->due;
	LWLockRelease(sampler->lock);
}

/* Says when partitions are looked after next: on a standby, never. */
static void
note_next_partitions(const ImonTask *task)
{
	TimestampTz next = RecoveryInProgress() ? 0 :
		GetCurrentTimestamp() + (task->due - imon_clock_ms()) * 1000;

	LWLockAcquire(sampler->lock, LW_EXCLUSIVE);
	sampler->next_partitions = next;
	LWLockRelease(sampler->lock);
}

/* Does a task when it is due, and accounts for its time. */
static void
run_if_due(ImonTask *task)
{
	int64		start;
	bool		done = true;
	int64		left_out;

	if (task->interval == 0 || task->due > imon_clock_ms())
		return;

	start = imon_clock_ns();
	task_done = false;
	if (task->pending && !task->pending())
		task->failures = 0;
	else if (task->in_any_database && OidIsValid(MyDatabaseId))
		done = run_in_transaction(task);
	else if (!task->in_database)
		done = run_alone(task);
	else if (OidIsValid(MyDatabaseId) && imon_clock_ms() >= look_for_extension_at)
		done = run_in_transaction(task);
	pg_atomic_fetch_add_u64(&sampler->task_us[task - tasks],
							(imon_clock_ns() - start) / 1000);

	left_out = schedule_next(task, done);
	if (task == &tasks[TASK_SAMPLE])
		account_for_tick(task, left_out);
	if (task == &tasks[TASK_PARTITIONS])
		note_next_partitions(task);
	if (task == &tasks[TASK_HEALTH] && task_done)
		run_now(&tasks[TASK_EVENTS]);
	if (task == &tasks[TASK_EVENTS] && task_done)
		run_now(&tasks[TASK_NOTIFY]);
	if (task == &tasks[TASK_SETTINGS] && task_done)
		imon_settings_stored();
	if (task == &tasks[TASK_ROLLUPS] && task_done && done)
		run_now(&tasks[TASK_PARTITIONS]);	/* some may have waited for it */
}

/*
 * Lets slow executions be stored before their time when there are so many that
 * they would be overwritten; but not all the time, nor one that fails.
 */
static void
hurry_slow_queries(void)
{
	static int64 hurried_at = 0;
	ImonTask   *task = &tasks[TASK_SLOW_QUERIES];
	int64		now = imon_clock_ms();

	if (task->failures > 0 || now < hurried_at + NEXT_STEP_MS ||
		RecoveryInProgress() || !imon_slow_log_presses() || imon_detail_paused())
		return;
	hurried_at = now;
	task->due = Min(task->due, now);
}

/* The same for a day that must be removed to make room. */
static void
hurry_storage(void)
{
	static int64 hurried_at = 0;
	ImonTask   *task = &tasks[TASK_STORAGE];
	int64		now = imon_clock_ms();

	if (task->failures > 0 || now < hurried_at + NEXT_STEP_MS ||
		RecoveryInProgress() || !imon_storage_presses())
		return;
	hurried_at = now;
	task->due = Min(task->due, now);
}

/* Does what is due and returns when something is due next. */
static int64
run_due_tasks(void)
{
	int64		next = imon_clock_ms() + LOOK_FOR_EXTENSION_MS;

	hurry_slow_queries();
	hurry_storage();
	for (int i = 0; i < N_TASKS; i++)
	{
		run_if_due(&tasks[i]);
		CHECK_FOR_INTERRUPTS();
		if (tasks[i].interval != 0)
			next = Min(next, tasks[i].due);
	}
	return next;
}

/*
 * Until when to wait before connecting, after "failed_attempts" failures.
 */
static int64
backoff_ms(int failed_attempts)
{
	if (failed_attempts == 0)
		return 0;
	return Min((int64) CONNECT_BACKOFF_MIN_MS << Min(failed_attempts - 1, 10),
			   CONNECT_BACKOFF_MAX_MS);
}

/*
 * Takes note of an attempt by the incarnation before this one that never got
 * through, and returns when the next may be made.
 */
static int64
note_failed_attempt(void)
{
	bool		failed;
	int			attempts;

	LWLockAcquire(sampler->lock, LW_EXCLUSIVE);
	failed = sampler->connecting;
	sampler->connecting = false;
	if (failed)
		sampler->failed_attempts++;
	attempts = sampler->failed_attempts;
	LWLockRelease(sampler->lock);

	if (failed)
		record_error(psprintf("could not connect to database \"%s\", see the server log",
							  sampler->attempted));
	return imon_clock_ms() + backoff_ms(attempts);
}

/* Has anything changed since the last attempt that could make it succeed? */
static bool
worth_another_attempt(void)
{
	return sampler->changes_then != imon_home_changes() ||
		(sampler->recovery_then && !RecoveryInProgress()) ||
		strcmp(sampler->attempted, imon_database) != 0;
}

/*
 * Has it been kept away for so long that it may connect although somebody wants
 * the home database alone?
 */
static bool
away_for_too_long(void)
{
	TimestampTz last;
	int			limit;

	LWLockAcquire(sampler->lock, LW_SHARED);
	last = Max(sampler->last_tick, sampler->attempted_at);
	limit = Min(LONGEST_AWAY_MS << Min(sampler->failed_attempts, 10),
				LONGEST_AWAY_MAX_MS);
	LWLockRelease(sampler->lock);
	return TimestampDifferenceExceeds(Max(last, PgStartTime),
									  GetCurrentTimestamp(),
									  Max(limit, imon_sample_interval));
}

/*
 * Waits until the sampler may connect.  Meanwhile the tasks that need no
 * database go on.
 */
static void
wait_to_connect(void)
{
	int64		not_before = note_failed_attempt();

	for (;;)
	{
		int64		next = imon_clock_ms() + LOOK_FOR_EXTENSION_MS;

		if (!imon_enabled)
		{
			suspend_samples();
			set_state(SAMPLER_DISABLED);
		}
		else if (imon_home_wanted() && !away_for_too_long())
		{
			set_state(SAMPLER_AWAY);
			next = imon_clock_ms() + LOOK_IF_AWAY_MS;
		}
		else if (imon_clock_ms() < not_before && !worth_another_attempt())
		{
			set_state(SAMPLER_WAITING_FOR_DATABASE);
			next = Min(next, not_before);
		}
		else
			break;

		if (imon_enabled)
			next = Min(run_due_tasks(), next);
		sleep_until(next);
		set_intervals();
	}
}

/*
 * A setting of the sampler's own, which no configuration file changes.  As one of
 * the session it leaves alone what RESET would give, which is the server's.  Whose
 * session it is has to be said: before it is connected, there is no current user.
 */
static void
pin_setting(const char *name, const char *value)
{
	(void) set_config_option_ext(name, value, PGC_SUSET, PGC_S_SESSION,
								 BOOTSTRAP_SUPERUSERID, GUC_ACTION_SET, true,
								 0, false);
}

/*
 * Pins what our transactions depend on: the first one is that of connecting.
 */
static void
pin_settings(void)
{
	pin_setting("search_path", "pg_catalog, pg_temp");
	pin_setting("default_tablespace", "");
	pin_setting("default_table_access_method", DEFAULT_TABLE_ACCESS_METHOD);
	pin_setting("lock_timeout", LOCK_TIMEOUT);
	pin_setting("synchronous_commit", "off");
	pin_setting("compute_query_id", "off");
	pin_setting("infra_monitor.track", "none");
	pin_setting("jit", "off");
	pin_setting("max_parallel_workers_per_gather", "0");
	pin_setting("default_transaction_read_only", "off");
	pin_setting("default_transaction_isolation", "read committed");
	pin_setting("client_min_messages", "error");
	pin_setting("extra_float_digits", "1");
	if (GetConfigOption("transaction_timeout", true, false))	/* 17 and later */
		pin_setting("transaction_timeout", "0");
}

/*
 * Connects to the home database.  FATAL if that is impossible, and then the
 * next incarnation waits.
 */
static void
connect_home(void)
{
	strlcpy(connected_to, imon_database, NAMEDATALEN);
	LWLockAcquire(sampler->lock, LW_EXCLUSIVE);
	sampler->connecting = true;
	sampler->changes_then = imon_home_changes();
	sampler->recovery_then = RecoveryInProgress();
	sampler->attempted_at = GetCurrentTimestamp();
	strlcpy(sampler->attempted, connected_to, NAMEDATALEN);
	LWLockRelease(sampler->lock);

	pin_settings();
	if (imon_home_wanted())
		pin_setting("lock_timeout", COME_IN_BETWEEN_TIMEOUT);
	BackgroundWorkerInitializeConnection(connected_to, NULL, 0);
	imon_home_connected(MyDatabaseId);
	pin_setting("lock_timeout", LOCK_TIMEOUT);

	LWLockAcquire(sampler->lock, LW_EXCLUSIVE);
	sampler->connecting = false;
	sampler->failed_attempts = 0;
	LWLockRelease(sampler->lock);

	pgstat_report_appname("infra_monitor sampler");
	ereport(LOG,
			(errmsg("infra_monitor sampler connected to database \"%s\"",
					connected_to)));
}

/*
 * Ends this process if it must leave its database: somebody wants it alone,
 * another one was configured, or monitoring was turned off.
 */
static void
leave_if_asked(void)
{
	const char *why = NULL;

	if (!imon_enabled)
	{
		suspend_samples();
		why = "infra_monitor.enabled is off";
	}
	else if (strcmp(connected_to, imon_database) != 0)
		why = "infra_monitor.database was changed";
	else if (imon_home_wanted())
		why = "a command needs the database alone";
	if (why == NULL)
		return;

	ereport(LOG,
			(errmsg("infra_monitor sampler leaves database \"%s\": %s",
					connected_to, why)));
	proc_exit(1);
}

/*
 * Exit callback: sampler_status must not name what won't come, and nobody is
 * there to overwrite a file.
 */
static void
sampler_ends(int code, Datum arg)
{
	imon_remove_spare_files();
	LWLockAcquire(sampler->lock, LW_EXCLUSIVE);
	sampler->state = SAMPLER_STARTING;
	sampler->next_tick = 0;
	sampler->next_partitions = 0;
	LWLockRelease(sampler->lock);
}

void
imon_sampler_main(Datum arg)
{
	MemoryContext context;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	on_shmem_exit(sampler_ends, (Datum) 0);
	imon_home_enter();
	imon_refuse_foreign_code();

	context = AllocSetContextCreate(TopMemoryContext, "infra_monitor sampler",
									ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	set_intervals();
	run_all_now();
	wait_to_connect();
	connect_home();
	run_all_now();
	MemoryContextSwitchTo(context);
	if (imon_home_wanted())
		run_if_due(&tasks[TASK_SAMPLE]);	/* before it leaves again */

	for (;;)
	{
		int64		next;

		MemoryContextSwitchTo(context);
		MemoryContextReset(context);
		leave_if_asked();
		if (extension_may_have_come())
			welcome_extension();
		MemoryContextSwitchTo(context);
		next = run_due_tasks();
		sleep_until(next);
		set_intervals();
	}
}

/*
 * SQL: sampler_state(), one row: pid, state, last_tick, next_tick, ticks,
 * missed, last_error, last_error_at, rows_stored, next_partition_work.
 */
Datum
imon_sampler_state_1_0(PG_FUNCTION_ARGS)
{
	Datum		values[10];
	bool		nulls[10] = {false};
	ImonSampler copy;
	int			pid;
	int			i = 0;

	imon_shmem_require();

	LWLockAcquire(sampler->lock, LW_SHARED);
	memcpy(&copy, sampler, sizeof(copy));
	LWLockRelease(sampler->lock);
	pid = imon_home_sampler_pid();

	values[i] = Int32GetDatum(pid);
	nulls[i++] = (pid == 0);
	values[i++] = CStringGetTextDatum(pid == 0 ? "not running" : state_names[copy.state]);
	values[i] = imon_moment_datum(copy.last_tick, &nulls[i]);
	i++;
	values[i] = imon_moment_datum(copy.next_tick, &nulls[i]);
	i++;
	values[i++] = Int64GetDatum((int64) pg_atomic_read_u64(&sampler->ticks));
	values[i++] = Int64GetDatum((int64) pg_atomic_read_u64(&sampler->missed));
	values[i] = CStringGetTextDatum(imon_convert(copy.last_error,
												 copy.error_encoding));
	nulls[i] = (copy.last_error_at == 0);
	i++;
	values[i] = imon_moment_datum(copy.last_error_at, &nulls[i]);
	i++;
	values[i++] = Int64GetDatum((int64) imon_samples_stored());
	values[i] = imon_moment_datum(copy.next_partitions, &nulls[i]);
	i++;
	Assert(i == lengthof(values));

	PG_RETURN_DATUM(imon_one_row(fcinfo, lengthof(values), values, nulls));
}

/* SQL: sampler_costs(), a row for each task: task, seconds. */
Datum
imon_sampler_costs_1_0(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo;

	imon_shmem_require();
	rsinfo = imon_begin_rows(fcinfo, 2);
	for (int i = 0; i < N_TASKS; i++)
	{
		Datum		values[2];
		bool		nulls[2] = {false};

		values[0] = CStringGetTextDatum(tasks[i].name);
		values[1] = Float8GetDatum((double) pg_atomic_read_u64(&sampler->task_us[i]) / 1000000);
		imon_put_row(rsinfo, values, nulls);
	}
	return (Datum) 0;
}

/*
 * What can be lost, and how often it was since shared memory was created; of
 * waits and concurrency, since the last reset.
 */
static const struct
{
	const char *reason;
	uint64		(*count) (void);
	bool		resets;
}			drops[] =

{
	{"lock_blame", imon_blame_evictions},
	{"rejections", imon_rejections_dropped},
	{"series", imon_series_dropped},
	{"health_documents", imon_health_overflows},
	{"health_hints", imon_health_hints_dropped},
	{"health_events", imon_health_events_dropped},
	{"readiness_documents", imon_readiness_overflows},
	{"executions", imon_executions_dropped},
	{"statements", imon_statements_evicted},
	{"statement_texts", imon_statement_texts_skipped},
	{"bursts", imon_bursts_dropped},
	{"repeated_queries", imon_repeated_evicted},
	{"slow_queries", imon_slow_log_dropped},
	{"slow_queries_overwritten", imon_slow_log_overwritten},
	{"wait_queries", imon_wait_queries_lost, true},
	{"wait_observations", imon_wait_observations_lost, true},
	{"concurrency_pairs", imon_concurrency_evictions, true},
	{"concurrency_looks", imon_concurrency_drops, true},
	{"storage_paused", imon_writings_paused},
	{"rollups", imon_rollups_lost},
};

/* SQL: sampler_drops(), a row for each reason: reason, drops. */
Datum
imon_sampler_drops_1_0(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo;

	imon_shmem_require();
	rsinfo = imon_begin_rows(fcinfo, 2);
	for (int i = 0; i < lengthof(drops); i++)
	{
		Datum		values[2];
		bool		nulls[2] = {false};

		values[0] = CStringGetTextDatum(drops[i].reason);
		values[1] = Int64GetDatum((int64) drops[i].count());
		imon_put_row(rsinfo, values, nulls);
	}
	return (Datum) 0;
}

/*
 * SQL: installation_warnings().  Warnings, because notices are suppressed
 * while an extension is created.
 */
Datum
imon_installation_warnings_1_0(PG_FUNCTION_ARGS)
{
	char	   *here = get_database_name(MyDatabaseId);

	if (!imon_shmem_ready())
		ereport(WARNING,
				(errmsg("infra_monitor is not loaded, only some of its views will work"),
				 errhint("Add pg_stat_statements and infra_monitor to \"shared_preload_libraries\" in postgresql.conf and restart the server.")));
	else if (strcmp(here, imon_database) != 0)
		ereport(WARNING,
				(errmsg("samples are not stored in this database but in \"%s\"",
						imon_database),
				 errdetail("Live views work here, too."),
				 errhint("To store samples here run: ALTER SYSTEM SET infra_monitor.database = %s; SELECT pg_reload_conf();",
						 quote_literal_cstr(here))));
	PG_RETURN_VOID();
}

/* What the sampler does, and since when. */
static void
expose_ticks(ImonExposition *exposition)
{
	TimestampTz last_tick;

	LWLockAcquire(sampler->lock, LW_SHARED);
	last_tick = sampler->last_tick;
	LWLockRelease(sampler->lock);

	imon_family(exposition, "sampler_running", IMON_GAUGE,
				"Is there a process of the sampler? 1 or 0.");
	imon_put_count(exposition, NULL, imon_home_sampler_pid() != 0);
	imon_family(exposition, "sampler_ticks_total", IMON_COUNTER,
				"Samples taken; on a standby, those that would have been stored.");
	imon_put_count(exposition, NULL, pg_atomic_read_u64(&sampler->ticks));
	imon_family(exposition, "sampler_missed_total", IMON_COUNTER,
				"Samples that should have been taken and were not.");
	imon_put_count(exposition, NULL, pg_atomic_read_u64(&sampler->missed));
	imon_family(exposition, "sampler_last_tick_timestamp_seconds", IMON_GAUGE,
				"When the last sample was taken.");
	imon_put_moment(exposition, NULL, last_tick);
	imon_family(exposition, "samples_stored_total", IMON_COUNTER,
				"Samples stored in the history.");
	imon_put_count(exposition, NULL, imon_samples_stored());
}

/*
 * Metrics of the sampler.  What begins anew at a reset is no counter, and left
 * out.
 */
static void
expose(ImonExposition *exposition)
{
	expose_ticks(exposition);

	imon_family(exposition, "sampler_task_seconds_total", IMON_COUNTER,
				"Time that the sampler has spent, by task.");
	for (int i = 0; i < N_TASKS; i++)
	{
		ImonLabels	labels = imon_label("task", tasks[i].name);

		imon_put_number(exposition, &labels,
						pg_atomic_read_u64(&sampler->task_us[i]) / 1e6);
	}

	imon_family(exposition, "drops_total", IMON_COUNTER,
				"What infra_monitor has lost, by reason.");
	for (int i = 0; i < lengthof(drops); i++)
	{
		ImonLabels	labels = imon_label("reason", drops[i].reason);

		if (!drops[i].resets)
			imon_put_count(exposition, &labels, drops[i].count());
	}
}
