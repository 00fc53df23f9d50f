# The measurements of test/bench/metrics: metrics.pl DIRECTORY BACKENDS SECONDS
#
# Time is that of server processes on a processor, from /proc, so that what else
# the machine does matters little.  A ratio is one of medians.

use strict;
use warnings;

use HTTP::Tiny;
use IO::Socket::INET;
use IO::Socket::UNIX;
use Time::HiRes qw(time sleep);

my ($directory, $backends, $seconds) = @ARGV;

my $statements = 5000;
my $connected = "SELECT value FROM infra_monitor.metrics WHERE name = 'infra_monitor_pool_connects_total'";
my %file = (disk => "$directory/tmp/postgres.prom", memory => "/dev/shm/postgres-$$.prom");
my $missed = 0;
my $exporter;            # its process
my @idle;                # sessions

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
	my $session = IO::Socket::UNIX->new(Peer => "$directory/.s.PGSQL.5432")
	  or die "cannot connect: $!\n";
	my $packet = pack('N', 3 << 16) . "user\0postgres\0database\0postgres\0\0";

	$session->syswrite(pack('N', 4 + length $packet) . $packet);
	await($session);
	return $session;
}

# Changes the configuration, and waits until it is read.
sub set
{
	my ($probe, %settings) = @_;

	ask($probe, "ALTER SYSTEM SET $_ = '$settings{$_}'") foreach sort keys %settings;
	ask($probe, 'SELECT pg_reload_conf()');
	foreach my $name (sort keys %settings)
	{
		sleep 0.02 until ask($probe, "SHOW $name") eq $settings{$name};
	}
	return;
}

#
# Measuring
#

# Seconds that a process has spent on a processor.
sub cpu_time
{
	my ($pid) = @_;
	my $line;

	if (open my $status, '<', "/proc/$pid/schedstat")
	{
		$line = <$status>;
		return (split ' ', $line)[0] / 1e9;
	}
	open my $status, '<', "/proc/$pid/stat" or die "/proc/$pid/stat: $!\n";
	$line = <$status>;
	$line =~ s/^.*\) //;
	return ((split ' ', $line)[11] + (split ' ', $line)[12]) / 100;
}

sub median
{
	my @sorted = sort { $a <=> $b } @_;

	return ($sorted[ $#sorted / 2 ] + $sorted[ @sorted / 2 ]) / 2;
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

# Executes so many statements that differ, from a number on: in the types of
# their columns.
sub execute
{
	my ($session, $from, $n) = @_;
	my @queries = map {
		my $number = $_;
		'SELECT ' . join(',', map { $number >> $_ & 1 ? 'true' : '1' } 0 .. 16);
	} $from .. $from + $n - 1;

	ask($session, join(';', splice(@queries, 0, 500))) while @queries;
	return;
}

# The metrics, when the list of statements has been the same for three of its
# intervals: it has all, or as many as there can be.
sub settled_metrics
{
	my ($probe) = @_;
	my ($before, $same) = ('', 0);

	foreach (1 .. 60)
	{
		my $text = ask($probe, 'SELECT infra_monitor.metrics_text()');
		my $now = join ' ', $text =~ /^infra_monitor_statement_failures_total\{queryid="([^"]+)/mg;

		$same = $now eq $before ? $same + 1 : 0;
		return $text if $same == 3;
		$before = $now;
		sleep 1.1;
	}
	die "the list of statements does not come to rest\n";
}

# How many series there are, with ever more statements.
sub bench_series
{
	my ($probe) = @_;
	my ($done, @series) = (0);    # those that there are because of statements

	print "\n  distinct statements        series   bytes of text\n";
	foreach my $n (10, 1000, 100_000)
	{
		execute($probe, $done, $n - $done);
		my $text = settled_metrics($probe);
		my ($series) = $text =~ /^infra_monitor_series (\d+)$/m;
		my $lines = () = $text =~ /^[^#]/mg;

		die "$series series, $lines lines\n" if $series != $lines;
		printf "%21d %13d %15d\n", $n, $series, length $text;
		push @series, scalar(() = $text =~ /^infra_monitor_(?:statement|query)_/mg);
		$done = $n;
	}
	print "\n";
	judge('series at 100 000 statements / at 1000', $series[2] / $series[1], 1);
	return;
}

# Starts postgres_exporter; returns its address.
sub start_exporter
{
	my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1)
	  or die "no port: $!\n";
	my $address = '127.0.0.1:' . $listener->sockport;

	close $listener;
	$exporter = fork;
	if ($exporter == 0)
	{
		$ENV{DATA_SOURCE_NAME} = "host=$directory port=5432 user=exporter dbname=postgres sslmode=disable";
		open STDERR, '>', "$directory/tmp/exporter.log" or die;
		exec 'prometheus-postgres-exporter', "--web.listen-address=$address" or die;
	}
	foreach (1 .. 300)
	{
		return $address if HTTP::Tiny->new->get("http://$address/")->{status} == 200;
		sleep 0.1;
	}
	die "the exporter does not answer\n";
}

# A scrape, which must have found the server.
sub scrape
{
	my ($address) = @_;
	my $content = HTTP::Tiny->new->get("http://$address/metrics")->{content};

	die "the exporter has failed\n"
	  unless $content =~ /^pg_up 1$/m && $content =~ /^pg_stat_activity_count/m
	  && $content !~ /^pg_exporter_last_scrape_error 1$/m;
	return $content;
}

# The processes that serve the exporter.
sub serving
{
	my ($probe) = @_;

	return split / /, ask($probe, "SELECT string_agg(pid::text, ' ' ORDER BY pid) FROM pg_stat_activity WHERE usename = 'exporter'");
}

# CPU seconds of these processes.
sub cpu_time_of
{
	my $sum = 0;

	$sum += cpu_time($_) foreach @_;
	return $sum;
}

# Waits until there is a new file, and returns the moment.
sub wait_for_file
{
	my ($file) = @_;
	my $before = (stat $file)[9] // 0;

	foreach (1 .. 2000)
	{
		return time if ((stat $file)[9] // 0) > $before;
		sleep 0.005;
	}
	die "there is no new file\n";
}

# Calls and scrapes by turns, each a few times in a row.  Returns the CPU seconds
# of each.
sub compare
{
	my ($probe, $address, $session) = @_;
	my $pid = ask($session, 'SELECT pg_backend_pid()');
	my @serving = serving($probe);
	my %cost;

	for (0 .. 15)
	{
		my $before = cpu_time_of(@serving);
		scrape($address) for 1 .. 5;
		push @{ $cost{scrape} }, (cpu_time_of(@serving) - $before) / 5;

		$before = cpu_time($pid);
		ask($session, 'SELECT infra_monitor.metrics_text()') for 1 .. 20;
		push @{ $cost{call} }, (cpu_time($pid) - $before) / 20;
	}
	return %cost;
}

# One of each a second, as in life, where nobody finds in the caches what was
# there the last time; so many seconds.  Returns the CPU seconds of each call, of
# each scrape, and of each second of the sampler, which has one sample in it.
sub observe
{
	my ($probe, $address, $session, $phase, $seconds) = @_;
	my $pid = ask($session, 'SELECT pg_backend_pid()');
	my $sampler = ask($probe, 'SELECT pid FROM infra_monitor.sampler_status');
	my $next = $phase + int(time - $phase) + 1;
	my %cost;

	for (0 .. $seconds)
	{
		sleep $next - time if time < $next;
		my @serving = serving($probe);
		my $before = cpu_time_of(@serving);
		scrape($address);
		push @{ $cost{scrape} }, cpu_time_of(@serving) - $before;
		$before = cpu_time($pid);
		ask($session, 'SELECT infra_monitor.metrics_text()');
		push @{ $cost{call} }, cpu_time($pid) - $before;

		push @{ $cost{sampler} }, cpu_time($sampler);
		$next++;
	}
	my @sums = @{ $cost{sampler} };
	$cost{sampler} = [ map { $sums[ $_ + 1 ] - $sums[$_] } 0 .. $#sums - 1 ];
	return %cost;
}

# A call and a writing of the file, by a scrape of the exporter.
sub bench_costs
{
	my ($probe) = @_;
	my $session = open_session();
	my $address = start_exporter();

	while (@idle < $backends)
	{
		push @idle, open_session();
		ask($idle[-1], 'SELECT 1');
	}
	ask($probe, 'SELECT pg_stat_statements_reset()');
	execute($probe, 0, 1.1 * $statements);
	my $ours = ask($probe, 'SELECT count(*) FROM infra_monitor.statement_counts() WHERE queryid IS NOT NULL');
	my $theirs = ask($probe, 'SELECT count(*) FROM pg_stat_statements(false)');
	my ($series) = ask($probe, 'SELECT infra_monitor.metrics_text()') =~ /^infra_monitor_series (\d+)$/m;

	die "only $ours and $theirs statements\n"
	  if $ours < 0.95 * $statements || $theirs < 0.9 * $statements;
	printf "\n%d backends, %d statements, %d in pg_stat_statements; series of ours %d, of postgres_exporter %d\n\n",
	  $backends, $ours, $theirs, $series, scalar(() = scrape($address) =~ /^pg_/mg);

	# The sampler has no extension in its database: it has nothing else to do.
	# What it knew of health stays in the metrics.
	set($probe,
		'infra_monitor.database' => 'template1',
		'infra_monitor.statement_interval' => '1h',
		'infra_monitor.activity_interval' => '0',
		'infra_monitor.snapshot_directory' => '',
		'infra_monitor.sample_interval' => '1s',
		'infra_monitor.textfile' => $file{disk});
	wait_for_file($file{disk});
	my $connects = ask($probe, $connected);
	my %in_a_row = compare($probe, $address, $session);
	my $phase = wait_for_file($file{disk}) + 0.3;
	my %on_disk = observe($probe, $address, $session, $phase, $seconds);

	set($probe, 'infra_monitor.textfile' => $file{memory});
	wait_for_file($file{memory});
	my %in_memory = observe($probe, $address, $session, $phase, $seconds);

	set($probe, 'infra_monitor.textfile' => '');
	unlink values %file;
	my %without = observe($probe, $address, $session, $phase, $seconds);

	die "a file that was not wanted\n" if grep { -e } values %file;
	die "the exporter has connected anew\n" if ask($probe, $connected) != $connects;
	my @runs = (\%on_disk, \%in_memory, \%without);
	my $scrape = median(map { @{ $_->{scrape} } } @runs);
	my $sampler = median(@{ $without{sampler} });
	judge('metrics_text() / a scrape of postgres_exporter, in a row',
		median(@{ $in_a_row{call} }) / median(@{ $in_a_row{scrape} }), 0.1);
	judge('the same, one a second', median(map { @{ $_->{call} } } @runs) / $scrape, 0.1);
	judge('a writing of the file, in memory / a scrape, one a second',
		(median(@{ $in_memory{sampler} }) - $sampler) / $scrape, 0.1);
	judge('the same on disk, with what its file system does',
		(median(@{ $on_disk{sampler} }) - $sampler) / $scrape, 0.1);
	return;
}

my $probe = open_session();

bench_series($probe);
bench_costs($probe);
exit $missed;

END
{
	my $status = $?;

	if ($exporter)
	{
		kill 'TERM', $exporter;
		waitpid $exporter, 0;
	}
	$? = $status;
}
