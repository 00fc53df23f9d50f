
--
-- history_storage.sql: what each table of the history takes
--

CREATE FUNCTION infra_monitor.history_span(partition oid, OUT first timestamptz, OUT last timestamptz)
RETURNS record
LANGUAGE c VOLATILE STRICT
AS 'MODULE_PATHNAME', 'imon_history_span_1_0';
COMMENT ON FUNCTION infra_monitor.history_span(oid) IS
'times of the first and of the last row of a partition of the history, by its first and last pages; NULL without rows, and for everything else; for pg_monitor';

-- the rows of history_storage
CREATE FUNCTION infra_monitor.history_storage_rows(
	OUT history text, OUT partitions int, OUT estimated_rows bigint, OUT bytes bigint,
	OUT oldest timestamptz, OUT newest timestamptz, OUT kept interval, OUT next_removal timestamptz,
	OUT bytes_per_day bigint, OUT forecast_bytes bigint)
RETURNS SETOF record
LANGUAGE sql VOLATILE ROWS 10
SET search_path = pg_catalog, pg_temp
-- days are those by UTC
SET TimeZone = 'UTC'
AS $$
WITH parts AS MATERIALIZED (
	SELECT p.history, p.bytes, p.has_rows, c.reltuples, c.relpages, pg_relation_size(c.oid) AS heap,
		u.unit, u.from_at, s.first, s.last
	FROM infra_monitor.history_partitions() p
		JOIN pg_namespace n ON n.nspname = 'infra_monitor'
		JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.name
		CROSS JOIN LATERAL (SELECT substring(p.name FROM '_([0-9]{6}|[0-9]{8})$')) d (digits)
		CROSS JOIN LATERAL (SELECT
			CASE length(d.digits) WHEN 8 THEN interval '1 day' WHEN 6 THEN interval '1 month' END AS unit,
			to_timestamp(d.digits, CASE length(d.digits) WHEN 8 THEN 'YYYYMMDD' ELSE 'YYYYMM' END) AS from_at) u
		CROSS JOIN LATERAL infra_monitor.history_span(c.oid) s
), began AS (
	SELECT min(first) AS at FROM parts
), kinds AS MATERIALIZED (
	-- what the rates are of: this day and the one before, or month
	SELECT k.unit, k.kept,
		greatest(date_trunc(k.name, now()) - k.unit, b.at) AS since,
		extract(epoch FROM now() - greatest(date_trunc(k.name, now()) - k.unit, b.at))::float8 / 86400 AS days
	FROM began b, (VALUES
		('day', interval '1 day', current_setting('infra_monitor.retention', true)::interval),
		('month', interval '1 month', current_setting('infra_monitor.rollup_retention', true)::interval)) k (name, unit, kept)
), tables AS (
	SELECT p.history, count(*)::int AS partitions, sum(p.bytes)::bigint AS bytes,
		CASE WHEN sum(p.heap) = 0 THEN 0
			ELSE sum(p.heap) / current_setting('block_size')::int
				* sum(p.reltuples::float8) FILTER (WHERE p.relpages > 0 AND p.reltuples >= 0)
				/ sum(p.relpages) FILTER (WHERE p.relpages > 0 AND p.reltuples >= 0) END::bigint AS estimated_rows,
		min(p.first) AS oldest, max(p.last) AS newest, max(p.unit) AS unit,
		min(p.from_at + p.unit) AS oldest_ends,
		CASE WHEN max(k.days) >= 1 / 24.0 THEN
			coalesce(sum(p.bytes) FILTER (WHERE p.has_rows AND p.from_at + p.unit > k.since), 0)
				/ max(k.days) END::bigint AS bytes_per_day,
		max(k.kept) AS kept
	FROM parts p LEFT JOIN kinds k ON k.unit = p.unit
	GROUP BY p.history
)
SELECT t.history, t.partitions, t.estimated_rows, t.bytes, t.oldest, t.newest, t.kept, t.oldest_ends + t.kept,
	t.bytes_per_day, (t.bytes_per_day * extract(epoch FROM t.kept + t.unit)::float8 / 86400)::bigint
FROM tables t
ORDER BY t.history
$$;
COMMENT ON FUNCTION infra_monitor.history_storage_rows() IS 'source of the view history_storage; for pg_monitor';

CREATE VIEW infra_monitor.history_storage AS
SELECT * FROM infra_monitor.history_storage_rows();
COMMENT ON VIEW infra_monitor.history_storage IS
'one row for each table of the history in this database: what it takes, and what it will; for pg_monitor';
COMMENT ON COLUMN infra_monitor.history_storage.partitions IS 'partitions, those for days to come included';
COMMENT ON COLUMN infra_monitor.history_storage.estimated_rows IS 'by the last VACUUM or ANALYZE of any of them, for the size as it is now; NULL: there was none';
COMMENT ON COLUMN infra_monitor.history_storage.bytes IS 'size with indexes, bytes';
COMMENT ON COLUMN infra_monitor.history_storage.oldest IS 'time of the first row; NULL: there is none';
COMMENT ON COLUMN infra_monitor.history_storage.newest IS 'time of the last row';
COMMENT ON COLUMN infra_monitor.history_storage.kept IS 'for how long rows are kept: infra_monitor.retention, or that of rollups; a partition is removed when all of it is older';
COMMENT ON COLUMN infra_monitor.history_storage.next_removal IS 'when its oldest partition will be; infra_monitor.max_storage may remove it before';
COMMENT ON COLUMN infra_monitor.history_storage.bytes_per_day IS 'what it grows by, bytes a day, on average of this day and the one before by UTC, of this month and the one before for rollups, or of less if the history is younger; NULL until that is an hour';
COMMENT ON COLUMN infra_monitor.history_storage.forecast_bytes IS 'its size when the first partitions are removed, at that rate, bytes';

CREATE FUNCTION infra_monitor.history_forecast(OUT bytes bigint, OUT bytes_per_day bigint, OUT full_at timestamptz)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT f.forecast, f.per_day,
	-- at this size the oldest day gives way
	CASE WHEN f.forecast > 0.95 * l.max_bytes THEN
		now() + make_interval(secs => greatest(0.95 * l.max_bytes - f.bytes, 0)::float8 / f.per_day * 86400) END
FROM (SELECT sum(t.forecast_bytes)::bigint AS forecast, sum(t.bytes_per_day)::bigint AS per_day, sum(t.bytes)::bigint AS bytes
		FROM infra_monitor.history_storage t) f,
	infra_monitor.history_limit(0) l
$$;
COMMENT ON FUNCTION infra_monitor.history_forecast() IS
'what the history grows to with retention as it is, and a day, at the rates of history_storage, bytes; and when it has reached the size at which infra_monitor.max_storage removes the oldest days before their time, NULL if it never does; error unless preloaded; for pg_monitor';
