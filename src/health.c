/*-------------------------------------------------------------------------
 *
 * health.c
 *	  Evaluates health checks and keeps the last result.
 *
 * A check is a function infra_monitor.check_<name>() that returns a value, its
 * unit and a message, and a row of infra_monitor.check_defaults().  This file
 * knows no check by name: it calls them, compares the values with the
 * thresholds, and remembers since when each has its status.
 *
 * The states and the cached document are written by the sampler only, under
 * the part's lock.  Whoever else evaluates reads the states and changes none.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "health.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "portability/instr_time.h"
#include "rows.h"
#include "shmem.h"
#include "texts.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#define MAX_CHECKS 128
#define CACHE_SIZE (64 * 1024)
#define CHECK_COLUMNS 11

typedef enum ImonStatus
{
	STATUS_IS_OK,
	STATUS_IS_UNKNOWN,
	STATUS_IS_WARNING,
	STATUS_IS_CRITICAL
} ImonStatus;

static const char *const status_names[] = {
	"ok", "unknown", "warning", "critical"
};

/* What the sampler remembers of a check between two evaluations. */
typedef struct ImonCheckState
{
	char		name[NAMEDATALEN];	/* empty = free */
	ImonStatus	status;
	TimestampTz since;
	ImonStatus	next_status;	/* seen in the last evaluations, not yet held */
	int			next_count;		/* how many */
	TimestampTz next_since;
} ImonCheckState;

typedef struct ImonHealth
{
	LWLock	   *lock;			/* guards all but "overflows" */
	ImonCheckState states[MAX_CHECKS];
	TimestampTz evaluated_at;	/* 0 = never */
	Size		length;			/* of the document */
	char		document[CACHE_SIZE];	/* jsonb as text, valid in "encoding" */
	int			encoding;
	pg_atomic_uint64 overflows;
} ImonHealth;

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
} ImonCheck;

/* What its function returned. */
typedef struct ImonResult
{
	ImonStatus	status;
	double		value;			/* NaN = not known */
	char	   *unit;
	char	   *message;
	TimestampTz since;
} ImonResult;

static ImonHealth *health = NULL;

/* Does this evaluation advance the states? */
static bool advancing = false;

PG_FUNCTION_INFO_V1(imon_evaluate_checks_1_0);
PG_FUNCTION_INFO_V1(imon_health_cache_1_0);
PG_FUNCTION_INFO_V1(imon_probe_latency_1_0);
PG_FUNCTION_INFO_V1(imon_check_override_1_0);

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
		" warning, critical, hold, essential, hint"
		" FROM infra_monitor.health_thresholds WHERE enabled"
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
		checks = lappend(checks, check);
	}
	return checks;
}

/* Is the value at or beyond the threshold? */
static bool
beyond(const ImonCheck *check, double value, double threshold)
{
	if (isnan(threshold))
		return false;
	return check->below ? value <= threshold : value >= threshold;
}

/* The status of a value; NaN is not known. */
static ImonStatus
status_of(const ImonCheck *check, double value)
{
	if (isnan(value))
		return STATUS_IS_UNKNOWN;
	if (beyond(check, value, check->critical))
		return STATUS_IS_CRITICAL;
	if (beyond(check, value, check->warning))
		return STATUS_IS_WARNING;
	return STATUS_IS_OK;
}

/* Calls the function of a check and reads what it returned. */
static void
call_check(const ImonCheck *check, ImonResult *result)
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
	result->status = status_of(check, result->value);
}

/*
 * Evaluates a check in a subtransaction of its own.  One that fails is
 * unknown, with the error as its message; only a cancel goes on to the caller.
 */
static void
evaluate_check(const ImonCheck *check, ImonResult *result)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	result->status = STATUS_IS_UNKNOWN;
	result->value = get_float8_nan();
	result->unit = NULL;
	result->message = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		call_check(check, result);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			PG_RE_THROW();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		result->message = error->message;
	}
	PG_END_TRY();
}

/* The remembered state of a check, or NULL.  The lock must be held. */
static ImonCheckState *
find_state(const char *name)
{
	for (int i = 0; i < MAX_CHECKS; i++)
		if (strcmp(health->states[i].name, name) == 0)
			return &health->states[i];
	return NULL;
}

/*
 * Advances the state of a check by a result.  A new status counts once it was
 * seen in "hold" evaluations in a row, and then since the first of them.  The
 * lock must be held exclusively.
 */
static void
advance_state(const ImonCheck *check, const ImonResult *result, TimestampTz now)
{
	ImonCheckState *state = find_state(check->name);

	if (state == NULL)
	{
		state = find_state("");
		if (state == NULL)
			return;				/* more checks than we can remember */
		strlcpy(state->name, check->name, NAMEDATALEN);
		state->status = result->status;
		state->since = now;
		state->next_count = 0;
		return;
	}

	if (result->status == state->status)
	{
		state->next_count = 0;
		return;
	}
	if (state->next_count == 0 || state->next_status != result->status)
	{
		state->next_status = result->status;
		state->next_count = 0;
		state->next_since = now;
	}
	if (++state->next_count >= check->hold)
	{
		state->status = result->status;
		state->since = state->next_since;
		state->next_count = 0;
	}
}

/*
 * Gives a result its time and, where a change is not yet held, the status it
 * still has.
 */
static void
apply_state(const ImonCheck *check, ImonResult *result, TimestampTz now)
{
	const ImonCheckState *state;

	result->since = now;
	if (health == NULL)
		return;

	LWLockAcquire(health->lock, advancing ? LW_EXCLUSIVE : LW_SHARED);
	if (advancing)
		advance_state(check, result, now);
	state = find_state(check->name);
	if (state != NULL)
	{
		if (advancing)
			result->status = state->status;
		if (result->status == state->status)
			result->since = state->since;
	}
	LWLockRelease(health->lock);
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
	values[i++] = CStringGetTextDatum(status_names[result->status]);
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
	TimestampTz now = GetCurrentTimestamp();
	ListCell   *cell;

	imon_require_arguments(fcinfo, 1);
	if (!PG_ARGISNULL(0))
		category = text_to_cstring(PG_GETARG_TEXT_PP(0));
	rsinfo = imon_begin_rows(fcinfo, CHECK_COLUMNS);
	SPI_connect();
	foreach(cell, configured_checks(category))
	{
		ImonCheck  *check = (ImonCheck *) lfirst(cell);
		ImonResult	result;

		evaluate_check(check, &result);
		apply_state(check, &result, now);
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
		const ImonCheck *check = (const ImonCheck *) lfirst(cell);
		ImonResult	result;

		if (known(check->name, arg, &result.value))
			result.status = status_of(check, result.value);
		else
			evaluate_check(check, &result);
		if (result.status != STATUS_IS_UNKNOWN)
			worst = Max(worst, result.status);
	}
	SPI_finish();
	return status_names[worst];
}

/* SQL: probe_latency(), time of a trivial query, ms. */
Datum
imon_probe_latency_1_0(PG_FUNCTION_ARGS)
{
	instr_time	start;
	instr_time	duration;

	SPI_connect();
	INSTR_TIME_SET_CURRENT(start);
	if (SPI_execute("SELECT 1", true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not execute a trivial query");
	INSTR_TIME_SET_CURRENT(duration);
	INSTR_TIME_SUBTRACT(duration, start);
	SPI_finish();
	PG_RETURN_FLOAT8(INSTR_TIME_GET_MILLISEC(duration));
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

void
imon_evaluate_health(void)
{
	TimestampTz now = GetCurrentTimestamp();

	SPI_connect();
	advancing = true;
	PG_TRY();
	{
		if (SPI_execute("SELECT infra_monitor.evaluate_health()", true, 1) != SPI_OK_SELECT ||
			SPI_processed != 1)
			elog(ERROR, "could not evaluate the health checks");
		store_document(imon_convert(spi_string(0, 1), GetDatabaseEncoding()), now);
	}
	PG_FINALLY();
	{
		advancing = false;
	}
	PG_END_TRY();
	SPI_finish();
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
 * SQL: trigger of health_threshold_overrides, refuses the name of a check that
 * does not exist.
 */
Datum
imon_check_override_1_0(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	HeapTuple	row;
	TupleDesc	tupdesc;
	char	   *name;
	Oid			types[1] = {TEXTOID};
	Datum		values[1];
	Oid			user;
	int			security_context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("must be called by a BEFORE INSERT OR UPDATE trigger for each row")));

	row = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ?
		trigger->tg_newtuple : trigger->tg_trigtuple;
	tupdesc = RelationGetDescr(trigger->tg_relation);
	name = SPI_getvalue(row, tupdesc, SPI_fnumber(tupdesc, "check_name"));
	if (name == NULL)
		return PointerGetDatum(row);	/* the primary key refuses it */

	/* who may insert need not be one who may call our functions */
	GetUserIdAndSecContext(&user, &security_context);
	SetUserIdAndSecContext(trigger->tg_relation->rd_rel->relowner,
						   security_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	SPI_connect();
	values[0] = CStringGetTextDatum(name);
	if (SPI_execute_with_args("SELECT FROM infra_monitor.check_defaults()"
							  " WHERE check_name OPERATOR(pg_catalog.=) $1",
							  1, types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read the defaults of the health checks");
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("health check \"%s\" does not exist", name),
				 errhint("See infra_monitor.health_thresholds for the names of all checks.")));
	SPI_finish();
	SetUserIdAndSecContext(user, security_context);
	return PointerGetDatum(row);
}
