/*-------------------------------------------------------------------------
 *
 * postgres_exporter_activity.c
 *	  The dialect "postgres_exporter" of metrics: sessions, transactions, locks.
 *
 * As there, each database has all states of sessions and all modes of locks,
 * also where there are none; and the session that asks is not counted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "miscadmin.h"
#include "postgres_exporter.h"
#include "postmaster/bgworker.h"
#include "storage/lock.h"
#include "storage/predicate_internals.h"
#include "utils/timestamp.h"

#define N_LOCK_MODES (AccessExclusiveLock + 1)	/* the last: SIReadLock */

static const BackendState states[] = {
	STATE_RUNNING, STATE_IDLE, STATE_IDLEINTRANSACTION,
	STATE_IDLEINTRANSACTION_ABORTED, STATE_FASTPATH, STATE_DISABLED
};

static const char *const lock_modes[N_LOCK_MODES] = {
	"accesssharelock", "rowsharelock", "rowexclusivelock",
	"shareupdateexclusivelock", "sharelock", "sharerowexclusivelock",
	"exclusivelock", "accessexclusivelock", "sireadlock"
};

/* Sessions with the same labels. */
typedef struct ImonSessionGroup
{
	int			place;			/* of the database */
	int			state;			/* in "states" */
	Oid			role;
	const char *application;
	const char *backend_type;
	uint32		wait_event;
	bool		is_other;		/* stands for all groups without labels */
	int			count;
	double		longest;		/* transaction, seconds */
} ImonSessionGroup;

typedef struct ImonSessionGroups
{
	bool		in_detail;		/* by more than database and state */
	int			n;
	ImonSessionGroup groups[IMON_EXPORTER_GROUPS];
	ImonSessionGroup others[lengthof(states)];	/* by state */
} ImonSessionGroups;

/* The place of a state in "states", or -1. */
static int
state_place(BackendState state)
{
	for (int i = 0; i < lengthof(states); i++)
		if (states[i] == state)
			return i;
	return -1;
}

/* The type of a backend as pg_stat_activity has it. */
static const char *
backend_type(const PgBackendStatus *status)
{
	const char *type = NULL;

	if (status->st_backendType == B_BG_WORKER)
		type = GetBackgroundWorkerTypeByPid(status->st_procpid);
	return pstrdup(type ? type : GetBackendTypeDesc(status->st_backendType));
}

static inline bool
same_group(const ImonSessionGroup *a, const ImonSessionGroup *b)
{
	return a->place == b->place && a->state == b->state && a->role == b->role &&
		a->wait_event == b->wait_event &&
		strcmp(a->application, b->application) == 0 &&
		strcmp(a->backend_type, b->backend_type) == 0;
}

/* The group that this one is, a new one, or that of all others. */
static ImonSessionGroup *
find_group(ImonSessionGroups *groups, const ImonSessionGroup *key)
{
	for (int i = 0; i < groups->n; i++)
		if (same_group(&groups->groups[i], key))
			return &groups->groups[i];
	if (groups->n == IMON_EXPORTER_GROUPS)
		return &groups->others[key->state];
	groups->groups[groups->n] = *key;
	return &groups->groups[groups->n++];
}

/* How long the transaction of a session has lasted, in seconds; 0: none. */
static double
transaction_age(const PgBackendStatus *status, TimestampTz now)
{
	TimestampTz since = status->st_xact_start_timestamp;

	return since == 0 ? 0 : (double) Max(now - since, 0) / USECS_PER_SEC;
}

static void
group_sessions(const ImonSessions *sessions,
			   const ImonExportedDatabases *databases, ImonSessionGroups *groups)
{
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < lengthof(states); i++)
	{
		groups->others[i].place = databases->n_labels;
		groups->others[i].state = i;
		groups->others[i].is_other = true;
	}
	for (int i = 0; i < sessions->count; i++)
	{
		const ImonSession *session = &sessions->sessions[i];
		const PgBackendStatus *status = session->status;
		ImonSessionGroup key = {0};
		ImonSessionGroup *group;

		key.application = key.backend_type = "";
		key.place = imon_exported_place(databases, status->st_databaseid);
		key.state = state_place(status->st_state);
		if (key.place < 0 || key.state < 0 || session->pid == MyProcPid)
			continue;
		if (groups->in_detail)
		{
			key.role = status->st_userid;
			key.application = imon_text_label(status->st_appname);
			key.backend_type = backend_type(status);
			key.wait_event = session->wait_event;
		}
		group = find_group(groups, &key);
		group->count++;
		group->longest = Max(group->longest, transaction_age(status, now));
	}
}

/* A label that may have no value. */
static void
add_text(ImonLabels *labels, const char *name, const char *value)
{
	imon_add_label(labels, name, value ? value : "");
}

/* Labels of a database and a state. */
static ImonLabels
state_labels(const ImonExportedDatabases *databases, int place, int state)
{
	ImonLabels	labels = imon_label("datname", imon_exported_label(databases, place));

	imon_add_label(&labels, "state", imon_state_name(states[state]));
	return labels;
}

static ImonLabels
group_labels(const ImonSessionGroups *groups,
			 const ImonExportedDatabases *databases,
			 const ImonSessionGroup *group)
{
	ImonLabels	labels = state_labels(databases, group->place, group->state);
	const char *other = group->is_other ? IMON_OTHER_LABEL : NULL;

	if (group->is_other)
		labels.values[0] = other;
	if (!groups->in_detail)
		return labels;
	add_text(&labels, "usename", other ? other : imon_role_label(group->role));
	add_text(&labels, "application_name", other ? other : group->application);
	add_text(&labels, "backend_type", other ? other : group->backend_type);
	add_text(&labels, "wait_event_type",
			 other ? other : pgstat_get_wait_event_type(group->wait_event));
	add_text(&labels, "wait_event",
			 other ? other : pgstat_get_wait_event(group->wait_event));
	return labels;
}

/* One of the two families of sessions. */
static void
put_groups(ImonExposition *exposition, const ImonSessionGroups *groups,
		   const ImonExportedDatabases *databases, const bool *seen, bool count)
{
	for (int i = 0; i < groups->n + lengthof(states); i++)
	{
		const ImonSessionGroup *group = i < groups->n ? &groups->groups[i] :
			&groups->others[i - groups->n];
		ImonLabels	labels = group_labels(groups, databases, group);

		if (group->count > 0)
			imon_put_number(exposition, &labels, count ? group->count : group->longest);
	}
	for (int place = 0; place < databases->n_labels; place++)
		for (int state = 0; state < lengthof(states); state++)
		{
			ImonLabels	labels = state_labels(databases, place, state);

			if (!seen[place * lengthof(states) + state])
				imon_put_number(exposition, &labels, 0);
		}
}

static void
export_sessions(ImonExposition *exposition,
				const ImonExportedDatabases *databases)
{
	ImonSessionGroups *groups = palloc0(sizeof(ImonSessionGroups));
	bool	   *seen = palloc0((databases->n_labels + 1) * lengthof(states));

	groups->in_detail = imon_sees_all(exposition);
	group_sessions(imon_exposed_sessions(exposition), databases, groups);
	for (int i = 0; i < groups->n; i++)
		seen[groups->groups[i].place * lengthof(states) + groups->groups[i].state] = true;

	imon_family(exposition, "stat_activity_count", IMON_UNTYPED,
				"Sessions with these labels.");
	put_groups(exposition, groups, databases, seen, true);
	imon_family(exposition, "stat_activity_max_tx_duration", IMON_GAUGE,
				"Age of the oldest transaction of these sessions, in seconds; 0 if there is none.");
	put_groups(exposition, groups, databases, seen, false);
}

/* Transactions that are open now; the name asks for no minimum. */
static void
export_transactions(ImonExposition *exposition)
{
	const ImonSessions *sessions = imon_exposed_sessions(exposition);
	TimestampTz now = GetCurrentTimestamp();
	int			count = 0;
	double		oldest = 0;

	for (int i = 0; i < sessions->count; i++)
	{
		const PgBackendStatus *status = sessions->sessions[i].status;

		if (status->st_xact_start_timestamp == 0 || status->st_state == STATE_IDLE ||
			status->st_backendType == B_AUTOVAC_WORKER ||
			sessions->sessions[i].pid == MyProcPid)
			continue;
		count++;
		oldest = Max(oldest, transaction_age(status, now));
	}
	imon_family(exposition, "long_running_transactions", IMON_GAUGE,
				"Transactions that are open now, other than those of autovacuum.");
	imon_put_number(exposition, NULL, count);
	imon_family(exposition, "long_running_transactions_oldest_timestamp_seconds", IMON_GAUGE,
				"Age of the oldest of these, whatever the name says; 0 if there is none.");
	imon_put_number(exposition, NULL, oldest);
}

/* The database that a lock belongs to; InvalidOid: to none. */
static Oid
lock_database(const LOCKTAG *tag)
{
	switch ((LockTagType) tag->locktag_type)
	{
		case LOCKTAG_TRANSACTION:
		case LOCKTAG_VIRTUALTRANSACTION:
			return InvalidOid;
		default:
			return tag->locktag_field1;
	}
}

/* Counts a lock. */
static void
count_lock(const ImonExportedDatabases *databases, int *counts, Oid database,
		   int mode)
{
	int			place = imon_exported_place(databases, database);

	if (place >= 0 && mode >= 0 && mode < N_LOCK_MODES)
		counts[place * N_LOCK_MODES + mode]++;
}

/* Counts all locks by database and mode: those held, and those awaited. */
static void
count_locks(const ImonExportedDatabases *databases, int *counts)
{
	LockData   *locks = GetLockStatusData();
	PredicateLockData *predicates = GetPredicateLockStatusData();

	for (int i = 0; i < locks->nelements; i++)
	{
		const LockInstanceData *lock = &locks->locks[i];
		Oid			database = lock_database(&lock->locktag);

		for (int mode = AccessShareLock; mode <= AccessExclusiveLock; mode++)
			if (lock->holdMask & LOCKBIT_ON(mode))
				count_lock(databases, counts, database, mode - 1);
		if (lock->waitLockMode != NoLock)
			count_lock(databases, counts, database, lock->waitLockMode - 1);
	}
	for (int i = 0; i < predicates->nelements; i++)
		count_lock(databases, counts,
				   GET_PREDICATELOCKTARGETTAG_DB(predicates->locktags[i]),
				   AccessExclusiveLock);
}

static void
export_locks(ImonExposition *exposition, const ImonExportedDatabases *databases)
{
	int			places = databases->n_labels + (databases->n > databases->n_labels);
	int		   *counts = palloc0(sizeof(int) * places * N_LOCK_MODES);

	count_locks(databases, counts);
	imon_family(exposition, "locks_count", IMON_UNTYPED,
				"Locks held or awaited in a database.");
	for (int place = 0; place < places; place++)
		for (int mode = 0; mode < N_LOCK_MODES; mode++)
		{
			ImonLabels	labels = imon_label("datname",
											imon_exported_label(databases, place));

			imon_add_label(&labels, "mode", lock_modes[mode]);
			imon_put_number(exposition, &labels, counts[place * N_LOCK_MODES + mode]);
		}
}

void
imon_export_activity(ImonExposition *exposition,
					 const ImonExportedDatabases *databases)
{
	export_sessions(exposition, databases);
	export_transactions(exposition);
	export_locks(exposition, databases);
}
