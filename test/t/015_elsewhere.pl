# Sessions that come by TCP, that do not say what they do, and that are in another
# database.

use strict;
use warnings;

use InfraMonitor;
use IO::Socket::IP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $has_ipv6 = defined IO::Socket::IP->new(LocalHost => '::1', Listen => 1);

my $node = new_server('elsewhere',
	conf => "listen_addresses = '127.0.0.1" . ($has_ipv6 ? ', ::1' : '') . "'\n");
$node->start;

my $observer = open_session($node);
ask($observer, 'CREATE EXTENSION infra_monitor CASCADE');
ask($observer, 'CREATE DATABASE elsewhere');

#
# Addresses: of a session, of its slow queries, and of those that are kept
#

my %clients;
foreach my $address ('127.0.0.1', $has_ipv6 ? '::1' : ())
{
	$clients{$address} =
	  open_session($node, tcp => $address, application_name => "from $address");
	ask($clients{$address}, 'SET infra_monitor.slow_query_threshold = 0');
	ask($clients{$address}, 'SELECT count(*) FROM pg_class');
}
wait_for_sample($node);
end_sampler($observer);    # the next one keeps slow queries at once
foreach my $address ('127.0.0.1', '::1')
{
  SKIP:
	{
		skip 'no IPv6 here', 3 unless $clients{$address};
		my $of = "WHERE application_name = 'from $address'";

		is(ask($observer, "SELECT host(client_addr), connections, idle FROM infra_monitor.pool_usage $of"),
			"$address|1|1", "$address: a session");
		is(ask($observer, "SELECT DISTINCT host(client_addr) FROM infra_monitor.slow_query_log $of"),
			$address, "$address: its slow queries");
		wait_in_session($observer,
			"SELECT string_agg(DISTINCT host(client_addr), ' ') FROM infra_monitor.slow_query_samples $of",
			"$address: those that are kept", $address);
	}
}
close_sessions(values %clients);

#
# A session that does not say what it does is there, in no state
#

my $silent = open_session($node, database => 'elsewhere', application_name => 'silent');

ask($silent, 'SET track_activities = off');
is( ask($observer, "SELECT connections, active, idle, idle_in_transaction FROM infra_monitor.pool_usage WHERE application_name = 'silent'"),
	'1|0|0|0', 'track_activities off: in pool_usage');
is( ask($observer, "SELECT string_agg(labels ->> 'state' || ' ' || value, ', ' ORDER BY labels ->> 'state') FROM infra_monitor.metrics WHERE name = 'infra_monitor_pool_connections' AND labels ->> 'datname' = 'elsewhere'"),
	'active 0, idle 0, idle_in_transaction 0, other 1', 'track_activities off: in metrics');
close_sessions($silent);

#
# A wait in another database, where names of relations are not known
#

my $holder = open_session($node, database => 'elsewhere');
my $waiter = open_session($node, database => 'elsewhere', application_name => 'waiter');
my $there = open_session($node, database => 'elsewhere');
my $locked = "SELECT locked FROM infra_monitor.lock_waits WHERE application_name = 'waiter'";

ask($holder, 'CREATE EXTENSION infra_monitor CASCADE');
ask($holder, 'CREATE TABLE held (id int)');
my $relation = ask($holder, q{SELECT 'relation ' || 'held'::regclass::oid || ' of database ' || oid FROM pg_database WHERE datname = 'elsewhere'});
ask($holder, 'BEGIN');
ask($holder, 'LOCK held');
send_query($waiter, 'SELECT * FROM held');
wait_in_session($there, $locked, 'a wait, from its database', 'relation public.held');
is(ask($observer, $locked), $relation, 'a wait, from another one');
ask($holder, 'COMMIT');
is(answer_of($waiter), '', 'it is over');
close_sessions($holder, $waiter, $there);

$node->stop;
done_testing();
