/*-------------------------------------------------------------------------
 *
 * locks.c
 *	  Who waits for whom, and who is at the root of it.
 *
 * If nobody waits, one look at each PGPROC without any lock is all that is
 * done.  Else all partitions of the lock manager are locked in shared mode, in
 * order, and each contested lock is copied once: who holds it, and its wait
 * queue.  A walk over all PGPROCs finds each such lock at the head of its
 * queue, so nothing is searched for, and N waiters for one lock cost memory
 * and time in proportion to N.  Memory is allocated before that; only the
 * list of holders may have to grow meanwhile, as that of PostgreSQL does in
 * the same place.
 *
 * Locks taken by the fast path need no look of their own.  Only weak locks of
 * relations are taken there, which do not conflict with each other; whoever
 * asks for a stronger one first moves all of them on this relation into the
 * main table and bars new ones (FastPathTransferRelationLocks in lock.c), and
 * only then may have to wait.  So the holders of a contested lock are all in
 * the main table.
 *
 * Who is in whose way then follows from the conflict tables, by the rules of
 * pg_blocking_pids(): a lock held in a conflicting mode is a hard block, a
 * conflicting request further ahead in the queue a soft one, and members of a
 * lock group never block each other.  These edges are not stored: there may be
 * N * N of them.
 *
 * The root is found by following one blocker of each waiter: a hard one that
 * does not wait itself if there is one, else a hard one, else a soft one, the
 * first of its kind in the order of the lock manager's lists.  Since each
 * waiter has one such successor, all roots are found in linear time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/twophase.h"
#include "activity.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "compat.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "locks.h"
#include "miscadmin.h"
#include "privileges.h"
#include "rows.h"
#include "storage/lmgr.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "texts.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define LOCK_WAIT_COLUMNS 21
#define NOBODY (-1)

/* A party that holds a contested lock. */
typedef struct ImonHolder
{
	int			party;
	LOCKMASK	mask;
} ImonHolder;

/* A process that waits.  The requests of one lock stand together, in order. */
typedef struct ImonRequest
{
	int			lock;
	int			party;
	int			next_of_party;	/* another request of the same party */
	LOCKMODE	mode;
	TimestampTz since;
	int			blocker;		/* the party to follow from here */
	int			rank;			/* how good it is for that, 0 is best */
} ImonRequest;

typedef struct ImonContested
{
	LOCKTAG		tag;
	int			first_holder;
	int			n_holders;
	int			first_request;
	int			n_requests;
} ImonContested;

typedef struct ImonPartyState
{
	ImonLockParty party;
	int			first_request;	/* NOBODY = does not wait */
	int			last_request;
	int			next;			/* party to follow */
	int			root;
	int			depth;
	bool		in_cycle;
	bool		done;			/* root and depth are known */
	int			seen_by;		/* mark of the search that saw it last */
} ImonPartyState;

struct ImonLockSnapshot
{
	int			max_procs;		/* with those of prepared transactions */
	int		   *party_of_proc;	/* by number of PGPROC; NOBODY = none yet */
	int			n_parties;
	ImonPartyState *parties;
	int			n_locks;
	ImonContested *locks;
	int			n_requests;
	ImonRequest *requests;
	int			n_holders;
	int			max_holders;
	ImonHolder *holders;
	int			marks;			/* searches so far */
};

/* The first two candidates of different parties for requests of one mode. */
typedef struct ImonCandidates
{
	bool		known;
	int			hard[2];		/* parties */
	int			soft[2];		/* requests */
} ImonCandidates;

PG_FUNCTION_INFO_V1(imon_lock_waits_1_0);

bool
imon_anybody_waits(void)
{
	for (uint32 i = 0; i < ProcGlobal->allProcCount; i++)
		if (((volatile PGPROC *) &ProcGlobal->allProcs[i])->waitLock != NULL)
			return true;
	return false;
}

/* An empty snapshot with room for whatever can wait. */
static ImonLockSnapshot *
new_snapshot(void)
{
	ImonLockSnapshot *snapshot = palloc0(sizeof(ImonLockSnapshot));
	int			n = MaxBackends + NUM_AUXILIARY_PROCS + max_prepared_xacts;

	snapshot->max_procs = n;
	snapshot->party_of_proc = palloc(sizeof(int) * n);
	for (int i = 0; i < n; i++)
		snapshot->party_of_proc[i] = NOBODY;
	snapshot->parties = palloc(sizeof(ImonPartyState) * n);
	snapshot->locks = palloc(sizeof(ImonContested) * n);
	snapshot->requests = palloc(sizeof(ImonRequest) * n);
	snapshot->max_holders = 2 * n;
	snapshot->holders = palloc(sizeof(ImonHolder) * snapshot->max_holders);
	return snapshot;
}

void
imon_free_lock_snapshot(ImonLockSnapshot *snapshot)
{
	pfree(snapshot->party_of_proc);
	pfree(snapshot->parties);
	pfree(snapshot->locks);
	pfree(snapshot->requests);
	pfree(snapshot->holders);
	pfree(snapshot);
}

/*
 * Number of the party whose process, or whose leader, this is.  Caller holds
 * all partitions.
 */
static int
party_of(ImonLockSnapshot *snapshot, PGPROC *leader)
{
	int		   *number =
		&snapshot->party_of_proc[leader - ProcGlobal->allProcs];
	ImonPartyState *state;

	if (*number != NOBODY)
		return *number;

	Assert(snapshot->n_parties < snapshot->max_procs);
	*number = snapshot->n_parties++;
	state = &snapshot->parties[*number];
	memset(state, 0, sizeof(ImonPartyState));
	state->party.pid = leader->pid;
	state->party.role = leader->roleId;
	state->party.database = leader->databaseId;
	state->party.xid = leader->xid;
	state->first_request = NOBODY;
	state->last_request = NOBODY;
	state->next = NOBODY;
	state->root = NOBODY;
	return *number;
}

/* Copies one holder.  Caller holds all partitions. */
static void
add_holder(ImonLockSnapshot *snapshot, const PROCLOCK *proclock)
{
	ImonHolder *holder;

	if (snapshot->n_holders == snapshot->max_holders)
	{
		snapshot->max_holders *= 2;
		snapshot->holders =
			repalloc_huge(snapshot->holders,
						  sizeof(ImonHolder) * (Size) snapshot->max_holders);
	}
	holder = &snapshot->holders[snapshot->n_holders++];
	holder->party = party_of(snapshot, proclock->groupLeader);
	holder->mask = proclock->holdMask;
}

/* Copies one request of the newest lock.  Caller holds all partitions. */
static void
add_request(ImonLockSnapshot *snapshot, PGPROC *proc)
{
	int			number = snapshot->n_requests++;
	ImonRequest *request = &snapshot->requests[number];
	ImonPartyState *state;

	Assert(snapshot->n_requests <= snapshot->max_procs);
	request->lock = snapshot->n_locks - 1;
	request->party = party_of(snapshot, proc->lockGroupLeader ?
							  proc->lockGroupLeader : proc);
	request->next_of_party = NOBODY;
	request->mode = proc->waitLockMode;
	request->since = (TimestampTz) pg_atomic_read_u64(&proc->waitStart);
	request->blocker = NOBODY;
	request->rank = 0;

	state = &snapshot->parties[request->party];
	if (state->first_request == NOBODY)
		state->first_request = number;
	else
		snapshot->requests[state->last_request].next_of_party = number;
	state->last_request = number;
}

/* Copies a contested lock.  Caller holds all partitions. */
static void
add_lock(ImonLockSnapshot *snapshot, LOCK *lock)
{
	ImonContested *contested = &snapshot->locks[snapshot->n_locks++];

	contested->tag = lock->tag;
	contested->first_holder = snapshot->n_holders;
	for (PROCLOCK *proclock = imon_first_proclock(lock); proclock;
		 proclock = imon_next_proclock(lock, proclock))
		if (proclock->holdMask != 0)	/* else it only waits */
			add_holder(snapshot, proclock);
	contested->n_holders = snapshot->n_holders - contested->first_holder;

	contested->first_request = snapshot->n_requests;
	for (PGPROC *proc = imon_first_waiter(lock); proc;
		 proc = imon_next_waiter(lock, proc))
		add_request(snapshot, proc);
	contested->n_requests = snapshot->n_requests - contested->first_request;
}

/* Copies everything that is contested, at one moment. */
static void
collect_locks(ImonLockSnapshot *snapshot)
{
	for (int i = 0; i < NUM_LOCK_PARTITIONS; i++)
		LWLockAcquire(LockHashPartitionLockByIndex(i), LW_SHARED);

	for (uint32 i = 0; i < ProcGlobal->allProcCount; i++)
	{
		PGPROC	   *proc = &ProcGlobal->allProcs[i];

		/* each contested lock is met once, with the first of its queue */
		if (proc->waitLock && imon_first_waiter(proc->waitLock) == proc)
			add_lock(snapshot, proc->waitLock);
	}

	for (int i = NUM_LOCK_PARTITIONS; --i >= 0;)
		LWLockRelease(LockHashPartitionLockByIndex(i));
}

static bool
party_waits(const ImonLockSnapshot *snapshot, int party)
{
	return snapshot->parties[party].first_request != NOBODY;
}

/* The modes that conflict with one on this lock. */
static LOCKMASK
conflicts_of(const ImonContested *lock, LOCKMODE mode)
{
	return GetLockTagsMethodTable(&lock->tag)->conflictTab[mode];
}

/* Fills in who could be followed from a request of this mode. */
static void
find_candidates(const ImonLockSnapshot *snapshot, const ImonContested *lock,
				LOCKMODE mode, ImonCandidates *result)
{
	LOCKMASK	conflicts = conflicts_of(lock, mode);
	const ImonHolder *holders = &snapshot->holders[lock->first_holder];
	int			n_hard = 0;
	int			n_soft = 0;

	result->known = true;
	result->hard[0] = result->hard[1] = NOBODY;
	result->soft[0] = result->soft[1] = NOBODY;

	/* those that do not wait come first */
	for (int waiting = 0; waiting <= 1; waiting++)
		for (int i = 0; i < lock->n_holders && n_hard < 2; i++)
			if ((holders[i].mask & conflicts) &&
				party_waits(snapshot, holders[i].party) == (waiting != 0) &&
				holders[i].party != result->hard[0])
				result->hard[n_hard++] = holders[i].party;

	for (int i = 0; i < lock->n_requests && n_soft < 2; i++)
	{
		int			number = lock->first_request + i;
		const ImonRequest *request = &snapshot->requests[number];

		if ((LOCKBIT_ON(request->mode) & conflicts) &&
			(n_soft == 0 ||
			 request->party != snapshot->requests[result->soft[0]].party))
			result->soft[n_soft++] = number;
	}
}

/* Chooses whom to follow from a request. */
static void
choose_blocker(ImonLockSnapshot *snapshot, int number,
			   const ImonCandidates *candidates)
{
	ImonRequest *request = &snapshot->requests[number];
	int			hard = candidates->hard[0];

	if (hard == request->party)
		hard = candidates->hard[1];
	if (hard != NOBODY)
	{
		request->blocker = hard;
		request->rank = party_waits(snapshot, hard) ? 1 : 0;
		return;
	}

	for (int i = 0; i < 2; i++)
	{
		int			soft = candidates->soft[i];

		if (soft == NOBODY || soft >= number)
			break;				/* it must be ahead */
		if (snapshot->requests[soft].party != request->party)
		{
			request->blocker = snapshot->requests[soft].party;
			request->rank = 2;
			break;
		}
	}
}

/* Chooses whom to follow from each party: the best that its requests offer. */
static void
choose_blockers(ImonLockSnapshot *snapshot)
{
	for (int i = 0; i < snapshot->n_locks; i++)
	{
		ImonContested *lock = &snapshot->locks[i];
		ImonCandidates candidates[MAX_LOCKMODES];

		memset(candidates, 0, sizeof(candidates));
		for (int j = 0; j < lock->n_requests; j++)
		{
			int			number = lock->first_request + j;
			LOCKMODE	mode = snapshot->requests[number].mode;

			if (!candidates[mode].known)
				find_candidates(snapshot, lock, mode, &candidates[mode]);
			choose_blocker(snapshot, number, &candidates[mode]);
		}
	}

	for (int i = 0; i < snapshot->n_parties; i++)
	{
		ImonPartyState *state = &snapshot->parties[i];
		const ImonRequest *best = NULL;

		for (int r = state->first_request; r != NOBODY;
			 r = snapshot->requests[r].next_of_party)
		{
			const ImonRequest *request = &snapshot->requests[r];

			if (request->blocker != NOBODY &&
				(best == NULL || request->rank < best->rank))
				best = request;
		}
		state->next = best ? best->blocker : NOBODY;
	}
}

/*
 * Sets root and depth of the members of a cycle.  The root is the one with the
 * lowest pid.
 */
static void
finish_cycle(ImonLockSnapshot *snapshot, const int *members, int n)
{
	int			root = 0;

	for (int i = 1; i < n; i++)
		if (snapshot->parties[members[i]].party.pid <
			snapshot->parties[members[root]].party.pid)
			root = i;
	for (int i = 0; i < n; i++)
	{
		ImonPartyState *state = &snapshot->parties[members[i]];

		state->root = members[root];
		state->depth = (root - i + n) % n;
		state->in_cycle = true;
		state->done = true;
	}
}

/*
 * Finds the root of one party, and of all that are met on the way.  "path" has
 * room for all parties.
 */
static void
find_root(ImonLockSnapshot *snapshot, int start, int *path)
{
	ImonPartyState *parties = snapshot->parties;
	int			mark = ++snapshot->marks;
	int			length = 0;
	int			current = start;

	while (!parties[current].done && parties[current].seen_by != mark)
	{
		parties[current].seen_by = mark;
		path[length++] = current;
		if (parties[current].next == NOBODY)
		{
			parties[current].root = current;
			parties[current].done = true;
		}
		else
			current = parties[current].next;
	}

	if (!parties[current].done)
	{
		int			begin = length - 1;

		while (path[begin] != current)
			begin--;
		finish_cycle(snapshot, &path[begin], length - begin);
	}

	while (length-- > 0)
	{
		ImonPartyState *state = &parties[path[length]];

		if (state->done)
			continue;
		state->root = parties[state->next].root;
		state->depth = parties[state->next].depth + 1;
		state->done = true;
	}
}

ImonLockSnapshot *
imon_take_lock_snapshot(void)
{
	ImonLockSnapshot *snapshot;
	int		   *path;

	if (!imon_anybody_waits())
		return NULL;

	snapshot = new_snapshot();
	collect_locks(snapshot);
	if (snapshot->n_requests == 0)
	{
		imon_free_lock_snapshot(snapshot);
		return NULL;
	}

	choose_blockers(snapshot);
	path = palloc(sizeof(int) * snapshot->n_parties);
	for (int i = 0; i < snapshot->n_parties; i++)
		find_root(snapshot, i, path);
	pfree(path);
	return snapshot;
}

int
imon_lock_parties(const ImonLockSnapshot *snapshot)
{
	return snapshot->n_parties;
}

bool
imon_next_lock_wait(const ImonLockSnapshot *snapshot, int *position,
					ImonWaiter *waiter)
{
	const ImonPartyState *state;
	const ImonRequest *oldest;

	while (*position < snapshot->n_parties &&
		   !party_waits(snapshot, *position))
		(*position)++;
	if (*position >= snapshot->n_parties)
		return false;

	/* of several members that wait, the one that has waited longest speaks */
	state = &snapshot->parties[*position];
	oldest = &snapshot->requests[state->first_request];
	for (int r = oldest->next_of_party; r != NOBODY;
		 r = snapshot->requests[r].next_of_party)
	{
		const ImonRequest *request = &snapshot->requests[r];

		if (request->since != 0 &&
			(oldest->since == 0 || request->since < oldest->since))
			oldest = request;
	}

	memset(waiter, 0, sizeof(ImonWaiter));
	waiter->number = (*position)++;
	waiter->party = state->party;
	waiter->since = oldest->since;
	waiter->tag = snapshot->locks[oldest->lock].tag;
	waiter->mode = oldest->mode;
	waiter->root_number = NOBODY;
	waiter->depth = state->depth;
	waiter->in_cycle = state->in_cycle;
	if (state->next != NOBODY)
	{
		waiter->root_number = state->root;
		waiter->root = snapshot->parties[state->root].party;
	}
	return true;
}

/*
 * Adds the pid of a party unless it was added in this search, or is the one
 * that asks.  All prepared transactions share one pid.
 */
static void
add_blocker(ImonLockSnapshot *snapshot, int asking, int party,
			int *pids, int *count, bool *prepared)
{
	ImonPartyState *state = &snapshot->parties[party];

	if (party == asking || state->seen_by == snapshot->marks)
		return;
	state->seen_by = snapshot->marks;
	if (state->party.pid == 0)
	{
		if (*prepared)
			return;
		*prepared = true;
	}
	pids[(*count)++] = state->party.pid;
}

int
imon_lock_blockers(ImonLockSnapshot *snapshot, int number, int *pids)
{
	bool		prepared = false;
	int			count = 0;

	snapshot->marks++;
	for (int r = snapshot->parties[number].first_request; r != NOBODY;
		 r = snapshot->requests[r].next_of_party)
	{
		const ImonRequest *request = &snapshot->requests[r];
		const ImonContested *lock = &snapshot->locks[request->lock];
		LOCKMASK	conflicts = conflicts_of(lock, request->mode);

		for (int i = 0; i < lock->n_holders; i++)
		{
			ImonHolder *holder = &snapshot->holders[lock->first_holder + i];

			if (holder->mask & conflicts)
				add_blocker(snapshot, number, holder->party,
							pids, &count, &prepared);
		}
		for (int ahead = lock->first_request; ahead < r; ahead++)
		{
			ImonRequest *other = &snapshot->requests[ahead];

			if (LOCKBIT_ON(other->mode) & conflicts)
				add_blocker(snapshot, number, other->party,
							pids, &count, &prepared);
		}
	}
	return count;
}

/* The name of a relation of this database or of all, or NULL. */
static char *
relation_name(Oid database, Oid relation)
{
	char	   *name;
	char	   *schema;

	if (OidIsValid(database) && database != MyDatabaseId)
		return NULL;
	name = get_rel_name(relation);
	if (name == NULL)
		return NULL;
	schema = get_namespace_name(get_rel_namespace(relation));
	return schema ? quote_qualified_identifier(schema, name) : NULL;
}

/* What a lock is on, in words. */
static char *
lock_description(const LOCKTAG *tag)
{
	char	   *name;
	StringInfoData words;

	switch ((LockTagType) tag->locktag_type)
	{
		case LOCKTAG_RELATION:
		case LOCKTAG_RELATION_EXTEND:
		case LOCKTAG_PAGE:
		case LOCKTAG_TUPLE:
			name = relation_name(tag->locktag_field1, tag->locktag_field2);
			break;
		default:
			name = NULL;
	}

	initStringInfo(&words);
	if (name == NULL)
		DescribeLockTag(&words, tag);
	else if (tag->locktag_type == LOCKTAG_RELATION_EXTEND)
		appendStringInfo(&words, "extension of relation %s", name);
	else if (tag->locktag_type == LOCKTAG_PAGE)
		appendStringInfo(&words, "page %u of relation %s",
						 tag->locktag_field3, name);
	else if (tag->locktag_type == LOCKTAG_TUPLE)
		appendStringInfo(&words, "tuple (%u,%u) of relation %s",
						 tag->locktag_field3, tag->locktag_field4, name);
	else
		appendStringInfo(&words, "relation %s", name);
	return words.data;
}

/* The names of role and database of a party. */
static void
put_names(const ImonLockParty *party, Datum *role, bool *role_isnull,
		  Datum *database, bool *database_isnull)
{
	*role = imon_name_datum(OidIsValid(party->role) ?
							GetUserNameFromId(party->role, true) : NULL,
							role_isnull);
	*database = imon_name_datum(OidIsValid(party->database) ?
								get_database_name(party->database) : NULL,
								database_isnull);
}

/*
 * The application name and the query of a process, as far as the caller may
 * see them; NULL if the process is not in the snapshot.  Returns whether it
 * may.
 */
static bool
put_texts(const PgBackendStatus *status, Datum *application,
		  bool *application_isnull, Datum *query, bool *query_isnull)
{
	bool		visible;

	*application_isnull = *query_isnull = (status == NULL);
	if (status == NULL)
		return false;

	visible = imon_may_see_role(status->st_userid);
	*application = visible ? imon_text_datum(status->st_appname)
		: CStringGetTextDatum(IMON_HIDDEN_TEXT);
	*query = visible ?
		imon_query_datum(pgstat_clip_activity(status->st_activity_raw))
		: CStringGetTextDatum(IMON_HIDDEN_TEXT);
	return visible;
}

/* An array of the pids that a waiter waits for. */
static Datum
blockers_datum(ImonLockSnapshot *snapshot, int number)
{
	int		   *pids = palloc(sizeof(int) * snapshot->n_parties);
	Datum	   *elements = palloc(sizeof(Datum) * snapshot->n_parties);
	int			n = imon_lock_blockers(snapshot, number, pids);

	for (int i = 0; i < n; i++)
		elements[i] = Int32GetDatum(pids[i]);
	return PointerGetDatum(construct_array(elements, n, INT4OID,
										   sizeof(int32), true, TYPALIGN_INT));
}

/* Fills in the columns about the root: pid to query, then its other ones. */
static void
put_root(const ImonWaiter *waiter, const ImonSessions *sessions,
		 Datum *values, bool *nulls, Datum *more, bool *more_nulls)
{
	const ImonLockParty *root = &waiter->root;
	const ImonSession *session = NULL;
	const PgBackendStatus *status;
	const char *state;

	if (waiter->root_number == NOBODY)
	{
		memset(nulls, true, 5 * sizeof(bool));
		memset(more_nulls, true, 3 * sizeof(bool));
		return;
	}

	if (root->pid != 0)
		session = imon_find_session(sessions, root->pid);
	status = session ? session->status : NULL;
	state = root->pid == 0 ? IMON_PREPARED_STATE :
		status ? imon_state_name(status->st_state) : NULL;

	values[0] = Int32GetDatum(root->pid);
	values[1] = imon_string_datum(state, &nulls[1]);
	put_names(root, &values[2], &nulls[2], &more[0], &more_nulls[0]);
	(void) put_texts(status, &values[3], &nulls[3], &values[4], &nulls[4]);
	more[1] = imon_moment_datum(status ? status->st_state_start_timestamp : 0,
								&more_nulls[1]);
	more[2] = TransactionIdGetDatum(root->xid);
	more_nulls[2] = !TransactionIdIsValid(root->xid);
}

/* Puts one waiter into the result. */
static void
put_waiter(ReturnSetInfo *rsinfo, ImonLockSnapshot *snapshot,
		   const ImonWaiter *waiter, const ImonSessions *sessions,
		   TimestampTz now)
{
	const ImonSession *session =
		imon_find_session(sessions, waiter->party.pid);
	const PgBackendStatus *status = session ? session->status : NULL;
	Datum		values[LOCK_WAIT_COLUMNS];
	bool		nulls[LOCK_WAIT_COLUMNS] = {false};
	bool		visible;

	values[0] = Int32GetDatum(waiter->party.pid);
	put_names(&waiter->party, &values[2], &nulls[2], &values[1], &nulls[1]);
	visible = put_texts(status, &values[3], &nulls[3], &values[5], &nulls[5]);
	values[4] = visible ? UInt64GetDatum(status->st_query_id) : (Datum) 0;
	nulls[4] = (!visible || status->st_query_id == 0);
	values[6] = Float8GetDatum(Max(now - waiter->since, 0) / 1000.0);
	nulls[6] = (waiter->since == 0);
	values[7] = blockers_datum(snapshot, waiter->number);
	put_root(waiter, sessions, &values[8], &nulls[8], &values[18], &nulls[18]);
	values[13] = Int32GetDatum(waiter->depth);
	values[14] = CStringGetTextDatum(GetLockNameFromTagType(waiter->tag.locktag_type));
	values[15] = imon_text_datum(lock_description(&waiter->tag));
	values[16] = CStringGetTextDatum(GetLockmodeName(waiter->tag.locktag_lockmethodid,
													 waiter->mode));
	values[17] = BoolGetDatum(waiter->in_cycle);

	imon_put_row(rsinfo, values, nulls);
}

/*
 * SQL: lock_waits, one row for each process or lock group that waits: pid,
 * datname, usename, application_name, queryid, query, wait_time, blocked_by,
 * root_pid, root_state, root_usename, root_application_name, root_query, depth,
 * lock_type, locked, mode, in_cycle, root_datname, root_state_change, root_xid.
 */
Datum
imon_lock_waits_1_0(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = imon_begin_rows(fcinfo, LOCK_WAIT_COLUMNS);
	ImonLockSnapshot *snapshot = imon_take_lock_snapshot();
	TimestampTz now = GetCurrentTimestamp();
	MemoryContext per_row;
	MemoryContext caller;
	ImonSessions sessions;
	ImonWaiter	waiter;
	int			position = 0;

	if (snapshot == NULL)
		return (Datum) 0;

	imon_look_at_sessions(&sessions);
	per_row = AllocSetContextCreate(CurrentMemoryContext,
									"infra_monitor lock wait",
									ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(per_row);
	while (imon_next_lock_wait(snapshot, &position, &waiter))
	{
		CHECK_FOR_INTERRUPTS();
		put_waiter(rsinfo, snapshot, &waiter, &sessions, now);
		MemoryContextReset(per_row);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(per_row);
	return (Datum) 0;
}
