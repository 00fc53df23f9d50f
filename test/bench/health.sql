--
-- The measurements of test/bench/health: what it costs to ask for the health of
-- the server, and what it costs to evaluate it.
--
-- Time is that of the server, in one session, without the client.  Both take
-- turns in short slices; a ratio is the median of those of the slices.  Queries
-- are planned each time, as those of a probe are.
--
\set QUIET on
\pset footer off
SET client_min_messages = warning;

CREATE FUNCTION pg_temp.cost(query text, times int) RETURNS float8
LANGUAGE plpgsql AS $$
DECLARE
	start timestamptz := clock_timestamp();
BEGIN
	FOR i IN 1 .. times LOOP
		EXECUTE query;
	END LOOP;
	RETURN extract(epoch FROM clock_timestamp() - start) * 1000 / times;
END $$;

CREATE TEMP TABLE slices AS
SELECT pg_temp.cost('SELECT infra_monitor.evaluate_health()', 5) AS evaluation,
	pg_temp.cost('SELECT infra_monitor.health()', 50) AS document,
	pg_temp.cost('SELECT infra_monitor.health(false)', 50) AS summary,
	pg_temp.cost('SELECT infra_monitor.health_status()', 50) AS status
FROM generate_series(1, 31) slice;

CREATE TEMP TABLE measured AS
SELECT (SELECT count(*) FROM infra_monitor.check_defaults()) AS checks,
	(SELECT length(infra_monitor.health()::text)) AS bytes,
	percentile_disc(0.5) WITHIN GROUP (ORDER BY evaluation) AS evaluation,
	percentile_disc(0.5) WITHIN GROUP (ORDER BY document) AS document,
	percentile_disc(0.5) WITHIN GROUP (ORDER BY document / evaluation) AS document_ratio,
	percentile_disc(0.5) WITHIN GROUP (ORDER BY summary / evaluation) AS summary_ratio,
	percentile_disc(0.5) WITHIN GROUP (ORDER BY status / evaluation) AS status_ratio
FROM slices;

SELECT checks, bytes, round(evaluation::numeric, 2) AS "evaluation, ms", round(document::numeric, 3) AS "health(), ms" FROM measured;
SELECT what AS "times as much as a full evaluation", round(ratio::numeric, 4) AS ratio,
	CASE WHEN ratio <= 0.05 THEN 'met' ELSE 'MISSED' END AS "target: at most 0.05"
FROM measured, LATERAL (VALUES ('health()', document_ratio), ('health(false)', summary_ratio), ('health_status()', status_ratio)) v (what, ratio);
SELECT document_ratio <= 0.05 AS met FROM measured \gset
\if :met
\else
	\warn the target is missed
	SELECT 1 / 0;
\endif
