/*-------------------------------------------------------------------------
 *
 * rollups.h
 *	  Merges the history of each hour into a few rows, and that of each day.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_ROLLUPS_H
#define IMON_ROLLUPS_H

/*
 * Has an hour ended since this process last found nothing to do?  Cheap.
 */
extern bool imon_rollups_pending(void);

/*
 * Rolls up the next hour or day of one table.  Returns true if there may be
 * another.  For the sampler only.  Needs a transaction of its own, a snapshot,
 * and a lock_timeout.
 */
extern bool imon_roll_up_next(void);

#endif							/* IMON_ROLLUPS_H */
