--
-- dashboard(): one screen of text
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS infra_monitor CASCADE;
CREATE EXTENSION IF NOT EXISTS dblink;
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
SELECT current_user AS admin \gset

-- what a terminal would show: East Asian letters and pictures take two columns,
-- and nothing is in it that has none, or turns the direction of other text
CREATE VIEW regress_shape AS
SELECT max(length(line) + length(regexp_replace(line,
		'[^\u1100-\u115f\u2329\u232a\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe10-\ufe6f\uff00-\uff60\uffe0-\uffe6\U00016fe0-\U0003fffd]', '', 'g'))) <= 98 AS width,
	count(*) AS height,
	bool_or(line ~ '[[:cntrl:]\u0080-\u009f\u200b-\u200f\u202a-\u202e\u2066-\u2069]') AS control_characters, bool_or(line IS NULL) AS nulls
FROM infra_monitor.dashboard() line;
TABLE regress_shape;

-- each line is in its place; clients of the test may have come too early
CREATE VIEW regress_lines AS
SELECT n, regexp_replace(line, '\d+', '0', 'g') AS line FROM infra_monitor.dashboard() WITH ORDINALITY AS d (line, n);
SELECT line ~ '^(HEALTHY|DEGRADED|UNHEALTHY)  (primary|standby)  score [0-9.?]+/10  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+  up \d+d \d\d:\d\d:\d\d  evaluated \d+s ago$' AS ok
FROM infra_monitor.dashboard() line LIMIT 1;
SELECT regexp_replace(line, '\[[.#]{16}\] (OK|WARNING|CRITICAL)', '[bar] STATUS') AS line FROM
	(SELECT n, replace(line, ': starting_up 0;', ';') AS line FROM regress_lines) l
WHERE n BETWEEN 2 AND 4 ORDER BY n;
SELECT n, line ~ CASE n WHEN 5 THEN '^     used connections, 0:0:0 a column; = limit of ordinary roles: 0; ! refused: [?0]$'
	WHEN 9 THEN '^      0 [+][-! ]*$' WHEN 10 THEN '^ +(0-0 )?0:0(:0)? +(0-0 )?0:0(:0)? +(0-0 )?0:0(:0)?$' ELSE '^ +0 [|][#= ]*$' END AS ok
FROM regress_lines WHERE n BETWEEN 5 AND 10 ORDER BY n;
SELECT n, regexp_replace(line, '0d? .*held', '0 held') AS line FROM regress_lines WHERE n IN (11, 12, 17, 18, 22) ORDER BY n;
SELECT line ~ '^checks: 0 critical, 0 warning, 0 ok, 0 unknown: ' AS checks FROM regress_lines WHERE n = 26;
SELECT regexp_replace(line, '(not running|running)', 'STATE') AS sampler FROM regress_lines WHERE n = 33;

-- parts
SELECT r AS ratio, infra_monitor.bar(r, 10) FROM unnest('{0,0.04,0.05,0.5,0.95,1,1.5,-1,NaN,Infinity}'::float8[]) r;
SELECT infra_monitor.bar(NULL, 10), infra_monitor.bar(0.5, 0) AS empty;
SELECT infra_monitor.one_line(E'  a\n\tb\r\n  c  ', 80), infra_monitor.one_line('0123456789', 10) AS fits,
	infra_monitor.one_line('0123456789a', 10) AS cut, infra_monitor.one_line('', 10) AS empty,
	infra_monitor.one_line(E'\u00e4\u00f6\u00fc\u00df0123456789', 10) = E'\u00e4\u00f6\u00fc\u00df012...' AS multibyte;
SELECT infra_monitor.one_line(repeat(E'\u6f22', 5), 10) = repeat(E'\u6f22', 5) AS fits,
	infra_monitor.one_line(repeat(E'\u6f22', 6), 10) = repeat(E'\u6f22', 3) || '...' AS cut,
	infra_monitor.one_line('x' || repeat(E'\u6f22', 6), 11) = 'x' || repeat(E'\u6f22', 3) || '...' AS odd,
	infra_monitor.one_line(repeat(E'\U0001f600', 6), 9) = repeat(E'\U0001f600', 3) || '...' AS pictures,
	infra_monitor.one_line(repeat(E'\u00e9', 10), 10) = repeat(E'\u00e9', 10) AS two_bytes,
	infra_monitor.one_line(E'a\u202eb\u200bc\u0085d', 10) AS directions, infra_monitor.one_line(NULL, 10) IS NULL AS null;

-- everything long and wide: names, texts, messages, numbers; and many of each
SELECT E'\u202e' || repeat(E'\u6f22', 20) AS role, 'regress_' || repeat(E'\u8a9e', 18) AS database \gset
CREATE ROLE :"role" LOGIN SUPERUSER;
CREATE DATABASE :"database" ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0;
\c - :role
SELECT set_config('application_name', repeat('a', 63), false) IS NOT NULL AS ok;
SELECT count(*) AS "a column with a very long name, so that the text of this statement fills a line"
FROM generate_series(1, 200000) AS "and another one, even longer than that one was" (
	"newlines and	tabs are in it, too");
SELECT repeat('x', 10) AS "漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字", count(*) AS "字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢" FROM generate_series(1, 300000);
-- six statements, five times each
\o /dev/null
SELECT 'SELECT pg_sleep(0.001) AS "' || repeat(E'\uff21', n) || '"' || repeat(', 1', n) FROM generate_series(1, 6) n, generate_series(1, 5) ORDER BY n \gexec
\o
SELECT infra_monitor.reset('pool');
CREATE FUNCTION pg_temp.connect_as(name text, dbname text) RETURNS text LANGUAGE sql AS $$
SELECT dblink_connect(name, format('host=%s port=%s dbname=%s application_name=%s',
	split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), dbname, name))
$$;
SELECT count(pg_temp.connect_as('regress_' || n, :'database')) AS connected FROM generate_series(1, 6) n;
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
		PERFORM pg_sleep(0.1);
	END LOOP;
END $$;
TABLE regress_shape;
SELECT n, line LIKE 'critical  %' AS check, line ~ '^ {10}\S' AS hint FROM regress_lines WHERE n BETWEEN 27 AND 32 ORDER BY n;
-- those that make the server unhealthy come first
SELECT count(*) AS essential FROM regress_lines l JOIN infra_monitor.health_thresholds t ON l.line LIKE 'critical  ' || t.check_name || ' %'
WHERE n BETWEEN 27 AND 32 AND t.essential;
SELECT (regexp_match(line, '^checks: (\d+) critical, 0 warning, 0 ok, \d+ unknown: \w+, \w+'))[1]::int
	= (SELECT count(*) FROM infra_monitor.health_checks WHERE status = 'critical') AS counted
FROM infra_monitor.dashboard() WITH ORDINALITY AS d (line, n) WHERE n = 26;
SELECT line ~ '^UNHEALTHY ' AS ok FROM infra_monitor.dashboard() line LIMIT 1;
SELECT count(*) AS holders, bool_or(line LIKE '%...') AS cut FROM regress_lines WHERE n BETWEEN 13 AND 16 AND line ~ '0 +0 +0  \S';
SELECT count(*) AS by_time FROM regress_lines WHERE n BETWEEN 19 AND 21 AND line ~ '^ +0 +0.0 +0.0 +0  \S';
SELECT count(*) AS by_p95 FROM regress_lines WHERE n BETWEEN 23 AND 25 AND line ~ '^ +0 +0.0 +0.0 +0  \S';

-- in another database, which does not know letters
SELECT current_database() AS home \gset
\c :database
SET client_min_messages = error;
CREATE EXTENSION infra_monitor CASCADE;
SELECT count(*) AS height, bool_or(line LIKE '%; history in contrib_regression') AS says_where
FROM infra_monitor.dashboard() line;
\c :home
SET statement_timeout = '60s';

-- for a role that sees neither what others execute, nor their sessions
CREATE ROLE regress_some;
GRANT USAGE ON SCHEMA infra_monitor TO regress_some;
GRANT SELECT ON ALL TABLES IN SCHEMA infra_monitor TO regress_some;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA infra_monitor TO regress_some;
GRANT SELECT ON regress_shape, regress_lines TO regress_some;
SET ROLE regress_some;
SELECT count(*) AS height, max(length(line)) <= 98 AS width, bool_or(line LIKE '%generate\_series%') AS text,
	bool_or(line LIKE '%<insufficient privilege>%') AS hidden
FROM infra_monitor.dashboard() line;
RESET ROLE;
DROP OWNED BY regress_some;
DROP ROLE regress_some;
\c - :role
SET statement_timeout = '60s';
DROP DATABASE :"database" WITH (FORCE);
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
		PERFORM pg_sleep(0.1);
	END LOOP;
END $$;
TABLE regress_shape;
SELECT count(*) AS failed FROM infra_monitor.dashboard() line WHERE line ~ '^unknown   lock_waits            long .* long';
DO $$ BEGIN EXECUTE (SELECT source FROM regress_source); END $$;
DO $$ BEGIN
	-- how full the disk of this machine is does not matter
	WHILE EXISTS (SELECT FROM infra_monitor.health_checks WHERE name NOT IN ('disk_free', 'disk_time_to_full')
			AND (status IN ('warning', 'critical') OR status = 'unknown' AND name = 'lock_waits')) LOOP
		COMMIT;
		PERFORM pg_sleep(0.1);
	END LOOP;
END $$;

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

\c - :admin
DROP VIEW regress_shape, regress_lines;
DROP TABLE regress_source;
DROP ROLE :"role";
