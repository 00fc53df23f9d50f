# What is too large, refused or said too often: statements of many megabytes (T2),
# roles and databases that do not let the sampler in (W10), configuration files
# with errors, again and again (W11).  IMON_LONG_TESTS=1 in the environment: 900 MB.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

allow_seconds(3600) if $ENV{IMON_LONG_TESTS};

my $megabyte = 1024 * 1024;
my $node = new_server('abuse', conf => <<'CONF');
infra_monitor.statement_interval = 1s
infra_monitor.slow_query_threshold = 0
infra_monitor.slow_query_text_size = 1kB
log_statement = none
log_min_error_statement = panic
autovacuum = off
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
$node->safe_psql('postgres', 'CREATE TABLE t AS SELECT i, i::text AS s FROM generate_series(1, 10) i');
wait_for_sample($node, 'there are samples');
my $observer = open_session($node);

# A line of /proc/PID/status, in kB; undef where there is none.
sub memory
{
	my ($pid, $what) = @_;

	open my $file, '<', "/proc/$pid/status" or return undef;
	return (map { /^$what:\s+(\d+) kB/ ? $1 : () } <$file>)[0];
}

# The private memory of the sampler, when it has been busy for a while.
sub sampler_memory
{
	wait_for_sample($node, 'the sampler is busy') for 1 .. 2;
	return memory(status_of($node, 'pid'), 'RssAnon');
}

#
# T2.  Each statement, in new sessions, with infra_monitor and without: what a
# session needs at most, and how long it takes.  The parser cannot hold a literal of
# more than 512 MB; nor can it without us.
#
my $size = $ENV{IMON_LONG_TESTS} ? 900 : 64;
my $big = 'x' x ($size * $megabyte);
my %statements = (
	'1 MB list' => sub { 'SELECT count(*) FROM t WHERE i IN (' . join(',', 1 .. 150_000) . ')' },
	"$size MB literal" => sub { "SELECT length('$big')" },
	"$size MB of two literals" => sub
	{
		my $half = substr($big, 0, length($big) / 2);
		"SELECT length('$half') + length('$half')";
	},
	"$size MB comment" => sub { "SELECT /* $big */ 1" },
	"$size MB behind it" => sub { "SELECT 1 -- $big" },
	"$size MB failing" => sub { "SELECT length('$big') / 0" },
	"$size MB in vain" => sub { "SELECT /* $big */ no_such_column" },
	"$size MB no statement" => sub { "SELECT '$big" },
	"$size MB plan" => sub { "SELECT count(*) FROM t WHERE s <> '$big'" },
	'8 MB block' => sub { "DO \$\$ BEGIN PERFORM '" . 'x' x (8 * $megabyte) . "'; END \$\$" },
	"$size MB statements" => sub { 'SELECT 1;' . " -- $big\n" . 'SELECT 2' });

# Executes it; returns the time, the most memory, and its result.
sub execute
{
	my ($statement, $watched) = @_;
	my $session = open_session($node,
		application_name => $watched ? 'watched' : 'plain',
		options => $watched ? '-cinfra_monitor.slow_query_plan=on'
		: '-cinfra_monitor.slow_query_threshold=-1 -cinfra_monitor.track=none');
	my $pid = ask($session, 'SELECT pg_backend_pid()');

	ask($session, 'SET log_min_messages = fatal');	# some errors quote the statement
	my $start = time;
	my $result = try_ask($session, $statement) // $session->{sqlstate};
	my $time = time - $start;
	my $peak = memory($pid, 'VmHWM');

	close_sessions($session);
	return ($time, $peak, $result);
}

my $before = sampler_memory();
foreach my $name (sort keys %statements)
{
	my (@plain, @watched);

	# others may keep the machine busy once, but not each time
	foreach (1 .. 3)
	{
		@plain = execute($statements{$name}->(), 0);
		@watched = execute($statements{$name}->(), 1);
		last if $watched[0] < 1.5 * $plain[0] + 2;
	}
	is($watched[2], $plain[2], "T2: $name: the same result");
	cmp_ok($watched[0], '<', 1.5 * $plain[0] + 2, sprintf('T2: %s: %.3f s, without %.3f s', $name, $watched[0], $plain[0]));

	# a plan is text of its own, as EXPLAIN would make it
	my $more = $name =~ /plan/ ? 5 * $size * 1024 : 0;
	SKIP:
	{
		skip 'no /proc', 1 unless defined $plain[1];
		cmp_ok($watched[1], '<', $plain[1] + $more + 16 * 1024,
			"T2: $name: $watched[1] kB of memory, without $plain[1]");
	}
}
is( ask($observer, q{SELECT count(*) FROM infra_monitor.slow_query_log WHERE application_name = 'watched' AND octet_length(query) > 1024}),
	0, 'T2: texts are cut');
cmp_ok(ask($observer, q{SELECT count(*) FROM infra_monitor.slow_query_log WHERE application_name = 'watched' AND query LIKE 'SELECT %'}),
	'>=', 10, 'T2: those that there are');
is(ask($observer, q{SELECT count(*) FROM infra_monitor.slow_query_log WHERE application_name = 'watched' AND octet_length(plan) > 65536}),
	0, 'T2: plans, too');
is(ask($observer, q{SELECT count(*) FROM infra_monitor.slow_query_log WHERE application_name = 'plain'}), 0, 'T2: the others were not watched');
wait_in_session($observer, q{SELECT count(*) > 0 FROM infra_monitor.slow_query_samples WHERE application_name = 'watched'}, 'T2: it is stored');
is( ask($observer, q{SELECT count(*) FROM infra_monitor.statement_texts WHERE length(query) > 8192}),
	0, 'T2: stored texts are cut');
my $after = sampler_memory();
SKIP:
{
	skip 'no /proc', 1 unless defined $before;
	cmp_ok($after, '<', $before + 16 * 1024, "T2: the sampler needs $after kB of its own, $before kB before");
}
ask($observer, 'SELECT pg_stat_statements_reset(), infra_monitor.reset()');

#
# W10: it is no role's session
#
my $superuser = ask($observer, 'SELECT current_user');
ask($observer, 'CREATE ROLE admin SUPERUSER LOGIN');
my $admin = open_session($node, user => 'admin');
my $pid = status_of($node, 'pid');

# Does a sampler that has just started take samples?
sub samples_ok
{
	my ($name) = @_;
	my $now = ask($admin, 'SELECT clock_timestamp()');
	my $old = ask($admin, 'SELECT pg_terminate_backend(pid), pid FROM infra_monitor.sampler_status') =~ s/t\|//r;

	return wait_in_session($admin,
		"SELECT (SELECT max(sampled_at) FROM infra_monitor.samples) > '$now' AND pid <> $old FROM infra_monitor.sampler_status", "W10: $name");
}

foreach my $case (
	[ 'neither its role nor its database lets anybody in',
		"ALTER ROLE \"$superuser\" NOLOGIN CONNECTION LIMIT 0 VALID UNTIL '2000-01-01';ALTER DATABASE postgres CONNECTION LIMIT 0",
		"ALTER ROLE \"$superuser\" LOGIN CONNECTION LIMIT -1 VALID UNTIL 'infinity';ALTER DATABASE postgres CONNECTION LIMIT -1" ],
	[ 'its role has strange settings and another name',
		"ALTER ROLE \"$superuser\" SET default_transaction_read_only = on;ALTER ROLE \"$superuser\" SET role = pg_monitor;"
		  . "ALTER ROLE \"$superuser\" SET statement_timeout = 1;ALTER ROLE \"$superuser\" SET work_mem = 64;"
		  . "ALTER ROLE \"$superuser\" RENAME TO somebody",
		"ALTER ROLE somebody RENAME TO \"$superuser\";ALTER ROLE \"$superuser\" RESET ALL" ])
{
	my ($name, $do, $undo) = @$case;

	ask($admin, $_) for split /;/, $do;
	samples_ok($name);
	ask($admin, $_) for split /;/, $undo;
}

# The role that it is of can only be made an ordinary one before 16.
SKIP:
{
	skip 'the first role is a superuser', 3 unless $node->pg_version < 16;
	ask($admin, "ALTER ROLE \"$superuser\" NOSUPERUSER");
	wait_in_session($admin,
		q{SELECT last_error ~ 'its owner( ".*")? is no superuser' FROM infra_monitor.sampler_status}, 'W10: its role is no superuser: it says so');
	ask($admin, "ALTER ROLE \"$superuser\" SUPERUSER");
	samples_ok('it goes on when it is again');
}

# A database that lets nobody in: others can see why there is nothing new.
my $elsewhere = open_session($node, database => 'template1');
ask($elsewhere, 'SET client_min_messages = error');
ask($elsewhere, 'CREATE EXTENSION infra_monitor CASCADE');
my $offset = log_end($node);
ask($elsewhere, 'ALTER DATABASE postgres ALLOW_CONNECTIONS false');
end_sampler($elsewhere);
wait_in_session($elsewhere,
	q{SELECT state = 'waiting for database' AND last_error ~ '"postgres"' FROM infra_monitor.sampler_status},
	'W10: a database that allows no connections: it waits, and says for what');
wait_in_session($elsewhere,
	q{SELECT message FROM infra_monitor.check_sampler_alive() WHERE message ~ 'waiting for database' AND value > 3},
	'W10: health says it, too', ask($elsewhere, q{SELECT message FROM infra_monitor.check_sampler_alive()}));
cmp_ok(log_count($node, qr/FATAL:  database "postgres" is not currently accepting connections/, $offset), '<=', 3, 'W10: it does not try all the time');
ask($elsewhere, 'ALTER DATABASE postgres ALLOW_CONNECTIONS true');
wait_in_session($elsewhere, q{SELECT state = 'running' FROM infra_monitor.sampler_status}, 'W10: it comes when it may');
close_sessions($elsewhere, $admin);

#
# W11: a thousand reloads with errors
#
my $settings = q{SELECT json_agg(s) FROM (SELECT name, setting FROM pg_settings WHERE name LIKE 'infra\_monitor.%') s};
my $wrong = "infra_monitor.sample_interval = 1ms\ninfra_monitor.database = ''\ninfra_monitor.foo = 1\n"
  . "infra_monitor.retention = 'forever'\ninfra_monitor.max_statements = 7\ninfra_monitor.textfile = 'relative'\n";
my $valid = ask($observer, $settings);
my $right = slurp_file($node->data_dir . '/postgresql.conf');
$node->append_conf('postgresql.conf', $wrong);

# Reloads so often; each is known to have been done by what the server says.
sub reload
{
	my ($times) = @_;

	foreach (1 .. $times)
	{
		my $end = log_end($node);
		my $log = '';

		ask($observer, 'SELECT pg_reload_conf()');
		until ($log =~ /contains errors/)
		{
			usleep(500);
			open my $file, '<', $node->logfile or die $!;
			seek($file, $end, 0);
			$log = join '', <$file>;
		}
	}
	return;
}

reload(300);
$pid = status_of($node, 'pid');
$before = sampler_memory();
$offset = log_end($node);
reload(1000);
my @lines = split /\n/, substr(slurp_file($node->logfile), $offset);
is(scalar(grep { /contains errors/ } @lines), 1000, 'W11: a thousand reloads are refused');
foreach my $name (qw(sample_interval database foo retention max_statements textfile))
{
	is(scalar(grep { /LOG: .*"infra_monitor\.$name"/ } @lines), 1000, "W11: $name: a line each");
}
# (but for checks that change, which has other reasons)
is(scalar(grep { /\[(\d+)\]/ && $1 == $pid && !/LOG:  health (?:check|of the server) |HINT:  / } @lines), 0, 'W11: the sampler says nothing');
is(ask($observer, $settings), $valid, 'W11: old values are kept');
is(status_of($node, 'pid'), $pid, 'W11: it is the same sampler');
$after = sampler_memory();
SKIP:
{
	skip 'no /proc', 1 unless defined $before;
	cmp_ok($after, '<', $before + 2048, "W11: it needs $after kB of its own, $before kB before");
}
unlink $node->data_dir . '/postgresql.conf';
$node->append_conf('postgresql.conf', $right . "infra_monitor.sample_interval = 2s\n");
$node->reload;
wait_in_session($observer, 'SHOW infra_monitor.sample_interval', 'W11: right values are taken', '2s');
wait_for_sample($node, 'W11: samples go on');
is(log_count($node, qr/(?:PANIC|TRAP: |terminated by signal)/), 0, 'no process has crashed');
close_sessions($observer);
$node->stop;
done_testing();
