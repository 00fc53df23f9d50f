
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
