--
-- Objectives: slo_targets, slo_status
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS infra_monitor CASCADE;
RESET client_min_messages;
SET timezone = 'UTC';
SET intervalstyle = postgres;
\set VERBOSITY terse

--
-- fraction(), the reverse of quantile()
--
SELECT d, infra_monitor.fraction(infra_monitor.histogram('{1,2,3,4,5,6,7,8,9,10}'::float8[]), d) AS fraction
FROM unnest('{0,0.5,1,2,5,9.99,10,100,Infinity}'::float8[]) d;
SELECT q, abs(infra_monitor.fraction(h, infra_monitor.quantile(h, q)) - q) < 1e-9 AS same
FROM infra_monitor.histogram((SELECT array_agg(i * 1.7) FROM generate_series(1, 1000) i)) h,
	unnest('{0.01,0.5,0.95,0.999}'::float8[]) q;
SELECT infra_monitor.fraction(infra_monitor.histogram('{}'::float8[]), 1) AS nothing,
	infra_monitor.fraction(infra_monitor.histogram('{0.0001,20000000}'::float8[]), 0.001) AS shortest,
	infra_monitor.fraction(infra_monitor.histogram('{0.0001,20000000}'::float8[]), 1e12) AS longest;
SELECT infra_monitor.fraction(infra_monitor.histogram('{1}'::float8[]), 'NaN');

--
-- targets
--
SELECT * FROM infra_monitor.slo_targets ORDER BY name;
INSERT INTO infra_monitor.slo_target_overrides (name, target, period) VALUES ('availability', 0.999, '7 days');
INSERT INTO infra_monitor.slo_target_overrides (name, kind, target, threshold_time) VALUES ('fast pages', 'latency', 0.5, 100);
INSERT INTO infra_monitor.slo_target_overrides (name, enabled) VALUES ('latency', false);
SELECT * FROM infra_monitor.slo_targets ORDER BY name;

-- what is refused
INSERT INTO infra_monitor.slo_target_overrides (name) VALUES ('incomplete');
INSERT INTO infra_monitor.slo_target_overrides (name, kind, target) VALUES ('incomplete', 'latency', 0.9);
INSERT INTO infra_monitor.slo_target_overrides (name, kind, target) VALUES ('of another kind', 'beauty', 0.9);
INSERT INTO infra_monitor.slo_target_overrides (name, kind, target) VALUES ('always', 'availability', 1);
UPDATE infra_monitor.slo_target_overrides SET kind = 'latency' WHERE name = 'availability';
UPDATE infra_monitor.slo_target_overrides SET period = '0' WHERE name = 'availability';
UPDATE infra_monitor.slo_target_overrides SET period = '1000 years' WHERE name = 'availability';
UPDATE infra_monitor.slo_target_overrides SET target = 'NaN' WHERE name = 'availability';
UPDATE infra_monitor.slo_target_overrides SET threshold_time = 'NaN' WHERE name = 'fast pages';
DELETE FROM infra_monitor.slo_target_overrides;

--
-- status, of days that are made up
--
CREATE FUNCTION pg_temp.sample(at timestamptz, health_status text, latency infra_monitor.histogram DEFAULT NULL)
RETURNS void LANGUAGE sql AS $$
INSERT INTO infra_monitor.samples (sampled_at, epoch, status, max_connections, reserved_connections, used_connections,
	available_connections, used_ratio, active, idle, idle_in_transaction, waiting, peak_connections, peak_at, connects_total,
	disconnects_total, rejected_total, auth_failures_total, stats_reset, authenticating, health_status, latency, collect_time, sample_interval)
VALUES (at, 0, 'ok', 23, 3, 1, 19, 0, 0, 0, 0, 0, 1, at, 0, 0, 0, 0, at, 0, health_status, latency, 0, '15 seconds')
$$;
CREATE TABLE regress_days PARTITION OF infra_monitor.samples FOR VALUES FROM ('2021-02-01') TO ('2021-03-01');
CREATE FUNCTION pg_temp.status(at timestamptz, OUT name text, OUT period interval, OUT attained numeric,
	OUT error_budget_left numeric, OUT burn_rate numeric, OUT known_since timestamptz)
RETURNS SETOF record LANGUAGE sql AS $$
SELECT name, period, round(attained::numeric, 6), round(error_budget_left::numeric, 3), round(burn_rate::numeric, 3), known_since
FROM infra_monitor.slo_status_at(at)
$$;

-- nothing is known, and that is neither good nor bad
SELECT * FROM pg_temp.status('2021-02-10 12:00');

-- an hour in which all is well: four samples a minute, each with executions of
-- 1 ms, and one in a hundred of 3 s
SELECT count(*)
FROM generate_series('2021-02-10 11:00'::timestamptz, '2021-02-10 11:59:45', '15 seconds') t,
	pg_temp.sample(t, 'healthy', infra_monitor.histogram(array_fill(1::float8, ARRAY[99]) || 3000::float8));
SELECT * FROM pg_temp.status('2021-02-10 12:00');

-- degraded is available, unhealthy is not: 6 minutes of the hour
UPDATE infra_monitor.samples SET health_status = 'degraded' WHERE sampled_at >= '2021-02-10 11:10' AND sampled_at < '2021-02-10 11:20';
UPDATE infra_monitor.samples SET health_status = 'unhealthy' WHERE sampled_at >= '2021-02-10 11:30' AND sampled_at < '2021-02-10 11:36';
SELECT name, period, attained FROM pg_temp.status('2021-02-10 12:00') WHERE name = 'availability';

-- and neither is a gap: 3 more minutes, but for the 15 seconds that the sample
-- before it speaks for; one sample that is missing is no gap
DELETE FROM infra_monitor.samples WHERE sampled_at > '2021-02-10 11:40' AND sampled_at < '2021-02-10 11:43';
DELETE FROM infra_monitor.samples WHERE sampled_at = '2021-02-10 11:50:15';
SELECT name, period, attained FROM pg_temp.status('2021-02-10 12:00') WHERE name = 'availability' AND period < '1 day';
SELECT available, unavailable FROM infra_monitor.availability('{2021-02-10 11:00}', '2021-02-10 12:00');

-- a window that begins within a gap, or within what a sample speaks for
SELECT window_start, known_since, available, unavailable
FROM infra_monitor.availability('{2021-02-10 11:42,2021-02-10 11:39:05,2021-02-10 12:30}', '2021-02-10 12:00') ORDER BY 1;

-- nobody has looked for a day
SELECT period, attained, burn_rate FROM pg_temp.status('2021-02-11 12:00') WHERE name = 'availability';

-- one in two must be fast, and is; of one in ten thousand less could be slow
INSERT INTO infra_monitor.slo_target_overrides (name, kind, target, threshold_time) VALUES ('fast pages', 'latency', 0.5, 1),
	('hardly ever slow', 'latency', 0.9999, 2000);
SELECT * FROM pg_temp.status('2021-02-10 12:00') WHERE name NOT IN ('availability', 'latency') AND period < '1 day';
DELETE FROM infra_monitor.slo_target_overrides;

-- from hours and days it is the same, in the span of an hour or a day that is not whole, and for longer; the
-- sampler rolls up nothing meanwhile, nor has, as it does when an hour ends
BEGIN;
LOCK TABLE infra_monitor.samples_hourly, infra_monitor.samples_daily IN SHARE ROW EXCLUSIVE MODE;
DELETE FROM infra_monitor.samples_hourly;
DELETE FROM infra_monitor.samples_daily;
SELECT infra_monitor.sum(latency)::jsonb AS latency FROM regress_days \gset
CREATE TEMP TABLE before AS
SELECT a.at, s.* FROM unnest('{2021-02-10 12:00,2021-02-10 12:30,2021-02-11 00:00,2021-02-11 12:00}'::timestamptz[]) a (at), pg_temp.status(a.at) s;
CREATE TABLE regress_hours PARTITION OF infra_monitor.samples_hourly FOR VALUES FROM ('2021-02-01') TO ('2021-03-01');
CREATE TABLE regress_rolled_days PARTITION OF infra_monitor.samples_daily FOR VALUES FROM ('2021-02-01') TO ('2021-03-01');
SELECT count(infra_monitor.roll_up_samples(h, h + interval '1 hour') IS NULL) FROM generate_series('2021-02-10 00:00'::timestamptz, '2021-02-10 23:00', '1 hour') h;
SELECT begins_at, samples, available_time FROM infra_monitor.samples_hourly;
SELECT a.at, s.* FROM (SELECT DISTINCT at FROM before) a, pg_temp.status(a.at) s EXCEPT SELECT * FROM before ORDER BY at, name, period;
SELECT infra_monitor.roll_up_sample_hours('2021-02-10', '2021-02-11');
SELECT begins_at, samples, available_time, latency::jsonb = :'latency' AS same FROM infra_monitor.samples_daily;
SELECT a.at, s.* FROM (SELECT DISTINCT at FROM before) a, pg_temp.status(a.at) s EXCEPT SELECT * FROM before ORDER BY at, name, period;
-- without the samples, of an hour that is half in the span all is read; and of one that has no row, nothing is known
TRUNCATE regress_days;
SELECT a.at, s.* FROM (SELECT DISTINCT at FROM before) a, pg_temp.status(a.at) s EXCEPT SELECT * FROM before ORDER BY at, name, period;
ROLLBACK;

-- the view is about now
SELECT name, period, kind, target, threshold_time FROM infra_monitor.slo_status ORDER BY name, period;
DROP TABLE regress_days;
