--
-- What test/sqlsmith.sh gives sqlsmith to work with: data in all views, values at
-- the edge of each type, and forms of our functions that it can call.
--
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE EXTENSION infra_monitor CASCADE;
CREATE ROLE smith_superuser SUPERUSER LOGIN;
CREATE ROLE smith_monitor LOGIN IN ROLE pg_monitor;
CREATE ROLE smith_ordinary LOGIN;

CREATE SCHEMA smith;
GRANT USAGE ON SCHEMA smith TO PUBLIC;

-- a row each of: nothing, least, most, unknown, what is usual
CREATE TABLE smith.edges (id int PRIMARY KEY, an_int int, a_bigint bigint, a_float8 float8, a_numeric numeric, a_text text,
	a_name name, an_oid oid, a_boolean boolean, a_jsonb jsonb, an_interval interval, a_timestamptz timestamptz, an_inet inet,
	a_bytea bytea, ints int[], bigints bigint[], floats float8[], texts text[], moments timestamptz[], booleans boolean[],
	a_histogram infra_monitor.histogram);
INSERT INTO smith.edges VALUES
	(1, 0, 0, 0, 0, '', '', 0, false, '{}', '0', '2000-01-01', '0.0.0.0', '', '{}', '{}', '{}', '{}', '{}', '{}', '{}'),
	(2, -2147483648, -9223372036854775808, '-Infinity', '-1e1000', E'a''b"c\\\n<&>%s', '', 1, true, '[]', '-178000000 years',
		'-infinity', '::', '\x00', '{-1,NULL}', '{-1,NULL}', '{-1,NULL}', '{"",NULL}', '{-infinity,NULL}', '{NULL}',
		infra_monitor.histogram('{0}'::float8[])),
	(3, 2147483647, 9223372036854775807, 'NaN', 'NaN', repeat('ä', 5000), repeat('n', 63), 4294967295, true, '[null, {"a": 1e400}]',
		'178000000 years', 'infinity', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/1', '\xffffffff', '{2147483647,1}',
		'{9223372036854775807,1}', '{NaN,Infinity,0}', ARRAY[repeat('x', 10000)], '{infinity,now}', '{t,f}',
		infra_monitor.histogram('{1e300,0,1}'::float8[])),
	(4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	(5, 10, 1000, 0.95, 0.5, 'calls', 'postgres', 10, true, '{"status": "warning", "checks": []}', '1 minute', now(), '127.0.0.1',
		'\x0102', '{1,2,3}', '{1,2,3}', '{1,2.5,4}', '{exec_time,pool}', ARRAY[now() - interval '1 hour', now()], '{t}',
		infra_monitor.histogram('{1,2,3,1000}'::float8[])),
	(6, 60, -1, 1, 1, 'all', 'exec_time', 16384, false, '"text"', '1 hour', now() - interval '3 hours', '::1', '\x01', '{0}', '{0}',
		'{0}', '{all}', ARRAY[now()], '{f}', infra_monitor.histogram('{0.5}'::float8[]));
GRANT SELECT, INSERT, UPDATE, DELETE ON smith.edges TO PUBLIC;
ANALYZE smith.edges;

-- Of a type that no column around has, it knows NULL only
SELECT format('CREATE FUNCTION smith.%I(int) RETURNS %s STABLE LANGUAGE sql AS %L', 'some_' || attname,
	format_type(atttypid, NULL), format('SELECT %I FROM smith.edges WHERE id = 1 + $1 %% 6', attname))
FROM pg_attribute WHERE attrelid = 'smith.edges'::regclass AND attnum > 1
\gexec

-- It calls no function that returns a set, and none without arguments in FROM
SELECT format('CREATE FUNCTION smith.%I(%s) RETURNS bigint LANGUAGE sql AS %L', p.proname, a.types,
	format('SELECT count(r::text) FROM infra_monitor.%I(%s) r', p.proname, a.numbers))
FROM pg_proc p, LATERAL (
	SELECT string_agg(format_type(t, NULL), ', ' ORDER BY n), string_agg('$' || n, ', ' ORDER BY n)
	FROM unnest(p.proargtypes) WITH ORDINALITY u (t, n)) a (types, numbers)
WHERE p.pronamespace = 'infra_monitor'::regnamespace AND p.prokind = 'f' AND p.pronargs > 0
	AND (p.proretset OR p.prorettype = 'record'::regtype)
ORDER BY p.oid
\gexec
SELECT format('CREATE VIEW smith.%I AS SELECT * FROM infra_monitor.%I()', 'view_' || p.proname, p.proname),
	format('GRANT SELECT ON smith.%I TO pg_monitor', 'view_' || p.proname)
FROM pg_proc p
WHERE p.pronamespace = 'infra_monitor'::regnamespace AND p.prokind = 'f' AND p.pronargs = 0
	AND (p.proretset OR p.prorettype = 'record'::regtype) AND p.proargmodes IS NOT NULL
ORDER BY p.oid
\gexec

-- It asks pg_proc what there is, by that name: it gets one of these, by its
-- search_path.  The functions left out reach beyond the statement that calls them.
CREATE SCHEMA smith_everything;
CREATE VIEW smith_everything.pg_proc AS
SELECT * FROM pg_catalog.pg_proc
WHERE pronamespace <> 'pg_catalog'::regnamespace OR proname !~ ('^(lo_|binary_upgrade|dblink|pg_sleep|pg_stat_(reset|clear)'
	'|pg_replication_|pg_logical_|pg_(create|drop|copy)_.*slot|pg_log_|pg_backup_|pg_wal_replay_|pg_.*advisory|pg_(read|ls)_'
	'|(pg_(terminate_backend|cancel_backend|reload_conf|rotate_logfile.*|promote|switch_wal|create_restore_point'
	'|import_system_collations|nextoid|notify|stop_making_pinned_objects|stat_statements_reset)|set_config|setval)$)');
CREATE SCHEMA smith_ours;
CREATE VIEW smith_ours.pg_proc AS
SELECT * FROM pg_catalog.pg_proc WHERE pronamespace IN ('infra_monitor'::regnamespace, 'smith'::regnamespace);
GRANT USAGE ON SCHEMA smith_everything, smith_ours TO PUBLIC;
GRANT SELECT ON smith_everything.pg_proc, smith_ours.pg_proc TO PUBLIC;

-- something to count, to log and to sample: statements, errors, refusals
CREATE TABLE smith.work (id int PRIMARY KEY, a_text text);
INSERT INTO smith.work SELECT n, repeat('x', n % 100) FROM generate_series(1, 1000) n;
\set ON_ERROR_STOP off
SELECT 1 / 0;
SELECT * FROM nowhere;
\set ON_ERROR_STOP on
SELECT count(*) FROM smith.work a JOIN smith.work b USING (a_text);
SELECT format('SELECT a_text FROM smith.work WHERE id = %s', n) FROM generate_series(1, 100) n
\gexec
SET statement_timeout = '5min';
DO $$ BEGIN
	WHILE (SELECT count(DISTINCT sampled_at) FROM infra_monitor.statement_samples) < 3
		OR (SELECT count(*) FROM infra_monitor.samples) < 3 OR NOT EXISTS (SELECT FROM infra_monitor.slow_query_samples) LOOP
		COMMIT;
		PERFORM pg_sleep(0.1);
	END LOOP;
END $$;
RESET statement_timeout;

-- the same in the past, for three days
SELECT format('CREATE TABLE infra_monitor.%I PARTITION OF infra_monitor.%I FOR VALUES FROM (%L) TO (%L)',
	'smith_' || t.name, t.name, b.first, b.last)
FROM unnest('{samples,statement_samples,statement_texts,wait_samples}'::text[]) t (name),
	(SELECT d - interval '4 days', d - interval '1 day' FROM date_trunc('day', now(), 'UTC') d) b (first, last)
\gexec
CREATE TEMP TABLE one_sample AS SELECT * FROM infra_monitor.samples ORDER BY sampled_at DESC LIMIT 1;
CREATE TEMP TABLE one_statements AS SELECT * FROM infra_monitor.statement_samples
	WHERE sampled_at = (SELECT max(sampled_at) FROM infra_monitor.statement_samples);
CREATE TEMP TABLE one_waits AS SELECT * FROM infra_monitor.wait_samples
	WHERE sampled_at = (SELECT max(sampled_at) FROM infra_monitor.wait_samples);
CREATE TEMP TABLE one_text AS SELECT * FROM infra_monitor.statement_texts LIMIT 5;
DO $$ DECLARE
	moment timestamptz;
	day timestamptz := date_trunc('day', now(), 'UTC');
BEGIN
	FOR moment IN SELECT generate_series(day - interval '4 days', day - interval '1 day 1 minute', '20 minutes') LOOP
		UPDATE one_sample SET sampled_at = moment;
		UPDATE one_statements SET sampled_at = moment;
		UPDATE one_waits SET sampled_at = moment;
		INSERT INTO infra_monitor.samples SELECT * FROM one_sample;
		INSERT INTO infra_monitor.statement_samples SELECT * FROM one_statements;
		INSERT INTO infra_monitor.wait_samples SELECT * FROM one_waits;
	END LOOP;
	UPDATE one_text SET first_seen = day - interval '4 days';
	INSERT INTO infra_monitor.statement_texts SELECT * FROM one_text;
END $$;
SELECT infra_monitor.roll_up() IS NULL AS rolled_up;
ANALYZE;
