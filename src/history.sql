
--
-- history.sql: what all functions have in common that return history by buckets
--

CREATE FUNCTION infra_monitor.history_step(
	since timestamptz, until timestamptz, step interval)
RETURNS interval
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_history_step_1_0';
COMMENT ON FUNCTION infra_monitor.history_step(timestamptz, timestamptz, interval) IS
'the length of the buckets of a history: step or, if that is NULL, the shortest usual length that gives 300 buckets or less; error if the span is not finite or ends before it begins, and if the step is not positive, has months, or gives more than 100000 buckets; for pg_monitor';
