
--
-- statement_samples.sql: history of the statements
--

CREATE TABLE infra_monitor.statement_samples (
	sampled_at timestamptz NOT NULL,
	epoch bigint NOT NULL,
	userid oid,
	dbid oid,
	usename text,
	datname text,
	queryid bigint,
	toplevel boolean,
	calls bigint NOT NULL,
	exec_time float8 NOT NULL,
	rows bigint,
	failures bigint NOT NULL,
	failed_time float8 NOT NULL,
	shared_blks_hit bigint,
	shared_blks_read bigint,
	temp_blks_written bigint,
	wal_bytes bigint,
	latency infra_monitor.histogram NOT NULL
) PARTITION BY RANGE (sampled_at);
COMMENT ON TABLE infra_monitor.statement_samples IS
'what statements have grown by, each infra_monitor.statement_interval: a row for each of the first infra_monitor.top_statements by time, calls, time of failures or p95, and always one without userid for all others, so that the sum is right; in partitions by UTC day, kept for infra_monitor.retention; not dumped; written by the sampler and take_statement_sample() only; for pg_monitor';
COMMENT ON COLUMN infra_monitor.statement_samples.epoch IS 'as in samples; what was executed between the last sample before reset() and that is in none';
COMMENT ON COLUMN infra_monitor.statement_samples.userid IS 'NULL: all statements without a row of their own';
COMMENT ON COLUMN infra_monitor.statement_samples.usename IS 'NULL if the role had been dropped';
COMMENT ON COLUMN infra_monitor.statement_samples.datname IS 'NULL if the database had been dropped';
COMMENT ON COLUMN infra_monitor.statement_samples.queryid IS 'NULL: failed before it was identified';
COMMENT ON COLUMN infra_monitor.statement_samples.calls IS 'executions that completed since the sample before; also from before one that failed, so that none is lost';
COMMENT ON COLUMN infra_monitor.statement_samples.exec_time IS 'time of these, ms';
COMMENT ON COLUMN infra_monitor.statement_samples.rows IS 'as pg_stat_statements counts them, as in the columns to wal_bytes; all NULL if that does not tell what they have grown by: not there any more, reset, or just begun while others were counted';
COMMENT ON COLUMN infra_monitor.statement_samples.failures IS 'executions that did not complete';
COMMENT ON COLUMN infra_monitor.statement_samples.failed_time IS 'time of these, ms';
COMMENT ON COLUMN infra_monitor.statement_samples.wal_bytes IS 'write-ahead log generated, bytes';
COMMENT ON COLUMN infra_monitor.statement_samples.latency IS 'times of the executions that completed';

CREATE INDEX statement_samples_sampled_at_idx ON infra_monitor.statement_samples
	USING brin (sampled_at) WITH (pages_per_range = 16, autosummarize = on);
COMMENT ON INDEX infra_monitor.statement_samples_sampled_at_idx IS
'finds a part of a day; whole days are found by their partitions';

-- No index that finds a statement: its pages would be written to the log in
-- whole after each checkpoint, all over it.  The sampler makes one on each day
-- that is over, see partitions.c; of today, all rows of a span are read.

CREATE TABLE infra_monitor.statement_texts (
	first_seen timestamptz NOT NULL,
	queryid bigint NOT NULL,
	dbid oid NOT NULL,
	query text NOT NULL
) PARTITION BY RANGE (first_seen);
COMMENT ON TABLE infra_monitor.statement_texts IS
'texts of the statements in statement_samples, without constants, as pg_stat_statements has them, 8192 characters of each; stored once a day, and kept as long as the samples of that day; a command that can carry a secret shows its tag only; not dumped; for pg_read_all_stats';
COMMENT ON COLUMN infra_monitor.statement_texts.first_seen IS 'sample in which the statement first was this day (UTC)';

CREATE INDEX statement_texts_queryid_idx ON infra_monitor.statement_texts (queryid, dbid);
COMMENT ON INDEX infra_monitor.statement_texts_queryid_idx IS 'finds the text of a statement';

CREATE FUNCTION infra_monitor.take_statement_sample()
RETURNS timestamptz
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'imon_take_statement_sample_1_0';
COMMENT ON FUNCTION infra_monitor.take_statement_sample() IS
'takes a sample of the statements now, in this transaction, and returns its time, or NULL and no sample if what they had counted at the last one is not known; waits for another writer up to lock_timeout; error for a second one in a transaction, without dynamic shared memory for what was counted, on a standby, outside the home database, when there is no room for it (check history_size), and unless preloaded; for superusers, grantable';

-- the rows of statement_history(), for arguments that are known to be good
CREATE FUNCTION infra_monitor.statement_buckets(
	queryid bigint, since timestamptz, until timestamptz, step interval,
	OUT bucket timestamptz, OUT calls bigint, OUT exec_time float8,
	OUT p50_time float8, OUT p95_time float8, OUT p99_time float8,
	OUT rows bigint, OUT failures bigint, OUT failed_time float8,
	OUT shared_blks_read bigint, OUT temp_blks_written bigint,
	OUT wal_bytes bigint, OUT grain text)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 300
SET search_path = pg_catalog, pg_temp
SET jit = off -- most partitions that the planner counts are not read
AS $$
WITH grains AS MATERIALIZED (
	SELECT * FROM infra_monitor.history_grains('statement_samples', $2, $3, $4)
), parts AS (
	SELECT CASE WHEN g.fits THEN date_bin($4, p.at, '2001-01-01 00:00:00+00') ELSE p.at END AS bucket, p.*
	FROM grains g
		-- with OFFSET, these are scans of their own, of those partitions that they need
		CROSS JOIN LATERAL (
			(SELECT s.sampled_at AS at, s.calls, s.exec_time, s.latency, s.rows, s.failures, s.failed_time,
				s.shared_blks_read, s.temp_blks_written, s.wal_bytes, 0 AS coarseness
			FROM infra_monitor.statement_samples s
			WHERE g.grain = 'sample' AND s.queryid = $1 AND s.sampled_at >= g.from_at AND s.sampled_at < g.until_at OFFSET 0)
			UNION ALL
			(SELECT h.begins_at, h.calls, h.exec_time, h.latency, h.rows, h.failures, h.failed_time,
				h.shared_blks_read, h.temp_blks_written, h.wal_bytes, 1
			FROM infra_monitor.statement_samples_hourly h
			WHERE g.grain = 'hour' AND h.queryid = $1 AND h.begins_at >= g.from_at AND h.begins_at < g.until_at OFFSET 0)
			UNION ALL
			(SELECT d.begins_at, d.calls, d.exec_time, d.latency, d.rows, d.failures, d.failed_time,
				d.shared_blks_read, d.temp_blks_written, d.wal_bytes, 2
			FROM infra_monitor.statement_samples_daily d
			WHERE g.grain = 'day' AND d.queryid = $1 AND d.begins_at >= g.from_at AND d.begins_at < g.until_at OFFSET 0)
		) p
)
SELECT b.bucket, b.calls, b.exec_time, infra_monitor.quantile(b.latency, 0.50),
	infra_monitor.quantile(b.latency, 0.95), infra_monitor.quantile(b.latency, 0.99),
	b.rows, b.failures, b.failed_time, b.shared_blks_read, b.temp_blks_written, b.wal_bytes,
	(ARRAY['sample', 'hour', 'day'])[1 + b.coarseness]
FROM (
	-- times in whole nanoseconds, as they were counted: whatever the order, the sum is the same
	SELECT s.bucket, sum(s.calls)::bigint AS calls, (sum((s.exec_time * 1e6)::bigint) / 1e6)::float8 AS exec_time,
		infra_monitor.sum(s.latency) AS latency, sum(s.rows)::bigint AS rows, sum(s.failures)::bigint AS failures,
		(sum((s.failed_time * 1e6)::bigint) / 1e6)::float8 AS failed_time,
		sum(s.shared_blks_read)::bigint AS shared_blks_read, sum(s.temp_blks_written)::bigint AS temp_blks_written,
		sum(s.wal_bytes)::bigint AS wal_bytes, max(s.coarseness) AS coarseness
	FROM parts s
	GROUP BY s.bucket
) b
ORDER BY b.bucket
$$;
COMMENT ON FUNCTION infra_monitor.statement_buckets(bigint, timestamptz, timestamptz, interval) IS
'source of statement_history(), which checks the arguments; for pg_monitor';

CREATE FUNCTION infra_monitor.statement_history(
	queryid bigint, since timestamptz,
	until timestamptz DEFAULT pg_catalog.now(), step interval DEFAULT NULL,
	OUT bucket timestamptz, OUT calls bigint, OUT exec_time float8,
	OUT p50_time float8, OUT p95_time float8, OUT p99_time float8,
	OUT rows bigint, OUT failures bigint, OUT failed_time float8,
	OUT shared_blks_read bigint, OUT temp_blks_written bigint,
	OUT wal_bytes bigint, OUT grain text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 300
SET search_path = pg_catalog, pg_temp
AS $$ SELECT * FROM infra_monitor.statement_buckets($1, $2, $3, infra_monitor.history_step($2, $3, $4)) $$;
COMMENT ON FUNCTION infra_monitor.statement_history(bigint, timestamptz, timestamptz, interval) IS
'a statement from since until before until, of all roles and databases, in buckets of a step, by default one that gives 300 buckets or less; bucket is when one begins, counted from Mondays 00:00 UTC; one in which the statement has no row in statement_samples is absent; columns as there, p50_time, p95_time and p99_time off by 14.3 percent at most; rows, shared_blks_read, temp_blks_written and wal_bytes are sums of what is known, NULL if nothing is; grain as in pool_history(); of hours and days it has those in which the statement was among the first; error for a span or a step that makes no sense, a span of which nothing is kept, and more than 100000 buckets; for pg_monitor';

CREATE FUNCTION infra_monitor.span_step(since timestamptz, until timestamptz)
RETURNS interval
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE WHEN infra_monitor.history_step($1, $2, NULL) > '30 minutes' THEN '1 day' ELSE '1 hour' END::interval $$;
COMMENT ON FUNCTION infra_monitor.span_step(timestamptz, timestamptz) IS
'by what a span is read of which only the sum is wanted: hours, or days if it is longer than six; errors of history_step(); for pg_monitor';

CREATE FUNCTION infra_monitor.top_statements_order(order_by text, n int)
RETURNS text
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_top_statements_order_1_0';
COMMENT ON FUNCTION infra_monitor.top_statements_order(text, int) IS
'order_by, if top_statements() can be ordered by it; else an error, also unless n is positive; for pg_monitor';

-- what was stored of each statement in a span; that of all others is one, without a userid
CREATE FUNCTION infra_monitor.stored_statements(
	since timestamptz, until timestamptz, step interval,
	OUT is_other boolean, OUT queryid bigint, OUT datname text, OUT usename text, OUT dbid oid,
	OUT calls bigint, OUT exec_time float8, OUT latency infra_monitor.histogram, OUT rows bigint,
	OUT failures bigint, OUT failed_time float8, OUT shared_blks_hit bigint, OUT shared_blks_read bigint,
	OUT temp_blks_written bigint, OUT wal_bytes bigint, OUT known_calls bigint)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 1000
SET search_path = pg_catalog, pg_temp
SET jit = off -- most partitions that the planner counts are not read
AS $$
WITH grains AS MATERIALIZED (
	SELECT * FROM infra_monitor.history_grains('statement_samples', $1, $2, $3)
), parts AS (
	SELECT p.*
	FROM grains g
		-- each a scan of its own, of those partitions that it needs
		CROSS JOIN LATERAL (
			SELECT s.userid IS NULL AS is_other, s.queryid, s.datname, s.usename, max(s.dbid) AS dbid,
				sum(s.calls) AS calls, sum((s.exec_time * 1e6)::bigint) AS exec_ns, infra_monitor.sum(s.latency) AS latency,
				sum(s.rows) AS rows, sum(s.failures) AS failures, sum((s.failed_time * 1e6)::bigint) AS failed_ns,
				sum(s.shared_blks_hit) AS shared_blks_hit, sum(s.shared_blks_read) AS shared_blks_read,
				sum(s.temp_blks_written) AS temp_blks_written, sum(s.wal_bytes) AS wal_bytes,
				sum(CASE WHEN s.rows IS NOT NULL THEN s.calls ELSE 0 END) AS known_calls
			FROM infra_monitor.statement_samples s
			WHERE g.grain = 'sample' AND s.sampled_at >= g.from_at AND s.sampled_at < g.until_at
			GROUP BY s.userid IS NULL, s.queryid, s.datname, s.usename
			UNION ALL
			SELECT h.userid IS NULL, h.queryid, h.datname, h.usename, max(h.dbid),
				sum(h.calls), sum((h.exec_time * 1e6)::bigint), infra_monitor.sum(h.latency),
				sum(h.rows), sum(h.failures), sum((h.failed_time * 1e6)::bigint),
				sum(h.shared_blks_hit), sum(h.shared_blks_read),
				sum(h.temp_blks_written), sum(h.wal_bytes), sum(h.known_calls)
			FROM infra_monitor.statement_samples_hourly h
			WHERE g.grain = 'hour' AND h.begins_at >= g.from_at AND h.begins_at < g.until_at
			GROUP BY h.userid IS NULL, h.queryid, h.datname, h.usename
			UNION ALL
			SELECT d.userid IS NULL, d.queryid, d.datname, d.usename, max(d.dbid),
				sum(d.calls), sum((d.exec_time * 1e6)::bigint), infra_monitor.sum(d.latency),
				sum(d.rows), sum(d.failures), sum((d.failed_time * 1e6)::bigint),
				sum(d.shared_blks_hit), sum(d.shared_blks_read),
				sum(d.temp_blks_written), sum(d.wal_bytes), sum(d.known_calls)
			FROM infra_monitor.statement_samples_daily d
			WHERE g.grain = 'day' AND d.begins_at >= g.from_at AND d.begins_at < g.until_at
			GROUP BY d.userid IS NULL, d.queryid, d.datname, d.usename
		) p
)
SELECT p.is_other, p.queryid, p.datname, p.usename, max(p.dbid), sum(p.calls)::bigint, (sum(p.exec_ns) / 1e6)::float8,
	infra_monitor.sum(p.latency), sum(p.rows)::bigint, sum(p.failures)::bigint, (sum(p.failed_ns) / 1e6)::float8,
	sum(p.shared_blks_hit)::bigint, sum(p.shared_blks_read)::bigint, sum(p.temp_blks_written)::bigint,
	sum(p.wal_bytes)::bigint, sum(p.known_calls)::bigint
FROM parts p
GROUP BY p.is_other, p.queryid, p.datname, p.usename
$$;
COMMENT ON FUNCTION infra_monitor.stored_statements(timestamptz, timestamptz, interval) IS
'source of top_statements() and query_regressions(): statement_samples and its rollups from since until before until added up, rollups of what fits into the step; is_other: all statements without a row of their own; known_calls: calls of which rows and what else pg_stat_statements counts are known; for pg_monitor';

CREATE FUNCTION infra_monitor.statement_text(queryid bigint, dbid oid)
RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(
	(SELECT t.query FROM infra_monitor.statement_texts t
	WHERE t.queryid = $1 AND t.dbid = $2 ORDER BY t.first_seen DESC LIMIT 1),
	(SELECT t.query FROM infra_monitor.statement_texts_monthly t
	WHERE t.queryid = $1 AND t.dbid = $2 ORDER BY t.first_seen DESC LIMIT 1))
$$;
COMMENT ON FUNCTION infra_monitor.statement_text(bigint, oid) IS
'text of a statement, the youngest that is stored; NULL if there is none; for pg_read_all_stats';

-- the rows of top_statements(), for arguments that are known to be good
CREATE FUNCTION infra_monitor.ranked_statements(
	since timestamptz, until timestamptz, order_by text, n int, step interval,
	OUT rank int, OUT queryid bigint, OUT datname text, OUT usename text,
	OUT calls bigint, OUT exec_time float8, OUT share float8,
	OUT p50_time float8, OUT p95_time float8, OUT p99_time float8,
	OUT rows bigint, OUT failures bigint, OUT failed_time float8,
	OUT shared_blks_read bigint, OUT temp_blks_written bigint,
	OUT wal_bytes bigint, OUT query text)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 21
SET search_path = pg_catalog, pg_temp
AS $$
WITH statements AS MATERIALIZED (
	SELECT * FROM infra_monitor.stored_statements($1, $2, $5)
), measured AS (
	SELECT s.*, CASE $3
		WHEN 'exec_time' THEN s.exec_time
		WHEN 'calls' THEN s.calls
		WHEN 'failed_time' THEN s.failed_time
		WHEN 'p95_time' THEN infra_monitor.quantile(s.latency, 0.95)
		WHEN 'rows' THEN s.rows
		WHEN 'shared_blks_read' THEN s.shared_blks_read
		WHEN 'temp_blks_written' THEN s.temp_blks_written
		WHEN 'wal_bytes' THEN s.wal_bytes
		END AS measure
	FROM statements s
), numbered AS (
	SELECT m.*, row_number() OVER (PARTITION BY m.is_other
		ORDER BY m.measure DESC NULLS LAST, m.exec_time DESC, m.queryid, m.datname, m.usename) AS place
	FROM measured m
), listed AS (
	SELECT CASE WHEN NOT p.is_other AND p.place <= $4 THEN p.place END::int AS rank,
		p.queryid, p.datname, p.usename, p.dbid, p.calls, p.exec_time, p.latency, p.rows, p.failures,
		p.failed_time, p.shared_blks_read, p.temp_blks_written, p.wal_bytes,
		CASE $3 WHEN 'p95_time' THEN p.exec_time ELSE p.measure END AS part
	FROM numbered p
), folded AS (
	SELECT l.rank,
		CASE WHEN l.rank IS NOT NULL THEN l.queryid END AS queryid,
		CASE WHEN l.rank IS NOT NULL THEN l.datname END AS datname,
		CASE WHEN l.rank IS NOT NULL THEN l.usename END AS usename,
		max(l.dbid) AS dbid, sum(l.calls)::bigint AS calls, sum(l.exec_time) AS exec_time,
		infra_monitor.sum(l.latency) AS latency, sum(l.rows)::bigint AS rows, sum(l.failures)::bigint AS failures,
		sum(l.failed_time) AS failed_time, sum(l.shared_blks_read)::bigint AS shared_blks_read,
		sum(l.temp_blks_written)::bigint AS temp_blks_written, sum(l.wal_bytes)::bigint AS wal_bytes,
		sum(l.part) AS part
	FROM listed l
	GROUP BY 1, 2, 3, 4
)
SELECT f.rank, f.queryid, f.datname, f.usename, f.calls, f.exec_time,
	f.part / nullif(sum(f.part) OVER (), 0),
	infra_monitor.quantile(f.latency, 0.50), infra_monitor.quantile(f.latency, 0.95),
	infra_monitor.quantile(f.latency, 0.99), f.rows, f.failures, f.failed_time, f.shared_blks_read,
	f.temp_blks_written, f.wal_bytes,
	CASE WHEN f.rank IS NULL THEN 'other' ELSE infra_monitor.statement_text(f.queryid, f.dbid) END
FROM folded f
ORDER BY f.rank NULLS LAST
$$;
COMMENT ON FUNCTION infra_monitor.ranked_statements(timestamptz, timestamptz, text, int, interval) IS
'source of top_statements(), which checks the arguments; for pg_monitor';

CREATE FUNCTION infra_monitor.top_statements(
	since timestamptz, until timestamptz DEFAULT pg_catalog.now(),
	order_by text DEFAULT 'exec_time', n int DEFAULT 20,
	OUT rank int, OUT queryid bigint, OUT datname text, OUT usename text,
	OUT calls bigint, OUT exec_time float8, OUT share float8,
	OUT p50_time float8, OUT p95_time float8, OUT p99_time float8,
	OUT rows bigint, OUT failures bigint, OUT failed_time float8,
	OUT shared_blks_read bigint, OUT temp_blks_written bigint,
	OUT wal_bytes bigint, OUT query text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 21
SET search_path = pg_catalog, pg_temp
AS $$
SELECT * FROM infra_monitor.ranked_statements($1, $2, infra_monitor.top_statements_order($3, $4), $4,
	infra_monitor.span_step($1, $2))
$$;
COMMENT ON FUNCTION infra_monitor.top_statements(timestamptz, timestamptz, text, int) IS
'the first n statements from since until before until, as stored in statement_samples, by one of exec_time, calls, failed_time, p95_time, rows, shared_blks_read, temp_blks_written and wal_bytes; the last row, without a rank, is all others, so that the sums are right; share: of the sum of that column, of exec_time where it is p95_time; times in ms, percentiles off by 14.3 percent at most; rows, shared_blks_read, temp_blks_written and wal_bytes are sums of what is known, NULL if nothing is; query NULL if its text was never to be had; whole hours, and whole days of a span longer than six, are read from the rollups, in which a statement that was not among the first of its hour is one of the others; error for any other order_by, an n that is not positive, a span that makes no sense, and one of which nothing is kept; for pg_monitor';

-- what statement_samples and wait_samples say of the statements in a span
CREATE FUNCTION infra_monitor.statements_between(
	since timestamptz, until timestamptz, step interval,
	OUT queryid bigint, OUT datname text, OUT usename text, OUT dbid oid,
	OUT calls bigint, OUT exec_time float8, OUT p95_time float8,
	OUT latency infra_monitor.histogram, OUT failure_rate float8, OUT rows_rate float8, OUT blocks_rate float8,
	OUT temp_rate float8, OUT lock_wait_rate float8)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 1000
SET search_path = pg_catalog, pg_temp
SET jit = off -- most partitions that the planner counts are not read
AS $$
WITH lock_waits AS (
	SELECT p.queryid, p.datname, sum(p.observations)::float8 AS observations
	FROM infra_monitor.history_grains('wait_samples', $1, $2, $3, false) g
		CROSS JOIN LATERAL (
			(SELECT w.queryid, w.datname, w.observations FROM infra_monitor.wait_samples w
			WHERE g.grain = 'sample' AND w.sampled_at >= g.from_at AND w.sampled_at < g.until_at
				AND w.wait_event_type = 'Lock' OFFSET 0)
			UNION ALL
			(SELECT h.queryid, h.datname, h.observations FROM infra_monitor.wait_samples_hourly h
			WHERE g.grain = 'hour' AND h.begins_at >= g.from_at AND h.begins_at < g.until_at
				AND h.wait_event_type = 'Lock' OFFSET 0)
			UNION ALL
			(SELECT d.queryid, d.datname, d.observations FROM infra_monitor.wait_samples_daily d
			WHERE g.grain = 'day' AND d.begins_at >= g.from_at AND d.begins_at < g.until_at
				AND d.wait_event_type = 'Lock' OFFSET 0)
		) p
	GROUP BY p.queryid, p.datname
), statements AS MATERIALIZED (
	SELECT s.*, (s.shared_blks_hit + s.shared_blks_read)::float8 AS blocks
	FROM infra_monitor.stored_statements($1, $2, $3) s
	WHERE s.queryid IS NOT NULL
), calls_of_all AS (
	-- waits do not know the role
	SELECT s.queryid, s.datname, sum(s.calls + s.failures) AS executions
	FROM statements s
	GROUP BY s.queryid, s.datname
)
SELECT s.queryid, s.datname, s.usename, s.dbid, s.calls, s.exec_time,
	infra_monitor.quantile(s.latency, 0.95), s.latency,
	s.failures::float8 / nullif(s.calls + s.failures, 0), s.rows::float8 / nullif(s.known_calls, 0),
	s.blocks / nullif(s.known_calls, 0), s.temp_blks_written::float8 / nullif(s.known_calls, 0),
	coalesce(w.observations, 0) / nullif(a.executions, 0)
FROM statements s
	JOIN calls_of_all a ON a.queryid = s.queryid AND a.datname IS NOT DISTINCT FROM s.datname
	LEFT JOIN lock_waits w ON w.queryid = s.queryid AND w.datname = s.datname
$$;
COMMENT ON FUNCTION infra_monitor.statements_between(timestamptz, timestamptz, interval) IS
'source of query_regressions(): each statement with a row in statement_samples, or in its rollups, from since until before until; the rates are per execution, NULL if not known; for pg_monitor';

CREATE FUNCTION infra_monitor.query_regressions(
	baseline_since timestamptz, baseline_until timestamptz,
	recent_since timestamptz, recent_until timestamptz,
	min_calls int DEFAULT 20, factor float8 DEFAULT 1.5,
	OUT queryid bigint, OUT datname text, OUT usename text, OUT calls bigint,
	OUT baseline_p95_time float8, OUT recent_p95_time float8,
	OUT ratio float8, OUT extra_time float8, OUT cause text, OUT query text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
WITH steps AS MATERIALIZED (
	SELECT infra_monitor.span_step($1, $2) AS baseline, infra_monitor.span_step($3, $4) AS recent
), grown AS (
	SELECT r.queryid, r.datname, r.usename, r.dbid, r.calls, b.p95_time AS baseline_p95_time,
		r.p95_time AS recent_p95_time, r.p95_time / b.p95_time AS ratio,
		r.exec_time - r.calls * (b.exec_time / b.calls) AS extra_time, c.cause
	FROM steps
		CROSS JOIN LATERAL infra_monitor.statements_between($1, $2, steps.baseline) b
		JOIN LATERAL infra_monitor.statements_between($3, $4, steps.recent) r
			ON r.queryid = b.queryid AND r.datname IS NOT DISTINCT FROM b.datname
				AND r.usename IS NOT DISTINCT FROM b.usename
		CROSS JOIN LATERAL (
			SELECT string_agg(m.name, ', ' ORDER BY m.recent / nullif(m.baseline, 0) DESC NULLS FIRST, m.name) AS cause
			FROM (VALUES
				('rows per call', b.rows_rate, r.rows_rate, 1::float8),
				('blocks per call', b.blocks_rate, r.blocks_rate, 1),
				('temporary blocks per call', b.temp_rate, r.temp_rate, 1),
				('failures', b.failure_rate, r.failure_rate, 0.01),
				('lock waits', b.lock_wait_rate, r.lock_wait_rate, 0)
			) AS m (name, baseline, recent, least)
			WHERE m.recent > m.baseline * $6 AND m.recent - m.baseline >= m.least
		) c
	WHERE b.calls >= greatest($5, 1) AND r.calls >= greatest($5, 1) AND r.p95_time >= b.p95_time * $6
		-- chance: of n calls, the share that is faster than the true p95 is 0.95, give or take three standard deviations
		AND infra_monitor.quantile(r.latency, greatest(0.95 - 3 * sqrt(0.0475 / r.calls), 0))
			> infra_monitor.quantile(b.latency, least(0.95 + 3 * sqrt(0.0475 / b.calls), 1))
)
SELECT g.queryid, g.datname, g.usename, g.calls, g.baseline_p95_time, g.recent_p95_time, g.ratio, g.extra_time,
	g.cause, infra_monitor.statement_text(g.queryid, g.dbid)
FROM grown g
WHERE g.extra_time >= greatest(10, 0.001 * (
	SELECT sum(s.exec_time) FROM steps, infra_monitor.stored_statements($3, $4, steps.recent) s))
ORDER BY g.extra_time DESC
$$;
COMMENT ON FUNCTION infra_monitor.query_regressions(timestamptz, timestamptz, timestamptz, timestamptz, int, float8) IS
'statements with min_calls in both spans, as stored in statement_samples, of which p95 is greater by the factor in the recent one, certainly more than by chance (each p95 is known to three standard deviations), and that matters: extra_time is 10 ms and a thousandth of the time of all statements at least; calls: in the recent span; extra_time: what these took beyond the mean of the baseline, ms, the most first; cause: what else is greater by that factor per call, the most first, of rows per call, blocks per call, temporary blocks per call, failures and lock waits, NULL if nothing that is measured; query NULL if its text was never to be had; read as by top_statements(); error for a span that makes no sense, and one of which nothing is kept; for pg_monitor';
