# The dashboard for Grafana: that it is well-formed, and that each of its panels
# has something to show.  A primary and its standby write their files of metrics,
# node_exporter gives them to Prometheus, a load makes every family move, and
# then Prometheus is asked for all that the dashboard would ask it for.
#
# The load takes as long as a forecast needs; with IMON_LONG_TESTS=1 two minutes.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use HTTP::Tiny;
use InfraMonitor;
use JSON::PP ();
use List::Util qw(first max uniq);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Programs;
use Test::More;
use Time::HiRes qw(time usleep);

use constant COLUMNS => 24;     # of Grafana's grid
use constant LOAD => $ENV{IMON_LONG_TESTS} ? 120 : 50;    # seconds, at least
use constant LEAST_LINES => 34;

my $file = dirname(__FILE__) . '/../../share/grafana/infra_monitor.json';
my $dashboard = JSON::PP->new->utf8->decode(slurp_file($file));
my @panels = @{ $dashboard->{panels} };
my @shown = grep { $_->{type} ne 'row' } @panels;

#
# The document
#
is(slurp_file(pg_config('sharedir') . '/infra_monitor/grafana/infra_monitor.json'), slurp_file($file), 'it is installed');
cmp_ok($dashboard->{schemaVersion}, '>=', 38, 'it is of a schema that Grafana 10 reads');
ok(!exists $dashboard->{__inputs} && !defined $dashboard->{id}, 'it can be imported as it is');
is(join(',', uniq(map { $_->{uid} // 'none' } datasources($dashboard))), '${datasource}', 'its only data source is that of the variable');
is(scalar(uniq(map { $_->{id} } @panels)), scalar(@panels), 'identifiers of panels are different');
is(scalar(uniq(map { $_->{title} } @panels)), scalar(@panels), 'and so are titles');
is(join(' ', overlaps(@panels)), '', 'no panel is over another one, or outside');
is(join(', ', map { problems($_) } @shown), '', 'each panel is complete');
is(join(' ', map { $_->{title} } grep { $_->{type} eq 'row' && (@{ $_->{panels} } || $_->{collapsed}) } @panels), '', 'all rows are open');

my %variables = map { ($_->{name} => $_) } @{ $dashboard->{templating}{list} };
my @expressions = map { $_->{expr} } (map { @{ $_->{targets} } } @shown), @{ $dashboard->{annotations}{list} };
my $text = join "\n", @expressions, map { ref $_->{query} ? $_->{query}{query} : () } values %variables;
is(join(' ', sort(uniq($text =~ /\$\{?(\w+)/g))), '__interval __range __rate_interval check datname instance job', 'it uses these variables');
is(join(' ', sort keys %variables), 'check datasource datname instance job', 'which there are');
is(join(' ', grep { !/\$job/ || !/\$instance/ } @expressions), '', 'each expression is of one server');

# All data sources that are named anywhere in it.
sub datasources
{
	my ($node) = @_;

	return map { datasources($_) } @$node if ref $node eq 'ARRAY';
	return () if ref $node ne 'HASH';
	return (grep { ref } $node->{datasource}), map { datasources($node->{$_}) } grep { $_ ne 'datasource' } keys %$node;
}

# Panels that are on a place that another one has, or on none.
sub overlaps
{
	my (%taken, @over);

	foreach my $panel (@_)
	{
		my ($x, $y, $w, $h) = @{ $panel->{gridPos} }{qw(x y w h)};
		my @places = map { my $row = $_; map { "$_/$row" } $x .. $x + $w - 1 } $y .. $y + $h - 1;

		push @over, $panel->{id} if $x < 0 || $x + $w > COLUMNS || grep { $taken{$_}++ } @places;
	}
	return @over;
}

# What is missing in a panel, or wrong.
sub problems
{
	my ($panel) = @_;
	my $defaults = $panel->{fieldConfig}{defaults};
	my @steps = map { $_->{value} } @{ $defaults->{thresholds}{steps} };
	my @refs = map { $_->{refId} } @{ $panel->{targets} };
	my @found;

	push @found, 'plugin' if $panel->{type} !~ /^(?:timeseries|stat|table|bargauge|heatmap|state-timeline)$/;
	push @found, 'title' if ($panel->{title} // '') !~ /\S/;
	push @found, 'description' if ($panel->{description} // '') !~ /^[A-Z0-9].{15,}[.]$/s;
	push @found, 'unit' if ($defaults->{unit} // '') !~ /^(?:s|percentunit|bytes|short|ops|Bps)$/;
	push @found, 'thresholds' if !@steps || defined $steps[0] || grep { $steps[ $_ - 1 ] >= $steps[$_] } 2 .. $#steps;
	push @found, 'targets' if !@refs || @refs != uniq(@refs);
	push @found, 'legend' if $panel->{type} =~ /timeline|timeseries/ && grep { $_->{legendFormat} eq '' } @{ $panel->{targets} };
	push @found, 'columns' if $panel->{type} eq 'table' && grep { $_->{format} ne 'table' || !$_->{instant} } @{ $panel->{targets} };
	push @found, 'several at once' if grep { !$_->{range} == !$_->{instant} } @{ $panel->{targets} };
	return map { "$panel->{id} ($panel->{title}): $_" } @found;
}

SKIP:
{
	skip 'Prometheus and node_exporter are not installed', 1
	  unless has_programs(qw(prometheus prometheus-node-exporter));
	with_prometheus();
}
done_testing();

#
# With the programs
#
my ($primary, $standby, %directory, $prometheus, $watcher);

sub with_prometheus
{
	start_servers();
	start_programs();

	my $start = time;
	my ($moment, $end) = load();
	my @families = families();

	is(join(' ', grep { my $family = $_; !grep { $family eq $_ } @families } used_families()), '', 'all that is shown there is');
	is(join(' ', grep { my $family = $_; !grep { $family eq $_ } used_families() } @families), '', 'and all that there is, is shown');
	ask_all($start, $moment, $end);
	ask_variables();
	$standby->stop;
	close_sessions($watcher);
	$primary->stop;
	return;
}

# A primary with some databases and roles, and a standby that streams.
sub start_servers
{
	%directory = map { ($_ => abs_path(PostgreSQL::Test::Utils::tempdir($_))) } qw(primary standby);
	$primary = new_server(
		'primary',
		init => [ allows_streaming => 1 ],
		conf => <<"CONF");
infra_monitor.textfile = '$directory{primary}/infra_monitor.prom'
infra_monitor.system_root = ''
infra_monitor.statement_interval = 1s
infra_monitor.slow_query_threshold = 100ms
infra_monitor.repeated_query_threshold = 5
infra_monitor.max_statements = 100
infra_monitor.enabled = off
max_connections = 200
autovacuum = off
CONF
	$primary->start;
	$primary->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');
	is(scalar(screen($primary)), LEAST_LINES, 'dashboard() before there is a sample');
	$primary->append_conf('postgresql.conf', "infra_monitor.enabled = on\n");
	$primary->reload;

	$primary->safe_psql('postgres', $_) foreach (
		'CREATE ROLE web LOGIN', 'CREATE ROLE report LOGIN CONNECTION LIMIT 1',
		'CREATE DATABASE shop OWNER web', 'CREATE DATABASE billing OWNER web CONNECTION LIMIT 150',
		q(SELECT pg_create_physical_replication_slot(name, true) FROM unnest('{standby,forgotten}'::text[]) name));
	$primary->safe_psql('shop', 'SET ROLE web; CREATE TABLE stock AS SELECT i AS id, 0 AS n FROM generate_series(1, 10) i');

	$primary->backup('backup');
	$standby = PostgreSQL::Test::Cluster->new('standby');
	$standby->init_from_backup($primary, 'backup', has_streaming => 1);
	$standby->append_conf('postgresql.conf',
		"infra_monitor.textfile = '$directory{standby}/infra_monitor.prom'\nprimary_slot_name = 'standby'\n");
	$standby->start;
	like((screen($standby))[0], qr/  standby  /, 'dashboard() on a standby');
	is(scalar(screen($standby)), LEAST_LINES, 'is as high');
	$watcher = open_session($primary);
	return;
}

# The lines of dashboard().
sub screen
{
	my ($node) = @_;

	return split /\n/, $node->safe_psql('postgres', 'SELECT line FROM infra_monitor.dashboard() line'), -1;
}

# node_exporter for each server, and a Prometheus that asks both.
sub start_programs
{
	my $jobs = '';

	foreach my $name (qw(primary standby))
	{
		my $exporter = start_node_exporter($directory{$name});

		$jobs .= "  - targets: ['127.0.0.1:$exporter->{port}']\n    labels: { instance: '$name' }\n";
	}
	$jobs =~ s/^/    /mg;
	my $data = abs_path(PostgreSQL::Test::Utils::tempdir('prometheus'));
	my $configuration = write_file("$data/prometheus.yml", <<"YAML");
global:
  scrape_interval: 1s
scrape_configs:
  - job_name: postgresql
    static_configs:
$jobs
YAML

	$prometheus = start_prometheus($configuration, "$data/data");
	foreach my $name (qw(primary standby))
	{
		wait_until_asked(qq(infra_monitor_health_status{instance="$name"}), "Prometheus knows the $name") or die;
	}
	return;
}

# Names of families that Prometheus has seen.
sub families
{
	my %type = map { slurp_file("$directory{$_}/infra_monitor.prom") =~ /^# TYPE (\S+) (\S+)/mg } keys %directory;
	my (undef, $body) = http_get($prometheus->{port}, '/api/v1/label/__name__/values');

	return uniq(map { my $family = s/_(?:bucket|sum|count)$//r; ($type{$family} // '') eq 'histogram' ? $family : $_ }
		grep { /^infra_monitor_/ } @{ JSON::PP->new->utf8->decode($body)->{data} });
}

# Names of families that are in the dashboard.
sub used_families
{
	my %known = map { ($_ => 1) } families();

	return uniq(map { my $name = $_; $known{$name} ? $name : $name =~ s/_(?:bucket|sum|count)$//r } $text =~ /\b(infra_monitor_\w+)/g);
}

#
# The load
#

# What happens each second, besides what is in load().
sub one_second
{
	my ($second, $of) = @_;

	# one forgets to commit, others wait, and one does not wait for long
	if ($second % 4 == 0)
	{
		ask($of->{batch}, 'BEGIN');
		ask($of->{batch}, 'UPDATE stock SET n = n + 1 WHERE id = 1');
		send_query($of->{checkout}, 'UPDATE stock SET n = n - 1 WHERE id = 1');
		try_ask($of->{impatient}, 'UPDATE stock SET n = 0 WHERE id = 1');
		$of->{waiting} = 1;
	}
	end_of_wait($of) if $second % 4 == 3;

	try_ask($of->{failing}, 'SELECT 1 / (SELECT 0 FROM pg_sleep(0.02))');
	try_ask($of->{failing}, 'SELECT pg_sleep(10)');
	ask($of->{slow}, 'SELECT pg_sleep(0.12)');
	ask($of->{loop}, 'BEGIN');
	ask($of->{loop}, "SELECT n FROM stock WHERE id = $_") foreach 1 .. 10;
	ask($of->{loop}, 'COMMIT');

	# more statements than there is room for
	ask($watcher, 'SELECT 1' . ', 1' x $_) foreach map { ($second * 40 + $_) % 400 } 1 .. 40;

	# connections that do not last, one that is refused, and one that is not closed
	close_sessions(open_session($primary, user => 'web', database => 'shop')) for 1 .. 2;
	await_session(begin_session($primary, user => 'report', database => 'shop'));
	push @{ $of->{leaked} }, open_session($primary, user => 'web', database => 'billing', application_name => 'leaking')
	  if @{ $of->{leaked} } < 140;
	return;
}

# The one remembers to commit.
sub end_of_wait
{
	my ($of) = @_;

	return unless delete $of->{waiting};
	ask($of->{batch}, 'COMMIT');
	answer_of($of->{checkout});
	return;
}

# Things that happen once.
sub once
{
	my ($second) = @_;

	stop_sampler($watcher) if $second == 2;
	kill 'CONT', ask($watcher, 'SELECT pid FROM infra_monitor.sampler_status')
	  if $second == 5;
	if ($second == 8 || $second == 11)
	{
		my $where = $second == 8 ? "$directory{primary}/missing" : 'pg_stat_tmp';

		$primary->append_conf('postgresql.conf', "infra_monitor.snapshot_directory = '$where'\n");
		$primary->reload;
	}
	return;
}

# The load.  Returns a moment while it goes on and all has been seen, and its end.
sub load
{
	my %as = (user => 'web', database => 'shop');
	my %of = (
		leaked => [],
		(map { ($_ => open_session($primary, %as, application_name => $_)) } qw(batch checkout impatient slow loop)),
		failing => open_session($primary, user => 'web', database => 'billing', application_name => 'failing'),
		report => open_session($primary, user => 'report', database => 'shop'));
	my $start = time;
	my $deadline = $start + LOAD + $PostgreSQL::Test::Utils::timeout_default;
	my $forecast = 0;
	my $second = 0;

	ask($of{impatient}, "SET lock_timeout = '20ms'");
	ask($of{failing}, "SET statement_timeout = '100ms'");
	until (time > $start + LOAD && $forecast && $of{waiting} || time > $deadline)
	{
		my $next = $start + ++$second;

		once($second);
		one_second($second, \%of);
		$forecast ||= @{ ask_prometheus($prometheus, 'infra_monitor_pool_exhaustion_seconds') };
		usleep(1e6 * max(0, $next - time));
	}
	ok($forecast, "after $second rounds there is a forecast");

	# Prometheus has seen what is going on, and what comes now is for the charts
	# (at a moment at which it has both, as a busy machine may let it read in vain)
	my ($moment, @rush);
	for (1 .. 5 * $PostgreSQL::Test::Utils::timeout_default)
	{
		$moment = time;
		last if @{ ask_prometheus($prometheus, 'count(count by (instance) (infra_monitor_health_status)) == 2', time => $moment) };
		usleep(200_000);
	}
	1 until @rush > 200 || try_rush(\%as, \@rush);
	is($rush[-1]{sqlstate}, '53300', 'the rest is taken, and one is refused');
	wait_until_asked('min_over_time(infra_monitor_pool_slots{class="free",instance="primary"}[1m]) == 0', 'which is seen');
	close_sessions(grep { !$_->{sqlstate} } @rush);
	end_of_wait(\%of);
	close_sessions(map { ref $_ eq 'ARRAY' ? @$_ : $_ } values %of);
	usleep(2e6);
	return ($moment, time);
}

# One more of the rush; true if it was refused.
sub try_rush
{
	my ($as, $rush) = @_;
	my $session = begin_session($primary, %$as);

	push @$rush, $session;
	return await_session($session) eq 'refused';
}

sub wait_until_asked
{
	my ($expression, $name) = @_;

	return ok(scalar @{ wait_for_series($prometheus, $expression) }, $name);
}

#
# The questions
#

# An expression, with what Grafana puts in the place of its variables.
sub filled_in
{
	my ($expression, $instance, $range) = @_;
	my %values = (
		job => '.+', instance => $instance, datname => '.*', check => 'connections_used',
		__interval => '1s', __rate_interval => '4s', __range => int($range + 1) . 's');

	return $expression =~ s/\$\{?(\w+)\}?/$values{$1} \/\/ die "\$$1"/ger;
}

# All values of a target over the time of the load, or at a moment.
sub values_of
{
	my ($target, $instance, $start, $moment, $end) = @_;
	my $range = $target->{range};
	my $expression = filled_in($target->{expr}, $instance, ($range ? $end : $moment) - $start);

	return map { $_->{value}[1] } @{ ask_prometheus($prometheus, $expression, time => $moment) } unless $range;

	my $form = HTTP::Tiny->new->www_form_urlencode({ query => $expression, start => $start, end => $end, step => 1 });
	my (undef, $body) = http_get($prometheus->{port}, "/api/v1/query_range?$form");
	my $answer = JSON::PP->new->utf8->decode($body);
	die "$expression: $answer->{error}" if $answer->{status} ne 'success';
	return map { map { $_->[1] } @{ $_->{values} } } @{ $answer->{data}{result} };
}

# Asks for all that the panels show.  What counts something must have counted.
sub ask_all
{
	my ($start, $moment, $end) = @_;
	my ($asked, $moved, @of_standby) = (0, 0);

	foreach my $panel (@shown)
	{
		foreach my $target (@{ $panel->{targets} })
		{
			my @numbers;
			my $instance = first
			{
				@numbers = grep { !/NaN|Inf/ } values_of($target, $_, $start, $moment, $end);
				scalar @numbers;
			} qw(primary standby);

			$asked++;
			ok(defined $instance, "panel \"$panel->{title}\", $target->{refId}") or diag $target->{expr};
			push @of_standby, $panel->{title} if ($instance // '') eq 'standby';
			next unless $target->{expr} =~ /\b(?:rate|increase)\(/;
			$moved++;
			ok(max(0, @numbers) > 0, 'which has moved') or diag $target->{expr};
		}
	}
	foreach my $annotation (@{ $dashboard->{annotations}{list} })
	{
		ok(scalar(values_of({ expr => $annotation->{expr}, range => 1 }, 'primary', $start, $moment, $end)), "annotation \"$annotation->{name}\"");
	}
	is(join(', ', @of_standby), 'This standby, This standby, not replayed', 'these are of the standby only');
	note(sprintf '%d panels, %d expressions, %d of them of counters; %.0f s of load', scalar @shown, $asked, $moved, $end - $start);
	return;
}

# Asks for the values of the variables, as Grafana does.
sub ask_variables
{
	foreach my $name (sort grep { $variables{$_}{type} eq 'query' } keys %variables)
	{
		my ($selector, $label) = $variables{$name}{query}{query} =~ /^label_values\((.*), (\w+)\)$/;
		my $form = HTTP::Tiny->new->www_form_urlencode({ 'match[]' => filled_in($selector, 'primary', 0) });
		my (undef, $body) = http_get($prometheus->{port}, "/api/v1/label/$label/values?$form");
		my $values = JSON::PP->new->utf8->decode($body)->{data};
		my %expected = (job => 'postgresql', instance => 'primary', datname => 'shop', check => 'connections_used');

		ok(scalar(grep { $_ eq $expected{$name} } @$values), "values of \$$name: " . @$values);
	}
	return;
}
