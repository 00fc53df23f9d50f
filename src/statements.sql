
--
-- statements.sql: the table of statements
--

CREATE FUNCTION infra_monitor.statement_counts(
	OUT userid oid, OUT dbid oid, OUT queryid bigint, OUT toplevel boolean,
	OUT latency infra_monitor.histogram, OUT total_time float8,
	OUT cancelled bigint, OUT lock_not_available bigint,
	OUT terminated bigint, OUT failed bigint, OUT failed_time float8,
	OUT stats_since timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'imon_statement_counts_1_0';
COMMENT ON FUNCTION infra_monitor.statement_counts() IS
'executions by statement: their times (latency, total_time in ms) if completed, how the others ended, and the time that those took; queryid NULL: failed before it was known, or of another role and the caller not in pg_read_all_stats; userid NULL: what evicted statements of the database have left; error unless preloaded; for pg_monitor';

CREATE FUNCTION infra_monitor.statement_totals(
	OUT total_time float8, OUT failed_time float8)
RETURNS record
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'imon_statement_totals_1_0';
COMMENT ON FUNCTION infra_monitor.statement_totals() IS
'time of all executions that completed, and of all that did not, ms, also of statements that were evicted; error unless preloaded; for pg_monitor';
