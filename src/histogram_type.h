/*-------------------------------------------------------------------------
 *
 * histogram_type.h
 *	  The SQL type histogram, for other modules.
 *
 * A Datum is made from, and unpacked to, an array of IMON_HISTOGRAM_BUCKETS
 * counts.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_HISTOGRAM_TYPE_H
#define IMON_HISTOGRAM_TYPE_H

#include "histogram.h"

#define IMON_HISTOGRAM_MAX_BYTES (3 + IMON_HISTOGRAM_BUCKETS * 9)

/*
 * Packs counts as they are in a Datum, without its header; returns how many
 * bytes that takes.  No error, no allocation.
 */
extern int	imon_histogram_pack(const uint64 *counts, uint8 *bytes);

/* Unpacks such bytes.  Raises an error if they are damaged. */
extern void imon_histogram_unpack(const uint8 *bytes, Size length,
								  uint64 *counts);

/* The type, by its name.  Needs a transaction. */
extern Oid	imon_histogram_type(void);

/*
 * A Datum of counts, palloc'd.  A histogram holds PG_INT64_MAX observations at
 * most; what is beyond that is left out, from the longest durations.  No error
 * but out of memory, and no catalog access.
 */
extern Datum imon_histogram_datum(const uint64 *counts);

/*
 * The counts of a Datum, which may be toasted.  Their total is PG_INT64_MAX at
 * most.  Raises an error if it is damaged, or of a later format.
 */
extern void imon_histogram_counts(Datum histogram, uint64 *counts);

#endif							/* IMON_HISTOGRAM_TYPE_H */
