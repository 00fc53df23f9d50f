
--
-- growth.sql: what counters have grown by in the last hour
--

CREATE FUNCTION infra_monitor.recent_growth(
	OUT seconds float8, OUT checkpoints_timed bigint,
	OUT checkpoints_requested bigint, OUT oom_kills bigint)
RETURNS record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_recent_growth_1_0';
COMMENT ON FUNCTION infra_monitor.recent_growth() IS
'what counters have grown by in the last hour, or since the server was started, they were reset, or the sampler looked first, and over how many seconds; restart points count as checkpoints; NULL is not known; error unless preloaded; for pg_monitor';
