# Hostile input of the type histogram: bytes, text and jsonb that were damaged
# at random, with the same numbers each time.  Each gives a valid value or an
# error of those that are expected, and never a crash.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $COUNT = 2000;	# inputs of each kind

srand(1);

my $node = new_server('histogram');
$node->start;
my $session = open_session($node);
ask($session, $_) for split /^/, <<'SQL';
CREATE EXTENSION infra_monitor CASCADE
CREATE TEMP TABLE hostile (h infra_monitor.histogram)
CREATE CAST (bytea AS infra_monitor.histogram) WITHOUT FUNCTION
SQL
my $backend = ask($session, 'SELECT pg_backend_pid()');

# Values to start from, as text and as bytes.
my @texts = (
	'{}', '{1us:1}', '{+Inf:9223372036854775807}',
	'{1ms:3,1.12ms:128,5s:16384}', '{1us:127,+Inf:4611686018427387904}',
	'{1us:1,' . join(',', map { 2**$_ . 'us:' . 9**$_ } 1 .. 3) . '}',
	'{' . join(',', map { my $zeros = $_; map { "$_${zeros}s:7" } 1, 2, 4, 5, 8 } '', 0, '00', '000') . '}');
my @bytes = map {
	pack('H*', ask($session,
			"SELECT encode(infra_monitor.histogram_send('$_'), 'hex')"))
} @texts;
my @documents =
  map { ask($session, "SELECT '$_'::infra_monitor.histogram::jsonb") } @texts;

# Damages a string in one or two places; characters that are put in come from
# the list, or are any byte.
sub damage
{
	my ($string, @characters) = @_;

	for (0 .. int(rand(2)))
	{
		my $at = int(rand(length($string) + 1));
		my $what = int(rand(6));
		my $new =
		  @characters ? $characters[ rand @characters ] : chr(int(rand(256)));

		if ($what == 0 && $at < length $string)
		{
			# flip a bit, or replace
			substr($string, $at, 1) =
			  @characters ? $new : substr($string, $at, 1) ^ chr(1 << int(rand(8)));
		}
		elsif ($what == 1)
		{
			substr($string, $at) = '';
		}
		elsif ($what == 2)
		{
			substr($string, $at, 1 + int(rand(3))) = '' if $at < length $string;
		}
		elsif ($what == 3)
		{
			substr($string, $at, 0) = $new x (1 + int(rand(12)));
		}
		elsif ($what == 4 && $at < length $string)
		{
			substr($string, $at, 1) = $new;
		}
		else
		{
			my $piece = substr($string, $at, int(rand(20)));

			substr($string, int(rand(length($string) + 1)), 0) = $piece;
		}
	}
	return $string;
}

# What is true of each value.
my $VALID = <<'SQL';
SELECT h::text::infra_monitor.histogram OPERATOR(infra_monitor.=) h
	AND h::jsonb::infra_monitor.histogram OPERATOR(infra_monitor.=) h
	AND infra_monitor.observations(h) >= 0
	AND infra_monitor.observations(h) = (SELECT max(cumulative) FROM infra_monitor.buckets(h))
	AND (infra_monitor.quantile(h, 0.5) BETWEEN 0.001 AND 1e7) IS NOT FALSE
	AND h OPERATOR(infra_monitor.-) h OPERATOR(infra_monitor.=) '{}'
SQL

# Feeds inputs to a function that returns undef or a value's condition, and
# tests what came of them.
sub feed
{
	my ($name, $expected, $next) = @_;
	my (%errors, @invalid, @unexpected);
	my $accepted = 0;

	for my $i (1 .. $COUNT)
	{
		my ($input, $answer) = $next->();

		if (defined $answer)
		{
			$accepted++;
			push @invalid, $input if $answer ne 't';
		}
		else
		{
			$errors{ $session->{sqlstate} }++;
			push @unexpected, "$input: $session->{sqlstate} $session->{message}"
			  if $session->{sqlstate} !~ $expected;
		}
	}
	note "$name: $accepted accepted, "
	  . join(', ', map { "$_: $errors{$_}" } sort keys %errors);
	is_deeply(\@invalid, [], "$name: what is accepted is valid");
	is_deeply(\@unexpected, [], "$name: what is refused has a proper error");
	cmp_ok($accepted, '>', 0, "$name: some of it is accepted");
	cmp_ok($COUNT - $accepted, '>', $COUNT / 4, "$name: much of it is refused");
	is(ask($session, 'SELECT pg_backend_pid()'),
		$backend, "$name: the session is still the same");
	return;
}

# Binary input: a file for COPY with one row and one column.
my $file = PostgreSQL::Test::Utils::tempdir_short() . '/hostile.bin';

sub copy_bytes
{
	my ($file_bytes) = @_;

	open my $handle, '>', $file or die "$file: $!";
	binmode $handle;
	print $handle $file_bytes;
	close $handle or die "$file: $!";
	ask($session, 'DELETE FROM hostile');
	return undef
	  unless defined try_ask($session, "COPY hostile FROM '$file' (FORMAT binary)");
	return try_ask($session, "SELECT coalesce(bool_and(($VALID)), true) FROM hostile");
}

my $head = "PGCOPY\n\xff\r\n\0" . pack('NN', 0, 0);
my $tail = pack('n', 0xffff);

is(copy_bytes($head . pack('nN', 1, length) . $_ . $tail), 't', 'bytes: accepted as they are')
  foreach @bytes;
feed('bytes', qr/^22P03$/, sub {
	my $bytes = damage($bytes[ rand @bytes ]);

	return (unpack('H*', $bytes),
		copy_bytes($head . pack('nN', 1, length $bytes) . $bytes . $tail));
});

# The length of the column is not that of its bytes, too.  Of four bytes, the
# upper ones are left alone: COPY allocates what they say.
feed('file', qr/^22P0[34]$/, sub {
	my $bytes = $bytes[ rand @bytes ];
	my $damaged = damage(chr(length $bytes) . $bytes . $tail);

	return (unpack('H*', $damaged),
		copy_bytes($head . "\0\1\0\0\0" . $damaged));
});

# Bytes that are damaged where they are stored, and any bytes at all.
feed('stored', qr/^XX001$/, sub {
	my $bytes = rand() < 0.7 ? damage($bytes[ rand @bytes ])
	  : join('', map { chr(int(rand(rand() < 0.5 ? 4 : 256))) } 0 .. int(rand(30)));
	my $hex = unpack('H*', $bytes);
	# a count of 0 at either end is valid there, but not equal to itself anew
	my $query = "SELECT infra_monitor.observations(h) >= 0"
	  . " AND (infra_monitor.quantile(h, 0.5) BETWEEN 0.001 AND 1e7) IS NOT FALSE"
	  . " AND h::text::infra_monitor.histogram::text = h::text"
	  . " AND h OPERATOR(infra_monitor.-) h OPERATOR(infra_monitor.=) '{}'"
	  . " FROM (SELECT '\\x$hex'::bytea::infra_monitor.histogram OFFSET 0) v (h)";

	return ($hex, try_ask($session, $query));
});

# Text
my @letters = (split(//, '0123456789.,:{}+-usmInfe '), "\t", 'ms', '+Inf', '9' x 20, ',1ms:1');

feed('text', qr/^22(?:P02|003)$/, sub {
	my $text = damage($texts[ rand @texts ], @letters);

	return ($text,
		try_ask($session,
			"SELECT ($VALID) FROM (SELECT '$text'::infra_monitor.histogram OFFSET 0) v (h)"));
});

# jsonb; what is no JSON is not our affair
@letters = (split(//, '0123456789.,:{}[]"+-Infe '), 'null', '"count"', '"le_seconds"', '"+Inf"', '9' x 20, 'e5');
feed('jsonb', qr/^22(?:P02|003|023)$/, sub {
	my $text = damage($documents[ rand @documents ], @letters);

	return ($text,
		try_ask($session,
			"SELECT ($VALID) FROM (SELECT '$text'::jsonb::infra_monitor.histogram OFFSET 0) v (h)"));
});

# Durations: any 64 bits that are a number
feed('durations', qr/^22023$/, sub {
	my $number = unpack('d', pack('Q', int(rand(2**32)) << 32 | int(rand(2**32))));

	$number = $number == 9**9**9 ? 'Infinity' : $number == -9**9**9 ? '-Infinity' : $number != $number ? 'NaN' : sprintf('%.17g', $number);
	return ($number,
		try_ask($session,
			"SELECT ($VALID) AND infra_monitor.observations(h) = 1 FROM (SELECT infra_monitor.histogram(ARRAY['$number'::float8]) OFFSET 0) v (h)"));
});

close_sessions($session);
is(log_count($node, qr/terminated by signal|terminating any other|PANIC|TRAP|ERROR:  XX000/),
	0, 'no process has crashed');
$node->stop;
done_testing();
