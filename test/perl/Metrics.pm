# Metrics as Prometheus would read them.

package Metrics;

use strict;
use warnings;

use Exporter qw(import);
use InfraMonitor;
use Time::HiRes qw(time);

our @EXPORT = qw(read_metrics series_of sum_of is_counter);

# Reads metrics in a session: { at, values => { series => value }, types =>
# { family => type } }.
sub read_metrics
{
	my ($session) = @_;
	my %look = (at => time);

	foreach my $line (split /\n/, ask($session, 'SELECT infra_monitor.metrics_text()'))
	{
		if ($line =~ /^# TYPE (\S+) (\S+)$/)
		{
			$look{types}{$1} = $2;
		}
		elsif ($line !~ /^#/)
		{
			my ($series, $value) = $line =~ /^(.*) (\S+)$/;

			die "twice: $series" if exists $look{values}{$series};
			$look{values}{$series} = $value;
		}
	}
	return \%look;
}

# The series of a family, by their labels.
sub series_of
{
	my ($look, $family) = @_;
	my $prefix = "infra_monitor_$family";

	return { map { (substr($_, length $prefix) => $look->{values}{$_}) }
		  grep { /^\Q$prefix\E(?:\{|$)/ } keys %{ $look->{values} } };
}

sub sum_of
{
	my ($look, $family) = @_;
	my $sum = 0;

	$sum += $_ foreach values %{ series_of($look, $family) };
	return $sum;
}

# May the series only grow?
sub is_counter
{
	my ($look, $series) = @_;
	my ($family) = $series =~ /^([a-z0-9_]+)/;

	return 1 if ($look->{types}{$family} // '') eq 'counter';
	$family =~ s/_(?:bucket|sum|count)$//;
	return ($look->{types}{$family} // '') eq 'histogram';
}

1;
