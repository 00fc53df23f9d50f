--
-- History of the waits: wait_history()
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS infra_monitor CASCADE;
RESET client_min_messages;
SET timezone = 'UTC';
SET intervalstyle = postgres;
\set SHOW_CONTEXT never

-- a day made up, as if each minute had 60 looks
BEGIN;
CREATE TABLE infra_monitor.made_up PARTITION OF infra_monitor.wait_samples FOR VALUES FROM ('2000-01-01') TO ('2000-01-02');
CREATE TABLE infra_monitor.made_up_too PARTITION OF infra_monitor.wait_samples FOR VALUES FROM ('2000-01-02') TO ('2000-01-03');
CREATE TABLE infra_monitor.made_up_last PARTITION OF infra_monitor.wait_samples FOR VALUES FROM ('2000-01-03') TO ('2000-01-04');
INSERT INTO infra_monitor.wait_samples (sampled_at, epoch, datname, wait_event_type, wait_event, queryid, observations, looks)
VALUES
	('2000-01-01 10:00:00', 1, 'work', 'CPU', 'CPU', 1, 30, 60),
	('2000-01-01 10:00:00', 1, 'work', 'CPU', 'CPU', 2, 15, 60),
	('2000-01-01 10:00:00', 1, 'play', 'CPU', 'CPU', 1, 15, 60),
	('2000-01-01 10:00:00', 1, 'work', 'Lock', 'relation', 2, 120, 60),
	('2000-01-01 10:01:00', 1, 'work', 'IO', 'DataFileRead', NULL, 6, 60),
	('2000-01-01 10:02:00', 1, NULL, NULL, NULL, NULL, 0, 60),
	('2000-01-01 10:03:00', 2, NULL, NULL, NULL, NULL, 0, 20),
	('2000-01-01 10:04:59.999999', 2, 'work', 'Lock', 'relation', 2, 20, 40),
	('2000-01-01 10:04:59.999999', 2, 'work', 'Lock', 'tuple', 2, 20, 40),
	('2000-01-01 10:05:00', 2, 'work', 'CPU', 'CPU', 1, 1, 10),
	('2000-01-02 10:00:00', 2, 'work', 'CPU', 'CPU', 1, 8, 10),
	('2000-01-03 10:00:00', 2, 'work', 'CPU', 'CPU', 1, 8, 10);

-- by the minute: one in which nobody was active, and then four hours nobody looked
SELECT * FROM infra_monitor.wait_history('2000-01-01 10:00', '2000-01-01 14:05', '1 minute');

-- the idle minutes count in the average, and each look once
SELECT * FROM infra_monitor.wait_history('2000-01-01 10:00', '2000-01-01 10:05', '5 minutes');

-- average active sessions, as samples have them: all events together
SELECT bucket, sum(active_avg) AS active_avg
FROM infra_monitor.wait_history('2000-01-01 10:00', '2000-01-01 10:05', '5 minutes')
GROUP BY bucket;

-- since is in, until is not
SELECT bucket, wait_event, active_avg FROM infra_monitor.wait_history('2000-01-01 10:01', '2000-01-01 10:04:59.999999', '1 day');
SELECT count(*) FROM infra_monitor.wait_history('2000-01-01 10:00', '2000-01-01 10:00', '1 minute');

-- buckets stand still, in whatever time zone; the step is chosen
SET timezone = 'Asia/Kolkata';
SELECT bucket AT TIME ZONE 'UTC' AS bucket, wait_event, active_avg
FROM infra_monitor.wait_history('2000-01-01 10:01+00', '2000-01-03 00:00+00', '1 day');
SET timezone = 'UTC';
SELECT DISTINCT bucket FROM infra_monitor.wait_history('2000-01-01', '2000-01-02') ORDER BY 1;

-- until now, unless said otherwise
SELECT count(DISTINCT bucket) > 0 AS some FROM infra_monitor.wait_history('2000-01-01') WHERE bucket < '2000-02-01';

-- reads no partition that it need not; the first one to see what is kept
CREATE TEMP TABLE scans_before AS
SELECT relid, seq_scan + coalesce(idx_scan, 0) AS scans FROM pg_stat_xact_user_tables;
SELECT count(*) FROM infra_monitor.wait_history('2000-01-02', '2000-01-03');
SELECT t.relname FROM pg_stat_xact_user_tables t
	JOIN pg_inherits i ON i.inhrelid = t.relid AND i.inhparent = 'infra_monitor.wait_samples'::regclass
	LEFT JOIN scans_before b USING (relid)
WHERE t.seq_scan + coalesce(t.idx_scan, 0) > coalesce(b.scans, 0)
ORDER BY 1;
ROLLBACK;

-- what makes no sense
SELECT count(*) FROM infra_monitor.wait_history(NULL);
SELECT * FROM infra_monitor.wait_history('2000-01-02', '2000-01-01');
SELECT * FROM infra_monitor.wait_history('2000-01-01', 'infinity');
SELECT * FROM infra_monitor.wait_history('2000-01-01', '2000-01-02', '0');
SELECT * FROM infra_monitor.wait_history('2000-01-01', '2000-01-02', '1 month');
SELECT * FROM infra_monitor.wait_history('2000-01-01', '2000-01-02', '0.1 seconds');

-- for pg_monitor
CREATE ROLE regress_wait_history;
SET ROLE regress_wait_history;
SELECT count(*) FROM infra_monitor.wait_history('2000-01-01', '2000-01-01');
RESET ROLE;
GRANT pg_monitor TO regress_wait_history;
SET ROLE regress_wait_history;
SELECT count(*) FROM infra_monitor.wait_history('2000-01-01', '2000-01-01');
RESET ROLE;
DROP ROLE regress_wait_history;
