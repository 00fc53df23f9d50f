# History of the pool where, or while, no samples are stored: it is made of
# those in shared memory, and nothing is counted twice.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server(
	'primary',
	init => [ allows_streaming => 1 ],
	conf => "max_connections = 40\ninfra_monitor.database = 'home'");
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE home');
$node->safe_psql($_, 'CREATE EXTENSION infra_monitor CASCADE')
  foreach qw(home postgres);
wait_for_sample($node, 'samples are stored', 'home');

# Lets clients be refused, and waits until the sampler must have seen it.
sub refuse
{
	my ($n, $name) = @_;

	foreach (1 .. $n)
	{
		my $session = begin_session($node, database => 'absent');
		is(await_session($session), 'refused', "$name: a client is refused");
	}
	wait_for_ring($node, $name);
	return;
}

# Waits for two samples in shared memory that are younger than this call: the
# sampler may be at work on the first of them now.
sub wait_for_ring
{
	my ($server, $name) = @_;
	my $now = $server->safe_psql('postgres', 'SELECT clock_timestamp()');

	wait_for($server,
		"SELECT count(*) >= 2 FROM infra_monitor.sample_ring() WHERE at > '$now'",
		"$name: the sampler looks");
	return;
}

# What the history of the last hour says of refusals, for a step.
sub refusals
{
	my ($database, $step) = @_;

	return $node->safe_psql($database,
		"SELECT sum(rejected) FROM infra_monitor.pool_history(now() - interval '1 hour', now() + interval '1 minute', '$step')"
	);
}

#
# The home database goes away and comes back
#
wait_for_ring($node, 'before');
refuse(3, 'before');

$node->safe_psql('postgres', 'ALTER DATABASE home ALLOW_CONNECTIONS false');
end_sampler($node);
wait_for($node,
	"SELECT state = 'waiting for database' FROM infra_monitor.sampler_status",
	'away: the sampler waits');
wait_for_ring($node, 'away');
refuse(5, 'away');

$node->safe_psql('postgres', 'ALTER DATABASE home ALLOW_CONNECTIONS true');
wait_for_sample($node, 'back: samples are stored', 'home');
refuse(2, 'back');
wait_for_sample($node, 'back: they are stored', 'home');

is( $node->safe_psql('postgres',
		'SELECT rejected_total FROM infra_monitor.pool_pressure'),
	10,
	'clients were refused');
foreach my $step ('1 second', '3 seconds', '1 hour')
{
	is(refusals('home', $step), 10, "history by $step has all refusals once");
}
cmp_ok($node->safe_psql('home', 'SELECT sum(rejected) FROM infra_monitor.samples'),
	'>=', 10, 'samples know them, too, but not when they were');

# when the sampler had to be started anew, nobody looked
is( $node->safe_psql('home', <<'SQL'),
SELECT max(bucket - before) > interval '3 seconds' FROM (
	SELECT bucket, lag(bucket) OVER (ORDER BY bucket) AS before
	FROM infra_monitor.pool_history(now() - interval '1 hour', now(), '1 second')) h
SQL
	't',
	'the gap can be seen');

#
# Another database
#
is($node->safe_psql('postgres', 'SELECT count(*) FROM infra_monitor.samples'),
	0, 'another database: it has no samples');
is(refusals('postgres', '1 second'), 10, 'another database: it has history');
like($node->safe_psql('postgres', 'SELECT infra_monitor.pool_chart()'),
	qr/ refused: 10\n.*\n *0 \+[ -]*!/s, 'another database: there is a picture');

#
# A standby has history of its own
#
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
my @sessions = map { open_session($standby) } 1 .. 20;
wait_for_ring($standby, 'standby');
$node->wait_for_catchup('standby');
is( $standby->safe_psql('home',
		'SELECT count(*) > 0, max(used_connections) < 20 FROM infra_monitor.samples'),
	't|t',
	'standby: samples are those of the primary');
is( $standby->safe_psql('home',
		"SELECT max(used_max) >= 20 FROM infra_monitor.pool_history(now() - interval '1 hour')"
	),
	't',
	'standby: the history is its own');

close_sessions(@sessions);
$standby->stop;
$node->stop;

done_testing();
