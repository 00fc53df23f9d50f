/*-------------------------------------------------------------------------
 *
 * statement_metrics.h
 *	  Metrics of databases and of the statements that take most time.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_STATEMENT_METRICS_H
#define IMON_STATEMENT_METRICS_H

/* Registers shared memory and the metrics.  Call once, in _PG_init. */
extern void imon_statement_metrics_init(void);

/*
 * Decides which statements are listed from now on, by the time that they have
 * taken since the call before.  For the sampler only.  Needs no transaction.
 */
extern void imon_list_statements(void);

#endif							/* IMON_STATEMENT_METRICS_H */
