--
-- trend(): what rises, and what only looks like it
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS infra_monitor CASCADE;
RESET client_min_messages;

-- the trend of a formula in i, seconds, each second or so
CREATE FUNCTION pg_temp.trend_of(formula text, n int, every float8 DEFAULT 1)
RETURNS TABLE (slope numeric, level numeric, r2 numeric, observations int)
LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('
		SELECT round(t.slope_per_minute::numeric, 1), round(t.level::numeric, 1), round(t.r2::numeric, 2), t.observations
		FROM (SELECT array_agg(timestamptz ''2026-01-01'' + i * interval ''%s seconds'' ORDER BY i) AS at,
				array_agg((%s)::float8 ORDER BY i) AS value
			FROM generate_series(1, %s) i) a,
			infra_monitor.trend(a.at, a.value) t', every, formula, n);
END $$;

-- a straight line: the longest window with half of it before
SELECT * FROM pg_temp.trend_of('2 * i', 44);
SELECT * FROM pg_temp.trend_of('2 * i', 45);
SELECT * FROM pg_temp.trend_of('2 * i', 90);
SELECT * FROM pg_temp.trend_of('2 * i', 180);
SELECT * FROM pg_temp.trend_of('2 * i', 360);
SELECT * FROM pg_temp.trend_of('2 * i', 720);
SELECT * FROM pg_temp.trend_of('2 * i', 360, 10);
SELECT * FROM pg_temp.trend_of('-700 + 2 * i', 360);

-- flat, falling, too few, nothing
SELECT * FROM pg_temp.trend_of('7', 360);
SELECT * FROM pg_temp.trend_of('500 - i', 360);
SELECT * FROM pg_temp.trend_of('i', 1);
SELECT * FROM infra_monitor.trend('{}', '{}');
SELECT * FROM infra_monitor.trend(NULL, '{1}');

-- too little: less than three
SELECT * FROM pg_temp.trend_of('i / 360.0', 360);

-- steps up: one, one long ago, one that took a while and is over, two
SELECT * FROM pg_temp.trend_of('CASE WHEN i > 345 THEN 50 ELSE 10 END', 360);
SELECT * FROM pg_temp.trend_of('CASE WHEN i > 240 THEN 50 ELSE 10 END', 360);
SELECT * FROM pg_temp.trend_of('least(10 + greatest(i - 300, 0), 40)', 360);
SELECT * FROM pg_temp.trend_of('CASE WHEN i > 340 THEN 50 WHEN i > 280 THEN 30 ELSE 10 END', 360);

-- breathing: a rising half of each that has been seen before
SELECT * FROM pg_temp.trend_of('10 - 5 * cos(i / 6.0)', 355);
SELECT count(*), max(t.slope) FROM generate_series(250, 360) n,
	pg_temp.trend_of('round(60 - 50 * cos(2 * pi() * i / 200))', n) t WHERE t.slope IS NOT NULL;
SELECT count(*), max(t.slope) FROM generate_series(250, 360) n,
	pg_temp.trend_of('5 + i % 100', n) t WHERE t.slope IS NOT NULL;

-- a leak beside breathing, and a leak that has just begun
SELECT round(slope, 0) AS slope, round(level, -1) AS level, observations
FROM pg_temp.trend_of('10 + 5 * sin(i / 3.0) + i', 360);
SELECT * FROM pg_temp.trend_of('10 + 5 * greatest(i - 320, 0)', 360);

-- a leak of one now and then, with ties in all blocks
SELECT * FROM pg_temp.trend_of('i / 55', 360, 10);
SELECT * FROM pg_temp.trend_of('i / 37 + (i / 70) % 2', 360, 10);

-- one wild value in between is nothing
SELECT * FROM pg_temp.trend_of('2 * i + CASE i WHEN 200 THEN 150 ELSE 0 END', 360);

-- what is before a gap is no part of a window
SELECT t.observations
FROM (SELECT array_agg(timestamptz '2026-01-01' + i * interval '1 second' + CASE WHEN i > 290 THEN interval '10 minutes' ELSE '0' END ORDER BY i) AS at,
		array_agg(i::float8 ORDER BY i) AS value
	FROM generate_series(1, 360) i) a, infra_monitor.trend(a.at, a.value) t;

-- what is no series
\set VERBOSITY terse
SELECT * FROM infra_monitor.trend(ARRAY[now()], '{1,2}');
SELECT * FROM infra_monitor.trend(ARRAY[now(), NULL], '{1,2}');
SELECT * FROM infra_monitor.trend(ARRAY[now(), now() + '1s'], '{1,NULL}');
SELECT * FROM infra_monitor.trend(ARRAY[now(), now() + '1s'], '{1,NaN}');
SELECT * FROM infra_monitor.trend(ARRAY[now(), now() + '1s'], '{1,Infinity}');
SELECT * FROM infra_monitor.trend(ARRAY[now(), 'infinity'], '{1,2}');
SELECT * FROM infra_monitor.trend(ARRAY[now(), now()], '{1,2}');
SELECT * FROM infra_monitor.trend(ARRAY[now(), now() - '1s'::interval], '{1,2}');
SELECT * FROM infra_monitor.trend(ARRAY[ARRAY[now(), now() + '1s']], '{{1,2}}');
SELECT * FROM infra_monitor.trend('{2000-01-01,4001-01-01}', '{1,2}');
