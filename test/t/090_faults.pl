# Faults: a library that fails where it is told to (src/faults.h), and what the
# users of the server notice of it: nothing.  Rows H1, H3 and D4 of the matrix of
# faults are named where they are tested.

use strict;
use warnings;

use File::Basename qw(dirname);
use File::Copy qw(copy);
use File::Path qw(make_path);
use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

#
# The library, built as a copy.  That of everybody else has nothing of it.
#
my $TRACES = qr/imon_(?:fault|hold_lock|pause)|infra_monitor\.(?:fail_allocation|fail_in|delay_writer)/;
my $installation = private_installation();
my $library = "$installation->{pkglibdir}/infra_monitor.so";

unlike(slurp_file($library), $TRACES, 'the ordinary library has no faults in it');
replace_file($library, slurp_file(library_with_faults()));
like(slurp_file($library), $TRACES, 'the other one has');

my $textfiles = PostgreSQL::Test::Utils::tempdir();
my $node = new_server('faults',
	cluster => { install_path => $installation->{install_path} },
	conf => <<"CONF");
infra_monitor.statement_interval = 1s
infra_monitor.slow_query_threshold = 0
infra_monitor.slow_query_log_size = 16
infra_monitor.textfile = '$textfiles/faults.prom'
CONF
$node->start;
my $observer = open_session($node);
ask($observer, $_) for split /^/, <<'SQL';
CREATE EXTENSION infra_monitor CASCADE
CREATE SCHEMA faults
CREATE FUNCTION faults.fired(text) RETURNS bigint LANGUAGE c AS '$libdir/infra_monitor', 'imon_faults_fired'
CREATE FUNCTION faults.sites(OUT file text, OUT line int, OUT call text, OUT part text, OUT fired bool) RETURNS SETOF record LANGUAGE c AS '$libdir/infra_monitor', 'imon_faults'
CREATE FUNCTION faults.hold_lock(int, int, bool) RETURNS void LANGUAGE c AS '$libdir/infra_monitor', 'imon_hold_lock'
CREATE FUNCTION faults.pause_next(text) RETURNS void LANGUAGE c AS '$libdir/infra_monitor', 'imon_pause_next'
CREATE FUNCTION faults.held() RETURNS int LANGUAGE c AS '$libdir/infra_monitor', 'imon_held'
CREATE FUNCTION faults.release() RETURNS void LANGUAGE c AS '$libdir/infra_monitor', 'imon_release'
CREATE TABLE t AS SELECT i FROM generate_series(1, 100) i
CREATE ROLE ordinary LOGIN
GRANT ALL ON t TO ordinary
SQL
wait_for_sample($node, 'the sampler samples');

# Builds it; returns its name.
sub library_with_faults
{
	my $tree = dirname(__FILE__) . '/../..';
	my $coverage = $ENV{IMON_COVERAGE} // '';	# where coverage.sh looks for it
	my $copy = $coverage || PostgreSQL::Test::Utils::tempdir();
	my $copt = $coverage ? '-O0 --coverage' : '-O1';
	my $pg_config = pg_config('bindir') . '/pg_config';
	local %ENV = %ENV;

	make_path("$copy/src");
	foreach my $file (map { substr($_, 1 + length $tree) } glob "$tree/Makefile $tree/*.control $tree/src/*.{c,h,sql,txt}")
	{
		copy("$tree/$file", "$copy/$file") or die "$file: $!";
	}
	delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES)};
	is(system("make -s -j2 -C '$copy' FAULTS=1 PG_CONFIG='$pg_config' with_llvm=no COPT='$copt' infra_monitor.so >'$copy/log' 2>&1"),
		0, 'the library is built')
	  or BAIL_OUT(slurp_file("$copy/log"));
	return "$copy/infra_monitor.so";
}

# How many faults were raised in a part so far, or in all.
sub fired
{
	my ($part) = @_;

	return ask($observer, 'SELECT faults.fired(' . ($part ? "'$part'" : 'NULL') . ')');
}

# Says how many faults were raised in a part; none would be a test of nothing.
sub report
{
	my ($what, $n) = @_;

	cmp_ok($n, '>', 0, "faults in $what: $n");
	return;
}

# Changes settings for everybody.
sub set
{
	my (%settings) = @_;

	ask($observer, "ALTER SYSTEM SET infra_monitor.$_ = '$settings{$_}'") for sort keys %settings;
	ask($observer, 'SELECT pg_reload_conf()');
	return;
}

# What was lost, for this reason.
sub drops
{
	my ($reason) = @_;

	return ask($observer, "SELECT drops FROM infra_monitor.sampler_drops() WHERE reason = '$reason'");
}

# The promise of every row: the server lives, no process has crashed.
sub nothing_crashed
{
	my ($when) = @_;

	is($node->psql('postgres', 'SELECT'), 0, "$when: the server lives") or die 'nothing left to test';
	is(log_count($node, qr/PANIC|TRAP|terminated by signal|terminating any other|deadlock detected|stuck spinlock/),
		0, "$when: nothing has crashed");
	return;
}

#
# H3: allocations that fail in hooks.  What users do has the same result, with
# the first that fails, with the second, and so on.
#
my $WORK = <<'SQL';
\set VERBOSITY verbose
SELECT 'SELECT ' || repeat('1, ', i) || i FROM generate_series(1, 140) i \gexec
BEGIN;
SELECT format('DECLARE c%s CURSOR FOR SELECT i FROM t', i) FROM generate_series(1, 40) i \gexec
SELECT format('FETCH %s FROM c%s', i, i) FROM generate_series(1, 40) i \gexec
CLOSE ALL;
COMMIT;
SELECT 1 / 0;
BEGIN;
SAVEPOINT s;
INSERT INTO t VALUES (1 / 0);
ROLLBACK TO s;
UPDATE t SET i = i WHERE i < 4 RETURNING i;
ROLLBACK;
PREPARE p AS SELECT sum(i) FROM t WHERE i > $1;
EXECUTE p(10);
EXPLAIN (COSTS off) SELECT i FROM t;
COPY (SELECT i FROM t WHERE i < 3) TO STDOUT;
DO $$ BEGIN FOR n IN 1 .. 3 LOOP PERFORM i FROM t WHERE i = n; PERFORM 1 / (n - 2); END LOOP; EXCEPTION WHEN division_by_zero THEN RAISE NOTICE 'caught'; END $$;
SELECT no_such_column FROM t;
BEGIN;
SET LOCAL statement_timeout = '10ms'; SELECT pg_sleep(10);
ROLLBACK;
CREATE TABLE u AS SELECT 1; ALTER TABLE u ADD c int; DROP TABLE u;
SET pg_stat_statements.track = none;
SELECT 2;
SET infra_monitor.slow_query_plan = on;
SELECT count(*) FROM t;
BEGIN;
SAVEPOINT s;
SELECT count(*) FROM t;
SELECT 1 / 0;
ROLLBACK TO s;
SELECT count(*) FROM t;
COMMIT;
SQL
my $MORE_WORK = $WORK . <<'SQL';
CREATE DATABASE d;
ALTER DATABASE d RENAME TO e;
DROP DATABASE e;
SQL

# Does the work in a session of its own, in which allocations fail from its
# beginning; returns all that it was told.
sub work
{
	my ($work, $fail) = @_;
	local $ENV{PGOPTIONS} = "-c infra_monitor.fail_in=connection,session -c infra_monitor.fail_allocation=$fail";
	my ($status, $out, $said) = $node->psql('postgres', $work, on_error_stop => 0);

	return "$status\n$out\n$said";
}

my $expected = work($WORK, 0);
my $failed = 0;

like($expected, qr/caught/, 'H3: the work is done');
foreach my $n (1 .. 200)
{
	my $before = fired();

	is(work($WORK, $n), $expected, "H3: the same if allocation $n fails");
	last if fired() == $before;
	$failed = $n;
}
cmp_ok($failed, '>', 3, "H3: allocations in hooks: $failed");
$expected = work($MORE_WORK, 0);
is(work($MORE_WORK, -$_), $expected, "H3: the same if each ${_}th fails") foreach 1, 2, 3;
report('hooks', fired());
cmp_ok(drops('executions'), '>', 0, 'H3: what could not be watched is counted as dropped');
nothing_crashed('H3');

#
# SQL functions: they may say that there is no memory, and nothing else.  Each
# call of a function fails at its first allocation, at its second, and so on;
# then all that can be read, at each place once.
#
my $session = open_session($node);
my $before = fired();

ask($session, $_) for (<<'SQL', 'SET infra_monitor.track = none', q{SET infra_monitor.fail_in = 'session'});
CREATE FUNCTION faults.sweep(command text, step float8) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	n int := 0;
	fired bigint;
	failures int := 0;
BEGIN
	LOOP
		n := n + 1 + (n * step)::int;
		fired := faults.fired(NULL);
		BEGIN
			PERFORM set_config('infra_monitor.fail_allocation', n::text, false);
			EXECUTE command;
			PERFORM set_config('infra_monitor.fail_allocation', '0', false);
		EXCEPTION WHEN out_of_memory THEN
			failures := failures + 1;
		END;
		EXIT WHEN faults.fired(NULL) = fired;
	END LOOP;
	RETURN failures;
END $$
SQL
my $histogram = "infra_monitor.histogram('{0.1,2,3,500}'::float8[])";
my @histograms = (
	"SELECT ($histogram)::text",
	"SELECT ($histogram)::text::infra_monitor.histogram",
	"SELECT infra_monitor.histogram_send($histogram)",
	"SELECT ($histogram)::jsonb::infra_monitor.histogram",
	"SELECT $histogram OPERATOR(infra_monitor.+) $histogram, $histogram OPERATOR(infra_monitor.-) $histogram",
	"SELECT infra_monitor.sum($histogram) FROM generate_series(1, 3)",
	"SELECT infra_monitor.quantile($histogram, 0.5), infra_monitor.fraction($histogram, 2), infra_monitor.observations($histogram)",
	"SELECT * FROM infra_monitor.buckets($histogram)");
my $failures = 0;
$failures += ask($session, 'SELECT faults.sweep($sweep$' . $_ . '$sweep$, 0)') foreach @histograms;
cmp_ok($failures, '>', 10, 'histograms: they fail, and say so');
report('histograms', fired() - $before);

$before = fired();
my %everything = map { /^(\S+) (.*)/ } everything_to_read($node, 'postgres');
my %in_c = map { ("$_()" => 1) } split /\n/, $node->safe_psql('postgres',
	"SELECT proname FROM pg_proc WHERE pronamespace = 'infra_monitor'::regnamespace AND prolang = (SELECT oid FROM pg_language WHERE lanname = 'c')");
my @commands = map { $everything{$_} } grep { $in_c{$_} } sort keys %everything;

cmp_ok(scalar @commands, '>', 50, 'functions of the library');
foreach my $command (@commands)
{
	my $result = try_ask($session, 'SELECT faults.sweep($sweep$' . $command . '$sweep$, 0.1)');

	ok(defined $result, "answer or no memory: $command")
	  or diag("$session->{sqlstate} $session->{message}");
}
report('functions', fired() - $before);

$before = fired();
push @commands, map { $everything{$_} } grep { !$in_c{$_} } sort keys %everything;
push @commands, 'SELECT infra_monitor.take_sample()', 'SELECT infra_monitor.take_statement_sample()',
  "SELECT infra_monitor.roll_up(now() + interval '2 days')", q{SELECT infra_monitor.reset('statements')};
foreach my $command (@commands)
{
	my ($seen, $answer);

	do
	{
		$seen = fired();
		ask($session, 'SET infra_monitor.fail_allocation = -1');
		$answer = defined try_ask($session, $command) ? 'an answer' : $session->{sqlstate};
		ask($session, 'SET infra_monitor.fail_allocation = 0');
	} while ($answer eq '53200' && fired() > $seen);
	is($answer, 'an answer', "an answer in the end: $command");
}
report('places in functions', fired() - $before);
close_sessions($session);
nothing_crashed('functions');

# A cancel while facts are collected is not contained, and ends what it should.
my $other = open_session($node);
$session = open_session($node);
ask($other, 'BEGIN');
ask($other, 'LOCK pg_extension IN ACCESS EXCLUSIVE MODE');
ask($session, q{SET statement_timeout = '500ms'});
is(try_ask($session, 'SELECT infra_monitor.collect_facts()'), undef, 'facts are not to be had');
is($session->{sqlstate}, '57014', 'facts: cancelled');
is(try_ask($session, 'SELECT 1'), '1', 'facts: the session goes on');
ask($other, 'ROLLBACK');
close_sessions($session, $other);

#
# The sampler.  What fails between two tasks may end it, and then it comes again;
# what fails in a task is contained there.  Each place fails once.
#
my %of_sampler = (backend_type => "backend_type = 'infra_monitor sampler'");
my $resting = "$of_sampler{backend_type} AND wait_event_type = 'Extension' AND state = 'idle'";
my $ticks = status_of($node, 'ticks');
my %fired_before = map { $_ => fired($_) } qw(tick task visit);
my $rounds = 0;
my $quiet = 0;
my $until = time + 300;

set(fail_in => 'tick task', fail_allocation => -1);
while ($quiet < 3 && time < $until)
{
	my $seen = fired();
	my $pid = ask($observer, "SELECT pid FROM pg_stat_activity WHERE $of_sampler{backend_type}");

	# it does everything when it begins; users notice nothing
	ask($observer, "SELECT pg_terminate_backend($pid)") if $pid ne '';
	wait_until("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $resting AND pid <> " . ($pid || 0) . ')');
	is(ask($observer, 'SELECT sum(i) FROM t'), '5050', 'a user') if $rounds++ % 10 == 0;
	$quiet = fired() == $seen ? $quiet + 1 : 0;
}
set(fail_allocation => 0);
cmp_ok(time, '<', $until, "the sampler fails nowhere any more, after $rounds rounds");
report("the sampler: $_", fired($_) - $fired_before{$_}) foreach qw(tick task);
recovers('each place of the sampler', 0);

# The visits of databases, a round after the other.
set(fail_in => 'visit', fail_allocation => -1, database_check_interval => '1s');
do
{
	$quiet = fired('visit');
	my $now = ask($observer, 'SELECT clock_timestamp()');

	wait_until("SELECT coalesce(max(finished_at) > '$now', false) FROM infra_monitor.database_round()");
} while (fired('visit') > $quiet);
set(fail_allocation => 0);
report('visits', fired('visit'));
$fired_before{round} = ask($observer, 'SELECT clock_timestamp()');
wait_until("SELECT coalesce(bool_and(started_at > '$fired_before{round}' AND failed = 0), false) FROM infra_monitor.database_round()");
set(database_check_interval => 0);

# The same without an end in between: an error after the other.
foreach my $n (7, 31)
{
	my $seen = fired('task');
	my $log = log_end($node);

	set(fail_in => 'task', fail_allocation => -$n);
	wait_until("SELECT faults.fired('task') >= $seen + 10");
	set(fail_allocation => 0);
	recovers("each ${n}th allocation", $log);
}
cmp_ok(status_of($node, 'ticks'), '>', $ticks, 'the sampler counts on: nothing shared is lost');
cmp_ok(status_of($node, 'missed'), '>', 0, 'what it could not sample is counted as missed');
isnt(status_of($node, 'last_error'), '', 'its errors are shown');

# Waits for a condition, without a test.
sub wait_until
{
	my ($query) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	while (ask($observer, $query) ne 't')
	{
		die "never: $query" if time > $deadline;
		usleep(20_000);
	}
	return;
}

# Do all tasks their work again that have failed, by the log from an offset on?
# Those that come each hour are left out.
sub all_tasks_work
{
	my ($log) = @_;
	my %fails;

	foreach my $line (split /\n/, substr(slurp_file($node->logfile), $log))
	{
		%fails = () if $line =~ /infra_monitor sampler connected/;
		$fails{$1} = 1 if $line =~ /infra_monitor could not do its task "(\w+)"/;
		delete $fails{$1} if $line =~ /infra_monitor does its task "(\w+)" again/;
	}
	delete @fails{qw(partitions readiness)};
	return keys %fails == 0;
}

# All is well again, without help.
sub recovers
{
	my ($after, $log) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my $now = ask($observer, 'SELECT clock_timestamp()');

	usleep(50_000) until all_tasks_work($log) || time > $deadline;
	ok(all_tasks_work($log), "after $after: all tasks do their work again");
	wait_for($node, <<"SQL", "after $after: the sampler goes on");
SELECT s.state = 'running' AND s.last_tick > '$now' AND s.last_tick > s.last_error_at
FROM infra_monitor.sampler_status s
SQL
	is( ask($observer, "SELECT count(*) > 0 FROM infra_monitor.health_checks WHERE status <> 'unknown'"),
		't', "after $after: health is known");
	nothing_crashed("after $after");
	return;
}

# What fails waits longer and longer: an attempt takes the 500 ms of lock_timeout.
my $locker = open_session($node);
my $cost = "SELECT seconds FROM infra_monitor.sampler_costs() WHERE task = 'sample'";
my $log = log_end($node);

ask($locker, 'BEGIN');
ask($locker, 'LOCK infra_monitor.samples IN ACCESS EXCLUSIVE MODE');
my $spent = ask($observer, $cost);
wait_until("SELECT clock_timestamp() > '" . ask($observer, 'SELECT clock_timestamp()') . "'::timestamptz + interval '12 s'");
$spent = ask($observer, $cost) - $spent;
ask($locker, 'ROLLBACK');
close_sessions($locker);
cmp_ok($spent, '>', 0.9, 'a task that fails is tried again');
# each second would be six
cmp_ok($spent, '<', 4.5, "but waits longer and longer: $spent s spent in 12 s");
recovers('a lock', $log);

#
# H1: each of our locks is held, by a session that logs something meanwhile, or
# even fails.  No user waits for it.
#
my @parts = split /\n/, ask($observer, 'SELECT part FROM infra_monitor.shared_memory()');
my ($own) = grep { $parts[$_] eq 'faults' } 0 .. $#parts;
my $holder = open_session($node);
$log = log_end($node);

ask($holder, 'SET log_min_messages = debug5');
cmp_ok(scalar @parts, '>', 20, 'H1: locks');
foreach my $i (0 .. $#parts)
{
	my $fails = $i % 2 ? 'true' : 'false';

	send_query($holder, "SELECT faults.hold_lock($i, $own, $fails)");
	wait_until('SELECT faults.held() = 1');
	is(work_under_lock($i), "1\n2\n22012\n3\n3D000", "H1: no user waits for the lock of $parts[$i]");
	ok(!has_answered($holder), "H1: it was held all the time: $parts[$i]");
	ask($observer, 'SELECT faults.release()');
	is(defined answer_of($holder) ? 'false' : 'true', $fails, "H1: released: $parts[$i]");
}
is(log_count($node, 'infra_monitor holds a lock', $log), scalar @parts, 'H1: the log was written to');

# A user: a statement that is new, one that fails, a utility command, and two
# connections, one of which is refused.
sub work_under_lock
{
	my ($i) = @_;
	my $columns = join(', ', map { "$_ AS c$_" } 1 .. 3 + $i);
	my @answers;
	my $user = open_session($node, user => 'ordinary');
	my $refused = begin_session($node, database => 'absent');

	push @answers, ask($user, "SELECT c1 FROM (SELECT $columns) x ORDER BY " . join(', ', 1 .. 1));
	ask($user, 'CREATE TEMP TABLE x AS SELECT 2 AS i');
	push @answers, ask($user, 'SELECT i FROM x');
	push @answers, defined try_ask($user, 'SELECT 1 / 0') ? 'none' : $user->{sqlstate};
	ask($user, 'DROP TABLE x');
	push @answers, ask($user, 'SELECT 3');
	push @answers, await_session($refused) eq 'refused' ? $refused->{sqlstate} : 'none';
	send_query($user, 'SELECT');
	answer_of($user);
	$user->{socket}->syswrite('X' . pack('N', 4));
	return join("\n", @answers);
}

# While the table of statements cannot be had, executions are kept for later, and
# what there is no room for is dropped and counted.
my $dropped = drops('executions');
my $user = open_session($node, user => 'ordinary');
my $counted = "SELECT coalesce(sum(infra_monitor.observations(latency)), 0) FROM infra_monitor.statement_counts() WHERE userid = 'ordinary'::regrole AND toplevel";
my ($statements) = grep { $parts[$_] eq 'statements' } 0 .. $#parts;
wait_until("SELECT count(*) = 1 FROM pg_stat_activity WHERE usename = 'ordinary'");
my $before_hold = ask($observer, $counted);

send_query($holder, "SELECT faults.hold_lock($statements, $own, false)");
wait_until('SELECT faults.held() = 1');
ask($user, 'SELECT ' . join(', ', (1) x $_)) foreach 200 .. 799;
ask($observer, 'SELECT faults.release()');
ask($holder, 'SELECT');
close_sessions($user);			# counts what it has kept, if need be later
$user = open_session($node, user => 'ordinary');
$dropped = drops('executions') - $dropped;
cmp_ok($dropped, '>', 0, "H1: dropped: $dropped");
is(ask($observer, $counted) - $before_hold + $dropped, 600, 'H1: each execution was counted or dropped');

#
# H1: rings that overflow, because a writer does not get on.
#
$dropped = drops('slow_queries');
send_query($holder, q{SELECT faults.pause_next('src/slow_log.c') AS h1});
wait_until('SELECT faults.held() = 1');
ask($observer, 'SET infra_monitor.slow_query_threshold = -1');
is(ask($user, "SELECT $_"), $_, 'H1: a user goes around the ring') foreach 1 .. 20;
cmp_ok(drops('slow_queries'), '>', $dropped, 'H1: and what had no place is counted as dropped');
ask($observer, 'SELECT faults.release()');
ok(defined answer_of($holder), 'H1: the writer goes on');
foreach my $log ('slow_query_log', 'slow_query_samples')
{
	wait_in_session($observer, "SELECT count(*) FROM infra_monitor.$log WHERE query ~ 'AS h1'",
		"H1: its execution is in $log, though it is a turn of the ring behind", 1);
}
ask($observer, 'RESET infra_monitor.slow_query_threshold');

ask($observer, q{SELECT faults.pause_next('src/connections.c')});
$dropped = drops('rejections');
my $slow = begin_session($node, database => 'absent');
wait_until('SELECT faults.held() = 1');
my $refusals = "SELECT sum(total) FROM infra_monitor.pool_rejections WHERE reason = 'other'";
my $refused_before = ask($observer, $refusals);
my @refused = map { begin_session($node, database => 'absent') } 1 .. 256;
wait_in_session($observer, "SELECT ($refusals) >= $refused_before + 256", 'H1: all others are counted');
# a refusal is counted before its details are kept
wait_in_session($observer, "SELECT drops > $dropped FROM infra_monitor.sampler_drops() WHERE reason = 'rejections'",
	'H1: details that had no place are counted as dropped');
is(ask($observer, 'SELECT faults.held()'), '1', 'H1: while the writer pauses');
ask($observer, 'SELECT faults.release()');
my %refused = ();
$refused{ await_session($_) eq 'refused' ? $_->{sqlstate} : 'none' }++ foreach @refused;
is_deeply(\%refused, { '3D000' => 256 }, 'H1: and refused as ever');
is(await_session($slow), 'refused', 'H1: the writer goes on');
close_sessions($user, $holder);
nothing_crashed('H1');
recovers('H1', $log);

#
# D4: the extension is dropped while the sampler writes, and takes long.
#
set(delay_writer => '300ms');
wait_until("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $of_sampler{backend_type} AND query = 'sample' AND state = 'active')");
my $duration = seconds { ask($observer, 'DROP EXTENSION infra_monitor') };
cmp_ok($duration, '<', 10, sprintf('D4: it is dropped after %.1f s', $duration));
set(delay_writer => 0);
$log = log_end($node);
ask($observer, 'CREATE EXTENSION infra_monitor');
wait_for_sample($node, 'D4: created again, it is filled');
nothing_crashed('D4');

close_sessions($observer);
$node->stop;
done_testing();
