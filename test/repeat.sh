#!/usr/bin/env bash
#
# All tests again and again, to find those that fail now and then:
#
#	test/repeat.sh [RUNS]		by default 20
#
# Each run is run.sh on a copy of what is committed at HEAD, and leaves its output
# in REPEAT_DIR/COMMIT, by default below /var/tmp/infra_monitor-repeat.  What is
# there already counts, so that it can be stopped at any time, and goes on with the
# run that it was at when it is started again.  The last line, "N passed, N failed",
# counts runs.

set -euo pipefail
. "$(dirname "$0")/setup.sh"

runs=${1:-20}
[[ $runs =~ ^[1-9][0-9]*$ ]] || die "not a number of runs: \"$runs\""
commit=$(git -C "$TOP" rev-parse --short HEAD)
directory=${REPEAT_DIR:-/var/tmp/infra_monitor-repeat}/$commit
passed=0
failed=0

# run NUMBER: a run, unless it was made before.  What was interrupted has no
# closing line in its file, as that is only renamed at the end.
run()
{
	local log=$directory/run-$1.log

	[ ! -e "$log" ] || return 0
	rm -rf "$WORK/clone"
	git clone -q "$TOP" "$WORK/clone"
	git -C "$WORK/clone" checkout -q --detach "$commit"
	run_job bash "$WORK/clone/test/run.sh" </dev/null >"$log.now" 2>&1 || true
	mv "$log.now" "$log"
}

# judge NUMBER: count a run, and print what failed in it.
judge()
{
	local log=$directory/run-$1.log last

	last=$(tail -n 1 "$log")
	if [[ $last =~ ^[0-9]+\ passed,\ 0\ failed$ ]]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		grep -E '^(not ok|(test| ) .*\.\.\. FAILED|test/t/.*\(Wstat)' "$log" || true
	fi
	say "run $1 of $commit: $last"
}

make_workdir
mkdir -p "$directory"
for ((i = 1; i <= runs; i++)); do
	run "$i"
	judge "$i"
done
printf '%d passed, %d failed\n' "$passed" "$failed"
exit $((failed > 0))
