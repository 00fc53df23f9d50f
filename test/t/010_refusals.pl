# Refused connections: each reason is provoked a known number of times, in one
# life of a server from its start-up to its shutdown, and must be counted and
# remembered to the unit.  Then all of it once more with translated messages:
# some reasons can be told apart only by their message.

use strict;
use warnings;

use Fcntl;
use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use POSIX qw(mkfifo);
use Test::More;
use Time::HiRes qw(usleep);

my @reasons = qw(max_connections reserved role_limit database_limit
  authentication starting_up shutting_down other);
my $ring_size = 256;
my $superuser = getpwuid($<);

# While the start-up process reads this pipe, the server is starting.
my $pipe = PostgreSQL::Test::Utils::tempdir_short() . '/pipe';
my $released = "$pipe.released";
mkfifo($pipe, 0600) or die "mkfifo: $!";

my $node = new_server(
	'refusals',
	init => [ extra => [ '--encoding=UTF8', '--locale=C' ] ],
	conf => <<"CONF");
max_connections = 10
superuser_reserved_connections = 3
listen_addresses = '127.0.0.1'
wal_level = replica
hot_standby = off
restore_command = 'test -e $released || cat $pipe; false'
CONF
unlink($node->data_dir . '/pg_hba.conf');
$node->append_conf('pg_hba.conf', <<'HBA');
local all all trust
host all plain_secret 127.0.0.1/32 password
host all md5_secret 127.0.0.1/32 md5
host all scram_secret 127.0.0.1/32 scram-sha-256
host all banned 127.0.0.1/32 reject
host all plain,limited,missing,locked 127.0.0.1/32 trust
HBA

# The translations are chosen by LANGUAGE, in any locale but C.
$ENV{LANGUAGE} = 'de';
$node->start;
$node->safe_psql('postgres', $_) for split /^/, <<'SQL';
CREATE EXTENSION infra_monitor CASCADE
CREATE ROLE plain LOGIN
CREATE ROLE banned LOGIN
CREATE ROLE stranger LOGIN
CREATE ROLE locked
CREATE ROLE limited LOGIN CONNECTION LIMIT 2
CREATE ROLE plain_secret LOGIN PASSWORD 'right'
SET password_encryption = 'md5'; CREATE ROLE md5_secret LOGIN PASSWORD 'right'
CREATE ROLE scram_secret LOGIN PASSWORD 'right'
CREATE DATABASE small CONNECTION LIMIT 1
CREATE DATABASE closed ALLOW_CONNECTIONS false
CREATE DATABASE private
REVOKE CONNECT ON DATABASE private FROM PUBLIC
SQL

my $translated = translated_lc_messages($node);
$node->stop;

# All refusals in this life of the server, oldest first, as recent_rejections
# shows them.
my @refusals;

# An executed child that is refused before it attaches to shared memory cannot
# count that: while the server starts or stops, with no slot left, and for a
# protocol that it does not speak.
my $uncounted =
  exec_backend()
  ? qr/^(?:max_connections 53300|starting_up|shutting_down|other 0A000)/
  : qr/(*FAIL)/;

sub remember
{
	my ($reason, $sqlstate, %options) = @_;

	return if "$reason $sqlstate" =~ $uncounted;
	push @refusals,
	  join('|', $reason, $sqlstate, $options{user} // $superuser,
		$options{database} // 'postgres', $options{application_name} // '',
		$options{tcp} ? '127.0.0.1' : '');
	return;
}

# Tries to connect $n times, each time with the SQLSTATE expected.  A server
# process has ended before the next begins, so that none takes the slot of
# another.  Returns the last message.
sub refuse
{
	my ($n, $reason, $sqlstate, %options) = @_;
	my $password = delete $options{password};
	my (%got, $message);

	for (1 .. $n)
	{
		my $session = begin_session($node, %options);
		my $outcome = await_session($session);

		if ($outcome eq 'password' && defined $password)
		{
			$session->{socket}->syswrite(
				'p' . pack('N', 5 + length $password) . "$password\0");
			$outcome = await_session($session);
		}
		$got{ $outcome eq 'refused' ? $session->{sqlstate} : $outcome }++;
		$message = $session->{message};
		remember($reason, $sqlstate, %options);
	}
	is_deeply(\%got, { $sqlstate => $n },
		"$n x $reason: " . join(' ', %options));
	return $message;
}

# The same with libpq and a wrong password, which it can encrypt.
sub refuse_password
{
	my ($user) = @_;
	local $ENV{PGPASSWORD} = 'wrong';

	# nothing for its standard input, which it may not live to read
	ok( !run_log([
			'psql', '--no-psqlrc', '--no-password', '--command' => 'SELECT 1',
			'--dbname' => 'host=127.0.0.1 port='
			  . $node->port
			  . " dbname=postgres user=$user application_name=libpq" ]),
		"wrong password of $user");
	remember(
		'authentication', '28P01',
		user => $user,
		application_name => 'libpq',
		tcp => 1);
	return;
}

# Compares all that is shown about refusals with what has happened.
sub check_refusals
{
	my ($session, $when) = @_;
	my %totals = map { $_ => 0 } @reasons;

	$totals{ (split /\|/)[0] }++ for @refusals;
	my $authentication = $totals{authentication};
	my $rejected = @refusals - $authentication;

	is( ask($session,
			'SELECT reason, total FROM infra_monitor.pool_rejections'),
		join("\n", map { "$_|$totals{$_}" } @reasons),
		"$when: totals by reason");
	is( ask($session,
			'SELECT string_agg(reason, \' \') FROM infra_monitor.pool_rejections WHERE last_at IS NOT NULL'
		),
		join(' ', grep { $totals{$_} } @reasons),
		"$when: the last of each that has happened has a moment");
	is( ask($session,
			'SELECT r.reason FROM infra_monitor.pool_rejections r WHERE last_at <> (SELECT max(at) FROM infra_monitor.recent_rejections WHERE reason = r.reason)'
		),
		'',
		"$when: which is the moment of its newest detail");
	is( ask($session,
			'SELECT rejected_total, auth_failures_total FROM infra_monitor.pool_pressure'
		),
		"$rejected|$authentication",
		"$when: totals in pool_pressure");

	my @newest = reverse @refusals;
	splice @newest, $ring_size if @newest > $ring_size;
	is_deeply(
		[   split /\n/,
			ask($session,
				'SELECT reason, sqlstate, usename, datname, application_name, client_addr FROM infra_monitor.recent_rejections'
			)
		],
		\@newest,
		"$when: all details of the newest refusals, newest first");
	is( ask($session,
			'SELECT coalesce(bool_and(ordered), true) FROM (SELECT at <= coalesce(lag(at) OVER (), now()) AS ordered FROM infra_monitor.recent_rejections) r'
		),
		't',
		"$when: their moments too");
	return;
}

# Waits until a condition is met.
sub wait_until
{
	my ($what, $condition) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	until ($condition->())
	{
		die "waited in vain: $what" if time > $deadline;
		usleep(20_000);
	}
	return;
}

# Waits until the postmaster says that it is in this state.
sub wait_for_postmaster
{
	my ($state) = @_;
	my $file = $node->data_dir . '/postmaster.pid';

	wait_until("the server is $state",
		sub { slurp_file($file) =~ /^\Q$state\E\s*$/m });
	return;
}

# Starts the server as a standby that does not serve queries, with attempts to
# connect before and after it knows that it is one; then promotes it.  Returns
# a superuser's session.
sub start_slowly
{
	my ($gate, $session);

	unlink $released;
	$node->set_standby_mode;
	system_or_bail(
		'pg_ctl', '--no-wait',
		'--pgdata' => $node->data_dir,
		'--log' => $node->logfile,
		'start');

	# can be opened once the start-up process reads it
	wait_until('the server starts',
		sub { sysopen($gate, $pipe, O_WRONLY | O_NONBLOCK) });
	my $starting = refuse(
		9, 'starting_up', '57P03',
		user => 'plain',
		application_name => 'early bird',
		tcp => 1);
	append_to_file($released, '');
	close $gate;

	wait_for_postmaster('standby');
	isnt(refuse(3, 'starting_up', '57P03', database => 'nowhere'),
		$starting, 'a standby without queries says something else');

	$node->_update_pid(1);
	$node->promote;

	# promoted is a moment before connections are allowed
	$session = begin_session($node);
	while (await_session($session) ne 'ready')
	{
		die $session->{message} if $session->{sqlstate} ne '57P03';
		remember('starting_up', '57P03');
		$session = begin_session($node);
	}
	return $session;
}

sub refuse_at_limits
{
	my ($observer) = @_;
	my @sessions = map { open_session($node, user => 'limited') } 1 .. 2;

	push @sessions, open_session($node, user => 'plain', database => 'small');
	refuse(
		2, 'role_limit', '53300',
		user => 'limited',
		application_name => 'limited app',
		tcp => 1);
	refuse(
		4, 'database_limit', '53300',
		user => 'plain',
		database => 'small',
		tcp => 1);
	check_refusals($observer, 'at the limits of role and database');
	is(ask($observer, 'SELECT infra_monitor.rejected_recently()'),
		scalar @refusals, 'all of them in the last five minutes');
	return @sessions;
}

# Takes all slots, two-step, and has samples taken meanwhile; then leaves them.
sub refuse_when_full
{
	my ($observer, @sessions) = @_;

	push @sessions, map { open_session($node, user => 'plain') } 1 .. 3;
	is( ask($observer,
			'SELECT used_connections, available_connections, used_ratio FROM infra_monitor.pool_pressure'
		),
		'7|0|1',
		'all slots for ordinary roles are taken');
	refuse(
		5, 'reserved', '53300',
		user => 'plain',
		application_name => q(it's "full"),
		tcp => 1);

	push @sessions, map { open_session($node) } 1 .. 3;
	is( ask($observer,
			'SELECT used_connections, available_connections, authenticating, status FROM infra_monitor.pool_pressure'
		),
		'10|0|0|critical',
		'all slots are taken');
	refuse(4, 'max_connections', '53300', application_name => 'admin');
	refuse(
		2, 'max_connections', '53300',
		user => 'plain',
		database => 'small',
		tcp => 1);

	my $from = ask($observer, 'SELECT clock_timestamp()');
	my $in_window = "sampled_at BETWEEN '$from' AND clock_timestamp()";
	wait_in_session($observer,
		"SELECT count(*) >= 2 FROM infra_monitor.samples WHERE $in_window",
		'samples are taken while not even a superuser can connect');
	is( ask($observer,
			"SELECT DISTINCT status, used_connections, available_connections, authenticating, rejected_total FROM infra_monitor.samples WHERE $in_window"
		),
		'critical|10|0|0|'
		  . scalar(grep { !/^authentication/ } @refusals),
		'and they tell it');
	check_refusals($observer, 'full');

	# the samples are still there when everything is over
	my $until = ask($observer, 'SELECT clock_timestamp()');
	close_sessions(@sessions);
	is( ask($observer,
			"SELECT count(*) FILTER (WHERE status = 'critical' AND available_connections = 0) = count(*), count(*) >= 2 FROM infra_monitor.samples WHERE sampled_at BETWEEN '$from' AND '$until'"
		),
		't|t',
		'afterwards the samples of that time are critical');
	is( ask($observer,
			'SELECT used_connections, available_connections FROM infra_monitor.pool_pressure'
		),
		'1|6',
		'the slots are free again');
	return;
}

sub refuse_strangers
{
	my ($observer) = @_;

	refuse(
		3, 'authentication', '28P01',
		user => 'plain_secret',
		application_name => 'guess',
		password => 'wrong',
		tcp => 1);
	refuse_password('md5_secret');
	refuse_password('scram_secret');
	refuse(6, 'authentication', '28000', user => 'banned', tcp => 1);
	refuse(1, 'authentication', '28000', user => 'stranger', tcp => 1);
	refuse(2, 'authentication', '28000', user => 'missing', tcp => 1);
	refuse(1, 'authentication', '28000', user => 'missing');
	refuse(1, 'authentication', '28000', user => 'locked', tcp => 1);
	check_refusals($observer, 'strangers');
	return;
}

# Other reasons, more than the ring holds.
sub refuse_others
{
	my ($observer) = @_;

	refuse(
		1, 'other', '3D000',
		user => 'plain',
		database => 'nowhere',
		application_name => 'lost',
		tcp => 1);
	refuse(2, 'other', '55000', database => 'closed');
	refuse(1, 'other', '42501', user => 'plain', database => 'private');
	refuse(1, 'other', '42704', user => 'plain', nonsense => '1');

	# a start-up packet that ends before any name
	my $session = { socket => $node->raw_connect, buffer => '' };
	$session->{socket}->syswrite(pack('N2', 8, 2 << 16));
	is(await_session($session), 'refused', 'an old protocol');
	remember('other', '0A000', user => '', database => '');
	check_refusals($observer, 'other reasons');
	refuse(
		250, 'other', '3D000',
		user => 'plain',
		database => 'nowhere',
		tcp => 1);
	check_refusals($observer, 'more than the ring holds');
	return;
}

# What is none: an end of file at the password prompt, a connection that says
# nothing, a request to cancel, and a session that dies later on.
sub refuse_nobody
{
	my ($observer) = @_;
	my $session =
	  begin_session($node, user => 'plain_secret', tcp => 1);

	is(await_session($session), 'password', 'a client asked for a password');
	close $session->{socket};
	close $node->raw_connect;
	close_sessions({ socket => $node->raw_connect, buffer => '' });

	# no such process; the server hangs up
	my $cancel = { socket => $node->raw_connect, buffer => '' };
	$cancel->{socket}->syswrite(pack('N4', 16, 80877102, 0, 0));
	is(await_session($cancel), 'refused', 'a request to cancel');

	$session = open_session($node, user => 'plain');
	ask($observer,
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'plain'"
	);
	is(await_session($session), 'refused', 'an established session ends');
	is($session->{sqlstate}, '57P01', 'with a FATAL');
	wait_in_session($observer,
		'SELECT authenticating FROM infra_monitor.pool_pressure',
		'the clients are gone', '0');
	check_refusals($observer, 'nobody refused');
	return;
}

# The life of a server with this lc_messages.
sub live
{
	my ($lc_messages) = @_;

	@refusals = ();
	$node->append_conf('postgresql.conf', "lc_messages = '$lc_messages'");
	my $observer = start_slowly();
	check_refusals($observer, 'start-up');

	my $message = try_ask($observer, 'SELECT no_such_column')
	  // $observer->{message};
	($lc_messages eq 'C' ? \&like : \&unlike)->(
		$message, qr/does not exist/, "language of $lc_messages");

	refuse_when_full($observer, refuse_at_limits($observer));
	refuse_strangers($observer);
	refuse_others($observer);
	refuse_nobody($observer);

	# pending while the observer stays
	system_or_bail(
		'pg_ctl', '--no-wait',
		'--pgdata' => $node->data_dir,
		'--mode' => 'smart',
		'stop');
	wait_for_postmaster('stopping');
	refuse(
		10, 'shutting_down', '57P03',
		application_name => 'latecomer',
		tcp => 1);
	check_refusals($observer, 'shutdown');
	is(ask($observer, "SELECT drops->>'rejections' FROM infra_monitor.sampler_status"),
		'0', 'no detail was lost');
	$node->stop;
	return;
}

subtest 'untranslated' => sub { live('C') };

SKIP:
{
	skip 'no locale with translated messages (install locales-all)', 1
	  unless $translated;
	subtest "translated, $translated" => sub { live($translated) };
}

done_testing();
