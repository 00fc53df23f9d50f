
--
-- readiness.sql: the audit that is done by hand before a launch
--
-- Facts are collected by functions fact_<name>(), which are listed in
-- readiness.c.  Those that the caller may not read are missing.  What follows
-- from the facts is decided by functions readiness_<area>(), of nothing but
-- them.  They say for each item whether it fails and whether it warns, in the
-- three-valued logic of SQL: what is NULL is unknown, and never passes.
--
-- To add an item, add a row to readiness_items(), one to the function of its
-- area, and a case in sql/readiness.sql in which it fails or warns.
--

CREATE FUNCTION infra_monitor.readiness_items(
	OUT area text, OUT item text, OUT recommended text, OUT why text)
RETURNS SETOF record
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 60
SET search_path = pg_catalog, pg_temp
AS $$
VALUES
	('connections', 'max_connections', 'what fits into memory',
	 'When all connections work at once and need more memory than there is, the kernel kills a server process, and all sessions are lost with it.'),
	('connections', 'superuser_reserved_connections', '3',
	 'When the pool is full, administrators get in through the reserved slots only.'),
	('connections', 'reserved_connections', '3',
	 'When the pool is full, monitoring and operators who are no superusers get in through these slots only (role pg_use_reserved_connections).'),
	('connections', 'listen_addresses', 'the addresses at which clients connect',
	 'A server that listens at every address is reachable from networks that nobody thought of, and only pg_hba.conf stands in between.'),

	('timeouts', 'statement_timeout', '60s for the roles of applications',
	 'A statement without an end holds its connection, its locks and its snapshot until somebody notices.'),
	('timeouts', 'lock_timeout', '10s for the roles of applications',
	 'Whoever waits for a lock makes others wait behind him, until the pool is full of them.'),
	('timeouts', 'idle_in_transaction_session_timeout', '5min',
	 'A transaction that an application forgot keeps its locks, and keeps vacuum from cleaning up in all tables.'),
	('timeouts', 'idle_session_timeout', '1h',
	 'Sessions that nobody uses any more keep their connections for ever; set it above the maximum idle time of application pools.'),

	('memory', 'shared_buffers', 'a quarter of memory',
	 'With too small a cache the server reads pages again and again that it has just given up; one that is too large leaves nothing for sessions and the system.'),
	('memory', 'effective_cache_size', 'three quarters of memory',
	 'The planner takes it for the size of all caches, and avoids indexes if it is too small.'),
	('memory', 'work_mem', 'a quarter of memory, shared by all connections',
	 'Sorts and hashes that do not fit are written to temporary files; too much of it, times connections, is more than the machine has.'),
	('memory', 'maintenance_work_mem', '1/32 of memory',
	 'Vacuum reads all indexes again for each load of dead rows that fits, and indexes are built from files.'),
	('memory', 'wal_buffers', '-1',
	 'With too few of them sessions write WAL themselves, in the middle of their transactions.'),

	('durability', 'fsync', 'on',
	 'After a crash of the machine the database is corrupt, and nobody knows where.'),
	('durability', 'full_page_writes', 'on',
	 'A page that was half written when the machine crashed stays so; recovery cannot mend it.'),
	('durability', 'synchronous_commit', 'on',
	 'Transactions that were reported as committed are lost in a crash.'),
	('durability', 'data_checksums', 'on: run pg_checksums --enable while the server is stopped',
	 'Pages that the storage has damaged are read as if they were good, and get into all backups.'),

	('checkpoints', 'checkpoint_timeout', '15min',
	 'Each checkpoint makes every page be logged in full once more; very rare ones make recovery take as long.'),
	('checkpoints', 'checkpoint_completion_target', '0.9',
	 'A checkpoint that is written in a hurry takes the disk away from queries.'),
	('checkpoints', 'max_wal_size', '4GB',
	 'With too little, checkpoints come as fast as WAL is written, again and again; too much fills the disk.'),

	('autovacuum', 'autovacuum', 'on',
	 'Tables bloat, statistics go stale, and at last the server refuses to write, to save itself from transaction wraparound.'),
	('autovacuum', 'track_counts', 'on',
	 'Autovacuum does not know which tables have changed, and does nothing.'),
	('autovacuum', 'autovacuum_vacuum_cost_delay', '2ms',
	 'Throttled too much, vacuum falls behind for good on tables that change often.'),

	('logging', 'log destination', 'logging_collector = on, or standard error to a service that keeps it',
	 'What is not written anywhere cannot be read after an incident.'),
	('logging', 'log_min_duration_statement', '1s',
	 'Without slow statements in the log nobody knows afterwards what was slow.'),
	('logging', 'log_lock_waits', 'on',
	 'Without it the log does not say who waited for whom.'),
	('logging', 'log_temp_files', '10MB',
	 'Queries that spill to disk are slow and fill it, and without it nobody knows which ones.'),
	('logging', 'log_checkpoints', 'on',
	 'Without it the log does not say whether a stall was a checkpoint.'),
	('logging', 'log_line_prefix', '%m [%p] %q%u@%d ',
	 'Lines without time, process, user and database cannot be told apart.'),

	('security', 'ssl', 'on, with ssl_cert_file and ssl_key_file',
	 'Passwords, queries and data are readable and can be altered on their way.'),
	('security', 'ssl_min_protocol_version', 'TLSv1.2',
	 'TLS 1.0 and 1.1 are broken, and clients can be made to fall back to them.'),
	('security', 'password_encryption', 'scram-sha-256',
	 'An MD5 hash is as good as the password itself to whoever reads it, and is quick to guess from.'),
	('security', 'MD5 passwords', 'ALTER ROLE ... PASSWORD for each, with password_encryption = scram-sha-256',
	 'An MD5 hash is as good as the password itself to whoever reads it; support for it is about to be removed.'),
	('security', 'roles without password', 'NOLOGIN, or a password',
	 'They get in by whatever else pg_hba.conf accepts, with trust without any proof.'),
	('security', 'superusers', 'none that log in but the first one: ALTER ROLE ... NOSUPERUSER, or VALID UNTIL',
	 'Every superuser who can log in can read and change everything, and run programs on the machine.'),
	('security', 'schema public', 'REVOKE CREATE ON SCHEMA public FROM PUBLIC',
	 'Any user can put functions and tables where the queries of others find them first, and so act with their rights.'),
	('security', 'pg_hba.conf errors', 'no line with an error',
	 'A file with an error is not loaded: changes to it have no effect, and the server does not start again.'),
	('security', 'pg_hba.conf trust', 'scram-sha-256, cert or peer in these lines',
	 'Whoever can connect is believed to be whom he says he is, also a superuser.'),
	('security', 'pg_hba.conf open to the world', 'the networks of clients in these lines',
	 'Anybody anywhere may try passwords.'),
	('security', 'pg_hba.conf without TLS', 'hostssl in these lines',
	 'The line accepts connections from beyond the machine that are not encrypted.'),
	('security', 'pg_hba.conf weak methods', 'scram-sha-256 in these lines',
	 'The password goes over the network in a form that can be read or used again.'),

	('recovery', 'wal_level', 'replica',
	 'With minimal neither backups while the server runs nor standbys are possible.'),
	('recovery', 'archive_mode', 'on',
	 'Without an archive of WAL all since the last backup is lost with the disk, and there is no way back to the moment before a mistake.'),
	('recovery', 'archive_command', 'a command or library that copies WAL to another machine',
	 'Without one WAL is kept until the disk is full, or is not archived.'),
	('recovery', 'last archived', 'see pg_stat_archiver and the server log for the error',
	 'An archive that was never seen to work does not work.'),
	('recovery', 'max_wal_senders', '10',
	 'Each standby and each pg_basebackup needs one or two.'),
	('recovery', 'standbys', 'a standby on another machine',
	 'Without one an outage of the machine lasts as long as the restore of a backup.'),
	('recovery', 'replication slots', 'max_slot_wal_keep_size, and pg_drop_replication_slot() for those that nobody uses',
	 'A slot that nobody reads keeps WAL until the disk is full and the server stops.'),

	('monitoring', 'pg_stat_statements', 'pg_stat_statements in shared_preload_libraries',
	 'Without it nobody knows which statements take the time.'),
	('monitoring', 'pg_stat_statements.track', 'top',
	 'It is loaded but counts nothing.'),
	('monitoring', 'track_io_timing', 'on',
	 'Without it slow queries and slow disks cannot be told apart.'),

	('upkeep', 'major version', 'a supported version',
	 'A version past its end of life gets no fixes any more, not even for security holes.'),
	('upkeep', 'extension updates', 'ALTER EXTENSION ... UPDATE',
	 'Library and SQL objects are of different versions; fixes in the objects are missing.'),
	('upkeep', 'pending restart', 'restart the server',
	 'The configuration is not what the files say, and changes at the next restart, when nobody expects it.'),
	('upkeep', 'configuration files', 'no line with an error, see pg_file_settings',
	 'A file with an error is not loaded, and the server does not start again.')
$$;
COMMENT ON FUNCTION infra_monitor.readiness_items() IS
'the items of production_readiness in order, with what is recommended where that is always the same, and why; for pg_monitor';

--
-- Helpers
--

CREATE FUNCTION infra_monitor.setting_number(value text, unit text)
RETURNS float8
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_setting_number_1_0';
COMMENT ON FUNCTION infra_monitor.setting_number(text, text) IS
'value of a setting, in its unit as in pg_settings or with one of its own, as bytes or ms; negative ones and those without unit as they are; NULL: not a number; for pg_monitor';

CREATE FUNCTION infra_monitor.machine_size(
	OUT memory bigint, OUT wal_disk bigint, OUT standard_error text)
RETURNS record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_machine_size_1_0';
COMMENT ON FUNCTION infra_monitor.machine_size() IS
'memory that the server may use, that of the machine or of its control group, and size of the file system of WAL, in bytes, NULL is not known; and where its standard error goes: /dev/null, terminal, file or pipe, closed; for pg_monitor';

CREATE FUNCTION infra_monitor.hba_reach(type text, address text, netmask text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE
	WHEN $1 = 'local' OR $2 IN ('samehost', 'localhost') THEN 'machine'
	WHEN $2 = 'all' OR $3 IN ('0.0.0.0', '::') THEN 'world'
	WHEN $2 LIKE '127.%' AND $3 LIKE '255.%' THEN 'machine'
	WHEN $2 = '::1' AND $3 = 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff' THEN 'machine'
	ELSE 'network'
END
$$;
COMMENT ON FUNCTION infra_monitor.hba_reach(text, text, text) IS
'from where a line of pg_hba_file_rules lets connections come: machine, network or world; for pg_monitor';

CREATE FUNCTION infra_monitor.listed(names jsonb)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(string_agg(n.name, ', ' ORDER BY n.place) FILTER (WHERE n.place <= 5), 'none')
	|| CASE WHEN count(*) > 5 THEN format(' and %s more', count(*) - 5) ELSE '' END
FROM jsonb_array_elements_text($1) WITH ORDINALITY AS n (name, place)
$$;
COMMENT ON FUNCTION infra_monitor.listed(jsonb) IS
'the first five of a list of names, and how many more there are; for pg_monitor';

CREATE FUNCTION infra_monitor.counted(names jsonb)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE n WHEN 0 THEN 'none' WHEN 1 THEN '1 role' ELSE n || ' roles' END FROM jsonb_array_length($1) n $$;
COMMENT ON FUNCTION infra_monitor.counted(jsonb) IS
'how many roles a list has; for pg_monitor';

CREATE FUNCTION infra_monitor.clamped(value float8, lowest float8, highest float8)
RETURNS float8
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT greatest($2, least($3, $1)) $$;
COMMENT ON FUNCTION infra_monitor.clamped(float8, float8, float8) IS
'the value, or the limit that it is beyond of; NULL if it is; for pg_monitor';

CREATE FUNCTION infra_monitor.shown_size(bytes float8)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE WHEN $1 < 0 THEN $1::text ELSE pg_size_pretty($1::bigint) END $$;
COMMENT ON FUNCTION infra_monitor.shown_size(float8) IS
'bytes for humans; negative numbers as they are; for pg_monitor';

CREATE FUNCTION infra_monitor.size_setting(bytes float8)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT floor($1 / 1048576)::bigint || 'MB' $$;
COMMENT ON FUNCTION infra_monitor.size_setting(float8) IS
'bytes as the value of a setting; for pg_monitor';

CREATE FUNCTION infra_monitor.shown_time(ms float8)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE
	WHEN $1 < 0 THEN 'off'
	WHEN $1 = 0 THEN '0'
	WHEN $1::numeric % 3600000 = 0 THEN $1 / 3600000 || 'h'
	WHEN $1::numeric % 60000 = 0 THEN $1 / 60000 || 'min'
	WHEN $1::numeric % 1000 = 0 THEN $1 / 1000 || 's'
	ELSE $1 || 'ms'
END
$$;
COMMENT ON FUNCTION infra_monitor.shown_time(float8) IS
'duration for humans; for pg_monitor';

--
-- Facts
--

CREATE FUNCTION infra_monitor.readiness_settings()
RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT ARRAY['max_connections', 'superuser_reserved_connections', 'reserved_connections', 'listen_addresses',
	'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout',
	'shared_buffers', 'effective_cache_size', 'work_mem', 'hash_mem_multiplier', 'maintenance_work_mem',
	'autovacuum_work_mem', 'autovacuum_max_workers', 'wal_buffers', 'wal_segment_size',
	'fsync', 'full_page_writes', 'synchronous_commit', 'data_checksums',
	'checkpoint_timeout', 'checkpoint_completion_target', 'max_wal_size',
	'autovacuum', 'track_counts', 'autovacuum_vacuum_cost_delay', 'autovacuum_vacuum_cost_limit',
	'vacuum_cost_delay', 'vacuum_cost_limit',
	'logging_collector', 'log_destination', 'log_min_duration_statement', 'log_min_duration_sample',
	'auto_explain.log_min_duration', 'log_lock_waits', 'log_temp_files', 'log_checkpoints', 'log_line_prefix',
	'ssl', 'ssl_min_protocol_version', 'password_encryption',
	'wal_level', 'archive_mode', 'archive_command', 'archive_library', 'max_wal_senders', 'max_slot_wal_keep_size',
	'pg_stat_statements.track', 'track_io_timing']
$$;
COMMENT ON FUNCTION infra_monitor.readiness_settings() IS
'the settings that production_readiness looks at; for pg_monitor';

CREATE FUNCTION infra_monitor.setting_fact(name text, value text, unit text, vartype text)
RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE
	-- what a command says is nobody's business, it may hold a password
	WHEN $1 = 'archive_command' THEN to_jsonb($2 NOT IN ('', '(disabled)'))
	WHEN $1 = 'archive_library' THEN to_jsonb($2 <> '')
	WHEN $4 IN ('integer', 'real') THEN to_jsonb(infra_monitor.setting_number($2, $3))
	WHEN $4 = 'bool' THEN to_jsonb($2::boolean)
	WHEN $4 = 'enum' THEN to_jsonb(lower($2))
	ELSE to_jsonb($2)
END
$$;
COMMENT ON FUNCTION infra_monitor.setting_fact(text, text, text, text) IS
'value of a setting as a fact: bytes, ms, number, boolean or text; for pg_monitor';

CREATE FUNCTION infra_monitor.fact_settings()
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(jsonb_object_agg(s.name, infra_monitor.setting_fact(s.name, s.setting, s.unit, s.vartype)), '{}')
FROM pg_settings s
WHERE s.name = ANY (infra_monitor.readiness_settings())
	-- not what this session, its role or its database have of their own
	AND (s.context IN ('internal', 'postmaster', 'sighup')
		OR s.source IN ('default', 'environment variable', 'configuration file', 'command line'))
$$;
COMMENT ON FUNCTION infra_monitor.fact_settings() IS
'fact: settings of the server; without those that this session has of its own, for then the server''s cannot be seen; for pg_monitor';

CREATE FUNCTION infra_monitor.fact_pending()
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(jsonb_agg(name ORDER BY name) FILTER (WHERE pending_restart), '[]') FROM pg_settings
$$;
COMMENT ON FUNCTION infra_monitor.fact_pending() IS
'fact: settings that wait for a restart; for pg_monitor';

-- Beside errors, this tells what fact_settings() cannot: the sampler has some
-- settings of its own, and so may any session.  Arguments of the server's
-- command line are not in files and are not seen for those.
CREATE FUNCTION infra_monitor.fact_files()
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
WITH files AS MATERIALIZED (
	SELECT lower(name) AS name, setting, error, applied, seqno FROM pg_file_settings
), settings AS MATERIALIZED (
	SELECT name, boot_val, unit, vartype, context, pending_restart FROM pg_settings
)
SELECT jsonb_build_object(
	'errors', (SELECT count(*) FROM files f LEFT JOIN settings s ON s.name = f.name
		WHERE f.error IS NOT NULL AND s.pending_restart IS NOT TRUE),
	'settings', (SELECT jsonb_object_agg(s.name, infra_monitor.setting_fact(s.name, coalesce(f.setting, s.boot_val), s.unit, s.vartype))
		FROM settings s
			LEFT JOIN LATERAL (SELECT setting FROM files
				WHERE name = s.name AND applied ORDER BY seqno DESC LIMIT 1) f ON true
		WHERE s.name = ANY (infra_monitor.readiness_settings())
			AND s.context NOT IN ('internal', 'postmaster', 'sighup')
			-- none is applied if one of them is wrong
			AND EXISTS (SELECT FROM files WHERE applied)))
$$;
COMMENT ON FUNCTION infra_monitor.fact_files() IS
'fact: errors in the configuration files, and settings as they are there; for superusers, grantable';

CREATE FUNCTION infra_monitor.fact_server()
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT jsonb_build_object('major', current_setting('server_version_num')::int / 10000, 'today', current_date,
	'standby', pg_is_in_recovery(), 'database', infra_monitor.shown(current_database()),
	'pg_stat_statements', infra_monitor.pg_stat_statements_loaded())
$$;
COMMENT ON FUNCTION infra_monitor.fact_server() IS
'fact: version, day, role of the server, and whether pg_stat_statements was preloaded; for pg_monitor';

CREATE FUNCTION infra_monitor.fact_machine()
RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT to_jsonb(m) FROM infra_monitor.machine_size() m $$;
COMMENT ON FUNCTION infra_monitor.fact_machine() IS
'fact: machine_size(); for pg_monitor';

CREATE FUNCTION infra_monitor.fact_hba()
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
WITH lines AS MATERIALIZED (
	SELECT line_number AS line, type, auth_method AS method, error IS NOT NULL AS wrong,
		infra_monitor.hba_reach(type, address, netmask) AS reach
	FROM pg_hba_file_rules
), encrypted AS MATERIALIZED (
	SELECT *, type IN ('hostssl', 'hostgssenc') AS encrypted FROM lines WHERE NOT wrong AND method <> 'reject'
)
SELECT jsonb_build_object(
	'errors', (SELECT coalesce(jsonb_agg(line ORDER BY line), '[]') FROM lines WHERE wrong),
	'trust', coalesce(jsonb_agg(line ORDER BY line) FILTER (WHERE method = 'trust'), '[]'),
	'world', coalesce(jsonb_agg(line ORDER BY line) FILTER (WHERE reach = 'world'), '[]'),
	'plain', coalesce(jsonb_agg(line ORDER BY line) FILTER (WHERE reach <> 'machine' AND NOT encrypted), '[]'),
	'clear', coalesce(jsonb_agg(line ORDER BY line) FILTER (WHERE reach <> 'machine' AND NOT encrypted
		AND method IN ('password', 'ldap', 'pam', 'bsd', 'radius')
		OR reach <> 'machine' AND method = 'ident'), '[]'),
	'md5', coalesce(jsonb_agg(line ORDER BY line) FILTER (WHERE method = 'md5'), '[]'),
	'methods', coalesce(jsonb_agg(DISTINCT method), '[]'))
FROM encrypted
$$;
COMMENT ON FUNCTION infra_monitor.fact_hba() IS
'fact: lines of pg_hba.conf by what may be wrong with them; for superusers, grantable';

CREATE FUNCTION infra_monitor.fact_roles()
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
-- 10 is the role that initdb made: it cannot be taken away
SELECT jsonb_build_object(
	'superusers', coalesce(jsonb_agg(infra_monitor.shown(rolname) ORDER BY rolname), '[]'),
	'for_ever', coalesce(jsonb_agg(infra_monitor.shown(rolname) ORDER BY rolname)
		FILTER (WHERE coalesce(rolvaliduntil, 'infinity') = 'infinity'), '[]'))
FROM pg_roles WHERE rolsuper AND rolcanlogin AND oid <> 10
$$;
COMMENT ON FUNCTION infra_monitor.fact_roles() IS
'fact: superusers that can log in, without the first one, and those of them without VALID UNTIL; for pg_monitor';

CREATE FUNCTION infra_monitor.fact_timeouts()
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
WITH timeouts (name) AS (
	VALUES ('statement_timeout'), ('lock_timeout'), ('idle_in_transaction_session_timeout'), ('idle_session_timeout')
), settings AS MATERIALIZED (
	SELECT d.setdatabase, d.setrole, lower(split_part(c, '=', 1)) AS name,
		infra_monitor.setting_number(substr(c, strpos(c, '=') + 1), 'ms') AS value
	FROM pg_db_role_setting d, unnest(d.setconfig) c
	WHERE d.setdatabase = 0 OR d.setrole = 0
), roles AS MATERIALIZED (
	SELECT oid, infra_monitor.shown(rolname) AS rolname FROM pg_roles
	WHERE rolcanlogin AND NOT rolsuper AND NOT rolreplication
), own AS (
	SELECT t.name, r.rolname, s.value
	FROM timeouts t CROSS JOIN roles r
		LEFT JOIN settings s ON s.name = t.name AND s.setrole = r.oid AND s.setdatabase = 0
), by_name AS (
	SELECT name, count(*) AS roles,
		coalesce(jsonb_agg(rolname ORDER BY rolname) FILTER (WHERE value = 0), '[]') AS off,
		coalesce(jsonb_agg(rolname ORDER BY rolname) FILTER (WHERE value IS NULL), '[]') AS unset
	FROM own GROUP BY name
)
SELECT jsonb_object_agg(t.name, jsonb_build_object(
	'roles', coalesce(b.roles, 0), 'off', coalesce(b.off, '[]'), 'unset', coalesce(b.unset, '[]'),
	'all', (SELECT s.value FROM settings s WHERE s.name = t.name AND s.setrole = 0 AND s.setdatabase = 0),
	'databases', (SELECT bool_and(coalesce(s.value > 0, false))
		FROM pg_database d LEFT JOIN settings s ON s.name = t.name AND s.setdatabase = d.oid
		WHERE d.datallowconn AND NOT d.datistemplate)))
FROM timeouts t LEFT JOIN by_name b ON b.name = t.name
$$;
COMMENT ON FUNCTION infra_monitor.fact_timeouts() IS
'fact: timeouts that were set for roles and databases: how many roles log in that are neither superusers nor for replication, which of them turned it off, which have none of their own; what was set for all roles; is it set in all databases? What is set for a role in one database is left out; for pg_monitor';

CREATE FUNCTION infra_monitor.fact_passwords()
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT jsonb_build_object(
	'md5', coalesce(jsonb_agg(infra_monitor.shown(rolname) ORDER BY rolname) FILTER (WHERE rolpassword LIKE 'md5%'), '[]'),
	'none', coalesce(jsonb_agg(infra_monitor.shown(rolname) ORDER BY rolname)
		FILTER (WHERE rolpassword IS NULL AND rolcanlogin AND oid <> 10), '[]'))
FROM pg_authid
$$;
COMMENT ON FUNCTION infra_monitor.fact_passwords() IS
'fact: roles whose password is stored as MD5, and roles that log in and have none; for superusers, grantable';

CREATE FUNCTION infra_monitor.fact_schema()
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT jsonb_build_object('public_creates', EXISTS (
	SELECT FROM pg_namespace n, aclexplode(n.nspacl) a
	WHERE n.nspname = 'public' AND a.grantee = 0 AND a.privilege_type = 'CREATE'))
$$;
COMMENT ON FUNCTION infra_monitor.fact_schema() IS
'fact: may everybody create objects in schema public of this database? for pg_monitor';

CREATE FUNCTION infra_monitor.fact_archiver()
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT jsonb_build_object('archived', archived_count, 'at', last_archived_time,
	'failing', coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false))
FROM pg_stat_archiver
$$;
COMMENT ON FUNCTION infra_monitor.fact_archiver() IS
'fact: what the archiver did last; for pg_monitor';

CREATE FUNCTION infra_monitor.fact_replication()
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
-- the state is NULL for who may not see it; pg_receivewal replays nothing
SELECT jsonb_build_object(
	'standbys', CASE WHEN count(*) = count(r.state) THEN count(*) FILTER (
		WHERE r.state IN ('streaming', 'catchup') AND r.replay_lsn IS NOT NULL AND s.slot_type IS DISTINCT FROM 'logical') END,
	'receivers', CASE WHEN count(*) = count(r.state) THEN count(*) FILTER (
		WHERE r.state IN ('streaming', 'catchup') AND r.replay_lsn IS NULL AND s.slot_type IS DISTINCT FROM 'logical') END,
	'receiving', CASE WHEN NOT EXISTS (SELECT FROM pg_stat_wal_receiver) THEN false
		ELSE (SELECT w.status = 'streaming' FROM pg_stat_wal_receiver w) END)
FROM pg_stat_replication r LEFT JOIN pg_replication_slots s ON s.active_pid = r.pid
$$;
COMMENT ON FUNCTION infra_monitor.fact_replication() IS
'fact: standbys connected, others that receive WAL, and does this standby receive? for pg_monitor';

CREATE FUNCTION infra_monitor.fact_slots()
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT jsonb_build_object('slots', count(*),
	'inactive', coalesce(jsonb_agg(infra_monitor.shown(slot_name) ORDER BY slot_name)
		FILTER (WHERE NOT active AND wal_status IS DISTINCT FROM 'lost' AND restart_lsn IS NOT NULL), '[]'),
	'lost', coalesce(jsonb_agg(infra_monitor.shown(slot_name) ORDER BY slot_name) FILTER (WHERE wal_status = 'lost'), '[]'))
FROM pg_replication_slots
$$;
COMMENT ON FUNCTION infra_monitor.fact_slots() IS
'fact: replication slots, those that keep WAL for nobody, and those that have lost it; for pg_monitor';

CREATE FUNCTION infra_monitor.fact_extensions()
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(jsonb_agg(format('%s %s (%s is available)', name, installed_version, default_version) ORDER BY name), '[]')
FROM pg_available_extensions
WHERE installed_version <> default_version
$$;
COMMENT ON FUNCTION infra_monitor.fact_extensions() IS
'fact: extensions of this database that can be updated; for pg_monitor';

CREATE FUNCTION infra_monitor.collect_facts()
RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'imon_collect_facts_1_0';
COMMENT ON FUNCTION infra_monitor.collect_facts() IS
'all facts that production_readiness is about, now and with the rights of the caller; those that cannot be collected are missing, and their errors stand in "errors"; for pg_monitor';

CREATE FUNCTION infra_monitor.known_settings(facts jsonb)
RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN jsonb_typeof($1->'files'->'settings') = 'object' THEN $1->'files'->'settings' ELSE '{}' END
	|| coalesce($1->'settings', '{}')
$$;
COMMENT ON FUNCTION infra_monitor.known_settings(jsonb) IS
'the settings among facts, those of files where others are not known; for pg_monitor';

--
-- What follows from the facts.  A row says which fact it is mainly about, for
-- the error that is shown where that is missing.
--

CREATE FUNCTION infra_monitor.readiness_sizes(facts jsonb,
	OUT memory float8, OUT max_connections float8, OUT shared_buffers float8,
	OUT work_mem float8, OUT maintenance_work_mem float8, OUT autovacuum_memory float8,
	OUT good_shared_buffers float8, OUT good_work_mem float8,
	OUT good_maintenance_work_mem float8, OUT peak float8, OUT connections_that_fit float8)
RETURNS record
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
-- What all sessions can take: each of them one hash table of work_mem times
-- hash_mem_multiplier, and 5 MB for its caches of catalogs and plans; each
-- autovacuum worker what it may have for dead rows; and the cache they share.
WITH given AS (
	SELECT ($1->'machine'->>'memory')::float8 AS memory, s.*
	FROM jsonb_to_record(infra_monitor.known_settings($1)) AS s (
		max_connections float8, shared_buffers float8, work_mem float8, hash_mem_multiplier float8,
		maintenance_work_mem float8, autovacuum_work_mem float8, autovacuum_max_workers float8)
), good AS (
	SELECT *,
		floor(memory / 4 / 1048576) * 1048576 AS good_shared_buffers,
		infra_monitor.clamped(floor(memory / 4 / nullif(max_connections * hash_mem_multiplier, 0) / 1048576) * 1048576,
			4 * 1048576, 64 * 1048576) AS good_work_mem,
		infra_monitor.clamped(floor(memory / 32 / 1048576) * 1048576,
			64 * 1048576, 1024 * 1048576) AS good_maintenance_work_mem,
		autovacuum_max_workers * CASE WHEN autovacuum_work_mem >= 0 THEN autovacuum_work_mem
			WHEN autovacuum_work_mem < 0 THEN maintenance_work_mem END AS autovacuum_memory
	FROM given
)
SELECT memory, max_connections, shared_buffers, work_mem, maintenance_work_mem, autovacuum_memory,
	good_shared_buffers, good_work_mem, good_maintenance_work_mem,
	shared_buffers + autovacuum_memory + max_connections * (work_mem * hash_mem_multiplier + 5 * 1048576),
	-- in three quarters of memory, once all other advice has been followed
	floor((memory * 0.75
		- CASE WHEN shared_buffers BETWEEN memory * 0.15 AND memory * 0.4 THEN shared_buffers ELSE good_shared_buffers END
		- CASE WHEN autovacuum_memory > memory / 4 OR maintenance_work_mem < good_maintenance_work_mem / 2
			THEN autovacuum_max_workers * good_maintenance_work_mem ELSE autovacuum_memory END)
		/ (hash_mem_multiplier * CASE WHEN work_mem BETWEEN good_work_mem / 2 AND good_work_mem * 4 THEN work_mem ELSE good_work_mem END
			+ 5 * 1048576))
FROM good
$$;
COMMENT ON FUNCTION infra_monitor.readiness_sizes(jsonb) IS
'sizes in bytes as they are, and as production_readiness recommends them; for pg_monitor';

CREATE FUNCTION infra_monitor.readiness_connections(facts jsonb,
	OUT item text, OUT fact text, OUT fails boolean, OUT warns boolean,
	OUT current text, OUT recommended text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
SELECT r.item, 'settings', r.fails, r.warns, r.current, r.recommended
FROM infra_monitor.readiness_sizes($1) z,
	jsonb_to_record(infra_monitor.known_settings($1)) AS s (
		superuser_reserved_connections float8, reserved_connections float8, listen_addresses text),
	LATERAL (VALUES
		('max_connections', z.peak > z.memory, z.peak > z.memory * 0.75,
			format('%s; all of them at work can take %s of %s', z.max_connections,
				coalesce(infra_monitor.shown_size(z.peak), 'an unknown part'),
				coalesce(infra_monitor.shown_size(z.memory), 'unknown memory')),
			CASE WHEN z.peak <= z.memory * 0.75 THEN z.max_connections::text
				WHEN z.connections_that_fit IS NOT NULL
				THEN greatest(10, least(z.max_connections, z.connections_that_fit))::text END),
		('superuser_reserved_connections', s.superuser_reserved_connections = 0,
			s.superuser_reserved_connections < 3, s.superuser_reserved_connections::text, NULL),
		('reserved_connections', false, s.reserved_connections = 0, s.reserved_connections::text, NULL),
		('listen_addresses', false,
			s.listen_addresses ~ '(^|,) *([*]|0[.]0[.]0[.]0|::) *(,|$)',
			CASE s.listen_addresses WHEN '' THEN 'none' ELSE s.listen_addresses END, NULL)
	) AS r (item, fails, warns, current, recommended)
-- new in 16
WHERE r.item <> 'reserved_connections' OR coalesce(($1->'server'->>'major')::int >= 16, true)
$$;
COMMENT ON FUNCTION infra_monitor.readiness_connections(jsonb) IS
'items of production_readiness about connections; for pg_monitor';

CREATE FUNCTION infra_monitor.readiness_timeouts(facts jsonb,
	OUT item text, OUT fact text, OUT fails boolean, OUT warns boolean,
	OUT current text, OUT recommended text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
WITH given AS (
	SELECT t.name, f.roles, f.off, f.unset, f.databases, coalesce(f.all, s.value::float8) AS general,
		f.databases OR coalesce(f.all, s.value::float8) > 0 AS covered
	FROM (VALUES ('statement_timeout'), ('lock_timeout'), ('idle_in_transaction_session_timeout'), ('idle_session_timeout')) t (name)
		CROSS JOIN LATERAL jsonb_to_record(coalesce($1->'timeouts'->t.name, '{}')) AS f (
			roles int, "off" jsonb, unset jsonb, "all" float8, databases boolean)
		CROSS JOIN LATERAL (SELECT infra_monitor.known_settings($1)->>t.name) s (value)
), judged AS (
	SELECT *, NOT covered AND (jsonb_array_length(unset) > 0 OR roles = 0) AS bare,
		jsonb_array_length(off) > 0 AS lifted
	FROM given
)
SELECT name, CASE WHEN roles IS NULL THEN 'timeouts' ELSE 'files' END,
	CASE WHEN name = 'idle_in_transaction_session_timeout' THEN bare ELSE false END,
	bare OR lifted,
	concat_ws('; ', CASE WHEN databases AND general = 0 THEN 'set in all databases'
			WHEN general IS NOT NULL THEN infra_monitor.shown_time(general) END,
		CASE WHEN bare AND roles > 0 THEN 'none for ' || infra_monitor.listed(unset) END,
		CASE WHEN lifted THEN '0 for ' || infra_monitor.listed(off) END,
		CASE WHEN NOT bare AND general = 0 AND NOT databases THEN 'set for all roles that log in' END),
	NULL::text
FROM judged
$$;
COMMENT ON FUNCTION infra_monitor.readiness_timeouts(jsonb) IS
'items of production_readiness about timeouts; for pg_monitor';

CREATE FUNCTION infra_monitor.readiness_memory(facts jsonb,
	OUT item text, OUT fact text, OUT fails boolean, OUT warns boolean,
	OUT current text, OUT recommended text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
SELECT r.item, r.fact, r.fails, r.warns, r.current, r.recommended
FROM infra_monitor.readiness_sizes($1) z,
	jsonb_to_record(infra_monitor.known_settings($1)) AS s (
		effective_cache_size float8, autovacuum_work_mem float8, wal_buffers float8, wal_segment_size float8),
	LATERAL (SELECT ' of ' || coalesce(infra_monitor.shown_size(z.memory), 'unknown') || ' memory') m (ory),
	LATERAL (VALUES
		('shared_buffers', 'machine', z.shared_buffers > z.memory * 0.75,
			z.shared_buffers < z.memory * 0.15 OR z.shared_buffers > z.memory * 0.4,
			infra_monitor.shown_size(z.shared_buffers) || m.ory, infra_monitor.size_setting(z.good_shared_buffers)),
		('effective_cache_size', 'files', false,
			s.effective_cache_size < z.memory / 2 OR s.effective_cache_size > z.memory,
			infra_monitor.shown_size(s.effective_cache_size) || m.ory, infra_monitor.size_setting(z.memory * 0.75)),
		('work_mem', 'files', false,
			z.work_mem < z.good_work_mem / 2 OR z.work_mem > z.good_work_mem * 4,
			infra_monitor.shown_size(z.work_mem), infra_monitor.size_setting(z.good_work_mem)),
		('maintenance_work_mem', 'files', false,
			z.maintenance_work_mem < z.good_maintenance_work_mem / 2 OR z.autovacuum_memory > z.memory / 4,
			concat(infra_monitor.shown_size(z.maintenance_work_mem),
				CASE WHEN z.autovacuum_memory > z.memory / 4 THEN '; all autovacuum workers can take ' || infra_monitor.shown_size(z.autovacuum_memory) END),
			CASE WHEN s.autovacuum_work_mem >= 0 AND z.autovacuum_memory > z.memory / 4 THEN 'autovacuum_work_mem = -1'
				ELSE infra_monitor.size_setting(z.good_maintenance_work_mem) END),
		-- as much as it would have by itself, but for rounding
		('wal_buffers', 'settings', false,
			s.wal_buffers < CASE WHEN z.shared_buffers / 32 < s.wal_segment_size THEN z.shared_buffers / 32 ELSE s.wal_segment_size END * 0.9,
			infra_monitor.shown_size(s.wal_buffers), NULL)
	) AS r (item, fact, fails, warns, current, recommended)
$$;
COMMENT ON FUNCTION infra_monitor.readiness_memory(jsonb) IS
'items of production_readiness about memory; for pg_monitor';

CREATE FUNCTION infra_monitor.readiness_durability(facts jsonb,
	OUT item text, OUT fact text, OUT fails boolean, OUT warns boolean,
	OUT current text, OUT recommended text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
SELECT r.item, r.fact, r.fails, r.warns, r.current, r.recommended
FROM jsonb_to_record(infra_monitor.known_settings($1)) AS s (
		fsync boolean, full_page_writes boolean, synchronous_commit text, data_checksums boolean,
		checkpoint_timeout float8, checkpoint_completion_target float8, max_wal_size float8),
	LATERAL (SELECT ($1->'machine'->>'wal_disk')::float8) d (disk),
	LATERAL (SELECT infra_monitor.clamped(floor(d.disk / 10 / 1048576) * 1048576,
		256 * 1048576, 4096::float8 * 1048576)) g (good),
	LATERAL (VALUES
		('fsync', 'settings', NOT s.fsync, false, CASE WHEN s.fsync THEN 'on' WHEN NOT s.fsync THEN 'off' END, NULL),
		('full_page_writes', 'settings', NOT s.full_page_writes, false,
			CASE WHEN s.full_page_writes THEN 'on' WHEN NOT s.full_page_writes THEN 'off' END, NULL),
		('synchronous_commit', 'files', false, s.synchronous_commit IN ('off', 'false', 'no', '0'), s.synchronous_commit, NULL),
		('data_checksums', 'settings', false, NOT s.data_checksums,
			CASE WHEN s.data_checksums THEN 'on' WHEN NOT s.data_checksums THEN 'off' END, NULL),
		('checkpoint_timeout', 'settings', false, s.checkpoint_timeout < 300000 OR s.checkpoint_timeout > 3600000,
			infra_monitor.shown_time(s.checkpoint_timeout), NULL),
		('checkpoint_completion_target', 'settings', false, s.checkpoint_completion_target < 0.9,
			s.checkpoint_completion_target::text, NULL),
		('max_wal_size', 'machine', s.max_wal_size > d.disk, s.max_wal_size < g.good OR s.max_wal_size > d.disk / 2,
			format('%s, on a disk of %s', infra_monitor.shown_size(s.max_wal_size),
				coalesce(infra_monitor.shown_size(d.disk), 'unknown size')),
			infra_monitor.size_setting(g.good))
	) AS r (item, fact, fails, warns, current, recommended)
$$;
COMMENT ON FUNCTION infra_monitor.readiness_durability(jsonb) IS
'items of production_readiness about durability and checkpoints; for pg_monitor';

CREATE FUNCTION infra_monitor.readiness_autovacuum(facts jsonb,
	OUT item text, OUT fact text, OUT fails boolean, OUT warns boolean,
	OUT current text, OUT recommended text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
SELECT r.item, r.fact, r.fails, r.warns, r.current, r.recommended
FROM jsonb_to_record(infra_monitor.known_settings($1)) AS s (
		autovacuum boolean, track_counts boolean, autovacuum_vacuum_cost_delay float8,
		autovacuum_vacuum_cost_limit float8, vacuum_cost_delay float8, vacuum_cost_limit float8),
	LATERAL (SELECT CASE WHEN s.autovacuum_vacuum_cost_delay < 0 THEN s.vacuum_cost_delay ELSE s.autovacuum_vacuum_cost_delay END,
		CASE WHEN s.autovacuum_vacuum_cost_limit < 0 THEN s.vacuum_cost_limit ELSE s.autovacuum_vacuum_cost_limit END) c (delay, cost),
	LATERAL (VALUES
		('autovacuum', 'settings', NOT s.autovacuum, false,
			CASE WHEN s.autovacuum THEN 'on' WHEN NOT s.autovacuum THEN 'off' END, NULL),
		('track_counts', 'files', NOT s.track_counts, false,
			CASE WHEN s.track_counts THEN 'on' WHEN NOT s.track_counts THEN 'off' END, NULL),
		-- slower than 200 per 2 ms, the default
		('autovacuum_vacuum_cost_delay', 'files', false, c.cost < 100 * c.delay,
			infra_monitor.shown_time(c.delay) || ' for a cost of ' || c.cost,
			CASE WHEN c.cost < 200 THEN c.cost / 100 || 'ms' END)
	) AS r (item, fact, fails, warns, current, recommended)
$$;
COMMENT ON FUNCTION infra_monitor.readiness_autovacuum(jsonb) IS
'items of production_readiness about autovacuum; for pg_monitor';

CREATE FUNCTION infra_monitor.readiness_logging(facts jsonb,
	OUT item text, OUT fact text, OUT fails boolean, OUT warns boolean,
	OUT current text, OUT recommended text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
SELECT r.item, r.fact, r.fails, r.warns, r.current, r.recommended
FROM jsonb_to_record(infra_monitor.known_settings($1)) AS s (
		logging_collector boolean, log_destination text, log_min_duration_statement float8,
		log_min_duration_sample float8, "auto_explain.log_min_duration" float8, log_lock_waits boolean,
		log_temp_files float8, log_checkpoints boolean, log_line_prefix text),
	LATERAL (SELECT s.log_destination ~* 'syslog|eventlog' OR s.logging_collector,
		s.log_destination ~* 'csvlog|jsonlog' AND s.logging_collector,
		$1->'machine'->>'standard_error') d (kept, complete, standard_error),
	LATERAL (SELECT array_remove(ARRAY[
		CASE WHEN p.prefix !~ '%-?[0-9]*[mtn]' THEN 'time (%m)' END,
		CASE WHEN p.prefix !~ '%-?[0-9]*[pc]' THEN 'process (%p)' END,
		CASE WHEN p.prefix !~ '%-?[0-9]*u' THEN 'user (%u)' END,
		CASE WHEN p.prefix !~ '%-?[0-9]*d' THEN 'database (%d)' END], NULL)
		FROM replace(s.log_line_prefix, '%%', '') p (prefix)) m (missing),
	LATERAL (VALUES
		('log destination', 'machine', NOT d.kept AND d.standard_error IN ('/dev/null', 'closed'),
			NOT d.kept AND d.standard_error = 'terminal',
			concat(s.log_destination, CASE WHEN s.logging_collector THEN ', with logging_collector'
				WHEN NOT d.kept THEN ', standard error goes to ' || coalesce(d.standard_error, 'an unknown place') END), NULL),
		('log_min_duration_statement', 'files', false,
			NOT (s.log_min_duration_statement BETWEEN 0 AND 60000
				OR s.log_min_duration_sample BETWEEN 0 AND 60000
				-- not there unless auto_explain is loaded
				OR coalesce(s."auto_explain.log_min_duration" BETWEEN 0 AND 60000, false)),
			concat(infra_monitor.shown_time(s.log_min_duration_statement),
				CASE WHEN s.log_min_duration_sample >= 0 THEN '; of a sample: ' || infra_monitor.shown_time(s.log_min_duration_sample) END,
				CASE WHEN s."auto_explain.log_min_duration" >= 0 THEN '; by auto_explain: ' || infra_monitor.shown_time(s."auto_explain.log_min_duration") END), NULL),
		('log_lock_waits', 'files', false, NOT s.log_lock_waits,
			CASE WHEN s.log_lock_waits THEN 'on' WHEN NOT s.log_lock_waits THEN 'off' END, NULL),
		('log_temp_files', 'files', false, s.log_temp_files < 0,
			CASE WHEN s.log_temp_files < 0 THEN 'off' ELSE infra_monitor.shown_size(s.log_temp_files) END, NULL),
		('log_checkpoints', 'settings', false, NOT s.log_checkpoints,
			CASE WHEN s.log_checkpoints THEN 'on' WHEN NOT s.log_checkpoints THEN 'off' END, NULL),
		('log_line_prefix', 'settings', false,
			CASE WHEN s.log_line_prefix IS NOT NULL THEN NOT d.complete AND m.missing <> '{}' END,
			CASE WHEN s.log_line_prefix = '' THEN 'none' ELSE s.log_line_prefix END
				|| CASE WHEN d.complete IS NOT TRUE AND m.missing <> '{}' THEN ' without ' || array_to_string(m.missing, ', ') ELSE '' END, NULL)
	) AS r (item, fact, fails, warns, current, recommended)
$$;
COMMENT ON FUNCTION infra_monitor.readiness_logging(jsonb) IS
'items of production_readiness about the server log; for pg_monitor';

CREATE FUNCTION infra_monitor.readiness_security(facts jsonb,
	OUT item text, OUT fact text, OUT fails boolean, OUT warns boolean,
	OUT current text, OUT recommended text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 20
SET search_path = pg_catalog, pg_temp
AS $$
SELECT r.item, r.fact, r.fails, r.warns, r.current, r.recommended
FROM jsonb_to_record(infra_monitor.known_settings($1)) AS s (
		ssl boolean, ssl_min_protocol_version text, password_encryption text, listen_addresses text),
	LATERAL (SELECT s.listen_addresses !~ '[^, ]' OR s.listen_addresses ~ '^ *(localhost|127[.]0[.]0[.]1|::1)( *, *(localhost|127[.]0[.]0[.]1|::1))* *$') l (local),
	jsonb_to_record(coalesce($1->'roles', '{}')) AS o (superusers jsonb, for_ever jsonb),
	jsonb_to_record(coalesce($1->'passwords', '{}')) AS p (md5 jsonb, "none" jsonb),
	LATERAL (VALUES
		('ssl', 'settings', NOT s.ssl AND NOT l.local, false,
			CASE WHEN s.ssl THEN 'on' WHEN NOT s.ssl AND l.local THEN 'off, and no connections from beyond the machine' WHEN NOT s.ssl THEN 'off' END, NULL),
		('ssl_min_protocol_version', 'settings', s.ssl_min_protocol_version IN ('', 'tlsv1', 'tlsv1.1'), false,
			CASE s.ssl_min_protocol_version WHEN '' THEN 'any' ELSE replace(s.ssl_min_protocol_version, 'tls', 'TLS') END, NULL),
		('password_encryption', 'files', s.password_encryption <> 'scram-sha-256', false, s.password_encryption, NULL),
		('MD5 passwords', 'passwords', jsonb_array_length(p.md5) > 0, false, infra_monitor.counted(p.md5), NULL),
		('roles without password', 'passwords',
			jsonb_array_length(p."none") > 0 AND $1->'hba'->'methods' ? 'trust',
			jsonb_array_length(p."none") > 0 AND NOT $1->'hba'->'methods' ?| ARRAY['peer', 'cert', 'gss', 'sspi',
				'ldap', 'pam', 'radius', 'bsd', 'ident', 'oauth'],
			infra_monitor.counted(p."none"), NULL),
		('superusers', 'roles', false, jsonb_array_length(o.for_ever) > 0, infra_monitor.listed(o.superusers), NULL),
		('schema public', 'schema', false, ($1->'schema'->>'public_creates')::boolean,
			CASE ($1->'schema'->>'public_creates')::boolean WHEN true THEN 'everybody may create objects in it'
				WHEN false THEN 'not everybody may create objects in it' END
				|| coalesce(', in database ' || ($1->'server'->>'database'), ''), NULL)
	) AS r (item, fact, fails, warns, current, recommended)
$$;
COMMENT ON FUNCTION infra_monitor.readiness_security(jsonb) IS
'items of production_readiness about TLS, roles and passwords; for pg_monitor';

CREATE FUNCTION infra_monitor.readiness_hba(facts jsonb,
	OUT item text, OUT fact text, OUT fails boolean, OUT warns boolean,
	OUT current text, OUT recommended text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
SELECT r.item, 'hba', jsonb_array_length(r.failing) > 0, jsonb_array_length(r.warning) > 0,
	CASE WHEN r.failing <> '[]' OR r.warning <> '[]' THEN 'lines ' || infra_monitor.listed(r.failing || r.warning)
		WHEN r.failing IS NOT NULL AND r.warning IS NOT NULL THEN 'no such line' END,
	NULL::text
FROM jsonb_to_record(coalesce($1->'hba', '{}')) AS h (
		errors jsonb, trust jsonb, world jsonb, plain jsonb, clear jsonb, md5 jsonb),
	LATERAL (VALUES
		('pg_hba.conf errors', h.errors, '[]'::jsonb),
		('pg_hba.conf trust', h.trust, '[]'),
		('pg_hba.conf open to the world', '[]', h.world),
		('pg_hba.conf without TLS', '[]', h.plain),
		('pg_hba.conf weak methods', h.clear, h.md5)
	) AS r (item, failing, warning)
$$;
COMMENT ON FUNCTION infra_monitor.readiness_hba(jsonb) IS
'items of production_readiness about pg_hba.conf, with numbers of lines; for pg_monitor';

CREATE FUNCTION infra_monitor.readiness_recovery(facts jsonb,
	OUT item text, OUT fact text, OUT fails boolean, OUT warns boolean,
	OUT current text, OUT recommended text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
SELECT r.item, r.fact, r.fails, r.warns, r.current, r.recommended
FROM jsonb_to_record(infra_monitor.known_settings($1)) AS s (
		wal_level text, archive_mode text, archive_command boolean, archive_library boolean,
		max_wal_senders float8, max_slot_wal_keep_size float8),
	jsonb_to_record(coalesce($1->'archiver', '{}')) AS a (archived float8, at timestamptz, failing boolean),
	jsonb_to_record(coalesce($1->'replication', '{}')) AS p (standbys int, receivers int, receiving boolean),
	jsonb_to_record(coalesce($1->'slots', '{}')) AS l (slots int, inactive jsonb, lost jsonb),
	-- WAL may also be archived by who receives it, such as pg_receivewal
	LATERAL (SELECT ($1->'server'->>'standby')::boolean, s.archive_mode = 'off' AND p.receivers = 0,
		s.archive_command OR s.archive_library,
		CASE s.archive_mode WHEN 'always' THEN true WHEN 'on' THEN NOT ($1->'server'->>'standby')::boolean END,
		CASE WHEN p.receivers > 0 THEN format(', and %s receive WAL', p.receivers) END) c (standby, none, has_command, archives, received),
	LATERAL (VALUES
		('wal_level', 'settings', s.wal_level = 'minimal', false, s.wal_level, NULL),
		('archive_mode', 'settings', c.none, false, concat(s.archive_mode, c.received), NULL),
		('archive_command', 'settings', s.archive_mode <> 'off' AND NOT c.has_command, c.none,
			concat(CASE WHEN s.archive_mode = 'off' THEN 'archive_mode is off' WHEN c.has_command THEN 'set'
				WHEN NOT c.has_command THEN 'not set' END, c.received), NULL),
		('last archived', 'archiver',
			CASE WHEN s.archive_mode = 'off' THEN false WHEN c.archives THEN a.failing END,
			CASE WHEN s.archive_mode = 'off' THEN c.none WHEN c.archives THEN a.archived = 0 END,
			CASE WHEN s.archive_mode = 'off' THEN concat('archive_mode is off', c.received)
				WHEN NOT c.archives THEN 'a standby does not archive'
				WHEN a.failing THEN concat('failing', ', last one archived at ' || a.at)
				WHEN a.archived = 0 THEN 'nothing yet' ELSE a.at::text END, NULL),
		('max_wal_senders', 'settings', s.max_wal_senders = 0, s.max_wal_senders < 2, s.max_wal_senders::text, NULL),
		('standbys', 'replication', false,
			CASE c.standby WHEN true THEN NOT p.receiving WHEN false THEN p.standbys = 0 END,
			CASE c.standby WHEN true THEN CASE p.receiving WHEN true THEN 'this is one, and it receives WAL'
					WHEN false THEN 'this is one, and it receives no WAL' END
				WHEN false THEN p.standbys || ' connected' END, NULL),
		('replication slots', 'slots', jsonb_array_length(l.inactive) > 0 AND s.max_slot_wal_keep_size < 0,
			l.slots > 0 AND s.max_slot_wal_keep_size < 0 OR jsonb_array_length(l.inactive) > 0 OR jsonb_array_length(l.lost) > 0,
			concat_ws('; ', 'slots: ' || l.slots,
				CASE WHEN l.inactive <> '[]' THEN 'not in use: ' || infra_monitor.listed(l.inactive) END,
				CASE WHEN l.lost <> '[]' THEN 'lost: ' || infra_monitor.listed(l.lost) END,
				CASE WHEN l.slots > 0 AND s.max_slot_wal_keep_size < 0 THEN 'no limit' END), NULL)
	) AS r (item, fact, fails, warns, current, recommended)
$$;
COMMENT ON FUNCTION infra_monitor.readiness_recovery(jsonb) IS
'items of production_readiness about archiving and replication; for pg_monitor';

CREATE FUNCTION infra_monitor.readiness_upkeep(facts jsonb,
	OUT item text, OUT fact text, OUT fails boolean, OUT warns boolean,
	OUT current text, OUT recommended text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
-- https://www.postgresql.org/support/versioning/: five years, until the second
-- Thursday of November.  Versions that are not here are not known.
WITH versions (major, until) AS (
	VALUES (15, date '2027-11-11'), (16, '2028-11-09'), (17, '2029-11-08'), (18, '2030-11-14'), (19, '2031-11-13')
)
SELECT r.item, r.fact, r.fails, r.warns, r.current, r.recommended
FROM jsonb_to_record(infra_monitor.known_settings($1)) AS s ("pg_stat_statements.track" text, track_io_timing boolean),
	jsonb_to_record(coalesce($1->'server', '{}')) AS v (major int, today date, database text, pg_stat_statements boolean),
	LATERAL (SELECT (SELECT until FROM versions WHERE major = v.major), (SELECT max(major) FROM versions)) e (until, newest),
	LATERAL (VALUES
		('pg_stat_statements', 'server', false, NOT v.pg_stat_statements,
			CASE WHEN v.pg_stat_statements THEN 'loaded' WHEN NOT v.pg_stat_statements THEN 'not loaded' END, NULL),
		('pg_stat_statements.track', 'files', false,
			CASE WHEN v.pg_stat_statements THEN s."pg_stat_statements.track" = 'none' ELSE NOT v.pg_stat_statements END,
			CASE WHEN v.pg_stat_statements THEN s."pg_stat_statements.track" WHEN NOT v.pg_stat_statements THEN 'not loaded' END, NULL),
		('track_io_timing', 'files', false, NOT s.track_io_timing,
			CASE WHEN s.track_io_timing THEN 'on' WHEN NOT s.track_io_timing THEN 'off' END, NULL),
		('major version', 'server', v.today > e.until, v.today > e.until - 180,
			v.major || coalesce(', supported until ' || to_char(e.until, 'YYYY-MM-DD'), ''), 'PostgreSQL ' || e.newest),
		('extension updates', 'extensions', false, jsonb_array_length($1->'extensions') > 0,
			infra_monitor.listed($1->'extensions') || coalesce(', in database ' || v.database, ''), NULL),
		('pending restart', 'pending', false, jsonb_array_length($1->'pending') > 0, infra_monitor.listed($1->'pending'), NULL),
		('configuration files', 'files', ($1->'files'->>'errors')::int > 0, false,
			'lines with an error: ' || ($1->'files'->>'errors'), NULL)
	) AS r (item, fact, fails, warns, current, recommended)
$$;
COMMENT ON FUNCTION infra_monitor.readiness_upkeep(jsonb) IS
'items of production_readiness about monitoring and upkeep; for pg_monitor';

CREATE FUNCTION infra_monitor.judge_readiness(facts jsonb,
	OUT area text, OUT item text, OUT status text, OUT current text,
	OUT recommended text, OUT why text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 60
SET search_path = pg_catalog, pg_temp
AS $$
SELECT i.area, i.item,
	CASE WHEN j.fails THEN 'fail' WHEN j.fails IS NULL OR j.warns IS NULL THEN 'unknown'
		WHEN j.warns THEN 'warn' ELSE 'pass' END,
	left(coalesce(CASE WHEN j.fails IS NULL OR j.warns IS NULL THEN $1->'errors'->>j.fact END, nullif(j.current, ''), 'not known'), 200),
	coalesce(j.recommended, i.recommended), i.why
FROM infra_monitor.readiness_items() WITH ORDINALITY AS i (area, item, recommended, why, place)
	JOIN (
		SELECT * FROM infra_monitor.readiness_connections($1)
		UNION ALL SELECT * FROM infra_monitor.readiness_timeouts($1)
		UNION ALL SELECT * FROM infra_monitor.readiness_memory($1)
		UNION ALL SELECT * FROM infra_monitor.readiness_durability($1)
		UNION ALL SELECT * FROM infra_monitor.readiness_autovacuum($1)
		UNION ALL SELECT * FROM infra_monitor.readiness_logging($1)
		UNION ALL SELECT * FROM infra_monitor.readiness_security($1)
		UNION ALL SELECT * FROM infra_monitor.readiness_hba($1)
		UNION ALL SELECT * FROM infra_monitor.readiness_recovery($1)
		UNION ALL SELECT * FROM infra_monitor.readiness_upkeep($1)
	) j ON j.item = i.item
ORDER BY i.place
$$;
COMMENT ON FUNCTION infra_monitor.judge_readiness(jsonb) IS
'the rows of production_readiness that follow from facts as of collect_facts(); what is not among them is unknown; for pg_monitor';

-- What a password is like is in pg_authid, which pg_monitor cannot read: it sees
-- how many roles there are.  (Who is a superuser, or has which timeouts, is in
-- pg_roles, which everybody can read.)
CREATE FUNCTION infra_monitor.readiness_named(facts jsonb)
RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(jsonb_object_agg(n.item, left(infra_monitor.listed(n.roles), 200)), '{}')
FROM (VALUES ('MD5 passwords', $1->'passwords'->'md5'), ('roles without password', $1->'passwords'->'none')) AS n (item, roles)
WHERE n.roles <> '[]'
$$;
COMMENT ON FUNCTION infra_monitor.readiness_named(jsonb) IS
'items of production_readiness that tell roles by name to those only who may read pg_authid: what they tell them; from facts as of collect_facts(); for pg_monitor';

CREATE FUNCTION infra_monitor.readiness_document(OUT document jsonb, OUT named jsonb)
RETURNS record
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
WITH facts AS MATERIALIZED (SELECT infra_monitor.collect_facts() AS list)
SELECT (SELECT jsonb_agg(jsonb_build_array(j.item, j.status, j.current, j.recommended))
	FROM infra_monitor.judge_readiness(facts.list) j), infra_monitor.readiness_named(facts.list)
FROM facts
$$;
COMMENT ON FUNCTION infra_monitor.readiness_document() IS
'the audit of production_readiness, now and with the rights of the caller: arrays of item, status, current, recommended; and what readiness_named() has; for pg_monitor';

CREATE FUNCTION infra_monitor.readiness_cache(OUT document jsonb, OUT named jsonb, OUT evaluated_at timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 1
AS 'MODULE_PATHNAME', 'imon_readiness_cache_1_0';
COMMENT ON FUNCTION infra_monitor.readiness_cache() IS
'the audit as the sampler found it last; named is NULL for those who may not read pg_authid; no row if there is none; for pg_monitor';

CREATE FUNCTION infra_monitor.readiness(
	OUT area text, OUT item text, OUT status text, OUT current text,
	OUT recommended text, OUT why text, OUT evaluated_at timestamptz)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE ROWS 60
SET search_path = pg_catalog, pg_temp
AS $$
WITH cached AS MATERIALIZED (
	SELECT document, named, evaluated_at FROM infra_monitor.readiness_cache()
), shown AS MATERIALIZED (
	SELECT * FROM cached
	UNION ALL
	SELECT n.document, n.named, clock_timestamp()
	FROM (SELECT WHERE NOT EXISTS (SELECT FROM cached)) none, infra_monitor.readiness_document() n
)
SELECT i.area, i.item, d.value->>1, coalesce(s.named->>i.item, d.value->>2), d.value->>3, i.why, s.evaluated_at
FROM shown s
	CROSS JOIN LATERAL jsonb_array_elements(s.document) d
	JOIN infra_monitor.readiness_items() WITH ORDINALITY AS i (area, item, recommended, why, place)
		ON i.item = d.value->>0
ORDER BY i.place
$$;
COMMENT ON FUNCTION infra_monitor.readiness() IS
'the rows of production_readiness; for pg_monitor';

CREATE VIEW infra_monitor.production_readiness AS
SELECT r.area, r.item, r.status, r.current, r.recommended, r.why, r.evaluated_at
FROM infra_monitor.readiness() r;
COMMENT ON VIEW infra_monitor.production_readiness IS
'the audit before a launch: settings and what else can be seen, against the size of the machine; as the sampler found it with its own rights, each hour and after each reload, for its home database; evaluated now, for this database and with the rights of the caller, only if it has not; for pg_monitor';
COMMENT ON COLUMN infra_monitor.production_readiness.status IS 'pass, warn, fail, or unknown: what it depends on cannot be read';
COMMENT ON COLUMN infra_monitor.production_readiness.current IS 'what is; never a secret; names of roles by what their passwords are like only for those who may read pg_authid, for others their number';
COMMENT ON COLUMN infra_monitor.production_readiness.recommended IS 'what should be; where the item is a setting mostly its value';
COMMENT ON COLUMN infra_monitor.production_readiness.why IS 'what happens otherwise';
