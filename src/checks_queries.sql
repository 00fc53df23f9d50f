
--
-- checks_queries.sql: health checks of category queries: statements and transactions of clients
--
-- Their defaults are in check_defaults(), health.sql.  All are for pg_monitor.
--

CREATE FUNCTION infra_monitor.check_long_transactions(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(extract(epoch FROM oldest_transaction), 0)::float8, 'seconds',
	CASE WHEN oldest_transaction IS NULL THEN 'no transaction is open'
		ELSE format('the oldest transaction has been open for %s', date_trunc('second', oldest_transaction)) END
FROM infra_monitor.pool_counts()
$$;
COMMENT ON FUNCTION infra_monitor.check_long_transactions() IS
'health check: age of the oldest transaction of a client backend, seconds';

CREATE FUNCTION infra_monitor.check_long_queries(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(max(s.seconds), 0), 'seconds',
	CASE WHEN max(s.seconds) IS NULL THEN 'no query is running'
		ELSE format('the longest query has been running for %s', make_interval(secs => floor(max(s.seconds)))) END
FROM (SELECT greatest(extract(epoch FROM clock_timestamp() - query_start), 0)::float8 AS seconds
	FROM infra_monitor.sessions()
	WHERE state = 'active' AND pid <> pg_backend_pid()) s
$$;
COMMENT ON FUNCTION infra_monitor.check_long_queries() IS
'health check: time that a client has been waiting for a query, of the longest, seconds';

CREATE FUNCTION infra_monitor.check_slow_query_rate(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT g / 5.0::float8, 'per minute',
	CASE WHEN g IS NULL THEN 'not known: the sampler has just begun to count'
		ELSE format('executions slower than infra_monitor.slow_query_threshold in the last 5 minutes: %s', g) END
FROM infra_monitor.recent_growth('slow_queries', infra_monitor.slow_queries_logged()) g
$$;
COMMENT ON FUNCTION infra_monitor.check_slow_query_rate() IS
'health check: executions slower than infra_monitor.slow_query_threshold, whatever came of them, a minute, over the last five';

CREATE FUNCTION infra_monitor.check_rollback_ratio(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN c + r < 100 THEN 0 ELSE r::float8 / (c + r) END, 'ratio',
	CASE WHEN c IS NULL OR r IS NULL THEN 'not known: the sampler has just begun to count'
		WHEN c + r < 100 THEN 'fewer than 100 transactions in the last 5 minutes'
		ELSE format('%s of %s transactions of the last 5 minutes were rolled back', r, c + r) END
FROM (SELECT infra_monitor.recent_growth('commits', sum(xact_commit)::bigint),
		infra_monitor.recent_growth('rollbacks', sum(xact_rollback)::bigint)
	FROM pg_stat_database WHERE datname IS NOT NULL) t (c, r)
$$;
COMMENT ON FUNCTION infra_monitor.check_rollback_ratio() IS
'health check: share of the transactions of the last five minutes that was rolled back, in all databases; 0 if there were fewer than 100';

CREATE FUNCTION infra_monitor.check_temp_spill(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT g::float8, 'bytes',
	CASE WHEN g IS NULL THEN 'not known: the sampler has just begun to count'
		ELSE format('written to temporary files in the last 5 minutes: %s', pg_size_pretty(g)) END
FROM (SELECT infra_monitor.recent_growth('temp_bytes', sum(temp_bytes)::bigint) FROM pg_stat_database) t (g)
$$;
COMMENT ON FUNCTION infra_monitor.check_temp_spill() IS
'health check: bytes that sorts and hashes have written to temporary files in the last five minutes, in all databases';

CREATE FUNCTION infra_monitor.check_repeated_queries(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT count(*)::float8, 'statements',
	format('statements that clients have executed in a loop in the last 5 minutes: %s', count(*))
FROM infra_monitor.repeated_counts()
WHERE last_seen > clock_timestamp() - interval '5 minutes'
$$;
COMMENT ON FUNCTION infra_monitor.check_repeated_queries() IS
'health check: statements, by parent and application, of which a loop (N+1) has ended in the last five minutes';

CREATE FUNCTION infra_monitor.check_latency_p95(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN n > 0 THEN coalesce(infra_monitor.quantile(l, 0.95), 0) END, 'ms',
	CASE WHEN n = 0 THEN 'not known: there are no samples of the last 5 minutes in this database'
		WHEN infra_monitor.observations(l) = 0 THEN 'no statement has completed in the last 5 minutes'
		ELSE format('95 %% of the %s executions of the last 5 minutes took %s ms or less',
			infra_monitor.observations(l), round(infra_monitor.quantile(l, 0.95)::numeric, 1)) END
FROM (SELECT count(latency), infra_monitor.sum(latency) FROM infra_monitor.samples
	WHERE sampled_at > clock_timestamp() - interval '5 minutes') s (n, l)
$$;
COMMENT ON FUNCTION infra_monitor.check_latency_p95() IS
'health check: 95 percent of the executions of the last five minutes took no longer, ms; 0 if there were none';

CREATE FUNCTION infra_monitor.check_failed_time_ratio(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN c + f < 10000 THEN 0 ELSE f::float8 / (c + f) END, 'ratio',
	CASE WHEN c IS NULL OR f IS NULL THEN 'not known: the sampler has just begun to count'
		WHEN c + f < 10000 THEN 'statements have taken less than 10 s in the last 5 minutes'
		ELSE format('statements that did not finish have taken %s of %s s in the last 5 minutes',
			round(f / 1000.0, 1), round((c + f) / 1000.0, 1)) END
FROM (SELECT infra_monitor.recent_growth('completed_time', total_time::bigint),
		infra_monitor.recent_growth('failed_time', failed_time::bigint)
	FROM infra_monitor.statement_totals()) s (c, f)
$$;
COMMENT ON FUNCTION infra_monitor.check_failed_time_ratio() IS
'health check: share of the time of all statements that was lost to those which did not finish, in the last five minutes; 0 if all together took less than ten seconds';
