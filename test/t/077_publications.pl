# Logical replication of a database that has the history: what becomes of a
# subscriber when the next day comes, that a check says so before, and what the
# manual advises, before and after.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

# Days are counted from today: not across midnight
not_across_midnight(300);

my $publisher = new_server(
	'publisher',
	init => [ allows_streaming => 'logical' ],
	conf => "infra_monitor.statement_interval = 1s\n");
$publisher->start;
$publisher->safe_psql('postgres',
	'CREATE EXTENSION infra_monitor CASCADE; CREATE TABLE mine (i int PRIMARY KEY)');
my $subscriber = PostgreSQL::Test::Cluster->new('subscriber');
$subscriber->init;
$subscriber->append_conf('postgresql.conf', "wal_retrieve_retry_interval = 100ms\n");
$subscriber->start;
$subscriber->safe_psql('postgres', 'CREATE TABLE mine (i int PRIMARY KEY)');
my $connection = $publisher->connstr . ' dbname=postgres';

sub published_is
{
	my ($status, $message, $name) = @_;

	return like(
		$publisher->safe_psql('postgres',
			"SELECT status, message FROM infra_monitor.evaluate_checks('replication') WHERE name = 'history_published'"),
		qr/^$status\|$message$/, $name);
}

# Makes the partition of a day to come as the sampler would, with a row.
sub begin_day
{
	my ($day) = @_;

	$publisher->safe_psql('postgres', <<SQL);
SET TimeZone = 'UTC';
DO \$\$
DECLARE
	day timestamptz := date_trunc('day', now()) + interval '1 day' * $day;
	name text := 'samples_' || to_char(day, 'YYYYMMDD');
BEGIN
	EXECUTE format('CREATE TABLE infra_monitor.%I (LIKE infra_monitor.samples INCLUDING DEFAULTS)', name);
	EXECUTE format('ALTER TABLE infra_monitor.samples ATTACH PARTITION infra_monitor.%I FOR VALUES FROM (%L) TO (%L)',
		name, day, day + interval '1 day');
	EXECUTE format('ALTER EXTENSION infra_monitor ADD TABLE infra_monitor.%I', name);
	INSERT INTO infra_monitor.samples
	SELECT s.* FROM (SELECT * FROM infra_monitor.samples ORDER BY sampled_at LIMIT 1) l,
		jsonb_populate_record(l::infra_monitor.samples, jsonb_build_object('sampled_at', day)) s;
END \$\$
SQL
	return $publisher->safe_psql('postgres',
		"SELECT 'samples_' || to_char(now() AT TIME ZONE 'UTC' + interval '1 day' * $day, 'YYYYMMDD')");
}

sub arrives
{
	my ($i, $name) = @_;

	return wait_for($subscriber, "SELECT EXISTS (SELECT FROM mine WHERE i = $i)", $name);
}

# From the manual: on the publisher, prints what a subscriber lacks.
sub make_missing_tables
{
	my $commands = $publisher->safe_psql('postgres', <<'SQL');
SELECT 'CREATE SCHEMA IF NOT EXISTS infra_monitor;'
UNION ALL
SELECT format('CREATE TABLE IF NOT EXISTS infra_monitor.%I (%s%s);', c.relname,
	string_agg(format('%I text', a.attname), ', ' ORDER BY a.attnum), ', ' || pg_get_constraintdef(k.oid))
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
	LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p'
WHERE c.relnamespace = 'infra_monitor'::regnamespace AND c.relkind IN ('r', 'p')
GROUP BY c.relname, k.oid;
SQL
	$subscriber->safe_psql('postgres', "SET client_min_messages = error; $commands");
	return;
}

wait_for_sample($publisher, 'samples are taken');
wait_for_partitions($publisher);

#
# what is published
#
published_is('ok', 'no publication has the history', 'nothing is published');
foreach my $case (
	[ 'FOR TABLE mine', 0 ],
	[ 'FOR TABLES IN SCHEMA public', 0 ],
	[ 'FOR TABLE infra_monitor.health_state', 0, 'whose names stay the same' ],
	[ 'FOR TABLE infra_monitor.' . $publisher->safe_psql('postgres', "SELECT min(name) FROM infra_monitor.history_partitions() WHERE history = 'samples'"), 0, 'a single day' ],
	[ 'FOR TABLE mine WHERE (i > 0)', 0 ],
	[ 'FOR ALL TABLES', 1 ],
	[ 'FOR TABLES IN SCHEMA infra_monitor', 1 ],
	[ 'FOR TABLE infra_monitor.wait_samples', 1 ],
	[ 'FOR TABLE infra_monitor.samples WITH (publish_via_partition_root)', 1 ])
{
	my ($what, $with_history, $why) = @$case;

	$publisher->safe_psql('postgres', "CREATE PUBLICATION tried $what");
	if ($with_history)
	{
		published_is('warning', 'tried publishes the history: .*', $what);
	}
	else
	{
		published_is('ok', 'no publication has the history', "$what: no matter" . ($why ? ", $why" : ''));
	}
	$publisher->safe_psql('postgres', 'DROP PUBLICATION tried');
}
SKIP:
{
	skip 'no exceptions in this version', 2
	  if $publisher->safe_psql('postgres', "SELECT count(*) FROM pg_attribute WHERE attrelid = 'pg_publication_rel'::regclass AND attname = 'prexcept'") == 0;
	my $all = $publisher->safe_psql('postgres',
		"SELECT string_agg(oid::regclass::text, ', ') FROM pg_class WHERE relnamespace = 'infra_monitor'::regnamespace AND relkind = 'p'");

	$publisher->safe_psql('postgres', "CREATE PUBLICATION tried FOR ALL TABLES EXCEPT (TABLE $all)");
	published_is('ok', '.*', 'all tables but these');
	$publisher->safe_psql('postgres', 'DROP PUBLICATION tried; CREATE PUBLICATION tried FOR ALL TABLES EXCEPT (TABLE infra_monitor.samples)');
	published_is('warning', '.*', 'all tables but one of them');
	$publisher->safe_psql('postgres', 'DROP PUBLICATION tried');
}

#
# a subscriber of all tables
#
$publisher->safe_psql('postgres', 'CREATE PUBLICATION everything FOR ALL TABLES');
wait_for($publisher, "SELECT status = 'warning' FROM infra_monitor.health_checks WHERE name = 'history_published'",
	'the sampler warns');
my $subscribe = "CREATE SUBSCRIPTION sub CONNECTION '$connection' PUBLICATION everything WITH (copy_data = false)";
my ($status, $out, $said) = $subscriber->psql('postgres', $subscribe);
like($said, qr/(schema "infra_monitor"|relation "infra_monitor\.\w+") does not exist/, 'one without these tables cannot subscribe');
make_missing_tables();
$subscriber->safe_psql('postgres', $subscribe);
$publisher->safe_psql('postgres', 'INSERT INTO mine VALUES (1)');
arrives(1, 'with tables of these names it can, and follows');

# also when the state of a check is updated
my $state = "SELECT status FROM infra_monitor.health_state WHERE check_name = 'connections_used'";
wait_for($publisher, $state, 'a check has a state', 'ok');
$publisher->safe_psql('postgres', "INSERT INTO infra_monitor.health_threshold_overrides VALUES ('connections_used', 0, 0)");
wait_for($publisher, $state, 'another one', 'critical');
$publisher->safe_psql('postgres', 'INSERT INTO mine VALUES (0)');
arrives(0, 'which does not stop it');

# as on the next day
my $day = begin_day(2);
$publisher->safe_psql('postgres', 'INSERT INTO mine VALUES (2)');
my $found = 0;
for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
{
	$found = log_count($subscriber, qr/ERROR: .*logical replication target relation "infra_monitor\.$day" does not exist/);
	last if $found > 1;
	usleep(100_000);
}
cmp_ok($found, '>', 1, 'the next day stops it, again and again');
is($subscriber->safe_psql('postgres', 'SELECT count(*) FROM mine WHERE i = 2'), 0, 'for all tables');

# the remedy for one that has stopped
make_missing_tables();
arrives(2, 'when it has a table of that name it goes on');
is($subscriber->safe_psql('postgres', "SELECT count(*) FROM infra_monitor.$day"), 0,
	'without the rows of a table that was not there when it subscribed');

# the remedy before: not before the publisher's changes are behind the new publication
$publisher->safe_psql('postgres', 'CREATE PUBLICATION chosen FOR TABLE mine; INSERT INTO mine VALUES (3)');
arrives(3, 'it follows');
$publisher->wait_for_catchup('sub');
$subscriber->safe_psql('postgres', 'ALTER SUBSCRIPTION sub SET PUBLICATION chosen WITH (copy_data = false)');
$publisher->safe_psql('postgres', 'DROP PUBLICATION everything');
published_is('ok', 'no publication has the history', 'with a publication of chosen tables all is well');
wait_for($publisher, "SELECT status = 'ok' FROM infra_monitor.health_checks WHERE name = 'history_published'",
	'the sampler says so');
begin_day(3);
$publisher->safe_psql('postgres', 'INSERT INTO mine VALUES (4)');
arrives(4, 'and the next day does not matter');
my $names = $subscriber->safe_psql('postgres',
	"SELECT string_agg(format('infra_monitor.%I', relname), ', ') FROM pg_class WHERE relnamespace = 'infra_monitor'::regnamespace");
$subscriber->safe_psql('postgres', "DROP TABLE $names");
$publisher->safe_psql('postgres', 'INSERT INTO mine VALUES (5)');
arrives(5, 'nor that the tables are dropped');

#
# nothing is updated that has no replica identity, so that being published does
# not keep the sampler from writing
#
$publisher->safe_psql('postgres', 'CREATE PUBLICATION everything FOR ALL TABLES');
my $updates = "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relid = 'infra_monitor.health_state'::regclass";
my $before = $publisher->safe_psql('postgres', $updates);
$publisher->safe_psql('postgres', "INSERT INTO infra_monitor.health_threshold_overrides VALUES ('lock_waits', 0, 0)");
wait_for($publisher, "SELECT EXISTS (SELECT FROM infra_monitor.health_state WHERE check_name = 'lock_waits' AND status = 'critical')",
	'states are stored while they are published');
wait_for($publisher, "SELECT ($updates) > $before", 'which is an update');
is($publisher->safe_psql('postgres', <<'SQL'), 'health_state', 'of the only table that is updated');
SELECT string_agg(relname, ', ') FROM pg_stat_user_tables
WHERE schemaname = 'infra_monitor' AND n_tup_upd + n_tup_del > 0
SQL
is($publisher->safe_psql('postgres',
		"SELECT relreplident, EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary) FROM pg_class c WHERE oid = 'infra_monitor.health_state'::regclass"),
	'd|t', 'which has a primary key');
wait_for_sample($publisher, 'samples are taken');
is(status_of($publisher, 'last_error'), '', 'all that without an error');

#
# elsewhere
#
$publisher->safe_psql('postgres', 'CREATE DATABASE other');
$publisher->safe_psql('other', 'CREATE EXTENSION infra_monitor CASCADE; CREATE PUBLICATION everything FOR ALL TABLES');
is($publisher->safe_psql('other', 'SELECT value, message FROM infra_monitor.check_history_published()'),
	'|the history is in another database', 'not known in another database');

$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION sub');
$subscriber->stop;
$publisher->stop;
done_testing();
