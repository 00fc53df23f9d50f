# The document of health() is what share/health.schema.json says, whatever state
# the server is in; and what is not, is refused by it.

use strict;
use warnings;

use File::Basename qw(dirname);
use InfraMonitor;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $python = '/usr/bin/python3';
my $schema = dirname(__FILE__) . '/../../share/health.schema.json';

plan skip_all => 'needs python3-jsonschema'
  if !-x $python || system("$python -W ignore -c 'import jsonschema' 2>/dev/null") != 0;

my $directory = PostgreSQL::Test::Utils::tempdir;
my $validator = "$directory/validate.py";
append_to_file($validator, <<'PYTHON');
import json, sys
import jsonschema

with open(sys.argv[1]) as file:
    schema = json.load(file)
jsonschema.Draft7Validator.check_schema(schema)
document = json.load(sys.stdin)
validator = jsonschema.Draft7Validator(schema, format_checker=jsonschema.FormatChecker())
for error in validator.iter_errors(document):
    print(error.message[:500])
    for inner in error.context or []:
        print("  ", "/".join(map(str, inner.absolute_path)), inner.message[:500])
PYTHON

# What the schema has against a document.
sub complaints
{
	my ($document) = @_;
	my $out;

	ok(IPC::Run::run([ $python, '-W', 'ignore', $validator, $schema ], '<', \$document, '>', \$out),
		'it is JSON, and the schema is one');
	return $out;
}

sub is_valid
{
	my ($document, $name) = @_;

	return is(complaints($document), '', $name);
}

my $node = new_server('schema', conf => "max_connections = 20\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
# the disk is that of others, too
$node->safe_psql('postgres', "INSERT INTO infra_monitor.health_threshold_overrides (check_name, enabled) VALUES ('disk_free', false), ('disk_time_to_full', false)");
wait_for_sample($node, 'it samples');
wait_for($node, "SELECT infra_monitor.health_status() = 'healthy'", 'and is healthy');

my $health = 'SELECT infra_monitor.health()';
my $document = $node->safe_psql('postgres', $health);
is_valid($document, 'healthy');
is_valid($node->safe_psql('postgres', 'SELECT infra_monitor.health(false)'), 'health(false)');
is_valid($node->safe_psql('postgres', "SELECT infra_monitor.evaluate_health() || '{\"uptime\": 1, \"age_ms\": 0}'"),
	'evaluated by a session');

# the installed one is the same
is(slurp_file(pg_config('sharedir') . '/infra_monitor/health.schema.json'), slurp_file($schema), 'the schema is installed');

# what must not be valid
my $wrong = decode_json($document);
foreach my $change (
	[ 'a status of another kind' => sub { $_[0]{status} = 'ok' } ],
	[ 'no checks' => sub { delete $_[0]{checks}; $_[0]{status} = 'none' } ],
	[ 'a check without its status' => sub { delete $_[0]{checks}[0]{status} } ],
	[ 'a check of an unknown status' => sub { $_[0]{checks}[0]{status} = 'healthy' } ],
	[ 'an uptime that is text' => sub { $_[0]{uptime} = 'long' } ],
	[ 'a pool without used' => sub { delete $_[0]{services}{database}{pool}{used} } ],
	[ 'a score beyond 10' => sub { $_[0]{score} = 10.1 } ])
{
	my ($name, $edit) = @$change;
	my $copy = decode_json($document);

	$edit->($copy);
	isnt(complaints(encode_json($copy)), '', "refused: $name");
}
$wrong->{another} = { key => 1 };
is_valid(encode_json($wrong), 'keys may be added');

# degraded: a warning, infinite thresholds, a check that fails, one that is off
$node->safe_psql('postgres', <<'SQL');
INSERT INTO infra_monitor.health_threshold_overrides (check_name, warning, critical, enabled) VALUES
	('long_transactions', -1, 'Infinity', true), ('replication_lag', NULL, NULL, false);
CREATE OR REPLACE FUNCTION infra_monitor.check_xid_wraparound(OUT value float8, OUT unit text, OUT message text)
LANGUAGE sql AS 'SELECT 1.0 / (random() - random() < -2)::int, null, null';
CREATE OR REPLACE FUNCTION infra_monitor.check_wal_archiving(OUT value float8, OUT unit text, OUT message text)
LANGUAGE sql AS $$ SELECT '-Infinity'::float8, null::text, null::text $$;
SQL
wait_for($node, <<'SQL', 'degraded, with an unknown check and one without a message');
SELECT count(*) = 3 AND infra_monitor.health_status() = 'degraded' FROM infra_monitor.health_checks
WHERE (name, status) IN (('long_transactions', 'warning'), ('xid_wraparound', 'unknown'), ('wal_archiving', 'ok'))
	AND (message IS NULL) = (name = 'wal_archiving')
SQL
is_valid($node->safe_psql('postgres', $health), 'degraded');

# unhealthy
$node->safe_psql('postgres', "INSERT INTO infra_monitor.health_threshold_overrides (check_name, critical) VALUES ('connections_used', -1)");
wait_for($node, "SELECT infra_monitor.health_status() = 'unhealthy'", 'unhealthy');
is_valid($node->safe_psql('postgres', $health), 'unhealthy');

# all checks turned off
$node->safe_psql('postgres', <<'SQL');
DELETE FROM infra_monitor.health_threshold_overrides;
INSERT INTO infra_monitor.health_threshold_overrides (check_name, enabled) SELECT check_name, false FROM infra_monitor.check_defaults();
SQL
wait_for($node, "SELECT infra_monitor.health()->'checks' = '[]'", 'no checks');
is_valid($node->safe_psql('postgres', $health), 'no checks');
$node->safe_psql('postgres', 'DELETE FROM infra_monitor.health_threshold_overrides');
wait_for($node, "SELECT infra_monitor.health()->'checks' <> '[]'", 'checks again');

# stale
$node->safe_psql('postgres', 'ALTER SYSTEM SET infra_monitor.enabled = off');
$node->reload;
wait_for($node, "SELECT (h->>'age_ms')::float8 > 2000 AND h->>'status' <> 'healthy' FROM infra_monitor.health() h", 'stale');
is_valid($node->safe_psql('postgres', $health), 'stale');
is_valid($node->safe_psql('postgres', 'SELECT infra_monitor.health(false)'), 'stale: health(false)');

# not preloaded
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
is_valid($node->safe_psql('postgres', $health), 'not preloaded');

$node->stop;
done_testing();
