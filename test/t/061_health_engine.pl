# The engine behind health(): no check can harm the others, the sampler, or
# whoever asks; and what nobody evaluates any more is not shown as if it were.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = new_server('engine');

# What other tests write to this disk is no fault of this server, nor is that slow
# checks leave no time for samples.
sub ignore_surroundings
{
	$node->safe_psql('postgres', <<'SQL');
INSERT INTO infra_monitor.health_threshold_overrides (check_name, enabled)
VALUES ('disk_free', false), ('disk_time_to_full', false), ('missed_ticks', false), ('drops', false)
ON CONFLICT (check_name) DO NOTHING
SQL
	return;
}

$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
ignore_surroundings();
wait_for_sample($node, 'it samples');

# Waits until the sampler has evaluated so many times.
sub wait_for_evaluations
{
	my ($n) = @_;
	my $last = '';

	for (1 .. $n)
	{
		$last = $node->safe_psql('postgres', 'SELECT evaluated_at FROM infra_monitor.health_cache()');
		$node->poll_query_until('postgres', "SELECT evaluated_at > '$last' FROM infra_monitor.health_cache()")
		  or die 'nobody evaluates';
	}
	return;
}

# A check in the document.
sub check
{
	my ($columns, $name) = @_;

	return $node->safe_psql('postgres',
		"SELECT $columns FROM infra_monitor.health_checks WHERE name = '$name'");
}

my $signature = 'OUT value float8, OUT unit text, OUT message text';

#
# A check that takes too long is ended, is unknown, and the others are evaluated
#
my $original = $node->safe_psql('postgres',
	"SELECT pg_get_functiondef('infra_monitor.check_long_transactions()'::regprocedure)");
$node->safe_psql('postgres', <<"SQL");
CREATE SEQUENCE attempts;
CREATE OR REPLACE FUNCTION infra_monitor.check_long_transactions($signature)
LANGUAGE sql AS 'SELECT n, \$\$attempts\$\$, \$\$slept\$\$ FROM nextval(\$\$public.attempts\$\$) n, pg_sleep(600)';
SQL
wait_for($node, "SELECT status = 'unknown' FROM infra_monitor.health_checks WHERE name = 'long_transactions'",
	'a check that sleeps is unknown');
like(check('message', 'long_transactions'),
	qr/^it took longer than [1-5]\d\d ms; next attempt at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d/,
	'and says why, and when it is tried again');
wait_for($node, <<'SQL', 'all others are known', 'long_transactions');
SELECT string_agg(name, ' ' ORDER BY name) FROM infra_monitor.health_checks
WHERE status = 'unknown' AND unit IS NULL
SQL
is(status_of($node, 'last_error IS NULL'), 't', 'the task has not failed');
is($node->safe_psql('postgres', "SELECT infra_monitor.health_status() IN ('healthy', 'degraded')"), 't', 'there is a status');

# a session has the time that it gives itself
my ($status, $out, $said) = $node->psql('postgres',
	"SET statement_timeout = '3s'; SELECT count(*) FROM infra_monitor.evaluate_checks('queries')");
like($said, qr/canceling statement due to statement timeout/, 'in a session its statement_timeout ends it');

# who ends the sampler, or what it does, is not held up by it
sub wait_until_asleep
{
	my $attempts = $node->safe_psql('postgres', 'SELECT last_value FROM attempts');

	# a new sampler tries at once
	end_sampler($node);
	return wait_for($node, <<"SQL", 'the sampler sleeps in the check');
SELECT last_value > $attempts AND EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'infra_monitor sampler' AND wait_event = 'PgSleep')
FROM attempts
SQL
}
# (seen asleep and cancelled in one command: between two tasks a cancel ends the sampler)
my $canceller = open_session($node);
end_sampler($canceller);
my $pid = '';
for (1 .. 50 * $PostgreSQL::Test::Utils::timeout_default)
{
	$pid = ask($canceller,
		"SELECT pid FROM pg_stat_activity WHERE CASE WHEN backend_type = 'infra_monitor sampler' AND wait_event = 'PgSleep' THEN pg_cancel_backend(pid) END");
	last if $pid ne '';
	usleep(20_000);
}
close_sessions($canceller);
wait_for($node, "SELECT last_error LIKE 'health: canceling statement due to user request' FROM infra_monitor.sampler_status",
	'a cancel ends the evaluation');
is(status_of($node, 'pid'), $pid, 'and not the sampler');
# (a busy machine may keep it from ending once, but not always)
my $time;
foreach (1 .. 5)
{
	wait_until_asleep();
	$pid = status_of($node, 'pid');
	my $ender = open_session($node);
	$time = seconds { ask($ender, "SELECT pg_terminate_backend($pid, 60000)") };
	close_sessions($ender);
	last if $time < 1.9;
}
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid"), 0, 'a terminated sampler is gone');
cmp_ok($time, '<', 1.9, sprintf('before the check has had its time: %.2f s', $time));

# as soon as it works again, it is evaluated again
$node->safe_psql('postgres', $original);
wait_for($node, "SELECT status = 'ok' FROM infra_monitor.health_checks WHERE name = 'long_transactions'",
	'a check that works again is known');

#
# A check that fails is tried again after 1, 2, 4, … evaluations
#
$node->safe_psql('postgres', <<"SQL");
CREATE SEQUENCE evaluations;
CREATE TABLE seen (n bigint, attempts bigint);
CREATE FUNCTION fail($signature) LANGUAGE plpgsql AS \$\$
BEGIN
	PERFORM nextval('public.attempts');
	RAISE EXCEPTION 'attempt % failed', currval('public.attempts');
END \$\$;
SQL

# An evaluation that is kept from its work may leave no time for the check that
# counts them: then all begins anew.
my $sequence;
foreach (1 .. 5)
{
	$node->safe_psql('postgres', <<"SQL");
TRUNCATE seen;
BEGIN;
SELECT setval('attempts', 1);
CREATE OR REPLACE FUNCTION infra_monitor.check_long_transactions($signature)
LANGUAGE sql AS 'SELECT * FROM public.fail()';
-- evaluated after it, by the order of the categories
CREATE OR REPLACE FUNCTION infra_monitor.check_wal_archiving($signature) LANGUAGE plpgsql AS \$\$
BEGIN
	INSERT INTO public.seen SELECT nextval('public.evaluations'), last_value FROM public.attempts;
	value := 0;
END \$\$;
COMMIT;
SQL
	wait_for($node, 'SELECT max(attempts) >= 5 FROM seen', 'a check that fails is tried again');
	$sequence = $node->safe_psql('postgres', <<'SQL');
SELECT string_agg((n - first)::text, ' ' ORDER BY n)
FROM (SELECT min(n) AS n, min(min(n)) OVER () AS first FROM seen WHERE attempts > 1 GROUP BY attempts ORDER BY attempts LIMIT 4) a
SQL
	last if $sequence eq '0 2 5 10';
	note "once more: $sequence";
	$node->safe_psql('postgres', $original);
	wait_for($node, "SELECT status = 'ok' FROM infra_monitor.health_checks WHERE name = 'long_transactions'", 'it works');
}
is($sequence, '0 2 5 10', 'after 1, 2 and 4 evaluations that leave it out');
like(check('message', 'long_transactions'), qr/^attempt \d failed; next attempt at \d{4}-/, 'its message is the error');
my $next = check("substring(message FROM 'next attempt at (.*)')::timestamptz - clock_timestamp() BETWEEN '-1 second' AND '10 seconds'", 'long_transactions');
is($next, 't', 'and the next attempt is near');
is(check('status', 'wal_archiving'), 'ok', 'the others are evaluated each time');
is($node->safe_psql('postgres', 'SELECT infra_monitor.pool_status()'), 'ok', 'and the pool is not concerned');
$node->safe_psql('postgres', $original);
wait_for($node, "SELECT status = 'ok' FROM infra_monitor.health_checks WHERE name = 'long_transactions'",
	'it is known again');
wait_for($node, <<'SQL', 'that it was not is an event, and that it is again');
SELECT string_agg(new_status, ' ' ORDER BY at) LIKE '%unknown ok' FROM infra_monitor.health_events WHERE check_name = 'long_transactions'
SQL

#
# All together have half of a sample interval: many that are slow cost no sample,
# those for which there is no time keep their last result, and are next in turn
#
sub replace_checks
{
	my ($body, @names) = @_;

	$node->safe_psql('postgres', join('', map { my $name = $_; <<"SQL" } @names));
CREATE OR REPLACE FUNCTION infra_monitor.check_$name($signature)
LANGUAGE sql AS \$\$ @{[ $body =~ s/NAME/$name/gr ]} \$\$;
SQL
	return;
}

# Waits for so many evaluations, and returns how many samples were missed.
sub missed_in
{
	my ($evaluations) = @_;
	my $missed = status_of($node, 'missed');

	wait_for_evaluations($evaluations);
	return status_of($node, 'missed') - $missed;
}

# The least of some times, the first of which are not the best if others keep the
# machine busy.
sub missed_at_least
{
	my ($evaluations) = @_;
	my $missed;

	foreach (1 .. 4)
	{
		my $now = missed_in($evaluations);

		$missed = $now if !defined $missed || $now < $missed;
		last if $missed <= 3;
	}
	return $missed;
}

my @slow = qw(connection_leak connections_rejected connections_used database_limit deadlocks exhaustion_eta idle_in_transaction lock_waits);
$node->safe_psql('postgres', 'CREATE TABLE turns (name text, at timestamptz DEFAULT clock_timestamp())');
$node->safe_psql('postgres', <<"SQL");
CREATE FUNCTION turn($signature, name text) LANGUAGE plpgsql AS \$\$
BEGIN
	PERFORM pg_sleep(0.2);
	INSERT INTO public.turns VALUES (turn.name);
	SELECT 0, 'turns', 'slept' INTO value, unit, message;
END \$\$;
SQL
replace_checks("SELECT * FROM public.turn('NAME')", @slow);
wait_for($node, 'SELECT count(DISTINCT name) = ' . @slow . ' FROM turns', 'slow checks: each has its turn');
wait_for($node, <<'SQL', 'slow checks: those for which there is no time keep their last result');
SELECT bool_or(message ~ '^slept; as of \d{4}-.*, the checks before it took too long since$' AND unit = 'turns') AND bool_and(status = 'ok')
FROM infra_monitor.health_checks WHERE category = 'pool' AND message ~ 'slept'
SQL
$node->safe_psql('postgres', 'TRUNCATE turns');
my $missed = missed_at_least(12);
cmp_ok($missed, '<=', 3, "slow checks: samples are not missed for them: $missed in 12 evaluations");
is($node->safe_psql('postgres', 'SELECT max(n) <= 2 * min(n) + 2 FROM (SELECT count(*) AS n FROM turns GROUP BY name) t'),
	't', 'slow checks: no one is passed over') or diag $node->safe_psql('postgres', 'SELECT name, count(*) FROM turns GROUP BY name');
wait_for($node, "SELECT count(*) FROM infra_monitor.health_checks WHERE message LIKE '%it took longer%'",
	'slow checks: nor is one cut off that others have left less time than it may have', 0);

# and many that never end
my @endless = split /\n/, $node->safe_psql('postgres',
	"SELECT check_name FROM infra_monitor.check_defaults() WHERE category IN ('pool', 'queries') ORDER BY 1");
replace_checks("SELECT 0, '', 'slept' FROM pg_sleep(600)", @endless);
wait_for_evaluations(3);
$missed = missed_at_least(12);
cmp_ok($missed, '<=', 3, "endless checks: samples are not missed for them: $missed in 12 evaluations");
wait_for($node, "SELECT count(*) = " . @endless . " FROM infra_monitor.health_checks WHERE message ~ '^it took longer than \\d+ ms; next attempt at '",
	'endless checks: each is found out');
wait_for($node, "SELECT count(*) FROM infra_monitor.health_checks WHERE category = 'replication' AND status = 'unknown'",
	'endless checks: others are known', 0);
is(log_count($node, 'could not do its task "health": canceling statement due to statement timeout'), 0,
	'endless checks: which is not that of the task');
$node->safe_psql('postgres', 'DROP EXTENSION infra_monitor; CREATE EXTENSION infra_monitor');
ignore_surroundings();
wait_for($node, "SELECT status = 'ok' FROM infra_monitor.health_checks WHERE name = 'long_transactions'",
	'all are evaluated after the extension is created anew');

#
# One that was cut off is tried again within five minutes at least: it is needed
# most where all is slow.  One that fails can wait.
#
$node->append_conf('postgresql.conf', "infra_monitor.health_interval = 5min\ninfra_monitor.sample_interval = 1min\n");
$node->reload;
$node->safe_psql('postgres', <<"SQL");
CREATE OR REPLACE FUNCTION infra_monitor.check_long_transactions($signature)
LANGUAGE sql AS 'SELECT 0, \$\$\$\$, \$\$slept\$\$ FROM pg_sleep(600)';
CREATE OR REPLACE FUNCTION infra_monitor.check_long_queries($signature)
LANGUAGE sql AS 'SELECT * FROM public.fail()';
SQL
end_sampler($node);
wait_for($node, "SELECT message LIKE 'it took longer than 2000 ms; %' FROM infra_monitor.health_checks WHERE name = 'long_transactions'",
	'a new sampler evaluates at once');
foreach my $case ([ long_transactions => '5 minutes' ], [ long_queries => '10 minutes' ])
{
	my ($name, $pause) = @$case;

	is( $node->safe_psql('postgres', <<"SQL"), 't', "$name: the next attempt is after $pause");
SELECT substring(message FROM 'next attempt at (.*)')::timestamptz - evaluated_at BETWEEN interval '$pause' - interval '10 s' AND '$pause'
FROM infra_monitor.health_checks, infra_monitor.health_cache() WHERE name = '$name'
SQL
}
$node->safe_psql('postgres', 'DROP EXTENSION infra_monitor; CREATE EXTENSION infra_monitor');
ignore_surroundings();
$node->append_conf('postgresql.conf', "infra_monitor.health_interval = 1s\ninfra_monitor.sample_interval = 1s\n");
$node->reload;
wait_for($node, "SELECT status = 'ok' FROM infra_monitor.health_checks WHERE name = 'long_transactions'",
	'all are evaluated each second again');

#
# health() reads memory only: it waits for no lock on any table, its own included
#
my $holder = $node->background_psql('postgres');
$holder->set_query_timer_restart;
$holder->query_safe('CREATE TABLE users_own (i int); BEGIN; LOCK TABLE users_own IN ACCESS EXCLUSIVE MODE');
$holder->query_safe($_) for split /\n/, $node->safe_psql('postgres', <<'SQL');
SELECT format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', oid::regclass) FROM pg_class
WHERE relnamespace = 'infra_monitor'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
SQL
my $ask = sub {
	my ($query) = @_;
	return $node->safe_psql('postgres', "SET statement_timeout = '10s'; $query");
};
like($ask->('SELECT infra_monitor.health_status()'), qr/^(healthy|degraded)$/, 'locked tables: health_status()');
cmp_ok($ask->('SELECT count(*) FROM infra_monitor.health_checks'), '>', 5, 'locked tables: health_checks');
is($ask->("SELECT count(*) FROM infra_monitor.health_score WHERE category = 'overall'"), 1, 'locked tables: health_score');
wait_for($node, "SELECT c->>'status' = 'critical' FROM jsonb_array_elements(infra_monitor.health()->'checks') c WHERE c->>'name' = 'sampler_alive'",
	'locked tables: nobody can evaluate, and health() says so');
$holder->query_safe('COMMIT');
$holder->quit;
wait_for($node, "SELECT (h->>'age_ms')::float8 < 2000 FROM infra_monitor.health() h", 'they are no longer, and it is evaluated again');

# and takes none
$out = $node->safe_psql('postgres', <<'SQL');
BEGIN;
SELECT count(*) > 0 FROM infra_monitor.health();
SELECT coalesce(string_agg(relation::regclass::text, ' '), 'none') FROM pg_locks
WHERE locktype = 'relation' AND pid = pg_backend_pid() AND relation >= 16384;
COMMIT;
SQL
is($out, "t\nnone", 'no relation of a user is locked by it');

#
# A sampler that is stopped: health() says so within two intervals
#
ignore_surroundings();
wait_for($node, 'SELECT infra_monitor.health_status()', 'healthy before', 'healthy');
my $session = open_session($node);
ask($session, 'SELECT infra_monitor.health()');
$pid = stop_sampler($session);
my ($oldest_healthy, $is_healthy, $its_age) = (0, 't', 0);
for (1 .. 50 * $PostgreSQL::Test::Utils::timeout_default)
{
	($is_healthy, $its_age) = split /\|/, ask($session,
		"SELECT h->>'status' = 'healthy', (h->>'age_ms')::float8 FROM infra_monitor.health() h");
	last if $is_healthy eq 'f';
	$oldest_healthy = $its_age;
	usleep(20_000);
}
is($is_healthy, 'f', 'stopped: no longer healthy');
cmp_ok($oldest_healthy, '<', 2100, 'stopped: from two intervals after the last evaluation on');
is( ask($session, <<'SQL'),
SELECT h->>'status' = 'degraded', (h->>'age_ms')::float8 BETWEEN 2000 AND 1000000, c->>'status', c->>'message' LIKE 'health was last evaluated 00:00:% ago'
FROM infra_monitor.health() h, jsonb_array_elements(h->'checks') c WHERE c->>'name' = 'sampler_alive'
SQL
	't|t|critical|t', 'stopped: degraded, with its age and the reason') or diag ask($session, 'SELECT infra_monitor.health()');
is(ask($session, 'SELECT infra_monitor.health_status()'), 'degraded', 'stopped: health_status()');
is(ask($session, "SELECT infra_monitor.health(false)->>'status'"), 'degraded', 'stopped: health(false)');
my $age = ask($session, "SELECT infra_monitor.health()->>'age_ms'");
usleep(20_000);
cmp_ok(ask($session, "SELECT infra_monitor.health()->>'age_ms'"), '>', $age, 'stopped: it goes on to age');
kill 'CONT', $pid or die $!;
wait_in_session($session, "SELECT infra_monitor.health()->>'status' = 'healthy'", 'going on: healthy again');
close_sessions($session);

#
# A document that is too large is shown without hints
#
my $template = <<"SQL";
CREATE OR REPLACE FUNCTION infra_monitor.check_long_transactions($signature)
LANGUAGE sql AS 'SELECT 0, \$\$seconds\$\$, repeat(\$\$x\$\$, %d)';
SQL
my ($length, $hints) = split /\|/, $node->safe_psql('postgres', <<'SQL');
SELECT length(infra_monitor.evaluate_health()::text), sum(length(hint)) FROM infra_monitor.check_defaults()
SQL
$node->safe_psql('postgres', sprintf $template, 65536 - $length + $hints / 2);
wait_for($node, "SELECT (drops->>'health_hints')::int > 0 FROM infra_monitor.sampler_status", 'a large document is counted');
wait_for_evaluations(1);
is( $node->safe_psql('postgres', <<'SQL'),
SELECT count(*) FILTER (WHERE hint IS NULL) = count(*), count(*) = (SELECT count(*) FROM infra_monitor.health_thresholds WHERE enabled)
FROM infra_monitor.health_checks
SQL
	't|t', 'it is shown without hints, and with all checks');
is(status_of($node, "drops->>'health_documents'"), 0, 'none is lost');
$node->safe_psql('postgres', sprintf $template, 70000);
wait_for($node, "SELECT (drops->>'health_documents')::int > 0 FROM infra_monitor.sampler_status", 'a document that is larger still is counted');
wait_for($node, "SELECT infra_monitor.health_status() = 'degraded'", 'and the one that stays is stale');
$node->safe_psql('postgres', $original);
wait_for($node, "SELECT bool_and(hint IS NOT NULL) FROM infra_monitor.health_checks", 'a small one has its hints again');

#
# Weights of one's own
#
$node->safe_psql('postgres', <<'SQL');
INSERT INTO infra_monitor.health_threshold_overrides (check_name, critical) VALUES ('long_transactions', -1);
INSERT INTO infra_monitor.health_weight_overrides VALUES ('queries', 0);
SQL
wait_for($node, <<'SQL', 'a weight of 0 has no part in the score');
SELECT bool_or(category = 'queries' AND weight = 0 AND score < 10) AND bool_or(category = 'overall' AND score = 10)
FROM infra_monitor.health_score
SQL
$node->safe_psql('postgres', "UPDATE infra_monitor.health_weight_overrides SET weight = 1e6");
wait_for($node, "SELECT (infra_monitor.health()->>'score')::float8 < 10", 'a large one has all of it');

$node->stop;
done_testing();
