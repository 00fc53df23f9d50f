
--
-- checks_databases.sql: health checks of category database: what is in the catalogs of each database
--
-- Their defaults are in check_defaults(), health.sql.  All are for pg_monitor.
-- What they look for is in database_visit.c.
--

CREATE FUNCTION infra_monitor.check_invalid_indexes(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT w.value, 'indexes', w.message FROM infra_monitor.worst_database('invalid_indexes', 'no index is invalid') w $$;
COMMENT ON FUNCTION infra_monitor.check_invalid_indexes() IS
'health check: indexes that are kept up to date and never used, because their concurrent build failed, of the database with most of them; as of the last round';

CREATE FUNCTION infra_monitor.check_sequence_exhaustion(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT w.value, 'ratio', w.message FROM infra_monitor.worst_database('sequence_exhaustion', 'no sequence has been used') w $$;
COMMENT ON FUNCTION infra_monitor.check_sequence_exhaustion() IS
'health check: share of its numbers that a sequence has used, or of those that fit the column which owns it, of the sequence nearest to its end in all databases; those that cycle are left out; as of the last round';

CREATE FUNCTION infra_monitor.check_vacuum_debt(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT w.value, 'ratio', w.message FROM infra_monitor.worst_database('vacuum_debt', 'there is no table to vacuum') w $$;
COMMENT ON FUNCTION infra_monitor.check_vacuum_debt() IS
'health check: dead rows of a table, from 10000 on, as a multiple of the number at which autovacuum should come, or its age as one of autovacuum_freeze_max_age, whichever is more, of the worst table in all databases; on a standby the age only; as of the last round, above 1 if the one before agrees';

CREATE FUNCTION infra_monitor.check_stale_statistics(OUT value float8, OUT unit text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT w.value, 'ratio', w.message FROM infra_monitor.worst_database('stale_statistics', 'no table has 10000 changed rows since ANALYZE') w $$;
COMMENT ON FUNCTION infra_monitor.check_stale_statistics() IS
'health check: rows of a table changed since ANALYZE, from 10000 on, as a multiple of the number at which autovacuum should come, of the worst table in all databases; as of the last round, above 1 if the one before agrees';
