
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
	-- no limit in place of one that it has, nor for who heeds none; what the role
	-- leaves idle elsewhere, it may be on another host, is not used either
	infra_monitor.prevention_advice(l.usename,
		(pg_catalog.sum(l.idle_floor) OVER (PARTITION BY l.usename))::pg_catalog.int4, 0,
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
