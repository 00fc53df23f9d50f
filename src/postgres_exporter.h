/*-------------------------------------------------------------------------
 *
 * postgres_exporter.h
 *	  The dialect "postgres_exporter" of metrics.
 *
 * Names, labels and units are those of postgres_exporter, so that dashboards
 * and alerts made for it find what they ask for.  Types are as there where
 * promtool accepts them, else untyped: what is asked of Prometheus does not
 * depend on them.
 *
 * All is only exposed in a transaction: without, there are no names.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_POSTGRES_EXPORTER_H
#define IMON_POSTGRES_EXPORTER_H

#include "exposition.h"
#include "internal.h"

/* Of databases, of roles, of groups of sessions; then they are added up. */
#define IMON_EXPORTER_GROUPS 100

/* A row of pg_database. */
typedef struct ImonExportedDatabase
{
	Oid			oid;
	const char *label;			/* NULL: counted with the others */
	int			connection_limit;
	bool		allows_connections;
	TransactionId frozen_xid;
	MultiXactId min_multi;
} ImonExportedDatabase;

/* All databases, by OID; the first IMON_EXPORTER_GROUPS have labels. */
typedef struct ImonExportedDatabases
{
	int			n;
	int			n_labels;
	ImonExportedDatabase *databases;
} ImonExportedDatabases;

/* Reads pg_database; in the current memory context. */
extern IMON_INTERNAL ImonExportedDatabases *imon_exported_databases(void);

/*
 * The place of a database among those with labels, n_labels for all others, -1
 * if there is none of this OID.
 */
extern IMON_INTERNAL int imon_exported_place(const ImonExportedDatabases *databases,
											 Oid oid);

/* The label in this place. */
extern IMON_INTERNAL const char *imon_exported_label(const ImonExportedDatabases *databases,
													 int place);

/* Exposes pg_stat_database and what else is known of each database. */
extern IMON_INTERNAL void imon_export_databases(ImonExposition *exposition,
												const ImonExportedDatabases *databases);

/* Exposes sessions, locks, transactions. */
extern IMON_INTERNAL void imon_export_activity(ImonExposition *exposition,
											   const ImonExportedDatabases *databases);

/* Exposes WAL, standbys, slots. */
extern IMON_INTERNAL void imon_export_replication(ImonExposition *exposition);

/* Exposes the settings that are numbers. */
extern IMON_INTERNAL void imon_export_settings(ImonExposition *exposition);

/* Registers the dialect.  Call once, in _PG_init. */
extern void imon_postgres_exporter_init(void);

#endif							/* IMON_POSTGRES_EXPORTER_H */
