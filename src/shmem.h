/*-------------------------------------------------------------------------
 *
 * shmem.h
 *	  Fixed shared memory, one named part for each module that needs some.
 *
 * A module describes its part, registers it in _PG_init, and finds the address
 * in the variable it named once the server runs.  Sizes are asked for twice,
 * for the request and for the allocation, from the same function.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_SHMEM_H
#define IMON_SHMEM_H

#include "datatype/timestamp.h"
#include "storage/lwlock.h"

typedef struct ImonShmemPart
{
	const char *name;			/* as shown in pg_shmem_allocations */
	Size		(*size) (void); /* bytes; may use MaxConnections */
	void		(*init) (void *part, LWLock *lock); /* set every field; memory
													 * is zeroed, the lock is
													 * the part's own */
	void	  **address;		/* set in every process; NULL before */
} ImonShmemPart;

/* Moment at which shared memory was created: new after every crash restart. */
extern TimestampTz imon_shmem_created_at(void);

/* Registers a part; it must live forever.  Call in _PG_init only. */
extern void imon_shmem_register(const ImonShmemPart *part);

/* Installs the request and startup hooks.  Call last in _PG_init. */
extern void imon_shmem_init(void);

/* Has shared memory been set up, that is, was the library preloaded? */
extern bool imon_shmem_ready(void);

/* Raises an error that says what to configure unless imon_shmem_ready(). */
extern void imon_shmem_require(void);

/* Bytes of all parts, as requested. */
extern Size imon_shmem_bytes(void);

/* A counter that a lock guards; waits for it. */
extern uint64 imon_read_counter(LWLock *lock, const uint64 *counter);

#endif							/* IMON_SHMEM_H */
