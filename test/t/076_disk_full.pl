# The home database is in a tablespace of which the disk is full: what cannot be
# stored is lost and counted, what is kept in memory goes on, health says why, the
# sampler lives, and all goes on by itself when there is room.
#
# test/run.sh mounts a small file system where it may, and says where in
# IMON_SMALL_DISK.  Elsewhere this test mounts one in name spaces of its own, and
# is skipped if the system does not let it.

use strict;
use warnings;

# Before anything else is there that would be left behind
BEGIN
{
	if (!$ENV{IMON_SMALL_DISK} && !$ENV{IMON_NO_SMALL_DISK})
	{
		require Cwd;
		require File::Path;
		my $directory = Cwd::cwd() . '/tmp_check/home_disk';
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

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'cannot mount a small file system here' unless $ENV{IMON_SMALL_DISK};

# Not across midnight: the partitions of another day would have to be made
not_across_midnight(300);

my $node = new_server(
	'full',
	conf => <<'CONF');
infra_monitor.database = 'home'
infra_monitor.statement_interval = 1s
infra_monitor.slow_query_threshold = 0
autovacuum = off
CONF
$node->start;
my $location = "$ENV{IMON_SMALL_DISK}/$$";
mkdir $location or die "$location: $!";
$node->safe_psql('postgres', "CREATE TABLESPACE small LOCATION '$location'");
$node->safe_psql('postgres', 'CREATE DATABASE home TABLESPACE small');
$node->safe_psql('home', 'CREATE EXTENSION infra_monitor CASCADE');
$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');

my @tables = qw(samples wait_samples statement_samples slow_query_samples);
my $session = open_session($node, database => 'home');

sub newest
{
	my ($table) = @_;
	my $column = $table eq 'health_events' ? 'at' : 'sampled_at';

	return ask($session, "SELECT max($column) FROM infra_monitor.$table");
}

wait_in_session($session, "SELECT count(*) > 2 FROM infra_monitor.$_", "$_ is written") foreach @tables;
wait_in_session($session, "SELECT count(*) > 0 FROM infra_monitor.health_events", 'health_events, too');
my $free = "SELECT available FROM infra_monitor.disk_usage() WHERE tablespace = 'small'";
cmp_ok(ask($session, $free), '>', 0, 'there is room');

#
# full, to the last page, and to the last of each file
#
my $sampler = ask($session, 'SELECT pid FROM infra_monitor.sampler_status');
my $offset = log_end($node);
open my $file, '>', "$location/filling" or die $!;
{
	local $SIG{XFSZ} = 'IGNORE';
	my $block = 'x' x 4096;

	1 while syswrite($file, $block);
}
is(ask($session, $free), 0, 'the disk is full');
# what is left in pages that are there already
wait_in_session($session,
	"SELECT last_error ~ '^sample: could not extend file .*: No space left on device' FROM infra_monitor.sampler_status",
	'a sample cannot be stored, and the sampler says so');
my %newest = map { $_ => newest($_) } @tables;
my $status = "SELECT ticks, missed FROM infra_monitor.sampler_status";
my ($ticks, $missed) = split /\|/, ask($session, $status);
wait_in_session($session, "SELECT missed > $missed + 2 FROM infra_monitor.sampler_status", 'those that are lost are counted');
is(newest('samples'), $newest{samples}, 'none is stored');
is(ask($session, 'SELECT ticks FROM infra_monitor.sampler_status'), $ticks, 'none is counted as stored');

# what is in memory
my $last = ask($session, 'SELECT max(at) FROM infra_monitor.sample_ring()');
wait_in_session($session, "SELECT max(at) > '$last' FROM infra_monitor.sample_ring()", 'samples in memory go on');
is(ask($session, "SELECT max(bucket) >= date_trunc('second', timestamptz '$last') FROM infra_monitor.pool_history(now() - interval '1 minute', step => '1 s')"),
	't', 'pool_history() has them');
ask($session, "SELECT 17, 17 AS seen_when_full");
wait_in_session($session, "SELECT count(*) > 0 FROM infra_monitor.slow_query_log WHERE query LIKE '%seen_when_full%'", 'slow executions are seen');

# what health says
wait_in_session($session, "SELECT status FROM infra_monitor.health_checks WHERE name = 'disk_free'", 'health: the disk', 'critical');
like(ask($session, "SELECT message FROM infra_monitor.health_checks WHERE name = 'disk_free'"),
	qr/^the file system of the tablespace small has (0 bytes|\d+ .B) left/, 'and which');
wait_in_session($session, "SELECT status IN ('warning', 'critical') FROM infra_monitor.health_checks WHERE name = 'missed_ticks'",
	'health: samples are missed');
like(
	ask($session, "SELECT string_agg(line, E'\\n') FROM infra_monitor.dashboard() d (line)"),
	qr/last error at .*could not extend file/, 'the dashboard shows the error');
my $evaluated = ask($session, "SELECT infra_monitor.health()->>'timestamp'");
wait_in_session($session, "SELECT infra_monitor.health()->>'timestamp' > '$evaluated'", 'health is evaluated');

# by hand
is(try_ask($session, 'SELECT infra_monitor.take_sample()'), undef, 'take_sample() fails');
is($session->{sqlstate}, '53100', 'since the disk is full');

# the sampler is the same, and quiet
is(ask($session, 'SELECT pid FROM infra_monitor.sampler_status'), $sampler, 'the sampler lives');
is(ask($session, 'SELECT state FROM infra_monitor.sampler_status'), 'running', 'and runs');
my %said;
$said{$_}++ foreach map { /WARNING: .*could not do its task "(\w+)"/ ? $1 : () }
  split /\n/, substr(slurp_file($node->logfile), $offset);
is(join(' ', grep { $said{$_} > 1 } sort keys %said), '', 'each task has logged it once');
ok($said{sample}, 'that of the samples has');
is(log_count($node, qr/(FATAL|PANIC|exited with|terminating)/, $offset), 0, 'nothing has ended');

# other databases do not care
is($node->safe_psql('postgres', 'CREATE TABLE elsewhere (i int); INSERT INTO elsewhere VALUES (1); SELECT count(*) FROM elsewhere'),
	1, 'other disks can be written');

# a sampler that begins now does so
ask($session, "SELECT pg_terminate_backend($sampler)");
wait_in_session($session, "SELECT pid IS NOT NULL AND pid <> $sampler AND state = 'running' FROM infra_monitor.sampler_status",
	'a new sampler starts on a full disk');
$sampler = ask($session, 'SELECT pid FROM infra_monitor.sampler_status');
$last = ask($session, 'SELECT max(at) FROM infra_monitor.sample_ring()');
wait_in_session($session, "SELECT max(at) > '$last' FROM infra_monitor.sample_ring()", 'and samples to memory');

#
# there is room again
#
ask($session, "SELECT 18, 18, 18 AS counted_when_full") for 1 .. 5;
close $file;
unlink "$location/filling" or die $!;
foreach my $table (@tables)
{
	wait_in_session($session, "SELECT max(sampled_at) > '$newest{$table}' FROM infra_monitor.$table", "$table is written again");
}
wait_in_session($session, "SELECT status FROM infra_monitor.health_checks WHERE name = 'disk_free'", 'health: there is room', 'ok');
wait_in_session($session, "SELECT EXISTS (SELECT FROM infra_monitor.health_events WHERE check_name = 'disk_free' AND new_status = 'critical')",
	'events of the time without are stored');
wait_in_session($session, <<'SQL', 'statements were counted meanwhile', 5);
SELECT coalesce(sum(s.calls), 0) FROM infra_monitor.statement_samples s
WHERE s.queryid IN (SELECT queryid FROM infra_monitor.statement_texts WHERE query LIKE '%counted_when_full%')
SQL
is(ask($session, 'SELECT pid FROM infra_monitor.sampler_status'), $sampler, 'by the same sampler');
wait_in_session($session, "SELECT count(*) = 0 FROM infra_monitor.samples WHERE sampled_at > '$newest{samples}' AND epoch <> (SELECT epoch FROM infra_monitor.samples WHERE sampled_at = '$newest{samples}')",
	'nothing begins anew');

close_sessions($session);
$node->stop;
done_testing();
