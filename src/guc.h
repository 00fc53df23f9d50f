/*-------------------------------------------------------------------------
 *
 * guc.h
 *	  Configuration parameters; all have the prefix "infra_monitor.".
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_GUC_H
#define IMON_GUC_H

#include "internal.h"

/* Which statements are counted. */
typedef enum ImonTrack
{
	IMON_TRACK_NONE,
	IMON_TRACK_TOP,				/* those that clients send */
	IMON_TRACK_ALL				/* also those inside of functions */
} ImonTrack;

extern bool imon_enabled;		/* hooks and sampler work */
extern int	imon_track;			/* an ImonTrack */
extern int	imon_max_statements;	/* in the table of statements */
extern char *imon_database;		/* name of the home database */
extern char *imon_system_root;	/* of /proc and /sys, NULL or "" = / */
extern char *imon_textfile;		/* file of metrics, "" = none */
extern char *imon_snapshot_directory;	/* of health.json, "" = none */
extern int	imon_sample_interval;	/* ms */
extern int	imon_health_interval;	/* ms */
extern int	imon_activity_interval; /* ms, 0 = off */
extern int	imon_statement_interval;	/* ms */
extern int	imon_top_statements;	/* stored by each measure */
extern int	imon_database_check_interval;	/* ms, 0 = off */
extern int	imon_idle_threshold;	/* ms */
extern int	imon_retention;		/* minutes */
extern int	imon_rollup_retention;	/* minutes */
extern int	imon_max_storage;	/* MB */
extern int	imon_slow_query_threshold;	/* ms, -1 = off */
extern bool imon_slow_query_plan;	/* keep plans of slow queries */
extern bool imon_log_parameters;	/* keep literals in texts */
extern int	imon_slow_query_log_size;	/* executions kept */
extern int	imon_slow_query_text_size;	/* bytes, with the zero at the end */

/* The largest of the latter. */
#define IMON_MAX_SLOW_TEXT (64 * 1024)

/* executions, 0 = off */
extern IMON_INTERNAL int imon_repeated_query_threshold;

/*
 * The same as each execution compares it: down to which depth statements are
 * counted, as imon_enabled and imon_track say, and the threshold in nanoseconds,
 * PG_UINT64_MAX if it is off.
 */
extern IMON_INTERNAL int imon_tracked_depth;
extern IMON_INTERNAL uint64 imon_slow_ns;

/* Defines the parameters and reserves the prefix.  Call once, in _PG_init. */
extern void imon_guc_init(void);

#endif							/* IMON_GUC_H */
