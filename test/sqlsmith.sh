#!/usr/bin/env bash
#
# Statements that nobody would write, with our functions, types and views in them:
#
#	test/sqlsmith.sh [SECONDS]		by default 300, all together
#
# sqlsmith makes them up from what the catalogs say there is.  The server counts and
# logs every statement with its plan, has history of some days (sqlsmith.sql), and is
# asked by a superuser, a role in pg_monitor and an ordinary one; by the first two half
# of the time with nothing but our functions.  What sqlsmith changes is rolled back.
#
# Most statements end with an error.  It must not be a crash; an internal error
# (XX000) of ours; a warning of PostgreSQL that something was not released; one that
# comes long after the time allowed; and the sampler has to go on.  Internal errors of
# PostgreSQL itself are listed.
#
# The server is that of run.sh, or that of PG_CONFIG: one with assertions sees more.
# SQLSMITH_SEED, by default 1, has sqlsmith make up others.  SQLSMITH_DIR may name a
# directory for the log of a run that failed.  Needs sqlsmith.  The last line is
# "N passed, N failed".

set -euo pipefail
. "$(dirname "$0")/setup.sh"

seconds=${1:-300}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || die "not a number of seconds: \"$seconds\""
seed=${SQLSMITH_SEED:-1}
RUNS=('superuser ours' 'superuser everything' 'monitor ours' 'monitor everything' 'ordinary everything')

passed=0
failed=0

# ask STATEMENT: what it returns.
ask()
{
	as_tester "$PG_BINDIR/psql" -XAtq -h "$WORK/tmp" -U postgres -v ON_ERROR_STOP=1 -c "$1" postgres
}

# start_server: start it, with everything of ours turned up, and a log for programs.
start_server()
{
	as_tester "$PG_BINDIR/initdb" -D "$WORK/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >/dev/null
	printf '%s\n' "shared_preload_libraries = 'pg_stat_statements, infra_monitor'" \
		"unix_socket_directories = '$WORK/tmp'" "listen_addresses = ''" 'fsync = off' \
		'logging_collector = on' 'log_destination = jsonlog' "log_directory = '$WORK/log'" \
		"log_filename = 'server.log'" 'log_rotation_age = 0' 'log_rotation_size = 0' \
		"log_timezone = 'UTC'" 'log_statement = all' 'log_error_verbosity = verbose' \
		'pg_stat_statements.track = all' 'track_functions = all' 'track_io_timing = on' \
		'infra_monitor.track = all' 'infra_monitor.slow_query_threshold = 0' \
		'infra_monitor.slow_query_plan = on' 'infra_monitor.activity_interval = 100ms' \
		'infra_monitor.sample_interval = 1s' 'infra_monitor.statement_interval = 1s' \
		'infra_monitor.health_interval = 1s' 'infra_monitor.database_check_interval = 10s' |
		as_tester tee -a "$WORK/data/postgresql.conf" >/dev/null
	as_tester mkdir "$WORK/log"
	as_tester "$PG_BINDIR/pg_ctl" -s -w -D "$WORK/data" -l "$WORK/log/start" start
	as_tester "$PG_BINDIR/psql" -XAtq -h "$WORK/tmp" -U postgres -f "$WORK/tree/test/sqlsmith.sql" postgres \
		>"$WORK/sqlsmith.sql.out" 2>&1 || { tail -n 5 "$WORK/sqlsmith.sql.out" >&2; return 1; }
}

# smith ROLE FUNCTIONS: have sqlsmith make up statements until its time is over.
smith()
{
	local options=(--seed="$seed") status=0

	[ "$2" = everything ] || options+=(--exclude-catalog)
	as_tester timeout $((seconds / ${#RUNS[@]} + 1)) sqlsmith "${options[@]}" \
		--target="host=$WORK/tmp dbname=postgres user=smith_$1 options=-csearch_path=smith_$2,pg_catalog,infra_monitor,smith" \
		>"$WORK/$1_$2.out" 2>&1 </dev/null || status=$?
	[ $status -eq 124 ] || { tail -n 5 "$WORK/$1_$2.out"; return 1; }
}

# findings NAME: print what sqlsmith_log.pl has found of that kind.
findings()
{
	cat "$WORK/findings/$1"
}

# goes_on MOMENT: is all that the sampler stores stored after that, too?
goes_on()
{
	[ "$(ask "SELECT (SELECT max(sampled_at) FROM infra_monitor.samples) > '$1'
			AND (SELECT max(sampled_at) FROM infra_monitor.statement_samples) > '$1'
			AND (SELECT max(sampled_at) FROM infra_monitor.slow_query_samples) > '$1'
			AND (SELECT evaluated_at FROM infra_monitor.health_cache()) > '$1'")" = t ]
}

# stands_still MOMENT: is something of it not?
stands_still()
{
	! goes_on "$1"
}

# has_gone_on: has the sampler not been stopped by all of this?
has_gone_on()
{
	local moment

	moment=$(ask 'SELECT now()')
	wait_while 120 stands_still "$moment"
	goes_on "$moment" || ask 'SELECT * FROM infra_monitor.sampler_status'
}

# stop_server: stop it, which waits for all that runs.
stop_server()
{
	as_tester "$PG_BINDIR/pg_ctl" -s -w -m fast -t 120 -D "$WORK/data" stop
}

find_postgres
need_build_tools
need_commands sqlsmith
need perl perl -MJSON::PP -e 1
install_missing

make_workdir
say "building for $("$PG_CONFIG" --version)"
copy_tree "$WORK/tree"
build "$WORK/tree"
install_into_postgres "$WORK/tree"
start_server
for run in "${RUNS[@]}"; do
	say "$run"
	# shellcheck disable=SC2086 # two words
	check "sqlsmith as $run" run_job smith $run
done
check 'the sampler goes on' has_gone_on
check 'the server can be stopped' stop_server

mkdir "$WORK/findings"
perl "$TOP/test/sqlsmith_log.pl" "$TOP/src" "$WORK/findings" "$WORK"/log/*
check 'each role has executed statements' findings idle
check 'nothing crashed' findings crashes
check 'no internal error of ours' findings internal
check 'nothing was left unreleased' findings leaks
check 'all statements ended in time' findings late
check 'the sampler had to wait at most' findings sampler
if [ $failed -gt 0 ] && [ -n "${SQLSMITH_DIR:-}" ]; then
	mkdir -p "$SQLSMITH_DIR"
	cp "$WORK"/log/* "$SQLSMITH_DIR"
fi
printf '%d passed, %d failed\n' "$passed" "$failed"
exit $((failed > 0))
