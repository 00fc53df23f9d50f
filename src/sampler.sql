
--
-- sampler.sql: the background worker
--

CREATE FUNCTION infra_monitor.sampler_state(
	OUT pid int, OUT state text, OUT last_tick timestamptz,
	OUT next_tick timestamptz, OUT ticks bigint, OUT missed bigint,
	OUT last_error text, OUT last_error_at timestamptz,
	OUT rows_stored bigint, OUT next_partition_work timestamptz)
RETURNS record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_sampler_state_1_0';
COMMENT ON FUNCTION infra_monitor.sampler_state() IS
'source of the view sampler_status; error unless preloaded; for pg_monitor';

CREATE FUNCTION infra_monitor.sampler_costs(OUT task text, OUT seconds float8)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 5
AS 'MODULE_PATHNAME', 'imon_sampler_costs_1_0';
COMMENT ON FUNCTION infra_monitor.sampler_costs() IS
'time that the sampler has spent on each of its tasks since the server started, seconds; error unless preloaded; for pg_monitor';

CREATE FUNCTION infra_monitor.sampler_drops(OUT reason text, OUT drops bigint)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 5
AS 'MODULE_PATHNAME', 'imon_sampler_drops_1_0';
COMMENT ON FUNCTION infra_monitor.sampler_drops() IS
'what was lost, by reason: since the server started, wait_ and concurrency_ since the last reset(); error unless preloaded; for pg_monitor';

CREATE FUNCTION infra_monitor.baseline_size()
RETURNS bigint
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_baseline_size_1_0';
COMMENT ON FUNCTION infra_monitor.baseline_size() IS
'dynamic shared memory that the sampler keeps, bytes; error unless preloaded; for pg_monitor';

CREATE VIEW infra_monitor.sampler_status AS
SELECT s.pid, s.state, s.last_tick, s.next_tick, s.ticks, s.missed,
	s.last_error, s.last_error_at, s.rows_stored,
	infra_monitor.history_bytes() AS bytes_stored,
	(SELECT pg_catalog.jsonb_object_agg(m.part, m.bytes) FROM infra_monitor.shared_memory() m) AS shared_memory,
	(SELECT pg_catalog.jsonb_object_agg(d.reason, d.drops) FROM infra_monitor.sampler_drops() d) AS drops,
	(SELECT pg_catalog.jsonb_object_agg(c.task OPERATOR(pg_catalog.||) '_seconds', c.seconds) FROM infra_monitor.sampler_costs() c) AS cost,
	infra_monitor.baseline_size() AS dynamic_memory,
	s.next_partition_work,
	f.bytes AS forecast_bytes,
	f.full_at AS storage_full_at
FROM infra_monitor.sampler_state() s CROSS JOIN infra_monitor.history_forecast() f;
COMMENT ON VIEW infra_monitor.sampler_status IS
'one row: what the sampler does, and what it cost; error unless preloaded; for pg_monitor';
COMMENT ON COLUMN infra_monitor.sampler_status.pid IS 'process of the sampler; NULL if it is not running';
COMMENT ON COLUMN infra_monitor.sampler_status.state IS
'running; standby (reads only); waiting for extension (not created in the home database); version mismatch (the library is of another version than the extension); waiting for database (missing, or refuses connections); away (a command needs the home database alone); disabled; starting; not running';
COMMENT ON COLUMN infra_monitor.sampler_status.last_tick IS 'when it last did its work: stored a sample, or on a standby had none to store';
COMMENT ON COLUMN infra_monitor.sampler_status.next_tick IS 'when it will next';
COMMENT ON COLUMN infra_monitor.sampler_status.ticks IS 'how often it did, since the server started';
COMMENT ON COLUMN infra_monitor.sampler_status.missed IS 'samples that should have been taken and were not, since the server started';
COMMENT ON COLUMN infra_monitor.sampler_status.last_error IS 'last error of a task, with the name of the task; NULL if there was none';
COMMENT ON COLUMN infra_monitor.sampler_status.rows_stored IS 'samples stored since the server started, those of take_sample() included';
COMMENT ON COLUMN infra_monitor.sampler_status.bytes_stored IS 'size of the history in this database, bytes; NULL if it has none';
COMMENT ON COLUMN infra_monitor.sampler_status.shared_memory IS 'bytes by part, fixed at server start';
COMMENT ON COLUMN infra_monitor.sampler_status.drops IS 'what was lost since the server started, wait_ and concurrency_ since the last reset(), by what it was part of: the details only, of what is also counted';
COMMENT ON COLUMN infra_monitor.sampler_status.cost IS 'time spent on each task since the server started, seconds';
COMMENT ON COLUMN infra_monitor.sampler_status.dynamic_memory IS 'bytes of dynamic shared memory: what statements had counted at the last sample';
COMMENT ON COLUMN infra_monitor.sampler_status.next_partition_work IS 'when partitions are looked after next: made ahead of time, removed when they have expired; NULL on a standby';
COMMENT ON COLUMN infra_monitor.sampler_status.forecast_bytes IS 'size that the history grows to with retention as it is, at the rate of the last two days, bytes; see history_storage; NULL: not known yet';
COMMENT ON COLUMN infra_monitor.sampler_status.storage_full_at IS 'when it will be so large, at that rate, that infra_monitor.max_storage removes the oldest days before their time; NULL: not by what is known';

-- Warnings that an administrator wants at installation, once.
CREATE FUNCTION infra_monitor.installation_warnings()
RETURNS void
LANGUAGE c VOLATILE STRICT
AS 'MODULE_PATHNAME', 'imon_installation_warnings_1_0';
COMMENT ON FUNCTION infra_monitor.installation_warnings() IS
'warns if the library is not preloaded, or if samples are written in another database than this';

SELECT infra_monitor.installation_warnings();

DROP FUNCTION infra_monitor.installation_warnings();
