# Parameters: the sampler follows changes without a restart, wrong values are
# refused, extreme ones work.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server(
	'configuration',
	init => [ extra => [ '--encoding=UTF8', '--no-locale' ] ],
	conf => <<'CONF');
infra_monitor.database = 'home'
infra_monitor.enabled = off
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE home');
$node->safe_psql($_, 'CREATE EXTENSION infra_monitor CASCADE')
  foreach qw(home postgres);

# Changes parameters for the running server.
sub configure
{
	my (%settings) = @_;

	$node->safe_psql('postgres',
		join('', map { "ALTER SYSTEM SET $_ = '$settings{$_}';\n" }
			  sort keys %settings)
		  . 'SELECT pg_reload_conf()');
	return;
}

# Is the sampler connected to a database, and to which?
my $database_of_sampler =
  "SELECT coalesce(datname, '') FROM pg_stat_activity WHERE backend_type = 'infra_monitor sampler'";

#
# Off from the start
#
wait_for($node, "SELECT state = 'disabled' FROM infra_monitor.sampler_status",
	'started with enabled = off: disabled');
is($node->safe_psql('postgres', $database_of_sampler),
	'', 'and in no database');
configure('infra_monitor.enabled' => 'on');
my $time = seconds { wait_for_sample($node, 'turned on: samples', 'home') };
cmp_ok($time, '<', 15, sprintf('without a restart: %.1f s', $time));

#
# Off and on again
#
my $log = log_end($node);
configure('infra_monitor.enabled' => 'off');
wait_for($node, "SELECT state = 'disabled' FROM infra_monitor.sampler_status",
	'turned off: disabled');
is(log_count($node, 'LOG:  infra_monitor sampler leaves database "home": infra_monitor.enabled is off', $log),
	1, 'and says so once');
is($node->safe_psql('postgres', $database_of_sampler), '', 'it has left its database');
is(status_of($node, 'next_tick'), '', 'there is no next tick');
is($node->safe_psql('postgres', 'SELECT infra_monitor.preloaded(), count(*) FROM infra_monitor.pool_pressure'),
	't|1', 'views can still be read');

# The home database is nobody's concern now.
my $rows = status_of($node, 'rows_stored');
$node->safe_psql('postgres', $_)
  foreach ('CREATE DATABASE copy TEMPLATE home', 'DROP DATABASE home', 'CREATE DATABASE home', 'DROP DATABASE copy');
$node->safe_psql('home', 'CREATE EXTENSION infra_monitor CASCADE');

# Time goes by, as can be seen from the age of the evaluation.
wait_for($node,
	"SELECT h->>'status' <> 'healthy' AND (h->>'age_ms')::int > 2000 AND (SELECT c->>'status' FROM jsonb_array_elements(h->'checks') c WHERE c->>'name' = 'sampler_alive') = 'critical' FROM infra_monitor.health() h",
	'health shows that nobody looks any more');
is($node->safe_psql('home', 'SELECT count(*) FROM infra_monitor.samples'),
	0, 'no row is written');
is(status_of($node, 'rows_stored'), $rows, 'and none is counted');
is_deeply(
	[
		grep { !/leaves database|exited with exit code 1|parameter ".*" changed/ }
		  worker_log($node, $log)
	],
	[],
	'nor does it log anything');

configure('infra_monitor.enabled' => 'on');
$time = seconds { wait_for_sample($node, 'on again: samples', 'home') };
cmp_ok($time, '<', 15, sprintf('without a restart: %.1f s', $time));
is( $node->safe_psql('home',
		'SELECT commits IS NULL AND deadlocks IS NULL, connects IS NOT NULL FROM infra_monitor.samples ORDER BY sampled_at LIMIT 1'
	),
	't|t',
	'differences over all databases are not known when one was dropped meanwhile');

#
# Another home database
#
$log = log_end($node);
configure('infra_monitor.database' => 'postgres');
wait_for_sample($node, 'another home database: samples there', 'postgres');
is($node->safe_psql('postgres', $database_of_sampler),
	'postgres', 'the sampler has moved');
is(log_count($node, 'sampler leaves database "home": infra_monitor.database was changed', $log),
	1, 'and says so once');
is($node->psql('postgres', 'DROP DATABASE home'), 0, 'the old one is free');

#
# Intervals
#
my $pid = status_of($node, 'pid');
configure('infra_monitor.sample_interval' => '1h');
wait_for($node,
	"SELECT next_tick > now() + interval '50 minutes' FROM infra_monitor.sampler_status",
	'a longer interval takes effect');
configure('infra_monitor.sample_interval' => '1s');
$time = seconds { wait_for_sample($node, 'a shorter one does') };
cmp_ok($time, '<', 20, sprintf('at once: %.1f s', $time));
my $moment = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
configure('infra_monitor.activity_interval' => '0');
wait_for(
	$node,
	"SELECT avg_active IS NULL AND commits IS NOT NULL FROM infra_monitor.samples WHERE sampled_at > '$moment' ORDER BY sampled_at DESC LIMIT 1",
	'activity turned off: not known');
configure('infra_monitor.activity_interval' => '100ms');
wait_for(
	$node,
	"SELECT avg_active IS NOT NULL FROM infra_monitor.samples ORDER BY sampled_at DESC LIMIT 1",
	'activity turned on: known');
is(status_of($node, 'pid'), $pid, 'all that is no reason to restart');

#
# Wrong values
#
my $long = 'x' x 64;
my $long_bytes = "\xc3\xa9" x 32;
foreach my $case (
	[ "infra_monitor.database = ''", qr/DETAIL:  The name is empty\.\nHINT:  Set it to the name/ ],
	[ "infra_monitor.database = '$long'", qr/DETAIL:  The name has more than 63 bytes\.\nHINT:  Set it to the name/ ],
	[ "infra_monitor.database = '$long_bytes'", qr/DETAIL:  The name has more than 63 bytes\./ ],
	[ "infra_monitor.sample_interval = '1ms'", qr/1 ms is outside the valid range .*\(1000(?: ms)? \.\. 3600000(?: ms)?\)/ ],
	[ "infra_monitor.sample_interval = '2h'", qr/is outside the valid range/ ],
	[ "infra_monitor.health_interval = '999ms'", qr/is outside the valid range/ ],
	[ "infra_monitor.activity_interval = '-1'", qr/is outside the valid range/ ],
	[ "infra_monitor.activity_interval = '99ms'", qr/DETAIL:  It must be 0 or at least 100 ms\./ ],
	[ "infra_monitor.retention = '1min'", qr/1 min is outside the valid range .*\(60(?: min)? \.\. / ],
	[ "infra_monitor.rollup_retention = '59min'", qr/59 min is outside the valid range .*\(60(?: min)? \.\. / ],
	[ "infra_monitor.max_storage = '15MB'", qr/15 MB is outside the valid range .*\(16(?: MB)? \.\. / ],
	[ "infra_monitor.slow_query_threshold = '-2'", qr/is outside the valid range/ ],
	[ "infra_monitor.slow_query_log_size = '15'", qr/is outside the valid range .*\(16 \.\. 100000\)/ ],
	[ "infra_monitor.slow_query_text_size = '63'", qr/is outside the valid range/ ],
	[ "infra_monitor.slow_query_text_size = '65kB'", qr/is outside the valid range/ ],
	[ "infra_monitor.slow_query_plan = 'perhaps'", qr/requires a Boolean value/ ],
	[ "infra_monitor.log_parameters = 'perhaps'", qr/requires a Boolean value/ ],
	[ "infra_monitor.repeated_query_threshold = '-1'", qr/-1 is outside the valid range .*\(0 \.\. 100000\)/ ],
	[ "infra_monitor.track = 'nested'", qr/invalid value for parameter/ ],
	[ "infra_monitor.enabled = 'perhaps'", qr/requires a Boolean value/ ],
	[ "infra_monitor.sample_interval = '10 pints'", qr/invalid value for parameter.*HINT:  Valid units/s ],
	[ "infra_monitor.foo = 1", qr/unrecognized configuration parameter|invalid configuration parameter name/ ])
{
	my ($setting, $error) = @$case;
	my ($status, $out, $said) =
	  $node->psql('postgres', "ALTER SYSTEM SET $setting");

	isnt($status, 0, "ALTER SYSTEM refuses $setting");
	like($said, $error, 'and says why');
}
is($node->psql('postgres', "ALTER SYSTEM SET infra_monitor.database = '" . 'x' x 63 . "'"),
	0, 'a name of 63 bytes is none of these');
$node->safe_psql('postgres', 'ALTER SYSTEM SET infra_monitor.database = postgres');

my ($status, $out, $said) =
  $node->psql('postgres', 'SET infra_monitor.foo = 1');
like($said, qr/invalid configuration parameter name "infra_monitor.foo".*"infra_monitor" is a reserved prefix/s,
	'SET refuses what is not ours');
($status, $out, $said) =
  $node->psql('postgres', 'SET infra_monitor.enabled = off');
like($said, qr/cannot be changed now/, 'a superuser turns it off for all, or not at all');
$node->safe_psql('postgres', 'CREATE ROLE ordinary LOGIN');
foreach my $setting ($node->safe_psql('postgres',
		"SELECT name || ' = ' || quote_literal(setting) FROM pg_settings WHERE name LIKE 'infra\\_monitor.%'")
	=~ /^.*$/mg)
{
	($status, $out, $said) =
	  $node->psql('postgres', "SET $setting", extra_params => [ '-U', 'ordinary' ]);
	like($said, qr/permission denied to set parameter|cannot be changed/,
		"an ordinary role may not SET $setting");
}
is($node->psql('postgres', "SET infra_monitor.slow_query_threshold = '5s'"),
	0, 'a superuser may set the threshold');

# In the configuration file of a running server: refused, the old value stays.
my @wrong = (
	"infra_monitor.database = ''",
	"infra_monitor.sample_interval = 1ms",
	"infra_monitor.health_interval = 1ms",
	"infra_monitor.activity_interval = -1",
	"infra_monitor.retention = 1min",
	"infra_monitor.rollup_retention = 1min",
	"infra_monitor.max_storage = 1MB",
	"infra_monitor.slow_query_threshold = -2",
	"infra_monitor.repeated_query_threshold = -1",
	"infra_monitor.enabled = perhaps",
	"infra_monitor.foo = 1");
$pid = status_of($node, 'pid');
my $settings = $node->safe_psql('postgres',
	"SELECT name, setting FROM pg_settings WHERE name LIKE 'infra\\_monitor.%' ORDER BY name");
$node->safe_psql('postgres', 'ALTER SYSTEM RESET ALL');
$node->append_conf('postgresql.conf',
	"infra_monitor.database = 'postgres'\n"
	  . "infra_monitor.activity_interval = 100ms\n"
	  . "infra_monitor.enabled = on\n");
my $right = slurp_file($node->data_dir . '/postgresql.conf');
$log = log_end($node);
$node->append_conf('postgresql.conf', "$_\n") foreach @wrong;
$node->reload;
ok($node->wait_for_log(qr/LOG:  configuration file .*contains errors/, $log),
	'a reload with wrong values is refused');
foreach my $setting (@wrong)
{
	my ($name) = $setting =~ /^(\S+)/;
	cmp_ok(log_count($node, "LOG: .*\"$name\"", $log), '>', 0, "and says so: $setting");
}
wait_for_sample($node, 'the sampler samples on');
is(status_of($node, 'pid'), $pid, 'as the same process');
is($node->safe_psql('postgres',
	"SELECT name, setting FROM pg_settings WHERE name LIKE 'infra\\_monitor.%' ORDER BY name"),
	$settings, 'with the values from before');

# At start: the server starts, warns, and goes on with the defaults.
$log = log_end($node);
$node->append_conf('postgresql.conf', "infra_monitor.system_root = ''");
$node->restart;
foreach my $setting (@wrong)
{
	my ($name) = $setting =~ /^(\S+)/;
	cmp_ok(log_count($node, "WARNING: .*\"$name\"", $log), '>', 0, "at start a warning: $setting");
}
is( $node->safe_psql('postgres', <<'SQL'), <<'EXPECTED' =~ s/\n$//r, 'and the defaults, those of the manual');
SELECT name, current_setting(name), context FROM pg_settings
WHERE name IN ('infra_monitor.enabled', 'infra_monitor.database', 'infra_monitor.sample_interval',
	'infra_monitor.health_interval', 'infra_monitor.activity_interval',
	'infra_monitor.statement_interval', 'infra_monitor.idle_threshold',
	'infra_monitor.retention', 'infra_monitor.rollup_retention', 'infra_monitor.max_storage', 'infra_monitor.slow_query_threshold',
	'infra_monitor.slow_query_plan', 'infra_monitor.log_parameters',
	'infra_monitor.slow_query_log_size', 'infra_monitor.slow_query_text_size',
	'infra_monitor.track', 'infra_monitor.max_statements',
	'infra_monitor.repeated_query_threshold', 'infra_monitor.top_statements', 'infra_monitor.system_root',
	'infra_monitor.database_check_interval')
ORDER BY name
SQL
infra_monitor.activity_interval|1s|sighup
infra_monitor.database|postgres|sighup
infra_monitor.database_check_interval|1h|sighup
infra_monitor.enabled|on|sighup
infra_monitor.health_interval|30s|sighup
infra_monitor.idle_threshold|5min|sighup
infra_monitor.log_parameters|off|superuser
infra_monitor.max_statements|5000|postmaster
infra_monitor.max_storage|1GB|sighup
infra_monitor.repeated_query_threshold|20|superuser
infra_monitor.retention|7d|sighup
infra_monitor.rollup_retention|400d|sighup
infra_monitor.sample_interval|10s|sighup
infra_monitor.slow_query_log_size|1024|postmaster
infra_monitor.slow_query_plan|off|superuser
infra_monitor.slow_query_text_size|1kB|postmaster
infra_monitor.slow_query_threshold|1s|superuser
infra_monitor.statement_interval|1min|sighup
infra_monitor.system_root||superuser
infra_monitor.top_statements|100|sighup
infra_monitor.track|top|superuser
EXPECTED
wait_for($node, "SELECT state = 'running' AND ticks > 0 FROM infra_monitor.sampler_status",
	'the sampler runs with them');

#
# The ends of each range.  Parameters that take memory are left out of the
# upper ends: these machines may not have so much.
#
foreach my $end (qw(min_val max_val))
{
	my $extreme = $node->safe_psql('postgres', <<SQL);
SELECT name || ' = ' || $end FROM pg_settings
WHERE name LIKE 'infra\\_monitor.%' AND vartype IN ('integer', 'real')
	AND NOT ('$end' = 'max_val' AND context = 'postmaster')
SQL
	unlink $node->data_dir . '/postgresql.conf';
	$node->append_conf('postgresql.conf', "$right$extreme\n");
	$log = log_end($node);
	$node->restart;
	wait_for($node, "SELECT state = 'running' AND ticks > 0 FROM infra_monitor.sampler_status",
		"$end: the sampler runs");
	is($node->safe_psql('postgres',
		"SELECT count(*) FROM pg_settings WHERE name LIKE 'infra\\_monitor.%' AND setting = $end AND vartype IN ('integer', 'real')")
		, scalar(split /\n/, $extreme), "$end: the values are in force");
	my ($results, $everything) = read_everything($node, 'postgres');
	is_deeply(
		{ map { $_ => $results->{$_} } grep { $results->{$_}[0] ne '00000' } keys %$results },
		{},
		"$end: everything can be read");
	is_deeply([ grep { /WARNING|ERROR|PANIC/ } worker_log($node, $log) ],
		[], "$end: and nothing is said about it");
}

$node->stop;
done_testing();
