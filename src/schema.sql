/* infra_monitor--1.0.sql: built from src, do not edit */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION infra_monitor CASCADE" to load this file. \quit

--
-- schema.sql: the schema, and what belongs to no other part
--

-- Not in the control file: that would adopt a schema which exists already.
CREATE SCHEMA infra_monitor;
COMMENT ON SCHEMA infra_monitor IS
'infra_monitor: connection pool pressure, slow queries and health of the server, with history';

CREATE FUNCTION infra_monitor.preloaded()
RETURNS boolean
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_preloaded_1_0';
COMMENT ON FUNCTION infra_monitor.preloaded() IS
'was the library loaded via shared_preload_libraries, so that everything works? for pg_monitor';

CREATE FUNCTION infra_monitor.shown(name)
RETURNS name
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_shown_1_0';
COMMENT ON FUNCTION infra_monitor.shown(name) IS
'a name as it can be shown: names of databases and roles are stored as bytes, and those that are not valid in the encoding of this database become ?; for pg_monitor';

CREATE FUNCTION infra_monitor.may_see_role(role oid)
RETURNS boolean
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_may_see_role_1_0';
COMMENT ON FUNCTION infra_monitor.may_see_role(oid) IS
'may the caller see texts of this role, by its rights or those of pg_read_all_stats? for pg_monitor';

CREATE FUNCTION infra_monitor.shared_memory(OUT part text, OUT bytes bigint)
RETURNS SETOF record
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_shared_memory_1_0';
COMMENT ON FUNCTION infra_monitor.shared_memory() IS
'shared memory of infra_monitor by part, in bytes; fixed at server start; error unless preloaded; for pg_monitor';
