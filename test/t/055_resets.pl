# Counters that are reset while all others read and write them: by the sampler,
# by take_sample(), and by whoever looks.  No process crashes, and nothing fails.

use strict;
use warnings;

use InfraMonitor;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('resets', conf => <<'CONF');
infra_monitor.activity_interval = 100ms
infra_monitor.statement_interval = 1s
max_connections = 30
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
my $log = log_end($node);
my $restarts = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time(), pid FROM infra_monitor.sampler_status');

# Everything that can be read, but what writes.
my $views = $node->safe_psql('postgres', <<'SQL');
SELECT string_agg(format('SELECT count(*) FROM (SELECT * FROM %I.%I OFFSET 0) v;', schemaname, viewname), E'\n' ORDER BY viewname)
FROM pg_views WHERE schemaname = 'infra_monitor'
SQL
like($views, qr/wait_profile/, 'there are views');

my %scripts = (
	reset => 'SELECT infra_monitor.reset();',
	sample => 'SELECT infra_monitor.take_sample();',
	look => "$views\nSELECT infra_monitor.health();\nSELECT infra_monitor.pool_size_advice();");
my @clients;
foreach my $name (sort keys %scripts)
{
	my $file = $node->basedir . "/$name.sql";
	my ($out, $error);

	append_to_file($file, "$scripts{$name}\n");
	push @clients, [ $name,
		IPC::Run::start(
			[   'pgbench', '--no-vacuum', '--file' => $file, '--client' => 2,
				'--time' => 5, $node->connstr('postgres') ],
			'>' => \$out, '2>' => \$error), \$error ];
}
foreach my $client (@clients)
{
	my ($name, $run, $error) = @$client;

	ok($run->finish, "$name: nothing has failed") or diag $$error;
}

is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time(), pid FROM infra_monitor.sampler_status'),
	$restarts, 'the sampler is still the same');
is(log_count($node, 'terminated by signal|PANIC', $log), 0, 'no process has crashed');
done_testing();
