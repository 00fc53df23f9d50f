
--
-- report.sql: a span of history as a page
--
-- Each section is a function, which returns HTML that is also well-formed XML.
-- Whatever was named by somebody else goes through html().  A standby has
-- stored nothing: what is in its tables is its primary's, and not shown.
--

CREATE FUNCTION infra_monitor.report_style()
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT '
:root { color-scheme: light dark; --page: #ffffff; --soft: #f4f6f8; --text: #1a1f26; --quiet: #57606a; --rule: #dde2e8;
  --used: #0072b2; --fill: #d3e6f3; --bad: #b42318; --warn: #8f5a00; --good: #1a7f4b; --badfill: #d55e00; --warnfill: #e69f00; --goodfill: #7fc8a9;
  --gap: #e9ecf0; --w1: #009e73; --w2: #0072b2; --w3: #d55e00; --w4: #cc79a7; --w5: #56b4e9; --w6: #f0e442; --w7: #e69f00; --w8: #8a8f98; }
@media screen and (prefers-color-scheme: dark) { :root { --page: #14181d; --soft: #1c2229; --text: #e4e8ec; --quiet: #9aa5b1; --rule: #313a44;
  --used: #56b4e9; --fill: #1e4360; --bad: #ff8a7a; --warn: #f2b75c; --good: #6fd3a3; --badfill: #d55e00; --warnfill: #e69f00; --goodfill: #2f7d5b;
  --gap: #252c34; --w2: #3a93d0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 74rem; padding: 2rem 1.5rem 3rem; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .25rem; font-weight: 650; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 0 0 .25rem; font-weight: 650; }
h3 { font-size: .95rem; margin: 1.25rem 0 .4rem; font-weight: 600; }
p { margin: .25rem 0 .75rem; max-width: 60rem; }
a { color: var(--used); }
section { margin: 2.25rem 0 0; padding: 1.25rem 0 0; border-top: 1px solid var(--rule); }
.note, .none, footer { color: var(--quiet); }
.note { font-size: .9rem; }
nav { margin: 1rem 0 0; font-size: .9rem; }
nav a { margin-right: 1rem; white-space: nowrap; display: inline-block; }
dl.facts { display: flex; flex-wrap: wrap; gap: .1rem 1.5rem; margin: .5rem 0 0; font-size: .9rem; }
dl.facts div { display: flex; gap: .4rem; }
dl.facts dt { color: var(--quiet); }
dl.facts dd { margin: 0; overflow-wrap: anywhere; }
ul.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.75rem, 1fr)); gap: .75rem; list-style: none; margin: 1.25rem 0 0; padding: 0; }
ul.tiles li { background: var(--soft); border: 1px solid var(--rule); border-radius: .5rem; padding: .7rem .9rem .75rem; }
ul.tiles b { display: block; font-size: 1.15rem; line-height: 1.3; font-weight: 650; font-variant-numeric: tabular-nums; }
ul.tiles li > span { display: block; font-size: .8rem; line-height: 1.35; color: var(--quiet); }
.ok { color: var(--good); } .warning { color: var(--warn); } .critical { color: var(--bad); } .unknown { color: var(--quiet); }
.status { font-weight: 600; white-space: nowrap; }
.wide { overflow-x: auto; margin: .5rem 0 0; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .5rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--rule); }
th { color: var(--quiet); font-weight: 600; font-size: .8rem; white-space: nowrap; vertical-align: bottom; }
td.n, th.n { text-align: right; white-space: nowrap; }
td.t { white-space: nowrap; }
td.query { min-width: 16rem; width: 36%; }
td .note { font-size: .8rem; }
tr > :first-child { padding-left: 0; } tr > :last-child { padding-right: 0; }
code, pre { font: .84rem/1.45 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
pre { white-space: pre-wrap; background: var(--soft); border: 1px solid var(--rule); border-radius: .35rem; padding: .5rem .7rem; margin: .35rem 0 0; max-width: 48rem; }
summary { cursor: pointer; }
svg.chart { display: block; overflow: visible; margin: .6rem 0 0 4rem; width: calc(100% - 4.75rem); }
svg.chart text { fill: var(--quiet); font-size: 11.5px; font-variant-numeric: tabular-nums; }
svg.chart text.y { text-anchor: end; } svg.chart text.x { text-anchor: middle; } svg.chart text.day { fill: var(--text); font-weight: 600; }
.grid { stroke: var(--rule); stroke-width: 1; } .tick { stroke: var(--quiet); stroke-width: 1; }
.names .gap { opacity: .8; } .names svg.chart { margin-left: 0; width: 100%; } .names svg.chart text.y { text-anchor: start; transform: translate(8px, 9px); fill: var(--text); }
.line { fill: none; stroke: var(--used); stroke-width: 1.75; stroke-linejoin: round; stroke-linecap: round; vector-effect: non-scaling-stroke; }
.area { stroke: none; shape-rendering: crispEdges; }
.line.limit { stroke: var(--bad); stroke-dasharray: 7 4; stroke-linecap: butt; } .area.used { fill: var(--fill); } .area.refused { fill: var(--badfill); }
.line.waiting { stroke: var(--badfill); } .line.intransaction { stroke: var(--warnfill); stroke-dasharray: 5 3; stroke-linecap: butt; }
.line.p50 { stroke: var(--w1); } .line.p95 { stroke: var(--used); stroke-dasharray: 6 3; stroke-linecap: butt; } .line.p99 { stroke: var(--w3); }
.w1 { fill: var(--w1); } .w2 { fill: var(--w2); } .w3 { fill: var(--w3); } .w4 { fill: var(--w4); } .w5 { fill: var(--w5); } .w6 { fill: var(--w6); } .w7 { fill: var(--w7); } .w8 { fill: var(--w8); }
.area.gap { fill: var(--gap); }
.area.s-ok { fill: var(--goodfill); } .area.s-warning { fill: var(--warnfill); } .area.s-critical { fill: var(--badfill); } .area.s-unknown { fill: var(--rule); }
svg.spark { display: block; width: 5.5rem; height: 1.6rem; overflow: visible; } .line.spark { stroke-width: 1.4; }
ul.legend { display: flex; flex-wrap: wrap; gap: .1rem 1.2rem; list-style: none; margin: .6rem 0 0; padding: 0; font-size: .85rem; }
ul.legend li { display: flex; align-items: center; gap: .45rem; }
.share { display: inline-block; height: .55rem; background: var(--used); border-radius: 1px; margin-left: .4rem; }
.share i { display: none; }
footer { margin-top: 2.5rem; padding-top: 1rem; border-top: 1px solid var(--rule); font-size: .85rem; }
@media (max-width: 40rem) { body { padding: 1.25rem 1rem 2rem; } svg.chart { margin-left: 3rem; width: calc(100% - 3.25rem); } svg.chart text.even { display: none; } }
@media print { body { max-width: none; padding: 0; font-size: 11px; } nav { display: none; } section, tr, svg, ul.tiles { break-inside: avoid; } section.long { break-inside: auto; }
  h2, h3, .note, ul.legend { break-after: avoid; } .wide { overflow: visible; } td.query { min-width: 0; } * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
' $$;
COMMENT ON FUNCTION infra_monitor.report_style() IS
'style sheet of report(); for pg_monitor';

CREATE FUNCTION infra_monitor.report_moment(at timestamptz, step interval DEFAULT '1 second')
RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT to_char($1, CASE WHEN $2 < '1 minute' THEN 'YYYY-MM-DD HH24:MI:SS' ELSE 'YYYY-MM-DD HH24:MI' END) $$;
COMMENT ON FUNCTION infra_monitor.report_moment(timestamptz, interval) IS
'a moment in report(), in the session''s time zone, to seconds or minutes; for pg_monitor';

CREATE FUNCTION infra_monitor.report_status(status text)
RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT format('<span class="status %s">%s %s</span>', s.class, s.sign, infra_monitor.html($1))
FROM (SELECT CASE WHEN $1 IN ('ok', 'healthy', 'pass') THEN 'ok' WHEN $1 IN ('warning', 'degraded', 'warn') THEN 'warning'
		WHEN $1 IN ('critical', 'unhealthy', 'fail', 'failed', 'cancelled', 'terminated') THEN 'critical' ELSE 'unknown' END) c (class),
	LATERAL (SELECT c.class, CASE c.class WHEN 'ok' THEN '&#10003;' WHEN 'warning' THEN '&#9650;' WHEN 'critical' THEN '&#9632;' ELSE '?' END) s (class, sign)
$$;
COMMENT ON FUNCTION infra_monitor.report_status(text) IS
'a status in report(): sign, word and colour; for pg_monitor';

CREATE FUNCTION infra_monitor.report_table(columns text[], body text, nothing text)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN $2 <> '' THEN format('<div class="wide" tabindex="0"><table><thead><tr>%s</tr></thead><tbody>%s</tbody></table></div>',
		(SELECT string_agg(format('<th scope="col"%s>%s</th>', CASE WHEN c LIKE '#%' THEN ' class="n"' END, infra_monitor.html(ltrim(c, '#'))), '' ORDER BY n)
		 FROM unnest($1) WITH ORDINALITY AS u (c, n)), $2)
	ELSE format('<p>%s</p>', infra_monitor.html($3)) END
$$;
COMMENT ON FUNCTION infra_monitor.report_table(text[], text, text) IS
'a table in report(), of rows that are HTML, or what is said if there are none; names of columns with numbers begin with #; for pg_monitor';

CREATE FUNCTION infra_monitor.report_section(id text, title text, note text, body text)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT format(E'<section id="%1$s"%5$s aria-labelledby="h-%1$s"><h2 id="h-%1$s">%2$s</h2>%3$s%4$s</section>\n', $1, infra_monitor.html($2),
	CASE WHEN $3 <> '' THEN format('<p class="note">%s</p>', infra_monitor.html($3)) END, $4,
	CASE WHEN $4 LIKE '%<table>%' THEN ' class="long"' END)
$$;
COMMENT ON FUNCTION infra_monitor.report_section(text, text, text, text) IS
'a section of report(): title and note are text, the body is HTML; for pg_monitor';

CREATE FUNCTION infra_monitor.report_width(step interval, setting text)
RETURNS interval
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT greatest($1, coalesce(current_setting($2, true), '1s')::interval) $$;
COMMENT ON FUNCTION infra_monitor.report_width(interval, text) IS
'for how long a point of a chart speaks: the step, or the setting''s interval if that is longer; for pg_monitor';

CREATE FUNCTION infra_monitor.report_apart(step interval, setting text)
RETURNS interval
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT greatest(1.5 * $1, 3 * coalesce(current_setting($2, true), '1s')::interval) $$;
COMMENT ON FUNCTION infra_monitor.report_apart(interval, text) IS
'how far apart points of a chart may be and still be joined: what is further apart has a gap between; for pg_monitor';

-- where only hours or days are kept, no shorter ones can be shown
CREATE FUNCTION infra_monitor.report_step(since timestamptz, until timestamptz)
RETURNS interval
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT greatest(s.step, (SELECT max(CASE g.grain WHEN 'hour' THEN interval '1 hour' WHEN 'day' THEN '1 day' END)
	FROM infra_monitor.history_grains('samples', $1, $2, s.step) g))
FROM (SELECT infra_monitor.history_step($1, $2, NULL) AS step) s
$$;
COMMENT ON FUNCTION infra_monitor.report_step(timestamptz, timestamptz) IS
'what a point of a chart in report() stands for; error for a span that makes no sense, or of which nothing is kept; for pg_monitor';

CREATE FUNCTION infra_monitor.report_known(history text, since timestamptz, until timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT $2 WHERE NOT pg_is_in_recovery() AND $3 > CASE $1
	WHEN 'statements' THEN least((SELECT s.sampled_at FROM infra_monitor.statement_samples s LIMIT 1),
		(SELECT min(h.begins_at) FROM infra_monitor.statement_samples_hourly h), (SELECT min(d.begins_at) FROM infra_monitor.statement_samples_daily d))
	WHEN 'waits' THEN least((SELECT w.sampled_at FROM infra_monitor.wait_samples w LIMIT 1),
		(SELECT min(h.begins_at) FROM infra_monitor.wait_samples_hourly h), (SELECT min(d.begins_at) FROM infra_monitor.wait_samples_daily d))
	ELSE '-infinity' END
$$;
COMMENT ON FUNCTION infra_monitor.report_known(text, timestamptz, timestamptz) IS
'since, or NULL where a reader of that history would raise an error, or return what is another server''s: with NULL it returns nothing; for pg_monitor';

CREATE FUNCTION infra_monitor.report_samples(since timestamptz, until timestamptz, step interval,
	OUT bucket timestamptz, OUT at timestamptz, OUT epoch bigint, OUT most int, OUT latency infra_monitor.histogram)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 1000
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN g.fits THEN date_bin($3, p.at, '2001-01-01 00:00:00+00') ELSE p.at END, p.*
FROM infra_monitor.history_grains('samples', $1, $2, $3) g
	-- with OFFSET, these are scans of their own, of those partitions that they need
	CROSS JOIN LATERAL (
		(SELECT s.sampled_at AS at, s.epoch, s.max_connections - s.reserved_connections, s.latency FROM infra_monitor.samples s
		WHERE g.grain = 'sample' AND s.sampled_at >= g.from_at AND s.sampled_at < g.until_at OFFSET 0)
		UNION ALL
		(SELECT h.begins_at, h.last_epoch, h.max_connections - h.reserved_connections, h.latency FROM infra_monitor.samples_hourly h
		WHERE g.grain = 'hour' AND h.begins_at >= g.from_at AND h.begins_at < g.until_at OFFSET 0)
		UNION ALL
		(SELECT d.begins_at, d.last_epoch, d.max_connections - d.reserved_connections, d.latency FROM infra_monitor.samples_daily d
		WHERE g.grain = 'day' AND d.begins_at >= g.from_at AND d.begins_at < g.until_at OFFSET 0)
	) p
WHERE NOT pg_is_in_recovery()
$$;
COMMENT ON FUNCTION infra_monitor.report_samples(timestamptz, timestamptz, interval) IS
'what report() reads of samples or their rollups: bucket, moment, epoch, connections that ordinary roles can get, times of the executions; for pg_monitor';

-- times of all statements
CREATE FUNCTION infra_monitor.latency_buckets(since timestamptz, until timestamptz, step interval,
	OUT bucket timestamptz, OUT latency infra_monitor.histogram, OUT executions bigint,
	OUT p50_time float8, OUT p95_time float8, OUT p99_time float8)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 300
SET search_path = pg_catalog, pg_temp
AS $$
SELECT b.bucket, b.latency, infra_monitor.observations(b.latency), infra_monitor.quantile(b.latency, 0.50),
	infra_monitor.quantile(b.latency, 0.95), infra_monitor.quantile(b.latency, 0.99)
FROM (SELECT s.bucket, infra_monitor.sum(s.latency) AS latency
	FROM infra_monitor.report_samples($1, $2, $3) s
	GROUP BY s.bucket) b
ORDER BY b.bucket
$$;
COMMENT ON FUNCTION infra_monitor.latency_buckets(timestamptz, timestamptz, interval) IS
'times of the executions that completed, of all statements, in buckets; for pg_monitor';

-- where there are no samples
CREATE FUNCTION infra_monitor.report_gaps(since timestamptz, until timestamptz, step interval)
RETURNS text
LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
WITH apart AS (
	SELECT infra_monitor.report_apart($3, 'infra_monitor.sample_interval') AS apart, infra_monitor.report_width($3, 'infra_monitor.sample_interval') AS width
), known AS (
	SELECT bucket AS at FROM infra_monitor.pool_history($1, $2, $3)
	UNION ALL SELECT unnest(ARRAY[$1 - width, $2]) FROM apart
), spans AS (
	SELECT k.at, lead(k.at) OVER (ORDER BY k.at) AS next FROM known k
)
SELECT infra_monitor.chart_path('area gap', infra_monitor.chart_columns(array_agg(s.at + a.width), array_agg(s.next),
	array_agg(0::float8), array_agg(1::float8), $1, $2))
FROM spans s, apart a
WHERE s.next - s.at > a.apart
$$;
COMMENT ON FUNCTION infra_monitor.report_gaps(timestamptz, timestamptz, interval) IS
'the times without samples, drawn in the charts of report(); for pg_monitor';

CREATE FUNCTION infra_monitor.report_pool(since timestamptz, until timestamptz, step interval, gaps text)
RETURNS text
LANGUAGE sql VOLATILE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
WITH buckets AS MATERIALIZED (
	SELECT h.*, lead(h.bucket) OVER (ORDER BY h.bucket) AS next FROM infra_monitor.pool_history($1, $2, $3) h
), limits AS MATERIALIZED (
	-- it changes when the server starts
	SELECT min(p.at) AS at, p.most
	FROM infra_monitor.report_samples($1, $2, $3) p
	GROUP BY p.epoch, p.most
), steps AS MATERIALIZED (
	SELECT CASE WHEN row_number() OVER by_time = 1 THEN $1 ELSE at END AS at, coalesce(lead(at) OVER by_time, $2) AS behind, most FROM limits
	WINDOW by_time AS (ORDER BY at)
	UNION ALL
	SELECT $1, $2, current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
		- coalesce(current_setting('reserved_connections', true)::int, 0)
	WHERE NOT EXISTS (SELECT FROM limits)
), scale AS MATERIALIZED (
	SELECT a.step, ceil(m.most / a.step) * a.step AS top, m.refused, m.most_refused, m.any
	FROM (SELECT greatest(1.02 * (SELECT max(most) FROM steps), max(used_max), 5)::float8 AS most, sum(rejected) AS refused,
			max(rejected) AS most_refused, count(*) > 0 AS any FROM buckets) m,
		LATERAL infra_monitor.axis_step(m.most) a (step)
), drawn AS (
	SELECT infra_monitor.chart_path('area used', infra_monitor.chart_columns(array_agg(b.bucket),
			array_agg(CASE WHEN b.next - b.bucket <= a THEN b.next ELSE b.bucket + infra_monitor.report_width($3, 'infra_monitor.sample_interval') END), array_agg(0::float8), array_agg(b.used_max / s.top), $1, $2))
		|| infra_monitor.chart_path('line intransaction', infra_monitor.chart_line(array_agg(b.bucket + $3 / 2), array_agg(b.idle_in_transaction_max / s.top), $1, $2, a))
		|| infra_monitor.chart_path('line waiting', infra_monitor.chart_line(array_agg(b.bucket + $3 / 2), array_agg(b.waiting_max / s.top), $1, $2, a))
		|| infra_monitor.chart_path('line used', infra_monitor.chart_line(array_agg(b.bucket + $3 / 2), array_agg(b.used_max / s.top), $1, $2, a)) AS lines
	FROM buckets b, scale s, infra_monitor.report_apart($3, 'infra_monitor.sample_interval') a
	GROUP BY a
), ceiling AS (
	SELECT infra_monitor.chart_path('line limit', string_agg(infra_monitor.chart_line(ARRAY[l.at, l.behind], ARRAY[l.most / s.top, l.most / s.top], $1, $2, l.behind - l.at), '' ORDER BY l.at)) AS line
	FROM steps l, scale s
), axis AS (
	SELECT array_agg(t.value::text) AS labels, array_agg(t.place) AS places FROM scale s, infra_monitor.axis_ticks(s.top, s.step) t
)
SELECT infra_monitor.report_section('pool', 'Connections', 'The most connections in use at once, against what ordinary roles can get; refused connections below.',
	CASE WHEN s.any THEN
		infra_monitor.legend('{in use,waiting for a lock,idle in transaction,limit of ordinary roles}', '{line used,line waiting,line intransaction,line limit}')
		|| infra_monitor.chart('Connections: most in use, waiting for a lock and idle in transaction', $1, $2, 190, x.labels, x.places, concat($4, d.lines, c.line))
		|| CASE WHEN s.refused > 0 THEN infra_monitor.report_refusals($1, $2, $3, $4)
			WHEN s.refused = 0 THEN '<p>No connection was refused.</p>' ELSE '<p>It is not known whether connections were refused.</p>' END
	ELSE '<p>There are no samples of this time.</p>' END)
FROM scale s CROSS JOIN ceiling c CROSS JOIN axis x LEFT JOIN drawn d ON true
$$;
COMMENT ON FUNCTION infra_monitor.report_pool(timestamptz, timestamptz, interval, text) IS
'section of report(): use of the pool; for pg_monitor';

CREATE FUNCTION infra_monitor.report_refusals(since timestamptz, until timestamptz, step interval, gaps text)
RETURNS text
LANGUAGE sql VOLATILE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
WITH buckets AS MATERIALIZED (
	SELECT bucket, rejected FROM infra_monitor.pool_history($1, $2, $3) WHERE rejected > 0
), scale AS MATERIALIZED (
	SELECT a.step, ceil(m.most / a.step) * a.step AS top, m.total
	FROM (SELECT max(rejected)::float8 AS most, sum(rejected) AS total FROM buckets) m, LATERAL (SELECT greatest(infra_monitor.axis_step(m.most, 2), 1)) a (step)
), drawn AS (
	SELECT infra_monitor.chart_path('area refused', infra_monitor.chart_columns(array_agg(b.bucket), array_agg(b.bucket + $3),
		array_agg(0::float8), array_agg(b.rejected / s.top), $1, $2)) AS columns
	FROM buckets b, scale s
), axis AS (
	SELECT array_agg(infra_monitor.short_number(t.value)) AS labels, array_agg(t.place) AS places FROM scale s, infra_monitor.axis_ticks(s.top, s.step) t
)
SELECT format('<h3>Refused connections: %s, in columns of %s</h3>', infra_monitor.short_number(s.total::float8), infra_monitor.short_time(1000 * extract(epoch FROM $3)::float8))
	|| infra_monitor.chart('Refused connections', $1, $2, 60, x.labels, x.places, concat($4, d.columns))
FROM scale s, drawn d, axis x
$$;
COMMENT ON FUNCTION infra_monitor.report_refusals(timestamptz, timestamptz, interval, text) IS
'part of a section of report(): refused connections; for pg_monitor';

CREATE FUNCTION infra_monitor.report_latency(since timestamptz, until timestamptz, step interval, gaps text)
RETURNS text
LANGUAGE sql STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
WITH buckets AS MATERIALIZED (
	SELECT * FROM infra_monitor.latency_buckets($1, $2, $3)
), axis AS (
	SELECT array_agg(CASE WHEN t.value < 1000 THEN infra_monitor.short_time(t.value) ELSE infra_monitor.short_number(t.value / 1000) || ' s' END ORDER BY t.place) AS labels, array_agg(t.place ORDER BY t.place) AS places,
		log(min(t.value)) AS low, log(max(t.value)) - log(min(t.value)) AS height
	FROM (SELECT min(p50_time) AS fewest, max(p99_time) AS most FROM buckets) m,
		LATERAL infra_monitor.log_axis_ticks(greatest(m.fewest, 0.001), greatest(m.most, 0.001)) t
	WHERE m.most IS NOT NULL
), drawn AS (
	SELECT string_agg(infra_monitor.chart_path('line ' || l.name, l.path), '' ORDER BY l.name DESC) AS lines
	FROM (SELECT q.name, infra_monitor.chart_line(array_agg(b.bucket + $3 / 2), array_agg((log(CASE WHEN q.value < 0.001 THEN 0.001 ELSE q.value END) - x.low) / x.height), $1, $2, a) AS path
		FROM buckets b, axis x, infra_monitor.report_apart($3, 'infra_monitor.sample_interval') a,
			LATERAL (VALUES ('p50', b.p50_time), ('p95', b.p95_time), ('p99', b.p99_time)) AS q (name, value)
		GROUP BY q.name, a) l
)
SELECT infra_monitor.report_section('latency', 'Latency',
	'How long the executions that completed took: half of them not longer than p50, 95 of 100 not longer than p95, 99 not longer than p99; off by 14.3 percent at most. The scale is logarithmic.',
	CASE WHEN x.labels IS NOT NULL THEN
		infra_monitor.legend('{p99,p95,p50}', '{line p99,line p95,line p50}')
		|| infra_monitor.chart('Latency of statements: p50, p95 and p99, on a logarithmic scale', $1, $2, 170, x.labels, x.places, concat($4, d.lines))
	WHEN pg_is_in_recovery() THEN '<p>A standby stores no latencies.</p>'
	ELSE '<p>There are no executions in the samples of this time.</p>' END)
FROM axis x, drawn d
$$;
COMMENT ON FUNCTION infra_monitor.report_latency(timestamptz, timestamptz, interval, text) IS
'section of report(): latency; for pg_monitor';

CREATE FUNCTION infra_monitor.wait_classes(OUT place int, OUT name text, OUT description text)
RETURNS SETOF record
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 8
-- inlined, so what stands here is qualified
AS $$
VALUES (1, 'CPU', 'on the processor'), (2, 'IO', 'files'), (3, 'Lock', 'locks of tables and rows'), (4, 'LWLock', 'locks in shared memory'),
	(5, 'IPC', 'other processes'), (6, 'Client', 'the client'), (7, 'Timeout', 'a time to pass'), (8, 'other', 'anything else')
$$;
COMMENT ON FUNCTION infra_monitor.wait_classes() IS
'what sessions wait for, as report() groups it, in its order; for pg_monitor';

CREATE FUNCTION infra_monitor.report_waits(since timestamptz, until timestamptz, step interval, gaps text)
RETURNS text
LANGUAGE sql STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
WITH waits AS MATERIALIZED (
	SELECT w.bucket, coalesce(c.place, 8) AS class, sum(w.active_avg) AS active
	FROM infra_monitor.wait_history(infra_monitor.report_known('waits', $1, $2), $2, $3) w
		LEFT JOIN infra_monitor.wait_classes() c ON c.name = w.wait_event_type
	GROUP BY 1, 2
), stacked AS MATERIALIZED (
	SELECT bucket, class, sum(active) OVER (PARTITION BY bucket ORDER BY class) AS high, active FROM waits WHERE active > 0
), scale AS MATERIALIZED (
	SELECT a.step, ceil(m.most / a.step) * a.step AS top
	FROM (SELECT max(high) AS most FROM stacked) m, LATERAL infra_monitor.axis_step(m.most) a (step)
), columns AS MATERIALIZED (
	SELECT s.class, infra_monitor.chart_path('area w' || s.class,
		infra_monitor.chart_columns(array_agg(s.bucket), array_agg(s.bucket + w), array_agg((s.high - s.active) / c.top), array_agg(s.high / c.top), $1, $2)) AS path
	FROM stacked s, scale c, infra_monitor.report_width($3, 'infra_monitor.statement_interval') w
	GROUP BY s.class, w
), axis AS (
	SELECT array_agg(infra_monitor.short_number(t.value)) AS labels, array_agg(t.place) AS places FROM scale s, infra_monitor.axis_ticks(s.top, s.step) t
)
SELECT infra_monitor.report_section('waits', 'Active sessions by what they wait for', 'Sessions that were executing something, on average; as much as there are processors can be on them at once.',
	CASE WHEN x.labels IS NOT NULL THEN
		(SELECT infra_monitor.legend(array_agg(c.name || ': ' || c.description ORDER BY c.place DESC), array_agg('area w' || c.place ORDER BY c.place DESC))
		 FROM infra_monitor.wait_classes() c WHERE c.place IN (SELECT class FROM columns))
		|| infra_monitor.chart('Average active sessions by class of wait, stacked', $1, $2, 180, x.labels, x.places, concat($4, (SELECT string_agg(path, '' ORDER BY class) FROM columns)))
	WHEN pg_is_in_recovery() THEN '<p>A standby stores no waits.</p>'
	WHEN EXISTS (SELECT FROM waits) THEN '<p>Nobody was seen active in this time.</p>'
	ELSE '<p>It is not known what sessions waited for in this time.</p>' END)
FROM axis x
$$;
COMMENT ON FUNCTION infra_monitor.report_waits(timestamptz, timestamptz, interval, text) IS
'section of report(): active sessions by class of wait; for pg_monitor';

CREATE FUNCTION infra_monitor.report_statements(since timestamptz, until timestamptz, step interval)
RETURNS text
LANGUAGE sql STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
WITH spark AS (
	-- a fifth of the points of a chart
	SELECT w.step, infra_monitor.report_apart(w.step, 'infra_monitor.statement_interval') AS apart
	FROM (SELECT greatest($3, infra_monitor.history_step($1, $1 + 5 * ($2 - $1), NULL))) w (step)
), top AS MATERIALIZED (
	SELECT * FROM infra_monitor.top_statements(infra_monitor.report_known('statements', $1, $2), $2, 'exec_time', 15)
), trends AS MATERIALIZED (
	SELECT q.queryid, infra_monitor.sparkline('p95 over time, up to ' || infra_monitor.short_time(max(h.p95_time)),
			array_agg(h.bucket), array_agg(h.p95_time), $1, $2, s.apart) AS p95,
		infra_monitor.sparkline('time of all executions over time, up to ' || infra_monitor.short_time(max(h.exec_time)) || ' in ' || s.step,
			array_agg(h.bucket), array_agg(h.exec_time), $1, $2, s.apart) AS time
	FROM spark s, (SELECT DISTINCT queryid FROM top WHERE rank IS NOT NULL) q,
		LATERAL infra_monitor.statement_history(q.queryid, $1, $2, s.step) h
	GROUP BY q.queryid, s.apart, s.step
), rows AS (
	SELECT t.rank, format('<tr><td class="n">%s</td><td class="query">%s<div class="note">%s%s</div></td><td class="n">%s</td><td class="n">%s</td>'
		'<td class="n">%s<span class="share" style="width:%srem"></span></td><td class="n">%s</td><td class="n">%s</td><td class="n">%s</td><td class="n">%s</td><td>%s</td><td>%s</td></tr>',
		t.rank, CASE WHEN t.rank IS NULL THEN 'all other statements' ELSE infra_monitor.html_query(t.query) END,
		CASE WHEN t.rank IS NOT NULL THEN infra_monitor.html_name(t.usename) || ' in ' || infra_monitor.html_name(t.datname) END,
		', queryid ' || t.queryid, infra_monitor.short_number(t.calls), infra_monitor.short_time(t.exec_time),
		round((100 * t.share)::numeric, 1) || '%', round((3 * coalesce(t.share, 0))::numeric, 2),
		infra_monitor.short_time(t.p50_time), infra_monitor.short_time(t.p95_time), infra_monitor.short_time(t.p99_time),
		infra_monitor.short_number(t.failures), r.p95, r.time) AS html
	FROM top t LEFT JOIN trends r ON r.queryid = t.queryid AND t.rank IS NOT NULL
)
SELECT infra_monitor.report_section('statements', 'Top statements', 'By the time of the executions that completed. Trends are from 0 up, of all roles and databases that ran the statement; failures are executions that did not complete.',
	infra_monitor.report_table('{#,Statement,#Calls,#Time,#Share,#p50,#p95,#p99,#Failures,p95 trend,Time trend}', string_agg(html, '' ORDER BY rank NULLS LAST),
		CASE WHEN pg_is_in_recovery() THEN 'A standby stores no statements.' ELSE 'No statements are stored of this time.' END))
FROM rows
$$;
COMMENT ON FUNCTION infra_monitor.report_statements(timestamptz, timestamptz, interval) IS
'section of report(): top statements; for pg_monitor';

-- what a standby has in its table is its primary's
CREATE FUNCTION infra_monitor.report_executions(since timestamptz, until timestamptz,
	OUT ended_at timestamptz, OUT exec_time float8, OUT outcome text, OUT sqlstate text, OUT datname text, OUT usename text,
	OUT application_name text, OUT wait_profile jsonb, OUT query text)
RETURNS SETOF record
LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED ROWS 1000
SET search_path = pg_catalog, pg_temp
AS $$
SELECT l.ended_at, l.exec_time, l.outcome, l.sqlstate, l.datname, l.usename, l.application_name, l.wait_profile, l.query
FROM infra_monitor.slow_query_log l
WHERE l.ended_at >= $1 AND l.ended_at < $2 AND NOT pg_is_in_recovery()
UNION ALL
SELECT l.ended_at, l.exec_time, l.outcome, l.sqlstate, l.datname, l.usename, l.application_name, l.wait_profile, l.query
FROM infra_monitor.slow_query_log() l
WHERE l.ended_at >= $1 AND l.ended_at < $2 AND pg_is_in_recovery()
$$;
COMMENT ON FUNCTION infra_monitor.report_executions(timestamptz, timestamptz) IS
'slow executions of this server that ended between two moments; error unless preloaded; for pg_monitor';

CREATE FUNCTION infra_monitor.report_slow(since timestamptz, until timestamptz)
RETURNS text
LANGUAGE sql VOLATILE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
WITH executions AS MATERIALIZED (
	SELECT * FROM infra_monitor.report_executions($1, $2)
), listed AS (
	-- one statement is not everything there is
	SELECT row_number() OVER (ORDER BY e.exec_time DESC, e.ended_at) AS n, e.*
	FROM (SELECT row_number() OVER (PARTITION BY x.query, x.outcome ORDER BY x.exec_time DESC, x.ended_at) AS place, x.* FROM executions x) e
	WHERE e.place <= 3
), rows AS (
	SELECT e.n, format('<tr><td class="t">%s</td><td class="n">%s</td><td>%s%s</td><td>%s in %s<div class="note">%s</div></td><td>%s</td><td class="query">%s</td></tr>',
		infra_monitor.report_moment(e.ended_at), infra_monitor.short_time(e.exec_time), CASE e.outcome WHEN 'completed' THEN 'completed' ELSE infra_monitor.report_status(e.outcome) END,
		'<div class="note">' || infra_monitor.html(e.sqlstate) || '</div>', infra_monitor.html_name(e.usename), infra_monitor.html_name(e.datname),
		infra_monitor.html_name(nullif(e.application_name, ''), 30),
		(SELECT string_agg(format('<div class="t">%s %s</div>', infra_monitor.html_name(w.key), infra_monitor.short_time(1000 * w.value::float8)), '' ORDER BY w.value::float8 DESC, w.key)
		 FROM (SELECT * FROM jsonb_each_text(e.wait_profile) p WHERE p.value::float8 > 0 ORDER BY p.value::float8 DESC, p.key LIMIT 3) w),
		infra_monitor.html_query(e.query, 70)) AS html
	FROM listed e WHERE e.n <= 20
)
SELECT infra_monitor.report_section('slow', 'Slow executions',
	concat('Executions that took infra_monitor.slow_query_threshold (now ', current_setting('infra_monitor.slow_query_threshold', true), ') or longer, with what they were seen waiting for.',
		(SELECT format(' %s in this time: %s. %s', sum(o.n), string_agg(o.n || ' ' || o.outcome, ', ' ORDER BY o.n DESC, o.outcome),
				CASE WHEN sum(o.n) > (SELECT count(*) FROM rows) THEN 'Here are those that took longest, at most three of each statement and outcome.' END)
		 FROM (SELECT outcome, count(*) AS n FROM executions GROUP BY outcome) o HAVING sum(o.n) > 0)),
	infra_monitor.report_table('{Ended,#Took,Outcome,Who,Waited for,Statement}', (SELECT string_agg(html, '' ORDER BY n) FROM rows),
		'No execution is known to have taken that long in this time.'))
$$;
COMMENT ON FUNCTION infra_monitor.report_slow(timestamptz, timestamptz) IS
'section of report(): slow executions; for pg_monitor';

CREATE FUNCTION infra_monitor.report_blame(since timestamptz, until timestamptz)
RETURNS text
LANGUAGE sql VOLATILE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
WITH rows AS (
	SELECT b.blocked_time, format('<tr><td>%s in %s<div class="note">%s</div></td><td>%s</td><td class="n">%s</td><td class="n">%s</td><td class="t">%s</td><td class="query">%s</td></tr>',
		infra_monitor.html_name(b.usename), infra_monitor.html_name(b.datname), infra_monitor.html_name(nullif(b.application_name, ''), 30), infra_monitor.html(b.state),
		infra_monitor.short_time(b.blocked_time), infra_monitor.short_number(b.incidents), infra_monitor.report_moment(b.last_at), infra_monitor.html_query(b.query, 70)) AS html
	FROM infra_monitor.lock_blame b
	WHERE b.last_at >= $1 AND $2 > pg_postmaster_start_time()
	ORDER BY b.blocked_time DESC LIMIT 15
)
SELECT infra_monitor.report_section('blame', 'Who blocked others', 'Time that others have waited for locks, charged to the session at the root of their chain. Counted since the server started or was reset, so also from before this time; only who was in the way since it began is here.',
	infra_monitor.report_table('{Who,State,#Others waited,#Waits,Last,Statement}', string_agg(html, '' ORDER BY blocked_time DESC), CASE WHEN $2 > pg_postmaster_start_time() THEN 'Nobody was seen waiting for a lock since this time began.'
		ELSE 'The server has started since, and counts anew.' END))
FROM rows
$$;
COMMENT ON FUNCTION infra_monitor.report_blame(timestamptz, timestamptz) IS
'section of report(): who held locks that others waited for; for pg_monitor';

-- a row for each check that was not always ok: the height of its bars says what
-- it was, not only the colour
CREATE FUNCTION infra_monitor.report_timeline(since timestamptz, until timestamptz, gaps text)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
WITH periods AS MATERIALIZED (
	SELECT h.check_name, CASE h.status WHEN 'healthy' THEN 'ok' WHEN 'degraded' THEN 'warning' WHEN 'unhealthy' THEN 'critical' ELSE h.status END AS status,
		h.from_at, h.until_at
	FROM infra_monitor.health_history(infra_monitor.report_known('health', $1, $2), $2) h
), checks AS MATERIALIZED (
	SELECT p.check_name, (row_number() OVER by_name - 1)::float8 AS n, count(*) OVER ()::float8 AS all
	FROM periods p GROUP BY p.check_name
	HAVING p.check_name = 'overall' OR bool_or(p.status IN ('warning', 'critical'))
	WINDOW by_name AS (ORDER BY p.check_name <> 'overall', p.check_name)
), bars AS MATERIALIZED (
	-- rows of 34 pixels, with bars of up to 14 at the bottom
	SELECT p.status, infra_monitor.chart_columns(array_agg(p.from_at), array_agg(p.until_at), array_agg(b.low),
		array_agg(b.low + 14 * CASE p.status WHEN 'critical' THEN 1 WHEN 'warning' THEN 0.6 WHEN 'ok' THEN 0.25 ELSE 0.1 END / (34 * c.all)), $1, $2) AS path
	FROM periods p JOIN checks c USING (check_name), LATERAL (SELECT 1 - (34 * c.n + 32) / (34 * c.all)) b (low)
	GROUP BY p.status
)
SELECT CASE WHEN count(*) > 0 THEN infra_monitor.legend('{critical (high),warning (lower),ok (low),unknown (line)}', '{area s-critical,area s-warning,area s-ok,area s-unknown}')
	|| '<div class="names">' || infra_monitor.chart('Health: status of each check that was not always ok', $1, $2, 34 * count(*)::int,
		array_agg(CASE c.check_name WHEN 'overall' THEN 'the server' ELSE c.check_name END ORDER BY c.n), array_agg(1 - c.n / c.all ORDER BY c.n),
		(SELECT string_agg(infra_monitor.chart_path('area s-' || b.status, b.path), '' ORDER BY b.status) FROM bars b) || $3) || '</div>' ELSE '' END
FROM checks c
$$;
COMMENT ON FUNCTION infra_monitor.report_timeline(timestamptz, timestamptz, text) IS
'part of a section of report(): the status of the server and its checks over time; for pg_monitor';

CREATE FUNCTION infra_monitor.report_health(since timestamptz, until timestamptz, gaps text)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
WITH periods AS MATERIALIZED (
	SELECT h.*, count(*) OVER () AS all FROM infra_monitor.health_history(infra_monitor.report_known('health', $1, $2), $2) h
), checks AS (
	SELECT p.check_name, bool_and(p.status = 'ok') AS always_ok, bool_and(p.status = 'unknown') AS never_known
	FROM periods p WHERE p.check_name <> 'overall' GROUP BY p.check_name
), told AS (
	SELECT concat(count(*) FILTER (WHERE c.always_ok) || ' checks were ok all the time. ',
		'Not known all the time: ' || string_agg(c.check_name, ', ' ORDER BY c.check_name) FILTER (WHERE c.never_known) || '.') AS words
	FROM checks c HAVING count(*) > 0
), bad AS (
	SELECT p.*, row_number() OVER (ORDER BY p.from_at DESC, p.check_name) AS n, count(*) OVER () AS of
	FROM periods p WHERE p.check_name <> 'overall' AND p.status IN ('warning', 'critical')
), rows AS (
	SELECT b.n, b.of, format('<tr><td class="t">%s</td><td>%s</td><td class="t">%s</td><td class="t">%s</td><td class="n">%s</td><td>%s</td></tr>',
		infra_monitor.html(b.check_name), infra_monitor.report_status(b.status), infra_monitor.report_moment(b.from_at),
		infra_monitor.report_moment(b.until_at), infra_monitor.short_time(1000 * extract(epoch FROM b.until_at - b.from_at)::float8),
		(SELECT infra_monitor.html_name(e.message, 100) FROM infra_monitor.health_events e
		 WHERE e.at >= b.from_at AND e.check_name = b.check_name AND e.since = b.from_at AND e.new_status = b.status ORDER BY e.at LIMIT 1)) AS html
	FROM bad b WHERE b.n <= 25
)
SELECT infra_monitor.report_section('health', 'Health', (SELECT words FROM told),
	CASE WHEN EXISTS (SELECT FROM periods) THEN
		infra_monitor.report_timeline($1, $2, $3)
		|| '<h3>When checks were not ok' || coalesce((SELECT ': the last 25 of ' || max(of) FROM rows HAVING max(of) > 25), '') || '</h3>'
		|| infra_monitor.report_table('{Check,Status,From,Until,#Lasted,Then}', (SELECT string_agg(html, '' ORDER BY n) FROM rows), 'No check warned in this time.')
	WHEN pg_is_in_recovery() THEN '<p>A standby stores no changes of its health.</p>'
	ELSE '<p>Nothing is known of the health of the server in this time.</p>' END)
$$;
COMMENT ON FUNCTION infra_monitor.report_health(timestamptz, timestamptz, text) IS
'section of report(): health over time; for pg_monitor';

CREATE FUNCTION infra_monitor.report_objectives(until timestamptz)
RETURNS text
LANGUAGE sql STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
WITH objectives AS MATERIALIZED (
	SELECT row_number() OVER (ORDER BY s.name, s.period) AS n, s.* FROM infra_monitor.slo_status_at(least($1, clock_timestamp())) s
	WHERE NOT pg_is_in_recovery()
), rows AS (
	SELECT o.n, format('<tr><td>%s<div class="note">%s</div></td><td class="n">%s</td><td class="n">%s</td><td>%s</td><td class="n">%s</td><td class="n">%s</td><td class="t">%s</td></tr>',
		infra_monitor.html_name(o.name),
		CASE o.kind WHEN 'latency' THEN infra_monitor.html('executions within ' || infra_monitor.short_time(o.threshold_time)) ELSE 'share of the time' END,
		trim_scale(round((100 * o.target)::numeric, 3)) || '%', infra_monitor.short_time(1000 * extract(epoch FROM o.period)::float8),
		CASE WHEN o.attained IS NULL THEN infra_monitor.report_status('unknown') WHEN o.attained >= o.target THEN infra_monitor.report_status('ok')
			ELSE infra_monitor.report_status('critical') END,
		trim_scale(round((100 * o.attained)::numeric, 3)) || '%', infra_monitor.short_number(100 * o.error_budget_left) || '%',
		infra_monitor.report_moment(o.known_since)) AS html
	FROM objectives o
)
SELECT infra_monitor.report_section('objectives', 'Objectives', 'At the end of this time: how much of what each objective demands was attained, and what is left of the failures that it allows.',
	infra_monitor.report_table('{Objective,#Target,#Period,Status,#Attained,#Budget left,Known since}', string_agg(html, '' ORDER BY n),
		CASE WHEN pg_is_in_recovery() THEN 'A standby stores no samples.' ELSE 'There are no objectives.' END))
FROM rows
$$;
COMMENT ON FUNCTION infra_monitor.report_objectives(timestamptz) IS
'section of report(): objectives; for pg_monitor';

CREATE FUNCTION infra_monitor.report_readiness()
RETURNS text
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
WITH items AS MATERIALIZED (
	SELECT r.*, row_number() OVER () AS n FROM infra_monitor.production_readiness r
), rows AS (
	SELECT i.n, i.status, format('<tr><td>%s</td><td>%s<div class="note">%s</div></td><td>%s</td><td>%s</td><td>%s</td></tr>', infra_monitor.report_status(i.status),
		infra_monitor.html(i.item), infra_monitor.html(i.area), infra_monitor.html_name(i.current, 60), infra_monitor.html_name(i.recommended, 80), infra_monitor.html(i.why)) AS html
	FROM items i WHERE i.status <> 'pass'
)
SELECT infra_monitor.report_section('readiness', 'Readiness for production',
	(SELECT format('%s of %s items pass; these do not. Judged at %s.', count(*) FILTER (WHERE status = 'pass'), count(*), infra_monitor.report_moment(max(evaluated_at))) FROM items),
	infra_monitor.report_table('{Status,Item,Is,Should be,Or else}', string_agg(html, '' ORDER BY array_position('{fail,warn}', status), n), 'All items pass.'))
FROM rows
$$;
COMMENT ON FUNCTION infra_monitor.report_readiness() IS
'section of report(): what is not ready for production, now; for pg_monitor';

CREATE FUNCTION infra_monitor.report_changes(since timestamptz, until timestamptz)
RETURNS text
LANGUAGE sql VOLATILE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
WITH changes AS MATERIALIZED (
	SELECT row_number() OVER (ORDER BY c.at DESC, c.kind, c.name) AS n, c.*, count(*) OVER () AS of
	FROM infra_monitor.changes(infra_monitor.report_known('changes', $1, $2), $2) c
), rows AS (
	SELECT c.n, c.of, format('<tr><td class="t">%s</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>', infra_monitor.report_moment(c.at), infra_monitor.html(c.kind),
		infra_monitor.html_name(c.name, 60), infra_monitor.html_name(c.old, 60),
		infra_monitor.html_name(CASE c.kind WHEN 'gap' THEN 'no samples for ' || c.new ELSE c.new END, 60)) AS html
	FROM changes c WHERE c.n <= 60
)
SELECT infra_monitor.report_section('changes', 'What changed',
	'Settings, starts and resets of the server, and gaps: times without samples.' || coalesce((SELECT format(' The last 60 of %s.', max(of)) FROM rows HAVING max(of) > 60), ''),
	infra_monitor.report_table('{When,What,Name,Before,Since}', string_agg(html, '' ORDER BY n),
		CASE WHEN pg_is_in_recovery() THEN 'A standby stores no changes.' ELSE 'No change is known of this time.' END))
FROM rows
$$;
COMMENT ON FUNCTION infra_monitor.report_changes(timestamptz, timestamptz) IS
'section of report(): settings, restarts, resets and gaps; for pg_monitor';

CREATE FUNCTION infra_monitor.report_tiles(since timestamptz, until timestamptz, step interval)
RETURNS text
LANGUAGE sql VOLATILE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
WITH pool AS MATERIALIZED (
	SELECT max(h.used_max) AS used, sum(h.rejected)::float8 AS refused, avg(h.active_avg) AS active FROM infra_monitor.pool_history($1, $2, $3) h
), latency AS MATERIALIZED (
	SELECT sum(l.executions)::float8 AS executions, infra_monitor.quantile(infra_monitor.sum(l.latency), 0.95) AS p95 FROM infra_monitor.latency_buckets($1, $2, $3) l
), health AS MATERIALIZED (
	SELECT coalesce(sum(extract(epoch FROM h.until_at - h.from_at)) FILTER (WHERE h.status = 'healthy'), 0)
			/ nullif(sum(extract(epoch FROM h.until_at - h.from_at)) FILTER (WHERE h.status <> 'unknown'), 0) AS healthy
	FROM infra_monitor.health_history(infra_monitor.report_known('health', $1, $2), $2) h WHERE h.check_name = 'overall'
), tiles (n, value, name) AS (
	SELECT 1, infra_monitor.report_status(h->>'status'), 'status now, score ' || coalesce(infra_monitor.html(h->>'score'), '?') || ' of 10' FROM infra_monitor.health(false) h
	UNION ALL SELECT 2, CASE WHEN healthy >= 0.9995 AND healthy < 1 THEN '&lt; 100%' ELSE infra_monitor.short_number(round((100 * healthy)::numeric, 1)::float8) || '%' END, 'of the time healthy' FROM health
	UNION ALL SELECT 3, infra_monitor.short_number(used), 'connections at most' FROM pool
	UNION ALL SELECT 4, infra_monitor.short_number(refused), 'connections refused' FROM pool
	UNION ALL SELECT 5, infra_monitor.short_number(active), 'sessions active on average' FROM pool
	UNION ALL SELECT 6, infra_monitor.short_time(p95), 'p95 of ' || coalesce(infra_monitor.short_number(executions), 'no') || ' executions' FROM latency
	UNION ALL SELECT 7, (SELECT infra_monitor.short_number(count(*)) FROM infra_monitor.report_executions($1, $2)), 'slow executions' FROM pool WHERE used IS NOT NULL
)
SELECT '<ul class="tiles">' || string_agg(format('<li><b>%s</b><span>%s</span></li>', coalesce(value, '<span class="none">&#8212;</span>'), name), '' ORDER BY n) || '</ul>'
FROM tiles
$$;
COMMENT ON FUNCTION infra_monitor.report_tiles(timestamptz, timestamptz, interval) IS
'part of report(): a time in seven numbers; for pg_monitor';

CREATE FUNCTION infra_monitor.report_head(since timestamptz, until timestamptz, step interval)
RETURNS text
LANGUAGE sql VOLATILE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
WITH facts (n, name, value) AS (
	VALUES (1, 'PostgreSQL', current_setting('server_version')),
		(2, 'Role', CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'primary' END),
		(3, 'Port', current_setting('port')),
		(4, 'Up since', infra_monitor.report_moment(pg_postmaster_start_time())),
		(5, 'History of database', current_database()::text),
		(6, 'Time zone', current_setting('TimeZone')),
		(7, 'Charts', 'a point each ' || infra_monitor.short_time(1000 * extract(epoch FROM $3)::float8) || coalesce(', of grain ' || (SELECT string_agg(DISTINCT h.grain, ', ') FROM infra_monitor.pool_history($1, $2, $3) h), '')),
		(8, 'Made', infra_monitor.report_moment(clock_timestamp()))
)
SELECT format('<header><h1>%s</h1><p>%s to %s</p><dl class="facts">%s</dl>%s</header>',
	infra_monitor.html_name(coalesce(nullif(current_setting('cluster_name'), ''), 'PostgreSQL server'), 80),
	infra_monitor.report_moment($1, $3), infra_monitor.report_moment($2, $3),
	string_agg(format('<div><dt>%s</dt><dd>%s</dd></div>', f.name, infra_monitor.html_name(f.value, 80)), '' ORDER BY f.n),
	CASE WHEN pg_is_in_recovery() THEN '<p class="note">A standby stores nothing. Its last 360 samples are in memory; the rest is in the report of its primary.</p>'
		WHEN current_database() <> current_setting('infra_monitor.database', true) THEN format('<p class="note">History is stored in database %s, not in this one; here are the last 360 samples.</p>',
			infra_monitor.html_name(current_setting('infra_monitor.database', true))) END)
FROM facts f
$$;
COMMENT ON FUNCTION infra_monitor.report_head(timestamptz, timestamptz, interval) IS
'part of report(): which server, and which time; for pg_monitor';

-- jit: it would compile each of many small queries
CREATE FUNCTION infra_monitor.report(since timestamptz, until timestamptz DEFAULT pg_catalog.now())
RETURNS text
LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
WITH span AS MATERIALIZED (
	SELECT infra_monitor.report_step($1, $2) AS step
), gaps AS MATERIALIZED (
	SELECT s.step, coalesce(infra_monitor.report_gaps($1, $2, s.step), '') AS gaps FROM span s
)
SELECT concat(E'<!DOCTYPE html>\n<html lang="en" xmlns="http://www.w3.org/1999/xhtml">\n<head>\n<meta charset="utf-8"/>\n',
	'<meta http-equiv="Content-Security-Policy" content="default-src &#39;none&#39;; style-src &#39;unsafe-inline&#39;; img-src data:"/>',
	E'\n<meta name="viewport" content="width=device-width, initial-scale=1"/>\n<link rel="icon" href="data:,"/>\n<title>',
	infra_monitor.html(infra_monitor.one_line(coalesce(nullif(current_setting('cluster_name'), ''), 'PostgreSQL'), 60)), ', ', infra_monitor.report_moment($1, g.step), ' to ', infra_monitor.report_moment($2, g.step),
	E'</title>\n<style>', infra_monitor.report_style(), E'</style>\n</head>\n<body>\n',
	infra_monitor.report_head($1, $2, g.step), infra_monitor.report_tiles($1, $2, g.step),
	'<nav><a href="#pool">Connections</a><a href="#latency">Latency</a><a href="#waits">Waits</a><a href="#statements">Statements</a><a href="#slow">Slow executions</a>',
	'<a href="#blame">Blockers</a><a href="#health">Health</a><a href="#objectives">Objectives</a><a href="#readiness">Readiness</a><a href="#changes">Changes</a></nav>',
	E'\n<main>\n',
	infra_monitor.report_pool($1, $2, g.step, g.gaps), infra_monitor.report_latency($1, $2, g.step, g.gaps),
	infra_monitor.report_waits($1, $2, g.step, g.gaps), infra_monitor.report_statements($1, $2, g.step), infra_monitor.report_slow($1, $2),
	infra_monitor.report_blame($1, $2), infra_monitor.report_health($1, $2, g.gaps), infra_monitor.report_objectives($2),
	infra_monitor.report_readiness(), infra_monitor.report_changes($1, $2),
	E'</main>\n<footer>Where a chart is grey there are no samples. A dash is not zero: it is not known. Made by infra_monitor ',
	(SELECT e.extversion FROM pg_extension e WHERE e.extname = 'infra_monitor'), E'.</footer>\n</body>\n</html>')
FROM gaps g
$$;
COMMENT ON FUNCTION infra_monitor.report(timestamptz, timestamptz) IS
'the history from since until before until as one page of HTML that needs nothing else, with charts: connections, latency, waits, top statements, slow executions, who blocked others, health, objectives, readiness, what changed; moments are in the session''s time zone; on a standby, of the last 360 samples; error for a span that makes no sense, and unless preloaded; for pg_monitor, texts of other roles need pg_read_all_stats';
