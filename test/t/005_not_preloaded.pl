# Servers that lack something: the library is not preloaded, or only it is, or
# there is no slot for the sampler.  Whatever can work does, the rest says what
# is missing.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('lacking', conf => "shared_preload_libraries = ''\n");
$node->start;

#
# Nothing is preloaded
#
my ($status, $out, $said) =
  $node->psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
is($status, 0, 'the extension is created without preloading');
like($said, qr/WARNING:  infra_monitor is not loaded/, 'with a warning');
like($said, qr/HINT:  Add .*infra_monitor.* to "shared_preload_libraries"/,
	'and a hint');

# What needs no shared memory of ours works.
my @independent =
  qw(pool_usage running_queries lock_waits health_thresholds health_threshold_overrides production_readiness
  health_checks health_score samples health() health_status() evaluate_health()
  readiness() readiness_document() collect_facts() evaluate_checks() preloaded() sessions() system_usage() system_state() limit_usage() trend()
  idle_threshold() terminate_statement() prevention_advice());
my @dependent =
  qw(pool_pressure pool_rejections recent_rejections sampler_status slow_queries
  shared_memory() sampler_state() sampler_costs() sampler_drops() pool_counts() pool_status() dashboard() report() report_executions() report_slow() report_blame()
  connection_churn connection_times connection_rate() recent_growth() database_checks database_findings() database_round() worst_database()
  lock_blame slow_query_log slow_query_log() statement_counts() sample_ring() pool_forecast connection_leaks forecasts() leaks());

my ($results, $everything) = read_everything($node, 'postgres');
is($results->{$_}[0], '00000', "not preloaded: $_ works") or diag $results->{$_}[1]
  foreach @independent;
is($results->{$_}[0], '55000', "not preloaded: $_ does not")
  foreach @dependent;

# ... and all the rest does one or the other
my $errors = 0;
foreach my $name (sort keys %$results)
{
	my ($sqlstate, $message) = @{ $results->{$name} };

	next if $sqlstate eq '00000';
	$errors++;
	is($sqlstate, '55000', "not preloaded: SQLSTATE of $name");
	like($message, qr/^(?:infra_monitor|pg_stat_statements) must be loaded via "shared_preload_libraries"$/,
		"not preloaded: error of $name");
}
my @hints = $everything =~ /^HINT:  Add pg_stat_statements and infra_monitor to "shared_preload_libraries" in postgresql.conf and restart the server\.$/mg;
is(scalar @hints, $errors, 'each error has the hint');

# those that change something
foreach my $call ('take_sample()', 'take_statement_sample()', 'reset()', "reset('pool')")
{
	($status, $out, $said) = $node->psql('postgres',
		"\\set VERBOSITY verbose\nSELECT infra_monitor.$call");
	like(
		$said,
		qr/ERROR:  55000: infra_monitor must be loaded via.*HINT:  Add pg_stat_statements and infra_monitor/s,
		"not preloaded: $call does not work");
}
$node->safe_psql('postgres',
	"INSERT INTO infra_monitor.health_threshold_overrides (check_name, warning) VALUES ('lock_waits', 10); DELETE FROM infra_monitor.health_threshold_overrides;"
);
($status, $out, $said) = $node->psql('postgres',
	"INSERT INTO infra_monitor.health_threshold_overrides (check_name) VALUES ('nonsense')");
like($said, qr/ERROR:  health check "nonsense" does not exist/,
	'not preloaded: overrides are checked');

# The document says what is not known, and is no worse for it.
is( $node->safe_psql('postgres',
		"SELECT status, message FROM infra_monitor.health_checks WHERE name = 'connections_used'"
	),
	'unknown|infra_monitor must be loaded via "shared_preload_libraries"',
	'not preloaded: a check that needs it is unknown');
is( $node->safe_psql('postgres',
		"SELECT status FROM infra_monitor.health_checks WHERE name = 'xid_wraparound'"
	),
	'ok',
	'not preloaded: others are known');
is( $node->safe_psql('postgres',
		"SELECT status FROM infra_monitor.health_checks WHERE name = 'pg_stat_statements_loaded'"
	),
	'warning',
	'not preloaded: pg_stat_statements is missing');
is( $node->safe_psql('postgres',
		"SELECT jsonb_typeof(h->'services'->'database'->'pool'), h->>'role', (h->>'age_ms')::int < 60000 FROM infra_monitor.health() h"
	),
	'null|primary|t',
	'not preloaded: the document is evaluated now');

# Parameters are not known, and not in the way.
is($node->psql('postgres', "SET infra_monitor.slow_query_threshold = '5s'; SELECT * FROM infra_monitor.running_queries"),
	0, 'not preloaded: parameters are placeholders');

# Loaded by hand it cannot do more, and does no harm.
is($node->psql('postgres', "LOAD 'infra_monitor'; SELECT * FROM infra_monitor.pool_usage; DROP DATABASE IF EXISTS missing"),
	0, 'not preloaded: LOAD changes nothing');
is($node->safe_psql('postgres', 'SELECT infra_monitor.preloaded()'), 'f',
	'not preloaded: and it knows');
$node->safe_psql('postgres', "ALTER SYSTEM SET session_preload_libraries = 'infra_monitor'");
$node->reload;
is( $node->safe_psql('postgres', 'CREATE DATABASE x; DROP DATABASE x; SELECT infra_monitor.preloaded()'),
	'f', 'not preloaded: nor does session_preload_libraries');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET session_preload_libraries');

#
# Only we are preloaded
#
$node->append_conf('postgresql.conf',
	"shared_preload_libraries = 'infra_monitor'\n");
$node->restart;
wait_for_sample($node, 'without pg_stat_statements the sampler samples');
($results, $everything) = read_everything($node, 'postgres');
foreach my $name (sort keys %$results)
{
	my ($sqlstate, $message) = @{ $results->{$name} };

	if ($name =~ /^(?:statement_stats|pg_stat_statements_evictions)\(\)$/)
	{
		is($sqlstate, '55000', "without pg_stat_statements: SQLSTATE of $name");
		is($message,
			'pg_stat_statements must be loaded via "shared_preload_libraries"',
			"without pg_stat_statements: error of $name");
	}
	else
	{
		is($sqlstate, '00000', "without pg_stat_statements: $name") or diag $message;
	}
}
is(scalar(() = $everything =~ /^HINT:  Add pg_stat_statements/mg),
	2, 'each error has the hint');
is( $node->safe_psql('postgres', 'SELECT sum(calls) > 0, count(p95_exec_time) > 0, count(rows), count(query) FROM infra_monitor.slow_queries'),
	't|t|0|0', 'without pg_stat_statements: slow_queries shows what we have');
wait_for($node,
	"SELECT status = 'warning' AND message LIKE '%not loaded%' AND hint LIKE '%shared_preload_libraries%' FROM infra_monitor.health_checks WHERE name = 'pg_stat_statements_loaded'",
	'without pg_stat_statements: the check warns');
is(status_of($node, 'last_error'), '', 'without pg_stat_statements: no task has failed');

# The other order of loading is as good.
$node->append_conf('postgresql.conf',
	"shared_preload_libraries = 'infra_monitor,pg_stat_statements'\n");
$node->restart;
wait_for_sample($node, 'loaded before pg_stat_statements the sampler samples');
is($node->psql('postgres', 'SELECT * FROM infra_monitor.slow_queries'),
	0, 'and statements can be read');

#
# No slot for the sampler
#
foreach my $slots (0, 1)
{
	# the launcher of logical replication comes first
	$node->append_conf('postgresql.conf', "max_worker_processes = $slots\n");
	my $log = log_end($node);
	$node->restart;
	cmp_ok(log_count($node, '\[\d+\] LOG:  too many background workers', $log),
		'>', 0, "max_worker_processes = $slots: PostgreSQL says so");
	is( $node->safe_psql('postgres',
			'SELECT pid, state, next_tick, last_tick FROM infra_monitor.sampler_status'
		),
		'|not running||',
		"max_worker_processes = $slots: so does the status");
	is( $node->safe_psql('postgres', <<'SQL'),
SELECT h->>'status' IN ('healthy', 'degraded'),
	(h->>'timestamp')::timestamptz > statement_timestamp() - interval '1 minute',
	(SELECT c->>'message' FROM jsonb_array_elements(h->'checks') c WHERE c->>'name' = 'sampler_alive')
FROM infra_monitor.health() h
SQL
		't|t|the sampler is not running; last sample never',
		"max_worker_processes = $slots: health is evaluated");
	wait_for(
		$node,
		"SELECT status IN ('warning', 'critical') FROM infra_monitor.health_checks WHERE name = 'sampler_alive'",
		"max_worker_processes = $slots: it misses the sampler");

	($results, $everything) = read_everything($node, 'postgres');
	is_deeply(
		{ map { $_ => $results->{$_} } grep { $results->{$_}[0] ne '00000' } keys %$results },
		{},
		"max_worker_processes = $slots: everything can be read");
	is($node->psql('postgres', 'SELECT infra_monitor.take_sample()'),
		0, "max_worker_processes = $slots: a sample can be taken");
	is($node->psql('postgres', "CREATE DATABASE x TEMPLATE postgres"),
		0, "max_worker_processes = $slots: nobody is waited for");
	$node->safe_psql('postgres', 'DROP DATABASE x');
}

$node->stop;
done_testing();
