/*-------------------------------------------------------------------------
 *
 * activity.c
 *	  What the client backends are doing now.
 *
 * Wait events live in PGPROC, states in PgBackendStatus.  One pass over each
 * and both sorted by pid, joining them costs as much for each backend however
 * many there are; pg_stat_activity searches all PGPROCs for each backend.
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

#define SESSION_COLUMNS 16

typedef struct ImonWait
{
	int			pid;
	int			procno;
	uint32		event;			/* wait_event_info */
	TimestampTz lock_since;		/* 0 = not waiting for a heavyweight lock */
} ImonWait;

PG_FUNCTION_INFO_V1(imon_sessions_1_0);

/* Orders what begins with a pid. */
static int
compare_pids(const void *a, const void *b)
{
	int			pid_a = *(const int *) a;
	int			pid_b = *(const int *) b;

	return (pid_a > pid_b) - (pid_a < pid_b);
}

/*
 * Sorts keys by their upper halves, pids; lower halves are what the caller
 * wants to find there.  Returns the one of the two arrays in which the result
 * is.  Digit by digit: with a thousand backends, comparing them took longer
 * than all the rest of a look.
 */
static uint64 *
sort_by_pid(uint64 *keys, uint64 *spare, int count)
{
	uint64		all = 0;

	for (int i = 0; i < count; i++)
		all |= keys[i];
	for (int shift = 32; shift < 64 && (all >> shift) != 0; shift += 8)
	{
		int			places[256] = {0};
		int			place = 0;
		uint64	   *sorted = spare;

		for (int i = 0; i < count; i++)
			places[(keys[i] >> shift) & 0xFF]++;
		for (int digit = 0; digit < lengthof(places); digit++)
		{
			int			n = places[digit];

			places[digit] = place;
			place += n;
		}
		for (int i = 0; i < count; i++)
			sorted[places[(keys[i] >> shift) & 0xFF]++] = keys[i];
		spare = keys;
		keys = sorted;
	}
	return keys;
}

/* A key for sort_by_pid, and what it leads to. */
static inline uint64
pid_key(int pid, int index)
{
	return ((uint64) (uint32) pid << 32) | (uint32) index;
}

static inline int
key_index(uint64 key)
{
	return (int) (key & 0xFFFFFFFF);
}

/*
 * What all processes wait for now, sorted by pid.  Returns their number.
 */
static int
collect_waits(ImonWait **waits)
{
	int			count = 0;
	int			size = ProcGlobal->allProcCount;
	ImonWait   *found = palloc(sizeof(ImonWait) * size);
	uint64	   *keys = palloc(sizeof(uint64) * size * 2);
	uint64	   *sorted;

	for (int i = 0; i < size; i++)
	{
		PGPROC	   *proc = &ProcGlobal->allProcs[i];
		int			pid = proc->procLatch.owner_pid;
		uint32		event = *(volatile uint32 *) &proc->wait_event_info;
		ImonWait   *wait = &found[count];

		if (pid == 0)
			continue;
		wait->pid = pid;
		wait->procno = i;
		wait->event = event;
		wait->lock_since = 0;
		if ((event & 0xFF000000) == PG_WAIT_LOCK)
			wait->lock_since =
				(TimestampTz) pg_atomic_read_u64(&proc->waitStart);
		keys[count] = pid_key(pid, count);
		count++;
	}

	sorted = sort_by_pid(keys, keys + size, count);
	*waits = palloc(sizeof(ImonWait) * Max(count, 1));
	for (int i = 0; i < count; i++)
		(*waits)[i] = found[key_index(sorted[i])];
	pfree(keys);
	pfree(found);
	return count;
}

/*
 * The entries of the caller's snapshot of backend states, as keys sorted by
 * pid that lead to their numbers.  Returns how many there are.
 */
static int
collect_backends(uint64 **backends)
{
	int			n = pgstat_fetch_stat_numbackends();
	int			count = 0;
	uint64	   *keys = palloc(sizeof(uint64) * Max(n, 1) * 2);

	for (int i = 1; i <= n; i++)
	{
		const LocalPgBackendStatus *entry = imon_backend_status(i);

		if (entry != NULL && entry->backendStatus.st_procpid != 0)
			keys[count++] = pid_key(entry->backendStatus.st_procpid, i);
	}
	*backends = sort_by_pid(keys, keys + n, count);
	return count;
}

void
imon_look_at_sessions(ImonSessions *sessions)
{
	uint64	   *backends;
	int			n_backends = collect_backends(&backends);
	ImonWait   *waits;
	int			n_waits = collect_waits(&waits);
	int			w = 0;

	sessions->at = GetCurrentTimestamp();
	sessions->count = n_backends;
	sessions->sessions = palloc0(sizeof(ImonSession) * Max(n_backends, 1));
	for (int i = 0; i < n_backends; i++)
	{
		const LocalPgBackendStatus *entry =
			imon_backend_status(key_index(backends[i]));
		ImonSession *session = &sessions->sessions[i];

		session->status = &entry->backendStatus;
		session->pid = session->status->st_procpid;
		session->is_client = session->status->st_backendType == B_BACKEND;

		session->procno = -1;

		/* both are in order */
		while (w < n_waits && waits[w].pid < session->pid)
			w++;
		if (w < n_waits && waits[w].pid == session->pid)
		{
			session->procno = waits[w].procno;
			session->wait_event = waits[w].event;
			session->lock_since = waits[w].lock_since;
		}
	}
	pfree(waits);
}

const ImonSession *
imon_find_session(const ImonSessions *sessions, int pid)
{
	return bsearch(&pid, sessions->sessions, sessions->count,
				   sizeof(ImonSession), compare_pids);
}

bool
imon_waits_for_lock(const ImonSession *session)
{
	return (session->wait_event & 0xFF000000) == PG_WAIT_LOCK;
}

/* Moves *oldest back to "since" if that is known and earlier. */
static void
keep_oldest(TimestampTz *oldest, TimestampTz since)
{
	if (since != 0 && (*oldest == 0 || since < *oldest))
		*oldest = since;
}

/* Adds one session to the counts. */
static void
count_session(ImonActivity *activity, const ImonSession *session)
{
	const PgBackendStatus *status = session->status;

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
			if (imon_waits_for_lock(session))
			{
				activity->waiting++;
				keep_oldest(&activity->oldest_lock_wait, session->lock_since);
			}
			break;
		default:
			break;
	}
}

void
imon_count_activity(const ImonSessions *sessions, ImonActivity *activity)
{
	memset(activity, 0, sizeof(ImonActivity));
	for (int i = 0; i < sessions->count; i++)
		if (sessions->sessions[i].is_client)
			count_session(activity, &sessions->sessions[i]);
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
put_session(ReturnSetInfo *rsinfo, const ImonSession *session)
{
	const PgBackendStatus *status = session->status;
	bool		visible = imon_may_see_role(status->st_userid);
	uint32		event = session->wait_event;
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
	values[i] = ObjectIdGetDatum(status->st_databaseid);
	nulls[i++] = !OidIsValid(status->st_databaseid);
	values[i] = ObjectIdGetDatum(status->st_userid);
	nulls[i++] = !OidIsValid(status->st_userid);

	Assert(i == lengthof(values));
	imon_put_row(rsinfo, values, nulls);
}

/*
 * SQL: sessions, one row for each client backend: pid, datname, usename,
 * application_name, client_addr, backend_start, xact_start, query_start,
 * state_change, state, wait_event_type, wait_event, queryid, query, datid,
 * usesysid.
 */
Datum
imon_sessions_1_0(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = imon_begin_rows(fcinfo, SESSION_COLUMNS);
	ImonSessions sessions;

	imon_look_at_sessions(&sessions);
	for (int i = 0; i < sessions.count; i++)
		if (sessions.sessions[i].is_client)
			put_session(rsinfo, &sessions.sessions[i]);
	return (Datum) 0;
}
