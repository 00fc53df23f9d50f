# A client that leaks connections, two thirds of them by TCP, beside a healthy
# pool: who is named, and when will connections run out?
#
# INFRA_MONITOR_LEAK=full leaks on until the server refuses, with 1000
# connections (five minutes); otherwise a third of 300 is enough.

use strict;
use warnings;

use InfraMonitor;
use Test::More;
use Time::HiRes qw(time usleep);

my $full = ($ENV{INFRA_MONITOR_LEAK} // '') eq 'full';
my $max_connections = $full ? 1000 : 300;
my $rate = $full ? 5 : 3;       # connections leaked a second
my $calm = $full ? 120 : 22;    # seconds without a leak
my $limit = $max_connections - 3;

my $node = new_server(
	'leak',
	conf => <<CONF);
listen_addresses = '127.0.0.1'
max_connections = $max_connections
superuser_reserved_connections = 3
shared_buffers = 8MB
fsync = off
compute_query_id = on
infra_monitor.health_interval = 1h
infra_monitor.idle_threshold = 10s
CONF
$node->start;
$node->safe_psql('postgres', <<SQL);
CREATE EXTENSION infra_monitor CASCADE;
CREATE ROLE healthy LOGIN CONNECTION LIMIT 60;
CREATE ROLE "Leaky role" LOGIN CONNECTION LIMIT $max_connections;
CREATE ROLE watcher LOGIN IN ROLE pg_monitor;
CREATE ROLE monitor LOGIN;
GRANT USAGE ON SCHEMA infra_monitor TO monitor;
GRANT SELECT ON infra_monitor.pool_forecast, infra_monitor.connection_leaks TO monitor;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA infra_monitor TO monitor;
CREATE DATABASE leaky CONNECTION LIMIT @{[ $limit - 20 ]};
SQL

my $watcher = open_session($node, user => 'watcher', application_name => 'watcher');
my $begin = time;

# When was a connection refused for the first time?
my $refused_at;

# The session if it is accepted, or undef.
sub try_session
{
	my $session = begin_session($node, @_);

	return $session if await_session($session) eq 'ready';
	$refused_at //= time;
	return undef;
}

# A pool that is used, and breathes between 5 and 15 in 20 seconds.
my @pool;

sub breathe
{
	my $wanted = int(10.5 + 5 * sin(2 * 3.14159265 * (time - $begin) / 20));

	while (@pool < $wanted)
	{
		push @pool,
		  try_session(user => 'healthy', application_name => 'pool') // last;
	}
	close_sessions(splice @pool, $wanted) if @pool > $wanted;
	ask($_, 'SELECT 1') for @pool;
	return;
}

# By how many seconds we, and then what we lead to, were behind, on a machine that
# is busy: such a leak is not as steady as it should be.
my $late = 0;

# Lives for some seconds: five times in each "often" is called, once in each
# "each_second".  Ends early when either says so.
sub live
{
	my ($seconds, $often, $each_second) = @_;
	my $start = time;
	my $ticks = 0;

	while ($ticks < 5 * $seconds)
	{
		breathe();
		last unless $often->();
		last if ++$ticks % 5 == 0 && !$each_second->();
		my $rest = $start + $ticks / 5 - time;
		usleep(1e6 * $rest) if $rest > 0;
		$late = -$rest if -$rest > $late;
	}
	return;
}

# A row of pool_forecast: used, limit, seconds until exhaustion, slope, r2,
# observations, top contributor, window in seconds.
sub forecast
{
	my ($scope, $session) = @_;
	my @row = split /\|/, ask($session // $watcher, <<SQL), -1;
SELECT used, limit_value, extract(epoch FROM exhausted_in), slope_per_minute, r2,
	observations, top_contributor, extract(epoch FROM window_length)
FROM infra_monitor.pool_forecast WHERE scope || coalesce(' ' || name, '') = '$scope'
SQL

	return {} unless @row;
	my %row;
	@row{qw(used limit exhausted_in slope r2 observations top window)} = @row;
	return \%row;
}

sub leaks
{
	return ask($watcher,
		'SELECT string_agg(DISTINCT application_name, $$,$$) FROM infra_monitor.connection_leaks');
}

# What is read each second for a while in which nothing leaks.
sub read_calmly
{
	my ($name) = @_;
	my ($readings, $forecasts, $leaks) = (0, 0, 0);

	live($calm, sub { return 1 }, sub {
		$readings++;
		$forecasts++ if forecast('server')->{exhausted_in} ne '';
		$leaks++ if leaks() ne '';
		return 1;
	});
	note("$name: $readings readings, $forecasts forecasts, $leaks leaks");
	cmp_ok($forecasts, '<=', 0.05 * $readings, "$name: no forecast");
	is($leaks, 0, "$name: no leak");
	return;
}

# The health checks about it, as they are now.
my $checks = "SELECT string_agg(name || ' ' || status, ', ' ORDER BY name) FROM infra_monitor.evaluate_checks('pool') WHERE name IN ('connection_leak', 'exhaustion_eta')";

breathe();
read_calmly('breathing');
is($node->safe_psql('postgres', $checks), 'connection_leak ok, exhaustion_eta ok', 'nothing is wrong');

my @step = map { open_session($node, application_name => 'step') } 1 .. 10;
read_calmly('after one step up');

#
# The leak
#
my (@leaked, @forecasts, $named_after);
my $leak_begin = time;
$late = 0;
my $others_named = 0;

# connections that somebody forgets after a query
sub leak
{
	while (@leaked < $rate * (time - $leak_begin))
	{
		my $session = try_session(user => 'Leaky role', database => 'leaky',
			application_name => 'leaking', @leaked % 3 ? (tcp => 1) : ()) // last;

		ask($session, 'SELECT count(*) FROM pg_class');
		push @leaked, $session;
	}
	return !$refused_at;
}

# the database's limit would come first
$node->safe_psql('postgres', 'ALTER DATABASE leaky CONNECTION LIMIT -1') if $full;
live($full ? 400 : $limit / 3 / $rate + 20, \&leak, sub {
	my $now = forecast('server');
	my $named = leaks();

	$now->{at} = time;
	push @forecasts, $now;
	$named_after //= time - $leak_begin if $named =~ /leaking/;
	$others_named++ if $named !~ /^(leaking)?$/;
	return $full || !(defined $named_after && $now->{used} >= $limit / 3);
});

cmp_ok($named_after // 999, '<=', 120, 'the leak is named within two minutes');
note(sprintf 'named after %.0f s', $named_after // 999);
is($others_named, 0, 'nobody else is');

# when will it be: by the rate, or as it really was
my $end = $refused_at
  // $leak_begin + ($limit - 10 - @step - 1 - 1) / $rate;
my @errors;
foreach my $f (grep { $_->{exhausted_in} ne '' } @forecasts)
{
	my $rest = $end - $f->{at};

	$f->{error} = $f->{exhausted_in} / $rest - 1 if $rest > 0;
	note(sprintf '%3.0f s: %d of %d used, exhausted in %.0f s, really %.0f s (%+.1f %%), window %s',
		$f->{at} - $leak_begin, $f->{used}, $f->{limit}, $f->{exhausted_in},
		$rest, 100 * ($f->{error} // 0), $f->{window});
}
my ($third) = grep { $_->{used} >= $limit / 3 } @forecasts;
isnt($third->{exhausted_in}, '', 'a forecast while exhaustion is two thirds away');
note(sprintf 'we were late by %.1f s at most', $late);
my $tolerance = 0.15 + ($late > 1 ? $late / 20 : 0);
cmp_ok(abs($third->{error} // 9), '<=', $tolerance, 'and it is right within 15 %');
cmp_ok($third->{r2}, '>=', 0.8, 'r2');
cmp_ok($third->{observations}, '>=', 30, 'observations');
is($third->{limit}, $limit, 'limit_value is without reserved connections');

# room for what comes
close_sessions(splice @step);

# roles and databases with a limit, and who is behind it
my $admin = open_session($node);

is(ask($admin, <<'SQL'), 'server,role Leaky role,role healthy'
SELECT string_agg(concat_ws(' ', scope, name), ',' ORDER BY array_position('{server,role,database}', scope), name COLLATE "C")
FROM infra_monitor.pool_forecast
SQL
	  . ($full ? '' : ',database leaky'),
	'who has a limit and connections has a row');
is(forecast('role healthy', $admin)->{exhausted_in}, '', 'a healthy role has no end');
cmp_ok(forecast('role healthy', $admin)->{used}, '<=', 16, 'its connections');
SKIP:
{
	skip 'they rise no more', 5 if $refused_at;
	foreach my $scope ('server', 'role Leaky role', 'database leaky')
	{
		my $row = forecast($scope, $admin);

		is($row->{top}, 'leaking', "$scope: who contributes most");
		next if $scope eq 'server';
		cmp_ok(abs($row->{exhausted_in} / ($row->{limit} - $row->{used}) * $rate - 1),
			'<=', $tolerance, "$scope: when it ends");
	}
}

# the leak in full, by TCP
my $leaks = "FROM infra_monitor.connection_leaks WHERE client_addr IS NOT NULL";
my $leak = ask($admin, <<"SQL");
SELECT concat_ws('|', datname, usename, application_name, client_addr,
	idle_connections >= idle_floor AND idle_floor > 0, oldest_idle > '10s',
	last_queryid IS NOT NULL, r2 > 0.8, observations >= 30)
$leaks
SQL
SKIP:
{
	skip 'it leaks no more', 10 if $refused_at;
	is($leak, 'leaky|Leaky role|leaking|127.0.0.1|t|t|t|t|t', 'the leak in full');
	like(ask($admin, $checks), qr/^connection_leak (warning|critical), exhaustion_eta critical$/, 'health checks say so');
	my $growth = ask($admin, "SELECT growth_per_hour $leaks");

	cmp_ok(abs($growth / 3600 / ($rate * 2 / 3) - 1), '<=', $tolerance, 'how fast it grows');
	# a role that has a limit keeps it; another one may get one
	my $prevention = "SELECT prevention $leaks";
	is(ask($admin, "SELECT prevention ~ 'LIMIT' $leaks"),
		'f', 'its own limit is not replaced');
	ask($admin, 'ALTER ROLE "Leaky role" CONNECTION LIMIT -1');
	ok( ask($admin, $prevention) =~
		  /^ALTER ROLE "Leaky role" SET idle_session_timeout = '10s';\nALTER ROLE "Leaky role" CONNECTION LIMIT (\d+);\n-- in the application/
		  && $1 < @leaked / 2,
		'how it is prevented');

	# who is dropped keeps the connections
	ask($admin, 'DROP ROLE "Leaky role"');
	like(ask($admin, "SELECT usename IS NULL, prevention $leaks"),
		qr/^t\|-- in the application/, 'also of a role that has been dropped');

	# the texts are for those who may see them
	my $monitor = open_session($node, user => 'monitor');
	is( ask($monitor, 'SELECT concat_ws($$|$$, application_name, client_addr, last_queryid, terminate, idle_connections > 0) FROM infra_monitor.connection_leaks LIMIT 1'),
		'<insufficient privilege>|t', 'texts of other roles are hidden');
	is(forecast('server', $monitor)->{top}, '<insufficient privilege>',
		'the contributor, too');
	close_sessions($monitor);

	# the statement ends twenty, the oldest, and nothing else
	my $terminate = ask($admin, "SELECT terminate $leaks");
	is(ask($admin, "SELECT count(*) FROM ($terminate) AS t"), 20, 'terminate ends twenty');
	is(scalar(grep { defined try_ask($leaked[$_], 'SELECT 1') } grep { $_ % 3 } 0 .. 29), 0,
		'they are the first that were leaked');
}
close_sessions(@pool, @step, @leaked, $watcher);
close_sessions($admin);
@leaked = ();    # and their sockets

#
# The ring
#
is($node->safe_psql('postgres', <<'SQL'), 't|t|t|t|t', 'samples are in order and whole');
SELECT bool_and(at > before) FILTER (WHERE before IS NOT NULL), count(*) BETWEEN 60 AND 360,
	max(used) > 50, bool_and(used >= active + idle + idle_in_transaction - 2),
	sum(connects) <= max(connects_total) - min(connects_total)
FROM (SELECT *, lag(at) OVER () AS before FROM infra_monitor.sample_ring()) r
SQL

wait_for($node, $checks, 'nothing is wrong any more', 'connection_leak ok, exhaustion_eta ok');

# a reset makes no difference negative
$node->safe_psql('postgres', 'SELECT infra_monitor.reset()');
wait_for($node, <<'SQL', 'a difference across a reset is not known');
SELECT count(*) > 1 AND (array_agg(connects ORDER BY at))[1] IS NULL AND min(connects) >= 0
FROM infra_monitor.sample_ring() WHERE at > (SELECT stats_reset FROM infra_monitor.pool_pressure)
SQL

# off: it stands still, and says nothing about now
$node->append_conf('postgresql.conf', 'infra_monitor.enabled = off');
$node->reload;
wait_for($node, "SELECT state = 'disabled' FROM infra_monitor.sampler_status", 'disabled');
my $ring = $node->safe_psql('postgres', "SELECT max(at) FROM infra_monitor.sample_ring()");
wait_for($node, "SELECT clock_timestamp() > '$ring'::timestamptz + interval '6 seconds'", 'six intervals later');
is($node->safe_psql('postgres', 'SELECT max(at) FROM infra_monitor.sample_ring()'),
	$ring, 'no samples while disabled');
is($node->safe_psql('postgres', 'SELECT count(exhausted_in), count(*) FROM infra_monitor.pool_forecast WHERE scope = $$server$$'),
	'0|1', 'nothing is known then');
$node->append_conf('postgresql.conf', 'infra_monitor.enabled = on');
$node->reload;
wait_for($node, "SELECT count(*) = 1 FROM infra_monitor.sample_ring() WHERE at > '$ring' AND connects IS NULL",
	'the gap has no difference');

# more groups than there is room for: some are not followed, and counted
sub dropped
{
	return status_of($node, "(drops ->> 'series')::int");
}

sub crowd
{
	my ($name, $n) = @_;
	return map { open_session($node, application_name => "$name $_") } 1 .. $n;
}

my @crowd = crowd('one', 270);
wait_for($node, "SELECT (drops ->> 'series')::int > 0 FROM infra_monitor.sampler_status",
	'groups without room are counted');
close_sessions(@crowd);

# those that are gone make room
@crowd = crowd('two', 250);
my $samples = "SELECT count(*) > 1 FROM infra_monitor.sample_ring() WHERE at > '"
  . $node->safe_psql('postgres', 'SELECT clock_timestamp()') . "'";
wait_for($node, $samples, 'they have been seen');
my $dropped = dropped();
$samples =~ s/> 1/> 3/;
wait_for($node, $samples, 'and again');
is(dropped(), $dropped, 'groups that have ended make room for others');
close_sessions(@crowd);

# a restart begins anew, and needs no home database
$node->append_conf('postgresql.conf', "infra_monitor.database = 'missing'");
$node->restart;
wait_for($node, 'SELECT count(*) > 1 AND min(at) > pg_postmaster_start_time() FROM infra_monitor.sample_ring()',
	'a new ring, without a home database');
is($node->safe_psql('postgres', "SELECT (drops ->> 'series')::int, (cost ->> 'series_seconds')::float8 > 0 FROM infra_monitor.sampler_status"),
	'0|t', 'its cost and its drops');

$node->stop;
done_testing();
