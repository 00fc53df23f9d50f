# The sampler is connected to its home database and hinders nobody who drops,
# renames, moves or copies it; afterwards it finds its way by itself.
#
# The postmaster starts a worker that has ended after five seconds.  So that
# these pass side by side, each command has a server of its own, a copy of one.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $origin = new_server(
	'origin',
	init => [ extra => [ '--encoding=UTF8', '--no-locale' ] ],
	conf => <<'CONF');
infra_monitor.database = 'home'
shared_buffers = 4MB
max_prepared_transactions = 2
CONF
$origin->start;
$origin->safe_psql('postgres', 'CREATE DATABASE home');
$origin->safe_psql('home',     'CREATE EXTENSION infra_monitor CASCADE');

# elsewhere live views only
my ($status, $out, $said) =
  $origin->psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
is($status, 0, 'the extension is created in another database, too');
like(
	$said,
	qr/WARNING:  samples are not stored in this database but in "home"/,
	'with a warning that names the home database');
like(
	$said,
	qr/HINT: .*ALTER SYSTEM SET infra_monitor\.database = 'postgres'/,
	'and a hint that says how to change it');

$origin->safe_psql('postgres', <<'SQL');
CREATE ROLE nobody LOGIN;
CREATE ROLE creator LOGIN CREATEDB;
CREATE DATABASE other;
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE elsewhere LOCATION '';
SQL

my $nodes = copies_of($origin,
	qw(dropping forcing renaming moving copying rolling_back terminated prepared));

# Names that need care: a quote of each kind, a line feed (which PostgreSQL 19
# refuses), letters beyond ASCII.
my $feed = $origin->pg_version->major >= 19 ? ' ' : "\n";
my $odd_name = "q\"uote's${feed}l\xc3\xafne";
my $odd = PostgreSQL::Test::Cluster->new('odd');
$odd->init_from_backup($origin, 'copy');
$odd->append_conf('postgresql.conf',
	"infra_monitor.database = 'q\"uote''s" . ($feed =~ s/\n/\\n/r) . "l\xc3\xafne'\n");
$odd->start;
$odd->safe_psql('postgres',
	qq(ALTER DATABASE home RENAME TO "q""uote's${feed}l\xc3\xafne"));

# How long a command may take here, that nobody holds up: two seconds, and three times
# what two such take that have nothing to do with the sampler.
sub limit_of
{
	my ($node) = @_;

	return 2 + 3 * seconds
	{
		$node->safe_psql('postgres', $_) foreach 'CREATE DATABASE usual TEMPLATE template0', 'DROP DATABASE usual';
	};
}

# A command works, although the sampler is connected, and is not held up.  It
# is PostgreSQL that waits up to 5 seconds for other sessions and then fails.
sub works
{
	my ($node, $command) = @_;
	my $limit = limit_of($node);
	my $status;
	my $time = seconds { $status = $node->psql('postgres', $command) };
	(my $name = $command) =~ s/\n/\\n/g;

	is($status, 0, "works: $name");
	cmp_ok($time, '<', $limit, sprintf('within %.2f s: %.2f s', $limit, $time));
	return;
}

# The command fails, and the sampler takes no notice.
sub fails_unnoticed
{
	my ($node, $user, $command, $error) = @_;
	my ($status, $out, $said) = $node->psql('postgres', $command,
		extra_params => [ '-U', $user ]);

	isnt($status, 0, "$user may not: $command");
	like($said, $error, 'the error is that of PostgreSQL');
	return;
}

# The sampler is where it should be, in all of them.
wait_for_sample($_, $_->name . ': samples are stored in home', 'home')
  foreach map { $nodes->{$_} } sort keys %$nodes;
wait_for_sample($odd, 'odd: samples are stored in it', $odd_name);

#
# Who has no right to a command does not keep the sampler away with it
#
my $node = $nodes->{renaming};
my $pid = status_of($node, 'pid');
my $log = log_end($node);
fails_unnoticed($node, @$_)
  foreach (
	[ 'nobody', 'DROP DATABASE home', qr/must be owner of database/ ],
	[
		'nobody',
		'DROP DATABASE home WITH (FORCE)',
		qr/must be owner of database/
	],
	[
		'nobody',
		'ALTER DATABASE home RENAME TO x',
		qr/must be owner of database/
	],
	[
		'nobody',
		'ALTER DATABASE home SET TABLESPACE elsewhere',
		qr/must be owner of database/
	],
	[
		'nobody',
		'CREATE DATABASE x TEMPLATE home',
		qr/permission denied to create database/
	],
	[
		'creator',
		'CREATE DATABASE x TEMPLATE home',
		qr/permission denied to copy database/
	]);
# nor do commands that are about other databases, or do not need it alone
$node->safe_psql('postgres', $_)
  foreach (
	'DROP DATABASE other',
	'DROP DATABASE IF EXISTS missing',
	'CREATE DATABASE other',
	'ALTER DATABASE other RENAME TO another',
	'ALTER DATABASE home CONNECTION LIMIT 100',
	'ALTER DATABASE home SET work_mem TO 4096',
	"COMMENT ON DATABASE home IS 'home'");
wait_for_sample($node, 'the sampler samples on', 'home');
is(status_of($node, 'pid'), $pid, 'as the same process');
is_deeply([ worker_log($node, $log) ], [], 'and has not been disturbed');

#
# The commands.  First all of them, then what becomes of the sampler.
#
works($nodes->{dropping}, 'DROP DATABASE home');
works($nodes->{renaming}, 'ALTER DATABASE home RENAME TO away');
works($nodes->{moving},   'ALTER DATABASE home SET TABLESPACE elsewhere');
works($nodes->{copying},  'CREATE DATABASE copy TEMPLATE home');
works($odd,               'DROP DATABASE "q""uote\'s' . "${feed}l\xc3\xafne\"");

# The sampler waits for a lock in the database, which its holder does not give
# up: the sampler is told to end.
$node = $nodes->{forcing};
my $holder = $node->background_psql('home');
$holder->set_query_timer_restart;
$holder->query_safe(
	'BEGIN; LOCK TABLE infra_monitor.samples, infra_monitor.health_threshold_overrides IN ACCESS EXCLUSIVE MODE');
wait_for(
	$node,
	"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'infra_monitor sampler' AND wait_event_type = 'Lock')",
	'the sampler waits for a lock');
works($node, 'DROP DATABASE home WITH (FORCE)');
eval { $holder->quit };

# A transaction keeps the sampler away until its end, whatever that end is.
my %sessions;
foreach my $name (qw(rolling_back terminated))
{
	$sessions{$name} = $nodes->{$name}->background_psql('postgres');
	$sessions{$name}->set_query_timer_restart;
	my $limit = 2 + limit_of($nodes->{$name});
	my $time = seconds
	{
		$sessions{$name}->query_safe('BEGIN');
		$sessions{$name}->query_safe('ALTER DATABASE home RENAME TO away');
	};
	cmp_ok($time, '<', $limit,
		sprintf('RENAME in a transaction, within %.2f s: %.2f s', $limit, $time));
}
$pid = $sessions{terminated}->query_safe('SELECT pg_backend_pid()');
$nodes->{terminated}->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
works($nodes->{prepared},
	"BEGIN; ALTER DATABASE home RENAME TO away; PREPARE TRANSACTION 'rename'");

#
# Other databases come and go, beside a sampler that samples
#
$node = $nodes->{copying};
$node->append_conf('postgresql.conf', "infra_monitor.database = 'postgres'\n");
$node->reload;
wait_for_sample($node, 'the sampler works in another database', 'postgres');
$pid = status_of($node, 'pid');
my $before = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
$out = $node->safe_psql('postgres',
	"\\timing on\n"
	  . join('', map { "CREATE DATABASE d$_;\nDROP DATABASE d$_;\n" } 1 .. 50));
my @times = sort { $a <=> $b } $out =~ /^Time: ([0-9.]+) ms/mg;
is(scalar @times, 100, 'a database was created and dropped 50 times');
# one that is held up is so alone; a busy machine makes all of them slow
cmp_ok($times[-1], '<', 4000 + 5 * $times[50],
	sprintf('none took 4 s more than others, the slowest %.0f ms, half of them %.0f ms', @times[ -1, 50 ]));
wait_for_sample($node, 'the sampler samples on');
is(status_of($node, 'pid'), $pid, 'as the same process');

# Their counters went with them: sums over all databases do not tell what
# happened since the sample before, others do.
is( $node->safe_psql('postgres',
		"SELECT DISTINCT coalesce(commits, rollbacks, blks_hit, blks_read, temp_bytes, deadlocks) IS NULL FROM infra_monitor.samples WHERE sampled_at > '$before' AND wal_bytes IS NOT NULL ORDER BY 1 DESC LIMIT 1"
	),
	't',
	'differences over all databases are not known when one was dropped');
wait_for(
	$node,
	"SELECT commits IS NOT NULL FROM infra_monitor.samples ORDER BY sampled_at DESC LIMIT 1",
	'and known again afterwards');

#
# Afterwards
#

# moved, or after all not renamed: samples again
wait_for_sample($nodes->{moving}, 'moved: samples again', 'home');
is( $nodes->{moving}->safe_psql('home',
		"SELECT count(*) > 0 FROM infra_monitor.samples WHERE connects IS NOT NULL"
	),
	't',
	'and what was stored before is still there');

wait_for($nodes->{rolling_back},
	"SELECT state = 'away' FROM infra_monitor.sampler_status",
	'the sampler stays away while the transaction lasts');
$sessions{rolling_back}->query_safe('ROLLBACK');
$sessions{rolling_back}->quit;
my $time = seconds
{
	wait_for_sample($nodes->{rolling_back}, 'rolled back: samples again', 'home');
};
# a retry would be half a minute away; the postmaster may just be waiting its five seconds
cmp_ok($time, '<', 15, sprintf('and needs no retry for that: %.1f s', $time));

eval { $sessions{terminated}->quit };
wait_for_sample($nodes->{terminated}, 'terminated in between: samples again',
	'home');

# A prepared transaction has the database locked, the sampler waits there.
$node = $nodes->{prepared};
wait_for(
	$node,
	"SELECT EXISTS (SELECT FROM pg_locks l, infra_monitor.sampler_status s WHERE l.pid = s.pid AND NOT granted)",
	'the sampler waits for a prepared transaction');
$node->safe_psql('postgres', "ROLLBACK PREPARED 'rename'");
wait_for_sample($node, 'rolled back: samples again', 'home');

# gone: says so, and samples as soon as it is back
foreach my $name (qw(dropping forcing renaming))
{
	wait_for(
		$nodes->{$name},
		"SELECT state = 'waiting for database' AND last_error LIKE '%\"home\"%' FROM infra_monitor.sampler_status",
		"$name: the sampler waits for its database");
}
wait_for(
	$odd,
	"SELECT state = 'waiting for database' AND position(current_setting('infra_monitor.database') IN last_error) > 0 FROM infra_monitor.sampler_status",
	'odd: the sampler waits for its database');

$nodes->{renaming}
  ->safe_psql('postgres', 'ALTER DATABASE away RENAME TO home');
foreach my $name (qw(dropping forcing))
{
	$nodes->{$name}->safe_psql('postgres', 'CREATE DATABASE home');
	$nodes->{$name}
	  ->safe_psql('home', 'CREATE EXTENSION infra_monitor CASCADE');
}
$odd->safe_psql('postgres', "CREATE DATABASE \"q\"\"uote's${feed}l\xc3\xafne\"");
$odd->safe_psql($odd_name, 'CREATE EXTENSION infra_monitor CASCADE');

wait_for_sample($nodes->{$_}, "$_: it samples as soon as home is back", 'home')
  foreach qw(dropping forcing renaming);
wait_for_sample($odd, 'odd: it samples as soon as its database is back',
	$odd_name);

# Commands that want home alone without end: after half a minute it comes in
# between, for a sample, and leaves again.  Here it is one command, which waits
# for another lock before it takes that of its database.
$node = $nodes->{moving};
my $locker = $node->background_psql('postgres');
$locker->set_query_timer_restart;
$locker->query_safe('BEGIN; LOCK TABLE pg_database IN SHARE MODE');
my $last = $node->safe_psql('home', 'SELECT max(sampled_at) FROM infra_monitor.samples');
my $renamer = open_session($node);
send_query($renamer, 'ALTER DATABASE home RENAME TO away');
wait_for($node, "SELECT state = 'away' FROM infra_monitor.sampler_status", 'a command keeps the sampler away', 't', 'home');
my $away = $node->safe_psql('home', 'SELECT clock_timestamp()');
wait_for($node, "SELECT count(*) > 0 FROM infra_monitor.samples WHERE sampled_at > '$away'", 'not for ever', 't', 'home');
is($node->safe_psql('home', "SELECT count(*), bool_and(sampled_at > '$last'::timestamptz + interval '25 s') FROM infra_monitor.samples WHERE sampled_at > '$away'"),
	'1|t', 'one sample after half a minute');
wait_for($node, "SELECT state = 'away' FROM infra_monitor.sampler_status", 'it is away again', 't', 'home');
# (not asked of this server: its list of databases is locked)
my $limit = 2 + limit_of($nodes->{copying});
$time = seconds
{
	$locker->query_safe('ROLLBACK');
	ok(defined answer_of($renamer), 'the command succeeds');
};
cmp_ok($time, '<', $limit, sprintf('at once, within %.2f s: %.2f s', $limit, $time));
close_sessions($renamer);
$locker->quit;

# The sampler leaves by itself.  It is terminated where something keeps it from
# leaving for half a second, which a busy machine may do, but not always.
my $terminated = 0;
foreach my $name (sort keys %$nodes)
{
	$terminated += log_count($nodes->{$name},
		'FATAL:  terminating background worker "infra_monitor sampler"')
	  if $name ne 'forcing';
	is(log_count($nodes->{$name}, 'PANIC|terminated by signal'),
		0, "$name: nothing crashed");
	$nodes->{$name}->stop;
}
cmp_ok($terminated, '<=', 3, "the sampler leaves when it is asked ($terminated of 7 were terminated)");
$odd->stop;
done_testing();
