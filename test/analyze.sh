#!/usr/bin/env bash
#
# What analyzers that take minutes find in the source; compilers' warnings are
# lint.sh's.
#
#	test/analyze.sh [FILE...]		by default src/*.c
#
# gcc -fanalyzer, clang-tidy and cppcheck, each with PostgreSQL's headers at hand.
# What they find is wrong, or stands in test/analyze.known with the reason why it
# is not; of all files, so does nothing that is no longer found.  These analyzers
# change from version to version: the list is for those of Debian 12.
#
# The last line is "N passed, N failed".

set -euo pipefail
. "$(dirname "$0")/setup.sh"

known=$TOP/test/analyze.known
passed=0
failed=0

# What these ask for is not what PostgreSQL's code is written like: arguments of one
# type side by side, names with two underscores, numbers that become double or int
# where they are known to fit, memcpy() instead of memcpy_s(), which nobody has, int
# in sizes of arrays, and members of structs in the order of their padding.
tidy_checks='-*,bugprone-*,clang-analyzer-*,cert-*'
for name in bugprone-easily-swappable-parameters bugprone-reserved-identifier cert-dcl37-c \
	cert-dcl51-cpp bugprone-narrowing-conversions bugprone-implicit-widening-of-multiplication-result \
	clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling \
	clang-analyzer-optin.performance.Padding; do
	tidy_checks+=,-$name
done

# run_gcc, run_clang_tidy, run_cppcheck FILE: print what the analyzer finds, as
# "FILE:LINE:COLUMN: warning: ... [NAME]".
run_gcc()
{
	gcc -O2 -fanalyzer -fdiagnostics-plain-output -D_GNU_SOURCE -Isrc -I"$headers" -c "$1" -o /dev/null 2>&1
}

run_clang_tidy()
{
	clang-tidy --quiet --checks="$tidy_checks" "$1" -- -D_GNU_SOURCE -Isrc -I"$headers" \
		-Wno-ignored-attributes 2>/dev/null
}

# It needs not see PostgreSQL's headers, but for what looks like no C.
run_cppcheck()
{
	cppcheck -q --enable=warning,performance,portability --std=c99 -D_GNU_SOURCE -Isrc \
		'-Dforeach(cell, list)=for (; cell;)' '-DPG_FUNCTION_INFO_V1(name)=' \
		--template='{file}:{line}:{column}: warning: {message} [{id}]' "$1" 2>&1
}

# run_all ANALYZER: analyze all files; what is found is in $WORK/ANALYZER, once for
# each header, with names of files as from here.
run_all()
{
	local file status=0

	# shellcheck disable=SC2016
	for file in "${files[@]}"; do
		printf '%s\n' "$file"
	done | xargs -P "$(nproc)" -I{} bash -c '"$1" "$2" >"$3/${2##*/}.$1" || true' _ "run_$1" {} "$WORK" || status=$?
	cat "$WORK"/*."run_$1" | sed -n "s!^$PWD/!!; / \(warning\|error\): /p" | sort -u >"$WORK/$1"
	return "$status"
}

# unknown ANALYZER: print what it found and is not in the list.  A line of that is a
# file, the name of what was found, and the reason.
unknown()
{
	awk 'NR == FNR { if ($1 !~ /^#/ && NF) known[$1 " " $2]; next }
		{
			file = $1; sub(/:.*/, "", file)
			name = $0; sub(/^.*\[/, "", name); sub(/\].*$/, "", name); sub(/,.*/, "", name)
			if (file " " name in known) print file " " name >>used; else print
		}' used="$WORK/used" "$known" "$WORK/$1"
}

# unused: print what is in the list and was not found.
unused()
{
	awk 'NR == FNR { used[$0]; next } NF && $1 !~ /^#/ && !($1 " " $2 in used)' "$WORK/used" "$known"
}

# without_reason: print lines of the list without one.
without_reason()
{
	awk 'NF && $1 !~ /^#/ && NF < 4' "$known"
}

# analyze ANALYZER
analyze()
{
	run_all "$1" && unknown "$1"
}

find_postgres
need_build_tools
need_commands clang-tidy cppcheck
install_missing
make_workdir
cd "$TOP"
headers=$("$PG_CONFIG" --includedir-server)
export headers tidy_checks
export -f run_gcc run_clang_tidy run_cppcheck
files=("$@")
[ ${#files[@]} -gt 0 ] || files=(src/*.c)
: >"$WORK/used"

for analyzer in gcc clang_tidy cppcheck; do
	check "$analyzer finds nothing that is not known" analyze "$analyzer"
done
check 'each known finding has its reason' without_reason
[ $# -gt 0 ] || check 'each known finding is still there' unused
printf '%d passed, %d failed\n' "$passed" "$failed"
exit $((failed > 0))
