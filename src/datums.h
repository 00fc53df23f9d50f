/*-------------------------------------------------------------------------
 *
 * datums.h
 *	  Datums of values that may be unknown.
 *
 * *isnull is set where the value stands for "not known", and cleared elsewhere.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_DATUMS_H
#define IMON_DATUMS_H

#include <math.h>

#include "utils/builtins.h"
#include "utils/timestamp.h"

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

#endif							/* IMON_DATUMS_H */
