/*-------------------------------------------------------------------------
 *
 * health.h
 *	  Evaluates health checks and keeps the last result.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_HEALTH_H
#define IMON_HEALTH_H

/* Registers shared memory.  Call once, in _PG_init. */
extern void imon_health_init(void);

/*
 * Evaluates all checks, advances their states, and stores the document in the
 * cache that health() reads.  For the sampler only.  Needs a transaction, a
 * snapshot, and the extension in this database.
 */
extern void imon_evaluate_health(void);

/* How long that may take at most, ms. */
extern int	imon_health_time_limit(void);

/*
 * The document as last evaluated, palloc'd, as it is in "encoding"; NULL if there
 * is none.  Needs no transaction.
 */
extern char *imon_health_document(int *encoding);

/*
 * Gives the value of a check, NaN if it is not known; false if the function of
 * the check has to be called for it.
 */
typedef bool (*ImonKnownValue) (const char *check, const void *arg,
								double *value);

/*
 * Evaluates the checks of a category now, without their hold, and returns the
 * worst status, "ok", "warning" or "critical"; one that is not known counts as
 * ok.  Functions of checks are called only where "known" has no value, for that
 * is slow.  Needs a transaction and a snapshot, and must not run in parallel
 * mode.
 */
extern const char *imon_worst_status(const char *category,
									 ImonKnownValue known, const void *arg);

/*
 * Documents that were too large for the cache, even without hints, and those
 * that were stored without.  Shared memory must be ready.
 */
extern uint64 imon_health_overflows(void);
extern uint64 imon_health_hints_dropped(void);

#endif							/* IMON_HEALTH_H */
