# Loops over a statement (N+1) are found as applications make them: an ORM with
# lazy loading, each protocol, cursors; a pool of connections is no loop.

use strict;
use warnings;

use InfraMonitor;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $node = new_server('repeated', conf => <<'CONF');
infra_monitor.sample_interval = 1h
infra_monitor.health_interval = 1h
CONF
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION infra_monitor CASCADE;
CREATE TABLE item (id int PRIMARY KEY, price int);
INSERT INTO item SELECT i, i FROM generate_series(1, 1000) i;
SQL
my $observer = open_session($node, application_name => 'observer');
my $directory = PostgreSQL::Test::Utils::tempdir('repeated');

my $list = 'SELECT id FROM item ORDER BY id LIMIT 100';
my $point = 'SELECT price FROM item WHERE id = ';

# What was found, then all begins anew.
my $found = <<'SQL';
SELECT application_name, kind, bursts, executions, longest_burst, regexp_replace(query, '\$\d', '?', 'g'), parent_query ~ '^SELECT id FROM item'
FROM infra_monitor.repeated_queries ORDER BY application_name, query
SQL
sub found
{
	my $rows = ask($observer, $found);

	ask($observer, "SELECT infra_monitor.reset('statements')");
	return $rows;
}

# Runs a program against the server; its session is gone afterwards, or will be.
sub run_client
{
	my ($name, $application, @command) = @_;

	local $ENV{PGAPPNAME} = $application;
	$node->command_ok(\@command, $name);
	wait_in_session($observer,
		"SELECT count(*) FROM infra_monitor.sessions() WHERE application_name = '$application'",
		'its sessions have ended', '0');
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

#
# An ORM: 100 authors, each with a publisher and with books
#
my $program = write_file('shop.py', <<'PYTHON');
import sys
from sqlalchemy import Column, ForeignKey, Integer, Text, create_engine
from sqlalchemy.orm import Session, declarative_base, joinedload, relationship

Base = declarative_base()


class Publisher(Base):
    __tablename__ = 'publisher'
    id = Column(Integer, primary_key=True)
    name = Column(Text)


class Author(Base):
    __tablename__ = 'author'
    id = Column(Integer, primary_key=True)
    name = Column(Text)
    publisher_id = Column(ForeignKey('publisher.id'))
    publisher = relationship('Publisher')
    books = relationship('Book')


class Book(Base):
    __tablename__ = 'book'
    id = Column(Integer, primary_key=True)
    author_id = Column(ForeignKey('author.id'))
    title = Column(Text)


what = sys.argv[1]
options = {'isolation_level': 'AUTOCOMMIT'} if what == 'autocommit' else {}
engine = create_engine('postgresql+psycopg2:///postgres', **options)
if what == 'create':
    Base.metadata.create_all(engine)
with Session(engine) as session:
    if what == 'create':
        for i in range(1, 101):
            session.add(Publisher(id=i, name='publisher'))
        session.flush()
        for i in range(1, 101):
            session.add(Author(id=i, name='author', publisher_id=i))
        session.flush()
        for i in range(1, 301):
            session.add(Book(id=i, author_id=(i - 1) % 100 + 1, title='title'))
    else:
        query = session.query(Author).order_by(Author.id)
        if what == 'joined':
            query = query.options(joinedload(Author.publisher),
                                  joinedload(Author.books))
        seen = 0
        for author in query.all():
            if what == 'rename':
                author.name = 'new ' + author.name
            else:
                seen += len(author.publisher.name) + len(author.books)
        if what != 'rename' and seen != 1200:
            sys.exit('it has read %d' % seen)
    session.commit()
PYTHON

# Debian's modules are for Debian's Python
my ($python) = grep {
	system("$_ -c 'import psycopg2, sqlalchemy' >/dev/null 2>&1") == 0
} qw(python3 /usr/bin/python3);

SKIP:
{
	skip 'no SQLAlchemy with psycopg2: only the patterns below', 1
	  unless $python;
	run_client("ORM: $_", "shop, $_", $python, $program, $_)
	  foreach qw(create joined);
	found();
	run_client("ORM: $_", "shop, $_", $python, $program, $_)
	  foreach qw(joined lazy autocommit rename);
	is(ask($observer, <<'SQL'), <<'EXPECTED' =~ s/\n$//r, 'two loops where it loads lazily, in a transaction or not; none where it joins; one of writes');
-- a long pause would end a loop that is in no transaction, and begin another one
SELECT application_name, kind, CASE application_name WHEN 'shop, autocommit' THEN least(bursts, 1) ELSE bursts END,
	CASE application_name WHEN 'shop, autocommit' THEN greatest(executions, 100) ELSE executions END,
	substring(query FROM 'FROM \w+|UPDATE \w+'), substring(parent_query FROM 'FROM \w+')
FROM infra_monitor.repeated_queries ORDER BY application_name, 5
SQL
shop, autocommit|select|1|100|FROM book|FROM author
shop, autocommit|select|1|100|FROM publisher|FROM author
shop, lazy|select|1|100|FROM book|FROM author
shop, lazy|select|1|100|FROM publisher|FROM author
shop, rename|write|1|100|UPDATE author|FROM author
EXPECTED
	found();
}

#
# The same patterns, by each protocol
#
my $all = join("\n", "$list;", map { "$point$_;" } 1 .. 25);
my %script = (
	'in a transaction' => "BEGIN;\n$all\nCOMMIT;\n",
	'outside' => "$all\n");
foreach my $name (sort keys %script)
{
	my $file = write_file('script.sql', $script{$name});

	foreach my $protocol (qw(simple extended prepared))
	{
		run_client("a loop $name, $protocol", 'loop', 'pgbench', '-n',
			'-M', $protocol, '-c', 2, '-t', 5, '-f', $file, 'postgres');
		like(found(), $name eq 'outside'
			# a long pause would end a loop there
			? qr/^loop\|select\|(?:10\|250|[1-9]\|\d+)\|25\|\Q$point\E\?\|t$/
			: qr/^loop\|select\|10\|250\|25\|\Q$point\E\?\|t$/,
			'each of 10 is found, with its parent');
	}
}

#
# A pool: one statement after the other, or each in a transaction
#
foreach my $script ("\\set i random(1, 1000)\n${point}:i;\n",
	"\\set i random(1, 1000)\nBEGIN;\n${point}:i;\nCOMMIT;\n",
	"$list;\n${point}1;\nUPDATE item SET price = 1 WHERE id = 1;\n")
{
	my $file = write_file('script.sql', $script);

	foreach my $protocol (qw(simple prepared))
	{
		run_client("a pool, $protocol", 'pool', 'pgbench', '-n', '-M',
			$protocol, '-c', 2, '-t', 200, '-f', $file, 'postgres');
		is(found(), '', 'is no loop');
	}
}

#
# Sessions
#

# Executes the statement for so many numbers.
sub repeat
{
	my ($session, $statement, $times) = @_;

	ask($session, "$statement$_") for 1 .. $times;
	return;
}

# the end of a session is the end of its loops
my $session = open_session($node, application_name => 'ends');
ask($session, $list);
repeat($session, $point, 25);
close_sessions($session);
is(found(), "ends|select|1|25|25|$point?|t", 'a loop ends with its session');

$session = open_session($node, application_name => 'terminated');
ask($session, $_) for 'BEGIN', $list;
repeat($session, $point, 25);
is(ask($observer, 'SELECT count(*) FROM infra_monitor.repeated_queries'),
	0, 'what still runs is not shown');
ask($observer, "SELECT pg_terminate_backend(pid) FROM infra_monitor.sessions() WHERE application_name = 'terminated'");
await_session($session);
is(found(), "terminated|select|1|25|25|$point?|t", 'also if it is terminated');

# a pause ends a loop outside of transactions
foreach my $pause (0, 2.5)
{
	foreach my $begin (0, 1)
	{
		$session = open_session($node, application_name => 'pause');
		ask($session, 'BEGIN') if $begin;
		ask($session, $list);
		repeat($session, $point, 15);
		sleep($pause);
		repeat($session, $point, 15);
		close_sessions($session);
		is( found(),
			$pause && !$begin ? '' : "pause|select|1|30|30|$point?|t",
			($begin ? 'in a transaction' : 'outside') . ", with a pause of $pause s");
	}
}

# a portal that is read bit by bit, as drivers do that are given a fetch size
$session = open_session($node, application_name => 'portal');
ask($session, 'BEGIN');
my $portal = 'P' . pack('N', 4 + 1 + length("$list\0") + 2) . "\0$list\0" . pack('n', 0)
  . 'B' . pack('N', 4 + 2 + 1 + 6) . "c\0\0" . pack('nnn', 0, 0, 0);
sub read_portal
{
	my ($session, $name, $before) = @_;

	delete $session->{rows};
	$session->{socket}->syswrite(($before // '') . 'E' . pack('N', 10) . "c\0" . pack('N', 10) . 'S' . pack('N', 4));
	await_session($session);
	return is(scalar @{ $session->{rows} }, 10, $name);
}

read_portal($session, 'rows of a portal', $portal);
repeat($session, $point, 15);
read_portal($session, 'further ones');
repeat($session, $point, 15);
ask($session, 'COMMIT');
close_sessions($session);
is(found(), "portal|select|1|30|30|$point?|t", 'it is the parent though it ends after the loop');

# one that is not read to its end is no execution, and none where none is wanted
foreach my $threshold (25, 0)
{
	$session = open_session($node, application_name => 'given up', options => "-cinfra_monitor.repeated_query_threshold=$threshold");
	for (1 .. 30)
	{
		ask($session, 'BEGIN');
		read_portal($session, "rows of a portal that is given up, threshold $threshold", $portal);
		ask($session, 'ROLLBACK');
	}
	close_sessions($session);
	is(found(), '', 'is not repeated');
}

# turned off, and on again
$node->safe_psql('postgres', 'ALTER SYSTEM SET infra_monitor.enabled = off; SELECT pg_reload_conf()');
$session = open_session($node, application_name => 'off');
foreach my $setting (qw(off on))
{
	wait_in_session($session, 'SHOW infra_monitor.enabled', "enabled is $setting", $setting);
	ask($session, $_) for 'BEGIN', $list;
	repeat($session, $point, 25);
	ask($session, 'COMMIT');
	is(found(), $setting eq 'off' ? '' : "off|select|1|25|25|$point?|t", 'so it is');
	$node->safe_psql('postgres', 'ALTER SYSTEM RESET infra_monitor.enabled; SELECT pg_reload_conf()')
	  if $setting eq 'off';
}
close_sessions($session);

#
# The table: every loop is recorded or counted as lost; the costly ones stay
#
my $drops = "SELECT (drops->>'bursts')::int, (drops->>'repeated_queries')::int FROM infra_monitor.sampler_status";
my ($lost, $removed) = split /\|/, ask($observer, $drops);
is("$lost $removed", '0 0', 'nothing was lost so far');
{
	local $ENV{PGOPTIONS} = '-c infra_monitor.repeated_query_threshold=2';

	run_client('many loops at a time', 'many', 'pgbench', '-n', '-M',
		'prepared', '-c', 8, '-j', 2, '-t', 500, '-f',
		write_file('script.sql', "BEGIN;\n${point}1;\n${point}2;\nCOMMIT;\n"), 'postgres');
}
my ($bursts) = found() =~ /^many\|select\|(\d+)\|\d+\|2\|/;
($lost) = split /\|/, ask($observer, $drops);
is($bursts + $lost, 4000, "all of 4000 are recorded, or counted as lost ($lost)");

$session = open_session($node);
ask($session, 'SET infra_monitor.repeated_query_threshold = 2');
ask($session, "SET application_name = '$_'; BEGIN; SELECT pg_sleep(0.1); SELECT pg_sleep(0.1); COMMIT") for 'costly';
ask($session, "SET application_name = 'cheap $_'; BEGIN; ${point}1; ${point}2; COMMIT") for 1 .. 520;
is(ask($observer, $drops), "$lost|9", 'what there is no room for is counted');
is( ask($observer,
		"SELECT count(*), bool_or(application_name = 'costly'), bool_or(application_name = 'cheap 520') FROM infra_monitor.repeated_queries"),
	'512|t|t', 'the costly one stays, and there is room for the latest');
close_sessions($session);

is_deeply([ grep { /ERROR|WARNING|PANIC/ } worker_log($node) ], [], 'nothing is said about it');
$node->stop;
done_testing();
