/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  Every difference between the supported PostgreSQL versions, and what
 *	  not all operating systems have.
 *
 * The wrappers take the newest signature; a branch goes when its version is
 * no longer supported.  No other file compares PG_VERSION_NUM.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_COMPAT_H
#define IMON_COMPAT_H

#include <math.h>
#ifdef __linux__
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>
#endif

#include "access/tableam.h"
#include "catalog/pg_database.h"
#include "commands/explain.h"
#include "executor/execdesc.h"
#include "executor/instrument.h"
#include "miscadmin.h"
#include "parser/parser.h"
#include "pgstat.h"
#include "postmaster/postmaster.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/backend_status.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"
#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#endif
#if PG_VERSION_NUM >= 160000
#include "nodes/queryjumble.h"
#include "varatt.h"
#else
#include "utils/queryjumble.h"
#endif
#include "version.h"

/* Before 16, functions that walk through nodes, or plan, have prototypes of old. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wstrict-prototypes"
#include "nodes/nodeFuncs.h"
#include "optimizer/planner.h"
#pragma GCC diagnostic pop

/* 18 records name and version of a module. */
#if PG_VERSION_NUM >= 180000
#define IMON_MODULE_MAGIC \
	PG_MODULE_MAGIC_EXT(.name = "infra_monitor", .version = IMON_VERSION)
#else
#define IMON_MODULE_MAGIC	PG_MODULE_MAGIC
#endif

/* Major version of the server, 15 and so on. */
#define IMON_SERVER_MAJOR	(PG_VERSION_NUM / 10000)

/* Index of the caller's PGPROC in ProcGlobal->allProcs. */
static inline int
imon_my_proc_number(void)
{
#if PG_VERSION_NUM >= 170000
	return MyProcNumber;
#else
	return MyProc->pgprocno;
#endif
}

/* Entry "index" (from 1) of the caller's snapshot of backend states. */
static inline LocalPgBackendStatus *
imon_backend_status(int index)
{
#if PG_VERSION_NUM >= 160000
	return pgstat_get_local_beentry_by_index(index);
#else
	return pgstat_fetch_stat_local_beentry(index);
#endif
}

/* Does the role own the database, or have the rights of its owner? */
static inline bool
imon_owns_database(Oid database, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(DatabaseRelationId, database, role);
#else
	return pg_database_ownercheck(database, role);
#endif
}

/* A scan of the rows between two places of a table, both included. */
static inline TableScanDesc
imon_beginscan_tidrange(Relation rel, Snapshot snapshot,
						ItemPointer lowest, ItemPointer highest)
{
#if PG_VERSION_NUM >= 190000
	return table_beginscan_tidrange(rel, snapshot, lowest, highest, 0);
#else
	return table_beginscan_tidrange(rel, snapshot, lowest, highest);
#endif
}

/* Slots of max_connections that an ordinary role cannot use. */
static inline int
imon_reserved_connections(void)
{
#if PG_VERSION_NUM >= 160000
	return SuperuserReservedConnections + ReservedConnections;
#else
	return ReservedBackends;
#endif
}

/* Those of them that only a superuser can use. */
static inline int
imon_superuser_connections(void)
{
#if PG_VERSION_NUM >= 160000
	return SuperuserReservedConnections;
#else
	return ReservedBackends;
#endif
}

/*
 * A walk through all PROCLOCKs of a lock, and one through its wait queue, in
 * order; NULL is the end.  The caller holds the lock's partition.  16 has
 * other lists, 19 a link of its own for the queue.
 */
#if PG_VERSION_NUM >= 160000

#if PG_VERSION_NUM >= 190000
#define IMON_WAIT_LINK	waitLink
#else
#define IMON_WAIT_LINK	links
#endif

static inline PROCLOCK *
imon_first_proclock(LOCK *lock)
{
	return dlist_is_empty(&lock->procLocks) ? NULL :
		dlist_head_element(PROCLOCK, lockLink, &lock->procLocks);
}

static inline PROCLOCK *
imon_next_proclock(LOCK *lock, PROCLOCK *proclock)
{
	return !dlist_has_next(&lock->procLocks, &proclock->lockLink) ? NULL :
		dlist_container(PROCLOCK, lockLink,
						dlist_next_node(&lock->procLocks, &proclock->lockLink));
}

static inline PGPROC *
imon_first_waiter(LOCK *lock)
{
	return dclist_is_empty(&lock->waitProcs) ? NULL :
		dclist_head_element(PGPROC, IMON_WAIT_LINK, &lock->waitProcs);
}

static inline PGPROC *
imon_next_waiter(LOCK *lock, PGPROC *proc)
{
	return !dclist_has_next(&lock->waitProcs, &proc->IMON_WAIT_LINK) ? NULL :
		dlist_container(PGPROC, IMON_WAIT_LINK,
						dclist_next_node(&lock->waitProcs,
										 &proc->IMON_WAIT_LINK));
}

#else

static inline PROCLOCK *
imon_next_proclock(LOCK *lock, PROCLOCK *proclock)
{
	return (PROCLOCK *) SHMQueueNext(&lock->procLocks, &proclock->lockLink,
									 offsetof(PROCLOCK, lockLink));
}

static inline PROCLOCK *
imon_first_proclock(LOCK *lock)
{
	return (PROCLOCK *) SHMQueueNext(&lock->procLocks, &lock->procLocks,
									 offsetof(PROCLOCK, lockLink));
}

static inline PGPROC *
imon_first_waiter(LOCK *lock)
{
	return (PGPROC *) SHMQueueNext(&lock->waitProcs.links,
								   &lock->waitProcs.links,
								   offsetof(PGPROC, links));
}

static inline PGPROC *
imon_next_waiter(LOCK *lock, PGPROC *proc)
{
	return (PGPROC *) SHMQueueNext(&lock->waitProcs.links, &proc->links,
								   offsetof(PGPROC, links));
}

#endif

/* Is the replication slot in use?  The caller holds its spinlock.  19 has a process number. */
#if PG_VERSION_NUM >= 190000
#define imon_slot_is_active(slot)	((slot)->active_proc != INVALID_PROC_NUMBER)
#else
#define imon_slot_is_active(slot)	((slot)->active_pid != 0)
#endif

/* The process that uses the replication slot, or 0.  The caller holds its spinlock. */
#if PG_VERSION_NUM >= 190000
#define imon_slot_pid(slot) \
	(imon_slot_is_active(slot) ? GetPGProcByNumber((slot)->active_proc)->pid : 0)
#else
#define imon_slot_pid(slot)	((slot)->active_pid)
#endif

/*
 * Checkpoints, and restart points on a standby, by their cause: the time, or
 * too much WAL or a command.  17 counts restart points apart.
 */
static inline void
imon_count_checkpoints(int64 *timed, int64 *requested)
{
	const PgStat_CheckpointerStats *stats = pgstat_fetch_stat_checkpointer();

#if PG_VERSION_NUM >= 170000
	*timed = stats->num_timed + stats->restartpoints_timed;
	*requested = stats->num_requested + stats->restartpoints_requested;
#else
	*timed = stats->timed_checkpoints;
	*requested = stats->requested_checkpoints;
#endif
}

/*
 * What is known of checkpoints, NaN what the version does not: since 17, what
 * others have written is only in pg_stat_io, and restart points are counted
 * apart, too; "timed" and "requested" are both in all versions.
 */
typedef struct ImonCheckpoints
{
	double		timed;
	double		requested;
	double		restart_timed;
	double		restart_requested;
	double		restart_done;
	double		write_ms;
	double		sync_ms;
	double		buffers;
	double		backend_buffers;
	double		backend_syncs;
	TimestampTz reset_at;		/* 0 = not known */
} ImonCheckpoints;

static inline ImonCheckpoints
imon_read_checkpoints(void)
{
	const PgStat_CheckpointerStats *stats = pgstat_fetch_stat_checkpointer();
	ImonCheckpoints checkpoints = {0};
	int64		timed;
	int64		requested;

	imon_count_checkpoints(&timed, &requested);
	checkpoints.timed = timed;
	checkpoints.requested = requested;
#if PG_VERSION_NUM >= 170000
	checkpoints.restart_timed = stats->restartpoints_timed;
	checkpoints.restart_requested = stats->restartpoints_requested;
	checkpoints.restart_done = stats->restartpoints_performed;
	checkpoints.write_ms = stats->write_time;
	checkpoints.sync_ms = stats->sync_time;
	checkpoints.buffers = stats->buffers_written;
	checkpoints.backend_buffers = checkpoints.backend_syncs = NAN;
	checkpoints.reset_at = stats->stat_reset_timestamp;
#else
	checkpoints.restart_timed = checkpoints.restart_requested = checkpoints.restart_done = NAN;
	checkpoints.write_ms = stats->checkpoint_write_time;
	checkpoints.sync_ms = stats->checkpoint_sync_time;
	checkpoints.buffers = stats->buf_written_checkpoints;
	checkpoints.backend_buffers = stats->buf_written_backend;
	checkpoints.backend_syncs = stats->buf_fsync_backend;
#endif
	return checkpoints;
}

/* All settings of this process; *n: how many. */
static inline struct config_generic **
imon_guc_variables(int *n)
{
#if PG_VERSION_NUM >= 160000
	return get_guc_variables(n);
#else
	*n = GetNumConfigOptions();
	return get_guc_variables();
#endif
}

/*
 * Wait event of the sampler between two ticks.  17 lets an extension name its
 * own; before, all share one.
 */
static inline uint32
imon_sampler_wait_event(void)
{
#if PG_VERSION_NUM >= 170000
	static uint32 event = 0;

	if (event == 0)
		event = WaitEventExtensionNew("InfraMonitorSampler");
	return event;
#else
	return PG_WAIT_EXTENSION;
#endif
}

/* 18 has dropped a parameter of ExecutorRun. */
#if PG_VERSION_NUM >= 180000
#define IMON_EXECUTOR_RUN_PARAMETERS \
	QueryDesc *queryDesc, ScanDirection direction, uint64 count
#define IMON_EXECUTOR_RUN_ARGUMENTS queryDesc, direction, count
#else
#define IMON_EXECUTOR_RUN_PARAMETERS \
	QueryDesc *queryDesc, ScanDirection direction, uint64 count, \
	bool execute_once
#define IMON_EXECUTOR_RUN_ARGUMENTS queryDesc, direction, count, execute_once
#endif

/* 19 has given the planner a parameter. */
#if PG_VERSION_NUM >= 190000
#define IMON_PLANNER_PARAMETERS \
	Query *parse, const char *query_string, int cursorOptions, \
	ParamListInfo boundParams, ExplainState *es
#define IMON_PLANNER_ARGUMENTS parse, query_string, cursorOptions, boundParams, es
#else
#define IMON_PLANNER_PARAMETERS \
	Query *parse, const char *query_string, int cursorOptions, \
	ParamListInfo boundParams
#define IMON_PLANNER_ARGUMENTS parse, query_string, cursorOptions, boundParams
#endif

/*
 * Is a statement nested that a function executes while another one is planned?
 * pg_stat_statements says so since 17.
 */
#define IMON_PLANNING_NESTS (PG_VERSION_NUM >= 170000)

/* 16 keeps what a query needs to be allowed apart from its range table. */
#if PG_VERSION_NUM >= 160000
#define IMON_CHECK_PERMS_PARAMETERS \
	List *rangeTable, List *rtePermInfos, bool ereport_on_violation
#define IMON_CHECK_PERMS_ARGUMENTS rangeTable, rtePermInfos, ereport_on_violation
#else
#define IMON_CHECK_PERMS_PARAMETERS List *rangeTable, bool ereport_on_violation
#define IMON_CHECK_PERMS_ARGUMENTS rangeTable, ereport_on_violation
#endif

/* 19 lets a hook behind the analysis only look at how it was jumbled. */
#if PG_VERSION_NUM >= 190000
#define IMON_JUMBLE_STATE	const JumbleState
#else
#define IMON_JUMBLE_STATE	JumbleState
#endif

/*
 * Which clock instr_times come from.  Since 19 a setting chooses it, and times by
 * one are nothing to the other.
 */
static inline int
imon_instr_clock(void)
{
#if PG_VERSION_NUM >= 190000
	return (int) pg_current_timing_clock_source();
#else
	return 0;
#endif
}

/* Nanoseconds of a duration. */
static inline uint64
imon_instr_time_ns(instr_time duration)
{
#if PG_VERSION_NUM >= 160000
	return (uint64) INSTR_TIME_GET_NANOSEC(duration);
#elif !defined(WIN32)
	return (uint64) duration.tv_sec * 1000000000 + duration.tv_nsec;
#else
	return (uint64) (INSTR_TIME_GET_DOUBLE(duration) * 1e9 + 0.5);
#endif
}

/*
 * Rows that a query has returned or changed.  Before 16, those of the last call
 * of ExecutorRun.
 */
static inline uint64
imon_rows_processed(const QueryDesc *desc)
{
#if PG_VERSION_NUM >= 160000
	return desc->estate->es_total_processed;
#else
	return desc->estate->es_processed;
#endif
}

/*
 * Instrumentation of a whole query, with all that pg_stat_statements wants:
 * who comes first makes it, and the others use it.  19 makes it itself in
 * ExecutorStart if it has been asked before; until then a hook makes it after
 * ExecutorStart, and returns false if there is no memory for it.  Call each of
 * these two at its time.
 */
static inline void
imon_before_executor_start(QueryDesc *desc)
{
#if PG_VERSION_NUM >= 190000
	desc->query_instr_options |= INSTRUMENT_ALL;
#endif
}

static inline bool
imon_after_executor_start(QueryDesc *desc)
{
#if PG_VERSION_NUM < 190000
	if (likely(desc->totaltime != NULL))
		return true;
	desc->totaltime = (Instrumentation *)
		MemoryContextAllocExtended(desc->estate->es_query_cxt,
								   sizeof(Instrumentation), MCXT_ALLOC_NO_OOM);
	if (desc->totaltime == NULL)
		return false;
	InstrInit(desc->totaltime, INSTRUMENT_ALL);
#endif
	return true;
}

/* The instrumentation of a whole query; NULL if it has none. */
static inline const Instrumentation *
imon_query_instrumentation(const QueryDesc *desc)
{
#if PG_VERSION_NUM >= 190000
	return desc->query_instr;
#else
	return desc->totaltime;
#endif
}

/*
 * The time that an instrumented query has taken so far, in nanoseconds, and
 * since when it runs, zero if it does not at the moment.  Before 19, what
 * InstrEndLoop() has not yet moved to the total is in the counter.
 */
static inline uint64
imon_query_time(const QueryDesc *desc, instr_time *running_since)
{
	const Instrumentation *instr = imon_query_instrumentation(desc);

	INSTR_TIME_SET_ZERO(*running_since);
	if (unlikely(instr == NULL))
		return 0;
	*running_since = instr->starttime;
#if PG_VERSION_NUM >= 190000
	return imon_instr_time_ns(instr->total);
#else
	if (likely(instr->total == 0))	/* spares a constant in memory */
		return imon_instr_time_ns(instr->counter);
	return (uint64) (int64) (instr->total * 1e9) + imon_instr_time_ns(instr->counter);
#endif
}

/* Do backslashes in a plain string escape something?  Not since 19. */
static inline bool
imon_strings_have_escapes(void)
{
#if PG_VERSION_NUM >= 190000
	return false;
#else
	return !standard_conforming_strings;
#endif
}

/*
 * Is this a utility command that pg_stat_statements counts as such?  It counts
 * DEALLOCATE since 17.
 */
static inline bool
imon_is_counted_utility(Node *command)
{
#if PG_VERSION_NUM < 170000
	if (IsA(command, DeallocateStmt))
		return false;
#endif
	return !IsA(command, ExecuteStmt) && !IsA(command, PrepareStmt);
}

/*
 * Has a file that is open for writing to itself, until it is closed: nobody else
 * has it open, and whoever opens it waits until then.  False if somebody has it
 * open, or if that is not known here.  Only of file systems is it known that
 * nobody reads past this system, as the hosts of others and overlays do, and
 * that overwrite in place, so that there is something to gain.
 */
static inline bool
imon_lease_file(int fd)
{
#ifdef __linux__
	struct statfs system;

	if (fstatfs(fd, &system) < 0)
		return false;
	switch ((uint32) system.f_type)
	{
		case 0xEF53:			/* ext4 */
		case 0x58465342:		/* XFS */
		case 0x01021994:		/* tmpfs */
			break;
		default:
			return false;
	}

	/* that somebody waits is said by a signal: not by SIGIO, which kills */
	return fcntl(fd, F_SETSIG, SIGURG) == 0 &&
		fcntl(fd, F_SETLEASE, F_WRLCK) == 0;
#else
	return false;
#endif
}

/* Exchanges the names of two files at one moment; false if that cannot be done. */
static inline bool
imon_exchange_files(const char *one, const char *other)
{
#if defined(__linux__) && defined(SYS_renameat2)
	/* the flag, RENAME_EXCHANGE, is missing in older headers */
	return syscall(SYS_renameat2, AT_FDCWD, one, AT_FDCWD, other, 2) == 0;
#else
	return false;
#endif
}

#endif							/* IMON_COMPAT_H */
