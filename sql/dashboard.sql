--
-- dashboard(): one screen of text
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS infra_monitor CASCADE;
RESET client_min_messages;
SELECT current_user AS admin \gset

CREATE VIEW regress_shape AS
SELECT max(length(line)) <= 100 AS width, count(*) <= 40 AS height,
	bool_or(line ~ '[[:cntrl:]]') AS control_characters, bool_or(line IS NULL) AS nulls
FROM infra_monitor.dashboard() line;
TABLE regress_shape;

-- it begins with the status
SELECT line ~ '^(HEALTHY|DEGRADED|UNHEALTHY)  (primary|standby)  score [0-9.?]+/10  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+  up .*  evaluated .* ago$' AS ok
FROM infra_monitor.dashboard() line LIMIT 1;

-- and has all sections, in this order
SELECT regexp_replace(line, '^( *(pool|connections|calls|all checks are ok|sampler)).*', '\1') AS section
FROM infra_monitor.dashboard() line
WHERE line ~ '^ *(pool \[|connections  active|calls  |all checks are ok|sampler )';
SELECT line ~ '^pool \[[#.]+\] OK  \d+ of \d+ used, \d+ authenticating, \d+ available, peak \d+' AS ok
FROM infra_monitor.dashboard() line WHERE line LIKE 'pool%';

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
INSERT INTO infra_monitor.health_threshold_overrides (check_name, warning, critical)
SELECT check_name, s.beyond, s.beyond
FROM infra_monitor.check_defaults() d, LATERAL (
	SELECT CASE d.direction WHEN 'above' THEN '-Infinity' ELSE 'Infinity' END::float8 AS beyond) s;
TABLE regress_shape;
SELECT count(*) = (SELECT count(*) FROM infra_monitor.check_defaults()) AS all_checks
FROM infra_monitor.dashboard() line WHERE line ~ '^critical ';
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

-- and within a transaction whose health is bad
BEGIN;
CREATE OR REPLACE FUNCTION infra_monitor.check_lock_waits(OUT value float8, OUT unit text, OUT message text)
LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION E'%\n%', repeat('long ', 100), 'and broken'; END $$;
TABLE regress_shape;
SELECT line FROM infra_monitor.dashboard() line WHERE line LIKE 'unknown%';
ROLLBACK;

\c - :admin
DROP VIEW regress_shape;
DROP ROLE :"role";
