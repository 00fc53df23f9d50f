
--
-- checks_maintenance.sql: health checks of category database: what vacuum and administrators look after
--
-- Their defaults are in check_defaults(), health.sql.  All are for pg_monitor.
--

CREATE FUNCTION infra_monitor.check_xid_wraparound(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT age(datfrozenxid) / 2147483648.0::float8, 'ratio',
	format('database "%s" is %s transactions old, of 2^31 at which the server stops', infra_monitor.shown(datname), age(datfrozenxid))
FROM pg_database ORDER BY age(datfrozenxid) DESC, datname LIMIT 1
$$;
COMMENT ON FUNCTION infra_monitor.check_xid_wraparound() IS
'health check: age of the oldest database as a share of 2^31 transactions';

CREATE FUNCTION infra_monitor.check_multixact_wraparound(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT mxid_age(datminmxid) / 2147483648.0::float8, 'ratio',
	format('database "%s" is %s multixacts old, of 2^31 at which rows can no longer be locked', infra_monitor.shown(datname), mxid_age(datminmxid))
FROM pg_database ORDER BY mxid_age(datminmxid) DESC, datname LIMIT 1
$$;
COMMENT ON FUNCTION infra_monitor.check_multixact_wraparound() IS
'health check: age of the oldest database as a share of 2^31 multixacts';

CREATE FUNCTION infra_monitor.check_xmin_horizon(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
WITH holders (age, follows, since, holder) AS (
	-- VACUUM itself holds nothing back, and what we look with is young.  Snapshots
	-- follow the oldest transaction that ran when they were taken, so that of the
	-- same age are many: it is to blame if it runs, else who has had one for longest.
	SELECT greatest(age(a.backend_xmin), age(a.backend_xid)),
		coalesce(age(a.backend_xid) < age(a.backend_xmin), a.backend_xid IS NULL), coalesce(a.xact_start, '-infinity'),
		CASE a.backend_type WHEN 'walsender' THEN 'a standby or its queries, by walsender ' || a.pid
			ELSE a.backend_type || ' ' || a.pid END
			|| coalesce(' of role "' || infra_monitor.shown(a.usename) || '"', '')
			|| coalesce(' in database "' || infra_monitor.shown(a.datname) || '"', '')
	FROM pg_stat_activity a
	WHERE a.pid <> pg_backend_pid()
		AND NOT EXISTS (SELECT FROM pg_stat_progress_vacuum v WHERE v.pid = a.pid)
	UNION ALL
	SELECT age(p.transaction), false, p.prepared, format('prepared transaction "%s" of role "%s" in database "%s"',
		infra_monitor.shown(p.gid::name), infra_monitor.shown(p.owner), infra_monitor.shown(p.database))
	FROM pg_prepared_xacts p
	UNION ALL
	SELECT greatest(age(s.xmin), age(s.catalog_xmin)), true, '-infinity', format('replication slot "%s", %s', s.slot_name,
		CASE WHEN s.active THEN 'in use' ELSE 'which nobody reads' END)
	FROM pg_replication_slots s
), oldest AS (
	SELECT h.age, h.holder FROM holders h WHERE h.age IS NOT NULL
	ORDER BY h.age DESC, h.follows, h.since, h.holder LIMIT 1
)
SELECT coalesce(max(age), 0)::float8, 'transactions',
	coalesce(max(format('vacuum must spare what was deleted in the last %s transactions, because of %s', age, holder)),
		'nothing holds vacuum back')
FROM oldest
$$;
COMMENT ON FUNCTION infra_monitor.check_xmin_horizon() IS
'health check: age, in transactions, of the oldest snapshot or transaction that vacuum must respect, of a session, prepared transaction, replication slot or standby; what was deleted since stays on disk';

CREATE FUNCTION infra_monitor.check_prepared_transactions(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(greatest(extract(epoch FROM clock_timestamp() - min(prepared)), 0), 0)::float8, 'seconds',
	CASE count(*) WHEN 0 THEN 'no transaction is prepared'
		ELSE format('prepared transactions: %s, the oldest is "%s" of role "%s" in database "%s", since %s',
			count(*), infra_monitor.shown((array_agg(gid ORDER BY prepared))[1]::name),
			infra_monitor.shown((array_agg(owner ORDER BY prepared))[1]),
			infra_monitor.shown((array_agg(database ORDER BY prepared))[1]), min(prepared)) END
FROM pg_prepared_xacts
$$;
COMMENT ON FUNCTION infra_monitor.check_prepared_transactions() IS
'health check: time since the oldest prepared transaction was prepared, seconds; it keeps its locks, also over a restart, and holds vacuum back';

CREATE FUNCTION infra_monitor.check_autovacuum_saturation(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT least(1, workers / slots::float8), 'ratio',
	format('autovacuum workers at work: %s of %s', workers, slots) || CASE WHEN workers >= slots
		-- since the youngest has been there, nobody has left
		THEN format(', all for at least %s, the longest for %s',
			date_trunc('second', greatest(clock_timestamp() - youngest, '0')),
			date_trunc('second', greatest(clock_timestamp() - oldest, '0')))
		ELSE '' END
FROM (SELECT count(*) AS workers, max(backend_start) AS youngest, min(backend_start) AS oldest
	FROM pg_stat_activity WHERE backend_type = 'autovacuum worker') a,
	(SELECT least(current_setting('autovacuum_max_workers')::int,
		current_setting('autovacuum_worker_slots', true)::int) AS slots) s
$$;
COMMENT ON FUNCTION infra_monitor.check_autovacuum_saturation() IS
'health check: share of autovacuum_max_workers that is at work at this moment; a single look says little, the hold of the check makes it many';

CREATE FUNCTION infra_monitor.check_checkpoints_requested(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN r < 5 THEN 0 ELSE r::float8 / (t + r) END, 'ratio',
	CASE WHEN r IS NULL OR t IS NULL THEN 'not known: the sampler has just begun to count'
		ELSE format('checkpoints in the last hour: %s on request, because of WAL or a command, %s by checkpoint_timeout', r, t) END
FROM infra_monitor.growing_counters() c,
	LATERAL (SELECT infra_monitor.recent_growth('checkpoints_timed', c.checkpoints_timed, '01:00:00'),
		infra_monitor.recent_growth('checkpoints_requested', c.checkpoints_requested, '01:00:00')) g (t, r)
$$;
COMMENT ON FUNCTION infra_monitor.check_checkpoints_requested() IS
'health check: share of the checkpoints of the last hour that were requested: for too much WAL, or by a command; 0 for fewer than five of them';

CREATE FUNCTION infra_monitor.check_checksum_failures(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN current_setting('data_checksums') <> 'off' THEN coalesce(sum(checksum_failures), 0)::float8 END,
	'failures',
	CASE
		WHEN current_setting('data_checksums') = 'off' THEN 'data checksums are off: nobody would notice a damaged page'
		WHEN coalesce(sum(checksum_failures), 0) = 0 THEN 'no page was found damaged'
		ELSE format('damaged pages were read %s times, the last at %s, in: %s', sum(checksum_failures), max(checksum_last_failure),
			string_agg(CASE WHEN datname IS NULL THEN 'the shared catalogs' ELSE format('database "%s"', infra_monitor.shown(datname)) END,
				', ' ORDER BY checksum_failures DESC, datname) FILTER (WHERE checksum_failures > 0))
	END
FROM pg_stat_database
$$;
COMMENT ON FUNCTION infra_monitor.check_checksum_failures() IS
'health check: reads of a page whose checksum was wrong, since the statistics of its database were reset; NULL where data checksums are off';

CREATE FUNCTION infra_monitor.check_pending_restart(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT count(*)::float8, 'settings',
	CASE count(*) WHEN 0 THEN 'no changed setting waits for a restart'
		ELSE format('changed settings that wait for a restart: %s', string_agg(name, ', ' ORDER BY name)) END
FROM pg_settings WHERE pending_restart
$$;
COMMENT ON FUNCTION infra_monitor.check_pending_restart() IS
'health check: settings that were changed in the configuration files and take effect at a restart only';
