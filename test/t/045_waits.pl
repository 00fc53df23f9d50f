# Wait sampling: a known workload is profiled as it is; what is stored adds up to
# what was counted, whatever fails, restarts or is reset meanwhile.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('waits',
	init => [ allows_streaming => 1 ],
	conf => "infra_monitor.activity_interval = 100ms\ninfra_monitor.statement_interval = 1s\nautovacuum = off\nmax_connections = 100\n");
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION infra_monitor CASCADE;
CREATE DATABASE work;
SQL

# Sends a query, and does not wait for its answer.
sub begin_query
{
	my ($session, $query) = @_;

	$session->{socket}->syswrite('Q' . pack('N', 5 + length $query) . "$query\0");
	return $session;
}

# A session in the database of the workload.
sub worker
{
	my ($on) = @_;

	return open_session($on // $node, database => 'work');
}

# Ends all sessions of the workload.
sub end_workload
{
	my ($observer, @workers) = @_;

	ask($observer, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'work' AND backend_type = 'client backend'");
	wait_in_session($observer, "SELECT count(*) FROM pg_stat_activity WHERE datname = 'work'", 'the workload has ended', 0);
	close_sessions(@workers);
	return;
}

# What was stored of the workload in this epoch, against what was counted.  (The
# sampler may store something between any moment and the reset that comes next.)
sub differences
{
	return <<'SQL';
SELECT count(*) FROM (
	SELECT wait_event_type, wait_event, observations::numeric FROM (
		SELECT wait_event_type, wait_event, sum(observations) AS observations
		FROM infra_monitor.wait_samples WHERE datname = 'work'
			AND epoch = (SELECT epoch FROM infra_monitor.samples ORDER BY sampled_at DESC LIMIT 1) GROUP BY 1, 2) s
	FULL JOIN (
		SELECT wait_event_type, wait_event, sum(observations) AS counted
		FROM infra_monitor.wait_profile WHERE datname = 'work' GROUP BY 1, 2) p
	USING (wait_event_type, wait_event)
	WHERE observations IS DISTINCT FROM counted) d
SQL
}

# What was counted of the workload: event, observations, looks.
my $counted = <<'SQL';
SELECT wait_event_type || ':' || wait_event AS event, sum(observations) AS observations, max(looks) AS looks
FROM infra_monitor.wait_counts() WHERE dbid = (SELECT oid FROM pg_database WHERE datname = 'work') GROUP BY 1
SQL
my $moment = 'SELECT clock_timestamp()';
my $epoch = 'SELECT epoch FROM infra_monitor.samples ORDER BY sampled_at DESC LIMIT 1';

#
# one sleeps, one waits for a lock, one is busy, one is idle, one left a transaction
#
my $observer = open_session($node);
my ($sleeper, $blocker, $waiter, $busy, $idle) = map { worker() } 1 .. 5;
my $sleep = 'SELECT pg_sleep(600)';
ask($blocker, 'BEGIN');
ask($blocker, 'SELECT pg_advisory_xact_lock(1)');
begin_query($sleeper, $sleep);
begin_query($waiter, 'SELECT pg_advisory_xact_lock(1)');
begin_query($busy, 'DO $$ BEGIN WHILE clock_timestamp() < now() + interval \'10 min\' LOOP END LOOP; END $$');
wait_in_session($observer,
	"SELECT count(*) FROM pg_stat_activity WHERE datname = 'work' AND state = 'active' AND (query LIKE 'DO%' OR wait_event IN ('PgSleep', 'advisory'))",
	'the workload is there', 3);
my $since = ask($observer, $moment);
ask($observer, "SELECT infra_monitor.reset('pool')");
wait_in_session($observer, 'SELECT looks >= 40 FROM infra_monitor.wait_state()', 'the sampler looks');
is( ask($observer, "SELECT string_agg(event, ' ' ORDER BY event) FROM ($counted) c WHERE observations >= looks * 0.9"),
	'CPU:CPU Lock:advisory Timeout:PgSleep',
	'each is seen doing what it does');
is( ask($observer, "SELECT bool_and(observations = looks) FROM ($counted) c WHERE event ~ 'PgSleep|advisory'"),
	't', 'at each look');
is( ask($observer, "SELECT sum(observations) = 3 * max(looks) FROM ($counted) c"),
	't', 'and nobody else');
is( ask($observer, "SELECT round(sum(avg_active)::numeric, 2) FROM infra_monitor.wait_profile WHERE datname = 'work'"),
	'3.00', 'three are active on average');
is( ask($observer, "SELECT count(*) FROM infra_monitor.wait_profile w JOIN infra_monitor.sessions() s USING (queryid) WHERE w.wait_event = 'PgSleep' AND s.query = '$sleep'"),
	'1', 'the query is that of the session');

# stored
wait_in_session($observer,
	"SELECT count(DISTINCT sampled_at) >= 2 FROM infra_monitor.wait_samples WHERE sampled_at > '$since'",
	'it is stored each second');
end_workload($observer, $sleeper, $blocker, $waiter, $busy, $idle);
wait_in_session($observer, differences(), 'what is stored adds up to what was counted', 0);
is( ask($observer, "SELECT count(*) FROM infra_monitor.wait_samples WHERE observations < 0 OR (observations = 0) <> (wait_event IS NULL) OR looks <= 0 OR looks > 600"),
	'0', 'every row says something');
cmp_ok(
	ask($observer, "SELECT sum(observations)::float8 / max(looks) FROM (SELECT sampled_at, sum(observations) AS observations, max(looks) AS looks FROM infra_monitor.wait_samples WHERE datname = 'work' AND wait_event = 'PgSleep' GROUP BY 1 ORDER BY 1 OFFSET 1 LIMIT 1) s"),
	'==', 1, 'observations / looks is the number of sessions');

#
# failures lose nothing
#
$since = ask($observer, $moment);
ask($observer, 'SELECT infra_monitor.reset()');
ask($observer, $_) foreach (
	'CREATE FUNCTION foreign_code() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION $m$foreign code runs$m$; END $$',
	'CREATE TRIGGER refuse BEFORE INSERT ON infra_monitor.wait_samples FOR EACH STATEMENT EXECUTE FUNCTION foreign_code()');
$sleeper = begin_query(worker(), $sleep);
wait_in_session($observer,
	q{SELECT last_error = 'waits: table "wait_samples" has been altered and is not written: it has a trigger' FROM infra_monitor.sampler_status},
	'a table with a trigger is not written');
wait_for_sample($node, 'samples are taken meanwhile');
my $looks = ask($observer, 'SELECT looks FROM infra_monitor.wait_state()');
wait_in_session($observer, "SELECT looks > $looks + 5 FROM infra_monitor.wait_state()", 'and waits are counted');
my $trigger_until = ask($observer, $moment);
ask($observer, 'DROP TRIGGER refuse ON infra_monitor.wait_samples');
wait_in_session($observer,
	"SELECT count(*) > 0 FROM infra_monitor.wait_samples WHERE sampled_at > '$trigger_until' AND datname = 'work'",
	'without it, it is written again');
ask($observer, 'BEGIN');
ask($observer, 'LOCK TABLE infra_monitor.wait_samples IN ACCESS EXCLUSIVE MODE');
wait_in_session($observer,
	q{SELECT last_error LIKE 'waits: %lock timeout' FROM infra_monitor.sampler_state()},
	'who locks the table is not waited for long');
ask($observer, 'COMMIT');

# nor does the end of the sampler in the middle of it
end_sampler($observer);
wait_in_session($observer, "SELECT state = 'running' FROM infra_monitor.sampler_status", 'a new sampler runs');
end_workload($observer, $sleeper);
wait_in_session($observer, differences(), 'after all that the sums are right', 0);

#
# idle time is a row, too
#
close_sessions($observer);
wait_for($node,
	'SELECT count(*) > 0 FROM infra_monitor.wait_samples WHERE wait_event IS NULL AND observations = 0',
	'an idle second is stored');
is( $node->safe_psql('postgres',
		'SELECT count(*) > 0, count(datname) + count(queryid) + count(wait_event_type) FROM infra_monitor.wait_samples WHERE wait_event IS NULL'),
	't|0', 'somebody looked, and nobody was active');

#
# a reset, a restart: another epoch, which begins from nothing
#
foreach my $how ('reset', 'restart')
{
	$observer = open_session($node);
	$sleeper = begin_query(worker(), $sleep);
	wait_in_session($observer, "SELECT sum(observations) > 5 FROM ($counted) c", "$how: there is something to lose");
	my $old = ask($observer, $epoch);
	if ($how eq 'reset')
	{
		ask($observer, q{SELECT infra_monitor.reset('pool')});
		$since = ask($observer, $moment);
	}
	else
	{
		$node->stop('immediate');
		$node->start;
		$observer = open_session($node);
		$since = ask($observer, $moment);
		$sleeper = begin_query(worker(), $sleep);
		wait_for_sample($node, 'restart: the sampler samples');
	}
	wait_in_session($observer, "SELECT stored > 5 FROM infra_monitor.wait_counts() WHERE wait_event = 'PgSleep'", "$how: it is counted and stored");
	end_workload($observer, $sleeper);
	wait_in_session($observer, differences(), "$how: the sums are right", 0);
	is( ask($observer, "SELECT count(DISTINCT epoch), bool_or(epoch = $old) FROM infra_monitor.wait_samples WHERE sampled_at > '$since'"),
		'1|f', "$how: another epoch");
	is( ask($observer, "SELECT count(*) FROM (SELECT DISTINCT epoch FROM infra_monitor.wait_samples WHERE sampled_at > '$since' EXCEPT SELECT epoch FROM infra_monitor.samples) e"),
		'0', "$how: that of the samples");
}

#
# a standby
#
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('waits_standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
my $there = open_session($standby);
$sleeper = begin_query(worker($standby), $sleep);
wait_in_session($there, "SELECT sum(observations) > 10 FROM ($counted) c WHERE event = 'Timeout:PgSleep'", 'standby: waits are counted');
is( ask($there, "SELECT avg_active > 0 FROM infra_monitor.wait_profile WHERE wait_event = 'PgSleep' AND datname = 'work'"),
	't', 'standby: and shown');
is(ask($there, 'SELECT looks = looks_stored FROM infra_monitor.wait_state()'), 't', 'standby: there is nothing to store');
is(ask($there, 'SELECT count(*) > 0 FROM infra_monitor.pool_size_advice()'), 't', 'standby: there is advice');
$since = ask($observer, $moment);
end_workload($there, $sleeper);
$standby->promote;
wait_in_session($there,
	"SELECT count(DISTINCT sampled_at) > 1 FROM infra_monitor.wait_samples w WHERE epoch = (SELECT epoch FROM infra_monitor.samples ORDER BY sampled_at DESC LIMIT 1) AND epoch <> (SELECT epoch FROM infra_monitor.samples WHERE sampled_at < '$since' ORDER BY sampled_at DESC LIMIT 1)",
	'promotion: waits are stored');
is( ask($there, "SELECT count(*) FROM infra_monitor.wait_samples WHERE datname = 'work' AND sampled_at > '$since'"),
	'0', 'promotion: but not those of the standby');
close_sessions($there);
is(log_count($standby, '(WARNING|ERROR|PANIC): '), 0, 'standby: no error');
$standby->stop;

#
# more queries than there is room for
#
ask($observer, q{ALTER SYSTEM SET infra_monitor.statement_interval = '1h'});
ask($observer, 'SELECT pg_reload_conf()');
wait_in_session($observer, 'SHOW infra_monitor.statement_interval', 'nothing is stored for an hour', '1h');
my $n = 0;
my @many = map { worker() } 1 .. 64;
$since = ask($observer, $moment);
ask($observer, q{SELECT infra_monitor.reset('pool')});

# as many as are seen: the sampler may be kept from looking
for (1 .. 40)
{
	foreach my $session (@many)
	{
		# queries differ in the types of their constants
		my @queries = map
		{
			$n++;
			'SELECT pg_sleep(0.15), ' . join ',', map { $n & (1 << $_) ? '1' : 'true' } 0 .. 14;
		} 1 .. 20;
		begin_query($session, join(';', @queries));
	}
	await_session($_) foreach @many;
	last if ask($observer, 'SELECT entries >= 3072 AND without_query > 64 FROM infra_monitor.wait_state()') eq 't';
}
wait_in_session($observer, "SELECT count(*) FROM pg_stat_activity WHERE datname = 'work' AND state = 'active'", 'all queries are done', 0);
my ($entries, $without, $dropped) = split /\|/, ask($observer, 'SELECT entries, without_query, dropped FROM infra_monitor.wait_state()');
note("$entries entries, $without observations without their query, $dropped dropped");
cmp_ok($entries, '>=', 3072, 'the table is full');
cmp_ok($entries, '<=', 3072 + 64, 'to three quarters, and some events');
cmp_ok($without, '>', 0, 'the others are counted without their query');
is($dropped, 0, 'and not dropped');
cmp_ok(
	ask($observer, "SELECT sum(observations) FROM infra_monitor.wait_profile WHERE datname = 'work' AND queryid IS NULL"),
	'>=', $without * 0.9, 'under their event');
is( status_of($node, "(drops->>'wait_queries')::bigint >= $without AND drops->>'wait_observations' = '0'"),
	't', 'sampler_status shows it');
ask($observer, 'ALTER SYSTEM RESET infra_monitor.statement_interval');
ask($observer, 'SELECT pg_reload_conf()');
wait_in_session($observer, differences(), 'all of it is stored', 0);
is( ask($observer, "SELECT queries BETWEEN 90 AND 100, folded >= 1 FROM (SELECT count(queryid) AS queries, count(*) FILTER (WHERE queryid IS NULL AND wait_event = 'PgSleep') AS folded FROM infra_monitor.wait_samples WHERE sampled_at > '$since' AND datname = 'work' GROUP BY sampled_at) s ORDER BY queries DESC LIMIT 1"),
	't|t', 'the 100 commonest queries by themselves, the others together');
close_sessions(@many, $observer);

is(log_count($node, '(ERROR|PANIC): (?!.*lock timeout)'), 0, 'all that without another error');
$node->stop;
done_testing();
