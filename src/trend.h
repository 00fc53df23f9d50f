/*-------------------------------------------------------------------------
 *
 * trend.h
 *	  Does a series of numbers rise, and how fast?
 *
 * Mathematics only: no state, no locks, no memory but the stack.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_TREND_H
#define IMON_TREND_H

#include "datatype/timestamp.h"

/* The most of the newest observations that are looked at for a rise. */
#define IMON_TREND_WINDOW 240

/*
 * How far a trend may be continued, and how far back it is looked for what
 * speaks against it, in windows.
 */
#define IMON_TREND_REACH 20

typedef struct ImonTrend
{
	double		slope;			/* per minute, above 0 */
	double		level;			/* of the fitted line at the newest moment */
	double		r2;				/* of the straight line of least squares */
	int			observations;	/* in the window */
	TimestampTz from;			/* the window, from its oldest moment */
	TimestampTz until;			/* to the newest */
} ImonTrend;

/*
 * Looks for a rise among the newest of n observations, oldest first.  No more
 * than the newest "usable" make a window; what is older is only known not to
 * have been higher, and may be less dense.  Returns false, and leaves *trend
 * undefined, if there is no trend: flat, falling, breathing, a step, too few.
 */
extern bool imon_find_trend(const TimestampTz *at, const double *values, int n,
							int usable, ImonTrend *trend);

#endif							/* IMON_TREND_H */
