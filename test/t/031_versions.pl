# Library and script of different versions: every call gets an answer or a
# clean error, the sampler idles and says why, and nobody crashes.

use strict;
use warnings;

use File::Basename qw(dirname);
use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $MISMATCH =
  qr/WARNING:  extension "infra_monitor" is of version "0\.9", the library of version "[\d.]+", no samples are taken/;

# The server runs on an installation of its own, whose script of version 1.0 is
# that of the release.  0.9 stands for any version but that of the library; it
# is the same, and is updated to 1.0 by nothing.
my $installation = private_installation();
my $frozen =
  slurp_file(dirname(__FILE__) . '/../frozen/infra_monitor--1.0.sql');
my $scripts = "$installation->{extension}/infra_monitor";

replace_file("$scripts--1.0.sql", $frozen);
replace_file("$scripts--0.9.sql", $frozen);
replace_file("$scripts--0.9--1.0.sql", '');

my $node = new_server('versions',
	cluster => { install_path => $installation->{install_path} });
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION pg_stat_statements');
my $current = $node->safe_psql('postgres',
	"SELECT default_version FROM pg_available_extensions WHERE name = 'infra_monitor'"
);

# A second server is left alone in this state until the end of the test: its
# sampler looks again each minute.
my $patient = new_server('patient',
	cluster => { install_path => $installation->{install_path} });
$patient->start;
$patient->safe_psql('postgres', "CREATE EXTENSION infra_monitor VERSION '0.9' CASCADE");
$patient->stop;
my $patient_log = log_end($patient);
$patient->start;
wait_for($patient,
	"SELECT state = 'version mismatch' FROM infra_monitor.sampler_status",
	'patient: the sampler has looked');
my $patient_since = time;

# The server lives, no process has crashed, and nothing failed that should
# never fail.
my $seen = 0;

sub nothing_crashed
{
	my ($when) = @_;

	is($node->psql('postgres', 'SELECT'), 0, "$when: the server lives")
	  or die 'nothing left to test';
	is( log_count(
			$node,
			qr/terminated by signal|terminating any other|PANIC|TRAP|ERROR:  XX|could not start/,
			$seen),
		0,
		"$when: no process has crashed");
	$seen = log_end($node);
	return;
}

# Each call has an answer, or an error of those that are expected.
sub answers
{
	my ($when, $expected) = @_;
	my ($results, $said) = read_everything($node, 'postgres');

	foreach my $name (sort keys %$results)
	{
		my ($sqlstate, $message) = @{ $results->{$name} };

		next if $sqlstate eq '00000';
		like("$sqlstate $message", $expected, "$when: clean error of $name");
	}
	nothing_crashed($when);
	return $results;
}

sub set_version
{
	my ($version) = @_;

	$node->safe_psql('postgres',
		"UPDATE pg_extension SET extversion = '$version' WHERE extname = 'infra_monitor'"
	);
	return;
}

#
# The script of 1.0, and this library
#
$node->safe_psql('postgres', "CREATE EXTENSION infra_monitor VERSION '1.0'");

my @declared = $frozen =~ /^AS 'MODULE_PATHNAME', '(\w+)';$/mg;
my @temporary = ('imon_installation_warnings_1_0');
is( $node->safe_psql('postgres', <<'SQL'),
SELECT string_agg(prosrc, ' ' ORDER BY prosrc COLLATE "C") FROM pg_proc
WHERE pronamespace = 'infra_monitor'::regnamespace
	AND prolang = (SELECT oid FROM pg_language WHERE lanname = 'c')
SQL
	join(' ', sort grep { $_ ne $temporary[0] } @declared),
	'the library has all functions of the script');
is_deeply([ grep { !/^imon_\w+_1_0$/ } @declared ],
	[], 'their names carry the version');
my $script = slurp_file(pg_config('sharedir')
	  . "/extension/infra_monitor--$current.sql");
is_deeply(
	[ grep { !/^imon_\w+_\d+_\d+$/ } $script =~ /^AS 'MODULE_PATHNAME', '(.*)';$/mg ],
	[],
	'so do those of the latest script');

# Once there is a later version, 1.0 is another one.
if ($current ne '1.0')
{
	wait_for(
		$node,
		"SELECT state = 'version mismatch' FROM infra_monitor.sampler_status",
		'the sampler does not touch an extension of version 1.0');
}
else
{
	wait_for_sample($node, 'the sampler samples');
}
my $different = qr/^(?:42804 library and extension infra_monitor are of different versions|42883 )/;
my $results = answers('script of 1.0', $different);
if ($current eq '1.0')
{
	is_deeply([ grep { $results->{$_}[0] ne '00000' } sort keys %$results ],
		[], 'script of 1.0: everything works');
}
foreach my $call ('take_sample()', "reset('all')")
{
	my ($status, $out, $said) = $node->psql('postgres',
		"\\set VERBOSITY verbose\nSELECT infra_monitor.$call");
	ok($status == 0 || $said =~ /ERROR:  (?:42|55|22)\w{3}: /,
		"script of 1.0: $call: an answer or a clean error")
	  or diag $said;
}
$node->safe_psql('postgres',
	"INSERT INTO infra_monitor.health_threshold_overrides (check_name, warning) VALUES ('lock_waits', 10)"
);

$node->safe_psql('postgres', 'ALTER EXTENSION infra_monitor UPDATE');
wait_for_sample($node, 'script of 1.0: the sampler samples after UPDATE');
is( $node->safe_psql('postgres',
		"SELECT warning FROM infra_monitor.health_threshold_overrides"),
	'10',
	'script of 1.0: overrides are kept');
answers('after UPDATE', qr/^00000/);

#
# Another version comes and goes while the sampler runs
#
my $log = log_end($node);
set_version('0.9');
wait_for($node, "SELECT state = 'version mismatch' FROM infra_monitor.sampler_status",
	'another version: the sampler says so');

# ... stays the same process, idle, and says it once however often it looks
my $sampler = status_of($node, 'pid');
my $rows = status_of($node, 'rows_stored');
foreach my $i (1 .. 3)
{
	# makes it look again
	$node->safe_psql('postgres', 'ALTER EXTENSION pg_stat_statements UPDATE');
	$node->safe_psql('postgres', 'SELECT pg_sleep(1)');
}
is(status_of($node, 'state'), 'version mismatch', 'another version: still');
is(status_of($node, 'rows_stored'), $rows, 'another version: no samples');
is(log_count($node, $MISMATCH, $log), 1, 'another version: one warning');
is(log_count($node, qr/HINT:  Run ALTER EXTENSION infra_monitor UPDATE/, $log),
	1, 'another version: with a hint');
is( log_count($node, qr/(?:WARNING|ERROR):  (?!extension)/, $log),
	0, 'another version: and no other message');
my $missed = status_of($node, 'missed');
answers('another version', $different);
is( $node->safe_psql('postgres',
		"SELECT count(*) > 0 FROM infra_monitor.dashboard() line WHERE line LIKE 'sampler version mismatch%'"
	),
	't',
	'another version: the dashboard says so');

set_version($current);
# a command about an extension makes the sampler look; else it looks each minute
$node->safe_psql('postgres', 'ALTER EXTENSION pg_stat_statements UPDATE');
wait_for_sample($node, 'the right version again: the sampler samples');
is(status_of($node, 'pid'), $sampler, 'and is the same process');
is(status_of($node, 'state'), 'running', 'and says so');
cmp_ok(status_of($node, 'missed') - $missed, '<=', 3,
	'and missed nothing that it should have done');

# another time is told again
$log = log_end($node);
set_version('0.9');
wait_for($node, "SELECT state = 'version mismatch' FROM infra_monitor.sampler_status",
	'another version again');
is(log_count($node, $MISMATCH, $log), 1, 'is told again');

# and by each server
$log = log_end($node);
$node->restart;
wait_for($node, "SELECT state = 'version mismatch' FROM infra_monitor.sampler_status",
	'another version when the server starts');
is(log_count($node, $MISMATCH, $log), 1, 'one warning');
set_version($current);
$node->safe_psql('postgres', 'ALTER EXTENSION pg_stat_statements UPDATE');
wait_for_sample($node, 'another version: and back');
nothing_crashed('another version');

#
# An extension of another version is created, and updated
#
$node->safe_psql('postgres', 'DROP EXTENSION infra_monitor');
wait_for($node, "SELECT NOT EXISTS (SELECT FROM pg_class WHERE relname LIKE 'samples%')",
	'dropped with its history');
$log = log_end($node);
$node->safe_psql('postgres', "CREATE EXTENSION infra_monitor VERSION '0.9'");
wait_for($node, "SELECT state = 'version mismatch' FROM infra_monitor.sampler_status",
	'created: the sampler does not touch it');
is(log_count($node, $MISMATCH, $log), 1, 'created: one warning');
answers('created', $different);
is( $node->safe_psql('postgres', 'SELECT count(*) FROM infra_monitor.samples'),
	'0', 'created: no history');

$log = log_end($node);
my $duration = seconds
{
	$node->safe_psql('postgres', 'ALTER EXTENSION infra_monitor UPDATE');
	wait_for_sample($node, 'updated: the sampler samples');
};
cmp_ok($duration, '<', 40, sprintf('updated: at once: %.1f s', $duration));
is(log_count($node, qr/WARNING|ERROR/, $log), 0, 'updated: nothing to warn of');
is( $node->safe_psql('postgres',
		"SELECT count(*) = 0 FROM pg_class c WHERE relnamespace = 'infra_monitor'::regnamespace AND relkind = 'r' AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')"
	),
	't',
	'updated: all tables belong to it');
answers('updated', qr/^00000/);

# The same where nobody samples: the live views are all there is.
$node->safe_psql('postgres', 'CREATE DATABASE elsewhere');
$node->safe_psql('elsewhere', "CREATE EXTENSION infra_monitor VERSION '0.9' CASCADE");
my ($elsewhere) = read_everything($node, 'elsewhere');
like($elsewhere->{$_}[0], qr/^(?:00000|42804|42883)$/, "elsewhere: clean answer of $_")
  foreach sort keys %$elsewhere;
$node->safe_psql('postgres', 'DROP DATABASE elsewhere');
nothing_crashed('elsewhere');

#
# Functions that are not declared as the library has them
#
my @columns = split /\n/, $node->safe_psql('postgres', <<'SQL');
SELECT format('%s|%s|%s|%s', p.proname, p.prosrc, p.proretset,
	(SELECT string_agg(format('%s %s', format_type(t, NULL), m), ',' ORDER BY n)
		FROM unnest(p.proallargtypes, p.proargmodes) WITH ORDINALITY AS u (t, m, n)))
FROM pg_proc p
WHERE p.pronamespace = 'infra_monitor'::regnamespace
	AND p.prolang = (SELECT oid FROM pg_language WHERE lanname = 'c')
	AND p.prorettype = 'record'::regtype
ORDER BY 1
SQL
cmp_ok(scalar @columns, '>=', 9, 'functions that return rows');
$node->safe_psql('postgres', 'CREATE SCHEMA other');

# Creates other.NAME for a function of the library, calls it, and returns its
# SQLSTATE and message.
sub declare_and_call
{
	my ($name, $arguments, $returns, $symbol, $call) = @_;
	my ($status, $out, $said) = $node->psql(
		'postgres',
		"\\set VERBOSITY verbose\n"
		  . "CREATE OR REPLACE FUNCTION other.$name($arguments) RETURNS $returns\n"
		  . "LANGUAGE c AS '\$libdir/infra_monitor', '$symbol';\n"
		  . "SELECT * FROM other.$name($call);");

	die "$name: $said" if $said =~ /connection to server/;
	return $said =~ /ERROR:  (.*)/ ? $1 : "answer $status $said";
}

foreach my $line (@columns)
{
	my ($name, $symbol, $set, $list) = split /\|/, $line;
	my (@in, @out);

	foreach my $argument (split /,/, $list)
	{
		my ($type, $mode) = $argument =~ /^(.*) (\w)$/;

		if ($mode eq 'i')
		{
			push @in, $type;
		}
		else
		{
			push @out, $type;
		}
	}
	my $call = join(', ', map { "NULL::$_" } @in);
	my %wrong = (
		"a column more" => [ @out, 'text' ],
		"a column less" => [ @out[ 0 .. $#out - 1 ] ],
		"one column" => [ $out[0] ],
		"no row" => []);

	foreach my $how (sort keys %wrong)
	{
		my $n = 0;
		my @types = @{ $wrong{$how} };
		my $returns =
		    @types == 0 ? ($set eq 't' ? 'SETOF int' : 'int')
		  : @types == 1 ? ($set eq 't' ? "SETOF $types[0]" : $types[0])
		  : undef;
		my $arguments = join(', ', @in);

		# a row of OUT parameters, else a plain value
		if (!defined $returns)
		{
			$arguments = join(', ',
				@in, map { 'OUT c' . ++$n . " $_" } @types);
			$returns = $set eq 't' ? 'SETOF record' : 'record';
		}
		like(
			declare_and_call("w_$name", $arguments, $returns, $symbol, $call),
			@types > 1
			? qr/^42804: library and extension infra_monitor are of different versions/
			: qr/^(?:42804|XX000): .*(?:different versions|row type)/,
			"$name declared with $how");
		$node->safe_psql('postgres', 'DROP ROUTINE other.w_' . $name);
	}
}

# Arguments: one too many is ignored, one too few must not be made up, and NULL
# is not what STRICT has promised.  Input functions of types get what only the
# server can hand them.
my %values = (boolean => 'false', name => "'x'", text => "'pool'");
my @with_arguments = split /\n/, $node->safe_psql('postgres', <<'SQL');
SELECT format('%s|%s|%s%s|%s|%s', p.proname, p.prosrc,
	CASE WHEN p.proretset THEN 'SETOF ' END, format_type(p.prorettype, NULL),
	(SELECT string_agg(format_type(t, NULL), ',' ORDER BY n)
		FROM unnest(p.proargtypes) WITH ORDINALITY AS u (t, n)),
	(SELECT string_agg(format('OUT c%s %s', n, format_type(t, NULL)), ', ' ORDER BY n)
		FROM unnest(p.proallargtypes, p.proargmodes) WITH ORDINALITY AS u (t, m, n) WHERE m <> 'i'))
FROM pg_proc p
WHERE p.pronamespace = 'infra_monitor'::regnamespace
	AND p.prolang = (SELECT oid FROM pg_language WHERE lanname = 'c')
	AND p.pronargs > 0
	AND NOT EXISTS (SELECT FROM pg_type t
		WHERE t.oid = ANY (p.proargtypes) AND t.typtype = 'p')
ORDER BY 1
SQL
cmp_ok(scalar @with_arguments, '>=', 3, 'functions with arguments');
foreach my $line (@with_arguments)
{
	my ($name, $symbol, $returns, $types, $columns) = split /\|/, $line;
	my @in = split /,/, $types;
	my @out = $columns ne '' ? ($columns) : ();
	local $values{text} = "'infra_monitor'" if $name eq 'metrics_text';
	my @call = map { $values{$_} // "NULL::$_" } @in;

	like(
		declare_and_call("m_$name", join(', ', @in, 'text', @out),
			$returns, $symbol, join(', ', @call, 'NULL')),
		qr/^answer 0/,
		"$name declared with an argument more");
	like(
		declare_and_call("l_$name", join(', ', @in[ 1 .. $#in ], @out),
			$returns, $symbol, join(', ', @call[ 1 .. $#call ])),
		qr/^42804: library and extension infra_monitor are of different versions/,
		"$name declared with an argument less");
	like(
		declare_and_call("n_$name", join(', ', @in, @out),
			$returns, $symbol, join(', ', ('NULL') x @in)),
		qr/^(?:answer 0|22004: )/,
		"$name declared without STRICT: NULL");
}
like(declare_and_call('l_preloaded', 'text', 'boolean', 'imon_preloaded_1_0', "'x'"),
	qr/^answer 0/, 'preloaded declared with an argument');
like(declare_and_call('l_trigger', '', 'int', 'imon_check_override_1_0', ''),
	qr/^39P01: must be called by a BEFORE INSERT OR UPDATE trigger/,
	'a trigger function that is called');
like(declare_and_call('unknown', '', 'int', 'imon_preloaded_9_9', ''),
	qr/^42883: could not find function "imon_preloaded_9_9" in file/,
	'a function of a later version');
nothing_crashed('declared differently');

#
# A minute later
#
my $left = $patient_since + 62 - time;
sleep $left if $left > 0;
is(log_count($patient, $MISMATCH, $patient_log), 1, 'patient: one warning');
is(status_of($patient, 'state'), 'version mismatch', 'patient: the state is the same');
is(status_of($patient, 'rows_stored'), '0', 'patient: no samples');
$patient->stop;

#
# A library that knows none of the script's functions
#
my $library = "$installation->{pkglibdir}/infra_monitor.so";
my $original = slurp_file($library);
(my $other = $original) =~ s/(imon_\w+)_\d_\d\0/${1}_x_x\0/g;
isnt($other, $original, 'a library with other names');
replace_file($library, $other);
SKIP:
{
	# each process would load the new one at once
	skip 'EXEC_BACKEND', 2 if exec_backend();
	is($node->safe_psql('postgres', 'SELECT infra_monitor.preloaded()'),
		't', 'package upgraded: a running server keeps its library');
	wait_for_sample($node, 'package upgraded: so does the sampler');
}
$log = log_end($node);
$node->restart;
$seen = log_end($node);
wait_for($node,
	"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'infra_monitor sampler')",
	'another library: the sampler runs');
$results = answers('another library', qr/^42883 /);
is($results->{$_}[0], '42883', "another library: no $_")
  foreach qw(pool_pressure pool_rejections sampler_status preloaded());
my ($status, $out, $said) =
  $node->psql('postgres', 'SELECT infra_monitor.take_sample()');
like($said, qr/ERROR:  could not find function "imon_take_sample_1_0" in file/,
	'another library: take_sample() does not work');
($status, $out, $said) = $node->psql('postgres',
	"INSERT INTO infra_monitor.health_threshold_overrides (check_name) VALUES ('lock_waits')");
like($said, qr/ERROR:  could not find function "imon_check_override_1_0" in file/,
	'another library: nor does the trigger');
is( $node->safe_psql('postgres', 'SELECT count(*) > 0 FROM infra_monitor.samples'),
	't', 'another library: history can be read');
is($node->psql('postgres', 'CREATE TABLE t AS SELECT 1; DROP TABLE t; CREATE DATABASE x; DROP DATABASE x'),
	0, 'another library: the server works');
nothing_crashed('another library');

# ... and what is broken can be repaired, or removed
replace_file($library, $original);
$node->restart;
wait_for_sample($node, 'the right library: the sampler samples');
answers('the right library', qr/^00000/);
$node->safe_psql('postgres', 'DROP SCHEMA other CASCADE');
replace_file($library, $other);
$node->restart;
$node->safe_psql('postgres', 'DROP EXTENSION infra_monitor');
is( $node->safe_psql('postgres',
		"SELECT count(*) FROM pg_namespace WHERE nspname = 'infra_monitor'"),
	'0', 'another library: the extension can be dropped');
$node->stop;

done_testing();
