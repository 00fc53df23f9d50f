
--
-- slow_log.sql: single executions over infra_monitor.slow_query_threshold
--

CREATE FUNCTION infra_monitor.slow_query_log(
	OUT started_at timestamptz, OUT exec_time float8, OUT outcome text,
	OUT sqlstate text, OUT pid int, OUT datname name, OUT usename name,
	OUT application_name text, OUT client_addr inet, OUT queryid bigint,
	OUT toplevel boolean, OUT rows bigint, OUT shared_blks_hit bigint,
	OUT shared_blks_read bigint, OUT temp_blks_written bigint,
	OUT wal_bytes bigint, OUT wait_profile jsonb, OUT blocked_by int,
	OUT query text, OUT plan text, OUT pre_exec_time float8, OUT userid oid,
	OUT dbid oid)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'imon_slow_query_log_1_0';
COMMENT ON FUNCTION infra_monitor.slow_query_log() IS
'source of the view slow_query_log; error unless preloaded; for pg_monitor';

CREATE VIEW infra_monitor.slow_query_log AS
SELECT l.started_at, l.exec_time, l.outcome, l.sqlstate, l.pid, l.datname,
	l.usename, l.application_name, l.client_addr, l.queryid, l.toplevel,
	l.rows, l.shared_blks_hit, l.shared_blks_read, l.temp_blks_written,
	l.wal_bytes, l.wait_profile, l.blocked_by, l.query, l.plan,
	l.pre_exec_time
FROM infra_monitor.slow_query_log() l;
COMMENT ON VIEW infra_monitor.slow_query_log IS
'executions that took infra_monitor.slow_query_threshold or longer, whatever came of them, the one that ended last first; the last infra_monitor.slow_query_log_size of them since the server started or reset(); times in ms; error unless preloaded; for pg_monitor, application, address, queryid and texts of other roles need pg_read_all_stats';
COMMENT ON COLUMN infra_monitor.slow_query_log.started_at IS 'when the client''s message came, or the statement before in the same message had ended';
COMMENT ON COLUMN infra_monitor.slow_query_log.exec_time IS 'time since then, pre_exec_time included, ms; time in which the client did not ask for more rows does not count';
COMMENT ON COLUMN infra_monitor.slow_query_log.outcome IS 'completed, failed, cancelled (SQLSTATE 57014, also by statement_timeout), terminated (the session ended meanwhile)';
COMMENT ON COLUMN infra_monitor.slow_query_log.sqlstate IS 'SQLSTATE of the error; NULL if it completed';
COMMENT ON COLUMN infra_monitor.slow_query_log.datname IS 'NULL if the database has been dropped';
COMMENT ON COLUMN infra_monitor.slow_query_log.usename IS 'role that it ran as; NULL if that has been dropped';
COMMENT ON COLUMN infra_monitor.slow_query_log.client_addr IS 'NULL for a Unix-domain socket';
COMMENT ON COLUMN infra_monitor.slow_query_log.queryid IS 'as in pg_stat_statements; NULL: failed before it was identified, while it was parsed or waited for the lock of a table';
COMMENT ON COLUMN infra_monitor.slow_query_log.toplevel IS 'sent by a client, not from inside a function';
COMMENT ON COLUMN infra_monitor.slow_query_log.rows IS 'rows returned or changed; NULL if it did not complete';
COMMENT ON COLUMN infra_monitor.slow_query_log.shared_blks_hit IS 'blocks found in shared buffers; NULL if it did not get as far as execution, like the counters that follow';
COMMENT ON COLUMN infra_monitor.slow_query_log.wal_bytes IS 'write-ahead log generated, bytes';
COMMENT ON COLUMN infra_monitor.slow_query_log.wait_profile IS 'what it was seen waiting for, and for how long, in seconds, by "type:event" or "CPU" (none), at most eight of them; NULL if it was not seen at any look, of which there is one each infra_monitor.activity_interval';
COMMENT ON COLUMN infra_monitor.slow_query_log.blocked_by IS 'who was at the root of the last lock wait that was seen, as root_pid in lock_waits (0: a prepared transaction); NULL if none was seen';
COMMENT ON COLUMN infra_monitor.slow_query_log.query IS 'text, with $n for its literals and without comments unless infra_monitor.log_parameters was on, clipped at infra_monitor.slow_query_text_size; a command that can carry a secret shows its tag only; all that the client sent with it if it failed before execution';
COMMENT ON COLUMN infra_monitor.slow_query_log.plan IS 'plan as EXPLAIN shows it, with ? for literals, if infra_monitor.slow_query_plan was on and it completed; clipped like the text';
COMMENT ON COLUMN infra_monitor.slow_query_log.pre_exec_time IS 'part of exec_time before execution began: parsing, planning, waiting for the locks of tables, ms; NULL inside a function';

CREATE FUNCTION infra_monitor.slow_queries_logged()
RETURNS bigint
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_slow_queries_logged_1_0';
COMMENT ON FUNCTION infra_monitor.slow_queries_logged() IS
'executions that took infra_monitor.slow_query_threshold or longer since the server started, also those that are no longer kept; error unless preloaded; for pg_monitor';
