--
-- The table of statements: each class of statement counts as it should
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS infra_monitor CASCADE;
RESET client_min_messages;
SELECT current_user AS admin \gset

-- statements are known by a comment inside of them: versions show texts
-- differently; beside our counts are those of pg_stat_statements
CREATE VIEW regress_counts AS
SELECT substring(coalesce(s.query, p.query) FROM '/\* (.*?) \*/') AS statement,
	coalesce(s.toplevel, p.toplevel) AS top, sum(s.calls) AS calls, sum(p.calls) AS theirs,
	sum(s.failures) AS failures, sum(s.cancellations) AS cancelled,
	bool_and(s.failed_time > 0 OR s.failures = 0) AS failed_time
FROM infra_monitor.slow_queries s
	FULL JOIN pg_stat_statements p USING (userid, dbid, queryid, toplevel)
WHERE coalesce(s.query, p.query) LIKE '%/* %' GROUP BY 1, 2;
CREATE FUNCTION regress_begin() RETURNS void LANGUAGE sql AS $$
	SELECT infra_monitor.reset('statements');
	SELECT pg_stat_statements_reset();
$$;
CREATE TABLE regress_t (i int PRIMARY KEY, t text);
CREATE TABLE regress_parent (i int PRIMARY KEY);
CREATE TABLE regress_child (i int REFERENCES regress_parent DEFERRABLE INITIALLY DEFERRED);
INSERT INTO regress_t SELECT i, 'x' FROM generate_series(1, 100) i;
ANALYZE regress_t;
CREATE FUNCTION regress_nested() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
	r record;
BEGIN
	FOR r IN SELECT /* nested loop */ i FROM regress_t WHERE i < 4 LOOP
		SELECT /* nested */ count(*) INTO n FROM regress_t;
	END LOOP;
	RETURN n;
END $$;
CREATE FUNCTION regress_caught() RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	j int;
BEGIN
	FOREACH j IN ARRAY ARRAY[5, 50, 500, 7] LOOP
		BEGIN
			PERFORM /* nested error */ i / (i - j) FROM regress_t;
		EXCEPTION WHEN division_by_zero THEN NULL;
		END;
	END LOOP;
	RETURN 1;
END $$;
CREATE FUNCTION regress_deep(n int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	result int := 0;
BEGIN
	IF n > 1 THEN
		SELECT /* deep */ regress_deep(n - 1) INTO result FROM regress_t WHERE i = 1;
	END IF;
	RETURN result + 1;
END $$;
CREATE FUNCTION regress_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM /* in trigger */ 1 FROM regress_t WHERE i = NEW.i;
	RETURN NEW;
END $$;
CREATE TRIGGER regress_trigger AFTER UPDATE ON regress_t FOR EACH ROW EXECUTE FUNCTION regress_trigger();
CREATE PROCEDURE regress_procedure() LANGUAGE plpgsql AS $$
BEGIN
	FOR j IN 1 .. 3 LOOP
		UPDATE /* in procedure */ regress_t SET t = 'y' WHERE i = j;
		IF j = 2 THEN ROLLBACK; ELSE COMMIT; END IF;
	END LOOP;
END $$;

--
-- those that clients send: the same numbers as pg_stat_statements
--
SHOW infra_monitor.track;
SELECT regress_begin();

SELECT /* select */ count(*) FROM regress_t WHERE i = 1;
SELECT /* select */ count(*) FROM regress_t WHERE i = 2;
INSERT /* insert */ INTO regress_t VALUES (101, 'x');
UPDATE /* update */ regress_t SET t = 'z' WHERE i = 101;
DELETE /* delete */ FROM regress_t WHERE i = 101;
SELECT /* first of two */ 1 \; SELECT /* second of two */ 2, 2;
PREPARE regress_p (int) AS SELECT /* prepared */ i FROM regress_t WHERE i = $1;
EXECUTE regress_p (1);
EXECUTE regress_p (2);
EXPLAIN (ANALYZE) EXECUTE /* explain execute */ regress_p (3) \g /dev/null
DEALLOCATE regress_p;
BEGIN /* begin */;
DECLARE /* declare */ regress_c CURSOR FOR SELECT i FROM regress_t ORDER BY i;
FETCH /* fetch */ 1 FROM regress_c;
FETCH /* fetch */ 1 FROM regress_c;
DECLARE /* hold */ regress_h CURSOR WITH HOLD FOR SELECT i FROM regress_t ORDER BY i;
COMMIT /* commit */;
FETCH /* fetch held */ 1 FROM regress_h;
CLOSE /* close */ regress_h;
BEGIN /* begin */;
SAVEPOINT /* savepoint */ s;
SELECT /* in savepoint */ 3;
ROLLBACK TO /* rollback to */ s;
ROLLBACK /* rollback */;
CREATE TABLE /* ctas */ regress_ctas AS SELECT * FROM regress_t;
EXPLAIN /* explain */ (ANALYZE) SELECT 1 \g /dev/null
COPY /* copy to */ (SELECT i FROM regress_t WHERE i < 3) TO STDOUT;
COPY /* copy from */ regress_ctas FROM STDIN;
101	x
\.
VACUUM /* vacuum */ regress_ctas;
DROP TABLE /* drop */ regress_ctas;
SELECT /* function */ regress_nested();
SELECT /* error inside */ regress_caught();
UPDATE /* trigger */ regress_t SET t = 'z' WHERE i <= 5;
CALL /* call */ regress_procedure();
DO /* do */ $$ BEGIN PERFORM count(*) FROM regress_t; ROLLBACK; PERFORM 1; END $$;
SELECT set_config(name, 'on', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SELECT /* parallel */ count(*) FROM regress_t;
SELECT set_config(name, 'off', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
CREATE ROLE regress_role;
GRANT pg_read_all_stats TO regress_role;
SET /* set role */ ROLE regress_role;
SELECT /* as role */ 1;
RESET /* reset role */ ROLE;
SELECT /* becomes role */ set_config('role', 'regress_role', false);
RESET /* reset role */ ROLE;

SELECT statement, calls, theirs, failures FROM regress_counts
WHERE top ORDER BY statement COLLATE "C";
SELECT count(*) FROM regress_counts WHERE NOT top;
SELECT bool_and(p50_exec_time <= p95_exec_time AND p95_exec_time <= p99_exec_time
		AND total_exec_time > 0 AND mean_exec_time = total_exec_time / calls) AS times,
	bool_and(abs(total_exec_time - p.total_time) < 0.001 * p.total_time + 0.01) FILTER (WHERE query ~ '/\* (select|function|trigger|prepared) \*/') AS one_timing
FROM infra_monitor.slow_queries JOIN
	(SELECT userid, dbid, queryid, toplevel, total_exec_time AS total_time FROM pg_stat_statements) p USING (userid, dbid, queryid, toplevel)
WHERE calls > 0;

--
-- also those inside of functions
--
SET infra_monitor.track = 'all';
SELECT regress_begin();
SELECT /* function */ regress_nested();
SELECT /* error inside */ regress_caught();
UPDATE /* trigger */ regress_t SET t = 'z' WHERE i <= 5;
CALL /* call */ regress_procedure();
DO /* do */ $$ BEGIN PERFORM /* in do */ max(i) FROM regress_t; ROLLBACK; PERFORM /* in do, too */ 1; END $$;
-- builds with sanitizers need more, see test/sanitizers.sh
\set stack 6MB
\getenv stack IMON_STACK_DEPTH
SET max_stack_depth = :'stack';
SELECT /* depths */ regress_deep(500);
RESET max_stack_depth;
SELECT statement, top, calls, theirs, failures, failed_time FROM regress_counts
ORDER BY top, statement COLLATE "C";
SELECT count(*) > 5 AS ours, count(p.queryid) AS theirs
FROM infra_monitor.slow_queries s LEFT JOIN pg_stat_statements p USING (userid, dbid, queryid, toplevel)
WHERE NOT toplevel;
-- they have their texts if pg_stat_statements counts them, too
SET pg_stat_statements.track = 'all';
SELECT regress_begin();
SELECT /* function */ regress_nested();
SELECT /* error inside */ regress_caught();
UPDATE /* trigger */ regress_t SET t = 'z' WHERE i <= 5;
CALL /* call */ regress_procedure();
DO /* do */ $$ BEGIN PERFORM /* in do */ max(i) FROM regress_t; ROLLBACK; PERFORM /* in do, too */ 1; END $$;
SET max_stack_depth = :'stack';
SELECT /* depths */ regress_deep(500);
RESET max_stack_depth;
SELECT statement, top, calls, theirs, failures, failed_time FROM regress_counts
ORDER BY top, statement COLLATE "C";
RESET pg_stat_statements.track;

--
-- none
--
SET infra_monitor.track = 'none';
SELECT regress_begin();
SELECT /* function */ regress_nested();
DO /* do */ $$ BEGIN PERFORM 1; END $$;
SELECT /* fails */ 1 / 0;
SELECT no_such_column;
SELECT count(*) FROM infra_monitor.statement_counts();
RESET infra_monitor.track;

--
-- what functions execute while a statement is planned: nested since 17, for
-- pg_stat_statements too
--
CREATE FUNCTION regress_constant() RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	SELECT /* while planning */ count(*) INTO n FROM regress_t;
	RETURN n;
END $$;
CREATE VIEW regress_different AS
SELECT s.calls, p.calls AS theirs, toplevel
FROM (SELECT * FROM infra_monitor.slow_queries WHERE calls > 0 AND datname = current_database()) s
	FULL JOIN (SELECT * FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())) p
	USING (userid, queryid, toplevel)
WHERE s.calls IS DISTINCT FROM p.calls;
SELECT regress_begin();
SELECT /* constant */ regress_constant();
SELECT * FROM regress_different;
SET infra_monitor.track = 'all';
SET pg_stat_statements.track = 'all';
SELECT regress_begin();
SELECT /* constant */ regress_constant();
SELECT count(*) FILTER (WHERE top) = (current_setting('server_version_num')::int < 170000)::int AS top, sum(calls) AS calls, sum(theirs) AS theirs
FROM regress_counts WHERE statement = 'while planning';
RESET infra_monitor.track;
RESET pg_stat_statements.track;
DROP VIEW regress_different;

-- cursors that end in another order than they began
SET infra_monitor.track = 'all';
SET pg_stat_statements.track = 'all';
SELECT regress_begin();
DO $$
DECLARE
	one refcursor;
	two refcursor;
	three refcursor;
	r record;
BEGIN
	OPEN one FOR SELECT /* cursor one */ i FROM regress_t;
	OPEN two FOR SELECT /* cursor two */ i, t FROM regress_t;
	OPEN three FOR SELECT /* cursor three */ t, i FROM regress_t;
	FETCH one INTO r;
	MOVE FORWARD 2 FROM two;
	MOVE FORWARD 3 FROM three;
	CLOSE one;
	CLOSE three;
	CLOSE two;
END $$;
SELECT p.query, toplevel, p.calls, s.calls = p.calls AS same_calls, s.rows = p.rows AS same_rows
FROM infra_monitor.slow_queries s JOIN pg_stat_statements p USING (userid, dbid, queryid, toplevel)
WHERE p.query ~ '^SELECT /\* cursor' ORDER BY p.query;
RESET infra_monitor.track;
RESET pg_stat_statements.track;

--
-- executions that did not finish
--
SELECT regress_begin();
-- each also completes, so that pg_stat_statements has the text
SELECT /* by zero */ max(i / (i - 500)) FROM regress_t;
SELECT /* by zero */ max(i / (i - 50)) FROM regress_t;
SELECT /* by zero */ max(i / (i - 51)) FROM regress_t;
INSERT /* duplicate */ INTO regress_t VALUES (201);
INSERT /* duplicate */ INTO regress_t VALUES (1);
DO /* do */ $$ BEGIN PERFORM 1 / current_setting('regress.divisor')::int; END $$;
SET regress.divisor = 1;
DO /* do */ $$ BEGIN PERFORM 1 / current_setting('regress.divisor')::int; END $$;
SET regress.divisor = 0;
DO /* do */ $$ BEGIN PERFORM 1 / current_setting('regress.divisor')::int; END $$;
TRUNCATE /* truncate */ regress_child;
BEGIN;
ALTER TABLE regress_child RENAME TO regress_other;
TRUNCATE /* truncate */ regress_child;
ROLLBACK;
PREPARE regress_p (int) AS SELECT /* prepared */ max(1 / (i - $1)) FROM regress_t;
EXECUTE regress_p (1);
EXECUTE regress_p (500);
DEALLOCATE regress_p;
-- in a subtransaction, and nothing in what is left of the transaction
BEGIN;
SAVEPOINT s;
SELECT /* by zero */ max(i / (i - 52)) FROM regress_t;
SELECT /* not executed */ 1;
ROLLBACK TO s;
SELECT /* after savepoint */ 1;
ROLLBACK TO x;
ROLLBACK TO x;
ROLLBACK;
-- at commit: the statement had completed
INSERT /* deferred */ INTO regress_child VALUES (1);
BEGIN;
INSERT /* deferred */ INTO regress_child VALUES (1);
COMMIT /* commit */;
SELECT statement, calls, theirs, failures, cancelled, failed_time FROM regress_counts
WHERE top ORDER BY statement COLLATE "C";

-- not analysed: without an identifier; each once, also one in a transaction
SELECT regress_begin();
SELEC;
SELECT no_such_column;
SELECT /* multiple */ 1 \; SELECT no_such_column;
BEGIN;
SELECT no_such_column;
SELECT no_such_column;
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT no_such_column;
ROLLBACK TO s;
SELECT no_such_column;
ROLLBACK;
SELECT toplevel, calls, failures, cancellations, failed_time > 0 AS failed_time, usename = current_user AS usename,
	datname = current_database() AS datname, query, mean_exec_time, p95_exec_time
FROM infra_monitor.slow_queries WHERE queryid IS NULL;
-- those that the server is not to log are not seen outside of the executor
SELECT regress_begin();
SET log_min_messages = fatal;
SELECT no_such_column;
SELECT /* fails */ i / (i - 50) FROM regress_t;
RESET log_min_messages;
SELECT no_such_column;
SELECT queryid IS NULL AS unknown, sum(failures) FROM infra_monitor.slow_queries WHERE failures > 0 GROUP BY 1 ORDER BY 1;
-- nor is there an identifier if the server makes none
SELECT regress_begin();
SET compute_query_id = off;
SELECT 1 AS one;
SELECT i / (i - 50) FROM regress_t;
DROP TABLE no_such_table;
RESET compute_query_id;
SELECT queryid IS NULL AS unknown, sum(failures) AS failures, sum(calls) > 0 AS calls
FROM infra_monitor.slow_queries WHERE failures > 0 OR query LIKE '%AS one%' GROUP BY 1;

--
-- what belongs together in statement_counts()
--
SELECT regress_begin();
SET statement_timeout = '1s';
SELECT /* timeout */ pg_sleep(10);
RESET statement_timeout;
SELECT infra_monitor.observations(latency) AS completed, total_time, cancelled, lock_not_available, terminated, failed,
	failed_time > 0 AS failed_time, stats_since <= clock_timestamp() AS stats_since
FROM infra_monitor.statement_counts() WHERE cancelled > 0;

-- identifiers of other roles are for members of pg_read_all_stats
REVOKE pg_read_all_stats FROM regress_role;
GRANT USAGE ON SCHEMA infra_monitor TO regress_role;
GRANT EXECUTE ON FUNCTION infra_monitor.statement_counts() TO regress_role;
SET ROLE regress_role;
SELECT /* own */ 1;
SELECT pg_get_userbyid(userid) = current_user AS own, count(queryid) > 0 AS identified, count(*) > 0 AS any
FROM infra_monitor.statement_counts() GROUP BY 1 ORDER BY 1;
RESET ROLE;
REVOKE ALL ON SCHEMA infra_monitor FROM regress_role;
REVOKE ALL ON FUNCTION infra_monitor.statement_counts() FROM regress_role;

-- reset is for statements only
SELECT stats_reset AS pool_reset FROM infra_monitor.pool_pressure \gset
SELECT infra_monitor.reset('statements');
SELECT sum(cancelled) AS cancelled FROM infra_monitor.statement_counts();
SELECT min(stats_since) >= statement_timestamp() - interval '1 hour' AS since FROM infra_monitor.slow_queries;
SELECT stats_reset = :'pool_reset' AS pool FROM infra_monitor.pool_pressure;
SELECT count(*) > 0 AS theirs FROM pg_stat_statements WHERE query LIKE '%/* own */%';

SELECT drops -> 'executions' AS executions, drops -> 'statements' AS statements FROM infra_monitor.sampler_status;

\set VERBOSITY terse
SET client_min_messages = error;
DROP VIEW regress_counts;
DROP TABLE regress_t, regress_child, regress_parent;
DROP FUNCTION regress_begin, regress_nested, regress_caught, regress_deep, regress_trigger;
DROP PROCEDURE regress_procedure;
DROP ROLE regress_role;
