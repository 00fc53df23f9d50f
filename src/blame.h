/*-------------------------------------------------------------------------
 *
 * blame.h
 *	  Who has cost others time by holding locks.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_BLAME_H
#define IMON_BLAME_H

#include "activity.h"
#include "locks.h"

/* Registers the shared memory.  Call in _PG_init only. */
extern void imon_blame_init(void);

/*
 * One look: charges waiting time since the look before to those who cause it.
 * For the sampler.  "snapshot" may be NULL, and was taken after the look at the
 * sessions: what has begun by then is in it, unless it is over.  Needs no
 * transaction; allocates in the current memory context.
 */
extern void imon_note_blame(const ImonSessions *sessions,
							const ImonLockSnapshot *snapshot);

/* What a role and its application have cost others since shared memory was made. */
typedef struct ImonBlamedEver
{
	Oid			role;			/* InvalidOid: not known */
	char		application[NAMEDATALEN];
	uint64		blocked_us;
	uint64		incidents;
	TimestampTz last_at;		/* 0 = never */
} ImonBlamedEver;

/* Told apart.  Who has cost nothing for an hour may give way to another. */
#define IMON_MAX_BLAMED_EVER 100

/*
 * Copies them, whatever was reset since, to an array with room for all and one
 * more, which is for those that found none.  Returns how many come before it.
 */
extern int	imon_blamed_ever(ImonBlamedEver *copy);

/* Forgets all charges. */
extern void imon_blame_reset(void);

/* Rows folded into "other" since shared memory was created. */
extern uint64 imon_blame_evictions(void);

#endif							/* IMON_BLAME_H */
