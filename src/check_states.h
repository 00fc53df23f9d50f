/*-------------------------------------------------------------------------
 *
 * check_states.h
 *	  Which status each health check has, since when, and what has changed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_CHECK_STATES_H
#define IMON_CHECK_STATES_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

/* The name under which the status of the whole server is kept. */
#define IMON_OVERALL "overall"

#define IMON_MAX_STATES 192		/* checks, and the server */

typedef enum ImonStatus
{
	STATUS_IS_OK,
	STATUS_IS_UNKNOWN,
	STATUS_IS_WARNING,
	STATUS_IS_CRITICAL
} ImonStatus;

/* A check as configured. */
typedef struct ImonCheck
{
	char	   *name;
	char	   *category;
	bool		below;			/* low values are bad */
	double		warning;		/* NaN = none */
	double		critical;		/* NaN = none */
	int			hold;			/* evaluations before its status changes */
	bool		essential;
	char	   *hint;
	bool		scoped;			/* has other thresholds for some scopes */
} ImonCheck;

/* What its evaluation has found. */
typedef struct ImonResult
{
	ImonStatus	status;
	double		value;			/* NaN = not known */
	char	   *unit;
	char	   *message;
	TimestampTz since;
} ImonResult;

/* Which way the last results go, from the status that still counts. */
typedef enum ImonRun
{
	RUN_BETTER,
	RUN_WORSE,
	RUN_UNKNOWN
} ImonRun;

/* What is remembered of a check from one evaluation to the next. */
typedef struct ImonCheckState
{
	char		name[NAMEDATALEN];	/* empty = free */
	ImonStatus	status;
	TimestampTz since;			/* it was first found so */
	TimestampTz changed_at;		/* and that counted */
	bool		stored;			/* is health_state up to date? */
	double		value;			/* of the last result, NaN = not known */

	/* results in a row that differ from the status, until they count */
	ImonRun		run;
	int			run_length;
	ImonStatus	run_status;		/* the one of them nearest to it */
	TimestampTz run_since;
} ImonCheckState;

/* A change of a status. */
typedef struct ImonHealthEvent
{
	TimestampTz at;
	char		check_name[NAMEDATALEN];
	bool		first;			/* there was no status before */
	ImonStatus	old_status;
	ImonStatus	new_status;
	TimestampTz old_since;
	TimestampTz since;
	double		value;			/* NaN = not known */
	char		message[384];	/* clipped; empty = none */
} ImonHealthEvent;

/* From where states were read: those of another place are not ours. */
typedef struct ImonOrigin
{
	Oid			database;
	Oid			table;			/* health_state; InvalidOid during recovery */
} ImonOrigin;

/*
 * An evaluation of all checks.  It works on a copy of the states, so that one
 * that fails halfway has changed nothing.
 */
typedef struct ImonEvaluation
{
	MemoryContext context;		/* in which all of it is */
	TimestampTz at;
	ImonOrigin	origin;
	ImonCheckState states[IMON_MAX_STATES];
	bool		seen[IMON_MAX_STATES];	/* which of them it has come to */
	List	   *transitions;
	double		score;			/* of the server, NaN = not known */
} ImonEvaluation;

/* The results of the last evaluation. */
typedef struct ImonStates
{
	TimestampTz at;				/* 0 = there was none */
	double		score;			/* NaN = not known */
	uint64		changes;		/* of statuses since shared memory was created */
	ImonCheckState states[IMON_MAX_STATES]; /* that of the server among them */
} ImonStates;

/* Registers shared memory.  Call once, in _PG_init. */
extern void imon_check_states_init(void);

/* The name of a status, of a check or (for IMON_OVERALL) of the server. */
extern const char *imon_status_name(const char *check, ImonStatus status);

/* And the status of such a name, unknown if there is none. */
extern ImonStatus imon_status_named(const char *name);

/* The status of a value by the thresholds alone. */
extern ImonStatus imon_status_of(const ImonCheck *check, double value);

/*
 * Begins an evaluation, in the current memory context.  *known: the states are
 * those of the same origin; otherwise there are none yet, and the caller seeds
 * them with those that were stored.  For the sampler only, as the next five.
 */
extern ImonEvaluation *imon_begin_evaluation(ImonOrigin origin, bool *known);
extern void imon_seed_state(ImonEvaluation *evaluation, const char *name,
							ImonStatus status, TimestampTz since,
							TimestampTz changed_at);

/*
 * Advances the state of a check by a result, and puts the status that counts,
 * and since when it does, in the place of the one found.
 */
extern void imon_advance_check(ImonEvaluation *evaluation,
							   const ImonCheck *check, ImonResult *result);

/*
 * Leaves the state of a check as it is, and puts that into the result: there was
 * no time for it in this evaluation.
 */
extern void imon_leave_check_out(ImonEvaluation *evaluation,
								 const ImonCheck *check, ImonResult *result);

/* Advances that of the server, whose status follows from those of the checks. */
extern void imon_advance_overall(ImonEvaluation *evaluation,
								 ImonStatus status, double score);

/*
 * Ends an evaluation that has succeeded: from now on these are the states, and
 * changes are logged.
 */
extern void imon_finish_evaluation(ImonEvaluation *evaluation);

/* Copies them.  Shared memory must be ready. */
extern void imon_read_states(ImonStates *copy);

/* Since when a check has the status of a result; its own time if it has not. */
extern void imon_find_since(const char *name, ImonResult *result);

/*
 * Changes that are to be stored, or told to listeners, oldest first: copies
 * them, and returns the number under which they are then reported as done.
 */
extern List *imon_events_to_store(uint64 *number);
extern List *imon_events_to_notify(uint64 *number);
extern List *imon_states_to_store(void);
extern void imon_events_stored(uint64 number);
extern void imon_events_notified(uint64 number);

/* Are the states, and what is to be stored, of that place? */
extern bool imon_states_are_of(ImonOrigin origin);

/* Is there anything to store, or to tell? */
extern bool imon_any_to_store(void);
extern bool imon_any_to_notify(void);

/* Changes that were dropped because there was no room for more. */
extern uint64 imon_health_events_dropped(void);

#endif							/* IMON_CHECK_STATES_H */
