/*-------------------------------------------------------------------------
 *
 * connections.c
 *	  Counts connections: established, ended, authenticating, refused.
 *
 * A connection is established at the commit that ends InitPostgres: only then
 * have the limits of server, role and database been passed.  A refusal is a
 * FATAL before that, seen by the log hook in the doomed process, which may not
 * even have a PGPROC.
 *
 * Everything shared is atomic.  The log hook runs with any lock held, in any
 * state of a transaction, and in the middle of error processing: it adds to
 * atomics and copies a bounded number of bytes into a slot of its own, nothing
 * else; no lock, no allocation, no catalog, no ereport.
 *
 * Connections are counted by application, and timed, where the names of the
 * files connection_churn.c and connection_times.c say; their totals are the
 * sums of that.
 *
 * Totals only grow.  A reset remembers what they were ("base"), so that no
 * event is lost between reading a counter and clearing it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <netdb.h>

#include "compat.h"
#include "connection_churn.h"
#include "connection_times.h"
#include "connections.h"
#include "fmgr.h"
#include "guc.h"
#include "libpq/libpq-be.h"
#include "port/atomics.h"
#include "privileges.h"
#include "replication/walsender.h"
#include "rows.h"
#include "shmem.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "texts.h"
#include "totals.h"
#include "transactions.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "window.h"

#define LOG_SIZE 256			/* refusals kept with their details */

#define REJECTION_COLUMNS 3
#define REFUSAL_COLUMNS 7

/* A peak is its count and its moment in one atomic: 20 and 44 bits. */
#define PEAK_TIME_BITS 44
#define PEAK_TIME_MASK ((UINT64CONST(1) << PEAK_TIME_BITS) - 1)

/*
 * A refusal.  "sequence" is odd while a process writes, else twice the number
 * of the refusal plus two.
 */
typedef struct ImonRefusal
{
	pg_atomic_uint64 sequence;
	TimestampTz at;
	int			sqlerrcode;
	ImonRejection reason;
	SockAddr	client_addr;
	char		usename[NAMEDATALEN];
	char		datname[NAMEDATALEN];
	char		application_name[NAMEDATALEN];
} ImonRefusal;

typedef struct ImonTotals
{
	pg_atomic_uint64 rejected[IMON_N_REJECTIONS];
} ImonTotals;

typedef struct ImonConnections
{
	ImonTotals	totals;			/* since shared memory was created */
	ImonTotals	base;			/* totals at the last reset */
	pg_atomic_uint64 stats_reset;
	pg_atomic_uint64 last_rejected_at[IMON_N_REJECTIONS];
	pg_atomic_uint32 established;
	pg_atomic_uint64 peak;
	pg_atomic_uint64 window[IMON_REJECTION_WINDOW];

	/* ring of refusals */
	pg_atomic_uint64 n_refusals;
	pg_atomic_uint64 n_dropped;
	ImonRefusal refusals[LOG_SIZE];

	/*
	 * For each regular PGPROC the pid of the process that was established in
	 * it, negative once that process is leaving.  Compared with the owner of
	 * the PGPROC's latch, this needs no clearing.
	 */
	pg_atomic_uint32 owners[FLEXIBLE_ARRAY_MEMBER];
} ImonConnections;

static const char *const rejection_names[] = {
	"max_connections", "reserved", "role_limit", "database_limit",
	"authentication", "starting_up", "shutting_down", "other"
};

StaticAssertDecl(lengthof(rejection_names) == IMON_N_REJECTIONS,
				 "each reason needs a name");

static ImonConnections *connections = NULL;

/*
 * Past the phase in which a FATAL is a refusal?  Set for ever when the process
 * is established, and in walsenders, which have slots of their own.
 */
static bool established = false;

/* Did this process count itself in?  Then it also counts itself out. */
static bool counted = false;

static emit_log_hook_type prev_emit_log_hook = NULL;

PG_FUNCTION_INFO_V1(imon_pool_rejections_1_0);
PG_FUNCTION_INFO_V1(imon_recent_rejections_1_0);

static Size
connections_size(void)
{
	return add_size(offsetof(ImonConnections, owners),
					mul_size(MaxConnections, sizeof(pg_atomic_uint32)));
}

static void
init_totals(ImonTotals *totals)
{
	for (int i = 0; i < IMON_N_REJECTIONS; i++)
		pg_atomic_init_u64(&totals->rejected[i], 0);
}

/* A peak of "count" at this moment. */
static uint64
pack_peak(uint32 count)
{
	return ((uint64) count << PEAK_TIME_BITS) |
		((uint64) (GetCurrentTimestamp() / 1000) & PEAK_TIME_MASK);
}

static void
connections_init(void *part, LWLock *lock)
{
	ImonConnections *shared = (ImonConnections *) part;

	init_totals(&shared->totals);
	init_totals(&shared->base);
	pg_atomic_init_u64(&shared->stats_reset, (uint64) GetCurrentTimestamp());
	for (int i = 0; i < IMON_N_REJECTIONS; i++)
		pg_atomic_init_u64(&shared->last_rejected_at[i], 0);
	pg_atomic_init_u32(&shared->established, 0);
	pg_atomic_init_u64(&shared->peak, pack_peak(0));
	imon_window_init(shared->window, IMON_REJECTION_WINDOW);
	pg_atomic_init_u64(&shared->n_refusals, 0);
	pg_atomic_init_u64(&shared->n_dropped, 0);
	for (int i = 0; i < LOG_SIZE; i++)
		pg_atomic_init_u64(&shared->refusals[i].sequence, 0);
	for (int i = 0; i < MaxConnections; i++)
		pg_atomic_init_u32(&shared->owners[i], 0);
}

static const ImonShmemPart connections_part = {
	.name = "infra_monitor connections",
	.size = connections_size,
	.init = connections_init,
	.address = (void **) &connections
};

/* Exit callback: the slot is leaving; counts the end if the start was. */
static void
connection_ends(int code, Datum arg)
{
	pg_atomic_write_u32(&connections->owners[DatumGetInt32(arg)],
						(uint32) -MyProcPid);
	pg_atomic_fetch_sub_u32(&connections->established, 1);
	if (counted)
		imon_churn_end(GetCurrentTimestamp(), imon_connection_times_end());
}

/* Raises the peak to the number now established, if that is higher. */
static void
raise_peak(uint32 now)
{
	uint64		peak = pg_atomic_read_u64(&connections->peak);
	uint64		mine = pack_peak(now);

	while ((peak >> PEAK_TIME_BITS) < now &&
		   !pg_atomic_compare_exchange_u64(&connections->peak, &peak, mine))
		;
}

/*
 * Enters this process as established.  The mark, the current number, the peak
 * and the rate are kept also while infra_monitor is disabled, so that they are
 * true when it is enabled again; only the totals stand still.
 */
static void
connection_begins(void)
{
	int			procno = imon_my_proc_number();
	TimestampTz now = GetCurrentTimestamp();

	if (procno < 0 || procno >= MaxConnections)
		return;

	pg_atomic_write_u32(&connections->owners[procno], (uint32) MyProcPid);
	raise_peak(pg_atomic_add_fetch_u32(&connections->established, 1));
	on_shmem_exit(connection_ends, Int32GetDatum(procno));

	counted = imon_enabled;
	imon_churn_begin(now, counted);
	if (counted)
		imon_connection_times_begin(now);
}

/*
 * Transaction callback.  The first commit in a process that serves a client,
 * and the only one outside normal processing mode, is the one at the end of
 * InitPostgres.
 */
static void
transaction_ends(XactEvent event)
{
	if (event != XACT_EVENT_COMMIT)
		return;
	imon_awaits &= ~IMON_AWAITS_CONNECTION;
	if (MyProcPort == NULL || MyProc == NULL || !IsInitProcessingMode() ||
		connections == NULL)
		return;

	established = true;
	if (!am_walsender)
		connection_begins();
}

/* Does the untranslated message begin like this? */
static bool
message_begins(const ErrorData *edata, const char *beginning)
{
	return edata->message_id != NULL &&
		strncmp(edata->message_id, beginning, strlen(beginning)) == 0;
}

/*
 * The reason of a refusal.  Four reasons share SQLSTATE 53300, and three
 * states of the server 57P03; these differ in the untranslated message
 * (postmaster.c, proc.c, postinit.c, miscinit.c).
 */
static ImonRejection
classify(const ErrorData *edata)
{
	if (ERRCODE_TO_CATEGORY(edata->sqlerrcode) ==
		ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION)
		return IMON_REJECTED_AUTHENTICATION;

	if (edata->sqlerrcode == ERRCODE_TOO_MANY_CONNECTIONS)
	{
		if (message_begins(edata, "sorry, too many clients already"))
			return IMON_REJECTED_MAX_CONNECTIONS;
		if (message_begins(edata, "remaining connection slots are reserved"))
			return IMON_REJECTED_RESERVED;
		if (message_begins(edata, "too many connections for role"))
			return IMON_REJECTED_ROLE_LIMIT;
		if (message_begins(edata, "too many connections for database"))
			return IMON_REJECTED_DATABASE_LIMIT;
	}

	if (edata->sqlerrcode == ERRCODE_CANNOT_CONNECT_NOW)
	{
		if (message_begins(edata, "the database system is shutting down"))
			return IMON_REJECTED_SHUTTING_DOWN;
		return IMON_REJECTED_STARTING_UP;
	}

	return IMON_REJECTED_OTHER;
}

/* The second of a moment, a slot of the window. */
static uint64
second_of(TimestampTz at)
{
	return (uint64) (at / USECS_PER_SEC);
}

/* Copies at most NAMEDATALEN - 1 bytes; NULL gives an empty string. */
static void
copy_name(char *target, const char *source)
{
	strlcpy(target, source ? source : "", NAMEDATALEN);
}

/*
 * Keeps the details of a refusal.  If another process still writes the slot
 * (256 refusals ago), or was faster by a turn of the ring, they are dropped and
 * counted.
 */
static void
keep_details(const ErrorData *edata, ImonRejection reason, TimestampTz at)
{
	uint64		number = pg_atomic_fetch_add_u64(&connections->n_refusals, 1);
	ImonRefusal *refusal = &connections->refusals[number % LOG_SIZE];
	uint64		sequence = pg_atomic_read_u64(&refusal->sequence);

	if ((sequence & 1) != 0 || sequence > 2 * number ||
		!pg_atomic_compare_exchange_u64(&refusal->sequence, &sequence,
										2 * number + 1))
	{
		pg_atomic_fetch_add_u64(&connections->n_dropped, 1);
		return;
	}

	refusal->at = at;
	refusal->sqlerrcode = edata->sqlerrcode;
	refusal->reason = reason;
	memcpy(&refusal->client_addr, &MyProcPort->raddr, sizeof(SockAddr));
	copy_name(refusal->usename, MyProcPort->user_name);
	copy_name(refusal->datname, MyProcPort->database_name);
	copy_name(refusal->application_name, MyProcPort->application_name);

	pg_write_barrier();
	pg_atomic_write_u64(&refusal->sequence, 2 * number + 2);
}

/*
 * Log hook: counts a FATAL that ends a connection before it is established.
 * The postmaster's own messages have no port and are none of ours.
 */
static void
imon_emit_log(ErrorData *edata)
{
	if (edata->elevel == FATAL && !established && imon_enabled &&
		connections != NULL && MyProcPort != NULL && IsUnderPostmaster &&
		!proc_exit_inprogress && CritSectionCount == 0)
	{
		ImonRejection reason = classify(edata);
		TimestampTz at = GetCurrentTimestamp();

		pg_atomic_fetch_add_u64(&connections->totals.rejected[reason], 1);
		pg_atomic_write_u64(&connections->last_rejected_at[reason], (uint64) at);
		if (reason != IMON_REJECTED_AUTHENTICATION)
			imon_window_count(connections->window, IMON_REJECTION_WINDOW,
							  second_of(at));
		keep_details(edata, reason, at);
	}

	if (prev_emit_log_hook)
		prev_emit_log_hook(edata);
}

void
imon_connections_init(void)
{
	imon_shmem_register(&connections_part);
	imon_churn_init();
	imon_connection_times_init();
	imon_await_transactions(IMON_AWAITS_CONNECTION, transaction_ends);
	prev_emit_log_hook = emit_log_hook;
	emit_log_hook = imon_emit_log;
}

static uint64
rejected_since_reset(ImonRejection reason)
{
	return imon_since_reset(&connections->totals.rejected[reason],
							&connections->base.rejected[reason]);
}

/*
 * Counts the slots of max_connections in use: a PGPROC is held while its
 * latch has an owner.
 */
static void
count_slots(ImonConnectionCounts *counts)
{
	counts->established = 0;
	counts->authenticating = 0;

	for (int i = 0; i < MaxConnections; i++)
	{
		int			holder = ProcGlobal->allProcs[i].procLatch.owner_pid;
		int			owner = (int) pg_atomic_read_u32(&connections->owners[i]);

		if (holder == 0)
			continue;
		if (owner == holder)
			counts->established++;
		else if (owner != -holder)
			counts->authenticating++;
	}
}

void
imon_connection_counts(ImonConnectionCounts *counts)
{
	uint64		peak = pg_atomic_read_u64(&connections->peak);

	count_slots(counts);
	counts->peak = (int) (peak >> PEAK_TIME_BITS);
	counts->peak_at = (TimestampTz) (peak & PEAK_TIME_MASK) * 1000;

	imon_churn_totals(&counts->connects, &counts->disconnects);

	counts->rejected = 0;
	for (int i = 0; i < IMON_N_REJECTIONS; i++)
		if (i != IMON_REJECTED_AUTHENTICATION)
			counts->rejected += rejected_since_reset(i);
	counts->auth_failures = rejected_since_reset(IMON_REJECTED_AUTHENTICATION);
	counts->stats_reset =
		(TimestampTz) pg_atomic_read_u64(&connections->stats_reset);
}

uint64
imon_rejected_recently(void)
{
	uint64		now = second_of(GetCurrentTimestamp());
	uint64		sum = 0;

	for (int back = 0; back < IMON_REJECTION_WINDOW; back++)
		sum += imon_window_read(connections->window, IMON_REJECTION_WINDOW,
								now - back);
	return sum;
}

uint64
imon_rejected_ever(ImonRejection reason)
{
	return pg_atomic_read_u64(&connections->totals.rejected[reason]);
}

const char *
imon_rejection_name(ImonRejection reason)
{
	return rejection_names[reason];
}

uint64
imon_rejections_dropped(void)
{
	return pg_atomic_read_u64(&connections->n_dropped);
}

void
imon_connections_reset(void)
{
	imon_churn_reset();
	imon_connection_times_reset();
	for (int i = 0; i < IMON_N_REJECTIONS; i++)
	{
		imon_reset_total(&connections->totals.rejected[i],
						 &connections->base.rejected[i]);
		pg_atomic_write_u64(&connections->last_rejected_at[i], 0);
	}
	imon_window_clear(connections->window, IMON_REJECTION_WINDOW);
	pg_atomic_write_u64(&connections->peak,
						pack_peak(pg_atomic_read_u32(&connections->established)));
	pg_atomic_write_u64(&connections->stats_reset,
						(uint64) GetCurrentTimestamp());
}

/* SQL: pool_rejections, a row for each reason: reason, total, last_at. */
Datum
imon_pool_rejections_1_0(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo;

	imon_shmem_require();
	rsinfo = imon_begin_rows(fcinfo, REJECTION_COLUMNS);

	for (int i = 0; i < IMON_N_REJECTIONS; i++)
	{
		Datum		values[REJECTION_COLUMNS];
		bool		nulls[REJECTION_COLUMNS] = {false};

		values[0] = CStringGetTextDatum(rejection_names[i]);
		values[1] = Int64GetDatum((int64) rejected_since_reset(i));
		values[2] = imon_moment_datum((TimestampTz)
									  pg_atomic_read_u64(&connections->last_rejected_at[i]),
									  &nulls[2]);
		imon_put_row(rsinfo, values, nulls);
	}
	return (Datum) 0;
}

/*
 * Copies refusal "number" if it is still in the ring and whole.
 */
static bool
read_refusal(uint64 number, ImonRefusal *copy)
{
	ImonRefusal *refusal = &connections->refusals[number % LOG_SIZE];

	if (pg_atomic_read_u64(&refusal->sequence) != 2 * number + 2)
		return false;
	pg_read_barrier();
	memcpy(copy, refusal, sizeof(ImonRefusal));
	pg_read_barrier();
	return pg_atomic_read_u64(&refusal->sequence) == 2 * number + 2;
}

/* Puts one refusal into the result, as far as the caller may see it. */
static void
put_refusal(ReturnSetInfo *rsinfo, const ImonRefusal *refusal)
{
	Datum		values[REFUSAL_COLUMNS];
	bool		nulls[REFUSAL_COLUMNS] = {false};
	int			i = 0;

	values[i++] = TimestampTzGetDatum(refusal->at);
	values[i++] = CStringGetTextDatum(rejection_names[refusal->reason]);
	values[i++] = CStringGetTextDatum(unpack_sql_state(refusal->sqlerrcode));

	if (imon_may_see_role_named(refusal->usename))
	{
		values[i++] = imon_text_datum(refusal->usename);
		values[i++] = imon_text_datum(refusal->datname);
		values[i++] = imon_text_datum(refusal->application_name);
		values[i] = imon_client_addr_datum(&refusal->client_addr, &nulls[i]);
		i++;
	}
	else
	{
		values[i++] = CStringGetTextDatum(IMON_HIDDEN_TEXT);
		values[i++] = CStringGetTextDatum(IMON_HIDDEN_TEXT);
		values[i++] = CStringGetTextDatum(IMON_HIDDEN_TEXT);
		nulls[i++] = true;
	}
	Assert(i == lengthof(values));
	imon_put_row(rsinfo, values, nulls);
}

/*
 * SQL: recent_rejections, newest first: at, reason, sqlstate, usename,
 * datname, application_name, client_addr.
 */
Datum
imon_recent_rejections_1_0(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo;
	uint64		end;

	imon_shmem_require();
	rsinfo = imon_begin_rows(fcinfo, REFUSAL_COLUMNS);

	end = pg_atomic_read_u64(&connections->n_refusals);
	for (uint64 back = 1; back <= Min(end, LOG_SIZE); back++)
	{
		ImonRefusal copy;

		if (read_refusal(end - back, &copy))
			put_refusal(rsinfo, &copy);
	}
	return (Datum) 0;
}
