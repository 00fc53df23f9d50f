# Load: many clients, and everything that can be done to them, to the sampler and
# to the configuration at the same time.  Afterwards nothing is lost beyond what is
# counted, no process has grown, nobody has waited for our locks, and the server
# log has nothing in it but what was provoked.
#
# IMON_LONG_TESTS=1 in the environment: 64 clients, 15 minutes, or as many as
# IMON_LOAD_MINUTES says; without it as short as shows anything.  IMON_LOAD_SEED
# repeats the random choices of a run, which prints its own.

use strict;
use warnings;

use Cwd qw(abs_path);
use InfraMonitor;
use IO::Select;
use IPC::Run;
use List::Util qw(max min sum0);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

use constant LONG => $ENV{IMON_LONG_TESTS} ? 1 : 0;
use constant SECONDS => 60 * ($ENV{IMON_LOAD_MINUTES} // (LONG ? 15 : 0.4));
use constant ANYTHING_SECONDS => LONG ? min(120, SECONDS / 4) : 6;
use constant SLOW => 1;    # second above which a query is slow
use constant GROWTH => 256;    # kB that a process may grow by in the second half

# Clients of each kind.  Where other tests run at the same time, those of pgbench
# do not take all of the processor.
my %clients = LONG
  ? (bulk => 24, churn => 12, ddl => 4, connect => 8, random => 16)
  : (bulk => 4, churn => 2, ddl => 1, connect => 1, random => 6);
my %rate = LONG ? (connect => 40) : (bulk => 100, churn => 40, ddl => 10, connect => 10);

allow_seconds(3 * (SECONDS + ANYTHING_SECONDS) + (LONG ? 1200 : 0));
local $SIG{PIPE} = 'IGNORE';
my $seed = $ENV{IMON_LOAD_SEED} // time ^ $$;
srand $seed;
diag "IMON_LOAD_SEED=$seed, " . sum0(values %clients) . ' clients, ' . SECONDS . ' s' if LONG;
note "IMON_LOAD_SEED=$seed";

my $directory = abs_path(PostgreSQL::Test::Utils::tempdir);
my $node = new_server('load', conf => <<'CONF');
max_connections = 120
pg_stat_statements.max = 20000
infra_monitor.max_statements = 300
infra_monitor.slow_query_log_size = 64
infra_monitor.slow_query_threshold = -1
infra_monitor.statement_interval = 5s
deadlock_timeout = 100ms
max_parallel_workers_per_gather = 0
fsync = off
log_line_prefix = '%m [%p] %b %e %v '
log_connections = on
log_disconnections = on
log_statement = none
log_min_error_statement = panic
load.generation = 0
CONF
my $slow_ms = 1000 * SLOW;
$node->append_conf('postgresql.conf', 'log_min_duration_statement = ' . int($slow_ms / 3) . "\ninclude_if_exists = 'load.conf'\n");
unlink($node->data_dir . '/pg_hba.conf');
$node->append_conf('pg_hba.conf', "local all all trust\n");
$node->start;

# The history is in "postgres", where nobody is connected: sometimes it is copied.
$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
$node->safe_psql('postgres', "CREATE DATABASE bench; CREATE ROLE limited LOGIN CONNECTION LIMIT 0");
my $observer = open_session($node, database => 'bench');
ask($observer, $_) for split /\n/, <<'SQL';
SET client_min_messages = error
CREATE EXTENSION infra_monitor CASCADE
CREATE TABLE accounts (id int PRIMARY KEY, branch int, balance bigint)
INSERT INTO accounts SELECT i, i % 100, 0 FROM generate_series(1, 10000) i
CREATE INDEX ON accounts (branch)
CREATE FUNCTION work(n int) RETURNS bigint LANGUAGE plpgsql AS $$ DECLARE s bigint := 0; BEGIN FOR i IN 1 .. n LOOP BEGIN s := s + (SELECT sum(balance) FROM accounts WHERE branch = i); EXCEPTION WHEN division_by_zero THEN s := 0; END; END LOOP; RETURN s; END $$
VACUUM ANALYZE accounts
SQL
my $postmaster = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];

#
# Settings
#
my %strings = (
	system_root => [ '', '/nonexistent', $directory ],
	textfile => [ '', "$directory/load.prom", '/nonexistent/load.prom' ],
	snapshot_directory => [ 'pg_stat_tmp', '', $directory, '/nonexistent' ],
	database => [ 'postgres', 'bench', 'nowhere' ]);
my %wrong_strings = (
	system_root => [ 'relative' ],
	textfile => [ 'relative.prom', '/no/suffix', '/.prom' ],
	snapshot_directory => [ 'x' x 2000 ],
	database => [ '', 'x' x 64 ]);

# All settings that a reload can change, as rows of pg_settings.
my @settings = map {
	my %s;

	@s{qw(name context vartype min max enum boot)} = split /\|/, $_, -1;
	\%s
} split /\n/, ask($observer, <<'SQL');
SELECT substr(name, 15), context, vartype, min_val, max_val, array_to_string(enumvals, ','), boot_val
FROM pg_settings WHERE name LIKE 'infra\_monitor.%' AND context IN ('sighup', 'superuser') ORDER BY name
SQL
cmp_ok(scalar @settings, '>=', 20, scalar(@settings) . ' settings can be changed by a reload');
is(join(',', grep { !exists $strings{$_} } map { $_->{name} } grep { $_->{vartype} eq 'string' } @settings),
	'', 'values of all strings are known here');

# One of a list.
sub any
{
	return $_[ rand @_ ];
}

sub valid_value
{
	my ($s) = @_;

	return any('on', 'off') if $s->{vartype} eq 'bool';
	return any(split /,/, $s->{enum}) if $s->{vartype} eq 'enum';
	return any(@{ $strings{ $s->{name} } }) if $s->{vartype} eq 'string';

	# the ends, and all magnitudes; 0 may turn something off, behind it is a gap
	my $least = max($s->{min}, $s->{name} eq 'activity_interval' ? 100 : 1);
	return any($s->{min}, $s->{max}, $s->{boot},
		map { int($least * ($s->{max} / $least)**rand) } 1 .. 3);
}

sub invalid_value
{
	my ($s) = @_;

	return any('perhaps', 2) if $s->{vartype} eq 'bool';
	return any('', 'all of them') if $s->{vartype} eq 'enum';
	return any(@{ $wrong_strings{ $s->{name} } }) if $s->{vartype} eq 'string';
	return any($s->{min} - 1, $s->{max} + 1, 'many', '1 parsec', '1e300', '', 'NaN');
}

# Writes a file of settings and has the server read it.
my $generation = 0;
sub reload
{
	my (%values) = @_;
	my $text = join '', map { "infra_monitor.$_ = '$values{$_}'\n" } sort keys %values;

	$generation++;
	replace_file($node->data_dir . '/load.conf', "$text" . "load.generation = $generation\n");
	ask($observer, 'SELECT pg_reload_conf()');
	return;
}

# The same, and the session of the observer has it.
sub reload_and_wait
{
	reload(@_);
	wait_in_session($observer, 'SHOW load.generation', 'the configuration is read', $generation);
	return;
}

# What the counts must be compared with stays as it is while they are.
my %exact = (slow_query_threshold => $slow_ms);
my %fixed = map { ($_ => 1) } qw(enabled track database sample_interval slow_query_threshold);

# What makes the sampler need more memory, so that growth is none.
my %large = map { ($_ => 1) } qw(top_statements);

#
# The server log tells the truth about failures, and about connections
#
my $log_offset = 0;
my %said;    # "process level sqlstate" => lines
my %first;
my $long_statements = 0;
my $late_cancels = 0;    # when the transaction had ended
my ($opened, $closed) = (0, 0);

sub read_log
{
	open my $file, '<', $node->logfile or die $!;
	seek($file, $log_offset, 0);
	while (my $line = <$file>)
	{
		last unless $line =~ /\n\z/;
		$log_offset += length $line;
		next unless $line =~ m{^\S+ \S+ \S+ \[\d+\] (.+?) ([0-9A-Z]{5}) (?:\d+/(\d+))? ([A-Z]+):  (.*)};
		my ($process, $state, $transaction, $level, $message) = ($1, $2, $3 // 0, $4, $5);

		if ($level eq 'LOG')
		{
			next unless $process eq 'client backend';
			$opened++ if $message =~ /^connection authorized/;
			$closed++ if $message =~ /^disconnection/;
			$long_statements++ if $message =~ /^duration/;
		}
		elsif ($level =~ /^(WARNING|ERROR|FATAL|PANIC)$/)
		{
			$process =~ s/^.*sampler.*$/sampler/;
			$said{"$process $level $state"}++;
			$first{"$process $level $state"} //= $message;
			$late_cancels++ if "$process $level $state" eq 'client backend ERROR 57014' && $transaction == 0;
		}
	}
	return;
}

# How many lines there are of client backends.
sub said
{
	my ($pattern) = @_;

	return sum0(map { $said{$_} } grep { /^client backend $pattern$/ } keys %said);
}

#
# Sessions that do something random, and are cancelled and terminated
#
my (@random, %refused, %answers);
my ($statements, $sleeps, $certainly_terminated, $sessions_opened) = (0, 0, 0, 0);

sub random_statement
{
	my $id = int rand 10;

	return any(
		"SELECT count(*) FROM accounts WHERE branch = $id",
		"SELECT * FROM accounts WHERE id = $id",
		"UPDATE accounts SET balance = balance + 1 WHERE id = $id",
		"SELECT work(20)",
		"SELECT pg_sleep(0.05)",
		'SELECT /* slow */ pg_sleep(' . SLOW . '.05)',
		'SELECT /* slow */ pg_sleep(' . SLOW . '.05)',
		'SELECT /* endless */ pg_sleep(600)',
		'SELECT 1 / (pg_backend_pid() - pg_backend_pid())',
		'SELECT no_such_column',
		'this is no statement',
		"SET lock_timeout = 30; UPDATE accounts SET balance = 1 WHERE id = $id; SET lock_timeout = 0",
		"SET LOCAL statement_timeout = 20; SELECT pg_sleep(1)",
		"BEGIN; UPDATE accounts SET balance = 2 WHERE id = $id; UPDATE accounts SET balance = 3 WHERE id = " . int(rand 10) . '; COMMIT',
		"BEGIN; SAVEPOINT s; SELECT count(*) FROM accounts; ROLLBACK TO s; COMMIT",
		"DO \$\$ BEGIN PERFORM work(5); EXECUTE 'SELECT ' || '1' || repeat(', 1', " . int(rand 1000) . "); END \$\$",
		'SELECT 1' . ', 1' x rand 1000,    # distinct ones
		"SET infra_monitor.slow_query_plan = " . any('on', 'off'),
		"SET infra_monitor.repeated_query_threshold = " . any(0, 2, 100000, 100001, -1),
		"CREATE TEMP TABLE x AS SELECT * FROM accounts LIMIT 100; DROP TABLE x",
		"COPY (SELECT * FROM accounts LIMIT 10) TO '/dev/null'");
}

# Lets a session execute its next statement; a transaction that has failed ends first.
sub send_next
{
	my ($session) = @_;

	if ($session->{failed})
	{
		$session->{statement} = 'ROLLBACK';
	}
	else
	{
		$session->{statement} = random_statement();
	}
	delete @$session{qw(failed cancelled)};
	send_query($session, $session->{statement});
	return;
}

sub open_random
{
	my $session = open_session($node, database => 'bench', application_name => 'random');

	$sessions_opened++;
	$session->{pid} = ask($session, 'SELECT pg_backend_pid()');
	send_next($session);
	return $session;
}

# Takes note of an answer.  Returns whether the session is still there.
sub take_answer
{
	my ($session) = @_;
	my $answer = answer_of($session);
	my $state = $session->{sqlstate};

	$statements++;
	$answers{ $state // 'completed' }++;
	$sleeps++ if defined $answer && $session->{statement} =~ m{/\* slow};
	return 0 if defined $state && $state eq '57P01';
	$session->{failed} = 1 if defined $state && $session->{statement} =~ /^(BEGIN|ROLLBACK)/;
	return 1;
}

#
# Others
#
my ($creator, $reader, @reading, %creator_says);
my ($databases, $copies) = (0, 0);

# Databases come and go; some are copies of that of the history.
sub go_on_with_databases
{
	my ($with_home) = @_;

	if ($creator->{sent})
	{
		return unless has_answered($creator);
		$creator_says{ defined answer_of($creator) ? 'completed' : $creator->{sqlstate} }++;
		$databases++ if $creator->{sent} =~ /^CREATE/;
		$copies++ if $creator->{sent} =~ /^CREATE.*postgres/;
	}
	my $number = int rand 3;
	$creator->{sent} =
	    ($creator->{sent} // '') =~ /^CREATE DATABASE (\w+)/ ? "DROP DATABASE IF EXISTS $1 WITH (FORCE)"
	  : $with_home && rand() < 0.3 ? "CREATE DATABASE copy$number TEMPLATE postgres"
	  : "CREATE DATABASE new$number TEMPLATE " . any('template0', 'template1');
	send_query($creator, $creator->{sent});
	return;
}

# Everything that can be read is read.
my %reader_says;
sub go_on_reading
{
	if ($reader->{sent})
	{
		return unless has_answered($reader);
		$reader_says{"$reader->{sqlstate} $reader->{sent}"}++ unless defined answer_of($reader);
	}
	$reader->{sent} = any(@reading);
	send_query($reader, $reader->{sent});
	return;
}

# Connections that are refused.
sub be_refused
{
	my %case = (
		role_limit => { user => 'limited', database => 'bench' },
		authentication => { user => 'nobody' . int(rand 3), database => 'bench' },
		other => { database => 'nowhere' });
	my $reason = any(sort keys %case);
	my $session = begin_session($node, %{ $case{$reason} });

	die "$reason: not refused" if await_session($session) ne 'refused';
	$refused{$reason}++;
	return;
}

# Waits of our locks, as a share of what sessions do.
my ($looks, $active, $ours, $any_lwlock) = (0, 0, 0, 0);
my %lwlocks;
sub look_at_waits
{
	foreach (split /\n/, ask($observer, <<'SQL'))
SELECT count(*), CASE WHEN wait_event_type = 'LWLock' THEN wait_event END FROM pg_stat_activity
WHERE state = 'active' AND backend_type = 'client backend' AND pid <> pg_backend_pid() GROUP BY 2
SQL
	{
		my ($n, $event) = split /\|/, $_, -1;

		$active += $n;
		$lwlocks{$event} += $n if $event ne '';
		$any_lwlock += $n if $event ne '';
		$ours += $n if $event =~ /^infra_monitor/;
	}
	$looks++;
	return;
}

# Private memory of processes, kB, as it was at some moments.
my (%memory, %watched);
sub look_at_memory
{
	foreach my $name (sort keys %watched)
	{
		my $pid = $watched{$name};

		next unless open my $file, '<', "/proc/$pid/status";
		my ($kb) = map { /^RssAnon:\s+(\d+) kB/ ? $1 : () } <$file>;
		push @{ $memory{$name} }, [ time, $kb ] if defined $kb;
	}
	return;
}

# Has the sampler write into the log what it has allocated.
sub log_contexts
{
	ask($observer, 'SELECT pg_log_backend_memory_contexts(pid) FROM infra_monitor.sampler_state()');
	return;
}

# Slope and number of these points, by least squares, per second.
sub slope
{
	my @points = @_;
	my $n = @points or return (0, 0);
	my ($x0, $y0) = (sum0(map { $_->[0] } @points) / $n, sum0(map { $_->[1] } @points) / $n);
	my $var = sum0(map { ($_->[0] - $x0)**2 } @points);

	return (($var > 0 ? sum0(map { ($_->[0] - $x0) * ($_->[1] - $y0) } @points) / $var : 0), $n);
}

#
# pgbench
#
sub script
{
	my ($name, @lines) = @_;

	append_to_file("$directory/$name.sql", join("\n", @lines) . "\n");
	return ('-f', "$directory/$name.sql");
}

my @id = '\set id random(1, 10000)';
my %scripts = (
	bulk => [
		'-M', 'prepared',
		script('select', @id, 'SELECT balance FROM accounts WHERE id = :id;'),
		script('update', @id, 'BEGIN;', 'UPDATE accounts SET balance = balance + 1 WHERE id = :id;', 'SELECT count(*) FROM accounts WHERE branch = :id % 100;', 'END;')
	],
	churn => [
		'-M', 'extended',
		script('savepoint', @id, 'BEGIN;', 'SAVEPOINT s;', 'SELECT balance FROM accounts WHERE id = :id;', 'ROLLBACK TO s;', 'SELECT 1, 2;', 'COMMIT;'),
		script('function', 'SELECT work(10);')
	],
	ddl => [
		'-M', 'simple',
		script('table',
			'\set n random(1, 50)', 'SET client_min_messages = error;',
			'DROP TABLE IF EXISTS t_:client_id;', 'CREATE TABLE t_:client_id (i int, c_:n text);',
			'INSERT INTO t_:client_id SELECT generate_series(1, 100);', 'CREATE INDEX ON t_:client_id (i);',
			'ALTER TABLE t_:client_id ADD COLUMN d_:n int DEFAULT 1;', 'ANALYZE t_:client_id;',
			'TRUNCATE t_:client_id;')
	],
	connect => [ '-C', script('once', 'SELECT 1;') ]);

my %running;
sub start_pgbench
{
	my ($seconds) = @_;

	local %ENV = $node->_get_env();
	foreach my $kind (sort keys %scripts)
	{
		my %run = (said => '', errors => '');

		$run{harness} = IPC::Run::start(
			[   'pgbench', '-n', '-T', int($seconds + 0.5), '-c', $clients{$kind}, '-j', min($clients{$kind}, 2),
				$rate{$kind} ? ('-R', $rate{$kind}) : (), @{ $scripts{$kind} }, "dbname=bench application_name=$kind" ],
			'>' => \$run{said}, '2>' => \$run{errors});
		$running{$kind} = \%run;
	}
	return;
}

my $transactions = 0;
sub finish_pgbench
{
	foreach my $kind (sort keys %running)
	{
		my $run = $running{$kind};

		ok($run->{harness}->finish, "pgbench: $kind: all clients ended well") or diag $run->{errors};
		$transactions += $1 if $run->{said} =~ /actually processed: (\d+)/;
	}
	%running = ();
	return;
}

#
# Everything at the same time
#
my ($kills, $reloads, $wrong_reloads, $cancels, $terminations) = (0, 0, 0, 0, 0);
my $killed = 0;                # the sampler that was ended last

sub cancel_one
{
	my $victim = any(grep { $_->{statement} ne 'ROLLBACK' } @random) // return;

	$victim->{cancelled} = 1;
	$cancels++ if ask($observer, "SELECT pg_cancel_backend($victim->{pid})") eq 't';
	return;
}

# Ends one.  Did it certainly execute a statement, one that does not end by itself?
sub terminate_one
{
	my $victim = any(@random);
	my ($sleeps, $ends) = split /\|/, ask($observer, <<"SQL");
SELECT wait_event = 'PgSleep' AND query LIKE '%/* endless */%', pg_terminate_backend(pid)
FROM pg_stat_activity WHERE pid = $victim->{pid}
SQL

	return unless defined $ends && $ends eq 't';
	$terminations++;
	$certainly_terminated++ if $sleeps eq 't' && !$victim->{cancelled};
	return;
}

# A file with random values, some of which may be wrong.
sub reload_random
{
	my ($settings, $fixed) = @_;
	my %values = %$fixed;
	my $wrong = 0;

	foreach my $s (@$settings)
	{
		next if rand() < 0.5;
		my $is_wrong = rand() < 0.1;

		$values{ $s->{name} } = $is_wrong ? invalid_value($s) : valid_value($s);
		$wrong ||= $is_wrong;
	}
	reload(%values);
	$reloads++;
	$wrong_reloads++ if $wrong;
	return;
}

# Things to do, each so often: name => [ seconds, code ].
sub load_for
{
	my ($seconds, $things) = @_;
	my $end = time + $seconds;
	my %due = map { ($_ => time + rand $things->{$_}[0]) } keys %$things;

	push @random, open_random() while @random < $clients{random};
	while (time < $end)
	{
		my $select = IO::Select->new(map { $_->{socket} } @random);
		my %ready = map { ($_ => 1) } $select->can_read(0.02);

		foreach my $session (@random)
		{
			next unless $ready{ $session->{socket} };
			if (take_answer($session))
			{
				send_next($session);
			}
			else
			{
				$session = open_random();
			}
		}
		foreach my $name (sort { $due{$a} <=> $due{$b} } keys %due)
		{
			next if $due{$name} > time;
			$things->{$name}[1]->();
			$due{$name} = time + $things->{$name}[0] * (0.5 + rand);
		}
	}
	return;
}

# The sampler is there and works, whatever was done to it.
sub sampler_works
{
	my ($name) = @_;

	wait_in_session($observer, q{SELECT state FROM infra_monitor.sampler_state()}, "$name: the sampler runs", 'running');
	my $ticks = ask($observer, 'SELECT ticks FROM infra_monitor.sampler_state()');
	return wait_in_session($observer, "SELECT ticks > $ticks + 1 FROM infra_monitor.sampler_state()", "$name: it takes samples");
}

# All of ours but the observer have gone.
sub close_all
{
	my ($name) = @_;
	my $pids = join ',', map { $_->{pid} } @random;

	# those that would not end by themselves
	ask($observer, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid IN ($pids) AND query LIKE '%endless%' AND state = 'active'");
	take_answer($_) || ($_->{gone} = 1) foreach @random;
	close_sessions(grep { !$_->{gone} } @random);
	foreach my $session ($creator, $reader)
	{
		answer_of($session) if $session->{sent};
		delete $session->{sent};
	}
	close_sessions($creator, $reader);
	@random = ();
	return wait_in_session($observer,
		q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()},
		"$name: all sessions have ended", 0);
}

sub open_others
{
	$creator = open_session($node, database => 'template1', application_name => 'creator');
	ask($creator, 'SET client_min_messages = error');
	$reader = open_session($node, database => 'bench', application_name => 'reader');
	ask($reader, 'SET client_min_messages = error');
	return;
}

# What slow executions have become.
my $ledger = <<'SQL';
SELECT infra_monitor.slow_queries_logged(), sum(drops) FROM infra_monitor.sampler_drops()
WHERE reason IN ('slow_queries', 'slow_queries_overwritten')
SQL

sub slow_queries_stored
{
	return sum0(map { $node->safe_psql($_, 'SELECT count(*) FROM infra_monitor.slow_query_samples') } 'postgres', 'bench');
}

# Waits until each slow execution is stored or counted as lost.
sub ledger_is_balanced
{
	my ($name) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my ($logged, $lost, $stored);

	do
	{
		usleep(100_000);
		$stored = slow_queries_stored();
		($logged, $lost) = split /\|/, ask($observer, $ledger);
	} until $logged == $stored + $lost || time > $deadline;
	is($logged, $stored + $lost, "$name: $logged slow executions: $stored stored and $lost counted as lost");
	return $logged;
}

#
# First all that leaves counts comparable
#
@reading = map { s/^\S+ //r } everything_to_read($node, 'bench');
cmp_ok(scalar @reading, '>', 50, 'there is much to read');
open_others();
reload_and_wait(%exact);
sampler_works('before');

# everything begins anew, in one statement, which both count when it has ended
ask($observer, q{SELECT infra_monitor.reset(), pg_stat_statements_reset()});
read_log();
%said = ();
($opened, $closed, $long_statements, $late_cancels, $sessions_opened, $statements) = (0, 0, 0, 0, 0, 0);
my ($ticks, $missed, $since) = split /\|/,
  ask($observer, 'SELECT ticks, missed, extract(epoch FROM clock_timestamp()) FROM infra_monitor.sampler_state()');
my ($connects, $connected) = split /\|/,
  ask($observer, 'SELECT connects_total, used_connections FROM infra_monitor.pool_pressure');
is("$connects|$connected", '0|3', 'it begins');

my @changing = grep { !$fixed{ $_->{name} } } @settings;
my $linux = -r "/proc/$postmaster/status";
my %things = (
	cancel => [ 0.2, \&cancel_one ],
	terminate => [ 1, \&terminate_one ],
	refuse => [ 0.5, \&be_refused ],
	databases => [ 0.2, sub { go_on_with_databases(1) } ],
	read => [ 0.05, \&go_on_reading ],
	reload => [ LONG ? 2 : 1, sub { reload_random(\@changing, \%exact) } ],
	kill => [
		LONG ? 20 : 7,
		sub {
			my $answer = ask($observer, 'SELECT pid FROM infra_monitor.sampler_state() WHERE pid IS NOT NULL AND pg_terminate_backend(pid)');

			return if $answer eq '';
			$killed = $answer;
			$kills++;
		}
	],
	waits => [ 0.1, \&look_at_waits ]);

start_pgbench(SECONDS);
# once at least, whatever chance says: it runs now
$things{kill}[1]->();
load_for(SECONDS / 2, \%things);

# in the second half the sampler is left alive, and its memory is looked at
delete $things{kill};
$things{databases}[1] = sub { go_on_with_databases(0) };
$things{reload}[1] = sub { reload_random([ grep { !$large{ $_->{name} } } @changing ], \%exact) };
$things{memory} = [ LONG ? 3 : 0.5, \&look_at_memory ];
wait_in_session($observer, "SELECT state FROM infra_monitor.sampler_state() WHERE pid <> $killed", 'the sampler runs', 'running');
my $sampler = ask($observer, 'SELECT pid FROM infra_monitor.sampler_state()');
%watched = (sampler => $sampler, postmaster => $postmaster,
	observer => ask($observer, 'SELECT pg_backend_pid()'),
	reader => ask($observer, q{SELECT pid FROM pg_stat_activity WHERE application_name = 'reader'}),
	map { /(\w+)\|(\d+)/ ? ("$1 $2" => $2) : () } split /\n/,
	ask($observer, q{SELECT application_name, pid FROM pg_stat_activity WHERE application_name IN ('bulk', 'churn', 'ddl') ORDER BY 1, 2}));
log_contexts() if LONG;
load_for(SECONDS / 2, \%things);
log_contexts() if LONG;

# its end
diag 'sampler: ' . join(' ', map { $_->[1] } @{ $memory{sampler} }) if LONG;
finish_pgbench();
close_all('load');
is(ask($observer, 'SELECT pid FROM infra_monitor.sampler_state()'), $sampler, 'the sampler has lived through the second half');
reload_and_wait(%exact);

#
# 1. Nothing is lost beyond what is counted
#
my ($ticks_then, $missed_then, $until) = split /\|/,
  ask($observer, 'SELECT ticks, missed, extract(epoch FROM clock_timestamp()) FROM infra_monitor.sampler_state()');
my $due = $until - $since;

# a sampler that has just started takes one at once, which may be one more
my $accounted = $ticks_then - $ticks + $missed_then - $missed;
cmp_ok(abs($accounted - $due), '<=', 2 + $kills + $copies,
	sprintf('samples: %d taken and %d missed in %.1f s', $ticks_then - $ticks, $missed_then - $missed, $due));

my ($completed, $calls, $dropped, $dealloc) = split /\|/, ask($observer, <<'SQL');
SELECT (SELECT sum(infra_monitor.observations(latency)) FROM infra_monitor.statement_counts()),
	(SELECT sum(calls) FROM pg_stat_statements),
	(SELECT drops FROM infra_monitor.sampler_drops() WHERE reason = 'executions'),
	(SELECT dealloc FROM pg_stat_statements_info)
SQL
is($dealloc, 0, 'pg_stat_statements has lost nothing');
cmp_ok($calls, '>', $transactions, "executions: $calls, in $transactions transactions of pgbench and $statements messages of others");
cmp_ok($completed, '<=', $calls, 'executions: none was counted twice');
cmp_ok($completed + $dropped, '>=', $calls, "executions: each was counted, or dropped: $dropped");
is(ask($observer, <<'SQL'), 0, 'executions: the same in each database') if $dropped == 0;
SELECT count(*) FILTER (WHERE a.n IS DISTINCT FROM b.n)
FROM (SELECT dbid, sum(infra_monitor.observations(latency)) AS n FROM infra_monitor.statement_counts() GROUP BY 1 HAVING sum(infra_monitor.observations(latency)) > 0) a
	FULL JOIN (SELECT dbid, sum(calls) AS n FROM pg_stat_statements GROUP BY 1) b USING (dbid)
SQL
note 'statements evicted: ' . ask($observer, q{SELECT drops FROM infra_monitor.sampler_drops() WHERE reason = 'statements'});

read_log();
my ($cancelled, $not_locked, $terminated, $failed) = split /\|/,
  ask($observer, 'SELECT sum(cancelled), sum(lock_not_available), sum(terminated), sum(failed) FROM infra_monitor.statement_counts()');

# one that comes when the transaction has ended, as while its duration is logged, has a
# line there only
is($cancelled, said('ERROR 57014') - $late_cancels,
	"failures: cancelled: each line of the log within a transaction, of $cancels cancels and timeouts; $late_cancels came later");
is($not_locked, said('ERROR 55P03'), 'failures: no lock: each line of the log');
is($failed, said('ERROR .*') - said('ERROR 57014') - said('ERROR 55P03'), 'failures: others: each line of the log');
cmp_ok($terminated, '<=', said('FATAL 57P01'), "failures: terminated: $terminated of $terminations sessions that were ended");
cmp_ok($terminated, '>=', $certainly_terminated, "failures: at least the $certainly_terminated that certainly worked");
cmp_ok($certainly_terminated, '>', 0, 'which were some');

my ($connects_then, $disconnects, $current) = split /\|/,
  ask($observer, 'SELECT connects_total, disconnects_total, used_connections FROM infra_monitor.pool_pressure');
is($current, 1, 'connections: only one is left');
is($connects_then - $disconnects + $connected, $current, 'connections: who came and has not gone');
is($disconnects, $connects_then + 2, "connections: $connects_then were made");
is($connects_then, $opened - sum0(values %refused), 'connections: each that the log says was made, and not refused');

# a process says so last
my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
until ($closed >= $disconnects || time > $deadline)
{
	usleep(100_000);
	read_log();
}
is($disconnects, $closed, 'connections: each that the log says has ended');
is( ask($observer, 'SELECT string_agg(reason || $$ $$ || total, $$,$$ ORDER BY reason) FROM infra_monitor.pool_rejections WHERE total > 0'),
	join(',', map { "$_ $refused{$_}" } sort keys %refused),
	'connections: each that was refused, by its reason');
is(said('FATAL (53300|28000|3D000)'), sum0(values %refused), 'connections: as the log says');

my $logged = ledger_is_balanced('slow executions');
cmp_ok($logged, '>=', $sleeps, "slow executions: at least the $sleeps that slept");
cmp_ok($logged, '<=', $long_statements + said('(ERROR|FATAL) .*'), 'slow executions: none that was fast');
is(ask($observer, 'SELECT count(*) FROM infra_monitor.slow_query_log() WHERE exec_time < ' . $slow_ms), 0, 'slow executions: none of those that are kept');

#
# 2. and 3. Memory of processes, waits for our locks
#
SKIP:
{
	skip 'no /proc', 2 unless $linux;
	foreach my $name (sort keys %memory)
	{
		my @points = @{ $memory{$name} };
		my ($slope, $n) = slope(@points);
		my $growth = $slope * ($points[-1][0] - $points[0][0]);
		my $line = sprintf('memory: %s: %d kB, %+.0f kB/h, %+.0f kB in %.0f s (%d looks)',
			$name, $points[-1][1], 3600 * $slope, $growth, $points[-1][0] - $points[0][0], $n);

		LONG ? diag $line : note $line;

		# the caches of some grow with what they see; the sampler's heap goes up and
		# down by a megabyte with its tasks, so that less cannot be told from nothing
		my $limit = $name eq 'sampler' ? 4 * GROWTH : GROWTH;
		cmp_ok($growth, '<=', $limit, "memory: $name does not grow") if LONG && $name !~ /reader|observer|ddl/;
	}
	cmp_ok(scalar @{ $memory{sampler} // [] }, '>', 5, 'memory: of the sampler was looked at');
	cmp_ok(scalar @{ $memory{postmaster} // [] }, '>', 5, 'memory: of the postmaster, too');
}
my $share = sprintf('waits: %d of %d samples of active sessions for our locks (%.3f %%), %d for any lightweight lock: %s',
	$ours, $active, 100 * $ours / max($active, 1), $any_lwlock, join(', ', map { "$_ $lwlocks{$_}" } sort { $lwlocks{$b} <=> $lwlocks{$a} } keys %lwlocks));
LONG ? diag $share : note $share;
cmp_ok($active, '>', 5 * $looks / 10, "waits: somebody was active at $looks looks");
cmp_ok($ours, '<=', max(0.01 * $active, 2), 'waits: for our locks in less than 1 % of samples');

#
# 5. Anything may be set
#
open_others();
$things{reload}[1] = sub { reload_random(\@settings, {}) };
$things{kill} = [ 5, sub { ask($observer, 'SELECT pg_terminate_backend(pid) FROM infra_monitor.sampler_state() WHERE pid IS NOT NULL') } ];
$things{databases}[1] = sub { go_on_with_databases(1) };
delete $things{memory};
start_pgbench(ANYTHING_SECONDS);
load_for(ANYTHING_SECONDS, \%things);
finish_pgbench();
close_all('anything');
reload_and_wait(%exact);
is( ask($observer, 'SELECT connects_total - disconnects_total, used_connections FROM infra_monitor.pool_pressure'),
	'-2|1', 'anything: who was counted in was counted out, nobody else');
is(ask($observer, q{SELECT string_agg(substr(name, 15), ',' ORDER BY name) FROM pg_settings WHERE name LIKE 'infra\_monitor.%' AND context IN ('sighup', 'superuser') AND source = 'configuration file'}),
	'health_interval,sample_interval,slow_query_threshold,statement_interval,system_root', 'anything: all settings are again what they were');
sampler_works('anything');
ledger_is_balanced('anything');
cmp_ok($reloads, '>', $wrong_reloads, "$reloads reloads, $wrong_reloads of them with wrong values");
cmp_ok($wrong_reloads, '>', 0, 'which were some');
cmp_ok($kills, '>', 0, "the sampler was ended $kills times");
cmp_ok($databases, '>', 0, "$databases databases were created");

#
# 4. What the server has said
#
read_log();
my %allowed = (
	'client backend' => qr/ERROR (57014|55P03|22012|42703|42601|40P01|22023|55006|42P04|3D000)|FATAL (57P01|53300|28000|3D000)|WARNING (25P01|01000)/,
	sampler => qr/FATAL (57P01|3D000)|ERROR 55P03|WARNING (57014|55P03)/,
	'other' => qr/FATAL 57P01/);
foreach my $what (sort keys %said)
{
	my ($process, $rest) = $what =~ /^(.*) (\w+ \w+)$/;

	note "log: $what: $said{$what}, such as $first{$what}";
	like($rest, qr/^(?:$allowed{$process})$/, "log: $what is expected: $first{$what}") if $allowed{$process};
	like($rest, qr/^(?:$allowed{other})$/, "log: $what is expected: $first{$what}") unless $allowed{$process};
}
is(log_count($node, qr/PANIC|TRAP: |terminated by signal|crash|all server processes terminated/), 0, 'log: no process has crashed');
note 'answers: ' . join(', ', map { "$_ $answers{$_}" } sort keys %answers);
note 'databases: ' . join(', ', map { "$_ $creator_says{$_}" } sort keys %creator_says);
is(join("\n", sort keys %reader_says), '', 'everything could be read all the time');

#
# 6. The end
#
my $home = open_session($node);
isnt(ask($home, q{SELECT infra_monitor.health() ->> 'status'}), '', 'health() answers');
isnt(ask($home, q{SELECT infra_monitor.take_sample()}), '', 'a sample can be taken');
is(ask($home, q{SELECT infra_monitor.reset() IS NOT NULL}), 't', 'reset() works');
my $drop = seconds { ask($home, 'DROP EXTENSION infra_monitor') };
cmp_ok($drop, '<', 10, sprintf('DROP EXTENSION took %.1f s', $drop));
close_sessions($home, $observer);
my $stop = seconds { $node->stop };
cmp_ok($stop, '<', 30, sprintf('the server stopped in %.1f s', $stop));
done_testing();
