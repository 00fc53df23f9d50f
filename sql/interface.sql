--
-- The SQL interface: what there is, who may use it, how it is configured
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS infra_monitor CASCADE;
RESET client_min_messages;

-- columns of views and tables, in order; partitions are like their parent
SELECT c.relname AS relation, c.relkind AS kind, a.attname AS column,
	format_type(a.atttypid, a.atttypmod) AS type
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'infra_monitor'::regnamespace
	AND c.relkind IN ('r', 'v', 'p') AND NOT c.relispartition
	AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY c.relname, a.attnum;

-- samples hold all of pool_pressure, in its order, after their time and epoch
SELECT array_agg(p.attname ORDER BY p.attnum) = array_agg(s.attname ORDER BY p.attnum) AS ok,
	count(*) > 0 AS any
FROM pg_attribute p
	JOIN pg_attribute s ON s.attrelid = 'infra_monitor.samples'::regclass
		AND s.attnum = p.attnum + 2 AND s.atttypid = p.atttypid
WHERE p.attrelid = 'infra_monitor.pool_pressure'::regclass AND p.attnum > 0
HAVING count(*) = (SELECT count(*) FROM pg_attribute
	WHERE attrelid = 'infra_monitor.pool_pressure'::regclass AND attnum > 0);

-- functions
SELECT p.proname AS function, p.pronargs AS in,
	CASE WHEN p.proretset THEN 'setof ' ELSE '' END || format_type(p.prorettype, NULL) AS result,
	l.lanname AS language, p.provolatile AS volatility, p.proisstrict AS strict, p.proparallel AS parallel
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE p.pronamespace = 'infra_monitor'::regnamespace
ORDER BY 1, 2;
SELECT p.proname AS function, a.n, coalesce(a.mode, 'i') AS mode, a.name, format_type(a.type, NULL) AS type,
	pg_get_function_arg_default(p.oid, a.n::int) AS default
FROM pg_proc p, unnest(coalesce(p.proallargtypes, p.proargtypes::oid[]), p.proargnames, p.proargmodes)
	WITH ORDINALITY a (type, name, mode, n)
WHERE p.pronamespace = 'infra_monitor'::regnamespace
ORDER BY 1, p.oid, 2;

-- types, what can be done with them, and what they can be cast to
SELECT t.typname AS type, t.typtype AS kind, t.typstorage AS storage, t.typinput, t.typoutput, t.typreceive, t.typsend
FROM pg_type t
WHERE t.typnamespace = 'infra_monitor'::regnamespace AND t.typrelid = 0 AND t.typelem = 0
ORDER BY 1;
SELECT o.oid::regoperator AS operator, o.oprresult::regtype AS result, o.oprcode AS function,
	o.oprcom::regoperator AS commutator, o.oprnegate::regoperator AS negator, o.oprcanhash AS hash, o.oprcanmerge AS merge
FROM pg_operator o WHERE o.oprnamespace = 'infra_monitor'::regnamespace
ORDER BY o.oprname COLLATE "C";
SELECT c.opcname AS operator_class, a.amname AS method, c.opcintype::regtype AS type, c.opcdefault AS default
FROM pg_opclass c JOIN pg_am a ON a.oid = c.opcmethod
WHERE c.opcnamespace = 'infra_monitor'::regnamespace ORDER BY 1;
SELECT c.castsource::regtype AS cast, c.casttarget::regtype AS to, c.castfunc::regproc AS function, c.castcontext AS context
FROM pg_cast c JOIN pg_proc p ON p.oid = c.castfunc
WHERE p.pronamespace = 'infra_monitor'::regnamespace ORDER BY 1;
SELECT a.aggfnoid::regprocedure AS aggregate, a.aggtransfn, a.aggcombinefn, a.aggmtransfn, a.aggminvtransfn
FROM pg_aggregate a JOIN pg_proc p ON p.oid = a.aggfnoid
WHERE p.pronamespace = 'infra_monitor'::regnamespace ORDER BY 1;

-- all of it belongs to the extension
SELECT c.oid::regclass AS stray
FROM pg_class c
WHERE c.relnamespace = 'infra_monitor'::regnamespace
	AND c.relkind IN ('r', 'v', 'p', 'S', 'm', 'f')
	AND NOT EXISTS (SELECT FROM pg_depend d
		WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e');
SELECT p.oid::regprocedure AS stray
FROM pg_proc p
WHERE p.pronamespace = 'infra_monitor'::regnamespace
	AND NOT EXISTS (SELECT FROM pg_depend d
		WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e');
SELECT pg_describe_object(o.class, o.oid, 0) AS stray
FROM (SELECT 'pg_type'::regclass AS class, oid FROM pg_type
		WHERE typnamespace = 'infra_monitor'::regnamespace AND typrelid = 0 AND typelem = 0
	UNION ALL SELECT 'pg_operator'::regclass, oid FROM pg_operator WHERE oprnamespace = 'infra_monitor'::regnamespace
	UNION ALL SELECT 'pg_opclass'::regclass, oid FROM pg_opclass WHERE opcnamespace = 'infra_monitor'::regnamespace
	UNION ALL SELECT 'pg_opfamily'::regclass, oid FROM pg_opfamily WHERE opfnamespace = 'infra_monitor'::regnamespace
	UNION ALL SELECT 'pg_cast'::regclass, oid FROM pg_cast WHERE 'infra_monitor.histogram'::regtype IN (castsource, casttarget)) o
WHERE NOT EXISTS (SELECT FROM pg_depend d
	WHERE d.classid = o.class AND d.objid = o.oid AND d.deptype = 'e');

-- and depends on no object of pg_stat_statements, so that it can be updated
SELECT DISTINCT pg_describe_object(d.classid, d.objid, 0) AS dependent
FROM pg_depend d JOIN pg_depend m ON m.classid = d.refclassid AND m.objid = d.refobjid
WHERE m.deptype = 'e'
	AND m.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_stat_statements')
	AND pg_describe_object(d.classid, d.objid, 0) LIKE '%infra\_monitor%';

-- everything has a comment
SELECT obj_description('infra_monitor'::regnamespace, 'pg_namespace') IS NOT NULL AS schema_has,
	obj_description((SELECT oid FROM pg_extension WHERE extname = 'infra_monitor'), 'pg_extension') IS NOT NULL AS extension_has;
SELECT c.oid::regclass AS without_comment
FROM pg_class c
WHERE c.relnamespace = 'infra_monitor'::regnamespace
	AND c.relkind IN ('r', 'v', 'p') AND NOT c.relispartition
	AND obj_description(c.oid, 'pg_class') IS NULL;
SELECT p.oid::regprocedure AS without_comment
FROM pg_proc p
WHERE p.pronamespace = 'infra_monitor'::regnamespace
	AND obj_description(p.oid, 'pg_proc') IS NULL;
SELECT t.oid::regtype AS without_comment
FROM pg_type t
WHERE t.typnamespace = 'infra_monitor'::regnamespace AND t.typrelid = 0 AND t.typelem = 0
	AND obj_description(t.oid, 'pg_type') IS NULL;
SELECT o.oid::regoperator AS without_comment
FROM pg_operator o
WHERE o.oprnamespace = 'infra_monitor'::regnamespace AND obj_description(o.oid, 'pg_operator') IS NULL;
SELECT t.tgname AS without_comment
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE c.relnamespace = 'infra_monitor'::regnamespace AND NOT t.tgisinternal
	AND obj_description(t.oid, 'pg_trigger') IS NULL;

-- nothing is for everybody
SELECT c.oid::regclass AS public
FROM pg_class c, aclexplode(coalesce(c.relacl,
	acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))) a
WHERE c.relnamespace = 'infra_monitor'::regnamespace AND a.grantee = 0;
SELECT p.oid::regprocedure AS public
FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
WHERE p.pronamespace = 'infra_monitor'::regnamespace AND a.grantee = 0;
SELECT n.nspname AS public
FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
WHERE n.nspname = 'infra_monitor' AND a.grantee = 0;

-- pg_monitor reads
SELECT a.grantee::regrole AS role, a.privilege_type AS privilege, a.is_grantable, count(*) > 0 AS any
FROM pg_class c, aclexplode(c.relacl) a
WHERE c.relnamespace = 'infra_monitor'::regnamespace AND a.grantee <> c.relowner
GROUP BY 1, 2, 3;
SELECT c.oid::regclass AS not_for_pg_monitor
FROM pg_class c
WHERE c.relnamespace = 'infra_monitor'::regnamespace
	AND c.relkind IN ('r', 'v', 'p') AND NOT c.relispartition
	AND NOT has_table_privilege('pg_monitor', c.oid, 'SELECT');
SELECT p.oid::regprocedure AS not_for_pg_monitor
FROM pg_proc p
WHERE p.pronamespace = 'infra_monitor'::regnamespace
	AND NOT has_function_privilege('pg_monitor', p.oid, 'EXECUTE')
ORDER BY p.proname;

-- nothing runs with the rights of its owner, or with the search path of its caller
SELECT p.oid::regprocedure AS security_definer
FROM pg_proc p
WHERE p.pronamespace = 'infra_monitor'::regnamespace AND p.prosecdef;

-- nor one that trusts the search path of its caller; what is inlined has none of its own
SELECT p.oid::regprocedure AS function, p.proconfig
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE p.pronamespace = 'infra_monitor'::regnamespace AND l.lanname NOT IN ('c', 'internal')
	AND (p.proconfig @> '{"search_path=pg_catalog, pg_temp"}') IS NOT TRUE;

-- functions in C that are STRICT survive NULL, should they be declared otherwise; those of a number take it for 0
CREATE SCHEMA lenient;
CREATE FUNCTION lenient.answers(function regprocedure) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	answers bigint;
	arguments text;
BEGIN
	EXECUTE regexp_replace(replace(pg_get_functiondef(function), ' STRICT', ''),
		'FUNCTION infra_monitor\.', 'FUNCTION lenient.');
	SELECT string_agg(format('NULL::%s', t::regtype), ', ') INTO arguments
	FROM pg_proc p, unnest(p.proargtypes) t WHERE p.oid = function;
	EXECUTE format('SELECT count(r) FROM lenient.%I(%s) r', (SELECT proname FROM pg_proc WHERE oid = function), arguments)
		INTO answers;
	RETURN answers;
END $$;
SELECT function, answers > 0 AS answer
FROM (SELECT p.oid::regprocedure AS function, lenient.answers(p.oid::regprocedure)
	FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
	WHERE p.pronamespace = 'infra_monitor'::regnamespace AND l.lanname = 'c' AND p.proisstrict AND p.pronargs > 0
		AND 'internal'::regtype <> ALL (p.proargtypes)
	OFFSET 0) s (function, answers)
ORDER BY function::text COLLATE "C";
SET client_min_messages = warning;
DROP SCHEMA lenient CASCADE;
RESET client_min_messages;

-- the extension
SELECT extrelocatable, extnamespace::regnamespace AS schema,
	extconfig::regclass[] AS dumped, extcondition AS condition
FROM pg_extension WHERE extname = 'infra_monitor';
SELECT superuser, trusted, relocatable, schema, requires
FROM pg_available_extension_versions
WHERE name = 'infra_monitor' AND version = '1.0';
ALTER EXTENSION infra_monitor SET SCHEMA public;

-- configuration parameters
SELECT name, boot_val, unit, vartype AS type, context, min_val, max_val
FROM pg_settings WHERE name LIKE 'infra\_monitor.%' ORDER BY name COLLATE "C";
SELECT name AS without_description
FROM pg_settings WHERE name LIKE 'infra\_monitor.%' AND short_desc IS NULL;
SELECT DISTINCT category FROM pg_settings WHERE name LIKE 'infra\_monitor.%';
\set VERBOSITY terse
SET infra_monitor.nonsense = 1;
SET infra_monitor.enabled = off;
-- the wording of ranges depends on the version
\set VERBOSITY sqlstate
SET infra_monitor.slow_query_threshold = -2;
SET infra_monitor.slow_query_threshold = '25h';
\set VERBOSITY terse
SET infra_monitor.slow_query_threshold = '250ms';
SHOW infra_monitor.slow_query_threshold;
\set VERBOSITY default
ALTER SYSTEM SET infra_monitor.database = '';
ALTER SYSTEM SET infra_monitor.database = 'a2345678901234567890123456789012345678901234567890123456789012345';
