
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
	coalesce(w.blocked_by, '{}') AS blocked_by,
	s.queryid, s.query
FROM infra_monitor.sessions() s
	LEFT JOIN infra_monitor.lock_waits() w ON w.pid OPERATOR(pg_catalog.=) s.pid
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
COMMENT ON COLUMN infra_monitor.running_queries.blocked_by IS 'processes that hold the lock it waits for, as in lock_waits; empty if it waits for no lock';
COMMENT ON COLUMN infra_monitor.running_queries.query IS 'text; a command that can carry a secret shows its tag only';
