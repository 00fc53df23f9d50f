# One day is removed after the other while there is always somebody with an open
# transaction on the tables of the history.  Whoever comes meanwhile waits for
# less than a second.
#
# What the sampler wants, it waits for half a second, and those who come after it
# wait, too: so it gets it from readers of short transactions, however many there
# are.  From those of long ones it gets a day that they do not read, but not the
# lock on the whole table to drop it; nor the day if they read that.
#
# And what the sampler does with days besides: an index on one that is over, and
# a forecast.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

# Days are counted from today: not across midnight
not_across_midnight(300);

my $node = new_server(
	'readers',
	conf => <<'CONF');
infra_monitor.statement_interval = 1s
autovacuum = off
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
wait_for_sample($node, 'samples are taken');
wait_for($node, 'SELECT count(*) > 0 FROM infra_monitor.statement_samples', 'and of statements');

my $session = open_session($node);
my @tables = qw(samples statement_samples);

sub name_of
{
	my ($table, $day) = @_;

	return ask($session,
		"SELECT '${table}_' || to_char(now() AT TIME ZONE 'UTC' + interval '1 day' * $day, 'YYYYMMDD')");
}

# Makes the partitions of a day as the sampler would have, with rows.
sub make_day
{
	my ($day) = @_;

	foreach my $table (@tables)
	{
		my $name = name_of($table, $day);

		ask($session, <<SQL);
DO \$\$
DECLARE
	day timestamptz := date_trunc('day', now(), 'UTC') + interval '1 day' * $day;
BEGIN
	CREATE TABLE infra_monitor.$name (LIKE infra_monitor.$table INCLUDING DEFAULTS);
	EXECUTE format('ALTER TABLE infra_monitor.$table ATTACH PARTITION infra_monitor.$name FOR VALUES FROM (%L) TO (%L)',
		day, day + interval '1 day');
	ALTER EXTENSION infra_monitor ADD TABLE infra_monitor.$name;
	INSERT INTO infra_monitor.$table
	SELECT s.* FROM (SELECT * FROM infra_monitor.$table ORDER BY sampled_at DESC LIMIT 1) l, generate_series(1, 100) i,
		jsonb_populate_record(l::infra_monitor.$table, jsonb_build_object('sampled_at', day + interval '1 minute' * i)) s;
END \$\$
SQL
	}
	return map { name_of($_, $day) } @tables;
}

sub pause_sampler
{
	ask($session, 'ALTER SYSTEM SET infra_monitor.enabled = off');
	ask($session, 'SELECT pg_reload_conf()');
	return wait_in_session($session, 'SELECT state FROM infra_monitor.sampler_status', 'the sampler waits', 'disabled');
}

sub resume_sampler
{
	ask($session, 'ALTER SYSTEM RESET infra_monitor.enabled');
	ask($session, 'SELECT pg_reload_conf()');
	return;
}

# Old days, before there is any reader
pause_sampler();
my @old = map { make_day($_) } -12 .. -9;
my $list = join ', ', map { "'$_'" } @old;

# A session that says the same again and again, each time in a transaction that goes
# on for so many seconds.
sub new_actor
{
	my ($name, $command, $length) = @_;

	return {
		name => $name,
		command => "BEGIN; $command; SELECT pg_sleep($length); COMMIT",
		length => $length,
		session => open_session($node) };
}

my @actors;
my ($longest, $longest_of, $waited, $turns, $without, $looks) = (0, '', 0, 0, 0, 0);

# Lets all actors go on.
sub act
{
	foreach my $actor (@actors)
	{
		if ($actor->{since})
		{
			next unless has_answered($actor->{session});
			defined answer_of($actor->{session}) or die "$actor->{name}: $actor->{session}{message}";
			my $time = time - $actor->{since} - $actor->{length};
			($longest, $longest_of) = ($time, $actor->{name}) if $time > $longest;
			$turns++;
		}
		send_query($actor->{session}, $actor->{command});
		$actor->{since} = time;
	}
	# to be left with none of them, only a wait for us is an excuse
	my ($open, $wait) = split /\|/, ask($session, <<'SQL');
SELECT (SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%reader%' AND xact_start IS NOT NULL AND pid <> pg_backend_pid()),
	(SELECT coalesce(max(extract(epoch FROM clock_timestamp() - waitstart)), 0) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
		WHERE NOT l.granted AND a.backend_type = 'client backend')
SQL
	$looks++;
	$without++ unless $open;
	$waited = $wait if $wait > $waited;
	usleep(2_000);
	return;
}

# Lets them go on until the condition holds; returns whether it does.
sub act_until
{
	my ($condition) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	while (time < $deadline)
	{
		act() for 1 .. 20;
		return 1 if ask($session, "SELECT $condition") eq 't';
	}
	return 0;
}

# Lets them finish, and go.
sub dismiss
{
	answer_of($_->{session}) foreach grep { $_->{since} } @actors;
	close_sessions(map { $_->{session} } @actors);
	@actors = ();
	return;
}

# Five readers, so that one at least is always in a transaction, and others: a
# writer, and short reads.  Begins to count.
sub begin_acts
{
	my ($command, $length) = @_;

	foreach my $i (1 .. 5)
	{
		# begun one after the other, and never done all at the same time
		push @actors, new_actor("reader $i", "/* reader */ $command", $length * (1 + $i / 5));
		my $next = time + $length / 5;
		act() while time < $next;
	}
	push @actors,
	  new_actor('read of samples', 'SELECT count(*) FROM infra_monitor.samples', 0),
	  new_actor('pool_history()', "SELECT count(*) FROM infra_monitor.pool_history(now() - interval '1 day')", 0),
	  new_actor('insert', 'INSERT INTO infra_monitor.samples SELECT * FROM infra_monitor.samples ORDER BY sampled_at DESC LIMIT 1', 0);
	act();
	($longest, $longest_of, $waited, $turns, $without, $looks) = (0, '', 0, 0, 0, 0);
	return;
}

# Ends one part.
sub end_acts
{
	my ($name) = @_;

	# where they are short and we are slow, they may all be done before we see one
	cmp_ok($without, '<=', 0.05 * $looks, "$name: there was always a transaction open");
	note sprintf('%s: the longest wait behind us %.3f s as seen in pg_locks, %.3f s with everything else (%s), in %d transactions',
		$name, $waited, $longest, $longest_of, $turns);
	# lock_timeout of the sampler is 0.5 s; a second for a machine that is busy
	cmp_ok($waited, '<', 2, "$name: nobody waits for long");
	dismiss();
	return;
}

sub with_rows
{
	return "(SELECT count(*) FROM pg_class WHERE relname IN ($list) AND pg_relation_size(oid) > 0)";
}
my $left_over = "(SELECT count(*) FROM pg_class WHERE relname IN ($list))";
my $everything = join '; ', map { "SELECT count(*) FROM infra_monitor.$_" } @tables;

# long transactions that read all days
begin_acts($everything, 2);
resume_sampler();
ok(act_until("(SELECT coalesce(last_error LIKE 'partitions: % lock timeout', false) FROM infra_monitor.sampler_status)"),
	'a day of which the rows are always read by long transactions is not removed, and the sampler says so');
is(ask($session, 'SELECT ' . with_rows()), scalar @old, 'its rows are there');
end_acts('all days, long');

# long transactions that read other days: constants, so that they do not lock the old ones
my $recent = ask($session, "SELECT now() - interval '1 hour'");
begin_acts(join('; ', map { "SELECT count(*) FROM infra_monitor.$_ WHERE sampled_at > '$recent'" } @tables), 2);
end_sampler($session);
ok(act_until(with_rows() . ' = 0'), 'days that long transactions do not read are emptied, one after the other');
is(ask($session, "SELECT $left_over"), scalar @old, 'the tables stay for now');
end_acts('other days, long');

# short transactions that read all days, and among them always one
pause_sampler();
@old = map { make_day($_) } -23 .. -20;
$list = join ', ', map { "'$_'" } @old;
begin_acts($everything, 0.2);
resume_sampler();
ok(act_until("$left_over = 0"), 'from short transactions on all days the sampler gets its locks: the days are removed');
end_acts('all days, short');

#
# a day that is over gets an index
#
my ($samples, $statements) = make_day(-1);
my $columns = "SELECT string_agg(a.attname, ' ' ORDER BY a.attname) FROM pg_index i"
  . ' JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] WHERE i.indisvalid AND i.indrelid =';
is(ask($session, "$columns 'infra_monitor.$statements'::regclass"), 'sampled_at', 'a day has no index on statements');
end_sampler($session);
wait_in_session($session, "$columns 'infra_monitor.$statements'::regclass", 'when it is over it gets one', 'queryid sampled_at');
my $today = name_of('statement_samples', 0);
end_sampler($session);
wait_in_session($session, 'SELECT next_partition_work > now() FROM infra_monitor.sampler_status', 'when partitions have been looked after again');
is(ask($session, "$columns 'infra_monitor.$statements'::regclass"), 'queryid sampled_at', 'there is still one');
is(ask($session, "$columns 'infra_monitor.$today'::regclass"), 'sampled_at', 'this day has none');
is(ask($session, "$columns 'infra_monitor.$samples'::regclass"), 'sampled_at', 'nor have other tables');

# one that cannot be made is told of, once, and in nobody's way
my $unindexed = (make_day(-2))[1];
my $offset = log_end($node);
ask($session, "ALTER TABLE infra_monitor.$unindexed ENABLE ROW LEVEL SECURITY");
end_sampler($session);
wait_in_session($session, 'SELECT next_partition_work > now() FROM infra_monitor.sampler_status', 'partitions have been looked after');
is(log_count($node, qr/WARNING: .*could not make an index on "$unindexed": table "$unindexed" has been altered/, $offset), 1,
	'one that has been altered gets none, and it says so');
is(ask($session, "SELECT coalesce(last_error, '') LIKE '%$unindexed%' FROM infra_monitor.sampler_status"), 'f', 'which is no failure of a task');
ask($session, "ALTER TABLE infra_monitor.$unindexed DISABLE ROW LEVEL SECURITY");

#
# how large the history will be
#
is(ask($session, 'SELECT forecast_bytes > 0, storage_full_at IS NULL FROM infra_monitor.sampler_status'), 't|t', 'it will not be too large');
ask($session, "ALTER SYSTEM SET infra_monitor.retention = '3650d'");
ask($session, 'SELECT pg_reload_conf()');
wait_in_session($session, "SELECT current_setting('infra_monitor.retention')", 'with a long retention', '3650d');
is(ask($session, 'SELECT forecast_bytes > 1024 ^ 3, storage_full_at > now() FROM infra_monitor.sampler_status'), 't|t',
	'it will, and when is known');

wait_for_sample($node, 'samples are taken');
close_sessions($session);
$node->stop;
done_testing();
