/*-------------------------------------------------------------------------
 *
 * statements.c
 *	  The table of statements: how long their executions took, and how they
 *	  ended.
 *
 * The table has a fixed number of slots.  The table's lock guards which key is
 * in which slot; counts are atomic and need no lock.
 *
 * A process remembers in which slot it found a statement, and the generation
 * of the slot then.  On a hit it compares the generation and adds to two
 * atomics.  On a miss it takes the lock, shared to find and exclusive to
 * insert, both only if it is free at that moment: a statement of a user never
 * waits for another.  If it is not free, the execution is kept in a short list
 * of the process and counted with one of the next, or at its end.
 *
 * When max_statements are in the table, some are evicted: a hand goes around,
 * as in the buffer manager, and takes slots that have not been used lately.  An
 * evicted slot gets the next generation, so that nobody who looks will find
 * it, and its counts are moved, by exchange, to the remainder of its database.
 * It is reused only after FREE_SLOTS others.  Should some process have compared
 * the generation just before, and added just after, the addition is still in
 * the slot: readers find it there, and it is moved when the slot is reused.
 * Thus nothing is lost, and totals never go backwards.  (A process that sleeps
 * between the two until the slot is reused adds to another statement.)
 *
 * Beside each slot and each remainder stands how much of it is in
 * statement_samples.  It goes where the counts go, so that the rest, which the
 * next sample has to store, is never negative and never lost.  What was not
 * stored when all counts are reset is kept apart.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "guc.h"
#include "histogram_type.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "port/pg_bitutils.h"
#include "privileges.h"
#include "rows.h"
#include "shmem.h"
#include "statements.h"
#include "storage/lwlock.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define FREE_SLOTS 64			/* beyond max_statements */
#define MAX_USAGE 5				/* rounds of the hand that a slot survives */
#define N_REMAINDERS 64			/* databases with a remainder of their own */
#define NO_SLOT UINT32_MAX
#define MAX_PENDING 512			/* executions kept for later, each process */
#define KNOWN_MIN 64			/* slots remembered, each process */
#define KNOWN_MAX 8192

#define STATEMENT_COLUMNS 12

#define GROUP_SIZE 16			/* buckets of a bit in "groups" */

StaticAssertDecl(IMON_HISTOGRAM_BUCKETS <= 32 * GROUP_SIZE,
				 "groups of buckets do not fit into 32 bits");

/* What is counted of a statement. */
typedef struct ImonStatementCounts
{
	pg_atomic_uint64 total_ns;	/* of completed executions */
	pg_atomic_uint64 failures[IMON_N_OUTCOMES]; /* none of IMON_COMPLETED */
	pg_atomic_uint64 failed_ns;
	pg_atomic_uint32 groups;	/* of buckets that are used: a hint for fold() */
	pg_atomic_uint64 latency[IMON_HISTOGRAM_BUCKETS];	/* of completed ones */
} ImonStatementCounts;

typedef struct ImonStatement
{
	pg_atomic_uint32 generation;	/* odd while no statement is in the slot;
									 * never 0 */
	ImonStatementKey key;		/* of the statement now, or before */
	TimestampTz since;
	ImonStatementCounts counts;
} ImonStatement;

/* What evicted statements of a database have left. */
typedef struct ImonRemainder
{
	Oid			dbid;			/* InvalidOid in the last: all others */
	bool		used;
	ImonStatementCounts counts;
} ImonRemainder;

/* How much of the counts of a slot or a remainder has been stored. */
typedef struct ImonStored
{
	ImonGrowth	counts;
	ImonPgssCounts usage;		/* of pg_stat_statements then; slots only */
} ImonStored;

typedef struct ImonStatements
{
	LWLock	   *lock;			/* guards all that is not atomic */
	uint32		n_slots;
	uint32		index_mask;		/* of slots_of[] */
	uint32		hand;
	uint32		free_head;		/* of the queue of free slots, which is a ring */
	uint32		n_free;
	TimestampTz stats_reset;
	pg_atomic_uint64 evicted;
	pg_atomic_uint64 dropped;
	uint64		resets;
	ImonGrowth	unstored;		/* when the counts were reset */
	ImonRemainder remainders[N_REMAINDERS + 1];
} ImonStatements;

/* Followed in shared memory by five arrays, see slot_at() and so on. */
static ImonStatements *table = NULL;

/* A slot that this process knows. */
typedef struct ImonKnown
{
	ImonStatementKey key;
	uint32		slot;
	uint32		generation;		/* 0 = none */
} ImonKnown;

/* Open addressing; never more than half full; grows on a miss only. */
static ImonKnown *known = NULL;
static uint32 known_mask = 0;
static uint32 n_known = 0;

/* An execution that could not be counted yet. */
typedef struct ImonPendingExecution
{
	ImonStatementKey key;
	ImonOutcome outcome;
	uint64		ns;
} ImonPendingExecution;

static ImonPendingExecution pending[MAX_PENDING];
static int	n_pending = 0;

PG_FUNCTION_INFO_V1(imon_statement_counts_1_0);

/* Size of the index: a power of two, at most half full. */
static uint32
index_size(uint32 n_slots)
{
	return pg_nextpower2_32(2 * n_slots);
}

static Size
statements_size(void)
{
	Size		n_slots = (Size) imon_max_statements + FREE_SLOTS;
	Size		size = MAXALIGN(sizeof(ImonStatements));

	size = add_size(size, mul_size(n_slots, sizeof(ImonStatement)));
	size = add_size(size, mul_size(n_slots + N_REMAINDERS + 1, sizeof(ImonStored)));
	size = add_size(size, mul_size(n_slots, sizeof(pg_atomic_uint32)));
	size = add_size(size, mul_size(n_slots, sizeof(uint32)));
	return add_size(size, mul_size(index_size(n_slots), sizeof(uint32)));
}

/* The slot of this number. */
static inline ImonStatement *
slot_at(uint32 number)
{
	char	   *slots = (char *) table + MAXALIGN(sizeof(ImonStatements));

	return (ImonStatement *) slots + number;
}

/* What is stored of a slot; behind the slots, of the remainders. */
static inline ImonStored *
stored_of(uint32 number)
{
	return (ImonStored *) slot_at(table->n_slots) + number;
}

/* For how many more rounds of the hand the slot is safe. */
static inline pg_atomic_uint32 *
usage_of(uint32 number)
{
	return (pg_atomic_uint32 *) stored_of(table->n_slots + N_REMAINDERS + 1) + number;
}

/* The free slots, a ring of n_slots. */
static inline uint32 *
free_slots(void)
{
	return (uint32 *) usage_of(table->n_slots);
}

/* The number of the slot by hash of its key, or NO_SLOT; linear probing. */
static inline uint32 *
slot_index(void)
{
	return free_slots() + table->n_slots;
}

static void
init_counts(ImonStatementCounts *counts)
{
	pg_atomic_init_u64(&counts->total_ns, 0);
	for (int i = 0; i < IMON_N_OUTCOMES; i++)
		pg_atomic_init_u64(&counts->failures[i], 0);
	pg_atomic_init_u64(&counts->failed_ns, 0);
	pg_atomic_init_u32(&counts->groups, 0);
	imon_histogram_init(counts->latency);
}

static void
statements_init(void *part, LWLock *lock)
{
	table = (ImonStatements *) part;
	table->lock = lock;
	table->n_slots = (uint32) imon_max_statements + FREE_SLOTS;
	table->index_mask = index_size(table->n_slots) - 1;
	table->hand = 0;
	table->free_head = 0;
	table->n_free = table->n_slots;
	table->stats_reset = GetCurrentTimestamp();
	pg_atomic_init_u64(&table->evicted, 0);
	pg_atomic_init_u64(&table->dropped, 0);
	table->resets = 0;
	memset(&table->unstored, 0, sizeof(table->unstored));
	memset(stored_of(0), 0,
		   (table->n_slots + N_REMAINDERS + 1) * sizeof(ImonStored));
	for (int i = 0; i <= N_REMAINDERS; i++)
		init_counts(&table->remainders[i].counts);
	for (uint32 i = 0; i < table->n_slots; i++)
	{
		pg_atomic_init_u32(&slot_at(i)->generation, 1);
		init_counts(&slot_at(i)->counts);
		pg_atomic_init_u32(usage_of(i), 0);
		free_slots()[i] = i;
	}
	for (uint32 i = 0; i <= table->index_mask; i++)
		slot_index()[i] = NO_SLOT;
}

static const ImonShmemPart statements_part = {
	.name = "infra_monitor statements",
	.size = statements_size,
	.init = statements_init,
	.address = (void **) &table
};

void
imon_statements_init(void)
{
	imon_shmem_register(&statements_part);
}

/* Nearly all of the key is its queryid, which is a hash already. */
static inline uint32
hash_key(const ImonStatementKey *key)
{
	return (uint32) key->queryid + key->userid + key->dbid + key->toplevel;
}

static inline bool
same_key(const ImonStatementKey *a, const ImonStatementKey *b)
{
	return a->queryid == b->queryid && a->userid == b->userid &&
		a->dbid == b->dbid && a->toplevel == b->toplevel;
}

/*
 * The place in the index where the key is, or where it would go.  Needs the
 * lock.
 */
static uint32 *
find_in_index(const ImonStatementKey *key)
{
	uint32		at = hash_key(key) & table->index_mask;

	while (slot_index()[at] != NO_SLOT &&
		   !same_key(&slot_at(slot_index()[at])->key, key))
		at = (at + 1) & table->index_mask;
	return &slot_index()[at];
}

/*
 * Removes a key from the index, and moves those behind it that would no longer
 * be found.  Needs the lock, exclusive.
 */
static void
remove_from_index(const ImonStatementKey *key)
{
	uint32		hole = find_in_index(key) - slot_index();
	uint32		at = hole;

	for (;;)
	{
		uint32		home;

		at = (at + 1) & table->index_mask;
		if (slot_index()[at] == NO_SLOT)
			break;
		home = hash_key(&slot_at(slot_index()[at])->key) & table->index_mask;

		/* can it be reached from its home without passing the hole? */
		if (((at - home) & table->index_mask) < ((at - hole) & table->index_mask))
			continue;
		slot_index()[hole] = slot_index()[at];
		hole = at;
	}
	slot_index()[hole] = NO_SLOT;
}

/* Moves a count; both may be changing. */
static void
move_count(pg_atomic_uint64 *to, pg_atomic_uint64 *from)
{
	if (pg_atomic_read_u64(from) != 0)
		pg_atomic_fetch_add_u64(to, pg_atomic_exchange_u64(from, 0));
}

/* The number of a database's remainder.  Needs the lock, exclusive. */
static int
remainder_of(Oid dbid)
{
	int			i;

	for (i = 0; i < N_REMAINDERS && table->remainders[i].used; i++)
		if (table->remainders[i].dbid == dbid)
			break;
	table->remainders[i].used = true;
	table->remainders[i].dbid = i < N_REMAINDERS ? dbid : InvalidOid;
	return i;
}

/* Moves how much of a count is stored. */
static inline void
move_stored(uint64 *to, uint64 *from)
{
	*to += *from;
	*from = 0;
}

/*
 * Moves what a slot has counted to the remainder of its database.  Needs the
 * lock, exclusive, and is fast: most buckets are never used.
 */
static void
fold(uint32 number)
{
	int			remainder = remainder_of(slot_at(number)->key.dbid);
	ImonStatementCounts *to = &table->remainders[remainder].counts;
	ImonStatementCounts *from = &slot_at(number)->counts;
	ImonGrowth *stored_to = &stored_of(table->n_slots + remainder)->counts;
	ImonGrowth *stored_from = &stored_of(number)->counts;

	move_count(&to->total_ns, &from->total_ns);
	for (int i = 0; i < IMON_N_OUTCOMES; i++)
		move_count(&to->failures[i], &from->failures[i]);
	move_count(&to->failed_ns, &from->failed_ns);
	move_stored(&stored_to->total_ns, &stored_from->total_ns);
	move_stored(&stored_to->failures, &stored_from->failures);
	move_stored(&stored_to->failed_ns, &stored_from->failed_ns);
	for (uint32 groups = pg_atomic_read_u32(&from->groups); groups != 0;
		 groups &= groups - 1)
	{
		int			first = pg_rightmost_one_pos32(groups) * GROUP_SIZE;
		int			behind = Min(first + GROUP_SIZE, IMON_HISTOGRAM_BUCKETS);

		for (int i = first; i < behind; i++)
		{
			move_count(&to->latency[i], &from->latency[i]);
			move_stored(&stored_to->latency[i], &stored_from->latency[i]);
		}
	}
}

/* Is a statement in the slot?  Needs the lock. */
static inline bool
is_used(uint32 number)
{
	return (pg_atomic_read_u32(&slot_at(number)->generation) & 1) == 0;
}

/* Empties a slot that is in use.  Needs the lock, exclusive. */
static void
evict(uint32 number)
{
	ImonStatement *slot = slot_at(number);

	remove_from_index(&slot->key);
	pg_atomic_fetch_add_u32(&slot->generation, 1);
	fold(number);
	free_slots()[(table->free_head + table->n_free) % table->n_slots] = number;
	table->n_free++;
	pg_atomic_fetch_add_u64(&table->evicted, 1);
}

/*
 * Lets the hand go around until a batch is evicted: a sixteenth of a small
 * table, FREE_SLOTS of a large one.  The array of usages is all that it looks
 * at on its way.  Needs the lock, exclusive, and a full table.
 */
static void
evict_some(void)
{
	uint32		left = Min(table->n_slots / 16, FREE_SLOTS);

	while (left > 0)
	{
		uint32		number = table->hand;
		uint32		rounds = pg_atomic_read_u32(usage_of(number));

		table->hand = (number + 1) % table->n_slots;
		if (rounds > 0)
			pg_atomic_write_u32(usage_of(number), rounds - 1);
		else if (is_used(number))
		{
			evict(number);
			left--;
		}
	}
}

/*
 * Was something added to the slot while it was free?  (An addition that is not
 * seen is not lost: it is then one to the next statement.)
 */
static inline bool
has_late_additions(ImonStatement *slot)
{
	return pg_atomic_read_u64(&slot->counts.total_ns) != 0 ||
		pg_atomic_read_u64(&slot->counts.failed_ns) != 0 ||
		pg_atomic_read_u64(&slot->counts.latency[0]) != 0;
}

/*
 * Puts a statement into a free slot, but not into the index.  Needs the lock,
 * exclusive.
 */
static uint32
fill_slot(const ImonStatementKey *key)
{
	uint32		number = free_slots()[table->free_head];
	ImonStatement *slot = slot_at(number);

	table->free_head = (table->free_head + 1) % table->n_slots;
	table->n_free--;

	if (has_late_additions(slot))
		fold(number);
	pg_atomic_write_u32(&slot->counts.groups, 0);
	stored_of(number)->usage.known = false;
	slot->key = *key;
	slot->since = GetCurrentTimestamp();
	pg_atomic_write_u32(usage_of(number), 0);
	pg_write_barrier();
	pg_atomic_fetch_add_u32(&slot->generation, 1);
	return number;
}

/* Takes the table's lock, if need be only if it is free. */
static bool
take_lock(LWLockMode mode, bool wait)
{
	return wait ? (LWLockAcquire(table->lock, mode), true) :
		LWLockConditionalAcquire(table->lock, mode);
}

/*
 * The slot of a statement and its generation; inserts the statement if it is
 * missing.  NO_SLOT if the lock is not free and the caller does not wait.
 */
static uint32
find_or_insert(const ImonStatementKey *key, bool wait, uint32 *generation)
{
	uint32	   *place;
	uint32		number;

	if (!take_lock(LW_SHARED, wait))
		return NO_SLOT;
	number = *find_in_index(key);
	if (number != NO_SLOT)
		*generation = pg_atomic_read_u32(&slot_at(number)->generation);
	LWLockRelease(table->lock);
	if (number != NO_SLOT)
		return number;

	if (!take_lock(LW_EXCLUSIVE, wait))
		return NO_SLOT;
	if (table->n_free <= FREE_SLOTS)
		evict_some();
	place = find_in_index(key); /* another may have been faster */
	if (*place == NO_SLOT)
		*place = fill_slot(key);
	number = *place;
	*generation = pg_atomic_read_u32(&slot_at(number)->generation);
	LWLockRelease(table->lock);
	return number;
}

/* Where the key is among the known, or would go. */
static inline ImonKnown *
find_known(const ImonStatementKey *key)
{
	uint32		at = hash_key(key) & known_mask;

	while (known[at].generation != 0 && !same_key(&known[at].key, key))
		at = (at + 1) & known_mask;
	return &known[at];
}

/*
 * Makes room for one more to be known.  Forgets all if there are too many, and
 * does without if there is no memory.
 */
static bool
make_room(void)
{
	uint32		size = known ? known_mask + 1 : 0;
	ImonKnown  *old = known;
	ImonKnown  *new;

	if (2 * (n_known + 1) <= size)
		return true;
	if (size >= KNOWN_MAX)
	{
		memset(known, 0, sizeof(ImonKnown) * size);
		n_known = 0;
		return true;
	}
	new = MemoryContextAllocExtended(TopMemoryContext,
									 sizeof(ImonKnown) * Max(2 * size, KNOWN_MIN),
									 MCXT_ALLOC_NO_OOM | MCXT_ALLOC_ZERO);
	if (new == NULL)
		return size > n_known + 1;
	known = new;
	known_mask = Max(2 * size, KNOWN_MIN) - 1;
	for (uint32 i = 0; i < size; i++)
		if (old[i].generation != 0)
			*find_known(&old[i].key) = old[i];
	if (old)
		pfree(old);
	return true;
}

/* Remembers where a statement is. */
static void
remember(const ImonStatementKey *key, uint32 slot, uint32 generation)
{
	ImonKnown  *entry;

	if (!make_room())
		return;
	entry = find_known(key);
	if (entry->generation == 0)
		n_known++;
	entry->key = *key;
	entry->slot = slot;
	entry->generation = generation;
}

/* The slot of a statement that find_known_slot() has not found. */
static uint32
find_unknown_slot(const ImonStatementKey *key, bool wait)
{
	uint32		generation;
	uint32		number = find_or_insert(key, wait, &generation);

	if (number != NO_SLOT)
		remember(key, number, generation);
	return number;
}

/*
 * The slot of a statement, from memory if this process has seen it there and
 * it is still there, else NO_SLOT.
 */
static inline uint32
find_known_slot(const ImonStatementKey *key)
{
	ImonKnown  *entry;

	if (unlikely(known == NULL))
		return NO_SLOT;
	entry = find_known(key);
	if (likely(entry->generation != 0 &&
			   pg_atomic_read_u32(&slot_at(entry->slot)->generation) == entry->generation))
		return entry->slot;
	return NO_SLOT;
}

/* Counts the duration of an execution that has completed. */
static inline void
add_duration(ImonStatementCounts *counts, uint64 ns)
{
	int			bucket = imon_histogram_bucket(ns);
	uint32		group = (uint32) 1 << (bucket / GROUP_SIZE);

	if (unlikely((pg_atomic_read_u32(&counts->groups) & group) == 0))
		pg_atomic_fetch_or_u32(&counts->groups, group);
	pg_atomic_fetch_add_u64(&counts->latency[bucket], 1);
	pg_atomic_fetch_add_u64(&counts->total_ns, ns);
}

/* Counts an execution of the statement in this slot. */
static inline void
add_execution(uint32 number, ImonOutcome outcome, uint64 ns)
{
	ImonStatementCounts *counts = &slot_at(number)->counts;
	pg_atomic_uint32 *usage = usage_of(number);
	uint32		rounds = pg_atomic_read_u32(usage);

	if (likely(outcome == IMON_COMPLETED))
		add_duration(counts, ns);
	else
	{
		pg_atomic_fetch_add_u64(&counts->failures[outcome], 1);
		pg_atomic_fetch_add_u64(&counts->failed_ns, ns);
	}
	if (unlikely(rounds < MAX_USAGE))
		pg_atomic_write_u32(usage, rounds + 1);
}

/* Counts what could not be counted before. */
static pg_noinline void
count_pending(bool wait)
{
	while (n_pending > 0)
	{
		ImonPendingExecution *last = &pending[n_pending - 1];
		uint32		number = find_known_slot(&last->key);

		if (number == NO_SLOT)
			number = find_unknown_slot(&last->key, wait);
		if (number == NO_SLOT)
			return;
		add_execution(number, last->outcome, last->ns);
		n_pending--;
	}
}

void
imon_flush_executions(void)
{
	count_pending(true);
}

/* Keeps an execution for later. */
static pg_noinline void
keep_pending(const ImonStatementKey *key, ImonOutcome outcome, uint64 ns)
{
	if (n_pending == MAX_PENDING)
	{
		imon_drop_execution();
		return;
	}
	pending[n_pending].key = *key;
	pending[n_pending].outcome = outcome;
	pending[n_pending++].ns = ns;
}

/* Counts an execution of a statement that find_known_slot() has not found. */
static pg_noinline void
count_unknown(const ImonStatementKey *key, ImonOutcome outcome, uint64 ns)
{
	uint32		number = find_unknown_slot(key, false);

	if (number != NO_SLOT)
		add_execution(number, outcome, ns);
	else
		keep_pending(key, outcome, ns);
}

void
imon_count_execution(const ImonStatementKey *key, ImonOutcome outcome,
					 uint64 ns)
{
	uint32		number = find_known_slot(key);

	if (likely(number != NO_SLOT))
		add_execution(number, outcome, ns);
	else
		count_unknown(key, outcome, ns);
	if (unlikely(n_pending > 0))
		count_pending(false);
}

ImonOutcome
imon_outcome_of_error(int sqlerrcode)
{
	switch (sqlerrcode)
	{
		case ERRCODE_QUERY_CANCELED:
			return IMON_CANCELLED;
		case ERRCODE_LOCK_NOT_AVAILABLE:
			return IMON_LOCK_NOT_AVAILABLE;
		default:
			return IMON_FAILED;
	}
}

void
imon_drop_execution(void)
{
	pg_atomic_fetch_add_u64(&table->dropped, 1);
}

uint64
imon_executions_dropped(void)
{
	return pg_atomic_read_u64(&table->dropped);
}

uint64
imon_statements_evicted(void)
{
	return pg_atomic_read_u64(&table->evicted);
}

/*
 * What a count has grown by since it was stored.  Never negative, even if a
 * late addition has remained in its slot while the others were moved.
 */
static inline uint64
difference(uint64 count, uint64 stored)
{
	return count > stored ? count - stored : 0;
}

/* Moves what a count has grown by, and lets both be 0. */
static inline void
take_growth(uint64 *to, pg_atomic_uint64 *count, uint64 *stored)
{
	if (pg_atomic_read_u64(count) != 0)
		*to += difference(pg_atomic_exchange_u64(count, 0), *stored);
	*stored = 0;
}

/*
 * Empties counts, and keeps what is not stored of them; what is added meanwhile
 * may remain.  Needs the lock, exclusive.
 */
static void
clear_counts(ImonStatementCounts *counts, ImonStored *stored)
{
	ImonGrowth *to = &table->unstored;
	uint64		failures = 0;

	take_growth(&to->total_ns, &counts->total_ns, &stored->counts.total_ns);
	for (int i = 0; i < IMON_N_OUTCOMES; i++)
		failures += pg_atomic_exchange_u64(&counts->failures[i], 0);
	to->failures += difference(failures, stored->counts.failures);
	stored->counts.failures = 0;
	take_growth(&to->failed_ns, &counts->failed_ns, &stored->counts.failed_ns);
	for (int i = 0; i < IMON_HISTOGRAM_BUCKETS; i++)
		take_growth(&to->latency[i], &counts->latency[i],
					&stored->counts.latency[i]);
	stored->usage.known = false;
}

void
imon_statements_reset(void)
{
	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	table->stats_reset = GetCurrentTimestamp();
	table->resets++;
	for (uint32 i = 0; i < table->n_slots; i++)
	{
		clear_counts(&slot_at(i)->counts, stored_of(i));
		slot_at(i)->since = table->stats_reset;
	}
	for (int i = 0; i <= N_REMAINDERS; i++)
	{
		clear_counts(&table->remainders[i].counts,
					 stored_of(table->n_slots + i));
		table->remainders[i].used = false;
	}
	LWLockRelease(table->lock);
}

/* Failures of all kinds. */
static uint64
all_failures(ImonStatementCounts *counts)
{
	uint64		failures = 0;

	for (int i = 0; i < IMON_N_OUTCOMES; i++)
		failures += pg_atomic_read_u64(&counts->failures[i]);
	return failures;
}

/*
 * Has something been counted that is not stored?  Whoever counts adds the time
 * last, so that a change of nothing else is not missed but seen later.
 */
static bool
has_grown(ImonStatementCounts *counts, const ImonGrowth *stored)
{
	return pg_atomic_read_u64(&counts->total_ns) != stored->total_ns ||
		pg_atomic_read_u64(&counts->failed_ns) != stored->failed_ns ||
		pg_atomic_read_u64(&counts->latency[0]) != stored->latency[0] ||
		all_failures(counts) != stored->failures;
}

/* Adds to the list what counts have grown by.  Needs the lock. */
static List *
append_growth(List *list, uint32 number, ImonStatementCounts *counts,
			  const ImonStatement *slot, Oid dbid)
{
	ImonStored *stored = stored_of(number);
	ImonStatementGrowth *growth;

	if (!has_grown(counts, &stored->counts))
		return list;
	growth = palloc0(sizeof(ImonStatementGrowth));
	growth->number = number;
	growth->resets = table->resets;
	growth->key.dbid = dbid;
	if (slot)
	{
		growth->generation = pg_atomic_read_u32(&unconstify(ImonStatement *, slot)->generation);
		growth->has_key = is_used(number);
		growth->key = slot->key;
		growth->usage = stored->usage;
	}
	growth->counts.total_ns = difference(pg_atomic_read_u64(&counts->total_ns),
										 stored->counts.total_ns);
	growth->counts.failures = difference(all_failures(counts),
										 stored->counts.failures);
	growth->counts.failed_ns = difference(pg_atomic_read_u64(&counts->failed_ns),
										  stored->counts.failed_ns);
	for (int i = 0; i < IMON_HISTOGRAM_BUCKETS; i++)
		growth->counts.latency[i] =
			difference(pg_atomic_read_u64(&counts->latency[i]),
					   stored->counts.latency[i]);
	return lappend(list, growth);
}

/*
 * Copies under the lock, as copy_table() does; only what has grown.  Running out
 * of memory meanwhile ends the transaction, and that releases the lock.
 */
List *
imon_statement_growth(void)
{
	List	   *list = NIL;
	ImonStatementGrowth *unstored = palloc0(sizeof(ImonStatementGrowth));

	count_pending(true);
	LWLockAcquire(table->lock, LW_SHARED);
	for (uint32 i = 0; i < table->n_slots; i++)
		list = append_growth(list, i, &slot_at(i)->counts, slot_at(i),
							 InvalidOid);
	for (int i = 0; i <= N_REMAINDERS; i++)
		list = append_growth(list, table->n_slots + i,
							 &table->remainders[i].counts, NULL,
							 table->remainders[i].dbid);
	unstored->number = NO_SLOT;
	unstored->resets = table->resets;
	unstored->counts = table->unstored;
	LWLockRelease(table->lock);
	return lappend(list, unstored);
}

/* Adds to counts, or subtracts. */
static void
add_growth(ImonGrowth *to, const ImonGrowth *growth, bool subtract)
{
	uint64		sign = subtract ? (uint64) -1 : 1;

	to->total_ns += sign * growth->total_ns;
	to->failures += sign * growth->failures;
	to->failed_ns += sign * growth->failed_ns;
	for (int i = 0; i < IMON_HISTOGRAM_BUCKETS; i++)
		to->latency[i] += sign * growth->latency[i];
}

/*
 * What was counted by a slot may have moved to the remainder since, and, if
 * there was a reset, to what was not stored then.
 */
void
imon_statements_stored(const List *list)
{
	ListCell   *cell;

	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	foreach(cell, list)
	{
		const ImonStatementGrowth *growth = lfirst(cell);
		uint32		number = growth->number;

		if (number == NO_SLOT || growth->resets != table->resets)
		{
			add_growth(&table->unstored, &growth->counts, true);
			continue;
		}
		if (number < table->n_slots &&
			pg_atomic_read_u32(&slot_at(number)->generation) != growth->generation)
			number = table->n_slots + remainder_of(growth->key.dbid);
		else
			stored_of(number)->usage = growth->usage;
		add_growth(&stored_of(number)->counts, &growth->counts, false);
	}
	LWLockRelease(table->lock);
}

/* A row of statement_counts(). */
typedef struct ImonStatementRow
{
	bool		has_key;		/* or is it a remainder? */
	ImonStatementKey key;		/* of a remainder: dbid only */
	Datum		latency;
	uint64		total_ns;
	uint64		failures[IMON_N_OUTCOMES];
	uint64		failed_ns;
	TimestampTz since;
} ImonStatementRow;

/* Copies counts, unless nothing was counted: returns the number of rows. */
static int
copy_counts(ImonStatementRow *row, ImonStatementCounts *counts,
			const ImonStatementKey *key, TimestampTz since)
{
	uint64		latency[IMON_HISTOGRAM_BUCKETS];
	uint64		failures = 0;

	imon_histogram_read(counts->latency, latency);
	for (int i = 0; i < IMON_N_OUTCOMES; i++)
	{
		row->failures[i] = pg_atomic_read_u64(&counts->failures[i]);
		failures += row->failures[i];
	}
	if (failures == 0 && imon_histogram_total(latency) == 0)
		return 0;

	row->has_key = (key != NULL);
	if (key)
		row->key = *key;
	row->latency = imon_histogram_datum(latency);
	row->total_ns = pg_atomic_read_u64(&counts->total_ns);
	row->failed_ns = pg_atomic_read_u64(&counts->failed_ns);
	row->since = since;
	return 1;
}

/*
 * Copies the table; returns the number of rows.  The lock is held throughout,
 * so that an eviction moves nothing from what was read to what will be, or the
 * reverse; meanwhile other processes keep what they find no slot for.
 */
static uint64
copy_table(ImonStatementRow *rows)
{
	uint64		n = 0;

	LWLockAcquire(table->lock, LW_SHARED);
	for (uint32 i = 0; i < table->n_slots; i++)
	{
		ImonStatement *slot = slot_at(i);

		rows[n].key.dbid = slot->key.dbid;	/* of a late addition */
		n += copy_counts(&rows[n], &slot->counts,
						 is_used(i) ? &slot->key : NULL, slot->since);
	}
	for (int i = 0; i <= N_REMAINDERS; i++)
	{
		rows[n].key.dbid = table->remainders[i].dbid;
		n += copy_counts(&rows[n], &table->remainders[i].counts, NULL,
						 table->stats_reset);
	}
	LWLockRelease(table->lock);
	return n;
}

/* Puts a row into the result.  Not for everybody is the identifier. */
static void
put_row(ReturnSetInfo *rsinfo, const ImonStatementRow *row)
{
	const ImonStatementKey *key = &row->key;
	Datum		values[STATEMENT_COLUMNS];
	bool		nulls[STATEMENT_COLUMNS] = {false};
	int			i = 0;

	values[i] = ObjectIdGetDatum(key->userid);
	nulls[i++] = !row->has_key;
	values[i] = ObjectIdGetDatum(key->dbid);
	nulls[i++] = !OidIsValid(key->dbid);
	values[i] = Int64GetDatum((int64) key->queryid);
	nulls[i++] = !row->has_key || key->queryid == 0 ||
		!imon_may_see_role(key->userid);
	values[i] = BoolGetDatum(key->toplevel);
	nulls[i++] = !row->has_key;
	values[i++] = row->latency;
	values[i++] = Float8GetDatum(row->total_ns / 1e6);
	for (int outcome = IMON_CANCELLED; outcome < IMON_N_OUTCOMES; outcome++)
		values[i++] = Int64GetDatum((int64) row->failures[outcome]);
	values[i++] = Float8GetDatum(row->failed_ns / 1e6);
	values[i++] = TimestampTzGetDatum(row->since);
	Assert(i == lengthof(values));
	imon_put_row(rsinfo, values, nulls);
}

/*
 * SQL: statement_counts(): userid, dbid, queryid, toplevel, latency,
 * total_time, cancelled, lock_not_available, terminated, failed, failed_time,
 * stats_since.  What evicted statements have left has no userid.
 */
Datum
imon_statement_counts_1_0(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo;
	ImonStatementRow *rows;
	uint64		n_rows;

	imon_shmem_require();
	rsinfo = imon_begin_rows(fcinfo, STATEMENT_COLUMNS);
	rows = MemoryContextAllocHuge(CurrentMemoryContext,
								  sizeof(ImonStatementRow) * (table->n_slots + N_REMAINDERS + 2));
	count_pending(true);
	n_rows = copy_table(rows);
	for (uint64 i = 0; i < n_rows; i++)
		put_row(rsinfo, &rows[i]);
	return (Datum) 0;
}
