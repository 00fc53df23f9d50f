/*-------------------------------------------------------------------------
 *
 * slow_log.c
 *	  Single executions over infra_monitor.slow_query_threshold.
 *
 * They are kept in a ring of fixed slots.  A writer takes the next number from
 * an atomic and writes into the slot of that number, whose state says so
 * meanwhile.  If another process still writes there, a whole turn of the ring
 * behind, the execution is dropped and counted; what that process writes stays
 * then, though it is older.  So readers look at what is in each slot.  They leave
 * out what changes while they copy it.  Nobody waits and there is no lock.
 *
 * The sampler stores what is in the ring (slow_samples.c).  Who writes into a
 * slot counts what it overwrites, unless the sampler has taken that over: then
 * the sampler answers for it, and counts it if it could not store it.  So what
 * was lost is counted exactly, once it is known to be lost.
 *
 * Texts have their literals masked before they are kept: pg_stat_statements has
 * no text of a statement that never completed.  A statement that fails before
 * the executor is seen by the log hook, where its text is still at hand; it is
 * masked there into memory of the process, and kept when the transaction
 * aborts.  The masking can do that, see masking.h.
 *
 * The time of a statement of the client begins with the client's message; of
 * several in one message, each begins where the one before ended.  If parsing
 * was a message of its own, its time is added to the first execution.
 *
 * What a statement waited for is noted by the sampler, about once in
 * activity_interval, in a slot for each process, with the moment when the
 * statement began.  Only the sampler writes these, under a sequence of their
 * own; a statement that ends reads that of its process, and a note for another
 * moment is not about it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <netinet/in.h>

#include "access/parallel.h"
#include "commands/dbcommands.h"
#include "compat.h"
#include "contained.h"
#include "fmgr.h"
#include "libpq/libpq-be.h"
#include "masking.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "parser/analyze.h"
#include "port/atomics.h"
#include "privileges.h"
#include "rows.h"
#include "shmem.h"
#include "slow_log.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "texts.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define MAX_WAITS 8				/* kinds of waits noted for a statement */
#define CLIPPED "..."			/* ends a plan that is not whole */

/* What a statement was seen waiting for. */
typedef struct ImonWaitProfile
{
	int			blocked_by;		/* root of the last lock wait; 0 = a prepared
								 * transaction */
	uint8		count;
	bool		blocked;
	uint32		events[MAX_WAITS];	/* wait_event_info; 0 = runs */
	uint32		ms[MAX_WAITS];
} ImonWaitProfile;

/* The note of the sampler about a process. */
typedef struct ImonWaitNote
{
	pg_atomic_uint32 sequence;	/* odd while the sampler writes */
	int			pid;
	TimestampTz statement;		/* when the client's statement began */
	uint64		queryid;		/* 0 = not known */
	ImonWaitProfile profile;
} ImonWaitNote;

/* The address of a client, as far as it is shown. */
typedef struct ImonClientAddress
{
	uint8		length;			/* 0 = a Unix-domain socket */
	uint8		bytes[16];
} ImonClientAddress;

/* States of a slot; that of one never used is 0. */
typedef enum ImonSlotState
{
	SLOT_WRITTEN = 1,			/* a process is writing */
	SLOT_KEPT,
	SLOT_TAKEN					/* by the sampler: stored, or about to be */
} ImonSlotState;

/*
 * An execution.  "state" has its number, too.  Behind it are the query, and the
 * plan in what the query leaves, each with a zero at its end.
 */
typedef struct ImonSlowEntry
{
	pg_atomic_uint64 state;
	TimestampTz started_at;
	TimestampTz ended_at;
	int64		total_us;
	int64		pre_us;			/* -1 = ran inside another */
	uint64		queryid;
	int64		rows;			/* -1 = not known */
	int64		shared_blks_hit;
	int64		shared_blks_read;
	int64		temp_blks_written;
	int64		wal_bytes;
	Oid			userid;
	Oid			dbid;
	int			pid;
	int			sqlerrcode;
	ImonWaitProfile profile;
	ImonClientAddress client_addr;
	uint8		outcome;
	int8		encoding;		/* of the texts */
	bool		toplevel;
	bool		has_usage;
	char		application_name[NAMEDATALEN];
	char		texts[FLEXIBLE_ARRAY_MEMBER];
} ImonSlowEntry;

typedef struct ImonSlowLog
{
	pg_atomic_uint64 n_entries; /* ever */
	pg_atomic_uint64 first;		/* those before were reset */
	pg_atomic_uint64 dropped;
	pg_atomic_uint64 overwritten;	/* before they were stored */
	pg_atomic_uint64 looked_through;	/* those before, by the sampler */
	TimestampTz last_look;		/* the sampler's own */
} ImonSlowLog;

/* Followed in shared memory by the slots and the notes. */
static ImonSlowLog *slow_log = NULL;

IMON_HOT_DATA ImonParsed imon_parsed;
IMON_HOT_DATA TimestampTz imon_last_statement = 0;
IMON_HOT_DATA int64 imon_last_end_ns = 0;

/* Text of a statement that failed before the executor; empty if none. */
static char noted_text[IMON_MAX_SLOW_TEXT];

static const char *const outcome_names[] = {
	"completed", "cancelled", "failed", "terminated", "failed"
};

StaticAssertDecl(lengthof(outcome_names) == IMON_N_OUTCOMES,
				 "each outcome needs a name");

static post_parse_analyze_hook_type prev_post_parse_analyze = NULL;

PG_FUNCTION_INFO_V1(imon_slow_query_log_1_0);
PG_FUNCTION_INFO_V1(imon_slow_queries_logged_1_0);

/*
 * Bytes for the texts of an execution: a query of the largest size leaves a
 * quarter of that to its plan.
 */
static inline int
text_area(void)
{
	return imon_slow_query_text_size + imon_slow_query_text_size / 4;
}

/* Bytes of a slot. */
static Size
slot_size(void)
{
	return MAXALIGN(offsetof(ImonSlowEntry, texts) + text_area());
}

/* The state of a slot that has this execution. */
static inline uint64
state_of(uint64 number, ImonSlotState state)
{
	return 4 * number + state;
}

/* Is this the state of a slot that has this execution, written to its end? */
static inline bool
is_whole(uint64 state, uint64 number)
{
	return state / 4 == number && state % 4 >= SLOT_KEPT;
}

static Size
slow_log_size(void)
{
	Size		size = MAXALIGN(sizeof(ImonSlowLog));

	size = add_size(size, mul_size(imon_slow_query_log_size, slot_size()));
	return add_size(size, mul_size(MaxBackends, sizeof(ImonWaitNote)));
}

/* The slot of an execution of this number. */
static inline ImonSlowEntry *
slot_of(uint64 number)
{
	return (ImonSlowEntry *) ((char *) slow_log + MAXALIGN(sizeof(ImonSlowLog)) +
							  (number % imon_slow_query_log_size) * slot_size());
}

/* The note about the process in this PGPROC. */
static inline ImonWaitNote *
note_of(int procno)
{
	char	   *notes = (char *) slow_log + MAXALIGN(sizeof(ImonSlowLog)) +
		imon_slow_query_log_size * slot_size();

	return (ImonWaitNote *) notes + procno;
}

static void
slow_log_init(void *part, LWLock *lock)
{
	slow_log = (ImonSlowLog *) part;
	pg_atomic_init_u64(&slow_log->n_entries, 0);
	pg_atomic_init_u64(&slow_log->first, 0);
	pg_atomic_init_u64(&slow_log->dropped, 0);
	pg_atomic_init_u64(&slow_log->overwritten, 0);
	pg_atomic_init_u64(&slow_log->looked_through, 0);
	slow_log->last_look = GetCurrentTimestamp();
	for (int i = 0; i < imon_slow_query_log_size; i++)
		pg_atomic_init_u64(&slot_of(i)->state, 0);
	for (int i = 0; i < MaxBackends; i++)
		pg_atomic_init_u32(&note_of(i)->sequence, 0);
}

static const ImonShmemPart slow_log_part = {
	.name = "infra_monitor slow queries",
	.size = slow_log_size,
	.init = slow_log_init,
	.address = (void **) &slow_log
};

/*
 * Hook behind the analysis of a statement: notes how long the client has been
 * waiting for it.  In the extended protocol parsing is a message of its own.
 */
static void
imon_post_parse_analyze(ParseState *pstate, Query *query,
						IMON_JUMBLE_STATE * jstate)
{
	if (prev_post_parse_analyze)
		prev_post_parse_analyze(pstate, query, jstate);
	if (!imon_enabled || imon_slow_query_threshold < 0 ||
		pstate->p_sourcetext == NULL ||
		pstate->p_sourcetext != debug_query_string)
		return;					/* not the client's own */
	imon_parsed.queryid = (uint64) query->queryId;
	imon_parsed.statement = GetCurrentStatementStartTimestamp();
	imon_parsed.us = Max(GetCurrentTimestamp() - imon_parsed.statement, 0);
}

void
imon_slow_log_init(void)
{
	imon_shmem_register(&slow_log_part);
	prev_post_parse_analyze = post_parse_analyze_hook;
	post_parse_analyze_hook = imon_post_parse_analyze;
}

/* Counts an execution that is gone and was not stored. */
static void
count_overwritten(uint64 number)
{
	if (number >= pg_atomic_read_u64(&slow_log->first))
		pg_atomic_fetch_add_u64(&slow_log->overwritten, 1);
}

/*
 * Takes the slot of this number for writing.  Counts what was in it; NULL if
 * another process still writes there, or was faster by a turn of the ring.
 */
static ImonSlowEntry *
take_slot(uint64 number)
{
	ImonSlowEntry *slot = slot_of(number);
	uint64		before = pg_atomic_read_u64(&slot->state);

	/* again if the sampler has just taken what is there, or given it back */
	do
	{
		if (before % 4 == SLOT_WRITTEN || before / 4 > number)
		{
			pg_atomic_fetch_add_u64(&slow_log->dropped, 1);
			return NULL;
		}
	} while (!pg_atomic_compare_exchange_u64(&slot->state, &before,
											 state_of(number, SLOT_WRITTEN)));
	if (before % 4 == SLOT_KEPT)
		count_overwritten(before / 4);
	return slot;
}

/* Copies the sampler's note if it is about this statement. */
static void
read_profile(const ImonEnded *ended, ImonWaitProfile *profile)
{
	ImonWaitNote *note;
	ImonWaitNote copy;
	uint32		sequence;

	profile->count = 0;
	profile->blocked = false;
	if (MyProc == NULL || ended->beginning->pre_us < 0 ||
		imon_my_proc_number() >= MaxBackends)
		return;

	note = note_of(imon_my_proc_number());
	sequence = pg_atomic_read_u32(&note->sequence);
	pg_read_barrier();
	memcpy(&copy, note, sizeof(ImonWaitNote));
	pg_read_barrier();
	if ((sequence & 1) != 0 || sequence != pg_atomic_read_u32(&note->sequence))
		return;					/* being looked at right now: not known */
	if (copy.pid == MyProcPid &&
		copy.statement >= ended->beginning->statement &&
		(copy.queryid == 0 || ended->key->queryid == 0 ||
		 copy.queryid == ended->key->queryid))
		*profile = copy.profile;
}

/* What the executor has used for a query so far; false if not known. */
static bool
usage_of_query(QueryDesc *desc, ImonUsage *usage)
{
	const Instrumentation *instr = imon_query_instrumentation(desc);

	if (instr == NULL || !instr->need_bufusage || !instr->need_walusage)
		return false;
	usage->buffers = instr->bufusage;
	usage->wal = instr->walusage;
	if (!INSTR_TIME_IS_ZERO(instr->starttime))
	{
		BufferUsageAccumDiff(&usage->buffers, &pgBufferUsage,
							 &instr->bufusage_start);
		WalUsageAccumDiff(&usage->wal, &pgWalUsage, &instr->walusage_start);
	}
	return true;
}

/* What an execution has used; false if not known. */
static bool
usage_of(const ImonEnded *ended, ImonUsage *usage)
{
	if (ended->desc)
		return usage_of_query(ended->desc, usage);
	if (ended->before == NULL)
		return false;
	memset(usage, 0, sizeof(ImonUsage));
	BufferUsageAccumDiff(&usage->buffers, &pgBufferUsage,
						 &ended->before->buffers);
	WalUsageAccumDiff(&usage->wal, &pgWalUsage, &ended->before->wal);
	return true;
}

/* Writes the counters of an execution. */
static void
write_usage(ImonSlowEntry *slot, const ImonEnded *ended)
{
	ImonUsage	usage;

	slot->rows = ended->rows;
	if (ended->desc && ended->outcome == IMON_COMPLETED)
		slot->rows = (int64) imon_rows_processed(ended->desc);
	slot->has_usage = usage_of(ended, &usage);
	if (!slot->has_usage)
		return;
	slot->shared_blks_hit = usage.buffers.shared_blks_hit;
	slot->shared_blks_read = usage.buffers.shared_blks_read;
	slot->temp_blks_written = usage.buffers.temp_blks_written;
	slot->wal_bytes = (int64) usage.wal.wal_bytes;
}

/* Writes the address of the client. */
static void
write_address(ImonClientAddress *target, const SockAddr *source)
{
	const void *address = NULL;

	target->length = 0;
	if (source->addr.ss_family == AF_INET)
	{
		target->length = 4;
		address = &((const struct sockaddr_in *) &source->addr)->sin_addr;
	}
	else if (source->addr.ss_family == AF_INET6)
	{
		target->length = 16;
		address = &((const struct sockaddr_in6 *) &source->addr)->sin6_addr;
	}
	if (address)
		memcpy(target->bytes, address, target->length);
}

/* Writes who runs the execution, and which. */
static void
write_session(ImonSlowEntry *slot, const ImonStatementKey *key)
{
	slot->queryid = key->queryid;
	slot->userid = key->userid;
	slot->dbid = key->dbid;
	slot->toplevel = key->toplevel;
	slot->pid = MyProcPid;
	slot->encoding = (int8) GetDatabaseEncoding();
	strlcpy(slot->application_name, application_name ? application_name : "",
			NAMEDATALEN);
	slot->client_addr.length = 0;
	if (MyProcPort)
		write_address(&slot->client_addr, &MyProcPort->raddr);
}

/* Marks a text as clipped, in "size" bytes. */
static void
mark_clipped(char *text, int size)
{
	int			length = pg_mbcliplen(text, strlen(text),
									  size - (int) sizeof(CLIPPED));

	memcpy(text +length, CLIPPED, sizeof(CLIPPED));
}

/*
 * Writes the texts of an execution, a plan into what the query leaves; "plan"
 * may be NULL.
 */
static void
write_texts(ImonSlowEntry *slot, const ImonEnded *ended, const char *plan)
{
	char	   *query = slot->texts;
	char	   *behind;
	int			room;

	if (ended->source)
		imon_mask_query(query, imon_slow_query_text_size, ended->source->text,
						ended->source->location, ended->source->length,
						imon_log_parameters);
	else if (ended->desc)
		imon_mask_query(query, imon_slow_query_text_size, ended->desc->sourceText,
						ended->desc->plannedstmt->stmt_location,
						ended->desc->plannedstmt->stmt_len,
						imon_log_parameters);
	else
		strlcpy(query, noted_text, imon_slow_query_text_size);

	behind = query + strlen(query) + 1;
	room = text_area() - (int) (behind - query);
	if (strlcpy(behind, plan ? plan : "", room) >= room)
		mark_clipped(behind, room);
}

/*
 * Puts an execution into the ring.  "skipped_us" of the statement's time belong
 * to others before it.
 */
static void
keep(const ImonEnded *ended, int64 skipped_us, int64 total_us, const char *plan)
{
	uint64		number = pg_atomic_fetch_add_u64(&slow_log->n_entries, 1);
	ImonSlowEntry *slot = take_slot(number);

	if (slot == NULL)
		return;
	slot->total_us = total_us;
	slot->pre_us = -1;
	slot->ended_at = GetCurrentTimestamp();
	slot->started_at = slot->ended_at - total_us;
	if (ended->beginning->pre_us >= 0)
	{
		slot->pre_us = ended->beginning->pre_us - skipped_us;
		slot->started_at = ended->beginning->statement + skipped_us;
	}
	slot->outcome = (uint8) ended->outcome;
	slot->sqlerrcode = ended->sqlerrcode;
	read_profile(ended, &slot->profile);
	write_usage(slot, ended);
	write_session(slot, ended->key);
	write_texts(slot, ended, plan);

	pg_write_barrier();
	pg_atomic_write_u64(&slot->state, state_of(number, SLOT_KEPT));
}

/* The plan of a query, its literals masked; palloc'd. */
static char *
explain(QueryDesc *desc)
{
	ExplainState *es = NewExplainState();
	char	   *plan = palloc(text_area());

	es->costs = true;
	es->format = EXPLAIN_FORMAT_TEXT;
	PushActiveSnapshot(desc->snapshot);
	ExplainBeginOutput(es);
	ExplainPrintPlan(es, desc);
	ExplainEndOutput(es);
	PopActiveSnapshot();

	if (!imon_mask_plan(plan, text_area(), es->str->data,
						imon_log_parameters &&
						!imon_mentions_secret(desc->sourceText,
											  strlen(desc->sourceText))))
		mark_clipped(plan, text_area());
	return plan;
}

/*
 * The same in a subtransaction that contains its errors: NULL then.  Only what
 * ends the statement, or the session, is let through.  And what goes wrong when
 * the subtransaction begins, other than that there is no memory to begin with:
 * then PostgreSQL has to abort the transaction.
 */
static char *
try_explain(QueryDesc *desc, MemoryContext *memory)
{
	ImonContained contained;
	volatile bool begun = false;
	char	   *volatile plan = NULL;

	PG_TRY();
	{
		imon_begin_contained(&contained);
		begun = true;
		*memory = AllocSetContextCreate(CurrentMemoryContext,
										"infra_monitor plan",
										ALLOCSET_DEFAULT_SIZES);
		MemoryContextSwitchTo(*memory);
		plan = explain(desc);
		imon_end_contained(&contained);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		if (!begun && GetCurrentTransactionNestLevel() > contained.level)
			PG_RE_THROW();
		error = imon_catch_contained(&contained);
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) ==
			ERRCODE_TO_CATEGORY(ERRCODE_QUERY_CANCELED))
			ReThrowError(error);
		plan = NULL;
	}
	PG_END_TRY();
	return plan;
}

/* Is the plan of this execution wanted, and can it be had? */
static bool
wants_plan(const ImonEnded *ended)
{
	return imon_slow_query_plan && ended->outcome == IMON_COMPLETED &&
		ended->desc != NULL && ended->key->toplevel &&
		ended->desc->planstate != NULL && ended->desc->snapshot != NULL &&
		IsTransactionState() && !IsInParallelMode() && CritSectionCount == 0;
}

/* Keeps an execution with its plan, if there is memory for that. */
static void
keep_with_plan(const ImonEnded *ended, int64 skipped_us, int64 total_us)
{
	MemoryContext memory = NULL;

	keep(ended, skipped_us, total_us, try_explain(ended->desc, &memory));
	if (memory)
		MemoryContextDelete(memory);
}

/* Is it slow, if it takes so long? */
static inline bool
is_slow(int64 us)
{
	return imon_slow_query_threshold >= 0 &&
		us >= INT64CONST(1000) * imon_slow_query_threshold;
}

void
imon_log_slow(const ImonEnded *ended)
{
	const ImonBeginning *beginning = ended->beginning;
	int64		total_us = (int64) (ended->ns / 1000);
	int64		skipped_us = 0;

	if (beginning->pre_us >= 0)
	{
		skipped_us = imon_used_up(beginning->statement, beginning->pre_us);
		total_us += beginning->pre_us - skipped_us;
	}
	if (!is_slow(total_us))
		return;
	if (wants_plan(ended))
		keep_with_plan(ended, skipped_us, total_us);
	else
		keep(ended, skipped_us, total_us, NULL);
}

void
imon_note_slow_text(const char *query, TimestampTz statement, int64 elapsed_us)
{
	noted_text[0] = '\0';
	if (query && is_slow(elapsed_us - imon_used_up(statement, elapsed_us)))
		imon_mask_query(noted_text, imon_slow_query_text_size, query, -1, 0,
						imon_log_parameters);
}

/*
 * Adds a wait to a profile.  What has no place is left out.
 */
static void
add_wait(ImonWaitProfile *profile, uint32 event, uint32 ms)
{
	int			i;

	for (i = 0; i < profile->count; i++)
		if (profile->events[i] == event)
			break;
	if (i == MAX_WAITS)
		return;
	if (i == profile->count)
	{
		profile->events[i] = event;
		profile->ms[i] = 0;
		profile->count++;
	}
	profile->ms[i] += ms;
}

/*
 * Notes what one active client waits for: the time since the look before, or
 * since its statement began if that was later.  A statement with another
 * identifier is another one, also in the same message.
 */
static void
note_session(const ImonSession *session, TimestampTz before, TimestampTz now)
{
	ImonWaitNote *note = note_of(session->procno);
	TimestampTz statement = session->status->st_activity_start_timestamp;
	uint64		queryid = session->status->st_query_id;
	TimestampTz since = Max(before, statement);
	bool		same = note->pid == session->pid &&
		note->statement == statement &&
		(note->queryid == 0 || note->queryid == queryid);

	pg_atomic_fetch_add_u32(&note->sequence, 1);
	pg_memory_barrier();
	note->pid = session->pid;
	note->statement = statement;
	note->queryid = queryid;
	if (!same)
		memset(&note->profile, 0, sizeof(ImonWaitProfile));
	if (now > since)
		add_wait(&note->profile, session->wait_event,
				 (uint32) ((now - since) / 1000));
	pg_memory_barrier();
	pg_atomic_fetch_add_u32(&note->sequence, 1);
}

/* Notes who is at the root of one lock wait. */
static void
note_blocker(const ImonSession *session, const ImonWaiter *waiter)
{
	ImonWaitNote *note = note_of(session->procno);

	if (note->pid != session->pid)
		return;					/* not active at the look */
	pg_atomic_fetch_add_u32(&note->sequence, 1);
	pg_memory_barrier();
	note->profile.blocked = true;
	note->profile.blocked_by = waiter->root.pid;
	pg_memory_barrier();
	pg_atomic_fetch_add_u32(&note->sequence, 1);
}

/* Can a note be made about the session? */
static inline bool
is_noted(const ImonSession *session)
{
	return session->procno >= 0 && session->procno < MaxBackends &&
		session->status->st_state == STATE_RUNNING;
}

void
imon_note_waits(const ImonSessions *sessions, const ImonLockSnapshot *snapshot)
{
	TimestampTz before = slow_log->last_look;
	ImonWaiter	waiter;
	int			position = 0;

	for (int i = 0; i < sessions->count; i++)
		if (is_noted(&sessions->sessions[i]))
			note_session(&sessions->sessions[i], before, sessions->at);
	slow_log->last_look = sessions->at;

	while (snapshot && imon_next_lock_wait(snapshot, &position, &waiter))
	{
		const ImonSession *session = imon_find_session(sessions,
													   waiter.party.pid);

		if (session && is_noted(session) && waiter.root_number >= 0)
			note_blocker(session, &waiter);
	}
}

void
imon_slow_log_reset(void)
{
	pg_atomic_write_u64(&slow_log->first,
						pg_atomic_read_u64(&slow_log->n_entries));
}

uint64
imon_slow_log_dropped(void)
{
	return pg_atomic_read_u64(&slow_log->dropped);
}

uint64
imon_slow_log_overwritten(void)
{
	return pg_atomic_read_u64(&slow_log->overwritten);
}

/*
 * Is there an execution in the slot of this number, written to its end and not
 * reset?  Mostly it is that of the number; an older one while that is not
 * written, or was dropped; or one that has just come.  "state" says which.
 */
static bool
find_entry(uint64 slot, uint64 *state)
{
	*state = pg_atomic_read_u64(&slot_of(slot)->state);
	return *state % 4 >= SLOT_KEPT &&
		*state / 4 >= pg_atomic_read_u64(&slow_log->first);
}

/* Copies execution "number" if it is still in the ring and whole. */
static bool
read_entry(uint64 number, ImonSlowEntry *copy)
{
	ImonSlowEntry *slot = slot_of(number);

	if (!is_whole(pg_atomic_read_u64(&slot->state), number))
		return false;
	pg_read_barrier();
	memcpy(copy, slot, slot_size());
	pg_read_barrier();
	return is_whole(pg_atomic_read_u64(&slot->state), number);
}

/* The time spent waiting in seconds by event, a jsonb; NULL if not known. */
static Datum
profile_datum(const ImonWaitProfile *profile, bool *isnull)
{
	StringInfoData json;

	*isnull = (profile->count == 0);
	if (*isnull)
		return (Datum) 0;
	initStringInfo(&json);
	for (int i = 0; i < profile->count; i++)
	{
		const char *type = pgstat_get_wait_event_type(profile->events[i]);
		const char *event = pgstat_get_wait_event(profile->events[i]);

		appendStringInfoString(&json, i == 0 ? "{" : ", ");
		escape_json(&json, type && event ? psprintf("%s:%s", type, event) : "CPU");
		appendStringInfo(&json, ": %u.%03u", profile->ms[i] / 1000,
						 profile->ms[i] % 1000);
	}
	appendStringInfoChar(&json, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
}

/* Milliseconds; NULL for a negative number of microseconds. */
static Datum
time_datum(int64 us, bool *isnull)
{
	*isnull = (us < 0);
	return Float8GetDatum(us / 1000.0);
}

/* A count; NULL if negative. */
static Datum
count_datum(int64 count, bool *isnull)
{
	*isnull = (count < 0);
	return Int64GetDatum(count);
}

/* The address of a client as inet; NULL for a Unix-domain socket. */
static Datum
address_datum(const ImonClientAddress *address, bool *isnull)
{
	SockAddr	full;
	void	   *target;

	memset(&full, 0, sizeof(full));
	if (address->length == 4)
	{
		full.addr.ss_family = AF_INET;
		full.salen = sizeof(struct sockaddr_in);
		target = &((struct sockaddr_in *) &full.addr)->sin_addr;
	}
	else
	{
		full.addr.ss_family = address->length == 16 ? AF_INET6 : AF_UNIX;
		full.salen = sizeof(struct sockaddr_in6);
		target = &((struct sockaddr_in6 *) &full.addr)->sin6_addr;
	}
	memcpy(target, address->bytes, address->length);
	return imon_client_addr_datum(&full, isnull);
}

/* The columns about who ran it and what, from "pid" to "toplevel". */
static int
put_who(const ImonSlowEntry *entry, bool visible, Datum *values, bool *nulls)
{
	int			i = 0;

	values[i++] = Int32GetDatum(entry->pid);
	values[i] = imon_name_datum(get_database_name(entry->dbid), &nulls[i]);
	i++;
	values[i] = imon_name_datum(GetUserNameFromId(entry->userid, true),
								&nulls[i]);
	i++;
	values[i++] = visible ? imon_text_datum(entry->application_name)
		: CStringGetTextDatum(IMON_HIDDEN_TEXT);
	nulls[i] = true;
	if (visible)
		values[i] = address_datum(&entry->client_addr, &nulls[i]);
	i++;
	values[i] = UInt64GetDatum(entry->queryid);
	nulls[i++] = (entry->queryid == 0 || !visible);
	values[i++] = BoolGetDatum(entry->toplevel);
	return i;
}

/* The columns about what it used and waited for, from "rows" to "blocked_by". */
static int
put_usage(const ImonSlowEntry *entry, Datum *values, bool *nulls)
{
	const int64 counts[] = {
		entry->shared_blks_hit, entry->shared_blks_read,
		entry->temp_blks_written, entry->wal_bytes
	};
	int			i = 0;

	values[i] = count_datum(entry->rows, &nulls[i]);
	i++;
	for (int j = 0; j < lengthof(counts); j++)
	{
		values[i] = Int64GetDatum(counts[j]);
		nulls[i++] = !entry->has_usage;
	}
	values[i] = profile_datum(&entry->profile, &nulls[i]);
	i++;
	values[i] = Int32GetDatum(entry->profile.blocked_by);
	nulls[i++] = !entry->profile.blocked;
	return i;
}

/* A text of an entry: NULL if there is none, hidden unless "visible". */
static Datum
text_datum(const ImonSlowEntry *entry, const char *bytes, bool is_query,
		   bool visible, bool *isnull)
{
	char	   *converted;

	*isnull = (bytes[0] == '\0');
	if (*isnull)
		return (Datum) 0;
	if (!visible)
		return CStringGetTextDatum(IMON_HIDDEN_TEXT);
	converted = imon_convert(bytes, entry->encoding);
	return is_query ? imon_query_datum(converted) : imon_text_datum(converted);
}

/*
 * The columns of one execution, as in SQL; texts and who was at work only if
 * "visible".
 */
static void
put_columns(const ImonSlowEntry *entry, uint64 number, bool visible,
			Datum *values, bool *nulls)
{
	const char *plan = entry->texts + strlen(entry->texts) + 1;
	int			i = 0;

	memset(nulls, false, IMON_SLOW_LOG_COLUMNS * sizeof(bool));
	values[i++] = TimestampTzGetDatum(entry->started_at);
	values[i++] = Float8GetDatum(entry->total_us / 1000.0);
	values[i++] = CStringGetTextDatum(outcome_names[entry->outcome]);
	values[i] = imon_string_datum(entry->sqlerrcode == 0 ? NULL :
								  unpack_sql_state(entry->sqlerrcode), &nulls[i]);
	i++;
	i += put_who(entry, visible, values + i, nulls + i);
	i += put_usage(entry, values + i, nulls + i);
	values[i] = text_datum(entry, entry->texts, true, visible, &nulls[i]);
	i++;
	values[i] = text_datum(entry, plan, false, visible, &nulls[i]);
	i++;
	values[i] = time_datum(entry->pre_us, &nulls[i]);
	i++;
	values[i++] = ObjectIdGetDatum(entry->userid);
	values[i++] = ObjectIdGetDatum(entry->dbid);
	values[i++] = TimestampTzGetDatum(entry->ended_at);
	values[i++] = TimestampTzGetDatum(imon_shmem_created_at());
	values[i++] = Int64GetDatum((int64) number);
	Assert(i == IMON_SLOW_LOG_COLUMNS);
}

void
imon_slow_log_range(uint64 *first, uint64 *end)
{
	uint64		size = imon_slow_query_log_size;

	*first = pg_atomic_read_u64(&slow_log->first);
	pg_read_barrier();
	*end = pg_atomic_read_u64(&slow_log->n_entries);
	if (*end > size)
		*first = Max(*first, *end - size);
}

/*
 * SQL: slow_query_log(): the columns of the view but for the last, then userid,
 * dbid, ended_at, log_started_at, entry.
 */
Datum
imon_slow_query_log_1_0(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo;
	ImonSlowEntry *copy;
	uint64		first;
	uint64		end;

	imon_shmem_require();
	rsinfo = imon_begin_rows(fcinfo, IMON_SLOW_LOG_COLUMNS);

	copy = palloc(slot_size());
	imon_slow_log_range(&first, &end);
	for (uint64 slot = end; slot-- > first;)
	{
		Datum		values[IMON_SLOW_LOG_COLUMNS];
		bool		nulls[IMON_SLOW_LOG_COLUMNS];
		uint64		state;

		if (!find_entry(slot, &state) || !read_entry(state / 4, copy))
			continue;
		put_columns(copy, state / 4, imon_may_see_role(copy->userid), values,
					nulls);
		imon_put_row(rsinfo, values, nulls);
	}
	pfree(copy);
	return (Datum) 0;
}

uint64
imon_slow_queries_ever(void)
{
	return pg_atomic_read_u64(&slow_log->n_entries);
}

/* SQL: slow_queries_logged(), how many executions were ever slow. */
Datum
imon_slow_queries_logged_1_0(PG_FUNCTION_ARGS)
{
	imon_shmem_require();
	PG_RETURN_INT64((int64) pg_atomic_read_u64(&slow_log->n_entries));
}

/*
 * What the sampler stores
 */

bool
imon_slow_log_presses(void)
{
	uint64		first = pg_atomic_read_u64(&slow_log->first);
	uint64		end = pg_atomic_read_u64(&slow_log->n_entries);

	first = Max(first, pg_atomic_read_u64(&slow_log->looked_through));
	return end > first && end - first > imon_slow_query_log_size / 4;
}

void
imon_slow_log_looked_through(uint64 slot)
{
	pg_atomic_write_u64(&slow_log->looked_through, slot);
}

bool
imon_next_slow_query(uint64 *slot, uint64 end, uint64 *number)
{
	uint64		state;

	for (; *slot < end; (*slot)++)
		if (find_entry(*slot, &state) && state % 4 == SLOT_KEPT)
		{
			*number = state / 4;
			return true;
		}
	return false;
}

bool
imon_take_slow_query(uint64 number, Datum *values, bool *nulls)
{
	ImonSlowEntry *copy = palloc(slot_size());
	uint64		kept = state_of(number, SLOT_KEPT);

	if (!read_entry(number, copy))
		return false;
	put_columns(copy, number, true, values, nulls);
	return pg_atomic_compare_exchange_u64(&slot_of(number)->state, &kept,
										  state_of(number, SLOT_TAKEN));
}

void
imon_return_slow_query(uint64 number)
{
	uint64		taken = state_of(number, SLOT_TAKEN);

	if (!pg_atomic_compare_exchange_u64(&slot_of(number)->state, &taken,
										state_of(number, SLOT_KEPT)))
		count_overwritten(number);
}
