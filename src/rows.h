/*-------------------------------------------------------------------------
 *
 * rows.h
 *	  What SQL functions return: rows, and values that may be unknown.
 *
 * The number of columns is checked against the declaration in SQL: library and
 * installed script may be of different versions, and that must be an error, not
 * a crash.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_ROWS_H
#define IMON_ROWS_H

#include <math.h>

#include "access/tupdesc.h"
#include "fmgr.h"
#include "nodes/execnodes.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/*
 * Begins the result of a function that returns rows of so many columns; they
 * go into setResult of what is returned.
 */
extern ReturnSetInfo *imon_begin_rows(FunctionCallInfo fcinfo, int n_columns);

/* Adds a row. */
extern void imon_put_row(ReturnSetInfo *rsinfo, Datum *values, bool *nulls);

/* The result of a function that returns one row of so many columns. */
extern Datum imon_one_row(FunctionCallInfo fcinfo, int n_columns,
						  Datum *values, bool *nulls);

/*
 * Raises an error unless SQL declares at least as many arguments as the library
 * reads.
 */
extern void imon_require_arguments(FunctionCallInfo fcinfo, int n_arguments);

/*
 * Datums of values that may be unknown: *isnull is set where the value stands
 * for that, and cleared elsewhere.
 */

/* A text of valid bytes; NULL is not known. */
static inline Datum
imon_string_datum(const char *string, bool *isnull)
{
	*isnull = (string == NULL);
	return string ? CStringGetTextDatum(string) : (Datum) 0;
}

/* A timestamptz; 0 is not known. */
static inline Datum
imon_moment_datum(TimestampTz moment, bool *isnull)
{
	*isnull = (moment == 0);
	return TimestampTzGetDatum(moment);
}

/* A float8; NaN is not known. */
static inline Datum
imon_number_datum(double number, bool *isnull)
{
	*isnull = isnan(number);
	return Float8GetDatum(number);
}

#endif							/* IMON_ROWS_H */
