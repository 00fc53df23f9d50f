--
-- Samples: take_sample(), what it stores, and what it refuses
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS infra_monitor CASCADE;
CREATE EXTENSION IF NOT EXISTS dblink;
RESET client_min_messages;

-- the sampler takes a sample when the extension is created, and then no more
SET statement_timeout = '60s';
DO $$ BEGIN
	WHILE NOT EXISTS (SELECT FROM infra_monitor.samples) LOOP
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
RESET statement_timeout;

-- connections come and go: counted exactly
CREATE FUNCTION pg_temp.connect(times int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. times LOOP
		PERFORM dblink_connect('c', format('host=%s port=%s user=%s dbname=%s',
			split_part(current_setting('unix_socket_directories'), ',', 1),
			current_setting('port'), current_user, current_database()));
		PERFORM dblink_disconnect('c');
	END LOOP;
	RETURN times;
END $$;

-- the error that take_sample() raises; NULL if it does not
CREATE FUNCTION pg_temp.error_of_take_sample() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM infra_monitor.take_sample();
	RETURN NULL;
EXCEPTION WHEN others THEN
	RETURN SQLERRM;
END $$;

-- the last samples, newest first
CREATE VIEW pg_temp.latest AS
SELECT row_number() OVER (ORDER BY sampled_at DESC) AS n, *,
	epoch = lead(epoch) OVER (ORDER BY sampled_at DESC) AS same_epoch
FROM infra_monitor.samples;

--
-- the first of an epoch knows no differences
--
SELECT infra_monitor.reset();
SELECT clock_timestamp() AS before \gset
SELECT infra_monitor.take_sample() AS at \gset
SELECT :'at'::timestamptz BETWEEN :'before' AND clock_timestamp() AS ok;
SELECT sampled_at = :'at' AS at, connects, rejected, commits, rollbacks, blks_hit, blks_read, temp_bytes, deadlocks,
	wal_bytes, avg_active
FROM pg_temp.latest WHERE n = 1;

-- the columns of pool_pressure, and of system_usage()
SELECT l.status = p.status AS status, l.max_connections = p.max_connections AS max,
	l.reserved_connections = p.reserved_connections AS reserved, l.stats_reset = p.stats_reset AS stats_reset,
	l.used_connections >= 1 AS used, l.active >= 1 AS active, l.connects_total = p.connects_total AS connects_total,
	l.oldest_transaction >= '0' AS oldest_transaction,
	l.memory_total IS NOT DISTINCT FROM s.memory_total AS memory, l.disk_total IS NOT DISTINCT FROM s.disk_total AS disk,
	l.cpu_ratio IS NULL OR l.cpu_ratio BETWEEN 0 AND 1 AS cpu, l.collect_time BETWEEN 0 AND 60000 AS collect_time,
	l.health_status, l.health_score
FROM pg_temp.latest l, infra_monitor.pool_pressure p, infra_monitor.system_usage() s WHERE n = 1;

--
-- then differences
--
SELECT pg_temp.connect(3);
CREATE TABLE regress_samples (i int);
INSERT INTO regress_samples SELECT generate_series(1, 10000);
BEGIN;
ROLLBACK;
SELECT 1 / 0;
SELECT pg_stat_force_next_flush();
SELECT infra_monitor.take_sample() AS second \gset
SELECT sampled_at = :'second' AS at, sampled_at > :'at' AS later, same_epoch, connects, rejected, commits >= 4 AS commits,
	rollbacks >= 1 AS rollbacks, blks_hit > 0 AS blks_hit, blks_read >= 0 AS blks_read, temp_bytes >= 0 AS temp_bytes,
	deadlocks, wal_bytes > 500000 AS wal_bytes, coalesce(avg_active, 0) >= 0 AS avg_active
FROM pg_temp.latest WHERE n = 1;
SELECT pg_stat_force_next_flush();
SELECT infra_monitor.take_sample() > :'second' AS third;
SELECT same_epoch, connects, rejected, wal_bytes BETWEEN 0 AND 500000 AS wal_bytes FROM pg_temp.latest WHERE n = 1;

--
-- a sample that is rolled back leaves nothing and loses nothing
--
SELECT rows_stored AS before FROM infra_monitor.sampler_status \gset
SELECT count(*) AS rows FROM infra_monitor.samples \gset
SELECT pg_temp.connect(2);
BEGIN;
SELECT infra_monitor.take_sample() IS NOT NULL AS taken;
SELECT n, connects FROM pg_temp.latest WHERE n = 1;
ROLLBACK;
BEGIN;
SELECT infra_monitor.take_sample() IS NOT NULL AS taken;
SELECT 1 / 0;
COMMIT;
SELECT rows_stored - :before AS stored, (SELECT count(*) - :rows FROM infra_monitor.samples) AS rows
FROM infra_monitor.sampler_status;
SELECT infra_monitor.take_sample() IS NOT NULL AS taken;
SELECT connects FROM pg_temp.latest WHERE n = 1;
SELECT rows_stored - :before AS stored, (SELECT count(*) - :rows FROM infra_monitor.samples) AS rows
FROM infra_monitor.sampler_status;

-- the same with savepoints
SELECT pg_temp.connect(1);
BEGIN;
SAVEPOINT s;
SELECT infra_monitor.take_sample() IS NOT NULL AS taken;
ROLLBACK TO s;
COMMIT;
SELECT rows_stored - :before AS stored FROM infra_monitor.sampler_status;
SELECT infra_monitor.take_sample() IS NOT NULL AS taken;
SELECT connects FROM pg_temp.latest WHERE n = 1;

-- released into a transaction that is rolled back
SELECT pg_temp.connect(1);
BEGIN;
SAVEPOINT outer_one;
SAVEPOINT inner_one;
SELECT infra_monitor.take_sample() IS NOT NULL AS taken;
RELEASE inner_one;
ROLLBACK TO outer_one;
COMMIT;
SELECT infra_monitor.take_sample() IS NOT NULL AS taken;
SELECT connects FROM pg_temp.latest WHERE n = 1;
SELECT rows_stored - :before AS stored, (SELECT count(*) - :rows FROM infra_monitor.samples) AS rows
FROM infra_monitor.sampler_status;

-- one before the savepoint stays, and so does what follows from it
SELECT pg_temp.connect(1);
BEGIN;
SELECT infra_monitor.take_sample() IS NOT NULL AS taken;
SELECT pg_temp.connect(2);
SAVEPOINT s;
SELECT infra_monitor.take_sample() IS NOT NULL AS taken;
SELECT pg_temp.connect(4);
SAVEPOINT t;
SELECT infra_monitor.take_sample() IS NOT NULL AS taken;
SELECT connects FROM pg_temp.latest WHERE n <= 3 ORDER BY n DESC;
ROLLBACK TO s;
COMMIT;
SELECT rows_stored - :before AS stored, (SELECT count(*) - :rows FROM infra_monitor.samples) AS rows
FROM infra_monitor.sampler_status;
SELECT infra_monitor.take_sample() IS NOT NULL AS taken;
SELECT connects FROM pg_temp.latest WHERE n <= 2 ORDER BY n DESC;

-- an unrelated savepoint does not matter
BEGIN;
SELECT pg_temp.connect(1);
SAVEPOINT s;
SELECT infra_monitor.take_sample() IS NOT NULL AS taken;
RELEASE s;
SAVEPOINT t;
SELECT 1 / 0;
ROLLBACK TO t;
COMMIT;
SELECT infra_monitor.take_sample() IS NOT NULL AS taken;
SELECT connects FROM pg_temp.latest WHERE n <= 2 ORDER BY n DESC;

-- an exception block rolls back as well
DO $$
BEGIN
	PERFORM pg_temp.connect(1);
	PERFORM infra_monitor.take_sample();
	RAISE division_by_zero;
EXCEPTION WHEN division_by_zero THEN
	NULL;
END $$;
SELECT infra_monitor.take_sample() IS NOT NULL AS taken;
SELECT connects FROM pg_temp.latest WHERE n = 1;

-- two in one transaction
BEGIN;
SELECT pg_temp.connect(1);
SELECT infra_monitor.take_sample() AS one \gset
SELECT pg_temp.connect(2);
SELECT infra_monitor.take_sample() AS two \gset
COMMIT;
SELECT :'one'::timestamptz < :'two' AS ok;
SELECT same_epoch, connects FROM pg_temp.latest WHERE n <= 2 ORDER BY n DESC;
SELECT rows_stored - :before = (SELECT count(*) - :rows FROM infra_monitor.samples) AS ok
FROM infra_monitor.sampler_status;

-- a prepared transaction could end whenever it likes
BEGIN;
SELECT infra_monitor.take_sample() IS NOT NULL AS taken;
PREPARE TRANSACTION 'regress';
SELECT count(*) FROM pg_prepared_xacts;
SELECT infra_monitor.take_sample() IS NOT NULL AS taken;
SELECT connects FROM pg_temp.latest WHERE n = 1;

--
-- epochs: nothing is compared across a reset
--
SELECT infra_monitor.reset('pool');
SELECT infra_monitor.take_sample() IS NOT NULL AS taken;
SELECT same_epoch, connects, commits, wal_bytes FROM pg_temp.latest WHERE n = 1;
SELECT pg_stat_reset();
SELECT infra_monitor.take_sample() IS NOT NULL AS taken;
SELECT same_epoch, connects, commits, wal_bytes FROM pg_temp.latest WHERE n = 1;
SELECT pg_stat_reset_shared('wal');
SELECT infra_monitor.take_sample() IS NOT NULL AS taken;
SELECT same_epoch, connects, commits, wal_bytes FROM pg_temp.latest WHERE n = 1;
SELECT infra_monitor.take_sample() IS NOT NULL AS taken;
SELECT same_epoch, connects, commits >= 0 AS commits, wal_bytes >= 0 AS wal_bytes FROM pg_temp.latest WHERE n = 1;

-- a database that is dropped takes its counts along
CREATE DATABASE regress_dropped TEMPLATE template0;
SELECT infra_monitor.take_sample() IS NOT NULL AS taken;
DROP DATABASE regress_dropped;
SELECT infra_monitor.take_sample() IS NOT NULL AS taken;
SELECT same_epoch, connects, rejected, commits, rollbacks, blks_hit, blks_read, temp_bytes, deadlocks, wal_bytes > 0 AS wal_bytes
FROM pg_temp.latest WHERE n = 1;
SELECT infra_monitor.take_sample() IS NOT NULL AS taken;
SELECT same_epoch, commits >= 0 AS commits FROM pg_temp.latest WHERE n = 1;

--
-- partitions
--
SELECT s.tableoid::regclass::text = 'infra_monitor.samples_' || to_char(s.sampled_at AT TIME ZONE 'UTC', 'YYYYMMDD') AS name,
	c.relowner = p.relowner AS owner, c.relpersistence AS persistence
FROM infra_monitor.samples s JOIN pg_class c ON c.oid = s.tableoid
	JOIN pg_class p ON p.oid = 'infra_monitor.samples'::regclass
ORDER BY s.sampled_at DESC LIMIT 1;
SELECT count(*) > 0 AS any, count(*) FILTER (WHERE NOT EXISTS (SELECT FROM pg_depend d
	WHERE d.classid = 'pg_class'::regclass AND d.objid = i.inhrelid AND d.deptype = 'e'
		AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'infra_monitor'))) AS strays
FROM pg_inherits i WHERE i.inhparent = 'infra_monitor.samples'::regclass;
SELECT count(*) AS indexes_per_partition FROM pg_index x JOIN pg_inherits i ON i.inhrelid = x.indrelid
WHERE i.inhparent = 'infra_monitor.samples'::regclass GROUP BY x.indrelid;
SELECT bytes_stored > 0 AS bytes_stored, rows_stored > 0 AS rows_stored FROM infra_monitor.sampler_status;

-- one that is missing is created on demand, and not in a rolled back transaction
SELECT format('infra_monitor.%I', 'samples_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')) AS today \gset
ALTER EXTENSION infra_monitor DROP TABLE :today;
DROP TABLE :today;
BEGIN;
SELECT infra_monitor.take_sample() IS NOT NULL AS taken;
ROLLBACK;
SELECT count(*) FROM pg_inherits WHERE inhparent = 'infra_monitor.samples'::regclass AND inhrelid = to_regclass(:'today');
SELECT infra_monitor.take_sample() IS NOT NULL AS taken;
SELECT count(*) FROM infra_monitor.samples;

--
-- what is refused
--
\set VERBOSITY terse
BEGIN READ ONLY;
SELECT infra_monitor.take_sample();
ROLLBACK;
\set VERBOSITY default

CREATE FUNCTION regress_trigger() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN RAISE EXCEPTION 'foreign code runs'; END $$;
CREATE ROLE regress_owner;
GRANT CREATE, USAGE ON SCHEMA infra_monitor TO regress_owner;

-- triggers
CREATE TRIGGER regress BEFORE INSERT ON infra_monitor.samples
	FOR EACH STATEMENT EXECUTE FUNCTION regress_trigger();
SELECT infra_monitor.take_sample();
\set VERBOSITY terse
DROP TRIGGER regress ON infra_monitor.samples;
SELECT infra_monitor.take_sample() IS NOT NULL AS taken;
CREATE TRIGGER regress AFTER INSERT ON infra_monitor.samples
	FOR EACH ROW EXECUTE FUNCTION regress_trigger();
SELECT infra_monitor.take_sample();
DROP TRIGGER regress ON infra_monitor.samples;
CREATE TRIGGER regress BEFORE INSERT ON :today
	FOR EACH ROW EXECUTE FUNCTION regress_trigger();
SELECT regexp_replace(pg_temp.error_of_take_sample(), '[0-9]{8}', 'TODAY');
DROP TRIGGER regress ON :today;
SELECT infra_monitor.take_sample() IS NOT NULL AS taken;

-- a rule
CREATE RULE regress AS ON INSERT TO infra_monitor.samples DO ALSO SELECT 1 / 0;
SELECT infra_monitor.take_sample();
DROP RULE regress ON infra_monitor.samples;
SELECT infra_monitor.take_sample() IS NOT NULL AS taken;

-- row security
ALTER TABLE infra_monitor.samples ENABLE ROW LEVEL SECURITY;
SELECT infra_monitor.take_sample();
ALTER TABLE infra_monitor.samples DISABLE ROW LEVEL SECURITY;
ALTER TABLE :today ENABLE ROW LEVEL SECURITY;
SELECT regexp_replace(pg_temp.error_of_take_sample(), '[0-9]{8}', 'TODAY');
ALTER TABLE :today DISABLE ROW LEVEL SECURITY;
SELECT infra_monitor.take_sample() IS NOT NULL AS taken;

-- an owner who is no superuser
SELECT current_user AS admin \gset
ALTER TABLE infra_monitor.samples OWNER TO regress_owner;
SELECT infra_monitor.take_sample();
ALTER TABLE infra_monitor.samples OWNER TO :"admin";
ALTER TABLE :today OWNER TO regress_owner;
SELECT regexp_replace(pg_temp.error_of_take_sample(), '[0-9]{8}', 'TODAY');
ALTER TABLE :today OWNER TO :"admin";
SELECT infra_monitor.take_sample() IS NOT NULL AS taken;

-- another table in the place of a partition
BEGIN;
ALTER EXTENSION infra_monitor DROP TABLE :today;
DROP TABLE :today;
CREATE TABLE :today (regress int);
SELECT pg_temp.error_of_take_sample() IS NOT NULL AS refused;
ROLLBACK;
SELECT infra_monitor.take_sample() IS NOT NULL AS taken;

DROP FUNCTION regress_trigger();
DROP OWNED BY regress_owner;
DROP ROLE regress_owner;
DROP TABLE regress_samples;
DROP EXTENSION dblink;
