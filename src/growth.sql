
--
-- growth.sql: how much counters have grown in the last minutes
--

CREATE FUNCTION infra_monitor.recent_growth(counter text, value bigint)
RETURNS bigint
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'imon_recent_growth_1_0';
COMMENT ON FUNCTION infra_monitor.recent_growth(text, bigint) IS
'for health checks: how much a counter, which has this value now, has grown in the last five minutes, or since the sampler first asked; NULL if it has not asked in this time, or if the counter has begun anew; for pg_monitor';
