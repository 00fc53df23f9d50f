--
-- Does trend() forecast what leaks, and nothing else?
--
--	psql -Xqf test/bench/trend.sql DATABASE		where the extension is created
--
-- Simulates an hour of a server, a sample each second, and reads pool_forecast's
-- arithmetic every five seconds: the last 360 samples, before them the maxima of
-- 24 samples each, or these alone, and no further than 20 windows ahead.  Prints for each
-- scenario how many readings have a forecast, and for leaks how far off those
-- are that are made around the moment when exhaustion is two thirds away.
-- "first" counts only the ten minutes after the start, when the first breath is
-- like a leak to anyone who has not seen it before.
--
SET client_min_messages = warning;

CREATE FUNCTION pg_temp.breath(kind text, period float8, low float8, high float8, t float8)
RETURNS float8 LANGUAGE sql IMMUTABLE AS $$
SELECT low + (high - low) * CASE kind
	WHEN 'sinus' THEN 0.5 - 0.5 * cos(2 * pi() * p)
	WHEN 'sawtooth' THEN p
	WHEN 'square' THEN CASE WHEN p < 0.5 THEN 0 ELSE 1 END
	WHEN 'triangle' THEN 1 - abs(2 * p - 1) END
FROM (SELECT t / period - floor(t / period)) x (p)
$$;

-- the series of a scenario
CREATE FUNCTION pg_temp.series(scenario jsonb, phase float8)
RETURNS float8[] LANGUAGE plpgsql AS $$
DECLARE
	v float8[] := '{}';
	n int := coalesce((scenario ->> 'seconds')::int, 3600);
	kind text := scenario ->> 'kind';
	period float8 := scenario ->> 'period';
	low float8 := scenario ->> 'low';
	high float8 := scenario ->> 'high';
	noise float8 := coalesce((scenario ->> 'noise')::float8, 0);
	stride float8 := scenario ->> 'stride';
	leak float8 := coalesce((scenario ->> 'leak')::float8, 0);
	step float8 := coalesce((scenario ->> 'step')::float8, 0);
	x float8 := (low + high) / 2;
BEGIN
	FOR t IN 1 .. n LOOP
		IF kind = 'walk' THEN
			x := greatest(low, least(high, x + round((2 * random() - 1) * stride)));
		ELSE
			x := pg_temp.breath(kind, period, low, high, t + phase * period);
		END IF;
		v := v || round(x + noise * (high - low) * (random() - 0.5))
			+ floor(leak * greatest(t - 600, 0)) + CASE WHEN t > 600 THEN step ELSE 0 END;
	END LOOP;
	RETURN v;
END $$;

-- seconds until exhaustion by a series; each observation stands for "every"
CREATE FUNCTION pg_temp.rest(at timestamptz[], v float8[], size int, every int)
RETURNS float8 LANGUAGE sql AS $$
SELECT CASE WHEN s <= 20 * every * r.observations THEN s END
FROM infra_monitor.trend(at, v) r,
	LATERAL (SELECT greatest(size - r.level, 0) / r.slope_per_minute * 60) e (s)
$$;

-- as pool_forecast has them at second t: by the fine ring, or by the coarse one
CREATE FUNCTION pg_temp.forecast(at timestamptz[], v float8[], coarse_at timestamptz[], coarse float8[], t int, size int)
RETURNS float8 LANGUAGE sql AS $$
SELECT coalesce(
	pg_temp.rest(coarse_at[greatest(older - 344, 1) : older] || at[fine : t],
		coarse[greatest(older - 344, 1) : older] || v[fine : t], size, 1),
	pg_temp.rest(coarse_at[greatest(t / 24 - 359, 1) : t / 24],
		coarse[greatest(t / 24 - 359, 1) : t / 24], size, 24))
FROM (SELECT greatest(t - 359, 1)) f (fine),
	LATERAL (SELECT (fine - 1) / 24) o (older)
$$;

CREATE TABLE pg_temp.readings (n int, phase float8, t int, forecast float8, rest float8, due boolean);

CREATE FUNCTION pg_temp.simulate(number int, scenario jsonb, phase float8)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	v float8[] := pg_temp.series(scenario, phase);
	n int := cardinality(v);
	size int := coalesce((scenario ->> 'size')::int, 997);
	at timestamptz[] := (SELECT array_agg(timestamptz '2026-01-01 UTC' + t * interval '1 second' ORDER BY t) FROM generate_series(1, n) t);
	coarse_at timestamptz[] := (SELECT array_agg(at[c * 24] ORDER BY c) FROM generate_series(1, n / 24) c);
	coarse float8[] := (SELECT array_agg((SELECT max(x) FROM unnest(v[c * 24 - 23 : c * 24]) x) ORDER BY c) FROM generate_series(1, n / 24) c);
	full_at int := (SELECT min(t) FROM generate_series(1, n) t WHERE v[t] >= size);
BEGIN
	FOR t IN 30 .. coalesce(full_at - 1, n) BY 5 LOOP
		INSERT INTO readings VALUES (number, phase, t,
			pg_temp.forecast(at, v, coarse_at, coarse, t, size), full_at - t,
			abs((full_at - t) / (full_at - 600.0) - 2 / 3.0) < 0.03);
	END LOOP;
END $$;

CREATE TABLE pg_temp.scenarios (n int GENERATED ALWAYS AS IDENTITY, name text, scenario jsonb);

INSERT INTO scenarios (name, scenario)
SELECT format('%s %s s, %s..%s%s', kind, period, low, high, CASE WHEN noise > 0 THEN ', noisy' END),
	jsonb_build_object('kind', kind, 'period', period, 'low', low, 'high', high, 'noise', noise)
FROM unnest('{sinus,sawtooth,square}'::text[]) kind,
	unnest('{10,30,60,120,300,600}'::int[]) period,
	(VALUES (5, 15, 0), (5, 15, 0.3), (20, 200, 0)) b (low, high, noise);

INSERT INTO scenarios (name, scenario)
SELECT format('random walk, %s..%s, up to %s a second', low, high, stride),
	jsonb_build_object('kind', 'walk', 'low', low, 'high', high, 'stride', stride)
FROM (VALUES (5, 15), (20, 200)) b (low, high), unnest('{1,3,10}'::int[]) stride;

INSERT INTO scenarios (name, scenario)
SELECT format('one step up by %s beside sinus %s s, 5..15', step, period),
	jsonb_build_object('kind', 'sinus', 'period', period, 'low', 5, 'high', 15, 'step', step, 'seconds', 1500)
FROM unnest('{5,40,300}'::int[]) step, unnest('{10,30,60,120}'::int[]) period;

INSERT INTO scenarios (name, scenario)
SELECT format('leak of %s a second beside %s %s s, 5..15', leak, kind, period),
	jsonb_build_object('kind', kind, 'period', period, 'low', 5, 'high', 15, 'leak', leak, 'seconds', round(700 + 1000 / leak))
FROM unnest('{5,1,0.3}'::numeric[]) leak, unnest('{sinus,sawtooth,square}'::text[]) kind,
	unnest('{10,30,60,120,600}'::int[]) period;

SELECT setseed(0.5);
SELECT count(pg_temp.simulate(n, scenario, phase)) AS runs
FROM scenarios, unnest('{0,0.25,0.5,0.75}'::float8[]) phase;

SELECT s.name AS scenario, count(*) AS readings,
	round(100.0 * count(r.forecast) / count(*), 1) AS "forecasts %",
	round(100.0 * count(r.forecast) FILTER (WHERE t <= 600) / count(*) FILTER (WHERE t <= 600), 1) AS "first %"
FROM scenarios s JOIN readings r USING (n)
WHERE NOT s.scenario ? 'leak'
GROUP BY n, s.name ORDER BY n;

SELECT s.name AS scenario, count(*) AS readings,
	round(100.0 * count(r.forecast) / count(*), 1) AS "forecasts %",
	round(100 * percentile_cont(0.5) WITHIN GROUP (ORDER BY abs(forecast / rest - 1))::numeric, 1) AS "median error %",
	round(100 * max(abs(forecast / rest - 1))::numeric, 1) AS "worst error %",
	(SELECT round(avg(f.t) - 600) FROM (SELECT min(t) AS t FROM readings r2 WHERE r2.n = n AND r2.t > 600 AND r2.forecast IS NOT NULL AND r2.n = s.n GROUP BY phase) f) AS "first after s"
FROM scenarios s JOIN readings r USING (n)
WHERE s.scenario ? 'leak' AND r.due
GROUP BY n, s.n, s.name ORDER BY n;

SELECT CASE WHEN s.scenario ? 'leak' THEN 'all leaks, two thirds away' ELSE 'nothing leaks' END AS scenarios,
	count(*) AS readings, round(100.0 * count(r.forecast) / count(*), 2) AS "forecasts %",
	round(100 * percentile_cont(0.5) WITHIN GROUP (ORDER BY abs(forecast / rest - 1))::numeric, 1) AS "median error %",
	round(100 * max(abs(forecast / rest - 1))::numeric, 1) AS "worst error %"
FROM scenarios s JOIN readings r USING (n)
WHERE NOT s.scenario ? 'leak' OR r.due
GROUP BY 1 ORDER BY 1 DESC;
