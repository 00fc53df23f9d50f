# Databases of several encodings and locales beside each other, and settings
# that change how SQL is read and values are written.  Whatever the sampler
# keeps in shared memory is read everywhere, and what cannot be shown in a
# database becomes '?', never an error.  None of our own SQL depends on a
# setting that somebody may change for the whole server.

use strict;
use warnings;

use Encode;
use InfraMonitor;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Databases by encoding, with Perl's name of it.  In SQL_ASCII bytes have no
# meaning.
my %databases = (
	postgres => { encoding => 'UTF8', perl => 'UTF-8' },
	latin1 => { encoding => 'LATIN1', perl => 'ISO-8859-1' },
	euc_jp => { encoding => 'EUC_JP', perl => 'EUC-JP' },
	sql_ascii => { encoding => 'SQL_ASCII' });
my @databases = qw(postgres latin1 euc_jp sql_ascii);

# Letters in each of them, as bytes; most are invalid, or cannot be converted,
# in some other.
my %letters = (
	postgres => "\xe5\x90\x8d\xf0\x9f\x90\x98",    # a kanji, an elephant
	latin1 => "\xe9t\xe9",
	euc_jp => "\xcc\xbe\xc1\xb0",
	sql_ascii => "\xff\x80");

# The raw sessions below use the encoding of their database, so that these
# bytes arrive as they are, but for one that names its own.  So does psql.
delete $ENV{PGCLIENTENCODING};

my $node = new_server(
	'encodings',
	init => [ extra => [ '--encoding=UTF8', '--locale=C' ] ],
	conf => <<'CONF');
autovacuum = off
track_activity_query_size = 100
infra_monitor.slow_query_threshold = 0
CONF

# The translations are chosen by LANGUAGE.
$ENV{LANGUAGE} = 'ja';
$node->start;

#
# Databases, roles and statements with their letters
#
my (%oid, %session);

foreach my $name (@databases)
{
	my $database = $databases{$name};

	$node->safe_psql('postgres',
		"CREATE DATABASE $name ENCODING '$database->{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
	) if $name ne 'postgres';
	$node->safe_psql($name,
		'SET client_min_messages = error; CREATE EXTENSION infra_monitor CASCADE');
	$oid{$name} = $node->safe_psql($name,
		'SELECT oid FROM pg_database WHERE datname = current_database()');

	my $session = open_session($node, database => $name);
	ask($session, qq(CREATE ROLE "role $letters{$name}" LOGIN));
	ask($session, qq(CREATE DATABASE "database $letters{$name}" TEMPLATE template0));
	$oid{"database $letters{$name}"} = ask($session,
		"SELECT oid FROM pg_database WHERE datname = 'database $letters{$name}'");
	# a number of calls that no other statement has
	ask($session, qq(SELECT 1 AS "$letters{$name}")) for 1 .. 101;
	close_sessions($session);
}

# Other providers of locales; their databases are only read for now.
my @locales = (
	[ libc => "LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'" ],
	[ icu => "LOCALE_PROVIDER icu ICU_LOCALE 'und' LC_COLLATE 'C' LC_CTYPE 'C'" ]);
push @locales, [ builtin => "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LC_COLLATE 'C' LC_CTYPE 'C'" ]
  if $node->pg_version >= 17;

foreach my $locale (@locales)
{
	my ($name, $options) = @$locale;
	my ($status, $out, $said) = $node->psql('postgres',
		"CREATE DATABASE $name ENCODING 'UTF8' $options TEMPLATE template0");

	if ($status != 0)
	{
		note "left out: databases with locale provider $name: $said";
		next;
	}
	$node->safe_psql($name,
		'SET client_min_messages = error; CREATE EXTENSION infra_monitor CASCADE');
	$databases{$name} = { encoding => 'UTF8', perl => 'UTF-8' };
	push @databases, $name;
}

my $frozen = $node->safe_psql('postgres',
	'SELECT datfrozenxid FROM pg_database ORDER BY age(datfrozenxid) DESC LIMIT 1');

# Makes a database the oldest, whose name then stands in a health check.
sub make_oldest
{
	my ($name) = @_;

	$node->safe_psql('postgres',
		"UPDATE pg_database SET datfrozenxid = CASE WHEN oid = $oid{$name} THEN '@{[$frozen - 1]}' ELSE '$frozen' END::xid"
	);
	return;
}

my $translated = translated_lc_messages($node);
note 'left out: translated messages' unless $translated;

# Are the bytes valid text in the database?
sub is_valid
{
	my ($bytes, $name) = @_;
	my $encoding = $databases{$name}{perl};

	return 1 unless $encoding;
	return eval { decode($encoding, my $copy = $bytes, Encode::FB_CROAK); 1 };
}

# A pattern for how bytes that one database has written are shown, in the
# encoding of another.
sub shown
{
	my ($bytes, $from, $to) = @_;
	my ($source, $target) = map { $databases{$_}{perl} } $from, $to;

	return qr/\?+/ unless is_valid($bytes, $from);
	if (!$source || !$target || $source eq $target)
	{
		return is_valid($bytes, $to) ? qr/\Q$bytes\E/ : qr/[\x01-\x7f]+/;
	}

	my $pattern = '';
	foreach my $letter (split //, decode($source, my $copy = $bytes))
	{
		my $encoded = eval { encode($target, my $l = $letter, Encode::FB_CROAK) };

		# between these two there is no conversion but by way of UTF8
		$pattern .=
		    !defined $encoded ? '\?'
		  : grep({ $_ eq 'UTF-8' } $source, $target) ? quotemeta $encoded
		  : '(?:\?|' . quotemeta($encoded) . ')';
	}
	return qr/$pattern/;
}

# A session that reads everything in a database: like a client that wants UTF8
# from all of them, since the server then checks every letter.  From SQL_ASCII
# it could not know what is meant.
sub reader
{
	my ($name) = @_;

	return open_session($node, database => $name,
		client_encoding => $databases{$name}{perl} ? 'UTF8' : 'SQL_ASCII');
}

# What the reader has got, in the encoding of its database again.
sub in_encoding_of
{
	my ($name, $bytes) = @_;
	my $encoding = $databases{$name}{perl} or return $bytes;

	return encode($encoding, decode('UTF-8', $bytes, Encode::FB_CROAK), Encode::FB_CROAK);
}

# The document of health(), which must be valid text and valid JSON.
sub health_in
{
	my ($session, $name) = @_;
	my $text = try_ask($session, 'SELECT infra_monitor.health()');
	my $document = eval {
		JSON::PP->new->decode(
			$databases{$name}{perl}
			? decode('UTF-8', my $copy = $text, Encode::FB_CROAK)
			: $text);
	};

	ok($document, "in $name: health is JSON")
	  or diag $session->{message} // $@;
	return $document;
}

# The message of a check in it, as bytes.
sub message_of
{
	my ($document, $check, $name) = @_;
	my ($found) = grep { $_->{name} eq $check } @{ $document->{checks} || [] };
	my $message = $found->{message} // '';

	return $databases{$name}{perl}
	  ? encode($databases{$name}{perl}, $message, Encode::FB_CROAK)
	  : $message;
}

# Waits for evaluations that begin after this call: where others keep the machine
# busy, the first may leave out a check, whose turn it is in the next.
sub wait_for_evaluation
{
	my ($home) = @_;

	foreach (1 .. 3)
	{
		my $now = $node->safe_psql('postgres', 'SELECT clock_timestamp()');

		wait_for($node,
			"SELECT evaluated_at > '$now' FROM infra_monitor.health_cache()",
			"home $home: the checks were evaluated", 't', $home);
	}
	return;
}

# Reads all views and calls all functions in a database.
sub read_all
{
	my ($home, $name) = @_;
	my $session = reader($name);
	my @views = split /\n/, ask($session, <<'SQL');
SELECT relname FROM pg_class
WHERE relnamespace = 'infra_monitor'::regnamespace AND relkind IN ('p', 'v') ORDER BY 1
SQL

	cmp_ok(scalar @views, '>', 9, "home $home, in $name: views are read");
	foreach my $view (@views)
	{
		foreach my $query ("SELECT * FROM infra_monitor.$view",
			"SELECT jsonb_agg(to_jsonb(r)) FROM infra_monitor.$view r")
		{
			ok(defined try_ask($session, $query), "home $home, in $name: $query")
			  or diag $session->{message};
		}
	}
	close_sessions($session);

	local $ENV{PGCLIENTENCODING} = 'UTF8' if $databases{$name}{perl};
	my ($results, $said) = read_everything($node, $name);
	is_deeply(
		[
			map { "$_: @{$results->{$_}}" }
			grep { $results->{$_}[0] ne '00000' } sort keys %$results
		],
		[],
		"home $home, in $name: nothing raises an error");
	return;
}

#
# Each of them is the home database once
#
foreach my $home (grep { $letters{$_} } @databases)
{
	my $letters = $letters{$home};

	$ENV{LANGUAGE} = $home =~ /postgres|euc_jp/ ? 'ja' : 'de';
	$node->append_conf('postgresql.conf',
		"infra_monitor.database = '$home'\n"
		  . ($translated ? "lc_messages = '$translated'\n" : ''));
	$node->restart;

	# In each database somebody with a name of its encoding, and in the middle
	# of a statement so long that the server cuts it within a letter
	my @sleepers;
	foreach my $name (grep { $letters{$_} } @databases)
	{
		my $session = open_session($node,
			database => $name,
			user => "role $letters{$name}",
			application_name => "application $letters{$name}");
		my $query = 'SELECT pg_sleep(600) /* '
		  . ($name eq 'euc_jp' ? 'x' : '')
		  . $letters{$name} x 60 . " */";

		$session->{socket}->syswrite('Q' . pack('N', 5 + length $query) . "$query\0");
		push @sleepers, $session;

		is( await_session(
				begin_session($node,
					database => $name,
					user => "nobody $letters{$name}",
					application_name => "application $letters{$name}")),
			'refused',
			"home $home: a role is refused in $name");
	}

	# Two checks that fail: with letters of this database, and with a message
	# that PostgreSQL translates
	my $owner = open_session($node, database => $home);
	my @definitions = map {
		ask($owner, "SELECT pg_get_functiondef('infra_monitor.$_'::regproc)")
	} qw(check_lock_waits check_long_transactions system_usage);
	ask($owner, <<"SQL");
CREATE OR REPLACE FUNCTION infra_monitor.check_lock_waits(OUT value float8, OUT unit text, OUT message text)
LANGUAGE plpgsql AS \$\$ BEGIN RAISE EXCEPTION 'failed: $letters'; END \$\$
SQL
	ask($owner, <<'SQL');
CREATE OR REPLACE FUNCTION infra_monitor.check_long_transactions(OUT value float8, OUT unit text, OUT message text)
LANGUAGE sql AS $$ SELECT 'x'::text::float8, '', '' $$
SQL
	try_ask($owner, "SELECT 'x'::text::float8");
	my $translation = $owner->{message};

	make_oldest("database $letters");
	wait_for_evaluation($home);
	foreach my $name (@databases)
	{
		my $session = reader($name);
		my $document = health_in($session, $name);
		my $message = message_of($document, 'lock_waits', $name);

		like($message, qr/^failed: @{[shown($letters, $home, $name)]}; next attempt at \S+ \S+$/,
			"home $home, in $name: letters of an error");
		$message = message_of($document, 'xid_wraparound', $name);
		like($message,
			qr/^database "database @{[shown($letters, $home, $name)]}" is \d+/,
			"home $home, in $name: letters of a name");
		$message = message_of($document, 'long_transactions', $name);
		like($message, qr/^@{[shown($translation, $home, $name)]}; next attempt at \S+ \S+$/,
			"home $home, in $name: a translated error");

		# what runs elsewhere: what is no text here is marked
		my @queries = split /\n/, in_encoding_of($name, ask($session,
			"SELECT datname || '|' || application_name || '|' || query FROM infra_monitor.running_queries WHERE query LIKE '%sleep%' ORDER BY datname"));
		is(scalar @queries, scalar @sleepers,
			"home $home, in $name: all queries are seen");
		foreach my $query (@queries)
		{
			my ($elsewhere) = $query =~ /^(\w+)\|/;

			like($query, qr/^\w+\|application [^|]+\|SELECT pg_sleep\(600\) \/\* x?[^x*]+$/,
				"home $home, in $name: the query in $elsewhere");
			ok(is_valid($query, $name),
				"home $home, in $name: the query in $elsewhere is text");
			like($query, qr/\* x?\Q$letters{$name}\E/,
				"home $home, in $name: its own letters are shown")
			  if $elsewhere eq $name;
		}

		# what has run elsewhere
		my $statements = try_ask($session,
			q{SELECT datname || '|' || coalesce(query, '?') FROM infra_monitor.statement_stats(true) JOIN pg_database d ON d.oid = dbid WHERE calls = 101 ORDER BY datname});
		is(join(' ', ($statements // '') =~ /^(\w+)\|/mg),
			'euc_jp latin1 postgres sql_ascii',
			"home $home, in $name: statements of all databases")
		  or diag $session->{message};
		$statements = in_encoding_of($name, $statements // '');
		foreach my $elsewhere ($statements =~ /^(\w+)\|/mg)
		{
			like($statements, qr/^$elsewhere\|(?:SELECT \$1 AS "(?:@{[shown($letters{$elsewhere}, $elsewhere, $name)]}|\?+)"|\?)$/m,
				"home $home, in $name: letters of a statement in $elsewhere");
		}
		close_sessions($session);
	}

	# a name that cannot be text in the home database itself
	my ($foreign) = grep { $letters{$_} && !is_valid($letters{$_}, $home) } @databases;
	if ($foreign)
	{
		make_oldest("database $letters{$foreign}");
		wait_for_evaluation($home);
		foreach my $name (@databases)
		{
			my $session = reader($name);

			like(
				message_of(health_in($session, $name), 'xid_wraparound', $name),
				qr/^database "database [\x21-\x7e]*\?[\x21-\x7e]*" is \d+/,
				"home $home, in $name: a name of $foreign is marked");
			close_sessions($session);
		}
	}
	wait_for_sample($node, "home $home: samples are stored", $home);
	ask($owner, $_) foreach @definitions;
	read_all($home, $_) foreach @databases;

	# an error of the sampler with letters, and so long that it is cut, at 1023
	# bytes, within one
	my $begin = $home eq 'postgres' ? 'x' : '';
	ask($owner, <<"SQL");
CREATE OR REPLACE FUNCTION infra_monitor.system_usage(
	OUT cpu_ratio float8, OUT memory_used bigint, OUT memory_total bigint,
	OUT disk_used bigint, OUT disk_total bigint)
LANGUAGE plpgsql VOLATILE STRICT PARALLEL SAFE
AS \$\$ BEGIN RAISE EXCEPTION '$begin%', repeat('$letters', 1000); END \$\$
SQL
	wait_in_session($owner,
		'SELECT last_error IS NOT NULL FROM infra_monitor.sampler_state()',
		"home $home: the sampler has met an error");
	foreach my $name (@databases)
	{
		my $session = reader($name);
		my $error = try_ask($session,
			'SELECT last_error FROM infra_monitor.sampler_status');

		like(in_encoding_of($name, $error // ''),
			$name eq $home
			? qr/^\w+: $begin(?:\Q$letters\E){100}[^?]+$/
			: qr/^\w+: $begin@{[shown($letters x 100, $home, $name)]}/,
			"home $home, in $name: the error is shown")
		  or diag $session->{message};
		ok(defined try_ask($session, 'SELECT * FROM infra_monitor.dashboard()'),
			"home $home, in $name: and in the dashboard")
		  or diag $session->{message};
		close_sessions($session);
	}
	ask($owner, $definitions[-1]);
	close_sessions($owner);
}
$node->append_conf('postgresql.conf', "lc_messages = 'C'\n");

#
# Settings
#

# Whoever finds an object or an operator of this schema first gets an error.
$node->safe_psql('postgres', <<'SQL');
CREATE SCHEMA evil;
CREATE FUNCTION evil.fail() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'evil'; END $$;
CREATE FUNCTION evil.eq(a text, b text) RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog AS $$
	BEGIN
		-- read_everything() asks the catalogs first
		IF current_query() LIKE '%FROM pg_proc p,%' THEN RETURN a = b; END IF;
		RETURN evil.fail();
	END $$;
CREATE FUNCTION evil.minus(timestamptz, timestamptz) RETURNS interval LANGUAGE sql AS 'SELECT evil.fail()::text::interval';
CREATE FUNCTION evil.arrow(jsonb, text) RETURNS text LANGUAGE sql AS 'SELECT evil.fail()::text';
CREATE FUNCTION evil.to_char(timestamptz, text) RETURNS text LANGUAGE sql AS 'SELECT evil.fail()::text';
CREATE FUNCTION evil.date_trunc(text, interval) RETURNS interval LANGUAGE sql AS 'SELECT evil.fail()::text::interval';
CREATE FUNCTION evil.to_jsonb(anyelement) RETURNS jsonb LANGUAGE sql AS 'SELECT evil.fail()::text::jsonb';
CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.eq);
CREATE OPERATOR evil.- (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = evil.minus);
CREATE OPERATOR evil.->> (LEFTARG = jsonb, RIGHTARG = text, FUNCTION = evil.arrow);
CREATE VIEW evil.pg_database AS SELECT evil.fail();
CREATE VIEW evil.pg_stat_database AS SELECT evil.fail();
CREATE VIEW evil.samples AS SELECT evil.fail();
CREATE VIEW evil.health_thresholds AS SELECT evil.fail();
SQL

# Sets of them, each for a life of the server.  Settings that this version
# does not have are left out.
my %always = (
	standard_conforming_strings => 'off',
	default_transaction_isolation => 'serializable',
	default_transaction_read_only => 'on',
	default_transaction_deferrable => 'on',
	row_security => 'off',
	quote_all_identifiers => 'on',
	transform_null_equals => 'on',
	array_nulls => 'off',
	extra_float_digits => '-15',
	xmloption => 'document',
	statement_timeout => '3ms',
	lock_timeout => '1ms',
	idle_in_transaction_session_timeout => '1ms',
	idle_session_timeout => '1ms');
my @sets = (
	{
		home => 'postgres',
		timezone => 'Europe/Berlin',
		datestyle => 'German',
		intervalstyle => 'sql_standard',
		bytea_output => 'escape',
		search_path => 'evil, pg_catalog',
		%always
	},
	{
		home => 'icu',
		timezone => 'America/New_York',
		datestyle => 'SQL, DMY',
		intervalstyle => 'postgres_verbose',
		bytea_output => 'hex',
		# what is disabled looks so expensive that all of it would be compiled
		jit => 'off',
		%always,
		map { ("enable_$_" => 'off') }
		  qw(bitmapscan hashagg hashjoin indexscan indexonlyscan material
		  memoize mergejoin nestloop parallel_append partition_pruning seqscan
		  sort incremental_sort)
	},
	{
		home => 'libc',
		timezone => 'Australia/Lord_Howe',
		datestyle => 'Postgres, MDY',
		intervalstyle => 'iso_8601',
		jit => 'on',
		jit_above_cost => 1,
		force_parallel_mode => 'regress',
		debug_parallel_query => 'regress',
		parallel_setup_cost => 0,
		parallel_tuple_cost => 0,
		min_parallel_table_scan_size => 0,
		%always
	});

my %known = map { $_ => 1 } split /\n/,
  $node->safe_psql('postgres', 'SELECT lower(name) FROM pg_settings');

# What would end or refuse our own sessions they set aside.
$ENV{PGOPTIONS} = join ' ',
  map { "-c $_=" . (/timeout$/ ? 0 : 'off') }
  grep { $known{$_} && /timeout$|read_only$/ } keys %always;

foreach my $set (@sets)
{
	my $home = delete $set->{home};
	my $zone = $set->{timezone};
	my @unknown = grep { !$known{$_} } keys %$set;

	next unless $databases{$home};
	delete @$set{@unknown};
	# PostgreSQL 19 has one value left
	delete $set->{standard_conforming_strings}
	  if $node->psql('postgres', 'SET standard_conforming_strings = off') != 0;
	$node->safe_psql('postgres',
		join('',
			map { "ALTER SYSTEM SET $_ = " . ($_ eq 'search_path' ? $set->{$_} : "'$set->{$_}'") . ";\n" }
			  sort keys %$set)
		  . "ALTER SYSTEM SET infra_monitor.database = '$home'");
	$node->restart;
	my $log = log_end($node);

	# The extension is created, and its partitions by the sampler, with all of
	# that in force.
	my ($status, $out, $said) = $node->psql($home,
		'SET client_min_messages = warning; DROP EXTENSION infra_monitor; CREATE EXTENSION infra_monitor');
	is("$status$said", '0', "$zone: the extension is created without warnings");
	wait_for($node,
		"SELECT count(*) >= 2 FROM pg_catalog.pg_inherits WHERE inhparent = 'infra_monitor.samples'::regclass",
		"$zone: partitions were created", 't', $home);

	# Partitions are days of UTC, whatever the day of this server.
	my $bounds = $node->safe_psql($home, <<'SQL');
SET datestyle = ISO; SET timezone = 'UTC';
SELECT relname || ': ' || pg_catalog.pg_get_expr(relpartbound, oid)
FROM pg_catalog.pg_class WHERE relispartition AND relkind = 'r' ORDER BY 1
SQL
	foreach my $bound (split /\n/, $bounds)
	{
		my ($table, $year, $month, $day, $from, $to) =
		  $bound =~ /^(\w+)_(\d{4})(\d\d)(\d\d): FOR VALUES FROM \('(.*)'\) TO \('(.*)'\)$/
		  or die "unexpected partition: $bound";

		is($from, "$year-$month-$day 00:00:00+00", "$zone: partition of $table begins at midnight, UTC");
		like($to, qr/^\d{4}-\d\d-\d\d 00:00:00\+00$/, "$zone: and ends at one");
	}

	# Samples are of now, and their time survives being written and read.
	wait_for_sample($node, "$zone: samples are stored", $home);
	is( $node->safe_psql($home, <<'SQL'),
SELECT bool_and(sampled_at OPERATOR(pg_catalog.=) sampled_at::text::timestamptz(6)
	AND abs(date_part('epoch', pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.-) date_part('epoch', sampled_at)) < 600
	AND collect_time < 60000
	AND tableoid::regclass::text ~ pg_catalog.to_char(sampled_at AT TIME ZONE 'UTC', 'YYYYMMDD'))
FROM infra_monitor.samples
SQL
		't',
		"$zone: with their time");
	is( $node->safe_psql($home,
			"SELECT state || coalesce(last_error, '') FROM infra_monitor.sampler_status"
		),
		'running',
		"$zone: the sampler is well");

	# The document holds what it holds elsewhere.
	wait_for($node,
		"SELECT count(*) > 0 FROM infra_monitor.health_cache()",
		"$zone: the checks were evaluated", 't', $home);
	my $document = decode_json($node->safe_psql($home, 'SELECT infra_monitor.health()'));
	my ($check) = grep { $_->{name} eq 'connections_used' } @{ $document->{checks} };
	is("$check->{status} $check->{warning} $check->{critical}",
		'ok 0.75 0.9', "$zone: a check with its thresholds");
	like($document->{timestamp}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?[+-]\d\d:\d\d$/,
		"$zone: a time as it is usual in JSON");
	cmp_ok($document->{age_ms}, '<', 60000, "$zone: age of the document");
	like(
		decode_json($node->safe_psql($home, 'SELECT infra_monitor.evaluate_health()'))->{status},
		qr/^(?:healthy|degraded)$/,
		"$zone: the checks can be evaluated now");

	# Everything answers, here and elsewhere.  Compiling it all takes its time,
	# once is enough.
	foreach my $name ($home, $set->{jit_above_cost} ? () : 'latin1')
	{
		my $results;

		($results, $said) = read_everything($node, $name);
		is_deeply(
			[
				map { "$_: @{$results->{$_}}" }
				grep { $results->{$_}[0] ne '00000' } sort keys %$results
			],
			[],
			"$zone: nothing raises an error in $name");
		is($said, '', "$zone: nor a warning");
	}
	($status, $out, $said) = $node->psql($home, 'SELECT * FROM infra_monitor.dashboard()');
	is("$status$said", '0', "$zone: the dashboard comes without warnings");
	cmp_ok(scalar(split /\n/, $out), '>', 9, "$zone: and is complete");

	is_deeply([ grep { !/ LOG:  / } worker_log($node, $log) ],
		[], "$zone: the log is clean");
	$node->safe_psql('postgres', 'ALTER SYSTEM RESET ALL');
}

#
# T1: random bytes, the same each time: as statements, names, application names and
# users, valid or not.  No view fails because of them, wherever it is read.
#
$node->safe_psql('postgres', "ALTER SYSTEM SET infra_monitor.statement_interval = '1s'");
$node->restart;
srand(20_251);
my $refused = 0;
foreach my $name (@databases)
{
	my $session = open_session($node, database => $name);

	ask($session, "SET log_min_messages = panic");
	foreach my $n (1 .. 100)
	{
		my $bytes = join '', map { chr(1 + int rand 255) } 1 .. 1 + int rand 60;

		# without what would end a name or a literal
		$bytes =~ tr/\\'"//d;
		foreach my $statement (
			qq(SELECT 1 AS "x$bytes"), "SELECT /* $bytes */ $n", "SELECT 'x$bytes'::text || pg_sleep(0)",
			"SELECT $bytes", "SET application_name = 'x$bytes'")
		{
			$refused++ unless defined try_ask($session, $statement);
		}
		try_ask($session, qq(CREATE ROLE "r$bytes" LOGIN)) if $n % 10 == 0;
		next if $n % 20;
		my $login = begin_session($node, user => "r$bytes", database => $name, application_name => $bytes);
		close_sessions($login) if await_session($login) eq 'ready';
	}
	close_sessions($session);
}
note "$refused statements were refused";
cmp_ok($refused, '>', 100, 'T1: some were no text, or no statements');
cmp_ok($refused, '<', 500 * @databases - 100, 'T1: others were executed');
wait_for_sample($node, 'T1: samples are taken', $node->safe_psql('postgres', 'SHOW infra_monitor.database')) for 1 .. 3;
foreach my $name (@databases)
{
	my ($results) = read_everything($node, $name);

	is_deeply([ map { "$_: @{$results->{$_}}" } grep { $results->{$_}[0] ne '00000' } sort keys %$results ],
		[], "T1: nothing raises an error in $name");
}
is($node->safe_psql('postgres', 'SELECT coalesce(last_error, state) FROM infra_monitor.sampler_status'), 'running', 'T1: the sampler is well');
is(log_count($node, qr/PANIC|TRAP: |terminated by signal/), 0, 'T1: no process has crashed');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET ALL');

# From PostgreSQL 17 on a transaction can be too long, whoever has begun it.
# One of the sampler, with a check that takes longer, is nevertheless let alone.
if ($known{transaction_timeout})
{
	$node->restart;
	$node->safe_psql('postgres', <<'SQL');
ALTER SYSTEM SET infra_monitor.database = 'postgres';
ALTER SYSTEM SET transaction_timeout = '1s';
-- the checks have half of these
ALTER SYSTEM SET infra_monitor.sample_interval = '4s';
ALTER SYSTEM SET infra_monitor.health_interval = '4s';
CREATE OR REPLACE FUNCTION infra_monitor.check_lock_waits(OUT value float8, OUT unit text, OUT message text)
LANGUAGE sql AS 'SELECT 0, $$$$, $$slept$$ FROM pg_sleep(1.3)';
SQL
	$node->restart;
	my $log = log_end($node);

	wait_for($node,
		"SELECT document @? '\$.checks[*] ? (\@.message == \"slept\")' FROM infra_monitor.health_cache()",
		'transaction_timeout: the checks were evaluated');
	wait_for_sample($node, 'transaction_timeout: samples are stored');
	is_deeply([ grep { !/ LOG:  / } worker_log($node, $log) ],
		[], 'transaction_timeout: the log is clean');
}

$node->stop;
done_testing();
