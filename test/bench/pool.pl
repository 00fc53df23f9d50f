# The measurements of test/bench/pool: pool.pl SOCKET SECONDS BACKENDS...
#
# Time is that of the server process on a processor, from /proc, so that what
# else the machine does matters little.  What is compared takes turns in short
# slices; a ratio is the median of those of the slices.

use strict;
use warnings;

use IO::Socket::UNIX;
use Time::HiRes qw(time sleep);

my ($socket, $seconds, @backends) = @ARGV;

my $slices = 25;
my $slice_time = 0.04;    # seconds of CPU, of the quickest query
my $missed = 0;
my @idle;                 # sessions

# What is compared.  The counts over pg_stat_activity are those that
# pool_pressure shows of the states of backends.
my %queries = (
	pressure => 'SELECT * FROM infra_monitor.pool_pressure',
	counts => 'SELECT * FROM infra_monitor.pool_counts()',
	activity => <<'SQL',
SELECT current_setting('max_connections')::int AS max_connections,
	count(*) AS used,
	count(*) FILTER (WHERE state = 'active') AS active,
	count(*) FILTER (WHERE state = 'idle') AS idle,
	count(*) FILTER (WHERE state IN ('idle in transaction', 'idle in transaction (aborted)')) AS idle_in_transaction,
	count(*) FILTER (WHERE state = 'active' AND wait_event_type = 'Lock') AS waiting,
	clock_timestamp() - min(xact_start) AS oldest_transaction,
	clock_timestamp() - min(state_change) FILTER (WHERE state LIKE 'idle in transaction%') AS oldest_idle_in_transaction
FROM pg_stat_activity WHERE backend_type = 'client backend'
SQL

	# as much work whatever the number of backends
	constant => 'SELECT count(*) FROM generate_series(1, 5000)');

# A query as idle sessions have run it, of a usual length.
my $last_query = 'SELECT 1 /* ' . ('x' x 120) . ' */';

#
# Sessions: the protocol, no more of it than needed
#

# The next $length bytes from the server.
sub receive
{
	my ($session, $length) = @_;
	my $data = '';

	while (length $data < $length)
	{
		$session->sysread($data, $length - length $data, length $data)
		  or die "the server has closed a connection\n";
	}
	return $data;
}

# Reads until the server waits for us; returns the first column of the rows.
sub await
{
	my ($session) = @_;
	my @rows;

	while (1)
	{
		my ($type, $length) = unpack('a N', receive($session, 5));
		my $body = receive($session, $length - 4);

		die join(' ', grep { /^M/ } split(/\0/, $body)) . "\n"
		  if $type eq 'E';
		return \@rows if $type eq 'Z';
		next if $type ne 'D';
		my $size = unpack('x2 l>', $body);
		push @rows, $size < 0 ? undef : substr($body, 6, $size);
	}
}

sub ask
{
	my ($session, $query) = @_;

	$session->syswrite('Q' . pack('N', 5 + length $query) . "$query\0");
	return await($session)->[0];
}

sub open_session
{
	my $session = IO::Socket::UNIX->new(Peer => $socket)
	  or die "cannot connect: $!\n";
	my $packet = pack('N', 3 << 16) . "user\0postgres\0database\0postgres\0\0";

	$session->syswrite(pack('N', 4 + length $packet) . $packet);
	await($session);
	return $session;
}

#
# Measuring
#

# Seconds that a process has spent on a processor.
sub cpu_time
{
	my ($pid) = @_;
	my $line;

	if (open my $file, '<', "/proc/$pid/schedstat")
	{
		$line = <$file>;
		return (split ' ', $line)[0] / 1e9;
	}
	open my $file, '<', "/proc/$pid/stat" or die "/proc/$pid/stat: $!\n";
	$line = <$file>;
	$line =~ s/^.*\) //;
	return ((split ' ', $line)[11] + (split ' ', $line)[12]) / 100;
}

sub median
{
	my @sorted = sort { $a <=> $b } @_;

	return ($sorted[ $#sorted / 2 ] + $sorted[ @sorted / 2 ]) / 2;
}

# CPU seconds of one execution, over so many.
sub cost
{
	my ($session, $pid, $query, $times) = @_;
	my $start = cpu_time($pid);

	ask($session, $query) for 1 .. $times;
	return (cpu_time($pid) - $start) / $times;
}

# Runs the queries by turns.  Returns how many times as much each costs as the
# one called $base.
sub compare
{
	my ($session, $base, %compared) = @_;
	my $pid = ask($session, 'SELECT pg_backend_pid()');
	my (%times, %ratios);

	foreach my $name (keys %compared)
	{
		cost($session, $pid, $compared{$name}, 3);    # fill caches
		my $once = cost($session, $pid, $compared{$name}, 5) || $slice_time;
		$times{$name} = 1 + int($slice_time / $once);
	}
	for (1 .. $slices)
	{
		my %cost = map {
			($_ => cost($session, $pid, $compared{$_}, $times{$_}))
		} sort keys %compared;

		push @{ $ratios{$_} }, $cost{$_} / $cost{$base} for keys %cost;
	}
	return map { ($_ => median(@{ $ratios{$_} })) } keys %ratios;
}

# Prints a measured value and the most it may be.
sub judge
{
	my ($what, $value, $most) = @_;

	$missed ||= $value > $most;
	printf "%-68s %7.4f  (target: at most %.4g, %s)\n", $what, $value, $most,
	  $value > $most ? 'MISSED' : 'met';
	return;
}

#
# What is measured
#

# Reads of the pool, with ever more backends.
sub bench_reads
{
	my ($probe) = @_;
	my (%first, $last);

	print <<'TEXT';

One read, in CPU time of the server process.  Ratios: to the same counts over
pg_stat_activity.  Growth: how many times what it was with the fewest backends.

             pool_pressure  pool_counts()        growth of
  backends       ratio          ratio      pool_pressure  pg_stat_activity
TEXT
	foreach my $n (@backends)
	{
		while (@idle + 1 < $n)
		{
			push @idle, open_session();
			ask($idle[-1], $last_query);
		}
		my %cost = compare($probe, 'activity', %queries);

		my $constant = $cost{constant};

		$_ /= $constant for values %cost;    # comparable with those of another $n
		%first = %cost unless %first;
		$last = $cost{pressure} / $cost{activity};
		printf "%10d   %9.3f      %9.3f      %9.1f      %9.1f\n", $n, $last,
		  $cost{counts} / $cost{activity}, $cost{pressure} / $first{pressure},
		  $cost{activity} / $first{activity};
	}
	print "\n";
	judge("pool_pressure / pg_stat_activity, $backends[-1] backends",
		$last, 0.2);
	return;
}

# What the sampler takes.
sub bench_sampler
{
	my ($probe) = @_;
	my $pid = ask($probe, 'SELECT pid FROM infra_monitor.sampler_status');
	my $activity =
	  "SELECT cost->>'activity_seconds' FROM infra_monitor.sampler_status";
	my $start = time;
	my $cpu = cpu_time($pid);
	my $cost = ask($probe, $activity);

	sleep $seconds;
	my $end = time;

	judge("activity tick, $backends[-1] idle backends, share of one core",
		(ask($probe, $activity) - $cost) / ($end - $start), 0.005);
	judge("sampler, all its tasks, the same",
		(cpu_time($pid) - $cpu) / ($end - $start), 0.01);
	return;
}

# A day of a week's history: one sample in ten seconds, a partition each day.
sub bench_history
{
	my ($probe) = @_;
	my %history = map {
		($_ => "SELECT sum(used_max) FROM infra_monitor.pool_history(now() - interval '$_ days')")
	} 1, 7;
	my $partitions = <<'SQL';
SELECT count(*) FILTER (WHERE seq_scan + coalesce(idx_scan, 0) > 0) FROM pg_stat_xact_user_tables
WHERE relid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'infra_monitor.samples'::regclass)
SQL

	ask($probe, $_) for <<'SQL', <<'SQL', 'VACUUM ANALYZE infra_monitor.samples', 'SELECT pg_stat_force_next_flush()';
DO $$
DECLARE
	today timestamptz := date_bin('1 day', now(), '2000-01-01 00:00+00');
	day timestamptz;
BEGIN
	FOR back IN 1 .. 7 LOOP
		day := today - make_interval(hours => 24 * back);
		EXECUTE format('CREATE TABLE infra_monitor.%I PARTITION OF infra_monitor.samples FOR VALUES FROM (%L) TO (%L)',
			'samples_' || to_char(day AT TIME ZONE 'UTC', 'YYYYMMDD'), day, day + interval '24 hours');
	END LOOP;
END $$
SQL
INSERT INTO infra_monitor.samples
SELECT at, 1, 'ok', 100, 3, n % 90, 97 - n % 90, n % 90 / 97.0, n % 7, n % 50, n % 5, n % 3, 90, at, n, n, n, 0,
	'1 s', '1 s', at, 0, n % 10, n % 2, n, n, n, n, n, n, n, n % 7, 0.5, n, n, n, n, 'healthy', 10, NULL, 2.5
FROM generate_series(1, 60480) n, LATERAL (SELECT now() - make_interval(secs => 10 * n) AS at) t
SQL

	my %cost = compare($probe, 'scan',
		scan => "SELECT max(used_connections) FROM infra_monitor.samples WHERE sampled_at >= now() - interval '1 day'",
		day => $history{1},
		week => $history{7});
	my $pid = ask($probe, 'SELECT pg_backend_pid()');
	my $time = median(map { cost($probe, $pid, $history{1}, 5) } 1 .. 5);

	printf "\npool_history() of a day / one maximum of the same rows %22.1f\n",
	  $cost{day};
	printf "pool_history() of a week / of a day %41.1f\n",
	  $cost{week} / $cost{day};
	ask($probe, $_) for 'SELECT pg_stat_force_next_flush()', 'BEGIN', $history{1};
	judge("pool_history() of a day, of a week's samples: partitions read",
		ask($probe, $partitions), 2);
	ask($probe, 'COMMIT');
	judge('the same, CPU time in units of 100 ms', $time / 0.1, 1);
	return;
}

my $probe = open_session();

bench_reads($probe);
bench_sampler($probe);
bench_history($probe);
exit $missed;
