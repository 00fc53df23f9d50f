
--
-- wait_history.sql: what sessions waited for
--

-- the rows of wait_history(), for arguments that are known to be good
CREATE FUNCTION infra_monitor.wait_buckets(
	since timestamptz, until timestamptz, step interval,
	OUT bucket timestamptz, OUT wait_event_type text, OUT wait_event text,
	OUT active_avg float8, OUT grain text)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 1000
SET search_path = pg_catalog, pg_temp
AS $$
WITH seen AS MATERIALIZED (
	SELECT date_bin($3, w.sampled_at, '2001-01-01 00:00:00+00') AS bucket, w.sampled_at, w.wait_event_type, w.wait_event,
		sum(w.observations) AS observations, max(w.looks) AS looks
	FROM infra_monitor.wait_samples w
	WHERE w.sampled_at >= $1 AND w.sampled_at < $2
	GROUP BY w.sampled_at, w.wait_event_type, w.wait_event
), looks AS (
	-- each row of a writing has all its looks
	SELECT l.bucket, sum(l.looks) AS looks
	FROM (SELECT DISTINCT s.bucket, s.sampled_at, s.looks FROM seen s) l
	GROUP BY l.bucket
), events AS (
	SELECT s.bucket, s.wait_event_type, s.wait_event, sum(s.observations) AS observations
	FROM seen s
	WHERE s.wait_event IS NOT NULL
	GROUP BY s.bucket, s.wait_event_type, s.wait_event
)
SELECT l.bucket, e.wait_event_type, e.wait_event, (coalesce(e.observations, 0) / l.looks)::float8, 'sample'
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
'what active sessions waited for from since until before until, in buckets of a step, by default one that gives 300 buckets or less; bucket is when one begins, counted from Mondays 00:00 UTC; a row for each event that was seen, as in wait_samples, the most frequent first; active_avg: sessions that were seen so, on average over all looks at the sessions in that bucket; one row without an event, and 0, if nobody was active; a bucket without looks is absent; grain: rows of what it is made of, sample; error for a span or a step that makes no sense, and more than 100000 buckets; for pg_monitor';
