/*
 * Fuzz target: decimal numbers in histograms, and the bucket of a duration.
 *
 * The text is a number; choices are the exponent of its unit and the largest that
 * it may be.  What it is worth is also computed with 128 bits, to which it is
 * shortened.
 */
#include "stand_ins.h"

#include "../../src/histogram_type.c"

#define MAX_DIGITS 24

/* The bucket as its definition says. */
static int
bucket_of(uint64 ns)
{
	int			bucket = 0;

	while (ns > imon_histogram_bound(bucket))
		bucket++;
	return bucket;
}

/* The same in another way: shift the point, then read a whole number. */
static ImonDecimal
worth(const char *bytes, int length, int exponent, uint64 max, uint64 *value)
{
	const char *point = memchr(bytes, '.', length);
	int			whole = point ? point - bytes : length;
	int			fraction = point ? length - whole - 1 : 0;
	__uint128_t number = 0;

	if (whole + fraction == 0)
		return DECIMAL_INVALID;
	for (int i = 0; i < length; i++)
		if (bytes + i != point && (bytes[i] < '0' || bytes[i] > '9'))
			return DECIMAL_INVALID;
	for (int i = exponent; i < fraction; i++)
		if (point[1 + i] != '0')
			return DECIMAL_INVALID;
	for (int i = 0; i < whole; i++)
		number = number * 10 + (bytes[i] - '0');
	for (int i = 0; i < exponent; i++)
		number = number * 10 + (i < fraction ? point[1 + i] - '0' : 0);
	*value = (uint64) number;
	return number > max ? DECIMAL_TOO_LARGE : DECIMAL_OK;
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	static const uint64 largest[] = {9, 1000, IMON_HISTOGRAM_MAX, PG_INT64_MAX};
	FuzzInput	input = {data, size};
	int			exponent = fuzz_choice(&input) % 10;
	uint64		max = largest[fuzz_choice(&input) % lengthof(largest)];
	uint64		ns = 0;
	char	   *bytes;
	size_t		length;
	uint64		value;
	uint64		expected;
	ImonDecimal result;

	fuzz_begin();
	memcpy(&ns, data, Min(size, sizeof(ns)));
	MUST(imon_histogram_bucket(ns) == bucket_of(ns));
	MUST(imon_histogram_bucket(ns >> 20) == bucket_of(ns >> 20));

	input.size = Min(input.size, MAX_DIGITS);
	bytes = fuzz_text(&input);

	length = strlen(bytes);
	result = parse_decimal(bytes, length, exponent, max, &value);
	MUST(result == worth(bytes, length, exponent, max, &expected));
	MUST(result != DECIMAL_OK || value == expected);

	if (find_bound(bytes, length, exponent) >= 0)
		MUST(worth(bytes, length, exponent, PG_INT64_MAX, &expected) == DECIMAL_OK &&
			 imon_histogram_bound(find_bound(bytes, length, exponent)) == expected);
	if (parse_bound(bytes, length) >= 0)
	{
		StringInfoData printed;

		initStringInfo(&printed);
		append_bound(&printed, parse_bound(bytes, length));
		MUST(parse_bound(printed.data, printed.len) == parse_bound(bytes, length));
	}
	return 0;
}
