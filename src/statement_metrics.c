/*-------------------------------------------------------------------------
 *
 * statement_metrics.c
 *	  Metrics of databases and of the statements that take most time.
 *
 * The number of series must be bounded, and each must only grow.  So there is a
 * list of statements with a series of their own, and one series for all others.
 * A statement comes onto the list when it is among the LISTED that took most
 * time in an interval; its series starts at zero then.  It leaves only for
 * another one, after LEAVES_AFTER intervals in which it was not among them.
 * First it stands still for an interval, so that whoever reads metrics has seen
 * the last of it, and what it does from then on is counted with the others.
 *
 * The others have what all statements have counted, less what is shown of those
 * on the list, less what was shown of those that have left it: that neither
 * jumps when a statement comes or goes, nor when it is evicted from the table of
 * statements, nor at a reset; and nothing is shown twice or missing.
 *
 * The counts of the table are read once a time, under its lock, and from the
 * same reading follow all series; what is shown of a statement is kept here, as
 * it must never be less than it was.  That is why reading takes the lock of the
 * list in exclusive mode.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "exposition.h"
#include "shmem.h"
#include "statement_metrics.h"
#include "statements.h"
#include "storage/lwlock.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#define LISTED 25
#define LEAVES_AFTER 5			/* intervals */
#define N_ENTRIES (2 * LISTED)	/* so many may be leaving at once */
#define NOWHERE UINT32_MAX

#define N_HINTS 256				/* a power of two */

typedef enum ImonEntryState
{
	ENTRY_IS_FREE,
	ENTRY_IS_NEW,				/* nothing is shown of it yet */
	ENTRY_IS_LISTED,
	ENTRY_IS_LEAVING,			/* what is shown stands still */
	ENTRY_RETURNS				/* it was leaving, and is among the first
								 * again; only within imon_list_statements() */
} ImonEntryState;

typedef struct ImonEntry
{
	ImonEntryState state;
	ImonStatementKey key;
	int			below;			/* intervals in a row, not among the first */
	uint32		slot;			/* in which it was when last read */
	uint32		generation;		/* of the slot */
	ImonSums	counted;		/* there */
	ImonSums	shown;			/* since it was listed */
} ImonEntry;

typedef struct ImonStatementList
{
	LWLock	   *lock;			/* guards all below */
	bool		begun;			/* was anything ever listed? */
	TimestampTz counted_since;	/* "counted" of all entries */
	ImonSums	left;			/* shown of those that leave or have left */
	ImonEntry	entries[N_ENTRIES];
} ImonStatementList;

/* One reading of the table of statements. */
typedef struct ImonReading
{
	uint8		hints[N_HINTS]; /* some entry + 1, by queryid; 0 = none */
	bool		found[N_ENTRIES];
	bool		used[IMON_MAX_DATABASES + 1];
	int			place[N_ENTRIES];
	uint32		slot[N_ENTRIES];
	uint32		generation[N_ENTRIES];

	/* large: those that are neither found nor used are not even cleared */
	ImonSums	sums[N_ENTRIES];
	ImonSums	databases[IMON_MAX_DATABASES + 1];
} ImonReading;

/* What the metrics are made of. */
typedef struct ImonShown
{
	ImonReading reading;		/* of which the databases are shown */
	ImonSums	other;			/* statements */
	int			n_listed;
	ImonStatementKey keys[N_ENTRIES];	/* of those on the list */
	ImonSums	sums[N_ENTRIES];
} ImonShown;

/* The time of a slot at the last call of imon_list_statements(). */
typedef struct ImonSlotTime
{
	uint32		generation;
	uint64		ns;
} ImonSlotTime;

/* Bounds of buckets in nanoseconds, those that are usual with Prometheus. */
static const uint64 duration_bounds[] = {
	1000000, 2500000, 5000000, 10000000, 25000000, 50000000, 100000000,
	250000000, 500000000, 1000000000, UINT64CONST(2500000000),
	UINT64CONST(5000000000), UINT64CONST(10000000000), 0
};

static const char *const failure_classes[] = {
	NULL, "cancelled", "lock_not_available", "terminated", "error"
};

StaticAssertDecl(lengthof(failure_classes) == IMON_N_OUTCOMES,
				 "each class of failures needs a name");

static ImonStatementList *list = NULL;

static Size
list_size(void)
{
	return sizeof(ImonStatementList);
}

static void
list_init(void *part, LWLock *lock)
{
	((ImonStatementList *) part)->lock = lock;
}

static const ImonShmemPart list_part = {
	.name = "infra_monitor statement metrics",
	.size = list_size,
	.init = list_init,
	.address = (void **) &list
};

/* Adds sums to others, or takes them away. */
static void
add_to(ImonSums *to, const ImonSums *sums)
{
	for (int i = 0; i < IMON_SUMS_FIELDS; i++)
		((uint64 *) to)[i] += ((const uint64 *) sums)[i];
}

static void
take_from(ImonSums *from, const ImonSums *sums)
{
	for (int i = 0; i < IMON_SUMS_FIELDS; i++)
		((uint64 *) from)[i] -= ((const uint64 *) sums)[i];
}

static inline bool
same_key(const ImonStatementKey *a, const ImonStatementKey *b)
{
	return a->queryid == b->queryid && a->userid == b->userid &&
		a->dbid == b->dbid && a->toplevel == b->toplevel;
}

static inline bool
is_read(const ImonEntry *entry)
{
	return entry->state == ENTRY_IS_NEW || entry->state == ENTRY_IS_LISTED;
}

/* The sums of a database, which begin at zero. */
static ImonSums *
database_sums(ImonReading *reading, int place)
{
	if (!reading->used[place])
	{
		reading->used[place] = true;
		memset(&reading->databases[place], 0, sizeof(ImonSums));
	}
	return &reading->databases[place];
}

/* Where to add the counts of a slot or a remainder. */
static ImonSums *
sums_of(void *arg, int place, const ImonStatementKey *key, uint32 slot,
		uint32 generation)
{
	ImonReading *reading = arg;

	if (key == NULL || reading->hints[key->queryid % N_HINTS] == 0)
		return database_sums(reading, place);
	for (int i = 0; i < N_ENTRIES; i++)
	{
		if (!is_read(&list->entries[i]) ||
			!same_key(&list->entries[i].key, key))
			continue;
		reading->found[i] = true;
		memset(&reading->sums[i], 0, sizeof(ImonSums));
		reading->place[i] = place;
		reading->slot[i] = slot;
		reading->generation[i] = generation;
		return &reading->sums[i];
	}
	return database_sums(reading, place);
}

/*
 * Brings an entry up to date.  In another slot, or after a reset, its counts
 * have begun anew; what it did between the last reading and that moment cannot
 * be told apart any more, and is counted with the others.
 */
static void
update_entry(ImonEntry *entry, const ImonReading *reading, int i, bool reset)
{
	const ImonSums *sums = &reading->sums[i];

	if (reset || entry->slot != reading->slot[i] ||
		entry->generation != reading->generation[i])
		memset(&entry->counted, 0, sizeof(ImonSums));
	if (entry->state == ENTRY_IS_LISTED)
	{
		add_to(&entry->shown, sums);
		take_from(&entry->shown, &entry->counted);
	}
	entry->slot = reading->slot[i];
	entry->generation = reading->generation[i];
	entry->counted = *sums;
}

/*
 * Reads the table, and brings all entries up to date: what is new is listed from
 * here on.  Needs the lock, exclusive.
 */
static void
read_table(ImonReading *reading)
{
	TimestampTz since;
	bool		reset;

	memset(reading, 0, offsetof(ImonReading, sums));
	for (int i = 0; i < N_ENTRIES; i++)
		if (is_read(&list->entries[i]))
			reading->hints[list->entries[i].key.queryid % N_HINTS] = i + 1;
	since = imon_sum_statements(sums_of, reading);
	reset = since != list->counted_since;
	list->counted_since = since;

	for (int i = 0; i < N_ENTRIES; i++)
	{
		ImonEntry  *entry = &list->entries[i];

		if (!is_read(entry))
			continue;
		if (reading->found[i])
		{
			update_entry(entry, reading, i, reset);
			add_to(database_sums(reading, reading->place[i]), &reading->sums[i]);
		}
		else if (reset)
			memset(&entry->counted, 0, sizeof(ImonSums));
		entry->state = ENTRY_IS_LISTED;
	}
}

/* All that the metrics need, in the current memory context. */
static ImonShown *
read_shown(void)
{
	ImonShown  *shown = palloc(sizeof(ImonShown));

	shown->n_listed = 0;
	memset(&shown->other, 0, sizeof(ImonSums));
	LWLockAcquire(list->lock, LW_EXCLUSIVE);
	read_table(&shown->reading);
	take_from(&shown->other, &list->left);
	for (int i = 0; i < N_ENTRIES; i++)
	{
		const ImonEntry *entry = &list->entries[i];

		if (entry->state == ENTRY_IS_LISTED)
			take_from(&shown->other, &entry->shown);
		if (entry->state == ENTRY_IS_FREE)
			continue;
		shown->keys[shown->n_listed] = entry->key;
		shown->sums[shown->n_listed++] = entry->shown;
	}
	LWLockRelease(list->lock);

	for (int i = 0; i <= IMON_MAX_DATABASES; i++)
		if (shown->reading.used[i])
			add_to(&shown->other, &shown->reading.databases[i]);
	return shown;
}

/* The most time first. */
static int
compare_times(const void *a, const void *b)
{
	uint64		ns_a = ((const ImonStatementTime *) a)->ns;
	uint64		ns_b = ((const ImonStatementTime *) b)->ns;

	return (ns_a < ns_b) - (ns_a > ns_b);
}

/*
 * Those that took most time since the call before, which is remembered in this
 * process: at most LISTED, none that took no time or has no identifier.  Returns
 * how many; -1 if there was no call before, but one of another process.
 */
static int
first_statements(ImonStatementTime **first)
{
	static ImonSlotTime *before = NULL;
	ImonSlotTime *old = before;
	uint32		n;
	uint32		n_slots;
	ImonStatementTime *times = imon_statement_times(&n, &n_slots);
	int			n_first = 0;

	if (before == NULL)
		before = MemoryContextAllocExtended(TopMemoryContext,
											sizeof(ImonSlotTime) * n_slots,
											MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (uint32 i = 0; i < n; i++)
	{
		ImonSlotTime *then = &before[times[i].slot];
		uint64		ns = times[i].ns;

		/* after a reset there is less than before */
		if (then->generation == times[i].generation && then->ns <= ns)
			times[i].ns -= then->ns;
		then->generation = times[i].generation;
		then->ns = ns;
		if (times[i].key.queryid == 0)
			times[i].ns = 0;
	}
	if (old == NULL && list->begun)
		return -1;

	qsort(times, n, sizeof(ImonStatementTime), compare_times);
	while (n_first < Min(n, LISTED) && times[n_first].ns > 0)
		n_first++;
	*first = times;
	return n_first;
}

/* The entry of a statement, or NULL.  Needs the lock. */
static ImonEntry *
find_entry(const ImonStatementKey *key)
{
	for (int i = 0; i < N_ENTRIES; i++)
		if (list->entries[i].state != ENTRY_IS_FREE &&
			same_key(&list->entries[i].key, key))
			return &list->entries[i];
	return NULL;
}

/* Is this statement one of those? */
static bool
is_among(const ImonStatementKey *key, const ImonStatementTime *first,
		 int n_first)
{
	for (int i = 0; i < n_first; i++)
		if (same_key(&first[i].key, key))
			return true;
	return false;
}

/*
 * Ends what was leaving, unless it is among the first again, and counts for how
 * long the others have not been.  Returns how many are listed.  Needs the lock,
 * exclusive.
 */
static int
age_entries(const ImonStatementTime *first, int n_first)
{
	int			n = 0;

	for (int i = 0; i < N_ENTRIES; i++)
	{
		ImonEntry  *entry = &list->entries[i];

		if (entry->state == ENTRY_IS_LEAVING)
		{
			if (is_among(&entry->key, first, n_first))
				entry->state = ENTRY_RETURNS;
			else
				memset(entry, 0, sizeof(ImonEntry));
		}
		if (!is_read(entry))
			continue;
		n++;
		entry->below++;
	}
	for (int i = 0; i < n_first; i++)
	{
		ImonEntry  *entry = find_entry(&first[i].key);

		if (entry)
			entry->below = 0;
	}
	return n;
}

/*
 * Lets the entry leave that has not been among the first for longest, if that is
 * long enough.  Needs the lock, exclusive.
 */
static bool
let_one_leave(void)
{
	ImonEntry  *oldest = NULL;

	for (int i = 0; i < N_ENTRIES; i++)
	{
		ImonEntry  *entry = &list->entries[i];

		if (entry->state == ENTRY_IS_LISTED && entry->below >= LEAVES_AFTER &&
			(oldest == NULL || entry->below > oldest->below))
			oldest = entry;
	}
	if (oldest == NULL)
		return false;
	oldest->state = ENTRY_IS_LEAVING;
	add_to(&list->left, &oldest->shown);
	return true;
}

/* Puts a statement onto the list.  Needs the lock, exclusive. */
static void
add_entry(const ImonStatementKey *key)
{
	for (int i = 0; i < N_ENTRIES; i++)
	{
		ImonEntry  *entry = &list->entries[i];

		if (entry->state != ENTRY_IS_FREE)
			continue;
		memset(entry, 0, sizeof(ImonEntry));
		entry->state = ENTRY_IS_NEW;
		entry->key = *key;
		entry->slot = NOWHERE;
		return;
	}
}

/*
 * Puts a statement that was leaving back onto the list: its series goes on from
 * where it stands.  Needs the lock, exclusive.
 */
static void
keep_entry(ImonEntry *entry)
{
	take_from(&list->left, &entry->shown);
	entry->state = ENTRY_IS_NEW;
	entry->slot = NOWHERE;
	memset(&entry->counted, 0, sizeof(ImonSums));
}

/* Ends what could not return.  Needs the lock, exclusive. */
static void
end_entries(void)
{
	for (int i = 0; i < N_ENTRIES; i++)
		if (list->entries[i].state == ENTRY_RETURNS)
			memset(&list->entries[i], 0, sizeof(ImonEntry));
}

void
imon_list_statements(void)
{
	ImonReading *reading = palloc(sizeof(ImonReading));
	ImonStatementTime *first;
	int			n_first = first_statements(&first);
	int			n_listed;

	if (n_first < 0)
		return;

	LWLockAcquire(list->lock, LW_EXCLUSIVE);
	n_listed = age_entries(first, n_first);
	for (int i = 0; i < n_first; i++)
	{
		ImonEntry  *entry = find_entry(&first[i].key);

		if (entry && entry->state != ENTRY_RETURNS)
			continue;
		if (n_listed < LISTED)
			n_listed++;
		else if (!let_one_leave())
			break;
		if (entry)
			keep_entry(entry);
		else
			add_entry(&first[i].key);
		list->begun = true;
	}
	end_entries();
	read_table(reading);
	LWLockRelease(list->lock);
}

/* Metrics of each database that has executed something, and of the others. */
static void
expose_databases(ImonExposition *exposition, ImonReading *reading)
{
	Oid			oids[IMON_MAX_DATABASES];
	int			n = imon_database_places(oids);
	ImonLabels	labels[IMON_MAX_DATABASES + 1];
	const ImonSums *sums[IMON_MAX_DATABASES + 1];

	for (int i = 0; i <= n; i++)
	{
		labels[i] = imon_label("datname", i < n ?
							   imon_database_label(oids[i]) : IMON_OTHER_LABEL);
		sums[i] = database_sums(reading, i < n ? i : IMON_MAX_DATABASES);
	}

	imon_family(exposition, "query_duration_seconds", IMON_HISTOGRAM,
				"Durations of executions that completed, by database.");
	for (int i = 0; i <= n; i++)
		imon_put_histogram(exposition, &labels[i], sums[i]->latency,
						   sums[i]->total_ns / 1e9, duration_bounds);

	imon_family(exposition, "query_failures_total", IMON_COUNTER,
				"Executions that did not complete, by database and class.");
	for (int i = 0; i <= n; i++)
		for (int class = IMON_CANCELLED; class < IMON_N_OUTCOMES; class++)
		{
			ImonLabels	both = labels[i];

			imon_add_label(&both, "class", failure_classes[class]);
			imon_put_count(exposition, &both, sums[i]->failures[class]);
		}

	imon_family(exposition, "query_failed_seconds_total", IMON_COUNTER,
				"Time spent on executions that did not complete, by database.");
	for (int i = 0; i <= n; i++)
		imon_put_number(exposition, &labels[i], sums[i]->failed_ns / 1e9);
}

/* All failures. */
static uint64
failures_of(const ImonSums *sums)
{
	uint64		failures = 0;

	for (int class = IMON_CANCELLED; class < IMON_N_OUTCOMES; class++)
		failures += sums->failures[class];
	return failures;
}

/* The labels of a statement; NULL: of the others. */
static ImonLabels
statement_labels(const ImonStatementKey *key, const char *role)
{
	const char *other = IMON_OTHER_LABEL;
	ImonLabels	labels = imon_label("queryid", key ?
									psprintf(INT64_FORMAT, (int64) key->queryid) : other);

	imon_add_label(&labels, "datname", key ? imon_database_label(key->dbid) : other);
	imon_add_label(&labels, role, key ? imon_role_label(key->userid) : other);
	imon_add_label(&labels, "toplevel",
				   key ? (key->toplevel ? "true" : "false") : other);
	return labels;
}

/* Metrics of the statements on the list, and of the others. */
static void
expose_statements(ImonExposition *exposition, const ImonShown *shown)
{
	int			n = shown->n_listed;
	ImonLabels	labels[N_ENTRIES + 1];
	const ImonSums *sums[N_ENTRIES + 1];

	for (int i = 0; i < n; i++)
	{
		labels[i] = statement_labels(&shown->keys[i], "usename");
		sums[i] = &shown->sums[i];
	}
	labels[n] = statement_labels(NULL, "usename");
	sums[n] = &shown->other;

	imon_family(exposition, "statement_duration_seconds", IMON_HISTOGRAM,
				"Durations of executions that completed, by statement.");
	for (int i = 0; i <= n; i++)
		imon_put_histogram(exposition, &labels[i], sums[i]->latency,
						   sums[i]->total_ns / 1e9, duration_bounds);

	imon_family(exposition, "statement_failures_total", IMON_COUNTER,
				"Executions that did not complete, by statement.");
	for (int i = 0; i <= n; i++)
		imon_put_count(exposition, &labels[i], failures_of(sums[i]));

	imon_family(exposition, "statement_failed_seconds_total", IMON_COUNTER,
				"Time spent on executions that did not complete, by statement.");
	for (int i = 0; i <= n; i++)
		imon_put_number(exposition, &labels[i], sums[i]->failed_ns / 1e9);
}

static void
expose(ImonExposition *exposition)
{
	ImonShown  *shown;

	if (!imon_has_names(exposition))
		return;
	shown = read_shown();
	expose_databases(exposition, &shown->reading);
	if (imon_sees_all(exposition))
		expose_statements(exposition, shown);
}

/* Executions that completed. */
static uint64
calls_of(const ImonSums *sums)
{
	uint64		calls = 0;

	for (int i = 0; i < IMON_HISTOGRAM_BUCKETS; i++)
		calls += sums->latency[i];
	return calls;
}

/*
 * One of the two families of statements in the dialect of postgres_exporter, with
 * a label of ours: added up, counts would decrease when one of two levels leaves.
 */
static void
export_statements(ImonExposition *exposition, const ImonShown *shown,
				  bool calls)
{
	for (int i = 0; i <= shown->n_listed; i++)
	{
		const ImonStatementKey *key = i < shown->n_listed ? &shown->keys[i] : NULL;
		const ImonSums *sums = key ? &shown->sums[i] : &shown->other;
		ImonLabels	labels = statement_labels(key, "user");

		if (calls)
			imon_put_count(exposition, &labels, calls_of(sums));
		else
			imon_put_number(exposition, &labels, sums->total_ns / 1e9);
	}
}

static void
export(ImonExposition *exposition)
{
	const ImonShown *shown;

	if (!imon_has_names(exposition) || !imon_sees_all(exposition))
		return;
	shown = read_shown();
	imon_family(exposition, "stat_statements_calls_total", IMON_COUNTER,
				"Executions that completed, by statement; the 25 that take most time, and all others.");
	export_statements(exposition, shown, true);
	imon_family(exposition, "stat_statements_seconds_total", IMON_COUNTER,
				"Time of executions that completed, by statement.");
	export_statements(exposition, shown, false);
}

void
imon_statement_metrics_init(void)
{
	imon_shmem_register(&list_part);
	imon_register_metrics(expose);
	imon_register_dialect(IMON_POSTGRES_EXPORTER, export);
}
