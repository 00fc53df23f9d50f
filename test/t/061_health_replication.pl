# Health checks of replication and archiving: each fault is made for real, is
# seen, and is no longer seen when it is over.

use strict;
use warnings;

use IPC::Run;
use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Waits until a check, evaluated now and without its hold, has a status.
sub wait_check
{
	my ($node, $check, $status, $name) = @_;

	return wait_for($node,
		"SELECT status FROM infra_monitor.evaluate_checks('replication') WHERE name = '$check'",
		"$check: $name", $status);
}

sub message_of
{
	my ($node, $check) = @_;

	return $node->safe_psql('postgres',
		"SELECT message FROM infra_monitor.evaluate_checks('replication') WHERE name = '$check'");
}

# Settings of the server, from now on.  Writes no WAL.
sub set
{
	my ($node, %settings) = @_;

	$node->safe_psql('postgres',
		join('', map { "ALTER SYSTEM SET $_ = '$settings{$_}';\n" } sort keys %settings)
		  . 'SELECT pg_reload_conf();');
	return;
}

# Fills segments of WAL, each with a change that counts.
sub fill_segments
{
	my ($node, $n) = @_;

	$node->safe_psql('postgres',
		"SELECT pg_logical_emit_message(true, 'x', 'x');\nSELECT pg_switch_wal();\n" x $n);
	return;
}

# Durations that a test need not wait for.
sub hurry
{
	my ($node, %warnings) = @_;

	$node->safe_psql('postgres',
		"INSERT INTO infra_monitor.health_threshold_overrides (check_name, warning) VALUES ('$_', $warnings{$_})")
	  foreach sort keys %warnings;
	return;
}

#
# Slots
#
my $alone = new_server('alone', init => [ allows_streaming => 1, extra => ['--wal-segsize=1'] ]);
$alone->append_conf('postgresql.conf', <<'CONF');
archive_mode = on
archive_command = 'exit 0'
archive_timeout = 0
wal_keep_size = 0
CONF
$alone->start;
$alone->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
hurry($alone, slots_inactive => 0.5, wal_archiving => 0.5, wal_archive_age => 0.5);

is( $alone->safe_psql('postgres', <<'SQL'), '', 'nothing is wrong with a server that is alone');
SELECT name, status, message FROM infra_monitor.evaluate_checks('replication')
WHERE status <> 'ok' AND name NOT LIKE '%archiv%'
SQL
is($alone->safe_psql('postgres', "SELECT pg_create_physical_replication_slot('empty')"),
	'(empty,)', 'a slot that holds nothing');
is(message_of($alone, 'slots_inactive'), 'no replication slot is without a user', 'is nobody\'s fault');

$alone->safe_psql('postgres', "SELECT pg_create_physical_replication_slot('forgotten', true)");
wait_check($alone, 'slots_inactive', 'warning', 'one that holds WAL');
like(message_of($alone, 'slots_inactive'),
	qr/^replication slots without a user: 1, "forgotten" for \d/, 'it is named');
is( $alone->safe_psql('postgres', <<'SQL'), 'f|warning', 'only the sampler remembers and forgets');
SELECT EXISTS (SELECT FROM infra_monitor.seen_since('inactive slot', '{}')), status
FROM infra_monitor.evaluate_checks() WHERE name = 'slots_inactive'
SQL
my (undef, undef, $refusal) = $alone->psql('postgres',
	"SELECT infra_monitor.seen_since('inactive slot', array_fill('x'::text, ARRAY[10000]))");
like($refusal, qr/seen_since\(\) takes at most \d+ names/, 'and no list keeps it from that for long');
is( $alone->safe_psql('postgres', <<'SQL'), "t\nt", 'one that is moved has a user');
SELECT clock_timestamp() AS before \gset
SELECT pg_switch_wal() IS NOT NULL;
SELECT FROM pg_replication_slot_advance('forgotten', pg_current_wal_lsn()) \g /dev/null
SELECT value <= extract(epoch FROM clock_timestamp() - :'before')
FROM infra_monitor.evaluate_checks() WHERE name = 'slots_inactive'
SQL
my $receiver = IPC::Run::start(
	[
		'pg_receivewal', '--slot', 'forgotten', '--no-loop', '-D',
		PostgreSQL::Test::Utils::tempdir('receivewal'), '-d', $alone->connstr('postgres')
	],
	'>', '/dev/null', '2>', '/dev/null');
wait_check($alone, 'slots_inactive', 'ok', 'it has a user');
wait_for($alone,
	"SELECT message LIKE 'standbys connected: 1,%' FROM infra_monitor.evaluate_checks() WHERE name = 'replication_lag_bytes'",
	'who is seen, though it replays nothing');
$receiver->signal('INT');
$receiver->finish;
wait_check($alone, 'slots_inactive', 'warning', 'and has lost it');
$alone->safe_psql('postgres', "SELECT pg_drop_replication_slot('forgotten')");
wait_check($alone, 'slots_inactive', 'ok', 'it is dropped');

wait_check($alone, 'slots_retained_wal', 'ok', 'a slot that holds nothing');
set($alone, max_slot_wal_keep_size => '16MB');
# it begins at the last checkpoint
$alone->safe_psql('postgres', 'CHECKPOINT');
$alone->safe_psql('postgres', "SELECT pg_create_physical_replication_slot('behind', true)");
wait_check($alone, 'slots_retained_wal', 'ok', 'a new slot');
fill_segments($alone, 10);
wait_check($alone, 'slots_retained_wal', 'warning', '10 segments of 16');
like(message_of($alone, 'slots_retained_wal'),
	qr/^slot "behind" retains \d+ .*B of WAL; it is lost after another \d+ .*B, the disk has \d+ .*B left$/,
	'what it retains');
wait_check($alone, 'slots_lost', 'ok', 'it still has its WAL');
fill_segments($alone, 5);
wait_check($alone, 'slots_retained_wal', 'critical', '15 of 16');
fill_segments($alone, 10);
wait_check($alone, 'slots_lost', 'critical', 'it has lost it, or will');
$alone->safe_psql('postgres', 'CHECKPOINT');
wait_for($alone, "SELECT wal_status = 'lost' FROM pg_replication_slots WHERE slot_name = 'behind'",
	'it has lost its WAL');
wait_check($alone, 'slots_lost', 'critical', 'a lost slot');
is( message_of($alone, 'slots_lost'),
	'replication slots that have lost WAL, or will at the next checkpoint: 1, "behind" is lost',
	'which one');
wait_check($alone, 'slots_retained_wal', 'ok', 'a lost slot retains nothing');
wait_check($alone, 'slots_inactive', 'ok', 'and is not waited for');
$alone->safe_psql('postgres', "SELECT pg_drop_replication_slot('behind')");
wait_check($alone, 'slots_lost', 'ok', 'it is dropped');

#
# Archiving
#
wait_check($alone, 'wal_archiving', 'ok', 'what was complete is in the archive');
wait_check($alone, 'wal_archive_age', 'ok', 'without archive_timeout the rest does not count');
is( message_of($alone, 'wal_archive_age'),
	'no complete WAL segment waits for archiving; the current one is archived when it is full',
	'which is said');

set($alone, archive_command => 'exit 1');
fill_segments($alone, 1);
wait_check($alone, 'wal_archiving', 'warning', 'the command fails');
wait_for($alone,
	"SELECT message ~ '^WAL segments waiting for archiving: 1, .*; failures so far: [1-9]\\d*, the last at ' FROM infra_monitor.evaluate_checks() WHERE name = 'wal_archiving'",
	'how often');
wait_check($alone, 'wal_archive_age', 'warning', 'the archive grows old');
like( message_of($alone, 'wal_archive_age'),
	qr/^the archive lacks WAL from \d.*; last archived: [0-9A-F]{24} at /,
	'since when');
set($alone, archive_command => 'exit 0');
wait_check($alone, 'wal_archiving', 'ok', 'the command works');
wait_check($alone, 'wal_archive_age', 'ok', 'and so the archive is complete');

# Nothing fails, but the segment is not archived for long.
set($alone, archive_timeout => '1h');
wait_check($alone, 'wal_archive_age', 'warning', 'archive_timeout is too long');
wait_check($alone, 'wal_archiving', 'ok', 'though no segment waits');
set($alone, archive_timeout => '0');
wait_check($alone, 'wal_archive_age', 'ok', 'archive_timeout is off');
$alone->stop;

#
# Standbys
#
my $primary = new_server('primary', init => [ allows_streaming => 1 ]);
$primary->start;
$primary->safe_psql('postgres',
	'CREATE EXTENSION infra_monitor CASCADE; CREATE ROLE monitor LOGIN IN ROLE pg_monitor');
hurry(
	$primary,
	replication_lag => 0.5,
	replication_lag_bytes => 1024 * 1024,
	wal_receiver => 0.5,
	replay_paused => 0.5);
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->append_conf('postgresql.conf', <<'CONF');
wal_receiver_status_interval = 1s
wal_retrieve_retry_interval = 100ms
CONF
$standby->start;
wait_check($standby, $_, 'ok', 'a standby that follows')
  foreach qw(replication_lag replication_lag_bytes wal_receiver replay_paused
  sync_standby_missing slots_retained_wal wal_archive_age);
like(message_of($primary, 'replication_lag_bytes'),
	qr/^standbys connected: 1, the slowest is /, 'seen from its primary');

is( $standby->safe_psql('postgres',
		"SELECT name, message FROM infra_monitor.evaluate_checks() WHERE status = 'unknown' AND unit IS NULL",
		connstr => $standby->connstr('postgres') . ' user=monitor'),
	'', 'nor does pg_monitor lack a right there');

# Replay stands still, once it has seen a transaction.
wait_for($standby, 'SELECT pg_last_xact_replay_timestamp() IS NOT NULL', 'a transaction was replayed');
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
wait_check($standby, 'replay_paused', 'warning', 'somebody has paused it');
like(message_of($standby, 'replay_paused'), qr/^replay is paused, for \d/, 'since when');
$primary->safe_psql('postgres',
	"SELECT pg_logical_emit_message(true, 'x', repeat('x', 2000000))");
foreach my $node ($primary, $standby)
{
	wait_check($node, $_, 'warning', 'replay is behind, seen on the ' . $node->name)
	  foreach qw(replication_lag_bytes replication_lag);
}
wait_check($standby, 'wal_receiver', 'ok', 'WAL is streaming');
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
foreach my $node ($primary, $standby)
{
	wait_check($node, $_, 'ok', 'replay goes on, seen on the ' . $node->name)
	  foreach qw(replication_lag_bytes replication_lag);
}
wait_check($standby, 'replay_paused', 'ok', 'it goes on');

# The standby cannot reach its primary.
my $conninfo = $standby->safe_psql('postgres', 'SHOW primary_conninfo');
$conninfo =~ s/'/''/g;
set($standby, primary_conninfo => 'host=/nowhere');
wait_check($standby, 'wal_receiver', 'warning', 'the primary cannot be reached');
like(message_of($standby, 'wal_receiver'), qr/^no WAL is streaming, for \d/, 'since when');
wait_for($primary,
	"SELECT message FROM infra_monitor.evaluate_checks('replication') WHERE name = 'replication_lag'",
	'the primary misses nobody', 'no standby is connected');
set($standby, primary_conninfo => $conninfo);
wait_check($standby, 'wal_receiver', 'ok', 'it is reached again');

# One that knows no primary has only the archive.
set($standby, primary_conninfo => '');
wait_check($standby, 'wal_receiver', 'ok', 'there is no primary to reach');
like(message_of($standby, 'wal_receiver'), qr/restores from the archive/, 'which is said');
$standby->restart;
wait_check($standby, $_, 'unknown', 'who knows what the archive has?')
  foreach qw(replication_lag replication_lag_bytes);
set($standby, primary_conninfo => $conninfo);
wait_check($standby, $_, 'ok', 'it streams again')
  foreach qw(replication_lag replication_lag_bytes wal_receiver);

# Commits wait for a standby that is not there.
wait_check($primary, 'sync_standby_missing', 'ok', 'nobody waits');
set($primary, synchronous_standby_names => 'elsewhere');
wait_check($primary, 'sync_standby_missing', 'critical', 'a standby of this name is not there');
my $writer = open_session($primary);
send_query($writer, 'CREATE TABLE waits (id int)');
wait_for($primary,
	"SELECT message = 'synchronous standbys demanded: 1, streaming: 0; sessions that wait for one: 1' FROM infra_monitor.evaluate_checks() WHERE name = 'sync_standby_missing'",
	'a commit waits');
set($primary, synchronous_standby_names => 'ANY 1 (elsewhere, standby)');
wait_check($primary, 'sync_standby_missing', 'ok', 'one of two is there');
ok(defined answer_of($writer), 'the commit goes on');
close_sessions($writer);
foreach my $names ('ANY 2 (elsewhere, standby)', 'first 2 (standby, elsewhere)', '2(standby, elsewhere)')
{
	set($primary, synchronous_standby_names => $names);
	wait_check($primary, 'sync_standby_missing', 'critical', $names);
}
set($primary, synchronous_standby_names => 'FIRST 1 (standby, elsewhere)');
wait_check($primary, 'sync_standby_missing', 'ok', 'the first of two is there');
$standby->stop;
wait_check($primary, 'sync_standby_missing', 'critical', 'it is stopped');
wait_for($primary, "SELECT infra_monitor.health_status() = 'unhealthy'", 'which is not healthy');
$standby->start;
wait_check($primary, 'sync_standby_missing', 'ok', 'it is back');

$standby->stop;
set($primary, synchronous_standby_names => '');
wait_check($primary, 'sync_standby_missing', 'ok', 'nobody is waited for');
$primary->stop;
done_testing();
