
--
-- trend.sql: does a series rise?
--

CREATE FUNCTION infra_monitor.trend(at timestamptz[], value float8[],
	OUT slope_per_minute float8, OUT level float8, OUT r2 float8,
	OUT observations int)
RETURNS record
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_trend_1_0';
COMMENT ON FUNCTION infra_monitor.trend(timestamptz[], float8[]) IS
'is there a steady rise among the newest 30, 60, 120 or 240 of these values, oldest first, to where they were not before? slope and level (now) of the longest such window, its straightness and its size; all NULL if not: flat, falling, breathing, a step up, fewer than 45 values; error for arrays of different lengths, NULLs, NaN, and moments out of order; works without preloading; for pg_monitor';
