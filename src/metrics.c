/*-------------------------------------------------------------------------
 *
 * metrics.c
 *	  Metrics of the pool, of health, of the machine, of replication.
 *
 * All is read from memory, or from a few small files of the machine: no query
 * is run for it, so that it works on a standby, without the extension in the
 * database, and, but for what needs names, without a database.
 *
 * Counters are totals since shared memory was created, which no reset changes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "blame.h"
#include "check_states.h"
#include "compat.h"
#include "connection_churn.h"
#include "connection_limits.h"
#include "connection_times.h"
#include "connections.h"
#include "exposition.h"
#include "histogram.h"
#include "metrics.h"
#include "miscadmin.h"
#include "pool.h"
#include "repeated.h"
#include "replication/slot.h"
#include "replication/walreceiver.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "shmem.h"
#include "slow_log.h"
#include "storage.h"
#include "storage/lwlock.h"
#include "storage/spin.h"
#include "system.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
#include "version.h"

#define MAX_GROUPS 100			/* of each kind, then they are added up */
#define MAX_CHECK_VALUE 86400	/* of exhaustion_eta: stands for "not at all" */

/* Bounds of buckets in nanoseconds: the usual ones, and powers of ten. */
static const uint64 establish_bounds[] = {
	1000000, 2500000, 5000000, 10000000, 25000000, 50000000, 100000000,
	250000000, 500000000, 1000000000, UINT64CONST(2500000000),
	UINT64CONST(5000000000), UINT64CONST(10000000000), 0
};

static const uint64 session_bounds[] = {
	10000000, 100000000, 1000000000, UINT64CONST(10000000000),
	UINT64CONST(100000000000), UINT64CONST(1000000000000),
	UINT64CONST(10000000000000), 0
};

/* A gauge without labels. */
static void
gauge(ImonExposition *exposition, const char *name, double value,
	  const char *help)
{
	imon_family(exposition, name, IMON_GAUGE, help);
	imon_put_number(exposition, NULL, value);
}

/* A gauge of bytes, of which -1 is not known. */
static void
bytes_gauge(ImonExposition *exposition, const char *name, int64 bytes,
			const char *help)
{
	gauge(exposition, name, bytes < 0 ? NAN : (double) bytes, help);
}

/* A gauge of a moment, 0 is not known. */
static void
moment_gauge(ImonExposition *exposition, const char *name, TimestampTz moment,
			 const char *help)
{
	imon_family(exposition, name, IMON_GAUGE, help);
	imon_put_moment(exposition, NULL, moment);
}

/* A counter without labels. */
static void
counter(ImonExposition *exposition, const char *name, uint64 value,
		const char *help)
{
	imon_family(exposition, name, IMON_COUNTER, help);
	imon_put_count(exposition, NULL, value);
}

/* What this is, and of when. */
static void
expose_server(ImonExposition *exposition)
{
	ImonLabels	labels = imon_label("version", IMON_VERSION);

	imon_add_label(&labels, "server_version",
				   GetConfigOption("server_version", false, false));
	imon_family(exposition, "build_info", IMON_GAUGE,
				"Versions of infra_monitor and of the server; always 1.");
	imon_put_count(exposition, &labels, 1);
	moment_gauge(exposition, "collected_timestamp_seconds", GetCurrentTimestamp(),
				 "When these values were read.");
	moment_gauge(exposition, "start_timestamp_seconds", PgStartTime,
				 "When the server was started.");
	moment_gauge(exposition, "counters_start_timestamp_seconds", imon_shmem_created_at(),
				 "Since when counters count: the start of the server, or its recovery from a crash.");
	gauge(exposition, "in_recovery", RecoveryInProgress(),
		  "Is the server a standby, or still recovering? 1 or 0.");
}

/* One class of slots. */
static void
put_slots(ImonExposition *exposition, const char *class, int slots)
{
	ImonLabels	labels = imon_label("class", class);

	imon_put_count(exposition, &labels, slots);
}

/*
 * All slots of max_connections, each in one class: those that are free, as far
 * as that goes, are kept for superusers first, then for reserved connections.
 */
static void
expose_slots(ImonExposition *exposition, const ImonPool *pool)
{
	int			left = pool->max_connections - pool->counts.established -
		pool->counts.authenticating;
	int			superuser;
	int			reserved;

	left = Max(left, 0);
	superuser = Min(left, imon_superuser_connections());
	reserved = Min(left - superuser,
				   imon_reserved_connections() - imon_superuser_connections());

	imon_family(exposition, "pool_slots", IMON_GAUGE,
				"Slots of max_connections by class; free: for ordinary roles; those reserved are the ones that are left.");
	put_slots(exposition, "used", pool->counts.established);
	put_slots(exposition, "authenticating", pool->counts.authenticating);
	put_slots(exposition, "free", left - superuser - reserved);
	put_slots(exposition, "superuser_reserved", superuser);
	put_slots(exposition, "reserved", reserved);
	gauge(exposition, "pool_max_connections", pool->max_connections,
		  "Setting max_connections.");
	gauge(exposition, "pool_peak_connections", pool->counts.peak,
		  "Most established connections at one moment since the last reset.");
}

/* Connections of a database. */
typedef enum ImonGroupState
{
	GROUP_ACTIVE,
	GROUP_IDLE,
	GROUP_IN_TRANSACTION,
	GROUP_OTHER
} ImonGroupState;

#define N_GROUP_STATES (GROUP_OTHER + 1)

static const char *const group_states[] = {
	"active", "idle", "idle_in_transaction", "other"
};

typedef struct ImonGroup
{
	Oid			database;
	int			connections[N_GROUP_STATES];
} ImonGroup;

static ImonGroupState
group_state(BackendState state)
{
	switch (state)
	{
		case STATE_RUNNING:
			return GROUP_ACTIVE;
		case STATE_IDLE:
			return GROUP_IDLE;
		case STATE_IDLEINTRANSACTION:
		case STATE_IDLEINTRANSACTION_ABORTED:
			return GROUP_IN_TRANSACTION;
		default:
			return GROUP_OTHER;
	}
}

static int
compare_groups(const void *a, const void *b)
{
	Oid			database_a = ((const ImonGroup *) a)->database;
	Oid			database_b = ((const ImonGroup *) b)->database;

	return (database_a > database_b) - (database_a < database_b);
}

/*
 * Adds up the sessions by database, in the order of their OIDs, so that a new
 * one does not move the others.  Returns how many there are, of which those from
 * MAX_GROUPS on are added up in the last one.
 */
static int
group_sessions(const ImonSessions *sessions, ImonGroup **result)
{
	ImonGroup  *groups = palloc0(sizeof(ImonGroup) * Max(sessions->count, 1));
	int			n = 0;
	int			n_groups = 0;

	for (int i = 0; i < sessions->count; i++)
	{
		const PgBackendStatus *status = sessions->sessions[i].status;

		if (!sessions->sessions[i].is_client)
			continue;
		groups[n].database = status->st_databaseid;
		groups[n++].connections[group_state(status->st_state)] = 1;
	}
	qsort(groups, n, sizeof(ImonGroup), compare_groups);

	for (int i = 0; i < n; i++)
	{
		ImonGroup	one = groups[i];

		if (n_groups == 0 || (n_groups <= MAX_GROUPS &&
							  one.database != groups[n_groups - 1].database))
			groups[n_groups++] = one;
		else
			for (int state = 0; state < N_GROUP_STATES; state++)
				groups[n_groups - 1].connections[state] += one.connections[state];
	}
	*result = groups;
	return n_groups;
}

static void
expose_connections(ImonExposition *exposition)
{
	ImonGroup  *groups;
	int			n = group_sessions(imon_exposed_sessions(exposition), &groups);

	imon_family(exposition, "pool_connections", IMON_GAUGE,
				"Client backends by database and state.");
	for (int i = 0; i < n; i++)
	{
		const char *database = i < MAX_GROUPS ?
			imon_database_label(groups[i].database) : IMON_OTHER_LABEL;

		for (int state = 0; state < N_GROUP_STATES; state++)
		{
			ImonLabels	labels = imon_label("datname", database);

			imon_add_label(&labels, "state", group_states[state]);
			imon_put_count(exposition, &labels, groups[i].connections[state]);
		}
	}
}

/* How long ago something began, seconds; 0 if nothing has. */
static double
age_of(TimestampTz since, TimestampTz now)
{
	return since == 0 ? 0 : (double) Max(now - since, 0) / USECS_PER_SEC;
}

static void
expose_activity(ImonExposition *exposition, const ImonPool *pool)
{
	const ImonActivity *activity = &pool->activity;
	TimestampTz now = GetCurrentTimestamp();

	gauge(exposition, "lock_waits", activity->waiting,
		  "Client backends that wait for a heavyweight lock.");
	gauge(exposition, "lock_wait_oldest_seconds", age_of(activity->oldest_lock_wait, now),
		  "Longest of these waits so far; 0 if there is none.");
	gauge(exposition, "transaction_oldest_seconds", age_of(activity->oldest_transaction, now),
		  "Age of the oldest transaction of a client backend; 0 if there is none.");
	gauge(exposition, "idle_in_transaction_oldest_seconds",
		  age_of(activity->oldest_idle_in_transaction, now),
		  "Longest time that a client backend has been idle in its transaction; 0 if none is.");
}

/* Connections that came, went, or were refused. */
static void
expose_churn(ImonExposition *exposition)
{
	uint64		counts[IMON_HISTOGRAM_BUCKETS];
	uint64		connects;
	uint64		disconnects;
	double		sum;

	imon_family(exposition, "pool_rejections_total", IMON_COUNTER,
				"Connections refused, by reason.");
	for (int i = 0; i < IMON_N_REJECTIONS; i++)
	{
		ImonLabels	labels = imon_label("reason", imon_rejection_name(i));

		imon_put_count(exposition, &labels, imon_rejected_ever(i));
	}

	imon_churn_ever(&connects, &disconnects);
	counter(exposition, "pool_connects_total", connects,
			"Connections established.");
	counter(exposition, "pool_disconnects_total", disconnects,
			"Connections ended, of those that were counted when established.");

	imon_connection_times_ever(false, counts, &sum);
	imon_family(exposition, "connection_establish_seconds", IMON_HISTOGRAM,
				"Time from the start of the server process until a connection was established.");
	imon_put_histogram(exposition, NULL, counts, sum, establish_bounds);
	imon_connection_times_ever(true, counts, &sum);
	imon_family(exposition, "session_duration_seconds", IMON_HISTOGRAM,
				"Time from there until the connection ended.");
	imon_put_histogram(exposition, NULL, counts, sum, session_bounds);
}

/* The nearest first. */
static int
compare_limits(const ListCell *a, const ListCell *b)
{
	double		ratio_a = imon_limit_ratio(lfirst(a));
	double		ratio_b = imon_limit_ratio(lfirst(b));

	return (ratio_a < ratio_b) - (ratio_a > ratio_b);
}

static void
expose_limits(ImonExposition *exposition)
{
	List	   *limits = imon_collect_limits(imon_exposed_sessions(exposition));
	ListCell   *cell;

	list_sort(limits, compare_limits);
	imon_family(exposition, "limit_used_ratio", IMON_GAUGE,
				"Connections of a role or database, by its connection limit; the 100 nearest to theirs.");
	foreach(cell, limits)
	{
		const ImonLimit *limit = lfirst(cell);
		ImonLabels	labels = imon_label("scope", limit->scope);

		if (foreach_current_index(cell) == MAX_GROUPS)
			break;
		imon_add_label(&labels, "name", strcmp(limit->scope, "role") == 0 ?
					   imon_role_label(limit->oid) : imon_database_label(limit->oid));
		imon_put_number(exposition, &labels, imon_limit_ratio(limit));
	}
}

/* One of the two families of blame. */
static void
expose_blamed(ImonExposition *exposition, const ImonBlamedEver *blamed, int n,
			  bool time)
{
	for (int i = 0; i <= n; i++)
	{
		ImonLabels	labels = imon_label("usename", i < n ?
										imon_role_label(blamed[i].role) : IMON_OTHER_LABEL);

		imon_add_label(&labels, "application_name", i < n ?
					   imon_text_label(blamed[i].application) : IMON_OTHER_LABEL);
		if (time)
			imon_put_number(exposition, &labels, blamed[i].blocked_us / 1e6);
		else
			imon_put_count(exposition, &labels, blamed[i].incidents);
	}
}

static void
expose_blame(ImonExposition *exposition)
{
	ImonBlamedEver *blamed = palloc(sizeof(ImonBlamedEver) * (IMON_MAX_BLAMED_EVER + 1));
	int			n = imon_blamed_ever(blamed);

	imon_family(exposition, "blocked_seconds_total", IMON_COUNTER,
				"Time that others have waited for locks held by this role and application.");
	expose_blamed(exposition, blamed, n, true);
	imon_family(exposition, "blocked_incidents_total", IMON_COUNTER,
				"Waits of others for locks held by this role and application.");
	expose_blamed(exposition, blamed, n, false);
}

static void
expose_executions(ImonExposition *exposition)
{
	uint64		bursts;
	uint64		executions;

	counter(exposition, "slow_queries_total", imon_slow_queries_ever(),
			"Executions that took infra_monitor.slow_query_threshold or longer.");
	imon_repeated_ever(&bursts, &executions);
	counter(exposition, "repeated_bursts_total", bursts,
			"Loops of a client over one statement.");
	counter(exposition, "repeated_executions_total", executions,
			"Executions in these loops.");
}

/* A status as a number. */
static int
status_number(ImonStatus status)
{
	switch (status)
	{
		case STATUS_IS_OK:
			return 0;
		case STATUS_IS_WARNING:
			return 1;
		case STATUS_IS_CRITICAL:
			return 2;
		case STATUS_IS_UNKNOWN:
			break;
	}
	return 3;
}

/* One of the two families of all checks. */
static void
expose_checks(ImonExposition *exposition, const ImonStates *states, bool status)
{
	for (int i = 0; i < IMON_MAX_STATES; i++)
	{
		const ImonCheckState *state = &states->states[i];
		ImonLabels	labels = imon_label("check", state->name);

		if (state->name[0] == '\0' || strcmp(state->name, IMON_OVERALL) == 0)
			continue;
		if (status)
			imon_put_count(exposition, &labels, status_number(state->status));
		else
			imon_put_number(exposition, &labels, state->value);
	}
}

/* The state of a check, or of the server; NULL: it has none. */
static const ImonCheckState *
state_of(const ImonStates *states, const char *name)
{
	for (int i = 0; i < IMON_MAX_STATES; i++)
		if (strcmp(states->states[i].name, name) == 0)
			return &states->states[i];
	return NULL;
}

static void
expose_health(ImonExposition *exposition)
{
	ImonStates *states = palloc(sizeof(ImonStates));
	const ImonCheckState *state;

	imon_read_states(states);
	if (states->at == 0)
		return;

	state = state_of(states, "exhaustion_eta");
	if (state && state->value < MAX_CHECK_VALUE)
		gauge(exposition, "pool_exhaustion_seconds", state->value,
			  "Time until connections run out if they go on rising as they do; absent if they do not.");
	state = state_of(states, IMON_OVERALL);
	if (state)
		gauge(exposition, "health_status", status_number(state->status),
			  "Health of the server: 0 healthy, 1 degraded, 2 unhealthy, 3 unknown.");
	gauge(exposition, "health_score", states->score, "Score of health, 0 to 10.");
	imon_family(exposition, "health_check_status", IMON_GAUGE,
				"Status of each health check: 0 ok, 1 warning, 2 critical, 3 unknown.");
	expose_checks(exposition, states, true);
	imon_family(exposition, "health_check_value", IMON_GAUGE,
				"Value of each health check in its own unit; absent if not known.");
	expose_checks(exposition, states, false);
	counter(exposition, "health_transitions_total", states->changes,
			"Changes of the status of a check or of the server.");
	moment_gauge(exposition, "health_evaluated_timestamp_seconds", states->at,
				 "When health was last evaluated.");
}

static void
expose_system(ImonExposition *exposition)
{
	ImonSystem	usage;

	imon_read_system(&usage);
	bytes_gauge(exposition, "system_memory_used_bytes", usage.memory_used,
				"Memory of the machine that programs cannot get.");
	bytes_gauge(exposition, "system_memory_total_bytes", usage.memory_total,
				"Memory of the machine.");
	gauge(exposition, "system_cpu_used_ratio", usage.cpu_ratio < 0 ? NAN : usage.cpu_ratio,
		  "Busy share of all processors over the last sample interval.");
	bytes_gauge(exposition, "system_disk_used_bytes", usage.disk_used,
				"Used in the file system of the data directory.");
	bytes_gauge(exposition, "system_disk_total_bytes", usage.disk_total,
				"Size of the file system of the data directory.");
}

/* How far the WAL goes: written, or on a standby replayed. */
static XLogRecPtr
wal_position(void)
{
	return RecoveryInProgress() ? GetXLogReplayRecPtr(NULL) : GetXLogWriteRecPtr();
}

/* A standby that is connected; of those with the same name, the last. */
typedef struct ImonStandby
{
	const char *name;
	double		bytes;			/* behind, NaN = not known */
	double		seconds;
} ImonStandby;

/* The state of a walsender; false if there is none. */
static bool
read_walsender(int i, int *pid, XLogRecPtr *replayed, TimeOffset *lag)
{
	WalSnd	   *walsender = &WalSndCtl->walsnds[i];
	WalSndState state;

	SpinLockAcquire(&walsender->mutex);
	*pid = walsender->pid;
	state = walsender->state;
	*replayed = walsender->apply;
	*lag = walsender->applyLag;
	SpinLockRelease(&walsender->mutex);
	return *pid != 0 && state != WALSNDSTATE_BACKUP;
}

/* Collects standbys by name; returns how many. */
static int
collect_standbys(ImonExposition *exposition, ImonStandby *standbys)
{
	XLogRecPtr	position = wal_position();
	int			n = 0;

	for (int i = 0; i < max_wal_senders && n < MAX_GROUPS; i++)
	{
		const ImonSession *session;
		ImonStandby *standby = standbys;
		XLogRecPtr	replayed;
		TimeOffset	lag;
		int			pid;

		if (!read_walsender(i, &pid, &replayed, &lag))
			continue;
		session = imon_find_session(imon_exposed_sessions(exposition), pid);
		if (session == NULL)
			continue;
		while (standby < standbys + n &&
			   strcmp(standby->name, session->status->st_appname) != 0)
			standby++;
		if (standby == standbys + n)
		{
			standby->name = session->status->st_appname;
			standby->bytes = standby->seconds = NAN;
			n++;
		}
		if (replayed != InvalidXLogRecPtr)
			standby->bytes = fmax(standby->bytes, position > replayed ?
								  (double) (position - replayed) : 0);
		standby->seconds = fmax(standby->seconds, Max(lag, 0) / 1e6);
	}
	return n;
}

static void
expose_standbys(ImonExposition *exposition)
{
	ImonStandby standbys[MAX_GROUPS];
	int			n = collect_standbys(exposition, standbys);

	imon_family(exposition, "replication_standby_lag_bytes", IMON_GAUGE,
				"WAL that a connected standby has not replayed; absent if it replays none.");
	for (int i = 0; i < n; i++)
	{
		ImonLabels	labels = imon_label("application_name",
										imon_text_label(standbys[i].name));

		imon_put_number(exposition, &labels, standbys[i].bytes);
	}
	imon_family(exposition, "replication_standby_lag_seconds", IMON_GAUGE,
				"Time that a connected standby replays behind; 0 if it has all.");
	for (int i = 0; i < n; i++)
	{
		ImonLabels	labels = imon_label("application_name",
										imon_text_label(standbys[i].name));

		imon_put_number(exposition, &labels, standbys[i].seconds);
	}
}

/* A replication slot. */
typedef struct ImonSlot
{
	NameData	name;
	XLogRecPtr	restart;		/* invalid: it retains no WAL */
	bool		active;
} ImonSlot;

/* Copies the first replication slots; returns how many. */
static int
collect_replication_slots(ImonSlot *slots)
{
	int			n = 0;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < max_replication_slots && n < MAX_GROUPS; i++)
	{
		ReplicationSlot *slot = &ReplicationSlotCtl->replication_slots[i];

		if (!slot->in_use)
			continue;
		SpinLockAcquire(&slot->mutex);
		slots[n].name = slot->data.name;
		slots[n].restart = slot->data.restart_lsn;
		slots[n].active = imon_slot_is_active(slot);
		SpinLockRelease(&slot->mutex);
		n++;
	}
	LWLockRelease(ReplicationSlotControlLock);
	return n;
}

static void
expose_replication_slots(ImonExposition *exposition)
{
	ImonSlot	slots[MAX_GROUPS];
	int			n = collect_replication_slots(slots);
	XLogRecPtr	position = wal_position();

	imon_family(exposition, "replication_slot_active", IMON_GAUGE,
				"Is the replication slot in use? 1 or 0.");
	for (int i = 0; i < n; i++)
	{
		ImonLabels	labels = imon_label("slot_name", NameStr(slots[i].name));

		imon_put_count(exposition, &labels, slots[i].active);
	}
	imon_family(exposition, "replication_slot_retained_bytes", IMON_GAUGE,
				"WAL that is kept for the replication slot.");
	for (int i = 0; i < n; i++)
	{
		ImonLabels	labels = imon_label("slot_name", NameStr(slots[i].name));

		if (slots[i].restart != InvalidXLogRecPtr)
			imon_put_count(exposition, &labels,
						   position > slots[i].restart ? position - slots[i].restart : 0);
	}
}

/* What a standby knows of itself. */
static void
expose_recovery(ImonExposition *exposition)
{
	XLogRecPtr	received;
	XLogRecPtr	replayed;
	TimestampTz at;

	if (!RecoveryInProgress())
		return;
	received = GetWalRcvFlushRecPtr(NULL, NULL);
	replayed = GetXLogReplayRecPtr(NULL);
	at = GetLatestXTime();
	if (received != InvalidXLogRecPtr)
		gauge(exposition, "replication_replay_lag_bytes",
			  received > replayed ? (double) (received - replayed) : 0,
			  "WAL that this standby has received and not replayed.");
	if (received != InvalidXLogRecPtr && (received <= replayed || at != 0))
		gauge(exposition, "replication_replay_lag_seconds",
			  received <= replayed ? 0 : age_of(at, GetCurrentTimestamp()),
			  "Age of the last replayed transaction while received WAL waits, else 0.");
}

/* What is stored. */
static void
expose_storage(ImonExposition *exposition)
{
	counter(exposition, "wal_bytes_total", wal_position(),
			"WAL since the cluster was made, written or on a standby replayed.");
	bytes_gauge(exposition, "history_bytes", imon_history_size(),
				"Size of the history of infra_monitor, as last measured.");
	bytes_gauge(exposition, "shared_memory_bytes", (int64) imon_shmem_bytes(),
				"Shared memory of infra_monitor, fixed at server start.");
}

static void
expose(ImonExposition *exposition)
{
	ImonPool	pool;

	expose_server(exposition);
	imon_read_pool(imon_exposed_sessions(exposition), &pool);
	expose_slots(exposition, &pool);
	if (imon_has_names(exposition))
		expose_connections(exposition);
	expose_activity(exposition, &pool);
	expose_churn(exposition);
	if (imon_has_names(exposition))
		expose_limits(exposition);
	if (imon_has_names(exposition) && imon_sees_all(exposition))
	{
		expose_blame(exposition);
		expose_standbys(exposition);
	}
	expose_executions(exposition);
	expose_health(exposition);
	expose_system(exposition);
	expose_replication_slots(exposition);
	expose_recovery(exposition);
	expose_storage(exposition);
}

void
imon_metrics_init(void)
{
	imon_register_metrics(expose);
}
