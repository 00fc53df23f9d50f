# An incident: one who forgot to commit, and all who wait for that.  lock_waits
# shows the tree, lock_blame what it cost.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

# how long it lasts: IMON_INCIDENT_SECONDS=60 for a longer one
my $seconds = $ENV{IMON_INCIDENT_SECONDS} // 10;

my $node = new_server('incident', conf => <<'CONF');
deadlock_timeout = 1h
infra_monitor.activity_interval = 100ms
CONF
$node->start;
my $log_start = log_end($node);

my $control = open_session($node);
ask($control, $_) for split /^/, <<'SQL';
CREATE EXTENSION infra_monitor CASCADE
CREATE ROLE clerk
CREATE ROLE shop LOGIN IN ROLE clerk
CREATE TABLE stock (id int PRIMARY KEY, n int)
INSERT INTO stock VALUES (1, 0), (2, 0)
CREATE TABLE prices (id int)
CREATE TABLE orders (id int)
GRANT ALL ON stock, prices, orders TO shop, clerk
SQL

# Begins something that has to wait.
sub begin_wait
{
	my ($name, $query) = @_;
	my $session = open_session($node, user => 'shop', application_name => $name);

	$session->{pid} = ask($session, 'SELECT pg_backend_pid()');
	send_query($session, $query);
	$node->poll_query_until('postgres',
		"SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $session->{pid} AND NOT granted)"
	) or die "$name does not wait";
	return $session;
}

my $total = 'SELECT sum(blocked_time) FROM infra_monitor.lock_blame';

# What all have waited so far, ms, by PostgreSQL's own account.
my $waited = <<'SQL';
SELECT sum(extract(epoch FROM clock_timestamp() - waitstart) * 1000)
FROM pg_locks WHERE NOT granted
SQL

# Is it between these, within 5 %?
sub about
{
	my ($got, $least, $most, $name) = @_;

	note(sprintf '%s: %.1f ms, of %.1f ms to %.1f ms', $name, $got, $least, $most);
	return ok($got >= 0.95 * $least && $got <= 1.05 * $most, $name);
}

is(ask($control, 'SELECT count(*) FROM infra_monitor.lock_waits'),
	0, 'nobody waits yet');
is(ask($control, 'SELECT count(*) FROM infra_monitor.lock_blame'),
	0, 'nobody is to blame yet');

#
# The tree.  Each line waits for the one it is indented under.
#
#	forgetful
#		first			row of stock; holds orders, and its place in the queue
#			second		orders; holds an advisory lock
#				third	advisory lock
#			reader		orders
#			next		the same row, behind "first"
#		priced			prices
#
my $root = open_session($node, user => 'shop', application_name => 'forgetful');
my $root_pid = ask($root, 'SELECT pg_backend_pid()');
ask($root, 'BEGIN');
ask($root, 'LOCK TABLE prices');
ask($root, 'SET ROLE clerk');
ask($root, 'UPDATE stock SET n = n + 1 WHERE id = 1');

my %waiter;
$waiter{first} = begin_wait('first',
	'BEGIN; LOCK TABLE orders; UPDATE stock SET n = n + 2 WHERE id = 1; COMMIT');
$waiter{second} = begin_wait('second',
	'BEGIN; SELECT pg_advisory_xact_lock(1); SELECT count(*) FROM orders; COMMIT');
$waiter{third} = begin_wait('third', 'SELECT pg_advisory_xact_lock(1)');
$waiter{reader} = begin_wait('reader', 'SELECT count(*) FROM orders');
$waiter{next} =
  begin_wait('next', 'UPDATE stock SET n = n + 3 WHERE id = 1');
$waiter{priced} = begin_wait('priced', 'SELECT count(*) FROM prices');

my %pid = map { $_ => $waiter{$_}->{pid} } keys %waiter;
is( ask($control, <<'SQL'),
SELECT application_name, pid, blocked_by, root_pid, depth, lock_type, mode
FROM infra_monitor.lock_waits ORDER BY wait_time DESC
SQL
	join("\n",
		"first|$pid{first}|{$root_pid}|$root_pid|1|transactionid|ShareLock",
		"second|$pid{second}|{$pid{first}}|$root_pid|2|relation|AccessShareLock",
		"third|$pid{third}|{$pid{second}}|$root_pid|3|advisory|ExclusiveLock",
		"reader|$pid{reader}|{$pid{first}}|$root_pid|2|relation|AccessShareLock",
		"next|$pid{next}|{$pid{first}}|$root_pid|2|tuple|ExclusiveLock",
		"priced|$pid{priced}|{$root_pid}|$root_pid|1|relation|AccessShareLock"
	),
	'the tree is shown as it was built');
is( ask($control, <<'SQL'),
SELECT DISTINCT datname, usename, root_state, root_usename, root_application_name, root_query,
	root_datname, root_state_change < clock_timestamp(), root_xid IS NOT NULL, in_cycle
FROM infra_monitor.lock_waits
SQL
	'postgres|shop|idle in transaction|shop|forgetful|UPDATE stock SET n = n + 1 WHERE id = 1|postgres|t|t|f',
	'with its root');
is( ask($control,
		'SELECT bool_and(w.queryid = s.queryid AND w.query = s.query) FROM infra_monitor.lock_waits w JOIN infra_monitor.sessions() s USING (pid)'
	),
	't',
	'and with what the waiters run');
is( ask($control,
		'SELECT locked FROM infra_monitor.lock_waits ORDER BY wait_time DESC OFFSET 3'
	),
	"relation public.orders\ntuple (0,1) of relation public.stock\nrelation public.prices",
	'and what they wait for');

# the same account of time as PostgreSQL's own
is( ask($control, <<'SQL'),
WITH before AS MATERIALIZED (SELECT clock_timestamp() AS now),
	waits AS MATERIALIZED (SELECT pid, wait_time FROM infra_monitor.lock_waits WHERE (SELECT now FROM before) IS NOT NULL),
	after AS MATERIALIZED (SELECT clock_timestamp() AS now WHERE (SELECT count(*) FROM waits) > 0)
SELECT count(*), bool_and(w.wait_time BETWEEN extract(epoch FROM before.now - l.waitstart) * 1000
		AND extract(epoch FROM after.now - l.waitstart) * 1000)
FROM waits w JOIN pg_locks l USING (pid), before, after WHERE NOT l.granted
SQL
	'6|t',
	'wait_time is the time since the wait began');

wait_for($node,
	"SELECT min(wait_time) >= $seconds * 1000 FROM infra_monitor.lock_waits",
	"everybody waits for $seconds s");

# A look of the sampler may be late: what it has seen by now is the least.  When
# all have done, it is known what it can be at most.
my ($waits, $begun) = split /\|/, ask($control,
	'SELECT count(*), sum(extract(epoch FROM waitstart)) FROM pg_locks WHERE NOT granted');
my $up_to_date = "SELECT waited FROM (SELECT ($waited) AS waited, ($total) AS charged) x WHERE charged >= 0.97 * waited";
my $least = '';
for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
{
	last if ($least = ask($control, $up_to_date)) ne '';
	usleep(100_000);
}
isnt($least, '', 'the sampler has looked');
$least ||= 0;
ask($root, 'COMMIT');
ok(defined answer_of($waiter{$_}), "$_ is done") for sort keys %waiter;
my $most = 1000 * ($waits * ask($control, 'SELECT extract(epoch FROM clock_timestamp())') - $begun);
close_sessions($root, values %waiter);
wait_in_session($control, 'SELECT count(*) FROM infra_monitor.lock_waits',
	'nobody waits any more', 0);

# two more looks
wait_for_sample($node, 'time passes');
wait_for_sample($node, 'and passes');

my $forgetful = "FROM infra_monitor.lock_blame WHERE application_name = 'forgetful'";
about(ask($control, "SELECT blocked_time $forgetful"),
	$least, $most, 'the root is charged with all the waits');
about(ask($control, $total), $least, $most, 'and nobody else');
is( ask($control, <<SQL),
SELECT usename, datname, state, incidents, query, queryid IS NOT NULL,
	last_at BETWEEN now() - interval '10 min' AND now()
$forgetful
SQL
	'shop|postgres|idle in transaction|6|UPDATE stock SET n = n + $1 WHERE id = $2|t|t',
	'who it was is still known');
# a role sees the texts of its own sessions, or of all with pg_read_all_stats
ask($control, $_) for split /^/, <<'SQL';
CREATE ROLE visitor
GRANT USAGE ON SCHEMA infra_monitor TO visitor, shop
GRANT SELECT ON infra_monitor.lock_blame TO visitor, shop
GRANT EXECUTE ON FUNCTION infra_monitor.lock_blame(), infra_monitor.statement_stats(boolean), infra_monitor.pg_stat_statements_loaded() TO visitor, shop
SQL
my $seen = 'SELECT usename, application_name, state, queryid IS NULL, query IS NULL, incidents FROM infra_monitor.lock_blame ORDER BY blocked_time DESC LIMIT 1';
my %texts = (
	visitor => 'shop|<insufficient privilege>|idle in transaction|t|t|6',
	shop => 'shop|forgetful|idle in transaction|f|f|6',
	pg_monitor => 'shop|forgetful|idle in transaction|f|f|6');
foreach my $role (sort keys %texts)
{
	ask($control, "SET ROLE $role");
	is(ask($control, $seen), $texts{$role}, "what $role sees of it");
	ask($control, 'RESET ROLE');
}
# ("next" waits anew, for "first", until that has committed: mostly too short to be seen)
is( ask($control,
		"SELECT (SELECT sum(incidents) FROM infra_monitor.lock_blame) - 6 BETWEEN 0 AND 1"),
	't',
	'each wait was an incident once');

#
# A table that is full
#

ask($control, "SELECT infra_monitor.reset('pool')");
is(ask($control, 'SELECT count(*) FROM infra_monitor.lock_blame'),
	0, 'reset() clears it');

my $many = open_session($node, application_name => 'name 0');
ask($many, 'BEGIN');
ask($many, 'LOCK TABLE orders');
my $waiter = begin_wait('waiter', 'SELECT count(*) FROM orders');

wait_in_session($control,
	"SELECT coalesce(max(blocked_time), 0) > 300 FROM infra_monitor.lock_blame",
	'somebody costs more than others');

# one who is somebody else at each look
my $dropped =
  "(SELECT (drops->>'lock_blame')::int FROM infra_monitor.sampler_status)";
my $names = 0;
while (ask($control, "SELECT $dropped > 20") ne 't' && $names < 10_000)
{
	my $before = ask($control, $total) || 0;

	$names++;
	ask($many, "SET application_name = 'name $names'");
	1
	  while ask($control,
		"SELECT $before = coalesce(($total), 0)") eq 't';
}
wait_in_session($control,
	"SELECT abs(charged - waited) <= 0.05 * waited FROM (SELECT ($waited) AS waited, ($total) AS charged) x",
	'with many roots the sum is the same');
is( ask($control,
		"SELECT count(*) <= 257, count(*) FILTER (WHERE state = 'other') FROM infra_monitor.lock_blame"
	),
	't|1',
	'the table keeps its size, and has a row for the rest');
is( ask($control,
		"SELECT blocked_time > 300 FROM infra_monitor.lock_blame WHERE application_name = 'name 0'"
	),
	't',
	'who has cost the most is not forgotten');
is( ask($control, <<'SQL'),
SELECT usename IS NULL, application_name IS NULL, datname IS NULL, queryid IS NULL, query IS NULL,
	blocked_time > 0, last_at IS NOT NULL
FROM infra_monitor.lock_blame WHERE state = 'other'
SQL
	't|t|t|t|t|t|t',
	'the rest has no names');
is(ask($control, 'SELECT sum(incidents) FROM infra_monitor.lock_blame'),
	1, 'one wait is one incident, whoever causes it');
ask($many, 'COMMIT');
answer_of($waiter);

is(log_count($node, qr/(ERROR|FATAL|PANIC):.*infra_monitor/, $log_start),
	0, 'nothing went wrong in the sampler');
close_sessions($many, $waiter, $control);
$node->stop;
done_testing();
