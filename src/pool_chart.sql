
--
-- pool_chart.sql: the history of the pool as a picture made of characters
--

-- arrays, because the planner expects a thousand rows of each generate_series()
CREATE FUNCTION infra_monitor.draw_pool(
	begins timestamptz, step interval, used int[], refused bigint[],
	most int, height int)
RETURNS SETOF text
LANGUAGE sql STABLE PARALLEL SAFE ROWS 11
SET search_path = pg_catalog, pg_temp
AS $$
WITH times AS MATERIALIZED (
	SELECT w, $1 + w * $2 AS ends,
		CASE WHEN w * $2 <= '10 minutes' THEN 'HH24:MI:SS' WHEN w * $2 <= '1 day' THEN 'HH24:MI' ELSE 'MM-DD HH24:MI' END AS f
	FROM (SELECT cardinality($3) AS w) c
), scale AS MATERIALIZED (
	-- a row stands for one connection at least
	SELECT m.top, least(greatest($6, 1), 100, m.top) AS h
	FROM (SELECT greatest($5, max(u), 1) AS top FROM unnest($3) u) m
), lines (y, line) AS (
	SELECT s.h + 1, format('used connections, %s a column; = limit of ordinary roles: %s; ! refused: %s',
		to_char($2, 'HH24:MI:SS'), $5, coalesce((SELECT sum(r) FROM unnest($4) r)::text, '?'))
	FROM scale s
	UNION ALL
	SELECT r.y, lpad((s.top * r.y / s.h)::text, length(s.top::text)) || CASE r.y WHEN 0 THEN ' +' ELSE ' |' END
		|| (SELECT string_agg(CASE
				WHEN u.used IS NULL THEN ' '
				WHEN r.y = 0 THEN CASE WHEN u.refused > 0 THEN '!' ELSE '-' END
				WHEN (u.used * s.h + s.top - 1) / s.top >= r.y THEN '#'
				WHEN ($5 * s.h + s.top - 1) / s.top = r.y THEN '='
				ELSE ' ' END, '' ORDER BY u.x)
			FROM unnest($3, $4) WITH ORDINALITY AS u (used, refused, x))
	FROM scale s CROSS JOIN LATERAL generate_series(0, s.h) r (y)
	UNION ALL
	SELECT -1, repeat(' ', length(s.top::text) + 2)
		|| rpad(CASE WHEN t.w < 3 * length(t.f) + 6 THEN to_char($1, t.f)
			ELSE rpad(to_char($1, t.f), t.w / 2) || to_char($1 + t.w / 2 * $2, t.f) END,
			t.w - length(to_char(t.ends, t.f)))
		|| to_char(t.ends, t.f)
	FROM times t, scale s
)
SELECT rtrim(line) FROM lines ORDER BY y DESC
$$;
COMMENT ON FUNCTION infra_monitor.draw_pool(timestamptz, interval, int[], bigint[], int, int) IS
'the picture of pool_chart(): columns of a step each, from begins on, with the most connections that were used in each and how many were refused, NULL: not known; most: the limit of ordinary roles; for pg_monitor';

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
	SELECT w, step, e AS ends, e - w * step AS begins
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
), columns AS MATERIALIZED (
	SELECT array_agg(h.used ORDER BY c.x) AS used, array_agg(h.rejected ORDER BY c.x) AS rejected
	FROM times t CROSS JOIN LATERAL generate_series(1, t.w) c (x)
		LEFT JOIN history h ON h.x = c.x
)
SELECT d.line
FROM times t CROSS JOIN capacity p CROSS JOIN columns c
	CROSS JOIN LATERAL infra_monitor.draw_pool(t.begins, t.step, c.used, c.rejected, p.most, $3) WITH ORDINALITY AS d (line, n)
ORDER BY d.n
$$;
COMMENT ON FUNCTION infra_monitor.pool_chart(interval, int, int, timestamptz) IS
'used connections over a time that ends at until, by default now, drawn with characters: a column is # up to the most that were used in its time, = is the limit of ordinary roles, ! below marks refusals, and where there are no samples nothing is drawn; numbers at the left are what a row reaches up to; width from 24 to 400 columns, which should not be more than there are samples, height from 1 to 100 rows and two or three lines around them; for pg_monitor';
