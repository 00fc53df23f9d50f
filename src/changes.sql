
--
-- changes.sql: what has changed: settings, and the server itself
--

CREATE TABLE infra_monitor.setting_samples (
	sampled_at timestamptz NOT NULL,
	epoch bigint NOT NULL,
	number bigint NOT NULL,
	name text NOT NULL,
	setting text,
	unit text,
	source text,
	pending_restart boolean,
	change text,
	old_setting text
) PARTITION BY RANGE (sampled_at);
COMMENT ON TABLE infra_monitor.setting_samples IS
'settings of the server, as a session of the sampler''s role in the home database has them: all that are not at their defaults with the first writing of each UTC day, then those that have changed, also across a restart; in partitions by day, kept for infra_monitor.retention; not dumped; written by the sampler only; for pg_monitor';
COMMENT ON COLUMN infra_monitor.setting_samples.epoch IS 'as in samples';
COMMENT ON COLUMN infra_monitor.setting_samples.number IS 'of the writing; greater in each than in those before on the same day, whatever the clock said';
COMMENT ON COLUMN infra_monitor.setting_samples.setting IS 'as in pg_settings; NULL: not stored, as it might be a secret: settings that not everybody may see, commands, conninfo, and texts of other extensions; or there is no such setting any more';
COMMENT ON COLUMN infra_monitor.setting_samples.unit IS 'as in pg_settings';
COMMENT ON COLUMN infra_monitor.setting_samples.source IS 'as in pg_settings; NULL: not known, for the sampler has a value of its own';
COMMENT ON COLUMN infra_monitor.setting_samples.pending_restart IS 'there is another value in the configuration file, which needs a restart';
COMMENT ON COLUMN infra_monitor.setting_samples.change IS 'what has changed since it was stored before: value, pending_restart or source; NULL: nothing';
COMMENT ON COLUMN infra_monitor.setting_samples.old_setting IS 'the value before, where that has changed';

CREATE FUNCTION infra_monitor.setting_text(setting text, unit text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN $2 IS NULL OR $1 IS NULL OR NOT n.amount > 0 OR n.amount IS NULL THEN $1
	ELSE coalesce((
		SELECT trim_scale(n.amount / u.size) || u.name
		FROM (VALUES ('TB', 1099511627776::numeric, true), ('GB', 1073741824, true), ('MB', 1048576, true), ('kB', 1024, true), ('B', 1, true),
			('d', 86400000, false), ('h', 3600000, false), ('min', 60000, false), ('s', 1000, false), ('ms', 1, false), ('us', 0.001, false)
		) AS u (name, size, of_memory)
		WHERE u.of_memory = ($2 ~ 'B$') AND mod(n.amount, u.size) = 0
		ORDER BY u.size DESC LIMIT 1), $1 || ' ' || $2) END
FROM (SELECT infra_monitor.setting_number($1, $2)::numeric AS amount) n
$$;
COMMENT ON FUNCTION infra_monitor.setting_text(text, text) IS
'a setting with its unit, as SHOW shows it: 8MB; for pg_monitor';

CREATE FUNCTION infra_monitor.changes(
	since timestamptz, until timestamptz DEFAULT pg_catalog.now(),
	OUT at timestamptz, OUT kind text, OUT name text, OUT old text,
	OUT new text)
RETURNS SETOF record
LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED ROWS 100
SET search_path = pg_catalog, pg_temp
AS $$
WITH beginnings AS (
	SELECT e.*, lag(e) OVER (ORDER BY e.number) AS last
	FROM infra_monitor.epochs e
), of_server AS (
	SELECT c.*
	FROM beginnings b CROSS JOIN LATERAL (VALUES
		(b.sampled_at, 'upgrade', 'server_version', (b.last).server_version, b.server_version,
			(b.last).server_version <> b.server_version),
		(b.sampled_at, 'promotion', 'timeline', (b.last).timeline::text, b.timeline::text,
			(b.last).timeline < b.timeline),
		(b.started_at, 'restart', 'server', (b.last).started_at::text, b.started_at::text,
			(b.last).started_at <> b.started_at AND (b.last).timeline >= b.timeline),
		(b.initialized_at, 'crash', 'server', (b.last).initialized_at::text, b.initialized_at::text,
			(b.last).started_at = b.started_at AND (b.last).initialized_at <> b.initialized_at),
		(b.pool_reset, 'reset', 'pool', (b.last).pool_reset::text, b.pool_reset::text,
			(b.last).initialized_at = b.initialized_at AND (b.last).pool_reset <> b.pool_reset),
		(b.statements_reset, 'reset', 'statements', (b.last).statements_reset::text, b.statements_reset::text,
			(b.last).initialized_at = b.initialized_at AND (b.last).statements_reset <> b.statements_reset),
		-- also one that was not the latest by the clock, which nothing else explains
		(coalesce(nullif(b.statistics_reset, (b.last).statistics_reset), b.sampled_at),
			'reset', 'statistics', (b.last).statistics_reset::text, b.statistics_reset::text,
			(b.last).epoch <> b.epoch AND (b.last).initialized_at = b.initialized_at AND (b.last).timeline = b.timeline
			AND ((b.last).statistics_reset IS DISTINCT FROM b.statistics_reset
				OR (b.last).pool_reset = b.pool_reset AND (b.last).statements_reset = b.statements_reset))
	) AS c (at, kind, name, old, new, happened)
	WHERE c.happened
), all_changes AS (
	SELECT at, kind, name, old, new, 1 AS place FROM of_server
	UNION ALL
	SELECT s.sampled_at, CASE s.change WHEN 'value' THEN 'setting' ELSE 'pending restart' END, s.name,
		CASE s.change WHEN 'value' THEN infra_monitor.setting_text(s.old_setting, s.unit) END,
		CASE s.change WHEN 'value' THEN infra_monitor.setting_text(s.setting, s.unit) END, 2
	FROM infra_monitor.setting_samples s
	WHERE s.sampled_at >= $1 AND s.sampled_at < $2
		AND (s.change = 'value' OR s.change = 'pending_restart' AND s.pending_restart)
	UNION ALL
	SELECT g.from_at, 'gap', coalesce(g.reason, 'not known'), NULL, (g.until_at - g.from_at)::text, 0
	FROM infra_monitor.history_gaps($1, $2) g
)
SELECT c.at, c.kind, c.name, c.old, c.new
FROM all_changes c
WHERE c.at >= $1 AND c.at < $2 AND infra_monitor.history_step($1, $2, NULL) IS NOT NULL
ORDER BY c.at, c.place, c.kind, c.name
$$;
COMMENT ON FUNCTION infra_monitor.changes(timestamptz, timestamptz) IS
'what has changed from since until before until, oldest first; kind: setting (name, old and new value with unit; both NULL if the value might be a secret), pending restart (the configuration file has another value), restart, crash (the server began anew by itself), promotion (old and new timeline), upgrade (old and new version), reset (name: pool, statements, statistics; old and new: when), gap (name: reason, new: how long; see history_gaps()); a setting is noted up to infra_monitor.statement_interval after its change; from setting_samples, epochs and samples, so only what was while samples were taken, or between two of them; error if the span is not finite or ends before it begins; for pg_monitor';
