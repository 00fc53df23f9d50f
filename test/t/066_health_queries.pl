# Health checks of clients, their statements, and of what we count ourselves:
# each is ok, sees its fault, and is ok again.
#
# What was counted in the last five minutes is forgotten by a restart, or by a
# reset of what is counted; nobody waits for it here.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('queries', conf => <<'CONF');
pg_stat_statements.max = 100
infra_monitor.slow_query_log_size = 16
max_connections = 50
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');

# The counters have been seen by the sampler, so that growth is known.
sub wait_until_known
{
	wait_for($node, <<'SQL', 'counters are known');
SELECT count(*) = 0 FROM infra_monitor.evaluate_checks()
WHERE status = 'unknown' AND name IN ('failed_time_ratio', 'deadlocks', 'auth_failures', 'slow_query_rate', 'rollback_ratio',
	'temp_spill', 'missed_ticks', 'drops', 'statement_evictions')
SQL
}

sub becomes
{
	my ($check, $status, $name) = @_;

	wait_for($node, "SELECT status FROM infra_monitor.evaluate_checks() WHERE name = '$check'",
		"$check: $name", $status);
}

# Other thresholds than the default ones; hold does not matter here.
sub threshold
{
	my ($check, $warning, $critical) = @_;

	$node->safe_psql('postgres', <<"SQL");
INSERT INTO infra_monitor.health_threshold_overrides (check_name, warning, critical)
VALUES ('$check', $warning, $critical)
ON CONFLICT (check_name) DO UPDATE SET warning = $warning, critical = $critical
SQL
}

sub forget
{
	my ($check) = @_;

	$node->restart;
	wait_until_known();
	becomes($check, 'ok', 'forgotten');
}

wait_until_known();
# (that others keep the machine busy, or fill its disk, is none of its own)
is($node->safe_psql('postgres', "SELECT string_agg(name, ' ' ORDER BY name) FROM infra_monitor.evaluate_checks() WHERE status NOT IN ('ok', 'unknown') AND name NOT IN ('missed_ticks', 'disk_free', 'disk_time_to_full')"),
	'', 'a new server is at fault in nothing');

# statements that take their time; first, for as few others as possible
threshold('latency_p95', 40, 1_000_000);
$node->safe_psql('postgres', 'SELECT 1;' x 500);
wait_for_sample($node, 'a sample');
becomes('latency_p95', 'ok', 'all are fast');
$node->safe_psql('postgres', 'SELECT pg_sleep(0.05);' x 100);
becomes('latency_p95', 'warning', 'one in twenty is slow');
threshold('latency_p95', 30, 40);
becomes('latency_p95', 'critical', 'and slower than that');
wait_for_sample($node, 'all of them are stored');
$node->safe_psql('postgres', 'DELETE FROM infra_monitor.samples');
# who asks below is as slow as the machine is busy
$node->safe_psql('postgres', 'SELECT 1;' x 5000);
becomes('latency_p95', 'ok', 'forgotten');

# statements that never finish: ten seconds in all
becomes('failed_time_ratio', 'ok', 'none');
my @impatient = map { open_session($node) } 1 .. 5;
ask($_, "SET statement_timeout = '2500ms'") for @impatient;
send_query($_, 'SELECT pg_sleep(600)') for @impatient;
eval { answer_of($_) } for @impatient;
close_sessions(@impatient);
becomes('failed_time_ratio', 'critical', 'most of the time is lost');
threshold('failed_time_ratio', '0.05', 2);
becomes('failed_time_ratio', 'warning', 'as much as is allowed');
forget('failed_time_ratio');

# two sessions that wait for each other; one of them is chosen
becomes('deadlocks', 'ok', 'none');
$node->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT i, 0 FROM generate_series(1, 1000) i');
my @sessions = map { open_session($node) } 1 .. 2;
ask($sessions[$_], "SET deadlock_timeout = '10ms'; BEGIN; UPDATE t SET n = 1 WHERE id = 1 + $_") for 0 .. 1;
send_query($sessions[$_], 'UPDATE t SET n = 1 WHERE id = ' . (2 - $_)) for 0 .. 1;
eval { answer_of($_) } for @sessions;
close_sessions(@sessions);
becomes('deadlocks', 'warning', 'one');
threshold('deadlocks', 1, 1);
becomes('deadlocks', 'critical', 'more than are allowed');
forget('deadlocks');

# somebody guesses
sub guess
{
	await_session(begin_session($node, user => "nobody $_")) foreach 1 .. 4;
	return;
}
threshold('auth_failures', 3, 6);
becomes('auth_failures', 'ok', 'none');
guess();
becomes('auth_failures', 'warning', 'four');
guess();
becomes('auth_failures', 'critical', 'eight');
$node->safe_psql('postgres', "SELECT infra_monitor.reset('pool')");
becomes('auth_failures', 'ok', 'counted anew');

# a query that takes its time
threshold('long_queries', '0.2', 3600);
becomes('long_queries', 'ok', 'none');
my $session = open_session($node);
send_query($session, 'SELECT pg_sleep(600)');
becomes('long_queries', 'warning', 'one');
threshold('long_queries', '0.1', '0.2');
becomes('long_queries', 'critical', 'for longer');
$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)'");
becomes('long_queries', 'ok', 'cancelled');
close_sessions($session);

# 60 in five minutes are 12 a minute; 16 of them are kept, and 100 not
becomes('slow_query_rate', 'ok', 'none');
becomes('drops', 'ok', 'nothing is lost');
$node->safe_psql('postgres', 'SET infra_monitor.slow_query_threshold = 0;' . 'SELECT 1;' x 60);
becomes('slow_query_rate', 'warning', 'sixty');
$node->safe_psql('postgres', 'SET infra_monitor.slow_query_threshold = 0;' . 'SELECT 1;' x 260);
becomes('slow_query_rate', 'critical', 'three hundred');
becomes('drops', 'warning', 'most of them are lost');
like($node->safe_psql('postgres', "SELECT message FROM infra_monitor.evaluate_checks() WHERE name = 'drops'"),
	qr/lost in the last 5 minutes: slow_\w+ \d+/, 'and it says what');
forget('slow_query_rate');
becomes('drops', 'ok', 'forgotten');

# transactions that fail
becomes('rollback_ratio', 'ok', 'none');
$node->safe_psql('postgres', 'SET log_min_messages = panic;' . 'BEGIN; ROLLBACK;' x 300);
becomes('rollback_ratio', 'critical', 'most of them');
threshold('rollback_ratio', '0.1', 2);
becomes('rollback_ratio', 'warning', 'as many as are allowed');
forget('rollback_ratio');

# a sort that is too large for its memory
threshold('temp_spill', 1_000_000, 100_000_000);
becomes('temp_spill', 'ok', 'none');
$node->safe_psql('postgres', "SET work_mem = '64kB'; SELECT count(*) FROM (SELECT i FROM generate_series(1, 200000) i ORDER BY -i OFFSET 0) s");
becomes('temp_spill', 'warning', 'some');
forget('temp_spill');

# a loop
threshold('repeated_queries', 1, 1000);
becomes('repeated_queries', 'ok', 'none');
$node->safe_psql('postgres', 'BEGIN; SELECT id FROM t WHERE id <= 30;'
	  . join(';', map { "SELECT n FROM t WHERE id = $_" } 1 .. 30) . '; COMMIT');
becomes('repeated_queries', 'warning', 'one');
$node->safe_psql('postgres', "SELECT infra_monitor.reset('statements')");
becomes('repeated_queries', 'ok', 'forgotten');

# more statements than pg_stat_statements has room for
threshold('statement_evictions', 3, 1000);
becomes('statement_evictions', 'ok', 'none');
$node->safe_psql('postgres', join(';', map { 'SELECT ' . join(',', (1) x $_) . " AS n$_" } 1 .. 400));
becomes('statement_evictions', 'warning', 'some');
threshold('statement_evictions', 1, 2);
becomes('statement_evictions', 'critical', 'more than are allowed');
forget('statement_evictions');

# settings
sub set
{
	my ($setting, $value) = @_;

	$node->append_conf('postgresql.conf', "$setting = $value");
	$node->reload;
}
becomes('pg_stat_statements_track', 'ok', 'top');
set('pg_stat_statements.track', 'none');
becomes('pg_stat_statements_track', 'warning', 'none');
set('pg_stat_statements.track', 'all');
becomes('pg_stat_statements_track', 'ok', 'all');
becomes('hidden_errors', 'ok', 'warnings are logged');
set('log_min_messages', 'fatal');
becomes('hidden_errors', 'warning', 'errors are not');
set('log_min_messages', 'panic');
becomes('hidden_errors', 'critical', 'refusals neither');
set('log_min_messages', 'error');
becomes('hidden_errors', 'ok', 'errors are logged');
becomes('track_io_timing', 'ok', 'off, which by itself is no fault');
threshold('track_io_timing', 0, 'NULL');
set('track_io_timing', 'on');
becomes('track_io_timing', 'ok', 'on');
set('track_io_timing', 'off');
becomes('track_io_timing', 'warning', 'off, where it should be on');
set('track_io_timing', 'on');
becomes('track_io_timing', 'ok', 'on again');

# the sampler stands still for some intervals
# (what a busy machine has kept it from is forgotten, too)
forget('missed_ticks');
my $last = status_of($node, 'last_tick');
my $stopper = open_session($node);
my $pid = stop_sampler($stopper);
close_sessions($stopper);
wait_for($node, "SELECT clock_timestamp() > '$last'::timestamptz + interval '6 seconds'", 'the sampler stands still');
kill 'CONT', $pid;
becomes('missed_ticks', 'warning', 'some');
threshold('missed_ticks', 1, 2);
becomes('missed_ticks', 'critical', 'more than are allowed');
forget('missed_ticks');

$node->stop;
done_testing();
