
--
-- slow_queries.sql: which statements are slow, which are running too long
--

CREATE VIEW infra_monitor.slow_queries AS
SELECT c.userid, c.dbid, infra_monitor.shown(r.rolname) AS usename,
	infra_monitor.shown(d.datname) AS datname, c.queryid, c.toplevel,
	infra_monitor.observations(c.latency) AS calls,
	c.total_time AS total_exec_time,
	c.total_time OPERATOR(pg_catalog./) nullif(infra_monitor.observations(c.latency), 0)::pg_catalog.float8 AS mean_exec_time,
	infra_monitor.quantile(c.latency, 0.50) AS p50_exec_time,
	infra_monitor.quantile(c.latency, 0.95) AS p95_exec_time,
	infra_monitor.quantile(c.latency, 0.99) AS p99_exec_time,
	s.max_exec_time, s.rows,
	c.cancelled OPERATOR(pg_catalog.+) c.lock_not_available OPERATOR(pg_catalog.+)
		c.terminated OPERATOR(pg_catalog.+) c.failed AS failures,
	c.cancelled AS cancellations, c.failed_time, s.shared_blks_hit,
	s.shared_blks_read, s.temp_blks_written, s.wal_bytes, c.latency,
	-- what has completed has an identifier
	CASE WHEN c.queryid IS NULL AND infra_monitor.observations(c.latency) OPERATOR(pg_catalog.>) 0
		THEN '<insufficient privilege>' ELSE s.query END AS query,
	c.stats_since
FROM infra_monitor.statement_counts() c
	-- NULL: it is not called where it would raise an error
	LEFT JOIN infra_monitor.statement_stats(CASE WHEN infra_monitor.pg_stat_statements_loaded() THEN true END)
		s ON s.userid OPERATOR(pg_catalog.=) c.userid
		AND s.dbid OPERATOR(pg_catalog.=) c.dbid
		AND s.queryid OPERATOR(pg_catalog.=) c.queryid
		AND s.toplevel OPERATOR(pg_catalog.=) c.toplevel
	LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) c.userid
	LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) c.dbid
WHERE c.userid IS NOT NULL;
COMMENT ON VIEW infra_monitor.slow_queries IS
'statements of all databases by their executions since they were entered; percentiles are off by 14.3 percent at most; order by the column that matters to you; what pg_stat_statements counts stands beside it, NULL where it has no such statement; error unless preloaded; for pg_monitor, texts of other roles need pg_read_all_stats';
COMMENT ON COLUMN infra_monitor.slow_queries.usename IS 'NULL if the role has been dropped';
COMMENT ON COLUMN infra_monitor.slow_queries.datname IS 'NULL if the database has been dropped';
COMMENT ON COLUMN infra_monitor.slow_queries.queryid IS 'NULL: failed before it was identified, while it was parsed or waited for the lock of a table; or the caller may not see it';
COMMENT ON COLUMN infra_monitor.slow_queries.toplevel IS 'sent by a client, not from inside a function';
COMMENT ON COLUMN infra_monitor.slow_queries.calls IS 'executions that completed';
COMMENT ON COLUMN infra_monitor.slow_queries.total_exec_time IS 'time of the completed executions, ms';
COMMENT ON COLUMN infra_monitor.slow_queries.mean_exec_time IS 'mean time of a completed execution, ms';
COMMENT ON COLUMN infra_monitor.slow_queries.p50_exec_time IS 'half of the completed executions took no longer, ms';
COMMENT ON COLUMN infra_monitor.slow_queries.p95_exec_time IS '95 percent of the completed executions took no longer, ms';
COMMENT ON COLUMN infra_monitor.slow_queries.p99_exec_time IS '99 percent of the completed executions took no longer, ms';
COMMENT ON COLUMN infra_monitor.slow_queries.max_exec_time IS 'longest execution as pg_stat_statements knows it, ms';
COMMENT ON COLUMN infra_monitor.slow_queries.failures IS 'executions that did not complete';
COMMENT ON COLUMN infra_monitor.slow_queries.cancellations IS 'those of them that were cancelled, also by statement_timeout';
COMMENT ON COLUMN infra_monitor.slow_queries.failed_time IS 'time of the executions that did not complete: that users waited for nothing, ms';
COMMENT ON COLUMN infra_monitor.slow_queries.wal_bytes IS 'write-ahead log generated, bytes';
COMMENT ON COLUMN infra_monitor.slow_queries.latency IS 'times of the completed executions';
COMMENT ON COLUMN infra_monitor.slow_queries.query IS 'text; a command that can carry a secret shows its tag only; NULL if pg_stat_statements does not have it, or cannot convert the texts of all databases to the encoding of this one';
COMMENT ON COLUMN infra_monitor.slow_queries.stats_since IS 'calls, times and failures are of no earlier time';

CREATE VIEW infra_monitor.running_queries AS
SELECT s.pid, s.datname, s.usename, s.application_name,
	pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) s.query_start)
		OPERATOR(pg_catalog.*) 1000 AS elapsed_time,
	pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) s.xact_start)
		OPERATOR(pg_catalog.*) 1000 AS transaction_time,
	s.wait_event_type, s.wait_event,
	coalesce(w.blocked_by, '{}') AS blocked_by,
	s.queryid, u.usual_p95_time, s.query
FROM infra_monitor.sessions() s
	LEFT JOIN infra_monitor.lock_waits() w ON w.pid OPERATOR(pg_catalog.=) s.pid
	LEFT JOIN (
		SELECT infra_monitor.shown(d.datname) AS datname, c.queryid,
			infra_monitor.quantile(infra_monitor.sum(c.latency), 0.95) AS usual_p95_time
		FROM infra_monitor.statement_counts() c
			JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) c.dbid
		WHERE infra_monitor.preloaded() AND c.toplevel
		GROUP BY d.datname, c.queryid
	) u ON u.queryid OPERATOR(pg_catalog.=) s.queryid AND u.datname OPERATOR(pg_catalog.=) s.datname
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
COMMENT ON COLUMN infra_monitor.running_queries.usual_p95_time IS '95 percent of the executions of this statement that completed took no longer, ms; NULL if none is known';
COMMENT ON COLUMN infra_monitor.running_queries.query IS 'text; a command that can carry a secret shows its tag only';
