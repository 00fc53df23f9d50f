/*-------------------------------------------------------------------------
 *
 * check_states.c
 *	  Which status each health check has, since when, and what has changed.
 *
 * A status changes when results have differed from it in the same direction
 * "hold" evaluations in a row, and then to the one of them that is nearest to
 * it, since the first of them.  A value is better than a threshold only when it
 * is so by a margin, or what moves about a threshold would come and go all the
 * time.  Not to know the value once is no news: that takes two evaluations at
 * least, for what is a rate has none in the first one after a start.
 *
 * The states, and the changes that are not yet stored or told to listeners, are
 * in shared memory, under one lock.  The sampler alone writes: it copies the
 * states, advances the copy in an evaluation, and puts it back when that has
 * succeeded.  Others read since when a status lasts.  Nothing is allocated or
 * raised under the lock.
 *
 * Changes are stored and told in transactions of their own; what has been done
 * is noted when these commit, so that a failure neither loses nor doubles one.
 * During recovery they are logged only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/xlog.h"
#include "check_states.h"
#include "mb/pg_wchar.h"
#include "port/atomics.h"
#include "shmem.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define EVENTS_KEPT 256			/* a power of two */
#define MARGIN 0.05				/* of a threshold */
#define UNKNOWN_HOLD 2			/* evaluations */

static const char *const status_names[] = {
	"ok", "unknown", "warning", "critical"
};

static const char *const overall_names[] = {
	"healthy", "unknown", "degraded", "unhealthy"
};

typedef struct ImonCheckStates
{
	LWLock	   *lock;			/* guards all but "dropped" */
	ImonOrigin	origin;
	TimestampTz evaluated_at;	/* 0 = never */
	double		score;
	uint64		changes;		/* of statuses, ever */
	ImonCheckState states[IMON_MAX_STATES];

	/*
	 * Events are numbered; number n is in slot n modulo the size.  Those
	 * below "stored" are in health_events, those below "notified" are done
	 * with.
	 */
	uint64		made;
	uint64		stored;
	uint64		notified;
	ImonHealthEvent events[EVENTS_KEPT];
	pg_atomic_uint64 dropped;
} ImonCheckStates;

/* A change, with what its line in the log needs besides. */
typedef struct ImonTransition
{
	ImonHealthEvent event;
	char	   *unit;
	char	   *hint;
} ImonTransition;

static ImonCheckStates *shared = NULL;

static Size
check_states_size(void)
{
	return sizeof(ImonCheckStates);
}

static void
check_states_init(void *part, LWLock *lock)
{
	ImonCheckStates *created = (ImonCheckStates *) part;

	created->lock = lock;
	pg_atomic_init_u64(&created->dropped, 0);
}

static const ImonShmemPart check_states_part = {
	.name = "infra_monitor check states",
	.size = check_states_size,
	.init = check_states_init,
	.address = (void **) &shared
};

void
imon_check_states_init(void)
{
	imon_shmem_register(&check_states_part);
}

uint64
imon_health_events_dropped(void)
{
	return pg_atomic_read_u64(&shared->dropped);
}

const char *
imon_status_name(const char *check, ImonStatus status)
{
	return strcmp(check, IMON_OVERALL) == 0 ?
		overall_names[status] : status_names[status];
}

ImonStatus
imon_status_named(const char *name)
{
	for (int i = 0; i < lengthof(status_names); i++)
		if (strcmp(name, status_names[i]) == 0 ||
			strcmp(name, overall_names[i]) == 0)
			return (ImonStatus) i;
	return STATUS_IS_UNKNOWN;
}

/* Is the value at or beyond the threshold, if that is moved by a margin? */
static bool
beyond(const ImonCheck *check, double value, double threshold, double margin)
{
	if (isnan(threshold))
		return false;
	return check->below ?
		value <= threshold + margin : value >= threshold - margin;
}

/*
 * By how much a value must be better than the threshold to leave its status: a
 * share of it, and not so much that it reaches halfway to the other threshold.
 * None for a threshold of 0, where a share means nothing.
 */
static double
margin_of(double threshold, double other)
{
	double		margin;

	if (isnan(threshold) || isinf(threshold))
		return 0;
	margin = MARGIN * fabs(threshold);
	if (!isnan(other) && !isinf(other) && other != threshold)
		margin = Min(margin, fabs(threshold - other) / 2);
	return margin;
}

ImonStatus
imon_status_of(const ImonCheck *check, double value)
{
	if (isnan(value))
		return STATUS_IS_UNKNOWN;
	if (beyond(check, value, check->critical, 0))
		return STATUS_IS_CRITICAL;
	if (beyond(check, value, check->warning, 0))
		return STATUS_IS_WARNING;
	return STATUS_IS_OK;
}

/* The same where the check has a status already, which is left by a margin. */
static ImonStatus
status_from(const ImonCheck *check, double value, ImonStatus current)
{
	ImonStatus	status = imon_status_of(check, value);

	if (status == STATUS_IS_UNKNOWN || current == STATUS_IS_UNKNOWN)
		return status;
	if (current == STATUS_IS_CRITICAL &&
		beyond(check, value, check->critical,
			   margin_of(check->critical, check->warning)))
		return STATUS_IS_CRITICAL;
	if (current >= STATUS_IS_WARNING && status == STATUS_IS_OK &&
		beyond(check, value, check->warning,
			   margin_of(check->warning, check->critical)))
		return STATUS_IS_WARNING;
	return status;
}

/* The state of a check in an array of them, or NULL. */
static ImonCheckState *
find_state(ImonCheckState *states, const char *name)
{
	for (int i = 0; i < IMON_MAX_STATES; i++)
		if (strcmp(states[i].name, name) == 0)
			return &states[i];
	return NULL;
}

/* Nobody but the caller, the sampler, changes it. */
bool
imon_states_are_of(ImonOrigin origin)
{
	return shared->origin.database == origin.database &&
		shared->origin.table == origin.table;
}

ImonEvaluation *
imon_begin_evaluation(ImonOrigin origin, bool *known)
{
	ImonEvaluation *evaluation = palloc0(sizeof(ImonEvaluation));

	evaluation->context = CurrentMemoryContext;
	evaluation->at = GetCurrentTimestamp();
	evaluation->origin = origin;
	LWLockAcquire(shared->lock, LW_SHARED);
	*known = imon_states_are_of(origin);
	if (*known)
		memcpy(evaluation->states, shared->states, sizeof(shared->states));
	LWLockRelease(shared->lock);
	return evaluation;
}

/* A new state, or NULL if there are more checks than can be remembered. */
static ImonCheckState *
add_state(ImonEvaluation *evaluation, const char *name)
{
	ImonCheckState *state = find_state(evaluation->states, "");

	if (state)
	{
		memset(state, 0, sizeof(*state));
		strlcpy(state->name, name, NAMEDATALEN);
	}
	return state;
}

void
imon_seed_state(ImonEvaluation *evaluation, const char *name,
				ImonStatus status, TimestampTz since, TimestampTz changed_at)
{
	ImonCheckState *state = add_state(evaluation, name);

	if (state == NULL)
		return;
	state->status = status;
	state->since = since;
	state->changed_at = changed_at;
	state->stored = true;
}

/*
 * Gives a state another status, and notes the change.  A first status is a
 * change only if it is a bad one.
 */
static void
change_state(ImonEvaluation *evaluation, ImonCheckState *state,
			 ImonStatus status, TimestampTz since, const ImonResult *result,
			 const char *hint)
{
	bool		first = state->changed_at == 0;
	ImonHealthEvent event = {0};

	event.at = evaluation->at;
	strlcpy(event.check_name, state->name, NAMEDATALEN);
	event.first = first;
	event.old_status = state->status;
	event.new_status = status;
	event.old_since = state->since;
	event.since = since;
	event.value = result->value;
	if (result->message)
	{
		int			length = pg_mbcliplen(result->message, strlen(result->message),
										  sizeof(event.message) - 1);

		memcpy(event.message, result->message, length);
	}

	state->status = status;
	state->since = since;
	state->changed_at = evaluation->at;
	state->stored = false;
	state->run_length = 0;

	if (!first || status >= STATUS_IS_WARNING)
	{
		MemoryContext caller = MemoryContextSwitchTo(evaluation->context);
		ImonTransition *transition = palloc(sizeof(ImonTransition));

		transition->event = event;
		transition->unit = result->unit ? pstrdup(result->unit) : NULL;
		transition->hint = hint ? pstrdup(hint) : NULL;
		evaluation->transitions = lappend(evaluation->transitions, transition);
		MemoryContextSwitchTo(caller);
	}
}

/* Which way a result goes that differs from the status. */
static ImonRun
direction_of(ImonStatus status, ImonStatus found)
{
	if (found == STATUS_IS_UNKNOWN)
		return RUN_UNKNOWN;
	return found > status ? RUN_WORSE : RUN_BETTER;
}

/*
 * Counts a result that differs from the status.  Does the status change with
 * it, now that it is as many in a row as it takes?
 */
static bool
extend_run(ImonEvaluation *evaluation, ImonCheckState *state,
		   ImonStatus found, int hold)
{
	ImonRun		run = direction_of(state->status, found);

	if (state->run_length == 0 || state->run != run)
	{
		state->run = run;
		state->run_length = 0;
		state->run_status = found;
		state->run_since = evaluation->at;
	}
	state->run_status = run == RUN_WORSE ?
		Min(state->run_status, found) : Max(state->run_status, found);
	if (run == RUN_UNKNOWN)
		hold = Max(hold, UNKNOWN_HOLD);
	return ++state->run_length >= hold;
}

void
imon_advance_check(ImonEvaluation *evaluation, const ImonCheck *check,
				   ImonResult *result)
{
	ImonCheckState *state = find_state(evaluation->states, check->name);
	ImonStatus	found;

	result->since = evaluation->at;
	if (state == NULL)
	{
		state = add_state(evaluation, check->name);
		if (state == NULL)
			return;
		change_state(evaluation, state, result->status, evaluation->at, result,
					 check->hint);
	}

	state->value = result->value;
	found = result->status == STATUS_IS_UNKNOWN ? STATUS_IS_UNKNOWN :
		status_from(check, result->value, state->status);
	if (found == state->status)
		state->run_length = 0;
	else if (extend_run(evaluation, state, found, check->hold))
		change_state(evaluation, state, state->run_status, state->run_since,
					 result, check->hint);
	result->status = state->status;
	result->since = state->since;
	evaluation->seen[state - evaluation->states] = true;
}

void
imon_leave_check_out(ImonEvaluation *evaluation, const ImonCheck *check,
					 ImonResult *result)
{
	const ImonCheckState *state = find_state(evaluation->states, check->name);

	result->since = evaluation->at;
	if (state == NULL)
		return;
	result->status = state->status;
	result->since = state->since;
	evaluation->seen[state - evaluation->states] = true;
}

/*
 * What has a status from earlier evaluations, and was not evaluated in this one:
 * it was turned off, or is no more.
 */
static void
forget_unseen(ImonEvaluation *evaluation)
{
	ImonResult	result = {STATUS_IS_UNKNOWN, NAN, NULL, "it is no longer evaluated", 0};

	for (int i = 0; i < IMON_MAX_STATES; i++)
	{
		ImonCheckState *state = &evaluation->states[i];

		if (state->name[0] != '\0' && !evaluation->seen[i] &&
			state->status != STATUS_IS_UNKNOWN &&
			strcmp(state->name, IMON_OVERALL) != 0)
		{
			state->value = NAN;
			change_state(evaluation, state, STATUS_IS_UNKNOWN, evaluation->at,
						 &result, NULL);
		}
	}
}

/* The names of the checks that have a status now, or NULL. */
static char *
names_with(ImonEvaluation *evaluation, ImonStatus status)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < IMON_MAX_STATES; i++)
	{
		const ImonCheckState *state = &evaluation->states[i];

		if (state->name[0] != '\0' && state->status == status &&
			strcmp(state->name, IMON_OVERALL) != 0)
			appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "", state->name);
	}
	return names.len > 0 ? names.data : NULL;
}

/* Why the server has its status. */
static char *
overall_message(ImonEvaluation *evaluation)
{
	char	   *critical = names_with(evaluation, STATUS_IS_CRITICAL);
	char	   *warning = names_with(evaluation, STATUS_IS_WARNING);

	if (critical == NULL && warning == NULL)
		return names_with(evaluation, STATUS_IS_OK) ?
			"no check is critical or warns" : "nothing is known";
	return psprintf("%s%s%s%s%s",
					critical ? "critical: " : "", critical ? critical : "",
					critical && warning ? "; " : "",
					warning ? "warning: " : "", warning ? warning : "");
}

/*
 * Since when what has changed in this evaluation was first found so, but not
 * before a moment: what changes the status of the server.
 */
static TimestampTz
changes_since(const ImonEvaluation *evaluation, TimestampTz not_before)
{
	TimestampTz since = evaluation->at;
	ListCell   *cell;

	foreach(cell, evaluation->transitions)
	{
		const ImonTransition *transition = lfirst(cell);

		since = Min(since, transition->event.since);
	}
	return Max(since, not_before);
}

void
imon_advance_overall(ImonEvaluation *evaluation, ImonStatus status, double score)
{
	ImonCheckState *state;
	ImonResult	result = {status, score, "points", NULL, 0};

	forget_unseen(evaluation);
	evaluation->score = score;
	state = find_state(evaluation->states, IMON_OVERALL);
	if (state == NULL)
		state = add_state(evaluation, IMON_OVERALL);
	if (state == NULL || (state->changed_at != 0 && state->status == status))
		return;
	result.message = overall_message(evaluation);
	change_state(evaluation, state, status,
				 changes_since(evaluation, state->changed_at), &result, NULL);
}

/*
 * Adds an event to those that are to be stored.  If there is no room, the oldest
 * gives way.  The lock must be held exclusively.
 */
static void
add_event(const ImonHealthEvent *event)
{
	if (shared->made - shared->notified == EVENTS_KEPT)
	{
		shared->notified++;
		shared->stored = Max(shared->stored, shared->notified);
		pg_atomic_fetch_add_u64(&shared->dropped, 1);
	}
	shared->events[shared->made++ % EVENTS_KEPT] = *event;
}

/* Puts the states of an evaluation in the place of those before. */
static void
publish_states(const ImonEvaluation *evaluation)
{
	bool		recovery = RecoveryInProgress();
	ListCell   *cell;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (!imon_states_are_of(evaluation->origin))
		shared->stored = shared->notified = shared->made;	/* of elsewhere */
	shared->origin = evaluation->origin;
	memcpy(shared->states, evaluation->states, sizeof(shared->states));
	shared->evaluated_at = evaluation->at;
	shared->score = evaluation->score;
	foreach(cell, evaluation->transitions)
	{
		if (!((const ImonTransition *) lfirst(cell))->event.first)
			shared->changes++;
	}
	if (!recovery)
		foreach(cell, evaluation->transitions)
			add_event(&((const ImonTransition *) lfirst(cell))->event);
	LWLockRelease(shared->lock);
}

/* Logs a change. */
static void
log_transition(const ImonTransition *transition)
{
	const ImonHealthEvent *event = &transition->event;
	bool		overall = strcmp(event->check_name, IMON_OVERALL) == 0;
	const char *from = event->first ? "no status" :
		imon_status_name(event->check_name, event->old_status);
	const char *to = imon_status_name(event->check_name, event->new_status);
	char	   *value = isnan(event->value) ? "value not known" :
		psprintf("%g %s", event->value, transition->unit ? transition->unit : "");

	ereport(LOG,
			(overall ?
			 errmsg("health of the server changed from %s to %s (%s): %s",
					from, to, value, event->message) :
			 errmsg("health check \"%s\" changed from %s to %s (%s): %s",
					event->check_name, from, to, value, event->message),
			 transition->hint && event->new_status != STATUS_IS_OK ?
			 errhint("%s", transition->hint) : 0));
}

void
imon_finish_evaluation(ImonEvaluation *evaluation)
{
	ListCell   *cell;

	publish_states(evaluation);
	foreach(cell, evaluation->transitions)
		log_transition(lfirst(cell));
}

void
imon_read_states(ImonStates *copy)
{
	LWLockAcquire(shared->lock, LW_SHARED);
	copy->at = shared->evaluated_at;
	copy->score = shared->score;
	copy->changes = shared->changes;
	memcpy(copy->states, shared->states, sizeof(copy->states));
	LWLockRelease(shared->lock);
}

void
imon_find_since(const char *name, ImonResult *result)
{
	const ImonCheckState *state;

	result->since = GetCurrentTimestamp();
	if (shared == NULL)
		return;
	LWLockAcquire(shared->lock, LW_SHARED);
	state = find_state(shared->states, name);
	if (state && state->status == result->status)
		result->since = state->since;
	LWLockRelease(shared->lock);
}

/* Copies of the events from a number on. */
static List *
copy_events(const uint64 *from, uint64 *until)
{
	ImonHealthEvent *copies = palloc(EVENTS_KEPT * sizeof(ImonHealthEvent));
	List	   *events = NIL;
	int			count = 0;

	LWLockAcquire(shared->lock, LW_SHARED);
	for (uint64 n = *from; n < *until; n++)
		copies[count++] = shared->events[n % EVENTS_KEPT];
	LWLockRelease(shared->lock);

	for (int i = 0; i < count; i++)
		events = lappend(events, &copies[i]);
	return events;
}

/* Nobody but the caller, the sampler, moves these numbers. */
List *
imon_events_to_store(uint64 *number)
{
	*number = shared->made;
	return copy_events(&shared->stored, &shared->made);
}

List *
imon_events_to_notify(uint64 *number)
{
	*number = shared->stored;
	return copy_events(&shared->notified, &shared->stored);
}

List *
imon_states_to_store(void)
{
	ImonCheckState *copies = palloc(sizeof(shared->states));
	List	   *states = NIL;

	LWLockAcquire(shared->lock, LW_SHARED);
	memcpy(copies, shared->states, sizeof(shared->states));
	LWLockRelease(shared->lock);

	for (int i = 0; i < IMON_MAX_STATES; i++)
		if (copies[i].name[0] != '\0' && !copies[i].stored)
			states = lappend(states, &copies[i]);
	return states;
}

void
imon_events_stored(uint64 number)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->stored = Max(shared->stored, number);
	for (int i = 0; i < IMON_MAX_STATES; i++)
		shared->states[i].stored = true;
	LWLockRelease(shared->lock);
}

void
imon_events_notified(uint64 number)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->notified = Max(shared->notified, number);
	LWLockRelease(shared->lock);
}

bool
imon_any_to_store(void)
{
	bool		any;

	LWLockAcquire(shared->lock, LW_SHARED);
	any = shared->stored < shared->made;
	for (int i = 0; i < IMON_MAX_STATES && !any; i++)
		any = shared->states[i].name[0] != '\0' && !shared->states[i].stored;
	LWLockRelease(shared->lock);
	return any;
}

bool
imon_any_to_notify(void)
{
	bool		any;

	LWLockAcquire(shared->lock, LW_SHARED);
	any = shared->notified < shared->stored;
	LWLockRelease(shared->lock);
	return any;
}
