--
-- pool_size_advice(), and what it is computed from
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS infra_monitor CASCADE;
RESET client_min_messages;

-- this machine
SET infra_monitor.system_root = '';

-- the formula
SELECT infra_monitor.pool_formula(4, 10, 2, 5), infra_monitor.pool_formula(4, 10, NULL, NULL) AS requests,
	infra_monitor.pool_formula(NULL, NULL, 2, 5) AS workers, infra_monitor.pool_formula(0, 10, 3, 0) AS zero,
	infra_monitor.pool_formula(NULL, NULL, NULL, NULL) AS nothing;

-- the margin
SELECT n, infra_monitor.with_margin(n) FROM unnest('{0,1,2,4,5,8,10,100}'::int[]) n;
SELECT infra_monitor.with_margin(NULL) IS NULL AS nothing;
SELECT n, infra_monitor.in_words(n) FROM unnest('{0,0.0123,0.1,0.96,9.96,10,1234.5}'::float8[]) n;

-- wrong arguments
\set SHOW_CONTEXT never
SELECT * FROM infra_monitor.pool_size_advice(instances => 4);
SELECT * FROM infra_monitor.pool_size_advice(concurrent_requests => 4);
SELECT * FROM infra_monitor.pool_size_advice(4, 10, workers => 2);
SELECT * FROM infra_monitor.pool_size_advice(4, 10, worker_concurrency => 2);
SELECT * FROM infra_monitor.pool_size_advice(-4, 10);
SELECT * FROM infra_monitor.pool_size_advice(4, -10);
SELECT * FROM infra_monitor.pool_size_advice(workers => -1, worker_concurrency => 1);
SELECT * FROM infra_monitor.pool_size_advice(2147483647, 2147483647, 2147483647, 2147483647);
SELECT * FROM infra_monitor.pool_size_advice(1, 1000000001);
SELECT recommended_pool_size >= 1000000000 AS all_of_them FROM infra_monitor.pool_size_advice(1, 1000000000) WHERE scope = 'server';
SELECT * FROM infra_monitor.pool_size_advice(lookback => '0');
SELECT * FROM infra_monitor.pool_size_advice(lookback => '-1 day');
SELECT * FROM infra_monitor.pool_size_advice(lookback => '59 minutes');
\set VERBOSITY sqlstate
SELECT * FROM infra_monitor.pool_size_advice(-4, 10);
SELECT * FROM infra_monitor.pool_size_advice(2147483647, 2);
SELECT * FROM infra_monitor.pool_size_advice(lookback => '0');
\set VERBOSITY default

-- what is kept is a day at most; NULL is a day
SELECT lookback, count(*) AS servers, count(*) FILTER (WHERE observed > lookback) AS too_much
FROM unnest('{1 hour,1 day,1 month,178000000 years}'::interval[]) lookback
	CROSS JOIN LATERAL infra_monitor.pool_size_advice(lookback => lookback)
WHERE scope = 'server' GROUP BY 1 ORDER BY 1;
SELECT count(*) AS servers FROM infra_monitor.pool_size_advice(lookback => NULL) WHERE scope = 'server';
SELECT count(*) FROM infra_monitor.concurrency(NULL);

-- wait until this session was seen at work
CREATE FUNCTION pg_temp.sleep_until_seen(looks bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 600 LOOP
		IF (SELECT c.looks FROM infra_monitor.concurrency('1 day') c WHERE c.dbid IS NULL) >= looks THEN
			RETURN true;
		END IF;
		PERFORM pg_sleep(0.1);
	END LOOP;
	RETURN false;
END $$;
SELECT infra_monitor.reset('pool');
SELECT pg_temp.sleep_until_seen(3) AS seen;
SELECT current_user || '@' || current_database() AS me \gset

SELECT scope, name = :'me' AS name, datname = current_database() AS datname, usename = current_user AS usename,
	current_connections, p95_active, p99_active, max_active, p99_held, recommended_pool_size, formula_pool_size,
	recommended_max_connections, recommended_default_pool_size, avg_active > 0.5 AS avg_active,
	observed BETWEEN '1 second' AND '1 minute' AS observed
FROM infra_monitor.pool_size_advice() WHERE name = :'me';
SELECT scope, name, current_connections >= 1 AS connections, max_active >= 1 AS active, datname, usename,
	recommended_pool_size >= 2 AS pools, recommended_max_connections >= 20 AS max_connections, recommended_default_pool_size
FROM infra_monitor.pool_size_advice() WHERE scope = 'server';

-- pools first, then the server
SELECT (array_agg(scope))[count(*)] AS last, count(*) FILTER (WHERE scope = 'server') AS servers
FROM infra_monitor.pool_size_advice();

-- with a formula: the larger one counts, and once
SELECT a.recommended_pool_size, a.formula_pool_size, a.recommended_default_pool_size,
	s.recommended_pool_size >= 50 AND s.recommended_pool_size < 100 AS pools,
	a.rationale ~ 'The formula asks for 50' AND a.rationale ~ 'Shared by 4 instances: 13 each' AS words
FROM infra_monitor.pool_size_advice(4, 10, 2, 5) a, infra_monitor.pool_size_advice(4, 10, 2, 5) s
WHERE a.name = :'me' AND s.scope = 'server';
SELECT recommended_pool_size, formula_pool_size, rationale ~ 'The formula asks for no more than 1:' AS words
FROM infra_monitor.pool_size_advice(1, 1) WHERE name = :'me';

-- never more than the memory is enough for, and not silently
SELECT recommended_max_connections = m.connections AS by_memory,
	rationale ~ 'The memory is not enough for [0-9]{7}: make the pools smaller' AS words
FROM infra_monitor.pool_size_advice(1000, 1000), infra_monitor.connection_memory() m WHERE scope = 'server';
SET work_mem = '1TB';
SELECT recommended_max_connections IS NULL AS nothing, rationale ~ 'The memory is not enough for' AS words
FROM infra_monitor.pool_size_advice() WHERE scope = 'server';
RESET work_mem;
SELECT per_connection, shared_buffers = pg_size_bytes(current_setting('shared_buffers')) AS shared_buffers,
	connections > 0 AS connections
FROM infra_monitor.connection_memory();
SELECT infra_monitor.processors() > 0 AS processors;

-- Little's law
SELECT pg_stat_statements_reset() IS NOT NULL AS reset;
SELECT pg_sleep(0.5);
SELECT calls_per_second > 0 AS calls, mean_exec_time > 0 AS mean, avg_active BETWEEN 0.01 AND 1.1 AS active,
	abs(avg_active - calls_per_second * mean_exec_time / 1000) < 0.001 AS law, since <= clock_timestamp() AS since
FROM infra_monitor.statement_concurrency() l JOIN pg_database d ON d.oid = l.dbid JOIN pg_roles r ON r.oid = l.userid
WHERE d.datname = current_database() AND r.rolname = current_user;
SELECT rationale ~ 'By pg_stat_statements [0-9.]+ statements a second of [0-9.]+ ms make [0-9.]+ active' AS words
FROM infra_monitor.pool_size_advice() WHERE name = :'me';

SELECT pairs >= 1 AS pairs, evicted, dropped FROM infra_monitor.concurrency_state();
