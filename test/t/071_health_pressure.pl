# Health checks of the machine that need what nobody wants for it: a process that
# the kernel kills for want of memory, processes that stand still for want of
# memory or for the disk, and a load.  They come about in control groups of the
# test's own, which have little memory and a slow disk.
#
# test/run.sh makes the groups where it may, and says where in IMON_SMALL_GROUPS:
# a directory of links, "memory" and "blkio" to groups of version 1, whose limits
# are used, and "unified" to one of version 2, which measures pressure, and in
# which the tests run.

use strict;
use warnings;

use InfraMonitor;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $groups = $ENV{IMON_SMALL_GROUPS};
my $mb = 1024 * 1024;

plan skip_all => 'no control groups can be made here'
  unless $groups && grep { -e "$groups/$_" } qw(memory blkio unified);

#
# Groups
#

# Writes to a file of the kernel; false if it does not take that.
sub tell_kernel
{
	my ($name, $text) = @_;

	open my $handle, '>', $name or return 0;
	return defined syswrite($handle, $text);
}

sub kernel_says
{
	my ($name) = @_;

	open my $handle, '<', $name or return '';
	local $/ = undef;
	return readline($handle) // '';
}

# Makes groups in a hierarchy; false if there is none.
my @made;

sub make_groups
{
	my ($hierarchy, @names) = @_;

	foreach my $name (@names)
	{
		mkdir "$groups/$hierarchy/$name" or return 0;
		push @made, "$groups/$hierarchy/$name";
	}
	return 1;
}

# Puts this process, with what it will fork, into a group; '' is that around those
# of ours.
sub enter
{
	my ($hierarchy, $name) = @_;

	tell_kernel("$groups/$hierarchy/$name/cgroup.procs", '0')
	  or die "cannot enter group \"$name\" of $hierarchy: $!";
	return;
}

# The disk that a file is on, by its numbers; undef if it is on none.
sub disk_of
{
	my ($name) = @_;
	my $device = (stat $name)[0];
	my $numbers = (($device >> 8) & 0xfff) . ':' . (($device & 0xff) | (($device >> 12) & 0xfff00));

	return -e "/sys/dev/block/$numbers" ? $numbers : undef
	  unless -e "/sys/dev/block/$numbers/partition";
	return kernel_says("/sys/dev/block/$numbers/../dev") =~ /^(\d+:\d+)$/ ? $1 : undef;
}

# How many reads a second the processes of a group may make; 0 is no limit.
my $file = PostgreSQL::Test::Utils::tempdir() . '/file';
my $file_mb = 20;
my $disk;

sub limit_reads
{
	my ($group, $reads) = @_;

	return tell_kernel("$groups/blkio/$group/blkio.throttle.read_iops_device", "$disk $reads");
}

# A limit of memory, with swap.
sub limit_memory
{
	my ($group, $bytes) = @_;
	my $path = "$groups/memory/$group/memory";

	tell_kernel("$path.limit_in_bytes", $bytes) or return 0;
	return !-e "$path.memsw.limit_in_bytes" || tell_kernel("$path.memsw.limit_in_bytes", $bytes);
}

# What there is to work with.  Pages of the file that are in memory already would
# be those of another group.
my $has_memory = make_groups('memory', 'server', 'thrashing')
  && limit_memory('server', 512 * $mb) && limit_memory('thrashing', 16 * $mb);
my @disk_groups = qw(thrashing reading waiting);
my $has_disk = make_groups('blkio', @disk_groups)
  && system("dd if=/dev/zero of='$file' bs=1M count=$file_mb oflag=direct 2>/dev/null") == 0
  && defined($disk = disk_of($file)) && limit_reads('waiting', 0);
my $has_pressure = make_groups('unified', 'server')
  && kernel_says("$groups/unified/server/io.pressure") =~ /^full /m
  && kernel_says("$groups/unified/server/memory.pressure") =~ /^full /m;

#
# Processes
#

# Runs code in a process of its own.
my %running;

sub begin_process
{
	my ($code) = @_;
	my $pid = fork() // die "fork: $!";

	if ($pid)
	{
		$running{$pid} = 1;
		return $pid;
	}
	eval { $code->() };
	print STDERR $@ if $@;
	POSIX::_exit(1);
}

# Waits for the end of one; returns what ended it, as $?.
sub await_process
{
	my ($pid) = @_;

	waitpid($pid, 0);
	delete $running{$pid};
	return $?;
}

sub end_processes
{
	kill 'KILL', @_;
	await_process($_) foreach @_;
	return;
}

# Processes that wait for the disk, as all together may read that often.  They
# have nothing more to read after some minutes, should nobody end them.
sub begin_readers
{
	my ($group, $pressure_group, $n, $per_second) = @_;
	my $each = 300 * $per_second / $n;

	limit_reads($group, $per_second);
	return map {
		begin_process(
			sub {
				enter('blkio', $group);
				enter('unified', $pressure_group) if $has_pressure;
				open STDERR, '>', '/dev/null';
				exec 'dd', "if=$file", 'of=/dev/null', 'iflag=direct', 'bs=4096', "count=$each";
			})
	} 1 .. $n;
}

# What waits for the disk cannot be ended before it has got it.
sub end_readers
{
	my ($group, @pids) = @_;

	limit_reads($group, 0);
	end_processes(@pids);
	return;
}

# However this test ends
END
{
	my $status = $?;

	if ($has_disk) { limit_reads($_, 0) foreach @disk_groups }
	end_processes(keys %running);
	$? = $status;
}

# A process that reads here and there in a file that does not fit into its
# memory, and each page twice: for each page that it has read, the kernel drops
# another one that is in use.
sub begin_to_thrash
{
	return begin_process(
		sub {
			my $parent = getppid();
			my $page;

			enter($_, 'thrashing') foreach qw(memory blkio);
			open my $handle, '<', $file or die "$file: $!";
			while (getppid() == $parent)
			{
				my @pages = map { int rand 256 * $file_mb } 1, 2;

				foreach my $number (@pages, @pages)
				{
					sysseek $handle, 4096 * $number, 0;
					sysread $handle, $page, 4096;
				}
			}
		});
}

# How often a page had to be read again that was dropped before.
sub pages_read_again
{
	return kernel_says("$groups/memory/thrashing/memory.stat") =~ /^total_workingset_refault_file (\d+)$/m
	  ? $1 : 0;
}

# Share of the server's memory that is taken.
sub memory_taken
{
	my $path = "$groups/memory/server/memory";
	my $files = 0;

	$files += $_ foreach kernel_says("$path.stat") =~ /^total_(?:in)?active_file (\d+)$/mg;
	return (kernel_says("$path.usage_in_bytes") - $files) / kernel_says("$path.limit_in_bytes");
}

# A process that takes the server's memory, until such a share is taken as it is
# told.  It is the one that the kernel will kill.
sub begin_to_take_memory
{
	pipe my $orders, my $giver or die "pipe: $!";
	my $pid = begin_process(
		sub {
			my @taken;

			close $giver;
			tell_kernel('/proc/self/oom_score_adj', '1000') or die "oom_score_adj: $!";
			enter('memory', 'server');
			while (defined(my $share = readline $orders))
			{
				push @taken, 'x' x $mb . @taken while memory_taken() < $share;
			}
		});

	close $orders;
	$giver->autoflush(1);
	return ($pid, $giver);
}

#
# The server: in groups of its own, and with a clock that can be set
#
my $node = new_server('pressure', conf => "infra_monitor.system_root = ''\n");
my $clock = clock_to_set();

{
	local $ENV{LD_PRELOAD} = $clock->{library} if $clock;
	enter('memory', 'server') if $has_memory;
	enter('unified', 'server') if $has_pressure;
	$node->start;
	enter('memory', '') if $has_memory;
}
$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');

sub becomes
{
	my ($check, $status, $message, $test) = @_;

	return wait_for($node, <<"SQL", "$check is $status: $test");
SELECT status = '$status' AND message ~ '$message'
FROM infra_monitor.evaluate_checks('database') WHERE name = '$check'
SQL
}

# Thresholds of a check from now on.
sub threshold
{
	my ($check, $warning, $critical) = @_;

	$node->safe_psql('postgres', <<"SQL");
INSERT INTO infra_monitor.health_threshold_overrides (check_name, warning, critical)
VALUES ('$check', $warning, $critical)
ON CONFLICT (check_name) DO UPDATE SET warning = $warning, critical = $critical
SQL
	return;
}

# Values and states of checks now.
sub checks_now
{
	my @names = @_;
	my $list = join ', ', map { "'$_'" } @names;

	return map { my ($name, @rest) = split /\|/; ($name => \@rest) } split /\n/,
	  $node->safe_psql('postgres',
		"SELECT name, status, value FROM infra_monitor.evaluate_checks('database') WHERE name IN ($list)");
}

#
# Pressure and load, at the same time: it takes a while until an average of five
# minutes or of one is back.  So it has to rise only as far as is needed to see
# it: the value that is critical is set when there is a warning.
#
my %faults;
my @order;
my $processors = () = kernel_says('/proc/stat') =~ /^cpu\d/mg;

# So many processes raise the five-minute load by this in half a minute.
my $n_waiting = 60;
my $more_load = $n_waiting * (1 - exp(-32 / 300));
my $load = $node->safe_psql('postgres', 'SELECT value FROM infra_monitor.check_load()');

# They cannot raise one that is theirs already.
if ($has_disk && $load * $processors < $n_waiting / 2)
{
	push @order, 'load';
	$faults{load} = {
		warning => $load + $more_load / $processors,
		further => 0,
		begin => sub { begin_readers('waiting', '', $n_waiting, 20) },
		end => sub { end_readers('waiting', @_) },
		why => 'processes wait for the disk',
		gone => 'they do no more'
	};
}
if ($has_disk && $has_memory && $has_pressure)
{
	push @order, 'memory_pressure', 'io_pressure';
	$faults{memory_pressure} = {
		warning => 0.05,
		further => 0.02,
		begin => sub {
			my $pid = begin_to_thrash();
			my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

			# quickly, and from then on slowly
			usleep(100_000) while pages_read_again() < 5000 && time < $deadline;
			limit_reads('thrashing', 100);
			return $pid;
		},
		end => sub { end_readers('thrashing', @_) },
		why => 'a process reads again what it has just read',
		gone => 'it has ended'
	};
	$faults{io_pressure} = {
		after => 'memory_pressure',
		warning => 0.20,
		further => 0.02,
		begin => sub { begin_readers('reading', 'server', 4, 20) },
		end => sub { end_readers('reading', @_) },
		why => 'all processes wait for the disk',
		gone => 'they do no more'
	};
}

sub begin_fault
{
	my ($name) = @_;
	my $fault = $faults{$name};

	$fault->{to_come} = [ 'warning', 'critical', 'ok' ];
	$fault->{pids} = [ $fault->{begin}->() ];
	return;
}

# The check has reached the state that was to come next.
sub advance
{
	my ($name, $value) = @_;
	my $fault = $faults{$name};
	my $status = shift @{ $fault->{to_come} };

	pass("$name is $status: " . ($status eq 'ok' ? $fault->{gone} : $fault->{why}));
	note("$name: $value");
	if ($status eq 'warning')
	{
		threshold($name, $fault->{warning},
			$fault->{further} ? $value + $fault->{further} : $fault->{warning} * 1.0001);
	}
	elsif ($status eq 'critical')
	{
		$fault->{end}->(@{ $fault->{pids} });
		begin_fault($_) foreach grep { ($faults{$_}->{after} // '') eq $name } @order;
	}
	return;
}

SKIP:
{
	skip 'reading cannot be limited here', 1 unless $has_disk;

	threshold($_, $faults{$_}->{warning}, 1000) foreach @order;
	becomes($_, 'ok', '', 'nothing is wrong yet') foreach @order;
	begin_fault($_) foreach grep { !$faults{$_}->{after} } @order;

	my $deadline = time + 2 * $PostgreSQL::Test::Utils::timeout_default;
	while (grep({ !$faults{$_}->{to_come} || @{ $faults{$_}->{to_come} } } @order) && time < $deadline)
	{
		my %now = checks_now(@order);

		foreach my $name (@order)
		{
			my ($status, $value) = @{ $now{$name} };

			advance($name, $value) if $status eq ($faults{$name}->{to_come}[0] // '');
		}
		usleep(500_000);
	}
	foreach my $name (@order)
	{
		my $to_come = $faults{$name}->{to_come};

		next if $to_come && !@$to_come;

		# the load of five minutes cannot fall below that of one
		skip 'others keep the load up', 1
		  if $name eq 'load' && @$to_come == 1
		  && kernel_says('/proc/loadavg') =~ /^([\d.]+)/ && $1 / $processors > $faults{$name}->{warning};
		fail("$name becomes " . ($to_come ? $to_come->[0] : 'a fault'));
		diag(join "\n", checks_now($name), map { kernel_says($_) } '/proc/loadavg', glob "$groups/unified/server/*.pressure");
	}
	skip 'others make too much load', 1 unless $faults{load};
	skip 'no pressure of a group is measured here', 1 unless $faults{io_pressure};
}

#
# Memory of the group, up to the end of the process that takes it
#
SKIP:
{
	skip 'memory cannot be limited here', 1 unless $has_memory;
	skip 'the machine has too little memory', 1
	  unless kernel_says('/proc/meminfo') =~ /^MemAvailable: +(\d+) kB$/m && $1 * 1024 > 2048 * $mb;

	my $in_group = 'of 512 MB of memory used, by the limit of the control group';
	becomes('memory', 'ok', $in_group, 'little is taken');
	becomes('oom_kills', 'ok', 'in the last hour: 0$', 'nothing was killed');

	my ($pid, $giver) = begin_to_take_memory();
	print $giver "0.92\n";
	becomes('memory', 'warning', $in_group, 'a process takes more and more');
	print $giver "0.965\n";
	becomes('memory', 'critical', $in_group, 'nearly all is taken');
	is((checks_now('oom_kills'))[1][0], 'ok', 'oom_kills is ok: there is still room');
	print $giver "2\n";
	is(await_process($pid) & 127, 9, 'the kernel kills it');
	becomes('oom_kills', 'critical', 'in the last hour: 1$', 'that was for want of memory');
	becomes('memory', 'ok', $in_group, 'which is free again');

	skip 'needs a clock that can be set', 1 unless $clock;
	set_clock($clock, 31 * 60);
	wait_for_sample($node, 'half an hour has passed');
	becomes('oom_kills', 'critical', 'in the last hour: 1$', 'half an hour later');
	set_clock($clock, 70 * 60);
	becomes('oom_kills', 'ok', 'in the last hour: 0$', 'an hour later');
}

$node->stop;
enter('unified', '') if $has_pressure;
rmdir foreach @made;
done_testing();
