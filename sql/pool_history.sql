--
-- History of the pool: pool_history(), pool_chart()
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS infra_monitor CASCADE;
RESET client_min_messages;
SET timezone = 'UTC';
SET intervalstyle = postgres;

-- a sample as the sampler would have stored it; what nothing here reads is zero
CREATE FUNCTION pg_temp.sample(at timestamptz, used int, waiting int DEFAULT 0, idle_in_transaction int DEFAULT 0,
	connects bigint DEFAULT 0, rejected bigint DEFAULT 0, active int DEFAULT 0, avg_active float8 DEFAULT NULL, most int DEFAULT 20)
RETURNS void LANGUAGE sql AS $$
INSERT INTO infra_monitor.samples (sampled_at, epoch, status, max_connections, reserved_connections, used_connections,
	available_connections, used_ratio, active, idle, idle_in_transaction, waiting, peak_connections, peak_at, connects_total,
	disconnects_total, rejected_total, auth_failures_total, stats_reset, authenticating, connects, rejected, avg_active, collect_time)
VALUES (at, 0, 'ok', most + 3, 3, used, most - used, used::float8 / most, active, 0, idle_in_transaction, waiting, used, at, 0,
	0, 0, 0, at, 0, connects, rejected, avg_active, 0)
$$;
-- nothing of it is committed: the sampler would roll it up
\set ON_ERROR_ROLLBACK on
BEGIN;
CREATE TABLE regress_days PARTITION OF infra_monitor.samples FOR VALUES FROM ('2021-02-01') TO ('2021-03-01');
CREATE TABLE regress_more_days PARTITION OF infra_monitor.samples FOR VALUES FROM ('2021-03-01') TO ('2021-04-01');

--
-- pool_history()
--
SELECT pg_temp.sample('2021-02-03 10:00:00', 4, 0, 1, 7, 0, 2, 1.5);
SELECT pg_temp.sample('2021-02-03 10:00:20', 9, 3, 0, 2, 5, 4, 2.5);
SELECT pg_temp.sample('2021-02-03 10:00:40', 5, 1, 2, NULL, NULL, 3);
SELECT pg_temp.sample('2021-02-03 10:02:59.999999', 6, 0, 0, NULL, NULL, 1);
SELECT pg_temp.sample('2021-02-03 10:03:00', 0);

-- by the minute: what is not known is NULL, and a minute without samples is absent
SELECT * FROM infra_monitor.pool_history('2021-02-03 10:00', '2021-02-03 10:04', '1 minute');

-- since is in, until is not
SELECT * FROM infra_monitor.pool_history('2021-02-03 10:00:20', '2021-02-03 10:03', '1 minute');
SELECT count(*) FROM infra_monitor.pool_history('2021-02-03 10:00', '2021-02-03 10:00', '1 minute');

-- buckets stand still, wherever the span begins; the days are those of UTC
SET timezone = 'Asia/Kolkata';
SELECT bucket AT TIME ZONE 'UTC' AS bucket, used_avg, grain
FROM infra_monitor.pool_history('2021-02-03 10:00:01+00', '2021-02-03 10:04+00', '1 day');
SELECT bucket AT TIME ZONE 'UTC' AS bucket, used_avg, grain
FROM infra_monitor.pool_history('2021-02-01 00:00+00', '2021-02-28 10:04+00', '7 days');
SET timezone = 'UTC';
SELECT bucket, used_max, grain FROM infra_monitor.pool_history('2021-02-03 10:00', '2021-02-03 10:04', '17 seconds');

-- until now, unless said otherwise; the step is chosen
SELECT max(used_max) FROM infra_monitor.pool_history('2021-02-03 10:00') WHERE bucket < '2021-03-01';
SELECT bucket, used_max, grain FROM infra_monitor.pool_history('2021-02-03 00:00', '2021-02-04 00:00');

-- the same with what the other partition has
SELECT pg_temp.sample('2021-03-01 00:00:00', 8);
SELECT bucket, used_max, grain FROM infra_monitor.pool_history('2021-02-02', '2021-03-05');

-- reads no partition that it need not; the first one to see what is kept
TRUNCATE regress_more_days;
CREATE TABLE regress_last_days PARTITION OF infra_monitor.samples FOR VALUES FROM ('2021-04-01') TO ('2021-05-01');
CREATE TEMP TABLE scans_before AS
SELECT relid, seq_scan + coalesce(idx_scan, 0) AS scans FROM pg_stat_xact_user_tables;
SELECT count(*) FROM infra_monitor.pool_history('2021-03-03', '2021-03-04');
SELECT t.relname FROM pg_stat_xact_user_tables t
	JOIN pg_inherits i ON i.inhrelid = t.relid AND i.inhparent = 'infra_monitor.samples'::regclass
	LEFT JOIN scans_before b USING (relid)
WHERE t.seq_scan + coalesce(t.idx_scan, 0) > coalesce(b.scans, 0)
ORDER BY 1;

-- steps that are chosen: 300 buckets at most, but no shorter than a second
SELECT s AS span, infra_monitor.history_step('2021-01-01', timestamptz '2021-01-01' + s, NULL) AS step
FROM unnest('{0,1 second,299 seconds,300 seconds,1 hour,1 day,7 days,30 days,299 days,301 days,10 years,4000 years}'::interval[]) s;
SELECT bool_and(extract(epoch FROM make_interval(secs => s)) / extract(epoch FROM infra_monitor.history_step(
	'2021-01-01', timestamptz '2021-01-01' + make_interval(secs => s), NULL)) < 300) AS ok
FROM generate_series(1, 100000000, 9999) s;

-- a time of which nothing is kept
SELECT * FROM infra_monitor.pool_history('2021-02-02', '2021-02-03 10:00');
SELECT count(*) FROM infra_monitor.pool_history(now() + interval '1 day', now() + interval '2 days');

-- arguments that make no sense
SELECT * FROM infra_monitor.pool_history('2021-02-03', '2021-02-02');
SELECT * FROM infra_monitor.pool_history('-infinity', '2021-02-02');
SELECT * FROM infra_monitor.pool_history('2021-02-03', 'infinity');
SELECT * FROM infra_monitor.pool_history(NULL, '2021-02-02');
SELECT * FROM infra_monitor.pool_history('2021-02-03', NULL);
SELECT * FROM infra_monitor.pool_history('2021-02-03', '2021-02-04', '0');
SELECT * FROM infra_monitor.pool_history('2021-02-03', '2021-02-04', '-1 hour');
SELECT * FROM infra_monitor.pool_history('2021-02-03', '2021-02-04', '-1 day 1 hour');
SELECT * FROM infra_monitor.pool_history('2021-02-03', '2021-02-04', '1 month');
SELECT * FROM infra_monitor.pool_history('2021-02-03', '2021-02-04', '0.1 seconds');
SELECT * FROM infra_monitor.pool_history('2021-02-03', '2021-02-04', '2000000000 days 2562047788 hours');
SELECT * FROM infra_monitor.pool_history('2021-02-03', '2021-02-04', '-2000000000 days');
SELECT * FROM infra_monitor.pool_history('4713-01-01 BC', '294276-01-01', '1 microsecond');
SELECT count(*) FROM infra_monitor.pool_history('2021-02-03', '2021-02-03 10:00:00.1', '0.361 seconds');

--
-- pool_chart()
--
TRUNCATE regress_days;

-- six hours of a pool that fills up: then clients are refused, nothing is known
-- for half an hour, and the rest is quiet
SELECT count(*) AS samples
FROM (SELECT at, CASE
		WHEN at < '2021-02-03 11:00' THEN 3 + (extract(minute FROM at)::int / 5) % 2
		WHEN at < '2021-02-03 13:00' THEN 4 + extract(epoch FROM at - '2021-02-03 11:00')::int / 420
		WHEN at < '2021-02-03 13:20' THEN 22
		WHEN at < '2021-02-03 14:10' THEN 20
		WHEN at < '2021-02-03 14:40' THEN NULL
		WHEN at < '2021-02-03 15:10' THEN 0
		ELSE 2 END AS used
	FROM generate_series(timestamptz '2021-02-03 10:00', '2021-02-03 15:59', '1 minute') at) s,
	LATERAL pg_temp.sample(at, used, rejected => greatest(used - 20, 0))
WHERE used IS NOT NULL;
SELECT infra_monitor.pool_chart('6 hours', until => '2021-02-03 16:00');

-- smaller; until is somewhere in the last column
SELECT infra_monitor.pool_chart('90 minutes', 30, 3, '2021-02-03 13:31:30');

-- days
SELECT infra_monitor.pool_chart('7 days', 70, 5, '2021-02-05');

-- more columns than samples
SELECT infra_monitor.pool_chart('10 minutes', 40, 2, '2021-02-03 13:05');

-- the limit is that of the time
SELECT pg_temp.sample('2021-03-02 10:00', 3, most => 7);
SELECT infra_monitor.pool_chart('1 day', 24, 10, '2021-03-02 20:00');

-- more rows than connections
SELECT pg_temp.sample('2021-03-03 10:00', 2, most => 2);
SELECT infra_monitor.pool_chart('1 hour', 0, 5, '2021-03-03 10:30');
SELECT infra_monitor.pool_chart('1 hour', 10, 0, '2021-03-03 10:30');

-- nothing is known; the limit is that of now
CREATE FUNCTION pg_temp.anonymous(line text) RETURNS text LANGUAGE sql AS
	$$ SELECT replace($1, (current_setting('max_connections')::int - 3)::text, 'NN') $$;
SELECT pg_temp.anonymous(c) FROM infra_monitor.pool_chart('1 hour', 24, 1, '2021-03-09 10:30') c;
SELECT pg_temp.anonymous(c) FROM infra_monitor.pool_chart('-1 hour', 24, 1, '2021-02-03 13:00') c;
SELECT count(*) FROM infra_monitor.pool_chart(NULL);

-- the last hour by default; bounds
SELECT count(*) AS lines, bool_and(c ~ '^[ -~]{10,100}$') AS ok FROM infra_monitor.pool_chart() c;
SELECT count(*) AS lines, max(length(c)) AS width FROM infra_monitor.pool_chart('1 day', 1000, 1000, '2021-02-04') c;

ROLLBACK;
