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
 * needs a parent that returned at least half as many rows as it has executions,
 * and the pattern ends
 * - when its first statement is executed again,
 * - at a statement that is not part of it, if there is a burst and this one
 *	 has returned enough rows for another,
 * - when it has no room for another statement,
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

#include "access/xact.h"
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
#include "utils/guc.h"
#include "utils/timestamp.h"

#define MAX_LOOPS 8				/* statements in a pattern */
#define MAX_REPEATED 512		/* rows of the table */
#define MAX_PENDING 8			/* bursts kept for later, each process */
#define SMALL_BLOCK 4			/* executions */
#define IDLE_LIMIT (2 * USECS_PER_SEC)

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
	uint32		count;
	uint32		turn;			/* of these, since a statement that began
								 * before was last executed; outside of blocks */
	uint32		began;			/* by the pattern's clock */
	uint32		used;			/* the same, last */
	Oid			userid;
	ImonRepeatedKind kind;
} ImonLoop;

/* What is kept of a loop when it becomes a burst. */
typedef struct ImonLoopOrigin
{
	uint64		parent_queryid; /* 0 = none */
	char		application_name[NAMEDATALEN];	/* empty = not known */
} ImonLoopOrigin;

typedef struct ImonPattern
{
	int			n;
	int			last;			/* index of the loop that was used last */
	uint32		clock;
	TimestampTz ended_at;		/* the last execution; outside of blocks */
	ImonLoop	loops[MAX_LOOPS];	/* outside of blocks as they began */
	ImonLoopOrigin origins[MAX_LOOPS];
} ImonPattern;

static ImonPattern in_block;
static ImonPattern outside;

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
	int			n;
	ImonRepeated rows[MAX_REPEATED];
} ImonRepeatedTable;

static ImonRepeatedTable *table = NULL;

/* Bursts that could not be recorded yet. */
static ImonBurst pending[MAX_PENDING];
static int	n_pending = 0;

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
static void
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

/* The loop of a statement, or -1. */
static inline int
find_loop(const ImonPattern *pattern, uint64 queryid)
{
	if (pattern->n > 0 && pattern->loops[pattern->last].queryid == queryid)
		return pattern->last;
	for (int i = 0; i < pattern->n; i++)
		if (pattern->loops[i].queryid == queryid)
			return i;
	return -1;
}

static inline bool
is_burst(const ImonLoop *loop)
{
	return loop->count >= imon_repeated_query_threshold &&
		loop->kind != IMON_REPEATED_NONE && imon_repeated_query_threshold > 0;
}

/* A loop has ended: records it if it was a burst. */
static void
end_loop(const ImonPattern *pattern, int number)
{
	const ImonLoop *loop = &pattern->loops[number];
	const ImonLoopOrigin *origin = &pattern->origins[number];
	const ImonLoop *parent;
	ImonBurst	burst;

	if (likely(!is_burst(loop)))
		return;
	parent = find_parent(pattern, loop);
	if (parent == NULL && pattern == &outside)
		return;

	memset(&burst, 0, sizeof(ImonBurst));
	burst.key.queryid = loop->queryid;
	burst.key.parent_queryid = parent ? parent->queryid : 0;
	if (pattern == &in_block && origin->parent_queryid != 0 &&
		find_loop(pattern, origin->parent_queryid) < 0)
		burst.key.parent_queryid = origin->parent_queryid;
	burst.key.userid = loop->userid;
	burst.key.dbid = MyDatabaseId;
	strlcpy(burst.key.application_name, origin->application_name[0] ?
			origin->application_name : application_name, NAMEDATALEN);
	burst.kind = loop->kind;
	burst.executions = loop->count;
	burst.ns = loop->ns;
	record_or_keep(&burst);
}

/* Ends all loops of a pattern. */
static inline void
end_pattern(ImonPattern *pattern)
{
	for (int i = 0; i < pattern->n; i++)
		end_loop(pattern, i);
	pattern->n = 0;
}

/* Begins a loop, in the place of that not used for longest if need be. */
static int
begin_loop(ImonPattern *pattern, uint64 queryid)
{
	int			number = 0;
	ImonLoop   *loop;

	if (pattern->n < MAX_LOOPS)
		number = pattern->n++;
	else
	{
		for (int i = 1; i < MAX_LOOPS; i++)
			if (pattern->loops[i].used < pattern->loops[number].used)
				number = i;
		end_loop(pattern, number);
	}
	loop = &pattern->loops[number];
	memset(loop, 0, sizeof(ImonLoop));
	loop->queryid = queryid;
	loop->began = loop->used = ++pattern->clock;
	pattern->origins[number].parent_queryid = 0;
	pattern->origins[number].application_name[0] = '\0';
	return number;
}

/*
 * Keeps what may be gone before the loop ends: the name of the application,
 * when a pooler gives the session to another, and the parent, when other
 * statements need the room.
 */
static void
keep_origin(ImonPattern *pattern, int number)
{
	ImonLoopOrigin *origin = &pattern->origins[number];
	const ImonLoop *parent = find_parent(pattern, &pattern->loops[number]);

	origin->parent_queryid = parent ? parent->queryid : 0;
	strlcpy(origin->application_name, application_name, NAMEDATALEN);
}

/* Adds executions to a loop, or to a new one if its number is -1. */
static inline void
add_executions(ImonPattern *pattern, int number, const ImonLoop *executions)
{
	ImonLoop   *loop;
	uint32		before;

	if (number < 0)
		number = begin_loop(pattern, executions->queryid);
	loop = &pattern->loops[number];
	before = loop->count;
	loop->count += executions->count;
	loop->turn += executions->count;
	loop->ns += executions->ns;
	loop->rows += executions->rows;
	loop->userid = executions->userid;
	loop->kind = executions->kind;
	loop->used = ++pattern->clock;
	pattern->last = number;
	if (unlikely(loop->count >= imon_repeated_query_threshold &&
				 before < imon_repeated_query_threshold))
		keep_origin(pattern, number);
}

/* Does a statement that is not part of the pattern begin the next? */
static bool
begins_pattern(const ImonLoop *executions)
{
	if (outside.n == MAX_LOOPS)
		return true;
	if (2 * executions->rows < imon_repeated_query_threshold)
		return false;
	for (int i = 0; i < outside.n; i++)
		if (is_burst(&outside.loops[i]))
			return true;
	return false;
}

/* Ends the loops of which this one, executed again, is the parent. */
static inline void
end_inner_loops(int number)
{
	for (int i = number + 1; i < outside.n; i++)
	{
		ImonLoop   *inner = &outside.loops[i];

		if (inner->turn > 2)
		{
			end_loop(&outside, i);
			inner->count = 0;
			inner->ns = 0;
			inner->rows = 0;
			outside.origins[i].application_name[0] = '\0';
		}
		inner->turn = 0;
	}
}

/* Adds executions outside of blocks. */
static void
add_outside(const ImonLoop *executions)
{
	TimestampTz sent = GetCurrentStatementStartTimestamp();
	int			number = find_loop(&outside, executions->queryid);

	if (number == 0 || sent > outside.ended_at + IDLE_LIMIT ||
		(number < 0 && begins_pattern(executions)))
	{
		end_pattern(&outside);
		number = -1;
	}
	else if (number > 0)
		end_inner_loops(number);
	add_executions(&outside, number, executions);
	outside.ended_at = sent + (TimestampTz) (executions->ns / 1000);
}

/* Adds executions. */
static inline void
add(const ImonLoop *executions)
{
	if (unlikely(n_pending > 0))
		record_pending(false);
	if (IsTransactionBlock())
		add_executions(&in_block, find_loop(&in_block, executions->queryid),
					   executions);
	else
		add_outside(executions);
}

void
imon_note_repeated(const ImonStatementKey *key, const QueryDesc *desc,
				   uint64 ns)
{
	ImonLoop	execution;

	if (imon_repeated_query_threshold == 0)
		return;
	execution.queryid = key->queryid;
	execution.ns = ns;
	execution.rows = imon_rows_processed(desc);
	execution.count = 1;
	execution.userid = key->userid;
	execution.kind = desc->operation == CMD_SELECT &&
		!desc->plannedstmt->hasModifyingCTE ? IMON_REPEATED_SELECT :
		IMON_REPEATED_WRITE;
	add(&execution);
}

/*
 * How many rows will have been read of it is not known: enough.  Outside of a
 * block nothing is executed meanwhile.
 */
void
imon_note_open(const ImonStatementKey *key)
{
	int			number;

	if (imon_repeated_query_threshold == 0 || !IsTransactionBlock())
		return;
	number = find_loop(&in_block, key->queryid);
	if (number < 0)
	{
		number = begin_loop(&in_block, key->queryid);
		in_block.loops[number].kind = IMON_REPEATED_NONE;
		in_block.loops[number].rows = PG_UINT32_MAX;
	}
	in_block.loops[number].used = ++in_block.clock;
}

void
imon_note_utility(const ImonStatementKey *key, NodeTag command, uint64 rows,
				  uint64 ns)
{
	ImonLoop	execution;

	if (command == T_DiscardStmt)
		end_pattern(&outside);
	if (command != T_FetchStmt || imon_repeated_query_threshold == 0)
		return;
	execution.queryid = key->queryid;
	execution.ns = ns;
	execution.rows = rows;
	execution.count = 1;
	execution.userid = key->userid;
	execution.kind = IMON_REPEATED_NONE;
	add(&execution);
}

/* A block has ended. */
static void
end_block(void)
{
	uint32		count = 0;

	for (int i = 0; i < in_block.n; i++)
		count += in_block.loops[i].count;
	if (count <= SMALL_BLOCK && count < imon_repeated_query_threshold)
	{
		for (int i = 0; i < in_block.n; i++)
			if (in_block.loops[i].count > 0)
				add_outside(&in_block.loops[i]);
		in_block.n = 0;
		return;
	}
	end_pattern(&outside);
	end_pattern(&in_block);
}

void
imon_repeated_end_transaction(void)
{
	if (in_block.n > 0)
		end_block();
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
