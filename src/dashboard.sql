
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
-- a letter takes two columns where it might: beyond U+07FF, which has three bytes
-- in UTF8, else from two bytes on; SQL_ASCII does not know where one ends
WITH encoding AS (
	SELECT e, CASE e WHEN 'UTF8' THEN 3 ELSE 2 END AS wide FROM getdatabaseencoding() e
), plain AS (
	SELECT wide, rtrim(regexp_replace(
		CASE e WHEN 'SQL_ASCII' THEN regexp_replace($1, E'[^\\x01-\\x7f]', '?', 'g')
			-- controls of C1, what has no width, what turns the direction of other text
			WHEN 'UTF8' THEN regexp_replace($1, E'[\\u007f-\\u009f\\u00ad\\u061c\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff]', ' ', 'g')
			ELSE $1 END,
		E'[\\t-\\r[:cntrl:]]+ *', ' ', 'g')) AS t
	FROM encoding
)
SELECT CASE WHEN octet_length(t) <= $2 THEN t ELSE (
	-- as many letters as fit; and if not all do, as many as leave room for dots
	SELECT CASE WHEN max(w.before_and_it) <= $2 THEN t
		ELSE left(t, (count(*) FILTER (WHERE w.before_and_it <= $2 - 3))::int) || '...' END
	FROM (SELECT sum(CASE WHEN octet_length(l.letter) >= wide THEN 2 ELSE 1 END) OVER (ORDER BY l.n) AS before_and_it
		FROM string_to_table(left(t, $2 + 1), NULL) WITH ORDINALITY AS l (letter, n)) w) END
FROM plain
$$;
COMMENT ON FUNCTION infra_monitor.one_line(text, int) IS
'a text on one line, cut to a width in columns of a terminal; a letter counts two where it might take as many; for pg_monitor';

CREATE FUNCTION infra_monitor.dashboard()
RETURNS SETOF text
LANGUAGE sql VOLATILE PARALLEL UNSAFE ROWS 34
SET search_path = pg_catalog, pg_temp
SET jit = off -- it would take longer than all the rest
AS $$
-- psql puts two columns and six lines around it: 98 x 34 is 100 x 40 on the
-- screen.  Each line has its place, so that nothing moves.  All is from memory.
WITH health AS MATERIALIZED (
	SELECT infra_monitor.health() AS h
), known AS MATERIALIZED (
	SELECT c.* FROM health, jsonb_to_recordset(h->'checks') AS c (
		name text, category text, status text, value float8, unit text, message text, hint text, essential boolean)
), checks AS MATERIALIZED (
	-- one that has failed has no unit; one that cannot know has
	SELECT row_number() OVER (ORDER BY array_position('{critical,warning,unknown}', status), essential DESC NULLS LAST,
		array_position('{pool,queries,replication,database}', category), name)::int AS n, *
	FROM known WHERE status IN ('critical', 'warning') OR status = 'unknown' AND unit IS NULL
), pool AS MATERIALIZED (
	SELECT *, max_connections - reserved_connections AS ordinary FROM infra_monitor.pool_pressure
), samples AS MATERIALIZED (
	SELECT * FROM infra_monitor.sample_ring()
), steps AS (
	-- all samples, which are 360 at most, in 72 columns; few of them in as many as they are
	SELECT make_interval(secs => apart * least(greatest(ceil((known / apart + 1) / 72), 1), 5)) AS step
	FROM (SELECT extract(epoch FROM current_setting('infra_monitor.sample_interval')::interval)::float8 AS apart,
			(SELECT coalesce(extract(epoch FROM clock_timestamp() - min(at))::float8, 0) FROM samples) AS known) s
), times AS MATERIALIZED (
	SELECT step, date_bin(step, clock_timestamp(), '2001-01-01 00:00:00+00') - 71 * step AS begins FROM steps
), chart AS MATERIALIZED (
	SELECT array_agg(c.used ORDER BY x.x) AS used, array_agg(c.rejected ORDER BY x.x) AS rejected
	FROM generate_series(1, 72) x (x) LEFT JOIN (
		SELECT 1 + floor(extract(epoch FROM s.at - t.begins) / extract(epoch FROM t.step))::int AS x,
			max(s.used) AS used, sum(s.rejected)::bigint AS rejected
		FROM samples s, times t WHERE s.at >= t.begins GROUP BY 1) c ON c.x = x.x
), sessions AS MATERIALIZED (
	SELECT * FROM infra_monitor.sessions()
), seen AS (
	SELECT coalesce(wait_event_type, 'CPU') AS class, coalesce(wait_event, 'CPU') AS event, count(*) AS now, 0 AS average
	FROM sessions WHERE state = 'active' AND pid <> pg_backend_pid() GROUP BY 1, 2
	UNION ALL
	SELECT wait_event_type, wait_event, 0, sum(observations) / nullif(max(looks), 0)
	FROM infra_monitor.wait_counts() WHERE wait_event IS NOT NULL GROUP BY 1, 2
), events AS (
	SELECT class, event, sum(now) AS now, sum(average) AS average FROM seen GROUP BY 1, 2
), waits AS MATERIALIZED (
	SELECT row_number() OVER (ORDER BY sum(now) DESC, sum(average) DESC, class)::int AS n, class, sum(now) AS now, sum(average) AS average,
		(array_agg(event ORDER BY now DESC, average DESC, event))[1] AS event
	FROM events GROUP BY class
), holders AS MATERIALIZED (
	SELECT row_number() OVER (ORDER BY count(*) DESC, datname, usename, application_name, client_addr)::int AS n, count(*) AS connections,
		count(*) FILTER (WHERE state = 'active') AS active,
		count(*) FILTER (WHERE state IN ('idle in transaction', 'idle in transaction (aborted)')) AS idle_in_transaction,
		usename, datname, application_name, client_addr
	FROM sessions GROUP BY datname, usename, application_name, client_addr
	ORDER BY 1 LIMIT 4
), counts AS MATERIALIZED (
	SELECT userid, dbid, queryid, toplevel, infra_monitor.observations(latency) AS calls, total_time,
		infra_monitor.quantile(latency, 0.95) AS p95, cancelled + lock_not_available + terminated + failed AS failures, stats_since
	FROM infra_monitor.statement_counts()
	WHERE infra_monitor.pg_stat_statements_loaded() AND userid IS NOT NULL
), ranked AS (
	(SELECT 18 AS place, row_number() OVER (ORDER BY total_time DESC)::int AS n, * FROM counts ORDER BY 2 LIMIT 3)
	UNION ALL
	-- few calls have no percentile that means something
	(SELECT 22, row_number() OVER (ORDER BY p95 DESC, total_time DESC)::int, * FROM counts WHERE calls >= 5 ORDER BY 2 LIMIT 3)
), statements AS (
	SELECT r.*, CASE WHEN r.queryid IS NULL AND r.calls > 0 THEN '<insufficient privilege>' ELSE s.query END AS query
	FROM ranked r
		LEFT JOIN infra_monitor.statement_stats(CASE WHEN infra_monitor.pg_stat_statements_loaded() THEN true END) s
			ON s.userid = r.userid AND s.dbid = r.dbid AND s.queryid = r.queryid AND s.toplevel = r.toplevel
), refused AS (
	SELECT coalesce(sum(total) FILTER (WHERE reason <> 'authentication'), 0) AS total,
		string_agg(reason || ' ' || total, ', ' ORDER BY total DESC, reason) FILTER (WHERE reason <> 'authentication' AND total > 0) AS reasons,
		coalesce(sum(total) FILTER (WHERE reason = 'authentication'), 0) AS authentication
	FROM infra_monitor.pool_rejections()
), lines (place, line) AS (
	SELECT 1, format('%s  %s  score %s/10  %s  up %s  evaluated %ss ago',
		upper(h->>'status'), h->>'role', coalesce(h->>'score', '?'), to_char(clock_timestamp(), 'YYYY-MM-DD HH24:MI:SS TZ'),
		to_char(justify_hours(make_interval(secs => (h->>'uptime')::float8)), 'FMDD"d" HH24:MI:SS'),
		round((h->>'age_ms')::float8 / 1000))
	FROM health
	UNION ALL
	SELECT 2, format('pool %s %s  %s of %s used, peak %s, %s authenticating, %s available%s',
		infra_monitor.bar(used_ratio, 16), upper(status), used_connections, max_connections,
		peak_connections, authenticating, available_connections,
		(SELECT ', none in ' || to_char(make_interval(secs => value), 'HH24:MI:SS') FROM known WHERE name = 'exhaustion_eta' AND value < 86400))
	FROM pool
	UNION ALL
	SELECT 3, format('     %s active (%s waiting for locks), %s idle, %s idle in transaction%s',
		active, waiting, idle, idle_in_transaction,
		', the longest for ' || to_char(oldest_idle_in_transaction, 'HH24:MI:SS'))
	FROM pool
	UNION ALL
	SELECT 4, format('     refused %s%s; authentication failures %s; since %s', r.total, ': ' || r.reasons, r.authentication,
		to_char(p.stats_reset, 'YYYY-MM-DD HH24:MI'))
	FROM pool p, refused r
	UNION ALL
	SELECT 4 + d.n, '     ' || d.line
	FROM times t, chart c, pool p,
		LATERAL infra_monitor.draw_pool(t.begins, t.step, c.used, c.rejected, p.ordinary, 3) WITH ORDINALITY AS d (line, n)
	UNION ALL
	SELECT 12, format('%-32s%5s%8s  %5s%7s%8s  %s', 'active sessions wait for', 'now', 'average', 'conns', 'active', 'in xact', 'held by')
	UNION ALL
	SELECT 12 + n, format('%-32s%5s%8s  %s', w.name, w.now, w.average, h.line)
	FROM generate_series(1, 4) n
		LEFT JOIN (SELECT n, infra_monitor.one_line(CASE class WHEN event THEN class ELSE class || ' ' || event END, 31) AS name,
			now, round(average, 2) AS average FROM waits) w USING (n)
		LEFT JOIN (SELECT n, format('%5s%7s%8s  %s', connections, active, idle_in_transaction,
			format('%s@%s %s %s', usename, datname, application_name, coalesce(host(client_addr), 'local'))) AS line FROM holders) h USING (n)
	UNION ALL
	SELECT 18, CASE WHEN infra_monitor.pg_stat_statements_loaded()
		THEN format('%10s%12s%12s%8s  statements that took most time, since %s', 'calls', 'total s', 'p95 ms', 'failed',
			(SELECT to_char(min(stats_since), 'YYYY-MM-DD HH24:MI') FROM counts))
		ELSE 'statements are not counted: pg_stat_statements is not loaded' END
	UNION ALL
	SELECT 22, format('%42s  slowest by p95, of those with 5 calls or more', '') WHERE infra_monitor.pg_stat_statements_loaded()
	UNION ALL
	SELECT place + n, format('%10s%12s%12s%8s  %s', calls, round(total_time::numeric / 1000, 1), round(p95::numeric, 1), failures,
		coalesce(query, '?'))
	FROM statements
	UNION ALL
	SELECT 26, format('checks: %s critical, %s warning, %s ok, %s unknown%s',
		count(*) FILTER (WHERE status = 'critical'), count(*) FILTER (WHERE status = 'warning'),
		count(*) FILTER (WHERE status = 'ok'), count(*) FILTER (WHERE status = 'unknown'),
		': ' || string_agg(name, ', ' ORDER BY name) FILTER (WHERE status = 'unknown' AND unit IS NOT NULL))
	FROM known
	UNION ALL
	SELECT 25 + 2 * n, format('%-8s  %-20s  %s', status, name, coalesce(message, ''))
	FROM checks WHERE n <= 3
	UNION ALL
	SELECT 26 + 2 * n, format('%10s%s', '', hint)
	FROM checks WHERE n <= 3
	UNION ALL
	SELECT 33, format('sampler %s, last sample %s, %s stored, %s missed%s', state,
		coalesce(to_char(clock_timestamp() - last_tick, 'HH24:MI:SS') || ' ago', 'never'), rows_stored, missed,
		CASE WHEN current_database() <> current_setting('infra_monitor.database')
			THEN '; history in ' || current_setting('infra_monitor.database') END)
	FROM infra_monitor.sampler_state()
	UNION ALL
	SELECT 34, format('last error at %s: %s', to_char(last_error_at, 'YYYY-MM-DD HH24:MI:SS'), last_error)
	FROM infra_monitor.sampler_state() WHERE last_error IS NOT NULL
)
SELECT coalesce(infra_monitor.one_line(l.line, 98), '')
FROM generate_series(1, 34) s (place) LEFT JOIN lines l USING (place)
ORDER BY place
$$;
COMMENT ON FUNCTION infra_monitor.dashboard() IS
'one screen of text for psql and its command watch, always 34 lines of at most 98 columns, each in its place: status and score, pool with refusals by reason and a chart of the last samples, classes of waits, who holds connections, top statements by time and by p95, the worst checks with what to do, sampler; from memory, also on standbys and in other databases; error unless preloaded; for pg_monitor';
