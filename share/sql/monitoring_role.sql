-- A role for exporters of metrics that may do no more than read them.  For psql,
-- as a superuser, in the database in which infra_monitor was created:
--
--	psql -X -d postgres -v role=infra_monitor_exporter -v password=... -f monitoring_role.sql
--
--	role         its name; infra_monitor_exporter if left out
--	password     set if the role has none yet; without it the role gets none
--	             (later: \password in psql)
--	connections  how many it may have at once; 5 if left out
--
-- It can be run again, and then changes only what is not as it should be.  A
-- password that is there is kept.  A role that exists and has more rights than
-- this script gives, or owns something, is refused.
--
-- From PostgreSQL 16 on it may have slots that others cannot take: set
-- reserved_connections, and GRANT pg_use_reserved_connections to the role.  That
-- is kept, too.

\set ON_ERROR_STOP on
\if :{?role}
\else
	\set role infra_monitor_exporter
\endif
\if :{?password}
\else
	\set password ''
\endif
\if :{?connections}
\else
	\set connections 5
\endif

\set QUIET on
BEGIN;
SET LOCAL client_min_messages = notice;

-- The password is to be in no log and in no statistics of statements
SELECT set_config(name, value, true)
FROM (VALUES ('log_statement', 'none'), ('log_min_duration_statement', '-1'),
	('log_min_duration_sample', '-1'), ('log_transaction_sample_rate', '0'),
	('log_min_error_statement', 'panic'), ('pg_stat_statements.track', 'none')) AS s (name, value)
WHERE (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)
\g /dev/null
SELECT set_config('monitoring_role.name', :'role', true),
	set_config('monitoring_role.password', :'password', true),
	set_config('monitoring_role.connections', :'connections', true)
\g /dev/null

DO $$
DECLARE
	name CONSTANT name := current_setting('monitoring_role.name');
	connections CONSTANT int := current_setting('monitoring_role.connections');
	settings CONSTANT text[] := ARRAY[
		-- a look at the metrics takes milliseconds
		'statement_timeout=5s', 'lock_timeout=1s', 'idle_in_transaction_session_timeout=10s',
		'default_transaction_read_only=on', 'search_path=pg_catalog', 'jit=off'];
	wanted text;
	given text;
BEGIN
	IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
		RAISE 'permission denied to create the role of an exporter'
			USING HINT = 'Run this as a superuser.', ERRCODE = 'insufficient_privilege';
	END IF;
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'infra_monitor') THEN
		RAISE 'extension "infra_monitor" does not exist in database "%"', current_database()
			USING HINT = 'Connect to the database in which it was created, or create it here.',
				ERRCODE = 'undefined_object';
	END IF;
	IF name = '' OR connections < 1 THEN
		RAISE 'the role needs a name, and one connection at least' USING ERRCODE = 'invalid_parameter_value';
	END IF;

	-- what is there already
	SELECT concat_ws(', ',
		CASE WHEN rolsuper THEN 'is a superuser' END,
		CASE WHEN rolcreaterole OR rolcreatedb THEN 'may create roles or databases' END,
		CASE WHEN rolreplication OR rolbypassrls THEN 'may replicate or bypass row security' END,
		(SELECT 'is a member of ' || string_agg(roleid::regrole::text, ' and ' ORDER BY roleid::regrole::text)
		 FROM pg_catalog.pg_auth_members WHERE member = r.oid
			AND pg_catalog.pg_get_userbyid(roleid) NOT IN ('pg_monitor', 'pg_use_reserved_connections')),
		CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_shdepend
			WHERE refclassid = 'pg_authid'::regclass AND refobjid = r.oid AND deptype = 'o') THEN 'owns something' END)
	INTO given FROM pg_catalog.pg_roles r WHERE rolname = name;
	IF given <> '' THEN
		RAISE 'role "%" exists, and %', name, given
			USING HINT = 'Choose another name: -v role=...', ERRCODE = 'duplicate_object';
	END IF;

	IF NOT FOUND THEN
		EXECUTE format('CREATE ROLE %I LOGIN', name);
	END IF;
	IF current_setting('monitoring_role.password') <> '' THEN
		IF (SELECT rolpassword FROM pg_catalog.pg_authid WHERE rolname = name) IS NULL THEN
			EXECUTE format('ALTER ROLE %I PASSWORD %L', name, current_setting('monitoring_role.password'));
		ELSE
			RAISE NOTICE 'role "%" has a password, which is kept', name;
		END IF;
	END IF;
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles
		WHERE rolname = name AND rolcanlogin AND rolinherit AND rolconnlimit = connections) THEN
		EXECUTE format('ALTER ROLE %I LOGIN INHERIT CONNECTION LIMIT %s', name, connections);
	END IF;
	FOREACH wanted IN ARRAY settings LOOP
		IF NOT EXISTS (SELECT FROM pg_catalog.pg_db_role_setting
			WHERE setdatabase = 0 AND setrole = quote_ident(name)::regrole AND wanted = ANY (setconfig)) THEN
			EXECUTE format('ALTER ROLE %I SET %I = %L', name, split_part(wanted, '=', 1), split_part(wanted, '=', 2));
		END IF;
	END LOOP;
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_auth_members
		WHERE member = quote_ident(name)::regrole AND roleid = 'pg_monitor'::regrole) THEN
		EXECUTE format('GRANT pg_monitor TO %I', name);
	END IF;
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_database d, pg_catalog.aclexplode(d.datacl) a
		WHERE d.datname = current_database() AND a.grantee = quote_ident(name)::regrole AND a.privilege_type = 'CONNECT') THEN
		EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), name);
	END IF;
END
$$;

COMMIT;
\unset password
\set QUIET off

SELECT r.rolname AS role, r.rolconnlimit AS connections,
	ARRAY(SELECT roleid::regrole FROM pg_catalog.pg_auth_members WHERE member = r.oid) AS member_of,
	a.rolpassword IS NOT NULL AS has_password, s.setconfig AS settings
FROM pg_catalog.pg_roles r
	JOIN pg_catalog.pg_authid a USING (oid)
	LEFT JOIN pg_catalog.pg_db_role_setting s ON s.setrole = r.oid AND s.setdatabase = 0
WHERE r.rolname = :'role'
\gx
