# What the TAP tests share: servers with infra_monitor preloaded, and waiting
# for conditions.

package InfraMonitor;

use strict;
use warnings;

use Exporter qw(import);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(new_server wait_for wait_for_sample status_of log_count);

# A configured server that has not been started: infra_monitor preloaded behind
# pg_stat_statements, one sample and one evaluation a second.  Options: conf
# (more lines of configuration), init (arguments of init).
sub new_server
{
	my ($name, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(@{ $options{init} || [] });
	$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'pg_stat_statements,infra_monitor'
infra_monitor.sample_interval = 1s
infra_monitor.health_interval = 1s
log_min_messages = warning
CONF
	$node->append_conf('postgresql.conf', $options{conf}) if $options{conf};
	return $node;
}

# Waits until the query gives the expected answer (true by default), and passes
# or fails the test "name".  Not longer than PostgreSQL's own tests wait.
sub wait_for
{
	my ($node, $query, $name, $expected, $database) = @_;

	return ok( $node->poll_query_until(
			$database // 'postgres', $query, $expected // 't'),
		$name);
}

# Waits for a sample that is younger than this call.
sub wait_for_sample
{
	my ($node, $name, $database) = @_;
	my $now = $node->safe_psql('postgres', 'SELECT clock_timestamp()');

	return wait_for($node,
		"SELECT EXISTS (SELECT FROM infra_monitor.samples WHERE sampled_at > '$now')",
		$name, 't', $database);
}

# A column of sampler_status.
sub status_of
{
	my ($node, $column, $database) = @_;

	return $node->safe_psql($database // 'postgres',
		"SELECT $column FROM infra_monitor.sampler_status");
}

# How many lines of the server log, from an offset on, match.
sub log_count
{
	my ($node, $pattern, $offset) = @_;
	my @lines = split /\n/, substr(slurp_file($node->logfile), $offset // 0);

	return scalar grep { /$pattern/ } @lines;
}

1;
