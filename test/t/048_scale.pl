# A server with 10 000 roles and 2 000 databases: everything still answers, at
# once, with as few rows as before, and the sampler does not grow.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $roles = 10_000;
my $databases = 2_000;

my $node = new_server('scale', conf => 'autovacuum = off');
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
wait_for_sample($node, 'there is a sample');

# Rows in each of our relations of these kinds, as in pg_class.relkind.
sub rows_by_relation
{
	my ($kinds) = @_;
	my $counts = <<'SQL';
SELECT string_agg(format('SELECT %L, count(*) FROM infra_monitor.%I', relname, relname), ' UNION ALL ')
FROM pg_class WHERE relnamespace = 'infra_monitor'::regnamespace AND NOT relispartition
SQL

	$counts .= " AND relkind IN ($kinds)";
	return map { split /\|/ } split /\n/,
	  $node->safe_psql('postgres', $node->safe_psql('postgres', $counts));
}

# Private memory of the sampler, kB; undef where that cannot be known.
sub sampler_memory
{
	my $pid = status_of($node, 'pid');

	return undef unless -r "/proc/$pid/status";
	my ($size) = slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+) kB/m;
	return $size;
}

# Waits until the sampler has done its work so many more times.
sub wait_for_ticks
{
	my ($n, $name) = @_;
	my $ticks = status_of($node, 'ticks') + $n;

	wait_for($node,
		"SELECT ticks >= $ticks FROM infra_monitor.sampler_status", $name);
	return;
}

my $shared_memory = status_of($node, 'shared_memory');

#
# Every second role, and each database, with a limit of connections.  Databases
# are rows only: without files nobody can connect to them, and no one is
# allowed to.
#
$node->safe_psql('postgres', <<SQL);
DO \$\$ BEGIN
	FOR n IN 1 .. $roles LOOP
		EXECUTE format('CREATE ROLE regress_%s LOGIN CONNECTION LIMIT %s', n, CASE n % 2 WHEN 0 THEN 8 ELSE -1 END);
	END LOOP;
END \$\$;
INSERT INTO pg_database
SELECT (jsonb_populate_record(d, jsonb_build_object('oid', 1000000 + n, 'datname', 'regress_' || n,
	'datistemplate', false, 'datallowconn', false, 'datconnlimit', n))).*
FROM pg_database d, generate_series(1, $databases) n WHERE d.datname = 'template0';
ALTER DATABASE postgres CONNECTION LIMIT 800;
ALTER DATABASE postgres SET statement_timeout = '10s';
SQL
is( $node->safe_psql('postgres',
		"SELECT (SELECT count(*) FROM pg_roles WHERE rolname LIKE 'regress_%'), (SELECT count(*) FROM pg_database WHERE datname LIKE 'regress_%')"
	),
	"$roles|$databases",
	'there are many roles and databases');

my @sessions = map { open_session($node, user => "regress_$_") }
  1, 2, 2, 4, 9999, 10_000, 10_000, 10_000;

#
# The answers
#
my ($results, $said) = read_everything($node, 'postgres');
is_deeply(
	{ map { $_ => $results->{$_} } grep { $results->{$_}[0] ne '00000' } keys %$results },
	{},
	'everything can be read within ten seconds each');
ok(exists $results->{$_}, "$_ was")
  foreach qw(pool_pressure pool_usage dashboard() health() evaluate_health() pool_history());

is( $node->safe_psql('postgres', <<'SQL'),
SELECT usename, connections, role_limit, database_limit, limit_ratio FROM infra_monitor.pool_usage
WHERE role_limit IS NOT NULL ORDER BY connections DESC, usename
SQL
	join("\n",
		'regress_10000|3|8|800|0.375',
		'regress_2|2|8|800|0.25',
		'regress_4|1|8|800|0.125'),
	'pool_usage finds the limits of those who are connected');

#
# Nothing grows with the number of roles and databases, or from tick to tick
#
my %rows = rows_by_relation(q{'r', 'p', 'v'});
is_deeply(
	{ map { $_ => $rows{$_} } grep { $rows{$_} >= $databases / 2 } keys %rows },
	{},
	'nothing has a row for each role or database');
ok(exists $rows{pool_usage} && exists $rows{samples}, 'and all were asked');

wait_for_partitions($node);
wait_for_ticks(10, 'the sampler works, and has read what it keeps');
my %start = rows_by_relation(q{'r', 'p'});
my $start = status_of($node, 'ticks');
my $missed = status_of($node, 'missed');
my $memory = sampler_memory();

wait_for_ticks(20, 'it does so twenty times more');
my $more_memory = sampler_memory();
my %end = rows_by_relation(q{'r', 'p'});
my $ticks = status_of($node, 'ticks') - $start;

# a tick may end between two of our queries
my $samples = delete($end{samples}) - $start{samples};
ok(abs($samples - $ticks) <= 2, 'one sample each tick')
  or diag "$samples samples, $ticks ticks";

# as many statements at most as infra_monitor.top_statements
is_deeply(
	{ map { $_ => $end{$_} - $start{$_} }
		  grep { $end{$_} - $start{$_} > 100 * $ticks } keys %end },
	{},
	'no table grows by more than a hundred rows each tick');

SKIP:
{
	skip 'memory of a process is not known here', 1 unless defined $memory;
	cmp_ok($more_memory - $memory, '<=', 256,
		'the memory of the sampler stays as it was, kB');
	note "private memory of the sampler: $memory kB, then $more_memory kB";
}
is(status_of($node, 'shared_memory'),
	$shared_memory, 'shared memory stays as it was');
is(status_of($node, 'last_error'), '', 'the sampler had no errors');
# (a machine that is busy with something else may keep it from some)
cmp_ok(status_of($node, 'missed') - $missed, '<=', 4, 'and missed no samples');

close_sessions(@sessions);
$node->stop;

done_testing();
