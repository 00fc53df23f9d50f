/*-------------------------------------------------------------------------
 *
 * pg_stat_statements.h
 *	  The one reader of pg_stat_statements.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_PG_STAT_STATEMENTS_H
#define IMON_PG_STAT_STATEMENTS_H

/* Does pg_stat_statements collect, that is, was it preloaded? */
extern bool imon_pg_stat_statements_loaded(void);

#endif							/* IMON_PG_STAT_STATEMENTS_H */
