--
-- Privileges: who may use what, and who sees whose texts
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
SELECT current_user AS admin \gset
SELECT infra_monitor.take_sample() IS NOT NULL AS sampled;

CREATE ROLE regress_nobody LOGIN;
CREATE ROLE regress_monitor LOGIN IN ROLE pg_monitor;
CREATE ROLE regress_granted LOGIN;

-- what of our schema can be used: tries everything there is
CREATE TABLE regress_objects AS
SELECT c.oid::regclass::text AS object, format('SELECT count(*) FROM %s', c.oid::regclass) AS read
FROM pg_class c
WHERE c.relnamespace = 'infra_monitor'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
UNION ALL
SELECT p.oid::regprocedure::text,
	format(CASE p.prokind WHEN 'a' THEN 'SELECT infra_monitor.%I(%s)' ELSE 'SELECT count(*) FROM infra_monitor.%I(%s)' END,
		p.proname,
		(SELECT string_agg(format('(SELECT NULL::%s)', t::regtype), ', ') FROM unnest(p.proargtypes) t))
FROM pg_proc p
WHERE p.pronamespace = 'infra_monitor'::regnamespace AND p.prorettype <> 'trigger'::regtype
	AND 'internal'::regtype <> ALL (p.proargtypes);
CREATE FUNCTION regress_try() RETURNS TABLE (result text, error text, objects bigint, names text)
LANGUAGE plpgsql AS $$
DECLARE
	o regress_objects;
BEGIN
	CREATE TEMP TABLE tried (result text, error text, object text) ON COMMIT DROP;
	FOR o IN SELECT * FROM regress_objects LOOP
		BEGIN
			EXECUTE o.read;
			INSERT INTO tried VALUES ('allowed', NULL, o.object);
		EXCEPTION WHEN insufficient_privilege THEN
			INSERT INTO tried VALUES ('denied', regexp_replace(SQLERRM, ' [a-z_0-9]*$', ''), o.object);
		END;
	END LOOP;
	RETURN QUERY SELECT t.result, t.error,
		CASE WHEN count(*) > 8 THEN NULL ELSE count(*) END,
		CASE WHEN count(*) > 8 THEN 'many' ELSE string_agg(t.object, ', ' ORDER BY t.object COLLATE "C") END
	FROM tried t GROUP BY t.result, t.error ORDER BY 1, 2;
END $$;
GRANT SELECT ON regress_objects TO PUBLIC;
GRANT EXECUTE ON FUNCTION regress_try() TO PUBLIC;

--
-- a role without rights
--
SET SESSION AUTHORIZATION regress_nobody;
SELECT * FROM regress_try();
SELECT count(*) FROM infra_monitor.pool_pressure;
SELECT infra_monitor.health();
SELECT infra_monitor.take_sample();
RESET SESSION AUTHORIZATION;

-- also if it gets at the schema
GRANT USAGE ON SCHEMA infra_monitor TO regress_nobody;
SET SESSION AUTHORIZATION regress_nobody;
SELECT * FROM regress_try();
SELECT infra_monitor.take_sample();
SELECT infra_monitor.reset();
INSERT INTO infra_monitor.health_threshold_overrides VALUES ('lock_waits');
RESET SESSION AUTHORIZATION;
REVOKE USAGE ON SCHEMA infra_monitor FROM regress_nobody;

--
-- pg_monitor reads everything, and changes nothing
--
SET SESSION AUTHORIZATION regress_monitor;
SELECT * FROM regress_try();
SELECT count(*) > 0 AS any FROM infra_monitor.samples;
-- one that fails has no unit
SELECT name AS unknown, message FROM infra_monitor.evaluate_checks()
WHERE status = 'unknown' AND unit IS NULL;
SELECT count(*) > 5 AS ok FROM infra_monitor.dashboard();
SELECT infra_monitor.take_sample();
SELECT infra_monitor.reset();
INSERT INTO infra_monitor.health_threshold_overrides VALUES ('lock_waits');
UPDATE infra_monitor.health_threshold_overrides SET warning = 1;
DELETE FROM infra_monitor.health_threshold_overrides;
INSERT INTO infra_monitor.samples SELECT * FROM infra_monitor.samples;
DELETE FROM infra_monitor.samples;
TRUNCATE infra_monitor.samples;
CREATE TABLE infra_monitor.regress ();
SELECT bool_or(query = '<insufficient privilege>') AS hidden, count(*) > 0 AS any FROM infra_monitor.slow_queries;
SET infra_monitor.slow_query_threshold = 0;
RESET SESSION AUTHORIZATION;

--
-- take_sample() granted: it writes with the owner's rights, and opens nothing else
--
GRANT USAGE ON SCHEMA infra_monitor TO regress_granted;
GRANT EXECUTE ON FUNCTION infra_monitor.take_sample() TO regress_granted;
CREATE SCHEMA regress_evil AUTHORIZATION regress_granted;
SELECT count(*) AS before FROM infra_monitor.samples \gset
SET SESSION AUTHORIZATION regress_granted;
CREATE FUNCTION regress_evil.sum(bigint) RETURNS numeric LANGUAGE plpgsql AS
	$$ BEGIN RAISE EXCEPTION 'evil code runs as %', current_user; END $$;
CREATE TEMP TABLE pg_stat_database (evil int);
CREATE TEMP TABLE samples (evil int);
SET search_path = regress_evil, pg_temp, pg_catalog;
SELECT infra_monitor.take_sample() IS NOT NULL AS sampled;
SHOW search_path;
SELECT current_user, session_user;
RESET search_path;
-- also after an error
BEGIN;
SET TRANSACTION READ ONLY;
\set VERBOSITY terse
SELECT infra_monitor.take_sample();
\set VERBOSITY default
ROLLBACK;
SELECT current_user, session_user;
SHOW search_path;
SELECT count(*) FROM infra_monitor.samples;
INSERT INTO infra_monitor.samples SELECT;
SELECT infra_monitor.reset();
SELECT count(*) FROM infra_monitor.pool_counts();
RESET SESSION AUTHORIZATION;
SELECT count(*) - :before AS more FROM infra_monitor.samples;
SELECT count(*) FILTER (WHERE c.relowner <> p.relowner) AS owned_by_others
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent
WHERE i.inhparent = 'infra_monitor.samples'::regclass;
DROP TABLE IF EXISTS pg_temp.pg_stat_database, pg_temp.samples;
SET client_min_messages = error;
DROP SCHEMA regress_evil CASCADE;
RESET client_min_messages;

-- overrides granted
GRANT SELECT, INSERT, UPDATE, DELETE ON infra_monitor.health_threshold_overrides TO regress_granted;
SET SESSION AUTHORIZATION regress_granted;
INSERT INTO infra_monitor.health_threshold_overrides VALUES ('lock_waits', 60);
INSERT INTO infra_monitor.health_threshold_overrides VALUES ('nonsense', 60);
UPDATE infra_monitor.health_threshold_overrides SET warning = 61 RETURNING check_name, warning;
DELETE FROM infra_monitor.health_threshold_overrides;
SELECT current_user;
RESET SESSION AUTHORIZATION;

-- reset() granted
GRANT EXECUTE ON FUNCTION infra_monitor.reset(text) TO regress_granted;
SET SESSION AUTHORIZATION regress_granted;
SELECT infra_monitor.reset();
RESET SESSION AUTHORIZATION;

--
-- texts: one's own, and those of others
--
GRANT SELECT ON infra_monitor.slow_queries, infra_monitor.running_queries, infra_monitor.pool_usage,
	infra_monitor.connection_churn TO regress_granted;
GRANT EXECUTE ON FUNCTION infra_monitor.statement_stats(boolean), infra_monitor.pg_stat_statements_loaded(),
	infra_monitor.statement_counts(), infra_monitor.observations(infra_monitor.histogram),
	infra_monitor.quantile(infra_monitor.histogram, float8), infra_monitor.sum(infra_monitor.histogram),
	infra_monitor.preloaded(), infra_monitor.sessions(), infra_monitor.shown(name),
	infra_monitor.recent_rejections(), infra_monitor.idle_threshold(),
	infra_monitor.terminate_statement(int[], timestamptz), infra_monitor.prevention_advice(name, int, int, int),
	infra_monitor.connection_churn() TO regress_granted;
SELECT pg_stat_statements_reset() IS NOT NULL AS reset;
SELECT 'of the' AS administrator;
\c - regress_granted
SET application_name = 'regress_own';
SELECT 'of the' AS granted, 'role' AS role;
SELECT usename = session_user AS own, query, queryid IS NOT NULL AS queryid, sum(calls) > 0 AS calls
FROM infra_monitor.slow_queries
WHERE query ~ '<insufficient privilege>|of the|AS (granted|administrator)' AND query !~ 'slow_queries'
GROUP BY 1, 2, 3 ORDER BY 1, 2;
SELECT application_name, query LIKE 'SELECT application_name%' AS own_query, queryid IS NOT NULL AS queryid
FROM infra_monitor.sessions() WHERE pid = pg_backend_pid();
SELECT count(*) > 0 AS any FROM infra_monitor.sessions()
WHERE pid <> pg_backend_pid() AND usename <> session_user AND query <> '<insufficient privilege>';

-- a session belongs to the role that logged in
\c - :admin
SET application_name = 'regress_admin';
SET ROLE regress_granted;
SELECT application_name, client_addr, query, queryid, pid = pg_backend_pid() AS pid, state, usename = :'admin' AS usename
FROM infra_monitor.sessions() WHERE pid = pg_backend_pid();
SELECT application_name, client_addr, terminate, prevention
FROM infra_monitor.pool_usage WHERE active > 0 AND usename = :'admin';
SELECT DISTINCT usename = :'admin' AS admin, application_name FROM infra_monitor.connection_churn
WHERE datname = current_database() AND usename IS NOT NULL ORDER BY 1;
SELECT application_name FROM infra_monitor.connection_churn WHERE datname IS NULL AND application_name = 'other';
RESET ROLE;
GRANT pg_read_all_stats TO regress_granted;
SET ROLE regress_granted;
SELECT count(*) FILTER (WHERE application_name = '<insufficient privilege>') AS hidden,
	count(*) FILTER (WHERE usename = :'admin') > 0 AS any
FROM infra_monitor.connection_churn;
SELECT application_name, query LIKE 'SELECT application_name%' AS query
FROM infra_monitor.sessions() WHERE pid = pg_backend_pid();
SELECT count(*) FROM infra_monitor.slow_queries WHERE query = '<insufficient privilege>';
RESET ROLE;

DROP OWNED BY regress_granted;
DROP FUNCTION regress_try();
DROP TABLE regress_objects;
DROP ROLE regress_nobody, regress_monitor, regress_granted;
