
--
-- pool_history.sql: what the pool looked like
--

-- the rows of pool_history(), for arguments that are known to be good
CREATE FUNCTION infra_monitor.pool_buckets(
	since timestamptz, until timestamptz, step interval,
	OUT bucket timestamptz, OUT used_avg float8, OUT used_max int,
	OUT waiting_max int, OUT idle_in_transaction_max int,
	OUT rejected bigint, OUT connects bigint, OUT active_avg float8,
	OUT grain text)
RETURNS SETOF record
LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED ROWS 300
SET search_path = pg_catalog, pg_temp
AS $$
WITH stored AS MATERIALIZED (
	SELECT date_bin($3, s.sampled_at, '2001-01-01 00:00:00+00') AS bucket, s.sampled_at AS at, false AS of_ring,
		s.used_connections AS used, s.waiting, s.idle_in_transaction, coalesce(s.avg_active, s.active) AS active,
		s.rejected, s.rejected_total, s.connects, s.connects_total
	FROM infra_monitor.samples s
	-- on a standby, they are the primary's
	WHERE s.sampled_at >= $1 AND s.sampled_at < $2 AND NOT pg_is_in_recovery()
), remembered AS MATERIALIZED (
	SELECT date_bin($3, r.at, '2001-01-01 00:00:00+00') AS bucket, r.at, true AS of_ring,
		r.used, r.waiting, r.idle_in_transaction, r.active::float8 AS active,
		r.rejected, r.rejected_total, r.connects, r.connects_total
	FROM infra_monitor.sample_ring() r (at, used, authenticating, active, idle, idle_in_transaction, waiting,
		connects_total, rejected_total, connects, rejected)
	WHERE r.at >= $1 AND r.at < $2 AND infra_monitor.preloaded()
), interval AS (
	SELECT coalesce(current_setting('infra_monitor.sample_interval', true), '10s')::interval AS apart
), both_kinds AS (
	SELECT * FROM stored
	UNION ALL
	SELECT r.* FROM remembered r CROSS JOIN interval i
	WHERE NOT EXISTS (SELECT FROM stored s WHERE date_bin(i.apart, s.at, '2001-01-01 00:00:00+00')
		= date_bin(i.apart, r.at, '2001-01-01 00:00:00+00'))
), looked_back AS (
	-- the sample before, of its own kind, may be further back than the one shown here
	SELECT b.*, of_ring <> lag(of_ring) OVER by_time AS changed,
		rejected_total - lag(rejected_total) OVER by_time AS rejected_since,
		connects_total - lag(connects_total) OVER by_time AS connects_since
	FROM both_kinds b
	WINDOW by_time AS (ORDER BY at)
)
SELECT bucket, avg(used::float8), max(used), max(waiting), max(idle_in_transaction),
	sum(CASE WHEN changed AND rejected_since BETWEEN 0 AND rejected THEN rejected_since ELSE rejected END)::bigint,
	sum(CASE WHEN changed AND connects_since BETWEEN 0 AND connects THEN connects_since ELSE connects END)::bigint,
	avg(active), CASE count(*) WHEN 1 THEN 'sample' ELSE $3::text END
FROM looked_back
GROUP BY bucket
ORDER BY bucket
$$;
COMMENT ON FUNCTION infra_monitor.pool_buckets(timestamptz, timestamptz, interval) IS
'source of pool_history(), which checks the arguments; for pg_monitor';

CREATE FUNCTION infra_monitor.pool_history(
	since timestamptz, until timestamptz DEFAULT pg_catalog.now(),
	step interval DEFAULT NULL,
	OUT bucket timestamptz, OUT used_avg float8, OUT used_max int,
	OUT waiting_max int, OUT idle_in_transaction_max int,
	OUT rejected bigint, OUT connects bigint, OUT active_avg float8,
	OUT grain text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL RESTRICTED ROWS 300
SET search_path = pg_catalog, pg_temp
AS $$ SELECT * FROM infra_monitor.pool_buckets($1, $2, infra_monitor.history_step($1, $2, $3)) $$;
COMMENT ON FUNCTION infra_monitor.pool_history(timestamptz, timestamptz, interval) IS
'the pool from since until before until, in buckets of a step, by default one that gives 300 buckets or less; bucket is when one begins, counted from Mondays 00:00 UTC; one without samples is absent; used_avg, used_max, waiting_max, idle_in_transaction_max and active_avg (average active sessions) as in samples, used without those authenticating; rejected and connects are sums, NULL if nothing of them is known; grain: what it is made of, sample (a single one) or the step; from the table samples, and, for what that does not have, on standbys, and in other databases, from the last 360 samples in shared memory; error for a span or a step that makes no sense, and more than 100000 buckets; for pg_monitor';
