/*-------------------------------------------------------------------------
 *
 * cgroup.h
 *	  Files of the machine, and of the control group of the server.
 *
 * All are read below infra_monitor.system_root.  None of these functions fails.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_CGROUP_H
#define IMON_CGROUP_H

#include <stdio.h>

/* Opens a file such as "/proc/stat"; NULL if that is impossible. */
extern FILE *imon_open_system(const char *path);

/*
 * Opens a file of the server's own control group (version 2), or of the nearest
 * group around it that has one: NULL if there is none.
 */
extern FILE *imon_open_cgroup(const char *name);

/* The same for the memory controller of version 1. */
extern FILE *imon_open_memory_cgroup_v1(const char *name);

/*
 * The value of a line "key value" of an open file, which is read from its
 * beginning and left open; -1 if there is none.
 */
extern int64 imon_read_key(FILE *file, const char *key);

/*
 * Memory that the server's control groups let it have: "limit" and "used" of the
 * group that is nearest to its limit.  What the kernel can take back, pages of
 * files, is not used.  False if none has a limit below "total" bytes.
 */
extern bool imon_cgroup_memory(int64 total, int64 *used, int64 *limit);

#endif							/* IMON_CGROUP_H */
