# A pool of connections that executes statements in a random order, each in a
# transaction of its own, is no loop, whatever the number of statements and
# however often each of them comes: also where one that returns many rows is
# often followed by many executions of another.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $executions = 4000;

my $node = new_server('random_pools', conf => <<'CONF');
infra_monitor.sample_interval = 1h
infra_monitor.health_interval = 1h
CONF
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION infra_monitor CASCADE;
CREATE TABLE item (id int PRIMARY KEY, price int);
INSERT INTO item SELECT i, i FROM generate_series(1, 1000) i;
ANALYZE item;
SQL
my $observer = open_session($node);
my $directory = PostgreSQL::Test::Utils::tempdir('random_pools');

# Runs pgbench in one session, and waits for its end.
sub run_pgbench
{
	my ($name, @arguments) = @_;

	ask($observer, q{SELECT infra_monitor.reset('statements')});
	local $ENV{PGAPPNAME} = 'pool';
	$node->command_ok(
		[ 'pgbench', '-n', '-c', 1, '--random-seed', 1, '-t', $executions, @arguments, 'postgres' ],
		$name);
	wait_in_session($observer,
		q{SELECT count(*) FROM infra_monitor.sessions() WHERE application_name = 'pool'},
		"$name: it has ended", '0');
	return;
}

sub write_file
{
	my ($name, $content) = @_;

	open my $file, '>', "$directory/$name" or die "$name: $!";
	print $file $content;
	close $file or die "$name: $!";
	return "$directory/$name";
}

# Statement $i of a pool.  They differ in the number of columns.
sub statement
{
	my ($i, $is_list) = @_;
	my $columns = join(', ', ('price') x $i);

	return $is_list
	  ? "SELECT $columns FROM item ORDER BY id LIMIT 50;\n"
	  : "\\set i random(1, 1000)\nSELECT $columns FROM item WHERE id = :i;\n";
}

# How often statement $i of $n comes.
my %weights = (
	'all the same' => sub { 100 },
	'1 / rank' => sub { my ($i) = @_; int(1000 / $i) },
	'1 / rank ^ 2' => sub { my ($i) = @_; int(10_000 / $i**2) },
	'lists one in ten' => sub { my ($i, $n, $is_list) = @_; $is_list ? 10 : 100 },
	'lists one in fifty' => sub { my ($i, $n, $is_list) = @_; $is_list ? 2 : 100 },
	'60 % of one' => sub { my ($i, $n) = @_; $i == 1 ? 6000 : int(4000 / ($n - 1)) },
	'90 % of one' => sub { my ($i, $n) = @_; $i == 1 ? 9000 : int(1000 / ($n - 1)) });

foreach my $n (3, 5, 10, 20)
{
	my $lists = $n < 8 ? 1 : int($n / 4);
	my @files = map { write_file("$n-$_.sql", statement($_, $_ > $n - $lists)) } 1 .. $n;

	foreach my $name (sort keys %weights)
	{
		run_pgbench("$n statements, $name", '-M', 'prepared',
			map { ('-f', "$files[$_ - 1]\@" . $weights{$name}->($_, $n, $_ > $n - $lists)) } 1 .. $n);

		# where one statement is nearly all there is, one or two are bad luck
		my ($bursts, $seen) = split /\|/, ask($observer, <<'SQL');
SELECT coalesce(sum(bursts), 0), (SELECT sum(calls) FROM infra_monitor.slow_queries WHERE query LIKE 'SELECT price%')
FROM infra_monitor.repeated_queries
SQL
		is($seen, $executions, "$n statements, $name: all were executed");
		cmp_ok($bursts, '<=', $name =~ /90/ ? 2 : 0, "$n statements, $name: no loops");
	}
}

# what everybody tries first
$node->command_ok([ 'pgbench', '-i', '-q', '-s', 1, 'postgres' ], 'tables of pgbench');
foreach my $protocol (qw(simple extended prepared))
{
	run_pgbench("pgbench -S, $protocol", '-S', '-M', $protocol);
	is(ask($observer, 'SELECT count(*) FROM infra_monitor.repeated_queries'), 0,
		"pgbench -S, $protocol: no loops");
}
run_pgbench('pgbench', '-t', 500);
is(ask($observer, 'SELECT count(*) FROM infra_monitor.repeated_queries'), 0, 'pgbench: no loops');

# A session that has served a pool still knows a loop when it sees one.
run_pgbench('a loop among others', '-M', 'prepared',
	'-f', write_file('loop.sql', join("\n", 'SELECT id FROM item ORDER BY id LIMIT 50;',
		('SELECT id FROM item WHERE price = 1;') x 50) . "\n") . '@1',
	'-t', 1000,
	map { ('-f', write_file("mixed-$_.sql", statement($_, 0)) . '@3') } 1 .. 5);
my ($bursts, $loops) = split /\|/, ask($observer, <<'SQL');
SELECT r.bursts, p.calls FROM infra_monitor.repeated_queries r JOIN pg_stat_statements p ON p.queryid = r.parent_queryid
SQL
cmp_ok($loops, '>', 20, 'there were loops');
is($bursts, $loops, 'a loop among others: each is found');

close_sessions($observer);
$node->stop;
done_testing();
