
--
-- charts.sql: parts of a page: texts, numbers, and charts as inline SVG
--
-- A chart has no fixed width.  What is drawn in its plot has coordinates from 0
-- to 1000, with 0 at the top left, and is stretched to the width of the page;
-- lines and letters keep theirs.
--

CREATE FUNCTION infra_monitor.html(text)
RETURNS text
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_html_1_0';
COMMENT ON FUNCTION infra_monitor.html(text) IS
'what stands for a text in HTML and XML, between tags and in quotes: ASCII; control characters become pictures of them, and those that have none or change the direction of other text become U+FFFD; tabs and ends of lines stay; for pg_monitor';

CREATE FUNCTION infra_monitor.html_name(string text, width int DEFAULT 40)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN $1 IS NULL THEN '<span class="none">&#8212;</span>'
	WHEN short = $1 THEN format('<bdi>%s</bdi>', infra_monitor.html($1))
	ELSE format('<bdi title="%s">%s</bdi>', infra_monitor.html($1), infra_monitor.html(short)) END
FROM (SELECT infra_monitor.one_line($1, $2) AS short) o
$$;
COMMENT ON FUNCTION infra_monitor.html_name(text, int) IS
'a name in a page: on one line, cut to a width, and then whole where the mouse points; its direction is its own; a dash for NULL; for pg_monitor';

CREATE FUNCTION infra_monitor.html_query(query text, width int DEFAULT 90)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN $1 IS NULL THEN '<span class="none">text not known</span>'
	WHEN short = $1 THEN format('<code><bdi>%s</bdi></code>', infra_monitor.html($1))
	ELSE format('<details><summary><code><bdi>%s</bdi></code></summary><pre><bdi>%s</bdi></pre></details>',
		infra_monitor.html(short), infra_monitor.html(left($1, 4000) || CASE WHEN length($1) > 4000 THEN ' ...' ELSE '' END)) END
FROM (SELECT infra_monitor.one_line($1, $2) AS short) o
$$;
COMMENT ON FUNCTION infra_monitor.html_query(text, int) IS
'the text of a statement in a page: one line that opens, to 4000 characters of it; for pg_monitor';

--
-- numbers
--

CREATE FUNCTION infra_monitor.short_number(value float8)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN a < 'Infinity' THEN
		CASE WHEN a >= 1e15 THEN trim(to_char($1, '9.99EEEE'))
			WHEN a >= 1000 THEN trim(to_char($1, 'FM999,999,999,999,999'))
			WHEN a = 0 THEN '0'
			WHEN a < 1e-6 THEN trim(to_char($1, '9.99EEEE'))
			ELSE trim_scale(round($1::numeric, greatest(2 - floor(log(a))::int, 0)))::text END
	ELSE $1::text END
FROM (SELECT abs($1) AS a) v
$$;
COMMENT ON FUNCTION infra_monitor.short_number(float8) IS
'a number for people: three digits that count, from a thousand on all of them, in groups; for pg_monitor';

CREATE FUNCTION infra_monitor.short_time(ms float8)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT infra_monitor.short_number($1 / u.length) || ' ' || u.name
FROM (VALUES (0::float8, 1e-3, 'us'), (0.9995, 1, 'ms'), (999.5, 1e3, 's'), (6e5, 6e4, 'min'), (3.6e6, 3.6e6, 'h'),
	(1.728e8, 8.64e7, 'd')) AS u (from_ms, length, name)
WHERE u.from_ms <= abs($1)
ORDER BY u.from_ms DESC LIMIT 1
$$;
COMMENT ON FUNCTION infra_monitor.short_time(float8) IS
'a duration in milliseconds for people, in the unit that suits it: us, ms, s, min, h, d; for pg_monitor';

--
-- axes
--

CREATE FUNCTION infra_monitor.axis_step(most float8, ticks int DEFAULT 5)
RETURNS float8
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT min(s.size * power(10, p.power))
FROM (SELECT floor(log(greatest($1, 1e-6) / $2)) AS power) p, unnest('{1,2,5,10}'::float8[]) s (size)
WHERE s.size * power(10, p.power) >= greatest($1, 1e-6) / $2 * (1 - 1e-9)
$$;
COMMENT ON FUNCTION infra_monitor.axis_step(float8, int) IS
'how far apart the ticks of an axis from 0 to most are: 1, 2 or 5 times a power of 10, so that there are at most so many; for pg_monitor';

CREATE FUNCTION infra_monitor.axis_ticks(top float8, step float8,
	OUT value float8, OUT place float8)
RETURNS SETOF record
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE ROWS 6
SET search_path = pg_catalog, pg_temp
AS $$
SELECT n * $2, n * $2 / $1 FROM generate_series(0, round($1 / $2)::int) n
$$;
COMMENT ON FUNCTION infra_monitor.axis_ticks(float8, float8) IS
'the ticks of an axis from 0 to top, which is a tick: value, and place from 0 to 1; for pg_monitor';

CREATE FUNCTION infra_monitor.log_axis_ticks(fewest float8, most float8,
	OUT value float8, OUT place float8)
RETURNS SETOF record
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE ROWS 6
SET search_path = pg_catalog, pg_temp
AS $$
WITH decades AS (
	SELECT floor(log($1) + 1e-9)::int AS low, greatest(ceil(log($2) - 1e-9)::int, floor(log($1) + 1e-9)::int + 1) AS high
), axis AS (
	-- of many decades, each second or third has a tick, and so has the last
	SELECT low, low + ceil((high - low)::float8 / n)::int * n AS high, n FROM decades, LATERAL (SELECT 1 + (high - low) / 6) t (n)
)
SELECT s.size * power(10::float8, p), (log(s.size) + p - low) / (high - low)
FROM axis, generate_series(low, high, n) p, unnest('{1,2,5}'::float8[]) s (size)
WHERE s.size = 1 OR high - low <= 2 AND p < high
ORDER BY 1
$$;
COMMENT ON FUNCTION infra_monitor.log_axis_ticks(float8, float8) IS
'the ticks of a logarithmic axis of whole powers of 10 around two numbers, both positive: value, and place from 0 to 1; for pg_monitor';

CREATE FUNCTION infra_monitor.time_ticks(since timestamptz, until timestamptz,
	OUT label text, OUT place float8, OUT is_day boolean)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 8
SET search_path = pg_catalog, pg_temp
AS $$
WITH usual AS (
	SELECT coalesce(min(s), make_interval(days => ceil(extract(epoch FROM $2 - $1) / 8 / 86400)::int)) AS step
	FROM unnest('{1s,2s,5s,10s,15s,30s,1min,2min,5min,10min,15min,30min,1h,2h,3h,6h,12h,1d,2d,7d,14d,28d,91d}'::interval[]) s
	WHERE s >= ($2 - $1) / 8
), ticks AS (
	-- local times, to and fro: an hour that does not exist is the next one
	SELECT DISTINCT u.step, t::timestamptz AS at, t::timestamptz::timestamp AS t
	FROM usual u, generate_series(date_bin(u.step, $1::timestamp, '2001-01-01'), $2::timestamp, u.step) t
)
SELECT CASE WHEN t = date_trunc('day', t) THEN
		CASE WHEN step > '30 days' THEN to_char(t, 'FMDD Mon YYYY') ELSE to_char(t, 'Dy FMDD Mon') END
	WHEN step < '1 min' THEN to_char(t, 'HH24:MI:SS') ELSE to_char(t, 'HH24:MI') END,
	(extract(epoch FROM at - $1) / extract(epoch FROM $2 - $1))::float8, t = date_trunc('day', t)
FROM ticks WHERE at >= $1 AND at <= $2 AND $1 < $2
ORDER BY at
$$;
COMMENT ON FUNCTION infra_monitor.time_ticks(timestamptz, timestamptz) IS
'round moments in the session''s time zone between two others, not more than 10 of them: label, and place from 0 to 1; for pg_monitor';

--
-- what is drawn
--

CREATE FUNCTION infra_monitor.chart_line(at timestamptz[], place float8[],
	since timestamptz, until timestamptz, apart interval)
RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
WITH points AS (
	SELECT p.at, p.place, lag(p.at) OVER by_time AS before, lead(p.at) OVER by_time AS behind
	FROM unnest($1, $2) AS p (at, place)
	WHERE p.place IS NOT NULL
	WINDOW by_time AS (ORDER BY p.at)
), joined AS (
	SELECT at, at - before <= $5 AS to_former, behind - at <= $5 AS to_next,
		trim_scale(round((1000 * extract(epoch FROM at - $3) / extract(epoch FROM $4 - $3))::numeric, 1)) AS x,
		trim_scale(round((1000 * (1 - place))::numeric, 1)) AS y
	FROM points
	WHERE $3 < $4
)
-- one that is alone is a dot
SELECT string_agg(CASE WHEN to_former THEN 'L' ELSE 'M' END || x || ' ' || y
	|| CASE WHEN to_former OR to_next THEN '' ELSE 'h.1' END, '' ORDER BY at)
FROM joined
$$;
COMMENT ON FUNCTION infra_monitor.chart_line(timestamptz[], float8[], timestamptz, timestamptz, interval) IS
'points as the path of a line, places from 0 to 1; points that are further apart than that are not joined; for pg_monitor';

CREATE FUNCTION infra_monitor.chart_columns(at timestamptz[], behind timestamptz[],
	low float8[], high float8[], since timestamptz, until timestamptz)
RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
WITH corners AS (
	SELECT c.at, trim_scale(round((1000 * (1 - c.low))::numeric, 1)) AS bottom, trim_scale(round((1000 * (1 - c.high))::numeric, 1)) AS top,
		trim_scale(round((1000 * extract(epoch FROM greatest(c.at, $5) - $5) / extract(epoch FROM $6 - $5))::numeric, 1)) AS x,
		trim_scale(round((1000 * extract(epoch FROM least(c.behind, $6) - $5) / extract(epoch FROM $6 - $5))::numeric, 1)) AS right
	FROM unnest($1, $2, $3, $4) AS c (at, behind, low, high)
	WHERE c.high > c.low AND c.at < $6 AND c.behind > $5
)
-- narrow ones can be seen
SELECT string_agg('M' || x || ' ' || bottom || 'V' || top || 'H' || greatest("right", x + 0.8) || 'V' || bottom || 'Z', '' ORDER BY at)
FROM corners
$$;
COMMENT ON FUNCTION infra_monitor.chart_columns(timestamptz[], timestamptz[], float8[], float8[], timestamptz, timestamptz) IS
'columns, each with its begin and end, from low to high, as the path of an area; places from 0 to 1; for pg_monitor';

CREATE FUNCTION infra_monitor.chart_path(class text, path text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE WHEN $2 <> '' THEN format('<path class="%s" d="%s"/>', $1, $2) ELSE '' END $$;
COMMENT ON FUNCTION infra_monitor.chart_path(text, text) IS
'a path in a chart, nothing if there is none; for pg_monitor';

CREATE FUNCTION infra_monitor.chart(title text, since timestamptz, until timestamptz,
	height int, labels text[], places float8[], drawn text)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT format('<svg class="chart" role="img" aria-label="%1$s" height="%2$s"><title>%1$s</title>%3$s%4$s'
	'<svg viewBox="0 0 1000 1000" preserveAspectRatio="none" width="100%%" height="%5$s">%6$s</svg>%7$s</svg>',
	infra_monitor.html($1), $4 + 24,
	(SELECT string_agg(format('<line class="grid" x1="0" x2="100%%" y1="%1$s" y2="%1$s"/>', y), '' ORDER BY y)
	 FROM unnest($6) p, trim_scale(round(($4 * (1 - p))::numeric, 1)) y),
	(SELECT string_agg(format('<line class="tick" x1="%1$s%%" x2="%1$s%%" y1="%2$s" y2="%3$s"/><text class="x%4$s%5$s" x="%1$s%%" y="%6$s">%7$s</text>',
		trim_scale(round((100 * place)::numeric, 2)), $4, $4 + 5, CASE WHEN n % 2 = 0 THEN ' even' END, CASE WHEN is_day THEN ' day' END, $4 + 19,
		infra_monitor.html(label)), '' ORDER BY place)
	 FROM infra_monitor.time_ticks($2, $3) WITH ORDINALITY AS t (label, place, is_day, n)),
	$4, $7,
	(SELECT string_agg(format('<text class="y" x="-8" y="%s">%s</text>', trim_scale(round(($4 * (1 - place) + 4)::numeric, 1)), infra_monitor.html(label)), '' ORDER BY place)
	 FROM unnest($5, $6) AS t (label, place)))
$$;
COMMENT ON FUNCTION infra_monitor.chart(text, timestamptz, timestamptz, int, text[], float8[], text) IS
'a chart over time, with what is drawn in it: title, span, height, labels of the other axis and their places from 0 to 1; for pg_monitor';

CREATE FUNCTION infra_monitor.legend(names text[], classes text[])
RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT '<ul class="legend">' || string_agg(format('<li><svg width="24" height="12" aria-hidden="true"><path class="%s" d="%s"/></svg>%s</li>',
	class, CASE WHEN class LIKE 'line%' THEN 'M1 6H23' ELSE 'M1 1H23V11H1Z' END, infra_monitor.html(name)), '' ORDER BY n) || '</ul>'
FROM unnest($1, $2) WITH ORDINALITY AS l (name, class, n)
$$;
COMMENT ON FUNCTION infra_monitor.legend(text[], text[]) IS
'what the lines and areas of a chart are; for pg_monitor';

CREATE FUNCTION infra_monitor.sparkline(title text, at timestamptz[], value float8[],
	since timestamptz, until timestamptz, apart interval)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN m.most > 0 THEN format('<svg class="spark" role="img" aria-label="%1$s" viewBox="0 0 1000 1000" preserveAspectRatio="none"><title>%1$s</title>%2$s</svg>',
	infra_monitor.html($1), infra_monitor.chart_path('line spark',
		infra_monitor.chart_line($2, (SELECT array_agg(0.05 + 0.9 * v / m.most ORDER BY n) FROM unnest($3) WITH ORDINALITY AS u (v, n)), $4, $5, $6))) ELSE '' END
FROM (SELECT max(v) AS most FROM unnest($3) v) m
$$;
COMMENT ON FUNCTION infra_monitor.sparkline(text, timestamptz[], float8[], timestamptz, timestamptz, interval) IS
'values from 0 to the greatest over time as a line without axes; for pg_monitor';
