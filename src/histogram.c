/*-------------------------------------------------------------------------
 *
 * histogram.c
 *	  Histograms of durations, see histogram.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "histogram.h"

/* R20 from one power of ten, a hundred times as large, to the next. */
#define DECADE(u) \
	UINT64CONST(100) * (u), UINT64CONST(112) * (u), \
	UINT64CONST(125) * (u), UINT64CONST(140) * (u), \
	UINT64CONST(160) * (u), UINT64CONST(180) * (u), \
	UINT64CONST(200) * (u), UINT64CONST(224) * (u), \
	UINT64CONST(250) * (u), UINT64CONST(280) * (u), \
	UINT64CONST(315) * (u), UINT64CONST(355) * (u), \
	UINT64CONST(400) * (u), UINT64CONST(450) * (u), \
	UINT64CONST(500) * (u), UINT64CONST(560) * (u), \
	UINT64CONST(630) * (u), UINT64CONST(710) * (u), \
	UINT64CONST(800) * (u), UINT64CONST(900) * (u)

const uint64 imon_histogram_bounds[] = {
	DECADE(IMON_HISTOGRAM_MIN / 100),
	DECADE(100),
	DECADE(1000),
	DECADE(10000),
	DECADE(100000),
	DECADE(1000000),
	DECADE(10000000),
	DECADE(100000000),
	DECADE(UINT64CONST(1000000000)),
	DECADE(UINT64CONST(10000000000)),
	IMON_HISTOGRAM_MAX
};

StaticAssertDecl(lengthof(imon_histogram_bounds) == IMON_HISTOGRAM_BOUNDS, "all bounds are there");

const uint8 imon_histogram_cells[] = {
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	1, 1, 2, 2, 3, 3, 4, 4, 4, 4, 5, 5, 5, 6, 6, 6,
	7, 7, 8, 8, 9, 9, 10, 10, 10, 11, 11, 11, 12, 12, 12, 12,
	13, 13, 14, 14, 15, 15, 16, 16, 16, 17, 17, 17, 18, 18, 18, 18,
	19, 19, 20, 20, 21, 21, 22, 22, 22, 23, 23, 23, 24, 24, 24, 24,
	25, 25, 26, 26, 27, 27, 28, 28, 28, 29, 29, 29, 30, 30, 30, 31,
	31, 31, 32, 32, 33, 33, 34, 34, 34, 35, 35, 35, 36, 36, 36, 37,
	37, 37, 38, 38, 39, 39, 40, 40, 40, 41, 41, 41, 42, 42, 42, 43,
	43, 43, 44, 44, 45, 45, 46, 46, 46, 47, 47, 47, 48, 48, 48, 49,
	49, 49, 50, 50, 51, 51, 52, 52, 52, 53, 53, 53, 54, 54, 54, 55,
	55, 55, 56, 56, 57, 57, 58, 58, 58, 59, 59, 59, 60, 60, 60, 61,
	61, 61, 62, 62, 63, 63, 64, 64, 64, 65, 65, 65, 66, 66, 66, 67,
	67, 67, 68, 68, 69, 69, 70, 70, 70, 71, 71, 71, 72, 72, 72, 73,
	73, 73, 74, 74, 75, 75, 76, 76, 76, 77, 77, 77, 78, 78, 78, 79,
	79, 79, 80, 80, 81, 81, 82, 82, 83, 83, 83, 84, 84, 84, 84, 85,
	85, 85, 86, 86, 87, 87, 88, 88, 89, 89, 89, 90, 90, 90, 90, 91,
	91, 92, 92, 92, 93, 93, 94, 94, 95, 95, 95, 96, 96, 96, 96, 97,
	97, 98, 98, 98, 99, 99, 100, 100, 101, 101, 101, 102, 102, 102, 103, 103,
	103, 104, 104, 104, 105, 105, 106, 106, 107, 107, 107, 108, 108, 108, 109, 109,
	109, 110, 110, 111, 111, 111, 112, 112, 113, 113, 113, 114, 114, 114, 115, 115,
	115, 116, 116, 117, 117, 117, 118, 118, 119, 119, 119, 120, 120, 120, 121, 121,
	121, 122, 122, 123, 123, 124, 124, 124, 125, 125, 125, 126, 126, 126, 127, 127,
	127, 128, 128, 129, 129, 130, 130, 130, 131, 131, 131, 132, 132, 132, 133, 133,
	133, 134, 134, 135, 135, 136, 136, 136, 137, 137, 137, 138, 138, 138, 139, 139,
	139, 140, 140, 141, 141, 142, 142, 142, 143, 143, 143, 144, 144, 144, 145, 145,
	145, 146, 146, 147, 147, 148, 148, 148, 149, 149, 149, 150, 150, 150, 151, 151,
	151, 152, 152, 153, 153, 154, 154, 154, 155, 155, 155, 156, 156, 156, 157, 157,
	157, 158, 158, 159, 159, 160, 160, 160, 161, 161, 161, 162, 162, 162, 163, 163,
	163, 164, 164, 165, 165, 166, 166, 166, 167, 167, 167, 168, 168, 168, 169, 169,
	169, 170, 170, 171, 171, 172, 172, 172, 173, 173, 173, 174, 174, 174, 175, 175,
	175, 176, 176, 177, 177, 178, 178, 178, 179, 179, 179, 180, 180, 180, 181, 181,
	181, 182, 182, 183, 183, 184, 184, 184, 185, 185, 185, 186, 186, 186, 187, 187,
	187, 188, 188, 189, 189, 190, 190, 191, 191, 191, 192, 192, 192, 192, 193, 193,
	193, 194, 194, 195, 195, 196, 196, 197, 197, 197, 198, 198, 198, 198, 199, 199,
	199, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200
};

StaticAssertDecl(lengthof(imon_histogram_cells) ==
				 (43 - IMON_FIRST_POWER + 1) << IMON_CELL_BITS,
				 "cells for all bounds");

uint64
imon_histogram_bound(int bucket)
{
	Assert(bucket >= 0 && bucket < IMON_HISTOGRAM_BUCKETS);
	return bucket < IMON_HISTOGRAM_BOUNDS ? imon_histogram_bounds[bucket] : PG_UINT64_MAX;
}

/* The sum, PG_INT64_MAX if it is larger; "sum" never is. */
static uint64
add_count(uint64 sum, uint64 count)
{
	return count > PG_INT64_MAX - sum ? PG_INT64_MAX : sum + count;
}

uint64
imon_histogram_total(const uint64 *counts)
{
	uint64		total = 0;

	for (int i = 0; i < IMON_HISTOGRAM_BUCKETS; i++)
		total = add_count(total, counts[i]);
	return total;
}

/* The point that divides a bucket geometrically. */
static double
point_in_bucket(int bucket, double fraction)
{
	double		lower;
	double		upper;

	/* the outer buckets have one bound each */
	if (bucket == 0)
		return imon_histogram_bounds[0];
	lower = imon_histogram_bounds[bucket - 1];
	if (bucket == IMON_HISTOGRAM_BOUNDS || fraction <= 0)
		return lower;
	upper = imon_histogram_bounds[bucket];
	if (fraction >= 1)
		return upper;
	return Min(lower * pow(upper / lower, fraction), upper);
}

double
imon_histogram_quantile(const uint64 *counts, double q)
{
	uint64		total = imon_histogram_total(counts);
	uint64		below = 0;
	double		rank;

	if (total == 0 || !(q >= 0 && q <= 1))
		return NAN;

	/* percentile_disc() rounds this up: within the same bucket */
	rank = q * (double) total;
	for (int i = 0; i < IMON_HISTOGRAM_BUCKETS; i++)
	{
		uint64		sum = add_count(below, counts[i]);

		if (counts[i] > 0 && rank <= (double) sum)
			return point_in_bucket(i, (rank - (double) below) /
								   (double) (sum - below));
		below = sum;
	}
	return NAN;					/* not reached: the last sum is the total */
}

/* The share of a bucket that is up to so many nanoseconds. */
static double
share_of_bucket(int bucket, double ns)
{
	double		upper = bucket < IMON_HISTOGRAM_BOUNDS ?
		imon_histogram_bounds[bucket] : INFINITY;
	double		lower;

	if (ns >= upper)
		return 1;
	if (bucket == 0 || bucket == IMON_HISTOGRAM_BOUNDS)
		return 0;
	lower = imon_histogram_bounds[bucket - 1];
	return ns <= lower ? 0 : log(ns / lower) / log(upper / lower);
}

double
imon_histogram_fraction(const uint64 *counts, double ns)
{
	uint64		total = imon_histogram_total(counts);
	double		below = 0;

	if (total == 0)
		return NAN;
	for (int i = 0; i < IMON_HISTOGRAM_BUCKETS; i++)
		below += (double) counts[i] * share_of_bucket(i, ns);
	return Min(below / (double) total, 1);
}
