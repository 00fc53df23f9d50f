# A web server for the tests: answers each request with the output of a command.
#
#	perl serve_metrics.pl PORT COMMAND [ARGUMENT...]

use strict;
use warnings;

use IO::Socket::INET;

my ($port, @command) = @ARGV;
my $server = IO::Socket::INET->new(
	LocalAddr => '127.0.0.1',
	LocalPort => $port,
	Listen => 10,
	ReuseAddr => 1) or die "could not listen at port $port: $!";

while (my $client = $server->accept)
{
	while (defined(my $line = <$client>))
	{
		last if $line =~ /^\r?\n$/;
	}
	open(my $output, '-|', @command) or die "could not run $command[0]: $!";
	my $body = do { local $/ = undef; <$output> };
	my $status = close($output) ? '200 OK' : '503 Service Unavailable';

	$body //= '';
	print $client "HTTP/1.1 $status\r\n",
	  "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n",
	  'Content-Length: ', length $body, "\r\nConnection: close\r\n\r\n", $body;
	close($client);
}
