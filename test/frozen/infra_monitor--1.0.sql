/* infra_monitor--1.0.sql: built from src, do not edit */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION infra_monitor CASCADE" to load this file. \quit

--
-- schema.sql: the schema, and what belongs to no other part
--

-- Not in the control file: that would adopt a schema which exists already.
CREATE SCHEMA infra_monitor;
COMMENT ON SCHEMA infra_monitor IS
'infra_monitor: connection pool pressure, slow queries and health of the server, with history';

CREATE FUNCTION infra_monitor.preloaded()
RETURNS boolean
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_preloaded_1_0';
COMMENT ON FUNCTION infra_monitor.preloaded() IS
'was the library loaded via shared_preload_libraries, so that everything works? for pg_monitor';

CREATE FUNCTION infra_monitor.shown(name)
RETURNS name
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_shown_1_0';
COMMENT ON FUNCTION infra_monitor.shown(name) IS
'a name as it can be shown: names of databases and roles are stored as bytes, and those that are not valid in the encoding of this database become ?; for pg_monitor';

CREATE FUNCTION infra_monitor.shared_memory(OUT part text, OUT bytes bigint)
RETURNS SETOF record
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_shared_memory_1_0';
COMMENT ON FUNCTION infra_monitor.shared_memory() IS
'shared memory of infra_monitor by part, in bytes; fixed at server start; error unless preloaded; for pg_monitor';

--
-- activity.sql: what the client backends are doing now
--

CREATE FUNCTION infra_monitor.sessions(
	OUT pid int, OUT datname name, OUT usename name, OUT application_name text,
	OUT client_addr inet, OUT backend_start timestamptz,
	OUT xact_start timestamptz, OUT query_start timestamptz,
	OUT state_change timestamptz, OUT state text, OUT wait_event_type text,
	OUT wait_event text, OUT queryid bigint, OUT query text)
RETURNS SETOF record
LANGUAGE c STABLE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'imon_sessions_1_0';
COMMENT ON FUNCTION infra_monitor.sessions() IS
'client backends with their state, frozen within a transaction like pg_stat_activity; texts of other roles need pg_read_all_stats, a query that can carry a secret shows its command tag only; works without preloading; for pg_monitor';

--
-- connections.sql: connections that were refused
--

CREATE FUNCTION infra_monitor.pool_rejections(
	OUT reason text, OUT total bigint, OUT last_at timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 8
AS 'MODULE_PATHNAME', 'imon_pool_rejections_1_0';
COMMENT ON FUNCTION infra_monitor.pool_rejections() IS
'source of the view pool_rejections; error unless preloaded; for pg_monitor';

CREATE VIEW infra_monitor.pool_rejections AS
SELECT reason, total, last_at FROM infra_monitor.pool_rejections();
COMMENT ON VIEW infra_monitor.pool_rejections IS
'connections refused since the counters were reset, by reason, always all reasons; counts what the server logs, so log_min_messages must be fatal or lower; error unless preloaded; for pg_monitor';
COMMENT ON COLUMN infra_monitor.pool_rejections.reason IS
'max_connections, reserved, role_limit, database_limit, authentication (SQLSTATE class 28), starting_up (or in recovery), shutting_down, other';
COMMENT ON COLUMN infra_monitor.pool_rejections.total IS 'connections refused for this reason';
COMMENT ON COLUMN infra_monitor.pool_rejections.last_at IS 'when it happened last; NULL if it did not';

CREATE FUNCTION infra_monitor.recent_rejections(
	OUT at timestamptz, OUT reason text, OUT sqlstate text, OUT usename text,
	OUT datname text, OUT application_name text, OUT client_addr inet)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED ROWS 256
AS 'MODULE_PATHNAME', 'imon_recent_rejections_1_0';
COMMENT ON FUNCTION infra_monitor.recent_rejections() IS
'source of the view recent_rejections; error unless preloaded; for pg_monitor';

CREATE VIEW infra_monitor.recent_rejections AS
SELECT at, reason, sqlstate, usename, datname, application_name, client_addr
FROM infra_monitor.recent_rejections();
COMMENT ON VIEW infra_monitor.recent_rejections IS
'the last 256 refused connections, newest first; names are as the client sent them and need pg_read_all_stats, but for one''s own; error unless preloaded; for pg_monitor';
COMMENT ON COLUMN infra_monitor.recent_rejections.at IS 'when the connection was refused';
COMMENT ON COLUMN infra_monitor.recent_rejections.reason IS 'as in pool_rejections';
COMMENT ON COLUMN infra_monitor.recent_rejections.sqlstate IS 'SQLSTATE that the client received';
COMMENT ON COLUMN infra_monitor.recent_rejections.usename IS 'role that the client asked for';
COMMENT ON COLUMN infra_monitor.recent_rejections.datname IS 'database that the client asked for';
COMMENT ON COLUMN infra_monitor.recent_rejections.application_name IS 'application name that the client gave, or empty';
COMMENT ON COLUMN infra_monitor.recent_rejections.client_addr IS 'address of the client; NULL for a Unix-domain socket';

--
-- system.sql: the machine
--

CREATE FUNCTION infra_monitor.system_usage(
	OUT cpu_ratio float8, OUT memory_used bigint, OUT memory_total bigint,
	OUT disk_used bigint, OUT disk_total bigint)
RETURNS record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_system_usage_1_0';
COMMENT ON FUNCTION infra_monitor.system_usage() IS
'machine of the server: busy share of its processors over the last sample interval, memory (used is what programs cannot get) and file system of the data directory in bytes; NULL is not known; for pg_monitor';

--
-- statements.sql: the one reader of pg_stat_statements
--

CREATE FUNCTION infra_monitor.pg_stat_statements_loaded()
RETURNS boolean
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_pg_stat_statements_loaded_1_0';
COMMENT ON FUNCTION infra_monitor.pg_stat_statements_loaded() IS
'was pg_stat_statements preloaded, so that it collects? for pg_monitor';

CREATE FUNCTION infra_monitor.statement_stats(
	showtext boolean, OUT userid oid, OUT dbid oid, OUT queryid bigint,
	OUT toplevel boolean, OUT query text, OUT calls bigint,
	OUT total_exec_time float8, OUT max_exec_time float8, OUT rows bigint,
	OUT shared_blks_hit bigint, OUT shared_blks_read bigint,
	OUT temp_blks_written bigint, OUT wal_bytes numeric,
	OUT stats_since timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'imon_statement_stats_1_0';
COMMENT ON FUNCTION infra_monitor.statement_stats(boolean) IS
'pg_stat_statements in whatever schema and version it is installed; times in ms; its own privileges apply to texts; error if it is not preloaded; for pg_monitor';

--
-- slow_queries.sql: which statements are slow, which are running too long
--

CREATE VIEW infra_monitor.slow_queries AS
SELECT s.userid, s.dbid, infra_monitor.shown(r.rolname) AS usename,
	infra_monitor.shown(d.datname) AS datname, s.queryid,
	s.toplevel, s.calls, s.total_exec_time,
	s.total_exec_time OPERATOR(pg_catalog./) nullif(s.calls, 0)::pg_catalog.float8 AS mean_exec_time,
	s.max_exec_time, s.rows, s.shared_blks_hit, s.shared_blks_read,
	s.temp_blks_written, s.wal_bytes, s.query, s.stats_since
FROM infra_monitor.statement_stats(true) s
	LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) s.userid
	LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) s.dbid;
COMMENT ON VIEW infra_monitor.slow_queries IS
'statements of all databases as pg_stat_statements has counted them, completed executions only; times in ms; order by the column that matters to you; error if pg_stat_statements is not preloaded; for pg_monitor, texts of other roles need pg_read_all_stats';
COMMENT ON COLUMN infra_monitor.slow_queries.usename IS 'NULL if the role has been dropped';
COMMENT ON COLUMN infra_monitor.slow_queries.datname IS 'NULL if the database has been dropped';
COMMENT ON COLUMN infra_monitor.slow_queries.toplevel IS 'executed as a statement of its own, not inside a function; taken for true before pg_stat_statements 1.9';
COMMENT ON COLUMN infra_monitor.slow_queries.calls IS 'executions that completed';
COMMENT ON COLUMN infra_monitor.slow_queries.total_exec_time IS 'time spent executing, ms';
COMMENT ON COLUMN infra_monitor.slow_queries.mean_exec_time IS 'mean time of an execution, ms';
COMMENT ON COLUMN infra_monitor.slow_queries.max_exec_time IS 'longest execution, ms';
COMMENT ON COLUMN infra_monitor.slow_queries.wal_bytes IS 'write-ahead log generated, bytes';
COMMENT ON COLUMN infra_monitor.slow_queries.query IS 'text; a command that can carry a secret shows its tag only; NULL if pg_stat_statements cannot convert the texts of all databases to the encoding of this one';
COMMENT ON COLUMN infra_monitor.slow_queries.stats_since IS 'the counts are of no earlier time: since this statement was entered (pg_stat_statements 1.11 and later), or since all were reset; NULL before 1.9';

CREATE VIEW infra_monitor.running_queries AS
SELECT s.pid, s.datname, s.usename, s.application_name,
	pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) s.query_start)
		OPERATOR(pg_catalog.*) 1000 AS elapsed_time,
	pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) s.xact_start)
		OPERATOR(pg_catalog.*) 1000 AS transaction_time,
	s.wait_event_type, s.wait_event,
	CASE WHEN s.wait_event_type OPERATOR(pg_catalog.=) 'Lock'
		THEN pg_catalog.pg_blocking_pids(s.pid) ELSE '{}' END AS blocked_by,
	s.queryid, s.query
FROM infra_monitor.sessions() s
	-- known to the server only where the library is preloaded; -1 becomes -1 s
	CROSS JOIN (SELECT coalesce(pg_catalog.current_setting('infra_monitor.slow_query_threshold', true), '1s')::pg_catalog.interval AS threshold) t
WHERE s.state OPERATOR(pg_catalog.=) 'active'
	AND s.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()
	AND t.threshold OPERATOR(pg_catalog.>=) '0'
	AND (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) s.query_start) OPERATOR(pg_catalog.>=) t.threshold;
COMMENT ON VIEW infra_monitor.running_queries IS
'queries of other sessions that have been active for longer than infra_monitor.slow_query_threshold; times in ms; for pg_monitor, texts of other roles need pg_read_all_stats';
COMMENT ON COLUMN infra_monitor.running_queries.elapsed_time IS 'time since the query began, ms';
COMMENT ON COLUMN infra_monitor.running_queries.transaction_time IS 'time since its transaction began, ms';
COMMENT ON COLUMN infra_monitor.running_queries.blocked_by IS 'processes that hold the lock it waits for, as pg_blocking_pids(); empty if it waits for no lock';
COMMENT ON COLUMN infra_monitor.running_queries.query IS 'text; a command that can carry a secret shows its tag only';

--
-- health.sql: the checks, their thresholds, and the document
--
-- To add a check, add a row to check_defaults() and a function check_<name>()
-- that returns its value (NULL: not known), the unit, and a message for humans.
--

CREATE FUNCTION infra_monitor.check_defaults(
	OUT check_name text, OUT category text, OUT direction text,
	OUT warning float8, OUT critical float8, OUT hold int,
	OUT essential boolean, OUT hint text)
RETURNS SETOF record
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
VALUES
	('connections_used', 'pool', 'above', 0.75::float8, 0.90::float8, 2, true,
	 'See infra_monitor.pool_usage for who holds the connections. Make application pools smaller, put a transaction pooler in between, or raise max_connections.'),
	('connections_rejected', 'pool', 'above', 1, 300, 1, true,
	 'See infra_monitor.pool_rejections for the reasons and infra_monitor.recent_rejections for who was refused.'),
	('idle_in_transaction', 'pool', 'above', 300, 900, 1, false,
	 'Find the session in pg_stat_activity; the application forgot to commit or waits for something else. Set idle_in_transaction_session_timeout.'),
	('lock_waits', 'pool', 'above', 30, 120, 1, false,
	 'See infra_monitor.running_queries, column blocked_by, for who blocks. Set lock_timeout for schema changes.'),
	('long_transactions', 'queries', 'above', 300, 3600, 1, false,
	 'Vacuum cannot remove what an open transaction may still see. Split the work, or end the session with pg_terminate_backend().'),
	('xid_wraparound', 'database', 'above', 0.40, 0.60, 1, true,
	 'Look for what holds vacuum back: long transactions, prepared transactions, replication slots. Then run VACUUM (FREEZE) in the database named.'),
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
-- The checks.  All are for pg_monitor.
--

CREATE FUNCTION infra_monitor.check_connections_used(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT used_ratio, 'ratio',
	format('%s of %s connections used (%s reserved, %s authenticating), %s left for ordinary roles',
		used_connections, max_connections, reserved_connections, authenticating, available_connections)
FROM infra_monitor.pool_counts()
$$;
COMMENT ON FUNCTION infra_monitor.check_connections_used() IS
'health check: share of the slots for ordinary roles that is taken; 1 means that they are refused';

CREATE FUNCTION infra_monitor.check_connections_rejected(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT n::float8, 'connections',
	format('connections refused in the last 5 minutes: %s', n)
FROM infra_monitor.rejected_recently() n
$$;
COMMENT ON FUNCTION infra_monitor.check_connections_rejected() IS
'health check: connections refused in the last five minutes, without authentication failures; the critical default is one a second';

CREATE FUNCTION infra_monitor.check_idle_in_transaction(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(extract(epoch FROM oldest_idle_in_transaction), 0)::float8, 'seconds',
	CASE idle_in_transaction WHEN 0 THEN 'no session is idle in transaction'
		ELSE format('sessions idle in transaction: %s, the longest for %s',
			idle_in_transaction, date_trunc('second', oldest_idle_in_transaction)) END
FROM infra_monitor.pool_counts()
$$;
COMMENT ON FUNCTION infra_monitor.check_idle_in_transaction() IS
'health check: longest time that a session has been idle in transaction, seconds; it may hold locks and holds vacuum back';

CREATE FUNCTION infra_monitor.check_lock_waits(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(extract(epoch FROM oldest_lock_wait), 0)::float8, 'seconds',
	CASE waiting WHEN 0 THEN 'no session waits for a lock'
		ELSE format('sessions waiting for a lock: %s, the longest for %s',
			waiting, date_trunc('second', coalesce(oldest_lock_wait, '0'))) END
FROM infra_monitor.pool_counts()
$$;
COMMENT ON FUNCTION infra_monitor.check_lock_waits() IS
'health check: longest time that a session has been waiting for a heavyweight lock, seconds';

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

CREATE FUNCTION infra_monitor.check_xid_wraparound(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT age(datfrozenxid) / 2147483648.0::float8, 'ratio',
	format('database "%s" is %s transactions old, of 2^31 at which the server stops', infra_monitor.shown(datname), age(datfrozenxid))
FROM pg_database ORDER BY age(datfrozenxid) DESC, datname LIMIT 1
$$;
COMMENT ON FUNCTION infra_monitor.check_xid_wraparound() IS
'health check: age of the oldest database as a share of 2^31 transactions';

CREATE FUNCTION infra_monitor.check_replication_lag(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE
		WHEN NOT pg_is_in_recovery() THEN coalesce(extract(epoch FROM p.lag), 0)::float8
		WHEN s.received IS NOT DISTINCT FROM s.replayed THEN 0
		ELSE greatest(extract(epoch FROM clock_timestamp() - s.replayed_at), 0)::float8
	END,
	'seconds',
	CASE
		WHEN NOT pg_is_in_recovery() AND p.standbys = 0 THEN 'no standby is connected'
		WHEN NOT pg_is_in_recovery() THEN format('standbys connected: %s, the slowest replays %s behind',
			p.standbys, date_trunc('second', coalesce(p.lag, '0')))
		WHEN s.received IS NOT DISTINCT FROM s.replayed THEN 'all received WAL has been replayed'
		ELSE format('the last replayed transaction is of %s', coalesce(s.replayed_at::text, 'an unknown time'))
	END
FROM (SELECT max(replay_lag) AS lag, count(*) AS standbys FROM pg_stat_replication WHERE state <> 'backup') p,
	(SELECT pg_last_wal_receive_lsn() AS received, pg_last_wal_replay_lsn() AS replayed,
		pg_last_xact_replay_timestamp() AS replayed_at) s
$$;
COMMENT ON FUNCTION infra_monitor.check_replication_lag() IS
'health check: on the primary the replay lag of the slowest standby, on a standby the time since the last replayed transaction while received WAL waits, seconds';

CREATE FUNCTION infra_monitor.check_wal_archiving(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN r.n = 0 THEN 0 ELSE greatest(extract(epoch FROM clock_timestamp() - r.oldest), 0)::float8 END,
	'seconds',
	CASE
		WHEN current_setting('archive_mode') = 'off' THEN 'archiving is off'
		WHEN r.n = 0 THEN 'no WAL segment waits for archiving'
		ELSE format('WAL segments waiting for archiving: %s, the oldest since %s; failures so far: %s',
			r.n, r.oldest, a.failed_count)
	END
FROM pg_stat_archiver a,
	(SELECT count(*) AS n, min(f.modification) AS oldest
	 FROM pg_ls_archive_statusdir() f
	 WHERE f.name LIKE '%.ready' AND current_setting('archive_mode') <> 'off') r
$$;
COMMENT ON FUNCTION infra_monitor.check_wal_archiving() IS
'health check: time that the oldest WAL segment has been waiting for archiving, seconds; grows while archive_command fails or cannot keep up';

CREATE FUNCTION infra_monitor.check_sampler_alive(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT extract(epoch FROM clock_timestamp() - coalesce(s.last_tick, pg_postmaster_start_time()))::float8
		/ extract(epoch FROM current_setting('infra_monitor.sample_interval')::interval)::float8,
	'intervals',
	format('the sampler is %s; last sample %s', s.state, coalesce(s.last_tick::text, 'never'))
FROM infra_monitor.sampler_state() s
$$;
COMMENT ON FUNCTION infra_monitor.check_sampler_alive() IS
'health check: time since the sampler last did its work, in sample intervals';

CREATE FUNCTION infra_monitor.check_pg_stat_statements_loaded(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN loaded THEN 1 ELSE 0 END::float8, 'boolean',
	CASE WHEN loaded THEN 'pg_stat_statements is loaded' ELSE 'pg_stat_statements is not loaded' END
FROM infra_monitor.pg_stat_statements_loaded() loaded
$$;
COMMENT ON FUNCTION infra_monitor.check_pg_stat_statements_loaded() IS
'health check: 1 if pg_stat_statements was preloaded, else 0';

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

--
-- pool.sql: how close to running out of connections, and who holds them
--

CREATE FUNCTION infra_monitor.pool_counts(
	OUT max_connections int, OUT reserved_connections int,
	OUT used_connections int, OUT available_connections int,
	OUT used_ratio float8, OUT active int, OUT idle int,
	OUT idle_in_transaction int, OUT waiting int, OUT peak_connections int,
	OUT peak_at timestamptz, OUT connects_total bigint,
	OUT disconnects_total bigint, OUT rejected_total bigint,
	OUT auth_failures_total bigint, OUT oldest_transaction interval,
	OUT oldest_idle_in_transaction interval, OUT stats_reset timestamptz,
	OUT authenticating int, OUT oldest_lock_wait interval)
RETURNS record
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'imon_pool_counts_1_0';
COMMENT ON FUNCTION infra_monitor.pool_counts() IS
'source of the view pool_pressure and of the pool checks; states are frozen within a transaction; error unless preloaded; for pg_monitor';

CREATE FUNCTION infra_monitor.rejected_recently()
RETURNS bigint
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_rejected_recently_1_0';
COMMENT ON FUNCTION infra_monitor.rejected_recently() IS
'connections refused in the last five minutes, without authentication failures; error unless preloaded; for pg_monitor';

CREATE FUNCTION infra_monitor.pool_status()
RETURNS text
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'imon_pool_status_1_0';
COMMENT ON FUNCTION infra_monitor.pool_status() IS
'ok, warning or critical: the worst status of the pool checks now, without their hold; for pg_monitor';

CREATE VIEW infra_monitor.pool_pressure AS
SELECT infra_monitor.pool_status() AS status,
	c.max_connections, c.reserved_connections, c.used_connections,
	c.available_connections, c.used_ratio, c.active, c.idle,
	c.idle_in_transaction, c.waiting, c.peak_connections, c.peak_at,
	c.connects_total, c.disconnects_total, c.rejected_total,
	c.auth_failures_total, c.oldest_transaction, c.oldest_idle_in_transaction,
	c.stats_reset, c.authenticating
FROM infra_monitor.pool_counts() c;
COMMENT ON VIEW infra_monitor.pool_pressure IS
'one row: connections now and since the counters were reset; error unless preloaded; for pg_monitor';
COMMENT ON COLUMN infra_monitor.pool_pressure.status IS 'ok, warning or critical: the worst of the pool checks now, without their hold';
COMMENT ON COLUMN infra_monitor.pool_pressure.reserved_connections IS 'slots that an ordinary role cannot use: superuser_reserved_connections and, from PostgreSQL 16, reserved_connections';
COMMENT ON COLUMN infra_monitor.pool_pressure.used_connections IS 'client backends; no walsenders, workers or autovacuum';
COMMENT ON COLUMN infra_monitor.pool_pressure.available_connections IS 'slots that an ordinary role can still get';
COMMENT ON COLUMN infra_monitor.pool_pressure.used_ratio IS '(used + authenticating) / (max - reserved); above 1 when reserved slots are in use';
COMMENT ON COLUMN infra_monitor.pool_pressure.idle_in_transaction IS 'also in an aborted transaction';
COMMENT ON COLUMN infra_monitor.pool_pressure.waiting IS 'active and waiting for a heavyweight lock';
COMMENT ON COLUMN infra_monitor.pool_pressure.peak_connections IS 'most connections established at one moment, exact, also between samples';
COMMENT ON COLUMN infra_monitor.pool_pressure.connects_total IS 'connections established since stats_reset';
COMMENT ON COLUMN infra_monitor.pool_pressure.disconnects_total IS 'connections ended since stats_reset';
COMMENT ON COLUMN infra_monitor.pool_pressure.rejected_total IS 'connections refused since stats_reset, without authentication failures';
COMMENT ON COLUMN infra_monitor.pool_pressure.auth_failures_total IS 'authentication failures since stats_reset';
COMMENT ON COLUMN infra_monitor.pool_pressure.oldest_transaction IS 'age of the oldest transaction of a client backend; NULL if there is none';
COMMENT ON COLUMN infra_monitor.pool_pressure.oldest_idle_in_transaction IS 'longest time that a session has been idle in transaction; NULL if none is';
COMMENT ON COLUMN infra_monitor.pool_pressure.authenticating IS 'connections that hold a slot and have not finished authentication';

CREATE VIEW infra_monitor.pool_usage AS
WITH groups AS (
	SELECT s.datname, s.usename, s.application_name, s.client_addr,
		pg_catalog.count(*)::pg_catalog.int4 AS connections,
		(pg_catalog.count(*) FILTER (WHERE s.state OPERATOR(pg_catalog.=) 'active'))::pg_catalog.int4 AS active,
		(pg_catalog.count(*) FILTER (WHERE s.state OPERATOR(pg_catalog.=) 'idle'))::pg_catalog.int4 AS idle,
		(pg_catalog.count(*) FILTER (WHERE s.state OPERATOR(pg_catalog.=) ANY ('{idle in transaction,idle in transaction (aborted)}')))::pg_catalog.int4 AS idle_in_transaction,
		(pg_catalog.count(*) FILTER (WHERE s.state OPERATOR(pg_catalog.=) 'active' AND s.wait_event_type OPERATOR(pg_catalog.=) 'Lock'))::pg_catalog.int4 AS waiting
	FROM infra_monitor.sessions() s
	GROUP BY s.datname, s.usename, s.application_name, s.client_addr
), limits AS (
	SELECT g.*,
		nullif(r.rolconnlimit, -1) AS role_limit,
		CASE WHEN d.datconnlimit OPERATOR(pg_catalog.>=) 0 THEN d.datconnlimit END AS database_limit,
		pg_catalog.sum(g.connections) OVER (PARTITION BY g.usename) AS of_role,
		pg_catalog.sum(g.connections) OVER (PARTITION BY g.datname) AS of_database
	FROM groups g
		LEFT JOIN pg_catalog.pg_roles r ON infra_monitor.shown(r.rolname) OPERATOR(pg_catalog.=) g.usename
		LEFT JOIN pg_catalog.pg_database d ON infra_monitor.shown(d.datname) OPERATOR(pg_catalog.=) g.datname
)
SELECT datname, usename, application_name, client_addr, connections, active,
	idle, idle_in_transaction, waiting, role_limit, database_limit,
	greatest(
		CASE role_limit WHEN 0 THEN 1 ELSE of_role::pg_catalog.float8 OPERATOR(pg_catalog./) role_limit END,
		CASE database_limit WHEN 0 THEN 1 ELSE of_database::pg_catalog.float8 OPERATOR(pg_catalog./) database_limit END
	) AS limit_ratio
FROM limits;
COMMENT ON VIEW infra_monitor.pool_usage IS
'who holds the connections: client backends by database, role, application and address; works without preloading; for pg_monitor, application and address of other roles need pg_read_all_stats';
COMMENT ON COLUMN infra_monitor.pool_usage.client_addr IS 'NULL for a Unix-domain socket';
COMMENT ON COLUMN infra_monitor.pool_usage.idle_in_transaction IS 'also in an aborted transaction';
COMMENT ON COLUMN infra_monitor.pool_usage.waiting IS 'active and waiting for a heavyweight lock';
COMMENT ON COLUMN infra_monitor.pool_usage.role_limit IS 'connection limit of the role; NULL if it has none; superusers ignore it';
COMMENT ON COLUMN infra_monitor.pool_usage.database_limit IS 'connection limit of the database; NULL if it has none; superusers ignore it';
COMMENT ON COLUMN infra_monitor.pool_usage.limit_ratio IS 'all connections of the role or database / its limit, whichever is nearer; NULL where neither has one; 1 for a limit of 0';

CREATE FUNCTION infra_monitor.reset(what text DEFAULT 'all')
RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_reset_1_0';
COMMENT ON FUNCTION infra_monitor.reset(text) IS
'lets counters begin anew: ''pool'' (connections and refusals) or ''all''; samples before and after are of different epochs; never touches pg_stat_statements; error unless preloaded; for superusers, grantable';

--
-- trend.sql: does a series rise?
--

CREATE FUNCTION infra_monitor.trend(at timestamptz[], value float8[],
	OUT slope_per_minute float8, OUT level float8, OUT r2 float8,
	OUT observations int)
RETURNS record
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_trend_1_0';
COMMENT ON FUNCTION infra_monitor.trend(timestamptz[], float8[]) IS
'is there a steady rise among the newest 30, 42, 60, 90, 120, 180 or 240 of these values, oldest first, to where they were not before? slope and level (now) of the longest such window, its straightness and its size; all NULL if not: flat, falling, breathing, a step up, fewer than 45 values; error for arrays of different lengths, NULLs, NaN, and moments out of order; works without preloading; for pg_monitor';

--
-- series.sql: how the number of connections moves, and where that leads
--

CREATE FUNCTION infra_monitor.sample_ring(
	OUT at timestamptz, OUT used int, OUT authenticating int, OUT active int,
	OUT idle int, OUT idle_in_transaction int, OUT waiting int,
	OUT connects_total bigint, OUT rejected_total bigint,
	OUT connects bigint, OUT rejected bigint)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_sample_ring_1_0';
COMMENT ON FUNCTION infra_monitor.sample_ring() IS
'the last 360 samples of the pool, oldest first, one each infra_monitor.sample_interval, kept in memory, also on standbys and while the home database is away; totals are since the last reset; connects and rejected are those since the sample before, NULL where that is not known (the first, a reset, a gap); empty after a start; error unless preloaded; for pg_monitor';

CREATE FUNCTION infra_monitor.forecasts(
	OUT scope text, OUT name text, OUT used int, OUT limit_value int,
	OUT slope_per_minute float8, OUT level float8, OUT r2 float8,
	OUT observations int, OUT top_contributor text,
	OUT window_length interval, OUT at timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'imon_forecasts_1_0';
COMMENT ON FUNCTION infra_monitor.forecasts() IS
'source of the view pool_forecast: level is that of the fitted line at the moment "at", which is now; error unless preloaded; for pg_monitor';

CREATE VIEW infra_monitor.pool_forecast AS
SELECT f.scope, f.name, f.used, f.limit_value, f.slope_per_minute,
	e.exhausted_in, f.r2, f.observations, f.top_contributor, f.window_length,
	f.at OPERATOR(pg_catalog.+) e.exhausted_in AS exhausted_at
FROM infra_monitor.forecasts() f,
	LATERAL (SELECT 60.0::pg_catalog.float8 OPERATOR(pg_catalog.*)
		greatest(f.limit_value::pg_catalog.float8 OPERATOR(pg_catalog.-) f.level, 0)
		OPERATOR(pg_catalog./) f.slope_per_minute AS seconds) s,
	LATERAL (SELECT CASE WHEN s.seconds OPERATOR(pg_catalog.<=)
			(20 OPERATOR(pg_catalog.*) extract(epoch FROM f.window_length))::pg_catalog.float8
		THEN pg_catalog.make_interval(secs => s.seconds) END AS exhausted_in) e;
COMMENT ON VIEW infra_monitor.pool_forecast IS
'when connections run out if they go on rising as they do: the server, and each role and database with a connection limit and connections in the last 360 samples; error unless preloaded; for pg_monitor';
COMMENT ON COLUMN infra_monitor.pool_forecast.scope IS 'server, role or database';
COMMENT ON COLUMN infra_monitor.pool_forecast.name IS 'of the role or database; NULL for the server';
COMMENT ON COLUMN infra_monitor.pool_forecast.used IS 'connections now; for the server with those that authenticate';
COMMENT ON COLUMN infra_monitor.pool_forecast.limit_value IS 'server: max_connections without reserved slots; else the connection limit, which superusers ignore';
COMMENT ON COLUMN infra_monitor.pool_forecast.slope_per_minute IS 'connections more each minute; NULL if they do not rise steadily, and then all that follows is NULL';
COMMENT ON COLUMN infra_monitor.pool_forecast.exhausted_in IS 'NULL if not rising, or too slowly to be known: more than 20 times the window ahead';
COMMENT ON COLUMN infra_monitor.pool_forecast.r2 IS 'r^2 of the straight line, 0.8 to 1';
COMMENT ON COLUMN infra_monitor.pool_forecast.observations IS 'size of the window that was found to rise: 30, 42, 60, 90, 120, 180 or 240 samples, or as many times 24 samples';
COMMENT ON COLUMN infra_monitor.pool_forecast.top_contributor IS 'application that contributes most to the rise; that of another role needs pg_read_all_stats';
COMMENT ON COLUMN infra_monitor.pool_forecast.window_length IS 'time that the window covers';
COMMENT ON COLUMN infra_monitor.pool_forecast.exhausted_at IS 'moment of exhaustion';

CREATE FUNCTION infra_monitor.terminate_idle_statement(pids int[], idle_before timestamptz)
RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT format('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid IN (%s) AND state = ''idle'' AND state_change < ''%s+00''',
	array_to_string(pids, ', '),
	to_char(idle_before AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'))
WHERE cardinality(pids) > 0
$$;
COMMENT ON FUNCTION infra_monitor.terminate_idle_statement(int[], timestamptz) IS
'a statement, for an administrator to run, that ends those of these sessions that are still idle and have been since before that moment; NULL for no pids; ends nothing itself; for pg_monitor';

CREATE FUNCTION infra_monitor.leaks(
	OUT datname name, OUT usename name, OUT application_name text,
	OUT client_addr inet, OUT idle_connections int, OUT idle_floor int,
	OUT growth_per_hour float8, OUT oldest_idle interval,
	OUT last_queryid bigint, OUT pids int[], OUT idle_before timestamptz,
	OUT r2 float8, OUT observations int, OUT window_length interval,
	OUT at timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'imon_leaks_1_0';
COMMENT ON FUNCTION infra_monitor.leaks() IS
'source of the view connection_leaks: pids are of at most 20 sessions that have been idle since before idle_before, longest first, and NULL if there are none or the caller may not see them; error unless preloaded; for pg_monitor';

CREATE VIEW infra_monitor.connection_leaks AS
SELECT l.datname, l.usename, l.application_name, l.client_addr,
	l.idle_connections, l.idle_floor, l.growth_per_hour, l.oldest_idle,
	l.last_queryid,
	infra_monitor.terminate_idle_statement(l.pids, l.idle_before) AS terminate,
	pg_catalog.format(
		E'ALTER ROLE %1$I SET idle_session_timeout = %2$L; -- for new sessions, ends those that are idle for longer\n'
		'ALTER ROLE %1$I CONNECTION LIMIT %3$s; -- half of what there is, so that the other half is left\n'
		'-- In the application: give every connection back, also after an error; in its pool, set an idle timeout and a maximum lifetime, and turn on leak detection.',
		l.usename, pg_catalog.current_setting('infra_monitor.idle_threshold'),
		greatest((c.max_connections OPERATOR(pg_catalog.-) c.reserved_connections) OPERATOR(pg_catalog./) 2, 1)) AS prevention,
	l.r2, l.observations, l.window_length
FROM infra_monitor.leaks() l, infra_monitor.pool_counts() c;
COMMENT ON VIEW infra_monitor.connection_leaks IS
'who opens connections and leaves them idle: groups of sessions of which more and more stay untouched from sample to sample; a pool that is used, has grown once, or keeps what it has is not here; ends nobody''s session; error unless preloaded; for pg_monitor, texts of other roles need pg_read_all_stats';
COMMENT ON COLUMN infra_monitor.connection_leaks.client_addr IS 'NULL for a Unix-domain socket';
COMMENT ON COLUMN infra_monitor.connection_leaks.idle_connections IS 'idle now, those that are used now and then included';
COMMENT ON COLUMN infra_monitor.connection_leaks.idle_floor IS 'lowest number of connections that stayed idle from one sample to the next, in the newest sixth of the window';
COMMENT ON COLUMN infra_monitor.connection_leaks.growth_per_hour IS 'how many more stay idle each hour';
COMMENT ON COLUMN infra_monitor.connection_leaks.oldest_idle IS 'longest time that a connection has been idle';
COMMENT ON COLUMN infra_monitor.connection_leaks.last_queryid IS 'last query of that connection; NULL if not known, or not for the caller';
COMMENT ON COLUMN infra_monitor.connection_leaks.terminate IS 'statement for an administrator that ends those idle for longer than infra_monitor.idle_threshold, at most 20 at once, longest first; NULL if there are none, or they are not for the caller to see';
COMMENT ON COLUMN infra_monitor.connection_leaks.prevention IS 'what keeps it from happening again, to be adapted';
COMMENT ON COLUMN infra_monitor.connection_leaks.r2 IS 'r^2 of the straight line, 0.8 to 1';
COMMENT ON COLUMN infra_monitor.connection_leaks.observations IS 'size of the window that was found to rise: 30, 42, 60, 90, 120, 180 or 240 samples, or as many times 24 samples';
COMMENT ON COLUMN infra_monitor.connection_leaks.window_length IS 'time that the window covers';

--
-- samples.sql: history
--

CREATE TABLE infra_monitor.samples (
	sampled_at timestamptz NOT NULL,
	epoch bigint NOT NULL,
	status text NOT NULL,
	max_connections int NOT NULL,
	reserved_connections int NOT NULL,
	used_connections int NOT NULL,
	available_connections int NOT NULL,
	used_ratio float8 NOT NULL,
	active int NOT NULL,
	idle int NOT NULL,
	idle_in_transaction int NOT NULL,
	waiting int NOT NULL,
	peak_connections int NOT NULL,
	peak_at timestamptz NOT NULL,
	connects_total bigint NOT NULL,
	disconnects_total bigint NOT NULL,
	rejected_total bigint NOT NULL,
	auth_failures_total bigint NOT NULL,
	oldest_transaction interval,
	oldest_idle_in_transaction interval,
	stats_reset timestamptz NOT NULL,
	authenticating int NOT NULL,
	connects bigint,
	rejected bigint,
	commits bigint,
	rollbacks bigint,
	blks_hit bigint,
	blks_read bigint,
	temp_bytes bigint,
	deadlocks bigint,
	wal_bytes bigint,
	avg_active float8,
	cpu_ratio float8,
	memory_used bigint,
	memory_total bigint,
	disk_used bigint,
	disk_total bigint,
	health_status text,
	health_score float8,
	collect_time float8 NOT NULL
) PARTITION BY RANGE (sampled_at);
COMMENT ON TABLE infra_monitor.samples IS
'one row each infra_monitor.sample_interval, in partitions by UTC day, kept for infra_monitor.retention; differences are NULL where they would cross an epoch; not dumped; written by the sampler and take_sample() only; for pg_monitor';
COMMENT ON COLUMN infra_monitor.samples.epoch IS
'changes whenever counters begin anew (server start, crash, reset, promotion, upgrade); compare for equality only';
COMMENT ON COLUMN infra_monitor.samples.connects IS 'connections established since the sample before';
COMMENT ON COLUMN infra_monitor.samples.rejected IS 'connections refused since the sample before, without authentication failures';
COMMENT ON COLUMN infra_monitor.samples.commits IS 'transactions committed since the sample before, in all databases; NULL if a database was dropped meanwhile, also in the columns to deadlocks';
COMMENT ON COLUMN infra_monitor.samples.rollbacks IS 'transactions rolled back since the sample before';
COMMENT ON COLUMN infra_monitor.samples.blks_hit IS 'blocks found in shared buffers since the sample before';
COMMENT ON COLUMN infra_monitor.samples.blks_read IS 'blocks read since the sample before';
COMMENT ON COLUMN infra_monitor.samples.temp_bytes IS 'bytes written to temporary files since the sample before';
COMMENT ON COLUMN infra_monitor.samples.deadlocks IS 'deadlocks since the sample before';
COMMENT ON COLUMN infra_monitor.samples.wal_bytes IS 'bytes of write-ahead log since the sample before';
COMMENT ON COLUMN infra_monitor.samples.avg_active IS 'average number of active sessions since the sample before, seen each infra_monitor.activity_interval';
COMMENT ON COLUMN infra_monitor.samples.cpu_ratio IS 'busy share of all processors, about since the sample before';
COMMENT ON COLUMN infra_monitor.samples.memory_used IS 'memory of the machine that programs cannot get, bytes';
COMMENT ON COLUMN infra_monitor.samples.memory_total IS 'memory of the machine, bytes';
COMMENT ON COLUMN infra_monitor.samples.disk_used IS 'bytes used in the file system of the data directory';
COMMENT ON COLUMN infra_monitor.samples.disk_total IS 'bytes in the file system of the data directory';
COMMENT ON COLUMN infra_monitor.samples.health_status IS 'status of the last evaluation of the health checks';
COMMENT ON COLUMN infra_monitor.samples.health_score IS 'its score, 0 to 10';
COMMENT ON COLUMN infra_monitor.samples.collect_time IS 'time it took to collect this row, ms';

CREATE INDEX samples_sampled_at_idx ON infra_monitor.samples
	USING brin (sampled_at) WITH (pages_per_range = 16, autosummarize = on);
COMMENT ON INDEX infra_monitor.samples_sampled_at_idx IS
'finds a part of a day; whole days are found by their partitions';

CREATE FUNCTION infra_monitor.take_sample()
RETURNS timestamptz
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'imon_take_sample_1_0';
COMMENT ON FUNCTION infra_monitor.take_sample() IS
'takes a sample now, in this transaction, and returns its time; waits for another writer up to lock_timeout; error on a standby, outside the home database, and unless preloaded; for superusers, grantable';

--
-- sampler.sql: the background worker
--

CREATE FUNCTION infra_monitor.sampler_state(
	OUT pid int, OUT state text, OUT last_tick timestamptz,
	OUT next_tick timestamptz, OUT ticks bigint, OUT missed bigint,
	OUT last_error text, OUT last_error_at timestamptz,
	OUT rows_stored bigint, OUT dropped_rejections bigint,
	OUT dropped_health_documents bigint, OUT dropped_series bigint,
	OUT activity_seconds float8, OUT health_seconds float8,
	OUT series_seconds float8, OUT sample_seconds float8,
	OUT partitions_seconds float8)
RETURNS record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_sampler_state_1_0';
COMMENT ON FUNCTION infra_monitor.sampler_state() IS
'source of the view sampler_status; error unless preloaded; for pg_monitor';

CREATE VIEW infra_monitor.sampler_status AS
SELECT s.pid, s.state, s.last_tick, s.next_tick, s.ticks, s.missed,
	s.last_error, s.last_error_at, s.rows_stored,
	(SELECT pg_catalog.sum(pg_catalog.pg_total_relation_size(i.inhrelid))::pg_catalog.int8
	 FROM pg_catalog.pg_inherits i
	 WHERE i.inhparent OPERATOR(pg_catalog.=) 'infra_monitor.samples'::pg_catalog.regclass) AS bytes_stored,
	(SELECT pg_catalog.jsonb_object_agg(m.part, m.bytes) FROM infra_monitor.shared_memory() m) AS shared_memory,
	pg_catalog.jsonb_build_object(
		'rejections', s.dropped_rejections,
		'health_documents', s.dropped_health_documents,
		'series', s.dropped_series) AS drops,
	pg_catalog.jsonb_build_object(
		'activity_seconds', s.activity_seconds,
		'health_seconds', s.health_seconds,
		'series_seconds', s.series_seconds,
		'sample_seconds', s.sample_seconds,
		'partitions_seconds', s.partitions_seconds) AS cost
FROM infra_monitor.sampler_state() s;
COMMENT ON VIEW infra_monitor.sampler_status IS
'one row: what the sampler does, and what it cost; error unless preloaded; for pg_monitor';
COMMENT ON COLUMN infra_monitor.sampler_status.pid IS 'process of the sampler; NULL if it is not running';
COMMENT ON COLUMN infra_monitor.sampler_status.state IS
'running; standby (reads only); waiting for extension (not created in the home database); version mismatch (the library is of another version than the extension); waiting for database (missing, or refuses connections); away (a command needs the home database alone); disabled; starting; not running';
COMMENT ON COLUMN infra_monitor.sampler_status.last_tick IS 'when it last did its work: stored a sample, or on a standby had none to store';
COMMENT ON COLUMN infra_monitor.sampler_status.next_tick IS 'when it will next';
COMMENT ON COLUMN infra_monitor.sampler_status.ticks IS 'how often it did, since the server started';
COMMENT ON COLUMN infra_monitor.sampler_status.missed IS 'samples that should have been taken and were not, since the server started';
COMMENT ON COLUMN infra_monitor.sampler_status.last_error IS 'last error of a task, with the name of the task; NULL if there was none';
COMMENT ON COLUMN infra_monitor.sampler_status.rows_stored IS 'samples stored since the server started, those of take_sample() included';
COMMENT ON COLUMN infra_monitor.sampler_status.bytes_stored IS 'size of the history in this database, bytes; NULL if it has none';
COMMENT ON COLUMN infra_monitor.sampler_status.shared_memory IS 'bytes by part';
COMMENT ON COLUMN infra_monitor.sampler_status.drops IS 'what was lost, by reason: details of refusals (their counts are kept), health documents over 64 kB, roles, databases and groups of sessions that were not followed for want of room (once a sample)';
COMMENT ON COLUMN infra_monitor.sampler_status.cost IS 'time spent on each task since the server started, seconds';

-- Warnings that an administrator wants at installation, once.
CREATE FUNCTION infra_monitor.installation_warnings()
RETURNS void
LANGUAGE c VOLATILE STRICT
AS 'MODULE_PATHNAME', 'imon_installation_warnings_1_0';
COMMENT ON FUNCTION infra_monitor.installation_warnings() IS
'warns if the library is not preloaded, or if samples are written in another database than this';

SELECT infra_monitor.installation_warnings();

DROP FUNCTION infra_monitor.installation_warnings();

--
-- report.sql: what a person reads
--

CREATE FUNCTION infra_monitor.bar(ratio float8, width int)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT '[' || rpad(repeat('#', n), $2, '.') || ']'
FROM (SELECT least(greatest(round($1 * $2), 0), $2)::int AS n) f
$$;
COMMENT ON FUNCTION infra_monitor.bar(float8, int) IS
'a ratio from 0 to 1 as a bar of characters; for pg_monitor';

CREATE FUNCTION infra_monitor.one_line(string text, width int)
RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
-- SQL_ASCII does not know where a letter ends
SELECT CASE WHEN length(t) > $2 THEN left(t, $2 - 3) || '...' ELSE t END
FROM (SELECT rtrim(regexp_replace(
	CASE WHEN getdatabaseencoding() = 'SQL_ASCII' THEN regexp_replace($1, E'[^\\x01-\\x7f]', '?', 'g') ELSE $1 END,
	E'[\\t-\\r[:cntrl:]]+ *', ' ', 'g')) AS t) f
$$;
COMMENT ON FUNCTION infra_monitor.one_line(text, int) IS
'a text on one line, cut to a width; for pg_monitor';

CREATE FUNCTION infra_monitor.dashboard()
RETURNS SETOF text
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
WITH health AS MATERIALIZED (
	SELECT infra_monitor.health() AS h
), pool AS MATERIALIZED (
	SELECT * FROM infra_monitor.pool_pressure
), holders AS MATERIALIZED (
	SELECT row_number() OVER (ORDER BY connections DESC, datname, usename, application_name) AS n, *
	FROM infra_monitor.pool_usage
	ORDER BY 1 LIMIT 5
), statements AS MATERIALIZED (
	SELECT row_number() OVER (ORDER BY total_exec_time DESC) AS n, *
	FROM infra_monitor.slow_queries
	WHERE infra_monitor.pg_stat_statements_loaded()
	ORDER BY 1 LIMIT 5
), checks AS MATERIALIZED (
	SELECT row_number() OVER (ORDER BY status, name) AS n, *
	FROM infra_monitor.health_checks WHERE status <> 'ok'
), lines (section, n, line) AS (
	SELECT 10, 0, format('%s  %s  score %s/10  %s  up %s  evaluated %s ago',
		upper(h->>'status'), h->>'role', coalesce(h->>'score', '?'), to_char(clock_timestamp(), 'YYYY-MM-DD HH24:MI:SS TZ'),
		make_interval(secs => (h->>'uptime')::float8),
		date_trunc('second', make_interval(secs => (h->>'age_ms')::float8 / 1000)))
	FROM health
	UNION ALL
	SELECT 20, 0, ''
	UNION ALL
	SELECT 21, 0, format('pool %s %s  %s of %s used, %s authenticating, %s available',
		infra_monitor.bar(used_ratio, 30), upper(status), used_connections, max_connections,
		authenticating, available_connections)
	FROM pool
	UNION ALL
	SELECT 22, 0, format('     %s active (%s waiting for locks), %s idle, %s idle in transaction',
		active, waiting, idle, idle_in_transaction)
	FROM pool
	UNION ALL
	SELECT 23, 0, format('     peak %s at %s; refused %s, authentication failures %s, since %s',
		peak_connections, to_char(peak_at, 'HH24:MI:SS'), rejected_total, auth_failures_total,
		to_char(stats_reset, 'YYYY-MM-DD HH24:MI'))
	FROM pool
	UNION ALL
	SELECT 30, 0, ''
	UNION ALL
	SELECT 31, 0, 'connections  active  idle in xact  held by'
	UNION ALL
	SELECT 32, n, format('%11s  %6s  %12s  %s', connections, active, idle_in_transaction,
		infra_monitor.one_line(format('%s@%s %s %s', usename, datname, application_name, coalesce(host(client_addr), 'local')), 64))
	FROM holders
	UNION ALL
	SELECT 40, 0, ''
	UNION ALL
	SELECT 41, 0, CASE WHEN infra_monitor.pg_stat_statements_loaded()
		THEN '     calls     total s   mean ms     max ms  statement'
		ELSE 'statements are not counted: pg_stat_statements is not loaded' END
	UNION ALL
	SELECT 42, n, format('%10s  %10s  %8s  %9s  %s', calls, round(total_exec_time::numeric / 1000, 1),
		round(mean_exec_time::numeric, 1), round(max_exec_time::numeric, 1),
		infra_monitor.one_line(coalesce(query, '?'), 55))
	FROM statements
	UNION ALL
	SELECT 50, 0, ''
	UNION ALL
	SELECT 51, 0, 'all checks are ok' WHERE NOT EXISTS (SELECT FROM checks)
	UNION ALL
	SELECT 52, n, format('%-8s  %-25s  %s', status, name, infra_monitor.one_line(coalesce(message, ''), 62))
	FROM checks
	UNION ALL
	SELECT 60, 0, ''
	UNION ALL
	SELECT 61, 0, format('sampler %s, last sample %s, %s stored, %s missed', state,
		coalesce(date_trunc('second', clock_timestamp() - last_tick)::text || ' ago', 'never'), rows_stored, missed)
	FROM infra_monitor.sampler_state()
	UNION ALL
	SELECT 62, 0, format('last error at %s: %s', to_char(last_error_at, 'YYYY-MM-DD HH24:MI:SS'), last_error)
	FROM infra_monitor.sampler_state() WHERE last_error IS NOT NULL
)
SELECT infra_monitor.one_line(line, 100) FROM lines ORDER BY section, n
$$;
COMMENT ON FUNCTION infra_monitor.dashboard() IS
'one screen of text for psql and its command watch: status, pool, who holds connections, top statements, checks that are not ok, sampler; error unless preloaded; for pg_monitor';

--
-- privileges.sql: who may use what; must be last
--

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA infra_monitor FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA infra_monitor FROM PUBLIC;

GRANT USAGE ON SCHEMA infra_monitor TO pg_monitor;
GRANT SELECT ON ALL TABLES IN SCHEMA infra_monitor TO pg_monitor;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA infra_monitor TO pg_monitor;

-- functions that change something: superusers, and whom they grant it
REVOKE EXECUTE ON FUNCTION infra_monitor.reset(text) FROM pg_monitor;
REVOKE EXECUTE ON FUNCTION infra_monitor.take_sample() FROM pg_monitor;
