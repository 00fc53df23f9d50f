
--
-- textfile.sql: files that others read without a connection
--

CREATE FUNCTION infra_monitor.textfile_state(
	OUT file text, OUT written_at timestamptz, OUT failing_since timestamptz,
	OUT problem text, OUT failures bigint)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 2
AS 'MODULE_PATHNAME', 'imon_textfile_state_1_0';
COMMENT ON FUNCTION infra_monitor.textfile_state() IS
'source of the check textfile: a row for each file that the sampler has been told to write, metrics (infra_monitor.textfile) and health (health.json in infra_monitor.snapshot_directory): when it was written last, since when that fails and why, NULL if it does not, and how often it has failed since the server started; error unless preloaded; for pg_monitor';
