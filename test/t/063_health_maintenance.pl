# The health checks of maintenance: each fault is made for real, is seen, and
# goes away again.  Checks are evaluated here and now, so that nothing depends
# on when the sampler does; where the fault would take days, the thresholds are
# brought near.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server(
	'maintenance',
	init => [ allows_streaming => 'logical', extra => [ '--data-checksums', '--wal-segsize=1' ] ],
	conf => <<'CONF');
autovacuum = off
autovacuum_freeze_max_age = 2000000000
autovacuum_max_workers = 1
max_prepared_transactions = 4
max_replication_slots = 4
min_wal_size = 2MB
max_wal_size = 2MB
wal_keep_size = 64MB
max_files_per_process = 600
checkpoint_timeout = 30s
CONF
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION infra_monitor CASCADE;
CREATE ROLE operator LOGIN SUPERUSER;
CREATE TABLE t (a int PRIMARY KEY, b int);
INSERT INTO t VALUES (1, 0);
UPDATE pg_database SET datallowconn = true WHERE datname = 'template0';
SQL

sub check
{
	my ($name, $column) = @_;

	return $node->safe_psql('postgres',
		"SELECT $column FROM infra_monitor.evaluate_checks('database') WHERE name = '$name'"
	);
}

# The status is this, and the message matches.
sub check_is
{
	my ($name, $status, $message, $test) = @_;
	my ($is, $says) = split /\|/, check($name, 'status, message'), 2;

	is($is, $status, "$name is $status: $test");
	like($says, $message, "$name says so");
	return;
}

# The same, when it has become so.
sub check_becomes
{
	my ($name, $status, $message, $test) = @_;

	wait_for($node,
		"SELECT status = '$status' FROM infra_monitor.evaluate_checks('database') WHERE name = '$name'",
		"$name becomes $status: $test");
	like(check($name, 'message'), $message, "$name says so");
	return;
}

# Thresholds of our own; NULL keeps the default.
sub thresholds
{
	my ($name, $warning, $critical) = @_;

	$node->safe_psql('postgres', <<"SQL");
DELETE FROM infra_monitor.health_threshold_overrides WHERE check_name = '$name';
INSERT INTO infra_monitor.health_threshold_overrides VALUES ('$name', $warning, $critical);
SQL
	return;
}

sub databases
{
	return split /\n/,
	  $node->safe_psql('postgres', 'SELECT datname FROM pg_database');
}

# Uses up transactions.
sub burn
{
	my ($n) = @_;

	$node->safe_psql('postgres',
		"DO \$\$ BEGIN FOR i IN 1..$n LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END \$\$"
	);
	# the sampler may have begun something before, on a busy machine
	$node->poll_query_until('postgres', <<"SQL") or die 'the sampler does not come to an end';
SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'infra_monitor sampler' AND greatest(age(backend_xmin), age(backend_xid)) >= $n)
SQL
	return;
}

check_is('multixact_wraparound', 'ok', qr/^database "\w+" is \d+ multixacts old/, 'at first');
check_is('prepared_transactions', 'ok', qr/^no transaction is prepared$/, 'at first');
check_is('autovacuum_saturation', 'ok', qr/^autovacuum workers at work: 0 of 1$/, 'at first');
check_is('checksum_failures', 'ok', qr/^no page was found damaged$/, 'at first');
check_is('pending_restart', 'ok', qr/^no changed setting waits/, 'at first');

#
# multixact_wraparound: multixacts are used up, and frozen
#
my $ages = check('multixact_wraparound', 'value * 2147483648');
thresholds('multixact_wraparound', "($ages + 100) / 2147483648.0", "($ages + 200) / 2147483648.0");
check_is('multixact_wraparound', 'ok', qr/multixacts old/, 'there is room');
foreach my $status (qw(warning critical))
{
	# a transaction that locks a row and updates it in a subtransaction needs one
	$node->safe_psql('postgres', <<'SQL');
DO $$ BEGIN
	FOR i IN 1..100 LOOP
		PERFORM FROM t FOR KEY SHARE;
		BEGIN
			UPDATE t SET b = b + 1;
		EXCEPTION WHEN division_by_zero THEN NULL;
		END;
		COMMIT;
	END LOOP;
END $$;
SQL
	check_is('multixact_wraparound', $status, qr/multixacts old/, 'they are used up');
}
$node->safe_psql($_, 'VACUUM (FREEZE)') foreach databases();
check_is('multixact_wraparound', 'ok', qr/multixacts old/, 'all is frozen');

#
# xmin_horizon: each of those who can hold it, by name
#
thresholds('xmin_horizon', 500, 1000);
check_is('xmin_horizon', 'ok', qr/./, 'nobody holds it');

sub horizon_held
{
	my ($who, $release, $test) = @_;

	check_is('xmin_horizon', 'ok', qr/./, "$test, and young");
	burn(600);
	check_is('xmin_horizon', 'warning', $who, $test);
	burn(600);
	check_is('xmin_horizon', 'critical', $who, $test);
	$release->();
	check_is('xmin_horizon', 'ok', qr/./, "$test is gone");
	return;
}

my $session = open_session($node, user => 'operator');
my $pid = ask($session, 'SELECT pg_backend_pid()');
ask($session, 'BEGIN ISOLATION LEVEL REPEATABLE READ');
ask($session, 'SELECT FROM t');
horizon_held(
	qr/the last 1?\d\d\d transactions, because of client backend $pid of role "operator" in database "postgres"$/,
	sub { ask($session, 'COMMIT') },
	'a snapshot');

# one that has written, and has no snapshot at the moment
ask($session, 'BEGIN');
ask($session, 'INSERT INTO t VALUES (2, 0)');
horizon_held(
	qr/client backend $pid of role "operator"/,
	sub { ask($session, 'ROLLBACK') },
	'a transaction');
ask($session, q{BEGIN});
ask($session, q{INSERT INTO t VALUES (2, 0)});
ask($session, q{PREPARE TRANSACTION 'odd "name"'});
horizon_held(
	qr/prepared transaction "odd "name"" of role "operator" in database "postgres"$/,
	sub { ask($session, q{ROLLBACK PREPARED 'odd "name"'}) },
	'a prepared transaction');

$node->safe_psql('postgres',
	"SELECT pg_create_logical_replication_slot('forgotten', 'pgoutput')");
horizon_held(
	qr/replication slot "forgotten", which nobody reads$/,
	sub {
		$node->safe_psql('postgres', "SELECT pg_drop_replication_slot('forgotten')");
	},
	'a slot');

# Many are of the same age: snapshots that follow a transaction.  It is to blame
# while it runs, then the oldest of them; numbers of processes, which names begin
# with, are in another order than times.
sub horizon_blamed
{
	my ($who, $test) = @_;

	# the sampler may have begun before all of them
	wait_for($node,
		"SELECT message ~ 'because of $who of role' FROM infra_monitor.evaluate_checks('database') WHERE name = 'xmin_horizon'",
		"xmin_horizon blames $test");
	return;
}

sub take_snapshot
{
	my ($reader) = @_;

	ask($reader, 'BEGIN ISOLATION LEVEL REPEATABLE READ');
	ask($reader, 'SELECT FROM t');
	return;
}
my ($young, $writer, $old) = map { open_session($node) } 1 .. 3;
my %pids = map { $_ => 'client backend ' . ask($_, 'SELECT pg_backend_pid()') } $young, $writer, $old;
ask($writer, 'BEGIN');
ask($writer, 'INSERT INTO t VALUES (2, 0)');
take_snapshot($old);
take_snapshot($young);
horizon_blamed($pids{$writer}, 'the transaction, not a snapshot that follows it');
ask($writer, 'ROLLBACK');
horizon_blamed($pids{$old}, 'when it has ended, the oldest snapshot');
ask($_, 'COMMIT') foreach $old, $young;
ask($writer, 'BEGIN');
ask($writer, 'INSERT INTO t VALUES (2, 0)');
ask($writer, q{PREPARE TRANSACTION 'followed'});
take_snapshot($young);
horizon_blamed('prepared transaction "followed"', 'one that is prepared');
ask($young, 'COMMIT');
ask($writer, q{ROLLBACK PREPARED 'followed'});
close_sessions($session, $young, $writer, $old);

# a query on a standby that asks for consideration
$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->append_conf('postgresql.conf',
	"hot_standby_feedback = on\nwal_receiver_status_interval = 1s\n");
$standby->start;
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
$session = open_session($standby);
ask($session, 'BEGIN ISOLATION LEVEL REPEATABLE READ');
ask($session, 'SELECT FROM t');
wait_for($node,
	"SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'walsender' AND backend_xmin IS NOT NULL",
	'the primary knows of it');
burn(600);
$pid = $node->safe_psql('postgres', 'SELECT pid FROM pg_stat_replication');
check_is('xmin_horizon', 'warning',
	qr/because of a standby or its queries, by walsender $pid of role "\w+"$/, 'a query on a standby');
close_sessions($session);
check_becomes('xmin_horizon', 'ok', qr/./, 'the query has ended');
$standby->stop;

#
# prepared_transactions
#
thresholds('prepared_transactions', 0.2, 3600);
$node->safe_psql('postgres',
	"BEGIN; INSERT INTO t VALUES (3, 0); PREPARE TRANSACTION 'left'; BEGIN; INSERT INTO t VALUES (4, 0); PREPARE TRANSACTION 'younger'");
check_becomes('prepared_transactions', 'warning',
	qr/^prepared transactions: 2, the oldest is "left" of role "\w+" in database "postgres", since 2/, 'after a while');
thresholds('prepared_transactions', 0.1, 0.2);
check_becomes('prepared_transactions', 'critical', qr/"left"/, 'later');
$node->safe_psql('postgres', "COMMIT PREPARED 'left'");
$node->safe_psql('postgres', "COMMIT PREPARED 'younger'");
check_is('prepared_transactions', 'ok', qr/^no transaction is prepared$/, 'they are committed');

#
# autovacuum_saturation: the only worker is kept busy by a table with a delay
#
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE slow (a int) WITH (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1,
	autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0);
INSERT INTO slow SELECT generate_series(1, 200000);
DELETE FROM slow;
ALTER SYSTEM SET autovacuum_naptime = '1s';
ALTER SYSTEM SET autovacuum = on;
SELECT pg_reload_conf();
SQL
wait_for($node,
	"SELECT EXISTS (SELECT FROM pg_stat_progress_vacuum WHERE relid = 'slow'::regclass)",
	'autovacuum_saturation: the worker is busy');
check_is('autovacuum_saturation', 'warning',
	qr/^autovacuum workers at work: 1 of 1, all for at least 00:\d\d:\d\d, the longest for 00:\d\d:\d\d$/, 'a worker is busy');
$node->safe_psql('postgres', <<'SQL');
ALTER SYSTEM SET autovacuum = off;
SELECT pg_reload_conf();
DROP TABLE slow;
SQL
check_becomes('autovacuum_saturation', 'ok', qr/: 0 of 1$/, 'its table is gone');

#
# checkpoints_requested: by so much WAL as max_wal_size does not hold
#
thresholds('checkpoints_requested', 0.83, 0.95);
$node->restart;
wait_for($node,
	"SELECT status = 'ok' AND message LIKE 'checkpoints in the last %' FROM infra_monitor.evaluate_checks() WHERE name = 'checkpoints_requested'",
	'checkpoints_requested is ok: the server has just been started');
$node->safe_psql('postgres', 'CREATE TABLE wal (a text)');
for (1 .. 1000)
{
	last
	  if $node->safe_psql('postgres',
		q{INSERT INTO wal SELECT repeat(md5(i::text), 20) FROM generate_series(1, 500) i;
SELECT infra_monitor.recent_growth('checkpoints_requested', checkpoints_requested, '01:00:00') >= 6 FROM infra_monitor.growing_counters()}) eq 't';
}
check_is('checkpoints_requested', 'critical',
	qr/^checkpoints in the last hour: \d+ on request, because of WAL or a command, 0 by checkpoint_timeout$/,
	'checkpoints come by WAL');
check_becomes('checkpoints_requested', 'warning', qr/, 1 by checkpoint_timeout$/,
	'one comes by the time');
check_becomes('checkpoints_requested', 'ok', qr/, [2-9] by checkpoint_timeout$/,
	'and others');

#
# pending_restart
#
$node->safe_psql('postgres',
	"ALTER SYSTEM SET max_connections = 77; ");
$node->safe_psql('postgres', 'ALTER SYSTEM SET max_files_per_process = 500');
$node->reload;
check_becomes('pending_restart', 'warning',
	qr/^changed settings that wait for a restart: max_connections, max_files_per_process$/, 'two were changed');
# the sampler, which was there before, sees it too
wait_for($node,
	"SELECT status = 'warning' FROM infra_monitor.health_checks WHERE name = 'pending_restart'",
	'also in what the sampler evaluates');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET max_connections');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET max_files_per_process');
$node->reload;
check_becomes('pending_restart', 'ok', qr/^no changed setting waits/, 'they were changed back');
wait_for($node,
	"SELECT status = 'ok' FROM infra_monitor.health_checks WHERE name = 'pending_restart'",
	'also in what the sampler evaluates');

#
# checksum_failures: a page is changed while the server is down
#
$node->safe_psql('postgres', 'CREATE DATABASE damaged');
$node->safe_psql('damaged',
	'CREATE TABLE t AS SELECT generate_series(1, 1000) AS a; CHECKPOINT');
my $file = $node->data_dir . '/'
  . $node->safe_psql('damaged', "SELECT pg_relation_filepath('t')");
$node->stop;
open my $handle, '+<', $file or die "$file: $!";
binmode $handle;
seek $handle, 4096, 0;
syswrite $handle, "damage";
close $handle;
$node->start;
check_is('checksum_failures', 'ok', qr/^no page was found damaged$/, 'nobody has read it');
my ($status) = $node->psql('damaged', 'SELECT count(*) FROM t');
isnt($status, 0, 'the page cannot be read');
check_becomes('checksum_failures', 'critical',
	qr/^damaged pages were read 1 times, the last at 2.*, in: database "damaged"$/, 'a page was damaged');
$node->safe_psql('damaged', 'DROP TABLE t');
check_is('checksum_failures', 'critical', qr/in: database "damaged"$/, 'it stays so');
$node->safe_psql('damaged', 'SELECT pg_stat_reset()');
check_becomes('checksum_failures', 'ok', qr/^no page was found damaged$/, 'until the statistics are reset');

# an unknown one is no good one
my $without = new_server('without', init => [ extra => $node->pg_version->major >= 18 ? ['--no-data-checksums'] : [] ]);
$without->start;
$without->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
is( $without->safe_psql('postgres',
		"SELECT status, value, message FROM infra_monitor.evaluate_checks() WHERE name = 'checksum_failures'"),
	'unknown||data checksums are off: nobody would notice a damaged page',
	'checksum_failures is unknown where there are no checksums');
$without->stop;

#
# xid_wraparound: with its default thresholds
#
check_is('xid_wraparound', 'ok', qr/transactions old/, 'at first');
foreach my $case ([ warning => 0x36e ], [ critical => 0x540 ])
{
	my ($status, $segment) = @$case;

	# as if so many transactions had come, to the first of a new file of pg_xact
	$node->stop;
	run_log([ 'pg_resetwal', '-x', $segment * 2**20, '-D', $node->data_dir ])
	  or die 'pg_resetwal failed';
	$node->start;
	check_is('xid_wraparound', $status, qr/^database "\w+" is \d{9,10} transactions old/, 'transactions were used up');
}
$node->safe_psql($_, 'VACUUM (FREEZE)') foreach databases();
check_is('xid_wraparound', 'ok', qr/transactions old/, 'all is frozen');

#
# S8: so near to the end that the server gives out no more transaction IDs.  A slot
# keeps autovacuum from repairing that before it was looked at.
#
my $ours = q{SELECT max(age(relfrozenxid)) FROM pg_class
	WHERE relnamespace = 'infra_monitor'::regnamespace AND relkind IN ('r', 't')};
$node->safe_psql('postgres', "SELECT pg_create_logical_replication_slot('holder', 'pgoutput')");
wait_for_sample($node, 'S8: samples at first');
my $log = log_end($node);
$node->stop;
run_log([ 'pg_resetwal', '-x', (0x540 + 0x7fe) * 2**20, '-D', $node->data_dir ])
  or die 'pg_resetwal failed';
$node->start;
($status, my $out, my $said) = $node->psql('postgres', 'CREATE TABLE one_more (a int)');
isnt($status, 0, 'S8: the server accepts no commands that write');
like($said, qr/database is not accepting commands/, 'S8: and says so');
wait_for($node, q{SELECT last_error ~ 'database is not accepting commands' FROM infra_monitor.sampler_status},
	'S8: so does the sampler');
my $sampler = status_of($node, 'pid');
check_is('xid_wraparound', 'critical', qr/^database "\w+" is \d{10} transactions old/, 'S8: health can be read');
my ($results) = read_everything($node, 'postgres');
is_deeply([ map { "$_: @{$results->{$_}}" } grep { $results->{$_}[0] ne '00000' } sort keys %$results ],
	[], 'S8: so can everything else');
is(status_of($node, 'pid'), $sampler, 'S8: it is one sampler, that idles');
my %tasks;
$tasks{$_}++ foreach slurp_file($node->logfile, $log) =~ /WARNING:  infra_monitor could not do its task "(\w+)": database is not accepting/g;
cmp_ok(scalar keys %tasks, '>', 0, 'S8: it has complained');
is_deeply([ grep { $tasks{$_} > 1 } sort keys %tasks ], [], 'S8: once for each of its tasks');

$node->safe_psql('postgres', "SELECT pg_drop_replication_slot('holder')");
$node->safe_psql($_, 'SET vacuum_freeze_min_age = 0; SET vacuum_freeze_table_age = 0; VACUUM (FREEZE, TRUNCATE off)') foreach databases();
check_is('xid_wraparound', 'ok', qr/transactions old/, 'S8: VACUUM repairs the server');
cmp_ok($node->safe_psql('postgres', $ours), '<', 100_000, 'S8: our tables are frozen with it');
is($node->psql('postgres', 'CREATE TABLE one_more (a int)'), 0, 'S8: it accepts commands');
wait_for_sample($node, 'S8: and samples go on by themselves');
is(status_of($node, 'pid'), $sampler, 'S8: by the same sampler');

$node->stop;
done_testing();
