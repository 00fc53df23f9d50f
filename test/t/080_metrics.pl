# Metrics, as Prometheus would read them: what is counted is what was executed,
# and promtool finds nothing to complain about, whatever the names.

use strict;
use warnings;

use InfraMonitor;
use Metrics;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server(
	'metrics',
	init => [ extra => [ '--encoding=UTF8', '--locale=C' ] ],
	conf => <<'CONF');
infra_monitor.statement_interval = 1s
infra_monitor.repeated_query_threshold = 5
pg_stat_statements.max = 5000
autovacuum = off
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
my $session = open_session($node);

#
# What is counted is what was executed
#
my $before = read_metrics($session);
ask($session, "SELECT 1 AS one") foreach 1 .. 40;
ok(!defined try_ask($session, 'SELECT 1 / (pg_backend_pid() - pg_backend_pid())'), 'an error');
my $after = read_metrics($session);
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
my $connected = read_metrics($session);
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
my $loop = read_metrics($session);
is($loop->{values}{infra_monitor_repeated_bursts_total}, 1, 'a loop is counted');
is($loop->{values}{infra_monitor_repeated_executions_total}, 20, 'with its executions');

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

my $hostile = read_metrics($session);
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
