--
-- Statements that a client executes in a loop
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS infra_monitor CASCADE;
RESET client_min_messages;
SELECT current_user AS admin \gset
SHOW infra_monitor.repeated_query_threshold;
SET application_name = 'regress_loops';

CREATE TABLE regress_rows (i int PRIMARY KEY, a int, b int, c int);
INSERT INTO regress_rows SELECT i, i, i, i FROM generate_series(1, 100) i;
CREATE VIEW regress_found AS
SELECT substring(query FROM '/\* (.*?) \*/') AS statement, substring(parent_query FROM '/\* (.*?) \*/') AS parent,
	kind, bursts, executions, longest_burst AS longest, application_name AS application
FROM infra_monitor.repeated_queries;

-- A script for \gexec.  Each step is a number of times and statements that are
-- executed in turn; %s is the number of the turn.  The first statement makes
-- the server forget the one that returned the script.
CREATE FUNCTION regress_script(VARIADIC steps text[]) RETURNS SETOF text LANGUAGE sql
SET jit = off -- it would take longer than all the rest
AS $$
	SELECT 'DISCARD PLANS'
	UNION ALL
	SELECT line FROM (
		SELECT replace(statement, '%s', turn::text) AS line
		FROM unnest(steps) WITH ORDINALITY s (step, s),
			generate_series(1, split_part(step, ' ', 1)::int) turn,
			regexp_split_to_table(substr(step, strpos(step, ' ') + 1), ' ; ') WITH ORDINALITY t (statement, t)
		ORDER BY s, turn, t) lines
$$;
\set page  '1 SELECT /* page */ i FROM regress_rows ORDER BY i LIMIT 20'
\set other '1 SELECT /* other page */ i, a FROM regress_rows ORDER BY i LIMIT 20'
\set one   '1 SELECT /* one */ count(*) FROM regress_rows'
\set a     'SELECT /* a */ a FROM regress_rows WHERE i = %s'
\set b     'SELECT /* b */ b FROM regress_rows WHERE i = %s'
\set c     'SELECT /* c */ c FROM regress_rows WHERE i = %s'

-- shows what was found since the last time
CREATE FUNCTION regress_show() RETURNS SETOF regress_found LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY SELECT * FROM regress_found ORDER BY statement COLLATE "C", parent COLLATE "C";
	PERFORM infra_monitor.reset('statements');
END $$;

-- executes a script and shows nothing of it
\set run '\\set ECHO none \\\\ \\o /dev/null \\\\ \\gexec \\o \\\\ \\set ECHO all'
\pset format unaligned
\pset footer off
SELECT infra_monitor.reset('statements');

--
-- in a transaction: all executions of a statement in it
--
SELECT regress_script('1 BEGIN', :'page', '20 ' || :'a', '1 COMMIT') :run
SELECT * FROM regress_show();
-- one less
SELECT regress_script('1 BEGIN', :'page', '19 ' || :'a', '1 COMMIT') :run
SELECT * FROM regress_show();
-- no parent; savepoints and settings are none
SELECT regress_script('1 BEGIN', '1 SET search_path = public', '1 SAVEPOINT s', '20 ' || :'a', '1 COMMIT') :run
SELECT * FROM regress_show();
-- nor is what came before the transaction
SELECT regress_script(:'page', '1 BEGIN', '20 ' || :'a', '1 COMMIT') :run
SELECT * FROM regress_show();
-- a parent that returns too few rows is better than none, but not than one with enough
SELECT regress_script('1 BEGIN', :'one', '20 ' || :'a', '1 COMMIT') :run
SELECT * FROM regress_show();
SELECT regress_script('1 BEGIN', :'page', :'one', '20 ' || :'a', '1 COMMIT') :run
SELECT * FROM regress_show();
SELECT regress_script('1 BEGIN', :'page', :'other', '20 ' || :'a', '1 COMMIT') :run
SELECT * FROM regress_show();
-- two loops in one, or one after the other
SELECT regress_script('1 BEGIN', :'page', '20 ' || :'a' || ' ; ' || :'b', '1 COMMIT') :run
SELECT * FROM regress_show();
SELECT regress_script('1 BEGIN', :'page', '20 ' || :'a', '20 ' || :'b', '1 COMMIT') :run
SELECT * FROM regress_show();
-- something that not each row needs
SELECT regress_script('1 BEGIN', :'page', '8 ' || :'a', '12 ' || :'a' || ' ; ' || :'b', '8 ' || :'b', '1 COMMIT') :run
SELECT * FROM regress_show();
-- a loop in a loop: the inner one has 4 turns each time
SELECT regress_script('1 BEGIN', :'page', '20 SELECT /* outer */ i FROM regress_rows WHERE a BETWEEN %s AND %s + 3 ; ' ||
	:'b' || ' ; ' || :'b' || ' ; ' || :'b' || ' ; ' || :'b', '1 COMMIT') :run
SELECT * FROM regress_show();
-- one page after the other, of the same and of another parent
SELECT regress_script('1 BEGIN', :'page', '15 ' || :'a', :'page', '15 ' || :'a', '1 COMMIT') :run
SELECT * FROM regress_show();
SELECT regress_script('1 BEGIN', :'page', '20 ' || :'a', :'other', '20 ' || :'b', '1 COMMIT') :run
SELECT * FROM regress_show();
-- each transaction by itself
SELECT regress_script('1 BEGIN', :'page', '25 ' || :'a', '1 COMMIT', '1 BEGIN', :'page', '30 ' || :'a', '1 ROLLBACK',
	'1 BEGIN', :'page', '15 ' || :'a', '1 COMMIT') :run
SELECT * FROM regress_show();
-- also one that is prepared
SELECT regress_script('1 BEGIN', :'page', '10 ' || :'a', '1 PREPARE TRANSACTION $$regress$$', '1 ROLLBACK PREPARED $$regress$$',
	'1 BEGIN', '10 ' || :'a', '1 COMMIT') :run
SELECT * FROM regress_show();
-- executions that fail do not count, subtransactions make no difference
SELECT regress_script('1 BEGIN', :'page', '1 SAVEPOINT s', '10 ' || :'a', '1 RELEASE s', '1 SAVEPOINT s', '5 ' || :'a', '1 ROLLBACK TO s',
	'4 SAVEPOINT s ; SELECT a / (a - a) FROM regress_rows WHERE i = %s ; ROLLBACK TO s', '5 ' || :'a', '1 COMMIT') :run
SELECT * FROM regress_show();
-- prepared statements
SELECT regress_script('1 PREPARE regress_p AS SELECT /* prepared */ a, b FROM regress_rows WHERE i = $1', '1 BEGIN', :'page',
	'20 EXECUTE regress_p (%s)', '1 COMMIT', '1 DEALLOCATE regress_p') :run
SELECT * FROM regress_show();
-- cursors: what is fetched of them is a parent
SELECT regress_script('1 BEGIN', '1 DECLARE regress_c CURSOR FOR SELECT i FROM regress_rows', '2 FETCH 10 /* fetch */ FROM regress_c ; ' ||
	:'a' || ' ; ' || :'a' || ' ; ' || :'a' || ' ; ' || :'a' || ' ; ' || :'a' || ' ; ' ||
	:'a' || ' ; ' || :'a' || ' ; ' || :'a' || ' ; ' || :'a' || ' ; ' || :'a', '1 COMMIT') :run
SELECT * FROM regress_show();
-- but no loop
SELECT regress_script('1 BEGIN', '1 DECLARE regress_c CURSOR FOR SELECT i FROM regress_rows', '20 FETCH 1 FROM regress_c', '1 COMMIT') :run
SELECT * FROM regress_show();
-- writes
SELECT regress_script('1 BEGIN', :'page', '20 INSERT /* insert */ INTO regress_rows VALUES (%s + 200)',
	'20 UPDATE /* update */ regress_rows SET a = 0 WHERE i = %s + 200', '20 DELETE /* delete */ FROM regress_rows WHERE i = %s + 200',
	'20 WITH d AS (DELETE FROM regress_rows WHERE i = %s + 200 RETURNING i) SELECT /* with */ count(*) FROM d',
	'20 MERGE /* merge */ INTO regress_rows USING (SELECT %s + 200 AS j) s ON i = j WHEN MATCHED THEN DELETE',
	'20 SELECT /* for update */ a FROM regress_rows WHERE i = %s FOR UPDATE', '1 ROLLBACK') :run
SELECT * FROM regress_show();
-- the head of an order and its lines
SELECT regress_script('1 BEGIN', '1 INSERT /* head */ INTO regress_rows (i) VALUES (201) RETURNING i',
	'20 INSERT /* line */ INTO regress_rows (i, a) VALUES (%s + 300, 201)', '1 ROLLBACK') :run
SELECT * FROM regress_show();
-- seven statements in a loop; with eight there is no room for their parent
SELECT regress_script('1 BEGIN', :'page', '20 ' || string_agg(format('SELECT /* %s */ i%s FROM regress_rows WHERE i = %%s', n, repeat(', i', n)), ' ; '), '1 COMMIT')
FROM generate_series(1, 7) n :run
SELECT statement, parent, executions FROM regress_show();
SELECT regress_script('1 BEGIN', :'page', '20 ' || string_agg(format('SELECT /* %s */ i%s FROM regress_rows WHERE i = %%s', n, repeat(', i', n)), ' ; '), '1 COMMIT')
FROM generate_series(1, 8) n :run
SELECT statement, parent, executions FROM regress_show();
-- what was not used for longest makes room; the parent of a loop is known by then
SELECT regress_script('1 BEGIN', :'page', '20 ' || :'a', '1 ' || string_agg(format('SELECT /* %s */ i%s FROM regress_rows WHERE i = %%s', n, repeat(', i', n)), ' ; '),
	'20 ' || :'b', '1 COMMIT') FROM generate_series(1, 20) n :run
SELECT * FROM regress_show();

--
-- outside of transactions: after a parent that returned enough rows
--
SELECT regress_script(:'page', '20 ' || :'a') :run
SELECT * FROM regress_show();
SELECT regress_script(:'page', '19 ' || :'a') :run
SELECT * FROM regress_show();
SELECT regress_script(:'page', '40 ' || :'a') :run
SELECT * FROM regress_show();
SELECT regress_script(:'page', '41 ' || :'a') :run
SELECT * FROM regress_show();
SELECT regress_script(:'one', '20 ' || :'a') :run
SELECT * FROM regress_show();
SELECT regress_script('100 ' || :'a') :run
SELECT * FROM regress_show();
-- a pool: one statement, some in turn, some with a list in between
SELECT regress_script('100 ' || :'a' || ' ; ' || :'b' || ' ; ' || :'c') :run
SELECT * FROM regress_show();
SELECT regress_script('100 SELECT i FROM regress_rows LIMIT 50 ; ' || :'a' || ' ; ' || :'a' || ' ; ' || :'b') :run
SELECT * FROM regress_show();
SELECT regress_script(:'one', '100 SELECT i FROM regress_rows LIMIT 50 ; ' || :'a' || ' ; ' || :'a' || ' ; ' || :'a') :run
SELECT * FROM regress_show();
SELECT regress_script('10 ' || :'a' || ' ; ' || :'b' || ' ; SELECT i FROM regress_rows LIMIT 20 ; ' || :'b') :run
SELECT * FROM regress_show();
-- what comes before the parent does not matter, nor if it is what is in the loop
SELECT regress_script('3 ' || :'a' || ' ; ' || :'b', :'page', '20 ' || :'a' || ' ; ' || :'b') :run
SELECT * FROM regress_show();
SELECT regress_script('1 ' || string_agg(format('SELECT /* %s */ i%s FROM regress_rows WHERE i = %%s', n, repeat(', i', n)), ' ; '), :'page', '20 ' || :'a' || ' ; ' || :'b')
FROM generate_series(1, 7) n :run
SELECT * FROM regress_show();
SELECT regress_script(:'page', '20 ' || :'a', '20 ' || :'c', :'other', '20 ' || :'b', :'page', '20 ' || :'b') :run
SELECT * FROM regress_show();
-- that of which each turn is a transaction
SELECT regress_script('100 BEGIN ; ' || :'a' || ' ; COMMIT') :run
SELECT * FROM regress_show();
SELECT regress_script('1 BEGIN', :'page', '1 COMMIT', '20 BEGIN ; ' || :'a' || ' ; UPDATE /* save */ regress_rows SET c = 0 WHERE i = %s ; COMMIT') :run
SELECT * FROM regress_show();
-- but not one that does more
SELECT regress_script(:'page', '10 ' || :'a', '1 BEGIN', '5 ' || :'b', '1 COMMIT', '10 ' || :'a') :run
SELECT * FROM regress_show();
-- loops in one, one after the other, with an optional part
SELECT regress_script(:'page', '20 ' || :'a' || ' ; ' || :'b') :run
SELECT * FROM regress_show();
SELECT regress_script(:'page', '20 ' || :'a', '20 ' || :'b') :run
SELECT * FROM regress_show();
SELECT regress_script(:'page', '5 ' || :'a', '20 ' || :'a' || ' ; ' || :'b') :run
SELECT * FROM regress_show();
-- pages of the same and of another parent: a burst each
SELECT regress_script(:'page', '30 ' || :'a', :'page', '25 ' || :'a', :'page', '15 ' || :'a') :run
SELECT * FROM regress_show();
SELECT regress_script(:'page', '30 ' || :'a', :'other', '25 ' || :'a') :run
SELECT * FROM regress_show();
SELECT regress_script(:'one', '30 ' || substr(:'page', 3) || ' ; ' || :'a' || ' ; ' || :'b') :run
SELECT * FROM regress_show();
-- of two loops the inner one counts for itself each time, unless it has two turns
SELECT regress_script(:'page', '20 SELECT /* outer */ i FROM regress_rows WHERE a BETWEEN %s AND %s + 3 ; ' ||
	:'b' || ' ; ' || :'b' || ' ; ' || :'b' || ' ; ' || :'b') :run
SELECT * FROM regress_show();
SELECT regress_script(:'page', '20 ' || :'a' || ' ; ' || :'b' || ' ; ' || :'b') :run
SELECT * FROM regress_show();
SELECT regress_script('1 SELECT /* top */ i FROM regress_rows LIMIT 3', '3 ' || substr(:'page', 3) || repeat(' ; ' || :'b', 20)) :run
SELECT * FROM regress_show();
-- once for each row, and something that not each row needs
SELECT regress_script(:'page', '3 ' || :'a' || ' ; ' || :'b', '2 ' || :'a', '4 ' || :'a' || ' ; ' || :'b', '1 ' || :'a',
	'2 ' || :'a' || ' ; ' || :'b', '5 ' || :'a', '3 ' || :'a' || ' ; ' || :'b') :run
SELECT * FROM regress_show();
-- not for each row, and not regularly: a random pool does that, too
SELECT regress_script(:'page', '3 ' || :'a' || ' ; ' || :'b', '2 ' || :'a', '4 ' || :'a' || ' ; ' || :'b', '1 ' || :'a',
	'2 ' || :'a' || ' ; ' || :'c', '7 ' || :'a', '3 ' || :'a' || ' ; ' || :'b') :run
SELECT * FROM regress_show();
-- in a transaction it does not
SELECT regress_script('1 BEGIN', :'page', '3 ' || :'a' || ' ; ' || :'b', '2 ' || :'a', '4 ' || :'a' || ' ; ' || :'b', '1 ' || :'a',
	'2 ' || :'a' || ' ; ' || :'c', '7 ' || :'a', '3 ' || :'a' || ' ; ' || :'b', '1 COMMIT') :run
SELECT * FROM regress_show();
-- a loop after one of four executions of the parent, or less
SELECT regress_script('2 ' || substr(:'page', 3) || ' ; ' || :'b' || ' ; ' || :'c', :'page', '20 ' || :'a') :run
SELECT * FROM regress_show();
SELECT regress_script('3 ' || substr(:'page', 3) || ' ; ' || :'b' || ' ; ' || :'c', :'page', '20 ' || :'a') :run
SELECT * FROM regress_show();
-- a statement that is repeated without a parent as well
SELECT regress_script('19 ' || :'a', :'page', '20 ' || :'a') :run
SELECT * FROM regress_show();
SELECT regress_script('20 ' || :'a', :'page', '20 ' || :'a') :run
SELECT * FROM regress_show();
SELECT regress_script('20 ' || :'a', :'page', '20 ' || :'a', :'page', '20 ' || :'a') :run
SELECT * FROM regress_show();
-- a reset of the session is the end
SELECT regress_script(:'page', '10 ' || :'a', '1 DISCARD ALL', '10 ' || :'a') :run
SET application_name = 'regress_loops';
SELECT * FROM regress_show();
-- too many statements, as well
SELECT regress_script(:'page', '20 ' || :'a', '1 ' || string_agg(format('SELECT /* %s */ i%s FROM regress_rows WHERE i = %%s', n, repeat(', i', n)), ' ; '),
	'20 ' || :'a') FROM generate_series(1, 8) n :run
SELECT * FROM regress_show();

--
-- the application is that which executed it
--
SELECT regress_script(:'page', '20 ' || :'a', '1 SET application_name = regress_next', :'one') :run
SET application_name = 'regress_loops';
SELECT * FROM regress_show();
SELECT regress_script('1 BEGIN', '1 SET LOCAL application_name = regress_local', :'page', '20 ' || :'a', '1 COMMIT') :run
SELECT * FROM regress_show();

--
-- what is no statement of a client, or is not watched
--
CREATE FUNCTION regress_nested() RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	r record;
	n int := 0;
BEGIN
	FOR r IN SELECT i FROM regress_rows LOOP
		SELECT /* nested */ a + n INTO n FROM regress_rows WHERE i = r.i;
	END LOOP;
	RETURN n;
END $$;
SET infra_monitor.track = 'all';
BEGIN;
SELECT regress_nested();
COMMIT;
SELECT * FROM regress_show();
SET infra_monitor.track = 'none';
SELECT regress_script('1 BEGIN', :'page', '20 ' || :'a', '1 COMMIT') :run
SELECT * FROM regress_show();
RESET infra_monitor.track;
SET infra_monitor.repeated_query_threshold = 0;
SELECT regress_script('1 BEGIN', :'page', '20 ' || :'a', '1 COMMIT', :'page', '20 ' || :'b') :run
SELECT * FROM regress_show();
SET infra_monitor.repeated_query_threshold = 5;
SELECT regress_script('1 BEGIN', :'page', '5 ' || :'a', '4 ' || :'b', '1 COMMIT') :run
SELECT * FROM regress_show();
-- changed under way: what counts is the value at the end
SELECT regress_script('1 BEGIN', :'page', '10 ' || :'a', '1 SET infra_monitor.repeated_query_threshold = 0', '1 COMMIT') :run
SELECT * FROM regress_show();
SET infra_monitor.repeated_query_threshold = 50;
SELECT regress_script('1 BEGIN', :'page', '10 ' || :'a', '1 SET infra_monitor.repeated_query_threshold = 10', '1 COMMIT') :run
SELECT * FROM regress_show();
SET infra_monitor.repeated_query_threshold = 1;
SELECT regress_script('1 BEGIN', :'one', '1 COMMIT') :run
SELECT * FROM regress_show();
RESET infra_monitor.repeated_query_threshold;

--
-- the rows: what belongs together, and to whom
--
SELECT regress_script('1 BEGIN', :'page', '20 SELECT /* slow */ pg_sleep(0.001), %s', '1 COMMIT', '1 BEGIN', :'page', '30 SELECT /* slow */ pg_sleep(0.001), %s', '1 COMMIT') :run
SELECT datname = current_database() AS datname, usename = current_user AS usename, bursts, executions, longest_burst,
	total_exec_time >= 49 AS total_exec_time, clock_timestamp() - last_seen < '10 min' AS last_seen,
	queryid = (SELECT queryid FROM pg_stat_statements WHERE query LIKE 'SELECT /* slow */%') AS queryid,
	parent_queryid = (SELECT queryid FROM pg_stat_statements WHERE query LIKE 'SELECT /* page */%') AS parent_queryid
FROM infra_monitor.repeated_queries;
-- one that is under way does not show up
BEGIN;
SELECT regress_script('25 ' || :'c') :run
SELECT count(*) FROM regress_found WHERE statement = 'c';
COMMIT;
SELECT statement, executions FROM regress_found WHERE statement = 'c';
-- of other roles
CREATE ROLE regress_reader;
GRANT USAGE ON SCHEMA infra_monitor TO regress_reader;
GRANT SELECT ON infra_monitor.repeated_queries, regress_rows TO regress_reader;
GRANT EXECUTE ON FUNCTION infra_monitor.repeated_counts(), infra_monitor.statement_stats(boolean),
	infra_monitor.pg_stat_statements_loaded(), infra_monitor.shown(name) TO regress_reader;
SELECT regress_script('1 SET ROLE regress_reader', '1 BEGIN', '1 SELECT /* own parent */ b FROM regress_rows', '20 ' || :'b', '1 COMMIT', '1 RESET ROLE') :run
SET ROLE regress_reader;
SELECT usename = current_user AS own, application_name, queryid IS NULL AS queryid, parent_queryid IS NULL AS parent_queryid,
	executions, kind, query, parent_query
FROM infra_monitor.repeated_queries ORDER BY own, executions;
SELECT infra_monitor.reset('statements');
RESET ROLE;
SELECT count(*) FROM infra_monitor.repeated_queries;
GRANT pg_read_all_stats TO regress_reader;
SET ROLE regress_reader;
SELECT count(*) FILTER (WHERE query ~ 'regress_rows|pg_sleep') AS queries, count(parent_queryid) AS parents FROM infra_monitor.repeated_queries;
SET infra_monitor.repeated_query_threshold = 2;
RESET ROLE;

--
-- reset: for statements, and all
--
SELECT infra_monitor.reset('pool');
SELECT count(*) > 0 AS any FROM infra_monitor.repeated_queries;
SELECT infra_monitor.reset('statements');
SELECT count(*) FROM infra_monitor.repeated_queries;
SELECT regress_script('1 BEGIN', '20 ' || :'a', '1 COMMIT') :run
SELECT count(*) FROM infra_monitor.repeated_queries;
SELECT infra_monitor.reset();
SELECT count(*) FROM infra_monitor.repeated_queries;
SELECT drops -> 'bursts' AS bursts, drops -> 'repeated_queries' AS repeated_queries FROM infra_monitor.sampler_status;

SET client_min_messages = error;
DROP VIEW regress_found CASCADE;
DROP FUNCTION regress_script, regress_nested;
DROP OWNED BY regress_reader;
DROP TABLE regress_rows;
DROP ROLE regress_reader;
