
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
