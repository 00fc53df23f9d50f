--
-- Metrics: names, types, labels, and what Prometheus would refuse
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS infra_monitor CASCADE;
CREATE EXTENSION IF NOT EXISTS dblink;
RESET client_min_messages;
SELECT current_user AS admin \gset

-- the sampler evaluates health when the extension is created, measures the
-- history, and takes a sample
SET statement_timeout = '60s';
DO $$ BEGIN
	WHILE NOT EXISTS (SELECT FROM infra_monitor.metrics WHERE name = 'infra_monitor_sampler_last_tick_timestamp_seconds') LOOP
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
RESET statement_timeout;

-- names that need quoting, and that look like what stands for something else
CREATE ROLE other LOGIN CONNECTION LIMIT 8;
CREATE ROLE "regress_limit (1234)" LOGIN CONNECTION LIMIT 8;
CREATE ROLE "regress_""quoted"" \ back" LOGIN CONNECTION LIMIT 8;
CREATE ROLE regress_plain LOGIN CONNECTION LIMIT 8;
CREATE DATABASE other CONNECTION LIMIT 4;
CREATE DATABASE "regress_""quoted"" \ back" CONNECTION LIMIT 4;
CREATE FUNCTION pg_temp.connect_as(name text, usename text, datname text)
RETURNS text LANGUAGE sql AS $$
SELECT dblink_connect(name, format('host=%s port=%s user=''%s'' dbname=''%s'' application_name=%s',
	split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'),
	regexp_replace(usename, '([\\''])', '\\\1', 'g'), regexp_replace(datname, '([\\''])', '\\\1', 'g'), name))
$$;
SELECT pg_temp.connect_as('regress_' || row_number() OVER (ORDER BY rolname COLLATE "C"), rolname, current_database())
FROM pg_roles WHERE rolconnlimit = 8;
SELECT pg_temp.connect_as('regress_other', :'admin', 'other');
SELECT pg_temp.connect_as('regress_quoted', :'admin', datname) FROM pg_database WHERE datname LIKE 'regress%';
SELECT f.answer FROM dblink('regress_other', 'SELECT count(*) FROM pg_class WHERE false') AS f (answer int);
SELECT f.answer FROM dblink('regress_quoted', 'SELECT count(*) FROM pg_class WHERE false') AS f (answer int);

--
-- one look, as rows and as text, the same
--
CREATE TEMP TABLE look AS SELECT * FROM infra_monitor.metrics;
SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum) AS columns
FROM pg_attribute WHERE attrelid = 'infra_monitor.metrics'::regclass AND attnum > 0;

-- the families, and which labels they have; those of the machine are not read
-- here, and there is neither a standby nor a slot
SELECT DISTINCT CASE type WHEN 'histogram' THEN regexp_replace(name, '_(bucket|sum|count)$', '') ELSE name END COLLATE "C" AS family,
	type, ARRAY(SELECT k FROM jsonb_object_keys(labels) k WHERE k <> 'le' ORDER BY k COLLATE "C") AS labels
FROM look ORDER BY 1;

SELECT bool_and(name ~ '^infra_monitor_[a-z][a-z0-9_]*[a-z0-9]$') AS names,
	bool_and((type = 'counter') = (name ~ '_total$')) AS counters,
	bool_and(help ~ '^[A-Z].*\.$' AND help !~ '[\n\\]') AS help,
	bool_and(jsonb_typeof(labels) = 'object') AS labels,
	bool_and(value >= 0) AS values
FROM look;
SELECT count(DISTINCT (type, help)) = 1 AS same FROM look
GROUP BY CASE type WHEN 'histogram' THEN regexp_replace(name, '_(bucket|sum|count)$', '') ELSE name END
HAVING count(DISTINCT (type, help)) > 1;
SELECT name, labels FROM look GROUP BY 1, 2 HAVING count(*) > 1;
SELECT value = (SELECT count(*) FROM look) AS all_series FROM look WHERE name = 'infra_monitor_series';

-- histograms: cumulative, the last bucket is the count, the usual bounds
SELECT bool_and(value >= before OR before IS NULL) AS cumulative FROM (
	SELECT value, lag(value) OVER (PARTITION BY name, labels - 'le' ORDER BY (labels->>'le')::float8) AS before
	FROM look WHERE name ~ '_bucket$') b;
SELECT count(*) > 0 AS any, bool_and(b.value = c.value) AS total, bool_and(s.value > 0 OR c.value = 0) AS sum
FROM look b JOIN look c ON c.name = replace(b.name, '_bucket', '_count') AND c.labels = b.labels - 'le'
	JOIN look s ON s.name = replace(b.name, '_bucket', '_sum') AND s.labels = b.labels - 'le'
WHERE b.name ~ '_bucket$' AND b.labels->>'le' = '+Inf';
SELECT b.name, b.bounds, count(*) > 0 AS any FROM (
	SELECT name, labels - 'le' AS labels, string_agg(labels->>'le', ' ' ORDER BY (labels->>'le')::float8) AS bounds
	FROM look WHERE name ~ '_bucket$' GROUP BY 1, 2) b
GROUP BY 1, 2 ORDER BY 1, 2;

-- names: what could be mistaken has its OID
SELECT regexp_replace(labels->>'name', '\((?!1234\))\d+\)$', '(OID)') COLLATE "C" AS name, labels->>'scope' AS scope, value
FROM look WHERE name = 'infra_monitor_limit_used_ratio' ORDER BY 2, 1;
SELECT bool_and(labels->>'name' LIKE '%(' || r.oid || ')') AS own_oid
FROM look l JOIN pg_roles r ON starts_with(l.labels->>'name', r.rolname || ' (')
WHERE l.name = 'infra_monitor_limit_used_ratio' AND l.labels->>'scope' = 'role';
SELECT regexp_replace(labels->>'datname', '\(\d+\)$', '(OID)') COLLATE "C" AS datname, labels->>'state' AS state, value
FROM look WHERE name = 'infra_monitor_pool_connections' AND labels->>'state' = 'idle' ORDER BY 1;
SELECT labels->>'datname' AS datname FROM look
WHERE name = 'infra_monitor_query_duration_seconds_count' AND labels->>'datname' ~ '(quoted|other)'
	AND labels->>'datname' !~ '^(other \(\d+\)|other|regress_"quoted" \\ back)$';

-- slots: each of max_connections is in one class
SELECT array_agg(labels->>'class' ORDER BY labels->>'class') AS classes,
	sum(value) = current_setting('max_connections')::int AS all_slots
FROM look WHERE name = 'infra_monitor_pool_slots';
SELECT l.labels->>'reason' AS reason FROM look l WHERE name = 'infra_monitor_pool_rejections_total' ORDER BY 1;

-- health as in health_checks
SELECT count(*) > 50 AS all, bool_and(l.value = CASE h.status WHEN 'ok' THEN 0 WHEN 'warning' THEN 1 WHEN 'critical' THEN 2 ELSE 3 END) AS status
FROM look l JOIN infra_monitor.health_checks h ON h.name = l.labels->>'check' WHERE l.name = 'infra_monitor_health_check_status';
SELECT count(*) AS different FROM look l JOIN infra_monitor.health_checks h ON h.name = l.labels->>'check'
WHERE l.name = 'infra_monitor_health_check_value' AND l.value IS DISTINCT FROM h.value;

-- the text
CREATE TEMP TABLE line AS
SELECT n, line FROM regexp_split_to_table(infra_monitor.metrics_text(), '\n') WITH ORDINALITY AS t (line, n);
SELECT line = '' AS ends_with_newline FROM line ORDER BY n DESC LIMIT 1;
DELETE FROM line WHERE line = '';
SELECT line FROM line
WHERE line !~ '^# HELP infra_monitor_[a-z0-9_]+ [A-Z].*\.$'
	AND line !~ '^# TYPE infra_monitor_[a-z0-9_]+ (counter|gauge|histogram)$'
	AND line !~ '^infra_monitor_[a-z0-9_]+(\{([a-z_]+="([^"\\]|\\[\\"n])*",?)+\})? (\d+(\.\d+)?(e[+-]?\d+)?|\+Inf)$';
SELECT count(DISTINCT split_part(line, ' ', 3)) = count(*) AS each_once
FROM line WHERE line LIKE '# TYPE %';
SELECT h.line FROM line h LEFT JOIN line t ON t.n = h.n + 1
	AND t.line LIKE '# TYPE ' || split_part(h.line, ' ', 3) || ' %'
WHERE h.line LIKE '# HELP %' AND t.n IS NULL;
SELECT regexp_replace(line, '\(\d+\)"', '(OID)"') AS line FROM line
WHERE line LIKE '%limit_used_ratio{%' AND line LIKE '%quoted%' ORDER BY 1;
SELECT count(*) AS differ
FROM (SELECT split_part(line, ' ', 3) FROM line WHERE line LIKE '# TYPE %'
	EXCEPT SELECT CASE type WHEN 'histogram' THEN regexp_replace(name, '_(bucket|sum|count)$', '') ELSE name END FROM look) d;

-- dialects
SELECT infra_monitor.metrics_text('infra_monitor') LIKE '# HELP infra_monitor_build_info %' AS dialect;
SELECT infra_monitor.metrics_text('nonsense');
SELECT infra_monitor.metrics_text(NULL) IS NULL AS null;

-- that of postgres_exporter: families and labels, other than those that depend
-- on the version, or on what has happened before
CREATE TEMP TABLE exporter AS
SELECT n, line FROM regexp_split_to_table(infra_monitor.metrics_text('postgres_exporter'), '\n') WITH ORDINALITY AS t (line, n)
WHERE line <> '';
SELECT line FROM exporter
WHERE line !~ '^# HELP pg_[a-zA-Z0-9_]+ [A-Z].*\.$'
	AND line !~ '^# TYPE pg_[a-zA-Z0-9_]+ (counter|gauge|untyped)$'
	AND line !~ '^pg_[a-zA-Z0-9_]+(\{([a-z_]+="([^"\\]|\\[\\"n])*",?)+\})? -?\d+(\.\d+)?(e[+-]?\d+)?$';
SELECT count(DISTINCT split_part(line, ' ', 3)) = count(*) AS each_once FROM exporter WHERE line LIKE '# TYPE %';
SELECT regexp_replace(line, ' \S+$', '') AS twice FROM exporter WHERE line !~ '^#' GROUP BY 1 HAVING count(*) > 1;
SELECT DISTINCT f.family, t.type, ARRAY(SELECT DISTINCT m[1] COLLATE "C" FROM exporter l, regexp_matches(l.line, '([a-z_]+)="', 'g') m
	WHERE l.line LIKE f.family || '{%' ORDER BY 1) AS labels
FROM exporter e, substring(e.line COLLATE "C" FROM '^# TYPE (\S+)') f (family), split_part(e.line, ' ', 4) t (type)
WHERE f.family !~ '^pg_(settings|stat_checkpointer)_|buffers_backend|reset|checksum|last_'
ORDER BY 1;
SELECT count(*) > 200 AS settings FROM exporter WHERE line LIKE 'pg_settings_%';
SELECT line FROM exporter WHERE line ~ '^pg_settings_(block_size|max_identifier_length|wal_segment_size_bytes|infra_monitor_enabled) ' ORDER BY line COLLATE "C";

--
-- totals go on after a reset; the peak is none
--
CREATE TEMP TABLE before AS SELECT * FROM infra_monitor.metrics;
SELECT infra_monitor.reset();
SELECT b.name, b.labels, b.value, a.value FROM before b JOIN infra_monitor.metrics a USING (name, labels)
WHERE b.type <> 'gauge' AND a.value < b.value;
SELECT count(*) > 100 AS counters FROM before WHERE type <> 'gauge';

--
-- privileges: who may not read all statistics does not see what others execute
--
CREATE ROLE regress_monitor IN ROLE pg_monitor;
CREATE ROLE regress_some;
GRANT USAGE ON SCHEMA infra_monitor TO regress_some;
GRANT EXECUTE ON FUNCTION infra_monitor.metrics_text(text), infra_monitor.metrics() TO regress_some;
GRANT SELECT ON infra_monitor.metrics TO regress_some;
SET ROLE regress_monitor;
SELECT count(*) > 0 AS statements FROM infra_monitor.metrics WHERE labels ? 'queryid';
SELECT count(*) > 0 AS applications FROM infra_monitor.metrics WHERE labels ? 'application_name';
SET ROLE regress_some;
SELECT count(*) AS statements FROM infra_monitor.metrics WHERE labels ?| ARRAY['queryid', 'application_name'];
SELECT infra_monitor.metrics_text() ~ 'queryid|application_name=' AS text;
SELECT count(*) > 0 AS others FROM infra_monitor.metrics WHERE name = 'infra_monitor_query_duration_seconds_count';
SELECT * FROM infra_monitor.textfile_state();
RESET ROLE;
REVOKE USAGE ON SCHEMA infra_monitor FROM regress_some;
REVOKE EXECUTE ON FUNCTION infra_monitor.metrics_text(text), infra_monitor.metrics() FROM regress_some;
REVOKE SELECT ON infra_monitor.metrics FROM regress_some;

--
-- settings
--
SHOW infra_monitor.textfile;
SHOW infra_monitor.snapshot_directory;
ALTER SYSTEM SET infra_monitor.textfile = 'relative.prom';
ALTER SYSTEM SET infra_monitor.textfile = '/tmp/metrics.txt';
ALTER SYSTEM SET infra_monitor.textfile = '/tmp/.prom';
SELECT name, value FROM infra_monitor.health_checks WHERE name = 'textfile';

SELECT count(dblink_disconnect(c)) AS disconnected FROM unnest(dblink_get_connections()) c;
SET statement_timeout = '60s';
DO $$ BEGIN
	WHILE EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE 'regress\_%' AND pid <> pg_backend_pid()) LOOP
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
RESET statement_timeout;
DROP DATABASE other;
DROP DATABASE "regress_""quoted"" \ back";
-- a database that is no more keeps what it has counted
SELECT count(*) >= 2 AS dropped FROM infra_monitor.metrics
WHERE name = 'infra_monitor_query_duration_seconds_count' AND labels->>'datname' ~ '^\(\d+\)$';
DROP ROLE other, "regress_limit (1234)", "regress_""quoted"" \ back", regress_plain, regress_monitor, regress_some;
