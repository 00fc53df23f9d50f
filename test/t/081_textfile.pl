# Files that others read without a connection: they go on while nobody can
# connect, without a home database and on a standby; what cannot be written is
# said once, shows in a health check, and is no more when it can be.

use strict;
use warnings;

# A small file system to fill, in name spaces of our own, if the system lets us;
# before anything else is there that would be left behind
BEGIN
{
	if (!exists $ENV{IMON_FILES_DISK})
	{
		require Cwd;
		require File::Path;
		my $disk = Cwd::cwd() . '/tmp_check/files_disk';
		my @shell = (
			qw(unshare --user --map-current-user --keep-caps --mount sh -c),
			'mount -t tmpfs -o size=1m tmpfs "$0" && exec setpriv --inh-caps -all --ambient-caps -all "$@"',
			$disk);

		File::Path::make_path($disk);
		$ENV{IMON_FILES_DISK} = '';
		if (system(join(' ', map { "'$_'" } @shell, 'true') . ' >/dev/null 2>&1') == 0)
		{
			$ENV{IMON_FILES_DISK} = $disk;
			exec @shell, $^X, (map { "-I$_" } @INC), $0;
		}
	}
}

use Cwd qw(abs_path);
use Fcntl qw(:mode);
use InfraMonitor;
use JSON::PP;
use POSIX qw(mkfifo);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $directory = abs_path(PostgreSQL::Test::Utils::tempdir);
my $file = "$directory/postgres.prom";

my $node = new_server(
	'textfile',
	init => [ allows_streaming => 1 ],
	conf => <<"CONF");
infra_monitor.textfile = '$file'
infra_monitor.health_interval = 1s
max_connections = 10
superuser_reserved_connections = 3
max_wal_senders = 3
autovacuum = off
CONF
$node->start;

# The value of a series in the file, or undef.
sub value
{
	my ($series, $path) = @_;
	my $content = eval { slurp_file($path // $file) } // '';

	return $content =~ /^infra_monitor_\Q$series\E (\S+)$/m ? $1 : undef;
}

# Waits for a condition.
sub wait_until
{
	my ($condition, $name) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	usleep(20_000) until $condition->() || time > $deadline;
	return ok($condition->(), $name);
}

# Waits for a file that is written after this call.
sub wait_for_new_file
{
	my ($name, $path) = @_;
	my $now = time;

	return wait_until(sub { (value('collected_timestamp_seconds', $path) // 0) > $now }, $name);
}

# Sets where the file is, without a connection.
sub set_file
{
	my ($path) = @_;

	$node->append_conf('postgresql.conf', "infra_monitor.textfile = '$path'\n");
	$node->reload;
	return;
}

#
# Without the extension, and then with it
#
wait_for_new_file('there is a file without the extension');
$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
wait_until(sub { defined value('health_status') }, 'and one with health');
ok(defined value('query_duration_seconds_count{datname="postgres"}'), 'and with names');
is(sprintf('%04o', S_IMODE((stat $file)[2])), '0644', 'everybody may read it');
like(slurp_file($file), qr/\ninfra_monitor_series \d+\n\z/, 'it is whole');
is(join(' ', grep { $_ ne 'postgres.prom.tmp' } map { s!.*/!!r } glob("$directory/*")),
	'postgres.prom', 'there is no other file but a spare one');

SKIP:
{
	my ($version) = eval { run_command([qw(promtool --version)]) };

	skip 'promtool is not installed', 1 unless defined $version && $version =~ /version/;
	my ($stdout, $stderr) = run_command([ 'sh', '-c', 'promtool check metrics <"$0" && echo fine', $file ]);
	is("$stdout$stderr", 'fine', 'promtool accepts it');
}

my $json = $node->data_dir . '/pg_stat_tmp/health.json';
wait_until(sub { -s $json }, 'there is a document of health');
my $health = decode_json(slurp_file($json));
like($health->{status}, qr/^(?:healthy|degraded|unhealthy)$/, 'with a status');
cmp_ok(scalar @{ $health->{checks} }, '>', 50, 'and checks');
is(sprintf('%04o', S_IMODE((stat $json)[2])), '0644', 'which everybody may read who gets there');

#
# A file that was opened stays as it is, however long it takes to read it, though
# where the system can do that, two files are overwritten by turns
#
sub wait_for_new_files
{
	my ($n, $name) = @_;
	my $moment = value('collected_timestamp_seconds') // 0;
	my $seen = 0;

	return wait_until(
		sub {
			my $now = value('collected_timestamp_seconds') // $moment;

			$seen++ if $now != $moment;
			$moment = $now;
			return $seen >= $n;
		},
		$name);
}

foreach my $name ($file, $json)
{
	my $short = $name =~ s!.*/!!r;
	my @readers;

	# one of each of the two, and a reader who comes when the first is spare
	foreach (1 .. 3)
	{
		open my $reader, '<', $name or die "$name: $!";
		sysread $reader, my $begin, 1000;
		push @readers, [ $reader, $begin ];
		wait_for_new_files(1, "$short: read in part, and replaced");
	}
	wait_for_new_files(4, "$short: and again and again");
	foreach my $reader (@readers)
	{
		my ($handle, $read) = @$reader;
		my ($whole, $of) = ('', $read);

		$of .= $whole while sysread $handle, $whole, 1000;
		sysseek $handle, 0, 0 or die $!;
		sysread $handle, $whole, length($of) + 1000;
		is($of, $whole, "$short: what was read is of one file");
		if ($name eq $file)
		{
			my ($series) = $of =~ /\ninfra_monitor_series (\d+)\n\z/;
			my $lines = () = $of =~ /^[^#]/mg;

			is($lines, $series, "$short: which is whole");
		}
		else
		{
			ok(eval { decode_json($of) }, "$short: which is whole");
		}
		close $handle;
	}
}
my $link = "$directory/link";
SKIP:
{
	skip 'there are no spare files here', 1 unless -e "$file.tmp";
	my $before;

	# at a moment when it is not just replaced
	wait_until(
		sub {
			unlink $link;
			return link("$file.tmp", $link) && ($before = slurp_file($link)) =~ /\ninfra_monitor_series \d+\n\z/;
		},
		'a spare file gets another name');
	wait_for_new_files(4, 'it goes on');
	is(slurp_file($link), $before, 'and the file that has another name is left alone');
	unlink $link;
}

#
# Nobody can connect
#
my $session = open_session($node);
wait_until(sub { (value('pool_slots{class="used"}') // 0) == 1 }, 'one connection is used');
is(value('pool_slots{class="free"}'), 6, 'six are free');
is(value('pool_slots{class="superuser_reserved"}'), 3, 'three are reserved');
my $refused = value('pool_rejections_total{reason="max_connections"}');
my @holders = map { open_session($node) } 1 .. 9;
my $attempts = 0;
my %written;
my $until = time + 6;
while (time < $until || keys %written < 4)
{
	is(await_session(begin_session($node)), 'refused', 'a connection is refused') if $attempts < 25;
	$attempts++ if $attempts < 25;
	$written{ value('collected_timestamp_seconds') // 0 } = 1;
	last if time > $until + $PostgreSQL::Test::Utils::timeout_default;
	usleep(100_000);
}
my @moments = sort { $a <=> $b } keys %written;
cmp_ok(scalar @moments, '>=', 4, 'the file goes on: ' . @moments . ' times');
wait_until(sub { (value('pool_rejections_total{reason="max_connections"}') // 0) == $refused + $attempts },
	"it counts $attempts refusals, and no more");
is(value('pool_slots{class="used"}'), 10, 'all slots are used');
is(value("pool_slots{class=\"$_\"}"), 0, "none is left: $_") foreach qw(free superuser_reserved reserved authenticating);
wait_until(
	sub { (eval { decode_json(slurp_file($json))->{services}{database}{pool}{available} } // 1) == 0 },
	'the document of health says so, too');
close_sessions(@holders);
wait_until(sub { value('pool_slots{class="free"}') == 6 }, 'and they are free again');

#
# What cannot be written
#

# The check, as last evaluated.
sub check
{
	my ($expected, $name) = @_;

	return wait_in_session($session,
		"SELECT status FROM infra_monitor.health_checks WHERE name = 'textfile'", $name, $expected);
}

# Breaks and mends: said once each, however often it is tried.
sub try_broken
{
	my ($what, $problem, $break, $mend) = @_;
	my $offset = log_end($node);
	my $failures = ask($session, "SELECT sum(failures) FROM infra_monitor.textfile_state()");

	$break->();
	check('warning', "$what: the check warns");
	wait_in_session($session,
		"SELECT sum(failures) >= $failures + 3 FROM infra_monitor.textfile_state()",
		"$what: it was tried three times");
	like(ask($session, "SELECT string_agg(problem, ',') FROM infra_monitor.textfile_state()"),
		$problem, "$what: the reason is known");
	is(log_count($node, qr/LOG:  infra_monitor could not write its file/, $offset), 1, "$what: it is logged once");
	is(log_count($node, qr/WARNING|ERROR/, $offset), 0, "$what: and is no error");
	$mend->();
	check('ok', "$what: it goes on");
	wait_for_new_file("$what: there is a new file", $file);
	is(log_count($node, qr/LOG:  infra_monitor writes its file of (?:metrics|health) again/, $offset), 1, "$what: which is logged once");
	return;
}

check('ok', 'the check is satisfied');
try_broken(
	'missing directory',
	qr/No such file or directory/,
	sub { set_file("$directory/missing/x.prom") },
	sub { set_file($file) });
try_broken(
	'removed directory',
	qr/No such file or directory/,
	sub { rename $directory, "$directory.away" or die $! },
	sub { rename "$directory.away", $directory or die $! });
SKIP:
{
	skip 'root may write everywhere', 1 if $> == 0;
	try_broken(
		'no permission',
		qr/Permission denied/,
		sub { chmod 0555, $directory or die $! },
		sub { chmod 0755, $directory or die $! });
}
try_broken(
	'a directory in its place',
	qr/could not rename file/,
	sub { until (mkdir $file) { unlink $file or die $! } },
	sub { rmdir $file or die $! });

SKIP:
{
	my $disk = $ENV{IMON_FILES_DISK};

	skip 'cannot mount a small file system here', 1 unless $disk;
	my $small = "$disk/small.prom";

	set_file($small);
	wait_for_new_file('a file on a small disk', $small);
	my $size = -s $small;

	# what is there could be overwritten
	set_file('');
	wait_until(sub { !-e "$small.tmp" }, 'a file that is not written any more has no spare one');
	try_broken(
		'full disk',
		qr/No space left on device/,
		sub {
			open my $filler, '>', "$disk/filler" or die $!;
			1 while defined syswrite($filler, 'x' x 4096);
			close $filler;
			set_file($small);
		},
		sub {
			cmp_ok(-s $small, '>=', $size / 2, 'full disk: the last file is still whole');
			like(slurp_file($small), qr/\ninfra_monitor_series \d+\n\z/, 'to its end');
			wait_until(sub { !-e "$small.tmp" }, 'and nothing is left of the next');
			unlink "$disk/filler" or die $!;
			wait_for_new_file('full disk: it goes on there', $small);
			set_file($file);
		});
}

try_broken(
	'missing directory of snapshots',
	qr/No such file or directory/,
	sub {
		$node->append_conf('postgresql.conf', "infra_monitor.snapshot_directory = '$directory/missing'\n");
		$node->reload;
	},
	sub {
		$node->append_conf('postgresql.conf', "infra_monitor.snapshot_directory = 'pg_stat_tmp'\n");
		$node->reload;
	});

#
# What others put in the way is neither followed nor opened
#
my $victim = "$directory/victim";
append_to_file($victim, 'precious');
symlink $victim, "$file.new" or die $!;
rename "$file.new", $file or die $!;
symlink $victim, "$file.new" or die $!;
rename "$file.new", "$file.tmp" or die $!;
wait_until(sub { !-l $file && -s $file }, 'a link in its place is replaced');
wait_for_new_file('and one in the way is');
is(slurp_file($victim), 'precious', 'what they led to is as it was');
mkfifo("$directory/pipe", 0666) or die $!;
rename "$directory/pipe", "$file.tmp" or die $!;
wait_for_new_file('a pipe blocks nobody');
mkfifo("$directory/pipe", 0666) or die $!;
rename "$directory/pipe", $file or die $!;
wait_until(sub { -f $file }, 'nor does one in its place');
ok(!-p "$file.tmp" && !-l "$file.tmp", 'nothing is left of them');

#
# Settings
#
my ($status, undef, $stderr) = $node->psql('postgres',
	"ALTER SYSTEM SET infra_monitor.textfile = '/" . 'x' x 1000 . ".prom'");
like($stderr, qr/DETAIL:  The path has more than \d+ bytes/, 'a path that is too long is refused');
$node->safe_psql('postgres', 'CREATE ROLE nobody LOGIN');
($status, undef, $stderr) = $node->psql('postgres', 'SHOW infra_monitor.textfile', extra_params => [ '-U', 'nobody' ]);
like($stderr, qr/permission denied|must be superuser/, 'where the file is, is not for everybody');
set_file('');
wait_in_session($session, "SELECT string_agg(file, ',') FROM infra_monitor.textfile_state()",
	'without a path there is no file', 'health');
check('ok', 'and nothing to complain about');
set_file($file);
wait_for_new_file('and with one there is');

#
# On a standby
#
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->append_conf('postgresql.conf', "infra_monitor.textfile = '$directory/standby.prom'\n");
$standby->start;
wait_for_new_file('a standby writes a file', "$directory/standby.prom");
is(value('in_recovery', "$directory/standby.prom"), 1, 'which says so');
wait_until(sub { defined value('query_duration_seconds_count{datname="other"}', "$directory/standby.prom") }, 'with names');
wait_until(sub { (value('replication_standby_lag_bytes{application_name="standby"}') // -1) >= 0 },
	'the primary knows the standby');
$standby->stop;

#
# Without a home database there are no names, but all that needs none
#
$node->append_conf('postgresql.conf', "infra_monitor.database = 'missing'\n");
$node->reload;
wait_until(
	sub {
		defined value('pool_max_connections')
		  && !defined value('query_duration_seconds_count{datname="postgres"}');
	},
	'there is a file without a home database');
is(value('pool_max_connections'), 10, 'with what needs no names');
wait_for_new_file('and it goes on');

close_sessions($session);
$node->stop;
ok(-s $file, 'the last file stays when the server stops');
ok(!-e "$file.tmp", 'and nothing else');

done_testing();
