
--
-- rollup_merges.sql: how rollups are made
--

CREATE FUNCTION infra_monitor.roll_up_samples(since timestamptz, until timestamptz)
RETURNS void
LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
INSERT INTO infra_monitor.samples_hourly
SELECT $1, count(*)::int, min(s.sampled_at), max(s.sampled_at), count(DISTINCT s.epoch)::int,
	max(s.epoch) FILTER (WHERE s.is_first), max(s.epoch) FILTER (WHERE s.is_last),
	(count(*) FILTER (WHERE s.status = 'warning'))::int, (count(*) FILTER (WHERE s.status = 'critical'))::int,
	(count(*) FILTER (WHERE s.health_status = 'degraded'))::int,
	(count(*) FILTER (WHERE s.health_status = 'unhealthy'))::int, max(s.max_connections) FILTER (WHERE s.is_last),
	max(s.reserved_connections) FILTER (WHERE s.is_last), min(s.used_connections), avg(s.used_connections::float8),
	max(s.used_connections), max(s.used_connections) FILTER (WHERE s.is_last), min(s.available_connections),
	avg(s.available_connections::float8), max(s.available_connections),
	max(s.available_connections) FILTER (WHERE s.is_last), min(s.used_ratio), avg(s.used_ratio), max(s.used_ratio),
	max(s.used_ratio) FILTER (WHERE s.is_last), min(s.active), avg(s.active::float8), max(s.active),
	max(s.active) FILTER (WHERE s.is_last), min(s.idle), avg(s.idle::float8), max(s.idle),
	max(s.idle) FILTER (WHERE s.is_last), min(s.idle_in_transaction), avg(s.idle_in_transaction::float8),
	max(s.idle_in_transaction), max(s.idle_in_transaction) FILTER (WHERE s.is_last), min(s.waiting),
	avg(s.waiting::float8), max(s.waiting), max(s.waiting) FILTER (WHERE s.is_last), min(s.authenticating),
	avg(s.authenticating::float8), max(s.authenticating), max(s.authenticating) FILTER (WHERE s.is_last),
	min(coalesce(s.avg_active, s.active)), avg(coalesce(s.avg_active, s.active)),
	max(coalesce(s.avg_active, s.active)), max(coalesce(s.avg_active, s.active)) FILTER (WHERE s.is_last),
	min(s.cpu_ratio), avg(s.cpu_ratio), max(s.cpu_ratio), max(s.cpu_ratio) FILTER (WHERE s.is_last),
	min(s.memory_used), avg(s.memory_used::float8), max(s.memory_used), max(s.memory_used) FILTER (WHERE s.is_last),
	min(s.disk_used), avg(s.disk_used::float8), max(s.disk_used), max(s.disk_used) FILTER (WHERE s.is_last),
	min(s.health_score), avg(s.health_score), max(s.health_score), max(s.health_score) FILTER (WHERE s.is_last),
	max(s.memory_total) FILTER (WHERE s.is_last), max(s.disk_total) FILTER (WHERE s.is_last), max(s.peak_connections),
	max(s.oldest_transaction), max(s.oldest_idle_in_transaction), sum(s.connects)::bigint, sum(s.rejected)::bigint,
	sum(s.commits)::bigint, sum(s.rollbacks)::bigint, sum(s.blks_hit)::bigint, sum(s.blks_read)::bigint,
	sum(s.temp_bytes)::bigint, sum(s.deadlocks)::bigint, sum(s.wal_bytes)::bigint, avg(s.collect_time),
	max(s.collect_time), infra_monitor.sum(s.latency), sum(s.elapsed_time) FILTER (WHERE s.connects IS NOT NULL),
	(SELECT a.available * 1000 FROM infra_monitor.available_between($1, $2) a)
FROM (
	SELECT r.*, r.sampled_at = min(r.sampled_at) OVER () AS is_first, r.sampled_at = max(r.sampled_at) OVER () AS is_last
	FROM infra_monitor.samples r
	WHERE r.sampled_at >= $1 AND r.sampled_at < $2
) s
HAVING count(*) > 0
$$;
COMMENT ON FUNCTION infra_monitor.roll_up_samples(timestamptz, timestamptz) IS
'writes samples_hourly: the samples from since until before until as one row; for superusers, grantable';

CREATE FUNCTION infra_monitor.roll_up_sample_hours(since timestamptz, until timestamptz)
RETURNS void
LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
INSERT INTO infra_monitor.samples_daily
SELECT $1, sum(s.samples)::int, min(s.first_sampled_at), max(s.last_sampled_at),
	(sum(s.epochs) - count(*) FILTER (WHERE s.goes_on))::int, max(s.first_epoch) FILTER (WHERE s.is_first),
	max(s.last_epoch) FILTER (WHERE s.is_last), sum(s.warning_samples)::int, sum(s.critical_samples)::int,
	sum(s.degraded_samples)::int, sum(s.unhealthy_samples)::int, max(s.max_connections) FILTER (WHERE s.is_last),
	max(s.reserved_connections) FILTER (WHERE s.is_last), min(s.used_connections_min),
	sum(round(s.used_connections_avg * s.samples)) / sum(s.samples), max(s.used_connections_max),
	max(s.used_connections_last) FILTER (WHERE s.is_last), min(s.available_connections_min),
	sum(round(s.available_connections_avg * s.samples)) / sum(s.samples), max(s.available_connections_max),
	max(s.available_connections_last) FILTER (WHERE s.is_last), min(s.used_ratio_min),
	sum(s.used_ratio_avg * s.samples) / sum(s.samples), max(s.used_ratio_max),
	max(s.used_ratio_last) FILTER (WHERE s.is_last), min(s.active_min),
	sum(round(s.active_avg * s.samples)) / sum(s.samples), max(s.active_max),
	max(s.active_last) FILTER (WHERE s.is_last), min(s.idle_min), sum(round(s.idle_avg * s.samples)) / sum(s.samples),
	max(s.idle_max), max(s.idle_last) FILTER (WHERE s.is_last), min(s.idle_in_transaction_min),
	sum(round(s.idle_in_transaction_avg * s.samples)) / sum(s.samples), max(s.idle_in_transaction_max),
	max(s.idle_in_transaction_last) FILTER (WHERE s.is_last), min(s.waiting_min),
	sum(round(s.waiting_avg * s.samples)) / sum(s.samples), max(s.waiting_max),
	max(s.waiting_last) FILTER (WHERE s.is_last), min(s.authenticating_min),
	sum(round(s.authenticating_avg * s.samples)) / sum(s.samples), max(s.authenticating_max),
	max(s.authenticating_last) FILTER (WHERE s.is_last), min(s.avg_active_min),
	sum(s.avg_active_avg * s.samples) / sum(s.samples), max(s.avg_active_max),
	max(s.avg_active_last) FILTER (WHERE s.is_last), min(s.cpu_ratio_min),
	sum(s.cpu_ratio_avg * s.samples) / sum(s.samples) FILTER (WHERE s.cpu_ratio_avg IS NOT NULL), max(s.cpu_ratio_max),
	max(s.cpu_ratio_last) FILTER (WHERE s.is_last), min(s.memory_used_min),
	sum(s.memory_used_avg * s.samples) / sum(s.samples) FILTER (WHERE s.memory_used_avg IS NOT NULL),
	max(s.memory_used_max), max(s.memory_used_last) FILTER (WHERE s.is_last), min(s.disk_used_min),
	sum(s.disk_used_avg * s.samples) / sum(s.samples) FILTER (WHERE s.disk_used_avg IS NOT NULL), max(s.disk_used_max),
	max(s.disk_used_last) FILTER (WHERE s.is_last), min(s.health_score_min),
	sum(s.health_score_avg * s.samples) / sum(s.samples) FILTER (WHERE s.health_score_avg IS NOT NULL),
	max(s.health_score_max), max(s.health_score_last) FILTER (WHERE s.is_last),
	max(s.memory_total) FILTER (WHERE s.is_last), max(s.disk_total) FILTER (WHERE s.is_last), max(s.peak_connections),
	max(s.oldest_transaction), max(s.oldest_idle_in_transaction), sum(s.connects)::bigint, sum(s.rejected)::bigint,
	sum(s.commits)::bigint, sum(s.rollbacks)::bigint, sum(s.blks_hit)::bigint, sum(s.blks_read)::bigint,
	sum(s.temp_bytes)::bigint, sum(s.deadlocks)::bigint, sum(s.wal_bytes)::bigint,
	sum(s.collect_time_avg * s.samples) / sum(s.samples), max(s.collect_time_max), infra_monitor.sum(s.latency),
	sum(s.elapsed_time), sum(s.available_time)
FROM (
	SELECT r.*, r.begins_at = min(r.begins_at) OVER () AS is_first, r.begins_at = max(r.begins_at) OVER () AS is_last,
		r.first_epoch = lag(r.last_epoch) OVER (ORDER BY r.begins_at) AS goes_on
	FROM infra_monitor.samples_hourly r
	WHERE r.begins_at >= $1 AND r.begins_at < $2
) s
HAVING count(*) > 0
$$;
COMMENT ON FUNCTION infra_monitor.roll_up_sample_hours(timestamptz, timestamptz) IS
'writes samples_daily: the rows of samples_hourly from since until before until as one; for superusers, grantable';

-- times are added up in whole nanoseconds, as they were counted: whatever the order, the sum is the same
CREATE FUNCTION infra_monitor.merged_statements(
	since timestamptz, until timestamptz, of_hours boolean, top int,
	OUT begins_at timestamptz, OUT samples int, OUT userid oid, OUT dbid oid,
	OUT usename text, OUT datname text, OUT queryid bigint, OUT toplevel boolean,
	OUT calls bigint, OUT exec_time float8, OUT rows bigint, OUT failures bigint,
	OUT failed_time float8, OUT shared_blks_hit bigint, OUT shared_blks_read bigint,
	OUT temp_blks_written bigint, OUT wal_bytes bigint, OUT known_calls bigint,
	OUT latency infra_monitor.histogram)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 100
SET search_path = pg_catalog, pg_temp
AS $$
WITH source AS (
	SELECT 1 AS samples, s.userid, s.dbid, s.usename, s.datname, s.queryid, s.toplevel, s.calls, s.exec_time, s.rows,
		s.failures, s.failed_time, s.shared_blks_hit, s.shared_blks_read, s.temp_blks_written, s.wal_bytes,
		CASE WHEN s.rows IS NOT NULL THEN s.calls ELSE 0 END AS known_calls, s.latency
	FROM infra_monitor.statement_samples s
	WHERE NOT $3 AND s.sampled_at >= $1 AND s.sampled_at < $2
	UNION ALL
	SELECT h.samples, h.userid, h.dbid, h.usename, h.datname, h.queryid, h.toplevel, h.calls, h.exec_time, h.rows,
		h.failures, h.failed_time, h.shared_blks_hit, h.shared_blks_read, h.temp_blks_written, h.wal_bytes,
		h.known_calls, h.latency
	FROM infra_monitor.statement_samples_hourly h
	WHERE $3 AND h.begins_at >= $1 AND h.begins_at < $2
), statements AS (
	SELECT sum(s.samples) AS samples, s.userid, s.dbid, s.usename, s.datname, s.queryid, s.toplevel, sum(s.calls) AS calls,
		sum((s.exec_time * 1e6)::bigint) AS exec_ns, sum(s.rows) AS rows, sum(s.failures) AS failures,
		sum((s.failed_time * 1e6)::bigint) AS failed_ns, sum(s.shared_blks_hit) AS shared_blks_hit,
		sum(s.shared_blks_read) AS shared_blks_read, sum(s.temp_blks_written) AS temp_blks_written,
		sum(s.wal_bytes) AS wal_bytes, sum(s.known_calls) AS known_calls, infra_monitor.sum(s.latency) AS latency
	FROM source s
	GROUP BY s.userid, s.dbid, s.usename, s.datname, s.queryid, s.toplevel
), measured AS (
	SELECT s.*, infra_monitor.quantile(s.latency, 0.95) AS p95_time
	FROM statements s
), compared AS (
	-- its place by the measure by which it comes first; those without any come last
	SELECT m.*, least(
		CASE WHEN m.exec_ns > 0 THEN row_number() OVER (ORDER BY m.userid IS NULL, m.exec_ns DESC) END,
		CASE WHEN m.calls > 0 THEN row_number() OVER (ORDER BY m.userid IS NULL, m.calls DESC) END,
		CASE WHEN m.failed_ns > 0 THEN row_number() OVER (ORDER BY m.userid IS NULL, m.failed_ns DESC) END,
		CASE WHEN m.p95_time > 0 THEN row_number() OVER (ORDER BY m.userid IS NULL, m.p95_time DESC NULLS LAST) END) AS best
	FROM measured m
), placed AS (
	SELECT c.*, c.userid IS NOT NULL AND row_number() OVER (
		ORDER BY c.userid IS NULL, c.best, c.exec_ns DESC, c.calls DESC, c.queryid, c.userid, c.dbid) <= $4 AS listed
	FROM compared c
)
SELECT $1, (CASE WHEN p.listed THEN sum(p.samples) ELSE coalesce(sum(p.samples) FILTER (WHERE p.userid IS NULL), 0) END)::int,
	k.userid, k.dbid, k.usename, k.datname, k.queryid, k.toplevel,
	sum(p.calls)::bigint, (sum(p.exec_ns) / 1e6)::float8, sum(p.rows)::bigint, sum(p.failures)::bigint,
	(sum(p.failed_ns) / 1e6)::float8, sum(p.shared_blks_hit)::bigint, sum(p.shared_blks_read)::bigint,
	sum(p.temp_blks_written)::bigint, sum(p.wal_bytes)::bigint, sum(p.known_calls)::bigint, infra_monitor.sum(p.latency)
FROM placed p
	LEFT JOIN LATERAL (SELECT p.userid, p.dbid, p.usename, p.datname, p.queryid, p.toplevel WHERE p.listed) k ON true
GROUP BY p.listed, k.userid, k.dbid, k.usename, k.datname, k.queryid, k.toplevel
$$;
COMMENT ON FUNCTION infra_monitor.merged_statements(timestamptz, timestamptz, boolean, int) IS
'source of statement_samples_hourly and, of_hours, of statement_samples_daily: what was stored from since until before until, a row for each of the first statements, top at most, and one for all others; for pg_monitor';

CREATE FUNCTION infra_monitor.merged_waits(
	since timestamptz, until timestamptz, of_hours boolean,
	OUT begins_at timestamptz, OUT samples int, OUT datname text,
	OUT wait_event_type text, OUT wait_event text, OUT queryid bigint,
	OUT observations bigint, OUT looks bigint)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 100
SET search_path = pg_catalog, pg_temp
AS $$
WITH source AS MATERIALIZED (
	SELECT w.sampled_at AS at, 1 AS samples, w.datname, w.wait_event_type, w.wait_event, w.queryid, w.observations, w.looks
	FROM infra_monitor.wait_samples w
	WHERE NOT $3 AND w.sampled_at >= $1 AND w.sampled_at < $2
	UNION ALL
	SELECT h.begins_at, h.samples, h.datname, h.wait_event_type, h.wait_event, h.queryid, h.observations, h.looks
	FROM infra_monitor.wait_samples_hourly h
	WHERE $3 AND h.begins_at >= $1 AND h.begins_at < $2
), looks AS (
	-- each row of a writing has all its looks
	SELECT sum(l.samples)::int AS samples, sum(l.looks)::bigint AS looks
	FROM (SELECT max(s.samples) AS samples, max(s.looks) AS looks FROM source s GROUP BY s.at) l
), events AS (
	SELECT s.datname, s.wait_event_type, s.wait_event, s.queryid, sum(s.observations) AS observations,
		row_number() OVER (ORDER BY sum(s.observations) DESC, s.wait_event_type, s.wait_event, s.datname, s.queryid) AS place
	FROM source s
	WHERE s.wait_event IS NOT NULL
	GROUP BY s.datname, s.wait_event_type, s.wait_event, s.queryid
), folded AS (
	SELECT CASE WHEN e.place <= 1000 THEN e.datname END AS datname, e.wait_event_type, e.wait_event,
		CASE WHEN e.place <= 100 THEN e.queryid END AS queryid, sum(e.observations)::bigint AS observations
	FROM events e
	GROUP BY 1, 2, 3, 4
)
SELECT $1, l.samples, f.datname, f.wait_event_type, f.wait_event, f.queryid, coalesce(f.observations, 0), l.looks
FROM looks l
	LEFT JOIN folded f ON true
WHERE l.looks IS NOT NULL
$$;
COMMENT ON FUNCTION infra_monitor.merged_waits(timestamptz, timestamptz, boolean) IS
'source of wait_samples_hourly and, of_hours, of wait_samples_daily: what was stored from since until before until; for pg_monitor';

CREATE FUNCTION infra_monitor.rollups_due(
	until timestamptz DEFAULT pg_catalog.clock_timestamp(),
	OUT rollup text, OUT source text, OUT begins_at timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE ROWS 6
AS 'MODULE_PATHNAME', 'imon_rollups_due_1_0';
COMMENT ON FUNCTION infra_monitor.rollups_due(timestamptz) IS
'the next hour or day of each rollup that had ended at that moment and was not rolled up, if there is one, and the table of which the rows of that day are needed for it; for pg_monitor';

CREATE FUNCTION infra_monitor.roll_up(until timestamptz DEFAULT pg_catalog.clock_timestamp())
RETURNS int
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'imon_roll_up_1_0';
COMMENT ON FUNCTION infra_monitor.roll_up(timestamptz) IS
'rolls up, in this transaction, all hours and days that had ended at that moment, and returns how many, each table counts; the sampler does it by itself; waits for another writer up to lock_timeout; error on a standby, outside the home database, when there is no room for them (check history_size), and unless preloaded; for superusers, grantable';
