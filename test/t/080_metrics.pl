# Metrics, as Prometheus would read them: counters never decrease and nothing is
# counted twice or not at all, while statements come onto the list and leave it,
# are evicted, counts are reset and the sampler starts anew; and promtool finds
# nothing to complain about, whatever the names.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

use constant INTERVAL => 1;    # statement_interval, seconds
use constant LISTED => 25;

my $node = new_server(
	'metrics',
	init => [ extra => [ '--encoding=UTF8', '--locale=C' ] ],
	conf => <<'CONF');
infra_monitor.statement_interval = 1s
infra_monitor.max_statements = 200
infra_monitor.repeated_query_threshold = 5
pg_stat_statements.max = 5000
autovacuum = off
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
my $session = open_session($node);

# Reads metrics: { values => { series => value }, types => { family => type } }.
sub scrape
{
	my ($from, $function) = @_;
	my %look = (at => time);

	foreach my $line (split /\n/, ask($from // $session, 'SELECT infra_monitor.metrics_text()'))
	{
		if ($line =~ /^# TYPE (\S+) (\S+)$/)
		{
			$look{types}{$1} = $2;
		}
		elsif ($line !~ /^#/)
		{
			my ($series, $value) = $line =~ /^(.*) (\S+)$/;

			die "twice: $series" if exists $look{values}{$series};
			$look{values}{$series} = $value;
		}
	}
	return \%look;
}

# The series of a family, by their labels.
sub series_of
{
	my ($look, $family) = @_;
	my $prefix = "infra_monitor_$family";

	return { map { (substr($_, length $prefix) => $look->{values}{$_}) }
		  grep { /^\Q$prefix\E(?:\{|$)/ } keys %{ $look->{values} } };
}

sub sum_of
{
	my ($look, $family) = @_;
	my $sum = 0;

	$sum += $_ foreach values %{ series_of($look, $family) };
	return $sum;
}

# Does the series only grow?
sub is_counter
{
	my ($look, $series) = @_;
	my ($family) = $series =~ /^([a-z0-9_]+)/;

	return 1 if ($look->{types}{$family} // '') eq 'counter';
	$family =~ s/_(?:bucket|sum|count)$//;
	return ($look->{types}{$family} // '') eq 'histogram';
}

#
# What is counted is what was executed
#
my $before = scrape();
ask($session, "SELECT 1 AS one") foreach 1 .. 40;
ok(!defined try_ask($session, 'SELECT 1 / (pg_backend_pid() - pg_backend_pid())'), 'an error');
my $after = scrape();
is( sum_of($after, 'query_duration_seconds_count') - sum_of($before, 'query_duration_seconds_count'),
	41,
	'40 executions, and the look before');
is( $after->{values}{'infra_monitor_query_failures_total{datname="postgres",class="error"}'} -
	  $before->{values}{'infra_monitor_query_failures_total{datname="postgres",class="error"}'},
	1,
	'and a failure');
cmp_ok(sum_of($after, 'query_failed_seconds_total'), '>', 0, 'which took some time');
is( sum_of($after, 'statement_failures_total'),
	sum_of($after, 'query_failures_total'),
	'failures of statements are all failures');

my @connections = map { open_session($node) } 1 .. 3;
close_sessions(@connections[ 0, 1 ]);
my $connected = scrape();
is( $connected->{values}{infra_monitor_pool_connects_total} - $after->{values}{infra_monitor_pool_connects_total},
	3, 'connections established');
is( $connected->{values}{infra_monitor_pool_disconnects_total} - $after->{values}{infra_monitor_pool_disconnects_total},
	2, 'and ended');
is( $connected->{values}{infra_monitor_session_duration_seconds_count} - $after->{values}{infra_monitor_session_duration_seconds_count},
	2, 'sessions that were timed');
close_sessions($connections[2]);

ask($session, 'BEGIN');
ask($session, "SELECT 2 AS two, 2 AS again") foreach 1 .. 20;
ask($session, 'COMMIT');
my $loop = scrape();
is($loop->{values}{infra_monitor_repeated_bursts_total}, 1, 'a loop is counted');
is($loop->{values}{infra_monitor_repeated_executions_total}, 20, 'with its executions');

#
# Looks, while everything is turned over
#
# Statements that differ in the number of their columns
sub statement
{
	my ($number) = @_;

	return 'SELECT pg_sleep(0.002)' . ', 1' x $number;
}

my ($phase, $looks, $exact, $differences, $decreases) = (0, 0, 0, 0, 0);
my ($gone, $vanished, $known_gone) = (0, 0, undef);
my %first_seen;
my $last;

# One look, compared with the one before.
sub look_again
{
	my $look = scrape();
	my $all = sum_of($look, 'query_duration_seconds_count');
	my $statements = series_of($look, 'statement_duration_seconds_count');
	my $shown = 0;

	$shown += $_ foreach values %$statements;
	$looks++;
	if ($last)
	{
		foreach my $series (keys %{ $look->{values} })
		{
			next unless is_counter($look, $series) && exists $last->{values}{$series};
			next if $look->{values}{$series} >= $last->{values}{$series};
			$decreases++;
			diag "look $looks, phase $phase: $series went from $last->{values}{$series} to $look->{values}{$series}";
		}

		# what has left stood still for an interval, so this was the last of it
		my $before = series_of($last, 'statement_duration_seconds_count');
		foreach my $labels (grep { !exists $statements->{$_} } keys %$before)
		{
			$vanished++;
			$known_gone += $before->{$labels};
		}
		if ($look->{at} - $last->{at} < INTERVAL * 0.8)
		{
			$exact++;
			if ($all - $shown != $known_gone)
			{
				$differences++;
				diag "look $looks, phase $phase: $all executions, $shown shown, $known_gone known to be gone";
			}
		}
	}
	$known_gone = $all - $shown;
	$last = $look;
	return;
}

# Looks while these statements are executed, until a condition.
sub look_until
{
	my ($condition, @numbers) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	$phase++;
	do
	{
		ask($session, statement($_)) foreach @numbers;
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

look_until(sub { listed() == LISTED }, 1 .. 30);
my @old = listed();
look_until(sub { still_listed(\@old) <= 3 }, 31 .. 60);
cmp_ok($vanished, '>=', LISTED - 3, 'the list was turned over');
my @new = listed();

ask($session, 'SELECT infra_monitor.reset()');
look_again();
ask($session, q(SELECT infra_monitor.reset('statements')));
look_again();
is(still_listed(\@new) + 0, scalar @new, 'a reset changes nothing on the list');

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

is($decreases, 0, "no counter has ever decreased in $looks looks");
is($differences, 0, "each execution is in one series in $exact exact looks");
cmp_ok($exact, '>', $looks / 2, 'which are most of them');
cmp_ok($last->{values}{infra_monitor_series}, '<', 1000, 'the number of series is bounded');

#
# promtool, and names that nobody should use
#
# 19 refuses line breaks in them.
my $breaks = $node->safe_psql('postgres', q(SELECT current_setting('server_version_num')::int < 190000)) eq 't' ? 1 : 0;
my @names = ('quo"ted', 'back\\slash', ("new\nline") x $breaks, 'other', '(17)', 'x (18)', "caf\xc3\xa9", 'le="1"} 7 # EOF');

foreach my $name (@names)
{
	(my $quoted = $name) =~ s/"/""/g;
	ask($session, qq(CREATE ROLE "$quoted" LOGIN SUPERUSER CONNECTION LIMIT 10));
	ask($session, qq(CREATE DATABASE "$quoted" CONNECTION LIMIT 20));
	push @connections, open_session($node, user => $name, database => $name, application_name => $name);
	ask($connections[-1], 'SELECT 1');
}
ask($session, "CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0");
my $ascii = open_session($node, database => 'ascii');
ask($ascii, qq(CREATE ROLE "bytes\xff\xfe" LOGIN SUPERUSER));
ask($ascii, qq(CREATE DATABASE "bytes\xff\xfe"));
ask($ascii, qq(CREATE DATABASE "bytes\xff\xfd"));
foreach my $bytes ("bytes\xff\xfe", "bytes\xff\xfd")
{
	push @connections, open_session($node, user => "bytes\xff\xfe", database => $bytes);
	ask($connections[-1], 'SELECT 1');
}
ask($ascii, 'SET client_min_messages = error');
ask($ascii, 'CREATE EXTENSION infra_monitor CASCADE');

my $hostile = scrape();
is(scalar(grep { /datname="bytes\?\? \(\d+\)",le="\+Inf"/ } keys %{ $hostile->{values} }),
	2, 'names that are no text are told apart');
is(scalar(grep { /^infra_monitor_query_duration_seconds_count\{datname="(?:other|other \(\d+\))"\}/ } keys %{ $hostile->{values} }),
	2, 'and so is a database that is called "other"');
ok(exists $hostile->{values}{'infra_monitor_pool_connections{datname="quo\"ted",state="idle"}'},
	'a quotation mark is escaped');
is(exists $hostile->{values}{'infra_monitor_pool_connections{datname="new\nline",state="idle"}'} ? 1 : 0,
	$breaks, 'a line break is, where there can be one');

SKIP:
{
	my ($version) = eval { run_command([qw(promtool --version)]) };

	skip 'promtool is not installed', 4 unless defined $version && $version =~ /version/;
	foreach ([ $session, 'UTF8' ], [ $ascii, 'SQL_ASCII' ])
	{
		my ($from, $encoding) = @$_;
		my $file = "$PostgreSQL::Test::Utils::tmp_check/metrics_$encoding.prom";

		append_to_file($file, ask($from, 'SELECT infra_monitor.metrics_text()'));
		my ($stdout, $stderr) = run_command([ 'sh', '-c', 'promtool check metrics <"$0" && echo fine', $file ]);
		is($stdout, 'fine', "promtool accepts metrics of a database with encoding $encoding");
		is($stderr, '', 'and finds nothing to complain about');
	}
}

close_sessions(@connections[ 3 .. $#connections ], $ascii, $session);
$node->stop;

done_testing();
