
--
-- blame.sql: who has cost others time by holding locks
--

CREATE FUNCTION infra_monitor.lock_blame(
	OUT usename name, OUT application_name text, OUT datname name,
	OUT state text, OUT queryid bigint, OUT blocked_time float8,
	OUT incidents bigint, OUT last_at timestamptz, OUT dbid oid)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED ROWS 100
AS 'MODULE_PATHNAME', 'imon_lock_blame_1_0';
COMMENT ON FUNCTION infra_monitor.lock_blame() IS
'source of the view lock_blame; error unless preloaded; for pg_monitor';

CREATE VIEW infra_monitor.lock_blame AS
WITH texts AS MATERIALIZED (
	SELECT s.dbid, s.queryid, pg_catalog.min(s.query) AS query
	-- NULL: it is not called where it would raise an error, also because its
	-- schema is closed to the caller; of what he may not see there is no queryid
	FROM infra_monitor.statement_stats(CASE
		WHEN infra_monitor.pg_stat_statements_loaded()
			AND EXISTS (SELECT FROM pg_catalog.pg_extension e
				WHERE e.extname OPERATOR(pg_catalog.=) 'pg_stat_statements'
					AND pg_catalog.has_schema_privilege(e.extnamespace, 'USAGE'))
		THEN true END) s
	GROUP BY s.dbid, s.queryid
)
SELECT b.usename, b.application_name, b.datname, b.state, b.queryid,
	b.blocked_time, b.incidents, b.last_at,
	(SELECT t.query FROM texts t
	 WHERE t.dbid OPERATOR(pg_catalog.=) b.dbid
		AND t.queryid OPERATOR(pg_catalog.=) b.queryid) AS query
FROM infra_monitor.lock_blame() b;
COMMENT ON VIEW infra_monitor.lock_blame IS
'who has cost others time by holding locks, since the server started or reset(): the time of each waiter is charged to the root of its chain; looked at once in infra_monitor.activity_interval; at most 256 rows, and one for the rest; error unless preloaded; for pg_monitor, application, queryid and query of other roles need pg_read_all_stats';
COMMENT ON COLUMN infra_monitor.lock_blame.usename IS 'NULL if the role has been dropped, and in the row for the rest';
COMMENT ON COLUMN infra_monitor.lock_blame.state IS 'what the root was doing, as root_state in lock_waits; ''other'' is the row for the rest';
COMMENT ON COLUMN infra_monitor.lock_blame.queryid IS 'statement that the root ran, or had run last if it was idle in transaction';
COMMENT ON COLUMN infra_monitor.lock_blame.blocked_time IS 'time that others have waited, all together, ms; less than one activity_interval of each wait is missing';
COMMENT ON COLUMN infra_monitor.lock_blame.incidents IS 'waits that were charged to this row first; a wait whose root changes counts once';
COMMENT ON COLUMN infra_monitor.lock_blame.last_at IS 'when somebody waited last';
COMMENT ON COLUMN infra_monitor.lock_blame.query IS 'text of the statement, if pg_stat_statements still has it and the caller may see it; a command that can carry a secret shows its tag only';
