
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
