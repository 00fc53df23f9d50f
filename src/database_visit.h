/*-------------------------------------------------------------------------
 *
 * database_visit.h
 *	  A worker that looks at one database.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_DATABASE_VISIT_H
#define IMON_DATABASE_VISIT_H

/* Name of the library's function below. */
#define IMON_VISITOR_MAIN "imon_visitor_main"

/* The worker: looks at one database, of this OID, and ends. */
extern PGDLLEXPORT void imon_visitor_main(Datum arg);

#endif							/* IMON_DATABASE_VISIT_H */
