/*-------------------------------------------------------------------------
 *
 * postgres_exporter.c
 *	  The dialect "postgres_exporter" of metrics: the server as a whole.
 *
 * As in our own dialect no query is run.  Statistics are read as the views of
 * the server read them, names and limits from two catalogs.
 *
 * Where names have changed between releases of postgres_exporter, and the older
 * ones are still in use, there are both.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_authid.h"
#include "compat.h"
#include "miscadmin.h"
#include "postgres_exporter.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

/* A value without labels; NaN is left out. */
typedef struct ImonPlainFamily
{
	const char *name;
	const char *old_name;		/* or NULL */
	double		value;
	const char *help;
} ImonPlainFamily;

/* As seconds since 1970; NaN if it never was. */
static double
unix_time(TimestampTz moment)
{
	return moment == 0 ? NAN : (double) moment / USECS_PER_SEC +
		(double) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY;
}

static void
gauge(ImonExposition *exposition, const char *name, double value,
	  const char *help)
{
	imon_family(exposition, name, IMON_GAUGE, help);
	imon_put_number(exposition, NULL, value);
}

/* Families that are counters under new names, and untyped under old ones. */
static void
counters(ImonExposition *exposition, const ImonPlainFamily *families, int n)
{
	for (int i = 0; i < n; i++)
	{
		imon_family(exposition, families[i].name, IMON_COUNTER, families[i].help);
		imon_put_number(exposition, NULL, families[i].value);
	}
	for (int i = 0; i < n; i++)
	{
		if (families[i].old_name == NULL)
			continue;
		imon_family(exposition, families[i].old_name, IMON_UNTYPED, families[i].help);
		imon_put_number(exposition, NULL, families[i].value);
	}
}

/* Who answers: there is no exporter that could fail on its own. */
static void
export_server(ImonExposition *exposition)
{
	int			version = atoi(GetConfigOption("server_version_num", false, false));
	Datum		name = DirectFunctionCall1(pgsql_version, (Datum) 0);
	ImonLabels	labels = imon_label("short_version",
									psprintf("%d.%d.0", version / 10000, version % 10000));

	imon_add_label(&labels, "version", imon_text_label(TextDatumGetCString(name)));
	gauge(exposition, "up", 1, "Always 1: it was the server that answered.");
	imon_family(exposition, "static", IMON_UNTYPED,
				"Version of the server; always 1.");
	imon_put_count(exposition, &labels, 1);
	gauge(exposition, "postmaster_start_time_seconds", unix_time(PgStartTime),
		  "When the server was started.");
}

/* Writing of buffers: by checkpoints, the background writer, others. */
static void
export_writers(ImonExposition *exposition)
{
	const PgStat_BgWriterStats *writer = pgstat_fetch_stat_bgwriter();
	ImonCheckpoints checkpoints = imon_read_checkpoints();
	const ImonPlainFamily families[] = {
		{"stat_bgwriter_checkpoints_timed_total", "stat_bgwriter_checkpoints_timed",
		checkpoints.timed, "Checkpoints because it was time, with restart points."},
		{"stat_bgwriter_checkpoints_req_total", "stat_bgwriter_checkpoints_req",
		checkpoints.requested, "Checkpoints for another reason, with restart points."},
		{"stat_bgwriter_checkpoint_write_time_total", "stat_bgwriter_checkpoint_write_time",
		checkpoints.write_ms, "Time that checkpoints have spent writing, in milliseconds."},
		{"stat_bgwriter_checkpoint_sync_time_total", "stat_bgwriter_checkpoint_sync_time",
		checkpoints.sync_ms, "Time that checkpoints have spent synchronizing, in milliseconds."},
		{"stat_bgwriter_buffers_checkpoint_total", "stat_bgwriter_buffers_checkpoint",
		checkpoints.buffers, "Buffers written by checkpoints."},
		{"stat_bgwriter_buffers_clean_total", "stat_bgwriter_buffers_clean",
		writer->buf_written_clean, "Buffers written by the background writer."},
		{"stat_bgwriter_maxwritten_clean_total", "stat_bgwriter_maxwritten_clean",
		writer->maxwritten_clean, "Times that the background writer had written as much as it may."},
		{"stat_bgwriter_buffers_backend_total", "stat_bgwriter_buffers_backend",
		checkpoints.backend_buffers, "Buffers written by other processes."},
		{"stat_bgwriter_buffers_backend_fsync_total", "stat_bgwriter_buffers_backend_fsync",
		checkpoints.backend_syncs, "Times that other processes had to synchronize a file."},
		{"stat_bgwriter_buffers_alloc_total", "stat_bgwriter_buffers_alloc",
		writer->buf_alloc, "Buffers that were filled anew."},
		{"stat_bgwriter_stats_reset_total", NULL,
		unix_time(writer->stat_reset_timestamp), "When these were last reset, as seconds since 1970."}
	};

	counters(exposition, families, lengthof(families));
}

/* What has a view of its own since 17, also under the names of that. */
static void
export_checkpointer(ImonExposition *exposition)
{
	ImonCheckpoints checkpoints = imon_read_checkpoints();
	const ImonPlainFamily families[] = {
		{"stat_checkpointer_num_timed_total", NULL,
		checkpoints.timed - checkpoints.restart_timed, "Checkpoints because it was time."},
		{"stat_checkpointer_num_requested_total", NULL,
		checkpoints.requested - checkpoints.restart_requested, "Checkpoints for another reason."},
		{"stat_checkpointer_restartpoints_timed_total", NULL,
		checkpoints.restart_timed, "Restart points because it was time."},
		{"stat_checkpointer_restartpoints_req_total", NULL,
		checkpoints.restart_requested, "Restart points for another reason."},
		{"stat_checkpointer_restartpoints_done_total", NULL,
		checkpoints.restart_done, "Restart points that had something to do."},
		{"stat_checkpointer_write_time_total", NULL,
		checkpoints.write_ms, "Time that these have spent writing, in milliseconds."},
		{"stat_checkpointer_sync_time_total", NULL,
		checkpoints.sync_ms, "Time that these have spent synchronizing, in milliseconds."},
		{"stat_checkpointer_buffers_written_total", NULL,
		checkpoints.buffers, "Buffers written by these."},
		{"stat_checkpointer_stats_reset_total", NULL,
		unix_time(checkpoints.reset_at), "When these were last reset, as seconds since 1970."}
	};

	if (!isnan(checkpoints.restart_timed))
		counters(exposition, families, lengthof(families));
}

static void
export_archiver(ImonExposition *exposition)
{
	const PgStat_ArchiverStats *archiver = pgstat_fetch_stat_archiver();

	imon_family(exposition, "stat_archiver_archived_count", IMON_UNTYPED,
				"Files of WAL that were archived.");
	imon_put_count(exposition, NULL, archiver->archived_count);
	imon_family(exposition, "stat_archiver_failed_count", IMON_UNTYPED,
				"Files of WAL that could not be archived.");
	imon_put_count(exposition, NULL, archiver->failed_count);
	gauge(exposition, "stat_archiver_last_archive_age",
		  unix_time(GetCurrentTimestamp()) - unix_time(archiver->last_archived_timestamp),
		  "Seconds since a file of WAL was last archived; absent if none was.");
}

typedef struct ImonRoleLimit
{
	Oid			oid;
	int			limit;
} ImonRoleLimit;

static int
compare_roles(const ListCell *a, const ListCell *b)
{
	Oid			oid_a = ((const ImonRoleLimit *) lfirst(a))->oid;
	Oid			oid_b = ((const ImonRoleLimit *) lfirst(b))->oid;

	return (oid_a > oid_b) - (oid_a < oid_b);
}

/* Roles and their limits, by OID. */
static List *
read_roles(void)
{
	Relation	rel = table_open(AuthIdRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	List	   *roles = NIL;
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_authid form = (Form_pg_authid) GETSTRUCT(tuple);
		ImonRoleLimit *role = palloc(sizeof(ImonRoleLimit));

		role->oid = form->oid;
		role->limit = form->rolconnlimit;
		roles = lappend(roles, role);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	list_sort(roles, compare_roles);
	return roles;
}

static void
export_roles(ImonExposition *exposition)
{
	List	   *roles = read_roles();
	ListCell   *cell;

	imon_family(exposition, "roles_connection_limit", IMON_GAUGE,
				"Connection limit of a role, -1 is none; the 100 oldest roles.");
	foreach(cell, roles)
	{
		const ImonRoleLimit *role = lfirst(cell);
		ImonLabels	labels = imon_label("rolname", imon_role_label(role->oid));

		if (foreach_current_index(cell) == IMON_EXPORTER_GROUPS)
			break;
		imon_put_number(exposition, &labels, role->limit);
	}
}

static void
expose(ImonExposition *exposition)
{
	TimestampTz start = GetCurrentTimestamp();
	ImonExportedDatabases *databases;

	if (!imon_has_names(exposition))
		return;
	databases = imon_exported_databases();
	export_server(exposition);
	imon_export_activity(exposition, databases);
	imon_export_databases(exposition, databases);
	export_writers(exposition);
	export_checkpointer(exposition);
	export_archiver(exposition);
	export_roles(exposition);
	imon_export_replication(exposition);
	imon_export_settings(exposition);
	gauge(exposition, "exporter_last_scrape_error", 0,
		  "Always 0: what fails has no metrics.");
	gauge(exposition, "exporter_last_scrape_duration_seconds",
		  (double) Max(GetCurrentTimestamp() - start, 0) / USECS_PER_SEC,
		  "Time that it took to read these metrics.");
}

void
imon_postgres_exporter_init(void)
{
	imon_register_dialect(IMON_POSTGRES_EXPORTER, expose);
}
