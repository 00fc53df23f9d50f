--
-- Limits of roles and databases, and how to free connections
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS infra_monitor CASCADE;
CREATE EXTENSION IF NOT EXISTS dblink;
RESET client_min_messages;
SELECT current_user AS admin, current_database() AS here \gset

-- how to connect to this server once more
CREATE FUNCTION pg_temp.conninfo(application text, username text DEFAULT current_user, dbname text DEFAULT current_database())
RETURNS text LANGUAGE sql AS $$
SELECT format($f$host=%s port=%s user='%s' dbname=%s application_name=%s$f$,
	split_part(current_setting('unix_socket_directories'), ',', 1),
	current_setting('port'), username, dbname, application)
$$;

-- waits until a condition is true; false if that takes too long
CREATE FUNCTION pg_temp.wait_until(condition text)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	done boolean;
BEGIN
	FOR i IN 1 .. 6000 LOOP
		PERFORM pg_stat_clear_snapshot();
		EXECUTE 'SELECT ' || condition INTO done;
		IF done THEN
			RETURN true;
		END IF;
		PERFORM pg_sleep(0.01);
	END LOOP;
	RETURN false;
END $$;

-- the same for the idle threshold: a session that begins now has it, so others
-- have been told
CREATE FUNCTION pg_temp.wait_until_set(value text)
RETURNS boolean LANGUAGE sql AS $$
SELECT pg_temp.wait_until(format('x = %L FROM dblink(%L, %L) AS t (x text)', value,
	pg_temp.conninfo('regress_reload'), 'SHOW infra_monitor.idle_threshold'))
$$;

CREATE VIEW pg_temp.limits AS
SELECT scope, CASE name WHEN current_database() THEN 'here' ELSE name END AS name, connections, connection_limit
FROM infra_monitor.limit_usage() ORDER BY scope, name;
CREATE VIEW pg_temp.checks AS
SELECT name, status, value, unit, replace(message, format('"%s"', current_database()), 'here') AS message
FROM infra_monitor.evaluate_checks('pool') WHERE name IN ('role_limit', 'database_limit') ORDER BY name;

-- nobody has a limit
SELECT pg_temp.wait_until('used_connections = 1 FROM infra_monitor.pool_pressure') AS alone;
TABLE pg_temp.limits;
TABLE pg_temp.checks;

-- one nobody uses does not count
CREATE ROLE regress_one LOGIN CONNECTION LIMIT 10;
CREATE ROLE regress_two LOGIN CONNECTION LIMIT 3;
CREATE ROLE regress_super LOGIN SUPERUSER CONNECTION LIMIT 1;
TABLE pg_temp.limits;

-- whoever is nearer to its limit
SELECT dblink_connect('a', pg_temp.conninfo('regress_a', 'regress_one'));
SELECT dblink_connect('b', pg_temp.conninfo('regress_b', 'regress_one'));
SELECT dblink_connect('c', pg_temp.conninfo('regress_c', 'regress_two'));
TABLE pg_temp.limits;
TABLE pg_temp.checks;
ALTER ROLE regress_one CONNECTION LIMIT 2;
TABLE pg_temp.checks;

-- equally near: the one with less left
ALTER ROLE regress_one CONNECTION LIMIT 6;
SELECT message FROM pg_temp.checks WHERE name = 'role_limit';

-- a limit of 0; reached
ALTER ROLE regress_two CONNECTION LIMIT 0;
TABLE pg_temp.checks;
ALTER ROLE regress_two CONNECTION LIMIT -1;
TABLE pg_temp.limits;

-- superusers heed none
SELECT dblink_connect('d', pg_temp.conninfo('regress_d', 'regress_super'));
TABLE pg_temp.limits;
SELECT role_limit, limit_ratio FROM infra_monitor.pool_usage WHERE usename = 'regress_super';

-- but are counted for the database
ALTER DATABASE :"DBNAME" CONNECTION LIMIT 6;
TABLE pg_temp.limits;
TABLE pg_temp.checks;
ALTER DATABASE :"DBNAME" CONNECTION LIMIT 5;
TABLE pg_temp.checks;
ALTER DATABASE :"DBNAME" CONNECTION LIMIT 0;
TABLE pg_temp.checks;
SELECT status FROM infra_monitor.pool_pressure;
ALTER DATABASE :"DBNAME" CONNECTION LIMIT -1;
SELECT dblink_disconnect('d');
DROP ROLE regress_super;

--
-- who may go
--
SELECT infra_monitor.idle_threshold();
SELECT infra_monitor.terminate_statement('{17,4,9}', '2026-01-02 03:04:05.678901+02');
SELECT infra_monitor.terminate_statement('{17,NULL}', '2026-01-02 03:04:05+00') IS NOT NULL AS one,
	infra_monitor.terminate_statement('{NULL}', now()) AS unknown,
	infra_monitor.terminate_statement('{}', now()) AS none,
	infra_monitor.terminate_statement(NULL, now()) AS no_list,
	infra_monitor.terminate_statement('{17}', NULL) AS no_moment,
	infra_monitor.terminate_statement('{17}', 'infinity') AS never;
SELECT substring(infra_monitor.terminate_statement(array_agg(n), now()) FROM 'IN \((.*)\) AND state =') AS first_20
FROM generate_series(101, 150) n;
SELECT infra_monitor.prevention_advice(u, i, t, c) AS prevention
FROM (VALUES ('x'::name, 0, 0, 10), ('x', NULL, NULL, NULL), ('x', 8, 0, 10), ('x', 5, 0, 10), ('x', 10, 0, 10),
	('a "quoted" name', 1, 1, NULL), (NULL, 1, 0, 10), (NULL, 0, 1, 10)) v (u, i, t, c);

-- nobody is idle for so long
SELECT application_name, oldest_idle >= '0' AS oldest_idle, terminate, prevention
FROM infra_monitor.pool_usage ORDER BY application_name;

-- names that need quotes; one begins to work again after the statement was made,
-- and one is in a transaction
CREATE ROLE "regress Odd ""role""" LOGIN;
SELECT dblink_connect('odd' || n, pg_temp.conninfo('regress_odd', 'regress Odd "role"')) FROM generate_series(1, 5) n;
SELECT dblink_exec('odd1', 'BEGIN');
SELECT dblink_disconnect('c');
ALTER SYSTEM SET infra_monitor.idle_threshold = '1s';
SELECT pg_reload_conf();
SELECT pg_temp.wait_until_set('1s');
SELECT infra_monitor.idle_threshold();
SELECT pg_temp.wait_until($$min(clock_timestamp() - state_change) > '1s' FROM infra_monitor.sessions() WHERE usename LIKE 'regress%'$$);
SELECT application_name, connections, idle, idle_in_transaction, oldest_idle BETWEEN '1s' AND '1h' AS oldest_idle,
	cardinality(string_to_array(substring(terminate FROM 'IN \((.*)\) AND state ='), ', ')) AS sessions,
	terminate LIKE 'SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE %' AS statement
FROM infra_monitor.pool_usage ORDER BY application_name;
SELECT application_name, prevention FROM infra_monitor.pool_usage WHERE prevention IS NOT NULL ORDER BY application_name;
SELECT (SELECT array_agg(pid ORDER BY state_change, pid) FROM infra_monitor.sessions()
		WHERE usename ~ 'Odd' AND state = 'idle' AND clock_timestamp() - state_change > '1s')
	= string_to_array(substring(terminate FROM 'IN \((.*)\) AND state ='), ', ')::int[] AS longest_first
FROM infra_monitor.pool_usage WHERE application_name = 'regress_odd';
SELECT terminate AS statement FROM infra_monitor.pool_usage WHERE application_name = 'regress_odd' \gset
SELECT * FROM dblink('odd2', 'SELECT 1') AS t (x int);
:statement;
SELECT pg_temp.wait_until($$count(*) = 2 FROM infra_monitor.sessions() WHERE usename ~ 'Odd'$$);
SELECT (SELECT x FROM dblink('odd1', 'SELECT 1') AS t (x int)) AS in_transaction,
	(SELECT x FROM dblink('odd2', 'SELECT 2') AS t (x int)) AS works_again;
SELECT state, count(*) FROM infra_monitor.sessions() WHERE usename ~ 'Odd' GROUP BY state ORDER BY state;

-- as before
ALTER SYSTEM RESET infra_monitor.idle_threshold;
SELECT pg_reload_conf();
SELECT pg_temp.wait_until_set('5min');
SELECT dblink_disconnect(c) FROM unnest(dblink_get_connections()) c;
SELECT pg_temp.wait_until('used_connections = 1 FROM infra_monitor.pool_pressure') AS alone;
DROP ROLE regress_one, regress_two, "regress Odd ""role""";
DROP EXTENSION dblink;
