# Partitions of the history: made ahead of time, or on demand; removed when they
# have expired, in small steps that hold up nobody; never at the cost of what
# somebody else has made of them.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

# Days are counted from today: not across midnight
not_across_midnight(400);

my $node =
  new_server('partitions', conf => "infra_monitor.statement_interval = 1s\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');

# All partitions, their rows, and whether they belong to the extension.
my $list = <<'SQL';
SELECT c.relname, CASE WHEN pg_relation_size(c.oid) > 0 THEN 'true' ELSE 'false' END,
	EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'infra_monitor.samples'::regclass ORDER BY 1
SQL

# The name of the partition of a day: 0 is today, by UTC.
sub partition_of
{
	my ($day) = @_;

	return $node->safe_psql('postgres',
		"SELECT 'samples_' || to_char(now() AT TIME ZONE 'UTC' + interval '1 day' * $day, 'YYYYMMDD')");
}

# Waits until something is logged.
sub wait_until_logged
{
	my ($offset, $pattern, $name) = @_;

	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		last if log_count($node, $pattern, $offset);
		usleep(100_000);
	}
	return is(log_count($node, $pattern, $offset), 1, $name);
}

# Makes a partition as the sampler would have, on that day, with rows.
sub make_partition
{
	my ($name) = @_;
	my ($table, $day) = $name =~ /^(\w+)_(\d{8})$/;
	my $time = $table eq 'statement_texts' ? 'first_seen' : 'sampled_at';

	$node->safe_psql('postgres', <<SQL);
SET TimeZone = 'UTC';
BEGIN;
CREATE TABLE infra_monitor.$name (LIKE infra_monitor.$table INCLUDING DEFAULTS);
SELECT format('ALTER TABLE infra_monitor.$table ATTACH PARTITION infra_monitor.$name FOR VALUES FROM (%L) TO (%L)',
	timestamptz '$day', timestamptz '$day' + interval '1 day') \\gexec
ALTER EXTENSION infra_monitor ADD TABLE infra_monitor.$name;
INSERT INTO infra_monitor.$table
SELECT s.* FROM (SELECT * FROM infra_monitor.$table ORDER BY $time DESC LIMIT 1) l, generate_series(1, 10) i,
	jsonb_populate_record(l::infra_monitor.$table, jsonb_build_object('$time', timestamptz '$day' + interval '1 hour' * i)) s;
COMMIT;
SQL
	return $name;
}

# Starts the sampler anew, with the server or, so that sessions live, alone.
# Partitions are looked after hourly, and then.
sub restart_sampler
{
	my ($alone) = @_;

	return $node->restart unless $alone;
	return end_sampler($node);
}

# The rows that have expired after seven days.
my $old_rows = "sampled_at < date_trunc('day', now(), 'UTC') - interval '7 days'";

#
# today's and tomorrow's
#
my $today = partition_of(0);
my $tomorrow = partition_of(1);
wait_for($node,
	"SELECT count(*) = 2 FROM pg_inherits WHERE inhparent = 'infra_monitor.samples'::regclass",
	'two partitions appear by themselves');
wait_for_sample($node, 'and are filled');
is($node->safe_psql('postgres', $list), "$today|true|t\n$tomorrow|false|t",
	'they are of today and tomorrow, and belong to the extension');
is( $node->safe_psql(
		'postgres',
		"SET TimeZone = 'UTC'; SELECT c.relname || ' ' || pg_get_expr(c.relpartbound, c.oid) FROM pg_class c"
		  . " WHERE c.relispartition AND c.relkind = 'r' AND c.relname LIKE 'samples%' ORDER BY 1"),
	$node->safe_psql('postgres', <<'SQL'),
SET TimeZone = 'UTC';
SELECT format('samples_%s FOR VALUES FROM (%L) TO (%L)', to_char(d, 'YYYYMMDD'), d::timestamptz, d::timestamptz + interval '1 day')
FROM generate_series(current_date, current_date + 1, interval '1 day') d ORDER BY 1
SQL
	'and hold a day by UTC each');

# missing ones come back
$node->safe_psql('postgres', <<SQL);
BEGIN;
ALTER EXTENSION infra_monitor DROP TABLE infra_monitor.$today;
ALTER EXTENSION infra_monitor DROP TABLE infra_monitor.$tomorrow;
DROP TABLE infra_monitor.$today, infra_monitor.$tomorrow;
COMMIT;
SQL
wait_for_sample($node, 'without a partition for today, a sample makes one');
like($node->safe_psql('postgres', $list), qr/^$today\|true\|t$/m, 'that belongs to the extension');
restart_sampler();
wait_for($node, "SELECT to_regclass('infra_monitor.$tomorrow') IS NOT NULL",
	"a new sampler makes tomorrow's in time");

#
# expired ones: first the rows of all, then one table after the other
#
# (a sampler that works would begin with the first while we make the others)
$node->safe_psql('postgres', 'ALTER SYSTEM SET infra_monitor.enabled = off');
$node->reload;
wait_for($node, "SELECT state = 'disabled' FROM infra_monitor.sampler_status",
	'the sampler waits');
my @old = map { make_partition($_) } qw(samples_20200101 samples_20200102), partition_of(-8);
my @kept = map { make_partition($_) } partition_of(-7), partition_of(-1);

# A note is taken of each table that is dropped: the transaction, and whether an
# expired partition still has rows.
my $expired = join ', ', map { "'$_'" } @old;
$node->safe_psql('postgres', <<SQL);
CREATE TABLE drops (n serial, transaction xid8, name text, rows_left boolean);
CREATE FUNCTION note_drop() RETURNS event_trigger LANGUAGE plpgsql AS \$\$
BEGIN
	INSERT INTO public.drops (transaction, name, rows_left)
	SELECT pg_current_xact_id(), d.object_name,
		EXISTS (SELECT FROM infra_monitor.samples WHERE $old_rows)
	FROM pg_event_trigger_dropped_objects() d WHERE d.original;
END \$\$;
CREATE EVENT TRIGGER note_drop ON sql_drop EXECUTE FUNCTION note_drop();
SQL
is($node->safe_psql('postgres', "SELECT count(*) FROM infra_monitor.samples WHERE $old_rows"),
	30, 'there are old rows');

# what is not rolled up yet is kept for another day
$node->safe_psql('postgres', 'SELECT infra_monitor.roll_up()');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET infra_monitor.enabled');
$node->reload;
wait_for($node,
	"SELECT count(*) = 0 FROM pg_class WHERE relname IN ($expired)",
	'a new sampler removes what has expired');
is( $node->safe_psql('postgres', 'SELECT name, rows_left FROM drops ORDER BY n'),
	join("\n", map { "$_|f" } @old),
	'rows first, then the tables, oldest first');
is($node->safe_psql('postgres', 'SELECT count(DISTINCT transaction) FROM drops'),
	3, 'each in a transaction of its own');
is( $node->safe_psql('postgres', $list),
	join("\n", (map { "$_|true|t" } @kept), "$today|true|t", "$tomorrow|false|t"),
	'what has not expired is left alone');
$node->safe_psql('postgres', 'DROP EVENT TRIGGER note_drop');

# a shorter retention
$node->append_conf('postgresql.conf', "infra_monitor.retention = '1d'");
$node->reload;
make_partition(my $two_days_ago = partition_of(-2));
restart_sampler();
wait_for($node,
	"SELECT count(*) = 0 FROM pg_class WHERE relname IN ('$kept[0]', '$two_days_ago')",
	'a shorter retention is followed');
is( $node->safe_psql('postgres', $list),
	join("\n", "$kept[1]|true|t", "$today|true|t", "$tomorrow|false|t"),
	'to the day');
# (a transaction of ours may have kept the sampler waiting)
is(log_count($node, '(WARNING|ERROR|PANIC): (?!.*lock timeout)'), 0, 'all that without an error');

#
# a reader of the oldest delays its removal, and nobody else
#
# (the sampler may still be looking whether there is more to remove)
$node->safe_psql('postgres', 'ALTER SYSTEM SET infra_monitor.enabled = off');
$node->reload;
wait_for($node, "SELECT state = 'disabled' FROM infra_monitor.sampler_status",
	'the sampler waits again');
my $old = make_partition('samples_20200101');
my $reader = open_session($node);
my $other = open_session($node);
ask($reader, 'BEGIN');
is(ask($reader, "SELECT count(*) FROM infra_monitor.$old"), 10, 'somebody reads an old partition');
# (it has waited, and does all its tasks now; another one would complain again)
$node->safe_psql('postgres', 'ALTER SYSTEM RESET infra_monitor.enabled');
$node->reload;
my $longest = 0;
for (1 .. $PostgreSQL::Test::Utils::timeout_default)
{
	my $end = time + 1;

	while (time <= $end)
	{
		my $time = seconds { ask($other, 'SELECT count(*) FROM infra_monitor.samples') };

		$longest = $time if $time > $longest;
	}
	last if ask($other, "SELECT last_error LIKE 'partitions: %' FROM infra_monitor.sampler_status") eq 't';
}
is( status_of($node, 'last_error'),
	'partitions: canceling statement due to lock timeout',
	'the sampler gives up, and says why');
# without a timeout they would until the reader has done
cmp_ok($longest, '<', 20, 'nobody queues behind it for long');
is(ask($reader, "SELECT count(*) FROM infra_monitor.$old"), 10, 'the reader can go on');
wait_for_sample($node, 'samples are taken meanwhile');
is(log_count($node, 'WARNING: .*task "partitions": canceling statement due to lock timeout'),
	1, 'it is logged once');
like(
	$node->safe_psql('postgres', 'SELECT * FROM infra_monitor.dashboard()'),
	qr/^last error at [-0-9: ]+: partitions: canceling statement due to lock timeout$/m,
	'the dashboard shows it');
ask($reader, 'COMMIT');

# one of the whole history delays the table, not the rows
ask($reader, 'BEGIN');
ask($reader, 'LOCK TABLE ONLY infra_monitor.samples IN ACCESS SHARE MODE');
my $error_before = status_of($node, 'last_error_at');
restart_sampler('alone');
wait_for($node, "SELECT count(*) = 0 FROM infra_monitor.$old",
	'the next sampler removes the rows while the history is being read');
wait_for($node,
	"SELECT last_error_at > '$error_before' AND last_error LIKE 'partitions: % lock timeout' FROM infra_monitor.sampler_status",
	'but not the table');
is($node->safe_psql('postgres', "SELECT to_regclass('infra_monitor.$old') IS NOT NULL"),
	't', 'which is there');
wait_for_sample($node, 'samples are taken meanwhile');
ask($reader, 'COMMIT');

close_sessions($reader, $other);

#
# what somebody else has made of a partition
#
make_partition('samples_20200102');
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE traces (who text);
CREATE FUNCTION trace() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.traces VALUES (current_user); RETURN NULL; END $$;
CREATE TRIGGER trace BEFORE TRUNCATE ON infra_monitor.samples_20200102 EXECUTE FUNCTION trace();
SQL
restart_sampler();
wait_for($node,
	"SELECT last_error = 'partitions: table \"samples_20200102\" has been altered and is not written: it has a trigger' FROM infra_monitor.sampler_status",
	'a partition with a trigger is not emptied');
is($node->safe_psql('postgres', 'SELECT count(*) FROM traces'), 0, 'the trigger does not run');
is($node->safe_psql('postgres', 'SELECT count(*) FROM infra_monitor.samples_20200102'),
	10, 'rows are kept');
$node->safe_psql('postgres', 'DROP TRIGGER trace ON infra_monitor.samples_20200102');

# A view on one: it cannot be dropped, but does not hold up the rows of others.
# Nor does it the partition of tomorrow.
$node->safe_psql('postgres', <<SQL);
CREATE VIEW mine AS SELECT * FROM infra_monitor.$old;
BEGIN;
ALTER EXTENSION infra_monitor DROP TABLE infra_monitor.$tomorrow;
DROP TABLE infra_monitor.$tomorrow;
COMMIT;
SQL
restart_sampler();
wait_for($node,
	"SELECT last_error LIKE 'partitions: cannot drop table infra_monitor.$old because other objects depend on it' FROM infra_monitor.sampler_status",
	'a partition with a view of its own is not dropped');
is($node->safe_psql('postgres', 'SELECT count(*) FROM infra_monitor.samples_20200102'),
	0, 'rows of others are removed all the same');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_class WHERE relname IN ('$old', '$tomorrow')"),
	2, "and tomorrow's partition is made");
wait_for_sample($node, 'samples are taken meanwhile');
$node->safe_psql('postgres', 'DROP VIEW mine');
restart_sampler();
wait_for($node, "SELECT count(*) = 0 FROM pg_class WHERE relname ~ '^samples_2020'", 'without the view both are removed');

# tables that only look like ours
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE infra_monitor.samples_20200103 (i int);
INSERT INTO infra_monitor.samples_20200103 VALUES (1);
CREATE TABLE public.samples_20200103 (i int);
SQL
make_partition('samples_20200104');
restart_sampler();
wait_for($node, "SELECT to_regclass('infra_monitor.samples_20200104') IS NULL", 'a partition is removed');
is( $node->safe_psql('postgres', "SELECT (SELECT count(*) FROM infra_monitor.samples_20200103), to_regclass('public.samples_20200103')"),
	'1|samples_20200103', 'and a table that is none is left alone');

#
# the other tables of the history are looked after in the same way
#
my @others = qw(wait_samples statement_samples statement_texts slow_query_samples);
foreach my $table (@others)
{
	(my $others_list = $list) =~ s/infra_monitor\.samples/infra_monitor.$table/;
	my @days = map { s/^samples/$table/r } $today, $tomorrow;

	# something to write, for those that have nothing else
	$node->safe_psql('postgres', 'SET infra_monitor.slow_query_threshold = 0; SELECT 1');
	wait_for($node, "SELECT count(*) > 0 FROM infra_monitor.$table", "$table: it is written");
	is( $node->safe_psql('postgres', $others_list),
		"$days[0]|true|t\n$days[1]|false|t", "$table: it has today's and tomorrow's partition");
	is( $node->safe_psql('postgres',
			"SELECT count(*) = 2 * (SELECT count(*) FROM pg_index WHERE indrelid = 'infra_monitor.$table'::regclass) FROM pg_index x JOIN pg_inherits i ON i.inhrelid = x.indrelid WHERE i.inhparent = 'infra_monitor.$table'::regclass"),
		't', "$table: each with its indexes");
	is( $node->safe_psql('postgres',
			"SELECT bool_and(c.relowner = p.relowner) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent WHERE i.inhparent = 'infra_monitor.$table'::regclass"),
		't', "$table: of the same owner");
	cmp_ok(
		status_of($node, 'bytes_stored'),
		'>', $node->safe_psql('postgres', "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'infra_monitor.samples'::regclass"),
		"$table: counts as stored");

	make_partition("${table}_20200101");
	make_partition('samples_20200105');
	restart_sampler();
	wait_for($node,
		"SELECT to_regclass('infra_monitor.${table}_20200101') IS NULL AND to_regclass('infra_monitor.samples_20200105') IS NULL",
		"$table: what has expired is removed, there and elsewhere");

	# one that somebody has altered does not hold up the others
	make_partition($_) foreach "${table}_20200102", 'samples_20200106';
	$node->safe_psql('postgres', <<SQL);
CREATE TRIGGER trace BEFORE INSERT ON infra_monitor.samples FOR EACH STATEMENT EXECUTE FUNCTION trace();
SQL
	restart_sampler();
	wait_for($node, "SELECT to_regclass('infra_monitor.${table}_20200102') IS NULL",
		"$table: an altered table does not hold it up");
	wait_for($node,
		"SELECT last_error ~ '^(partitions|sample): table \"samples\" has been altered and is not written' FROM infra_monitor.sampler_status",
		"$table: but is told of");
	is($node->safe_psql('postgres', "SELECT to_regclass('infra_monitor.samples_20200106') IS NOT NULL"),
		't', "$table: and left alone");
	$node->safe_psql('postgres', 'DROP TRIGGER trace ON infra_monitor.samples');
	restart_sampler();
	wait_for($node, "SELECT to_regclass('infra_monitor.samples_20200106') IS NULL", "$table: until that is undone");

	# nor is it, altered, in the way of the samples
	my $offset = log_end($node);
	make_partition($_) foreach "${table}_20200103", 'samples_20200107';
	$node->safe_psql('postgres', "ALTER TABLE infra_monitor.$table ENABLE ROW LEVEL SECURITY");
	restart_sampler();
	wait_for($node, "SELECT to_regclass('infra_monitor.samples_20200107') IS NULL",
		"$table: altered, it does not hold up the samples");
	wait_for_sample($node, "$table: which are taken");
	wait_until_logged($offset, qr/WARNING: .*task "partitions": table "$table" has been altered and is not written/,
		"$table: its error is logged when there is nothing else to do");
	$node->safe_psql('postgres', "ALTER TABLE infra_monitor.$table DISABLE ROW LEVEL SECURITY");
	restart_sampler();
	wait_for($node, "SELECT to_regclass('infra_monitor.${table}_20200103') IS NULL", "$table: until that is undone, too");
}

#
# Who has set where and how tables are made, for the database, the role or the
# session, has not meant ours
#
$node->safe_psql('postgres', <<'SQL');
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE elsewhere LOCATION '';
CREATE ACCESS METHOD other TYPE TABLE HANDLER heap_tableam_handler;
ALTER DATABASE postgres SET default_tablespace = elsewhere;
ALTER ROLE CURRENT_USER SET default_table_access_method = other;
SQL
is($node->safe_psql('postgres', "SELECT current_setting('default_tablespace'), current_setting('default_table_access_method')"),
	'elsewhere|other', 'new tables are made elsewhere');
my $made = <<'SQL';
SELECT count(*) FILTER (WHERE c.relam = (SELECT oid FROM pg_am WHERE amname = 'heap') AND c.reltablespace = 0) = count(*), count(*) > 1
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'infra_monitor.samples'::regclass
SQL
foreach my $by ('the sampler', 'a session')
{
	$node->append_conf('postgresql.conf', 'infra_monitor.enabled = off');
	$node->reload;
	wait_for($node, "SELECT state = 'disabled' FROM infra_monitor.sampler_status", 'nobody makes partitions');
	$node->safe_psql('postgres', "ALTER EXTENSION infra_monitor DROP TABLE infra_monitor.$_; DROP TABLE infra_monitor.$_")
	  foreach map { partition_of($_) } 0 .. 1;
	if ($by eq 'a session')
	{
		$node->safe_psql('postgres', 'SELECT infra_monitor.take_sample()');
		$made =~ s/> 1/> 0/;
	}
	else
	{
		$node->append_conf('postgresql.conf', 'infra_monitor.enabled = on');
		$node->reload;
		wait_for($node, "SELECT count(*) = 2 FROM pg_class WHERE relname IN ('" . join("', '", map { partition_of($_) } 0 .. 1) . "')",
			'partitions are made again');
	}
	is($node->safe_psql('postgres', $made), 't|t', "$by makes partitions like the others");
}

$node->stop;
done_testing();
