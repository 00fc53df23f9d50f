/*-------------------------------------------------------------------------
 *
 * home_database.c
 *	  Who of us is connected to a database, and who wants it alone.
 *
 * Shared state is atomic; waiting is on a condition variable, with a limit.
 * A command that could not make the sampler leave in time goes on all the
 * same, and PostgreSQL then says what it always says about other sessions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "compat.h"
#include "guc.h"
#include "home_database.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "port/atomics.h"
#include "shmem.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "tcop/utility.h"
#include "transactions.h"
#include "utils/acl.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#define ASK_MS 500				/* then the sampler is told to terminate */
#define WAIT_MS 3000			/* then the command goes on regardless */

typedef struct ImonHome
{
	pg_atomic_uint32 sampler_pid;	/* 0 = not running */
	pg_atomic_uint32 sampler_procno;
	pg_atomic_uint32 database;	/* the sampler is connected to it, or 0 */
	pg_atomic_uint32 holders;	/* commands that want it to stay away */
	pg_atomic_uint32 changes;
	pg_atomic_uint32 databases_dropped;
	ConditionVariable left;		/* somebody has left a database */

	/* the worker that visits one database after the other */
	pg_atomic_uint32 visited;	/* database that it goes to, or 0 */
	pg_atomic_uint32 visitor_pid;	/* 0 = not running */
	pg_atomic_uint32 cut_short; /* 1 = the visit was */
	pg_atomic_uint32 closers;	/* commands that want no visits */
} ImonHome;

static ImonHome *home = NULL;

/* This process is one of the holders. */
static bool holding = false;

/* This process is one of the closers. */
static bool closing = false;

/* What this transaction has to tell the sampler when it commits. */
static bool change_pending = false;
static bool drop_pending = false;

static ProcessUtility_hook_type prev_ProcessUtility = NULL;

static Size
home_size(void)
{
	return sizeof(ImonHome);
}

static void
home_init(void *part, LWLock *lock)
{
	ImonHome   *shared = (ImonHome *) part;

	pg_atomic_init_u32(&shared->sampler_pid, 0);
	pg_atomic_init_u32(&shared->sampler_procno, 0);
	pg_atomic_init_u32(&shared->database, InvalidOid);
	pg_atomic_init_u32(&shared->holders, 0);
	pg_atomic_init_u32(&shared->changes, 0);
	pg_atomic_init_u32(&shared->databases_dropped, 0);
	pg_atomic_init_u32(&shared->visited, InvalidOid);
	pg_atomic_init_u32(&shared->visitor_pid, 0);
	pg_atomic_init_u32(&shared->cut_short, 0);
	pg_atomic_init_u32(&shared->closers, 0);
	ConditionVariableInit(&shared->left);
}

static const ImonShmemPart home_part = {
	.name = "infra_monitor home database",
	.size = home_size,
	.init = home_init,
	.address = (void **) &home
};

/* Wakes the sampler; a latch of some other process does no harm. */
static void
wake_sampler(void)
{
	if (pg_atomic_read_u32(&home->sampler_pid) != 0)
		SetLatch(&ProcGlobal->allProcs[pg_atomic_read_u32(&home->sampler_procno)].procLatch);
}

/* Exit callback of the sampler; runs after it has left its database. */
static void
sampler_leaves(int code, Datum arg)
{
	pg_atomic_write_u32(&home->database, InvalidOid);
	pg_atomic_write_u32(&home->sampler_pid, 0);
	ConditionVariableBroadcast(&home->left);
}

void
imon_home_enter(void)
{
	pg_atomic_write_u32(&home->sampler_procno, (uint32) imon_my_proc_number());
	pg_atomic_write_u32(&home->sampler_pid, (uint32) MyProcPid);
	on_shmem_exit(sampler_leaves, (Datum) 0);
}

void
imon_home_connected(Oid database)
{
	pg_atomic_write_u32(&home->database, database);
}

bool
imon_home_wanted(void)
{
	return pg_atomic_read_u32(&home->holders) > 0;
}

uint32
imon_home_changes(void)
{
	return pg_atomic_read_u32(&home->changes);
}

uint32
imon_home_databases_dropped(void)
{
	return pg_atomic_read_u32(&home->databases_dropped);
}

int
imon_home_sampler_pid(void)
{
	return (int) pg_atomic_read_u32(&home->sampler_pid);
}

/*
 * Keeps the sampler away from the home database until the transaction ends,
 * and waits, at most WAIT_MS, until it has left.
 */
static void
hold_home(void)
{
	TimestampTz start = GetCurrentTimestamp();
	bool		told = false;

	holding = true;
	imon_awaits |= IMON_AWAITS_HOME;
	pg_atomic_fetch_add_u32(&home->holders, 1);
	wake_sampler();

	ConditionVariablePrepareToSleep(&home->left);
	while (pg_atomic_read_u32(&home->database) != InvalidOid)
	{
		TimestampTz now = GetCurrentTimestamp();
		int			pid = imon_home_sampler_pid();

		if (TimestampDifferenceExceeds(start, now, WAIT_MS))
			break;
		if (!told && pid > 0 && TimestampDifferenceExceeds(start, now, ASK_MS))
		{
			kill(pid, SIGTERM);
			told = true;
		}
		ConditionVariableTimedSleep(&home->left, ASK_MS / 5, PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
}

/*
 * Visits.  Who announces one, and who wants none, each says so before looking
 * at what the other has said.
 */

bool
imon_announce_visit(Oid database)
{
	pg_atomic_write_u32(&home->cut_short, 0);
	pg_atomic_exchange_u32(&home->visited, database);
	if (pg_atomic_fetch_add_u32(&home->closers, 0) == 0)
		return true;
	imon_forget_visit();
	return false;
}

Oid
imon_visited_database(void)
{
	return pg_atomic_read_u32(&home->visited);
}

int
imon_visitor_pid(void)
{
	return (int) pg_atomic_read_u32(&home->visitor_pid);
}

void
imon_forget_visit(void)
{
	pg_atomic_write_u32(&home->visited, InvalidOid);
	ConditionVariableBroadcast(&home->left);
}

/* Exit callback of the visitor; runs after it has left the database. */
static void
visitor_leaves(int code, Datum arg)
{
	pg_atomic_write_u32(&home->visitor_pid, 0);
	imon_forget_visit();
}

bool
imon_begin_visit(Oid database)
{
	uint32		nobody = 0;

	if (pg_atomic_read_u32(&home->visited) != database ||
		!pg_atomic_compare_exchange_u32(&home->visitor_pid, &nobody,
										(uint32) MyProcPid))
		return false;
	on_shmem_exit(visitor_leaves, (Datum) 0);
	if (pg_atomic_fetch_add_u32(&home->closers, 0) == 0)
		return true;
	imon_cut_visit_short();
	return false;
}

void
imon_cut_visit_short(void)
{
	pg_atomic_write_u32(&home->cut_short, 1);
}

bool
imon_visit_was_cut_short(void)
{
	return pg_atomic_read_u32(&home->cut_short) != 0;
}

/*
 * Keeps visitors away from all databases until the transaction ends, and waits,
 * at most WAIT_MS, until this one is not being visited.
 */
static void
stop_visits(const char *name)
{
	Oid			database = get_database_oid(name, true);
	TimestampTz start = GetCurrentTimestamp();
	int			told = 0;

	closing = true;
	imon_awaits |= IMON_AWAITS_HOME;
	pg_atomic_fetch_add_u32(&home->closers, 1);
	if (pg_atomic_read_u32(&home->visited) != database || !OidIsValid(database))
		return;

	ConditionVariablePrepareToSleep(&home->left);
	while (pg_atomic_read_u32(&home->visited) == database &&
		   !TimestampDifferenceExceeds(start, GetCurrentTimestamp(), WAIT_MS))
	{
		int			pid = imon_visitor_pid();

		if (pid != told && pid > 0)
		{
			kill(pid, SIGTERM);
			told = pid;
		}
		ConditionVariableTimedSleep(&home->left, ASK_MS / 10, PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
}

/* Is this the database of the sampler, connected or about to be? */
static bool
is_home(const char *name)
{
	Oid			database;

	if (name == NULL)
		return false;
	if (strcmp(name, imon_database) == 0)
		return true;
	database = get_database_oid(name, true);
	return OidIsValid(database) &&
		database == pg_atomic_read_u32(&home->database);
}

/* May the caller drop, rename or move this database? */
static bool
may_change(const char *name)
{
	Oid			database = get_database_oid(name, true);

	return OidIsValid(database) && imon_owns_database(database, GetUserId());
}

/* May the caller create databases? */
static bool
may_create(void)
{
	bool		result = false;
	HeapTuple	tuple;

	if (superuser())
		return true;
	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	if (HeapTupleIsValid(tuple))
	{
		result = ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
		ReleaseSysCache(tuple);
	}
	return result;
}

/* May everybody who creates databases copy this one? */
static bool
is_template(const char *name)
{
	Oid			database = get_database_oid(name, true);
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	bool		result = false;

	if (HeapTupleIsValid(tuple))
	{
		result = ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;
		ReleaseSysCache(tuple);
	}
	return result;
}

/* Value of an option in the list, as a string; NULL if it is not there. */
static const char *
option_value(List *options, const char *name)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *option = (DefElem *) lfirst(cell);

		if (strcmp(option->defname, name) == 0 && option->arg != NULL)
			return defGetString(option);
	}
	return NULL;
}

/*
 * The database that this command needs without other sessions; NULL if there is
 * none, or the caller may not do it.  (Else anybody could keep us away.)
 */
static const char *
wanted_database(Node *command)
{
	const char *name = NULL;

	switch (nodeTag(command))
	{
		case T_DropdbStmt:
			name = ((DropdbStmt *) command)->dbname;
			break;
		case T_RenameStmt:
			if (((RenameStmt *) command)->renameType == OBJECT_DATABASE)
				name = ((RenameStmt *) command)->subname;
			break;
		case T_AlterDatabaseStmt:
			if (option_value(((AlterDatabaseStmt *) command)->options, "tablespace"))
				name = ((AlterDatabaseStmt *) command)->dbname;
			break;
		case T_CreatedbStmt:
			name = option_value(((CreatedbStmt *) command)->options, "template");
			name = name ? name : "template1";
			return may_create() && (is_template(name) || may_change(name)) ?
				name : NULL;
		default:
			return NULL;
	}
	return name != NULL && may_change(name) ? name : NULL;
}

/* Could this command end what the sampler waits for? */
static bool
changes_home(Node *command)
{
	switch (nodeTag(command))
	{
		case T_CreatedbStmt:
		case T_AlterDatabaseStmt:
		case T_CreateExtensionStmt:
		case T_AlterExtensionStmt:
			return true;
		case T_RenameStmt:
			return ((RenameStmt *) command)->renameType == OBJECT_DATABASE;
		default:
			return false;
	}
}

/*
 * Transaction callback: lets the sampler come again, and tells it what has
 * become true.  A FATAL comes by here too, as an abort.
 */
static void
transaction_ends(XactEvent event)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT &&
		event != XACT_EVENT_PREPARE)
		return;

	if (change_pending && event == XACT_EVENT_COMMIT)
		pg_atomic_fetch_add_u32(&home->changes, 1);
	if (drop_pending && event == XACT_EVENT_COMMIT)
		pg_atomic_fetch_add_u32(&home->databases_dropped, 1);
	if (holding)
		pg_atomic_fetch_sub_u32(&home->holders, 1);
	if (closing)
		pg_atomic_fetch_sub_u32(&home->closers, 1);
	closing = false;
	drop_pending = false;
	change_pending = false;
	holding = false;
	imon_awaits &= ~IMON_AWAITS_HOME;
	wake_sampler();
}

/*
 * Utility hook.  "pstmt" must not be touched after the call down, which may
 * free it.
 */
static void
imon_ProcessUtility(PlannedStmt *pstmt, const char *queryString,
					bool readOnlyTree, ProcessUtilityContext context,
					ParamListInfo params, QueryEnvironment *queryEnv,
					DestReceiver *dest, QueryCompletion *qc)
{
	bool		active = imon_enabled && home != NULL;
	bool		drops = home != NULL && IsA(pstmt->utilityStmt, DropdbStmt);
	bool		changes = active && changes_home(pstmt->utilityStmt);
	const char *wanted = active ? wanted_database(pstmt->utilityStmt) : NULL;

	if (wanted && !closing)
		stop_visits(wanted);
	if (wanted && !holding && is_home(wanted))
		hold_home();

	if (prev_ProcessUtility)
		prev_ProcessUtility(pstmt, queryString, readOnlyTree, context,
							params, queryEnv, dest, qc);
	else
		standard_ProcessUtility(pstmt, queryString, readOnlyTree, context,
								params, queryEnv, dest, qc);

	if (drops || changes)
		imon_awaits |= IMON_AWAITS_HOME;
	if (drops)
	{
		/* and again at the commit: a reading in between is like neither */
		pg_atomic_fetch_add_u32(&home->databases_dropped, 1);
		drop_pending = true;
	}
	if (changes)
		change_pending = true;
}

void
imon_home_database_init(void)
{
	imon_shmem_register(&home_part);
	imon_await_transactions(IMON_AWAITS_HOME, transaction_ends);
	prev_ProcessUtility = ProcessUtility_hook;
	ProcessUtility_hook = imon_ProcessUtility;
}
