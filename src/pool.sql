
--
-- pool.sql: how close to running out of connections, and who holds them
--

CREATE FUNCTION infra_monitor.pool_counts(
	OUT max_connections int, OUT reserved_connections int,
	OUT used_connections int, OUT available_connections int,
	OUT used_ratio float8, OUT active int, OUT idle int,
	OUT idle_in_transaction int, OUT waiting int, OUT peak_connections int,
	OUT peak_at timestamptz, OUT connects_total bigint,
	OUT disconnects_total bigint, OUT rejected_total bigint,
	OUT auth_failures_total bigint, OUT oldest_transaction interval,
	OUT oldest_idle_in_transaction interval, OUT stats_reset timestamptz,
	OUT authenticating int, OUT oldest_lock_wait interval)
RETURNS record
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'imon_pool_counts_1_0';
COMMENT ON FUNCTION infra_monitor.pool_counts() IS
'source of the pool checks; states are frozen within a transaction; error unless preloaded; for pg_monitor';

CREATE FUNCTION infra_monitor.rejected_recently()
RETURNS bigint
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_rejected_recently_1_0';
COMMENT ON FUNCTION infra_monitor.rejected_recently() IS
'connections refused in the last five minutes, without authentication failures; error unless preloaded; for pg_monitor';

CREATE FUNCTION infra_monitor.pool_status()
RETURNS text
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'imon_pool_status_1_0';
COMMENT ON FUNCTION infra_monitor.pool_status() IS
'ok, warning or critical: the worst status of the pool checks that tell of this moment, without their hold; for pg_monitor';

-- status and counts of one and the same look
CREATE FUNCTION infra_monitor.pool_pressure(
	OUT status text, OUT max_connections int, OUT reserved_connections int,
	OUT used_connections int, OUT available_connections int,
	OUT used_ratio float8, OUT active int, OUT idle int,
	OUT idle_in_transaction int, OUT waiting int, OUT peak_connections int,
	OUT peak_at timestamptz, OUT connects_total bigint,
	OUT disconnects_total bigint, OUT rejected_total bigint,
	OUT auth_failures_total bigint, OUT oldest_transaction interval,
	OUT oldest_idle_in_transaction interval, OUT stats_reset timestamptz,
	OUT authenticating int)
RETURNS record
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'imon_pool_pressure_1_0';
COMMENT ON FUNCTION infra_monitor.pool_pressure() IS
'source of the view pool_pressure; error unless preloaded; for pg_monitor';

CREATE VIEW infra_monitor.pool_pressure AS
SELECT status, max_connections, reserved_connections, used_connections,
	available_connections, used_ratio, active, idle, idle_in_transaction,
	waiting, peak_connections, peak_at, connects_total, disconnects_total,
	rejected_total, auth_failures_total, oldest_transaction,
	oldest_idle_in_transaction, stats_reset, authenticating
FROM infra_monitor.pool_pressure();
COMMENT ON VIEW infra_monitor.pool_pressure IS
'one row: connections now and since the counters were reset; error unless preloaded; for pg_monitor';
COMMENT ON COLUMN infra_monitor.pool_pressure.status IS 'ok, warning or critical: the worst of the pool checks that tell of this moment, without their hold';
COMMENT ON COLUMN infra_monitor.pool_pressure.reserved_connections IS 'slots that an ordinary role cannot use: superuser_reserved_connections and, from PostgreSQL 16, reserved_connections';
COMMENT ON COLUMN infra_monitor.pool_pressure.used_connections IS 'client backends; no walsenders, workers or autovacuum';
COMMENT ON COLUMN infra_monitor.pool_pressure.available_connections IS 'slots that an ordinary role can still get';
COMMENT ON COLUMN infra_monitor.pool_pressure.used_ratio IS '(used + authenticating) / (max - reserved); above 1 when reserved slots are in use';
COMMENT ON COLUMN infra_monitor.pool_pressure.idle_in_transaction IS 'also in an aborted transaction';
COMMENT ON COLUMN infra_monitor.pool_pressure.waiting IS 'active and waiting for a heavyweight lock';
COMMENT ON COLUMN infra_monitor.pool_pressure.peak_connections IS 'most connections established at one moment, exact, also between samples';
COMMENT ON COLUMN infra_monitor.pool_pressure.connects_total IS 'connections established since stats_reset';
COMMENT ON COLUMN infra_monitor.pool_pressure.disconnects_total IS 'connections ended since stats_reset';
COMMENT ON COLUMN infra_monitor.pool_pressure.rejected_total IS 'connections refused since stats_reset, without authentication failures';
COMMENT ON COLUMN infra_monitor.pool_pressure.auth_failures_total IS 'authentication failures since stats_reset';
COMMENT ON COLUMN infra_monitor.pool_pressure.oldest_transaction IS 'age of the oldest transaction of a client backend; NULL if there is none';
COMMENT ON COLUMN infra_monitor.pool_pressure.oldest_idle_in_transaction IS 'longest time that a session has been idle in transaction; NULL if none is';
COMMENT ON COLUMN infra_monitor.pool_pressure.authenticating IS 'connections that hold a slot and have not finished authentication';

CREATE FUNCTION infra_monitor.idle_threshold()
RETURNS interval
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT coalesce(nullif(current_setting('infra_monitor.idle_threshold', true), ''), '5min')::interval $$;
COMMENT ON FUNCTION infra_monitor.idle_threshold() IS
'the parameter infra_monitor.idle_threshold, or its default where the library is not preloaded; for pg_monitor';

CREATE FUNCTION infra_monitor.terminate_statement(pids int[], idle_before timestamptz)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT format('SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE pid IN (%s) AND state = ''idle'' AND state_change < ''%s+00''::timestamptz',
	string_agg(pid::text, ', ' ORDER BY n),
	to_char($2 AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'))
FROM unnest($1[:20]) WITH ORDINALITY AS p (pid, n)
WHERE isfinite($2)
HAVING count(pid) > 0
$$;
COMMENT ON FUNCTION infra_monitor.terminate_statement(int[], timestamptz) IS
'the statement that ends the first 20 of these sessions, as far as they are idle, and have been since before a moment, when it is run: neither one that works again nor another one with the same pid is ended; text only, nothing is ended here; NULL for no sessions; for pg_monitor';

CREATE FUNCTION infra_monitor.prevention_advice(
	usename name, idle int, idle_in_transaction int,
	connections int DEFAULT NULL)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT nullif(concat_ws(E'\n',
	CASE WHEN w.idle AND w.role THEN format('ALTER ROLE %I SET idle_session_timeout = %L;', $1, w.threshold) END,
	CASE WHEN w.idle AND w.role AND w.enough < $4 THEN format('ALTER ROLE %I CONNECTION LIMIT %s;', $1, w.enough) END,
	CASE WHEN w.in_transaction AND w.role THEN format('ALTER ROLE %I SET idle_in_transaction_session_timeout = %L;', $1, w.threshold) END,
	CASE WHEN w.idle THEN format('-- in the application: give each connection back to the pool after use, and let the pool close those that are idle for longer than %s', w.threshold) END,
	CASE WHEN w.in_transaction THEN '-- in the application: commit or roll back before waiting for anything else, also after an error' END), '')
FROM (SELECT $2 > 0 AS idle, $3 > 0 AS in_transaction, $1 IS NOT NULL AS role,
	2 * greatest($4 - $2, 1) AS enough,
	coalesce(nullif(current_setting('infra_monitor.idle_threshold', true), ''), '5min') AS threshold) w
$$;
COMMENT ON FUNCTION infra_monitor.prevention_advice(name, int, int, int) IS
'settings that prevent what is wrong with the sessions of a role, as a script: so many of them idle, and so many idle in a transaction, for longer than infra_monitor.idle_threshold; connections: how many the role has, for a limit of twice those that are not left idle if that is less, NULL to propose none; text only, nothing is set here; NULL when nothing is wrong; for pg_monitor';

CREATE VIEW infra_monitor.pool_usage AS
WITH moment AS MATERIALIZED (
	SELECT c.now, c.now OPERATOR(pg_catalog.-) infra_monitor.idle_threshold() AS idle_before,
		pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all
	FROM pg_catalog.clock_timestamp() AS c (now)
), groups AS (
	SELECT s.datid, s.usesysid, s.datname, s.usename, s.application_name, s.client_addr,
		pg_catalog.count(*)::pg_catalog.int4 AS connections,
		(pg_catalog.count(*) FILTER (WHERE s.state OPERATOR(pg_catalog.=) 'active'))::pg_catalog.int4 AS active,
		(pg_catalog.count(*) FILTER (WHERE s.state OPERATOR(pg_catalog.=) 'idle'))::pg_catalog.int4 AS idle,
		(pg_catalog.count(*) FILTER (WHERE s.state OPERATOR(pg_catalog.=) ANY ('{idle in transaction,idle in transaction (aborted)}')))::pg_catalog.int4 AS idle_in_transaction,
		(pg_catalog.count(*) FILTER (WHERE s.state OPERATOR(pg_catalog.=) 'active' AND s.wait_event_type OPERATOR(pg_catalog.=) 'Lock'))::pg_catalog.int4 AS waiting,
		pg_catalog.min(s.state_change) FILTER (WHERE s.state OPERATOR(pg_catalog.=) 'idle') AS idle_since,
		pg_catalog.array_agg(s.pid ORDER BY s.state_change, s.pid)
			FILTER (WHERE s.state OPERATOR(pg_catalog.=) 'idle' AND s.state_change OPERATOR(pg_catalog.<) m.idle_before) AS forgotten,
		(pg_catalog.count(*) FILTER (WHERE s.state OPERATOR(pg_catalog.=) ANY ('{idle in transaction,idle in transaction (aborted)}')
			AND s.state_change OPERATOR(pg_catalog.<) m.idle_before))::pg_catalog.int4 AS forgotten_in_transaction
	FROM infra_monitor.sessions() s CROSS JOIN moment m
	GROUP BY s.datid, s.usesysid, s.datname, s.usename, s.application_name, s.client_addr
), limits AS (
	SELECT g.*, coalesce(r.rolsuper, false) AS is_superuser,
		CASE WHEN r.rolconnlimit OPERATOR(pg_catalog.>=) 0 THEN r.rolconnlimit END AS role_limit,
		CASE WHEN d.datconnlimit OPERATOR(pg_catalog.>=) 0 THEN d.datconnlimit END AS database_limit,
		pg_catalog.sum(g.connections) OVER (PARTITION BY g.usesysid) AS of_role,
		pg_catalog.sum(g.connections) OVER (PARTITION BY g.datid) AS of_database,
		pg_catalog.sum(pg_catalog.cardinality(g.forgotten)) OVER (PARTITION BY g.usesysid) AS forgotten_of_role
	FROM groups g
		LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) g.usesysid
		LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) g.datid
)
SELECT l.datname, l.usename, l.application_name, l.client_addr, l.connections,
	l.active, l.idle, l.idle_in_transaction, l.waiting, l.role_limit, l.database_limit,
	greatest(
		CASE l.role_limit WHEN 0 THEN 1 ELSE l.of_role::pg_catalog.float8 OPERATOR(pg_catalog./) l.role_limit END,
		CASE l.database_limit WHEN 0 THEN 1 ELSE l.of_database::pg_catalog.float8 OPERATOR(pg_catalog./) l.database_limit END
	) AS limit_ratio,
	CASE WHEN l.idle_since IS NOT NULL THEN greatest(m.now OPERATOR(pg_catalog.-) l.idle_since, '0') END AS oldest_idle,
	CASE WHEN v.visible THEN infra_monitor.terminate_statement(l.forgotten, m.idle_before)
		ELSE '<insufficient privilege>' END AS terminate,
	CASE WHEN v.visible THEN infra_monitor.prevention_advice(l.usename,
			CASE WHEN l.forgotten IS NOT NULL THEN l.forgotten_of_role::pg_catalog.int4 END,
			l.forgotten_in_transaction,
			CASE WHEN l.role_limit IS NULL AND NOT l.is_superuser THEN l.of_role::pg_catalog.int4 END)
		ELSE '<insufficient privilege>' END AS prevention
FROM limits l CROSS JOIN moment m
	CROSS JOIN LATERAL (SELECT m.sees_all OR pg_catalog.pg_has_role(l.usesysid, 'USAGE') AS visible) v;
COMMENT ON VIEW infra_monitor.pool_usage IS
'who holds the connections: client backends by database, role, application and address; works without preloading; for pg_monitor, application and address of other roles need pg_read_all_stats';
COMMENT ON COLUMN infra_monitor.pool_usage.client_addr IS 'NULL for a Unix-domain socket';
COMMENT ON COLUMN infra_monitor.pool_usage.idle_in_transaction IS 'also in an aborted transaction';
COMMENT ON COLUMN infra_monitor.pool_usage.waiting IS 'active and waiting for a heavyweight lock';
COMMENT ON COLUMN infra_monitor.pool_usage.role_limit IS 'connection limit of the role; NULL if it has none; superusers ignore it';
COMMENT ON COLUMN infra_monitor.pool_usage.database_limit IS 'connection limit of the database; NULL if it has none; superusers ignore it';
COMMENT ON COLUMN infra_monitor.pool_usage.limit_ratio IS 'all connections of the role or database / its limit, whichever is nearer; NULL where neither has one; 1 for a limit of 0';
COMMENT ON COLUMN infra_monitor.pool_usage.oldest_idle IS 'time for which the longest idle of these sessions has been idle, outside a transaction; NULL if none is';
COMMENT ON COLUMN infra_monitor.pool_usage.terminate IS 'statement, for you to run, that ends those of these sessions that have been idle for longer than infra_monitor.idle_threshold, the 20 that have been so for longest; infra_monitor itself ends nobody''s session; NULL if there is none; for other roles needs pg_read_all_stats';
COMMENT ON COLUMN infra_monitor.pool_usage.prevention IS 'settings that prevent sessions from being left idle, or idle in a transaction, for longer than infra_monitor.idle_threshold; a script of the form of psql, for you to judge; NULL if none is; for other roles needs pg_read_all_stats';

CREATE FUNCTION infra_monitor.reset(what text DEFAULT 'all')
RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_reset_1_0';
COMMENT ON FUNCTION infra_monitor.reset(text) IS
'lets counters begin anew: ''statements'', ''slow_queries'' (executions in slow_query_log that are in memory; those in slow_query_samples stay), ''pool'' (connections, refusals, lock_blame, waits and concurrency) or ''all''; samples before and after are of different epochs; never touches pg_stat_statements; error unless preloaded; for superusers, grantable';
