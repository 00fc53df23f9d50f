/*-------------------------------------------------------------------------
 *
 * sampler.h
 *	  The background worker.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_SAMPLER_H
#define IMON_SAMPLER_H

/* Registers shared memory and the worker.  Call once, in _PG_init. */
extern void imon_sampler_init(void);

/* Entry point of the worker. */
extern PGDLLEXPORT void imon_sampler_main(Datum arg);

#endif							/* IMON_SAMPLER_H */
