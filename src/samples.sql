
--
-- samples.sql: history
--

CREATE TABLE infra_monitor.samples (
	sampled_at timestamptz NOT NULL,
	epoch bigint NOT NULL,
	status text NOT NULL,
	max_connections int NOT NULL,
	reserved_connections int NOT NULL,
	used_connections int NOT NULL,
	available_connections int NOT NULL,
	used_ratio float8 NOT NULL,
	active int NOT NULL,
	idle int NOT NULL,
	idle_in_transaction int NOT NULL,
	waiting int NOT NULL,
	peak_connections int NOT NULL,
	peak_at timestamptz NOT NULL,
	connects_total bigint NOT NULL,
	disconnects_total bigint NOT NULL,
	rejected_total bigint NOT NULL,
	auth_failures_total bigint NOT NULL,
	oldest_transaction interval,
	oldest_idle_in_transaction interval,
	stats_reset timestamptz NOT NULL,
	authenticating int NOT NULL,
	connects bigint,
	rejected bigint,
	commits bigint,
	rollbacks bigint,
	blks_hit bigint,
	blks_read bigint,
	temp_bytes bigint,
	deadlocks bigint,
	wal_bytes bigint,
	avg_active float8,
	cpu_ratio float8,
	memory_used bigint,
	memory_total bigint,
	disk_used bigint,
	disk_total bigint,
	health_status text,
	health_score float8,
	latency infra_monitor.histogram,
	collect_time float8 NOT NULL,
	sample_interval interval,
	elapsed_time float8
) PARTITION BY RANGE (sampled_at);
COMMENT ON TABLE infra_monitor.samples IS
'one row each infra_monitor.sample_interval, in partitions by UTC day, kept for infra_monitor.retention; differences are NULL where they would cross an epoch; not dumped; written by the sampler and take_sample() only; for pg_monitor';
COMMENT ON COLUMN infra_monitor.samples.epoch IS
'changes whenever counters begin anew (server start, crash, reset, promotion, upgrade); compare for equality only';
COMMENT ON COLUMN infra_monitor.samples.connects IS 'connections established since the sample before';
COMMENT ON COLUMN infra_monitor.samples.rejected IS 'connections refused since the sample before, without authentication failures';
COMMENT ON COLUMN infra_monitor.samples.commits IS 'transactions committed since the sample before, in all databases; NULL if a database was dropped meanwhile, also in the columns to deadlocks';
COMMENT ON COLUMN infra_monitor.samples.rollbacks IS 'transactions rolled back since the sample before';
COMMENT ON COLUMN infra_monitor.samples.blks_hit IS 'blocks found in shared buffers since the sample before';
COMMENT ON COLUMN infra_monitor.samples.blks_read IS 'blocks read since the sample before';
COMMENT ON COLUMN infra_monitor.samples.temp_bytes IS 'bytes written to temporary files since the sample before';
COMMENT ON COLUMN infra_monitor.samples.deadlocks IS 'deadlocks since the sample before';
COMMENT ON COLUMN infra_monitor.samples.wal_bytes IS 'bytes of write-ahead log since the sample before';
COMMENT ON COLUMN infra_monitor.samples.avg_active IS 'average number of active sessions since the sample before, seen each infra_monitor.activity_interval';
COMMENT ON COLUMN infra_monitor.samples.cpu_ratio IS 'busy share of all processors, about since the sample before';
COMMENT ON COLUMN infra_monitor.samples.memory_used IS 'memory of the machine that programs cannot get, bytes';
COMMENT ON COLUMN infra_monitor.samples.memory_total IS 'memory of the machine, bytes';
COMMENT ON COLUMN infra_monitor.samples.disk_used IS 'bytes used in the file system of the data directory';
COMMENT ON COLUMN infra_monitor.samples.disk_total IS 'bytes in the file system of the data directory';
COMMENT ON COLUMN infra_monitor.samples.health_status IS 'status of the last evaluation of the health checks';
COMMENT ON COLUMN infra_monitor.samples.health_score IS 'its score, 0 to 10';
COMMENT ON COLUMN infra_monitor.samples.latency IS 'times of the statements that completed since the sample before, of those that infra_monitor.track has counted';
COMMENT ON COLUMN infra_monitor.samples.collect_time IS 'time it took to collect this row, ms';
COMMENT ON COLUMN infra_monitor.samples.sample_interval IS 'infra_monitor.sample_interval, within which the sampler was to take the next; NULL: by take_sample()';
COMMENT ON COLUMN infra_monitor.samples.elapsed_time IS 'time since the sample before, by a clock that is never set, ms: what rates are to be computed with; NULL after a start';

CREATE INDEX samples_sampled_at_idx ON infra_monitor.samples
	USING brin (sampled_at) WITH (pages_per_range = 16, autosummarize = on);
COMMENT ON INDEX infra_monitor.samples_sampled_at_idx IS
'finds a part of a day; whole days are found by their partitions';

CREATE TABLE infra_monitor.epochs (
	sampled_at timestamptz NOT NULL,
	epoch bigint NOT NULL,
	number bigint NOT NULL,
	started_at timestamptz NOT NULL,
	initialized_at timestamptz NOT NULL,
	timeline bigint NOT NULL,
	server_version text NOT NULL,
	pool_reset timestamptz NOT NULL,
	statements_reset timestamptz NOT NULL,
	statistics_reset timestamptz
) PARTITION BY RANGE (sampled_at);
COMMENT ON TABLE infra_monitor.epochs IS
'what the epochs in samples are made of: a row with the first sample of each, and with its first of each UTC day, in partitions by day, kept for infra_monitor.retention; see changes(); not dumped; written with samples only; for pg_monitor';
COMMENT ON COLUMN infra_monitor.epochs.number IS 'greater in each row than in those that were written before, whatever the clock said';
COMMENT ON COLUMN infra_monitor.epochs.started_at IS 'when the server was started';
COMMENT ON COLUMN infra_monitor.epochs.initialized_at IS 'when its shared memory was: later than started_at if it has crashed since';
COMMENT ON COLUMN infra_monitor.epochs.timeline IS 'of the write-ahead log; another one after each promotion';
COMMENT ON COLUMN infra_monitor.epochs.pool_reset IS 'reset() of the counters of connections, or when they began';
COMMENT ON COLUMN infra_monitor.epochs.statements_reset IS 'the same of the counts of statements';
COMMENT ON COLUMN infra_monitor.epochs.statistics_reset IS 'last reset of pg_stat_database or pg_stat_wal; the epoch knows each';

CREATE FUNCTION infra_monitor.take_sample()
RETURNS timestamptz
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'imon_take_sample_1_0';
COMMENT ON FUNCTION infra_monitor.take_sample() IS
'takes a sample now, in this transaction, and returns its time; waits for another writer up to lock_timeout; error on a standby, outside the home database, when there is no room for it (check history_size), and unless preloaded; for superusers, grantable';
