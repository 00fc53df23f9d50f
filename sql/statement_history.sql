--
-- History of the statements: columns, errors, privileges.  What they say of
-- statements: test/t/054_statement_history.pl.
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS infra_monitor CASCADE;
RESET client_min_messages;

\set SHOW_CONTEXT never

SELECT attrelid::regclass AS table, string_agg(attname || ' ' || format_type(atttypid, NULL), ', ' ORDER BY attnum) AS columns
FROM pg_attribute
WHERE attrelid IN ('infra_monitor.statement_samples'::regclass, 'infra_monitor.statement_texts'::regclass) AND attnum > 0
GROUP BY 1 ORDER BY 1;

-- an empty span is empty; the columns
SELECT * FROM infra_monitor.statement_history(1, '2000-01-01', '2000-01-02');
SELECT * FROM infra_monitor.top_statements('2000-01-01', '2000-01-02');
SELECT * FROM infra_monitor.query_regressions('2000-01-01', '2000-01-02', '2000-01-03', '2000-01-04');

-- what is not known is no span
SELECT count(*) FROM infra_monitor.statement_history(1, NULL);
SELECT count(*) FROM infra_monitor.statement_history(NULL, '2000-01-01', '2000-01-02');
SELECT count(*) FROM infra_monitor.top_statements(NULL);
SELECT count(*) FROM infra_monitor.top_statements('2000-01-01', '2000-01-02', NULL, NULL);
SELECT count(*) FROM infra_monitor.query_regressions(NULL, NULL, NULL, NULL);

-- errors
SELECT * FROM infra_monitor.statement_history(1, '2000-01-02', '2000-01-01');
SELECT * FROM infra_monitor.statement_history(1, '2000-01-01', '2000-01-02', '0');
SELECT * FROM infra_monitor.top_statements('2000-01-02', '2000-01-01');
SELECT * FROM infra_monitor.top_statements('2000-01-01', '2000-01-02', 'query');
SELECT * FROM infra_monitor.top_statements('2000-01-01', '2000-01-02', 'calls', 0);
SELECT * FROM infra_monitor.query_regressions('-infinity', '2000-01-02', '2000-01-03', '2000-01-04');
SELECT * FROM infra_monitor.query_regressions('2000-01-01', '2000-01-02', '2000-01-04', '2000-01-03');

-- valid orders
SELECT o, count(t)
FROM unnest('{exec_time,calls,failed_time,p95_time,rows,shared_blks_read,temp_blks_written,wal_bytes}'::text[]) o
	LEFT JOIN LATERAL infra_monitor.top_statements('2000-01-01', '2000-01-02', o) t ON true
GROUP BY o ORDER BY o;

-- by hand: once in a transaction
BEGIN;
SAVEPOINT s;
SELECT infra_monitor.take_statement_sample() IS NOT NULL AS taken;
ROLLBACK TO s;
SELECT infra_monitor.take_statement_sample() IS NOT NULL AS taken;
SELECT infra_monitor.take_statement_sample();
ROLLBACK;
BEGIN;
SELECT infra_monitor.take_statement_sample() IS NOT NULL AS taken;
PREPARE TRANSACTION 'sample';

-- each sample has one row for all others
BEGIN;
SELECT infra_monitor.take_statement_sample() AS at \gset
SELECT count(*), bool_and(userid IS NULL AND dbid IS NULL AND usename IS NULL AND datname IS NULL
	AND queryid IS NULL AND toplevel IS NULL AND calls >= 0 AND failures >= 0) AS others
FROM infra_monitor.statement_samples WHERE sampled_at = :'at' AND userid IS NULL;
SELECT count(*) > 0 AS some, bool_and(infra_monitor.observations(latency) = calls) AS counted
FROM infra_monitor.statement_samples WHERE sampled_at = :'at';
SELECT count(*) FROM infra_monitor.statement_texts WHERE query LIKE '%2000-01-01%';
ROLLBACK;

-- privileges
CREATE ROLE regress_history_monitor IN ROLE pg_monitor;
CREATE ROLE regress_history_nobody;
SET ROLE regress_history_monitor;
SELECT count(*) FROM infra_monitor.top_statements('2000-01-01', '2000-01-02');
SELECT count(*) FROM infra_monitor.statement_texts WHERE first_seen < '2000-01-01';
SELECT infra_monitor.take_statement_sample();
SET ROLE regress_history_nobody;
SELECT count(*) FROM infra_monitor.top_statements('2000-01-01', '2000-01-02');
SELECT count(*) FROM infra_monitor.statement_texts;
SELECT count(*) FROM infra_monitor.statement_samples;
RESET ROLE;
-- without pg_read_all_stats there are no texts, whatever else was granted
GRANT USAGE ON SCHEMA infra_monitor TO regress_history_nobody;
GRANT SELECT ON infra_monitor.statement_samples TO regress_history_nobody;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA infra_monitor TO regress_history_nobody;
SET ROLE regress_history_nobody;
SELECT count(*) FROM infra_monitor.statement_history(1, '2000-01-01', '2000-01-02');
SELECT count(*) FROM infra_monitor.top_statements('2000-01-01', '2000-01-02');
RESET ROLE;
DROP OWNED BY regress_history_nobody;
DROP ROLE regress_history_monitor, regress_history_nobody;
