/*
 * Fuzz target: input and output of the type histogram as text.
 *
 * What is accepted is printed, and read back as the same bytes, in which it is
 * stored and sent; what is refused is refused with an error of ours.
 */
#include "stand_ins.h"

#include "../../src/histogram_type.c"

/* Braces, and for each bucket the longest bound, a colon, a count, a comma. */
#define MAX_TEXT (2 + IMON_HISTOGRAM_BUCKETS * (8 + 1 + 19 + 1))

static bool
same_bytes(Datum a, Datum b)
{
	return VARSIZE(DatumGetPointer(a)) == VARSIZE(DatumGetPointer(b)) &&
		memcmp(DatumGetPointer(a), DatumGetPointer(b),
			   VARSIZE(DatumGetPointer(a))) == 0;
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	FuzzInput	input = {data, size};
	char	   *bytes;
	Datum		value;
	Datum		printed;
	Datum		again;
	uint64		counts[IMON_HISTOGRAM_BUCKETS];

	fuzz_begin();
	bytes = fuzz_text(&input);

	if (!fuzz_call(imon_histogram_in_1_0, &value, 1, CStringGetDatum(bytes), 0))
	{
		MUST(fuzz_sqlerrcode == ERRCODE_INVALID_TEXT_REPRESENTATION ||
			 fuzz_sqlerrcode == ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE);
		MUST(fuzz_has(fuzz_error_texts, "istogram"));
		MUST(!fuzz_is_valid(bytes) || fuzz_is_valid(fuzz_error_texts));
		return 0;
	}
	MUST(unpack((uint8 *) VARDATA(DatumGetPointer(value)),
				VARSIZE(DatumGetPointer(value)) - VARHDRSZ, counts) == NULL);
	MUST(imon_histogram_total(counts) <= PG_INT64_MAX);

	MUST(fuzz_call(imon_histogram_out_1_0, &printed, 1, value, 0));
	MUST(strlen(DatumGetCString(printed)) <= MAX_TEXT);
	MUST(fuzz_call(imon_histogram_in_1_0, &again, 1, printed, 0));
	MUST(same_bytes(value, again));
	return 0;
}
