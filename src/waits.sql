
--
-- waits.sql: what active sessions were seen waiting for
--

CREATE FUNCTION infra_monitor.wait_counts(
	OUT dbid oid, OUT wait_event_type text, OUT wait_event text,
	OUT queryid bigint, OUT observations bigint, OUT stored bigint,
	OUT looks bigint)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_wait_counts_1_0';
COMMENT ON FUNCTION infra_monitor.wait_counts() IS
'source of the view wait_profile and of wait_samples; stored: observations that are in wait_samples; looks: how often the sessions were looked at; error unless preloaded; for pg_monitor, queryid needs pg_read_all_stats';

CREATE FUNCTION infra_monitor.wait_state(
	OUT stats_reset timestamptz, OUT looks bigint, OUT looks_stored bigint,
	OUT entries int, OUT without_query bigint, OUT dropped bigint)
RETURNS record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_wait_state_1_0';
COMMENT ON FUNCTION infra_monitor.wait_state() IS
'state of the wait sampling: since when it counts, looks at the sessions, entries in use, and, for lack of room, observations counted without their query or not at all; error unless preloaded; for pg_monitor';

CREATE VIEW infra_monitor.wait_profile AS
SELECT infra_monitor.shown(d.datname) AS datname, w.wait_event_type,
	w.wait_event, w.queryid,
	pg_catalog.sum(w.observations)::pg_catalog.int8 AS observations,
	(pg_catalog.sum(w.observations) OPERATOR(pg_catalog./) pg_catalog.sum(pg_catalog.sum(w.observations)) OVER ())::pg_catalog.float8 AS share,
	(pg_catalog.sum(w.observations) OPERATOR(pg_catalog./) pg_catalog.max(w.looks))::pg_catalog.float8 AS avg_active
FROM infra_monitor.wait_counts() w
	LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) w.dbid
GROUP BY d.datname, w.wait_event_type, w.wait_event, w.queryid;
COMMENT ON VIEW infra_monitor.wait_profile IS
'what active sessions of clients were seen waiting for each infra_monitor.activity_interval, since the counters were reset; error unless preloaded; for pg_monitor, queryid needs pg_read_all_stats';
COMMENT ON COLUMN infra_monitor.wait_profile.datname IS 'NULL if the database has been dropped';
COMMENT ON COLUMN infra_monitor.wait_profile.wait_event_type IS 'as in pg_stat_activity; CPU where that is NULL';
COMMENT ON COLUMN infra_monitor.wait_profile.wait_event IS 'as in pg_stat_activity; CPU: it was running, or waiting for something that PostgreSQL does not report';
COMMENT ON COLUMN infra_monitor.wait_profile.queryid IS 'NULL: not known, not to be seen, or one of those counted together for lack of room';
COMMENT ON COLUMN infra_monitor.wait_profile.observations IS 'how often an active session was seen so';
COMMENT ON COLUMN infra_monitor.wait_profile.share IS 'of all observations';
COMMENT ON COLUMN infra_monitor.wait_profile.avg_active IS 'sessions that were so, on average over all looks';

CREATE TABLE infra_monitor.wait_samples (
	sampled_at timestamptz NOT NULL,
	epoch bigint NOT NULL,
	datname text,
	wait_event_type text,
	wait_event text,
	queryid bigint,
	observations bigint NOT NULL,
	looks bigint NOT NULL
) PARTITION BY RANGE (sampled_at);
COMMENT ON TABLE infra_monitor.wait_samples IS
'what wait_profile has grown by, each infra_monitor.statement_interval, in partitions by UTC day, kept for infra_monitor.retention; one row without an event if nobody was active; not dumped; written by the sampler only; for pg_monitor';
COMMENT ON COLUMN infra_monitor.wait_samples.epoch IS
'as in samples; observations are counted from 0 after each reset and start';
COMMENT ON COLUMN infra_monitor.wait_samples.datname IS 'NULL if the database has been dropped';
COMMENT ON COLUMN infra_monitor.wait_samples.wait_event_type IS 'as in wait_profile; NULL: nobody was active';
COMMENT ON COLUMN infra_monitor.wait_samples.queryid IS 'NULL: not known, or none of the 100 most often seen of this writing, those are counted together';
COMMENT ON COLUMN infra_monitor.wait_samples.observations IS 'since the writing before; also from before a writing that failed, so that none is lost';
COMMENT ON COLUMN infra_monitor.wait_samples.looks IS 'looks at the sessions since the writing before; observations / looks is the average number of sessions';

CREATE INDEX wait_samples_sampled_at_idx ON infra_monitor.wait_samples
	USING brin (sampled_at) WITH (pages_per_range = 16, autosummarize = on);
COMMENT ON INDEX infra_monitor.wait_samples_sampled_at_idx IS
'finds a part of a day; whole days are found by their partitions';
