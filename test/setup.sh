# shellcheck shell=bash
#
# What run.sh, lint.sh and demo.sh share: packages, a private copy of the tree,
# an unprivileged user, and cleaning up after all of it.
#
#	set -euo pipefail
#	. "$(dirname "$0")/setup.sh"
#	find_postgres; need_build_tools; need ...; install_missing; make_workdir
#	copy_tree "$WORK/tree"; build "$WORK/tree"; install_into_postgres "$WORK/tree"
#	as_tester ...
#
# Variables they set, to be read by the scripts:
#	TOP         the checkout, absolute
#	PG_CONFIG   pg_config of the installation in use, absolute
#	PG_BINDIR   its directory of programs
#	WORK        the temporary directory, gone when the script ends
#	TESTER      the user that builds and runs servers, never root
#
# The caller may set PG_CONFIG, to choose an installation, CC, for another
# compiler than PostgreSQL's own, COPT, for more of its options, and KEEP=1, to
# find WORK still there afterwards.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
WORK=
TESTER=
mounted=					# a file system in WORK
groups=()					# control groups
missing=()					# packages to install
job=						# process group of a running run_job

# Root's files have to be readable by the others, messages have to be English
# and encodings UTF-8.  Settings of the caller's own server, and of the make
# that may have started us, are not meant for ours.
umask 022
export LC_ALL=C.UTF-8
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
for name in $(compgen -e PG || true); do
	case $name in
		PG_CONFIG | PG_TEST_*) ;;
		*) unset "$name" ;;
	esac
done

# say MESSAGE...: report progress.
say()
{
	printf '== %s\n' "$*"
}

# die MESSAGE...: report why we cannot go on, and end the script.
die()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# is_root, can_be_root: are we root; can as_root work?  The latter may ask for
# a password, if there is a terminal to ask at.
is_root()
{
	[ "$(id -u)" -eq 0 ]
}

can_be_root()
{
	is_root && return
	command -v sudo >/dev/null || return
	sudo -n true 2>/dev/null || { [ -t 0 ] && sudo -v; }
}

# as_root COMMAND...: run a command as root.  See can_be_root.
as_root()
{
	if is_root; then "$@"; else sudo "$@"; fi
}

# need PACKAGE TEST...: have install_missing install PACKAGE if the command
# TEST fails.
need()
{
	local package=$1

	shift
	"$@" >/dev/null 2>&1 || missing+=("$package")
}

# need_commands NAME...: the same for programs that are named like their
# package.
need_commands()
{
	local name

	for name in "$@"; do
		need "$name" command -v "$name"
	done
}

# apt_install PACKAGE...: apt-get install, without questions.  Prints nothing
# unless it fails.  Should the package lists be absent or out of date, it
# updates them and tries again.
apt_install()
{
	local log
	local install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y
		--no-install-recommends -o DPkg::Lock::Timeout=300 "$@")

	as_root "${install[@]}" >/dev/null 2>&1 </dev/null && return
	log=$({ as_root apt-get update && as_root "${install[@]}"; } 2>&1 </dev/null) && return
	printf '%s\n' "$log" >&2
	return 1
}

# install_missing: install what need found missing, or end the script with the
# command that would.
install_missing()
{
	[ ${#missing[@]} -gt 0 ] || return 0
	if ! command -v apt-get >/dev/null; then
		die "missing here, by their Debian names: ${missing[*]}"
	fi
	if ! can_be_root; then
		die "run as root: apt-get update && apt-get install -y ${missing[*]}"
	fi

	say "installing ${missing[*]}"
	without_cluster apt_install "${missing[@]}" || die "could not install ${missing[*]}"
	missing=()
	hash -r
}

# without_cluster COMMAND...: run a command that may install a PostgreSQL
# server, but not let Debian's packages create and start a cluster with it.
without_cluster()
(
	conf=/etc/postgresql-common/createcluster.d/no-main-cluster.conf

	trap 'as_root rm -f "$conf"' EXIT
	as_root mkdir -p "${conf%/*}"
	echo 'create_main_cluster = false' | as_root tee "$conf" >/dev/null
	"$@"
)

# find_postgres: set PG_CONFIG and PG_BINDIR, and say what the installation
# needs.  In order: the caller's PG_CONFIG; pg_config in PATH, as make itself
# would; the newest of Debian's packages that is installed; the one that Debian
# would install.
find_postgres()
{
	local dir major

	if [ -z "${PG_CONFIG:-}" ]; then
		dir=$(pg_config --bindir 2>/dev/null) || dir=
		has_server "$dir" || dir=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
		if ! has_server "$dir"; then
			if [ -z "$(default_major)" ] && can_be_root; then
				as_root apt-get update >/dev/null || true
			fi
			major=$(default_major)
			dir=/usr/lib/postgresql/${major:-15}/bin
		fi
		PG_CONFIG=$dir/pg_config
	fi

	PG_CONFIG=$(command -v "$PG_CONFIG" || echo "$PG_CONFIG")
	[[ $PG_CONFIG = /* ]] || PG_CONFIG=$PWD/$PG_CONFIG
	PG_BINDIR=$("$PG_CONFIG" --bindir 2>/dev/null || dirname "$PG_CONFIG")
	if [[ $PG_BINDIR =~ ^/usr/lib/postgresql/([0-9]+)/bin$ ]]; then
		major=${BASH_REMATCH[1]}
		need "postgresql-$major" test -x "$PG_BINDIR/postgres"
		need "postgresql-server-dev-$major" has_pgxs
	elif ! has_pgxs || ! has_server "$PG_BINDIR"; then
		die "PG_CONFIG=$PG_CONFIG is of no complete installation of PostgreSQL 15 or later"
	fi
	export PG_CONFIG
}

# has_server DIRECTORY: is a server that we support in there?
has_server()
{
	local version

	version=$("$1/postgres" --version 2>/dev/null) || return
	version=${version#*) }
	[ "${version%%[^0-9]*}" -ge 15 ]
}

# default_major: print the major version that Debian's package "postgresql"
# stands for, or nothing if the package lists are absent.
default_major()
{
	{ apt-cache depends postgresql 2>/dev/null || true; } |
		sed -n 's/.*Depends: postgresql-\([0-9]*\)$/\1/p'
}

# has_pgxs: can extensions be built for PG_CONFIG?  Debian's package of the client
# has the makefiles, too, but not the headers.
has_pgxs()
{
	[ -f "$("$PG_CONFIG" --pgxs 2>/dev/null)" ] &&
		[ -f "$("$PG_CONFIG" --includedir-server)/postgres.h" ]
}

# need_build_tools: the same for what building takes besides PostgreSQL itself.
need_build_tools()
{
	need_commands gcc make ${CC:+"${CC%% *}"}
	need libc6-dev test -f /usr/include/stdio.h
	need libkrb5-dev has_gss_headers
}

# has_gss_headers: is the header there that PostgreSQL's libpq-be.h includes,
# if PostgreSQL was built with GSSAPI?
has_gss_headers()
{
	local config

	[ ! -f /usr/include/gssapi/gssapi.h ] || return 0
	config=$("$PG_CONFIG" --includedir-server)/pg_config.h
	[ -f "$config" ] && ! grep -q '^#define ENABLE_GSS' "$config"
}

# make_workdir: create WORK, choose TESTER, and see to it that neither WORK nor
# a server or process of ours is left when the script ends, however it ends.
make_workdir()
{
	TESTER=$(id -un)
	if is_root; then
		TESTER=postgres
		id "$TESTER" >/dev/null 2>&1 || TESTER=nobody
	fi

	# Not in TMPDIR: paths of Unix sockets must stay below 108 bytes
	trap clean_up EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
	WORK=$(mktemp -d /tmp/infra_monitor.XXXXXX)
	[ "${KEEP:-}" != 1 ] || say "keeping $WORK"
	mkdir "$WORK/tmp"
	give_to_tester "$WORK"
	export TMPDIR=$WORK/tmp
}

# clean_up: what make_workdir promises.  Runs when the script ends.
clean_up()
{
	local status=$? group

	trap '' HUP INT TERM
	stop_job
	[ -z "$WORK" ] || stop_servers
	[ -z "$mounted" ] || as_root umount -l "$mounted"
	for group in "${groups[@]}"; do wait_while 10 group_is_left "$group"; done
	[ -z "$WORK" ] || [ "${KEEP:-}" = 1 ] || rm -rf "$WORK"
	exit $status
}

# give_to_tester PATH...: make TESTER the owner.
give_to_tester()
{
	if is_root; then chown -R "$TESTER:" "$@"; fi
}

# as_tester COMMAND...: run a command as TESTER, without root's rights and home.
as_tester()
{
	local drop=()

	if is_root; then
		drop=(setpriv "--reuid=$TESTER" "--regid=$(id -g "$TESTER")" --init-groups)
	fi
	"${drop[@]}" env HOME="$WORK" USER="$TESTER" LOGNAME="$TESTER" "$@"
}

# need_source: say what get_source needs.
need_source()
{
	[ -n "${POSTGRES_SOURCE:-}" ] || need dpkg-dev command -v dpkg-source
}

# private_apt PROGRAM ARGUMENT...: run a program of apt with lists and sources
# of our own: those of the system, but for source packages.
private_apt()
{
	as_tester "$1" -o Dir::Etc::SourceList=/dev/null \
		-o Dir::Etc::SourceParts="$WORK/apt/sources" \
		-o Dir::State="$WORK/apt/state" \
		-o Dir::Cache="$WORK/apt/cache" \
		"${@:2}"
}

# make_private_apt: create what private_apt uses.
make_private_apt()
{
	local file

	mkdir -p "$WORK"/apt/{sources,state/lists/partial,cache/archives/partial}
	for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
		[ ! -f "$file" ] || sed -n 's/^[[:space:]]*deb[[:space:]]/deb-src /p' "$file" \
			>"$WORK/apt/sources/${file##*/}.list"
	done
	for file in /etc/apt/sources.list.d/*.sources; do
		[ ! -f "$file" ] || sed 's/^Types:.*/Types: deb-src/' "$file" \
			>"$WORK/apt/sources/${file##*/}"
	done
	give_to_tester "$WORK/apt"

	# sources that we have no use for may fail
	private_apt apt-get update >"$WORK/apt/log" 2>&1 || true
}

# get_source MAJOR: unpack the newest source of that version that can be had in
# $WORK/source/postgresql.  The lists may name one that the server does not have, or
# no longer.  Without the patches of the distribution: Debian's make every
# installation look for its files where the packages have theirs.
get_source()
{
	local package=postgresql-$1 version

	mkdir "$WORK/source"
	give_to_tester "$WORK/source"
	if [ -n "${POSTGRES_SOURCE:-}" ]; then
		say "copying $POSTGRES_SOURCE"
		cp -R "$POSTGRES_SOURCE" "$WORK/source/postgresql"
		give_to_tester "$WORK/source"
		return
	fi

	command -v apt-get >/dev/null || die 'no apt here: set POSTGRES_SOURCE'
	make_private_apt
	cd "$WORK/source" || return
	while read -r version; do
		say "getting the source of $package $version"
		if private_apt apt-get source -q --download-only "$package=$version" >>"$WORK/apt/log" 2>&1; then
			as_tester dpkg-source --skip-patches -x ./*.dsc postgresql >>"$WORK/apt/log" 2>&1 ||
				die "could not unpack it: $(tail -n 3 "$WORK/apt/log")"
			cd "$OLDPWD" || return
			return 0
		fi
		say 'it is not to be had'
	done < <(private_apt apt-cache showsrc "$package" 2>/dev/null |
		sed -n 's/^Version: //p' | sort -ruV)
	cat "$WORK/apt/log" >&2
	die "no source package $package: set POSTGRES_SOURCE"
}

# unpack_programs [NAME...]: put Prometheus, its promtool and its exporters, which
# the tests of metrics ask and start, where these find them, if they are missing
# and can be had without asking.  The packages are not installed: that would start
# services.
unpack_programs()
{
	local directory=$WORK/programs name package packages=()

	is_root && command -v dpkg-deb >/dev/null || return 0
	[ $# -gt 0 ] || set -- prometheus promtool prometheus-{node,postgres,sql}-exporter
	for name in "$@"; do
		package=$name
		if [ "$name" = promtool ] && [ -z "$(apt-cache madison promtool 2>/dev/null)" ]; then
			package=prometheus	# until Debian 12
		fi
		if ! command -v "$name" >/dev/null &&
			[ -n "$(apt-cache madison "$package" 2>/dev/null)" ]; then
			packages+=("$package")
		fi
	done
	[ ${#packages[@]} -gt 0 ] || return 0
	say "unpacking ${packages[*]}"
	mkdir "$directory"
	if (cd "$directory" && apt-get download "${packages[@]}" &&
			for name in *.deb; do dpkg-deb -x "$name" .; done) >/dev/null 2>&1; then
		chmod -R a+rX "$directory"
		export PATH=$PATH:$directory/usr/bin
	else
		say "going on without ${packages[*]}"
	fi
}

# mount_small_disk: mount a file system of 32 MB, for a test that fills it, and
# set IMON_SMALL_DISK to where it is.  Does nothing where that is not possible
# without asking.
mount_small_disk()
{
	local disk=$WORK/disk

	is_root || sudo -n true 2>/dev/null || return 0
	mkdir "$disk"
	as_root mount -t tmpfs -o size=32m,mode=1777 tmpfs "$disk" 2>/dev/null || return 0
	mounted=$disk
	export IMON_SMALL_DISK=$disk
}

# make_small_groups: make control groups that TESTER may divide and limit, below
# those we are in, and set IMON_SMALL_GROUPS to a directory of links to them:
# "memory" and "blkio" of version 1, and "unified" of version 2.  Makes those that
# are possible without asking, perhaps none.
make_small_groups()
{
	local name mount own group

	is_root || sudo -n true 2>/dev/null || return 0
	mkdir "$WORK/groups"
	for name in memory blkio unified; do
		mount=/sys/fs/cgroup/$name
		[ "$name" != unified ] || [ -d "$mount" ] || mount=/sys/fs/cgroup
		own=$(sed -n "s/^[0-9]*:${name/unified/}://p" /proc/self/cgroup)
		group=$mount${own%/}/${WORK##*/}
		if [ -z "$own" ] || [ ! -e "${group%/*}/cgroup.procs" ]; then continue; fi
		as_root mkdir "$group" 2>/dev/null || continue
		groups+=("$group")
		as_root chown -R "$TESTER" "$group"
		ln -s "$group" "$WORK/groups/$name"
	done
	export IMON_SMALL_GROUPS=$WORK/groups
}

# enter_small_group: go into the group of version 2, if there is one.  TESTER can
# change between groups within it only.
enter_small_group()
{
	local group=$WORK/groups/unified pid=$BASHPID

	[ -e "$group" ] || return 0
	echo "$pid" | as_root tee "$group/cgroup.procs" >/dev/null || rm "$group"
}

# group_is_left GROUP: remove a control group, with those in it; true if that is
# not possible, or not yet.
group_is_left()
{
	as_root find "$1" -depth -type d -exec rmdir {} + 2>/dev/null
	[ -d "$1" ]
}

# run_job COMMAND...: run a command in a process group of its own and return
# its status.  Unlike with a plain command, bash acts upon a signal at once
# and not when the command has ended.
run_job()
{
	local status=0

	set -m
	"$@" &
	job=$!
	set +m
	wait "$job" || status=$?
	job=
	return $status
}

# stop_job: end the process group of run_job, if there is one.
stop_job()
{
	local signal

	[ -n "$job" ] || return 0
	for signal in TERM KILL; do
		kill -"$signal" -- "-$job" 2>/dev/null || break
		wait_while 10 kill -0 -- "-$job"
	done
	job=
}

# stop_servers: stop every PostgreSQL server with its data directory in WORK.
# pg_ctl gives them sessions of their own, out of reach of stop_job.
stop_servers()
{
	local file

	while read -r file; do
		kill -QUIT "$(head -n 1 "$file")" 2>/dev/null || continue
		wait_while 10 test -f "$file"
	done < <(find "$WORK" -name postmaster.pid)
}

# wait_while SECONDS COMMAND...: wait until the command fails, but no longer.
wait_while()
{
	local tries=$(($1 * 10))

	shift
	while [ $tries -gt 0 ] && "$@" 2>/dev/null; do
		sleep 0.1
		tries=$((tries - 1))
	done
}

# copy_files DIRECTORY: copy the checkout to a new directory, without history
# and what tests leave behind.
copy_files()
{
	mkdir "$1"
	tar -C "$TOP" --exclude=./.git --exclude=./tmp_check --exclude=./tmp_check_iso -cf - . |
		tar -C "$1" --no-same-owner -xf -
}

# copy_tree DIRECTORY: the same to a directory of TESTER's, and without build
# output.  Whatever happens there, the checkout stays clean, and it may be in a
# place that only we can read.
copy_tree()
{
	copy_files "$1"
	give_to_tester "$1"
	tester_make "$1" clean >/dev/null
}

# tester_make DIRECTORY ARGUMENT...: make in a copy, as TESTER.
tester_make()
{
	as_tester make -s -C "$1" PG_CONFIG="$PG_CONFIG" ${CC:+CC="$CC"} "${@:2}"
}

# build DIRECTORY: build the extension in a copy.
build()
{
	tester_make "$1" -O -j "$(nproc)" all
}

# install_into_postgres DIRECTORY: install what build built.  It stays
# installed; "make uninstall" removes it.
install_into_postgres()
{
	local as=as_root dirs

	dirs=("$("$PG_CONFIG" --pkglibdir)" "$("$PG_CONFIG" --sharedir)/extension")
	if [ -w "${dirs[0]}" ] && [ -w "${dirs[1]}" ]; then
		as='env'
	elif ! can_be_root; then
		die "cannot write to ${dirs[0]}: run as root, or set PG_CONFIG to an installation of yours"
	fi
	$as make -s -C "$1" PG_CONFIG="$PG_CONFIG" install >/dev/null
}

# add_counts LOG: add the numbers of the closing line "N passed, N failed" to
# the caller's variables of these names.  Without one, the script has ended
# early: that is a failure.
add_counts()
{
	if [[ $(tail -n 1 "$1") =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
		passed=$((passed + BASH_REMATCH[1]))
		failed=$((failed + BASH_REMATCH[2]))
	else
		failed=$((failed + 1))
	fi
}

# check NAME COMMAND...: run a command that fails, or prints something, when
# the check does.  Counts in the caller's variables "passed" and "failed".
check()
{
	local name=$1 output status=0

	output=$("${@:2}" 2>&1) || status=$?
	if [ $status -eq 0 ] && [ -z "$output" ]; then
		passed=$((passed + 1))
		printf 'ok      %s\n' "$name"
	else
		failed=$((failed + 1))
		printf '%s\nFAILED  %s\n' "$output" "$name"
	fi
}

# result NAME COMMAND...: count a test, which passes if the command succeeds, whatever it
# prints.
result()
{
	if "${@:2}"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		printf 'FAILED  %s\n' "$1"
	fi
}
