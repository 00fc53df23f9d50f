--
-- slow_query_log: single executions, their texts masked.  A reset empties what is
-- in shared memory, the function; the view has stored history, too.
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS infra_monitor CASCADE;
RESET client_min_messages;

CREATE TABLE regress_slow (id int, note text);
INSERT INTO regress_slow SELECT g, 'note ' || g FROM generate_series(1, 100) g;
ANALYZE regress_slow;
SELECT infra_monitor.reset('slow_queries');
CREATE FUNCTION pg_temp.logged(OUT outcome text, OUT sqlstate text, OUT rows bigint, OUT query text)
RETURNS SETOF record LANGUAGE sql AS $$
SELECT outcome, sqlstate, rows, query FROM infra_monitor.slow_query_log()
WHERE pid = pg_backend_pid() AND query !~ 'regress_done|pg_temp' ORDER BY started_at
$$;

-- nothing is slow
SET infra_monitor.slow_query_threshold = '1h';
SELECT count(*) FROM regress_slow;
SELECT * FROM pg_temp.logged();
SET infra_monitor.slow_query_threshold = -1;
SELECT count(*) FROM regress_slow;
SELECT * FROM pg_temp.logged();

-- everything is
SET infra_monitor.slow_query_threshold = 0;
SELECT count(*) FROM regress_slow WHERE note <> 'secret';
UPDATE regress_slow SET note = note || 'secret' WHERE id < 10;
SELECT 1/0 AS fails, 'secret' AS note;
SELECT id / (id - 5) FROM regress_slow WHERE note <> 'secret';
SELECT 1 AS one \; SELECT 'two' AS two \; SELECT note FROM regress_slow WHERE id = 3;
PREPARE p AS SELECT note FROM regress_slow WHERE id = $1 AND note <> 'secret';
EXECUTE p(4);
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM regress_slow WHERE note <> 'secret' ORDER BY id;
FETCH 2 FROM c;
COMMIT;
COPY (SELECT id FROM regress_slow WHERE id < 3 ORDER BY id) TO STDOUT;
SELECT count(*) FROM regress_slow WHERE note LIKE'secret'OR note = N'secret'OR U&"note" = U&'secret'OR false;
SELECT $ 0x1F, 'secret';
SELECT missing FROM regress_slow WHERE note = 'secret';
SELECT 'secret;
';
SELEC 'secret';
DO $$ BEGIN PERFORM 'secret'; END $$;
/* secret */ SELECT /* secret */ 5 -- secret
	+ 6 AS sum;
SET infra_monitor.slow_query_threshold = -1; -- regress_done
SELECT * FROM pg_temp.logged();
SELECT count(*) AS secrets FROM infra_monitor.slow_query_log() l WHERE l::text ~ 'secret';

-- what else is known of them
SELECT bool_and(exec_time >= pre_exec_time) AS times, bool_and(pre_exec_time >= 0) AS pre_times,
	bool_and(started_at BETWEEN now() - interval '1 hour' AND clock_timestamp()) AS moments,
	bool_and(datname = current_database() AND usename = current_user) AS who,
	bool_and(application_name = current_setting('application_name')) AS application,
	bool_and(toplevel) AS toplevel, count(plan) AS plans
FROM infra_monitor.slow_query_log() WHERE pid = pg_backend_pid();
SELECT wal_bytes > 0 AS wal, shared_blks_hit > 0 AS hits, temp_blks_written
FROM infra_monitor.slow_query_log() WHERE query LIKE 'UPDATE%';
SELECT count(*) AS known_to_pg_stat_statements
FROM infra_monitor.slow_query_log() l JOIN pg_stat_statements s USING (queryid)
WHERE l.query LIKE 'SELECT count(*)%' AND s.query = l.query;

-- the view has all that is in memory
SELECT count(*) FILTER (WHERE v.pid IS NULL) AS missing, count(*) > 10 AS any
FROM infra_monitor.slow_query_log() l LEFT JOIN infra_monitor.slow_query_log v
	ON (v.pid, v.started_at, v.ended_at, v.exec_time, v.query) = (l.pid, l.started_at, l.ended_at, l.exec_time, l.query);
SELECT bool_and(newest_first) AS newest_first
FROM (SELECT ended_at <= lag(ended_at, 1, 'infinity') OVER () AS newest_first FROM infra_monitor.slow_query_log) l;

-- values, on demand, but none that can be a secret
SELECT infra_monitor.reset('slow_queries');
SET infra_monitor.log_parameters = on;
SET infra_monitor.slow_query_threshold = 0;
SELECT count(*) FROM regress_slow /* why */ WHERE note <> 'shown' AND id > 4711;
SELECT 'secret' AS password;
SET infra_monitor.slow_query_threshold = -1; -- regress_done
SELECT * FROM pg_temp.logged();

-- plans
SELECT infra_monitor.reset('slow_queries');
SET infra_monitor.slow_query_plan = on;
SET infra_monitor.slow_query_threshold = 0;
SELECT count(*) FROM regress_slow WHERE note <> 'shown' AND id > 4711;
SET infra_monitor.log_parameters = off;
SELECT count(*) FROM regress_slow WHERE note <> 'secret' AND id > 4711;
SELECT 1/0;
SET infra_monitor.slow_query_threshold = -1; -- regress_done
SELECT outcome, query, regexp_replace(plan, '[0-9]+\.[0-9]+', 'N', 'g') AS plan FROM infra_monitor.slow_query_log()
WHERE pid = pg_backend_pid() AND query LIKE 'SELECT%' AND query !~ 'infra_monitor' ORDER BY started_at;
RESET infra_monitor.slow_query_plan;

-- what is looked at ends with a whole letter: 256 kB, less those before the name and half of one
SET infra_monitor.slow_query_threshold = 0;
\set ECHO none
\o /dev/null
SELECT format('SELECT %L AS "%s"', repeat('x', 256 * 1024 - 14 - 5), repeat('ä', 20)) \gexec
\o
\set ECHO all
SET infra_monitor.slow_query_threshold = -1; -- regress_done
SELECT query FROM infra_monitor.slow_query_log()
WHERE pid = pg_backend_pid() AND query LIKE 'SELECT $1 AS "%' ORDER BY started_at;

-- forgotten
SELECT infra_monitor.reset('slow_queries');
SELECT count(*) FROM infra_monitor.slow_query_log();
RESET infra_monitor.slow_query_threshold;
RESET infra_monitor.log_parameters;
DROP TABLE regress_slow;
