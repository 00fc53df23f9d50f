/*-------------------------------------------------------------------------
 *
 * textfile.h
 *	  Files that others read without a connection: metrics and health.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_TEXTFILE_H
#define IMON_TEXTFILE_H

/* Registers shared memory and metrics.  Call once, in _PG_init. */
extern void imon_textfile_init(void);

/*
 * Writes the files that are configured.  For the sampler only.  In a transaction
 * the metrics are complete; without, those that need names are left out.  A file
 * that cannot be written is logged, once, and is no error.
 */
extern void imon_write_textfiles(void);

/*
 * Removes what was kept beside the files to be overwritten the next time.  For
 * the end of the sampler.
 */
extern void imon_remove_spare_files(void);

#endif							/* IMON_TEXTFILE_H */
