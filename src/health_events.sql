
--
-- health_events.sql: what has changed in the health of the server, and when
--

CREATE TABLE infra_monitor.health_events (
	at timestamptz NOT NULL,
	check_name text NOT NULL,
	old_status text,
	new_status text NOT NULL,
	value float8,
	message text,
	since timestamptz NOT NULL,
	old_since timestamptz
) PARTITION BY RANGE (at);
COMMENT ON TABLE infra_monitor.health_events IS
'one row each time that a check changes its status, or the server its own, in partitions by UTC day, kept for infra_monitor.retention; not dumped; written by the sampler only; for pg_monitor';
COMMENT ON COLUMN infra_monitor.health_events.at IS 'when the new status was evaluated as often as its check demands, and counted';
COMMENT ON COLUMN infra_monitor.health_events.check_name IS 'overall: the status of the server';
COMMENT ON COLUMN infra_monitor.health_events.old_status IS 'NULL: it was never evaluated before';
COMMENT ON COLUMN infra_monitor.health_events.new_status IS 'ok, warning, critical or unknown; of overall healthy, degraded or unhealthy';
COMMENT ON COLUMN infra_monitor.health_events.value IS 'of the check then, in its unit; of overall, the score';
COMMENT ON COLUMN infra_monitor.health_events.message IS 'of the check then, its first 383 bytes; of overall, the checks that are critical or warn';
COMMENT ON COLUMN infra_monitor.health_events.since IS 'when the value first was so';
COMMENT ON COLUMN infra_monitor.health_events.old_since IS 'since when it had its old status';

CREATE INDEX health_events_at_idx ON infra_monitor.health_events
	USING brin (at) WITH (pages_per_range = 16, autosummarize = on);
COMMENT ON INDEX infra_monitor.health_events_at_idx IS
'finds a part of a day; whole days are found by their partitions';

CREATE TABLE infra_monitor.health_state (
	check_name text PRIMARY KEY,
	status text NOT NULL,
	since timestamptz NOT NULL,
	changed_at timestamptz NOT NULL
);
COMMENT ON TABLE infra_monitor.health_state IS
'the status of each check as it was stored last, with which the sampler begins after a start; one row for each check and one for the server, written when it changes; not dumped; written by the sampler only; for pg_monitor';
COMMENT ON COLUMN infra_monitor.health_state.check_name IS 'overall: the status of the server';
COMMENT ON COLUMN infra_monitor.health_state.since IS 'when the value first was so';
COMMENT ON COLUMN infra_monitor.health_state.changed_at IS 'when that counted';

CREATE FUNCTION infra_monitor.health_history(
	since timestamptz, until timestamptz DEFAULT now(),
	OUT check_name text, OUT status text, OUT from_at timestamptz,
	OUT until_at timestamptz)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100
SET search_path = pg_catalog, pg_temp
AS $$
WITH span AS MATERIALIZED (
	SELECT $1 AS since, least($2, now()) AS until
	WHERE infra_monitor.history_step($1, $2, NULL) IS NOT NULL
), events AS MATERIALIZED (
	SELECT e.check_name, e.old_status, e.new_status, e.old_since, e.since,
		lead(e.since) OVER later AS ends,
		row_number() OVER later = 1 AS first
	FROM infra_monitor.health_events e, span
	WINDOW later AS (PARTITION BY e.check_name ORDER BY e.at, e.since)
), periods AS (
	SELECT e.check_name, e.new_status AS status, e.since AS from_at, e.ends AS until_at
	FROM events e
	UNION ALL
	-- what was before the first that is still stored
	SELECT e.check_name, e.old_status, e.old_since, e.since
	FROM events e WHERE e.first AND e.old_status IS NOT NULL
	UNION ALL
	-- what has not changed for as long as changes are stored
	SELECT s.check_name, s.status, s.since, NULL
	FROM infra_monitor.health_state s
	WHERE NOT EXISTS (SELECT FROM events e WHERE e.check_name = s.check_name)
)
SELECT p.check_name, p.status, greatest(p.from_at, span.since),
	least(coalesce(p.until_at, span.until), span.until)
FROM periods p, span
WHERE p.from_at < span.until
	AND (p.until_at IS NULL OR p.until_at > greatest(p.from_at, span.since))
ORDER BY 1, 3
$$;
COMMENT ON FUNCTION infra_monitor.health_history(timestamptz, timestamptz) IS
'which status each check had when, and the server (overall), between two moments: periods without a gap from the first evaluation that is known, cut at the ends of the span; it does not say whether the server ran; error if the span is not finite or ends before it begins; for pg_monitor';
