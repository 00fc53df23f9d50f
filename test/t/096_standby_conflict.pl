# U4: who reads our history on a standby, and is in the way of replay, is cancelled
# like everybody else; so is the sampler of the standby, which lives on.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = new_server(
	'primary',
	init => [ allows_streaming => 1 ],
	conf => <<'CONF');
autovacuum = off
infra_monitor.statement_interval = 1s
CONF
$primary->start;
$primary->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE; CREATE TABLE of_user AS SELECT 1 AS i');
wait_for_sample($primary, 'the primary samples');
wait_for_partitions($primary);
$primary->backup('backup');

# From now on only what is done here is in anybody's way.
$primary->safe_psql('postgres', 'ALTER SYSTEM SET infra_monitor.enabled = off');
$primary->reload;
wait_for($primary, q{SELECT state = 'disabled' FROM infra_monitor.sampler_status}, 'the primary writes nothing by itself');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->append_conf('postgresql.conf', <<'CONF');
max_standby_streaming_delay = 100ms
max_standby_archive_delay = 100ms
hot_standby_feedback = off
CONF
$standby->start;
wait_for($standby, q{SELECT state = 'standby' FROM infra_monitor.sampler_status}, 'U4: the standby has a sampler');
wait_for($standby, q{SELECT count(*) > 0 FROM infra_monitor.health_cache()}, 'U4: which looks at health');
$primary->wait_for_catchup($standby);
my $log = log_end($standby);

# The session, or the next one, reads again.  A signal of the conflict that came late
# may hit what comes after it.
sub reads_again
{
	my ($reader, $query) = @_;
	my $answer = try_ask($reader, $query);

	for (1 .. 10)
	{
		last if defined $answer;
		note "again: $reader->{sqlstate} $reader->{message}";
		$answer = try_ask(open_session($standby), $query);
	}
	return like($answer, qr/(?:^|\|)[1-9]\d*$/, 'U4: it is read again');
}

# VACUUM leaves rows in a page that somebody looks at just then: again, until what it
# does is in somebody's way.
sub vacuum_until
{
	my ($command, $done) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	until ($done->() || time > $deadline)
	{
		$primary->safe_psql('postgres', $command);
		$primary->wait_for_catchup($standby);
	}
	return;
}

# A partition of a day long ago, with rows.
sub make_partition
{
	$primary->safe_psql('postgres', <<'SQL');
BEGIN;
CREATE TABLE infra_monitor.samples_20200101 (LIKE infra_monitor.samples INCLUDING DEFAULTS);
ALTER TABLE infra_monitor.samples ATTACH PARTITION infra_monitor.samples_20200101
	FOR VALUES FROM ('2020-01-01 00:00+00') TO ('2020-01-02 00:00+00');
INSERT INTO infra_monitor.samples
SELECT s.* FROM (SELECT * FROM infra_monitor.samples ORDER BY sampled_at DESC LIMIT 1) l,
	jsonb_populate_record(l::infra_monitor.samples, '{"sampled_at": "2020-01-01 12:00+00"}') s;
COMMIT
SQL
	return;
}

# What readers do, and what of the primary they are in the way of.
my $vacuum = 'UPDATE infra_monitor.health_threshold_overrides SET warning = warning + 1; VACUUM infra_monitor.health_threshold_overrides';
$primary->safe_psql('postgres', q{INSERT INTO infra_monitor.health_threshold_overrides (check_name, warning) VALUES ('lock_waits', 1)});
my @cases = (
	[ 'a view, rows are removed', 'SELECT count(*), pg_sleep(600) FROM infra_monitor.health_thresholds', $vacuum ],
	[ 'history, rows of another table are removed', 'SELECT count(*), pg_sleep(600) FROM infra_monitor.samples',
		'UPDATE of_user SET i = i + 1; VACUUM of_user' ],
	[ 'history, a day is removed', 'SELECT count(*), pg_sleep(600) FROM infra_monitor.samples',
		'DROP TABLE infra_monitor.samples_20200101' ],
	[ 'a function, a day is removed', q{SELECT count(*), pg_sleep(600) FROM infra_monitor.pool_history('2020-01-01')},
		'DROP TABLE infra_monitor.samples_20200101' ],
	[ 'health, history is locked', 'SELECT infra_monitor.evaluate_health() IS NOT NULL, count(*), pg_sleep(600) FROM infra_monitor.samples',
		'BEGIN; LOCK TABLE infra_monitor.samples; SELECT pg_current_xact_id(); COMMIT' ],
	[ 'a table that is not ours, for comparison', 'SELECT count(*), pg_sleep(600) FROM of_user', 'UPDATE of_user SET i = i + 1; VACUUM of_user' ]);
foreach my $case (@cases)
{
	my ($name, $query, $command) = @$case;

	make_partition() if $command =~ /20200101/;
	$primary->wait_for_catchup($standby);
	my $reader = open_session($standby, application_name => 'reader');
	my $of_reader = ask($reader, 'SELECT pg_backend_pid()');
	send_query($reader, $query);
	wait_for($standby, "SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = $of_reader AND wait_event = 'PgSleep'", "U4: $name: it is being read");
	$primary->safe_psql('postgres', $command);
	$primary->wait_for_catchup($standby);
	vacuum_until($command, sub { has_answered($reader) }) if $command =~ /VACUUM/;
	is(answer_of($reader), undef, "U4: $name: the reader is cancelled");
	is($reader->{sqlstate}, '40001', 'U4: with the SQLSTATE of PostgreSQL');
	like($reader->{message}, qr/^canceling statement due to conflict with recovery$/, 'U4: and its message');
	$primary->wait_for_catchup($standby);
	reads_again($reader, $query =~ s/, pg_sleep\(600\)//r);
	close_sessions($reader);
}

# A transaction of ours that is idle is ended, as any other.
my $reader = open_session($standby);
ask($reader, 'BEGIN ISOLATION LEVEL REPEATABLE READ');
ask($reader, 'SELECT count(*) FROM infra_monitor.samples');
my $answer;
vacuum_until($vacuum, sub { !defined($answer = try_ask($reader, 'SELECT count(*) FROM infra_monitor.samples')) });
is($answer, undef, 'U4: a transaction that has read history is in the way: it is ended');
is($reader->{sqlstate}, '40001', 'U4: with the SQLSTATE of PostgreSQL');

#
# The sampler in the way: one of its checks reads for long.  PostgreSQL cannot cancel
# what is done in a subtransaction, and ends the process; so it does with each
# session that catches errors.  The next sampler takes over what is in memory.
#
$primary->safe_psql('postgres', <<'SQL');
CREATE OR REPLACE FUNCTION infra_monitor.check_lock_waits(OUT value float8, OUT unit text, OUT message text)
LANGUAGE sql AS 'SELECT count(*), $$$$, $$slept$$ FROM infra_monitor.samples, pg_sleep(1)'
SQL
$primary->wait_for_catchup($standby);
my $conflicts = 'SELECT confl_snapshot + confl_lock FROM pg_stat_database_conflicts WHERE datname = current_database()';
my $before = $standby->safe_psql('postgres', $conflicts);
my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
my $met = 0;
my $last_look;
until ($met || time > $deadline)
{
	$standby->poll_query_until('postgres',
		q{SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'infra_monitor sampler' AND wait_event = 'PgSleep'}) or last;
	$last_look = $standby->safe_psql('postgres', 'SELECT clock_timestamp()');
	$primary->safe_psql('postgres', $vacuum);
	$primary->wait_for_catchup($standby);
	$met = $standby->safe_psql('postgres', $conflicts) > $before;
}
ok($met, 'U4: the sampler was in the way of replay, and was cancelled');
$primary->safe_psql('postgres', <<'SQL');
CREATE OR REPLACE FUNCTION infra_monitor.check_lock_waits(OUT value float8, OUT unit text, OUT message text)
LANGUAGE sql AS 'SELECT 0, $$$$, $$awake$$'
SQL
$primary->wait_for_catchup($standby);
wait_for($standby, q{SELECT count(*) = 1 FROM infra_monitor.health_cache(), jsonb_array_elements(document->'checks') c
	WHERE c->>'message' = 'awake'}, 'U4: health is looked at again');
is(status_of($standby, 'state'), 'standby', 'U4: the sampler is in the state that it had');
is($standby->safe_psql('postgres', "SELECT min(at) < '$last_look' FROM infra_monitor.sample_ring()"), 't', 'U4: with samples that it had');
is(log_count($standby, qr/sampler.*(?:exit code [^1]|signal)/, $log), 0, 'U4: it has crashed in no case');

my ($results) = read_everything($standby, 'postgres');
is_deeply([ map { "$_: @{$results->{$_}}" } grep { $results->{$_}[0] ne '00000' } sort keys %$results ],
	[], 'U4: everything can be read on the standby');
is(log_count($standby, qr/PANIC|TRAP: |terminated by signal|terminating any other/, $log), 0, 'U4: no process has crashed');
is($standby->safe_psql('postgres', 'SELECT pg_is_in_recovery()'), 't', 'U4: it is still a standby');
$_->stop foreach $standby, $primary;
done_testing();
