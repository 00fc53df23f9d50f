/*-------------------------------------------------------------------------
 *
 * series.c
 *	  How the number of connections moves.
 *
 * Each sample_interval the sampler adds one slot to a ring of the last 360:
 * the pool as a whole, and for each role, database and group of sessions
 * (database, role, application, address) its number of connections; for groups
 * also how many of these were left untouched, that is idle, since the slot
 * before.  24 slots together make one slot of a second, coarse ring of 360: an
 * hour and a day at defaults.
 *
 * The sampler is the only writer.  It counts first, in private memory, and
 * then writes under the exclusive lock, where it allocates nothing and raises
 * no error; a sample costs the number of sessions plus that of series.
 * Readers copy everything under the shared lock.
 *
 * There is room for a fixed number of series.  One is given up when both rings
 * know of no connection, or, if room is needed, when it has none now; what
 * then finds no room is not followed, and counted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "access/htup_details.h"
#include "activity.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "compat.h"
#include "fmgr.h"
#include "guc.h"
#include "miscadmin.h"
#include "pool.h"
#include "privileges.h"
#include "rows.h"
#include "series.h"
#include "shmem.h"
#include "texts.h"
#include "trend.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#define RING 360				/* slots of either ring */
#define COARSE 24				/* fine slots in a coarse one */
#define MAX_NAMED 256			/* roles and databases */
#define MAX_GROUPS 256
#define MAX_SERIES (MAX_NAMED + MAX_GROUPS)

#define MAX_DELAY 5				/* intervals; then a sample is not the next */
#define MAX_PIDS 20				/* proposed to be terminated at once */

#define RING_COLUMNS 11
#define FORECAST_COLUMNS 11
#define LEAK_COLUMNS 15

/* A sample of the pool.  Totals are since "stats_reset". */
typedef struct ImonPoolSample
{
	TimestampTz at;
	bool		follows;		/* the one before was an interval ago */
	int			used;
	int			authenticating;
	int			active;
	int			idle;
	int			idle_in_transaction;
	int			waiting;
	uint64		connects;
	uint64		rejected;
	TimestampTz stats_reset;
} ImonPoolSample;

/* What a series is of. */
typedef enum ImonSeriesKind
{
	SERIES_ROLE,				/* userid */
	SERIES_DATABASE,			/* dbid */
	SERIES_GROUP				/* all fields */
} ImonSeriesKind;

/* Compared as bytes: unused ones must be zero. */
typedef struct ImonSeriesKey
{
	ImonSeriesKind kind;
	Oid			dbid;
	Oid			userid;
	int			family;			/* AF_INET, AF_INET6, or 0 */
	unsigned char address[16];
	char		application_name[NAMEDATALEN];
} ImonSeriesKey;

/* Numbers of sessions; 65535 stands for more, too. */
typedef struct ImonRings
{
	uint16		fine[RING];
	uint16		coarse[RING];
} ImonRings;

typedef struct ImonSeries
{
	ImonSeriesKey key;
	uint64		last_seen;		/* samples taken when it last had connections;
								 * 0 = free */
	ImonRings	connections;
} ImonSeries;

typedef struct ImonSeriesShared
{
	LWLock	   *lock;			/* guards all that follows */
	uint64		taken;			/* samples, since shared memory was created */
	uint64		dropped;
	ImonPoolSample samples[RING];
	TimestampTz coarse_at[RING];	/* newest moment in a coarse slot */
	int			coarse_used[RING];	/* highest, authenticating included */

	/* roles and databases first, then groups */
	ImonSeries	series[MAX_SERIES];
	ImonRings	untouched[MAX_GROUPS];
} ImonSeriesShared;

/* What is counted for a key in one sample; begins with the hash key. */
typedef struct ImonCount
{
	ImonSeriesKey key;
	int			connections;
	int			untouched;
	bool		stored;
} ImonCount;

typedef struct ImonCounts
{
	HTAB	   *table;
	int			n;
	ImonCount **counts;			/* all of the table */
} ImonCounts;

/* A window of one of the rings in which something rises. */
typedef struct ImonRise
{
	ImonTrend	trend;
	bool		coarse;
	uint64		end;			/* number of the slot after it */
} ImonRise;

static ImonSeriesShared *shared = NULL;

PG_FUNCTION_INFO_V1(imon_sample_ring_1_0);
PG_FUNCTION_INFO_V1(imon_forecasts_1_0);
PG_FUNCTION_INFO_V1(imon_leaks_1_0);

static Size
series_size(void)
{
	return sizeof(ImonSeriesShared);
}

static void
series_init(void *part, LWLock *lock)
{
	((ImonSeriesShared *) part)->lock = lock;
}

static const ImonShmemPart series_part = {
	.name = "infra_monitor series",
	.size = series_size,
	.init = series_init,
	.address = (void **) &shared
};

void
imon_series_init(void)
{
	imon_shmem_register(&series_part);
}

/*
 * Counting sessions, in private memory
 */

/* The group of a session. */
static void
group_key(const PgBackendStatus *status, ImonSeriesKey *key)
{
	const struct sockaddr_storage *address = &status->st_clientaddr.addr;

	memset(key, 0, sizeof(ImonSeriesKey));
	key->kind = SERIES_GROUP;
	key->dbid = status->st_databaseid;
	key->userid = status->st_userid;
	if (address->ss_family == AF_INET)
		memcpy(key->address,
			   &((const struct sockaddr_in *) address)->sin_addr, 4);
	else if (address->ss_family == AF_INET6)
		memcpy(key->address,
			   &((const struct sockaddr_in6 *) address)->sin6_addr, 16);
	if (address->ss_family == AF_INET || address->ss_family == AF_INET6)
		key->family = address->ss_family;
	strlcpy(key->application_name, status->st_appname, NAMEDATALEN);
}

/* The key of a role or of a database. */
static void
name_key(ImonSeriesKind kind, Oid id, ImonSeriesKey *key)
{
	memset(key, 0, sizeof(ImonSeriesKey));
	key->kind = kind;
	if (kind == SERIES_ROLE)
		key->userid = id;
	else
		key->dbid = id;
}

/* Adds a session to the count of the key. */
static void
add_to_count(ImonCounts *counts, const ImonSeriesKey *key, bool untouched)
{
	bool		found;
	ImonCount  *count = hash_search(counts->table, key, HASH_ENTER, &found);

	if (!found)
	{
		count->connections = 0;
		count->untouched = 0;
		count->stored = false;
		counts->counts[counts->n++] = count;
	}
	count->connections++;
	if (untouched)
		count->untouched++;
}

/*
 * Counts the sessions of each role, database and group, and those that have
 * been idle since a moment (0: not known of any).  Allocates in the current
 * memory context.
 */
static void
count_sessions(const ImonSessions *sessions, TimestampTz since,
			   ImonCounts *counts)
{
	HASHCTL		info = {0};

	info.keysize = sizeof(ImonSeriesKey);
	info.entrysize = sizeof(ImonCount);
	info.hcxt = CurrentMemoryContext;
	counts->table = hash_create("infra_monitor series", MAX_SERIES, &info,
								HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	counts->counts = palloc(sizeof(ImonCount *) * Max(3 * sessions->count, 1));
	counts->n = 0;

	for (int i = 0; i < sessions->count; i++)
	{
		const PgBackendStatus *status = sessions->sessions[i].status;
		bool		untouched = status->st_state == STATE_IDLE &&
			status->st_state_start_timestamp != 0 &&
			status->st_state_start_timestamp <= since;
		ImonSeriesKey key;

		if (!sessions->sessions[i].is_client)
			continue;
		name_key(SERIES_ROLE, status->st_userid, &key);
		add_to_count(counts, &key, untouched);
		name_key(SERIES_DATABASE, status->st_databaseid, &key);
		add_to_count(counts, &key, untouched);
		group_key(status, &key);
		add_to_count(counts, &key, untouched);
	}
}

/* How many sessions were counted for the key? */
static int
counted(const ImonCounts *counts, const ImonSeriesKey *key)
{
	ImonCount  *count = hash_search(counts->table, key, HASH_FIND, NULL);

	return count ? count->connections : 0;
}

/*
 * Writing: all under the exclusive lock
 */

/* Writes sample "number" of the pool. */
static void
write_pool(uint64 number, const ImonPoolSample *sample)
{
	int			coarse = (number / COARSE) % RING;
	int			taken = sample->used + sample->authenticating;

	shared->samples[number % RING] = *sample;
	shared->coarse_at[coarse] = sample->at;
	if (number % COARSE == 0 || taken > shared->coarse_used[coarse])
		shared->coarse_used[coarse] = taken;
}

/* Writes a value; a coarse slot keeps the highest or the lowest of its own. */
static void
write_value(ImonRings *rings, uint64 number, int count, bool lowest)
{
	uint16		value = Min(count, PG_UINT16_MAX);
	uint16	   *coarse = &rings->coarse[(number / COARSE) % RING];

	rings->fine[number % RING] = value;
	if (number % COARSE == 0)
		*coarse = value;
	else
		*coarse = lowest ? Min(*coarse, value) : Max(*coarse, value);
}

/* Writes sample "number" of series i; count may be NULL for no sessions. */
static void
write_series(int i, uint64 number, ImonCount *count)
{
	ImonSeries *series = &shared->series[i];

	write_value(&series->connections, number,
				count ? count->connections : 0, false);
	if (i >= MAX_NAMED)
		write_value(&shared->untouched[i - MAX_NAMED], number,
					count ? count->untouched : 0, true);
	if (count)
	{
		series->last_seen = number + 1;
		count->stored = true;
	}
	else if (number + 1 - series->last_seen >= RING * COARSE)
		series->last_seen = 0;
}

/*
 * Room for a new series: a free one, or the one that has been without
 * connections for longest.  Returns its index, or -1.
 */
static int
find_room(ImonSeriesKind kind, uint64 number)
{
	int			from = kind == SERIES_GROUP ? MAX_NAMED : 0;
	int			to = kind == SERIES_GROUP ? MAX_SERIES : MAX_NAMED;
	int			best = from;

	for (int i = from; i < to; i++)
		if (shared->series[i].last_seen < shared->series[best].last_seen)
			best = i;
	return shared->series[best].last_seen <= number ? best : -1;
}

/* Begins a series for what was counted, as one that had no sessions before. */
static void
begin_series(int i, uint64 number, ImonCount *count)
{
	memset(&shared->series[i], 0, sizeof(ImonSeries));
	if (i >= MAX_NAMED)
		memset(&shared->untouched[i - MAX_NAMED], 0, sizeof(ImonRings));
	shared->series[i].key = count->key;
	write_series(i, number, count);
}

/* Writes sample "number" of all series. */
static void
write_counts(uint64 number, ImonCounts *counts)
{
	bool		full[SERIES_GROUP + 1] = {false};

	for (int i = 0; i < MAX_SERIES; i++)
		if (shared->series[i].last_seen != 0)
			write_series(i, number,
						 hash_search(counts->table, &shared->series[i].key,
									 HASH_FIND, NULL));

	for (int i = 0; i < counts->n; i++)
	{
		ImonCount  *count = counts->counts[i];
		int			room;

		if (count->stored)
			continue;
		room = full[count->key.kind] ? -1 : find_room(count->key.kind, number);
		if (room >= 0)
			begin_series(room, number, count);
		else
		{
			full[count->key.kind] = true;
			shared->dropped++;
		}
	}
}

/*
 * The moment of the sample before, 0 if there was none.  The sampler needs no
 * lock for it, because nobody else writes.
 */
static TimestampTz
previous_moment(void)
{
	if (shared->taken == 0)
		return 0;
	return shared->samples[(shared->taken - 1) % RING].at;
}

/* The interval between two samples, microseconds. */
static TimestampTz
sample_usecs(void)
{
	return 1000 * (TimestampTz) imon_sample_interval;
}

/* Describes the pool now. */
static void
look_at_pool(const ImonSessions *sessions, TimestampTz previous,
			 ImonPoolSample *sample)
{
	ImonPool	pool;

	imon_read_pool(sessions, &pool);
	sample->at = sessions->at;
	sample->follows = previous != 0 && sessions->at > previous &&
		sessions->at - previous <= MAX_DELAY * sample_usecs();
	sample->used = pool.counts.established;
	sample->authenticating = pool.counts.authenticating;
	sample->active = pool.activity.active;
	sample->idle = pool.activity.idle;
	sample->idle_in_transaction = pool.activity.idle_in_transaction;
	sample->waiting = pool.activity.waiting;
	sample->connects = pool.counts.connects;
	sample->rejected = pool.counts.rejected;
	sample->stats_reset = pool.counts.stats_reset;
}

void
imon_sample_series(void)
{
	TimestampTz previous = previous_moment();
	TimestampTz now = GetCurrentTimestamp();
	MemoryContext context;
	MemoryContext caller;
	ImonSessions sessions;
	ImonPoolSample sample;
	ImonCounts	counts;

	if (now > previous &&
		now - previous < sample_usecs() / 2)
		return;

	/* the caller may not reset its own for a long time */
	context = AllocSetContextCreate(CurrentMemoryContext,
									"infra_monitor series",
									ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(context);
	imon_look_at_sessions(&sessions);
	look_at_pool(&sessions, previous, &sample);
	if (previous > sessions.at) /* the clock was set back */
		previous = sessions.at - sample_usecs();
	count_sessions(&sessions, previous, &counts);

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	write_pool(shared->taken, &sample);
	write_counts(shared->taken, &counts);
	shared->taken++;
	LWLockRelease(shared->lock);

	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
}

uint64
imon_series_dropped(void)
{
	uint64		dropped;

	LWLockAcquire(shared->lock, LW_SHARED);
	dropped = shared->dropped;
	LWLockRelease(shared->lock);
	return dropped;
}

/*
 * Reading
 */

/* A private copy of everything. */
static ImonSeriesShared *
copy_shared(void)
{
	ImonSeriesShared *copy = palloc(sizeof(ImonSeriesShared));

	LWLockAcquire(shared->lock, LW_SHARED);
	memcpy(copy, shared, sizeof(ImonSeriesShared));
	LWLockRelease(shared->lock);
	return copy;
}

/* The first number that is still in a ring of those up to "end". */
static uint64
first_in_ring(uint64 end)
{
	return end > RING ? end - RING : 0;
}

/*
 * What the sample counts more than the one before it; not known where counters
 * began anew or time is missing between them.
 */
static Datum
growth_datum(const ImonPoolSample *before, const ImonPoolSample *sample,
			 uint64 old, uint64 new, bool *isnull)
{
	*isnull = before == NULL || !sample->follows || new < old ||
		before->stats_reset != sample->stats_reset;
	return Int64GetDatum((int64) (new - old));
}

/*
 * SQL: sample_ring, oldest first: at, used, authenticating, active, idle,
 * idle_in_transaction, waiting, connects_total, rejected_total, connects,
 * rejected.
 */
Datum
imon_sample_ring_1_0(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo;
	ImonSeriesShared *copy;
	const ImonPoolSample *before = NULL;

	imon_shmem_require();
	rsinfo = imon_begin_rows(fcinfo, RING_COLUMNS);
	copy = copy_shared();
	for (uint64 n = first_in_ring(copy->taken); n < copy->taken; n++)
	{
		const ImonPoolSample *sample = &copy->samples[n % RING];
		Datum		values[RING_COLUMNS];
		bool		nulls[RING_COLUMNS] = {false};
		int			i = 0;

		values[i++] = TimestampTzGetDatum(sample->at);
		values[i++] = Int32GetDatum(sample->used);
		values[i++] = Int32GetDatum(sample->authenticating);
		values[i++] = Int32GetDatum(sample->active);
		values[i++] = Int32GetDatum(sample->idle);
		values[i++] = Int32GetDatum(sample->idle_in_transaction);
		values[i++] = Int32GetDatum(sample->waiting);
		values[i++] = Int64GetDatum((int64) sample->connects);
		values[i++] = Int64GetDatum((int64) sample->rejected);
		values[i] = growth_datum(before, sample, before ? before->connects : 0,
								 sample->connects, &nulls[i]);
		i++;
		values[i] = growth_datum(before, sample, before ? before->rejected : 0,
								 sample->rejected, &nulls[i]);
		i++;
		Assert(i == lengthof(values));
		imon_put_row(rsinfo, values, nulls);
		before = sample;
	}
	return (Datum) 0;
}

/* A value of sample "number": of the rings, or of the pool without any. */
static double
fine_value(const ImonSeriesShared *copy, const ImonRings *rings, uint64 number)
{
	const ImonPoolSample *sample = &copy->samples[number % RING];

	if (rings)
		return rings->fine[number % RING];
	return sample->used + sample->authenticating;
}

/* The same of coarse slot "number". */
static double
coarse_value(const ImonSeriesShared *copy, const ImonRings *rings,
			 uint64 number)
{
	return rings ? rings->coarse[number % RING] :
		copy->coarse_used[number % RING];
}

/*
 * The slots of the coarse ring before number "end", oldest first.  Returns how
 * many there are.
 */
static int
coarse_points(const ImonSeriesShared *copy, const ImonRings *rings, uint64 end,
			  TimestampTz *at, double *values)
{
	int			n = 0;

	for (uint64 c = first_in_ring(copy->taken / COARSE); c < end; c++)
	{
		at[n] = copy->coarse_at[c % RING];
		values[n++] = coarse_value(copy, rings, c);
	}
	return n;
}

/*
 * Does the fine ring rise until now?  The coarse one tells what was before.
 */
static bool
rises_finely(const ImonSeriesShared *copy, const ImonRings *rings,
			 TimestampTz now, ImonRise *rise)
{
	TimestampTz at[2 * RING];
	double		values[2 * RING];
	uint64		from = first_in_ring(copy->taken);
	int			n = coarse_points(copy, rings, from / COARSE, at, values);

	for (uint64 f = from; f < copy->taken; f++)
	{
		at[n] = copy->samples[f % RING].at;
		values[n++] = fine_value(copy, rings, f);
	}
	rise->coarse = false;
	rise->end = copy->taken;
	return n > 0 && now - at[n - 1] <= MAX_DELAY * sample_usecs() &&
		imon_find_trend(at, values, n, (int) (copy->taken - from),
						&rise->trend);
}

/* The same of the coarse ring alone, which sees what is slow. */
static bool
rises_coarsely(const ImonSeriesShared *copy, const ImonRings *rings,
			   TimestampTz now, ImonRise *rise)
{
	TimestampTz at[RING];
	double		values[RING];
	int			n = coarse_points(copy, rings, copy->taken / COARSE, at, values);

	rise->coarse = true;
	rise->end = copy->taken / COARSE;
	return n > 0 && now - at[n - 1] <= (COARSE + MAX_DELAY) * sample_usecs() &&
		imon_find_trend(at, values, n, n, &rise->trend);
}

/*
 * Does a series rise until now?  A ring that is no longer fed says nothing
 * about now.
 */
static bool
find_rise(const ImonSeriesShared *copy, const ImonRings *rings,
		  TimestampTz now, ImonRise *rise)
{
	return rises_finely(copy, rings, now, rise) ||
		rises_coarsely(copy, rings, now, rise);
}

/*
 * By how much a series is higher in the newest sixth of a window than in the
 * oldest.
 */
static double
growth_within(const ImonSeriesShared *copy, const ImonRings *rings,
			  const ImonRise *rise)
{
	int			size = rise->trend.observations;
	int			part = size / 6;
	double		sum = 0;

	for (int i = 0; i < part; i++)
	{
		uint64		newest = rise->end - 1 - i;
		uint64		oldest = rise->end - size + i;

		sum += rise->coarse ?
			coarse_value(copy, rings, newest) - coarse_value(copy, rings, oldest) :
			fine_value(copy, rings, newest) - fine_value(copy, rings, oldest);
	}
	return sum / part;
}

/* The lowest value of a group's untouched sessions in that newest sixth. */
static int
lowest_untouched(const ImonRings *untouched, const ImonRise *rise)
{
	int			lowest = PG_UINT16_MAX;

	for (int i = 0; i < rise->trend.observations / 6; i++)
	{
		uint64		number = rise->end - 1 - i;

		lowest = Min(lowest, rise->coarse ? untouched->coarse[number % RING]
					 : untouched->fine[number % RING]);
	}
	return lowest;
}

/* Is the group part of what a series of this key counts?  NULL is the server. */
static bool
is_part_of(const ImonSeriesKey *group, const ImonSeriesKey *key)
{
	if (key == NULL)
		return true;
	return key->kind == SERIES_ROLE ? group->userid == key->userid
		: group->dbid == key->dbid;
}

/*
 * The application whose groups contribute most to the rise of a series; NULL
 * if none does.  It is shown if the caller may see the role of the largest of
 * these groups.
 */
static const char *
top_contributor(const ImonSeriesShared *copy, const ImonSeriesKey *key,
				const ImonRise *rise)
{
	double		growth[MAX_GROUPS];
	double		most = 0;
	int			top = -1;

	for (int i = 0; i < MAX_GROUPS; i++)
	{
		const ImonSeries *group = &copy->series[MAX_NAMED + i];

		growth[i] = 0;
		if (group->last_seen != 0 && is_part_of(&group->key, key))
			growth[i] = growth_within(copy, &group->connections, rise);
	}
	for (int i = 0; i < MAX_GROUPS; i++)
	{
		const char *name = copy->series[MAX_NAMED + i].key.application_name;
		double		sum = growth[i];

		if (growth[i] <= 0)
			continue;
		for (int j = 0; j < MAX_GROUPS; j++)
			if (j != i && growth[j] != 0 && growth[j] <= growth[i] &&
				strcmp(copy->series[MAX_NAMED + j].key.application_name, name) == 0)
				sum += growth[j];
		if (sum > most)
		{
			most = sum;
			top = i;
		}
	}
	if (top < 0)
		return NULL;
	return imon_may_see_role(copy->series[MAX_NAMED + top].key.userid) ?
		copy->series[MAX_NAMED + top].key.application_name : IMON_HIDDEN_TEXT;
}

/*
 * What limits the connections of a role or database, and its name as it can be
 * shown.  Returns false if it has no limit, or is gone.
 */
static bool
find_limit(const ImonSeriesKey *key, int *limit, char **name)
{
	bool		is_role = key->kind == SERIES_ROLE;
	HeapTuple	tuple = is_role ?
		SearchSysCache1(AUTHOID, ObjectIdGetDatum(key->userid)) :
		SearchSysCache1(DATABASEOID, ObjectIdGetDatum(key->dbid));

	if (!HeapTupleIsValid(tuple))
		return false;
	*limit = -1;
	if (is_role)
	{
		Form_pg_authid role = (Form_pg_authid) GETSTRUCT(tuple);

		if (!role->rolsuper)	/* they ignore it */
			*limit = role->rolconnlimit;
		*name = imon_valid_text(NameStr(role->rolname));
	}
	else
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

		*limit = database->datconnlimit;
		*name = imon_valid_text(NameStr(database->datname));
	}
	ReleaseSysCache(tuple);
	return *limit >= 0;
}

/* An interval datum of the time between two moments. */
static Datum
interval_datum(TimestampTz from, TimestampTz until)
{
	return DirectFunctionCall2(timestamp_mi, TimestampTzGetDatum(until),
							   TimestampTzGetDatum(from));
}

/*
 * Puts a forecast into the result.  The level is carried on from the end of
 * the window to now.
 */
static void
put_forecast(ReturnSetInfo *rsinfo, const ImonSeriesShared *copy,
			 const char *scope, const char *name, const ImonSeries *series,
			 int used, int limit)
{
	TimestampTz now = GetCurrentTimestamp();
	Datum		values[FORECAST_COLUMNS] = {0};
	bool		nulls[FORECAST_COLUMNS] = {false};
	ImonRise	rise;
	int			i = 0;

	values[i++] = CStringGetTextDatum(scope);
	values[i] = imon_string_datum(name, &nulls[i]);
	i++;
	values[i++] = Int32GetDatum(used);
	values[i++] = Int32GetDatum(limit);
	if (find_rise(copy, series ? &series->connections : NULL, now, &rise))
	{
		const ImonTrend *trend = &rise.trend;
		const char *top = top_contributor(copy, series ? &series->key : NULL,
										  &rise);

		values[i++] = Float8GetDatum(trend->slope);
		values[i++] = Float8GetDatum(trend->level + trend->slope *
									 (now - trend->until) / (double) USECS_PER_MINUTE);
		values[i++] = Float8GetDatum(trend->r2);
		values[i++] = Int32GetDatum(trend->observations);
		values[i] = top ? imon_text_datum(top) : (Datum) 0;
		nulls[i++] = (top == NULL);
		values[i++] = interval_datum(trend->from, trend->until);
		values[i++] = TimestampTzGetDatum(now);
	}
	else
		while (i < FORECAST_COLUMNS)
			nulls[i++] = true;
	Assert(i == lengthof(values));
	imon_put_row(rsinfo, values, nulls);
}

/*
 * SQL: forecasts, a row for the server and for each role and database that has
 * a limit and connections in the ring: scope, name, used, limit_value, and if
 * these rise slope_per_minute, level (now), r2, observations, top_contributor,
 * window_length, at.
 */
Datum
imon_forecasts_1_0(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo;
	ImonSeriesShared *copy;
	ImonSessions sessions;
	ImonCounts	counts;
	ImonPool	pool;

	imon_shmem_require();
	rsinfo = imon_begin_rows(fcinfo, FORECAST_COLUMNS);
	imon_look_at_sessions(&sessions);
	imon_read_pool(&sessions, &pool);
	count_sessions(&sessions, 0, &counts);
	copy = copy_shared();

	put_forecast(rsinfo, copy, "server", NULL, NULL,
				 pool.counts.established + pool.counts.authenticating,
				 pool.max_connections - pool.reserved);
	for (int i = 0; i < MAX_NAMED; i++)
	{
		ImonSeries *series = &copy->series[i];
		int			limit;
		char	   *name;

		if (series->last_seen > first_in_ring(copy->taken) &&
			find_limit(&series->key, &limit, &name))
			put_forecast(rsinfo, copy,
						 series->key.kind == SERIES_ROLE ? "role" : "database",
						 name, series, counted(&counts, &series->key), limit);
	}
	return (Datum) 0;
}

/* Orders sessions by the moment since which they are in their state. */
static int
compare_states(const void *a, const void *b)
{
	TimestampTz left = (*(const ImonSession *const *) a)->status->st_state_start_timestamp;
	TimestampTz right = (*(const ImonSession *const *) b)->status->st_state_start_timestamp;

	return (left > right) - (left < right);
}

/*
 * The idle sessions of a group, those that are so for longest first, palloc'd.
 * Returns their number.
 */
static int
idle_sessions(const ImonSessions *sessions, const ImonSeriesKey *group,
			  const ImonSession ***idle)
{
	int			n = 0;

	*idle = palloc(sizeof(ImonSession *) * Max(sessions->count, 1));
	for (int i = 0; i < sessions->count; i++)
	{
		const ImonSession *session = &sessions->sessions[i];
		ImonSeriesKey key;

		if (!session->is_client || session->status->st_state != STATE_IDLE)
			continue;
		group_key(session->status, &key);
		if (memcmp(&key, group, sizeof(key)) == 0)
			(*idle)[n++] = session;
	}
	qsort(*idle, n, sizeof(ImonSession *), compare_states);
	return n;
}

/*
 * The pids of those that have been idle since before a moment, MAX_PIDS at
 * most; NULL if there are none.
 */
static Datum
pids_datum(const ImonSession **idle, int n_idle, TimestampTz before,
		   bool *isnull)
{
	Datum		pids[MAX_PIDS];
	int			n = 0;

	while (n < n_idle && n < MAX_PIDS &&
		   idle[n]->status->st_state_start_timestamp < before)
	{
		pids[n] = Int32GetDatum(idle[n]->pid);
		n++;
	}
	*isnull = (n == 0);
	return PointerGetDatum(construct_array(pids, n, INT4OID, sizeof(int32),
										   true, TYPALIGN_INT));
}

/* An inet datum of the address of a group. */
static Datum
address_datum(const ImonSeriesKey *group, bool *isnull)
{
	SockAddr	address;

	memset(&address, 0, sizeof(address));
	address.addr.ss_family = group->family;
	if (group->family == AF_INET)
	{
		address.salen = sizeof(struct sockaddr_in);
		memcpy(&((struct sockaddr_in *) &address.addr)->sin_addr,
			   group->address, 4);
	}
	else
	{
		address.salen = sizeof(struct sockaddr_in6);
		memcpy(&((struct sockaddr_in6 *) &address.addr)->sin6_addr,
			   group->address, 16);
	}
	return imon_client_addr_datum(&address, isnull);
}

/* Puts a group that leaks into the result, as far as the caller may see it. */
static void
put_leak(ReturnSetInfo *rsinfo, const ImonSeries *group,
		 const ImonRings *untouched, const ImonRise *rise,
		 const ImonSessions *sessions)
{
	const ImonSession **idle;
	int			n_idle = idle_sessions(sessions, &group->key, &idle);
	bool		visible = imon_may_see_role(group->key.userid);
	TimestampTz before = sessions->at - 1000 * (int64) imon_idle_threshold;
	Datum		values[LEAK_COLUMNS] = {0};
	bool		nulls[LEAK_COLUMNS] = {false};
	int			i = 0;

	values[i] = imon_name_datum(get_database_name(group->key.dbid), &nulls[i]);
	i++;
	values[i] = imon_name_datum(GetUserNameFromId(group->key.userid, true),
								&nulls[i]);
	i++;
	values[i++] = visible ? imon_text_datum(group->key.application_name)
		: CStringGetTextDatum(IMON_HIDDEN_TEXT);
	nulls[i] = true;
	if (visible)
		values[i] = address_datum(&group->key, &nulls[i]);
	i++;
	values[i++] = Int32GetDatum(n_idle);
	values[i++] = Int32GetDatum(lowest_untouched(untouched, rise));
	values[i++] = Float8GetDatum(rise->trend.slope * 60);
	nulls[i] = (n_idle == 0);
	if (n_idle > 0)
		values[i] = interval_datum(idle[0]->status->st_state_start_timestamp,
								   sessions->at);
	i++;
	nulls[i] = (n_idle == 0 || !visible || idle[0]->status->st_query_id == 0);
	if (n_idle > 0)
		values[i] = UInt64GetDatum(idle[0]->status->st_query_id);
	i++;
	values[i] = pids_datum(idle, n_idle, before, &nulls[i]);
	nulls[i] = nulls[i] || !visible;
	i++;
	values[i++] = TimestampTzGetDatum(before);
	values[i++] = Float8GetDatum(rise->trend.r2);
	values[i++] = Int32GetDatum(rise->trend.observations);
	values[i++] = interval_datum(rise->trend.from, rise->trend.until);
	values[i++] = TimestampTzGetDatum(rise->trend.until);
	Assert(i == lengthof(values));
	imon_put_row(rsinfo, values, nulls);
}

/*
 * Does a group leak?  More and more of its sessions are left untouched, and it
 * has more and more sessions: at least half as many.  Otherwise it has less to
 * do, no more.
 */
static bool
group_leaks(const ImonSeriesShared *copy, int i, TimestampTz now,
			ImonRise *rise)
{
	const ImonSeries *group = &copy->series[MAX_NAMED + i];

	return group->last_seen == copy->taken && copy->taken > 0 &&
		find_rise(copy, &copy->untouched[i], now, rise) &&
		growth_within(copy, &group->connections, rise) >=
		growth_within(copy, &copy->untouched[i], rise) / 2;
}

/*
 * SQL: leaks, a row for each group of sessions that leaks: datname, usename,
 * application_name, client_addr, idle_connections, idle_floor,
 * growth_per_hour, oldest_idle, last_queryid, pids, idle_before, r2,
 * observations, window_length, at.
 */
Datum
imon_leaks_1_0(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo;
	ImonSeriesShared *copy;
	ImonSessions sessions;

	imon_shmem_require();
	rsinfo = imon_begin_rows(fcinfo, LEAK_COLUMNS);
	imon_look_at_sessions(&sessions);
	copy = copy_shared();
	for (int i = 0; i < MAX_GROUPS; i++)
	{
		ImonRise	rise;

		if (group_leaks(copy, i, GetCurrentTimestamp(), &rise))
			put_leak(rsinfo, &copy->series[MAX_NAMED + i], &copy->untouched[i],
					 &rise, &sessions);
	}
	return (Datum) 0;
}
