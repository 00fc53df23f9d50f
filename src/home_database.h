/*-------------------------------------------------------------------------
 *
 * home_database.h
 *	  Who of us is connected to a database, and who wants it alone.
 *
 * PostgreSQL lets nobody drop, rename, move or copy a database while another
 * session is connected.  The sampler is one, in the home database, so commands
 * of this kind ask it to leave, and it stays away until they have ended.  The
 * workers that visit one database after the other are asked as well, and none
 * is sent to any database while such a command runs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_HOME_DATABASE_H
#define IMON_HOME_DATABASE_H

/* Registers shared memory and the utility hook.  Call once, in _PG_init. */
extern void imon_home_database_init(void);

/*
 * For the sampler only.  It enters once, before it connects; its exit undoes
 * that after it has left the database.  imon_home_connected() says to which
 * database it connects.
 */
extern void imon_home_enter(void);
extern void imon_home_connected(Oid database);

/* Does a command want the home database alone?  Then leave, or don't come. */
extern bool imon_home_wanted(void);

/*
 * Number of events that may end the sampler's wait for a database or for the
 * extension in it: databases made or changed, an extension created or updated.
 */
extern uint32 imon_home_changes(void);

/*
 * A number that changes while a database is being dropped, and again when it is
 * gone: its statistics go with it.
 */
extern uint32 imon_home_databases_dropped(void);

/* Process id of the sampler, 0 if it is not running. */
extern int	imon_home_sampler_pid(void);

/*
 * For the sampler: a visit to a database is announced before the worker is
 * started, and false if a command wants some database alone.  It is over when
 * no database is being visited; a worker that will never come is forgotten.
 */
extern bool imon_announce_visit(Oid database);
extern Oid	imon_visited_database(void);
extern int	imon_visitor_pid(void); /* 0 = it has not come yet */
extern void imon_forget_visit(void);

extern bool imon_visit_was_cut_short(void);

/*
 * For the visitor, before it connects: false if it is not expected, or no longer
 * wanted.  Its exit undoes this after it has left the database.  One that leaves
 * early for somebody else says so.
 */
extern bool imon_begin_visit(Oid database);
extern void imon_cut_visit_short(void);

#endif							/* IMON_HOME_DATABASE_H */
