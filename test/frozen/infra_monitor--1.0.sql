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
	OUT wait_event text, OUT queryid bigint, OUT query text, OUT datid oid,
	OUT usesysid oid)
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
-- connection_churn.sql: who connects how often
--

CREATE FUNCTION infra_monitor.connection_churn(
	OUT datname name, OUT usename name, OUT application_name text,
	OUT connects bigint, OUT disconnects bigint, OUT current bigint,
	OUT total_session_time float8, OUT connects_last_slot bigint,
	OUT connects_last_minute bigint, OUT last_at timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED ROWS 50
AS 'MODULE_PATHNAME', 'imon_connection_churn_1_0';
COMMENT ON FUNCTION infra_monitor.connection_churn() IS
'source of the view connection_churn and of the check connection_storm; the last slot is the last complete one of ten seconds; who first connects at the same moment as others of the same kind may have a row of its own; error unless preloaded; for pg_monitor';

CREATE VIEW infra_monitor.connection_churn AS
SELECT c.datname, c.usename, c.application_name,
	pg_catalog.sum(c.connects)::pg_catalog.int8 AS connects,
	pg_catalog.sum(c.disconnects)::pg_catalog.int8 AS disconnects,
	pg_catalog.sum(c.current)::pg_catalog.int8 AS current,
	pg_catalog.sum(c.total_session_time) OPERATOR(pg_catalog./)
		nullif(pg_catalog.sum(c.disconnects), 0)::pg_catalog.float8 AS session_time,
	pg_catalog.sum(c.connects_last_minute)::pg_catalog.int8 AS connects_per_minute,
	pg_catalog.max(c.last_at) AS last_at
FROM infra_monitor.connection_churn() c
GROUP BY c.datname, c.usename, c.application_name;
COMMENT ON VIEW infra_monitor.connection_churn IS
'who connected how often since the counters were reset: client backends by database, role and the application name with which they began; the sums are connects_total and disconnects_total of pool_pressure; 512 kinds find room until the server is restarted, what does not is in the row other, which is always there; error unless preloaded; for pg_monitor, application names of other roles need pg_read_all_stats';
COMMENT ON COLUMN infra_monitor.connection_churn.datname IS 'database; NULL if dropped, and in the row other';
COMMENT ON COLUMN infra_monitor.connection_churn.usename IS 'role; NULL if dropped, and in the row other';
COMMENT ON COLUMN infra_monitor.connection_churn.application_name IS 'as it was when the connection was established; later changes do not count';
COMMENT ON COLUMN infra_monitor.connection_churn.connects IS 'connections established since the counters were reset';
COMMENT ON COLUMN infra_monitor.connection_churn.disconnects IS 'connections ended since the counters were reset';
COMMENT ON COLUMN infra_monitor.connection_churn.current IS 'connections that were counted, also before the reset, and have not ended; those that came while infra_monitor.enabled was off were not';
COMMENT ON COLUMN infra_monitor.connection_churn.session_time IS 'mean duration of those that ended since the counters were reset, ms; NULL if none has';
COMMENT ON COLUMN infra_monitor.connection_churn.connects_per_minute IS 'connections established in the last minute, which ended up to ten seconds ago; NULL if some were not counted then: the counters were reset, or infra_monitor.enabled was off';
COMMENT ON COLUMN infra_monitor.connection_churn.last_at IS 'when one was established or ended last; NULL: not since the counters were reset';

CREATE FUNCTION infra_monitor.connection_rate(
	OUT connects_per_second float8, OUT usual_per_second float8,
	OUT slots int)
RETURNS record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_connection_rate_1_0';
COMMENT ON FUNCTION infra_monitor.connection_rate() IS
'connections established a second in the last complete slot of ten seconds, the median of the slots before it, of one hour at most and since the counters were reset, and how many these are; NULL where there are none; counts also while infra_monitor.enabled is off; error unless preloaded; for pg_monitor';

--
-- connection_times.sql: how long it takes to connect, and how long sessions last
--

CREATE FUNCTION infra_monitor.connection_times(
	OUT phase text, OUT connections bigint, OUT total_time float8,
	OUT latency infra_monitor.histogram)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 2
AS 'MODULE_PATHNAME', 'imon_connection_times_1_0';
COMMENT ON FUNCTION infra_monitor.connection_times() IS
'source of the view connection_times; error unless preloaded; for pg_monitor';

CREATE VIEW infra_monitor.connection_times AS
SELECT t.phase, t.connections, t.total_time,
	infra_monitor.quantile(t.latency, 0.5) AS p50_time,
	infra_monitor.quantile(t.latency, 0.95) AS p95_time,
	infra_monitor.quantile(t.latency, 0.99) AS p99_time,
	t.latency
FROM infra_monitor.connection_times() t;
COMMENT ON VIEW infra_monitor.connection_times IS
'what connections cost: two rows, how long it took to connect and how long sessions lasted, since the counters were reset; connections that came while infra_monitor.enabled was off are in neither; error unless preloaded; for pg_monitor';
COMMENT ON COLUMN infra_monitor.connection_times.phase IS 'establish: from the start of the server process until it takes commands, with authentication and what the client took for its answers; session: from there to its end';
COMMENT ON COLUMN infra_monitor.connection_times.connections IS 'establish: as connects_total of pool_pressure; session: as disconnects_total';
COMMENT ON COLUMN infra_monitor.connection_times.total_time IS 'of all of them together, ms';
COMMENT ON COLUMN infra_monitor.connection_times.p50_time IS 'median, ms, off by 14.3 percent at most; no more than 10 000 s can be told; NULL: there are none';
COMMENT ON COLUMN infra_monitor.connection_times.p95_time IS '95th percentile, likewise';
COMMENT ON COLUMN infra_monitor.connection_times.p99_time IS '99th percentile, likewise';
COMMENT ON COLUMN infra_monitor.connection_times.latency IS 'all durations';

--
-- limits.sql: limits of roles and databases
--

CREATE FUNCTION infra_monitor.limit_usage(
	OUT scope text, OUT name name, OUT connections int,
	OUT connection_limit int)
RETURNS SETOF record
LANGUAGE c STABLE STRICT PARALLEL RESTRICTED ROWS 10
AS 'MODULE_PATHNAME', 'imon_limit_usage_1_0';
COMMENT ON FUNCTION infra_monitor.limit_usage() IS
'client backends of each role and each database that has both a connection limit and connections; scope is role or database; no superusers, who heed no limit, but in a database their connections count; frozen within a transaction; works without preloading; for pg_monitor';

CREATE FUNCTION infra_monitor.nearest_limit(
	scope text, OUT name name, OUT connections int,
	OUT connection_limit int, OUT ratio float8)
RETURNS record
LANGUAGE c STABLE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'imon_nearest_limit_1_0';
COMMENT ON FUNCTION infra_monitor.nearest_limit(text) IS
'source of the checks role_limit and database_limit: of limit_usage() for a scope, role or database, the row with the highest connections / limit, of equal ones that with less left; a limit of 0 counts as reached; 0 and no name if there is none; for pg_monitor';

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

CREATE FUNCTION infra_monitor.system_state(
	OUT memory_used bigint, OUT memory_limit bigint,
	OUT memory_of_group boolean, OUT load float8, OUT processors float8,
	OUT cpu_stall float8, OUT memory_stall float8, OUT io_stall float8)
RETURNS record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_system_state_1_0';
COMMENT ON FUNCTION infra_monitor.system_state() IS
'what the server lacks: memory in bytes of the machine, or of the control group around the server that is nearer to its limit (memory_of_group); five-minute load and processors of the machine; shares of the last minute in which a process waited for a processor, and all stood still for want of memory or for the disk, in the control group of the server, else on the machine; NULL is not known; for pg_monitor';

--
-- growth.sql: what counters have grown by in the last hour
--

CREATE FUNCTION infra_monitor.recent_growth(
	OUT seconds float8, OUT checkpoints_timed bigint,
	OUT checkpoints_requested bigint, OUT oom_kills bigint)
RETURNS record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_recent_growth_1_0';
COMMENT ON FUNCTION infra_monitor.recent_growth() IS
'what counters have grown by in the last hour, or since the server was started, they were reset, or the sampler looked first, and over how many seconds; restart points count as checkpoints; NULL is not known; error unless preloaded; for pg_monitor';

--
-- database_checks.sql: what was found in the catalogs of all databases
--

CREATE FUNCTION infra_monitor.database_findings(
	OUT check_name text, OUT datname name, OUT value float8,
	OUT message text, OUT examined_at timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 10
AS 'MODULE_PATHNAME', 'imon_database_findings_1_0';
COMMENT ON FUNCTION infra_monitor.database_findings() IS
'source of the view database_checks; error unless preloaded; for pg_monitor';

CREATE FUNCTION infra_monitor.database_round(
	OUT started_at timestamptz, OUT finished_at timestamptz,
	OUT examined int, OUT failed int, OUT error text)
RETURNS record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_database_round_1_0';
COMMENT ON FUNCTION infra_monitor.database_round() IS
'the last complete round through all databases: when, databases that were looked at, those of them in which a check had no value, and the last error there; NULL if there was none yet since the server started; error unless preloaded; for pg_monitor';

CREATE VIEW infra_monitor.database_checks AS
SELECT f.check_name, f.datname, f.value, f.message, f.examined_at
FROM infra_monitor.database_findings() f;
COMMENT ON VIEW infra_monitor.database_checks IS
'what the last rounds through all databases found, each infra_monitor.database_check_interval: for each check the 32 databases with the highest values above zero; in memory only; error unless preloaded; for pg_monitor';
COMMENT ON COLUMN infra_monitor.database_checks.check_name IS 'the health check that this is part of';
COMMENT ON COLUMN infra_monitor.database_checks.value IS 'in the unit of the check';
COMMENT ON COLUMN infra_monitor.database_checks.message IS 'about the worst case in this database';
COMMENT ON COLUMN infra_monitor.database_checks.examined_at IS 'when the database was looked at';

CREATE FUNCTION infra_monitor.worst_database(
	check_name text, nothing text, OUT value float8, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
WITH rounds AS MATERIALIZED (
	SELECT *, current_setting('infra_monitor.database_check_interval')::interval AS interval
	FROM infra_monitor.database_round()
), rated AS (
	SELECT *, CASE
			WHEN interval = '0' THEN 'infra_monitor.database_check_interval is 0: databases are not looked at'
			WHEN finished_at IS NULL THEN 'databases have not been looked at yet'
			WHEN clock_timestamp() - finished_at > 3 * interval + interval '10 minutes'
				THEN format('databases were last looked at until %s; is a background worker free?', finished_at)
			WHEN failed = examined AND failed > 0 THEN format('no database could be looked at: %s', coalesce(error, 'see the server log'))
		END AS excuse
	FROM rounds
), worst AS (
	SELECT f.value, f.datname, f.message
	FROM infra_monitor.database_findings() f WHERE f.check_name = $1
	ORDER BY f.value DESC, f.datname LIMIT 1
)
SELECT CASE WHEN r.excuse IS NULL THEN coalesce(w.value, 0) END,
	coalesce(r.excuse, CASE WHEN w.value IS NULL THEN $2 ELSE format('database "%s": %s', w.datname, w.message) END
		|| CASE WHEN r.failed > 0 THEN format('; %s of %s databases could not be looked at', r.failed, r.examined)
			|| coalesce(', last ' || r.error, '') ELSE '' END)
FROM rated r LEFT JOIN worst w ON true
$$;
COMMENT ON FUNCTION infra_monitor.worst_database(text, text) IS
'value and message of the health checks of databases: of the database with the highest value, 0 and the second argument where there is none, NULL and the reason where it is not known; error unless preloaded; for pg_monitor';

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
-- locks.sql: who waits for whom
--

CREATE FUNCTION infra_monitor.lock_waits(
	OUT pid int, OUT datname name, OUT usename name, OUT application_name text,
	OUT queryid bigint, OUT query text, OUT wait_time float8,
	OUT blocked_by int[], OUT root_pid int, OUT root_state text,
	OUT root_usename name, OUT root_application_name text, OUT root_query text,
	OUT depth int, OUT lock_type text, OUT locked text, OUT mode text,
	OUT in_cycle boolean, OUT root_datname name,
	OUT root_state_change timestamptz, OUT root_xid xid)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED ROWS 20
AS 'MODULE_PATHNAME', 'imon_lock_waits_1_0';
COMMENT ON FUNCTION infra_monitor.lock_waits() IS
'source of the view lock_waits; works without preloading; for pg_monitor';

CREATE VIEW infra_monitor.lock_waits AS
SELECT w.pid, w.datname, w.usename, w.application_name, w.queryid, w.query,
	w.wait_time, w.blocked_by, w.root_pid, w.root_state, w.root_usename,
	w.root_application_name, w.root_query, w.depth, w.lock_type, w.locked,
	w.mode, w.in_cycle, w.root_datname, w.root_state_change, w.root_xid
FROM infra_monitor.lock_waits() w;
COMMENT ON VIEW infra_monitor.lock_waits IS
'one row for each backend that waits for a heavyweight lock, and the root of its chain; waits are of this moment, states and texts frozen within a transaction like pg_stat_activity; empty, and free of any lock, if nobody waits; works without preloading; for pg_monitor, texts of other roles need pg_read_all_stats';
COMMENT ON COLUMN infra_monitor.lock_waits.pid IS 'process that waits; for a parallel query its leader, whichever of its processes wait';
COMMENT ON COLUMN infra_monitor.lock_waits.usename IS 'NULL for a process without a role, such as an autovacuum worker';
COMMENT ON COLUMN infra_monitor.lock_waits.query IS 'text; a command that can carry a secret shows its tag only';
COMMENT ON COLUMN infra_monitor.lock_waits.wait_time IS 'time since the wait began, ms; NULL if that is not yet known';
COMMENT ON COLUMN infra_monitor.lock_waits.blocked_by IS 'processes that hold the lock in a conflicting mode, or want it so and are ahead in the queue, as pg_blocking_pids(), each once; 0 is a prepared transaction';
COMMENT ON COLUMN infra_monitor.lock_waits.root_pid IS 'end of the chain of blockers: the process that does not wait for a lock itself; 0 for a prepared transaction; in a cycle the lowest pid; NULL if nobody is in the way any more';
COMMENT ON COLUMN infra_monitor.lock_waits.root_state IS 'as in pg_stat_activity, or ''prepared transaction''; NULL if not known';
COMMENT ON COLUMN infra_monitor.lock_waits.root_query IS 'what the root runs, or ran last if it is idle in transaction';
COMMENT ON COLUMN infra_monitor.lock_waits.depth IS 'steps from this process to the root';
COMMENT ON COLUMN infra_monitor.lock_waits.lock_type IS 'as locktype in pg_locks';
COMMENT ON COLUMN infra_monitor.lock_waits.locked IS 'what the lock is on, in words; a relation by its name if it is of this database';
COMMENT ON COLUMN infra_monitor.lock_waits.mode IS 'mode it waits for, as in pg_locks';
COMMENT ON COLUMN infra_monitor.lock_waits.in_cycle IS 'the chain comes back to this process: a deadlock that has not been resolved yet';
COMMENT ON COLUMN infra_monitor.lock_waits.root_datname IS 'database of the root';
COMMENT ON COLUMN infra_monitor.lock_waits.root_state_change IS 'since when the root has been in its state';
COMMENT ON COLUMN infra_monitor.lock_waits.root_xid IS 'transaction of the root, which finds a prepared one in pg_prepared_xacts; NULL if it has none';

--
-- blame.sql: who has cost others time by holding locks
--

CREATE FUNCTION infra_monitor.lock_blame(
	OUT usename name, OUT application_name text, OUT datname name,
	OUT state text, OUT queryid bigint, OUT blocked_time float8,
	OUT incidents bigint, OUT last_at timestamptz, OUT dbid oid)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED ROWS 100
AS 'MODULE_PATHNAME', 'imon_lock_blame_1_0';
COMMENT ON FUNCTION infra_monitor.lock_blame() IS
'source of the view lock_blame; error unless preloaded; for pg_monitor';

CREATE VIEW infra_monitor.lock_blame AS
WITH texts AS MATERIALIZED (
	SELECT s.dbid, s.queryid, pg_catalog.min(s.query) AS query
	-- NULL: it is not called where it would raise an error, also because its
	-- schema is closed to the caller; of what he may not see there is no queryid
	FROM infra_monitor.statement_stats(CASE
		WHEN infra_monitor.pg_stat_statements_loaded()
			AND EXISTS (SELECT FROM pg_catalog.pg_extension e
				WHERE e.extname OPERATOR(pg_catalog.=) 'pg_stat_statements'
					AND pg_catalog.has_schema_privilege(e.extnamespace, 'USAGE'))
		THEN true END) s
	GROUP BY s.dbid, s.queryid
)
SELECT b.usename, b.application_name, b.datname, b.state, b.queryid,
	b.blocked_time, b.incidents, b.last_at,
	(SELECT t.query FROM texts t
	 WHERE t.dbid OPERATOR(pg_catalog.=) b.dbid
		AND t.queryid OPERATOR(pg_catalog.=) b.queryid) AS query
FROM infra_monitor.lock_blame() b;
COMMENT ON VIEW infra_monitor.lock_blame IS
'who has cost others time by holding locks, since the server started or reset(): the time of each waiter is charged to the root of its chain; looked at once in infra_monitor.activity_interval; at most 256 rows, and one for the rest; error unless preloaded; for pg_monitor, application, queryid and query of other roles need pg_read_all_stats';
COMMENT ON COLUMN infra_monitor.lock_blame.usename IS 'NULL if the role has been dropped, and in the row for the rest';
COMMENT ON COLUMN infra_monitor.lock_blame.state IS 'what the root was doing, as root_state in lock_waits; ''other'' is the row for the rest';
COMMENT ON COLUMN infra_monitor.lock_blame.queryid IS 'statement that the root ran, or had run last if it was idle in transaction';
COMMENT ON COLUMN infra_monitor.lock_blame.blocked_time IS 'time that others have waited, all together, ms; less than one activity_interval of each wait is missing';
COMMENT ON COLUMN infra_monitor.lock_blame.incidents IS 'waits that were charged to this row first; a wait whose root changes counts once';
COMMENT ON COLUMN infra_monitor.lock_blame.last_at IS 'when somebody waited last';
COMMENT ON COLUMN infra_monitor.lock_blame.query IS 'text of the statement, if pg_stat_statements still has it and the caller may see it; a command that can carry a secret shows its tag only';

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
	-- NULL: it is not called where it would raise an error
	FROM infra_monitor.statement_stats(CASE WHEN infra_monitor.pg_stat_statements_loaded() THEN true END) s
	WHERE s.toplevel
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

--
-- checks_pool.sql: health checks of category pool: how near the server is to refusing its clients
--
-- Their defaults are in check_defaults(), health.sql.  All are for pg_monitor.
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

CREATE FUNCTION infra_monitor.check_connection_storm(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN r.slots >= 60 THEN r.connects_per_second / greatest(r.usual_per_second, 1) END,
	'ratio',
	CASE WHEN r.slots >= 60
		THEN format('%s connections a second in the last 10 seconds, %s usually', r.connects_per_second, r.usual_per_second)
			|| CASE WHEN t.usename IS NOT NULL
				THEN format('; most are of role "%s": %s', t.usename, t.connects)
				ELSE '' END
		ELSE 'what is usual is not known within ten minutes after the start of the server or a reset'
	END
FROM infra_monitor.connection_rate() r
	LEFT JOIN LATERAL (
		-- not the application: all who read the document would see it
		SELECT c.usename, sum(c.connects_last_slot) AS connects
		FROM infra_monitor.connection_churn() c
		WHERE c.connects_last_slot > 0
		GROUP BY c.usename
		ORDER BY connects DESC, c.usename LIMIT 1
	) t ON true
$$;
COMMENT ON FUNCTION infra_monitor.check_connection_storm() IS
'health check: connections established a second, in the last complete slot of ten seconds, as a multiple of the median of the last hour, which counts as one a second at least; NULL until ten minutes after the server was started or the counters were reset';

CREATE FUNCTION infra_monitor.check_role_limit(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT ratio, 'ratio',
	CASE WHEN connections IS NULL THEN 'there are no connections of a role that has a connection limit'
		ELSE format('role "%s" has %s of the %s connections that it may have', name, connections, connection_limit) END
FROM infra_monitor.nearest_limit('role')
$$;
COMMENT ON FUNCTION infra_monitor.check_role_limit() IS
'health check: connections of a role as a share of its connection limit, of the role that is nearest to it; 1 for a limit of 0; superusers heed no limit and are left out';

CREATE FUNCTION infra_monitor.check_database_limit(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT ratio, 'ratio',
	CASE WHEN connections IS NULL THEN 'there are no connections of a database that has a connection limit'
		ELSE format('database "%s" has %s of the %s connections that it may have', name, connections, connection_limit) END
FROM infra_monitor.nearest_limit('database')
$$;
COMMENT ON FUNCTION infra_monitor.check_database_limit() IS
'health check: connections to a database as a share of its connection limit, of the database that is nearest to it; 1 for a limit of 0; connections of superusers count, though no limit refuses them';

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

--
-- checks_queries.sql: health checks of category queries: statements and transactions of clients
--
-- Their defaults are in check_defaults(), health.sql.  All are for pg_monitor.
--

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

--
-- checks_maintenance.sql: health checks of category database: what vacuum and administrators look after
--
-- Their defaults are in check_defaults(), health.sql.  All are for pg_monitor.
--

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

CREATE FUNCTION infra_monitor.check_multixact_wraparound(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT mxid_age(datminmxid) / 2147483648.0::float8, 'ratio',
	format('database "%s" is %s multixacts old, of 2^31 at which rows can no longer be locked', infra_monitor.shown(datname), mxid_age(datminmxid))
FROM pg_database ORDER BY mxid_age(datminmxid) DESC, datname LIMIT 1
$$;
COMMENT ON FUNCTION infra_monitor.check_multixact_wraparound() IS
'health check: age of the oldest database as a share of 2^31 multixacts';

CREATE FUNCTION infra_monitor.check_xmin_horizon(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
WITH holders (age, holder) AS (
	-- VACUUM itself holds nothing back, and what we look with is young
	SELECT greatest(age(a.backend_xmin), age(a.backend_xid)),
		CASE a.backend_type WHEN 'walsender' THEN 'a standby or its queries, by walsender ' || a.pid
			ELSE a.backend_type || ' ' || a.pid END
			|| coalesce(' of role "' || infra_monitor.shown(a.usename) || '"', '')
			|| coalesce(' in database "' || infra_monitor.shown(a.datname) || '"', '')
	FROM pg_stat_activity a
	WHERE a.pid <> pg_backend_pid()
		AND NOT EXISTS (SELECT FROM pg_stat_progress_vacuum v WHERE v.pid = a.pid)
	UNION ALL
	SELECT age(p.transaction), format('prepared transaction "%s" of role "%s" in database "%s"',
		infra_monitor.shown(p.gid::name), infra_monitor.shown(p.owner), infra_monitor.shown(p.database))
	FROM pg_prepared_xacts p
	UNION ALL
	SELECT greatest(age(s.xmin), age(s.catalog_xmin)), format('replication slot "%s", %s', s.slot_name,
		CASE WHEN s.active THEN 'in use' ELSE 'which nobody reads' END)
	FROM pg_replication_slots s
), oldest AS (
	SELECT h.age, h.holder FROM holders h WHERE h.age IS NOT NULL
	ORDER BY h.age DESC, h.holder LIMIT 1
)
SELECT coalesce(max(age), 0)::float8, 'transactions',
	coalesce(max(format('vacuum must spare what was deleted in the last %s transactions, because of %s', age, holder)),
		'nothing holds vacuum back')
FROM oldest
$$;
COMMENT ON FUNCTION infra_monitor.check_xmin_horizon() IS
'health check: age, in transactions, of the oldest snapshot or transaction that vacuum must respect, of a session, prepared transaction, replication slot or standby; what was deleted since stays on disk';

CREATE FUNCTION infra_monitor.check_prepared_transactions(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(greatest(extract(epoch FROM clock_timestamp() - min(prepared)), 0), 0)::float8, 'seconds',
	CASE count(*) WHEN 0 THEN 'no transaction is prepared'
		ELSE format('prepared transactions: %s, the oldest is "%s" of role "%s" in database "%s", since %s',
			count(*), infra_monitor.shown((array_agg(gid ORDER BY prepared))[1]::name),
			infra_monitor.shown((array_agg(owner ORDER BY prepared))[1]),
			infra_monitor.shown((array_agg(database ORDER BY prepared))[1]), min(prepared)) END
FROM pg_prepared_xacts
$$;
COMMENT ON FUNCTION infra_monitor.check_prepared_transactions() IS
'health check: time since the oldest prepared transaction was prepared, seconds; it keeps its locks, also over a restart, and holds vacuum back';

CREATE FUNCTION infra_monitor.check_autovacuum_saturation(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT least(1, workers / slots::float8), 'ratio',
	format('autovacuum workers at work: %s of %s', workers, slots) || CASE WHEN workers >= slots
		-- since the youngest has been there, nobody has left
		THEN format(', all for at least %s, the longest for %s',
			date_trunc('second', greatest(clock_timestamp() - youngest, '0')),
			date_trunc('second', greatest(clock_timestamp() - oldest, '0')))
		ELSE '' END
FROM (SELECT count(*) AS workers, max(backend_start) AS youngest, min(backend_start) AS oldest
	FROM pg_stat_activity WHERE backend_type = 'autovacuum worker') a,
	(SELECT least(current_setting('autovacuum_max_workers')::int,
		current_setting('autovacuum_worker_slots', true)::int) AS slots) s
$$;
COMMENT ON FUNCTION infra_monitor.check_autovacuum_saturation() IS
'health check: share of autovacuum_max_workers that is at work at this moment; a single look says little, the hold of the check makes it many';

CREATE FUNCTION infra_monitor.check_checkpoints_requested(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN checkpoints_requested < 5 THEN 0
		ELSE checkpoints_requested::float8 / (checkpoints_timed + checkpoints_requested) END,
	'ratio',
	CASE WHEN seconds IS NULL THEN 'checkpoints have not been counted yet'
		ELSE format('checkpoints in the last %s: %s on request, because of WAL or a command, %s by checkpoint_timeout',
			make_interval(secs => floor(seconds)), checkpoints_requested, checkpoints_timed) END
FROM infra_monitor.recent_growth()
$$;
COMMENT ON FUNCTION infra_monitor.check_checkpoints_requested() IS
'health check: share of the checkpoints of the last hour that were requested: for too much WAL, or by a command; 0 for fewer than five of them';

CREATE FUNCTION infra_monitor.check_checksum_failures(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN current_setting('data_checksums') <> 'off' THEN coalesce(sum(checksum_failures), 0)::float8 END,
	'failures',
	CASE
		WHEN current_setting('data_checksums') = 'off' THEN 'data checksums are off: nobody would notice a damaged page'
		WHEN coalesce(sum(checksum_failures), 0) = 0 THEN 'no page was found damaged'
		ELSE format('damaged pages were read %s times, the last at %s, in: %s', sum(checksum_failures), max(checksum_last_failure),
			string_agg(CASE WHEN datname IS NULL THEN 'the shared catalogs' ELSE format('database "%s"', infra_monitor.shown(datname)) END,
				', ' ORDER BY checksum_failures DESC, datname) FILTER (WHERE checksum_failures > 0))
	END
FROM pg_stat_database
$$;
COMMENT ON FUNCTION infra_monitor.check_checksum_failures() IS
'health check: reads of a page whose checksum was wrong, since the statistics of its database were reset; NULL where data checksums are off';

CREATE FUNCTION infra_monitor.check_pending_restart(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT count(*)::float8, 'settings',
	CASE count(*) WHEN 0 THEN 'no changed setting waits for a restart'
		ELSE format('changed settings that wait for a restart: %s', string_agg(name, ', ' ORDER BY name)) END
FROM pg_settings WHERE pending_restart
$$;
COMMENT ON FUNCTION infra_monitor.check_pending_restart() IS
'health check: settings that were changed in the configuration files and take effect at a restart only';

--
-- checks_databases.sql: health checks of category database: what is in the catalogs of each database
--
-- Their defaults are in check_defaults(), health.sql.  All are for pg_monitor.
-- What they look for is in database_visit.c.
--

CREATE FUNCTION infra_monitor.check_invalid_indexes(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT w.value, 'indexes', w.message FROM infra_monitor.worst_database('invalid_indexes', 'no index is invalid') w $$;
COMMENT ON FUNCTION infra_monitor.check_invalid_indexes() IS
'health check: indexes that are kept up to date and never used, because their concurrent build failed, of the database with most of them; as of the last round';

CREATE FUNCTION infra_monitor.check_sequence_exhaustion(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT w.value, 'ratio', w.message FROM infra_monitor.worst_database('sequence_exhaustion', 'no sequence has been used') w $$;
COMMENT ON FUNCTION infra_monitor.check_sequence_exhaustion() IS
'health check: share of its numbers that a sequence has used, or of those that fit the column which owns it, of the sequence nearest to its end in all databases; those that cycle are left out; as of the last round';

CREATE FUNCTION infra_monitor.check_vacuum_debt(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT w.value, 'ratio', w.message FROM infra_monitor.worst_database('vacuum_debt', 'there is no table to vacuum') w $$;
COMMENT ON FUNCTION infra_monitor.check_vacuum_debt() IS
'health check: dead rows of a table, from 10000 on, as a multiple of the number at which autovacuum should come, or its age as one of autovacuum_freeze_max_age, whichever is more, of the worst table in all databases; on a standby the age only; as of the last round, above 1 if the one before agrees';

CREATE FUNCTION infra_monitor.check_stale_statistics(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT w.value, 'ratio', w.message FROM infra_monitor.worst_database('stale_statistics', 'no table has 10000 changed rows since ANALYZE') w $$;
COMMENT ON FUNCTION infra_monitor.check_stale_statistics() IS
'health check: rows of a table changed since ANALYZE, from 10000 on, as a multiple of the number at which autovacuum should come, of the worst table in all databases; as of the last round, above 1 if the one before agrees';

--
-- checks_system.sql: health checks of category database: the machine or container that the server runs on
--
-- Their defaults are in check_defaults(), health.sql.  All are for pg_monitor.
-- What cannot be read is not known.
--

CREATE FUNCTION infra_monitor.check_memory(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT memory_used::float8 / nullif(memory_limit, 0), 'ratio',
	CASE WHEN memory_used IS NULL OR memory_limit IS NULL THEN 'how much memory is used cannot be read here'
		ELSE format('%s of %s of memory used, %s', pg_size_pretty(memory_used), pg_size_pretty(memory_limit),
			CASE WHEN memory_of_group THEN 'by the limit of the control group' ELSE 'on the machine' END) END
FROM infra_monitor.system_state()
$$;
COMMENT ON FUNCTION infra_monitor.check_memory() IS
'health check: share of the memory of the machine that programs cannot get, or of the limit of the control group around the server if that is nearer; pages of files that the kernel can take back count as free';

CREATE FUNCTION infra_monitor.check_cpu(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT cpu_ratio, 'ratio',
	CASE WHEN cpu_ratio IS NULL THEN 'how busy the processors are is not known here, or not yet'
		ELSE format('processors of the machine busy: %s %%', round(100 * cpu_ratio::numeric)) END
FROM infra_monitor.system_usage()
$$;
COMMENT ON FUNCTION infra_monitor.check_cpu() IS
'health check: busy share of all processors of the machine, about over the last sample interval; NULL until the sampler has looked twice';

CREATE FUNCTION infra_monitor.check_load(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT load / processors, 'per processor',
	CASE WHEN load IS NULL OR processors IS NULL THEN 'the load cannot be read here'
		ELSE format('five-minute load of the machine: %s on %s processors', load, processors) END
FROM infra_monitor.system_state()
$$;
COMMENT ON FUNCTION infra_monitor.check_load() IS
'health check: processes of the machine that ran or waited for a processor or the disk, on average over five minutes, for each processor';

CREATE FUNCTION infra_monitor.check_cpu_pressure(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT cpu_stall, 'ratio',
	CASE WHEN cpu_stall IS NULL THEN 'the kernel does not measure pressure here'
		ELSE format('a process waited for a processor in %s %% of the last minute', round(100 * cpu_stall::numeric, 1)) END
FROM infra_monitor.system_state()
$$;
COMMENT ON FUNCTION infra_monitor.check_cpu_pressure() IS
'health check: share of the last minute in which at least one process waited for a processor (pressure stall information), in the control group of the server, else on the machine';

CREATE FUNCTION infra_monitor.check_memory_pressure(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT memory_stall, 'ratio',
	CASE WHEN memory_stall IS NULL THEN 'the kernel does not measure pressure here'
		ELSE format('all processes stood still for want of memory in %s %% of the last minute', round(100 * memory_stall::numeric, 1)) END
FROM infra_monitor.system_state()
$$;
COMMENT ON FUNCTION infra_monitor.check_memory_pressure() IS
'health check: share of the last minute in which all processes that had work to do stood still for want of memory (pressure stall information), in the control group of the server, else on the machine';

CREATE FUNCTION infra_monitor.check_io_pressure(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT io_stall, 'ratio',
	CASE WHEN io_stall IS NULL THEN 'the kernel does not measure pressure here'
		ELSE format('all processes stood still for the disk in %s %% of the last minute', round(100 * io_stall::numeric, 1)) END
FROM infra_monitor.system_state()
$$;
COMMENT ON FUNCTION infra_monitor.check_io_pressure() IS
'health check: share of the last minute in which all processes that had work to do waited for the disk (pressure stall information), in the control group of the server, else on the machine';

CREATE FUNCTION infra_monitor.check_oom_kills(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT oom_kills::float8, 'processes',
	CASE WHEN oom_kills IS NULL THEN 'how many processes were killed for want of memory is not known here, or not yet'
		ELSE format('processes killed for want of memory in the last %s: %s', make_interval(secs => floor(seconds)), oom_kills) END
FROM infra_monitor.recent_growth()
$$;
COMMENT ON FUNCTION infra_monitor.check_oom_kills() IS
'health check: processes that the kernel has killed for want of memory in the last hour, in the control group of the server, else on the machine; NULL until the sampler has looked';

--
-- checks_replication.sql: health checks of category replication: standbys, archiving, slots
--
-- Their defaults are in check_defaults(), health.sql.  All are for pg_monitor.
--

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

--
-- checks_monitoring.sql: health checks of category monitoring: can what we say be relied upon?
--
-- Their defaults are in check_defaults(), health.sql.  All are for pg_monitor.
--

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
'source of the pool checks; states are frozen within a transaction; error unless preloaded; for pg_monitor';

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

-- status and counts of one and the same look
CREATE FUNCTION infra_monitor.pool_pressure(
	OUT status text, OUT max_connections int, OUT reserved_connections int,
	OUT used_connections int, OUT available_connections int,
	OUT used_ratio float8, OUT active int, OUT idle int,
	OUT idle_in_transaction int, OUT waiting int, OUT peak_connections int,
	OUT peak_at timestamptz, OUT connects_total bigint,
	OUT disconnects_total bigint, OUT rejected_total bigint,
	OUT auth_failures_total bigint, OUT oldest_transaction interval,
	OUT oldest_idle_in_transaction interval, OUT stats_reset timestamptz,
	OUT authenticating int)
RETURNS record
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'imon_pool_pressure_1_0';
COMMENT ON FUNCTION infra_monitor.pool_pressure() IS
'source of the view pool_pressure; error unless preloaded; for pg_monitor';

CREATE VIEW infra_monitor.pool_pressure AS
SELECT status, max_connections, reserved_connections, used_connections,
	available_connections, used_ratio, active, idle, idle_in_transaction,
	waiting, peak_connections, peak_at, connects_total, disconnects_total,
	rejected_total, auth_failures_total, oldest_transaction,
	oldest_idle_in_transaction, stats_reset, authenticating
FROM infra_monitor.pool_pressure();
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

CREATE FUNCTION infra_monitor.idle_threshold()
RETURNS interval
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT coalesce(nullif(current_setting('infra_monitor.idle_threshold', true), ''), '5min')::interval $$;
COMMENT ON FUNCTION infra_monitor.idle_threshold() IS
'the parameter infra_monitor.idle_threshold, or its default where the library is not preloaded; for pg_monitor';

CREATE FUNCTION infra_monitor.terminate_statement(pids int[], idle_before timestamptz)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT format('SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE pid IN (%s) AND state = ''idle'' AND state_change < ''%s+00''::timestamptz',
	string_agg(pid::text, ', ' ORDER BY n),
	to_char($2 AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'))
FROM unnest($1[:20]) WITH ORDINALITY AS p (pid, n)
WHERE isfinite($2)
HAVING count(pid) > 0
$$;
COMMENT ON FUNCTION infra_monitor.terminate_statement(int[], timestamptz) IS
'the statement that ends the first 20 of these sessions, as far as they are idle, and have been since before a moment, when it is run: neither one that works again nor another one with the same pid is ended; text only, nothing is ended here; NULL for no sessions; for pg_monitor';

CREATE FUNCTION infra_monitor.prevention_advice(
	usename name, idle int, idle_in_transaction int,
	connections int DEFAULT NULL)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT nullif(concat_ws(E'\n',
	CASE WHEN w.idle AND w.role THEN format('ALTER ROLE %I SET idle_session_timeout = %L;', $1, w.threshold) END,
	CASE WHEN w.idle AND w.role AND w.enough < $4 THEN format('ALTER ROLE %I CONNECTION LIMIT %s;', $1, w.enough) END,
	CASE WHEN w.in_transaction AND w.role THEN format('ALTER ROLE %I SET idle_in_transaction_session_timeout = %L;', $1, w.threshold) END,
	CASE WHEN w.idle THEN format('-- in the application: give each connection back to the pool after use, and let the pool close those that are idle for longer than %s', w.threshold) END,
	CASE WHEN w.in_transaction THEN '-- in the application: commit or roll back before waiting for anything else, also after an error' END), '')
FROM (SELECT $2 > 0 AS idle, $3 > 0 AS in_transaction, $1 IS NOT NULL AS role,
	2 * greatest($4 - $2, 1) AS enough,
	coalesce(nullif(current_setting('infra_monitor.idle_threshold', true), ''), '5min') AS threshold) w
$$;
COMMENT ON FUNCTION infra_monitor.prevention_advice(name, int, int, int) IS
'settings that prevent what is wrong with the sessions of a role, as a script: so many of them idle, and so many idle in a transaction, for longer than infra_monitor.idle_threshold; connections: how many the role has, for a limit of twice those that are not left idle if that is less, NULL to propose none; text only, nothing is set here; NULL when nothing is wrong; for pg_monitor';

CREATE VIEW infra_monitor.pool_usage AS
WITH moment AS MATERIALIZED (
	SELECT c.now, c.now OPERATOR(pg_catalog.-) infra_monitor.idle_threshold() AS idle_before,
		pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all
	FROM pg_catalog.clock_timestamp() AS c (now)
), groups AS (
	SELECT s.datid, s.usesysid, s.datname, s.usename, s.application_name, s.client_addr,
		pg_catalog.count(*)::pg_catalog.int4 AS connections,
		(pg_catalog.count(*) FILTER (WHERE s.state OPERATOR(pg_catalog.=) 'active'))::pg_catalog.int4 AS active,
		(pg_catalog.count(*) FILTER (WHERE s.state OPERATOR(pg_catalog.=) 'idle'))::pg_catalog.int4 AS idle,
		(pg_catalog.count(*) FILTER (WHERE s.state OPERATOR(pg_catalog.=) ANY ('{idle in transaction,idle in transaction (aborted)}')))::pg_catalog.int4 AS idle_in_transaction,
		(pg_catalog.count(*) FILTER (WHERE s.state OPERATOR(pg_catalog.=) 'active' AND s.wait_event_type OPERATOR(pg_catalog.=) 'Lock'))::pg_catalog.int4 AS waiting,
		pg_catalog.min(s.state_change) FILTER (WHERE s.state OPERATOR(pg_catalog.=) 'idle') AS idle_since,
		pg_catalog.array_agg(s.pid ORDER BY s.state_change, s.pid)
			FILTER (WHERE s.state OPERATOR(pg_catalog.=) 'idle' AND s.state_change OPERATOR(pg_catalog.<) m.idle_before) AS forgotten,
		(pg_catalog.count(*) FILTER (WHERE s.state OPERATOR(pg_catalog.=) ANY ('{idle in transaction,idle in transaction (aborted)}')
			AND s.state_change OPERATOR(pg_catalog.<) m.idle_before))::pg_catalog.int4 AS forgotten_in_transaction
	FROM infra_monitor.sessions() s CROSS JOIN moment m
	GROUP BY s.datid, s.usesysid, s.datname, s.usename, s.application_name, s.client_addr
), limits AS (
	SELECT g.*, coalesce(r.rolsuper, false) AS is_superuser,
		CASE WHEN r.rolconnlimit OPERATOR(pg_catalog.>=) 0 THEN r.rolconnlimit END AS role_limit,
		CASE WHEN d.datconnlimit OPERATOR(pg_catalog.>=) 0 THEN d.datconnlimit END AS database_limit,
		pg_catalog.sum(g.connections) OVER (PARTITION BY g.usesysid) AS of_role,
		pg_catalog.sum(g.connections) OVER (PARTITION BY g.datid) AS of_database,
		pg_catalog.sum(pg_catalog.cardinality(g.forgotten)) OVER (PARTITION BY g.usesysid) AS forgotten_of_role
	FROM groups g
		LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) g.usesysid
		LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) g.datid
)
SELECT l.datname, l.usename, l.application_name, l.client_addr, l.connections,
	l.active, l.idle, l.idle_in_transaction, l.waiting, l.role_limit, l.database_limit,
	greatest(
		CASE l.role_limit WHEN 0 THEN 1 ELSE l.of_role::pg_catalog.float8 OPERATOR(pg_catalog./) l.role_limit END,
		CASE l.database_limit WHEN 0 THEN 1 ELSE l.of_database::pg_catalog.float8 OPERATOR(pg_catalog./) l.database_limit END
	) AS limit_ratio,
	CASE WHEN l.idle_since IS NOT NULL THEN greatest(m.now OPERATOR(pg_catalog.-) l.idle_since, '0') END AS oldest_idle,
	CASE WHEN v.visible THEN infra_monitor.terminate_statement(l.forgotten, m.idle_before)
		ELSE '<insufficient privilege>' END AS terminate,
	CASE WHEN v.visible THEN infra_monitor.prevention_advice(l.usename,
			CASE WHEN l.forgotten IS NOT NULL THEN l.forgotten_of_role::pg_catalog.int4 END,
			l.forgotten_in_transaction,
			CASE WHEN l.role_limit IS NULL AND NOT l.is_superuser THEN l.of_role::pg_catalog.int4 END)
		ELSE '<insufficient privilege>' END AS prevention
FROM limits l CROSS JOIN moment m
	CROSS JOIN LATERAL (SELECT m.sees_all OR pg_catalog.pg_has_role(l.usesysid, 'USAGE') AS visible) v;
COMMENT ON VIEW infra_monitor.pool_usage IS
'who holds the connections: client backends by database, role, application and address; works without preloading; for pg_monitor, application and address of other roles need pg_read_all_stats';
COMMENT ON COLUMN infra_monitor.pool_usage.client_addr IS 'NULL for a Unix-domain socket';
COMMENT ON COLUMN infra_monitor.pool_usage.idle_in_transaction IS 'also in an aborted transaction';
COMMENT ON COLUMN infra_monitor.pool_usage.waiting IS 'active and waiting for a heavyweight lock';
COMMENT ON COLUMN infra_monitor.pool_usage.role_limit IS 'connection limit of the role; NULL if it has none; superusers ignore it';
COMMENT ON COLUMN infra_monitor.pool_usage.database_limit IS 'connection limit of the database; NULL if it has none; superusers ignore it';
COMMENT ON COLUMN infra_monitor.pool_usage.limit_ratio IS 'all connections of the role or database / its limit, whichever is nearer; NULL where neither has one; 1 for a limit of 0';
COMMENT ON COLUMN infra_monitor.pool_usage.oldest_idle IS 'time for which the longest idle of these sessions has been idle, outside a transaction; NULL if none is';
COMMENT ON COLUMN infra_monitor.pool_usage.terminate IS 'statement, for you to run, that ends those of these sessions that have been idle for longer than infra_monitor.idle_threshold, the 20 that have been so for longest; infra_monitor itself ends nobody''s session; NULL if there is none; for other roles needs pg_read_all_stats';
COMMENT ON COLUMN infra_monitor.pool_usage.prevention IS 'settings that prevent sessions from being left idle, or idle in a transaction, for longer than infra_monitor.idle_threshold; a script of the form of psql, for you to judge; NULL if none is; for other roles needs pg_read_all_stats';

CREATE FUNCTION infra_monitor.reset(what text DEFAULT 'all')
RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_reset_1_0';
COMMENT ON FUNCTION infra_monitor.reset(text) IS
'lets counters begin anew: ''statements'', ''slow_queries'' (slow_query_log), ''pool'' (connections, refusals, lock_blame, waits and concurrency) or ''all''; samples before and after are of different epochs; never touches pg_stat_statements; error unless preloaded; for superusers, grantable';

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
	infra_monitor.terminate_statement(l.pids, l.idle_before) AS terminate,
	-- no limit in place of one that it has, nor for who heeds none
	infra_monitor.prevention_advice(l.usename, l.idle_floor, 0,
		CASE WHEN r.rolconnlimit OPERATOR(pg_catalog.<) 0 AND NOT r.rolsuper
			THEN (SELECT pg_catalog.count(*)::pg_catalog.int4 FROM infra_monitor.sessions() s
				WHERE s.usename OPERATOR(pg_catalog.=) l.usename) END) AS prevention,
	l.r2, l.observations, l.window_length
FROM infra_monitor.leaks() l
	LEFT JOIN pg_catalog.pg_roles r ON r.rolname OPERATOR(pg_catalog.=) l.usename;
COMMENT ON VIEW infra_monitor.connection_leaks IS
'who opens connections and leaves them idle: groups of sessions of which more and more stay untouched from sample to sample; a pool that is used, has grown once, or keeps what it has is not here; ends nobody''s session; error unless preloaded; for pg_monitor, texts of other roles need pg_read_all_stats';
COMMENT ON COLUMN infra_monitor.connection_leaks.client_addr IS 'NULL for a Unix-domain socket';
COMMENT ON COLUMN infra_monitor.connection_leaks.idle_connections IS 'idle now, those that are used now and then included';
COMMENT ON COLUMN infra_monitor.connection_leaks.idle_floor IS 'lowest number of connections that stayed idle from one sample to the next, in the newest sixth of the window';
COMMENT ON COLUMN infra_monitor.connection_leaks.growth_per_hour IS 'how many more stay idle each hour';
COMMENT ON COLUMN infra_monitor.connection_leaks.oldest_idle IS 'longest time that a connection has been idle';
COMMENT ON COLUMN infra_monitor.connection_leaks.last_queryid IS 'last query of that connection; NULL if not known, or not for the caller';
COMMENT ON COLUMN infra_monitor.connection_leaks.terminate IS 'statement for an administrator that ends those idle for longer than infra_monitor.idle_threshold, at most 20 at once, longest first; NULL if there are none, or they are not for the caller to see';
COMMENT ON COLUMN infra_monitor.connection_leaks.prevention IS 'as in pool_usage, for what was left idle: settings of the role, as long as it exists, and what to do in the application; for you to judge';
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
-- waits.sql: what active sessions were seen waiting for
--

CREATE FUNCTION infra_monitor.wait_counts(
	OUT dbid oid, OUT wait_event_type text, OUT wait_event text,
	OUT queryid bigint, OUT observations bigint, OUT stored bigint,
	OUT looks bigint)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_wait_counts_1_0';
COMMENT ON FUNCTION infra_monitor.wait_counts() IS
'source of the view wait_profile and of wait_samples; stored: observations that are in wait_samples; looks: how often the sessions were looked at; error unless preloaded; for pg_monitor, queryid needs pg_read_all_stats';

CREATE FUNCTION infra_monitor.wait_state(
	OUT stats_reset timestamptz, OUT looks bigint, OUT looks_stored bigint,
	OUT entries int, OUT without_query bigint, OUT dropped bigint)
RETURNS record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_wait_state_1_0';
COMMENT ON FUNCTION infra_monitor.wait_state() IS
'state of the wait sampling: since when it counts, looks at the sessions, entries in use, and, for lack of room, observations counted without their query or not at all; error unless preloaded; for pg_monitor';

CREATE VIEW infra_monitor.wait_profile AS
SELECT infra_monitor.shown(d.datname) AS datname, w.wait_event_type,
	w.wait_event, w.queryid,
	pg_catalog.sum(w.observations)::pg_catalog.int8 AS observations,
	(pg_catalog.sum(w.observations) OPERATOR(pg_catalog./) pg_catalog.sum(pg_catalog.sum(w.observations)) OVER ())::pg_catalog.float8 AS share,
	(pg_catalog.sum(w.observations) OPERATOR(pg_catalog./) pg_catalog.max(w.looks))::pg_catalog.float8 AS avg_active
FROM infra_monitor.wait_counts() w
	LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) w.dbid
GROUP BY d.datname, w.wait_event_type, w.wait_event, w.queryid;
COMMENT ON VIEW infra_monitor.wait_profile IS
'what active sessions of clients were seen waiting for each infra_monitor.activity_interval, since the counters were reset; error unless preloaded; for pg_monitor, queryid needs pg_read_all_stats';
COMMENT ON COLUMN infra_monitor.wait_profile.datname IS 'NULL if the database has been dropped';
COMMENT ON COLUMN infra_monitor.wait_profile.wait_event_type IS 'as in pg_stat_activity; CPU where that is NULL';
COMMENT ON COLUMN infra_monitor.wait_profile.wait_event IS 'as in pg_stat_activity; CPU: it was running, or waiting for something that PostgreSQL does not report';
COMMENT ON COLUMN infra_monitor.wait_profile.queryid IS 'NULL: not known, not to be seen, or one of those counted together for lack of room';
COMMENT ON COLUMN infra_monitor.wait_profile.observations IS 'how often an active session was seen so';
COMMENT ON COLUMN infra_monitor.wait_profile.share IS 'of all observations';
COMMENT ON COLUMN infra_monitor.wait_profile.avg_active IS 'sessions that were so, on average over all looks';

CREATE TABLE infra_monitor.wait_samples (
	sampled_at timestamptz NOT NULL,
	epoch bigint NOT NULL,
	datname text,
	wait_event_type text,
	wait_event text,
	queryid bigint,
	observations bigint NOT NULL,
	looks bigint NOT NULL
) PARTITION BY RANGE (sampled_at);
COMMENT ON TABLE infra_monitor.wait_samples IS
'what wait_profile has grown by, each infra_monitor.statement_interval, in partitions by UTC day, kept for infra_monitor.retention; one row without an event if nobody was active; not dumped; written by the sampler only; for pg_monitor';
COMMENT ON COLUMN infra_monitor.wait_samples.epoch IS
'as in samples; observations are counted from 0 after each reset and start';
COMMENT ON COLUMN infra_monitor.wait_samples.datname IS 'NULL if the database has been dropped';
COMMENT ON COLUMN infra_monitor.wait_samples.wait_event_type IS 'as in wait_profile; NULL: nobody was active';
COMMENT ON COLUMN infra_monitor.wait_samples.queryid IS 'NULL: not known, or none of the 100 most often seen of this writing, those are counted together';
COMMENT ON COLUMN infra_monitor.wait_samples.observations IS 'since the writing before; also from before a writing that failed, so that none is lost';
COMMENT ON COLUMN infra_monitor.wait_samples.looks IS 'looks at the sessions since the writing before; observations / looks is the average number of sessions';

CREATE INDEX wait_samples_sampled_at_idx ON infra_monitor.wait_samples
	USING brin (sampled_at) WITH (pages_per_range = 16, autosummarize = on);
COMMENT ON INDEX infra_monitor.wait_samples_sampled_at_idx IS
'finds a part of a day; whole days are found by their partitions';

--
-- concurrency.sql: how many sessions were at work at once
--

CREATE FUNCTION infra_monitor.concurrency(
	lookback interval, OUT dbid oid, OUT userid oid, OUT looks bigint,
	OUT observed interval, OUT avg_active float8, OUT p95_active int,
	OUT p99_active int, OUT max_active int, OUT avg_held float8,
	OUT p95_held int, OUT p99_held int, OUT max_held int,
	OUT busiest_p99_held int)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_concurrency_1_0';
COMMENT ON FUNCTION infra_monitor.concurrency(interval) IS
'source of pool_size_advice(): how many sessions of clients were active, and how many held a connection (active or in a transaction), at once, seen each infra_monitor.activity_interval in the hours that began within lookback, at most 24: the server (dbid and userid NULL), then each database and role; busiest: of the hour in which it was highest; observed: the time that was looked at; numbers from 64 on are rounded up by at most an eighth, maxima are exact; error if lookback is less than an hour, and unless preloaded; for pg_monitor';

CREATE FUNCTION infra_monitor.concurrency_state(
	OUT pairs int, OUT evicted bigint, OUT dropped bigint)
RETURNS record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_concurrency_state_1_0';
COMMENT ON FUNCTION infra_monitor.concurrency_state() IS
'pairs of database and role whose concurrency is known, and, since the counters were reset, how many gave way to others, and how often one was seen that found no room; error unless preloaded; for pg_monitor';

--
-- advice.sql: how large the pools should be
--

CREATE FUNCTION infra_monitor.pool_formula(
	instances int, concurrent_requests int, workers int, worker_concurrency int)
RETURNS int
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_pool_formula_1_0';
COMMENT ON FUNCTION infra_monitor.pool_formula(int, int, int, int) IS
'connections that an application can use at once: instances * concurrent_requests + workers * worker_concurrency; NULL if nothing is given; errors: one of two factors is missing or negative, the result is above 1000000000; for pg_monitor';

CREATE FUNCTION infra_monitor.processors()
RETURNS int
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_processors_1_0';
COMMENT ON FUNCTION infra_monitor.processors() IS
'processors of the machine that are online; NULL is not known; for pg_monitor';

CREATE FUNCTION infra_monitor.connection_memory(
	OUT memory_total bigint, OUT shared_buffers bigint,
	OUT per_connection bigint, OUT connections int)
RETURNS record
LANGUAGE sql VOLATILE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
-- 10 MB: catalog caches, plans and memory of a session that has worked for a while.
-- Measured: a new one has 1 MB of its own, one that ran short transactions 4, one
-- that went through many tables and plans 60.  A fifth is left to the system.
SELECT m.memory_total, m.shared_buffers, m.per_connection,
	greatest((m.memory_total * 0.8 - m.shared_buffers - m.maintenance) / m.per_connection, 0)::int
FROM (
	SELECT s.memory_total,
		pg_size_bytes(current_setting('shared_buffers')) AS shared_buffers,
		pg_size_bytes('10 MB') + (pg_size_bytes(current_setting('work_mem')) * current_setting('hash_mem_multiplier')::float8)::bigint AS per_connection,
		pg_size_bytes(coalesce(nullif(current_setting('autovacuum_work_mem'), '-1'), current_setting('maintenance_work_mem'))) * current_setting('autovacuum_max_workers')::int AS maintenance
	FROM infra_monitor.system_usage() s
) m
$$;
COMMENT ON FUNCTION infra_monitor.connection_memory() IS
'how many connections the memory of the machine is enough for when all are at work: four fifths of it, less shared_buffers and what autovacuum may use, divided by 10 MB for the process and one work_mem * hash_mem_multiplier for its query; bytes; connections are NULL if the memory is not known; for pg_monitor';

CREATE FUNCTION infra_monitor.with_margin(sessions int)
RETURNS int
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT greatest(ceil(sessions * 1.25)::int, sessions + 1) $$;
COMMENT ON FUNCTION infra_monitor.with_margin(int) IS
'a quarter more, and at least one: the margin of pool_size_advice(); for pg_monitor';

-- the same number in the words of all rows
CREATE FUNCTION infra_monitor.in_words(number float8)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE WHEN number >= 10 THEN round(number::numeric, 0)
	WHEN number >= 0.1 THEN round(number::numeric, 1)
	ELSE round(number::numeric, 3) END::text $$;
COMMENT ON FUNCTION infra_monitor.in_words(float8) IS
'a number with as many digits as a sentence needs; for pg_monitor';

-- Little's law: average number in the system = arrival rate * time in it
CREATE FUNCTION infra_monitor.statement_concurrency(
	OUT dbid oid, OUT userid oid, OUT calls_per_second float8,
	OUT mean_exec_time float8, OUT avg_active float8, OUT since timestamptz)
RETURNS SETOF record
LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
WITH statements AS (
	SELECT s.dbid, s.userid, s.toplevel, s.calls, s.total_exec_time,
		min(s.stats_since) OVER () AS since
	-- NULL: it is not called where it would raise an error
	FROM infra_monitor.statement_stats(CASE WHEN infra_monitor.pg_stat_statements_loaded() THEN false END) s
), sums AS (
	SELECT s.dbid, s.userid, sum(s.calls)::float8 AS calls, sum(s.total_exec_time) AS time, s.since,
		nullif(greatest(date_part('epoch', clock_timestamp() - s.since), 0), 0) AS seconds
	FROM statements s
	WHERE s.toplevel
	GROUP BY s.dbid, s.userid, s.since
)
SELECT s.dbid, s.userid, s.calls / s.seconds, s.time / nullif(s.calls, 0), s.time / 1000 / s.seconds, s.since
FROM sums s
$$;
COMMENT ON FUNCTION infra_monitor.statement_concurrency() IS
'average number of sessions that were executing statements, by database and role, as it follows from pg_stat_statements: calls a second * mean time (ms), since the oldest of its counts; no rows where pg_stat_statements is not preloaded; for pg_monitor';

CREATE FUNCTION infra_monitor.pool_size_advice(
	instances int DEFAULT NULL, concurrent_requests int DEFAULT NULL,
	workers int DEFAULT NULL, worker_concurrency int DEFAULT NULL,
	lookback interval DEFAULT '1 day',
	OUT scope text, OUT name text, OUT current_connections int,
	OUT p95_active int, OUT p99_active int, OUT max_active int,
	OUT recommended_pool_size int, OUT formula_pool_size int,
	OUT recommended_max_connections int, OUT rationale text,
	OUT datname name, OUT usename name, OUT avg_active float8,
	OUT observed interval, OUT p99_held int,
	OUT recommended_default_pool_size int)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
WITH arguments AS MATERIALIZED (
	SELECT infra_monitor.pool_formula(instances, concurrent_requests, workers, worker_concurrency) AS formula,
		coalesce(lookback, '1 day') AS lookback,
		-- twice the processors, and one for a disk
		2 * infra_monitor.processors() + 1 AS ceiling
), seen AS MATERIALIZED (
	SELECT c.* FROM arguments a CROSS JOIN LATERAL infra_monitor.concurrency(a.lookback) c
), looked AS (
	SELECT s.observed, s.looks, t.evicted + t.dropped = 0 AS complete
	FROM seen s CROSS JOIN infra_monitor.concurrency_state() t
	WHERE s.dbid IS NULL
), pairs AS (
	SELECT infra_monitor.shown(d.datname) AS datname, infra_monitor.shown(r.rolname) AS usename, s.*,
		l.calls_per_second, l.mean_exec_time, l.avg_active AS expected, l.since
	FROM seen s
		-- who has been dropped needs none
		JOIN pg_database d ON d.oid = s.dbid
		JOIN pg_roles r ON r.oid = s.userid
		LEFT JOIN infra_monitor.statement_concurrency() l ON l.dbid = s.dbid AND l.userid = s.userid
), connected AS (
	SELECT c.datname, c.usename, count(*)::int AS connections
	FROM infra_monitor.sessions() c
	WHERE c.datname IS NOT NULL AND c.usename IS NOT NULL
	GROUP BY c.datname, c.usename
), measured AS (
	-- who is connected and was never seen at work had none at work, if all were kept
	SELECT coalesce(p.datname, c.datname) AS datname, coalesce(p.usename, c.usename) AS usename,
		coalesce(c.connections, 0) AS connections, l.observed, l.looks,
		coalesce(p.p95_active, m.none) AS p95_active, coalesce(p.p99_active, m.none) AS p99_active,
		coalesce(p.max_active, m.none) AS max_active, coalesce(p.avg_active, m.none) AS avg_active,
		coalesce(p.p99_held, m.none) AS p99_held, coalesce(p.busiest_p99_held, m.none) AS need,
		coalesce(p.avg_held, m.none) AS avg_held,
		p.calls_per_second, p.mean_exec_time, p.expected, p.since
	FROM pairs p FULL JOIN connected c ON c.datname = p.datname AND c.usename = p.usename
		CROSS JOIN looked l
		CROSS JOIN LATERAL (SELECT CASE WHEN l.looks > 0 AND l.complete THEN 0 END AS none) m
), pools AS (
	SELECT m.*, infra_monitor.with_margin(m.need) AS size, a.formula, a.ceiling,
		greatest(infra_monitor.with_margin(m.need), a.formula) AS recommended,
		row_number() OVER (ORDER BY m.need DESC NULLS LAST, m.avg_held DESC NULLS LAST, m.connections DESC) AS n
	FROM measured m CROSS JOIN arguments a
), sums AS (
	-- an application that was described is one of them: the busiest
	SELECT sum(CASE p.n WHEN 1 THEN p.recommended ELSE p.size END)::int AS pools,
		count(*) FILTER (WHERE p.need IS NULL) AS unknown
	FROM pools p
), server AS (
	SELECT s.pools, s.unknown, h.headroom, c.reserved_connections AS reserved,
		CASE WHEN s.pools IS NOT NULL THEN greatest(s.pools + h.headroom + c.reserved_connections, 20) END AS need,
		c.max_connections, c.used_connections, c.peak_connections,
		m.connections AS by_memory, m.memory_total, m.shared_buffers, m.per_connection
	FROM sums s CROSS JOIN LATERAL (SELECT greatest(ceil(s.pools * 0.1)::int, 3) AS headroom) h
		CROSS JOIN infra_monitor.pool_counts() c CROSS JOIN infra_monitor.connection_memory() m
)
SELECT 'pool', format('%s@%s', p.usename, p.datname), p.connections, p.p95_active, p.p99_active, p.max_active,
	p.recommended, p.formula, NULL::int,
	concat_ws(' ',
		CASE WHEN p.need IS NULL AND p.looks > 0 THEN 'Not known: it gave way to busier roles and databases.'
			WHEN p.need IS NULL THEN 'Nothing was observed: the sampler has not looked at the sessions, see infra_monitor.activity_interval and sampler_status.'
			ELSE format('In %s on average %s active, %s or fewer in 99 %% of the looks, at most %s; with idle ones in transactions %s or fewer.',
				date_trunc('second', p.observed), infra_monitor.in_words(p.avg_active), p.p99_active, p.max_active, p.p99_held)
			|| format(' In the busiest hour 99 %% of the looks found %s or fewer; a quarter more, and at least one, makes %s.', p.need, p.size) END,
		CASE WHEN p.formula > p.size OR p.formula IS NOT NULL AND p.size IS NULL
				THEN format('The formula asks for %s, if this is the application that it describes.', p.formula)
			WHEN p.formula IS NOT NULL
				THEN format('The formula asks for no more than %s: more was needed at once than it allows for, or others use this role, too.', p.formula) END,
		CASE WHEN instances > 1 AND p.recommended IS NOT NULL
			THEN format('Shared by %s instances: %s each.', instances, ceil(p.recommended / instances::float8)) END,
		CASE WHEN p.p99_active > p.ceiling
			THEN format('More than %s at work at once, two for each processor and one for a disk, seldom get more done, unless they wait for others: let them queue up for a smaller pool.', p.ceiling) END,
		CASE WHEN p.expected IS NOT NULL AND p.avg_active IS NOT NULL
			THEN format('By pg_stat_statements %s statements a second of %s ms make %s active on average since %s, sampled were %s',
				infra_monitor.in_words(p.calls_per_second), infra_monitor.in_words(p.mean_exec_time), infra_monitor.in_words(p.expected),
				to_char(p.since, 'YYYY-MM-DD HH24:MI'), infra_monitor.in_words(p.avg_active))
			|| CASE WHEN greatest(p.expected, p.avg_active) < 0.1 THEN '.'
				WHEN greatest(p.expected, p.avg_active) > 2 * least(p.expected, p.avg_active)
				THEN ': they differ by more than a factor of 2. The times differ, or much is failed, planned or sent to clients, which it does not count, or its entries were replaced.'
				ELSE ': they agree.' END END,
		CASE WHEN p.observed < '1 hour' THEN 'That was less than an hour: ask again after a typical day.' END),
	p.datname, p.usename, p.avg_active, p.observed, p.p99_held, p.size
FROM pools p
UNION ALL
SELECT 'server', 'server', v.used_connections, s.p95_active, s.p99_active, s.max_active,
	v.pools, a.formula,
	CASE WHEN v.need IS NOT NULL AND (v.by_memory IS NULL OR v.by_memory > v.reserved) THEN least(v.need, v.by_memory) END,
	concat_ws(' ',
		CASE WHEN v.pools IS NULL THEN 'The pools are not known.'
			ELSE format('The pools need %s together; %s more for others and %s reserved make %s%s. max_connections is %s; %s are in use now, %s were at the peak.',
				v.pools, v.headroom, v.reserved, v.pools + v.headroom + v.reserved,
				CASE WHEN v.pools + v.headroom + v.reserved < v.need THEN format(', and fewer than %s save nothing', v.need) END,
				v.max_connections, v.used_connections, v.peak_connections) END,
		CASE WHEN v.unknown > 0 AND v.pools IS NOT NULL
			THEN format('What %s more of them need was not observed, and is not in it.', v.unknown) END,
		CASE WHEN v.by_memory IS NULL THEN 'The memory of the machine is not known, and was not considered.'
			ELSE format('Four fifths of its memory of %s, without shared_buffers and autovacuum, are enough for %s connections at work, at %s each: 10 MB of a process that has worked for a while, and one work_mem * hash_mem_multiplier.',
				pg_size_pretty(v.memory_total), v.by_memory, pg_size_pretty(v.per_connection)) END,
		CASE WHEN v.need > v.by_memory
				THEN format('The memory is not enough for %s: make the pools smaller, put a transaction pooler in between, lower work_mem or shared_buffers, or add memory.', v.need)
			WHEN v.max_connections > v.by_memory
				THEN 'It is not enough for max_connections, if all of them are at work.' END,
		CASE WHEN v.need < v.peak_connections
			THEN 'Make the pools smaller before max_connections.' END),
	NULL::name, NULL::name, s.avg_active, s.observed, s.p99_held, NULL::int
FROM server v CROSS JOIN arguments a CROSS JOIN (SELECT * FROM seen WHERE dbid IS NULL) s
ORDER BY 1, 7 DESC NULLS LAST, 2
$$;
COMMENT ON FUNCTION infra_monitor.pool_size_advice(int, int, int, int, interval) IS
'how large pools should be: scope pool for each database and role, by what was seen at work in the last lookback (1 hour to 1 day), and by instances * concurrent_requests + workers * worker_concurrency, what the application can use at once; then scope server, with max_connections for all of them, as far as the memory goes; the rationale says why; current_connections are of now; observed is the time that was looked at; NULL is not known; errors: lookback of less than an hour, one of two factors missing or negative, not preloaded; for pg_monitor';

--
-- history.sql: what all functions have in common that return history by buckets
--

CREATE FUNCTION infra_monitor.history_step(
	since timestamptz, until timestamptz, step interval)
RETURNS interval
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_history_step_1_0';
COMMENT ON FUNCTION infra_monitor.history_step(timestamptz, timestamptz, interval) IS
'the length of the buckets of a history: step or, if that is NULL, the shortest usual length that gives 300 buckets or less; error if the span is not finite or ends before it begins, and if the step is not positive, has months, or gives more than 100000 buckets; for pg_monitor';

--
-- pool_history.sql: what the pool looked like
--

-- the rows of pool_history(), for arguments that are known to be good
CREATE FUNCTION infra_monitor.pool_buckets(
	since timestamptz, until timestamptz, step interval,
	OUT bucket timestamptz, OUT used_avg float8, OUT used_max int,
	OUT waiting_max int, OUT idle_in_transaction_max int,
	OUT rejected bigint, OUT connects bigint, OUT active_avg float8,
	OUT grain text)
RETURNS SETOF record
LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED ROWS 300
SET search_path = pg_catalog, pg_temp
AS $$
WITH stored AS MATERIALIZED (
	SELECT date_bin($3, s.sampled_at, '2001-01-01 00:00:00+00') AS bucket, s.sampled_at AS at, false AS of_ring,
		s.used_connections AS used, s.waiting, s.idle_in_transaction, coalesce(s.avg_active, s.active) AS active,
		s.rejected, s.rejected_total, s.connects, s.connects_total
	FROM infra_monitor.samples s
	-- on a standby, they are the primary's
	WHERE s.sampled_at >= $1 AND s.sampled_at < $2 AND NOT pg_is_in_recovery()
), remembered AS MATERIALIZED (
	SELECT date_bin($3, r.at, '2001-01-01 00:00:00+00') AS bucket, r.at, true AS of_ring,
		r.used, r.waiting, r.idle_in_transaction, r.active::float8 AS active,
		r.rejected, r.rejected_total, r.connects, r.connects_total
	FROM infra_monitor.sample_ring() r (at, used, authenticating, active, idle, idle_in_transaction, waiting,
		connects_total, rejected_total, connects, rejected)
	WHERE r.at >= $1 AND r.at < $2 AND infra_monitor.preloaded()
), interval AS (
	SELECT coalesce(current_setting('infra_monitor.sample_interval', true), '10s')::interval AS apart
), both_kinds AS (
	SELECT * FROM stored
	UNION ALL
	SELECT r.* FROM remembered r CROSS JOIN interval i
	WHERE NOT EXISTS (SELECT FROM stored s WHERE date_bin(i.apart, s.at, '2001-01-01 00:00:00+00')
		= date_bin(i.apart, r.at, '2001-01-01 00:00:00+00'))
), looked_back AS (
	-- the sample before, of its own kind, may be further back than the one shown here
	SELECT b.*, of_ring <> lag(of_ring) OVER by_time AS changed,
		rejected_total - lag(rejected_total) OVER by_time AS rejected_since,
		connects_total - lag(connects_total) OVER by_time AS connects_since
	FROM both_kinds b
	WINDOW by_time AS (ORDER BY at)
)
SELECT bucket, avg(used::float8), max(used), max(waiting), max(idle_in_transaction),
	sum(CASE WHEN changed AND rejected_since BETWEEN 0 AND rejected THEN rejected_since ELSE rejected END)::bigint,
	sum(CASE WHEN changed AND connects_since BETWEEN 0 AND connects THEN connects_since ELSE connects END)::bigint,
	avg(active), CASE count(*) WHEN 1 THEN 'sample' ELSE $3::text END
FROM looked_back
GROUP BY bucket
ORDER BY bucket
$$;
COMMENT ON FUNCTION infra_monitor.pool_buckets(timestamptz, timestamptz, interval) IS
'source of pool_history(), which checks the arguments; for pg_monitor';

CREATE FUNCTION infra_monitor.pool_history(
	since timestamptz, until timestamptz DEFAULT pg_catalog.now(),
	step interval DEFAULT NULL,
	OUT bucket timestamptz, OUT used_avg float8, OUT used_max int,
	OUT waiting_max int, OUT idle_in_transaction_max int,
	OUT rejected bigint, OUT connects bigint, OUT active_avg float8,
	OUT grain text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL RESTRICTED ROWS 300
SET search_path = pg_catalog, pg_temp
AS $$ SELECT * FROM infra_monitor.pool_buckets($1, $2, infra_monitor.history_step($1, $2, $3)) $$;
COMMENT ON FUNCTION infra_monitor.pool_history(timestamptz, timestamptz, interval) IS
'the pool from since until before until, in buckets of a step, by default one that gives 300 buckets or less; bucket is when one begins, counted from Mondays 00:00 UTC; one without samples is absent; used_avg, used_max, waiting_max, idle_in_transaction_max and active_avg (average active sessions) as in samples, used without those authenticating; rejected and connects are sums, NULL if nothing of them is known; grain: what it is made of, sample (a single one) or the step; from the table samples, and, for what that does not have, on standbys, and in other databases, from the last 360 samples in shared memory; error for a span or a step that makes no sense, and more than 100000 buckets; for pg_monitor';

--
-- pool_chart.sql: the history of the pool as a picture made of characters
--

CREATE FUNCTION infra_monitor.pool_chart(
	since interval DEFAULT '1 hour', width int DEFAULT 60,
	height int DEFAULT 8, until timestamptz DEFAULT pg_catalog.now())
RETURNS SETOF text
LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED ROWS 11
SET search_path = pg_catalog, pg_temp
AS $$
WITH steps AS (
	-- of whole seconds
	SELECT w, make_interval(secs => greatest(ceil(extract(epoch FROM $1)::float8 / w), 1)) AS step
	FROM (SELECT least(greatest($2, 24), 400) AS w) c
), times AS MATERIALIZED (
	-- the last column has $4 in it, or ends there
	SELECT w, step, e AS ends, e - w * step AS begins,
		CASE WHEN w * step <= '10 minutes' THEN 'HH24:MI:SS' WHEN w * step <= '1 day' THEN 'HH24:MI' ELSE 'MM-DD HH24:MI' END AS f
	FROM steps, LATERAL (SELECT date_bin(step, $4 - interval '1 microsecond', '2001-01-01 00:00:00+00') + step AS e) d
), history AS MATERIALIZED (
	SELECT 1 + round(extract(epoch FROM h.bucket - t.begins) / extract(epoch FROM t.step))::int AS x, h.used_max AS used, h.rejected
	FROM times t, LATERAL infra_monitor.pool_history(t.begins, t.ends, t.step) h
), capacity AS MATERIALIZED (
	SELECT coalesce(
		(SELECT s.max_connections - s.reserved_connections FROM infra_monitor.samples s, times t
		 WHERE s.sampled_at >= t.begins AND s.sampled_at < t.ends AND NOT pg_is_in_recovery()
		 ORDER BY s.sampled_at DESC LIMIT 1),
		current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
			- coalesce(current_setting('reserved_connections', true)::int, 0)) AS most
), scale AS MATERIALIZED (
	-- a row stands for one connection at least
	SELECT c.most, m.top, least(greatest($3, 1), 100, m.top) AS h
	FROM capacity c, LATERAL (SELECT greatest(c.most, max(used), 1) AS top FROM history) m
), columns AS MATERIALIZED (
	-- arrays, because the planner expects a thousand rows of each generate_series()
	SELECT array_agg(h.used ORDER BY c.x) AS used, array_agg(h.rejected > 0 ORDER BY c.x) AS refused
	FROM times t CROSS JOIN LATERAL generate_series(1, t.w) c (x)
		LEFT JOIN history h ON h.x = c.x
), lines (y, line) AS (
	SELECT s.h + 1, format('used connections, %s a column; = limit of ordinary roles: %s; ! refused: %s',
		t.step, s.most, coalesce((SELECT sum(rejected) FROM history)::text, '?'))
	FROM times t, scale s
	UNION ALL
	SELECT r.y, lpad((s.top * r.y / s.h)::text, length(s.top::text)) || CASE r.y WHEN 0 THEN ' +' ELSE ' |' END
		|| (SELECT string_agg(CASE
				WHEN u.used IS NULL THEN ' '
				WHEN r.y = 0 THEN CASE WHEN u.refused THEN '!' ELSE '-' END
				WHEN (u.used * s.h + s.top - 1) / s.top >= r.y THEN '#'
				WHEN (s.most * s.h + s.top - 1) / s.top = r.y THEN '='
				ELSE ' ' END, '' ORDER BY u.x)
			FROM unnest(c.used, c.refused) WITH ORDINALITY AS u (used, refused, x))
	FROM columns c CROSS JOIN scale s CROSS JOIN LATERAL generate_series(0, s.h) r (y)
	UNION ALL
	SELECT -1, repeat(' ', length(s.top::text) + 2)
		|| rpad(CASE WHEN t.w < 3 * length(t.f) + 6 THEN to_char(t.begins, t.f)
			ELSE rpad(to_char(t.begins, t.f), t.w / 2) || to_char(t.begins + t.w / 2 * t.step, t.f) END,
			t.w - length(to_char(t.ends, t.f)))
		|| to_char(t.ends, t.f)
	FROM times t, scale s
)
SELECT rtrim(line) FROM lines ORDER BY y DESC
$$;
COMMENT ON FUNCTION infra_monitor.pool_chart(interval, int, int, timestamptz) IS
'used connections over a time that ends at until, by default now, drawn with characters: a column is # up to the most that were used in its time, = is the limit of ordinary roles, ! below marks refusals, and where there are no samples nothing is drawn; numbers at the left are what a row reaches up to; width from 24 to 400 columns, which should not be more than there are samples, height from 1 to 100 rows and two or three lines around them; for pg_monitor';

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
'what was lost, by reason: since the server started, wait_ and concurrency_ since the last reset(); error unless preloaded; for pg_monitor';

CREATE VIEW infra_monitor.sampler_status AS
SELECT s.pid, s.state, s.last_tick, s.next_tick, s.ticks, s.missed,
	s.last_error, s.last_error_at, s.rows_stored,
	(SELECT pg_catalog.sum(pg_catalog.pg_total_relation_size(i.inhrelid))::pg_catalog.int8
	 FROM pg_catalog.pg_inherits i
	 WHERE i.inhparent OPERATOR(pg_catalog.=) ANY (ARRAY['infra_monitor.samples'::pg_catalog.regclass, 'infra_monitor.wait_samples'::pg_catalog.regclass])) AS bytes_stored,
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
COMMENT ON COLUMN infra_monitor.sampler_status.drops IS 'what was lost since the server started, wait_ and concurrency_ since the last reset(), by what it was part of: the details only, of what is also counted';
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
), known_checks AS MATERIALIZED (
	SELECT * FROM infra_monitor.health_checks
), checks AS MATERIALIZED (
	-- one that has failed has no unit; one that cannot know has
	SELECT row_number() OVER (ORDER BY array_position('{critical,warning,unknown}', status), name) AS n, *
	FROM known_checks WHERE status IN ('critical', 'warning') OR status = 'unknown' AND unit IS NULL
), longest AS (
	-- an hour or, where samples are rare, 60 of them; seconds
	SELECT apart, greatest(3600, 60 * apart) AS seconds
	FROM (SELECT extract(epoch FROM current_setting('infra_monitor.sample_interval')::interval)::float8 AS apart) s
), known AS MATERIALIZED (
	-- as much of that as there is, in no more columns than samples
	SELECT make_interval(secs => k.seconds) AS span, least(greatest(k.seconds / l.apart, 24), 60)::int AS columns
	FROM longest l,
		LATERAL (SELECT least(extract(epoch FROM clock_timestamp() - min(bucket))::float8, l.seconds) AS seconds
			FROM infra_monitor.pool_history(now() - make_interval(secs => l.seconds))) k
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
	SELECT 24, c.n, '     ' || c.line
	FROM known, LATERAL infra_monitor.pool_chart(span, columns, 3) WITH ORDINALITY AS c (line, n)
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
	FROM checks WHERE n <= 12
	UNION ALL
	SELECT 53, 0, format('%s more are not ok, see infra_monitor.health_checks', count(*))
	FROM checks WHERE n > 12 HAVING count(*) > 0
	UNION ALL
	SELECT 54, 0, 'not known: ' || string_agg(name, ', ' ORDER BY name)
	FROM known_checks WHERE status = 'unknown' AND unit IS NOT NULL HAVING count(*) > 0
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
