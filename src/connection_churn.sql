
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
