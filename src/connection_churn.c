/*-------------------------------------------------------------------------
 *
 * connection_churn.c
 *	  Who connects how often: by database, role and application, and how many
 *	  in the last hour.
 *
 * A fixed table of slots, each for a database, role and application name, and
 * one more for what finds no room.  A connection claims a free slot by changing
 * its state from free to claimed, writes the key, and publishes it; from then
 * on the key never changes, and the slot is never given up until the server
 * restarts.  Nobody waits: who meets a claimed slot, whose key is not there
 * yet, goes on to the next one.  So a key may have two slots; readers add them
 * up.
 *
 * Each event is counted once, in a slot, and the totals of the server are the
 * sums of the slots: the two cannot differ, whatever happens at the moment of
 * a reset.  Totals only grow; a reset remembers what they were ("base").
 *
 * All connections are also counted by slots of ten seconds, over an hour; this
 * goes on while infra_monitor is disabled, so that what is usual is known when
 * it is enabled again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/dbcommands.h"
#include "common/hashfn.h"
#include "connection_churn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "privileges.h"
#include "rows.h"
#include "shmem.h"
#include "texts.h"
#include "totals.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "window.h"

#define N_SLOTS 512
#define N_PROBES 8

#define SLOT_SECONDS 10			/* of a cell of the windows */
#define HOUR_CELLS 360
#define MINUTE_SLOTS 6
#define MINUTE_CELLS (MINUTE_SLOTS + 1) /* the current one is incomplete */

#define CHURN_COLUMNS 10
#define RATE_COLUMNS 3

typedef enum ImonChurnState
{
	SLOT_IS_FREE,
	SLOT_IS_CLAIMED,			/* somebody writes the key */
	SLOT_IS_PUBLISHED
} ImonChurnState;

typedef struct ImonChurnKey
{
	Oid			database;
	Oid			role;
	char		application_name[NAMEDATALEN];	/* zero-filled */
} ImonChurnKey;

typedef struct ImonChurnCounts
{
	pg_atomic_uint64 connects;
	pg_atomic_uint64 disconnects;
	pg_atomic_uint64 session_time;	/* of those that ended, us */
} ImonChurnCounts;

typedef struct ImonChurnSlot
{
	pg_atomic_uint32 state;		/* ImonChurnState */
	ImonChurnCounts totals;		/* since shared memory was created */
	ImonChurnCounts base;		/* totals at the last reset */
	pg_atomic_uint64 last_at;	/* 0 = nothing since the last reset */
	pg_atomic_uint64 minute[MINUTE_CELLS];
	ImonChurnKey key;			/* constant once published */
} ImonChurnSlot;

typedef struct ImonChurn
{
	pg_atomic_uint64 since;		/* moment of the last reset */
	pg_atomic_uint64 uncounted_at;	/* last connection that was not counted */
	pg_atomic_uint64 hour[HOUR_CELLS];	/* all connections */
	ImonChurnSlot slots[N_SLOTS + 1];	/* the last one is for the others */
} ImonChurn;

static ImonChurn *churn = NULL;

/* Where this process was counted. */
static ImonChurnSlot *my_slot = NULL;

PG_FUNCTION_INFO_V1(imon_connection_churn_1_0);
PG_FUNCTION_INFO_V1(imon_connection_rate_1_0);

static Size
churn_size(void)
{
	return sizeof(ImonChurn);
}

static void
init_counts(ImonChurnCounts *counts)
{
	pg_atomic_init_u64(&counts->connects, 0);
	pg_atomic_init_u64(&counts->disconnects, 0);
	pg_atomic_init_u64(&counts->session_time, 0);
}

static void
churn_init(void *part, LWLock *lock)
{
	ImonChurn  *shared = (ImonChurn *) part;

	pg_atomic_init_u64(&shared->since, (uint64) GetCurrentTimestamp());
	pg_atomic_init_u64(&shared->uncounted_at, 0);
	imon_window_init(shared->hour, HOUR_CELLS);
	for (int i = 0; i <= N_SLOTS; i++)
	{
		ImonChurnSlot *slot = &shared->slots[i];

		pg_atomic_init_u32(&slot->state, SLOT_IS_FREE);
		init_counts(&slot->totals);
		init_counts(&slot->base);
		pg_atomic_init_u64(&slot->last_at, 0);
		imon_window_init(slot->minute, MINUTE_CELLS);
	}
}

static const ImonShmemPart churn_part = {
	.name = "infra_monitor connection churn",
	.size = churn_size,
	.init = churn_init,
	.address = (void **) &churn
};

void
imon_churn_init(void)
{
	imon_shmem_register(&churn_part);
}

/* The slot of time of a moment. */
static uint64
slot_of(TimestampTz at)
{
	return (uint64) (at / (SLOT_SECONDS * USECS_PER_SEC));
}

/*
 * The slot of a key, claimed if need be; that of the others if there is none
 * among those where it may be.
 */
static ImonChurnSlot *
find_slot(const ImonChurnKey *key)
{
	uint32		hash = hash_bytes((const unsigned char *) key, sizeof(*key));

	for (uint32 i = 0; i < N_PROBES; i++)
	{
		ImonChurnSlot *slot = &churn->slots[(hash + i) % N_SLOTS];
		uint32		state = pg_atomic_read_u32(&slot->state);

		if (state == SLOT_IS_FREE &&
			pg_atomic_compare_exchange_u32(&slot->state, &state,
										   SLOT_IS_CLAIMED))
		{
			slot->key = *key;
			pg_write_barrier();
			pg_atomic_write_u32(&slot->state, SLOT_IS_PUBLISHED);
			return slot;
		}
		if (state != SLOT_IS_PUBLISHED)
			continue;
		pg_read_barrier();
		if (memcmp(&slot->key, key, sizeof(*key)) == 0)
			return slot;
	}
	return &churn->slots[N_SLOTS];
}

void
imon_churn_begin(TimestampTz at, bool counted)
{
	ImonChurnKey key;

	imon_window_count(churn->hour, HOUR_CELLS, slot_of(at));
	if (!counted)
	{
		pg_atomic_write_u64(&churn->uncounted_at, (uint64) at);
		return;
	}

	/* the parameter, as it may also come from the role or the database */
	memset(&key, 0, sizeof(key));
	key.database = MyDatabaseId;
	key.role = GetSessionUserId();
	strlcpy(key.application_name, application_name ? application_name : "",
			NAMEDATALEN);

	my_slot = find_slot(&key);
	pg_atomic_fetch_add_u64(&my_slot->totals.connects, 1);
	imon_window_count(my_slot->minute, MINUTE_CELLS, slot_of(at));
	pg_atomic_write_u64(&my_slot->last_at, (uint64) at);
}

void
imon_churn_end(TimestampTz at, uint64 session_time)
{
	if (my_slot == NULL)
		return;
	pg_atomic_fetch_add_u64(&my_slot->totals.session_time,
							(int64) session_time);
	pg_atomic_fetch_add_u64(&my_slot->totals.disconnects, 1);
	pg_atomic_write_u64(&my_slot->last_at, (uint64) at);
}

void
imon_churn_totals(uint64 *connects, uint64 *disconnects)
{
	*connects = *disconnects = 0;
	for (int i = 0; i <= N_SLOTS; i++)
	{
		ImonChurnSlot *slot = &churn->slots[i];

		*disconnects += imon_since_reset(&slot->totals.disconnects,
										 &slot->base.disconnects);
	}
	pg_read_barrier();
	for (int i = 0; i <= N_SLOTS; i++)
	{
		ImonChurnSlot *slot = &churn->slots[i];

		*connects += imon_since_reset(&slot->totals.connects, &slot->base.connects);
	}
}

void
imon_churn_ever(uint64 *connects, uint64 *disconnects)
{
	*connects = *disconnects = 0;
	for (int i = 0; i <= N_SLOTS; i++)
		*disconnects += pg_atomic_read_u64(&churn->slots[i].totals.disconnects);
	pg_read_barrier();
	for (int i = 0; i <= N_SLOTS; i++)
		*connects += pg_atomic_read_u64(&churn->slots[i].totals.connects);
}

void
imon_churn_reset(void)
{
	for (int i = 0; i <= N_SLOTS; i++)
	{
		ImonChurnSlot *slot = &churn->slots[i];

		imon_reset_total(&slot->totals.connects, &slot->base.connects);
		imon_reset_total(&slot->totals.disconnects, &slot->base.disconnects);
		imon_reset_total(&slot->totals.session_time, &slot->base.session_time);
		pg_atomic_write_u64(&slot->last_at, 0);
		imon_window_clear(slot->minute, MINUTE_CELLS);
	}
	imon_window_clear(churn->hour, HOUR_CELLS);
	pg_atomic_write_u64(&churn->since, (uint64) GetCurrentTimestamp());
}

/*
 * Were all connections counted, by application, from the beginning of this
 * slot of time on?
 */
static bool
all_counted_from(uint64 slot)
{
	TimestampTz start = (TimestampTz) slot * SLOT_SECONDS * USECS_PER_SEC;

	return start >= (TimestampTz) pg_atomic_read_u64(&churn->since) &&
		start > (TimestampTz) pg_atomic_read_u64(&churn->uncounted_at);
}

/* The count of a slot's last "n" complete slots of time; NULL if not known. */
static Datum
recent_datum(ImonChurnSlot *slot, uint64 now, int n, bool *isnull)
{
	uint64		sum = 0;

	*isnull = !all_counted_from(now - n);
	for (int back = 1; back <= n; back++)
		sum += imon_window_read(slot->minute, MINUTE_CELLS, now - back);
	return Int64GetDatum((int64) sum);
}

/* Names of a slot, as far as the caller may see them. */
static void
put_names(ImonChurnSlot *slot, Datum *values, bool *nulls)
{
	const char *datname = NULL;
	const char *usename = NULL;

	if (slot == &churn->slots[N_SLOTS])
		values[2] = CStringGetTextDatum("other");
	else
	{
		datname = get_database_name(slot->key.database);
		usename = GetUserNameFromId(slot->key.role, true);
		values[2] = imon_may_see_role(slot->key.role) ?
			imon_text_datum(slot->key.application_name) :
			CStringGetTextDatum(IMON_HIDDEN_TEXT);
	}
	values[0] = imon_name_datum(datname, &nulls[0]);
	values[1] = imon_name_datum(usename, &nulls[1]);
}

/*
 * Puts one slot into the result, unless nothing has happened there since the
 * last reset.  Ends are read before beginnings.
 */
static void
put_slot(ReturnSetInfo *rsinfo, ImonChurnSlot *slot, uint64 now)
{
	ImonChurnCounts *totals = &slot->totals;
	ImonChurnCounts *base = &slot->base;
	bool		is_other = slot == &churn->slots[N_SLOTS];
	uint64		all_ends;
	uint64		ends;
	uint64		time;
	Datum		values[CHURN_COLUMNS];
	bool		nulls[CHURN_COLUMNS] = {false};
	int			i = 3;

	ends = imon_since_reset(&totals->disconnects, &base->disconnects);
	all_ends = pg_atomic_read_u64(&totals->disconnects);
	pg_read_barrier();
	time = imon_since_reset(&totals->session_time, &base->session_time);
	values[i++] = Int64GetDatum((int64) imon_since_reset(&totals->connects,
														 &base->connects));
	values[i++] = Int64GetDatum((int64) ends);
	values[i++] = Int64GetDatum((int64) (pg_atomic_read_u64(&totals->connects) -
										 all_ends));
	values[i++] = Float8GetDatum(time / 1000.0);
	values[i] = recent_datum(slot, now, 1, &nulls[i]);
	i++;
	values[i] = recent_datum(slot, now, MINUTE_SLOTS, &nulls[i]);
	i++;
	values[i] = imon_moment_datum((TimestampTz)
								  pg_atomic_read_u64(&slot->last_at), &nulls[i]);
	i++;
	Assert(i == lengthof(values));

	if (!is_other && DatumGetInt64(values[3]) == 0 &&
		DatumGetInt64(values[4]) == 0 && DatumGetInt64(values[5]) == 0)
		return;
	put_names(slot, values, nulls);
	imon_put_row(rsinfo, values, nulls);
}

/*
 * SQL: connection_churn, a row for each slot in use and one for the others:
 * datname, usename, application_name, connects, disconnects, current,
 * total_session_time, connects_last_slot, connects_last_minute, last_at.
 */
Datum
imon_connection_churn_1_0(PG_FUNCTION_ARGS)
{
	uint64		now = slot_of(GetCurrentTimestamp());
	ReturnSetInfo *rsinfo;

	imon_shmem_require();
	rsinfo = imon_begin_rows(fcinfo, CHURN_COLUMNS);

	for (int i = 0; i <= N_SLOTS; i++)
	{
		ImonChurnSlot *slot = &churn->slots[i];

		if (i < N_SLOTS &&
			pg_atomic_read_u32(&slot->state) != SLOT_IS_PUBLISHED)
			continue;
		pg_read_barrier();
		put_slot(rsinfo, slot, now);
	}
	return (Datum) 0;
}

static int
compare_counts(const void *a, const void *b)
{
	uint64		count_a = *(const uint64 *) a;
	uint64		count_b = *(const uint64 *) b;

	return (count_a > count_b) - (count_a < count_b);
}

/* The median of "n" counts, which are sorted for that; NaN of none. */
static double
median(uint64 *counts, int n)
{
	if (n == 0)
		return get_float8_nan();
	qsort(counts, n, sizeof(uint64), compare_counts);
	return (counts[(n - 1) / 2] + counts[n / 2]) / 2.0;
}

/*
 * SQL: connection_rate, one row: connections a second in the last complete slot
 * of time, their median over those before it, and the number of these.
 */
Datum
imon_connection_rate_1_0(PG_FUNCTION_ARGS)
{
	uint64		now = slot_of(GetCurrentTimestamp());
	uint64		since;
	uint64		counts[HOUR_CELLS];
	int			n = 0;
	Datum		values[RATE_COLUMNS];
	bool		nulls[RATE_COLUMNS] = {false};

	imon_shmem_require();

	/* from the first one that is complete */
	since = slot_of((TimestampTz) pg_atomic_read_u64(&churn->since)) + 1;
	while (n < HOUR_CELLS - 1 && now - 1 - n >= since)
	{
		counts[n] = imon_window_read(churn->hour, HOUR_CELLS, now - 1 - n);
		n++;
	}

	values[0] = imon_number_datum(n > 0 ? (double) counts[0] / SLOT_SECONDS :
								  get_float8_nan(), &nulls[0]);
	values[1] = imon_number_datum(median(&counts[1], Max(n - 1, 0)) /
								  SLOT_SECONDS, &nulls[1]);
	values[2] = Int32GetDatum(Max(n - 1, 0));
	PG_RETURN_DATUM(imon_one_row(fcinfo, RATE_COLUMNS, values, nulls));
}
