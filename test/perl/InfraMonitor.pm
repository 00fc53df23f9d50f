# What the TAP tests share: servers with infra_monitor preloaded, and waiting
# for conditions.

package InfraMonitor;

use strict;
use warnings;

use Carp ();
use Exporter qw(import);
use File::Basename qw(basename dirname);
use File::Glob qw(:bsd_glob);
use File::Path qw(make_path);
use IO::Select;
use IO::Socket::IP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

our @EXPORT = qw(allow_seconds new_server wait_for wait_for_sample status_of end_sampler
  stop_sampler log_count
  begin_session await_session open_session ask try_ask send_query has_answered
  answer_of wait_in_session
  close_sessions log_end worker_log seconds copies_of read_everything
  everything_to_read
  pg_config exec_backend private_installation replace_file
  translated_lc_messages clock_to_set set_clock wait_for_partitions
  not_across_midnight);

# No test file may take longer than this, whatever it waits for: what waits
# without a limit would otherwise be waited for by all that come after it.  Most
# need a minute.  The servers are stopped when perl ends, here as always; should
# that hang as well, the second alarm ends it without them.
my $file_limit = 600 * ($PostgreSQL::Test::Utils::timeout_default > 180
	? $PostgreSQL::Test::Utils::timeout_default / 180 : 1);
$SIG{ALRM} = sub {
	$SIG{ALRM} = 'DEFAULT';
	alarm 120;
	diag(Carp::longmess("stopped after $file_limit seconds, waiting for something"));
	exit 1;
};
alarm $file_limit;

# Allows this file so many seconds more than all files have.
sub allow_seconds
{
	my ($seconds) = @_;

	$file_limit += $seconds;
	alarm $file_limit;
	return;
}

# For tests that count days, which are those of UTC: if the next one begins within
# so many seconds, waits for it.  That is none of the time that a file may take.
sub not_across_midnight
{
	my ($seconds) = @_;
	my $left = 86400 - CORE::time() % 86400;

	return if $left > $seconds;
	note "waiting for the next day, for $left seconds";
	alarm $file_limit + $left;
	CORE::sleep(1) while 86400 - CORE::time() % 86400 <= $seconds;
	return;
}

# A configured server that has not been started: infra_monitor preloaded behind
# pg_stat_statements, one sample and one evaluation a second, and no look at the
# machine, which may be busy.  Options: conf
# (more lines of configuration), init (arguments of init), cluster (parameters
# of new).
sub new_server
{
	my ($name, %options) = @_;
	my $node =
	  PostgreSQL::Test::Cluster->new($name, %{ $options{cluster} || {} });

	$node->init(@{ $options{init} || [] });
	$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'pg_stat_statements,infra_monitor'
infra_monitor.sample_interval = 1s
infra_monitor.health_interval = 1s
infra_monitor.system_root = '/nonexistent'
log_min_messages = warning
CONF
	$node->append_conf('postgresql.conf', $options{conf}) if $options{conf};
	return $node;
}

# Waits until the query gives the expected answer (true by default), and passes
# or fails the test "name".  Not longer than PostgreSQL's own tests wait.  Each
# look is a session of its own, as with poll_query_until(), but without psql, which
# took longer than all that is looked at.
sub wait_for
{
	my ($node, $query, $name, $expected, $database) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my $answer;

	$expected //= 't';
	until (($answer = look($node, $query, $database // 'postgres')) eq $expected || time > $deadline)
	{
		usleep(100_000);
	}
	return is($answer, $expected, $name);
}

# What a query answers in a session of its own, or else the error.
sub look
{
	my ($node, $query, $database) = @_;
	local $SIG{PIPE} = 'IGNORE';
	my $answer = eval {
		my $session = open_session($node,
			database => $database,
			application_name => $ENV{PGAPPNAME},
			options => $ENV{PGOPTIONS} // '');

		send_query($session, $query);
		await_session($session) eq 'ready' or die 'the session has ended';
		close_sessions($session);
		$session->{message} // join("\n", @{ $session->{rows} || [] });
	};

	return $answer // "$@";
}

# Waits for a sample that is younger than this call.
sub wait_for_sample
{
	my ($node, $name, $database) = @_;
	my $now = $node->safe_psql('postgres', 'SELECT clock_timestamp()');

	return wait_for($node,
		"SELECT EXISTS (SELECT FROM infra_monitor.samples WHERE sampled_at > '$now')",
		$name, 't', $database);
}

# A column of sampler_status.
sub status_of
{
	my ($node, $column, $database) = @_;

	return $node->safe_psql($database // 'postgres',
		"SELECT $column FROM infra_monitor.sampler_status");
}

# Ends the sampler, and returns when it has gone: what is seen from now on, in
# sampler_status too, is from the next one, which starts by itself.  Takes a
# server or one of the sessions below.
sub end_sampler
{
	my ($where) = @_;
	my $query = 'SELECT pg_terminate_backend(pid, 60000) FROM infra_monitor.sampler_status';

	return ref($where) eq 'HASH' ? ask($where, $query) : $where->safe_psql('postgres', $query);
}

# Stops the sampler with a signal, where it sleeps: elsewhere it may hold a lock that
# the whole server needs, and the session too.  Returns its pid, for the one that lets
# it go on.
sub stop_sampler
{
	my ($session) = @_;
	my $pid = ask($session, 'SELECT pid FROM infra_monitor.sampler_status');
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	while (time < $deadline)
	{
		my $patience = time + 1;

		kill 'STOP', $pid or die "cannot stop $pid: $!";
		send_query($session, "SELECT wait_event_type FROM pg_stat_activity WHERE pid = $pid");
		usleep(5_000) until has_answered($session) || time > $patience;
		my $answered = has_answered($session);
		return $pid if $answered && answer_of($session) eq 'Extension';
		kill 'CONT', $pid;
		answer_of($session) unless $answered;
		usleep(5_000);
	}
	die 'the sampler does not sleep';
}

# How many lines of the server log, from an offset on, match.
sub log_count
{
	my ($node, $pattern, $offset) = @_;
	my @lines = split /\n/, substr(slurp_file($node->logfile), $offset // 0);

	return scalar grep { /$pattern/ } @lines;
}

#
# Sessions over a bare socket.  psql leaves as soon as it has its answer, when
# the server process may still hold its slot; here the process is known to be
# gone when the socket ends.  And nothing is added to, or changed in, what the
# test sends.
#

# Sends a start-up packet, nothing more.  Options: user, database, the names of
# other start-up parameters, tcp (127.0.0.1 instead of the Unix-domain socket; if
# not 1, the address to come from, ::1 for that one).
sub begin_session
{
	my ($node, %options) = @_;
	my $tcp = delete $options{tcp};
	my %parameters = (
		user => scalar getpwuid($<),
		database => 'postgres',
		%options);
	my $socket = $tcp
	  ? IO::Socket::IP->new(
		PeerHost => $tcp eq '::1' ? $tcp : '127.0.0.1',
		PeerPort => $node->port,
		$tcp eq '1' ? () : (LocalHost => $tcp))
	  : $node->raw_connect;

	die "cannot connect: $@" unless $socket;
	my $packet = pack('N', 3 << 16)
	  . join('', map { "$_\0$parameters{$_}\0" } sort keys %parameters) . "\0";
	$socket->syswrite(pack('N', 4 + length $packet) . $packet);
	return { socket => $socket, buffer => '' };
}

# The next $length bytes from the server, or undef at the end.
sub _receive
{
	my ($session, $length) = @_;

	while (length($session->{buffer}) < $length)
	{
		my $socket = $session->{socket};
		my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

		# a child that ends interrupts the wait
		until (IO::Select->new($socket)->can_read(1))
		{
			die "the server does not answer" if time > $deadline;
		}
		return undef
		  unless $socket->sysread($session->{buffer}, 65536,
			length $session->{buffer});
	}
	return substr($session->{buffer}, 0, $length, '');
}

# Reads until the server has something to say: returns 'ready', 'password' (it
# asks for one), or 'refused'; then sqlstate and message stand in the session,
# and the server process has ended.  Payloads of notifications that come on the
# way are added to those of the session.
sub await_session
{
	my ($session) = @_;

	while (defined(my $type = _receive($session, 1)))
	{
		my $body =
		  _receive($session, unpack('N', _receive($session, 4)) - 4);

		if ($type eq 'E')
		{
			my %fields = map { (substr($_, 0, 1) => substr($_, 1)) }
			  split(/\0/, $body);

			$session->{sqlstate} = $fields{C};
			$session->{message} = $fields{M};
			$session->{hint} = $fields{H};
		}
		elsif ($type eq 'D')
		{
			my ($n, @row) = unpack('n', $body);

			$body = substr($body, 2);
			for (1 .. $n)
			{
				my $length = unpack('l>', substr($body, 0, 4, ''));
				push @row, $length < 0 ? '' : substr($body, 0, $length, '');
			}
			push @{ $session->{rows} }, join('|', @row);
		}
		elsif ($type eq 'A')
		{
			my ($channel, $payload) = split /\0/, substr($body, 4);

			push @{ $session->{notifications} }, $payload;
		}
		elsif ($type eq 'R')
		{
			return 'password' if unpack('N', $body) == 3;
		}
		elsif ($type eq 'Z')
		{
			return 'ready';
		}
	}
	return 'refused';
}

# Begins a session that is expected to be accepted.
sub open_session
{
	my ($node, %options) = @_;
	my $session = begin_session($node, %options);

	die "refused: " . ($session->{message} // 'no message')
	  if await_session($session) ne 'ready';
	return $session;
}

# Runs a query; returns its rows like psql -At.  An error dies.
sub ask
{
	my ($session, $query) = @_;
	my $answer = try_ask($session, $query);

	die "$session->{message} in: $query" unless defined $answer;
	return $answer;
}

# The same, but an error returns undef, and stands in the session.
sub try_ask
{
	my ($session, $query) = @_;

	send_query($session, $query);
	return answer_of($session);
}

# Sends a query, and does not wait for its answer.
sub send_query
{
	my ($session, $query) = @_;

	delete @$session{qw(rows sqlstate message hint)};
	$session->{socket}
	  ->syswrite('Q' . pack('N', 5 + length $query) . "$query\0");
	return;
}

# Is there an answer, or a part of one, to what was sent?
sub has_answered
{
	my ($session) = @_;

	return length($session->{buffer}) > 0
	  || IO::Select->new($session->{socket})->can_read(0);
}

# The answer to what was sent, as that of try_ask.
sub answer_of
{
	my ($session) = @_;

	await_session($session);
	return undef if $session->{sqlstate};
	return join("\n", @{ $session->{rows} || [] });
}

# wait_for in a session: needs no connection of its own.
sub wait_in_session
{
	my ($session, $query, $name, $expected) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my $answer;

	$expected //= 't';
	while (($answer = ask($session, $query)) ne $expected && time < $deadline)
	{
		usleep(50_000);
	}
	return is($answer, $expected, $name);
}

# Ends sessions, and waits for the ends of their server processes.
sub close_sessions
{
	my (@sessions) = @_;
	local $SIG{PIPE} = 'IGNORE';

	$_->{socket}->syswrite("X" . pack('N', 4)) for @sessions;
	foreach my $session (@sessions)
	{
		1 while defined _receive($session, 1);
	}
	return;
}

# Where the server log ends now, an offset for the functions above and below.
sub log_end
{
	my ($node) = @_;

	return -s $node->logfile;
}

# The lines that the sampler, or the postmaster about it, has logged from an
# offset on.  Sessions of tests have an application name in front of the level.
sub worker_log
{
	my ($node, $offset) = @_;
	my @lines = split /\n/, substr(slurp_file($node->logfile), $offset // 0);

	# the directory of the socket may have our name
	return grep { !/ listening on / } grep {
		/\[\d+\] (?:LOG|.*infra_monitor sampler LOG): .*(?:infra_monitor|sampler)/
		  || /\[\d+\] (?:WARNING|ERROR|FATAL|PANIC): /
	} @lines;
}

# How long the code takes, by the wall clock.
sub seconds (&)
{
	my ($code) = @_;
	my $start = time;

	$code->();
	return time - $start;
}

# Running copies of a server, which is stopped for that.
sub copies_of
{
	my ($node, @names) = @_;
	my %copies;

	$node->stop;
	$node->backup_fs_cold('copy');
	foreach my $name (@names)
	{
		$copies{$name} = PostgreSQL::Test::Cluster->new($name);
		$copies{$name}->init_from_backup($node, 'copy');
		$copies{$name}->start;
	}
	return \%copies;
}

# The commands that read every view and table of the schema and call every
# function that does no more than read: lines of a name and a command.
sub everything_to_read
{
	my ($node, $database) = @_;

	return split /\n/, $node->safe_psql($database, <<'SQL');
SELECT format('%s SELECT count(*) FROM infra_monitor.%I', relname, relname)
FROM pg_class
WHERE relnamespace = 'infra_monitor'::regnamespace AND relkind IN ('r', 'p', 'v')
UNION ALL
SELECT format('%s() SELECT * FROM infra_monitor.%I(%s)', p.proname, p.proname, a.list)
FROM pg_proc p,
	LATERAL (SELECT string_agg(CASE t::regtype::text
			WHEN 'jsonb' THEN CASE p.proargnames[n] WHEN 'document' THEN $$'{"checks": []}'$$ ELSE $$'[]'$$ END
			WHEN 'boolean' THEN 'true'
			WHEN 'integer' THEN '1'
			WHEN 'bigint' THEN '1'
			WHEN 'double precision' THEN '0.5'
			WHEN 'text' THEN CASE p.proargnames[n] WHEN 'order_by' THEN $$'calls'$$ WHEN 'history' THEN $$'samples'$$
				WHEN 'dialect' THEN $$'infra_monitor'$$ ELSE $$'pool'$$ END
			WHEN 'interval' THEN $$'1 hour'$$
			WHEN 'timestamp with time zone' THEN 'now()'
			ELSE 'NULL' END, ', ' ORDER BY n) AS list
		FROM unnest(p.proargtypes) WITH ORDINALITY AS u (t, n)) a
WHERE p.pronamespace = 'infra_monitor'::regnamespace AND p.prokind = 'f'
	AND p.prorettype <> 'trigger'::regtype
	AND 'internal'::regtype <> ALL (p.proargtypes)
	AND p.proname NOT IN ('take_sample', 'take_statement_sample', 'reset')
	AND p.proname NOT LIKE 'roll\_up%'
ORDER BY 1;
SQL
}

# Does that in one session.  Returns what it did (name => SQLSTATE and message),
# and everything that was said on the way.
sub read_everything
{
	my ($node, $database) = @_;
	my @commands = map {
		/^(\S+) (.*)/ ? "$2; \\echo $1 :SQLSTATE :LAST_ERROR_MESSAGE" : die $_
	} everything_to_read($node, $database);
	my ($status, $out, $said) = $node->psql($database,
		join("\n", "\\set VERBOSITY verbose", "\\o /dev/null", @commands),
		on_error_stop => 0);
	my %results = map { /^(\S+) (\S+) ?(.*)$/ ? ($1 => [ $2, $3 ]) : () }
	  split /\n/, $out;

	is(scalar keys %results, scalar @commands,
		'everything was read and the session lived');
	return (\%results, $said);
}

#
# Installations
#

# What pg_config says, about the installation that is tested or another one.
sub pg_config
{
	my ($option, $bindir) = @_;
	my $program = $bindir ? "$bindir/pg_config" : 'pg_config';
	my $answer = `$program --$option`;

	die "$program --$option failed" if $? != 0;
	chomp $answer;
	return $answer;
}

# Are server processes executed, not forked (see test/exec_backend.sh)?  Such a
# process cannot count its own refusal if it is refused before it is attached
# to shared memory: while the server starts or stops, and when there is no slot
# left.  And it loads the library that is installed at that moment.
sub exec_backend
{
	return pg_config('cppflags') =~ /-DEXEC_BACKEND\b/ ? 1 : 0;
}

# An installation of our own that may be changed: a tree of symbolic links to
# the one that is tested.  Programs find everything else relative to where they
# really are, so those that look for it are copies.  Returns the names of its
# directories; "install_path" is for PostgreSQL::Test::Cluster->new.
sub private_installation
{
	my $root = PostgreSQL::Test::Utils::tempdir('installation');
	my %original = map { ($_ => pg_config($_)) } qw(bindir sharedir pkglibdir);
	my %private = map { ($_ => $root . $original{$_}) } keys %original;

	$original{extension} = "$original{sharedir}/extension";
	$private{extension} = "$private{sharedir}/extension";
	foreach my $name (qw(extension sharedir pkglibdir bindir))
	{
		make_path($private{$name});
		foreach my $file (glob "$original{$name}/*")
		{
			my $link = "$private{$name}/" . basename($file);

			symlink $file, $link or die "$link: $!" unless -e $link;
		}
	}
	foreach my $program (qw(postgres pg_ctl initdb))
	{
		replace_file("$private{bindir}/$program",
			slurp_file("$original{bindir}/$program"));
		chmod 0755, "$private{bindir}/$program" or die $!;
	}
	$private{install_path} = dirname($private{bindir});
	return \%private;
}

# Puts a new file in the place of an old one, or of a link to it.  Who has the
# old one open keeps it.
sub replace_file
{
	my ($name, $content) = @_;

	open my $file, '>', "$name.new" or die "$name.new: $!";
	binmode $file;
	print $file $content;
	close $file or die "$name.new: $!";
	rename "$name.new", $name or die "$name: $!";
	return;
}

# A value of lc_messages in which the running server speaks another language, or
# undef.  The language is chosen by LANGUAGE, in the server's environment, in
# any locale but C.
sub translated_lc_messages
{
	my ($node) = @_;
	my @locales = split /\n/, `locale -a`;

	foreach my $locale (
		grep({ /^(de|es|fr|it|ja|ko|ru|sv|uk|zh)_.*utf-?8$/i } @locales),
		grep({ /^C\.utf-?8$/i } @locales))
	{
		my ($status, $out, $said) = $node->psql('postgres',
			"SET lc_messages = '$locale'; SELECT no_such_column");

		return $locale
		  if $said =~ /no_such_column/ && $said !~ /does not exist/;
	}
	return undef;
}

# Waits until all partitions are there that the sampler makes without being asked.
sub wait_for_partitions
{
	my ($node) = @_;

	return wait_for($node, <<'SQL', 'there are all partitions');
SELECT bool_and(coalesce(p.n, 0) >= CASE t.period WHEN 'day' THEN 2 ELSE 1 END)
FROM infra_monitor.history_tables() t
	LEFT JOIN (SELECT history, count(*) AS n FROM infra_monitor.history_partitions() GROUP BY history) p USING (history)
SQL
}

# A clock for a server: what to preload so that gettimeofday() adds a number in
# a file.  undef where that cannot be had.
sub clock_to_set
{
	my $dir = PostgreSQL::Test::Utils::tempdir_short();

	append_to_file("$dir/clock.c", <<"C");
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int
gettimeofday(struct timeval *now, void *zone)
{
	int			saved_errno = errno;
	int			file = open("$dir/ahead", O_RDONLY);
	char		seconds[32] = "";
	struct timespec real;

	if (file >= 0)
	{
		if (read(file, seconds, sizeof(seconds) - 1) < 0)
			seconds[0] = 0;
		close(file);
	}
	clock_gettime(CLOCK_REALTIME, &real);
	now->tv_sec = real.tv_sec + atol(seconds);
	now->tv_usec = real.tv_nsec / 1000;
	errno = saved_errno;
	return 0;
}
C
	return undef
	  unless $^O eq 'linux'
	  && system("cc -shared -fPIC -o '$dir/clock.so' '$dir/clock.c' 2>/dev/null") == 0;
	return { library => "$dir/clock.so", file => "$dir/ahead" };
}

# Sets the clock so many seconds ahead.
sub set_clock
{
	my ($clock, $ahead) = @_;

	append_to_file("$clock->{file}.new", $ahead);
	rename "$clock->{file}.new", $clock->{file} or die "rename: $!";
	return;
}

1;
