
--
-- checks_system.sql: health checks of category database: the machine or container that the server runs on
--
-- Their defaults are in check_defaults(), health.sql.  All are for pg_monitor.
-- What cannot be read is not known.
--

CREATE FUNCTION infra_monitor.check_memory(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT memory_used::float8 / nullif(memory_limit, 0), 'ratio',
	CASE WHEN memory_used IS NULL OR memory_limit IS NULL THEN 'how much memory is used cannot be read here'
		ELSE format('%s of %s of memory used, %s', pg_size_pretty(memory_used), pg_size_pretty(memory_limit),
			CASE WHEN memory_of_group THEN 'by the limit of the control group' ELSE 'on the machine' END) END
FROM infra_monitor.system_state()
$$;
COMMENT ON FUNCTION infra_monitor.check_memory() IS
'health check: share of the memory of the machine that programs cannot get, or of the limit of the control group around the server if that is nearer; pages of files that the kernel can take back count as free';

CREATE FUNCTION infra_monitor.check_cpu(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT cpu_ratio, 'ratio',
	CASE WHEN cpu_ratio IS NULL THEN 'how busy the processors are is not known here, or not yet'
		ELSE format('processors of the machine busy: %s %%', round(100 * cpu_ratio::numeric)) END
FROM infra_monitor.system_usage()
$$;
COMMENT ON FUNCTION infra_monitor.check_cpu() IS
'health check: busy share of all processors of the machine, about over the last sample interval; NULL until the sampler has looked twice';

CREATE FUNCTION infra_monitor.check_load(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT load / processors, 'per processor',
	CASE WHEN load IS NULL OR processors IS NULL THEN 'the load cannot be read here'
		ELSE format('five-minute load of the machine: %s on %s processors', load, processors) END
FROM infra_monitor.system_state()
$$;
COMMENT ON FUNCTION infra_monitor.check_load() IS
'health check: processes of the machine that ran or waited for a processor or the disk, on average over five minutes, for each processor';

CREATE FUNCTION infra_monitor.check_cpu_pressure(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT cpu_stall, 'ratio',
	CASE WHEN cpu_stall IS NULL THEN 'the kernel does not measure pressure here'
		ELSE format('a process waited for a processor in %s %% of the last minute', round(100 * cpu_stall::numeric, 1)) END
FROM infra_monitor.system_state()
$$;
COMMENT ON FUNCTION infra_monitor.check_cpu_pressure() IS
'health check: share of the last minute in which at least one process waited for a processor (pressure stall information), in the control group of the server, else on the machine';

CREATE FUNCTION infra_monitor.check_memory_pressure(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT memory_stall, 'ratio',
	CASE WHEN memory_stall IS NULL THEN 'the kernel does not measure pressure here'
		ELSE format('all processes stood still for want of memory in %s %% of the last minute', round(100 * memory_stall::numeric, 1)) END
FROM infra_monitor.system_state()
$$;
COMMENT ON FUNCTION infra_monitor.check_memory_pressure() IS
'health check: share of the last minute in which all processes that had work to do stood still for want of memory (pressure stall information), in the control group of the server, else on the machine';

CREATE FUNCTION infra_monitor.check_io_pressure(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT io_stall, 'ratio',
	CASE WHEN io_stall IS NULL THEN 'the kernel does not measure pressure here'
		ELSE format('all processes stood still for the disk in %s %% of the last minute', round(100 * io_stall::numeric, 1)) END
FROM infra_monitor.system_state()
$$;
COMMENT ON FUNCTION infra_monitor.check_io_pressure() IS
'health check: share of the last minute in which all processes that had work to do waited for the disk (pressure stall information), in the control group of the server, else on the machine';

CREATE FUNCTION infra_monitor.check_oom_kills(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT g::float8, 'processes',
	CASE WHEN g IS NULL THEN 'how many processes were killed for want of memory is not known here, or not yet'
		ELSE format('processes killed for want of memory in the last hour: %s', g) END
FROM (SELECT infra_monitor.recent_growth('oom_kills', c.oom_kills, '01:00:00') FROM infra_monitor.growing_counters() c) o (g)
$$;
COMMENT ON FUNCTION infra_monitor.check_oom_kills() IS
'health check: processes that the kernel has killed for want of memory in the last hour, in the control group of the server, else on the machine; NULL until the sampler has looked';
