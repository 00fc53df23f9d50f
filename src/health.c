/*-------------------------------------------------------------------------
 *
 * health.c
 *	  Evaluates health checks and keeps the last result.
 *
 * A check is a function infra_monitor.check_<name>() that returns a value, its
 * unit and a message, and a row of infra_monitor.check_defaults().  This file
 * knows no check by name: it calls them and compares the values with the
 * thresholds.  Since when each has its status is remembered elsewhere, see
 * check_states.c.
 *
 * When the sampler evaluates, each check has a time limit, and so have all of
 * them together; those for which no time is left keep their last result, and are
 * the first in the next evaluation.  One that fails is left alone for a while,
 * longer each time.  All that is remembered in the process only: a new sampler
 * tries again.  Elsewhere the limits are those of the session.
 *
 * The cached document is written by the sampler only, under the part's lock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "check_states.h"
#include "clock.h"
#include "commands/trigger.h"
#include "contained.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "guc.h"
#include "health.h"
#include "health_events.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "rows.h"
#include "shmem.h"
#include "storage/latch.h"
#include "texts.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#define CACHE_SIZE (64 * 1024)
#define CHECK_COLUMNS 11

/*
 * Limits of an evaluation by the sampler.  It does nothing else meanwhile, so
 * all checks together have no more than half of the time between two samples, of
 * which none is missed then, or between two evaluations.
 */
#define CHECK_TIMEOUT_MS 2000
#define ALL_CHECKS_MAX_MS (10 * 1000)
#define REST_MS 2000			/* of the document, without the checks */

/*
 * How long a check is left alone at most.  One that was not wrong, but cut off,
 * is needed most where all is slow.
 */
#define LONGEST_BACKOFF_MS (60 * 60 * 1000)
#define LONGEST_AFTER_CUT_OFF_MS (5 * 60 * 1000)
#define MAX_ERROR 256			/* bytes of an error that are repeated */
#define MAX_KEPT_MESSAGE 512	/* of the last result of a check */
#define MAX_KEPT_UNIT 32

typedef struct ImonHealth
{
	LWLock	   *lock;			/* guards all but the counters */
	TimestampTz evaluated_at;	/* 0 = never */
	Size		length;			/* of the document */
	char		document[CACHE_SIZE];	/* jsonb as text, valid in "encoding" */
	int			encoding;
	pg_atomic_uint64 overflows;
	pg_atomic_uint64 hints_dropped;
} ImonHealth;

/* A check that has failed, in the sampler. */
typedef struct ImonBackoff
{
	char		name[NAMEDATALEN];	/* empty = free */
	int			failures;		/* in a row */
	int			skip;			/* evaluations, before the next attempt */
	char		error[MAX_ERROR];
} ImonBackoff;

/* The last result of a check, in the sampler. */
typedef struct ImonKept
{
	char		name[NAMEDATALEN];	/* empty = free */
	TimestampTz at;
	double		value;
	char		unit[MAX_KEPT_UNIT];	/* empty = none */
	char		message[MAX_KEPT_MESSAGE];	/* empty = none */
} ImonKept;

/* How the evaluation of a check has ended. */
typedef enum ImonOutcomeOfCheck
{
	CHECK_DONE,
	CHECK_FAILED,
	CHECK_CUT_OFF				/* by its time limit */
} ImonOutcomeOfCheck;

static ImonHealth *health = NULL;

/* The evaluation of the sampler, while it lasts, and when it began. */
static ImonEvaluation *evaluation = NULL;
static int64 evaluation_start;	/* ms */
static bool any_evaluated;		/* has it come to a check? */

/* Of the sampler; nobody else puts anything in. */
static ImonBackoff backoffs[IMON_MAX_STATES];
static ImonKept kept[IMON_MAX_STATES];

/* The first check for which there was no time; empty = there was for all. */
static char first_left_out[NAMEDATALEN];

/* The time limit of a check. */
static TimeoutId check_timeout = MAX_TIMEOUTS;
static volatile sig_atomic_t check_timed_out = false;

PG_FUNCTION_INFO_V1(imon_evaluate_checks_1_0);
PG_FUNCTION_INFO_V1(imon_health_cache_1_0);
PG_FUNCTION_INFO_V1(imon_probe_latency_1_0);
PG_FUNCTION_INFO_V1(imon_check_override_1_0);
PG_FUNCTION_INFO_V1(imon_weight_override_1_0);
PG_FUNCTION_INFO_V1(imon_scope_override_1_0);

static Size
health_size(void)
{
	return sizeof(ImonHealth);
}

static void
health_init(void *part, LWLock *lock)
{
	ImonHealth *shared = (ImonHealth *) part;

	shared->lock = lock;
	pg_atomic_init_u64(&shared->overflows, 0);
	pg_atomic_init_u64(&shared->hints_dropped, 0);
}

static const ImonShmemPart health_part = {
	.name = "infra_monitor health",
	.size = health_size,
	.init = health_init,
	.address = (void **) &health
};

void
imon_health_init(void)
{
	imon_shmem_register(&health_part);
}

uint64
imon_health_overflows(void)
{
	return pg_atomic_read_u64(&health->overflows);
}

uint64
imon_health_hints_dropped(void)
{
	return pg_atomic_read_u64(&health->hints_dropped);
}

/* Column "number" of the first row that SPI returned, as a string or NULL. */
static char *
spi_string(uint64 row, int number)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number);
}

/* The same as a number, NaN for NULL. */
static double
spi_number(uint64 row, int number)
{
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[row],
									  SPI_tuptable->tupdesc, number, &isnull);

	return isnull ? get_float8_nan() : DatumGetFloat8(value);
}

/*
 * The enabled checks, of one category or of all (NULL).  Needs SPI to be
 * connected; the result lives as long.
 */
static List *
configured_checks(const char *category)
{
	static const char *const query =
		"SELECT check_name, category, direction OPERATOR(pg_catalog.=) 'below',"
		" warning, critical, hold, essential, hint,"
		" EXISTS (SELECT FROM infra_monitor.health_scope_overrides o"
		"  WHERE o.check_name OPERATOR(pg_catalog.=) t.check_name)"
		" FROM infra_monitor.health_thresholds t WHERE enabled"
		" AND ($1 IS NULL OR category OPERATOR(pg_catalog.=) $1)"
		" ORDER BY category, check_name";
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {category ? CStringGetTextDatum(category) : (Datum) 0};
	const char *nulls = category ? " " : "n";
	List	   *checks = NIL;

	/* planned once: that takes longer than all else in a look at the pool */
	static SPIPlanPtr plan = NULL;

	if (plan == NULL)
	{
		SPIPlanPtr	prepared = SPI_prepare(query, lengthof(types), types);

		if (prepared == NULL || SPI_keepplan(prepared) != 0)
			elog(ERROR, "could not prepare to read the thresholds");
		plan = prepared;
	}
	if (SPI_execute_plan(plan, values, nulls, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the thresholds");
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		ImonCheck  *check = palloc(sizeof(ImonCheck));

		check->name = spi_string(row, 1);
		check->category = spi_string(row, 2);
		check->below = spi_string(row, 3)[0] == 't';
		check->warning = spi_number(row, 4);
		check->critical = spi_number(row, 5);
		check->hold = pg_strtoint32(spi_string(row, 6));
		check->essential = spi_string(row, 7)[0] == 't';
		check->hint = spi_string(row, 8);
		check->scoped = spi_string(row, 9)[0] == 't';
		checks = lappend(checks, check);
	}
	return checks;
}

/* Is this worse than the result? */
static bool
worse(const ImonCheck *check, ImonStatus status, double value,
	  const ImonResult *result)
{
	if (status != result->status)
		return status > result->status;
	return check->below ? value < result->value : value > result->value;
}

/*
 * Replaces the result of a check by that of its worst scope, if there is any,
 * and the thresholds by those of this scope.  One of which nothing is known is
 * left out.
 */
static void
call_scopes(ImonCheck *check, ImonResult *result)
{
	static const char *const query =
		"SELECT s.value, s.message, coalesce(o.warning, $2), coalesce(o.critical, $3)"
		" FROM infra_monitor.%s() s LEFT JOIN LATERAL ("
		"  SELECT * FROM infra_monitor.health_scope_overrides o"
		"  WHERE o.check_name OPERATOR(pg_catalog.=) $1"
		"   AND o.datname OPERATOR(pg_catalog.=) ANY (ARRAY['', s.datname])"
		"   AND o.usename OPERATOR(pg_catalog.=) ANY (ARRAY['', s.usename])"
		"  ORDER BY o.usename DESC, o.datname DESC LIMIT 1) o ON true"
		" ORDER BY s.datname, s.usename";
	Oid			types[3] = {TEXTOID, FLOAT8OID, FLOAT8OID};
	Datum		values[3];
	bool		unknown[3] = {false};
	char		nulls[3];
	ImonCheck	general = *check;
	bool		any = false;
	char	   *call = psprintf(query, quote_identifier(psprintf("check_%s_by_scope", check->name)));

	values[0] = CStringGetTextDatum(check->name);
	values[1] = imon_number_datum(check->warning, &unknown[1]);
	values[2] = imon_number_datum(check->critical, &unknown[2]);
	for (int i = 0; i < lengthof(nulls); i++)
		nulls[i] = unknown[i] ? 'n' : ' ';
	if (SPI_execute_with_args(call, lengthof(types), types, values, nulls, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the scopes of a health check");
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		ImonCheck	scope = general;
		double		value = spi_number(row, 1);
		ImonStatus	status;

		scope.warning = spi_number(row, 3);
		scope.critical = spi_number(row, 4);
		status = imon_status_of(&scope, value);
		if (status == STATUS_IS_UNKNOWN ||
			(any && !worse(check, status, value, result)))
			continue;
		any = true;
		*check = scope;
		result->status = status;
		result->value = value;
		result->message = spi_string(row, 2);
	}
}

/* Calls the function of a check and reads what it returned. */
static void
call_check(ImonCheck *check, ImonResult *result)
{
	char	   *call = psprintf("SELECT value, unit, message FROM infra_monitor.%s()",
								quote_identifier(psprintf("check_%s", check->name)));

	if (SPI_execute(call, true, 2) != SPI_OK_SELECT || SPI_processed != 1)
		ereport(ERROR,
				(errcode(ERRCODE_CARDINALITY_VIOLATION),
				 errmsg("health check \"%s\" returned no row or several", check->name)));
	result->value = spi_number(0, 1);
	result->unit = spi_string(0, 2);
	result->message = spi_string(0, 3);
	result->status = imon_status_of(check, result->value);
	if (check->scoped)
		call_scopes(check, result);
}

/* Timeout handler, in a signal handler: cancels the check. */
static void
end_check(void)
{
	check_timed_out = true;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
}

/* Gives what follows so many milliseconds. */
static void
start_clock(int limit)
{
	if (check_timeout == MAX_TIMEOUTS)
		check_timeout = RegisterTimeout(USER_TIMEOUT, end_check);
	check_timed_out = false;
	enable_timeout_after(check_timeout, limit);
}

/*
 * Ends the limit.  Returns true if it has been reached; then a cancel that was
 * caused by it, and came too late, is for nobody.
 */
static bool
stop_clock(void)
{
	if (check_timeout == MAX_TIMEOUTS)
		return false;
	disable_timeout(check_timeout, false);
	if (!check_timed_out)
		return false;
	check_timed_out = false;
	QueryCancelPending = false;
	return true;
}

/* Sets the result of a check of which nothing is known, for a reason. */
static void
set_unknown(ImonResult *result, char *message)
{
	result->status = STATUS_IS_UNKNOWN;
	result->value = get_float8_nan();
	result->unit = NULL;
	result->message = message;
}

/*
 * Evaluates a check in a subtransaction of its own, within a limit (ms, 0 =
 * none).  One that fails is unknown, with the error as its message; only a
 * cancel by somebody else goes on to the caller.
 */
static ImonOutcomeOfCheck
evaluate_check(ImonCheck *check, ImonResult *result, int limit)
{
	ImonContained contained;
	volatile ImonOutcomeOfCheck outcome = CHECK_FAILED;

	set_unknown(result, NULL);
	imon_begin_contained(&contained);
	PG_TRY();
	{
		if (limit > 0)
			start_clock(limit);
		call_check(check, result);
		if (limit > 0)
			(void) stop_clock();
		imon_end_contained(&contained);
		outcome = CHECK_DONE;
	}
	PG_CATCH();
	{
		bool		timed_out = limit > 0 && stop_clock();
		ErrorData  *error = imon_catch_contained(&contained);

		if (error->sqlerrcode != ERRCODE_QUERY_CANCELED)
			timed_out = false;
		else if (!timed_out)
			ReThrowError(error);
		if (timed_out)
			outcome = CHECK_CUT_OFF;
		set_unknown(result, timed_out ?
					psprintf("it took longer than %d ms", limit) :
					error->message);
	}
	PG_END_TRY();
	return outcome;
}

/* What is known of the failures of a check in this process, or NULL. */
static ImonBackoff *
find_backoff(const char *name)
{
	for (int i = 0; i < lengthof(backoffs); i++)
		if (strcmp(backoffs[i].name, name) == 0)
			return &backoffs[i];
	return NULL;
}

/* The longest time for which a check is left alone, in evaluations. */
static int
longest_skip(ImonOutcomeOfCheck outcome)
{
	if (outcome == CHECK_CUT_OFF)
		return Max(LONGEST_AFTER_CUT_OFF_MS / imon_health_interval - 1, 0);
	return Max(LONGEST_BACKOFF_MS / imon_health_interval, 1);
}

/*
 * Lets a check that has failed, or was cut off, alone for as many evaluations as
 * it deserves.
 */
static ImonBackoff *
note_failure(const char *name, ImonOutcomeOfCheck outcome, const char *error)
{
	ImonBackoff *backoff = find_backoff(name);

	if (backoff == NULL)
	{
		backoff = find_backoff("");
		if (backoff == NULL)
			return NULL;		/* more checks than we can remember */
		strlcpy(backoff->name, name, NAMEDATALEN);
		backoff->failures = 0;
	}
	backoff->skip = Min(1 << Min(backoff->failures, 20), longest_skip(outcome));
	backoff->failures++;
	strlcpy(backoff->error, error, pg_mbcliplen(error, strlen(error),
												MAX_ERROR - 1) + 1);
	return backoff;
}

/* An error, and when the next attempt is made. */
static char *
backoff_message(const ImonBackoff *backoff)
{
	TimestampTz next = evaluation->at +
		(backoff->skip + 1) * (TimestampTz) imon_health_interval * 1000;

	return psprintf("%s; next attempt at %s", backoff->error,
					timestamptz_to_str(next - next % USECS_PER_SEC));
}

/* How long all checks together may take, ms. */
static int
all_checks_limit(void)
{
	return Min(Min(imon_health_interval, imon_sample_interval) / 2,
			   ALL_CHECKS_MAX_MS);
}

int
imon_health_time_limit(void)
{
	return all_checks_limit() + REST_MS;
}

/* How much of that is left, ms. */
static int
time_left(void)
{
	return all_checks_limit() - (int) (imon_clock_ms() - evaluation_start);
}

/* The last result of a check, or NULL. */
static ImonKept *
find_kept(const char *name)
{
	for (int i = 0; i < lengthof(kept); i++)
		if (strcmp(kept[i].name, name) == 0)
			return &kept[i];
	return NULL;
}

/* Copies a string, or nothing for NULL, as far as there is room. */
static void
keep_string(char *to, const char *from, int size)
{
	int			length = from ? pg_mbcliplen(from, strlen(from), size - 1) : 0;

	if (length > 0)
		memcpy(to, from, length);
	to[length] = '\0';
}

/* Keeps a result for the next evaluation that has no time for its check. */
static void
keep_result(const char *name, const ImonResult *result)
{
	ImonKept   *last = find_kept(name);

	if (last == NULL)
		last = find_kept("");
	if (last == NULL)
		return;					/* more checks than we can remember */
	strlcpy(last->name, name, NAMEDATALEN);
	last->at = evaluation->at;
	last->value = result->value;
	keep_string(last->unit, result->unit, sizeof(last->unit));
	keep_string(last->message, result->message, sizeof(last->message));
}

/*
 * The result of a check for which there was no time: the last one, and that it
 * is.  It is no evaluation, and does not count for a hold.
 */
static void
recall_result(const ImonCheck *check, ImonResult *result)
{
	const ImonKept *last = find_kept(check->name);

	set_unknown(result, "not evaluated yet, the checks before it took too long");
	if (last)
	{
		result->value = last->value;
		result->unit = last->unit[0] ? pstrdup(last->unit) : NULL;
		result->message = psprintf("%s%sas of %s, the checks before it took too long since",
								   last->message, last->message[0] ? "; " : "",
								   timestamptz_to_str(last->at - last->at % USECS_PER_SEC));
	}
	imon_leave_check_out(evaluation, check, result);
}

/*
 * Evaluates a check for the sampler: within its limits, and not while it is let
 * alone after a failure.  Returns false, and no result, if there was no time for
 * it, or less than it may take and that was not enough.
 */
static bool
evaluate_for_sampler(ImonCheck *check, ImonResult *result)
{
	ImonBackoff *backoff = find_backoff(check->name);
	int			limit = Min(CHECK_TIMEOUT_MS, all_checks_limit());
	int			left = time_left();
	bool		first = !any_evaluated;
	ImonOutcomeOfCheck outcome;

	if (backoff && backoff->skip > 0)
	{
		backoff->skip--;
		set_unknown(result, backoff_message(backoff));
		return true;
	}
	if (left <= 0)
		return false;
	any_evaluated = true;
	outcome = evaluate_check(check, result, Min(left, limit));
	if (outcome == CHECK_DONE)
	{
		if (backoff)
			backoff->name[0] = '\0';
		return true;
	}
	if (outcome == CHECK_CUT_OFF && left < limit && !first)
		return false;
	backoff = note_failure(check->name, outcome, result->message);
	if (backoff)
		result->message = backoff_message(backoff);
	return true;
}

/*
 * The same, and advances its state by the result.  One that is left out is still
 * there.
 */
static void
advance_for_sampler(ImonCheck *check, ImonResult *result)
{
	if (evaluate_for_sampler(check, result))
	{
		imon_advance_check(evaluation, check, result);
		keep_result(check->name, result);
		return;
	}
	if (first_left_out[0] == '\0')
		strlcpy(first_left_out, check->name, NAMEDATALEN);
	recall_result(check, result);
}

/*
 * The checks in the order in which the sampler evaluates them: from the first
 * one on for which there was no time in the last evaluation.
 */
static List *
in_turn(List *checks)
{
	int			first = 0;
	List	   *turned;

	for (int i = 0; i < list_length(checks); i++)
		if (strcmp(((ImonCheck *) list_nth(checks, i))->name, first_left_out) == 0)
			first = i;
	first_left_out[0] = '\0';
	turned = list_copy_tail(checks, first);
	return list_concat(turned, list_truncate(checks, first));
}

/* Puts an evaluated check into the result. */
static void
put_check(ReturnSetInfo *rsinfo, const ImonCheck *check, const ImonResult *result)
{
	Datum		values[CHECK_COLUMNS];
	bool		nulls[CHECK_COLUMNS] = {false};
	int			i = 0;

	values[i++] = CStringGetTextDatum(check->name);
	values[i++] = CStringGetTextDatum(check->category);
	values[i++] = CStringGetTextDatum(imon_status_name(check->name, result->status));
	values[i] = imon_number_datum(result->value, &nulls[i]);
	i++;
	values[i] = imon_string_datum(result->unit, &nulls[i]);
	i++;
	values[i] = imon_number_datum(check->warning, &nulls[i]);
	i++;
	values[i] = imon_number_datum(check->critical, &nulls[i]);
	i++;
	values[i] = imon_string_datum(result->message, &nulls[i]);
	i++;
	values[i] = imon_string_datum(check->hint, &nulls[i]);
	i++;
	values[i++] = TimestampTzGetDatum(result->since);
	values[i++] = BoolGetDatum(check->essential);
	Assert(i == lengthof(values));
	imon_put_row(rsinfo, values, nulls);
}

/*
 * SQL: evaluate_checks(category), evaluates now: name, category, status,
 * value, unit, warning, critical, message, hint, since, essential.
 */
Datum
imon_evaluate_checks_1_0(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo;
	char	   *category = NULL;
	List	   *checks;
	ListCell   *cell;

	imon_require_arguments(fcinfo, 1);
	if (!PG_ARGISNULL(0))
		category = text_to_cstring(PG_GETARG_TEXT_PP(0));
	rsinfo = imon_begin_rows(fcinfo, CHECK_COLUMNS);
	SPI_connect();
	checks = configured_checks(category);
	foreach(cell, evaluation ? in_turn(checks) : checks)
	{
		ImonCheck  *check = (ImonCheck *) lfirst(cell);
		ImonResult	result;

		if (evaluation)
			advance_for_sampler(check, &result);
		else
		{
			(void) evaluate_check(check, &result, 0);
			imon_find_since(check->name, &result);
		}
		put_check(rsinfo, check, &result);
	}
	SPI_finish();
	return (Datum) 0;
}

const char *
imon_worst_status(const char *category, ImonKnownValue known, const void *arg)
{
	ImonStatus	worst = STATUS_IS_OK;
	ListCell   *cell;

	SPI_connect();
	foreach(cell, configured_checks(category))
	{
		ImonCheck  *check = (ImonCheck *) lfirst(cell);
		ImonResult	result;

		if (!check->scoped && known(check->name, arg, &result.value))
			result.status = imon_status_of(check, result.value);
		else if (find_backoff(check->name))
			continue;
		else
			(void) evaluate_check(check, &result, 0);
		if (result.status != STATUS_IS_UNKNOWN)
			worst = Max(worst, result.status);
	}
	SPI_finish();
	return imon_status_name("", worst);
}

/* SQL: probe_latency(), time of a trivial query, ms. */
Datum
imon_probe_latency_1_0(PG_FUNCTION_ARGS)
{
	int64		start;
	int64		duration;

	SPI_connect();
	start = imon_clock_ns();
	if (SPI_execute("SELECT 1", true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not execute a trivial query");
	duration = imon_clock_ns() - start;
	SPI_finish();
	PG_RETURN_FLOAT8(duration / 1e6);
}

/* Stores a document; one that is too large leaves the old one and is counted. */
static void
store_document(const char *document, TimestampTz at)
{
	Size		length = strlen(document);

	if (length > CACHE_SIZE)
	{
		pg_atomic_fetch_add_u64(&health->overflows, 1);
		return;
	}
	LWLockAcquire(health->lock, LW_EXCLUSIVE);
	memcpy(health->document, document, length);
	health->length = length;
	health->encoding = GetDatabaseEncoding();
	health->evaluated_at = at;
	LWLockRelease(health->lock);
}

/*
 * A document as text.  If it is too large for the cache, it is shown without
 * hints, which stand in health_thresholds, too.  Needs SPI to be connected.
 */
static char *
document_text(Datum document)
{
	static const char *const without_hints =
		"SELECT $1 OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object('checks',"
		" (SELECT pg_catalog.jsonb_agg(c OPERATOR(pg_catalog.||) '{\"hint\": null}')"
		" FROM pg_catalog.jsonb_array_elements($1 OPERATOR(pg_catalog.->) 'checks') c))";
	Oid			types[1] = {JSONBOID};
	char	   *text = DatumGetCString(DirectFunctionCall1(jsonb_out, document));

	text = imon_convert(text, GetDatabaseEncoding());

	if (strlen(text) <= CACHE_SIZE)
		return text;

	pg_atomic_fetch_add_u64(&health->hints_dropped, 1);
	if (SPI_execute_with_args(without_hints, 1, types, &document, NULL, true, 1) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "could not leave out the hints");
	return imon_convert(spi_string(0, 1), GetDatabaseEncoding());
}

/*
 * Evaluates all checks, and advances the states by them.  Returns the document
 * as text.  Needs SPI to be connected.
 */
static char *
evaluate_document(void)
{
	static const char *const query =
		"SELECT d, d OPERATOR(pg_catalog.->>) 'status',"
		" (d OPERATOR(pg_catalog.->>) 'score')::pg_catalog.float8"
		" FROM infra_monitor.evaluate_health() d";
	bool		isnull;
	Datum		document;

	evaluation_start = imon_clock_ms();
	any_evaluated = false;
	if (SPI_execute(query, true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not evaluate the health checks");
	imon_advance_overall(evaluation, imon_status_named(spi_string(0, 2)),
						 spi_number(0, 3));
	document = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	return document_text(document);
}

void
imon_evaluate_health(void)
{
	ImonEvaluation *begun = imon_begin_health_evaluation();
	char	   *document;

	SPI_connect();
	evaluation = begun;
	PG_TRY();
	{
		document = evaluate_document();
	}
	PG_FINALLY();
	{
		evaluation = NULL;
	}
	PG_END_TRY();
	store_document(document, begun->at);
	SPI_finish();
	imon_finish_evaluation(begun);
}

char *
imon_health_document(int *encoding)
{
	char	   *copy = palloc(CACHE_SIZE + 1);
	bool		any;

	LWLockAcquire(health->lock, LW_SHARED);
	memcpy(copy, health->document, health->length);
	copy[health->length] = '\0';
	*encoding = health->encoding;
	any = health->evaluated_at != 0;
	LWLockRelease(health->lock);
	return any ? copy : NULL;
}

/*
 * SQL: health_cache(), the last document and its time; no row if there was
 * none, or if the library was not preloaded.
 */
Datum
imon_health_cache_1_0(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo;
	char	   *copy;
	Datum		values[2];
	bool		nulls[2] = {false, false};
	TimestampTz at;
	int			encoding;

	rsinfo = imon_begin_rows(fcinfo, lengthof(values));
	if (health == NULL)
		return (Datum) 0;

	copy = palloc(CACHE_SIZE + 1);
	LWLockAcquire(health->lock, LW_SHARED);
	memcpy(copy, health->document, health->length);
	copy[health->length] = '\0';
	encoding = health->encoding;
	at = health->evaluated_at;
	LWLockRelease(health->lock);
	if (at == 0)
		return (Datum) 0;

	copy = imon_convert(copy, encoding);
	values[0] = DirectFunctionCall1(jsonb_in, CStringGetDatum(copy));
	values[1] = TimestampTzGetDatum(at);
	imon_put_row(rsinfo, values, nulls);
	return (Datum) 0;
}

/*
 * Does the query, with $1 a name, return a row?  Asked with the rights of the
 * owner of the table: who may insert need not be one who may call our functions.
 */
static bool
name_exists(const TriggerData *trigger, const char *query, const char *name)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(name)};
	Oid			user;
	int			security_context;
	bool		found;

	GetUserIdAndSecContext(&user, &security_context);
	SetUserIdAndSecContext(trigger->tg_relation->rd_rel->relowner,
						   security_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	SPI_connect();
	if (SPI_execute_with_args(query, 1, types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read the defaults of the health checks");
	found = SPI_processed > 0;
	SPI_finish();
	SetUserIdAndSecContext(user, security_context);
	return found;
}

/*
 * The row that a trigger was called for, and its column as a string, NULL if the
 * row has none.  Raises an error unless called by such a trigger.
 */
static HeapTuple
trigger_row(FunctionCallInfo fcinfo, const char *column, char **name)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	HeapTuple	row;
	TupleDesc	tupdesc;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("must be called by a BEFORE INSERT OR UPDATE trigger for each row")));

	row = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ?
		trigger->tg_newtuple : trigger->tg_trigtuple;
	tupdesc = RelationGetDescr(trigger->tg_relation);
	*name = SPI_getvalue(row, tupdesc, SPI_fnumber(tupdesc, column));
	return row;
}

/*
 * SQL: trigger of health_threshold_overrides, refuses the name of a check that
 * does not exist.  The primary key refuses NULL.
 */
Datum
imon_check_override_1_0(PG_FUNCTION_ARGS)
{
	char	   *name;
	HeapTuple	row = trigger_row(fcinfo, "check_name", &name);

	if (name &&
		!name_exists((TriggerData *) fcinfo->context,
					 "SELECT FROM infra_monitor.check_defaults()"
					 " WHERE check_name OPERATOR(pg_catalog.=) $1", name))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("health check \"%s\" does not exist", name),
				 errhint("See infra_monitor.health_thresholds for the names of all checks.")));
	return PointerGetDatum(row);
}

/*
 * SQL: trigger of health_weight_overrides, refuses a category that does not
 * exist.
 */
Datum
imon_weight_override_1_0(PG_FUNCTION_ARGS)
{
	char	   *name;
	HeapTuple	row = trigger_row(fcinfo, "category", &name);

	if (name &&
		!name_exists((TriggerData *) fcinfo->context,
					 "SELECT FROM infra_monitor.weight_defaults()"
					 " WHERE category OPERATOR(pg_catalog.=) $1", name))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("category \"%s\" of health checks does not exist", name),
				 errhint("See infra_monitor.health_weights for the names of all categories.")));
	return PointerGetDatum(row);
}

/*
 * SQL: trigger of health_scope_overrides, refuses a check that has no scopes.
 */
Datum
imon_scope_override_1_0(PG_FUNCTION_ARGS)
{
	char	   *name;
	HeapTuple	row = trigger_row(fcinfo, "check_name", &name);

	if (name &&
		!name_exists((TriggerData *) fcinfo->context,
					 "SELECT FROM pg_catalog.pg_proc p"
					 " JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace"
					 " WHERE n.nspname OPERATOR(pg_catalog.=) 'infra_monitor'"
					 "  AND p.proname OPERATOR(pg_catalog.=)"
					 "   pg_catalog.concat('check_', $1, '_by_scope')", name))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("health check \"%s\" has no scopes", name),
				 errhint("Use infra_monitor.health_threshold_overrides for its thresholds.")));
	return PointerGetDatum(row);
}
