/*-------------------------------------------------------------------------
 *
 * blame.c
 *	  Who has cost others time by holding locks.
 *
 * The sampler looks at all lock waits once in activity_interval and charges
 * each waiter's time to the root of its chain, to one root only.  What is
 * charged is the time since the look before, or since the wait began if that
 * was later, so that charges neither overlap nor leave gaps: for each wait
 * they add up to the time from its beginning to the last look that saw it.
 * Lost are waits that begin and end between two looks, and of each other wait
 * the part after the last look at it, always less than one interval.
 *
 * The table is in shared memory, of fixed size, guarded by its lock.  If it is
 * full, the row with the least time is folded into the row "other", so that
 * the total stays true.  While the lock is held nothing is allocated and
 * nothing can fail.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "activity.h"
#include "blame.h"
#include "commands/dbcommands.h"
#include "compat.h"
#include "fmgr.h"
#include "locks.h"
#include "miscadmin.h"
#include "privileges.h"
#include "rows.h"
#include "shmem.h"
#include "storage/lwlock.h"
#include "texts.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#define MAX_BLAMED 256
#define LOCK_BLAME_COLUMNS 9

/* Values of "state" beside those of BackendState. */
#define STATE_OF_PREPARED (-1)
#define STATE_OF_OTHER (-2)

/* Who is blamed, and for what.  Compared as bytes. */
typedef struct ImonBlamed
{
	uint64		queryid;		/* 0 = not known */
	Oid			role;
	Oid			database;
	int			state;
	char		application[NAMEDATALEN];
} ImonBlamed;

typedef struct ImonCharge
{
	ImonBlamed	who;
	uint64		blocked_us;
	uint64		incidents;
	TimestampTz last_at;		/* 0 = never */
} ImonCharge;

typedef struct ImonBlame
{
	LWLock	   *lock;			/* guards all below */
	TimestampTz last_look;
	uint64		evictions;
	int			count;
	ImonCharge	other;			/* all that did not fit */
	ImonCharge	charges[MAX_BLAMED];

	/* the same by role and application, which no reset changes */
	int			n_ever;
	ImonBlamedEver other_ever;
	ImonBlamedEver ever[IMON_MAX_BLAMED_EVER];
} ImonBlame;

static ImonBlame *blame = NULL;

PG_FUNCTION_INFO_V1(imon_lock_blame_1_0);

static Size
blame_size(void)
{
	return sizeof(ImonBlame);
}

static void
blame_init(void *part, LWLock *lock)
{
	ImonBlame  *shared = (ImonBlame *) part;

	shared->lock = lock;
	shared->last_look = GetCurrentTimestamp();
	shared->other.who.state = STATE_OF_OTHER;
}

static const ImonShmemPart blame_part = {
	.name = "infra_monitor lock blame",
	.size = blame_size,
	.init = blame_init,
	.address = (void **) &blame
};

void
imon_blame_init(void)
{
	imon_shmem_register(&blame_part);
}

/* Adds one charge to another. */
static void
add_charge(ImonCharge *sum, const ImonCharge *charge)
{
	sum->blocked_us += charge->blocked_us;
	sum->incidents += charge->incidents;
	sum->last_at = Max(sum->last_at, charge->last_at);
}

/* The row with the least time.  Caller holds the lock; the table is full. */
static ImonCharge *
least_charge(void)
{
	ImonCharge *least = &blame->charges[0];

	for (int i = 1; i < MAX_BLAMED; i++)
		if (blame->charges[i].blocked_us < least->blocked_us)
			least = &blame->charges[i];
	return least;
}

/* Books a charge.  Caller holds the lock in exclusive mode. */
static void
book(const ImonCharge *charge)
{
	ImonCharge *free_row;

	for (int i = 0; i < blame->count; i++)
		if (memcmp(&blame->charges[i].who, &charge->who,
				   sizeof(ImonBlamed)) == 0)
		{
			add_charge(&blame->charges[i], charge);
			return;
		}

	if (blame->count < MAX_BLAMED)
		free_row = &blame->charges[blame->count++];
	else
	{
		free_row = least_charge();
		add_charge(&blame->other, free_row);
		blame->evictions++;
	}
	*free_row = *charge;
}

/*
 * Where to count what a role and its application have cost.  Of those that have
 * cost nothing for an hour, the one that did so last gives way.  Caller holds
 * the lock in exclusive mode.
 */
static ImonBlamedEver *
find_ever(const ImonBlamed *who, TimestampTz now)
{
	ImonBlamedEver *found = &blame->other_ever;
	TimestampTz oldest = now - USECS_PER_HOUR;

	for (int i = 0; i < blame->n_ever; i++)
	{
		ImonBlamedEver *ever = &blame->ever[i];

		if (ever->role == who->role &&
			strcmp(ever->application, who->application) == 0)
			return ever;
		if (ever->last_at < oldest)
		{
			oldest = ever->last_at;
			found = ever;
		}
	}
	if (blame->n_ever < IMON_MAX_BLAMED_EVER)
		found = &blame->ever[blame->n_ever++];
	if (found != &blame->other_ever)
	{
		memset(found, 0, sizeof(ImonBlamedEver));
		found->role = who->role;
		strlcpy(found->application, who->application, NAMEDATALEN);
	}
	return found;
}

/* Books a charge there.  The same condition. */
static void
book_ever(const ImonCharge *charge)
{
	ImonBlamedEver *ever = find_ever(&charge->who, charge->last_at);

	ever->blocked_us += charge->blocked_us;
	ever->incidents += charge->incidents;
	ever->last_at = charge->last_at;
}

int
imon_blamed_ever(ImonBlamedEver *copy)
{
	int			n;

	LWLockAcquire(blame->lock, LW_SHARED);
	n = blame->n_ever;
	memcpy(copy, blame->ever, n * sizeof(ImonBlamedEver));
	copy[n] = blame->other_ever;
	LWLockRelease(blame->lock);
	return n;
}

/* Says who a root is. */
static void
describe_root(const ImonLockParty *root, const ImonSessions *sessions,
			  ImonBlamed *who)
{
	const ImonSession *session;

	memset(who, 0, sizeof(ImonBlamed));
	who->role = root->role;
	who->database = root->database;
	who->state = STATE_UNDEFINED;
	if (root->pid == 0)
	{
		who->state = STATE_OF_PREPARED;
		return;
	}
	session = imon_find_session(sessions, root->pid);
	if (session)
	{
		who->state = session->status->st_state;
		who->queryid = session->status->st_query_id;
		strlcpy(who->application, session->status->st_appname, NAMEDATALEN);
	}
}

/*
 * Adds up by root what the waits have cost between two looks.  A wait that
 * began after this look is left to the next, as is one whose beginning is not
 * known yet.  Charges that are not used have no moment.
 */
static ImonCharge *
charge_roots(const ImonLockSnapshot *snapshot, const ImonSessions *sessions,
			 TimestampTz before, TimestampTz now)
{
	ImonCharge *charges =
		palloc0(sizeof(ImonCharge) * imon_lock_parties(snapshot));
	ImonWaiter	waiter;
	int			position = 0;

	while (imon_next_lock_wait(snapshot, &position, &waiter))
	{
		ImonCharge *charge;

		if (waiter.root_number < 0 || waiter.since == 0 || waiter.since > now)
			continue;
		charge = &charges[waiter.root_number];
		if (charge->last_at == 0)
			describe_root(&waiter.root, sessions, &charge->who);
		charge->last_at = now;
		charge->blocked_us += Max(now - Max(waiter.since, before), 0);
		if (waiter.since > before)
			charge->incidents++;
	}
	return charges;
}

void
imon_note_blame(const ImonSessions *sessions,
				const ImonLockSnapshot *snapshot)
{
	ImonCharge *charges;

	if (snapshot == NULL)
		return;

	/* nobody but the sampler changes last_look */
	charges = charge_roots(snapshot, sessions, blame->last_look, sessions->at);

	LWLockAcquire(blame->lock, LW_EXCLUSIVE);
	for (int i = 0; i < imon_lock_parties(snapshot); i++)
		if (charges[i].last_at != 0)
		{
			book(&charges[i]);
			book_ever(&charges[i]);
		}
	blame->last_look = sessions->at;
	LWLockRelease(blame->lock);
}

void
imon_blame_reset(void)
{
	LWLockAcquire(blame->lock, LW_EXCLUSIVE);
	blame->count = 0;
	blame->other.blocked_us = 0;
	blame->other.incidents = 0;
	blame->other.last_at = 0;
	LWLockRelease(blame->lock);
}

uint64
imon_blame_evictions(void)
{
	uint64		evictions;

	LWLockAcquire(blame->lock, LW_SHARED);
	evictions = blame->evictions;
	LWLockRelease(blame->lock);
	return evictions;
}

/* The name of a state in this table, or NULL. */
static const char *
blamed_state_name(int state)
{
	if (state == STATE_OF_OTHER)
		return "other";
	if (state == STATE_OF_PREPARED)
		return IMON_PREPARED_STATE;
	return imon_state_name((BackendState) state);
}

/* Puts one row into the result, as far as the caller may see it. */
static void
put_charge(ReturnSetInfo *rsinfo, const ImonCharge *charge)
{
	const ImonBlamed *who = &charge->who;
	bool		visible = imon_may_see_role(who->role);
	Datum		values[LOCK_BLAME_COLUMNS];
	bool		nulls[LOCK_BLAME_COLUMNS] = {false};
	int			i = 0;

	values[i] = imon_name_datum(OidIsValid(who->role) ?
								GetUserNameFromId(who->role, true) : NULL,
								&nulls[i]);
	i++;
	nulls[i] = (who->state < 0 || who->state == STATE_UNDEFINED);
	if (!nulls[i])
		values[i] = visible ? imon_text_datum(who->application)
			: CStringGetTextDatum(IMON_HIDDEN_TEXT);
	i++;
	values[i] = imon_name_datum(OidIsValid(who->database) ?
								get_database_name(who->database) : NULL,
								&nulls[i]);
	i++;
	values[i] = imon_string_datum(blamed_state_name(who->state), &nulls[i]);
	i++;
	values[i] = UInt64GetDatum(who->queryid);
	nulls[i++] = (who->queryid == 0 || !visible);
	values[i++] = Float8GetDatum(charge->blocked_us / 1000.0);
	values[i++] = Int64GetDatum((int64) charge->incidents);
	values[i] = imon_moment_datum(charge->last_at, &nulls[i]);
	i++;
	values[i] = ObjectIdGetDatum(who->database);
	nulls[i++] = !OidIsValid(who->database);
	Assert(i == lengthof(values));

	imon_put_row(rsinfo, values, nulls);
}

/*
 * SQL: lock_blame, one row for each that is blamed: usename, application_name,
 * datname, state, queryid, blocked_time, incidents, last_at, dbid.
 */
Datum
imon_lock_blame_1_0(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo;
	ImonBlame  *copy;

	imon_shmem_require();
	rsinfo = imon_begin_rows(fcinfo, LOCK_BLAME_COLUMNS);

	copy = palloc(sizeof(ImonBlame));
	LWLockAcquire(blame->lock, LW_SHARED);
	memcpy(copy, blame, sizeof(ImonBlame));
	LWLockRelease(blame->lock);

	for (int i = 0; i < copy->count; i++)
		put_charge(rsinfo, &copy->charges[i]);
	if (copy->other.last_at != 0)
		put_charge(rsinfo, &copy->other);
	return (Datum) 0;
}
