
--
-- disks.sql: file systems of the server
--

CREATE FUNCTION infra_monitor.disk_usage(
	OUT what text, OUT tablespace name, OUT used bigint, OUT total bigint,
	OUT available bigint, OUT full_in interval, OUT observed interval)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 3
AS 'MODULE_PATHNAME', 'imon_disk_usage_1_0';
COMMENT ON FUNCTION infra_monitor.disk_usage() IS
'file systems of the data directory, of the WAL directory and of tablespaces, in bytes; each is told once, under the first of these that is on it, and 16 at most; available: to others than root; NULL: it cannot be asked; full_in: when it is full if it goes on filling as it does, NULL: it does not, or that is further ahead than four times what is known; observed: how far back is known, NULL: not for long enough, or not preloaded; for pg_monitor';
