
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

CREATE FUNCTION infra_monitor.check_missed_ticks(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT g::float8, 'samples',
	CASE WHEN g IS NULL THEN 'not known: the sampler has just begun to count'
		ELSE format('samples that should have been taken in the last 5 minutes and were not: %s', g) END
FROM (SELECT infra_monitor.recent_growth('missed_ticks', missed) FROM infra_monitor.sampler_state()) t (g)
$$;
COMMENT ON FUNCTION infra_monitor.check_missed_ticks() IS
'health check: samples that should have been taken in the last five minutes and were not';

CREATE FUNCTION infra_monitor.check_drops(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT sum(d.g)::float8, 'events',
	CASE WHEN sum(d.g) IS NULL THEN 'not known: the sampler has just begun to count'
		WHEN sum(d.g) = 0 THEN 'nothing was lost in the last 5 minutes'
		ELSE 'lost in the last 5 minutes: ' || string_agg(format('%s %s', d.reason, d.g), ', ' ORDER BY d.g DESC, d.reason)
			FILTER (WHERE d.g > 0) END
FROM (SELECT reason, infra_monitor.recent_growth('drops ' || reason, drops) AS g FROM infra_monitor.sampler_drops()) d
$$;
COMMENT ON FUNCTION infra_monitor.check_drops() IS
'health check: what infra_monitor has lost in the last five minutes, all reasons of the column drops of sampler_status together';

CREATE FUNCTION infra_monitor.check_history_size(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN here THEN s.bytes::float8 / l.max_bytes END, 'ratio',
	CASE WHEN here THEN format('the history has %s of the %s of infra_monitor.max_storage',
			pg_size_pretty(s.bytes), pg_size_pretty(l.max_bytes))
		|| CASE
			WHEN l.level = 2 THEN '; waits, statements and slow executions are not written'
			WHEN l.level = 3 THEN '; nothing is written but health events'
			WHEN l.level = 4 THEN '; nothing is written'
			WHEN s.bytes < 0.9 * l.max_bytes THEN ''
			WHEN s.days > 1 THEN format('; its oldest day gives way to what is new: it has %s days, and keeps no more', s.days)
			WHEN s.months > 1 THEN '; when today takes it all, the oldest month of rollups gives way'
			ELSE '; if today takes it all, waits, statements and slow executions will not be written'
		END
		ELSE 'the history is in another database' END
FROM (SELECT current_database() = current_setting('infra_monitor.database', true)) h (here),
	(SELECT coalesce(sum(p.bytes), 0)::bigint AS bytes, count(DISTINCT p.day) FILTER (WHERE p.has_rows AND length(p.day) = 8) AS days,
			count(DISTINCT p.day) FILTER (WHERE p.has_rows AND length(p.day) = 6) AS months
		FROM infra_monitor.history_partitions() p) s,
	LATERAL infra_monitor.history_limit(s.bytes) l
$$;
COMMENT ON FUNCTION infra_monitor.check_history_size() IS
'health check: size of the history as a share of infra_monitor.max_storage; NULL outside the home database';

CREATE FUNCTION infra_monitor.check_textfile(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT count(f.failing_since)::float8, 'files',
	CASE WHEN count(f.failing_since) > 0 THEN string_agg(format('%s since %s', f.problem, date_trunc('second', f.failing_since)), '; ' ORDER BY f.file)
			FILTER (WHERE f.failing_since IS NOT NULL)
		WHEN count(f.file) = 0 THEN 'no files are written'
		ELSE 'files written: ' || string_agg(f.file, ', ' ORDER BY f.file) END
FROM infra_monitor.textfile_state() f
$$;
COMMENT ON FUNCTION infra_monitor.check_textfile() IS
'health check: how many of the files of infra_monitor.textfile and infra_monitor.snapshot_directory cannot be written';

CREATE FUNCTION infra_monitor.check_statement_evictions(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT g::float8, 'evictions',
	CASE WHEN g IS NULL THEN 'not known: pg_stat_statements is not there, or the sampler has just begun to count'
		ELSE format('times that pg_stat_statements has given up statements for new ones in the last 5 minutes: %s', g) END
FROM (SELECT CASE WHEN infra_monitor.pg_stat_statements_loaded()
	THEN infra_monitor.recent_growth('evictions', infra_monitor.pg_stat_statements_evictions()) END) e (g)
$$;
COMMENT ON FUNCTION infra_monitor.check_statement_evictions() IS
'health check: how often pg_stat_statements has given up statements for new ones in the last five minutes; each time it gives up one in twenty';

CREATE FUNCTION infra_monitor.check_pg_stat_statements_track(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN t = 'none' THEN 0 ELSE 1 END::float8, 'boolean',
	CASE WHEN t IS NULL THEN 'pg_stat_statements is not loaded: another check'
		ELSE format('pg_stat_statements.track is %s', t) END
FROM current_setting('pg_stat_statements.track', true) t
$$;
COMMENT ON FUNCTION infra_monitor.check_pg_stat_statements_track() IS
'health check: 0 if pg_stat_statements is loaded but told to count nothing, else 1';

CREATE FUNCTION infra_monitor.check_hidden_errors(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN m = 'panic' THEN 2 WHEN m IN ('log', 'fatal') THEN 1 ELSE 0 END::float8, 'level',
	format('log_min_messages is %s: ', m)
	|| CASE WHEN m = 'panic' THEN 'refused connections, and statements that fail before they are executed, are not counted'
		WHEN m IN ('log', 'fatal') THEN 'statements that fail before they are executed are not counted'
		ELSE 'all errors can be counted' END
FROM current_setting('log_min_messages') m
$$;
COMMENT ON FUNCTION infra_monitor.check_hidden_errors() IS
'health check: what log_min_messages keeps from being counted: 0 nothing, 1 statements that fail before they are executed, 2 refused connections, too; what is not logged is not shown to extensions';

CREATE FUNCTION infra_monitor.check_track_io_timing(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN t THEN 1 ELSE 0 END::float8, 'boolean',
	CASE WHEN t THEN 'the time of reads and writes is measured' ELSE 'the time of reads and writes is not measured' END
FROM (SELECT current_setting('track_io_timing')::boolean) s (t)
$$;
COMMENT ON FUNCTION infra_monitor.check_track_io_timing() IS
'health check: 1 if track_io_timing is on, else 0; has no threshold unless you set one';
