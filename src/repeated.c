/*-------------------------------------------------------------------------
 *
 * repeated.c
 *	  Finds statements that a client executes in a loop (N+1).
 *
 * A process keeps a few "loops": statements of its client that it has executed
 * lately, with the number of executions.  Together they are a pattern.  A loop
 * that ends with at least repeated_query_threshold executions is a burst and
 * is added to a table in shared memory.
 *
 * In a transaction block the pattern is the block: a loop is all executions of
 * a statement in it, in whatever order (A B A B, A A B B, a page after the
 * other), and ends with it.
 *
 * Outside of blocks nothing tells where the work of one request ends, and a
 * pool that executes one statement after the other is no loop.  There a burst
 * needs a parent that returned at least half as many rows as it has executions.
 * As in a random pool a frequent statement often follows a rare one like that,
 * - it must come regularly: as a rule the statement before it is the same each
 *	 time (MAX_CHANGES); or be executed as often as the parent returned rows, or
 *	 a multiple of that,
 * - the parent must be followed by loops often enough (MAX_BARREN), as far as
 *	 the process knows,
 * - and the statement must not be one that is also repeated without a parent.
 * The pattern ends
 * - when its first statement is executed again, but for the part of it that
 *	 begins with a statement which has just returned enough rows for a burst:
 *	 the first one may be in the loop, and have been executed before by chance,
 * - at a statement that is not part of it, if there is a burst and this one
 *	 has returned enough rows for another,
 * - when it has no room for another statement, but for the same part,
 * - when the client sends nothing for IDLE_LIMIT, or resets its session,
 * - at a transaction block, but for a small one, which counts as what was
 *	 executed in it: some frameworks put each statement into a block.
 * A single loop ends when a statement that began before it is executed again,
 * and it has had more than two executions since the last time: that is its
 * parent with the next page.
 *
 * The parent of a burst is that of the statements that began before it which
 * began last, siblings left out.  A sibling is what was executed at least half
 * as often: it is in the same loop.  Statements that have returned at least
 * half as many rows as the burst has executions are preferred; in a block
 * others will do, and there need not be one.
 *
 * Loops are private to the process.  The table's lock guards all of it; a
 * process that finds it taken keeps the burst and tries again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "executor/execdesc.h"
#include "fmgr.h"
#include "guc.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "privileges.h"
#include "repeated.h"
#include "rows.h"
#include "shmem.h"
#include "storage/lwlock.h"
#include "texts.h"
#include "transactions.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#define MAX_LOOPS 8				/* statements in a pattern */
#define MAX_REPEATED 512		/* rows of the table */
#define MAX_PENDING 8			/* bursts kept for later, each process */
#define SMALL_BLOCK 4			/* executions */
#define IDLE_LIMIT (2 * USECS_PER_SEC)
#define MAX_CHANGES(count) (2 + (count) / 32)	/* of what comes before */
#define MAX_BARREN 3			/* executions of a parent for each loop */
#define N_KNOWN 64				/* statements of which that is known */
#define N_PLACES 4				/* where one of them can be */
#define MAX_KNOWN 64			/* what is counted of them; then all is halved */

#define REPEATED_COLUMNS 11

typedef enum ImonRepeatedKind
{
	IMON_REPEATED_SELECT,
	IMON_REPEATED_WRITE,
	IMON_REPEATED_NONE			/* can be a parent, but no burst */
} ImonRepeatedKind;

static const char *const kind_names[] = {"select", "write"};

/* Executions of a statement. */
typedef struct ImonLoop
{
	uint64		queryid;
	uint64		ns;
	uint64		rows;
	uint64		began;			/* by the pattern's clock */
	uint64		used;			/* the same, last */
	uint32		count;
	uint32		turn;			/* of these, since a statement that began
								 * before was last executed; outside of
								 * blocks.  Of the first: since it began */
	Oid			userid;
	uint8		kind;			/* an ImonRepeatedKind */
	uint8		changes;		/* how often another statement came before it
								 * than the time before, at most; outside of
								 * blocks */
	uint16		before;			/* that, a part of its queryid */
	uint64		parent_queryid; /* when it became a burst; 0 = none */
} ImonLoop;

StaticAssertDecl(sizeof(ImonLoop) == 64, "its address should be easy to find");

typedef struct ImonPattern
{
	int			n;
	ImonLoop   *last;			/* used last; never NULL, has no queryid if it
								 * has ended */
	uint64		clock;
	TimestampTz sent;			/* the last execution; outside of blocks */
	uint64		ns;				/* the time that it took */
	ImonLoop	loops[MAX_LOOPS];	/* outside of blocks as they began */
	char		names[MAX_LOOPS][NAMEDATALEN];	/* application, when the loop
												 * became a burst; or empty */
} ImonPattern;

static ImonPattern in_block = {.last = in_block.loops};
static IMON_HOT_LINES ImonPattern outside = {.last = outside.loops};

/* What is known of a statement outside of blocks. */
typedef struct ImonKnown
{
	uint64		queryid;
	uint64		used;			/* by the pattern's clock */
	uint16		executions;		/* that returned rows for a burst */
	uint16		followed;		/* by bursts */
	uint16		loops;			/* bursts with a parent */
	uint16		strays;			/* repeated as often, without a parent */
} ImonKnown;

/* By queryid; one that comes takes the place of that not used for longest. */
static ImonKnown known[N_KNOWN];

/* What is told apart in the table; compared as bytes. */
typedef struct ImonRepeatedKey
{
	uint64		queryid;
	uint64		parent_queryid; /* 0 = none */
	Oid			userid;
	Oid			dbid;
	char		application_name[NAMEDATALEN];
} ImonRepeatedKey;

/* A loop that has ended. */
typedef struct ImonBurst
{
	ImonRepeatedKey key;
	ImonRepeatedKind kind;
	uint64		executions;
	uint64		ns;
} ImonBurst;

/* A row of the table. */
typedef struct ImonRepeated
{
	ImonRepeatedKey key;
	ImonRepeatedKind kind;
	uint64		bursts;
	uint64		executions;
	uint64		longest;
	uint64		ns;
	TimestampTz last_seen;
} ImonRepeated;

typedef struct ImonRepeatedTable
{
	LWLock	   *lock;			/* guards all that is not atomic */
	pg_atomic_uint64 dropped;
	pg_atomic_uint64 evicted;
	uint64		all_bursts;		/* since shared memory was created */
	uint64		all_executions;
	int			n;
	ImonRepeated rows[MAX_REPEATED];
} ImonRepeatedTable;

static ImonRepeatedTable *table = NULL;

/* Bursts that could not be recorded yet. */
static ImonBurst pending[MAX_PENDING];
static IMON_HOT_DATA int n_pending = 0;

PG_FUNCTION_INFO_V1(imon_repeated_counts_1_0);

static Size
repeated_size(void)
{
	return sizeof(ImonRepeatedTable);
}

static void
repeated_init(void *part, LWLock *lock)
{
	ImonRepeatedTable *shared = (ImonRepeatedTable *) part;

	shared->lock = lock;
	pg_atomic_init_u64(&shared->dropped, 0);
	pg_atomic_init_u64(&shared->evicted, 0);
	shared->n = 0;
}

static const ImonShmemPart repeated_part = {
	.name = "infra_monitor repeated queries",
	.size = repeated_size,
	.init = repeated_init,
	.address = (void **) &table
};

void
imon_repeated_init(void)
{
	imon_shmem_register(&repeated_part);
}

/*
 * The row that is missed least: by its time, which counts the less the longer
 * ago it was.  Needs the lock.
 */
static ImonRepeated *
least_costly(TimestampTz now)
{
	ImonRepeated *least = NULL;
	double		least_cost = 0;

	for (int i = 0; i < table->n; i++)
	{
		ImonRepeated *row = &table->rows[i];
		double		hours = Max(now - row->last_seen, 0) / (double) USECS_PER_HOUR;
		double		cost = row->ns / (1 + hours);

		if (least == NULL || cost < least_cost)
		{
			least = row;
			least_cost = cost;
		}
	}
	return least;
}

/* The row of this key, a new one if need be.  Needs the lock, exclusive. */
static ImonRepeated *
find_or_add(const ImonRepeatedKey *key, TimestampTz now)
{
	ImonRepeated *row;

	for (int i = 0; i < table->n; i++)
	{
		row = &table->rows[i];
		if (row->key.queryid == key->queryid &&
			memcmp(&row->key, key, sizeof(ImonRepeatedKey)) == 0)
			return row;
	}
	if (table->n < MAX_REPEATED)
		row = &table->rows[table->n++];
	else
	{
		row = least_costly(now);
		pg_atomic_fetch_add_u64(&table->evicted, 1);
	}
	memset(row, 0, sizeof(ImonRepeated));
	row->key = *key;
	return row;
}

/*
 * Adds a burst to the table.  Returns false if the lock is not free and the
 * caller does not wait.
 */
static bool
record(const ImonBurst *burst, bool wait)
{
	TimestampTz now = GetCurrentTimestamp();
	ImonRepeated *row;

	if (wait)
		LWLockAcquire(table->lock, LW_EXCLUSIVE);
	else if (!LWLockConditionalAcquire(table->lock, LW_EXCLUSIVE))
		return false;
	row = find_or_add(&burst->key, now);
	table->all_bursts++;
	table->all_executions += burst->executions;
	row->kind = burst->kind;
	row->bursts++;
	row->executions += burst->executions;
	row->longest = Max(row->longest, burst->executions);
	row->ns += burst->ns;
	row->last_seen = now;
	LWLockRelease(table->lock);
	return true;
}

/* Records what could not be recorded before. */
static pg_noinline void
record_pending(bool wait)
{
	while (n_pending > 0 && record(&pending[n_pending - 1], wait))
		n_pending--;
}

/* Records a burst, later if that cannot be now. */
static void
record_or_keep(const ImonBurst *burst)
{
	record_pending(false);
	if (n_pending == 0 && record(burst, false))
		return;
	if (n_pending < MAX_PENDING)
		pending[n_pending++] = *burst;
	else
		pg_atomic_fetch_add_u64(&table->dropped, 1);
}

/* The statement out of which the loop was executed, or NULL. */
static const ImonLoop *
find_parent(const ImonPattern *pattern, const ImonLoop *loop)
{
	const ImonLoop *parent = NULL;
	bool		found = false;

	for (int i = 0; i < pattern->n; i++)
	{
		const ImonLoop *other = &pattern->loops[i];
		bool		enough = 2 * other->rows >= loop->count;

		if (other->began >= loop->began || 2 * other->count >= loop->count ||
			(!enough && (found || pattern == &outside)))
			continue;
		if (parent == NULL || (enough && !found) || other->began > parent->began)
			parent = other;
		found |= enough;
	}
	return parent;
}

/* The loop of a statement, or NULL. */
static inline ImonLoop *
find_loop(ImonPattern *pattern, uint64 queryid)
{
	if (likely(pattern->last->queryid == queryid))
		return pattern->last;
	for (int i = 0; i < pattern->n; i++)
		if (pattern->loops[i].queryid == queryid)
			return &pattern->loops[i];
	return NULL;
}

static inline bool
is_burst(const ImonLoop *loop)
{
	return loop->count >= imon_repeated_query_threshold &&
		loop->kind != IMON_REPEATED_NONE && imon_repeated_query_threshold > 0;
}

/* The parent of a burst in a block that ends, 0 if there is none. */
static uint64
parent_of(const ImonLoop *loop)
{
	const ImonLoop *parent = find_parent(&in_block, loop);

	/* one that others have pushed out */
	if (loop->parent_queryid != 0 &&
		find_loop(&in_block, loop->parent_queryid) == NULL)
		return loop->parent_queryid;
	return parent ? parent->queryid : 0;
}

/* The place of a statement; a new one if need be. */
static ImonKnown *
find_known(uint64 queryid)
{
	ImonKnown  *places = &known[queryid % (N_KNOWN / N_PLACES) * N_PLACES];
	ImonKnown  *oldest = places;

	for (ImonKnown *place = places; place < places + N_PLACES; place++)
	{
		if (place->queryid == queryid)
			return place;
		if (place->used < oldest->used)
			oldest = place;
	}
	memset(oldest, 0, sizeof(ImonKnown));
	oldest->queryid = queryid;
	return oldest;
}

/* What is known of a statement, which is about to grow by one or so. */
static ImonKnown *
know(uint64 queryid)
{
	ImonKnown  *statement = find_known(queryid);

	statement->used = outside.clock;
	if (statement->executions > MAX_KNOWN || statement->followed > MAX_KNOWN)
	{
		statement->executions /= 2;
		statement->followed /= 2;
	}
	if (statement->loops > MAX_KNOWN || statement->strays > MAX_KNOWN)
	{
		statement->loops /= 2;
		statement->strays /= 2;
	}
	return statement;
}

/*
 * Is the burst a loop over the rows of its parent, or has it come about by
 * chance?  For one outside of blocks.
 */
static bool
is_over_rows(const ImonLoop *loop, const ImonLoop *parent)
{
	uint64		rows = parent->rows / Max(parent->count, 1);
	const ImonKnown *itself;
	const ImonKnown *before;

	if (loop->changes > MAX_CHANGES(loop->count) &&
		(rows == 0 || loop->count % rows != 0))
		return false;
	know(loop->queryid)->loops++;
	know(parent->queryid)->followed++;
	itself = know(loop->queryid);
	before = know(parent->queryid);
	return before->executions <= MAX_BARREN * before->followed &&
		2 * itself->strays <= itself->loops;
}

/* A burst has ended: records it, if there is enough reason. */
static pg_noinline void
end_burst(ImonPattern *pattern, const ImonLoop *loop)
{
	const char *name = pattern->names[loop - pattern->loops];
	uint64		parent_queryid;
	ImonBurst	burst;

	if (pattern == &outside)
	{
		const ImonLoop *parent = find_parent(pattern, loop);

		if (parent == NULL)
			know(loop->queryid)->strays++;
		if (parent == NULL || !is_over_rows(loop, parent))
			return;
		parent_queryid = parent->queryid;
	}
	else
		parent_queryid = parent_of(loop);

	memset(&burst, 0, sizeof(ImonBurst));
	burst.key.queryid = loop->queryid;
	burst.key.parent_queryid = parent_queryid;
	burst.key.userid = loop->userid;
	burst.key.dbid = MyDatabaseId;
	strlcpy(burst.key.application_name, *name ? name : application_name,
			NAMEDATALEN);
	burst.kind = loop->kind;
	burst.executions = loop->count;
	burst.ns = loop->ns;
	record_or_keep(&burst);
}

/* A loop has ended. */
static inline void
end_loop(ImonPattern *pattern, const ImonLoop *loop)
{
	if (unlikely(is_burst(loop)))
		end_burst(pattern, loop);
	if (loop == outside.loops && imon_repeated_query_threshold > 0 &&
		loop->turn >= imon_repeated_query_threshold)
		know(loop->queryid)->strays++;
}

/* Ends all loops of a pattern. */
static pg_noinline void
end_pattern(ImonPattern *pattern)
{
	for (int i = 0; i < pattern->n; i++)
		end_loop(pattern, &pattern->loops[i]);
	pattern->n = 0;
	pattern->last->queryid = 0;
}

/* Begins a loop, in the place of that not used for longest if need be. */
static pg_noinline ImonLoop *
begin_loop(ImonPattern *pattern, uint64 queryid, Oid userid,
		   ImonRepeatedKind kind)
{
	ImonLoop   *loop = &pattern->loops[0];

	if (pattern->n < MAX_LOOPS)
		loop = &pattern->loops[pattern->n++];
	else
	{
		for (int i = 1; i < MAX_LOOPS; i++)
			if (pattern->loops[i].used < loop->used)
				loop = &pattern->loops[i];
		end_loop(pattern, loop);
	}
	memset(loop, 0, sizeof(ImonLoop));
	loop->queryid = queryid;
	loop->userid = userid;
	loop->kind = kind;
	loop->began = loop->used = ++pattern->clock;
	if (pattern == &in_block)
		imon_awaits |= IMON_AWAITS_BLOCK;
	pattern->names[loop - pattern->loops][0] = '\0';
	return loop;
}

/*
 * Keeps what may be gone before the loop ends: the name of the application,
 * when a pooler gives the session to another, and the parent, when other
 * statements need the room.
 */
static pg_noinline void
keep_origin(ImonPattern *pattern, ImonLoop *loop)
{
	const ImonLoop *parent = find_parent(pattern, loop);

	loop->parent_queryid = parent ? parent->queryid : 0;
	strlcpy(pattern->names[loop - pattern->loops], application_name,
			NAMEDATALEN);
}

/* Notes what was executed before a statement. */
static inline void
note_before(ImonLoop *loop, const ImonLoop *last)
{
	uint16		before = (uint16) last->queryid;

	if (loop->before == before)
		return;
	if (loop->before != 0 && loop->changes < PG_UINT8_MAX)
		loop->changes++;
	loop->before = before;
}

/* Adds executions to a loop. */
static inline void
add_executions(ImonPattern *pattern, ImonLoop *loop, uint32 count, uint64 ns,
			   uint64 rows)
{
	if (pattern == &outside)
	{
		note_before(loop, pattern->last);
		if (rows >= (uint64) count * imon_repeated_query_threshold &&
			imon_repeated_query_threshold > 0)
			know(loop->queryid)->executions += count;
	}
	loop->count += count;
	loop->turn += count;
	loop->ns += ns;
	loop->rows += rows;
	loop->used = ++pattern->clock;
	pattern->last = loop;
	if (unlikely(loop->count >= imon_repeated_query_threshold &&
				 loop->count - count < imon_repeated_query_threshold))
		keep_origin(pattern, loop);
}

/* Does a statement that is not part of the pattern begin the next? */
static pg_noinline bool
begins_pattern(uint64 rows)
{
	if (2 * rows < imon_repeated_query_threshold)
		return false;
	for (int i = 0; i < outside.n; i++)
		if (is_burst(&outside.loops[i]))
			return true;
	return false;
}

/*
 * Ends the pattern outside of blocks, but keeps what began with the last
 * statement that can be the parent of a burst, and was executed once.
 */
static pg_noinline void
end_outside(void)
{
	int			first = outside.n - 1;

	for (; first > 0; first--)
		if (outside.loops[first].count == 1 &&
			2 * outside.loops[first].rows >= imon_repeated_query_threshold)
			break;
	if (first <= 0)
	{
		end_pattern(&outside);
		return;
	}
	for (int i = 0; i < first; i++)
		end_loop(&outside, &outside.loops[i]);
	outside.n -= first;
	memmove(&outside.loops[0], &outside.loops[first],
			outside.n * sizeof(ImonLoop));
	memmove(outside.names[0], outside.names[first], outside.n * NAMEDATALEN);
	outside.last = outside.loops;
}

/* Lets a loop begin again where it is. */
static inline void
restart_loop(ImonLoop *loop)
{
	loop->count = 0;
	loop->turn = 0;
	loop->ns = 0;
	loop->rows = 0;
	loop->changes = 0;
}

/* The same for the first, alone; its turn is how often it has been. */
static inline void
restart_first(void)
{
	uint32		turn = outside.loops[0].turn;

	restart_loop(&outside.loops[0]);
	outside.loops[0].turn = turn;
}

/* Ends the loops of which this one, executed again, is the parent. */
static pg_noinline void
end_inner_loops(const ImonLoop *parent)
{
	for (ImonLoop *loop = &outside.loops[outside.n - 1]; loop > parent; loop--)
	{
		if (loop->turn > 2)
		{
			end_loop(&outside, loop);
			outside.names[loop - outside.loops][0] = '\0';
			restart_loop(loop);
		}
		loop->turn = 0;
	}
}

/*
 * Ends what ends when these executions are added outside of blocks.  Returns
 * the statement's loop, or NULL if it is to begin.
 */
static ImonLoop *
continue_outside(uint64 queryid, TimestampTz sent, uint64 ns, uint64 rows)
{
	ImonLoop   *loop = find_loop(&outside, queryid);
	bool		idle = sent > outside.sent + (TimestampTz) (outside.ns / 1000) +
		IDLE_LIMIT;

	outside.sent = sent;
	outside.ns = ns;
	if (idle || (loop == NULL && begins_pattern(rows)))
	{
		end_pattern(&outside);
		return NULL;
	}
	if (loop == NULL)
	{
		if (outside.n == MAX_LOOPS)
			end_outside();
	}
	else if (loop > outside.loops)
		end_inner_loops(loop);
	else if (outside.n == 1)	/* the commonest: one again and again */
		restart_first();
	else
	{
		end_outside();
		return NULL;
	}
	return loop;
}

static inline ImonRepeatedKind
kind_of(const QueryDesc *desc)
{
	return desc->operation == CMD_SELECT &&
		!desc->plannedstmt->hasModifyingCTE ? IMON_REPEATED_SELECT :
		IMON_REPEATED_WRITE;
}

/* A statement has completed; "desc" is NULL for a utility command. */
static pg_noinline void
note(const ImonStatementKey *key, const QueryDesc *desc, TimestampTz sent,
	 uint64 rows, uint64 ns, bool is_block)
{
	ImonPattern *pattern = is_block ? &in_block : &outside;
	ImonLoop   *loop;

	if (unlikely(n_pending > 0))
		record_pending(false);
	loop = is_block ? find_loop(&in_block, key->queryid) :
		continue_outside(key->queryid, sent, ns, rows);
	if (loop == NULL)
		loop = begin_loop(pattern, key->queryid, key->userid,
						  desc ? kind_of(desc) : IMON_REPEATED_NONE);
	else if (unlikely(loop->kind == IMON_REPEATED_NONE) && desc)
		loop->kind = kind_of(desc); /* it was open until now */
	add_executions(pattern, loop, 1, ns, rows);
}

pg_attribute_hot void
imon_note_repeated(const ImonStatementKey *key, const QueryDesc *desc,
				   TimestampTz sent, uint64 ns, bool is_block)
{
	uint64		rows = imon_rows_processed(desc);
	ImonLoop   *loop = &outside.loops[0];

	/* the commonest, as continue_outside() and add_executions() do it */
	if (likely(outside.n == 1 && loop->queryid == key->queryid &&
			   loop->before == (uint16) key->queryid && !is_block &&
			   loop->kind != IMON_REPEATED_NONE && n_pending == 0 &&
			   imon_repeated_query_threshold > 1 &&
			   rows < (uint64) imon_repeated_query_threshold))
	{
		outside.sent = sent;
		outside.ns = ns;
		loop->count = 1;
		loop->turn++;
		loop->changes = 0;
		loop->ns = ns;
		loop->rows = rows;
	}
	else if (imon_repeated_query_threshold > 0)
		note(key, desc, sent, rows, ns, is_block);
}

/*
 * How many rows will have been read of it is not known: enough.  Outside of a
 * block nothing is executed meanwhile.
 */
void
imon_note_open(const ImonStatementKey *key)
{
	ImonLoop   *loop;

	if (imon_repeated_query_threshold == 0 || !IsTransactionBlock())
		return;
	loop = find_loop(&in_block, key->queryid);
	if (loop == NULL)
	{
		loop = begin_loop(&in_block, key->queryid, key->userid,
						  IMON_REPEATED_NONE);
		loop->rows = PG_UINT32_MAX;
	}
	loop->used = ++in_block.clock;
}

void
imon_note_utility(const ImonStatementKey *key, NodeTag command,
				  TimestampTz sent, uint64 rows, uint64 ns)
{
	if (command == T_DiscardStmt)
		end_pattern(&outside);
	else if (command == T_FetchStmt && imon_repeated_query_threshold > 0)
		note(key, NULL, sent, rows, ns, IsTransactionBlock());
}

/* Adds what was executed in a small block to what is outside of blocks. */
static void
replay_block(void)
{
	for (int i = 0; i < in_block.n; i++)
	{
		const ImonLoop *from = &in_block.loops[i];
		ImonLoop   *loop;

		if (from->count == 0)
			continue;
		loop = continue_outside(from->queryid,
								GetCurrentStatementStartTimestamp(),
								from->ns, from->rows);
		if (loop == NULL)
			loop = begin_loop(&outside, from->queryid, from->userid,
							  from->kind);
		add_executions(&outside, loop, from->count, from->ns, from->rows);
	}
	end_pattern(&in_block);		/* none of these is a burst */
}

void
imon_repeated_end_transaction(void)
{
	uint32		count = 0;

	for (int i = 0; i < in_block.n; i++)
		count += in_block.loops[i].count;
	if (count <= SMALL_BLOCK && count < imon_repeated_query_threshold)
		replay_block();
	else
	{
		end_pattern(&outside);
		end_pattern(&in_block);
	}
}

void
imon_flush_repeated(void)
{
	end_pattern(&in_block);
	end_pattern(&outside);
	record_pending(true);
}

void
imon_repeated_reset(void)
{
	outside.n = 0;
	outside.last->queryid = 0;
	memset(known, 0, sizeof(known));
	n_pending = 0;
	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	table->n = 0;
	LWLockRelease(table->lock);
}

uint64
imon_bursts_dropped(void)
{
	return pg_atomic_read_u64(&table->dropped);
}

void
imon_repeated_ever(uint64 *bursts, uint64 *executions)
{
	LWLockAcquire(table->lock, LW_SHARED);
	*bursts = table->all_bursts;
	*executions = table->all_executions;
	LWLockRelease(table->lock);
}

uint64
imon_repeated_evicted(void)
{
	return pg_atomic_read_u64(&table->evicted);
}

/* Puts a row into the result, as far as the caller may see it. */
static void
put_row(ReturnSetInfo *rsinfo, const ImonRepeated *row)
{
	bool		visible = imon_may_see_role(row->key.userid);
	Datum		values[REPEATED_COLUMNS];
	bool		nulls[REPEATED_COLUMNS] = {false};
	int			i = 0;

	values[i++] = ObjectIdGetDatum(row->key.userid);
	values[i++] = ObjectIdGetDatum(row->key.dbid);
	values[i++] = imon_text_datum(visible ? row->key.application_name :
								  IMON_HIDDEN_TEXT);
	values[i] = Int64GetDatum((int64) row->key.queryid);
	nulls[i++] = !visible;
	values[i] = Int64GetDatum((int64) row->key.parent_queryid);
	nulls[i++] = !visible || row->key.parent_queryid == 0;
	values[i++] = Int64GetDatum((int64) row->bursts);
	values[i++] = Int64GetDatum((int64) row->executions);
	values[i++] = Int64GetDatum((int64) row->longest);
	values[i++] = Float8GetDatum(row->ns / 1e6);
	values[i++] = TimestampTzGetDatum(row->last_seen);
	values[i++] = CStringGetTextDatum(kind_names[row->kind]);
	Assert(i == lengthof(values));
	imon_put_row(rsinfo, values, nulls);
}

/*
 * SQL: repeated_counts(): userid, dbid, application_name, queryid,
 * parent_queryid, bursts, executions, longest_burst, total_time, last_seen,
 * kind.  Whoever asks has ended what it did outside of a block.
 */
Datum
imon_repeated_counts_1_0(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo;
	ImonRepeated *rows;
	int			n;

	imon_shmem_require();
	rsinfo = imon_begin_rows(fcinfo, REPEATED_COLUMNS);
	rows = palloc(sizeof(ImonRepeated) * MAX_REPEATED);

	end_pattern(&outside);
	record_pending(true);
	LWLockAcquire(table->lock, LW_SHARED);
	n = table->n;
	memcpy(rows, table->rows, sizeof(ImonRepeated) * n);
	LWLockRelease(table->lock);

	for (int i = 0; i < n; i++)
		put_row(rsinfo, &rows[i]);
	return (Datum) 0;
}
