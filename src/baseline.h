/*-------------------------------------------------------------------------
 *
 * baseline.h
 *	  What statements had counted at the last sample that was committed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_BASELINE_H
#define IMON_BASELINE_H

#include "statements.h"
#include "storage/dsm.h"

typedef struct ImonBaseline
{
	const ImonTally *tally;		/* NULL: nothing had been counted */
	bool		known;			/* false: nobody knows */
	dsm_handle	handle;			/* private, as the next */
	dsm_segment *segment;
} ImonBaseline;

/* Registers shared memory.  Call once, in _PG_init. */
extern void imon_baseline_init(void);

/*
 * Opens the baseline for reading; nobody changes it.  It is closed at the end
 * of the current subtransaction at the latest.  Errors: it cannot be opened;
 * if it has been removed from outside, it is not known from then on.
 */
extern void imon_open_baseline(ImonBaseline *baseline);

extern void imon_close_baseline(ImonBaseline *baseline);

/*
 * Puts a copy of a tally in the place of a baseline, which was open before, when
 * the transaction commits.  Errors: there is no memory for it.
 */
extern void imon_replace_baseline(const ImonBaseline *baseline,
								  const ImonTally *tally);

/* Will this transaction replace the baseline? */
extern bool imon_baseline_pending(void);

/* Bytes of dynamic shared memory that it takes.  Shared memory must be ready. */
extern Size imon_baseline_size(void);

#endif							/* IMON_BASELINE_H */
