
--
-- storage.sql: the size of the history
--

CREATE FUNCTION infra_monitor.history_partitions(
	OUT history text, OUT name text, OUT day text, OUT bytes bigint, OUT has_rows boolean)
RETURNS SETOF record
LANGUAGE sql VOLATILE ROWS 50
SET search_path = pg_catalog, pg_temp
AS $$
SELECT p.relname::text, c.relname::text,
	CASE WHEN c.relname ~ ('^' || p.relname || '_[0-9]{8}$') AND c.relnamespace = n.oid THEN right(c.relname::text, 8) END,
	coalesce(pg_total_relation_size(c.oid), 0), coalesce(pg_relation_size(c.oid), 0) > 0
FROM pg_namespace n
	JOIN pg_class p ON p.relnamespace = n.oid
	JOIN pg_inherits i ON i.inhparent = p.oid
	JOIN pg_class c ON c.oid = i.inhrelid
WHERE n.nspname = 'infra_monitor'
	AND p.relname IN ('samples', 'wait_samples', 'statement_samples', 'statement_texts', 'slow_query_samples', 'health_events')
$$;
COMMENT ON FUNCTION infra_monitor.history_partitions() IS
'the partitions of the tables of history in this database: their table, UTC day (20260131; NULL: the name is not ours), size with indexes, and whether they have rows; for pg_monitor';

CREATE FUNCTION infra_monitor.history_bytes()
RETURNS bigint
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT sum(bytes)::bigint FROM infra_monitor.history_partitions() $$;
COMMENT ON FUNCTION infra_monitor.history_bytes() IS
'size of the history in this database, bytes; NULL if it has none; for pg_monitor';

CREATE FUNCTION infra_monitor.history_limit(bytes bigint, OUT max_bytes bigint, OUT level int)
RETURNS record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_history_limit_1_0';
COMMENT ON FUNCTION infra_monitor.history_limit(bigint) IS
'infra_monitor.max_storage, and what happens at a size of the history: 0 nothing, 1 the oldest day is removed, 2 waits, statements and slow executions are not written, 3 nor samples, 4 nor health events; error unless preloaded; for pg_monitor';
