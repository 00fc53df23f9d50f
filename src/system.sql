
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
