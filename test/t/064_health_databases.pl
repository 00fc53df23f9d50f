# The health checks that need the catalogs of each database: each fault is made
# for real, in databases without the extension, is found by the next round, and
# goes away again; and the workers that go round are in nobody's way.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = new_server(
	'databases',
	init => [ allows_streaming => 1 ],
	conf => <<'CONF');
infra_monitor.database_check_interval = 1s
autovacuum = off
max_worker_processes = 16
log_min_messages = warning
CONF
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION infra_monitor CASCADE;
CREATE DATABASE plain;
CREATE DATABASE "odd ""name" CONNECTION LIMIT 0;
CREATE DATABASE closed ALLOW_CONNECTIONS false;
CREATE DATABASE model IS_TEMPLATE true;
SQL

sub check
{
	my ($name) = @_;

	return $node->safe_psql('postgres',
		"SELECT status, message FROM infra_monitor.evaluate_checks('database') WHERE name = '$name'"
	);
}

# A round that has begun after now is complete.
sub after_a_round
{
	my ($server) = @_;
	$server //= $node;
	my $now = $server->safe_psql('postgres', 'SELECT clock_timestamp()');

	return wait_for($server,
		"SELECT started_at > '$now' FROM infra_monitor.database_round()",
		'a round');
}

# What autovacuum owes counts when two rounds have found it.
sub after_two_rounds
{
	return after_a_round() && after_a_round();
}

sub check_is
{
	my ($name, $status, $message, $test) = @_;
	my ($is, $says) = split /\|/, check($name), 2;

	is($is, $status, "$name is $status: $test");
	like($says, $message, "$name says so");
	return;
}

#
# Where it goes
#
after_a_round();
is( $node->safe_psql('postgres',
		'SELECT examined, failed, error FROM infra_monitor.database_round()'),
	'3|0|',
	'it goes to those that allow connections and are no templates');
check_is('invalid_indexes', 'ok', qr/^no index is invalid$/, 'at first');
check_is('sequence_exhaustion', 'ok', qr/./, 'at first');
check_is('vacuum_debt', 'ok', qr/^database ".+": \S+ is \d+ transactions old, autovacuum should come at 200000000$/, 'at first');
check_is('stale_statistics', 'ok', qr/^no table has 10000 changed rows since ANALYZE$/, 'at first');

#
# invalid_indexes: a unique index on what is not
#
$node->safe_psql('plain', 'CREATE TABLE "T" AS SELECT 1 AS a FROM generate_series(1, 2)');
my ($status) = $node->psql('plain', 'CREATE UNIQUE INDEX CONCURRENTLY broken ON "T" (a)');
isnt($status, 0, 'the index cannot be built');
after_a_round();
check_is('invalid_indexes', 'warning',
	qr/^database "plain": invalid indexes: 1, such as public\.broken$/, 'and is left behind');
$node->safe_psql('plain', 'DROP INDEX broken');
after_a_round();
check_is('invalid_indexes', 'ok', qr/^no index is invalid$/, 'it is dropped');

#
# sequence_exhaustion: by their own limit and that of a column, up and down
#
sub sequence_at
{
	my ($create, $status, $message, $repair, $test) = @_;
	my $database = 'odd "name';

	$node->safe_psql($database, $create);
	after_a_round();
	check_is('sequence_exhaustion', $status, $message, $test);
	$node->safe_psql($database, $repair);
	after_a_round();
	check_is('sequence_exhaustion', 'ok', qr/./, "$test no longer");
	return;
}

my $odd = qr/^database "odd "name": sequence/;
sequence_at(
	'CREATE SEQUENCE up AS smallint; SELECT setval(\'up\', 25000)', 'warning',
	qr/$odd public\.up has used 76\.3 % of its numbers/, 'ALTER SEQUENCE up AS bigint', 'near its limit');
sequence_at(
	'CREATE SEQUENCE down AS smallint INCREMENT -1; SELECT setval(\'down\', -31000)', 'critical',
	qr/$odd public\.down has used 94\.6 %/, 'ALTER SEQUENCE down CYCLE', 'going down');
sequence_at(
	'CREATE TABLE orders (id bigserial); ALTER TABLE orders ALTER id TYPE int; ALTER SEQUENCE orders_id_seq AS bigint; SELECT setval(\'orders_id_seq\', 2000000000)',
	'critical', qr/$odd public\.orders_id_seq has used 93\.1 %/, 'ALTER TABLE orders ALTER id TYPE bigint', 'larger than its column');
# one that is being dropped, and one with more numbers than its column takes
$node->safe_psql('odd "name', 'CREATE SEQUENCE going AS smallint; SELECT setval(\'going\', 32000)');
my $dropper = open_session($node, database => 'odd "name');
ask($dropper, 'BEGIN');
ask($dropper, 'DROP SEQUENCE going');
$node->safe_psql('odd "name',
	'CREATE TABLE narrow (id int); CREATE SEQUENCE high MINVALUE 3000000000 OWNED BY narrow.id');
after_a_round();
check_is('sequence_exhaustion', 'ok', qr/./, 'neither is looked at');
ask($dropper, 'ROLLBACK');
after_a_round();
check_is('sequence_exhaustion', 'critical', qr/$odd public\.going has used 97\.7 %/, 'the one that stays');
ask($dropper, 'DROP SEQUENCE going');
close_sessions($dropper);
after_a_round();

#
# vacuum_debt
#
$node->safe_psql('plain', 'CREATE TABLE busy AS SELECT generate_series(1, 20000) AS a; ANALYZE busy');
$node->safe_psql('plain', 'UPDATE busy SET a = a + 1');
sub dead_rows
{
	my ($expected) = @_;

	return wait_for($node,
		"SELECT pg_stat_get_dead_tuples('busy'::regclass) $expected", 'counted', 't', 'plain');
}
dead_rows('= 20000');
after_two_rounds();
check_is('vacuum_debt', 'warning',
	qr/^database "plain": public\.busy has 20000 dead rows, autovacuum should come at 4050$/, 'all rows were changed');
$node->safe_psql('plain', 'ALTER TABLE busy SET (autovacuum_vacuum_scale_factor = 0.1)');
after_two_rounds();
check_is('vacuum_debt', 'critical', qr/dead rows, autovacuum should come at 2050$/, 'it should come earlier');
$node->safe_psql('plain', 'VACUUM busy');
dead_rows('= 0');
after_a_round();
check_is('vacuum_debt', 'ok', qr/transactions old/, 'after VACUUM');

# and one that gets old
$node->safe_psql('plain', 'DROP TABLE busy; CREATE TABLE old (a int) WITH (autovacuum_freeze_max_age = 1e5)');
$node->safe_psql('postgres', 'DO $$ BEGIN FOR i IN 1..220000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$');
after_two_rounds();
check_is('vacuum_debt', 'warning',
	qr/^database "plain": public\.old is 22\d\d\d\d transactions old, autovacuum should come at 100000$/, 'nothing was frozen');
$node->safe_psql('plain', 'VACUUM (FREEZE) old');
after_a_round();
check_is('vacuum_debt', 'ok', qr/ transactions old/, 'all is frozen');

#
# stale_statistics
#
sub changed_rows
{
	my ($expected) = @_;

	return wait_for($node,
		"SELECT pg_stat_get_mod_since_analyze('stale'::regclass) $expected", 'counted', 't', 'plain');
}

$node->safe_psql('plain', 'CREATE TABLE stale AS SELECT generate_series(1, 20000) AS a');
changed_rows('= 20000');
$node->safe_psql('plain', 'ANALYZE stale');
changed_rows('= 0');
foreach my $case ([ ok => 9999, qr/^no table/ ], [ warning => 12000 ], [ critical => 20500 ])
{
	my ($status, $rows, $message) = @$case;
	my $so_far = $node->safe_psql('plain', "SELECT pg_stat_get_mod_since_analyze('stale'::regclass)");

	$node->safe_psql('plain', "INSERT INTO stale SELECT generate_series(1, $rows - $so_far)");
	changed_rows("= $rows");
	after_two_rounds();
	check_is('stale_statistics', $status,
		$message // qr/^database "plain": public\.stale has $rows changed rows since ANALYZE, autovacuum should come at 2050$/,
		"$rows rows are new");
}
$node->safe_psql('plain', 'ANALYZE stale');
changed_rows('= 0');
after_a_round();
check_is('stale_statistics', 'ok', qr/^no table/, 'after ANALYZE');

#
# On a standby
#
$node->safe_psql('plain', "CREATE SEQUENCE late AS smallint; SELECT setval('late', 30000)");
$node->safe_psql('plain', 'CREATE UNLOGGED SEQUENCE unlogged');
$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
after_a_round($standby);
is( $standby->safe_psql('postgres',
		"SELECT status, message FROM infra_monitor.evaluate_checks() WHERE name = 'sequence_exhaustion'"),
	'critical|database "plain": sequence public.late has used 91.6 % of its numbers, or of those of its column',
	'a standby looks, too');
is($standby->safe_psql('postgres', 'SELECT failed FROM infra_monitor.database_round()'),
	'0', 'and finds no obstacle');
$standby->stop;

#
# What it does to others: DROP, CREATE ... TEMPLATE, RENAME of databases that are
# being visited all the time; and no more than one worker at a time
#
my $visitors = q{backend_type = 'infra_monitor database check'};
my $observer = open_session($node);
my $most = 0;
my $longest = 0;
my $failed = 0;
my $log = log_end($node);

sub command
{
	my ($command) = @_;
	my $start = time;

	$failed++ unless defined try_ask($observer, $command);
	my $time = time - $start;
	$longest = $time if $time > $longest;
	my $now = ask($observer, "SELECT count(*) FROM pg_stat_activity WHERE $visitors");
	$most = $now if $now > $most;
	return;
}

# What they take where nobody visits
my $usual = 0;
for (1 .. 5)
{
	my $time = seconds { ask($observer, $_) foreach 'CREATE DATABASE model_2 TEMPLATE template0', 'DROP DATABASE model_2' };

	$usual = $time if $time > $usual;
}

for my $i (1 .. 30)
{
	command("CREATE DATABASE many_$i TEMPLATE plain");
	command("ALTER DATABASE many_$i RENAME TO renamed_$i") if $i % 3 == 0;
}
wait_for($node, "SELECT count(*) >= 5 FROM infra_monitor.database_checks WHERE datname ~ '^(many|renamed)_' AND value > 0.9",
	'the copies are visited, too');
command('DROP DATABASE ' . ($_ % 3 == 0 ? 'renamed' : 'many') . "_$_") for 1 .. 30;
is($failed, 0, 'all commands succeeded');
cmp_ok($most, '<=', 1, "at most one visitor at a time: $most");
# PostgreSQL itself waits for five seconds, and then fails
cmp_ok($longest, '<', 2 + 3 * $usual, sprintf('the longest took %.2f s, usual are %.2f s', $longest, $usual));
is(ask($observer, 'SELECT used_connections FROM infra_monitor.pool_pressure'), 1, 'a visitor is no client');
is(log_count($node, 'ERROR|FATAL|PANIC|WARNING', $log), 0, 'nothing is said in the log');
after_a_round();
is(ask($observer, "SELECT count(*) FROM infra_monitor.database_checks WHERE datname ~ '^(many|renamed)_'"),
	0, 'those that were dropped are forgotten');

#
# A database whose catalog is locked is looked at as far as possible
#
my $locker = open_session($node, database => 'plain');
ask($locker, 'BEGIN');
ask($locker, 'LOCK TABLE pg_sequence IN ACCESS EXCLUSIVE MODE');
wait_in_session($observer,
	q{SELECT failed = 1 AND error ~ '^"plain": cancel' FROM infra_monitor.database_round()}, 'a lock is noticed');
like(ask($observer, q{SELECT message FROM infra_monitor.check_sequence_exhaustion()}),
	qr/^database "plain": sequence public\.late has used 91\.6 % .*; 1 of 3 databases could not be looked at, last "plain": cancel/, 'the check says so, and what was found before stays');
ask($locker, 'ROLLBACK');
close_sessions($locker);
wait_in_session($observer, 'SELECT failed = 0 FROM infra_monitor.database_round()', 'and its end');

#
# Turned off
#
$node->append_conf('postgresql.conf', "infra_monitor.database_check_interval = 0\n");
$node->reload;
wait_in_session($observer,
	"SELECT count(*) = 4 AND bool_and(status = 'unknown' AND message = 'infra_monitor.database_check_interval is 0: databases are not looked at') FROM infra_monitor.evaluate_checks() WHERE name IN ('invalid_indexes', 'sequence_exhaustion', 'vacuum_debt', 'stale_statistics')",
	'turned off, nothing is known');
close_sessions($observer);

#
# What autovacuum had no time for: the first round says what there is, and the
# second that it is bad
#
sub rounds_each
{
	my ($interval) = @_;

	$node->append_conf('postgresql.conf', "infra_monitor.database_check_interval = $interval\n");
	$node->reload;
	return;
}

$node->safe_psql('plain', 'INSERT INTO stale SELECT generate_series(1, 30000)');
changed_rows('= 30000');
foreach my $status (qw(ok warning))
{
	# what the sampler evaluates is by its own setting
	wait_for($node,
		"SELECT message LIKE '%database_check_interval is 0%' FROM infra_monitor.health_checks WHERE name = 'stale_statistics'",
		'the sampler knows that there are no rounds');

	# a round at once, and the next one not soon
	my $now = $node->safe_psql('postgres', 'SELECT clock_timestamp()');

	rounds_each('1h');
	wait_for($node, "SELECT started_at > '$now' FROM infra_monitor.database_round()", 'one round');
	check_is('stale_statistics', $status, qr/^database "plain": public\.stale has 30000 changed rows/, 'one more round');
	rounds_each('0');
}

#
# No slot for a worker: later, not never
#
$node->append_conf('postgresql.conf', "infra_monitor.database_check_interval = 1s\nmax_worker_processes = 1\nmax_logical_replication_workers = 0\n");
$log = log_end($node);
$node->restart;
wait_for_sample($node, 'with one worker process the sampler works');
is( $node->safe_psql('postgres',
		"SELECT status, message FROM infra_monitor.evaluate_checks() WHERE name = 'invalid_indexes'"),
	'unknown|databases have not been looked at yet',
	'and nobody visits databases');
is(log_count($node, 'ERROR|PANIC|WARNING|database check', $log), 0, 'which is no failure');
$node->append_conf('postgresql.conf', "max_worker_processes = 16\n");
$node->restart;
after_a_round();
check_is('sequence_exhaustion', 'critical', qr/public\.late/, 'with more of them somebody does');

$node->stop;
done_testing();
