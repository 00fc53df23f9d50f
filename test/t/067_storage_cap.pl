# infra_monitor.max_storage: the oldest days give way; when today alone is too
# large, writers pause one after the other, and resume by themselves.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

# Days are counted from today: not across midnight
not_across_midnight(400);

use constant MB => 1024 * 1024;

my $node = new_server(
	'cap',
	init => [ allows_streaming => 1 ],
	conf => <<'CONF');
infra_monitor.max_storage = 16MB
infra_monitor.statement_interval = 1s
infra_monitor.slow_query_threshold = -1
autovacuum = off
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
my $session = open_session($node);

# as large as an empty history is
wait_for_partitions($node);

sub partition_of
{
	my ($table, $day) = @_;

	return ask($session,
		"SELECT '${table}_' || to_char(now() AT TIME ZONE 'UTC' + interval '1 day' * $day, 'YYYYMMDD')");
}

# Makes a partition as the sampler would have, on that day.
sub make_partition
{
	my ($table, $day) = @_;
	my $name = partition_of($table, $day);

	ask($session, <<SQL);
DO \$\$
DECLARE
	day timestamptz := date_trunc('day', now(), 'UTC') + interval '1 day' * $day;
BEGIN
	SET LOCAL TimeZone = 'UTC';
	CREATE TABLE infra_monitor.$name (LIKE infra_monitor.$table INCLUDING DEFAULTS);
	EXECUTE format('ALTER TABLE infra_monitor.$table ATTACH PARTITION infra_monitor.$name FOR VALUES FROM (%L) TO (%L)',
		day, day + interval '1 day');
	ALTER EXTENSION infra_monitor ADD TABLE infra_monitor.$name;
END \$\$
SQL
	return $name;
}

# Bytes of the history.
sub stored
{
	return ask($session, 'SELECT infra_monitor.history_bytes()');
}

# Adds rows of 1 kB to wait_samples on that day.  They have no looks, and so are
# in nobody's way.
sub add_rows
{
	my ($rows, $day) = @_;

	ask($session, <<SQL);
INSERT INTO infra_monitor.wait_samples (sampled_at, epoch, datname, wait_event_type, wait_event, observations, looks)
SELECT date_trunc('day', now(), 'UTC') + interval '1 day' * $day + interval '1 second', 1, repeat('x', 1000), 'Filling', 'Filling', 0, 0
FROM generate_series(1, $rows)
SQL
	return;
}

# As many as make the history so large.
sub fill_up_to
{
	my ($bytes, $day) = @_;

	while ((my $missing = $bytes - stored()) > 0)
	{
		my $rows = 1 + int($missing * 0.9 / 1200);

		add_rows($rows, $day);
	}
	return;
}

sub rows_of
{
	my ($partition) = @_;

	return ask($session, "SELECT count(*) FROM infra_monitor.$partition");
}

sub paused
{
	return ask($session, "SELECT drops FROM infra_monitor.sampler_drops() WHERE reason = 'storage_paused'");
}

sub check_is
{
	my ($status, $message, $name) = @_;

	return like(
		ask($session, "SELECT status, message FROM infra_monitor.evaluate_checks('monitoring') WHERE name = 'history_size'"),
		qr/^$status\|$message$/, $name);
}

# Waits for the next looks of the sampler at the size of the history.
sub after_a_look
{
	my $seconds = ask($session, "SELECT seconds FROM infra_monitor.sampler_costs() WHERE task = 'storage'");

	return wait_for($node,
		"SELECT seconds > $seconds FROM infra_monitor.sampler_costs() WHERE task = 'storage'", 'a look');
}

wait_for_sample($node, 'samples are taken');
wait_for($node, 'SELECT count(*) > 0 FROM infra_monitor.statement_samples', 'and of statements, too');
is(status_of($node, 'bytes_stored') > 0 ? 't' : 'f', 't', 'which takes room');
check_is('ok', 'the history has [0-9]+ kB of the 16 MB of infra_monitor.max_storage', 'that is not much');

#
# the oldest day gives way, over all tables
#
# (in one transaction: the sampler drops an old partition that has no rows)
ask($session, 'BEGIN');
my @oldest = map { make_partition($_, -3) } qw(statement_texts wait_samples);
my @older = map { make_partition($_, -2) } qw(health_events wait_samples);
my $yesterday = make_partition('wait_samples', -1);
ask($session, <<'SQL');
INSERT INTO infra_monitor.statement_texts SELECT now() - interval '3 days', i, i, 'SELECT 1' FROM generate_series(1, 100) i;
INSERT INTO infra_monitor.health_events (at, check_name, new_status, since)
SELECT now() - interval '2 days', 'test', 'ok', now() FROM generate_series(1, 100)
SQL
add_rows(1, $_) for -3 .. -1;
ask($session, 'COMMIT');
fill_up_to(5 * MB, -3);
fill_up_to(10 * MB, -2);
fill_up_to(14.6 * MB, -1);
after_a_look() for 1 .. 2;
is(join(' ', map { rows_of($_) > 0 ? 't' : 'f' } @oldest, @older, $yesterday),
	't t t t t', 'below the maximum nothing is removed');
check_is('warning',
	'the history has 1[45] MB of the 16 MB of infra_monitor.max_storage; its oldest day gives way to what is new: it has 4 days, and keeps no more',
	'but the check warns');
my @rows = map { rows_of($_) } @older;
# at once, or more is added to what a removal in between has left
fill_up_to(15.1 * MB, -1);
add_rows(200, -1);
push @rows, rows_of($yesterday);
wait_for($node, "SELECT (SELECT count(*) FROM infra_monitor.$oldest[1]) = 0", 'the oldest day is emptied');
after_a_look() for 1 .. 2;
is(join(' ', map { rows_of($_) } @older, $yesterday), "@rows", 'the others stay');
cmp_ok(rows_of($oldest[0]), '>', 0, 'that day of a small table is kept while there is room');
cmp_ok(stored(), '<', 16 * MB, 'the history is smaller than the maximum');
is(paused(), 0, 'and no writing was left out');

#
# what was emptied is dropped when partitions are looked after
#
ask($session, "TRUNCATE infra_monitor.$oldest[0]");
end_sampler($session);
wait_for($node, "SELECT count(*) = 0 FROM pg_class WHERE relname IN ('$oldest[0]', '$oldest[1]')",
	'the empty partitions of that day are dropped');
is(join(' ', map { rows_of($_) } @older, $yesterday), "@rows", 'no others');

#
# somebody reads the oldest day
#
my $reader = open_session($node);
my $other = open_session($node);
fill_up_to(15.1 * MB, -1);
ask($reader, 'BEGIN');
ask($reader, "SELECT count(*) FROM infra_monitor.$older[0]");
ask($reader, "SELECT count(*) FROM infra_monitor.$older[1]");
# not to be delayed ourselves: without a look at the size
my $start = ask($session, 'SELECT clock_timestamp()');
add_rows(200, -1);
my $longest = 0;
for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
{
	my $time = seconds { ask($other, "SELECT count(*) FROM infra_monitor.$older[1]") };

	$longest = $time if $time > $longest;
	last if ask($other, "SELECT last_error LIKE 'storage: %' AND last_error_at > '$start' FROM infra_monitor.sampler_status") eq 't';
	usleep(5_000);
}
is(status_of($node, 'last_error'), 'storage: canceling statement due to lock timeout', 'the sampler gives up, and says so');
note sprintf('the longest wait behind it: %.3f s', $longest);
# without a timeout they would until the reader has done
cmp_ok($longest, '<', 20, 'nobody queues behind it for long');
is(rows_of($older[1]), $rows[1], 'the rows are there');
cmp_ok(rows_of($yesterday), '>=', $rows[2], 'and no younger day is taken instead');
wait_for_sample($node, 'samples are taken meanwhile');
my $now = ask($session, 'SELECT now()');
wait_for($node, "SELECT EXISTS (SELECT FROM infra_monitor.statement_samples WHERE sampled_at > '$now')",
	'and those of statements, while there is room');
fill_up_to(16 * MB, -1);
wait_for($node, "SELECT (drops->>'storage_paused')::int > 2 FROM infra_monitor.sampler_status",
	'without room they pause');
ask($reader, 'COMMIT');
wait_for($node, "SELECT (SELECT count(*) FROM infra_monitor.$older[1]) = 0", 'when the reader is done, the day is emptied');
cmp_ok(rows_of($yesterday), '>', 0, 'yesterday is kept');
$now = ask($session, 'SELECT clock_timestamp()');
wait_for($node, "SELECT EXISTS (SELECT FROM infra_monitor.statement_samples WHERE sampled_at > '$now')",
	'and statements are written again');
close_sessions($reader, $other);

#
# today alone: many slow executions with long texts
#
fill_up_to(14.5 * MB, -1);
my $busy = open_session($node);
ask($busy, 'SET infra_monitor.slow_query_threshold = 0');
my $before = paused();
my $most = 0;
my $long_name = 'y' x 60;
my $bulk = 'SELECT ' . join(', ', map { "1 AS ${long_name}_$_" } 1 .. 12) . ';';
for (1 .. 30 * $PostgreSQL::Test::Utils::timeout_default)
{
	ask($busy, $bulk) for 1 .. 200;
	my $bytes = stored();
	$most = $bytes if $bytes > $most;
	last if $bytes >= 16 * MB && paused() > $before + 5;
	next if $bytes >= 15.9 * MB || rows_of($yesterday) > 0;

	# a little at a time, of which writers know after the next look
	fill_up_to($bytes < 14 * MB ? 14 * MB : $bytes + 100_000, 0);
	after_a_look();
}
is(rows_of($yesterday), 0, 'all days before today are removed');
cmp_ok($most, '>=', 16 * MB, 'today alone reaches the maximum');
check_is('critical',
	'the history has \d+ MB of the 16 MB of infra_monitor.max_storage; waits, statements and slow executions are not written',
	'the check is critical');
wait_for($node, "SELECT status = 'critical' FROM infra_monitor.health_checks WHERE name = 'history_size'", 'for the sampler, too');

# which tables grow?
my %count = map { $_ => "SELECT count(*) FROM infra_monitor.$_" }
  qw(samples wait_samples statement_samples statement_texts slow_query_samples);
my %n = map { $_ => ask($session, $count{$_}) } keys %count;
my $marker = 'SELECT 1 AS storage_marker';
ask($session, $marker) for 1 .. 7;
for (1 .. 5)
{
	ask($busy, $bulk) for 1 .. 300;
	wait_for_sample($node, 'samples are taken');
	my $bytes = stored();
	$most = $bytes if $bytes > $most;
}
foreach my $table (sort grep { $_ ne 'samples' } keys %count)
{
	is(ask($session, $count{$table}), $n{$table}, "nothing is written to $table");
}
my $error = try_ask($session, 'SELECT infra_monitor.take_statement_sample()');
is($session->{sqlstate}, '53400', 'nor by hand');
like($session->{hint}, qr/^Raise infra_monitor\.max_storage/, 'which says what to do');
like(ask($session, 'SELECT infra_monitor.take_sample()'), qr/^20/, 'but a sample is taken by hand');

note sprintf('at most %.1f %% of the maximum by details', 100 * $most / (16 * MB));

# samples pause, too, short of 10 % above, and nothing is beyond that
my $events = 'SELECT count(*) FROM infra_monitor.health_events';
fill_up_to(ask($session, <<'SQL'), 0);
SELECT min(b) FROM generate_series(16 * 1048576::bigint, 18 * 1048576, 10000) b, infra_monitor.history_limit(b) l WHERE l.level = 3
SQL
is(ask($session, 'SELECT level FROM infra_monitor.history_limit(infra_monitor.history_bytes())'), 3, 'the history grows further');
wait_for($node, "SELECT last_error = 'sample: the history has reached infra_monitor.max_storage' FROM infra_monitor.sampler_status",
	'no samples any more');
$n{samples} = ask($session, $count{samples});
is(try_ask($session, 'SELECT infra_monitor.take_sample()'), undef, 'nor by hand');
is($session->{sqlstate}, '53400', 'with the same error');
is(try_ask($session, 'SELECT infra_monitor.roll_up(now())'), undef, 'nothing is rolled up');
is($session->{sqlstate}, '53400', 'which is that error, too');
check_is('critical', '.*; nothing is written but health events', 'the check says so');
$n{events} = ask($session, $events);
ask($session, "INSERT INTO infra_monitor.health_threshold_overrides VALUES ('lock_waits', 0, 0)");
wait_for($node, "SELECT ($events) > $n{events}", 'which are');
my $missed = status_of($node, 'missed');
wait_for($node, "SELECT missed > $missed FROM infra_monitor.sampler_status", 'samples that were left out are missed');
is(ask($session, $count{samples}), $n{samples}, 'none was taken');
my $bytes = stored();
$most = $bytes if $bytes > $most;
note sprintf('at most %.1f %% of the maximum', 100 * $most / (16 * MB));
cmp_ok($most, '<=', 1.1 * 16 * MB, 'never more than a tenth above the maximum');
fill_up_to(1.1 * 16 * MB, 0);
# until then, writers do not know what we have written
after_a_look();
$before = paused();
wait_for($node, "SELECT (drops->>'storage_paused')::int > $before + 1 FROM infra_monitor.sampler_status", 'the sampler has seen that');
$before = paused();
$n{events} = ask($session, $events);
ask($session, "DELETE FROM infra_monitor.health_threshold_overrides");
wait_for($node, "SELECT (drops->>'storage_paused')::int > $before + 3 FROM infra_monitor.sampler_status", 'at last nothing is written');
is(ask($session, $events), $n{events}, 'no event either');
check_is('critical', '.*; nothing is written', 'the check says so');

# all goes on when there is room: the maximum is raised
$node->append_conf('postgresql.conf', "infra_monitor.max_storage = '64MB'");
$node->reload;
wait_for($node, "SELECT ($events) > $n{events}", 'with more room events are written again');
wait_for($node, "SELECT ($count{$_}) > $n{$_}", "and $_") foreach sort keys %count;
is( ask($session, <<'SQL'), 7, 'what statements have done meanwhile is not lost');
SELECT sum(s.calls) FROM infra_monitor.statement_samples s
WHERE (s.queryid, s.dbid) IN (SELECT queryid, dbid FROM infra_monitor.statement_texts WHERE query LIKE '%storage_marker%' AND query NOT LIKE '%texts%')
SQL
check_is('ok', '.*', 'the check is content');

# rows are removed by hand
$node->append_conf('postgresql.conf', "infra_monitor.max_storage = '16MB'");
$node->reload;
$before = paused();
wait_for($node, "SELECT (drops->>'storage_paused')::int > $before FROM infra_monitor.sampler_status", 'with less room they pause again');
$n{$_} = ask($session, $count{$_}) foreach keys %count;
ask($session, 'TRUNCATE infra_monitor.slow_query_samples, infra_monitor.wait_samples');
$now = ask($session, 'SELECT clock_timestamp()');
wait_for($node, "SELECT EXISTS (SELECT FROM infra_monitor.$_ WHERE sampled_at > '$now')", "rows removed by hand: $_ goes on")
  foreach qw(samples statement_samples wait_samples);

#
# elsewhere
#
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION infra_monitor CASCADE');
is( $node->safe_psql('other', 'SELECT value, message FROM infra_monitor.check_history_size()'),
	'|the history is in another database', 'not known in another database');
$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
is( $standby->safe_psql('postgres',
		"SELECT value > 0, message ~ '^the history has ' FROM infra_monitor.check_history_size()"),
	't|t', 'known on a standby');
$standby->stop;

close_sessions($session, $busy);
$node->stop;
done_testing();
