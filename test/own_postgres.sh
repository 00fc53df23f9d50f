# shellcheck shell=bash
#
# What scripts share that build a PostgreSQL of their own, because no package is
# like what they need:
#
#	set -euo pipefail
#	. "$(dirname "$0")/setup.sh"
#	. "$TOP/test/own_postgres.sh"
#	need_own_postgres DIRECTORY; need ...; install_missing; make_workdir
#	own_postgres CONFIGURE-ARGUMENT...
#
# It is built from the source package of the distribution: as an ordinary user,
# without debhelper or the packages that a complete build needs, and with nothing
# but what the tests use.  That takes some minutes.  The result stays in DIRECTORY,
# and is used again; remove that directory to build the present version, or with
# other arguments.
#
# Needs apt with a distribution that has a source package postgresql-15 (Debian 12,
# or any with packages of apt.postgresql.org); apt's own configuration is not
# touched.  POSTGRES_SOURCE may name a source tree of PostgreSQL, unpacked and not
# configured, to be taken instead.
#
# Variables they set, to be read by the scripts:
#	installation   the directory, absolute
#	PG_CONFIG      its pg_config

OWN_MAJOR=15
OWN_CONTRIB=(amcheck auto_explain dblink pg_stat_statements test_decoding)

# need_own_postgres DIRECTORY: choose the directory, and say what own_postgres needs.
need_own_postgres()
{
	installation=$(readlink -m "$1")	# as pg_config prints it
	PG_CONFIG=$installation/bin/pg_config
	need_commands gcc make
	need libc6-dev test -f /usr/include/stdio.h
	need perl command -v prove
	need libipc-run-perl perl -MIPC::Run -e 1
	[ -x "$PG_CONFIG" ] || need_source
}

# as_builder COMMAND...: run a command of the build, which says too much.
as_builder()
{
	as_tester "$@" >>"$WORK/build.log" 2>&1 </dev/null && return
	tail -n 50 "$WORK/build.log" >&2
	return 1
}

# build_postgres CONFIGURE-ARGUMENT...: build it, and install it in $installation.
# Installed next to that and renamed, so that it is there as a whole or not at all;
# prefixes don't matter, all paths are relative to the programs.
build_postgres()
{
	local name

	cd "$WORK/source/postgresql" || return
	say 'configuring it'
	as_builder ./configure --prefix="$installation" "$@" || return
	say 'building it'
	as_builder make -j "$(nproc)" || return
	for name in "${OWN_CONTRIB[@]}"; do
		as_builder make -j "$(nproc)" -C "contrib/$name" || return
	done
	say "installing it in $installation"
	for name in . "${OWN_CONTRIB[@]/#/contrib/}"; do
		as_builder make -C "$name" install DESTDIR="$WORK/installation" || return
	done
	cp src/tools/valgrind.supp "$WORK/installation$installation" || return
	cd "$OLDPWD" || return
	mv "$WORK/installation$installation"/* "$installation"
}

# own_postgres CONFIGURE-ARGUMENT...: have it in $installation.
own_postgres()
{
	if [ ! -x "$PG_CONFIG" ]; then
		mkdir -p "$installation"
		give_to_tester "$installation"
		get_source "$OWN_MAJOR"
		run_job build_postgres "$@" || die 'could not build PostgreSQL'
		rm -rf "$WORK/source"
	fi
	check_own_postgres
}

# check_own_postgres: run.sh installs our library: into this PostgreSQL, and no other.
check_own_postgres()
{
	local directory option

	for option in bindir pkglibdir sharedir docdir includedir-server; do
		directory=$("$PG_CONFIG" "--$option")
		[[ $directory = "$installation"/* ]] ||
			die "$PG_CONFIG --$option is $directory, outside of its installation"
	done
	[[ $("$PG_CONFIG" --pgxs) = "$installation"/* ]] ||
		die "$PG_CONFIG --pgxs is outside of its installation"
}
