
--
-- repeated.sql: statements that clients execute in a loop
--

CREATE FUNCTION infra_monitor.repeated_counts(
	OUT userid oid, OUT dbid oid, OUT application_name text,
	OUT queryid bigint, OUT parent_queryid bigint, OUT bursts bigint,
	OUT executions bigint, OUT longest_burst bigint, OUT total_time float8,
	OUT last_seen timestamptz, OUT kind text)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED ROWS 100
AS 'MODULE_PATHNAME', 'imon_repeated_counts_1_0';
COMMENT ON FUNCTION infra_monitor.repeated_counts() IS
'source of the view repeated_queries, total_time in ms; queryid NULL: of another role, and the caller is not in pg_read_all_stats; error unless preloaded; for pg_monitor';

CREATE VIEW infra_monitor.repeated_queries AS
WITH texts AS MATERIALIZED (
	SELECT s.userid, s.dbid, s.queryid, s.query
	-- NULL: it is not called where it would raise an error
	FROM infra_monitor.statement_stats(CASE WHEN infra_monitor.pg_stat_statements_loaded() THEN true END) s
	WHERE s.toplevel
)
SELECT infra_monitor.shown(d.datname) AS datname,
	infra_monitor.shown(r.rolname) AS usename, c.application_name,
	c.queryid, c.parent_queryid, c.bursts, c.executions, c.longest_burst,
	c.total_time AS total_exec_time, c.last_seen, c.kind,
	CASE WHEN c.queryid IS NULL THEN '<insufficient privilege>' ELSE q.query END AS query,
	CASE WHEN c.queryid IS NULL THEN '<insufficient privilege>' ELSE p.query END AS parent_query
FROM infra_monitor.repeated_counts() c
	LEFT JOIN texts q ON q.userid OPERATOR(pg_catalog.=) c.userid
		AND q.dbid OPERATOR(pg_catalog.=) c.dbid
		AND q.queryid OPERATOR(pg_catalog.=) c.queryid
	LEFT JOIN texts p ON p.userid OPERATOR(pg_catalog.=) c.userid
		AND p.dbid OPERATOR(pg_catalog.=) c.dbid
		AND p.queryid OPERATOR(pg_catalog.=) c.parent_queryid
	LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) c.userid
	LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) c.dbid;
COMMENT ON VIEW infra_monitor.repeated_queries IS
'N+1: statements that a client executed at least infra_monitor.repeated_query_threshold times in a row, as a rule once for each row of a parent statement; select: fetch what they return together with the parent, by a join, or by one statement with = ANY and all keys (in an ORM: eager loading); write: send many rows with one INSERT, UPDATE, DELETE or MERGE, or COPY; a loop that still runs is not shown; the 512 of all databases that cost most; error unless preloaded; for pg_monitor, texts of other roles need pg_read_all_stats';
COMMENT ON COLUMN infra_monitor.repeated_queries.datname IS 'NULL if the database has been dropped';
COMMENT ON COLUMN infra_monitor.repeated_queries.usename IS 'role that executed it; NULL if it has been dropped';
COMMENT ON COLUMN infra_monitor.repeated_queries.application_name IS 'application_name of the session';
COMMENT ON COLUMN infra_monitor.repeated_queries.queryid IS 'the repeated statement; NULL: the caller may not see it';
COMMENT ON COLUMN infra_monitor.repeated_queries.parent_queryid IS 'the statement that ran before the loop, and whose rows it most likely goes through; NULL: none in this transaction, or the caller may not see it';
COMMENT ON COLUMN infra_monitor.repeated_queries.bursts IS 'loops';
COMMENT ON COLUMN infra_monitor.repeated_queries.executions IS 'executions in all loops';
COMMENT ON COLUMN infra_monitor.repeated_queries.longest_burst IS 'most executions in one loop';
COMMENT ON COLUMN infra_monitor.repeated_queries.total_exec_time IS 'time of the executions in the server, ms; that of the network, as a rule more, comes on top';
COMMENT ON COLUMN infra_monitor.repeated_queries.last_seen IS 'when a loop ended last';
COMMENT ON COLUMN infra_monitor.repeated_queries.kind IS 'select, write (INSERT, UPDATE, DELETE, MERGE, also inside of WITH)';
COMMENT ON COLUMN infra_monitor.repeated_queries.query IS 'text of the repeated statement; NULL if pg_stat_statements does not have it, or cannot convert the texts of all databases to the encoding of this one';
COMMENT ON COLUMN infra_monitor.repeated_queries.parent_query IS 'text of the parent; NULL as for query, or if there is no parent';
