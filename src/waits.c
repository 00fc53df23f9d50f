/*-------------------------------------------------------------------------
 *
 * waits.c
 *	  Wait sampling: what active sessions were seen waiting for.
 *
 * Each look at the sessions adds one observation for each active client to a
 * hash table of fixed size, by database, wait event and query.  One lock guards
 * all of it.  Only the sampler counts and stores; readers take the lock shared
 * and copy, a reset takes it exclusive.  Nothing is allocated, raised or looked
 * up under it.
 *
 * When the table is nearly full, a new query is counted under its database and
 * event alone, as query 0; what has no room even so is dropped, and both are
 * counted.  Room is made by folding entries that have not been seen for long,
 * and are stored, into query 0 of their database and event: both of their
 * counters are added to it, so that neither the observations of an event nor
 * what remains to be stored changes.
 *
 * What has been written counts as stored when the writing commits.  Until then
 * the sampler counts nothing else, so all that is there then was written;
 * unless a reset came between.  A standby stores nothing: what is counted
 * during recovery counts as stored, or the first writing after a promotion
 * would tell of all the time before it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "compat.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "partitions.h"
#include "privileges.h"
#include "rows.h"
#include "samples.h"
#include "shmem.h"
#include "storage.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "waits.h"

#define TABLE_SIZE 4096			/* a power of two */
#define QUERY_LIMIT (TABLE_SIZE * 3 / 4)	/* entries, for another query */
#define ENTRY_LIMIT (TABLE_SIZE * 15 / 16)	/* entries, for any */
#define FORGET_AFTER_US (5 * USECS_PER_MINUTE)
#define MAKE_ROOM_INTERVAL_US USECS_PER_MINUTE
#define TOP_QUERIES 100			/* stored in one writing */

#define COUNT_COLUMNS 7
#define STATE_COLUMNS 6

/* What is counted apart.  No padding: it is hashed as bytes. */
typedef struct ImonWaitKey
{
	Oid			database;
	uint32		event;			/* wait_event_info; 0 = runs */
	uint64		queryid;		/* 0 = any, or not known */
} ImonWaitKey;

typedef struct ImonWaitEntry
{
	ImonWaitKey key;
	uint64		observations;	/* 0 = the slot is free */
	uint64		stored;			/* of these */
	TimestampTz last_seen;
} ImonWaitEntry;

typedef struct ImonWaits
{
	LWLock	   *lock;			/* guards all of it */
	TimestampTz stats_reset;
	uint64		resets;
	uint64		looks;			/* at all sessions */
	uint64		looks_stored;	/* of these */
	uint64		without_query;	/* observations, for lack of room */
	uint64		dropped;		/* observations, for lack of room */
	int			entries;
	ImonWaitEntry table[TABLE_SIZE];	/* open addressing */
} ImonWaits;

static ImonWaits *waits = NULL;

/* A writing of this transaction, until it ends. */
static bool pending = false;
static uint64 pending_resets;	/* before the writing */

PG_FUNCTION_INFO_V1(imon_wait_counts_1_0);
PG_FUNCTION_INFO_V1(imon_wait_state_1_0);

static Size
waits_size(void)
{
	return sizeof(ImonWaits);
}

/* Empties the table.  The lock must be held, or nobody else be there yet. */
static void
clear(ImonWaits *shared)
{
	shared->stats_reset = GetCurrentTimestamp();
	shared->looks = 0;
	shared->looks_stored = 0;
	shared->without_query = 0;
	shared->dropped = 0;
	shared->entries = 0;
	memset(shared->table, 0, sizeof(shared->table));
}

static void
waits_init(void *part, LWLock *lock)
{
	ImonWaits  *shared = (ImonWaits *) part;

	shared->lock = lock;
	shared->resets = 0;
	clear(shared);
}

static const ImonShmemPart waits_part = {
	.name = "infra_monitor waits",
	.size = waits_size,
	.init = waits_init,
	.address = (void **) &waits
};

void
imon_waits_init(void)
{
	imon_shmem_register(&waits_part);
}

void
imon_waits_reset(void)
{
	LWLockAcquire(waits->lock, LW_EXCLUSIVE);
	waits->resets++;
	clear(waits);
	LWLockRelease(waits->lock);
}

/*
 * The entry of a key, a new one if there are fewer than "limit"; else NULL.  The
 * lock must be held.
 */
static ImonWaitEntry *
find_entry(const ImonWaitKey *key, int limit)
{
	uint32		slot = hash_bytes((const unsigned char *) key, sizeof(*key));

	for (;; slot++)
	{
		ImonWaitEntry *entry = &waits->table[slot % TABLE_SIZE];

		if (entry->observations == 0)
		{
			if (waits->entries >= limit)
				return NULL;
			waits->entries++;
			entry->key = *key;
			return entry;
		}
		if (memcmp(&entry->key, key, sizeof(*key)) == 0)
			return entry;
	}
}

/* Adds to an entry.  The lock must be held. */
static void
add_to_entry(ImonWaitEntry *entry, uint64 observations, uint64 stored,
			 TimestampTz last_seen)
{
	entry->observations += observations;
	entry->stored += stored;
	entry->last_seen = Max(entry->last_seen, last_seen);
}

/*
 * Makes room: folds what has not been seen for long, and is stored, into query
 * 0.  Entries only become fewer, so all of them fit again.
 */
static void
make_room(TimestampTz now)
{
	ImonWaitEntry *old = palloc(sizeof(waits->table));

	LWLockAcquire(waits->lock, LW_EXCLUSIVE);
	memcpy(old, waits->table, sizeof(waits->table));
	memset(waits->table, 0, sizeof(waits->table));
	waits->entries = 0;
	for (int i = 0; i < TABLE_SIZE; i++)
	{
		ImonWaitEntry *entry = &old[i];

		if (entry->observations == 0)
			continue;
		/* not kept for ever because the clock was ahead once */
		entry->last_seen = Min(entry->last_seen, now);
		if (entry->stored == entry->observations &&
			entry->last_seen < now - FORGET_AFTER_US)
			entry->key.queryid = 0;
		add_to_entry(find_entry(&entry->key, TABLE_SIZE), entry->observations,
					 entry->stored, entry->last_seen);
	}
	LWLockRelease(waits->lock);
	pfree(old);
}

/* Counts one session.  The lock must be held. */
static void
count_wait(ImonWaitKey key, TimestampTz at, bool stored)
{
	ImonWaitEntry *entry =
		find_entry(&key, key.queryid != 0 ? QUERY_LIMIT : ENTRY_LIMIT);

	if (entry == NULL && key.queryid != 0)
	{
		key.queryid = 0;
		entry = find_entry(&key, ENTRY_LIMIT);
		if (entry)
			waits->without_query++;
	}
	if (entry)
		add_to_entry(entry, 1, stored ? 1 : 0, at);
	else
		waits->dropped++;
}

void
imon_count_waits(const ImonSessions *sessions)
{
	static TimestampTz room_made_at = 0;
	bool		standby = RecoveryInProgress();

	/* nobody else adds entries */
	if (waits->entries >= QUERY_LIMIT &&
		(sessions->at < room_made_at ||
		 sessions->at - room_made_at > MAKE_ROOM_INTERVAL_US))
	{
		make_room(sessions->at);
		room_made_at = sessions->at;
	}

	LWLockAcquire(waits->lock, LW_EXCLUSIVE);
	waits->looks++;
	if (standby)
		waits->looks_stored++;
	for (int i = 0; i < sessions->count; i++)
	{
		const ImonSession *session = &sessions->sessions[i];
		const PgBackendStatus *status = session->status;
		ImonWaitKey key = {status->st_databaseid, session->wait_event,
		status->st_query_id};

		if (session->is_client && status->st_state == STATE_RUNNING)
			count_wait(key, sessions->at, standby);
	}
	LWLockRelease(waits->lock);
}

/* Transaction callback: what was written is stored, or it never was. */
static void
writing_ends(XactEvent event, void *arg)
{
	if (likely(!pending))
		return;
	if (event == XACT_EVENT_ABORT)
		pending = false;
	if (event != XACT_EVENT_COMMIT)
		return;

	pending = false;
	LWLockAcquire(waits->lock, LW_EXCLUSIVE);
	if (waits->resets == pending_resets)
	{
		for (int i = 0; i < TABLE_SIZE; i++)
			waits->table[i].stored = waits->table[i].observations;
		waits->looks_stored = waits->looks;
	}
	LWLockRelease(waits->lock);
}

/* Subtransaction callback: the same; nothing else follows in its transaction. */
static void
writing_rolled_back(SubXactEvent event, SubTransactionId mySubid,
					SubTransactionId parentSubid, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		pending = false;
}

/* Notes that what is counted now is written, once the transaction commits. */
static void
expect_commit(uint64 resets)
{
	static bool registered = false;

	if (!registered)
	{
		RegisterXactCallback(writing_ends, NULL);
		RegisterSubXactCallback(writing_rolled_back, NULL);
		registered = true;
	}
	pending_resets = resets;
	pending = true;
}

/*
 * Inserts the rows of this writing.  When nobody was active, one without an
 * event says that somebody looked.  Needs SPI to be connected.
 */
static void
insert_waits(TimestampTz at, int64 epoch)
{
	static const char *const query =
		"WITH growth AS ("
		" SELECT w.dbid, w.wait_event_type, w.wait_event, w.queryid,"
		"  sum(w.observations OPERATOR(pg_catalog.-) w.stored) AS observations,"
		"  row_number() OVER (ORDER BY sum(w.observations"
		"   OPERATOR(pg_catalog.-) w.stored) DESC) AS n"
		" FROM infra_monitor.wait_counts() w"
		" WHERE w.observations OPERATOR(pg_catalog.>) w.stored"
		" GROUP BY w.dbid, w.wait_event_type, w.wait_event, w.queryid"
		"), folded AS ("
		" SELECT infra_monitor.shown(d.datname)::pg_catalog.text AS datname,"
		"  g.wait_event_type, g.wait_event,"
		"  CASE WHEN g.n OPERATOR(pg_catalog.<=) $3 THEN g.queryid END AS queryid,"
		"  sum(g.observations)::pg_catalog.int8 AS observations"
		" FROM growth g LEFT JOIN pg_catalog.pg_database d"
		"   ON d.oid OPERATOR(pg_catalog.=) g.dbid"
		" GROUP BY 1, 2, 3, 4"
		") INSERT INTO infra_monitor.wait_samples"
		" SELECT $1, $2, f.datname, f.wait_event_type, f.wait_event, f.queryid,"
		"  coalesce(f.observations, 0),"
		"  s.looks OPERATOR(pg_catalog.-) s.looks_stored"
		" FROM infra_monitor.wait_state() s LEFT JOIN folded f ON true"
		" WHERE s.looks OPERATOR(pg_catalog.>) s.looks_stored";
	Oid			types[3] = {TIMESTAMPTZOID, INT8OID, INT8OID};
	Datum		values[3];

	values[0] = TimestampTzGetDatum(at);
	values[1] = Int64GetDatum(epoch);
	values[2] = Int64GetDatum(TOP_QUERIES);
	if (SPI_execute_with_args(query, 3, types, values, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not insert wait samples");
}

void
imon_store_waits(void)
{
	TimestampTz at;
	ImonIdentity identity;
	uint64		resets;
	bool		room;

	imon_begin_writing(&identity, "wait_samples");
	at = GetCurrentTimestamp();
	LWLockAcquire(waits->lock, LW_SHARED);
	resets = waits->resets;
	LWLockRelease(waits->lock);
	SPI_connect();
	imon_ensure_partition("wait_samples", at);
	room = imon_room_to_write(IMON_WRITES_DETAIL, "wait_samples", at) > 0;
	if (room)
	{
		insert_waits(at, imon_current_epoch());
		imon_note_written("wait_samples", at);
	}
	SPI_finish();
	imon_end_writing(&identity);
	if (room)
		expect_commit(resets);
}

/* Puts one entry into the result. */
static void
put_entry(ReturnSetInfo *rsinfo, const ImonWaitEntry *entry, uint64 looks,
		  bool with_query)
{
	uint32		event = entry->key.event;
	Datum		values[COUNT_COLUMNS];
	bool		nulls[COUNT_COLUMNS] = {false};
	int			i = 0;

	values[i++] = ObjectIdGetDatum(entry->key.database);
	values[i] = imon_string_datum(event ? pgstat_get_wait_event_type(event) : "CPU",
								  &nulls[i]);
	i++;
	values[i] = imon_string_datum(event ? pgstat_get_wait_event(event) : "CPU",
								  &nulls[i]);
	i++;
	values[i] = UInt64GetDatum(entry->key.queryid);
	nulls[i++] = (entry->key.queryid == 0 || !with_query);
	values[i++] = Int64GetDatum((int64) entry->observations);
	values[i++] = Int64GetDatum((int64) entry->stored);
	values[i++] = Int64GetDatum((int64) looks);
	Assert(i == lengthof(values));
	imon_put_row(rsinfo, values, nulls);
}

/*
 * SQL: wait_counts, one row for each entry: dbid, wait_event_type, wait_event,
 * queryid, observations, stored, looks.
 */
Datum
imon_wait_counts_1_0(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo;
	ImonWaitEntry *table;
	uint64		looks;

	/* an entry has no role, so nobody has rights to it as its owner */
	bool		with_query = imon_may_see_role(InvalidOid);

	imon_shmem_require();
	rsinfo = imon_begin_rows(fcinfo, COUNT_COLUMNS);

	table = palloc(sizeof(waits->table));
	LWLockAcquire(waits->lock, LW_SHARED);
	memcpy(table, waits->table, sizeof(waits->table));
	looks = waits->looks;
	LWLockRelease(waits->lock);

	for (int i = 0; i < TABLE_SIZE; i++)
		if (table[i].observations > 0)
			put_entry(rsinfo, &table[i], looks, with_query);
	pfree(table);
	return (Datum) 0;
}

uint64
imon_wait_queries_lost(void)
{
	return imon_read_counter(waits->lock, &waits->without_query);
}

uint64
imon_wait_observations_lost(void)
{
	return imon_read_counter(waits->lock, &waits->dropped);
}

/*
 * SQL: wait_state, one row: stats_reset, looks, looks_stored, entries,
 * without_query, dropped.
 */
Datum
imon_wait_state_1_0(PG_FUNCTION_ARGS)
{
	Datum		values[STATE_COLUMNS];
	bool		nulls[STATE_COLUMNS] = {false};
	ImonWaits  *head;			/* a copy without the table */
	int			i = 0;

	imon_shmem_require();
	head = palloc(offsetof(ImonWaits, table));
	LWLockAcquire(waits->lock, LW_SHARED);
	memcpy(head, waits, offsetof(ImonWaits, table));
	LWLockRelease(waits->lock);

	values[i++] = TimestampTzGetDatum(head->stats_reset);
	values[i++] = Int64GetDatum((int64) head->looks);
	values[i++] = Int64GetDatum((int64) head->looks_stored);
	values[i++] = Int32GetDatum(head->entries);
	values[i++] = Int64GetDatum((int64) head->without_query);
	values[i++] = Int64GetDatum((int64) head->dropped);
	Assert(i == lengthof(values));

	PG_RETURN_DATUM(imon_one_row(fcinfo, lengthof(values), values, nulls));
}
