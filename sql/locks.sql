--
-- lock_waits, lock_blame: where nobody waits for anybody
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS infra_monitor CASCADE;
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

-- locks without waiting, one's own and those of a prepared transaction
CREATE TABLE regress_locked (i int);
BEGIN;
LOCK TABLE regress_locked IN SHARE MODE;
SELECT pg_advisory_xact_lock(1);
PREPARE TRANSACTION 'regress_prepared';
BEGIN;
LOCK TABLE regress_locked IN SHARE MODE;
SELECT * FROM infra_monitor.lock_waits;
SELECT pg_try_advisory_lock(1);
SELECT * FROM infra_monitor.lock_waits;
ROLLBACK;

-- one who has given up does not wait any more
SET lock_timeout = '10ms';
\set VERBOSITY terse
BEGIN;
LOCK TABLE regress_locked;
ROLLBACK;
RESET lock_timeout;
\set VERBOSITY default
SELECT * FROM infra_monitor.lock_waits;
ROLLBACK PREPARED 'regress_prepared';
DROP TABLE regress_locked;

-- nobody is to blame
SELECT infra_monitor.reset('pool');
SELECT * FROM infra_monitor.lock_blame;
SELECT drops->'lock_blame' AS dropped, shared_memory ? 'lock blame' AS memory FROM infra_monitor.sampler_status;

-- the hint of the check leads there
SELECT hint FROM infra_monitor.check_defaults() WHERE check_name = 'lock_waits';

-- texts of statements are of no importance: no error without them
CREATE ROLE regress_plain;
GRANT USAGE ON SCHEMA infra_monitor TO regress_plain;
GRANT SELECT ON infra_monitor.lock_blame, infra_monitor.lock_waits TO regress_plain;
SET ROLE regress_plain;
SELECT * FROM infra_monitor.lock_waits;
SELECT * FROM infra_monitor.lock_blame;
RESET ROLE;
GRANT pg_monitor TO regress_plain;
CREATE SCHEMA regress_closed;
ALTER EXTENSION pg_stat_statements SET SCHEMA regress_closed;
SET ROLE regress_plain;
SELECT count(*) >= 0 AS ok FROM infra_monitor.lock_blame;
SELECT count(*) >= 0 AS ok FROM infra_monitor.slow_queries;
RESET ROLE;
ALTER EXTENSION pg_stat_statements SET SCHEMA public;
DROP SCHEMA regress_closed;
DROP OWNED BY regress_plain;
DROP ROLE regress_plain;
