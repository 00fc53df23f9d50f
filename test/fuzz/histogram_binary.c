/*
 * Fuzz target: histograms from bytes, as clients send them, and what is done
 * with them.
 *
 * The input is two of them, or two lists of counts.  What is accepted is sent and
 * printed, and read back as the same; sums do not depend on the order and can be
 * taken apart; quantiles and shares ascend and stay in their ranges.
 */
#include "stand_ins.h"

#include "../../src/histogram_type.c"

const char *
pq_getmsgbytes(StringInfo message, int length)
{
	MUST(length <= message->len - message->cursor);
	message->cursor += length;
	return message->data + message->cursor - length;
}

void
pq_begintypsend(StringInfo message)
{
	initStringInfo(message);
	appendStringInfoSpaces(message, VARHDRSZ);
}

void
#if PG_VERSION_NUM >= 160000
pq_sendbytes(StringInfo message, const void *bytes, int length)
#else
pq_sendbytes(StringInfo message, const char *bytes, int length)
#endif
{
	appendBinaryStringInfo(message, bytes, length);
}

bytea *
pq_endtypsend(StringInfo message)
{
	SET_VARSIZE(message->data, message->len);
	return (bytea *) message->data;
}

static Datum
call(PGFunction function, int n, Datum a, Datum b)
{
	Datum		result;

	MUST(fuzz_call(function, &result, n, a, b));
	return result;
}

static bool
same(Datum a, Datum b)
{
	bool		result = DatumGetBool(call(imon_histogram_eq_1_0, 2, a, b));

	MUST(result != DatumGetBool(call(imon_histogram_ne_1_0, 2, a, b)));
	return result;
}

static int64
observations(Datum value)
{
	return DatumGetInt64(call(imon_observations_1_0, 1, value, 0));
}

/* As clients send it; in memory of its own, so that no byte more is read. */
static bool
receive(const char *bytes, int length, Datum *value)
{
	StringInfoData message = {.data = palloc(length),.len = length};

	memcpy(message.data, bytes, length);
	return fuzz_call(imon_histogram_recv_1_0, value, 1, PointerGetDatum(&message), 0);
}

/* Pairs of bytes are a bucket, and the number of bits of its count. */
static Datum
of_pairs(const uint8 *bytes, size_t size)
{
	uint64		counts[IMON_HISTOGRAM_BUCKETS] = {0};

	for (size_t i = 0; i + 1 < size; i += 2)
		counts[bytes[i] % IMON_HISTOGRAM_BUCKETS] =
			(PG_UINT64_MAX - bytes[i + 1]) >> (bytes[i + 1] % 64);
	return imon_histogram_datum(counts);
}

/* One histogram: what it becomes elsewhere is the same. */
static void
check_copies(Datum value)
{
	Datum		sent = call(imon_histogram_send_1_0, 1, value, 0);
	Datum		copy;

	MUST(receive(VARDATA(DatumGetPointer(sent)),
				 VARSIZE(DatumGetPointer(sent)) - VARHDRSZ, &copy));
	MUST(same(value, copy));
	copy = call(imon_histogram_in_1_0, 1, call(imon_histogram_out_1_0, 1, value, 0), 0);
	MUST(same(value, copy));
	MUST(VARSIZE(DatumGetPointer(value)) <= VARHDRSZ + IMON_HISTOGRAM_MAX_BYTES);
}

/* What it says. */
static void
check_statistics(Datum value)
{
	uint64		counts[IMON_HISTOGRAM_BUCKETS];
	double		last = 0;
	double		share = 0;

	imon_histogram_counts(value, counts);
	if (imon_histogram_total(counts) == 0)
	{
		MUST(isnan(imon_histogram_quantile(counts, 0.5)));
		return;
	}
	for (int i = 0; i <= 10; i++)
	{
		double		quantile = imon_histogram_quantile(counts, i / 10.0);

		MUST(quantile >= Max(last, (double) IMON_HISTOGRAM_MIN));
		MUST(quantile <= (double) IMON_HISTOGRAM_MAX);
		MUST(counts[imon_histogram_bucket((uint64) quantile)] > 0 ||
			 counts[Min(imon_histogram_bucket((uint64) quantile) + 1, LAST_BUCKET)] > 0);
		last = quantile;
	}
	for (int i = 0; i < IMON_HISTOGRAM_BUCKETS - 1; i += 20)
	{
		double		up_to = imon_histogram_fraction(counts, (double) imon_histogram_bound(i));

		MUST(up_to >= share - 1e-9 && up_to <= 1);
		share = up_to;
	}
	MUST(imon_histogram_fraction(counts, INFINITY) > 1 - 1e-9);
}

/* Two of them. */
static void
check_sums(Datum a, Datum b)
{
	Datum		sum;
	Datum		reverse;

	if (!fuzz_call(imon_histogram_add_1_0, &sum, 2, a, b))
	{
		MUST(fuzz_sqlerrcode == ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE);
		MUST(observations(a) > PG_INT64_MAX - observations(b));
		MUST(!fuzz_call(imon_histogram_add_1_0, &sum, 2, b, a));
	}
	else
	{
		reverse = call(imon_histogram_add_1_0, 2, b, a);
		MUST(same(sum, reverse));
		MUST(DatumGetUInt32(call(imon_histogram_hash_1_0, 1, sum, 0)) ==
			 DatumGetUInt32(call(imon_histogram_hash_1_0, 1, reverse, 0)));
		MUST(observations(sum) == observations(a) + observations(b));
		MUST(same(call(imon_histogram_subtract_1_0, 2, sum, b), a));
		MUST(same(call(imon_histogram_subtract_1_0, 2, sum, a), b));
	}
	if (!fuzz_call(imon_histogram_subtract_1_0, &reverse, 2, a, b))
		MUST(fuzz_sqlerrcode == ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE);
	else
		MUST(same(call(imon_histogram_add_1_0, 2, reverse, b), a));
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	FuzzInput	input = {data, size};
	int			choice = fuzz_choice(&input);
	size_t		half = input.size * (choice / 2) / 127;
	Datum		a;
	Datum		b;

	fuzz_begin();
	if (choice % 2 == 0)
	{
		a = of_pairs(data, half);
		b = of_pairs(data + half, input.size - half);
	}
	else if (!receive((const char *) data, half, &a) ||
			 !receive((const char *) data + half, input.size - half, &b))
	{
		MUST(fuzz_sqlerrcode == ERRCODE_INVALID_BINARY_REPRESENTATION);
		return 0;
	}
	check_copies(a);
	check_copies(b);
	check_statistics(a);
	check_sums(a, b);
	return 0;
}
