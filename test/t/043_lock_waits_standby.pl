# On a standby it is the startup process that waits, for a reader who takes his
# time, and new readers queue up behind it.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = new_server('primary', init => [ allows_streaming => 1 ]);
$primary->start;
$primary->safe_psql('postgres',
	'CREATE EXTENSION infra_monitor CASCADE; CREATE TABLE report (id int)');
$primary->backup('backup');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->append_conf('postgresql.conf', <<'CONF');
max_standby_streaming_delay = -1
deadlock_timeout = 1h
infra_monitor.activity_interval = 100ms
CONF
$standby->start;

my $control = open_session($standby);
my $reader = open_session($standby, application_name => 'reader');
my $late = open_session($standby, application_name => 'late');
my $reader_pid = ask($reader, 'SELECT pg_backend_pid()');
my $late_pid = ask($late, 'SELECT pg_backend_pid()');
my $startup_pid = ask($control,
	"SELECT pid FROM pg_stat_activity WHERE backend_type = 'startup'");

ask($reader, 'BEGIN');
ask($reader, 'SELECT count(*) FROM report');
$primary->safe_psql('postgres', 'ALTER TABLE report ADD more int');
wait_in_session($control,
	'SELECT count(*) FROM infra_monitor.lock_waits WHERE wait_time > 0',
	'replay waits for a lock', 1);
send_query($late, 'SELECT count(*) FROM report');
wait_in_session($control, 'SELECT count(*) FROM infra_monitor.lock_waits',
	'and a query waits behind it', 2);

is( ask($control, <<'SQL'),
SELECT pid, datname IS NULL, usename IS NULL, blocked_by, root_pid, root_state, root_application_name,
	depth, locked, mode, in_cycle
FROM infra_monitor.lock_waits ORDER BY depth
SQL
	join("\n",
		"$startup_pid|t|t|{$reader_pid}|$reader_pid|idle in transaction|reader|1|relation public.report|AccessExclusiveLock|f",
		"$late_pid|f|f|{$startup_pid}|$reader_pid|idle in transaction|reader|2|relation public.report|AccessShareLock|f"
	),
	'the chain goes through the startup process');
is( ask($control, "SELECT pg_blocking_pids($late_pid)"),
	"{$startup_pid}", 'as PostgreSQL sees it');
wait_in_session($control, <<'SQL', 'the reader is to blame', '2');
SELECT incidents FROM infra_monitor.lock_blame
WHERE application_name = 'reader' AND state = 'idle in transaction' AND blocked_time > 200
SQL

ask($reader, 'COMMIT');
is(answer_of($late), 0, 'the query goes on');
wait_in_session($control, 'SELECT count(*) FROM infra_monitor.lock_waits',
	'and nobody waits any more', 0);

close_sessions($control, $reader, $late);
$standby->stop;
$primary->stop;
done_testing();
