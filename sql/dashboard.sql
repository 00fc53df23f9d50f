--
-- dashboard(): one screen of text
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

CREATE VIEW regress_shape AS
SELECT max(length(line)) <= 100 AS width, count(*) <= 45 AS height,
	bool_or(line ~ '[[:cntrl:]]') AS control_characters, bool_or(line IS NULL) AS nulls
FROM infra_monitor.dashboard() line;
TABLE regress_shape;

-- it begins with the status
SELECT line ~ '^(HEALTHY|DEGRADED|UNHEALTHY)  (primary|standby)  score [0-9.?]+/10  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+  up .*  evaluated .* ago$' AS ok
FROM infra_monitor.dashboard() line LIMIT 1;

-- and has all sections, in this order
SELECT CASE WHEN line ~ '^(all checks are ok|warning  |critical  |unknown  )' THEN 'checks'
	ELSE (regexp_match(line, '[a-z]+'))[1] END AS section
FROM infra_monitor.dashboard() WITH ORDINALITY AS d (line, n)
WHERE line ~ '^ *(pool \[|connections  active|calls  |all checks are ok|warning  |critical  |unknown  |sampler )'
GROUP BY section ORDER BY min(n);
SELECT regexp_replace(regexp_replace(line, '\[[.#]{30}\]', '[bar]'), '(OK|WARNING|CRITICAL)|\d+[-:0-9 ]*\d|\d+', 'N', 'g') AS pool
FROM infra_monitor.dashboard() line WHERE line ~ '^pool|^     [0-9a-z]+ [0-9a-z]+ ';

-- parts
SELECT r AS ratio, infra_monitor.bar(r, 10) FROM unnest('{0,0.04,0.05,0.5,0.95,1,1.5,-1,NaN,Infinity}'::float8[]) r;
SELECT infra_monitor.bar(NULL, 10), infra_monitor.bar(0.5, 0) AS empty;
SELECT infra_monitor.one_line(E'  a\n\tb\r\n  c  ', 80), infra_monitor.one_line('0123456789', 10) AS fits,
	infra_monitor.one_line('0123456789a', 10) AS cut, infra_monitor.one_line('', 10) AS empty,
	infra_monitor.one_line(E'\u00e4\u00f6\u00fc\u00df0123456789', 10) = E'\u00e4\u00f6\u00fc\u00df012...' AS multibyte;

-- everything long: names, texts, messages, numbers
SELECT 'regress_' || repeat('r', 55) AS role \gset
CREATE ROLE :"role" LOGIN SUPERUSER;
\c - :role
SELECT set_config('application_name', repeat('a', 63), false) IS NOT NULL AS ok;
SELECT count(*) AS "a column with a very long name, so that the text of this statement fills a line"
FROM generate_series(1, 200000) AS "and another one, even longer than that one was" (
	"newlines and	tabs are in it, too");
SELECT infra_monitor.reset('pool');
INSERT INTO infra_monitor.health_threshold_overrides (check_name, warning, critical)
SELECT check_name, s.beyond, s.beyond
FROM infra_monitor.check_defaults() d, LATERAL (
	SELECT CASE d.direction WHEN 'above' THEN '-Infinity' ELSE 'Infinity' END::float8 AS beyond) s;
ALTER SYSTEM SET infra_monitor.health_interval = '1s';
SELECT pg_reload_conf();
SET statement_timeout = '60s';
DO $$ BEGIN
	WHILE EXISTS (SELECT FROM infra_monitor.health_checks WHERE status NOT IN ('critical', 'unknown')) LOOP
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
TABLE regress_shape;
SELECT count(*) AS listed FROM infra_monitor.dashboard() line WHERE line ~ '^(critical|unknown) ';
SELECT (regexp_match(line, '^(\d+) more are not ok, see infra_monitor.health_checks$'))[1]::int + 12
	= (SELECT count(*) FROM infra_monitor.health_checks WHERE status = 'critical') AS and_more
FROM infra_monitor.dashboard() line WHERE line LIKE '% more are not ok%';
SELECT count(*) = 1 AS not_known FROM infra_monitor.dashboard() line WHERE line LIKE 'not known: %cpu, cpu_pressure, %';
SELECT count(*) AS all_ok FROM infra_monitor.dashboard() line WHERE line = 'all checks are ok';
SELECT line ~ '^UNHEALTHY ' AS ok FROM infra_monitor.dashboard() line LIMIT 1;
SELECT count(*) = 1 AS holder FROM infra_monitor.dashboard() line WHERE line ~ '^ +1 +1 +0  regress_rrrr.*\.\.\.$';
DELETE FROM infra_monitor.health_threshold_overrides;

-- as the client likes dates and intervals
SET IntervalStyle = 'postgres_verbose';
SET DateStyle = 'SQL, DMY';
SET TimeZone = 'Australia/Eucla';
TABLE regress_shape;
SET IntervalStyle = 'iso_8601';
TABLE regress_shape;

-- a check that fails, with a long message on two lines
CREATE TABLE regress_source AS
SELECT pg_get_functiondef('infra_monitor.check_lock_waits'::regproc) AS source;
CREATE OR REPLACE FUNCTION infra_monitor.check_lock_waits(OUT value float8, OUT unit text, OUT message text)
LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION E'%\n%', repeat('long ', 100), 'and broken'; END $$;
DO $$ BEGIN
	-- and those of above are over, some of which have a hold
	WHILE NOT EXISTS (SELECT FROM infra_monitor.health_checks WHERE name = 'lock_waits' AND status = 'unknown')
		OR EXISTS (SELECT FROM infra_monitor.health_checks WHERE status IN ('warning', 'critical') AND name NOT IN ('disk_free', 'disk_time_to_full')) LOOP
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
TABLE regress_shape;
SELECT line FROM infra_monitor.dashboard() line WHERE line LIKE 'unknown   lock_waits %long%';
DO $$ BEGIN EXECUTE (SELECT source FROM regress_source); END $$;
DO $$ BEGIN
	-- how full the disk of this machine is does not matter
	WHILE EXISTS (SELECT FROM infra_monitor.health_checks WHERE name NOT IN ('disk_free', 'disk_time_to_full')
			AND (status IN ('warning', 'critical') OR status = 'unknown' AND name = 'lock_waits')) LOOP
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;

-- as before; one more evaluation was due
SELECT set_config('regress.last', infra_monitor.health()->>'timestamp', false) IS NOT NULL AS ok;
ALTER SYSTEM RESET infra_monitor.health_interval;
SELECT pg_reload_conf();
DO $$ BEGIN
	WHILE infra_monitor.health()->>'timestamp' = current_setting('regress.last') LOOP
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;

\c - :admin
DROP VIEW regress_shape;
DROP TABLE regress_source;
DROP ROLE :"role";
