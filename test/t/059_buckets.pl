# Counts that pass multiples of 2^31 and 2^32: nobody can wait for that, so a
# library of a few lines begins just below them.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $directory = abs_path(PostgreSQL::Test::Utils::tempdir());
my $source = abs_path(dirname(__FILE__) . '/../../src');
my $library = "$directory/buckets.so";

append_to_file("$directory/buckets.c", <<'C');
#include "postgres.h"
#include "buckets.h"
#include "fmgr.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(counts);
PG_FUNCTION_INFO_V1(value);
PG_FUNCTION_INFO_V1(take);
PG_FUNCTION_INFO_V1(move);
PG_FUNCTION_INFO_V1(add);

static ImonBuckets buckets;

/*
 * Begins with a count and adds so many, one by one.  Returns the count then, or
 * -1 if one of those between was not one more than the one before, or another
 * bucket has changed.
 */
Datum
counts(PG_FUNCTION_ARGS)
{
	uint64		count = (uint64) PG_GETARG_INT64(0);

	imon_buckets_init(&buckets);
	imon_bucket_write(&buckets, 7, count);
	for (int i = 0; i < PG_GETARG_INT32(1); i++)
	{
		imon_bucket_count(&buckets, 7);
		if (imon_bucket_read(&buckets, 7) != ++count)
			PG_RETURN_INT64(-1);
	}
	if (imon_bucket_read(&buckets, 6) != 0 || imon_bucket_read(&buckets, 8) != 0)
		PG_RETURN_INT64(-1);
	PG_RETURN_INT64((int64) imon_bucket_read(&buckets, 7));
}

Datum
value(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64((int64) imon_bucket_value((uint16) PG_GETARG_INT32(0), (uint32) PG_GETARG_INT64(1)));
}

/* What is taken from such a bucket, and what is left. */
Datum
take(PG_FUNCTION_ARGS)
{
	uint64		taken;

	imon_buckets_init(&buckets);
	imon_bucket_write(&buckets, 7, (uint64) PG_GETARG_INT64(0));
	taken = imon_bucket_take(&buckets, 7);
	PG_RETURN_INT64((int64) (taken - imon_bucket_read(&buckets, 7)));
}

/*
 * Adds one to such a bucket and moves it to another one that has counted
 * something.  Returns the count there, or -1 if it is not all that has moved.
 */
Datum
move(PG_FUNCTION_ARGS)
{
	static ImonBuckets sum;

	imon_buckets_init(&buckets);
	imon_buckets_init(&sum);
	imon_bucket_write(&buckets, 6, 1);
	imon_bucket_write(&buckets, 7, (uint64) PG_GETARG_INT64(0));
	imon_bucket_write(&buckets, 9, 1);
	imon_bucket_write(&sum, 7, (uint64) PG_GETARG_INT64(1));
	imon_bucket_count(&buckets, 7);
	imon_buckets_move(&sum, &buckets, 7, 9);
	if (imon_bucket_read(&buckets, 6) != 1 || imon_bucket_read(&buckets, 7) != 0 ||
		imon_bucket_read(&buckets, 9) != 1 || imon_bucket_read(&sum, 6) != 0 ||
		imon_bucket_read(&sum, 8) != 0 || imon_bucket_read(&sum, 9) != 0)
		PG_RETURN_INT64(-1);
	PG_RETURN_INT64((int64) imon_bucket_read(&sum, 7));
}

/*
 * Adds one to such a bucket and to the next, and both to what is there already.
 * Returns what is then, or -1 if that is not so of the others.
 */
Datum
add(PG_FUNCTION_ARGS)
{
	uint64		sums[4] = {5, 5, 5, 5};

	imon_buckets_init(&buckets);
	imon_bucket_write(&buckets, 6, 1);
	imon_bucket_write(&buckets, 7, (uint64) PG_GETARG_INT64(0));
	imon_bucket_write(&buckets, 9, 1);
	imon_bucket_count(&buckets, 7);
	imon_bucket_count(&buckets, 8);
	imon_buckets_add(sums + 1, &buckets, 7, 2);
	if (sums[0] != 5 || sums[2] != 6 || sums[3] != 5)
		PG_RETURN_INT64(-1);
	PG_RETURN_INT64((int64) sums[1]);
}
C
my @compiler = (
	'cc', '-O2', '-fPIC', '-shared', "-I$source",
	'-I' . pg_config('includedir-server'),
	'-o', $library, "$directory/buckets.c");
my $can_compile = eval { run_log([ 'cc', '--version' ]) };

plan skip_all => 'there is no C compiler' unless $can_compile;
command_ok(\@compiler, 'compiled');

my $node = PostgreSQL::Test::Cluster->new('buckets');
$node->init;
$node->start;
$node->safe_psql('postgres', <<"SQL");
CREATE FUNCTION counts(bigint, int) RETURNS bigint LANGUAGE c AS '$library';
CREATE FUNCTION value(int, bigint) RETURNS bigint LANGUAGE c AS '$library';
CREATE FUNCTION take(bigint) RETURNS bigint LANGUAGE c AS '$library';
CREATE FUNCTION move(bigint, bigint) RETURNS bigint LANGUAGE c AS '$library';
CREATE FUNCTION add(bigint) RETURNS bigint LANGUAGE c AS '$library';
SQL

foreach my $start (0, 2**31 - 5, 2**32 - 5, 3 * 2**31 - 5, 2**40 - 5, 2**46 - 5)
{
	is($node->safe_psql('postgres', "SELECT counts($start, 10)"), $start + 10, "ten more than $start");
	is($node->safe_psql('postgres', "SELECT take($start)"), $start, "$start is taken");
	is( $node->safe_psql('postgres', "SELECT move($start, 3), move(3, $start), move(${\(2**31 - 1)}, $start), move(${\(2**32 - 1)}, $start)"),
		join('|', $start + 4, $start + 4, $start + 2**31, $start + 2**32),
		"$start is moved, and added to");
	is($node->safe_psql('postgres', "SELECT add($start + 4)"), $start + 10, "five more than $start is added to five");
}

# the addition that passes a multiple has been seen, and is not yet noted
is($node->safe_psql('postgres', 'SELECT value(0, 2147483648), value(1, 0), value(2, 2147483653), value(3, 7)'),
	join('|', 2**31, 2**32, 3 * 2**31 + 5, 2**33 + 7), 'seen before it is noted');
is($node->safe_psql('postgres', 'SELECT value(0, 2147483647), value(1, 2147483648), value(2, 0), value(3, 4294967295)'),
	join('|', 2**31 - 1, 2**31, 2**32, 2**33 - 1), 'and when it is');

$node->stop;
done_testing();
