/*-------------------------------------------------------------------------
 *
 * statements.c
 *	  The table of statements: how long their executions took, and how they
 *	  ended.
 *
 * The table has a fixed number of slots.  Whoever changes which key is in which
 * slot holds the table's lock; counts are atomic and need no lock.
 *
 * A process remembers in which slot it found a statement, and the generation
 * of the slot then.  On a hit it compares the generation and adds to two
 * atomics.  On a miss it looks the statement up, without the lock: if the
 * generation was the same before it compared the key and after, the key was
 * that of the slot.  Only if it finds nothing it takes the lock, to look again
 * and to insert, and only if that is free at the moment: a statement of a user
 * never waits for another.  If it is not free, the execution is kept in a short
 * list of the process and counted with one of the next, or at its end.
 *
 * When max_statements are in the table, some are evicted: a hand goes around,
 * as in the buffer manager, and takes slots that have not been used lately.  An
 * evicted slot gets the next generation, so that nobody who looks will find
 * it.  Its counts stay where they are, and count as those of evicted
 * statements; they are moved, by exchange, to the remainder of its database
 * when the slot is reused, which happens only after FREE_SLOTS others.  Should
 * some process have compared the generation just before the eviction, and added
 * just after, the addition is moved with them.  Thus nothing is lost, and
 * totals never go backwards.  (A process that sleeps between the two until the
 * slot is reused adds to another statement.)
 *
 * A reset moves all counts to what their database has from before; nobody but
 * imon_sum_statements() looks there.  The databases that are told apart are the
 * first ones that come; each keeps its place until shared memory is made anew,
 * so that what a database has counted is never moved to another place.
 *
 * What a miss takes is mostly the time until memory comes to the processor:
 * where many statements are executed, it is long since a slot was last in use.
 * So what is looked at of a slot is kept in few lines of the cache, what is
 * looked at of many slots in arrays of its own, and evicting touches no slot.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
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
#define KNOWN_MANY 256			/* from which on they are imon_knows_many */

#define STATEMENT_COLUMNS 12

#define LINE_SIZE 64			/* of the cache, as a rule */
#define FETCH_AHEAD 16			/* slots, see fetch_ahead() */

#define GROUP_SIZE 8			/* buckets of a bit in "groups" */
#define N_GROUPS ((IMON_HISTOGRAM_BUCKETS + GROUP_SIZE - 1) / GROUP_SIZE)
#define FAILURES 31				/* the bit that these are used, too */
#define IS_FAILURES(groups) ((groups) >> FAILURES != 0)
#define ONLY_BUCKETS(groups) ((groups) & ~((uint32) 1 << FAILURES))

StaticAssertDecl(N_GROUPS <= FAILURES, "there is no bit for failures");

/* What is counted of a statement. */
typedef struct ImonStatementCounts
{
	pg_atomic_uint64 total_ns;	/* of completed executions */
	pg_atomic_uint64 failed_ns;
	pg_atomic_uint32 groups;	/* of buckets that are used; see mark() */
	ImonBuckets latency;		/* of completed ones */
	pg_atomic_uint64 failures[IMON_N_OUTCOMES]; /* none of IMON_COMPLETED */
} ImonStatementCounts;

typedef struct ImonStatement
{
	ImonStatementKey key;		/* of the statement now, or before */
	TimestampTz since;
	uint32		place;			/* of its database */
	ImonStatementCounts counts;
} ImonStatement;

#define SLOT_SIZE TYPEALIGN(LINE_SIZE, sizeof(ImonStatement))

StaticAssertDecl(sizeof(void *) < 8 ||
				 offsetof(ImonStatement, counts.latency.low) == LINE_SIZE,
				 "what is looked at first should be in one line");

/* Of each slot, apart from it. */
typedef struct ImonSlotState
{
	pg_atomic_uint32 generation;	/* odd while no statement is in the slot;
									 * never 0 */
	pg_atomic_uint32 usage;		/* rounds of the hand for which it is safe */
} ImonSlotState;

/* Where a key is. */
typedef struct ImonPlace
{
	volatile uint32 hash;		/* of the key; undefined without a slot */
	volatile uint32 number;		/* of its slot, or NO_SLOT */
} ImonPlace;

/* A database, or in the last place all that have none of their own. */
typedef struct ImonDatabase
{
	ImonStatementCounts remainder;	/* what evicted statements have left */
	ImonStatementCounts past;	/* from before the last reset */
} ImonDatabase;

/* Where the arrays are that follow the first, in bytes. */
typedef struct ImonOffsets
{
	Size		hashes;
	Size		free_slots;
	Size		index;
	Size		slots;
} ImonOffsets;

typedef struct ImonStatements
{
	LWLock	   *lock;			/* guards all that is not atomic, but see
								 * look_up() */
	ImonOffsets offsets;
	uint32		n_slots;
	uint32		n_touched;		/* slots ever used: they are the first */
	uint32		index_mask;		/* of index_places() */
	uint32		hand;
	uint32		free_head;		/* of the queue of free slots, which is a ring */
	uint32		n_free;
	TimestampTz evicted_at;		/* last */
	TimestampTz stats_reset;
	pg_atomic_uint64 evicted;
	pg_atomic_uint64 dropped;

	int			n_places;		/* of databases, that are in use */
	Oid			dbids[IMON_MAX_DATABASES + 1];	/* InvalidOid in the last */
	ImonDatabase databases[IMON_MAX_DATABASES + 1];
} ImonStatements;

/* Followed in shared memory by five arrays, see state_of() and so on. */
static IMON_HOT_DATA ImonStatements *table = NULL;

/* A slot that this process knows. */
typedef struct ImonKnown
{
	uint64		queryid;
	uint64		who;			/* see known_who(); 0 = nothing is known here */
	ImonStatement *slot;
	uint32		number;			/* of the slot */
	uint32		generation;		/* of the slot then */
} ImonKnown;

StaticAssertDecl(sizeof(void *) < 8 || LINE_SIZE % sizeof(ImonKnown) == 0,
				 "an entry should be in one line");

/* Open addressing; never more than half full; grows on a miss only. */
static ImonKnown nothing_known[2];
static IMON_HOT_DATA ImonKnown *known = nothing_known;
static void *known_chunk = NULL;	/* of memory, in which they are */
static IMON_HOT_DATA uint32 known_mask = 0;
static uint32 n_known = 0;
IMON_HOT_DATA bool imon_knows_many = false;

/* In which the last execution was counted that was not known. */
static int	last_bucket = 0;

/* An execution that could not be counted yet. */
typedef struct ImonPendingExecution
{
	ImonStatementKey key;
	ImonOutcome outcome;
	uint64		ns;
} ImonPendingExecution;

static ImonPendingExecution pending[MAX_PENDING];
static IMON_HOT_DATA int n_pending = 0;

PG_FUNCTION_INFO_V1(imon_statement_counts_1_0);
PG_FUNCTION_INFO_V1(imon_statement_totals_1_0);

/* Size of the index: a power of two, at most half full. */
static uint32
index_size(uint32 n_slots)
{
	return pg_nextpower2_32(2 * n_slots);
}

/* The size of the table, and where its arrays are. */
static Size
lay_out(ImonOffsets *offsets)
{
	Size		n_slots = (Size) imon_max_statements + FREE_SLOTS;
	Size		size = MAXALIGN(sizeof(ImonStatements));

	size = add_size(size, mul_size(n_slots, sizeof(ImonSlotState)));
	offsets->hashes = size;
	size = add_size(size, mul_size(n_slots, sizeof(uint32)));
	offsets->free_slots = size;
	size = add_size(size, mul_size(n_slots, sizeof(uint32)));
	offsets->index = size;
	size = add_size(size, mul_size(index_size(n_slots), sizeof(ImonPlace)));
	offsets->slots = TYPEALIGN(LINE_SIZE, size);
	return add_size(offsets->slots, mul_size(n_slots, SLOT_SIZE));
}

static Size
statements_size(void)
{
	ImonOffsets ignored;

	return lay_out(&ignored);
}

/* The state of the slot of this number. */
static inline ImonSlotState *
state_of(uint32 number)
{
	return (ImonSlotState *) ((char *) table + MAXALIGN(sizeof(ImonStatements))) + number;
}

/* The hashes of the keys in the slots. */
static inline uint32 *
hashes(void)
{
	return (uint32 *) ((char *) table + table->offsets.hashes);
}

/* The free slots, a ring of n_slots. */
static inline uint32 *
free_slots(void)
{
	return (uint32 *) ((char *) table + table->offsets.free_slots);
}

/* Where the keys are, by hash; linear probing. */
static inline ImonPlace *
index_places(void)
{
	return (ImonPlace *) ((char *) table + table->offsets.index);
}

/* The slot of this number. */
static inline ImonStatement *
slot_at(uint32 number)
{
	return (ImonStatement *) ((char *) table + table->offsets.slots + number * SLOT_SIZE);
}

static void
init_counts(ImonStatementCounts *counts)
{
	pg_atomic_init_u64(&counts->total_ns, 0);
	pg_atomic_init_u64(&counts->failed_ns, 0);
	pg_atomic_init_u32(&counts->groups, 0);
	imon_buckets_init(&counts->latency);
	for (int i = 0; i < IMON_N_OUTCOMES; i++)
		pg_atomic_init_u64(&counts->failures[i], 0);
}

static void
statements_init(void *part, LWLock *lock)
{
	table = (ImonStatements *) part;
	table->lock = lock;
	lay_out(&table->offsets);
	table->n_slots = (uint32) imon_max_statements + FREE_SLOTS;
	table->n_touched = 0;
	table->index_mask = index_size(table->n_slots) - 1;
	table->hand = 0;
	table->free_head = 0;
	table->n_free = table->n_slots;
	table->stats_reset = GetCurrentTimestamp();
	table->evicted_at = table->stats_reset;
	table->n_places = 0;
	pg_atomic_init_u64(&table->evicted, 0);
	pg_atomic_init_u64(&table->dropped, 0);
	for (int i = 0; i <= IMON_MAX_DATABASES; i++)
	{
		init_counts(&table->databases[i].remainder);
		init_counts(&table->databases[i].past);
	}
	for (uint32 i = 0; i < table->n_slots; i++)
	{
		pg_atomic_init_u32(&state_of(i)->generation, 1);
		pg_atomic_init_u32(&state_of(i)->usage, 0);
		init_counts(&slot_at(i)->counts);
		free_slots()[i] = i;
	}
	for (uint32 i = 0; i <= table->index_mask; i++)
		index_places()[i].number = NO_SLOT;
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
 * The slot of a statement and its generation, or NO_SLOT.  Needs no lock:
 * without it a statement that is in the table may not be found, but what is
 * found has been there.
 */
static uint32
look_up(const ImonStatementKey *key, uint32 hash, uint32 *generation)
{
	const ImonPlace *index = index_places();
	uint32		mask = table->index_mask;

	/* while others move them about, nothing but a count is sure to end */
	for (uint32 i = 0; i <= mask; i++)
	{
		const ImonPlace *place = &index[(hash + i) & mask];
		uint32		number = place->number;

		if (number == NO_SLOT)
			break;
		if (place->hash != hash)
			continue;
		*generation = pg_atomic_read_u32(&state_of(number)->generation);
		pg_read_barrier();
		if ((*generation & 1) != 0 || !same_key(&slot_at(number)->key, key))
			continue;
		pg_read_barrier();
		if (pg_atomic_read_u32(&state_of(number)->generation) == *generation)
			return number;
	}
	return NO_SLOT;
}

/* Puts a slot into the index.  Needs the lock. */
static void
add_to_index(uint32 hash, uint32 number)
{
	ImonPlace  *index = index_places();
	uint32		mask = table->index_mask;
	uint32		at = hash & mask;

	while (index[at].number != NO_SLOT)
		at = (at + 1) & mask;
	index[at].hash = hash;
	index[at].number = number;
}

/*
 * Removes a slot from the index, and moves those behind it that would no longer
 * be found.  Needs the lock.
 */
static void
remove_from_index(uint32 hash, uint32 number)
{
	ImonPlace  *index = index_places();
	uint32		mask = table->index_mask;
	uint32		hole = hash & mask;
	uint32		at;

	while (index[hole].number != number)
		hole = (hole + 1) & mask;
	for (at = (hole + 1) & mask; index[at].number != NO_SLOT; at = (at + 1) & mask)
	{
		/* can it be reached from its home without passing the hole? */
		if (((at - index[at].hash) & mask) < ((at - hole) & mask))
			continue;
		index[hole].hash = index[at].hash;
		index[hole].number = index[at].number;
		hole = at;
	}
	index[hole].number = NO_SLOT;
}

/* Moves a count that may be changing to where nobody else adds. */
static inline void
move_count(pg_atomic_uint64 *to, pg_atomic_uint64 *from)
{
	if (pg_atomic_read_u64(from) != 0)
		pg_atomic_write_u64(to, pg_atomic_read_u64(to) + pg_atomic_exchange_u64(from, 0));
}

/* The place of a database.  Needs the lock. */
static uint32
place_of(Oid dbid)
{
	int			n = table->n_places;
	int			place = 0;

	while (place < Min(n, IMON_MAX_DATABASES) && table->dbids[place] != dbid)
		place++;
	if (place == n)
	{
		table->dbids[place] = place < IMON_MAX_DATABASES ? dbid : InvalidOid;
		table->n_places++;
	}
	return place;
}

/*
 * Says that counts are used, after something was added to them.  What is not
 * marked is neither moved nor shown.  move_counts() takes the marks before it
 * moves what is marked: whoever adds after that finds no mark, and makes it
 * again.  Thus what was shown once is never hidden.
 */
static inline void
mark(ImonStatementCounts *counts, int group)
{
	if (unlikely((pg_atomic_read_u32(&counts->groups) >> group & 1) == 0))
		pg_atomic_fetch_or_u32(&counts->groups, (uint32) 1 << group);
}

/*
 * Moves counts to where nobody else adds, while they may be changing.  Needs
 * the lock, and is fast: most buckets are never used.
 */
static void
move_counts(ImonStatementCounts *to, ImonStatementCounts *from)
{
	uint32		groups = pg_atomic_exchange_u32(&from->groups, 0);

	pg_atomic_write_u32(&to->groups, pg_atomic_read_u32(&to->groups) | groups);
	move_count(&to->total_ns, &from->total_ns);
	move_count(&to->failed_ns, &from->failed_ns);
	if (unlikely(IS_FAILURES(groups)))
		for (int i = 0; i < IMON_N_OUTCOMES; i++)
			move_count(&to->failures[i], &from->failures[i]);
	for (groups = ONLY_BUCKETS(groups); groups != 0; groups &= groups - 1)
	{
		int			first = pg_rightmost_one_pos32(groups) * GROUP_SIZE;

		imon_buckets_move(&to->latency, &from->latency, first,
						  Min(first + GROUP_SIZE, IMON_HISTOGRAM_BUCKETS));
	}
}

/*
 * Moves what a free slot has counted to the remainder of its database.  Needs
 * the lock.
 */
static inline void
fold(ImonStatement *slot)
{
	move_counts(&table->databases[slot->place].remainder, &slot->counts);
}

/* Is a statement in the slot?  Needs the lock. */
static inline bool
is_used(uint32 number)
{
	return (pg_atomic_read_u32(&state_of(number)->generation) & 1) == 0;
}

/*
 * Has something been counted in the slot?  (While it is free, an addition that
 * is not seen is not lost: it is then one to the next statement.)
 */
static inline bool
has_counts(ImonStatement *slot)
{
	return pg_atomic_read_u32(&slot->counts.groups) != 0 ||
		pg_atomic_read_u64(&slot->counts.total_ns) != 0 ||
		pg_atomic_read_u64(&slot->counts.failed_ns) != 0;
}

/* The number behind another, around the table.  No division. */
static inline uint32
next_number(uint32 number)
{
	return number + 1 == table->n_slots ? 0 : number + 1;
}

/*
 * A number of the queue of free slots, counted from its head, as a place in the
 * ring.
 */
static inline uint32
place_in_ring(uint32 i)
{
	uint32		at = table->free_head + i;

	return at >= table->n_slots ? at - table->n_slots : at;
}

/* Empties a slot that is in use, but for its counts.  Needs the lock. */
static inline void
evict(uint32 number)
{
	pg_atomic_uint32 *generation = &state_of(number)->generation;

	pg_atomic_write_u32(generation, pg_atomic_read_u32(generation) + 1);
	remove_from_index(hashes()[number], number);
	free_slots()[place_in_ring(table->n_free)] = number;
	table->n_free++;
}

/*
 * Lets the hand go around until a batch is evicted: a sixteenth of a small
 * table, FREE_SLOTS of a large one.  The array of states is all that it looks
 * at on its way.  Needs the lock, and a full table.
 */
static pg_noinline void
evict_some(void)
{
	uint32		batch = Min(table->n_slots / 16, FREE_SLOTS);
	uint32		left = batch;
	uint32		number = table->hand;

	for (; left > 0; number = next_number(number))
	{
		pg_atomic_uint32 *usage = &state_of(number)->usage;
		uint32		rounds = pg_atomic_read_u32(usage);

		if (rounds > 0)
			pg_atomic_write_u32(usage, rounds - 1);
		else if (is_used(number))
		{
			evict(number);
			left--;
		}
	}
	table->hand = number;
	table->evicted_at = GetCurrentTimestamp();
	pg_atomic_fetch_add_u64(&table->evicted, batch);
}

/*
 * From when on a statement that is inserted now was not in the table before, to
 * be counted and evicted.  That of the process is a time that it has anyway.
 */
static inline TimestampTz
counted_since(void)
{
	return Max(GetCurrentStatementStartTimestamp(),
			   Max(table->evicted_at, table->stats_reset));
}

/*
 * Asks for the memory of a slot that will be used soon, as it was last: most
 * statements that are missing take about as long as the one before.
 */
static inline void
prefetch_slot(uint32 number)
{
	ImonStatement *slot = slot_at(number);

	imon_prefetch(slot);
	imon_prefetch(&slot->counts.latency.low[last_bucket]);
}

/* Puts a statement into a free slot and into the index.  Needs the lock. */
static uint32
insert(const ImonStatementKey *key, uint32 hash, uint32 *generation)
{
	uint32		number = free_slots()[table->free_head];
	ImonStatement *slot = slot_at(number);
	ImonSlotState *state = state_of(number);

	table->free_head = next_number(table->free_head);
	table->n_free--;
	table->n_touched = Max(table->n_touched, number + 1);

	if (has_counts(slot))
		fold(slot);
	slot->key = *key;
	slot->since = counted_since();
	slot->place = place_of(key->dbid);
	hashes()[number] = hash;
	pg_atomic_write_u32(&state->usage, 0);
	*generation = pg_atomic_read_u32(&state->generation) + 1;
	pg_write_barrier();
	pg_atomic_write_u32(&state->generation, *generation);
	add_to_index(hash, number);
	prefetch_slot(free_slots()[table->free_head]);
	return number;
}

/*
 * The slot of a statement and its generation; inserts the statement if it is
 * missing.  NO_SLOT if that needs the lock, which is not free, and the caller
 * does not wait.
 */
static uint32
find_or_insert(const ImonStatementKey *key, bool wait, uint32 *generation)
{
	uint32		hash = hash_key(key);
	uint32		number = look_up(key, hash, generation);

	if (number != NO_SLOT)
		return number;
	if (wait)
		LWLockAcquire(table->lock, LW_EXCLUSIVE);
	else if (!LWLockConditionalAcquire(table->lock, LW_EXCLUSIVE))
		return NO_SLOT;
	if (table->n_free <= FREE_SLOTS)
		evict_some();
	number = look_up(key, hash, generation);	/* another may have been
												 * faster */
	if (number == NO_SLOT)
		number = insert(key, hash, generation);
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
static pg_noinline bool
make_room(void)
{
	uint32		size = known_mask + 1;
	uint32		new_size = Max(2 * size, KNOWN_MIN);
	ImonKnown  *old = known;
	void	   *chunk;

	if (size >= KNOWN_MAX)
	{
		memset(known, 0, sizeof(ImonKnown) * size);
		n_known = 0;
		return true;
	}
	chunk = MemoryContextAllocExtended(TopMemoryContext,
									   sizeof(ImonKnown) * new_size + LINE_SIZE,
									   MCXT_ALLOC_NO_OOM | MCXT_ALLOC_ZERO);
	if (chunk == NULL)
		return size > n_known + 1;
	known = (ImonKnown *) TYPEALIGN(LINE_SIZE, chunk);
	known_mask = new_size - 1;
	for (uint32 i = 0; i < size; i++)
		if (old[i].who != 0)
			*find_known(old[i].queryid, old[i].who) = old[i];
	if (known_chunk)
		pfree(known_chunk);
	known_chunk = chunk;
	imon_knows_many = new_size >= KNOWN_MANY;
	return true;
}

/*
 * The entry in which to remember where a statement is that is not known, or
 * "entry" if that is where it would go; without memory one for this moment
 * only.
 */
static inline ImonKnown *
new_known(ImonKnown *entry, uint64 queryid, uint64 who)
{
	static ImonKnown not_kept;

	if (unlikely(2 * (n_known + 1) > known_mask + 1))
	{
		if (!make_room())
			return &not_kept;
		entry = find_known(queryid, who);
	}
	n_known++;
	return entry;
}

/* Is the statement still where it was when this was remembered? */
static inline bool
is_valid(const ImonKnown *entry)
{
	return pg_atomic_read_u32(&state_of(entry->number)->generation) == entry->generation;
}

/* Where a statement is; NULL if that cannot be found out now. */
static inline const ImonKnown *
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
	if (entry->who == 0)
		entry = new_known(entry, key->queryid, who);
	entry->queryid = key->queryid;
	entry->who = who;
	entry->generation = generation;
	entry->number = number;
	entry->slot = slot_at(number);
	return entry;
}

/* Counts the duration of an execution that has completed; returns its bucket. */
static inline int
add_duration(ImonStatementCounts *counts, uint64 ns)
{
	int			bucket = imon_histogram_bucket(ns);

	imon_bucket_count(&counts->latency, bucket);
	mark(counts, bucket / GROUP_SIZE);
	pg_atomic_fetch_add_u64(&counts->total_ns, ns);
	return bucket;
}

/* The statement is in use: the hand must go around a few more times. */
static inline void
touch(ImonSlotState *state)
{
	uint32		rounds = pg_atomic_read_u32(&state->usage);

	if (unlikely(rounds < MAX_USAGE))
		pg_atomic_write_u32(&state->usage, rounds + 1);
}

/* Counts an execution that has not. */
static void
add_failure(ImonStatementCounts *counts, ImonOutcome outcome, uint64 ns)
{
	pg_atomic_fetch_add_u64(&counts->failures[outcome], 1);
	mark(counts, FAILURES);
	pg_atomic_fetch_add_u64(&counts->failed_ns, ns);
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
		last_bucket = add_duration(&entry->slot->counts, ns);
	else
		add_failure(&entry->slot->counts, outcome, ns);
	touch(state_of(entry->number));
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
imon_expect_execution(const ImonStatementKey *key)
{
	imon_prefetch(first_place(key->queryid, known_who(key)));
}

pg_attribute_hot void
imon_count_execution(const ImonStatementKey *key, ImonOutcome outcome,
					 uint64 ns)
{
	uint64		who = known_who(key);
	const ImonKnown *entry = first_place(key->queryid, who);
	ImonSlotState *state = state_of(entry->number);

	/* no calls from here: what they need would have to be saved first */
	if (likely(is_known_here(entry, key->queryid, who) &&
			   pg_atomic_read_u32(&state->generation) == entry->generation &&
			   outcome == IMON_COMPLETED && n_pending == 0))
	{
		add_duration(&entry->slot->counts, ns);
		touch(state);
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
	for (uint32 i = 0; i < table->n_touched; i++)
	{
		ImonStatement *slot = slot_at(i);

		if (has_counts(slot))
			move_counts(&table->databases[slot->place].past, &slot->counts);
		slot->since = table->stats_reset;
	}
	for (int i = 0; i < table->n_places; i++)
		move_counts(&table->databases[i].past, &table->databases[i].remainder);
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

/* Adds the counts of durations; returns the marks at that moment. */
static uint32
add_latency(uint64 *to, ImonStatementCounts *counts)
{
	uint32		all = pg_atomic_read_u32(&counts->groups);

	for (uint32 groups = ONLY_BUCKETS(all); groups != 0; groups &= groups - 1)
	{
		int			first = pg_rightmost_one_pos32(groups) * GROUP_SIZE;

		/* a number of its own, so that the compiler sees it */
		if (first + GROUP_SIZE <= IMON_HISTOGRAM_BUCKETS)
			imon_buckets_add(to + first, &counts->latency, first, GROUP_SIZE);
		else
			imon_buckets_add(to + first, &counts->latency, first,
							 IMON_HISTOGRAM_BUCKETS - first);
	}
	return all;
}

/* Adds counts. */
static void
add_counts(ImonCounts *to, ImonStatementCounts *counts)
{
	uint32		groups = add_latency(to->latency, counts);

	to->total_ns += pg_atomic_read_u64(&counts->total_ns);
	if (IS_FAILURES(groups))
		for (int i = 0; i < IMON_N_OUTCOMES; i++)
			to->failures += pg_atomic_read_u64(&counts->failures[i]);
	to->failed_ns += pg_atomic_read_u64(&counts->failed_ns);
}

/*
 * Adds a slot to a tally, if anything was counted there.  Returns false if
 * there may be no room for it.  Needs the lock.
 */
static bool
add_slot(ImonTally *tally, Size room, uint32 number)
{
	ImonStatement *slot = slot_at(number);
	ImonTallyEntry *entry = imon_end_of_entries(tally);
	ImonCounts	counts;

	if (!is_used(number))
	{
		if (has_counts(slot))
			add_counts(&tally->evicted, &slot->counts);
		return true;
	}
	if (room - tally->size < MAXALIGN(offsetof(ImonTallyEntry, latency) + IMON_HISTOGRAM_MAX_BYTES))
		return false;
	memset(&counts, 0, sizeof(counts));
	add_counts(&counts, &slot->counts);
	if (counts.total_ns == 0 && counts.failures == 0 &&
		imon_histogram_total(counts.latency) == 0)
		return true;

	memset(entry, 0, offsetof(ImonTallyEntry, latency));
	entry->slot = number;
	entry->generation = pg_atomic_read_u32(&state_of(number)->generation);
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
	for (uint32 i = 0; i < table->n_touched && fits; i++)
		fits = add_slot(tally, room, i);
	for (int i = 0; i < table->n_places; i++)
		add_counts(&tally->evicted, &table->databases[i].remainder);
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
	for (uint32 i = 0; i < table->n_touched; i++)
		add_latency(counts, &slot_at(i)->counts);
	for (int i = 0; i < table->n_places; i++)
		add_latency(counts, &table->databases[i].remainder);
	LWLockRelease(table->lock);
	return since;
}

/* Adds counts. */
static void
add_sums(ImonSums *to, ImonStatementCounts *counts)
{
	uint32		groups = add_latency(to->latency, counts);

	to->total_ns += pg_atomic_read_u64(&counts->total_ns);
	if (IS_FAILURES(groups))
		for (int i = 0; i < IMON_N_OUTCOMES; i++)
			to->failures[i] += pg_atomic_read_u64(&counts->failures[i]);
	to->failed_ns += pg_atomic_read_u64(&counts->failed_ns);
}

#ifdef __GNUC__
#define fetch(address) __builtin_prefetch(address)
#else
#define fetch(address) ((void) 0)
#endif

/*
 * Has the processor fetch what add_sums() needs of slots further on, as what it
 * waits for otherwise is memory: first the line that leads to the buckets, then
 * theirs, of which each group is in one.
 */
static inline void
fetch_ahead(uint32 number)
{
	ImonStatement *slot;

	if (number + FETCH_AHEAD >= table->n_touched)
		return;
	fetch(slot_at(number + FETCH_AHEAD));

	slot = slot_at(number + FETCH_AHEAD / 2);
	for (uint32 groups = ONLY_BUCKETS(pg_atomic_read_u32(&slot->counts.groups));
		 groups != 0; groups &= groups - 1)
		fetch(&slot->counts.latency.low[pg_rightmost_one_pos32(groups) * GROUP_SIZE]);
}

TimestampTz
imon_sum_statements(ImonSumsOf sums_of, void *arg)
{
	TimestampTz since;

	count_pending(true);
	LWLockAcquire(table->lock, LW_SHARED);
	since = table->stats_reset;
	for (uint32 i = 0; i < table->n_touched; i++)
	{
		ImonStatement *slot = slot_at(i);

		fetch_ahead(i);
		if (is_used(i))
			add_sums(sums_of(arg, slot->place, &slot->key, i,
							 pg_atomic_read_u32(&state_of(i)->generation)),
					 &slot->counts);
		else if (has_counts(slot))
			add_sums(sums_of(arg, slot->place, NULL, i, 0), &slot->counts);
	}
	for (int i = 0; i < table->n_places; i++)
	{
		ImonSums   *sums = sums_of(arg, i, NULL, 0, 0);

		add_sums(sums, &table->databases[i].remainder);
		add_sums(sums, &table->databases[i].past);
	}
	LWLockRelease(table->lock);
	return since;
}

int
imon_database_places(Oid *databases)
{
	int			n;

	LWLockAcquire(table->lock, LW_SHARED);
	n = Min(table->n_places, IMON_MAX_DATABASES);
	memcpy(databases, table->dbids, n * sizeof(Oid));
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
	for (uint32 i = 0; i < table->n_touched; i++)
	{
		ImonStatement *slot = slot_at(i);
		ImonStatementTime *time = &times[*n];

		if (!is_used(i))
			continue;
		time->key = slot->key;
		time->slot = i;
		time->generation = pg_atomic_read_u32(&state_of(i)->generation);
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
	uint32		groups;

	memset(row->latency, 0, sizeof(row->latency));
	groups = add_latency(row->latency, counts);
	for (int i = 0; i < IMON_N_OUTCOMES; i++)
	{
		row->failures[i] = IS_FAILURES(groups) ?
			pg_atomic_read_u64(&counts->failures[i]) : 0;
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
 * Moves what free slots have counted to the remainders: one row for each
 * database is enough.  Waits for the lock.
 */
static void
fold_free_slots(void)
{
	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	for (uint32 i = 0; i < table->n_touched; i++)
		if (!is_used(i) && has_counts(slot_at(i)))
			fold(slot_at(i));
	LWLockRelease(table->lock);
}

/*
 * Copies the table; returns the number of rows.  The lock is held throughout,
 * so that an eviction moves nothing from what was read to what will be, or the
 * reverse; meanwhile other processes keep what they find no slot for.  So it
 * allocates nothing.  The lock is shared, so that readers need not wait for one
 * another.
 */
static uint64
copy_table(ImonStatementRow *rows)
{
	uint64		n = 0;

	LWLockAcquire(table->lock, LW_SHARED);
	for (uint32 i = 0; i < table->n_touched; i++)
	{
		ImonStatement *slot = slot_at(i);

		if (!is_used(i) && !has_counts(slot))
			continue;
		rows[n].key.dbid = table->dbids[slot->place];	/* if it was evicted
														 * just now */
		n += copy_counts(&rows[n], &slot->counts,
						 is_used(i) ? &slot->key : NULL, slot->since);
	}
	for (int i = 0; i < table->n_places; i++)
	{
		rows[n].key.dbid = table->dbids[i];
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
	fold_free_slots();
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
	for (uint32 i = 0; i < table->n_touched; i++)
		add_times(&total, &failed, &slot_at(i)->counts);
	for (int i = 0; i < table->n_places; i++)
		add_times(&total, &failed, &table->databases[i].remainder);
	LWLockRelease(table->lock);

	values[0] = Float8GetDatum(total);
	values[1] = Float8GetDatum(failed);
	PG_RETURN_DATUM(imon_one_row(fcinfo, lengthof(values), values, nulls));
}
