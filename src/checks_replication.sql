
--
-- checks_replication.sql: health checks of category replication: standbys, slots, archiving
--
-- Their defaults are in check_defaults(), health.sql.  All are for pg_monitor.
-- Columns that some versions do not have are read from the whole row as jsonb.
--

CREATE FUNCTION infra_monitor.check_replication_lag(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE
		WHEN NOT s.standby THEN coalesce(extract(epoch FROM p.lag), 0)::float8
		WHEN s.received <= s.replayed THEN 0
		WHEN s.received > s.replayed THEN infra_monitor.seconds_since(s.replayed_at + s.delay)
	END,
	'seconds',
	CASE
		WHEN NOT s.standby AND p.standbys = 0 THEN 'no standby is connected'
		WHEN NOT s.standby THEN format('standbys connected: %s, the slowest replays %s behind',
			p.standbys, date_trunc('second', coalesce(p.lag, '0')))
		WHEN s.received <= s.replayed THEN 'all received WAL has been replayed'
		WHEN s.received IS NULL THEN format('no WAL was streamed; the last transaction replayed is of %s, and what else the archive has is not known',
			coalesce(s.replayed_at::text, 'an unknown time'))
		ELSE format('the last replayed transaction is of %s', coalesce(s.replayed_at::text, 'an unknown time'))
	END
FROM (SELECT max(replay_lag) AS lag, count(*) AS standbys FROM pg_stat_replication WHERE state <> 'backup') p,
	(SELECT pg_is_in_recovery() AS standby, pg_last_wal_receive_lsn() AS received, pg_last_wal_replay_lsn() AS replayed,
		pg_last_xact_replay_timestamp() AS replayed_at, current_setting('recovery_min_apply_delay')::interval AS delay) s
$$;
COMMENT ON FUNCTION infra_monitor.check_replication_lag() IS
'health check: on the primary the replay lag of the slowest standby, on a standby the time since the last replayed transaction while received WAL waits, without recovery_min_apply_delay, seconds; NULL on a standby that has streamed nothing';

CREATE FUNCTION infra_monitor.check_replication_lag_bytes(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE
		WHEN NOT s.standby THEN coalesce(p.behind, 0)
		WHEN s.received IS NOT NULL
			THEN greatest(greatest(s.received, s.announced) - CASE WHEN s.delay > '0' THEN s.received ELSE s.replayed END, 0)
	END::float8,
	'bytes',
	CASE
		WHEN NOT s.standby AND p.standbys = 0 THEN 'no standby is connected'
		WHEN NOT s.standby THEN format('standbys connected: %s, the slowest is %s behind', p.standbys, pg_size_pretty(coalesce(p.behind, 0)))
		WHEN s.received IS NULL THEN 'no WAL was streamed; how much the archive has is not known'
		ELSE format('received up to %s, replayed up to %s', s.received, s.replayed)
			|| CASE WHEN s.delay > '0' THEN ', later on purpose by ' || s.delay ELSE '' END
	END
FROM (SELECT pg_is_in_recovery() AS standby, pg_last_wal_receive_lsn() AS received, pg_last_wal_replay_lsn() AS replayed,
		(SELECT r.latest_end_lsn FROM pg_stat_wal_receiver r) AS announced,
		current_setting('recovery_min_apply_delay')::interval AS delay,
		CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_lsn() END AS written) s,
	LATERAL (
		-- who stores WAL but replays none is behind by what it has not stored
		SELECT max(s.written - coalesce(r.replay_lsn, r.flush_lsn, r.write_lsn, r.sent_lsn)) AS behind, count(*) AS standbys
		FROM pg_stat_replication r WHERE r.state <> 'backup'
	) p
$$;
COMMENT ON FUNCTION infra_monitor.check_replication_lag_bytes() IS
'health check: on the primary the WAL that the slowest standby has not replayed, on a standby the WAL known to it that it has not replayed, or with recovery_min_apply_delay not received, bytes; NULL on a standby that has streamed nothing';

CREATE FUNCTION infra_monitor.check_sync_standby_missing(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN s.in_force THEN greatest(s.demanded - p.connected, 0) ELSE 0 END::float8,
	'standbys',
	CASE
		WHEN s.in_force THEN format('synchronous standbys demanded: %s, streaming: %s; sessions that wait for one: %s',
			s.demanded, p.connected, w.waiting)
		WHEN s.standby THEN 'a standby waits for nobody'
		ELSE 'synchronous_standby_names is empty'
	END
FROM (SELECT pg_is_in_recovery() AS standby, NOT pg_is_in_recovery() AND names ~ '[^[:space:]]' AS in_force,
		-- FIRST 2 (a, b), ANY 2 (a, b), 2 (a, b); else one of a list
		coalesce((regexp_match(names, '^[[:space:]]*(?:(?:first|any)[[:space:]]+)?([0-9]+)[[:space:]]*[(]', 'i'))[1]::int, 1) AS demanded
	  FROM current_setting('synchronous_standby_names') names) s,
	(SELECT count(*) AS connected FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')) p,
	(SELECT count(*) AS waiting FROM pg_stat_activity WHERE wait_event = 'SyncRep') w
$$;
COMMENT ON FUNCTION infra_monitor.check_sync_standby_missing() IS
'health check: how many synchronous standbys are streaming fewer than synchronous_standby_names demands; above 0 commits wait; 0 on a standby';

CREATE FUNCTION infra_monitor.check_slots_inactive(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
WITH inactive AS MATERIALIZED (
	SELECT s.slot_name, (to_jsonb(s)->>'inactive_since')::timestamptz AS since,
		-- one that is moved by hand, or by a cluster manager, is in use
		concat_ws(' ', s.slot_name, s.restart_lsn, s.confirmed_flush_lsn) AS key
	FROM pg_replication_slots s
	WHERE NOT s.active AND NOT s.temporary AND s.wal_status IS DISTINCT FROM 'lost'
		AND num_nonnulls(s.restart_lsn, s.xmin, s.catalog_xmin) > 0
		AND NOT (pg_is_in_recovery() AND coalesce((to_jsonb(s)->>'synced')::boolean, false))
), oldest AS (
	SELECT i.slot_name, coalesce(i.since, k.since) AS since, count(*) OVER () AS n
	FROM inactive i
		LEFT JOIN infra_monitor.seen_since('inactive slot', ARRAY(SELECT key FROM inactive)) k ON k.name = i.key
	ORDER BY 2 LIMIT 1
)
SELECT CASE WHEN o.n IS NULL THEN 0 ELSE infra_monitor.seconds_since(o.since) END,
	'seconds',
	CASE
		WHEN o.n IS NULL THEN 'no replication slot is without a user'
		WHEN o.since IS NULL THEN format('replication slots without a user: %s, since when is not known', o.n)
		ELSE format('replication slots without a user: %s, "%s" for %s at least', o.n, o.slot_name,
			date_trunc('second', greatest(clock_timestamp() - o.since, '0')))
	END
FROM (SELECT) one LEFT JOIN oldest o ON true
$$;
COMMENT ON FUNCTION infra_monitor.check_slots_inactive() IS
'health check: longest time that a replication slot has had no user, and was not moved, seconds; before PostgreSQL 17 as far as the sampler has seen it; without slots that are temporary, lost, hold nothing, or are synchronized from the primary';

CREATE FUNCTION infra_monitor.check_slots_retained_wal(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
WITH slots AS (
	SELECT s.slot_name, greatest(w.at - s.restart_lsn, 0) AS retained, s.safe_wal_size AS safe
	FROM pg_replication_slots s,
		(SELECT CASE WHEN pg_is_in_recovery() THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
			ELSE pg_current_wal_lsn() END AS at) w
	WHERE s.restart_lsn IS NOT NULL AND s.wal_status IS DISTINCT FROM 'lost'
), worst AS (
	SELECT s.*, greatest(
			CASE WHEN s.safe <= 0 THEN 1 ELSE s.retained / (s.retained + s.safe) END,
			s.retained / nullif(s.retained + d.available, 0)) AS ratio,
		d.available
	FROM slots s
		-- WAL is on a file system of its own, or on that of the data directory
		LEFT JOIN LATERAL (
			SELECT u.available FROM infra_monitor.disk_usage() u
			WHERE u.what <> 'tablespace' ORDER BY u.what DESC LIMIT 1
		) d ON true
	ORDER BY ratio DESC NULLS LAST LIMIT 1
)
SELECT CASE WHEN w.slot_name IS NULL THEN 0 ELSE w.ratio END::float8, 'ratio',
	CASE WHEN w.slot_name IS NULL THEN 'no replication slot retains WAL'
		ELSE format('slot "%s" retains %s of WAL; ', w.slot_name, pg_size_pretty(w.retained))
			|| CASE WHEN w.safe IS NULL THEN '' ELSE format('it is lost after another %s, ', pg_size_pretty(greatest(w.safe, 0))) END
			|| format('the disk has %s left', coalesce(pg_size_pretty(w.available), 'an unknown size'))
	END
FROM (SELECT) one LEFT JOIN worst w ON true
$$;
COMMENT ON FUNCTION infra_monitor.check_slots_retained_wal() IS
'health check: WAL that a replication slot retains, as a share of what it may retain before it is lost (max_slot_wal_keep_size), or before the disk is full, whichever is nearer; of the slot that is nearest';

CREATE FUNCTION infra_monitor.check_slots_lost(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT count(*)::float8, 'slots',
	CASE count(*) WHEN 0 THEN 'no replication slot has lost its WAL'
		ELSE format('replication slots that have lost WAL, or will at the next checkpoint: %s, "%s" is %s',
			count(*), (array_agg(s.slot_name ORDER BY s.wal_status, s.slot_name))[1], min(s.wal_status))
	END
FROM pg_replication_slots s
WHERE s.wal_status IN ('lost', 'unreserved')
$$;
COMMENT ON FUNCTION infra_monitor.check_slots_lost() IS
'health check: replication slots with wal_status lost, or unreserved, which means at the next checkpoint';

CREATE FUNCTION infra_monitor.check_wal_archiving(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN r.n = 0 THEN 0 ELSE infra_monitor.seconds_since(r.oldest) END,
	'seconds',
	CASE
		WHEN current_setting('archive_mode') = 'off' THEN 'archiving is off'
		WHEN r.n = 0 THEN 'no WAL segment waits for archiving'
		ELSE format('WAL segments waiting for archiving: %s, the oldest since %s; failures so far: %s',
			r.n, r.oldest, a.failed_count)
			|| CASE WHEN a.last_failed_time IS NULL THEN '' ELSE format(', the last at %s', a.last_failed_time) END
	END
FROM pg_stat_archiver a,
	(SELECT count(*) AS n, min(f.modification) AS oldest
	 FROM pg_ls_archive_statusdir() f
	 WHERE f.name LIKE '%.ready' AND current_setting('archive_mode') <> 'off') r
$$;
COMMENT ON FUNCTION infra_monitor.check_wal_archiving() IS
'health check: time that the oldest WAL segment has been waiting for archiving, seconds; grows while archive_command fails or cannot keep up';

CREATE FUNCTION infra_monitor.check_wal_archive_age(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(infra_monitor.seconds_since(least(k.since, r.oldest)), 0),
	'seconds',
	CASE
		WHEN m.mode = 'off' THEN 'archiving is off'
		WHEN coalesce(k.since, r.oldest) IS NOT NULL THEN format('the archive lacks WAL from %s or before; last archived: %s',
			least(k.since, r.oldest), coalesce(format('%s at %s', a.last_archived_wal, a.last_archived_time), 'nothing'))
		WHEN m.standby THEN 'no complete WAL segment waits for archiving'
		WHEN m.timeout = '0' THEN 'no complete WAL segment waits for archiving; the current one is archived when it is full'
		ELSE 'all WAL has been archived'
	END
FROM pg_stat_archiver a,
	(SELECT current_setting('archive_mode') AS mode, current_setting('archive_timeout')::interval AS timeout,
		pg_is_in_recovery() AS standby, pg_size_bytes(current_setting('wal_segment_size')) AS segment_size,
		CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_insert_lsn() - '0/0' END AS written) m,
	LATERAL (SELECT min(f.modification) AS oldest
		FROM pg_ls_archive_statusdir() f
		WHERE f.name LIKE '%.ready' AND m.mode <> 'off') r,
	-- where the last archived segment ends; the next one begins with a header of 40 bytes
	LATERAL (SELECT CASE WHEN a.last_archived_wal ~ '^[0-9A-F]{24}$'
			THEN ('x' || substr(a.last_archived_wal, 9, 8))::bit(32)::bigint * 4294967296
				+ (('x' || substr(a.last_archived_wal, 17, 8))::bit(32)::bigint + 1) * m.segment_size
			ELSE 0 END AS archived) e,
	LATERAL (SELECT m.mode <> 'off' AND m.timeout > '0' AND NOT m.standby AND m.written > e.archived + 40 AS pending) p
	LEFT JOIN LATERAL infra_monitor.seen_since('unarchived WAL',
		CASE WHEN p.pending THEN ARRAY[coalesce(a.last_archived_wal, 'none')] ELSE '{}' END) k ON true
$$;
COMMENT ON FUNCTION infra_monitor.check_wal_archive_age() IS
'health check: age of the oldest WAL that the archive lacks, as far as the sampler has seen it, seconds; what a loss of the server would lose; without archive_timeout the segment that is being written does not count';

CREATE FUNCTION infra_monitor.check_wal_receiver(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN s.at_fault THEN infra_monitor.seconds_since(k.since) ELSE 0 END,
	'seconds',
	CASE
		WHEN NOT s.standby THEN 'not a standby'
		WHEN NOT s.wanted THEN 'this standby restores from the archive: primary_conninfo is empty'
		WHEN NOT s.at_fault THEN 'WAL is streaming'
		ELSE format('no WAL is streaming, for %s; the WAL receiver is %s',
			coalesce(date_trunc('second', clock_timestamp() - k.since)::text, 'an unknown time'), coalesce(s.status, 'not running'))
	END
FROM (SELECT r.status, c.standby, c.wanted, c.standby AND c.wanted AND r.status IS DISTINCT FROM 'streaming' AS at_fault
	  FROM (SELECT pg_is_in_recovery() AS standby, current_setting('primary_conninfo') <> '' AS wanted) c
		LEFT JOIN pg_stat_wal_receiver r ON true) s
	LEFT JOIN LATERAL infra_monitor.seen_since('no streaming', CASE WHEN s.at_fault THEN ARRAY['primary'] ELSE '{}' END) k ON true
$$;
COMMENT ON FUNCTION infra_monitor.check_wal_receiver() IS
'health check: how long a standby with primary_conninfo has not been streaming WAL, as far as the sampler has seen it, seconds';

CREATE FUNCTION infra_monitor.check_replay_paused(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN s.state <> 'not paused' THEN infra_monitor.seconds_since(k.since) ELSE 0 END,
	'seconds',
	CASE
		WHEN s.state IS NULL THEN 'not a standby'
		WHEN s.state = 'not paused' THEN 'replay is not paused'
		ELSE format('replay is %s, for %s', s.state, coalesce(date_trunc('second', clock_timestamp() - k.since)::text, 'an unknown time'))
	END
FROM (SELECT CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() END AS state) s
	LEFT JOIN LATERAL infra_monitor.seen_since('replay paused', CASE WHEN s.state <> 'not paused' THEN ARRAY['replay'] ELSE '{}' END) k ON true
$$;
COMMENT ON FUNCTION infra_monitor.check_replay_paused() IS
'health check: how long replay has been paused on a standby, as far as the sampler has seen it, seconds';

CREATE FUNCTION infra_monitor.check_history_published(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
WITH history AS (
	SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE n.nspname = 'infra_monitor' AND c.relkind = 'p'
), named AS (
	-- 19 and later: some are those that are left out
	SELECT r.prpubid, r.prrelid, coalesce((to_jsonb(r)->>'prexcept')::boolean, false) AS excepted
	FROM pg_publication_rel r
), publishing AS (
	SELECT p.pubname
	FROM pg_publication p
	WHERE EXISTS (SELECT FROM history h
		WHERE CASE WHEN p.puballtables
			THEN NOT EXISTS (SELECT FROM named d WHERE d.prpubid = p.oid AND d.prrelid = h.oid AND d.excepted)
			ELSE EXISTS (SELECT FROM named d WHERE d.prpubid = p.oid AND d.prrelid = h.oid AND NOT d.excepted) END)
		OR EXISTS (SELECT FROM pg_publication_namespace s JOIN pg_namespace n ON n.oid = s.pnnspid
			WHERE s.pnpubid = p.oid AND n.nspname = 'infra_monitor')
)
SELECT CASE WHEN current_database() = current_setting('infra_monitor.database', true) THEN f.n END::float8, 'publications',
	CASE WHEN current_database() IS DISTINCT FROM current_setting('infra_monitor.database', true)
			THEN 'the history is in another database'
		WHEN f.n = 0 THEN 'no publication has the history'
		ELSE format('%s %s the history: a subscriber that has no table of that name stops, and each day there are new ones',
			f.names, CASE f.n WHEN 1 THEN 'publishes' ELSE 'publish' END) END
FROM (SELECT count(*) AS n, string_agg(format('%I', p.pubname), ', ' ORDER BY p.pubname) FILTER (WHERE p.place <= 5)
		|| CASE WHEN count(*) > 5 THEN ' and others' ELSE '' END AS names
	FROM (SELECT pubname, row_number() OVER (ORDER BY pubname) AS place FROM publishing) p) f
$$;
COMMENT ON FUNCTION infra_monitor.check_history_published() IS
'health check: publications of this database that have tables of the history, of which there are new ones each day; NULL outside the home database';
