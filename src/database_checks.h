/*-------------------------------------------------------------------------
 *
 * database_checks.h
 *	  Rounds through all databases, and what was found in them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_DATABASE_CHECKS_H
#define IMON_DATABASE_CHECKS_H

/* What is looked for in each database. */
typedef enum ImonDatabaseCheck
{
	IMON_INVALID_INDEXES,
	IMON_SEQUENCE_EXHAUSTION,
	IMON_VACUUM_DEBT,
	IMON_STALE_STATISTICS
} ImonDatabaseCheck;

#define N_IMON_DATABASE_CHECKS (IMON_STALE_STATISTICS + 1)

/* Registers shared memory.  Call once, in _PG_init. */
extern void imon_database_checks_init(void);

/*
 * Does one step of a round through the databases: sends a worker to the next
 * one, unless the last is still away.  Returns true when the round is complete.
 * For the sampler only; needs a transaction.
 */
extern bool imon_visit_databases(void);

/* Has the last round found something that another one should confirm soon? */
extern bool imon_round_is_unconfirmed(void);

/*
 * For the worker in a database: keeps the value of a check, or the error that
 * kept it from having one.
 */
extern void imon_keep_finding(ImonDatabaseCheck check, double value,
							  const char *message);
extern void imon_keep_visit_error(const char *message);

#endif							/* IMON_DATABASE_CHECKS_H */
