
--
-- dashboard.sql: one screen of text
--

CREATE FUNCTION infra_monitor.bar(ratio float8, width int)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT '[' || rpad(repeat('#', n), $2, '.') || ']'
FROM (SELECT least(greatest(round($1 * $2), 0), $2)::int AS n) f
$$;
COMMENT ON FUNCTION infra_monitor.bar(float8, int) IS
'a ratio from 0 to 1 as a bar of characters; for pg_monitor';

CREATE FUNCTION infra_monitor.one_line(string text, width int)
RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
-- SQL_ASCII does not know where a letter ends
SELECT CASE WHEN length(t) > $2 THEN left(t, $2 - 3) || '...' ELSE t END
FROM (SELECT rtrim(regexp_replace(
	CASE WHEN getdatabaseencoding() = 'SQL_ASCII' THEN regexp_replace($1, E'[^\\x01-\\x7f]', '?', 'g') ELSE $1 END,
	E'[\\t-\\r[:cntrl:]]+ *', ' ', 'g')) AS t) f
$$;
COMMENT ON FUNCTION infra_monitor.one_line(text, int) IS
'a text on one line, cut to a width; for pg_monitor';

CREATE FUNCTION infra_monitor.dashboard()
RETURNS SETOF text
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
WITH health AS MATERIALIZED (
	SELECT infra_monitor.health() AS h
), pool AS MATERIALIZED (
	SELECT * FROM infra_monitor.pool_pressure
), holders AS MATERIALIZED (
	SELECT row_number() OVER (ORDER BY connections DESC, datname, usename, application_name) AS n, *
	FROM infra_monitor.pool_usage
	ORDER BY 1 LIMIT 5
), statements AS MATERIALIZED (
	SELECT row_number() OVER (ORDER BY total_exec_time DESC) AS n, *
	FROM infra_monitor.slow_queries
	WHERE infra_monitor.pg_stat_statements_loaded()
	ORDER BY 1 LIMIT 5
), known_checks AS MATERIALIZED (
	SELECT * FROM infra_monitor.health_checks
), checks AS MATERIALIZED (
	-- one that has failed has no unit; one that cannot know has
	SELECT row_number() OVER (ORDER BY array_position('{critical,warning,unknown}', status), name) AS n, *
	FROM known_checks WHERE status IN ('critical', 'warning') OR status = 'unknown' AND unit IS NULL
), longest AS (
	-- an hour or, where samples are rare, 60 of them; seconds
	SELECT apart, greatest(3600, 60 * apart) AS seconds
	FROM (SELECT extract(epoch FROM current_setting('infra_monitor.sample_interval')::interval)::float8 AS apart) s
), known AS MATERIALIZED (
	-- as much of that as there is, in no more columns than samples
	SELECT make_interval(secs => k.seconds) AS span, least(greatest(k.seconds / l.apart, 24), 60)::int AS columns
	FROM longest l,
		LATERAL (SELECT least(extract(epoch FROM clock_timestamp() - min(bucket))::float8, l.seconds) AS seconds
			FROM infra_monitor.pool_history(now() - make_interval(secs => l.seconds))) k
), lines (section, n, line) AS (
	SELECT 10, 0, format('%s  %s  score %s/10  %s  up %s  evaluated %s ago',
		upper(h->>'status'), h->>'role', coalesce(h->>'score', '?'), to_char(clock_timestamp(), 'YYYY-MM-DD HH24:MI:SS TZ'),
		make_interval(secs => (h->>'uptime')::float8),
		date_trunc('second', make_interval(secs => (h->>'age_ms')::float8 / 1000)))
	FROM health
	UNION ALL
	SELECT 20, 0, ''
	UNION ALL
	SELECT 21, 0, format('pool %s %s  %s of %s used, %s authenticating, %s available',
		infra_monitor.bar(used_ratio, 30), upper(status), used_connections, max_connections,
		authenticating, available_connections)
	FROM pool
	UNION ALL
	SELECT 22, 0, format('     %s active (%s waiting for locks), %s idle, %s idle in transaction',
		active, waiting, idle, idle_in_transaction)
	FROM pool
	UNION ALL
	SELECT 23, 0, format('     peak %s at %s; refused %s, authentication failures %s, since %s',
		peak_connections, to_char(peak_at, 'HH24:MI:SS'), rejected_total, auth_failures_total,
		to_char(stats_reset, 'YYYY-MM-DD HH24:MI'))
	FROM pool
	UNION ALL
	SELECT 24, c.n, '     ' || c.line
	FROM known, LATERAL infra_monitor.pool_chart(span, columns, 3) WITH ORDINALITY AS c (line, n)
	UNION ALL
	SELECT 30, 0, ''
	UNION ALL
	SELECT 31, 0, 'connections  active  idle in xact  held by'
	UNION ALL
	SELECT 32, n, format('%11s  %6s  %12s  %s', connections, active, idle_in_transaction,
		infra_monitor.one_line(format('%s@%s %s %s', usename, datname, application_name, coalesce(host(client_addr), 'local')), 64))
	FROM holders
	UNION ALL
	SELECT 40, 0, ''
	UNION ALL
	SELECT 41, 0, CASE WHEN infra_monitor.pg_stat_statements_loaded()
		THEN '     calls     total s   mean ms     max ms  statement'
		ELSE 'statements are not counted: pg_stat_statements is not loaded' END
	UNION ALL
	SELECT 42, n, format('%10s  %10s  %8s  %9s  %s', calls, round(total_exec_time::numeric / 1000, 1),
		round(mean_exec_time::numeric, 1), round(max_exec_time::numeric, 1),
		infra_monitor.one_line(coalesce(query, '?'), 55))
	FROM statements
	UNION ALL
	SELECT 50, 0, ''
	UNION ALL
	SELECT 51, 0, 'all checks are ok' WHERE NOT EXISTS (SELECT FROM checks)
	UNION ALL
	SELECT 52, n, format('%-8s  %-25s  %s', status, name, infra_monitor.one_line(coalesce(message, ''), 62))
	FROM checks WHERE n <= 12
	UNION ALL
	SELECT 53, 0, format('%s more are not ok, see infra_monitor.health_checks', count(*))
	FROM checks WHERE n > 12 HAVING count(*) > 0
	UNION ALL
	SELECT 54, 0, 'not known: ' || string_agg(name, ', ' ORDER BY name)
	FROM known_checks WHERE status = 'unknown' AND unit IS NOT NULL HAVING count(*) > 0
	UNION ALL
	SELECT 60, 0, ''
	UNION ALL
	SELECT 61, 0, format('sampler %s, last sample %s, %s stored, %s missed', state,
		coalesce(date_trunc('second', clock_timestamp() - last_tick)::text || ' ago', 'never'), rows_stored, missed)
	FROM infra_monitor.sampler_state()
	UNION ALL
	SELECT 62, 0, format('last error at %s: %s', to_char(last_error_at, 'YYYY-MM-DD HH24:MI:SS'), last_error)
	FROM infra_monitor.sampler_state() WHERE last_error IS NOT NULL
)
SELECT infra_monitor.one_line(line, 100) FROM lines ORDER BY section, n
$$;
COMMENT ON FUNCTION infra_monitor.dashboard() IS
'one screen of text for psql and its command watch: status, pool, who holds connections, top statements, the worst checks that are not ok, sampler; error unless preloaded; for pg_monitor';
