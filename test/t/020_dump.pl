# The extension is dumped, restored, dropped and copied with its database:
# overrides go along, history stays behind, nothing is left over.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Partitions are counted
not_across_midnight(300);

my $node = new_server('dump');
my $directory = PostgreSQL::Test::Utils::tempdir_short;
my @history = qw(samples epochs wait_samples statement_samples statement_texts slow_query_samples setting_samples health_events);
my $no_history = join "\n", map { "$_|0" } @history;
$node->start;

# Everything that a database holds, by name.  OIDs, and names with OIDs in them,
# are left out.
sub contents
{
	my ($database) = @_;

	return split /\n/, $node->safe_psql($database, <<'SQL');
SELECT t.type || ' ' || t.identity
FROM pg_depend d, LATERAL pg_identify_object(d.classid, d.objid, d.objsubid) t
WHERE t.identity !~ 'pg_toast|pg_temp'
UNION ALL SELECT 'class ' || oid::regclass::text FROM pg_class WHERE relnamespace <> 'pg_toast'::regnamespace
UNION ALL SELECT 'function ' || oid::regprocedure::text FROM pg_proc
UNION ALL SELECT 'type ' || oid::regtype::text FROM pg_type WHERE typnamespace <> 'pg_toast'::regnamespace
UNION ALL SELECT 'schema ' || nspname FROM pg_namespace
UNION ALL SELECT 'extension ' || extname FROM pg_extension
UNION ALL SELECT 'trigger ' || tgname FROM pg_trigger
UNION ALL SELECT 'constraint ' || conname FROM pg_constraint
UNION ALL SELECT 'acl ' || privtype::text FROM pg_init_privs
UNION ALL SELECT 'number of ' || name || ' ' || n FROM (
	SELECT 'toast tables', count(*) FROM pg_class WHERE relnamespace = 'pg_toast'::regnamespace
	UNION ALL SELECT 'columns', count(*) FROM pg_attribute
	UNION ALL SELECT 'dependencies', count(*) FROM pg_depend
	UNION ALL SELECT 'shared dependencies', count(*) FROM pg_shdepend
		WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
	UNION ALL SELECT 'comments', count(*) FROM pg_description
	UNION ALL SELECT 'partitions', count(*) FROM pg_inherits
	UNION ALL SELECT 'indexes', count(*) FROM pg_index
	UNION ALL SELECT 'rules', count(*) FROM pg_rewrite
	UNION ALL SELECT 'defaults', count(*) FROM pg_attrdef) c (name, n)
ORDER BY 1
SQL
}

# A database holds what another one held before.
sub holds_only
{
	my ($database, $before, $name) = @_;
	my (%count, %changes);

	$count{$_}-- for @$before;
	$count{$_}++ for contents($database);
	$count{$_} && ($changes{$_} = $count{$_}) for keys %count;
	return is_deeply(\%changes, {}, $name);
}

# Both partitions are there: the sampler has done all its work.
sub wait_for_sample_partitions
{
	my ($server, $name) = @_;

	return wait_for($server,
		"SELECT count(*) = 2 FROM pg_inherits WHERE inhparent = to_regclass('infra_monitor.samples')",
		$name);
}

# How many rows each table of history has.
sub history_rows
{
	my ($database) = @_;

	return $node->safe_psql($database, join ' UNION ALL ',
		map { "SELECT '$_', count(*) FROM infra_monitor.$_" } @history);
}

#
# dropped without a trace, created again without a restart
#
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION pg_stat_statements;
CREATE TABLE users_own AS SELECT 'kept' AS t;
CREATE ROLE auditor;
SQL
my $before = [ contents('postgres') ];
foreach my $round (1 .. 2)
{
	$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor');
	wait_for_sample($node, "it samples, round $round");
	wait_for_sample_partitions($node, 'into its partitions');
	$node->safe_psql('postgres', <<'SQL');
INSERT INTO infra_monitor.health_threshold_overrides (check_name, warning) VALUES ('lock_waits', 42);
GRANT SELECT ON infra_monitor.pool_pressure TO auditor;
DROP EXTENSION infra_monitor;
SQL
	holds_only('postgres', $before, 'nothing is left of it');
}
is(log_count($node, 'WARNING|ERROR|FATAL'), 0, 'nobody complains');

#
# dumped and restored
#
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION infra_monitor;
INSERT INTO infra_monitor.health_threshold_overrides VALUES
	('lock_waits', 41, NULL, NULL, 7, true), ('replication_lag', NULL, 'Infinity', false, NULL, NULL);
UPDATE infra_monitor.health_threshold_overrides SET warning = 42 WHERE check_name = 'lock_waits';
INSERT INTO infra_monitor.health_weight_overrides VALUES ('pool', 99.5), ('queries', 0);
INSERT INTO infra_monitor.health_scope_overrides VALUES ('lock_waits', 'shop', 'batch', 1, 2), ('role_limit', '', 'web', NULL, 'Infinity');
GRANT USAGE ON SCHEMA infra_monitor TO auditor;
GRANT EXECUTE ON FUNCTION infra_monitor.take_sample() TO auditor;
SQL
wait_for_sample($node, 'there is history that could be dumped');
wait_for_sample_partitions($node, 'and partitions');
$node->safe_psql('postgres', "INSERT INTO infra_monitor.health_threshold_overrides (check_name, critical) VALUES ('long_transactions', -1)");
wait_for($node, 'SELECT count(*) > 0 FROM infra_monitor.health_events', 'and events');
$node->safe_psql('postgres', "DELETE FROM infra_monitor.health_threshold_overrides WHERE check_name = 'long_transactions'");

my $overrides = <<'SQL';
SELECT * FROM (SELECT check_name, warning, critical, enabled, hold, essential FROM infra_monitor.health_thresholds
WHERE source = 'override'
UNION ALL SELECT category, weight, NULL, NULL, NULL, NULL FROM infra_monitor.health_weights WHERE source = 'override'
UNION ALL SELECT concat_ws(' of ', check_name, usename, datname), warning, critical, NULL, NULL, NULL FROM infra_monitor.health_scope_overrides) o
ORDER BY check_name COLLATE "C"
SQL
my $expected = <<'TEXT';
lock_waits|42|120|t|7|t
lock_waits of batch of shop|1|2|||
pool|99.5||||
queries|0||||
replication_lag|30|Infinity|f|2|f
role_limit of web of ||Infinity|||
TEXT
chomp $expected;
is($node->safe_psql('postgres', $overrides), $expected, 'overrides');

# What a restored database must be like.
sub check_restored
{
	my ($server, $database) = @_;
	my ($results) = read_everything($server, $database);

	is_deeply(
		[ grep { $results->{$_}[0] ne '00000' } sort keys %$results ],
		[], 'everything answers there');
	is($server->safe_psql($database, $overrides),
		$expected, 'with the same overrides');
	is( $server->safe_psql(
			$database,
			"SELECT has_function_privilege('auditor', 'infra_monitor.take_sample()', 'EXECUTE'),"
			  . " has_function_privilege('public', 'infra_monitor.take_sample()', 'EXECUTE')"),
		't|f',
		'with the same grants');
	is($server->safe_psql($database, 'SELECT t FROM users_own'),
		'kept', "with the user's own tables");
	return;
}

$node->command_ok(
	[ 'pg_dump', '-f', "$directory/plain.sql", '-d', $node->connstr('postgres') ],
	'pg_dump, plain');
my $dump = slurp_file("$directory/plain.sql");
like($dump, qr/^CREATE EXTENSION .*infra_monitor/m, 'dumps the extension');
like($dump, qr/^COPY infra_monitor\.health_threshold_overrides.*\n(?:replication_lag\t.*\n)?lock_waits\t42/m,
	'and the overrides');
like($dump, qr/^COPY infra_monitor\.health_weight_overrides.*\n(?:queries\t0\n)?pool\t99\.5/m, 'and the weights');
unlike($dump, qr/samples_\d|COPY infra_monitor\.(?:\w*samples|epochs|statement_texts|health_events|health_state)|CREATE TABLE infra_monitor/,
	'but no history, no state, and no table of these');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok(
	[ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-f', "$directory/plain.sql",
		'-d', $node->connstr('restored') ],
	'restored into another database');
check_restored($node, 'restored');
is(history_rows('restored'), $no_history, 'without history');
is($node->safe_psql('restored', 'SELECT count(*) FROM infra_monitor.health_state'),
	0, 'and without the states of another database');

$node->command_ok(
	[ 'pg_dump', '-Fc', '-f', "$directory/custom.dump", '-d', $node->connstr('postgres') ],
	'pg_dump -Fc');
my $other = new_server('restored');
$other->start;
$other->safe_psql('postgres', 'CREATE ROLE auditor');
$other->command_ok(
	[ 'pg_restore', '--exit-on-error', '-d', $other->connstr('postgres'), "$directory/custom.dump" ],
	'restored into another server');
check_restored($other, 'postgres');
wait_for_sample($other, 'it samples there');
wait_for($other,
	"SELECT count(*) = 0 FROM infra_monitor.health_checks WHERE name = 'replication_lag'",
	'its overrides are followed there');
is( $other->safe_psql(
		'postgres',
		'SELECT rolname FROM pg_roles r JOIN pg_class c ON c.relowner = r.oid WHERE c.oid = \'infra_monitor.samples\'::regclass'
	),
	$other->safe_psql('postgres', 'SELECT current_user'),
	'and the history belongs to the superuser who restored it');
$other->stop;

# part of a database
$node->command_ok(
	[ 'pg_dump', '--data-only', '-f', "$directory/data.sql", '-d', $node->connstr('postgres') ],
	'pg_dump --data-only');
$dump = slurp_file("$directory/data.sql");
like($dump, qr/^lock_waits\t42/m, 'dumps the overrides');
like($dump, qr/^pool\t99\.5/m, 'and the weights');
unlike($dump, qr/COPY infra_monitor\.(?:\w*samples|epochs|statement_texts|health_events|health_state)/, 'and no history');

#
# U2: by several processes, and in parts
#
sub new_database
{
	my ($database) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE template0");
	return $node->connstr($database);
}

$node->command_ok([ 'pg_dump', '-Fd', '-j4', '-f', "$directory/parallel", '-d', $node->connstr('postgres') ], 'U2: pg_dump -Fd -j4');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-j4', '-d', new_database('parallel'), "$directory/parallel" ], 'U2: pg_restore -j4');
check_restored($node, 'parallel');
is(history_rows('parallel'), $no_history, 'U2: without history');

$node->command_ok([ 'pg_dump', '--schema-only', '-f', "$directory/schema.sql", '-d', $node->connstr('postgres') ], 'U2: pg_dump --schema-only');
unlike(slurp_file("$directory/schema.sql"), qr/COPY |lock_waits|CREATE TABLE infra_monitor/, 'U2: has nothing of what is in our tables');
$node->command_ok([ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-f', "$directory/schema.sql", '-d', new_database('schema_only') ], 'U2: restored');
is($node->safe_psql('schema_only', $overrides), '', 'U2: without overrides');
is($node->safe_psql('schema_only', 'SELECT count(*) > 0 FROM infra_monitor.health_thresholds'), 't', 'U2: but with the defaults');

my $sections = new_database('sections');
foreach my $section (qw(pre-data data post-data))
{
	$node->command_ok([ 'pg_dump', "--section=$section", '-f', "$directory/$section.sql", '-d', $node->connstr('postgres') ], "U2: pg_dump --section=$section");
	$node->command_ok([ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-f', "$directory/$section.sql", '-d', $sections ], 'U2: restored');
}
check_restored($node, 'sections');
is(history_rows('sections'), $no_history, 'U2: without history');

# What is there twice would have two rows, or its key would have refused it.
$node->command_fails_like(
	[ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '--single-transaction', '-f', "$directory/data.sql", '-d', $node->connstr('sections') ],
	qr/duplicate key value violates unique constraint/, 'U2: restored twice is refused');
is($node->safe_psql('sections', $overrides), $expected, 'U2: and changes nothing');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_class WHERE relnamespace = 'infra_monitor'::regnamespace AND relkind = 'S'}),
	0, 'U2: there are no sequences that could be wrong');
$node->safe_psql('postgres', "DROP DATABASE $_") foreach qw(parallel schema_only sections);

#
# copied
#
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE postgres');
check_restored($node, 'copy');
cmp_ok($node->safe_psql('copy', 'SELECT count(*) FROM infra_monitor.samples'),
	'>', 0, 'history is copied');
my ($status, $out, $said) =
  $node->psql('copy', 'SELECT infra_monitor.take_sample()');
like(
	$said,
	qr/ERROR:  samples are stored in database "postgres" only/,
	'but not continued');
is( $node->safe_psql('copy', <<'SQL'),
SELECT count(*) > 0, count(*) FILTER (WHERE NOT EXISTS (SELECT FROM pg_depend d
	WHERE d.classid = 'pg_class'::regclass AND d.objid = ('infra_monitor.' || p.name)::regclass AND d.deptype = 'e'))
FROM infra_monitor.history_partitions() p
SQL
	't|0', 'its partitions belong to the extension there, too');
my $copied = history_rows('copy');
isnt($copied, $no_history, 'it has rows');
wait_for_sample($node, 'the home database goes on');
is(history_rows('copy'), $copied, 'of which there are no more');
is( $node->safe_psql('postgres', 'SELECT count(*) - count(DISTINCT sampled_at) FROM infra_monitor.samples'),
	0, 'and none twice at home');
$node->safe_psql('copy', 'DROP EXTENSION infra_monitor');
holds_only('copy', $before, 'and it is dropped there without a trace');
wait_for_sample($node, 'while the home database goes on');

$node->stop;
done_testing();
