# Statements outside of what an ordinary session does: processes of other kinds,
# and executions that end, or go on, elsewhere.  Nothing crashes, and what is
# counted is counted once.

use strict;
use warnings;

use InfraMonitor;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server(
	'processes',
	init => [ allows_streaming => 'logical' ],
	conf => <<'CONF');
infra_monitor.track = all
pg_stat_statements.track = all
infra_monitor.slow_query_threshold = 0
infra_monitor.slow_query_plan = on
max_prepared_transactions = 5
autovacuum_naptime = 1s
log_statement = none
CONF
$node->start;
my $observer = open_session($node);
ask($observer, $_) for split /^/, <<'SQL';
CREATE EXTENSION infra_monitor CASCADE
CREATE DATABASE work
SQL
$node->safe_psql('work', <<'SQL');
CREATE TABLE t (i int PRIMARY KEY, t text);
INSERT INTO t SELECT i, 'x' FROM generate_series(1, 1000) i;
CREATE FUNCTION deep(n int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	result int := 0;
BEGIN
	IF n > 1 THEN
		SELECT deep(n - 1) INTO result FROM t WHERE i = 1;
	ELSIF n < 1 THEN
		RAISE EXCEPTION 'at the bottom';
	ELSE
		PERFORM pg_sleep(current_setting('my.nap')::float8);
	END IF;
	RETURN result + 1;
END $$;
SQL

sub start_over
{
	ask($observer, 'SELECT pg_stat_statements_reset()');
	ask($observer, q{SELECT infra_monitor.reset('statements')});
	return;
}

sub open_worker
{
	my (%options) = @_;
	my $session = open_session($node, database => 'work', %options);

	$session->{pid} = ask($session, 'SELECT pg_backend_pid()') unless $options{replication};
	return $session;
}

# Of the statements whose text matches: calls, those of pg_stat_statements,
# failures.
sub counts
{
	my ($pattern, $top) = @_;

	$top //= 'true';
	return <<"SQL";
SELECT coalesce(sum(s.calls), 0), coalesce(sum(p.calls), 0), coalesce(sum(s.failures), 0)
FROM infra_monitor.slow_queries s FULL JOIN pg_stat_statements p USING (userid, dbid, queryid, toplevel)
WHERE coalesce(s.query, p.query) ~ '$pattern' AND toplevel = $top AND coalesce(s.query, p.query) !~ 'slow_queries'
SQL
}

sub is_counted
{
	my ($name, $pattern, $expected, $top) = @_;

	return wait_in_session($observer, counts($pattern, $top), $name, $expected);
}

# Nothing is left over in a session: its next statement counts as it should.
sub still_works
{
	my ($session, $name) = @_;

	start_over();
	ask($session, 'SELECT 1 AS works');
	is_counted("$name: the next statement counts", 'AS works', '1|1|0');
	return;
}

subtest 'single-user mode' => sub {
	my ($out, $error);

	close_sessions($observer);
	$node->stop;
	ok( IPC::Run::run(
			[ 'postgres', '--single', '-D', $node->data_dir, 'work' ],
			'<', \"SELECT count(*) AS single FROM t\nSELECT 1 / 0\nDO \$\$ BEGIN PERFORM 1; END \$\$\nBEGIN\nSELECT deep(3)\nCOMMIT\nSELECT sum(failures) AS seen FROM nowhere\nSELECT 'still ' || 'here' AS last\n",
			'>', \$out, '2>', \$error),
		'it ends well');
	like($out, qr/single = "1000"/, 'queries run');
	like($out, qr/last = "still here"/, 'also after errors');
	like($error, qr/division by zero/, 'which are told');
	unlike($error, qr/PANIC|TRAP|server process/, 'no crash');
	$node->start;
	$observer = open_session($node);
};

subtest 'walsenders' => sub {
	my $sender = open_worker(replication => 'database');

	start_over();
	ok(ask($sender, 'IDENTIFY_SYSTEM'), 'IDENTIFY_SYSTEM');
	is(ask($sender, 'SELECT count(*) AS sent FROM t'), 1000, 'SQL');
	ok(!defined try_ask($sender, 'SELECT 1 / (i - 5) AS sent FROM t'), 'an error');
	ok(!defined try_ask($sender, 'START_REPLICATION SLOT nowhere LOGICAL 0/0'), 'a slot that is missing');
	ok(!defined try_ask($sender, 'NO COMMAND'), 'no command');
	ok(defined try_ask($sender, 'SHOW work_mem'), 'SHOW');
	is_counted('its SQL is that of a client', 'AS sent', '1|1|0');
	is( ask($observer, 'SELECT count(*) FROM pg_stat_statements WHERE query ~ $$IDENTIFY|START_REPL$$'),
		0, 'its commands are no statements');
	close_sessions($sender);

	my $physical = open_session($node, replication => 'true');
	ok(ask($physical, 'IDENTIFY_SYSTEM'), 'one without a database');
	ok(!defined try_ask($physical, 'START_REPLICATION 0/0 TIMELINE 99'), 'its error');
	close_sessions($physical);

	my $directory = PostgreSQL::Test::Utils::tempdir('wal');
	ask($observer, "SELECT pg_create_physical_replication_slot('wal', true)");
	$node->safe_psql('work', q{SELECT pg_create_logical_replication_slot('changes', 'test_decoding'); INSERT INTO t VALUES (5000)});
	my $end = ask($observer, 'SELECT pg_current_wal_flush_lsn()');

	$node->command_ok([ 'pg_receivewal', '-D', $directory, '-S', 'wal', '-n', '--endpos', $end, '--no-sync' ], 'pg_receivewal');
	$node->command_like(
		[ 'pg_recvlogical', '-d', $node->connstr('work'), '-S', 'changes', '--start', '-f', '-', '-n', '--no-loop', '--endpos', $end ],
		qr/INSERT.*5000/, 'pg_recvlogical');
	ask($observer, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots");
	$node->safe_psql('work', 'DELETE FROM t WHERE i = 5000');
};

subtest 'workers of others' => sub {
	my $worker = open_worker();

	# parallel workers: their leader counts
	ask($worker, 'SET min_parallel_table_scan_size = 0');
	ask($worker, "SET $_ = 0") for qw(parallel_setup_cost parallel_tuple_cost);
	start_over();
	is(ask($worker, 'SELECT count(*) AS parallel FROM t'), 1000, 'a parallel plan');
	ok(!defined try_ask($worker, 'SELECT sum(1 / (i - 500)) AS parallel_error FROM t'), 'an error in a worker');
	is($worker->{sqlstate}, '22012', 'division by zero');
	is_counted('counted once', 'AS parallel ', '1|1|0');
	is( ask($observer, q{SELECT sum(failed) FROM infra_monitor.statement_counts() c JOIN pg_database d ON d.oid = c.dbid WHERE datname = 'work'}),
		1, 'so is the error');

	# the worker of a subscription, and those that copy tables
	my $log = log_end($node);
	$node->safe_psql('work', 'CREATE TABLE changed (i int PRIMARY KEY); INSERT INTO changed VALUES (1); CREATE PUBLICATION p FOR TABLE changed');
	ask($observer, 'CREATE TABLE changed (i int PRIMARY KEY)');
	$node->safe_psql('work', "SELECT pg_create_logical_replication_slot('s', 'pgoutput')");
	$node->safe_psql('postgres', "CREATE SUBSCRIPTION s CONNECTION '" . $node->connstr . " dbname=work' PUBLICATION p WITH (create_slot = false, slot_name = s)");
	wait_in_session($observer, 'SELECT count(*) FROM changed', 'a table is copied', 1);
	$node->safe_psql('work', 'INSERT INTO changed VALUES (2), (3); UPDATE changed SET i = 4 WHERE i = 3');
	wait_in_session($observer, 'SELECT sum(i) FROM changed', 'changes are applied', 7);
	$node->safe_psql('postgres', 'DROP SUBSCRIPTION s');

	# autovacuum
	$node->safe_psql('work', 'UPDATE t SET t = i');
	wait_in_session($observer, q{SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'autovacuum launcher'}, 'autovacuum runs');
	$node->poll_query_until('work', q{SELECT autovacuum_count + autoanalyze_count > 0 FROM pg_stat_user_tables WHERE relname = 't'})
	  or fail('autovacuum');
	is( ask($observer, q{SELECT count(*) FROM infra_monitor.slow_query_log() WHERE query ~ '^autovacuum'}),
		0, 'it executes no statements');
	is(log_count($node, 'terminated by signal|PANIC', $log), 0, 'no process has crashed');
	close_sessions($worker);
};

subtest 'transactions' => sub {
	my $worker = open_worker();

	start_over();
	ask($worker, $_) for 'BEGIN', 'SELECT 1 AS prepared', "PREPARE TRANSACTION 'p'", 'SELECT 1 AS prepared', "COMMIT PREPARED 'p'";
	is_counted('PREPARE TRANSACTION', 'AS prepared', '2|2|0');
	is_counted('itself', '^(PREPARE TRANS|COMMIT PREP)', '2|2|0');

	# the one that is prepared is open
	start_over();
	ask($worker, $_) for 'BEGIN', 'DECLARE c CURSOR FOR SELECT i AS open FROM t ORDER BY i', 'FETCH 3 FROM c';
	ask($worker, "PREPARE TRANSACTION 'p'");
	ask($worker, "ROLLBACK PREPARED 'p'");
	still_works($worker, 'a cursor that was open');

	start_over();
	ask($worker, 'DO $$ BEGIN FOR j IN 1 .. 3 LOOP PERFORM j AS done; COMMIT; END LOOP; END $$');
	is_counted('COMMIT in DO', '^DO ', '1|1|0');
	is_counted('what is before it', 'SELECT j AS done', '3|3|0', 'false');

	start_over();
	ask($worker, $_) for 'BEGIN', 'DECLARE c CURSOR FOR SELECT 10 / (i - 5) AS fetched FROM t WHERE i < 10 ORDER BY i';
	ask($worker, 'FETCH 2 FROM c');
	ok(!defined try_ask($worker, 'FETCH 4 FROM c'), 'an error in FETCH');
	is($worker->{sqlstate}, '22012', 'division by zero');
	ask($worker, 'ROLLBACK');
	is( ask($observer, 'SELECT sum(failed) FROM infra_monitor.statement_counts() WHERE toplevel'),
		1, 'counted once for the client');
	still_works($worker, 'FETCH');

	start_over();
	ask($worker, 'BEGIN');
	ask($worker, 'DECLARE h CURSOR WITH HOLD FOR SELECT i AS held FROM t ORDER BY i');
	ask($worker, 'COMMIT');
	is(ask($worker, 'FETCH 2 FROM h'), "1\n2", 'a cursor that is held');
	ask($worker, 'CLOSE h');
	is_counted('its FETCH', '^FETCH', '1|1|0');

	# that which fails while it is held
	start_over();
	ask($worker, $_) for 'BEGIN', 'DECLARE h CURSOR WITH HOLD FOR SELECT 10 / (i - 5) AS held FROM t ORDER BY i';
	ok(!defined try_ask($worker, 'COMMIT'), 'an error while it is stored');
	is( ask($observer, q{SELECT sum(failed) FROM infra_monitor.statement_counts() WHERE toplevel}),
		1, 'counted once for the client');
	still_works($worker, 'WITH HOLD');
	close_sessions($worker);
};

subtest 'deep' => sub {
	my $worker = open_worker();

	# builds with sanitizers need more, see test/sanitizers.sh
	my $set_stack = sprintf q{SET max_stack_depth = '%s'}, $ENV{IMON_STACK_DEPTH} // '6MB';

	# an error, a cancel, and the end, out of 500 functions
	ask($worker, $set_stack);
	ask($worker, q{SET my.nap = 0});
	start_over();
	is(ask($worker, 'SELECT deep(500) AS depth'), 500, '500 functions');
	is_counted('the first', 'AS depth', '1|1|0');
	is_counted('the others', '^SELECT deep.*FROM t WHERE', '499|499|0', 'false');

	foreach my $end ('pg_cancel_backend', 'pg_terminate_backend')
	{
		ask($worker, 'SET my.nap = 600');
		start_over();
		send_query($worker, 'SELECT deep(500) AS depth');
		wait_in_session($observer, "SELECT wait_event FROM pg_stat_activity WHERE pid = $worker->{pid}", 'it sleeps', 'PgSleep');
		ask($observer, "SELECT $end($worker->{pid})");
		await_session($worker);
		wait_in_session($observer,
			q{SELECT coalesce(sum(cancelled + terminated), 0) FROM infra_monitor.statement_counts() WHERE toplevel},
			"$end: the first", 1);
		next if $end eq 'pg_terminate_backend';

		# the others, and that which sleeps
		is( ask($observer, q{SELECT sum(cancelled) FROM infra_monitor.statement_counts() WHERE NOT toplevel}),
			500, "$end: the others");
		still_works($worker, $end);
		ask($worker, $set_stack);
	}
};

subtest 'COPY' => sub {
	my $worker = open_worker();

	start_over();
	ok(defined try_ask($worker, q{COPY t FROM PROGRAM 'printf "2001\tx\n2002\tx\n"'}), 'from a program');
	ok(!defined try_ask($worker, q{COPY t FROM PROGRAM 'printf "no number\tx\n"'}), 'an error in what it says');
	ok(!defined try_ask($worker, q{COPY t FROM PROGRAM 'exit 3'}), 'an error of the program');
	is_counted('counted', '^COPY t FROM PROGRAM .printf .2001', '1|1|0');
	is( ask($observer, 'SELECT sum(failed) FROM infra_monitor.statement_counts()'), 2, 'so are the errors');
	is( ask($observer, q{SELECT rows FROM pg_stat_statements WHERE query ~ '^COPY t FROM PROGRAM .printf .2001'}), 2, 'with its rows');

	# the client leaves while it sends, or while it receives
	foreach my $copy ('COPY t FROM STDIN', 'COPY (SELECT repeat(i::text, 1000) FROM generate_series(1, 10000000) i) TO STDOUT')
	{
		my $client = open_worker();

		start_over();
		send_query($client, $copy);
		wait_in_session($observer,
			"SELECT count(*) FROM pg_stat_activity WHERE pid = $client->{pid} AND wait_event IN ('ClientRead', 'ClientWrite') AND state = 'active'",
			"$copy: under way", 1);
		close $client->{socket};
		wait_in_session($observer, "SELECT count(*) FROM pg_stat_activity WHERE pid = $client->{pid}", 'it ends', 0);
		is( ask($observer, 'SELECT sum(failed + cancelled + terminated), sum(infra_monitor.observations(latency)) FILTER (WHERE dbid = (SELECT oid FROM pg_database WHERE datname = $$work$$)) FROM infra_monitor.statement_counts()'),
			'1|0', 'counted once, as a failure');
	}
	still_works($worker, 'COPY');
	close_sessions($worker);
};

is(log_count($node, 'terminated by signal|PANIC|TRAP'), 0, 'no process has crashed');
close_sessions($observer);
$node->stop;
done_testing();
