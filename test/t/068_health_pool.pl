# Health checks of the pool, and of who watches: each is ok, sees its fault, and
# is ok again.  Those that look further back or ahead are in 043_leak.pl (leaks
# and forecasts), 066_health_queries.pl and 069_health_cases.pl.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('pool', conf => <<'CONF');
max_connections = 23
superuser_reserved_connections = 3
infra_monitor.slow_query_threshold = -1
CONF
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION infra_monitor CASCADE;
CREATE ROLE limited LOGIN CONNECTION LIMIT 5;
CREATE DATABASE limited CONNECTION LIMIT 5;
CREATE TABLE t (id int PRIMARY KEY);
SQL
my $admin = open_session($node);

sub becomes
{
	my ($check, $status, $name) = @_;

	wait_in_session($admin, "SELECT status = '$status' FROM infra_monitor.evaluate_checks() WHERE name = '$check'",
		"$check: $name");
}

sub threshold
{
	my ($check, $warning, $critical) = @_;

	ask($admin, <<"SQL");
INSERT INTO infra_monitor.health_threshold_overrides (check_name, warning, critical)
VALUES ('$check', $warning, $critical)
ON CONFLICT (check_name) DO UPDATE SET warning = $warning, critical = $critical
SQL
}

# twenty slots, one of them ours
becomes('connections_used', 'ok', 'one');
my @sessions = map { open_session($node) } 1 .. 15;
becomes('connections_used', 'warning', 'sixteen of twenty');
push @sessions, map { open_session($node) } 1 .. 3;
becomes('connections_used', 'critical', 'nineteen of twenty');
close_sessions(@sessions);
becomes('connections_used', 'ok', 'one again');

# limits
foreach my $of ([ 'role_limit', 'user' ], [ 'database_limit', 'database' ])
{
	my ($check, $parameter) = @$of;

	becomes($check, 'ok', 'none');
	my @held = map { open_session($node, $parameter => 'limited') } 1 .. 4;
	becomes($check, 'warning', 'four of five');
	push @held, open_session($node, $parameter => 'limited');
	becomes($check, 'critical', 'five of five');
	close_sessions(@held);
	becomes($check, 'ok', 'none again');
}

# somebody is refused
ask($admin, "SELECT infra_monitor.reset('pool')");
becomes('connections_rejected', 'ok', 'none');
ask($admin, 'ALTER ROLE limited CONNECTION LIMIT 0');
sub knock
{
	my $session = begin_session($node, user => 'limited');

	is(await_session($session), 'refused', 'refused');
}
knock();
becomes('connections_rejected', 'warning', 'one');
threshold('connections_rejected', 1, 2);
knock();
becomes('connections_rejected', 'critical', 'two');
ask($admin, "SELECT infra_monitor.reset('pool')");
becomes('connections_rejected', 'ok', 'counted anew');

# a transaction that is left open; the same is a long one
foreach my $check ('idle_in_transaction', 'long_transactions')
{
	threshold($check, '0.3', 3600);
	becomes($check, 'ok', 'none');
	my $forgotten = open_session($node);
	ask($forgotten, 'BEGIN; SELECT txid_current()');
	becomes($check, 'warning', 'one');
	threshold($check, '0.1', '0.3');
	becomes($check, 'critical', 'for longer');
	ask($forgotten, 'ROLLBACK');
	becomes($check, 'ok', 'none any more');
	close_sessions($forgotten);
}

# one waits for another
threshold('lock_waits', '0.3', 3600);
becomes('lock_waits', 'ok', 'none');
my ($holder, $waiter) = map { open_session($node) } 1 .. 2;
ask($holder, 'BEGIN; LOCK TABLE t');
send_query($waiter, 'SELECT * FROM t');
becomes('lock_waits', 'warning', 'one');
threshold('lock_waits', '0.1', '0.3');
becomes('lock_waits', 'critical', 'for longer');
ask($holder, 'ROLLBACK');
answer_of($waiter);
becomes('lock_waits', 'ok', 'none any more');
close_sessions($holder, $waiter);

# nobody watches
becomes('sampler_alive', 'ok', 'alive');
threshold('sampler_alive', 'NULL', 3600);
my $pid = stop_sampler($admin);
becomes('sampler_alive', 'warning', 'stopped for three intervals');
threshold('sampler_alive', 'NULL', 'NULL');
becomes('sampler_alive', 'critical', 'and for ten');
kill 'CONT', $pid;
becomes('sampler_alive', 'ok', 'goes on');

# pg_stat_statements
becomes('pg_stat_statements_loaded', 'ok', 'loaded');
close_sessions($admin);
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'infra_monitor'");
$node->restart;
$admin = open_session($node);
becomes('pg_stat_statements_loaded', 'warning', 'not loaded');
close_sessions($admin);
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_stat_statements,infra_monitor'");
$node->restart;
$admin = open_session($node);
becomes('pg_stat_statements_loaded', 'ok', 'loaded again');
close_sessions($admin);

$node->stop;
done_testing();
