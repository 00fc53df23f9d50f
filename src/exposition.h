/*-------------------------------------------------------------------------
 *
 * exposition.h
 *	  Metrics, as the text that Prometheus reads or as rows.
 *
 * Who has metrics registers a function that exposes them, family by family:
 * imon_family(), then its samples.  A family without samples is left out.  The
 * same functions make the text and the rows, so that these agree.
 *
 * A label must tell apart what is apart: the same labels twice, and Prometheus
 * refuses all of it.  Names of roles and databases therefore come through
 * imon_role_label() and imon_database_label().
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_EXPOSITION_H
#define IMON_EXPOSITION_H

#include "activity.h"
#include "datatype/timestamp.h"
#include "fmgr.h"

/* As whose metrics they are exposed, see metrics_text(dialect). */
typedef enum ImonDialect
{
	IMON_OWN_DIALECT,
	IMON_POSTGRES_EXPORTER
} ImonDialect;

/* The label of what has none of its own; nothing else has it. */
#define IMON_OTHER_LABEL "other"

#define IMON_MAX_LABELS 7

typedef enum ImonMetricType
{
	IMON_COUNTER,				/* never decreases; the name ends in _total */
	IMON_GAUGE,
	IMON_HISTOGRAM,
	IMON_UNTYPED				/* in other dialects, where the name fits no
								 * type */
} ImonMetricType;

/* Labels of a sample; values need no quoting. */
typedef struct ImonLabels
{
	int			n;
	const char *names[IMON_MAX_LABELS];
	const char *values[IMON_MAX_LABELS];
} ImonLabels;

/* One label, and one more. */
static inline void
imon_add_label(ImonLabels *labels, const char *name, const char *value)
{
	labels->names[labels->n] = name;
	labels->values[labels->n++] = value;
}

static inline ImonLabels
imon_label(const char *name, const char *value)
{
	ImonLabels	labels = {0};

	imon_add_label(&labels, name, value);
	return labels;
}

typedef struct ImonExposition ImonExposition;

/* Exposes some families. */
typedef void (*ImonExpose) (ImonExposition *exposition);

/*
 * Lets a function be called each time that metrics are exposed, in our dialect
 * or in another one.  Call in _PG_init only.
 */
extern void imon_register_metrics(ImonExpose expose);
extern void imon_register_dialect(ImonDialect dialect, ImonExpose expose);

/*
 * All metrics of our dialect as text, in the encoding of this database and the
 * current memory context, but not to be freed alone; what needs names of objects is left out without a transaction in a database.  Shared
 * memory must be ready.
 */
extern char *imon_metrics_text(void);

/* Are names of objects at hand? */
extern bool imon_has_names(const ImonExposition *exposition);

/* May the caller see what other roles execute, and their applications? */
extern bool imon_sees_all(const ImonExposition *exposition);

/* The sessions at this moment. */
extern const ImonSessions *imon_exposed_sessions(ImonExposition *exposition);

/* Begins a family.  The name is without the prefix; strings stay valid. */
extern void imon_family(ImonExposition *exposition, const char *name,
						ImonMetricType type, const char *help);

/* Adds a sample to the family; labels may be NULL.  NaN is left out. */
extern void imon_put_count(ImonExposition *exposition, const ImonLabels *labels,
						   uint64 value);
extern void imon_put_number(ImonExposition *exposition,
							const ImonLabels *labels, double value);

/* A moment, as seconds since 1970; 0 is left out. */
extern void imon_put_moment(ImonExposition *exposition,
							const ImonLabels *labels, TimestampTz moment);

/*
 * Adds a histogram to the family, of IMON_HISTOGRAM_BUCKETS counts.  "bounds"
 * are in nanoseconds, ascending, bounds of our buckets, and end with 0; "sum" is
 * in seconds.
 */
extern void imon_put_histogram(ImonExposition *exposition,
							   const ImonLabels *labels, const uint64 *counts,
							   double sum, const uint64 *bounds);

/*
 * Labels of objects: the name, and with its OID where it could be mistaken for
 * another; the OID alone where the object is no more; empty for InvalidOid.
 * Need names to be at hand.
 */
extern const char *imon_role_label(Oid role);
extern const char *imon_database_label(Oid database);

/* A label of any other text: valid, also as UTF-8. */
extern const char *imon_text_label(const char *text);

#endif							/* IMON_EXPOSITION_H */
