
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
