# The clock of the machine is a year ahead for some seconds, and is then set
# back: what is counted by the time of day must not stand still until then.
#
# The server gets a gettimeofday() of our own, which adds the number in a file.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $year = 365 * 24 * 3600;     # a multiple of the length of all windows

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
plan skip_all => 'needs a compiler and Linux'
  unless $^O eq 'linux'
  && system("cc -shared -fPIC -o '$dir/clock.so' '$dir/clock.c' 2>/dev/null") == 0;

# Sets the clock so many seconds ahead.
sub set_clock
{
	my ($ahead) = @_;

	append_to_file("$dir/new", $ahead);
	rename "$dir/new", "$dir/ahead" or die "rename: $!";
	return;
}

my $node = new_server('clock');
{
	local $ENV{LD_PRELOAD} = "$dir/clock.so";
	$node->start;
}
$node->safe_psql('postgres',
	'CREATE EXTENSION infra_monitor CASCADE; CREATE ROLE refused LOGIN CONNECTION LIMIT 0');
wait_for_sample($node, 'it samples');

# Twelve refusals in three seconds, and how many of these were counted.
sub refusals
{
	foreach (1 .. 12)
	{
		$node->psql('postgres', '', extra_params => [ '-U', 'refused' ]);
		usleep(250_000);
	}
	return $node->safe_psql('postgres', 'SELECT infra_monitor.rejected_recently()');
}

set_clock($year);
is($node->safe_psql('postgres', "SELECT now() > date '2000-01-01' + make_interval(secs => $year + @{[ time - 946684800 ]} - 60)"),
	't', 'the server believes it');
is(refusals(), 12, 'refusals while the clock is ahead');

# the same seconds of the window once more
set_clock(-4);
is(refusals(), 12, 'refusals after it was set back');
is($node->safe_psql('postgres', "SELECT total FROM infra_monitor.pool_rejections WHERE reason = 'role_limit'"),
	24, 'the total has all of them');
wait_for_sample($node, 'the sampler goes on');
wait_for($node,
	"SELECT state = 'running' AND last_tick < now() + interval '1 minute' FROM infra_monitor.sampler_status",
	'at the time that it is');
is(log_count($node, qr/(ERROR|PANIC):/), 0, 'nothing went wrong');

#
# Since 19 a setting chooses the clock that times of execution come from
#
SKIP:
{
	my @clocks = qw(system tsc system tsc);
	my $session = open_session($node);

	skip 'there is one clock', 3 + 2 * @clocks
	  unless defined try_ask($session, 'SET timing_clock_source = tsc');
	my $log = log_end($node);
	ask($session, $_) foreach 'SET infra_monitor.slow_query_threshold = 0', q{SET infra_monitor.track = 'all'};
	foreach my $clock (@clocks)
	{
		ask($session, "SET timing_clock_source = $clock");
		ask($session, 'BEGIN');
		ask($session, 'DECLARE c CURSOR FOR SELECT generate_series(1, 10)');
		ask($session, 'FETCH 1 FROM c');
		ask($session, sprintf($_, $clock eq 'tsc' ? 'system' : 'tsc'))
		  foreach q{SELECT set_config('timing_clock_source', '%s', false)}, 'FETCH 1 FROM c';
		ask($session, "DO \$\$ BEGIN PERFORM set_config('timing_clock_source', '$clock', false); END \$\$");
		ask($session, 'COMMIT');
	}
	is( ask($session, "SELECT count(*) > 8 * 4, max(exec_time) < 60000, min(exec_time) >= 0 FROM infra_monitor.slow_query_log() WHERE pid = pg_backend_pid()"),
		't|t|t', 'no execution has lasted from one clock to the other');
	is( ask($session, "SELECT total_time BETWEEN 0 AND 600000 FROM infra_monitor.statement_totals()"),
		't', 'nor is that in the sums');
	close_sessions($session);
	foreach my $clock (@clocks)
	{
		$node->safe_psql('postgres', "ALTER SYSTEM SET timing_clock_source = $clock");
		$node->reload;
		wait_for($node, "SELECT setting = '$clock' FROM pg_settings WHERE name = 'timing_clock_source'", "the clock is $clock");
		wait_for_sample($node, "the sampler goes on by the clock $clock");
	}
	is(log_count($node, qr/(ERROR|PANIC):/, $log), 0, 'nothing went wrong');
}
$node->stop;
done_testing();
