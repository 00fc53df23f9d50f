
--
-- health.sql: the checks, their thresholds, and the document
--
-- To add a check, add a row to check_defaults() and a function check_<name>()
-- to one of the checks_*.sql, that returns its value (NULL: not known), the
-- unit, and a message for humans; no text of a user is in it, for all who read
-- the document or the log see it.  One that may have other thresholds for some
-- databases or roles has a function check_<name>_by_scope() besides, see
-- check_scopes.sql.
-- Each read of pool_pressure calls those of category pool, unless known_value()
-- in pool.c knows their values without, or leaves them out since they are not of
-- the moment.
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
	('exhaustion_eta', 'pool', 'below', 1800, 300, 2, false,
	 'See infra_monitor.pool_forecast for who contributes most to the rise, and infra_monitor.connection_leaks. Find out why connections are opened faster than they are closed before they run out.'),
	('connection_leak', 'pool', 'above', 0.05, 0.25, 2, false,
	 'See infra_monitor.connection_leaks: it names the application, and the statements that end what it left behind. Close connections in the application, also after errors, or use its pool.'),
	('deadlocks', 'pool', 'above', 1, 6, 1, false,
	 'The server log names the statements of each deadlock. Lock rows and tables in the same order everywhere, and keep transactions short.'),
	('auth_failures', 'pool', 'above', 20, 200, 1, false,
	 'See infra_monitor.recent_rejections for who was refused: a service with an old password, or somebody who guesses.'),
	('latency_p95', 'queries', 'above', 1000, 2000, 2, false,
	 'See infra_monitor.top_statements(now() - interval ''10 minutes'', order_by => ''p95_time'') for which statements are slow, and infra_monitor.query_regressions() for those that have become so.'),
	('failed_time_ratio', 'queries', 'above', 0.05, 0.20, 2, false,
	 'See the column failed_time of infra_monitor.slow_queries for which statements are cancelled or fail after users have waited for them, and infra_monitor.slow_query_log for the executions.'),
	('long_queries', 'queries', 'above', 300, 3600, 1, false,
	 'See infra_monitor.running_queries for what it waits for and how long it usually takes. Set statement_timeout for roles of applications.'),
	('slow_query_rate', 'queries', 'above', 12, 60, 2, false,
	 'See infra_monitor.slow_query_log for the executions and what they waited for, and infra_monitor.slow_queries for the statements.'),
	('rollback_ratio', 'queries', 'above', 0.10, 0.30, 2, false,
	 'See the column failures of infra_monitor.slow_queries and the server log for the errors; an application that rolls back on purpose is seen here, too.'),
	('temp_spill', 'queries', 'above', 1073741824::pg_catalog.float8, 10737418240::pg_catalog.float8, 1, false,
	 'See the column temp_blks_written of infra_monitor.slow_queries for who writes it. An index may save the sort; else raise work_mem for the role.'),
	('repeated_queries', 'queries', 'above', 5, NULL, 2, false,
	 'See infra_monitor.repeated_queries for the loop, the statement before it and the application. Fetch all rows with one join or = ANY (...), or write them in one statement.'),
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
	('disk_free', 'database', 'below', 0.20, 0.10, 2, false,
	 'See infra_monitor.disk_usage(). Delete what is no data of the server, drop what is not needed, or enlarge the file system. Never delete files of pg_wal: see wal_size for what keeps them.'),
	('disk_time_to_full', 'database', 'below', 86400, 14400, 2, false,
	 'See infra_monitor.disk_usage() for which file system. What writes: large tables or temporary files (running_queries, temp_files in pg_stat_database), the server log, or WAL that nobody takes (wal_size)?'),
	('wal_size', 'database', 'above', 2, 4, 2, false,
	 'WAL is kept for a replication slot (slots_retained_wal), for the archive (wal_archiving), or since checkpoints cannot keep up: raise max_wal_size. Never delete files of pg_wal.'),
	('replication_lag', 'replication', 'above', 30, 300, 2, false,
	 'See pg_stat_replication on the primary: compare sent_lsn, flush_lsn and replay_lsn to tell network, disk and replay apart.'),
	('replication_lag_bytes', 'replication', 'above', 268435456, 1073741824, 2, false,
	 'See pg_stat_replication on the primary: compare sent_lsn, flush_lsn and replay_lsn to tell network, disk and replay apart. Beyond what the primary keeps, a standby without slot and archive must be built anew.'),
	('sync_standby_missing', 'replication', 'above', NULL, 1, 2, true,
	 'Commits wait. Bring the standby back, or take it out of synchronous_standby_names and reload: that lets them go on, without a second copy.'),
	('slots_inactive', 'replication', 'above', 600, NULL, 1, false,
	 'Start the standby or subscriber of the slot, see pg_replication_slots. If it is gone for good: SELECT pg_drop_replication_slot(slot_name).'),
	('slots_retained_wal', 'replication', 'above', 0.5, 0.8, 1, false,
	 'Start the standby or subscriber of the slot, or find out why it is slow. If it is gone for good: SELECT pg_drop_replication_slot(slot_name). max_slot_wal_keep_size saves the disk and gives up the slot.'),
	('slots_lost', 'replication', 'above', NULL, 1, 1, false,
	 'unreserved: start its standby or subscriber before the next checkpoint. lost: build the standby or subscription anew, unless there is an archive, and drop the slot. Raise max_slot_wal_keep_size.'),
	('wal_archiving', 'replication', 'above', 60, 300, 1, false,
	 'See pg_stat_archiver and the server log for the error of archive_command. Until it works, WAL piles up and recovery to now is impossible.'),
	('wal_archive_age', 'replication', 'above', 1800, 3600, 1, false,
	 'See wal_archiving if segments wait. If none does, archive_timeout is longer than what you can afford to lose: lower it. Your own recovery point objective goes into health_threshold_overrides.'),
	('wal_receiver', 'replication', 'above', 60, 300, 1, false,
	 'See the log of the standby: is the primary of primary_conninfo reachable, the password right, a line in its pg_hba.conf, the slot there, the WAL still kept?'),
	('replay_paused', 'replication', 'above', 300, 3600, 1, false,
	 'If nobody needs it any more: SELECT pg_wal_replay_resume(). If recovery paused itself, the log says why: a setting such as max_connections is lower than on the primary.'),
	('history_published', 'replication', 'above', 1, NULL, 1, false,
	 'Before its subscribers stop: publish the tables or schemas that they need instead of all, or keep the history in a database of its own (infra_monitor.database). See Publications in the manual for the steps, also for one that has stopped.'),
	('sampler_alive', 'monitoring', 'above', 3, 10, 1, false,
	 'See infra_monitor.sampler_status for its state and last error. If it is not running, the server log says why; max_worker_processes may be too low.'),
	('missed_ticks', 'monitoring', 'above', 3, 10, 1, false,
	 'See infra_monitor.sampler_status for its last error and its cost. The machine may be overloaded, or another writer holds the lock of the history.'),
	('drops', 'monitoring', 'above', 100, 10000, 1, false,
	 'See the column drops of infra_monitor.sampler_status, and the manual for what each reason means and which setting gives more room.'),
	('history_size', 'monitoring', 'above', 0.90, 1.0, 1, false,
	 'Raise infra_monitor.max_storage if the disk has room, or store less: a longer statement_interval, fewer top_statements, a higher slow_query_threshold; or keep fewer days (retention).'),
	('statement_evictions', 'monitoring', 'above', 3, 30, 2, false,
	 'Raise pg_stat_statements.max, or find out who sends so many different statements: lists of different lengths in IN (...), or names made up for each request.'),
	('textfile', 'monitoring', 'above', 1, NULL, 1, false,
	 'The message says why. The directory must exist and belong to the user of the server, with room left; see infra_monitor.textfile and infra_monitor.snapshot_directory.'),
	('pg_stat_statements_track', 'monitoring', 'below', 0, NULL, 1, false,
	 'Set pg_stat_statements.track to top.'),
	('hidden_errors', 'monitoring', 'above', 1, 2, 1, false,
	 'Set log_min_messages to error or a lower level, such as the default, warning.'),
	('track_io_timing', 'monitoring', 'below', NULL, NULL, 1, false,
	 'Set track_io_timing to on if pg_test_timing shows that the clock is fast; without it nobody can tell slow reads from slow processors.'),
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
	d.category, d.direction,
	pg_catalog.concat(d.hint, ' Runbook: infra_monitor.md#', d.check_name,
		-- two that are named as a view, whose heading comes first
		CASE WHEN d.check_name OPERATOR(pg_catalog.=) ANY (ARRAY['lock_waits', 'repeated_queries']) THEN '-1' END) AS hint
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
COMMENT ON COLUMN infra_monitor.health_thresholds.hint IS 'what to do when it is not ok, and where the manual says more';
COMMENT ON COLUMN infra_monitor.health_thresholds.direction IS 'above: high values are bad; below: low ones';

--
-- Weights of the categories
--

CREATE FUNCTION infra_monitor.weight_defaults(OUT category text, OUT weight float8)
RETURNS SETOF record
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 5
SET search_path = pg_catalog, pg_temp
AS $$
VALUES ('database', 30::float8), ('pool', 25), ('queries', 20), ('replication', 15), ('monitoring', 10)
$$;
COMMENT ON FUNCTION infra_monitor.weight_defaults() IS
'the categories of health checks with their default weights in the score; for pg_monitor';

CREATE TABLE infra_monitor.health_weight_overrides (
	category text PRIMARY KEY,
	weight float8 NOT NULL CHECK (weight OPERATOR(pg_catalog.>=) 0 AND weight OPERATOR(pg_catalog.<=) 1000000)
);
COMMENT ON TABLE infra_monitor.health_weight_overrides IS
'weights of your own in the score: insert a row for a category; dumped by pg_dump; takes effect within infra_monitor.health_interval, in the home database; for superusers, grantable';
COMMENT ON COLUMN infra_monitor.health_weight_overrides.category IS 'a category of infra_monitor.health_weights; others are refused';
COMMENT ON COLUMN infra_monitor.health_weight_overrides.weight IS 'its share in the overall score, relative to the others, a million at most; 0: none';

SELECT pg_catalog.pg_extension_config_dump('infra_monitor.health_weight_overrides', '');

CREATE FUNCTION infra_monitor.weight_override()
RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'imon_weight_override_1_0';
COMMENT ON FUNCTION infra_monitor.weight_override() IS
'trigger: refuses a weight for a category that does not exist';

CREATE TRIGGER category_exists
	BEFORE INSERT OR UPDATE ON infra_monitor.health_weight_overrides
	FOR EACH ROW EXECUTE FUNCTION infra_monitor.weight_override();
COMMENT ON TRIGGER category_exists ON infra_monitor.health_weight_overrides IS
'refuses a weight for a category that does not exist';

CREATE VIEW infra_monitor.health_weights AS
SELECT d.category, coalesce(o.weight, d.weight) AS weight,
	CASE WHEN o.category IS NULL THEN 'default' ELSE 'override' END AS source
FROM infra_monitor.weight_defaults() d
	LEFT JOIN infra_monitor.health_weight_overrides o
		ON o.category OPERATOR(pg_catalog.=) d.category;
COMMENT ON VIEW infra_monitor.health_weights IS
'weights in force: the defaults, with health_weight_overrides over them; for pg_monitor';
COMMENT ON COLUMN infra_monitor.health_weights.weight IS 'share in the overall score, relative to the others';
COMMENT ON COLUMN infra_monitor.health_weights.source IS 'default or override';

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
	checks jsonb, weights jsonb DEFAULT '{}', OUT category text,
	OUT weight float8, OUT score float8, OUT checks int, OUT unknown int)
RETURNS SETOF record
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE ROWS 6
SET search_path = pg_catalog, pg_temp
AS $$
WITH weights AS (
	SELECT d.category, coalesce(($2->>d.category)::float8, d.weight) AS weight
	FROM infra_monitor.weight_defaults() d
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
		sum(score * weight) / nullif(sum(weight) FILTER (WHERE score IS NOT NULL), 0),
		sum(checks)::int, sum(unknown)::int, 2
	FROM scored
) s
ORDER BY place, weight DESC, category
$$;
COMMENT ON FUNCTION infra_monitor.score_checks(jsonb, jsonb) IS
'score from 0 to 10 of each category and overall: ok counts 1, warning one half, critical 0, unknown is left out; weights by category, the default ones for those left out; for pg_monitor';

CREATE FUNCTION infra_monitor.overall_status(checks jsonb)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE
	WHEN bool_or(c.essential AND c.status = 'critical') THEN 'unhealthy'
	WHEN bool_or(c.status IN ('warning', 'critical')) THEN 'degraded'
	-- a server on which no check gets through is not well
	WHEN bool_and(c.status = 'unknown') THEN 'degraded'
	ELSE 'healthy'
END
FROM jsonb_to_recordset($1) AS c (status text, essential boolean)
$$;
COMMENT ON FUNCTION infra_monitor.overall_status(jsonb) IS
'unhealthy if an essential check is critical, degraded if any is critical or warning, or if all are unknown, else healthy; for pg_monitor';

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
), weights AS MATERIALIZED (
	SELECT jsonb_object_agg(w.category, w.weight) AS list FROM infra_monitor.health_weights w
)
SELECT jsonb_build_object(
	'timestamp', clock_timestamp(),
	'status', infra_monitor.overall_status(checks.list),
	'version', current_setting('server_version'),
	'role', CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'primary' END,
	'score', (SELECT round(s.score::numeric, 1) FROM infra_monitor.score_checks(checks.list, weights.list) s WHERE s.category = 'overall'),
	'weights', weights.list,
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
FROM checks CROSS JOIN usage CROSS JOIN weights
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
	'score', (SELECT round(s.score::numeric, 1) FROM infra_monitor.score_checks(checks.list, coalesce($1->'weights', '{}')) s WHERE s.category = 'overall'),
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
	SELECT coalesce(c.document, infra_monitor.evaluate_health()) AS document,
		coalesce(c.evaluated_at, clock_timestamp()) AS evaluated_at
	FROM (VALUES (1)) one LEFT JOIN infra_monitor.health_cache() c ON true
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
FROM infra_monitor.health() h,
	LATERAL infra_monitor.score_checks(h OPERATOR(pg_catalog.->) 'checks', h OPERATOR(pg_catalog.->) 'weights') s;
COMMENT ON VIEW infra_monitor.health_score IS
'score of health() by category, 0 to 10, and overall; NULL where nothing is known; for pg_monitor';
COMMENT ON COLUMN infra_monitor.health_score.weight IS 'share in the overall score; categories of which nothing is known have none';
COMMENT ON COLUMN infra_monitor.health_score.unknown IS 'checks left out because their status is not known';
