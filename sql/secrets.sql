--
-- Statements that can carry a secret are shown by their tag only
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS infra_monitor CASCADE;
RESET client_min_messages;
SELECT pg_stat_statements_reset() IS NOT NULL AS reset, infra_monitor.reset('statements');

-- roles
CREATE ROLE regress_secret1 PASSWORD 'sekret';
create user regress_secret2 with encrypted password 'sekret';
CREATE GROUP regress_secret3 PASSWORD 'sekret';
CREATE ROLE "regress password ROLE" LOGIN PASSWORD 'sekret' VALID UNTIL 'infinity';
ALTER ROLE regress_secret1 PASSWORD 'sekret';
ALTER USER regress_secret2 LOGIN password 'sekret';
alter user regress_secret2 PASSWORD E'it\'s -- sekret';
ALTER ROLE regress_secret1 PASSWORD $$sekret$$;
ALTER ROLE CURRENT_USER PASSWORD 'sekret';
ALTER ROLE CURRENT_USER PASSWORD NULL;

-- comments between the words
CREATE/* one */ROLE/* two */regress_secret4/**/PASSWORD/* three */'sekret';
/* SELECT */ ALTER /* a /* nested */ comment */ USER regress_secret4
	-- and another
	PASSWORD -- with 'quotes'
	'sekret';
ALTER -- don't
	ROLE regress_secret4 PASSWORD 'sekret';

-- what looks like a comment and is none
CREATE ROLE "regress--secret" PASSWORD 'sekret';
ALTER ROLE "regress--secret" PASSWORD 'sekret';
ALTER ROLE "regress--secret" RENAME TO "regress/*secret";
ALTER ROLE "regress/*secret" PASSWORD 'sekret';

-- inside other statements
DO $$ BEGIN ALTER ROLE regress_secret1 PASSWORD 'sekret'; END $$;
DO $$ BEGIN EXECUTE 'alter user regress_secret2 password ''sekret'''; END $$;
DO $do$ BEGIN PERFORM '/*'; ALTER ROLE regress_secret1 PASSWORD 'sekret'; END $do$;
DO $do$ BEGIN PERFORM '--'; ALTER ROLE regress_secret1 PASSWORD 'sekret'; END $do$;
DO $$ BEGIN PERFORM E'\'--', ''; ALTER/**/ROLE regress_secret1 PASSWORD 'sekret'; END $$;
CREATE FUNCTION pg_temp.set_password() RETURNS void LANGUAGE sql AS
	$$ ALTER ROLE regress_secret1 PASSWORD 'sekret' $$;

-- foreign servers
CREATE FOREIGN DATA WRAPPER regress_fdw OPTIONS (token 'sekret');
ALTER FOREIGN DATA WRAPPER regress_fdw OPTIONS (SET token 'sekret');
CREATE SERVER regress_server FOREIGN DATA WRAPPER regress_fdw OPTIONS (password 'sekret');
ALTER SERVER regress_server OPTIONS (SET password 'sekret');
CREATE USER MAPPING FOR CURRENT_USER SERVER regress_server OPTIONS (user 'u', password 'sekret');
ALTER USER MAPPING FOR CURRENT_USER SERVER regress_server OPTIONS (SET password 'sekret');
create user
	mapping /* for */ if not exists for regress_secret1 server regress_server options (password 'sekret');

-- subscriptions
SET client_min_messages = error;
CREATE SUBSCRIPTION regress_subscription CONNECTION 'dbname=nowhere password=sekret' PUBLICATION p WITH (connect = false);
ALTER SUBSCRIPTION regress_subscription CONNECTION 'dbname=nowhere password=sekret';
ALTER SUBSCRIPTION regress_subscription SET (slot_name = NONE);
RESET client_min_messages;

-- the server's own
ALTER SYSTEM SET primary_conninfo = 'host=nowhere password=sekret';
ALTER SYSTEM RESET primary_conninfo;

-- no secret got through, and nothing was lost
SELECT count(*) AS secrets FROM infra_monitor.slow_queries WHERE query ~* 'sekret';
-- (how many statements there are of each depends on the version)
SELECT DISTINCT query COLLATE "C" AS query FROM infra_monitor.slow_queries
WHERE query ~ '^(CREATE|ALTER) [A-Z ]+$' ORDER BY 1;
SELECT count(*) AS lost FROM pg_stat_statements p
WHERE NOT EXISTS (SELECT FROM infra_monitor.slow_queries s
	WHERE (s.userid, s.dbid, s.queryid, s.toplevel, s.calls) = (p.userid, p.dbid, p.queryid, p.toplevel, p.calls));

--
-- the same in the texts of sessions; there a text is all that the client sent
--
CREATE FUNCTION pg_temp.shown() RETURNS text LANGUAGE sql AS $$
SELECT query FROM infra_monitor.sessions() WHERE pid = pg_backend_pid()
$$;
ALTER ROLE regress_secret1 PASSWORD 'sekret' \; SELECT pg_temp.shown();
SELECT 1 AS one \; alter user regress_secret1 password 'sekret' \; SELECT pg_temp.shown();
SELECT '--' AS minus \; ALTER ROLE regress_secret1 PASSWORD 'sekret' \; SELECT pg_temp.shown();
SELECT '/*' AS star \; ALTER ROLE regress_secret1 PASSWORD 'sekret' \; SELECT pg_temp.shown();
SELECT '''--' AS minus \; ALTER ROLE regress_secret1 PASSWORD 'sekret' \; SELECT pg_temp.shown();
SELECT E'\'/*' AS star \; ALTER/* */ROLE regress_secret1 PASSWORD 'sekret' \; SELECT pg_temp.shown();
ALTER USER MAPPING FOR CURRENT_USER SERVER regress_server OPTIONS (SET password 'sekret') \; SELECT pg_temp.shown();
ALTER SUBSCRIPTION regress_subscription CONNECTION 'password=sekret' \; SELECT pg_temp.shown();
CREATE ROLE regress_secret5 \; ALTER ROLE regress_secret5 PASSWORD 'sekret' \; SELECT pg_temp.shown();
-- clipped by track_activity_query_size, also within the secret
SELECT repeat('sekret', 1000) AS long \gset
ALTER ROLE regress_secret1 PASSWORD :'long' \; SELECT pg_temp.shown();
SELECT length(:'long') AS length \; SELECT length(pg_temp.shown()) < 6000 AS clipped;

--
-- harmless statements are shown in full
--
SELECT pg_stat_statements_reset() IS NOT NULL AS reset, infra_monitor.reset('statements');
SELECT 'sekret' AS password;
CREATE TABLE regress_harmless (role text, password text);
SELECT count(*) AS create, 0 AS role FROM regress_harmless WHERE password = 'sekret';
CREATE ROLE regress_harmless;
ALTER ROLE regress_harmless CREATEDB;
ALTER ROLE regress_harmless SET work_mem = '4MB';
DROP USER MAPPING FOR CURRENT_USER SERVER regress_server;
DROP USER MAPPING FOR regress_secret1 SERVER regress_server;
CREATE SERVER regress_server2 FOREIGN DATA WRAPPER regress_fdw;
DROP SUBSCRIPTION regress_subscription;
-- utility statements are normalized since PostgreSQL 17
SELECT regexp_replace(query, E'\\$1', '''4MB''') AS query FROM infra_monitor.slow_queries
WHERE query ~ 'work_mem';
SELECT query FROM infra_monitor.slow_queries WHERE query !~ 'infra_monitor|pg_stat_statements_reset|work_mem'
ORDER BY query COLLATE "C";

DROP SERVER regress_server, regress_server2;
DROP FOREIGN DATA WRAPPER regress_fdw;
DROP TABLE regress_harmless;
DROP ROLE regress_secret1, regress_secret2, regress_secret3, regress_secret4, regress_secret5,
	"regress password ROLE", "regress/*secret", regress_harmless;
