# The health checks of the machine: what the readers make of files as kernels
# write them, in a tree of our own, up to the status of each check; and on this
# machine memory that is really taken and processors that are really busy, as far
# as others leave it alone.  What nobody wants for this machine comes about in
# small control groups, in 071_health_pressure.pl.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Path qw(make_path remove_tree);
use POSIX ();
use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $root = abs_path(PostgreSQL::Test::Utils::tempdir('machine'));
my $node = new_server('machine', conf => "infra_monitor.system_root = '$root'\n");

# Writes a file of the machine; without content it is gone.  A reader sees all
# of it or nothing.
sub machine
{
	my ($path, $content) = @_;

	if (!defined $content)
	{
		unlink "$root$path";
		return;
	}
	make_path("$root$path" =~ s!/[^/]*$!!r);
	replace_file("$root$path", $content);
	return;
}

sub check
{
	my ($name) = @_;

	return $node->safe_psql('postgres',
		"SELECT status, round(value::numeric, 3), message FROM infra_monitor.evaluate_checks('database') WHERE name = '$name'"
	);
}

sub check_is
{
	my ($name, $expected, $test) = @_;

	is(check($name), $expected, "$name: $test");
	return;
}

$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');

#
# Nothing can be read
#
my $no_pressure = 'the kernel does not measure pressure here';
my %unknown = (
	memory => 'how much memory is used cannot be read here',
	cpu => 'how busy the processors are is not known here, or not yet',
	load => 'the load cannot be read here',
	cpu_pressure => $no_pressure,
	memory_pressure => $no_pressure,
	io_pressure => $no_pressure,
	oom_kills => 'how many processes were killed for want of memory is not known here, or not yet');
check_is($_, "unknown||$unknown{$_}", 'there is no such file')
  foreach sort keys %unknown;

# nor what is there makes sense
machine($_, "nonsense\n")
  foreach qw(/proc/meminfo /proc/stat /proc/loadavg /proc/pressure/cpu
  /proc/pressure/memory /proc/pressure/io /proc/vmstat /proc/self/cgroup);
check_is($_, "unknown||$unknown{$_}", 'the file makes no sense')
  foreach sort keys %unknown;
machine('/proc/self/cgroup');

# nor do numbers that cannot be
machine('/proc/meminfo', "MemTotal: 9007199254740992 kB\nMemAvailable: 1 kB\n");
machine('/proc/loadavg', "0.00 nan 0.10 2/345 6789\n");
machine('/proc/stat', "cpu0 1 0 0 1 0 0 0 0 0 0\n");
machine("/proc/pressure/$_", "some avg10=0.00 avg60=nan\nfull avg10=0.00 avg60=100.01\n")
  foreach qw(cpu memory io);
check_is($_, "unknown||$unknown{$_}", 'the number cannot be')
  foreach qw(memory load cpu_pressure memory_pressure io_pressure);
machine('/proc/loadavg', "0.00 -1 0.10 2/345 6789\n");
check_is('load', "unknown||$unknown{load}", 'it is negative');

#
# memory of the machine
#
sub meminfo
{
	my ($total, $available) = @_;

	machine('/proc/meminfo',
		"MemTotal:       $total kB\nMemFree:          1000 kB\nMemAvailable:   $available kB\n");
	return;
}

my $gb = 1024 * 1024;		# kB
meminfo(10 * $gb, 5 * $gb);
check_is('memory', 'ok|0.500|5120 MB of 10 GB of memory used, on the machine', 'half of it');
meminfo(10 * $gb, 0.9 * $gb);
check_is('memory', 'warning|0.910|9318 MB of 10 GB of memory used, on the machine', 'little is left');
meminfo(10 * $gb, 0.4 * $gb);
check_is('memory', 'critical|0.960|9830 MB of 10 GB of memory used, on the machine', 'less');
meminfo(10 * $gb, 5 * $gb);
check_is('memory', 'ok|0.500|5120 MB of 10 GB of memory used, on the machine', 'it is back');
meminfo(10 * $gb, 11 * $gb);
check_is('memory', 'ok|0.000|0 bytes of 10 GB of memory used, on the machine', 'more is left than there is');
meminfo(10 * $gb, 5 * $gb);

#
# memory of control groups: version 2, alone and beside version 1, and 1
#
my $mb = 1024 * 1024;

sub group
{
	my ($version, $directory, $limit, $usage, $inactive, $active) = @_;
	my @names =
	  $version == 2
	  ? qw(memory.max memory.current inactive_file active_file)
	  : qw(memory.limit_in_bytes memory.usage_in_bytes total_inactive_file total_active_file);

	machine("$directory/$names[0]", "$limit\n");
	machine("$directory/$names[1]", "$usage\n");
	machine("$directory/memory.stat",
		"anon 1\nkernel_stack 2\n$names[2] $inactive\n$names[3] $active\nactive_anon 5\n");
	return;
}

foreach my $case (
	[ 2, '0::', '/sys/fs/cgroup', 'max' ],
	[ 2, "5:cpu,cpuacct:/x\n0::", '/sys/fs/cgroup/unified', 'max' ],
	[ 1, "0::/\n3:cpuset:/\n4:memory:", '/sys/fs/cgroup/memory', '9223372036854771712' ])
{
	my ($version, $line, $mount, $none) = @$case;
	my $name = "version $version in $mount";
	my $in_group = 'by the limit of the control group';

	remove_tree("$root/sys");
	machine('/proc/self/cgroup', "$line/system.slice/server\n");
	group($version, "$mount/system.slice/server", 1000 * $mb, 950 * $mb, 100 * $mb, 50 * $mb);
	group($version, "$mount/system.slice", $none, 5000 * $mb, 0, 0);
	check_is('memory', "ok|0.800|800 MB of 1000 MB of memory used, $in_group", "$name: pages of files are not used");
	group($version, "$mount/system.slice/server", 1000 * $mb, 950 * $mb, ('9223372036854775807') x 2);
	check_is('memory', 'ok|0.500|5120 MB of 10 GB of memory used, on the machine', "$name: more pages of files than there can be");
	group($version, "$mount/system.slice/server", 1000 * $mb, 950 * $mb, 0, 20 * $mb);
	check_is('memory', "warning|0.930|930 MB of 1000 MB of memory used, $in_group", "$name: little is left");
	group($version, "$mount/system.slice", 2000 * $mb, 1980 * $mb, 10 * $mb, 0);
	check_is('memory', "critical|0.985|1970 MB of 2000 MB of memory used, $in_group", "$name: still less in the group around it");
	group($version, "$mount/system.slice", $none, 5000 * $mb, 0, 0);
	group($version, "$mount/system.slice/server", $none, 5000 * $mb, 0, 0);
	check_is('memory', 'ok|0.500|5120 MB of 10 GB of memory used, on the machine', "$name: no limit");
	group($version, "$mount/system.slice/server", 1000 * $mb, 400 * $mb, 0, 0);
	check_is('memory', 'ok|0.500|5120 MB of 10 GB of memory used, on the machine', "$name: the machine has less left");

	# in a container the path may be that of the host
	machine('/proc/self/cgroup', "$line/docker/0123456789abcdef\n");
	group($version, $mount, 1000 * $mb, 700 * $mb, 0, 0);
	check_is('memory', "ok|0.700|700 MB of 1000 MB of memory used, $in_group", "$name: a container with the path of its host");
}
remove_tree("$root/sys");
machine('/proc/self/cgroup');

#
# load
#
my $waited = 1000;		# for the disk; this clock may go back

sub processors
{
	my ($busy, $idle) = @_;

	machine('/proc/stat',
		"cpu  $busy 0 0 $idle $waited 0 0 0 0 0\ncpu0 1 0 0 1 0 0 0 0 0 0\ncpu1 1 0 0 1 0 0 0 0 0 0\nintr 5\nctxt 7\n");
	return;
}

processors(1000, 1000);
machine('/proc/loadavg', "9.00 1.50 0.10 2/345 6789\n");
check_is('load', 'ok|0.750|five-minute load of the machine: 1.5 on 2 processors', 'less than one each');
machine('/proc/loadavg', "0.00 4.00 0.10 2/345 6789\n");
check_is('load', 'warning|2.000|five-minute load of the machine: 4 on 2 processors', 'two each');
machine('/proc/loadavg', "0.00 9.00 0.10 2/345 6789\n");
check_is('load', 'critical|4.500|five-minute load of the machine: 9 on 2 processors', 'more than four each');
machine('/proc/loadavg', "9.00 1.50 0.10 2/345 6789\n");
check_is('load', 'ok|0.750|five-minute load of the machine: 1.5 on 2 processors', 'it is gone');

#
# cpu: the sampler looks each second; clocks go on while it does not look
#
my ($busy, $idle) = (1000, 1000);

sub cpu_becomes
{
	my ($percent, $status) = @_;

	# a look at clocks that stand still says nothing new
	wait_for_sample($node, 'the clocks have been looked at');
	$busy += 100 * $percent;
	$idle += 100 * (100 - $percent);
	processors($busy, $idle);
	wait_for($node,
		"SELECT status = '$status' AND message = 'processors of the machine busy: $percent %' FROM infra_monitor.evaluate_checks() WHERE name = 'cpu'",
		"cpu is $status at $percent %");
	return;
}

cpu_becomes(50, 'ok');
cpu_becomes(93, 'warning');
cpu_becomes(99, 'critical');
$waited = 0;
cpu_becomes(100, 'critical');
cpu_becomes(20, 'ok');

#
# pressure: of the machine, and of the group
#
sub pressure
{
	my ($file, $some, $full) = @_;

	machine($file,
		"some avg10=99.00 avg60=$some avg300=99.00 total=1\nfull avg10=99.00 avg60=$full avg300=99.00 total=1\n");
	return;
}

my %pressure = (
	cpu => sub { pressure($_[0], $_[1], '0.00'); 'a process waited for a processor' },
	memory => sub { pressure($_[0], 99, $_[1]); 'all processes stood still for want of memory' },
	io => sub { pressure($_[0], 99, $_[1]); 'all processes stood still for the disk' });
my %values = (cpu => [ '59.00', '60.00', '95.50' ], memory => [ '4.90', '5.00', '20.10' ],
	io => [ '19.00', '20.00', '51.00' ]);

sub pressures_of
{
	my ($name, $directory, $suffix) = @_;

	foreach my $resource (sort keys %pressure)
	{
		my @levels = @{ $values{$resource} };

		foreach my $step ([ ok => $levels[0] ], [ warning => $levels[1] ], [ critical => $levels[2] ], [ ok => '0.00' ])
		{
			my ($status, $percent) = @$step;
			my $message = $pressure{$resource}->("$directory/$resource$suffix", $percent);

			check_is("${resource}_pressure",
				sprintf('%s|%.3f|%s in %.1f %% of the last minute', $status, $percent / 100, $message, $percent),
				"$name, $percent %");
		}
	}
	return;
}

pressures_of('machine', '/proc/pressure', '');
machine('/proc/self/cgroup', "0::/server\n");
pressures_of('group', '/sys/fs/cgroup/server', '.pressure');

# kernels up to 5.12 have no "full" for processors, and it is not needed
machine('/sys/fs/cgroup/server/cpu.pressure', "some avg10=0.00 avg60=1.00 avg300=0.00 total=1\n");
check_is('cpu_pressure', 'ok|0.010|a process waited for a processor in 1.0 % of the last minute', 'without full');
machine('/sys/fs/cgroup/server/memory.pressure', "some avg10=0.00 avg60=1.00 avg300=0.00 total=1\n");
check_is('memory_pressure', "unknown||$no_pressure", 'without full');
remove_tree("$root/sys");
machine('/proc/self/cgroup');

#
# oom_kills: from what the sampler saw at first, on the machine and in groups
#
foreach my $case (
	[ 'machine', '', '/proc/vmstat', "nr_free_pages 5\noom_kill %d\noom_kill_other 9\n" ],
	[ 'version 2', "0::/server\n", '/sys/fs/cgroup/server/memory.events', "low 0\noom 7\noom_kill %d\n" ],
	[ 'version 1', "4:memory:/server\n", '/sys/fs/cgroup/memory/server/memory.oom_control', "oom_kill_disable 0\nunder_oom 0\noom_kill %d\n" ])
{
	my ($name, $group, $file, $format) = @$case;

	remove_tree("$root/sys");
	machine('/proc/self/cgroup', $group);
	machine('/proc/vmstat', "oom_kill 1000\n");
	machine($file, sprintf($format, 3));
	$node->restart;
	wait_for($node,
		"SELECT status = 'ok' AND message ~ '^processes killed for want of memory in the last hour: 0\$' FROM infra_monitor.evaluate_checks() WHERE name = 'oom_kills'",
		"oom_kills, $name: kills before do not count");
	machine($file, sprintf($format, 5));
	like(check('oom_kills'), qr/^critical\|2\.000\|processes killed for want of memory in the last hour: 2$/,
		"oom_kills, $name: two are killed");

	# as after the machine was started anew
	machine($file, sprintf($format, 0));
	wait_for($node,
		"SELECT status = 'ok' AND value = 0 FROM infra_monitor.evaluate_checks() WHERE name = 'oom_kills'",
		"oom_kills, $name: the counter begins anew");
}

#
# This machine
#

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

# Waits until a check has a status.  False if it does not get it, which is no failure
# if others are in the way of it.
sub becomes
{
	my ($check, $status, $others, $test) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my $now;

	do
	{
		usleep(100_000) if defined $now;
		$now = $node->safe_psql('postgres', "SELECT status FROM infra_monitor.evaluate_checks('database') WHERE name = '$check'");
	} until $now eq $status || time > $deadline;
	return 0 if $now ne $status && $others->();
	return is($now, $status, "$check is $status: $test");
}

# Which share of the processors is busy, by our own look of a second.
sub busy_share
{
	my @first = slurp_file('/proc/stat') =~ /^cpu +([\d ]+)$/m ? split / /, $1 : ();
	sleep 1;
	my @second = slurp_file('/proc/stat') =~ /^cpu +([\d ]+)$/m ? split / /, $1 : ();
	my $all = 0;

	$all += $second[$_] - $first[$_] for 0 .. 7;
	return 1 - ($second[3] + $second[4] - $first[3] - $first[4]) / ($all || 1);
}

# Waits until others leave the processors alone; false if they do not.
sub machine_is_idle
{
	for (1 .. 60)
	{
		return 1 if busy_share() < 0.7 && busy_share() < 0.7;
	}
	return 0;
}

# Processes that do nothing but compute.
sub burn
{
	my ($n) = @_;
	my @burners;

	foreach (1 .. $n)
	{
		my $pid = fork() // die "fork: $!";
		if ($pid == 0)
		{
			my $parent = getppid();
			my $x = 0;

			POSIX::nice(19);    # other tests run, too
			while (getppid() == $parent) { $x++ for 1 .. 1_000_000 }
			POSIX::_exit(0);
		}
		push @burners, $pid;
	}
	return @burners;
}

sub end_processes
{
	kill 'KILL', @_;
	waitpid($_, 0) foreach @_;
	return;
}

# Do others use the processors, at one of some looks?
sub others_compute
{
	return scalar grep { busy_share() > 0.7 } 1 .. 5;
}

# For which share of the last minute did a process wait for a processor?
sub waiting_share
{
	return slurp_file('/proc/pressure/cpu') =~ /^some .*avg60=([\d.]+)/ ? $1 / 100 : 0;
}

# More processes than processors: they are busy, and processes wait for them.
sub real_processors
{
	my ($processors) = @_;
	my $stalls = -r '/proc/pressure/cpu';

SKIP:
	{
		my $others = 'others keep the processors busy';
		my $before;
		my $others_wait = sub { waiting_share() > $before + 0.1 };

		skip $others, 1 unless machine_is_idle();
		becomes('cpu', 'ok', \&others_compute, 'the processors have time') or skip $others, 1;
		if ($stalls)
		{
			# a minute is long; a tenth more than before will do
			$before = $node->safe_psql('postgres', "SELECT value FROM infra_monitor.check_cpu_pressure()");
			skip $others, 1 if $before > 0.7;
			threshold('cpu_pressure', "$before + 0.1", "$before + 0.15");
			becomes('cpu_pressure', 'ok', $others_wait, 'nobody waits for longer than before') or skip $others, 1;
		}
		my @burners = burn(4 * $processors);
		wait_for($node,
			"SELECT value > 0.9 AND status IN ('warning', 'critical') FROM infra_monitor.evaluate_checks() WHERE name = 'cpu'",
			'cpu: all processors are busy');
		if ($stalls)
		{
			wait_for($node,
				"SELECT status IN ('warning', 'critical') FROM infra_monitor.evaluate_checks() WHERE name = 'cpu_pressure'",
				'cpu_pressure: processes wait for them');
			becomes('cpu_pressure', 'critical', sub { 0 }, 'and go on to wait');
		}
		end_processes(@burners);
		becomes('cpu', 'ok', \&others_compute, 'they have time again') or skip $others, 1;
		if ($stalls)
		{
			becomes('cpu_pressure', 'ok', $others_wait, 'nobody waits any more') or skip $others, 1;
		}
	}
	return;
}

# Memory that can be had, kB.
sub available
{
	return slurp_file('/proc/meminfo') =~ /^MemAvailable: +(\d+) kB/m ? $1 : 0;
}

# A process takes a twentieth of the memory.
sub real_memory
{
SKIP:
	{
		my ($used, $limit) = split /\|/,
		  $node->safe_psql('postgres', 'SELECT memory_used, memory_limit FROM infra_monitor.system_state()');

		skip 'too much of the memory is used', 1 if $used > 0.8 * $limit;
		my $share = $limit / 20;
		my ($more, $still_more) = map { sprintf '%.6f', ($used + $_ * $share) / $limit } 0.5, 0.55;
		my $others = 'others take memory, or give it back';
		my $then = available();
		my $taken = 0;
		my $others_took = sub { 1024 * abs(available() + $taken / 1024 - $then) > $share / 4 };

		threshold('memory', $more, 2);
		becomes('memory', 'ok', $others_took, 'as much is used as before') or skip $others, 1;
		my $pid = fork() // die "fork: $!";

		if ($pid == 0)
		{
			my $parent = getppid();
			my $memory = 'x' x $share;

			substr($memory, 0, 1) = 'y';
			while (getppid() == $parent) { sleep 1 }
			POSIX::_exit(0);
		}
		$taken = $share;
		my $is_seen = becomes('memory', 'warning', $others_took, 'a twentieth is taken');
		threshold('memory', $more, $still_more);
		$is_seen &&= becomes('memory', 'critical', $others_took, 'which is more than is allowed');
		end_processes($pid);
		$taken = 0;
		skip $others, 1 unless $is_seen;
		becomes('memory', 'ok', $others_took, 'it is given back') or skip $others, 1;
	}
	return;
}

SKIP:
{
	skip 'no /proc here', 5 unless -r '/proc/stat' && -r '/proc/loadavg' && -r '/proc/meminfo';

	$node->append_conf('postgresql.conf', "infra_monitor.system_root = ''\n");
	$node->reload;
	wait_for($node,
		"SELECT processors > 0 AND load >= 0 AND memory_used BETWEEN 1 AND memory_limit FROM infra_monitor.system_state()",
		'files of this machine are read');

	my ($total) = slurp_file('/proc/meminfo') =~ /^MemTotal: +(\d+) kB/m;
	is($node->safe_psql('postgres', 'SELECT memory_total FROM infra_monitor.system_usage()'),
		1024 * $total, 'its memory');
	my $processors = () = slurp_file('/proc/stat') =~ /^cpu\d/mg;
	is($node->safe_psql('postgres', 'SELECT processors FROM infra_monitor.system_state()'),
		$processors, 'its processors');

	real_processors($processors);
	real_memory();
}

$node->stop;
done_testing();
