
--
-- growth.sql: how much counters have grown in the last minutes
--

CREATE FUNCTION infra_monitor.recent_growth(
	counter text, value bigint, span interval DEFAULT '00:05:00')
RETURNS bigint
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'imon_recent_growth_1_0';
COMMENT ON FUNCTION infra_monitor.recent_growth(text, bigint, interval) IS
'for health checks: how much a counter, which has this value now, has grown in a span of time up to now, or since the sampler first asked; the span must always be the same for a counter; NULL if the sampler has not asked in this time, or if the counter has begun anew; error for a span of less than a minute, and unless preloaded; for pg_monitor';

CREATE FUNCTION infra_monitor.growing_counters(
	OUT checkpoints_timed bigint, OUT checkpoints_requested bigint,
	OUT oom_kills bigint)
RETURNS record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_growing_counters_1_0';
COMMENT ON FUNCTION infra_monitor.growing_counters() IS
'counters that have another source on each version or machine: checkpoints by checkpoint_timeout and on request, restart points included, since the statistics were reset; processes that the kernel has killed for want of memory, in the control group of the server, else on the machine; NULL is not known; for pg_monitor';
