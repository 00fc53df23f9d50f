#!/usr/bin/env bash
#
# All tests on a PostgreSQL 15 that starts its processes as on Windows:
#
#	bash test/exec_backend.sh
#
# With EXEC_BACKEND defined, a new server process is not a copy of the
# postmaster: it is executed anew, loads the preloaded libraries itself and
# attaches to shared memory.  Whatever we had left in static variables of the
# postmaster is missing there.  The build has assertions enabled too.
#
# No package is like that, so this builds one, see own_postgres.sh, in
# EXEC_BACKEND_DIR, by default /var/tmp/infra_monitor-exec-backend; remove that
# directory to build the present version.
#
# What these processes do before they are attached to shared memory, we cannot
# count: see exec_backend() in test/perl/InfraMonitor.pm.
#
# Needs what run.sh and own_postgres.sh need.  The last line is that of run.sh,
# "N passed, N failed".

set -euo pipefail
. "$(dirname "$0")/setup.sh"
. "$TOP/test/own_postgres.sh"

need_own_postgres "${EXEC_BACKEND_DIR:-/var/tmp/infra_monitor-exec-backend}"
install_missing

make_workdir
own_postgres --without-readline --without-zlib \
	--enable-cassert --enable-debug --enable-tap-tests \
	CFLAGS=-O1 CPPFLAGS=-DEXEC_BACKEND
[[ $("$PG_CONFIG" --cppflags) = *-DEXEC_BACKEND* ]] ||
	die "$installation is of no PostgreSQL with EXEC_BACKEND"

status=0
run_job env PG_CONFIG="$PG_CONFIG" bash "$TOP/test/run.sh" || status=$?
exit $status
