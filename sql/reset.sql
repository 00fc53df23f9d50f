--
-- reset(): counters begin anew
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS infra_monitor CASCADE;
RESET client_min_messages;

-- the sampler takes a sample when the extension is created, and then no more
SET statement_timeout = '60s';
DO $$ BEGIN
	WHILE NOT EXISTS (SELECT FROM infra_monitor.samples) LOOP
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
RESET statement_timeout;

SELECT infra_monitor.reset('nonsense');
SELECT infra_monitor.reset('');
SELECT infra_monitor.reset('POOL');
SELECT infra_monitor.reset(NULL) IS NULL AS nothing;

-- there is something to reset
\c
SELECT connects_total > 0 AS connects FROM infra_monitor.pool_pressure;
SELECT stats_reset AS before FROM infra_monitor.pool_pressure \gset
SELECT count(*) > 0 AS any FROM pg_stat_statements WHERE query LIKE '%IS NULL AS nothing%';
SELECT infra_monitor.take_sample() IS NOT NULL AS ok;

SELECT infra_monitor.reset('pool');
SELECT connects_total, disconnects_total <= 1 AS disconnects, rejected_total, auth_failures_total,
	peak_connections BETWEEN used_connections AND used_connections + 1 AS peak,
	stats_reset > :'before' AS stats_reset
FROM infra_monitor.pool_pressure;
SELECT stats_reset AS after FROM infra_monitor.pool_pressure \gset
SELECT sum(total) AS total, count(last_at) AS last_at FROM infra_monitor.pool_rejections;
SELECT infra_monitor.rejected_recently();
SELECT sum(connects) AS connects, sum(disconnects) <= 1 AS disconnects,
	count(*) FILTER (WHERE connects_per_minute IS NOT NULL) AS per_minute
FROM infra_monitor.connection_churn;
SELECT phase, connections <= 1 AS connections FROM infra_monitor.connection_times;
SELECT coalesce(slots, 0) AS slots FROM infra_monitor.connection_rate();

-- samples before and after are of different epochs
SELECT infra_monitor.take_sample() IS NOT NULL AS ok;
SELECT count(DISTINCT epoch) AS epochs FROM (
	SELECT epoch FROM infra_monitor.samples ORDER BY sampled_at DESC LIMIT 2) s;

-- the default is all, and takes effect at once, whatever becomes of the transaction
BEGIN;
SELECT infra_monitor.reset();
ROLLBACK;
SELECT stats_reset > :'after' AS stats_reset FROM infra_monitor.pool_pressure;
SELECT infra_monitor.reset('all');

-- pg_stat_statements is left alone
SELECT count(*) > 0 AS any FROM pg_stat_statements WHERE query LIKE '%IS NULL AS nothing%';
