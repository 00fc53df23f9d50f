# Changes of health: when a status changes and when not, and that each change is
# stored, logged and told exactly once, whatever goes wrong on the way, and
# outlives a restart.
#
# The check long_transactions follows a script here: its value in an evaluation
# is that of a table, by the number of the evaluation, and 0 beyond it.  So
# nothing depends on how fast anything is.

use strict;
use warnings;

use InfraMonitor;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Days are counted from today: not across midnight
not_across_midnight(400);

my $node = new_server('primary', init => [ allows_streaming => 1 ]);

# the smallest queue of notifications, where that can be configured (17)
my $small_queue = pg_config('version') =~ /^PostgreSQL (\d+)/ && $1 >= 17;
$node->append_conf('postgresql.conf', 'max_notify_queue_pages = 64') if $small_queue;
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION infra_monitor CASCADE;
CREATE SEQUENCE evaluation;
CREATE TABLE script (n bigint PRIMARY KEY, value float8);
CREATE TABLE seen (n bigint PRIMARY KEY, at timestamptz NOT NULL, value float8);
CREATE FUNCTION play(OUT value float8, OUT unit text, OUT message text)
LANGUAGE plpgsql AS $$
DECLARE
	number bigint;
BEGIN
	unit := 'seconds';
	IF pg_is_in_recovery() THEN
		value := 500;
		message := 'this is a standby';
		RETURN;
	END IF;
	number := nextval('public.evaluation');
	SELECT s.value INTO value FROM public.script s WHERE s.n = number;
	IF NOT FOUND THEN
		value := 0;
	END IF;
	message := format('evaluation %s gave %s', number, value);
	INSERT INTO public.seen VALUES (number, clock_timestamp(), value);
END $$;
INSERT INTO infra_monitor.health_threshold_overrides (check_name, enabled)
SELECT check_name, false FROM infra_monitor.check_defaults() WHERE check_name <> 'long_transactions';
INSERT INTO infra_monitor.health_threshold_overrides (check_name, warning, critical, hold) VALUES ('long_transactions', 100, 200, 2);
CREATE OR REPLACE FUNCTION infra_monitor.check_long_transactions(OUT value float8, OUT unit text, OUT message text)
LANGUAGE sql AS 'SELECT * FROM public.play()';
SQL
wait_for($node, 'SELECT max(n) >= 3 FROM seen', 'the script is followed');
wait_for($node, "SELECT count(*) = 2 FROM infra_monitor.health_state WHERE check_name IN ('long_transactions', 'overall')",
	'the first statuses are stored');

my $of_check = "FROM infra_monitor.health_events WHERE check_name = 'long_transactions'";
is($node->safe_psql('postgres', "SELECT count(*) $of_check"), 0,
	'no event of a first status that is ok');

# Plays values, one in each evaluation, and waits until all have been found and
# the next value as well.  Returns the number of the first evaluation.
sub play
{
	my (@values) = @_;

	for (1 .. 10)
	{
		my $n = 2;
		my $list = join(', ', map { '(' . $n++ . ", $_\::float8)" } @values);

		# in one command: there is a second for it
		my ($first) = split /\n/, $node->safe_psql('postgres',
			"INSERT INTO script SELECT last_value + i, value FROM evaluation, (VALUES $list) v (i, value) ORDER BY i RETURNING n");
		my $last = $first + $#values;

		$node->poll_query_until('postgres', "SELECT max(n) > $last FROM seen")
		  or die 'nobody evaluates';
		my $found = $node->safe_psql('postgres',
			"SELECT string_agg(coalesce(value::text, 'NULL'), ' ' ORDER BY n) FROM seen WHERE n BETWEEN $first AND $last");
		return $first if $found eq "@values";

		# the script came too late for its first line, and that was 0
		note "found $found";
		die 'too late for more than that' if $found ne join(' ', 0, @values[ 1 .. $#values ]);
	}
	die 'the script is never in time';
}

# Waits until the check has so many events.
sub wait_for_events
{
	my ($n, $name) = @_;

	return wait_for($node, "SELECT count(*) $of_check", $name, $n);
}

# Old and new statuses of all events from the nth on.
sub changes
{
	my ($n, $check_name) = @_;

	$check_name //= 'long_transactions';
	return $node->safe_psql('postgres', <<SQL);
SELECT string_agg(coalesce(old_status, 'none') || '>' || new_status, ' ' ORDER BY at)
FROM (SELECT * FROM infra_monitor.health_events WHERE check_name = '$check_name' ORDER BY at OFFSET $n - 1) e
SQL
}

#
# Flapping that is shorter than the hold is no event; what lasts is one, since
# its first evaluation
#
my $listener = open_session($node);
ask($listener, 'LISTEN infra_monitor');
my $log = log_end($node);
my $start = $node->safe_psql('postgres', 'SELECT clock_timestamp()');

play(150, 0, 250, 0, 150);
is($node->safe_psql('postgres', "SELECT count(*) $of_check"), 0, 'flapping shorter than the hold: no event');
is(log_count($node, 'health check "long_transactions"', $log), 0, 'and nothing is logged');

my $first = play(250, 150, 150);
wait_for_events(2, 'what lasts is an event, and its end is one');
is(changes(1), 'ok>warning warning>ok', 'to the lesser of the statuses found, and back');
my $event = decode_json($node->safe_psql('postgres', <<SQL));
SELECT to_jsonb(e) || jsonb_build_object(
	'since_n', (SELECT min(n) FROM seen s WHERE s.at >= e.since),
	'at_n', (SELECT min(n) FROM seen s WHERE s.at >= e.at))
FROM (SELECT * $of_check ORDER BY at LIMIT 1) e
SQL
is($event->{at_n}, $first + 1, 'after as many evaluations as it takes');
is($event->{since_n}, $first, 'since the first of them');
is($event->{value}, 150, 'with the value');
is($event->{message}, 'evaluation ' . ($first + 1) . ' gave 150', 'and the message of then');

#
# A status is left by a margin, 5 % of the threshold
#
play(250, 250, 195, 199, 195);
wait_for_events(4, 'no margin on the way up, values within it do not end a status');
is(changes(3), 'ok>critical critical>ok', 'but 0 does');
play(250, 250, 189, 189, 96, 96, 94, 94);
wait_for_events(7, 'below the margin');
is(changes(5), 'ok>critical critical>warning warning>ok', 'it is left');

# a value that is not known once is no news, twice it is
play('NULL', 0, 0, 'NULL', 'NULL', 'NULL');
wait_for_events(9, 'not known');
is(changes(8), 'ok>unknown unknown>ok', 'an event when it is not known twice');

#
# Each is logged once and told once; and so is the status of the server
#
my $server = 'healthy>degraded degraded>healthy';
my $of_server = "FROM infra_monitor.health_events WHERE check_name = 'overall' AND at > '$start'";
my $earlier = $node->safe_psql('postgres',
	"SELECT count(*) FROM infra_monitor.health_events WHERE check_name = 'overall' AND at <= '$start'");
wait_for($node, "SELECT count(*) $of_server", 'events of the server', 8);
is(changes($earlier + 1, 'overall'), "$server $server $server $server",
	'its status follows from that of the check, also when nothing is known');
is( $node->safe_psql('postgres', <<"SQL"), 't', 'since the same moments');
SELECT array_agg(since ORDER BY at) = (SELECT array_agg(since ORDER BY at) FROM infra_monitor.health_events
	WHERE check_name = 'long_transactions'
		AND (old_status, new_status) <> ('critical', 'warning'))
$of_server
SQL
is($node->safe_psql('postgres', <<"SQL"), 't|t', 'with a reason');
SELECT bool_and(message = CASE new_status WHEN 'healthy' THEN 'no check is critical or warns' ELSE message END),
	count(*) FILTER (WHERE message = 'critical: long_transactions') = 2
		AND count(*) FILTER (WHERE message = 'nothing is known') = 1 $of_server
SQL

# every line of the log belongs to an event, and the other way round
sub logged_changes
{
	my ($offset) = @_;
	my @found;

	foreach my $line (split /\n/, substr(slurp_file($node->logfile), $offset))
	{
		push @found, "$1:$2>$3"
		  if $line =~ /LOG:  health check "(\w+)" changed from (?:(?:no )?)(\w+) to (\w+) \(/;
		push @found, "overall:$1>$2"
		  if $line =~ /LOG:  health of the server changed from (?:(?:no )?)(\w+) to (\w+) \(/;
	}
	return join ' ', sort @found;
}

sub stored_changes
{
	my ($since) = @_;

	return join ' ', sort split / /,
	  $node->safe_psql('postgres', <<SQL);
SELECT string_agg(check_name || ':' || coalesce(old_status, 'status') || '>' || new_status, ' ')
FROM infra_monitor.health_events WHERE at > '$since'
SQL
}

is(logged_changes($log), stored_changes($start), 'each event is in the log, once');
like(slurp_file($node->logfile),
	qr/LOG:  health check "long_transactions" changed from ok to critical \(250 seconds\): evaluation \d+ gave 250\n.*HINT:  Vacuum cannot remove/,
	'with its value, message and hint');

# What listeners have been told, as the lines above.
sub told_changes
{
	my @told;

	# notifications come with the answer to a query; this one also makes room for
	# others, which nobody else does once the queue is full
	ask($listener, 'SELECT pg_notification_queue_usage()');
	while (my $payload = shift @{ $listener->{notifications} })
	{
		my $told = decode_json($payload);

		is(join(' ', sort keys %$told), 'at check new old value', 'told: the keys');
		push @told, "$told->{check}:" . ($told->{old} // 'status') . ">$told->{new}";
	}
	return @told;
}

my @told;
my $expected = stored_changes($start);
for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
{
	push @told, told_changes();
	last if @told >= split / /, $expected;
	select undef, undef, undef, 0.1;
}
is(join(' ', sort @told), $expected, 'each event is told, once');

#
# An event that cannot be stored is stored later, once
#
my $holder = $node->background_psql('postgres');
$holder->set_query_timer_restart;
$holder->query_safe('BEGIN; LOCK TABLE infra_monitor.health_state IN EXCLUSIVE MODE');
$log = log_end($node);
$start = $node->safe_psql('postgres', 'SELECT max(at) FROM seen');
play(250, 250, 250);
wait_for($node, "SELECT last_error LIKE 'events: %lock timeout' FROM infra_monitor.sampler_status",
	'events cannot be stored');
is(log_count($node, 'health check "long_transactions" changed from ok to critical', $log), 1, 'but are logged');
play(0);
is($node->safe_psql('postgres', "SELECT count(*) $of_check"), 9, 'none is stored halfway');
is(join(' ', told_changes()), '', 'and none is told that is not stored');
$holder->query_safe('COMMIT');
$holder->quit;
wait_for_events(11, 'then they are stored');
is(changes(10), 'ok>critical critical>ok', 'none is lost, none is doubled');
wait_for($node, 'SELECT count(*) = 2 FROM infra_monitor.health_events WHERE check_name = \'overall\' AND at > ' . "'$start'",
	'and those of the server');
is(logged_changes($log), stored_changes($start), 'and none is logged twice');

#
# A restart: what was critical and is, has been since then; what no longer is
# ends with one event
#
# From here on the value stays as it is.
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE constant (value float8);
INSERT INTO constant VALUES (250);
CREATE OR REPLACE FUNCTION infra_monitor.check_long_transactions(OUT value float8, OUT unit text, OUT message text)
LANGUAGE sql AS 'SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN 500 ELSE c.value END, $$seconds$$, $$constant$$ FROM public.constant c';
SQL
wait_for($node, "SELECT status = 'critical' FROM infra_monitor.health_state WHERE check_name = 'long_transactions'", 'critical');
wait_for($node, "SELECT status = 'degraded' FROM infra_monitor.health_state WHERE check_name = 'overall'", 'and degraded');
my $state = 'SELECT s::text FROM infra_monitor.health_state s ORDER BY 1';
my $stored = $node->safe_psql('postgres', $state);
my $n_events = $node->safe_psql('postgres', 'SELECT count(*) FROM infra_monitor.health_events');
my $since = $node->safe_psql('postgres',
	"SELECT since FROM infra_monitor.health_state WHERE check_name = 'long_transactions'");
foreach my $mode (qw(fast immediate))
{
	$node->stop($mode);
	$log = log_end($node);
	$node->start;
	my $now = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
	wait_for($node, "SELECT evaluated_at > timestamptz '$now' + interval '2 seconds' FROM infra_monitor.health_cache()",
		"$mode: evaluated some times");
	is( $node->safe_psql('postgres',
			"SELECT status, since FROM infra_monitor.health_checks WHERE name = 'long_transactions'"),
		"critical|$since",
		"$mode: what was critical still is, since then");
	is($node->safe_psql('postgres', $state), $stored, "$mode: nothing else is stored");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM infra_monitor.health_events'), $n_events, "$mode: no event");
	is(log_count($node, 'LOG:  health (?:check|of)', $log), 0, "$mode: nothing is logged");
}

# even when its event has been removed
$node->safe_psql('postgres', 'TRUNCATE infra_monitor.health_events');
$node->restart;
my $now = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
wait_for($node, "SELECT evaluated_at > timestamptz '$now' + interval '2 seconds' FROM infra_monitor.health_cache()",
	'evaluated without the events');
is( $node->safe_psql('postgres',
		"SELECT status, since FROM infra_monitor.health_checks WHERE name = 'long_transactions'"),
	"critical|$since",
	'it still is critical, since then');
is($node->safe_psql('postgres', 'SELECT count(*) FROM infra_monitor.health_events'), 0, 'without an event');
is( $node->safe_psql('postgres',
		"SELECT status, from_at = '$since', until_at = now() FROM infra_monitor.health_history(now() - interval '1 day') WHERE check_name = 'long_transactions'"
	),
	'critical|t|t',
	'and in the history, too');

$node->stop;
$log = log_end($node);
$node->start;
$node->safe_psql('postgres', 'UPDATE constant SET value = 0');
wait_for_events(1, 'what no longer is ends');
is(changes(1), 'critical>ok', 'with one event');
is($node->safe_psql('postgres', "SELECT old_since $of_check"), $since, 'that says since when it was');
is(log_count($node, 'health check "long_transactions" changed', $log), 1, 'which is logged once');

#
# The history between two moments
#
$node->safe_psql('postgres', <<'SQL');
INSERT INTO infra_monitor.health_events (at, check_name, old_status, new_status, since, old_since)
SELECT t + interval '1 minute', 'slots', o, n, t, t - interval '1 hour' FROM (
	SELECT now() - interval '5 hours' * (i + 1) / 5, (ARRAY['critical', 'warning', 'ok', 'warning'])[i], (ARRAY['ok', 'critical', 'warning', 'ok'])[i]
	FROM generate_series(1, 4) i) v (t, o, n)
WHERE t + interval '1 minute' >= date_trunc('day', now(), 'UTC');
SQL
SKIP:
{
	my $history = sub {
		my ($since, $until) = @_;
		return $node->safe_psql('postgres', <<SQL);
SELECT string_agg(status || ' ' || to_char(now() - from_at, 'HH24:MI') || '-' || to_char(now() - until_at, 'HH24:MI'), ', ' ORDER BY from_at)
FROM infra_monitor.health_history(now() - interval '$since', now() - interval '$until') WHERE check_name = 'slots'
SQL
	};
	skip 'the day is young', 5
	  if $node->safe_psql('postgres', "SELECT count(*) < 4 FROM infra_monitor.health_events WHERE check_name = 'slots'") eq 't';
	is($history->('10:00', '0:00'),
		'warning 06:00-05:00, ok 05:00-04:00, warning 04:00-03:00, critical 03:00-02:00, ok 02:00-00:00',
		'history: all that is known, and what was before its first event');
	is($history->('3:30', '2:30'), 'warning 03:30-03:00, critical 03:00-02:30', 'history: cut at both ends');
	is($history->('1:00', '-1:00'), 'ok 01:00-00:00', 'history: not of the future');
	is($history->('2:50', '2:10'), 'critical 02:50-02:10', 'history: without any event in the span');
	is($history->('9:00', '7:00'), '', 'history: before all that is known');
}
my ($status, $out, $said) = $node->psql('postgres',
	"SELECT infra_monitor.health_history(now(), now() - interval '1 hour')");
like($said, qr/must not end before it begins/, 'history: a span that ends before it begins is an error');
is($node->safe_psql('postgres', 'SELECT count(*) FROM infra_monitor.health_history(NULL)'), 0, 'history: nothing of no span');

#
# What is turned off is unknown from then on, and once
#
$node->safe_psql('postgres', "UPDATE infra_monitor.health_threshold_overrides SET enabled = false WHERE check_name = 'long_transactions'");
wait_for_events(2, 'a check that is turned off');
is(changes(2), 'ok>unknown', 'is no longer known');
$node->safe_psql('postgres', "UPDATE infra_monitor.health_threshold_overrides SET enabled = true WHERE check_name = 'long_transactions'");
wait_for_events(3, 'and one that is turned on');
is(changes(3), 'unknown>ok', 'is known again');

#
# No room for a notification: it fails at commit, and is made up for
#
SKIP:
{
	skip 'the queue of notifications cannot be made small', 10 if !$small_queue;

	$listener = open_session($node);
	ask($listener, 'LISTEN infra_monitor');
	my $reader = open_session($node);
	ask($reader, 'LISTEN filler');	# no listener before it has committed
	ask($reader, 'BEGIN');
	my $filler = open_session($node);
	foreach (1 .. 1000)				# about one page each
	{
		last unless defined try_ask($filler, "SELECT pg_notify('filler', repeat('x', 7900) || clock_timestamp())");
	}
	like($filler->{message} // 'no error', qr/too many notifications/, 'the queue of notifications is full');
	my $sampler = status_of($node, 'pid');
	my $log = log_end($node);
	$node->safe_psql('postgres', 'UPDATE constant SET value = 250');
	wait_for_events(4, 'events are stored');
	wait_for($node, "SELECT last_error LIKE 'notify: too many notifications%' FROM infra_monitor.sampler_status",
		'and cannot be told');
	is(status_of($node, 'pid'), $sampler, 'the sampler lives');
	$node->wait_for_log(qr/WARNING:  infra_monitor could not do its task "notify"/, $log);
	is(log_count($node, 'WARNING:  infra_monitor could not do its task "notify"', $log), 1, 'and complains once');
	$node->safe_psql('postgres', 'UPDATE constant SET value = 0');
	wait_for_events(5, 'it goes on to evaluate and to store');
	is(join(' ', told_changes()), '', 'nothing is told');
	ask($reader, 'COMMIT');
	my @told;
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		push @told, told_changes();
		last if @told >= 4;
		select undef, undef, undef, 0.1;
	}
	is(join(' ', sort @told),
		'long_transactions:critical>ok long_transactions:ok>critical overall:degraded>healthy overall:healthy>degraded',
		'with room in it all is told, once');
	$node->wait_for_log(qr/infra_monitor does its task "notify" again/, $log);
	is(log_count($node, 'infra_monitor does its task "notify" again', $log), 1, 'which is logged');
	close_sessions($reader, $filler, $listener);
}

#
# A standby logs, and stores nothing; after the promotion it goes on with what the
# primary has stored
#
my $n = $node->safe_psql('postgres', "SELECT count(*) $of_check");
$node->safe_psql('postgres', 'UPDATE constant SET value = 250');
wait_for_events($n + 1, 'critical on the primary');
wait_for($node, "SELECT status = 'degraded' FROM infra_monitor.health_state WHERE check_name = 'overall'", 'with its server');
$since = $node->safe_psql('postgres',
	"SELECT since FROM infra_monitor.health_state WHERE check_name = 'long_transactions'");
$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
wait_for($standby, "SELECT status = 'critical' AND value = 500 FROM infra_monitor.health_checks WHERE name = 'long_transactions'",
	'standby: a status of its own');
$standby->wait_for_log(qr/LOG:  health check "long_transactions" changed from no status to critical/);
is(log_count($standby, 'LOG:  health check "long_transactions" changed from no status to critical \(500 seconds\)'), 1,
	'standby: it is logged');
is( $standby->safe_psql('postgres',
		"SELECT c.since > '$since' FROM infra_monitor.health_checks c WHERE name = 'long_transactions'"),
	't', 'standby: since it was first evaluated there');
$node->stop;
my $before = $standby->safe_psql('postgres', 'SELECT count(*), max(at) FROM infra_monitor.health_events');
$standby->promote;
wait_for($standby, "SELECT h->>'role' = 'primary' FROM infra_monitor.health() h", 'promoted: health says so');
wait_for($standby, "SELECT value = 250 AND since = '$since' FROM infra_monitor.health_checks WHERE name = 'long_transactions'",
	'promoted: critical since it was on the primary');
wait_for_sample($standby, 'promoted: it stores');
is($standby->safe_psql('postgres', 'SELECT count(*), max(at) FROM infra_monitor.health_events'), $before,
	'promoted: nothing has changed, no event');
$node = $standby;
$node->safe_psql('postgres', 'UPDATE constant SET value = 0');
wait_for_events($n + 2, 'promoted: events are stored');
is(changes($n + 2), 'critical>ok', 'promoted: that it is over');
is(log_count($node, 'could not do its task'), 0, 'promoted: without an error');
$node->stop;

done_testing();
