# What tests have reached, for coverage.sh:
#
#	perl coverage.pl TOP KNOWN DIRECTORY [DIRECTORY...]
#
# Prints a table of the files of TOP/src, and then what no test has reached and KNOWN
# does not list, or has reached although it is listed.  In each DIRECTORY are objects
# that gcc has instrumented, and what the processes that have loaded them have counted.
# The first is the library of everybody; branches are counted in that one only, for
# another has others in the same lines.
#
# KNOWN consists of entries of lines that are not reached, and of reasons.  An entry is
#
#	FILE FUNCTION LINES TEXT
#
# where TEXT is the line as it stands in the file, without indentation, and LINES how
# many lines with code are not reached from there on, itself included.  Should that text
# be in the function more than once, the line with code before it goes first: "if (a) =>
# return;".  Of a function that is never called, an entry may be just FILE FUNCTION.  The
# reason of the entries above it is an indented line: "KIND: REASON", or "KIND, sometimes:
# REASON" if some runs reach it.
#
# The last line is "N passed, N failed".

use strict;
use warnings;

use JSON::PP qw(decode_json);

my ($top, $known_file, @directories) = @ARGV;
my %files;		# by name: { lines => { N => count }, function => { N => name }, branches => { N => [count] } }
my ($passed, $failed) = (0, 0);

# Counts a check, which fails if there is something to complain about.
sub check
{
	my ($name, @complaints) = @_;

	print map { "$_\n" } @complaints;
	printf "%-7s %s\n", @complaints ? 'FAILED' : 'ok', $name;
	@complaints ? $failed++ : $passed++;
	return;
}

# Adds what processes have counted in one directory.
sub read_counts
{
	my ($directory, $with_branches) = @_;

	foreach my $notes (glob "$directory/src/*.gcno")
	{
		next if $notes =~ m!/faults\.gcno$!;
		my $output = `cd '$directory' && gcov --json-format --branch-probabilities --stdout '$notes' 2>/dev/null`;

		die "gcov cannot read $notes\n" if $?;
		foreach my $line (split /\n/, $output)
		{
			add_file($_, $with_branches) foreach @{ decode_json($line)->{files} };
		}
	}
	return;
}

# Adds what one object says about one file.
sub add_file
{
	my ($from, $with_branches) = @_;
	my ($name) = $from->{file} =~ m!(?:^|.*/)(src/\w+\.[ch])$! or return;

	return if !-e "$top/$name" || $name eq 'src/faults.h' || $from->{file} =~ m!^/usr/!;
	my $file = $files{$name} //= { lines => {}, function => {}, branches => {} };
	foreach my $line (@{ $from->{lines} })
	{
		my $n = $line->{line_number};
		my $i = 0;

		$file->{lines}{$n} += $line->{count};
		$file->{function}{$n} = $line->{function_name};
		next if !$with_branches;
		$file->{branches}{$n}[ $i++ ] += $_->{count} foreach @{ $line->{branches} };
	}
	return;
}

# The source of a file, its lines as they are compared: from index 1.
sub source
{
	my ($name) = @_;

	open(my $in, '<', "$top/$name") or die "$name: $!";
	my @lines = ('', <$in>);
	s/^\s+|\s+$//g, s/\s+/ /g foreach @lines;
	return @lines;
}

# A number of a number, as columns of the table.
sub share
{
	my ($n, $of) = @_;

	return sprintf('%6d %6d %s', $of, $n, $of > 0 ? sprintf('%5.1f %%', 100 * $n / $of) : '      –');
}

# The table.
sub print_table
{
	my @sum = (0) x 4;

	printf "%-38s %6s %6s %7s %6s %6s %7s\n", 'file', 'lines', 'reached', '', 'branches', 'reached', '';
	foreach my $name (sort keys %files)
	{
		my @lines = values %{ $files{$name}{lines} };
		my @branches = map { @$_ } values %{ $files{$name}{branches} };
		my @row = (scalar(grep { $_ } @lines), scalar @lines, scalar(grep { $_ } @branches), scalar @branches);

		$sum[$_] += $row[$_] foreach 0 .. 3;
		printf "%-38s %s %s\n", $name, share(@row[ 0, 1 ]), share(@row[ 2, 3 ]);
	}
	printf "%-38s %s %s\n", 'all', share(@sum[ 0, 1 ]), share(@sum[ 2, 3 ]);
	return;
}

# The entries of the list.
sub read_known
{
	my (@entries, @without_reason);

	open(my $in, '<', $known_file) or die "$known_file: $!";
	while (my $line = <$in>)
	{
		chomp $line;
		next if $line =~ /^#|^\s*$/;
		if ($line =~ /^\s+(\w+)(, sometimes)?: \S/)
		{
			@$_{qw(kind sometimes)} = ($1, defined $2) foreach @without_reason;
			@without_reason = ();
		}
		elsif ($line =~ m!^(src/\S+) (\w+)(?: (\d+) (?:(.*) => )?(.+))?$!)
		{
			my $entry = { place => $line, file => $1, function => $2, lines => $3, before => $4, text => $5 };

			push @entries, $entry;
			push @without_reason, $entry;
		}
		else
		{
			check("$known_file is read", "not understood: $line");
		}
	}
	check('each known line has its reason', map { $_->{place} } @without_reason);
	return @entries;
}

# The numbers of the lines that an entry stands for; none, and a complaint, if it is not
# clear which.
sub lines_of
{
	my ($entry, $file, $source) = @_;
	my @all = sort { $a <=> $b } grep { ($file->{function}{$_} // '') eq $entry->{function} } keys %{ $file->{lines} };
	my @starts;

	return @all if !$entry->{lines} && @all;
	foreach my $i (0 .. $#all)
	{
		push @starts, $i
		  if $source->[ $all[$i] ] eq $entry->{text}
		  && (!defined $entry->{before} || $i > 0 && $source->[ $all[ $i - 1 ] ] eq $entry->{before})
		  && (!$file->{lines}{ $all[$i] } || $entry->{sometimes});
	}
	if (@starts != 1)
	{
		$entry->{complaint} = @starts ? 'more than once' : 'not there, or reached';
		return;
	}
	return @all[ $starts[0] .. $starts[0] + $entry->{lines} - 1 ];
}

# The lines of a file that were not reached and are not known, as entries of the list,
# each with the number of its first line.
sub unreached
{
	my ($name, $source, $is_known) = @_;
	my $file = $files{$name};
	my (%functions, @found);

	push @{ $functions{ $file->{function}{$_} } }, $_ foreach sort { $a <=> $b } keys %{ $file->{lines} };
	foreach my $function (sort { $functions{$a}[0] <=> $functions{$b}[0] } keys %functions)
	{
		my @all = @{ $functions{$function} };
		my @missing = grep { !$file->{lines}{ $all[$_] } && !$is_known->{ $all[$_] } } 0 .. $#all;

		if (@missing == @all)
		{
			push @found, "line $all[0]: $name $function";
			next;
		}
		while (@missing)
		{
			my $first = shift @missing;
			my $last = $first;
			my $text = $source->[ $all[$first] ];
			my @same = grep { $source->[$_] eq $text } @all;

			$last = shift @missing while @missing && $missing[0] == $last + 1;
			$text = "$source->[ $all[ $first - 1 ] ] => $text" if @same > 1 && $first > 0;
			push @found, "line $all[$first]: $name $function " . ($last - $first + 1) . " $text";
		}
	}
	return @found;
}

read_counts($directories[$_], $_ == 0) foreach 0 .. $#directories;
foreach my $name (keys %files)
{
	my @source = source($name);

	# a brace is no code of ours
	delete @{ $files{$name}{lines} }{ grep { $source[$_] =~ /^[{}]$/ } keys %{ $files{$name}{lines} } };
	delete $files{$name} if !%{ $files{$name}{lines} };
}
die "nothing was counted in @directories\n" if !%files;
print_table();

my @entries = read_known();
my (%kinds, @wrong);
foreach my $name (sort keys %files)
{
	my $file = $files{$name};
	my @source = source($name);
	my (%is_known, @complaints);

	foreach my $entry (grep { $_->{file} eq $name } @entries)
	{
		my @lines = lines_of($entry, $file, \@source);

		push @wrong, "$entry->{place}: $entry->{complaint}" if $entry->{complaint};
		$entry->{found} = 1;
		foreach my $n (grep { defined } @lines)
		{
			push @wrong, "$entry->{place}: reached at $n: $source[$n]" if $file->{lines}{$n} && !$entry->{sometimes};
			$is_known{$n} = 1;
			$kinds{ $entry->{kind} // '?' }++;
		}
	}
	@complaints = unreached($name, \@source, \%is_known);
	check("each line of $name is reached or known", @complaints);
}
push @wrong, map { "$_->{place}: no such file" } grep { !$_->{found} } @entries;
check('each known line is there and not reached', @wrong);
printf "known %s: %d\n", $_, $kinds{$_} foreach sort keys %kinds;
printf "%d passed, %d failed\n", $passed, $failed;
exit($failed > 0);
