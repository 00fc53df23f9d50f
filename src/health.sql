
--
-- health.sql: the checks, their thresholds, and the document
--
-- To add a check, add a row to check_defaults() and a function check_<name>()
-- to one of the checks_*.sql, that returns its value (NULL: not known), the
-- unit, and a message for humans.
-- Each read of pool_pressure calls those of category pool, unless known_value()
-- in pool.c knows their values without.
--

CREATE FUNCTION infra_monitor.check_defaults(
	OUT check_name text, OUT category text, OUT direction text,
	OUT warning float8, OUT critical float8, OUT hold int,
	OUT essential boolean, OUT hint text)
RETURNS SETOF record
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 10
-- without a search_path of its own, so that the planner can inline it: what
-- stands here is qualified
AS $$
VALUES
	('connections_used', 'pool', 'above', 0.75::pg_catalog.float8, 0.90::pg_catalog.float8, 2, true,
	 'See infra_monitor.pool_usage for who holds the connections. Make application pools smaller, put a transaction pooler in between, or raise max_connections.'),
	('connections_rejected', 'pool', 'above', 1, 300, 1, true,
	 'See infra_monitor.pool_rejections for the reasons and infra_monitor.recent_rejections for who was refused.'),
	('connection_storm', 'pool', 'above', 10, 50, 1, false,
	 'See infra_monitor.connection_churn for who connects so often. Keep connections open: a pool in the application with a minimum of idle connections, or a pooler in front of the server. Reconnect with a growing and random pause after an error.'),
	('role_limit', 'pool', 'above', 0.80, 0.95, 2, false,
	 'See infra_monitor.pool_usage for the connections of the role. Make its pools smaller, end those that are left idle, or raise the limit with ALTER ROLE ... CONNECTION LIMIT.'),
	('database_limit', 'pool', 'above', 0.80, 0.95, 2, false,
	 'See infra_monitor.pool_usage for the connections to the database. Make pools smaller, end connections that are left idle, or raise the limit with ALTER DATABASE ... CONNECTION LIMIT.'),
	('idle_in_transaction', 'pool', 'above', 300, 900, 1, false,
	 'Find the session in pg_stat_activity; the application forgot to commit or waits for something else. Set idle_in_transaction_session_timeout.'),
	('lock_waits', 'pool', 'above', 30, 120, 1, false,
	 'See infra_monitor.lock_waits for who blocks whom, and what the root of it is doing. Set lock_timeout for schema changes.'),
	('long_transactions', 'queries', 'above', 300, 3600, 1, false,
	 'Vacuum cannot remove what an open transaction may still see. Split the work, or end the session with pg_terminate_backend().'),
	('xid_wraparound', 'database', 'above', 0.40, 0.60, 1, true,
	 'Look for what holds vacuum back: long transactions, prepared transactions, replication slots. Then run VACUUM (FREEZE) in the database named.'),
	('multixact_wraparound', 'database', 'above', 0.40, 0.60, 1, true,
	 'Look for what holds vacuum back, see check xmin_horizon. Then run VACUUM (FREEZE) in the database named.'),
	('xmin_horizon', 'database', 'above', 5000000, 50000000, 1, false,
	 'The message says who: end the session, COMMIT PREPARED or ROLLBACK PREPARED, drop a slot that nobody reads, or look at the oldest query of the standby.'),
	('prepared_transactions', 'database', 'above', 300, 3600, 1, false,
	 'See pg_prepared_xacts. Ask the transaction manager that owns it; then, in its database, COMMIT PREPARED or ROLLBACK PREPARED.'),
	('autovacuum_saturation', 'database', 'above', 1, NULL, 10, false,
	 'See pg_stat_progress_vacuum for what the workers do. Raise autovacuum_vacuum_cost_limit, which all of them share, before autovacuum_max_workers.'),
	('checkpoints_requested', 'database', 'above', 0.50, 0.80, 1, false,
	 'Raise max_wal_size until checkpoints come by checkpoint_timeout; log_checkpoints says what each was for.'),
	('checksum_failures', 'database', 'above', NULL, 1, 1, true,
	 'Stop writing to the database named, copy it as it is, and find the page in the server log. Suspect the disk, and restore from a backup. Reset by pg_stat_reset() there.'),
	('pending_restart', 'database', 'above', 1, NULL, 1, false,
	 'SELECT name FROM pg_settings WHERE pending_restart. Restart the server at a time of your choice, or take the change back and reload.'),
	('invalid_indexes', 'database', 'above', 1, NULL, 1, false,
	 'See infra_monitor.database_checks. In the database named, REINDEX INDEX CONCURRENTLY, or DROP INDEX and build it again.'),
	('sequence_exhaustion', 'database', 'above', 0.75, 0.90, 1, false,
	 'See infra_monitor.database_checks. Change the column and its references to bigint in time, then ALTER SEQUENCE ... AS bigint.'),
	('vacuum_debt', 'database', 'above', 2, 5, 1, false,
	 'See check xmin_horizon for what holds vacuum back, autovacuum_saturation for whether it comes, and VACUUM (VERBOSE) the table named.'),
	('stale_statistics', 'database', 'above', 3, 10, 1, false,
	 'ANALYZE the table named. If autovacuum is off for it or comes too late, set its autovacuum_analyze_scale_factor.'),
	('memory', 'database', 'above', 0.90, 0.95, 2, false,
	 'See the largest processes in top, then work_mem, hash_mem_multiplier and the number of connections; shared_buffers last. Raise the limit of the container if the message names that.'),
	('cpu', 'database', 'above', 0.90, 0.98, 10, false,
	 'See infra_monitor.running_queries and slow_queries for what works, and top for what else does. More connections make it slower.'),
	('load', 'database', 'above', 2, 4, 1, false,
	 'Compare checks cpu and io_pressure: processes wait for a processor or for the disk. See infra_monitor.running_queries for whose.'),
	('cpu_pressure', 'database', 'above', 0.60, 0.90, 1, false,
	 'Fewer active connections, less work for each (infra_monitor.slow_queries), or more processors; in a container look at its CPU quota first.'),
	('memory_pressure', 'database', 'above', 0.05, 0.20, 1, false,
	 'Memory is being taken back and read again. See check memory; less work_mem, fewer connections, smaller shared_buffers or more memory.'),
	('io_pressure', 'database', 'above', 0.20, 0.50, 1, false,
	 'See infra_monitor.wait_profile for IO events and the statements behind them, check checkpoints_requested, and the limits of the disk.'),
	('oom_kills', 'database', 'above', NULL, 1, 1, false,
	 'See the kernel log (dmesg) for what was killed: a server process takes all others along. See check memory; set vm.overcommit_memory = 2.'),
	('replication_lag', 'replication', 'above', 30, 300, 2, false,
	 'See pg_stat_replication on the primary: compare sent_lsn, flush_lsn and replay_lsn to tell network, disk and replay apart.'),
	('wal_archiving', 'replication', 'above', 60, 300, 1, false,
	 'See pg_stat_archiver and the server log for the error of archive_command. Until it works, WAL piles up and recovery to now is impossible.'),
	('sampler_alive', 'monitoring', 'above', 3, 10, 1, false,
	 'See infra_monitor.sampler_status for its state and last error. If it is not running, the server log says why; max_worker_processes may be too low.'),
	('pg_stat_statements_loaded', 'monitoring', 'below', 0, NULL, 1, false,
	 'Add pg_stat_statements to shared_preload_libraries and restart the server; statements are not counted without it.')
$$;
COMMENT ON FUNCTION infra_monitor.check_defaults() IS
'the health checks with their default thresholds; a value at or beyond a threshold (direction above or below) has its status; hold = evaluations in a row before a status changes; for pg_monitor';

CREATE TABLE infra_monitor.health_threshold_overrides (
	check_name text PRIMARY KEY,
	warning float8,
	critical float8,
	enabled boolean,
	hold int CHECK (hold OPERATOR(pg_catalog.>=) 1),
	essential boolean
);
COMMENT ON TABLE infra_monitor.health_threshold_overrides IS
'thresholds of your own: insert a row for a check; NULL keeps the default, ''Infinity'' turns one threshold off; dumped by pg_dump; takes effect within infra_monitor.health_interval, in the home database; for superusers, grantable';
COMMENT ON COLUMN infra_monitor.health_threshold_overrides.check_name IS 'a check of infra_monitor.health_thresholds; others are refused';
COMMENT ON COLUMN infra_monitor.health_threshold_overrides.warning IS 'value, in the unit of the check, at which it warns';
COMMENT ON COLUMN infra_monitor.health_threshold_overrides.critical IS 'value, in the unit of the check, at which it is critical';
COMMENT ON COLUMN infra_monitor.health_threshold_overrides.enabled IS 'false: not evaluated';
COMMENT ON COLUMN infra_monitor.health_threshold_overrides.hold IS 'evaluations in a row before its status changes';
COMMENT ON COLUMN infra_monitor.health_threshold_overrides.essential IS 'when critical, the server is unhealthy';

SELECT pg_catalog.pg_extension_config_dump('infra_monitor.health_threshold_overrides', '');

CREATE FUNCTION infra_monitor.check_override()
RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'imon_check_override_1_0';
COMMENT ON FUNCTION infra_monitor.check_override() IS
'trigger: refuses an override for a check that does not exist';

CREATE TRIGGER check_exists
	BEFORE INSERT OR UPDATE ON infra_monitor.health_threshold_overrides
	FOR EACH ROW EXECUTE FUNCTION infra_monitor.check_override();
COMMENT ON TRIGGER check_exists ON infra_monitor.health_threshold_overrides IS
'refuses an override for a check that does not exist';

CREATE VIEW infra_monitor.health_thresholds AS
SELECT d.check_name,
	coalesce(o.warning, d.warning) AS warning,
	coalesce(o.critical, d.critical) AS critical,
	coalesce(o.enabled, true) AS enabled,
	coalesce(o.hold, d.hold) AS hold,
	coalesce(o.essential, d.essential) AS essential,
	CASE WHEN o.check_name IS NULL THEN 'default' ELSE 'override' END AS source,
	d.category, d.direction, d.hint
FROM infra_monitor.check_defaults() d
	LEFT JOIN infra_monitor.health_threshold_overrides o
		ON o.check_name OPERATOR(pg_catalog.=) d.check_name;
COMMENT ON VIEW infra_monitor.health_thresholds IS
'thresholds in force: the defaults, with health_threshold_overrides over them; for pg_monitor';
COMMENT ON COLUMN infra_monitor.health_thresholds.warning IS 'value, in the unit of the check, at which it warns; NULL: never';
COMMENT ON COLUMN infra_monitor.health_thresholds.critical IS 'value, in the unit of the check, at which it is critical; NULL: never';
COMMENT ON COLUMN infra_monitor.health_thresholds.hold IS 'evaluations in a row before its status changes';
COMMENT ON COLUMN infra_monitor.health_thresholds.essential IS 'when critical, the server is unhealthy';
COMMENT ON COLUMN infra_monitor.health_thresholds.source IS 'default or override';
COMMENT ON COLUMN infra_monitor.health_thresholds.direction IS 'above: high values are bad; below: low ones';

--
-- Evaluation and the document
--

CREATE FUNCTION infra_monitor.evaluate_checks(
	category text DEFAULT NULL, OUT name text, OUT category text,
	OUT status text, OUT value float8, OUT unit text, OUT warning float8,
	OUT critical float8, OUT message text, OUT hint text,
	OUT since timestamptz, OUT essential boolean)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10
AS 'MODULE_PATHNAME', 'imon_evaluate_checks_1_0';
COMMENT ON FUNCTION infra_monitor.evaluate_checks(text) IS
'evaluates the enabled checks of a category, or all, now and with the rights of the caller, without their hold; a check that fails is unknown, with the error as its message; for pg_monitor';

CREATE FUNCTION infra_monitor.probe_latency()
RETURNS float8
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'imon_probe_latency_1_0';
COMMENT ON FUNCTION infra_monitor.probe_latency() IS
'time that a trivial query takes, without the client, ms; for pg_monitor';

CREATE FUNCTION infra_monitor.score_checks(
	checks jsonb, OUT category text, OUT weight float8, OUT score float8,
	OUT checks int, OUT unknown int)
RETURNS SETOF record
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE ROWS 6
SET search_path = pg_catalog, pg_temp
AS $$
WITH weights (category, weight) AS (
	VALUES ('database', 30::float8), ('pool', 25), ('queries', 20), ('replication', 15), ('monitoring', 10)
), scored AS (
	SELECT w.category, w.weight,
		10 * avg(CASE c.status WHEN 'ok' THEN 1 WHEN 'warning' THEN 0.5 WHEN 'critical' THEN 0 END)::float8 AS score,
		count(c.status)::int AS checks,
		(count(*) FILTER (WHERE c.status = 'unknown'))::int AS unknown
	FROM weights w
		LEFT JOIN jsonb_to_recordset($1) AS c (category text, status text) ON c.category = w.category
	GROUP BY w.category, w.weight
)
SELECT category, weight, score, checks, unknown FROM (
	SELECT *, 1 AS place FROM scored
	UNION ALL
	SELECT 'overall', sum(weight) FILTER (WHERE score IS NOT NULL),
		sum(score * weight) / sum(weight) FILTER (WHERE score IS NOT NULL),
		sum(checks)::int, sum(unknown)::int, 2
	FROM scored
) s
ORDER BY place, weight DESC
$$;
COMMENT ON FUNCTION infra_monitor.score_checks(jsonb) IS
'score from 0 to 10 of each category and overall: ok counts 1, warning one half, critical 0, unknown is left out; for pg_monitor';

CREATE FUNCTION infra_monitor.overall_status(checks jsonb)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE
	WHEN bool_or(c.essential AND c.status = 'critical') THEN 'unhealthy'
	WHEN bool_or(c.status IN ('warning', 'critical')) THEN 'degraded'
	ELSE 'healthy'
END
FROM jsonb_to_recordset($1) AS c (status text, essential boolean)
$$;
COMMENT ON FUNCTION infra_monitor.overall_status(jsonb) IS
'unhealthy if an essential check is critical, degraded if any is critical or warning, else healthy; for pg_monitor';

CREATE FUNCTION infra_monitor.evaluate_health()
RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
WITH checks AS MATERIALIZED (
	SELECT coalesce(jsonb_agg(to_jsonb(c) ORDER BY c.category, c.name), '[]') AS list,
		coalesce(jsonb_agg(to_jsonb(c)) FILTER (WHERE c.category IN ('database', 'pool')), '[]') AS of_database,
		(array_agg(c.message ORDER BY c.status, c.name) FILTER (
			WHERE c.category IN ('database', 'pool') AND c.status IN ('critical', 'warning')))[1] AS worst
	FROM infra_monitor.evaluate_checks() c
), usage AS MATERIALIZED (
	SELECT * FROM infra_monitor.system_usage()
)
SELECT jsonb_build_object(
	'timestamp', clock_timestamp(),
	'status', infra_monitor.overall_status(checks.list),
	'version', current_setting('server_version'),
	'role', CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'primary' END,
	'score', (SELECT round(s.score::numeric, 1) FROM infra_monitor.score_checks(checks.list) s WHERE s.category = 'overall'),
	'services', jsonb_build_object('database', jsonb_build_object(
		'status', infra_monitor.overall_status(checks.of_database),
		'latency', round(infra_monitor.probe_latency()::numeric, 3),
		'pool', CASE WHEN infra_monitor.preloaded() THEN (
			SELECT jsonb_build_object('used', p.used_connections, 'available', p.available_connections,
				'max', p.max_connections, 'idle', p.idle, 'active', p.active, 'waiting', p.waiting)
			FROM infra_monitor.pool_counts() p) END,
		'error', checks.worst)),
	'system', jsonb_build_object(
		'memory', jsonb_build_object('used', usage.memory_used, 'total', usage.memory_total,
			'percentage', round(100.0 * usage.memory_used / nullif(usage.memory_total, 0), 1)),
		'cpu', jsonb_build_object('usage', round(100 * usage.cpu_ratio::numeric, 1)),
		'disk', jsonb_build_object('used', usage.disk_used, 'total', usage.disk_total,
			'percentage', round(100.0 * usage.disk_used / nullif(usage.disk_total, 0), 1))),
	'checks', checks.list)
FROM checks CROSS JOIN usage
$$;
COMMENT ON FUNCTION infra_monitor.evaluate_health() IS
'evaluates all checks now and returns the document of health() without its age; for pg_monitor';

CREATE FUNCTION infra_monitor.health_cache(OUT document jsonb, OUT evaluated_at timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 1
AS 'MODULE_PATHNAME', 'imon_health_cache_1_0';
COMMENT ON FUNCTION infra_monitor.health_cache() IS
'the document that the sampler evaluated last; no row if there is none; for pg_monitor';

CREATE FUNCTION infra_monitor.mark_stale(document jsonb, age interval)
RETURNS jsonb
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT $1 || jsonb_build_object(
	'status', CASE $1->>'status' WHEN 'healthy' THEN 'degraded' ELSE $1->>'status' END,
	'score', (SELECT round(s.score::numeric, 1) FROM infra_monitor.score_checks(checks.list) s WHERE s.category = 'overall'),
	'checks', checks.list)
FROM (
	SELECT coalesce(jsonb_agg(CASE c->>'name' WHEN 'sampler_alive'
		THEN c || jsonb_build_object('status', 'critical', 'message',
			format('health was last evaluated %s ago', date_trunc('second', $2)))
		ELSE c END), '[]') AS list
	FROM jsonb_array_elements($1->'checks') c
) checks
$$;
COMMENT ON FUNCTION infra_monitor.mark_stale(jsonb, interval) IS
'the document as it must be shown when nobody evaluates any more: at least degraded, sampler_alive critical; for pg_monitor';

CREATE FUNCTION infra_monitor.health(detailed boolean DEFAULT true)
RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
WITH latest AS MATERIALIZED (
	SELECT document, evaluated_at FROM infra_monitor.health_cache()
	UNION ALL
	SELECT infra_monitor.evaluate_health(), clock_timestamp()
	WHERE NOT EXISTS (SELECT FROM infra_monitor.health_cache())
), aged AS (
	SELECT document, clock_timestamp() - evaluated_at AS age,
		coalesce(current_setting('infra_monitor.health_interval', true), '30s')::interval AS interval
	FROM latest
), shown AS (
	SELECT age, CASE WHEN age > 2 * interval THEN infra_monitor.mark_stale(document, age) ELSE document END AS document
	FROM aged
)
SELECT CASE WHEN $1
	THEN document || jsonb_build_object(
		'uptime', floor(extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())),
		'age_ms', round(1000 * extract(epoch FROM age)))
	ELSE jsonb_build_object('status', document->'status', 'timestamp', document->'timestamp', 'score', document->'score')
END
FROM shown
$$;
COMMENT ON FUNCTION infra_monitor.health(boolean) IS
'health of the server as one document, from the last evaluation of the sampler; its keys may be added to, and are never renamed; older than two health intervals it is marked as stale; evaluated now only if there is no evaluation yet; false: status, timestamp and score only; for pg_monitor';

CREATE FUNCTION infra_monitor.health_status()
RETURNS text
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT infra_monitor.health(false)->>'status' $$;
COMMENT ON FUNCTION infra_monitor.health_status() IS
'healthy, degraded or unhealthy, from the last evaluation of the sampler; for pg_monitor';

CREATE VIEW infra_monitor.health_checks AS
SELECT c.name, c.category, c.status, c.value, c.unit, c.warning, c.critical,
	c.message, c.hint, c.since
FROM pg_catalog.jsonb_to_recordset(infra_monitor.health() OPERATOR(pg_catalog.->) 'checks') AS c (
	name text, category text, status text, value float8, unit text,
	warning float8, critical float8, message text, hint text, since timestamptz);
COMMENT ON VIEW infra_monitor.health_checks IS
'the checks of health() as rows; for pg_monitor';
COMMENT ON COLUMN infra_monitor.health_checks.status IS 'ok, warning, critical or unknown';
COMMENT ON COLUMN infra_monitor.health_checks.since IS 'since when it has this status';

CREATE VIEW infra_monitor.health_score AS
SELECT s.category, s.weight, s.score, s.checks, s.unknown
FROM infra_monitor.score_checks(infra_monitor.health() OPERATOR(pg_catalog.->) 'checks') s;
COMMENT ON VIEW infra_monitor.health_score IS
'score of health() by category, 0 to 10, and overall; NULL where nothing is known; for pg_monitor';
COMMENT ON COLUMN infra_monitor.health_score.weight IS 'share in the overall score; categories of which nothing is known have none';
COMMENT ON COLUMN infra_monitor.health_score.unknown IS 'checks left out because their status is not known';
