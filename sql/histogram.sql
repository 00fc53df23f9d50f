--
-- The type histogram
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS infra_monitor CASCADE;
RESET client_min_messages;
SET search_path = infra_monitor, public;

-- the bounds: R20 in ten decades, worked out here once more
CREATE TEMP TABLE bounds AS
SELECT row_number() OVER (ORDER BY ns) - 1 AS bucket, ns
FROM (SELECT (m * 1000 * 10.0 ^ decade)::bigint AS ns
	FROM generate_series(0, 9) decade,
		unnest('{1, 1.12, 1.25, 1.4, 1.6, 1.8, 2, 2.24, 2.5, 2.8, 3.15, 3.55, 4, 4.5, 5, 5.6, 6.3, 7.1, 8, 9}'::numeric[]) m
	UNION ALL SELECT 10000000000000) b;
SELECT count(*), min(ns), max(ns) FROM bounds;
CREATE FUNCTION pg_temp.of_ns(VARIADIC ns bigint[]) RETURNS histogram LANGUAGE sql AS
	'SELECT infra_monitor.histogram(array_agg(n / 1e6::float8)) FROM unnest(ns) n';
-- the bucket that has the only observation
CREATE FUNCTION pg_temp.bucket(h histogram) RETURNS bigint LANGUAGE sql AS
	'SELECT count(*) FROM infra_monitor.buckets(h) WHERE cumulative = 0';

-- a bound belongs to its bucket, one nanosecond more to the next one
SELECT ns AS wrong, pg_temp.bucket(pg_temp.of_ns(ns - 1)) AS less, pg_temp.bucket(pg_temp.of_ns(ns)) AS bound,
	pg_temp.bucket(pg_temp.of_ns(ns + 1)) AS more
FROM bounds
WHERE (pg_temp.bucket(pg_temp.of_ns(ns - 1)), pg_temp.bucket(pg_temp.of_ns(ns)), pg_temp.bucket(pg_temp.of_ns(ns + 1)))
	<> (bucket, bucket, bucket + 1);
-- and so do all powers of two and their neighbours, and the borders of what a power is divided into
SELECT count(*) AS tried, count(*) FILTER (WHERE pg_temp.bucket(pg_temp.of_ns(v)) <> (SELECT count(*) FROM bounds WHERE ns < v)) AS wrong
FROM (SELECT (2 ^ power + cell * 2 ^ (power - 4))::bigint + d AS v
	FROM generate_series(4, 46) power, generate_series(0, 15) cell, generate_series(-1, 1) d) t;
-- the bounds that buckets() shows
SELECT count(*) AS buckets, count(*) FILTER (WHERE le_seconds = coalesce(ns / 1e9::float8, 'Infinity')) AS as_expected
FROM buckets('{}') WITH ORDINALITY b (le_seconds, cumulative, n) LEFT JOIN bounds ON bucket = n - 1;
-- none is wider than the error bound says
SELECT max(round(ns / below - 1, 6)) AS widest
FROM (SELECT ns::numeric, lag(ns) OVER (ORDER BY ns) AS below FROM bounds) b;

--
-- text
--
SELECT histogram(ARRAY[]::float8[]), histogram(ARRAY[1.12]), histogram(ARRAY[0.00112, 0.00113, 3.15, 3.151, 1e7, 1.1e7]);
SELECT histogram(ARRAY[0, -0.0, 1e-300, 0.001, 1e300, 'Infinity', NULL]), histogram(NULL::float8[]);
SELECT histogram(ARRAY[[1, 2], [3, 4]]::float8[]);
SELECT string_agg(pg_temp.of_ns(ns)::text, ' ' ORDER BY ns) FROM bounds;
-- round trip of each bucket
SELECT count(*) AS wrong FROM bounds
WHERE pg_temp.of_ns(ns)::text::histogram <> pg_temp.of_ns(ns);
SELECT string_agg(t || ' -> ' || t::histogram, E'\n') FROM unnest(ARRAY['{}', ' { } ', '{1ms:1}', '{ +Inf : 7 , 1us : 3 }',
	'{1000us:1}', '{0.001s:1}', '{001.000ms:1}', '{1.ms:1}', '{.001s:01}', '{1ms:0}', '{1us:0,1ms:2,5s:0}', '{+INF:2.0}',
	E'{\t1ms\n:\r1}', '{10000s:1}', '{10000000ms:1,0.00000112s:1}', '{5s:9223372036854775807}']) t;

-- what is refused
CREATE FUNCTION pg_temp.try(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
	detail text;
	message text;
BEGIN
	EXECUTE command INTO result;
	RETURN 'accepted: ' || result;
EXCEPTION WHEN others THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, message = MESSAGE_TEXT;
	RETURN SQLSTATE || ' ' || message || ' - ' || detail;
END $$;
SELECT pg_temp.try(format('SELECT %L::infra_monitor.histogram', t))
FROM unnest(ARRAY['', ' ', '{', '}', '{{}}', '{}}', '{} x', '1ms:1', '{1ms}', '{1ms:}', '{:1}', '{1ms:1,}', '{,1ms:1}',
	'{1ms:1 1s:1}', '{1ms:1;1s:1}', '{1ms::1}', '{1ms=1}', '{1:1}', '{1m:1}', '{1ns:1}', '{1 ms:1}', '{1MS:1}', '{1mss:1}',
	'{s:1}', '{.s:1}', '{1..0ms:1}', '{-1ms:1}', '{+1ms:1}', '{1e0ms:1}', '{1.13ms:1}', '{1.1200001ms:1}', '{1.12000000000000000001ms:1}',
	'{0us:1}', '{0.9us:1}', '{10001s:1}', '{11200s:1}', '{18446744073709552616us:1}', '{100000000000000000000000000000000000000s:1}',
	'{Inf:1}', '{-Inf:1}', '{+Infinity:1}', '{1ms:-1}', '{1ms:1.5}', '{1ms:1e3}', '{1ms:0x1}', '{1ms:x}', '{1ms:NaN}', '{1ms:.}',
	'{1ms:1,1ms:1}', '{1ms:0,1000us:0}', '{1ms:9223372036854775808}', '{1ms:18446744073709551617}',
	'{1ms:99999999999999999999999999999999999999}', '{1ms:9223372036854775807,2ms:1}', '{1ms:1,2ms:9223372036854775807}',
	'{' || repeat('ö', 100) || '}', '{' || repeat('1ms:0,', 1000) || '}']) t;
SELECT '{1ms:-1}'::histogram;
SELECT length(pg_temp.try(format('SELECT %L::infra_monitor.histogram', repeat('{', 1000000)))) < 200 AS short_message;
SELECT pg_temp.try(format('SELECT infra_monitor.histogram(%L::float8[])', t))
FROM unnest(ARRAY['{NaN}', '{1,-1}', '{-1e-300}', '{-Infinity}']) t;

--
-- jsonb
--
SELECT histogram(ARRAY[]::float8[])::jsonb, '{1us:1,1.12us:2,3.15ms:3,10000s:4,+Inf:9000000000000000000}'::histogram::jsonb;
SELECT count(*) AS wrong FROM bounds
WHERE pg_temp.of_ns(ns)::jsonb::histogram <> pg_temp.of_ns(ns);
SELECT ('[{"count": 2, "le_seconds": 1.120e-3}, {"le_seconds": "+inf", "count": 1.0}, {"le_seconds": 1, "count": 0}]'::jsonb)::histogram,
	'[]'::jsonb::histogram;
SELECT pg_temp.try(format('SELECT %L::jsonb::infra_monitor.histogram', t))
FROM unnest(ARRAY['null', 'true', '1', '"{}"', '{}', '{"le_seconds": 1, "count": 1}', '[1]', '[null]', '[[]]', '[{}]',
	'[{"le_seconds": 1}]', '[{"count": 1}]', '[{"le_seconds": 1, "count": 1, "more": 1}]', '[{"le_seconds": 1, "counts": 1}]',
	'[{"le_seconds": "1", "count": 1}]', '[{"le_seconds": null, "count": 1}]', '[{"le_seconds": [1], "count": 1}]',
	'[{"le_seconds": 1, "count": "1"}]', '[{"le_seconds": 1, "count": null}]', '[{"le_seconds": 1, "count": {}}]',
	'[{"le_seconds": 1, "count": -1}]', '[{"le_seconds": 1, "count": 0.5}]', '[{"le_seconds": -1, "count": 1}]',
	'[{"le_seconds": 1.00000000000000001, "count": 1}]', '[{"le_seconds": 1e1000, "count": 1}]', '[{"le_seconds": 1e-1000, "count": 1}]',
	'[{"le_seconds": 1, "count": 1e1000}]', '[{"le_seconds": 1, "count": 9223372036854775808}]',
	'[{"le_seconds": 1, "count": 9223372036854775807}, {"le_seconds": 2, "count": 1}]',
	'[{"le_seconds": 1, "count": 1}, {"le_seconds": 1.0, "count": 1}]', '[{"le_seconds": "", "count": 1}]']) t;
SELECT '[1]'::jsonb::histogram;
SELECT pg_temp.try(format('SELECT %L::jsonb::infra_monitor.histogram', jsonb_agg('{"le_seconds": 1, "count": 0}'::jsonb)))
FROM generate_series(1, 203);
-- casts are explicit
CREATE TEMP TABLE stored (id int, h histogram);
INSERT INTO stored VALUES (0, '[]'::jsonb);
CREATE TEMP TABLE documents (j jsonb);
INSERT INTO documents VALUES ('{}'::histogram);

--
-- stored: short, long, compressed, out of line
--
SELECT typstorage, typalign, typlen, typbyval FROM pg_type WHERE oid = 'histogram'::regtype;
SELECT attname, attstorage FROM pg_attribute WHERE attrelid = 'stored'::regclass AND attnum > 0;
-- a few values, all buckets full, all buckets at their largest
CREATE TEMP VIEW examples AS
SELECT 1 AS id, '{}'::histogram AS h
UNION ALL SELECT 2, '{1us:1}'
UNION ALL SELECT 3, '{+Inf:9223372036854775807}'
UNION ALL SELECT 4, '{1us:128,+Inf:127}'
UNION ALL SELECT 5, (SELECT sum(pg_temp.of_ns(ns)) FROM bounds)
UNION ALL SELECT 6, (SELECT ('{' || string_agg((ns / 1000.0)::numeric(20, 3) || 'us:45430000000000000', ',') || ',+Inf:1}')::histogram FROM bounds)
UNION ALL SELECT 10 + p, format('{1.6ms:%s,2ms:%s,2.5ms:%s}', 2::numeric ^ p - 1, trunc(2::numeric ^ p), trunc(2::numeric ^ (p - 1)) - 1)::histogram
	FROM generate_series(1, 61) p;
INSERT INTO stored SELECT * FROM examples;
SELECT count(*) AS wrong FROM stored JOIN examples USING (id) WHERE stored.h <> examples.h OR stored.h::text <> examples.h::text;
SELECT id, pg_column_size(h) AS stored_bytes, length(histogram_send(h)) AS bytes, observations(h) FROM stored WHERE id < 10 ORDER BY id;
CREATE TEMP TABLE outside (id int, h histogram, filler text);
ALTER TABLE outside ALTER h SET STORAGE external;
ALTER TABLE outside ALTER filler SET STORAGE plain;
INSERT INTO outside SELECT id, h, repeat('x', 2000) FROM stored;
SELECT pg_relation_size(reltoastrelid) > 0 AS used FROM pg_class WHERE oid = 'outside'::regclass;
SELECT count(*) AS wrong FROM outside o JOIN stored s USING (id)
WHERE o.h <> s.h OR observations(o.h) <> observations(s.h) OR histogram_hash(o.h) <> histogram_hash(s.h);
ALTER TABLE outside ALTER h SET STORAGE extended;
TRUNCATE outside;
INSERT INTO outside SELECT id, h, repeat('x', 2000) FROM stored;
SELECT count(*) > 0 AS compressed FROM outside WHERE pg_column_compression(h) IS NOT NULL;
SELECT count(*) AS wrong FROM outside o JOIN stored s USING (id)
WHERE o.h <> s.h OR observations(o.h) <> observations(s.h) OR histogram_hash(o.h) <> histogram_hash(s.h);

-- the bytes that clients get
SELECT id, histogram_send(h) FROM examples WHERE id IN (1, 2, 3, 4);

-- binary round trip
SELECT current_setting('data_directory') || '/histogram.bin' AS file \gset
COPY stored TO :'file' (FORMAT binary);
CREATE TEMP TABLE restored (LIKE stored);
COPY restored FROM :'file' (FORMAT binary);
SELECT count(*) AS rows, count(*) FILTER (WHERE r.h <> s.h) AS wrong FROM restored r JOIN stored s USING (id);
-- text round trip
COPY stored TO :'file';
TRUNCATE restored;
COPY restored FROM :'file';
SELECT count(*) AS rows, count(*) FILTER (WHERE r.h <> s.h) AS wrong FROM restored r JOIN stored s USING (id);
SELECT count(*) AS wrong FROM stored WHERE h::text::histogram <> h OR h::jsonb::histogram <> h;

-- what is stored may be damaged: error, whatever is done with it
CREATE CAST (bytea AS histogram) WITHOUT FUNCTION;
SELECT pg_temp.try(format('SELECT infra_monitor.observations(%L::bytea::infra_monitor.histogram)', v))
FROM unnest(ARRAY['', '\x01', '\x0100', '\x000000', '\x020000', '\x01ca01', '\x01c90201', '\x01ff00', '\x010001', '\x01000180',
	'\x010001ffffffffffffffffff01', '\x010001ffffffffffffffffff7f', '\x010002ffffffffffffffff7f01', '\x01000000', '\x0100010101']) v;
SELECT f AS accepts_damage FROM unnest(ARRAY['infra_monitor.histogram_out(h)', 'infra_monitor.histogram_send(h)',
	'infra_monitor.histogram_to_jsonb(h)', 'infra_monitor.quantile(h, 0.5)', 'infra_monitor.buckets(h)',
	$$h + '{}'::infra_monitor.histogram$$, $$'{}'::infra_monitor.histogram + h$$, 'h - h']) f
WHERE pg_temp.try(format('SELECT %s FROM (SELECT %L::bytea::infra_monitor.histogram OFFSET 0) t (h)', f, '\x01000180'))
	NOT LIKE 'XX001 stored histogram cannot be read%';
DROP CAST (bytea AS histogram);

--
-- operators
--
SELECT '{1ms:1,2ms:2}'::histogram + '{2ms:3,+Inf:4}', '{1ms:1}'::histogram + '{}', '{}'::histogram + '{}', '{}'::histogram + NULL;
SELECT '{1ms:1,2ms:2}'::histogram - '{2ms:1}', '{1ms:1,2ms:2}'::histogram - '{1ms:1,2ms:2}', '{}'::histogram - '{}';
SELECT '{1ms:9223372036854775806}'::histogram + '{2ms:1}';
SELECT '{1ms:9223372036854775806}'::histogram + '{2ms:2}';
SELECT '{1ms:9223372036854775807}'::histogram + '{1ms:9223372036854775807}';
SELECT '{1ms:1}'::histogram - '{1ms:2}';
SELECT '{}'::histogram - '{+Inf:1}';
SELECT '{1ms:1}'::histogram = '{1000us:1,1s:0}' AS same, '{1ms:1}'::histogram = '{1ms:2}' AS other_count,
	'{1ms:1}'::histogram = '{1.12ms:1}' AS other_bucket, '{1ms:1}'::histogram <> '{1.12ms:1}' AS differ,
	'{}'::histogram = '{}' AS empty, '{}'::histogram = NULL AS null, '{}'::histogram <> NULL AS null;
SELECT count(*), count(DISTINCT histogram_hash(h)) = count(*) AS hash, count(DISTINCT histogram_hash_extended(h, 1)) = count(*) AS seeded
FROM (SELECT h FROM stored UNION SELECT h FROM examples) u;
-- the two have to agree for a seed of 0
SELECT bool_and((histogram_hash_extended(h, 0) & 4294967295)::bit(32)::int = histogram_hash(h)) AS low_bits
FROM stored;
SET enable_nestloop = off;
EXPLAIN (COSTS off) SELECT FROM stored s JOIN restored r ON s.h = r.h;
RESET enable_nestloop;
CREATE TEMP TABLE hashed (LIKE stored) PARTITION BY HASH (h);
CREATE TEMP TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TEMP TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO hashed SELECT * FROM stored;
SELECT count(*) AS partitions, sum(n) AS rows FROM (SELECT count(*) AS n FROM hashed GROUP BY tableoid) p;
-- there is no order
SELECT h FROM stored ORDER BY h;

--
-- quantiles
--
SELECT q, round(quantile('{1ms:1}', q)::numeric, 6) AS one, round(quantile('{2ms:4}', q)::numeric, 6) AS four,
	quantile('{1us:1}', q) AS underflow, quantile('{+Inf:1}', q) AS overflow,
	round(quantile('{1us:2,1.6ms:1,+Inf:1}', q)::numeric, 6) AS mixed, quantile('{}', q) AS empty
FROM unnest('{0, 1e-300, 0.25, 0.5, 0.75, 0.95, 0.999999999999, 1}'::float8[]) q;
-- geometric: the middle of a bucket is the geometric mean of its bounds
SELECT abs(quantile('{1.6ms:2}', 0.5) / sqrt(1.4 * 1.6) - 1) < 1e-12 AS middle;
-- a lot of observations
SELECT quantile('{1ms:9223372036854775807}', 1) AS all, quantile('{1ms:4611686018427387903,1s:4611686018427387904}', 1) AS last,
	quantile('{1ms:4611686018427387903,1s:1}', 1) AS rounded;
SELECT quantile(NULL, 0.5), quantile('{1ms:1}', NULL);
-- ascending
SELECT count(*) AS descents FROM (
	SELECT quantile(h, n / 1000.0) - lag(quantile(h, n / 1000.0)) OVER (PARTITION BY id ORDER BY n) AS step
	FROM examples, generate_series(0, 1000) n WHERE id IN (4, 5, 6, 20, 50)) s
WHERE step < 0;
SELECT quantile('{1ms:1}', 1.1);
SELECT quantile('{1ms:1}', -1e-300);
SELECT quantile('{}', 'NaN');
SELECT quantile('{}', 'Infinity');

SELECT observations('{}'), observations('{1us:1,+Inf:2}'), observations('{1us:9223372036854775807}'), observations(NULL);
SELECT * FROM buckets('{1us:1,1.25us:3,10000s:1,+Inf:2}') WHERE le_seconds < 2e-6 OR le_seconds > 8000;
SELECT count(*), sum(cumulative) FROM buckets('{}');
SELECT count(*) FROM buckets(NULL);
SELECT count(*) AS wrong FROM examples
WHERE observations(h) <> (SELECT cumulative FROM buckets(h) WHERE le_seconds = 'Infinity');

--
-- sums, of 100000 durations in 1000 histograms
--
CREATE TABLE regress_durations AS
SELECT n % 1000 AS part, exp(((n * 7919) % 100003) / 100003.0 * 25 - 8)::float8 AS ms
FROM generate_series(1, 100000) n;
CREATE TABLE regress_parts AS
SELECT part, histogram(array_agg(ms)) AS h FROM regress_durations GROUP BY part;
ANALYZE regress_parts;
SELECT sum(h) = (SELECT histogram(array_agg(ms)) FROM regress_durations) AS union_is_equal,
	observations(sum(h)), count(*) AS parts
FROM regress_parts;
-- quantiles are within the error bound
SELECT count(*) AS quantiles, count(*) FILTER (WHERE abs(estimate / exact - 1) > 0.143) AS beyond
FROM (SELECT quantile(h, q) AS estimate,
		(SELECT percentile_disc(q) WITHIN GROUP (ORDER BY ms) FROM regress_durations) AS exact
	FROM (SELECT sum(h) AS h FROM regress_parts) s, unnest('{0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99}'::float8[]) q) e
WHERE exact BETWEEN 0.001 AND 1e7;
-- what was added can be taken away again
SELECT (SELECT sum(h) FROM regress_parts) - (SELECT sum(h) FROM regress_parts WHERE part < 400)
	= (SELECT sum(h) FROM regress_parts WHERE part >= 400) AS difference_is_equal;
SELECT sum(h) IS NULL AS none FROM regress_parts WHERE part < 0;
SELECT sum(h) AS nulls_only FROM (VALUES (NULL::histogram), (NULL)) v (h);
SELECT sum(h) AS with_nulls FROM (VALUES (NULL::histogram), ('{1ms:1}'), (NULL), ('{2ms:1}')) v (h);
SELECT sum(h) FROM (VALUES ('{1ms:9223372036854775807}'::histogram), ('{2ms:1}')) v (h);
-- over windows
SELECT count(*) AS windows, count(*) FILTER (WHERE moving <> (SELECT sum(i.h) FROM regress_parts i WHERE i.part BETWEEN w.part - 3 AND w.part)) AS wrong
FROM (SELECT part, sum(h) OVER (ORDER BY part ROWS 3 PRECEDING) AS moving FROM regress_parts) w WHERE part < 100;
-- in parallel
SELECT sum(h)::text AS serial FROM regress_parts \gset
ALTER TABLE regress_parts SET (parallel_workers = 2);
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
SET parallel_leader_participation = off;
EXPLAIN (COSTS off) SELECT sum(h) FROM regress_parts;
SELECT sum(h)::text = :'serial' AS parallel_is_equal FROM regress_parts;
RESET parallel_leader_participation;
SELECT sum(h)::text = :'serial' AS parallel_is_equal FROM regress_parts;
SELECT sum(h)::text = :'serial' AS parallel_is_equal, count(*) AS groups
FROM (SELECT part % 7, sum(h) AS h FROM regress_parts GROUP BY 1) g;
DROP TABLE regress_durations, regress_parts;
RESET ALL;
