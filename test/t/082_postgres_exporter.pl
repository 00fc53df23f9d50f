# The dialect of postgres_exporter: promtool finds nothing to complain about,
# whatever the names; what is published for postgres_exporter gets answers from a
# Prometheus that has nothing but our metrics; and what the real one exposes of
# the same server, we do, too, with the same values.

use strict;
use warnings;

use InfraMonitor;
use JSON::PP;
use List::Util qw(max min sum0);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Programs;
use Test::More;
use Time::HiRes qw(time usleep);

use constant GROUPS => 100;    # with series of their own
use constant QUERY => q(SELECT infra_monitor.metrics_text('postgres_exporter'));

my $node = new_server(
	'exporter',
	init => [ allows_streaming => 'logical', extra => [ '--encoding=UTF8', '--locale=C', '--data-checksums' ] ],
	conf => <<'CONF');
infra_monitor.statement_interval = 1s
max_connections = 150
archive_mode = on
archive_command = 'true'
autovacuum = off
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
$node->safe_psql('postgres', 'CREATE DATABASE app');

# In a database of their own those who look change nothing elsewhere
$node->safe_psql('postgres', 'CREATE DATABASE watch');
$node->safe_psql('watch', 'CREATE EXTENSION infra_monitor CASCADE');
my $session = open_session($node, database => 'watch');

# Labels in one order, but for those that are empty, which is as if they were
# not there.
sub labels_text
{
	my ($labels) = @_;

	return join ',', map { "$_=$labels->{$_}" } grep { $labels->{$_} ne '' } sort keys %$labels;
}

# Reads an exposition: { values => { series => value }, types, labels, families }.
sub parse
{
	my ($text) = @_;
	my %look;

	foreach my $line (split /\n/, $text)
	{
		if ($line =~ /^# TYPE (\S+) (\S+)$/)
		{
			die "family twice: $1" if exists $look{types}{$1};
			$look{types}{$1} = $2;
			next;
		}
		next if $line =~ /^#/;
		$line =~ /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/ or die "no sample: $line";
		my ($family, $inside, $value) = ($1, $2 // '', $3);
		my %labels;

		while ($inside =~ /\G([a-z_]+)="((?:[^"\\]|\\[\\"n])*)"(?:,|$)/gc)
		{
			my ($name, $text) = ($1, $2);
			$text =~ s/\\(.)/$1 eq 'n' ? "\n" : $1/ge;
			$labels{$name} = $text;
		}
		die "no labels: $line" if (pos($inside) // 0) != length $inside;
		delete $labels{server};
		my $series = $family . '{' . labels_text(\%labels) . '}';

		die "twice: $series" if exists $look{values}{$series};
		$look{values}{$series} = $value;
		$look{labels}{$series} = \%labels;
		$look{family}{$series} = $family;
	}
	return \%look;
}

sub scrape
{
	my ($from) = @_;

	return parse(ask($from // $session, QUERY));
}

# Looks until there is what is looked for; the last look.
sub scrape_until
{
	my ($from, $condition, $name) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my $look;

	until ($condition->($look = scrape($from)))
	{
		last if time > $deadline;
		usleep(50_000);
	}
	ok($condition->($look), $name);
	return $look;
}

# The values of a family by those of a label.
sub by_label
{
	my ($look, $family, $label) = @_;

	return { map { ($look->{labels}{$_}{$label} // '' => $look->{values}{$_}) }
		  grep { $look->{family}{$_} eq $family } keys %{ $look->{family} } };
}

sub sum_of
{
	my ($look, $family, %labels) = @_;

	return sum0(
		map { $look->{values}{$_} }
		  grep {
			my $series = $_;
			$look->{family}{$series} eq $family
			  && !grep { ($look->{labels}{$series}{$_} // '') ne $labels{$_} } keys %labels
		  } keys %{ $look->{family} });
}

#
# What there is
#
my @app = map { open_session($node, database => 'app', application_name => "app $_") } 1 .. 3;
ask($app[0], 'CREATE TABLE t (id int PRIMARY KEY, n int)');
ask($app[0], q(SELECT pg_create_physical_replication_slot('physical', true)));
ask($app[0], q(SELECT pg_create_logical_replication_slot('logical', 'test_decoding')));
ask($app[1], 'BEGIN');
ask($app[1], 'LOCK TABLE t IN SHARE MODE');
ask($app[2], 'BEGIN ISOLATION LEVEL SERIALIZABLE');
ask($app[2], 'SELECT count(*) FROM t');

# while the sampler is not in a transaction, either
my $first = scrape_until(
	$session,
	sub {
		$_[0]->{values}{'pg_long_running_transactions{}'} == 2
		  && sum_of($_[0], 'pg_stat_activity_count', datname => 'app', wait_event => 'ClientRead') == 3;
	},
	'open transactions, and all have answered');
is($first->{values}{'pg_up{}'}, 1, 'the server is up');
is(sum_of($first, 'pg_stat_activity_count', datname => 'app', state => 'idle'), 1, 'an idle session');
is(sum_of($first, 'pg_stat_activity_count', datname => 'app', state => 'idle in transaction'), 2, 'two in transactions');
is(sum_of($first, 'pg_stat_activity_count', datname => 'app', application_name => 'app 2', usename => 'postgres',
		backend_type => 'client backend', wait_event => 'ClientRead'),
	1, 'with all labels');
is(sum_of($first, 'pg_stat_activity_count', datname => 'watch'), 0, 'who asks is not counted');
is($first->{values}{'pg_stat_activity_count{datname=app,state=disabled}'}, 0, 'a state without sessions');
cmp_ok(max(values %{ by_label($first, 'pg_stat_activity_max_tx_duration', 'application_name') }), '>', 0, 'a transaction has an age');
cmp_ok($first->{values}{'pg_long_running_transactions_oldest_timestamp_seconds{}'}, '>', 0, 'and the oldest of all, too');
is($first->{values}{'pg_locks_count{datname=app,mode=sharelock}'}, 1, 'a lock');
is($first->{values}{'pg_locks_count{datname=app,mode=sireadlock}'}, 1, 'a predicate lock');
send_query($app[0], 'INSERT INTO t VALUES (0, 0)');
ok( wait_in_session(
		$session, q(SELECT count(*) = 1 FROM pg_locks WHERE NOT granted), 'somebody waits'),
	'for a lock');
is(scrape()->{values}{'pg_locks_count{datname=app,mode=rowexclusivelock}'}, 1, 'a lock that is awaited counts');
ask($app[1], 'COMMIT');
answer_of($app[0]);
is($first->{values}{'pg_replication_slots_active{database=app,slot_name=logical}'}, 0, 'a logical slot');
is($first->{values}{'pg_replication_slots_slot_is_active{slot_name=physical,slot_type=physical}'}, 0, 'a physical slot');
is($first->{values}{'pg_replication_is_replica{}'}, 0, 'no standby');
is($first->{values}{'pg_replication_lag_seconds{}'}, 0, 'without lag');
is($first->{values}{'pg_settings_max_connections{}'}, 150, 'a setting');
is($first->{values}{'pg_settings_autovacuum{}'}, 0, 'a switch');
is($first->{values}{'pg_settings_infra_monitor_statement_interval_seconds{}'}, 1, 'a setting with a unit');
is($first->{values}{'pg_settings_unix_socket_permissions{}'}, 777, 'a mode, in octal digits');
is($first->{types}{pg_settings_tcp_keepalives_count}, 'untyped', 'a setting whose name looks like part of a histogram');
is_deeply(
	[ sort keys %{ by_label($first, 'pg_stat_database_xact_commit', 'datname') } ],
	[ '', qw(app postgres template0 template1 watch) ],
	'all databases');
cmp_ok(sum_of($first, 'pg_stat_statements_calls_total'), '>', 0, 'statements');

is(try_ask($session, q(SELECT infra_monitor.metrics_text('prometheus'))), undef, 'another dialect');
is($session->{sqlstate}, '22023', 'is an error');

#
# What who may not read all statistics does not see
#
ask($session, $_)
  foreach 'CREATE ROLE monitor LOGIN IN ROLE pg_monitor', 'CREATE ROLE somebody LOGIN', 'GRANT USAGE ON SCHEMA infra_monitor TO somebody',
  'GRANT EXECUTE ON FUNCTION infra_monitor.metrics_text(text) TO somebody';
foreach ([ monitor => 1 ], [ somebody => 0 ])
{
	my ($role, $all) = @$_;
	my $who = open_session($node, database => 'watch', user => $role);
	my $look = scrape($who);

	is((grep { exists $_->{application_name} } values %{ $look->{labels} }) > 0, $all == 1, "$role and applications");
	is((grep { exists $_->{queryid} } values %{ $look->{labels} }) > 0, $all == 1, "$role and statements");
	cmp_ok(scalar(grep { /^pg_settings_/ } keys %{ $look->{values} }), '>', 200, "$role and settings");
	is(sum_of($look, 'pg_stat_activity_count', datname => 'app'), 3, "$role and the number of sessions");
	close_sessions($who);
}

#
# A standby, as its primary and as it sees itself
#
$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->append_conf('postgresql.conf', "primary_slot_name = 'physical'\nhot_standby_feedback = off\n");
$standby->start;
ask($session, 'CREATE TABLE replayed ()');
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
my $primary = scrape_until(
	$session,
	sub { sum_of($_[0], 'pg_replication_slots_active', slot_name => 'physical') == 1 },
	'the slot is in use');
my ($sender) = grep { $primary->{family}{$_} eq 'pg_stat_replication_pg_wal_lsn_diff' } keys %{ $primary->{family} };
is_deeply(
	[ map { $primary->{labels}{$sender}{$_} } qw(application_name slot_name state) ],
	[qw(standby physical streaming)],
	'a standby');
is($primary->{labels}{$sender}{pid}, ask($session, 'SELECT pid FROM pg_stat_replication'), 'and its process');
my $there = open_session($standby, database => 'watch');
my $replica = scrape_until(
	$there,
	sub { $_[0]->{values}{'pg_replication_lag_seconds{}'} == 0 },
	'that has replayed all there was');
is($replica->{values}{'pg_replication_is_replica{}'}, 1, 'knows that it is one');
cmp_ok($replica->{values}{'pg_replication_last_replay_seconds{}'}, '>', 0, 'and when it replayed');
close_sessions($there);
$standby->stop;
scrape_until(
	$session,
	sub { sum_of($_[0], 'pg_replication_slots_active', slot_name => 'physical') == 0 },
	'the slot is left alone');

#
# promtool, and names that nobody should use; 19 refuses line breaks in them
#
my $breaks = $node->safe_psql('postgres', q(SELECT current_setting('server_version_num')::int < 190000)) eq 't' ? 1 : 0;
my @names = ('quo"ted', 'back\\slash', ("new\nline") x $breaks, 'other', 'x (18)', "caf\xc3\xa9", 'le="1"} 7 # EOF');
my @hostile;

foreach my $name (@names)
{
	(my $quoted = $name) =~ s/"/""/g;
	ask($session, qq(CREATE ROLE "$quoted" LOGIN SUPERUSER));
	ask($session, qq(CREATE DATABASE "$quoted"));
	push @hostile, open_session($node, user => $name, database => $name, application_name => $name);
	ask($hostile[-1], 'SELECT 1');
}
push @hostile, open_session($node, database => 'app', application_name => '');
ask($session, q(CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0));
my $ascii = open_session($node, database => 'ascii');
ask($ascii, qq(CREATE ROLE "bytes\xff\xfe" LOGIN SUPERUSER));
ask($ascii, qq(CREATE DATABASE "bytes\xff\xfe"));
ask($ascii, qq(CREATE DATABASE "bytes\xff\xfd"));
push @hostile, open_session($node, user => "bytes\xff\xfe", database => $_) foreach "bytes\xff\xfe", "bytes\xff\xfd";
ask($ascii, 'SET client_min_messages = error');
ask($ascii, 'CREATE EXTENSION infra_monitor CASCADE');

my $look = scrape();
my $commits = by_label($look, 'pg_stat_database_xact_commit', 'datname');
is(scalar(grep { /^bytes\?\? \(\d+\)$/ } keys %$commits), 2, 'names that are no text are told apart');
is(scalar(grep { /^other \(\d+\)$/ } keys %$commits), 1, 'and a database that is called "other"');
ok(exists $commits->{'le="1"} 7 # EOF'}, 'a name that looks like metrics');

SKIP:
{
	skip 'promtool is not installed', 4 unless has_programs('promtool');
	foreach ([ $session, 'UTF8' ], [ $ascii, 'SQL_ASCII' ])
	{
		my ($from, $encoding) = @$_;
		my $file = write_file("$PostgreSQL::Test::Utils::tmp_check/exporter_$encoding.prom", ask($from, QUERY));
		my ($stdout, $stderr) = run_command([ 'sh', '-c', 'promtool check metrics <"$0" && echo fine', $file ]);

		is($stdout, 'fine', "promtool accepts metrics of a database with encoding $encoding");
		is($stderr, '', 'and finds nothing to complain about');
	}
}
close_sessions(@hostile);
# 0.11 of the real one crashes on the first two, and we have OIDs in the others
ask($ascii, qq(DROP DATABASE "$_")) foreach "bytes\xff\xfe", "bytes\xff\xfd", 'other', 'x (18)';
close_sessions($ascii);

#
# What is published for postgres_exporter, asked of Prometheus
#
# Expressions as Prometheus is asked.  A comparison filters, and has no result
# while all is well: with "bool" it has a result, 0 or 1, if both sides have
# one, with labels that match.
sub with_bool
{
	my ($expression) = @_;

	return $expression =~ s/(\{[^}]*\})|(>=|<=|==|!=|>|<)/defined $1 ? $1 : "$2 bool "/ger;
}

# What a variable of Grafana asks for, and the label that it wants.
sub without_functions
{
	my ($expression) = @_;

	return ("count by ($1) ({$1!=\"\"})", $1) if $expression =~ /^label_values\((\w+)\)$/;
	return ("count by ($2) ($1)", $2) if $expression =~ /^label_values\((.*),\s*(\w+)\)$/;
	return ($1) if $expression =~ /^query_result\((.*)\)$/;
	return (with_bool($expression));
}

# When Prometheus has read our metrics.  All is asked about that moment: later reads
# may fail, where the machine is busy, and then there is nothing.
my $read_at;

# Has it a result that is a number, and (if one is wanted) this label?
sub has_result
{
	my ($prometheus, $expression, $label) = @_;
	my $result = ask_prometheus($prometheus, $expression, $read_at ? (time => $read_at) : ());

	return scalar grep { $_->{value}[1] ne 'NaN' && (!defined $label || $_->{metric}{$label} ne '') } @$result;
}

# Something of everything, for rates.
sub work
{
	ask($app[0], 'INSERT INTO t SELECT coalesce(max(id), 0) + 1, 0 FROM t');
	ask($app[0], 'UPDATE t SET n = n + 1 WHERE id = (SELECT max(id) FROM t)');
	ask($app[0], 'DELETE FROM t WHERE id = (SELECT max(id) - 1 FROM t)');
	ask($app[0], $_) foreach 'BEGIN', 'SELECT 1', 'ROLLBACK', 'CHECKPOINT';
	return;
}

sub ask_what_is_published
{
	my $web = start_program('perl', [
		'test/serve_metrics.pl', 'PORT', 'psql', '-XAtqw', '-d', $node->connstr('watch'), '-c', QUERY ]);
	my $data = PostgreSQL::Test::Utils::tempdir;
	my $prometheus = start_prometheus(write_file("$data/prometheus.yml", <<"YML"), "$data/data");
global:
  scrape_interval: 2s
scrape_configs:
  - job_name: postgres
    static_configs:
      - targets: ['127.0.0.1:$web->{port}']
YML
	my %variables = (
		job => 'postgres', instance => "127.0.0.1:$web->{port}", db => 'app|postgres', datname => 'app|postgres',
		mode => '.*', release => '', namespace => '', __rate_interval => '1m');
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my %asked;

	do
	{
		work();
		usleep(100_000);
	} until time > $deadline || has_result($prometheus, 'count_over_time(pg_up[5m]) >= 6 and rate(pg_stat_bgwriter_checkpoints_req_total[5m]) > 0');

	$read_at = (wait_for_series($prometheus, 'timestamp(pg_up)')->[0] // {})->{value}[1];

	foreach my $line (split /\n/, slurp_file('test/postgres_exporter.expressions'))
	{
		next if $line eq '' || $line =~ /^#/;
		my ($mark, $source, $expression) = $line =~ /^([-~]?)([^\t]+)\t(.+)$/ or die "no expression: $line";
		my $published = $expression;

		$expression =~ s/\$(\w+)/$variables{$1} \/\/ die "no variable: $1"/ge;
		if ($mark eq '-')
		{
			is(scalar @{ ask_prometheus($prometheus, $expression, time => $read_at) }, 0, "$source: not covered: $published");
		}
		elsif ($mark eq '~')
		{
			my @parts = $expression =~ /(\{[^}]*\}|\bpg_\w+(?:\{[^}]*\})?)/g;

			is(scalar(grep { !has_result($prometheus, $_) } @parts), 0, "$source: parts of $published");
		}
		else
		{
			ok(has_result($prometheus, without_functions($expression)), "$source: $published");
		}
		$asked{$mark}++;
	}
	note "expressions: $asked{''} with results, $asked{'~'} by parts, $asked{'-'} not covered";
	is(ask_prometheus($prometheus, 'min(up)', time => $read_at)->[0]{value}[1], 1, 'Prometheus has read our metrics');
	stop_program($_) foreach $prometheus, $web;
	return;
}

SKIP:
{
	skip 'Prometheus is not installed', 1 unless has_programs('prometheus');
	ask_what_is_published();
}

#
# What the real one exposes of this server
#
# What it has and we do not, see the documentation; the time that it takes is its
# own, and so is one setting, which its driver changes.
my $not_covered = qr/^(?:pg_database_size_bytes|pg_exporter_(?:scrapes_total|last_scrape_duration_seconds)
	|pg_scrape_collector_\w+|pg_settings_extra_float_digits)$/x;

# Of sessions the real one has only two labels, and does not leave itself out.
sub as_there
{
	my ($look) = @_;
	my %values;

	foreach my $series (keys %{ $look->{values} })
	{
		my $family = $look->{family}{$series};
		my $value = $look->{values}{$series};
		my %labels = %{ $look->{labels}{$series} };

		next if $family =~ $not_covered || $value eq 'NaN';
		next if $family =~ /^pg_(?:stat_activity_|locks_count|stat_database_numbackends)/ && $labels{datname} eq 'watch';
		# of moments it has whole seconds
		$value = int($value) if $family =~ /stats_reset|last_failure/;
		if ($family =~ /^pg_stat_activity_/)
		{
			$series = "$family\{" . labels_text({ map { ($_ => $labels{$_}) } qw(datname state) }) . '}';
			$value = max($value, $values{$series} // 0) if $family =~ /duration/;
			$value += $values{$series} // 0 if $family =~ /count/;
		}
		$values{$series} = $value;
	}
	return \%values;
}

# What differs: before the real one looked it must not have been more, and after
# it not less, but for what may decrease, which must have been the same.
sub differences
{
	my ($before, $real, $after) = map { as_there($_) } @_;
	my @differences;

	foreach my $series (sort keys %$real)
	{
		next unless $series =~ /^pg_/;
		my ($low, $high) = ($before->{$series}, $after->{$series});

		push @differences, "$series: $real->{$series} there, " . ($low // 'nothing') . ' to ' . ($high // 'nothing')
		  unless defined $low && defined $high
		  && $real->{$series} >= min($low, $high) - 1e-6 * abs $low
		  && $real->{$series} <= max($low, $high) + 1e-6 * abs $high;
	}
	return @differences;
}

sub compare_with_the_real_one
{
	my $real = start_program(
		'prometheus-postgres-exporter',
		['--web.listen-address=127.0.0.1:PORT'],
		env => { DATA_SOURCE_NAME => $node->connstr('watch') . ' user=postgres sslmode=disable' });
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my (@differences, $before, $there, $after);

	do
	{
		$before = scrape();
		$there = parse((http_get($real->{port}, '/metrics'))[1]);
		$after = scrape();
		@differences = differences($before, $there, $after);
	} until !@differences || time > $deadline;
	is(join("\n", @differences), '', 'all that it has we have, with the same labels and values');

	my ($low, $theirs, $high) = map { as_there($_) } $before, $there, $after;
	my @same = grep { /^pg_/ && $low->{$_} == $high->{$_} } keys %$theirs;
	my @families = grep { /^pg_/ && exists $after->{types}{$_} } keys %{ $there->{types} };
	note scalar(@families) . ' families, ' . scalar(grep { /^pg_/ } keys %$theirs) . ' series, of which ' . scalar(@same) . ' stood still';
	cmp_ok(scalar @same, '>', 400, 'most of them stood still');
	is_deeply(
		[ grep { $after->{types}{$_} ne $there->{types}{$_} && $after->{types}{$_} ne 'untyped' } @families ],
		[], 'and the same types, where they have one');
	stop_program($real);
	return;
}

SKIP:
{
	skip 'prometheus-postgres-exporter is not installed', 1 unless has_programs('prometheus-postgres-exporter');
	ask($session, "ALTER SYSTEM SET infra_monitor.$_ = '1h'") foreach qw(sample_interval statement_interval health_interval);
	ask($session, 'SELECT pg_reload_conf()');
	ask($session, 'SELECT pg_stat_reset()');
	ask($session, 'SELECT pg_switch_wal()');
	ok(wait_in_session($session, q(SELECT archived_count > 0 FROM pg_stat_archiver), 'WAL is archived'), 'and more');
	compare_with_the_real_one();
}

#
# How much it is: a hundred of everything, and others
#
close_sessions(@app);
wait_in_session($session,
	q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()},
	'all others are gone');
my @many = map { open_session($node, database => 'app', application_name => "many $_") } 1 .. GROUPS + 5;
ask($session, 'DO $$ BEGIN FOR i IN 1..120 LOOP EXECUTE format($f$CREATE ROLE many_%s$f$, i); END LOOP; END $$');
# rows alone are enough here
ask($session, 'SET allow_system_table_mods = on');
ask($session, <<'SQL');
INSERT INTO pg_database SELECT (jsonb_populate_record(d, jsonb_build_object('oid', 100000 + i, 'datname', 'many_' || i))).*
FROM pg_database d, generate_series(1, 120) i WHERE d.datname = 'template0'
SQL
$look = scrape();
my $sessions = by_label($look, 'pg_stat_activity_count', 'application_name');
cmp_ok(scalar keys %$sessions, '<=', GROUPS + 2, 'applications are bounded');
cmp_ok($sessions->{other}, '>=', 5, 'the rest is other');
is(sum_of($look, 'pg_stat_activity_count', state => 'idle', backend_type => 'client backend')
	  + sum_of($look, 'pg_stat_activity_count', backend_type => 'other'),
	GROUPS + 5, 'and nobody is missing');
is(scalar keys %{ by_label($look, 'pg_stat_database_xact_commit', 'datname') }, GROUPS + 2, 'databases are bounded');
is($look->{values}{'pg_stat_database_xact_commit{datid=other,datname=other}'}, 0, 'those that do nothing are the rest');
is(scalar keys %{ by_label($look, 'pg_locks_count', 'datname') }, GROUPS + 1, 'and of locks');
is(scalar keys %{ by_label($look, 'pg_roles_connection_limit', 'rolname') }, GROUPS, 'roles are bounded');
ask($session, q(DELETE FROM pg_database WHERE oid > 100000 AND datname LIKE 'many\_%'));

close_sessions(@many, $session);
$node->stop;

done_testing();
