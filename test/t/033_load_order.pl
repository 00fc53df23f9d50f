# Other libraries that are preloaded: whatever the order, the server starts,
# and everybody counts the same as without us.
#
# All of them hook into the executor, into utility commands, into shared memory
# or into error messages, and call who was there before.  A mistake shows up
# between us and one other library, in one of the two orders of that pair, or
# it depends on who is first or last.  So an order of the others and its
# reverse, each with us at every place, are enough: each pair of libraries is
# seen in both orders, as far as it allows for two, and we are first, last, and
# between all neighbours.
# IMON_LONG_TESTS=1 in the environment tries all orders.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# The other libraries, those that are installed: two come in packages of their
# own.
my @others;
foreach my $name (qw(pg_stat_statements pg_stat_kcache auto_explain pg_wait_sampling))
{
	if (-e pg_config('pkglibdir') . "/$name.so")
	{
		push @others, $name;
	}
	else
	{
		note "left out: $name is not installed";
	}
}

# Does the server start in this order?  Without us, too, pg_stat_kcache insists
# on coming after pg_stat_statements.
sub possible
{
	my (@order) = @_;
	my %place = map { $order[$_] => $_ } 0 .. $#order;

	return !defined $place{pg_stat_kcache}
	  || $place{pg_stat_statements} < $place{pg_stat_kcache};
}

# All orders of a list.
sub orders
{
	my (@list) = @_;
	my @result;

	return ([]) unless @list;
	foreach my $first (0 .. $#list)
	{
		my @rest = @list[ grep { $_ != $first } 0 .. $#list ];

		push @result, map { [ $list[$first], @$_ ] } orders(@rest);
	}
	return @result;
}

# A list with us at each place.
sub with_us
{
	my (@list) = @_;

	return map { [ @list[ 0 .. $_ - 1 ], 'infra_monitor', @list[ $_ .. $#list ] ] }
	  0 .. @list;
}

# The reverse, but for what must not be reversed.
my @reversed = reverse @others;
unless (possible(@reversed))
{
	my %swap = (
		pg_stat_statements => 'pg_stat_kcache',
		pg_stat_kcache => 'pg_stat_statements');

	@reversed = map { $swap{$_} // $_ } @reversed;
}
my @orders = $ENV{IMON_LONG_TESTS}
  ? grep { possible(@$_) } orders(@others, 'infra_monitor')
  : (with_us(@others), with_us(@reversed));

my $node = new_server(
	'load_order',
	conf => <<'CONF');
infra_monitor.database = 'home'
pg_stat_statements.track = all
pg_stat_statements.save = off
infra_monitor.track = all
compute_query_id = on
auto_explain.log_min_duration = 0
auto_explain.log_nested_statements = on
auto_explain.log_analyze = on
log_statement = none
CONF
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries',
	"'" . join(',', @others, 'infra_monitor') . "'");
$node->start;
$node->safe_psql('postgres', $_) for split /^/, <<'SQL';
CREATE DATABASE home
CREATE DATABASE work
SQL
$node->safe_psql('home', 'CREATE EXTENSION infra_monitor CASCADE');

# Those that have something to show; they show it only when they are loaded.
my @with_views = grep { /kcache|wait/ } @others;
$node->safe_psql('postgres',
	join(';',
		'SET client_min_messages = error; CREATE EXTENSION infra_monitor CASCADE',
		map { "CREATE EXTENSION $_ CASCADE" } @with_views));

# What is counted: utility commands, some of them with a plan inside, nested
# and prepared statements, cursors, parallel plans, and errors of each kind.  The
# leader of a parallel plan does nothing but wait: else it may be done before its
# worker starts, which logs that as an error.
my @workload = split /^/, <<'SQL';
CREATE TABLE t (i int)
INSERT INTO t SELECT generate_series(1, 10)
CREATE FUNCTION twice(n int) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN PERFORM count(*) FROM t; RETURN n * 2; END $$
SELECT twice(i) FROM t WHERE i > 5
DO $$ BEGIN UPDATE t SET i = i + 1 WHERE i < 4; END $$
CREATE TABLE copy AS SELECT * FROM t
PREPARE p (int) AS SELECT i FROM t WHERE i = $1
EXECUTE p (5)
EXECUTE p (6)
BEGIN
DECLARE c CURSOR FOR SELECT i FROM t ORDER BY i
FETCH 3 FROM c
COMMIT
BEGIN
DECLARE h CURSOR WITH HOLD FOR SELECT i, i FROM t ORDER BY i
COMMIT
FETCH 2 FROM h
CLOSE h
CREATE PROCEDURE work(n int) LANGUAGE plpgsql AS $$ BEGIN FOR j IN 1 .. n LOOP UPDATE t SET i = i WHERE i = j; IF j = 2 THEN ROLLBACK; ELSE COMMIT; END IF; END LOOP; END $$
CALL work(3)
COPY (SELECT i FROM t WHERE i < 3) TO STDOUT
SELECT count(set_config(name, 'on', false)) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query')
SELECT sum(i) FROM t
SELECT twice(i::int) FROM copy WHERE i < 3
SELECT count(set_config(name, 'off', false)) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query')
SET parallel_setup_cost = 0
SET parallel_tuple_cost = 0
SET min_parallel_table_scan_size = 0
SET max_parallel_workers_per_gather = 1
SET parallel_leader_participation = off
SELECT max(i) FROM copy
EXPLAIN ANALYZE SELECT count(*) FROM copy
RESET ALL
SELECT 1 / (i - 7) FROM t
SELECT no_such_column
DROP TABLE no_such_table
BEGIN
SAVEPOINT s
ALTER TABLE t ADD PRIMARY KEY (i)
ROLLBACK TO s
ROLLBACK
VACUUM t
DROP TABLE t, copy
DROP FUNCTION twice
DROP PROCEDURE work
SQL
my $errors = 4;    # the primary key is one of them

# Starts the server with these libraries, lets it work, and returns everything
# that must not depend on them.
sub work_with
{
	my (@libraries) = @_;
	my $ours = grep { $_ eq 'infra_monitor' } @libraries;
	my $title = join(',', @libraries);
	my $log = log_end($node);
	my %result;

	$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "'$title'");
	$node->stop;
	unless (ok($node->start(fail_ok => 1), "$title: the server starts"))
	{
		return;
	}
	my $observer = open_session($node);
	my $counts = 'SELECT connects_total, auth_failures_total, rejected_total FROM infra_monitor.pool_pressure';
	my @before = $ours ? split(/\|/, ask($observer, $counts)) : ();

	# connections: one to work, six for nothing, three without a role
	my $worker = open_session($node, database => 'work', application_name => 'worker');
	foreach my $command (@workload)
	{
		chomp $command;
		my $answer = try_ask($worker, $command);

		# how long something took is of no interest
		push @{ $result{answers} },
		    "$command: "
		  . ($command =~ /^EXPLAIN/ ? defined $answer : $answer // $worker->{sqlstate});
	}
	close_sessions($worker);
	close_sessions(map { open_session($node, database => 'work') } 1 .. 6);
	foreach (1 .. 3)
	{
		my $session = begin_session($node, user => 'nobody');

		is(await_session($session), 'refused', "$title: a role is missing");
	}
	if ($ours)
	{
		my @after = split /\|/, ask($observer, $counts);

		is( join(' ', map { $after[$_] - $before[$_] } 0 .. 2),
			'7 3 0',
			"$title: connections and refusals are counted once");
		is( ask($observer,
				'SELECT count(*), min(reason), min(usename) FROM infra_monitor.recent_rejections'
			),
			'3|authentication|nobody',
			"$title: and remembered once");
	}

	# as pg_stat_statements sees it: all columns, but what is never the same
	# twice.  Who reads may clean up a page, which writes WAL.
	$result{statements} = ask($observer, <<'SQL');
SELECT s.min_exec_time <= s.max_exec_time, s.shared_blks_hit + s.shared_blks_read > 0,
	(SELECT jsonb_object_agg(key, CASE WHEN key ~ 'time$|^wal_|launched' THEN to_jsonb(value::float8 > 0) ELSE value END)
		FROM jsonb_each(to_jsonb(s))
		WHERE key !~ '^((user|db|query)id|shared_blks_.*|stddev_.*|wal_fpi|wal_buffers_full|.*stats_since)$'
			AND (key !~ '^wal_' OR s.query ~ '^(INSERT|UPDATE|CREATE|DO|CALL|DROP)'))
FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
WHERE d.datname = 'work' ORDER BY s.query COLLATE "C", s.toplevel, s.calls, s.rows
SQL

	# and as we do: what clients send, whichever of us is asked first.  A cursor
	# that is open at commit is no longer nested for pg_stat_statements (18).
	if ($ours)
	{
		is(ask($observer, <<'SQL'), 't|0', "$title: the same calls");
SELECT count(*) > 15, count(*) FILTER (WHERE s.calls IS DISTINCT FROM p.calls) FROM pg_stat_statements p
	JOIN pg_database d ON d.oid = p.dbid
	LEFT JOIN infra_monitor.slow_queries s USING (userid, dbid, queryid, toplevel)
WHERE d.datname = 'work' AND p.toplevel AND p.query NOT LIKE '%FROM t ORDER BY i'
SQL
		is(ask($observer, <<'SQL'), '4|t', "$title: and what failed");
SELECT sum(failures), bool_and(failed_time > 0) FROM infra_monitor.slow_queries WHERE datname = 'work' AND failures > 0 AND toplevel
SQL
	}

	# as auto_explain does
	$result{plans} = log_count($node, 'worker LOG:  duration: .* plan:', $log);

	foreach my $name (@with_views)
	{
		my $view = $name eq 'pg_wait_sampling' ? 'pg_wait_sampling_profile' : $name;

		ok(defined try_ask($observer, "SELECT * FROM $view"), "$title: $name works")
		  or diag $observer->{message};
	}

	# Commands that need a database for themselves, of which one is also ours:
	# the sampler leaves it.
	if ($ours)
	{
		wait_in_session($observer,
			"SELECT state = 'running' AND last_tick IS NOT NULL FROM infra_monitor.sampler_state()",
			"$title: samples are stored");
		is( ask($observer,
				q{SELECT count(*) FROM pg_stat_statements WHERE query LIKE '%infra_monitor.samples%'}),
			0,
			"$title: and are no statements of anybody");
	}
	foreach my $command ('CREATE DATABASE victim TEMPLATE home', 'DROP DATABASE victim')
	{
		ok(defined try_ask($observer, $command), "$title: $command")
		  or diag $observer->{message};
	}
	close_sessions($observer);

	# (the sampler is told to end if it does not leave its database in half a second)
	my $expected_lines = qr/FATAL:  (?:role "nobody"|terminating background worker "infra_monitor sampler" due to)/;
	my @lines = grep { /(?:WARNING|ERROR|FATAL|PANIC):  / && !/$expected_lines/ } split /\n/,
	  substr(slurp_file($node->logfile), $log);
	is(scalar(grep { /worker ERROR:  / } @lines), $errors, "$title: errors are logged once");
	is_deeply([ grep { !/worker ERROR:  / } @lines ], [], "$title: and nothing else");
	return \%result;
}

my $expected = work_with(@others) or die 'the server does not start without us';
cmp_ok(scalar(split /\n/, $expected->{statements}), '>', 20, 'statements are counted');
cmp_ok($expected->{plans}, '>', 9, 'plans are logged')
  if grep { $_ eq 'auto_explain' } @others;
foreach my $order (@orders)
{
	my $title = join(',', @$order);
	my $result = work_with(@$order) or next;

	is_deeply($result->{answers}, $expected->{answers}, "$title: the same answers");
	is($result->{statements}, $expected->{statements}, "$title: the same statements");
	is($result->{plans}, $expected->{plans}, "$title: the same plans");
}

$node->stop;
done_testing();
