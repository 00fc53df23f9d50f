# What the server log says about a run of test/sqlsmith.sh.
#
#	perl sqlsmith_log.pl SOURCES FINDINGS LOG...
#
# Prints how many statements each role has had executed, and the internal errors that
# are PostgreSQL's own.  Of what must not be, it writes files in the directory
# FINDINGS: idle, crashes, internal, leaks, late, sampler.
#
# An error is ours if the function that reported it is one of SOURCES/*.c, or if
# it happened in the body of a function of ours in SQL.

use strict;
use warnings;

use JSON::PP;
use Time::Local;

# A statement may take 1 s, by sqlsmith's own setting.  More is allowed where other
# tests run at the same time; not to look for an interrupt at all takes forever.
use constant LATE_S => 60;

my ($sources, $findings, @logs) = @ARGV;
my @roles = map { "smith_$_" } qw(superuser monitor ordinary);
my (%ours, %in_sql, %count, %pending, %named, %theirs);
my %found = map { $_ => [] } qw(idle crashes internal leaks late sampler);

# Seconds since 1970 of a line of the log.
sub seconds
{
	my ($line) = @_;

	return 0 unless $line =~ /"timestamp":"(\d+)-(\d+)-(\d+) (\d+):(\d+):(\d+)/;
	return timegm($6, $5, $4, $3, $2 - 1, $1);
}

# A finding of a kind: what the line says, and the statement of its process.
sub found
{
	my ($kind, $line) = @_;
	my $entry = decode_json($line);
	my $place = join(', ', grep { defined } @$entry{qw(func_name file_name file_line_num)});
	my $statement = $pending{ $entry->{pid} };

	push @{ $found{$kind} },
	  join("\n", grep { defined }
		  "$entry->{error_severity} " . ($entry->{state_code} // '') . ": $entry->{message} ($place)",
		@$entry{qw(detail context)}, $statement && decode_json($statement->{line})->{message}) . "\n";
}

# The statement that a process had begun was over before this line.
sub ended
{
	my ($line, $pid, $failed) = @_;
	my $statement = $pending{$pid} or return;

	found('late', $line) if seconds($line) - seconds($statement->{line}) > LATE_S;
	delete $pending{$pid};
	$count{ $statement->{user} }{ $failed ? 'failed' : 'succeeded' }++;
	return if $failed;
	$named{$1} = 1 while $statement->{line} =~ /\b((?:infra_monitor|smith)\.\w+)/g;
}

# A statement begins.
sub begun
{
	my ($line, $pid) = @_;

	ended($line, $pid, 0);
	return unless $line =~ /"user":"(smith_\w+)"/;
	my $user = $1;
	return unless $line =~ /"application_name":"sqlsmith::dut"/;
	return if $line =~ /"message":"statement: (BEGIN|ROLLBACK|COMMIT|SET)\b/i;
	$pending{$pid} = { user => $user, line => $line };
}

# An error whose SQLSTATE says that it is internal.
sub internal
{
	my ($line) = @_;
	my $entry = decode_json($line);
	my $file = ($entry->{file_name} // '') =~ s!.*/!!r;
	my $function = $entry->{func_name} // '';
	my ($caller) = ($entry->{context} // '') =~ /function "?(?:infra_monitor\.)?(\w+)/;

	if ($ours{$file}{$function} || ($caller && $in_sql{$caller}))
	{
		found('internal', $line);
		return;
	}
	my $error = ($theirs{"$function, $file"} //= { n => 0, example => $entry->{message} });
	$error->{n}++;
}

# A warning of the server.
sub warning
{
	my ($line) = @_;

	found('leaks', $line) if $line =~ /"message":"[^"]*(leak|not released|problem in|still active|refcount|not closed)/;
	found('sampler', $line)
	  if $line =~ /"message":"infra_monitor could not/
	  && $line !~ /canceling statement due to (lock|statement) timeout|deadlock detected/;
}

# A line of the log.
sub look_at
{
	my ($line) = @_;

	if ($line !~ /^\{/)			# said to nobody but the collector
	{
		push @{ $found{crashes} }, $line if $line =~ /TRAP: |PANIC: /;
		return;
	}
	my ($pid) = $line =~ /"pid":(\d+)/ or return;
	my ($severity) = $line =~ /"error_severity":"(\w+)"/ or return;

	if ($severity eq 'LOG')
	{
		begun($line, $pid) if $line =~ /"message":"statement: /;
		found('crashes', $line) if $line =~ /"message":"[^"]*\([^"]*was terminated by signal/;
	}
	warning($line) if $severity eq 'WARNING';
	found('crashes', $line) if $severity eq 'PANIC';
	return unless $severity eq 'ERROR' || $severity eq 'FATAL';
	internal($line) if $line =~ /"state_code":"XX/;
	ended($line, $pid, 1);
}

foreach my $file (glob "$sources/*.c")
{
	open(my $source, '<', $file) or die "could not open $file: $!";
	my ($name) = $file =~ m!([^/]+)$!;
	while (my $line = <$source>)
	{
		$ours{$name}{$1} = 1 if $line =~ /^(\w+)\(/;
	}
}
foreach my $file (glob "$sources/*.sql")
{
	open(my $source, '<', $file) or die "could not open $file: $!";
	while (my $line = <$source>)
	{
		$in_sql{$1} = 1 if $line =~ /^CREATE FUNCTION infra_monitor\.(\w+)/;
	}
}
die "no functions in $sources" unless %ours && %in_sql;

foreach my $log (@logs)
{
	open(my $file, '<', $log) or die "could not open $log: $!";
	while (my $line = <$file>)
	{
		look_at($line);
	}
}

foreach my $role (@roles)
{
	my ($succeeded, $failed) = map { $count{$role}{$_} // 0 } qw(succeeded failed);
	my $all = $succeeded + $failed;

	print "$role: $all statements, of which $failed ended with an error\n";
	push @{ $found{idle} }, "$role: $succeeded statements without an error\n" if $succeeded < 10;
}
print scalar(keys %named), " functions and relations of ours in statements without an error\n";
foreach my $place (sort keys %theirs)
{
	print "internal error of PostgreSQL, $theirs{$place}{n} times: $theirs{$place}{example} ($place)\n";
}
foreach my $kind (keys %found)
{
	open(my $file, '>', "$findings/$kind") or die "could not write $findings/$kind: $!";
	print $file @{ $found{$kind} };
	close($file) or die "could not write $findings/$kind: $!";
}
