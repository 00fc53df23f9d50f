
--
-- locks.sql: who waits for whom
--

CREATE FUNCTION infra_monitor.lock_waits(
	OUT pid int, OUT datname name, OUT usename name, OUT application_name text,
	OUT queryid bigint, OUT query text, OUT wait_time float8,
	OUT blocked_by int[], OUT root_pid int, OUT root_state text,
	OUT root_usename name, OUT root_application_name text, OUT root_query text,
	OUT depth int, OUT lock_type text, OUT locked text, OUT mode text,
	OUT in_cycle boolean, OUT root_datname name,
	OUT root_state_change timestamptz, OUT root_xid xid)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED ROWS 20
AS 'MODULE_PATHNAME', 'imon_lock_waits_1_0';
COMMENT ON FUNCTION infra_monitor.lock_waits() IS
'source of the view lock_waits; works without preloading; for pg_monitor';

CREATE VIEW infra_monitor.lock_waits AS
SELECT w.pid, w.datname, w.usename, w.application_name, w.queryid, w.query,
	w.wait_time, w.blocked_by, w.root_pid, w.root_state, w.root_usename,
	w.root_application_name, w.root_query, w.depth, w.lock_type, w.locked,
	w.mode, w.in_cycle, w.root_datname, w.root_state_change, w.root_xid
FROM infra_monitor.lock_waits() w;
COMMENT ON VIEW infra_monitor.lock_waits IS
'one row for each backend that waits for a heavyweight lock, and the root of its chain; waits are of this moment, states and texts frozen within a transaction like pg_stat_activity; empty, and free of any lock, if nobody waits; works without preloading; for pg_monitor, texts of other roles need pg_read_all_stats';
COMMENT ON COLUMN infra_monitor.lock_waits.pid IS 'process that waits; for a parallel query its leader, whichever of its processes wait';
COMMENT ON COLUMN infra_monitor.lock_waits.usename IS 'NULL for a process without a role, such as an autovacuum worker';
COMMENT ON COLUMN infra_monitor.lock_waits.query IS 'text; a command that can carry a secret shows its tag only';
COMMENT ON COLUMN infra_monitor.lock_waits.wait_time IS 'time since the wait began, ms; NULL if that is not yet known';
COMMENT ON COLUMN infra_monitor.lock_waits.blocked_by IS 'processes that hold the lock in a conflicting mode, or want it so and are ahead in the queue, as pg_blocking_pids(), each once; 0 is a prepared transaction';
COMMENT ON COLUMN infra_monitor.lock_waits.root_pid IS 'end of the chain of blockers: the process that does not wait for a lock itself; 0 for a prepared transaction; in a cycle the lowest pid; NULL if nobody is in the way any more';
COMMENT ON COLUMN infra_monitor.lock_waits.root_state IS 'as in pg_stat_activity, or ''prepared transaction''; NULL if not known';
COMMENT ON COLUMN infra_monitor.lock_waits.root_query IS 'what the root runs, or ran last if it is idle in transaction';
COMMENT ON COLUMN infra_monitor.lock_waits.depth IS 'steps from this process to the root';
COMMENT ON COLUMN infra_monitor.lock_waits.lock_type IS 'as locktype in pg_locks';
COMMENT ON COLUMN infra_monitor.lock_waits.locked IS 'what the lock is on, in words; a relation by its name if it is of this database';
COMMENT ON COLUMN infra_monitor.lock_waits.mode IS 'mode it waits for, as in pg_locks';
COMMENT ON COLUMN infra_monitor.lock_waits.in_cycle IS 'the chain comes back to this process: a deadlock that has not been resolved yet';
COMMENT ON COLUMN infra_monitor.lock_waits.root_datname IS 'database of the root';
COMMENT ON COLUMN infra_monitor.lock_waits.root_state_change IS 'since when the root has been in its state';
COMMENT ON COLUMN infra_monitor.lock_waits.root_xid IS 'transaction of the root, which finds a prepared one in pg_prepared_xacts; NULL if it has none';
