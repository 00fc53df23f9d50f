# The sampler from start to stop: it starts, samples, is terminated, survives a
# crash of another backend, and waits for the extension where it is missing.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# PostgreSQL::Test turns restart_after_crash off
my $node = new_server('lifecycle', conf => "restart_after_crash = on\n");

# What the sampler has logged, but that it was kept from its work for long: it is.
sub complaints
{
	my ($log) = @_;

	return grep { !/LOG:  health (?:check|of the server) .*changed from / } worker_log($node, $log);
}

$node->start;

wait_for($node,
	"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'infra_monitor sampler')",
	'the sampler runs before the extension exists');
$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
wait_for_sample($node, 'it samples as soon as the extension is created');
is(status_of($node, 'state'), 'running', 'and says so');

# The same state of a session, before and after.
my $session = $node->background_psql('postgres');
$session->set_query_timer_restart;
my $session_pid = $session->query_safe('SELECT pg_backend_pid()');

# Runs a sampler with another pid, and how long after this call?  Options: crash
# (where the log ended before it; no client can connect until all is restarted).
sub back_after
{
	my ($event, $limit, $old_pid, %options) = @_;
	my $time = seconds
	{
		if (defined $options{crash})
		{
			$node->wait_for_log('all server processes terminated; reinitializing',
				$options{crash});
			$node->poll_query_until('postgres', undef, '');
		}
		wait_for($node,
			"SELECT pid <> $old_pid AND state = 'running' FROM infra_monitor.sampler_status",
			"the sampler is back after $event");
	};

	cmp_ok($time, '<', $limit, sprintf('within %d s: %.1f s', $limit, $time));
	return;
}

# Every difference to the sample before.
my @differences = qw(connects rejected commits rollbacks blks_hit blks_read
  temp_bytes deadlocks wal_bytes avg_active);

#
# Terminated
#
my $old_pid = status_of($node, 'pid');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($old_pid, 10000)");
# a status between two samplers promises nothing
is( $node->safe_psql('postgres',
		"SELECT coalesce(pid, 0) <> $old_pid AND (pid IS NOT NULL OR next_tick IS NULL AND state = 'not running') FROM infra_monitor.sampler_status"
	),
	't',
	'a terminated sampler is gone for the status, too');
back_after('pg_terminate_backend', 20, $old_pid);
wait_for_sample($node, 'and samples');
is( $session->query_safe('SELECT pg_backend_pid()'),
	$session_pid, 'another session went on meanwhile');
is( $node->safe_psql('postgres',
		'SELECT count(DISTINCT epoch) FROM infra_monitor.samples'),
	1,
	'the epoch is the same');
is( $node->safe_psql('postgres',
		'SELECT count(*) FROM infra_monitor.samples WHERE connects IS NULL'),
	1,
	'and no difference got lost');

#
# A backend crashes: PostgreSQL restarts all processes
#
my ($old_epoch, $rows) = split /\|/,
  $node->safe_psql('postgres',
	'SELECT min(epoch), count(*) FROM infra_monitor.samples');
# the sampler commits asynchronously; what is counted must not be lost
$node->safe_psql('postgres', 'CHECKPOINT');
$old_pid = status_of($node, 'pid');
my $log = log_end($node);
kill 'KILL', $session_pid;
back_after('a crash', 30, $old_pid, crash => $log);
# its connection is gone, psql is not
$session->quit;

wait_for($node,
	"SELECT count(*) > 1 FROM infra_monitor.samples WHERE epoch <> $old_epoch",
	'it samples in a new epoch');
cmp_ok(
	$node->safe_psql('postgres',
		"SELECT count(*) FROM infra_monitor.samples WHERE epoch = $old_epoch"),
	'>=', $rows,
	'the samples before the crash are still there');
foreach my $column (@differences)
{
	is( $node->safe_psql('postgres',
			"SELECT string_agg(DISTINCT (n = 1)::text || ($column IS NULL), ' ' ORDER BY (n = 1)::text || ($column IS NULL))"
			  . ' FROM (SELECT *, row_number() OVER (PARTITION BY epoch ORDER BY sampled_at) AS n FROM infra_monitor.samples) s'
		),
		'falsefalse truetrue',
		"$column: not known in the first sample of each epoch, known in all others"
	);
}

#
# The extension goes and comes
#
$log = log_end($node);
$node->safe_psql('postgres', 'DROP EXTENSION infra_monitor');
# the status went with it; the activity tells when the sampler has noticed
ok( $node->wait_for_log('extension "infra_monitor" does not exist in database "postgres"', $log),
	'the sampler notices that the extension is gone');
$old_pid = $node->safe_psql('postgres',
	"SELECT pid FROM pg_stat_activity WHERE backend_type = 'infra_monitor sampler'");

# A schema of the name is not adopted, and a failed attempt to create the
# extension in it wakes nobody.
$node->safe_psql('postgres', 'CREATE SCHEMA infra_monitor');
my ($status, $out, $said) =
  $node->psql('postgres', 'CREATE EXTENSION infra_monitor');
isnt($status, 0, 'the extension is not created in a schema that exists');
like($said, qr/ERROR: .*schema "infra_monitor" already exists/,
	'and the error says why');
$node->safe_psql('postgres', 'DROP SCHEMA infra_monitor');

$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor');
wait_for_sample($node, 'it samples when the extension is created again');
is(status_of($node, 'pid'), $old_pid, 'it is the same process');
is( scalar(
		grep { !/extension "infra_monitor" does not exist in database "postgres"/ }
		  complaints($log)),
	0,
	'the log has nothing but that it was missing');
is(log_count($node, '\[\d+\] LOG:  extension "infra_monitor" does not exist', $log),
	1, 'once');

# While a command that drops it has not ended, the sampler neither waits for its
# locks (that could end in a deadlock, and it might be the user who loses) nor
# complains.  Another database shows how time goes by.
$log = log_end($node);
$node->safe_psql('postgres', 'CREATE DATABASE watch');
$node->safe_psql('watch', 'CREATE EXTENSION infra_monitor CASCADE');
$session = $node->background_psql('postgres');
$session->set_query_timer_restart;
$session->query_safe('BEGIN');
$session->query_safe('DROP EXTENSION infra_monitor');
my $tick = status_of($node, 'next_tick', 'watch');
wait_for(
	$node,
	"SELECT next_tick > timestamptz '$tick' + '2 seconds' FROM infra_monitor.sampler_status",
	'the sampler lives on beside a command that drops the extension',
	't', 'watch');
$session->query_safe('ROLLBACK');
$session->quit;
wait_for_sample($node, 'it samples when that is rolled back');
is_deeply([ complaints($log) ], [], 'and has nothing to complain about');
is(status_of($node, 'last_error'), '', 'nor to report');

# D5: again and again, in one session (100 times with IMON_LONG_TESTS=1).  What the
# session and the sampler remember of it does not pile up.
sub memory
{
	my ($pid) = @_;

	return undef unless -r "/proc/$pid/status";
	return (slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+) kB/m)[0];
}

my $times = $ENV{IMON_LONG_TESTS} ? 100 : 20;
my $own = open_session($node);
my (@of_session, @of_sampler);
$log = log_end($node);
foreach my $count (5, $times)
{
	for (1 .. $count)
	{
		ask($own, 'DROP EXTENSION infra_monitor');
		ask($own, 'CREATE EXTENSION infra_monitor');
	}
	wait_for_sample($node, 'D5: it samples after the extension was replaced many times') for 1 .. 3;
	push @of_session, ask($own, 'SELECT sum(total_bytes) / 1024 FROM pg_backend_memory_contexts');
	push @of_sampler, memory($old_pid);
}
close_sessions($own);
note 'session: ' . join(', ', map { int } @of_session) . ' kB; sampler: ' . join(', ', map { $_ // '?' } @of_sampler) . ' kB';
cmp_ok($of_session[1] - $of_session[0], '<', 1024, "D5: the session does not grow by $times times more");
SKIP:
{
	skip 'no /proc', 1 unless defined $of_sampler[0];
	# of functions in SQL, like our checks; any session of a client grows, too
	skip 'PostgreSQL 18 keeps the plans of functions that were dropped', 1 if $node->pg_version >= 18;
	cmp_ok($of_sampler[1] - $of_sampler[0], '<', 2048, 'D5: neither does the sampler');
}
is_deeply(
	[
		grep { !/LOG:  extension "infra_monitor" does not exist in database "postgres"/ }
		  complaints($log)
	],
	[],
	'and nothing went wrong');
is(status_of($node, 'pid'), $old_pid, 'it is the same process');
is(status_of($node, 'last_error'), '', 'and it has seen no error');

$node->stop;
done_testing();
