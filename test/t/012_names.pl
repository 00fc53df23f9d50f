# Names of roles, databases and applications are shown as they are, whatever
# they consist of, and always as valid text and valid JSON.

use strict;
use warnings;

use InfraMonitor;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# bytes, as they go over the wire
my $role = qq(O'Hara "the\\role"\n\t\$\$ Gr\xc3\xb6\xc3\x9fe \xe2\x98\x83);
my $database = qq(d'a "ta\\base"\n \xe5\x90\x8d\xf0\x9f\x90\x98);
my $application = q(it's an "a\\\\pp" {$,=});

my $node = new_server(
	'names',
	init => [ extra => [ '--encoding=UTF8', '--locale=C' ] ],
	conf => "max_connections = 20\n");
$node->start;

# PostgreSQL 19 refuses new roles and databases of more than one line
if ($node->pg_version->major >= 19)
{
	tr/\n/ / for $role, $database;
}

sub identifier
{
	my ($name) = @_;

	return '"' . $name =~ s/"/""/gr . '"';
}

my $observer = open_session($node);
ask($observer, 'CREATE EXTENSION infra_monitor CASCADE');
ask($observer, 'CREATE ROLE ' . identifier($role) . ' LOGIN CONNECTION LIMIT 1');
ask($observer, 'CREATE DATABASE ' . identifier($database));

# The newest refusal.
sub newest
{
	return ask($observer,
		'SELECT reason, sqlstate, usename, datname, application_name FROM infra_monitor.recent_rejections LIMIT 1'
	);
}

sub refuse
{
	my (%options) = @_;

	is(await_session(begin_session($node, %options)), 'refused',
		'a connection is refused');
	return;
}

my %names = (
	user => $role,
	database => $database,
	application_name => $application);
my $session = open_session($node, %names);

is( ask($observer,
		q{SELECT usename, datname, application_name FROM infra_monitor.pool_usage WHERE usename LIKE 'O%'}
	),
	"$role|$database|$application",
	'names in pool_usage');
is( ask($observer,
		q{SELECT usename, datname, application_name FROM infra_monitor.sessions() WHERE usename LIKE 'O%'}
	),
	"$role|$database|$application",
	'and in sessions');
is( ask($observer,
		q{SELECT role_limit, limit_ratio FROM infra_monitor.pool_usage WHERE usename LIKE 'O%'}
	),
	'1|1',
	'limits are found by them');

refuse(%names);
is(newest(), "role_limit|53300|$role|$database|$application",
	'names of an existing role and database');
close_sessions($session);
refuse(%names, database => "no $database");
is( newest(),
	"other|3D000|$role|no $database|$application",
	'name of a missing database');
refuse(%names, user => "no $role");
is(newest(),
	"authentication|28000|no $role|$database|$application",
	'name of a missing role');

# What the server itself makes of an application name is shown.
$session = open_session($node, %names,
	application_name => "Gr\xc3\xb6\xc3\x9fe\n1");
my $cleaned = ask($session, 'SHOW application_name');
is( ask($observer,
		q{SELECT application_name FROM infra_monitor.pool_usage WHERE usename LIKE 'O%'}
	),
	$cleaned,
	'an application name with letters that the server does not allow');
refuse(%names, application_name => "Gr\xc3\xb6\xc3\x9fe\n1");
is( newest(),
	"role_limit|53300|$role|$database|$cleaned",
	'the same when it is refused');

# JSON
my $json = decode_json(
	ask($observer, 'SELECT jsonb_agg(to_jsonb(r)) FROM infra_monitor.recent_rejections r'));
is(scalar @$json, 4, 'four refusals in JSON');
is(join('|', map { utf8::encode($_); $_ } @{ $json->[-1] }{qw(usename datname application_name)}),
	"$role|$database|$application", 'with their names');
$json = decode_json(
	ask($observer, 'SELECT jsonb_agg(to_jsonb(u)) FROM infra_monitor.pool_usage u'));
is( (grep { my $name = $_->{usename}; utf8::encode($name); $name eq $role } @$json),
	1, 'a role in JSON');
wait_in_session($observer,
	'SELECT last_tick IS NOT NULL FROM infra_monitor.sampler_status',
	'the sampler works');
$json = decode_json(ask($observer, 'SELECT infra_monitor.health()'));
like($json->{status}, qr/^(healthy|degraded|unhealthy)$/, 'health is JSON');
close_sessions($session);

# Bytes that are no text in this encoding: the view shows something, always.
my %broken = (
	"b\xff\xfed" => 'b??d',
	"half \xe2\x98" => 'half ??',
	"latin \xe9t\xe9" => 'latin ?t?',
	"surrogate \xed\xa0\x80" => 'surrogate ???',
	"overlong \xc0\xaf'" => q(overlong ??'));

foreach my $bytes (sort keys %broken)
{
	# since PostgreSQL 16 the server itself makes the application name ASCII
	my $application = $broken{$bytes};
	$application = join '',
	  map { /[\x20-\x7e]/ ? $_ : sprintf '\x%02x', ord } split //, $bytes
	  if $node->pg_version >= 16;

	refuse(
		user => $bytes,
		database => $bytes,
		application_name => $bytes);
	is( newest(),
		join('|', 'authentication', '28000', ($broken{$bytes}) x 2, $application),
		"$broken{$bytes}: a role");
	refuse(database => $bytes, application_name => 'x');
	is( newest(),
		join('|', 'other', '3D000', scalar getpwuid($<), $broken{$bytes}, 'x'),
		"$broken{$bytes}: a database");
}

# The server cuts names at 63 bytes.
my $long = 'x' x 100;
refuse(user => $long, database => $long, application_name => $long);
is( newest(),
	join('|', 'authentication', '28000', (substr($long, 0, 63)) x 3),
	'long names');
refuse(user => "\xc3\xb6" x 50, database => 'y');
is( newest(),
	join('|', 'authentication', '28000', '?' x 63, 'y', ''),
	'a name cut within a letter');
my $n = ask($observer, 'SELECT count(*) FROM infra_monitor.recent_rejections');
is( scalar @{
		decode_json(
			ask($observer,
				'SELECT jsonb_agg(to_jsonb(r)) FROM infra_monitor.recent_rejections r'
			))
	},
	$n,
	'all of it is JSON');

# Seen from a database with another encoding, they may look strange, but no
# more than that.
ask($observer,
	q{CREATE DATABASE japanese ENCODING 'EUC_JP' LOCALE 'C' TEMPLATE template0}
);
my $japanese = open_session($node,
	database => 'japanese', client_encoding => 'UTF8');
ask($japanese, 'SET client_min_messages = error');
ask($japanese, 'CREATE EXTENSION infra_monitor CASCADE');
is( scalar @{
		decode_json(
			ask($japanese,
				'SELECT jsonb_agg(to_jsonb(r)) FROM infra_monitor.recent_rejections r'
			))
	},
	$n,
	'all of it is JSON in another encoding');
is( ask($japanese,
		q{SELECT usename, application_name FROM infra_monitor.recent_rejections WHERE application_name LIKE 'it%' AND usename LIKE 'O%' LIMIT 1}
	),
	$role =~ s/[\x80-\xff]/?/gr . "|$application",
	'with what can be shown there');

close_sessions($observer, $japanese);
$node->stop;
done_testing();
