# Who gets at what.  A role with all rights but those of pg_read_all_stats sees no
# text of others, wherever it looks (A1); what somebody else has put in the search
# path is not used, by whomever ours is (A2); nobody but superusers changes what is
# measured (A4); a copy of the home database stays as it is (D9).

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('access', conf => <<'CONF');
listen_addresses = '127.0.0.1'
infra_monitor.statement_interval = 1s
infra_monitor.slow_query_threshold = 0
infra_monitor.repeated_query_threshold = 5
infra_monitor.activity_interval = 100ms
log_statement = none
CONF
unlink($node->data_dir . '/pg_hba.conf');
$node->append_conf('pg_hba.conf', "local all all trust\nhost all victim 127.0.0.0/8 trust\n");
$node->start;

# Sessions that do not care what the role or the database has for a search path.
sub session
{
	my (%options) = @_;

	return open_session($node, options => '-csearch_path=pg_catalog', %options);
}
$ENV{PGOPTIONS} = '-csearch_path=public';

my $dba = session(application_name => 'dba');
my $superuser = ask($dba, 'SELECT current_user');

# Statements that read all there is, by name: each relation, and each function
# that does no more than read.
sub reading_statements
{
	return map { split /\|/, $_, 2 } split /\n/, ask($dba, <<'SQL');
SELECT relname, format('SELECT pg_catalog.json_agg(x)::pg_catalog.text FROM infra_monitor.%I x', relname)
FROM pg_class
WHERE relnamespace = 'infra_monitor'::regnamespace AND relkind IN ('r', 'p', 'v') AND NOT relispartition
UNION ALL
SELECT p.proname || '()', format('SELECT pg_catalog.json_agg(x)::pg_catalog.text FROM infra_monitor.%I(%s) x', p.proname, a.list)
FROM pg_proc p,
	LATERAL (SELECT string_agg(CASE t::regtype::text
			WHEN 'jsonb' THEN CASE p.proargnames[n] WHEN 'document' THEN $$'{"checks": []}'$$ ELSE $$'[]'$$ END
			WHEN 'boolean' THEN 'true'
			WHEN 'integer' THEN '1'
			WHEN 'bigint' THEN '1'
			WHEN 'double precision' THEN '0.5'
			WHEN 'text' THEN CASE p.proargnames[n] WHEN 'order_by' THEN $$'calls'$$ WHEN 'history' THEN $$'samples'$$
				WHEN 'dialect' THEN $$'infra_monitor'$$ ELSE $$'pool'$$ END
			WHEN 'interval' THEN $$'1 hour'$$
			WHEN 'timestamp with time zone' THEN 'pg_catalog.now() OPERATOR(pg_catalog.-) ' || quote_literal(10 - n) || '::pg_catalog.interval'
			ELSE 'NULL' END, ', ' ORDER BY n) AS list
		FROM unnest(p.proargtypes) WITH ORDINALITY AS u (t, n)) a
WHERE p.pronamespace = 'infra_monitor'::regnamespace AND p.prokind = 'f'
	AND p.prorettype <> 'trigger'::regtype
	AND 'internal'::regtype <> ALL (p.proargtypes)
	AND p.proname NOT IN ('take_sample', 'take_statement_sample', 'reset')
	AND p.proname NOT LIKE 'roll\_up%'
SQL
}

#
# A2, before there is an extension: all functions, operators, types and relations
# of PostgreSQL once more, in a schema that is searched first.  Each tells who
# has used it.
#
ask($dba, 'CREATE ROLE mallory LOGIN');
ask($dba, 'CREATE SCHEMA mallory AUTHORIZATION mallory');
ask($dba, 'GRANT USAGE ON SCHEMA mallory TO PUBLIC');
my $mallory = session(user => 'mallory', application_name => 'mallory');
ask($mallory, $_) for split /;;\n/, <<'SQL';
CREATE FUNCTION mallory.tell(what text) RETURNS int LANGUAGE plpgsql AS $$
BEGIN RAISE WARNING 'TRAP % as % in %', what, current_user, pg_catalog.current_setting('application_name'); RETURN 1; END $$;;
DO $do$
DECLARE
	r record;
	made int[] := '{0,0,0,0}';
BEGIN
	FOR r IN SELECT p.proname, oidvectortypes(p.proargtypes) AS args, format_type(p.prorettype, NULL) AS result, p.proretset
		FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace
			AND p.proname NOT IN ('current_setting', 'json_agg', 'plpgsql_call_handler')
	LOOP BEGIN
		EXECUTE format('CREATE FUNCTION mallory.%I(%s) RETURNS %s %s LANGUAGE plpgsql AS $b$ BEGIN PERFORM mallory.tell(%L); %s; END $b$',
			r.proname, r.args, CASE WHEN r.proretset THEN 'SETOF' END, r.result, r.proname,
			CASE WHEN r.proretset OR r.result = 'void' THEN 'RETURN' ELSE 'RETURN NULL' END);
		made[1] := made[1] + 1;
	EXCEPTION WHEN OTHERS THEN END; END LOOP;
	FOR r IN SELECT o.oid, o.oprname, o.oprleft, o.oprright, o.oprresult FROM pg_operator o WHERE o.oprnamespace = 'pg_catalog'::regnamespace
	LOOP BEGIN
		EXECUTE format('CREATE FUNCTION mallory.o%s(%s) RETURNS %s LANGUAGE plpgsql AS $b$ BEGIN PERFORM mallory.tell(%L); RETURN NULL; END $b$',
			r.oid, concat_ws(',', CASE WHEN r.oprleft <> 0 THEN format_type(r.oprleft, NULL) END, format_type(r.oprright, NULL)),
			format_type(r.oprresult, NULL), r.oprname);
		EXECUTE format('CREATE OPERATOR mallory.%s (%s RIGHTARG = %s, FUNCTION = mallory.o%s)', r.oprname,
			CASE WHEN r.oprleft <> 0 THEN 'LEFTARG = ' || format_type(r.oprleft, NULL) || ',' END, format_type(r.oprright, NULL), r.oid);
		made[2] := made[2] + 1;
	EXCEPTION WHEN OTHERS THEN END; END LOOP;
	FOR r IN SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind IN ('r', 'v')
	LOOP BEGIN
		EXECUTE format('CREATE VIEW mallory.%I AS SELECT * FROM pg_catalog.%1$I WHERE mallory.tell(%1$L) > 0', r.relname);
		EXECUTE format('GRANT SELECT ON mallory.%I TO PUBLIC', r.relname);
		made[3] := made[3] + 1;
	EXCEPTION WHEN OTHERS THEN END; END LOOP;
	FOR r IN SELECT t.typname FROM pg_type t WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype = 'b' AND t.typelem = 0
	LOOP BEGIN
		EXECUTE format('CREATE DOMAIN mallory.%I AS pg_catalog.%1$I CHECK (mallory.tell(%1$L) > 0)', r.typname);
		made[4] := made[4] + 1;
	EXCEPTION WHEN OTHERS THEN END; END LOOP;
	IF made[1] < 2000 OR made[2] < 500 OR made[3] < 100 OR made[4] < 30 THEN
		RAISE EXCEPTION 'only % were made', made;
	END IF;
END $do$;;
SQL

# Who has used something of mallory's, in which session, and what.
sub traps
{
	my ($session, $offset) = @_;
	my @traps = map { /TRAP (.*) as \Q$superuser\E in (?:$session)$/ ? $1 : () } split /\n/,
	  substr(slurp_file($node->logfile), $offset // 0);

	return join(' ', sort keys %{ { map { $_ => 1 } @traps } });
}

ask($dba, "ALTER DATABASE postgres SET search_path = mallory, pg_catalog, public");
ask($dba, "ALTER ROLE \"$superuser\" SET search_path = mallory, pg_catalog, public");
ask($dba, "ALTER ROLE \"$superuser\" IN DATABASE postgres SET search_path = mallory, pg_catalog, public");
my $hostile = open_session($node, application_name => 'hostile');
ask($hostile, 'SET client_min_messages = error');
ask($hostile, "SELECT upper('a'), 'a' || 'b', 'a'::text FROM pg_class LIMIT 1");
is(traps('hostile'), 'pg_class text upper ||', 'who is not careful uses what mallory has made');
my $offset = log_end($node);
ask($hostile, 'CREATE EXTENSION infra_monitor CASCADE');
is(traps('.*', $offset), '', 'A2: the script of the extension does not');
is( ask($dba, <<'SQL'), '', 'A2: nothing of ours depends on anything of hers');
SELECT pg_describe_object(d.classid, d.objid, d.objsubid)
FROM pg_depend d, pg_identify_object_as_address(d.refclassid, d.refobjid, 0) o
WHERE d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_class'::regclass, 'pg_type'::regclass)
	AND o.object_names[1] = 'mallory' AND pg_describe_object(d.classid, d.objid, d.objsubid) NOT LIKE '%mallory%'
	AND NOT EXISTS (SELECT FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
		WHERE d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid AND c.relnamespace = 'mallory'::regnamespace)
	AND NOT EXISTS (SELECT FROM pg_constraint c
		WHERE d.classid = 'pg_constraint'::regclass AND c.oid = d.objid AND c.connamespace = 'mallory'::regnamespace)
	AND NOT EXISTS (SELECT FROM pg_proc p
		WHERE d.classid = 'pg_proc'::regclass AND p.oid = d.objid AND p.pronamespace = 'mallory'::regnamespace)
	AND NOT EXISTS (SELECT FROM pg_operator p
		WHERE d.classid = 'pg_operator'::regclass AND p.oid = d.objid AND p.oprnamespace = 'mallory'::regnamespace)
	AND NOT EXISTS (SELECT FROM pg_type t
		WHERE d.classid = 'pg_type'::regclass AND t.oid = d.objid AND t.typnamespace = 'mallory'::regnamespace)
SQL
is( ask($dba, <<'SQL'), '', 'A2: no function of ours has the rights of another role, none is PL/pgSQL');
SELECT oid::regprocedure FROM pg_proc
WHERE pronamespace = 'infra_monitor'::regnamespace
	AND (prosecdef OR prolang NOT IN (SELECT oid FROM pg_language WHERE lanname IN ('c', 'sql', 'internal')))
SQL
is( ask($dba, <<'SQL'), '', 'A2: those with a search path have pg_catalog first and pg_temp last');
SELECT oid::regprocedure FROM pg_proc
WHERE pronamespace = 'infra_monitor'::regnamespace AND proconfig IS NOT NULL
	AND 'search_path=pg_catalog, pg_temp' <> ALL (proconfig)
SQL

#
# A2, the sampler: all its tasks, in a database and as a role with such a path
#
wait_for_sample($node, 'A2: the sampler takes samples');
foreach my $table (qw(statement_samples statement_texts slow_query_samples wait_samples setting_samples health_events epochs))
{
	wait_in_session($dba, "SELECT count(*) > 0 FROM infra_monitor.$table", "A2: it fills $table");
}
wait_in_session($dba, 'SELECT evaluated_at IS NOT NULL FROM infra_monitor.health_cache()', 'A2: it evaluates health');
is(traps('(?!hostile|mallory).*'), '', 'A2: the sampler uses nothing of hers');

#
# A2, everybody else: all that can be read, and what writes
#
my %statements = reading_statements();
cmp_ok(scalar keys %statements, '>', 150, 'there is something to read');
my $plain = session(application_name => 'plain');
ask($hostile, 'SET ROLE mallory');
ask($hostile, "CREATE TEMP TABLE $_ (hostile int)") for qw(samples pg_class pg_stat_activity health_thresholds pool_pressure);
ask($hostile, 'RESET ROLE');
my (@different, $read);
foreach my $name (sort keys %statements)
{
	my $plainly = try_ask($plain, $statements{$name});
	my $here = try_ask($hostile, $statements{$name});

	$read++ if defined $plainly;
	push @different, "$name: $hostile->{message}" if defined $plainly && !defined $here;
}
is("@different", '', 'A2: what can be read can be with any search path');
cmp_ok($read, '>', 150, 'which is a lot');
ask($hostile, "SELECT infra_monitor.$_") for 'take_sample()', 'take_statement_sample()',
  "roll_up('2000-01-01')", 'reset()';
is(traps('.*', $offset), '', 'A2: nothing of hers is used');
ask($hostile, 'DROP EXTENSION infra_monitor CASCADE');
ask($hostile, 'CREATE EXTENSION infra_monitor');
is(traps('.*', $offset), '', 'A2: nor when it is dropped and created again');
ask($dba, "ALTER DATABASE postgres RESET search_path");
ask($dba, "ALTER ROLE \"$superuser\" RESET search_path");
ask($dba, "ALTER ROLE \"$superuser\" IN DATABASE postgres RESET search_path");
close_sessions($hostile, $plain, $mallory);

#
# A1: what others must not see, everywhere
#
wait_for_partitions($node);
ask($dba, $_) for split /;\n/, <<'SQL';
CREATE ROLE victim LOGIN;
CREATE ROLE reader LOGIN;
CREATE ROLE statistician LOGIN IN ROLE pg_read_all_stats;
CREATE ROLE monitor LOGIN IN ROLE pg_monitor;
CREATE TABLE public.t (i int);
GRANT ALL ON public.t TO victim;
GRANT USAGE ON SCHEMA infra_monitor TO reader, statistician;
SELECT format('GRANT SELECT ON infra_monitor.%I TO reader, statistician', relname) FROM pg_class
WHERE relnamespace = 'infra_monitor'::regnamespace AND relkind IN ('r', 'p', 'v') AND has_table_privilege('pg_monitor', oid, 'SELECT')
	AND NOT has_table_privilege('pg_read_all_stats', oid, 'SELECT')
UNION ALL
SELECT format('GRANT EXECUTE ON FUNCTION %s TO reader, statistician', oid::regprocedure) FROM pg_proc
WHERE pronamespace = 'infra_monitor'::regnamespace AND has_function_privilege('pg_monitor', oid, 'EXECUTE')
SQL
ask($dba, $_) for @{ $dba->{rows} };

my $SECRET = qr/marker_\w+|127\.0\.0\.77/;
my @victims = map { session(user => 'victim', application_name => 'marker_app', tcp => '127.0.0.77') } 1 .. 3;
ask($victims[0], 'BEGIN');
ask($victims[0], 'SELECT count(*) AS marker_query FROM public.t') for 1 .. 20;
ask($victims[0], 'COMMIT');
try_ask($victims[0], 'SELECT 1 / (random() * 0)::int AS marker_failed');
ask($victims[0], 'BEGIN');
ask($victims[0], 'LOCK TABLE public.t');
ask($victims[0], 'SELECT 1 AS marker_idle');
send_query($victims[1], 'SELECT i AS marker_waiting FROM public.t');
send_query($victims[2], 'SELECT pg_sleep(600) AS marker_running');
is( await_session(
		begin_session($node, user => 'victim', database => 'nowhere', application_name => 'marker_late', tcp => '127.0.0.77')),
	'refused', 'A1: one of the victim is refused');
wait_in_session($dba, q{SELECT count(*) FROM infra_monitor.lock_waits WHERE query LIKE '%marker_waiting%'}, 'A1: one waits', 1);
wait_in_session($dba, q{SELECT count(*) > 0 FROM infra_monitor.lock_blame WHERE to_jsonb(lock_blame)::text LIKE '%marker%'}, 'A1: for another');
wait_in_session($dba, q{SELECT count(*) > 0 FROM infra_monitor.statement_texts WHERE query LIKE '%marker_query%'}, 'A1: there is history');
wait_in_session($dba, q{SELECT count(*) > 0 FROM infra_monitor.slow_query_samples WHERE query LIKE '%marker_query%'}, 'A1: of slow executions, too');

# Where a role finds something secret; what has it for a superuser has a name here.
my (%found, @denied);
foreach my $role ('reader', 'statistician', 'monitor')
{
	my $session = session(user => $role, application_name => "app of $role");
	my %all = reading_statements();

	foreach my $name (sort keys %all)
	{
		my $answer = try_ask($session, $all{$name}) // '';

		push @denied, $name if $role eq 'reader' && ($session->{sqlstate} // '') eq '42501';
		$found{$role}{$name} = join(' ', sort keys %{ { map { $_ => 1 } $answer =~ /$SECRET/g } })
		  if $answer =~ $SECRET;
	}
	close_sessions($session);
}
my $needs_more = qr/^(?:statement_texts(?:_monthly)?|slow_query_samples	# texts of all
	|(?:compare|query_regressions|ranked_statements|report|report_statements|top_statements)\(\)	# which show them
	|(?:fact|check_wal)_\w+\(\))$/x;	# functions of PostgreSQL that are not for everybody
is(join(' ', grep { !/$needs_more/ } @denied), '', 'A1: a role with all rights but those of pg_read_all_stats reads all but texts');
is_deeply($found{reader} || {}, {}, 'A1: without pg_read_all_stats nothing of others is to be seen');
my @texts = qw(running_queries slow_queries slow_query_log lock_waits lock_blame pool_usage recent_rejections sessions()
  repeated_queries connection_churn);
is( join(' ', grep { !$found{monitor}{$_} } @texts), '', 'A1: pg_monitor sees it in all these');
is( join(' ', grep { !$found{statistician}{$_} } @texts), '', 'A1: so does pg_read_all_stats, where it may look');

# what shows a second of history shows another one to each who asks
my $of_a_second = qr/^(?:compare|query_regressions|ranked_statements|report\w*|top_statements)\(\)$/;
my %own = map { $_ => 1 } keys %{ $found{statistician} };
is( join(' ', grep { !$own{$_} && !/$of_a_second/ } keys %{ $found{monitor} }),
	join(' ', grep { /^(?:statement_texts|statement_texts_monthly|slow_query_samples)$/ && !$own{$_} } keys %{ $found{monitor} }),
	'A1: pg_monitor sees no more, but for tables of texts');
is( ask($dba, <<'SQL'), "slow_query_samples\nstatement_texts\nstatement_texts_monthly", 'A1: these belong to pg_read_all_stats alone');
SELECT relname FROM pg_class WHERE relnamespace = 'infra_monitor'::regnamespace AND NOT relispartition
	AND has_table_privilege('pg_read_all_stats', oid, 'SELECT') ORDER BY relname COLLATE "C"
SQL
is( ask($dba, <<'SQL'), '', 'A1: partitions belong to nobody but their owner');
SELECT oid::regclass FROM pg_class WHERE relnamespace = 'infra_monitor'::regnamespace AND relispartition AND relacl IS NOT NULL
SQL
is( ask($dba, <<'SQL'), '', 'A1: nor does anything to everybody');
SELECT relname FROM pg_class c, aclexplode(c.relacl) a WHERE c.relnamespace = 'infra_monitor'::regnamespace AND a.grantee = 0
UNION ALL SELECT proname FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
WHERE p.pronamespace = 'infra_monitor'::regnamespace AND a.grantee = 0
SQL

# files for others have numbers, and no text
my $text = ask($dba, 'SELECT infra_monitor.metrics_text()');
unlike($text, qr/marker_(?!app)|127\.0\.0\.77/, 'A1: metrics have names of applications, but no texts and no addresses');
unlike(ask($dba, 'SELECT infra_monitor.health()'), $SECRET, 'A1: nor has health');

#
# A4: only superusers change what is measured
#
my @settings = split /\n/, ask($dba, <<'SQL');
SELECT name || '|' || CASE vartype WHEN 'enum' THEN enumvals[1] WHEN 'bool' THEN 'off' WHEN 'string' THEN 'x' ELSE min_val END
FROM pg_settings WHERE name LIKE 'infra\_monitor.%'
SQL
cmp_ok(scalar @settings, '>', 20, 'there are settings');
ask($dba, 'CREATE ROLE owner LOGIN CREATEDB');
ask($dba, 'CREATE DATABASE owned OWNER owner');
my $owner = session(user => 'owner', database => 'owned');
my $before = ask($dba, q{SELECT json_agg(s) FROM (SELECT name, setting FROM pg_settings WHERE name LIKE 'infra\_monitor.%') s});
foreach my $setting (@settings)
{
	my ($name, $value) = split /\|/, $setting;
	my @refused = grep { !defined try_ask($owner, $_) && $owner->{sqlstate} =~ /^(?:42501|55P02)$/ } (
		"SET $name = '$value'", "RESET $name", "SET LOCAL $name = '$value'", "SELECT set_config('$name', '$value', false)",
		"ALTER ROLE owner SET $name = '$value'", "ALTER DATABASE owned SET $name = '$value'",
		"ALTER SYSTEM SET $name = '$value'", "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET $name = '$value' AS 'SELECT 1'");

	is(scalar @refused, 8, "A4: nobody else sets $name");
}
foreach my $name (qw(track slow_query_threshold enabled sample_interval))
{
	my $late = begin_session($node, user => 'owner', database => 'owned', options => "-cinfra_monitor.$name=0");

	is(await_session($late), 'refused', "A4: nor $name with a new session");
}
is(ask($dba, q{SELECT json_agg(s) FROM (SELECT name, setting FROM pg_settings WHERE name LIKE 'infra\_monitor.%') s}), $before, 'A4: they are as before');
is( join(' ', grep { defined try_ask($owner, "SHOW infra_monitor.$_") } qw(textfile system_root)),
	'', 'A4: paths are not shown');
is(ask($dba, q{SELECT count(*) FROM pg_settings WHERE name LIKE 'infra\_monitor.%' AND context = 'user'}), 0, 'A4: none is for every user');
ask($dba, 'GRANT SET ON PARAMETER infra_monitor.track TO owner');
ask($owner, 'SET infra_monitor.track = none');
is(ask($owner, 'SHOW infra_monitor.track'), 'none', 'A4: unless it was granted');
close_sessions($owner);

#
# D9: a copy of the home database
#
ask($victims[0], 'ROLLBACK');
ask($dba, "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = 'victim'");
$node->safe_psql('template1', 'CREATE EXTENSION infra_monitor CASCADE');
ask($dba, 'CREATE DATABASE plain');
ask($dba, 'CREATE DATABASE copied TEMPLATE postgres');
wait_for_sample($node, 'D9: the home database has samples');
foreach my $database (qw(plain copied))
{
	my $copy = session(database => $database);
	my $rows = 'SELECT count(*), max(sampled_at) FROM infra_monitor.samples';
	my $rows_before = ask($copy, $rows);

	wait_for_sample($node, "D9: $database: the home database still has");
	is(ask($copy, $rows), $rows_before, "D9: $database: the copy gets none");
	is(ask($copy, 'SELECT used_connections > 0 FROM infra_monitor.pool_pressure'), 't', "D9: $database: what is live works in it");
	is( ask($copy, q{SELECT string_agg(datname, ',') FROM pg_stat_activity WHERE backend_type = 'infra_monitor sampler'}),
		'postgres', "D9: $database: there is one sampler, at home");
	close_sessions($copy);
	ask($dba, "DROP DATABASE $database");
}
is(log_count($node, qr/(?:PANIC|TRAP: |terminated by signal)/), 0, 'no process has crashed');
close_sessions($dba);
$node->stop;
done_testing();
