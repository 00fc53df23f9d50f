# Health checks of storage: a tablespace on a small file system is filled, and
# the WAL directory grows.
#
# test/run.sh mounts the file system where it may, and says where in
# IMON_SMALL_DISK.  Elsewhere this test mounts one in name spaces of its own, if
# the system lets it, and otherwise leaves out what needs one.

use strict;
use warnings;

# Before anything else is there that would be left behind
BEGIN
{
	if (!$ENV{IMON_SMALL_DISK} && !$ENV{IMON_NO_SMALL_DISK})
	{
		require Cwd;
		require File::Path;
		my $directory = Cwd::cwd() . '/tmp_check/small_disk';
		File::Path::make_path($directory);
		my @own = (
			qw(unshare --user --map-current-user --keep-caps --mount sh -c),
			'mount -t tmpfs -o size=32m tmpfs "$0" && exec setpriv --inh-caps -all --ambient-caps -all "$@"',
			$directory);

		if (system(join(' ', map { "'$_'" } @own, 'true') . ' >/dev/null 2>&1') == 0)
		{
			$ENV{IMON_SMALL_DISK} = $directory;
			exec @own, $^X, (map { "-I$_" } @INC), $0;
		}
		$ENV{IMON_NO_SMALL_DISK} = 1;
	}
}

use Cwd qw(abs_path);
use File::Path qw(rmtree);
use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('storage', init => [ allows_streaming => 1, extra => ['--wal-segsize=1'] ]);
$node->append_conf('postgresql.conf', <<'CONF');
max_wal_size = 8MB
min_wal_size = 2MB
wal_keep_size = 0
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE; CREATE ROLE monitor LOGIN IN ROLE pg_monitor');

# Columns of a check, evaluated now, without its hold.
sub check
{
	my ($name, $columns) = @_;

	return $node->safe_psql('postgres',
		"SELECT $columns FROM infra_monitor.evaluate_checks('database') WHERE name = '$name'");
}

sub wait_check
{
	my ($name, $status, $why) = @_;

	return wait_for($node,
		"SELECT status FROM infra_monitor.evaluate_checks('database') WHERE name = '$name'",
		"$name: $why", $status);
}

# Waits for the next evaluation by the sampler.
sub next_evaluation
{
	my $last = $node->safe_psql('postgres', "SELECT infra_monitor.health()->>'timestamp'");

	return $node->poll_query_until('postgres',
		"SELECT infra_monitor.health()->>'timestamp' <> '$last'");
}

#
# What is known of disks
#
is( $node->safe_psql('postgres', <<'SQL'), 'data directory||t|t|t', 'the file system of the data directory is known');
SELECT what, tablespace, used >= 0, total >= used, available BETWEEN 0 AND total - used FROM infra_monitor.disk_usage()
SQL
is( $node->safe_psql('postgres', 'SELECT count(*) FROM infra_monitor.disk_usage()',
		connstr => $node->connstr('postgres') . ' user=monitor'),
	1, 'to pg_monitor, too');
my $location = abs_path(PostgreSQL::Test::Utils::tempdir('tablespace'));
$node->safe_psql('postgres', "CREATE TABLESPACE beside LOCATION '$location'");
is($node->safe_psql('postgres', 'SELECT count(*) FROM infra_monitor.disk_usage()'),
	1, 'a tablespace on the same file system is not told twice')
  if (stat $location)[0] == (stat $node->data_dir)[0];
$node->safe_psql('postgres', 'DROP TABLESPACE beside');
is( check('disk_time_to_full', "(status = 'unknown') = (value IS NULL), (value IS NULL) = (SELECT bool_and(observed IS NULL) FROM infra_monitor.disk_usage())"),
	't|t', 'without observations nobody knows when a disk is full');

#
# A small disk is filled: 1 MB in each second, of 32
#
SKIP:
{
	skip 'cannot mount a small file system here', 1 unless $ENV{IMON_SMALL_DISK};

	# The machine's own disk may be as full as it likes.
	$node->safe_psql('postgres', <<'SQL');
INSERT INTO infra_monitor.health_threshold_overrides (check_name, warning, critical)
SELECT 'disk_free', f / 2, f / 4
FROM (SELECT min(available::float8 / (used + available)) AS f FROM infra_monitor.disk_usage()) m
WHERE f / 2 < (SELECT warning FROM infra_monitor.check_defaults() WHERE check_name = 'disk_free')
SQL
	$location = "$ENV{IMON_SMALL_DISK}/$$";
	mkdir $location or die "$location: $!";
	$node->safe_psql('postgres', "CREATE TABLESPACE small LOCATION '$location'");
	$node->safe_psql('postgres', <<'SQL');
CREATE TABLE filling (content text) TABLESPACE small;
ALTER TABLE filling ALTER content SET STORAGE EXTERNAL;
SQL
	is( $node->safe_psql('postgres',
			"SELECT count(*), bool_or(what = 'tablespace' AND total < 64 * 1024 * 1024) FROM infra_monitor.disk_usage() WHERE tablespace = 'small'"
		),
		'1|t',
		'the small one is known');
	wait_check('disk_free', 'ok', 'there is room');
	wait_check('disk_time_to_full', 'ok', 'nothing fills up');
	# (what others write to the machine's own disk may fill that up, some day)
	wait_for($node, <<'SQL', 'a year stands for never');
SELECT value = 31536000 AND message ~ '^by the last 00:\d\d:\d\d no file system fills up$'
FROM infra_monitor.evaluate_checks('database') WHERE name = 'disk_time_to_full'
SQL

	my (%free, %time);
	foreach (1 .. 60)
	{
		$node->safe_psql('postgres',
			"INSERT INTO filling SELECT repeat('x', 1000000)");
		next_evaluation();
		$free{ check('disk_free', 'status') } = check('disk_free', 'message');
		$time{ check('disk_time_to_full', 'status') } =
		  check('disk_time_to_full', "message || ' ' || (value < 4 * 60)");
		last if $free{critical} && $time{critical};
	}
	like($free{$_} // '', qr/^the file system of the tablespace small has \d+ .B left of \d+ .B$/, "disk_free: $_")
	  foreach qw(warning critical);
	like(
		$time{critical} // '',
		qr/^the file system of the tablespace small, with .* left, is full in 00:0\d:\d\d if it goes on filling as it does true$/,
		'disk_time_to_full: critical');
	is( $node->safe_psql('postgres',
			"SELECT status <> 'unknown' FROM infra_monitor.evaluate_checks() WHERE name = 'disk_free'",
			connstr => $node->connstr('postgres') . ' user=monitor'),
		't', 'pg_monitor sees it');
	wait_for($node,
		"SELECT status FROM infra_monitor.health_checks WHERE name = 'disk_free'",
		'the sampler says so', 'critical');

	wait_check('disk_time_to_full', 'ok', 'nobody writes any more');
	wait_check('disk_free', 'critical', 'but there is no room');
	$node->safe_psql('postgres', 'DROP TABLE filling; CHECKPOINT');
	wait_check('disk_free', 'ok', 'there is room again');
	wait_check('disk_time_to_full', 'ok', 'nor will it be full');
	$node->safe_psql('postgres', 'DROP TABLESPACE small');
	is($node->safe_psql('postgres', "SELECT count(*) FROM infra_monitor.disk_usage() WHERE what = 'tablespace'"),
		0, 'it is gone');

	# Links that lead nowhere: of a tablespace, and of none.
	$node->safe_psql('postgres', "CREATE TABLESPACE lost LOCATION '$location'");
	rename $location, "$location.away" or die "$location: $!";
	my $link = $node->data_dir . '/pg_tblspc/4242';
	symlink $location, $link or die "$link: $!";
	is( $node->safe_psql('postgres',
			"SELECT what, tablespace, total, available, observed FROM infra_monitor.disk_usage() WHERE what <> 'data directory'"),
		'tablespace|lost|||', 'what cannot be asked is not known');
	next_evaluation() foreach 1 .. 3;	# which are noted in every second one
	is($node->safe_psql('postgres', 'SELECT count(*) > 0 FROM infra_monitor.disk_usage() WHERE observed IS NOT NULL'),
		't', 'the others are');
	unlink $link or die "$link: $!";
	rename "$location.away", $location or die "$location: $!";
	$node->safe_psql('postgres', 'DROP TABLESPACE lost');
	rmdir $location;

	# WAL elsewhere.
	my $wal = new_server('wal',
		init => [ extra => [ '--wal-segsize=1', "--waldir=$location.wal" ] ],
		conf => "max_wal_size = 8MB\nmin_wal_size = 2MB\n");
	$wal->start;
	$wal->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
	is( $wal->safe_psql('postgres',
			'SELECT what, total < 64 * 1024 * 1024 FROM infra_monitor.disk_usage() ORDER BY total'),
		"WAL directory|t\ndata directory|f", 'the file system of the WAL directory is known');
	$wal->stop;
	rmtree("$location.wal");
}

#
# WAL that is kept
#
wait_check('wal_size', 'ok', 'as large as it should be');
$node->safe_psql('postgres', 'CHECKPOINT');
$node->safe_psql('postgres', "SELECT pg_create_physical_replication_slot('forgotten', true)");
foreach my $case ([ 'warning', 20 ], [ 'critical', 20 ])
{
	my ($status, $segments) = @$case;

	$node->safe_psql('postgres',
		"SELECT pg_logical_emit_message(true, 'x', 'x');\nSELECT pg_switch_wal();\n" x $segments);
	wait_check('wal_size', $status, "a slot keeps $segments segments of 1 MB more, of 8");
}
like(check('wal_size', 'message'),
	qr/^the WAL directory has \d+ MB in \d+ files; max_wal_size and wal_keep_size together are 8192 kB$/,
	'what there is');
$node->safe_psql('postgres', "SELECT pg_drop_replication_slot('forgotten')");
$node->safe_psql('postgres', 'CHECKPOINT');
wait_check('wal_size', 'ok', 'a checkpoint removes it');

$node->stop;
done_testing();
