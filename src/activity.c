/*-------------------------------------------------------------------------
 *
 * activity.c
 *	  What the client backends are doing now.
 *
 * Wait events live in PGPROC, states in PgBackendStatus.  One pass over the
 * PGPROCs gives a table of the backends that wait, sorted by pid, so that
 * joining the two costs n log n; pg_stat_activity searches all PGPROCs for
 * each backend.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "activity.h"
#include "commands/dbcommands.h"
#include "compat.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "privileges.h"
#include "rows.h"
#include "storage/proc.h"
#include "texts.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#define SESSION_COLUMNS 14

typedef struct ImonWait
{
	int			pid;
	uint32		event;			/* wait_event_info */
	TimestampTz lock_since;		/* 0 = not waiting for a heavyweight lock */
} ImonWait;

typedef struct ImonWaits
{
	int			count;
	ImonWait   *waits;			/* sorted by pid */
} ImonWaits;

PG_FUNCTION_INFO_V1(imon_sessions_1_0);

static int
compare_waits(const void *a, const void *b)
{
	int			pid_a = ((const ImonWait *) a)->pid;
	int			pid_b = ((const ImonWait *) b)->pid;

	return (pid_a > pid_b) - (pid_a < pid_b);
}

/* All regular backends that wait for something now. */
static void
collect_waits(ImonWaits *result)
{
	result->count = 0;
	result->waits = palloc(sizeof(ImonWait) * MaxConnections);

	for (int i = 0; i < MaxConnections; i++)
	{
		PGPROC	   *proc = &ProcGlobal->allProcs[i];
		int			pid = proc->procLatch.owner_pid;
		uint32		event = *(volatile uint32 *) &proc->wait_event_info;
		ImonWait   *wait = &result->waits[result->count];

		if (pid == 0 || event == 0)
			continue;
		wait->pid = pid;
		wait->event = event;
		wait->lock_since = 0;
		if ((event & 0xFF000000) == PG_WAIT_LOCK)
			wait->lock_since =
				(TimestampTz) pg_atomic_read_u64(&proc->waitStart);
		result->count++;
	}
	qsort(result->waits, result->count, sizeof(ImonWait), compare_waits);
}

/* What this backend waits for, or NULL. */
static const ImonWait *
find_wait(const ImonWaits *waits, int pid)
{
	ImonWait	key = {.pid = pid};

	return bsearch(&key, waits->waits, waits->count, sizeof(ImonWait),
				   compare_waits);
}

/* The state of client backend "index" (from 1), or NULL if it is another. */
static const LocalPgBackendStatus *
client_backend(int index)
{
	const LocalPgBackendStatus *entry = imon_backend_status(index);

	if (entry == NULL || entry->backendStatus.st_procpid == 0 ||
		entry->backendStatus.st_backendType != B_BACKEND)
		return NULL;
	return entry;
}

/* Moves *oldest back to "since" if that is known and earlier. */
static void
keep_oldest(TimestampTz *oldest, TimestampTz since)
{
	if (since != 0 && (*oldest == 0 || since < *oldest))
		*oldest = since;
}

/* Adds one backend to the counts. */
static void
count_backend(ImonActivity *activity, const PgBackendStatus *status,
			  const ImonWaits *waits)
{
	const ImonWait *wait;

	keep_oldest(&activity->oldest_transaction, status->st_xact_start_timestamp);

	switch (status->st_state)
	{
		case STATE_IDLE:
			activity->idle++;
			break;
		case STATE_IDLEINTRANSACTION:
		case STATE_IDLEINTRANSACTION_ABORTED:
			activity->idle_in_transaction++;
			keep_oldest(&activity->oldest_idle_in_transaction,
						status->st_state_start_timestamp);
			break;
		case STATE_RUNNING:
			activity->active++;
			wait = find_wait(waits, status->st_procpid);
			if (wait && (wait->event & 0xFF000000) == PG_WAIT_LOCK)
			{
				activity->waiting++;
				keep_oldest(&activity->oldest_lock_wait, wait->lock_since);
			}
			break;
		default:
			break;
	}
}

void
imon_count_activity(ImonActivity *activity)
{
	int			n = pgstat_fetch_stat_numbackends();
	ImonWaits	waits;

	memset(activity, 0, sizeof(ImonActivity));
	collect_waits(&waits);
	for (int i = 1; i <= n; i++)
	{
		const LocalPgBackendStatus *entry = client_backend(i);

		if (entry)
			count_backend(activity, &entry->backendStatus, &waits);
	}
	pfree(waits.waits);
}

const char *
imon_state_name(BackendState state)
{
	switch (state)
	{
		case STATE_IDLE:
			return "idle";
		case STATE_RUNNING:
			return "active";
		case STATE_IDLEINTRANSACTION:
			return "idle in transaction";
		case STATE_FASTPATH:
			return "fastpath function call";
		case STATE_IDLEINTRANSACTION_ABORTED:
			return "idle in transaction (aborted)";
		case STATE_DISABLED:
			return "disabled";
		default:
			return NULL;
	}
}

/* Puts one session into the result, as far as the caller may see it. */
static void
put_session(ReturnSetInfo *rsinfo, const PgBackendStatus *status,
			const ImonWaits *waits)
{
	bool		visible = imon_may_see_role(status->st_userid);
	const ImonWait *wait = find_wait(waits, status->st_procpid);
	uint32		event = wait ? wait->event : 0;
	Datum		values[SESSION_COLUMNS];
	bool		nulls[SESSION_COLUMNS] = {false};
	int			i = 0;

	values[i++] = Int32GetDatum(status->st_procpid);
	values[i] = imon_name_datum(get_database_name(status->st_databaseid), &nulls[i]);
	i++;
	values[i] = imon_name_datum(GetUserNameFromId(status->st_userid, true), &nulls[i]);
	i++;
	values[i++] = visible ? imon_text_datum(status->st_appname)
		: CStringGetTextDatum(IMON_HIDDEN_TEXT);
	nulls[i] = true;
	if (visible)
		values[i] = imon_client_addr_datum(&status->st_clientaddr, &nulls[i]);
	i++;
	values[i] = imon_moment_datum(status->st_proc_start_timestamp, &nulls[i]);
	i++;
	values[i] = imon_moment_datum(status->st_xact_start_timestamp, &nulls[i]);
	i++;
	values[i] = imon_moment_datum(status->st_activity_start_timestamp, &nulls[i]);
	i++;
	values[i] = imon_moment_datum(status->st_state_start_timestamp, &nulls[i]);
	i++;
	values[i] = imon_string_datum(imon_state_name(status->st_state), &nulls[i]);
	i++;
	values[i] = imon_string_datum(pgstat_get_wait_event_type(event), &nulls[i]);
	i++;
	values[i] = imon_string_datum(pgstat_get_wait_event(event), &nulls[i]);
	i++;
	values[i] = UInt64GetDatum(status->st_query_id);
	nulls[i++] = (status->st_query_id == 0 || !visible);
	values[i++] = visible ?
		imon_query_datum(pgstat_clip_activity(status->st_activity_raw))
		: CStringGetTextDatum(IMON_HIDDEN_TEXT);

	Assert(i == lengthof(values));
	imon_put_row(rsinfo, values, nulls);
}

/*
 * SQL: sessions, one row for each client backend: pid, datname, usename,
 * application_name, client_addr, backend_start, xact_start, query_start,
 * state_change, state, wait_event_type, wait_event, queryid, query.
 */
Datum
imon_sessions_1_0(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo;
	int			n = pgstat_fetch_stat_numbackends();
	ImonWaits	waits;

	rsinfo = imon_begin_rows(fcinfo, SESSION_COLUMNS);
	collect_waits(&waits);
	for (int i = 1; i <= n; i++)
	{
		const LocalPgBackendStatus *entry = client_backend(i);

		if (entry)
			put_session(rsinfo, &entry->backendStatus, &waits);
	}
	return (Datum) 0;
}
