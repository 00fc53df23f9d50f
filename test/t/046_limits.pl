# How many more can connect: what available_connections, pool_usage and the
# checks role_limit and database_limit say is compared with what the server
# does.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('limits', conf => <<'CONF');
max_connections = 12
max_wal_senders = 0
CONF
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION infra_monitor CASCADE;
CREATE ROLE ordinary LOGIN;
CREATE ROLE nobody LOGIN CONNECTION LIMIT 0;
CREATE ROLE few LOGIN CONNECTION LIMIT 2;
CREATE ROLE admin LOGIN SUPERUSER CONNECTION LIMIT 1;
CREATE DATABASE small CONNECTION LIMIT 3;
SQL
my $has_reserved = $node->pg_version >= 16;
$node->safe_psql('postgres',
	'CREATE ROLE preferred LOGIN IN ROLE pg_use_reserved_connections')
  if $has_reserved;

# Opens sessions until one is refused; returns that one, and the others.
sub open_all
{
	my (%options) = @_;
	my @sessions;

	while (my $session = begin_session($node, %options))
	{
		return ($session, @sessions) if await_session($session) eq 'refused';
		push @sessions, $session;
	}
	return;
}

# Restarts with this configuration, and returns the only session.
sub restart_with
{
	my (%settings) = @_;

	$node->append_conf('postgresql.conf', "$_ = $settings{$_}")
	  foreach sort keys %settings;
	$node->restart;
	my $observer = open_session($node);
	wait_in_session(
		$observer,
		'SELECT used_connections, authenticating FROM infra_monitor.pool_pressure',
		'the observer is alone',
		'1|0');
	return $observer;
}

my $columns =
  'SELECT reserved_connections, available_connections, used_ratio FROM infra_monitor.pool_pressure';

foreach my $case (
	{ superuser_reserved_connections => 3 },
	{ superuser_reserved_connections => 0 },
	{ superuser_reserved_connections => 1 },
	{ superuser_reserved_connections => 2, reserved_connections => 3 },
	{ superuser_reserved_connections => 0, reserved_connections => 3 })
{
	next if $case->{reserved_connections} && !$has_reserved;
	my $name = join ', ', map { "$_ = $case->{$_}" } sort keys %$case;

	subtest $name => sub {
		my $for_superusers = $case->{superuser_reserved_connections};
		my $for_preferred = $case->{reserved_connections} // 0;
		my $observer = restart_with(%$case);
		my ($reserved, $available) = split /\|/, ask($observer, $columns);

		is($reserved, $for_superusers + $for_preferred, 'so many are reserved');
		is($available, 12 - $reserved - 1, 'so many are left');

		my ($refused, @sessions) = open_all(user => 'ordinary');
		is(scalar @sessions, $available, 'and can be opened');
		is($refused->{sqlstate}, '53300', 'not one more');
		is(ask($observer, $columns), "$reserved|0|1", 'none is left');

		# those for whom slots are reserved
		if ($for_preferred)
		{
			($refused, my @more) = open_all(user => 'preferred');
			is(scalar @more, $for_preferred, 'some may use what is reserved');
			push @sessions, @more;
		}
		($refused, my @more) = open_all(user => 'admin');
		is(scalar @more, $for_superusers, 'superusers the rest, whatever limit they have');
		is( ask($observer,
				'SELECT used_connections, available_connections FROM infra_monitor.pool_pressure'
			),
			'12|0',
			'then the server is full');
		is( ask($observer,
				q{SELECT value FROM infra_monitor.check_role_limit()}),
			'0',
			'no limit of a role has been reached');
		close_sessions($observer, @sessions, @more);
	};
}

my $observer =
  restart_with(superuser_reserved_connections => 3, reserved_connections => 0)
  if $has_reserved;
$observer //= restart_with(superuser_reserved_connections => 3);

# Status, value and message of a check, as evaluated now.
sub check
{
	my ($name) = @_;

	return ask($observer,
		"SELECT status, value, message FROM infra_monitor.evaluate_checks('pool') WHERE name = '$name'"
	);
}

# Limits of a role or database in pool_usage.
sub limits_of
{
	my ($condition) = @_;

	return ask($observer,
		"SELECT DISTINCT role_limit, database_limit, limit_ratio FROM infra_monitor.pool_usage WHERE $condition"
	);
}

subtest 'a limit of 0' => sub {
	my ($refused) = open_all(user => 'nobody');

	is($refused->{message}, 'too many connections for role "nobody"',
		'nobody may connect');
	is( check('role_limit'),
		'ok|0|there are no connections of a role that has a connection limit',
		'and nobody has');

	# connected before there was a limit
	my $early = open_session($node, user => 'ordinary');
	ask($observer, 'ALTER ROLE ordinary CONNECTION LIMIT 0');
	is( check('role_limit'),
		'critical|1|role "ordinary" has 1 of the 0 connections that it may have',
		'somebody who has is at the limit');
	is(limits_of(q{usename = 'ordinary'}), '0||1', 'also in pool_usage');
	ask($observer, 'ALTER ROLE ordinary CONNECTION LIMIT -1');
	close_sessions($early);
};

subtest 'the limit of a role' => sub {
	my $one = open_session($node, user => 'few');

	is( check('role_limit'),
		'ok|0.5|role "few" has 1 of the 2 connections that it may have',
		'half of it');
	is(limits_of(q{usename = 'few'}), '2||0.5', 'also in pool_usage');
	close_sessions($one);

	my ($refused, @sessions) = open_all(user => 'few');
	is($refused->{message}, 'too many connections for role "few"',
		'one is refused');
	is( check('role_limit'),
		'critical|1|role "few" has 2 of the 2 connections that it may have',
		'when the check says so');
	is(limits_of(q{usename = 'few'}), '2||1', 'and pool_usage');
	close_sessions(@sessions);
};

subtest 'the limit of a database' => sub {
	my ($refused, @sessions) =
	  open_all(user => 'ordinary', database => 'small');

	is(scalar @sessions, 3, 'three may connect');
	is($refused->{message}, 'too many connections for database "small"',
		'one is refused');
	is( check('database_limit'),
		'critical|1|database "small" has 3 of the 3 connections that it may have',
		'when the check says so');
	is(limits_of(q{datname = 'small'}), '|3|1', 'and pool_usage');

	# superusers heed neither limit, but take part in that of the database
	push @sessions,
	  map { open_session($node, user => 'admin', database => 'small') } 1 .. 2;
	is( check('database_limit'),
		'critical|1.6666666666666667|database "small" has 5 of the 3 connections that it may have',
		'superusers may connect, and are counted');
	is( check('role_limit'),
		'ok|0|there are no connections of a role that has a connection limit',
		'their own limit is none');
	close_sessions(@sessions);
};

close_sessions($observer);
$node->stop;
done_testing();
