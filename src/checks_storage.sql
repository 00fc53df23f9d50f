
--
-- checks_storage.sql: health checks of storage, of category database: room on disk
--
-- Their defaults are in check_defaults(), health.sql.  All are for pg_monitor.
--

CREATE FUNCTION infra_monitor.check_disk_free(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT d.free, 'ratio',
	CASE WHEN d.free IS NULL THEN 'no file system can be asked'
		ELSE format('the file system of the %s has %s left of %s', concat_ws(' ', d.what, quote_ident(d.tablespace)),
			pg_size_pretty(d.available), pg_size_pretty(d.total))
	END
FROM (SELECT) one
	LEFT JOIN LATERAL (
		-- as df: what is reserved for root is no part of it
		SELECT u.*, u.available::float8 / (u.used + u.available) AS free
		FROM infra_monitor.disk_usage() u
		WHERE u.used + u.available > 0
		ORDER BY free LIMIT 1
	) d ON true
$$;
COMMENT ON FUNCTION infra_monitor.check_disk_free() IS
'health check: free share of the file system, of those of the data directory, the WAL directory and the tablespaces, that has the least; without what is reserved for root';

CREATE FUNCTION infra_monitor.check_disk_time_to_full(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE
		WHEN d.full_in IS NOT NULL THEN extract(epoch FROM d.full_in)::float8
		WHEN d.observed IS NOT NULL THEN 31536000
	END,
	'seconds',
	CASE
		WHEN d.full_in IS NOT NULL THEN format('the file system of the %s, with %s left, is full in %s if it goes on filling as it does',
			concat_ws(' ', d.what, quote_ident(d.tablespace)), pg_size_pretty(d.available), date_trunc('second', d.full_in))
		WHEN d.observed IS NOT NULL THEN format('by the last %s no file system fills up', date_trunc('second', d.observed))
		ELSE 'the file systems have not been observed for long enough'
	END
FROM (SELECT) one
	LEFT JOIN LATERAL (
		SELECT * FROM infra_monitor.disk_usage() u ORDER BY u.full_in, u.observed DESC NULLS LAST LIMIT 1
	) d ON true
$$;
COMMENT ON FUNCTION infra_monitor.check_disk_time_to_full() IS
'health check: time until the first file system is full if it goes on filling as it does, seconds; a year stands for longer and for never; NULL until there are eight observations, one for each second evaluation';

CREATE FUNCTION infra_monitor.check_wal_size(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT (w.bytes / s.expected)::float8, 'ratio',
	format('the WAL directory has %s in %s files; max_wal_size and wal_keep_size together are %s',
		pg_size_pretty(w.bytes), w.files, pg_size_pretty(s.expected))
FROM (SELECT coalesce(sum(f.size), 0) AS bytes, count(*) AS files FROM pg_ls_waldir() f) w,
	(SELECT (pg_size_bytes(current_setting('max_wal_size')) + pg_size_bytes(current_setting('wal_keep_size')))::numeric AS expected) s
$$;
COMMENT ON FUNCTION infra_monitor.check_wal_size() IS
'health check: size of the WAL directory as a multiple of max_wal_size and wal_keep_size together';
