/*-------------------------------------------------------------------------
 *
 * pg_stat_statements.h
 *	  The one reader of pg_stat_statements.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_PG_STAT_STATEMENTS_H
#define IMON_PG_STAT_STATEMENTS_H

#include "statements.h"

/* Does pg_stat_statements collect, that is, was it preloaded? */
extern bool imon_pg_stat_statements_loaded(void);

/* Takes what pg_stat_statements counts of a statement. */
typedef void (*ImonPgssSink) (void *arg, const ImonStatementKey *key,
							  const ImonPgssCounts *counts);

/*
 * Reads what it counts of each statement that the current role may see.  Needs
 * SPI to be connected.  Errors: it is not installed, not preloaded.
 */
extern void imon_read_pgss_counts(ImonPgssSink sink, void *arg);

#endif							/* IMON_PG_STAT_STATEMENTS_H */
