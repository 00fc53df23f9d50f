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
SELECT * FROM infra_monitor.statement_history(1, '2000-01-01', '2000-01-01');
SELECT * FROM infra_monitor.top_statements('2000-01-01', '2000-01-01');
SELECT * FROM infra_monitor.query_regressions('2000-01-01', '2000-01-01', '2000-01-03', '2000-01-03');

-- what is not known is no span
SELECT count(*) FROM infra_monitor.statement_history(1, NULL);
SELECT count(*) FROM infra_monitor.statement_history(NULL, '2000-01-01', '2000-01-01');
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
	LEFT JOIN LATERAL infra_monitor.top_statements('2000-01-01', '2000-01-01', o) t ON true
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

-- two days made up: 40 calls of 10 ms each, then of 30 ms, and what else changed
BEGIN;
CREATE TABLE infra_monitor.made_up PARTITION OF infra_monitor.statement_samples
	FOR VALUES FROM ('2000-01-01 00:00+00') TO ('2000-01-03 00:00+00');
CREATE TABLE infra_monitor.made_up_waits PARTITION OF infra_monitor.wait_samples
	FOR VALUES FROM ('2000-01-01 00:00+00') TO ('2000-01-03 00:00+00');
CREATE TABLE infra_monitor.made_up_texts PARTITION OF infra_monitor.statement_texts
	FOR VALUES FROM ('2000-01-01 00:00+00') TO ('2000-01-03 00:00+00');
INSERT INTO infra_monitor.statement_samples
SELECT '2000-01-01 10:00+00'::timestamptz + s.day * interval '1 day', 1, 10, 5, 'somebody', 'work', q.id, true, n.calls, n.time,
	q.rows[s.day + 1], q.failures[s.day + 1], 0, q.hit[s.day + 1], 0, q.temp[s.day + 1], CASE WHEN q.rows IS NOT NULL THEN 0 END,
	infra_monitor.histogram(n.times)
FROM (VALUES
		(1, 'more rows', '{40,4000}'::int[], '{40,40}'::int[], '{0,0}'::int[], '{0,0}'::int[], '{10,30}'::float8[]),
		(2, 'more blocks', '{40,40}', '{400,40000}', '{0,0}', '{0,0}', '{10,40}'),
		(3, 'more blocks, and rows', '{40,400}', '{400,40000}', '{0,0}', '{0,0}', '{10,30}'),
		(4, 'temporary files', '{40,40}', '{40,40}', '{0,4000}', '{0,0}', '{10,30}'),
		(5, 'failures', '{40,40}', '{40,40}', '{0,0}', '{0,10}', '{10,30}'),
		(6, 'lock waits', '{40,40}', '{40,40}', '{0,0}', '{0,0}', '{10,30}'),
		(7, 'nothing known', NULL, NULL, NULL, '{0,0}', '{10,30}'),
		(8, 'as before', '{40,40}', '{40,40}', '{0,0}', '{0,0}', '{10,10}'),
		(9, 'faster', '{40,40}', '{40,40}', '{0,0}', '{0,0}', '{30,10}'),
		(10, 'more rows, not slower', '{40,4000}', '{40,40}', '{0,0}', '{0,0}', '{10,10}'),
		(11, 'slower by chance', '{40,40}', '{40,40}', '{0,0}', '{0,0}', '{10,-30}'),
		(12, 'perhaps it was as slow before', '{40,40}', '{40,40}', '{0,0}', '{0,0}', '{-30,30}'),
		(13, 'slower by less than 10 ms in all', '{40,40}', '{40,4000}', '{0,0}', '{0,0}', '{0.1,0.3}'),
		(14, 'slower by less than a thousandth of all', '{40,40}', '{40,4000}', '{0,0}', '{0,0}', '{0.1,0.45}')
	) AS q (id, query, rows, hit, temp, failures, ms)
	CROSS JOIN generate_series(0, 1) AS s (day)
	-- negative: a few of them were so slow, the second day more
	CROSS JOIN LATERAL (SELECT CASE WHEN q.ms[s.day + 1] > 0 THEN array_fill(q.ms[s.day + 1], '{40}')
		ELSE array_fill(10::float8, ARRAY[39 - 3 * s.day]) || array_fill(-q.ms[s.day + 1], ARRAY[1 + 3 * s.day]) END AS times) t
	CROSS JOIN LATERAL (SELECT t.times, count(*) AS calls, sum(e) AS time FROM unnest(t.times) e) n;
INSERT INTO infra_monitor.statement_samples
SELECT '2000-01-02 10:00+00', 1, NULL, NULL, NULL, NULL, NULL, NULL, 1000, 5000, NULL, 3, 30, NULL, NULL, NULL, NULL,
	infra_monitor.histogram(array_fill(5::float8, '{1000}'));
INSERT INTO infra_monitor.wait_samples
VALUES ('2000-01-02 10:00+00', 1, 'work', 'Lock', 'relation', 6, 20, 60), ('2000-01-02 10:00+00', 1, 'work', 'IO', 'DataFileRead', 1, 20, 60);
INSERT INTO infra_monitor.statement_texts VALUES ('2000-01-01 10:00+00', 2, 5, 'SELECT old'), ('2000-01-02 10:00+00', 2, 5, 'SELECT 2');

SELECT queryid, datname, usename, calls, round(baseline_p95_time) AS baseline, round(recent_p95_time) AS recent,
	round(ratio::numeric, 1) AS ratio, extra_time, cause, query
FROM infra_monitor.query_regressions('2000-01-01 00:00+00', '2000-01-02 00:00+00', '2000-01-02 00:00+00', '2000-01-03 00:00+00')
ORDER BY extra_time DESC, queryid;
SELECT count(*) FROM infra_monitor.query_regressions('2000-01-01 00:00+00', '2000-01-02 00:00+00', '2000-01-02 00:00+00', '2000-01-03 00:00+00', 41);
SELECT queryid FROM infra_monitor.query_regressions('2000-01-01 00:00+00', '2000-01-02 00:00+00', '2000-01-02 00:00+00', '2000-01-03 00:00+00', factor => 3.5);
SELECT rank, queryid, calls, exec_time, round(share::numeric, 4) AS share, round(p95_time) AS p95, rows, failures, failed_time, query
FROM infra_monitor.top_statements('2000-01-02 00:00+00', '2000-01-03 00:00+00', 'exec_time', 1);
SELECT rank, queryid, calls, rows, round(share::numeric, 4) AS share
FROM infra_monitor.top_statements('2000-01-02 00:00+00', '2000-01-03 00:00+00', 'rows', 2);
SELECT rank, queryid, failures, round(share::numeric, 4) AS share
FROM infra_monitor.top_statements('2000-01-02 00:00+00', '2000-01-03 00:00+00', 'failed_time', 1);
SELECT bucket AT TIME ZONE 'UTC' AS bucket, calls, exec_time, round(p50_time) AS p50, rows, grain
FROM infra_monitor.statement_history(2, '2000-01-01 00:00+00', '2000-01-03 00:00+00', '1 day');
SELECT bucket AT TIME ZONE 'UTC' AS bucket, calls, rows, grain
FROM infra_monitor.statement_history(7, '2000-01-01 00:00+00', '2000-01-03 00:00+00', '7 days');
ROLLBACK;

-- privileges
CREATE ROLE regress_history_monitor IN ROLE pg_monitor;
CREATE ROLE regress_history_nobody;
SET ROLE regress_history_monitor;
SELECT count(*) FROM infra_monitor.top_statements('2000-01-01', '2000-01-01');
SELECT count(*) FROM infra_monitor.statement_texts WHERE first_seen < '2000-01-01';
SELECT infra_monitor.take_statement_sample();
SET ROLE regress_history_nobody;
SELECT count(*) FROM infra_monitor.top_statements('2000-01-01', '2000-01-01');
SELECT count(*) FROM infra_monitor.statement_texts;
SELECT count(*) FROM infra_monitor.statement_samples;
RESET ROLE;
-- without pg_read_all_stats there are no texts, whatever else was granted
GRANT USAGE ON SCHEMA infra_monitor TO regress_history_nobody;
GRANT SELECT ON infra_monitor.statement_samples, infra_monitor.statement_samples_hourly, infra_monitor.statement_samples_daily TO regress_history_nobody;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA infra_monitor TO regress_history_nobody;
SET ROLE regress_history_nobody;
SELECT count(*) FROM infra_monitor.statement_history(1, '2000-01-01', '2000-01-01');
SELECT count(*) FROM infra_monitor.top_statements('2000-01-01', '2000-01-01');
SELECT infra_monitor.statement_text(1, 1);
RESET ROLE;
DROP OWNED BY regress_history_nobody;
DROP ROLE regress_history_monitor, regress_history_nobody;
