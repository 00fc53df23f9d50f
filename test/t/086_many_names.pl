# More than a hundred databases, roles and applications: a hundred have series of
# their own, the others are added up, exactly; and nothing jumps when a database
# comes or goes.

use strict;
use warnings;

use InfraMonitor;
use List::Util qw(sum0);
use Metrics;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

use constant NAMES => 110;
use constant OWN => 100;       # series of each kind

my $node = new_server('many', conf => <<'CONF');
max_connections = 140
infra_monitor.activity_interval = 100ms
infra_monitor.statement_interval = 1s
infra_monitor.health_interval = 1h
infra_monitor.database_check_interval = 0
autovacuum = off
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
my $session = open_session($node);

# All names of a label of a family.
sub names
{
	my ($look, $family, $label) = @_;
	my %names = map { /[{,]$label="([^"]*)"/ ? ($1 => 1) : () } keys %{ series_of($look, $family) };

	return sort keys %names;
}

# Looks, and sees that it says how many series it has.
sub look
{
	my ($name) = @_;
	my $look = read_metrics($session);

	is($look->{values}{infra_monitor_series}, scalar keys %{ $look->{values} }, "$name: so many series are there");
	return $look;
}

my $before = look('at first');

#
# Databases and roles
#
# Nothing is written in them: all but one have the files of another, which saves
# most of a gigabyte.
ask($session, "CREATE DATABASE $_ TEMPLATE template0 STRATEGY wal_log") foreach qw(origin d7);
ask($session, 'CHECKPOINT');
my $columns = ask($session, q{SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
	WHERE attrelid = 'pg_database'::regclass AND attnum > 0 AND attname NOT IN ('oid', 'datname', 'datconnlimit')});
my $base = $node->data_dir . '/base';
my $origin = ask($session, "SELECT oid FROM pg_database WHERE datname = 'origin'");
foreach my $i (1 .. NAMES)
{
	my $oid = 15000 + $i;

	ask($session, "CREATE ROLE r$i LOGIN CONNECTION LIMIT 20");
	next if $i == 7;
	symlink $origin, "$base/$oid" or die $!;
	ask($session, "INSERT INTO pg_database (oid, datname, datconnlimit, $columns)
		SELECT $oid, 'd$i', 30, $columns FROM pg_database WHERE datname = 'origin'");
}
ask($session, 'ALTER DATABASE d7 CONNECTION LIMIT 30');
foreach my $i (1 .. NAMES)
{
	my $client = open_session($node, user => "r$i", database => "d$i");

	ask($client, 'SELECT 1') foreach 1 .. $i;
	try_ask($client, 'SELECT 1 / (pg_backend_pid() - pg_backend_pid())') if $i % 3 == 0;
	close_sessions($client);    # which counts what has not been counted yet
}
my @sessions = map { open_session($node, user => "r$_", database => "d$_") } 1 .. NAMES;

my $count = 'query_duration_seconds_count';
my $look = look('with 110 databases');
my @own = names($look, $count, 'datname');
is(scalar @own, OWN + 1, 'a hundred databases have series, and the others one');
is_deeply(\@own, [ sort 'postgres', 'other', map { "d$_" } 1 .. OWN - 1 ], 'those that came first');
is($look->{values}{"infra_monitor_$count\{datname=\"d99\"}"}, 99, 'with what they have executed');
is($look->{values}{"infra_monitor_$count\{datname=\"other\"}"}, sum0(OWN .. NAMES), 'and the others what they have');
my $failures = series_of($look, 'query_failures_total');
is(sum0(values %$failures), int(NAMES / 3), 'all failures are there');
is($failures->{'{datname="other",class="error"}'}, int(NAMES / 3) - int((OWN - 1) / 3), 'and those of the others');
my $all = sum_of($look, $count);
# (but for those of statements that have left the list, if others kept us from being
# quick: 086_counters.pl knows which)
cmp_ok(sum_of($look, 'statement_duration_seconds_count'), '<=', $all, 'statements have as many executions');
cmp_ok(sum_of($look, 'statement_duration_seconds_count'), '>', $all / 4, 'and not much less');
cmp_ok(scalar names($look, 'statement_duration_seconds_count', 'usename'), '<=', 27, 'with few roles');

my $connections = series_of($look, 'pool_connections');
@own = names($look, 'pool_connections', 'datname');
is(scalar @own, OWN + 1, 'a hundred databases have connections, and the others');
is(sum0(values %$connections), NAMES + 1, 'which are all');
is($connections->{'{datname="other",state="idle"}'}, NAMES + 1 - OWN, 'these as many as there are');
is(scalar keys %{ series_of($look, 'limit_used_ratio') }, OWN, 'of which the nearest hundred are shown');

# Bounded by how much there may be of each kind
my $added = $look->{values}{infra_monitor_series} - $before->{values}{infra_monitor_series};
cmp_ok($added, '<=', OWN * (16 + 4 + 1) + OWN * 4 + OWN + 50 * 18, "there are $added series more");

#
# A database comes, and one goes
#
# What two looks do not have in common: series of these families, but for those of
# the session that looks.
sub changes
{
	my ($from, $to) = @_;
	my %changes;

	foreach my $series (keys %{ { %{ $from->{values} }, %{ $to->{values} } } })
	{
		next unless $series =~ /^infra_monitor_(?:query_\w+|pool_connections)\{/ && $series !~ /datname="postgres"/;
		my ($then, $now) = map { $_->{values}{$series} // 'none' } $from, $to;

		$changes{$series} = "$then to $now" if $then ne $now;
	}
	return \%changes;
}

my ($oid) = ask($session, "SELECT oid FROM pg_database WHERE datname = 'd7'");
ask($session, 'CREATE DATABASE late STRATEGY wal_log');
push @sessions, open_session($node, database => 'late');
my $late = look('a database more');
is_deeply(
	changes($look, $late),
	{ 'infra_monitor_pool_connections{datname="other",state="idle"}' => '11 to 12' },
	'a new database changes nothing');
ask($sessions[-1], 'SELECT 1') foreach 1 .. 5;
my $used = look('in use');
is(delete changes($late, $used)->{"infra_monitor_$count\{datname=\"other\"}"},
	sum0(OWN .. NAMES) . ' to ' . (sum0(OWN .. NAMES) + 5), 'what it executes is counted with the others');
is(scalar(grep { !/datname="other"/ } keys %{ changes($late, $used) }), 0, 'and nowhere else');

close_sessions(splice @sessions, 6, 1);
ask($session, 'DROP DATABASE d7');
my $dropped = look('a database less');
my $changes = changes($used, $dropped);
my %unexpected = map { ($_ => $changes->{$_}) }
  grep { !/datname="(?:d7|\($oid\))"/ && !/^infra_monitor_pool_connections/ } keys %$changes;
is_deeply(\%unexpected, {}, 'one that is dropped changes nothing of others');
my @differences = grep {
	$used->{values}{$_} ne ($dropped->{values}{ s/"d7"/"($oid)"/r } // 'none')
} grep { /^infra_monitor_query_\w+\{datname="d7"/ } keys %{ $used->{values} };
is_deeply(\@differences, [], 'and keeps its counts, under its OID');
is(sum_of($dropped, 'pool_connections'), NAMES + 1, 'it has no connections');
is(scalar(my @now = names($dropped, 'pool_connections', 'datname')), OWN + 1, 'and another database has series of these');

like(ask($session, q{SELECT infra_monitor.metrics_text('postgres_exporter')}),
	qr/^pg_database_wraparound_age_datfrozenxid_seconds\{datname="other"\} \d+$/m,
	'the names of postgres_exporter: the age of the oldest of the others');

#
# A role goes
#
ask($session, 'CREATE ROLE gone LOGIN');
$oid = ask($session, "SELECT 'gone'::regrole::oid");
my $client = open_session($node, user => 'gone');
my $by_name = role_is_shown('gone', sub { ask($client, 'SELECT pg_sleep(0.1)') });
close_sessions($client);
ok(defined $by_name, 'a role has executed something');
ask($session, 'DROP ROLE gone');
cmp_ok(role_is_shown("($oid)") // -1, '>=', $by_name // 0, 'which stays when it is dropped, under its OID');

# Waits until a role has counts of statements, and calls something again and again
# meanwhile; returns how many, which may be none since they have a series of their own.
sub role_is_shown
{
	my ($name, $call) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	while (time < $deadline)
	{
		my $counts = series_of(read_metrics($session), 'statement_duration_seconds_count');
		my @shown = grep { /usename="\Q$name\E"/ } keys %$counts;

		return sum0(@{$counts}{@shown}) if @shown;
		$call ? $call->() : usleep(100_000);
	}
	return;
}

#
# Applications that others wait for
#
ask($session, 'CREATE TABLE wanted ()');
ask($session, 'BEGIN');
ask($session, 'LOCK wanted');
my $waiter = open_session($node);
send_query($waiter, 'SELECT count(*) FROM wanted');
foreach my $i (1 .. NAMES)
{
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	ask($session, "SET application_name = 'a$i'");
	usleep(10_000)
	  until ask($session, "SELECT count(*) FROM infra_monitor.lock_blame WHERE application_name = 'a$i'") > 0
	  || time > $deadline;
}
ask($session, 'COMMIT');
is(answer_of($waiter), 0, 'somebody has waited for all applications');

my $blamed = look('with 110 applications');
my $seconds = series_of($blamed, 'blocked_seconds_total');
is(scalar keys %$seconds, OWN + 1, 'a hundred applications have series, and the others');
is(scalar keys %{ series_of($blamed, 'blocked_incidents_total') }, OWN + 1, 'of both families');
is(sum_of($blamed, 'blocked_incidents_total'), 1, 'there was one incident');
my %ledger = map { split /\|/ } split /\n/,
  ask($session, "SELECT coalesce(nullif(application_name, ''), 'none'), sum(blocked_time) FROM infra_monitor.lock_blame GROUP BY 1");
cmp_ok(abs(sum0(values %$seconds) - sum0(values %ledger) / 1000), '<', 1e-4, 'all time is there');
my %shown = map { /application_name="([^"]*)"/ ? ($1 => 1) : () } keys %$seconds;
my ($other) = grep { /application_name="other"/ } keys %$seconds;
my $rest = sum0(map { $ledger{$_} } grep { $_ ne 'none' && !$shown{$_} } keys %ledger);
cmp_ok($rest, '>', 0, 'some have none of their own');
cmp_ok(abs($seconds->{$other} - $rest / 1000), '<', 1e-4, 'and the others have all of it that the rest does not show');
cmp_ok($blamed->{values}{infra_monitor_series}, '<=', 4500, 'the number of series is bounded');

close_sessions($session, $waiter, @sessions);
$node->stop;

done_testing();
