# What the server has little of, or has to itself: settings at and beyond their
# ends (S3, S4), the horizon of vacuum (S7), memory of a process (S9), and rest
# (W13).

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $node = new_server('resources', conf => <<'CONF');
autovacuum = off
log_min_messages = warning
infra_monitor.textfile = '/nonexistent/infra_monitor.prom'
CONF
my $right = slurp_file($node->data_dir . '/postgresql.conf');

# Gives the server that is down other settings, or with none its first ones.
sub configure
{
	my (@settings) = @_;

	unlink $node->data_dir . '/postgresql.conf';
	$node->append_conf('postgresql.conf', join "\n", $right, @settings);
	return;
}

# Nothing has happened that would not have happened without us.
sub nothing_crashed
{
	my ($row) = @_;

	return is(log_count($node, qr/PANIC|TRAP: |terminated by signal|terminating any other|XX000/),
		0, "$row: no process has crashed");
}

# Starts postgres where it does not come far, with no more memory than that, in
# kB.  Returns what it says.
sub start_in_vain
{
	my ($kilobytes, @options) = @_;
	my $said = '';

	IPC::Run::run(
		[   'sh', '-c', 'ulimit -v "$1"; shift; exec "$@"', 'sh', $kilobytes,
			$node->installed_command('postgres'), '-D', $node->data_dir, @options ],
		'>', \$said, '2>&1', IPC::Run::timeout(2 * $PostgreSQL::Test::Utils::timeout_default));
	return $said;
}

#
# S3: little shared memory for the server, much for us
#
my @small = ('max_connections = 20', 'shared_buffers = 128kB', 'autovacuum_max_workers = 1', 'max_wal_senders = 0');
my @huge = (
	'infra_monitor.max_statements = 1000000',
	'infra_monitor.slow_query_log_size = 100000',
	'infra_monitor.slow_query_text_size = 64kB');
my $HINT = qr/HINT: .*infra_monitor\.max_statements, infra_monitor\.slow_query_log_size or infra_monitor\.slow_query_text_size/;

configure(@small, @huge);
my $log = log_end($node) // 0;
SKIP:
{
	skip 'sanitizers need all addresses', 3 if $ENV{IMON_SANITIZERS};
	my $said = start_in_vain(4 * 1024 * 1024);
	like($said, qr/FATAL:  (could not map anonymous shared memory|shmat\(.*Cannot allocate memory)/, 'S3: what the system does not have is refused at start');
	like($said, qr/LOG:  infra_monitor takes 9\d\d\d MB of shared memory\n.*$HINT/, 'S3: and it says which settings to reduce');
	unlike($said, qr/PANIC|signal|ERROR/, 'S3: nothing else');
}

# What there is room for is there from the start: nothing can be missing later.
configure(@small, 'infra_monitor.max_statements = 100000', 'infra_monitor.slow_query_log_size = 1000',
	'infra_monitor.slow_query_text_size = 64kB');
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
wait_for_sample($node, 'S3: huge values that fit: samples');
is($node->safe_psql('postgres', 'SELECT count(*) > 0 FROM infra_monitor.statement_counts()'), 't', 'S3: and statements');
my $megabytes = $node->safe_psql('postgres', 'SELECT sum(bytes) / (1024 * 1024) FROM infra_monitor.shared_memory()');
SKIP:
{
	my ($pid) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	my ($resident) = -r "/proc/$pid/status" ? slurp_file("/proc/$pid/status") =~ /^RssShmem:\s+(\d+) kB/m : ();

	skip 'no /proc', 1 unless defined $resident;
	cmp_ok($resident, '>=', 1024 * int($megabytes), "S3: $resident kB were written to: all @{[int $megabytes]} MB of ours");
}
is($node->safe_psql('postgres', 'SHOW shared_buffers'), '128kB', 'S3: PostgreSQL has little');
nothing_crashed('S3');
$node->stop;

#
# S4: each setting of ours, whatever there is: at its ends, beyond them, and with
# nonsense.
#
configure();
$node->start;
my $session = open_session($node);
my @settings = map { [ split /\|/, $_, -1 ] } split /\n/, ask($session, <<'SQL');
SELECT name, vartype, context, min_val, max_val, boot_val, array_to_string(enumvals, ' ')
FROM pg_settings WHERE name LIKE 'infra\_monitor.%' ORDER BY name
SQL
cmp_ok(scalar @settings, '>=', 23, 'S4: settings');
my $long = 'x' x 5000;
my (%beyond, @postmaster);
foreach my $setting (@settings)
{
	my ($name, $type, $context, $min, $max, $default, $values) = @$setting;
	my @wrong = $type eq 'string' ? () : ('', 'perhaps', '1 pint', '1e999', 'NaN', '-99999999999999999999', $long);
	my @right = $type eq 'integer' ? ($min, $max, $default) : $type eq 'enum' ? split(/ /, $values) : ($default);

	if ($type eq 'integer')
	{
		$beyond{$name} = [ $min - 1, $max + 1 ];
		push @wrong, $min - 1, $max + 1;
	}
	push @postmaster, [ $name, $min, $max ] if $context eq 'postmaster';
	foreach my $value (@wrong)
	{
		my $answer = try_ask($session, "ALTER SYSTEM SET $name = '$value'");

		ok(!defined $answer && ($session->{message} // '') =~ /"\Q$name\E"/ && $session->{sqlstate} eq '22023',
			'S4: refused: ' . substr("$name = '$value'", 0, 60))
		  or diag $session->{message} // 'accepted';
	}
	is(try_ask($session, "ALTER SYSTEM SET $name = '$_'"), '', "S4: accepted: $name = '$_'") foreach @right;

	# what is no text, no path, or too long: taken, or refused by name
	foreach my $value ($type ne 'string' ? () : ('', "\x{1}\t\x{7f}", '../..', '/', '/nonexistent/.prom', '%s%n', "''; DROP", $long))
	{
		try_ask($session, "ALTER SYSTEM SET $name = '$value'");
		ok(!$session->{sqlstate} || $session->{sqlstate} eq '22023' && $session->{message} =~ /"\Q$name\E"/,
			'S4: taken, or refused by name: ' . substr("$name = '$value'", 0, 60))
		  or diag $session->{message};
		ask($session, 'SELECT pg_reload_conf()');
	}
	ask($session, "ALTER SYSTEM RESET $name");
}
ask($session, 'SELECT pg_reload_conf()');
$node->safe_psql('postgres', 'CREATE EXTENSION IF NOT EXISTS infra_monitor CASCADE');
wait_for_sample($node, 'S4: and samples go on');
close_sessions($session);
$node->stop;

# At start: the server says which one, and goes on with the default.
foreach my $end (0, 1)
{
	configure(map { "$_ = $beyond{$_}[$end]" } sort keys %beyond);
	$log = log_end($node);
	$node->start;
	cmp_ok(log_count($node, qr/WARNING: .*"\Q$_\E"/, $log), '>', 0, "S4: at start: $_ = $beyond{$_}[$end]") foreach sort keys %beyond;
	is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_settings WHERE name LIKE 'infra\_monitor.%' AND vartype = 'integer' AND setting <> boot_val}),
		0, 'S4: it has the defaults');
	$node->stop;
}

# Those that take memory, which 006 leaves out: each at its upper end, one at a time.
is(join(' ', map { $_->[0] } @postmaster),
	'infra_monitor.max_statements infra_monitor.slow_query_log_size infra_monitor.slow_query_text_size', 'S4: what takes memory');
my ($available) = -r '/proc/meminfo' ? slurp_file('/proc/meminfo') =~ /^MemAvailable:\s+(\d+) kB/m : ();
foreach my $case (map { "$_->[0] = $_->[2]" } @postmaster)
{
	SKIP:
	{
		skip 'not enough memory here', 2 if $case =~ /max_statements = 1000000/ && ($available // 0) < 4 * 1024 * 1024;
		configure($case);
		$node->start;
		wait_for_sample($node, "S4: $case: samples");
		is($node->safe_psql('postgres', q{SELECT count(*) > 0 FROM infra_monitor.statement_counts(); SELECT count(*) >= 0 FROM infra_monitor.slow_query_log}),
			"t\nt", 'S4: statements and slow queries can be read');
		$node->stop;
	}
}
nothing_crashed('S4');

#
# S7: how old what we hold back vacuum with becomes.  Everything is done often; one
# check sleeps, a visited database has a table that somebody has locked, and so
# have all of ours for a while.
#
configure('infra_monitor.statement_interval = 1s', 'infra_monitor.database_check_interval = 1s', 'infra_monitor.activity_interval = 100ms');
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE visited');
$session = open_session($node);

# Looks for so long as the condition is false; returns how old the oldest was, in s,
# who had it, and how many were seen.
my $PROMISED = 5;
my $LIMIT = 3 * $PROMISED;

sub oldest_while
{
	my ($name, $condition) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my ($oldest, $who, $seen, $done) = (0, 'nobody', 0, 'f');

	while ($done ne 't' && time < $deadline)
	{
		foreach (split /\n/, ask($session, <<'SQL'))
SELECT extract(epoch FROM clock_timestamp() - xact_start), backend_type || ' ' || query
FROM pg_stat_activity
WHERE backend_type LIKE 'infra\_monitor%' AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL OR xact_start IS NOT NULL)
SQL
		{
			my ($age, $of) = split /\|/, $_, 2;

			$seen++;
			($oldest, $who) = ($age, $of) if ($age || 0) > $oldest;
		}
		$done = ask($session, $condition);
		usleep(20_000);
	}
	is($done, 't', "S7: $name: seen to the end");
	cmp_ok($oldest, '<', $LIMIT, sprintf('S7: %s: the oldest was %.2f s old: %s', $name, $oldest, $who));
	return $seen;
}

# Have these tasks taken time since then?
sub done_since
{
	my ($start, @tasks) = @_;

	return "SELECT bool_and(c.seconds > (j->>c.task)::float8) FROM infra_monitor.sampler_costs() c, (SELECT '$start'::jsonb AS j) s"
	  . ' WHERE c.task = ANY (' . "'{" . join(',', @tasks) . "}')";
}

my $costs = 'SELECT jsonb_object_agg(task, seconds) FROM infra_monitor.sampler_costs()';
my @every_second = qw(health sample waits statements databases series storage files);
wait_for_sample($node, 'S7: samples');
my $seen = 0;
foreach my $round (1 .. 2)
{
	# what is done hourly is also done by one that has just begun
	end_sampler($session) if $round > 1;
	$seen += oldest_while("round $round", done_since(ask($session, $costs), @every_second, $round > 1 ? qw(partitions readiness) : ()));
}

cmp_ok($seen, '>', 0, "S7: $seen times a transaction of ours was seen");

my $definition = ask($session, q{SELECT pg_get_functiondef('infra_monitor.check_lock_waits()'::regprocedure)});
ask($session, <<'SQL');
CREATE OR REPLACE FUNCTION infra_monitor.check_lock_waits(OUT value float8, OUT unit text, OUT message text)
LANGUAGE sql AS 'SELECT 0, $$$$, $$slept$$ FROM pg_sleep(600)'
SQL
my $start = ask($session, $costs);
oldest_while('a check that sleeps', done_since($start, @every_second)
	  . q{ AND (SELECT count(*) > 0 FROM infra_monitor.health_cache(), jsonb_array_elements(document->'checks') c WHERE c->>'name' = 'lock_waits' AND c->>'status' = 'unknown')});
ask($session, $definition);

my $visited = open_session($node, database => 'visited');
ask($visited, 'BEGIN');
ask($visited, 'LOCK TABLE pg_catalog.pg_sequence IN ACCESS EXCLUSIVE MODE');
my $waits = q{FROM pg_stat_activity WHERE backend_type = 'infra_monitor database check' AND wait_event_type = 'Lock'};
wait_in_session($session, "SELECT count(*) > 0 $waits", 'S7: a visitor waits');
my $visitor = ask($session, "SELECT coalesce(max(pid), 0) $waits");
oldest_while('a database that is locked', "SELECT count(*) = 0 $waits AND pid = $visitor");
close_sessions($visited);

my $locker = open_session($node);
ask($locker, 'BEGIN');
ask($locker, q{DO $$ DECLARE r regclass; BEGIN
	FOR r IN SELECT oid FROM pg_class WHERE relnamespace = 'infra_monitor'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition LOOP
		EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', r);
	END LOOP;
END $$});
oldest_while('tables that are locked', q{SELECT last_error ~ 'lock timeout' FROM infra_monitor.sampler_state()});
close_sessions($locker);
wait_for_sample($node, 'S7: samples when that is over');

# It holds none while it has nothing to do.
ask($session, "ALTER SYSTEM SET infra_monitor.$_ = '1h'") foreach qw(sample_interval health_interval statement_interval database_check_interval);
ask($session, 'SELECT pg_reload_conf()');
my $idle = q{SELECT count(*) FILTER (WHERE backend_xmin IS NOT NULL OR backend_xid IS NOT NULL OR xact_start IS NOT NULL), count(*)
	FROM pg_stat_activity WHERE backend_type LIKE 'infra\_monitor%'};
wait_in_session($session, "SELECT state = 'running' AND next_tick > now() + interval '10 minutes' FROM infra_monitor.sampler_status", 'S7: nothing is due');
my $ends = time + $PostgreSQL::Test::Utils::timeout_default;
my $quiet = 0;
while ($quiet < 50 && time < $ends)
{
	$quiet = ask($session, $idle) eq '0|1' ? $quiet + 1 : 0;
	usleep(20_000);
}
ask($session, 'ALTER SYSTEM RESET ALL');
cmp_ok($quiet, '>=', 50, 'S7: an idle sampler holds no snapshot, each time it is looked at');
nothing_crashed('S7');
close_sessions($session);
$node->stop;

#
# S9: a limit of the system.  What the sampler may take, it may not exceed: its
# tasks fail, nothing else does, and it goes on when it may.  That of data, not of
# all addresses: a stack that cannot grow ends any process.
#
SKIP:
{
	skip 'no prlimit', 1 unless $^O eq 'linux' && system('prlimit --version >/dev/null 2>&1') == 0;
	skip 'sanitizers need more data than that', 1 if $ENV{IMON_SANITIZERS};
	configure();
	$node->start;
	$session = open_session($node);
	wait_for_sample($node, 'S9: samples');
	my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	my $data = sub { my ($pid) = @_; return 1024 * (slurp_file("/proc/$pid/status") =~ /^VmData:\s+(\d+) kB/m)[0] };
	my $query = q{SELECT count(*) FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace};
	my $before = ask($session, $query);

	# the next process may have little more than this one
	run_log([ 'prlimit', '--pid', $postmaster, '--data=' . ($data->($postmaster) + 4 * 1024 * 1024) . ':' ]);
	$log = log_end($node);
	end_sampler($session);
	wait_in_session($session, q{SELECT last_error ~ 'out of memory' FROM infra_monitor.sampler_status}, 'S9: a task has no memory');
	my $pid = ask($session, 'SELECT pid FROM infra_monitor.sampler_status');
	is(ask($session, $query), $before, 'S9: a session is as it was');
	is(log_count($node, qr/infra_monitor sampler.*(?:signal|exit code [^1])/, $log), 0, 'S9: no process has crashed');

	run_log([ 'prlimit', '--pid', $_, '--data=unlimited:' ]) foreach $postmaster, $pid || ();
	wait_for_sample($node, 'S9: it goes on when there is memory');
	is(ask($session, q{SELECT state FROM infra_monitor.sampler_status}), 'running', 'S9: it is well');
	nothing_crashed('S9');
	close_sessions($session);
	$node->stop;
}

#
# W13: turned off, and nobody there.  In another database than the one that looks
# there are no transactions; the process takes no time.
#
configure("infra_monitor.database = 'home'", 'infra_monitor.enabled = on', 'infra_monitor.statement_interval = 1s');
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE home');
$node->safe_psql('home', 'CREATE EXTENSION infra_monitor CASCADE');
$session = open_session($node);
my $transactions = q{SELECT coalesce(sum(xact_commit + xact_rollback), 0) FROM pg_stat_database WHERE datname IS DISTINCT FROM current_database()};
my $calls = q{SELECT coalesce(sum(calls), 0) FROM public.pg_stat_statements WHERE dbid <> (SELECT oid FROM pg_database WHERE datname = current_database())};
my $at_first = ask($session, $transactions);
wait_in_session($session, "SELECT ($transactions) > $at_first + 3", 'W13: on: transactions can be seen');

ask($session, 'ALTER SYSTEM SET infra_monitor.enabled = off');
ask($session, 'SELECT pg_reload_conf()');
my $status = q{SELECT state, pid FROM infra_monitor.sampler_status};
my $connected = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'infra\_monitor%'};
wait_in_session($session, q{SELECT state = 'disabled' AND pid IS NOT NULL FROM infra_monitor.sampler_status}, 'W13: off: there is a sampler');
wait_in_session($session, $connected, 'W13: off: in no database', 0);
my $state = ask($session, $status);
my ($worker) = $state =~ /(\d+)$/;
my @before = (ask($session, $transactions), ask($session, $calls));
my @ticks = (processor_ticks($worker), time);
ask($session, 'SELECT pg_sleep(5)');
my @later = (processor_ticks($worker), time);
is_deeply([ ask($session, $transactions), ask($session, $calls) ], \@before, 'W13: off: no transaction and no statement in seconds');
is(ask($session, $status), $state, 'W13: off: it is the same process');
is(ask($session, $connected), 0, 'W13: off: still in no database');
SKIP:
{
	skip 'no /proc', 1 unless defined $later[0];
	my $share = ($later[0] - $ticks[0]) / 100 / ($later[1] - $ticks[1]);

	cmp_ok($share, '<', 0.02, sprintf('W13: off: %.1f %% of a processor', 100 * $share));
}
nothing_crashed('W13');
close_sessions($session);
$node->stop;
done_testing();

# The processor time of a process, in hundredths of a second.
sub processor_ticks
{
	my ($pid) = @_;

	return undef unless -r "/proc/$pid/stat";
	my @fields = split / /, slurp_file("/proc/$pid/stat") =~ s/^.*\) //sr;
	return $fields[11] + $fields[12];
}
