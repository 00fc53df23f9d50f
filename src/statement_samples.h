/*-------------------------------------------------------------------------
 *
 * statement_samples.h
 *	  History of the statements.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_STATEMENT_SAMPLES_H
#define IMON_STATEMENT_SAMPLES_H

/*
 * Writes to statement_samples what was counted since the writing before; it
 * counts as stored when the transaction commits.  On a standby it only counts
 * as stored.  Needs a snapshot; errors as for imon_begin_writing().
 */
extern void imon_store_statements(void);

#endif							/* IMON_STATEMENT_SAMPLES_H */
