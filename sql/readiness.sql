--
-- The audit before a launch: what follows from which facts
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS infra_monitor CASCADE;
RESET client_min_messages;

-- the size of the machine is wanted here
ALTER SYSTEM SET infra_monitor.system_root = '';
SELECT pg_reload_conf();
-- the sampler audits when the extension is created, and when it has reloaded
SET statement_timeout = '60s';
DO $$ BEGIN
	WHILE NOT EXISTS (SELECT FROM infra_monitor.production_readiness r JOIN infra_monitor.readiness_cache() USING (evaluated_at)
			WHERE item = 'shared_buffers' AND status <> 'unknown') LOOP
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
RESET statement_timeout;

--
-- the view
--
SELECT count(*) > 50 AS many, count(*) = count(DISTINCT item) AS unique_items,
	bool_and(status IN ('pass', 'warn', 'fail')) AS all_known, bool_and(current <> '') AS current,
	bool_and(recommended <> '') AS recommended, bool_and(why ~ '^[A-Z].*\.$') AS why,
	bool_and(evaluated_at <= clock_timestamp()) AS evaluated_at,
	count(*) FILTER (WHERE status = 'fail') > 0 AS some_fail
FROM infra_monitor.production_readiness;
SELECT area, count(*) - count(*) FILTER (WHERE item = 'reserved_connections') AS items
FROM infra_monitor.production_readiness GROUP BY area ORDER BY area COLLATE "C";
-- only what this version does not have is left out
SELECT item FROM infra_monitor.readiness_items()
WHERE item NOT IN (SELECT item FROM infra_monitor.production_readiness)
	AND (item <> 'reserved_connections' OR current_setting('reserved_connections', true) IS NOT NULL);
-- it is what the sampler found, which is not this session
SELECT count(*) AS different FROM infra_monitor.production_readiness r
	JOIN infra_monitor.readiness_cache() c ON r.evaluated_at <> c.evaluated_at;
SELECT length(document::text) < 16384 / 2 AS fits FROM infra_monitor.readiness_cache();
-- settings of this session are not those of the server
SET statement_timeout = '1h';
SET lock_timeout = '2h';
SET work_mem = '77MB';
SET synchronous_commit = off;
SELECT infra_monitor.known_settings(f) ->> 'work_mem' AS work_mem,
	infra_monitor.known_settings(f) ->> 'statement_timeout' AS statement_timeout,
	infra_monitor.known_settings(f) ->> 'lock_timeout' AS lock_timeout,
	infra_monitor.known_settings(f) ->> 'synchronous_commit' AS synchronous_commit,
	f -> 'errors' AS errors
FROM infra_monitor.collect_facts() f;
RESET ALL;

--
-- facts of a server with which all is well, and what can be wrong with it
--
CREATE TEMP TABLE good AS SELECT '{
	"settings": {
		"max_connections": 100, "superuser_reserved_connections": 3, "reserved_connections": 3, "listen_addresses": "10.1.2.3, localhost",
		"statement_timeout": 60000, "lock_timeout": 10000, "idle_in_transaction_session_timeout": 300000, "idle_session_timeout": 3600000,
		"shared_buffers": 4294967296, "effective_cache_size": 12884901888, "work_mem": 20971520, "hash_mem_multiplier": 2,
		"maintenance_work_mem": 536870912, "autovacuum_work_mem": -1, "autovacuum_max_workers": 3,
		"wal_buffers": 16777216, "wal_segment_size": 16777216,
		"fsync": true, "full_page_writes": true, "synchronous_commit": "on", "data_checksums": true,
		"checkpoint_timeout": 900000, "checkpoint_completion_target": 0.9, "max_wal_size": 4294967296,
		"autovacuum": true, "track_counts": true, "autovacuum_vacuum_cost_delay": 2, "autovacuum_vacuum_cost_limit": -1,
		"vacuum_cost_delay": 0, "vacuum_cost_limit": 200,
		"logging_collector": true, "log_destination": "stderr", "log_min_duration_statement": 1000, "log_min_duration_sample": -1,
		"log_lock_waits": true, "log_temp_files": 10485760, "log_checkpoints": true, "log_line_prefix": "%m [%p] %q%u@%d ",
		"ssl": true, "ssl_min_protocol_version": "tlsv1.2", "password_encryption": "scram-sha-256",
		"wal_level": "replica", "archive_mode": "on", "archive_command": true, "archive_library": false,
		"max_wal_senders": 10, "max_slot_wal_keep_size": 10737418240,
		"pg_stat_statements.track": "top", "track_io_timing": true},
	"pending": [],
	"files": {"errors": 0, "settings": {}},
	"server": {"major": 18, "today": "2026-11-22", "standby": false, "database": "home", "pg_stat_statements": true},
	"machine": {"memory": 17179869184, "wal_disk": 107374182400, "standard_error": "file or pipe"},
	"hba": {"errors": [], "trust": [], "world": [], "plain": [], "clear": [], "md5": [], "methods": ["peer", "scram-sha-256"]},
	"roles": {"superusers": [], "for_ever": []},
	"timeouts": {
		"statement_timeout": {"roles": 2, "off": [], "unset": ["a", "b"], "all": null, "databases": false},
		"lock_timeout": {"roles": 2, "off": [], "unset": ["a", "b"], "all": null, "databases": false},
		"idle_in_transaction_session_timeout": {"roles": 2, "off": [], "unset": ["a", "b"], "all": null, "databases": false},
		"idle_session_timeout": {"roles": 2, "off": [], "unset": ["a", "b"], "all": null, "databases": false}},
	"passwords": {"md5": [], "none": []},
	"schema": {"public_creates": false},
	"archiver": {"archived": 10, "at": "2026-11-22 12:00:00+00", "failing": false},
	"replication": {"standbys": 1, "receivers": 0, "receiving": false},
	"slots": {"slots": 1, "inactive": [], "lost": []},
	"extensions": [],
	"errors": {}}'::jsonb AS facts;
SET timezone = 'UTC';
SELECT j.item, j.status, j.current, j.recommended FROM good, infra_monitor.judge_readiness(facts) j;

CREATE FUNCTION pg_temp.applied(facts jsonb, changes jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_object_agg(f.key, CASE jsonb_typeof(f.value) WHEN 'object'
		THEN CASE WHEN f.key = 'timeouts' THEN (SELECT jsonb_object_agg(t.key, t.value || coalesce(changes->'timeouts'->t.key, '{}')) FROM jsonb_each(f.value) t)
			ELSE f.value || coalesce(changes->f.key, '{}') END
		ELSE coalesce(changes->f.key, f.value) END)
	FROM jsonb_each(facts) f
$$;
CREATE TEMP TABLE cases (id int GENERATED ALWAYS AS IDENTITY, item text, changes jsonb);
INSERT INTO cases (item, changes) VALUES
	('max_connections', '{"settings": {"max_connections": 300, "work_mem": 12582912}}'),
	('max_connections', '{"settings": {"max_connections": 2000, "work_mem": 4194304}}'),
	('max_connections', '{"settings": {"max_connections": 20000, "work_mem": 4194304}}'),
	('max_connections', '{"settings": {"hash_mem_multiplier": 10}}'),
	('superuser_reserved_connections', '{"settings": {"superuser_reserved_connections": 0}}'),
	('superuser_reserved_connections', '{"settings": {"superuser_reserved_connections": 2}}'),
	('reserved_connections', '{"settings": {"reserved_connections": 0}}'),
	('listen_addresses', '{"settings": {"listen_addresses": "*"}}'),
	('listen_addresses', '{"settings": {"listen_addresses": "localhost, 0.0.0.0"}}'),
	('listen_addresses', '{"settings": {"listen_addresses": "::"}}'),
	('listen_addresses', '{"settings": {"listen_addresses": "::1,10.0.0.0"}}'),
	('listen_addresses', '{"settings": {"listen_addresses": ""}}'),
	-- timeouts of the server, of some roles, of all, of databases
	('statement_timeout', '{"settings": {"statement_timeout": 0}}'),
	('statement_timeout', '{"settings": {"statement_timeout": 0}, "timeouts": {"statement_timeout": {"unset": []}}}'),
	('statement_timeout', '{"settings": {"statement_timeout": 0}, "timeouts": {"statement_timeout": {"unset": ["b"]}}}'),
	('statement_timeout', '{"settings": {"statement_timeout": 0}, "timeouts": {"statement_timeout": {"databases": true}}}'),
	('statement_timeout', '{"settings": {"statement_timeout": 0}, "timeouts": {"statement_timeout": {"all": 5000}}}'),
	('statement_timeout', '{"timeouts": {"statement_timeout": {"all": 0}}}'),
	('statement_timeout', '{"timeouts": {"statement_timeout": {"off": ["b"], "unset": ["a"]}}}'),
	('statement_timeout', '{"settings": {"statement_timeout": 0}, "timeouts": {"statement_timeout": {"roles": 0, "unset": []}}}'),
	('lock_timeout', '{"settings": {"lock_timeout": 0}}'),
	('lock_timeout', '{"settings": {"lock_timeout": 0}, "timeouts": {"lock_timeout": {"unset": []}}}'),
	('idle_in_transaction_session_timeout', '{"settings": {"idle_in_transaction_session_timeout": 0}}'),
	('idle_in_transaction_session_timeout', '{"timeouts": {"idle_in_transaction_session_timeout": {"off": ["a"]}}}'),
	('idle_session_timeout', '{"settings": {"idle_session_timeout": 0}}'),
	('shared_buffers', '{"settings": {"shared_buffers": 134217728}}'),
	('shared_buffers', '{"settings": {"shared_buffers": 8589934592}}'),
	('shared_buffers', '{"settings": {"shared_buffers": 15032385536}}'),
	('effective_cache_size', '{"settings": {"effective_cache_size": 4294967296}}'),
	('effective_cache_size', '{"settings": {"effective_cache_size": 34359738368}}'),
	('work_mem', '{"settings": {"work_mem": 4194304}}'),
	('work_mem', '{"settings": {"work_mem": 134217728}}'),
	('maintenance_work_mem', '{"settings": {"maintenance_work_mem": 67108864}}'),
	('maintenance_work_mem', '{"settings": {"maintenance_work_mem": 2147483648}}'),
	('maintenance_work_mem', '{"settings": {"autovacuum_work_mem": 2147483648}}'),
	('wal_buffers', '{"settings": {"wal_buffers": 65536}}'),
	('fsync', '{"settings": {"fsync": false}}'),
	('full_page_writes', '{"settings": {"full_page_writes": false}}'),
	('synchronous_commit', '{"settings": {"synchronous_commit": "off"}}'),
	('synchronous_commit', '{"settings": {"synchronous_commit": "remote_apply"}}'),
	('data_checksums', '{"settings": {"data_checksums": false}}'),
	('checkpoint_timeout', '{"settings": {"checkpoint_timeout": 30000}}'),
	('checkpoint_timeout', '{"settings": {"checkpoint_timeout": 86400000}}'),
	('checkpoint_completion_target', '{"settings": {"checkpoint_completion_target": 0.5}}'),
	('max_wal_size', '{"settings": {"max_wal_size": 1073741824}}'),
	('max_wal_size', '{"settings": {"max_wal_size": 1073741824}, "machine": {"wal_disk": 10737418240}}'),
	('max_wal_size', '{"settings": {"max_wal_size": 85899345920}}'),
	('max_wal_size', '{"settings": {"max_wal_size": 1099511627776}}'),
	('autovacuum', '{"settings": {"autovacuum": false}}'),
	('track_counts', '{"settings": {"track_counts": false}}'),
	('autovacuum_vacuum_cost_delay', '{"settings": {"autovacuum_vacuum_cost_delay": 20}}'),
	('autovacuum_vacuum_cost_delay', '{"settings": {"autovacuum_vacuum_cost_limit": 50}}'),
	('autovacuum_vacuum_cost_delay', '{"settings": {"autovacuum_vacuum_cost_delay": -1, "vacuum_cost_delay": 10}}'),
	('autovacuum_vacuum_cost_delay', '{"settings": {"autovacuum_vacuum_cost_delay": -1}}'),
	('log destination', '{"settings": {"logging_collector": false}, "machine": {"standard_error": "/dev/null"}}'),
	('log destination', '{"settings": {"logging_collector": false}, "machine": {"standard_error": "terminal"}}'),
	('log destination', '{"settings": {"logging_collector": false}}'),
	('log destination', '{"settings": {"logging_collector": false, "log_destination": "syslog"}, "machine": {"standard_error": "/dev/null"}}'),
	('log_min_duration_statement', '{"settings": {"log_min_duration_statement": -1}}'),
	('log_min_duration_statement', '{"settings": {"log_min_duration_statement": 600000}}'),
	('log_min_duration_statement', '{"settings": {"log_min_duration_statement": -1, "log_min_duration_sample": 100}}'),
	('log_min_duration_statement', '{"settings": {"log_min_duration_statement": -1, "auto_explain.log_min_duration": 0}}'),
	('log_min_duration_statement', '{"settings": {"log_min_duration_statement": -1, "auto_explain.log_min_duration": -1}}'),
	('log_lock_waits', '{"settings": {"log_lock_waits": false}}'),
	('log_temp_files', '{"settings": {"log_temp_files": -1}}'),
	('log_checkpoints', '{"settings": {"log_checkpoints": false}}'),
	('log_line_prefix', '{"settings": {"log_line_prefix": "%m [%p] "}}'),
	('log_line_prefix', '{"settings": {"log_line_prefix": ""}}'),
	('log_line_prefix', '{"settings": {"log_line_prefix": "%%m %%p %%u %%d"}}'),
	('log_line_prefix', '{"settings": {"log_line_prefix": "%t %-20c%10u%d"}}'),
	('log_line_prefix', '{"settings": {"log_line_prefix": "", "log_destination": "stderr,jsonlog"}}'),
	('ssl', '{"settings": {"ssl": false}}'),
	('ssl', '{"settings": {"ssl": false, "listen_addresses": "localhost, ::1"}}'),
	('ssl', '{"settings": {"ssl": false, "listen_addresses": ""}}'),
	('ssl_min_protocol_version', '{"settings": {"ssl_min_protocol_version": "tlsv1.1"}}'),
	('ssl_min_protocol_version', '{"settings": {"ssl_min_protocol_version": ""}}'),
	('password_encryption', '{"settings": {"password_encryption": "md5"}}'),
	('MD5 passwords', '{"passwords": {"md5": ["a", "b", "c", "d", "e", "f", "g"]}}'),
	('roles without password', '{"passwords": {"none": ["a"]}}'),
	('roles without password', '{"passwords": {"none": ["a"]}, "hba": {"methods": ["scram-sha-256"]}}'),
	('roles without password', '{"passwords": {"none": ["a"]}, "hba": {"methods": ["scram-sha-256", "trust"]}}'),
	('superusers', '{"roles": {"superusers": ["a", "b"], "for_ever": ["b"]}}'),
	('superusers', '{"roles": {"superusers": ["a"]}}'),
	('schema public', '{"schema": {"public_creates": true}}'),
	('pg_hba.conf errors', '{"hba": {"errors": [3]}}'),
	('pg_hba.conf trust', '{"hba": {"trust": [1, 2]}}'),
	('pg_hba.conf open to the world', '{"hba": {"world": [1]}}'),
	('pg_hba.conf without TLS', '{"hba": {"plain": [1]}}'),
	('pg_hba.conf weak methods', '{"hba": {"md5": [1]}}'),
	('pg_hba.conf weak methods', '{"hba": {"md5": [1], "clear": [2, 3]}}'),
	('wal_level', '{"settings": {"wal_level": "minimal"}}'),
	('archive_mode', '{"settings": {"archive_mode": "off"}}'),
	('archive_mode', '{"settings": {"archive_mode": "off"}, "replication": {"receivers": 1}}'),
	('archive_command', '{"settings": {"archive_mode": "off"}}'),
	('archive_command', '{"settings": {"archive_command": false}}'),
	('archive_command', '{"settings": {"archive_command": false, "archive_library": true}}'),
	('last archived', '{"settings": {"archive_mode": "off"}}'),
	('last archived', '{"archiver": {"failing": true}}'),
	('last archived', '{"archiver": {"archived": 0, "at": null, "failing": true}}'),
	('last archived', '{"archiver": {"archived": 0, "at": null}}'),
	('last archived', '{"server": {"standby": true}}'),
	('last archived', '{"server": {"standby": true}, "settings": {"archive_mode": "always"}}'),
	('max_wal_senders', '{"settings": {"max_wal_senders": 0}}'),
	('max_wal_senders', '{"settings": {"max_wal_senders": 1}}'),
	('standbys', '{"replication": {"standbys": 0}}'),
	('standbys', '{"server": {"standby": true}}'),
	('standbys', '{"server": {"standby": true}, "replication": {"receiving": true}}'),
	('replication slots', '{"settings": {"max_slot_wal_keep_size": -1}}'),
	('replication slots', '{"slots": {"inactive": ["a"]}}'),
	('replication slots', '{"slots": {"lost": ["a"]}}'),
	('replication slots', '{"slots": {"inactive": ["a"]}, "settings": {"max_slot_wal_keep_size": -1}}'),
	('replication slots', '{"slots": {"slots": 0}, "settings": {"max_slot_wal_keep_size": -1}}'),
	('pg_stat_statements', '{"server": {"pg_stat_statements": false}}'),
	('pg_stat_statements.track', '{"server": {"pg_stat_statements": false}}'),
	('pg_stat_statements.track', '{"settings": {"pg_stat_statements.track": "none"}}'),
	('track_io_timing', '{"settings": {"track_io_timing": false}}'),
	('major version', '{"server": {"major": 15, "today": "2027-05-15"}}'),
	('major version', '{"server": {"major": 15, "today": "2027-05-16"}}'),
	('major version', '{"server": {"major": 15, "today": "2027-11-11"}}'),
	('major version', '{"server": {"major": 15, "today": "2027-11-12"}}'),
	('major version', '{"server": {"major": 25}}'),
	('extension updates', '{"extensions": ["a 1.0 (1.1 is available)"]}'),
	('pending restart', '{"pending": ["max_connections", "shared_buffers"]}'),
	('configuration files', '{"files": {"errors": 2}}');

CREATE TEMP TABLE judged AS
SELECT c.id, c.item, c.changes, j.item AS judged, j.status, j.current, j.recommended
FROM good, cases c, infra_monitor.judge_readiness(pg_temp.applied(facts, c.changes)) j;
SELECT j.status, j.item, j.current, j.recommended,
	(SELECT string_agg(o.judged, ', ') FROM judged o WHERE o.id = j.id AND o.judged <> o.item AND o.status <> 'pass') AS and_not_pass
FROM judged j WHERE j.judged = j.item ORDER BY j.id;

-- each item has a case in which it is not good
SELECT item AS never_bad FROM infra_monitor.readiness_items()
EXCEPT SELECT item FROM judged WHERE item = judged AND status IN ('warn', 'fail') ORDER BY 1;
-- before 16 there are no reserved_connections
SELECT count(*) FROM good, infra_monitor.judge_readiness(pg_temp.applied(facts, '{"server": {"major": 15}}')) WHERE item = 'reserved_connections';
-- 18 is supported, and so is what comes next year
SELECT major, current, status FROM good, generate_series(14, 20) major,
	infra_monitor.judge_readiness(pg_temp.applied(facts, jsonb_build_object('server', jsonb_build_object('major', major)))) WHERE item = 'major version';

--
-- what is not known never passes
--
SELECT status, count(*) = (SELECT count(*) FROM infra_monitor.readiness_items()) AS all_items
FROM infra_monitor.judge_readiness('{}') GROUP BY status;
SELECT count(*) FILTER (WHERE status = 'pass') AS pass FROM infra_monitor.judge_readiness(NULL);
SELECT item, current FROM infra_monitor.judge_readiness('{"errors": {"hba": "permission denied for view pg_hba_file_rules"}}')
WHERE current <> 'not known' AND current NOT LIKE '%unknown%' ORDER BY item COLLATE "C";
-- nothing becomes better by not looking: from servers with many faults, the
-- first of each item, the second of each, and so on, each single fact is taken
CREATE FUNCTION pg_temp.also_applied(state jsonb, facts jsonb, changes jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT pg_temp.applied(coalesce(state, facts), changes)
$$;
CREATE AGGREGATE pg_temp.all_applied(jsonb, jsonb) (SFUNC = pg_temp.also_applied, STYPE = jsonb);
CREATE TEMP TABLE servers AS
SELECT n, pg_temp.all_applied(facts, changes ORDER BY id) AS facts
FROM good, (SELECT row_number() OVER (PARTITION BY item ORDER BY id) AS n, id, changes FROM cases) c
WHERE n <= 6 GROUP BY n;
CREATE TEMP TABLE paths AS
SELECT DISTINCT ARRAY[f.key, v.key] AS path FROM servers, jsonb_each(facts) f,
	LATERAL (SELECT key FROM jsonb_each(CASE jsonb_typeof(f.value) WHEN 'object' THEN f.value ELSE '{}' END) UNION ALL SELECT NULL) v (key);
SELECT count(*) > 80 AS many FROM paths;
CREATE TEMP TABLE blind AS
SELECT s.n, p.path, j.* FROM servers s, paths p, infra_monitor.judge_readiness(s.facts #- array_remove(p.path, NULL)) j;
CREATE TEMP TABLE seeing AS
SELECT s.n, j.* FROM servers s, infra_monitor.judge_readiness(s.facts) j;
SELECT n, b.path, item, s.status, b.status AS without
FROM seeing s JOIN blind b USING (n, item)
WHERE s.status <> 'pass' AND b.status = 'pass';
-- and what is taken is missed, but for what only serves to explain or to fill in
SELECT path AS nobody_looks FROM seeing s JOIN blind b USING (n, item)
GROUP BY path HAVING bool_and(s.status = b.status AND s.current = b.current) ORDER BY 1;

--
-- what is recommended agrees with itself, on small and large machines
--
CREATE FUNCTION pg_temp.tuned(facts jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT pg_temp.applied(facts, jsonb_build_object('settings',
		coalesce(jsonb_object_agg(item, CASE WHEN recommended ~ 'MB$' THEN pg_size_bytes(recommended) ELSE recommended::numeric END), '{}')))
	FROM (SELECT * FROM infra_monitor.readiness_memory(facts) UNION ALL SELECT * FROM infra_monitor.readiness_connections(facts)) r
	WHERE item IN ('max_connections', 'shared_buffers', 'effective_cache_size', 'work_mem', 'maintenance_work_mem')
		AND (fails OR warns)
$$;
SELECT pg_size_pretty(memory) AS memory, connections, work_mem, shared_buffers, j.item, j.fails, j.current, j.recommended
FROM good, unnest(ARRAY[1073741824, 2147483648, 4000000000, 17179869184, 274877906944, 4398046511104]) memory,
	unnest(ARRAY[20, 100, 500, 5000]) connections, unnest(ARRAY[1048576, 4194304, 1073741824]) work_mem, unnest(ARRAY[131072, 134217728, 3900000000]) shared_buffers,
	LATERAL pg_temp.applied(facts, jsonb_build_object('machine', jsonb_build_object('memory', memory),
		'settings', jsonb_build_object('max_connections', connections, 'work_mem', work_mem, 'shared_buffers', shared_buffers))) AS given (facts),
	LATERAL (SELECT coalesce(pg_temp.tuned(given.facts), given.facts)) AS tuned (facts),
	LATERAL (SELECT * FROM infra_monitor.readiness_memory(tuned.facts) UNION ALL SELECT * FROM infra_monitor.readiness_connections(tuned.facts)) j
WHERE (j.fails OR j.warns) IS NOT FALSE;

--
-- helpers
--
SELECT v AS value, u AS unit, infra_monitor.setting_number(v, u) AS number
FROM (VALUES ('64', 'kB'), ('64', '8kB'), ('64', 'MB'), ('64', 'B'), ('1GB', 'kB'), ('1.5GB', '8kB'), ('-1', 'kB'), ('-1', 'ms'),
	('5', 's'), ('5min', 's'), ('2', 'min'), ('1d', 'ms'), ('0.9', NULL), ('7', NULL), ('0', 'ms'),
	('nonsense', 'ms'), ('5 lightyears', 'ms'), ('', 'ms'), ('64', 'nonsense'), (NULL, 'kB')) AS t (v, u);
SELECT t, a, m, infra_monitor.hba_reach(t, a, m) AS reach
FROM (VALUES ('local', NULL, NULL), ('host', '127.0.0.1', '255.255.255.255'), ('hostssl', '127.0.0.0', '255.0.0.0'),
	('host', '127.0.0.0', '254.0.0.0'), ('host', '::1', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'), ('host', '::1', 'ffff::'),
	('host', 'samehost', NULL), ('host', 'localhost', NULL), ('host', 'samenet', NULL), ('host', 'all', NULL),
	('host', '0.0.0.0', '0.0.0.0'), ('hostnossl', '::', '::'), ('host', '10.0.0.0', '255.0.0.0'), ('host', '.example.com', NULL)) AS v (t, a, m);
-- what a command says is not shown
SELECT n AS name, v AS value, infra_monitor.setting_fact(n, v, NULL, 'string') AS fact
FROM (VALUES ('archive_command', 'copy --password secret'), ('archive_command', ''), ('archive_command', '(disabled)'),
	('archive_library', 'basic_archive'), ('archive_library', '')) AS v (n, v);

-- names of roles by their passwords
SELECT infra_monitor.readiness_named(f) AS named
FROM unnest(ARRAY['{"passwords": {"md5": ["a", "b", "c", "d", "e", "f", "g"], "none": ["a"]}}', '{"passwords": {"md5": [], "none": ["a"]}}',
	'{"passwords": {"md5": [], "none": []}}', '{}']::jsonb[]) f;

--
-- for pg_monitor
--
CREATE ROLE regress_monitor LOGIN IN ROLE pg_monitor;
SET SESSION AUTHORIZATION regress_monitor;
SELECT count(*) FILTER (WHERE status = 'unknown') AS unknown FROM infra_monitor.production_readiness;
-- by itself it does not see everything
SELECT d.value->>0 AS unknown, d.value->>2 AS current
FROM infra_monitor.readiness_document() r, jsonb_array_elements(r.document) d WHERE d.value->>1 = 'unknown';
RESET SESSION AUTHORIZATION;
-- with less it sees less, and nothing more passes
CREATE ROLE regress_nobody LOGIN;
GRANT USAGE ON SCHEMA infra_monitor TO regress_nobody;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA infra_monitor TO regress_nobody;
SELECT document FROM infra_monitor.readiness_document() \gset
SET SESSION AUTHORIZATION regress_nobody;
SELECT d.value->>0 AS item, a.value->>1 AS status, d.value->>1 AS for_nobody
FROM infra_monitor.readiness_document() r, jsonb_array_elements(r.document) d
	JOIN jsonb_array_elements(:'document') a ON a.value->>0 = d.value->>0
WHERE d.value->>1 <> a.value->>1 AND d.value->>1 <> 'unknown';
SELECT count(*) FILTER (WHERE status = 'unknown') AS unknown FROM infra_monitor.readiness();
RESET SESSION AUTHORIZATION;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA infra_monitor FROM regress_nobody;
REVOKE USAGE ON SCHEMA infra_monitor FROM regress_nobody;
DROP ROLE regress_monitor, regress_nobody;
ALTER SYSTEM RESET infra_monitor.system_root;
SELECT pg_reload_conf();
