
--
-- check_scopes.sql: thresholds of a health check for some databases or roles
--
-- A check that has scopes has a function check_<name>_by_scope() beside its
-- check_<name>(): a row for each database and role of which it knows something.
-- It is called only if there is an override for a scope of the check; then each
-- row is compared with the thresholds that fit it best, and the check is the
-- worst of them.
--

CREATE TABLE infra_monitor.health_scope_overrides (
	check_name text NOT NULL,
	datname text NOT NULL DEFAULT '',
	usename text NOT NULL DEFAULT '',
	warning float8,
	critical float8,
	PRIMARY KEY (check_name, datname, usename),
	CHECK (datname OPERATOR(pg_catalog.<>) '' OR usename OPERATOR(pg_catalog.<>) '')
);
COMMENT ON TABLE infra_monitor.health_scope_overrides IS
'thresholds of your own for a database, a role, or a role in a database, of a check that has such scopes; the one that fits best counts: both, else the role, else the database; dumped by pg_dump; takes effect within infra_monitor.health_interval, in the home database; for superusers, grantable';
COMMENT ON COLUMN infra_monitor.health_scope_overrides.check_name IS 'a check that has scopes; others are refused';
COMMENT ON COLUMN infra_monitor.health_scope_overrides.datname IS 'empty: any';
COMMENT ON COLUMN infra_monitor.health_scope_overrides.usename IS 'empty: any';
COMMENT ON COLUMN infra_monitor.health_scope_overrides.warning IS 'value, in the unit of the check, at which it warns; NULL: as elsewhere, Infinity: never';
COMMENT ON COLUMN infra_monitor.health_scope_overrides.critical IS 'value, in the unit of the check, at which it is critical; NULL: as elsewhere, Infinity: never';

SELECT pg_catalog.pg_extension_config_dump('infra_monitor.health_scope_overrides', '');

CREATE FUNCTION infra_monitor.scope_override()
RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'imon_scope_override_1_0';
COMMENT ON FUNCTION infra_monitor.scope_override() IS
'trigger: refuses an override for a scope of a check that has none';

CREATE TRIGGER check_has_scopes
	BEFORE INSERT OR UPDATE ON infra_monitor.health_scope_overrides
	FOR EACH ROW EXECUTE FUNCTION infra_monitor.scope_override();
COMMENT ON TRIGGER check_has_scopes ON infra_monitor.health_scope_overrides IS
'refuses an override for a scope of a check that has none';

CREATE FUNCTION infra_monitor.check_idle_in_transaction_by_scope(
	OUT datname text, OUT usename text, OUT value float8, OUT message text)
RETURNS SETOF record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT s.datname, s.usename,
	greatest(extract(epoch FROM max(clock_timestamp() - s.state_change)), 0)::float8,
	format('sessions of role "%s" idle in transaction in database "%s": %s, the longest for %s',
		s.usename, s.datname, count(*), date_trunc('second', max(clock_timestamp() - s.state_change)))
FROM infra_monitor.sessions() s
WHERE s.state IN ('idle in transaction', 'idle in transaction (aborted)')
GROUP BY s.datname, s.usename
$$;
COMMENT ON FUNCTION infra_monitor.check_idle_in_transaction_by_scope() IS
'health check idle_in_transaction for each database and role; for pg_monitor';

CREATE FUNCTION infra_monitor.check_long_transactions_by_scope(
	OUT datname text, OUT usename text, OUT value float8, OUT message text)
RETURNS SETOF record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT s.datname, s.usename,
	greatest(extract(epoch FROM max(clock_timestamp() - s.xact_start)), 0)::float8,
	format('the oldest transaction of role "%s" in database "%s" has been open for %s',
		s.usename, s.datname, date_trunc('second', max(clock_timestamp() - s.xact_start)))
FROM infra_monitor.sessions() s
WHERE s.xact_start IS NOT NULL
GROUP BY s.datname, s.usename
$$;
COMMENT ON FUNCTION infra_monitor.check_long_transactions_by_scope() IS
'health check long_transactions for each database and role; for pg_monitor';

CREATE FUNCTION infra_monitor.check_lock_waits_by_scope(
	OUT datname text, OUT usename text, OUT value float8, OUT message text)
RETURNS SETOF record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT w.datname, w.usename, max(w.wait_time) / 1000,
	format('sessions of role "%s" waiting for a lock in database "%s": %s, the longest for %s',
		w.usename, w.datname, count(*), make_interval(secs => floor(max(w.wait_time) / 1000)))
FROM infra_monitor.lock_waits w
GROUP BY w.datname, w.usename
$$;
COMMENT ON FUNCTION infra_monitor.check_lock_waits_by_scope() IS
'health check lock_waits for each database and role; for pg_monitor';

CREATE FUNCTION infra_monitor.check_role_limit_by_scope(
	OUT datname text, OUT usename text, OUT value float8, OUT message text)
RETURNS SETOF record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT NULL::text, u.name,
	CASE u.connection_limit WHEN 0 THEN 1 ELSE u.connections::float8 / u.connection_limit END,
	format('role "%s" has %s of the %s connections that it may have', u.name, u.connections, u.connection_limit)
FROM infra_monitor.limit_usage() u WHERE u.scope = 'role'
$$;
COMMENT ON FUNCTION infra_monitor.check_role_limit_by_scope() IS
'health check role_limit for each role; for pg_monitor';

CREATE FUNCTION infra_monitor.check_database_limit_by_scope(
	OUT datname text, OUT usename text, OUT value float8, OUT message text)
RETURNS SETOF record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT u.name, NULL::text,
	CASE u.connection_limit WHEN 0 THEN 1 ELSE u.connections::float8 / u.connection_limit END,
	format('database "%s" has %s of the %s connections that it may have', u.name, u.connections, u.connection_limit)
FROM infra_monitor.limit_usage() u WHERE u.scope = 'database'
$$;
COMMENT ON FUNCTION infra_monitor.check_database_limit_by_scope() IS
'health check database_limit for each database; for pg_monitor';
