# A home database that is missing or refuses connections: the sampler waits for
# it, longer and longer, without filling the log, and is there as soon as it may
# be.
#
# Each case has a server of its own, a copy of one, so that their waiting passes
# side by side.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::Local;

my $origin = new_server('origin', conf => <<'CONF');
infra_monitor.database = 'home'
infra_monitor.enabled = off
shared_buffers = 4MB
CONF
$origin->start;
$origin->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
$origin->safe_psql('postgres', 'CREATE DATABASE home');
$origin->safe_psql('home', 'CREATE EXTENSION infra_monitor CASCADE');
$origin->safe_psql('postgres', 'ALTER DATABASE home ALLOW_CONNECTIONS false');
$origin->append_conf('postgresql.conf', "infra_monitor.enabled = on\n");

my $nodes = copies_of($origin, qw(patient refused limited));

# No such database at all.  The last line of a configuration file counts.
# (A sampler that is ended says so: not in the log that is looked at.)
$nodes->{patient}
  ->append_conf('postgresql.conf', "infra_monitor.database = 'absent'\n");
$nodes->{patient}->stop;
my $start = log_end($nodes->{patient});
$nodes->{patient}->start;

# A sampler that is connected stays connected when others no longer may.  A
# limit is none for a superuser, and the sampler is one.
my $node = $nodes->{limited};
$node->safe_psql('postgres', 'ALTER DATABASE home ALLOW_CONNECTIONS true CONNECTION LIMIT 0');
$node->restart;
wait_for($node, "SELECT state = 'running' FROM infra_monitor.sampler_status",
	'the sampler connects to a database with CONNECTION LIMIT 0');
my $pid = status_of($node, 'pid');
$node->safe_psql('postgres', 'ALTER DATABASE home ALLOW_CONNECTIONS false');
my $ticks = status_of($node, 'ticks');
wait_for($node,
	"SELECT ticks > $ticks + 1 AND pid = $pid AND state = 'running' FROM infra_monitor.sampler_status",
	'and stays when connections are no longer allowed');

# The moments of the attempts that failed, in seconds, from an offset of the log
# on.
sub attempts
{
	my ($node, $offset) = @_;
	my @moments;

	foreach my $line (worker_log($node, $offset))
	{
		push @moments, timegm($6, $5, $4, $3, $2 - 1, $1) + "0.$7"
		  if $line =~
		  /^(\d+)-(\d+)-(\d+) (\d+):(\d+):(\d+)\.(\d+) .*FATAL:  database "\w+" (?:does not exist|is not currently)/;
	}
	return @moments;
}

# All that is said about them.
sub lines_per_attempt_ok
{
	my ($node, $offset) = @_;
	my @lines = worker_log($node, $offset);
	my @attempts = attempts($node, $offset);

	# the last attempt may not yet have all its lines
	cmp_ok(scalar @lines, '<=', 2 * @attempts, $node->name . ': at most two lines each')
	  or diag join "\n", @lines;
	return;
}

#
# It refuses connections
#
$node = $nodes->{refused};
wait_for(
	$node,
	"SELECT state = 'waiting for database' AND last_error LIKE '%\"home\"%' AND last_error_at IS NOT NULL AND pid IS NOT NULL FROM infra_monitor.sampler_status",
	'refused: the sampler waits');
lines_per_attempt_ok($node);
is(status_of($node, 'ticks'), 0, 'refused: no samples');
cmp_ok(status_of($node, 'missed'), '>', 0, 'refused: and it says so');
my $activity = status_of($node, "cost->'activity_seconds'");
wait_for($node,
	"SELECT cost->'activity_seconds' > '$activity' FROM infra_monitor.sampler_status",
	'refused: what needs no database goes on');

# Only a command that may help wakes the sampler: an attempt in vain would cost
# two lines in the log.
# (Its own attempt may come in between, but not twice.)
my $same = 0;
foreach (1 .. 3)
{
	$pid = status_of($node, 'pid');
	$node->safe_psql('postgres', 'ALTER DATABASE home SET work_mem TO 4096; CREATE TABLE t (); DROP TABLE t;');
	$same = status_of($node, 'pid') eq $pid;
	last if $same;
}
ok($same, 'refused: other commands do not wake it');
my $time = seconds
{
	$node->safe_psql('postgres', 'ALTER DATABASE home ALLOW_CONNECTIONS true');
	wait_for_sample($node, 'refused: samples when it is allowed', 'home');
};
cmp_ok($time, '<', 30, sprintf('refused: %.1f s', $time));
is(status_of($node, 'state'), 'running', 'refused: says so');
unlike(status_of($node, 'last_error'), qr/^$/, 'refused: the last error is still known');

#
# It does not exist
#
$node = $nodes->{patient};
ok( $node->wait_for_log(
		qr/(?:FATAL:  database "absent" does not exist.*){3}/s, $start),
	'patient: it tries again');
my @moments = attempts($node, $start);
# five seconds of the postmaster and five, then ten, of its own; the clock of
# the log is another one than that of the sampler
cmp_ok($moments[1] - $moments[0], '>=', 9.9,
	sprintf('patient: not at once: %.1f s', $moments[1] - $moments[0]));
cmp_ok($moments[2] - $moments[1], '>=', 14.9,
	sprintf('patient: and then later: %.1f s', $moments[2] - $moments[1]));
lines_per_attempt_ok($node, $start);

# the next one would be 20 s and more away
wait_for($node,
	"SELECT state = 'waiting for database' AND last_error LIKE '%\"absent\"%' FROM infra_monitor.sampler_status",
	'patient: it waits');
my $log = log_end($node);
$time = seconds
{
	$node->safe_psql('postgres', 'CREATE DATABASE absent');
	wait_for($node,
		"SELECT state = 'waiting for extension' FROM infra_monitor.sampler_status",
		'patient: it is there when the database is created');
};
cmp_ok($time, '<', 19, sprintf('patient: %.1f s', $time));
$node->safe_psql('absent', 'CREATE EXTENSION infra_monitor CASCADE');
wait_for_sample($node, 'patient: it samples when the extension is created', 'absent');
is(scalar(attempts($node, $log)), 0, 'patient: no more failures');

$_->stop foreach values %$nodes;
done_testing();
