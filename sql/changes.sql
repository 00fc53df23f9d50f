--
-- What has changed, and when nobody looked: history_gaps(), changes()
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS infra_monitor CASCADE;
RESET client_min_messages;
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = postgres;
\set VERBOSITY terse

--
-- gaps, of days that are made up
--
CREATE TABLE regress_days PARTITION OF infra_monitor.samples FOR VALUES FROM ('2021-02-01') TO ('2021-12-01');
CREATE FUNCTION pg_temp.sample(at timestamptz, sample_interval interval, elapsed interval DEFAULT NULL, epoch bigint DEFAULT 1)
RETURNS void LANGUAGE sql AS $$
INSERT INTO infra_monitor.samples (sampled_at, epoch, status, max_connections, reserved_connections, used_connections,
	available_connections, used_ratio, active, idle, idle_in_transaction, waiting, peak_connections, peak_at, connects_total,
	disconnects_total, rejected_total, auth_failures_total, stats_reset, authenticating, health_status, connects, collect_time,
	sample_interval, elapsed_time)
VALUES (at, epoch, 'ok', 23, 3, 1, 19, 0, 0, 0, 0, 0, 1, at, 0, 0, 0, 0, at, 0, 'healthy', 1, 0,
	sample_interval, extract(epoch FROM elapsed) * 1000)
$$;

-- nothing is known
SELECT * FROM infra_monitor.history_gaps('2021-02-10 11:00', '2021-02-10 12:00');

-- an hour, in which the third sample of ten is missing, then two, then all but
-- those by take_sample()
SELECT count(*) FROM generate_series('2021-02-10 11:00'::timestamptz, '2021-02-10 12:00', '10 seconds') t,
	pg_temp.sample(t, '10 seconds', CASE WHEN t > '2021-02-10 11:00' THEN '10 seconds'::interval END);
DELETE FROM infra_monitor.samples WHERE sampled_at = '2021-02-10 11:10:20';
DELETE FROM infra_monitor.samples WHERE sampled_at IN ('2021-02-10 11:20:20', '2021-02-10 11:20:30');
UPDATE infra_monitor.samples SET elapsed_time = 30000 WHERE sampled_at = '2021-02-10 11:20:40';
DELETE FROM infra_monitor.samples WHERE sampled_at > '2021-02-10 11:30' AND sampled_at < '2021-02-10 11:40';
UPDATE infra_monitor.samples SET elapsed_time = 597000 WHERE sampled_at = '2021-02-10 11:40';
SELECT pg_temp.sample('2021-02-10 11:30:03', NULL, '3 seconds'), pg_temp.sample('2021-02-10 11:50:05', NULL, '5 seconds');
SELECT * FROM infra_monitor.history_gaps('2021-02-10 11:00', '2021-02-10 12:00');

-- a span that begins or ends in a gap, or has nothing else; and one after all
SELECT * FROM infra_monitor.history_gaps('2021-02-10 11:35', '2021-02-10 11:50');
SELECT * FROM infra_monitor.history_gaps('2021-02-10 11:22', '2021-02-10 11:35:30');
SELECT * FROM infra_monitor.history_gaps('2021-02-10 11:33', '2021-02-10 11:34');
SELECT from_at, until_at, missed FROM infra_monitor.history_gaps('2021-02-20 00:00', '2021-02-20 01:00');

-- objectives: the same
SELECT available, unavailable FROM infra_monitor.availability('{2021-02-10 11:00}', '2021-02-10 12:00');
SELECT sum(extract(epoch FROM until_at - from_at)) FROM infra_monitor.history_gaps('2021-02-10 11:00', '2021-02-10 12:00');

-- samples that nobody has promised: no gaps
SELECT count(*) FROM generate_series('2021-03-01 00:00'::timestamptz, '2021-03-01 06:00', '1 hour') t, pg_temp.sample(t, NULL);
SELECT * FROM infra_monitor.history_gaps('2021-03-01 00:30', '2021-03-01 06:00') WHERE from_at >= '2021-03-01';

-- an interval that is changed, to and fro
SELECT count(*) FROM generate_series('2021-03-02 00:00'::timestamptz, '2021-03-02 00:00:50', '10 seconds') t, pg_temp.sample(t, '10 seconds');
SELECT count(*) FROM generate_series('2021-03-02 00:01'::timestamptz, '2021-03-02 06:01', '1 hour') t, pg_temp.sample(t, '1 hour');
SELECT count(*) FROM generate_series('2021-03-02 06:05'::timestamptz, '2021-03-02 06:06', '1 second') t, pg_temp.sample(t, '1 second');
SELECT * FROM infra_monitor.history_gaps('2021-03-02 00:00', '2021-03-02 06:06:02');

-- the clock is set: an hour ahead, and back again, each time while all goes on
SELECT count(*) FROM generate_series('2021-03-03 00:00'::timestamptz, '2021-03-03 00:10', '10 seconds') t, pg_temp.sample(t, '10 seconds', '10 seconds');
SELECT count(*) FROM generate_series('2021-03-03 01:10:10'::timestamptz, '2021-03-03 01:20', '10 seconds') t, pg_temp.sample(t, '10 seconds', '10 seconds');
SELECT count(*) FROM generate_series('2021-03-03 00:20:12'::timestamptz, '2021-03-03 01:30', '10 seconds') t, pg_temp.sample(t, '10 seconds', '10 seconds');
SELECT * FROM infra_monitor.history_gaps('2021-03-03 00:00', '2021-03-03 01:30');
SELECT available, unavailable FROM infra_monitor.availability('{2021-03-03 00:00}', '2021-03-03 01:30');

-- set ahead by an hour while 5 minutes were missed: these are
SELECT pg_temp.sample('2021-03-03 02:35', '10 seconds', '5 minutes');
SELECT * FROM infra_monitor.history_gaps('2021-03-03 01:20', '2021-03-03 02:35:01');

-- summer time begins and ends: that is of those who look
SELECT count(*) FROM generate_series('2021-03-28 00:00+00'::timestamptz, '2021-03-28 03:00+00', '10 seconds') t, pg_temp.sample(t, '10 seconds', '10 seconds');
SELECT count(*) FROM generate_series('2021-10-31 00:00+00'::timestamptz, '2021-10-31 03:00+00', '10 seconds') t, pg_temp.sample(t, '10 seconds', '10 seconds');
SET timezone = 'Europe/Berlin';
SELECT day, g.* FROM unnest('{2021-03-28 00:10+00,2021-10-31 00:10+00}'::timestamptz[]) day,
	infra_monitor.history_gaps(day, day + interval '2 hours 40 minutes') g;
SELECT day, a.available, a.unavailable FROM unnest('{2021-03-28 00:00+00,2021-10-31 00:00+00}'::timestamptz[]) day,
	infra_monitor.availability(ARRAY[day], day + interval '3 hours') a;
SELECT h.bucket, h.connects FROM infra_monitor.pool_history('2021-03-28 00:00+00', '2021-03-28 03:00+00', '1 hour') h;
SELECT h.bucket, h.connects FROM infra_monitor.pool_history('2021-10-31 00:00+00', '2021-10-31 03:00+00', '1 hour') h;
SET timezone = 'UTC';

--
-- changes
--
SELECT * FROM infra_monitor.changes('2021-02-10 11:00', '2021-02-10 12:00');

CREATE TABLE regress_epochs PARTITION OF infra_monitor.epochs FOR VALUES FROM ('2021-04-01') TO ('2021-05-01');
CREATE TABLE regress_settings PARTITION OF infra_monitor.setting_samples FOR VALUES FROM ('2021-04-01') TO ('2021-05-01');
-- a server is reset, crashes, is restarted, promoted from another server, and
-- upgraded; one row each day says nothing new; all before what there is
INSERT INTO infra_monitor.epochs VALUES
	('2021-04-01 00:00:05', 1, -9, '2021-03-31', '2021-03-31', 1, '15.1', '2021-03-31', '2021-03-31', NULL),
	('2021-04-02 00:00:05', 1, -8, '2021-03-31', '2021-03-31', 1, '15.1', '2021-03-31', '2021-03-31', NULL),
	('2021-04-02 10:00:05', 2, -7, '2021-03-31', '2021-03-31', 1, '15.1', '2021-04-02 10:00', '2021-03-31', NULL),
	('2021-04-02 11:00:05', 3, -6, '2021-03-31', '2021-03-31', 1, '15.1', '2021-04-02 10:00', '2021-04-02 11:00', '2021-04-02 11:00:01'),
	('2021-04-02 12:00:05', 4, -5, '2021-03-31', '2021-04-02 12:00', 1, '15.1', '2021-04-02 12:00', '2021-04-02 12:00', '2021-04-02 12:00'),
	('2021-04-03 10:00:05', 5, -4, '2021-04-03 10:00', '2021-04-03 10:00', 1, '15.1', '2021-04-03 10:00', '2021-04-03 10:00', '2021-04-02 12:00'),
	('2021-04-03 11:00:05', 6, -3, '2021-04-01', '2021-04-01', 2, '15.1', '2021-04-01', '2021-04-01', NULL),
	-- the clock is an hour behind
	('2021-04-03 10:30:05', 7, -2, '2021-04-03 10:30', '2021-04-03 10:30', 2, '15.2', '2021-04-03 10:30', '2021-04-03 10:30', NULL);
INSERT INTO infra_monitor.setting_samples VALUES
	('2021-04-01 00:01', 1, 1, 'shared_buffers', '16384', '8kB', 'default', true, NULL, NULL),
	('2021-04-01 00:02', 1, 2, 'work_mem', '1536', 'kB', 'configuration file', false, 'value', '4096'),
	('2021-04-01 00:03', 1, 3, 'work_mem', '1536', 'kB', 'command line', false, 'source', NULL),
	('2021-04-01 00:04', 1, 4, 'archive_command', NULL, NULL, 'configuration file', false, 'value', NULL),
	('2021-04-01 00:05', 1, 5, 'work_mem', '1536', 'kB', 'command line', true, 'pending_restart', NULL),
	('2021-04-01 00:06', 1, 6, 'work_mem', '1536', 'kB', 'command line', false, 'pending_restart', NULL),
	('2021-04-01 00:07', 1, 7, 'work_mem', '4096', 'kB', 'default', false, 'value', '1536');
SELECT * FROM infra_monitor.changes('2021-04-01', '2021-04-30') WHERE kind <> 'gap';
SELECT * FROM infra_monitor.changes('2021-04-01 00:04', '2021-04-01 00:05') WHERE kind <> 'gap';

-- what gaps were: one with each of the next epochs, and a last one in which the
-- server went on
SELECT pg_temp.sample('2021-04-02 11:50:00', '10 seconds', epoch => 3);
SELECT pg_temp.sample('2021-04-02 12:00:05', '10 seconds', epoch => 4);
SELECT pg_temp.sample('2021-04-03 10:00:05', '10 seconds', epoch => 5);
SELECT pg_temp.sample('2021-04-03 11:00:05', '10 seconds', epoch => 6);
SELECT pg_temp.sample('2021-04-03 11:01:05', '10 seconds', '1 minute', epoch => 6);
-- of an epoch that is not known
SELECT pg_temp.sample('2021-04-03 11:02:05', '10 seconds', epoch => 99);
SELECT * FROM infra_monitor.history_gaps('2021-04-02 11:00', '2021-04-03 11:03') WHERE from_at >= '2021-04-02 11:00';
SELECT * FROM infra_monitor.changes('2021-04-03 11:00', '2021-04-03 11:03') WHERE kind = 'gap';

-- values as SHOW has them
SELECT setting, unit, infra_monitor.setting_text(setting, unit) AS text
FROM (VALUES ('16384', '8kB'), ('1', '8kB'), ('1536', 'kB'), ('2097152', 'kB'), ('16777216', 'B'), ('1048577', 'B'), ('300', 's'),
	('86400', 's'), ('90', 's'), ('1440', 'min'), ('200', 'ms'), ('1.5', 'ms'), ('0.0000001', 'ms'), ('-1', 'ms'), ('0', 'kB'),
	('on', NULL), ('100', NULL), (NULL, 'kB'), ('', NULL)) v (setting, unit);

-- wrong arguments
SELECT * FROM infra_monitor.history_gaps('infinity', now());
SELECT * FROM infra_monitor.history_gaps(now(), now() - interval '1 second');
SELECT * FROM infra_monitor.changes('-infinity', now());
SELECT * FROM infra_monitor.changes(now(), now() - interval '1 second');
SELECT * FROM infra_monitor.changes(NULL);

DROP TABLE regress_days, regress_epochs, regress_settings;
