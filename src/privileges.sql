
--
-- privileges.sql: who may use what; must be last
--

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA infra_monitor FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA infra_monitor FROM PUBLIC;

GRANT USAGE ON SCHEMA infra_monitor TO pg_monitor;
GRANT SELECT ON ALL TABLES IN SCHEMA infra_monitor TO pg_monitor;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA infra_monitor TO pg_monitor;

-- texts of all roles: by the same rule as in the view
REVOKE SELECT ON infra_monitor.slow_query_samples FROM pg_monitor;
GRANT SELECT ON infra_monitor.slow_query_samples TO pg_read_all_stats;

-- functions that change something: superusers, and whom they grant it
REVOKE EXECUTE ON FUNCTION infra_monitor.reset(text) FROM pg_monitor;
REVOKE EXECUTE ON FUNCTION infra_monitor.take_sample() FROM pg_monitor;
REVOKE EXECUTE ON FUNCTION infra_monitor.take_statement_sample() FROM pg_monitor;
REVOKE EXECUTE ON FUNCTION infra_monitor.roll_up(timestamptz) FROM pg_monitor;
REVOKE EXECUTE ON FUNCTION infra_monitor.roll_up_samples(timestamptz, timestamptz) FROM pg_monitor;
REVOKE EXECUTE ON FUNCTION infra_monitor.roll_up_sample_hours(timestamptz, timestamptz) FROM pg_monitor;

-- texts of all roles: who was granted pg_monitor has pg_read_all_stats
REVOKE SELECT ON infra_monitor.statement_texts FROM pg_monitor;
GRANT SELECT ON infra_monitor.statement_texts TO pg_read_all_stats;
REVOKE SELECT ON infra_monitor.statement_texts_monthly FROM pg_monitor;
GRANT SELECT ON infra_monitor.statement_texts_monthly TO pg_read_all_stats;
