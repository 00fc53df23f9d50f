# On a standby everything can be read and nothing is written or complained
# about; a promoted one goes on with samples of its own.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = new_server('primary', init => [ allows_streaming => 1 ]);
$primary->start;
$primary->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
wait_for_sample($primary, 'the primary samples');
$primary->safe_psql('postgres', "CREATE DATABASE $_") foreach qw(second third);
$primary->backup('backup');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;

# Its home database is another one.
my $follower = PostgreSQL::Test::Cluster->new('follower');
$follower->init_from_backup($primary, 'backup', has_streaming => 1);
$follower->append_conf('postgresql.conf', "infra_monitor.database = 'second'\n");
$follower->start;

# The home database of the third will not have the extension before it is promoted.
my $late = PostgreSQL::Test::Cluster->new('late');
$late->init_from_backup($primary, 'backup', has_streaming => 1);
$late->append_conf('postgresql.conf', "infra_monitor.database = 'third'\n");
$late->start;

wait_for($standby, "SELECT state = 'standby' FROM infra_monitor.sampler_status",
	'the sampler knows that it is on a standby');
wait_for($standby, 'SELECT count(*) > 1 AND max(used) > 0 FROM infra_monitor.sample_ring()',
	'it keeps samples in memory');
is( $standby->safe_psql('postgres', 'SELECT scope, limit_value > 0 FROM infra_monitor.pool_forecast'),
	'server|t', 'and looks ahead');
ok($follower->wait_for_log(qr/sampler connected to database "second"/),
	'another one is connected to another database');

#
# The primary drops the database that the sampler of a standby is connected to.
# No hook sees that there: the standby ends the session.
#
$primary->safe_psql('postgres', $_) foreach 'CREATE DATABASE usual', 'DROP DATABASE usual';
my $limit = 5 + seconds { $primary->wait_for_catchup($follower) };
my $dropped = log_end($follower);
$primary->safe_psql('postgres', 'DROP DATABASE second');
my $time = seconds { $primary->wait_for_catchup($follower) };
cmp_ok($time, '<', $limit, sprintf('the standby is not held up, for %.1f s: %.1f s', $limit, $time));

#
# Reading
#
my ($results, $said) = read_everything($standby, 'postgres');
is($results->{$_}[0], '00000', "on a standby: $_")
  or diag $results->{$_}[1]
  foreach sort keys %$results;
unlike($said, qr/ERROR|WARNING/, 'nothing was said about it');
is( $standby->safe_psql('postgres',
		"SELECT infra_monitor.health()->>'role', count(*) > 0 FROM infra_monitor.samples"
	),
	'standby|t',
	'the role is known and the samples of the primary can be read');

my ($status, $out, $error) =
  $standby->psql('postgres', "\\set VERBOSITY verbose\nSELECT infra_monitor.take_sample()");
isnt($status, 0, 'take_sample() fails on a standby');
like($error, qr/ERROR:  25006: cannot take a sample during recovery/,
	'and says why');
like($error, qr/HINT:  Samples are stored on the primary/, 'and where to go');

#
# Evaluations pass, and the sampler has nothing to say
#
my $evaluations = $ENV{IMON_LONG_TESTS} ? 60 : 5;
my $log = log_end($standby);
my $timestamp = '';
foreach (1 .. $evaluations)
{
	$standby->poll_query_until('postgres',
		"SELECT infra_monitor.health()->>'timestamp' <> '$timestamp'")
	  or last;
	$timestamp = $standby->safe_psql('postgres',
		"SELECT infra_monitor.health()->>'timestamp'");
}
isnt($timestamp, '', "health is evaluated, again and again");
# but that a check has changed: the machine may keep the sampler from its work
is_deeply([ grep { !/LOG:  health (?:check|of the server) / } worker_log($standby, $log) ],
	[], "$evaluations evaluations leave no line in the log");
is( $standby->safe_psql('postgres',
		"SELECT rows_stored, missed < ticks, last_error, ticks > 0 FROM infra_monitor.sampler_status"
	),
	'0|t||t',
	'no sample was stored, and those are not missing');
is( $standby->safe_psql('postgres',
		"SELECT status FROM infra_monitor.health_checks WHERE name = 'sampler_alive'"
	),
	'ok',
	'the sampler counts as alive');

#
# The home database of the other standby comes back
#
ok( $follower->wait_for_log(
		qr/FATAL:  database "second" does not exist/, $dropped),
	'the sampler of the other standby misses its database');
my @lines = grep { !/recovery/ } worker_log($follower, $dropped);
my $failures = grep { /FATAL/ } @lines;
cmp_ok(scalar @lines, '<=', 2 * ($failures + 1), 'and says so in two lines an attempt')
  or diag join "\n", @lines;

#
# Promotion.  Rows since the moment before count, by the clock of the server.
#
sub promote
{
	my ($node, $database) = @_;
	my $epochs = $node->safe_psql($database,
		"SELECT coalesce(string_agg(DISTINCT epoch::text, ','), 'NULL') FROM infra_monitor.samples"
	);
	my $moment = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
	$node->promote;
	my $promoted = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
	wait_for(
		$node,
		"SELECT count(*) > 1 FROM infra_monitor.samples WHERE sampled_at > '$moment'",
		$node->name . ' is promoted: samples', 't', $database);
	my $time = $node->safe_psql($database,
		"SELECT extract(epoch FROM min(sampled_at) - '$promoted') FROM infra_monitor.samples WHERE sampled_at > '$moment'"
	);
	cmp_ok($time, '<', 1 + 5, sprintf('within an interval and 5 s: %.1f s', $time));
	is( $node->safe_psql($database,
			"SELECT count(DISTINCT epoch), bool_or(epoch IN ($epochs)) FROM infra_monitor.samples WHERE sampled_at > '$moment'"
		),
		$epochs eq 'NULL' ? '1|' : '1|f',
		'in one epoch, a new one');
	is( $node->safe_psql($database,
			"SELECT connects IS NULL AND wal_bytes IS NULL AND avg_active IS NULL FROM infra_monitor.samples WHERE sampled_at > '$moment' ORDER BY sampled_at LIMIT 1"
		),
		't',
		'of which the first knows no differences');
	is( $node->safe_psql($database,
			'SELECT count(*) - count(DISTINCT sampled_at) FROM infra_monitor.samples'
		),
		0,
		'no two samples are of the same moment');
	return;
}

# What the primary writes later must not be taken for samples of the promoted.
$primary->wait_for_catchup($standby);
wait_for($late, "SELECT state FROM infra_monitor.sampler_state()", 'a sampler has looked for the extension', 'waiting for extension');
$primary->safe_psql('postgres', 'CREATE DATABASE second');
$primary->safe_psql($_, 'CREATE EXTENSION infra_monitor CASCADE') foreach qw(second third);
$primary->wait_for_catchup($_) foreach $follower, $late;
$primary->stop;
promote($standby, 'postgres');
is(status_of($standby, 'state'), 'running', 'the sampler is no longer on a standby');
is( $standby->safe_psql('postgres',
		"SELECT infra_monitor.health()->>'role'"),
	'primary',
	'neither is the server');

# Nothing told this sampler that its database is back, but the promotion does.
promote($follower, 'second');

# Nor did anything say that the extension is there.
promote($late, 'third');

$_->stop foreach $standby, $follower, $late;
done_testing();
