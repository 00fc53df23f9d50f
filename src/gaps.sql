
--
-- gaps.sql: when nobody looked
--

CREATE FUNCTION infra_monitor.sample_spans(
	since timestamptz, until timestamptz,
	OUT at timestamptz, OUT behind timestamptz, OUT covered timestamptz,
	OUT is_bad boolean, OUT missed int, OUT epoch bigint,
	OUT next_epoch bigint, OUT measured boolean)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL RESTRICTED ROWS 10000
SET search_path = pg_catalog, pg_temp
AS $$
WITH stored AS (
	-- one by take_sample() promises nothing, and leaves the promise before as it is
	SELECT s.sampled_at AS at, s.health_status = 'unhealthy' AS is_bad, s.epoch,
		max(CASE WHEN s.sample_interval IS NOT NULL THEN s.sampled_at END) OVER by_time AS promised_at,
		(max(CASE WHEN s.sample_interval IS NOT NULL THEN ARRAY[date_part('epoch', s.sampled_at), date_part('epoch', s.sample_interval)] END)
			OVER by_time)[2] * interval '1 second' AS apart,
		lead(s.sampled_at) OVER by_time AS next, lead(s.epoch) OVER by_time AS next_epoch,
		lead(s.elapsed_time) OVER by_time * interval '1 millisecond' AS elapsed
	FROM infra_monitor.samples s
	-- from the last one before, and from what had been promised by then
	WHERE s.sampled_at >= coalesce(
			(SELECT max(b.sampled_at) FROM infra_monitor.samples b
				WHERE b.sampled_at >= $1 - interval '3 hours' AND b.sampled_at < $1),
			(SELECT max(b.sampled_at) FROM infra_monitor.samples b WHERE b.sampled_at < $1), $1) - interval '3 hours'
		AND s.sampled_at < $2
	WINDOW by_time AS (ORDER BY s.sampled_at ROWS UNBOUNDED PRECEDING)
), promised AS (
	SELECT s.*, s.promised_at + s.apart AS due, s.promised_at + 2.5 * s.apart AS late
	FROM stored s
), judged AS (
	SELECT p.*, coalesce(p.next, $2) AS behind,
		-- not one that only the setting of a clock has made
		p.late >= p.at AND coalesce(p.next, $2) > p.late AND (p.elapsed > 2.5 * p.apart) IS NOT FALSE AS is_gap,
		p.next - p.at - p.elapsed > p.apart AS clock_was_set
	FROM promised p
), measured AS (
	SELECT j.*, CASE WHEN NOT j.is_gap OR j.is_gap IS NULL THEN j.behind
		WHEN j.clock_was_set THEN j.behind - j.elapsed + j.apart
		ELSE greatest(j.due, j.at) END AS covered
	FROM judged j
)
SELECT m.at, m.behind, m.covered, m.is_bad,
	CASE WHEN NOT m.is_gap THEN 0
		WHEN m.next IS NULL THEN 1 + floor(extract(epoch FROM m.behind - m.covered) / extract(epoch FROM m.apart))
		ELSE greatest(1, round(extract(epoch FROM m.behind - m.covered) / extract(epoch FROM m.apart))) END::int,
	m.epoch, m.next_epoch, m.elapsed IS NOT NULL
FROM measured m
$$;
COMMENT ON FUNCTION infra_monitor.sample_spans(timestamptz, timestamptz) IS
'source of history_gaps() and availability(): each sample up to "until", from the last before "since" and three hours before that one on; it speaks for the time up to "covered", which is the next sample or "until" (behind), unless that comes more than 2.5 times sample_interval after the sample that promised it: then there is a gap, and it speaks for one interval; missed: samples that should be in the gap; measured: the server has not been started between this sample and the next; for pg_monitor';

CREATE FUNCTION infra_monitor.history_gaps(
	since timestamptz, until timestamptz DEFAULT pg_catalog.now(),
	OUT from_at timestamptz, OUT until_at timestamptz, OUT missed int,
	OUT reason text)
RETURNS SETOF record
LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
SELECT s.covered, s.behind, s.missed,
	CASE WHEN n.timeline > e.timeline THEN 'promotion'
		WHEN n.started_at <> e.started_at THEN 'restart'
		WHEN n.initialized_at <> e.initialized_at THEN 'crash'
		WHEN s.measured THEN 'not sampled' END
FROM infra_monitor.sample_spans($1, least($2, clock_timestamp())) s
	LEFT JOIN LATERAL (SELECT * FROM infra_monitor.epochs x WHERE x.epoch = s.epoch LIMIT 1) e ON true
	LEFT JOIN LATERAL (SELECT * FROM infra_monitor.epochs x WHERE x.epoch = s.next_epoch LIMIT 1) n ON true
WHERE s.covered < s.behind AND s.behind > $1 AND infra_monitor.history_step($1, $2, NULL) IS NOT NULL
ORDER BY 1
$$;
COMMENT ON FUNCTION infra_monitor.history_gaps(timestamptz, timestamptz) IS
'when samples are missing between two moments: from when the first was due (from_at) to the one that came, or to until (until_at); a gap that has begun before is shown whole; it is one where the next sample is more than 2.5 times the sample_interval of the last away, and not only the clock was set; missed: how many; reason: promotion, restart or crash, which happened in it, or not sampled, where the server ran on but the sampler did not, or could not write; NULL: not known, as at its end now; what was before the first sample that is kept is no gap; error if the span is not finite or ends before it begins; for pg_monitor';
