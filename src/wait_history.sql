
--
-- wait_history.sql: what sessions waited for
--

-- what of the waits is stored of a span, with the bucket it belongs to
CREATE FUNCTION infra_monitor.stored_waits(
	since timestamptz, until timestamptz, step interval,
	OUT bucket timestamptz, OUT at timestamptz, OUT wait_event_type text,
	OUT wait_event text, OUT observations bigint, OUT looks bigint,
	OUT coarseness int)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 1000
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN g.fits THEN date_bin($3, p.at, '2001-01-01 00:00:00+00') ELSE p.at END AS bucket, p.at,
	p.wait_event_type, p.wait_event, p.observations::bigint, p.looks, p.coarseness
FROM infra_monitor.history_grains('wait_samples', $1, $2, $3) g
	-- with OFFSET, these are scans of their own, of those partitions that they need
	CROSS JOIN LATERAL (
		(SELECT w.sampled_at AS at, w.wait_event_type, w.wait_event, sum(w.observations) AS observations,
			max(w.looks) AS looks, 0 AS coarseness
		FROM infra_monitor.wait_samples w
		WHERE g.grain = 'sample' AND w.sampled_at >= g.from_at AND w.sampled_at < g.until_at
		GROUP BY 1, 2, 3 OFFSET 0)
		UNION ALL
		(SELECT h.begins_at, h.wait_event_type, h.wait_event, sum(h.observations), max(h.looks), 1
		FROM infra_monitor.wait_samples_hourly h
		WHERE g.grain = 'hour' AND h.begins_at >= g.from_at AND h.begins_at < g.until_at
		GROUP BY 1, 2, 3 OFFSET 0)
		UNION ALL
		(SELECT d.begins_at, d.wait_event_type, d.wait_event, sum(d.observations), max(d.looks), 2
		FROM infra_monitor.wait_samples_daily d
		WHERE g.grain = 'day' AND d.begins_at >= g.from_at AND d.begins_at < g.until_at
		GROUP BY 1, 2, 3 OFFSET 0)
	) p
$$;
COMMENT ON FUNCTION infra_monitor.stored_waits(timestamptz, timestamptz, interval) IS
'source of wait_history() and compare(): the rows of wait_samples and its rollups by event, each with all looks of the same moment; coarseness: 0 samples, 1 hours, 2 days; for pg_monitor';

-- the rows of wait_history(), for arguments that are known to be good
CREATE FUNCTION infra_monitor.wait_buckets(
	since timestamptz, until timestamptz, step interval,
	OUT bucket timestamptz, OUT wait_event_type text, OUT wait_event text,
	OUT active_avg float8, OUT grain text)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 1000
SET search_path = pg_catalog, pg_temp
SET jit = off -- most partitions that the planner counts are not read
AS $$
WITH seen AS MATERIALIZED (
	SELECT * FROM infra_monitor.stored_waits($1, $2, $3)
), looks AS (
	-- each row of a writing has all its looks
	SELECT l.bucket, sum(l.looks) AS looks, max(l.coarseness) AS coarseness
	FROM (SELECT DISTINCT s.bucket, s.at, s.looks, s.coarseness FROM seen s) l
	GROUP BY l.bucket
	HAVING sum(l.looks) > 0
), events AS (
	SELECT s.bucket, s.wait_event_type, s.wait_event, sum(s.observations) AS observations
	FROM seen s
	WHERE s.wait_event IS NOT NULL
	GROUP BY s.bucket, s.wait_event_type, s.wait_event
)
SELECT l.bucket, e.wait_event_type, e.wait_event, (coalesce(e.observations, 0) / l.looks)::float8,
	(ARRAY['sample', 'hour', 'day'])[1 + l.coarseness]
FROM looks l
	LEFT JOIN events e ON e.bucket = l.bucket
ORDER BY l.bucket, e.observations DESC NULLS LAST, e.wait_event_type, e.wait_event
$$;
COMMENT ON FUNCTION infra_monitor.wait_buckets(timestamptz, timestamptz, interval) IS
'source of wait_history(), which checks the arguments; for pg_monitor';

CREATE FUNCTION infra_monitor.wait_history(
	since timestamptz, until timestamptz DEFAULT pg_catalog.now(),
	step interval DEFAULT NULL,
	OUT bucket timestamptz, OUT wait_event_type text, OUT wait_event text,
	OUT active_avg float8, OUT grain text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000
SET search_path = pg_catalog, pg_temp
AS $$ SELECT * FROM infra_monitor.wait_buckets($1, $2, infra_monitor.history_step($1, $2, $3)) $$;
COMMENT ON FUNCTION infra_monitor.wait_history(timestamptz, timestamptz, interval) IS
'what active sessions waited for from since until before until, in buckets of a step, by default one that gives 300 buckets or less; bucket is when one begins, counted from Mondays 00:00 UTC; a row for each event that was seen, as in wait_samples, the most frequent first; active_avg: sessions that were seen so, on average over all looks at the sessions in that bucket; one row without an event, and 0, if nobody was active; a bucket without looks is absent; grain as in pool_history(); error for a span or a step that makes no sense, a span of which nothing is kept, and more than 100000 buckets; for pg_monitor';
