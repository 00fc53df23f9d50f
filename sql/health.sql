--
-- Health checks, thresholds and the document
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS infra_monitor CASCADE;
RESET client_min_messages;

-- the sampler takes a sample when the extension is created, and then no more
SET statement_timeout = '60s';
DO $$ BEGIN
	WHILE NOT EXISTS (SELECT FROM infra_monitor.samples) LOOP
		COMMIT;
		PERFORM pg_sleep(0.1);
	END LOOP;
END $$;
RESET statement_timeout;

-- refusals while the server started are none of our business
SELECT infra_monitor.reset('pool');

--
-- the list of checks
--
SELECT check_name AS without_function FROM infra_monitor.check_defaults()
WHERE to_regprocedure(format('infra_monitor.%I()', 'check_' || check_name)) IS NULL;
SELECT proname AS without_default FROM pg_proc
WHERE pronamespace = 'infra_monitor'::regnamespace AND proname LIKE 'check\_%'
	AND regexp_replace(substr(proname, 7), '_by_scope$', '') NOT IN (SELECT check_name FROM infra_monitor.check_defaults())
ORDER BY proname;
SELECT count(*) = count(DISTINCT check_name) AS unique_names,
	bool_and(length(hint) > 20) AS hints, bool_and(hold >= 1) AS hold,
	bool_and(direction IN ('above', 'below')) AS direction,
	bool_and(CASE direction WHEN 'above' THEN coalesce(warning <= critical, true)
		ELSE coalesce(warning >= critical, true) END) AS ordered,
	bool_and(category IN (SELECT s.category FROM infra_monitor.score_checks('[]') s)) AS category
FROM infra_monitor.check_defaults();
SELECT DISTINCT pg_get_function_result(p.oid) AS result, pg_get_function_arguments(p.oid) AS arguments
FROM pg_proc p JOIN infra_monitor.check_defaults() d ON p.proname = 'check_' || d.check_name
WHERE p.pronamespace = 'infra_monitor'::regnamespace;
SELECT DISTINCT pg_get_function_result(p.oid) AS result, pg_get_function_arguments(p.oid) AS arguments
FROM pg_proc p WHERE p.pronamespace = 'infra_monitor'::regnamespace AND p.proname LIKE 'check\_%\_by\_scope';
SELECT check_name, category, warning, critical, enabled, hold, essential, source, direction
FROM infra_monitor.health_thresholds ORDER BY check_name COLLATE "C";
SELECT count(*) AS overrides FROM infra_monitor.health_threshold_overrides;

-- the hint of each leads to its runbook; test/lint.sh looks whether that is there
SELECT check_name, substring(hint FROM '[^ ]*$') AS runbook FROM infra_monitor.health_thresholds
WHERE hint NOT LIKE '% Runbook: infra_monitor.md#' || check_name ORDER BY check_name;

-- every check knows its value here, but for some that need more time, those of
-- the machine, whose files are not read here, and one that depends on how the
-- cluster was made; and every column is filled
SELECT name, category, unit, message <> '' AS message, hint <> '' AS hint,
	status IN ('ok', 'warning', 'critical') AS known, value >= 0 AS value,
	since <= clock_timestamp() AS since
FROM infra_monitor.evaluate_checks() WHERE name NOT IN ('checksum_failures', 'disk_time_to_full') ORDER BY name COLLATE "C";
SELECT e.name AS different
FROM infra_monitor.evaluate_checks() e JOIN infra_monitor.health_thresholds t ON t.check_name = e.name
WHERE (e.category, e.warning, e.critical, e.hint, e.essential)
	IS DISTINCT FROM (t.category, t.warning, t.critical, t.hint, t.essential);
SELECT count(*) = (SELECT count(*) FROM infra_monitor.check_defaults()) AS all_checks
FROM infra_monitor.evaluate_checks();
SELECT category, count(*) FROM infra_monitor.evaluate_checks('pool') GROUP BY category;
SELECT count(*) FROM infra_monitor.evaluate_checks('nonsense');

-- how full the disk of this machine is, and becomes, must not matter below
SELECT pg_get_functiondef('infra_monitor.check_disk_free'::regproc) AS check_disk_free \gset
CREATE OR REPLACE FUNCTION infra_monitor.check_disk_free(OUT value float8, OUT unit text, OUT message text)
LANGUAGE sql AS $$ SELECT 1::float8, 'ratio', 'empty' $$;
SELECT pg_get_functiondef('infra_monitor.check_disk_time_to_full'::regproc) AS check_disk_time_to_full \gset
CREATE OR REPLACE FUNCTION infra_monitor.check_disk_time_to_full(OUT value float8, OUT unit text, OUT message text)
LANGUAGE sql AS $$ SELECT 1e6::float8, 'seconds', 'never' $$;

--
-- overrides
--
INSERT INTO infra_monitor.health_threshold_overrides (check_name, warning) VALUES ('lock_waits', 45);
INSERT INTO infra_monitor.health_threshold_overrides (check_name) VALUES ('replication_lag');
INSERT INTO infra_monitor.health_threshold_overrides VALUES ('long_transactions', 1, 2, false, 7, true);
SELECT check_name, warning, critical, enabled, hold, essential, source
FROM infra_monitor.health_thresholds
WHERE check_name IN ('lock_waits', 'replication_lag', 'long_transactions') ORDER BY check_name;
UPDATE infra_monitor.health_threshold_overrides SET critical = 'Infinity', hold = 3 WHERE check_name = 'lock_waits';
SELECT check_name, warning, critical, enabled, hold, essential, source
FROM infra_monitor.health_thresholds WHERE check_name = 'lock_waits';

-- what is refused
INSERT INTO infra_monitor.health_threshold_overrides (check_name) VALUES ('nonsense');
INSERT INTO infra_monitor.health_threshold_overrides (check_name) VALUES ('Lock_waits');
UPDATE infra_monitor.health_threshold_overrides SET check_name = 'nonsense' WHERE check_name = 'lock_waits';
\set VERBOSITY terse
INSERT INTO infra_monitor.health_threshold_overrides (check_name) VALUES (NULL);
INSERT INTO infra_monitor.health_threshold_overrides (check_name) VALUES ('lock_waits');
INSERT INTO infra_monitor.health_threshold_overrides (check_name, hold) VALUES ('wal_archiving', 0);
UPDATE infra_monitor.health_threshold_overrides SET hold = -1;
SELECT infra_monitor.check_override();
\set VERBOSITY default
UPDATE infra_monitor.health_threshold_overrides SET check_name = 'wal_archiving' WHERE check_name = 'lock_waits';
SELECT check_name, source FROM infra_monitor.health_thresholds
WHERE check_name IN ('lock_waits', 'wal_archiving') ORDER BY check_name;

-- one that is not enabled is not evaluated
SELECT count(*) FROM infra_monitor.evaluate_checks() WHERE name = 'long_transactions';
SELECT count(*) FROM jsonb_array_elements(infra_monitor.evaluate_health()->'checks') c WHERE c->>'name' = 'long_transactions';
DELETE FROM infra_monitor.health_threshold_overrides;
SELECT count(*) FROM infra_monitor.evaluate_checks() WHERE name = 'long_transactions';

-- the trigger on other tables
CREATE TEMP TABLE regress_table (check_name int, other int);
CREATE TRIGGER regress BEFORE INSERT ON regress_table
	FOR EACH ROW EXECUTE FUNCTION infra_monitor.check_override();
INSERT INTO regress_table VALUES (1, 1);
INSERT INTO regress_table VALUES (NULL, 1);
ALTER TABLE regress_table RENAME check_name TO another;
INSERT INTO regress_table VALUES (2, 2);
CREATE TRIGGER regress_late AFTER INSERT ON regress_table
	FOR EACH ROW EXECUTE FUNCTION infra_monitor.check_override();
INSERT INTO regress_table VALUES (3, 3);
TABLE regress_table;

--
-- status: a value at or beyond a threshold has its status
--
CREATE FUNCTION pg_temp.status_with(check_name text, warning float8, critical float8)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	INSERT INTO infra_monitor.health_threshold_overrides VALUES ($1, $2, $3);
	SELECT status INTO result FROM infra_monitor.evaluate_checks() WHERE name = $1;
	DELETE FROM infra_monitor.health_threshold_overrides h WHERE h.check_name = $1;
	RETURN result;
END $$;

-- nobody waits for a lock: its value is 0, and high values are bad
SELECT value FROM infra_monitor.evaluate_checks() WHERE name = 'lock_waits';
SELECT w AS warning, c AS critical, pg_temp.status_with('lock_waits', w, c) AS status
FROM (VALUES (0.001::float8, 1::float8), (0, 1), (0, 0), (1, 0), (-1, 1), ('-Infinity', 'Infinity'),
	('Infinity', 'Infinity'), ('Infinity', '-Infinity'), ('NaN', 'NaN'), ('NaN', 0), (NULL, NULL)) v (w, c);

-- pg_stat_statements is loaded: its value is 1, and low values are bad
SELECT value FROM infra_monitor.evaluate_checks() WHERE name = 'pg_stat_statements_loaded';
SELECT w AS warning, c AS critical, pg_temp.status_with('pg_stat_statements_loaded', w, c) AS status
FROM (VALUES (0.999::float8, 0::float8), (1, 0), (1, 1), (2, 0), (0, 2), ('-Infinity', '-Infinity'),
	('Infinity', NULL), (NULL, NULL)) v (w, c);

-- the status of the pool is the worst of its checks
SELECT infra_monitor.pool_status();
INSERT INTO infra_monitor.health_threshold_overrides VALUES ('lock_waits', 0);
SELECT infra_monitor.pool_status(), (SELECT status FROM infra_monitor.pool_pressure);
INSERT INTO infra_monitor.health_threshold_overrides VALUES ('connections_used', NULL, 0);
SELECT infra_monitor.pool_status(), (SELECT status FROM infra_monitor.pool_pressure);
UPDATE infra_monitor.health_threshold_overrides SET enabled = false;
SELECT infra_monitor.pool_status();
DELETE FROM infra_monitor.health_threshold_overrides;
INSERT INTO infra_monitor.health_threshold_overrides VALUES ('xid_wraparound', 0, 0);
SELECT infra_monitor.pool_status();

--
-- scopes: the thresholds that fit a database and a role best, and the worst
--
DELETE FROM infra_monitor.health_threshold_overrides;
BEGIN;
CREATE OR REPLACE FUNCTION infra_monitor.check_long_transactions_by_scope(
	OUT datname text, OUT usename text, OUT value float8, OUT message text)
RETURNS SETOF record LANGUAGE sql AS $$
	VALUES ('shop', 'web', 10, 'web in shop'), ('shop', 'batch', 5000, 'batch in shop'),
		('books', 'batch', 400, 'batch in books'), ('books', NULL, NULL, 'nobody')
$$;
CREATE FUNCTION pg_temp.scoped() RETURNS TABLE (status text, value float8, warning float8, critical float8, message text)
LANGUAGE sql AS $$
	SELECT e.status, e.value, e.warning, e.critical, e.message FROM infra_monitor.evaluate_checks('queries') e WHERE e.name = 'long_transactions'
$$;
-- not asked without an override
SELECT status, message LIKE 'the oldest transaction has been open for %' AS message FROM pg_temp.scoped();
-- one for another role: 5000 is critical, at 3600
INSERT INTO infra_monitor.health_scope_overrides VALUES ('long_transactions', '', 'web', 20, 30);
SELECT * FROM pg_temp.scoped();
-- batch may take longer: 400 of it is no warning, 5000 is one
INSERT INTO infra_monitor.health_scope_overrides (check_name, usename, warning, critical) VALUES ('long_transactions', 'batch', 4000, 7200);
SELECT * FROM pg_temp.scoped();
-- but not in shop
INSERT INTO infra_monitor.health_scope_overrides VALUES ('long_transactions', 'shop', 'batch', NULL, 4500);
SELECT * FROM pg_temp.scoped();
-- and nothing at all is too long for it there
UPDATE infra_monitor.health_scope_overrides SET warning = 'Infinity', critical = 'Infinity' WHERE datname = 'shop';
SELECT * FROM pg_temp.scoped();
-- a database counts less than a role
INSERT INTO infra_monitor.health_scope_overrides VALUES ('long_transactions', 'books', '', 1, 2);
SELECT * FROM pg_temp.scoped();
DELETE FROM infra_monitor.health_scope_overrides WHERE usename = 'batch';
SELECT * FROM pg_temp.scoped();
-- no scope at all: as without
CREATE OR REPLACE FUNCTION infra_monitor.check_long_transactions_by_scope(
	OUT datname text, OUT usename text, OUT value float8, OUT message text)
RETURNS SETOF record LANGUAGE sql AS $$ SELECT 'x', 'y', 1.0::float8, 'z' WHERE false $$;
SELECT status, warning, critical, message LIKE 'the oldest transaction has been open for %' AS message FROM pg_temp.scoped();
ROLLBACK;

-- this session, by its database and role
INSERT INTO infra_monitor.health_scope_overrides VALUES ('long_transactions', current_database(), '', 0, NULL);
SELECT status, warning, critical, message ~ '^the oldest transaction of role ".*" in database "contrib_regression" has been open for ' AS message
FROM infra_monitor.evaluate_checks('queries') WHERE name = 'long_transactions';
DELETE FROM infra_monitor.health_scope_overrides;
INSERT INTO infra_monitor.health_scope_overrides VALUES ('long_transactions', 'regress_nowhere', '', 0, 0),
	('idle_in_transaction', 'regress_nowhere', '', 0, 0), ('lock_waits', 'regress_nowhere', '', 0, 0),
	('role_limit', '', 'regress_noone', 0, 0), ('database_limit', 'regress_nowhere', '', 0, 0);
SELECT name, status FROM infra_monitor.evaluate_checks() WHERE name IN (SELECT check_name FROM infra_monitor.health_scope_overrides) ORDER BY name;
SELECT infra_monitor.pool_status();
DELETE FROM infra_monitor.health_scope_overrides;
-- what is refused
INSERT INTO infra_monitor.health_scope_overrides VALUES ('connections_used', 'x', '', 1, 2);
\set VERBOSITY terse
INSERT INTO infra_monitor.health_scope_overrides VALUES ('nonsense', 'x', '', 1, 2);
INSERT INTO infra_monitor.health_scope_overrides VALUES ('lock_waits', '', '', 1, 2);
INSERT INTO infra_monitor.health_scope_overrides VALUES (NULL, 'x', '', 1, 2);
\set VERBOSITY default

--
-- overall
--
INSERT INTO infra_monitor.health_threshold_overrides VALUES ('xid_wraparound', 0, 0);
CREATE FUNCTION pg_temp.status_now() RETURNS text LANGUAGE sql AS
	$$ SELECT infra_monitor.evaluate_health()->>'status' $$;
SELECT pg_temp.status_now();
UPDATE infra_monitor.health_threshold_overrides SET essential = false;
SELECT pg_temp.status_now();
UPDATE infra_monitor.health_threshold_overrides SET critical = 'Infinity', essential = NULL;
SELECT pg_temp.status_now();
SELECT h->'services'->'database'->>'status' AS database_status,
	h->'services'->'database'->>'error' ~ '^database ".*" is \d+ transactions old' AS error
FROM infra_monitor.evaluate_health() h;
UPDATE infra_monitor.health_threshold_overrides SET enabled = false;
SELECT pg_temp.status_now();
DELETE FROM infra_monitor.health_threshold_overrides;

--
-- a check that fails is unknown, and harms no other
--
BEGIN;
CREATE OR REPLACE FUNCTION infra_monitor.check_lock_waits(OUT value float8, OUT unit text, OUT message text)
LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'broken on purpose'; END $$;
CREATE OR REPLACE FUNCTION infra_monitor.check_replication_lag(OUT value float8, OUT unit text, OUT message text)
LANGUAGE sql AS $$ SELECT 1::float8 / (random() - random() < -2)::int, 'x', 'y' $$;
CREATE OR REPLACE FUNCTION infra_monitor.check_wal_archiving(OUT value float8, OUT unit text, OUT message text)
LANGUAGE sql AS $$ SELECT NULL::float8, 'seconds', 'nobody knows' $$;
ALTER EXTENSION infra_monitor DROP FUNCTION infra_monitor.check_long_transactions();
DROP FUNCTION infra_monitor.check_long_transactions();
SELECT name, value, unit, message FROM infra_monitor.evaluate_checks()
WHERE status = 'unknown' AND category <> 'database' ORDER BY name;
SELECT name, status FROM infra_monitor.evaluate_checks() WHERE status NOT IN ('ok', 'unknown');
SELECT infra_monitor.pool_status(), pg_temp.status_now();
SELECT category, score, unknown FROM infra_monitor.score_checks(infra_monitor.evaluate_health()->'checks')
WHERE category NOT IN ('database', 'overall') ORDER BY category;
ROLLBACK;
SELECT name FROM infra_monitor.evaluate_checks() WHERE status = 'unknown' AND category <> 'database';

-- only a cancel goes on to the caller
BEGIN;
CREATE OR REPLACE FUNCTION infra_monitor.check_lock_waits(OUT value float8, OUT unit text, OUT message text)
LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(600); END $$;
SET LOCAL statement_timeout = '100ms';
\set VERBOSITY terse
SELECT count(*) FROM infra_monitor.evaluate_checks();
\set VERBOSITY default
ROLLBACK;

--
-- the document: keys and types at each level
--
CREATE TEMP TABLE document AS SELECT infra_monitor.health() AS h;
SELECT key, jsonb_typeof(value) AS type FROM document, jsonb_each(h) ORDER BY key COLLATE "C";
SELECT key, jsonb_typeof(value) AS type FROM document, jsonb_each(h->'services') ORDER BY key COLLATE "C";
SELECT key, jsonb_typeof(value) AS type FROM document, jsonb_each(h->'services'->'database' || '{"error": null}') ORDER BY key COLLATE "C";
SELECT key, jsonb_typeof(value) AS type FROM document, jsonb_each(h->'services'->'database'->'pool') ORDER BY key COLLATE "C";
SELECT part.key, inner_.key AS inner_key, jsonb_typeof(inner_.value) IN ('number', 'null') AS number_or_null
FROM document, jsonb_each(h->'system') part, jsonb_each(part.value) inner_ ORDER BY part.key COLLATE "C", inner_.key COLLATE "C";
SELECT e.key, string_agg(DISTINCT jsonb_typeof(e.value), ', ') FILTER (WHERE e.value <> 'null') AS types
FROM document, jsonb_array_elements(h->'checks') c, jsonb_each(c) e GROUP BY e.key ORDER BY e.key COLLATE "C";
SELECT count(DISTINCT (SELECT array_agg(k ORDER BY k) FROM jsonb_object_keys(c) k)) AS shapes
FROM document, jsonb_array_elements(h->'checks') c;
SELECT key, jsonb_typeof(value) AS type FROM jsonb_each(infra_monitor.health(false)) ORDER BY key COLLATE "C";
SELECT infra_monitor.health(NULL) ?& '{status,timestamp,score}' AS ok;

-- and values
SELECT h->>'status' IN ('healthy', 'degraded') AS status, h->>'role' AS role,
	h->>'version' = current_setting('server_version') AS version,
	(h->>'timestamp')::timestamptz BETWEEN now() - interval '1 hour' AND now() AS timestamp,
	(h->>'uptime')::float8 BETWEEN 0 AND 86400 AS uptime, (h->>'age_ms')::float8 BETWEEN 0 AND 3600000 AS age,
	(h->'services'->'database'->>'latency')::float8 BETWEEN 0 AND 10000 AS latency,
	(h->'services'->'database'->'pool'->>'max')::int = current_setting('max_connections')::int AS max,
	(h->'services'->'database'->'pool'->>'used')::int >= 1 AS used,
	jsonb_array_length(h->'checks') = (SELECT count(*) FROM infra_monitor.check_defaults()) AS checks
FROM document;
SET infra_monitor.system_root = '';
SELECT u.memory_used BETWEEN 1 AND u.memory_total AS memory, u.disk_used BETWEEN 1 AND u.disk_total AS disk,
	coalesce(u.cpu_ratio BETWEEN 0 AND 1, true) AS cpu
FROM infra_monitor.system_usage() u;
RESET infra_monitor.system_root;
SELECT count(*) = (SELECT count(*) FROM infra_monitor.check_defaults()) AS ok FROM infra_monitor.health_checks;
SELECT infra_monitor.probe_latency() BETWEEN 0 AND 10000 AS ok;

--
-- overall_status() of made-up checks
--
SELECT infra_monitor.overall_status(d::jsonb) AS status, d AS checks FROM (VALUES
	('[]'),
	('[{"status": "ok", "essential": true}]'),
	('[{"status": "unknown", "essential": true}]'),
	('[{"status": "unknown", "essential": true}, {"status": "ok", "essential": false}]'),
	('[{"status": "ok", "essential": true}, {"status": "warning", "essential": true}]'),
	('[{"status": "critical", "essential": false}]'),
	('[{"status": "critical", "essential": null}]'),
	('[{"status": "critical"}]'),
	('[{"status": "critical", "essential": false}, {"status": "ok", "essential": true}]'),
	('[{"status": "ok", "essential": false}, {"status": "critical", "essential": true}]'),
	('[{"status": "unknown", "essential": true}, {"status": "warning", "essential": false}]'),
	(NULL)) v (d);

--
-- score_checks(): ok 1, warning one half, critical 0, unknown left out
--
SELECT * FROM infra_monitor.score_checks('[]');
SELECT * FROM infra_monitor.score_checks('[
	{"category": "database", "status": "ok"},
	{"category": "pool", "status": "warning"}, {"category": "pool", "status": "ok"},
	{"category": "pool", "status": "unknown"},
	{"category": "queries", "status": "critical"},
	{"category": "replication", "status": "unknown"},
	{"category": "nonsense", "status": "critical"}]');
SELECT category, score FROM infra_monitor.score_checks('[
	{"category": "database", "status": "critical"}, {"category": "pool", "status": "ok"}]')
WHERE category = 'overall';

--
-- weights
--
SELECT * FROM infra_monitor.health_weights ORDER BY category;
INSERT INTO infra_monitor.health_weight_overrides VALUES ('pool', 0), ('queries', 70.5);
SELECT * FROM infra_monitor.health_weights ORDER BY category;
SELECT h->'weights' = (SELECT jsonb_object_agg(category, weight) FROM infra_monitor.health_weights) AS in_document
FROM infra_monitor.evaluate_health() h;
-- a score by them: pool has no part in it
SELECT * FROM infra_monitor.score_checks('[
	{"category": "database", "status": "ok"}, {"category": "pool", "status": "critical"},
	{"category": "queries", "status": "warning"}]', '{"pool": 0, "queries": 10, "nonsense": 5}');
SELECT category, weight, score FROM infra_monitor.score_checks('[{"category": "pool", "status": "ok"}]', '{"pool": 0}')
WHERE category IN ('pool', 'overall');
-- a stale document keeps its weights
SELECT infra_monitor.mark_stale('{"status": "healthy", "weights": {"pool": 0}, "checks": [
	{"name": "sampler_alive", "category": "monitoring", "status": "ok"}, {"name": "x", "category": "pool", "status": "ok"}]}', '1 hour')->'score' AS score;
-- what is refused
INSERT INTO infra_monitor.health_weight_overrides VALUES ('nonsense', 1);
UPDATE infra_monitor.health_weight_overrides SET category = 'Pool' WHERE category = 'pool';
\set VERBOSITY terse
INSERT INTO infra_monitor.health_weight_overrides VALUES (NULL, 1);
INSERT INTO infra_monitor.health_weight_overrides VALUES ('database', NULL);
INSERT INTO infra_monitor.health_weight_overrides VALUES ('database', -1);
INSERT INTO infra_monitor.health_weight_overrides VALUES ('database', 'NaN');
INSERT INTO infra_monitor.health_weight_overrides VALUES ('database', 'Infinity');
SELECT infra_monitor.weight_override();
\set VERBOSITY default
DELETE FROM infra_monitor.health_weight_overrides;

-- the name of the server's status is that of no check
SELECT count(*) FROM infra_monitor.check_defaults() WHERE check_name = 'overall';

--
-- mark_stale(): at least degraded
--
SELECT s.status, m->>'status' AS stale, m->'score' AS score, m->'kept' AS kept,
	m->'checks'->0->>'status' AS sampler_alive, m->'checks'->0->>'message' AS message, m->'checks'->1 AS other
FROM unnest('{healthy,degraded,unhealthy}'::text[]) AS s (status),
	infra_monitor.mark_stale(jsonb_build_object('status', s.status, 'kept', 1, 'score', 10, 'checks', jsonb_build_array(
		jsonb_build_object('name', 'sampler_alive', 'category', 'monitoring', 'status', 'ok', 'message', 'fine'),
		jsonb_build_object('name', 'x', 'category', 'pool', 'status', 'ok', 'message', 'fine'))), '90.5 seconds') m;
SELECT infra_monitor.mark_stale('{"status": "healthy", "checks": []}', '1 hour');


-- all checks turned off
INSERT INTO infra_monitor.health_threshold_overrides (check_name, enabled)
SELECT check_name, false FROM infra_monitor.check_defaults();
SELECT h->>'status' AS status, h->'checks' AS checks, h->'score' AS score FROM infra_monitor.evaluate_health() h;
SELECT infra_monitor.pool_status();
DELETE FROM infra_monitor.health_threshold_overrides;

--
-- health() and its views show what the sampler evaluated last
--
SELECT h - 'age_ms' - 'uptime' = c.document AS cached
FROM infra_monitor.health() h, infra_monitor.health_cache() c;
SELECT infra_monitor.health_status() = infra_monitor.health()->>'status' AS ok;
SELECT count(*) = (SELECT count(*) FROM infra_monitor.check_defaults()) AS ok FROM infra_monitor.health_checks;
SELECT count(*) AS different
FROM infra_monitor.health_score v
	FULL JOIN infra_monitor.score_checks(infra_monitor.health()->'checks') f USING (category)
WHERE (v.weight, v.score, v.checks, v.unknown) IS DISTINCT FROM (f.weight, f.score, f.checks, f.unknown);

-- not what would be evaluated now
INSERT INTO infra_monitor.health_threshold_overrides VALUES ('xid_wraparound', NULL, 0);
SELECT pg_temp.status_now(), infra_monitor.health_status() <> 'unhealthy' AS cached;

-- within one interval it does
ALTER SYSTEM SET infra_monitor.health_interval = '1s';
SELECT pg_reload_conf();
SET statement_timeout = '60s';
DO $$ BEGIN
	WHILE infra_monitor.health_status() <> 'unhealthy' LOOP
		COMMIT;
		PERFORM pg_sleep(0.1);
	END LOOP;
END $$;
SELECT status, critical FROM infra_monitor.health_checks WHERE name = 'xid_wraparound';
SELECT category, score < 10 AS lowered FROM infra_monitor.health_score WHERE category = 'database';
DELETE FROM infra_monitor.health_threshold_overrides;
DO $$ BEGIN
	WHILE infra_monitor.health_status() <> 'healthy' LOOP
		COMMIT;
		PERFORM pg_sleep(0.1);
	END LOOP;
END $$;
SELECT category, score FROM infra_monitor.health_score;

-- as before; one more evaluation was due
SELECT set_config('regress.last', infra_monitor.health()->>'timestamp', false) IS NOT NULL AS ok;
ALTER SYSTEM RESET infra_monitor.health_interval;
SELECT pg_reload_conf();
DO $$ BEGIN
	WHILE infra_monitor.health()->>'timestamp' = current_setting('regress.last') LOOP
		COMMIT;
		PERFORM pg_sleep(0.1);
	END LOOP;
END $$;

:check_disk_free;
:check_disk_time_to_full;
SELECT prosrc LIKE '%infra_monitor.disk_usage()%' AS as_before FROM pg_proc
WHERE oid = 'infra_monitor.check_disk_free'::regproc;
