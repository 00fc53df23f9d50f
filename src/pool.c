/*-------------------------------------------------------------------------
 *
 * pool.c
 *	  How close the server is to running out of connections.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "blame.h"
#include "compat.h"
#include "concurrency.h"
#include "connection_limits.h"
#include "fmgr.h"
#include "health.h"
#include "pool.h"
#include "repeated.h"
#include "rows.h"
#include "shmem.h"
#include "slow_log.h"
#include "statements.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/timestamp.h"
#include "waits.h"

#define PRESSURE_COLUMNS 20
#define COUNTS_COLUMNS 20

PG_FUNCTION_INFO_V1(imon_pool_counts_1_0);
PG_FUNCTION_INFO_V1(imon_pool_pressure_1_0);
PG_FUNCTION_INFO_V1(imon_pool_status_1_0);
PG_FUNCTION_INFO_V1(imon_rejected_recently_1_0);
PG_FUNCTION_INFO_V1(imon_reset_1_0);

void
imon_read_pool(const ImonSessions *sessions, ImonPool *pool)
{
	int			usable;
	int			taken;

	imon_connection_counts(&pool->counts);
	imon_count_activity(sessions, &pool->activity);

	pool->max_connections = MaxConnections;
	pool->reserved = imon_reserved_connections();
	usable = pool->max_connections - pool->reserved;
	taken = pool->counts.established + pool->counts.authenticating;
	pool->available = Max(usable - taken, 0);

	/* the server refuses to start with no usable slot, but be careful */
	pool->used_ratio = usable > 0 ? (double) taken / usable : 1.0;
}

/* The time since a moment as an interval; NULL for a moment of zero. */
static Datum
age_datum(TimestampTz now, TimestampTz since, bool *isnull)
{
	*isnull = (since == 0);
	if (*isnull)
		return (Datum) 0;
	return DirectFunctionCall2(timestamp_mi,
							   TimestampTzGetDatum(Max(now, since)),
							   TimestampTzGetDatum(since));
}

/*
 * Fills in the columns of pool_pressure from max_connections on.  Returns
 * their number.
 */
static int
fill_pool(const ImonPool *pool, TimestampTz now, Datum *values, bool *nulls)
{
	const ImonConnectionCounts *counts = &pool->counts;
	const ImonActivity *activity = &pool->activity;
	int			i = 0;

	values[i++] = Int32GetDatum(pool->max_connections);
	values[i++] = Int32GetDatum(pool->reserved);
	values[i++] = Int32GetDatum(counts->established);
	values[i++] = Int32GetDatum(pool->available);
	values[i++] = Float8GetDatum(pool->used_ratio);
	values[i++] = Int32GetDatum(activity->active);
	values[i++] = Int32GetDatum(activity->idle);
	values[i++] = Int32GetDatum(activity->idle_in_transaction);
	values[i++] = Int32GetDatum(activity->waiting);
	values[i++] = Int32GetDatum(counts->peak);
	values[i++] = TimestampTzGetDatum(counts->peak_at);
	values[i++] = Int64GetDatum((int64) counts->connects);
	values[i++] = Int64GetDatum((int64) counts->disconnects);
	values[i++] = Int64GetDatum((int64) counts->rejected);
	values[i++] = Int64GetDatum((int64) counts->auth_failures);
	values[i] = age_datum(now, activity->oldest_transaction, &nulls[i]);
	i++;
	values[i] = age_datum(now, activity->oldest_idle_in_transaction, &nulls[i]);
	i++;
	values[i++] = TimestampTzGetDatum(counts->stats_reset);
	values[i++] = Int32GetDatum(counts->authenticating);
	return i;
}

/*
 * SQL: pool_counts, one row: the columns of pool_pressure without its status,
 * then the longest lock wait.
 */
Datum
imon_pool_counts_1_0(PG_FUNCTION_ARGS)
{
	TimestampTz now = GetCurrentTimestamp();
	ImonSessions sessions;
	ImonPool	pool;
	Datum		values[COUNTS_COLUMNS];
	bool		nulls[COUNTS_COLUMNS] = {false};
	int			i;

	imon_shmem_require();
	imon_look_at_sessions(&sessions);
	imon_read_pool(&sessions, &pool);

	i = fill_pool(&pool, now, values, nulls);
	values[i] = age_datum(now, pool.activity.oldest_lock_wait, &nulls[i]);
	i++;
	Assert(i == lengthof(values));

	PG_RETURN_DATUM(imon_one_row(fcinfo, lengthof(values), values, nulls));
}

/* A look at the pool, and when it was. */
typedef struct ImonPoolLook
{
	TimestampTz at;
	ImonPool	pool;
	double		role_limit;		/* how near the nearest one is */
	double		database_limit;
} ImonPoolLook;

/* Seconds since a moment, 0 for a moment of zero. */
static double
seconds_since(TimestampTz now, TimestampTz since)
{
	return since == 0 ? 0 : (double) Max(now - since, 0) / USECS_PER_SEC;
}

/*
 * Values of pool checks that follow from a look at the pool.  These are the
 * values that their functions return, see health.sql, without the messages.
 */
static bool
known_value(const char *check, const void *arg, double *value)
{
	const ImonPoolLook *look = arg;
	const ImonActivity *activity = &look->pool.activity;

	if (strcmp(check, "connections_used") == 0)
		*value = look->pool.used_ratio;
	else if (strcmp(check, "connections_rejected") == 0)
		*value = (double) imon_rejected_recently();
	else if (strcmp(check, "idle_in_transaction") == 0)
		*value = seconds_since(look->at, activity->oldest_idle_in_transaction);
	else if (strcmp(check, "lock_waits") == 0)
		*value = seconds_since(look->at, activity->oldest_lock_wait);
	else if (strcmp(check, "role_limit") == 0)
		*value = look->role_limit;
	else if (strcmp(check, "database_limit") == 0)
		*value = look->database_limit;
	else if (strcmp(check, "exhaustion_eta") == 0 ||
			 strcmp(check, "connection_storm") == 0 ||
			 strcmp(check, "connection_leak") == 0 ||
			 strcmp(check, "deadlocks") == 0 ||
			 strcmp(check, "auth_failures") == 0)
		*value = get_float8_nan();	/* not of this moment: left to health() */
	else
		return false;
	return true;
}

/* Looks at the pool now, and returns the worst status of the pool checks. */
static const char *
look_at_pool(ImonPoolLook *look)
{
	ImonSessions sessions;

	imon_shmem_require();
	look->at = GetCurrentTimestamp();
	imon_look_at_sessions(&sessions);
	imon_read_pool(&sessions, &look->pool);
	imon_nearest_limits(&sessions, &look->role_limit, &look->database_limit);
	return imon_worst_status("pool", known_value, look);
}

/* SQL: pool_pressure, one row: the columns of the view. */
Datum
imon_pool_pressure_1_0(PG_FUNCTION_ARGS)
{
	ImonPoolLook look;
	Datum		values[PRESSURE_COLUMNS];
	bool		nulls[PRESSURE_COLUMNS] = {false};
	int			i = 0;

	values[i++] = CStringGetTextDatum(look_at_pool(&look));
	i += fill_pool(&look.pool, look.at, values + i, nulls + i);
	Assert(i == lengthof(values));

	PG_RETURN_DATUM(imon_one_row(fcinfo, lengthof(values), values, nulls));
}

/* SQL: rejected_recently, refusals in the last five minutes. */
Datum
imon_rejected_recently_1_0(PG_FUNCTION_ARGS)
{
	imon_shmem_require();
	PG_RETURN_INT64((int64) imon_rejected_recently());
}

/* SQL: pool_status, the worst status of the pool checks now. */
Datum
imon_pool_status_1_0(PG_FUNCTION_ARGS)
{
	ImonPoolLook look;

	PG_RETURN_TEXT_P(cstring_to_text(look_at_pool(&look)));
}

/*
 * What can be reset.  The last of them changes the epoch: nothing from before
 * it is stored in the next one.
 */
static const struct
{
	const char *what;
	void		(*reset) (void);
}			resets[] =

{
	{"statements", imon_statements_reset},
	{"statements", imon_repeated_reset},
	{"slow_queries", imon_slow_log_reset},
	{"pool", imon_blame_reset},
	{"pool", imon_waits_reset},
	{"pool", imon_concurrency_reset},
	{"pool", imon_connections_reset},
};

/* SQL: reset(what). */
Datum
imon_reset_1_0(PG_FUNCTION_ARGS)
{
	char	   *what;
	bool		found = false;

	imon_require_arguments(fcinfo, 1);
	imon_shmem_require();
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	what = text_to_cstring(PG_GETARG_TEXT_PP(0));
	for (int i = 0; i < lengthof(resets); i++)
	{
		if (strcmp(what, "all") != 0 && strcmp(what, resets[i].what) != 0)
			continue;
		resets[i].reset();
		found = true;
	}
	if (!found)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cannot reset \"%s\"", what),
				 errhint("Valid values are \"statements\", \"slow_queries\", \"pool\" and \"all\".")));
	PG_RETURN_VOID();
}
