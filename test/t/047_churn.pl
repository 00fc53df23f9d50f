# Who connects how often: many at once, more kinds than there is room for,
# rates, infra_monitor.enabled, and resets while others come and go.  The sums
# are those of pool_pressure, always.  (Thousands of connections: 011_counters.pl.)

use strict;
use warnings;

use InfraMonitor;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = new_server('churn', conf => <<'CONF');
max_connections = 60
log_min_messages = fatal
infra_monitor.sample_interval = 1h
infra_monitor.health_interval = 1h
CONF
$node->start;

my $observer = open_session($node, application_name => 'observer');
ask($observer, 'CREATE EXTENSION infra_monitor CASCADE');
ask($observer, 'CREATE ROLE another LOGIN');

# The churn of an application.
sub churn_of
{
	my ($application, @columns) = @_;

	@columns = ('connects', 'disconnects', 'current') unless @columns;
	return ask($observer,
			'SELECT ' . join(', ', @columns)
		  . " FROM infra_monitor.connection_churn WHERE application_name = '$application'"
	);
}

# Are the sums those of pool_pressure?
sub sums_agree
{
	my ($name) = @_;

	return is(
		ask($observer, <<'SQL'), 't|t|t', $name);
SELECT c.connects = p.connects_total, c.disconnects = p.disconnects_total, c.current = p.used_connections
FROM infra_monitor.pool_pressure p,
	(SELECT sum(connects) AS connects, sum(disconnects) AS disconnects, sum(current) AS current
	 FROM infra_monitor.connection_churn) c
SQL
}

# Do the counts of connection_times agree with pool_pressure?
sub times_agree
{
	my ($name) = @_;

	return is(
		ask($observer, <<'SQL'), 'establish|t|t;session|t|t', $name);
SELECT string_agg(concat_ws('|', t.phase,
		(t.connections = CASE t.phase WHEN 'establish' THEN p.connects_total ELSE p.disconnects_total END)::text::char(1),
		(infra_monitor.observations(t.latency) = t.connections)::text::char(1)), ';' ORDER BY t.phase)
FROM infra_monitor.connection_times t, infra_monitor.pool_pressure p
SQL
}

sums_agree('at first');

subtest 'many of a kind at the same time' => sub {
	foreach my $n (1 .. 10)
	{
		my @sessions =
		  map { begin_session($node, application_name => "kind $n") } 1 .. 20;

		await_session($_) foreach @sessions;
		close_sessions(@sessions);
	}
	is(join(' ', map { churn_of("kind $_") } 1 .. 10),
		join(' ', ('20|20|0') x 10), 'each is counted once, in one row');
	sums_agree('the sums');
	times_agree('the times');
};

subtest 'how long' => sub {
	my $session = begin_session($node, application_name => 'long');

	await_session($session);
	ask($session, 'SELECT pg_sleep(1)');
	close_sessions($session);
	is( churn_of('long', 'session_time BETWEEN 1000 AND 60000'),
		't', 'a session of a second');
	is( ask($observer, <<'SQL'), 't|t', 'is among the longest');
SELECT p99_time <= 10000000, (SELECT max(cumulative) FROM infra_monitor.buckets(latency)) >
	(SELECT cumulative FROM infra_monitor.buckets(latency) WHERE le_seconds = 1)
FROM infra_monitor.connection_times WHERE phase = 'session'
SQL
};

subtest 'rates' => sub {
	ask($observer, 'SELECT infra_monitor.reset()');
	is( ask($observer, 'SELECT count(connects_last_slot) FROM infra_monitor.connection_churn()'),
		'0',
		'not known after a reset');

	# Early in a slot that is counted from its beginning.  Who is kept from looking
	# until the next one has ended, or does not connect in time, does it again.
	my $slot = q{floor(extract(epoch FROM clock_timestamp()) / 10)};
	my ($rows, $rates, $minute);
	foreach my $try (1 .. 5)
	{
		ask($observer, 'SELECT infra_monitor.reset()') if $try > 1;
		wait_in_session(
			$observer,
			q{SELECT count(*) = count(connects_last_slot) AND extract(epoch FROM clock_timestamp())::numeric % 10 < 3 FROM infra_monitor.connection_churn()},
			'a slot begins');
		my $begun = ask($observer, "SELECT $slot");
		my $before = ask($observer, 'SELECT slots FROM infra_monitor.connection_rate()');
		close_sessions(map { open_session($node, application_name => 'rate') } 1 .. 5);
		my $connected = ask($observer, "SELECT $slot");
		wait_in_session($observer, "SELECT $slot > $begun", 'and ends');
		($rows, $rates, $minute, my $looked) = split /;/, ask($observer, <<"SQL");
SELECT concat_ws(';', c.connects_last_slot, (SELECT concat_ws('|', connects_per_second, usual_per_second, slots - $before) FROM infra_monitor.connection_rate()),
	(SELECT connects_per_minute IS NULL FROM infra_monitor.connection_churn WHERE application_name = 'rate'), $slot)
FROM infra_monitor.connection_churn() c WHERE c.application_name = 'rate'
SQL
		last if $connected == $begun && $looked == $begun + 1;
		note "once more: begun in $begun, connected in $connected, looked in $looked";
	}
	is($rows, '5', 'five in ten seconds');
	is($rates, '0.5|0|1', 'are half a one a second');
	is($minute, 't', 'what was in a minute is not known yet');
};

sub enable
{
	my ($value) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my $found;

	ask($observer, "ALTER SYSTEM SET infra_monitor.enabled = $value");
	ask($observer, 'SELECT pg_reload_conf()');
	do
	{
		my $session = open_session($node, application_name => 'reload');

		$found = ask($session, 'SHOW infra_monitor.enabled');
		close_sessions($session);
	} while ($found ne $value && time < $deadline);
	is($found, $value, "new sessions have infra_monitor.enabled = $value");
	return;
}

subtest 'disabled' => sub {
	my $all =
	  'SELECT datname, usename, application_name, connects, disconnects, current FROM infra_monitor.connection_churn ORDER BY 1, 2, 3';
	my $times =
	  'SELECT phase, connections, total_time FROM infra_monitor.connection_times';
	my $counted = open_session($node, application_name => 'counted');

	enable('off');
	my ($churn, $before) = (ask($observer, $all), ask($observer, $times));
	my $uncounted = open_session($node, application_name => 'uncounted');
	is(ask($observer, $all), $churn, 'a connection is not counted');
	is(ask($observer, $times), $before, 'nor timed');
	is( ask($observer,
			'SELECT count(connects_last_slot) FROM infra_monitor.connection_churn()'),
		'0',
		'so the rates of applications are not known');
	close_sessions($counted);
	is(churn_of('counted'), '1|1|0', 'who was counted in is counted out');
	enable('on');
	close_sessions($uncounted);
	is(churn_of('uncounted'), '', 'who was not is not');
	is( ask($observer, <<'SQL'), 't|t', 'the sums agree');
SELECT sum(c.connects) = p.connects_total, sum(c.disconnects) = p.disconnects_total
FROM infra_monitor.connection_churn c, infra_monitor.pool_pressure p GROUP BY p.connects_total, p.disconnects_total
SQL
	times_agree('the times agree');
};

subtest 'resets among connections' => sub {
	my $script = $node->basedir . '/nothing.sql';
	my ($output, $errors, $resets, $negative) = ('', '', 0, 0);

	append_to_file($script, "SELECT 1;\n");
	my $pgbench = IPC::Run::start(
		[   'pgbench', '--no-vacuum', '--connect',
			'--client' => 8,
			'--jobs' => 2,
			'--transactions' => 125,
			'--file' => $script,
			'--host' => $node->host,
			'--port' => $node->port,
			'dbname=postgres application_name=short'
		],
		'>' => \$output,
		'2>' => \$errors);
	while ($pgbench->pumpable)
	{
		ask($observer, 'SELECT infra_monitor.reset()');
		$resets++;
		$negative++
		  if ask($observer,
			'SELECT count(*) FROM infra_monitor.connection_churn WHERE connects < 0 OR disconnects < 0 OR current < 0'
		  ) ne '0';
		$pgbench->pump_nb;
		usleep(20_000);
	}
	$pgbench->finish;
	like($output, qr{actually processed: 1000/1000}, 'pgbench has run');
	cmp_ok($resets, '>', 5, 'several resets meanwhile');
	is($negative, 0, 'no count was negative');
	wait_in_session(
		$observer,
		q{SELECT used_connections, (SELECT coalesce(sum(current), 0) FROM infra_monitor.connection_churn WHERE application_name = 'short') FROM infra_monitor.pool_pressure},
		'all have ended',
		'1|0');
	sums_agree('the sums agree');
};

subtest 'more kinds than there is room for' => sub {
	ask($observer, 'SELECT infra_monitor.reset()');
	foreach my $n (1 .. 60)
	{
		my @sessions = map {
			begin_session($node,
				application_name => "many $n $_",
				user => $_ % 2 ? 'another' : scalar getpwuid($<))
		} 1 .. 10;

		await_session($_) foreach @sessions;
		close_sessions(@sessions);
	}
	is( ask($observer, 'SELECT sum(connects), sum(disconnects) FROM infra_monitor.connection_churn'),
		'600|600', 'each is counted');
	sums_agree('the sums agree');
	my $rows = ask($observer,
		q{SELECT count(*) FROM infra_monitor.connection_churn WHERE application_name LIKE 'many %'});
	cmp_ok($rows, '>', 300, 'most have a row');
	cmp_ok($rows, '<', 512, 'not all');
	is( ask($observer, q{SELECT count(*) FROM infra_monitor.connection_churn WHERE datname IS NULL}),
		'1',
		'there is a row for the others');
	is(churn_of('other'), join('|', (600 - $rows) x 2, 0), 'who are in it');
	ok(churn_of('other', 'session_time') > 0, 'with their time');

	# who has a place keeps it
	close_sessions(open_session($node, application_name => 'rate'));
	is(churn_of('rate'), '1|1|0', 'a kind that was there before');
	sums_agree('the sums agree still');
	times_agree('the times, too');
};

close_sessions($observer);
$node->stop;
done_testing();
