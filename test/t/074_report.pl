# report(): the page is well-formed, shows whatever others have named a thing as
# text, and needs nothing from elsewhere; on a server with a history, on one
# without, on a standby, in another encoding.  Headless Chromium shows it.

use strict;
use warnings;
use utf8;

use Cwd qw(abs_path);
use Encode qw(encode);
use InfraMonitor;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'needs xmllint (libxml2-utils)'
  if system('xmllint --version >/dev/null 2>&1') != 0;

my $chromium = (grep { -x } map { "$_/chromium" } split /:/, $ENV{PATH})[0];
my $directory = abs_path(PostgreSQL::Test::Utils::tempdir);

# What the old parser of HTML in libxml2 does not know: each is an element of
# HTML 5 or SVG, and this is all that it may complain about.
my $newer = join '|', qw(bdi details footer header line main nav path section summary svg text);

# Runs a program; returns what it writes to both of its outputs.
sub output_of
{
	my (@command) = @_;
	my $out = '';

	IPC::Run::run(\@command, '<', \undef, '>', \$out, '2>', \my $said,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return wantarray ? ($out, $said, $?) : $out;
}

# The report of the last hour, or that of a query, as a file.
sub page
{
	my ($node, $name, %options) = @_;
	my $query = $options{query} // "SELECT infra_monitor.report(now() - interval '1 hour')";
	my $file = "$directory/$name.html";
	my $html = $node->safe_psql($options{database} // 'postgres',
		($options{before} // '') . $query, extra_params => [ '-q', @{ $options{params} // [] } ]);

	append_to_file($file, "$html\n");
	return $file;
}

# The value of an XPath expression in a page, as text.
sub xpath
{
	my ($file, $expression) = @_;
	my ($out, $said) = output_of('xmllint', '--xpath', $expression, $file);

	chomp $out;
	utf8::decode($out);
	return $out;
}

# A literal in XPath, which has no escapes.
sub literal
{
	my ($text) = @_;

	return 'concat("", ' . join(", '\"', ", map { "\"$_\"" } split /"/, $text, -1) . ')';
}

# How many names say just this, at once or when the mouse points at them: control
# characters as pictures of them, ends of lines in an attribute as spaces.
sub shown
{
	my ($file, $text) = @_;

	$text =~ s/\n/ /g;
	$text =~ s/([\x00-\x1F])/chr(0x2400 + ord $1)/ge;
	my $literal = encode('UTF-8', literal($text));

	return xpath($file, "count(//*[local-name()='bdi'][. = $literal or \@title = $literal])");
}

# What is true of any report.
sub is_good
{
	my ($file, $name) = @_;
	my $html = slurp_file($file);

	is((output_of('xmllint', '--noout', $file))[1], '', "$name: well-formed XML");
	my @complaints = (output_of('xmllint', '--html', '--noout', $file))[1] =~ /(?:error|warning) : (.*)/g;
	is_deeply([ grep { !/^Tag (?:$newer) invalid$/ } @complaints ],
		[], "$name: a parser of HTML has nothing against it");
	unlike($html, qr/[^\n\t -~]/, "$name: ASCII, without control characters");
	is(xpath($file, 'count(//*[local-name()="script" or local-name()="img" or local-name()="iframe" or local-name()="object"])'),
		0, "$name: nothing that runs or loads");
	is(xpath($file, 'count(//@*[starts-with(local-name(), "on") or local-name() = "src" or local-name() = "style" and contains(., "url")])'),
		0, "$name: nor an attribute that does");
	is(xpath($file, 'count(//@href[not(starts-with(., "#") or . = "data:,")])'),
		0, "$name: no link that leads away");
	is(xpath($file, 'count(//*[local-name()="section"]/*[local-name()="h2"])'),
		10, "$name: all sections");
	is( xpath($file, 'count(//*[local-name()="svg"][@role="img"][not(@aria-label) or not(*[local-name()="title"])])'),
		0, "$name: all charts have titles");
	return;
}

#
# names
#
my $script = q(<script>alert('1')</script>);
my $quotes = q(a"b'c&d<e>--]]>);
my $hebrew = "\x{5E9}\x{5DC}\x{5D5}\x{5DD}";
my $arabic = "\x{645}\x{631}\x{62D}\x{628}\x{627} <b>";
my $longest = 'r' x 62 . '<';
my @roles = ($script, $quotes, $hebrew, $longest);
my @databases = ($arabic, q(</title></svg><img src=x onerror=alert(2)>), "two\nlines, and\ba\e[31mbell\x07");
my @applications = ($script, $quotes, '<' x 200, '--><svg onload=alert(3)>');

# of which PostgreSQL keeps 63 bytes
my @kept = map { substr $_, 0, 63 } @applications;

my $node = new_server('report', init => [ allows_streaming => 1 ], conf => <<'CONF');
max_connections = 20
infra_monitor.statement_interval = 1s
infra_monitor.activity_interval = 100ms
infra_monitor.slow_query_threshold = 0
infra_monitor.top_statements = 5000
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION infra_monitor CASCADE');

sub quoted
{
	my ($name) = @_;

	return '"' . $name =~ s/"/""/gr . '"';
}

my $admin = open_session($node);
ask($admin, encode('UTF-8', 'CREATE ROLE ' . quoted($_) . ' LOGIN')) foreach @roles;
ask($admin, encode('UTF-8', 'CREATE DATABASE ' . quoted($_))) foreach @databases;
ask($admin, 'CREATE TABLE invoice (id int)');
ask($admin, 'INSERT INTO invoice VALUES (42)');
ask($admin, 'GRANT ALL ON invoice TO PUBLIC');
ask($admin, q(INSERT INTO infra_monitor.slo_target_overrides (name, kind, target) VALUES ('<b onclick="alert(5)">', 'availability', 0.5)));

# Each role does something, in one of the databases and as one of the applications,
# and takes its time, so that it is among the first of all lists.
foreach my $i (0 .. $#roles)
{
	my $session = open_session($node,
		user => encode('UTF-8', $roles[$i]),
		database => encode('UTF-8', (@databases, 'postgres')[$i]),
		application_name => $applications[$i]);

	ask($session, qq(SELECT pg_sleep(0.2), '</code><script>' AS "$i</bdi><script>alert(6)</script>&amp;"));
	ask($session, encode('UTF-8', qq(SELECT pg_sleep(0.2), 1 AS "$i$hebrew \x{202E}gnp.exe")));
	close_sessions($session);
}

# A lock incident with a hostile culprit, and refusals.
my $culprit = open_session($node, user => $script, application_name => $applications[0]);
my $victim = open_session($node, user => $quotes, application_name => $applications[1]);
ask($culprit, 'BEGIN');
ask($culprit, 'LOCK TABLE invoice IN SHARE MODE');
send_query($victim, 'INSERT INTO invoice VALUES (43)');
wait_in_session($admin, 'SELECT count(*) > 0 FROM infra_monitor.lock_blame WHERE blocked_time > 300',
	'somebody waits for a lock', 't');
ask($culprit, 'COMMIT');
answer_of($victim);
close_sessions($culprit, $victim);
ask($admin, encode('UTF-8', 'ALTER ROLE ' . quoted($script) . ' CONNECTION LIMIT 0'));
my $refused = begin_session($node, user => $script);
is(await_session($refused), 'refused', 'somebody is refused');
wait_in_session($admin, <<'SQL', 'all that is stored', 't');
SELECT (SELECT sum(rejected) > 0 FROM infra_monitor.samples)
	AND (SELECT count(DISTINCT (usename, datname)) > 4 FROM infra_monitor.statement_samples)
	AND EXISTS (SELECT FROM infra_monitor.wait_samples WHERE wait_event_type = 'Lock')
	AND EXISTS (SELECT FROM infra_monitor.health_events)
SQL
close_sessions($admin);

#
# the page
#
my $file = page($node, 'page');
is_good($file, 'report');
is(xpath($file, 'count(//*[local-name()="svg"][@class="chart"])'), 5, 'all charts: pool, refusals, latency, waits, health');
cmp_ok(xpath($file, 'count(//*[@id="statements"]//*[@class="spark"])'), '>', 10, 'sparklines');
cmp_ok(xpath($file, 'count(//*[@id="blame"]//*[local-name()="tr"])'), '>', 1, 'somebody is to blame');
cmp_ok(xpath($file, 'count(//*[@id="readiness"]//*[local-name()="tr"])'), '>', 1, 'something is not ready');
is(xpath($file, 'normalize-space(//*[local-name()="h1"])'), 'report', 'the name of the server');
like(xpath($file, 'string(/*/*/*[local-name()="title"])'), qr{^report, \d}, 'the title of the page');
like(xpath($file, 'string(//*[@class="facts"])'), qr/Roleprimary/, 'it is a primary');

# whatever is not in the top list stands in the slow log, which has everything
cmp_ok(shown($file, $_), '>', 0, 'role ' . encode('UTF-8', $_)) foreach @roles;
cmp_ok(shown($file, $_), '>', 0, 'database ' . encode('UTF-8', s/[\x00-\x1F]/?/gr)) foreach @databases;
cmp_ok(shown($file, $_), '>', 0, "application $_") foreach @kept;
is(shown($file, 'no such name'), 0, 'names that are not there are not found');
cmp_ok(shown($file, '<b onclick="alert(5)">'), '>', 0, 'an objective');
cmp_ok(xpath($file, q(count(//*[local-name()="code" or local-name()="pre"]/*[contains(., '</bdi><script>alert(6)</script>&amp;')])))
	, '>', 0, 'texts of statements');
cmp_ok(xpath($file, encode('UTF-8', qq(count(//*[local-name()="code" or local-name()="pre"]/*[contains(., "$hebrew \x{FFFD}gnp.exe")])))),
	'>', 0, 'what would turn the text around is replaced');

# whoever may read everything else, may read this
$node->safe_psql('postgres', 'CREATE ROLE monitor LOGIN IN ROLE pg_monitor');
is_good(page($node, 'monitor', params => [ '-U', 'monitor' ]), 'for pg_monitor');
$node->safe_psql('postgres', 'CREATE ROLE nobody LOGIN');
my ($status, $out, $said) = $node->psql('postgres', "SELECT infra_monitor.report(now() - interval '1 hour')", extra_params => [ '-U', 'nobody' ]);
like($said, qr/permission denied for schema infra_monitor/, 'others may not');

# a client of another encoding gets the same page
$file = page($node, 'client', before => "SET client_encoding = 'LATIN1';");
is_good($file, 'for a client of LATIN1');
cmp_ok(shown($file, $hebrew), '>', 0, 'for a client of LATIN1: letters that it does not have');

# in another database, of another encoding, only what is in memory is known
$node->safe_psql('postgres', q(CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'));
$node->safe_psql('postgres', q(CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'));
foreach my $database (qw(latin ascii))
{
	$node->safe_psql($database, 'CREATE EXTENSION infra_monitor CASCADE');
	my $other = page($node, $database, database => $database, before => "SET client_encoding = 'UTF8';");
	is_good($other, "in $database");
	like(xpath($other, 'string(//*[local-name()="header"])'), qr/History is stored in database postgres, not in this one/, "$database: it says where history is");
	is(xpath($other, 'count(//*[@id="pool"]//*[@class="chart"]) > 0'), 'true', "$database: the pool");
	is(xpath($other, 'normalize-space(//*[@id="statements"]/*[local-name()="p"][not(@class)])'), 'No statements are stored of this time.', "$database: it says what is not known");
	cmp_ok(shown($other, $script), '>', 0, "$database: a role");
}

#
# a standby
#
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->append_conf('postgresql.conf', "infra_monitor.sample_interval = 1s\n");
$standby->start;
wait_for($standby, 'SELECT count(*) > 2 FROM infra_monitor.sample_ring()', 'the standby remembers samples');
$file = page($standby, 'standby');
is_good($file, 'standby');
like(xpath($file, 'string(//*[local-name()="header"])'), qr/Rolestandby.*A standby stores nothing/s, 'it says what it is');
is(xpath($file, 'count(//*[@id="pool"]//*[@class="chart"]) > 0'), 'true', 'standby: the pool');
is(xpath($file, 'count(//*[@id="statements" or @id="waits" or @id="latency" or @id="health" or @id="changes"]//*[local-name()="table" or @class="chart"])'),
	0, 'standby: nothing that is its primary\'s');
$standby->stop;

#
# a browser
#
SKIP:
{
	skip 'needs chromium', 8 unless $chromium;

	my @browser = ($chromium, qw(--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run
		--disable-background-networking --disable-component-update --disable-sync --disable-default-apps
		--hide-scrollbars), "--user-data-dir=$directory/chromium");

	# What it asked for, by the log of its network, beside the page itself.
	my $requests = sub {
		my ($page, @options) = @_;
		my ($dom) = output_of(@browser, "--log-net-log=$directory/net.json", @options, "file://$page");
		my %urls = map { $_ => 1 } slurp_file("$directory/net.json") =~ m{"url":"([^"]+)"}g;

		return ($dom, grep { /^https?:/ && !m{^https?://[^/]*\.?(?:google|googleapis|gstatic)\.com/} } sort keys %urls);
	};
	local $ENV{HOME} = $directory;
	my $loud = "$directory/loud.html";

	append_to_file($loud, '<!DOCTYPE html><title>x</title><img src="http://127.0.0.1:9/x.png"><script>document.title = "ran"</script>');
	my ($dom, @asked) = $requests->($loud, '--dump-dom');
	like($dom, qr{<title>ran</title>}, 'the browser runs scripts');
	is_deeply(\@asked, ['http://127.0.0.1:9/x.png'], 'and asks for what a page names');

	$file = "$directory/page.html";
	($dom, @asked) = $requests->($file, '--dump-dom');
	is_deeply(\@asked, [], 'the report asks for nothing');
	unlike($dom, qr/<(?:script|img|iframe)\b/i, 'nothing in it has become a script');
	is(scalar(() = $dom =~ /<h2 /g), 10, 'all sections');
	is(scalar(() = $dom =~ /<svg class="chart"/g), 5, 'all charts');
	$requests->($file, "--screenshot=$directory/page.png", '--window-size=1280,2400');
	my $picture = slurp_file("$directory/page.png");
	is(substr($picture, 1, 3), 'PNG', 'a picture of it');
	cmp_ok(length $picture, '>', 20000, 'which is not empty');
}

# the span is that of the caller, in the caller's time zone
$file = page($node, 'zone', before => "SET timezone = 'Asia/Kolkata';");
like(xpath($file, 'string(//*[@class="facts"])'), qr{Time zoneAsia/Kolkata}, 'the page says its time zone');
$node->stop;

done_testing();
