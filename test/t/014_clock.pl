# The clock of the machine is a year ahead for some seconds, and is then set
# back: what is counted by the time of day must not stand still until then.
# Then it is set an hour ahead and back while history is written: that makes no
# times and no gaps that there never were.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $clock = clock_to_set();
my $year = 365 * 24 * 3600;     # a multiple of the length of all windows

plan skip_all => 'needs a compiler and Linux' unless $clock;

my $node = new_server('clock', conf => 'infra_monitor.statement_interval = 1s');
{
	local $ENV{LD_PRELOAD} = $clock->{library};
	$node->start;
}
$node->safe_psql('postgres',
	'CREATE EXTENSION infra_monitor CASCADE; CREATE ROLE refused LOGIN CONNECTION LIMIT 0');
wait_for_sample($node, 'it samples');

# Twelve refusals in three seconds, and how many of these were counted.
sub refusals
{
	foreach (1 .. 12)
	{
		$node->psql('postgres', '', extra_params => [ '-U', 'refused' ]);
		usleep(250_000);
	}
	return $node->safe_psql('postgres', 'SELECT infra_monitor.rejected_recently()');
}

set_clock($clock, $year);
is($node->safe_psql('postgres', "SELECT now() > date '2000-01-01' + make_interval(secs => $year + @{[ time - 946684800 ]} - 60)"),
	't', 'the server believes it');
is(refusals(), 12, 'refusals while the clock is ahead');

# the same seconds of the window once more
set_clock($clock, -4);
is(refusals(), 12, 'refusals after it was set back');
is($node->safe_psql('postgres', "SELECT total FROM infra_monitor.pool_rejections WHERE reason = 'role_limit'"),
	24, 'the total has all of them');
wait_for_sample($node, 'the sampler goes on');
wait_for($node,
	"SELECT state = 'running' AND last_tick < now() + interval '1 minute' FROM infra_monitor.sampler_status",
	'at the time that it is');

#
# History
#

# Executes something, and waits until that is stored; rows are counted, as no
# time says which are new.
sub write_history
{
	my ($name) = @_;
	my $query = 'SELECT s.rows_stored, c.n FROM infra_monitor.sampler_status s, (SELECT count(*) FROM infra_monitor.statement_samples) c (n)';
	my ($samples, $statements) = split /\|/, $node->safe_psql('postgres', $query);

	$node->safe_psql('postgres', 'SELECT count(*) FROM pg_class');
	return wait_for($node,
		"SELECT s.rows_stored >= $samples + 4 AND c.n >= $statements + 2 FROM ($query) q (a, b), infra_monitor.sampler_status s, (SELECT count(*) FROM infra_monitor.statement_samples) c (n)",
		"$name: history is written");
}

set_clock($clock, 0);
my $began = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
write_history('before');
foreach my $step ([ 3600, 'an hour ahead' ], [ 0, 'and back' ], [ -3600, 'an hour behind' ], [ 0, 'and ahead again' ])
{
	set_clock($clock, $step->[0]);
	write_history($step->[1]);
}
my $span = "timestamptz '$began' - interval '2 hours', timestamptz '$began' + interval '2 hours'";

# The number of rows for which a condition does not hold, of at least so many.
sub none_but
{
	my ($from, $least, $condition, $name) = @_;

	return is( $node->safe_psql('postgres',
			"SELECT count(*) >= $least, count(*) FILTER (WHERE ($condition) IS FALSE) FROM $from"),
		't|0', $name);
}

none_but('infra_monitor.samples', 20, <<'SQL', 'samples: growth is that of seconds');
connects BETWEEN 0 AND 1000 AND rejected >= 0 AND commits BETWEEN 0 AND 10000 AND rollbacks >= 0 AND blks_hit >= 0
AND blks_read >= 0 AND temp_bytes >= 0 AND wal_bytes >= 0 AND avg_active BETWEEN 0 AND 100
AND coalesce(cpu_ratio, 0) BETWEEN 0 AND 1
SQL
none_but('infra_monitor.samples', 20, 'elapsed_time BETWEEN 1 AND 600000', 'samples: so are the times between them');
none_but('infra_monitor.samples', 20, 'collect_time >= 0', 'samples: and the time they took');
is($node->safe_psql('postgres', 'SELECT count(DISTINCT epoch) FROM infra_monitor.samples'), 1, 'a clock that is set begins no epoch');
is($node->safe_psql('postgres', 'SELECT count(*) - count(elapsed_time) <= 1 AND count(*) - count(connects) <= 1 FROM infra_monitor.samples'),
	't', 'nor anything else');
none_but('infra_monitor.statement_samples', 10, 'calls BETWEEN 0 AND 100000 AND exec_time BETWEEN 0 AND 600000 AND failures >= 0 AND rows >= 0',
	'statement_samples');
none_but('infra_monitor.wait_samples', 10, 'observations >= 0 AND looks BETWEEN 1 AND 600', 'wait_samples');
none_but("infra_monitor.pool_history($span, '1 minute')", 3,
	'used_avg >= 0 AND rejected >= 0 AND connects BETWEEN 0 AND 100000 AND active_avg BETWEEN 0 AND 100', 'pool_history');
none_but("infra_monitor.top_statements($span)", 2, 'calls BETWEEN 0 AND 100000 AND exec_time >= 0 AND share BETWEEN 0 AND 1 AND p99_time >= p50_time',
	'top_statements');
none_but("infra_monitor.statement_texts t, infra_monitor.statement_history(t.queryid, $span) h", 3,
	'h.calls BETWEEN 0 AND 100000 AND h.exec_time >= 0 AND h.rows >= 0', 'statement_history');
none_but("infra_monitor.health_history($span)", 1, 'from_at < until_at', 'health_history');
none_but("infra_monitor.slo_status_at(timestamptz '$began' + interval '2 hours')", 8, 'attained BETWEEN 0 AND 1 AND error_budget_left <= 1', 'slo_status');

# the last of them promises another one, and the span goes on for two hours
my $last = "(SELECT max(sampled_at) FROM infra_monitor.samples WHERE sampled_at < timestamptz '$began' + interval '2 hours')";
is( $node->safe_psql('postgres',
		"SELECT coalesce(sum(until_at - from_at), '0') < '10 minutes' FROM infra_monitor.history_gaps(timestamptz '$began', $last)"),
	't', 'history_gaps');
is( $node->safe_psql('postgres',
		"SELECT unavailable < 600 FROM infra_monitor.availability(ARRAY[timestamptz '$began'], $last)"),
	't', 'availability');
is( $node->safe_psql('postgres', "SELECT count(*) FROM infra_monitor.changes($span) WHERE kind NOT IN ('gap', 'setting')"),
	0, 'changes');

# a reset that is not the latest by the clock begins an epoch all the same
my $epochs = 'SELECT count(DISTINCT epoch) FROM infra_monitor.samples';
set_clock($clock, 3600);
$node->safe_psql('postgres', 'SELECT pg_stat_reset()');
wait_for($node, $epochs, 'a reset', '2');
set_clock($clock, 0);
$node->safe_psql('template1', 'SELECT pg_stat_reset()');
wait_for($node, $epochs, 'one before it', '3');
is($node->safe_psql('postgres', "SELECT count(*) FROM infra_monitor.changes($span) WHERE kind = 'reset' AND name = 'statistics'"),
	2, 'both are known');

is(log_count($node, qr/(ERROR|PANIC):/), 0, 'nothing went wrong');

#
# Since 19 a setting chooses the clock that times of execution come from
#
SKIP:
{
	my @clocks = qw(system tsc system tsc);
	my $session = open_session($node);

	skip 'there is one clock', 3 + 2 * @clocks
	  unless defined try_ask($session, 'SET timing_clock_source = tsc');
	my $log = log_end($node);
	ask($session, $_) foreach 'SET infra_monitor.slow_query_threshold = 0', q{SET infra_monitor.track = 'all'};
	foreach my $clock (@clocks)
	{
		ask($session, "SET timing_clock_source = $clock");
		ask($session, 'BEGIN');
		ask($session, 'DECLARE c CURSOR FOR SELECT generate_series(1, 10)');
		ask($session, 'FETCH 1 FROM c');
		ask($session, sprintf($_, $clock eq 'tsc' ? 'system' : 'tsc'))
		  foreach q{SELECT set_config('timing_clock_source', '%s', false)}, 'FETCH 1 FROM c';
		ask($session, "DO \$\$ BEGIN PERFORM set_config('timing_clock_source', '$clock', false); END \$\$");
		ask($session, 'COMMIT');
	}
	is( ask($session, "SELECT count(*) > 8 * 4, max(exec_time) < 60000, min(exec_time) >= 0 FROM infra_monitor.slow_query_log() WHERE pid = pg_backend_pid()"),
		't|t|t', 'no execution has lasted from one clock to the other');
	is( ask($session, "SELECT total_time BETWEEN 0 AND 600000 FROM infra_monitor.statement_totals()"),
		't', 'nor is that in the sums');
	close_sessions($session);
	foreach my $clock (@clocks)
	{
		$node->safe_psql('postgres', "ALTER SYSTEM SET timing_clock_source = $clock");
		$node->reload;
		wait_for($node, "SELECT setting = '$clock' FROM pg_settings WHERE name = 'timing_clock_source'", "the clock is $clock");
		wait_for_sample($node, "the sampler goes on by the clock $clock");
	}
	is(log_count($node, qr/(ERROR|PANIC):/, $log), 0, 'nothing went wrong');
}
$node->stop;
done_testing();
