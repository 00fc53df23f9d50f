/*-------------------------------------------------------------------------
 *
 * version.h
 *	  Version of the extension that this library belongs to.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_VERSION_H
#define IMON_VERSION_H

/* default_version in infra_monitor.control, EXTVERSION in the Makefile */
#define IMON_VERSION "1.0"

#endif							/* IMON_VERSION_H */
