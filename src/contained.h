/*-------------------------------------------------------------------------
 *
 * contained.h
 *	  Subtransactions that contain errors.
 *
 *		imon_begin_contained(&contained);
 *		PG_TRY();
 *		{
 *			...
 *			imon_end_contained(&contained);
 *		}
 *		PG_CATCH();
 *		{
 *			error = imon_catch_contained(&contained);
 *		}
 *		PG_END_TRY();
 *
 * Whoever does not want to contain this error calls ReThrowError() then: one
 * that leaves its subtransaction behind leaves the session in it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_CONTAINED_H
#define IMON_CONTAINED_H

#include "utils/palloc.h"
#include "utils/resowner.h"

typedef struct ImonContained
{
	MemoryContext context;
	ResourceOwner owner;
	int			level;			/* of the transaction around it */
} ImonContained;

/* Begins one, in the memory context of the caller. */
extern void imon_begin_contained(ImonContained *contained);

/* Nothing has gone wrong. */
extern void imon_end_contained(const ImonContained *contained);

/*
 * An error has: rolls back, and returns what it was, in the memory context of the
 * caller.  Without memory for that, only its SQLSTATE.
 */
extern ErrorData *imon_catch_contained(const ImonContained *contained);

#endif							/* IMON_CONTAINED_H */
