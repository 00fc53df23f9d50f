
--
-- slo.sql: objectives, and whether they are kept
--

CREATE FUNCTION infra_monitor.slo_defaults(
	OUT name text, OUT kind text, OUT target float8,
	OUT threshold_time float8, OUT period interval)
RETURNS SETOF record
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 2
-- inlined, so what stands here is qualified
AS $$
VALUES
	('availability', 'availability', 0.9995::pg_catalog.float8, NULL::pg_catalog.float8, '30 days'::pg_catalog.interval),
	('latency', 'latency', 0.95, 2000, '30 days')
$$;
COMMENT ON FUNCTION infra_monitor.slo_defaults() IS
'the objectives that hold unless slo_target_overrides says otherwise; for pg_monitor';

CREATE TABLE infra_monitor.slo_target_overrides (
	name text PRIMARY KEY,
	kind text CHECK (kind OPERATOR(pg_catalog.=) ANY ('{availability,latency}')),
	target float8 CHECK (target OPERATOR(pg_catalog.>) 0 AND target OPERATOR(pg_catalog.<) 1),
	threshold_time float8 CHECK (threshold_time OPERATOR(pg_catalog.>) 0 AND threshold_time OPERATOR(pg_catalog.<) 'Infinity'),
	period interval CHECK (period OPERATOR(pg_catalog.>) '0' AND period OPERATOR(pg_catalog.<=) '100 years'),
	enabled boolean,
	CONSTRAINT slo_target_is_complete CHECK (
		name OPERATOR(pg_catalog.=) ANY ('{availability,latency}')
		OR (kind IS NOT NULL AND target IS NOT NULL
			AND (kind OPERATOR(pg_catalog.=) 'availability' OR threshold_time IS NOT NULL))),
	CONSTRAINT slo_default_keeps_its_kind CHECK (
		kind IS NULL OR kind OPERATOR(pg_catalog.=) name
		OR NOT name OPERATOR(pg_catalog.=) ANY ('{availability,latency}'))
);
COMMENT ON TABLE infra_monitor.slo_target_overrides IS
'objectives of your own: another target for availability or latency (NULL keeps the default), or a further objective, which needs kind and target, and threshold_time if its kind is latency; dumped by pg_dump; for superusers, grantable';
COMMENT ON COLUMN infra_monitor.slo_target_overrides.name IS 'availability, latency, or a name of your own';
COMMENT ON COLUMN infra_monitor.slo_target_overrides.kind IS 'availability: share of the time; latency: share of the executions that took no longer than threshold_time';
COMMENT ON COLUMN infra_monitor.slo_target_overrides.target IS 'the share wanted, above 0 and below 1';
COMMENT ON COLUMN infra_monitor.slo_target_overrides.threshold_time IS 'ms';
COMMENT ON COLUMN infra_monitor.slo_target_overrides.period IS 'for which the objective is given, 100 years at most; default 30 days';
COMMENT ON COLUMN infra_monitor.slo_target_overrides.enabled IS 'false: no objective';

SELECT pg_catalog.pg_extension_config_dump('infra_monitor.slo_target_overrides', '');

CREATE VIEW infra_monitor.slo_targets AS
SELECT coalesce(d.name, o.name) AS name, coalesce(o.kind, d.kind) AS kind,
	coalesce(o.target, d.target) AS target,
	CASE WHEN coalesce(o.kind, d.kind) OPERATOR(pg_catalog.=) 'latency'
		THEN coalesce(o.threshold_time, d.threshold_time) END AS threshold_time,
	coalesce(o.period, d.period, '30 days') AS period,
	coalesce(o.enabled, true) AS enabled,
	CASE WHEN o.name IS NULL THEN 'default' ELSE 'override' END AS source
FROM infra_monitor.slo_defaults() d
	FULL JOIN infra_monitor.slo_target_overrides o ON o.name OPERATOR(pg_catalog.=) d.name;
COMMENT ON VIEW infra_monitor.slo_targets IS
'objectives in force: the defaults, with slo_target_overrides over them; for pg_monitor';
COMMENT ON COLUMN infra_monitor.slo_targets.target IS 'the share wanted: of the time, or of the executions';
COMMENT ON COLUMN infra_monitor.slo_targets.threshold_time IS 'how long an execution may take, ms; NULL for availability';
COMMENT ON COLUMN infra_monitor.slo_targets.source IS 'default or override';

CREATE FUNCTION infra_monitor.availability(
	windows timestamptz[], until timestamptz,
	OUT window_start timestamptz, OUT known_since timestamptz,
	OUT available float8, OUT unavailable float8)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL RESTRICTED ROWS 4
SET search_path = pg_catalog, pg_temp
AS $$
WITH grains AS MATERIALIZED (
	SELECT w.window_start, g.grain, g.from_at, g.until_at
	FROM unnest($1) AS w (window_start)
		CROSS JOIN LATERAL infra_monitor.history_grains('samples', least(w.window_start, $2), $2, '1 day', false) g
), parts AS (
	SELECT g.window_start, a.known_since, a.available
	FROM grains g
		CROSS JOIN LATERAL infra_monitor.available_between(g.from_at, g.until_at) a
	WHERE g.grain = 'sample'
	UNION ALL
	-- what begins with a gap is known, if something before it is
	SELECT g.window_start, CASE WHEN p.is_known THEN g.from_at ELSE r.first_sampled_at END, r.available
	FROM grains g
		CROSS JOIN LATERAL (
			SELECT EXISTS (SELECT FROM infra_monitor.samples_hourly b WHERE b.begins_at < g.from_at) AS is_known OFFSET 0
		) p
		CROSS JOIN LATERAL (
			(SELECT min(h.first_sampled_at) AS first_sampled_at, sum(h.available_time) / 1000 AS available
			FROM infra_monitor.samples_hourly h
			WHERE g.grain = 'hour' AND h.begins_at >= g.from_at AND h.begins_at < g.until_at OFFSET 0)
			UNION ALL
			(SELECT min(d.first_sampled_at), sum(d.available_time) / 1000
			FROM infra_monitor.samples_daily d
			WHERE g.grain = 'day' AND d.begins_at >= g.from_at AND d.begins_at < g.until_at OFFSET 0)
		) r
	WHERE r.available IS NOT NULL
), sums AS (
	SELECT w.window_start, min(p.known_since) AS known_since, coalesce(sum(p.available), 0) AS available
	FROM unnest($1) AS w (window_start)
		LEFT JOIN parts p ON p.window_start = w.window_start
	GROUP BY w.window_start
)
SELECT s.window_start, s.known_since, s.available,
	greatest(coalesce(extract(epoch FROM $2 - s.known_since)::float8 - s.available, 0), 0)
FROM sums s
$$;
COMMENT ON FUNCTION infra_monitor.availability(timestamptz[], timestamptz) IS
'source of slo_status: for each start of a window up to "until", the seconds in which the server was available and not, since the first sample in it, from samples and their rollups; not available is unhealthy, and a gap as in history_gaps(); for pg_monitor';

CREATE FUNCTION infra_monitor.latency_between(
	windows timestamptz[], until timestamptz,
	OUT window_start timestamptz, OUT known_since timestamptz,
	OUT latency infra_monitor.histogram)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL RESTRICTED ROWS 4
SET search_path = pg_catalog, pg_temp
AS $$
WITH parts AS (
	SELECT w.window_start, p.first_sampled_at, p.latency
	FROM unnest($1) AS w (window_start)
		CROSS JOIN LATERAL infra_monitor.history_grains('samples', least(w.window_start, $2), $2, '1 day', false) g
		CROSS JOIN LATERAL (
			(SELECT s.sampled_at AS first_sampled_at, s.latency
			FROM infra_monitor.samples s
			WHERE g.grain = 'sample' AND s.sampled_at >= g.from_at AND s.sampled_at < g.until_at OFFSET 0)
			UNION ALL
			(SELECT h.first_sampled_at, h.latency
			FROM infra_monitor.samples_hourly h
			WHERE g.grain = 'hour' AND h.begins_at >= g.from_at AND h.begins_at < g.until_at OFFSET 0)
			UNION ALL
			(SELECT d.first_sampled_at, d.latency
			FROM infra_monitor.samples_daily d
			WHERE g.grain = 'day' AND d.begins_at >= g.from_at AND d.begins_at < g.until_at OFFSET 0)
		) p
	WHERE p.latency IS NOT NULL
)
SELECT w.window_start, min(p.first_sampled_at), infra_monitor.sum(p.latency)
FROM unnest($1) AS w (window_start)
	LEFT JOIN parts p ON p.window_start = w.window_start
GROUP BY w.window_start
$$;
COMMENT ON FUNCTION infra_monitor.latency_between(timestamptz[], timestamptz) IS
'source of slo_status: for each start of a window up to "until", the times of all executions that completed, as far as samples or their rollups are kept; for pg_monitor';

CREATE FUNCTION infra_monitor.slo_status_at(
	at timestamptz, OUT name text, OUT period interval, OUT attained float8,
	OUT error_budget_left float8, OUT burn_rate float8, OUT kind text,
	OUT target float8, OUT threshold_time float8, OUT known_since timestamptz)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL RESTRICTED ROWS 8
SET search_path = pg_catalog, pg_temp
AS $$
WITH targets AS MATERIALIZED (
	SELECT t.*, p.window_length, $1 - p.window_length AS window_start
	FROM infra_monitor.slo_targets t,
		unnest(ARRAY['1 hour'::interval, '6 hours', '3 days', '30 days', t.period]) AS p (window_length)
	WHERE t.enabled
	GROUP BY t.name, t.kind, t.target, t.threshold_time, t.period, t.enabled, t.source, p.window_length
), times AS MATERIALIZED (
	SELECT a.* FROM infra_monitor.availability((SELECT array_agg(DISTINCT t.window_start) FROM targets t WHERE t.kind = 'availability'), $1) a
), executions AS MATERIALIZED (
	SELECT l.* FROM infra_monitor.latency_between((SELECT array_agg(DISTINCT t.window_start) FROM targets t WHERE t.kind = 'latency'), $1) l
), shares AS (
	SELECT t.*, a.known_since, a.available / nullif(a.available + a.unavailable, 0) AS attained
	FROM targets t JOIN times a USING (window_start) WHERE t.kind = 'availability'
	UNION ALL
	SELECT t.*, e.known_since, infra_monitor.fraction(e.latency, t.threshold_time)
	FROM targets t JOIN executions e USING (window_start) WHERE t.kind = 'latency'
)
SELECT name, window_length, attained, 1 - (1 - attained) / (1 - target), (1 - attained) / (1 - target),
	kind, target, threshold_time, known_since
FROM shares
ORDER BY name, window_length
$$;
COMMENT ON FUNCTION infra_monitor.slo_status_at(timestamptz) IS
'the rows of slo_status as they were at some moment, as far as samples are kept; for pg_monitor';

CREATE VIEW infra_monitor.slo_status AS
SELECT s.name, s.period, s.attained, s.error_budget_left, s.burn_rate, s.kind,
	s.target, s.threshold_time, s.known_since
FROM infra_monitor.slo_status_at(pg_catalog.clock_timestamp()) s;
COMMENT ON VIEW infra_monitor.slo_status IS
'are the objectives kept? for each objective the last hour, 6 hours, 3 days, 30 days, and its own period; from the samples in this database; for pg_monitor';
COMMENT ON COLUMN infra_monitor.slo_status.period IS 'the time up to now that the row is about';
COMMENT ON COLUMN infra_monitor.slo_status.attained IS 'share of the time in which the server was available, or of the executions that were fast enough; NULL if nothing is known';
COMMENT ON COLUMN infra_monitor.slo_status.error_budget_left IS 'what is left of the failures that the objective allows in this period: 1 all, 0 none, negative: missed';
COMMENT ON COLUMN infra_monitor.slo_status.burn_rate IS 'how fast the budget is used up: 1 is just what the objective allows; 14.4 for an hour uses up 2 percent of that of 30 days';
COMMENT ON COLUMN infra_monitor.slo_status.threshold_time IS 'how long an execution may take, ms; NULL for availability';
COMMENT ON COLUMN infra_monitor.slo_status.known_since IS 'from when on samples of the period are kept; the row says nothing of the time before';
