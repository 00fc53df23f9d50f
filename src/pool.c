/*-------------------------------------------------------------------------
 *
 * pool.c
 *	  How close the server is to running out of connections.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "fmgr.h"
#include "health.h"
#include "pool.h"
#include "repeated.h"
#include "rows.h"
#include "shmem.h"
#include "statements.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(imon_pool_counts_1_0);
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
 * SQL: pool_counts, one row: the columns of pool_pressure without its status,
 * then the longest lock wait.
 */
Datum
imon_pool_counts_1_0(PG_FUNCTION_ARGS)
{
	TimestampTz now = GetCurrentTimestamp();
	ImonSessions sessions;
	ImonPool	pool;
	Datum		values[20];
	bool		nulls[20] = {false};
	int			i = 0;

	imon_shmem_require();
	imon_look_at_sessions(&sessions);
	imon_read_pool(&sessions, &pool);

	values[i++] = Int32GetDatum(pool.max_connections);
	values[i++] = Int32GetDatum(pool.reserved);
	values[i++] = Int32GetDatum(pool.counts.established);
	values[i++] = Int32GetDatum(pool.available);
	values[i++] = Float8GetDatum(pool.used_ratio);
	values[i++] = Int32GetDatum(pool.activity.active);
	values[i++] = Int32GetDatum(pool.activity.idle);
	values[i++] = Int32GetDatum(pool.activity.idle_in_transaction);
	values[i++] = Int32GetDatum(pool.activity.waiting);
	values[i++] = Int32GetDatum(pool.counts.peak);
	values[i++] = TimestampTzGetDatum(pool.counts.peak_at);
	values[i++] = Int64GetDatum((int64) pool.counts.connects);
	values[i++] = Int64GetDatum((int64) pool.counts.disconnects);
	values[i++] = Int64GetDatum((int64) pool.counts.rejected);
	values[i++] = Int64GetDatum((int64) pool.counts.auth_failures);
	values[i] = age_datum(now, pool.activity.oldest_transaction, &nulls[i]);
	i++;
	values[i] = age_datum(now, pool.activity.oldest_idle_in_transaction,
						  &nulls[i]);
	i++;
	values[i++] = TimestampTzGetDatum(pool.counts.stats_reset);
	values[i++] = Int32GetDatum(pool.counts.authenticating);
	values[i] = age_datum(now, pool.activity.oldest_lock_wait, &nulls[i]);
	i++;
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
	imon_shmem_require();
	PG_RETURN_TEXT_P(cstring_to_text(imon_worst_status("pool")));
}

/* SQL: reset(what). */
Datum
imon_reset_1_0(PG_FUNCTION_ARGS)
{
	char	   *what;
	bool		all;
	bool		pool;
	bool		statements;

	imon_require_arguments(fcinfo, 1);
	imon_shmem_require();
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	what = text_to_cstring(PG_GETARG_TEXT_PP(0));
	all = strcmp(what, "all") == 0;
	pool = all || strcmp(what, "pool") == 0;
	statements = all || strcmp(what, "statements") == 0;
	if (!pool && !statements)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cannot reset \"%s\"", what),
				 errhint("Valid values are \"statements\", \"pool\" and \"all\".")));
	if (pool)
		imon_connections_reset();
	if (statements)
	{
		imon_statements_reset();
		imon_repeated_reset();
	}
	PG_RETURN_VOID();
}
