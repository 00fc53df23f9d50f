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
-- histogram.sql: the type histogram
--

CREATE TYPE infra_monitor.histogram;

CREATE FUNCTION infra_monitor.histogram_in(cstring)
RETURNS infra_monitor.histogram
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_histogram_in_1_0';
COMMENT ON FUNCTION infra_monitor.histogram_in(cstring) IS
'input of type histogram; error for anything but what histogram_out() writes, up to white space, order and empty buckets; for pg_monitor';

CREATE FUNCTION infra_monitor.histogram_out(infra_monitor.histogram)
RETURNS cstring
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_histogram_out_1_0';
COMMENT ON FUNCTION infra_monitor.histogram_out(infra_monitor.histogram) IS
'output of type histogram: {1.12ms:3,5s:1,+Inf:2}, buckets that are not empty by their upper bound; for pg_monitor';

CREATE FUNCTION infra_monitor.histogram_recv(internal)
RETURNS infra_monitor.histogram
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_histogram_recv_1_0';
COMMENT ON FUNCTION infra_monitor.histogram_recv(internal) IS
'binary input of type histogram; for pg_monitor';

CREATE FUNCTION infra_monitor.histogram_send(infra_monitor.histogram)
RETURNS bytea
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_histogram_send_1_0';
COMMENT ON FUNCTION infra_monitor.histogram_send(infra_monitor.histogram) IS
'binary output of type histogram: version 1, first bucket, number of buckets (a byte each), and a count for each, 7 bits to a byte, low bits first; for pg_monitor';

CREATE TYPE infra_monitor.histogram (
	INPUT = infra_monitor.histogram_in,
	OUTPUT = infra_monitor.histogram_out,
	RECEIVE = infra_monitor.histogram_recv,
	SEND = infra_monitor.histogram_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = int4,
	STORAGE = extended
);
COMMENT ON TYPE infra_monitor.histogram IS
'counts of durations in 202 buckets, 20 to a decade from 1 us to 10 000 s, at most 2^63 - 1 together; histograms can be added and subtracted, and know their quantiles within 14.3 percent';

CREATE FUNCTION infra_monitor.histogram(float8[])
RETURNS infra_monitor.histogram
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_histogram_1_0';
COMMENT ON FUNCTION infra_monitor.histogram(float8[]) IS
'histogram of durations in milliseconds, rounded to nanoseconds; NULLs are left out; error for NaN and negative ones; for pg_monitor';

--
-- jsonb
--

CREATE FUNCTION infra_monitor.histogram_from_jsonb(jsonb)
RETURNS infra_monitor.histogram
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_histogram_from_jsonb_1_0';
COMMENT ON FUNCTION infra_monitor.histogram_from_jsonb(jsonb) IS
'histogram of what histogram_to_jsonb() returns; error for anything else; for pg_monitor';

CREATE FUNCTION infra_monitor.histogram_to_jsonb(infra_monitor.histogram)
RETURNS jsonb
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_histogram_to_jsonb_1_0';
COMMENT ON FUNCTION infra_monitor.histogram_to_jsonb(infra_monitor.histogram) IS
'array of {"le_seconds": upper bound, "count": observations}, one for each bucket that is not empty; the bound of the last one is "+Inf"; for pg_monitor';

CREATE CAST (jsonb AS infra_monitor.histogram)
WITH FUNCTION infra_monitor.histogram_from_jsonb(jsonb);

CREATE CAST (infra_monitor.histogram AS jsonb)
WITH FUNCTION infra_monitor.histogram_to_jsonb(infra_monitor.histogram);

--
-- operators
--

CREATE FUNCTION infra_monitor.histogram_add(infra_monitor.histogram, infra_monitor.histogram)
RETURNS infra_monitor.histogram
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_histogram_add_1_0';
COMMENT ON FUNCTION infra_monitor.histogram_add(infra_monitor.histogram, infra_monitor.histogram) IS
'the observations of both; error if there are more than 2^63 - 1; for pg_monitor';

CREATE OPERATOR infra_monitor.+ (
	LEFTARG = infra_monitor.histogram,
	RIGHTARG = infra_monitor.histogram,
	FUNCTION = infra_monitor.histogram_add,
	COMMUTATOR = OPERATOR(infra_monitor.+)
);
COMMENT ON OPERATOR infra_monitor.+ (infra_monitor.histogram, infra_monitor.histogram) IS
'the observations of both';

CREATE FUNCTION infra_monitor.histogram_subtract(infra_monitor.histogram, infra_monitor.histogram)
RETURNS infra_monitor.histogram
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_histogram_subtract_1_0';
COMMENT ON FUNCTION infra_monitor.histogram_subtract(infra_monitor.histogram, infra_monitor.histogram) IS
'the first without the observations of the second; error if a bucket would be negative; for pg_monitor';

CREATE OPERATOR infra_monitor.- (
	LEFTARG = infra_monitor.histogram,
	RIGHTARG = infra_monitor.histogram,
	FUNCTION = infra_monitor.histogram_subtract
);
COMMENT ON OPERATOR infra_monitor.- (infra_monitor.histogram, infra_monitor.histogram) IS
'the first without the observations of the second';

CREATE FUNCTION infra_monitor.histogram_eq(infra_monitor.histogram, infra_monitor.histogram)
RETURNS boolean
LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_histogram_eq_1_0';
COMMENT ON FUNCTION infra_monitor.histogram_eq(infra_monitor.histogram, infra_monitor.histogram) IS
'are all counts equal? for pg_monitor';

CREATE FUNCTION infra_monitor.histogram_ne(infra_monitor.histogram, infra_monitor.histogram)
RETURNS boolean
LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_histogram_ne_1_0';
COMMENT ON FUNCTION infra_monitor.histogram_ne(infra_monitor.histogram, infra_monitor.histogram) IS
'are there counts that differ? for pg_monitor';

CREATE FUNCTION infra_monitor.histogram_hash(infra_monitor.histogram)
RETURNS int
LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_histogram_hash_1_0';
COMMENT ON FUNCTION infra_monitor.histogram_hash(infra_monitor.histogram) IS
'hash value, for GROUP BY and hash joins; for pg_monitor';

CREATE FUNCTION infra_monitor.histogram_hash_extended(infra_monitor.histogram, bigint)
RETURNS bigint
LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_histogram_hash_extended_1_0';
COMMENT ON FUNCTION infra_monitor.histogram_hash_extended(infra_monitor.histogram, bigint) IS
'hash value with a seed, for hash partitioning; for pg_monitor';

CREATE OPERATOR infra_monitor.= (
	LEFTARG = infra_monitor.histogram,
	RIGHTARG = infra_monitor.histogram,
	FUNCTION = infra_monitor.histogram_eq,
	COMMUTATOR = OPERATOR(infra_monitor.=),
	NEGATOR = OPERATOR(infra_monitor.<>),
	RESTRICT = eqsel,
	JOIN = eqjoinsel,
	HASHES
);
COMMENT ON OPERATOR infra_monitor.= (infra_monitor.histogram, infra_monitor.histogram) IS
'are all counts equal?';

CREATE OPERATOR infra_monitor.<> (
	LEFTARG = infra_monitor.histogram,
	RIGHTARG = infra_monitor.histogram,
	FUNCTION = infra_monitor.histogram_ne,
	COMMUTATOR = OPERATOR(infra_monitor.<>),
	NEGATOR = OPERATOR(infra_monitor.=),
	RESTRICT = neqsel,
	JOIN = neqjoinsel
);
COMMENT ON OPERATOR infra_monitor.<> (infra_monitor.histogram, infra_monitor.histogram) IS
'are there counts that differ?';

CREATE OPERATOR CLASS infra_monitor.histogram_ops
DEFAULT FOR TYPE infra_monitor.histogram USING hash AS
	OPERATOR 1 infra_monitor.= (infra_monitor.histogram, infra_monitor.histogram),
	FUNCTION 1 infra_monitor.histogram_hash(infra_monitor.histogram),
	FUNCTION 2 infra_monitor.histogram_hash_extended(infra_monitor.histogram, bigint);
COMMENT ON OPERATOR CLASS infra_monitor.histogram_ops USING hash IS
'histograms can be grouped and joined by equality; there is no order';

--
-- what a histogram says
--

CREATE AGGREGATE infra_monitor.sum(infra_monitor.histogram) (
	SFUNC = infra_monitor.histogram_add,
	STYPE = infra_monitor.histogram,
	COMBINEFUNC = infra_monitor.histogram_add,
	MSFUNC = infra_monitor.histogram_add,
	MINVFUNC = infra_monitor.histogram_subtract,
	MSTYPE = infra_monitor.histogram,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE infra_monitor.sum(infra_monitor.histogram) IS
'the observations of all; NULL if there is no histogram; error if there are more than 2^63 - 1; for pg_monitor';

CREATE FUNCTION infra_monitor.quantile(infra_monitor.histogram, q float8)
RETURNS float8
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_quantile_1_0';
COMMENT ON FUNCTION infra_monitor.quantile(infra_monitor.histogram, float8) IS
'duration in milliseconds that a share q of the observations does not exceed, off by 14.3 percent at most from 1 us to 10 000 s; NULL if there are none; error unless q is from 0 to 1; for pg_monitor';

CREATE FUNCTION infra_monitor.observations(infra_monitor.histogram)
RETURNS bigint
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_observations_1_0';
COMMENT ON FUNCTION infra_monitor.observations(infra_monitor.histogram) IS
'how many durations were counted; for pg_monitor';

CREATE FUNCTION infra_monitor.buckets(infra_monitor.histogram,
	OUT le_seconds float8, OUT cumulative bigint)
RETURNS SETOF record
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 202
AS 'MODULE_PATHNAME', 'imon_buckets_1_0';
COMMENT ON FUNCTION infra_monitor.buckets(infra_monitor.histogram) IS
'the 202 buckets, empty ones too, in ascending order: upper bound in seconds, the last one Infinity, and observations up to it; for pg_monitor';

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
-- pg_stat_statements.sql: the one reader of pg_stat_statements
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
-- statements.sql: the table of statements
--

CREATE FUNCTION infra_monitor.statement_counts(
	OUT userid oid, OUT dbid oid, OUT queryid bigint, OUT toplevel boolean,
	OUT latency infra_monitor.histogram, OUT total_time float8,
	OUT cancelled bigint, OUT lock_not_available bigint,
	OUT terminated bigint, OUT failed bigint, OUT failed_time float8,
	OUT stats_since timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'imon_statement_counts_1_0';
COMMENT ON FUNCTION infra_monitor.statement_counts() IS
'executions by statement: their times (latency, total_time in ms) if completed, how the others ended, and the time that those took; queryid NULL: failed before it was known, or of another role and the caller not in pg_read_all_stats; userid NULL: what evicted statements of the database have left; error unless preloaded; for pg_monitor';

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
	LEFT JOIN (
		SELECT * FROM infra_monitor.statement_stats(true)
		WHERE infra_monitor.pg_stat_statements_loaded()
	) s ON s.userid OPERATOR(pg_catalog.=) c.userid
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
-- repeated.sql: statements that clients execute in a loop
--

CREATE FUNCTION infra_monitor.repeated_counts(
	OUT userid oid, OUT dbid oid, OUT application_name text,
	OUT queryid bigint, OUT parent_queryid bigint, OUT bursts bigint,
	OUT executions bigint, OUT longest_burst bigint, OUT total_time float8,
	OUT last_seen timestamptz, OUT kind text)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED ROWS 100
AS 'MODULE_PATHNAME', 'imon_repeated_counts_1_0';
COMMENT ON FUNCTION infra_monitor.repeated_counts() IS
'source of the view repeated_queries, total_time in ms; queryid NULL: of another role, and the caller is not in pg_read_all_stats; error unless preloaded; for pg_monitor';

CREATE VIEW infra_monitor.repeated_queries AS
WITH texts AS MATERIALIZED (
	SELECT s.userid, s.dbid, s.queryid, s.query
	FROM infra_monitor.statement_stats(true) s
	WHERE infra_monitor.pg_stat_statements_loaded() AND s.toplevel
)
SELECT infra_monitor.shown(d.datname) AS datname,
	infra_monitor.shown(r.rolname) AS usename, c.application_name,
	c.queryid, c.parent_queryid, c.bursts, c.executions, c.longest_burst,
	c.total_time AS total_exec_time, c.last_seen, c.kind,
	CASE WHEN c.queryid IS NULL THEN '<insufficient privilege>' ELSE q.query END AS query,
	CASE WHEN c.queryid IS NULL THEN '<insufficient privilege>' ELSE p.query END AS parent_query
FROM infra_monitor.repeated_counts() c
	LEFT JOIN texts q ON q.userid OPERATOR(pg_catalog.=) c.userid
		AND q.dbid OPERATOR(pg_catalog.=) c.dbid
		AND q.queryid OPERATOR(pg_catalog.=) c.queryid
	LEFT JOIN texts p ON p.userid OPERATOR(pg_catalog.=) c.userid
		AND p.dbid OPERATOR(pg_catalog.=) c.dbid
		AND p.queryid OPERATOR(pg_catalog.=) c.parent_queryid
	LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) c.userid
	LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) c.dbid;
COMMENT ON VIEW infra_monitor.repeated_queries IS
'N+1: statements that a client executed at least infra_monitor.repeated_query_threshold times in a row, as a rule once for each row of a parent statement; select: fetch what they return together with the parent, by a join, or by one statement with = ANY and all keys (in an ORM: eager loading); write: send many rows with one INSERT, UPDATE, DELETE or MERGE, or COPY; a loop that still runs is not shown; the 512 of all databases that cost most; error unless preloaded; for pg_monitor, texts of other roles need pg_read_all_stats';
COMMENT ON COLUMN infra_monitor.repeated_queries.datname IS 'NULL if the database has been dropped';
COMMENT ON COLUMN infra_monitor.repeated_queries.usename IS 'role that executed it; NULL if it has been dropped';
COMMENT ON COLUMN infra_monitor.repeated_queries.application_name IS 'application_name of the session';
COMMENT ON COLUMN infra_monitor.repeated_queries.queryid IS 'the repeated statement; NULL: the caller may not see it';
COMMENT ON COLUMN infra_monitor.repeated_queries.parent_queryid IS 'the statement that ran before the loop, and whose rows it most likely goes through; NULL: none in this transaction, or the caller may not see it';
COMMENT ON COLUMN infra_monitor.repeated_queries.bursts IS 'loops';
COMMENT ON COLUMN infra_monitor.repeated_queries.executions IS 'executions in all loops';
COMMENT ON COLUMN infra_monitor.repeated_queries.longest_burst IS 'most executions in one loop';
COMMENT ON COLUMN infra_monitor.repeated_queries.total_exec_time IS 'time of the executions in the server, ms; that of the network, as a rule more, comes on top';
COMMENT ON COLUMN infra_monitor.repeated_queries.last_seen IS 'when a loop ended last';
COMMENT ON COLUMN infra_monitor.repeated_queries.kind IS 'select, write (INSERT, UPDATE, DELETE, MERGE, also inside of WITH)';
COMMENT ON COLUMN infra_monitor.repeated_queries.query IS 'text of the repeated statement; NULL if pg_stat_statements does not have it, or cannot convert the texts of all databases to the encoding of this one';
COMMENT ON COLUMN infra_monitor.repeated_queries.parent_query IS 'text of the parent; NULL as for query, or if there is no parent';

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
'lets counters begin anew: ''statements'', ''pool'' (connections and refusals) or ''all''; samples before and after are of different epochs; never touches pg_stat_statements; error unless preloaded; for superusers, grantable';

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
	OUT rows_stored bigint)
RETURNS record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_sampler_state_1_0';
COMMENT ON FUNCTION infra_monitor.sampler_state() IS
'source of the view sampler_status; error unless preloaded; for pg_monitor';

CREATE FUNCTION infra_monitor.sampler_costs(OUT task text, OUT seconds float8)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 5
AS 'MODULE_PATHNAME', 'imon_sampler_costs_1_0';
COMMENT ON FUNCTION infra_monitor.sampler_costs() IS
'time that the sampler has spent on each of its tasks since the server started, seconds; error unless preloaded; for pg_monitor';

CREATE FUNCTION infra_monitor.sampler_drops(OUT reason text, OUT drops bigint)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 5
AS 'MODULE_PATHNAME', 'imon_sampler_drops_1_0';
COMMENT ON FUNCTION infra_monitor.sampler_drops() IS
'what was lost since the server started, by reason; error unless preloaded; for pg_monitor';

CREATE VIEW infra_monitor.sampler_status AS
SELECT s.pid, s.state, s.last_tick, s.next_tick, s.ticks, s.missed,
	s.last_error, s.last_error_at, s.rows_stored,
	(SELECT pg_catalog.sum(pg_catalog.pg_total_relation_size(i.inhrelid))::pg_catalog.int8
	 FROM pg_catalog.pg_inherits i
	 WHERE i.inhparent OPERATOR(pg_catalog.=) 'infra_monitor.samples'::pg_catalog.regclass) AS bytes_stored,
	(SELECT pg_catalog.jsonb_object_agg(m.part, m.bytes) FROM infra_monitor.shared_memory() m) AS shared_memory,
	(SELECT pg_catalog.jsonb_object_agg(d.reason, d.drops) FROM infra_monitor.sampler_drops() d) AS drops,
	(SELECT pg_catalog.jsonb_object_agg(c.task OPERATOR(pg_catalog.||) '_seconds', c.seconds) FROM infra_monitor.sampler_costs() c) AS cost
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
COMMENT ON COLUMN infra_monitor.sampler_status.drops IS 'what was lost, by reason: rejections (their details; they are counted all the same), health_documents (over 64 kB), executions (not counted), statements (evicted; what they counted is added up by database), bursts (loops that were not recorded), repeated_queries (rows removed from that view to make room)';
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
