--
-- Wait sampling: wait_profile and wait_samples
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS infra_monitor CASCADE;
RESET client_min_messages;

-- the sampler looks at the sessions each second; this one is active, and sleeps
CREATE FUNCTION pg_temp.sleep_until_seen(looks bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 600 LOOP
		IF (SELECT w.looks FROM infra_monitor.wait_state() w) >= looks THEN
			RETURN true;
		END IF;
		PERFORM pg_sleep(0.1);
	END LOOP;
	RETURN false;
END $$;
SELECT infra_monitor.reset('pool');
SELECT stats_reset AS reset_at FROM infra_monitor.wait_state() \gset
SELECT pg_temp.sleep_until_seen(3) AS seen;

-- what it was seen doing, and that shares and averages are those of the counts
SELECT datname, wait_event_type, wait_event, queryid IS NOT NULL AS queryid, observations >= 2 AS observations,
	share > 0.5 AS share, avg_active > 0.5 AS avg_active
FROM infra_monitor.wait_profile
WHERE datname = current_database() AND wait_event = 'PgSleep';
SELECT round(sum(share)::numeric, 6) AS shares, sum(observations) > 0 AS observations,
	count(*) FILTER (WHERE observations <= 0 OR avg_active <= 0 OR wait_event IS NULL OR wait_event_type IS NULL) AS wrong
FROM infra_monitor.wait_profile;
SELECT sum(w.observations) / max(w.looks) BETWEEN p.avg * 0.8 AND p.avg * 1.2 AS averages
FROM infra_monitor.wait_counts() w, (SELECT sum(avg_active)::numeric AS avg FROM infra_monitor.wait_profile) p
GROUP BY p.avg;
SELECT looks >= 3 AS looks, looks_stored <= looks AS looks_stored, entries BETWEEN 1 AND 100 AS entries, without_query, dropped
FROM infra_monitor.wait_state();
SELECT drops->'wait_queries' AS queries, drops->'wait_observations' AS observations,
	(cost->>'waits_seconds')::float8 >= 0 AS cost, (shared_memory->>'waits')::int BETWEEN 160000 AND 170000 AS memory
FROM infra_monitor.sampler_status;

-- events have the names that pg_stat_activity gives them, and each row its own
SELECT count(*) - count(DISTINCT (datname, wait_event_type, wait_event, queryid)) AS duplicates
FROM infra_monitor.wait_profile;

-- the query is the one of pg_stat_statements
SELECT count(*) > 0 AS known
FROM infra_monitor.wait_profile w JOIN pg_stat_statements s USING (queryid)
WHERE w.wait_event = 'PgSleep' AND s.query LIKE '%pg_temp.sleep_until_seen%';

-- queries are for members of pg_read_all_stats
CREATE ROLE regress_waits;
GRANT USAGE ON SCHEMA infra_monitor TO regress_waits;
GRANT SELECT ON infra_monitor.wait_profile TO regress_waits;
GRANT EXECUTE ON FUNCTION infra_monitor.wait_counts(), infra_monitor.shown(name) TO regress_waits;
SET ROLE regress_waits;
SELECT count(queryid) AS queryids, count(*) > 0 AS any,
	count(*) - count(DISTINCT (datname, wait_event_type, wait_event)) AS duplicates
FROM infra_monitor.wait_profile;
SELECT count(queryid) AS queryids, count(*) > 0 AS any FROM infra_monitor.wait_counts();
SELECT * FROM infra_monitor.wait_state();
SELECT * FROM infra_monitor.wait_samples;
RESET ROLE;
GRANT pg_monitor TO regress_waits;
SET ROLE regress_waits;
SELECT count(queryid) > 0 AS queryids FROM infra_monitor.wait_profile;
SELECT count(*) >= 0 AS allowed FROM infra_monitor.wait_samples;
INSERT INTO infra_monitor.wait_samples SELECT * FROM infra_monitor.wait_samples;
RESET ROLE;
DROP OWNED BY regress_waits;
DROP ROLE regress_waits;

-- a reset empties it, at once, whatever becomes of the transaction
BEGIN;
SELECT infra_monitor.reset();
ROLLBACK;
SELECT stats_reset > :'reset_at' AS reset, looks <= 1 + extract(epoch FROM clock_timestamp() - stats_reset) AS looks, looks_stored <= looks AS looks_stored
FROM infra_monitor.wait_state();
SELECT coalesce(sum(observations), 0) <= 2 * (SELECT 1 + extract(epoch FROM clock_timestamp() - stats_reset) FROM infra_monitor.wait_state()) AS few FROM infra_monitor.wait_profile;
