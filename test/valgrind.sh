#!/usr/bin/env bash
#
# The regression tests under valgrind, which sees reads of memory that nobody has
# written, and reads and writes outside of what was allocated:
#
#	bash test/valgrind.sh
#
# The server is a PostgreSQL 15 with assertions that tells valgrind what its memory
# contexts have handed out and taken back (USE_VALGRIND).  No package is like that,
# so this builds one, see own_postgres.sh, in VALGRIND_DIR, by default
# /var/tmp/infra_monitor-valgrind; remove that directory to build the present version.
# What PostgreSQL's own list of suppressions has is not reported.
#
# The tests have to print what is expected, at a tenth of the speed or less: the limits
# of ours are raised for that, see allow_time.  Those that may not are in not_compared,
# with the reason: they are run, and watched.  VALGRIND_TESTS may name the ones to run.
#
# Needs what own_postgres.sh needs, and valgrind.  Each process of the server is a
# test, which passes if valgrind reports nothing about it.  The last line is
# "N passed, N failed".

set -euo pipefail
. "$(dirname "$0")/setup.sh"
. "$TOP/test/own_postgres.sh"

# Tests that depend on how fast the server is, and why
declare -A not_compared=(
	[health]='it has to be over while what the sampler saw at first is of the last 5 minutes'
	[waits]='a session that sleeps 0.1 s at a time has to sleep most of the time'
)

passed=0
failed=0

# is_starting: does the server not let clients in yet?  To ask it would be a refusal,
# which health tells of.
is_starting()
{
	! grep -q '^ready' "$WORK/data/postmaster.pid"
}

# allow_time: in the copy of ours, allow fifty times as long: to the sampler for each of
# its tasks, to health checks, and to tests for what they wait for.
allow_time()
{
	cd "$WORK/tree" || return
	sed -i 's/^#define \(TASK_TIMEOUT_MS\|CHECK_TIMEOUT_MS\|REST_MS\) 2000\>/#define \1 100000/; s/^#define ALL_CHECKS_MAX_MS (10 /#define ALL_CHECKS_MAX_MS (500 /' \
		src/sampler.c src/health.c
	[ "$(cat src/sampler.c src/health.c | grep -cE '^#define [A-Z_]+_MS (100000|\(500 )')" -eq 4 ] ||
		die 'the time limits of tasks and checks have changed: see allow_time'
	sed -i "s/statement_timeout = '60s'/statement_timeout = '50min'/" sql/*.sql expected/*.out
	cd "$OLDPWD" || return
}

# serve: start the server, and wait until it lets clients in.  The settings are those
# of pg_regress, but for its port, and ours.
serve()
{
	as_tester "$installation/bin/initdb" -D "$WORK/data" -U postgres -A trust --no-sync --no-locale \
		--encoding=UTF8 >/dev/null
	{
		printf '%s\n' "unix_socket_directories = '$WORK/tmp'" "listen_addresses = ''" \
			"log_line_prefix = '%m %b[%p] %q%a '" 'log_lock_waits = on' 'log_temp_files = 128kB' \
			'log_autovacuum_min_duration = 0'
		cat "$WORK/tree/test/infra_monitor.conf"
	} >>"$WORK/data/postgresql.conf"
	as_tester mkdir "$WORK/reports"
	as_tester valgrind --tool=memcheck --trace-children=yes --leak-check=no --track-origins=no \
		--gen-suppressions=all --suppressions="$installation/valgrind.supp" \
		--error-markers=BEGIN-REPORT,END-REPORT --log-file="$WORK/reports/%p" \
		"$installation/bin/postgres" -D "$WORK/data" >"$WORK/server.log" 2>&1 </dev/null &
	wait_while 300 is_starting
	! is_starting || { tail -n 20 "$WORK/server.log" >&2; die 'the server does not start'; }
}

# tests: print the names of those to run.
tests()
{
	local name

	for name in ${VALGRIND_TESTS:-$(cd "$TOP/sql" && printf '%s\n' *.sql)}; do
		printf '%s\n' "${name%.sql}"
	done
}

# regress: run the tests, and print their results.
regress()
{
	tester_make "$WORK/tree" installcheck ISOLATION= TAP_TESTS= REGRESS="$(tests | tr '\n' ' ')" \
		REGRESS_OPTS="--host=$WORK/tmp --user=postgres --dbname=contrib_regression --no-locale --encoding=UTF8" |
		tee "$WORK/regress.log"
}

# has_passed NAME: did the test print what is expected, or at least run to its end?
has_passed()
{
	grep -qE "^test $1 +\.\.\. ok" "$WORK/regress.log" && return
	[ -z "${not_compared[$1]:-}" ] || ! grep -qE "^test $1 +\.\.\. FAILED  " "$WORK/regress.log" || return 0
	sed -n "\!^diff .*/$1.out!,\!^diff !p" "$WORK/tree/regression.diffs" 2>/dev/null
	return 1
}

# is_clean REPORT: has valgrind nothing to say about this process?
is_clean()
{
	! sed -n '/BEGIN-REPORT/,/END-REPORT/p' "$1" | grep .
}

# was_watched REPORT: did valgrind watch it?
was_watched()
{
	grep -q 'Memcheck, a memory error detector' "$1"
}

# has_survived: nothing crashed.
has_survived()
{
	! grep -E 'PANIC: |TRAP: |was terminated by signal' "$WORK/server.log"
}

need_own_postgres "${VALGRIND_DIR:-/var/tmp/infra_monitor-valgrind}"
need valgrind test -f /usr/include/valgrind/memcheck.h
need libc6-dbg valgrind -q true		# knows what the dynamic linker does
install_missing

make_workdir
own_postgres --without-readline --without-zlib \
	--enable-cassert --enable-debug --enable-tap-tests \
	CFLAGS=-O1 CPPFLAGS=-DUSE_VALGRIND
[[ $("$PG_CONFIG" --cppflags) = *-DUSE_VALGRIND* ]] ||
	die "$installation is of no PostgreSQL with USE_VALGRIND"

say "building for $("$PG_CONFIG" --version)"
copy_tree "$WORK/tree"
allow_time
build "$WORK/tree"
install_into_postgres "$WORK/tree"
say 'regression tests'
for name in "${!not_compared[@]}"; do
	printf 'what %s prints is not compared: %s\n' "$name" "${not_compared[$name]}"
done
serve
run_job regress || true
as_tester "$installation/bin/pg_ctl" -s -w -t 600 -m fast -D "$WORK/data" stop

for name in $(tests); do
	result "$name" has_passed "$name"
done
for file in "$WORK"/reports/*; do
	result "${file##*/}: watched by valgrind" was_watched "$file"
	result "${file##*/}: no report" is_clean "$file"
done
result 'nothing crashed' has_survived
printf '%d passed, %d failed\n' "$passed" "$failed"
exit $((failed > 0))
