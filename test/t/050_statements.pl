# The table of statements: nothing is lost, whoever counts and whatever is
# evicted, and it survives what it should survive.
#
# The sessions that count against pg_stat_statements are those of pgbench, in a
# database of their own.  IMON_LONG_TESTS=1 in the environment: 64 of them with
# 10 000 transactions each, instead of 16 with 1000.

use strict;
use warnings;

use InfraMonitor;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my ($clients, $transactions) = $ENV{IMON_LONG_TESTS} ? (64, 10_000) : (16, 1000);

my $node = new_server(
	'statements',
	init => [ allows_streaming => 1 ],
	conf => <<'CONF');
max_connections = 80
infra_monitor.max_statements = 1000
restart_after_crash = on
fsync = off
log_statement = none
CONF
$node->start;

my $observer = open_session($node);
ask($observer, $_) for split /^/, <<'SQL';
CREATE EXTENSION infra_monitor CASCADE
CREATE DATABASE bench
SQL
$node->safe_psql('bench', 'CREATE TABLE t AS SELECT i FROM generate_series(1, 100) i; ANALYZE t');

sub reset_statements
{
	ask($observer, 'SELECT pg_stat_statements_reset()');
	ask($observer, q{SELECT infra_monitor.reset('statements')});
	return;
}

# Writes a script for pgbench and returns its name.
sub script
{
	my ($name, @lines) = @_;
	my $file = $node->basedir . "/$name.sql";

	PostgreSQL::Test::Utils::append_to_file($file, join("\n", @lines) . "\n");
	return $file;
}

# Begins to run pgbench.
sub begin_pgbench
{
	my (@arguments) = @_;

	local %ENV = $node->_get_env();
	return IPC::Run::start([ 'pgbench', '-n', @arguments, 'bench' ],
		'>', '/dev/null', '2>', \my $error);
}

# Waits for the ends of pgbench and of its server processes, which only then
# have counted everything.
sub end_pgbench
{
	my ($pgbench, $name) = @_;

	ok($pgbench->finish, "$name: it ends");
	wait_in_session($observer, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'bench'},
		"$name: its sessions end");
	return;
}

# What has been counted in the database: executions, also of evicted statements.
sub executions
{
	return ask($observer, <<'SQL');
SELECT coalesce(sum(infra_monitor.observations(latency)), 0)
FROM infra_monitor.statement_counts() JOIN pg_database d ON d.oid = dbid WHERE datname = 'bench'
SQL
}

sub drops
{
	my ($reason) = @_;

	return ask($observer, "SELECT drops FROM infra_monitor.sampler_drops() WHERE reason = '$reason'");
}

subtest 'many sessions' => sub {
	my @scripts = (
		script('select', 'SELECT i FROM t WHERE i = 1;'),
		script('two', 'SELECT count(*) FROM t;', 'SELECT 1, 2;'),
		script('utility', 'BEGIN;', 'SELECT 1;', 'SAVEPOINT s;', 'ROLLBACK;'));

	foreach my $protocol (qw(simple extended prepared))
	{
		reset_statements();
		end_pgbench(
			begin_pgbench('-c', $clients, '-j', 4, '-t', $transactions, '-M', $protocol, map { ('-f', $_) } @scripts),
			$protocol);
		is(ask($observer, <<'SQL'), '7|0', "$protocol: the same calls of each statement");
SELECT count(*), count(*) FILTER (WHERE s.calls IS DISTINCT FROM p.calls)
FROM (SELECT * FROM infra_monitor.slow_queries WHERE datname = 'bench') s
	FULL JOIN (SELECT p.* FROM pg_stat_statements p JOIN pg_database d ON d.oid = dbid WHERE datname = 'bench') p
	USING (userid, dbid, queryid, toplevel)
SQL
	}
	is(drops('statements'), 0, 'no statement was evicted');
	is(drops('executions'), 0, 'no execution was dropped');
};

# The type of each of nine constants is that of a bit
sub distinct_statements
{
	my ($n) = @_;

	return map {
		my $number = $_;

		'SELECT ' . join(', ', map { $number >> $_ & 1 ? "'a'::text" : '1' } 0 .. 8) . ';'
	} 1 .. $n;
}

subtest 'five times more statements than slots' => sub {
	my $n = 500;
	my $runs = $ENV{IMON_LONG_TESTS} ? 200 : 20;
	my ($reads, $backwards) = (0, 0);
	my ($executions, $time) = (0, 0);

	$node->append_conf('postgresql.conf', 'infra_monitor.max_statements = 100');
	close_sessions($observer);
	$node->restart;
	$observer = open_session($node);

	my $pgbench = begin_pgbench('-c', 16, '-j', 4, '-t', $runs, '-f', script('distinct', distinct_statements($n)));
	while ($pgbench->pumpable)
	{
		my ($new_executions, $new_time) = split /\|/, ask($observer, <<'SQL');
SELECT coalesce(sum(infra_monitor.observations(latency)), 0), coalesce(sum(total_time), 0)
FROM infra_monitor.statement_counts()
SQL

		# the sum of fractions depends on their order
		$backwards++ if $new_executions < $executions || $new_time < $time - 0.001;
		($executions, $time) = ($new_executions, $new_time);
		$reads++;
		$pgbench->pump_nb;
	}
	end_pgbench($pgbench, 'pgbench');
	cmp_ok($reads, '>', 1, "totals were read ($reads times)");
	is($backwards, 0, 'and never went backwards');

	my $dropped = drops('executions');

	# a process that is stopped between finding a slot and adding to it, until the
	# slot has another statement, adds to that: it may be of another database
	my $elsewhere = 16 * $runs * $n - $dropped - executions();
	cmp_ok(abs($elsewhere), '<=', 2 + 16 * $runs * $n / 20_000, "nothing is lost but the $dropped dropped ($elsewhere elsewhere)");
	cmp_ok(drops('statements'), '>', $n - 100, 'statements were evicted');
	is( ask($observer, 'SELECT count(*) BETWEEN 50 AND 100 FROM infra_monitor.statement_counts() WHERE userid IS NOT NULL'),
		't',
		'as many as there are slots are left');
	is( ask($observer, 'SELECT count(*) FROM infra_monitor.slow_queries WHERE userid IS NULL'),
		0,
		'the remainder is no slow query');

	reset_statements();
	is(executions(), 0, 'reset');
};

subtest 'quantiles' => sub {
	my (@asked, @seen);

	reset_statements();
	foreach my $ms (map { 10 * $_ } 1 .. 20)
	{
		push @asked, $ms;
		push @seen, 1000 * seconds { ask($observer, "SELECT pg_sleep(" . $ms / 1000 . ")") };
	}
	@seen = sort { $a <=> $b } @seen;
	my %quantiles;
	@quantiles{qw(0.5 0.95 0.99)} = split /\|/, ask($observer,
		q{SELECT p50_exec_time, p95_exec_time, p99_exec_time FROM infra_monitor.slow_queries WHERE query = 'SELECT pg_sleep($1)'});
	foreach my $q (sort keys %quantiles)
	{
		my $list = join(',', @asked);
		my ($least) = ask($observer, "SELECT percentile_disc($q) WITHIN GROUP (ORDER BY t) FROM unnest(ARRAY[$list]) t");
		my $most = $seen[ $least / 10 - 1 ];

		ok( $quantiles{$q} > $least / 1.143 && $quantiles{$q} < $most * 1.143,
			"$q is between $least and $most, give or take 14.3 percent");
		note "$q: $quantiles{$q}";
	}
};

subtest 'roles and databases that are gone' => sub {
	ask($observer, $_) for split /^/, <<'SQL';
CREATE ROLE gone LOGIN
CREATE DATABASE gone
SQL
	my $session = open_session($node, user => 'gone', database => 'gone');

	ask($session, 'SELECT 1, 2, 3, 4');
	close_sessions($session);
	ask($observer, 'DROP DATABASE gone');
	ask($observer, 'DROP ROLE gone');
	is( ask($observer, 'SELECT usename IS NULL, datname IS NULL, calls FROM infra_monitor.slow_queries WHERE datname IS NULL'),
		't|t|1',
		'their statements are without names');
};

subtest 'the sampler' => sub {
	my $ticks = ask($observer, 'SELECT ticks FROM infra_monitor.sampler_state()');

	reset_statements();
	wait_in_session($observer, "SELECT ticks > $ticks + 2 FROM infra_monitor.sampler_state()", 'it works');
	is( ask($observer, 'SELECT count(*) FROM infra_monitor.slow_queries WHERE query IS NULL OR query LIKE \'%INTO infra_monitor%\''),
		0,
		'and its statements are nobody\'s');
};

subtest 'restart and crash' => sub {
	ask($observer, 'SELECT 1, 2, 3');
	my $marked = q{SELECT count(*) FROM infra_monitor.slow_queries WHERE query = 'SELECT $1, $2, $3' AND calls > 0};

	is(ask($observer, $marked), 1, 'it is there');
	close_sessions($observer);
	$node->restart;
	$observer = open_session($node);
	is(ask($observer, $marked), 0, 'the table begins anew with the server');

	ask($observer, 'SELECT 1, 2, 3');
	my $log = log_end($node);
	my $pid = ask($observer, 'SELECT pg_backend_pid()');

	kill 'KILL', $pid or die "kill: $!";
	ok($node->poll_query_until('postgres', 'SELECT pg_postmaster_start_time() IS NOT NULL'), 'the server recovers');
	$observer = open_session($node);
	is(ask($observer, $marked), 0, 'and so does the table');
	is(log_count($node, 'PANIC|TRAP', $log), 0, 'no panic');
};

subtest 'standby' => sub {
	$node->backup('standby');
	my $standby = PostgreSQL::Test::Cluster->new('statements_standby');

	$standby->init_from_backup($node, 'standby', has_streaming => 1);
	$standby->start;
	$standby->safe_psql('postgres', "SELECT 1, 2, 3, 4, 5");
	is( $standby->safe_psql('postgres', q{SELECT calls FROM infra_monitor.slow_queries WHERE query LIKE 'SELECT $1, $2, $3, $4, $5'}),
		1,
		'a standby counts its own');
	$standby->stop;
};

close_sessions($observer);
$node->stop;
done_testing();
