/*-------------------------------------------------------------------------
 *
 * extension.h
 *	  Is the extension in this database, and in our version?
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_EXTENSION_H
#define IMON_EXTENSION_H

typedef enum ImonExtension
{
	IMON_EXTENSION_PRESENT,
	IMON_EXTENSION_ABSENT,
	IMON_EXTENSION_OTHER_VERSION,
	IMON_EXTENSION_BUSY			/* being dropped */
} ImonExtension;

/*
 * Looks for the extension.  *oid and *version (palloc'd) are set unless it is
 * absent; then InvalidOid and NULL.  Needs a transaction.
 */
extern ImonExtension imon_find_extension(Oid *oid, char **version);

/*
 * The same, and keeps the extension from being dropped until the transaction
 * ends.  The lock is the first that DROP EXTENSION takes, so that the two never
 * meet halfway; it is not waited for.
 */
extern ImonExtension imon_hold_extension(Oid *oid, char **version);

#endif							/* IMON_EXTENSION_H */
