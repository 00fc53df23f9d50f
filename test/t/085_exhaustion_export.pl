# Nobody can connect, for a while: not psql, not postgres_exporter, whatever role
# they have.  The file of metrics goes on, each interval, and Prometheus, which
# has it from node_exporter, misses nothing; each refusal is counted, once.
#
# IMON_LONG_TESTS=1 in the environment: for a minute.

use strict;
use warnings;

use Cwd qw(abs_path);
use InfraMonitor;
use JSON::PP;
use List::Util qw(sum0);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Programs;
use Test::More;
use Time::HiRes qw(time usleep);

use constant INTERVAL => 1;    # between two files
use constant SCRAPE_INTERVAL => 2;

my $seconds = $ENV{IMON_LONG_TESTS} ? 60 : 15;
my $has_prometheus = has_programs(qw(prometheus prometheus-node-exporter prometheus-postgres-exporter));
my $directory = abs_path(PostgreSQL::Test::Utils::tempdir);
my $file = "$directory/postgres.prom";

my $node = new_server('exhaustion', conf => <<"CONF");
infra_monitor.textfile = '$file'
max_connections = 10
superuser_reserved_connections = 3
max_wal_senders = 0
autovacuum = off
CONF
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION infra_monitor CASCADE;
CREATE ROLE ordinary LOGIN IN ROLE pg_monitor;
CREATE ROLE boss LOGIN SUPERUSER;
SQL

# The values in the file by series, without the prefix; {} if there is no file.
sub read_file
{
	my $content = eval { slurp_file($file) } // '';

	return { $content =~ /^infra_monitor_(\S+(?:\{[^\n]*\})?) (\S+)$/mg };
}

# Waits for a condition on what is in the file.
sub wait_for_file
{
	my ($condition, $name) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	usleep(20_000) until $condition->(read_file()) || time > $deadline;
	return ok($condition->(read_file()), $name);
}

# Refusals of a reason in these values.
sub counted
{
	my ($values, $reason) = @_;

	return $values->{"pool_rejections_total{reason=\"$reason\"}"};
}

# What the server has logged of refusals, by the reasons that we count.
my %messages = (
	max_connections => qr/FATAL:  sorry, too many clients already/,
	reserved => qr/FATAL:  remaining connection slots are reserved/);

sub logged
{
	my ($reason) = @_;

	return log_count($node, $messages{$reason});
}

# Attempts of this test, which must be refused for a reason.
my %attempts = (max_connections => 0, reserved => 0);

sub try_psql
{
	my ($role, $reason) = @_;
	my ($stdout, $stderr) = run_command([ 'psql', '-XAt', '-d', $node->connstr('postgres') . " user=$role", '-c', 'SELECT 1' ]);

	$attempts{$reason}++;
	return $stdout eq '' && $stderr =~ $messages{$reason};
}

sub try_socket
{
	my ($role, $reason) = @_;
	my $session = begin_session($node, user => $role);

	$attempts{$reason}++;
	return await_session($session) eq 'refused' && $session->{sqlstate} eq '53300';
}

wait_for_file(sub { defined $_[0]{health_status} }, 'there is a file');

#
# Prometheus, while all is well
#
my ($prometheus, $node_exporter, %exporters);
if ($has_prometheus)
{
	$node_exporter = start_node_exporter($directory);
	foreach my $role (qw(ordinary boss))
	{
		$exporters{$role} = start_program(
			'prometheus-postgres-exporter',
			['--web.listen-address=127.0.0.1:PORT'],
			env => {
				DATA_SOURCE_NAME => 'host=' . $node->host . ' port=' . $node->port
				  . " user=$role dbname=postgres sslmode=disable"
			});
		like((http_get($exporters{$role}{port}, '/metrics'))[1],
			qr/^pg_up 1$/m, "postgres_exporter can connect as $role");
	}
	my $interval = SCRAPE_INTERVAL . 's';
	my $configuration = write_file("$directory/prometheus.yml", <<"YAML");
global: {scrape_interval: $interval, scrape_timeout: $interval}
scrape_configs:
  - job_name: node
    static_configs: [{targets: ['127.0.0.1:$node_exporter->{port}']}]
  - job_name: ordinary
    static_configs: [{targets: ['127.0.0.1:$exporters{ordinary}{port}']}]
  - job_name: boss
    static_configs: [{targets: ['127.0.0.1:$exporters{boss}{port}']}]
YAML
	$prometheus = start_prometheus($configuration, "$directory/data");
	foreach my $query ('infra_monitor_pool_slots{class="free"} > 0', 'count(pg_up == 1) == 2')
	{
		cmp_ok(scalar @{ wait_for_series($prometheus, $query) }, '>', 0, "Prometheus has $query");
	}
}

#
# All slots are taken, the last ones by superusers
#
my @holders;

# The exporters keep their connections, and lose them here.
my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
while (@holders < 10 && time < $deadline)
{
	my $session = begin_session($node);

	if (await_session($session) eq 'ready')
	{
		push @holders, $session;
	}
	else
	{
		$attempts{max_connections}++;
	}
	ask($holders[0], q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE backend_type = 'client backend' AND usename IN ('ordinary', 'boss')});
}
is(scalar @holders, 10, 'all slots are taken');
wait_for_file(sub { ($_[0]{'pool_slots{class="used"}'} // 0) == 10 }, 'which the file says');

# Looks at the file, and makes attempts at a constant rate; longer, where one takes
# too long for that.
my $begin = time;
my $least = 3 * ($seconds - 1);
my $latest = $begin + $PostgreSQL::Test::Utils::timeout_default;
my ($refused, $last_look, $stalled) = (0, $begin, 0);
my (@files, @logged);
while (time < $begin + $seconds || ($refused < $least && time < $latest))
{
	my $values = read_file();

	push @files, $values
	  if !@files || $values->{collected_timestamp_seconds} != $files[-1]{collected_timestamp_seconds};
	$stalled += time - $last_look - 0.5 if time - $last_look > 0.5;
	$last_look = time;
	if (time > $begin + 0.5 * @logged)
	{
		push @logged, [ time, logged('max_connections') ];
		$refused += try_psql($_, 'max_connections') foreach (qw(ordinary boss))[ @logged % 2 ];
		$refused += try_socket($_, 'max_connections') foreach qw(ordinary boss);
	}
	usleep(20_000);
}
my $end = time;

cmp_ok($refused, '>=', $least, "$refused clients tried");
is($refused, 3 * @logged, 'and all were refused');

# each interval has its file
my @moments = map { $_->{collected_timestamp_seconds} } @files;
my @numbers = map { $_->{'file_writes_total{file="metrics"}'} } @files;
my $missing = 0;

foreach my $i (1 .. $#moments)
{
	my $intervals = int(($moments[$i] - $moments[ $i - 1 ]) / INTERVAL + 0.5);

	$missing += $intervals - 1 if $intervals > 1;
}
# one may be late by half an interval, on a machine that keeps only the sampler waiting
cmp_ok($missing, '<=', 1 + $stalled / INTERVAL, "each interval has a file: there are " . @files);
is($numbers[-1] - $numbers[0], $#numbers, 'and each of them was seen') if $stalled == 0;
is_deeply([ grep { $_->{'pool_slots{class="used"}'} != 10 } @files ], [], 'each says that all slots are used');
foreach my $class (qw(free superuser_reserved reserved))
{
	is_deeply([ grep { $_->{"pool_slots{class=\"$class\"}"} != 0 } @files ], [], "and that none is left: $class");
}
is(decode_json(slurp_file($node->data_dir . '/pg_stat_tmp/health.json'))->{services}{database}{pool}{available},
	0, 'as does the document of health');

SKIP:
{
	skip 'Prometheus and its exporters are not installed', 13 unless $has_prometheus;
	my $span = int($seconds - SCRAPE_INTERVAL) . 's';
	my $ask = sub {
		my ($expression) = @_;
		my $result = ask_prometheus($prometheus, $expression =~ s/SPAN/$span/gr, time => $end);

		is(scalar @$result, 1, "one answer to $expression");
		return @$result ? $result->[0]{value}[1] : 'nothing';
	};

	is($ask->("max_over_time(pg_up{job=\"$_\"}[SPAN])"), 0, "postgres_exporter as $_ could not connect")
	  foreach qw(ordinary boss);
	my $scrapes = $ask->('count_over_time(up{job="node"}[SPAN])');
	cmp_ok(abs($scrapes - int($seconds - SCRAPE_INTERVAL) / SCRAPE_INTERVAL), '<=', 1 + $stalled / SCRAPE_INTERVAL, "node_exporter was scraped $scrapes times");
	is($ask->('min_over_time(up{job="node"}[SPAN])'), 1, 'each time it answered');
	is($ask->('count_over_time(infra_monitor_collected_timestamp_seconds[SPAN])'),
		$scrapes, 'each time the metrics were there');
	my $changes = $ask->('changes(infra_monitor_collected_timestamp_seconds[SPAN])');
	my $late = sum0(map { int(($moments[$_] - $moments[ $_ - 1 ]) / SCRAPE_INTERVAL) } 1 .. $#moments);
	cmp_ok($changes, '<=', $scrapes - 1, 'and new ones');
	cmp_ok($changes, '>=', $scrapes - 1 - $late, "each time, but for $late while there was no new file");
	is($ask->('max_over_time(infra_monitor_pool_slots{class="free"}[SPAN])'), 0, 'no slot was free');

	# as many a second as the server has logged, but for the time that a file and
	# a scrape are late
  SKIP:
	{
		skip 'an executed child does not count that', 1 if exec_backend();
		my $rate = $ask->('rate(infra_monitor_pool_rejections_total{reason="max_connections"}[SPAN])');
		my @span = grep { $_->[0] > $end - $seconds } @logged;
		my $true_rate = ($span[-1][1] - $span[0][1]) / ($span[-1][0] - $span[0][0]);
		cmp_ok(abs($rate / $true_rate - 1), '<=', (INTERVAL + SCRAPE_INTERVAL) / $seconds,
			sprintf('its rate of refusals is %.2f a second, that of the log %.2f', $rate, $true_rate));
	}
}

# no more attempts than these
stop_program($_) foreach grep { defined } $prometheus, values %exporters;
SKIP:
{
	skip 'an executed child does not count that', 3 if exec_backend();
	my $before = logged('max_connections');
	wait_for_file(sub { counted($_[0], 'max_connections') == logged('max_connections') },
		"the file counts all refusals that the log has: $before");
	is(counted(read_file(), 'max_connections') - $attempts{max_connections} > 0 ? 1 : 0,
		$has_prometheus ? 1 : 0, 'those of the exporters, and ours');
	is(logged('max_connections'), $attempts{max_connections}, 'of which there are as many as attempts')
	  unless $has_prometheus;
}

#
# What is reserved
#
close_sessions(splice @holders, 7);
wait_for_file(sub { $_[0]{'pool_slots{class="superuser_reserved"}'} == 3 }, 'three slots are left, for superusers');
is(scalar(grep { try_psql('ordinary', 'reserved') } 1 .. 3), 3, 'an ordinary role is refused');
is(scalar(grep { try_socket('ordinary', 'reserved') } 1 .. 17), 17, 'again and again');
is($node->safe_psql('postgres', 'SELECT 1', extra_params => [ '-U', 'boss' ]), 1, 'a superuser is not');
# (an exporter that has gone may have been at the door until now)
wait_for_file(sub { counted($_[0], 'reserved') == logged('reserved') }, 'and the file counts them apart');
cmp_ok(logged('reserved'), '>=', $attempts{reserved}, 'as many as the log has');
is(counted(read_file(), 'max_connections'), exec_backend() ? 0 : logged('max_connections'), 'the others as before');
foreach my $reason (qw(role_limit database_limit authentication starting_up shutting_down other))
{
	is(counted(read_file(), $reason), 0, "nothing else is counted: $reason");
}

close_sessions(@holders);
stop_program($node_exporter) if $node_exporter;
$node->stop;

done_testing();
