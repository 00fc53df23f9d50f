
--
-- checks_queries.sql: health checks of category queries: statements and transactions of clients
--
-- Their defaults are in check_defaults(), health.sql.  All are for pg_monitor.
--

CREATE FUNCTION infra_monitor.check_long_transactions(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(extract(epoch FROM oldest_transaction), 0)::float8, 'seconds',
	CASE WHEN oldest_transaction IS NULL THEN 'no transaction is open'
		ELSE format('the oldest transaction has been open for %s', date_trunc('second', oldest_transaction)) END
FROM infra_monitor.pool_counts()
$$;
COMMENT ON FUNCTION infra_monitor.check_long_transactions() IS
'health check: age of the oldest transaction of a client backend, seconds';
