# A standby is promoted, the old primary rewound to follow it, and promoted
# back: each time writing begins at once, in an epoch of its own, and nothing is
# stored twice.

use strict;
use warnings;

use File::Copy qw(copy);
use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $one = new_server('one', init => [ allows_streaming => 1 ], conf => <<'CONF');
infra_monitor.statement_interval = 1s
infra_monitor.slow_query_threshold = 40ms
wal_log_hints = on
wal_keep_size = 128MB
max_wal_size = 1GB
CONF
$one->start;
$one->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
wait_for_sample($one, 'the primary samples');
$one->backup('backup');
my $two = PostgreSQL::Test::Cluster->new('two');
$two->init_from_backup($one, 'backup', has_streaming => 1);
$two->start;

# A statement that can be found again, and one that is slow.
sub execute
{
	my ($node, $times, $slow) = @_;

	$node->safe_psql('postgres', join ';', ('SELECT 1 AS marked_fast') x $times);
	$node->safe_psql('postgres', join ';', ('SELECT pg_sleep(0.05) AS marked_slow') x $slow);
	return;
}

# Waits until the sampler has done a task that was not begun before this call.
sub wait_for_task
{
	my ($node, $task) = @_;

	foreach (1 .. 2)
	{
		my $seconds = $node->safe_psql('postgres', "SELECT seconds FROM infra_monitor.sampler_costs() WHERE task = '$task'");

		$node->poll_query_until('postgres', "SELECT seconds > $seconds FROM infra_monitor.sampler_costs() WHERE task = '$task'")
		  or die "no $task";
	}
	return;
}

# What is stored of the marked statements.
my $marked_calls = <<'SQL';
SELECT coalesce(sum(calls), 0) FROM infra_monitor.statement_samples s
WHERE queryid IN (SELECT queryid FROM infra_monitor.statement_texts WHERE query ~ 'marked_fast')
SQL
my $marked_slow = <<'SQL';
SELECT count(*), count(DISTINCT (started_at, pid)) FROM infra_monitor.slow_query_samples WHERE query ~ 'marked_slow'
SQL

execute($one, 5, 1);
wait_for($one, $marked_calls, 'the primary stores statements', '5');
wait_for($one, $marked_slow, 'and slow executions', '1|1');

# The standby has a life of its own, of which only the slow executions are kept
# for later: what it has counted meanwhile was none of the primary's intervals.
wait_for($two, "SELECT state = 'standby' FROM infra_monitor.sampler_status", 'the standby has a sampler');
execute($two, 7, 2);
wait_for_task($two, 'statements');
wait_for($two, 'SELECT count(*) >= 5 FROM infra_monitor.sample_ring()', 'it remembers samples');
is(status_of($two, 'rows_stored'), 0, 'and stores none');
is($two->safe_psql('postgres', "SELECT count(*) FROM infra_monitor.pool_history(now() - interval '1 hour', now(), '1 second') WHERE used_max IS NULL"),
	0, 'they can be read');

# Promotes, and checks what begins with that.  Returns the moment.
sub promote
{
	my ($node, $timeline) = @_;
	my $name = $node->name;
	my $epochs = $node->safe_psql('postgres', "SELECT string_agg(DISTINCT epoch::text, ',') FROM infra_monitor.samples");
	my $moment = $node->safe_psql('postgres', 'SELECT clock_timestamp()');

	$node->promote;
	my $promoted = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
	wait_for($node, "SELECT count(*) >= 3 FROM infra_monitor.samples WHERE sampled_at > '$moment' AND epoch NOT IN ($epochs)",
		"$name is promoted: samples");
	my $first = $node->safe_psql('postgres',
		"SELECT extract(epoch FROM min(sampled_at) - '$promoted') FROM infra_monitor.samples WHERE epoch NOT IN ($epochs)");
	cmp_ok($first, '<', 1 + 5, sprintf("$name: within an interval and 5 s: %.1f s", $first));
	is( $node->safe_psql('postgres',
			"SELECT count(DISTINCT epoch) FROM infra_monitor.samples WHERE epoch NOT IN ($epochs)"),
		1, "$name: one new epoch");
	wait_for($node, "SELECT count(*) > 0 FROM infra_monitor.$_ WHERE epoch NOT IN ($epochs)", "$name: $_")
	  foreach qw(wait_samples statement_samples);
	foreach my $table (qw(wait_samples statement_samples setting_samples))
	{
		is( $node->safe_psql('postgres',
				"SELECT count(*) FROM infra_monitor.$table WHERE epoch NOT IN (SELECT epoch FROM infra_monitor.samples)"),
			0, "$name: $table are of the same epochs");
	}
	is( $node->safe_psql('postgres',
			'SELECT count(*) - count(DISTINCT sampled_at) FROM infra_monitor.samples'),
		0, "$name: no two samples are of the same moment");
	is( $node->safe_psql('postgres',
			'SELECT count(*) - count(DISTINCT (sampled_at, userid, dbid, queryid, toplevel)) FROM infra_monitor.statement_samples'),
		0, "$name: no statement is stored twice");
	is( $node->safe_psql('postgres',
			'SELECT count(*) - count(DISTINCT (sampled_at, datname, wait_event_type, wait_event, queryid)) FROM infra_monitor.wait_samples'),
		0, "$name: no wait is stored twice");
	is( $node->safe_psql('postgres', <<"SQL"),
SELECT bool_and(looks <= extract(epoch FROM sampled_at - '$moment') + 3) FROM (
	SELECT sampled_at, sum(looks) OVER (ORDER BY sampled_at) AS looks
	FROM (SELECT DISTINCT sampled_at, looks FROM infra_monitor.wait_samples WHERE epoch NOT IN ($epochs)) w) s
SQL
		't', "$name: waits are those since then");
	is( $node->safe_psql('postgres', <<"SQL"),
SELECT count(*), bool_and(g.reason = 'promotion'), bool_and(until_at > '$moment')
FROM infra_monitor.history_gaps('$moment') g WHERE reason = 'promotion'
SQL
		$node->safe_psql('postgres', <<"SQL"), "$name: a gap, if there is one, is known to be of it");
SELECT count(*), bool_and(until_at - from_at > interval '1.5 seconds'), bool_and(until_at > '$moment')
FROM infra_monitor.history_gaps('$moment') g WHERE until_at = (SELECT min(sampled_at) FROM infra_monitor.samples WHERE epoch NOT IN ($epochs))
SQL
	is( $node->safe_psql('postgres', "SELECT old, new, at > '$moment' FROM infra_monitor.changes('$moment') WHERE kind = 'promotion'"),
		($timeline - 1) . "|$timeline|t", "$name: the promotion is known");
	is( $node->safe_psql('postgres', "SELECT count(*) FROM infra_monitor.changes('$moment') WHERE kind IN ('restart', 'crash', 'reset')"),
		0, "$name: and nothing else");

	# in memory, nothing has happened
	is( $node->safe_psql('postgres', <<"SQL"),
SELECT count(*) > 3, min(at) < '$moment', max(at - before) < interval '10 seconds',
	count(*) FILTER (WHERE connects IS NULL AND at - before <= interval '5 seconds')
FROM (SELECT at, lag(at) OVER (ORDER BY at) AS before, connects FROM infra_monitor.sample_ring()) r WHERE before IS NOT NULL
SQL
		't|t|t|0', "$name: the ring goes on");
	return $moment;
}

#
# The standby is promoted while the primary still writes: their histories part
#
my $moment = promote($two, 2);
execute($two, 3, 1);
wait_for($two, $marked_calls, 'statements: those of the primary, and those since', '8');
wait_for($two, $marked_slow, 'slow executions: all of them, once', '4|4');
is( $two->safe_psql('postgres', "SELECT count(*), count(DISTINCT (started_at, pid)) FROM infra_monitor.slow_query_log WHERE query ~ 'marked_slow'"),
	'4|4', 'also where memory and table are shown together');

wait_for_sample($one, 'the old primary still samples');
my $parted = "FROM infra_monitor.samples s JOIN infra_monitor.epochs e USING (epoch) WHERE timeline = 1 AND s.sampled_at > timestamptz '$moment' + interval '1 second'";
cmp_ok($one->safe_psql('postgres', "SELECT count(*) $parted"), '>', 0, 'what nobody else has');

#
# The old primary is rewound, and follows
#
$one->stop;
my $conf = $one->data_dir . '/postgresql.conf';
copy($conf, "$conf.kept") or die $!;
my $kept = $one->basedir . '/postgresql.conf.kept';
rename "$conf.kept", $kept or die $!;
$two->safe_psql('postgres', 'CHECKPOINT');
command_ok(
	[ 'pg_rewind', '--source-server', $two->connstr('postgres'),
		'--target-pgdata', $one->data_dir, '--no-sync', '--config-file', $kept ],
	'pg_rewind');
rename $kept, $conf or die $!;
$one->enable_streaming($two);
$one->set_standby_mode;
$one->start;
wait_for($one, "SELECT state = 'standby' FROM infra_monitor.sampler_status", 'rewound: it is a standby');
wait_for($one, 'SELECT count(*) >= 5 FROM infra_monitor.sample_ring()', 'rewound: it remembers samples');
is(status_of($one, 'rows_stored, missed < ticks, last_error'), '0|t|', 'rewound: and stores none');
wait_for_sample($two, 'meanwhile the other does');
my $until = $two->safe_psql('postgres', 'SELECT max(sampled_at) FROM infra_monitor.samples');
$two->wait_for_catchup('one');
is($one->safe_psql('postgres', "SELECT count(*) $parted"), 0, 'what nobody else had is gone');
foreach my $table (qw(samples wait_samples statement_samples setting_samples epochs))
{
	my $query = "SELECT count(*), sum(hashtextextended(t::text, 0)) FROM infra_monitor.$table t WHERE sampled_at <= '$until'";

	is($one->safe_psql('postgres', $query), $two->safe_psql('postgres', $query), "$table are those of the new primary");
}
is($one->safe_psql('postgres', "SELECT old, new FROM infra_monitor.changes('$moment') WHERE kind = 'promotion'"),
	'1|2', 'changes can be read');
is($one->safe_psql('postgres', "SELECT count(*) > 0 FROM infra_monitor.pool_history(now() - interval '1 minute')"),
	't', 'and the pool, its own');

#
# and back
#
$two->stop;
promote($one, 3);
execute($one, 2, 1);
wait_for($one, $marked_calls, 'statements: all of either primary', '10');
wait_for($one, $marked_slow, 'slow executions, too', '5|5');
is( $one->safe_psql('postgres', "SELECT string_agg(new, ' ' ORDER BY at) FROM infra_monitor.changes('$moment') WHERE kind = 'promotion'"),
	'2 3', 'both promotions are known');

is(log_count($_, qr/could not do its task|PANIC/), 0, $_->name . ': nothing has failed')
  foreach $one, $two;
$one->stop;
done_testing();
