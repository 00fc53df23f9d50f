--
-- report(): its parts, and what it shows of a day that is made up.  What it
-- shows of a server, and how a browser does: test/t/074_report.pl.
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS infra_monitor CASCADE;
RESET client_min_messages;
SET timezone = 'UTC';
SET intervalstyle = postgres;
\set SHOW_CONTEXT never

--
-- text stays text
--
SELECT infra_monitor.html($$<script>alert("1")</script> & 'x' \ %s &lt;$$);
SELECT infra_monitor.html(E'tab\tline\nreturn\r bell\x07 escape\x1b[31m delete\x7f');
SELECT infra_monitor.html(E'\u00e4\u20ac\U0001F600 \u05e9\u05dc') AS letters,
	infra_monitor.html(E'\u0085\u009f|\u202e\u202a\u2066\u2069|\ufffe\uffff\ufdd0\U0001ffff|\ufffd') AS replaced;
SELECT infra_monitor.html('') = '' AS empty, infra_monitor.html(NULL) IS NULL AS unknown,
	length(infra_monitor.html(repeat('<', 100000))) AS long;
SELECT infra_monitor.html_name('web'), infra_monitor.html_name(NULL) AS unknown, infra_monitor.html_name('') AS empty;
SELECT infra_monitor.html_name('a "quoted" name that is too long', 12) AS cut, infra_monitor.html_name(E'two\nlines', 20) AS lines;
SELECT infra_monitor.html_query('SELECT 1 < 2'), infra_monitor.html_query(NULL) AS unknown;
SELECT infra_monitor.html_query(E'SELECT a,\n\tb\nFROM "<t>" WHERE b > 0', 20);
SELECT length(infra_monitor.html_query(repeat('x', 10000))) < 4300 AS bounded;

--
-- numbers
--
SELECT v, infra_monitor.short_number(v)
FROM unnest('{0,0.000000001,0.00012345,0.012345,0.5,1,1.005,12.345,99.96,123.456,999.4,1000,1234567.8,-42.42,1e15,1e300,Infinity,NaN}'::float8[]) v;
SELECT v, infra_monitor.short_time(v)
FROM unnest('{0,0.0001,0.05,0.9996,1,12.34,999,1000,12345,599000,600000,3599999,36000000,172800000,1e10,-5}'::float8[]) v;

--
-- axes: 1, 2, 5 times a power of 10
--
SELECT m AS most, infra_monitor.axis_step(m) AS step, infra_monitor.axis_step(m, 2) AS two
FROM unnest('{0,0.03,0.5,1,3,5,5.1,7,22,100,101,12345}'::float8[]) m;
SELECT * FROM infra_monitor.axis_ticks(25, 5);
SELECT * FROM infra_monitor.log_axis_ticks(0.02, 0.3);
SELECT count(*), min(value), max(value), max(place) FROM infra_monitor.log_axis_ticks(0.001, 9999999);
SELECT count(*), min(value), max(value) FROM infra_monitor.log_axis_ticks(10, 10);
SELECT label, round(place::numeric, 3) AS place, is_day FROM infra_monitor.time_ticks('2021-02-03 10:00', '2021-02-03 10:05');
SELECT label, round(place::numeric, 3) AS place, is_day FROM infra_monitor.time_ticks('2021-02-02 20:30', '2021-02-03 20:30');
SELECT label, round(place::numeric, 3) AS place, is_day FROM infra_monitor.time_ticks('2021-01-01', '2021-03-01');
-- local times: the day on which clocks were put forward has no 2 o'clock
SET timezone = 'Europe/Vienna';
SELECT string_agg(label, ', ') FROM infra_monitor.time_ticks('2021-03-28 00:00', '2021-03-28 06:00');
SELECT string_agg(label, ', ') FROM infra_monitor.time_ticks('2021-10-31 00:00', '2021-10-31 05:00');
SET timezone = 'UTC';
SELECT count(*) AS none FROM infra_monitor.time_ticks('2021-01-01', '2021-01-01');
SELECT bool_and(n BETWEEN 1 AND 10) AS ok
FROM generate_series(1, 10000000, 99991) s, LATERAL (
	SELECT count(*) AS n FROM infra_monitor.time_ticks('2021-01-01 00:07', timestamptz '2021-01-01 00:07' + make_interval(secs => s))) t
WHERE s > 60;

--
-- lines: what is too far apart is not joined, what is not known is not drawn
--
CREATE FUNCTION pg_temp.day(VARIADIC hours int[]) RETURNS timestamptz[] LANGUAGE sql AS $$
SELECT array_agg(timestamptz '2021-02-03' + make_interval(hours => h) ORDER BY n) FROM unnest($1) WITH ORDINALITY AS u (h, n) $$;
SELECT infra_monitor.chart_line(pg_temp.day(0, 6, 12, 18, 24), '{0,0.5,NULL,1,0.25}', '2021-02-03', '2021-02-04', '6 hours');
SELECT infra_monitor.chart_line(pg_temp.day(0, 6, 12, 18, 24), '{0,0.5,NULL,1,0.25}', '2021-02-03', '2021-02-04', '12 hours');
SELECT infra_monitor.chart_line('{}', '{}', '2021-02-03', '2021-02-04', '6 hours') IS NULL AS nothing;
SELECT infra_monitor.chart_columns(pg_temp.day(-3, 6, 12, 30), pg_temp.day(6, 12, 13, 31), '{0,0,0.5,0}', '{0.5,0,1,1}', '2021-02-03', '2021-02-04');
SELECT infra_monitor.chart_path('line', 'M0 0'), infra_monitor.chart_path('line', NULL) AS none;
SELECT infra_monitor.sparkline('a "title"', pg_temp.day(0, 12, 24), '{0,2,4}', '2021-02-03', '2021-02-04', '12 hours');
SELECT infra_monitor.sparkline('x', NULL, NULL, '2021-02-03', '2021-02-04', '12 hours') AS none;
SELECT part FROM regexp_split_to_table(infra_monitor.chart('<a chart>', '2021-02-03', '2021-02-03 12:00', 100, '{0,"<1>"}', '{0,1}', '<path d="M0 0"/>'), '(?=<)') WITH ORDINALITY AS t (part, n)
WHERE n > 1 ORDER BY n;
SELECT part FROM regexp_split_to_table(infra_monitor.legend('{a line,<an area>}', '{line used,area gap}'), '(?=<)') part WHERE part <> '';

--
-- the page of a day of which nothing is known, except that there is one before
--
CREATE TABLE regress_days PARTITION OF infra_monitor.samples FOR VALUES FROM ('2021-02-01') TO ('2021-03-01');
INSERT INTO infra_monitor.samples (sampled_at, epoch, status, max_connections, reserved_connections, used_connections,
	available_connections, used_ratio, active, idle, idle_in_transaction, waiting, peak_connections, peak_at, connects_total,
	disconnects_total, rejected_total, auth_failures_total, stats_reset, authenticating, collect_time)
VALUES ('2021-02-01', 0, 'ok', 28, 3, 0, 0, 0, 0, 0, 0, 0, 0, '2021-02-01', 0, 0, 0, 0, '2021-02-01', 0, 0);
CREATE TEMP TABLE page AS SELECT infra_monitor.report('2021-02-02', '2021-02-03') AS html;
SELECT m[1] AS id, m[2] AS title FROM page, regexp_matches(html, '<section id="(\w+)"[^>]*><h2 [^>]*>([^<]*)', 'g') WITH ORDINALITY AS r (m, n) ORDER BY n;
SELECT m[1] AS said FROM page, regexp_matches(html, '<p>([^<]*)</p>', 'g') WITH ORDINALITY AS r (m, n) ORDER BY n;
SELECT m[1] AS fact FROM page, regexp_matches(html, '<dt>([^<]*)</dt>', 'g') WITH ORDINALITY AS r (m, n) ORDER BY n;
SELECT m[2] AS tile, m[1] AS value FROM page, regexp_matches(html, '<li><b>(<span class="none">&#8212;</span>|\d+)</b><span>([^<]*)', 'g') WITH ORDINALITY AS r (m, n) ORDER BY n;

--
-- a day that is made up: 25 connections at most, refusals at 9, nothing is known from 12 to 18
--
INSERT INTO infra_monitor.samples (sampled_at, epoch, status, max_connections, reserved_connections, used_connections,
	available_connections, used_ratio, active, idle, idle_in_transaction, waiting, peak_connections, peak_at, connects_total,
	disconnects_total, rejected_total, auth_failures_total, stats_reset, authenticating, connects, rejected, avg_active, collect_time, latency, health_status)
SELECT at, 0, 'ok', 28, 3, u, 25 - u, u / 25.0, 0, 0, 0, 0, u, at, 0, 0, 0, 0, at, 0, 0, CASE h WHEN 9 THEN 7 ELSE 0 END, 1.5, 0,
	infra_monitor.histogram(ARRAY[0.1, 1, 10]), 'healthy'
FROM generate_series(0, 23) h, LATERAL (SELECT timestamptz '2021-02-03' + make_interval(hours => h), CASE h WHEN 9 THEN 25 ELSE 10 END) v (at, u)
WHERE h NOT BETWEEN 12 AND 17;
TRUNCATE page;
INSERT INTO page SELECT infra_monitor.report('2021-02-03', '2021-02-04');
SELECT m[1] AS path FROM page, regexp_matches(html, '<path class="((?:line|area) (?:limit|refused|gap|p95|used)" d="[^"]*)"', 'g') WITH ORDINALITY AS r (m, n) ORDER BY n;
SELECT m[1] AS title FROM page, regexp_matches(html, '<title>([^<]*)', 'g') WITH ORDINALITY AS r (m, n) WHERE n > 1 ORDER BY n;
SELECT m[2] AS tile, m[1] AS value FROM page, regexp_matches(html, '<li><b>([0-9. ms]+)</b><span>([^<]*)', 'g') WITH ORDINALITY AS r (m, n) ORDER BY n;

-- nothing but ASCII, nothing from elsewhere, nothing that runs
SELECT html ~ '^<!DOCTYPE html>\n<html ' AS begins, html ~ '</html>$' AS ends, html !~ '[^\n -~]' AS ascii,
	html !~* '<(script|img|iframe|object|embed|base|form)\y' AS inert, html !~* '\son\w+=' AS no_handlers,
	html !~* '(src|url|@import)\s*[=(]' AS no_sources, replace(html, 'http://www.w3.org/1999/xhtml', '') !~* 'https?:' AS no_addresses
FROM page;

-- in another zone the axis says other times, and the page says which
SET timezone = 'Asia/Kolkata';
SELECT html ~ '<dd><bdi>Asia/Kolkata</bdi></dd>' AS zone, html ~ '<p>2021-02-03 05:30 to 2021-02-04 05:30</p>' AS span
FROM infra_monitor.report('2021-02-03 00:00+00', '2021-02-04 00:00+00') html;
SET timezone = 'UTC';

-- a span that makes no sense; one that is not known; one without length
SELECT infra_monitor.report('2021-02-04', '2021-02-03');
SELECT infra_monitor.report('-infinity');
SELECT infra_monitor.report(NULL) IS NULL AS unknown;
SELECT infra_monitor.report('2021-02-03', '2021-02-03') ~ '</html>$' AS ends;
SELECT infra_monitor.report('1970-01-01', '1970-01-02');

-- what others have called a thing
SET client_min_messages = error;
CREATE ROLE "regress_<i>monitor" LOGIN IN ROLE pg_monitor;
RESET client_min_messages;
INSERT INTO infra_monitor.slo_target_overrides (name, kind, target) VALUES ('<b onclick="x">', 'availability', 0.5);
SET SESSION AUTHORIZATION "regress_<i>monitor";
SELECT m[1] AS objective FROM infra_monitor.report('2021-02-03', '2021-02-04') html, regexp_matches(html, '<td>(<bdi>[^<]*onclick[^<]*</bdi>)', 'g') m LIMIT 1;
RESET SESSION AUTHORIZATION;
DELETE FROM infra_monitor.slo_target_overrides;
DROP ROLE "regress_<i>monitor";
DROP TABLE regress_days;
