/*-------------------------------------------------------------------------
 *
 * conditions.h
 *	  Since when something is so for which PostgreSQL keeps no date.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_CONDITIONS_H
#define IMON_CONDITIONS_H

/* Registers shared memory.  Call once, in _PG_init. */
extern void imon_conditions_init(void);

#endif							/* IMON_CONDITIONS_H */
