/*-------------------------------------------------------------------------
 *
 * executions.h
 *	  Watches the executions of statements in this process.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_EXECUTIONS_H
#define IMON_EXECUTIONS_H

/* Installs the hooks.  Call once, in _PG_init. */
extern void imon_executions_init(void);

#endif							/* IMON_EXECUTIONS_H */
