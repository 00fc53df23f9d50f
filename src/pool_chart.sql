
--
-- pool_chart.sql: the history of the pool as a picture made of characters
--

CREATE FUNCTION infra_monitor.pool_chart(
	since interval DEFAULT '1 hour', width int DEFAULT 60,
	height int DEFAULT 8, until timestamptz DEFAULT pg_catalog.now())
RETURNS SETOF text
LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED ROWS 11
SET search_path = pg_catalog, pg_temp
AS $$
WITH steps AS (
	-- of whole seconds
	SELECT w, make_interval(secs => greatest(ceil(extract(epoch FROM $1)::float8 / w), 1)) AS step
	FROM (SELECT least(greatest($2, 24), 400) AS w) c
), times AS MATERIALIZED (
	-- the last column has $4 in it, or ends there
	SELECT w, step, e AS ends, e - w * step AS begins,
		CASE WHEN w * step <= '10 minutes' THEN 'HH24:MI:SS' WHEN w * step <= '1 day' THEN 'HH24:MI' ELSE 'MM-DD HH24:MI' END AS f
	FROM steps, LATERAL (SELECT date_bin(step, $4 - interval '1 microsecond', '2001-01-01 00:00:00+00') + step AS e) d
), history AS MATERIALIZED (
	SELECT 1 + round(extract(epoch FROM h.bucket - t.begins) / extract(epoch FROM t.step))::int AS x, h.used_max AS used, h.rejected
	FROM times t, LATERAL infra_monitor.pool_history(t.begins, t.ends, t.step) h
), capacity AS MATERIALIZED (
	SELECT coalesce(
		(SELECT s.max_connections - s.reserved_connections FROM infra_monitor.samples s, times t
		 WHERE s.sampled_at >= t.begins AND s.sampled_at < t.ends AND NOT pg_is_in_recovery()
		 ORDER BY s.sampled_at DESC LIMIT 1),
		current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
			- coalesce(current_setting('reserved_connections', true)::int, 0)) AS most
), scale AS MATERIALIZED (
	-- a row stands for one connection at least
	SELECT c.most, m.top, least(greatest($3, 1), 100, m.top) AS h
	FROM capacity c, LATERAL (SELECT greatest(c.most, max(used), 1) AS top FROM history) m
), columns AS MATERIALIZED (
	-- arrays, because the planner expects a thousand rows of each generate_series()
	SELECT array_agg(h.used ORDER BY c.x) AS used, array_agg(h.rejected > 0 ORDER BY c.x) AS refused
	FROM times t CROSS JOIN LATERAL generate_series(1, t.w) c (x)
		LEFT JOIN history h ON h.x = c.x
), lines (y, line) AS (
	SELECT s.h + 1, format('used connections, %s a column; = limit of ordinary roles: %s; ! refused: %s',
		t.step, s.most, coalesce((SELECT sum(rejected) FROM history)::text, '?'))
	FROM times t, scale s
	UNION ALL
	SELECT r.y, lpad((s.top * r.y / s.h)::text, length(s.top::text)) || CASE r.y WHEN 0 THEN ' +' ELSE ' |' END
		|| (SELECT string_agg(CASE
				WHEN u.used IS NULL THEN ' '
				WHEN r.y = 0 THEN CASE WHEN u.refused THEN '!' ELSE '-' END
				WHEN (u.used * s.h + s.top - 1) / s.top >= r.y THEN '#'
				WHEN (s.most * s.h + s.top - 1) / s.top = r.y THEN '='
				ELSE ' ' END, '' ORDER BY u.x)
			FROM unnest(c.used, c.refused) WITH ORDINALITY AS u (used, refused, x))
	FROM columns c CROSS JOIN scale s CROSS JOIN LATERAL generate_series(0, s.h) r (y)
	UNION ALL
	SELECT -1, repeat(' ', length(s.top::text) + 2)
		|| rpad(CASE WHEN t.w < 3 * length(t.f) + 6 THEN to_char(t.begins, t.f)
			ELSE rpad(to_char(t.begins, t.f), t.w / 2) || to_char(t.begins + t.w / 2 * t.step, t.f) END,
			t.w - length(to_char(t.ends, t.f)))
		|| to_char(t.ends, t.f)
	FROM times t, scale s
)
SELECT rtrim(line) FROM lines ORDER BY y DESC
$$;
COMMENT ON FUNCTION infra_monitor.pool_chart(interval, int, int, timestamptz) IS
'used connections over a time that ends at until, by default now, drawn with characters: a column is # up to the most that were used in its time, = is the limit of ordinary roles, ! below marks refusals, and where there are no samples nothing is drawn; numbers at the left are what a row reaches up to; width from 24 to 400 columns, which should not be more than there are samples, height from 1 to 100 rows and two or three lines around them; for pg_monitor';
