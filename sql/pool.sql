--
-- Connections: pool_pressure, pool_usage, pool_rejections, recent_rejections
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS infra_monitor CASCADE;
CREATE EXTENSION IF NOT EXISTS dblink;
RESET client_min_messages;
SELECT current_user AS admin \gset

-- how to connect to this server once more
CREATE FUNCTION pg_temp.conninfo(application text, username text DEFAULT current_user, dbname text DEFAULT current_database())
RETURNS text LANGUAGE sql AS $$
SELECT format('host=%s port=%s user=%s dbname=%s application_name=%s',
	split_part(current_setting('unix_socket_directories'), ',', 1),
	current_setting('port'), username, dbname, application)
$$;

-- an attempt to connect that fails
CREATE FUNCTION pg_temp.refused(application text, username text DEFAULT current_user, dbname text DEFAULT current_database())
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	PERFORM dblink_connect('refused', pg_temp.conninfo(application, username, dbname));
	PERFORM dblink_disconnect('refused');
	RETURN false;
EXCEPTION WHEN sqlclient_unable_to_establish_sqlconnection THEN
	RETURN true;
END $$;

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

-- one row that is consistent in itself
SELECT status IN ('ok', 'warning', 'critical') AS status,
	max_connections = current_setting('max_connections')::int AS max,
	reserved_connections = current_setting('superuser_reserved_connections')::int
		+ coalesce(current_setting('reserved_connections', true)::int, 0) AS reserved,
	used_connections >= 1 AS used, active >= 1 AS active, waiting <= active AS waiting,
	available_connections = max_connections - reserved_connections - used_connections - authenticating AS available,
	used_ratio = (used_connections + authenticating)::float8 / (max_connections - reserved_connections) AS ratio,
	peak_connections >= used_connections AS peak,
	peak_at <= clock_timestamp() AS peak_at,
	connects_total - disconnects_total <= used_connections AS totals,	-- since reset(), which some were there before
	oldest_transaction >= '0' AS oldest_transaction,
	stats_reset < now() AS stats_reset
FROM infra_monitor.pool_pressure;

-- the same facts from the functions underneath
SELECT c.max_connections = p.max_connections AND c.stats_reset = p.stats_reset AS ok
FROM infra_monitor.pool_pressure p, infra_monitor.pool_counts() c;
SELECT infra_monitor.pool_status() = status AS ok FROM infra_monitor.pool_pressure;

-- a connection begins
SELECT pg_temp.wait_until('used_connections = 1 FROM infra_monitor.pool_pressure') AS alone;
SELECT connects_total, disconnects_total, used_connections, stats_reset FROM infra_monitor.pool_pressure \gset before_
SELECT dblink_connect('one', pg_temp.conninfo('regress_one'));
SELECT connects_total - :before_connects_total AS connects,
	disconnects_total - :before_disconnects_total AS disconnects,
	used_connections - :before_used_connections AS used,
	authenticating, idle, idle_in_transaction, peak_connections >= 2 AS peak
FROM infra_monitor.pool_pressure;

-- is idle in a transaction, also in an aborted one
SELECT dblink_exec('one', 'BEGIN');
SELECT idle, idle_in_transaction, oldest_idle_in_transaction >= '0' AS oldest
FROM infra_monitor.pool_pressure;
SET client_min_messages = error;
SELECT dblink_exec('one', 'DROP TABLE regress_missing', false);
RESET client_min_messages;
SELECT idle, idle_in_transaction FROM infra_monitor.pool_pressure;
SELECT state FROM infra_monitor.sessions() WHERE application_name = 'regress_one';
SELECT connections, active, idle, idle_in_transaction, waiting
FROM infra_monitor.pool_usage WHERE application_name = 'regress_one';
SELECT dblink_exec('one', 'ROLLBACK');
SELECT idle, idle_in_transaction, oldest_idle_in_transaction FROM infra_monitor.pool_pressure;

-- and ends
SELECT dblink_disconnect('one');
SELECT pg_temp.wait_until('used_connections = 1 FROM infra_monitor.pool_pressure') AS ended;
SELECT connects_total - :before_connects_total AS connects,
	disconnects_total - :before_disconnects_total AS disconnects,
	idle, peak_connections >= 2 AS peak, stats_reset = :'before_stats_reset' AS same
FROM infra_monitor.pool_pressure;

--
-- pool_usage: two roles, one of them twice
--
CREATE ROLE regress_pool LOGIN;
SELECT dblink_connect('one', pg_temp.conninfo('regress_one', 'regress_pool'));
SELECT dblink_connect('two', pg_temp.conninfo('regress_two', 'regress_pool'));
SELECT usename = :'admin' AS admin, application_name, datname = current_database() AS here,
	client_addr, connections, active, idle, idle_in_transaction, waiting,
	role_limit, database_limit, limit_ratio
FROM infra_monitor.pool_usage ORDER BY application_name;

-- sums are those of pool_pressure and pg_stat_activity
SELECT sum(u.connections) = p.used_connections AS used, sum(u.active) = p.active AS active,
	sum(u.idle) = p.idle AS idle, sum(u.waiting) = p.waiting AS waiting,
	p.used_connections = (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS activity
FROM infra_monitor.pool_usage u, infra_monitor.pool_pressure p
GROUP BY p.used_connections, p.active, p.idle, p.waiting;

CREATE VIEW pg_temp.limits AS
SELECT application_name, role_limit, database_limit, limit_ratio FROM infra_monitor.pool_usage
ORDER BY application_name;

-- a role's limit holds for all of its connections
ALTER ROLE regress_pool CONNECTION LIMIT 8;
TABLE pg_temp.limits;

-- a database's for those of all roles
ALTER ROLE regress_pool CONNECTION LIMIT -1;
ALTER DATABASE :"DBNAME" CONNECTION LIMIT 12;
TABLE pg_temp.limits;

-- the nearer of the two counts
ALTER ROLE regress_pool CONNECTION LIMIT 4;
TABLE pg_temp.limits;
ALTER ROLE regress_pool CONNECTION LIMIT 16;
TABLE pg_temp.limits;

-- beyond it
ALTER ROLE regress_pool CONNECTION LIMIT 1;
TABLE pg_temp.limits;

-- a limit of 0
ALTER ROLE regress_pool CONNECTION LIMIT 0;
TABLE pg_temp.limits;
ALTER ROLE regress_pool CONNECTION LIMIT -1;
ALTER DATABASE :"DBNAME" CONNECTION LIMIT 0;
TABLE pg_temp.limits;

--
-- refusals
--
SELECT reason, total >= 0 AS total FROM infra_monitor.pool_rejections;
CREATE TEMP TABLE before AS SELECT * FROM infra_monitor.pool_rejections;
SELECT rejected_total, auth_failures_total FROM infra_monitor.pool_pressure \gset before_
SELECT infra_monitor.rejected_recently() AS before_recently \gset

SELECT pg_temp.refused('regress_database_limit', 'regress_pool');
ALTER DATABASE :"DBNAME" CONNECTION LIMIT -1;
ALTER ROLE regress_pool CONNECTION LIMIT 2;
SELECT pg_temp.refused('regress_role_limit', 'regress_pool');
SELECT pg_temp.refused('regress_role_limit', 'regress_pool');
ALTER ROLE regress_pool CONNECTION LIMIT -1;
SELECT pg_temp.refused('regress_other', dbname => 'regress_missing');
SELECT pg_temp.refused('regress_authentication', 'regress_missing');

SELECT r.reason, r.total - b.total AS more, r.last_at BETWEEN now() - interval '1 minute' AND now() AS now
FROM infra_monitor.pool_rejections r JOIN before b USING (reason)
WHERE r.total <> b.total;
SELECT rejected_total - :before_rejected_total AS rejected,
	auth_failures_total - :before_auth_failures_total AS auth_failures,
	infra_monitor.rejected_recently() - :before_recently AS recently
FROM infra_monitor.pool_pressure;
SELECT sum(total) FILTER (WHERE reason <> 'authentication') = rejected_total AS rejected,
	sum(total) FILTER (WHERE reason = 'authentication') = auth_failures_total AS auth_failures
FROM infra_monitor.pool_rejections, infra_monitor.pool_pressure
GROUP BY rejected_total, auth_failures_total;

-- newest first; with the name that the client sent
SELECT reason, sqlstate, CASE usename WHEN :'admin' THEN 'admin' ELSE usename END AS usename,
	CASE datname WHEN current_database() THEN 'here' ELSE datname END AS datname,
	application_name, client_addr, at <= clock_timestamp() AS at
FROM infra_monitor.recent_rejections LIMIT 5;
SELECT count(*) BETWEEN 5 AND 256 AS ok FROM infra_monitor.recent_rejections;

--
-- the status of the pool and the checks, which it does not call, agree
--
CREATE VIEW pg_temp.agreement AS
SELECT CASE WHEN bool_or(status = 'critical') THEN 'critical' WHEN bool_or(status = 'warning') THEN 'warning' ELSE 'ok' END AS of_checks,
	(SELECT infra_monitor.pool_status()) AS of_pool
FROM infra_monitor.evaluate_checks('pool');
TABLE pg_temp.agreement;
INSERT INTO infra_monitor.health_threshold_overrides (check_name, warning, critical) VALUES
	('connections_used', 'Infinity', 'Infinity'), ('connections_rejected', 'Infinity', 'Infinity'),
	('idle_in_transaction', 0.001, 'Infinity'), ('lock_waits', 'Infinity', 0.001);
TABLE pg_temp.agreement;
CREATE TABLE regress_locked ();
GRANT ALL ON regress_locked TO regress_pool;
SELECT dblink_exec('one', 'BEGIN; LOCK regress_locked');
SELECT pg_sleep(0.002);
TABLE pg_temp.agreement;
SELECT dblink_send_query('two', 'BEGIN; LOCK regress_locked');
SELECT pg_temp.wait_until('oldest_lock_wait > ''2 ms'' FROM infra_monitor.pool_counts()') AS waits;
TABLE pg_temp.agreement;
SELECT dblink_exec('one', 'ROLLBACK');
DELETE FROM infra_monitor.health_threshold_overrides;

SELECT dblink_disconnect('one'), dblink_disconnect('two');
DROP TABLE regress_locked;
DROP ROLE regress_pool;
DROP EXTENSION dblink;
