# pg_stat_statements comes in several versions, in any schema, before or after
# us or not at all, and is updated and dropped while we are in use.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('versions');
$node->start;

# Everything can be read in this database.
sub check_all
{
	my ($server, $database, $name) = @_;
	my ($results) = read_everything($server, $database);

	return is_deeply(
		{ map { $results->{$_}[0] ne '00000' ? ($_ => $results->{$_}[1]) : () } keys %$results },
		{}, $name);
}

# The rows and numbers of pg_stat_statements, whatever its version.
my $differences = <<'SQL';
SELECT count(*) FILTER (WHERE s.queryid IS NULL
	OR (s.calls, s.max_exec_time, s.rows, s.shared_blks_hit, s.shared_blks_read, s.temp_blks_written, s.wal_bytes)
	IS DISTINCT FROM (p.calls, p.max_exec_time, p.rows, p.shared_blks_hit, p.shared_blks_read, p.temp_blks_written, p.wal_bytes))
FROM pg_stat_statements p LEFT JOIN infra_monitor.slow_queries s USING (userid, dbid, queryid)
SQL

#
# versions
#
my $newest = $node->safe_psql('postgres',
	"SELECT default_version FROM pg_available_extensions WHERE name = 'pg_stat_statements'");
foreach my $version (qw(1.7 1.8 1.9))
{
	(my $database = "v$version") =~ tr/./_/;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database,
		"CREATE EXTENSION pg_stat_statements VERSION '$version'; CREATE EXTENSION infra_monitor;");

	# two sessions that have it in their caches and plans
	my @sessions = map { open_session($node, database => $database) } 1 .. 2;
	foreach my $session (@sessions)
	{
		ask($session, 'PREPARE q AS SELECT count(*) > 0 FROM infra_monitor.slow_queries');
		ask($session, 'PREPARE d AS SELECT count(*) > 5 FROM infra_monitor.dashboard()');

		# more often than a custom plan is made
		for my $i (1 .. 7)
		{
			last if $version eq '1.7';
			ask($session, 'EXECUTE q');
			ask($session, 'EXECUTE d');
		}
	}

	if ($version eq '1.7')
	{
		my ($status, $out, $said) =
		  $node->psql($database, 'SELECT count(*) FROM infra_monitor.slow_queries');
		like(
			$said,
			qr/ERROR:  pg_stat_statements has no column "total_exec_time"\nHINT:  Run ALTER EXTENSION pg_stat_statements UPDATE\./,
			'version 1.7 is too old, and we say what to do');
		is($node->safe_psql($database, 'SELECT count(*) FROM infra_monitor.pool_pressure'),
			1, 'which does not concern the pool');
	}
	else
	{
		check_all($node, $database, "version $version: everything can be read");
		is(ask($sessions[0], $differences), 0,
			'all statements are there with their numbers');
		is( ask($sessions[0],
				'SELECT bool_and(toplevel), count(stats_since) = count(*) FROM infra_monitor.slow_queries'),
			't|t',
			'what the version does not know we do');
	}

	# a function that the version does not have, by whoever may create some
	if ($version eq '1.8')
	{
		ask($sessions[0], <<'SQL');
CREATE FUNCTION pg_stat_statements_info(OUT dealloc bigint, OUT stats_reset timestamptz)
LANGUAGE plpgsql AS $$ BEGIN RAISE 'somebody else''s function was called'; END $$
SQL
		is( ask($sessions[0],
				'SELECT infra_monitor.pg_stat_statements_evictions() IS NULL, count(*) > 0 FROM infra_monitor.slow_queries'),
			't|t',
			'what is not of the extension is not called');
		ask($sessions[0], 'DROP FUNCTION pg_stat_statements_info()');
	}

	# updated under way, by one of them
	ask($sessions[0], 'ALTER EXTENSION pg_stat_statements UPDATE');
	is( ask($sessions[0], "SELECT extversion FROM pg_extension WHERE extname = 'pg_stat_statements'"),
		$newest, 'the update is not hindered');
	foreach my $session (@sessions)
	{
		is(ask($session, 'EXECUTE q'), 't', 'an old plan still answers');
		is(ask($session, 'EXECUTE d'), 't', 'so does one with functions');
		is(ask($session, $differences), 0, 'with the same numbers');
	}
	check_all($node, $database, 'everything can be read afterwards');
	close_sessions(@sessions);
}

#
# schemas
#
$node->safe_psql('postgres', 'CREATE DATABASE schemas');
my $session = open_session($node, database => 'schemas');
ask($session, 'CREATE SCHEMA "My ""Stats"""');
ask($session, 'CREATE EXTENSION pg_stat_statements SCHEMA "My ""Stats"""');
ask($session, 'CREATE EXTENSION infra_monitor');
check_all($node, 'schemas', 'pg_stat_statements in a schema with an awkward name');
ask($session, 'PREPARE q AS SELECT count(*) > 0 FROM infra_monitor.slow_queries');
is(ask($session, 'EXECUTE q'), 't', 'it is found there');
ask($session, 'ALTER EXTENSION pg_stat_statements SET SCHEMA public');
is(ask($session, 'EXECUTE q'), 't', 'and where it is moved to');
ask($session, q(CREATE SCHEMA "x"".y; DROP SCHEMA public; --'"));
ask($session, q(ALTER EXTENSION pg_stat_statements SET SCHEMA "x"".y; DROP SCHEMA public; --'"));
is(ask($session, 'EXECUTE q'), 't', 'whatever that is called');
close_sessions($session);

#
# dropped
#
$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
wait_for_sample($node, 'it samples');
my ($status, $out, $said) = $node->psql('postgres', 'DROP EXTENSION pg_stat_statements');
like($said, qr/extension infra_monitor depends on extension pg_stat_statements/,
	'we depend on the extension');
my $offset = log_end($node);
my $pid = status_of($node, 'pid');
$node->safe_psql('postgres', 'DROP EXTENSION pg_stat_statements CASCADE');
wait_for($node,
	"SELECT state = 'waiting for extension' AND pid = $pid FROM infra_monitor.sampler_status",
	'dropped with it, the sampler idles', 't', 'schemas');
is( $node->safe_psql('postgres', "SELECT count(*) FROM pg_namespace WHERE nspname = 'infra_monitor'"),
	0, 'nothing is left');
$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
wait_for_sample($node, 'created again, it samples');
is(status_of($node, 'pid'), $pid, 'in the same process');
is(log_count($node, '(WARNING|ERROR|FATAL|PANIC): ', $offset), 0, 'without an error');
$node->stop;

#
# not preloaded, but mentioned in the configuration
#
my $absent = new_server('absent', conf => <<'CONF');
shared_preload_libraries = 'infra_monitor'
pg_stat_statements.max = 1000
CONF
$absent->start;
$absent->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
is($absent->safe_psql('postgres', 'SHOW pg_stat_statements.max'), '1000', 'a placeholder');
is($absent->safe_psql('postgres', 'SELECT infra_monitor.pg_stat_statements_loaded()'),
	'f', 'is not taken for the library');
my $without = 'SELECT sum(calls) > 0, count(rows), count(query) FROM infra_monitor.slow_queries';
is($absent->safe_psql('postgres', $without), 't|0|0', 'slow_queries does without');
is($absent->safe_psql('postgres', "LOAD 'pg_stat_statements'; $without"), 't|0|0', 'loading it into a session is no help');
($status, $out, $said) = $absent->psql('postgres', 'SELECT infra_monitor.statement_stats(true)');
like(
	$said,
	qr/ERROR:  pg_stat_statements must be loaded via "shared_preload_libraries"\nHINT:  Add pg_stat_statements/,
	'statement_stats() says what is missing');
wait_for($absent,
	"SELECT status = 'warning' AND value = 0 FROM infra_monitor.health_checks WHERE name = 'pg_stat_statements_loaded'",
	'a check warns');
wait_for($absent, "SELECT infra_monitor.health_status() = 'degraded'", 'health is degraded');
like(
	$absent->safe_psql('postgres', 'SELECT * FROM infra_monitor.dashboard()'),
	qr/^statements are not counted: pg_stat_statements is not loaded$/m,
	'the dashboard says so');
wait_for_sample($absent, 'samples are taken all the same');
$absent->stop;

#
# either order of loading
#
my %rows;
foreach my $order ('pg_stat_statements,infra_monitor', 'infra_monitor,pg_stat_statements')
{
	my $ordered = new_server(
		$order =~ /^infra/ ? 'first' : 'second',
		conf => "shared_preload_libraries = '$order'\npg_stat_statements.track = all\ninfra_monitor.track = all\n");
	$ordered->start;
	$ordered->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
	wait_for_sample($ordered, "$order: it samples");
	$ordered->safe_psql('postgres', <<'SQL');
SELECT pg_stat_statements_reset(), infra_monitor.reset('statements');
CREATE TABLE t (i int);
INSERT INTO t SELECT generate_series(1, 1000);
SELECT count(*) FROM t WHERE i > 10;
DO $$ BEGIN PERFORM count(*) FROM t; END $$;
PREPARE p AS SELECT 1;
EXECUTE p;
BEGIN;
ROLLBACK;
DROP TABLE t;
SQL
	# since 19 who only reads may mark pages, and log that
	$rows{$order} = $ordered->safe_psql('postgres', <<'SQL');
SELECT calls, rows, toplevel, shared_blks_hit > 0, wal_bytes > 0 AND query !~ '^SELECT', query
FROM infra_monitor.slow_queries
WHERE query ~ '^(SELECT (count|1)|INSERT|CREATE TABLE|DROP|DO|PREPARE|BEGIN|ROLLBACK)' ORDER BY query, toplevel
SQL
	is( $ordered->safe_psql(
			'postgres',
			'SET pg_stat_statements.track = top; SET infra_monitor.track = top;'
			  . $differences =~ s/USING \(userid, dbid, queryid\)/USING (userid, dbid, queryid, toplevel)/r),
		0, 'all statements are there with their numbers');
	check_all($ordered, 'postgres', 'everything can be read');
	$ordered->stop;
}
my ($one, $two) = values %rows;
is($one, $two, 'both orders count the same');
cmp_ok(scalar(split /\n/, $one), '>=', 7, 'all of it');

done_testing();
