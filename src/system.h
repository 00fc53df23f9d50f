/*-------------------------------------------------------------------------
 *
 * system.h
 *	  Memory, processor and disk of the machine.
 *
 * Memory and processor are read from /proc and are not known elsewhere.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_SYSTEM_H
#define IMON_SYSTEM_H

typedef struct ImonSystem
{
	int64		memory_used;	/* bytes not available to programs, -1 = not
								 * known */
	int64		memory_total;	/* bytes, -1 = not known */
	int64		disk_used;		/* bytes in the file system of the data
								 * directory, -1 = not known */
	int64		disk_total;		/* bytes, -1 = not known */
	double		cpu_ratio;		/* busy share of all processors between the
								 * last two looks, -1 = not known */
} ImonSystem;

/* Registers shared memory.  Call once, in _PG_init. */
extern void imon_system_init(void);

/* Reads the state of the machine; never fails.  Some system calls. */
extern void imon_read_system(ImonSystem *usage);

/*
 * Looks at the processors' clocks, so that cpu_ratio is of the time since the
 * look before.  Looks less than half a second apart are left out.  Shared memory
 * must be ready; may be called from any process.
 */
extern void imon_look_at_processors(void);

/*
 * How often the kernel has killed a process for want of memory: in the server's
 * control group, or where that is not known on the machine; -1 = not known.
 */
extern int64 imon_oom_kills(void);

#endif							/* IMON_SYSTEM_H */
