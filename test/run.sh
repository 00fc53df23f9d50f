#!/usr/bin/env bash
#
# All tests, on a machine that need not have PostgreSQL: make test
#
#	run.sh				build a copy of the tree, install it, and run the three
#						suites, each on servers of its own
#	run.sh --packages	only install the packages that this takes
#
# TAP_FILES may name some of test/t, relative to the tree, patterns of the shell
# among them.  The last line is "N passed, N failed".  Of the logs that explain a
# failure, the end is printed; the caller may set LOGS_DIR to a directory, to find them
# there, compressed.

set -euo pipefail
. "$(dirname "$0")/setup.sh"

passed=0
failed=0

# finish: print the closing line and end the script.
finish()
{
	if [ $((passed + failed)) -eq 0 ]; then
		say 'no test was run'
		failed=1
	fi
	printf '%d passed, %d failed\n' "$passed" "$failed"
	exit $((failed > 0))
}

# log_suite LOG ARGUMENT...: make installcheck, printed and logged.
log_suite()
{
	enter_small_group
	tester_make "$tree" installcheck "${@:2}" 2>&1 | tee "$1"
}

# suite NAME FILES COUNT SETTING...: run the suite that consists of FILES,
# leaving out the others by SETTINGs of make.  COUNT reads what it printed and
# prints the numbers of tests passed and failed.  logs_NAME prints the names of
# the files that explain a failure; the next suite may remove them.
suite()
{
	local name=$1 files=$2 count=$3 log=$WORK/$1.log status=0 good bad file

	compgen -G "$tree/$files" >/dev/null || return 0
	say "$name tests"
	run_job log_suite "$log" "${@:4}" || status=$?

	read -r good bad < <("$count" "$log")
	if [ "$bad" -eq 0 ] && { [ $status -ne 0 ] || [ "$good" -eq 0 ]; }; then
		bad=1				# it did not get as far as to report one
	fi
	passed=$((passed + good))
	failed=$((failed + bad))

	[ "$bad" -gt 0 ] || return 0
	while read -r file; do
		[ -s "$file" ] || continue
		say "${file#"$tree"/}"
		tail -n 300 "$file"
		[ -z "${LOGS_DIR:-}" ] || gzip -c "$file" >"$LOGS_DIR/${file##*/}.gz"
	done < <("logs_$name" "$log")
}

# pg_regress speaks TAP since PostgreSQL 16.
count_regress()
{
	awk '/^(test| ) .*\.\.\. ok|^ok [0-9]/ { good++ }
		 /^(test| ) .*\.\.\. FAILED|^not ok [0-9]/ { bad++ }
		 END { print good + 0, bad + 0 }' "$1"
}

# prove sums up the tests, and reports on each file with a failure.  A file
# that died, or did not run what it had planned, has at least one.
count_tap()
{
	awk '/^Files=/ { sub(/.*Tests=/, ""); total = $0 + 0 }
		 /\(Wstat: / {
			 file_bad = $0; sub(/.*Failed: /, "", file_bad); file_bad += 0
			 if (file_bad == 0 && $0 !~ /Wstat: 0 /) died++
			 bad += file_bad
			 wstat0 = $0 ~ /Wstat: 0 / && file_bad == 0
		 }
		 /^  Parse errors:/ && wstat0 { died++ }
		 END { print total - bad, bad + died }' "$1"
}

logs_regression()
{
	logs_regress "$tree"
}

logs_isolation()
{
	logs_regress "$tree/output_iso"
}

# Without differences the server did not start, or initdb failed.
logs_regress()
{
	ls "$1/log/postmaster.log" "$1/regression.diffs" 2>/dev/null || ls "$1/log/initdb.log"
}

logs_tap()
{
	local test

	sed -n 's!^test/t/\(.*\)\.pl *(Wstat: .*!\1!p' "$1" | while read -r test; do
		ls "$tree/tmp_check/log/$test"_*.log "$tree/tmp_check/log/regress_log_$test" 2>/dev/null
	done
}

# install_neighbours: install libraries that 033_load_order.pl loads next to ours,
# the ORM that 053_repeated.pl uses, the validator of 062_health_schema.pl, and the
# parser and the browser of 074_report.pl, if they are missing, packaged for this
# PostgreSQL, and can be had without asking.  The tests do without them as well.
install_neighbours()
{
	local name package packages=()

	is_root && command -v apt-cache >/dev/null || return 0
	if [[ $PG_BINDIR =~ ^/usr/lib/postgresql/([0-9]+)/bin$ ]]; then
		for name in pg_stat_kcache pg_wait_sampling; do
			package=postgresql-${BASH_REMATCH[1]}-${name//_/-}
			if [ ! -e "${PG_BINDIR%/bin}/lib/$name.so" ] &&
				[ -n "$(apt-cache madison "$package" 2>/dev/null)" ]; then
				packages+=("$package")
			fi
		done
	fi
	if ! /usr/bin/python3 -c 'import psycopg2, sqlalchemy' 2>/dev/null; then
		for package in python3-psycopg2 python3-sqlalchemy; do
			[ -z "$(apt-cache madison "$package" 2>/dev/null)" ] || packages+=("$package")
		done
	fi
	if ! /usr/bin/python3 -W ignore -c 'import jsonschema' 2>/dev/null &&
		[ -n "$(apt-cache madison python3-jsonschema 2>/dev/null)" ]; then
		packages+=(python3-jsonschema)
	fi
	for name in chromium xmllint; do
		package=${name/xmllint/libxml2-utils}
		[ "$name" != chromium ] || [ "${BROWSER:-}" != no ] || continue
		if ! command -v "$name" >/dev/null &&
			[ -n "$(apt-cache madison "$package" 2>/dev/null)" ]; then
			packages+=("$package")
		fi
	done
	[ ${#packages[@]} -gt 0 ] || return 0
	say "installing ${packages[*]}"
	apt_install "${packages[@]}" || say "going on without ${packages[*]}"
}

find_postgres
need_build_tools
need perl command -v prove
need libipc-run-perl perl -MIPC::Run -e 1
install_missing
install_neighbours
[ "${1:-}" != --packages ] || exit 0

make_workdir
[ "${PROGRAMS:-}" = no ] || unpack_programs
tree=$WORK/tree
say "building for $("$PG_CONFIG" --version)"
copy_tree "$tree"
if ! run_job build "$tree" || ! install_into_postgres "$tree"; then
	failed=1
	finish
fi

mount_small_disk
suite regression 'sql/*.sql' count_regress ISOLATION= TAP_TESTS=
suite isolation 'test/isolation/specs/*.spec' count_regress REGRESS= TAP_TESTS=
make_small_groups
suite tap 'test/t/*.pl' count_tap REGRESS= ISOLATION= EXTRA_PROVE_FLAGS="-j$((2 * $(nproc) + 1)) --reverse" ${TAP_FILES:+PROVE_TESTS="$TAP_FILES"}
finish
