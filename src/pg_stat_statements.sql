
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
