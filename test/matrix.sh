#!/usr/bin/env bash
#
# All tests, on versions of PostgreSQL that this machine does not have:
#
#	test/matrix.sh [VERSION...]		by default 17 18 19
#
# Each version comes from the Debian release that has it, in a folder made by
# debootstrap: MATRIX_DIR/VERSION, by default in /var/tmp/infra_monitor-matrix.
# That takes a minute or two and 1.6 GB; the next run finds it there.  Remove a
# folder to have it made again, with the packages of the day.  Tests write to
# memory, up to 1.1 GB.
#
# In there, run.sh does the rest, or the script of test/ that MATRIX_SCRIPT names,
# on a copy of the tree, with the warnings of that release's compiler as errors.  The last line, "N passed, N failed", is
# the sum of the versions, except those that are not released yet.

set -euo pipefail
. "$(dirname "$0")/setup.sh"

MATRIX_DIR=${MATRIX_DIR:-/var/tmp/infra_monitor-matrix}
MATRIX_SCRIPT=${MATRIX_SCRIPT:-run.sh}
tree=/srv/infra_monitor			# our copy, in a folder

# As in lint.sh
warnings='-Werror -Wextra -Wno-missing-field-initializers -Wno-sign-compare -Wno-unused-parameter'

# release_of VERSION: print the Debian release that has it; for a version that
# is not released, a release that has all but PostgreSQL, and the suite with it.
release_of()
{
	case $1 in
		17) echo trixie ;;
		18) echo forky ;;
		19) echo forky experimental ;;
		*) return 1 ;;
	esac
}

# is_released VERSION: does it count, or is it just reported on?
is_released()
{
	[[ $(release_of "$1") != *' '* ]]
}

# isolated PROC COMMAND...: run a command in name spaces of its own, with their
# processes in PROC.  Its mounts, processes and shared memory are gone when it
# ends, however it ends.
isolated()
{
	unshare --mount --pid --ipc --fork --kill-child --mount-proc="$1" "${@:2}" </dev/null
}

# enter FOLDER COMMAND...: run a command in there, without our environment.
# Tests create and remove many thousands of files, which some file systems are
# slow at.  In memory, they also cannot outlive a run that was killed.
enter()
{
	# shellcheck disable=SC2016 # these are variables of sh
	isolated "$1/proc" sh -c '
		mount -t tmpfs tmpfs "$0/dev/shm" &&
		mount -t tmpfs tmpfs "$0/tmp" &&
		exec chroot "$0" "$@"' "$1" \
		env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 "${@:2}"
}

# run_tests FOLDER VERSION SCRIPT [ARGUMENT...]: a script of test/ in there, without
# the browser, which is large and shows the same pages for all versions, and without
# Prometheus and the exporters, to which all are the same.
run_tests()
{
	rm -rf "$1$tree"
	copy_files "$1$tree" &&
		cp /etc/resolv.conf "$1/etc/resolv.conf" &&
		enter "$1" PG_CONFIG="/usr/lib/postgresql/$2/bin/pg_config" COPT="$warnings" BROWSER=no PROGRAMS=no \
			CORE_SUITES="${CORE_SUITES:-}" bash "$tree/test/$3" "${@:4}"
}

# mirror: print where this machine gets Debian's packages from.  Nothing, if it
# is of another kind: debootstrap then takes a place that it knows.
mirror()
{
	# shellcheck disable=SC2016 # a variable of apt-get
	apt-get indextargets --format '$(REPO_URI)' \
		'Created-By: Packages' 'Origin: Debian' 'Label: Debian' |
		awk '/^https?:/ && !found++'
}

# make_folder VERSION: make its folder.  Until complete it has another name.
make_folder()
{
	local new=$MATRIX_DIR/$1.new release suite script

	read -r release suite < <(release_of "$1")
	script=/usr/share/debootstrap/scripts/$release
	[ -e "$script" ] || script=${script%/*}/sid	# the same, under a name that every debootstrap has
	eval "$(apt-config shell http_proxy Acquire::http::Proxy)"
	export http_proxy
	rm -rf "$new"
	isolated /proc debootstrap --variant=minbase "$release" "$new" "$(mirror)" "$script" &&
		configure_apt "$new" "$1" "$suite" &&
		run_tests "$new" "$1" run.sh --packages &&
		enter "$new" apt-get clean &&
		mv -T "$new" "$MATRIX_DIR/$1"
}

# proxies: print the settings of apt's proxies, in apt's format.
proxies()
{
	apt-config dump | grep -E '^Acquire::https?::(.*::)?Proxy ' || true
}

# configure_apt FOLDER VERSION [SUITE]: make apt in there go the way it goes
# here, and find the packages of VERSION, and no others, in SUITE as well.
configure_apt()
{
	local apt=$1/etc/apt uri

	{
		proxies
		echo 'Acquire::Check-Valid-Until "false";'	# forky may stand still for longer
	} >"$apt/apt.conf.d/infra_monitor"

	[ -n "${3:-}" ] || return 0
	# shellcheck disable=SC2016 # a variable of apt-get
	uri=$(enter "$1" apt-get indextargets --format '$(REPO_URI)' | sed -n 1p) &&
		echo "deb $uri $3 main" >"$apt/sources.list.d/$3.list" &&
		printf '%s\n' "Package: src:postgresql-$2" "Pin: release a=$3" 'Pin-Priority: 500' \
			>"$apt/preferences.d/$3"
}

# have_folder VERSION: make its folder unless it is there.
have_folder()
{
	local folder=$MATRIX_DIR/$1 log=$WORK/$1.folder try

	[ ! -d "$folder" ] || return 0
	for try in 1 2; do
		say "making $folder"
		! run_job make_folder "$1" >"$log" 2>&1 || return 0
		tail -n 20 "$log"
		[ $try = 2 ] || sleep 10
	done
	say "could not make $folder: $1 is not tested"
	return 1
}

# log_tests LOG VERSION: run_tests, logged and printed, each line with VERSION.
log_tests()
{
	run_tests "$MATRIX_DIR/$2" "$2" "$MATRIX_SCRIPT" 2>&1 | tee "$1" | sed -u "s/^/$2  /"
}

# test_version VERSION: run its tests, sum up, and add the sum to ours.
test_version()
{
	local passed=0 failed=0 log=$WORK/$1.log start=$SECONDS

	exec 9>"$MATRIX_DIR/$1.lock"	# as long as anything runs in the folder
	flock -n 9 || { say "waiting for another run on $1"; run_job flock 9; }
	: >"$log"
	! have_folder "$1" || run_job log_tests "$log" "$1" || true
	add_counts "$log"
	say "$1: $passed passed, $failed failed, $((SECONDS - start)) s"
	if is_released "$1"; then
		all_passed=$((all_passed + passed))
		all_failed=$((all_failed + failed))
	else
		say "$1: reported only"
	fi
}

versions=("$@")
[ $# -gt 0 ] || versions=(17 18 19)
for version in "${versions[@]}"; do
	release_of "$version" >/dev/null || die "no Debian release is known for PostgreSQL $version"
done

if ! is_root; then
	can_be_root || die 'run as root, or as somebody who can sudo'
	exec sudo MATRIX_DIR="$MATRIX_DIR" MATRIX_SCRIPT="$MATRIX_SCRIPT" \
		CORE_SUITES="${CORE_SUITES:-}" bash "$TOP/test/matrix.sh" "$@"
fi
need debootstrap test -x /usr/sbin/debootstrap
need debian-archive-keyring test -f /usr/share/keyrings/debian-archive-keyring.gpg
install_missing
[ -n "$(mirror)" ] || apt-get update >/dev/null 2>&1 || true

make_workdir
mkdir -p "$MATRIX_DIR"
MATRIX_DIR=$(cd "$MATRIX_DIR" && pwd -P)
all_passed=0
all_failed=0
for version in "${versions[@]}"; do
	test_version "$version"
done
printf '%d passed, %d failed\n' "$all_passed" "$all_failed"
exit $((all_failed > 0))
