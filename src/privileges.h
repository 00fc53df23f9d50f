/*-------------------------------------------------------------------------
 *
 * privileges.h
 *	  Who may see the texts of other sessions.
 *
 * The decision is made for the role that runs the query (GetUserId()), also
 * inside views, whose owner would see everything.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_PRIVILEGES_H
#define IMON_PRIVILEGES_H

/* Shown instead of a text that the caller may not see. */
#define IMON_HIDDEN_TEXT "<insufficient privilege>"

/*
 * May the caller see the texts of sessions of this role?  Yes for members of
 * pg_read_all_stats and for those who have the role's own rights.  Needs a
 * transaction.
 */
extern bool imon_may_see_role(Oid role);

/*
 * The same by name, for a role that may not exist: then only members of
 * pg_read_all_stats.
 */
extern bool imon_may_see_role_named(const char *name);

#endif							/* IMON_PRIVILEGES_H */
