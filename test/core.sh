#!/usr/bin/env bash
#
# PostgreSQL's own tests, with us loaded:
#
#	test/core.sh [VERSION]		by default the PostgreSQL that run.sh takes
#
# The regression tests and the isolation tests of the server, once more with parallel
# plans wherever possible, and those of pg_stat_statements, loaded before us and after
# us.  Each suite runs on a server with everything of ours turned up and the
# extension created, and on one without us.  A test passes if it prints the same on
# both, to the byte; what it is expected to print matters to neither.  After each
# suite, our server is asked whether it has counted, and whether its log tells of a
# crash.
#
# The server is that of this machine; for a VERSION that it cannot have, matrix.sh has
# one in a folder.  The tests come from the source package of that version, see
# get_source in setup.sh, or from POSTGRES_SOURCE.  They are kept in CORE_DIR, by
# default /var/tmp/infra_monitor-core; remove that directory to get those of the
# present version.
#
# CORE_SUITES may name those to run: regress, parallel, isolation, before, after.  The
# last line is "N passed, N failed".

set -euo pipefail
. "$(dirname "$0")/setup.sh"

libraries='pg_stat_statements, infra_monitor'
CORE_DIR=${CORE_DIR:-/var/tmp/infra_monitor-core}
PARTS=(src/test/regress src/test/isolation contrib/pg_stat_statements contrib/spi)

passed=0
failed=0

# keep_tests: have the tests of this version in $tests.
keep_tests()
{
	local part

	[ ! -d "$tests" ] || return 0
	get_source "$major"
	rm -rf "$tests.new"
	mkdir -p "$tests.new"
	for part in "${PARTS[@]}"; do
		mkdir -p "$tests.new/${part%/*}"
		cp -R "$WORK/source/postgresql/$part" "$tests.new/$part"
	done
	mv -T "$tests.new" "$tests"
	rm -rf "$WORK/source"
}

# build_modules: build what tests load, by the rules for extensions: so it takes no
# build of the server.
build_modules()
{
	local part

	mkdir "$WORK/modules" "$core"
	cp -R "$tests"/* "$core"
	give_to_tester "$WORK/modules" "$core"
	# shellcheck disable=SC2016 # a variable of make
	printf '%s\n' 'MODULES = regress' "PGXS := $("$PG_CONFIG" --pgxs)" 'include $(PGXS)' >"$core/src/test/regress/modules.mk"
	tester_make "$core/src/test/regress" -f modules.mk with_llvm=no all &&
		tester_make "$core/contrib/spi" USE_PGXS=1 with_llvm=no all || return
	for part in src/test/regress/regress contrib/spi/{autoinc,refint}; do
		cp "$core/$part.so" "$WORK/modules"
	done
}

# statement TEXT: what it returns on our server.
statement()
{
	as_tester "$PG_BINDIR/psql" -XAtq -h "$WORK/tmp" -U postgres -v ON_ERROR_STOP=1 -c "$1" postgres
}

# start_server NAME LIBRARIES [SETTING...]: start a server on a new directory, with
# the extension in the home database if we are among the libraries.
start_server()
{
	local data=$WORK/$1.data

	cp -R "$WORK/empty" "$data"
	{
		printf '%s\n' "shared_preload_libraries = '$2'" \
			"unix_socket_directories = '$WORK/tmp'" "listen_addresses = ''" \
			'fsync = off' 'compute_query_id = regress' 'max_prepared_transactions = 10' \
			"log_line_prefix = '%m %b[%p] %q%d %a '" "${@:3}"
		# what users have, and more often than they have it
		[[ $2 != *infra_monitor* ]] || printf 'infra_monitor.%s\n' 'track = all' \
			'slow_query_threshold = 0' 'slow_query_plan = on' \
			'activity_interval = 100ms' 'sample_interval = 1s' 'statement_interval = 1s' \
			'health_interval = 1s' 'database_check_interval = 1s'
	} >>"$data/postgresql.conf"
	give_to_tester "$data"
	as_tester "$PG_BINDIR/pg_ctl" -s -w -D "$data" -l "$WORK/$1.log" start
	[[ $2 != *infra_monitor* ]] || statement 'SET client_min_messages = warning; CREATE EXTENSION infra_monitor CASCADE'
}

# stop_server NAME: stop it, and forget its files.
stop_server()
{
	as_tester "$PG_BINDIR/pg_ctl" -s -w -m fast -D "$WORK/$1.data" stop
	rm -rf "$WORK/$1.data"
}

# run_suite SUITE RUN: run the tests of a suite on the server that runs.  Their
# results are in $WORK/RUN.
run_suite()
{
	local arguments=() directory driver=regress/pg_regress output=$WORK/$2

	case $1 in
		regress)
			directory=src/test/regress
			arguments=(--max-concurrent-tests=20 --schedule=parallel_schedule)
			;;
		isolation)
			directory=src/test/isolation
			driver=isolation/pg_isolation_regress
			arguments=(--schedule=isolation_schedule)
			;;
		pg_stat_statements)
			directory=contrib/pg_stat_statements
			read -ra arguments < <(
				# shellcheck disable=SC2016 # a variable of make
				tester_make "$core/$directory" USE_PGXS=1 --eval='tests: ; @echo $(REGRESS)' tests)
			arguments+=(--dbname=contrib_regression)
			;;
	esac
	mkdir "$output"
	give_to_tester "$output"
	cd "$core/$directory"
	# that some fail is nothing of ours, as long as they fail without us
	as_tester "$(dirname "$("$PG_CONFIG" --pgxs)")/../test/$driver" --inputdir=. --outputdir="$output" \
		--bindir="$PG_BINDIR" --dlpath="$WORK/modules" --host="$WORK/tmp" --user=postgres \
		"${arguments[@]}" >"$WORK/$2.out" 2>&1 </dev/null || true
	cd "$OLDPWD"
}

# same_results NAME: does the test print the same on both servers?  Prints what is not.
same_results()
{
	diff -U 3 --label without --label with "$without/$1" "$with/$1"
}

# is_missing: print what our views should show after a suite and don't; false if
# nothing is missing.
is_missing()
{
	local missing

	if missing=$(statement "
		SELECT name FROM (VALUES
			('no statement was counted',
				(SELECT total_time FROM infra_monitor.statement_totals()) > 0),
			('there is no plan of a slow query',
				EXISTS (SELECT FROM infra_monitor.slow_query_log WHERE plan IS NOT NULL)),
			('no samples were stored',
				(SELECT count(*) FROM infra_monitor.samples) > 2),
			((SELECT last_error FROM infra_monitor.sampler_status),
				(SELECT last_error IS NULL FROM infra_monitor.sampler_status))
			) c (name, holds)
		WHERE holds IS NOT TRUE") && [ -z "$missing" ]; then
		return 1
	fi
	printf '%s\n' "$missing"
}

# has_counted: have we counted, and has no task of the sampler failed?  A suite may
# take less time than the samples do.
has_counted()
{
	wait_while 60 is_missing >/dev/null
	! is_missing
}

# has_survived RUN: nothing crashed, and the sampler was started once.
has_survived()
{
	! grep -E 'PANIC: |TRAP: |was terminated by signal' "$WORK/$1.log" &&
		[ "$(grep -c 'LOG:  infra_monitor sampler connected' "$WORK/$1.log")" -eq 1 ]
}

# summary RUN: print it, if there is one: if the suite was run to its end.
summary()
{
	grep -E '^(#| )? ?(All|[0-9]+ of) [0-9]+ tests (passed|failed)' "$WORK/$1.out"
}

# has_ended RUN: was the suite run to its end?
has_ended()
{
	summary "$1" >/dev/null
}

# serve NAME SUITE LIBRARIES [SETTING...]: run a suite on a server of its own, which
# still runs then.
serve()
{
	say "$1"
	start_server "$1" "${@:3}"
	run_job run_suite "$2" "$1"
	summary "$1" || tail -n 20 "$WORK/$1.out"
}

# compare NAME SUITE LIBRARIES [SETTING...]: run a suite with us and, unless it was
# run with these settings, without; count its tests.
compare()
{
	local file settings=("${@:4}") with=$WORK/$1 without="$WORK/$2${4:+_parallel}_without"

	# its own tests set this, where they do not want the default
	[ "$2" = pg_stat_statements ] || settings+=('pg_stat_statements.track = all')
	if [ ! -d "$without" ]; then
		serve "${without##*/}" "$2" pg_stat_statements "${settings[@]}"
		stop_server "${without##*/}"
	fi
	serve "${@:1:3}" "${settings[@]}"
	result "$1: run to its end" has_ended "$1"
	result "$1: run to its end without us" has_ended "${without##*/}"
	while read -r file; do
		result "$1: $file" same_results "$file"
	done < <(cd "$without" && find results -type f | sort)
	result "$1: it has counted" has_counted
	stop_server "$1"
	result "$1: nothing crashed" has_survived "$1"
}

if [ $# -gt 0 ]; then
	[[ $1 =~ ^[0-9]+$ ]] || die "not a version: \"$1\""
	PG_CONFIG=/usr/lib/postgresql/$1/bin/pg_config
	[ -x "${PG_CONFIG%_config}_ctl" ] || [ -n "$(apt-cache madison "postgresql-$1" 2>/dev/null)" ] ||
		exec env MATRIX_SCRIPT=core.sh bash "$TOP/test/matrix.sh" "$1"
fi
find_postgres
need_build_tools
install_missing					# the version is known then
major=$("$PG_CONFIG" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
tests=$CORE_DIR/$major
parallel=debug_parallel_query
[ "$major" -gt 15 ] || parallel=force_parallel_mode
[ -d "$tests" ] || need_source
install_missing

make_workdir
core=$WORK/core
run_job keep_tests
say "building for $("$PG_CONFIG" --version)"
copy_tree "$WORK/tree"
build "$WORK/tree"
install_into_postgres "$WORK/tree"
build_modules
as_tester "$PG_BINDIR/initdb" -D "$WORK/empty" -U postgres -A trust -E UTF8 --locale=C --no-sync >/dev/null

for suite in ${CORE_SUITES:-regress parallel isolation before after}; do
	case $suite in
		regress | isolation) compare "$suite" "$suite" "$libraries" ;;
		parallel) compare parallel regress "$libraries" "$parallel = regress" ;;
		before) compare before pg_stat_statements 'infra_monitor, pg_stat_statements' ;;
		after) compare after pg_stat_statements "$libraries" ;;
		*) die "no such suite: \"$suite\"" ;;
	esac
done
printf '%d passed, %d failed\n' "$passed" "$failed"
exit $((failed > 0))
