# Counters of metrics: none ever decreases and nothing is counted twice or not at
# all, while statements come onto the list and leave it, are evicted, counts are
# reset and the sampler starts anew.  And what Prometheus makes of them, from the
# file: the workload that pgbench says it was.

use strict;
use warnings;

use Cwd qw(abs_path);
use InfraMonitor;
use Metrics;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Programs;
use Test::More;
use Time::HiRes qw(time usleep);

use constant INTERVAL => 1;    # statement_interval, seconds
use constant LISTED => 25;
use constant RUN => 12;        # seconds of pgbench

my $directory = abs_path(PostgreSQL::Test::Utils::tempdir);
my $node = new_server('counters', conf => <<"CONF");
infra_monitor.textfile = '$directory/postgres.prom'
infra_monitor.statement_interval = 1s
infra_monitor.max_statements = 200
infra_monitor.repeated_query_threshold = 5
pg_stat_statements.max = 5000
autovacuum = off
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
my $session = open_session($node);

#
# Looks, while everything is turned over
#
# Statements that differ in the number of their columns
sub statement
{
	my ($number) = @_;

	return 'SELECT pg_sleep(0.002)' . ', 1' x $number;
}

# What all statements have, and all databases.
my %pairs = (
	statement_duration_seconds_count => 'query_duration_seconds_count',
	statement_duration_seconds_sum => 'query_duration_seconds_sum',
	statement_duration_seconds_bucket => 'query_duration_seconds_bucket',
	statement_failures_total => 'query_failures_total',
	statement_failed_seconds_total => 'query_failed_seconds_total');
my ($phase, $looks, $exact, $begun) = (0, 0, 0, 0);
my %wrong = (decreases => 0, differences => 0, beginnings => 0);
my ($vanished, %gone) = (0);
my $last;

# Takes note of something that should not be.
sub wrong
{
	my ($what, $detail) = @_;

	diag "look $looks, phase $phase: $detail" if $wrong{$what}++ < 10;
	return;
}

# Compares a look with the one before: what may only grow.
sub compare_counters
{
	my ($look) = @_;

	foreach my $series (grep { is_counter($look, $_) } keys %{ $look->{values} })
	{
		my $before = $last->{values}{$series};
		my $now = $look->{values}{$series};

		if (!defined $before)
		{
			# executed once since the look before, but often before that
			next unless $series =~ /^infra_monitor_statement_duration_seconds_count/;
			$begun++;
			wrong('beginnings', "$series begins at $now") if $now > 1;
		}
		elsif ($now < $before)
		{
			# in longer than an interval it may have left the list, and be on it again
			next if $series =~ /^infra_monitor_statement_/ && $look->{at} - $last->{at} >= INTERVAL * 0.8;
			wrong('decreases', "$series went from $before to $now");
		}
	}
	return;
}

# The same of sums: what statements do not show is what was shown of those that
# have gone.  These stood still for an interval, so if the looks are not further
# apart, the look before has the last of them.
sub compare_sums
{
	my ($look) = @_;

	foreach my $family (sort keys %pairs)
	{
		my $shown = series_of($look, $family);
		my $before = series_of($last, $family);
		my $missing = sum_of($look, $pairs{$family}) - sum_of($look, $family);

		foreach my $labels (grep { !exists $shown->{$_} } keys %$before)
		{
			$vanished++ if $family eq 'statement_duration_seconds_count';
			$gone{$family} += $before->{$labels};
		}
		wrong('differences', "$family: $missing are missing, $gone{$family} are known to be gone")
		  if $look->{at} - $last->{at} < INTERVAL * 0.8 && abs($missing - $gone{$family}) > 1e-6;
		$gone{$family} = $missing;
	}
	$exact++ if $look->{at} - $last->{at} < INTERVAL * 0.8;
	return;
}

# One look, compared with the one before.
sub look_again
{
	my $look = read_metrics($session);

	$looks++;
	if ($last)
	{
		compare_counters($look);
		compare_sums($look);
	}
	$last = $look;
	return;
}

# Looks while these statements are executed, and one fails, until a condition.
sub look_until
{
	my ($condition, @numbers) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	$phase++;
	do
	{
		ask($session, statement($_)) foreach @numbers;
		try_ask($session, 'SELECT 1 / (pg_backend_pid() - pg_backend_pid())');
		look_again();
	} until $condition->() || time > $deadline;
	return ok($condition->(), "phase $phase has come to its end after $looks looks");
}

# Who is on the list.
sub listed
{
	return grep { !/queryid="other"/ } keys %{ series_of($last, 'statement_duration_seconds_count') };
}

# How many of these are on the list.
sub still_listed
{
	my ($look) = @_;
	my %then = map { ($_ => 1) } @$look;

	return scalar grep { $then{$_} } listed();
}

$gone{$_} = 0 foreach keys %pairs;
look_again();
look_until(sub { listed() == LISTED }, 1 .. 30);
my @old = listed();
look_until(sub { still_listed(\@old) <= 3 }, 31 .. 60);
cmp_ok($vanished, '>=', LISTED - 3, 'the list was turned over');
my @new = listed();

foreach my $what (qw(pool slow_queries statements all))
{
	ask($session, "SELECT infra_monitor.reset('$what')");
	look_again();
	ask($session, statement($_)) foreach 31 .. 60;
	look_again();
}
cmp_ok(still_listed(\@new), '>=', @new - 5, 'resets change nothing on the list');

# all but the new ones are evicted, and then these, too
my $evictions = sub {
	return $last->{values}{'infra_monitor_drops_total{reason="statements"}'};
};
ask($session, 'SELECT 1' . ', 1' x $_) foreach 100 .. 400;
look_until(sub { $evictions->() > 100 }, 31 .. 60);
foreach my $round (1 .. 4)
{
	ask($session, 'SELECT 1' . ', 1' x $_) foreach 400 + 300 * $round - 300 .. 400 + 300 * $round;
	look_again();
}
cmp_ok($evictions->(), '>', 600, 'statements were evicted');
look_until(sub { listed() >= LISTED - 1 }, 31 .. 60);

# the sampler starts anew, and goes on with the list
my $pid = ask($session, 'SELECT pid FROM infra_monitor.sampler_status');
@new = listed();
ask($session, "SELECT pg_terminate_backend($pid)");
look_until(
	sub {
		ask($session, "SELECT pid <> $pid FROM infra_monitor.sampler_status WHERE state = 'running'") eq 't';
	},
	31 .. 60);
cmp_ok(still_listed(\@new), '>=', LISTED - 5, 'the sampler goes on with the list that it finds');
look_until(sub { $looks >= 200 }, 31 .. 35);

is($wrong{decreases}, 0, "no counter has ever decreased in $looks looks");
is($wrong{beginnings}, 0, "each statement began at 0 when it was listed, $begun times");
cmp_ok($begun, '>=', 2 * LISTED - 3, 'which was often');
is($wrong{differences}, 0, "each execution is in one series in $exact exact looks");
cmp_ok($exact, '>', $looks / 2, 'which are most of them');
cmp_ok($last->{values}{infra_monitor_series}, '<', 1000, 'the number of series is bounded');

#
# What Prometheus makes of it
#
my $series = 'infra_monitor_query_duration_seconds_count{datname="bench"}';
my $moment = 'infra_monitor_collected_timestamp_seconds';

# Waits for two scrapes of files that were written after this call.
sub wait_for_scrapes
{
	my ($prometheus) = @_;

	foreach (1 .. 2)
	{
		my $now = time;

		wait_for_series($prometheus, sprintf('%s > %.3f', $moment, $now));
	}
	return time;
}

# The samples of a series between two moments: lists of [ moment, value ].
sub samples
{
	my ($prometheus, $series, $from, $to) = @_;
	my $result = ask_prometheus($prometheus, sprintf('%s[%dms]', $series, 1000 * ($to - $from)), time => sprintf('%.3f', $to));

	return @$result ? @{ $result->[0]{values} } : ();
}

# A function of Prometheus over the samples from one to another: these are in the
# range, and next to nothing before or behind them, to which it would extrapolate.
sub over
{
	my ($prometheus, $function, $from, $to) = @_;
	my $result = ask_prometheus(
		$prometheus,
		sprintf('%s(%s[%dms])', $function, $series, 1000 * ($to - $from) + 1.5),
		time => sprintf('%.3f', $to));

	return @$result ? $result->[0]{value}[1] : 0;
}

# Transactions that pgbench has logged between two moments.
sub logged_transactions
{
	my ($from, $to) = @_;
	my $n = 0;

	foreach my $log (glob "$directory/transactions.*")
	{
		foreach (split /\n/, slurp_file($log))
		{
			my (undef, undef, undef, undef, $seconds, $us) = split / /;
			my $at = $seconds + $us / 1e6;

			$n++ if $at > $from && $at <= $to;
		}
	}
	return $n;
}

SKIP:
{
	skip 'Prometheus and node_exporter are not installed', 4
	  unless has_programs(qw(prometheus prometheus-node-exporter));
	ask($session, 'CREATE DATABASE bench');
	$node->safe_psql('bench', 'SELECT 1');
	my $exporter = start_node_exporter($directory);
	my $prometheus = start_prometheus(
		write_file("$directory/prometheus.yml", <<"YAML"), "$directory/data");
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - job_name: node
    static_configs: [{targets: ['127.0.0.1:$exporter->{port}']}]
YAML
	cmp_ok(scalar @{ wait_for_series($prometheus, $series) }, '==', 1, 'Prometheus has the database');

	# each transaction has one statement, each client one in 10 ms and a bit
	my $script = write_file("$directory/script.sql", "\\sleep 10 ms\nSELECT 1;\n");
	my $begin = wait_for_scrapes($prometheus);
	my ($output) = run_command([
		'pgbench', '-n', '-M', 'prepared', '-c', 8, '-T', RUN, '-f', $script, '-l',
		'--log-prefix', "$directory/transactions", '-h', $node->host, '-p', $node->port, 'bench'
	]);
	my $ended = time;
	my $end = wait_for_scrapes($prometheus);
	my ($transactions) = $output =~ /^number of transactions actually processed: (\d+)/m;

	# over all of it
	my @samples = samples($prometheus, $series, $begin - 2, $end);    # before and behind it all is quiet
	my $increase = over($prometheus, 'increase', $samples[0][0], $samples[-1][0]);
	is($samples[-1][1] - $samples[0][1], $transactions, 'the counter has grown by the transactions of pgbench');
	cmp_ok(abs($increase / $transactions - 1), '<=', 0.001, "increase() is $increase of $transactions");

	# in the middle: between the scrapes that are furthest apart and have files that
	# were equally old
	my @moments = samples($prometheus, $moment, $ended - RUN + 1, $ended - 1);
	my ($from, $to);
	foreach my $first (@moments)
	{
		foreach my $second (@moments)
		{
			my $span = $second->[0] - $first->[0];

			next if abs($second->[1] - $first->[1] - $span) > 0.005 * $span;
			($from, $to) = ($first, $second) if !defined $from || $span > $to->[0] - $from->[0];
		}
	}
	cmp_ok($to->[0] - $from->[0], '>=', RUN / 3, 'there are scrapes to compare');
	my $rate = over($prometheus, 'rate', $from->[0], $to->[0]);
	my $true_rate = logged_transactions($from->[1], $to->[1]) / ($to->[1] - $from->[1]);
	cmp_ok(abs($rate / $true_rate - 1), '<=', 0.02,
		sprintf('rate() is %.1f in the middle, that of pgbench %.1f', $rate, $true_rate));
}

close_sessions($session);
$node->stop;

done_testing();
