
--
-- slow_log.sql: single executions over infra_monitor.slow_query_threshold, in
-- shared memory and stored
--

CREATE FUNCTION infra_monitor.slow_query_log(
	OUT started_at timestamptz, OUT exec_time float8, OUT outcome text,
	OUT sqlstate text, OUT pid int, OUT datname name, OUT usename name,
	OUT application_name text, OUT client_addr inet, OUT queryid bigint,
	OUT toplevel boolean, OUT rows bigint, OUT shared_blks_hit bigint,
	OUT shared_blks_read bigint, OUT temp_blks_written bigint,
	OUT wal_bytes bigint, OUT wait_profile jsonb, OUT blocked_by int,
	OUT query text, OUT plan text, OUT pre_exec_time float8, OUT userid oid,
	OUT dbid oid, OUT ended_at timestamptz, OUT log_started_at timestamptz,
	OUT entry bigint)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'imon_slow_query_log_1_0';
COMMENT ON FUNCTION infra_monitor.slow_query_log() IS
'source of the view slow_query_log: what is in shared memory, the last infra_monitor.slow_query_log_size executions since the server started or reset(), in no order; error unless preloaded; for pg_monitor';

-- By the moment of storing: that is always today, however long ago an execution
-- began or ended, so no row needs a partition that has expired.
CREATE TABLE infra_monitor.slow_query_samples (
	sampled_at timestamptz NOT NULL,
	started_at timestamptz NOT NULL,
	exec_time float8 NOT NULL,
	outcome text NOT NULL,
	sqlstate text,
	pid int NOT NULL,
	datname text,
	usename text,
	application_name text NOT NULL,
	client_addr inet,
	queryid bigint,
	toplevel boolean NOT NULL,
	rows bigint,
	shared_blks_hit bigint,
	shared_blks_read bigint,
	temp_blks_written bigint,
	wal_bytes bigint,
	wait_profile jsonb,
	blocked_by int,
	query text,
	plan text,
	pre_exec_time float8,
	userid oid NOT NULL,
	dbid oid NOT NULL,
	ended_at timestamptz NOT NULL,
	log_started_at timestamptz NOT NULL,
	entry bigint NOT NULL
) PARTITION BY RANGE (sampled_at);
COMMENT ON TABLE infra_monitor.slow_query_samples IS
'the executions of slow_query_log, stored each infra_monitor.statement_interval or before they are overwritten, in partitions by UTC day, kept for infra_monitor.retention; columns as there, times in ms; not dumped; written by the sampler only; for pg_read_all_stats, and so for pg_monitor';
COMMENT ON COLUMN infra_monitor.slow_query_samples.sampled_at IS 'when it was stored';
COMMENT ON COLUMN infra_monitor.slow_query_samples.datname IS 'name of the database when it was stored; NULL if it had been dropped';
COMMENT ON COLUMN infra_monitor.slow_query_samples.usename IS 'name of the role that it ran as, when it was stored; NULL if that had been dropped';
COMMENT ON COLUMN infra_monitor.slow_query_samples.userid IS 'role that it ran as';
COMMENT ON COLUMN infra_monitor.slow_query_samples.dbid IS 'database';
COMMENT ON COLUMN infra_monitor.slow_query_samples.log_started_at IS 'when the log began that it was in, which is in memory: a start of the server; entries of different logs are different executions';
COMMENT ON COLUMN infra_monitor.slow_query_samples.entry IS 'number in that log, from 0 on in the order in which executions ended; numbers are missing where they were lost or reset';

CREATE INDEX slow_query_samples_time_idx ON infra_monitor.slow_query_samples
	USING brin (sampled_at, started_at, ended_at) WITH (pages_per_range = 16, autosummarize = on);
COMMENT ON INDEX infra_monitor.slow_query_samples_time_idx IS
'finds a part of a day; whole days by sampled_at are found by their partitions';

-- What is in memory is read once, after the snapshot was taken.  What has been
-- stored since stands there only, what was stored before may stand in both.
CREATE VIEW infra_monitor.slow_query_log AS
WITH ring AS MATERIALIZED (
	SELECT * FROM infra_monitor.slow_query_log()
)
SELECT l.started_at, l.exec_time, l.outcome, l.sqlstate, l.pid, l.datname,
	l.usename, l.application_name, l.client_addr, l.queryid, l.toplevel,
	l.rows, l.shared_blks_hit, l.shared_blks_read, l.temp_blks_written,
	l.wal_bytes, l.wait_profile, l.blocked_by, l.query, l.plan,
	l.pre_exec_time, l.ended_at
FROM (
	SELECT r.started_at, r.exec_time, r.outcome, r.sqlstate, r.pid, r.datname,
		r.usename, r.application_name, r.client_addr, r.queryid, r.toplevel,
		r.rows, r.shared_blks_hit, r.shared_blks_read, r.temp_blks_written,
		r.wal_bytes, r.wait_profile, r.blocked_by, r.query, r.plan,
		r.pre_exec_time, r.ended_at, r.log_started_at, r.entry
	FROM ring r
	UNION ALL
	SELECT s.started_at, s.exec_time, s.outcome, s.sqlstate, s.pid,
		s.datname::pg_catalog.name, s.usename::pg_catalog.name,
		CASE WHEN infra_monitor.may_see_role(s.userid) THEN s.application_name ELSE '<insufficient privilege>' END,
		CASE WHEN infra_monitor.may_see_role(s.userid) THEN s.client_addr END,
		CASE WHEN infra_monitor.may_see_role(s.userid) THEN s.queryid END,
		s.toplevel, s.rows, s.shared_blks_hit, s.shared_blks_read,
		s.temp_blks_written, s.wal_bytes, s.wait_profile, s.blocked_by,
		CASE WHEN s.query IS NULL OR infra_monitor.may_see_role(s.userid) THEN s.query ELSE '<insufficient privilege>' END,
		CASE WHEN s.plan IS NULL OR infra_monitor.may_see_role(s.userid) THEN s.plan ELSE '<insufficient privilege>' END,
		s.pre_exec_time, s.ended_at, s.log_started_at, s.entry
	FROM infra_monitor.slow_query_samples s
	WHERE NOT EXISTS (SELECT FROM ring r
		WHERE r.log_started_at OPERATOR(pg_catalog.=) s.log_started_at
			AND r.entry OPERATOR(pg_catalog.=) s.entry)
) l
ORDER BY l.ended_at DESC, l.log_started_at DESC, l.entry DESC;
COMMENT ON VIEW infra_monitor.slow_query_log IS
'executions that took infra_monitor.slow_query_threshold or longer, whatever came of them, the one that ended last first: those in shared memory, the last infra_monitor.slow_query_log_size since the server started or reset(), and those in slow_query_samples; times in ms; error unless preloaded; for pg_monitor, application, address, queryid and texts of other roles need pg_read_all_stats';
COMMENT ON COLUMN infra_monitor.slow_query_log.started_at IS 'when the client''s message came, or the statement before in the same message had ended';
COMMENT ON COLUMN infra_monitor.slow_query_log.exec_time IS 'time since then, pre_exec_time included, ms; time in which the client did not ask for more rows does not count';
COMMENT ON COLUMN infra_monitor.slow_query_log.outcome IS 'completed, failed, cancelled (SQLSTATE 57014, also by statement_timeout), terminated (the session ended meanwhile)';
COMMENT ON COLUMN infra_monitor.slow_query_log.sqlstate IS 'SQLSTATE of the error; NULL if it completed';
COMMENT ON COLUMN infra_monitor.slow_query_log.datname IS 'NULL if the database has been dropped, before it was stored';
COMMENT ON COLUMN infra_monitor.slow_query_log.usename IS 'role that it ran as; NULL if that has been dropped, before it was stored';
COMMENT ON COLUMN infra_monitor.slow_query_log.client_addr IS 'NULL for a Unix-domain socket';
COMMENT ON COLUMN infra_monitor.slow_query_log.queryid IS 'as in pg_stat_statements; NULL: failed before it was identified, while it was parsed or waited for the lock of a table';
COMMENT ON COLUMN infra_monitor.slow_query_log.toplevel IS 'sent by a client, not from inside a function';
COMMENT ON COLUMN infra_monitor.slow_query_log.rows IS 'rows returned or changed; NULL if it did not complete';
COMMENT ON COLUMN infra_monitor.slow_query_log.shared_blks_hit IS 'blocks found in shared buffers; NULL if it did not get as far as execution, like the counters that follow';
COMMENT ON COLUMN infra_monitor.slow_query_log.wal_bytes IS 'write-ahead log generated, bytes';
COMMENT ON COLUMN infra_monitor.slow_query_log.wait_profile IS 'what it was seen waiting for, and for how long, in seconds, by "type:event" or "CPU" (none), at most eight of them; NULL if it was not seen at any look, of which there is one each infra_monitor.activity_interval';
COMMENT ON COLUMN infra_monitor.slow_query_log.blocked_by IS 'who was at the root of the last lock wait that was seen, as root_pid in lock_waits (0: a prepared transaction); NULL if none was seen';
COMMENT ON COLUMN infra_monitor.slow_query_log.query IS 'text, with $n for its literals and without comments unless infra_monitor.log_parameters was on, clipped at infra_monitor.slow_query_text_size; a command that can carry a secret shows its tag only; all that the client sent with it if it failed before execution';
COMMENT ON COLUMN infra_monitor.slow_query_log.plan IS 'plan as EXPLAIN shows it, with ? for literals, if infra_monitor.slow_query_plan was on and it completed; clipped, with ... at its end, at infra_monitor.slow_query_text_size and a quarter, less the length of the text';
COMMENT ON COLUMN infra_monitor.slow_query_log.pre_exec_time IS 'part of exec_time before execution began: parsing, planning, waiting for the locks of tables, ms; NULL inside a function';
COMMENT ON COLUMN infra_monitor.slow_query_log.ended_at IS 'when it ended';

CREATE FUNCTION infra_monitor.slow_queries_logged()
RETURNS bigint
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_slow_queries_logged_1_0';
COMMENT ON FUNCTION infra_monitor.slow_queries_logged() IS
'executions that took infra_monitor.slow_query_threshold or longer since the server started, also those that are no longer kept; error unless preloaded; for pg_monitor';
