
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
SET jit = off -- most partitions that the planner counts are not read
AS $$
WITH grains AS MATERIALIZED (
	SELECT * FROM infra_monitor.history_grains('samples', $1, $2, $3)
), stored AS MATERIALIZED (
	SELECT date_bin($3, s.sampled_at, '2001-01-01 00:00:00+00') AS bucket, s.sampled_at AS at, false AS of_ring,
		s.used_connections AS used, s.waiting, s.idle_in_transaction, coalesce(s.avg_active, s.active) AS active,
		s.rejected, s.rejected_total, s.connects, s.connects_total
	FROM grains g
		-- with OFFSET, this is a scan of its own, of those partitions that it needs
		CROSS JOIN LATERAL (SELECT * FROM infra_monitor.samples r
			WHERE g.grain = 'sample' AND r.sampled_at >= g.from_at AND r.sampled_at < g.until_at OFFSET 0) s
	-- on a standby, they are the primary's
	WHERE NOT pg_is_in_recovery()
), remembered AS MATERIALIZED (
	SELECT date_bin($3, r.at, '2001-01-01 00:00:00+00') AS bucket, r.at, true AS of_ring,
		r.used, r.waiting, r.idle_in_transaction, r.active::float8 AS active,
		r.rejected, r.rejected_total, r.connects, r.connects_total
	FROM infra_monitor.sample_ring() r (at, used, authenticating, active, idle, idle_in_transaction, waiting,
		connects_total, rejected_total, connects, rejected)
	WHERE infra_monitor.preloaded()
		AND EXISTS (SELECT FROM grains g WHERE g.grain = 'sample' AND r.at >= g.from_at AND r.at < g.until_at)
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
), rolled_up AS (
	SELECT g.grain, g.fits, p.*
	FROM grains g
		CROSS JOIN LATERAL (
			(SELECT * FROM infra_monitor.samples_hourly h
			WHERE g.grain = 'hour' AND h.begins_at >= g.from_at AND h.begins_at < g.until_at OFFSET 0)
			UNION ALL
			(SELECT * FROM infra_monitor.samples_daily d
			WHERE g.grain = 'day' AND d.begins_at >= g.from_at AND d.begins_at < g.until_at OFFSET 0)
		) p
), parts AS (
	SELECT bucket, 1 AS samples, used::float8 AS used, used AS used_max, waiting AS waiting_max,
		idle_in_transaction AS idle_in_transaction_max,
		CASE WHEN changed AND rejected_since BETWEEN 0 AND rejected THEN rejected_since ELSE rejected END AS rejected,
		CASE WHEN changed AND connects_since BETWEEN 0 AND connects THEN connects_since ELSE connects END AS connects,
		active, 0 AS coarseness
	FROM looked_back
	UNION ALL
	SELECT CASE WHEN r.fits THEN date_bin($3, r.begins_at, '2001-01-01 00:00:00+00') ELSE r.begins_at END, r.samples,
		round(r.used_connections_avg * r.samples), r.used_connections_max, r.waiting_max, r.idle_in_transaction_max,
		r.rejected, r.connects, r.avg_active_avg * r.samples, CASE r.grain WHEN 'hour' THEN 1 ELSE 2 END
	FROM rolled_up r
)
SELECT bucket, sum(used) / sum(samples), max(used_max), max(waiting_max), max(idle_in_transaction_max),
	sum(rejected)::bigint, sum(connects)::bigint, sum(active) / sum(samples),
	(ARRAY['sample', 'hour', 'day'])[1 + max(coarseness)]
FROM parts
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
'the pool from since until before until, in buckets of a step, by default one that gives 300 buckets or less; bucket is when one begins, counted from Mondays 00:00 UTC; one without samples is absent; used_avg, used_max, waiting_max, idle_in_transaction_max and active_avg (average active sessions) as in samples, used without those authenticating; rejected and connects are sums, NULL if nothing of them is known; grain: the coarsest of what it is made of, sample, hour or day, as history_grains() chooses; where only hours or days are kept, and do not fit into the step, these are the buckets; from the table samples and its rollups, and, for what that does not have, on standbys, and in other databases, from the last 360 samples in shared memory; error for a span or a step that makes no sense, a span of which nothing is kept, and more than 100000 buckets; for pg_monitor';
