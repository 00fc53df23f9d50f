--
-- compare(): two spans side by side
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS infra_monitor CASCADE;
RESET client_min_messages;
SET timezone = 'UTC';
\set VERBOSITY terse

-- two hours that are made up, samples a minute apart: in the second of them
-- everything is twice as much, but for what is greatest, an average, or a ratio
CREATE TABLE regress_samples PARTITION OF infra_monitor.samples FOR VALUES FROM ('2021-02-01') TO ('2021-03-01');
CREATE TABLE regress_waits PARTITION OF infra_monitor.wait_samples FOR VALUES FROM ('2021-02-01') TO ('2021-03-01');
CREATE TABLE regress_statements PARTITION OF infra_monitor.statement_samples FOR VALUES FROM ('2021-02-01') TO ('2021-03-01');
CREATE TABLE regress_epochs PARTITION OF infra_monitor.epochs FOR VALUES FROM ('2021-02-01') TO ('2021-03-01');
CREATE TABLE regress_texts PARTITION OF infra_monitor.statement_texts FOR VALUES FROM ('2021-02-01') TO ('2021-03-01');
CREATE TEMP TABLE minutes AS
SELECT h.at + m * interval '1 min' AS at, h.n, m, 1 AS epoch
FROM (VALUES (1, '2021-02-03 10:00'::timestamptz), (2, '2021-02-04 10:00')) AS h (n, at), generate_series(-1, 60) m;
-- 15 minutes late, the server is started again
UPDATE minutes SET epoch = 2 WHERE n = 2 AND m >= 15;

INSERT INTO infra_monitor.samples (sampled_at, epoch, status, max_connections, reserved_connections, used_connections,
	available_connections, used_ratio, active, idle, idle_in_transaction, waiting, peak_connections, peak_at, connects_total,
	disconnects_total, rejected_total, auth_failures_total, stats_reset, authenticating, connects, rejected, commits, rollbacks,
	blks_hit, blks_read, temp_bytes, deadlocks, wal_bytes, avg_active, cpu_ratio, memory_used, memory_total, health_score, latency, collect_time, elapsed_time)
SELECT at, epoch, 'ok', 23, 3, 5 * h.n + m % 2, 19, 0, 3, 0, h.n + (m = 30)::int, h.n, 1, at, 0, 0, 0, 0, at, 0,
	c.n * 60, c.n * 6, c.n * 600, c.n * 12, c.n * 300, c.n * 300, c.n * 6000, c.n, c.n * 60000, h.n * 1.5, h.n * 0.25, h.n * 1000, 8000, 10 - h.n,
	CASE WHEN c.n IS NOT NULL THEN infra_monitor.histogram(array_fill(10.0::float8 * h.n, ARRAY[60 * h.n])) END, 0, CASE WHEN c.n IS NOT NULL THEN 60000 END
FROM minutes h
	-- what would cross an epoch is not known
	LEFT JOIN LATERAL (SELECT h.n::bigint WHERE NOT (h.n = 2 AND m = 15)) c ON true;

INSERT INTO infra_monitor.wait_samples
SELECT at, 1, 'work', w.type, w.event, w.id, w.seen[n], 60
FROM minutes, (VALUES ('CPU', 'CPU', 1, '{30,30}'::int[]), ('Lock', 'relation', 1, '{0,20}'), ('Lock', 'tuple', 2, '{0,10}'), ('IO', 'DataFileRead', 1, '{6,0}')) AS w (type, event, id, seen)
WHERE w.seen[n] > 0;
-- a minute in which nobody was active
DELETE FROM infra_monitor.wait_samples WHERE sampled_at = '2021-02-03 10:10';
INSERT INTO infra_monitor.wait_samples VALUES ('2021-02-03 10:10', 1, NULL, NULL, NULL, NULL, 0, 60);

INSERT INTO infra_monitor.statement_samples
SELECT at, epoch, s.userid, 5, s.usename, s.usename, s.id, true, 1, s.time[n], 0, n, n * 6, 0, 0, 0, 0, infra_monitor.histogram('{1}'::float8[])
FROM minutes, (VALUES (NULL::oid, NULL, NULL::bigint, '{600,600}'::float8[]), (10, 'a', 1, '{60,600}'), (11, 'b', 1, '{60,60}'),
	(10, 'a', 2, '{6000,3000}'), (10, 'a', 3, '{60,60}'), (10, 'a', 4, '{6,12}')) AS s (userid, usename, id, time);
INSERT INTO infra_monitor.statement_texts
SELECT '2021-02-03', id, 5, 'SELECT ' || id FROM generate_series(1, 3) id;

CREATE FUNCTION pg_temp.compared(since_1 timestamptz, until_1 timestamptz, since_2 timestamptz, until_2 timestamptz,
	OUT metric text, OUT value_1 numeric, OUT value_2 numeric, OUT ratio numeric, OUT unit text, OUT queryid bigint, OUT query text)
RETURNS SETOF record LANGUAGE sql AS $$
SELECT metric, round(value_1::numeric, 3), round(value_2::numeric, 3), round(ratio::numeric, 3), unit, queryid, query
FROM infra_monitor.compare(since_1, until_1, since_2, until_2)
$$;

INSERT INTO infra_monitor.epochs
SELECT at, 2, 2, at - interval '30 s', at - interval '30 s', 1, '15', at - interval '30 s', at - interval '30 s', NULL
FROM minutes WHERE n = 2 AND m = 15;

-- the start of the server is in no rate, but what statements have counted since is
SELECT * FROM pg_temp.compared('2021-02-03 10:00', '2021-02-03 11:00', '2021-02-04 10:00', '2021-02-04 11:00');

-- since is in, until is not; a span of one sample has rates if there is one before it
SELECT metric, value_1, value_2, ratio
FROM pg_temp.compared('2021-02-03 10:00', '2021-02-03 10:01', '2021-02-03 10:01', '2021-02-03 10:02');

-- of a span that nothing is known of, nothing is told
SELECT metric, value_1, value_2, ratio
FROM pg_temp.compared('2021-02-03 10:00', '2021-02-03 11:00', '2021-02-05 10:00', '2021-02-05 11:00')
WHERE value_2 IS NOT NULL OR ratio IS NOT NULL OR queryid IS NOT NULL;
SELECT count(*), count(value_1) FROM infra_monitor.compare('2021-02-06', '2021-02-07', '2021-02-07', '2021-02-08');
SELECT count(*) FROM infra_monitor.compare(NULL, '2021-02-07', '2021-02-07', '2021-02-08');

-- errors
SELECT * FROM infra_monitor.compare('2021-02-07', '2021-02-06', '2021-02-07', '2021-02-08');
SELECT * FROM infra_monitor.compare('2021-02-06', '2021-02-07', '2021-02-07', 'infinity');


-- the same from hours, which do not tell how long before the first sample of statements a start was
CREATE TABLE before AS SELECT * FROM pg_temp.compared('2021-02-03 10:00', '2021-02-03 11:00', '2021-02-04 10:00', '2021-02-04 11:00');
CREATE TABLE regress_hours PARTITION OF infra_monitor.samples_hourly FOR VALUES FROM ('2021-02-01') TO ('2021-03-01');
CREATE TABLE regress_statement_hours PARTITION OF infra_monitor.statement_samples_hourly FOR VALUES FROM ('2021-02-01') TO ('2021-03-01');
CREATE TABLE regress_wait_hours PARTITION OF infra_monitor.wait_samples_hourly FOR VALUES FROM ('2021-02-01') TO ('2021-03-01');
SELECT count(infra_monitor.roll_up_samples(h, h + interval '1 hour') IS NULL)
FROM unnest('{2021-02-03 10:00,2021-02-03 11:00,2021-02-04 10:00,2021-02-04 11:00}'::timestamptz[]) h;
INSERT INTO infra_monitor.statement_samples_hourly
SELECT m.* FROM unnest('{2021-02-03 10:00,2021-02-04 10:00}'::timestamptz[]) h, infra_monitor.merged_statements(h, h + interval '1 hour', false, 100) m;
INSERT INTO infra_monitor.wait_samples_hourly
SELECT m.* FROM unnest('{2021-02-03 10:00,2021-02-04 10:00}'::timestamptz[]) h, infra_monitor.merged_waits(h, h + interval '1 hour', false) m;
TRUNCATE regress_samples, regress_statements, regress_waits;
SELECT c.metric, b.value_1, c.value_1, b.value_2, c.value_2
FROM pg_temp.compared('2021-02-03 10:00', '2021-02-03 11:00', '2021-02-04 10:00', '2021-02-04 11:00') c
	FULL JOIN before b ON (b.metric, coalesce(b.queryid, 0)) = (c.metric, coalesce(c.queryid, 0))
WHERE (b.value_1, b.value_2) IS DISTINCT FROM (c.value_1, c.value_2)
ORDER BY c.metric, c.queryid;

DROP TABLE before, regress_hours, regress_statement_hours, regress_wait_hours;
DROP TABLE regress_samples, regress_waits, regress_statements, regress_epochs, regress_texts;
