/*-------------------------------------------------------------------------
 *
 * settings.h
 *	  Stores the settings of the server, and their changes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_SETTINGS_H
#define IMON_SETTINGS_H

/* All of this is for the sampler only. */

/* The configuration, or the table of the settings, may be another one now. */
extern void imon_settings_changed(void);

/* Is there anything to store?  Not on a standby. */
extern bool imon_settings_pending(void);

/*
 * Stores them, if there is room for it.  Needs a snapshot; errors as for
 * imon_begin_writing().
 */
extern void imon_store_settings(void);

/* The transaction in which this was done has committed. */
extern void imon_settings_stored(void);

#endif							/* IMON_SETTINGS_H */
