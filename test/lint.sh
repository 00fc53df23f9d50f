#!/usr/bin/env bash
#
# Everything about the source that needs no server: make lint
#
#	lint.sh           check; prints one line per check and, before it, what is wrong
#	lint.sh --fix     lay out src/*.[ch] and test/fuzz/*.[ch] as the check would have it
#
# The last line is "N passed, N failed".

set -euo pipefail
. "$(dirname "$0")/setup.sh"

passed=0
failed=0

# Warnings beyond those that PostgreSQL itself is built with, and for errors.
# The three taken out again find fault with PostgreSQL's headers, and with
# functions whose signature PostgreSQL prescribes.
warnings=(
	-Werror
	-Wextra
	-Wmissing-prototypes
	-Wold-style-definition
	-Wstrict-prototypes
	-Wno-missing-field-initializers
	-Wno-sign-compare
	-Wno-unused-parameter
)
gcc_warnings=("${warnings[@]}" -Wshadow=compatible-local)

# PGXS hands clang the flags and attributes that gcc compiled PostgreSQL with
clang_warnings=(
	"${warnings[@]}"
	-Wmissing-variable-declarations
	-Wno-ignored-attributes
	-Wno-ignored-optimization-argument
	-Wno-unknown-warning-option
)

# As in PostgreSQL's src/tools/pgindent/pgindent
indent_version=2.1.1
indent_options=(
	-bad -bap -bbb -bc -bl -cli1 -cp33 -cdb -nce -d0 -di12 -nfc1 -i4 -l79 -lp
	-lpl -nip -npro -sac -tpg -ts4
)

# compile COMPILER FLAG...: build a copy of the tree.
compile()
{
	copy_tree "$WORK/$1" && tester_make "$WORK/$1" -O -j "$(nproc)" CC="$1" COPT="${*:2}" all
}

# compile_faults COMPILER FLAG...: the same with the faults of tests.
compile_faults()
{
	copy_tree "$WORK/faults_$1" &&
		tester_make "$WORK/faults_$1" -O -j "$(nproc)" CC="$1" FAULTS=1 COPT="${*:2}" infra_monitor.so
}

# global_names COMPILER: print the global symbols of what it compiled, and those
# that the library exports, unless they are ours by name or PostgreSQL's entry
# points.
global_names()
{
	{ nm -g --defined-only "$WORK/$1"/src/*.o && nm -D --defined-only "$WORK/$1/infra_monitor.so"; } |
		awk 'NF == 3 && $3 !~ /^((pg_finfo_)?imon_.*|_PG_init|Pg_magic_func|_init|_fini)$/ { print $3 }'
}

# foreign_calls: print what the library calls that would reach out of the server:
# the network, other programs, other libraries.
foreign_calls()
{
	nm -D --undefined-only "$WORK/gcc/infra_monitor.so" |
		awk '$2 ~ /^(PQ.*|socket.*|connect|bind|listen|accept4?|send(to|msg|mmsg)?|getaddrinfo|gethostby.*|fork|vfork|clone|system|popen|OpenPipeStream|exec.*|posix_spawn.*|dlopen)(@|$)/ { print $2 }'
}

# Every header includes what it needs, except postgres.h.
headers_alone()
{
	local header

	for header in src/*.h; do
		# shellcheck disable=SC2046 # several words
		gcc -fsyntax-only -Wall $("$PG_CONFIG" --cppflags) -x c -include postgres.h -Isrc \
			-I"$("$PG_CONFIG" --includedir-server)" "$header" || return
	done
}

# absent PATTERN FILE...: print the lines with PATTERN.
absent()
{
	grep -nE -- "$@" /dev/null || true
}

version_checks()
{
	local file

	for file in src/*.[ch]; do
		[ "$file" = src/compat.h ] || absent 'PG_(MAJOR)?VERSION' "$file"
	done
}

# indent: lay out the C code of standard input, as pgindent does, with what it
# does around pg_bsd_indent.  Our own types are known by their prefix.
indent()
{
	sed -E 's!^([ \t]*)//(.*)$!\1/* \2 */!; s!/\* +---!/*---X_X!g' |
		pg_bsd_indent "${indent_options[@]}" -U"$WORK/typedefs" |
		sed -E 's!/\*---X_X!/* ---!g; s!\*/(/\*.*\*/)$!*/\t\1!; s!^([A-Za-z_][^ \t]*)[ \t]+\*$!\1 *!' |
		indent_initializers
}

# indent_initializers: indent the further lines of an initialization by a tab,
# like later versions of pg_bsd_indent.  This one puts them below its first.
indent_initializers()
{
	awk '{
			match($0, /^\t*/)
			depth = RLENGTH
			code = $0
			sub(/[ \t]*\/\*.*\*\/$/, "", code)
			if (open && (depth != start || code ~ /^\t*[{}]/))
				open = 0
			print (open ? "\t" : "") $0
			if (!open && code ~ /^\t*[A-Za-z_].*[^=!<>]=([^=].*)?$/) {
				open = 1
				start = depth
			}
			if (code ~ /[,;{\\]$/)
				open = 0
		}'
}

layout()
{
	local file

	for file in src/*.[ch] test/fuzz/*.[ch]; do
		indent <"$file" >"$WORK/indented"
		diff -u --label "$file" --label "$file, indented" "$file" "$WORK/indented" || true
	done
}

fix_layout()
{
	local file

	for file in src/*.[ch] test/fuzz/*.[ch]; do
		indent <"$file" >"$WORK/indented"
		cmp -s "$WORK/indented" "$file" || cat "$WORK/indented" >"$file"
	done
}

# text_files: print the names of all files that people edit.  Expected output
# is psql's, and has its spaces.
text_files()
{
	find . -type f ! -name '*.out' -print0 | xargs -0 grep -lI ''
}

trailing_space()
{
	text_files | xargs -d '\n' grep -nE '[[:blank:]]+$' /dev/null || true
}

final_newline()
{
	local file

	text_files | while read -r file; do
		[ -z "$(tail -c 1 "$file")" ] || echo "$file: no newline at the end"
	done
}

scripts()
{
	text_files | xargs -d '\n' awk 'FNR == 1 && /^#!.*sh$|^# shellcheck/ { print FILENAME }'
}

shell_syntax()
{
	local file

	scripts | while read -r file; do
		bash -n "$file"
	done
}

# Functions that are called by a name in a variable are not unreachable.
shell_check()
{
	scripts | xargs -d '\n' shellcheck -x -P SCRIPTDIR -e SC2317
}

# Every object of the installation script has a comment, for psql's \d+.
sql_comments()
{
	cat src/*.sql | awk '
		{ sub(/--.*/, ""); sub(/[(;].*/, "") }
		$1 == "CREATE" && $2 == "UNLOGGED" { $2 = ""; $0 = $0 }
		$1 == "CREATE" && $2 ~ /^(AGGREGATE|DOMAIN|FUNCTION|PROCEDURE|SCHEMA|SEQUENCE|TABLE|TYPE|VIEW)$/ {
			created[$2 " " $3]
		}
		$1 == "COMMENT" { commented[$3 " " $4] }
		END {
			for (object in created)
				if (!(object in commented))
					print "no COMMENT ON " object
		}' | sort
}

# Every health check has a heading in the manual, with all that belongs there, and a
# row in its table.
documented_checks()
{
	local check part

	sed -nE "s/^\t\('([a-z0-9_]+)', '[a-z]+', '(above|below)',.*/\1/p" src/health.sql | while read -r check; do
		grep -q "^### $check\$" doc/infra_monitor.md || echo "no heading: $check"
		grep -q "^| \[$check\](#" doc/infra_monitor.md || echo "no row: $check"
		for part in 'Why it matters' 'Defaults\?' 'What to do'; do
			sed -n "/^## Health checks/,/^## Thresholds/p" doc/infra_monitor.md |
				sed -n "/^### $check\$/,/^##/p" | grep -q "\*$part:\*" ||
				echo "nothing about \"$part\": $check"
		done
	done
}

find_postgres
need_build_tools
need_commands clang shellcheck
need perl perl -MJSON::PP -e 1
need binutils command -v nm
need pg-bsd-indent command -v pg_bsd_indent
install_missing
make_workdir
cd "$TOP"

{ cat test/typedefs.list; grep -ohE '\bImon[A-Za-z0-9]+\b' src/*.[ch] || true; } | sort -u >"$WORK/typedefs"
if [ "${1:-}" = --fix ]; then
	fix_layout
	exit
fi

copy_tree "$WORK/tree"
cd "$WORK/tree"
check 'gcc has no warnings' compile gcc "${gcc_warnings[@]}"
check 'clang has no warnings' compile clang "${clang_warnings[@]}"
check 'gcc has no warnings, with faults' compile_faults gcc "${gcc_warnings[@]}"
check 'clang has no warnings, with faults' compile_faults clang "${clang_warnings[@]}"
check 'global names carry our prefix (gcc)' global_names gcc
check 'global names carry our prefix (clang)' global_names clang
check 'the library reaches out of the server nowhere' foreign_calls
check 'headers compile alone' headers_alone
check 'version checks are in compat.h' version_checks
if pg_bsd_indent --version | grep -q " $indent_version "; then
	check 'C is laid out by pgindent (lint.sh --fix does it)' layout
else
	say "layout not checked: needs pg_bsd_indent $indent_version"
fi
check 'C is indented with tabs' absent '^    ' src/*.[ch] test/fuzz/*.[ch]
check 'no trailing space' trailing_space
check 'files end with a newline' final_newline
check 'shell scripts have no syntax errors' shell_syntax
check 'shellcheck has no complaint' shell_check
check 'META.json is JSON' perl -MJSON::PP -e 'decode_json(join("", <>))' META.json
check 'SQL objects have a comment' sql_comments
check 'health checks are documented' documented_checks
check 'SQL adopts no foreign object and lends no rights' \
	absent '^[^-]*(OR REPLACE|IF NOT EXISTS|SECURITY DEFINER)' src/*.sql

printf '%d passed, %d failed\n' "$passed" "$failed"
exit $((failed > 0))
