/*-------------------------------------------------------------------------
 *
 * partitions.h
 *	  Writes to the tables of the history, and looks after their partitions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_PARTITIONS_H
#define IMON_PARTITIONS_H

#include "datatype/timestamp.h"

/*
 * The tables of the history: the first are partitioned by UTC day, the others,
 * of rollups, by month.
 */
#define IMON_N_TABLES_OF_DAYS 8
#define IMON_N_HISTORY_TABLES 15
extern const char *const imon_history_tables[IMON_N_HISTORY_TABLES];

/* State to restore when we stop acting as the owner of the tables. */
typedef struct ImonIdentity
{
	Oid			user;
	int			security_context;
	int			guc_level;
} ImonIdentity;

/*
 * Begins writing to a table of infra_monitor: takes the writers' lock, checks
 * the table, and acts as its owner with a fixed search path, and with settings
 * that make new tables like the others.  An error undoes it by itself.  Errors: the lock of another writer not had within
 * lock_timeout; the table is in a state in which writing it could run foreign
 * code.
 */
extern void imon_begin_writing(ImonIdentity *identity, const char *table);

/*
 * The same check for another table that is written in the same transaction.
 * Returns the table.
 */
extern Oid	imon_check_table(const char *table);

extern void imon_end_writing(const ImonIdentity *identity);

/* Registers shared memory.  Call once, in _PG_init. */
extern void imon_partitions_init(void);

/* The beginning of the partition of a table in which a moment is. */
extern TimestampTz imon_period_of(const char *table, TimestampTz moment);

/* From when on rollups are kept at this moment. */
extern TimestampTz imon_rollups_kept_from(TimestampTz now);

/*
 * Creates a table's partition of the UTC day or month of a moment unless it exists, and
 * makes it a member of the extension, so that pg_dump leaves it out and DROP
 * EXTENSION drops it.  Created alone and then attached, the parent is never
 * locked against writing.  Returns true if it was created.  Needs SPI to be
 * connected and the writers' lock.
 */
extern bool imon_ensure_partition(const char *table, TimestampTz moment);

/* The UTC day of a moment as it stands in the name of a partition: 20260131. */
extern char *imon_day_name(TimestampTz moment);

/* A table's partition for a moment, InvalidOid if there is none. */
extern Oid	imon_partition_of(const char *table, TimestampTz moment);

/*
 * Removes the rows of a partition, which locks that only, and returns true.
 * Those that were not rolled up are counted.  Errors as imon_begin_writing().
 */
extern bool imon_empty_partition(const char *name);

/*
 * Does something in a subtransaction.  What it raises ends there: then *error is
 * set, unless it was before, and the result is false.
 */
extern bool imon_run_contained(bool (*action) (const char *),
							   const char *argument, ErrorData **error);

/*
 * Partitions emptied, since shared memory was created, of which some rows had
 * not been rolled up.  Shared memory must be ready.
 */
extern uint64 imon_rollups_lost(void);

/*
 * Does one step for one of the tables: makes the partitions of today and
 * tomorrow, or else goes on to remove the expired ones, and those that were
 * emptied for want of room.  One of which the rows are to be rolled up is kept
 * for a day longer than others.  Returns true if another step may remain.  Needs a transaction of its own, a snapshot, and a
 * lock_timeout.
 */
extern bool imon_maintain_partitions(void);

#endif							/* IMON_PARTITIONS_H */
