# Counters of connections, exact to the unit: the peak, connections stuck in
# authentication, many short connections (20 000 with IMON_LONG_TESTS=1),
# infra_monitor.enabled, and reset().
#
# All sessions, that of the observer too, are sockets of this script, and a
# session that it has closed is gone: so nothing else is ever connected, and
# there is nothing to wait for.

use strict;
use warnings;

use InfraMonitor;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

use constant SHORT => $ENV{IMON_LONG_TESTS} ? 20_000 : 4000;    # connections, by 8 clients

my $node = new_server('counters', conf => <<'CONF');
max_connections = 80
superuser_reserved_connections = 3
listen_addresses = '127.0.0.1'
wal_level = replica
max_wal_senders = 2
authentication_timeout = 10min
log_statement = none
CONF
unlink($node->data_dir . '/pg_hba.conf');
$node->append_conf('pg_hba.conf', <<'HBA');
local all all trust
local replication all trust
host all secret 127.0.0.1/32 password
HBA
$node->start;

my $observer = open_session($node);
ask($observer, $_) for split /^/, <<'SQL';
CREATE EXTENSION infra_monitor CASCADE
CREATE ROLE limited LOGIN CONNECTION LIMIT 5
CREATE ROLE secret LOGIN PASSWORD 'right'
SQL

# Columns of pool_pressure, as the observer sees them.
sub pool
{
	my (@columns) = @_;

	return ask($observer,
		'SELECT ' . join(', ', @columns) . ' FROM infra_monitor.pool_pressure');
}

sub now
{
	return ask($observer, 'SELECT clock_timestamp()');
}

my @balance = ('used_connections', 'connects_total - disconnects_total');

is(pool(@balance), '1|1', 'the observer is alone');

subtest 'peak' => sub {
	my @sessions = map { open_session($node, user => 'limited') } 1 .. 5;

	push @sessions, map { open_session($node) } 1 .. 8;
	my $before = now();
	push @sessions, open_session($node);
	my $after = now();
	my $peak_at = pool('peak_at');

	is(pool('used_connections', 'peak_connections'),
		'15|15', 'fifteen are established');

	# kept in milliseconds
	is( ask($observer,
			"SELECT '$peak_at' BETWEEN date_trunc('milliseconds', timestamptz '$before') AND timestamptz '$after'"
		),
		't',
		'the peak was when the last one came');

	# all at once, so that they hold slots at the same moment
	my @refused = map { begin_session($node, user => 'limited') } 1 .. 40;
	is(join(' ', map { await_session($_) } @refused),
		join(' ', ('refused') x 40), 'forty more are refused');
	is( join(' ', map { $_->{message} =~ /for role/ ? 'role' : 'else' } @refused),
		join(' ', ('role') x 40),
		'by the limit of their role');
	is( pool(
			'used_connections', 'peak_connections',
			'authenticating', 'rejected_total',
			'connects_total', 'disconnects_total'),
		'15|15|0|40|15|0',
		'which is no connection, and no peak');
	is( ask($observer,
			"SELECT total FROM infra_monitor.pool_rejections WHERE reason = 'role_limit'"
		),
		'40',
		'forty refused at the same time are forty');

	close_sessions(splice @sessions, 0, 10);
	is( pool(
			'used_connections', 'peak_connections', "peak_at = '$peak_at'",
			'disconnects_total'),
		'5|15|t|10',
		'ten have gone, the peak stays');
	push @sessions, map { open_session($node) } 1 .. 10;
	is( pool('used_connections', 'peak_connections', "peak_at = '$peak_at'"),
		'15|15|t',
		'as many again are no new peak');
	push @sessions, open_session($node);
	is( pool('used_connections', 'peak_connections', "peak_at > '$peak_at'"),
		'16|16|t', 'one more is');
	close_sessions(@sessions);
	is(pool(@balance), '1|1', 'all have gone');
};

subtest 'authenticating' => sub {
	my @sessions = map { open_session($node) } 1 .. 4;
	my $counters = pool('connects_total', 'peak_connections');
	my @stuck =
	  map { begin_session($node, user => 'secret', tcp => 1) } 1 .. 20;

	is(join(' ', map { await_session($_) } @stuck),
		join(' ', ('password') x 20), 'twenty are asked for a password');
	is( pool(
			'used_connections', 'authenticating', 'available_connections',
			'max_connections - reserved_connections - 5 - 20',
			'used_ratio = 25 / 77.0::float8'),
		'5|20|52|52|t',
		'they hold slots and are not established');
	is(pool('connects_total', 'peak_connections'),
		$counters, 'nor counted as such');

	# one of them goes on
	my $late = pop @stuck;
	$late->{socket}->syswrite('p' . pack('N', 10) . "right\0");
	is(await_session($late), 'ready', 'one gives its password');
	is(pool('used_connections', 'authenticating', 'available_connections'),
		'6|19|52', 'and is established');

	close $_->{socket} for @stuck;
	wait_in_session(
		$observer,
		'SELECT used_connections, authenticating, available_connections FROM infra_monitor.pool_pressure',
		'the others hang up and are gone',
		'6|0|71');
	is(pool('auth_failures_total', 'rejected_total'),
		'0|40', 'nobody refused them');
	close_sessions($late, @sessions);

	# each process reads the configuration when the postmaster has
	ask($observer, q{ALTER SYSTEM SET authentication_timeout = '1s'});
	ask($observer, 'SELECT pg_reload_conf()');
	wait_for_new_sessions('authentication_timeout', '1s');
	my $slow = begin_session($node, user => 'secret', tcp => 1);
	await_session($slow);
	is(await_session($slow), 'refused', 'another one waits too long');
	is(pool('auth_failures_total', 'rejected_total', 'authenticating'),
		'0|41|0', 'and is refused');
	is( ask($observer,
			'SELECT reason, sqlstate, usename FROM infra_monitor.recent_rejections LIMIT 1'
		),
		'other|57014|secret',
		'in silence, but not here');
	ask($observer, 'ALTER SYSTEM RESET authentication_timeout');
	ask($observer, 'SELECT pg_reload_conf()');
	wait_for_new_sessions('authentication_timeout', '10min');
};

# Waits until new sessions, hence all later ones, have this configuration.
sub wait_for_new_sessions
{
	my ($name, $value) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my $found;

	do
	{
		my $session = open_session($node);

		$found = ask($session, "SHOW $name");
		close_sessions($session);
	} while ($found ne $value && time < $deadline);
	is($found, $value, "new sessions have $name = $value");
	return;
}

subtest 'many short connections' => sub {
	my @sessions = map { open_session($node) } 1 .. 9;
	my $script = $node->basedir . '/nothing.sql';
	my ($output, $errors, $balance, $backwards, $negative) =
	  ('', '', 99, 0, 0);

	append_to_file($script, "SELECT 1;\n");
	is(pool(@balance), '10|10', 'ten are held');
	my ($connects, $disconnects) =
	  split /\|/, pool('connects_total', 'disconnects_total');

	# one connection for each transaction, and one to look at the server
	my $pgbench = IPC::Run::start(
		[   'pgbench', '--no-vacuum', '--connect',
			'--client' => 8,
			'--jobs' => 2,
			'--transactions' => SHORT / 8,
			'--file' => $script,
			'--host' => $node->host,
			'--port' => $node->port,
			'dbname=postgres application_name=short'
		],
		'>' => \$output,
		'2>' => \$errors);
	my @last = ($connects, $disconnects);
	while ($pgbench->pumpable)
	{
		my ($total, $ended, @others) = split /\|/,
		  pool(
			'connects_total', 'disconnects_total',
			'used_connections', 'authenticating',
			'available_connections', 'rejected_total',
			'peak_connections - used_connections');

		$balance = $total - $ended if $total - $ended < $balance;
		$backwards++ if $total < $last[0] || $ended < $last[1];
		@last = ($total, $ended);
		$negative += grep { $_ < 0 } @others;
		$pgbench->pump_nb;
		usleep(50_000);    # leave the processor to pgbench
	}
	$pgbench->finish;
	like(
		$output,
		qr{actually processed: ${\SHORT}/${\SHORT}},
		'pgbench has run all transactions');
	is($errors =~ s/^pgbench \(.*\n//r, '', 'without errors');

	wait_in_session(
		$observer,
		'SELECT disconnects_total FROM infra_monitor.pool_pressure',
		'each connection has ended',
		$disconnects + SHORT + 1);
	is( pool('connects_total', @balance),
		($connects + SHORT + 1) . '|10|10',
		'each connection was counted once');
	is($backwards, 0, 'the totals have only grown');
	is($negative, 0, 'and no number was negative');
	cmp_ok($balance, '>=', 10,
		'at no time were more connections ended than established');
	close_sessions(@sessions);
	is(pool(@balance), '1|1', 'all have gone');

	# who it was, and how long it took
	is( ask($observer,
			q{SELECT connects, disconnects, current, session_time > 0 FROM infra_monitor.connection_churn WHERE application_name = 'short'}
		),
		join('|', SHORT + 1, SHORT + 1, 0, 't'),
		'they were those of pgbench');
	my $totals = pool('connects_total', 'disconnects_total');
	is( ask($observer,
			'SELECT sum(connects), sum(disconnects) FROM infra_monitor.connection_churn'),
		$totals,
		'the sums of all applications are the totals');
	is( ask($observer,
			q{SELECT max(connections) FILTER (WHERE phase = 'establish'), max(connections) FILTER (WHERE phase = 'session'), bool_and(infra_monitor.observations(latency) = connections), bool_and(p50_time <= p95_time AND p95_time <= p99_time) FROM infra_monitor.connection_times}
		),
		"$totals|t|t",
		'each was timed once');
};

sub enable
{
	my ($value) = @_;

	ask($observer, "ALTER SYSTEM SET infra_monitor.enabled = $value");
	ask($observer, 'SELECT pg_reload_conf()');
	wait_for_new_sessions('infra_monitor.enabled', $value);
	return;
}

subtest 'disabled' => sub {
	my @counted = map { open_session($node) } 1 .. 6;
	my @totals = (
		'connects_total', 'disconnects_total', 'rejected_total',
		'auth_failures_total');

	enable('off');
	ask($observer, 'SELECT infra_monitor.reset()');
	is(pool('used_connections', 'peak_connections', @totals),
		'7|7|0|0|0|0', 'a reset while disabled');
	my @uncounted = map { open_session($node) } 1 .. 5;

	is(pool('used_connections', 'peak_connections'),
		'12|12', 'disabled, the number is true, and its peak');
	my $missing = begin_session($node, user => 'missing');
	is(await_session($missing), 'refused', 'a stranger is refused');
	my $nowhere = begin_session($node, database => 'nowhere');
	is(await_session($nowhere), 'refused', 'a missing database refuses');
	close_sessions(splice @uncounted, 0, 2);
	is(pool('used_connections'), '10', 'it falls too');
	is(pool(@totals), '0|0|0|0', 'the totals stand still');

	# who was counted in is counted out; seven were before the reset
	my @balance = ('used_connections', '7 + connects_total - disconnects_total');
	close_sessions(shift @counted);
	is(pool(@balance), '9|6', 'a connection that was counted has ended');

	enable('on');
	is(pool(@balance), '9|6', 'enabled again');
	close_sessions(shift @uncounted);
	is(pool(@balance), '8|6', 'who was not counted in is not counted out');
	push @counted, open_session($node);
	is(pool(@balance), '9|7', 'counting goes on');
	close_sessions(@uncounted);
	is(pool(@balance), '7|7',
		'when those have gone that came meanwhile, all is as ever');
	close_sessions(@counted);
	is(pool(@balance), '1|1', 'all have gone');
	await_session(begin_session($node, user => 'missing'));
	is(pool('auth_failures_total'), '1', 'refusals are counted again');
};

subtest 'reset' => sub {
	my @sessions = map { open_session($node) } 1 .. 2;

	await_session(begin_session($node, user => 'missing'));
	my $newest = ask($observer,
		'SELECT count(*), max(at) FROM infra_monitor.recent_rejections');
	my $before = now();

	ask($observer, q{SELECT infra_monitor.reset('pool')});
	is( pool(
			'connects_total', 'disconnects_total',
			'rejected_total', 'auth_failures_total',
			'used_connections', 'peak_connections'),
		'0|0|0|0|3|3',
		'totals begin at 0, the peak at the current number');
	is( pool(
			"stats_reset BETWEEN '$before' AND clock_timestamp()",
			"peak_at BETWEEN date_trunc('milliseconds', timestamptz '$before') AND stats_reset"
		),
		't|t',
		'at that moment');
	my $stats_reset = pool('stats_reset');
	is( ask($observer,
			'SELECT sum(total), count(last_at), infra_monitor.rejected_recently() FROM infra_monitor.pool_rejections GROUP BY ()'
		),
		'0|0|0',
		'no refusals');
	is( ask($observer,
			'SELECT count(*), max(at) FROM infra_monitor.recent_rejections'),
		$newest,
		'their details stay');

	push @sessions, open_session($node);
	await_session(begin_session($node, user => 'missing'));
	await_session(begin_session($node, database => 'nowhere')) for 1 .. 2;
	close_sessions(shift @sessions);
	is( pool(
			'connects_total', 'disconnects_total',
			'auth_failures_total', 'rejected_total',
			'infra_monitor.rejected_recently()', 'peak_connections',
			'stats_reset'),
		"1|1|1|2|2|4|$stats_reset",
		'counted from there');
	close_sessions(@sessions);

	ask($observer, 'SELECT infra_monitor.reset()');
	is( pool(
			'connects_total', 'disconnects_total', 'auth_failures_total',
			'peak_connections'),
		'0|0|0|1',
		'a reset of everything is one of the pool');

	$stats_reset = pool('stats_reset');
	is(try_ask($observer, q{SELECT infra_monitor.reset('pools')}),
		undef, 'something else cannot be reset');
	is( join('|', @$observer{qw(sqlstate message)}),
		'22023|cannot reset "pools"',
		'which is an error');
	like($observer->{hint}, qr/^Valid values are .*"pool".*"all"/,
		'with a hint');
	is(ask($observer, 'SELECT infra_monitor.reset(NULL) IS NULL'),
		't', 'a NULL is allowed');
	is(pool('stats_reset'), $stats_reset, 'but does nothing');
};

subtest 'no connections' => sub {
	my $counters = pool(@balance, 'connects_total', 'peak_connections');
	my $walsender = open_session($node, replication => 'true');
	my $logical = open_session($node, replication => 'database');

	is(pool(@balance, 'connects_total', 'peak_connections', 'authenticating'),
		"$counters|0", 'walsenders have slots of their own');
	close_sessions($walsender, $logical);
	is(pool(@balance, 'connects_total', 'peak_connections'),
		$counters, 'also when they leave');

	# workers
	ask($observer, $_)
	  for 'CREATE TABLE numbers AS SELECT generate_series(1, 1000) AS n',
	  'ALTER TABLE numbers SET (parallel_workers = 2)',
	  'SET parallel_setup_cost = 0', 'SET min_parallel_table_scan_size = 0';
	like(
		ask($observer, 'EXPLAIN (ANALYZE) SELECT count(*) FROM numbers'),
		qr/Workers Launched: [1-9]/,
		'parallel workers have worked');
	is(pool(@balance, 'connects_total', 'peak_connections'),
		$counters, 'they are no connections');
};

close_sessions($observer);
$node->stop;
done_testing();
