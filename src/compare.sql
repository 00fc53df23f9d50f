
--
-- compare.sql: two spans of history, side by side
--

-- What a span was like.  A rate is that of the time since the sample before, of
-- samples that know what has been counted since.
CREATE FUNCTION infra_monitor.pool_measures(
	since timestamptz, until timestamptz,
	OUT place int, OUT metric text, OUT value float8, OUT unit text)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 25
SET search_path = pg_catalog, pg_temp
AS $$
WITH parts AS (
	SELECT p.*
	FROM infra_monitor.history_grains('samples', $1, $2, '1 day') g
		CROSS JOIN LATERAL (
			(SELECT 1 AS samples, CASE WHEN s.connects IS NOT NULL THEN s.elapsed_time END / 1000 AS seconds,
				s.used_connections::float8 AS used, s.used_connections AS used_max, s.waiting AS waiting_max,
				s.idle_in_transaction AS idle_in_transaction_max, coalesce(s.avg_active, s.active) AS active,
				s.cpu_ratio, s.memory_used::float8 AS memory, s.health_score, s.connects, s.rejected, s.commits, s.rollbacks,
				s.blks_hit, s.blks_read, s.temp_bytes, s.deadlocks, s.wal_bytes, s.latency
			FROM infra_monitor.samples s
			WHERE g.grain = 'sample' AND s.sampled_at >= g.from_at AND s.sampled_at < g.until_at OFFSET 0)
			UNION ALL
			SELECT r.samples, r.elapsed_time / 1000, r.used_connections_avg, r.used_connections_max, r.waiting_max,
				r.idle_in_transaction_max, r.avg_active_avg,
				r.cpu_ratio_avg, r.memory_used_avg, r.health_score_avg, r.connects, r.rejected, r.commits, r.rollbacks,
				r.blks_hit, r.blks_read, r.temp_bytes, r.deadlocks, r.wal_bytes, r.latency
			FROM (
				(SELECT * FROM infra_monitor.samples_hourly h
				WHERE g.grain = 'hour' AND h.begins_at >= g.from_at AND h.begins_at < g.until_at OFFSET 0)
				UNION ALL
				(SELECT * FROM infra_monitor.samples_daily d
				WHERE g.grain = 'day' AND d.begins_at >= g.from_at AND d.begins_at < g.until_at OFFSET 0)
			) r
		) p
), sums AS (
	SELECT infra_monitor.sum(p.latency) AS latency,
		infra_monitor.observations(infra_monitor.sum(p.latency) FILTER (WHERE p.seconds > 0)) / sum(p.seconds) FILTER (WHERE p.latency IS NOT NULL) AS calls,
		sum(p.commits) FILTER (WHERE p.seconds > 0) / sum(p.seconds) FILTER (WHERE p.commits IS NOT NULL) AS commits,
		sum(p.rollbacks) FILTER (WHERE p.seconds > 0) / sum(p.seconds) FILTER (WHERE p.rollbacks IS NOT NULL) AS rollbacks,
		sum(p.deadlocks) FILTER (WHERE p.seconds > 0) / sum(p.seconds) FILTER (WHERE p.deadlocks IS NOT NULL) * 3600 AS deadlocks,
		sum(p.blks_read) FILTER (WHERE p.seconds > 0) / sum(p.seconds) FILTER (WHERE p.blks_read IS NOT NULL) AS blks_read,
		sum(p.blks_hit)::float8 / nullif(sum(p.blks_hit + p.blks_read), 0) AS hit_ratio,
		sum(p.temp_bytes) FILTER (WHERE p.seconds > 0) / sum(p.seconds) FILTER (WHERE p.temp_bytes IS NOT NULL) AS temp_bytes,
		sum(p.wal_bytes) FILTER (WHERE p.seconds > 0) / sum(p.seconds) FILTER (WHERE p.wal_bytes IS NOT NULL) AS wal_bytes,
		sum(p.connects) FILTER (WHERE p.seconds > 0) / sum(p.seconds) FILTER (WHERE p.connects IS NOT NULL) AS connects,
		sum(p.rejected) FILTER (WHERE p.seconds > 0) / sum(p.seconds) FILTER (WHERE p.rejected IS NOT NULL) AS rejected,
		sum(p.used * p.samples) / sum(p.samples) AS used, max(p.used_max) AS used_max, max(p.waiting_max) AS waiting_max,
		max(p.idle_in_transaction_max) AS idle_in_transaction_max, sum(p.active * p.samples) / sum(p.samples) AS active,
		sum(p.cpu_ratio * p.samples) / sum(p.samples) FILTER (WHERE p.cpu_ratio IS NOT NULL) AS cpu,
		sum(p.memory * p.samples) / sum(p.samples) FILTER (WHERE p.memory IS NOT NULL) AS memory,
		sum(p.health_score * p.samples) / sum(p.samples) FILTER (WHERE p.health_score IS NOT NULL) AS score
	FROM parts p
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
'source of compare(): what samples and their rollups say of a span; for pg_monitor';

CREATE FUNCTION infra_monitor.wait_measures(
	since timestamptz, until timestamptz,
	OUT place int, OUT metric text, OUT value float8, OUT unit text)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
WITH seen AS MATERIALIZED (
	SELECT * FROM infra_monitor.stored_waits($1, $2, '1 day')
), looks AS (
	-- each row of a writing has all its looks
	SELECT sum(l.looks) AS looks
	FROM (SELECT max(s.looks) AS looks FROM seen s GROUP BY s.at, s.coarseness) l
)
SELECT 30, 'active_avg ' || s.wait_event_type, sum(s.observations)::float8 / nullif(max(l.looks), 0)::float8, 'sessions'
FROM seen s CROSS JOIN looks l
WHERE s.wait_event_type IS NOT NULL
GROUP BY s.wait_event_type
$$;
COMMENT ON FUNCTION infra_monitor.wait_measures(timestamptz, timestamptz) IS
'source of compare(): what wait_samples and their rollups say of a span, a row for each class that was seen; for pg_monitor';

-- the seconds that samples of statements are about
CREATE FUNCTION infra_monitor.statement_seconds(
	since timestamptz, until timestamptz)
RETURNS float8
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT sum(p.seconds)
FROM infra_monitor.history_grains('statement_samples', $1, $2, '1 day') g
	CROSS JOIN LATERAL (
		-- each sample has one row for all others; two hours more: the sample before the first one
		(SELECT sum(extract(epoch FROM o.at - greatest(o.before, e.began_at)) ) FILTER (WHERE o.at >= g.from_at)::float8 AS seconds
		FROM (
			SELECT s.sampled_at AS at, s.epoch, lag(s.sampled_at) OVER (ORDER BY s.sampled_at) AS before
			FROM infra_monitor.statement_samples s
			WHERE g.grain = 'sample' AND s.sampled_at >= g.from_at - interval '2 hours' AND s.sampled_at < g.until_at
				AND s.userid IS NULL
		) o
			-- a start or a reset since that one
			LEFT JOIN LATERAL (
				SELECT greatest(x.initialized_at, x.statements_reset) AS began_at
				FROM infra_monitor.epochs x WHERE x.epoch = o.epoch LIMIT 1) e ON true
		WHERE o.before IS NOT NULL OFFSET 0)
		UNION ALL
		(SELECT sum(r.elapsed_time) / 1000
		FROM infra_monitor.samples_hourly r
		WHERE g.grain = 'hour' AND r.begins_at >= g.from_at AND r.begins_at < g.until_at
			AND EXISTS (SELECT FROM infra_monitor.statement_samples_hourly h WHERE h.begins_at = r.begins_at) OFFSET 0)
		UNION ALL
		(SELECT sum(r.elapsed_time) / 1000
		FROM infra_monitor.samples_daily r
		WHERE g.grain = 'day' AND r.begins_at >= g.from_at AND r.begins_at < g.until_at
			AND EXISTS (SELECT FROM infra_monitor.statement_samples_daily d WHERE d.begins_at = r.begins_at) OFFSET 0)
	) p
$$;
COMMENT ON FUNCTION infra_monitor.statement_seconds(timestamptz, timestamptz) IS
'source of compare(): of how many seconds of a span statement_samples and their rollups tell, NULL if of none; for pg_monitor';

CREATE FUNCTION infra_monitor.statement_measures(
	since timestamptz, until timestamptz,
	OUT queryid bigint, OUT dbid oid, OUT exec_time float8,
	OUT failures float8, OUT failed_time float8)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 1000
SET search_path = pg_catalog, pg_temp
AS $$
SELECT s.queryid, max(s.dbid), sum(s.exec_time) / t.seconds, sum(s.failures) / t.seconds, sum(s.failed_time) / t.seconds
FROM infra_monitor.stored_statements($1, $2, '1 day') s
	JOIN infra_monitor.statement_seconds($1, $2) t (seconds) ON t.seconds > 0
GROUP BY s.queryid, t.seconds
$$;
COMMENT ON FUNCTION infra_monitor.statement_measures(timestamptz, timestamptz) IS
'source of compare(): what statement_samples and their rollups say of a span, of all roles and databases, each value by second; the row without queryid is all others; for pg_monitor';

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
	SELECT c.place, 'statement_time_per_second', 'ms/s', c.queryid, infra_monitor.statement_text(c.queryid, c.dbid),
		c.value_1, c.value_2
	FROM changes c
)
SELECT l.metric, l.value_1, l.value_2, l.value_2 / nullif(l.value_1, 0), l.unit, l.queryid, l.query
FROM listed l
ORDER BY l.place, l.metric
$$;
COMMENT ON FUNCTION infra_monitor.compare(timestamptz, timestamptz, timestamptz, timestamptz) IS
'two spans of history side by side, each from since until before until: throughput, percentiles of all statements, failures, waits by class, the pool, and the ten statements of which the time has changed most (statement_time_per_second, with queryid and query); a value is NULL if the span does not tell, rates are of the time between two samples of one epoch; ratio: value_2 / value_1, NULL if that is 0 or not known; query NULL if its text was never to be had; error for a span that makes no sense; for pg_monitor';
