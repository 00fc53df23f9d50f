
--
-- advice.sql: how large the pools should be
--

CREATE FUNCTION infra_monitor.pool_formula(
	instances int, concurrent_requests int, workers int, worker_concurrency int)
RETURNS int
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_pool_formula_1_0';
COMMENT ON FUNCTION infra_monitor.pool_formula(int, int, int, int) IS
'connections that an application can use at once: instances * concurrent_requests + workers * worker_concurrency; NULL if nothing is given; errors: one of two factors is missing or negative, the result is above 1000000000; for pg_monitor';

CREATE FUNCTION infra_monitor.processors()
RETURNS int
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_processors_1_0';
COMMENT ON FUNCTION infra_monitor.processors() IS
'processors of the machine that are online; NULL is not known; for pg_monitor';

CREATE FUNCTION infra_monitor.connection_memory(
	OUT memory_total bigint, OUT shared_buffers bigint,
	OUT per_connection bigint, OUT connections int)
RETURNS record
LANGUAGE sql VOLATILE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
-- 10 MB: catalog caches, plans and memory of a session that has worked for a while.
-- Measured: a new one has 1 MB of its own, one that ran short transactions 4, one
-- that went through many tables and plans 60.  A fifth is left to the system.
SELECT m.memory_total, m.shared_buffers, m.per_connection,
	greatest((m.memory_total * 0.8 - m.shared_buffers - m.maintenance) / m.per_connection, 0)::int
FROM (
	SELECT s.memory_total,
		pg_size_bytes(current_setting('shared_buffers')) AS shared_buffers,
		pg_size_bytes('10 MB') + (pg_size_bytes(current_setting('work_mem')) * current_setting('hash_mem_multiplier')::float8)::bigint AS per_connection,
		pg_size_bytes(coalesce(nullif(current_setting('autovacuum_work_mem'), '-1'), current_setting('maintenance_work_mem'))) * current_setting('autovacuum_max_workers')::int AS maintenance
	FROM infra_monitor.system_usage() s
) m
$$;
COMMENT ON FUNCTION infra_monitor.connection_memory() IS
'how many connections the memory of the machine is enough for when all are at work: four fifths of it, less shared_buffers and what autovacuum may use, divided by 10 MB for the process and one work_mem * hash_mem_multiplier for its query; bytes; connections are NULL if the memory is not known; for pg_monitor';

CREATE FUNCTION infra_monitor.with_margin(sessions int)
RETURNS int
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT greatest(ceil(sessions * 1.25)::int, sessions + 1) $$;
COMMENT ON FUNCTION infra_monitor.with_margin(int) IS
'a quarter more, and at least one: the margin of pool_size_advice(); for pg_monitor';

-- the same number in the words of all rows
CREATE FUNCTION infra_monitor.in_words(number float8)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE WHEN number >= 10 THEN round(number::numeric, 0)
	WHEN number >= 0.1 THEN round(number::numeric, 1)
	ELSE round(number::numeric, 3) END::text $$;
COMMENT ON FUNCTION infra_monitor.in_words(float8) IS
'a number with as many digits as a sentence needs; for pg_monitor';

-- Little's law: average number in the system = arrival rate * time in it
CREATE FUNCTION infra_monitor.statement_concurrency(
	OUT dbid oid, OUT userid oid, OUT calls_per_second float8,
	OUT mean_exec_time float8, OUT avg_active float8, OUT since timestamptz)
RETURNS SETOF record
LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
WITH statements AS (
	SELECT s.dbid, s.userid, s.toplevel, s.calls, s.total_exec_time,
		min(s.stats_since) OVER () AS since
	-- NULL: it is not called where it would raise an error
	FROM infra_monitor.statement_stats(CASE WHEN infra_monitor.pg_stat_statements_loaded() THEN false END) s
), sums AS (
	SELECT s.dbid, s.userid, sum(s.calls)::float8 AS calls, sum(s.total_exec_time) AS time, s.since,
		nullif(greatest(date_part('epoch', clock_timestamp() - s.since), 0), 0) AS seconds
	FROM statements s
	WHERE s.toplevel
	GROUP BY s.dbid, s.userid, s.since
)
SELECT s.dbid, s.userid, s.calls / s.seconds, s.time / nullif(s.calls, 0), s.time / 1000 / s.seconds, s.since
FROM sums s
$$;
COMMENT ON FUNCTION infra_monitor.statement_concurrency() IS
'average number of sessions that were executing statements, by database and role, as it follows from pg_stat_statements: calls a second * mean time (ms), since the oldest of its counts; no rows where pg_stat_statements is not preloaded; for pg_monitor';

CREATE FUNCTION infra_monitor.pool_size_advice(
	instances int DEFAULT NULL, concurrent_requests int DEFAULT NULL,
	workers int DEFAULT NULL, worker_concurrency int DEFAULT NULL,
	lookback interval DEFAULT '1 day',
	OUT scope text, OUT name text, OUT current_connections int,
	OUT p95_active int, OUT p99_active int, OUT max_active int,
	OUT recommended_pool_size int, OUT formula_pool_size int,
	OUT recommended_max_connections int, OUT rationale text,
	OUT datname name, OUT usename name, OUT avg_active float8,
	OUT observed interval, OUT p99_held int,
	OUT recommended_default_pool_size int)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
WITH arguments AS MATERIALIZED (
	SELECT infra_monitor.pool_formula(instances, concurrent_requests, workers, worker_concurrency) AS formula,
		coalesce(lookback, '1 day') AS lookback,
		-- twice the processors, and one for a disk
		2 * infra_monitor.processors() + 1 AS ceiling
), seen AS MATERIALIZED (
	SELECT c.* FROM arguments a CROSS JOIN LATERAL infra_monitor.concurrency(a.lookback) c
), looked AS (
	SELECT s.observed, s.looks, t.evicted + t.dropped = 0 AS complete
	FROM seen s CROSS JOIN infra_monitor.concurrency_state() t
	WHERE s.dbid IS NULL
), pairs AS (
	SELECT infra_monitor.shown(d.datname) AS datname, infra_monitor.shown(r.rolname) AS usename, s.*,
		l.calls_per_second, l.mean_exec_time, l.avg_active AS expected, l.since
	FROM seen s
		-- who has been dropped needs none
		JOIN pg_database d ON d.oid = s.dbid
		JOIN pg_roles r ON r.oid = s.userid
		LEFT JOIN infra_monitor.statement_concurrency() l ON l.dbid = s.dbid AND l.userid = s.userid
), connected AS (
	SELECT c.datname, c.usename, count(*)::int AS connections
	FROM infra_monitor.sessions() c
	WHERE c.datname IS NOT NULL AND c.usename IS NOT NULL
	GROUP BY c.datname, c.usename
), measured AS (
	-- who is connected and was never seen at work had none at work, if all were kept
	SELECT coalesce(p.datname, c.datname) AS datname, coalesce(p.usename, c.usename) AS usename,
		coalesce(c.connections, 0) AS connections, l.observed, l.looks,
		coalesce(p.p95_active, m.none) AS p95_active, coalesce(p.p99_active, m.none) AS p99_active,
		coalesce(p.max_active, m.none) AS max_active, coalesce(p.avg_active, m.none) AS avg_active,
		coalesce(p.p99_held, m.none) AS p99_held, coalesce(p.busiest_p99_held, m.none) AS need,
		coalesce(p.avg_held, m.none) AS avg_held,
		p.calls_per_second, p.mean_exec_time, p.expected, p.since
	FROM pairs p FULL JOIN connected c ON c.datname = p.datname AND c.usename = p.usename
		CROSS JOIN looked l
		CROSS JOIN LATERAL (SELECT CASE WHEN l.looks > 0 AND l.complete THEN 0 END AS none) m
), pools AS (
	SELECT m.*, infra_monitor.with_margin(m.need) AS size, a.formula, a.ceiling,
		greatest(infra_monitor.with_margin(m.need), a.formula) AS recommended,
		row_number() OVER (ORDER BY m.need DESC NULLS LAST, m.avg_held DESC NULLS LAST, m.connections DESC) AS n
	FROM measured m CROSS JOIN arguments a
), sums AS (
	-- an application that was described is one of them: the busiest
	SELECT sum(CASE p.n WHEN 1 THEN p.recommended ELSE p.size END)::int AS pools,
		count(*) FILTER (WHERE p.need IS NULL) AS unknown
	FROM pools p
), server AS (
	SELECT s.pools, s.unknown, h.headroom, c.reserved_connections AS reserved,
		CASE WHEN s.pools IS NOT NULL THEN greatest(s.pools + h.headroom + c.reserved_connections, 20) END AS need,
		c.max_connections, c.used_connections, c.peak_connections,
		m.connections AS by_memory, m.memory_total, m.shared_buffers, m.per_connection
	FROM sums s CROSS JOIN LATERAL (SELECT greatest(ceil(s.pools * 0.1)::int, 3) AS headroom) h
		CROSS JOIN infra_monitor.pool_counts() c CROSS JOIN infra_monitor.connection_memory() m
)
SELECT 'pool', format('%s@%s', p.usename, p.datname), p.connections, p.p95_active, p.p99_active, p.max_active,
	p.recommended, p.formula, NULL::int,
	concat_ws(' ',
		CASE WHEN p.need IS NULL AND p.looks > 0 THEN 'Not known: it gave way to busier roles and databases.'
			WHEN p.need IS NULL THEN 'Nothing was observed: the sampler has not looked at the sessions, see infra_monitor.activity_interval and sampler_status.'
			ELSE format('In %s on average %s active, %s or fewer in 99 %% of the looks, at most %s; with idle ones in transactions %s or fewer.',
				date_trunc('second', p.observed), infra_monitor.in_words(p.avg_active), p.p99_active, p.max_active, p.p99_held)
			|| format(' In the busiest hour 99 %% of the looks found %s or fewer; a quarter more, and at least one, makes %s.', p.need, p.size) END,
		CASE WHEN p.formula > p.size OR p.formula IS NOT NULL AND p.size IS NULL
				THEN format('The formula asks for %s, if this is the application that it describes.', p.formula)
			WHEN p.formula IS NOT NULL
				THEN format('The formula asks for no more than %s: more was needed at once than it allows for, or others use this role, too.', p.formula) END,
		CASE WHEN instances > 1 AND p.recommended IS NOT NULL
			THEN format('Shared by %s instances: %s each.', instances, ceil(p.recommended / instances::float8)) END,
		CASE WHEN p.p99_active > p.ceiling
			THEN format('More than %s at work at once, two for each processor and one for a disk, seldom get more done, unless they wait for others: let them queue up for a smaller pool.', p.ceiling) END,
		CASE WHEN p.expected IS NOT NULL AND p.avg_active IS NOT NULL
			THEN format('By pg_stat_statements %s statements a second of %s ms make %s active on average since %s, sampled were %s',
				infra_monitor.in_words(p.calls_per_second), infra_monitor.in_words(p.mean_exec_time), infra_monitor.in_words(p.expected),
				to_char(p.since, 'YYYY-MM-DD HH24:MI'), infra_monitor.in_words(p.avg_active))
			|| CASE WHEN greatest(p.expected, p.avg_active) < 0.1 THEN '.'
				WHEN greatest(p.expected, p.avg_active) > 2 * least(p.expected, p.avg_active)
				THEN ': they differ by more than a factor of 2. The times differ, or much is failed, planned or sent to clients, which it does not count, or its entries were replaced.'
				ELSE ': they agree.' END END,
		CASE WHEN p.observed < '1 hour' THEN 'That was less than an hour: ask again after a typical day.' END),
	p.datname, p.usename, p.avg_active, p.observed, p.p99_held, p.size
FROM pools p
UNION ALL
SELECT 'server', 'server', v.used_connections, s.p95_active, s.p99_active, s.max_active,
	v.pools, a.formula,
	CASE WHEN v.need IS NOT NULL AND (v.by_memory IS NULL OR v.by_memory > v.reserved) THEN least(v.need, v.by_memory) END,
	concat_ws(' ',
		CASE WHEN v.pools IS NULL THEN 'The pools are not known.'
			ELSE format('The pools need %s together; %s more for others and %s reserved make %s%s. max_connections is %s; %s are in use now, %s were at the peak.',
				v.pools, v.headroom, v.reserved, v.pools + v.headroom + v.reserved,
				CASE WHEN v.pools + v.headroom + v.reserved < v.need THEN format(', and fewer than %s save nothing', v.need) END,
				v.max_connections, v.used_connections, v.peak_connections) END,
		CASE WHEN v.unknown > 0 AND v.pools IS NOT NULL
			THEN format('What %s more of them need was not observed, and is not in it.', v.unknown) END,
		CASE WHEN v.by_memory IS NULL THEN 'The memory of the machine is not known, and was not considered.'
			ELSE format('Four fifths of its memory of %s, without shared_buffers and autovacuum, are enough for %s connections at work, at %s each: 10 MB of a process that has worked for a while, and one work_mem * hash_mem_multiplier.',
				pg_size_pretty(v.memory_total), v.by_memory, pg_size_pretty(v.per_connection)) END,
		CASE WHEN v.need > v.by_memory
				THEN format('The memory is not enough for %s: make the pools smaller, put a transaction pooler in between, lower work_mem or shared_buffers, or add memory.', v.need)
			WHEN v.max_connections > v.by_memory
				THEN 'It is not enough for max_connections, if all of them are at work.' END,
		CASE WHEN v.need < v.peak_connections
			THEN 'Make the pools smaller before max_connections.' END),
	NULL::name, NULL::name, s.avg_active, s.observed, s.p99_held, NULL::int
FROM server v CROSS JOIN arguments a CROSS JOIN (SELECT * FROM seen WHERE dbid IS NULL) s
ORDER BY 1, 7 DESC NULLS LAST, 2
$$;
COMMENT ON FUNCTION infra_monitor.pool_size_advice(int, int, int, int, interval) IS
'how large pools should be: scope pool for each database and role, by what was seen at work in the last lookback (1 hour to 1 day), and by instances * concurrent_requests + workers * worker_concurrency, what the application can use at once; then scope server, with max_connections for all of them, as far as the memory goes; the rationale says why; current_connections are of now; observed is the time that was looked at; NULL is not known; errors: lookback of less than an hour, one of two factors missing or negative, not preloaded; for pg_monitor';
