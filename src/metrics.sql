
--
-- metrics.sql: what Prometheus reads
--

CREATE FUNCTION infra_monitor.metrics(
	OUT name text, OUT type text, OUT help text, OUT labels jsonb,
	OUT value float8)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'imon_metrics_1_0';
COMMENT ON FUNCTION infra_monitor.metrics() IS
'source of the view metrics; error unless preloaded; for pg_monitor';

CREATE VIEW infra_monitor.metrics AS
SELECT m.name, m.type, m.help, m.labels, m.value FROM infra_monitor.metrics() m;
COMMENT ON VIEW infra_monitor.metrics IS
'the samples of metrics_text(), a row for each; error unless preloaded; for pg_monitor, those of statements, of applications and of standbys need pg_read_all_stats';
COMMENT ON COLUMN infra_monitor.metrics.name IS 'of the sample: that of the family, in a histogram with _bucket, _sum or _count behind it';
COMMENT ON COLUMN infra_monitor.metrics.type IS 'of the family: counter, gauge, histogram';
COMMENT ON COLUMN infra_monitor.metrics.help IS 'what the family is about';
COMMENT ON COLUMN infra_monitor.metrics.labels IS 'an object of strings, empty if it has none';
COMMENT ON COLUMN infra_monitor.metrics.value IS 'in base units: seconds, bytes, ratios; counters count since the server started, or recovered from a crash, and no reset() changes that';

CREATE FUNCTION infra_monitor.metrics_text(dialect text DEFAULT 'infra_monitor')
RETURNS text
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'imon_metrics_text_1_0';
COMMENT ON FUNCTION infra_monitor.metrics_text(text) IS
'all metrics in the text format 0.0.4 of Prometheus; the dialect is infra_monitor, or postgres_exporter: names and labels of that, others are an error; error unless preloaded; for pg_monitor, those of statements, of applications and of standbys need pg_read_all_stats';
