--
-- What connections cost: connection_churn, connection_times, connection_rate
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS infra_monitor CASCADE;
CREATE EXTENSION IF NOT EXISTS dblink;
RESET client_min_messages;
SELECT current_user AS admin \gset

-- how to connect to this server once more
CREATE FUNCTION pg_temp.conninfo(application text, username text DEFAULT current_user)
RETURNS text LANGUAGE sql AS $$
SELECT format($f$host=%s port=%s user=%s dbname=%s application_name='%s'$f$,
	split_part(current_setting('unix_socket_directories'), ',', 1),
	current_setting('port'), username, current_database(), application)
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

CREATE VIEW pg_temp.churn AS
SELECT CASE usename WHEN session_user THEN 'admin' ELSE usename END AS usename,
	datname = current_database() AS here, application_name, connects, disconnects, current,
	session_time > 0 AS session_time, last_at <= clock_timestamp() AS last_at
FROM infra_monitor.connection_churn ORDER BY application_name COLLATE "C", usename COLLATE "C";
CREATE VIEW pg_temp.sums AS
SELECT c.connects = p.connects_total AS connects, c.disconnects = p.disconnects_total AS disconnects,
	t.establish = p.connects_total AS established, t.session = p.disconnects_total AS ended,
	t.observations AS observations
FROM infra_monitor.pool_pressure p,
	(SELECT sum(connects) AS connects, sum(disconnects) AS disconnects FROM infra_monitor.connection_churn) c,
	(SELECT max(connections) FILTER (WHERE phase = 'establish') AS establish,
		max(connections) FILTER (WHERE phase = 'session') AS session,
		bool_and(infra_monitor.observations(latency) = connections) AS observations
	 FROM infra_monitor.connection_times) t;

-- this session was counted, by the name with which it began; nothing since the reset
SELECT pg_temp.wait_until('used_connections = 1 FROM infra_monitor.pool_pressure') AS alone;
SELECT infra_monitor.reset('pool');
SET application_name = 'regress_later';
TABLE pg_temp.churn;
SELECT phase, connections, total_time, p50_time, p95_time, p99_time, latency FROM infra_monitor.connection_times;

-- two applications and two roles
CREATE ROLE regress_churn LOGIN;
ALTER ROLE regress_churn SET application_name = 'regress_of_role';
SELECT dblink_connect('one', pg_temp.conninfo('regress_a'));
SELECT dblink_connect('two', pg_temp.conninfo('regress_a', 'regress_churn'));
SELECT dblink_connect('three', pg_temp.conninfo('regress_b', 'regress_churn'));
SELECT dblink_connect('four', pg_temp.conninfo('', 'regress_churn'));
SELECT dblink_exec('three', $$SET application_name = 'regress_c'$$);
TABLE pg_temp.churn;
TABLE pg_temp.sums;
SELECT dblink_disconnect('one'), dblink_disconnect('three');
SELECT dblink_connect('one', pg_temp.conninfo('regress_a'));
SELECT pg_temp.wait_until('disconnects_total = 2 FROM infra_monitor.pool_pressure') AS ended;
TABLE pg_temp.churn;
TABLE pg_temp.sums;

-- how long that took
SELECT phase, connections, total_time > 0 AS total_time, p50_time BETWEEN 0.001 AND 60000 AS p50_time,
	p50_time <= p95_time AND p95_time <= p99_time AS ordered
FROM infra_monitor.connection_times;
SELECT bool_and(abs(t.total_time - c.session_time) < 0.01) AS same_time
FROM infra_monitor.connection_times t,
	(SELECT sum(session_time * disconnects) AS session_time FROM infra_monitor.connection_churn) c
WHERE t.phase = 'session';
SELECT dblink_connect('long', pg_temp.conninfo('regress_long'));
SELECT * FROM dblink('long', 'SELECT pg_sleep(0.3) IS NOT NULL') AS t (slept boolean);
SELECT dblink_disconnect('long');
SELECT pg_temp.wait_until('disconnects_total = 3 FROM infra_monitor.pool_pressure') AS ended;
SELECT session_time BETWEEN 300 AND 60000 AS session_time FROM infra_monitor.connection_churn WHERE application_name = 'regress_long';
SELECT (SELECT max(le_seconds) FROM infra_monitor.buckets(latency) WHERE cumulative < connections) >= 0.28 AS long
FROM infra_monitor.connection_times WHERE phase = 'session';

-- a reset: who is connected was counted, and is counted out
SELECT infra_monitor.reset('pool');
TABLE pg_temp.churn;
SELECT dblink_disconnect('one'), dblink_disconnect('two');
SELECT pg_temp.wait_until('disconnects_total = 2 FROM infra_monitor.pool_pressure') AS ended;
TABLE pg_temp.churn;
TABLE pg_temp.sums;
SELECT phase, connections, total_time > 0 AS total_time FROM infra_monitor.connection_times;

-- a role that was dropped
SELECT dblink_disconnect('four');
SELECT pg_temp.wait_until('disconnects_total = 3 FROM infra_monitor.pool_pressure') AS ended;
DROP ROLE regress_churn;
TABLE pg_temp.churn;

-- rates are known once there is something to compare with
SELECT infra_monitor.reset('pool');
SELECT connects_per_second IS NULL OR slots >= 0 AS ok FROM infra_monitor.connection_rate();
SELECT DISTINCT connects_per_minute FROM infra_monitor.connection_churn;
SELECT status, value, unit, message
FROM infra_monitor.evaluate_checks('pool') WHERE name = 'connection_storm';

-- the check with made-up rates; it shows no application, whose names not all may see
CREATE TABLE regress_rates (n int, rate float8, usual float8, slots int, usename name, connects bigint);
INSERT INTO regress_rates VALUES
	(1, 0, 0, 59, NULL, 0), (2, 0, 0, 60, NULL, 0), (3, 9.9, 0.2, 60, 'regress_x', 99),
	(4, 10, 0, 358, 'regress_x', 60), (5, 12, 1.2, 358, 'regress_x', 60), (6, 300, 6, 358, 'regress_x', 2000),
	(7, 300, 100.25, 358, 'regress_x', 2000), (8, 100, 1, 60, 'other', 1000), (9, 500, 5, 10, 'regress_x', 5000);
CREATE FUNCTION pg_temp.storm(OUT status text, OUT value float8, OUT message text)
LANGUAGE sql AS $$ SELECT status, value, message FROM infra_monitor.evaluate_checks('pool') WHERE name = 'connection_storm' $$;
BEGIN;
CREATE OR REPLACE FUNCTION infra_monitor.connection_rate(OUT connects_per_second float8, OUT usual_per_second float8, OUT slots int)
LANGUAGE sql VOLATILE AS $$ SELECT rate, usual, slots FROM public.regress_rates WHERE n = current_setting('regress.n')::int $$;
CREATE OR REPLACE FUNCTION infra_monitor.connection_churn(OUT datname name, OUT usename name, OUT application_name text,
	OUT connects bigint, OUT disconnects bigint, OUT current bigint, OUT total_session_time float8,
	OUT connects_last_slot bigint, OUT connects_last_minute bigint, OUT last_at timestamptz)
RETURNS SETOF record LANGUAGE sql VOLATILE AS $$
SELECT 'd', nullif(usename, 'other'), 'regress_text', 0, 0, 0, 0, part, 0, now()
FROM public.regress_rates, unnest(ARRAY[connects / 2, connects - connects / 2]) part WHERE n = current_setting('regress.n')::int
UNION ALL
SELECT 'd', 'regress_y', 'regress_text', 0, 0, 0, 0, 55, 0, now()
UNION ALL
SELECT 'd', 'regress_unknown', 'regress_text', 0, 0, 0, 0, NULL, 0, now()
$$;
SELECT n, (s).* FROM (SELECT n, pg_temp.storm() AS s FROM regress_rates WHERE set_config('regress.n', n::text, true) <> '' OFFSET 0) r ORDER BY n;
ROLLBACK;
DROP TABLE regress_rates;
SELECT pg_temp.wait_until('used_connections = 1 FROM infra_monitor.pool_pressure') AS alone;
DROP EXTENSION dblink;
