
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
