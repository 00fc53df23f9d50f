/*-------------------------------------------------------------------------
 *
 * metrics.h
 *	  Metrics of the pool, of health, of the machine, of replication.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_METRICS_H
#define IMON_METRICS_H

/* Registers these metrics.  Call once, in _PG_init. */
extern void imon_metrics_init(void);

#endif							/* IMON_METRICS_H */
