# Many clients at once that fail (H2), are cancelled and terminated (H4), vanish
# (H9) or are refused (H10), the deepest that the server allows (H5), and what
# stops or ends the sampler and its visitors meanwhile (H11, W1, W2, W4, W8, W12).
# The server lives on, clients get what they would get without us, and all is
# counted.  IMON_LONG_TESTS=1 in the environment: 20 000 refusals, and the sampler
# stands still for a minute.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

use constant LONG => $ENV{IMON_LONG_TESTS} ? 1 : 0;
use constant CLIENTS => 32;

my $ring_size = 64;
my $node = new_server('storm', conf => <<"CONF");
max_connections = 60
max_worker_processes = 2
max_logical_replication_workers = 0
restart_after_crash = on
autovacuum = off
log_statement = none
log_connections = on
log_disconnections = on
log_timezone = UTC
infra_monitor.statement_interval = 1h
infra_monitor.database_check_interval = 1h
infra_monitor.slow_query_log_size = $ring_size
infra_monitor.slow_query_threshold = -1
CONF
$node->start;
my $observer = open_session($node);
ask($observer, $_) for split /^/, <<'SQL';
CREATE EXTENSION infra_monitor CASCADE
CREATE DATABASE storm
ALTER DATABASE storm SET infra_monitor.slow_query_threshold = 0
SQL
$node->safe_psql('storm', <<'SQL');
CREATE TABLE t AS SELECT i FROM generate_series(1, 1000) i;
CREATE TABLE u (i int PRIMARY KEY);
INSERT INTO u VALUES (1);
CREATE TABLE mine (client int PRIMARY KEY, n int DEFAULT 0);
INSERT INTO mine SELECT i FROM generate_series(1, 100) i;
CREATE TABLE wide AS SELECT i, repeat('x', 500) AS t FROM generate_series(1, 20000) i;
ANALYZE wide;
CREATE FUNCTION fails(n int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
	RETURN CASE WHEN n = 0 THEN 1 / n ELSE fails(n - 1) END;
END $$;
SQL
wait_in_session($observer, 'SELECT count(*) > 0 FROM infra_monitor.samples', 'there are samples');
wait_in_session($observer, 'SELECT connects_total - disconnects_total FROM infra_monitor.pool_pressure',
	'whoever has made all this has left', 1);
my $storm = ask($observer, q{SELECT oid FROM pg_database WHERE datname = 'storm'});

# A sample that is younger than this call.
sub samples_go_on
{
	my ($name) = @_;
	my $now = ask($observer, 'SELECT clock_timestamp()');

	return wait_in_session($observer,
		"SELECT max(sampled_at) > '$now' FROM infra_monitor.samples", "$name: the sampler is alive");
}

sub status_of_sampler
{
	my ($column) = @_;

	return ask($observer, "SELECT $column FROM infra_monitor.sampler_status");
}

sub drops
{
	my (@reasons) = @_;

	return ask($observer, 'SELECT ' . join(' + ', map { "(drops->>'$_')::bigint" } @reasons) . ' FROM infra_monitor.sampler_status');
}

sub pool
{
	return ask($observer, 'SELECT ' . join(', ', @_) . ' FROM infra_monitor.pool_pressure');
}

sub start_over
{
	ask($observer, 'SELECT pg_stat_statements_reset()');
	ask($observer, 'SELECT infra_monitor.reset()');
	return;
}

# All clients since start_over() have gone, and what is counted of them says so.
sub only_the_observer
{
	my ($name) = @_;

	# the observer came before the reset
	wait_in_session($observer,
		q{SELECT used_connections, authenticating, connects_total - disconnects_total FROM infra_monitor.pool_pressure},
		"$name: all who came have left", '1|0|0');
	return is(ask($observer, <<'SQL'), '1|t', "$name: so it is by application");
SELECT sum(current), sum(connects) = max(connects_total) FROM infra_monitor.connection_churn, infra_monitor.pool_pressure
SQL
}

# What was counted in the database: completed, cancelled, terminated, failed,
# and how many of all these not as statements of clients.
sub counted
{
	return ask($observer, <<"SQL");
SELECT coalesce(sum(infra_monitor.observations(latency)), 0), coalesce(sum(cancelled), 0),
	coalesce(sum(terminated), 0), coalesce(sum(failed + lock_not_available), 0), count(*) FILTER (WHERE NOT toplevel)
FROM infra_monitor.statement_counts() WHERE dbid = $storm
SQL
}

# No process has crashed since the log ended there.
sub nothing_crashed
{
	my ($name, $offset) = @_;

	return is(log_count($node, 'PANIC:|TRAP: |terminated by signal|terminating any other active', $offset), 0, "$name: no process has crashed");
}

# Sends a query so many times, without waiting.
sub send_queries
{
	my ($session, $query, $times) = @_;

	my $message = 'Q' . pack('N', 5 + length $query) . "$query\0";

	$session->{socket}->syswrite($message x $times);
	return;
}

# The next answer: 00000, the SQLSTATE of an error, or 'gone' with the one that
# has ended the session.
sub read_answer
{
	my ($session) = @_;

	delete @$session{qw(rows sqlstate message hint)};
	return 'gone ' . ($session->{sqlstate} // '') if await_session($session) ne 'ready';
	return $session->{sqlstate} // '00000';
}

# Reads so many answers, and counts them.
sub read_answers
{
	my ($session, $times, $got) = @_;

	$got->{ read_answer($session) }++ for 1 .. $times;
	return;
}

# A message, what comes of it, and what has to follow.
my %kinds = (
	'in the planner' => [ 'SELECT 1/0', '22012' ],
	'in the executor' => [ 'SELECT max(1 / (i - 500)) FROM t', '22012' ],
	'in functions' => [ 'SELECT fails(20)', '22012' ],
	'no syntax' => [ 'SELEC 1', '42601' ],
	'no such column' => [ 'SELECT no_such_column', '42703' ],
	'unique violation' => [ 'INSERT INTO u VALUES (1)', '23505' ],
	'command' => [ 'DROP TABLE nowhere', '42P01' ],
	'statement_timeout' => [ 'BEGIN; SET LOCAL statement_timeout = 20; SELECT pg_sleep(60)', '57014', 'ROLLBACK' ]);

# Clients that fail, each with one of the kinds, all at the same time.  In the
# end each succeeds once.
sub storm_of
{
	my ($name, $batches, @kinds) = @_;
	my $log = log_end($node);
	my (@clients, %got, %expected);

	start_over();
	my $dropped = drops('executions');
	my $since = ask($observer, 'SELECT clock_timestamp()');
	my $lost = drops('slow_queries', 'slow_queries_overwritten');
	my $pid = ask($observer, 'SELECT pid FROM infra_monitor.sampler_status');
	foreach my $i (0 .. CLIENTS - 1)
	{
		push @clients, open_session($node, database => 'storm', application_name => 'client');
		$clients[-1]{kind} = $kinds[ $i % @kinds ];
	}
	my ($completed, $cancelled, $failed) = (0, 0, 0);
	for (1 .. $batches)
	{
		foreach my $client (@clients)
		{
			my ($query, $sqlstate, $next) = @{ $kinds{ $client->{kind} } };

			if ($next)
			{
				send_queries($client, $_, 1) for ($query, $next) x 10;
				$expected{ $client->{kind} }{'00000'} += 10;
				$cancelled += 10;
				$completed += 30;
			}
			else
			{
				send_queries($client, $query, 10);
				$failed += 10;
			}
			$expected{ $client->{kind} }{$sqlstate} += 10;
		}
		read_answers($_, $_->{kind} eq 'statement_timeout' ? 20 : 10, $got{ $_->{kind} } //= {}) for @clients;
	}
	is_deeply(\%got, \%expected, "H2: $name: each client got its error, and nothing else");

	# right after it
	ask($_, 'SELECT count(*) FROM u') for @clients;
	$completed += @clients;
	samples_go_on("H2: $name");
	close_sessions(@clients);

	my $all = $completed + $cancelled + $failed;
	my @counts = split /\|/, counted();
	my $not_counted = drops('executions') - $dropped;
	if ($not_counted == 0)
	{
		is(join('|', @counts), join('|', $completed, $cancelled, 0, $failed, 0), "H2: $name: each is counted once, in its class");
	}
	else
	{
		is($counts[0] + $counts[1] + $counts[2] + $counts[3] + $not_counted, $all,
			"H2: $name: counted and dropped ($not_counted) are all that were executed");
	}
	is(ask($observer, q{SELECT calls, failures, toplevel FROM infra_monitor.slow_queries WHERE query LIKE 'SELECT count(*) FROM u'}),
		CLIENTS . '|0|t', "H2: $name: the next statement of each is one of a client");

	my $log_lost = q{(drops->>'slow_queries')::int + (drops->>'slow_queries_overwritten')::int};
	wait_in_session($observer,
		"SELECT (SELECT count(*) FROM infra_monitor.slow_query_log WHERE datname = 'storm' AND ended_at > '$since') + $log_lost - $lost FROM infra_monitor.sampler_status",
		"H2: $name: kept, stored and lost executions of the log are all", $all);
	cmp_ok(drops('slow_queries', 'slow_queries_overwritten'), '>', $lost, "H2: $name: some were lost, and counted");
	is(ask($observer, 'SELECT pid FROM infra_monitor.sampler_status'), $pid, "H2: $name: it is the same sampler");
	only_the_observer("H2: $name");
	nothing_crashed("H2: $name", $log);
	return;
}

subtest 'H2: error storm' => sub {
	storm_of('division by zero', 20, 'in the planner');
	storm_of('many kinds', 10, sort keys %kinds);
};

subtest 'H2: serialization failures' => sub {
	my $rounds = 5;
	my %got;

	start_over();
	my @clients = map { open_session($node, database => 'storm') } 1 .. CLIENTS;
	my $other = open_session($node, database => 'storm');
	for (1 .. $rounds)
	{
		ask($_, 'BEGIN ISOLATION LEVEL REPEATABLE READ') for @clients;
		ask($_, 'SELECT count(*) FROM mine') for @clients;
		ask($other, 'UPDATE mine SET n = n + 1');
		send_queries($clients[$_], 'UPDATE mine SET n = 0 WHERE client = ' . ($_ + 1), 1) for 0 .. $#clients;
		read_answers($_, 1, \%got) for @clients;
		ask($_, 'ROLLBACK') for @clients;
	}
	close_sessions(@clients, $other);
	is_deeply(\%got, { '40001' => CLIENTS * $rounds }, 'H2: serialization: each client got it');
	is(counted(), join('|', (3 * CLIENTS + 1) * $rounds, 0, 0, CLIENTS * $rounds, 0), 'H2: serialization: each is counted once');
	only_the_observer('H2: serialization');
};

# Sessions in the database, in an order that does not depend on chance.
my $pids = q{SELECT pid FROM pg_stat_activity WHERE datname = 'storm' AND backend_type = 'client backend' ORDER BY backend_start};

# Lets clients do what they do, and sends them signals, in an order that a seed
# gives.  Returns how many signals were sent, and how often there was which answer.
sub harass
{
	my ($signals, $queries, $got) = @_;
	my (@clients, %sent);
	my $new = sub {
		my $client = begin_session($node, database => 'storm', application_name => 'client');

		$client->{waiting} = 1;	# to be let in
		return $client;
	};
	my $look_at = sub {
		my ($client) = @_;
		my $answer = read_answer($client);
		my $opens = !$client->{open}++;

		$got->{$answer}++ unless $opens && $answer eq '00000';
		$got->{connected}++ if $opens && $answer eq '00000';
		$client->{waiting}--;
		return $answer !~ /gone/;
	};

	push @clients, $new->() for 1 .. 12;
	# more, if they come too late on a busy machine
	for (my $n = 0; $n < $signals || ($n < 20 * $signals && ($got->{57014} < 20 || $got->{'gone 57P01'} < 20)); $n++)
	{
		foreach my $client (@clients)
		{
			local $SIG{PIPE} = 'IGNORE';
			my $lives = 1;

			$lives = $look_at->($client) while $lives && $client->{waiting} > 0 && has_answered($client);
			if (!$lives)
			{
				$client = $new->();
			}
			elsif ($client->{waiting} == 0)
			{
				$client->{waiting} = 1 + int rand 5;
				send_queries($client, $queries->[ int rand @$queries ], $client->{waiting});
			}
		}
		usleep(rand 3000);
		my $function = rand() < 0.8 ? 'pg_cancel_backend' : 'pg_terminate_backend';
		my $answer = ask($observer, "SELECT $function(pid) FROM ($pids LIMIT 1 OFFSET " . int(rand @clients) . ') p');

		$sent{$function}++ if $answer eq 't';
	}
	foreach my $client (@clients)
	{
		my $lives = 1;

		$lives = $look_at->($client) while $lives && $client->{waiting} > 0;
		close_sessions($client);
	}
	return \%sent;
}

subtest 'H4: cancelled and terminated at any moment' => sub {
	my $seed = 20261122;
	my $log = log_end($node);
	my %got = ('00000' => 0, '57014' => 0, '22012' => 0, 'gone 57P01' => 0);

	note("H4: seed $seed");
	srand($seed);
	start_over();
	my $dropped = drops('executions');
	my $sent = harass(250, [
			'SELECT count(*) FROM t', 'SELECT pg_sleep(0.2)', 'SELECT fails(5)', 'SELECT sum(length(t)) FROM wide',
			'UPDATE mine SET n = n + 1', 'SELECT i FROM t', 'ANALYZE t',
			'DO $$ BEGIN FOR i IN 1..20 LOOP PERFORM count(*) FROM t; END LOOP; END $$' ],
		\%got);

	note('H4: sent: ', explain($sent), 'got: ', explain(\%got));
	is(join(' ', grep { !/^(?:00000|22012|57014|connected|gone 57P01|gone 57014)$/ } sort keys %got), '', 'H4: clients get no other errors');
	cmp_ok($_, '>=', 20, 'H4: some were hit') for @got{ '57014', 'gone 57P01' };
	only_the_observer('H4');

	# who is terminated does not know whether its statement had begun, or ended
	$dropped = drops('executions') - $dropped;
	my ($completed, $cancelled, $terminated, $failed, $nested) = split /\|/, counted();
	note("H4: counted: $completed completed, $cancelled cancelled, $terminated terminated, $failed failed, $dropped dropped");
	is($nested, 0, 'H4: all as statements of clients');
	is($dropped, 0, 'H4: nothing was dropped');
	is($failed, $got{'22012'}, 'H4: each failure is counted once');
	my $gone = $got{'gone 57P01'} + ($got{'gone 57014'} // 0);
	my $unknown = $completed - $got{'00000'} + $cancelled - $got{'57014'} + $terminated;
	ok($unknown >= 0 && $unknown <= $gone, "H4: so is each of the others; $unknown of those whose sessions were ended");

	is(pool('connects_total + rejected_total', 'connects_total - disconnects_total'), log_count($node, 'connection authorized: ', $log) . '|0',
		'H4: connections are those that the log has');
	is(ask($observer, q{SELECT count(*) FROM pg_stat_activity WHERE wait_event LIKE 'infra_monitor%'}), 0, 'H4: nobody waits for a lock of ours');
	samples_go_on('H4');
	start_over();
	is(counted(), '0|0|0|0|0', 'H4: a reset works');
	my @clients = map { open_session($node, database => 'storm') } 1 .. 59;
	ask($_, 'SELECT count(*) FROM u') for @clients;
	is(pool('used_connections'), 60, 'H4: all slots can be taken');
	close_sessions(@clients);
	is(counted(), '59|0|0|0|0', 'H4: and each counts as it should');
	only_the_observer('H4: afterwards');
	nothing_crashed('H4', $log);
};

# Waits for so many lines of the log.
sub wait_for_lines
{
	my ($offset, $pattern, $times) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	until (log_count($node, $pattern, $offset) >= $times)
	{
		die "no $times lines of '$pattern'" if time > $deadline;
		usleep(20_000);
	}
	return;
}

#
# H9.  A client leaves at each point, and is known to be gone when its server
# process has ended.
#
my $hba = slurp_file($node->data_dir . '/pg_hba.conf');
ask($observer, $_) for "CREATE ROLE secret LOGIN PASSWORD 'right'";
unlink $node->data_dir . '/pg_hba.conf';
$node->append_conf('pg_hba.conf', "local all secret password\nlocal banned all reject\n$hba");
ask($observer, 'SELECT pg_reload_conf()');

# A startup packet, as a client would send it.
sub startup_packet
{
	my ($user, $database) = @_;
	my $packet = pack('N', 3 << 16) . "user\0$user\0database\0$database\0\0";

	return pack('N', 4 + length $packet) . $packet;
}

# A connection over which something was sent.
sub raw_client
{
	my ($bytes) = @_;
	my $socket = $node->raw_connect;

	$socket->syswrite($bytes) if length $bytes;
	return { socket => $socket, buffer => '' };
}

subtest 'H9: clients that vanish' => sub {
	my $packet = startup_packet(scalar getpwuid($<), 'storm');
	my $in_storm = sub {
		my (@queries) = @_;
		my $client = open_session($node, database => 'storm');

		ask($client, $_) for @queries[ 0 .. $#queries - 1 ];
		send_query($client, $queries[-1]) if @queries;
		return $client;
	};
	my $waits = sub {
		my ($query, $event) = @_;
		my $client = $in_storm->('BEGIN', 'INSERT INTO u VALUES (2)', $query);

		wait_in_session($observer,
			"SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = 'storm' AND state = 'active' AND wait_event = '$event'", "H9: it waits: $event");
		return $client;
	};
	# how often, and are they let in before?
	my @points = (
		[ 'before it says anything', 10, 0, sub { raw_client('') } ],
		[ 'in the length of its first packet', 10, 0, sub { raw_client(substr $packet, 0, 2) } ],
		[ 'behind the length', 10, 0, sub { raw_client(substr $packet, 0, 4) } ],
		[ 'in the middle of the packet', 10, 0, sub { raw_client(substr $packet, 0, 20) } ],
		[ 'behind it', 30, 1, sub { raw_client($packet) } ],
		[ 'asking for encryption', 10, 0, sub { raw_client(pack('NN', 8, 80877103)) } ],
		[ 'asked for a password', 10, 0, sub { my $client = begin_session($node, user => 'secret'); await_session($client); $client } ],
		[ 'in the middle of its password', 10, 0,
			sub { my $client = begin_session($node, user => 'secret'); await_session($client); $client->{socket}->syswrite("p\0\0\0\x0ari"); $client } ],
		[ 'authenticated', 10, 1, $in_storm ],
		[ 'with an unknown kind of message', 5, 1, sub { my $client = $in_storm->(); $client->{socket}->syswrite("\x01\0\0\0\x04"); $client } ],
		[ 'in the middle of a query', 10, 1, sub { my $client = $in_storm->(); $client->{socket}->syswrite("Q\0\0\0\x20SELECT"); $client } ],
		[ 'in a transaction', 10, 1, sub { my $client = $in_storm->('BEGIN', 'INSERT INTO u VALUES (2)', 'SELECT 1'); await_session($client); $client } ],
		[ 'in a failed one', 10, 1, sub { my $client = $in_storm->('BEGIN', 'INSERT INTO u VALUES (2)', 'SELECT 1/0'); await_session($client); $client } ],
		[ 'with a query under way', 3, 1, sub { $waits->('SELECT pg_sleep(0.3)', 'PgSleep') } ],
		[ 'reading', 3, 1, sub { $waits->('SELECT * FROM wide', 'ClientWrite') } ],
		[ 'in COPY to it', 3, 1, sub { $waits->('COPY wide TO STDOUT', 'ClientWrite') } ],
		[ 'in COPY from it', 3, 1, sub { $waits->('COPY u FROM STDIN', 'ClientRead') } ],
		[ 'with half a row of COPY', 3, 1,
			sub { my $client = $waits->('COPY u FROM STDIN', 'ClientRead'); $client->{socket}->syswrite("d\0\0\0\x099999\nd\0\0\0\x0999"); $client } ]);

	foreach my $point (@points)
	{
		my ($name, $times, $let_in, $begin) = @$point;
		my $log = log_end($node);

		start_over();
		for (1 .. $times)
		{
			close $begin->()->{socket};
		}

		wait_for_lines($log, $let_in ? ' disconnection: session time' : 'connection received: ', $times);
		only_the_observer("H9: $name");
		is(log_count($node, ' disconnection: session time', $log), $times * $let_in, "H9: $name: those that are let in leave");
		is(pool('connects_total', 'disconnects_total'), join('|', ($times * $let_in) x 2), "H9: $name: they are counted in and out");
		nothing_crashed("H9: $name", $log);
	}
	is($node->safe_psql('storm', 'SELECT count(*) FROM u'), 1, 'H9: what they began is rolled back');
	samples_go_on('H9');
};

#
# H10
#
subtest 'H10: refused logins' => sub {
	my $n = LONG ? 20_000 : 2000;
	my $log = log_end($node);
	my $seed = 20261123;
	my (%got, %expected);
	my $name = sub {
		my ($prefix) = @_;

		# 63 bytes at most, of all kinds
		return join '', $prefix, map { chr(1 + int rand 255) } 1 .. 1 + int rand(63 - length $prefix);
	};
	my $cardinality = q{SELECT (SELECT count(*) FROM infra_monitor.metrics WHERE name ~ 'connect|reject|auth|pool'), (SELECT count(*) FROM infra_monitor.connection_churn)};

	note("H10: seed $seed");
	srand($seed);
	start_over();
	my $memory = ask($observer, 'SELECT shared_memory FROM infra_monitor.sampler_status');
	my $before = ask($observer, $cardinality);
	my $time = seconds
	{
		for (my $done = 0; $done < $n; $done += 20)
		{
			my @sessions;

			foreach my $i (1 .. 20)
			{
				my ($user, $database, $sqlstate) =
				    $i % 4 == 0 ? (scalar getpwuid($<), $name->('d'), '3D000')
				  : $i % 4 == 1 ? ($name->('u'), 'banned', '28000')
				  : ($name->('u'), $name->('d'), '28000');

				push @sessions, raw_client(startup_packet($user, $database));
				$expected{$sqlstate}++;
			}
			foreach my $session (@sessions)
			{
				await_session($session);
				$got{ $session->{sqlstate} // 'none' }++;
			}
		}
	};

	diag(sprintf 'H10: %d refused in %.1f s', $n, $time) if LONG;
	is_deeply(\%got, \%expected, "H10: $n logins are refused as they would be");
	is(ask($observer, q{SELECT reason, total FROM infra_monitor.pool_rejections WHERE total > 0 ORDER BY reason}),
		"authentication|$expected{28000}\nother|$expected{'3D000'}", 'H10: all are counted, by reason');
	is(pool('auth_failures_total', 'rejected_total', 'connects_total'), "$expected{28000}|$expected{'3D000'}|0", 'H10: and in all');
	cmp_ok(ask($observer, 'SELECT count(*) FROM infra_monitor.recent_rejections'), '<=', 256, 'H10: details of the last are kept');
	is(ask($observer, 'SELECT max(octet_length(usename)) <= 63 AND max(octet_length(datname)) <= 63 FROM infra_monitor.recent_rejections'), 't',
		'H10: names are names');
	is(ask($observer, 'SELECT shared_memory FROM infra_monitor.sampler_status'), $memory, 'H10: memory is what it was');
	is(ask($observer, $cardinality), $before, 'H10: so is the number of series and applications');
	only_the_observer('H10');
	samples_go_on('H10');
	nothing_crashed('H10', $log);
};

#
# The sampler and its visitors are stopped, or end
#

# Settings that the sampler follows.
sub set
{
	my (%settings) = @_;

	ask($observer, "ALTER SYSTEM SET $_ = '$settings{$_}'") for keys %settings;
	ask($observer, 'SELECT pg_reload_conf()');
	return;
}

# Stops the process that the query finds, where the query finds it: it must find
# it still after that.
sub stop_process
{
	my ($query) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	while (time < $deadline)
	{
		my $pid = ask($observer, $query);

		if ($pid)
		{
			kill 'STOP', $pid;
			usleep(50_000);
			return $pid if ask($observer, $query) eq $pid;
			kill 'CONT', $pid;
		}
		usleep(5_000);
	}
	die "nothing to stop: $query";
}

# Stops a visitor, while it waits for a lock in the database.  Returns its process,
# and the session that holds the lock.
sub stop_visitor
{
	my $holder = open_session($node, database => 'storm');

	ask($holder, 'BEGIN');
	ask($holder, 'LOCK TABLE pg_sequence IN ACCESS EXCLUSIVE MODE');
	set('infra_monitor.database_check_interval' => '1s');
	my $pid = stop_process(
		q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'infra_monitor database check' AND wait_event_type = 'Lock' AND wait_event = 'relation'});
	return ($pid, $holder);
}

sub round_after
{
	my ($name) = @_;
	my $now = ask($observer, 'SELECT clock_timestamp()');

	return wait_in_session($observer, "SELECT started_at > '$now' FROM infra_monitor.database_round()", "$name: visits go on");
}

subtest 'H11: a visitor of databases stands still' => sub {
	my ($visitor, $holder) = stop_visitor();
	my $log = log_end($node);
	my @clients = map { open_session($node, database => $_) } ('storm', 'postgres', 'template1') x 3;

	is(join(' ', map { ask($_, q{SELECT count(*) FROM pg_class WHERE relname = 'pg_class'}) } @clients), '1 1 1 1 1 1 1 1 1', 'H11: clients are let in, and work');
	ok(defined try_ask($clients[0], $_), "H11: $_") for 'CREATE TABLE made (i int)', 'DROP TABLE made';
	samples_go_on('H11');
	is(ask($observer, qq{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'infra_monitor database check' AND pid = $visitor}), 1, 'H11: it stood still all the time');
	kill 'CONT', $visitor;
	close_sessions(@clients, $holder);
	round_after('H11');
	set('infra_monitor.database_check_interval' => '1h');
	nothing_crashed('H11', $log);
};

subtest 'W8: others take the slots of workers' => sub {
	my $client = open_session($node, database => 'storm');
	my $other = open_session($node, database => 'storm');
	my $query = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'parallel worker'};

	wait_in_session($observer, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'infra_monitor database check'}, 'W8: no visitor is about', 0);
	foreach my $session ($client, $other)
	{
		ask($session, "SET $_ = 0") for qw(parallel_setup_cost parallel_tuple_cost min_parallel_table_scan_size);
		ask($session, 'SET max_parallel_workers_per_gather = 1');
	}
	send_query($client, 'SELECT count(pg_sleep(0.1)) FROM wide');
	wait_in_session($observer, $query, 'W8: a parallel query has the last slot', 1);
	my $log = log_end($node);
	my $round = ask($observer, 'SELECT started_at FROM infra_monitor.database_round()');

	set('infra_monitor.database_check_interval' => '1s');
	samples_go_on('W8') for 1 .. 4;
	like(ask($other, 'EXPLAIN SELECT count(*) FROM wide'), qr/Workers Planned: 1/, 'W8: another parallel query');
	is(ask($other, 'SELECT count(*) FROM wide'), 20_000, 'W8: works');
	is(ask($observer, $query), 1, 'W8: the slot is taken all the time');
	is(ask($observer, 'SELECT started_at FROM infra_monitor.database_round()'), $round, 'W8: nobody visits databases meanwhile');
	cmp_ok(scalar(grep { /worker|database check|databases/ && !/health check/ } worker_log($node, $log)), '<=', 1, 'W8: which is said once at most');
	is(log_count($node, '\[\d+\] (?:.* )?(?:WARNING|ERROR|FATAL|PANIC):', $log), 0, 'W8: and is no failure');
	is(status_of_sampler('last_error'), '', 'W8: nor one for the status');
	ask($observer, q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT count(pg_sleep(0.1))%' AND backend_type = 'client backend'});
	is(read_answer($client), '57014', 'W8: the query is cancelled');
	round_after('W8');
	set('infra_monitor.database_check_interval' => '1h');
	close_sessions($client, $other);
};

subtest 'W4: the sampler stands still' => sub {
	my $seconds = LONG ? 60 : 5;
	my $log = log_end($node);
	my $client = open_session($node, database => 'storm');
	my $counts = 'SELECT extract(epoch FROM clock_timestamp()), ticks, missed FROM infra_monitor.sampler_status';

	samples_go_on('W4');
	my $pid = stop_process(
		q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'infra_monitor sampler' AND state = 'idle' AND wait_event_type IN ('Extension', 'Activity')});
	my @before = split /\|/, ask($observer, $counts);

	is(ask($client, 'SELECT count(*) FROM u'), 1, 'W4: clients work');
	ok(defined try_ask($client, $_), "W4: $_") for 'SELECT 1 AS a', 'CREATE TABLE made (i int)', 'DROP TABLE made';
	close_sessions(map { open_session($node, database => 'storm') } 1 .. 20);
	ok(defined try_ask($observer, "SELECT * FROM infra_monitor.$_"), "W4: $_ can be read") for qw(pool_pressure slow_queries sampler_status metrics health());
	wait_in_session($observer, "SELECT extract(epoch FROM clock_timestamp()) > $before[0] + $seconds", "W4: $seconds seconds go by");
	my @during = split /\|/, ask($observer, $counts);

	is($during[1], $before[1], 'W4: it does nothing');
	kill 'CONT', $pid;
	samples_go_on('W4: afterwards') for 1 .. 3;
	my @after = split /\|/, ask($observer, $counts);
	my ($ticks, $missed, $all) = ($after[1] - $before[1], $after[2] - $before[2], $after[0] - $before[0]);

	# one at once, the others as time goes by; each moment is one or the other
	cmp_ok($ticks, '<=', $after[0] - $during[0] + 2, 'W4: samples afterwards are those for which there was time');
	cmp_ok($missed, '>=', $during[0] - $before[0] - 2, "W4: the others are missed: $missed");
	cmp_ok(abs($ticks + $missed - $all), '<=', 3, 'W4: taken and missed are all that were due');
	is(ask($observer, "SELECT count(*) FROM infra_monitor.samples WHERE extract(epoch FROM sampled_at) BETWEEN $before[0] AND $during[0]"), 0, 'W4: nothing is made up');
	is(status_of_sampler('pid'), $pid, 'W4: it is the same sampler');
	close_sessions($client);
	nothing_crashed('W4', $log);
};

subtest 'W1: the sampler is terminated' => sub {
	set('infra_monitor.sample_interval' => '10s');
	my $log = log_end($node);
	my $pid = status_of_sampler('pid');
	my $last = ask($observer, 'SELECT max(sampled_at) FROM infra_monitor.samples');

	end_sampler($observer);
	ok($node->wait_for_log(qr/LOG:  background worker "infra_monitor sampler" \(PID $pid\) exited with exit code 1/, $log), 'W1: it exits with status 1');
	wait_in_session($observer, "SELECT max(sampled_at) > '$last' FROM infra_monitor.samples", 'W1: the next one samples');

	# of ten seconds, the default
	is(ask($observer, "SELECT min(sampled_at) - '$last' <= interval '20 seconds' FROM infra_monitor.samples WHERE sampled_at > '$last'"),
		't', 'W1: within two intervals') or diag ask($observer, "SELECT sampled_at FROM infra_monitor.samples WHERE sampled_at >= '$last'");
	nothing_crashed('W1', $log);
	set('infra_monitor.sample_interval' => '1s');
};

# A session when the server accepts one again.
sub reopen
{
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	while (time < $deadline)
	{
		my $session = eval { begin_session($node) };

		return $session if $session && await_session($session) eq 'ready';
		usleep(50_000);
	}
	die 'the server does not come back';
}

foreach my $victim ('sampler', 'visitor')
{
	subtest "W2: the $victim is killed" => sub {
		my ($pid, $holder) = $victim eq 'sampler' ? status_of_sampler('pid') : stop_visitor();
		my $log;

		samples_go_on('W2');
		ask($observer, 'CHECKPOINT');
		my ($epoch, $rows, $connects) = split /\|/, ask($observer, <<'SQL');
SELECT (SELECT epoch FROM infra_monitor.samples ORDER BY sampled_at DESC LIMIT 1), (SELECT count(*) FROM infra_monitor.samples),
	(SELECT connects_total FROM infra_monitor.pool_pressure)
SQL
		close_sessions(map { open_session($node) } 1 .. 10);
		set('infra_monitor.database_check_interval' => '1h');
		$log = log_end($node);
		kill 'KILL', $pid;
		ok($node->wait_for_log(qr/\(PID $pid\) was terminated by signal 9/, $log), "W2: the $victim is gone");
		ok($node->wait_for_log('all server processes terminated; reinitializing', $log), 'W2: so are all others, as PostgreSQL does it');
		$observer = reopen();
		my ($at) = substr(slurp_file($node->logfile), $log) =~ /^(\S+ \S+ UTC) .*all server processes terminated; reinitializing/m;

		wait_in_session($observer, "SELECT count(*) > 1 FROM infra_monitor.samples WHERE epoch <> $epoch AND sampled_at > '$at'", 'W2: it samples in a new epoch');
		is(ask($observer, "SELECT min(sampled_at) - '$at' <= interval '15 seconds' FROM infra_monitor.samples WHERE epoch <> $epoch AND sampled_at > '$at'"),
			't', 'W2: within 15 seconds');
		cmp_ok(ask($observer, "SELECT count(*) FROM infra_monitor.samples WHERE sampled_at < '$at'"), '>=', $rows, 'W2: what was stored is there');
		is(pool('connects_total', 'disconnects_total', 'used_connections', "stats_reset > '$at'"), '1|0|1|t', 'W2: counters begin anew');
		is(status_of_sampler("state, last_error IS NULL, pid <> $pid"), 'running|t|t', 'W2: the sampler runs');
		is(log_count($node, 'PANIC:|TRAP: ', $log), 0, 'W2: nothing else went wrong');
		is(log_count($node, 'terminated by signal', $log), 1, 'W2: nor again');
		set('infra_monitor.database_check_interval' => '1s');
		round_after('W2');
		set('infra_monitor.database_check_interval' => '1h');
	};
}

# What comes of reading everything: names and SQLSTATEs.
sub everything
{
	my %results;

	foreach my $line (everything_to_read($node, 'postgres'))
	{
		my ($name, $command) = split / /, $line, 2;

		$results{$name} = defined try_ask($observer, $command) ? '00000' : $observer->{sqlstate};
	}
	return %results;
}

#
# W12: as few file descriptors as PostgreSQL starts with
#
subtest 'W12: few file descriptors' => sub {
	my $dir = PostgreSQL::Test::Utils::tempdir_short();
	my %usual = everything();
	my $n = 56;
	my $log;

	cmp_ok(scalar(keys %usual), '>', 50, 'W12: there is much to read');
	ask($observer, "ALTER SYSTEM SET $_") for "infra_monitor.system_root = ''", "infra_monitor.textfile = '$dir/few.prom'", "infra_monitor.statement_interval = '1s'";
	close_sessions($observer);
	$node->stop;
	$node->append_conf('postgresql.conf', "max_files_per_process = 64\n");
	for (; $n <= 200; $n += 2)
	{
		$node->append_conf('postgresql.conf', "max_files_per_process = $n\n") if $n > 64;
		$log = log_end($node);
		last if system("(ulimit -n $n && exec pg_ctl -w -s -D '" . $node->data_dir . "' -l '" . $node->logfile . "' start) >/dev/null 2>&1") == 0;
	}
	note("W12: it starts with $n");
	cmp_ok($n, '<=', 200, 'W12: the server starts');
	$node->_update_pid(1);
	$observer = open_session($node);

	my $pid = status_of_sampler('pid');
	is((slurp_file("/proc/$pid/limits") =~ /^Max open files +(\d+)/m)[0], $n, 'W12: the sampler has no more') if -r "/proc/$pid/limits";
	my $client = open_session($node, database => 'storm');
	ask($client, 'CREATE SCHEMA many');
	ask($client, q{DO $$ BEGIN FOR i IN 1..300 LOOP EXECUTE format('CREATE TABLE many.t_%s AS SELECT %s AS i', i, i); END LOOP; END $$});
	ask($client, q{SET work_mem = '64kB'});
	is(ask($client, 'SELECT sum(i) FROM (' . join(' UNION ALL ', map { "SELECT i FROM many.t_$_" } 1 .. 300) . ') t'), 45150, 'W12: 300 tables');
	is(ask($client, 'SELECT count(*) FROM (SELECT DISTINCT a.i, b.t FROM wide a JOIN wide b USING (i) ORDER BY b.t, a.i DESC) t'), 20_000, 'W12: temporary files');
	my %few = everything();
	is_deeply(\%few, \%usual, 'W12: all that can be read can be read');
	samples_go_on('W12') for 1 .. 2;
	wait_in_session($observer, q{SELECT count(*) > 0 FROM infra_monitor.statement_samples}, 'W12: statements are stored');
	wait_in_session($observer, "SELECT (pg_stat_file('$dir/few.prom', true)).size > 1000", 'W12: files are written');
	set('infra_monitor.database_check_interval' => '1s');
	round_after('W12');
	is(status_of_sampler('last_error'), '', 'W12: the sampler has no error');
	is(log_count($node, 'too many open files|file descriptors|\[\d+\] (?:.* )?(?:PANIC|WARNING):', $log), 0, 'W12: nothing is missing');
	nothing_crashed('W12', $log);
	close_sessions($client, $observer);
	$node->stop;
};

#
# H5: as deep as it goes, with us and, on the same server, without
#
subtest 'H5: 500 functions and savepoints deep' => sub {
	my $script = <<'SQL' . join("\n", 'BEGIN;', (map { "SAVEPOINT s$_; INSERT INTO deep VALUES ($_);" } 1 .. 500), <<'SQL');
\set VERBOSITY verbose
\set ON_ERROR_ROLLBACK off
SET client_min_messages = notice;
\set stack 6MB
\getenv stack IMON_STACK_DEPTH
SET max_stack_depth = :'stack';
CREATE TEMP TABLE deep (i int);
CREATE FUNCTION pg_temp.down(n int, how text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	result int;
BEGIN
	IF n = 0 THEN
		RETURN CASE how WHEN 'fine' THEN 0 ELSE 1 / n END;
	END IF;
	IF how <> 'caught' THEN
		RETURN 1 + pg_temp.down(n - 1, how);
	END IF;
	BEGIN
		INSERT INTO deep VALUES (n);
		EXECUTE 'SELECT 1 + pg_temp.down($1, $2)' INTO result USING n - 1, how;
	EXCEPTION WHEN division_by_zero THEN
		INSERT INTO deep VALUES (-n);
		IF n % 7 > 0 THEN
			RAISE;
		END IF;
		RETURN n;
	END;
	RETURN result;
END $$;
SELECT pg_temp.down(500, 'fine');
SELECT pg_temp.down(500, 'error');
SELECT pg_temp.down(500, 'caught');
SELECT count(*), sum(i) FROM deep;
DO $$ BEGIN PERFORM pg_temp.down(500, 'caught'); PERFORM pg_temp.down(500, 'fine'); END $$;
SELECT count(*), sum(i) FROM deep;
\set VERBOSITY sqlstate
SELECT pg_temp.down(1000000, 'fine');
SELECT pg_temp.down(1000000, 'caught');
\set VERBOSITY verbose
SELECT 1 / 0;
SELECT pg_temp.down(7, 'caught');
TRUNCATE deep;
SQL
SELECT count(*) FROM deep;
SELECT pg_temp.down(500, 'error');
SELECT count(*) FROM deep;
ROLLBACK TO s250;
SELECT count(*) FROM deep;
RELEASE s100;
SELECT pg_temp.down(500, 'caught');
ROLLBACK TO s99;
SELECT pg_temp.down(100, 'error');
ROLLBACK TO s50;
INSERT INTO deep VALUES (0);
COMMIT;
SELECT count(*), sum(i) FROM deep;
SQL
	my (@with, @without);

	# with more to do for us than usually
	$node->append_conf('postgresql.conf', "infra_monitor.track = all\ninfra_monitor.slow_query_threshold = 0\ninfra_monitor.slow_query_plan = on\nmax_files_per_process = 1000\n");
	my $log = log_end($node);
	$node->start;
	@with = $node->psql('storm', $script, on_error_stop => 0);
	wait_for_sample($node, 'H5: the sampler is alive, with more descriptors');
	cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM infra_monitor.statement_counts() WHERE NOT toplevel AND dbid = $storm"), '>', 0, 'H5: nested statements are counted');
	is($node->safe_psql('postgres', q{SELECT calls, failures FROM infra_monitor.slow_queries WHERE toplevel AND query LIKE 'INSERT INTO deep VALUES ($1)' AND calls > 500}),
		'501|0', 'H5: statements of the client are its own, after each error');
	$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
	$node->restart;
	is($node->safe_psql('storm', 'SHOW shared_preload_libraries'), '', 'H5: then without us');
	@without = $node->psql('storm', $script, on_error_stop => 0);

	# of which session it is
	s/pg_temp_\d+/pg_temp/g for @with, @without;
	is($with[0], $without[0], 'H5: the same exit status');
	is($with[1], $without[1], 'H5: the same results');
	is($with[2], $without[2], 'H5: the same errors');
	like($without[1], qr/^500$/m, 'H5: 500 functions can be called');
	like($without[2], qr/ERROR:  22012: division by zero/, 'H5: errors come through');
	like($without[2], qr/ERROR:  54001$/m, 'H5: and there is an end to it');
	nothing_crashed('H5', $log);
	$node->stop;
};

done_testing();
