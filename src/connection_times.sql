
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
