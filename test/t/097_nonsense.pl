# A3: every function of ours, called with nonsense for each of its arguments: what
# it returns are errors that say so, and no process crashes.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('nonsense', conf => <<'CONF');
autovacuum = off
infra_monitor.slow_query_threshold = 0
log_min_error_statement = panic
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
wait_for_sample($node, 'there is history');
my $session = open_session($node);
my $start = ask($session, 'SELECT pg_postmaster_start_time()');

# Nonsense by type; of each type there is NULL, besides.  The first is no nonsense
# but what the other arguments have meanwhile.
my @integers = qw(1 0 -1);
my %values = (
	'boolean' => [qw(true false)],
	'smallint' => [ @integers, 32767, '(-32768)' ],
	'integer' => [ @integers, 2147483647, '(-2147483648)' ],
	'bigint' => [ @integers, 9223372036854775807, '(-9223372036854775808)' ],
	'oid' => [qw(1 0 4294967295)],
	'real' => [ 0.5, 0, "'NaN'", "'Infinity'", "'-Infinity'", "'3e38'" ],
	'double precision' => [ 0.5, 0, -1, "'NaN'", "'Infinity'", "'-Infinity'", "'1e308'", "'-1e308'", "'1e-308'" ],
	'numeric' => [ 1, 0, -1, "'NaN'", "'Infinity'", "'1e10000'" ],
	'text' => [ "'pool'", "''", "repeat('x', 1000000)", "E'\\x01\\t'", "'%s%n'", "'''; DROP SCHEMA infra_monitor'" ],
	'name' => [ "'pool'", "''", "repeat('x', 1000)" ],
	'cstring' => [ "'1'", "''", "'{'", "repeat('x', 1000000)" ],
	'bytea' => [ "'\\x00'", "''", "'\\xffffffff'", "decode(repeat('ff', 100000), 'hex')" ],
	'json' => [ "'{}'", "'null'", "'[]'", "'1e308'" ],
	'jsonb' => [
		q('{"checks": []}'), "'[]'", "'{}'", "'null'", "'1e308'", q('"text"'),
		q('[null, 1, "a", [], {"checks": null}]'), q('{"checks": [null, 1, {}, {"name": 1, "status": []}]}'),
		q('[{"status": "healthy", "name": "x", "value": "NaN", "category": "nobody", "weight": "x"}]'),
		"(repeat('[', 3000) || repeat(']', 3000))" ],
	'interval' => [ "'1 hour'", "'0'", "'-1 second'", "'1 microsecond'", "'178000000 years'", "'-178000000 years'", "'infinity'" ],
	'timestamp with time zone' => [ 'now()', "'infinity'", "'-infinity'", "'4714-11-24 00:00:00+00 BC'", "'294276-12-31 23:59:59+00'", "'1970-01-01 00:00+00'" ],
	'[]' => [ "'{}'", "'{NULL}'", "'{{NULL},{NULL}}'" ]);

# Arguments that stand for nothing else at most have a value that is right.
my %right = (order_by => "'calls'", history => "'samples'", dialect => "'infra_monitor'");

my @functions = map { [ split /\|/, $_, -1 ] } split /\n/, ask($session, <<'SQL');
SELECT p.oid::regprocedure, p.proname, p.proretset,
	array_to_string(ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY u (t, n) ORDER BY n), ';'),
	array_to_string(p.proargnames[1:p.pronargs], ';', '')
FROM pg_proc p
WHERE p.pronamespace = 'infra_monitor'::regnamespace AND p.prokind = 'f'
	AND p.prorettype <> ALL (ARRAY['trigger', 'internal', 'event_trigger']::regtype[]) AND p.pronargs > 0
	AND 'internal'::regtype <> ALL (p.proargtypes)
ORDER BY 1
SQL
cmp_ok(scalar @functions, '>', 30, 'there are functions with arguments');

ask($session, "SET statement_timeout = '20s'");
ask($session, 'SET client_min_messages = error');
my ($calls, %states, @bad, %reached) = (0);
foreach my $function (@functions)
{
	my ($signature, $name, $set, $types, $names) = @$function;
	my @types = split /;/, $types, -1;
	my @names = split /;/, $names, -1;
	my @lists = map { [ @{ $values{$_} // (/\[\]$/ ? $values{'[]'} : []) }, 'NULL' ] } @types;
	my @usual = map { $right{ $names[$_] // '' } // $lists[$_][0] } 0 .. $#types;
	my @combinations = ([ map { $_->[0] } @lists ], [ ('NULL') x @types ], [ map { $_->[-2] // 'NULL' } @lists ]);

	foreach my $i (0 .. $#types)
	{
		push @combinations, map { my @arguments = @usual; $arguments[$i] = $_; \@arguments } @{ $lists[$i] };
	}
	foreach my $arguments (@combinations)
	{
		my $list = join ', ', map { "$arguments->[$_]::$types[$_]" } 0 .. $#types;
		my $call = "infra_monitor.$name($list)";
		my $answer = try_ask($session, "SELECT count(f) FROM (SELECT f FROM $call f LIMIT 1000) f");
		my $state = defined $answer ? '00000' : $session->{sqlstate} // 'gone';

		$calls++;
		$states{$state}++;
		$reached{$signature} = 1 unless $state =~ /^42/;
		# errors of the class of data, privileges and limits; no other
		push @bad, substr($call, 0, 200) . ": $state " . ($session->{message} // '')
		  unless $state =~ /^(?:00000|22...|0A000|54...|55...|23...|53...)$/;
		last if $state eq 'gone';
	}
}
note "$calls calls: " . join ', ', map { "$_: $states{$_}" } sort keys %states;
is_deeply(\@bad, [], 'A3: nothing but values and errors that say what is wrong');
is_deeply([ grep { !$reached{ $_->[0] } } @functions ], [], 'A3: each function was executed');
cmp_ok($states{'00000'}, '>', $calls / 4, 'A3: many calls have a value');
cmp_ok($states{'00000'}, '<', $calls, 'A3: and not all');
is(ask($session, 'SELECT pg_postmaster_start_time()'), $start, 'A3: it is the same server');
is(log_count($node, qr/PANIC|TRAP: |terminated by signal|XX\d\d\d/), 0, 'A3: no process has crashed');
wait_for_sample($node, 'A3: samples go on');
is(status_of($node, 'state'), 'running', 'A3: the sampler is well');
my ($results) = read_everything($node, 'postgres');
is_deeply([ map { "$_: @{$results->{$_}}" } grep { $results->{$_}[0] ne '00000' } sort keys %$results ],
	[], 'A3: everything can still be read');
close_sessions($session);
$node->stop;
done_testing();
