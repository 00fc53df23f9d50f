/*-------------------------------------------------------------------------
 *
 * conditions.c
 *	  Since when something is so for which PostgreSQL keeps no date.
 *
 * Health checks ask how long a replication slot has been without a user, or a
 * standby without its primary.  They tell seen_since() of which things that is
 * true now.  When the sampler evaluates them, it is remembered for each since
 * when it was so in every evaluation; what is no longer so is forgotten.
 * Whoever else evaluates reads what the sampler remembers, and changes nothing.
 *
 * After a restart of the server memory begins anew, so a duration is one at
 * least.  All is under one lock, which is held for comparisons only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "conditions.h"
#include "fmgr.h"
#include "guc.h"
#include "home_database.h"
#include "miscadmin.h"
#include "replication/slot.h"
#include "rows.h"
#include "shmem.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define OTHERS 8				/* things that are no slots */
#define KIND_SIZE 32
#define NAME_SIZE 128			/* of a slot, and a position */
#define MAX_GAP 5				/* evaluations that may be left out */

typedef struct ImonCondition
{
	char		kind[KIND_SIZE];	/* empty = free */
	char		name[NAME_SIZE];
	TimestampTz since;
	TimestampTz seen_at;		/* last */
} ImonCondition;

typedef struct ImonConditions
{
	LWLock	   *lock;			/* guards the rest */
	ImonCondition list[FLEXIBLE_ARRAY_MEMBER];	/* n_conditions() */
} ImonConditions;

/* A question, and the answers. */
typedef struct ImonQuestion
{
	char		kind[KIND_SIZE];
	int			n;
	char		(*names)[NAME_SIZE];
	TimestampTz *since;
} ImonQuestion;

static ImonConditions *conditions = NULL;

PG_FUNCTION_INFO_V1(imon_seen_since_1_0);

/* There cannot be more slots than that. */
static int
n_conditions(void)
{
	return max_replication_slots + OTHERS;
}

static Size
conditions_size(void)
{
	return offsetof(ImonConditions, list) +
		sizeof(ImonCondition) * n_conditions();
}

static void
conditions_init(void *part, LWLock *lock)
{
	((ImonConditions *) part)->lock = lock;
}

static const ImonShmemPart conditions_part = {
	.name = "infra_monitor conditions",
	.size = conditions_size,
	.init = conditions_init,
	.address = (void **) &conditions
};

void
imon_conditions_init(void)
{
	imon_shmem_register(&conditions_part);
}

/* The entry, or NULL.  The lock must be held. */
static ImonCondition *
find_condition(const char *kind, const char *name)
{
	for (int i = 0; i < n_conditions(); i++)
		if (strcmp(conditions->list[i].kind, kind) == 0 &&
			strcmp(conditions->list[i].name, name) == 0)
			return &conditions->list[i];
	return NULL;
}

/* Is the thing named in the question? */
static bool
is_asked_for(const ImonQuestion *question, const char *name)
{
	for (int i = 0; i < question->n; i++)
		if (strcmp(question->names[i], name) == 0)
			return true;
	return false;
}

/*
 * Remembers what the question says is so, and forgets what is no longer.  What
 * was not looked at for long may have been otherwise meanwhile.  The lock must
 * be held exclusively.
 */
static void
remember(const ImonQuestion *question, TimestampTz now)
{
	TimestampTz gap = (TimestampTz) imon_health_interval * 1000 * MAX_GAP;

	for (int i = 0; i < n_conditions(); i++)
	{
		ImonCondition *condition = &conditions->list[i];

		if (strcmp(condition->kind, question->kind) == 0 &&
			(!is_asked_for(question, condition->name) ||
			 condition->seen_at < now - gap || condition->since > now))
			memset(condition, 0, sizeof(ImonCondition));
	}
	for (int i = 0; i < question->n; i++)
	{
		const char *name = question->names[i];
		ImonCondition *condition = find_condition(question->kind, name);

		if (condition == NULL)
		{
			condition = find_condition("", "");
			if (condition == NULL)
				return;
			strlcpy(condition->kind, question->kind, KIND_SIZE);
			strlcpy(condition->name, name, NAME_SIZE);
			condition->since = now;
		}
		condition->seen_at = now;
	}
}

/* Answers the question: what is not remembered is so from now on. */
static void
answer(ImonQuestion *question)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		is_sampler = MyProcPid == imon_home_sampler_pid();

	LWLockAcquire(conditions->lock, is_sampler ? LW_EXCLUSIVE : LW_SHARED);
	if (is_sampler)
		remember(question, now);
	for (int i = 0; i < question->n; i++)
	{
		const ImonCondition *condition = find_condition(question->kind,
														question->names[i]);

		question->since[i] = condition ? condition->since : now;
	}
	LWLockRelease(conditions->lock);
}

/* Reads kind and names from the arguments; NULLs are not asked for. */
static void
read_question(FunctionCallInfo fcinfo, ImonQuestion *question)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(1);
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &nulls, &n);
	/* they are compared under the lock */
	if (n > n_conditions())
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("seen_since() takes at most %d names", n_conditions())));
	text_to_cstring_buffer(PG_GETARG_TEXT_PP(0), question->kind, KIND_SIZE);
	question->names = palloc(NAME_SIZE * Max(n, 1));
	question->since = palloc0(sizeof(TimestampTz) * Max(n, 1));
	question->n = 0;
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			text_to_cstring_buffer(DatumGetTextPP(elements[i]),
								   question->names[question->n++], NAME_SIZE);
}

/*
 * SQL: seen_since(kind, names), a row for each of the names: name, since; NULL
 * unless preloaded.
 */
Datum
imon_seen_since_1_0(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo;
	ImonQuestion question;

	imon_require_arguments(fcinfo, 2);
	rsinfo = imon_begin_rows(fcinfo, 2);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return (Datum) 0;
	read_question(fcinfo, &question);
	if (conditions != NULL)
		answer(&question);
	for (int i = 0; i < question.n; i++)
	{
		Datum		values[2];
		bool		nulls[2] = {false, false};

		values[0] = CStringGetTextDatum(question.names[i]);
		values[1] = imon_moment_datum(question.since[i], &nulls[1]);
		imon_put_row(rsinfo, values, nulls);
	}
	return (Datum) 0;
}
