# What has changed is noted as it changes: settings, without secrets, restarts,
# crashes and resets; and the times in which nobody looked.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# A day begins with all settings, and its partition is looked at
not_across_midnight(300);

my $node = new_server('changes', conf => <<'CONF');
infra_monitor.statement_interval = 1s
infra_monitor.health_interval = 1min
restart_after_crash = on
work_mem = 7MB
synchronous_commit = local
archive_command = 'true hidden-one'
primary_conninfo = 'host=nowhere password=hidden-two'
other.token = 'hidden-three'
CONF
$node->start;
my $start = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');

# What the server does, and says of itself.
sub sql
{
	return $node->safe_psql('postgres', join '; ', @_);
}

# All changes of these kinds, without their times, one in a line.
sub changes
{
	my ($columns, @kinds) = @_;
	my $list = join ',', map { "'$_'" } @kinds;

	return $node->safe_psql('postgres',
		"SELECT $columns FROM infra_monitor.changes('$start') WHERE kind IN ($list)");
}

# Settings are looked at when the configuration was read, and each a second.
sub change_settings
{
	my ($name, @commands) = @_;
	my ($before) = sql('SELECT coalesce(max(sampled_at), now()) FROM infra_monitor.setting_samples');

	$node->safe_psql('postgres', $_) for @commands;
	sql('SELECT pg_reload_conf()');
	return wait_for($node,
		"SELECT EXISTS (SELECT FROM infra_monitor.setting_samples WHERE sampled_at > '$before')",
		"$name: they are stored");
}

wait_for($node, 'SELECT count(*) > 0 FROM infra_monitor.setting_samples', 'settings are stored');
is(changes('*', 'setting', 'pending restart', 'restart', 'crash', 'reset', 'promotion', 'upgrade'),
	'', 'what has always been so has not changed');
is(sql(<<'SQL'), "synchronous_commit|local|||\nwork_mem|7168|kB|configuration file|",
SELECT name, setting, unit, source, change FROM infra_monitor.setting_samples WHERE name IN ('synchronous_commit', 'work_mem') ORDER BY name
SQL
	'the settings of the server, not the sampler\'s own');
is(sql("SELECT count(*) FROM infra_monitor.setting_samples WHERE name IN ('search_path', 'lock_timeout', 'application_name')"),
	0, 'nor those of its session');

change_settings('changed',
	"ALTER SYSTEM SET work_mem = '9MB'",
	'ALTER SYSTEM SET synchronous_commit = on',
	"ALTER SYSTEM SET shared_buffers = '32MB'",
	"ALTER SYSTEM SET archive_command = 'true hidden-four'",
	"ALTER SYSTEM SET primary_conninfo = 'host=nowhere password=hidden-five'");
my $expected = join "\n", 'pending restart|shared_buffers||',
  map { "setting|$_" } 'archive_command||', 'primary_conninfo||', 'synchronous_commit|local|on', 'work_mem|7MB|9MB';
is(changes('kind, name, old, new', 'setting', 'pending restart'), $expected, 'changes are known');

change_settings('back', 'ALTER SYSTEM RESET work_mem');
$expected .= "\nsetting|work_mem|9MB|7MB";
is(changes('kind, name, old, new', 'setting', 'pending restart'), $expected, 'one that was undone, too');

# a reload that changes nothing: there is another, to know when it was looked at
sql('SELECT pg_reload_conf()');
change_settings('nothing, then one', "ALTER SYSTEM SET work_mem = '10MB'");
$expected .= "\nsetting|work_mem|7MB|10MB";
is(changes('kind, name, old, new', 'setting', 'pending restart'), $expected, 'nothing is repeated');

is(sql("SELECT count(*) FROM infra_monitor.setting_samples s WHERE s::text ~ 'hidden|nowhere'"),
	0, 'no secret is stored');

#
# resets
#
sql('SELECT infra_monitor.reset()', 'SELECT pg_stat_reset()');
wait_for($node, "SELECT count(*) = 3 FROM infra_monitor.changes('$start') WHERE kind = 'reset'", 'resets are known');
is(changes('name', 'reset'), "statements\npool\nstatistics", 'of what');
is(sql("SELECT bool_and(at BETWEEN old::timestamptz AND clock_timestamp() AND at = new::timestamptz) FROM infra_monitor.changes('$start') WHERE kind = 'reset' AND old IS NOT NULL"),
	't', 'and when');

#
# the sampler stands still while the server runs: it has no home
#
$node->append_conf('postgresql.conf', 'infra_monitor.enabled = off');
$node->reload;
wait_for($node, "SELECT state = 'disabled' FROM infra_monitor.sampler_status", 'nobody samples');
my $last = sql('SELECT max(sampled_at) FROM infra_monitor.samples');
wait_for($node, "SELECT clock_timestamp() > timestamptz '$last' + interval '4 seconds'", 'for a while');
my $gap = "FROM infra_monitor.history_gaps('$last')";
is(sql("SELECT count(*), min(from_at) = '$last'::timestamptz + interval '1 second', max(until_at) <= clock_timestamp(), max(missed) >= 3, max(reason) $gap"),
	'1|t|t|t|', 'there is a gap, of which the reason is not known yet');
my $lost = sql("SELECT sum(unavailable) FROM infra_monitor.availability(ARRAY['$last'::timestamptz], clock_timestamp())");
cmp_ok($lost, '>=', 3, 'it is charged to availability');
$node->append_conf('postgresql.conf', 'infra_monitor.enabled = on');
$node->reload;
wait_for_sample($node, 'it samples again');
is(sql("SELECT count(*), max(reason) $gap"), '1|not sampled', 'the server ran on');
is(sql("SELECT elapsed_time >= 4000 FROM infra_monitor.samples WHERE sampled_at > '$last' ORDER BY sampled_at LIMIT 1"),
	't', 'the next sample knows how long it was');

# a longer interval makes no gap, a shorter one neither (but a busy machine may
# make one, now and then)
my $gaps;
foreach (1 .. 6)
{
	my $moment = sql('SELECT clock_timestamp()');

	foreach my $interval ('4s', '1s')
	{
		$node->append_conf('postgresql.conf', "infra_monitor.sample_interval = $interval");
		$node->reload;
		wait_for($node,
			"SELECT count(*) >= 2 FROM infra_monitor.samples WHERE sampled_at > '$moment' AND sample_interval = '$interval'",
			"an interval of $interval");
	}
	$gaps = sql("SELECT count(*) FROM infra_monitor.history_gaps('$moment')");
	last if $gaps == 0;
}
is($gaps, 0, 'intervals that change make no gap');

#
# a restart, with other settings; a crash
#
my $epoch = sql('SELECT epoch FROM infra_monitor.samples ORDER BY sampled_at DESC LIMIT 1');
$node->stop;
$node->append_conf('postgresql.conf', "hash_mem_multiplier = 3\n");
$node->start;
wait_for_sample($node, 'restarted');
wait_for($node, "SELECT count(*) = 1 FROM infra_monitor.changes('$start') WHERE kind = 'setting' AND name = 'hash_mem_multiplier'",
	'a setting that has changed meanwhile is known');
is(sql("SELECT kind, name, new FROM infra_monitor.changes('$start') WHERE kind = 'setting' AND name IN ('hash_mem_multiplier', 'shared_buffers') ORDER BY name"),
	"setting|hash_mem_multiplier|3\nsetting|shared_buffers|32MB", 'so is one that has waited for it');
is(sql("SELECT count(*) FROM infra_monitor.changes('$start') WHERE kind = 'setting' AND name = 'work_mem'"),
	3, 'and none is repeated');
is(sql("SELECT name, new::timestamptz = pg_postmaster_start_time(), at = pg_postmaster_start_time(), old::timestamptz < '$start' FROM infra_monitor.changes('$start') WHERE kind = 'restart'"),
	'server|t|t|t', 'the restart itself');

# another source of the same value, which the sampler sees when it connects again
sql('ALTER DATABASE postgres SET hash_mem_multiplier = 3');

sub crash
{
	my $pid = sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'");
	my $began = sql('SELECT max(initialized_at) FROM infra_monitor.epochs');

	kill 'KILL', $pid;
	ok($node->poll_query_until('postgres', "SELECT max(initialized_at) > '$began' FROM infra_monitor.epochs"),
		'the server has crashed and runs again');
	return;
}
crash();
wait_for($node, <<'SQL', 'a value that comes from elsewhere is known', 'database|source');
SELECT source, change FROM infra_monitor.setting_samples WHERE name = 'hash_mem_multiplier' ORDER BY number DESC LIMIT 1
SQL
is(changes('name, (new::timestamptz > old::timestamptz), at = new::timestamptz', 'crash'), 'server|t|t', 'the crash is known');
is(changes('count(*)', 'restart'), 1, 'it is no restart');
is(changes('count(*)', 'reset'), 3, 'and nothing was reset');
is(sql("SELECT count(DISTINCT epoch) = count(DISTINCT initialized_at::text || pool_reset || coalesce(statistics_reset::text, '')) FROM infra_monitor.epochs"),
	't', 'each epoch has its row');
is(sql('SELECT count(*) FROM infra_monitor.samples s WHERE NOT EXISTS (SELECT FROM infra_monitor.epochs e WHERE e.epoch = s.epoch)'),
	0, 'and each sample its epoch');
is(sql(<<'SQL'), 't', 'the first sample of each knows no differences, the others do');
SELECT bool_and((n = 1) = (connects IS NULL AND wal_bytes IS NULL)) FROM (
	SELECT *, row_number() OVER (PARTITION BY epoch ORDER BY sampled_at) AS n FROM infra_monitor.samples) s
SQL

#
# a day of which nothing is stored yet is complete
#
my $settings = 'infra_monitor.setting_samples_' . sql("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')");
my $state = "SELECT DISTINCT ON (name) name, setting, source FROM $settings ORDER BY name, number DESC";
my $before = sql("SELECT string_agg(s::text, ' ') FROM ($state) s WHERE source <> 'default' OR source IS NULL");
my $moved = sql(<<"SQL");
WITH gone AS (DELETE FROM $settings RETURNING *)
SELECT count(*) > 0 FROM gone
SQL
is($moved, 't', 'a day is emptied');
sql('SELECT pg_reload_conf()');
wait_for($node, "SELECT count(*) > 10 FROM $settings", 'and filled');
is(sql("SELECT string_agg(s::text, ' ') FROM ($state) s"), $before, 'with all settings');
is(sql("SELECT count(change) FROM $settings"), 0, 'none of which has changed');

is(log_count($node, qr/could not do its task/), 0, 'nothing has failed');
$node->stop;
done_testing();
