# History of the statements: the sum over statement_samples is what was executed,
# whatever is evicted, rolled back or restarted meanwhile; where counters begin
# anew nothing is negative, and the epoch changes; and a regression made on
# purpose is found, with its cause.
#
# The observer is not counted, and samples are taken by it: what is executed
# between two of them is known.

use strict;
use warnings;

use InfraMonitor;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server(
	'statement_history',
	init => [ allows_streaming => 1 ],
	conf => <<'CONF');
infra_monitor.statement_interval = 1h
infra_monitor.max_statements = 100
max_connections = 40
autovacuum = off
fsync = off
log_statement = none
restart_after_crash = on
dynamic_shared_memory_type = mmap
CONF
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION infra_monitor CASCADE;
CREATE DATABASE work;
SQL
$node->safe_psql('work', <<'SQL');
CREATE TABLE t AS SELECT i, 0 AS j FROM generate_series(1, 100000) i;
CREATE INDEX t_i ON t (i);
CREATE TABLE u AS SELECT i, 0 AS k FROM generate_series(1, 1000) i;
CREATE INDEX u_i ON u (i);
VACUUM ANALYZE t, u;
SQL

my ($observer, $other_observer, $worker);

sub open_sessions
{
	($observer, $other_observer) = map { open_session($node) } 1 .. 2;
	ask($_, 'SET infra_monitor.track = none') foreach $observer, $other_observer;
	$worker = open_session($node, database => 'work');
	return;
}

# Takes a sample and returns its time.
sub take_sample
{
	return ask($observer, 'SELECT infra_monitor.take_statement_sample()');
}

# What the samples say of a statement since a moment: a row for each sample.
sub stored
{
	my ($since, $text, $columns) = @_;

	return ask($observer, <<SQL);
SELECT string_agg(concat_ws('|', $columns), ' ' ORDER BY sampled_at)
FROM infra_monitor.statement_samples s
WHERE s.sampled_at > '$since' AND s.datname = 'work'
	AND (s.queryid, s.dbid) IN (SELECT t.queryid, t.dbid FROM infra_monitor.statement_texts t WHERE t.query = '$text')
SQL
}

# All that the samples have since a moment: completed, failed.
sub stored_in_all
{
	my ($since) = @_;

	return ask($observer, "SELECT sum(calls), sum(failures) FROM infra_monitor.statement_samples WHERE sampled_at > '$since'");
}

# Executes a statement some times.
sub execute
{
	my ($times, $query) = @_;

	ask($worker, $query) foreach 1 .. $times;
	return;
}

sub distinct_statements
{
	my ($n) = @_;

	return map {
		my $number = $_;

		'SELECT ' . join(', ', map { $number >> $_ & 1 ? "'a'::text" : '1' } 0 .. 8)
	} 1 .. $n;
}

my $query = 'SELECT j FROM t WHERE i = 1';
my $text = 'SELECT j FROM t WHERE i = $1';

open_sessions();
wait_in_session($observer, q{SELECT count(*) > 0 FROM infra_monitor.statement_samples}, 'the sampler takes a sample');
my $first = take_sample();

subtest 'what was executed' => sub {
	my $since = take_sample();

	execute(10, $query);
	try_ask($worker, 'SELECT 1 / (i - 1) FROM t WHERE i = 1') foreach 1 .. 3;
	take_sample();
	is(stored($since, $text, 'usename, calls, rows, failures, shared_blks_hit > 0, temp_blks_written, infra_monitor.observations(latency), exec_time > 0'),
		ask($observer, 'SELECT current_user') . '|10|10|0|t|0|10|t',
		'a statement');
	is(stored_in_all($since), '10|3', 'all');
	execute(5, $query);
	take_sample();
	is(stored($since, $text, 'calls, rows'), '10|10 5|5', 'the next sample has what has come since');
	my $idle = take_sample();
	is( ask($observer, "SELECT count(*), sum(calls), sum(rows), min(userid) FROM infra_monitor.statement_samples WHERE sampled_at = '$idle'"),
		'1|0|0|',
		'a sample of an idle time is there');
};

subtest 'rolled back' => sub {
	my $since = take_sample();

	execute(4, $query);
	ask($observer, 'BEGIN');
	take_sample();
	ask($observer, 'ROLLBACK');
	ask($observer, 'BEGIN');
	ask($observer, 'SAVEPOINT s');
	take_sample();
	ask($observer, 'ROLLBACK TO s');
	ask($observer, 'COMMIT');
	execute(2, $query);
	take_sample();
	is(stored($since, $text, 'calls, rows'), '6|6', 'nothing is lost');
	is(stored_in_all($since), '6|0', 'nor told twice');
};

subtest 'evictions' => sub {
	my $since = take_sample();
	my @queries = distinct_statements(300);

	ask($worker, $_) foreach @queries[ 0 .. 149 ];

	# statements are evicted between what is written and the commit
	ask($observer, 'BEGIN');
	take_sample();
	ask($worker, $_) foreach @queries[ 150 .. 299 ];
	ask($observer, 'COMMIT');
	is(stored_in_all($since), '150|0', 'up to the first sample');
	take_sample();
	is(stored_in_all($since), '300|0', 'and to the next');
	take_sample();
	is(stored_in_all($since), '300|0', 'there is no more');
};

# Lets all other statements be evicted.
sub evict_all
{
	my @queries = distinct_statements(400);

	foreach (1 .. 3)
	{
		ask($worker, $_) foreach @queries;
	}
	return 3 * @queries;
}

# When the statement came into the table.
sub counted_since
{
	return ask($observer, <<SQL);
SELECT c.stats_since FROM infra_monitor.statement_counts() c
WHERE (c.queryid, c.dbid) IN (SELECT t.queryid, t.dbid FROM infra_monitor.statement_texts t WHERE t.query = '$text')
SQL
}

subtest 'evicted, and back again in the same interval' => sub {
	execute(5, $query);
	my $since = take_sample();
	my $counted_since = counted_since();

	execute(3, $query);
	my $others = evict_all();
	is(counted_since(), '', 'it was evicted');
	execute(4, $query);
	cmp_ok(counted_since(), 'gt', $counted_since, 'and is counted anew');
	take_sample();
	is(stored_in_all($since), $others + 7 . '|0', 'all executions, once');
	is(stored($since, $text, q{calls, coalesce(rows::text, '?')}), '4|?',
		'those since it is back as its own, of which pg_stat_statements knows no more than the sum');

	evict_all();
	execute(2, $query);
	evict_all();
	take_sample();
	is(stored_in_all($since), 3 * 3 * 400 + 7 + 2 . '|0', 'gone twice');
	execute(1, $query);
	take_sample();
	is(stored_in_all($since), 3 * 3 * 400 + 7 + 2 + 1 . '|0', 'and back again');
};

subtest 'pg_stat_statements_reset()' => sub {
	execute(1, $query);
	my $since = take_sample();

	execute(3, $query);
	ask($observer, 'SELECT pg_stat_statements_reset()');
	execute(2, $query);
	take_sample();
	execute(4, $query);
	take_sample();
	ask($observer, 'SELECT pg_stat_statements_reset()');
	execute(6, $query);
	take_sample();
	is(stored($since, $text, q{calls, coalesce(rows::text, '?'), coalesce(wal_bytes::text, '?')}),
		'5|?|? 4|4|0 6|6|0', 'what it has lost is not known, the rest is');
	is(stored_in_all($since), '15|0', 'and nothing of ours is lost');
};

subtest 'pg_stat_statements_reset() of a statement' => sub {
	my $reset = <<SQL;
SELECT pg_stat_statements_reset(0, t.dbid, t.queryid)
FROM (SELECT DISTINCT t.queryid, t.dbid FROM infra_monitor.statement_texts t WHERE t.query = '$text') t
SQL
	my $since = take_sample();

	execute(4, $query);
	take_sample();

	# fewer than before, and more
	foreach my $after (2, 30)
	{
		execute(3, $query);
		ask($observer, $reset);
		execute($after, $query);
		take_sample();
	}
	ask($observer, $reset);
	execute(3, $query);
	take_sample();
	is(stored($since, $text, q{calls, coalesce(rows::text, '?')}), '4|4 5|? 33|? 3|3',
		'what it has lost is not known, the rest is');
	is(stored_in_all($since), '45|0', 'and nothing of ours is lost');
};

subtest q{reset('statements')} => sub {
	my $since = take_sample();

	execute(7, $query);
	ask($observer, q{SELECT infra_monitor.reset('statements')});
	execute(2, $query);
	ask($observer, 'BEGIN');
	take_sample();

	# between what is written and the commit
	ask($worker, $query);
	ask($other_observer, q{SELECT infra_monitor.reset('statements')});
	ask($observer, 'COMMIT');
	is(stored($since, $text, q{calls, coalesce(rows::text, '?')}), '2|?', 'the statement begins anew');
	is(stored_in_all($since), '2|0', 'all do');
	take_sample();
	is(stored_in_all($since), '2|0', 'nothing is told twice');
	execute(4, $query);
	take_sample();
	is(stored($since, $text, q{calls, coalesce(rows::text, '?')}), '2|? 4|?', 'and it goes on');
	execute(3, $query);
	take_sample();
	is(stored($since, $text, q{calls, coalesce(rows::text, '?')}), '2|? 4|? 3|3', 'soon with all that is known of it');
	is( ask($observer, "SELECT count(DISTINCT epoch) FROM infra_monitor.statement_samples WHERE sampled_at >= '$since'"),
		3, 'each time in another epoch');
};

subtest 'another sampler' => sub {
	execute(1, $query);
	my $since = take_sample();

	execute(3, $query);
	ask($observer, 'SELECT pg_terminate_backend(pid) FROM infra_monitor.sampler_state()');
	wait_in_session($observer, "SELECT count(*) > 0 FROM infra_monitor.statement_samples WHERE sampled_at > '$since'",
		'it takes a sample');
	execute(2, $query);
	take_sample();
	is(stored($since, $text, 'calls, rows'), '3|3 2|2', 'and goes on where the one before ended');
};

subtest 'many sessions' => sub {
	my $since = take_sample();
	my $script = $node->basedir . '/many.sql';
	my $dropped = q{SELECT drops FROM infra_monitor.sampler_drops() WHERE reason = 'executions'};
	my $before = ask($observer, $dropped);
	my $samples = 0;

	append_to_file($script, join(";\n", distinct_statements(200)) . ";\n");
	local %ENV = $node->_get_env();
	my $pgbench = IPC::Run::start([ 'pgbench', '-n', '-c', 8, '-j', 2, '-t', 20, '-f', $script, 'work' ],
		'>', '/dev/null', '2>', \my $error);
	while ($pgbench->pumpable)
	{
		take_sample();
		$samples++;
		$pgbench->pump_nb;
	}
	ok($pgbench->finish, 'pgbench ends') or diag($error);
	wait_in_session($observer,
		q{SELECT count(*) FROM pg_stat_activity WHERE datname = 'work' AND application_name = 'pgbench'}, 'and its sessions', 0);
	take_sample();
	cmp_ok($samples, '>', 1, "$samples samples were taken meanwhile");

	# pgbench asks a few things by itself, in sessions that execute nothing else
	my ($calls, $failures) = split /\|/, stored_in_all($since);
	my $lost = ask($observer, $dropped) - $before;
	my $own = ask($observer, <<SQL);
SELECT coalesce(sum(calls), 0) FROM infra_monitor.statement_samples s JOIN infra_monitor.statement_texts t USING (queryid, dbid)
WHERE s.sampled_at > '$since' AND t.query NOT LIKE 'SELECT \$1%' AND t.query NOT LIKE 'SELECT %::text%'
SQL
	is($calls + $lost - $own, 8 * 20 * 200, "all executions, but $lost that were dropped");
	is($failures, 0, 'none failed');
};

subtest 'percentiles of everything' => sub {
	my $since = take_sample();
	my $from = ask($observer, 'SELECT infra_monitor.take_sample()');
	my @samples = ('FROM infra_monitor.samples s WHERE s.sampled_at >', "FROM infra_monitor.statement_samples s WHERE s.sampled_at > '$since'");

	execute(60, $query);
	execute(2, 'SELECT pg_sleep(0.2)');
	my $between = ask($observer, 'SELECT infra_monitor.take_sample()');
	execute(30, $query);
	execute(8, 'SELECT pg_sleep(0.2)');
	evict_all();
	my $to = ask($observer, 'SELECT infra_monitor.take_sample()');
	take_sample();
	is( ask($observer, "SELECT infra_monitor.observations(infra_monitor.sum(latency)) $samples[0] '$from' AND sampled_at <= '$to'"),
		100 + 3 * 400, 'samples have the times of all executions');
	is( ask($observer, "SELECT (SELECT infra_monitor.sum(latency) $samples[0] '$from' AND sampled_at <= '$to') OPERATOR(infra_monitor.=) (SELECT infra_monitor.sum(latency) $samples[1])"),
		't', 'the same as statement_samples');
	is( ask($observer, "SELECT infra_monitor.quantile(infra_monitor.sum(latency), 0.95) BETWEEN 0 AND 170, infra_monitor.quantile(infra_monitor.sum(latency), 0.99) > 170 $samples[0] '$from' AND sampled_at <= '$between'"),
		't|t', 'p95 and p99 of a window');

	ask($observer, q{SELECT infra_monitor.reset('statements')});
	my $reset = ask($observer, 'SELECT infra_monitor.take_sample()');
	execute(1, $query);
	my $next = ask($observer, 'SELECT infra_monitor.take_sample()');
	is( ask($observer, "SELECT count(*) FILTER (WHERE latency IS NULL), sum(infra_monitor.observations(latency)) $samples[0] '$to' AND sampled_at <= '$next' AND sampled_at > '$to'"),
		'1|1', 'not known of the interval in which counters begin anew, and only of that');
	take_sample();
};


my $dynamic = $node->data_dir . '/pg_dynshmem';

subtest 'no dynamic shared memory' => sub {
	my $since = take_sample();
	my $from = ask($observer, 'SELECT infra_monitor.take_sample()');

	execute(3, $query);
	chmod 0500, $dynamic or die "$dynamic: $!";
	is(try_ask($observer, 'SELECT infra_monitor.take_statement_sample()'), undef, 'a sample by hand fails');
	like($observer->{message}, qr/could not open shared memory segment/, 'with an error');
	ask($observer, 'SELECT pg_terminate_backend(pid) FROM infra_monitor.sampler_state()');
	wait_in_session($observer, q{SELECT last_error LIKE 'statements: could not open shared memory segment%' FROM infra_monitor.sampler_state()},
		'the sampler notes it');
	wait_in_session($observer, "SELECT count(*) >= 2 FROM infra_monitor.samples WHERE sampled_at > '$from'", 'and takes other samples');
	is(stored_in_all($since), '|', 'but none of the statements');
	chmod 0700, $dynamic or die "$dynamic: $!";
	execute(2, $query);
	take_sample();
	is(stored($since, $text, 'calls, rows'), '5|5', 'nothing is lost');
};

subtest 'somebody tidies up' => sub {
	my $since = take_sample();
	my %before = map { $_ => 1 } slurp_dir($dynamic);

	execute(1, $query);
	take_sample();
	my @new = grep { !$before{$_} && /^mmap/ } slurp_dir($dynamic);
	is(scalar @new, 1, 'the baseline is a file');
	is(scalar(grep { /^mmap/ } slurp_dir($dynamic)), scalar(grep { /^mmap/ } keys %before), 'the one before is gone');
	unlink "$dynamic/$new[0]" or die "$new[0]: $!";
	execute(2, $query);
	is(try_ask($observer, 'SELECT infra_monitor.take_statement_sample()'), undef, 'it cannot be read');
	like($observer->{message}, qr/could not open shared memory segment/, 'which is an error once');
	is(take_sample(), '', 'then there is a new one, but no sample');
	execute(4, $query);
	take_sample();
	is(stored($since, $text, 'calls, rows'), '1|1 4|4', 'and then it goes on');
};

subtest 'very long texts' => sub {
	my $skipped = q{SELECT drops FROM infra_monitor.sampler_drops() WHERE reason = 'statement_texts'};
	my $since = take_sample();
	my $before = ask($observer, $skipped);

	# 68 MB of them, all new
	my @queries = (distinct_statements(418))[ 400 .. 417 ];
	my $last = pop @queries;

	ask($worker, $_ . ' /* ' . 'x' x (4 * 1024 * 1024) . ' */ AS long') foreach @queries;
	take_sample();
	is( ask($observer, "SELECT count(*) FROM infra_monitor.statement_samples WHERE sampled_at > '$since' AND queryid IS NOT NULL"),
		17, 'statements are stored');
	is(ask($observer, $skipped) - $before, 17, 'their texts are not, and that is counted');
	is(ask($observer, q{SELECT count(*) FROM infra_monitor.statement_texts WHERE query LIKE '%AS long'}), 0, 'not one of them');
	ask($observer, 'SELECT pg_stat_statements_reset()');
	ask($worker, "$last AS long");
	take_sample();
	is(ask($observer, q{SELECT count(*) FROM infra_monitor.statement_texts WHERE query LIKE '%AS long'}), 1,
		'when there is room again, texts are');
};

subtest 'secrets' => sub {
	execute(1, q{CREATE ROLE secretive PASSWORD 'Tr0ub4dor'});
	take_sample();
	is( ask($observer, q{SELECT count(*) FILTER (WHERE query LIKE '%Tr0ub4dor%'), count(*) FILTER (WHERE query = 'CREATE ROLE') FROM infra_monitor.statement_texts}),
		'0|1',
		'the text of a command with a password is not stored');
	execute(1, 'DROP ROLE secretive');
	is( ask($observer, 'SELECT count(*) = count(DISTINCT (queryid, dbid)) FROM infra_monitor.statement_texts WHERE first_seen >= date_trunc(\'day\', now(), \'UTC\')'),
		't',
		'and each once a day');
};

subtest 'a regression' => sub {
	my $usual = 'SELECT k FROM u WHERE i = 1';
	my @times = ask($observer, 'SELECT clock_timestamp()');

	# they may have been evicted, and are then not as new as they seem
	execute(1, $_) foreach $query, $usual;

	# three windows: the usual, the same again, and one without the index
	foreach my $window (1 .. 3)
	{
		ask($worker, 'DROP INDEX t_i') if $window == 3;
		take_sample();
		push @times, ask($observer, 'SELECT clock_timestamp()');
		foreach (1 .. 40)
		{
			ask($worker, $query);
			ask($worker, $usual);
		}
		take_sample();
		push @times, ask($observer, 'SELECT clock_timestamp()');
	}
	my $regressions = 'SELECT %s FROM infra_monitor.query_regressions(%s) r';
	my $windows = sub { join(', ', map { "'$times[$_]'" } @_) };

	is( ask($observer, sprintf($regressions, 'count(*)', $windows->(1, 2, 3, 4))),
		0, 'what goes on as before is no regression');
	is( ask($observer, sprintf($regressions . ' LIMIT 1', 'query, datname, calls, cause, ratio > 3, extra_time > 0, recent_p95_time > baseline_p95_time', $windows->(3, 4, 5, 6))),
		"$text|work|40|blocks per call|t|t|t",
		'the query without its index is the first');
	is( ask($observer, sprintf($regressions, 'count(*)', $windows->(3, 4, 5, 6) . ', min_calls => 41')),
		0, 'unless it was called too rarely');
	is( ask($observer, sprintf($regressions, 'count(*)', $windows->(3, 4, 5, 6) . ', factor => 1e6')),
		0, 'or did not become so much slower');
	is( ask($observer, sprintf('SELECT bool_and(ratio >= 1.5 AND extra_time > 0) FROM infra_monitor.query_regressions(%s)', $windows->(1, 2, 5, 6))),
		't', 'all in the list are slower');

	my $span = $windows->(1, 6);
	is( ask($observer, "SELECT sum(calls), sum(rows) FROM infra_monitor.statement_history((SELECT queryid FROM infra_monitor.statement_texts WHERE query = '$text' LIMIT 1), $span)"),
		'120|120', 'statement_history: all of its executions');
	foreach my $order (qw(exec_time calls failed_time p95_time rows shared_blks_read temp_blks_written wal_bytes))
	{
		is( ask($observer, <<SQL), 't|1|t', "top_statements by $order: the sum is that of all, the order is right");
SELECT sum(t.calls) = (SELECT sum(calls) FROM infra_monitor.statement_samples WHERE sampled_at >= '$times[1]' AND sampled_at < '$times[6]'),
	count(*) FILTER (WHERE t.rank IS NULL AND t.query = 'other'),
	bool_and(t.rank = t.place) FILTER (WHERE t.rank IS NOT NULL)
FROM (SELECT *, CASE WHEN rank IS NOT NULL THEN row_number() OVER (PARTITION BY rank IS NULL ORDER BY $order DESC NULLS LAST, rank) END AS place
	FROM infra_monitor.top_statements($span, '$order', 1)) t
SQL
	}
	is( ask($observer, "SELECT string_agg(split_part(query, ' ', 2), ' ' ORDER BY rank), round(sum(share)::numeric, 6) FROM infra_monitor.top_statements($span, 'rows', 2)"),
		'j k |1.000000',
		'the first two and the others, and their shares');
};

subtest 'restart' => sub {
	my $since = take_sample();

	execute(5, $query);
	take_sample();
	execute(3, $query);
	close_sessions($observer, $other_observer, $worker);
	$node->append_conf('postgresql.conf', 'pg_stat_statements.max = 100');
	$node->restart;
	open_sessions();
	wait_in_session($observer, "SELECT count(DISTINCT epoch) = 2 FROM infra_monitor.statement_samples WHERE sampled_at > '$since'",
		'the sampler begins a new epoch');
	execute(2, $query);
	take_sample();
	is(ask($observer, <<SQL), '5 2', 'what was not stored is lost with its epoch, and never negative');
SELECT string_agg(calls::text, ' ' ORDER BY sampled_at) FROM infra_monitor.statement_samples s
WHERE sampled_at > '$since' AND (queryid, dbid) IN (SELECT queryid, dbid FROM infra_monitor.statement_texts WHERE query = '$text')
SQL
};

subtest 'crash' => sub {
	my $since = take_sample();
	my $files = grep { /^mmap/ } slurp_dir($dynamic);

	execute(3, $query);
	take_sample();
	execute(2, $query);
	kill 'KILL', ask($worker, 'SELECT pg_backend_pid()');
	is(await_session($_), 'refused', 'the session is gone') foreach $worker, $observer, $other_observer;
	$node->poll_query_until('postgres', 'SELECT true') or die 'no restart';
	open_sessions();
	execute(4, $query);
	wait_in_session($observer, "SELECT count(DISTINCT epoch) = 2 FROM infra_monitor.statement_samples WHERE sampled_at > '$since'",
		'the sampler begins a new epoch');
	take_sample();
	is( ask($observer, <<SQL), 4, 'all counters have begun anew');
SELECT sum(calls) FROM infra_monitor.statement_samples s
WHERE epoch = (SELECT epoch FROM infra_monitor.statement_samples ORDER BY sampled_at DESC LIMIT 1)
	AND (queryid, dbid) IN (SELECT queryid, dbid FROM infra_monitor.statement_texts WHERE query = '$text')
SQL
	cmp_ok(scalar(grep { /^mmap/ } slurp_dir($dynamic)), '<=', $files, 'no segment is left behind');
};

subtest 'evicted by pg_stat_statements' => sub {
	my $since = take_sample();

	foreach my $round (1 .. 3)
	{
		execute(20 * $round, $query);
		ask($worker, $_) foreach distinct_statements(150);
		take_sample();
		execute(1, $query);
	}
	take_sample();
	is(stored_in_all($since), '573|0', 'nothing of ours is lost');
	is( ask($observer, "SELECT count(*) FILTER (WHERE rows IS NULL) > 0, count(*) FILTER (WHERE rows <> calls) FROM infra_monitor.statement_samples WHERE sampled_at > '$since' AND userid IS NOT NULL"),
		't|0', 'what is known of the rest is right');
};

subtest 'standby' => sub {
	$node->backup('standby');
	my $standby = PostgreSQL::Test::Cluster->new('statement_history_standby');
	my $cost = q{SELECT seconds FROM infra_monitor.sampler_costs() WHERE task = 'statements'};

	$standby->init_from_backup($node, 'standby', has_streaming => 1);
	$standby->append_conf('postgresql.conf', 'infra_monitor.statement_interval = 1s');
	$standby->start;
	my $on_standby = open_session($standby);
	my $session = open_session($standby, database => 'work');
	ask($on_standby, 'SET infra_monitor.track = none');
	is(try_ask($on_standby, 'SELECT infra_monitor.take_statement_sample()'), undef, 'by hand no sample is taken');
	is($on_standby->{message}, 'cannot take a sample during recovery', 'which is an error');
	ask($session, $query) foreach 1 .. 5;
	my $spent = ask($on_standby, $cost);
	wait_in_session($on_standby, "SELECT seconds > $spent FROM infra_monitor.sampler_costs() WHERE task = 'statements'", 'the sampler looks');
	my $since = ask($on_standby, 'SELECT clock_timestamp()');
	$standby->promote;
	ask($session, $query) foreach 1 .. 2;
	wait_in_session($on_standby, <<SQL, 'after a promotion there are samples of what was executed since', 2);
SELECT sum(calls) FROM infra_monitor.statement_samples s
WHERE sampled_at > '$since' AND datname = 'work' AND (queryid, dbid) IN (SELECT queryid, dbid FROM infra_monitor.statement_texts WHERE query = '$text')
SQL
	close_sessions($on_standby, $session);
	$standby->stop;
};

is( ask($observer, <<'SQL'), 0, 'nothing is negative');
SELECT count(*) FROM infra_monitor.statement_samples
WHERE calls < 0 OR exec_time < 0 OR rows < 0 OR failures < 0 OR failed_time < 0 OR shared_blks_hit < 0
	OR shared_blks_read < 0 OR temp_blks_written < 0 OR wal_bytes < 0
SQL

close_sessions($observer, $other_observer, $worker);
$node->stop;
done_testing();
