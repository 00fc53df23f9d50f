--
-- What the tables of the history take
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS infra_monitor CASCADE;
RESET client_min_messages;

-- days are those by UTC, whoever asks
SET TimeZone = 'Asia/Tokyo';

-- yesterday, in a table that nobody writes to here; half a day of it
DO $$
DECLARE
	day timestamptz := date_trunc('day', now(), 'UTC') - interval '1 day';
	name text := 'slow_query_samples_' || to_char(day AT TIME ZONE 'UTC', 'YYYYMMDD');
BEGIN
	EXECUTE format('CREATE TABLE infra_monitor.%I (LIKE infra_monitor.slow_query_samples INCLUDING DEFAULTS)'
		-- sizes shall not change while we look
		' WITH (autovacuum_enabled = off)', name);
	EXECUTE format('ALTER TABLE infra_monitor.slow_query_samples ATTACH PARTITION infra_monitor.%I FOR VALUES FROM (%L) TO (%L)',
		name, day, day + interval '1 day');
	EXECUTE format('ALTER EXTENSION infra_monitor ADD TABLE infra_monitor.%I', name);
	INSERT INTO infra_monitor.slow_query_samples
	SELECT r.* FROM generate_series(0, 199) i, jsonb_populate_record(NULL::infra_monitor.slow_query_samples,
		(SELECT jsonb_object_agg(a.attname, CASE a.atttypid WHEN 'text'::regtype THEN '"x"'::jsonb WHEN 'timestamptz'::regtype THEN to_jsonb(day)
			WHEN 'boolean'::regtype THEN 'true' ELSE '1' END)
			FROM pg_attribute a WHERE a.attrelid = 'infra_monitor.slow_query_samples'::regclass AND a.attnum > 0 AND a.attnotnull)
		|| jsonb_build_object('sampled_at', day + interval '12 hours' + i * interval '1 second')) r;
	EXECUTE format('ANALYZE infra_monitor.%I', name);
	PERFORM set_config('regress.partition', name, false);
END $$;
-- readers of 19 and later make what this makes
SELECT current_setting('regress.partition') AS partition \gset
VACUUM infra_monitor.:"partition";

SELECT estimated_rows, bytes = (SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'infra_monitor.slow_query_samples'::regclass) AS bytes,
	partitions = (SELECT count(*) FROM pg_inherits WHERE inhparent = 'infra_monitor.slow_query_samples'::regclass) AS partitions,
	oldest = date_trunc('day', now(), 'UTC') - interval '12 hours' AS oldest,
	newest = date_trunc('day', now(), 'UTC') - interval '12 hours' + interval '199 seconds' AS newest,
	kept = '7 days' AS kept, next_removal = date_trunc('day', now(), 'UTC') + interval '7 days' AS next_removal,
	abs(bytes_per_day - pg_total_relation_size(('infra_monitor.' || current_setting('regress.partition'))::regclass)
		/ (extract(epoch FROM now() - oldest)::float8 / 86400)) <= 1 AS bytes_per_day,
	abs(forecast_bytes - 8 * bytes_per_day) <= 8 AS forecast
FROM infra_monitor.history_storage WHERE history = 'slow_query_samples';

-- all tables are there, also those without a rate of their own
SELECT string_agg(c.relname, ', ') AS missing FROM pg_class c
WHERE c.relnamespace = 'infra_monitor'::regnamespace AND c.relkind = 'p'
	AND EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid)
	AND c.relname NOT IN (SELECT history FROM infra_monitor.history_storage);
SELECT sum(s.bytes) = infra_monitor.history_bytes() AS all_bytes, sum(s.forecast_bytes) = max(f.bytes) AS forecast,
	sum(s.bytes_per_day) = max(f.bytes_per_day) AS bytes_per_day, max(f.full_at) AS full_at
FROM infra_monitor.history_storage s, infra_monitor.history_forecast() f;
SELECT forecast_bytes > 0 AS forecast, storage_full_at FROM infra_monitor.sampler_status;

-- rows of the last pages may be gone, and those of all pages
BEGIN;
DO $$ BEGIN EXECUTE format('DELETE FROM infra_monitor.%I WHERE ctid >= ''(1,0)''', current_setting('regress.partition')); END $$;
SELECT s.first = date_trunc('day', now(), 'UTC') - interval '12 hours' AS first, s.last BETWEEN s.first AND s.first + interval '3 minutes' AS last
FROM infra_monitor.history_span(('infra_monitor.' || current_setting('regress.partition'))::regclass) s;
DO $$ BEGIN EXECUTE format('DELETE FROM infra_monitor.%I', current_setting('regress.partition')); END $$;
SELECT * FROM infra_monitor.history_span(('infra_monitor.' || current_setting('regress.partition'))::regclass);
ROLLBACK;

-- of other tables it says nothing
CREATE TABLE regress_moments (at timestamptz) PARTITION BY RANGE (at);
CREATE TABLE regress_moments_1 PARTITION OF regress_moments FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO regress_moments VALUES ('2026-01-31');
SELECT n, s.first, s.last
FROM unnest('{regress_moments_1, regress_moments, pg_class, infra_monitor.samples, infra_monitor.health_state, infra_monitor.samples_sampled_at_idx}'::text[]) n,
	infra_monitor.history_span(n::regclass) s;
SELECT * FROM infra_monitor.history_span(0);
DROP TABLE regress_moments;

-- to leave all as it was
DO $$ BEGIN
	EXECUTE format('ALTER EXTENSION infra_monitor DROP TABLE infra_monitor.%I', current_setting('regress.partition'));
	EXECUTE format('DROP TABLE infra_monitor.%I', current_setting('regress.partition'));
END $$;
