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
# No package is like that, so this builds one, from the source package of the
# distribution: as an ordinary user, without debhelper or the packages that a
# complete build needs, and with nothing but what the tests use.  That takes
# some minutes.  The result stays in EXEC_BACKEND_DIR, by default
# /var/tmp/infra_monitor-exec-backend, and is used again; remove that directory
# to build the present version.
#
# What these processes do before they are attached to shared memory, we cannot
# count: see exec_backend() in test/perl/InfraMonitor.pm.
#
# Needs what run.sh needs, and apt with a distribution that has a source package
# postgresql-15 (Debian 12, or any with packages of apt.postgresql.org); apt's
# own configuration is not touched.  POSTGRES_SOURCE may name a source tree of
# PostgreSQL, unpacked and not configured, to be taken instead.  The last line is
# that of run.sh, "N passed, N failed".

set -euo pipefail
. "$(dirname "$0")/setup.sh"

MAJOR=15
CONTRIB=(amcheck auto_explain dblink pg_stat_statements)

installation=${EXEC_BACKEND_DIR:-/var/tmp/infra_monitor-exec-backend}
installation=$(readlink -m "$installation")	# as pg_config prints it

# as_builder COMMAND...: run a command of the build, which says too much.
as_builder()
{
	as_tester "$@" >>"$WORK/build.log" 2>&1 </dev/null && return
	tail -n 50 "$WORK/build.log" >&2
	return 1
}

# build_postgres: build it, and install it in $installation.  Installed next to
# that and renamed, so that it is there as a whole or not at all; prefixes don't
# matter, all paths are relative to the programs.
build_postgres()
{
	local name

	cd "$WORK/source/postgresql"
	say 'configuring it'
	as_builder ./configure --prefix="$installation" \
		--without-readline --without-zlib \
		--enable-cassert --enable-debug --enable-tap-tests \
		CFLAGS=-O1 CPPFLAGS=-DEXEC_BACKEND || return
	say 'building it'
	as_builder make -j "$(nproc)" || return
	for name in "${CONTRIB[@]}"; do
		as_builder make -j "$(nproc)" -C "contrib/$name" || return
	done
	say "installing it in $installation"
	for name in . "${CONTRIB[@]/#/contrib/}"; do
		as_builder make -C "$name" install DESTDIR="$WORK/installation" || return
	done
	cd "$OLDPWD"
	mv "$WORK/installation$installation"/* "$installation"
}

need_commands gcc make
need libc6-dev test -f /usr/include/stdio.h
need perl command -v prove
need libipc-run-perl perl -MIPC::Run -e 1
[ -x "$installation/bin/pg_config" ] || need_source
install_missing

make_workdir
PG_CONFIG=$installation/bin/pg_config
if [ ! -x "$PG_CONFIG" ]; then
	mkdir -p "$installation"
	give_to_tester "$installation"
	get_source "$MAJOR"
	run_job build_postgres || die 'could not build PostgreSQL'
fi
[[ $("$PG_CONFIG" --cppflags) = *-DEXEC_BACKEND* ]] ||
	die "$installation is of no PostgreSQL with EXEC_BACKEND"

# run.sh installs our library: into this PostgreSQL, and no other
for option in bindir pkglibdir sharedir docdir includedir-server; do
	directory=$("$PG_CONFIG" "--$option")
	[[ $directory = "$installation"/* ]] ||
		die "$PG_CONFIG --$option is $directory, outside of its installation"
done
[[ $("$PG_CONFIG" --pgxs) = "$installation"/* ]] ||
	die "$PG_CONFIG --pgxs is outside of its installation"

status=0
run_job env PG_CONFIG="$PG_CONFIG" bash "$TOP/test/run.sh" || status=$?
exit $status
