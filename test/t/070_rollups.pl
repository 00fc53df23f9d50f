# Rollups: made soon after each hour and day, once, exactly; kept for longer than
# what they are made of, and given up last.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Days are counted from today: not across midnight
not_across_midnight(600);

use constant MB => 1024 * 1024;

my $clock = clock_to_set();
my $node = new_server(
	'rollups',
	init => [ allows_streaming => 1 ],
	conf => <<'CONF');
infra_monitor.statement_interval = 1s
autovacuum = off
CONF
{
	local $ENV{LD_PRELOAD} = $clock->{library} if $clock;
	$node->start;
}
$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');

sub ask_node
{
	my ($query) = @_;

	return $node->safe_psql('postgres', "SET TimeZone = 'UTC'; $query");
}

# The sampler pauses, or goes on.
sub set_sampler
{
	my ($enabled) = @_;

	$node->safe_psql('postgres', "ALTER SYSTEM SET infra_monitor.enabled = $enabled");
	$node->reload;
	return wait_for($node,
		"SELECT state " . ($enabled eq 'off' ? '=' : '<>') . " 'disabled' FROM infra_monitor.sampler_status",
		"sampler: $enabled");
}

# Makes the partition of that day, or month, as the sampler would have: these are
# written directly, not by a clock that was moved.
sub make_partition
{
	my ($table, $ago, $unit) = @_;
	my $format = $unit eq 'month' ? 'YYYYMM' : 'YYYYMMDD';
	my $name = ask_node("SELECT '${table}_' || to_char(date_trunc('$unit', now()) + interval '$ago $unit', '$format')");

	ask_node(<<SQL);
DO \$\$
DECLARE
	day timestamptz := date_trunc('$unit', now()) + interval '$ago $unit';
BEGIN
	IF to_regclass('infra_monitor.$name') IS NOT NULL THEN RETURN; END IF;
	CREATE TABLE infra_monitor.$name (LIKE infra_monitor.$table INCLUDING DEFAULTS);
	EXECUTE format('ALTER TABLE infra_monitor.$table ATTACH PARTITION infra_monitor.$name FOR VALUES FROM (%L) TO (%L)',
		day, day + interval '1 $unit');
	ALTER EXTENSION infra_monitor ADD TABLE infra_monitor.$name;
END \$\$
SQL
	return $name;
}

# Fills some hours of a day with samples each two minutes, of eight statements
# and what they waited for.
sub make_hours
{
	my ($day, @hours) = @_;
	my $hours = join ', ', @hours;

	make_partition($_, $day, 'day') foreach qw(samples statement_samples statement_texts wait_samples);
	ask_node(<<SQL);
BEGIN;
CREATE TEMP TABLE moments AS
SELECT date_trunc('day', now()) + interval '1 day' * $day + h * interval '1 hour' + n * interval '2 minutes' AS at, h * 100 + n AS n
FROM unnest('{$hours}'::int[]) h, generate_series(0, 29) n;
INSERT INTO infra_monitor.samples
SELECT s.*
FROM (SELECT * FROM infra_monitor.samples ORDER BY sampled_at DESC LIMIT 1) l, moments m,
	jsonb_populate_record(l::infra_monitor.samples, jsonb_build_object('sampled_at', m.at, 'epoch', 1, 'used_connections', m.n % 17,
		'connects', m.n % 5, 'latency', infra_monitor.histogram(ARRAY[m.n + 0.5, random() * 1000])::text)) s;
INSERT INTO infra_monitor.statement_samples
SELECT m.at, 1, s, 5, 'u', 'd', s, true, 2, round((s * random() * 1000)::numeric, 6)::float8, 7, m.n % 3, round(random()::numeric, 6)::float8,
	s, 1, 0, 100, infra_monitor.histogram(ARRAY[s * random() * 1000, 3])
FROM moments m, generate_series(1, 8) s
UNION ALL
SELECT m.at, 1, NULL, NULL, NULL, NULL, NULL, NULL, 1, 0.000001, NULL, 0, 0, NULL, NULL, NULL, NULL, infra_monitor.histogram(ARRAY[0.000001])
FROM moments m;
INSERT INTO infra_monitor.statement_texts
SELECT min(at), s, 5, 'SELECT ' || s FROM moments, generate_series(1, 8) s GROUP BY s;
INSERT INTO infra_monitor.wait_samples
SELECT m.at, 1, 'd', 'Lock', 'relation', s, m.n, 120 FROM moments m, generate_series(1, 3) s;
COMMIT;
SQL
	return;
}

# How many hours and days before today are in each table.
my $counts = <<'SQL';
SELECT (SELECT count(*) FROM infra_monitor.samples_hourly WHERE begins_at < date_trunc('day', now())),
	(SELECT count(DISTINCT begins_at) FROM infra_monitor.statement_samples_hourly WHERE begins_at < date_trunc('day', now())),
	(SELECT count(DISTINCT begins_at) FROM infra_monitor.wait_samples_hourly WHERE begins_at < date_trunc('day', now())),
	(SELECT count(*) FROM infra_monitor.samples_daily), (SELECT count(DISTINCT begins_at) FROM infra_monitor.statement_samples_daily),
	(SELECT count(DISTINCT begins_at) FROM infra_monitor.wait_samples_daily)
SQL

# Where rows were written: a row that was written again is elsewhere.
my $places = join "\nUNION ALL\n",
  map { "SELECT tableoid::regclass::text || ctid || xmin FROM infra_monitor.$_" }
  qw(samples_hourly samples_daily statement_samples_hourly statement_samples_daily wait_samples_hourly wait_samples_daily statement_texts_monthly);

wait_for_sample($node, 'samples are taken');
wait_for($node, "SELECT count(*) = 2 FROM pg_inherits WHERE inhparent = 'infra_monitor.$_'::regclass", "$_: today and tomorrow")
  foreach qw(wait_samples statement_texts);
wait_for($node, "SELECT count(*) BETWEEN 1 AND 2 FROM pg_inherits WHERE inhparent = 'infra_monitor.$_'::regclass", "$_: this month")
  foreach qw(samples_hourly statement_texts_monthly);

#
# after days away, all is made up for; what is read is the same
#
set_sampler('off');
make_hours(-2, 3, 4, 5);
make_hours(-1, 0, 23);
my @readers = (
	map({ my $step = $_;
			map { "SELECT * FROM $_" } (
				"(SELECT bucket, used_avg, used_max, connects FROM infra_monitor.pool_history(date_trunc('day', now()) - interval '2 days', date_trunc('day', now()), '$step')) r",
				"(SELECT h.queryid, bucket, calls, exec_time, p50_time, p95_time, p99_time, rows, failures, failed_time, shared_blks_read, wal_bytes FROM generate_series(1, 8) AS h (queryid), infra_monitor.statement_history(h.queryid, date_trunc('day', now()) - interval '2 days', date_trunc('day', now()), '$step')) r",
				"(SELECT bucket, wait_event, active_avg FROM infra_monitor.wait_history(date_trunc('day', now()) - interval '2 days', date_trunc('day', now()), '$step')) r") }
	  '1 hour', '6 hours', '1 day', '2 days'),
	map({ "SELECT * FROM infra_monitor.top_statements(date_trunc('day', now()) - interval '2 days', date_trunc('day', now()), '$_', 5)" }
		qw(exec_time p95_time failed_time)));
my @from_samples = map { ask_node($_) } @readers;
my $grains = "SELECT string_agg(DISTINCT grain, ' ') FROM infra_monitor.%s(date_trunc('day', now()) - interval '2 days', date_trunc('day', now()), '%s')";
is(ask_node(sprintf $grains, $_, '1 hour'), 'sample', "$_ reads samples") foreach qw(pool_history wait_history);
set_sampler('on');
ok($node->poll_query_until('postgres', $counts, '5|5|5|2|2|2'), 'five hours and two days are rolled up');
is(ask_node("SELECT count(*) FROM infra_monitor.rollups_due() WHERE begins_at < date_trunc('day', now())"), 0, 'nothing is left to be done');
for my $i (0 .. $#readers)
{
	is(ask_node($readers[$i]), $from_samples[$i], 'the same from rollups: ' . substr($readers[$i], 0, 120));
}
is(ask_node(sprintf $grains, $_, '1 hour'), 'hour', "$_ reads hours") foreach qw(pool_history wait_history);
is(ask_node(sprintf $grains, $_, '1 day'), 'day', "$_ reads days") foreach qw(pool_history wait_history);
is(ask_node("SELECT count(DISTINCT queryid), count(*) FROM infra_monitor.statement_texts_monthly WHERE query = 'SELECT ' || queryid"),
	ask_node("SELECT 8, 8 * count(DISTINCT date_trunc('month', d)) FROM generate_series(now() - interval '2 days', now() - interval '1 day', '1 day') d"),
	'each statement has a text of the month');
is(log_count($node, '(WARNING|ERROR|PANIC): '), 0, 'all that without an error');

#
# once
#
my $rows = ask_node("SELECT * FROM ($places) p (place) ORDER BY 1");
for my $how (qw(restart kill))
{
	if ($how eq 'restart')
	{
		local $ENV{LD_PRELOAD} = $clock->{library} if $clock;
		$node->restart;
	}
	else
	{
		end_sampler($node);
	}
	my $spent = ask_node("SELECT seconds FROM infra_monitor.sampler_costs() WHERE task = 'rollups'");
	wait_for($node, "SELECT seconds > $spent FROM infra_monitor.sampler_costs() WHERE task = 'rollups'", "$how: the sampler looks again");
	ask_node('SELECT infra_monitor.roll_up()');
	is(ask_node("SELECT * FROM ($places) p (place) WHERE place NOT LIKE '%hourly%' ORDER BY 1"),
		join("\n", grep { !/hourly/ } split /\n/, $rows), "$how: no row was written twice");
	is(ask_node($counts), '5|5|5|2|2|2', "$how: nor anew");
}

#
# soon after the end of an hour
#
SKIP:
{
	skip 'needs a compiler and Linux', 9 unless $clock;
	skip 'not across midnight', 9 if time % 86400 > 82800 - 120;
	my $to_end = 3600 - time % 3600;

	if ($to_end < 120)
	{
		sleep $to_end + 10;
		$to_end = 3600 - time % 3600;
	}
	my $hour = ask_node("SELECT date_trunc('hour', now())");
	set_clock($clock, $to_end - 3);
	wait_for($node, "SELECT date_trunc('hour', clock_timestamp()) > '$hour'", 'an hour ends');
	wait_for($node, "SELECT EXISTS (SELECT FROM infra_monitor.$_ WHERE begins_at = '$hour')", "and is in $_")
	  foreach qw(samples_hourly statement_samples_hourly wait_samples_hourly);
	my $end = ask_node('SELECT clock_timestamp()');
	cmp_ok(ask_node("SELECT extract(epoch FROM '$end' - (timestamptz '$hour' + interval '1 hour'))"),
		'<', 40, 'within some seconds');
	is(ask_node(<<SQL), 't', 'with all samples of it');
SELECT h.samples = count(*) AND h.latency OPERATOR(infra_monitor.=) infra_monitor.sum(s.latency) AND h.last_sampled_at = max(s.sampled_at)
FROM infra_monitor.samples_hourly h JOIN infra_monitor.samples s ON s.sampled_at >= h.begins_at AND s.sampled_at < h.begins_at + interval '1 hour'
WHERE h.begins_at = '$hour' GROUP BY h.samples, h.latency, h.last_sampled_at
SQL

	# set back into the hour that is done: samples go on, and no error comes of it
	set_clock($clock, 0);
	wait_for($node, "SELECT count(*) > 2 FROM infra_monitor.samples WHERE sampled_at > '$hour'", 'samples are taken when it was set back');
	is(ask_node("SELECT count(*) FROM infra_monitor.samples_hourly WHERE begins_at = '$hour'"), 1, 'the hour is rolled up once');
	is(ask_node('SELECT infra_monitor.roll_up()'), 0, 'and stays so');
}

#
# samples are removed when they are rolled up, or when that fails for long
#
set_sampler('off');
make_hours($_, 7) foreach -8, -9;
ask_node('CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;'
	  . ' CREATE TRIGGER no BEFORE INSERT ON infra_monitor.samples_hourly FOR EACH STATEMENT EXECUTE FUNCTION no()');
my $offset = log_end($node);
my @old = map { ask_node("SELECT 'infra_monitor.samples_' || to_char(now() - interval '$_ days', 'YYYYMMDD')") } 8, 9;
# as if nothing younger had been rolled up
ask_node('TRUNCATE infra_monitor.samples_hourly, infra_monitor.samples_daily');
set_sampler('on');
wait_for($node, "SELECT to_regclass('$old[1]') IS NULL", 'a day that should have been rolled up goes in the end');
is(ask_node("SELECT drops FROM infra_monitor.sampler_drops() WHERE reason = 'rollups'"), 1, 'which is counted');
is(log_count($node, qr/LOG: .*removes rows of table "samples_\d+" that have not been rolled up/, $offset), 1, 'and logged');
wait_for($node, "SELECT last_error ~ '^(rollups|partitions): table \"samples_hourly\" has been altered and is not written' FROM infra_monitor.sampler_status",
	'the sampler says why');
is(ask_node("SELECT to_regclass('$old[0]') IS NOT NULL"), 't', 'it has waited for a day with it');
ask_node('DROP TRIGGER no ON infra_monitor.samples_hourly');
end_sampler($node);
wait_for($node, "SELECT EXISTS (SELECT FROM infra_monitor.samples_hourly WHERE begins_at < now() - interval '7 days')", 'then it is rolled up');
wait_for($node, "SELECT to_regclass('$old[0]') IS NULL", 'and removed');

#
# rollups are removed when they are past their own retention
#
# (a sampler that is looking after partitions would remove the oldest before it has rows)
set_sampler('off');
my %month = map { $_ => make_partition('samples_hourly', -$_, 'month') } 15, 4, 1;
ask_node(<<SQL);
INSERT INTO infra_monitor.samples_hourly
SELECT r.* FROM (SELECT * FROM infra_monitor.samples_hourly LIMIT 1) h, unnest('{15,4,1}'::int[]) i,
	jsonb_populate_record(h::infra_monitor.samples_hourly, jsonb_build_object('begins_at', date_trunc('month', now()) - interval '1 month' * i)) r
SQL
set_sampler('on');
wait_for($node, "SELECT to_regclass('infra_monitor.$month{15}') IS NULL", 'an old month of rollups is removed');
is(ask_node("SELECT count(*) FROM infra_monitor.$month{4}"), 1, 'a younger one is not');
$node->append_conf('postgresql.conf', "infra_monitor.rollup_retention = '60d'");
$node->reload;
end_sampler($node);
wait_for($node, "SELECT to_regclass('infra_monitor.$month{4}') IS NULL", 'a shorter retention is followed');
cmp_ok(ask_node("SELECT count(*) FROM infra_monitor.$month{1}"), '>', 0, 'to the month');
$node->append_conf('postgresql.conf', "infra_monitor.rollup_retention = '400d'");
$node->reload;

#
# of a history that is too large, rollups go last, and those of this month never
#
set_sampler('off');
my @months = map { make_partition('wait_samples_hourly', $_, 'month') } -2, -1, 0;
my $yesterday = make_partition('wait_samples', -1, 'day');
ask_node(<<SQL);
INSERT INTO infra_monitor.wait_samples_hourly (begins_at, samples, datname, wait_event_type, wait_event, observations, looks)
SELECT date_trunc('month', now()) - i * interval '1 month', 1, repeat('x', 1000), 'Filling', 'Filling', 0, 0
FROM generate_series(0, 2) i, generate_series(1, 3200);
INSERT INTO infra_monitor.wait_samples (sampled_at, epoch, datname, wait_event_type, wait_event, observations, looks)
SELECT date_trunc('day', now()) - interval '1 second', 1, repeat('x', 1000), 'Filling', 'Filling', 0, 0 FROM generate_series(1, 4000)
SQL
cmp_ok(ask_node('SELECT infra_monitor.history_bytes()'), '>', 15.2 * MB, 'the history is made large');
$node->append_conf('postgresql.conf', "infra_monitor.max_storage = 16MB");
$node->reload;
set_sampler('on');
wait_for($node, "SELECT coalesce(pg_relation_size(to_regclass('infra_monitor.$yesterday')), 0) = 0", 'a day before today goes first');
is(join(' ', map { ask_node("SELECT count(*) > 0 FROM infra_monitor.$_") } @months), 't t t', 'all months are kept');
for my $round (0, 1)
{
	# today is large
	ask_node(<<SQL);
INSERT INTO infra_monitor.wait_samples (sampled_at, epoch, datname, wait_event_type, wait_event, observations, looks)
SELECT date_trunc('day', now()), 1, repeat('x', 1000), 'Filling', 'Filling', 0, 0
FROM generate_series(1, greatest(0, (15.6 * 1048576 - infra_monitor.history_bytes()) / 1150)::int)
SQL
	wait_for($node, "SELECT coalesce(pg_relation_size(to_regclass('infra_monitor.$months[$round]')), 0) = 0", 'then the oldest month') or last;
	cmp_ok(ask_node("SELECT count(*) FROM infra_monitor.$months[2]"), '>', 0, 'not this one');
}
ask_node(<<SQL);
INSERT INTO infra_monitor.wait_samples (sampled_at, epoch, datname, wait_event_type, wait_event, observations, looks)
SELECT date_trunc('day', now()), 1, repeat('x', 1000), 'Filling', 'Filling', 0, 0
FROM generate_series(1, greatest(0, (16.2 * 1048576 - infra_monitor.history_bytes()) / 1100)::int)
SQL
my $paused = ask_node("SELECT drops FROM infra_monitor.sampler_drops() WHERE reason = 'storage_paused'");
wait_for($node, "SELECT drops > $paused FROM infra_monitor.sampler_drops() WHERE reason = 'storage_paused'", 'and then detail pauses');
cmp_ok(ask_node("SELECT count(*) FROM infra_monitor.$months[2]"), '>', 0, 'this month is kept');
cmp_ok(ask_node('SELECT infra_monitor.history_bytes()'), '<', 1.1 * 16 * MB, 'less than a tenth above the maximum');
ask_node('TRUNCATE infra_monitor.wait_samples, infra_monitor.wait_samples_hourly');
$node->append_conf('postgresql.conf', "infra_monitor.max_storage = 1GB");
$node->reload;

#
# not dumped
#
my $directory = PostgreSQL::Test::Utils::tempdir();
$node->command_ok([ 'pg_dump', '-f', "$directory/dump.sql", '-d', $node->connstr('postgres') ], 'pg_dump');
unlike(slurp_file("$directory/dump.sql"), qr/_hourly|_daily|_monthly/, 'knows no rollups');

#
# standby and promotion
#
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
set_sampler('off');
make_hours(-3, 12);
ask_node('TRUNCATE infra_monitor.samples_hourly, infra_monitor.samples_daily, infra_monitor.statement_samples_hourly,'
	  . ' infra_monitor.statement_samples_daily, infra_monitor.wait_samples_hourly, infra_monitor.wait_samples_daily');
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', 'SELECT count(*) FROM infra_monitor.rollups_due()') > 2 ? 't' : 'f', 't', 'a standby sees what is due');
my ($status, $out, $said) = $standby->psql('postgres', 'SELECT infra_monitor.roll_up()');
like($said, qr/during recovery/, 'and cannot do it');
my $ticks = status_of($standby, 'ticks');
wait_for($standby, "SELECT ticks > $ticks + 12 FROM infra_monitor.sampler_status", 'its sampler works');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM infra_monitor.samples_hourly'), 0, 'and rolls nothing up');
is(status_of($standby, 'last_error'), '', 'without an error');
$node->stop;
$standby->promote;
wait_for($standby, "SELECT count(*) > 0 FROM infra_monitor.$_ WHERE begins_at < now() - interval '1 day'", "promoted, it goes on: $_")
  foreach qw(samples_hourly statement_samples_daily wait_samples_daily);
$standby->stop;
done_testing();
