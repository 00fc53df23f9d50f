/*-------------------------------------------------------------------------
 *
 * histogram_type.c
 *	  The SQL type histogram: what histogram.c does, on values that can be
 *	  stored, added up and sent to clients.
 *
 * A value consists of bytes, so that alignment does not matter:
 *
 *	the version of the format, 1
 *	the first occupied bucket
 *	the number of buckets from there to the last occupied one
 *	a count for each of them, 7 bits to a byte, low bits first; the high bit
 *	of a byte says that another one follows
 *
 * The empty histogram has zeros for first and number.  Sent to clients it has
 * the same bytes.  Whatever makes a value goes through imon_histogram_datum(),
 * which writes counts in one way only: equal histograms have equal bytes.
 *
 * Nobody holds more than PG_INT64_MAX observations, so that no sum overflows
 * and each is a bigint.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "compat.h"
#include "fmgr.h"
#include "histogram_type.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "parser/scansup.h"
#include "rows.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/syscache.h"

#define FORMAT_VERSION 1
#define HEADER_BYTES 3
#define COUNT_BITS 63
#define MAX_COUNT_BYTES (COUNT_BITS / 7)

StaticAssertDecl(IMON_HISTOGRAM_MAX_BYTES ==
				 HEADER_BYTES + IMON_HISTOGRAM_BUCKETS * MAX_COUNT_BYTES,
				 "largest histogram");

#define LAST_BUCKET (IMON_HISTOGRAM_BUCKETS - 1)
#define NO_BOUND "+Inf"			/* name of that of the last bucket */

#define BUCKETS_COLUMNS 2

/* Input that is read entry by entry. */
typedef struct ImonHistogramInput
{
	const char *text;			/* all of it; NULL = it is jsonb */
	uint64		counts[IMON_HISTOGRAM_BUCKETS];
	bool		seen[IMON_HISTOGRAM_BUCKETS];
	uint64		total;
} ImonHistogramInput;

typedef enum ImonDecimal
{
	DECIMAL_OK,
	DECIMAL_INVALID,
	DECIMAL_TOO_LARGE
} ImonDecimal;

PG_FUNCTION_INFO_V1(imon_histogram_in_1_0);
PG_FUNCTION_INFO_V1(imon_histogram_out_1_0);
PG_FUNCTION_INFO_V1(imon_histogram_recv_1_0);
PG_FUNCTION_INFO_V1(imon_histogram_send_1_0);
PG_FUNCTION_INFO_V1(imon_histogram_1_0);
PG_FUNCTION_INFO_V1(imon_histogram_from_jsonb_1_0);
PG_FUNCTION_INFO_V1(imon_histogram_to_jsonb_1_0);
PG_FUNCTION_INFO_V1(imon_histogram_add_1_0);
PG_FUNCTION_INFO_V1(imon_histogram_subtract_1_0);
PG_FUNCTION_INFO_V1(imon_histogram_eq_1_0);
PG_FUNCTION_INFO_V1(imon_histogram_ne_1_0);
PG_FUNCTION_INFO_V1(imon_histogram_hash_1_0);
PG_FUNCTION_INFO_V1(imon_histogram_hash_extended_1_0);
PG_FUNCTION_INFO_V1(imon_quantile_1_0);
PG_FUNCTION_INFO_V1(imon_fraction_1_0);
PG_FUNCTION_INFO_V1(imon_observations_1_0);
PG_FUNCTION_INFO_V1(imon_buckets_1_0);

/*
 * What STRICT does, for functions that were declared without: is one of the
 * first n arguments NULL?  Raises an error if they are fewer.
 */
static bool
has_null(FunctionCallInfo fcinfo, int n)
{
	imon_require_arguments(fcinfo, n);
	for (int i = 0; i < n; i++)
	{
		if (PG_ARGISNULL(i))
			return true;
	}
	return false;
}

/* Raises the error that a histogram cannot hold so much. */
static void
out_of_range(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("histogram out of range"),
			 errdetail("A histogram holds %lld observations at most.",
					   (long long) PG_INT64_MAX)));
}

/*
 * Values
 */

Oid
imon_histogram_type(void)
{
	return GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
						   CStringGetDatum("histogram"),
						   ObjectIdGetDatum(get_namespace_oid("infra_monitor", false)));
}

int
imon_histogram_pack(const uint64 *counts, uint8 *bytes)
{
	uint8	   *at = bytes + HEADER_BYTES;
	uint64		room = PG_INT64_MAX;
	int			first = 0;
	int			end = IMON_HISTOGRAM_BUCKETS;
	int			bucket;

	while (end > 0 && counts[end - 1] == 0)
		end--;
	while (first < end && counts[first] == 0)
		first++;

	/* the last count written is not 0, even if the room ends there */
	for (bucket = first; bucket < end && room > 0; bucket++)
	{
		uint64		count = Min(counts[bucket], room);

		room -= count;
		for (; count > 0x7f; count >>= 7)
			*at++ = (count & 0x7f) | 0x80;
		*at++ = count;
	}
	bytes[0] = FORMAT_VERSION;
	bytes[1] = first;
	bytes[2] = bucket - first;
	return at - bytes;
}

Datum
imon_histogram_datum(const uint64 *counts)
{
	bytea	   *result = palloc(VARHDRSZ + IMON_HISTOGRAM_MAX_BYTES);
	int			length = imon_histogram_pack(counts, (uint8 *) VARDATA(result));

	SET_VARSIZE(result, VARHDRSZ + length);
	return PointerGetDatum(result);
}

/* Reads a count and moves *at behind it; false if there is none. */
static bool
read_count(const uint8 **at, const uint8 *end, uint64 *count)
{
	*count = 0;
	for (int shift = 0; shift < COUNT_BITS && *at < end; shift += 7)
	{
		uint8		byte = *(*at)++;

		*count |= (uint64) (byte & 0x7f) << shift;
		if ((byte & 0x80) == 0)
			return true;
	}
	return false;
}

/*
 * Reads the bytes of a value.  Returns NULL, or a sentence that says what is
 * wrong with them.  They may come from anywhere.
 */
static const char *
unpack(const uint8 *bytes, Size length, uint64 *counts)
{
	const uint8 *at = bytes + HEADER_BYTES;
	uint64		total = 0;
	int			first;
	int			n;

	memset(counts, 0, sizeof(uint64) * IMON_HISTOGRAM_BUCKETS);
	if (length < HEADER_BYTES)
		return "It is too short.";
	if (bytes[0] != FORMAT_VERSION)
		return "It is of a format that this version of infra_monitor does not know.";
	first = bytes[1];
	n = bytes[2];
	if (first + n > IMON_HISTOGRAM_BUCKETS)
		return "It has too many buckets.";
	for (int bucket = first; bucket < first + n; bucket++)
	{
		if (!read_count(&at, bytes + length, &counts[bucket]))
			return "A count is cut off, or too long.";
		if (counts[bucket] > PG_INT64_MAX - total)
			return "It has too many observations.";
		total += counts[bucket];
	}
	if (at != bytes + length)
		return "Bytes follow the last count.";
	return NULL;
}

void
imon_histogram_unpack(const uint8 *bytes, Size length, uint64 *counts)
{
	const char *problem = unpack(bytes, length, counts);

	if (problem)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("stored histogram cannot be read"),
				 errdetail_internal("%s", problem),
				 errhint("It is damaged, or was stored by a later version of infra_monitor.")));
}

/* The counts of a value that is not compressed and not stored elsewhere. */
static void
unpack_varlena(bytea *value, uint64 *counts)
{
	imon_histogram_unpack((uint8 *) VARDATA_ANY(value),
						  VARSIZE_ANY_EXHDR(value), counts);
}

void
imon_histogram_counts(Datum histogram, uint64 *counts)
{
	bytea	   *value = PG_DETOAST_DATUM_PACKED(histogram);

	unpack_varlena(value, counts);
	if (PointerGetDatum(value) != histogram)
		pfree(value);
}

/*
 * Bounds and counts in text
 */

/* Appends a digit to a number that is not to exceed max (9 at least). */
static bool
append_digit(uint64 *value, int digit, uint64 max)
{
	if (*value > (max - digit) / 10)
		return false;
	*value = *value * 10 + digit;
	return true;
}

/*
 * Reads an unsigned decimal number times 10^exponent, which has to be whole:
 * nothing is rounded.
 */
static ImonDecimal
parse_decimal(const char *text, Size length, int exponent, uint64 max,
			  uint64 *value)
{
	bool		point = false;
	bool		digits = false;
	bool		fits = true;

	*value = 0;
	for (Size i = 0; i < length; i++)
	{
		if (text[i] == '.' && !point)
		{
			point = true;
			continue;
		}
		if (text[i] < '0' || text[i] > '9')
			return DECIMAL_INVALID;
		digits = true;
		if (!point || exponent > 0)
			fits &= append_digit(value, text[i] - '0', max);
		else if (text[i] != '0')
			return DECIMAL_INVALID;
		if (point && exponent > 0)
			exponent--;
	}
	if (!digits)
		return DECIMAL_INVALID;
	for (; exponent > 0; exponent--)
		fits &= append_digit(value, 0, max);
	return fits ? DECIMAL_OK : DECIMAL_TOO_LARGE;
}

/* The bucket with a bound of so many times 10^exponent ns, or -1. */
static int
find_bound(const char *number, Size length, int exponent)
{
	uint64		largest = imon_histogram_bound(LAST_BUCKET - 1);
	uint64		ns;
	int			bucket;

	if (parse_decimal(number, length, exponent, largest, &ns) != DECIMAL_OK)
		return -1;
	bucket = imon_histogram_bucket(ns);
	return imon_histogram_bound(bucket) == ns ? bucket : -1;
}

/* Is it the name of the last bucket's bound? */
static bool
is_no_bound(const char *text, Size length)
{
	return length == strlen(NO_BOUND) &&
		pg_strncasecmp(text, NO_BOUND, length) == 0;
}

/* The bucket of a bound with its unit, or -1. */
static int
parse_bound(const char *text, Size length)
{
	Size		number;

	if (is_no_bound(text, length))
		return LAST_BUCKET;
	number = strspn(text, "0123456789.");
	if (number < length && text[number] == 's')
		return number + 1 == length ? find_bound(text, number, 9) : -1;
	if (number + 2 != length || text[number + 1] != 's')
		return -1;
	if (text[number] == 'm')
		return find_bound(text, number, 6);
	if (text[number] == 'u')
		return find_bound(text, number, 3);
	return -1;
}

/* Raises the error that input is not a histogram. */
static void
invalid_input(const ImonHistogramInput *input, const char *detail)
{
	if (input->text)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input syntax for type %s: \"%.*s\"",
						"infra_monitor.histogram",
						pg_mbcliplen(input->text, strlen(input->text), 60),
						input->text),
				 errdetail_internal("%s", detail),
				 errhint("Write it as in {1.12ms:3,5s:1,+Inf:2}: the upper bound of a bucket with unit us, ms or s, and how many observations are in it.")));
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cannot cast jsonb to type %s",
						"infra_monitor.histogram"),
				 errdetail_internal("%s", detail),
				 errhint("Write it as in [{\"le_seconds\": 0.00112, \"count\": 3}, {\"le_seconds\": \"+Inf\", \"count\": 2}].")));
}

/* Adds an entry of the input: a bucket (-1 = unknown), and text of a count. */
static void
add_entry(ImonHistogramInput *input, int bucket, const char *text, Size length)
{
	uint64		count;

	if (bucket < 0)
		invalid_input(input, "No bucket has such an upper bound; bounds are the numbers R20 of ISO 3.");
	else if (input->seen[bucket])
		invalid_input(input, "A bucket is there twice.");
	else
	{
		input->seen[bucket] = true;
		switch (parse_decimal(text, length, 0, PG_INT64_MAX, &count))
		{
			case DECIMAL_INVALID:
				invalid_input(input, "A count has to be a whole number, not negative.");
				break;
			case DECIMAL_TOO_LARGE:
				out_of_range();
				break;
			case DECIMAL_OK:
				if (count > PG_INT64_MAX - input->total)
					out_of_range();
				input->counts[bucket] = count;
				input->total += count;
		}
	}
}

/* Skips white space. */
static const char *
skip_space(const char *at)
{
	while (scanner_isspace(*at))
		at++;
	return at;
}

/* The length of what stands before the next white space or punctuation. */
static Size
token_length(const char *at)
{
	return strcspn(at, " \t\n\r\f\v:,{}");
}

/*
 * Reads an entry, which ends before the next comma or brace; returns where
 * that is.
 */
static const char *
read_entry(ImonHistogramInput *input, const char *at)
{
	int			bucket = parse_bound(at, token_length(at));
	Size		length;

	at = skip_space(at + token_length(at));
	if (*at != ':')
		invalid_input(input, "An upper bound, a colon and a count are expected.");
	at = skip_space(at + 1);
	length = token_length(at);
	add_entry(input, bucket, at, length);
	return skip_space(at + length);
}

/* SQL: input of the type. */
Datum
imon_histogram_in_1_0(PG_FUNCTION_ARGS)
{
	ImonHistogramInput input = {0};
	const char *at;

	if (has_null(fcinfo, 1))
		PG_RETURN_NULL();
	input.text = PG_GETARG_CSTRING(0);

	at = skip_space(input.text);
	if (*at != '{')
		invalid_input(&input, "It has to begin with a brace.");
	at = skip_space(at + 1);
	if (*at != '}')
	{
		at = read_entry(&input, at);
		while (*at == ',')
			at = read_entry(&input, skip_space(at + 1));
	}
	if (*at != '}')
		invalid_input(&input, "After a count, a comma or the closing brace is expected.");
	if (*skip_space(at + 1) != '\0')
		invalid_input(&input, "Something follows the closing brace.");
	PG_RETURN_DATUM(imon_histogram_datum(input.counts));
}

/* Appends ns / unit; the decimals are those that it takes. */
static void
append_quotient(StringInfo string, uint64 ns, uint64 unit)
{
	uint64		rest = ns % unit;

	appendStringInfo(string, UINT64_FORMAT, ns / unit);
	if (rest > 0)
		appendStringInfoChar(string, '.');
	for (; rest > 0; rest %= unit)
	{
		rest *= 10;
		appendStringInfoChar(string, '0' + (int) (rest / unit));
	}
}

/* Appends the bound of a bucket with its unit. */
static void
append_bound(StringInfo string, int bucket)
{
	uint64		ns = imon_histogram_bound(bucket);

	if (bucket == LAST_BUCKET)
	{
		appendStringInfoString(string, NO_BOUND);
		return;
	}
	if (ns < UINT64CONST(1000000))
	{
		append_quotient(string, ns, UINT64CONST(1000));
		appendStringInfoString(string, "us");
	}
	else if (ns < UINT64CONST(1000000000))
	{
		append_quotient(string, ns, UINT64CONST(1000000));
		appendStringInfoString(string, "ms");
	}
	else
	{
		append_quotient(string, ns, UINT64CONST(1000000000));
		appendStringInfoString(string, "s");
	}
}

/* SQL: output of the type. */
Datum
imon_histogram_out_1_0(PG_FUNCTION_ARGS)
{
	uint64		counts[IMON_HISTOGRAM_BUCKETS];
	StringInfoData string;

	if (has_null(fcinfo, 1))
		PG_RETURN_NULL();
	imon_histogram_counts(PG_GETARG_DATUM(0), counts);

	initStringInfo(&string);
	appendStringInfoChar(&string, '{');
	for (int i = 0; i < IMON_HISTOGRAM_BUCKETS; i++)
	{
		if (counts[i] == 0)
			continue;
		if (string.len > 1)
			appendStringInfoChar(&string, ',');
		append_bound(&string, i);
		appendStringInfo(&string, ":" UINT64_FORMAT, counts[i]);
	}
	appendStringInfoChar(&string, '}');
	PG_RETURN_CSTRING(string.data);
}

/* SQL: binary input of the type. */
Datum
imon_histogram_recv_1_0(PG_FUNCTION_ARGS)
{
	uint64		counts[IMON_HISTOGRAM_BUCKETS];
	StringInfo	message;
	const char *problem;
	int			length;

	if (has_null(fcinfo, 1))
		PG_RETURN_NULL();
	message = (StringInfo) PG_GETARG_POINTER(0);
	length = message->len - message->cursor;
	problem = unpack((const uint8 *) pq_getmsgbytes(message, length), length,
					 counts);
	if (problem)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid binary representation of type %s",
						"infra_monitor.histogram"),
				 errdetail_internal("%s", problem)));
	PG_RETURN_DATUM(imon_histogram_datum(counts));
}

/* SQL: binary output of the type. */
Datum
imon_histogram_send_1_0(PG_FUNCTION_ARGS)
{
	bytea	   *value;
	uint64		counts[IMON_HISTOGRAM_BUCKETS];
	StringInfoData message;

	if (has_null(fcinfo, 1))
		PG_RETURN_NULL();
	value = PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(0));
	unpack_varlena(value, counts);	/* nobody gets what is damaged */

	pq_begintypsend(&message);
	pq_sendbytes(&message, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
	PG_RETURN_BYTEA_P(pq_endtypsend(&message));
}

/*
 * A duration in nanoseconds, rounded, of one in milliseconds; that of the
 * overflow bucket where it does not fit.
 */
static uint64
duration(double milliseconds)
{
	double		ns = rint(milliseconds * 1e6);

	if (isnan(milliseconds) || milliseconds < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid duration: %g", milliseconds),
				 errdetail("Durations are milliseconds, not negative.")));
	return ns < 1e18 ? (uint64) ns : PG_UINT64_MAX;
}

/* SQL: histogram, of an array of milliseconds; NULLs are left out. */
Datum
imon_histogram_1_0(PG_FUNCTION_ARGS)
{
	uint64		counts[IMON_HISTOGRAM_BUCKETS] = {0};
	Datum	   *values;
	bool	   *nulls;
	int			n;

	if (has_null(fcinfo, 1))
		PG_RETURN_NULL();
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), FLOAT8OID, sizeof(float8),
					  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &values, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!nulls[i])
			counts[imon_histogram_bucket(duration(DatumGetFloat8(values[i])))]++;
	}
	PG_RETURN_DATUM(imon_histogram_datum(counts));
}

/*
 * jsonb: an array of {"le_seconds": ..., "count": ...}, one for each bucket that
 * is not empty.
 */

/* The text of a number. */
static char *
number_text(const JsonbValue *value)
{
	return DatumGetCString(DirectFunctionCall1(numeric_out,
											   NumericGetDatum(value->val.numeric)));
}

/* The bucket that "le_seconds" means, or -1. */
static int
jsonb_bound(const JsonbValue *value)
{
	char	   *number;

	if (value->type == jbvString)
		return is_no_bound(value->val.string.val, value->val.string.len) ?
			LAST_BUCKET : -1;
	if (value->type != jbvNumeric)
		return -1;
	number = number_text(value);
	return find_bound(number, strlen(number), 9);
}

/* Reads one element of the array. */
static void
read_element(ImonHistogramInput *input, const JsonbValue *element)
{
	JsonbValue *bound = NULL;
	JsonbValue *count = NULL;
	char	   *number;

	if (element->type == jbvBinary &&
		JsonContainerIsObject(element->val.binary.data) &&
		JsonContainerSize(element->val.binary.data) == 2)
	{
		bound = getKeyJsonValueFromContainer(element->val.binary.data,
											 "le_seconds", 10, NULL);
		count = getKeyJsonValueFromContainer(element->val.binary.data,
											 "count", 5, NULL);
	}
	if (bound == NULL || count == NULL || count->type != jbvNumeric)
	{
		invalid_input(input, "Each element has to be an object of \"le_seconds\", a number or \"+Inf\", and \"count\", a number.");
		return;
	}
	number = number_text(count);
	add_entry(input, jsonb_bound(bound), number, strlen(number));
}

/* SQL: cast from jsonb. */
Datum
imon_histogram_from_jsonb_1_0(PG_FUNCTION_ARGS)
{
	ImonHistogramInput input = {0};
	Jsonb	   *jsonb;

	if (has_null(fcinfo, 1))
		PG_RETURN_NULL();
	jsonb = PG_GETARG_JSONB_P(0);
	if (!JB_ROOT_IS_ARRAY(jsonb) || JB_ROOT_IS_SCALAR(jsonb))
		invalid_input(&input, "It has to be an array.");
	if (JB_ROOT_COUNT(jsonb) > IMON_HISTOGRAM_BUCKETS)
		invalid_input(&input, "It has more elements than there are buckets.");
	for (uint32 i = 0; i < JB_ROOT_COUNT(jsonb); i++)
		read_element(&input, getIthJsonbValueFromContainer(&jsonb->root, i));
	PG_RETURN_DATUM(imon_histogram_datum(input.counts));
}

/* SQL: cast to jsonb. */
Datum
imon_histogram_to_jsonb_1_0(PG_FUNCTION_ARGS)
{
	uint64		counts[IMON_HISTOGRAM_BUCKETS];
	StringInfoData string;

	if (has_null(fcinfo, 1))
		PG_RETURN_NULL();
	imon_histogram_counts(PG_GETARG_DATUM(0), counts);

	initStringInfo(&string);
	appendStringInfoChar(&string, '[');
	for (int i = 0; i < IMON_HISTOGRAM_BUCKETS; i++)
	{
		if (counts[i] == 0)
			continue;
		appendStringInfoString(&string, string.len > 1 ?
							   ", {\"le_seconds\": " : "{\"le_seconds\": ");
		if (i == LAST_BUCKET)
			appendStringInfoString(&string, "\"" NO_BOUND "\"");
		else
			append_quotient(&string, imon_histogram_bound(i),
							UINT64CONST(1000000000));
		appendStringInfo(&string, ", \"count\": " UINT64_FORMAT "}", counts[i]);
	}
	appendStringInfoChar(&string, ']');
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(string.data)));
}

/*
 * Operators
 */

/* SQL: operator +. */
Datum
imon_histogram_add_1_0(PG_FUNCTION_ARGS)
{
	uint64		left[IMON_HISTOGRAM_BUCKETS];
	uint64		right[IMON_HISTOGRAM_BUCKETS];

	if (has_null(fcinfo, 2))
		PG_RETURN_NULL();
	imon_histogram_counts(PG_GETARG_DATUM(0), left);
	imon_histogram_counts(PG_GETARG_DATUM(1), right);
	if (imon_histogram_total(left) > PG_INT64_MAX - imon_histogram_total(right))
		out_of_range();
	for (int i = 0; i < IMON_HISTOGRAM_BUCKETS; i++)
		left[i] += right[i];
	PG_RETURN_DATUM(imon_histogram_datum(left));
}

/* SQL: operator -. */
Datum
imon_histogram_subtract_1_0(PG_FUNCTION_ARGS)
{
	uint64		left[IMON_HISTOGRAM_BUCKETS];
	uint64		right[IMON_HISTOGRAM_BUCKETS];

	if (has_null(fcinfo, 2))
		PG_RETURN_NULL();
	imon_histogram_counts(PG_GETARG_DATUM(0), left);
	imon_histogram_counts(PG_GETARG_DATUM(1), right);
	for (int i = 0; i < IMON_HISTOGRAM_BUCKETS; i++)
	{
		if (right[i] > left[i])
		{
			StringInfoData bound;

			initStringInfo(&bound);
			append_bound(&bound, i);
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("difference of histograms would be negative"),
					 errdetail("The bucket up to %s has %llu observations, of which %llu are to be taken away.",
							   bound.data, (unsigned long long) left[i],
							   (unsigned long long) right[i]),
					 errhint("Only an earlier state of the same counts can be subtracted, without a reset in between.")));
		}
		left[i] -= right[i];
	}
	PG_RETURN_DATUM(imon_histogram_datum(left));
}

/* Are two histograms equal?  So are their bytes, then. */
static bool
histograms_equal(Datum left, Datum right)
{
	bytea	   *a = PG_DETOAST_DATUM_PACKED(left);
	bytea	   *b = PG_DETOAST_DATUM_PACKED(right);

	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

/* SQL: operator =. */
Datum
imon_histogram_eq_1_0(PG_FUNCTION_ARGS)
{
	if (has_null(fcinfo, 2))
		PG_RETURN_NULL();
	PG_RETURN_BOOL(histograms_equal(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)));
}

/* SQL: operator <>. */
Datum
imon_histogram_ne_1_0(PG_FUNCTION_ARGS)
{
	if (has_null(fcinfo, 2))
		PG_RETURN_NULL();
	PG_RETURN_BOOL(!histograms_equal(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)));
}

/* SQL: hash function of 32 bits. */
Datum
imon_histogram_hash_1_0(PG_FUNCTION_ARGS)
{
	bytea	   *value;

	if (has_null(fcinfo, 1))
		PG_RETURN_NULL();
	value = PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(0));
	return hash_any((unsigned char *) VARDATA_ANY(value),
					VARSIZE_ANY_EXHDR(value));
}

/* SQL: hash function of 64 bits, with a seed. */
Datum
imon_histogram_hash_extended_1_0(PG_FUNCTION_ARGS)
{
	bytea	   *value;

	if (has_null(fcinfo, 2))
		PG_RETURN_NULL();
	value = PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(0));
	return hash_any_extended((unsigned char *) VARDATA_ANY(value),
							 VARSIZE_ANY_EXHDR(value), PG_GETARG_INT64(1));
}

/*
 * What a histogram says
 */

/* SQL: quantile, in milliseconds. */
Datum
imon_quantile_1_0(PG_FUNCTION_ARGS)
{
	uint64		counts[IMON_HISTOGRAM_BUCKETS];
	double		q;

	if (has_null(fcinfo, 2))
		PG_RETURN_NULL();
	imon_histogram_counts(PG_GETARG_DATUM(0), counts);
	q = PG_GETARG_FLOAT8(1);
	if (!(q >= 0 && q <= 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid quantile: %g", q),
				 errdetail("A quantile is a number from 0 to 1."),
				 errhint("The 95th percentile is quantile 0.95.")));
	if (imon_histogram_total(counts) == 0)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(imon_histogram_quantile(counts, q) / 1e6);
}

/* SQL: fraction, the share that does not exceed a duration in milliseconds. */
Datum
imon_fraction_1_0(PG_FUNCTION_ARGS)
{
	uint64		counts[IMON_HISTOGRAM_BUCKETS];
	double		duration;

	if (has_null(fcinfo, 2))
		PG_RETURN_NULL();
	imon_histogram_counts(PG_GETARG_DATUM(0), counts);
	duration = PG_GETARG_FLOAT8(1);
	if (isnan(duration))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a duration must be a number")));
	if (imon_histogram_total(counts) == 0)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(imon_histogram_fraction(counts, duration * 1e6));
}

/* SQL: observations, how many there are. */
Datum
imon_observations_1_0(PG_FUNCTION_ARGS)
{
	uint64		counts[IMON_HISTOGRAM_BUCKETS];

	if (has_null(fcinfo, 1))
		PG_RETURN_NULL();
	imon_histogram_counts(PG_GETARG_DATUM(0), counts);
	PG_RETURN_INT64((int64) imon_histogram_total(counts));
}

/* SQL: buckets, one row for each: le_seconds, cumulative. */
Datum
imon_buckets_1_0(PG_FUNCTION_ARGS)
{
	uint64		counts[IMON_HISTOGRAM_BUCKETS];
	uint64		cumulative = 0;
	ReturnSetInfo *rsinfo;

	imon_require_arguments(fcinfo, 1);
	rsinfo = imon_begin_rows(fcinfo, BUCKETS_COLUMNS);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	imon_histogram_counts(PG_GETARG_DATUM(0), counts);
	for (int i = 0; i < IMON_HISTOGRAM_BUCKETS; i++)
	{
		Datum		values[BUCKETS_COLUMNS];
		bool		nulls[BUCKETS_COLUMNS] = {false};

		cumulative += counts[i];
		values[0] = Float8GetDatum(i == LAST_BUCKET ? INFINITY :
								   imon_histogram_bound(i) / 1e9);
		values[1] = Int64GetDatum((int64) cumulative);
		imon_put_row(rsinfo, values, nulls);
	}
	return (Datum) 0;
}
