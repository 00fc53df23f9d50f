--
-- slow_queries: what we have counted, and pg_stat_statements beside it
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS infra_monitor CASCADE;
RESET client_min_messages;

SELECT infra_monitor.pg_stat_statements_loaded();
SELECT clock_timestamp() AS before \gset
SELECT pg_stat_statements_reset() IS NOT NULL AS reset, infra_monitor.reset('statements');

CREATE TABLE regress_rows (i int, t text);
INSERT INTO regress_rows SELECT i, repeat('x', i) FROM generate_series(1, 50) i;
SELECT count(*) FROM regress_rows WHERE i = 1;
SELECT count(*) FROM regress_rows WHERE i = 2;
SELECT count(*) FROM regress_rows WHERE i = 3;
UPDATE regress_rows SET t = 'y' WHERE i <= 20;

SELECT s.calls, s.rows, s.toplevel, s.usename = current_user AS usename,
	s.datname = current_database() AS datname, s.queryid IS NOT NULL AS queryid,
	s.total_exec_time > 0 AS total, s.max_exec_time <= s.total_exec_time * 1.001 AS max,
	s.mean_exec_time = s.total_exec_time / s.calls AS mean,
	s.p50_exec_time <= s.p95_exec_time AND s.p95_exec_time <= s.p99_exec_time AS quantiles,
	s.p99_exec_time BETWEEN s.max_exec_time / 1.143 AND s.max_exec_time * 1.143 AS p99,
	infra_monitor.observations(s.latency) = s.calls AS latency, s.failures, s.failed_time,
	s.wal_bytes > 0 AS wal, s.shared_blks_hit + s.shared_blks_read > 0 AS blks,
	s.stats_since BETWEEN :'before' AND clock_timestamp() AS stats_since, s.query
FROM infra_monitor.slow_queries s
WHERE s.query LIKE '%regress\_rows%' AND s.query NOT LIKE '%slow\_queries%'
ORDER BY s.query COLLATE "C";

-- an execution that fails is no call; pg_stat_statements knows nothing of it
SELECT i / 0 FROM regress_rows;
SELECT calls, failures, cancellations, failed_time > 0 AS failed_time, mean_exec_time, p95_exec_time, rows, query
FROM infra_monitor.slow_queries WHERE failures > 0;
SELECT count(*) FROM pg_stat_statements WHERE query LIKE 'SELECT i / %';

-- executed inside a function
CREATE FUNCTION pg_temp.nested() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
	RETURN (SELECT count(*) FROM regress_rows WHERE i = 4);
END $$;
SET pg_stat_statements.track = 'all';
SET infra_monitor.track = 'all';
SELECT pg_temp.nested();
RESET pg_stat_statements.track;
RESET infra_monitor.track;
SELECT bool_or(toplevel) AS some_top, bool_and(toplevel) AS all_top, sum(rows) > 0 AS rows
FROM infra_monitor.slow_queries
WHERE query LIKE '%count(*) FROM regress\_rows WHERE i = %';

-- the same rows and numbers, row by row; those of queries have one clock, for
-- commands each ends its time by itself
SELECT count(*) > 5 AS any, count(*) FILTER (WHERE s.queryid IS NULL OR p.queryid IS NULL) AS missing,
	count(*) FILTER (WHERE (s.calls, s.max_exec_time, s.rows, s.shared_blks_hit,
		s.shared_blks_read, s.temp_blks_written, s.wal_bytes) IS DISTINCT FROM (p.calls, p.max_exec_time, p.rows,
		p.shared_blks_hit, p.shared_blks_read, p.temp_blks_written, p.wal_bytes)
		OR abs(s.total_exec_time - p.total_exec_time) > CASE WHEN p.toplevel AND p.query ~ '^(SELECT|UPDATE|INSERT) '
			THEN 0.01 + 0.001 * p.total_exec_time ELSE 1000 END) AS different
FROM (SELECT * FROM infra_monitor.slow_queries WHERE failures = 0) s
	FULL JOIN pg_stat_statements p USING (userid, dbid, queryid, toplevel);
SELECT count(*) > 0 AS any, bool_and(query IS NULL) AS no_texts FROM infra_monitor.statement_stats(false);
SELECT infra_monitor.statement_stats(NULL);

-- a role that is no more
CREATE ROLE regress_gone;
SET ROLE regress_gone;
SELECT 'regress_gone' AS a, 'was' AS b, 'here' AS c;
RESET ROLE;
DROP ROLE regress_gone;
SELECT usename, calls, query FROM infra_monitor.slow_queries WHERE query LIKE 'SELECT % AS a, % AS b, % AS c';

-- its own search path does not matter, whatever the caller's holds
CREATE SCHEMA regress_evil;
CREATE FUNCTION regress_evil.pg_stat_statements(boolean) RETURNS int LANGUAGE sql AS 'SELECT 1 / 0';
CREATE FUNCTION regress_evil.nullif(bigint, int) RETURNS int LANGUAGE sql AS 'SELECT 1 / 0';
CREATE VIEW regress_evil.pg_roles AS SELECT 0::oid AS oid, 'evil'::name AS rolname;
SET search_path = regress_evil, public, pg_catalog;
SELECT count(*) > 0 AS ok, count(*) FILTER (WHERE usename = 'evil') AS evil FROM infra_monitor.slow_queries;
RESET search_path;
\set VERBOSITY terse
SET client_min_messages = error;
DROP SCHEMA regress_evil CASCADE;
DROP TABLE regress_rows;

-- pg_stat_statements in another schema, with a name that needs quotes
CREATE SCHEMA "Regress ""Stats""";
ALTER EXTENSION pg_stat_statements SET SCHEMA "Regress ""Stats""";
SELECT count(*) > 0 AS ok, count(stats_since) = count(*) AS stats_since FROM infra_monitor.slow_queries;
ALTER EXTENSION pg_stat_statements SET SCHEMA public;
DROP SCHEMA "Regress ""Stats""";
SELECT count(*) > 0 AS ok FROM infra_monitor.slow_queries;

-- without it
\set VERBOSITY default
BEGIN;
UPDATE pg_extension SET extname = 'regress' WHERE extname = 'pg_stat_statements';
SELECT count(*) FROM infra_monitor.slow_queries;
ROLLBACK;
