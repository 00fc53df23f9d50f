# pg_upgrade, with the library preloaded by the old server and the new one:
# history, overrides and privileges are kept, nobody writes meanwhile, and
# afterwards everything works on.
#
# To the same version, unless IMON_NEW_BINDIR names the programs of a later one
# in which the library is installed as well.

use strict;
use warnings;

use Cwd qw(abs_path getcwd);
use File::Basename qw(dirname);
use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Days are counted from today
not_across_midnight(400);

my $old_bindir = pg_config('bindir');
my $new_bindir = $ENV{IMON_NEW_BINDIR} || $old_bindir;
my ($old_major, $new_major) =
  map { pg_config('version', $_) =~ /^PostgreSQL (\d+)/ } $old_bindir,
  $new_bindir;
note "from $old_major to $new_major";

# A server with its programs in that directory.  Checksums are on by default
# since 18, and must not change.
sub server
{
	my ($name, $bindir, $major) = @_;
	my @init =
	  $major >= 18 && $old_major < 18 ? (extra => ['--no-data-checksums']) : ();

	return new_server(
		$name,
		cluster => { install_path => dirname($bindir) },
		init => \@init,
		conf => "infra_monitor.retention = 3650d\nautovacuum = off\n");
}

# pg_upgrade leaves files where it is called.
my $log_directory = PostgreSQL::Test::Utils::tempdir('upgrade');
my $here = getcwd();

sub upgrade
{
	my ($old, $new, $name, @options) = @_;
	my ($old_data, $new_data) = map { abs_path($_->data_dir) } $old, $new;

	chdir $log_directory or die $!;
	command_ok(
		[
			"$new_bindir/pg_upgrade", '--no-sync', '--retain',
			'-d', $old_data, '-D', $new_data,
			'-b', $old_bindir, '-B', $new_bindir,
			'-s', $new->host, '-p', $old->port, '-P', $new->port, @options
		],
		$name);
	chdir $here or die $!;
	return;
}

# What an upgrade has to keep, by name; OIDs may change.
my %kept = (
	'rows of samples' => 'SELECT s::text FROM infra_monitor.samples s ORDER BY sampled_at',
	'rows of partitions' =>
	  'SELECT tableoid::regclass::text AS name, count(*) FROM infra_monitor.samples GROUP BY 1 ORDER BY name',
	'weights' => 'SELECT o::text FROM infra_monitor.health_weight_overrides o ORDER BY category',
	'overrides of scopes' => 'SELECT o::text FROM infra_monitor.health_scope_overrides o ORDER BY 1',
	'health events' => 'SELECT e::text FROM infra_monitor.health_events e ORDER BY at, check_name',
	'states of checks' => 'SELECT s::text FROM infra_monitor.health_state s ORDER BY check_name',
	'overrides' => 'SELECT o::text FROM infra_monitor.health_threshold_overrides o ORDER BY check_name',
	'partitions and their bounds' => <<'SQL',
SELECT inhrelid::regclass::text AS name, pg_get_expr(relpartbound, inhrelid), inhdetachpending
FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
WHERE inhparent = 'infra_monitor.samples'::regclass ORDER BY name
SQL
	'partitions of the index' => <<'SQL',
SELECT inhrelid::regclass::text AS name, pg_get_indexdef(inhrelid), indisvalid
FROM pg_inherits JOIN pg_index ON indexrelid = inhrelid
WHERE inhparent = 'infra_monitor.samples_sampled_at_idx'::regclass ORDER BY name
SQL
	'members' => <<'SQL',
SELECT i.type, i.identity FROM pg_depend d, pg_identify_object(d.classid, d.objid, d.objsubid) i
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'infra_monitor')
ORDER BY 1, 2
SQL
	'dependencies' => <<'SQL',
-- since 18 NOT NULL has a name: one that LIKE has copied may be taken when a table is restored
SELECT i.type, regexp_replace(i.identity, '_not_null1? on', '_not_null on') AS identity, d.deptype, r.type, r.identity
FROM pg_depend d, pg_identify_object(d.classid, d.objid, d.objsubid) i,
	pg_identify_object(d.refclassid, d.refobjid, d.refobjsubid) r
WHERE 'infra_monitor' IN (i.schema, r.schema, r.name) AND r.schema IS DISTINCT FROM 'pg_catalog'
	AND i.identity !~ 'pg_toast'
ORDER BY i.type COLLATE "C", regexp_replace(i.identity, '_not_null1? on', '_not_null on') COLLATE "C", d.deptype, r.type COLLATE "C", r.identity COLLATE "C"
SQL
	'privileges' => <<'SQL',
SELECT oid::regclass::text AS o, relowner::regrole, (SELECT array_agg(a::text ORDER BY a::text COLLATE "C") FROM unnest(relacl) a)
FROM pg_class WHERE relnamespace = 'infra_monitor'::regnamespace
UNION ALL
SELECT oid::regprocedure::text, proowner::regrole, (SELECT array_agg(a::text ORDER BY a::text COLLATE "C") FROM unnest(proacl) a)
FROM pg_proc WHERE pronamespace = 'infra_monitor'::regnamespace
UNION ALL
SELECT nspname::text, nspowner::regrole, (SELECT array_agg(a::text ORDER BY a::text COLLATE "C") FROM unnest(nspacl) a)
FROM pg_namespace WHERE nspname = 'infra_monitor'
ORDER BY o
SQL
	'initial privileges' => <<'SQL',
SELECT i.type, i.identity, p.privtype, (SELECT array_agg(a::text ORDER BY a::text COLLATE "C") FROM unnest(p.initprivs) a)
FROM pg_init_privs p, pg_identify_object(p.classoid, p.objoid, p.objsubid) i
WHERE i.identity ~ '^infra_monitor' ORDER BY 1, 2
SQL
	'extension' => <<'SQL',
SELECT extname, extowner::regrole, extversion, extnamespace::regnamespace, extconfig::regclass[]::text, extcondition
FROM pg_extension WHERE extname = 'infra_monitor'
SQL
	'definitions of functions' =>
	  q(SELECT oid::regprocedure::text AS name, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'infra_monitor'::regnamespace AND prokind = 'f' ORDER BY name),
	'definitions of aggregates' => <<'SQL',
SELECT aggfnoid::regprocedure::text AS name, aggtransfn, aggcombinefn, aggmtransfn, aggminvtransfn, aggtranstype::regtype
FROM pg_aggregate JOIN pg_proc p ON p.oid = aggfnoid WHERE pronamespace = 'infra_monitor'::regnamespace ORDER BY name
SQL
	'columns and types' => <<'SQL',
SELECT attrelid::regclass, attnum, attname, atttypid::regtype, attnotnull
FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
WHERE relnamespace = 'infra_monitor'::regnamespace AND attnum > 0
ORDER BY attrelid::regclass::text, attnum
SQL
	'triggers' => q(SELECT pg_get_triggerdef(oid), tgenabled FROM pg_trigger WHERE tgrelid::regclass::text ~ '^infra_monitor.health_[a-z]+_overrides$' ORDER BY tgname),
	'comments' => <<'SQL',
SELECT i.type, i.identity, d.description
FROM pg_description d, pg_identify_object(d.classoid, d.objoid, d.objsubid) i
WHERE i.identity ~ '^infra_monitor' ORDER BY 1, 2
SQL
	'what users made of it' => 'SELECT * FROM report ORDER BY 1',
	'histograms of users' => <<'SQL');
SET enable_seqscan = off;
SELECT id, h::text, infra_monitor.quantile(h, 0.5),
	(SELECT l.id FROM latencies l WHERE l.h OPERATOR(infra_monitor.=) latencies.h) AS found
FROM latencies ORDER BY id
SQL

# What depends on the version of the server, not on us.
delete @kept{ 'definitions of functions', 'dependencies' }
  if $old_major != $new_major;

sub state_of
{
	my ($node) = @_;
	my %state = map { ($_ => $node->safe_psql('postgres', $kept{$_})) }
	  keys %kept;

	return \%state;
}

#
# An old server with all that we leave in one
#
my $old = server('old', $old_bindir, $old_major);
$old->start;
$old->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
wait_for_sample($old, 'the old server samples');

# history of some days, stored like the sampler does
$old->safe_psql('postgres', <<'SQL');
DO $$
DECLARE
	today date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
	name text;
BEGIN
	FOR i IN 2..4 LOOP
		name := 'samples_' || to_char(today - i, 'YYYYMMDD');
		EXECUTE format('CREATE TABLE infra_monitor.%s (LIKE infra_monitor.samples INCLUDING DEFAULTS)', name);
		EXECUTE format('ALTER TABLE infra_monitor.samples ATTACH PARTITION infra_monitor.%s FOR VALUES FROM (%L) TO (%L)',
			name, today - i || ' 00:00:00+00', today - i + 1 || ' 00:00:00+00');
		EXECUTE format('ALTER EXTENSION infra_monitor ADD TABLE infra_monitor.%s', name);
		EXECUTE format('INSERT INTO infra_monitor.%s SELECT (jsonb_populate_record(s, jsonb_build_object(''sampled_at'', d))).*
			FROM infra_monitor.samples s, generate_series(%L::timestamptz, %L::timestamptz, ''1 minute'') d
			WHERE s.sampled_at = (SELECT min(sampled_at) FROM infra_monitor.samples WHERE sampled_at > %L)',
			name, today - i || ' 00:00:00+00', today - i || ' 23:59:00+00', today);
	END LOOP;
END $$;
INSERT INTO infra_monitor.health_threshold_overrides (check_name, warning, critical, enabled, hold, essential) VALUES
	('lock_waits', 10, 'Infinity', NULL, 3, true), ('wal_archiving', NULL, NULL, false, NULL, NULL);
INSERT INTO infra_monitor.health_weight_overrides VALUES ('pool', 12.5);
INSERT INTO infra_monitor.health_scope_overrides VALUES ('lock_waits', 'shop', '', 5, 10);
INSERT INTO infra_monitor.health_threshold_overrides (check_name, critical) VALUES ('long_transactions', -1);
CREATE ROLE regress_reader;
GRANT USAGE ON SCHEMA infra_monitor TO regress_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA infra_monitor TO regress_reader;
GRANT INSERT ON infra_monitor.health_threshold_overrides TO regress_reader;
GRANT EXECUTE ON FUNCTION infra_monitor.take_sample() TO regress_reader;
REVOKE EXECUTE ON FUNCTION infra_monitor.health_status() FROM pg_monitor;
CREATE TABLE latencies AS
SELECT id, infra_monitor.histogram((SELECT array_agg(1.5 ^ (n % (7 * id) - 20)) FROM generate_series(1, 1000) n)::float8[]) AS h
FROM generate_series(1, 10) id;
CREATE INDEX ON latencies USING hash (h);
CREATE VIEW report AS
	SELECT date_trunc('day', sampled_at, 'UTC') AS day, max(used_ratio), count(*) FROM infra_monitor.samples GROUP BY 1;
CREATE DATABASE elsewhere;
SQL
$old->safe_psql('elsewhere', <<'SQL');
CREATE EXTENSION infra_monitor CASCADE;
INSERT INTO infra_monitor.health_threshold_overrides (check_name, enabled) VALUES ('lock_waits', false);
SQL
wait_for($old,
	"SELECT count(*) >= 5 FROM pg_inherits WHERE inhparent = 'infra_monitor.samples'::regclass",
	'it has partitions for today, tomorrow and the past');

wait_for($old, "SELECT count(*) > 0 FROM infra_monitor.health_events WHERE check_name = 'long_transactions'",
	'and an event');

# a copy is what it makes unless told otherwise
my %options = (copy => [], link => ['--link']);
foreach my $mode (qw(copy link))
{
	my $new = server("new_$mode", $new_bindir, $new_major);

	# A sampler has been in the new server, too; it must leave no trace there.
	$new->start;
	wait_for($new,
		"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'infra_monitor sampler' AND datname = 'postgres')",
		"$mode: the new server has a sampler");
	$new->stop;

	my $rows = status_of($old, 'rows_stored');
	wait_for($old, "SELECT rows_stored > $rows FROM infra_monitor.sampler_status",
		"$mode: the old server samples");

	# no more samples, so that nothing changes after we have looked
	$old->safe_psql('postgres', 'ALTER SYSTEM SET infra_monitor.enabled = off');
	$old->reload;
	wait_for($old, "SELECT state = 'disabled' FROM infra_monitor.sampler_status",
		"$mode: it is disabled");
	my $before = state_of($old);
	my $stopped = $old->safe_psql('postgres', 'SELECT clock_timestamp()');
	$old->safe_psql('postgres', 'ALTER SYSTEM RESET infra_monitor.enabled');
	$old->stop;

	my $old_log = log_end($old);
	my $duration = seconds
	{
		upgrade($old, $new, "$mode: pg_upgrade --check succeeds",
			@{ $options{$mode} }, '--check');
		upgrade($old, $new, "$mode: pg_upgrade succeeds", @{ $options{$mode} });
	};
	note sprintf('%.1f s', $duration);

	# Neither server had a sampler meanwhile.
	my $said = join '',
	  map { slurp_file($_) }
	  glob($new->data_dir . '/pg_upgrade_output.d/*/log/pg_upgrade_server.log');
	like($said, qr/database system is ready/, "$mode: the servers were started");
	unlike($said, qr/infra_monitor sampler/, "$mode: without a sampler");

	# Look before the new sampler begins.
	$new->append_conf('postgresql.conf', 'infra_monitor.enabled = off');
	$new->start;
	my $after = state_of($new);
	foreach my $what (sort keys %kept)
	{
		isnt($before->{$what}, '', "$mode: there are $what");
		is($after->{$what}, $before->{$what}, "$mode: $what kept");
	}
	is( $new->safe_psql('postgres',
			"SELECT count(*) FROM infra_monitor.samples WHERE sampled_at > '$stopped'"),
		'0', "$mode: nothing was written meanwhile");
	is( $new->safe_psql('elsewhere',
			'SELECT check_name, enabled FROM infra_monitor.health_threshold_overrides'),
		'lock_waits|f',
		"$mode: overrides of the other database kept");
	is( $new->safe_psql('postgres', <<'SQL'),
SET enable_seqscan = off;
SELECT count(*) FROM infra_monitor.samples
WHERE sampled_at >= date_trunc('day', now() - interval '3 days', 'UTC') + interval '1 hour'
	AND sampled_at < date_trunc('day', now() - interval '3 days', 'UTC') + interval '2 hours'
SQL
		'60', "$mode: the index finds what it should");

	# The new sampler
	$new->append_conf('postgresql.conf', 'infra_monitor.enabled = on');
	$new->reload;
	wait_for_sample($new, "$mode: the new server samples");
	is( $new->safe_psql('postgres', <<SQL),
SELECT count(*) FROM infra_monitor.samples a JOIN infra_monitor.samples b USING (epoch)
WHERE a.sampled_at <= '$stopped' AND b.sampled_at > '$stopped'
SQL
		'0', "$mode: in a new epoch");
	is( $new->safe_psql('postgres', <<SQL),
SELECT num_nonnulls(connects, rejected, commits, rollbacks, blks_hit, blks_read, temp_bytes, deadlocks, wal_bytes)
FROM infra_monitor.samples WHERE sampled_at > '$stopped' ORDER BY sampled_at LIMIT 1
SQL
		'0', "$mode: no difference across the upgrade");
	is( $new->safe_psql('postgres',
			"SELECT status, c.since = e.since FROM infra_monitor.health_checks c JOIN infra_monitor.health_events e ON e.check_name = c.name WHERE name = 'long_transactions'"
		),
		'critical|t',
		"$mode: what was critical is, since then");
	is( $new->safe_psql('postgres',
			"SELECT warning, critical, hold FROM infra_monitor.health_thresholds WHERE check_name = 'lock_waits'"
		),
		'10|Infinity|3',
		"$mode: overrides are in force");
	my ($status, $out, $error) = $new->psql('postgres',
		"INSERT INTO infra_monitor.health_threshold_overrides (check_name) VALUES ('nonsense')"
	);
	like($error, qr/health check "nonsense" does not exist/,
		"$mode: and still checked");

	# UPDATE of both extensions, and everything works
	foreach my $database (qw(postgres elsewhere))
	{
		foreach my $extension (qw(pg_stat_statements infra_monitor))
		{
			$new->safe_psql($database, "ALTER EXTENSION $extension UPDATE");
			is( $new->safe_psql($database,
					"SELECT installed_version = default_version FROM pg_available_extensions WHERE name = '$extension'"
				),
				't',
				"$mode: $extension is updated in $database");
		}
		my ($results) = read_everything($new, $database);
		is_deeply(
			[ map { "$_ $results->{$_}[0] $results->{$_}[1]" }
				  grep { $results->{$_}[0] ne '00000' } sort keys %$results ],
			[],
			"$mode: everything in $database can be read");
	}
	wait_for_sample($new, "$mode: the new server samples after the update");
	is(status_of($new, 'last_error IS NULL'), 't', "$mode: without an error");
	is( $new->safe_psql('postgres',
			'SET ROLE regress_reader; SELECT infra_monitor.take_sample() IS NOT NULL'),
		't',
		"$mode: a sample is taken by who was granted that");

	# history ages as before
	my $partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'infra_monitor.samples'::regclass";
	$new->append_conf('postgresql.conf', 'infra_monitor.retention = 1d');
	$new->restart;
	wait_for($new, $partitions, "$mode: old partitions are removed", '2');
	$new->append_conf('postgresql.conf', 'infra_monitor.retention = 3650d');
	$new->reload;

	# nothing is damaged
	is($new->psql('postgres', 'VACUUM (FREEZE, ANALYZE)'), 0, "$mode: VACUUM");
  SKIP:
	{
		skip 'no amcheck', 1
		  if $new->safe_psql('postgres',
			"SELECT count(*) FROM pg_available_extensions WHERE name = 'amcheck'") == 0;
		$new->command_ok(
			[
				'pg_amcheck', '--install-missing', '--heapallindexed',
				'-d', 'postgres', '-d', 'elsewhere'
			],
			"$mode: pg_amcheck finds nothing");
		$new->safe_psql('postgres', 'DROP EXTENSION amcheck');
	}
	is(log_count($new, qr/WARNING: |PANIC|TRAP|terminated by signal|could not do its task/),
		0, "$mode: nothing to warn of in the log");

	# and it goes without leaving anything
	$new->safe_psql('postgres', 'DROP VIEW report; DROP TABLE latencies; DROP EXTENSION infra_monitor');
	is($new->safe_psql('postgres', <<'SQL'), '', "$mode: DROP EXTENSION leaves nothing");
SELECT 'class', relname FROM pg_class WHERE relname ~ '^(samples|health_)'
UNION ALL SELECT 'type', typname FROM pg_type WHERE typname ~ '^_?(samples|health_)'
UNION ALL SELECT 'schema', nspname FROM pg_namespace WHERE nspname = 'infra_monitor'
UNION ALL SELECT 'initial privilege', objoid::text FROM pg_init_privs p
	WHERE pg_identify_object(classoid, objoid, objsubid) IS NULL
		OR (SELECT i.identity FROM pg_identify_object(classoid, objoid, objsubid) i) IS NULL
UNION ALL SELECT 'dependency', d::text FROM pg_depend d
	WHERE (SELECT i.identity FROM pg_identify_object(classid, objid, objsubid) i) IS NULL
		OR (SELECT i.identity FROM pg_identify_object(refclassid, refobjid, refobjsubid) i) IS NULL
SQL
	$new->safe_psql('postgres', 'DROP OWNED BY regress_reader; CREATE EXTENSION infra_monitor');
	wait_for_sample($new, "$mode: and can be created again");
	$new->stop;

	# A copy leaves the old server as it was.
	if ($mode eq 'copy')
	{
		$old->start;
		wait_for_sample($old, 'the old server goes on after it was copied');
	}
}

done_testing();
