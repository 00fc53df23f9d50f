# Executions that did not finish: each is counted once, in its class, with the
# time that it took and the identifier of its statement.  pg_stat_statements
# shows none of them.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = new_server('failures', conf => <<'CONF');
deadlock_timeout = 300ms
log_statement = none
CONF
$node->start;

my $observer = open_session($node);
my $holder = open_session($node);
ask($observer, $_) for split /^/, <<'SQL';
CREATE EXTENSION infra_monitor CASCADE
CREATE TABLE t AS SELECT i FROM generate_series(1, 2) i
CREATE FUNCTION nap() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); END $$
CREATE TABLE parent (i int PRIMARY KEY)
CREATE TABLE child (i int REFERENCES parent DEFERRABLE INITIALLY DEFERRED)
CREATE TABLE t_of_v (i int)
CREATE VIEW v AS SELECT i FROM t_of_v
SET client_min_messages = error
CREATE TYPE slow
CREATE FUNCTION slow_in(cstring) RETURNS slow LANGUAGE internal IMMUTABLE STRICT AS 'oidin'
CREATE FUNCTION slow_out(slow) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'pg_get_viewdef'
CREATE TYPE slow (INPUT = slow_in, OUTPUT = slow_out, LIKE = oid)
CREATE FUNCTION keep(slow) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$ BEGIN RETURN true; END $$
RESET client_min_messages
SQL

# Begins to run a query by the extended protocol; it may have many rows, which
# are fetched in portions of $rows.
sub send_extended
{
	my ($session, $query, $rows, $times) = @_;
	my @messages = ([ 'P', "\0$query\0" . pack('n', 0) ], [ 'B', "\0\0" . pack('n3', 0, 0, 0) ]);

	push @messages, [ 'E', "\0" . pack('N', $rows // 0) ] for 1 .. $times // 1;
	delete @$session{qw(rows sqlstate message hint)};
	$session->{socket}
	  ->syswrite(join('', map { $_->[0] . pack('N', 4 + length $_->[1]) . $_->[1] } @messages, [ 'S', '' ]));
	return;
}

# The identifier that a query will have.
sub queryid
{
	my ($query) = @_;

	return ask($observer, "EXPLAIN (VERBOSE, COSTS off) $query") =~ /^Query Identifier: (-?\d+)$/m ? $1 : die $query;
}

# Everything begins anew.
sub start_over
{
	ask($observer, 'SELECT pg_stat_statements_reset()');
	ask($observer, q{SELECT infra_monitor.reset('statements')});
	ask($observer, q{SELECT infra_monitor.reset('slow_queries')});
	return;
}

# All failures: for each statement its queryid, the numbers of the cancelled, of
# those that did not get a lock, of the terminated, and of the others.
my $failures = <<'SQL';
SELECT coalesce(queryid::text, 'unknown'), cancelled, lock_not_available, terminated, failed
FROM infra_monitor.statement_counts() WHERE cancelled + lock_not_available + terminated + failed > 0
ORDER BY 1
SQL

sub failed_time
{
	return ask($observer, 'SELECT sum(failed_time) FROM infra_monitor.statement_counts()');
}

# Tests that there are these failures and no others, that they took so many
# milliseconds, and that nothing of them stands in pg_stat_statements.
sub is_failure
{
	my ($name, $queryid, $counts, $least, $most) = @_;

	wait_in_session($observer, $failures, "$name: counted once, in its class", "$queryid|$counts");
	my $time = failed_time();
	ok($time >= $least && $time <= $most, "$name: it took $least to $most ms") or diag $time;
	return if $queryid eq 'unknown';
	is(ask($observer, "SELECT count(*) FROM pg_stat_statements WHERE queryid = $queryid"),
		0, "$name: unknown to pg_stat_statements");
	return;
}

# Waits until a session waits for a lock, or sleeps.
sub wait_until_waiting
{
	my ($session, $event) = @_;

	return wait_in_session($observer,
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = $session->{pid} AND state = 'active' AND wait_event = '$event'",
		"it waits: $event");
}

sub open_victim
{
	my $session = open_session($node);

	$session->{pid} = ask($session, 'SELECT pg_backend_pid()');
	return $session;
}

my $victim = open_victim();
my $nap = 'SELECT pg_sleep(60)';
my $nap_id = queryid($nap);

subtest 'statement_timeout' => sub {
	ask($victim, 'SET statement_timeout = 500');
	start_over();
	my $most = 1000 * seconds
	{
		try_ask($victim, $nap) for 1 .. 20;
	};
	is($victim->{sqlstate}, '57014', 'it times out');
	is_failure('20 timeouts', $nap_id, '20|0|0|0', 9_000, $most);
	is( ask($observer, "SELECT calls, failures, cancellations, failed_time BETWEEN 9000 AND $most, rows, query FROM infra_monitor.slow_queries WHERE queryid = $nap_id"),
		'0|20|20|t||',
		'so it stands in slow_queries');

	start_over();
	send_extended($victim, $nap);
	await_session($victim);
	is_failure('extended protocol', $nap_id, '1|0|0|0', 400, 60_000);

	# of commands, only the text of completed ones tells the identifier
	start_over();
	ask($victim, $_) for 'SET my.nap = 0', 'DO $$ BEGIN PERFORM pg_sleep(current_setting(\'my.nap\')::float8); END $$', 'SET my.nap = 60';
	try_ask($victim, 'DO $$ BEGIN PERFORM pg_sleep(current_setting(\'my.nap\')::float8); END $$');
	is( ask($observer, q{SELECT calls, failures, cancellations, failed_time BETWEEN 400 AND 60000 FROM infra_monitor.slow_queries WHERE query LIKE 'DO %'}),
		'1|1|1|t', 'a command');
	ask($victim, 'RESET statement_timeout');
};

subtest 'cancelled' => sub {
	start_over();
	send_query($victim, 'SELECT nap()');
	wait_until_waiting($victim, 'PgSleep');
	ask($observer, "SELECT pg_cancel_backend($victim->{pid})");
	await_session($victim);
	is_failure('pg_cancel_backend', queryid('SELECT nap()'), '1|0|0|0', 0.1, 60_000);

	# nested ones, too, if these are to be seen
	ask($victim, q{SET infra_monitor.track = 'all'});
	ask($victim, 'SET statement_timeout = 300');
	start_over();
	try_ask($victim, 'SELECT nap()');
	ask($victim, 'RESET ALL');
	is( ask($observer, 'SELECT toplevel, cancelled, failed_time BETWEEN 200 AND 60000 FROM infra_monitor.statement_counts() WHERE cancelled > 0 ORDER BY 1'),
		"f|1|t\nt|1|t", 'each level');
};

subtest 'errors' => sub {
	my $query = 'SELECT 1 / length(pg_sleep(0.3)::text)';

	start_over();
	try_ask($victim, $query);
	is($victim->{sqlstate}, '22012', 'division by zero');
	is_failure('after 300 ms', queryid($query), '0|0|0|1', 290, 60_000);
};

subtest 'lock_timeout' => sub {
	my $query = 'UPDATE t SET i = i WHERE i = 1';

	ask($holder, 'BEGIN');
	ask($holder, $query);
	ask($victim, 'SET lock_timeout = 300');
	start_over();
	try_ask($victim, $query);
	is($victim->{sqlstate}, '55P03', 'it gives up');
	is_failure('row lock', queryid($query), '0|1|0|0', 290, 60_000);
	ask($victim, 'RESET lock_timeout');
	ask($holder, 'ROLLBACK');
};

subtest 'deadlock' => sub {
	my $query = 'UPDATE t SET i = i WHERE i = 1';
	my $other = open_victim();

	ask($_, 'BEGIN') for $other, $victim;
	ask($other, $query);
	ask($victim, 'UPDATE t SET i = i WHERE i = 2');
	start_over();
	send_query($other, 'UPDATE t SET i = i WHERE i = 2');
	wait_until_waiting($other, 'transactionid');
	send_query($victim, $query);
	await_session($_) for $other, $victim;
	is( join(',', sort map { $_->{sqlstate} // 'none' } $other, $victim),
		'40P01,none', 'one of them is the victim');
	is( ask($observer, $failures),
		queryid($query) . '|0|0|0|1', 'counted once');
	cmp_ok(failed_time(), '>=', 200, 'with the time it waited');
	ask($_, 'ROLLBACK') for $other, $victim;
	close_sessions($other);
};

subtest 'the session ends' => sub {
	foreach my $send (\&send_query, \&send_extended)
	{
		start_over();
		$send->($victim, $nap);
		wait_until_waiting($victim, 'PgSleep');
		usleep(300_000);
		ask($observer, "SELECT pg_terminate_backend($victim->{pid})");
		await_session($victim);
		is_failure('pg_terminate_backend', $nap_id, '0|0|1|0', 300, 60_000);
		$victim = open_victim();
	}

	# what PostgreSQL does about temporary tables comes before anything of ours
	foreach my $before ('SELECT 1', 'SAVEPOINT s')
	{
		ask($victim, 'CREATE TEMP TABLE x (i int)');
		ask($victim, 'BEGIN');
		ask($victim, $before);
		ask($victim, 'SET LOCAL infra_monitor.slow_query_threshold = 0');
		start_over();
		send_query($victim, $nap);
		wait_until_waiting($victim, 'PgSleep');
		usleep(300_000);
		ask($observer, "SELECT pg_terminate_backend($victim->{pid})");
		await_session($victim);
		is_failure("with a temporary table, $before", $nap_id, '0|0|1|0', 300, 60_000);
		is( ask($observer, "SELECT outcome, sqlstate, exec_time >= 300, query FROM infra_monitor.slow_query_log() WHERE pid = $victim->{pid}"),
			'terminated|57P01|t|SELECT pg_sleep($1)', 'and logged once');
		$victim = open_victim();
	}

	# inside of a command
	start_over();
	send_query($victim, 'DO $$ BEGIN PERFORM pg_sleep(60); END $$');
	wait_until_waiting($victim, 'PgSleep');
	ask($observer, "SELECT pg_terminate_backend($victim->{pid})");
	await_session($victim);
	wait_in_session($observer, 'SELECT sum(terminated) FROM infra_monitor.statement_counts()', 'a command', 1);
	$victim = open_victim();

	# idle in a transaction there is nothing that fails
	ask($victim, 'BEGIN');
	ask($victim, 'SELECT 1');
	start_over();
	ask($observer, "SELECT pg_terminate_backend($victim->{pid}, 60000)");
	is(ask($observer, $failures), '', 'idle in transaction');
	$victim = open_victim();
};

subtest 'the client is gone' => sub {

	# the server may be unable to look
	unless (defined try_ask($victim, 'SET client_connection_check_interval = 100'))
	{
		note 'left out: not on this system';
		return ok(1, 'left out');
	}
	start_over();
	send_query($victim, $nap);
	wait_until_waiting($victim, 'PgSleep');
	close $victim->{socket};
	is_failure('disconnected', $nap_id, '0|0|1|0', 1, 60_000);
	$victim = open_victim();
};

# Where a table is locked exclusively, a statement does not get as far as to the
# executor.
subtest 'behind an ACCESS EXCLUSIVE lock' => sub {
	my $query = 'SELECT count(*) FROM t';
	my $queryid = queryid($query);

	ask($holder, 'BEGIN');
	ask($holder, 'LOCK TABLE t');

	start_over();
	ask($victim, 'SET statement_timeout = 300');
	try_ask($victim, $query);
	is($victim->{sqlstate}, '57014', 'statement_timeout');
	is_failure('statement_timeout', 'unknown', '1|0|0|0', 290, 60_000);

	start_over();
	send_extended($victim, $query);
	await_session($victim);
	is_failure('extended protocol', 'unknown', '1|0|0|0', 290, 60_000);
	ask($victim, 'RESET statement_timeout');

	start_over();
	ask($victim, 'SET lock_timeout = 300');
	try_ask($victim, $query);
	is($victim->{sqlstate}, '55P03', 'lock_timeout');
	is_failure('lock_timeout', 'unknown', '0|1|0|0', 290, 60_000);
	ask($victim, 'RESET lock_timeout');

	start_over();
	send_query($victim, $query);
	wait_until_waiting($victim, 'relation');
	ask($observer, "SELECT pg_terminate_backend($victim->{pid})");
	await_session($victim);
	is_failure('terminated', 'unknown', '0|0|1|0', 0.1, 60_000);
	$victim = open_victim();

	# the first that a session does
	start_over();
	my $first = begin_session($node);
	await_session($first);
	send_query($first, $query);
	wait_in_session($observer, q{SELECT count(*) = 1 FROM pg_locks WHERE NOT granted AND relation = 't'::regclass}, 'it waits');
	ask($observer, q{SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted AND relation = 't'::regclass});
	await_session($first);
	is_failure('the first statement', 'unknown', '0|0|1|0', 0.1, 60_000);

	start_over();
	send_query($victim, $query);
	wait_until_waiting($victim, 'relation');
	usleep(2_000_000);
	ask($holder, 'COMMIT');
	await_session($victim);
	is(join('|', @{ $victim->{rows} }), 2, 'released');
	is(ask($observer, $failures), '', 'that is no failure');
	is( ask($observer, "SELECT calls, total_exec_time < 2000, failed_time FROM infra_monitor.slow_queries WHERE queryid = $queryid"),
		'1|t|0', 'but an execution, without the time before it');
};

subtest 'extended protocol' => sub {
	my $same = <<'SQL';
SELECT s.calls, p.calls = s.calls, s.failures FROM infra_monitor.slow_queries s JOIN pg_stat_statements p USING (userid, dbid, queryid, toplevel)
SQL

	start_over();
	send_extended($victim, 'SELECT generate_series(1, 10)', 3, 3);
	await_session($victim);
	is(scalar(@{ $victim->{rows} }), 9, 'rows come in portions');
	is(ask($observer, "$same WHERE s.query LIKE '%generate_series(\$%'"), '1|t|0', 'one call');

	# described, but not executed
	start_over();
	send_extended($victim, 'SELECT generate_series(1, 10)', 3, 0);
	await_session($victim);
	is(ask($observer, "$same WHERE s.query LIKE '%generate_series(\$%'"), '1|t|0', 'as pg_stat_statements counts it');

	foreach my $command ('CHECKPOINT', 'ANALYZE t', 'SET work_mem = 1000')
	{
		start_over();
		send_extended($victim, $command);
		await_session($victim);
		is(ask($observer, "$same WHERE s.query ~ '^(CHECKP|ANALYZE|SET)'"), '1|t|0', $command);
	}

	# an error leaves a portal behind
	start_over();
	ask($victim, 'BEGIN');
	ask($victim, 'SAVEPOINT s');
	send_extended($victim, 'SELECT 1 / (i - 2) FROM t ORDER BY i', 1, 2);
	await_session($victim);
	is($victim->{sqlstate}, '22012', 'an error in the second portion');
	ask($victim, 'ROLLBACK TO s');
	ask($victim, 'COMMIT');
	is_failure('in portions', queryid('SELECT 1 / (i - 2) FROM t ORDER BY i'), '0|0|0|1', 0.001, 60_000);
};

# Of several statements in one message, one that fails behind the executor, or
# before it, has only taken the time since the one before it ended.
subtest 'the last one of several fails' => sub {
	my %query = (
		'at commit' => 'BEGIN; INSERT INTO child VALUES (1); SELECT pg_sleep(1); COMMIT',
		'not analysed' => 'SELECT pg_sleep(1); SELECT no_such_column');

	foreach my $name (sort keys %query)
	{
		start_over();
		try_ask($victim, $query{$name});
		is($victim->{sqlstate}, $name eq 'at commit' ? '23503' : '42703', "$name: it fails");
		ask($victim, 'ROLLBACK');
		is( ask($observer, 'SELECT sum(failed), sum(failed_time) BETWEEN 0.001 AND 999 FROM infra_monitor.statement_counts()'),
			'1|t', "$name: the failure has not taken the time of the others");
		is( ask($observer, 'SELECT calls, total_exec_time >= 999 FROM infra_monitor.slow_queries WHERE query LIKE \'%pg_sleep%\''),
			'1|t', "$name: it is theirs");
	}
};

# While the plan of a slow one is written, its outcome is open: the client is
# told that it was cancelled, or nothing, and it counts as that.  What is written
# in place of the constant is the definition of a view, which waits for a lock.
subtest 'while the plan is written' => sub {
	my $view = ask($observer, q{SELECT 'v'::regclass::oid});
	my $query = "SELECT /* plan */ i FROM t WHERE keep('$view'::slow)";
	my $queryid = queryid($query);
	my %end = (
		pg_cancel_backend => 'cancelled',
		pg_terminate_backend => 'terminated',
		none => 'completed');
	my $counts = "SELECT infra_monitor.observations(latency), cancelled, terminated, failed FROM infra_monitor.statement_counts() WHERE queryid = $queryid AND toplevel";

	foreach my $function (sort keys %end)
	{
		my $outcome = $end{$function};

		foreach my $track (qw(top all))
		{
			ask($victim, $_) for split /^/, <<"SQL";
SET infra_monitor.track = '$track'
SET infra_monitor.slow_query_plan = on
SET infra_monitor.slow_query_threshold = 0
SQL
			start_over();
			ask($holder, 'BEGIN');
			ask($holder, 'LOCK TABLE t_of_v');
			send_query($victim, $query);
			wait_until_waiting($victim, 'relation');
			ask($observer, $outcome eq 'completed' ? 'SELECT 1' : "SELECT $function($victim->{pid})");
			ask($holder, 'ROLLBACK') if $outcome eq 'completed';
			await_session($victim);
			ask($holder, 'ROLLBACK') if $outcome ne 'completed';
			wait_in_session($observer, $counts, "$outcome: counted once, track = $track",
				join('|', map { $outcome eq $_ ? 1 : 0 } qw(completed cancelled terminated failed)));
			wait_in_session($observer,
				"SELECT outcome, plan IS NOT NULL FROM infra_monitor.slow_query_log() WHERE pid = $victim->{pid} AND queryid = $queryid",
				"$outcome: and logged once", "$outcome|" . ($outcome eq 'completed' ? 't' : 'f'));
			is( ask($observer, q{SELECT count(*) FROM infra_monitor.slow_queries WHERE toplevel AND query LIKE '%pg_rewrite%'}),
				0, 'what it takes to write it is not a statement of the client');
			$victim = open_victim() if $outcome eq 'terminated';
		}
	}
	ask($victim, 'RESET ALL');
};

close_sessions($observer, $holder, $victim);
$node->stop;
done_testing();
