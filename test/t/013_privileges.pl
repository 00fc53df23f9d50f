# Who may see what: each relation and each function of the schema is tried by
# each kind of role.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('privileges', conf => <<'CONF');
max_connections = 20
listen_addresses = '127.0.0.1'
CONF
unlink($node->data_dir . '/pg_hba.conf');
$node->append_conf('pg_hba.conf', <<'HBA');
local all all trust
host all visitor,partial,friend,missing 127.0.0.1/32 trust
HBA
$node->start;

my $superuser = open_session($node);
ask($superuser, $_) for split /^/, <<'SQL';
CREATE EXTENSION infra_monitor CASCADE
CREATE ROLE outsider LOGIN
CREATE ROLE visitor LOGIN CONNECTION LIMIT 1
CREATE ROLE monitor LOGIN IN ROLE pg_monitor
CREATE ROLE friend LOGIN CONNECTION LIMIT 0
CREATE ROLE partial LOGIN CONNECTION LIMIT 1 IN ROLE friend
GRANT USAGE ON SCHEMA infra_monitor TO visitor, partial
GRANT SELECT ON infra_monitor.recent_rejections, infra_monitor.pool_usage TO partial
GRANT EXECUTE ON FUNCTION infra_monitor.recent_rejections(), infra_monitor.sessions(), infra_monitor.shown(name), infra_monitor.idle_threshold(), infra_monitor.terminate_statement(int[], timestamptz), infra_monitor.prevention_advice(name, int, int, int) TO partial
SQL

# partitions are relations, too
wait_in_session($superuser,
	'SELECT count(*) > 0 FROM infra_monitor.samples',
	'there is a sample');

my %session =
  map { $_ => open_session($node, user => $_, application_name => "app of $_") }
  qw(outsider visitor monitor partial);

# Rows of a query about the catalog.
sub catalog
{
	my ($query) = @_;

	return split /\n/, ask($superuser, $query);
}

my @relations = catalog(<<'SQL');
SELECT oid::regclass FROM pg_class
WHERE relnamespace = 'infra_monitor'::regnamespace
	AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
ORDER BY 1
SQL

# A call of each function.  Its arguments are columns: the planner would make a
# NULL of a strict function with a constant NULL, without looking further.
# Functions with arguments of types like internal cannot be called at all.
my %calls = map { split /\|/, $_, 2 } catalog(<<'SQL');
SELECT p.oid::regprocedure,
	format('SELECT %s(%s) FROM (SELECT %s OFFSET 0) a', p.oid::regproc,
		string_agg('a' || n, ', ' ORDER BY n),
		string_agg('NULL::' || format_type(type, NULL) || ' AS a' || n, ', ' ORDER BY n))
FROM pg_proc p
	LEFT JOIN unnest(p.proargtypes::oid[]) WITH ORDINALITY a (type, n) ON true
WHERE p.pronamespace = 'infra_monitor'::regnamespace
	AND NOT EXISTS (SELECT FROM pg_type t
		WHERE t.oid = ANY (p.proargtypes) AND t.typtype = 'p')
GROUP BY p.oid
SQL

cmp_ok(scalar @relations, '>=', 12, 'there are relations');
cmp_ok(scalar keys %calls, '>=', 20, 'there are functions');

# The statements, by name, that are not denied by a permission.
sub not_denied
{
	my ($session, %statements) = @_;

	return grep {
		defined try_ask($session, $statements{$_})
		  || $session->{sqlstate} ne '42501'
		  || $session->{message} !~ /^permission denied for /
	} sort keys %statements;
}

my %reads = map { $_ => "SELECT * FROM $_ LIMIT 0" } @relations;

foreach my $role (qw(outsider visitor))
{
	is_deeply([ not_denied($session{$role}, %reads) ],
		[], "$role may read no relation");
	is_deeply([ not_denied($session{$role}, %calls) ],
		[], "$role may call no function");
}
like($session{outsider}->{message},
	qr/for schema infra_monitor/, 'an outsider is kept out of the schema');
like($session{visitor}->{message},
	qr/for function /, 'a visitor out of the functions');
is( join(
		"\n",
		catalog(
			q{SELECT p.oid::regprocedure FROM pg_proc p WHERE pronamespace = 'infra_monitor'::regnamespace AND has_function_privilege('visitor', oid, 'EXECUTE')}
		)),
	'',
	'nor is any other granted to everyone');

# Only what changes something is withheld from pg_monitor.
my @changing = (
	'infra_monitor.reset(text)',
	'infra_monitor.roll_up(timestamp with time zone)',
	'infra_monitor.roll_up_sample_hours(timestamp with time zone,timestamp with time zone)',
	'infra_monitor.roll_up_samples(timestamp with time zone,timestamp with time zone)',
	'infra_monitor.take_sample()',
	'infra_monitor.take_statement_sample()');
is( join(
		' ',
		catalog(
			q{SELECT p.oid::regprocedure FROM pg_proc p WHERE pronamespace = 'infra_monitor'::regnamespace AND NOT has_function_privilege('monitor', oid, 'EXECUTE') ORDER BY proname}
		)),
	join(' ', @changing),
	'pg_monitor may call all functions but those that change something');
is_deeply(
	[   not_denied(
			$session{monitor},
			map { $_ => $calls{$_} } @changing)
	],
	[],
	'which are denied');
is( join(
		"\n",
		catalog(
			q{SELECT oid::regclass FROM pg_class WHERE relnamespace = 'infra_monitor'::regnamespace AND relkind IN ('r', 'p', 'v', 'm') AND has_table_privilege('monitor', oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')}
		)),
	'',
	'pg_monitor may change no relation');

# These read, and what has no required argument can be called as it is.
my @readable = catalog(<<'SQL');
SELECT format('SELECT count(*) FROM %s', oid::regclass) FROM pg_class
WHERE relnamespace = 'infra_monitor'::regnamespace
	AND relkind IN ('r', 'p', 'v', 'm') AND NOT relispartition
UNION ALL
SELECT format('SELECT count(*) FROM %s()', p.oid::regproc) FROM pg_proc p
WHERE p.pronamespace = 'infra_monitor'::regnamespace AND p.prokind = 'f'
	AND p.pronargs = p.pronargdefaults AND p.prorettype <> 'trigger'::regtype
	AND p.proname NOT IN ('reset', 'roll_up', 'take_sample', 'take_statement_sample')
SQL
my @failed = grep { !defined try_ask($session{monitor}, $_) } @readable;
cmp_ok(scalar @readable, '>=', 30, 'there is something to read');
is( join(' ', sort map { /infra_monitor\.(\S+)$/ } @failed),
	'fact_files() fact_hba() fact_passwords()',
	'pg_monitor can read all of it, but for facts that it can read nowhere');

# partial holds its only connection
sub refuse
{
	my ($user) = @_;

	is( await_session(
			begin_session($node,
				user => $user, application_name => "late $user", tcp => 1)),
		'refused',
		"$user is refused");
	return;
}
refuse($_) for qw(missing visitor friend partial);
my @empty = grep {
	!ask($session{monitor}, "SELECT count(*) FROM infra_monitor.$_")
} qw(pool_pressure pool_usage pool_rejections recent_rejections samples
  sampler_status health_thresholds health_checks health_score);
is("@empty", '', 'pg_monitor gets rows');

my $refused =
  'SELECT usename, datname, application_name, client_addr FROM infra_monitor.recent_rejections';
my $all = join "\n",
  map { "$_|postgres|late $_|127.0.0.1" } qw(partial friend visitor missing);
my $hidden = '<insufficient privilege>|' x 3;

is(ask($superuser, $refused), $all, 'a superuser sees who was refused');
is(ask($session{monitor}, $refused), $all, 'so does pg_monitor');
is( ask($session{partial}, $refused),
	join("\n", (split /\n/, $all)[ 0 .. 1 ], $hidden, $hidden),
	'another one sees its own names and those of its roles');
is( ask($session{partial},
		'SELECT count(*) FROM infra_monitor.recent_rejections WHERE client_addr IS NULL AND at IS NOT NULL AND reason IS NOT NULL AND sqlstate IS NOT NULL'
	),
	'2',
	'and of others when and why');
ask($superuser, 'ALTER ROLE friend RENAME TO stranger');
is( ask($session{partial}, $refused),
	join("\n", (split /\n/, $all)[0], ($hidden) x 3),
	'a name that is no role any more is of others');
ask($superuser, 'GRANT pg_read_all_stats TO partial');
is(ask($session{partial}, $refused), $all,
	'until it may read all statistics');
ask($superuser, 'REVOKE pg_read_all_stats FROM partial');

# sessions
my $usage =
  'SELECT usename, application_name FROM infra_monitor.pool_usage ORDER BY usename COLLATE "C"';
is( ask($session{partial}, $usage),
	join("\n",
		map { $_ . '|' . ($_ eq 'partial' ? "app of $_" : '<insufficient privilege>') }
		  sort keys %session, scalar getpwuid($<)),
	'one sees the application names of its own sessions only');
is( ask($session{partial},
		q{SELECT count(*) FROM infra_monitor.sessions() WHERE query <> '<insufficient privilege>'}
	),
	'1',
	'and the query of its own');

close_sessions($superuser, values %session);
$node->stop;
done_testing();
