/*-------------------------------------------------------------------------
 *
 * disks.h
 *	  File systems that the server writes to, and when they will be full.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_DISKS_H
#define IMON_DISKS_H

/* Registers shared memory.  Call once, in _PG_init. */
extern void imon_disks_init(void);

/*
 * Notes what is available in each file system.  For the sampler only, once an
 * evaluation of the health checks.  Some system calls; raises no error.
 */
extern void imon_note_disks(void);

#endif							/* IMON_DISKS_H */
