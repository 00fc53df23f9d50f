# Slow executions are stored.  Together with what is in memory each is shown once,
# whatever ends, restarts, is reset or overrun meanwhile; and what was lost is
# counted exactly.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server(
	'slow_query_samples',
	init => [ allows_streaming => 1, extra => [ '--encoding=UTF8', '--no-locale' ] ],
	conf => <<'CONF');
listen_addresses = '127.0.0.1'
infra_monitor.statement_interval = 1h
infra_monitor.slow_query_threshold = -1
infra_monitor.slow_query_log_size = 64
infra_monitor.activity_interval = 100ms
autovacuum = off
CONF
$node->start;

# Everything that these roles do is slow.
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION infra_monitor CASCADE;
CREATE ROLE alice LOGIN;
CREATE ROLE bob LOGIN;
ALTER ROLE alice SET infra_monitor.slow_query_threshold = 0;
ALTER ROLE bob SET infra_monitor.slow_query_threshold = 0;
ALTER ROLE bob SET infra_monitor.slow_query_plan = on;
SQL
my $control = open_session($node);

# Sets how often it is stored.
sub store_each
{
	my ($interval) = @_;

	ask($control, "ALTER SYSTEM SET infra_monitor.statement_interval = '$interval'");
	ask($control, 'SELECT pg_reload_conf()');
	wait_in_session($control, 'SHOW infra_monitor.statement_interval', "an interval of $interval", $interval);
	return;
}

# Waits until the sampler has done all that was due.
sub wait_for_sampler
{
	my ($name) = @_;

	wait_for_sample($node, "$name: $_") foreach 'it samples', 'again', 'and again';
	return;
}

# Has nothing stored from now on.  What the sampler has planned before it does all
# the same, so that is a new one.
sub store_no_more
{
	store_each('1h');
	end_sampler($control);
	wait_for_sampler('a new sampler');
	return;
}

# Executes, as a role, so many statements that show up under a name.
sub execute
{
	my ($role, $name, $count, %options) = @_;
	my $session = open_session($options{node} // $node, user => $role, application_name => "app $name");

	ask($session, "SELECT 1 AS \"$name\"") foreach 1 .. $count;
	close_sessions($session);
	return;
}

# Waits until so many of a name are in the table.
sub wait_stored
{
	my ($name, $count) = @_;

	return wait_in_session($control,
		"SELECT count(*) FROM infra_monitor.slow_query_samples WHERE query LIKE '%\"$name\"'",
		"$name: $count stored", $count);
}

# How many of a name a table, a view or a function has, and how many different.
sub shown
{
	my ($source, $name, $session) = @_;

	return ask($session // $control,
		"SELECT count(*), count(DISTINCT (started_at, ended_at, pid)) FROM infra_monitor.$source WHERE query LIKE '%\"$name\"'");
}

# A counter of what was lost.
sub drops
{
	my ($reason) = @_;

	return ask($control, "SELECT drops->>'$reason' FROM infra_monitor.sampler_status");
}

# The columns that view and table have in common, but for the types of names.
my $columns = ask($control, <<'SQL');
SELECT string_agg(v.attname || '::text', ', ' ORDER BY v.attnum)
FROM pg_attribute v JOIN pg_attribute t USING (attname)
WHERE v.attrelid = 'infra_monitor.slow_query_log'::regclass AND v.attnum > 0
	AND t.attrelid = 'infra_monitor.slow_query_samples'::regclass
SQL
is(scalar split(/, /, $columns), 22, 'the table has all columns of the view');

#
# In memory, in both, and once in the view
#
wait_for_sampler('the sampler stores when the extension is created, and then in an hour');
execute('alice', 'first', 5);
is(shown('slow_query_samples', 'first'), '0|0', 'not stored yet');
is(shown('slow_query_log', 'first'), '5|5', 'but shown');
my $before = ask($control, "SELECT $columns FROM infra_monitor.slow_query_log WHERE query LIKE '%\"first\"'");

# somebody whose snapshot is from before
my $old = open_session($node);
ask($old, 'BEGIN ISOLATION LEVEL REPEATABLE READ');
is(shown('slow_query_samples', 'first', $old), '0|0', 'a snapshot from before');

store_each('1s');
wait_stored('first', 5);
is(shown('slow_query_log', 'first'), '5|5', 'stored, and in memory: shown once');
is(shown('slow_query_log()', 'first'), '5|5', 'they remain in memory');
is(shown('slow_query_samples', 'first', $old), '0|0', 'not to be seen by an old snapshot');
is(shown('slow_query_log', 'first', $old), '5|5', 'which sees them once all the same');
ask($old, 'COMMIT');
is(shown('slow_query_log', 'first', $old), '5|5', 'and later, too');
close_sessions($old);
is( ask($control, "SELECT $columns FROM infra_monitor.slow_query_samples WHERE query LIKE '%\"first\"' ORDER BY entry DESC"),
	$before, 'all of it is stored as it was shown');
is( ask($control, <<'SQL'),
SELECT count(DISTINCT entry), count(DISTINCT log_started_at), bool_and(sampled_at >= ended_at AND ended_at >= started_at),
	bool_and(log_started_at BETWEEN pg_postmaster_start_time() - interval '1 min' AND started_at),
	bool_and(userid = 'alice'::regrole AND dbid = (SELECT oid FROM pg_database WHERE datname = 'postgres'))
FROM infra_monitor.slow_query_samples WHERE query LIKE '%"first"'
SQL
	'5|1|t|t|t', 'with what tells them apart');

# forgotten in memory, the history stays
execute('alice', 'second', 3);
wait_stored('second', 3);
ask($control, "SELECT infra_monitor.reset('slow_queries')");
is(ask($control, 'SELECT count(*) FROM infra_monitor.slow_query_log()'), '0', 'a reset empties the memory');
is(shown('slow_query_log', $_->[0]), $_->[1], "a reset leaves the history: $_->[0]")
  foreach [ 'first', '5|5' ], [ 'second', '3|3' ];

# newest first, over both
execute('alice', 'third', 3);
is( ask($control, "SELECT string_agg(substring(query FROM '\"(.*)\"'), ' ') FROM infra_monitor.slow_query_log"),
	'third third third second second second first first first first first', 'newest first');

# what a reset has forgotten is not stored
store_no_more();
ask($control, "SELECT infra_monitor.reset('slow_queries')");
execute('alice', 'forgotten', 3);
is(shown('slow_query_log', 'forgotten'), '3|3', 'not stored yet');
ask($control, "SELECT infra_monitor.reset('slow_queries')");
execute('alice', 'fourth', 2);
store_each('1s');
wait_stored('fourth', 2);
is(shown('slow_query_log', 'forgotten'), '0|0', 'what was reset is not stored');
is(drops('slow_queries_overwritten'), 0, 'nothing was overwritten');

#
# Stored before they are overwritten: a quarter of the memory is enough
#
store_no_more();
execute('alice', 'early', 60);
wait_in_session($control,
	"SELECT count(*) > 0 FROM infra_monitor.slow_query_samples WHERE query LIKE '%\"early\"'", 'stored early');
is(shown('slow_query_log', 'early'), '60|60', 'and all are shown, once');

#
# The sampler fails, or ends: what it could not store stays, or is counted.  Some
# of these come before it has taken executions over, and some in the middle.
#
store_each('1s');
wait_stored('early', 60);
ask($control,
	'CREATE FUNCTION foreign_code() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION $m$foreign code runs$m$; END $$');
my $table = 'infra_monitor.slow_query_samples';
my @obstacles = (
	[ 'lock', "LOCK TABLE $table IN EXCLUSIVE MODE", undef, 'lock timeout' ],
	[
		'trigger',
		"CREATE TRIGGER obstacle BEFORE INSERT ON $table FOR EACH STATEMENT EXECUTE FUNCTION foreign_code()",
		"DROP TRIGGER obstacle ON $table",
		'has been altered'
	],
	[
		'constraint',
		"ALTER TABLE $table ADD CONSTRAINT obstacle CHECK (application_name !~ '^app constraint') NOT VALID",
		"ALTER TABLE $table DROP CONSTRAINT obstacle",
		'violates check constraint'
	],
	[
		'delay',
		"ALTER TABLE $table ADD CONSTRAINT obstacle CHECK (application_name !~ '^app delay' OR "
		  . join(' OR ', map { "factorial($_ + length(application_name)) IS NULL" } 32000 .. 32040)
		  . ') NOT VALID',
		"ALTER TABLE $table DROP CONSTRAINT obstacle",
		'statement timeout'
	]);
foreach my $obstacle (@obstacles)
{
	my ($how, $put, $remove, $error) = @$obstacle;
	my $lost = drops('slow_queries_overwritten');
	my $holder = open_session($node);

	ask($holder, 'BEGIN') unless $remove;
	ask($holder, $put);
	execute('alice', $how, 10);
	if ($how eq 'delay')
	{
		wait_in_session($control,
			q{SELECT query = 'slow_queries' AND clock_timestamp() - query_start > '500ms' FROM pg_stat_activity JOIN infra_monitor.sampler_status USING (pid)},
			"$how: the sampler is in the middle of it");
		end_sampler($control);
		wait_in_session($control, "SELECT state = 'running' FROM infra_monitor.sampler_status", "$how: a new sampler runs");
	}
	wait_in_session($control,
		"SELECT last_error ~ '^slow_queries: .*$error' FROM infra_monitor.sampler_status", "$how: the sampler cannot store");
	wait_for_sample($node, "$how: samples are taken meanwhile");
	is(shown('slow_query_log', $how), '10|10', "$how: they are shown");

	# a whole turn of the memory, and a half
	execute('alice', "$how more", 96 - 10);
	wait_in_session($control,
		"SELECT (drops->>'slow_queries_overwritten')::int - $lost FROM infra_monitor.sampler_status",
		"$how: what gave way is counted", 96 - 64);
	is(shown('slow_query_log', "$how more"), '64|64', "$how: the others are there");
	ask($holder, $remove // 'COMMIT');
	wait_stored("$how more", 64);
	is(drops('slow_queries_overwritten') - $lost, 96 - 64, "$how: nothing more is lost");
	is(shown('slow_query_log', "$how more"), '64|64', "$how: and they are shown once");
	is(shown('slow_query_log', $how), '0|0', "$how: what was lost is not shown");
	close_sessions($holder);
}

#
# While it is stored all the time, many execute and one reads: nothing is shown
# twice at any moment, and the sums are right as soon as it is stored
#
my ($clients, $rounds, $each) = (4, 40, 25);
my %lost_before = map { $_ => drops($_) } qw(slow_queries slow_queries_overwritten);
my @busy = map { open_session($node, user => 'alice', application_name => 'busy') } 1 .. $clients;
my ($twice, $wrong, $lost) = (0, 0, 0);
foreach my $round (1 .. $rounds)
{
	send_query($_, join('; ', ('SELECT 2 AS "busy"') x $each)) foreach @busy;
	$lost = "(SELECT sum(drops) FROM infra_monitor.sampler_drops() WHERE reason IN ('slow_queries', 'slow_queries_overwritten'))";
	while (1)
	{
		my ($count, $different) = split /\|/, shown('slow_query_log', 'busy');

		$twice++ if $count != $different;
		last if @busy == grep { has_answered($_) } @busy;
	}
	answer_of($_) foreach @busy;

	# What gave way while the sampler was storing it is neither in memory nor
	# visible until its transaction ends.
	my $expected = $round * $clients * $each;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my $sum;
	do
	{
		$sum = ask($control, "SELECT count(*) + $lost FROM infra_monitor.slow_query_log WHERE application_name = 'busy'")
		  - $lost_before{slow_queries} - $lost_before{slow_queries_overwritten};
	} while ($sum < $expected && time < $deadline);
	if ($sum != $expected)
	{
		$wrong++;
		diag "round $round: $sum instead of $expected";
	}
}
is($twice, 0, 'busy: no execution is shown twice');
note("lost: " . join ', ', map { "$_ " . (drops($_) - $lost_before{$_}) } sort keys %lost_before);
is($wrong, 0, 'busy: shown and lost are all that were executed, after each round');
close_sessions(@busy);
wait_in_session($control,
	"SELECT count(*) + $lost - $lost_before{slow_queries} - $lost_before{slow_queries_overwritten} FROM infra_monitor.slow_query_samples WHERE application_name = 'busy'",
	'busy: stored and lost are, in the end', $clients * $rounds * $each);

#
# Who sees what, as in memory
#
ask($control, $_) foreach (
	'GRANT USAGE ON SCHEMA infra_monitor TO alice',
	'GRANT SELECT ON infra_monitor.slow_query_log TO alice',
	'GRANT EXECUTE ON FUNCTION infra_monitor.slow_query_log(), infra_monitor.may_see_role(oid) TO alice',
	'CREATE ROLE viewer LOGIN IN ROLE pg_monitor',
	"CREATE ROLE keeper");
my $bob = open_session($node, user => 'bob', application_name => 'app of bob', tcp => 1);
ask($bob, 'SELECT 5 AS "of bob"');
close_sessions($bob);
execute('alice', 'of alice', 1);
wait_stored($_, 1) foreach 'of bob', 'of alice';
my $who = q{SELECT usename, application_name, client_addr, queryid IS NULL, query, plan LIKE 'Result%', plan FROM infra_monitor.slow_query_log WHERE ended_at > now() - interval '1 hour' AND usename = '%s' ORDER BY ended_at DESC LIMIT 1};
foreach my $stored (0, 1)
{
	my $name = $stored ? 'stored' : 'in memory';

	ask($control, "SELECT infra_monitor.reset('slow_queries')") if $stored;
	my %session = map { $_ => open_session($node, user => $_, application_name => 'reader') } qw(alice viewer);
	is( ask($session{viewer}, sprintf($who =~ s/, plan FROM/ FROM/r, 'bob')),
		"bob|app of bob|127.0.0.1|f|SELECT \$1 AS \"of bob\"|t", "$name: pg_monitor sees all");
	is( ask($session{alice}, sprintf($who, 'bob')),
		'bob|<insufficient privilege>||t|<insufficient privilege>|f|<insufficient privilege>', "$name: others do not");
	is( ask($session{alice}, q{SELECT count(*), bool_and(plan IS NULL), bool_or(queryid IS NULL) FROM infra_monitor.slow_query_log WHERE query LIKE '%"of alice"' AND application_name = 'app of alice'}),
		'1|t|f', "$name: but their own");
	try_ask($session{alice}, 'SELECT query FROM infra_monitor.slow_query_samples');
	is($session{alice}{sqlstate}, '42501', "$name: nor the table");
	is( ask($session{viewer}, 'SELECT count(*) > 0 FROM infra_monitor.slow_query_samples'),
		't', "$name: which pg_monitor may read");
	try_ask($session{viewer}, 'DELETE FROM infra_monitor.slow_query_samples');
	is($session{viewer}{sqlstate}, '42501', "$name: and not change");
	close_sessions(values %session);
}

#
# Secrets
#
ask($control, "ALTER ROLE bob CREATEROLE");
foreach my $settings ('RESET infra_monitor.log_parameters', 'SET infra_monitor.log_parameters = on')
{
	my $session = open_session($node);
	my $mark = $settings =~ /on$/ ? 'with' : 'without';

	ask($session, $_) foreach 'SET infra_monitor.slow_query_threshold = 0', $settings;
	ask($session, $_) foreach "ALTER ROLE keeper PASSWORD 'sekret'", "ALTER ROLE keeper /* $mark */ PASSWORD 'sekret' NOLOGIN",
		"DO \$\$ BEGIN ALTER ROLE keeper PASSWORD 'sekret'; END \$\$", "SELECT 'password sekret', 1 AS \"$mark secret\"";
	close_sessions($session);
	wait_stored("$mark secret", 1);
}
is(ask($control, "SELECT count(*) FROM infra_monitor.$_ AS v WHERE v::text LIKE '%sekret%'"), '0', "no secret in $_")
  foreach qw(slow_query_samples slow_query_log);
is( ask($control, "SELECT DISTINCT query, count(*) FROM infra_monitor.slow_query_samples WHERE query LIKE 'ALTER ROLE%' GROUP BY 1"),
	'ALTER ROLE|4', 'but the commands are there');
ask($control, "SELECT infra_monitor.reset('slow_queries')");
is(ask($control, "SELECT count(*) FROM infra_monitor.slow_query_log WHERE query = 'ALTER ROLE'"), '4', 'and shown');

#
# Another encoding, and names that are gone when somebody looks
#
ask($control, "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'");
my $latin = open_session($node, user => 'alice', database => 'latin', application_name => "caf\xe9");
ask($latin, "SELECT 1 AS \"caf\xe9 latin\"");
close_sessions($latin);
wait_in_session($control,
	q{SELECT count(*) FROM infra_monitor.slow_query_samples WHERE query = U&'SELECT $1 AS "caf\00e9 latin"' AND datname = 'latin'},
	'a text of another encoding', 1);
ask($control, 'DROP DATABASE latin');
ask($control, "SELECT infra_monitor.reset('slow_queries')");
is( ask($control, q{SELECT datname, application_name ~ '^caf.+$' FROM infra_monitor.slow_query_log WHERE query LIKE '%latin"'}),
	'latin|t', 'history knows the name of a database that is gone');

#
# A plan gets what its query leaves
#
my $planner = open_session($node, user => 'bob', application_name => 'planner');
my $long = 'x' x 60;
foreach my $n (1, 12, 40)
{
	my $list = join(', ', map { "$_ AS \"$long$_\"" } 1 .. $n);

	ask($planner, "SELECT $list, g AS \"plan $n\" FROM " . join(' CROSS JOIN ', map { "generate_series(1, 1) AS g$_" } 2 .. 12)
		  . " CROSS JOIN generate_series(1, 1) AS g -- $n");
}
close_sessions($planner);
my %plans = map { (split /\|/)[0] => $_ } split /\n/, ask($control, <<'SQL');
SELECT (row_number() OVER (ORDER BY ended_at))::text, octet_length(query) > 1000, octet_length(query) + octet_length(plan) BETWEEN 1278 - 4 AND 1278,
	plan LIKE 'Nested Loop  (cost=%', plan LIKE '%...'
FROM infra_monitor.slow_query_log() WHERE application_name = 'planner'
SQL
is($plans{1}, '1|f|t|t|t', 'a long plan fills what a short query leaves, and says that it is clipped');
is($plans{3}, '3|t|t|t|t', 'a query of the largest size leaves a quarter of that');
is( ask($control, "SELECT count(*) FROM infra_monitor.slow_query_log() WHERE plan LIKE '%...' AND query LIKE '%\"of bob\"'"),
	'0', 'a plan that has room is not marked');

#
# A restart: the history stays, the new memory adds to it
#
execute('alice', 'before', 4);
wait_stored('before', 4);
my $stored = ask($control, 'SELECT count(*) FROM infra_monitor.slow_query_samples');
my $newest = ask($control, 'SELECT max(entry) FROM infra_monitor.slow_query_samples');
foreach my $mode ('fast', 'immediate')
{
	ask($control, 'CHECKPOINT');
	close_sessions($control);
	$node->stop($mode);
	$node->start;
	$control = open_session($node);
	is(shown('slow_query_log', 'before'), '4|4', "$mode stop: the history is there");
	execute('alice', "after $mode", 3);
	is(shown('slow_query_log', "after $mode"), '3|3', "$mode stop: and what is new");
	wait_stored("after $mode", 3);
	is(shown('slow_query_log', "after $mode"), '3|3', "$mode stop: which is stored, too");
	is( ask($control, "SELECT count(*) FROM (SELECT log_started_at, entry FROM infra_monitor.slow_query_samples GROUP BY 1, 2 HAVING count(*) > 1) d"),
		'0', "$mode stop: no two are the same");
	cmp_ok(ask($control, "SELECT max(entry) FROM infra_monitor.slow_query_samples WHERE query LIKE '%\"after $mode\"'"),
		'<', $newest, "$mode stop: though numbers begin anew");
}
is( ask($control, 'SELECT count(DISTINCT log_started_at) FROM infra_monitor.slow_query_samples'), '3', 'three logs');

#
# Off, and nothing to store
#
execute('alice', 'off', 2);
ask($control, 'ALTER SYSTEM SET infra_monitor.enabled = off');
ask($control, 'SELECT pg_reload_conf()');
wait_in_session($control, "SELECT state = 'disabled' FROM infra_monitor.sampler_status", 'disabled');
execute('alice', 'not seen', 2);
is(shown('slow_query_log', 'off'), '2|2', 'disabled: what there was is shown');
ask($control, 'ALTER SYSTEM RESET infra_monitor.enabled');
ask($control, 'SELECT pg_reload_conf()');
wait_stored('off', 2);
is(shown('slow_query_log', 'not seen'), '0|0', 'enabled: what came meanwhile was not seen');

#
# A standby: the history of the primary, and what runs there
#
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('slow_query_standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
execute('alice', 'on primary', 2);
wait_stored('on primary', 2);
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));	# the sampler does not wait for its commits
my $there = open_session($standby);
execute('alice', 'on standby', 2, node => $standby);
is(shown('slow_query_log', 'on standby', $there), '2|2', 'standby: its own');
is(shown('slow_query_log', $_->[0], $there), $_->[1], "standby: those of the primary: $_->[0]")
  foreach [ 'on primary', '2|2' ], [ 'before', '4|4' ];
is( ask($there, "SELECT string_agg(DISTINCT substring(query FROM '\"(.*)\"'), ' ') FROM (SELECT query FROM infra_monitor.slow_query_log LIMIT 4) l"),
	'on primary on standby', 'standby: newest first, over both');

# without anybody who stores, all that is overwritten counts
execute('alice', 'many', 100, node => $standby);
is( ask($there, "SELECT drops->>'slow_queries_overwritten' FROM infra_monitor.sampler_status"),
	2 + 100 - 64, 'standby: all that gave way is counted');
wait_in_session($there, "SELECT last_tick > now() - interval '10 s' AND state = 'standby' AND last_error IS NULL FROM infra_monitor.sampler_status",
	'standby: nobody tries to store');
my $size = ask($there, 'SELECT count(*) FROM infra_monitor.slow_query_samples');
is($size, ask($control, 'SELECT count(*) FROM infra_monitor.slow_query_samples'), 'standby: nothing is stored');

# promoted, it stores what it still has in memory
$standby->promote;
wait_in_session($there, "SELECT count(*) FROM infra_monitor.slow_query_samples WHERE query LIKE '%\"many\"'", 'promoted: stored', 64);
is(shown('slow_query_log', 'many', $there), '64|64', 'promoted: shown once');
is( ask($there, "SELECT drops->>'slow_queries_overwritten' FROM infra_monitor.sampler_status"),
	2 + 100 - 64, 'promoted: nothing more was lost');
close_sessions($there);
is(log_count($standby, '(WARNING|ERROR|PANIC): '), 0, 'standby: no error');
$standby->stop;

#
# Without the extension it is all in memory
#
ask($control, 'DROP EXTENSION infra_monitor');
execute('alice', 'kept', 30);
ask($control, 'CREATE EXTENSION infra_monitor');
is(shown('slow_query_log', 'kept'), '30|30', 'without the extension: kept in memory');
wait_stored('kept', 30);
is(shown('slow_query_log', 'kept'), '30|30', 'and stored when it is there');

close_sessions($control);
is(log_count($node, '(?:ERROR|PANIC|TRAP|terminated by signal): (?!.*(?:lock timeout|statement timeout|permission denied|has been altered|check constraint))'), 0, 'all that without another error');
$node->stop;
done_testing();
