# The clock of the machine is a year ahead for some seconds, and is then set
# back: what is counted by the time of day must not stand still until then.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $clock = clock_to_set();
my $year = 365 * 24 * 3600;     # a multiple of the length of all windows

plan skip_all => 'needs a compiler and Linux' unless $clock;

my $node = new_server('clock');
{
	local $ENV{LD_PRELOAD} = $clock->{library};
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

set_clock($clock, $year);
is($node->safe_psql('postgres', "SELECT now() > date '2000-01-01' + make_interval(secs => $year + @{[ time - 946684800 ]} - 60)"),
	't', 'the server believes it');
is(refusals(), 12, 'refusals while the clock is ahead');

# the same seconds of the window once more
set_clock($clock, -4);
is(refusals(), 12, 'refusals after it was set back');
is($node->safe_psql('postgres', "SELECT total FROM infra_monitor.pool_rejections WHERE reason = 'role_limit'"),
	24, 'the total has all of them');
wait_for_sample($node, 'the sampler goes on');
wait_for($node,
	"SELECT state = 'running' AND last_tick < now() + interval '1 minute' FROM infra_monitor.sampler_status",
	'at the time that it is');
is(log_count($node, qr/(ERROR|PANIC):/), 0, 'nothing went wrong');
$node->stop;
done_testing();
