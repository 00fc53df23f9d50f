
--
-- conditions.sql: since when something is so for which PostgreSQL keeps no date
--

CREATE FUNCTION infra_monitor.seen_since(
	kind text, names text[], OUT name text, OUT since timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED ROWS 2
AS 'MODULE_PATHNAME', 'imon_seen_since_1_0';
COMMENT ON FUNCTION infra_monitor.seen_since(text, text[]) IS
'for health checks: since when the sampler has found each of these things of a kind in each of its evaluations, now for one that it has not found yet; what the sampler does not name any more is forgotten; NULL unless preloaded; error for more names than replication slots and eight; for pg_monitor';

CREATE FUNCTION infra_monitor.seconds_since(moment timestamptz)
RETURNS float8
LANGUAGE sql VOLATILE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT greatest(extract(epoch FROM clock_timestamp() - $1), 0)::float8 $$;
COMMENT ON FUNCTION infra_monitor.seconds_since(timestamptz) IS
'for health checks: seconds since a moment, 0 if it is ahead; for pg_monitor';
