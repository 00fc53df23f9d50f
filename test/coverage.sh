#!/usr/bin/env bash
#
# Which lines of C the tests reach:
#
#	test/coverage.sh			run all tests on a library that counts, and look
#	test/coverage.sh --again	look at what the last run has left, without another
#
# The library is built by gcc with --coverage and without optimization, and so is the
# one with faults that 090_faults.pl builds for itself.  Each process that ends in an
# orderly way adds what it has reached; those that are killed, or end at an immediate
# shutdown, add nothing.  What is printed: for each file the lines with code, the
# branches, and how many of them were reached; then each line that was not and that
# test/coverage.known does not list with its reason, and whatever is listed and was
# reached.  Lines that are not compiled for this PostgreSQL count nowhere.
#
# This PostgreSQL's directories are as ever when it is over: what is installed goes into
# overlays of a mount name space, so it takes root, or a container that may mount.
#
# Counts are kept in COVERAGE_DIR, by default /var/tmp/infra_monitor-coverage.  The last
# line is "N passed, N failed".

set -euo pipefail
. "$(dirname "$0")/setup.sh"

directory=${COVERAGE_DIR:-/var/tmp/infra_monitor-coverage}
passed=0
failed=0

# overlay DIRECTORY...: what is written there goes to WORK, and nobody else sees it.
overlay()
{
	local layer lower

	mkdir "$WORK/layers"
	mount -t tmpfs tmpfs "$WORK/layers"
	mounted=$WORK/layers
	for lower in "$@"; do
		layer=$WORK/layers/${lower//\//_}
		mkdir -p "$lower" "$layer"/{upper,work}
		mount -t overlay overlay -o "lowerdir=$lower,upperdir=$layer/upper,workdir=$layer/work" "$lower" ||
			die "cannot mount an overlay of $lower"
	done
}

# log_tests LOG: all tests, printed and logged.
log_tests()
{
	env KEEP=1 IMON_COVERAGE="$WORK/faults" COPT='-O0 --coverage' bash "$TOP/test/run.sh" 2>&1 | tee "$1"
}

# run_tests: run them, and keep what was counted.
run_tests()
{
	local log=$WORK/log tests

	mkdir "$WORK/faults"
	give_to_tester "$WORK/faults"
	run_job log_tests "$log" || true
	tests=$(sed -n 's/^== keeping //p' "$log")
	rm -rf "$directory"
	mkdir -p "$directory"/{library,faults}/src
	[ -z "$tests" ] || find "$tests/tree/src" -name '*.gc*' -exec cp {} "$directory/library/src" \;
	find "$WORK/faults" -name '*.gc*' -exec cp {} "$directory/faults/src" \;
	chmod -R a+rX "$directory"
	[ -z "$tests" ] || rm -rf "$tests"
	add_counts "$log"
}

if [ "${1:-}" != --again ]; then
	if [ -z "${IMON_NAME_SPACE:-}" ]; then
		is_root || die 'run as root: this mounts overlays'
		bash "$TOP/test/run.sh" --packages	# not into the overlays
		exec env IMON_NAME_SPACE=1 unshare --mount bash "$0" "$@"
	fi
	find_postgres
	need_build_tools
	install_missing
	make_workdir
	overlay "$("$PG_CONFIG" --pkglibdir)" "$("$PG_CONFIG" --sharedir)" "$("$PG_CONFIG" --docdir)"
	run_tests
fi
[ -d "$directory" ] || die "nothing in $directory: run it without --again"

log=$(mktemp)
perl "$TOP/test/coverage.pl" "$TOP" "$TOP/test/coverage.known" "$directory"/{library,faults} >"$log" || true
sed '$d' "$log"
add_counts "$log"
rm -f "$log"
printf '%d passed, %d failed\n' "$passed" "$failed"
exit $((failed > 0))
