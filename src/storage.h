/*-------------------------------------------------------------------------
 *
 * storage.h
 *	  Keeps the history within infra_monitor.max_storage.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_STORAGE_H
#define IMON_STORAGE_H

#include "datatype/timestamp.h"

/* Who writes to the history; the first is the first to pause. */
typedef enum ImonWriter
{
	IMON_WRITES_DETAIL,			/* waits, statements, slow executions */
	IMON_WRITES_SAMPLES,
	IMON_WRITES_EVENTS
} ImonWriter;

/* Registers shared memory.  Call once, in _PG_init. */
extern void imon_storage_init(void);

/*
 * Bytes that one writing may add to the table at this moment; 0 if it must be
 * left out, which is counted.  Needs the writers' lock, SPI to be connected, and
 * the table's partition of the day.
 */
extern int64 imon_room_to_write(ImonWriter writer, const char *table,
								TimestampTz at);

/* Takes note of what a writing has added.  The same conditions. */
extern void imon_note_written(const char *table, TimestampTz at);

/* The error for somebody who wants to write when that is paused. */
extern void imon_raise_no_room(void);

/*
 * Measures the history, and if it is too large takes one step: empties one
 * partition of the oldest day.  Returns true if another step may remain.  For
 * the sampler only.  Needs a transaction of its own, a snapshot, and a
 * lock_timeout.
 */
extern bool imon_limit_storage(void);

/*
 * As of the last look: is there a day to be removed, is detail paused?  Shared
 * memory must be ready.
 */
extern bool imon_storage_presses(void);
extern bool imon_detail_paused(void);

/*
 * The size of the history as last measured, -1 if it was not.  Shared memory
 * must be ready.
 */
extern int64 imon_history_size(void);

/* Writings left out since shared memory was created, which must be ready. */
extern uint64 imon_writings_paused(void);

#endif							/* IMON_STORAGE_H */
