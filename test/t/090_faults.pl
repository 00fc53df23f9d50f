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
my $created_at = created_at();

# Builds it; returns its name.
sub library_with_faults
{
	my $tree = dirname(__FILE__) . '/../..';
	my $copy = PostgreSQL::Test::Utils::tempdir();
	my $pg_config = pg_config('bindir') . '/pg_config';
	local %ENV = %ENV;

	make_path("$copy/src");
	foreach my $file (map { substr($_, 1 + length $tree) } glob "$tree/Makefile $tree/*.control $tree/src/*.{c,h,sql,txt}")
	{
		copy("$tree/$file", "$copy/$file") or die "$file: $!";
	}
	delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES)};
	is(system("make -s -j2 -C '$copy' FAULTS=1 PG_CONFIG='$pg_config' with_llvm=no COPT=-O1 infra_monitor.so >'$copy/log' 2>&1"),
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

# When shared memory was created: part of the epoch of samples.
sub created_at
{
	return ask($observer, 'SELECT pg_postmaster_start_time()');
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
SET pg_stat_statements.track = none;
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
SET statement_timeout = '10ms'; SELECT pg_sleep(10);
RESET statement_timeout;
CREATE TABLE u AS SELECT 1; ALTER TABLE u ADD c int; DROP TABLE u;
CREATE DATABASE d;
DROP DATABASE d;
SET infra_monitor.slow_query_plan = on;
SELECT count(*) FROM t;
BEGIN;
SELECT count(*) FROM t;
SAVEPOINT s;
SELECT count(*) FROM t;
SELECT 1 / 0;
ROLLBACK TO s;
SELECT count(*) FROM t;
COMMIT;
SQL

# Does the work in a session of its own, in which allocations fail from its
# beginning; returns all that it was told.
sub work
{
	my ($fail) = @_;
	local $ENV{PGOPTIONS} = "-c infra_monitor.fail_in=connection,session -c infra_monitor.fail_allocation=$fail";
	my ($status, $out, $said) = $node->psql('postgres', $WORK, on_error_stop => 0);

	return "$status\n$out\n$said";
}

my $expected = work(0);
my $failed = 0;

like($expected, qr/caught/, 'H3: the work is done');
foreach my $n (1 .. 200)
{
	my $before = fired();

	is(work($n), $expected, "H3: the same if allocation $n fails");
	last if fired() == $before;
	$failed = $n;
}
cmp_ok($failed, '>', 3, "H3: allocations of hooks: $failed");
is(work($_), $expected, "H3: the same if each ${_}th fails") foreach -2, -3;
note("faults in hooks: " . fired());
nothing_crashed('H3');

done_testing();
