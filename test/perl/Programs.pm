# Prometheus and its exporters, for the tests that ask them: each is started on a
# free port of 127.0.0.1, and ends with the test.

package Programs;

use strict;
use warnings;

use Carp qw(croak);
use Exporter qw(import);
use HTTP::Tiny;
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(usleep);

our @EXPORT = qw(has_programs write_file start_program stop_program http_get
  start_node_exporter start_prometheus ask_prometheus wait_for_series);

my $http = HTTP::Tiny->new(timeout => 30, agent => 'infra_monitor-test');
my @running;

# Are all these in PATH?
sub has_programs
{
	foreach my $name (@_)
	{
		return 0 unless grep { -x "$_/$name" } split /:/, $ENV{PATH};
	}
	return 1;
}

# Makes a file with this content, and returns its path.
sub write_file
{
	my ($path, $content) = @_;

	open(my $handle, '>', $path) or croak "could not create \"$path\": $!";
	print $handle $content;
	close($handle) or croak "could not write \"$path\": $!";
	return $path;
}

# Status and body of what is at this path.
sub http_get
{
	my ($port, $path) = @_;
	my $response = $http->get("http://127.0.0.1:$port$path");

	return ($response->{status}, $response->{content});
}

# Starts a program; in its arguments PORT stands for the port that it is to
# listen at.  Returns it when it answers at "ready" (/ by default) with 200.
# Options: env (hash of the environment), ready.  What it prints is in the
# directory of logs.
sub start_program
{
	my ($name, $arguments, %options) = @_;
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my @command = ($name, map { s/PORT/$port/gr } @$arguments);
	my $ready = $options{ready} // '/';
	my $log = "$PostgreSQL::Test::Utils::log_path/$name-$port.log";
	my ($status, $harness);

	{
		local %ENV = (%ENV, %{ $options{env} // {} });
		$harness = IPC::Run::start(\@command, '<', \undef, '>', $log, '2>&1');
	}
	my $program = { name => $name, port => $port, harness => $harness, log => $log };
	push @running, $program;
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		($status) = http_get($port, $ready);
		return $program if $status eq '200';
		$harness->reap_nb;
		last if defined $harness->{KIDS}[0]{RESULT};
		usleep(100_000);
	}
	croak "$name does not answer: " . slurp_file($log);
}

# Ends it, and waits until it has.
sub stop_program
{
	my ($program) = @_;

	@running = grep { $_ != $program } @running;
	$program->{harness}->kill_kill(grace => 10);
	return;
}

# node_exporter with nothing but the textfile collector, on this directory.
sub start_node_exporter
{
	my ($directory) = @_;

	return start_program('prometheus-node-exporter', [
		'--web.listen-address=127.0.0.1:PORT', '--collector.disable-defaults',
		'--collector.textfile', "--collector.textfile.directory=$directory"
	]);
}

# Prometheus with this file of configuration, and data in that directory.
sub start_prometheus
{
	my ($configuration, $directory) = @_;

	return start_program('prometheus', [
		"--config.file=$configuration", "--storage.tsdb.path=$directory",
		'--web.listen-address=127.0.0.1:PORT', '--log.level=warn'
	], ready => '/-/ready');
}

# The result of an expression, as Prometheus' API has it: a list of hashes with
# "metric" and "value".  Dies with its message if it does not like it.  Options:
# time.
sub ask_prometheus
{
	my ($prometheus, $expression, %options) = @_;
	my $form = HTTP::Tiny->new->www_form_urlencode({ query => $expression, %options });
	my (undef, $body) = http_get($prometheus->{port}, "/api/v1/query?$form");
	my $answer = eval { JSON::PP->new->utf8->decode($body) } or croak "no JSON: $body";

	croak "$expression: $answer->{error}" if $answer->{status} ne 'success';
	my $result = $answer->{data}{result};
	return $answer->{data}{resultType} eq 'scalar'
	  ? [ { metric => {}, value => $result } ] : $result;
}

# Waits until the expression has a result, and returns it; [] if it never has.
sub wait_for_series
{
	my ($prometheus, $expression) = @_;

	for (1 .. 5 * $PostgreSQL::Test::Utils::timeout_default)
	{
		my $result = ask_prometheus($prometheus, $expression);

		return $result if @$result;
		usleep(200_000);
	}
	return [];
}

END
{
	my $status = $?;

	$_->{harness}->kill_kill(grace => 2) foreach @running;
	$? = $status;
}

1;
