--
-- Rollups of hours and days, and how readers choose among them.  What the
-- sampler does with them: test/t/070_rollups.pl.
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS infra_monitor CASCADE;
RESET client_min_messages;
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = postgres;
\set SHOW_CONTEXT never

-- who may write them
CREATE ROLE regress_rollups IN ROLE pg_monitor;
SET ROLE regress_rollups;
SELECT infra_monitor.roll_up();
SELECT infra_monitor.roll_up_samples('2000-01-01', '2000-01-02');
SELECT count(*) >= 0 AS allowed FROM infra_monitor.samples_hourly, infra_monitor.samples_daily,
	infra_monitor.statement_samples_hourly, infra_monitor.statement_samples_daily,
	infra_monitor.wait_samples_hourly, infra_monitor.wait_samples_daily, infra_monitor.statement_texts_monthly;
SELECT count(*) >= 0 AS allowed FROM infra_monitor.rollups_due();
RESET ROLE;
DROP ROLE regress_rollups;

-- nothing of this is committed: the sampler would roll it up, too; nor does it roll up
-- anything meanwhile, or has, as it does when an hour ends
\set ON_ERROR_ROLLBACK on
BEGIN;
LOCK TABLE infra_monitor.samples_hourly, infra_monitor.samples_daily, infra_monitor.statement_samples_hourly,
	infra_monitor.statement_samples_daily, infra_monitor.wait_samples_hourly, infra_monitor.wait_samples_daily IN SHARE ROW EXCLUSIVE MODE;
DELETE FROM infra_monitor.samples_hourly;
DELETE FROM infra_monitor.samples_daily;
DELETE FROM infra_monitor.statement_samples_hourly;
DELETE FROM infra_monitor.statement_samples_daily;
DELETE FROM infra_monitor.wait_samples_hourly;
DELETE FROM infra_monitor.wait_samples_daily;
CREATE TABLE infra_monitor.made_up_samples_1 PARTITION OF infra_monitor.samples FOR VALUES FROM ('2000-01-30') TO ('2000-01-31');
CREATE TABLE infra_monitor.made_up_samples_2 PARTITION OF infra_monitor.samples FOR VALUES FROM ('2000-01-31') TO ('2000-02-01');
CREATE TABLE infra_monitor.made_up_samples_3 PARTITION OF infra_monitor.samples FOR VALUES FROM ('2000-02-01') TO ('2000-02-02');
CREATE TABLE infra_monitor.made_up_statements_1 PARTITION OF infra_monitor.statement_samples FOR VALUES FROM ('2000-01-30') TO ('2000-01-31');
CREATE TABLE infra_monitor.made_up_statements_2 PARTITION OF infra_monitor.statement_samples FOR VALUES FROM ('2000-01-31') TO ('2000-02-01');
CREATE TABLE infra_monitor.made_up_statements_3 PARTITION OF infra_monitor.statement_samples FOR VALUES FROM ('2000-02-01') TO ('2000-02-02');
CREATE TABLE infra_monitor.made_up_waits PARTITION OF infra_monitor.wait_samples FOR VALUES FROM ('2000-01-30') TO ('2000-02-02');
CREATE TABLE infra_monitor.made_up_texts PARTITION OF infra_monitor.statement_texts FOR VALUES FROM ('2000-01-30') TO ('2000-02-02');

-- two days and a half, but for three hours of the first; a new epoch on the second
CREATE TEMP TABLE moments AS
SELECT at, n, CASE WHEN at < '2000-01-31 12:00' THEN 1 ELSE 2 END AS epoch
FROM generate_series(timestamptz '2000-01-30', '2000-02-01 12:34', '10 minutes') WITH ORDINALITY g (at, n)
WHERE at NOT BETWEEN '2000-01-30 10:00' AND '2000-01-30 12:59';
INSERT INTO infra_monitor.samples (sampled_at, epoch, status, max_connections, reserved_connections, used_connections,
	available_connections, used_ratio, active, idle, idle_in_transaction, waiting, peak_connections, peak_at, connects_total,
	disconnects_total, rejected_total, auth_failures_total, stats_reset, authenticating, connects, rejected, commits, avg_active,
	cpu_ratio, health_status, health_score, oldest_transaction, latency, collect_time)
SELECT at, epoch, CASE WHEN n % 50 = 0 THEN 'critical' ELSE 'ok' END, 100, 3, n % 37, 97 - n % 37, (n % 37) / 97.0, n % 7, n % 5,
	n % 3, n % 4, 37, at, n, n, 0, 0, at, 0, n % 11, CASE WHEN n % 10 > 0 THEN n % 2 END, n, CASE WHEN n % 2 = 0 THEN n / 8.0 END,
	CASE WHEN n % 4 > 0 THEN (n % 8) / 8.0 END, 'healthy', 10, n * interval '1 second',
	infra_monitor.histogram(ARRAY[n, n * 1.5, n * n]), 0.5
FROM moments;
INSERT INTO infra_monitor.statement_samples
SELECT at, epoch, q, 5, 'user' || q % 2, 'work', 100 + q, true, 3, n * q + 0.000123, CASE WHEN (n + q) % 3 > 0 THEN n END, n % 2,
	q * 0.000001, n, CASE WHEN (n + q) % 3 > 0 THEN q END, 0, 10, infra_monitor.histogram(ARRAY[n, n * q, 5])
FROM moments, generate_series(1, 5) q
UNION ALL
SELECT at, epoch, NULL, NULL, NULL, NULL, NULL, NULL, 1, 0.1, NULL, 0, 0, NULL, NULL, NULL, NULL, infra_monitor.histogram(ARRAY[0.1])
FROM moments;
INSERT INTO infra_monitor.statement_texts
SELECT d, 100 + q, 5, format('text %s of day %s', q, d::date)
FROM generate_series(1, 4) q, generate_series(timestamptz '2000-01-30 00:05', '2000-02-01 00:05', '1 day') d;
INSERT INTO infra_monitor.wait_samples
SELECT at, epoch, 'work', 'Lock', e, 100 + n % 3, n, 600
FROM moments, unnest('{relation,tuple}'::text[]) e WHERE n % 5 > 0 AND at NOT BETWEEN '2000-01-31 20:00' AND '2000-01-31 20:59'
UNION ALL
SELECT at, epoch, NULL, NULL, NULL, NULL, 0, 600 FROM moments WHERE n % 5 = 0 OR at BETWEEN '2000-01-31 20:00' AND '2000-01-31 20:59';

-- what readers say while there are samples only
CREATE TEMP TABLE pool_before AS
SELECT s.step, h.* FROM unnest('{1 hour,3 hours,1 day,2 days,7 days}'::interval[]) s (step),
	LATERAL infra_monitor.pool_history('2000-01-30 00:07', '2000-02-01 12:30', s.step) h;
CREATE TEMP TABLE statement_before AS
SELECT s.step, h.* FROM unnest('{1 hour,3 hours,1 day,2 days,7 days}'::interval[]) s (step),
	LATERAL infra_monitor.statement_history(103, '2000-01-30 00:07', '2000-02-01 12:30', s.step) h;
CREATE TEMP TABLE waits_before AS
SELECT s.step, h.* FROM unnest('{1 hour,3 hours,1 day,2 days,7 days}'::interval[]) s (step),
	LATERAL infra_monitor.wait_history('2000-01-30 00:07', '2000-02-01 12:30', s.step) h;
CREATE TEMP TABLE top_before AS
SELECT o AS order_by, t.*
FROM unnest('{exec_time,calls,failed_time,p95_time,rows,shared_blks_read,temp_blks_written,wal_bytes}'::text[]) o,
	LATERAL infra_monitor.top_statements('2000-01-30 00:07', '2000-02-01 12:30', o, 3) t;
CREATE TEMP TABLE between_before AS
SELECT b.* FROM infra_monitor.statements_between('2000-01-30 00:07', '2000-02-01 12:30', '1 hour') b;
SELECT (SELECT string_agg(DISTINCT grain, ' ') FROM pool_before) AS pool, (SELECT string_agg(DISTINCT grain, ' ') FROM statement_before) AS statement,
	(SELECT string_agg(DISTINCT grain, ' ') FROM waits_before) AS waits, (SELECT count(*) FROM top_before) AS top,
	(SELECT count(*) FROM between_before) AS between;

--
-- rolling up
--
SELECT * FROM infra_monitor.rollups_due('2000-01-30 00:59:59');
SELECT * FROM infra_monitor.rollups_due('2000-01-30 01:00');
SELECT infra_monitor.roll_up('2000-01-30 02:30') AS done;
SELECT infra_monitor.roll_up('2000-01-30 02:30') AS done_again;
-- over the hours without samples; a day when it has ended
SELECT infra_monitor.roll_up('2000-01-30 14:00') AS done;
SELECT * FROM infra_monitor.rollups_due('2000-01-31');
SELECT infra_monitor.roll_up('2000-01-31') AS done;
SELECT * FROM infra_monitor.rollups_due('2000-01-31');
SELECT infra_monitor.roll_up('2000-02-01 12:40') AS done;
SELECT infra_monitor.roll_up('2000-02-01 12:40') AS done_again;

-- in partitions by UTC month, which belong to the extension
SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) AS bound,
	EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') AS member
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent::regclass::text ~ 'ly$' AND c.relname ~ '_2000' ORDER BY 1;

-- an hour; a day, with two epochs and hours that are missing
SELECT begins_at, samples, first_sampled_at, last_sampled_at, epochs, first_epoch, last_epoch, critical_samples AS critical,
	max_connections AS most, used_connections_min AS min, used_connections_avg AS avg, used_connections_max AS max,
	used_connections_last AS last, connects, rejected, oldest_transaction, infra_monitor.observations(latency)
FROM infra_monitor.samples_hourly WHERE begins_at >= '2000-01-30 09:00' AND begins_at < '2000-01-30 15:00' ORDER BY 1;
SELECT begins_at, samples, first_sampled_at, last_sampled_at, epochs, first_epoch, last_epoch, critical_samples AS critical,
	used_connections_min AS min, used_connections_avg AS avg, used_connections_max AS max, used_connections_last AS last, connects, rejected,
	oldest_transaction, infra_monitor.observations(latency)
FROM infra_monitor.samples_daily WHERE begins_at < '2000-03-01' ORDER BY 1;

-- each column of it is what the samples say, as a row of that hour or day
SELECT count(*) AS hours, count(*) FILTER (WHERE h.samples <> s.samples OR h.used_connections_avg <> s.used
	OR abs(h.used_ratio_avg - s.ratio) > 1e-15 OR abs(h.avg_active_avg - s.active) > 1e-12 OR h.avg_active_min <> s.active_min OR h.avg_active_last <> s.active_last
	OR abs(h.cpu_ratio_avg - s.cpu) > 1e-15 OR h.cpu_ratio_last IS DISTINCT FROM s.cpu_last OR h.memory_used_max IS NOT NULL
	OR h.commits <> s.commits OR h.latency OPERATOR(infra_monitor.<>) s.latency OR h.peak_connections <> 37) AS wrong
FROM infra_monitor.samples_hourly h JOIN (
	SELECT date_trunc('hour', sampled_at) AS begins_at, count(*) AS samples, avg(used_connections::float8) AS used, avg(used_ratio) AS ratio,
		avg(coalesce(avg_active, active)) AS active, min(coalesce(avg_active, active)) AS active_min, sum(commits) AS commits,
		(array_agg(coalesce(avg_active, active) ORDER BY sampled_at DESC))[1] AS active_last, avg(cpu_ratio) AS cpu,
		(array_agg(cpu_ratio ORDER BY sampled_at DESC))[1] AS cpu_last, infra_monitor.sum(latency) AS latency
	FROM infra_monitor.samples WHERE sampled_at < '2000-03-01' GROUP BY 1) s USING (begins_at);
SELECT count(*) AS days, count(*) FILTER (WHERE d.samples <> s.samples OR d.used_connections_avg <> s.used
	OR abs(d.used_ratio_avg - s.ratio) > 1e-15 OR abs(d.avg_active_avg - s.active) > 1e-12 OR d.cpu_ratio_max <> s.cpu_max
	OR d.commits <> s.commits OR d.latency OPERATOR(infra_monitor.<>) s.latency) AS wrong
FROM infra_monitor.samples_daily d JOIN (
	SELECT date_trunc('day', sampled_at) AS begins_at, count(*) AS samples, avg(used_connections::float8) AS used, avg(used_ratio) AS ratio,
		avg(coalesce(avg_active, active)) AS active, max(cpu_ratio) AS cpu_max, sum(commits) AS commits, infra_monitor.sum(latency) AS latency
	FROM infra_monitor.samples WHERE sampled_at < '2000-03-01' GROUP BY 1) s USING (begins_at);

-- statements, with one row for all others
SELECT samples, userid, usename, queryid, calls, exec_time, rows, failures, failed_time, shared_blks_read, known_calls
FROM infra_monitor.statement_samples_hourly WHERE begins_at = '2000-01-30 01:00' ORDER BY userid;
SELECT samples, userid, calls, rows, known_calls FROM infra_monitor.statement_samples_daily WHERE begins_at = '2000-01-30' ORDER BY userid;
SELECT * FROM infra_monitor.wait_samples_hourly
WHERE begins_at IN ('2000-01-30 01:00', '2000-01-31 20:00') ORDER BY begins_at, wait_event, queryid;
SELECT samples, looks, sum(observations) FROM infra_monitor.wait_samples_daily WHERE begins_at < '2000-03-01' GROUP BY begins_at, samples, looks
ORDER BY begins_at;

-- fewer rows than statements: the sums stay, and so does who comes first by something
SELECT m.userid, m.samples, m.calls, m.exec_time, m.failures FROM infra_monitor.merged_statements('2000-01-30', '2000-01-31', false, 2) m ORDER BY 1;
SELECT n, sum(m.calls) AS calls, sum(m.exec_time)::numeric AS exec_time, sum(m.failures) AS failures, sum(m.rows) AS rows, sum(m.known_calls) AS known_calls,
	infra_monitor.quantile(infra_monitor.sum(m.latency), 0.95) AS p95, max(m.samples) FILTER (WHERE m.userid IS NULL) AS samples
FROM generate_series(0, 6, 2) n, LATERAL infra_monitor.merged_statements('2000-01-30', '2000-01-31', n % 4 = 0, n) m GROUP BY n ORDER BY n;
SELECT count(*), min(m.userid) AS by_failures FROM infra_monitor.merged_statements('2000-01-30', '2000-01-31', false, 0) m;

-- texts of the month, in which each statement has one
SELECT * FROM infra_monitor.statement_texts_monthly WHERE first_seen < '2000-03-01' ORDER BY first_seen, queryid;

--
-- readers: the same results as from samples
--
SELECT b.step, string_agg(DISTINCT a.grain, ' ') AS grains, count(*) AS buckets, count(*) FILTER (WHERE a IS DISTINCT FROM b
	AND (a.bucket, a.used_avg, a.used_max, a.waiting_max, a.idle_in_transaction_max, a.rejected, a.connects)
		IS DISTINCT FROM (b.bucket, b.used_avg, b.used_max, b.waiting_max, b.idle_in_transaction_max, b.rejected, b.connects)
	OR abs(a.active_avg - b.active_avg) > 1e-12) AS wrong
FROM pool_before b FULL JOIN (SELECT s.step, h.* FROM unnest('{1 hour,3 hours,1 day,2 days,7 days}'::interval[]) s (step),
	LATERAL infra_monitor.pool_history('2000-01-30 00:07', '2000-02-01 12:30', s.step) h) a ON a.step = b.step AND a.bucket = b.bucket
GROUP BY b.step ORDER BY 1;
SELECT b.step, string_agg(DISTINCT a.grain, ' ') AS grains, count(*) AS buckets, count(*) FILTER (WHERE
	(a.bucket, a.calls, a.exec_time, a.p50_time, a.p95_time, a.p99_time, a.rows, a.failures, a.failed_time, a.shared_blks_read, a.wal_bytes)
	IS DISTINCT FROM (b.bucket, b.calls, b.exec_time, b.p50_time, b.p95_time, b.p99_time, b.rows, b.failures, b.failed_time, b.shared_blks_read, b.wal_bytes)) AS wrong
FROM statement_before b FULL JOIN (SELECT s.step, h.* FROM unnest('{1 hour,3 hours,1 day,2 days,7 days}'::interval[]) s (step),
	LATERAL infra_monitor.statement_history(103, '2000-01-30 00:07', '2000-02-01 12:30', s.step) h) a ON a.step = b.step AND a.bucket = b.bucket
GROUP BY b.step ORDER BY 1;
SELECT b.step, string_agg(DISTINCT a.grain, ' ') AS grains, count(*) AS rows, count(*) FILTER (WHERE a.active_avg IS DISTINCT FROM b.active_avg) AS wrong
FROM waits_before b FULL JOIN (SELECT s.step, h.* FROM unnest('{1 hour,3 hours,1 day,2 days,7 days}'::interval[]) s (step),
	LATERAL infra_monitor.wait_history('2000-01-30 00:07', '2000-02-01 12:30', s.step) h) a
	ON a.step = b.step AND a.bucket = b.bucket AND a.wait_event IS NOT DISTINCT FROM b.wait_event
GROUP BY b.step ORDER BY 1;
(SELECT * FROM top_before EXCEPT ALL SELECT o, t.* FROM (SELECT DISTINCT order_by FROM top_before) b (o),
	LATERAL infra_monitor.top_statements('2000-01-30 00:07', '2000-02-01 12:30', o, 3) t)
UNION ALL
(SELECT o, t.* FROM (SELECT DISTINCT order_by FROM top_before) b (o),
	LATERAL infra_monitor.top_statements('2000-01-30 00:07', '2000-02-01 12:30', o, 3) t EXCEPT ALL SELECT * FROM top_before);
SELECT * FROM between_before EXCEPT ALL SELECT b.* FROM infra_monitor.statements_between('2000-01-30 00:07', '2000-02-01 12:30', '1 hour') b;
SELECT * FROM between_before EXCEPT ALL SELECT b.* FROM infra_monitor.statements_between('2000-01-30 00:07', '2000-02-01 12:30', '1 day') b;

-- from where they read
SELECT * FROM infra_monitor.history_grains('samples', '2000-01-30 00:07', '2000-02-01 12:30', '10 minutes');
SELECT * FROM infra_monitor.history_grains('samples', '2000-01-30 00:07', '2000-02-01 12:30', '1 hour');
SELECT * FROM infra_monitor.history_grains('samples', '2000-01-30 00:07', '2000-02-01 12:30', '1 day');
SELECT * FROM infra_monitor.history_grains('samples', '2000-01-30', '2000-02-01', '7 days');
SELECT * FROM infra_monitor.history_grains('samples', '2000-01-30 10:10', '2000-01-30 10:50', '1 hour');
SELECT * FROM infra_monitor.history_grains('samples', '2000-01-30 10:10', '2000-01-30 13:00', '90 minutes');
SELECT * FROM infra_monitor.history_grains('health_events', '2000-01-30', '2000-02-01', '1 hour');

-- only partitions in question are read: an hour of rollups in the middle, samples at the ends
CREATE TEMP TABLE scans_before AS SELECT relid, seq_scan + coalesce(idx_scan, 0) AS scans FROM pg_stat_xact_user_tables;
SELECT sum(calls) FROM infra_monitor.top_statements('2000-01-31 09:50', '2000-01-31 11:10');
SELECT t.relname FROM pg_stat_xact_user_tables t LEFT JOIN scans_before b USING (relid)
WHERE t.seq_scan + coalesce(t.idx_scan, 0) > coalesce(b.scans, 0) AND t.relname ~ '^(statement_samples.*_2000|made_up_statements)' ORDER BY 1;

--
-- when the samples of a day are gone, hours are the finest that is left
--
TRUNCATE infra_monitor.made_up_samples_1, infra_monitor.made_up_statements_1;
SELECT * FROM infra_monitor.history_grains('samples', '2000-01-30 00:07', '2000-02-01 12:30', '10 minutes');
SELECT * FROM infra_monitor.history_grains('samples', '2000-01-30 13:10', '2000-01-30 13:50', '1 minute');
SELECT * FROM infra_monitor.history_grains('samples', '2000-01-30 13:10', '2000-01-30 15:10', '1 hour');
SELECT * FROM infra_monitor.history_grains('samples', '2000-01-30 13:10', '2000-01-31 10:00', '90 minutes');
SELECT bucket, used_max, grain FROM infra_monitor.pool_history('2000-01-30 22:10', '2000-01-31 00:25', '10 minutes');
SELECT bucket, calls, grain FROM infra_monitor.statement_history(103, '2000-01-30 22:10', '2000-01-31 00:25', '10 minutes');
SELECT bucket, used_max, grain FROM infra_monitor.pool_history('2000-01-30 22:10', '2000-01-31 02:25', '90 minutes');
SELECT count(*) AS buckets, string_agg(DISTINCT grain, ' ') AS grains FROM infra_monitor.pool_history('2000-01-30 10:00', '2000-01-30 13:00', '1 minute');

-- and then days
DELETE FROM infra_monitor.samples_hourly WHERE begins_at < '2000-01-31';
SELECT bucket, used_max, grain FROM infra_monitor.pool_history('2000-01-30 22:10', '2000-01-31 00:25', '10 minutes');
SELECT bucket, used_max, grain FROM infra_monitor.pool_history('2000-01-30 22:10', '2000-02-01 02:25', '1 day');

-- samples of a clock that was set back, in an hour that was done: not twice
INSERT INTO infra_monitor.statement_samples
SELECT '2000-02-01 10:17:00', 3, 1, 5, 'user1', 'work', 101, true, 1000, 1, NULL, 0, 0, NULL, NULL, NULL, NULL, infra_monitor.histogram(ARRAY[1]);
SELECT infra_monitor.roll_up('2000-02-01 12:40') AS done;
SELECT calls, grain FROM infra_monitor.statement_history(101, '2000-02-01 10:00', '2000-02-01 11:00', '1 hour');
SELECT sum(calls) AS calls, max(grain) AS grain FROM infra_monitor.statement_history(101, '2000-02-01 10:00', '2000-02-01 11:00', '1 minute');

-- errors
SELECT * FROM infra_monitor.pool_history('2000-01-01', '2000-01-30');
SELECT * FROM infra_monitor.statement_history(1, '2000-01-01', '2000-01-30');
SELECT * FROM infra_monitor.top_statements('2000-01-01', '2000-01-30');
SELECT * FROM infra_monitor.wait_history('2000-01-01', '2000-01-30');
SELECT * FROM infra_monitor.query_regressions('2000-01-01', '2000-01-30', '2000-01-30', '2000-01-31');
SELECT * FROM infra_monitor.wait_history(now() + interval '1 hour', now() + interval '2 hours');
ROLLBACK;
