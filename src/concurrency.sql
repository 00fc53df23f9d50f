
--
-- concurrency.sql: how many sessions were at work at once
--

CREATE FUNCTION infra_monitor.concurrency(
	lookback interval, OUT dbid oid, OUT userid oid, OUT looks bigint,
	OUT observed interval, OUT avg_active float8, OUT p95_active int,
	OUT p99_active int, OUT max_active int, OUT avg_held float8,
	OUT p95_held int, OUT p99_held int, OUT max_held int,
	OUT busiest_p99_held int)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_concurrency_1_0';
COMMENT ON FUNCTION infra_monitor.concurrency(interval) IS
'source of pool_size_advice(): how many sessions of clients were active, and how many held a connection (active or in a transaction), at once, seen each infra_monitor.activity_interval in the hours that began within lookback, at most 24: the server (dbid and userid NULL), then each database and role; busiest: of the hour in which it was highest; observed: the time that was looked at; numbers from 64 on are rounded up by at most an eighth, maxima are exact; error if lookback is less than an hour, and unless preloaded; for pg_monitor';

CREATE FUNCTION infra_monitor.concurrency_state(
	OUT pairs int, OUT evicted bigint, OUT dropped bigint)
RETURNS record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_concurrency_state_1_0';
COMMENT ON FUNCTION infra_monitor.concurrency_state() IS
'pairs of database and role whose concurrency is known, and, since the counters were reset, how many gave way to others, and how often one was seen that found no room; error unless preloaded; for pg_monitor';
