/*-------------------------------------------------------------------------
 *
 * guc.h
 *	  Configuration parameters; all have the prefix "infra_monitor.".
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_GUC_H
#define IMON_GUC_H

extern bool imon_enabled;		/* hooks and sampler work */
extern char *imon_database;		/* name of the home database */
extern int	imon_sample_interval;	/* ms */
extern int	imon_health_interval;	/* ms */
extern int	imon_activity_interval; /* ms, 0 = off */
extern int	imon_statement_interval;	/* ms */
extern int	imon_idle_threshold;	/* ms */
extern int	imon_retention;		/* minutes */
extern int	imon_slow_query_threshold;	/* ms, -1 = off */

/* Defines the parameters and reserves the prefix.  Call once, in _PG_init. */
extern void imon_guc_init(void);

#endif							/* IMON_GUC_H */
