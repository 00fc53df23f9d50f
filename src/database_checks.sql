
--
-- database_checks.sql: what was found in the catalogs of all databases
--

CREATE FUNCTION infra_monitor.database_findings(
	OUT check_name text, OUT datname name, OUT value float8,
	OUT message text, OUT examined_at timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 10
AS 'MODULE_PATHNAME', 'imon_database_findings_1_0';
COMMENT ON FUNCTION infra_monitor.database_findings() IS
'source of the view database_checks; error unless preloaded; for pg_monitor';

CREATE FUNCTION infra_monitor.database_round(
	OUT started_at timestamptz, OUT finished_at timestamptz,
	OUT examined int, OUT failed int, OUT error text)
RETURNS record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'imon_database_round_1_0';
COMMENT ON FUNCTION infra_monitor.database_round() IS
'the last complete round through all databases: when, databases that were looked at, those of them in which a check had no value, and the last error there; NULL if there was none yet since the server started; error unless preloaded; for pg_monitor';

CREATE VIEW infra_monitor.database_checks AS
SELECT f.check_name, f.datname, f.value, f.message, f.examined_at
FROM infra_monitor.database_findings() f;
COMMENT ON VIEW infra_monitor.database_checks IS
'what the last rounds through all databases found, each infra_monitor.database_check_interval: for each check the 32 databases with the highest values above zero; in memory only; error unless preloaded; for pg_monitor';
COMMENT ON COLUMN infra_monitor.database_checks.check_name IS 'the health check that this is part of';
COMMENT ON COLUMN infra_monitor.database_checks.value IS 'in the unit of the check';
COMMENT ON COLUMN infra_monitor.database_checks.message IS 'about the worst case in this database';
COMMENT ON COLUMN infra_monitor.database_checks.examined_at IS 'when the database was looked at';

CREATE FUNCTION infra_monitor.worst_database(
	check_name text, nothing text, OUT value float8, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
WITH rounds AS MATERIALIZED (
	SELECT *, current_setting('infra_monitor.database_check_interval')::interval AS interval
	FROM infra_monitor.database_round()
), rated AS (
	SELECT *, CASE
			WHEN interval = '0' THEN 'infra_monitor.database_check_interval is 0: databases are not looked at'
			WHEN finished_at IS NULL THEN 'databases have not been looked at yet'
			WHEN clock_timestamp() - finished_at > 3 * interval + interval '10 minutes'
				THEN format('databases were last looked at until %s; is a background worker free?', finished_at)
			WHEN failed = examined AND failed > 0 THEN format('no database could be looked at: %s', coalesce(error, 'see the server log'))
		END AS excuse
	FROM rounds
), worst AS (
	SELECT f.value, f.datname, f.message
	FROM infra_monitor.database_findings() f WHERE f.check_name = $1
	ORDER BY f.value DESC, f.datname LIMIT 1
)
SELECT CASE WHEN r.excuse IS NULL THEN coalesce(w.value, 0) END,
	coalesce(r.excuse, CASE WHEN w.value IS NULL THEN $2 ELSE format('database "%s": %s', w.datname, w.message) END
		|| CASE WHEN r.failed > 0 THEN format('; %s of %s databases could not be looked at', r.failed, r.examined)
			|| coalesce(', last ' || r.error, '') ELSE '' END)
FROM rated r LEFT JOIN worst w ON true
$$;
COMMENT ON FUNCTION infra_monitor.worst_database(text, text) IS
'value and message of the health checks of databases: of the database with the highest value, 0 and the second argument where there is none, NULL and the reason where it is not known; error unless preloaded; for pg_monitor';
