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
 * A reset moves all counts to what its database has from before; nobody but
 * imon_sum_statements() looks there.  The databases that are told apart are the
 * first ones that come; each keeps its place until shared memory is made anew,
 * so that what a database has counted is never moved to another place.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "buckets.h"
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
#define NO_SLOT UINT32_MAX
#define MAX_PENDING 512			/* executions kept for later, each process */
#define KNOWN_MIN 64			/* slots remembered, each process */
#define KNOWN_MAX 8192

#define STATEMENT_COLUMNS 12

#define FETCH_AHEAD 16			/* slots, see fetch_ahead() */

#define GROUP_SIZE IMON_BUCKET_RUN	/* buckets of a bit in "groups" */
#define ALL_GROUPS (PG_UINT32_MAX >> (32 - (IMON_HISTOGRAM_BUCKETS + GROUP_SIZE - 1) / GROUP_SIZE))

StaticAssertDecl(IMON_HISTOGRAM_BUCKETS <= 32 * GROUP_SIZE,
				 "groups of buckets do not fit into 32 bits");

/* What is counted of a statement. */
typedef struct ImonStatementCounts
{
	pg_atomic_uint64 total_ns;	/* of completed executions */
	pg_atomic_uint64 failures[IMON_N_OUTCOMES]; /* none of IMON_COMPLETED */
	pg_atomic_uint64 failed_ns;
	pg_atomic_uint32 groups;	/* of buckets that are used: a hint for fold() */
	ImonBuckets latency;		/* of completed ones */
} ImonStatementCounts;

typedef struct ImonStatement
{
	pg_atomic_uint32 generation;	/* odd while no statement is in the slot;
									 * never 0 */
	ImonStatementKey key;		/* of the statement now, or before */
	int			place;			/* of its database */
	TimestampTz since;
	ImonStatementCounts counts;
} ImonStatement;

/* A database, or in the last place all that have none of their own. */
typedef struct ImonDatabase
{
	Oid			dbid;			/* InvalidOid in the last */
	ImonStatementCounts remainder;	/* what evicted statements have left */
	ImonStatementCounts past;	/* from before the last reset */
} ImonDatabase;

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
	int			n_databases;
	ImonDatabase databases[IMON_MAX_DATABASES + 1];
} ImonStatements;

/* Followed in shared memory by four arrays, see slot_at() and so on. */
static ImonStatements *table = NULL;

/* A slot that this process knows. */
typedef struct ImonKnown
{
	uint64		queryid;
	uint64		who;			/* see known_who(); 0 = nothing is known here */
	ImonStatement *slot;
	pg_atomic_uint32 *usage;	/* of the slot */
	uint32		generation;		/* of the slot then */
} ImonKnown;

/* Open addressing; never more than half full; grows on a miss only. */
static ImonKnown nothing_known[2];
static ImonKnown *known = nothing_known;
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
PG_FUNCTION_INFO_V1(imon_statement_totals_1_0);

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

/* For how many more rounds of the hand the slot is safe. */
static inline pg_atomic_uint32 *
usage_of(uint32 number)
{
	return (pg_atomic_uint32 *) slot_at(table->n_slots) + number;
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
	imon_buckets_init(&counts->latency);
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
	for (int i = 0; i <= IMON_MAX_DATABASES; i++)
	{
		init_counts(&table->databases[i].remainder);
		init_counts(&table->databases[i].past);
	}
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

/* Moves the count of a bucket, to where nobody else adds. */
static inline void
move_bucket(ImonBuckets *to, ImonBuckets *from, int i)
{
	if (imon_bucket_read(from, i) != 0)
		imon_bucket_write(to, i, imon_bucket_read(to, i) + imon_bucket_take(from, i));
}

/* The place of a database.  Needs the lock, exclusive. */
static int
place_of(Oid dbid)
{
	int			place = 0;

	while (place < table->n_databases && table->databases[place].dbid != dbid)
		place++;
	if (place == table->n_databases && place < IMON_MAX_DATABASES)
		table->databases[table->n_databases++].dbid = dbid;
	return place;
}

/*
 * Moves counts, in these groups of buckets.  Needs the lock, exclusive.  Only
 * buckets that are used are looked at, as evictions may be frequent.
 */
static void
move_counts(ImonStatementCounts *to, ImonStatementCounts *from, uint32 groups)
{
	move_count(&to->total_ns, &from->total_ns);
	for (int i = 0; i < IMON_N_OUTCOMES; i++)
		move_count(&to->failures[i], &from->failures[i]);
	move_count(&to->failed_ns, &from->failed_ns);
	for (; groups != 0; groups &= groups - 1)
	{
		int			first = pg_rightmost_one_pos32(groups) * GROUP_SIZE;
		int			behind = Min(first + GROUP_SIZE, IMON_HISTOGRAM_BUCKETS);

		for (int i = first; i < behind; i++)
			move_bucket(&to->latency, &from->latency, i);
	}
}

/*
 * Moves what a slot has counted to the remainder of its database.  Needs the
 * lock, exclusive.
 */
static void
fold(ImonStatement *slot)
{
	move_counts(&table->databases[slot->place].remainder, &slot->counts,
				pg_atomic_read_u32(&slot->counts.groups));
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
	fold(slot);
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
		imon_bucket_read(&slot->counts.latency, 0) != 0;
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
		fold(slot);
	pg_atomic_write_u32(&slot->counts.groups, 0);
	slot->key = *key;
	slot->place = place_of(key->dbid);
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

/* All of the key but the queryid; a process has one database. */
static inline uint64
known_who(const ImonStatementKey *key)
{
	return key->userid | (uint64) key->toplevel << 32;
}

/* Where the statement is among the known if no other is there. */
static inline ImonKnown *
first_place(uint64 queryid, uint64 who)
{
	return &known[((uint32) queryid + (uint32) who) & known_mask];
}

static inline bool
is_known_here(const ImonKnown *entry, uint64 queryid, uint64 who)
{
	return entry->queryid == queryid && entry->who == who;
}

/* Where the statement is among the known, or would go. */
static ImonKnown *
find_known(uint64 queryid, uint64 who)
{
	ImonKnown  *entry = first_place(queryid, who);

	while (entry->who != 0 && !is_known_here(entry, queryid, who))
		entry = entry == &known[known_mask] ? known : entry + 1;
	return entry;
}

/*
 * Makes room for one more to be known.  Forgets all if there are too many, and
 * does without if there is no memory.
 */
static bool
make_room(void)
{
	uint32		size = known_mask + 1;
	uint32		new_size = Max(2 * size, KNOWN_MIN);
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
									 sizeof(ImonKnown) * new_size,
									 MCXT_ALLOC_NO_OOM | MCXT_ALLOC_ZERO);
	if (new == NULL)
		return size > n_known + 1;
	known = new;
	known_mask = new_size - 1;
	for (uint32 i = 0; i < size; i++)
		if (old[i].who != 0)
			*find_known(old[i].queryid, old[i].who) = old[i];
	if (old != nothing_known)
		pfree(old);
	return true;
}

/*
 * The entry in which to remember where a statement is; without memory one for
 * this moment only.
 */
static ImonKnown *
new_known(uint64 queryid, uint64 who)
{
	static ImonKnown not_kept;
	ImonKnown  *entry;

	if (!make_room())
		return &not_kept;
	entry = find_known(queryid, who);
	if (entry->who == 0)
		n_known++;
	return entry;
}

/* Is the statement still where it was when this was remembered? */
static inline bool
is_valid(const ImonKnown *entry)
{
	return pg_atomic_read_u32(&entry->slot->generation) == entry->generation;
}

/* Where a statement is; NULL if that cannot be found out now. */
static const ImonKnown *
find_statement(const ImonStatementKey *key, bool wait)
{
	uint64		who = known_who(key);
	ImonKnown  *entry = find_known(key->queryid, who);
	uint32		generation;
	uint32		number;

	if (entry->who != 0 && is_valid(entry))
		return entry;
	number = find_or_insert(key, wait, &generation);
	if (number == NO_SLOT)
		return NULL;
	entry = new_known(key->queryid, who);
	entry->queryid = key->queryid;
	entry->who = who;
	entry->generation = generation;
	entry->slot = slot_at(number);
	entry->usage = usage_of(number);
	return entry;
}

/* Counts the duration of an execution that has completed. */
static inline void
add_duration(ImonStatementCounts *counts, uint64 ns)
{
	int			bucket = imon_histogram_bucket(ns);
	uint32		group = (uint32) 1 << (bucket / GROUP_SIZE);

	if (unlikely((pg_atomic_read_u32(&counts->groups) & group) == 0))
		pg_atomic_fetch_or_u32(&counts->groups, group);
	imon_bucket_count(&counts->latency, bucket);
	pg_atomic_fetch_add_u64(&counts->total_ns, ns);
}

/* The statement is in use: the hand must go around a few more times. */
static inline void
touch(const ImonKnown *entry)
{
	uint32		rounds = pg_atomic_read_u32(entry->usage);

	if (unlikely(rounds < MAX_USAGE))
		pg_atomic_write_u32(entry->usage, rounds + 1);
}

/* Counts an execution; false if that cannot be done now. */
static bool
try_to_count(const ImonStatementKey *key, ImonOutcome outcome, uint64 ns,
			 bool wait)
{
	const ImonKnown *entry = find_statement(key, wait);

	if (entry == NULL)
		return false;
	if (outcome == IMON_COMPLETED)
		add_duration(&entry->slot->counts, ns);
	else
	{
		pg_atomic_fetch_add_u64(&entry->slot->counts.failures[outcome], 1);
		pg_atomic_fetch_add_u64(&entry->slot->counts.failed_ns, ns);
	}
	touch(entry);
	return true;
}

/* Counts what could not be counted before. */
static void
count_pending(bool wait)
{
	while (n_pending > 0 &&
		   try_to_count(&pending[n_pending - 1].key,
						pending[n_pending - 1].outcome,
						pending[n_pending - 1].ns, wait))
		n_pending--;
}

void
imon_flush_executions(void)
{
	count_pending(true);
}

/* Keeps an execution for later. */
static void
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

/* Counts an execution in all other cases. */
static pg_noinline void
count_slowly(const ImonStatementKey *key, ImonOutcome outcome, uint64 ns)
{
	if (!try_to_count(key, outcome, ns, false))
		keep_pending(key, outcome, ns);
	count_pending(false);
}

void
imon_count_execution(const ImonStatementKey *key, ImonOutcome outcome,
					 uint64 ns)
{
	uint64		who = known_who(key);
	const ImonKnown *entry = first_place(key->queryid, who);

	/* no calls from here: what they need would have to be saved first */
	if (likely(is_known_here(entry, key->queryid, who) && is_valid(entry) &&
			   outcome == IMON_COMPLETED && n_pending == 0))
	{
		add_duration(&entry->slot->counts, ns);
		touch(entry);
	}
	else
		count_slowly(key, outcome, ns);
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

void
imon_statements_reset(void)
{
	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	/* each has its own moment, whatever the clock does */
	table->stats_reset = Max(GetCurrentTimestamp(), table->stats_reset + 1);
	for (uint32 i = 0; i < table->n_slots; i++)
	{
		ImonStatement *slot = slot_at(i);

		move_counts(&table->databases[slot->place].past, &slot->counts,
					ALL_GROUPS);
		slot->since = table->stats_reset;
	}
	for (int i = 0; i <= IMON_MAX_DATABASES; i++)
		move_counts(&table->databases[i].past, &table->databases[i].remainder,
					ALL_GROUPS);
	LWLockRelease(table->lock);
}

TimestampTz
imon_statements_reset_at(void)
{
	TimestampTz at;

	LWLockAcquire(table->lock, LW_SHARED);
	at = table->stats_reset;
	LWLockRelease(table->lock);
	return at;
}

/*
 * Adds the counts of durations that are in these groups of buckets.  Those that
 * fold() would not find are not added either: an eviction, and what comes to a
 * slot after it, may move what this adds up, but never make it less.
 */
static void
add_latency(uint64 *to, ImonStatementCounts *counts, uint32 groups)
{
	for (; groups != 0; groups &= groups - 1)
	{
		int			first = pg_rightmost_one_pos32(groups) * GROUP_SIZE;

		/* a number of its own, so that the compiler sees it */
		if (first + GROUP_SIZE <= IMON_HISTOGRAM_BUCKETS)
			imon_buckets_add(to + first, &counts->latency, first, GROUP_SIZE);
		else
			imon_buckets_add(to + first, &counts->latency, first,
							 IMON_HISTOGRAM_BUCKETS - first);
	}
}

/* Adds counts, in these groups of buckets. */
static void
add_counts(ImonCounts *to, ImonStatementCounts *counts, uint32 groups)
{
	to->total_ns += pg_atomic_read_u64(&counts->total_ns);
	for (int i = 0; i < IMON_N_OUTCOMES; i++)
		to->failures += pg_atomic_read_u64(&counts->failures[i]);
	to->failed_ns += pg_atomic_read_u64(&counts->failed_ns);
	add_latency(to->latency, counts, groups);
}

/*
 * Adds a slot to a tally, if anything was counted there.  Returns false if
 * there may be no room for it.  Needs the lock.
 */
static bool
add_slot(ImonTally *tally, Size room, uint32 number)
{
	ImonStatement *slot = slot_at(number);
	uint32		groups = pg_atomic_read_u32(&slot->counts.groups);
	ImonTallyEntry *entry = imon_end_of_entries(tally);
	ImonCounts	counts;

	if (!is_used(number))
	{
		if (has_late_additions(slot))
			add_counts(&tally->evicted, &slot->counts, groups);
		return true;
	}
	if (room - tally->size < MAXALIGN(offsetof(ImonTallyEntry, latency) + IMON_HISTOGRAM_MAX_BYTES))
		return false;
	memset(&counts, 0, sizeof(counts));
	add_counts(&counts, &slot->counts, groups);
	if (counts.total_ns == 0 && counts.failures == 0 &&
		imon_histogram_total(counts.latency) == 0)
		return true;

	memset(entry, 0, offsetof(ImonTallyEntry, latency));
	entry->slot = number;
	entry->generation = pg_atomic_read_u32(&slot->generation);
	entry->key = slot->key;
	entry->total_ns = counts.total_ns;
	entry->failures = counts.failures;
	entry->failed_ns = counts.failed_ns;
	entry->latency_bytes = imon_histogram_pack(counts.latency, entry->latency);
	tally->n_entries++;
	tally->size = (char *) imon_next_entry(entry) - (char *) tally;
	return true;
}

/*
 * Copies all counts to a tally with room for so many bytes; false if that is
 * not enough.  The lock is held throughout, so that an eviction moves nothing
 * from what was read to what will be, or the reverse.
 */
static bool
fill_tally(ImonTally *tally, Size room)
{
	bool		fits = true;

	memset(tally, 0, sizeof(ImonTally));
	tally->size = MAXALIGN(sizeof(ImonTally));
	LWLockAcquire(table->lock, LW_SHARED);
	tally->stats_reset = table->stats_reset;
	for (uint32 i = 0; i < table->n_slots && fits; i++)
		fits = add_slot(tally, room, i);
	for (int i = 0; i <= IMON_MAX_DATABASES; i++)
		add_counts(&tally->evicted, &table->databases[i].remainder, ALL_GROUPS);
	LWLockRelease(table->lock);
	return fits;
}

ImonTally *
imon_tally_statements(void)
{
	static Size room = 64 * 1024;

	count_pending(true);
	for (;;)
	{
		ImonTally  *tally = MemoryContextAllocHuge(CurrentMemoryContext, room);

		if (fill_tally(tally, room))
			return tally;
		pfree(tally);
		room *= 2;				/* at most twice what a full table needs */
	}
}

TimestampTz
imon_latency_of_all(uint64 *counts)
{
	TimestampTz since;

	memset(counts, 0, sizeof(uint64) * IMON_HISTOGRAM_BUCKETS);
	LWLockAcquire(table->lock, LW_SHARED);
	since = table->stats_reset;
	for (uint32 i = 0; i < table->n_slots; i++)
	{
		ImonStatement *slot = slot_at(i);

		if (is_used(i) || has_late_additions(slot))
			add_latency(counts, &slot->counts,
						pg_atomic_read_u32(&slot->counts.groups));
	}
	for (int i = 0; i <= IMON_MAX_DATABASES; i++)
		add_latency(counts, &table->databases[i].remainder, ALL_GROUPS);
	LWLockRelease(table->lock);
	return since;
}

/* Adds counts, in these groups of buckets. */
static void
add_sums(ImonSums *to, ImonStatementCounts *counts, uint32 groups)
{
	to->total_ns += pg_atomic_read_u64(&counts->total_ns);
	for (int i = 0; i < IMON_N_OUTCOMES; i++)
		to->failures[i] += pg_atomic_read_u64(&counts->failures[i]);
	to->failed_ns += pg_atomic_read_u64(&counts->failed_ns);
	add_latency(to->latency, counts, groups);
}

#ifdef __GNUC__
#define fetch(address) __builtin_prefetch(address)
#else
#define fetch(address) ((void) 0)
#endif

/*
 * Has the processor fetch what add_sums() needs of slots further on, as what it
 * waits for otherwise is memory: first what leads to the buckets, then these.
 */
static inline void
fetch_ahead(uint32 number)
{
	ImonStatement *slot;
	uint32		groups;
	int			first;

	if (number + FETCH_AHEAD >= table->n_slots)
		return;
	slot = slot_at(number + FETCH_AHEAD);
	fetch(slot);
	fetch(&slot->counts);
	fetch(&slot->counts.groups);

	slot = slot_at(number + FETCH_AHEAD / 2);
	groups = pg_atomic_read_u32(&slot->counts.groups);
	if (groups == 0)
		return;
	first = pg_rightmost_one_pos32(groups) * GROUP_SIZE;
	fetch(&slot->counts.latency.low[first]);
	fetch(&slot->counts.latency.low[Min(first + GROUP_SIZE, IMON_HISTOGRAM_BUCKETS) - 1]);
	fetch((const void *) &slot->counts.latency.halves[first]);
}

TimestampTz
imon_sum_statements(ImonSumsOf sums_of, void *arg)
{
	TimestampTz since;

	count_pending(true);
	LWLockAcquire(table->lock, LW_SHARED);
	since = table->stats_reset;
	for (uint32 i = 0; i < table->n_slots; i++)
	{
		ImonStatement *slot = slot_at(i);
		uint32		groups = pg_atomic_read_u32(&slot->counts.groups);

		fetch_ahead(i);
		if (is_used(i))
			add_sums(sums_of(arg, slot->place, &slot->key, i,
							 pg_atomic_read_u32(&slot->generation)),
					 &slot->counts, groups);
		else if (has_late_additions(slot))
			add_sums(sums_of(arg, slot->place, NULL, i, 0), &slot->counts, groups);
	}
	for (int i = 0; i <= IMON_MAX_DATABASES; i++)
	{
		ImonSums   *sums;

		if (i >= table->n_databases && i < IMON_MAX_DATABASES)
			continue;
		sums = sums_of(arg, i, NULL, 0, 0);
		add_sums(sums, &table->databases[i].remainder, ALL_GROUPS);
		add_sums(sums, &table->databases[i].past, ALL_GROUPS);
	}
	LWLockRelease(table->lock);
	return since;
}

int
imon_database_places(Oid *databases)
{
	int			n;

	LWLockAcquire(table->lock, LW_SHARED);
	n = table->n_databases;
	for (int i = 0; i < n; i++)
		databases[i] = table->databases[i].dbid;
	LWLockRelease(table->lock);
	return n;
}

ImonStatementTime *
imon_statement_times(uint32 *n, uint32 *n_slots)
{
	ImonStatementTime *times =
		MemoryContextAllocHuge(CurrentMemoryContext,
						   sizeof(ImonStatementTime) * table->n_slots);

	*n = 0;
	*n_slots = table->n_slots;
	LWLockAcquire(table->lock, LW_SHARED);
	for (uint32 i = 0; i < table->n_slots; i++)
	{
		ImonStatement *slot = slot_at(i);
		ImonStatementTime *time = &times[*n];

		if (!is_used(i))
			continue;
		time->key = slot->key;
		time->slot = i;
		time->generation = pg_atomic_read_u32(&slot->generation);
		time->ns = pg_atomic_read_u64(&slot->counts.total_ns) +
			pg_atomic_read_u64(&slot->counts.failed_ns);
		(*n)++;
	}
	LWLockRelease(table->lock);
	return times;
}

/* A row of statement_counts(). */
typedef struct ImonStatementRow
{
	bool		has_key;		/* or is it a remainder? */
	ImonStatementKey key;		/* of a remainder: dbid only */
	uint64		latency[IMON_HISTOGRAM_BUCKETS];
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
	uint64		failures = 0;

	for (int i = 0; i < IMON_HISTOGRAM_BUCKETS; i++)
		row->latency[i] = imon_bucket_read(&counts->latency, i);
	for (int i = 0; i < IMON_N_OUTCOMES; i++)
	{
		row->failures[i] = pg_atomic_read_u64(&counts->failures[i]);
		failures += row->failures[i];
	}
	if (failures == 0 && imon_histogram_total(row->latency) == 0)
		return 0;

	row->has_key = (key != NULL);
	if (key)
		row->key = *key;
	row->total_ns = pg_atomic_read_u64(&counts->total_ns);
	row->failed_ns = pg_atomic_read_u64(&counts->failed_ns);
	row->since = since;
	return 1;
}

/*
 * Copies the table; returns the number of rows.  The lock is held throughout,
 * so that an eviction moves nothing from what was read to what will be, or the
 * reverse; meanwhile other processes keep what they find no slot for.  So it
 * allocates nothing.
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
	for (int i = 0; i <= IMON_MAX_DATABASES; i++)
	{
		rows[n].key.dbid = table->databases[i].dbid;
		n += copy_counts(&rows[n], &table->databases[i].remainder, NULL,
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
	Datum		latency = imon_histogram_datum(row->latency);
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
	values[i++] = latency;
	values[i++] = Float8GetDatum(row->total_ns / 1e6);
	for (int outcome = IMON_CANCELLED; outcome < IMON_N_OUTCOMES; outcome++)
		values[i++] = Int64GetDatum((int64) row->failures[outcome]);
	values[i++] = Float8GetDatum(row->failed_ns / 1e6);
	values[i++] = TimestampTzGetDatum(row->since);
	Assert(i == lengthof(values));
	imon_put_row(rsinfo, values, nulls);
	pfree(DatumGetPointer(latency));
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
								  sizeof(ImonStatementRow) * (table->n_slots + IMON_MAX_DATABASES + 2));
	count_pending(true);
	n_rows = copy_table(rows);
	for (uint64 i = 0; i < n_rows; i++)
		put_row(rsinfo, &rows[i]);
	return (Datum) 0;
}

/* Adds the times in counts, milliseconds. */
static void
add_times(double *total, double *failed, ImonStatementCounts *counts)
{
	*total += pg_atomic_read_u64(&counts->total_ns) / 1e6;
	*failed += pg_atomic_read_u64(&counts->failed_ns) / 1e6;
}

/* SQL: statement_totals(), one row: total_time, failed_time. */
Datum
imon_statement_totals_1_0(PG_FUNCTION_ARGS)
{
	double		total = 0;
	double		failed = 0;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	imon_shmem_require();
	LWLockAcquire(table->lock, LW_SHARED);
	for (uint32 i = 0; i < table->n_slots; i++)
		add_times(&total, &failed, &slot_at(i)->counts);
	for (int i = 0; i <= IMON_MAX_DATABASES; i++)
		add_times(&total, &failed, &table->databases[i].remainder);
	LWLockRelease(table->lock);

	values[0] = Float8GetDatum(total);
	values[1] = Float8GetDatum(failed);
	PG_RETURN_DATUM(imon_one_row(fcinfo, lengthof(values), values, nulls));
}
