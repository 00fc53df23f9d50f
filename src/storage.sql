
--
-- storage.sql: the size of the history
--

CREATE FUNCTION infra_monitor.history_tables(OUT history text, OUT period text)
RETURNS SETOF record
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 13
AS 'MODULE_PATHNAME', 'imon_history_tables_1_0';
COMMENT ON FUNCTION infra_monitor.history_tables() IS
'the tables of history, and what a partition of each holds: a day or, of rollups, a month (UTC); for pg_monitor';

CREATE FUNCTION infra_monitor.history_partitions(
	OUT history text, OUT name text, OUT day text, OUT bytes bigint, OUT has_rows boolean)
RETURNS SETOF record
LANGUAGE sql VOLATILE ROWS 50
SET search_path = pg_catalog, pg_temp
AS $$
SELECT p.relname::text, c.relname::text,
	CASE WHEN c.relname ~ ('^' || p.relname || CASE t.period WHEN 'month' THEN '_[0-9]{6}$' ELSE '_[0-9]{8}$' END)
		AND c.relnamespace = n.oid THEN substr(c.relname::text, length(p.relname::text) + 2) END,
	coalesce(pg_total_relation_size(c.oid), 0), coalesce(pg_relation_size(c.oid), 0) > 0
FROM infra_monitor.history_tables() t
	JOIN pg_namespace n ON n.nspname = 'infra_monitor'
	JOIN pg_class p ON p.relnamespace = n.oid AND p.relname = t.history
	JOIN pg_inherits i ON i.inhparent = p.oid
	JOIN pg_class c ON c.oid = i.inhrelid
$$;
COMMENT ON FUNCTION infra_monitor.history_partitions() IS
'the partitions of the tables of history in this database: their table, UTC day (20260131) or, of rollups, month (202601; NULL: the name is not ours), size with indexes, and whether they have rows; for pg_monitor';

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
'infra_monitor.max_storage, and what happens at a size of the history: 0 nothing, 1 the oldest day is removed, or when there is none before today the oldest month of rollups, 2 waits, statements and slow executions are not written, 3 nor samples, 4 nor health events; error unless preloaded; for pg_monitor';
