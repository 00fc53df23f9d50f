/*-------------------------------------------------------------------------
 *
 * foreign_code.h
 *	  Code that is not ours does not run with the rights of a superuser.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_FOREIGN_CODE_H
#define IMON_FOREIGN_CODE_H

#include "utils/relcache.h"

/*
 * What somebody has made of a table of ours so that writing it could run code
 * that is not ours, as the end of a sentence; NULL if nothing.  A table of ours
 * is of this kind (RELKIND_...).  The caller holds RowExclusiveLock.
 */
extern const char *imon_alteration(Relation rel, char kind);

/*
 * From now on this process runs no function, and reads no relation, that belongs
 * to a role who is no superuser: that is an error.  For our workers, which are
 * superusers.  Call once, before connecting to a database.
 */
extern void imon_refuse_foreign_code(void);

#endif							/* IMON_FOREIGN_CODE_H */
