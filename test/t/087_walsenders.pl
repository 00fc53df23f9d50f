# Several processes that send WAL, before they stream and while they are behind,
# and with no slot: in both expositions, by their names.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('walsenders', init => [ allows_streaming => 1 ]);
$node->start;
my $observer = open_session($node);
ask($observer, 'CREATE EXTENSION infra_monitor CASCADE');

# They have asked for nothing yet
my @senders = map {
	open_session($node, replication => 'true', application_name => $_)
} ('one', 'other two', 'one');

is( ask($observer, <<'SQL'), "one|0\nother two|0", 'a standby for each name');
SELECT labels ->> 'application_name', value FROM infra_monitor.metrics
WHERE name = 'infra_monitor_replication_standby_lag_seconds' ORDER BY 1
SQL
is( ask($observer, "SELECT count(*) FROM infra_monitor.metrics WHERE name = 'infra_monitor_replication_standby_lag_bytes'"),
	'0', 'which replays nothing');

my $text = ask($observer, "SELECT infra_monitor.metrics_text('postgres_exporter')");
my @position = $text =~ /^pg_stat_replication_pg_current_wal_lsn_bytes\{(.*?)\} \d/mg;
my @expected = map {
	qq(application_name="$_",client_addr="",state="startup",slot_name="")
} ('one', 'one', 'other two');
is_deeply([ sort map { s/,pid="\d+"//r } @position ], \@expected, 'postgres_exporter: each process');
is($text =~ /^pg_stat_replication_pg_wal_lsn_diff\{/m, '', 'postgres_exporter: which replays nothing');

# One that is behind and one that makes a backup: neither reads what it gets, and
# that is more than a connection takes.
my $begin = ask($observer, 'SELECT pg_current_wal_lsn()');
ask($observer, 'CREATE TABLE much AS SELECT md5(i::text) FROM generate_series(1, 100000) i');
send_query($senders[0], "START_REPLICATION PHYSICAL $begin");
send_query($senders[1], "BASE_BACKUP (CHECKPOINT 'fast')");
foreach my $sender ('one",client_addr="",state="catchup', 'other two",client_addr="",state="backup')
{
	wait_in_session($observer,
		"SELECT strpos(infra_monitor.metrics_text('postgres_exporter'), 'pg_stat_replication_pg_current_wal_lsn_bytes{application_name=\"$sender\"') > 0",
		"postgres_exporter: $sender");
}

close_sessions(@senders);
is(ask($observer, "SELECT count(*) FROM infra_monitor.metrics WHERE name = 'infra_monitor_replication_standby_lag_seconds'"),
	'0', 'they have gone');

$node->stop;
done_testing();
