# What somebody has made of our tables, views and functions: writers refuse what
# could run code that is not ours and say so, go on with what is not touched, and
# come back when it is undone.  That code never runs as a superuser (D8).  And
# what is there before the extension is (D7).

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Days are counted from today: not across midnight
not_across_midnight(300);

my $node = new_server('hostile', conf => <<'CONF');
infra_monitor.statement_interval = 1s
infra_monitor.slow_query_threshold = 0
CONF
$node->start;

my $dba = open_session($node, application_name => 'ddl');

#
# D7: a schema of our name is there already
#
ask($dba, $_) for split /^/, <<'SQL';
CREATE ROLE mallory LOGIN
CREATE SCHEMA infra_monitor AUTHORIZATION mallory
SET ROLE mallory
CREATE TABLE infra_monitor.samples (sampled_at timestamptz)
CREATE FUNCTION infra_monitor.preloaded() RETURNS boolean LANGUAGE sql AS 'SELECT true'
RESET ROLE
SQL
my $offset = log_end($node);
is(try_ask($dba, 'CREATE EXTENSION infra_monitor CASCADE'),
	undef, 'a schema of that name: the extension is not created');
is("$dba->{sqlstate} $dba->{message}", '42P06 schema "infra_monitor" already exists',
	'which says why');
$node->wait_for_log(qr/LOG:  extension "infra_monitor" does not exist in database "postgres"/);
my $sampler_pid = ask($dba,
	"SELECT pid FROM pg_stat_activity WHERE backend_type = 'infra_monitor sampler'");
is(ask($dba, 'SELECT count(*) FROM infra_monitor.samples'), 0, 'the sampler writes nothing to tables of others');
ask($dba, 'ALTER SYSTEM SET infra_monitor.sample_interval = 1500');
ask($dba, 'SELECT pg_reload_conf()');
ask($dba, 'DROP SCHEMA infra_monitor CASCADE');
ask($dba, 'SET client_min_messages = error');
ask($dba, 'CREATE EXTENSION infra_monitor CASCADE');
ask($dba, 'ALTER SYSTEM RESET infra_monitor.sample_interval');
ask($dba, 'SELECT pg_reload_conf()');
wait_for_sample($node, 'without it there are samples');
is(status_of($node, 'pid'), $sampler_pid, 'of the same sampler');
is( scalar(grep { !/already exists/ } grep { /(?:WARNING|ERROR|FATAL):/ } worker_log($node, $offset)),
	0, 'no loop of errors');

#
# D8.  All of mallory's functions tell who runs them.
#
my $today = ask($dba, "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')");
my $superuser = ask($dba, 'SELECT current_user');

ask($dba, $_) for split /;\n/, <<'SQL';
CREATE SCHEMA mallory AUTHORIZATION mallory;
GRANT USAGE, CREATE ON SCHEMA infra_monitor TO mallory;
SET ROLE mallory;
CREATE FUNCTION mallory.tell(what text) RETURNS int LANGUAGE plpgsql AS $$
BEGIN RAISE WARNING 'TRAP % as % in %', what, current_user, current_setting('application_name'); RETURN 1; END $$;
CREATE FUNCTION mallory.f(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN PERFORM mallory.tell('f'); RETURN i; END $$;
CREATE FUNCTION mallory.cmp(a int, b int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN PERFORM mallory.tell('cmp'); RETURN CASE WHEN a < b THEN -1 WHEN a > b THEN 1 ELSE 0 END; END $$;
CREATE FUNCTION mallory.t() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM mallory.tell('t'); RETURN NULL; END $$;
CREATE DOMAIN mallory.d AS int CHECK (mallory.f(VALUE) IS NOT NULL);
RESET ROLE;
CREATE OPERATOR CLASS mallory.ops FOR TYPE int USING btree AS
	OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 mallory.cmp(int, int);
CREATE FOREIGN DATA WRAPPER nothing;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
CREATE TABLE public.control (i int);
CREATE TRIGGER t AFTER INSERT ON public.control FOR EACH ROW EXECUTE FUNCTION mallory.t();
SQL

# How often code of mallory's was run by somebody who must not: as a superuser,
# and not by the command that puts it there.
sub traps
{
	return scalar grep { / as \Q$superuser\E in (?!ddl)/ } traps_logged();
}

sub traps_logged
{
	return grep { /WARNING: .*TRAP/ } split /\n/, slurp_file($node->logfile);
}

my $writer = open_session($node, application_name => 'writer');
ask($writer, 'SET client_min_messages = error');
ask($writer, 'INSERT INTO public.control VALUES (1)');
is(traps(), 1, 'a trap that is stepped into is told of');

# Can a sample be taken?  The answer without what depends on the day.
sub take_sample
{
	return 'taken' if defined try_ask($writer, 'SELECT infra_monitor.take_sample()');
	return $writer->{message} =~ s/\d{8}/DAY/gr . ($writer->{hint} ? "; $writer->{hint}" : '');
}

my $hint = 'Undo that, or drop and create the extension again.';
my $samples = 'infra_monitor.samples';

# Each: what it is, done by, undone by, and in which table it is found.
my @alterations = (
	[ 'it has a trigger', 'CREATE TRIGGER t BEFORE INSERT ON TABLE FOR EACH ROW EXECUTE FUNCTION mallory.t()',
		'DROP TRIGGER t ON TABLE', 'both' ],
	[ 'it has a trigger', 'CREATE TRIGGER t AFTER INSERT ON TABLE REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION mallory.t()',
		'DROP TRIGGER t ON TABLE', 'parent' ],
	[ 'it has a rule', 'CREATE RULE r AS ON INSERT TO TABLE DO ALSO SELECT mallory.f(1)',
		'DROP RULE r ON TABLE', 'both' ],
	[ 'it has row security', 'ALTER TABLE TABLE ENABLE ROW LEVEL SECURITY',
		'ALTER TABLE TABLE DISABLE ROW LEVEL SECURITY', 'both' ],
	[ 'it has row security',
		'CREATE POLICY p ON TABLE WITH CHECK (mallory.f(1) = 1);ALTER TABLE TABLE ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY',
		'ALTER TABLE TABLE DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;DROP POLICY p ON TABLE', 'both' ],
	[ 'its owner is no superuser', 'ALTER TABLE TABLE OWNER TO mallory', "ALTER TABLE TABLE OWNER TO \"$superuser\"", 'both' ],
	[ 'it has an index with a function that is not ours', 'CREATE INDEX hostile ON TABLE (mallory.f(used_connections))',
		'DROP INDEX infra_monitor.hostile', 'both' ],
	[ 'it has an index with a function that is not ours', 'CREATE INDEX hostile ON TABLE (used_connections) WHERE mallory.f(used_connections) > 0',
		'DROP INDEX infra_monitor.hostile', 'both' ],
	[ 'it has an index with a function that is not ours', 'CREATE INDEX hostile ON TABLE (used_connections mallory.ops)',
		'DROP INDEX infra_monitor.hostile', 'both' ],
	[ 'it has a check constraint with a function that is not ours', 'ALTER TABLE TABLE ADD CONSTRAINT hostile CHECK (mallory.f(used_connections) > 0) NOT VALID',
		'ALTER TABLE TABLE DROP CONSTRAINT hostile', 'both' ],
	[ 'it has a check constraint with a function that is not ours', 'ALTER TABLE TABLE ADD CONSTRAINT hostile CHECK (used_connections::mallory.d IS NOT NULL) NOT VALID',
		'ALTER TABLE TABLE DROP CONSTRAINT hostile', 'both' ],
	[ 'it has a check constraint with a function that is not ours',
		q{ALTER TABLE TABLE ADD CONSTRAINT hostile CHECK (query_to_xml('ALTER ROLE mallory SUPERUSER', true, true, '') IS NULL OR true) NOT VALID},
		'ALTER TABLE TABLE DROP CONSTRAINT hostile', 'both' ],
	[ 'a column has a default, or is generated, by a function that is not ours', "ALTER TABLE TABLE ALTER disk_used SET DEFAULT mallory.tell('default')",
		'ALTER TABLE TABLE ALTER disk_used DROP DEFAULT', 'both' ],

	# what shows in the partitions, too
	[ 'a column has a default, or is generated, by a function that is not ours', 'ALTER TABLE TABLE ADD hostile int GENERATED ALWAYS AS (mallory.f(used_connections)) STORED',
		undef, 'parent' ],
	[ 'a column has a type that is not ours', 'ALTER TABLE TABLE ALTER used_connections TYPE mallory.d',
		'ALTER TABLE TABLE ALTER used_connections TYPE int', 'parent' ]);

ask($dba, 'ALTER SYSTEM SET infra_monitor.enabled = off');
ask($dba, 'SELECT pg_reload_conf()');
wait_in_session($dba, "SELECT state = 'disabled' FROM infra_monitor.sampler_status",
	'the sampler waits');

sub alter_table
{
	my ($commands, $table) = @_;

	ask($dba, $_ =~ s/(ON|TO|ALTER TABLE) TABLE\b/$1 $table/gr) for split /;/, $commands;
	return;
}

is(take_sample(), 'taken', 'a sample');
foreach my $alteration (@alterations)
{
	my ($what, $do, $undo, $where) = @$alteration;

	next if !defined $undo;
	foreach my $table ($where eq 'both' ? ('samples', "samples_$today") : 'samples')
	{
		alter_table($do, "infra_monitor.$table");
		is( take_sample(),
			'table "' . $table =~ s/_\d+/_DAY/r . "\" has been altered and is not written: $what; $hint",
			substr($do, 0, 70) . " of $table");
		alter_table($undo, "infra_monitor.$table");
		is(take_sample(), 'taken', 'undone');
	}
}

# what is no harm is no reason to stop
alter_table($_, $samples) for 'CREATE INDEX harmless ON TABLE (used_connections, lower(status)) WHERE used_connections > 1',
  'ALTER TABLE TABLE ADD CONSTRAINT harmless CHECK (abs(used_connections) >= 0)',
  'ALTER TABLE TABLE ADD harmless timestamptz DEFAULT now()';
is(take_sample(), 'taken', 'an index, a constraint and a column by functions of PostgreSQL');
is(ask($dba, "SELECT harmless IS NOT NULL FROM $samples ORDER BY sampled_at DESC LIMIT 1"), 't', 'which are in force');
alter_table($_, $samples) for 'DROP INDEX infra_monitor.harmless', 'ALTER TABLE TABLE DROP CONSTRAINT harmless';

# another partition, and other things in the place of ours
my $day = "FOR VALUES FROM ('$today 00:00:00+00') TO ('$today 24:00:00+00')";
my @places = (
	[ 'a partition of mallory for today',
		"ALTER TABLE $samples DETACH PARTITION infra_monitor.samples_$today;"
		  . "CREATE TABLE mallory.other (LIKE $samples);"
		  . 'CREATE TRIGGER t BEFORE INSERT ON mallory.other FOR EACH ROW EXECUTE FUNCTION mallory.t();'
		  . "ALTER TABLE $samples ATTACH PARTITION mallory.other $day;ALTER TABLE mallory.other OWNER TO mallory",
		'DROP TABLE mallory.other;' . "ALTER TABLE $samples ATTACH PARTITION infra_monitor.samples_$today $day",
		'table "samples" has been altered and is not written: rows of DAY do not go to partition "samples_DAY"' ],
	[ 'a partition with partitions',
		"ALTER TABLE $samples DETACH PARTITION infra_monitor.samples_$today;"
		  . "ALTER TABLE infra_monitor.samples_$today RENAME TO away;"
		  . "CREATE TABLE infra_monitor.samples_$today (LIKE $samples) PARTITION BY LIST (used_connections);"
		  . "CREATE TABLE mallory.other PARTITION OF infra_monitor.samples_$today DEFAULT;"
		  . 'CREATE TRIGGER t BEFORE INSERT ON mallory.other FOR EACH ROW EXECUTE FUNCTION mallory.t();'
		  . "ALTER TABLE $samples ATTACH PARTITION infra_monitor.samples_$today $day",
		"DROP TABLE infra_monitor.samples_$today;ALTER TABLE infra_monitor.away RENAME TO samples_$today;"
		  . "ALTER TABLE $samples ATTACH PARTITION infra_monitor.samples_$today $day",
		'table "samples_DAY" has been altered and is not written: it is no table like ours' ],
	[ 'a foreign table',
		"ALTER TABLE $samples DETACH PARTITION infra_monitor.samples_$today;"
		  . "ALTER TABLE infra_monitor.samples_$today RENAME TO away;"
		  . "CREATE FOREIGN TABLE infra_monitor.samples_$today PARTITION OF $samples $day SERVER nowhere",
		"DROP FOREIGN TABLE infra_monitor.samples_$today;ALTER TABLE infra_monitor.away RENAME TO samples_$today;"
		  . "ALTER TABLE $samples ATTACH PARTITION infra_monitor.samples_$today $day",
		'table "samples_DAY" has been altered and is not written: it is no table like ours' ],
	[ 'a view',
		"ALTER TABLE $samples RENAME TO away;CREATE VIEW $samples AS SELECT * FROM infra_monitor.away;"
		  . "CREATE TRIGGER t INSTEAD OF INSERT ON $samples FOR EACH ROW EXECUTE FUNCTION mallory.t()",
		"DROP VIEW $samples;ALTER TABLE infra_monitor.away RENAME TO samples",
		'table "samples" has been altered and is not written: it is no table like ours' ]);
foreach my $place (@places)
{
	my ($what, $do, $undo, $expected) = @$place;

	ask($dba, $_) for split /;/, $do;
	is(take_sample(), "$expected; $hint", $what);
	ask($dba, $_) for split /;/, $undo;
	is(take_sample(), 'taken', 'undone');
}

# partitions and children that get no rows are no reason to stop
ask($dba, $_) for split /;\n/, <<SQL;
CREATE TABLE mallory.other (LIKE $samples);
CREATE TRIGGER t BEFORE INSERT ON mallory.other FOR EACH ROW EXECUTE FUNCTION mallory.t();
ALTER TABLE $samples ATTACH PARTITION mallory.other DEFAULT;
ALTER TABLE mallory.other OWNER TO mallory;
CREATE TABLE mallory.child () INHERITS (infra_monitor.health_state);
CREATE TRIGGER t BEFORE INSERT ON mallory.child FOR EACH ROW EXECUTE FUNCTION mallory.t();
SQL
is(take_sample(), 'taken', 'a partition for all other days');
ask($dba, 'DROP TABLE mallory.other');
is(traps(), 1, 'nothing of all that has run');

#
# D8, the sampler: many tables at once.  It goes on with the others.
#
ask($dba, $_) for split /;\n/, <<SQL;
CREATE TRIGGER t BEFORE INSERT ON infra_monitor.wait_samples FOR EACH ROW EXECUTE FUNCTION mallory.t();
ALTER TABLE infra_monitor.statement_samples ENABLE ROW LEVEL SECURITY;
CREATE INDEX hostile ON infra_monitor.setting_samples (mallory.f(length(name)));
ALTER TABLE infra_monitor.slow_query_samples OWNER TO mallory;
ALTER TABLE infra_monitor.health_state ADD CONSTRAINT hostile CHECK (mallory.f(length(check_name)) > 0) NOT VALID;
SQL
$offset = log_end($node);
ask($dba, 'ALTER SYSTEM RESET infra_monitor.enabled');
ask($dba, "ALTER SYSTEM SET work_mem = '5MB'");
ask($dba, 'SELECT pg_reload_conf()');
ask($dba, q{INSERT INTO infra_monitor.health_threshold_overrides (check_name, warning, critical, hold) VALUES ('connections_used', 0, 0, 1)});
wait_for_sample($node, 'the sampler takes samples');
my %refused = (
	waits => [ 'wait_samples', 'it has a trigger' ],
	statements => [ 'statement_samples', 'it has row security' ],
	settings => [ 'setting_samples', 'it has an index with a function that is not ours' ],
	slow_queries => [ 'slow_query_samples', 'its owner is no superuser' ],
	events => [ 'health_state', 'it has a check constraint with a function that is not ours' ]);

# Waits until the log has as many lines as expected.
sub logged
{
	my ($pattern, $n, $name) = @_;

	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		last if log_count($node, $pattern, $offset) >= $n;
		select(undef, undef, undef, 0.1);
	}
	return is(log_count($node, $pattern, $offset), $n, $name);
}

foreach my $task (sort keys %refused)
{
	my ($table, $why) = @{ $refused{$task} };

	logged(qr/WARNING:  infra_monitor could not do its task "$task": table "$table" has been altered and is not written: $why/,
		1, "$task: $table is refused, and that is logged once");
}
like(status_of($node, 'last_error'),
	qr/^\w+: table "\w+" has been altered and is not written: it/,
	'sampler_status says so');
my $hints = log_count($node, qr/HINT:  \Q$hint\E/, $offset);
cmp_ok($hints, '>=', 5, 'with what to do');

# What it reads and calls must belong to superusers, too: mallory makes a
# superuser of herself wherever she may.
my $mallory = open_session($node, user => 'mallory', application_name => 'mallory');
my $take = "SELECT query_to_xml('ALTER ROLE mallory SUPERUSER', true, true, '')";
ask($dba, $_) for split /;\n/, <<'SQL';
ALTER FUNCTION infra_monitor.check_xid_wraparound() OWNER TO mallory;
ALTER VIEW infra_monitor.pool_pressure OWNER TO mallory;
SQL
my ($definition) = ask($dba, q{SELECT pg_get_functiondef('infra_monitor.check_xid_wraparound'::regproc)}) =~ /^(.*?)AS \$function\$/s;
is(try_ask($mallory, "$definition AS \$body\$ $take; SELECT 0::float8, 'ratio'::text, 'fine'::text \$body\$") // $mallory->{message},
	'', 'mallory has replaced a check');
my $columns = ask($dba, q{SELECT string_agg(format('NULL::%s AS %I', format_type(atttypid, atttypmod), attname), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'infra_monitor.pool_pressure'::regclass AND attnum > 0});
my $view = ask($dba, q{SELECT pg_get_viewdef('infra_monitor.pool_pressure'::regclass)});
is(try_ask($mallory, "CREATE OR REPLACE VIEW infra_monitor.pool_pressure AS SELECT $columns WHERE ($take) IS NULL") // $mallory->{message},
	'', 'and a view');
wait_in_session($dba, q{SELECT count(*) FROM infra_monitor.health_checks WHERE name = 'xid_wraparound' AND status = 'unknown' AND message ~ '^function "check_xid_wraparound" is not called by infra_monitor: its owner "mallory" is no superuser'},
	'the check is unknown, and says why', 1);
is( ask($dba, q{SELECT count(*) > 20 FROM infra_monitor.health_checks WHERE status IN ('ok', 'warning', 'critical')}),
	't', 'all others are known');
logged(qr/WARNING:  infra_monitor could not do its task "sample": relation "pool_pressure" is not used by infra_monitor: its owner "mallory" is no superuser/,
	1, 'a sample that needs the view is not taken');
ask($dba, 'ALTER FUNCTION infra_monitor.system_usage() OWNER TO mallory');
logged(qr/WARNING:  infra_monitor could not do its task "health": function "system_usage" is not called by infra_monitor: its owner "mallory" is no superuser/,
	1, 'nor is health evaluated without what it needs');
is(ask($dba, q{SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'}), 'f', 'mallory is no superuser');
is(traps(), 1, 'and nothing of hers has run');

# undone
ask($dba, $_) for split /;\n/, <<SQL;
DROP TRIGGER t ON infra_monitor.wait_samples;
ALTER TABLE infra_monitor.statement_samples DISABLE ROW LEVEL SECURITY;
DROP INDEX infra_monitor.hostile;
ALTER TABLE infra_monitor.slow_query_samples OWNER TO "$superuser";
ALTER TABLE infra_monitor.health_state DROP CONSTRAINT hostile;
ALTER FUNCTION infra_monitor.system_usage() OWNER TO "$superuser";
ALTER VIEW infra_monitor.pool_pressure OWNER TO "$superuser";
CREATE OR REPLACE VIEW infra_monitor.pool_pressure AS $view;
SQL
logged(qr/LOG:  infra_monitor does its task "$_" again/, 1, "$_: undone, it goes on by itself") for sort keys %refused, 'sample', 'health';
wait_for_sample($node, 'samples are taken');
foreach my $task (sort keys %refused, 'sample', 'health')
{
	is(log_count($node, qr/WARNING:  infra_monitor could not do its task "$task"/, $offset), 1, "$task: it was logged once");
}
ok(log_count($node, qr/(?:PANIC|TRAP: |terminated by signal)/) == 0, 'no process has crashed');

#
# What is in the tables of overrides is data, whatever it is
#
my @overrides = (
	q{INSERT INTO infra_monitor.health_threshold_overrides (check_name, warning, critical, hold)
		SELECT check_name, (array['NaN', 'Infinity', '-Infinity', '1e308', '-1e308', '5e-324'])[1 + row_number() OVER () % 6]::float8,
			(array['-Infinity', 'NaN', '1e308'])[1 + row_number() OVER () % 3]::float8, 2147483647
		FROM infra_monitor.check_defaults() ON CONFLICT (check_name) DO UPDATE SET warning = excluded.warning, critical = excluded.critical},
	q{INSERT INTO infra_monitor.health_scope_overrides VALUES ('role_limit', repeat('d', 150000), repeat('u', 50000), 'NaN', 'Infinity')},
	q{INSERT INTO infra_monitor.health_weight_overrides VALUES ('database', 1e6), ('pool', 5e-324)},
	q{INSERT INTO infra_monitor.slo_target_overrides (name, kind, target, threshold_time, period) VALUES
		(repeat('x', 150000), 'latency', 0.5, 1e308, '100 years'),
		('tiny', 'latency', 1e-300, 5e-324, '1 microsecond'),
		(E'<b>''"\n', 'availability', 1 - 1e-15, NULL, '1 day')});
foreach my $refused (
	q{INSERT INTO infra_monitor.health_weight_overrides VALUES ('database', 1e7)},
	q{INSERT INTO infra_monitor.slo_target_overrides (name, period) VALUES ('latency', '1000 years')},
	q{INSERT INTO infra_monitor.slo_target_overrides (name, threshold_time) VALUES ('latency', 'NaN')})
{
	try_ask($dba, $refused);
	is($dba->{sqlstate}, '23514', "what nobody can reckon with is refused: $refused");
}
$offset = log_end($node);
ask($dba, $_) for @overrides;
my $evaluated = ask($dba, 'SELECT evaluated_at FROM infra_monitor.health_cache()');
wait_in_session($dba, "SELECT evaluated_at > '$evaluated'::timestamptz + interval '1 s' FROM infra_monitor.health_cache()", 'health is evaluated');
is(ask($dba, q{SELECT (infra_monitor.health()->>'score') NOT IN ('NaN', 'Infinity')}), 't', 'the score is a number');
is(ask($dba, 'SELECT count(*) > 0 FROM infra_monitor.slo_status'), 't', 'objectives have a status');
is(ask($dba, q{SELECT position('<b>''' in infra_monitor.report(now() - interval '1 minute'))}), 0, 'the report shows names as text');
is(log_count($node, qr/(?:WARNING|ERROR|FATAL|PANIC): /, $offset), 0, 'nothing fails');
ask($dba, "DELETE FROM infra_monitor.$_") for qw(health_threshold_overrides health_scope_overrides health_weight_overrides slo_target_overrides);

# The last alteration cannot be undone: what the hint says helps.
alter_table('ALTER TABLE TABLE DROP disk_total', $samples);
is(take_sample(), "table \"samples\" has been altered and is not written: a column was dropped; $hint", 'a dropped column');
ask($dba, 'DROP TABLE mallory.child');
ask($dba, 'DROP EXTENSION infra_monitor');
ask($dba, 'CREATE EXTENSION infra_monitor');
wait_for_sample($node, 'a new extension has a new table');

# So it is with what shows in all partitions.
foreach my $alteration (grep { !defined $_->[2] } @alterations)
{
	my ($what, $do) = @$alteration;

	alter_table($do, $samples);
	is(take_sample(), "table \"samples\" has been altered and is not written: $what; $hint", substr($do, 0, 70));
}
is(traps(), 1, 'nothing of all that has run');

close_sessions($dba, $writer, $mallory);
$node->stop;
done_testing();
