/*-------------------------------------------------------------------------
 *
 * statements.h
 *	  The table of statements: how long their executions took, and how they
 *	  ended.
 *
 * Counting takes no lock if the statement is in the table, allocates nothing if
 * this process has counted it before, makes no system call, and never raises an
 * error.
 * What cannot be counted at once is kept in the process and tried again; what
 * cannot be kept is dropped, and the drop is counted.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_STATEMENTS_H
#define IMON_STATEMENTS_H

#include "datatype/timestamp.h"
#include "histogram.h"
#include "internal.h"

/* How an execution ended. */
typedef enum ImonOutcome
{
	IMON_COMPLETED,
	IMON_CANCELLED,				/* 57014, also by statement_timeout */
	IMON_LOCK_NOT_AVAILABLE,	/* 55P03, also by lock_timeout */
	IMON_TERMINATED,			/* the session ended meanwhile */
	IMON_FAILED					/* any other error */
} ImonOutcome;

#define IMON_N_OUTCOMES (IMON_FAILED + 1)

/* The key of pg_stat_statements.  A queryid of 0 is not known. */
typedef struct ImonStatementKey
{
	uint64		queryid;
	Oid			userid;
	Oid			dbid;
	bool		toplevel;
	char		padding[7];		/* zero: keys are compared as bytes */
} ImonStatementKey;

/* What was counted of executions. */
typedef struct ImonCounts
{
	uint64		total_ns;		/* of completed executions */
	uint64		failures;
	uint64		failed_ns;
	uint64		latency[IMON_HISTOGRAM_BUCKETS];	/* of completed ones */
} ImonCounts;

/* What pg_stat_statements counts of a statement, and we do not. */
typedef enum ImonPgssColumn
{
	IMON_ROWS,
	IMON_SHARED_BLKS_HIT,
	IMON_SHARED_BLKS_READ,
	IMON_TEMP_BLKS_WRITTEN,
	IMON_WAL_BYTES
} ImonPgssColumn;

#define IMON_N_USAGE (IMON_WAL_BYTES + 1)

typedef struct ImonPgssCounts
{
	bool		known;
	TimestampTz since;			/* it counts; 0 = not known */
	int64		calls;
	int64		columns[IMON_N_USAGE];
} ImonPgssCounts;

/* What a statement had counted at some moment. */
typedef struct ImonTallyEntry
{
	uint32		slot;			/* where it is: in this order */
	uint32		generation;		/* of the slot: another one for whoever comes
								 * after it */
	ImonStatementKey key;
	uint64		total_ns;
	uint64		failures;
	uint64		failed_ns;
	ImonPgssCounts usage;		/* of the reader; empty at first */
	uint32		latency_bytes;	/* packed, see histogram_type.h */
	uint8		latency[FLEXIBLE_ARRAY_MEMBER];
} ImonTallyEntry;

/*
 * What the table had counted at some moment: of each statement, and of those
 * that were evicted in all.  It has no pointers, and may be copied as it is.
 */
typedef struct ImonTally
{
	TimestampTz stats_reset;	/* counts of two tallies go on from one to the
								 * other only if these are equal */
	Size		size;			/* with the entries, which follow */
	uint32		n_entries;
	ImonCounts	evicted;
} ImonTally;

/* The first entry of a tally. */
static inline ImonTallyEntry *
imon_first_entry(const ImonTally *tally)
{
	return (ImonTallyEntry *) ((char *) tally + MAXALIGN(sizeof(ImonTally)));
}

/* The entry after another, or the end. */
static inline ImonTallyEntry *
imon_next_entry(const ImonTallyEntry *entry)
{
	return (ImonTallyEntry *) ((char *) entry +
							   MAXALIGN(offsetof(ImonTallyEntry, latency) + entry->latency_bytes));
}

/* Behind the last entry. */
static inline ImonTallyEntry *
imon_end_of_entries(const ImonTally *tally)
{
	return (ImonTallyEntry *) ((char *) tally + tally->size);
}

/* Registers shared memory.  Call once, in _PG_init. */
extern void imon_statements_init(void);

/* The outcome of an execution that raised an error of this SQLSTATE. */
extern ImonOutcome imon_outcome_of_error(int sqlerrcode);

/*
 * Does this process know so many statements that what it knows of one is hardly
 * in the cache of its processor?
 */
extern IMON_INTERNAL bool imon_knows_many;

/* Asks for that: an execution has begun, and will be counted. */
extern IMON_INTERNAL void imon_expect_execution(const ImonStatementKey *key);

/*
 * Counts an execution that took so many nanoseconds.  Shared memory must be
 * ready.
 */
extern IMON_INTERNAL void imon_count_execution(const ImonStatementKey *key,
											   ImonOutcome outcome, uint64 ns);

/*
 * Lets all counts begin anew.  Waits for the table's lock.  Shared memory must
 * be ready.
 */
extern void imon_statements_reset(void);

/*
 * Sums of counts since shared memory was created, whatever was reset since.  All
 * are of uint64, so that they can be added up as an array.
 */
typedef struct ImonSums
{
	uint64		total_ns;		/* of completed executions */
	uint64		failures[IMON_N_OUTCOMES];	/* none of IMON_COMPLETED */
	uint64		failed_ns;
	uint64		latency[IMON_HISTOGRAM_BUCKETS];	/* of completed ones */
} ImonSums;

#define IMON_SUMS_FIELDS (sizeof(ImonSums) / sizeof(uint64))

/* Databases that are told apart, the first since then; the rest are one more. */
#define IMON_MAX_DATABASES 100

/*
 * Says where to add the counts of a statement, which is in this slot, or (NULL)
 * what others have left; "place" is that of the database.  Must not allocate,
 * raise an error, or take a lock.
 */
typedef ImonSums *(*ImonSumsOf) (void *arg, int place,
								 const ImonStatementKey *key,
								 uint32 slot, uint32 generation);

/*
 * Adds up everything, each count once, so that no sum of sums ever decreases.
 * Returns since when the counts in the slots are, which says nothing about the
 * sums.  Waits for the table's lock.  Shared memory must be ready.
 */
extern TimestampTz imon_sum_statements(ImonSumsOf sums_of, void *arg);

/* The database in each place, of which there are IMON_MAX_DATABASES; returns how many. */
extern int	imon_database_places(Oid *databases);

/* The time that a statement has taken, also in vain. */
typedef struct ImonStatementTime
{
	ImonStatementKey key;
	uint32		slot;
	uint32		generation;		/* of the slot: with another one, time has
								 * begun anew */
	uint64		ns;
} ImonStatementTime;

/*
 * The times of all statements, in the current memory context; *n: how many, and
 * *n_slots: all slots are below.  Waits for the table's lock.
 */
extern ImonStatementTime *imon_statement_times(uint32 *n, uint32 *n_slots);

/* When they last did.  Waits for the table's lock. */
extern TimestampTz imon_statements_reset_at(void);

/*
 * All that was counted, in the current memory context: about 200 bytes for each
 * statement.  Waits for the table's lock.  Shared memory must be ready.
 */
extern ImonTally *imon_tally_statements(void);

/*
 * The durations of all executions that have completed, in an array of
 * IMON_HISTOGRAM_BUCKETS counts.  Returns since when: until that changes, no
 * count ever decreases.  Waits for the table's lock.  Shared memory must be
 * ready.
 */
extern TimestampTz imon_latency_of_all(uint64 *counts);

/* Counts an execution that could not be watched.  Shared memory must be ready. */
extern void imon_drop_execution(void);

/*
 * Counts what this process has kept for later; waits for the table's lock if
 * there is something.  For the end of the process.
 */
extern void imon_flush_executions(void);

/* Executions that were not counted.  Shared memory must be ready. */
extern uint64 imon_executions_dropped(void);

/*
 * Statements that were added to the remainder of their database to make room.
 * Shared memory must be ready.
 */
extern uint64 imon_statements_evicted(void);

#endif							/* IMON_STATEMENTS_H */
