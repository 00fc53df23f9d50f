#!/usr/bin/env bash
#
# Our tests and PostgreSQL's own, on a PostgreSQL 15 with the address and undefined
# behavior sanitizers, and with assertions:
#
#	bash test/sanitizers.sh
#
# It is built for this, see own_postgres.sh, in SANITIZERS_DIR, by default
# /var/tmp/infra_monitor-sanitizers; remove that directory to build the present
# version.  An extension is built with the options of its server: so are we.
#
# Each process that does what it may not aborts there, and the address sanitizer
# writes a report, with the stack, of that as of what it finds itself: the server and
# its processes, psql, pg_upgrade and the others.  Reports are printed, and each is a
# failure, whatever the test thinks of it.  So is a crash, and an assertion that does
# not hold: both are reported like that.  That it works is seen first, by a library
# that does such things.
#
# Leaks are not looked for: a server process leaves its memory to its end.
# Nor is the use of memory that palloc gave and pfree took, which sanitizers know
# nothing of; valgrind does.  Left out, because they are not about what is wrong but
# about how much memory a process has, of which the sanitizers take most
# (IMON_SANITIZERS tells the tests):
#	095_resources.pl	memory limited by ulimit and prlimit
# What goes 500 functions deep takes the stack that IMON_STACK_DEPTH allows.
#
# SANITIZER_SUITES may name what to run: ours, core.  CORE_SUITES is that of core.sh,
# by default "regress isolation before after"; TAP_FILES that of run.sh.  Needs what
# run.sh, core.sh and own_postgres.sh need.  The last line is "N passed, N failed".

set -euo pipefail
. "$(dirname "$0")/setup.sh"
. "$TOP/test/own_postgres.sh"

sanitize='-fsanitize=address,undefined -fno-sanitize-recover=all'
passed=0
failed=0

# compile_ubsan_options: the options are read with the first report; from the
# environment that the kernel remembers, which PostgreSQL has overwritten by then with
# the title of the process.  This is linked into all programs.
compile_ubsan_options()
{
	as_tester gcc -x c -c -o "$WORK/ubsan_options.o" - <<'C'
#include <stdlib.h>

const char *__ubsan_default_options(void);

const char *
__ubsan_default_options(void)
{
	return getenv("UBSAN_OPTIONS");
}
C
}

# set_options: where reports go, and what processes have.  A server process measures
# its stack, so none of it may be elsewhere.
set_options()
{
	local common

	reports=$WORK/reports
	mkdir "$reports"
	give_to_tester "$reports"
	common="log_path=$reports/report:print_stacktrace=1:abort_on_error=1"
	export UBSAN_OPTIONS=$common
	ASAN_OPTIONS=$common:detect_leaks=0:detect_stack_use_after_return=0
	ASAN_OPTIONS+=:handle_abort=1						# failed assertions, too
	ASAN_OPTIONS+=:allocator_may_return_null=1			# as malloc does
	ASAN_OPTIONS+=:verify_asan_link_order=0				# tests preload a clock
	ASAN_OPTIONS+=:quarantine_size_mb=8					# tests look for leaks
	export ASAN_OPTIONS IMON_SANITIZERS=1

	# functions take several times the stack
	ulimit -s 65536
	export IMON_STACK_DEPTH=48MB
}

# count_reports NAME: print the reports of a part, and forget them; each is a failure.
count_reports()
{
	local file number=0

	while read -r file; do
		number=$((number + 1))
		say "$1: ${file##*/}"
		head -n 100 "$file"
		rm "$file"
	done < <(find "$reports" -type f -size +0)
	say "$1: reports: $number"
	failed=$((failed + number))
	[ $number -gt 0 ] || passed=$((passed + 1))
}

# misbehave FUNCTION: have a server process execute it.  It takes its server along.
misbehave()
{
	local data=$WORK/planted/data

	as_tester "$installation/bin/pg_ctl" -s -w -D "$data" -l "$WORK/planted/log" start || return
	as_tester "$installation/bin/psql" -Xq -h "$WORK/tmp" -U postgres postgres >"$WORK/planted/said" 2>&1 <<SQL || true
CREATE FUNCTION pg_temp.f() RETURNS void LANGUAGE c AS '$WORK/planted/planted', '$1';
SELECT pg_temp.f();
SQL
	wait_while 60 test -f "$data/postmaster.pid"
	[ -f "$data/postmaster.pid" ] || return 0
	as_tester "$installation/bin/pg_ctl" -s -m immediate -D "$data" stop
	return 1
}

# is_reported FUNCTION PATTERN: prints what there is instead of a report when a server
# process executes it.
is_reported()
{
	misbehave "$1" || echo 'the server is still there'
	grep -qrE "$2" "$reports" || cat "$WORK/planted"/{log,said}
	rm -f "$reports"/* "$WORK/planted/log"
}

# plant: build the library with what has to be reported, and a server for it.
plant()
{
	mkdir "$WORK/planted"
	cat >"$WORK/planted/planted.c" <<'C'
#include "postgres.h"

#include "fmgr.h"

PG_MODULE_MAGIC;
PG_FUNCTION_INFO_V1(planted_address);
PG_FUNCTION_INFO_V1(planted_undefined);
PG_FUNCTION_INFO_V1(planted_assertion);

static volatile int places = 1;
static volatile int moved = 33;

Datum
planted_address(PG_FUNCTION_ARGS)
{
	volatile char *room = malloc(places);

	room[places] = 1;
	free((char *) room);
	PG_RETURN_VOID();
}

Datum
planted_undefined(PG_FUNCTION_ARGS)
{
	places = 1 << moved;
	PG_RETURN_VOID();
}

Datum
planted_assertion(PG_FUNCTION_ARGS)
{
	Assert(places == 2);
	PG_RETURN_VOID();
}
C
	# shellcheck disable=SC2016 # a variable of make
	printf '%s\n' 'MODULES = planted' "PGXS := $("$PG_CONFIG" --pgxs)" 'include $(PGXS)' >"$WORK/planted/Makefile"
	give_to_tester "$WORK/planted"
	tester_make "$WORK/planted" with_llvm=no all
	as_tester "$installation/bin/initdb" -D "$WORK/planted/data" -U postgres -A trust --no-sync >/dev/null
	printf '%s\n' "unix_socket_directories = '$WORK/tmp'" "listen_addresses = ''" 'fsync = off' \
		'restart_after_crash = off' >>"$WORK/planted/data/postgresql.conf"
}

# is_instrumented: is our library, as installed, built with both sanitizers?
is_instrumented()
{
	local symbols

	symbols=$(nm -D --undefined-only "$("$PG_CONFIG" --pkglibdir)/infra_monitor.so") &&
		[[ $symbols = *__asan_report* && $symbols = *__ubsan_handle* ]]
}

# log_script LOG NAME [SETTING...]: run a script of test/ on this PostgreSQL, printed
# and logged.
log_script()
{
	env PG_CONFIG="$PG_CONFIG" "${@:3}" bash "$TOP/test/$2" 2>&1 | tee "$1"
}

# part NAME SCRIPT [SETTING...]: the same, with its tests and reports counted.
part()
{
	say "$1"
	run_job log_script "$WORK/$1.log" "${@:2}" || true
	add_counts "$WORK/$1.log"
	count_reports "$1"
	check "$1: our library has sanitizers" is_instrumented
}

need_own_postgres "${SANITIZERS_DIR:-/var/tmp/infra_monitor-sanitizers}"
need binutils command -v nm
install_missing

make_workdir
compile_ubsan_options
set_options
own_postgres --without-readline --without-zlib \
	--enable-cassert --enable-debug --enable-tap-tests \
	CFLAGS="-O1 -g -fno-omit-frame-pointer $sanitize" LDFLAGS_EX="$WORK/ubsan_options.o"
[[ $("$PG_CONFIG" --cflags) = *"$sanitize"* ]] ||
	die "$installation is of no PostgreSQL with sanitizers"
export PG_TEST_TIMEOUT_DEFAULT=${PG_TEST_TIMEOUT_DEFAULT:-540}

plant
check 'a write beyond an allocation is reported' \
	is_reported planted_address 'AddressSanitizer: heap-buffer-overflow'
check 'undefined behavior is reported' is_reported planted_undefined '__ubsan_handle_shift'
check 'an assertion is reported' is_reported planted_assertion 'planted_assertion'

for suite in ${SANITIZER_SUITES:-ours core}; do
	case $suite in
		ours) part ours run.sh ;;
		core) part core core.sh CORE_SUITES="${CORE_SUITES:-regress isolation before after}" ;;
		*) die "no such suite: \"$suite\"" ;;
	esac
done
printf '%d passed, %d failed\n' "$passed" "$failed"
exit $((failed > 0))
