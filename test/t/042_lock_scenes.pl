# Whoever waits: lock_waits says the same about it as pg_blocking_pids(), in
# random scenes and in those of which the outcome is known.

use strict;
use warnings;

use InfraMonitor;
use List::Util qw(min);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

# IMON_SCENES and IMON_SCENES_SEED: more of them, and others
my $scenes = $ENV{IMON_SCENES} // 50;
my $seed = $ENV{IMON_SCENES_SEED} // 20261122;

my $node = new_server('scenes', conf => <<'CONF');
max_connections = 40
max_prepared_transactions = 10
max_worker_processes = 16
max_parallel_workers = 12
autovacuum = off
deadlock_timeout = 1h
infra_monitor.sample_interval = 1h
infra_monitor.health_interval = 1h
infra_monitor.activity_interval = 100ms
CONF
$node->start;
my $log_start = log_end($node);

my $control = open_session($node);
ask($control, $_) for split /;\n/, <<'SQL';
CREATE EXTENSION infra_monitor CASCADE;
CREATE TABLE a (id int PRIMARY KEY, v int);
CREATE TABLE b (id int PRIMARY KEY, v int);
CREATE TABLE c (id int PRIMARY KEY, v int);
INSERT INTO a SELECT g, 0 FROM generate_series(1, 3) g;
INSERT INTO b SELECT * FROM a;
INSERT INTO c SELECT * FROM a;
CREATE TABLE big AS SELECT g AS id FROM generate_series(1, 2000) g;
ANALYZE big;
CREATE FUNCTION reads(one text, another text) RETURNS bigint LANGUAGE plpgsql PARALLEL SAFE AS $$
DECLARE n bigint; m bigint; BEGIN
EXECUTE format('SELECT count(*) FROM %I', one) INTO n; EXECUTE format('SELECT count(*) FROM %I', another) INTO m; RETURN n + m; END $$;
SQL

# A parallel query whose workers, and only those, read one table and then
# another one.
sub parallel_query
{
	my ($first, $second) = @_;

	return "SELECT max(reads('$first', '$second')) FROM big WHERE id < 0 OR reads('$first', '$second') > 0";
}

my $parallel_settings = join '; ', map { "SET LOCAL $_" }
  'max_parallel_workers_per_gather = 2', 'parallel_setup_cost = 0',
  'parallel_tuple_cost = 0', 'min_parallel_table_scan_size = 0',
  'parallel_leader_participation = off';

#
# Actors: sessions in a transaction.  Each has a pid, and waits or does not.
#

my @actors;
my %seen;    # what the scenes had, to know that they are of use

sub new_actor
{
	my $actor = open_session($node, application_name => 'actor ' . @actors);

	ask($actor, 'BEGIN');
	$actor->{pid} = ask($actor, 'SELECT pg_backend_pid()');
	push @actors, $actor;
	return $actor;
}

# Is it, or a worker of it, in a queue?
sub queued
{
	my ($actor) = @_;

	return ask($control, <<SQL) eq 't';
SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity s USING (pid)
	WHERE NOT l.granted AND $actor->{pid} IN (s.pid, s.leader_pid))
SQL
}

# Lets an actor do something, until that is done or it waits.  Returns whether
# it is done.
sub act
{
	my ($actor, $query) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	send_query($actor, $query);
	until ($actor->{waits} = queued($actor))
	{
		if (has_answered($actor))
		{
			$actor->{aborted} = !defined answer_of($actor);
			return 1;
		}
		die "neither done nor waiting: $query" if time > $deadline;
		usleep(1_000);
	}
	return 0;
}

# Ends all actors.
sub end_scene
{
	ask($control, "SELECT pg_terminate_backend($_->{pid})") for @actors;
	close_sessions(@actors);
	@actors = ();
	ask($control, "ROLLBACK PREPARED '$_'")
	  for split /\n/, ask($control, 'SELECT gid FROM pg_prepared_xacts');
	return;
}

# All locks of others, in a line.
my $locks = <<'SQL';
SELECT md5(string_agg(l::text, ' ' ORDER BY l::text)) FROM pg_locks l
WHERE pid IS DISTINCT FROM pg_backend_pid()
	AND pid IS DISTINCT FROM (SELECT s.pid FROM infra_monitor.sampler_status s)
SQL

my $theirs = <<'SQL';
SELECT pid, ARRAY(SELECT DISTINCT unnest(pg_blocking_pids(pid)) ORDER BY 1)
FROM pg_stat_activity
WHERE backend_type = 'client backend' AND cardinality(pg_blocking_pids(pid)) > 0
ORDER BY pid
SQL

my $ours = <<'SQL';
SELECT pid, ARRAY(SELECT unnest(blocked_by) ORDER BY 1)
FROM infra_monitor.lock_waits ORDER BY pid
SQL

my $chains = <<'SQL';
SELECT pid, root_pid, depth, in_cycle, lock_type, array_to_string(blocked_by, ',')
FROM infra_monitor.lock_waits
SQL

# What each query says while the locks do not change.
sub observe
{
	my @queries = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	while (time < $deadline)
	{
		my $before = ask($control, $locks);
		my @answers = map { ask($control, $_) } @queries;

		return @answers if ask($control, $locks) eq $before;
	}
	die 'the locks do not come to rest';
}

# What is wrong with roots and depths, by the blockers: nothing, it is hoped.
sub wrong_chains
{
	my ($rows) = @_;
	my %waiter;
	my @wrong;

	foreach my $row (split /\n/, $rows)
	{
		my ($pid, $root, $depth, $in_cycle, $type, $by) = split /\|/, $row;

		$waiter{$pid} = {
			pid => $pid,
			root => $root,
			depth => $depth,
			in_cycle => $in_cycle eq 't',
			by => [ split /,/, $by ]
		};
		$seen{$type}++;
		$seen{cycle}++ if $in_cycle eq 't';
		$seen{deep}++ if $depth > 2;
		$seen{prepared}++ if grep { $_ == 0 } @{ $waiter{$pid}->{by} };
	}
	foreach my $w (values %waiter)
	{
		my $root = $waiter{ $w->{root} };
		my @cycle = grep { $_->{in_cycle} && $_->{root} == $w->{root} }
		  values %waiter;
		my @blockers = map { $waiter{$_} // () } @{ $w->{by} };

		# in a cycle the one behind the root is the last
		my $steps = $w->{depth} > 0 ? $w->{depth} - 1 : $#cycle;
		my @next = grep { $_->{root} == $w->{root} && $_->{depth} == $steps }
		  @blockers;

		my $good =
		  $w->{in_cycle} ? scalar grep { $_->{in_cycle} } @next
		  : $root ? @next > 0
		  : $w->{depth} == 1 ? scalar grep { $_ == $w->{root} } @{ $w->{by} }
		  : $w->{depth} > 1 && @next > 0;

		$good &&= !$root || $w->{root} == min(map { $_->{pid} } @cycle);
		push @wrong, join(' ', map { $_ // '' } @$w{qw(pid root depth)})
		  unless $good;
	}
	return join "\n", @wrong;
}

# Compares; returns the number of waiters.
sub compare
{
	my ($name) = @_;
	my ($expected, $got, $rows) = observe($theirs, $ours, $chains);

	is($got, $expected, "$name: blockers");
	is(wrong_chains($rows), '', "$name: roots") or diag($rows);
	return scalar split /\n/, $got;
}

#
# Random scenes
#

sub any_of
{
	return $_[ int rand @_ ];
}

# What an actor does next.
sub random_action
{
	my $table = any_of(qw(a b c));
	my $row = any_of(1, 1, 2);
	my $key = any_of(1, 2);
	my $mode = any_of(
		'ACCESS SHARE', 'ROW SHARE',
		'ROW EXCLUSIVE', 'SHARE UPDATE EXCLUSIVE',
		'SHARE', 'SHARE ROW EXCLUSIVE',
		'EXCLUSIVE', 'ACCESS EXCLUSIVE');
	my $strength =
	  any_of('UPDATE', 'NO KEY UPDATE', 'SHARE', 'KEY SHARE');
	my $new = any_of(10, 11);

	return any_of(
		"LOCK TABLE $table IN $mode MODE",
		"LOCK TABLE $table IN $mode MODE",
		"SELECT count(*) FROM $table",
		"ALTER TABLE $table ALTER v SET DEFAULT 1",
		"CREATE INDEX ON $table (v)",
		"SELECT v FROM a WHERE id = $row FOR $strength",
		"UPDATE a SET v = v + 1 WHERE id = $row",
		"DELETE FROM a WHERE id = $row",
		"INSERT INTO a VALUES ($new)",
		"SELECT pg_advisory_xact_lock($key)",
		"SELECT pg_advisory_xact_lock_shared($key)",
		"SELECT pg_advisory_xact_lock(1, $key)",
		"$parallel_settings; " . parallel_query(any_of('a', 'c'), 'b'));
}

sub play_scene
{
	my ($number) = @_;
	my $steps = 8 + int rand 14;

	new_actor() for 1 .. 4 + int rand 5;
	for my $step (1 .. $steps)
	{
		my @free = grep { !$_->{waits} && !$_->{aborted} } @actors;
		last unless @free;

		my $actor = any_of(@free);
		if (rand() < 0.08 && !$actor->{prepared})
		{
			$actor->{prepared} = 1;
			act($actor, "PREPARE TRANSACTION 'scene $number $step'");
			act($actor, 'BEGIN');
		}
		else
		{
			act($actor, random_action());
		}
	}
	return;
}

# What blockers alone do not tell: workers that wait, weak locks that are in the
# main table because somebody wants a strong one, and those that are not, and
# waits for one who waits himself and holds nothing.
my %features = (
	parallel => <<'SQL',
SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity s USING (pid)
	WHERE NOT l.granted AND s.leader_pid <> s.pid)
SQL
	transferred => <<'SQL',
SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_locks w USING (relation)
	WHERE l.granted AND NOT l.fastpath AND l.mode IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
		AND NOT w.granted AND w.locktype = 'relation')
SQL
	fastpath => <<'SQL',
SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity s USING (pid)
	WHERE l.fastpath AND l.locktype = 'relation' AND s.application_name LIKE 'actor%')
SQL
	soft => <<'SQL');
SELECT EXISTS (SELECT FROM pg_locks l JOIN infra_monitor.lock_waits w USING (pid), unnest(w.blocked_by) b
	WHERE NOT l.granted AND l.locktype = 'relation'
		AND EXISTS (SELECT FROM pg_locks h WHERE h.pid = b AND NOT h.granted AND h.relation = l.relation)
		AND NOT EXISTS (SELECT FROM pg_locks h WHERE h.pid = b AND h.granted AND h.relation = l.relation))
SQL

srand($seed);
note("seed $seed, scenes: $scenes");
my $waiters = 0;
for my $number (1 .. $scenes)
{
	play_scene($number);
	$waiters += compare("scene $number");
	foreach my $what (keys %features)
	{
		$seen{$what}++ if ask($control, $features{$what}) eq 't';
	}
	end_scene();
}
note(join ', ', "waiters $waiters", map { "$_ $seen{$_}" } sort keys %seen);
foreach my $what (
	qw(relation tuple transactionid advisory parallel prepared
	transferred fastpath soft cycle deep)
  )
{
	ok($seen{$what}, "the scenes had: $what");
}

#
# Known scenes
#

# One row of lock_waits.
sub waits
{
	my ($actor, $columns) = @_;

	return ask($control,
		"SELECT $columns FROM infra_monitor.lock_waits WHERE pid = $actor->{pid}"
	);
}

# a queue behind one who waits himself
{
	my ($reader, $alter, $late) = map { new_actor() } 1 .. 3;

	act($reader, 'SELECT count(*) FROM a');
	ok(!act($alter, 'ALTER TABLE a ALTER v SET DEFAULT 2'), 'ALTER waits');
	ok(!act($late, 'SELECT count(*) FROM a'), 'a query behind it, too');
	compare('queue');
	is( waits(
			$alter, 'blocked_by, root_pid, depth, lock_type, locked, mode'),
		"{$reader->{pid}}|$reader->{pid}|1|relation|relation public.a|AccessExclusiveLock",
		'ALTER waits for the fast-path lock of a reader');
	is( waits($late, 'blocked_by, root_pid, root_state, depth, mode'),
		"{$alter->{pid}}|$reader->{pid}|idle in transaction|2|AccessShareLock",
		'the query waits for ALTER, and the reader is the root');
	is( ask($control, <<SQL), "{$alter->{pid}}", 'running_queries says so, too');
SET infra_monitor.slow_query_threshold = 0;
SELECT blocked_by FROM infra_monitor.running_queries WHERE pid = $late->{pid};
SQL
	end_scene();
}

# workers of one query are one party, whether they wait or are in the way
{
	my ($holder, $parallel, $alter) = map { new_actor() } 1 .. 3;

	act($holder, 'LOCK TABLE b');
	ok( !act(
			$parallel, "$parallel_settings; " . parallel_query('c', 'b')),
		'workers wait');
	wait_in_session($control, <<SQL, 'both of them', 2);
SELECT count(*) FROM pg_locks l JOIN pg_stat_activity s USING (pid)
WHERE NOT l.granted AND s.leader_pid = $parallel->{pid} AND s.pid <> s.leader_pid
SQL
	ok(!act($alter, 'LOCK TABLE c'), 'a table that only they read');
	compare('workers');
	is( waits($parallel, 'blocked_by, root_pid, depth'),
		"{$holder->{pid}}|$holder->{pid}|1",
		'they wait as their leader');
	is( waits($alter, 'blocked_by, root_pid, depth'),
		"{$parallel->{pid}}|$holder->{pid}|2",
		'and are in the way as their leader');
	end_scene();
}

# workers that wait for different things
{
	my ($one, $two, $parallel) = map { new_actor() } 1 .. 3;

	act($one, 'LOCK TABLE a');
	act($two, 'LOCK TABLE b');
	ok( !act(
			$parallel, "$parallel_settings; SELECT count(*) FROM ("
			  . "SELECT id FROM big WHERE id < 0 OR reads('a', 'a') > 0 UNION ALL "
			  . "SELECT id FROM big WHERE id < 0 OR reads('b', 'b') > 0) s"),
		'a worker waits');
	wait_in_session($control, <<SQL, 'each of them for another table', 2);
SELECT count(DISTINCT l.relation) FROM pg_locks l JOIN pg_stat_activity s USING (pid)
WHERE NOT l.granted AND s.leader_pid = $parallel->{pid} AND s.pid <> s.leader_pid
SQL
	compare('different workers');
	is( waits($parallel,
			'ARRAY(SELECT unnest(blocked_by) ORDER BY 1), depth'),
		'{' . join(',', sort { $a <=> $b } map { $_->{pid} } $one, $two) . '}|1',
		'their leader waits for all that they wait for');
	end_scene();
}

# which way to go: to one who does not wait, and to a holder
{
	my ($far, $waiting, $idle, $first, $second) = map { new_actor() } 1 .. 5;

	act($far, 'SELECT pg_advisory_xact_lock(1)');
	act($_, 'LOCK TABLE a IN SHARE MODE') for $waiting, $idle;
	act($waiting, 'SELECT pg_advisory_xact_lock(1)');
	act($first, 'LOCK TABLE a IN ROW EXCLUSIVE MODE');
	act($second, 'LOCK TABLE a IN EXCLUSIVE MODE');
	compare('ways');
	is(waits($waiting, 'root_pid, depth'), "$far->{pid}|1", 'a holder waits');
	is(waits($_, 'root_pid, depth, cardinality(blocked_by)'),
		"$idle->{pid}|1|" . ($_ == $first ? 2 : 3), 'another one does not')
	  for $first, $second;
	end_scene();
}

# one who holds a lock and wants more of it is not in his own way
{
	my ($far, $more, $other) = map { new_actor() } 1 .. 3;

	act($far, 'SELECT pg_advisory_xact_lock(1)');
	act($_, 'LOCK TABLE a IN SHARE MODE') for $more, $other;
	act($more, 'LOCK TABLE a');
	act($other, 'SELECT pg_advisory_xact_lock(1)');
	compare('more');
	is( waits($more, 'blocked_by, root_pid, depth, in_cycle'),
		"{$other->{pid}}|$far->{pid}|2|f",
		'he waits for the other holder');
	end_scene();
}

# a prepared transaction
{
	my ($first, $second, $waiter) = map { new_actor() } 1 .. 3;

	act($first, 'LOCK TABLE a IN SHARE MODE');
	act($first, "PREPARE TRANSACTION 'forgotten'");
	act($second, 'LOCK TABLE a IN SHARE MODE');
	act($second, "PREPARE TRANSACTION 'forgotten, too'");
	ok(!act($waiter, 'UPDATE a SET v = 1'), 'somebody waits');
	compare('prepared');
	is( waits($waiter, <<SQL),
blocked_by, root_pid, root_state, root_usename = current_user,
root_application_name IS NULL, root_query IS NULL, root_datname, depth,
(SELECT gid FROM pg_prepared_xacts WHERE transaction = root_xid) LIKE 'forgotten%'
SQL
		'{0}|0|prepared transaction|t|t|t|postgres|1|t',
		'for a prepared transaction');
	wait_in_session($control,
		"SELECT count(*) FROM infra_monitor.lock_blame WHERE state = 'prepared transaction' AND usename = current_user AND application_name IS NULL AND queryid IS NULL AND blocked_time > 0",
		'which is blamed', 1);
	end_scene();
}

# a deadlock, and one who waits for it
{
	my @ring = map { new_actor() } 1 .. 3;
	my $outside = new_actor();

	act($ring[$_], "SELECT pg_advisory_xact_lock($_)") for 0 .. 2;
	act($ring[$_], "SELECT pg_advisory_xact_lock(($_ + 1) % 3)") for 0 .. 2;
	act($outside, 'SELECT pg_advisory_xact_lock(1)');
	compare('deadlock');

	my $root = min(map { $_->{pid} } @ring);
	for my $i (0 .. 2)
	{
		my $depth = 0;

		$depth++ until $ring[ ($i + $depth) % 3 ]->{pid} == $root;
		is( waits($ring[$i], 'blocked_by, root_pid, depth, in_cycle'),
			"{$ring[($i + 1) % 3]->{pid}}|$root|$depth|t",
			"process $i of the deadlock");
	}
	is( waits($outside, 'root_pid, in_cycle'),
		"$root|f", 'one who waits for it is not part of it');
	is( ask($control,
			"SELECT DISTINCT root_state FROM infra_monitor.lock_waits"),
		'active', 'all are active');
	end_scene();
}

wait_in_session($control, 'SELECT count(*) FROM infra_monitor.lock_waits',
	'nobody waits any more', 0);
is(log_count($node, qr/(ERROR|FATAL|PANIC):.*infra_monitor/, $log_start),
	0, 'nothing went wrong in the sampler');

close_sessions($control);
$node->stop;
done_testing();
