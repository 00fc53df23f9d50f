
--
-- rollups.sql: what is left of the history of an hour, and of a day
--

CREATE TABLE infra_monitor.samples_hourly (
	begins_at timestamptz NOT NULL,
	samples int NOT NULL,
	first_sampled_at timestamptz NOT NULL,
	last_sampled_at timestamptz NOT NULL,
	epochs int NOT NULL,
	first_epoch bigint NOT NULL,
	last_epoch bigint NOT NULL,
	warning_samples int NOT NULL,
	critical_samples int NOT NULL,
	degraded_samples int NOT NULL,
	unhealthy_samples int NOT NULL,
	max_connections int NOT NULL,
	reserved_connections int NOT NULL,
	used_connections_min int NOT NULL,
	used_connections_avg float8 NOT NULL,
	used_connections_max int NOT NULL,
	used_connections_last int NOT NULL,
	available_connections_min int NOT NULL,
	available_connections_avg float8 NOT NULL,
	available_connections_max int NOT NULL,
	available_connections_last int NOT NULL,
	used_ratio_min float8 NOT NULL,
	used_ratio_avg float8 NOT NULL,
	used_ratio_max float8 NOT NULL,
	used_ratio_last float8 NOT NULL,
	active_min int NOT NULL,
	active_avg float8 NOT NULL,
	active_max int NOT NULL,
	active_last int NOT NULL,
	idle_min int NOT NULL,
	idle_avg float8 NOT NULL,
	idle_max int NOT NULL,
	idle_last int NOT NULL,
	idle_in_transaction_min int NOT NULL,
	idle_in_transaction_avg float8 NOT NULL,
	idle_in_transaction_max int NOT NULL,
	idle_in_transaction_last int NOT NULL,
	waiting_min int NOT NULL,
	waiting_avg float8 NOT NULL,
	waiting_max int NOT NULL,
	waiting_last int NOT NULL,
	authenticating_min int NOT NULL,
	authenticating_avg float8 NOT NULL,
	authenticating_max int NOT NULL,
	authenticating_last int NOT NULL,
	avg_active_min float8 NOT NULL,
	avg_active_avg float8 NOT NULL,
	avg_active_max float8 NOT NULL,
	avg_active_last float8 NOT NULL,
	cpu_ratio_min float8,
	cpu_ratio_avg float8,
	cpu_ratio_max float8,
	cpu_ratio_last float8,
	memory_used_min bigint,
	memory_used_avg float8,
	memory_used_max bigint,
	memory_used_last bigint,
	disk_used_min bigint,
	disk_used_avg float8,
	disk_used_max bigint,
	disk_used_last bigint,
	health_score_min float8,
	health_score_avg float8,
	health_score_max float8,
	health_score_last float8,
	memory_total bigint,
	disk_total bigint,
	peak_connections int NOT NULL,
	oldest_transaction interval,
	oldest_idle_in_transaction interval,
	connects bigint,
	rejected bigint,
	commits bigint,
	rollbacks bigint,
	blks_hit bigint,
	blks_read bigint,
	temp_bytes bigint,
	deadlocks bigint,
	wal_bytes bigint,
	collect_time_avg float8 NOT NULL,
	collect_time_max float8 NOT NULL,
	latency infra_monitor.histogram,
	elapsed_time float8,
	available_time float8 NOT NULL
) PARTITION BY RANGE (begins_at);
COMMENT ON TABLE infra_monitor.samples_hourly IS
'samples of an hour (UTC) merged into one row: of numbers the least, average, greatest and last, sums of what is counted; an hour without samples has none; in partitions by UTC month, kept for infra_monitor.rollup_retention; not dumped; written by the sampler and roll_up() only; for pg_monitor';
COMMENT ON COLUMN infra_monitor.samples_hourly.begins_at IS 'when the hour began';
COMMENT ON COLUMN infra_monitor.samples_hourly.samples IS 'how many it is made of: 360 an hour at defaults, fewer where some are missing';
COMMENT ON COLUMN infra_monitor.samples_hourly.epochs IS 'how many epochs these are of: with more than one, counters began anew meanwhile';
COMMENT ON COLUMN infra_monitor.samples_hourly.warning_samples IS 'those in which status of the pool was warning';
COMMENT ON COLUMN infra_monitor.samples_hourly.critical_samples IS 'those in which it was critical';
COMMENT ON COLUMN infra_monitor.samples_hourly.degraded_samples IS 'those in which health_status was degraded';
COMMENT ON COLUMN infra_monitor.samples_hourly.unhealthy_samples IS 'those in which it was unhealthy';
COMMENT ON COLUMN infra_monitor.samples_hourly.max_connections IS 'of the last of them, as reserved_connections, memory_total and disk_total';
COMMENT ON COLUMN infra_monitor.samples_hourly.avg_active_avg IS 'of samples without avg_active, their active counts, as in the three others';
COMMENT ON COLUMN infra_monitor.samples_hourly.peak_connections IS 'the greatest, as oldest_transaction and oldest_idle_in_transaction';
COMMENT ON COLUMN infra_monitor.samples_hourly.connects IS 'sum, as the columns to wal_bytes: of what is known, NULL if nothing is';
COMMENT ON COLUMN infra_monitor.samples_hourly.latency IS 'times of all their statements';
COMMENT ON COLUMN infra_monitor.samples_hourly.elapsed_time IS 'sum, of samples that know what has been counted since the one before: what rates are to be computed with, ms; NULL if none does';
COMMENT ON COLUMN infra_monitor.samples_hourly.available_time IS 'time of that hour in which there was no gap and the server was not unhealthy, ms';

CREATE INDEX samples_hourly_begins_at_idx ON infra_monitor.samples_hourly (begins_at);
COMMENT ON INDEX infra_monitor.samples_hourly_begins_at_idx IS 'finds an hour';

CREATE TABLE infra_monitor.samples_daily (LIKE infra_monitor.samples_hourly INCLUDING COMMENTS)
PARTITION BY RANGE (begins_at);
COMMENT ON TABLE infra_monitor.samples_daily IS
'the same for a day (UTC), merged from samples_hourly; averages are weighted by the number of samples; for pg_monitor';
COMMENT ON COLUMN infra_monitor.samples_daily.begins_at IS 'when the day began';
COMMENT ON COLUMN infra_monitor.samples_daily.samples IS 'how many it is made of: 8640 a day at defaults, fewer where some are missing';

CREATE INDEX samples_daily_begins_at_idx ON infra_monitor.samples_daily (begins_at);
COMMENT ON INDEX infra_monitor.samples_daily_begins_at_idx IS 'finds a day';

CREATE TABLE infra_monitor.statement_samples_hourly (
	begins_at timestamptz NOT NULL,
	samples int NOT NULL,
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
	known_calls bigint NOT NULL,
	latency infra_monitor.histogram NOT NULL
) PARTITION BY RANGE (begins_at);
COMMENT ON TABLE infra_monitor.statement_samples_hourly IS
'statement_samples of an hour (UTC) merged: a row for each of infra_monitor.top_statements statements, those that came first by time, calls, time of failures or p95, and one without userid for all others, so that the sum is right; an hour without samples has none; in partitions by UTC month, kept for infra_monitor.rollup_retention; not dumped; written by the sampler and roll_up() only; for pg_monitor';
COMMENT ON COLUMN infra_monitor.statement_samples_hourly.begins_at IS 'when the hour began';
COMMENT ON COLUMN infra_monitor.statement_samples_hourly.samples IS 'samples in which it had a row of its own; where userid is NULL, in which there was one for all others: all of them';
COMMENT ON COLUMN infra_monitor.statement_samples_hourly.userid IS 'NULL: all statements without a row of their own';
COMMENT ON COLUMN infra_monitor.statement_samples_hourly.rows IS 'of what is known, as in the columns to wal_bytes; NULL if nothing is';
COMMENT ON COLUMN infra_monitor.statement_samples_hourly.known_calls IS 'calls of which the columns from rows to wal_bytes are known';

CREATE INDEX statement_samples_hourly_begins_at_idx ON infra_monitor.statement_samples_hourly (begins_at);
COMMENT ON INDEX infra_monitor.statement_samples_hourly_begins_at_idx IS 'finds an hour';

CREATE INDEX statement_samples_hourly_queryid_idx ON infra_monitor.statement_samples_hourly (queryid, begins_at);
COMMENT ON INDEX infra_monitor.statement_samples_hourly_queryid_idx IS 'finds the history of a statement';

CREATE TABLE infra_monitor.statement_samples_daily (LIKE infra_monitor.statement_samples_hourly INCLUDING COMMENTS)
PARTITION BY RANGE (begins_at);
COMMENT ON TABLE infra_monitor.statement_samples_daily IS
'the same for a day (UTC), merged from statement_samples_hourly; for pg_monitor';
COMMENT ON COLUMN infra_monitor.statement_samples_daily.begins_at IS 'when the day began';

CREATE INDEX statement_samples_daily_begins_at_idx ON infra_monitor.statement_samples_daily (begins_at);
COMMENT ON INDEX infra_monitor.statement_samples_daily_begins_at_idx IS 'finds a day';

CREATE INDEX statement_samples_daily_queryid_idx ON infra_monitor.statement_samples_daily (queryid, begins_at);
COMMENT ON INDEX infra_monitor.statement_samples_daily_queryid_idx IS 'finds the history of a statement';

CREATE TABLE infra_monitor.statement_texts_monthly (
	first_seen timestamptz NOT NULL,
	queryid bigint NOT NULL,
	dbid oid NOT NULL,
	query text NOT NULL
) PARTITION BY RANGE (first_seen);
COMMENT ON TABLE infra_monitor.statement_texts_monthly IS
'texts of the statements in statement_samples_daily, from statement_texts; stored once a month (UTC), and kept as long as the rollups of that month; not dumped; for pg_read_all_stats';
COMMENT ON COLUMN infra_monitor.statement_texts_monthly.first_seen IS 'beginning of the first day of this month on which it has a row in statement_samples_daily';

CREATE INDEX statement_texts_monthly_queryid_idx ON infra_monitor.statement_texts_monthly (queryid, dbid);
COMMENT ON INDEX infra_monitor.statement_texts_monthly_queryid_idx IS 'finds the text of a statement';

CREATE TABLE infra_monitor.wait_samples_hourly (
	begins_at timestamptz NOT NULL,
	samples int NOT NULL,
	datname text,
	wait_event_type text,
	wait_event text,
	queryid bigint,
	observations bigint NOT NULL,
	looks bigint NOT NULL
) PARTITION BY RANGE (begins_at);
COMMENT ON TABLE infra_monitor.wait_samples_hourly IS
'wait_samples of an hour (UTC) merged; one row without an event if nobody was active; an hour without samples has none; in partitions by UTC month, kept for infra_monitor.rollup_retention; not dumped; written by the sampler and roll_up() only; for pg_monitor';
COMMENT ON COLUMN infra_monitor.wait_samples_hourly.begins_at IS 'when the hour began';
COMMENT ON COLUMN infra_monitor.wait_samples_hourly.samples IS 'writings that it is made of, the same in all rows of an hour';
COMMENT ON COLUMN infra_monitor.wait_samples_hourly.datname IS 'NULL if the database had been dropped, and for what was seen so seldom that it is none of the first 1000 rows';
COMMENT ON COLUMN infra_monitor.wait_samples_hourly.wait_event_type IS 'as in wait_profile; NULL: nobody was active';
COMMENT ON COLUMN infra_monitor.wait_samples_hourly.queryid IS 'NULL: not known, or none of the 100 most often seen, those are counted together';
COMMENT ON COLUMN infra_monitor.wait_samples_hourly.looks IS 'looks at the sessions in that hour, the same in all rows of it; observations / looks is the average number of sessions';

CREATE INDEX wait_samples_hourly_begins_at_idx ON infra_monitor.wait_samples_hourly (begins_at);
COMMENT ON INDEX infra_monitor.wait_samples_hourly_begins_at_idx IS 'finds an hour';

CREATE TABLE infra_monitor.wait_samples_daily (LIKE infra_monitor.wait_samples_hourly INCLUDING COMMENTS)
PARTITION BY RANGE (begins_at);
COMMENT ON TABLE infra_monitor.wait_samples_daily IS
'the same for a day (UTC), merged from wait_samples_hourly; for pg_monitor';
COMMENT ON COLUMN infra_monitor.wait_samples_daily.begins_at IS 'when the day began';

CREATE INDEX wait_samples_daily_begins_at_idx ON infra_monitor.wait_samples_daily (begins_at);
COMMENT ON INDEX infra_monitor.wait_samples_daily_begins_at_idx IS 'finds a day';

--
-- reading them
--

CREATE FUNCTION infra_monitor.history_grains(
	history text, since timestamptz, until timestamptz, step interval,
	required boolean DEFAULT true,
	OUT grain text, OUT from_at timestamptz, OUT until_at timestamptz, OUT fits boolean)
RETURNS SETOF record
LANGUAGE c STABLE STRICT PARALLEL SAFE ROWS 5
AS 'MODULE_PATHNAME', 'imon_history_grains_1_0';
COMMENT ON FUNCTION infra_monitor.history_grains(text, timestamptz, timestamptz, interval, boolean) IS
'from where to read a span of samples, statement_samples or wait_samples in buckets of a step: spans without overlap of grain sample (that table), hour or day (its rollups); hours and days only where they fit into the buckets, or nothing finer is kept, and then whole ones; if required, error if nothing is kept of the span, but of others; for pg_monitor';
