# Health checks whose faults take long: a storm of connections, told from what
# is usual.
#
# What is usual is known after ten minutes.  INFRA_MONITOR_STORM=full waits for
# them; otherwise the check believes that it knows after twenty seconds, and all
# else of it is as it is.

use strict;
use warnings;

use InfraMonitor;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $full = ($ENV{INFRA_MONITOR_STORM} // '') eq 'full';
my $node = new_server('storm', conf => <<'CONF');
max_connections = 40
infra_monitor.slow_query_threshold = -1
CONF
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION infra_monitor CASCADE;
CREATE ROLE stormy LOGIN;
SQL
my $admin = open_session($node);

ask($admin, <<'SQL') unless $full;
DO $$
DECLARE
	definition text := pg_get_functiondef('infra_monitor.check_connection_storm()'::regprocedure);
BEGIN
	IF definition NOT LIKE '%r.slots >= 60%r.slots >= 60%' THEN
		RAISE EXCEPTION 'the check is another one';
	END IF;
	EXECUTE replace(definition, 'r.slots >= 60', 'r.slots >= 2');
END $$
SQL

# Waits, without a connection of our own for each look.
sub becomes
{
	my ($status, $name) = @_;
	my $seconds = $full ? 900 : $PostgreSQL::Test::Utils::timeout_default;

	for (1 .. 5 * $seconds)
	{
		last if status() eq $status;
		select undef, undef, undef, 0.2;
	}
	return is(status(), $status, $name)
	  || diag ask($admin, 'SELECT * FROM infra_monitor.check_connection_storm()');
}

sub status
{
	return ask($admin,
		"SELECT status FROM infra_monitor.evaluate_checks('pool') WHERE name = 'connection_storm'");
}

sub threshold
{
	my ($warning, $critical) = @_;

	ask($admin, <<"SQL");
INSERT INTO infra_monitor.health_threshold_overrides (check_name, warning, critical)
VALUES ('connection_storm', $warning, $critical)
ON CONFLICT (check_name) DO UPDATE SET warning = $warning, critical = $critical
SQL
	return;
}

is(status(), 'unknown', 'what is usual is not known at first');
becomes('ok', 'it is known, and nobody connects');
# the default is ten times what is usual, and once a second at least is that
threshold('NULL', 100_000);

# connects as fast as it can
my $script = PostgreSQL::Test::Utils::tempdir('storm') . '/one.sql';
append_to_file($script, "SELECT 1;\n");
my $storm = IPC::Run::start(
	[
		'pgbench', '--no-vacuum', '--connect', '-c', '4', '-T', '600', '-f', $script,
		$node->connstr('postgres') . ' user=stormy'
	],
	'>', '/dev/null', '2>', '/dev/null');
becomes('warning', 'a storm');
like(
	ask($admin, 'SELECT message FROM infra_monitor.check_connection_storm()'),
	qr/^\d+(\.\d)? connections a second in the last 10 seconds, \d+(\.\d+)? usually; most are of role "stormy": \d+$/,
	'and whose');
threshold('NULL', 10);
becomes('critical', 'a storm beyond what is allowed');
wait_in_session($admin,
	"SELECT status IN ('warning', 'critical') FROM infra_monitor.health_checks WHERE name = 'connection_storm'",
	'the sampler sees it, too');
$storm->kill_kill;
becomes('ok', 'nobody connects any more');

close_sessions($admin);
$node->stop;
done_testing();
