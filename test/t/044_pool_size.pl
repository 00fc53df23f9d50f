# pool_size_advice(): what it says about a known concurrency agrees with what a
# test counts by itself; and what it says when nothing is known.

use strict;
use warnings;

use InfraMonitor;
use IPC::Run;
use List::Util qw(max sum);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $SECONDS = $ENV{POOL_SIZE_SECONDS} // 12;
my $CLIENTS = 8;

my $node = new_server('pool_size',
	conf => "infra_monitor.activity_interval = 0\ninfra_monitor.system_root = ''\nautovacuum = off\n");
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION infra_monitor CASCADE;
CREATE ROLE app LOGIN;
CREATE ROLE forgetful LOGIN;
CREATE DATABASE shop;
SQL

# A column of the advice for a role, or for the server.
sub advice
{
	my ($session, $name, $columns, $arguments) = @_;

	$arguments //= '';
	return ask($session, "SELECT $columns FROM infra_monitor.pool_size_advice($arguments) WHERE name = '$name'");
}

# The number that so large a share of the counts does not exceed.
sub percentile
{
	my ($share, @counts) = @_;
	my @sorted = sort { $a <=> $b } @counts;
	my $rank = int($share * @sorted);

	$rank++ if $rank < $share * @sorted;
	return $sorted[ $rank - 1 ];
}

#
# nothing is known
#
my $observer = open_session($node);
my $idle = open_session($node, user => 'app', database => 'shop');
is( advice($observer, 'app@shop',
		'current_connections, p95_active IS NULL, p99_active IS NULL, max_active IS NULL, recommended_pool_size IS NULL, avg_active IS NULL, observed IS NULL, p99_held IS NULL, recommended_default_pool_size IS NULL, recommended_max_connections IS NULL'
	),
	'1|t|t|t|t|t|t|t|t|t',
	'nobody looked: NULL');
like(advice($observer, 'app@shop', 'rationale'),
	qr/^Nothing was observed: .* see infra_monitor\.activity_interval/,
	'and the words say so');
is( advice($observer, 'server',
		'p99_active IS NULL, recommended_pool_size IS NULL, recommended_max_connections IS NULL, observed IS NULL'),
	't|t|t|t',
	'also about the server');
like(advice($observer, 'server', 'rationale'), qr/^The pools are not known\./, 'in words');
is( advice($observer, 'app@shop',
		'recommended_pool_size, formula_pool_size, recommended_default_pool_size IS NULL', '3, 4'),
	'12|12|t',
	'the formula needs no observation');
is(advice($observer, 'server', 'recommended_max_connections > 12', '3, 4'),
	't', 'nor does the sum of pools');

#
# who is connected and does nothing needs none
#
$node->append_conf('postgresql.conf', "infra_monitor.activity_interval = 100ms\n");
$node->reload;
my $looks = "SELECT looks >= 20 FROM infra_monitor.concurrency('1 day') WHERE dbid IS NULL";
wait_in_session($observer, $looks, 'the sampler looks');
is( advice($observer, 'app@shop',
		'current_connections, p95_active, p99_active, max_active, avg_active, p99_held, recommended_pool_size'),
	'1|0|0|0|0|0|1',
	'an idle session was seen to do nothing');
close_sessions($idle);

#
# idle in transaction: not active, but nobody else can use the connection
#
my $forgetful = open_session($node, user => 'forgetful', database => 'shop');
ask($forgetful, 'BEGIN');
ask($observer, "SELECT infra_monitor.reset('pool')");
wait_in_session($observer, $looks, 'the sampler looks');
is( advice($observer, 'forgetful@shop',
		'p99_active, max_active, avg_active, p99_held, recommended_pool_size, recommended_default_pool_size'),
	'0|0|0|1|2|2',
	'a transaction that is left alone holds a connection');
try_ask($forgetful, 'SELECT 1 / 0');
ask($observer, "SELECT infra_monitor.reset('pool')");
wait_in_session($observer, $looks, 'the sampler looks');
is(advice($observer, 'forgetful@shop', 'max_active, p99_held'),
	'0|1', 'also one that has failed');
close_sessions($forgetful);
ask($observer, 'DROP ROLE forgetful');
is(advice($observer, 'forgetful@shop', 'count(*)'), '0', 'a role that has been dropped needs none');

#
# a known concurrency: each client thinks for 20 to 80 ms and works for 100
#
my $script = PostgreSQL::Test::Utils::tempdir() . '/script';
append_to_file($script, <<'SCRIPT');
\set think random(20, 80)
\sleep :think ms
SELECT pg_sleep(0.1);
SCRIPT
my $output = '';
my $pgbench = IPC::Run::start(
	[
		'pgbench', '-n', '-c', $CLIENTS, '-T', $SECONDS + 600,
		'-f', $script, '-U', 'app', '-h', $node->host, '-p', $node->port, 'shop'
	],
	'<', \undef, '>', \$output, '2>', \$output);
my $count_app = q{SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'};
wait_in_session($observer, $count_app, 'the clients are connected', $CLIENTS);

my @counts;
ask($observer, 'SELECT pg_stat_statements_reset()');
my $before_reset = time;
ask($observer, "SELECT infra_monitor.reset('pool')");
my $start = time;
for (my $next = $start; $next < $start + $SECONDS; $next += 0.1)
{
	usleep(max(0, ($next - time) * 1e6));
	push @counts, ask($observer, "$count_app AND state = 'active'");
}
my ($connections, $p95, $p99, $max, $avg, $held, $size, $pooler, $observed) = split /\|/,
  advice($observer, 'app@shop',
	'current_connections, p95_active, p99_active, max_active, avg_active, p99_held, recommended_pool_size, recommended_default_pool_size, date_part(\'epoch\', observed)');
my $took = time - $before_reset;
my $words = advice($observer, 'app@shop', 'rationale');
my $server = advice($observer, 'server', 'max_active, recommended_pool_size, recommended_max_connections');
my %own = (
	p95 => percentile(0.95, @counts),
	p99 => percentile(0.99, @counts),
	avg => sum(@counts) / @counts);

note(sprintf 'counted %d times: average %.2f, p95 %d, p99 %d; said: average %.2f, p95 %d, p99 %d, maximum %d; %s',
	scalar @counts, @own{qw(avg p95 p99)}, $avg, $p95, $p99, $max, $words);
is($connections, $CLIENTS, 'connections');
cmp_ok(abs($p95 - $own{p95}), '<=', 1, 'the 95th percentile is right within one session');
cmp_ok(abs($p99 - $own{p99}), '<=', 1, 'the 99th percentile is right within one session');
cmp_ok($max, '<=', $CLIENTS, 'the maximum is one that there was');
cmp_ok($max, '>=', $p99, 'and no less than the percentiles');
cmp_ok(abs($avg - $own{avg}), '<', 0.15 * $own{avg}, 'the average is right');
cmp_ok($held, '>=', $p99, 'who is active holds a connection');
is($size, ask($observer, "SELECT infra_monitor.with_margin($held)"), 'the recommended size has the margin');
is($pooler, $size, 'and is the same for a pooler');
# (who is kept from looking for a while observes nothing meanwhile)
cmp_ok($observed, '<', $took + 1, 'so long was observed');
cmp_ok($observed, '>', $took / 2, 'and no less');
like($words, qr/By pg_stat_statements .*: they agree\./, "Little's law agrees");
like($words, qr/less than an hour: ask again/, 'it was not observed for long');
my ($server_max, $pools, $max_connections) = split /\|/, $server;
cmp_ok($server_max, '>=', $max, 'the server had at least as many active as the role');
cmp_ok($pools, '>=', $size, 'the pools together are larger than this one');
cmp_ok($max_connections, '>', $pools, 'and max_connections than the pools');

# what pg_stat_statements knows begins later than what we do
$pgbench->signal('TERM');
$pgbench->finish;
wait_in_session($observer, $count_app, 'the clients are gone', 0);
$max = advice($observer, 'app@shop', 'max_active');
ask($observer, 'SELECT pg_stat_statements_reset()');
my $one = open_session($node, user => 'app', database => 'shop');
ask($one, 'SELECT 1');
like(advice($observer, 'app@shop', 'rationale'),
	qr/they differ by more than a factor of 2\./,
	'where the averages differ, the words say so');
close_sessions($one);

# without looks, what was seen stays as it is
my $seen = "SELECT looks FROM infra_monitor.concurrency('1 day') WHERE dbid IS NULL";
$node->append_conf('postgresql.conf', "infra_monitor.activity_interval = 0\n");
$node->reload;
wait_in_session($observer, "SELECT current_setting('infra_monitor.activity_interval')", 'no more looks', '0');
my ($before, $after) = (-1, -2);
for (1 .. 100)
{
	$before = $after;
	$after = ask($observer, $seen);
	last if $before == $after;
	usleep(300_000);
}
is($after, $before, 'a gap is no observation');
is(advice($observer, 'app@shop', 'max_active'), $max, 'and what was seen is still there');

#
# more roles than there is room for: the busiest stay, the others are counted
#
$node->safe_psql('postgres',
	"SELECT format('CREATE ROLE r%s LOGIN', i) FROM generate_series(1, 70) i \\gexec");
$node->append_conf('postgresql.conf', "infra_monitor.activity_interval = 100ms\n");
$node->reload;
ask($observer, "SELECT infra_monitor.reset('pool')");
my @sessions = map { open_session($node, user => "r$_") } 1 .. 70;
ask($_, 'BEGIN') foreach @sessions;
wait_in_session($observer,
	'SELECT pairs = 64 AND dropped > 0 FROM infra_monitor.concurrency_state()',
	'what has no room is dropped, and counted');
is( ask($observer, "SELECT count(*) FROM infra_monitor.concurrency('1 day') WHERE dbid IS NOT NULL"),
	'64', 'the others are known');
wait_in_session($observer,
	"SELECT max_held BETWEEN 70 AND 75 FROM infra_monitor.concurrency('1 day') WHERE dbid IS NULL",
	'and the server is known as a whole');
ask($observer, "SELECT infra_monitor.reset('pool')");
wait_in_session($observer, $looks, 'the sampler looks');
is( ask($observer, "SELECT p99_held BETWEEN 70 AND 79, max_held BETWEEN 70 AND 75 FROM infra_monitor.concurrency('1 day') WHERE dbid IS NULL"),
	't|t', 'its numbers are at most an eighth too large, the maximum is exact');
is( ask($observer, "SELECT count(*) > 0 FROM infra_monitor.pool_size_advice() WHERE scope = 'pool' AND recommended_pool_size IS NULL AND rationale LIKE 'Not known: it gave way%'"),
	't', 'who had no room gets no advice');
close_sessions(@sessions[ 0 .. 59 ]);
my $evicted_before = ask($observer, 'SELECT evicted FROM infra_monitor.concurrency_state()');
my $newcomer = open_session($node, user => 'app', database => 'shop');
ask($newcomer, 'BEGIN');
wait_in_session($observer,
	"SELECT evicted > $evicted_before FROM infra_monitor.concurrency_state()",
	'who is gone makes room, and is counted');
wait_in_session($observer,
	"SELECT count(*) = 1 FROM infra_monitor.concurrency('1 day') c JOIN pg_roles r ON r.oid = c.userid WHERE r.rolname = 'app' AND c.max_held = 1",
	'for a newcomer');
is( status_of($node, "(drops->>'concurrency_pairs')::int > 0, (drops->>'concurrency_looks')::int > 0"),
	't|t', 'sampler_status shows it');
close_sessions($newcomer, @sessions[ 60 .. 69 ]);

# a restart begins anew
close_sessions($observer);
$node->append_conf('postgresql.conf', "infra_monitor.activity_interval = 0\n");
$node->restart;
is( $node->safe_psql('postgres', "SELECT looks, observed IS NULL FROM infra_monitor.concurrency('1 day')"),
	'0|t', 'after a restart nothing is known');

# without pg_stat_statements it goes without Little's law
$node->append_conf('postgresql.conf',
	"shared_preload_libraries = 'infra_monitor'\ninfra_monitor.activity_interval = 100ms\n");
$node->restart;
$observer = open_session($node);
wait_in_session($observer, $looks, 'the sampler looks');
unlike(ask($observer, 'SELECT string_agg(rationale, $$ $$) FROM infra_monitor.pool_size_advice()'),
	qr/pg_stat_statements/, 'advice does without pg_stat_statements');
close_sessions($observer);

is(log_count($node, '(ERROR|PANIC): (?!.*division by zero)'), 0, 'all that without an error');
$node->stop;
done_testing();
