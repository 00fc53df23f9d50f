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

CREATE FUNCTION infra_monitor.may_see_role(role oid)
RETURNS boolean
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_may_see_role_1_0';
COMMENT ON FUNCTION infra_monitor.may_see_role(oid) IS
'may the caller see texts of this role, by its rights or those of pg_read_all_stats? for pg_monitor';

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

CREATE FUNCTION infra_monitor.fraction(infra_monitor.histogram, duration float8)
RETURNS float8
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_fraction_1_0';
COMMENT ON FUNCTION infra_monitor.fraction(infra_monitor.histogram, float8) IS
'share of the observations that do not exceed a duration in milliseconds, 0 to 1: exact at a bound of a bucket, interpolated within one; NULL if there are none; error for NaN; for pg_monitor';

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
-- disks.sql: file systems of the server
--

CREATE FUNCTION infra_monitor.disk_usage(
	OUT what text, OUT tablespace name, OUT used bigint, OUT total bigint,
	OUT available bigint, OUT full_in interval, OUT observed interval)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 3
AS 'MODULE_PATHNAME', 'imon_disk_usage_1_0';
COMMENT ON FUNCTION infra_monitor.disk_usage() IS
'file systems of the data directory, of the WAL directory and of tablespaces, in bytes; each is told once, under the first of these that is on it, and 16 at most; available: to others than root; NULL: it cannot be asked; full_in: when it is full if it goes on filling as it does, NULL: it does not, or that is further ahead than four times what is known; observed: how far back is known, NULL: not for long enough, or not preloaded; for pg_monitor';

--
-- conditions.sql: since when something is so for which PostgreSQL keeps no date
--

CREATE FUNCTION infra_monitor.seen_since(
	kind text, names text[], OUT name text, OUT since timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED ROWS 2
AS 'MODULE_PATHNAME', 'imon_seen_since_1_0';
COMMENT ON FUNCTION infra_monitor.seen_since(text, text[]) IS
'for health checks: since when the sampler has found each of these things of a kind in each of its evaluations, now for one that it has not found yet; what the sampler does not name any more is forgotten; NULL unless preloaded; error for more names than replication slots and eight; for pg_monitor';

CREATE FUNCTION infra_monitor.seconds_since(moment timestamptz)
RETURNS float8
LANGUAGE sql VOLATILE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT greatest(extract(epoch FROM clock_timestamp() - $1), 0)::float8 $$;
COMMENT ON FUNCTION infra_monitor.seconds_since(timestamptz) IS
'for health checks: seconds since a moment, 0 if it is ahead; for pg_monitor';

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

CREATE FUNCTION infra_monitor.pg_stat_statements_evictions()
RETURNS bigint
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'imon_pg_stat_statements_evictions_1_0';
COMMENT ON FUNCTION infra_monitor.pg_stat_statements_evictions() IS
'how often pg_stat_statements has given up statements for new ones since it was reset; NULL before its version 1.9; error if it is not preloaded or not installed here; for pg_monitor';

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

CREATE FUNCTION infra_monitor.statement_totals(
	OUT total_time float8, OUT failed_time float8)
RETURNS record
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'imon_statement_totals_1_0';
COMMENT ON FUNCTION infra_monitor.statement_totals() IS
'time of all executions that completed, and of all that did not, ms, also of statements that were evicted; error unless preloaded; for pg_monitor';

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
'source of the view slow_query_log: what is in shared memory, the last infra_monitor.slow_query_log_size executions since the server started or reset(), the newest first; error unless preloaded; for pg_monitor';

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
-- growth.sql: how much counters have grown in the last minutes
--

CREATE FUNCTION infra_monitor.recent_growth(
	counter text, value bigint, span interval DEFAULT '00:05:00')
RETURNS bigint
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'imon_recent_growth_1_0';
COMMENT ON FUNCTION infra_monitor.recent_growth(text, bigint, interval) IS
'for health checks: how much a counter, which has this value now, has grown in a span of time up to now, or since the sampler first asked; the span must always be the same for a counter; NULL if the sampler has not asked in this time, or if the counter has begun anew; error for a span of less than a minute, and unless preloaded; for pg_monitor';

CREATE FUNCTION infra_monitor.growing_counters(
	OUT checkpoints_timed bigint, OUT checkpoints_requested bigint,
	OUT oom_kills bigint)
RETURNS record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_growing_counters_1_0';
COMMENT ON FUNCTION infra_monitor.growing_counters() IS
'counters that have another source on each version or machine: checkpoints by checkpoint_timeout and on request, restart points included, since the statistics were reset; processes that the kernel has killed for want of memory, in the control group of the server, else on the machine; NULL is not known; for pg_monitor';

--
-- textfile.sql: files that others read without a connection
--

CREATE FUNCTION infra_monitor.textfile_state(
	OUT file text, OUT written_at timestamptz, OUT failing_since timestamptz,
	OUT problem text, OUT failures bigint)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 2
AS 'MODULE_PATHNAME', 'imon_textfile_state_1_0';
COMMENT ON FUNCTION infra_monitor.textfile_state() IS
'source of the check textfile: a row for each file that the sampler has been told to write, metrics (infra_monitor.textfile) and health (health.json in infra_monitor.snapshot_directory): when it was written last, since when that fails and why, NULL if it does not, and how often it has failed since the server started; error unless preloaded; for pg_monitor';

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

CREATE FUNCTION infra_monitor.check_exhaustion_eta(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT least(coalesce(extract(epoch FROM f.exhausted_in)::float8, 86400), 86400), 'seconds',
	CASE WHEN f.exhausted_in IS NULL THEN 'connections do not rise steadily'
		ELSE format('connections rise by %s a minute and run out in %s', round(f.slope_per_minute::numeric, 1),
			date_trunc('second', f.exhausted_in)) END
FROM (VALUES (1)) one (n)
	LEFT JOIN infra_monitor.pool_forecast f ON f.scope = 'server' AND f.exhausted_in IS NOT NULL
$$;
COMMENT ON FUNCTION infra_monitor.check_exhaustion_eta() IS
'health check: time until connections run out if they go on rising as they do, seconds, at most a day, which also stands for "they do not rise"';

CREATE FUNCTION infra_monitor.check_connection_leak(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(sum(l.idle_floor), 0)::float8 / greatest(p.slots, 1), 'ratio',
	CASE count(l.*) WHEN 0 THEN 'nobody leaves more and more connections idle'
		ELSE format('connections left idle by who opens more and more: %s of %s slots; most are of role "%s": %s',
			sum(l.idle_floor), p.slots, (array_agg(l.usename ORDER BY l.idle_floor DESC, l.usename))[1], max(l.idle_floor)) END
FROM (SELECT max_connections - reserved_connections AS slots FROM infra_monitor.pool_counts()) p
	LEFT JOIN infra_monitor.leaks() l ON true
GROUP BY p.slots
$$;
COMMENT ON FUNCTION infra_monitor.check_connection_leak() IS
'health check: share of the slots for ordinary roles that is held by connections which the groups of connection_leaks leave idle';

CREATE FUNCTION infra_monitor.check_deadlocks(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT g::float8, 'deadlocks',
	CASE WHEN g IS NULL THEN 'not known: the sampler has just begun to count'
		ELSE format('deadlocks in the last 5 minutes: %s', g) END
FROM (SELECT infra_monitor.recent_growth('deadlocks', sum(deadlocks)::bigint) FROM pg_stat_database) d (g)
$$;
COMMENT ON FUNCTION infra_monitor.check_deadlocks() IS
'health check: deadlocks in the last five minutes, in all databases';

CREATE FUNCTION infra_monitor.check_auth_failures(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT g::float8, 'failures',
	CASE WHEN g IS NULL THEN 'not known: the sampler has just begun to count'
		ELSE format('authentication failures in the last 5 minutes: %s', g) END
FROM (SELECT infra_monitor.recent_growth('auth_failures', auth_failures_total) FROM infra_monitor.pool_counts()) a (g)
$$;
COMMENT ON FUNCTION infra_monitor.check_auth_failures() IS
'health check: connections refused by authentication in the last five minutes';

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

CREATE FUNCTION infra_monitor.check_long_queries(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(max(s.seconds), 0), 'seconds',
	CASE WHEN max(s.seconds) IS NULL THEN 'no query is running'
		ELSE format('the longest query has been running for %s', make_interval(secs => floor(max(s.seconds)))) END
FROM (SELECT greatest(extract(epoch FROM clock_timestamp() - query_start), 0)::float8 AS seconds
	FROM infra_monitor.sessions()
	WHERE state = 'active' AND pid <> pg_backend_pid()) s
$$;
COMMENT ON FUNCTION infra_monitor.check_long_queries() IS
'health check: time that a client has been waiting for a query, of the longest, seconds';

CREATE FUNCTION infra_monitor.check_slow_query_rate(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT g / 5.0::float8, 'per minute',
	CASE WHEN g IS NULL THEN 'not known: the sampler has just begun to count'
		ELSE format('executions slower than infra_monitor.slow_query_threshold in the last 5 minutes: %s', g) END
FROM infra_monitor.recent_growth('slow_queries', infra_monitor.slow_queries_logged()) g
$$;
COMMENT ON FUNCTION infra_monitor.check_slow_query_rate() IS
'health check: executions slower than infra_monitor.slow_query_threshold, whatever came of them, a minute, over the last five';

CREATE FUNCTION infra_monitor.check_rollback_ratio(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN c + r < 100 THEN 0 ELSE r::float8 / (c + r) END, 'ratio',
	CASE WHEN c IS NULL OR r IS NULL THEN 'not known: the sampler has just begun to count'
		WHEN c + r < 100 THEN 'fewer than 100 transactions in the last 5 minutes'
		ELSE format('%s of %s transactions of the last 5 minutes were rolled back', r, c + r) END
FROM (SELECT infra_monitor.recent_growth('commits', sum(xact_commit)::bigint),
		infra_monitor.recent_growth('rollbacks', sum(xact_rollback)::bigint)
	FROM pg_stat_database WHERE datname IS NOT NULL) t (c, r)
$$;
COMMENT ON FUNCTION infra_monitor.check_rollback_ratio() IS
'health check: share of the transactions of the last five minutes that was rolled back, in all databases; 0 if there were fewer than 100';

CREATE FUNCTION infra_monitor.check_temp_spill(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT g::float8, 'bytes',
	CASE WHEN g IS NULL THEN 'not known: the sampler has just begun to count'
		ELSE format('written to temporary files in the last 5 minutes: %s', pg_size_pretty(g)) END
FROM (SELECT infra_monitor.recent_growth('temp_bytes', sum(temp_bytes)::bigint) FROM pg_stat_database) t (g)
$$;
COMMENT ON FUNCTION infra_monitor.check_temp_spill() IS
'health check: bytes that sorts and hashes have written to temporary files in the last five minutes, in all databases';

CREATE FUNCTION infra_monitor.check_repeated_queries(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT count(*)::float8, 'statements',
	format('statements that clients have executed in a loop in the last 5 minutes: %s', count(*))
FROM infra_monitor.repeated_counts()
WHERE last_seen > clock_timestamp() - interval '5 minutes'
$$;
COMMENT ON FUNCTION infra_monitor.check_repeated_queries() IS
'health check: statements, by parent and application, of which a loop (N+1) has ended in the last five minutes';

CREATE FUNCTION infra_monitor.check_latency_p95(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN n > 0 THEN coalesce(infra_monitor.quantile(l, 0.95), 0) END, 'ms',
	CASE WHEN n = 0 THEN 'not known: there are no samples of the last 5 minutes in this database'
		WHEN infra_monitor.observations(l) = 0 THEN 'no statement has completed in the last 5 minutes'
		ELSE format('95 %% of the %s executions of the last 5 minutes took %s ms or less',
			infra_monitor.observations(l), round(infra_monitor.quantile(l, 0.95)::numeric, 1)) END
FROM (SELECT count(latency), infra_monitor.sum(latency) FROM infra_monitor.samples
	WHERE sampled_at > clock_timestamp() - interval '5 minutes') s (n, l)
$$;
COMMENT ON FUNCTION infra_monitor.check_latency_p95() IS
'health check: 95 percent of the executions of the last five minutes took no longer, ms; 0 if there were none';

CREATE FUNCTION infra_monitor.check_failed_time_ratio(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN c + f < 10000 THEN 0 ELSE f::float8 / (c + f) END, 'ratio',
	CASE WHEN c IS NULL OR f IS NULL THEN 'not known: the sampler has just begun to count'
		WHEN c + f < 10000 THEN 'statements have taken less than 10 s in the last 5 minutes'
		ELSE format('statements that did not finish have taken %s of %s s in the last 5 minutes',
			round(f / 1000.0, 1), round((c + f) / 1000.0, 1)) END
FROM (SELECT infra_monitor.recent_growth('completed_time', total_time::bigint),
		infra_monitor.recent_growth('failed_time', failed_time::bigint)
	FROM infra_monitor.statement_totals()) s (c, f)
$$;
COMMENT ON FUNCTION infra_monitor.check_failed_time_ratio() IS
'health check: share of the time of all statements that was lost to those which did not finish, in the last five minutes; 0 if all together took less than ten seconds';

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
SELECT CASE WHEN r < 5 THEN 0 ELSE r::float8 / (t + r) END, 'ratio',
	CASE WHEN r IS NULL OR t IS NULL THEN 'not known: the sampler has just begun to count'
		ELSE format('checkpoints in the last hour: %s on request, because of WAL or a command, %s by checkpoint_timeout', r, t) END
FROM infra_monitor.growing_counters() c,
	LATERAL (SELECT infra_monitor.recent_growth('checkpoints_timed', c.checkpoints_timed, '01:00:00'),
		infra_monitor.recent_growth('checkpoints_requested', c.checkpoints_requested, '01:00:00')) g (t, r)
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
SELECT g::float8, 'processes',
	CASE WHEN g IS NULL THEN 'how many processes were killed for want of memory is not known here, or not yet'
		ELSE format('processes killed for want of memory in the last hour: %s', g) END
FROM (SELECT infra_monitor.recent_growth('oom_kills', c.oom_kills, '01:00:00') FROM infra_monitor.growing_counters() c) o (g)
$$;
COMMENT ON FUNCTION infra_monitor.check_oom_kills() IS
'health check: processes that the kernel has killed for want of memory in the last hour, in the control group of the server, else on the machine; NULL until the sampler has looked';

--
-- checks_replication.sql: health checks of category replication: standbys, slots, archiving
--
-- Their defaults are in check_defaults(), health.sql.  All are for pg_monitor.
-- Columns that some versions do not have are read from the whole row as jsonb.
--

CREATE FUNCTION infra_monitor.check_replication_lag(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE
		WHEN NOT s.standby THEN coalesce(extract(epoch FROM p.lag), 0)::float8
		WHEN s.received <= s.replayed THEN 0
		WHEN s.received > s.replayed THEN infra_monitor.seconds_since(s.replayed_at + s.delay)
	END,
	'seconds',
	CASE
		WHEN NOT s.standby AND p.standbys = 0 THEN 'no standby is connected'
		WHEN NOT s.standby THEN format('standbys connected: %s, the slowest replays %s behind',
			p.standbys, date_trunc('second', coalesce(p.lag, '0')))
		WHEN s.received <= s.replayed THEN 'all received WAL has been replayed'
		WHEN s.received IS NULL THEN format('no WAL was streamed; the last transaction replayed is of %s, and what else the archive has is not known',
			coalesce(s.replayed_at::text, 'an unknown time'))
		ELSE format('the last replayed transaction is of %s', coalesce(s.replayed_at::text, 'an unknown time'))
	END
FROM (SELECT max(replay_lag) AS lag, count(*) AS standbys FROM pg_stat_replication WHERE state <> 'backup') p,
	(SELECT pg_is_in_recovery() AS standby, pg_last_wal_receive_lsn() AS received, pg_last_wal_replay_lsn() AS replayed,
		pg_last_xact_replay_timestamp() AS replayed_at, current_setting('recovery_min_apply_delay')::interval AS delay) s
$$;
COMMENT ON FUNCTION infra_monitor.check_replication_lag() IS
'health check: on the primary the replay lag of the slowest standby, on a standby the time since the last replayed transaction while received WAL waits, without recovery_min_apply_delay, seconds; NULL on a standby that has streamed nothing';

CREATE FUNCTION infra_monitor.check_replication_lag_bytes(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE
		WHEN NOT s.standby THEN coalesce(p.behind, 0)
		WHEN s.received IS NOT NULL
			THEN greatest(greatest(s.received, s.announced) - CASE WHEN s.delay > '0' THEN s.received ELSE s.replayed END, 0)
	END::float8,
	'bytes',
	CASE
		WHEN NOT s.standby AND p.standbys = 0 THEN 'no standby is connected'
		WHEN NOT s.standby THEN format('standbys connected: %s, the slowest is %s behind', p.standbys, pg_size_pretty(coalesce(p.behind, 0)))
		WHEN s.received IS NULL THEN 'no WAL was streamed; how much the archive has is not known'
		ELSE format('received up to %s, replayed up to %s', s.received, s.replayed)
			|| CASE WHEN s.delay > '0' THEN ', later on purpose by ' || s.delay ELSE '' END
	END
FROM (SELECT pg_is_in_recovery() AS standby, pg_last_wal_receive_lsn() AS received, pg_last_wal_replay_lsn() AS replayed,
		(SELECT r.latest_end_lsn FROM pg_stat_wal_receiver r) AS announced,
		current_setting('recovery_min_apply_delay')::interval AS delay,
		CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_lsn() END AS written) s,
	LATERAL (
		-- who stores WAL but replays none is behind by what it has not stored
		SELECT max(s.written - coalesce(r.replay_lsn, r.flush_lsn, r.write_lsn, r.sent_lsn)) AS behind, count(*) AS standbys
		FROM pg_stat_replication r WHERE r.state <> 'backup'
	) p
$$;
COMMENT ON FUNCTION infra_monitor.check_replication_lag_bytes() IS
'health check: on the primary the WAL that the slowest standby has not replayed, on a standby the WAL known to it that it has not replayed, or with recovery_min_apply_delay not received, bytes; NULL on a standby that has streamed nothing';

CREATE FUNCTION infra_monitor.check_sync_standby_missing(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN s.in_force THEN greatest(s.demanded - p.connected, 0) ELSE 0 END::float8,
	'standbys',
	CASE
		WHEN s.in_force THEN format('synchronous standbys demanded: %s, streaming: %s; sessions that wait for one: %s',
			s.demanded, p.connected, w.waiting)
		WHEN s.standby THEN 'a standby waits for nobody'
		ELSE 'synchronous_standby_names is empty'
	END
FROM (SELECT pg_is_in_recovery() AS standby, NOT pg_is_in_recovery() AND names ~ '[^[:space:]]' AS in_force,
		-- FIRST 2 (a, b), ANY 2 (a, b), 2 (a, b); else one of a list
		coalesce((regexp_match(names, '^[[:space:]]*(?:(?:first|any)[[:space:]]+)?([0-9]+)[[:space:]]*[(]', 'i'))[1]::int, 1) AS demanded
	  FROM current_setting('synchronous_standby_names') names) s,
	(SELECT count(*) AS connected FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')) p,
	(SELECT count(*) AS waiting FROM pg_stat_activity WHERE wait_event = 'SyncRep') w
$$;
COMMENT ON FUNCTION infra_monitor.check_sync_standby_missing() IS
'health check: how many synchronous standbys are streaming fewer than synchronous_standby_names demands; above 0 commits wait; 0 on a standby';

CREATE FUNCTION infra_monitor.check_slots_inactive(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
WITH inactive AS MATERIALIZED (
	SELECT s.slot_name, (to_jsonb(s)->>'inactive_since')::timestamptz AS since,
		-- one that is moved by hand, or by a cluster manager, is in use
		concat_ws(' ', s.slot_name, s.restart_lsn, s.confirmed_flush_lsn) AS key
	FROM pg_replication_slots s
	WHERE NOT s.active AND NOT s.temporary AND s.wal_status IS DISTINCT FROM 'lost'
		AND num_nonnulls(s.restart_lsn, s.xmin, s.catalog_xmin) > 0
		AND NOT (pg_is_in_recovery() AND coalesce((to_jsonb(s)->>'synced')::boolean, false))
), oldest AS (
	SELECT i.slot_name, coalesce(i.since, k.since) AS since, count(*) OVER () AS n
	FROM inactive i
		LEFT JOIN infra_monitor.seen_since('inactive slot', ARRAY(SELECT key FROM inactive)) k ON k.name = i.key
	ORDER BY 2 LIMIT 1
)
SELECT CASE WHEN o.n IS NULL THEN 0 ELSE infra_monitor.seconds_since(o.since) END,
	'seconds',
	CASE
		WHEN o.n IS NULL THEN 'no replication slot is without a user'
		WHEN o.since IS NULL THEN format('replication slots without a user: %s, since when is not known', o.n)
		ELSE format('replication slots without a user: %s, "%s" for %s at least', o.n, o.slot_name,
			date_trunc('second', greatest(clock_timestamp() - o.since, '0')))
	END
FROM (SELECT) one LEFT JOIN oldest o ON true
$$;
COMMENT ON FUNCTION infra_monitor.check_slots_inactive() IS
'health check: longest time that a replication slot has had no user, and was not moved, seconds; before PostgreSQL 17 as far as the sampler has seen it; without slots that are temporary, lost, hold nothing, or are synchronized from the primary';

CREATE FUNCTION infra_monitor.check_slots_retained_wal(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
WITH slots AS (
	SELECT s.slot_name, greatest(w.at - s.restart_lsn, 0) AS retained, s.safe_wal_size AS safe
	FROM pg_replication_slots s,
		(SELECT CASE WHEN pg_is_in_recovery() THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
			ELSE pg_current_wal_lsn() END AS at) w
	WHERE s.restart_lsn IS NOT NULL AND s.wal_status IS DISTINCT FROM 'lost'
), worst AS (
	SELECT s.*, greatest(
			CASE WHEN s.safe <= 0 THEN 1 ELSE s.retained / (s.retained + s.safe) END,
			s.retained / nullif(s.retained + d.available, 0)) AS ratio,
		d.available
	FROM slots s
		-- WAL is on a file system of its own, or on that of the data directory
		LEFT JOIN LATERAL (
			SELECT u.available FROM infra_monitor.disk_usage() u
			WHERE u.what <> 'tablespace' ORDER BY u.what DESC LIMIT 1
		) d ON true
	ORDER BY ratio DESC NULLS LAST LIMIT 1
)
SELECT CASE WHEN w.slot_name IS NULL THEN 0 ELSE w.ratio END::float8, 'ratio',
	CASE WHEN w.slot_name IS NULL THEN 'no replication slot retains WAL'
		ELSE format('slot "%s" retains %s of WAL; ', w.slot_name, pg_size_pretty(w.retained))
			|| CASE WHEN w.safe IS NULL THEN '' ELSE format('it is lost after another %s, ', pg_size_pretty(greatest(w.safe, 0))) END
			|| format('the disk has %s left', coalesce(pg_size_pretty(w.available), 'an unknown size'))
	END
FROM (SELECT) one LEFT JOIN worst w ON true
$$;
COMMENT ON FUNCTION infra_monitor.check_slots_retained_wal() IS
'health check: WAL that a replication slot retains, as a share of what it may retain before it is lost (max_slot_wal_keep_size), or before the disk is full, whichever is nearer; of the slot that is nearest';

CREATE FUNCTION infra_monitor.check_slots_lost(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT count(*)::float8, 'slots',
	CASE count(*) WHEN 0 THEN 'no replication slot has lost its WAL'
		ELSE format('replication slots that have lost WAL, or will at the next checkpoint: %s, "%s" is %s',
			count(*), (array_agg(s.slot_name ORDER BY s.wal_status, s.slot_name))[1], min(s.wal_status))
	END
FROM pg_replication_slots s
WHERE s.wal_status IN ('lost', 'unreserved')
$$;
COMMENT ON FUNCTION infra_monitor.check_slots_lost() IS
'health check: replication slots with wal_status lost, or unreserved, which means at the next checkpoint';

CREATE FUNCTION infra_monitor.check_wal_archiving(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN r.n = 0 THEN 0 ELSE infra_monitor.seconds_since(r.oldest) END,
	'seconds',
	CASE
		WHEN current_setting('archive_mode') = 'off' THEN 'archiving is off'
		WHEN r.n = 0 THEN 'no WAL segment waits for archiving'
		ELSE format('WAL segments waiting for archiving: %s, the oldest since %s; failures so far: %s',
			r.n, r.oldest, a.failed_count)
			|| CASE WHEN a.last_failed_time IS NULL THEN '' ELSE format(', the last at %s', a.last_failed_time) END
	END
FROM pg_stat_archiver a,
	(SELECT count(*) AS n, min(f.modification) AS oldest
	 FROM pg_ls_archive_statusdir() f
	 WHERE f.name LIKE '%.ready' AND current_setting('archive_mode') <> 'off') r
$$;
COMMENT ON FUNCTION infra_monitor.check_wal_archiving() IS
'health check: time that the oldest WAL segment has been waiting for archiving, seconds; grows while archive_command fails or cannot keep up';

CREATE FUNCTION infra_monitor.check_wal_archive_age(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(infra_monitor.seconds_since(least(k.since, r.oldest)), 0),
	'seconds',
	CASE
		WHEN m.mode = 'off' THEN 'archiving is off'
		WHEN coalesce(k.since, r.oldest) IS NOT NULL THEN format('the archive lacks WAL from %s or before; last archived: %s',
			least(k.since, r.oldest), coalesce(format('%s at %s', a.last_archived_wal, a.last_archived_time), 'nothing'))
		WHEN m.standby THEN 'no complete WAL segment waits for archiving'
		WHEN m.timeout = '0' THEN 'no complete WAL segment waits for archiving; the current one is archived when it is full'
		ELSE 'all WAL has been archived'
	END
FROM pg_stat_archiver a,
	(SELECT current_setting('archive_mode') AS mode, current_setting('archive_timeout')::interval AS timeout,
		pg_is_in_recovery() AS standby, pg_size_bytes(current_setting('wal_segment_size')) AS segment_size,
		CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_insert_lsn() - '0/0' END AS written) m,
	LATERAL (SELECT min(f.modification) AS oldest
		FROM pg_ls_archive_statusdir() f
		WHERE f.name LIKE '%.ready' AND m.mode <> 'off') r,
	-- where the last archived segment ends; the next one begins with a header of 40 bytes
	LATERAL (SELECT CASE WHEN a.last_archived_wal ~ '^[0-9A-F]{24}$'
			THEN ('x' || substr(a.last_archived_wal, 9, 8))::bit(32)::bigint * 4294967296
				+ (('x' || substr(a.last_archived_wal, 17, 8))::bit(32)::bigint + 1) * m.segment_size
			ELSE 0 END AS archived) e,
	LATERAL (SELECT m.mode <> 'off' AND m.timeout > '0' AND NOT m.standby AND m.written > e.archived + 40 AS pending) p
	LEFT JOIN LATERAL infra_monitor.seen_since('unarchived WAL',
		CASE WHEN p.pending THEN ARRAY[coalesce(a.last_archived_wal, 'none')] ELSE '{}' END) k ON true
$$;
COMMENT ON FUNCTION infra_monitor.check_wal_archive_age() IS
'health check: age of the oldest WAL that the archive lacks, as far as the sampler has seen it, seconds; what a loss of the server would lose; without archive_timeout the segment that is being written does not count';

CREATE FUNCTION infra_monitor.check_wal_receiver(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN s.at_fault THEN infra_monitor.seconds_since(k.since) ELSE 0 END,
	'seconds',
	CASE
		WHEN NOT s.standby THEN 'not a standby'
		WHEN NOT s.wanted THEN 'this standby restores from the archive: primary_conninfo is empty'
		WHEN NOT s.at_fault THEN 'WAL is streaming'
		ELSE format('no WAL is streaming, for %s; the WAL receiver is %s',
			coalesce(date_trunc('second', clock_timestamp() - k.since)::text, 'an unknown time'), coalesce(s.status, 'not running'))
	END
FROM (SELECT r.status, c.standby, c.wanted, c.standby AND c.wanted AND r.status IS DISTINCT FROM 'streaming' AS at_fault
	  FROM (SELECT pg_is_in_recovery() AS standby, current_setting('primary_conninfo') <> '' AS wanted) c
		LEFT JOIN pg_stat_wal_receiver r ON true) s
	LEFT JOIN LATERAL infra_monitor.seen_since('no streaming', CASE WHEN s.at_fault THEN ARRAY['primary'] ELSE '{}' END) k ON true
$$;
COMMENT ON FUNCTION infra_monitor.check_wal_receiver() IS
'health check: how long a standby with primary_conninfo has not been streaming WAL, as far as the sampler has seen it, seconds';

CREATE FUNCTION infra_monitor.check_replay_paused(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN s.state <> 'not paused' THEN infra_monitor.seconds_since(k.since) ELSE 0 END,
	'seconds',
	CASE
		WHEN s.state IS NULL THEN 'not a standby'
		WHEN s.state = 'not paused' THEN 'replay is not paused'
		ELSE format('replay is %s, for %s', s.state, coalesce(date_trunc('second', clock_timestamp() - k.since)::text, 'an unknown time'))
	END
FROM (SELECT CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() END AS state) s
	LEFT JOIN LATERAL infra_monitor.seen_since('replay paused', CASE WHEN s.state <> 'not paused' THEN ARRAY['replay'] ELSE '{}' END) k ON true
$$;
COMMENT ON FUNCTION infra_monitor.check_replay_paused() IS
'health check: how long replay has been paused on a standby, as far as the sampler has seen it, seconds';

CREATE FUNCTION infra_monitor.check_history_published(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
WITH history AS (
	SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE n.nspname = 'infra_monitor' AND c.relkind = 'p'
), named AS (
	-- 19 and later: some are those that are left out
	SELECT r.prpubid, r.prrelid, coalesce((to_jsonb(r)->>'prexcept')::boolean, false) AS excepted
	FROM pg_publication_rel r
), publishing AS (
	SELECT p.pubname
	FROM pg_publication p
	WHERE EXISTS (SELECT FROM history h
		WHERE CASE WHEN p.puballtables
			THEN NOT EXISTS (SELECT FROM named d WHERE d.prpubid = p.oid AND d.prrelid = h.oid AND d.excepted)
			ELSE EXISTS (SELECT FROM named d WHERE d.prpubid = p.oid AND d.prrelid = h.oid AND NOT d.excepted) END)
		OR EXISTS (SELECT FROM pg_publication_namespace s JOIN pg_namespace n ON n.oid = s.pnnspid
			WHERE s.pnpubid = p.oid AND n.nspname = 'infra_monitor')
)
SELECT CASE WHEN current_database() = current_setting('infra_monitor.database', true) THEN f.n END::float8, 'publications',
	CASE WHEN current_database() IS DISTINCT FROM current_setting('infra_monitor.database', true)
			THEN 'the history is in another database'
		WHEN f.n = 0 THEN 'no publication has the history'
		ELSE format('%s %s the history: a subscriber that has no table of that name stops, and each day there are new ones',
			f.names, CASE f.n WHEN 1 THEN 'publishes' ELSE 'publish' END) END
FROM (SELECT count(*) AS n, string_agg(format('%I', p.pubname), ', ' ORDER BY p.pubname) FILTER (WHERE p.place <= 5)
		|| CASE WHEN count(*) > 5 THEN ' and others' ELSE '' END AS names
	FROM (SELECT pubname, row_number() OVER (ORDER BY pubname) AS place FROM publishing) p) f
$$;
COMMENT ON FUNCTION infra_monitor.check_history_published() IS
'health check: publications of this database that have tables of the history, of which there are new ones each day; NULL outside the home database';

--
-- checks_storage.sql: health checks of storage, of category database: room on disk
--
-- Their defaults are in check_defaults(), health.sql.  All are for pg_monitor.
--

CREATE FUNCTION infra_monitor.check_disk_free(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT d.free, 'ratio',
	CASE WHEN d.free IS NULL THEN 'no file system can be asked'
		ELSE format('the file system of the %s has %s left of %s', concat_ws(' ', d.what, quote_ident(d.tablespace)),
			pg_size_pretty(d.available), pg_size_pretty(d.total))
	END
FROM (SELECT) one
	LEFT JOIN LATERAL (
		-- as df: what is reserved for root is no part of it
		SELECT u.*, u.available::float8 / (u.used + u.available) AS free
		FROM infra_monitor.disk_usage() u
		WHERE u.used + u.available > 0
		ORDER BY free LIMIT 1
	) d ON true
$$;
COMMENT ON FUNCTION infra_monitor.check_disk_free() IS
'health check: free share of the file system, of those of the data directory, the WAL directory and the tablespaces, that has the least; without what is reserved for root';

CREATE FUNCTION infra_monitor.check_disk_time_to_full(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE
		WHEN d.full_in IS NOT NULL THEN extract(epoch FROM d.full_in)::float8
		WHEN d.observed IS NOT NULL THEN 31536000
	END,
	'seconds',
	CASE
		WHEN d.full_in IS NOT NULL THEN format('the file system of the %s, with %s left, is full in %s if it goes on filling as it does',
			concat_ws(' ', d.what, quote_ident(d.tablespace)), pg_size_pretty(d.available), date_trunc('second', d.full_in))
		WHEN d.observed IS NOT NULL THEN format('by the last %s no file system fills up', date_trunc('second', d.observed))
		ELSE 'the file systems have not been observed for long enough'
	END
FROM (SELECT) one
	LEFT JOIN LATERAL (
		SELECT * FROM infra_monitor.disk_usage() u ORDER BY u.full_in, u.observed DESC NULLS LAST LIMIT 1
	) d ON true
$$;
COMMENT ON FUNCTION infra_monitor.check_disk_time_to_full() IS
'health check: time until the first file system is full if it goes on filling as it does, seconds; a year stands for longer and for never; NULL until there are eight observations, one for each second evaluation';

CREATE FUNCTION infra_monitor.check_wal_size(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT (w.bytes / s.expected)::float8, 'ratio',
	format('the WAL directory has %s in %s files; max_wal_size and wal_keep_size together are %s',
		pg_size_pretty(w.bytes), w.files, pg_size_pretty(s.expected))
FROM (SELECT coalesce(sum(f.size), 0) AS bytes, count(*) AS files FROM pg_ls_waldir() f) w,
	(SELECT (pg_size_bytes(current_setting('max_wal_size')) + pg_size_bytes(current_setting('wal_keep_size')))::numeric AS expected) s
$$;
COMMENT ON FUNCTION infra_monitor.check_wal_size() IS
'health check: size of the WAL directory as a multiple of max_wal_size and wal_keep_size together';

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

CREATE FUNCTION infra_monitor.check_missed_ticks(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT g::float8, 'samples',
	CASE WHEN g IS NULL THEN 'not known: the sampler has just begun to count'
		ELSE format('samples that should have been taken in the last 5 minutes and were not: %s', g) END
FROM (SELECT infra_monitor.recent_growth('missed_ticks', missed) FROM infra_monitor.sampler_state()) t (g)
$$;
COMMENT ON FUNCTION infra_monitor.check_missed_ticks() IS
'health check: samples that should have been taken in the last five minutes and were not';

CREATE FUNCTION infra_monitor.check_drops(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT sum(d.g)::float8, 'events',
	CASE WHEN sum(d.g) IS NULL THEN 'not known: the sampler has just begun to count'
		WHEN sum(d.g) = 0 THEN 'nothing was lost in the last 5 minutes'
		ELSE 'lost in the last 5 minutes: ' || string_agg(format('%s %s', d.reason, d.g), ', ' ORDER BY d.g DESC, d.reason)
			FILTER (WHERE d.g > 0) END
FROM (SELECT reason, infra_monitor.recent_growth('drops ' || reason, drops) AS g FROM infra_monitor.sampler_drops()) d
$$;
COMMENT ON FUNCTION infra_monitor.check_drops() IS
'health check: what infra_monitor has lost in the last five minutes, all reasons of the column drops of sampler_status together';

CREATE FUNCTION infra_monitor.check_history_size(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN here THEN s.bytes::float8 / l.max_bytes END, 'ratio',
	CASE WHEN here THEN format('the history has %s of the %s of infra_monitor.max_storage',
			pg_size_pretty(s.bytes), pg_size_pretty(l.max_bytes))
		|| CASE
			WHEN l.level = 2 THEN '; waits, statements and slow executions are not written'
			WHEN l.level = 3 THEN '; nothing is written but health events'
			WHEN l.level = 4 THEN '; nothing is written'
			WHEN s.bytes < 0.9 * l.max_bytes THEN ''
			WHEN s.days > 1 THEN format('; its oldest day gives way to what is new: it has %s days, and keeps no more', s.days)
			WHEN s.months > 1 THEN '; when today takes it all, the oldest month of rollups gives way'
			ELSE '; if today takes it all, waits, statements and slow executions will not be written'
		END
		ELSE 'the history is in another database' END
FROM (SELECT current_database() = current_setting('infra_monitor.database', true)) h (here),
	(SELECT coalesce(sum(p.bytes), 0)::bigint AS bytes, count(DISTINCT p.day) FILTER (WHERE p.has_rows AND length(p.day) = 8) AS days,
			count(DISTINCT p.day) FILTER (WHERE p.has_rows AND length(p.day) = 6) AS months
		FROM infra_monitor.history_partitions() p) s,
	LATERAL infra_monitor.history_limit(s.bytes) l
$$;
COMMENT ON FUNCTION infra_monitor.check_history_size() IS
'health check: size of the history as a share of infra_monitor.max_storage; NULL outside the home database';

CREATE FUNCTION infra_monitor.check_textfile(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT count(f.failing_since)::float8, 'files',
	CASE WHEN count(f.failing_since) > 0 THEN string_agg(format('%s since %s', f.problem, date_trunc('second', f.failing_since)), '; ' ORDER BY f.file)
			FILTER (WHERE f.failing_since IS NOT NULL)
		WHEN count(f.file) = 0 THEN 'no files are written'
		ELSE 'files written: ' || string_agg(f.file, ', ' ORDER BY f.file) END
FROM infra_monitor.textfile_state() f
$$;
COMMENT ON FUNCTION infra_monitor.check_textfile() IS
'health check: how many of the files of infra_monitor.textfile and infra_monitor.snapshot_directory cannot be written';

CREATE FUNCTION infra_monitor.check_statement_evictions(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT g::float8, 'evictions',
	CASE WHEN g IS NULL THEN 'not known: pg_stat_statements is not there, or the sampler has just begun to count'
		ELSE format('times that pg_stat_statements has given up statements for new ones in the last 5 minutes: %s', g) END
FROM (SELECT CASE WHEN infra_monitor.pg_stat_statements_loaded()
	THEN infra_monitor.recent_growth('evictions', infra_monitor.pg_stat_statements_evictions()) END) e (g)
$$;
COMMENT ON FUNCTION infra_monitor.check_statement_evictions() IS
'health check: how often pg_stat_statements has given up statements for new ones in the last five minutes; each time it gives up one in twenty';

CREATE FUNCTION infra_monitor.check_pg_stat_statements_track(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN t = 'none' THEN 0 ELSE 1 END::float8, 'boolean',
	CASE WHEN t IS NULL THEN 'pg_stat_statements is not loaded: another check'
		ELSE format('pg_stat_statements.track is %s', t) END
FROM current_setting('pg_stat_statements.track', true) t
$$;
COMMENT ON FUNCTION infra_monitor.check_pg_stat_statements_track() IS
'health check: 0 if pg_stat_statements is loaded but told to count nothing, else 1';

CREATE FUNCTION infra_monitor.check_hidden_errors(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN m = 'panic' THEN 2 WHEN m IN ('log', 'fatal') THEN 1 ELSE 0 END::float8, 'level',
	format('log_min_messages is %s: ', m)
	|| CASE WHEN m = 'panic' THEN 'refused connections, and statements that fail before they are executed, are not counted'
		WHEN m IN ('log', 'fatal') THEN 'statements that fail before they are executed are not counted'
		ELSE 'all errors can be counted' END
FROM current_setting('log_min_messages') m
$$;
COMMENT ON FUNCTION infra_monitor.check_hidden_errors() IS
'health check: what log_min_messages keeps from being counted: 0 nothing, 1 statements that fail before they are executed, 2 refused connections, too; what is not logged is not shown to extensions';

CREATE FUNCTION infra_monitor.check_track_io_timing(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN t THEN 1 ELSE 0 END::float8, 'boolean',
	CASE WHEN t THEN 'the time of reads and writes is measured' ELSE 'the time of reads and writes is not measured' END
FROM (SELECT current_setting('track_io_timing')::boolean) s (t)
$$;
COMMENT ON FUNCTION infra_monitor.check_track_io_timing() IS
'health check: 1 if track_io_timing is on, else 0; has no threshold unless you set one';

--
-- check_scopes.sql: thresholds of a health check for some databases or roles
--
-- A check that has scopes has a function check_<name>_by_scope() beside its
-- check_<name>(): a row for each database and role of which it knows something.
-- It is called only if there is an override for a scope of the check; then each
-- row is compared with the thresholds that fit it best, and the check is the
-- worst of them.
--

CREATE TABLE infra_monitor.health_scope_overrides (
	check_name text NOT NULL,
	datname text NOT NULL DEFAULT '',
	usename text NOT NULL DEFAULT '',
	warning float8,
	critical float8,
	PRIMARY KEY (check_name, datname, usename),
	CHECK (datname OPERATOR(pg_catalog.<>) '' OR usename OPERATOR(pg_catalog.<>) '')
);
COMMENT ON TABLE infra_monitor.health_scope_overrides IS
'thresholds of your own for a database, a role, or a role in a database, of a check that has such scopes; the one that fits best counts: both, else the role, else the database; dumped by pg_dump; takes effect within infra_monitor.health_interval, in the home database; for superusers, grantable';
COMMENT ON COLUMN infra_monitor.health_scope_overrides.check_name IS 'a check that has scopes; others are refused';
COMMENT ON COLUMN infra_monitor.health_scope_overrides.datname IS 'empty: any';
COMMENT ON COLUMN infra_monitor.health_scope_overrides.usename IS 'empty: any';
COMMENT ON COLUMN infra_monitor.health_scope_overrides.warning IS 'value, in the unit of the check, at which it warns; NULL: as elsewhere, Infinity: never';
COMMENT ON COLUMN infra_monitor.health_scope_overrides.critical IS 'value, in the unit of the check, at which it is critical; NULL: as elsewhere, Infinity: never';

SELECT pg_catalog.pg_extension_config_dump('infra_monitor.health_scope_overrides', '');

CREATE FUNCTION infra_monitor.scope_override()
RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'imon_scope_override_1_0';
COMMENT ON FUNCTION infra_monitor.scope_override() IS
'trigger: refuses an override for a scope of a check that has none';

CREATE TRIGGER check_has_scopes
	BEFORE INSERT OR UPDATE ON infra_monitor.health_scope_overrides
	FOR EACH ROW EXECUTE FUNCTION infra_monitor.scope_override();
COMMENT ON TRIGGER check_has_scopes ON infra_monitor.health_scope_overrides IS
'refuses an override for a scope of a check that has none';

CREATE FUNCTION infra_monitor.check_idle_in_transaction_by_scope(
	OUT datname text, OUT usename text, OUT value float8, OUT message text)
RETURNS SETOF record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT s.datname, s.usename,
	greatest(extract(epoch FROM max(clock_timestamp() - s.state_change)), 0)::float8,
	format('sessions of role "%s" idle in transaction in database "%s": %s, the longest for %s',
		s.usename, s.datname, count(*), date_trunc('second', max(clock_timestamp() - s.state_change)))
FROM infra_monitor.sessions() s
WHERE s.state IN ('idle in transaction', 'idle in transaction (aborted)')
GROUP BY s.datname, s.usename
$$;
COMMENT ON FUNCTION infra_monitor.check_idle_in_transaction_by_scope() IS
'health check idle_in_transaction for each database and role; for pg_monitor';

CREATE FUNCTION infra_monitor.check_long_transactions_by_scope(
	OUT datname text, OUT usename text, OUT value float8, OUT message text)
RETURNS SETOF record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT s.datname, s.usename,
	greatest(extract(epoch FROM max(clock_timestamp() - s.xact_start)), 0)::float8,
	format('the oldest transaction of role "%s" in database "%s" has been open for %s',
		s.usename, s.datname, date_trunc('second', max(clock_timestamp() - s.xact_start)))
FROM infra_monitor.sessions() s
WHERE s.xact_start IS NOT NULL
GROUP BY s.datname, s.usename
$$;
COMMENT ON FUNCTION infra_monitor.check_long_transactions_by_scope() IS
'health check long_transactions for each database and role; for pg_monitor';

CREATE FUNCTION infra_monitor.check_lock_waits_by_scope(
	OUT datname text, OUT usename text, OUT value float8, OUT message text)
RETURNS SETOF record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT w.datname, w.usename, max(w.wait_time) / 1000,
	format('sessions of role "%s" waiting for a lock in database "%s": %s, the longest for %s',
		w.usename, w.datname, count(*), make_interval(secs => floor(max(w.wait_time) / 1000)))
FROM infra_monitor.lock_waits w
GROUP BY w.datname, w.usename
$$;
COMMENT ON FUNCTION infra_monitor.check_lock_waits_by_scope() IS
'health check lock_waits for each database and role; for pg_monitor';

CREATE FUNCTION infra_monitor.check_role_limit_by_scope(
	OUT datname text, OUT usename text, OUT value float8, OUT message text)
RETURNS SETOF record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT NULL::text, u.name,
	CASE u.connection_limit WHEN 0 THEN 1 ELSE u.connections::float8 / u.connection_limit END,
	format('role "%s" has %s of the %s connections that it may have', u.name, u.connections, u.connection_limit)
FROM infra_monitor.limit_usage() u WHERE u.scope = 'role'
$$;
COMMENT ON FUNCTION infra_monitor.check_role_limit_by_scope() IS
'health check role_limit for each role; for pg_monitor';

CREATE FUNCTION infra_monitor.check_database_limit_by_scope(
	OUT datname text, OUT usename text, OUT value float8, OUT message text)
RETURNS SETOF record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT u.name, NULL::text,
	CASE u.connection_limit WHEN 0 THEN 1 ELSE u.connections::float8 / u.connection_limit END,
	format('database "%s" has %s of the %s connections that it may have', u.name, u.connections, u.connection_limit)
FROM infra_monitor.limit_usage() u WHERE u.scope = 'database'
$$;
COMMENT ON FUNCTION infra_monitor.check_database_limit_by_scope() IS
'health check database_limit for each database; for pg_monitor';

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
'ok, warning or critical: the worst status of the pool checks that tell of this moment, without their hold; for pg_monitor';

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
COMMENT ON COLUMN infra_monitor.pool_pressure.status IS 'ok, warning or critical: the worst of the pool checks that tell of this moment, without their hold';
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
'lets counters begin anew: ''statements'', ''slow_queries'' (executions in slow_query_log that are in memory; those in slow_query_samples stay), ''pool'' (connections, refusals, lock_blame, waits and concurrency) or ''all''; samples before and after are of different epochs; never touches pg_stat_statements; error unless preloaded; for superusers, grantable';

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
-- storage.sql: the size of the history
--

CREATE FUNCTION infra_monitor.history_tables(OUT history text, OUT period text)
RETURNS SETOF record
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 13
AS 'MODULE_PATHNAME', 'imon_history_tables_1_0';
COMMENT ON FUNCTION infra_monitor.history_tables() IS
'the tables of history, and what a partition of each holds: a day or, of rollups, a month (UTC); for pg_monitor';

CREATE FUNCTION infra_monitor.history_partitions(
	OUT history text, OUT name text, OUT day text, OUT bytes bigint, OUT has_rows boolean)
RETURNS SETOF record
LANGUAGE sql VOLATILE ROWS 50
SET search_path = pg_catalog, pg_temp
AS $$
SELECT p.relname::text, c.relname::text,
	CASE WHEN c.relname ~ ('^' || p.relname || CASE t.period WHEN 'month' THEN '_[0-9]{6}$' ELSE '_[0-9]{8}$' END)
		AND c.relnamespace = n.oid THEN substr(c.relname::text, length(p.relname::text) + 2) END,
	coalesce(pg_total_relation_size(c.oid), 0), coalesce(pg_relation_size(c.oid), 0) > 0
FROM infra_monitor.history_tables() t
	JOIN pg_namespace n ON n.nspname = 'infra_monitor'
	JOIN pg_class p ON p.relnamespace = n.oid AND p.relname = t.history
	JOIN pg_inherits i ON i.inhparent = p.oid
	JOIN pg_class c ON c.oid = i.inhrelid
$$;
COMMENT ON FUNCTION infra_monitor.history_partitions() IS
'the partitions of the tables of history in this database: their table, UTC day (20260131) or, of rollups, month (202601; NULL: the name is not ours), size with indexes, and whether they have rows; for pg_monitor';

CREATE FUNCTION infra_monitor.history_bytes()
RETURNS bigint
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT sum(bytes)::bigint FROM infra_monitor.history_partitions() $$;
COMMENT ON FUNCTION infra_monitor.history_bytes() IS
'size of the history in this database, bytes; NULL if it has none; for pg_monitor';

CREATE FUNCTION infra_monitor.history_limit(bytes bigint, OUT max_bytes bigint, OUT level int)
RETURNS record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_history_limit_1_0';
COMMENT ON FUNCTION infra_monitor.history_limit(bigint) IS
'infra_monitor.max_storage, and what happens at a size of the history: 0 nothing, 1 the oldest day is removed, or when there is none before today the oldest month of rollups, 2 waits, statements and slow executions are not written, 3 nor samples, 4 nor health events; error unless preloaded; for pg_monitor';

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
	latency infra_monitor.histogram,
	collect_time float8 NOT NULL,
	sample_interval interval,
	elapsed_time float8
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
COMMENT ON COLUMN infra_monitor.samples.latency IS 'times of the statements that completed since the sample before, of those that infra_monitor.track has counted';
COMMENT ON COLUMN infra_monitor.samples.collect_time IS 'time it took to collect this row, ms';
COMMENT ON COLUMN infra_monitor.samples.sample_interval IS 'infra_monitor.sample_interval, within which the sampler was to take the next; NULL: by take_sample()';
COMMENT ON COLUMN infra_monitor.samples.elapsed_time IS 'time since the sample before, by a clock that is never set, ms: what rates are to be computed with; NULL after a start';

CREATE INDEX samples_sampled_at_idx ON infra_monitor.samples
	USING brin (sampled_at) WITH (pages_per_range = 16, autosummarize = on);
COMMENT ON INDEX infra_monitor.samples_sampled_at_idx IS
'finds a part of a day; whole days are found by their partitions';

CREATE TABLE infra_monitor.epochs (
	sampled_at timestamptz NOT NULL,
	epoch bigint NOT NULL,
	number bigint NOT NULL,
	started_at timestamptz NOT NULL,
	initialized_at timestamptz NOT NULL,
	timeline bigint NOT NULL,
	server_version text NOT NULL,
	pool_reset timestamptz NOT NULL,
	statements_reset timestamptz NOT NULL,
	statistics_reset timestamptz
) PARTITION BY RANGE (sampled_at);
COMMENT ON TABLE infra_monitor.epochs IS
'what the epochs in samples are made of: a row with the first sample of each, and with its first of each UTC day, in partitions by day, kept for infra_monitor.retention; see changes(); not dumped; written with samples only; for pg_monitor';
COMMENT ON COLUMN infra_monitor.epochs.number IS 'greater in each row than in those that were written before, whatever the clock said';
COMMENT ON COLUMN infra_monitor.epochs.started_at IS 'when the server was started';
COMMENT ON COLUMN infra_monitor.epochs.initialized_at IS 'when its shared memory was: later than started_at if it has crashed since';
COMMENT ON COLUMN infra_monitor.epochs.timeline IS 'of the write-ahead log; another one after each promotion';
COMMENT ON COLUMN infra_monitor.epochs.pool_reset IS 'reset() of the counters of connections, or when they began';
COMMENT ON COLUMN infra_monitor.epochs.statements_reset IS 'the same of the counts of statements';
COMMENT ON COLUMN infra_monitor.epochs.statistics_reset IS 'last reset of pg_stat_database or pg_stat_wal; the epoch knows each';

CREATE FUNCTION infra_monitor.take_sample()
RETURNS timestamptz
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'imon_take_sample_1_0';
COMMENT ON FUNCTION infra_monitor.take_sample() IS
'takes a sample now, in this transaction, and returns its time; waits for another writer up to lock_timeout; error on a standby, outside the home database, when there is no room for it (check history_size), and unless preloaded; for superusers, grantable';

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
-- gaps.sql: when nobody looked
--

CREATE FUNCTION infra_monitor.sample_spans(
	since timestamptz, until timestamptz,
	OUT at timestamptz, OUT behind timestamptz, OUT covered timestamptz,
	OUT is_bad boolean, OUT missed int, OUT epoch bigint,
	OUT next_epoch bigint, OUT measured boolean)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL RESTRICTED ROWS 10000
SET search_path = pg_catalog, pg_temp
AS $$
WITH stored AS (
	-- one by take_sample() promises nothing, and leaves the promise before as it is
	SELECT s.sampled_at AS at, s.health_status = 'unhealthy' AS is_bad, s.epoch,
		max(CASE WHEN s.sample_interval IS NOT NULL THEN s.sampled_at END) OVER by_time AS promised_at,
		(max(CASE WHEN s.sample_interval IS NOT NULL THEN ARRAY[date_part('epoch', s.sampled_at), date_part('epoch', s.sample_interval)] END)
			OVER by_time)[2] * interval '1 second' AS apart,
		lead(s.sampled_at) OVER by_time AS next, lead(s.epoch) OVER by_time AS next_epoch,
		lead(s.elapsed_time) OVER by_time * interval '1 millisecond' AS elapsed
	FROM infra_monitor.samples s
	-- from the last one before, and from what had been promised by then
	WHERE s.sampled_at >= coalesce(
			(SELECT max(b.sampled_at) FROM infra_monitor.samples b
				WHERE b.sampled_at >= $1 - interval '3 hours' AND b.sampled_at < $1),
			(SELECT max(b.sampled_at) FROM infra_monitor.samples b WHERE b.sampled_at < $1), $1) - interval '3 hours'
		AND s.sampled_at < $2
	WINDOW by_time AS (ORDER BY s.sampled_at ROWS UNBOUNDED PRECEDING)
), promised AS (
	SELECT s.*, s.promised_at + s.apart AS due, s.promised_at + 2.5 * s.apart AS late
	FROM stored s
), judged AS (
	SELECT p.*, coalesce(p.next, $2) AS behind,
		-- not one that only the setting of a clock has made
		p.late >= p.at AND coalesce(p.next, $2) > p.late AND (p.elapsed > 2.5 * p.apart) IS NOT FALSE AS is_gap,
		p.next - p.at - p.elapsed > p.apart AS clock_was_set
	FROM promised p
), measured AS (
	SELECT j.*, CASE WHEN NOT j.is_gap OR j.is_gap IS NULL THEN j.behind
		WHEN j.clock_was_set THEN j.behind - j.elapsed + j.apart
		ELSE greatest(j.due, j.at) END AS covered
	FROM judged j
)
SELECT m.at, m.behind, m.covered, m.is_bad,
	CASE WHEN NOT m.is_gap THEN 0
		WHEN m.next IS NULL THEN 1 + floor(extract(epoch FROM m.behind - m.covered) / extract(epoch FROM m.apart))
		ELSE greatest(1, round(extract(epoch FROM m.behind - m.covered) / extract(epoch FROM m.apart))) END::int,
	m.epoch, m.next_epoch, m.elapsed IS NOT NULL
FROM measured m
$$;
COMMENT ON FUNCTION infra_monitor.sample_spans(timestamptz, timestamptz) IS
'source of history_gaps() and availability(): each sample up to "until", from the last before "since" and three hours before that one on; it speaks for the time up to "covered", which is the next sample or "until" (behind), unless that comes more than 2.5 times sample_interval after the sample that promised it: then there is a gap, and it speaks for one interval; missed: samples that should be in the gap; measured: the server has not been started between this sample and the next; for pg_monitor';

CREATE FUNCTION infra_monitor.available_between(
	since timestamptz, until timestamptz,
	OUT known_since timestamptz, OUT available float8)
RETURNS record
LANGUAGE sql STABLE STRICT PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
SELECT min(greatest(s.at, $1)),
	coalesce(sum(extract(epoch FROM greatest(s.covered, $1) - greatest(s.at, $1))) FILTER (WHERE s.is_bad IS NOT TRUE), 0)::float8
FROM infra_monitor.sample_spans($1, $2) s
WHERE s.behind > $1
$$;
COMMENT ON FUNCTION infra_monitor.available_between(timestamptz, timestamptz) IS
'source of slo_status and samples_hourly: since when between two moments samples tell of the server, and for how many seconds it was available since: without a gap, and not unhealthy; for pg_monitor';

CREATE FUNCTION infra_monitor.history_gaps(
	since timestamptz, until timestamptz DEFAULT pg_catalog.now(),
	OUT from_at timestamptz, OUT until_at timestamptz, OUT missed int,
	OUT reason text)
RETURNS SETOF record
LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
SELECT s.covered, s.behind, s.missed,
	CASE WHEN n.timeline > e.timeline THEN 'promotion'
		WHEN n.started_at <> e.started_at THEN 'restart'
		WHEN n.initialized_at <> e.initialized_at THEN 'crash'
		WHEN s.measured THEN 'not sampled' END
FROM infra_monitor.sample_spans($1, least($2, clock_timestamp())) s
	LEFT JOIN LATERAL (SELECT * FROM infra_monitor.epochs x WHERE x.epoch = s.epoch LIMIT 1) e ON true
	LEFT JOIN LATERAL (SELECT * FROM infra_monitor.epochs x WHERE x.epoch = s.next_epoch LIMIT 1) n ON true
WHERE s.covered < s.behind AND s.behind > $1 AND infra_monitor.history_step($1, $2, NULL) IS NOT NULL
ORDER BY 1
$$;
COMMENT ON FUNCTION infra_monitor.history_gaps(timestamptz, timestamptz) IS
'when samples are missing between two moments: from when the first was due (from_at) to the one that came, or to until (until_at); a gap that has begun before is shown whole; it is one where the next sample is more than 2.5 times the sample_interval of the last away, and not only the clock was set; missed: how many; reason: promotion, restart or crash, which happened in it, or not sampled, where the server ran on but the sampler did not, or could not write; NULL: not known, as at its end now; what was before the first sample that is kept is no gap; error if the span is not finite or ends before it begins; for pg_monitor';

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
-- rollups.sql: what is left of the history of an hour, and of a day
--

CREATE TABLE infra_monitor.samples_hourly (
	begins_at timestamptz NOT NULL,
	samples int NOT NULL,
	first_sampled_at timestamptz NOT NULL,
	last_sampled_at timestamptz NOT NULL,
	epochs int NOT NULL,
	first_epoch bigint NOT NULL,
	last_epoch bigint NOT NULL,
	warning_samples int NOT NULL,
	critical_samples int NOT NULL,
	degraded_samples int NOT NULL,
	unhealthy_samples int NOT NULL,
	max_connections int NOT NULL,
	reserved_connections int NOT NULL,
	used_connections_min int NOT NULL,
	used_connections_avg float8 NOT NULL,
	used_connections_max int NOT NULL,
	used_connections_last int NOT NULL,
	available_connections_min int NOT NULL,
	available_connections_avg float8 NOT NULL,
	available_connections_max int NOT NULL,
	available_connections_last int NOT NULL,
	used_ratio_min float8 NOT NULL,
	used_ratio_avg float8 NOT NULL,
	used_ratio_max float8 NOT NULL,
	used_ratio_last float8 NOT NULL,
	active_min int NOT NULL,
	active_avg float8 NOT NULL,
	active_max int NOT NULL,
	active_last int NOT NULL,
	idle_min int NOT NULL,
	idle_avg float8 NOT NULL,
	idle_max int NOT NULL,
	idle_last int NOT NULL,
	idle_in_transaction_min int NOT NULL,
	idle_in_transaction_avg float8 NOT NULL,
	idle_in_transaction_max int NOT NULL,
	idle_in_transaction_last int NOT NULL,
	waiting_min int NOT NULL,
	waiting_avg float8 NOT NULL,
	waiting_max int NOT NULL,
	waiting_last int NOT NULL,
	authenticating_min int NOT NULL,
	authenticating_avg float8 NOT NULL,
	authenticating_max int NOT NULL,
	authenticating_last int NOT NULL,
	avg_active_min float8 NOT NULL,
	avg_active_avg float8 NOT NULL,
	avg_active_max float8 NOT NULL,
	avg_active_last float8 NOT NULL,
	cpu_ratio_min float8,
	cpu_ratio_avg float8,
	cpu_ratio_max float8,
	cpu_ratio_last float8,
	memory_used_min bigint,
	memory_used_avg float8,
	memory_used_max bigint,
	memory_used_last bigint,
	disk_used_min bigint,
	disk_used_avg float8,
	disk_used_max bigint,
	disk_used_last bigint,
	health_score_min float8,
	health_score_avg float8,
	health_score_max float8,
	health_score_last float8,
	memory_total bigint,
	disk_total bigint,
	peak_connections int NOT NULL,
	oldest_transaction interval,
	oldest_idle_in_transaction interval,
	connects bigint,
	rejected bigint,
	commits bigint,
	rollbacks bigint,
	blks_hit bigint,
	blks_read bigint,
	temp_bytes bigint,
	deadlocks bigint,
	wal_bytes bigint,
	collect_time_avg float8 NOT NULL,
	collect_time_max float8 NOT NULL,
	latency infra_monitor.histogram,
	elapsed_time float8,
	available_time float8 NOT NULL
) PARTITION BY RANGE (begins_at);
COMMENT ON TABLE infra_monitor.samples_hourly IS
'samples of an hour (UTC) merged into one row: of numbers the least, average, greatest and last, sums of what is counted; an hour without samples has none; in partitions by UTC month, kept for infra_monitor.rollup_retention; not dumped; written by the sampler and roll_up() only; for pg_monitor';
COMMENT ON COLUMN infra_monitor.samples_hourly.begins_at IS 'when the hour began';
COMMENT ON COLUMN infra_monitor.samples_hourly.samples IS 'how many it is made of: 360 an hour at defaults, fewer where some are missing';
COMMENT ON COLUMN infra_monitor.samples_hourly.epochs IS 'how many epochs these are of: with more than one, counters began anew meanwhile';
COMMENT ON COLUMN infra_monitor.samples_hourly.warning_samples IS 'those in which status of the pool was warning';
COMMENT ON COLUMN infra_monitor.samples_hourly.critical_samples IS 'those in which it was critical';
COMMENT ON COLUMN infra_monitor.samples_hourly.degraded_samples IS 'those in which health_status was degraded';
COMMENT ON COLUMN infra_monitor.samples_hourly.unhealthy_samples IS 'those in which it was unhealthy';
COMMENT ON COLUMN infra_monitor.samples_hourly.max_connections IS 'of the last of them, as reserved_connections, memory_total and disk_total';
COMMENT ON COLUMN infra_monitor.samples_hourly.avg_active_avg IS 'of samples without avg_active, their active counts, as in the three others';
COMMENT ON COLUMN infra_monitor.samples_hourly.peak_connections IS 'the greatest, as oldest_transaction and oldest_idle_in_transaction';
COMMENT ON COLUMN infra_monitor.samples_hourly.connects IS 'sum, as the columns to wal_bytes: of what is known, NULL if nothing is';
COMMENT ON COLUMN infra_monitor.samples_hourly.latency IS 'times of all their statements';
COMMENT ON COLUMN infra_monitor.samples_hourly.elapsed_time IS 'sum, of samples that know what has been counted since the one before: what rates are to be computed with, ms; NULL if none does';
COMMENT ON COLUMN infra_monitor.samples_hourly.available_time IS 'time of that hour in which there was no gap and the server was not unhealthy, ms';

CREATE INDEX samples_hourly_begins_at_idx ON infra_monitor.samples_hourly (begins_at);
COMMENT ON INDEX infra_monitor.samples_hourly_begins_at_idx IS 'finds an hour';

CREATE TABLE infra_monitor.samples_daily (LIKE infra_monitor.samples_hourly INCLUDING COMMENTS)
PARTITION BY RANGE (begins_at);
COMMENT ON TABLE infra_monitor.samples_daily IS
'the same for a day (UTC), merged from samples_hourly; averages are weighted by the number of samples; for pg_monitor';
COMMENT ON COLUMN infra_monitor.samples_daily.begins_at IS 'when the day began';
COMMENT ON COLUMN infra_monitor.samples_daily.samples IS 'how many it is made of: 8640 a day at defaults, fewer where some are missing';

CREATE INDEX samples_daily_begins_at_idx ON infra_monitor.samples_daily (begins_at);
COMMENT ON INDEX infra_monitor.samples_daily_begins_at_idx IS 'finds a day';

CREATE TABLE infra_monitor.statement_samples_hourly (
	begins_at timestamptz NOT NULL,
	samples int NOT NULL,
	userid oid,
	dbid oid,
	usename text,
	datname text,
	queryid bigint,
	toplevel boolean,
	calls bigint NOT NULL,
	exec_time float8 NOT NULL,
	rows bigint,
	failures bigint NOT NULL,
	failed_time float8 NOT NULL,
	shared_blks_hit bigint,
	shared_blks_read bigint,
	temp_blks_written bigint,
	wal_bytes bigint,
	known_calls bigint NOT NULL,
	latency infra_monitor.histogram NOT NULL
) PARTITION BY RANGE (begins_at);
COMMENT ON TABLE infra_monitor.statement_samples_hourly IS
'statement_samples of an hour (UTC) merged: a row for each of infra_monitor.top_statements statements, those that came first by time, calls, time of failures or p95, and one without userid for all others, so that the sum is right; an hour without samples has none; in partitions by UTC month, kept for infra_monitor.rollup_retention; not dumped; written by the sampler and roll_up() only; for pg_monitor';
COMMENT ON COLUMN infra_monitor.statement_samples_hourly.begins_at IS 'when the hour began';
COMMENT ON COLUMN infra_monitor.statement_samples_hourly.samples IS 'samples in which it had a row of its own; where userid is NULL, in which there was one for all others: all of them';
COMMENT ON COLUMN infra_monitor.statement_samples_hourly.userid IS 'NULL: all statements without a row of their own';
COMMENT ON COLUMN infra_monitor.statement_samples_hourly.rows IS 'of what is known, as in the columns to wal_bytes; NULL if nothing is';
COMMENT ON COLUMN infra_monitor.statement_samples_hourly.known_calls IS 'calls of which the columns from rows to wal_bytes are known';

CREATE INDEX statement_samples_hourly_begins_at_idx ON infra_monitor.statement_samples_hourly (begins_at);
COMMENT ON INDEX infra_monitor.statement_samples_hourly_begins_at_idx IS 'finds an hour';

CREATE INDEX statement_samples_hourly_queryid_idx ON infra_monitor.statement_samples_hourly (queryid, begins_at);
COMMENT ON INDEX infra_monitor.statement_samples_hourly_queryid_idx IS 'finds the history of a statement';

CREATE TABLE infra_monitor.statement_samples_daily (LIKE infra_monitor.statement_samples_hourly INCLUDING COMMENTS)
PARTITION BY RANGE (begins_at);
COMMENT ON TABLE infra_monitor.statement_samples_daily IS
'the same for a day (UTC), merged from statement_samples_hourly; for pg_monitor';
COMMENT ON COLUMN infra_monitor.statement_samples_daily.begins_at IS 'when the day began';

CREATE INDEX statement_samples_daily_begins_at_idx ON infra_monitor.statement_samples_daily (begins_at);
COMMENT ON INDEX infra_monitor.statement_samples_daily_begins_at_idx IS 'finds a day';

CREATE INDEX statement_samples_daily_queryid_idx ON infra_monitor.statement_samples_daily (queryid, begins_at);
COMMENT ON INDEX infra_monitor.statement_samples_daily_queryid_idx IS 'finds the history of a statement';

CREATE TABLE infra_monitor.statement_texts_monthly (
	first_seen timestamptz NOT NULL,
	queryid bigint NOT NULL,
	dbid oid NOT NULL,
	query text NOT NULL
) PARTITION BY RANGE (first_seen);
COMMENT ON TABLE infra_monitor.statement_texts_monthly IS
'texts of the statements in statement_samples_daily, from statement_texts; stored once a month (UTC), and kept as long as the rollups of that month; not dumped; for pg_read_all_stats';
COMMENT ON COLUMN infra_monitor.statement_texts_monthly.first_seen IS 'beginning of the first day of this month on which it has a row in statement_samples_daily';

CREATE INDEX statement_texts_monthly_queryid_idx ON infra_monitor.statement_texts_monthly (queryid, dbid);
COMMENT ON INDEX infra_monitor.statement_texts_monthly_queryid_idx IS 'finds the text of a statement';

CREATE TABLE infra_monitor.wait_samples_hourly (
	begins_at timestamptz NOT NULL,
	samples int NOT NULL,
	datname text,
	wait_event_type text,
	wait_event text,
	queryid bigint,
	observations bigint NOT NULL,
	looks bigint NOT NULL
) PARTITION BY RANGE (begins_at);
COMMENT ON TABLE infra_monitor.wait_samples_hourly IS
'wait_samples of an hour (UTC) merged; one row without an event if nobody was active; an hour without samples has none; in partitions by UTC month, kept for infra_monitor.rollup_retention; not dumped; written by the sampler and roll_up() only; for pg_monitor';
COMMENT ON COLUMN infra_monitor.wait_samples_hourly.begins_at IS 'when the hour began';
COMMENT ON COLUMN infra_monitor.wait_samples_hourly.samples IS 'writings that it is made of, the same in all rows of an hour';
COMMENT ON COLUMN infra_monitor.wait_samples_hourly.datname IS 'NULL if the database had been dropped, and for what was seen so seldom that it is none of the first 1000 rows';
COMMENT ON COLUMN infra_monitor.wait_samples_hourly.wait_event_type IS 'as in wait_profile; NULL: nobody was active';
COMMENT ON COLUMN infra_monitor.wait_samples_hourly.queryid IS 'NULL: not known, or none of the 100 most often seen, those are counted together';
COMMENT ON COLUMN infra_monitor.wait_samples_hourly.looks IS 'looks at the sessions in that hour, the same in all rows of it; observations / looks is the average number of sessions';

CREATE INDEX wait_samples_hourly_begins_at_idx ON infra_monitor.wait_samples_hourly (begins_at);
COMMENT ON INDEX infra_monitor.wait_samples_hourly_begins_at_idx IS 'finds an hour';

CREATE TABLE infra_monitor.wait_samples_daily (LIKE infra_monitor.wait_samples_hourly INCLUDING COMMENTS)
PARTITION BY RANGE (begins_at);
COMMENT ON TABLE infra_monitor.wait_samples_daily IS
'the same for a day (UTC), merged from wait_samples_hourly; for pg_monitor';
COMMENT ON COLUMN infra_monitor.wait_samples_daily.begins_at IS 'when the day began';

CREATE INDEX wait_samples_daily_begins_at_idx ON infra_monitor.wait_samples_daily (begins_at);
COMMENT ON INDEX infra_monitor.wait_samples_daily_begins_at_idx IS 'finds a day';

--
-- reading them
--

CREATE FUNCTION infra_monitor.history_grains(
	history text, since timestamptz, until timestamptz, step interval,
	required boolean DEFAULT true,
	OUT grain text, OUT from_at timestamptz, OUT until_at timestamptz, OUT fits boolean)
RETURNS SETOF record
LANGUAGE c STABLE STRICT PARALLEL SAFE ROWS 5
AS 'MODULE_PATHNAME', 'imon_history_grains_1_0';
COMMENT ON FUNCTION infra_monitor.history_grains(text, timestamptz, timestamptz, interval, boolean) IS
'from where to read a span of samples, statement_samples or wait_samples in buckets of a step: spans without overlap of grain sample (that table), hour or day (its rollups); hours and days only where they fit into the buckets, or nothing finer is kept, and then whole ones; if required, error if nothing is kept of the span, but of others; for pg_monitor';

--
-- slo.sql: objectives, and whether they are kept
--

CREATE FUNCTION infra_monitor.slo_defaults(
	OUT name text, OUT kind text, OUT target float8,
	OUT threshold_time float8, OUT period interval)
RETURNS SETOF record
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 2
-- inlined, so what stands here is qualified
AS $$
VALUES
	('availability', 'availability', 0.9995::pg_catalog.float8, NULL::pg_catalog.float8, '30 days'::pg_catalog.interval),
	('latency', 'latency', 0.95, 2000, '30 days')
$$;
COMMENT ON FUNCTION infra_monitor.slo_defaults() IS
'the objectives that hold unless slo_target_overrides says otherwise; for pg_monitor';

CREATE TABLE infra_monitor.slo_target_overrides (
	name text PRIMARY KEY,
	kind text CHECK (kind OPERATOR(pg_catalog.=) ANY ('{availability,latency}')),
	target float8 CHECK (target OPERATOR(pg_catalog.>) 0 AND target OPERATOR(pg_catalog.<) 1),
	threshold_time float8 CHECK (threshold_time OPERATOR(pg_catalog.>) 0 AND threshold_time OPERATOR(pg_catalog.<) 'Infinity'),
	period interval CHECK (period OPERATOR(pg_catalog.>) '0' AND period OPERATOR(pg_catalog.<=) '100 years'),
	enabled boolean,
	CONSTRAINT slo_target_is_complete CHECK (
		name OPERATOR(pg_catalog.=) ANY ('{availability,latency}')
		OR (kind IS NOT NULL AND target IS NOT NULL
			AND (kind OPERATOR(pg_catalog.=) 'availability' OR threshold_time IS NOT NULL))),
	CONSTRAINT slo_default_keeps_its_kind CHECK (
		kind IS NULL OR kind OPERATOR(pg_catalog.=) name
		OR NOT name OPERATOR(pg_catalog.=) ANY ('{availability,latency}'))
);
COMMENT ON TABLE infra_monitor.slo_target_overrides IS
'objectives of your own: another target for availability or latency (NULL keeps the default), or a further objective, which needs kind and target, and threshold_time if its kind is latency; dumped by pg_dump; for superusers, grantable';
COMMENT ON COLUMN infra_monitor.slo_target_overrides.name IS 'availability, latency, or a name of your own';
COMMENT ON COLUMN infra_monitor.slo_target_overrides.kind IS 'availability: share of the time; latency: share of the executions that took no longer than threshold_time';
COMMENT ON COLUMN infra_monitor.slo_target_overrides.target IS 'the share wanted, above 0 and below 1';
COMMENT ON COLUMN infra_monitor.slo_target_overrides.threshold_time IS 'ms';
COMMENT ON COLUMN infra_monitor.slo_target_overrides.period IS 'for which the objective is given, 100 years at most; default 30 days';
COMMENT ON COLUMN infra_monitor.slo_target_overrides.enabled IS 'false: no objective';

SELECT pg_catalog.pg_extension_config_dump('infra_monitor.slo_target_overrides', '');

CREATE VIEW infra_monitor.slo_targets AS
SELECT coalesce(d.name, o.name) AS name, coalesce(o.kind, d.kind) AS kind,
	coalesce(o.target, d.target) AS target,
	CASE WHEN coalesce(o.kind, d.kind) OPERATOR(pg_catalog.=) 'latency'
		THEN coalesce(o.threshold_time, d.threshold_time) END AS threshold_time,
	coalesce(o.period, d.period, '30 days') AS period,
	coalesce(o.enabled, true) AS enabled,
	CASE WHEN o.name IS NULL THEN 'default' ELSE 'override' END AS source
FROM infra_monitor.slo_defaults() d
	FULL JOIN infra_monitor.slo_target_overrides o ON o.name OPERATOR(pg_catalog.=) d.name;
COMMENT ON VIEW infra_monitor.slo_targets IS
'objectives in force: the defaults, with slo_target_overrides over them; for pg_monitor';
COMMENT ON COLUMN infra_monitor.slo_targets.target IS 'the share wanted: of the time, or of the executions';
COMMENT ON COLUMN infra_monitor.slo_targets.threshold_time IS 'how long an execution may take, ms; NULL for availability';
COMMENT ON COLUMN infra_monitor.slo_targets.source IS 'default or override';

CREATE FUNCTION infra_monitor.availability(
	windows timestamptz[], until timestamptz,
	OUT window_start timestamptz, OUT known_since timestamptz,
	OUT available float8, OUT unavailable float8)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL RESTRICTED ROWS 4
SET search_path = pg_catalog, pg_temp
AS $$
WITH grains AS MATERIALIZED (
	SELECT w.window_start, g.grain, g.from_at, g.until_at
	FROM unnest($1) AS w (window_start)
		CROSS JOIN LATERAL infra_monitor.history_grains('samples', least(w.window_start, $2), $2, '1 day', false) g
), parts AS (
	SELECT g.window_start, a.known_since, a.available
	FROM grains g
		CROSS JOIN LATERAL infra_monitor.available_between(g.from_at, g.until_at) a
	WHERE g.grain = 'sample'
	UNION ALL
	-- what begins with a gap is known, if something before it is
	SELECT g.window_start, CASE WHEN p.is_known THEN g.from_at ELSE r.first_sampled_at END, r.available
	FROM grains g
		CROSS JOIN LATERAL (
			SELECT EXISTS (SELECT FROM infra_monitor.samples_hourly b WHERE b.begins_at < g.from_at) AS is_known OFFSET 0
		) p
		CROSS JOIN LATERAL (
			(SELECT min(h.first_sampled_at) AS first_sampled_at, sum(h.available_time) / 1000 AS available
			FROM infra_monitor.samples_hourly h
			WHERE g.grain = 'hour' AND h.begins_at >= g.from_at AND h.begins_at < g.until_at OFFSET 0)
			UNION ALL
			(SELECT min(d.first_sampled_at), sum(d.available_time) / 1000
			FROM infra_monitor.samples_daily d
			WHERE g.grain = 'day' AND d.begins_at >= g.from_at AND d.begins_at < g.until_at OFFSET 0)
		) r
	WHERE r.available IS NOT NULL
), sums AS (
	SELECT w.window_start, min(p.known_since) AS known_since, coalesce(sum(p.available), 0) AS available
	FROM unnest($1) AS w (window_start)
		LEFT JOIN parts p ON p.window_start = w.window_start
	GROUP BY w.window_start
)
SELECT s.window_start, s.known_since, s.available,
	greatest(coalesce(extract(epoch FROM $2 - s.known_since)::float8 - s.available, 0), 0)
FROM sums s
$$;
COMMENT ON FUNCTION infra_monitor.availability(timestamptz[], timestamptz) IS
'source of slo_status: for each start of a window up to "until", the seconds in which the server was available and not, since the first sample in it, from samples and their rollups; not available is unhealthy, and a gap as in history_gaps(); for pg_monitor';

CREATE FUNCTION infra_monitor.latency_between(
	windows timestamptz[], until timestamptz,
	OUT window_start timestamptz, OUT known_since timestamptz,
	OUT latency infra_monitor.histogram)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL RESTRICTED ROWS 4
SET search_path = pg_catalog, pg_temp
AS $$
WITH parts AS (
	SELECT w.window_start, p.first_sampled_at, p.latency
	FROM unnest($1) AS w (window_start)
		CROSS JOIN LATERAL infra_monitor.history_grains('samples', least(w.window_start, $2), $2, '1 day', false) g
		CROSS JOIN LATERAL (
			(SELECT s.sampled_at AS first_sampled_at, s.latency
			FROM infra_monitor.samples s
			WHERE g.grain = 'sample' AND s.sampled_at >= g.from_at AND s.sampled_at < g.until_at OFFSET 0)
			UNION ALL
			(SELECT h.first_sampled_at, h.latency
			FROM infra_monitor.samples_hourly h
			WHERE g.grain = 'hour' AND h.begins_at >= g.from_at AND h.begins_at < g.until_at OFFSET 0)
			UNION ALL
			(SELECT d.first_sampled_at, d.latency
			FROM infra_monitor.samples_daily d
			WHERE g.grain = 'day' AND d.begins_at >= g.from_at AND d.begins_at < g.until_at OFFSET 0)
		) p
	WHERE p.latency IS NOT NULL
)
SELECT w.window_start, min(p.first_sampled_at), infra_monitor.sum(p.latency)
FROM unnest($1) AS w (window_start)
	LEFT JOIN parts p ON p.window_start = w.window_start
GROUP BY w.window_start
$$;
COMMENT ON FUNCTION infra_monitor.latency_between(timestamptz[], timestamptz) IS
'source of slo_status: for each start of a window up to "until", the times of all executions that completed, as far as samples or their rollups are kept; for pg_monitor';

CREATE FUNCTION infra_monitor.slo_status_at(
	at timestamptz, OUT name text, OUT period interval, OUT attained float8,
	OUT error_budget_left float8, OUT burn_rate float8, OUT kind text,
	OUT target float8, OUT threshold_time float8, OUT known_since timestamptz)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL RESTRICTED ROWS 8
SET search_path = pg_catalog, pg_temp
AS $$
WITH targets AS MATERIALIZED (
	SELECT t.*, p.window_length, $1 - p.window_length AS window_start
	FROM infra_monitor.slo_targets t,
		unnest(ARRAY['1 hour'::interval, '6 hours', '3 days', '30 days', t.period]) AS p (window_length)
	WHERE t.enabled
	GROUP BY t.name, t.kind, t.target, t.threshold_time, t.period, t.enabled, t.source, p.window_length
), times AS MATERIALIZED (
	SELECT a.* FROM infra_monitor.availability((SELECT array_agg(DISTINCT t.window_start) FROM targets t WHERE t.kind = 'availability'), $1) a
), executions AS MATERIALIZED (
	SELECT l.* FROM infra_monitor.latency_between((SELECT array_agg(DISTINCT t.window_start) FROM targets t WHERE t.kind = 'latency'), $1) l
), shares AS (
	SELECT t.*, a.known_since, a.available / nullif(a.available + a.unavailable, 0) AS attained
	FROM targets t JOIN times a USING (window_start) WHERE t.kind = 'availability'
	UNION ALL
	SELECT t.*, e.known_since, infra_monitor.fraction(e.latency, t.threshold_time)
	FROM targets t JOIN executions e USING (window_start) WHERE t.kind = 'latency'
)
SELECT name, window_length, attained, 1 - (1 - attained) / (1 - target), (1 - attained) / (1 - target),
	kind, target, threshold_time, known_since
FROM shares
ORDER BY name, window_length
$$;
COMMENT ON FUNCTION infra_monitor.slo_status_at(timestamptz) IS
'the rows of slo_status as they were at some moment, as far as samples are kept; for pg_monitor';

CREATE VIEW infra_monitor.slo_status AS
SELECT s.name, s.period, s.attained, s.error_budget_left, s.burn_rate, s.kind,
	s.target, s.threshold_time, s.known_since
FROM infra_monitor.slo_status_at(pg_catalog.clock_timestamp()) s;
COMMENT ON VIEW infra_monitor.slo_status IS
'are the objectives kept? for each objective the last hour, 6 hours, 3 days, 30 days, and its own period; from the samples in this database; for pg_monitor';
COMMENT ON COLUMN infra_monitor.slo_status.period IS 'the time up to now that the row is about';
COMMENT ON COLUMN infra_monitor.slo_status.attained IS 'share of the time in which the server was available, or of the executions that were fast enough; NULL if nothing is known';
COMMENT ON COLUMN infra_monitor.slo_status.error_budget_left IS 'what is left of the failures that the objective allows in this period: 1 all, 0 none, negative: missed';
COMMENT ON COLUMN infra_monitor.slo_status.burn_rate IS 'how fast the budget is used up: 1 is just what the objective allows; 14.4 for an hour uses up 2 percent of that of 30 days';
COMMENT ON COLUMN infra_monitor.slo_status.threshold_time IS 'how long an execution may take, ms; NULL for availability';
COMMENT ON COLUMN infra_monitor.slo_status.known_since IS 'from when on samples of the period are kept; the row says nothing of the time before';

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
-- health_events.sql: what has changed in the health of the server, and when
--

CREATE TABLE infra_monitor.health_events (
	at timestamptz NOT NULL,
	check_name text NOT NULL,
	old_status text,
	new_status text NOT NULL,
	value float8,
	message text,
	since timestamptz NOT NULL,
	old_since timestamptz
) PARTITION BY RANGE (at);
COMMENT ON TABLE infra_monitor.health_events IS
'one row each time that a check changes its status, or the server its own, in partitions by UTC day, kept for infra_monitor.retention; not dumped; written by the sampler only; for pg_monitor';
COMMENT ON COLUMN infra_monitor.health_events.at IS 'when the new status was evaluated as often as its check demands, and counted';
COMMENT ON COLUMN infra_monitor.health_events.check_name IS 'overall: the status of the server';
COMMENT ON COLUMN infra_monitor.health_events.old_status IS 'NULL: it was never evaluated before';
COMMENT ON COLUMN infra_monitor.health_events.new_status IS 'ok, warning, critical or unknown; of overall healthy, degraded or unhealthy';
COMMENT ON COLUMN infra_monitor.health_events.value IS 'of the check then, in its unit; of overall, the score';
COMMENT ON COLUMN infra_monitor.health_events.message IS 'of the check then, its first 383 bytes; of overall, the checks that are critical or warn';
COMMENT ON COLUMN infra_monitor.health_events.since IS 'when the value first was so';
COMMENT ON COLUMN infra_monitor.health_events.old_since IS 'since when it had its old status';

CREATE INDEX health_events_at_idx ON infra_monitor.health_events
	USING brin (at) WITH (pages_per_range = 16, autosummarize = on);
COMMENT ON INDEX infra_monitor.health_events_at_idx IS
'finds a part of a day; whole days are found by their partitions';

CREATE TABLE infra_monitor.health_state (
	check_name text PRIMARY KEY,
	status text NOT NULL,
	since timestamptz NOT NULL,
	changed_at timestamptz NOT NULL
);
COMMENT ON TABLE infra_monitor.health_state IS
'the status of each check as it was stored last, with which the sampler begins after a start; one row for each check and one for the server, written when it changes; not dumped; written by the sampler only; for pg_monitor';
COMMENT ON COLUMN infra_monitor.health_state.check_name IS 'overall: the status of the server';
COMMENT ON COLUMN infra_monitor.health_state.since IS 'when the value first was so';
COMMENT ON COLUMN infra_monitor.health_state.changed_at IS 'when that counted';

CREATE FUNCTION infra_monitor.health_history(
	since timestamptz, until timestamptz DEFAULT now(),
	OUT check_name text, OUT status text, OUT from_at timestamptz,
	OUT until_at timestamptz)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100
SET search_path = pg_catalog, pg_temp
AS $$
WITH span AS MATERIALIZED (
	SELECT $1 AS since, least($2, now()) AS until
	WHERE infra_monitor.history_step($1, $2, NULL) IS NOT NULL
), events AS MATERIALIZED (
	SELECT e.check_name, e.old_status, e.new_status, e.old_since, e.since,
		lead(e.since) OVER later AS ends,
		row_number() OVER later = 1 AS first
	FROM infra_monitor.health_events e, span
	WINDOW later AS (PARTITION BY e.check_name ORDER BY e.at, e.since)
), periods AS (
	SELECT e.check_name, e.new_status AS status, e.since AS from_at, e.ends AS until_at
	FROM events e
	UNION ALL
	-- what was before the first that is still stored
	SELECT e.check_name, e.old_status, e.old_since, e.since
	FROM events e WHERE e.first AND e.old_status IS NOT NULL
	UNION ALL
	-- what has not changed for as long as changes are stored
	SELECT s.check_name, s.status, s.since, NULL
	FROM infra_monitor.health_state s
	WHERE NOT EXISTS (SELECT FROM events e WHERE e.check_name = s.check_name)
)
SELECT p.check_name, p.status, greatest(p.from_at, span.since),
	least(coalesce(p.until_at, span.until), span.until)
FROM periods p, span
WHERE p.from_at < span.until
	AND (p.until_at IS NULL OR p.until_at > greatest(p.from_at, span.since))
ORDER BY 1, 3
$$;
COMMENT ON FUNCTION infra_monitor.health_history(timestamptz, timestamptz) IS
'which status each check had when, and the server (overall), between two moments: periods without a gap from the first evaluation that is known, cut at the ends of the span; it does not say whether the server ran; error if the span is not finite or ends before it begins; for pg_monitor';

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
SET jit = off -- most partitions that the planner counts are not read
AS $$
WITH grains AS MATERIALIZED (
	SELECT * FROM infra_monitor.history_grains('samples', $1, $2, $3)
), stored AS MATERIALIZED (
	SELECT date_bin($3, s.sampled_at, '2001-01-01 00:00:00+00') AS bucket, s.sampled_at AS at, false AS of_ring,
		s.used_connections AS used, s.waiting, s.idle_in_transaction, coalesce(s.avg_active, s.active) AS active,
		s.rejected, s.rejected_total, s.connects, s.connects_total
	FROM grains g
		-- with OFFSET, this is a scan of its own, of those partitions that it needs
		CROSS JOIN LATERAL (SELECT * FROM infra_monitor.samples r
			WHERE g.grain = 'sample' AND r.sampled_at >= g.from_at AND r.sampled_at < g.until_at OFFSET 0) s
	-- on a standby, they are the primary's
	WHERE NOT pg_is_in_recovery()
), remembered AS MATERIALIZED (
	SELECT date_bin($3, r.at, '2001-01-01 00:00:00+00') AS bucket, r.at, true AS of_ring,
		r.used, r.waiting, r.idle_in_transaction, r.active::float8 AS active,
		r.rejected, r.rejected_total, r.connects, r.connects_total
	FROM infra_monitor.sample_ring() r (at, used, authenticating, active, idle, idle_in_transaction, waiting,
		connects_total, rejected_total, connects, rejected)
	WHERE infra_monitor.preloaded()
		AND EXISTS (SELECT FROM grains g WHERE g.grain = 'sample' AND r.at >= g.from_at AND r.at < g.until_at)
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
), rolled_up AS (
	SELECT g.grain, g.fits, p.*
	FROM grains g
		CROSS JOIN LATERAL (
			(SELECT * FROM infra_monitor.samples_hourly h
			WHERE g.grain = 'hour' AND h.begins_at >= g.from_at AND h.begins_at < g.until_at OFFSET 0)
			UNION ALL
			(SELECT * FROM infra_monitor.samples_daily d
			WHERE g.grain = 'day' AND d.begins_at >= g.from_at AND d.begins_at < g.until_at OFFSET 0)
		) p
), parts AS (
	SELECT bucket, 1 AS samples, used::float8 AS used, used AS used_max, waiting AS waiting_max,
		idle_in_transaction AS idle_in_transaction_max,
		CASE WHEN changed AND rejected_since BETWEEN 0 AND rejected THEN rejected_since ELSE rejected END AS rejected,
		CASE WHEN changed AND connects_since BETWEEN 0 AND connects THEN connects_since ELSE connects END AS connects,
		active, 0 AS coarseness
	FROM looked_back
	UNION ALL
	SELECT CASE WHEN r.fits THEN date_bin($3, r.begins_at, '2001-01-01 00:00:00+00') ELSE r.begins_at END, r.samples,
		round(r.used_connections_avg * r.samples), r.used_connections_max, r.waiting_max, r.idle_in_transaction_max,
		r.rejected, r.connects, r.avg_active_avg * r.samples, CASE r.grain WHEN 'hour' THEN 1 ELSE 2 END
	FROM rolled_up r
)
SELECT bucket, sum(used) / sum(samples), max(used_max), max(waiting_max), max(idle_in_transaction_max),
	sum(rejected)::bigint, sum(connects)::bigint, sum(active) / sum(samples),
	(ARRAY['sample', 'hour', 'day'])[1 + max(coarseness)]
FROM parts
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
'the pool from since until before until, in buckets of a step, by default one that gives 300 buckets or less; bucket is when one begins, counted from Mondays 00:00 UTC; one without samples is absent; used_avg, used_max, waiting_max, idle_in_transaction_max and active_avg (average active sessions) as in samples, used without those authenticating; rejected and connects are sums, NULL if nothing of them is known; grain: the coarsest of what it is made of, sample, hour or day, as history_grains() chooses; where only hours or days are kept, and do not fit into the step, these are the buckets; from the table samples and its rollups, and, for what that does not have, on standbys, and in other databases, from the last 360 samples in shared memory; error for a span or a step that makes no sense, a span of which nothing is kept, and more than 100000 buckets; for pg_monitor';

--
-- pool_chart.sql: the history of the pool as a picture made of characters
--

-- arrays, because the planner expects a thousand rows of each generate_series()
CREATE FUNCTION infra_monitor.draw_pool(
	begins timestamptz, step interval, used int[], refused bigint[],
	most int, height int)
RETURNS SETOF text
LANGUAGE sql STABLE PARALLEL SAFE ROWS 11
SET search_path = pg_catalog, pg_temp
AS $$
WITH times AS MATERIALIZED (
	SELECT w, $1 + w * $2 AS ends,
		CASE WHEN w * $2 <= '10 minutes' THEN 'HH24:MI:SS' WHEN w * $2 <= '1 day' THEN 'HH24:MI' ELSE 'MM-DD HH24:MI' END AS f
	FROM (SELECT cardinality($3) AS w) c
), scale AS MATERIALIZED (
	-- a row stands for one connection at least
	SELECT m.top, least(greatest($6, 1), 100, m.top) AS h
	FROM (SELECT greatest($5, max(u), 1) AS top FROM unnest($3) u) m
), lines (y, line) AS (
	SELECT s.h + 1, format('used connections, %s a column; = limit of ordinary roles: %s; ! refused: %s',
		to_char($2, 'HH24:MI:SS'), $5, coalesce((SELECT sum(r) FROM unnest($4) r)::text, '?'))
	FROM scale s
	UNION ALL
	SELECT r.y, lpad((s.top * r.y / s.h)::text, length(s.top::text)) || CASE r.y WHEN 0 THEN ' +' ELSE ' |' END
		|| (SELECT string_agg(CASE
				WHEN u.used IS NULL THEN ' '
				WHEN r.y = 0 THEN CASE WHEN u.refused > 0 THEN '!' ELSE '-' END
				WHEN (u.used * s.h + s.top - 1) / s.top >= r.y THEN '#'
				WHEN ($5 * s.h + s.top - 1) / s.top = r.y THEN '='
				ELSE ' ' END, '' ORDER BY u.x)
			FROM unnest($3, $4) WITH ORDINALITY AS u (used, refused, x))
	FROM scale s CROSS JOIN LATERAL generate_series(0, s.h) r (y)
	UNION ALL
	SELECT -1, repeat(' ', length(s.top::text) + 2)
		|| rpad(CASE WHEN t.w < 3 * length(t.f) + 6 THEN to_char($1, t.f)
			ELSE rpad(to_char($1, t.f), t.w / 2) || to_char($1 + t.w / 2 * $2, t.f) END,
			t.w - length(to_char(t.ends, t.f)))
		|| to_char(t.ends, t.f)
	FROM times t, scale s
)
SELECT rtrim(line) FROM lines ORDER BY y DESC
$$;
COMMENT ON FUNCTION infra_monitor.draw_pool(timestamptz, interval, int[], bigint[], int, int) IS
'the picture of pool_chart(): columns of a step each, from begins on, with the most connections that were used in each and how many were refused, NULL: not known; most: the limit of ordinary roles; for pg_monitor';

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
	SELECT w, step, e AS ends, e - w * step AS begins
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
), columns AS MATERIALIZED (
	SELECT array_agg(h.used ORDER BY c.x) AS used, array_agg(h.rejected ORDER BY c.x) AS rejected
	FROM times t CROSS JOIN LATERAL generate_series(1, t.w) c (x)
		LEFT JOIN history h ON h.x = c.x
)
SELECT d.line
FROM times t CROSS JOIN capacity p CROSS JOIN columns c
	CROSS JOIN LATERAL infra_monitor.draw_pool(t.begins, t.step, c.used, c.rejected, p.most, $3) WITH ORDINALITY AS d (line, n)
ORDER BY d.n
$$;
COMMENT ON FUNCTION infra_monitor.pool_chart(interval, int, int, timestamptz) IS
'used connections over a time that ends at until, by default now, drawn with characters: a column is # up to the most that were used in its time, = is the limit of ordinary roles, ! below marks refusals, and where there are no samples nothing is drawn; numbers at the left are what a row reaches up to; width from 24 to 400 columns, which should not be more than there are samples, height from 1 to 100 rows and two or three lines around them; for pg_monitor';

--
-- wait_history.sql: what sessions waited for
--

-- what of the waits is stored of a span, with the bucket it belongs to
CREATE FUNCTION infra_monitor.stored_waits(
	since timestamptz, until timestamptz, step interval,
	OUT bucket timestamptz, OUT at timestamptz, OUT wait_event_type text,
	OUT wait_event text, OUT observations bigint, OUT looks bigint,
	OUT coarseness int)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 1000
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN g.fits THEN date_bin($3, p.at, '2001-01-01 00:00:00+00') ELSE p.at END AS bucket, p.at,
	p.wait_event_type, p.wait_event, p.observations::bigint, p.looks, p.coarseness
FROM infra_monitor.history_grains('wait_samples', $1, $2, $3) g
	-- with OFFSET, these are scans of their own, of those partitions that they need
	CROSS JOIN LATERAL (
		(SELECT w.sampled_at AS at, w.wait_event_type, w.wait_event, sum(w.observations) AS observations,
			max(w.looks) AS looks, 0 AS coarseness
		FROM infra_monitor.wait_samples w
		WHERE g.grain = 'sample' AND w.sampled_at >= g.from_at AND w.sampled_at < g.until_at
		GROUP BY 1, 2, 3 OFFSET 0)
		UNION ALL
		(SELECT h.begins_at, h.wait_event_type, h.wait_event, sum(h.observations), max(h.looks), 1
		FROM infra_monitor.wait_samples_hourly h
		WHERE g.grain = 'hour' AND h.begins_at >= g.from_at AND h.begins_at < g.until_at
		GROUP BY 1, 2, 3 OFFSET 0)
		UNION ALL
		(SELECT d.begins_at, d.wait_event_type, d.wait_event, sum(d.observations), max(d.looks), 2
		FROM infra_monitor.wait_samples_daily d
		WHERE g.grain = 'day' AND d.begins_at >= g.from_at AND d.begins_at < g.until_at
		GROUP BY 1, 2, 3 OFFSET 0)
	) p
$$;
COMMENT ON FUNCTION infra_monitor.stored_waits(timestamptz, timestamptz, interval) IS
'source of wait_history() and compare(): the rows of wait_samples and its rollups by event, each with all looks of the same moment; coarseness: 0 samples, 1 hours, 2 days; for pg_monitor';

-- the rows of wait_history(), for arguments that are known to be good
CREATE FUNCTION infra_monitor.wait_buckets(
	since timestamptz, until timestamptz, step interval,
	OUT bucket timestamptz, OUT wait_event_type text, OUT wait_event text,
	OUT active_avg float8, OUT grain text)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 1000
SET search_path = pg_catalog, pg_temp
SET jit = off -- most partitions that the planner counts are not read
AS $$
WITH seen AS MATERIALIZED (
	SELECT * FROM infra_monitor.stored_waits($1, $2, $3)
), looks AS (
	-- each row of a writing has all its looks
	SELECT l.bucket, sum(l.looks) AS looks, max(l.coarseness) AS coarseness
	FROM (SELECT DISTINCT s.bucket, s.at, s.looks, s.coarseness FROM seen s) l
	GROUP BY l.bucket
	HAVING sum(l.looks) > 0
), events AS (
	SELECT s.bucket, s.wait_event_type, s.wait_event, sum(s.observations) AS observations
	FROM seen s
	WHERE s.wait_event IS NOT NULL
	GROUP BY s.bucket, s.wait_event_type, s.wait_event
)
SELECT l.bucket, e.wait_event_type, e.wait_event, (coalesce(e.observations, 0) / l.looks)::float8,
	(ARRAY['sample', 'hour', 'day'])[1 + l.coarseness]
FROM looks l
	LEFT JOIN events e ON e.bucket = l.bucket
ORDER BY l.bucket, e.observations DESC NULLS LAST, e.wait_event_type, e.wait_event
$$;
COMMENT ON FUNCTION infra_monitor.wait_buckets(timestamptz, timestamptz, interval) IS
'source of wait_history(), which checks the arguments; for pg_monitor';

CREATE FUNCTION infra_monitor.wait_history(
	since timestamptz, until timestamptz DEFAULT pg_catalog.now(),
	step interval DEFAULT NULL,
	OUT bucket timestamptz, OUT wait_event_type text, OUT wait_event text,
	OUT active_avg float8, OUT grain text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000
SET search_path = pg_catalog, pg_temp
AS $$ SELECT * FROM infra_monitor.wait_buckets($1, $2, infra_monitor.history_step($1, $2, $3)) $$;
COMMENT ON FUNCTION infra_monitor.wait_history(timestamptz, timestamptz, interval) IS
'what active sessions waited for from since until before until, in buckets of a step, by default one that gives 300 buckets or less; bucket is when one begins, counted from Mondays 00:00 UTC; a row for each event that was seen, as in wait_samples, the most frequent first; active_avg: sessions that were seen so, on average over all looks at the sessions in that bucket; one row without an event, and 0, if nobody was active; a bucket without looks is absent; grain as in pool_history(); error for a span or a step that makes no sense, a span of which nothing is kept, and more than 100000 buckets; for pg_monitor';

--
-- statement_samples.sql: history of the statements
--

CREATE TABLE infra_monitor.statement_samples (
	sampled_at timestamptz NOT NULL,
	epoch bigint NOT NULL,
	userid oid,
	dbid oid,
	usename text,
	datname text,
	queryid bigint,
	toplevel boolean,
	calls bigint NOT NULL,
	exec_time float8 NOT NULL,
	rows bigint,
	failures bigint NOT NULL,
	failed_time float8 NOT NULL,
	shared_blks_hit bigint,
	shared_blks_read bigint,
	temp_blks_written bigint,
	wal_bytes bigint,
	latency infra_monitor.histogram NOT NULL
) PARTITION BY RANGE (sampled_at);
COMMENT ON TABLE infra_monitor.statement_samples IS
'what statements have grown by, each infra_monitor.statement_interval: a row for each of the first infra_monitor.top_statements by time, calls, time of failures or p95, and always one without userid for all others, so that the sum is right; in partitions by UTC day, kept for infra_monitor.retention; not dumped; written by the sampler and take_statement_sample() only; for pg_monitor';
COMMENT ON COLUMN infra_monitor.statement_samples.epoch IS 'as in samples; what was executed between the last sample before reset() and that is in none';
COMMENT ON COLUMN infra_monitor.statement_samples.userid IS 'NULL: all statements without a row of their own';
COMMENT ON COLUMN infra_monitor.statement_samples.usename IS 'NULL if the role had been dropped';
COMMENT ON COLUMN infra_monitor.statement_samples.datname IS 'NULL if the database had been dropped';
COMMENT ON COLUMN infra_monitor.statement_samples.queryid IS 'NULL: failed before it was identified';
COMMENT ON COLUMN infra_monitor.statement_samples.calls IS 'executions that completed since the sample before; also from before one that failed, so that none is lost';
COMMENT ON COLUMN infra_monitor.statement_samples.exec_time IS 'time of these, ms';
COMMENT ON COLUMN infra_monitor.statement_samples.rows IS 'as pg_stat_statements counts them, as in the columns to wal_bytes; all NULL if that does not tell what they have grown by: not there any more, reset, or just begun while others were counted';
COMMENT ON COLUMN infra_monitor.statement_samples.failures IS 'executions that did not complete';
COMMENT ON COLUMN infra_monitor.statement_samples.failed_time IS 'time of these, ms';
COMMENT ON COLUMN infra_monitor.statement_samples.wal_bytes IS 'write-ahead log generated, bytes';
COMMENT ON COLUMN infra_monitor.statement_samples.latency IS 'times of the executions that completed';

CREATE INDEX statement_samples_sampled_at_idx ON infra_monitor.statement_samples
	USING brin (sampled_at) WITH (pages_per_range = 16, autosummarize = on);
COMMENT ON INDEX infra_monitor.statement_samples_sampled_at_idx IS
'finds a part of a day; whole days are found by their partitions';

-- No index that finds a statement: its pages would be written to the log in
-- whole after each checkpoint, all over it.  The sampler makes one on each day
-- that is over, see partitions.c; of today, all rows of a span are read.

CREATE TABLE infra_monitor.statement_texts (
	first_seen timestamptz NOT NULL,
	queryid bigint NOT NULL,
	dbid oid NOT NULL,
	query text NOT NULL
) PARTITION BY RANGE (first_seen);
COMMENT ON TABLE infra_monitor.statement_texts IS
'texts of the statements in statement_samples, without constants, as pg_stat_statements has them, 8192 characters of each; stored once a day, and kept as long as the samples of that day; a command that can carry a secret shows its tag only; not dumped; for pg_read_all_stats';
COMMENT ON COLUMN infra_monitor.statement_texts.first_seen IS 'sample in which the statement first was this day (UTC)';

CREATE INDEX statement_texts_queryid_idx ON infra_monitor.statement_texts (queryid, dbid);
COMMENT ON INDEX infra_monitor.statement_texts_queryid_idx IS 'finds the text of a statement';

CREATE FUNCTION infra_monitor.take_statement_sample()
RETURNS timestamptz
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'imon_take_statement_sample_1_0';
COMMENT ON FUNCTION infra_monitor.take_statement_sample() IS
'takes a sample of the statements now, in this transaction, and returns its time, or NULL and no sample if what they had counted at the last one is not known; waits for another writer up to lock_timeout; error for a second one in a transaction, without dynamic shared memory for what was counted, on a standby, outside the home database, when there is no room for it (check history_size), and unless preloaded; for superusers, grantable';

-- the rows of statement_history(), for arguments that are known to be good
CREATE FUNCTION infra_monitor.statement_buckets(
	queryid bigint, since timestamptz, until timestamptz, step interval,
	OUT bucket timestamptz, OUT calls bigint, OUT exec_time float8,
	OUT p50_time float8, OUT p95_time float8, OUT p99_time float8,
	OUT rows bigint, OUT failures bigint, OUT failed_time float8,
	OUT shared_blks_read bigint, OUT temp_blks_written bigint,
	OUT wal_bytes bigint, OUT grain text)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 300
SET search_path = pg_catalog, pg_temp
SET jit = off -- most partitions that the planner counts are not read
AS $$
WITH grains AS MATERIALIZED (
	SELECT * FROM infra_monitor.history_grains('statement_samples', $2, $3, $4)
), parts AS (
	SELECT CASE WHEN g.fits THEN date_bin($4, p.at, '2001-01-01 00:00:00+00') ELSE p.at END AS bucket, p.*
	FROM grains g
		-- with OFFSET, these are scans of their own, of those partitions that they need
		CROSS JOIN LATERAL (
			(SELECT s.sampled_at AS at, s.calls, s.exec_time, s.latency, s.rows, s.failures, s.failed_time,
				s.shared_blks_read, s.temp_blks_written, s.wal_bytes, 0 AS coarseness
			FROM infra_monitor.statement_samples s
			WHERE g.grain = 'sample' AND s.queryid = $1 AND s.sampled_at >= g.from_at AND s.sampled_at < g.until_at OFFSET 0)
			UNION ALL
			(SELECT h.begins_at, h.calls, h.exec_time, h.latency, h.rows, h.failures, h.failed_time,
				h.shared_blks_read, h.temp_blks_written, h.wal_bytes, 1
			FROM infra_monitor.statement_samples_hourly h
			WHERE g.grain = 'hour' AND h.queryid = $1 AND h.begins_at >= g.from_at AND h.begins_at < g.until_at OFFSET 0)
			UNION ALL
			(SELECT d.begins_at, d.calls, d.exec_time, d.latency, d.rows, d.failures, d.failed_time,
				d.shared_blks_read, d.temp_blks_written, d.wal_bytes, 2
			FROM infra_monitor.statement_samples_daily d
			WHERE g.grain = 'day' AND d.queryid = $1 AND d.begins_at >= g.from_at AND d.begins_at < g.until_at OFFSET 0)
		) p
)
SELECT b.bucket, b.calls, b.exec_time, infra_monitor.quantile(b.latency, 0.50),
	infra_monitor.quantile(b.latency, 0.95), infra_monitor.quantile(b.latency, 0.99),
	b.rows, b.failures, b.failed_time, b.shared_blks_read, b.temp_blks_written, b.wal_bytes,
	(ARRAY['sample', 'hour', 'day'])[1 + b.coarseness]
FROM (
	-- times in whole nanoseconds, as they were counted: whatever the order, the sum is the same
	SELECT s.bucket, sum(s.calls)::bigint AS calls, (sum((s.exec_time * 1e6)::bigint) / 1e6)::float8 AS exec_time,
		infra_monitor.sum(s.latency) AS latency, sum(s.rows)::bigint AS rows, sum(s.failures)::bigint AS failures,
		(sum((s.failed_time * 1e6)::bigint) / 1e6)::float8 AS failed_time,
		sum(s.shared_blks_read)::bigint AS shared_blks_read, sum(s.temp_blks_written)::bigint AS temp_blks_written,
		sum(s.wal_bytes)::bigint AS wal_bytes, max(s.coarseness) AS coarseness
	FROM parts s
	GROUP BY s.bucket
) b
ORDER BY b.bucket
$$;
COMMENT ON FUNCTION infra_monitor.statement_buckets(bigint, timestamptz, timestamptz, interval) IS
'source of statement_history(), which checks the arguments; for pg_monitor';

CREATE FUNCTION infra_monitor.statement_history(
	queryid bigint, since timestamptz,
	until timestamptz DEFAULT pg_catalog.now(), step interval DEFAULT NULL,
	OUT bucket timestamptz, OUT calls bigint, OUT exec_time float8,
	OUT p50_time float8, OUT p95_time float8, OUT p99_time float8,
	OUT rows bigint, OUT failures bigint, OUT failed_time float8,
	OUT shared_blks_read bigint, OUT temp_blks_written bigint,
	OUT wal_bytes bigint, OUT grain text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 300
SET search_path = pg_catalog, pg_temp
AS $$ SELECT * FROM infra_monitor.statement_buckets($1, $2, $3, infra_monitor.history_step($2, $3, $4)) $$;
COMMENT ON FUNCTION infra_monitor.statement_history(bigint, timestamptz, timestamptz, interval) IS
'a statement from since until before until, of all roles and databases, in buckets of a step, by default one that gives 300 buckets or less; bucket is when one begins, counted from Mondays 00:00 UTC; one in which the statement has no row in statement_samples is absent; columns as there, p50_time, p95_time and p99_time off by 14.3 percent at most; rows, shared_blks_read, temp_blks_written and wal_bytes are sums of what is known, NULL if nothing is; grain as in pool_history(); of hours and days it has those in which the statement was among the first; error for a span or a step that makes no sense, a span of which nothing is kept, and more than 100000 buckets; for pg_monitor';

CREATE FUNCTION infra_monitor.span_step(since timestamptz, until timestamptz)
RETURNS interval
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE WHEN infra_monitor.history_step($1, $2, NULL) > '30 minutes' THEN '1 day' ELSE '1 hour' END::interval $$;
COMMENT ON FUNCTION infra_monitor.span_step(timestamptz, timestamptz) IS
'by what a span is read of which only the sum is wanted: hours, or days if it is longer than six; errors of history_step(); for pg_monitor';

CREATE FUNCTION infra_monitor.top_statements_order(order_by text, n int)
RETURNS text
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_top_statements_order_1_0';
COMMENT ON FUNCTION infra_monitor.top_statements_order(text, int) IS
'order_by, if top_statements() can be ordered by it; else an error, also unless n is positive; for pg_monitor';

-- what was stored of each statement in a span; that of all others is one, without a userid
CREATE FUNCTION infra_monitor.stored_statements(
	since timestamptz, until timestamptz, step interval,
	OUT is_other boolean, OUT queryid bigint, OUT datname text, OUT usename text, OUT dbid oid,
	OUT calls bigint, OUT exec_time float8, OUT latency infra_monitor.histogram, OUT rows bigint,
	OUT failures bigint, OUT failed_time float8, OUT shared_blks_hit bigint, OUT shared_blks_read bigint,
	OUT temp_blks_written bigint, OUT wal_bytes bigint, OUT known_calls bigint)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 1000
SET search_path = pg_catalog, pg_temp
SET jit = off -- most partitions that the planner counts are not read
AS $$
WITH grains AS MATERIALIZED (
	SELECT * FROM infra_monitor.history_grains('statement_samples', $1, $2, $3)
), parts AS (
	SELECT p.*
	FROM grains g
		-- each a scan of its own, of those partitions that it needs
		CROSS JOIN LATERAL (
			SELECT s.userid IS NULL AS is_other, s.queryid, s.datname, s.usename, max(s.dbid) AS dbid,
				sum(s.calls) AS calls, sum((s.exec_time * 1e6)::bigint) AS exec_ns, infra_monitor.sum(s.latency) AS latency,
				sum(s.rows) AS rows, sum(s.failures) AS failures, sum((s.failed_time * 1e6)::bigint) AS failed_ns,
				sum(s.shared_blks_hit) AS shared_blks_hit, sum(s.shared_blks_read) AS shared_blks_read,
				sum(s.temp_blks_written) AS temp_blks_written, sum(s.wal_bytes) AS wal_bytes,
				sum(CASE WHEN s.rows IS NOT NULL THEN s.calls ELSE 0 END) AS known_calls
			FROM infra_monitor.statement_samples s
			WHERE g.grain = 'sample' AND s.sampled_at >= g.from_at AND s.sampled_at < g.until_at
			GROUP BY s.userid IS NULL, s.queryid, s.datname, s.usename
			UNION ALL
			SELECT h.userid IS NULL, h.queryid, h.datname, h.usename, max(h.dbid),
				sum(h.calls), sum((h.exec_time * 1e6)::bigint), infra_monitor.sum(h.latency),
				sum(h.rows), sum(h.failures), sum((h.failed_time * 1e6)::bigint),
				sum(h.shared_blks_hit), sum(h.shared_blks_read),
				sum(h.temp_blks_written), sum(h.wal_bytes), sum(h.known_calls)
			FROM infra_monitor.statement_samples_hourly h
			WHERE g.grain = 'hour' AND h.begins_at >= g.from_at AND h.begins_at < g.until_at
			GROUP BY h.userid IS NULL, h.queryid, h.datname, h.usename
			UNION ALL
			SELECT d.userid IS NULL, d.queryid, d.datname, d.usename, max(d.dbid),
				sum(d.calls), sum((d.exec_time * 1e6)::bigint), infra_monitor.sum(d.latency),
				sum(d.rows), sum(d.failures), sum((d.failed_time * 1e6)::bigint),
				sum(d.shared_blks_hit), sum(d.shared_blks_read),
				sum(d.temp_blks_written), sum(d.wal_bytes), sum(d.known_calls)
			FROM infra_monitor.statement_samples_daily d
			WHERE g.grain = 'day' AND d.begins_at >= g.from_at AND d.begins_at < g.until_at
			GROUP BY d.userid IS NULL, d.queryid, d.datname, d.usename
		) p
)
SELECT p.is_other, p.queryid, p.datname, p.usename, max(p.dbid), sum(p.calls)::bigint, (sum(p.exec_ns) / 1e6)::float8,
	infra_monitor.sum(p.latency), sum(p.rows)::bigint, sum(p.failures)::bigint, (sum(p.failed_ns) / 1e6)::float8,
	sum(p.shared_blks_hit)::bigint, sum(p.shared_blks_read)::bigint, sum(p.temp_blks_written)::bigint,
	sum(p.wal_bytes)::bigint, sum(p.known_calls)::bigint
FROM parts p
GROUP BY p.is_other, p.queryid, p.datname, p.usename
$$;
COMMENT ON FUNCTION infra_monitor.stored_statements(timestamptz, timestamptz, interval) IS
'source of top_statements() and query_regressions(): statement_samples and its rollups from since until before until added up, rollups of what fits into the step; is_other: all statements without a row of their own; known_calls: calls of which rows and what else pg_stat_statements counts are known; for pg_monitor';

CREATE FUNCTION infra_monitor.statement_text(queryid bigint, dbid oid)
RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(
	(SELECT t.query FROM infra_monitor.statement_texts t
	WHERE t.queryid = $1 AND t.dbid = $2 ORDER BY t.first_seen DESC LIMIT 1),
	(SELECT t.query FROM infra_monitor.statement_texts_monthly t
	WHERE t.queryid = $1 AND t.dbid = $2 ORDER BY t.first_seen DESC LIMIT 1))
$$;
COMMENT ON FUNCTION infra_monitor.statement_text(bigint, oid) IS
'text of a statement, the youngest that is stored; NULL if there is none; for pg_read_all_stats';

-- the rows of top_statements(), for arguments that are known to be good
CREATE FUNCTION infra_monitor.ranked_statements(
	since timestamptz, until timestamptz, order_by text, n int, step interval,
	OUT rank int, OUT queryid bigint, OUT datname text, OUT usename text,
	OUT calls bigint, OUT exec_time float8, OUT share float8,
	OUT p50_time float8, OUT p95_time float8, OUT p99_time float8,
	OUT rows bigint, OUT failures bigint, OUT failed_time float8,
	OUT shared_blks_read bigint, OUT temp_blks_written bigint,
	OUT wal_bytes bigint, OUT query text)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 21
SET search_path = pg_catalog, pg_temp
AS $$
WITH statements AS MATERIALIZED (
	SELECT * FROM infra_monitor.stored_statements($1, $2, $5)
), measured AS (
	SELECT s.*, CASE $3
		WHEN 'exec_time' THEN s.exec_time
		WHEN 'calls' THEN s.calls
		WHEN 'failed_time' THEN s.failed_time
		WHEN 'p95_time' THEN infra_monitor.quantile(s.latency, 0.95)
		WHEN 'rows' THEN s.rows
		WHEN 'shared_blks_read' THEN s.shared_blks_read
		WHEN 'temp_blks_written' THEN s.temp_blks_written
		WHEN 'wal_bytes' THEN s.wal_bytes
		END AS measure
	FROM statements s
), numbered AS (
	SELECT m.*, row_number() OVER (PARTITION BY m.is_other
		ORDER BY m.measure DESC NULLS LAST, m.exec_time DESC, m.queryid, m.datname, m.usename) AS place
	FROM measured m
), listed AS (
	SELECT CASE WHEN NOT p.is_other AND p.place <= $4 THEN p.place END::int AS rank,
		p.queryid, p.datname, p.usename, p.dbid, p.calls, p.exec_time, p.latency, p.rows, p.failures,
		p.failed_time, p.shared_blks_read, p.temp_blks_written, p.wal_bytes,
		CASE $3 WHEN 'p95_time' THEN p.exec_time ELSE p.measure END AS part
	FROM numbered p
), folded AS (
	SELECT l.rank,
		CASE WHEN l.rank IS NOT NULL THEN l.queryid END AS queryid,
		CASE WHEN l.rank IS NOT NULL THEN l.datname END AS datname,
		CASE WHEN l.rank IS NOT NULL THEN l.usename END AS usename,
		max(l.dbid) AS dbid, sum(l.calls)::bigint AS calls, sum(l.exec_time) AS exec_time,
		infra_monitor.sum(l.latency) AS latency, sum(l.rows)::bigint AS rows, sum(l.failures)::bigint AS failures,
		sum(l.failed_time) AS failed_time, sum(l.shared_blks_read)::bigint AS shared_blks_read,
		sum(l.temp_blks_written)::bigint AS temp_blks_written, sum(l.wal_bytes)::bigint AS wal_bytes,
		sum(l.part) AS part
	FROM listed l
	GROUP BY 1, 2, 3, 4
)
SELECT f.rank, f.queryid, f.datname, f.usename, f.calls, f.exec_time,
	f.part / nullif(sum(f.part) OVER (), 0),
	infra_monitor.quantile(f.latency, 0.50), infra_monitor.quantile(f.latency, 0.95),
	infra_monitor.quantile(f.latency, 0.99), f.rows, f.failures, f.failed_time, f.shared_blks_read,
	f.temp_blks_written, f.wal_bytes,
	CASE WHEN f.rank IS NULL THEN 'other' ELSE infra_monitor.statement_text(f.queryid, f.dbid) END
FROM folded f
ORDER BY f.rank NULLS LAST
$$;
COMMENT ON FUNCTION infra_monitor.ranked_statements(timestamptz, timestamptz, text, int, interval) IS
'source of top_statements(), which checks the arguments; for pg_monitor';

CREATE FUNCTION infra_monitor.top_statements(
	since timestamptz, until timestamptz DEFAULT pg_catalog.now(),
	order_by text DEFAULT 'exec_time', n int DEFAULT 20,
	OUT rank int, OUT queryid bigint, OUT datname text, OUT usename text,
	OUT calls bigint, OUT exec_time float8, OUT share float8,
	OUT p50_time float8, OUT p95_time float8, OUT p99_time float8,
	OUT rows bigint, OUT failures bigint, OUT failed_time float8,
	OUT shared_blks_read bigint, OUT temp_blks_written bigint,
	OUT wal_bytes bigint, OUT query text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 21
SET search_path = pg_catalog, pg_temp
AS $$
SELECT * FROM infra_monitor.ranked_statements($1, $2, infra_monitor.top_statements_order($3, $4), $4,
	infra_monitor.span_step($1, $2))
$$;
COMMENT ON FUNCTION infra_monitor.top_statements(timestamptz, timestamptz, text, int) IS
'the first n statements from since until before until, as stored in statement_samples, by one of exec_time, calls, failed_time, p95_time, rows, shared_blks_read, temp_blks_written and wal_bytes; the last row, without a rank, is all others, so that the sums are right; share: of the sum of that column, of exec_time where it is p95_time; times in ms, percentiles off by 14.3 percent at most; rows, shared_blks_read, temp_blks_written and wal_bytes are sums of what is known, NULL if nothing is; query NULL if its text was never to be had; whole hours, and whole days of a span longer than six, are read from the rollups, in which a statement that was not among the first of its hour is one of the others; error for any other order_by, an n that is not positive, a span that makes no sense, and one of which nothing is kept; for pg_monitor';

-- what statement_samples and wait_samples say of the statements in a span
CREATE FUNCTION infra_monitor.statements_between(
	since timestamptz, until timestamptz, step interval,
	OUT queryid bigint, OUT datname text, OUT usename text, OUT dbid oid,
	OUT calls bigint, OUT exec_time float8, OUT p95_time float8,
	OUT latency infra_monitor.histogram, OUT failure_rate float8, OUT rows_rate float8, OUT blocks_rate float8,
	OUT temp_rate float8, OUT lock_wait_rate float8)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 1000
SET search_path = pg_catalog, pg_temp
SET jit = off -- most partitions that the planner counts are not read
AS $$
WITH lock_waits AS (
	SELECT p.queryid, p.datname, sum(p.observations)::float8 AS observations
	FROM infra_monitor.history_grains('wait_samples', $1, $2, $3, false) g
		CROSS JOIN LATERAL (
			(SELECT w.queryid, w.datname, w.observations FROM infra_monitor.wait_samples w
			WHERE g.grain = 'sample' AND w.sampled_at >= g.from_at AND w.sampled_at < g.until_at
				AND w.wait_event_type = 'Lock' OFFSET 0)
			UNION ALL
			(SELECT h.queryid, h.datname, h.observations FROM infra_monitor.wait_samples_hourly h
			WHERE g.grain = 'hour' AND h.begins_at >= g.from_at AND h.begins_at < g.until_at
				AND h.wait_event_type = 'Lock' OFFSET 0)
			UNION ALL
			(SELECT d.queryid, d.datname, d.observations FROM infra_monitor.wait_samples_daily d
			WHERE g.grain = 'day' AND d.begins_at >= g.from_at AND d.begins_at < g.until_at
				AND d.wait_event_type = 'Lock' OFFSET 0)
		) p
	GROUP BY p.queryid, p.datname
), statements AS MATERIALIZED (
	SELECT s.*, (s.shared_blks_hit + s.shared_blks_read)::float8 AS blocks
	FROM infra_monitor.stored_statements($1, $2, $3) s
	WHERE s.queryid IS NOT NULL
), calls_of_all AS (
	-- waits do not know the role
	SELECT s.queryid, s.datname, sum(s.calls + s.failures) AS executions
	FROM statements s
	GROUP BY s.queryid, s.datname
)
SELECT s.queryid, s.datname, s.usename, s.dbid, s.calls, s.exec_time,
	infra_monitor.quantile(s.latency, 0.95), s.latency,
	s.failures::float8 / nullif(s.calls + s.failures, 0), s.rows::float8 / nullif(s.known_calls, 0),
	s.blocks / nullif(s.known_calls, 0), s.temp_blks_written::float8 / nullif(s.known_calls, 0),
	coalesce(w.observations, 0) / nullif(a.executions, 0)
FROM statements s
	JOIN calls_of_all a ON a.queryid = s.queryid AND a.datname IS NOT DISTINCT FROM s.datname
	LEFT JOIN lock_waits w ON w.queryid = s.queryid AND w.datname = s.datname
$$;
COMMENT ON FUNCTION infra_monitor.statements_between(timestamptz, timestamptz, interval) IS
'source of query_regressions(): each statement with a row in statement_samples, or in its rollups, from since until before until; the rates are per execution, NULL if not known; for pg_monitor';

CREATE FUNCTION infra_monitor.query_regressions(
	baseline_since timestamptz, baseline_until timestamptz,
	recent_since timestamptz, recent_until timestamptz,
	min_calls int DEFAULT 20, factor float8 DEFAULT 1.5,
	OUT queryid bigint, OUT datname text, OUT usename text, OUT calls bigint,
	OUT baseline_p95_time float8, OUT recent_p95_time float8,
	OUT ratio float8, OUT extra_time float8, OUT cause text, OUT query text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
WITH steps AS MATERIALIZED (
	SELECT infra_monitor.span_step($1, $2) AS baseline, infra_monitor.span_step($3, $4) AS recent
), grown AS (
	SELECT r.queryid, r.datname, r.usename, r.dbid, r.calls, b.p95_time AS baseline_p95_time,
		r.p95_time AS recent_p95_time, r.p95_time / b.p95_time AS ratio,
		r.exec_time - r.calls * (b.exec_time / b.calls) AS extra_time, c.cause
	FROM steps
		CROSS JOIN LATERAL infra_monitor.statements_between($1, $2, steps.baseline) b
		JOIN LATERAL infra_monitor.statements_between($3, $4, steps.recent) r
			ON r.queryid = b.queryid AND r.datname IS NOT DISTINCT FROM b.datname
				AND r.usename IS NOT DISTINCT FROM b.usename
		CROSS JOIN LATERAL (
			SELECT string_agg(m.name, ', ' ORDER BY m.recent / nullif(m.baseline, 0) DESC NULLS FIRST, m.name) AS cause
			FROM (VALUES
				('rows per call', b.rows_rate, r.rows_rate, 1::float8),
				('blocks per call', b.blocks_rate, r.blocks_rate, 1),
				('temporary blocks per call', b.temp_rate, r.temp_rate, 1),
				('failures', b.failure_rate, r.failure_rate, 0.01),
				('lock waits', b.lock_wait_rate, r.lock_wait_rate, 0)
			) AS m (name, baseline, recent, least)
			WHERE m.recent > m.baseline * $6 AND m.recent - m.baseline >= m.least
		) c
	WHERE b.calls >= greatest($5, 1) AND r.calls >= greatest($5, 1) AND r.p95_time >= b.p95_time * $6
		-- chance: of n calls, the share that is faster than the true p95 is 0.95, give or take three standard deviations
		AND infra_monitor.quantile(r.latency, greatest(0.95 - 3 * sqrt(0.0475 / r.calls), 0))
			> infra_monitor.quantile(b.latency, least(0.95 + 3 * sqrt(0.0475 / b.calls), 1))
)
SELECT g.queryid, g.datname, g.usename, g.calls, g.baseline_p95_time, g.recent_p95_time, g.ratio, g.extra_time,
	g.cause, infra_monitor.statement_text(g.queryid, g.dbid)
FROM grown g
WHERE g.extra_time >= greatest(10, 0.001 * (
	SELECT sum(s.exec_time) FROM steps, infra_monitor.stored_statements($3, $4, steps.recent) s))
ORDER BY g.extra_time DESC
$$;
COMMENT ON FUNCTION infra_monitor.query_regressions(timestamptz, timestamptz, timestamptz, timestamptz, int, float8) IS
'statements with min_calls in both spans, as stored in statement_samples, of which p95 is greater by the factor in the recent one, certainly more than by chance (each p95 is known to three standard deviations), and that matters: extra_time is 10 ms and a thousandth of the time of all statements at least; calls: in the recent span; extra_time: what these took beyond the mean of the baseline, ms, the most first; cause: what else is greater by that factor per call, the most first, of rows per call, blocks per call, temporary blocks per call, failures and lock waits, NULL if nothing that is measured; query NULL if its text was never to be had; read as by top_statements(); error for a span that makes no sense, and one of which nothing is kept; for pg_monitor';

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

--
-- compare.sql: two spans of history, side by side
--

-- What a span was like.  A rate is that of the time since the sample before, of
-- samples that know what has been counted since.
CREATE FUNCTION infra_monitor.pool_measures(
	since timestamptz, until timestamptz,
	OUT place int, OUT metric text, OUT value float8, OUT unit text)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 25
SET search_path = pg_catalog, pg_temp
AS $$
WITH parts AS (
	SELECT p.*
	FROM infra_monitor.history_grains('samples', $1, $2, '1 day') g
		CROSS JOIN LATERAL (
			(SELECT 1 AS samples, CASE WHEN s.connects IS NOT NULL THEN s.elapsed_time END / 1000 AS seconds,
				s.used_connections::float8 AS used, s.used_connections AS used_max, s.waiting AS waiting_max,
				s.idle_in_transaction AS idle_in_transaction_max, coalesce(s.avg_active, s.active) AS active,
				s.cpu_ratio, s.memory_used::float8 AS memory, s.health_score, s.connects, s.rejected, s.commits, s.rollbacks,
				s.blks_hit, s.blks_read, s.temp_bytes, s.deadlocks, s.wal_bytes, s.latency
			FROM infra_monitor.samples s
			WHERE g.grain = 'sample' AND s.sampled_at >= g.from_at AND s.sampled_at < g.until_at OFFSET 0)
			UNION ALL
			SELECT r.samples, r.elapsed_time / 1000, r.used_connections_avg, r.used_connections_max, r.waiting_max,
				r.idle_in_transaction_max, r.avg_active_avg,
				r.cpu_ratio_avg, r.memory_used_avg, r.health_score_avg, r.connects, r.rejected, r.commits, r.rollbacks,
				r.blks_hit, r.blks_read, r.temp_bytes, r.deadlocks, r.wal_bytes, r.latency
			FROM (
				(SELECT * FROM infra_monitor.samples_hourly h
				WHERE g.grain = 'hour' AND h.begins_at >= g.from_at AND h.begins_at < g.until_at OFFSET 0)
				UNION ALL
				(SELECT * FROM infra_monitor.samples_daily d
				WHERE g.grain = 'day' AND d.begins_at >= g.from_at AND d.begins_at < g.until_at OFFSET 0)
			) r
		) p
), sums AS (
	SELECT infra_monitor.sum(p.latency) AS latency,
		infra_monitor.observations(infra_monitor.sum(p.latency) FILTER (WHERE p.seconds > 0)) / sum(p.seconds) FILTER (WHERE p.latency IS NOT NULL) AS calls,
		sum(p.commits) FILTER (WHERE p.seconds > 0) / sum(p.seconds) FILTER (WHERE p.commits IS NOT NULL) AS commits,
		sum(p.rollbacks) FILTER (WHERE p.seconds > 0) / sum(p.seconds) FILTER (WHERE p.rollbacks IS NOT NULL) AS rollbacks,
		sum(p.deadlocks) FILTER (WHERE p.seconds > 0) / sum(p.seconds) FILTER (WHERE p.deadlocks IS NOT NULL) * 3600 AS deadlocks,
		sum(p.blks_read) FILTER (WHERE p.seconds > 0) / sum(p.seconds) FILTER (WHERE p.blks_read IS NOT NULL) AS blks_read,
		sum(p.blks_hit)::float8 / nullif(sum(p.blks_hit + p.blks_read), 0) AS hit_ratio,
		sum(p.temp_bytes) FILTER (WHERE p.seconds > 0) / sum(p.seconds) FILTER (WHERE p.temp_bytes IS NOT NULL) AS temp_bytes,
		sum(p.wal_bytes) FILTER (WHERE p.seconds > 0) / sum(p.seconds) FILTER (WHERE p.wal_bytes IS NOT NULL) AS wal_bytes,
		sum(p.connects) FILTER (WHERE p.seconds > 0) / sum(p.seconds) FILTER (WHERE p.connects IS NOT NULL) AS connects,
		sum(p.rejected) FILTER (WHERE p.seconds > 0) / sum(p.seconds) FILTER (WHERE p.rejected IS NOT NULL) AS rejected,
		sum(p.used * p.samples) / sum(p.samples) AS used, max(p.used_max) AS used_max, max(p.waiting_max) AS waiting_max,
		max(p.idle_in_transaction_max) AS idle_in_transaction_max, sum(p.active * p.samples) / sum(p.samples) AS active,
		sum(p.cpu_ratio * p.samples) / sum(p.samples) FILTER (WHERE p.cpu_ratio IS NOT NULL) AS cpu,
		sum(p.memory * p.samples) / sum(p.samples) FILTER (WHERE p.memory IS NOT NULL) AS memory,
		sum(p.health_score * p.samples) / sum(p.samples) FILTER (WHERE p.health_score IS NOT NULL) AS score
	FROM parts p
)
SELECT m.* FROM sums s CROSS JOIN LATERAL (VALUES
	(1, 'calls_per_second', s.calls::float8, '1/s'),
	(2, 'p50_time', infra_monitor.quantile(s.latency, 0.50), 'ms'),
	(3, 'p95_time', infra_monitor.quantile(s.latency, 0.95), 'ms'),
	(4, 'p99_time', infra_monitor.quantile(s.latency, 0.99), 'ms'),
	(7, 'commits_per_second', s.commits, '1/s'),
	(8, 'rollbacks_per_second', s.rollbacks, '1/s'),
	(9, 'deadlocks_per_hour', s.deadlocks, '1/h'),
	(10, 'blks_read_per_second', s.blks_read, '1/s'),
	(11, 'hit_ratio', s.hit_ratio, 'ratio'),
	(12, 'temp_bytes_per_second', s.temp_bytes, 'bytes/s'),
	(13, 'wal_bytes_per_second', s.wal_bytes, 'bytes/s'),
	(14, 'used_avg', s.used, 'connections'),
	(15, 'used_max', s.used_max, 'connections'),
	(16, 'waiting_max', s.waiting_max, 'connections'),
	(17, 'idle_in_transaction_max', s.idle_in_transaction_max, 'connections'),
	(18, 'connects_per_second', s.connects, '1/s'),
	(19, 'rejected_per_second', s.rejected, '1/s'),
	(20, 'active_avg', s.active, 'sessions'),
	(21, 'cpu_ratio', s.cpu, 'ratio'),
	(22, 'memory_used', s.memory, 'bytes'),
	(23, 'health_score', s.score, 'score')
) AS m (place, metric, value, unit)
$$;
COMMENT ON FUNCTION infra_monitor.pool_measures(timestamptz, timestamptz) IS
'source of compare(): what samples and their rollups say of a span; for pg_monitor';

CREATE FUNCTION infra_monitor.wait_measures(
	since timestamptz, until timestamptz,
	OUT place int, OUT metric text, OUT value float8, OUT unit text)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
WITH seen AS MATERIALIZED (
	SELECT * FROM infra_monitor.stored_waits($1, $2, '1 day')
), looks AS (
	-- each row of a writing has all its looks
	SELECT sum(l.looks) AS looks
	FROM (SELECT max(s.looks) AS looks FROM seen s GROUP BY s.at, s.coarseness) l
)
SELECT 30, 'active_avg ' || s.wait_event_type, sum(s.observations)::float8 / nullif(max(l.looks), 0)::float8, 'sessions'
FROM seen s CROSS JOIN looks l
WHERE s.wait_event_type IS NOT NULL
GROUP BY s.wait_event_type
$$;
COMMENT ON FUNCTION infra_monitor.wait_measures(timestamptz, timestamptz) IS
'source of compare(): what wait_samples and their rollups say of a span, a row for each class that was seen; for pg_monitor';

-- the seconds that samples of statements are about
CREATE FUNCTION infra_monitor.statement_seconds(
	since timestamptz, until timestamptz)
RETURNS float8
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT sum(p.seconds)
FROM infra_monitor.history_grains('statement_samples', $1, $2, '1 day') g
	CROSS JOIN LATERAL (
		-- each sample has one row for all others; two hours more: the sample before the first one
		(SELECT sum(extract(epoch FROM o.at - greatest(o.before, e.began_at)) ) FILTER (WHERE o.at >= g.from_at)::float8 AS seconds
		FROM (
			SELECT s.sampled_at AS at, s.epoch, lag(s.sampled_at) OVER (ORDER BY s.sampled_at) AS before
			FROM infra_monitor.statement_samples s
			WHERE g.grain = 'sample' AND s.sampled_at >= g.from_at - interval '2 hours' AND s.sampled_at < g.until_at
				AND s.userid IS NULL
		) o
			-- a start or a reset since that one
			LEFT JOIN LATERAL (
				SELECT greatest(x.initialized_at, x.statements_reset) AS began_at
				FROM infra_monitor.epochs x WHERE x.epoch = o.epoch LIMIT 1) e ON true
		WHERE o.before IS NOT NULL OFFSET 0)
		UNION ALL
		(SELECT sum(r.elapsed_time) / 1000
		FROM infra_monitor.samples_hourly r
		WHERE g.grain = 'hour' AND r.begins_at >= g.from_at AND r.begins_at < g.until_at
			AND EXISTS (SELECT FROM infra_monitor.statement_samples_hourly h WHERE h.begins_at = r.begins_at) OFFSET 0)
		UNION ALL
		(SELECT sum(r.elapsed_time) / 1000
		FROM infra_monitor.samples_daily r
		WHERE g.grain = 'day' AND r.begins_at >= g.from_at AND r.begins_at < g.until_at
			AND EXISTS (SELECT FROM infra_monitor.statement_samples_daily d WHERE d.begins_at = r.begins_at) OFFSET 0)
	) p
$$;
COMMENT ON FUNCTION infra_monitor.statement_seconds(timestamptz, timestamptz) IS
'source of compare(): of how many seconds of a span statement_samples and their rollups tell, NULL if of none; for pg_monitor';

CREATE FUNCTION infra_monitor.statement_measures(
	since timestamptz, until timestamptz,
	OUT queryid bigint, OUT dbid oid, OUT exec_time float8,
	OUT failures float8, OUT failed_time float8)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 1000
SET search_path = pg_catalog, pg_temp
AS $$
SELECT s.queryid, max(s.dbid), sum(s.exec_time) / t.seconds, sum(s.failures) / t.seconds, sum(s.failed_time) / t.seconds
FROM infra_monitor.stored_statements($1, $2, '1 day') s
	JOIN infra_monitor.statement_seconds($1, $2) t (seconds) ON t.seconds > 0
GROUP BY s.queryid, t.seconds
$$;
COMMENT ON FUNCTION infra_monitor.statement_measures(timestamptz, timestamptz) IS
'source of compare(): what statement_samples and their rollups say of a span, of all roles and databases, each value by second; the row without queryid is all others; for pg_monitor';

CREATE FUNCTION infra_monitor.compare(
	since_1 timestamptz, until_1 timestamptz,
	since_2 timestamptz, until_2 timestamptz,
	OUT metric text, OUT value_1 float8, OUT value_2 float8,
	OUT ratio float8, OUT unit text, OUT queryid bigint, OUT query text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 40
SET search_path = pg_catalog, pg_temp
AS $$
WITH spans AS MATERIALIZED (
	SELECT n, since, until
	FROM (VALUES (1, $1, $2), (2, $3, $4)) AS v (n, since, until)
	WHERE infra_monitor.history_step($1, $2, NULL) IS NOT NULL AND infra_monitor.history_step($3, $4, NULL) IS NOT NULL
), statements AS MATERIALIZED (
	SELECT s.n, m.* FROM spans s CROSS JOIN LATERAL infra_monitor.statement_measures(s.since, s.until) m
), measures AS (
	SELECT s.n, m.*
	FROM spans s CROSS JOIN LATERAL infra_monitor.pool_measures(s.since, s.until) m
	UNION ALL
	SELECT s.n, m.*
	FROM spans s CROSS JOIN LATERAL infra_monitor.wait_measures(s.since, s.until) m
	UNION ALL
	SELECT s.n, f.*
	FROM (SELECT s.n, sum(t.failures) AS failures, sum(t.failed_time) AS failed_time
			FROM spans s LEFT JOIN statements t ON t.n = s.n GROUP BY s.n) s
		CROSS JOIN LATERAL (VALUES
			(5, 'failures_per_second', s.failures, '1/s'),
			(6, 'failed_time_per_second', s.failed_time, 'ms/s')) AS f (place, metric, value, unit)
), paired AS (
	SELECT m.place, m.metric, m.unit, max(m.value) FILTER (WHERE m.n = 1) AS value_1,
		max(m.value) FILTER (WHERE m.n = 2) AS value_2
	FROM measures m
	GROUP BY m.place, m.metric, m.unit
), changes AS MATERIALIZED (
	SELECT 50 + row_number() OVER (ORDER BY abs(c.value_2 - c.value_1) DESC, c.queryid)::int AS place, c.*
	FROM (
		SELECT t.queryid, max(t.dbid) AS dbid, coalesce(sum(t.exec_time) FILTER (WHERE t.n = 1), 0) AS value_1,
			coalesce(sum(t.exec_time) FILTER (WHERE t.n = 2), 0) AS value_2
		FROM statements t
		WHERE t.queryid IS NOT NULL
		GROUP BY t.queryid
	) c
	-- without one of the spans, nothing has changed
	WHERE c.value_1 <> c.value_2 AND (SELECT count(DISTINCT t.n) FROM statements t) = 2
	ORDER BY 1 LIMIT 10
), listed AS (
	-- a class of waits that one span has not seen was not waited for there, if anything was
	SELECT p.place, p.metric, p.unit, NULL::bigint AS queryid, NULL::text AS query,
		CASE WHEN p.place = 30 AND count(p.value_1) OVER (PARTITION BY p.place) > 0 THEN coalesce(p.value_1, 0) ELSE p.value_1 END AS value_1,
		CASE WHEN p.place = 30 AND count(p.value_2) OVER (PARTITION BY p.place) > 0 THEN coalesce(p.value_2, 0) ELSE p.value_2 END AS value_2
	FROM paired p
	UNION ALL
	SELECT c.place, 'statement_time_per_second', 'ms/s', c.queryid, infra_monitor.statement_text(c.queryid, c.dbid),
		c.value_1, c.value_2
	FROM changes c
)
SELECT l.metric, l.value_1, l.value_2, l.value_2 / nullif(l.value_1, 0), l.unit, l.queryid, l.query
FROM listed l
ORDER BY l.place, l.metric
$$;
COMMENT ON FUNCTION infra_monitor.compare(timestamptz, timestamptz, timestamptz, timestamptz) IS
'two spans of history side by side, each from since until before until: throughput, percentiles of all statements, failures, waits by class, the pool, and the ten statements of which the time has changed most (statement_time_per_second, with queryid and query); a value is NULL if the span does not tell, rates are of the time between two samples of one epoch; ratio: value_2 / value_1, NULL if that is 0 or not known; query NULL if its text was never to be had; error for a span that makes no sense; for pg_monitor';

--
-- history_storage.sql: what each table of the history takes
--

CREATE FUNCTION infra_monitor.history_span(partition oid, OUT first timestamptz, OUT last timestamptz)
RETURNS record
LANGUAGE c VOLATILE STRICT
AS 'MODULE_PATHNAME', 'imon_history_span_1_0';
COMMENT ON FUNCTION infra_monitor.history_span(oid) IS
'times of the first and of the last row of a partition of the history, by its first and last pages; NULL without rows, and for everything else; for pg_monitor';

-- the rows of history_storage
CREATE FUNCTION infra_monitor.history_storage_rows(
	OUT history text, OUT partitions int, OUT estimated_rows bigint, OUT bytes bigint,
	OUT oldest timestamptz, OUT newest timestamptz, OUT kept interval, OUT next_removal timestamptz,
	OUT bytes_per_day bigint, OUT forecast_bytes bigint)
RETURNS SETOF record
LANGUAGE sql VOLATILE ROWS 10
SET search_path = pg_catalog, pg_temp
-- days are those by UTC
SET TimeZone = 'UTC'
AS $$
WITH parts AS MATERIALIZED (
	SELECT p.history, p.bytes, p.has_rows, c.reltuples, c.relpages, pg_relation_size(c.oid) AS heap,
		u.unit, u.from_at, s.first, s.last
	FROM infra_monitor.history_partitions() p
		JOIN pg_namespace n ON n.nspname = 'infra_monitor'
		JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.name
		CROSS JOIN LATERAL (SELECT substring(p.name FROM '_([0-9]{6}|[0-9]{8})$')) d (digits)
		CROSS JOIN LATERAL (SELECT
			CASE length(d.digits) WHEN 8 THEN interval '1 day' WHEN 6 THEN interval '1 month' END AS unit,
			to_timestamp(d.digits, CASE length(d.digits) WHEN 8 THEN 'YYYYMMDD' ELSE 'YYYYMM' END) AS from_at) u
		CROSS JOIN LATERAL infra_monitor.history_span(c.oid) s
), began AS (
	SELECT min(first) AS at FROM parts
), kinds AS MATERIALIZED (
	-- what the rates are of: this day and the one before, or month
	SELECT k.unit, k.kept,
		greatest(date_trunc(k.name, now()) - k.unit, b.at) AS since,
		extract(epoch FROM now() - greatest(date_trunc(k.name, now()) - k.unit, b.at))::float8 / 86400 AS days
	FROM began b, (VALUES
		('day', interval '1 day', current_setting('infra_monitor.retention', true)::interval),
		('month', interval '1 month', current_setting('infra_monitor.rollup_retention', true)::interval)) k (name, unit, kept)
), tables AS (
	SELECT p.history, count(*)::int AS partitions, sum(p.bytes)::bigint AS bytes,
		CASE WHEN sum(p.heap) = 0 THEN 0
			ELSE sum(p.heap) / current_setting('block_size')::int
				* sum(p.reltuples::float8) FILTER (WHERE p.relpages > 0 AND p.reltuples >= 0)
				/ sum(p.relpages) FILTER (WHERE p.relpages > 0 AND p.reltuples >= 0) END::bigint AS estimated_rows,
		min(p.first) AS oldest, max(p.last) AS newest, max(p.unit) AS unit,
		min(p.from_at + p.unit) AS oldest_ends,
		CASE WHEN max(k.days) >= 1 / 24.0 THEN
			coalesce(sum(p.bytes) FILTER (WHERE p.has_rows AND p.from_at + p.unit > k.since), 0)
				/ max(k.days) END::bigint AS bytes_per_day,
		max(k.kept) AS kept
	FROM parts p LEFT JOIN kinds k ON k.unit = p.unit
	GROUP BY p.history
)
SELECT t.history, t.partitions, t.estimated_rows, t.bytes, t.oldest, t.newest, t.kept, t.oldest_ends + t.kept,
	t.bytes_per_day, (t.bytes_per_day * extract(epoch FROM t.kept + t.unit)::float8 / 86400)::bigint
FROM tables t
ORDER BY t.history
$$;
COMMENT ON FUNCTION infra_monitor.history_storage_rows() IS 'source of the view history_storage; for pg_monitor';

CREATE VIEW infra_monitor.history_storage AS
SELECT * FROM infra_monitor.history_storage_rows();
COMMENT ON VIEW infra_monitor.history_storage IS
'one row for each table of the history in this database: what it takes, and what it will; for pg_monitor';
COMMENT ON COLUMN infra_monitor.history_storage.partitions IS 'partitions, those for days to come included';
COMMENT ON COLUMN infra_monitor.history_storage.estimated_rows IS 'by the last VACUUM or ANALYZE of any of them, for the size as it is now; NULL: there was none';
COMMENT ON COLUMN infra_monitor.history_storage.bytes IS 'size with indexes, bytes';
COMMENT ON COLUMN infra_monitor.history_storage.oldest IS 'time of the first row; NULL: there is none';
COMMENT ON COLUMN infra_monitor.history_storage.newest IS 'time of the last row';
COMMENT ON COLUMN infra_monitor.history_storage.kept IS 'for how long rows are kept: infra_monitor.retention, or that of rollups; a partition is removed when all of it is older';
COMMENT ON COLUMN infra_monitor.history_storage.next_removal IS 'when its oldest partition will be; infra_monitor.max_storage may remove it before';
COMMENT ON COLUMN infra_monitor.history_storage.bytes_per_day IS 'what it grows by, bytes a day, on average of this day and the one before by UTC, of this month and the one before for rollups, or of less if the history is younger; NULL until that is an hour';
COMMENT ON COLUMN infra_monitor.history_storage.forecast_bytes IS 'its size when the first partitions are removed, at that rate, bytes';

CREATE FUNCTION infra_monitor.history_forecast(OUT bytes bigint, OUT bytes_per_day bigint, OUT full_at timestamptz)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT f.forecast, f.per_day,
	-- at this size the oldest day gives way
	CASE WHEN f.forecast > 0.95 * l.max_bytes THEN
		now() + make_interval(secs => greatest(0.95 * l.max_bytes - f.bytes, 0)::float8 / f.per_day * 86400) END
FROM (SELECT sum(t.forecast_bytes)::bigint AS forecast, sum(t.bytes_per_day)::bigint AS per_day, sum(t.bytes)::bigint AS bytes
		FROM infra_monitor.history_storage t) f,
	infra_monitor.history_limit(0) l
$$;
COMMENT ON FUNCTION infra_monitor.history_forecast() IS
'what the history grows to with retention as it is, and a day, at the rates of history_storage, bytes; and when it has reached the size at which infra_monitor.max_storage removes the oldest days before their time, NULL if it never does; error unless preloaded; for pg_monitor';

--
-- sampler.sql: the background worker
--

CREATE FUNCTION infra_monitor.sampler_state(
	OUT pid int, OUT state text, OUT last_tick timestamptz,
	OUT next_tick timestamptz, OUT ticks bigint, OUT missed bigint,
	OUT last_error text, OUT last_error_at timestamptz,
	OUT rows_stored bigint, OUT next_partition_work timestamptz)
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

CREATE FUNCTION infra_monitor.baseline_size()
RETURNS bigint
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_baseline_size_1_0';
COMMENT ON FUNCTION infra_monitor.baseline_size() IS
'dynamic shared memory that the sampler keeps, bytes; error unless preloaded; for pg_monitor';

CREATE VIEW infra_monitor.sampler_status AS
SELECT s.pid, s.state, s.last_tick, s.next_tick, s.ticks, s.missed,
	s.last_error, s.last_error_at, s.rows_stored,
	infra_monitor.history_bytes() AS bytes_stored,
	(SELECT pg_catalog.jsonb_object_agg(m.part, m.bytes) FROM infra_monitor.shared_memory() m) AS shared_memory,
	(SELECT pg_catalog.jsonb_object_agg(d.reason, d.drops) FROM infra_monitor.sampler_drops() d) AS drops,
	(SELECT pg_catalog.jsonb_object_agg(c.task OPERATOR(pg_catalog.||) '_seconds', c.seconds) FROM infra_monitor.sampler_costs() c) AS cost,
	infra_monitor.baseline_size() AS dynamic_memory,
	s.next_partition_work,
	f.bytes AS forecast_bytes,
	f.full_at AS storage_full_at
FROM infra_monitor.sampler_state() s CROSS JOIN infra_monitor.history_forecast() f;
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
COMMENT ON COLUMN infra_monitor.sampler_status.shared_memory IS 'bytes by part, fixed at server start';
COMMENT ON COLUMN infra_monitor.sampler_status.drops IS 'what was lost since the server started, wait_ and concurrency_ since the last reset(), by what it was part of: the details only, of what is also counted';
COMMENT ON COLUMN infra_monitor.sampler_status.cost IS 'time spent on each task since the server started, seconds';
COMMENT ON COLUMN infra_monitor.sampler_status.dynamic_memory IS 'bytes of dynamic shared memory: what statements had counted at the last sample';
COMMENT ON COLUMN infra_monitor.sampler_status.next_partition_work IS 'when partitions are looked after next: made ahead of time, removed when they have expired; NULL on a standby';
COMMENT ON COLUMN infra_monitor.sampler_status.forecast_bytes IS 'size that the history grows to with retention as it is, at the rate of the last two days, bytes; see history_storage; NULL: not known yet';
COMMENT ON COLUMN infra_monitor.sampler_status.storage_full_at IS 'when it will be so large, at that rate, that infra_monitor.max_storage removes the oldest days before their time; NULL: not by what is known';

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
-- readiness.sql: the audit that is done by hand before a launch
--
-- Facts are collected by functions fact_<name>(), which are listed in
-- readiness.c.  Those that the caller may not read are missing.  What follows
-- from the facts is decided by functions readiness_<area>(), of nothing but
-- them.  They say for each item whether it fails and whether it warns, in the
-- three-valued logic of SQL: what is NULL is unknown, and never passes.
--
-- To add an item, add a row to readiness_items(), one to the function of its
-- area, and a case in sql/readiness.sql in which it fails or warns.
--

CREATE FUNCTION infra_monitor.readiness_items(
	OUT area text, OUT item text, OUT recommended text, OUT why text)
RETURNS SETOF record
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 60
SET search_path = pg_catalog, pg_temp
AS $$
VALUES
	('connections', 'max_connections', 'what fits into memory',
	 'When all connections work at once and need more memory than there is, the kernel kills a server process, and all sessions are lost with it.'),
	('connections', 'superuser_reserved_connections', '3',
	 'When the pool is full, administrators get in through the reserved slots only.'),
	('connections', 'reserved_connections', '3',
	 'When the pool is full, monitoring and operators who are no superusers get in through these slots only (role pg_use_reserved_connections).'),
	('connections', 'listen_addresses', 'the addresses at which clients connect',
	 'A server that listens at every address is reachable from networks that nobody thought of, and only pg_hba.conf stands in between.'),

	('timeouts', 'statement_timeout', '60s for the roles of applications',
	 'A statement without an end holds its connection, its locks and its snapshot until somebody notices.'),
	('timeouts', 'lock_timeout', '10s for the roles of applications',
	 'Whoever waits for a lock makes others wait behind him, until the pool is full of them.'),
	('timeouts', 'idle_in_transaction_session_timeout', '5min',
	 'A transaction that an application forgot keeps its locks, and keeps vacuum from cleaning up in all tables.'),
	('timeouts', 'idle_session_timeout', '1h',
	 'Sessions that nobody uses any more keep their connections for ever; set it above the maximum idle time of application pools.'),

	('memory', 'shared_buffers', 'a quarter of memory',
	 'With too small a cache the server reads pages again and again that it has just given up; one that is too large leaves nothing for sessions and the system.'),
	('memory', 'effective_cache_size', 'three quarters of memory',
	 'The planner takes it for the size of all caches, and avoids indexes if it is too small.'),
	('memory', 'work_mem', 'a quarter of memory, shared by all connections',
	 'Sorts and hashes that do not fit are written to temporary files; too much of it, times connections, is more than the machine has.'),
	('memory', 'maintenance_work_mem', '1/32 of memory',
	 'Vacuum reads all indexes again for each load of dead rows that fits, and indexes are built from files.'),
	('memory', 'wal_buffers', '-1',
	 'With too few of them sessions write WAL themselves, in the middle of their transactions.'),

	('durability', 'fsync', 'on',
	 'After a crash of the machine the database is corrupt, and nobody knows where.'),
	('durability', 'full_page_writes', 'on',
	 'A page that was half written when the machine crashed stays so; recovery cannot mend it.'),
	('durability', 'synchronous_commit', 'on',
	 'Transactions that were reported as committed are lost in a crash.'),
	('durability', 'data_checksums', 'on: run pg_checksums --enable while the server is stopped',
	 'Pages that the storage has damaged are read as if they were good, and get into all backups.'),

	('checkpoints', 'checkpoint_timeout', '15min',
	 'Each checkpoint makes every page be logged in full once more; very rare ones make recovery take as long.'),
	('checkpoints', 'checkpoint_completion_target', '0.9',
	 'A checkpoint that is written in a hurry takes the disk away from queries.'),
	('checkpoints', 'max_wal_size', '4GB',
	 'With too little, checkpoints come as fast as WAL is written, again and again; too much fills the disk.'),

	('autovacuum', 'autovacuum', 'on',
	 'Tables bloat, statistics go stale, and at last the server refuses to write, to save itself from transaction wraparound.'),
	('autovacuum', 'track_counts', 'on',
	 'Autovacuum does not know which tables have changed, and does nothing.'),
	('autovacuum', 'autovacuum_vacuum_cost_delay', '2ms',
	 'Throttled too much, vacuum falls behind for good on tables that change often.'),

	('logging', 'log destination', 'logging_collector = on, or standard error to a service that keeps it',
	 'What is not written anywhere cannot be read after an incident.'),
	('logging', 'log_min_duration_statement', '1s',
	 'Without slow statements in the log nobody knows afterwards what was slow.'),
	('logging', 'log_lock_waits', 'on',
	 'Without it the log does not say who waited for whom.'),
	('logging', 'log_temp_files', '10MB',
	 'Queries that spill to disk are slow and fill it, and without it nobody knows which ones.'),
	('logging', 'log_checkpoints', 'on',
	 'Without it the log does not say whether a stall was a checkpoint.'),
	('logging', 'log_line_prefix', '%m [%p] %q%u@%d ',
	 'Lines without time, process, user and database cannot be told apart.'),

	('security', 'ssl', 'on, with ssl_cert_file and ssl_key_file',
	 'Passwords, queries and data are readable and can be altered on their way.'),
	('security', 'ssl_min_protocol_version', 'TLSv1.2',
	 'TLS 1.0 and 1.1 are broken, and clients can be made to fall back to them.'),
	('security', 'password_encryption', 'scram-sha-256',
	 'An MD5 hash is as good as the password itself to whoever reads it, and is quick to guess from.'),
	('security', 'MD5 passwords', 'ALTER ROLE ... PASSWORD for each, with password_encryption = scram-sha-256',
	 'An MD5 hash is as good as the password itself to whoever reads it; support for it is about to be removed.'),
	('security', 'roles without password', 'NOLOGIN, or a password',
	 'They get in by whatever else pg_hba.conf accepts, with trust without any proof.'),
	('security', 'superusers', 'none that log in but the first one: ALTER ROLE ... NOSUPERUSER, or VALID UNTIL',
	 'Every superuser who can log in can read and change everything, and run programs on the machine.'),
	('security', 'schema public', 'REVOKE CREATE ON SCHEMA public FROM PUBLIC',
	 'Any user can put functions and tables where the queries of others find them first, and so act with their rights.'),
	('security', 'pg_hba.conf errors', 'no line with an error',
	 'A file with an error is not loaded: changes to it have no effect, and the server does not start again.'),
	('security', 'pg_hba.conf trust', 'scram-sha-256, cert or peer in these lines',
	 'Whoever can connect is believed to be whom he says he is, also a superuser.'),
	('security', 'pg_hba.conf open to the world', 'the networks of clients in these lines',
	 'Anybody anywhere may try passwords.'),
	('security', 'pg_hba.conf without TLS', 'hostssl in these lines',
	 'The line accepts connections from beyond the machine that are not encrypted.'),
	('security', 'pg_hba.conf weak methods', 'scram-sha-256 in these lines',
	 'The password goes over the network in a form that can be read or used again.'),

	('recovery', 'wal_level', 'replica',
	 'With minimal neither backups while the server runs nor standbys are possible.'),
	('recovery', 'archive_mode', 'on',
	 'Without an archive of WAL all since the last backup is lost with the disk, and there is no way back to the moment before a mistake.'),
	('recovery', 'archive_command', 'a command or library that copies WAL to another machine',
	 'Without one WAL is kept until the disk is full, or is not archived.'),
	('recovery', 'last archived', 'see pg_stat_archiver and the server log for the error',
	 'An archive that was never seen to work does not work.'),
	('recovery', 'max_wal_senders', '10',
	 'Each standby and each pg_basebackup needs one or two.'),
	('recovery', 'standbys', 'a standby on another machine',
	 'Without one an outage of the machine lasts as long as the restore of a backup.'),
	('recovery', 'replication slots', 'max_slot_wal_keep_size, and pg_drop_replication_slot() for those that nobody uses',
	 'A slot that nobody reads keeps WAL until the disk is full and the server stops.'),

	('monitoring', 'pg_stat_statements', 'pg_stat_statements in shared_preload_libraries',
	 'Without it nobody knows which statements take the time.'),
	('monitoring', 'pg_stat_statements.track', 'top',
	 'It is loaded but counts nothing.'),
	('monitoring', 'track_io_timing', 'on',
	 'Without it slow queries and slow disks cannot be told apart.'),

	('upkeep', 'major version', 'a supported version',
	 'A version past its end of life gets no fixes any more, not even for security holes.'),
	('upkeep', 'extension updates', 'ALTER EXTENSION ... UPDATE',
	 'Library and SQL objects are of different versions; fixes in the objects are missing.'),
	('upkeep', 'pending restart', 'restart the server',
	 'The configuration is not what the files say, and changes at the next restart, when nobody expects it.'),
	('upkeep', 'configuration files', 'no line with an error, see pg_file_settings',
	 'A file with an error is not loaded, and the server does not start again.')
$$;
COMMENT ON FUNCTION infra_monitor.readiness_items() IS
'the items of production_readiness in order, with what is recommended where that is always the same, and why; for pg_monitor';

--
-- Helpers
--

CREATE FUNCTION infra_monitor.setting_number(value text, unit text)
RETURNS float8
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_setting_number_1_0';
COMMENT ON FUNCTION infra_monitor.setting_number(text, text) IS
'value of a setting, in its unit as in pg_settings or with one of its own, as bytes or ms; negative ones and those without unit as they are; NULL: not a number; for pg_monitor';

CREATE FUNCTION infra_monitor.machine_size(
	OUT memory bigint, OUT wal_disk bigint, OUT standard_error text)
RETURNS record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_machine_size_1_0';
COMMENT ON FUNCTION infra_monitor.machine_size() IS
'memory that the server may use, that of the machine or of its control group, and size of the file system of WAL, in bytes, NULL is not known; and where its standard error goes: /dev/null, terminal, file or pipe, closed; for pg_monitor';

CREATE FUNCTION infra_monitor.hba_reach(type text, address text, netmask text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE
	WHEN $1 = 'local' OR $2 IN ('samehost', 'localhost') THEN 'machine'
	WHEN $2 = 'all' OR $3 IN ('0.0.0.0', '::') THEN 'world'
	WHEN $2 LIKE '127.%' AND $3 LIKE '255.%' THEN 'machine'
	WHEN $2 = '::1' AND $3 = 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff' THEN 'machine'
	ELSE 'network'
END
$$;
COMMENT ON FUNCTION infra_monitor.hba_reach(text, text, text) IS
'from where a line of pg_hba_file_rules lets connections come: machine, network or world; for pg_monitor';

CREATE FUNCTION infra_monitor.listed(names jsonb)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(string_agg(n.name, ', ' ORDER BY n.place) FILTER (WHERE n.place <= 5), 'none')
	|| CASE WHEN count(*) > 5 THEN format(' and %s more', count(*) - 5) ELSE '' END
FROM jsonb_array_elements_text($1) WITH ORDINALITY AS n (name, place)
$$;
COMMENT ON FUNCTION infra_monitor.listed(jsonb) IS
'the first five of a list of names, and how many more there are; for pg_monitor';

CREATE FUNCTION infra_monitor.counted(names jsonb)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE n WHEN 0 THEN 'none' WHEN 1 THEN '1 role' ELSE n || ' roles' END FROM jsonb_array_length($1) n $$;
COMMENT ON FUNCTION infra_monitor.counted(jsonb) IS
'how many roles a list has; for pg_monitor';

CREATE FUNCTION infra_monitor.clamped(value float8, lowest float8, highest float8)
RETURNS float8
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT greatest($2, least($3, $1)) $$;
COMMENT ON FUNCTION infra_monitor.clamped(float8, float8, float8) IS
'the value, or the limit that it is beyond of; NULL if it is; for pg_monitor';

CREATE FUNCTION infra_monitor.shown_size(bytes float8)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE WHEN $1 < 0 THEN $1::text ELSE pg_size_pretty($1::bigint) END $$;
COMMENT ON FUNCTION infra_monitor.shown_size(float8) IS
'bytes for humans; negative numbers as they are; for pg_monitor';

CREATE FUNCTION infra_monitor.size_setting(bytes float8)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT floor($1 / 1048576)::bigint || 'MB' $$;
COMMENT ON FUNCTION infra_monitor.size_setting(float8) IS
'bytes as the value of a setting; for pg_monitor';

CREATE FUNCTION infra_monitor.shown_time(ms float8)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE
	WHEN $1 < 0 THEN 'off'
	WHEN $1 = 0 THEN '0'
	WHEN $1::numeric % 3600000 = 0 THEN $1 / 3600000 || 'h'
	WHEN $1::numeric % 60000 = 0 THEN $1 / 60000 || 'min'
	WHEN $1::numeric % 1000 = 0 THEN $1 / 1000 || 's'
	ELSE $1 || 'ms'
END
$$;
COMMENT ON FUNCTION infra_monitor.shown_time(float8) IS
'duration for humans; for pg_monitor';

--
-- Facts
--

CREATE FUNCTION infra_monitor.readiness_settings()
RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT ARRAY['max_connections', 'superuser_reserved_connections', 'reserved_connections', 'listen_addresses',
	'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout',
	'shared_buffers', 'effective_cache_size', 'work_mem', 'hash_mem_multiplier', 'maintenance_work_mem',
	'autovacuum_work_mem', 'autovacuum_max_workers', 'wal_buffers', 'wal_segment_size',
	'fsync', 'full_page_writes', 'synchronous_commit', 'data_checksums',
	'checkpoint_timeout', 'checkpoint_completion_target', 'max_wal_size',
	'autovacuum', 'track_counts', 'autovacuum_vacuum_cost_delay', 'autovacuum_vacuum_cost_limit',
	'vacuum_cost_delay', 'vacuum_cost_limit',
	'logging_collector', 'log_destination', 'log_min_duration_statement', 'log_min_duration_sample',
	'auto_explain.log_min_duration', 'log_lock_waits', 'log_temp_files', 'log_checkpoints', 'log_line_prefix',
	'ssl', 'ssl_min_protocol_version', 'password_encryption',
	'wal_level', 'archive_mode', 'archive_command', 'archive_library', 'max_wal_senders', 'max_slot_wal_keep_size',
	'pg_stat_statements.track', 'track_io_timing']
$$;
COMMENT ON FUNCTION infra_monitor.readiness_settings() IS
'the settings that production_readiness looks at; for pg_monitor';

CREATE FUNCTION infra_monitor.setting_fact(name text, value text, unit text, vartype text)
RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE
	-- what a command says is nobody's business, it may hold a password
	WHEN $1 = 'archive_command' THEN to_jsonb($2 NOT IN ('', '(disabled)'))
	WHEN $1 = 'archive_library' THEN to_jsonb($2 <> '')
	WHEN $4 IN ('integer', 'real') THEN to_jsonb(infra_monitor.setting_number($2, $3))
	WHEN $4 = 'bool' THEN to_jsonb($2::boolean)
	WHEN $4 = 'enum' THEN to_jsonb(lower($2))
	ELSE to_jsonb($2)
END
$$;
COMMENT ON FUNCTION infra_monitor.setting_fact(text, text, text, text) IS
'value of a setting as a fact: bytes, ms, number, boolean or text; for pg_monitor';

CREATE FUNCTION infra_monitor.fact_settings()
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(jsonb_object_agg(s.name, infra_monitor.setting_fact(s.name, s.setting, s.unit, s.vartype)), '{}')
FROM pg_settings s
WHERE s.name = ANY (infra_monitor.readiness_settings())
	-- not what this session, its role or its database have of their own
	AND (s.context IN ('internal', 'postmaster', 'sighup')
		OR s.source IN ('default', 'environment variable', 'configuration file', 'command line'))
$$;
COMMENT ON FUNCTION infra_monitor.fact_settings() IS
'fact: settings of the server; without those that this session has of its own, for then the server''s cannot be seen; for pg_monitor';

CREATE FUNCTION infra_monitor.fact_pending()
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(jsonb_agg(name ORDER BY name) FILTER (WHERE pending_restart), '[]') FROM pg_settings
$$;
COMMENT ON FUNCTION infra_monitor.fact_pending() IS
'fact: settings that wait for a restart; for pg_monitor';

-- Beside errors, this tells what fact_settings() cannot: the sampler has some
-- settings of its own, and so may any session.  Arguments of the server's
-- command line are not in files and are not seen for those.
CREATE FUNCTION infra_monitor.fact_files()
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
WITH files AS MATERIALIZED (
	SELECT lower(name) AS name, setting, error, applied, seqno FROM pg_file_settings
), settings AS MATERIALIZED (
	SELECT name, boot_val, unit, vartype, context, pending_restart FROM pg_settings
)
SELECT jsonb_build_object(
	'errors', (SELECT count(*) FROM files f LEFT JOIN settings s ON s.name = f.name
		WHERE f.error IS NOT NULL AND s.pending_restart IS NOT TRUE),
	'settings', (SELECT jsonb_object_agg(s.name, infra_monitor.setting_fact(s.name, coalesce(f.setting, s.boot_val), s.unit, s.vartype))
		FROM settings s
			LEFT JOIN LATERAL (SELECT setting FROM files
				WHERE name = s.name AND applied ORDER BY seqno DESC LIMIT 1) f ON true
		WHERE s.name = ANY (infra_monitor.readiness_settings())
			AND s.context NOT IN ('internal', 'postmaster', 'sighup')
			-- none is applied if one of them is wrong
			AND EXISTS (SELECT FROM files WHERE applied)))
$$;
COMMENT ON FUNCTION infra_monitor.fact_files() IS
'fact: errors in the configuration files, and settings as they are there; for superusers, grantable';

CREATE FUNCTION infra_monitor.fact_server()
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT jsonb_build_object('major', current_setting('server_version_num')::int / 10000, 'today', current_date,
	'standby', pg_is_in_recovery(), 'database', infra_monitor.shown(current_database()),
	'pg_stat_statements', infra_monitor.pg_stat_statements_loaded())
$$;
COMMENT ON FUNCTION infra_monitor.fact_server() IS
'fact: version, day, role of the server, and whether pg_stat_statements was preloaded; for pg_monitor';

CREATE FUNCTION infra_monitor.fact_machine()
RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT to_jsonb(m) FROM infra_monitor.machine_size() m $$;
COMMENT ON FUNCTION infra_monitor.fact_machine() IS
'fact: machine_size(); for pg_monitor';

CREATE FUNCTION infra_monitor.fact_hba()
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
WITH lines AS MATERIALIZED (
	SELECT line_number AS line, type, auth_method AS method, error IS NOT NULL AS wrong,
		infra_monitor.hba_reach(type, address, netmask) AS reach
	FROM pg_hba_file_rules
), encrypted AS MATERIALIZED (
	SELECT *, type IN ('hostssl', 'hostgssenc') AS encrypted FROM lines WHERE NOT wrong AND method <> 'reject'
)
SELECT jsonb_build_object(
	'errors', (SELECT coalesce(jsonb_agg(line ORDER BY line), '[]') FROM lines WHERE wrong),
	'trust', coalesce(jsonb_agg(line ORDER BY line) FILTER (WHERE method = 'trust'), '[]'),
	'world', coalesce(jsonb_agg(line ORDER BY line) FILTER (WHERE reach = 'world'), '[]'),
	'plain', coalesce(jsonb_agg(line ORDER BY line) FILTER (WHERE reach <> 'machine' AND NOT encrypted), '[]'),
	'clear', coalesce(jsonb_agg(line ORDER BY line) FILTER (WHERE reach <> 'machine' AND NOT encrypted
		AND method IN ('password', 'ldap', 'pam', 'bsd', 'radius')
		OR reach <> 'machine' AND method = 'ident'), '[]'),
	'md5', coalesce(jsonb_agg(line ORDER BY line) FILTER (WHERE method = 'md5'), '[]'),
	'methods', coalesce(jsonb_agg(DISTINCT method), '[]'))
FROM encrypted
$$;
COMMENT ON FUNCTION infra_monitor.fact_hba() IS
'fact: lines of pg_hba.conf by what may be wrong with them; for superusers, grantable';

CREATE FUNCTION infra_monitor.fact_roles()
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
-- 10 is the role that initdb made: it cannot be taken away
SELECT jsonb_build_object(
	'superusers', coalesce(jsonb_agg(infra_monitor.shown(rolname) ORDER BY rolname), '[]'),
	'for_ever', coalesce(jsonb_agg(infra_monitor.shown(rolname) ORDER BY rolname)
		FILTER (WHERE coalesce(rolvaliduntil, 'infinity') = 'infinity'), '[]'))
FROM pg_roles WHERE rolsuper AND rolcanlogin AND oid <> 10
$$;
COMMENT ON FUNCTION infra_monitor.fact_roles() IS
'fact: superusers that can log in, without the first one, and those of them without VALID UNTIL; for pg_monitor';

CREATE FUNCTION infra_monitor.fact_timeouts()
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
WITH timeouts (name) AS (
	VALUES ('statement_timeout'), ('lock_timeout'), ('idle_in_transaction_session_timeout'), ('idle_session_timeout')
), settings AS MATERIALIZED (
	SELECT d.setdatabase, d.setrole, lower(split_part(c, '=', 1)) AS name,
		infra_monitor.setting_number(substr(c, strpos(c, '=') + 1), 'ms') AS value
	FROM pg_db_role_setting d, unnest(d.setconfig) c
	WHERE d.setdatabase = 0 OR d.setrole = 0
), roles AS MATERIALIZED (
	SELECT oid, infra_monitor.shown(rolname) AS rolname FROM pg_roles
	WHERE rolcanlogin AND NOT rolsuper AND NOT rolreplication
), own AS (
	SELECT t.name, r.rolname, s.value
	FROM timeouts t CROSS JOIN roles r
		LEFT JOIN settings s ON s.name = t.name AND s.setrole = r.oid AND s.setdatabase = 0
), by_name AS (
	SELECT name, count(*) AS roles,
		coalesce(jsonb_agg(rolname ORDER BY rolname) FILTER (WHERE value = 0), '[]') AS off,
		coalesce(jsonb_agg(rolname ORDER BY rolname) FILTER (WHERE value IS NULL), '[]') AS unset
	FROM own GROUP BY name
)
SELECT jsonb_object_agg(t.name, jsonb_build_object(
	'roles', coalesce(b.roles, 0), 'off', coalesce(b.off, '[]'), 'unset', coalesce(b.unset, '[]'),
	'all', (SELECT s.value FROM settings s WHERE s.name = t.name AND s.setrole = 0 AND s.setdatabase = 0),
	'databases', (SELECT bool_and(coalesce(s.value > 0, false))
		FROM pg_database d LEFT JOIN settings s ON s.name = t.name AND s.setdatabase = d.oid
		WHERE d.datallowconn AND NOT d.datistemplate)))
FROM timeouts t LEFT JOIN by_name b ON b.name = t.name
$$;
COMMENT ON FUNCTION infra_monitor.fact_timeouts() IS
'fact: timeouts that were set for roles and databases: how many roles log in that are neither superusers nor for replication, which of them turned it off, which have none of their own; what was set for all roles; is it set in all databases? What is set for a role in one database is left out; for pg_monitor';

CREATE FUNCTION infra_monitor.fact_passwords()
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT jsonb_build_object(
	'md5', coalesce(jsonb_agg(infra_monitor.shown(rolname) ORDER BY rolname) FILTER (WHERE rolpassword LIKE 'md5%'), '[]'),
	'none', coalesce(jsonb_agg(infra_monitor.shown(rolname) ORDER BY rolname)
		FILTER (WHERE rolpassword IS NULL AND rolcanlogin AND oid <> 10), '[]'))
FROM pg_authid
$$;
COMMENT ON FUNCTION infra_monitor.fact_passwords() IS
'fact: roles whose password is stored as MD5, and roles that log in and have none; for superusers, grantable';

CREATE FUNCTION infra_monitor.fact_schema()
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT jsonb_build_object('public_creates', EXISTS (
	SELECT FROM pg_namespace n, aclexplode(n.nspacl) a
	WHERE n.nspname = 'public' AND a.grantee = 0 AND a.privilege_type = 'CREATE'))
$$;
COMMENT ON FUNCTION infra_monitor.fact_schema() IS
'fact: may everybody create objects in schema public of this database? for pg_monitor';

CREATE FUNCTION infra_monitor.fact_archiver()
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT jsonb_build_object('archived', archived_count, 'at', last_archived_time,
	'failing', coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false))
FROM pg_stat_archiver
$$;
COMMENT ON FUNCTION infra_monitor.fact_archiver() IS
'fact: what the archiver did last; for pg_monitor';

CREATE FUNCTION infra_monitor.fact_replication()
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
-- the state is NULL for who may not see it; pg_receivewal replays nothing
SELECT jsonb_build_object(
	'standbys', CASE WHEN count(*) = count(r.state) THEN count(*) FILTER (
		WHERE r.state IN ('streaming', 'catchup') AND r.replay_lsn IS NOT NULL AND s.slot_type IS DISTINCT FROM 'logical') END,
	'receivers', CASE WHEN count(*) = count(r.state) THEN count(*) FILTER (
		WHERE r.state IN ('streaming', 'catchup') AND r.replay_lsn IS NULL AND s.slot_type IS DISTINCT FROM 'logical') END,
	'receiving', CASE WHEN NOT EXISTS (SELECT FROM pg_stat_wal_receiver) THEN false
		ELSE (SELECT w.status = 'streaming' FROM pg_stat_wal_receiver w) END)
FROM pg_stat_replication r LEFT JOIN pg_replication_slots s ON s.active_pid = r.pid
$$;
COMMENT ON FUNCTION infra_monitor.fact_replication() IS
'fact: standbys connected, others that receive WAL, and does this standby receive? for pg_monitor';

CREATE FUNCTION infra_monitor.fact_slots()
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT jsonb_build_object('slots', count(*),
	'inactive', coalesce(jsonb_agg(infra_monitor.shown(slot_name) ORDER BY slot_name)
		FILTER (WHERE NOT active AND wal_status IS DISTINCT FROM 'lost' AND restart_lsn IS NOT NULL), '[]'),
	'lost', coalesce(jsonb_agg(infra_monitor.shown(slot_name) ORDER BY slot_name) FILTER (WHERE wal_status = 'lost'), '[]'))
FROM pg_replication_slots
$$;
COMMENT ON FUNCTION infra_monitor.fact_slots() IS
'fact: replication slots, those that keep WAL for nobody, and those that have lost it; for pg_monitor';

CREATE FUNCTION infra_monitor.fact_extensions()
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(jsonb_agg(format('%s %s (%s is available)', name, installed_version, default_version) ORDER BY name), '[]')
FROM pg_available_extensions
WHERE installed_version <> default_version
$$;
COMMENT ON FUNCTION infra_monitor.fact_extensions() IS
'fact: extensions of this database that can be updated; for pg_monitor';

CREATE FUNCTION infra_monitor.collect_facts()
RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'imon_collect_facts_1_0';
COMMENT ON FUNCTION infra_monitor.collect_facts() IS
'all facts that production_readiness is about, now and with the rights of the caller; those that cannot be collected are missing, and their errors stand in "errors"; for pg_monitor';

CREATE FUNCTION infra_monitor.known_settings(facts jsonb)
RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN jsonb_typeof($1->'files'->'settings') = 'object' THEN $1->'files'->'settings' ELSE '{}' END
	|| coalesce($1->'settings', '{}')
$$;
COMMENT ON FUNCTION infra_monitor.known_settings(jsonb) IS
'the settings among facts, those of files where others are not known; for pg_monitor';

--
-- What follows from the facts.  A row says which fact it is mainly about, for
-- the error that is shown where that is missing.
--

CREATE FUNCTION infra_monitor.readiness_sizes(facts jsonb,
	OUT memory float8, OUT max_connections float8, OUT shared_buffers float8,
	OUT work_mem float8, OUT maintenance_work_mem float8, OUT autovacuum_memory float8,
	OUT good_shared_buffers float8, OUT good_work_mem float8,
	OUT good_maintenance_work_mem float8, OUT peak float8, OUT connections_that_fit float8)
RETURNS record
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
-- What all sessions can take: each of them one hash table of work_mem times
-- hash_mem_multiplier, and 5 MB for its caches of catalogs and plans; each
-- autovacuum worker what it may have for dead rows; and the cache they share.
WITH given AS (
	SELECT ($1->'machine'->>'memory')::float8 AS memory, s.*
	FROM jsonb_to_record(infra_monitor.known_settings($1)) AS s (
		max_connections float8, shared_buffers float8, work_mem float8, hash_mem_multiplier float8,
		maintenance_work_mem float8, autovacuum_work_mem float8, autovacuum_max_workers float8)
), good AS (
	SELECT *,
		floor(memory / 4 / 1048576) * 1048576 AS good_shared_buffers,
		infra_monitor.clamped(floor(memory / 4 / nullif(max_connections * hash_mem_multiplier, 0) / 1048576) * 1048576,
			4 * 1048576, 64 * 1048576) AS good_work_mem,
		infra_monitor.clamped(floor(memory / 32 / 1048576) * 1048576,
			64 * 1048576, 1024 * 1048576) AS good_maintenance_work_mem,
		autovacuum_max_workers * CASE WHEN autovacuum_work_mem >= 0 THEN autovacuum_work_mem
			WHEN autovacuum_work_mem < 0 THEN maintenance_work_mem END AS autovacuum_memory
	FROM given
)
SELECT memory, max_connections, shared_buffers, work_mem, maintenance_work_mem, autovacuum_memory,
	good_shared_buffers, good_work_mem, good_maintenance_work_mem,
	shared_buffers + autovacuum_memory + max_connections * (work_mem * hash_mem_multiplier + 5 * 1048576),
	-- in three quarters of memory, once all other advice has been followed
	floor((memory * 0.75
		- CASE WHEN shared_buffers BETWEEN memory * 0.15 AND memory * 0.4 THEN shared_buffers ELSE good_shared_buffers END
		- CASE WHEN autovacuum_memory > memory / 4 OR maintenance_work_mem < good_maintenance_work_mem / 2
			THEN autovacuum_max_workers * good_maintenance_work_mem ELSE autovacuum_memory END)
		/ (hash_mem_multiplier * CASE WHEN work_mem BETWEEN good_work_mem / 2 AND good_work_mem * 4 THEN work_mem ELSE good_work_mem END
			+ 5 * 1048576))
FROM good
$$;
COMMENT ON FUNCTION infra_monitor.readiness_sizes(jsonb) IS
'sizes in bytes as they are, and as production_readiness recommends them; for pg_monitor';

CREATE FUNCTION infra_monitor.readiness_connections(facts jsonb,
	OUT item text, OUT fact text, OUT fails boolean, OUT warns boolean,
	OUT current text, OUT recommended text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
SELECT r.item, 'settings', r.fails, r.warns, r.current, r.recommended
FROM infra_monitor.readiness_sizes($1) z,
	jsonb_to_record(infra_monitor.known_settings($1)) AS s (
		superuser_reserved_connections float8, reserved_connections float8, listen_addresses text),
	LATERAL (VALUES
		('max_connections', z.peak > z.memory, z.peak > z.memory * 0.75,
			format('%s; all of them at work can take %s of %s', z.max_connections,
				coalesce(infra_monitor.shown_size(z.peak), 'an unknown part'),
				coalesce(infra_monitor.shown_size(z.memory), 'unknown memory')),
			CASE WHEN z.peak <= z.memory * 0.75 THEN z.max_connections::text
				WHEN z.connections_that_fit IS NOT NULL
				THEN greatest(10, least(z.max_connections, z.connections_that_fit))::text END),
		('superuser_reserved_connections', s.superuser_reserved_connections = 0,
			s.superuser_reserved_connections < 3, s.superuser_reserved_connections::text, NULL),
		('reserved_connections', false, s.reserved_connections = 0, s.reserved_connections::text, NULL),
		('listen_addresses', false,
			s.listen_addresses ~ '(^|,) *([*]|0[.]0[.]0[.]0|::) *(,|$)',
			CASE s.listen_addresses WHEN '' THEN 'none' ELSE s.listen_addresses END, NULL)
	) AS r (item, fails, warns, current, recommended)
-- new in 16
WHERE r.item <> 'reserved_connections' OR coalesce(($1->'server'->>'major')::int >= 16, true)
$$;
COMMENT ON FUNCTION infra_monitor.readiness_connections(jsonb) IS
'items of production_readiness about connections; for pg_monitor';

CREATE FUNCTION infra_monitor.readiness_timeouts(facts jsonb,
	OUT item text, OUT fact text, OUT fails boolean, OUT warns boolean,
	OUT current text, OUT recommended text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
WITH given AS (
	SELECT t.name, f.roles, f.off, f.unset, f.databases, coalesce(f.all, s.value::float8) AS general,
		f.databases OR coalesce(f.all, s.value::float8) > 0 AS covered
	FROM (VALUES ('statement_timeout'), ('lock_timeout'), ('idle_in_transaction_session_timeout'), ('idle_session_timeout')) t (name)
		CROSS JOIN LATERAL jsonb_to_record(coalesce($1->'timeouts'->t.name, '{}')) AS f (
			roles int, "off" jsonb, unset jsonb, "all" float8, databases boolean)
		CROSS JOIN LATERAL (SELECT infra_monitor.known_settings($1)->>t.name) s (value)
), judged AS (
	SELECT *, NOT covered AND (jsonb_array_length(unset) > 0 OR roles = 0) AS bare,
		jsonb_array_length(off) > 0 AS lifted
	FROM given
)
SELECT name, CASE WHEN roles IS NULL THEN 'timeouts' ELSE 'files' END,
	CASE WHEN name = 'idle_in_transaction_session_timeout' THEN bare ELSE false END,
	bare OR lifted,
	concat_ws('; ', CASE WHEN databases AND general = 0 THEN 'set in all databases'
			WHEN general IS NOT NULL THEN infra_monitor.shown_time(general) END,
		CASE WHEN bare AND roles > 0 THEN 'none for ' || infra_monitor.listed(unset) END,
		CASE WHEN lifted THEN '0 for ' || infra_monitor.listed(off) END,
		CASE WHEN NOT bare AND general = 0 AND NOT databases THEN 'set for all roles that log in' END),
	NULL::text
FROM judged
$$;
COMMENT ON FUNCTION infra_monitor.readiness_timeouts(jsonb) IS
'items of production_readiness about timeouts; for pg_monitor';

CREATE FUNCTION infra_monitor.readiness_memory(facts jsonb,
	OUT item text, OUT fact text, OUT fails boolean, OUT warns boolean,
	OUT current text, OUT recommended text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
SELECT r.item, r.fact, r.fails, r.warns, r.current, r.recommended
FROM infra_monitor.readiness_sizes($1) z,
	jsonb_to_record(infra_monitor.known_settings($1)) AS s (
		effective_cache_size float8, autovacuum_work_mem float8, wal_buffers float8, wal_segment_size float8),
	LATERAL (SELECT ' of ' || coalesce(infra_monitor.shown_size(z.memory), 'unknown') || ' memory') m (ory),
	LATERAL (VALUES
		('shared_buffers', 'machine', z.shared_buffers > z.memory * 0.75,
			z.shared_buffers < z.memory * 0.15 OR z.shared_buffers > z.memory * 0.4,
			infra_monitor.shown_size(z.shared_buffers) || m.ory, infra_monitor.size_setting(z.good_shared_buffers)),
		('effective_cache_size', 'files', false,
			s.effective_cache_size < z.memory / 2 OR s.effective_cache_size > z.memory,
			infra_monitor.shown_size(s.effective_cache_size) || m.ory, infra_monitor.size_setting(z.memory * 0.75)),
		('work_mem', 'files', false,
			z.work_mem < z.good_work_mem / 2 OR z.work_mem > z.good_work_mem * 4,
			infra_monitor.shown_size(z.work_mem), infra_monitor.size_setting(z.good_work_mem)),
		('maintenance_work_mem', 'files', false,
			z.maintenance_work_mem < z.good_maintenance_work_mem / 2 OR z.autovacuum_memory > z.memory / 4,
			concat(infra_monitor.shown_size(z.maintenance_work_mem),
				CASE WHEN z.autovacuum_memory > z.memory / 4 THEN '; all autovacuum workers can take ' || infra_monitor.shown_size(z.autovacuum_memory) END),
			CASE WHEN s.autovacuum_work_mem >= 0 AND z.autovacuum_memory > z.memory / 4 THEN 'autovacuum_work_mem = -1'
				ELSE infra_monitor.size_setting(z.good_maintenance_work_mem) END),
		-- as much as it would have by itself, but for rounding
		('wal_buffers', 'settings', false,
			s.wal_buffers < CASE WHEN z.shared_buffers / 32 < s.wal_segment_size THEN z.shared_buffers / 32 ELSE s.wal_segment_size END * 0.9,
			infra_monitor.shown_size(s.wal_buffers), NULL)
	) AS r (item, fact, fails, warns, current, recommended)
$$;
COMMENT ON FUNCTION infra_monitor.readiness_memory(jsonb) IS
'items of production_readiness about memory; for pg_monitor';

CREATE FUNCTION infra_monitor.readiness_durability(facts jsonb,
	OUT item text, OUT fact text, OUT fails boolean, OUT warns boolean,
	OUT current text, OUT recommended text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
SELECT r.item, r.fact, r.fails, r.warns, r.current, r.recommended
FROM jsonb_to_record(infra_monitor.known_settings($1)) AS s (
		fsync boolean, full_page_writes boolean, synchronous_commit text, data_checksums boolean,
		checkpoint_timeout float8, checkpoint_completion_target float8, max_wal_size float8),
	LATERAL (SELECT ($1->'machine'->>'wal_disk')::float8) d (disk),
	LATERAL (SELECT infra_monitor.clamped(floor(d.disk / 10 / 1048576) * 1048576,
		256 * 1048576, 4096::float8 * 1048576)) g (good),
	LATERAL (VALUES
		('fsync', 'settings', NOT s.fsync, false, CASE WHEN s.fsync THEN 'on' WHEN NOT s.fsync THEN 'off' END, NULL),
		('full_page_writes', 'settings', NOT s.full_page_writes, false,
			CASE WHEN s.full_page_writes THEN 'on' WHEN NOT s.full_page_writes THEN 'off' END, NULL),
		('synchronous_commit', 'files', false, s.synchronous_commit IN ('off', 'false', 'no', '0'), s.synchronous_commit, NULL),
		('data_checksums', 'settings', false, NOT s.data_checksums,
			CASE WHEN s.data_checksums THEN 'on' WHEN NOT s.data_checksums THEN 'off' END, NULL),
		('checkpoint_timeout', 'settings', false, s.checkpoint_timeout < 300000 OR s.checkpoint_timeout > 3600000,
			infra_monitor.shown_time(s.checkpoint_timeout), NULL),
		('checkpoint_completion_target', 'settings', false, s.checkpoint_completion_target < 0.9,
			s.checkpoint_completion_target::text, NULL),
		('max_wal_size', 'machine', s.max_wal_size > d.disk, s.max_wal_size < g.good OR s.max_wal_size > d.disk / 2,
			format('%s, on a disk of %s', infra_monitor.shown_size(s.max_wal_size),
				coalesce(infra_monitor.shown_size(d.disk), 'unknown size')),
			infra_monitor.size_setting(g.good))
	) AS r (item, fact, fails, warns, current, recommended)
$$;
COMMENT ON FUNCTION infra_monitor.readiness_durability(jsonb) IS
'items of production_readiness about durability and checkpoints; for pg_monitor';

CREATE FUNCTION infra_monitor.readiness_autovacuum(facts jsonb,
	OUT item text, OUT fact text, OUT fails boolean, OUT warns boolean,
	OUT current text, OUT recommended text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
SELECT r.item, r.fact, r.fails, r.warns, r.current, r.recommended
FROM jsonb_to_record(infra_monitor.known_settings($1)) AS s (
		autovacuum boolean, track_counts boolean, autovacuum_vacuum_cost_delay float8,
		autovacuum_vacuum_cost_limit float8, vacuum_cost_delay float8, vacuum_cost_limit float8),
	LATERAL (SELECT CASE WHEN s.autovacuum_vacuum_cost_delay < 0 THEN s.vacuum_cost_delay ELSE s.autovacuum_vacuum_cost_delay END,
		CASE WHEN s.autovacuum_vacuum_cost_limit < 0 THEN s.vacuum_cost_limit ELSE s.autovacuum_vacuum_cost_limit END) c (delay, cost),
	LATERAL (VALUES
		('autovacuum', 'settings', NOT s.autovacuum, false,
			CASE WHEN s.autovacuum THEN 'on' WHEN NOT s.autovacuum THEN 'off' END, NULL),
		('track_counts', 'files', NOT s.track_counts, false,
			CASE WHEN s.track_counts THEN 'on' WHEN NOT s.track_counts THEN 'off' END, NULL),
		-- slower than 200 per 2 ms, the default
		('autovacuum_vacuum_cost_delay', 'files', false, c.cost < 100 * c.delay,
			infra_monitor.shown_time(c.delay) || ' for a cost of ' || c.cost,
			CASE WHEN c.cost < 200 THEN c.cost / 100 || 'ms' END)
	) AS r (item, fact, fails, warns, current, recommended)
$$;
COMMENT ON FUNCTION infra_monitor.readiness_autovacuum(jsonb) IS
'items of production_readiness about autovacuum; for pg_monitor';

CREATE FUNCTION infra_monitor.readiness_logging(facts jsonb,
	OUT item text, OUT fact text, OUT fails boolean, OUT warns boolean,
	OUT current text, OUT recommended text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
SELECT r.item, r.fact, r.fails, r.warns, r.current, r.recommended
FROM jsonb_to_record(infra_monitor.known_settings($1)) AS s (
		logging_collector boolean, log_destination text, log_min_duration_statement float8,
		log_min_duration_sample float8, "auto_explain.log_min_duration" float8, log_lock_waits boolean,
		log_temp_files float8, log_checkpoints boolean, log_line_prefix text),
	LATERAL (SELECT s.log_destination ~* 'syslog|eventlog' OR s.logging_collector,
		s.log_destination ~* 'csvlog|jsonlog' AND s.logging_collector,
		$1->'machine'->>'standard_error') d (kept, complete, standard_error),
	LATERAL (SELECT array_remove(ARRAY[
		CASE WHEN p.prefix !~ '%-?[0-9]*[mtn]' THEN 'time (%m)' END,
		CASE WHEN p.prefix !~ '%-?[0-9]*[pc]' THEN 'process (%p)' END,
		CASE WHEN p.prefix !~ '%-?[0-9]*u' THEN 'user (%u)' END,
		CASE WHEN p.prefix !~ '%-?[0-9]*d' THEN 'database (%d)' END], NULL)
		FROM replace(s.log_line_prefix, '%%', '') p (prefix)) m (missing),
	LATERAL (VALUES
		('log destination', 'machine', NOT d.kept AND d.standard_error IN ('/dev/null', 'closed'),
			NOT d.kept AND d.standard_error = 'terminal',
			concat(s.log_destination, CASE WHEN s.logging_collector THEN ', with logging_collector'
				WHEN NOT d.kept THEN ', standard error goes to ' || coalesce(d.standard_error, 'an unknown place') END), NULL),
		('log_min_duration_statement', 'files', false,
			NOT (s.log_min_duration_statement BETWEEN 0 AND 60000
				OR s.log_min_duration_sample BETWEEN 0 AND 60000
				-- not there unless auto_explain is loaded
				OR coalesce(s."auto_explain.log_min_duration" BETWEEN 0 AND 60000, false)),
			concat(infra_monitor.shown_time(s.log_min_duration_statement),
				CASE WHEN s.log_min_duration_sample >= 0 THEN '; of a sample: ' || infra_monitor.shown_time(s.log_min_duration_sample) END,
				CASE WHEN s."auto_explain.log_min_duration" >= 0 THEN '; by auto_explain: ' || infra_monitor.shown_time(s."auto_explain.log_min_duration") END), NULL),
		('log_lock_waits', 'files', false, NOT s.log_lock_waits,
			CASE WHEN s.log_lock_waits THEN 'on' WHEN NOT s.log_lock_waits THEN 'off' END, NULL),
		('log_temp_files', 'files', false, s.log_temp_files < 0,
			CASE WHEN s.log_temp_files < 0 THEN 'off' ELSE infra_monitor.shown_size(s.log_temp_files) END, NULL),
		('log_checkpoints', 'settings', false, NOT s.log_checkpoints,
			CASE WHEN s.log_checkpoints THEN 'on' WHEN NOT s.log_checkpoints THEN 'off' END, NULL),
		('log_line_prefix', 'settings', false,
			CASE WHEN s.log_line_prefix IS NOT NULL THEN NOT d.complete AND m.missing <> '{}' END,
			CASE WHEN s.log_line_prefix = '' THEN 'none' ELSE s.log_line_prefix END
				|| CASE WHEN d.complete IS NOT TRUE AND m.missing <> '{}' THEN ' without ' || array_to_string(m.missing, ', ') ELSE '' END, NULL)
	) AS r (item, fact, fails, warns, current, recommended)
$$;
COMMENT ON FUNCTION infra_monitor.readiness_logging(jsonb) IS
'items of production_readiness about the server log; for pg_monitor';

CREATE FUNCTION infra_monitor.readiness_security(facts jsonb,
	OUT item text, OUT fact text, OUT fails boolean, OUT warns boolean,
	OUT current text, OUT recommended text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 20
SET search_path = pg_catalog, pg_temp
AS $$
SELECT r.item, r.fact, r.fails, r.warns, r.current, r.recommended
FROM jsonb_to_record(infra_monitor.known_settings($1)) AS s (
		ssl boolean, ssl_min_protocol_version text, password_encryption text, listen_addresses text),
	LATERAL (SELECT s.listen_addresses !~ '[^, ]' OR s.listen_addresses ~ '^ *(localhost|127[.]0[.]0[.]1|::1)( *, *(localhost|127[.]0[.]0[.]1|::1))* *$') l (local),
	jsonb_to_record(coalesce($1->'roles', '{}')) AS o (superusers jsonb, for_ever jsonb),
	jsonb_to_record(coalesce($1->'passwords', '{}')) AS p (md5 jsonb, "none" jsonb),
	LATERAL (VALUES
		('ssl', 'settings', NOT s.ssl AND NOT l.local, false,
			CASE WHEN s.ssl THEN 'on' WHEN NOT s.ssl AND l.local THEN 'off, and no connections from beyond the machine' WHEN NOT s.ssl THEN 'off' END, NULL),
		('ssl_min_protocol_version', 'settings', s.ssl_min_protocol_version IN ('', 'tlsv1', 'tlsv1.1'), false,
			CASE s.ssl_min_protocol_version WHEN '' THEN 'any' ELSE replace(s.ssl_min_protocol_version, 'tls', 'TLS') END, NULL),
		('password_encryption', 'files', s.password_encryption <> 'scram-sha-256', false, s.password_encryption, NULL),
		('MD5 passwords', 'passwords', jsonb_array_length(p.md5) > 0, false, infra_monitor.counted(p.md5), NULL),
		('roles without password', 'passwords',
			jsonb_array_length(p."none") > 0 AND $1->'hba'->'methods' ? 'trust',
			jsonb_array_length(p."none") > 0 AND NOT $1->'hba'->'methods' ?| ARRAY['peer', 'cert', 'gss', 'sspi',
				'ldap', 'pam', 'radius', 'bsd', 'ident', 'oauth'],
			infra_monitor.counted(p."none"), NULL),
		('superusers', 'roles', false, jsonb_array_length(o.for_ever) > 0, infra_monitor.listed(o.superusers), NULL),
		('schema public', 'schema', false, ($1->'schema'->>'public_creates')::boolean,
			CASE ($1->'schema'->>'public_creates')::boolean WHEN true THEN 'everybody may create objects in it'
				WHEN false THEN 'not everybody may create objects in it' END
				|| coalesce(', in database ' || ($1->'server'->>'database'), ''), NULL)
	) AS r (item, fact, fails, warns, current, recommended)
$$;
COMMENT ON FUNCTION infra_monitor.readiness_security(jsonb) IS
'items of production_readiness about TLS, roles and passwords; for pg_monitor';

CREATE FUNCTION infra_monitor.readiness_hba(facts jsonb,
	OUT item text, OUT fact text, OUT fails boolean, OUT warns boolean,
	OUT current text, OUT recommended text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
SELECT r.item, 'hba', jsonb_array_length(r.failing) > 0, jsonb_array_length(r.warning) > 0,
	CASE WHEN r.failing <> '[]' OR r.warning <> '[]' THEN 'lines ' || infra_monitor.listed(r.failing || r.warning)
		WHEN r.failing IS NOT NULL AND r.warning IS NOT NULL THEN 'no such line' END,
	NULL::text
FROM jsonb_to_record(coalesce($1->'hba', '{}')) AS h (
		errors jsonb, trust jsonb, world jsonb, plain jsonb, clear jsonb, md5 jsonb),
	LATERAL (VALUES
		('pg_hba.conf errors', h.errors, '[]'::jsonb),
		('pg_hba.conf trust', h.trust, '[]'),
		('pg_hba.conf open to the world', '[]', h.world),
		('pg_hba.conf without TLS', '[]', h.plain),
		('pg_hba.conf weak methods', h.clear, h.md5)
	) AS r (item, failing, warning)
$$;
COMMENT ON FUNCTION infra_monitor.readiness_hba(jsonb) IS
'items of production_readiness about pg_hba.conf, with numbers of lines; for pg_monitor';

CREATE FUNCTION infra_monitor.readiness_recovery(facts jsonb,
	OUT item text, OUT fact text, OUT fails boolean, OUT warns boolean,
	OUT current text, OUT recommended text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
SELECT r.item, r.fact, r.fails, r.warns, r.current, r.recommended
FROM jsonb_to_record(infra_monitor.known_settings($1)) AS s (
		wal_level text, archive_mode text, archive_command boolean, archive_library boolean,
		max_wal_senders float8, max_slot_wal_keep_size float8),
	jsonb_to_record(coalesce($1->'archiver', '{}')) AS a (archived float8, at timestamptz, failing boolean),
	jsonb_to_record(coalesce($1->'replication', '{}')) AS p (standbys int, receivers int, receiving boolean),
	jsonb_to_record(coalesce($1->'slots', '{}')) AS l (slots int, inactive jsonb, lost jsonb),
	-- WAL may also be archived by who receives it, such as pg_receivewal
	LATERAL (SELECT ($1->'server'->>'standby')::boolean, s.archive_mode = 'off' AND p.receivers = 0,
		s.archive_command OR s.archive_library,
		CASE s.archive_mode WHEN 'always' THEN true WHEN 'on' THEN NOT ($1->'server'->>'standby')::boolean END,
		CASE WHEN p.receivers > 0 THEN format(', and %s receive WAL', p.receivers) END) c (standby, none, has_command, archives, received),
	LATERAL (VALUES
		('wal_level', 'settings', s.wal_level = 'minimal', false, s.wal_level, NULL),
		('archive_mode', 'settings', c.none, false, concat(s.archive_mode, c.received), NULL),
		('archive_command', 'settings', s.archive_mode <> 'off' AND NOT c.has_command, c.none,
			concat(CASE WHEN s.archive_mode = 'off' THEN 'archive_mode is off' WHEN c.has_command THEN 'set'
				WHEN NOT c.has_command THEN 'not set' END, c.received), NULL),
		('last archived', 'archiver',
			CASE WHEN s.archive_mode = 'off' THEN false WHEN c.archives THEN a.failing END,
			CASE WHEN s.archive_mode = 'off' THEN c.none WHEN c.archives THEN a.archived = 0 END,
			CASE WHEN s.archive_mode = 'off' THEN concat('archive_mode is off', c.received)
				WHEN NOT c.archives THEN 'a standby does not archive'
				WHEN a.failing THEN concat('failing', ', last one archived at ' || a.at)
				WHEN a.archived = 0 THEN 'nothing yet' ELSE a.at::text END, NULL),
		('max_wal_senders', 'settings', s.max_wal_senders = 0, s.max_wal_senders < 2, s.max_wal_senders::text, NULL),
		('standbys', 'replication', false,
			CASE c.standby WHEN true THEN NOT p.receiving WHEN false THEN p.standbys = 0 END,
			CASE c.standby WHEN true THEN CASE p.receiving WHEN true THEN 'this is one, and it receives WAL'
					WHEN false THEN 'this is one, and it receives no WAL' END
				WHEN false THEN p.standbys || ' connected' END, NULL),
		('replication slots', 'slots', jsonb_array_length(l.inactive) > 0 AND s.max_slot_wal_keep_size < 0,
			l.slots > 0 AND s.max_slot_wal_keep_size < 0 OR jsonb_array_length(l.inactive) > 0 OR jsonb_array_length(l.lost) > 0,
			concat_ws('; ', 'slots: ' || l.slots,
				CASE WHEN l.inactive <> '[]' THEN 'not in use: ' || infra_monitor.listed(l.inactive) END,
				CASE WHEN l.lost <> '[]' THEN 'lost: ' || infra_monitor.listed(l.lost) END,
				CASE WHEN l.slots > 0 AND s.max_slot_wal_keep_size < 0 THEN 'no limit' END), NULL)
	) AS r (item, fact, fails, warns, current, recommended)
$$;
COMMENT ON FUNCTION infra_monitor.readiness_recovery(jsonb) IS
'items of production_readiness about archiving and replication; for pg_monitor';

CREATE FUNCTION infra_monitor.readiness_upkeep(facts jsonb,
	OUT item text, OUT fact text, OUT fails boolean, OUT warns boolean,
	OUT current text, OUT recommended text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
-- https://www.postgresql.org/support/versioning/: five years, until the second
-- Thursday of November.  Versions that are not here are not known.
WITH versions (major, until) AS (
	VALUES (15, date '2027-11-11'), (16, '2028-11-09'), (17, '2029-11-08'), (18, '2030-11-14'), (19, '2031-11-13')
)
SELECT r.item, r.fact, r.fails, r.warns, r.current, r.recommended
FROM jsonb_to_record(infra_monitor.known_settings($1)) AS s ("pg_stat_statements.track" text, track_io_timing boolean),
	jsonb_to_record(coalesce($1->'server', '{}')) AS v (major int, today date, database text, pg_stat_statements boolean),
	LATERAL (SELECT (SELECT until FROM versions WHERE major = v.major), (SELECT max(major) FROM versions)) e (until, newest),
	LATERAL (VALUES
		('pg_stat_statements', 'server', false, NOT v.pg_stat_statements,
			CASE WHEN v.pg_stat_statements THEN 'loaded' WHEN NOT v.pg_stat_statements THEN 'not loaded' END, NULL),
		('pg_stat_statements.track', 'files', false,
			CASE WHEN v.pg_stat_statements THEN s."pg_stat_statements.track" = 'none' ELSE NOT v.pg_stat_statements END,
			CASE WHEN v.pg_stat_statements THEN s."pg_stat_statements.track" WHEN NOT v.pg_stat_statements THEN 'not loaded' END, NULL),
		('track_io_timing', 'files', false, NOT s.track_io_timing,
			CASE WHEN s.track_io_timing THEN 'on' WHEN NOT s.track_io_timing THEN 'off' END, NULL),
		('major version', 'server', v.today > e.until, v.today > e.until - 180,
			v.major || coalesce(', supported until ' || to_char(e.until, 'YYYY-MM-DD'), ''), 'PostgreSQL ' || e.newest),
		('extension updates', 'extensions', false, jsonb_array_length($1->'extensions') > 0,
			infra_monitor.listed($1->'extensions') || coalesce(', in database ' || v.database, ''), NULL),
		('pending restart', 'pending', false, jsonb_array_length($1->'pending') > 0, infra_monitor.listed($1->'pending'), NULL),
		('configuration files', 'files', ($1->'files'->>'errors')::int > 0, false,
			'lines with an error: ' || ($1->'files'->>'errors'), NULL)
	) AS r (item, fact, fails, warns, current, recommended)
$$;
COMMENT ON FUNCTION infra_monitor.readiness_upkeep(jsonb) IS
'items of production_readiness about monitoring and upkeep; for pg_monitor';

CREATE FUNCTION infra_monitor.judge_readiness(facts jsonb,
	OUT area text, OUT item text, OUT status text, OUT current text,
	OUT recommended text, OUT why text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 60
SET search_path = pg_catalog, pg_temp
AS $$
SELECT i.area, i.item,
	CASE WHEN j.fails THEN 'fail' WHEN j.fails IS NULL OR j.warns IS NULL THEN 'unknown'
		WHEN j.warns THEN 'warn' ELSE 'pass' END,
	left(coalesce(CASE WHEN j.fails IS NULL OR j.warns IS NULL THEN $1->'errors'->>j.fact END, nullif(j.current, ''), 'not known'), 200),
	coalesce(j.recommended, i.recommended), i.why
FROM infra_monitor.readiness_items() WITH ORDINALITY AS i (area, item, recommended, why, place)
	JOIN (
		SELECT * FROM infra_monitor.readiness_connections($1)
		UNION ALL SELECT * FROM infra_monitor.readiness_timeouts($1)
		UNION ALL SELECT * FROM infra_monitor.readiness_memory($1)
		UNION ALL SELECT * FROM infra_monitor.readiness_durability($1)
		UNION ALL SELECT * FROM infra_monitor.readiness_autovacuum($1)
		UNION ALL SELECT * FROM infra_monitor.readiness_logging($1)
		UNION ALL SELECT * FROM infra_monitor.readiness_security($1)
		UNION ALL SELECT * FROM infra_monitor.readiness_hba($1)
		UNION ALL SELECT * FROM infra_monitor.readiness_recovery($1)
		UNION ALL SELECT * FROM infra_monitor.readiness_upkeep($1)
	) j ON j.item = i.item
ORDER BY i.place
$$;
COMMENT ON FUNCTION infra_monitor.judge_readiness(jsonb) IS
'the rows of production_readiness that follow from facts as of collect_facts(); what is not among them is unknown; for pg_monitor';

-- What a password is like is in pg_authid, which pg_monitor cannot read: it sees
-- how many roles there are.  (Who is a superuser, or has which timeouts, is in
-- pg_roles, which everybody can read.)
CREATE FUNCTION infra_monitor.readiness_named(facts jsonb)
RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(jsonb_object_agg(n.item, left(infra_monitor.listed(n.roles), 200)), '{}')
FROM (VALUES ('MD5 passwords', $1->'passwords'->'md5'), ('roles without password', $1->'passwords'->'none')) AS n (item, roles)
WHERE n.roles <> '[]'
$$;
COMMENT ON FUNCTION infra_monitor.readiness_named(jsonb) IS
'items of production_readiness that tell roles by name to those only who may read pg_authid: what they tell them; from facts as of collect_facts(); for pg_monitor';

CREATE FUNCTION infra_monitor.readiness_document(OUT document jsonb, OUT named jsonb)
RETURNS record
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
WITH facts AS MATERIALIZED (SELECT infra_monitor.collect_facts() AS list)
SELECT (SELECT jsonb_agg(jsonb_build_array(j.item, j.status, j.current, j.recommended))
	FROM infra_monitor.judge_readiness(facts.list) j), infra_monitor.readiness_named(facts.list)
FROM facts
$$;
COMMENT ON FUNCTION infra_monitor.readiness_document() IS
'the audit of production_readiness, now and with the rights of the caller: arrays of item, status, current, recommended; and what readiness_named() has; for pg_monitor';

CREATE FUNCTION infra_monitor.readiness_cache(OUT document jsonb, OUT named jsonb, OUT evaluated_at timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 1
AS 'MODULE_PATHNAME', 'imon_readiness_cache_1_0';
COMMENT ON FUNCTION infra_monitor.readiness_cache() IS
'the audit as the sampler found it last; named is NULL for those who may not read pg_authid; no row if there is none; for pg_monitor';

CREATE FUNCTION infra_monitor.readiness(
	OUT area text, OUT item text, OUT status text, OUT current text,
	OUT recommended text, OUT why text, OUT evaluated_at timestamptz)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE ROWS 60
SET search_path = pg_catalog, pg_temp
AS $$
WITH cached AS MATERIALIZED (
	SELECT document, named, evaluated_at FROM infra_monitor.readiness_cache()
), shown AS MATERIALIZED (
	SELECT * FROM cached
	UNION ALL
	SELECT n.document, n.named, clock_timestamp()
	FROM (SELECT WHERE NOT EXISTS (SELECT FROM cached)) none, infra_monitor.readiness_document() n
)
SELECT i.area, i.item, d.value->>1, coalesce(s.named->>i.item, d.value->>2), d.value->>3, i.why, s.evaluated_at
FROM shown s
	CROSS JOIN LATERAL jsonb_array_elements(s.document) d
	JOIN infra_monitor.readiness_items() WITH ORDINALITY AS i (area, item, recommended, why, place)
		ON i.item = d.value->>0
ORDER BY i.place
$$;
COMMENT ON FUNCTION infra_monitor.readiness() IS
'the rows of production_readiness; for pg_monitor';

CREATE VIEW infra_monitor.production_readiness AS
SELECT r.area, r.item, r.status, r.current, r.recommended, r.why, r.evaluated_at
FROM infra_monitor.readiness() r;
COMMENT ON VIEW infra_monitor.production_readiness IS
'the audit before a launch: settings and what else can be seen, against the size of the machine; as the sampler found it with its own rights, each hour and after each reload, for its home database; evaluated now, for this database and with the rights of the caller, only if it has not; for pg_monitor';
COMMENT ON COLUMN infra_monitor.production_readiness.status IS 'pass, warn, fail, or unknown: what it depends on cannot be read';
COMMENT ON COLUMN infra_monitor.production_readiness.current IS 'what is; never a secret; names of roles by what their passwords are like only for those who may read pg_authid, for others their number';
COMMENT ON COLUMN infra_monitor.production_readiness.recommended IS 'what should be; where the item is a setting mostly its value';
COMMENT ON COLUMN infra_monitor.production_readiness.why IS 'what happens otherwise';

--
-- dashboard.sql: one screen of text
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
-- a letter takes two columns where it might: beyond U+07FF, which has three bytes
-- in UTF8, else from two bytes on; SQL_ASCII does not know where one ends
WITH encoding AS (
	SELECT e, CASE e WHEN 'UTF8' THEN 3 ELSE 2 END AS wide FROM getdatabaseencoding() e
), plain AS (
	SELECT wide, rtrim(regexp_replace(
		CASE e WHEN 'SQL_ASCII' THEN regexp_replace($1, E'[^\\x01-\\x7f]', '?', 'g')
			-- controls of C1, what has no width, what turns the direction of other text
			WHEN 'UTF8' THEN regexp_replace($1, E'[\\u007f-\\u009f\\u00ad\\u061c\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff]', ' ', 'g')
			ELSE $1 END,
		E'[\\t-\\r[:cntrl:]]+ *', ' ', 'g')) AS t
	FROM encoding
)
SELECT CASE WHEN octet_length(t) <= $2 THEN t ELSE (
	-- as many letters as fit; and if not all do, as many as leave room for dots
	SELECT CASE WHEN max(w.before_and_it) <= $2 THEN t
		ELSE left(t, (count(*) FILTER (WHERE w.before_and_it <= $2 - 3))::int) || '...' END
	FROM (SELECT sum(CASE WHEN octet_length(l.letter) >= wide THEN 2 ELSE 1 END) OVER (ORDER BY l.n) AS before_and_it
		FROM string_to_table(left(t, $2 + 1), NULL) WITH ORDINALITY AS l (letter, n)) w) END
FROM plain
$$;
COMMENT ON FUNCTION infra_monitor.one_line(text, int) IS
'a text on one line, cut to a width in columns of a terminal; a letter counts two where it might take as many; for pg_monitor';

CREATE FUNCTION infra_monitor.dashboard()
RETURNS SETOF text
LANGUAGE sql VOLATILE PARALLEL UNSAFE ROWS 34
SET search_path = pg_catalog, pg_temp
SET jit = off -- it would take longer than all the rest
AS $$
-- psql puts two columns and six lines around it: 98 x 34 is 100 x 40 on the
-- screen.  Each line has its place, so that nothing moves.  All is from memory.
WITH health AS MATERIALIZED (
	SELECT infra_monitor.health() AS h
), known AS MATERIALIZED (
	SELECT c.* FROM health, jsonb_to_recordset(h->'checks') AS c (
		name text, category text, status text, value float8, unit text, message text, hint text, essential boolean)
), checks AS MATERIALIZED (
	-- one that has failed has no unit; one that cannot know has
	SELECT row_number() OVER (ORDER BY array_position('{critical,warning,unknown}', status), essential DESC NULLS LAST,
		array_position('{pool,queries,replication,database}', category), name)::int AS n, *
	FROM known WHERE status IN ('critical', 'warning') OR status = 'unknown' AND unit IS NULL
), pool AS MATERIALIZED (
	SELECT *, max_connections - reserved_connections AS ordinary FROM infra_monitor.pool_pressure
), samples AS MATERIALIZED (
	SELECT * FROM infra_monitor.sample_ring()
), steps AS (
	-- all samples, which are 360 at most, in 72 columns; few of them in as many as they are
	SELECT make_interval(secs => apart * least(greatest(ceil((known / apart + 1) / 72), 1), 5)) AS step
	FROM (SELECT extract(epoch FROM current_setting('infra_monitor.sample_interval')::interval)::float8 AS apart,
			(SELECT coalesce(extract(epoch FROM clock_timestamp() - min(at))::float8, 0) FROM samples) AS known) s
), times AS MATERIALIZED (
	SELECT step, date_bin(step, clock_timestamp(), '2001-01-01 00:00:00+00') - 71 * step AS begins FROM steps
), chart AS MATERIALIZED (
	SELECT array_agg(c.used ORDER BY x.x) AS used, array_agg(c.rejected ORDER BY x.x) AS rejected
	FROM generate_series(1, 72) x (x) LEFT JOIN (
		SELECT 1 + floor(extract(epoch FROM s.at - t.begins) / extract(epoch FROM t.step))::int AS x,
			max(s.used) AS used, sum(s.rejected)::bigint AS rejected
		FROM samples s, times t WHERE s.at >= t.begins GROUP BY 1) c ON c.x = x.x
), sessions AS MATERIALIZED (
	SELECT * FROM infra_monitor.sessions()
), seen AS (
	SELECT coalesce(wait_event_type, 'CPU') AS class, coalesce(wait_event, 'CPU') AS event, count(*) AS now, 0 AS average
	FROM sessions WHERE state = 'active' AND pid <> pg_backend_pid() GROUP BY 1, 2
	UNION ALL
	SELECT wait_event_type, wait_event, 0, sum(observations) / nullif(max(looks), 0)
	FROM infra_monitor.wait_counts() WHERE wait_event IS NOT NULL GROUP BY 1, 2
), events AS (
	SELECT class, event, sum(now) AS now, sum(average) AS average FROM seen GROUP BY 1, 2
), waits AS MATERIALIZED (
	SELECT row_number() OVER (ORDER BY sum(now) DESC, sum(average) DESC, class)::int AS n, class, sum(now) AS now, sum(average) AS average,
		(array_agg(event ORDER BY now DESC, average DESC, event))[1] AS event
	FROM events GROUP BY class
), holders AS MATERIALIZED (
	SELECT row_number() OVER (ORDER BY count(*) DESC, datname, usename, application_name, client_addr)::int AS n, count(*) AS connections,
		count(*) FILTER (WHERE state = 'active') AS active,
		count(*) FILTER (WHERE state IN ('idle in transaction', 'idle in transaction (aborted)')) AS idle_in_transaction,
		usename, datname, application_name, client_addr
	FROM sessions GROUP BY datname, usename, application_name, client_addr
	ORDER BY 1 LIMIT 4
), counts AS MATERIALIZED (
	SELECT userid, dbid, queryid, toplevel, infra_monitor.observations(latency) AS calls, total_time,
		infra_monitor.quantile(latency, 0.95) AS p95, cancelled + lock_not_available + terminated + failed AS failures, stats_since
	FROM infra_monitor.statement_counts()
	WHERE infra_monitor.pg_stat_statements_loaded() AND userid IS NOT NULL
), ranked AS (
	(SELECT 18 AS place, row_number() OVER (ORDER BY total_time DESC)::int AS n, * FROM counts ORDER BY 2 LIMIT 3)
	UNION ALL
	-- few calls have no percentile that means something
	(SELECT 22, row_number() OVER (ORDER BY p95 DESC, total_time DESC)::int, * FROM counts WHERE calls >= 5 ORDER BY 2 LIMIT 3)
), statements AS (
	SELECT r.*, CASE WHEN r.queryid IS NULL AND r.calls > 0 THEN '<insufficient privilege>' ELSE s.query END AS query
	FROM ranked r
		LEFT JOIN infra_monitor.statement_stats(CASE WHEN infra_monitor.pg_stat_statements_loaded() THEN true END) s
			ON s.userid = r.userid AND s.dbid = r.dbid AND s.queryid = r.queryid AND s.toplevel = r.toplevel
), refused AS (
	SELECT coalesce(sum(total) FILTER (WHERE reason <> 'authentication'), 0) AS total,
		string_agg(reason || ' ' || total, ', ' ORDER BY total DESC, reason) FILTER (WHERE reason <> 'authentication' AND total > 0) AS reasons,
		coalesce(sum(total) FILTER (WHERE reason = 'authentication'), 0) AS authentication
	FROM infra_monitor.pool_rejections()
), lines (place, line) AS (
	SELECT 1, format('%s  %s  score %s/10  %s  up %s  evaluated %ss ago',
		upper(h->>'status'), h->>'role', coalesce(h->>'score', '?'), to_char(clock_timestamp(), 'YYYY-MM-DD HH24:MI:SS TZ'),
		to_char(justify_hours(make_interval(secs => (h->>'uptime')::float8)), 'FMDD"d" HH24:MI:SS'),
		round((h->>'age_ms')::float8 / 1000))
	FROM health
	UNION ALL
	SELECT 2, format('pool %s %s  %s of %s used, peak %s, %s authenticating, %s available%s',
		infra_monitor.bar(used_ratio, 16), upper(status), used_connections, max_connections,
		peak_connections, authenticating, available_connections,
		(SELECT ', none in ' || to_char(make_interval(secs => value), 'HH24:MI:SS') FROM known WHERE name = 'exhaustion_eta' AND value < 86400))
	FROM pool
	UNION ALL
	SELECT 3, format('     %s active (%s waiting for locks), %s idle, %s idle in transaction%s',
		active, waiting, idle, idle_in_transaction,
		', the longest for ' || to_char(oldest_idle_in_transaction, 'HH24:MI:SS'))
	FROM pool
	UNION ALL
	SELECT 4, format('     refused %s%s; authentication failures %s; since %s', r.total, ': ' || r.reasons, r.authentication,
		to_char(p.stats_reset, 'YYYY-MM-DD HH24:MI'))
	FROM pool p, refused r
	UNION ALL
	SELECT 4 + d.n, '     ' || d.line
	FROM times t, chart c, pool p,
		LATERAL infra_monitor.draw_pool(t.begins, t.step, c.used, c.rejected, p.ordinary, 3) WITH ORDINALITY AS d (line, n)
	UNION ALL
	SELECT 12, format('%-32s%5s%8s  %5s%7s%8s  %s', 'active sessions wait for', 'now', 'average', 'conns', 'active', 'in xact', 'held by')
	UNION ALL
	SELECT 12 + n, format('%-32s%5s%8s  %s', w.name, w.now, w.average, h.line)
	FROM generate_series(1, 4) n
		LEFT JOIN (SELECT n, infra_monitor.one_line(CASE class WHEN event THEN class ELSE class || ' ' || event END, 31) AS name,
			now, round(average, 2) AS average FROM waits) w USING (n)
		LEFT JOIN (SELECT n, format('%5s%7s%8s  %s', connections, active, idle_in_transaction,
			format('%s@%s %s %s', usename, datname, application_name, coalesce(host(client_addr), 'local'))) AS line FROM holders) h USING (n)
	UNION ALL
	SELECT 18, CASE WHEN infra_monitor.pg_stat_statements_loaded()
		THEN format('%10s%12s%12s%8s  statements that took most time, since %s', 'calls', 'total s', 'p95 ms', 'failed',
			(SELECT to_char(min(stats_since), 'YYYY-MM-DD HH24:MI') FROM counts))
		ELSE 'statements are not counted: pg_stat_statements is not loaded' END
	UNION ALL
	SELECT 22, format('%42s  slowest by p95, of those with 5 calls or more', '') WHERE infra_monitor.pg_stat_statements_loaded()
	UNION ALL
	SELECT place + n, format('%10s%12s%12s%8s  %s', calls, round(total_time::numeric / 1000, 1), round(p95::numeric, 1), failures,
		coalesce(query, '?'))
	FROM statements
	UNION ALL
	SELECT 26, format('checks: %s critical, %s warning, %s ok, %s unknown%s',
		count(*) FILTER (WHERE status = 'critical'), count(*) FILTER (WHERE status = 'warning'),
		count(*) FILTER (WHERE status = 'ok'), count(*) FILTER (WHERE status = 'unknown'),
		': ' || string_agg(name, ', ' ORDER BY name) FILTER (WHERE status = 'unknown' AND unit IS NOT NULL))
	FROM known
	UNION ALL
	SELECT 25 + 2 * n, format('%-8s  %-20s  %s', status, name, coalesce(message, ''))
	FROM checks WHERE n <= 3
	UNION ALL
	SELECT 26 + 2 * n, format('%10s%s', '', hint)
	FROM checks WHERE n <= 3
	UNION ALL
	SELECT 33, format('sampler %s, last sample %s, %s stored, %s missed%s', state,
		coalesce(to_char(clock_timestamp() - last_tick, 'HH24:MI:SS') || ' ago', 'never'), rows_stored, missed,
		CASE WHEN current_database() <> current_setting('infra_monitor.database')
			THEN '; history in ' || current_setting('infra_monitor.database') END)
	FROM infra_monitor.sampler_state()
	UNION ALL
	SELECT 34, format('last error at %s: %s', to_char(last_error_at, 'YYYY-MM-DD HH24:MI:SS'), last_error)
	FROM infra_monitor.sampler_state() WHERE last_error IS NOT NULL
)
SELECT coalesce(infra_monitor.one_line(l.line, 98), '')
FROM generate_series(1, 34) s (place) LEFT JOIN lines l USING (place)
ORDER BY place
$$;
COMMENT ON FUNCTION infra_monitor.dashboard() IS
'one screen of text for psql and its command watch, always 34 lines of at most 98 columns, each in its place: status and score, pool with refusals by reason and a chart of the last samples, classes of waits, who holds connections, top statements by time and by p95, the worst checks with what to do, sampler; from memory, also on standbys and in other databases; error unless preloaded; for pg_monitor';

--
-- changes.sql: what has changed: settings, and the server itself
--

CREATE TABLE infra_monitor.setting_samples (
	sampled_at timestamptz NOT NULL,
	epoch bigint NOT NULL,
	number bigint NOT NULL,
	name text NOT NULL,
	setting text,
	unit text,
	source text,
	pending_restart boolean,
	change text,
	old_setting text
) PARTITION BY RANGE (sampled_at);
COMMENT ON TABLE infra_monitor.setting_samples IS
'settings of the server, as a session of the sampler''s role in the home database has them: all that are not at their defaults with the first writing of each UTC day, then those that have changed, also across a restart; in partitions by day, kept for infra_monitor.retention; not dumped; written by the sampler only; for pg_monitor';
COMMENT ON COLUMN infra_monitor.setting_samples.epoch IS 'as in samples';
COMMENT ON COLUMN infra_monitor.setting_samples.number IS 'of the writing; greater in each than in those before on the same day, whatever the clock said';
COMMENT ON COLUMN infra_monitor.setting_samples.setting IS 'as in pg_settings; NULL: not stored, as it might be a secret: settings that not everybody may see, commands, conninfo, and texts of other extensions; or there is no such setting any more';
COMMENT ON COLUMN infra_monitor.setting_samples.unit IS 'as in pg_settings';
COMMENT ON COLUMN infra_monitor.setting_samples.source IS 'as in pg_settings; NULL: not known, for the sampler has a value of its own';
COMMENT ON COLUMN infra_monitor.setting_samples.pending_restart IS 'there is another value in the configuration file, which needs a restart';
COMMENT ON COLUMN infra_monitor.setting_samples.change IS 'what has changed since it was stored before: value, pending_restart or source; NULL: nothing';
COMMENT ON COLUMN infra_monitor.setting_samples.old_setting IS 'the value before, where that has changed';

CREATE FUNCTION infra_monitor.setting_text(setting text, unit text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN $2 IS NULL OR $1 IS NULL OR NOT n.amount > 0 OR n.amount IS NULL THEN $1
	ELSE coalesce((
		SELECT trim_scale(n.amount / u.size) || u.name
		FROM (VALUES ('TB', 1099511627776::numeric, true), ('GB', 1073741824, true), ('MB', 1048576, true), ('kB', 1024, true), ('B', 1, true),
			('d', 86400000, false), ('h', 3600000, false), ('min', 60000, false), ('s', 1000, false), ('ms', 1, false), ('us', 0.001, false)
		) AS u (name, size, of_memory)
		WHERE u.of_memory = ($2 ~ 'B$') AND mod(n.amount, u.size) = 0
		ORDER BY u.size DESC LIMIT 1), $1 || ' ' || $2) END
FROM (SELECT infra_monitor.setting_number($1, $2)::numeric AS amount) n
$$;
COMMENT ON FUNCTION infra_monitor.setting_text(text, text) IS
'a setting with its unit, as SHOW shows it: 8MB; for pg_monitor';

CREATE FUNCTION infra_monitor.changes(
	since timestamptz, until timestamptz DEFAULT pg_catalog.now(),
	OUT at timestamptz, OUT kind text, OUT name text, OUT old text,
	OUT new text)
RETURNS SETOF record
LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED ROWS 100
SET search_path = pg_catalog, pg_temp
AS $$
WITH beginnings AS (
	SELECT e.*, lag(e) OVER (ORDER BY e.number) AS last
	FROM infra_monitor.epochs e
), of_server AS (
	SELECT c.*
	FROM beginnings b CROSS JOIN LATERAL (VALUES
		(b.sampled_at, 'upgrade', 'server_version', (b.last).server_version, b.server_version,
			(b.last).server_version <> b.server_version),
		(b.sampled_at, 'promotion', 'timeline', (b.last).timeline::text, b.timeline::text,
			(b.last).timeline < b.timeline),
		(b.started_at, 'restart', 'server', (b.last).started_at::text, b.started_at::text,
			(b.last).started_at <> b.started_at AND (b.last).timeline >= b.timeline),
		(b.initialized_at, 'crash', 'server', (b.last).initialized_at::text, b.initialized_at::text,
			(b.last).started_at = b.started_at AND (b.last).initialized_at <> b.initialized_at),
		(b.pool_reset, 'reset', 'pool', (b.last).pool_reset::text, b.pool_reset::text,
			(b.last).initialized_at = b.initialized_at AND (b.last).pool_reset <> b.pool_reset),
		(b.statements_reset, 'reset', 'statements', (b.last).statements_reset::text, b.statements_reset::text,
			(b.last).initialized_at = b.initialized_at AND (b.last).statements_reset <> b.statements_reset),
		-- also one that was not the latest by the clock, which nothing else explains
		(coalesce(nullif(b.statistics_reset, (b.last).statistics_reset), b.sampled_at),
			'reset', 'statistics', (b.last).statistics_reset::text, b.statistics_reset::text,
			(b.last).epoch <> b.epoch AND (b.last).initialized_at = b.initialized_at AND (b.last).timeline = b.timeline
			AND ((b.last).statistics_reset IS DISTINCT FROM b.statistics_reset
				OR (b.last).pool_reset = b.pool_reset AND (b.last).statements_reset = b.statements_reset))
	) AS c (at, kind, name, old, new, happened)
	WHERE c.happened
), all_changes AS (
	SELECT at, kind, name, old, new, 1 AS place FROM of_server
	UNION ALL
	SELECT s.sampled_at, CASE s.change WHEN 'value' THEN 'setting' ELSE 'pending restart' END, s.name,
		CASE s.change WHEN 'value' THEN infra_monitor.setting_text(s.old_setting, s.unit) END,
		CASE s.change WHEN 'value' THEN infra_monitor.setting_text(s.setting, s.unit) END, 2
	FROM infra_monitor.setting_samples s
	WHERE s.sampled_at >= $1 AND s.sampled_at < $2
		AND (s.change = 'value' OR s.change = 'pending_restart' AND s.pending_restart)
	UNION ALL
	SELECT g.from_at, 'gap', coalesce(g.reason, 'not known'), NULL, (g.until_at - g.from_at)::text, 0
	FROM infra_monitor.history_gaps($1, $2) g
)
SELECT c.at, c.kind, c.name, c.old, c.new
FROM all_changes c
WHERE c.at >= $1 AND c.at < $2 AND infra_monitor.history_step($1, $2, NULL) IS NOT NULL
ORDER BY c.at, c.place, c.kind, c.name
$$;
COMMENT ON FUNCTION infra_monitor.changes(timestamptz, timestamptz) IS
'what has changed from since until before until, oldest first; kind: setting (name, old and new value with unit; both NULL if the value might be a secret), pending restart (the configuration file has another value), restart, crash (the server began anew by itself), promotion (old and new timeline), upgrade (old and new version), reset (name: pool, statements, statistics; old and new: when), gap (name: reason, new: how long; see history_gaps()); a setting is noted up to infra_monitor.statement_interval after its change; from setting_samples, epochs and samples, so only what was while samples were taken, or between two of them; error if the span is not finite or ends before it begins; for pg_monitor';

--
-- charts.sql: parts of a page: texts, numbers, and charts as inline SVG
--
-- A chart has no fixed width.  What is drawn in its plot has coordinates from 0
-- to 1000, with 0 at the top left, and is stretched to the width of the page;
-- lines and letters keep theirs.
--

CREATE FUNCTION infra_monitor.html(text)
RETURNS text
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_html_1_0';
COMMENT ON FUNCTION infra_monitor.html(text) IS
'what stands for a text in HTML and XML, between tags and in quotes: ASCII; control characters become pictures of them, and those that have none or change the direction of other text become U+FFFD; tabs and ends of lines stay; for pg_monitor';

CREATE FUNCTION infra_monitor.html_name(string text, width int DEFAULT 40)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN $1 IS NULL THEN '<span class="none">&#8212;</span>'
	WHEN short = $1 THEN format('<bdi>%s</bdi>', infra_monitor.html($1))
	ELSE format('<bdi title="%s">%s</bdi>', infra_monitor.html($1), infra_monitor.html(short)) END
FROM (SELECT infra_monitor.one_line($1, $2) AS short) o
$$;
COMMENT ON FUNCTION infra_monitor.html_name(text, int) IS
'a name in a page: on one line, cut to a width, and then whole where the mouse points; its direction is its own; a dash for NULL; for pg_monitor';

CREATE FUNCTION infra_monitor.html_query(query text, width int DEFAULT 90)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN $1 IS NULL THEN '<span class="none">text not known</span>'
	WHEN short = $1 THEN format('<code><bdi>%s</bdi></code>', infra_monitor.html($1))
	ELSE format('<details><summary><code><bdi>%s</bdi></code></summary><pre><bdi>%s</bdi></pre></details>',
		infra_monitor.html(short), infra_monitor.html(left($1, 4000) || CASE WHEN length($1) > 4000 THEN ' ...' ELSE '' END)) END
FROM (SELECT infra_monitor.one_line($1, $2) AS short) o
$$;
COMMENT ON FUNCTION infra_monitor.html_query(text, int) IS
'the text of a statement in a page: one line that opens, to 4000 characters of it; for pg_monitor';

--
-- numbers
--

CREATE FUNCTION infra_monitor.short_number(value float8)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN a < 'Infinity' THEN
		CASE WHEN a >= 1e15 THEN trim(to_char($1, '9.99EEEE'))
			WHEN a >= 1000 THEN trim(to_char($1, 'FM999,999,999,999,999'))
			WHEN a = 0 THEN '0'
			WHEN a < 1e-6 THEN trim(to_char($1, '9.99EEEE'))
			ELSE trim_scale(round($1::numeric, greatest(2 - floor(log(a))::int, 0)))::text END
	ELSE $1::text END
FROM (SELECT abs($1) AS a) v
$$;
COMMENT ON FUNCTION infra_monitor.short_number(float8) IS
'a number for people: three digits that count, from a thousand on all of them, in groups; for pg_monitor';

CREATE FUNCTION infra_monitor.short_time(ms float8)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT infra_monitor.short_number($1 / u.length) || ' ' || u.name
FROM (VALUES (0::float8, 1e-3, 'us'), (0.9995, 1, 'ms'), (999.5, 1e3, 's'), (6e5, 6e4, 'min'), (3.6e6, 3.6e6, 'h'),
	(1.728e8, 8.64e7, 'd')) AS u (from_ms, length, name)
WHERE u.from_ms <= abs($1)
ORDER BY u.from_ms DESC LIMIT 1
$$;
COMMENT ON FUNCTION infra_monitor.short_time(float8) IS
'a duration in milliseconds for people, in the unit that suits it: us, ms, s, min, h, d; for pg_monitor';

--
-- axes
--

CREATE FUNCTION infra_monitor.axis_step(most float8, ticks int DEFAULT 5)
RETURNS float8
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT min(s.size * power(10, p.power))
FROM (SELECT floor(log(greatest($1, 1e-6) / $2)) AS power) p, unnest('{1,2,5,10}'::float8[]) s (size)
WHERE s.size * power(10, p.power) >= greatest($1, 1e-6) / $2 * (1 - 1e-9)
$$;
COMMENT ON FUNCTION infra_monitor.axis_step(float8, int) IS
'how far apart the ticks of an axis from 0 to most are: 1, 2 or 5 times a power of 10, so that there are at most so many; for pg_monitor';

CREATE FUNCTION infra_monitor.axis_ticks(top float8, step float8,
	OUT value float8, OUT place float8)
RETURNS SETOF record
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE ROWS 6
SET search_path = pg_catalog, pg_temp
AS $$
SELECT n * $2, n * $2 / $1 FROM generate_series(0, round($1 / $2)::int) n
$$;
COMMENT ON FUNCTION infra_monitor.axis_ticks(float8, float8) IS
'the ticks of an axis from 0 to top, which is a tick: value, and place from 0 to 1; for pg_monitor';

CREATE FUNCTION infra_monitor.log_axis_ticks(fewest float8, most float8,
	OUT value float8, OUT place float8)
RETURNS SETOF record
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE ROWS 6
SET search_path = pg_catalog, pg_temp
AS $$
WITH decades AS (
	SELECT floor(log($1) + 1e-9)::int AS low, greatest(ceil(log($2) - 1e-9)::int, floor(log($1) + 1e-9)::int + 1) AS high
), axis AS (
	-- of many decades, each second or third has a tick, and so has the last
	SELECT low, low + ceil((high - low)::float8 / n)::int * n AS high, n FROM decades, LATERAL (SELECT 1 + (high - low) / 6) t (n)
)
SELECT s.size * power(10::float8, p), (log(s.size) + p - low) / (high - low)
FROM axis, generate_series(low, high, n) p, unnest('{1,2,5}'::float8[]) s (size)
WHERE s.size = 1 OR high - low <= 2 AND p < high
ORDER BY 1
$$;
COMMENT ON FUNCTION infra_monitor.log_axis_ticks(float8, float8) IS
'the ticks of a logarithmic axis of whole powers of 10 around two numbers, both positive: value, and place from 0 to 1; for pg_monitor';

CREATE FUNCTION infra_monitor.time_ticks(since timestamptz, until timestamptz,
	OUT label text, OUT place float8, OUT is_day boolean)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 8
SET search_path = pg_catalog, pg_temp
AS $$
WITH usual AS (
	SELECT coalesce(min(s), make_interval(days => ceil(extract(epoch FROM $2 - $1) / 8 / 86400)::int)) AS step
	FROM unnest('{1s,2s,5s,10s,15s,30s,1min,2min,5min,10min,15min,30min,1h,2h,3h,6h,12h,1d,2d,7d,14d,28d,91d}'::interval[]) s
	WHERE s >= ($2 - $1) / 8
), ticks AS (
	-- local times, to and fro: an hour that does not exist is the next one
	SELECT DISTINCT u.step, t::timestamptz AS at, t::timestamptz::timestamp AS t
	FROM usual u, generate_series(date_bin(u.step, $1::timestamp, '2001-01-01'), $2::timestamp, u.step) t
)
SELECT CASE WHEN t = date_trunc('day', t) THEN
		CASE WHEN step > '30 days' THEN to_char(t, 'FMDD Mon YYYY') ELSE to_char(t, 'Dy FMDD Mon') END
	WHEN step < '1 min' THEN to_char(t, 'HH24:MI:SS') ELSE to_char(t, 'HH24:MI') END,
	(extract(epoch FROM at - $1) / extract(epoch FROM $2 - $1))::float8, t = date_trunc('day', t)
FROM ticks WHERE at >= $1 AND at <= $2 AND $1 < $2
ORDER BY at
$$;
COMMENT ON FUNCTION infra_monitor.time_ticks(timestamptz, timestamptz) IS
'round moments in the session''s time zone between two others, not more than 10 of them: label, and place from 0 to 1; for pg_monitor';

--
-- what is drawn
--

CREATE FUNCTION infra_monitor.chart_line(at timestamptz[], place float8[],
	since timestamptz, until timestamptz, apart interval)
RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
WITH points AS (
	SELECT p.at, p.place, lag(p.at) OVER by_time AS before, lead(p.at) OVER by_time AS behind
	FROM unnest($1, $2) AS p (at, place)
	WHERE p.place IS NOT NULL
	WINDOW by_time AS (ORDER BY p.at)
), joined AS (
	SELECT at, at - before <= $5 AS to_former, behind - at <= $5 AS to_next,
		trim_scale(round((1000 * extract(epoch FROM at - $3) / extract(epoch FROM $4 - $3))::numeric, 1)) AS x,
		trim_scale(round((1000 * (1 - place))::numeric, 1)) AS y
	FROM points
	WHERE $3 < $4
)
-- one that is alone is a dot
SELECT string_agg(CASE WHEN to_former THEN 'L' ELSE 'M' END || x || ' ' || y
	|| CASE WHEN to_former OR to_next THEN '' ELSE 'h.1' END, '' ORDER BY at)
FROM joined
$$;
COMMENT ON FUNCTION infra_monitor.chart_line(timestamptz[], float8[], timestamptz, timestamptz, interval) IS
'points as the path of a line, places from 0 to 1; points that are further apart than that are not joined; for pg_monitor';

CREATE FUNCTION infra_monitor.chart_columns(at timestamptz[], behind timestamptz[],
	low float8[], high float8[], since timestamptz, until timestamptz)
RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
WITH corners AS (
	SELECT c.at, trim_scale(round((1000 * (1 - c.low))::numeric, 1)) AS bottom, trim_scale(round((1000 * (1 - c.high))::numeric, 1)) AS top,
		trim_scale(round((1000 * extract(epoch FROM greatest(c.at, $5) - $5) / extract(epoch FROM $6 - $5))::numeric, 1)) AS x,
		trim_scale(round((1000 * extract(epoch FROM least(c.behind, $6) - $5) / extract(epoch FROM $6 - $5))::numeric, 1)) AS right
	FROM unnest($1, $2, $3, $4) AS c (at, behind, low, high)
	WHERE c.high > c.low AND c.at < $6 AND c.behind > $5
)
-- narrow ones can be seen
SELECT string_agg('M' || x || ' ' || bottom || 'V' || top || 'H' || greatest("right", x + 0.8) || 'V' || bottom || 'Z', '' ORDER BY at)
FROM corners
$$;
COMMENT ON FUNCTION infra_monitor.chart_columns(timestamptz[], timestamptz[], float8[], float8[], timestamptz, timestamptz) IS
'columns, each with its begin and end, from low to high, as the path of an area; places from 0 to 1; for pg_monitor';

CREATE FUNCTION infra_monitor.chart_path(class text, path text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE WHEN $2 <> '' THEN format('<path class="%s" d="%s"/>', $1, $2) ELSE '' END $$;
COMMENT ON FUNCTION infra_monitor.chart_path(text, text) IS
'a path in a chart, nothing if there is none; for pg_monitor';

CREATE FUNCTION infra_monitor.chart(title text, since timestamptz, until timestamptz,
	height int, labels text[], places float8[], drawn text)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT format('<svg class="chart" role="img" aria-label="%1$s" height="%2$s"><title>%1$s</title>%3$s%4$s'
	'<svg viewBox="0 0 1000 1000" preserveAspectRatio="none" width="100%%" height="%5$s">%6$s</svg>%7$s</svg>',
	infra_monitor.html($1), $4 + 24,
	(SELECT string_agg(format('<line class="grid" x1="0" x2="100%%" y1="%1$s" y2="%1$s"/>', y), '' ORDER BY y)
	 FROM unnest($6) p, trim_scale(round(($4 * (1 - p))::numeric, 1)) y),
	(SELECT string_agg(format('<line class="tick" x1="%1$s%%" x2="%1$s%%" y1="%2$s" y2="%3$s"/><text class="x%4$s%5$s" x="%1$s%%" y="%6$s">%7$s</text>',
		trim_scale(round((100 * place)::numeric, 2)), $4, $4 + 5, CASE WHEN n % 2 = 0 THEN ' even' END, CASE WHEN is_day THEN ' day' END, $4 + 19,
		infra_monitor.html(label)), '' ORDER BY place)
	 FROM infra_monitor.time_ticks($2, $3) WITH ORDINALITY AS t (label, place, is_day, n)),
	$4, $7,
	(SELECT string_agg(format('<text class="y" x="-8" y="%s">%s</text>', trim_scale(round(($4 * (1 - place) + 4)::numeric, 1)), infra_monitor.html(label)), '' ORDER BY place)
	 FROM unnest($5, $6) AS t (label, place)))
$$;
COMMENT ON FUNCTION infra_monitor.chart(text, timestamptz, timestamptz, int, text[], float8[], text) IS
'a chart over time, with what is drawn in it: title, span, height, labels of the other axis and their places from 0 to 1; for pg_monitor';

CREATE FUNCTION infra_monitor.legend(names text[], classes text[])
RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT '<ul class="legend">' || string_agg(format('<li><svg width="24" height="12" aria-hidden="true"><path class="%s" d="%s"/></svg>%s</li>',
	class, CASE WHEN class LIKE 'line%' THEN 'M1 6H23' ELSE 'M1 1H23V11H1Z' END, infra_monitor.html(name)), '' ORDER BY n) || '</ul>'
FROM unnest($1, $2) WITH ORDINALITY AS l (name, class, n)
$$;
COMMENT ON FUNCTION infra_monitor.legend(text[], text[]) IS
'what the lines and areas of a chart are; for pg_monitor';

CREATE FUNCTION infra_monitor.sparkline(title text, at timestamptz[], value float8[],
	since timestamptz, until timestamptz, apart interval)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN m.most > 0 THEN format('<svg class="spark" role="img" aria-label="%1$s" viewBox="0 0 1000 1000" preserveAspectRatio="none"><title>%1$s</title>%2$s</svg>',
	infra_monitor.html($1), infra_monitor.chart_path('line spark',
		infra_monitor.chart_line($2, (SELECT array_agg(0.05 + 0.9 * v / m.most ORDER BY n) FROM unnest($3) WITH ORDINALITY AS u (v, n)), $4, $5, $6))) ELSE '' END
FROM (SELECT max(v) AS most FROM unnest($3) v) m
$$;
COMMENT ON FUNCTION infra_monitor.sparkline(text, timestamptz[], float8[], timestamptz, timestamptz, interval) IS
'values from 0 to the greatest over time as a line without axes; for pg_monitor';

--
-- report.sql: a span of history as a page
--
-- Each section is a function, which returns HTML that is also well-formed XML.
-- Whatever was named by somebody else goes through html().  A standby has
-- stored nothing: what is in its tables is its primary's, and not shown.
--

CREATE FUNCTION infra_monitor.report_style()
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT '
:root { color-scheme: light dark; --page: #ffffff; --soft: #f4f6f8; --text: #1a1f26; --quiet: #57606a; --rule: #dde2e8;
  --used: #0072b2; --fill: #d3e6f3; --bad: #b42318; --warn: #8f5a00; --good: #1a7f4b; --badfill: #d55e00; --warnfill: #e69f00; --goodfill: #7fc8a9;
  --gap: #e9ecf0; --w1: #009e73; --w2: #0072b2; --w3: #d55e00; --w4: #cc79a7; --w5: #56b4e9; --w6: #f0e442; --w7: #e69f00; --w8: #8a8f98; }
@media screen and (prefers-color-scheme: dark) { :root { --page: #14181d; --soft: #1c2229; --text: #e4e8ec; --quiet: #9aa5b1; --rule: #313a44;
  --used: #56b4e9; --fill: #1e4360; --bad: #ff8a7a; --warn: #f2b75c; --good: #6fd3a3; --badfill: #d55e00; --warnfill: #e69f00; --goodfill: #2f7d5b;
  --gap: #252c34; --w2: #3a93d0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 74rem; padding: 2rem 1.5rem 3rem; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .25rem; font-weight: 650; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 0 0 .25rem; font-weight: 650; }
h3 { font-size: .95rem; margin: 1.25rem 0 .4rem; font-weight: 600; }
p { margin: .25rem 0 .75rem; max-width: 60rem; }
a { color: var(--used); }
section { margin: 2.25rem 0 0; padding: 1.25rem 0 0; border-top: 1px solid var(--rule); }
.note, .none, footer { color: var(--quiet); }
.note { font-size: .9rem; }
nav { margin: 1rem 0 0; font-size: .9rem; }
nav a { margin-right: 1rem; white-space: nowrap; display: inline-block; }
dl.facts { display: flex; flex-wrap: wrap; gap: .1rem 1.5rem; margin: .5rem 0 0; font-size: .9rem; }
dl.facts div { display: flex; gap: .4rem; }
dl.facts dt { color: var(--quiet); }
dl.facts dd { margin: 0; overflow-wrap: anywhere; }
ul.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.75rem, 1fr)); gap: .75rem; list-style: none; margin: 1.25rem 0 0; padding: 0; }
ul.tiles li { background: var(--soft); border: 1px solid var(--rule); border-radius: .5rem; padding: .7rem .9rem .75rem; }
ul.tiles b { display: block; font-size: 1.15rem; line-height: 1.3; font-weight: 650; font-variant-numeric: tabular-nums; }
ul.tiles li > span { display: block; font-size: .8rem; line-height: 1.35; color: var(--quiet); }
.ok { color: var(--good); } .warning { color: var(--warn); } .critical { color: var(--bad); } .unknown { color: var(--quiet); }
.status { font-weight: 600; white-space: nowrap; }
.wide { overflow-x: auto; margin: .5rem 0 0; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .5rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--rule); }
th { color: var(--quiet); font-weight: 600; font-size: .8rem; white-space: nowrap; vertical-align: bottom; }
td.n, th.n { text-align: right; white-space: nowrap; }
td.t { white-space: nowrap; }
td.query { min-width: 16rem; width: 36%; }
td .note { font-size: .8rem; }
tr > :first-child { padding-left: 0; } tr > :last-child { padding-right: 0; }
code, pre { font: .84rem/1.45 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
pre { white-space: pre-wrap; background: var(--soft); border: 1px solid var(--rule); border-radius: .35rem; padding: .5rem .7rem; margin: .35rem 0 0; max-width: 48rem; }
summary { cursor: pointer; }
svg.chart { display: block; overflow: visible; margin: .6rem 0 0 4rem; width: calc(100% - 4.75rem); }
svg.chart text { fill: var(--quiet); font-size: 11.5px; font-variant-numeric: tabular-nums; }
svg.chart text.y { text-anchor: end; } svg.chart text.x { text-anchor: middle; } svg.chart text.day { fill: var(--text); font-weight: 600; }
.grid { stroke: var(--rule); stroke-width: 1; } .tick { stroke: var(--quiet); stroke-width: 1; }
.names .gap { opacity: .8; } .names svg.chart { margin-left: 0; width: 100%; } .names svg.chart text.y { text-anchor: start; transform: translate(8px, 9px); fill: var(--text); }
.line { fill: none; stroke: var(--used); stroke-width: 1.75; stroke-linejoin: round; stroke-linecap: round; vector-effect: non-scaling-stroke; }
.area { stroke: none; shape-rendering: crispEdges; }
.line.limit { stroke: var(--bad); stroke-dasharray: 7 4; stroke-linecap: butt; } .area.used { fill: var(--fill); } .area.refused { fill: var(--badfill); }
.line.waiting { stroke: var(--badfill); } .line.intransaction { stroke: var(--warnfill); stroke-dasharray: 5 3; stroke-linecap: butt; }
.line.p50 { stroke: var(--w1); } .line.p95 { stroke: var(--used); stroke-dasharray: 6 3; stroke-linecap: butt; } .line.p99 { stroke: var(--w3); }
.w1 { fill: var(--w1); } .w2 { fill: var(--w2); } .w3 { fill: var(--w3); } .w4 { fill: var(--w4); } .w5 { fill: var(--w5); } .w6 { fill: var(--w6); } .w7 { fill: var(--w7); } .w8 { fill: var(--w8); }
.area.gap { fill: var(--gap); }
.area.s-ok { fill: var(--goodfill); } .area.s-warning { fill: var(--warnfill); } .area.s-critical { fill: var(--badfill); } .area.s-unknown { fill: var(--rule); }
svg.spark { display: block; width: 5.5rem; height: 1.6rem; overflow: visible; } .line.spark { stroke-width: 1.4; }
ul.legend { display: flex; flex-wrap: wrap; gap: .1rem 1.2rem; list-style: none; margin: .6rem 0 0; padding: 0; font-size: .85rem; }
ul.legend li { display: flex; align-items: center; gap: .45rem; }
.share { display: inline-block; height: .55rem; background: var(--used); border-radius: 1px; margin-left: .4rem; }
.share i { display: none; }
footer { margin-top: 2.5rem; padding-top: 1rem; border-top: 1px solid var(--rule); font-size: .85rem; }
@media (max-width: 40rem) { body { padding: 1.25rem 1rem 2rem; } svg.chart { margin-left: 3rem; width: calc(100% - 3.25rem); } svg.chart text.even { display: none; } }
@media print { body { max-width: none; padding: 0; font-size: 11px; } nav { display: none; } section, tr, svg, ul.tiles { break-inside: avoid; } section.long { break-inside: auto; }
  h2, h3, .note, ul.legend { break-after: avoid; } .wide { overflow: visible; } td.query { min-width: 0; } * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
' $$;
COMMENT ON FUNCTION infra_monitor.report_style() IS
'style sheet of report(); for pg_monitor';

CREATE FUNCTION infra_monitor.report_moment(at timestamptz, step interval DEFAULT '1 second')
RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT to_char($1, CASE WHEN $2 < '1 minute' THEN 'YYYY-MM-DD HH24:MI:SS' ELSE 'YYYY-MM-DD HH24:MI' END) $$;
COMMENT ON FUNCTION infra_monitor.report_moment(timestamptz, interval) IS
'a moment in report(), in the session''s time zone, to seconds or minutes; for pg_monitor';

CREATE FUNCTION infra_monitor.report_status(status text)
RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT format('<span class="status %s">%s %s</span>', s.class, s.sign, infra_monitor.html($1))
FROM (SELECT CASE WHEN $1 IN ('ok', 'healthy', 'pass') THEN 'ok' WHEN $1 IN ('warning', 'degraded', 'warn') THEN 'warning'
		WHEN $1 IN ('critical', 'unhealthy', 'fail', 'failed', 'cancelled', 'terminated') THEN 'critical' ELSE 'unknown' END) c (class),
	LATERAL (SELECT c.class, CASE c.class WHEN 'ok' THEN '&#10003;' WHEN 'warning' THEN '&#9650;' WHEN 'critical' THEN '&#9632;' ELSE '?' END) s (class, sign)
$$;
COMMENT ON FUNCTION infra_monitor.report_status(text) IS
'a status in report(): sign, word and colour; for pg_monitor';

CREATE FUNCTION infra_monitor.report_table(columns text[], body text, nothing text)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN $2 <> '' THEN format('<div class="wide" tabindex="0"><table><thead><tr>%s</tr></thead><tbody>%s</tbody></table></div>',
		(SELECT string_agg(format('<th scope="col"%s>%s</th>', CASE WHEN c LIKE '#%' THEN ' class="n"' END, infra_monitor.html(ltrim(c, '#'))), '' ORDER BY n)
		 FROM unnest($1) WITH ORDINALITY AS u (c, n)), $2)
	ELSE format('<p>%s</p>', infra_monitor.html($3)) END
$$;
COMMENT ON FUNCTION infra_monitor.report_table(text[], text, text) IS
'a table in report(), of rows that are HTML, or what is said if there are none; names of columns with numbers begin with #; for pg_monitor';

CREATE FUNCTION infra_monitor.report_section(id text, title text, note text, body text)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT format(E'<section id="%1$s"%5$s aria-labelledby="h-%1$s"><h2 id="h-%1$s">%2$s</h2>%3$s%4$s</section>\n', $1, infra_monitor.html($2),
	CASE WHEN $3 <> '' THEN format('<p class="note">%s</p>', infra_monitor.html($3)) END, $4,
	CASE WHEN $4 LIKE '%<table>%' THEN ' class="long"' END)
$$;
COMMENT ON FUNCTION infra_monitor.report_section(text, text, text, text) IS
'a section of report(): title and note are text, the body is HTML; for pg_monitor';

CREATE FUNCTION infra_monitor.report_width(step interval, setting text)
RETURNS interval
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT greatest($1, coalesce(current_setting($2, true), '1s')::interval) $$;
COMMENT ON FUNCTION infra_monitor.report_width(interval, text) IS
'for how long a point of a chart speaks: the step, or the setting''s interval if that is longer; for pg_monitor';

CREATE FUNCTION infra_monitor.report_apart(step interval, setting text)
RETURNS interval
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT greatest(1.5 * $1, 3 * coalesce(current_setting($2, true), '1s')::interval) $$;
COMMENT ON FUNCTION infra_monitor.report_apart(interval, text) IS
'how far apart points of a chart may be and still be joined: what is further apart has a gap between; for pg_monitor';

-- where only hours or days are kept, no shorter ones can be shown
CREATE FUNCTION infra_monitor.report_step(since timestamptz, until timestamptz)
RETURNS interval
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT greatest(s.step, (SELECT max(CASE g.grain WHEN 'hour' THEN interval '1 hour' WHEN 'day' THEN '1 day' END)
	FROM infra_monitor.history_grains('samples', $1, $2, s.step) g))
FROM (SELECT infra_monitor.history_step($1, $2, NULL) AS step) s
$$;
COMMENT ON FUNCTION infra_monitor.report_step(timestamptz, timestamptz) IS
'what a point of a chart in report() stands for; error for a span that makes no sense, or of which nothing is kept; for pg_monitor';

CREATE FUNCTION infra_monitor.report_known(history text, since timestamptz, until timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT $2 WHERE NOT pg_is_in_recovery() AND $3 > CASE $1
	WHEN 'statements' THEN least((SELECT s.sampled_at FROM infra_monitor.statement_samples s LIMIT 1),
		(SELECT min(h.begins_at) FROM infra_monitor.statement_samples_hourly h), (SELECT min(d.begins_at) FROM infra_monitor.statement_samples_daily d))
	WHEN 'waits' THEN least((SELECT w.sampled_at FROM infra_monitor.wait_samples w LIMIT 1),
		(SELECT min(h.begins_at) FROM infra_monitor.wait_samples_hourly h), (SELECT min(d.begins_at) FROM infra_monitor.wait_samples_daily d))
	ELSE '-infinity' END
$$;
COMMENT ON FUNCTION infra_monitor.report_known(text, timestamptz, timestamptz) IS
'since, or NULL where a reader of that history would raise an error, or return what is another server''s: with NULL it returns nothing; for pg_monitor';

CREATE FUNCTION infra_monitor.report_samples(since timestamptz, until timestamptz, step interval,
	OUT bucket timestamptz, OUT at timestamptz, OUT epoch bigint, OUT most int, OUT latency infra_monitor.histogram)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 1000
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN g.fits THEN date_bin($3, p.at, '2001-01-01 00:00:00+00') ELSE p.at END, p.*
FROM infra_monitor.history_grains('samples', $1, $2, $3) g
	-- with OFFSET, these are scans of their own, of those partitions that they need
	CROSS JOIN LATERAL (
		(SELECT s.sampled_at AS at, s.epoch, s.max_connections - s.reserved_connections, s.latency FROM infra_monitor.samples s
		WHERE g.grain = 'sample' AND s.sampled_at >= g.from_at AND s.sampled_at < g.until_at OFFSET 0)
		UNION ALL
		(SELECT h.begins_at, h.last_epoch, h.max_connections - h.reserved_connections, h.latency FROM infra_monitor.samples_hourly h
		WHERE g.grain = 'hour' AND h.begins_at >= g.from_at AND h.begins_at < g.until_at OFFSET 0)
		UNION ALL
		(SELECT d.begins_at, d.last_epoch, d.max_connections - d.reserved_connections, d.latency FROM infra_monitor.samples_daily d
		WHERE g.grain = 'day' AND d.begins_at >= g.from_at AND d.begins_at < g.until_at OFFSET 0)
	) p
WHERE NOT pg_is_in_recovery()
$$;
COMMENT ON FUNCTION infra_monitor.report_samples(timestamptz, timestamptz, interval) IS
'what report() reads of samples or their rollups: bucket, moment, epoch, connections that ordinary roles can get, times of the executions; for pg_monitor';

-- times of all statements
CREATE FUNCTION infra_monitor.latency_buckets(since timestamptz, until timestamptz, step interval,
	OUT bucket timestamptz, OUT latency infra_monitor.histogram, OUT executions bigint,
	OUT p50_time float8, OUT p95_time float8, OUT p99_time float8)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 300
SET search_path = pg_catalog, pg_temp
AS $$
SELECT b.bucket, b.latency, infra_monitor.observations(b.latency), infra_monitor.quantile(b.latency, 0.50),
	infra_monitor.quantile(b.latency, 0.95), infra_monitor.quantile(b.latency, 0.99)
FROM (SELECT s.bucket, infra_monitor.sum(s.latency) AS latency
	FROM infra_monitor.report_samples($1, $2, $3) s
	GROUP BY s.bucket) b
ORDER BY b.bucket
$$;
COMMENT ON FUNCTION infra_monitor.latency_buckets(timestamptz, timestamptz, interval) IS
'times of the executions that completed, of all statements, in buckets; for pg_monitor';

-- where there are no samples
CREATE FUNCTION infra_monitor.report_gaps(since timestamptz, until timestamptz, step interval)
RETURNS text
LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
WITH apart AS (
	SELECT infra_monitor.report_apart($3, 'infra_monitor.sample_interval') AS apart, infra_monitor.report_width($3, 'infra_monitor.sample_interval') AS width
), known AS (
	SELECT bucket AS at FROM infra_monitor.pool_history($1, $2, $3)
	UNION ALL SELECT unnest(ARRAY[$1 - width, $2]) FROM apart
), spans AS (
	SELECT k.at, lead(k.at) OVER (ORDER BY k.at) AS next FROM known k
)
SELECT infra_monitor.chart_path('area gap', infra_monitor.chart_columns(array_agg(s.at + a.width), array_agg(s.next),
	array_agg(0::float8), array_agg(1::float8), $1, $2))
FROM spans s, apart a
WHERE s.next - s.at > a.apart
$$;
COMMENT ON FUNCTION infra_monitor.report_gaps(timestamptz, timestamptz, interval) IS
'the times without samples, drawn in the charts of report(); for pg_monitor';

CREATE FUNCTION infra_monitor.report_pool(since timestamptz, until timestamptz, step interval, gaps text)
RETURNS text
LANGUAGE sql VOLATILE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
WITH buckets AS MATERIALIZED (
	SELECT h.*, lead(h.bucket) OVER (ORDER BY h.bucket) AS next FROM infra_monitor.pool_history($1, $2, $3) h
), limits AS MATERIALIZED (
	-- it changes when the server starts
	SELECT min(p.at) AS at, p.most
	FROM infra_monitor.report_samples($1, $2, $3) p
	GROUP BY p.epoch, p.most
), steps AS MATERIALIZED (
	SELECT CASE WHEN row_number() OVER by_time = 1 THEN $1 ELSE at END AS at, coalesce(lead(at) OVER by_time, $2) AS behind, most FROM limits
	WINDOW by_time AS (ORDER BY at)
	UNION ALL
	SELECT $1, $2, current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
		- coalesce(current_setting('reserved_connections', true)::int, 0)
	WHERE NOT EXISTS (SELECT FROM limits)
), scale AS MATERIALIZED (
	SELECT a.step, ceil(m.most / a.step) * a.step AS top, m.refused, m.most_refused, m.any
	FROM (SELECT greatest(1.02 * (SELECT max(most) FROM steps), max(used_max), 5)::float8 AS most, sum(rejected) AS refused,
			max(rejected) AS most_refused, count(*) > 0 AS any FROM buckets) m,
		LATERAL infra_monitor.axis_step(m.most) a (step)
), drawn AS (
	SELECT infra_monitor.chart_path('area used', infra_monitor.chart_columns(array_agg(b.bucket),
			array_agg(CASE WHEN b.next - b.bucket <= a THEN b.next ELSE b.bucket + infra_monitor.report_width($3, 'infra_monitor.sample_interval') END), array_agg(0::float8), array_agg(b.used_max / s.top), $1, $2))
		|| infra_monitor.chart_path('line intransaction', infra_monitor.chart_line(array_agg(b.bucket + $3 / 2), array_agg(b.idle_in_transaction_max / s.top), $1, $2, a))
		|| infra_monitor.chart_path('line waiting', infra_monitor.chart_line(array_agg(b.bucket + $3 / 2), array_agg(b.waiting_max / s.top), $1, $2, a))
		|| infra_monitor.chart_path('line used', infra_monitor.chart_line(array_agg(b.bucket + $3 / 2), array_agg(b.used_max / s.top), $1, $2, a)) AS lines
	FROM buckets b, scale s, infra_monitor.report_apart($3, 'infra_monitor.sample_interval') a
	GROUP BY a
), ceiling AS (
	SELECT infra_monitor.chart_path('line limit', string_agg(infra_monitor.chart_line(ARRAY[l.at, l.behind], ARRAY[l.most / s.top, l.most / s.top], $1, $2, l.behind - l.at), '' ORDER BY l.at)) AS line
	FROM steps l, scale s
), axis AS (
	SELECT array_agg(t.value::text) AS labels, array_agg(t.place) AS places FROM scale s, infra_monitor.axis_ticks(s.top, s.step) t
)
SELECT infra_monitor.report_section('pool', 'Connections', 'The most connections in use at once, against what ordinary roles can get; refused connections below.',
	CASE WHEN s.any THEN
		infra_monitor.legend('{in use,waiting for a lock,idle in transaction,limit of ordinary roles}', '{line used,line waiting,line intransaction,line limit}')
		|| infra_monitor.chart('Connections: most in use, waiting for a lock and idle in transaction', $1, $2, 190, x.labels, x.places, concat($4, d.lines, c.line))
		|| CASE WHEN s.refused > 0 THEN infra_monitor.report_refusals($1, $2, $3, $4)
			WHEN s.refused = 0 THEN '<p>No connection was refused.</p>' ELSE '<p>It is not known whether connections were refused.</p>' END
	ELSE '<p>There are no samples of this time.</p>' END)
FROM scale s CROSS JOIN ceiling c CROSS JOIN axis x LEFT JOIN drawn d ON true
$$;
COMMENT ON FUNCTION infra_monitor.report_pool(timestamptz, timestamptz, interval, text) IS
'section of report(): use of the pool; for pg_monitor';

CREATE FUNCTION infra_monitor.report_refusals(since timestamptz, until timestamptz, step interval, gaps text)
RETURNS text
LANGUAGE sql VOLATILE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
WITH buckets AS MATERIALIZED (
	SELECT bucket, rejected FROM infra_monitor.pool_history($1, $2, $3) WHERE rejected > 0
), scale AS MATERIALIZED (
	SELECT a.step, ceil(m.most / a.step) * a.step AS top, m.total
	FROM (SELECT max(rejected)::float8 AS most, sum(rejected) AS total FROM buckets) m, LATERAL (SELECT greatest(infra_monitor.axis_step(m.most, 2), 1)) a (step)
), drawn AS (
	SELECT infra_monitor.chart_path('area refused', infra_monitor.chart_columns(array_agg(b.bucket), array_agg(b.bucket + $3),
		array_agg(0::float8), array_agg(b.rejected / s.top), $1, $2)) AS columns
	FROM buckets b, scale s
), axis AS (
	SELECT array_agg(infra_monitor.short_number(t.value)) AS labels, array_agg(t.place) AS places FROM scale s, infra_monitor.axis_ticks(s.top, s.step) t
)
SELECT format('<h3>Refused connections: %s, in columns of %s</h3>', infra_monitor.short_number(s.total::float8), infra_monitor.short_time(1000 * extract(epoch FROM $3)::float8))
	|| infra_monitor.chart('Refused connections', $1, $2, 60, x.labels, x.places, concat($4, d.columns))
FROM scale s, drawn d, axis x
$$;
COMMENT ON FUNCTION infra_monitor.report_refusals(timestamptz, timestamptz, interval, text) IS
'part of a section of report(): refused connections; for pg_monitor';

CREATE FUNCTION infra_monitor.report_latency(since timestamptz, until timestamptz, step interval, gaps text)
RETURNS text
LANGUAGE sql STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
WITH buckets AS MATERIALIZED (
	SELECT * FROM infra_monitor.latency_buckets($1, $2, $3)
), axis AS (
	SELECT array_agg(CASE WHEN t.value < 1000 THEN infra_monitor.short_time(t.value) ELSE infra_monitor.short_number(t.value / 1000) || ' s' END ORDER BY t.place) AS labels, array_agg(t.place ORDER BY t.place) AS places,
		log(min(t.value)) AS low, log(max(t.value)) - log(min(t.value)) AS height
	FROM (SELECT min(p50_time) AS fewest, max(p99_time) AS most FROM buckets) m,
		LATERAL infra_monitor.log_axis_ticks(greatest(m.fewest, 0.001), greatest(m.most, 0.001)) t
	WHERE m.most IS NOT NULL
), drawn AS (
	SELECT string_agg(infra_monitor.chart_path('line ' || l.name, l.path), '' ORDER BY l.name DESC) AS lines
	FROM (SELECT q.name, infra_monitor.chart_line(array_agg(b.bucket + $3 / 2), array_agg((log(CASE WHEN q.value < 0.001 THEN 0.001 ELSE q.value END) - x.low) / x.height), $1, $2, a) AS path
		FROM buckets b, axis x, infra_monitor.report_apart($3, 'infra_monitor.sample_interval') a,
			LATERAL (VALUES ('p50', b.p50_time), ('p95', b.p95_time), ('p99', b.p99_time)) AS q (name, value)
		GROUP BY q.name, a) l
)
SELECT infra_monitor.report_section('latency', 'Latency',
	'How long the executions that completed took: half of them not longer than p50, 95 of 100 not longer than p95, 99 not longer than p99; off by 14.3 percent at most. The scale is logarithmic.',
	CASE WHEN x.labels IS NOT NULL THEN
		infra_monitor.legend('{p99,p95,p50}', '{line p99,line p95,line p50}')
		|| infra_monitor.chart('Latency of statements: p50, p95 and p99, on a logarithmic scale', $1, $2, 170, x.labels, x.places, concat($4, d.lines))
	WHEN pg_is_in_recovery() THEN '<p>A standby stores no latencies.</p>'
	ELSE '<p>There are no executions in the samples of this time.</p>' END)
FROM axis x, drawn d
$$;
COMMENT ON FUNCTION infra_monitor.report_latency(timestamptz, timestamptz, interval, text) IS
'section of report(): latency; for pg_monitor';

CREATE FUNCTION infra_monitor.wait_classes(OUT place int, OUT name text, OUT description text)
RETURNS SETOF record
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 8
-- inlined, so what stands here is qualified
AS $$
VALUES (1, 'CPU', 'on the processor'), (2, 'IO', 'files'), (3, 'Lock', 'locks of tables and rows'), (4, 'LWLock', 'locks in shared memory'),
	(5, 'IPC', 'other processes'), (6, 'Client', 'the client'), (7, 'Timeout', 'a time to pass'), (8, 'other', 'anything else')
$$;
COMMENT ON FUNCTION infra_monitor.wait_classes() IS
'what sessions wait for, as report() groups it, in its order; for pg_monitor';

CREATE FUNCTION infra_monitor.report_waits(since timestamptz, until timestamptz, step interval, gaps text)
RETURNS text
LANGUAGE sql STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
WITH waits AS MATERIALIZED (
	SELECT w.bucket, coalesce(c.place, 8) AS class, sum(w.active_avg) AS active
	FROM infra_monitor.wait_history(infra_monitor.report_known('waits', $1, $2), $2, $3) w
		LEFT JOIN infra_monitor.wait_classes() c ON c.name = w.wait_event_type
	GROUP BY 1, 2
), stacked AS MATERIALIZED (
	SELECT bucket, class, sum(active) OVER (PARTITION BY bucket ORDER BY class) AS high, active FROM waits WHERE active > 0
), scale AS MATERIALIZED (
	SELECT a.step, ceil(m.most / a.step) * a.step AS top
	FROM (SELECT max(high) AS most FROM stacked) m, LATERAL infra_monitor.axis_step(m.most) a (step)
), columns AS MATERIALIZED (
	SELECT s.class, infra_monitor.chart_path('area w' || s.class,
		infra_monitor.chart_columns(array_agg(s.bucket), array_agg(s.bucket + w), array_agg((s.high - s.active) / c.top), array_agg(s.high / c.top), $1, $2)) AS path
	FROM stacked s, scale c, infra_monitor.report_width($3, 'infra_monitor.statement_interval') w
	GROUP BY s.class, w
), axis AS (
	SELECT array_agg(infra_monitor.short_number(t.value)) AS labels, array_agg(t.place) AS places FROM scale s, infra_monitor.axis_ticks(s.top, s.step) t
)
SELECT infra_monitor.report_section('waits', 'Active sessions by what they wait for', 'Sessions that were executing something, on average; as much as there are processors can be on them at once.',
	CASE WHEN x.labels IS NOT NULL THEN
		(SELECT infra_monitor.legend(array_agg(c.name || ': ' || c.description ORDER BY c.place DESC), array_agg('area w' || c.place ORDER BY c.place DESC))
		 FROM infra_monitor.wait_classes() c WHERE c.place IN (SELECT class FROM columns))
		|| infra_monitor.chart('Average active sessions by class of wait, stacked', $1, $2, 180, x.labels, x.places, concat($4, (SELECT string_agg(path, '' ORDER BY class) FROM columns)))
	WHEN pg_is_in_recovery() THEN '<p>A standby stores no waits.</p>'
	WHEN EXISTS (SELECT FROM waits) THEN '<p>Nobody was seen active in this time.</p>'
	ELSE '<p>It is not known what sessions waited for in this time.</p>' END)
FROM axis x
$$;
COMMENT ON FUNCTION infra_monitor.report_waits(timestamptz, timestamptz, interval, text) IS
'section of report(): active sessions by class of wait; for pg_monitor';

CREATE FUNCTION infra_monitor.report_statements(since timestamptz, until timestamptz, step interval)
RETURNS text
LANGUAGE sql STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
WITH spark AS (
	-- a fifth of the points of a chart
	SELECT w.step, infra_monitor.report_apart(w.step, 'infra_monitor.statement_interval') AS apart
	FROM (SELECT greatest($3, infra_monitor.history_step($1, $1 + 5 * ($2 - $1), NULL))) w (step)
), top AS MATERIALIZED (
	SELECT * FROM infra_monitor.top_statements(infra_monitor.report_known('statements', $1, $2), $2, 'exec_time', 15)
), trends AS MATERIALIZED (
	SELECT q.queryid, infra_monitor.sparkline('p95 over time, up to ' || infra_monitor.short_time(max(h.p95_time)),
			array_agg(h.bucket), array_agg(h.p95_time), $1, $2, s.apart) AS p95,
		infra_monitor.sparkline('time of all executions over time, up to ' || infra_monitor.short_time(max(h.exec_time)) || ' in ' || s.step,
			array_agg(h.bucket), array_agg(h.exec_time), $1, $2, s.apart) AS time
	FROM spark s, (SELECT DISTINCT queryid FROM top WHERE rank IS NOT NULL) q,
		LATERAL infra_monitor.statement_history(q.queryid, $1, $2, s.step) h
	GROUP BY q.queryid, s.apart, s.step
), rows AS (
	SELECT t.rank, format('<tr><td class="n">%s</td><td class="query">%s<div class="note">%s%s</div></td><td class="n">%s</td><td class="n">%s</td>'
		'<td class="n">%s<span class="share" style="width:%srem"></span></td><td class="n">%s</td><td class="n">%s</td><td class="n">%s</td><td class="n">%s</td><td>%s</td><td>%s</td></tr>',
		t.rank, CASE WHEN t.rank IS NULL THEN 'all other statements' ELSE infra_monitor.html_query(t.query) END,
		CASE WHEN t.rank IS NOT NULL THEN infra_monitor.html_name(t.usename) || ' in ' || infra_monitor.html_name(t.datname) END,
		', queryid ' || t.queryid, infra_monitor.short_number(t.calls), infra_monitor.short_time(t.exec_time),
		round((100 * t.share)::numeric, 1) || '%', round((3 * coalesce(t.share, 0))::numeric, 2),
		infra_monitor.short_time(t.p50_time), infra_monitor.short_time(t.p95_time), infra_monitor.short_time(t.p99_time),
		infra_monitor.short_number(t.failures), r.p95, r.time) AS html
	FROM top t LEFT JOIN trends r ON r.queryid = t.queryid AND t.rank IS NOT NULL
)
SELECT infra_monitor.report_section('statements', 'Top statements', 'By the time of the executions that completed. Trends are from 0 up, of all roles and databases that ran the statement; failures are executions that did not complete.',
	infra_monitor.report_table('{#,Statement,#Calls,#Time,#Share,#p50,#p95,#p99,#Failures,p95 trend,Time trend}', string_agg(html, '' ORDER BY rank NULLS LAST),
		CASE WHEN pg_is_in_recovery() THEN 'A standby stores no statements.' ELSE 'No statements are stored of this time.' END))
FROM rows
$$;
COMMENT ON FUNCTION infra_monitor.report_statements(timestamptz, timestamptz, interval) IS
'section of report(): top statements; for pg_monitor';

-- what a standby has in its table is its primary's
CREATE FUNCTION infra_monitor.report_executions(since timestamptz, until timestamptz,
	OUT ended_at timestamptz, OUT exec_time float8, OUT outcome text, OUT sqlstate text, OUT datname text, OUT usename text,
	OUT application_name text, OUT wait_profile jsonb, OUT query text)
RETURNS SETOF record
LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED ROWS 1000
SET search_path = pg_catalog, pg_temp
AS $$
SELECT l.ended_at, l.exec_time, l.outcome, l.sqlstate, l.datname, l.usename, l.application_name, l.wait_profile, l.query
FROM infra_monitor.slow_query_log l
WHERE l.ended_at >= $1 AND l.ended_at < $2 AND NOT pg_is_in_recovery()
UNION ALL
SELECT l.ended_at, l.exec_time, l.outcome, l.sqlstate, l.datname, l.usename, l.application_name, l.wait_profile, l.query
FROM infra_monitor.slow_query_log() l
WHERE l.ended_at >= $1 AND l.ended_at < $2 AND pg_is_in_recovery()
$$;
COMMENT ON FUNCTION infra_monitor.report_executions(timestamptz, timestamptz) IS
'slow executions of this server that ended between two moments; error unless preloaded; for pg_monitor';

CREATE FUNCTION infra_monitor.report_slow(since timestamptz, until timestamptz)
RETURNS text
LANGUAGE sql VOLATILE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
WITH executions AS MATERIALIZED (
	SELECT * FROM infra_monitor.report_executions($1, $2)
), listed AS (
	-- one statement is not everything there is
	SELECT row_number() OVER (ORDER BY e.exec_time DESC, e.ended_at) AS n, e.*
	FROM (SELECT row_number() OVER (PARTITION BY x.query, x.outcome ORDER BY x.exec_time DESC, x.ended_at) AS place, x.* FROM executions x) e
	WHERE e.place <= 3
), rows AS (
	SELECT e.n, format('<tr><td class="t">%s</td><td class="n">%s</td><td>%s%s</td><td>%s in %s<div class="note">%s</div></td><td>%s</td><td class="query">%s</td></tr>',
		infra_monitor.report_moment(e.ended_at), infra_monitor.short_time(e.exec_time), CASE e.outcome WHEN 'completed' THEN 'completed' ELSE infra_monitor.report_status(e.outcome) END,
		'<div class="note">' || infra_monitor.html(e.sqlstate) || '</div>', infra_monitor.html_name(e.usename), infra_monitor.html_name(e.datname),
		infra_monitor.html_name(nullif(e.application_name, ''), 30),
		(SELECT string_agg(format('<div class="t">%s %s</div>', infra_monitor.html_name(w.key), infra_monitor.short_time(1000 * w.value::float8)), '' ORDER BY w.value::float8 DESC, w.key)
		 FROM (SELECT * FROM jsonb_each_text(e.wait_profile) p WHERE p.value::float8 > 0 ORDER BY p.value::float8 DESC, p.key LIMIT 3) w),
		infra_monitor.html_query(e.query, 70)) AS html
	FROM listed e WHERE e.n <= 20
)
SELECT infra_monitor.report_section('slow', 'Slow executions',
	concat('Executions that took infra_monitor.slow_query_threshold (now ', current_setting('infra_monitor.slow_query_threshold', true), ') or longer, with what they were seen waiting for.',
		(SELECT format(' %s in this time: %s. %s', sum(o.n), string_agg(o.n || ' ' || o.outcome, ', ' ORDER BY o.n DESC, o.outcome),
				CASE WHEN sum(o.n) > (SELECT count(*) FROM rows) THEN 'Here are those that took longest, at most three of each statement and outcome.' END)
		 FROM (SELECT outcome, count(*) AS n FROM executions GROUP BY outcome) o HAVING sum(o.n) > 0)),
	infra_monitor.report_table('{Ended,#Took,Outcome,Who,Waited for,Statement}', (SELECT string_agg(html, '' ORDER BY n) FROM rows),
		'No execution is known to have taken that long in this time.'))
$$;
COMMENT ON FUNCTION infra_monitor.report_slow(timestamptz, timestamptz) IS
'section of report(): slow executions; for pg_monitor';

CREATE FUNCTION infra_monitor.report_blame(since timestamptz, until timestamptz)
RETURNS text
LANGUAGE sql VOLATILE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
WITH rows AS (
	SELECT b.blocked_time, format('<tr><td>%s in %s<div class="note">%s</div></td><td>%s</td><td class="n">%s</td><td class="n">%s</td><td class="t">%s</td><td class="query">%s</td></tr>',
		infra_monitor.html_name(b.usename), infra_monitor.html_name(b.datname), infra_monitor.html_name(nullif(b.application_name, ''), 30), infra_monitor.html(b.state),
		infra_monitor.short_time(b.blocked_time), infra_monitor.short_number(b.incidents), infra_monitor.report_moment(b.last_at), infra_monitor.html_query(b.query, 70)) AS html
	FROM infra_monitor.lock_blame b
	WHERE b.last_at >= $1 AND $2 > pg_postmaster_start_time()
	ORDER BY b.blocked_time DESC LIMIT 15
)
SELECT infra_monitor.report_section('blame', 'Who blocked others', 'Time that others have waited for locks, charged to the session at the root of their chain. Counted since the server started or was reset, so also from before this time; only who was in the way since it began is here.',
	infra_monitor.report_table('{Who,State,#Others waited,#Waits,Last,Statement}', string_agg(html, '' ORDER BY blocked_time DESC), CASE WHEN $2 > pg_postmaster_start_time() THEN 'Nobody was seen waiting for a lock since this time began.'
		ELSE 'The server has started since, and counts anew.' END))
FROM rows
$$;
COMMENT ON FUNCTION infra_monitor.report_blame(timestamptz, timestamptz) IS
'section of report(): who held locks that others waited for; for pg_monitor';

-- a row for each check that was not always ok: the height of its bars says what
-- it was, not only the colour
CREATE FUNCTION infra_monitor.report_timeline(since timestamptz, until timestamptz, gaps text)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
WITH periods AS MATERIALIZED (
	SELECT h.check_name, CASE h.status WHEN 'healthy' THEN 'ok' WHEN 'degraded' THEN 'warning' WHEN 'unhealthy' THEN 'critical' ELSE h.status END AS status,
		h.from_at, h.until_at
	FROM infra_monitor.health_history(infra_monitor.report_known('health', $1, $2), $2) h
), checks AS MATERIALIZED (
	SELECT p.check_name, (row_number() OVER by_name - 1)::float8 AS n, count(*) OVER ()::float8 AS all
	FROM periods p GROUP BY p.check_name
	HAVING p.check_name = 'overall' OR bool_or(p.status IN ('warning', 'critical'))
	WINDOW by_name AS (ORDER BY p.check_name <> 'overall', p.check_name)
), bars AS MATERIALIZED (
	-- rows of 34 pixels, with bars of up to 14 at the bottom
	SELECT p.status, infra_monitor.chart_columns(array_agg(p.from_at), array_agg(p.until_at), array_agg(b.low),
		array_agg(b.low + 14 * CASE p.status WHEN 'critical' THEN 1 WHEN 'warning' THEN 0.6 WHEN 'ok' THEN 0.25 ELSE 0.1 END / (34 * c.all)), $1, $2) AS path
	FROM periods p JOIN checks c USING (check_name), LATERAL (SELECT 1 - (34 * c.n + 32) / (34 * c.all)) b (low)
	GROUP BY p.status
)
SELECT CASE WHEN count(*) > 0 THEN infra_monitor.legend('{critical (high),warning (lower),ok (low),unknown (line)}', '{area s-critical,area s-warning,area s-ok,area s-unknown}')
	|| '<div class="names">' || infra_monitor.chart('Health: status of each check that was not always ok', $1, $2, 34 * count(*)::int,
		array_agg(CASE c.check_name WHEN 'overall' THEN 'the server' ELSE c.check_name END ORDER BY c.n), array_agg(1 - c.n / c.all ORDER BY c.n),
		(SELECT string_agg(infra_monitor.chart_path('area s-' || b.status, b.path), '' ORDER BY b.status) FROM bars b) || $3) || '</div>' ELSE '' END
FROM checks c
$$;
COMMENT ON FUNCTION infra_monitor.report_timeline(timestamptz, timestamptz, text) IS
'part of a section of report(): the status of the server and its checks over time; for pg_monitor';

CREATE FUNCTION infra_monitor.report_health(since timestamptz, until timestamptz, gaps text)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
WITH periods AS MATERIALIZED (
	SELECT h.*, count(*) OVER () AS all FROM infra_monitor.health_history(infra_monitor.report_known('health', $1, $2), $2) h
), checks AS (
	SELECT p.check_name, bool_and(p.status = 'ok') AS always_ok, bool_and(p.status = 'unknown') AS never_known
	FROM periods p WHERE p.check_name <> 'overall' GROUP BY p.check_name
), told AS (
	SELECT concat(count(*) FILTER (WHERE c.always_ok) || ' checks were ok all the time. ',
		'Not known all the time: ' || string_agg(c.check_name, ', ' ORDER BY c.check_name) FILTER (WHERE c.never_known) || '.') AS words
	FROM checks c HAVING count(*) > 0
), bad AS (
	SELECT p.*, row_number() OVER (ORDER BY p.from_at DESC, p.check_name) AS n, count(*) OVER () AS of
	FROM periods p WHERE p.check_name <> 'overall' AND p.status IN ('warning', 'critical')
), rows AS (
	SELECT b.n, b.of, format('<tr><td class="t">%s</td><td>%s</td><td class="t">%s</td><td class="t">%s</td><td class="n">%s</td><td>%s</td></tr>',
		infra_monitor.html(b.check_name), infra_monitor.report_status(b.status), infra_monitor.report_moment(b.from_at),
		infra_monitor.report_moment(b.until_at), infra_monitor.short_time(1000 * extract(epoch FROM b.until_at - b.from_at)::float8),
		(SELECT infra_monitor.html_name(e.message, 100) FROM infra_monitor.health_events e
		 WHERE e.at >= b.from_at AND e.check_name = b.check_name AND e.since = b.from_at AND e.new_status = b.status ORDER BY e.at LIMIT 1)) AS html
	FROM bad b WHERE b.n <= 25
)
SELECT infra_monitor.report_section('health', 'Health', (SELECT words FROM told),
	CASE WHEN EXISTS (SELECT FROM periods) THEN
		infra_monitor.report_timeline($1, $2, $3)
		|| '<h3>When checks were not ok' || coalesce((SELECT ': the last 25 of ' || max(of) FROM rows HAVING max(of) > 25), '') || '</h3>'
		|| infra_monitor.report_table('{Check,Status,From,Until,#Lasted,Then}', (SELECT string_agg(html, '' ORDER BY n) FROM rows), 'No check warned in this time.')
	WHEN pg_is_in_recovery() THEN '<p>A standby stores no changes of its health.</p>'
	ELSE '<p>Nothing is known of the health of the server in this time.</p>' END)
$$;
COMMENT ON FUNCTION infra_monitor.report_health(timestamptz, timestamptz, text) IS
'section of report(): health over time; for pg_monitor';

CREATE FUNCTION infra_monitor.report_objectives(until timestamptz)
RETURNS text
LANGUAGE sql STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
WITH objectives AS MATERIALIZED (
	SELECT row_number() OVER (ORDER BY s.name, s.period) AS n, s.* FROM infra_monitor.slo_status_at(least($1, clock_timestamp())) s
	WHERE NOT pg_is_in_recovery()
), rows AS (
	SELECT o.n, format('<tr><td>%s<div class="note">%s</div></td><td class="n">%s</td><td class="n">%s</td><td>%s</td><td class="n">%s</td><td class="n">%s</td><td class="t">%s</td></tr>',
		infra_monitor.html_name(o.name),
		CASE o.kind WHEN 'latency' THEN infra_monitor.html('executions within ' || infra_monitor.short_time(o.threshold_time)) ELSE 'share of the time' END,
		trim_scale(round((100 * o.target)::numeric, 3)) || '%', infra_monitor.short_time(1000 * extract(epoch FROM o.period)::float8),
		CASE WHEN o.attained IS NULL THEN infra_monitor.report_status('unknown') WHEN o.attained >= o.target THEN infra_monitor.report_status('ok')
			ELSE infra_monitor.report_status('critical') END,
		trim_scale(round((100 * o.attained)::numeric, 3)) || '%', infra_monitor.short_number(100 * o.error_budget_left) || '%',
		infra_monitor.report_moment(o.known_since)) AS html
	FROM objectives o
)
SELECT infra_monitor.report_section('objectives', 'Objectives', 'At the end of this time: how much of what each objective demands was attained, and what is left of the failures that it allows.',
	infra_monitor.report_table('{Objective,#Target,#Period,Status,#Attained,#Budget left,Known since}', string_agg(html, '' ORDER BY n),
		CASE WHEN pg_is_in_recovery() THEN 'A standby stores no samples.' ELSE 'There are no objectives.' END))
FROM rows
$$;
COMMENT ON FUNCTION infra_monitor.report_objectives(timestamptz) IS
'section of report(): objectives; for pg_monitor';

CREATE FUNCTION infra_monitor.report_readiness()
RETURNS text
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
WITH items AS MATERIALIZED (
	SELECT r.*, row_number() OVER () AS n FROM infra_monitor.production_readiness r
), rows AS (
	SELECT i.n, i.status, format('<tr><td>%s</td><td>%s<div class="note">%s</div></td><td>%s</td><td>%s</td><td>%s</td></tr>', infra_monitor.report_status(i.status),
		infra_monitor.html(i.item), infra_monitor.html(i.area), infra_monitor.html_name(i.current, 60), infra_monitor.html_name(i.recommended, 80), infra_monitor.html(i.why)) AS html
	FROM items i WHERE i.status <> 'pass'
)
SELECT infra_monitor.report_section('readiness', 'Readiness for production',
	(SELECT format('%s of %s items pass; these do not. Judged at %s.', count(*) FILTER (WHERE status = 'pass'), count(*), infra_monitor.report_moment(max(evaluated_at))) FROM items),
	infra_monitor.report_table('{Status,Item,Is,Should be,Or else}', string_agg(html, '' ORDER BY array_position('{fail,warn}', status), n), 'All items pass.'))
FROM rows
$$;
COMMENT ON FUNCTION infra_monitor.report_readiness() IS
'section of report(): what is not ready for production, now; for pg_monitor';

CREATE FUNCTION infra_monitor.report_changes(since timestamptz, until timestamptz)
RETURNS text
LANGUAGE sql VOLATILE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
WITH changes AS MATERIALIZED (
	SELECT row_number() OVER (ORDER BY c.at DESC, c.kind, c.name) AS n, c.*, count(*) OVER () AS of
	FROM infra_monitor.changes(infra_monitor.report_known('changes', $1, $2), $2) c
), rows AS (
	SELECT c.n, c.of, format('<tr><td class="t">%s</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>', infra_monitor.report_moment(c.at), infra_monitor.html(c.kind),
		infra_monitor.html_name(c.name, 60), infra_monitor.html_name(c.old, 60),
		infra_monitor.html_name(CASE c.kind WHEN 'gap' THEN 'no samples for ' || c.new ELSE c.new END, 60)) AS html
	FROM changes c WHERE c.n <= 60
)
SELECT infra_monitor.report_section('changes', 'What changed',
	'Settings, starts and resets of the server, and gaps: times without samples.' || coalesce((SELECT format(' The last 60 of %s.', max(of)) FROM rows HAVING max(of) > 60), ''),
	infra_monitor.report_table('{When,What,Name,Before,Since}', string_agg(html, '' ORDER BY n),
		CASE WHEN pg_is_in_recovery() THEN 'A standby stores no changes.' ELSE 'No change is known of this time.' END))
FROM rows
$$;
COMMENT ON FUNCTION infra_monitor.report_changes(timestamptz, timestamptz) IS
'section of report(): settings, restarts, resets and gaps; for pg_monitor';

CREATE FUNCTION infra_monitor.report_tiles(since timestamptz, until timestamptz, step interval)
RETURNS text
LANGUAGE sql VOLATILE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
WITH pool AS MATERIALIZED (
	SELECT max(h.used_max) AS used, sum(h.rejected)::float8 AS refused, avg(h.active_avg) AS active FROM infra_monitor.pool_history($1, $2, $3) h
), latency AS MATERIALIZED (
	SELECT sum(l.executions)::float8 AS executions, infra_monitor.quantile(infra_monitor.sum(l.latency), 0.95) AS p95 FROM infra_monitor.latency_buckets($1, $2, $3) l
), health AS MATERIALIZED (
	SELECT coalesce(sum(extract(epoch FROM h.until_at - h.from_at)) FILTER (WHERE h.status = 'healthy'), 0)
			/ nullif(sum(extract(epoch FROM h.until_at - h.from_at)) FILTER (WHERE h.status <> 'unknown'), 0) AS healthy
	FROM infra_monitor.health_history(infra_monitor.report_known('health', $1, $2), $2) h WHERE h.check_name = 'overall'
), tiles (n, value, name) AS (
	SELECT 1, infra_monitor.report_status(h->>'status'), 'status now, score ' || coalesce(infra_monitor.html(h->>'score'), '?') || ' of 10' FROM infra_monitor.health(false) h
	UNION ALL SELECT 2, CASE WHEN healthy >= 0.9995 AND healthy < 1 THEN '&lt; 100%' ELSE infra_monitor.short_number(round((100 * healthy)::numeric, 1)::float8) || '%' END, 'of the time healthy' FROM health
	UNION ALL SELECT 3, infra_monitor.short_number(used), 'connections at most' FROM pool
	UNION ALL SELECT 4, infra_monitor.short_number(refused), 'connections refused' FROM pool
	UNION ALL SELECT 5, infra_monitor.short_number(active), 'sessions active on average' FROM pool
	UNION ALL SELECT 6, infra_monitor.short_time(p95), 'p95 of ' || coalesce(infra_monitor.short_number(executions), 'no') || ' executions' FROM latency
	UNION ALL SELECT 7, (SELECT infra_monitor.short_number(count(*)) FROM infra_monitor.report_executions($1, $2)), 'slow executions' FROM pool WHERE used IS NOT NULL
)
SELECT '<ul class="tiles">' || string_agg(format('<li><b>%s</b><span>%s</span></li>', coalesce(value, '<span class="none">&#8212;</span>'), name), '' ORDER BY n) || '</ul>'
FROM tiles
$$;
COMMENT ON FUNCTION infra_monitor.report_tiles(timestamptz, timestamptz, interval) IS
'part of report(): a time in seven numbers; for pg_monitor';

CREATE FUNCTION infra_monitor.report_head(since timestamptz, until timestamptz, step interval)
RETURNS text
LANGUAGE sql VOLATILE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
WITH facts (n, name, value) AS (
	VALUES (1, 'PostgreSQL', current_setting('server_version')),
		(2, 'Role', CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'primary' END),
		(3, 'Port', current_setting('port')),
		(4, 'Up since', infra_monitor.report_moment(pg_postmaster_start_time())),
		(5, 'History of database', current_database()::text),
		(6, 'Time zone', current_setting('TimeZone')),
		(7, 'Charts', 'a point each ' || infra_monitor.short_time(1000 * extract(epoch FROM $3)::float8) || coalesce(', of grain ' || (SELECT string_agg(DISTINCT h.grain, ', ') FROM infra_monitor.pool_history($1, $2, $3) h), '')),
		(8, 'Made', infra_monitor.report_moment(clock_timestamp()))
)
SELECT format('<header><h1>%s</h1><p>%s to %s</p><dl class="facts">%s</dl>%s</header>',
	infra_monitor.html_name(coalesce(nullif(current_setting('cluster_name'), ''), 'PostgreSQL server'), 80),
	infra_monitor.report_moment($1, $3), infra_monitor.report_moment($2, $3),
	string_agg(format('<div><dt>%s</dt><dd>%s</dd></div>', f.name, infra_monitor.html_name(f.value, 80)), '' ORDER BY f.n),
	CASE WHEN pg_is_in_recovery() THEN '<p class="note">A standby stores nothing. Its last 360 samples are in memory; the rest is in the report of its primary.</p>'
		WHEN current_database() <> current_setting('infra_monitor.database', true) THEN format('<p class="note">History is stored in database %s, not in this one; here are the last 360 samples.</p>',
			infra_monitor.html_name(current_setting('infra_monitor.database', true))) END)
FROM facts f
$$;
COMMENT ON FUNCTION infra_monitor.report_head(timestamptz, timestamptz, interval) IS
'part of report(): which server, and which time; for pg_monitor';

-- jit: it would compile each of many small queries
CREATE FUNCTION infra_monitor.report(since timestamptz, until timestamptz DEFAULT pg_catalog.now())
RETURNS text
LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
WITH span AS MATERIALIZED (
	SELECT infra_monitor.report_step($1, $2) AS step
), gaps AS MATERIALIZED (
	SELECT s.step, coalesce(infra_monitor.report_gaps($1, $2, s.step), '') AS gaps FROM span s
)
SELECT concat(E'<!DOCTYPE html>\n<html lang="en" xmlns="http://www.w3.org/1999/xhtml">\n<head>\n<meta charset="utf-8"/>\n',
	'<meta http-equiv="Content-Security-Policy" content="default-src &#39;none&#39;; style-src &#39;unsafe-inline&#39;; img-src data:"/>',
	E'\n<meta name="viewport" content="width=device-width, initial-scale=1"/>\n<link rel="icon" href="data:,"/>\n<title>',
	infra_monitor.html(infra_monitor.one_line(coalesce(nullif(current_setting('cluster_name'), ''), 'PostgreSQL'), 60)), ', ', infra_monitor.report_moment($1, g.step), ' to ', infra_monitor.report_moment($2, g.step),
	E'</title>\n<style>', infra_monitor.report_style(), E'</style>\n</head>\n<body>\n',
	infra_monitor.report_head($1, $2, g.step), infra_monitor.report_tiles($1, $2, g.step),
	'<nav><a href="#pool">Connections</a><a href="#latency">Latency</a><a href="#waits">Waits</a><a href="#statements">Statements</a><a href="#slow">Slow executions</a>',
	'<a href="#blame">Blockers</a><a href="#health">Health</a><a href="#objectives">Objectives</a><a href="#readiness">Readiness</a><a href="#changes">Changes</a></nav>',
	E'\n<main>\n',
	infra_monitor.report_pool($1, $2, g.step, g.gaps), infra_monitor.report_latency($1, $2, g.step, g.gaps),
	infra_monitor.report_waits($1, $2, g.step, g.gaps), infra_monitor.report_statements($1, $2, g.step), infra_monitor.report_slow($1, $2),
	infra_monitor.report_blame($1, $2), infra_monitor.report_health($1, $2, g.gaps), infra_monitor.report_objectives($2),
	infra_monitor.report_readiness(), infra_monitor.report_changes($1, $2),
	E'</main>\n<footer>Where a chart is grey there are no samples. A dash is not zero: it is not known. Made by infra_monitor ',
	(SELECT e.extversion FROM pg_extension e WHERE e.extname = 'infra_monitor'), E'.</footer>\n</body>\n</html>')
FROM gaps g
$$;
COMMENT ON FUNCTION infra_monitor.report(timestamptz, timestamptz) IS
'the history from since until before until as one page of HTML that needs nothing else, with charts: connections, latency, waits, top statements, slow executions, who blocked others, health, objectives, readiness, what changed; moments are in the session''s time zone; on a standby, of the last 360 samples; error for a span that makes no sense, and unless preloaded; for pg_monitor, texts of other roles need pg_read_all_stats';

--
-- metrics.sql: what Prometheus reads
--

CREATE FUNCTION infra_monitor.metrics(
	OUT name text, OUT type text, OUT help text, OUT labels jsonb,
	OUT value float8)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'imon_metrics_1_0';
COMMENT ON FUNCTION infra_monitor.metrics() IS
'source of the view metrics; error unless preloaded; for pg_monitor';

CREATE VIEW infra_monitor.metrics AS
SELECT m.name, m.type, m.help, m.labels, m.value FROM infra_monitor.metrics() m;
COMMENT ON VIEW infra_monitor.metrics IS
'the samples of metrics_text(), a row for each; error unless preloaded; for pg_monitor, those of statements, of applications and of standbys need pg_read_all_stats';
COMMENT ON COLUMN infra_monitor.metrics.name IS 'of the sample: that of the family, in a histogram with _bucket, _sum or _count behind it';
COMMENT ON COLUMN infra_monitor.metrics.type IS 'of the family: counter, gauge, histogram';
COMMENT ON COLUMN infra_monitor.metrics.help IS 'what the family is about';
COMMENT ON COLUMN infra_monitor.metrics.labels IS 'an object of strings, empty if it has none';
COMMENT ON COLUMN infra_monitor.metrics.value IS 'in base units: seconds, bytes, ratios; counters count since the server started, or recovered from a crash, and no reset() changes that';

CREATE FUNCTION infra_monitor.metrics_text(dialect text DEFAULT 'infra_monitor')
RETURNS text
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'imon_metrics_text_1_0';
COMMENT ON FUNCTION infra_monitor.metrics_text(text) IS
'all metrics in the text format 0.0.4 of Prometheus; the dialect is infra_monitor, or postgres_exporter: names and labels of that, others are an error; error unless preloaded; for pg_monitor, those of statements, of applications and of standbys need pg_read_all_stats';

--
-- privileges.sql: who may use what; must be last
--

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA infra_monitor FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA infra_monitor FROM PUBLIC;

GRANT USAGE ON SCHEMA infra_monitor TO pg_monitor;
GRANT SELECT ON ALL TABLES IN SCHEMA infra_monitor TO pg_monitor;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA infra_monitor TO pg_monitor;

-- texts of all roles: by the same rule as in the view
REVOKE SELECT ON infra_monitor.slow_query_samples FROM pg_monitor;
GRANT SELECT ON infra_monitor.slow_query_samples TO pg_read_all_stats;

-- functions that change something: superusers, and whom they grant it
REVOKE EXECUTE ON FUNCTION infra_monitor.reset(text) FROM pg_monitor;
REVOKE EXECUTE ON FUNCTION infra_monitor.take_sample() FROM pg_monitor;
REVOKE EXECUTE ON FUNCTION infra_monitor.take_statement_sample() FROM pg_monitor;
REVOKE EXECUTE ON FUNCTION infra_monitor.roll_up(timestamptz) FROM pg_monitor;
REVOKE EXECUTE ON FUNCTION infra_monitor.roll_up_samples(timestamptz, timestamptz) FROM pg_monitor;
REVOKE EXECUTE ON FUNCTION infra_monitor.roll_up_sample_hours(timestamptz, timestamptz) FROM pg_monitor;

-- texts of all roles: who was granted pg_monitor has pg_read_all_stats
REVOKE SELECT ON infra_monitor.statement_texts FROM pg_monitor;
GRANT SELECT ON infra_monitor.statement_texts TO pg_read_all_stats;
REVOKE SELECT ON infra_monitor.statement_texts_monthly FROM pg_monitor;
GRANT SELECT ON infra_monitor.statement_texts_monthly TO pg_read_all_stats;
