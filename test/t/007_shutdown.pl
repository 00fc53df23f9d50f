# The sampler delays no shutdown, whatever it is doing, and the library is no
# obstacle to the tools around a server.

use strict;
use warnings;

use File::Find qw(find);
use InfraMonitor;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = new_server('shutdown', init => [ allows_streaming => 1 ]);
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
wait_for_sample($node, 'the sampler samples');

# Five seconds is what a worker that is killed for being late would take.
sub stops
{
	my ($mode, $when) = @_;
	# the view would wait for a lock on the samples
	my $pid =
	  $node->safe_psql('postgres', 'SELECT pid FROM infra_monitor.sampler_state()');
	my $log = log_end($node);
	my $time = seconds { $node->stop($mode) };

	cmp_ok($time, '<', 5, sprintf('%s shutdown, %s: %.1f s', $mode, $when, $time));
	is(kill(0, $pid), 0, 'the sampler is gone');
	is_deeply([ grep { /WARNING|ERROR|PANIC/ } worker_log($node, $log) ],
		[], 'and nothing is said about it')
	  if $mode ne 'immediate';
	return;
}

#
# Nobody confirms commits
#
$node->safe_psql('postgres',
	"ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
$node->reload;
wait_for($node, "SELECT current_setting('synchronous_standby_names') = 'nobody'",
	'commits wait for a standby that does not exist');
wait_for_sample($node, 'the sampler does not');

# also where a transaction removes files, which is never asynchronous
my $session = $node->background_psql('postgres');
$session->set_query_timer_restart;
$session->query_safe("SET synchronous_commit = off");
$session->query_safe(<<'SQL');
DO $$
DECLARE
	day text;
BEGIN
	FOREACH day IN ARRAY ARRAY['20010101', '20010102']
	LOOP
		EXECUTE format('CREATE TABLE infra_monitor.samples_%s PARTITION OF infra_monitor.samples FOR VALUES FROM (%L) TO (%L)',
			day, day || ' 00:00+00', (day::date + 1) || ' 00:00+00');
		EXECUTE format('ALTER EXTENSION infra_monitor ADD TABLE infra_monitor.samples_%s', day);
	END LOOP;
END
$$
SQL
$session->quit;
$node->safe_psql('postgres',
	"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'infra_monitor sampler'");
wait_for($node,
	"SELECT to_regclass('infra_monitor.samples_20010101') IS NULL AND to_regclass('infra_monitor.samples_20010102') IS NULL",
	'old partitions are removed all the same');
wait_for_sample($node, 'and it samples on');
stops('fast', 'while commits wait');
$node->append_conf('postgresql.auto.conf', "synchronous_standby_names = ''\n");

#
# Each kind of shutdown
#
foreach my $mode (qw(smart immediate fast))
{
	$node->start;
	wait_for_sample($node, "the sampler samples before a shutdown ($mode)");
	stops($mode, 'sampling');
}

# the postmaster dies, alone
$node->start;
wait_for_sample($node, 'the sampler samples before the postmaster dies');
my $pid = status_of($node, 'pid');
$node->kill9;
my $attempts = 10 * $PostgreSQL::Test::Utils::timeout_default;
while (kill(0, $pid) && $attempts-- > 0)
{
	select(undef, undef, undef, 0.1);
}
is(kill(0, $pid), 0, 'the sampler dies with the postmaster');
# until the last child has gone, a new postmaster is refused
$attempts = 10 * $PostgreSQL::Test::Utils::timeout_default;
until ($node->start(fail_ok => 1) || $attempts-- <= 0)
{
	select(undef, undef, undef, 0.1);
}
wait_for_sample($node, 'and is back with the next');

# restarted by pg_ctl
$node->restart;
wait_for_sample($node, 'the sampler samples after a restart');

#
# Waiting for a lock, for its database, for nothing at all
#
$session = $node->background_psql('postgres');
$session->set_query_timer_restart;
$session->query_safe(
	'BEGIN; LOCK TABLE infra_monitor.samples IN ACCESS EXCLUSIVE MODE');
wait_for(
	$node,
	"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'infra_monitor sampler' AND wait_event_type = 'Lock')",
	'the sampler waits for a lock');
stops('fast', 'waiting for a lock');
eval { $session->quit };

$node->append_conf('postgresql.conf', "infra_monitor.database = 'absent'\n");
$node->start;
wait_for($node,
	"SELECT state = 'waiting for database' FROM infra_monitor.sampler_status",
	'the sampler waits for its database');
stops('smart', 'waiting for a database');

$node->append_conf('postgresql.conf', "infra_monitor.enabled = off\n");
$node->start;
wait_for($node, "SELECT state = 'disabled' FROM infra_monitor.sampler_status",
	'the sampler is disabled');
stops('fast', 'disabled');

$node->append_conf('postgresql.conf',
	"infra_monitor.enabled = on\ninfra_monitor.database = 'postgres'\n");

#
# Single-user mode: there is no sampler, and nobody waits for one
#
my ($out, $said) = ('', '');
my $commands = <<'SQL';
SELECT 'state: ' || state AS x FROM infra_monitor.sampler_status
SELECT 'role: ' || (infra_monitor.health()->>'role') AS x
SELECT 'connections: ' || used_connections AS x FROM infra_monitor.pool_pressure
CREATE DATABASE single TEMPLATE postgres
ALTER DATABASE single RENAME TO married
DROP DATABASE married
SELECT 'sampled: ' || (infra_monitor.take_sample() > now()) AS x
SELECT 'stored: ' || rows_stored AS x FROM infra_monitor.sampler_status
SQL
my $run = IPC::Run::run [
	$node->installed_command('postgres'), '--single', '-D',
	$node->data_dir, 'postgres'
  ],
  '<', \$commands, '>', \$out, '2>', \$said;
ok($run, 'single-user mode runs');
like($out, qr/"state: not running"/, 'single-user mode: status');
like($out, qr/"role: primary"/, 'single-user mode: health');
like($out, qr/"connections: 0"/, 'single-user mode: pool pressure');
like($out, qr/"sampled: /, 'single-user mode: a sample');
like($out, qr/"stored: 1"/, 'single-user mode: is stored');
unlike($said, qr/ERROR|WARNING|FATAL|PANIC/, 'single-user mode: no errors');

# What a server would need can be asked for without starting it.
command_like(
	[
		$node->installed_command('postgres'), '-D',
		$node->data_dir, '-C', 'shared_memory_size'
	],
	qr/^\d+$/,
	'postgres -C computes the shared memory');

$node->start;
wait_for_sample($node, 'the sampler samples after all that');
is( $node->safe_psql('postgres',
		'SELECT count(*) - count(DISTINCT sampled_at) FROM infra_monitor.samples'),
	0,
	'no two samples are of the same moment');

#
# A copy by pg_basebackup
#
# U5: files that we write are not in it
my $file = 'pg_stat_tmp/health.json';
until (-e $node->data_dir . "/$file") { usleep(20_000) }
my $time = seconds { $node->backup('backup') };
note sprintf('pg_basebackup: %.1f s', $time);
my @copied;
find(sub { push @copied, $File::Find::name if /health\.json|\.prom|infra_monitor|imon/ }, $node->backup_dir . '/backup');
is_deeply(\@copied, [], 'U5: no file of ours is in a backup');
ok(-d $node->backup_dir . '/backup/pg_stat_tmp', 'U5: the directory that it would be in is');
ok(-e $node->data_dir . "/$file", 'U5: it is written all the time');
my $copy = PostgreSQL::Test::Cluster->new('copy');
$copy->init_from_backup($node, 'backup');
$copy->start;
wait_for_sample($copy, 'a copy by pg_basebackup samples');
cmp_ok(
	$copy->safe_psql('postgres',
		'SELECT count(DISTINCT epoch) FROM infra_monitor.samples'),
	'>', 1, 'with the samples that it was copied with');
$copy->stop;

stops('fast', 'after a backup');
done_testing();
