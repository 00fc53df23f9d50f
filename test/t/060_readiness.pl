# production_readiness on real servers: as Debian makes one (or initdb, where
# there is no pg_createcluster), spoiled in whatever can be spoiled, and tuned as
# the view recommends.  Each item is seen bad and is seen good; those of which
# that cannot be are in sql/readiness.sql only.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Copy qw(copy);
use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $me = getpwuid($<);
my $node = PostgreSQL::Test::Cluster->new('audited');
my $data = abs_path($node->basedir) . '/pgdata';
my $major = $node->pg_version =~ /^(\d+)/ ? $1 : 0;

# Makes a cluster with Debian's tool, and puts its configuration where the test
# can start it; false if there is no such tool for this installation.
sub make_debian_cluster
{
	my $root = abs_path(PostgreSQL::Test::Utils::tempdir('clusters'));
	my $files = "$root/$major/audited";
	local $ENV{PG_CLUSTER_CONF_ROOT} = $root;

	return 0 unless pg_config('bindir') eq "/usr/lib/postgresql/$major/bin";
	return 0 unless -x '/usr/bin/pg_createcluster';
	system_log('/usr/bin/pg_createcluster', '-u', $me, '-d', $data,
		'-s', $node->host, '-p', $node->port, '-l', "$root/log",
		'--start-conf=manual', $major, 'audited') == 0
	  or return 0;

	my $conf = slurp_file("$files/postgresql.conf");
	$conf =~
	  s/^(data_directory|hba_file|ident_file|external_pid_file|cluster_name|include_dir|stats_temp_directory)\b.*$//mg;
	append_to_file("$data/postgresql.conf", $conf);
	copy("$files/$_", "$data/$_") or die "$_: $!"
	  foreach qw(pg_hba.conf pg_ident.conf);
	return 1;
}

# Or as initdb makes it.
sub make_plain_cluster
{
	system_or_bail('initdb', '-D', $data);
	$node->append_conf('postgresql.conf',
		sprintf "port = %d\nunix_socket_directories = '%s'\n",
		$node->port, $node->host);
	return;
}

my $debian = make_debian_cluster();
make_plain_cluster() unless $debian;
mkdir $node->backup_dir;
mkdir $node->archive_dir;
note($debian ? 'made by pg_createcluster' : 'made by initdb');
$node->append_conf('postgresql.conf',
	"shared_preload_libraries = 'pg_stat_statements,infra_monitor'\n");

# What the view says, by item: status, current and recommended.
sub rows
{
	my ($server) = @_;
	my $table = $server->safe_psql('postgres',
		q{SELECT item || E'\t' || status || E'\t' || current || E'\t' || recommended || E'\t' || why FROM infra_monitor.production_readiness}
	);
	my %rows;

	foreach my $line (split /\n/, $table)
	{
		my ($item, @values) = split /\t/, $line;
		die "$line: a column is missing" if @values != 4;
		$rows{$item} = \@values;
	}
	return \%rows;
}

# The same after the next audit by the sampler, which a reload leads to.
sub audited
{
	my ($server) = @_;

	$server->poll_query_until('postgres',
		'SELECT EXISTS (SELECT FROM infra_monitor.readiness_cache())')
	  or die 'no audit';
	my $last = $server->safe_psql('postgres',
		'SELECT DISTINCT evaluated_at FROM infra_monitor.production_readiness');
	$server->reload;
	wait_for($server,
		"SELECT bool_and(evaluated_at > '$last') FROM infra_monitor.production_readiness",
		'a reload leads to another audit');
	return rows($server);
}

# Every item: its status on the server as it was made; "known" where that is a
# matter of the machine or the day.
my %items = (
	'max_connections' => 'known',
	'superuser_reserved_connections' => 'pass',
	'listen_addresses' => 'pass',
	'statement_timeout' => 'warn',
	'lock_timeout' => 'warn',
	'idle_in_transaction_session_timeout' => 'fail',
	'idle_session_timeout' => 'warn',
	'shared_buffers' => 'known',
	'effective_cache_size' => 'known',
	'work_mem' => 'known',
	'maintenance_work_mem' => 'known',
	'wal_buffers' => 'pass',
	'fsync' => 'pass',
	'full_page_writes' => 'pass',
	'synchronous_commit' => 'pass',
	'data_checksums' => $debian ? 'known' : $major >= 18 ? 'pass' : 'warn',
	'checkpoint_timeout' => 'pass',
	'checkpoint_completion_target' => 'pass',
	'max_wal_size' => 'known',
	'autovacuum' => 'pass',
	'track_counts' => 'pass',
	'autovacuum_vacuum_cost_delay' => 'pass',
	'log destination' => 'pass',
	'log_min_duration_statement' => 'warn',
	'log_lock_waits' => $major >= 19 ? 'pass' : 'warn',
	'log_temp_files' => 'warn',
	'log_checkpoints' => 'pass',
	'log_line_prefix' => $debian ? 'pass' : 'warn',
	'ssl' => 'pass',
	'ssl_min_protocol_version' => 'pass',
	'password_encryption' => 'pass',
	'MD5 passwords' => 'pass',
	'roles without password' => 'pass',
	'superusers' => 'pass',
	'schema public' => 'pass',
	'pg_hba.conf errors' => 'pass',
	'pg_hba.conf trust' => $debian ? 'pass' : 'fail',
	'pg_hba.conf open to the world' => 'pass',
	'pg_hba.conf without TLS' => 'pass',
	'pg_hba.conf weak methods' => 'pass',
	'wal_level' => 'pass',
	'archive_mode' => 'fail',
	'archive_command' => 'warn',
	'last archived' => 'warn',
	'max_wal_senders' => 'pass',
	'standbys' => 'warn',
	'replication slots' => 'pass',
	'pg_stat_statements' => 'pass',
	'pg_stat_statements.track' => 'pass',
	'track_io_timing' => 'warn',
	'major version' => 'known',
	'extension updates' => 'pass',
	'pending restart' => 'pass',
	'configuration files' => 'pass');
$items{'reserved_connections'} = 'warn' if $major >= 16;

my %seen_bad;

# Notes which items are bad, and checks those named.
sub expect_bad
{
	my ($rows, $what, @names) = @_;

	foreach my $item (keys %$rows)
	{
		$seen_bad{$item} = 1 if $rows->{$item}[0] =~ /^(?:warn|fail)$/;
	}
	like($rows->{$_}[0], qr/^(?:warn|fail)$/, "$what: $_")
	  or diag $rows->{$_}[1]
	  foreach @names;
	return;
}

#
# As it was made
#
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
my $rows = audited($node);

is_deeply([ sort keys %$rows ], [ sort keys %items ],
	'every item of the view is tested here');
foreach my $item (sort keys %items)
{
	my ($status, $current) = @{ $rows->{$item} };

	if ($items{$item} eq 'known')
	{
		like($status, qr/^(?:pass|warn|fail)$/, "as made: $item");
	}
	else
	{
		is($status, $items{$item}, "as made: $item") or diag $current;
	}
}
expect_bad($rows, 'as made');

#
# Spoiled, as far as it goes without a restart
#
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION hstore VERSION '1.7';
CREATE ROLE app LOGIN;
CREATE ROLE guest LOGIN;
CREATE ROLE boss LOGIN SUPERUSER PASSWORD 'known to all';
CREATE ROLE monitor LOGIN IN ROLE pg_monitor PASSWORD 'another one';
SET password_encryption = md5;
ALTER ROLE app PASSWORD 'geheim';
GRANT CREATE ON SCHEMA public TO PUBLIC;
SELECT pg_create_physical_replication_slot('forgotten', true);
ALTER SYSTEM SET max_locks_per_transaction = 65;
SQL
my $hba = slurp_file("$data/pg_hba.conf");
my $only_me = "local all $me peer\n";
unlink "$data/pg_hba.conf";
append_to_file("$data/pg_hba.conf", <<"HBA");
$only_me
local template0 nobody trust
host template0 nobody 0.0.0.0/0 md5
host template0 nobody 10.0.0.0/8 password
HBA
expect_bad(
	audited($node), 'spoiled',
	'MD5 passwords', 'superusers',
	'schema public', 'extension updates',
	'replication slots', 'pending restart',
	'pg_hba.conf trust', 'pg_hba.conf open to the world',
	'pg_hba.conf without TLS', 'pg_hba.conf weak methods',
	'roles without password');

# Who has which password is for those who may read that: pg_monitor is not told
# by the sampler, which can.
my $roles = <<'SQL';
SELECT string_agg(item || ': ' || current, '; ' ORDER BY item) FROM infra_monitor.production_readiness
WHERE item IN ('MD5 passwords', 'roles without password', 'superusers')
SQL
like($node->safe_psql('postgres', $roles),
	qr/^MD5 passwords: app; roles without password: guest; superusers: boss$/,
	'a superuser sees names');
sub as_monitor
{
	my ($query) = @_;

	return $node->safe_psql('postgres', "SET SESSION AUTHORIZATION monitor; $query");
}
is(as_monitor($roles), 'MD5 passwords: 1 role; roles without password: 1 role; superusers: boss',
	'pg_monitor sees how many, and names that stand in pg_roles');
is(as_monitor("SELECT named IS NULL, (SELECT d.value->>2 FROM jsonb_array_elements(document) d WHERE d.value->>0 = 'MD5 passwords') FROM infra_monitor.readiness_cache()"),
	't|1 role', 'nor is more in the cache');
$node->safe_psql('postgres', 'GRANT SELECT ON pg_authid TO monitor');
is(as_monitor($roles), 'MD5 passwords: app; roles without password: guest; superusers: boss',
	'who may read pg_authid sees names');
$node->safe_psql('postgres', 'REVOKE SELECT ON pg_authid FROM monitor');

# errors in files
append_to_file("$data/pg_hba.conf", "nonsense\n");
$node->append_conf('postgresql.conf', 'no_such_setting = nonsense');
$rows = audited($node);
expect_bad($rows, 'spoiled', 'pg_hba.conf errors', 'configuration files');
is($rows->{'configuration files'}[1],
	'lines with an error: 1', 'a setting that waits for a restart is no error');
$node->adjust_conf('postgresql.conf', 'no_such_setting', undef);
unlink "$data/pg_hba.conf";
append_to_file("$data/pg_hba.conf", "$only_me\nlocal template0 nobody trust\n"
	  . "host template0 nobody 0.0.0.0/0 md5\nhost template0 nobody 10.0.0.0/8 password\n");
$node->safe_psql('postgres', "SELECT pg_drop_replication_slot('forgotten')");

# a command that fails, and that holds a secret
$node->safe_psql('postgres',
	"ALTER SYSTEM SET archive_mode = on; ALTER SYSTEM SET archive_command = 'false --password=geheim'");
$node->restart;
$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
wait_for($node, 'SELECT failed_count > 0 FROM pg_stat_archiver',
	'archiving fails');
$rows = audited($node);
is($rows->{'last archived'}[0], 'fail', 'which is seen');
is($rows->{'archive_command'}[1], 'set', 'though there is a command');
unlike(join("\n", map { @$_ } values %$rows),
	qr/geheim|known to all/, 'no secret is shown');
$node->safe_psql('postgres', "ALTER SYSTEM SET archive_command = ''");
expect_bad(audited($node), 'no command', 'archive_command');

#
# Spoiled all over
#
$node->append_conf('postgresql.conf', <<'CONF');
max_connections = 200
superuser_reserved_connections = 0
listen_addresses = '0.0.0.0'
shared_buffers = 16MB
effective_cache_size = 8MB
work_mem = 100GB
maintenance_work_mem = 1MB
wal_buffers = 64kB
fsync = off
full_page_writes = off
synchronous_commit = off
checkpoint_timeout = 30s
checkpoint_completion_target = 0.1
max_wal_size = 32MB
min_wal_size = 32MB
autovacuum = off
track_counts = off
autovacuum_vacuum_cost_delay = 100ms
log_lock_waits = off
log_checkpoints = off
log_line_prefix = ''
ssl = off
ssl_min_protocol_version = TLSv1
password_encryption = md5
wal_level = minimal
max_wal_senders = 0
track_io_timing = off
shared_preload_libraries = 'infra_monitor'
CONF
$node->safe_psql('postgres', "ALTER SYSTEM RESET $_")
  foreach qw(archive_mode archive_command max_locks_per_transaction);
$node->stop;
system_log('pg_checksums', '--disable', '-D', $data);
{
	local $node->{_logfile} = '/dev/null';
	$node->start;
}
my @beyond = (
	'pg_hba.conf errors', 'replication slots', 'pending restart',
	'configuration files', 'major version');
$rows = audited($node);
expect_bad($rows, 'spoiled all over',
	grep { my $item = $_; !grep { $_ eq $item } @beyond } sort keys %items);
is($rows->{$_}[0], 'fail', "spoiled all over: $_ fails")
  foreach ('max_connections', 'superuser_reserved_connections', 'fsync',
	'full_page_writes', 'autovacuum', 'track_counts', 'log destination',
	'ssl', 'ssl_min_protocol_version', 'password_encryption', 'wal_level',
	'max_wal_senders', 'MD5 passwords', 'roles without password');

#
# Tuned: where the item is a setting, with the value that is recommended
#
my $tls = "$data/server";
my %remedies = (
	'listen_addresses' => q{ALTER SYSTEM SET listen_addresses = 'localhost'},
	'statement_timeout' => q{ALTER ROLE app SET statement_timeout = '60s'; ALTER ROLE monitor SET statement_timeout = '60s'; ALTER ROLE guest SET statement_timeout = '60s'},
	'lock_timeout' => q{ALTER SYSTEM SET lock_timeout = '10s'},
	'log destination' => q{ALTER SYSTEM SET logging_collector = on},
	'ssl' => q{ALTER SYSTEM SET ssl = on; ALTER SYSTEM SET ssl_cert_file = 'server.crt'; ALTER SYSTEM SET ssl_key_file = 'server.key'},
	'data_checksums' => '',
	'MD5 passwords' => q{SET password_encryption = 'scram-sha-256'; ALTER ROLE app PASSWORD 'geheim'},
	'roles without password' => q{ALTER ROLE guest NOLOGIN},
	'superusers' => q{ALTER ROLE boss VALID UNTIL '2100-01-01'},
	'schema public' => q{REVOKE CREATE ON SCHEMA public FROM PUBLIC},
	'pg_hba.conf trust' => '',
	'pg_hba.conf open to the world' => '',
	'pg_hba.conf without TLS' => '',
	'pg_hba.conf weak methods' => '',
	'archive_command' => sprintf(q{ALTER SYSTEM SET archive_command = 'cp "%%p" "%s/%%f"'}, abs_path($node->archive_dir)),
	'last archived' => '',
	'standbys' => '',
	'pg_stat_statements' => q{ALTER SYSTEM SET shared_preload_libraries = pg_stat_statements, infra_monitor},
	'pg_stat_statements.track' => '',
	'extension updates' => q{ALTER EXTENSION hstore UPDATE});
foreach my $item (sort keys %$rows)
{
	my ($status, $current, $recommended) = @{ $rows->{$item} };

	next if $status eq 'pass' || $item eq 'major version';
	my $remedy = $remedies{$item}
	  // "ALTER SYSTEM SET $item = '$recommended'";
	$node->safe_psql('postgres', $remedy) if $remedy ne '';
}
unlink "$data/pg_hba.conf";
append_to_file("$data/pg_hba.conf", <<"HBA");
local all $me peer
local replication $me peer
hostssl all app,monitor 127.0.0.1/32 scram-sha-256
hostssl all app 10.0.0.0/8 scram-sha-256
HBA
system_or_bail('openssl', 'req', '-new', '-x509', '-days', '2', '-nodes',
	'-subj', '/CN=localhost', '-newkey', 'rsa:2048',
	'-keyout', "$tls.key", '-out', "$tls.crt");
chmod 0600, "$tls.key" or die $!;
$node->stop;
system_or_bail('pg_checksums', '--enable', '-D', $data);
$node->start;
$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
wait_for($node, 'SELECT archived_count > 0 FROM pg_stat_archiver',
	'tuned: WAL is archived');

$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->append_conf('postgresql.conf', "shared_buffers = 32MB\nlogging_collector = off\n");
append_to_file($standby->data_dir . '/postgresql.auto.conf',
	"shared_buffers = '32MB'\nlogging_collector = off\narchive_mode = on\n");
chmod 0600, $standby->data_dir . '/server.key' or die $!;
$standby->start;
$node->wait_for_catchup($standby, 'replay');

$rows = audited($node);
foreach my $item (sort keys %items)
{
	my ($status, $current) = @{ $rows->{$item} };

	# time goes on
	next if $item eq 'major version';
	is($status, 'pass', "tuned: $item") or diag $current;
	ok($seen_bad{$item}, "$item was seen when it was not good");
}
is( join(', ', grep { $rows->{$_}[0] eq 'fail' && $_ ne 'major version' } sort keys %$rows),
	'', 'tuned: nothing fails');
is($rows->{ssl}[1], 'on', 'tuned: TLS is on');

# a timeout that one role has lifted
$node->safe_psql('postgres', 'ALTER ROLE app SET idle_in_transaction_session_timeout = 0');
$rows = audited($node);
is( join('|', @{ $rows->{idle_in_transaction_session_timeout} }[ 0, 1 ]),
	'warn|5min; 0 for app',
	'a role without the timeout of all others');

#
# Who may see what
#
is( $node->safe_psql('postgres', <<'SQL'),
SET SESSION AUTHORIZATION monitor;
SELECT count(*) FILTER (WHERE status = 'unknown'), count(*) > 50 FROM infra_monitor.production_readiness;
SQL
	'0|t', 'pg_monitor sees what the sampler found');

# On a standby the sampler evaluates, too
$rows = audited($standby);
is_deeply([ sort keys %$rows ], [ sort keys %items ],
	'standby: all items are there');
is( join('|', @{ $rows->{'standbys'} }[ 0, 1 ]),
	'pass|this is one, and it receives WAL',
	'standby: it knows that it is one');
is( join('|', @{ $rows->{'last archived'} }[ 0, 1 ]),
	'unknown|a standby does not archive',
	'standby: nobody can know whether it could');
is($rows->{$_}[0], 'pass', "standby: $_")
  foreach ('pg_hba.conf trust', 'MD5 passwords', 'fsync', 'archive_mode');

$standby->stop;
$node->stop;
done_testing();
