
--
-- checks_pool.sql: health checks of category pool: how near the server is to refusing its clients
--
-- Their defaults are in check_defaults(), health.sql.  All are for pg_monitor.
--

CREATE FUNCTION infra_monitor.check_connections_used(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT used_ratio, 'ratio',
	format('%s of %s connections used (%s reserved, %s authenticating), %s left for ordinary roles',
		used_connections, max_connections, reserved_connections, authenticating, available_connections)
FROM infra_monitor.pool_counts()
$$;
COMMENT ON FUNCTION infra_monitor.check_connections_used() IS
'health check: share of the slots for ordinary roles that is taken; 1 means that they are refused';

CREATE FUNCTION infra_monitor.check_connections_rejected(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT n::float8, 'connections',
	format('connections refused in the last 5 minutes: %s', n)
FROM infra_monitor.rejected_recently() n
$$;
COMMENT ON FUNCTION infra_monitor.check_connections_rejected() IS
'health check: connections refused in the last five minutes, without authentication failures; the critical default is one a second';

CREATE FUNCTION infra_monitor.check_connection_storm(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN r.slots >= 60 THEN r.connects_per_second / greatest(r.usual_per_second, 1) END,
	'ratio',
	CASE WHEN r.slots >= 60
		THEN format('%s connections a second in the last 10 seconds, %s usually', r.connects_per_second, r.usual_per_second)
			|| CASE WHEN t.usename IS NOT NULL
				THEN format('; most are of role "%s": %s', t.usename, t.connects)
				ELSE '' END
		ELSE 'what is usual is not known within ten minutes after the start of the server or a reset'
	END
FROM infra_monitor.connection_rate() r
	LEFT JOIN LATERAL (
		-- not the application: all who read the document would see it
		SELECT c.usename, sum(c.connects_last_slot) AS connects
		FROM infra_monitor.connection_churn() c
		WHERE c.connects_last_slot > 0
		GROUP BY c.usename
		ORDER BY connects DESC, c.usename LIMIT 1
	) t ON true
$$;
COMMENT ON FUNCTION infra_monitor.check_connection_storm() IS
'health check: connections established a second, in the last complete slot of ten seconds, as a multiple of the median of the last hour, which counts as one a second at least; NULL until ten minutes after the server was started or the counters were reset';

CREATE FUNCTION infra_monitor.check_role_limit(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT ratio, 'ratio',
	CASE WHEN connections IS NULL THEN 'there are no connections of a role that has a connection limit'
		ELSE format('role "%s" has %s of the %s connections that it may have', name, connections, connection_limit) END
FROM infra_monitor.nearest_limit('role')
$$;
COMMENT ON FUNCTION infra_monitor.check_role_limit() IS
'health check: connections of a role as a share of its connection limit, of the role that is nearest to it; 1 for a limit of 0; superusers heed no limit and are left out';

CREATE FUNCTION infra_monitor.check_database_limit(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT ratio, 'ratio',
	CASE WHEN connections IS NULL THEN 'there are no connections of a database that has a connection limit'
		ELSE format('database "%s" has %s of the %s connections that it may have', name, connections, connection_limit) END
FROM infra_monitor.nearest_limit('database')
$$;
COMMENT ON FUNCTION infra_monitor.check_database_limit() IS
'health check: connections to a database as a share of its connection limit, of the database that is nearest to it; 1 for a limit of 0; connections of superusers count, though no limit refuses them';

CREATE FUNCTION infra_monitor.check_idle_in_transaction(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(extract(epoch FROM oldest_idle_in_transaction), 0)::float8, 'seconds',
	CASE idle_in_transaction WHEN 0 THEN 'no session is idle in transaction'
		ELSE format('sessions idle in transaction: %s, the longest for %s',
			idle_in_transaction, date_trunc('second', oldest_idle_in_transaction)) END
FROM infra_monitor.pool_counts()
$$;
COMMENT ON FUNCTION infra_monitor.check_idle_in_transaction() IS
'health check: longest time that a session has been idle in transaction, seconds; it may hold locks and holds vacuum back';

CREATE FUNCTION infra_monitor.check_lock_waits(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(extract(epoch FROM oldest_lock_wait), 0)::float8, 'seconds',
	CASE waiting WHEN 0 THEN 'no session waits for a lock'
		ELSE format('sessions waiting for a lock: %s, the longest for %s',
			waiting, date_trunc('second', coalesce(oldest_lock_wait, '0'))) END
FROM infra_monitor.pool_counts()
$$;
COMMENT ON FUNCTION infra_monitor.check_lock_waits() IS
'health check: longest time that a session has been waiting for a heavyweight lock, seconds';

CREATE FUNCTION infra_monitor.check_exhaustion_eta(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT least(coalesce(extract(epoch FROM f.exhausted_in)::float8, 86400), 86400), 'seconds',
	CASE WHEN f.exhausted_in IS NULL THEN 'connections do not rise steadily'
		ELSE format('connections rise by %s a minute and run out in %s', round(f.slope_per_minute::numeric, 1),
			date_trunc('second', f.exhausted_in)) END
FROM (VALUES (1)) one (n)
	LEFT JOIN infra_monitor.pool_forecast f ON f.scope = 'server' AND f.exhausted_in IS NOT NULL
$$;
COMMENT ON FUNCTION infra_monitor.check_exhaustion_eta() IS
'health check: time until connections run out if they go on rising as they do, seconds, at most a day, which also stands for "they do not rise"';

CREATE FUNCTION infra_monitor.check_connection_leak(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(sum(l.idle_floor), 0)::float8 / greatest(p.slots, 1), 'ratio',
	CASE count(l.*) WHEN 0 THEN 'nobody leaves more and more connections idle'
		ELSE format('connections left idle by who opens more and more: %s of %s slots; most are of role "%s": %s',
			sum(l.idle_floor), p.slots, (array_agg(l.usename ORDER BY l.idle_floor DESC, l.usename))[1], max(l.idle_floor)) END
FROM (SELECT max_connections - reserved_connections AS slots FROM infra_monitor.pool_counts()) p
	LEFT JOIN infra_monitor.leaks() l ON true
GROUP BY p.slots
$$;
COMMENT ON FUNCTION infra_monitor.check_connection_leak() IS
'health check: share of the slots for ordinary roles that is held by connections which the groups of connection_leaks leave idle';

CREATE FUNCTION infra_monitor.check_deadlocks(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT g::float8, 'deadlocks',
	CASE WHEN g IS NULL THEN 'not known: the sampler has just begun to count'
		ELSE format('deadlocks in the last 5 minutes: %s', g) END
FROM (SELECT infra_monitor.recent_growth('deadlocks', sum(deadlocks)::bigint) FROM pg_stat_database) d (g)
$$;
COMMENT ON FUNCTION infra_monitor.check_deadlocks() IS
'health check: deadlocks in the last five minutes, in all databases';

CREATE FUNCTION infra_monitor.check_auth_failures(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT g::float8, 'failures',
	CASE WHEN g IS NULL THEN 'not known: the sampler has just begun to count'
		ELSE format('authentication failures in the last 5 minutes: %s', g) END
FROM (SELECT infra_monitor.recent_growth('auth_failures', auth_failures_total) FROM infra_monitor.pool_counts()) a (g)
$$;
COMMENT ON FUNCTION infra_monitor.check_auth_failures() IS
'health check: connections refused by authentication in the last five minutes';
