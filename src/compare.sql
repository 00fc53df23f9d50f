
--
-- compare.sql: two spans of history, side by side
--

-- what a span was like, as rows of (place, metric, value, unit, queryid, dbid);
-- a rate is that of the time between two samples of one epoch
CREATE FUNCTION infra_monitor.pool_measures(
	since timestamptz, until timestamptz,
	OUT place int, OUT metric text, OUT value float8, OUT unit text)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 25
SET search_path = pg_catalog, pg_temp
AS $$
WITH stored AS (
	-- two hours more: the sample before the first one
	SELECT s.*, CASE s.epoch WHEN lag(s.epoch) OVER by_time
		THEN extract(epoch FROM s.sampled_at - lag(s.sampled_at) OVER by_time) END::float8 AS seconds
	FROM infra_monitor.samples s
	WHERE s.sampled_at >= $1 - interval '2 hours' AND s.sampled_at < $2
	WINDOW by_time AS (ORDER BY s.sampled_at)
), span AS (
	SELECT s.*, CASE WHEN s.connects IS NOT NULL THEN s.seconds END AS pool_seconds,
		CASE WHEN s.commits IS NOT NULL THEN s.seconds END AS database_seconds,
		CASE WHEN s.wal_bytes IS NOT NULL THEN s.seconds END AS wal_seconds,
		CASE WHEN s.latency IS NOT NULL THEN s.seconds END AS latency_seconds
	FROM stored s WHERE s.sampled_at >= $1
), sums AS (
	SELECT infra_monitor.sum(latency) AS latency,
		infra_monitor.observations(infra_monitor.sum(latency) FILTER (WHERE seconds > 0)) / sum(latency_seconds) AS calls,
		sum(commits) FILTER (WHERE seconds > 0) / sum(database_seconds) AS commits,
		sum(rollbacks) FILTER (WHERE seconds > 0) / sum(database_seconds) AS rollbacks,
		sum(deadlocks) FILTER (WHERE seconds > 0) / sum(database_seconds) * 3600 AS deadlocks,
		sum(blks_read) FILTER (WHERE seconds > 0) / sum(database_seconds) AS blks_read,
		sum(blks_hit)::float8 / nullif(sum(blks_hit + blks_read), 0) AS hit_ratio,
		sum(temp_bytes) FILTER (WHERE seconds > 0) / sum(database_seconds) AS temp_bytes,
		sum(wal_bytes) FILTER (WHERE seconds > 0) / sum(wal_seconds) AS wal_bytes,
		sum(connects) FILTER (WHERE seconds > 0) / sum(pool_seconds) AS connects,
		sum(rejected) FILTER (WHERE seconds > 0) / sum(pool_seconds) AS rejected,
		avg(used_connections) AS used, max(used_connections) AS used_max, max(waiting) AS waiting_max,
		max(idle_in_transaction) AS idle_in_transaction_max, avg(coalesce(avg_active, active)) AS active,
		avg(cpu_ratio) AS cpu, avg(memory_used) AS memory, avg(health_score) AS score
	FROM span
)
SELECT m.* FROM sums s CROSS JOIN LATERAL (VALUES
	(1, 'calls_per_second', s.calls::float8, '1/s'),
	(2, 'p50_time', infra_monitor.quantile(s.latency, 0.50), 'ms'),
	(3, 'p95_time', infra_monitor.quantile(s.latency, 0.95), 'ms'),
	(4, 'p99_time', infra_monitor.quantile(s.latency, 0.99), 'ms'),
	(7, 'commits_per_second', s.commits, '1/s'),
	(8, 'rollbacks_per_second', s.rollbacks, '1/s'),
	(9, 'deadlocks_per_hour', s.deadlocks, '1/h'),
	(10, 'blks_read_per_second', s.blks_read, '1/s'),
	(11, 'hit_ratio', s.hit_ratio, 'ratio'),
	(12, 'temp_bytes_per_second', s.temp_bytes, 'bytes/s'),
	(13, 'wal_bytes_per_second', s.wal_bytes, 'bytes/s'),
	(14, 'used_avg', s.used, 'connections'),
	(15, 'used_max', s.used_max, 'connections'),
	(16, 'waiting_max', s.waiting_max, 'connections'),
	(17, 'idle_in_transaction_max', s.idle_in_transaction_max, 'connections'),
	(18, 'connects_per_second', s.connects, '1/s'),
	(19, 'rejected_per_second', s.rejected, '1/s'),
	(20, 'active_avg', s.active, 'sessions'),
	(21, 'cpu_ratio', s.cpu, 'ratio'),
	(22, 'memory_used', s.memory, 'bytes'),
	(23, 'health_score', s.score, 'score')
) AS m (place, metric, value, unit)
$$;
COMMENT ON FUNCTION infra_monitor.pool_measures(timestamptz, timestamptz) IS
'source of compare(): what samples say of a span; for pg_monitor';

CREATE FUNCTION infra_monitor.wait_measures(
	since timestamptz, until timestamptz,
	OUT place int, OUT metric text, OUT value float8, OUT unit text)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
WITH span AS MATERIALIZED (
	SELECT w.sampled_at, w.wait_event_type, w.observations, w.looks
	FROM infra_monitor.wait_samples w
	WHERE w.sampled_at >= $1 AND w.sampled_at < $2
), looks AS (
	-- each row of a sample says how many there were
	SELECT sum(l.looks) AS looks
	FROM (SELECT max(s.looks) AS looks FROM span s GROUP BY s.sampled_at) l
)
SELECT 30, 'active_avg ' || s.wait_event_type, sum(s.observations)::float8 / nullif(max(l.looks), 0)::float8, 'sessions'
FROM span s CROSS JOIN looks l
WHERE s.wait_event_type IS NOT NULL
GROUP BY s.wait_event_type
$$;
COMMENT ON FUNCTION infra_monitor.wait_measures(timestamptz, timestamptz) IS
'source of compare(): what wait_samples say of a span, a row for each class that was seen; for pg_monitor';

CREATE FUNCTION infra_monitor.statement_measures(
	since timestamptz, until timestamptz,
	OUT queryid bigint, OUT datname text, OUT usename text, OUT dbid oid,
	OUT exec_time float8, OUT failures float8, OUT failed_time float8)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 1000
SET search_path = pg_catalog, pg_temp
AS $$
WITH looked_back AS MATERIALIZED (
	-- each sample has one row for all others; two hours more: the sample before the first one
	SELECT s.sampled_at AS at, CASE s.epoch WHEN lag(s.epoch) OVER by_time
		THEN extract(epoch FROM s.sampled_at - lag(s.sampled_at) OVER by_time) END::float8 AS seconds
	FROM infra_monitor.statement_samples s
	WHERE s.sampled_at >= $1 - interval '2 hours' AND s.sampled_at < $2 AND s.userid IS NULL
	WINDOW by_time AS (ORDER BY s.sampled_at)
), timed AS MATERIALIZED (
	SELECT l.at, sum(l.seconds) OVER () AS seconds
	FROM looked_back l
	WHERE l.at >= $1 AND l.seconds > 0
)
SELECT s.queryid, s.datname, s.usename, max(s.dbid), sum(s.exec_time) / t.seconds,
	sum(s.failures) / t.seconds, sum(s.failed_time) / t.seconds
FROM infra_monitor.statement_samples s
	JOIN timed t ON t.at = s.sampled_at
WHERE s.sampled_at >= $1 AND s.sampled_at < $2
GROUP BY s.queryid, s.datname, s.usename, t.seconds
$$;
COMMENT ON FUNCTION infra_monitor.statement_measures(timestamptz, timestamptz) IS
'source of compare(): what statement_samples say of a span, each value by second, of the time between two samples of one epoch; the row without queryid, datname and usename is all others; for pg_monitor';

CREATE FUNCTION infra_monitor.compare(
	since_1 timestamptz, until_1 timestamptz,
	since_2 timestamptz, until_2 timestamptz,
	OUT metric text, OUT value_1 float8, OUT value_2 float8,
	OUT ratio float8, OUT unit text, OUT queryid bigint, OUT query text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 40
SET search_path = pg_catalog, pg_temp
AS $$
WITH spans AS MATERIALIZED (
	SELECT n, since, until
	FROM (VALUES (1, $1, $2), (2, $3, $4)) AS v (n, since, until)
	WHERE infra_monitor.history_step($1, $2, NULL) IS NOT NULL AND infra_monitor.history_step($3, $4, NULL) IS NOT NULL
), statements AS MATERIALIZED (
	SELECT s.n, m.* FROM spans s CROSS JOIN LATERAL infra_monitor.statement_measures(s.since, s.until) m
), measures AS (
	SELECT s.n, m.*
	FROM spans s CROSS JOIN LATERAL infra_monitor.pool_measures(s.since, s.until) m
	UNION ALL
	SELECT s.n, m.*
	FROM spans s CROSS JOIN LATERAL infra_monitor.wait_measures(s.since, s.until) m
	UNION ALL
	SELECT s.n, f.*
	FROM (SELECT s.n, sum(t.failures) AS failures, sum(t.failed_time) AS failed_time
			FROM spans s LEFT JOIN statements t ON t.n = s.n GROUP BY s.n) s
		CROSS JOIN LATERAL (VALUES
			(5, 'failures_per_second', s.failures, '1/s'),
			(6, 'failed_time_per_second', s.failed_time, 'ms/s')) AS f (place, metric, value, unit)
), paired AS (
	SELECT m.place, m.metric, m.unit, max(m.value) FILTER (WHERE m.n = 1) AS value_1,
		max(m.value) FILTER (WHERE m.n = 2) AS value_2
	FROM measures m
	GROUP BY m.place, m.metric, m.unit
), changes AS MATERIALIZED (
	SELECT 50 + row_number() OVER (ORDER BY abs(c.value_2 - c.value_1) DESC, c.queryid)::int AS place, c.*
	FROM (
		SELECT t.queryid, max(t.dbid) AS dbid, coalesce(sum(t.exec_time) FILTER (WHERE t.n = 1), 0) AS value_1,
			coalesce(sum(t.exec_time) FILTER (WHERE t.n = 2), 0) AS value_2
		FROM statements t
		WHERE t.queryid IS NOT NULL
		GROUP BY t.queryid
	) c
	-- without one of the spans, nothing has changed
	WHERE c.value_1 <> c.value_2 AND (SELECT count(DISTINCT t.n) FROM statements t) = 2
	ORDER BY 1 LIMIT 10
), listed AS (
	-- a class of waits that one span has not seen was not waited for there, if anything was
	SELECT p.place, p.metric, p.unit, NULL::bigint AS queryid, NULL::text AS query,
		CASE WHEN p.place = 30 AND count(p.value_1) OVER (PARTITION BY p.place) > 0 THEN coalesce(p.value_1, 0) ELSE p.value_1 END AS value_1,
		CASE WHEN p.place = 30 AND count(p.value_2) OVER (PARTITION BY p.place) > 0 THEN coalesce(p.value_2, 0) ELSE p.value_2 END AS value_2
	FROM paired p
	UNION ALL
	SELECT c.place, 'statement_time_per_second', 'ms/s', c.queryid, (
			SELECT t.query FROM infra_monitor.statement_texts t
			WHERE t.queryid = c.queryid AND t.dbid = c.dbid ORDER BY t.first_seen DESC LIMIT 1),
		c.value_1, c.value_2
	FROM changes c
)
SELECT l.metric, l.value_1, l.value_2, l.value_2 / nullif(l.value_1, 0), l.unit, l.queryid, l.query
FROM listed l
ORDER BY l.place, l.metric
$$;
COMMENT ON FUNCTION infra_monitor.compare(timestamptz, timestamptz, timestamptz, timestamptz) IS
'two spans of history side by side, each from since until before until: throughput, percentiles of all statements, failures, waits by class, the pool, and the ten statements of which the time has changed most (statement_time_per_second, with queryid and query); a value is NULL if the span does not tell, rates are of the time between two samples of one epoch; ratio: value_2 / value_1, NULL if that is 0 or not known; query NULL if its text was never to be had; error for a span that makes no sense; for pg_monitor';
