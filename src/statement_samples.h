/*-------------------------------------------------------------------------
 *
 * statement_samples.h
 *	  History of the statements.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_STATEMENT_SAMPLES_H
#define IMON_STATEMENT_SAMPLES_H

/* Registers shared memory.  Call once, in _PG_init. */
extern void imon_statement_samples_init(void);

/*
 * Writes to statement_samples what was counted since the writing before; it
 * counts as stored when the transaction commits.  Without room there, writes
 * nothing, and the next writing has it.  On a standby it only counts
 * as stored.  Needs a snapshot; errors as for imon_begin_writing(), and if there
 * is no dynamic shared memory to be had.
 */
extern void imon_store_statements(void);

/*
 * Texts that were not stored because the file of pg_stat_statements is very
 * large: each of them once a sample.  Shared memory must be ready.
 */
extern uint64 imon_statement_texts_skipped(void);

#endif							/* IMON_STATEMENT_SAMPLES_H */
