
--
-- checks_replication.sql: health checks of category replication: standbys, archiving, slots
--
-- Their defaults are in check_defaults(), health.sql.  All are for pg_monitor.
--

CREATE FUNCTION infra_monitor.check_replication_lag(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE
		WHEN NOT pg_is_in_recovery() THEN coalesce(extract(epoch FROM p.lag), 0)::float8
		WHEN s.received IS NOT DISTINCT FROM s.replayed THEN 0
		ELSE greatest(extract(epoch FROM clock_timestamp() - s.replayed_at), 0)::float8
	END,
	'seconds',
	CASE
		WHEN NOT pg_is_in_recovery() AND p.standbys = 0 THEN 'no standby is connected'
		WHEN NOT pg_is_in_recovery() THEN format('standbys connected: %s, the slowest replays %s behind',
			p.standbys, date_trunc('second', coalesce(p.lag, '0')))
		WHEN s.received IS NOT DISTINCT FROM s.replayed THEN 'all received WAL has been replayed'
		ELSE format('the last replayed transaction is of %s', coalesce(s.replayed_at::text, 'an unknown time'))
	END
FROM (SELECT max(replay_lag) AS lag, count(*) AS standbys FROM pg_stat_replication WHERE state <> 'backup') p,
	(SELECT pg_last_wal_receive_lsn() AS received, pg_last_wal_replay_lsn() AS replayed,
		pg_last_xact_replay_timestamp() AS replayed_at) s
$$;
COMMENT ON FUNCTION infra_monitor.check_replication_lag() IS
'health check: on the primary the replay lag of the slowest standby, on a standby the time since the last replayed transaction while received WAL waits, seconds';

CREATE FUNCTION infra_monitor.check_wal_archiving(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN r.n = 0 THEN 0 ELSE greatest(extract(epoch FROM clock_timestamp() - r.oldest), 0)::float8 END,
	'seconds',
	CASE
		WHEN current_setting('archive_mode') = 'off' THEN 'archiving is off'
		WHEN r.n = 0 THEN 'no WAL segment waits for archiving'
		ELSE format('WAL segments waiting for archiving: %s, the oldest since %s; failures so far: %s',
			r.n, r.oldest, a.failed_count)
	END
FROM pg_stat_archiver a,
	(SELECT count(*) AS n, min(f.modification) AS oldest
	 FROM pg_ls_archive_statusdir() f
	 WHERE f.name LIKE '%.ready' AND current_setting('archive_mode') <> 'off') r
$$;
COMMENT ON FUNCTION infra_monitor.check_wal_archiving() IS
'health check: time that the oldest WAL segment has been waiting for archiving, seconds; grows while archive_command fails or cannot keep up';
