#!/usr/bin/env bash
#
# All tests again and again, to find those that fail now and then:
#
#	test/repeat.sh [RUNS [AT_ONCE]]		by default 20, one after another
#
# Each run is run.sh on a copy of what is committed at HEAD, and leaves its output
# in REPEAT_DIR/COMMIT, by default below /var/tmp/infra_monitor-repeat, and the logs
# of what failed.  What is there already counts, so that it can be stopped at any
# time, and goes on with the runs that it was at when it is started again.  The last
# line, "N passed, N failed", counts runs.
#
# Several runs at once take root.  Each has then processes, ports, a /tmp and an
# installation of PostgreSQL of its own, the latter two in memory: up to 1.5 GB.

set -euo pipefail
. "$(dirname "$0")/setup.sh"

runs=${1:-20}
at_once=${2:-1}
[[ $runs =~ ^[1-9][0-9]*$ ]] || die "not a number of runs: \"$runs\""
[[ $at_once =~ ^[1-9][0-9]*$ ]] || die "not a number of runs at once: \"$at_once\""
[ "$at_once" -eq 1 ] || is_root || die 'only root can make several runs at once'
commit=$(git -C "$TOP" rev-parse --short HEAD)
directory=${REPEAT_DIR:-/var/tmp/infra_monitor-repeat}/$commit
failed=0

# make_places: give this process and its children a /tmp of their own, with nothing
# but WORK in it, and copies of the directories that "make install" writes to.
make_places()
{
	local new=$WORK/own name place

	mount -t tmpfs -o mode=1777 tmpfs "$new"
	for name in pkglibdir sharedir docdir; do
		place=$("$PG_CONFIG" "--$name")
		mkdir -p "$place" "$new/.$name"/{upper,work}
		mount -t overlay -o "lowerdir=$place,upperdir=$new/.$name/upper,workdir=$new/.$name/work" \
			overlay "$place"
	done
	mkdir "$new/${WORK##*/}"
	mount --bind "$WORK" "$new/${WORK##*/}"
	mount --move "$new" /tmp
	ip link set lo up
}

# alone COMMAND...: run a command in name spaces and places of its own, which are gone
# when it ends, however it ends.
alone()
{
	export WORK
	# shellcheck disable=SC2016 # the inner shell's arguments
	unshare --mount --pid --ipc --net --fork --kill-child --mount-proc \
		bash -c "set -e; cd /; $(declare -f make_places); make_places; exec \"\$@\"" bash "$@"
}

# run NUMBER: a run.  What was interrupted has no closing line in its file, as that
# is only renamed at the end.
run()
{
	local log=$directory/run-$1.log logs=$WORK/logs/run-$1 place=()

	[ "$at_once" -eq 1 ] || place=(alone)
	mkdir "$logs"
	LOGS=$logs "${place[@]}" bash "$WORK/clone/test/run.sh" </dev/null >"$log.now" 2>&1 || true
	rmdir "$logs" 2>/dev/null || { rm -rf "${log%.log}"; mv "$logs" "${log%.log}"; }
	mv "$log.now" "$log"
	report "$1"
}

# has_passed NUMBER: was there no failure in a run that was made?
has_passed()
{
	[[ $(tail -n 1 "$directory/run-$1.log") =~ ^[0-9]+\ passed,\ 0\ failed$ ]]
}

# report NUMBER: say how a run ended, and what failed in it.
report()
{
	local log=$directory/run-$1.log

	has_passed "$1" ||
		grep -E '^(not ok|(test| ) .*\.\.\. FAILED|test/t/.*\(Wstat)' "$log" || true
	say "run $1 of $commit: $(tail -n 1 "$log")"
}

# make_runs: make all that were not made before, AT_ONCE of them at a time.
make_runs()
{
	local number

	for ((number = 1; number <= runs; number++)); do
		if [ -e "$directory/run-$number.log" ]; then
			report "$number"
			continue
		fi
		while [ "$(jobs -pr | wc -l)" -ge "$at_once" ]; do wait -n || true; done
		run "$number" &
	done
	wait
}

make_workdir
run_job bash "$TOP/test/run.sh" --packages
find_postgres
need iproute2 command -v ip
install_missing
unpack_programs
mkdir -p "$directory" "$WORK"/{own,logs}
git clone -q "$TOP" "$WORK/clone"
git -C "$WORK/clone" checkout -q --detach "$commit"
run_job make_runs
for ((i = 1; i <= runs; i++)); do
	has_passed "$i" || failed=$((failed + 1))
done
printf '%d passed, %d failed\n' $((runs - failed)) "$failed"
exit $((failed > 0))
