# The files of share/ with the programs that they are for: a Prometheus with our
# rules scrapes node_exporter's textfile collector, sql_exporter and
# postgres_exporter, of a server under load, with statements that fail, wait and
# are slow, and with more clients than connections.
#
# IMON_LONG_TESTS=1 makes that two minutes, after which more alerts fire.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Copy qw(copy);
use InfraMonitor;
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Programs;
use Test::More;
use Time::HiRes qw(time usleep);

plan skip_all => 'Prometheus and its exporters are not installed'
  unless has_programs(qw(prometheus promtool prometheus-node-exporter
	prometheus-sql-exporter prometheus-postgres-exporter));

use constant ROLE => 'infra_monitor_exporter';
use constant PASSWORD => 'not a secret';
use constant LONG => $ENV{IMON_LONG_TESTS} ? 1 : 0;
use constant LOAD => LONG ? 120 : 24;    # seconds
use constant JOBS => qw(node infra_monitor_sql_exporter infra_monitor_postgres_exporter);

my $top = abs_path(dirname(__FILE__) . '/../..');
my $share = "$top/share";
my $directory = abs_path(PostgreSQL::Test::Utils::tempdir);

# A file of share/, with other ports and shorter intervals, and nothing else
# changed: each pair is a line of it (or a part of one) and what comes instead.
sub shipped
{
	my ($name, @changes) = @_;
	my $content = slurp_file("$share/$name");

	while (my ($from, $to) = splice @changes, 0, 2)
	{
		my $count = () = $content =~ /\Q$from\E/g;
		die "\"$from\" is $count times in $name" if $count != 1;
		$content =~ s/\Q$from\E/$to/;
		note "$name: \"$from\" is \"$to\" here";
	}
	my $to = "$directory/" . ($name =~ s!.*/!!r);
	$to =~ s/\.yml$/_sql.yml/ if $name =~ /^sql_exporter/;
	return write_file($to, $content);
}

#
# What is shipped is valid.  The unit tests of the rules go on meanwhile.
#
foreach (
	[ 'rules', "$share/prometheus/infra_monitor.rules.yml" ],
	[ 'config', "$share/prometheus/prometheus.yml" ])
{
	my ($what, $file) = @$_;
	my ($stdout, $stderr) = run_command([ 'promtool', 'check', $what, $file ]);

	like($stdout, qr/SUCCESS/, "promtool accepts the $what");
	unlike("$stdout$stderr", qr/FAILED|error|warn/i, 'and finds nothing to complain about');
}
my $unit_tests = "$top/test/prometheus/infra_monitor.test.yml";
my $unit_out = '';
my $unit_run = IPC::Run::start([ qw(promtool test rules), $unit_tests ], '<', \undef, '>&', \$unit_out);

#
# A server, and a role that may do no more than the script gives it
#
my $node = new_server(
	'exporters',
	conf => <<"CONF");
listen_addresses = 'localhost'
infra_monitor.textfile = '$directory/postgres.prom'
infra_monitor.statement_interval = 1s
max_connections = 30
superuser_reserved_connections = 3
max_wal_senders = 0
autovacuum = off
log_statement = 'all'
log_line_prefix = '%m [%p] %u '
CONF
unlink $node->data_dir . '/pg_hba.conf';
$node->append_conf('pg_hba.conf', 'local all all trust
host all ' . ROLE . ' localhost scram-sha-256
');
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION infra_monitor CASCADE;
REVOKE ALL ON DATABASE postgres FROM PUBLIC;
CREATE ROLE app LOGIN;
GRANT CONNECT ON DATABASE postgres TO app;
CREATE DATABASE elsewhere;
CREATE ROLE regress_owner;
CREATE ROLE regress_reader IN ROLE pg_read_server_files;
SQL
$node->safe_psql('elsewhere', 'CREATE TABLE belongs (); ALTER TABLE belongs OWNER TO regress_owner');

# Runs the script with these variables; returns its status, what it printed and
# what it complained of.
sub run_role_script
{
	my ($database, @variables) = @_;
	my ($out, $err) = ('', '');

	IPC::Run::run(
		[ 'psql', '-X', '-d', $node->connstr($database), (map { ('-v', $_) } @variables),
			'-f', "$share/sql/monitoring_role.sql" ],
		'<', \undef, '>', \$out, '2>', \$err);
	return ($? >> 8, $out, $err);
}

# All that there is about roles, and what they may do with databases.
sub roles
{
	return $node->safe_psql('postgres', <<'SQL');
SELECT to_jsonb(a) FROM pg_authid a ORDER BY oid;
SELECT roleid, member, admin_option FROM pg_auth_members ORDER BY 1, 2;
SELECT setrole, setdatabase, setconfig FROM pg_db_role_setting ORDER BY 1, 2;
SELECT datname, datacl FROM pg_database ORDER BY 1;
SELECT count(*) FROM pg_shdepend;
SQL
}

my $log = log_end($node);
my ($status, $out, $err) = run_role_script('postgres', 'password=' . PASSWORD);
is($status, 0, 'the script makes a role');
is($err, '', 'without a complaint');
is($node->safe_psql('postgres', q(
	SELECT rolcanlogin, rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls, rolconnlimit,
		ARRAY(SELECT roleid::regrole FROM pg_auth_members WHERE member = a.oid)
	FROM pg_authid a WHERE rolname = ') . ROLE . q(')),
	't|f|5|{pg_monitor}', 'which has no more than it should');
unlike(substr(slurp_file($node->logfile), $log), qr/@{[PASSWORD]}/, 'the password is not in the log');
is($node->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_statements WHERE query ~ 'not a (secret)')), 0,
	'nor in the statistics of statements');
my $roles = roles();
($status, $out, $err) = run_role_script('postgres', 'password=another');
is($status, 0, 'it can be run again');
like($err, qr/NOTICE:  role "infra_monitor_exporter" has a password, which is kept/, 'and says that the password is kept');
is(roles(), $roles, 'and nothing has changed');
$node->safe_psql('postgres', 'ALTER ROLE ' . ROLE . ' CONNECTION LIMIT 99; ALTER ROLE ' . ROLE . ' RESET statement_timeout');
run_role_script('postgres');
is($node->safe_psql('postgres', q(SELECT rolconnlimit, 'statement_timeout=5s' = ANY (rolconfig) FROM pg_roles WHERE rolname = ') . ROLE . q(')),
	'5|t', 'what has been changed is put right');

$node->safe_psql('postgres', 'GRANT pg_use_reserved_connections TO ' . ROLE) if $node->pg_version >= 16;
$roles = roles();
is((run_role_script('postgres'))[0], 0, 'what gives it slots when others have none left is kept');
foreach (
	[ 'is a superuser', 'postgres', 'role=' . getpwuid($<) ],
	[ 'owns something', 'postgres', 'role=regress_owner' ],
	[ 'is a member of pg_read_server_files', 'postgres', 'role=regress_reader' ],
	[ 'is reserved', 'postgres', 'role=pg_mine' ],
	[ 'the role needs a name', 'postgres', 'role=' ],
	[ 'extension "infra_monitor" does not exist in database "elsewhere"', 'elsewhere' ])
{
	my ($message, @arguments) = @$_;

	($status, $out, $err) = run_role_script(@arguments);
	is($status, 3, 'the script fails');
	like($err, qr/ERROR: .*\Q$message\E/, "as $message");
}
{
	local $ENV{PGUSER} = 'app';
	($status, $out, $err) = run_role_script('postgres');
	like($err, qr/ERROR: .*permission denied/, 'who is no superuser cannot run it');
}
is(roles(), $roles, 'and nothing was changed by any of these');

# Somebody waits for a lock from here on: half a minute takes half a minute
my $admin = open_session($node);
ask($admin, 'CREATE TABLE counter (id int PRIMARY KEY, n int)');
ask($admin, 'INSERT INTO counter SELECT i, 0 FROM generate_series(1, 10) i');
ask($admin, 'GRANT ALL ON counter TO app');
my ($holder, $waiter, $slow, $failing) = map { open_session($node, user => 'app', application_name => $_) } qw(holder waiter slow failing);
ask($holder, 'BEGIN');
ask($holder, 'UPDATE counter SET n = n + 1 WHERE id = 1');
send_query($waiter, 'UPDATE counter SET n = n + 1 WHERE id = 1');

#
# The programs
#
delete @ENV{ grep { /^PG/ } keys %ENV };
my $node_exporter = start_node_exporter($directory);
my $sql_exporter = start_program(
	'prometheus-sql-exporter',
	[ '-config.file', shipped('sql_exporter/infra_monitor.yml', 'localhost:5432' => 'localhost:' . $node->port, 'interval: 10s' => 'interval: 1s'),
		'-web.listen-address', '127.0.0.1:PORT' ],
	env => { PGPASSWORD => PASSWORD, PGAPPNAME => 'sql_exporter', LOGLEVEL => 'WARN' });
my $postgres_exporter = start_program(
	'prometheus-postgres-exporter',
	[ "--extend.query-path=$share/postgres_exporter/queries.yml", '--web.listen-address=127.0.0.1:PORT' ],
	env => {
		DATA_SOURCE_NAME => 'user=' . ROLE . ' host=localhost port=' . $node->port . ' dbname=postgres sslmode=disable',
		PGPASSWORD => PASSWORD
	});
copy("$share/prometheus/infra_monitor.rules.yml", $directory) or die $!;
my $prometheus = start_prometheus(
	shipped(
		'prometheus/prometheus.yml',
		'scrape_interval: 15s' => 'scrape_interval: 2s',
		'evaluation_interval: 15s' => 'evaluation_interval: 1s',
		'localhost:9100' => "127.0.0.1:$node_exporter->{port}",
		'localhost:9237' => "127.0.0.1:$sql_exporter->{port}",
		'localhost:9187' => "127.0.0.1:$postgres_exporter->{port}"),
	"$directory/prometheus");
foreach my $job (JOBS)
{
	is(scalar @{ wait_for_series($prometheus, qq(infra_monitor_build_info{job="$job"})) }, 1, "$job is scraped");
}

#
# Load
#
my $script = write_file("$directory/load.sql", "\\set id random(2, 10)\nUPDATE counter SET n = n + 1 WHERE id = :id;\nSELECT sum(n) FROM counter;\n");
my $pgbench_out = '';
my $pgbench = IPC::Run::start(
	[ 'pgbench', '-n', '-U', 'app', '-h', $node->host, '-p', $node->port, '-c', 2, '-R', 40, '-T', LOAD, '-f', $script, 'postgres' ],
	'<', \undef, '>&', \$pgbench_out);

send_query($slow, 'SELECT pg_sleep(2.6)');
ask($failing, q(SET statement_timeout = '250ms'));

my (@others, %refused, %seen);
my ($failed, $slept) = (0, 0);

# Connects until there is no more room.
sub fill_pool
{
	for (1 .. 30)
	{
		my $session = begin_session($node, user => 'app');

		return if await_session($session) eq 'refused' && ++$refused{ $session->{message} };
		push @others, $session;
	}
	return;
}

# Does this alert fire, by all of these jobs at a time?
sub fires_by
{
	my ($name, $severity, @jobs) = @_;
	my $expression = qq(ALERTS{alertname="$name", severity="$severity", alertstate="firing", job=~"@{[join '|', @jobs]}"});

	return is_deeply(
		[ sort map { $_->{metric}{job} } @{ wait_for_series($prometheus, "$expression and on () count($expression) == " . @jobs) } ],
		[ sort @jobs ],
		"$name, $severity, fires by " . join(', ', @jobs));
}

# Are there metrics of a job that were read after this call?
sub is_read_anew
{
	my ($job, $when) = @_;

	return is(scalar @{ wait_for_series($prometheus, qq(infra_monitor_collected_timestamp_seconds{job="$job"} > ) . time) },
		1, "$job goes on $when");
}

my $end = time + LOAD;
while (time < $end)
{
	my $next = time + 1;

	$failed++ unless defined try_ask($failing, 'SELECT pg_sleep(1), $$other$$');
	if (has_answered($slow))
	{
		answer_of($slow);
		$slept++;
		send_query($slow, 'SELECT pg_sleep(2.6)');
	}

	fill_pool();
	if (@others && !%seen)
	{
		# who has no connection left to make still gets the file
		$seen{ $_->{metric}{class} } = $_->{value}[1]
		  foreach @{ wait_for_series($prometheus, 'infra_monitor_pool_slots{job="node"} and on () infra_monitor_pool_slots{job="node", class="free"} == 0') };
	}
	usleep(1e6 * ($next - time)) if $next > time;
}
is($seen{free} // 'none', 0, 'the textfile says so while it is so');

# The slots of pgbench are taken as well, and that of sql_exporter, as soon as it
# connects anew: otherwise it depends on who comes first whether it has one.  All
# 27 slots of ordinary roles belong to others then, who keep them.
$pgbench->finish;
like($pgbench_out, qr/number of failed transactions: 0 /, 'the load has run');
my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
my $held = 0;
while ($held != 27 && time < $deadline)
{
	fill_pool();
	$held = ask($admin, q(SELECT count(*) FROM pg_stat_activity
		WHERE backend_type = 'client backend' AND usename IS NOT NULL AND application_name <> 'sql_exporter'));
	usleep(50_000);
}
is($held, 27, 'sql_exporter has no connection, and can get none');
my ($refusals) = values %refused;
is(scalar keys %refused, 1, 'clients were refused for one reason');
cmp_ok($refusals, '>', LOAD / 3, "$refusals times");

# The state at the end of the load: by those who can tell, and by all three when
# there is a connection for each
my @alerts_to_be = (
	[ 'InfraMonitorConnectionsRefused', 'warning' ],
	[ 'InfraMonitorLockWait', 'warning' ],
	LONG ? ([ 'InfraMonitorLockWait', 'critical' ], [ 'InfraMonitorPoolUsage', 'critical' ],
		[ 'InfraMonitorFailedTime', 'warning' ]) : ());
foreach my $job ((JOBS)[ 0, 2 ])
{
	is_read_anew($job, 'while there is no connection left');
}
is(scalar @{ wait_for_series($prometheus, 'time() - infra_monitor_collected_timestamp_seconds{job="infra_monitor_sql_exporter"} > 5') },
	1, 'sql_exporter repeats what it has read last');
fires_by(@$_, (JOBS)[ 0, 2 ]) foreach @alerts_to_be;
close_sessions(splice @others, 0, 2);
is_read_anew('infra_monitor_sql_exporter', 'when there is one again');
fires_by(@$_, JOBS) foreach @alerts_to_be;
my (undef, $body) = http_get($prometheus->{port}, '/api/v1/alerts');
my @alerts = @{ JSON::PP->new->utf8->decode($body)->{data}{alerts} };
foreach my $alert (@alerts)
{
	my $texts = join "\n", values %{ $alert->{annotations} };

	unlike($texts, qr/<|%!|\{\{|no value/, "texts of $alert->{labels}{alertname} are complete") or diag $texts;
	note "$alert->{labels}{severity} $alert->{state}: $alert->{annotations}{summary}";
}

ask($holder, 'COMMIT');
answer_of($waiter);
answer_of($slow);
close_sessions($holder, $waiter, $slow, $failing, @others);

#
# Each metric of a rule is there, but for what this server does not have; that
# those alerts fire is what the unit tests say
#
(undef, $body) = http_get($prometheus->{port}, '/api/v1/rules');
my @groups = @{ JSON::PP->new->utf8->decode($body)->{data}{groups} };
my @rules = map { @{ $_->{rules} } } @groups;
cmp_ok(scalar @rules, '>', 40, 'the rules are loaded');
is(join(', ', map { "$_->{name}: $_->{lastError}" } grep { $_->{lastError} } @rules), '', 'and evaluated');

my @not_here = qw(infra_monitor_pool_exhaustion_seconds infra_monitor_replication_replay_lag_seconds
  infra_monitor_replication_standby_lag_bytes infra_monitor_replication_standby_lag_seconds);
my $manual = slurp_file("$top/doc/infra_monitor.md");
my %metrics = map { ($_ => 1) }
  map { $_->{query} =~ /\b((?:instance:)?(?:infra_monitor|node_textfile)_[a-z0-9_:]+)/g } @rules;
foreach my $metric (sort keys %metrics)
{
	next if grep { $_ eq $metric } @not_here;
	foreach my $job ($metric =~ /^node_/ ? 'node' : JOBS)
	{
		cmp_ok(scalar @{ wait_for_series($prometheus, qq($metric\{job="$job"\})) }, '>', 0, "$metric, $job");
	}
}
foreach my $metric (@not_here)
{
	my $family = $metric =~ s/^infra_monitor_//r;

	ok($manual =~ /^\| (?:[^|]*, )?$family[, ]/m, "$metric is a metric");
}

#
# Texts of the alerts: all parts, and headings that exist
#
my (%headings, %alerts);
foreach my $heading ($manual =~ /^#+ (.*)$/mg)
{
	my $anchor = lc $heading;

	$anchor =~ s/[^\w\- ]//g;
	$anchor =~ s/ /-/g;
	$headings{ $headings{$anchor} ? "$anchor-1" : $anchor } = 1;
}
foreach my $rule (grep { $_->{type} eq 'alerting' } @rules)
{
	my $name = "$rule->{name}, $rule->{labels}{severity}";
	my ($anchor) = $rule->{annotations}{runbook} =~ /^infra_monitor\.md#(.*)$/;

	$alerts{"alertname=\"$rule->{name}\", severity=\"$rule->{labels}{severity}\""} = 1;
	is(join(' ', sort keys %{ $rule->{annotations} }), 'description runbook summary', "$name has its texts");
	like($rule->{labels}{severity}, qr/^(?:warning|critical)$/, 'and a severity');
	ok($headings{$anchor} || $anchor =~ /\$labels\.check/, "$anchor is a heading");
	ok($manual =~ /^\| $rule->{name} \|/m, "the alert is in the manual");
}

# The unit tests have a look at each alert when it fires and when it does not:
# each look lists all that fire
$unit_run->finish;
like($unit_out, qr/SUCCESS/, 'unit tests of the rules') or diag $unit_out;
my @looks = slurp_file($unit_tests) =~ /- expr: [&*]firing.*\n.*eval_time:.*\n *(exp_samples:(?: \[\]|(?:\n +- \{.*)+))/g;
cmp_ok(scalar @looks, '>', 50, 'there are many looks');
foreach my $alert (sort keys %alerts)
{
	cmp_ok(scalar grep({ /\{$alert\}/ } @looks), '>', 0, "{$alert} was seen firing");
	cmp_ok(scalar grep({ !/\{$alert\}/ } @looks), '>', 0, 'and not firing');
}

#
# All three have the same series, with the same values as far as they stand still
#
# The series of a job, without the labels that say where they are from.
sub series_of
{
	my ($job) = @_;
	my %series;

	foreach my $series (@{ ask_prometheus($prometheus, qq({__name__=~"infra_monitor_.+", job="$job"})) })
	{
		my %labels = %{ $series->{metric} };
		my $name = delete $labels{__name__};

		delete @labels{qw(job instance host server)};
		next if $series->{value}[1] eq 'NaN';
		$series{ $name . join(',', map { "{$_=$labels{$_}}" } sort keys %labels) } = $series->{value}[1];
	}
	return \%series;
}

# The series of a job, when all that it scraped was read after this call.  On a
# busy machine a scrape may fail now and then, which leaves nothing.
sub new_series_of
{
	my ($job) = @_;
	my $now = time;
	my $series = {};

	for (1 .. 5 * $PostgreSQL::Test::Utils::timeout_default)
	{
		$series = series_of($job);
		last if ($series->{infra_monitor_collected_timestamp_seconds} // 0) > $now + 2;
		usleep(200_000);
	}
	cmp_ok(scalar keys %$series, '>', 300, "$job is scraped anew");
	return $series;
}

# Statements come and go, and so do those whom others have waited for
sub is_lasting
{
	return $_[0] !~ /^infra_monitor_statement_.*\{queryid=(?!other)/;
}

my $before = new_series_of('node');
my %ways = map { ($_ => new_series_of($_)) } (JOBS)[ 1, 2 ];
my $after = new_series_of('node');

foreach my $job (sort keys %ways)
{
	my $way = $ways{$job};
	my ($counters, $gauges, @differ) = (0, 0);

	is(join("\n", sort grep { is_lasting($_) && exists $after->{$_} && !exists $way->{$_} } keys %$before),
		'', "$job has all series of the textfile");
	is(join("\n", sort grep { is_lasting($_) && !exists $before->{$_} && !exists $after->{$_} } keys %$way), '', 'and no other');
	foreach my $series (sort grep { exists $before->{$_} && exists $after->{$_} } keys %$way)
	{
		my ($low, $value, $high) = ($before->{$series}, $way->{$series}, $after->{$series});

		if ($series =~ /_(?:total|bucket|sum|count)\b/)
		{
			$counters++;
			push @differ, "$series: $low, $value, $high" if $value < $low || $value > $high;
		}
		elsif ($low == $high && $series !~ /^infra_monitor_(?:health|limit|pool_(?:slots|conn)|series|\w+_oldest_)/)
		{
			$gauges++;
			push @differ, "$series: $low, $value" if $value != $low;
		}
	}
	is(join("\n", @differ), '', "and its values");
	cmp_ok($counters, '>', 200, "of $counters counters");
	cmp_ok($gauges, '>', 5, "and $gauges gauges that stand still");
}

# What we know to have happened.  sql_exporter connects anew from time to time,
# and was refused as well.
is(log_count($node, qr/ app FATAL:  .*(?:too many clients|connection slots)/), $refusals, 'refusals of the load are in the log');
my $rejections = log_count($node, qr/FATAL:  .*(?:too many clients|connection slots)/);
foreach (
	[ 'infra_monitor_pool_rejections_total{reason="max_connections"} + ignoring (reason) infra_monitor_pool_rejections_total{reason="reserved"}', $rejections ],
	[ 'infra_monitor_query_failures_total{datname="postgres", class="cancelled"}', $failed ],
	[ 'infra_monitor_query_duration_seconds_count{datname="postgres"} - ignoring (le) infra_monitor_query_duration_seconds_bucket{datname="postgres", le="2.5"} > bool ' . $slept, 1 ])
{
	my ($expression, $value) = @$_;

	is(scalar @{ wait_for_series($prometheus, "($expression) == $value and on () count(($expression) == $value) == 3") },
		3, "$expression is $value by all three");
}

# What the ways differ in: types, of which sql_exporter knows but one
my %types;
foreach ([ node => $node_exporter ], [ sql => $sql_exporter ], [ postgres => $postgres_exporter ])
{
	my ($way, $program) = @$_;

	(undef, $body) = http_get($program->{port}, '/metrics');
	$types{$way} = { $body =~ /^# TYPE ((?:sql_)?infra_monitor\w*) (\w+)$/mg };
}
is_deeply($types{sql}, { sql_infra_monitor => 'gauge' }, 'sql_exporter has one gauge');
is_deeply({ map { ($_ => $types{postgres}{$_}) } keys %{ $types{node} } }, $types{node}, 'postgres_exporter has the types of the textfile');

# The role was enough, and no more was tried
is($node->safe_psql('postgres', q(SELECT sum(total) FROM infra_monitor.pool_rejections WHERE reason IN ('role_limit', 'authentication', 'database_limit'))),
	0, 'the role has connections enough');
unlike(slurp_file($node->logfile), qr/permission denied(?! to create the role)/, 'and rights enough');
foreach my $program ($node_exporter, $sql_exporter, $postgres_exporter)
{
	my @complaints = grep { /error|fail/i && !/connection slots|zero queries ran|postgres_exporter\.yml|deadline exceeded|due to statement timeout/ } split /\n/, slurp_file($program->{log});

	is("@complaints", '', "$program->{name} does not complain but of that, or of a busy machine");
}

#
# Without the server: the file stays, sql_exporter repeats itself, and the third
# has nothing.  Two of these are told by the time of the values.
#
close_sessions($admin);
$node->stop;
is(scalar @{ wait_for_series($prometheus, 'absent(infra_monitor_build_info{job="infra_monitor_postgres_exporter"})') },
	1, 'postgres_exporter has no metrics without the server');
foreach my $job ((JOBS)[ 0, 1 ])
{
	is(scalar @{ wait_for_series($prometheus, qq(time() - infra_monitor_collected_timestamp_seconds{job="$job"} > 3)) },
		1, "the metrics of $job grow old");
}
is(scalar @{ wait_for_series($prometheus, 'ALERTS{alertname="InfraMonitorMetricsAbsent", job="infra_monitor_postgres_exporter"}') },
	1, 'which is an alert to be');

done_testing();
