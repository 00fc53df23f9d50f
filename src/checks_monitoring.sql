
--
-- checks_monitoring.sql: health checks of category monitoring: can what we say be relied upon?
--
-- Their defaults are in check_defaults(), health.sql.  All are for pg_monitor.
--

CREATE FUNCTION infra_monitor.check_sampler_alive(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT extract(epoch FROM clock_timestamp() - coalesce(s.last_tick, pg_postmaster_start_time()))::float8
		/ extract(epoch FROM current_setting('infra_monitor.sample_interval')::interval)::float8,
	'intervals',
	format('the sampler is %s; last sample %s', s.state, coalesce(s.last_tick::text, 'never'))
FROM infra_monitor.sampler_state() s
$$;
COMMENT ON FUNCTION infra_monitor.check_sampler_alive() IS
'health check: time since the sampler last did its work, in sample intervals';

CREATE FUNCTION infra_monitor.check_pg_stat_statements_loaded(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN loaded THEN 1 ELSE 0 END::float8, 'boolean',
	CASE WHEN loaded THEN 'pg_stat_statements is loaded' ELSE 'pg_stat_statements is not loaded' END
FROM infra_monitor.pg_stat_statements_loaded() loaded
$$;
COMMENT ON FUNCTION infra_monitor.check_pg_stat_statements_loaded() IS
'health check: 1 if pg_stat_statements was preloaded, else 0';
