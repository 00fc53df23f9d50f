
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
