#!/usr/bin/env bash
#
# Do the tests notice when a hook or callback does nothing?  For each of them:
# empty its body, build, install, and run the tests that should notice, until
# one fails.  Not part of "make test": it takes as long as many runs of it.
#
#	test/mutants.sh [FUNCTION...]
#
# At the end the library of this checkout is installed again.  Until then that of
# a mutant is: not for a machine on which somebody uses the installation.

set -euo pipefail
. "$(dirname "$0")/setup.sh"

# What a mutant keeps from happening is not worth waiting for
export PG_TEST_TIMEOUT_DEFAULT=${PG_TEST_TIMEOUT_DEFAULT:-20}

# file, function, what its body becomes, and the tests to run
mutants()
{
	cat <<'LIST'
blame.c         imon_blame_reset            -                                                t/041
blame.c         imon_note_blame             -                                                t/041
connections.c   imon_connection_xact_callback -                                                t/010
connections.c   connection_ends             -                                                t/011
connections.c   imon_emit_log               if(prev_emit_log_hook)prev_emit_log_hook(edata); t/010
guc.c           check_database              return/**/true;                                  t/006
health.c        imon_check_override_1_0     TriggerData*t=(TriggerData*)fcinfo->context;return/**/PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(t->tg_event)?t->tg_newtuple:t->tg_trigtuple); sql
home_database.c imon_ProcessUtility         standard_ProcessUtility(pstmt,queryString,readOnlyTree,context,params,queryEnv,dest,qc); t/001
home_database.c imon_home_xact_callback     -                                                t/001 t/002
home_database.c sampler_leaves              -                                                t/001
sampler.c       sampler_ends                -                                                t/001
samples.c       sample_ends                 -                                                sql
samples.c       sample_rolled_back          -                                                sql
shmem.c         imon_shmem_request          if(prev_shmem_request_hook)prev_shmem_request_hook(); t/001
shmem.c         imon_shmem_startup          if(prev_shmem_startup_hook)prev_shmem_startup_hook(); t/001
slow_samples.c  storing_ends                -                                                t/056
slow_samples.c  storing_rolled_back         -                                                t/056
LIST
}

# mutate FILE FUNCTION BODY: replace the body of a function in $tree.  "-" is
# an empty one.
mutate()
{
	local body=$3

	[ "$body" != - ] || body=
	FUNCTION=$2 BODY=$body perl -0777 -pi -e '
		s/^(\Q$ENV{FUNCTION}\E\([^;{]*\)\n\{\n).*?^\}\n/$1\t$ENV{BODY}\n}\n/ms
			or die "no function $ENV{FUNCTION}\n"' "$tree/src/$1"
}

# noticed_by TEST...: print the first of the tests that fails; fail if none.
noticed_by()
{
	local test suites

	for test in "$@"; do
		case $test in
			sql) suites='ISOLATION= TAP_TESTS=' ;;
			*) suites="REGRESS= ISOLATION= PROVE_TESTS=$(cd "$tree" && ls test/"$test"*.pl)" ;;
		esac
		# shellcheck disable=SC2086 # words on purpose
		if ! run_job tester_make "$tree" installcheck $suites >"$WORK/log" 2>&1; then
			grep -hE '^not ok|^ *#   Failed test|\.\.\. FAILED' "$WORK/log" |
				head -n 1 | sed "s!^!$test: !" | grep . || echo "$test: died"
			return 0
		fi
	done
	return 1
}

find_postgres
install_missing
make_workdir
tree=$WORK/tree
survivors=0

while read -r file function body tests; do
	[ $# -eq 0 ] || [[ " $* " = *" $function "* ]] || continue
	rm -rf "$tree"
	copy_tree "$tree"
	mutate "$file" "$function" "$body"
	if ! run_job build "$tree" >"$WORK/log" 2>&1; then
		cat "$WORK/log"
		die "$function: does not compile"
	fi
	install_into_postgres "$tree"
	# shellcheck disable=SC2086 # words on purpose
	if by=$(noticed_by $tests </dev/null); then
		printf '%-32s noticed by %s\n' "$function" "$by"
	else
		printf '%-32s NOT NOTICED by %s\n' "$function" "$tests"
		survivors=$((survivors + 1))
	fi
done < <(mutants)

rm -rf "$tree"
copy_tree "$tree"
build "$tree"
install_into_postgres "$tree"
exit $((survivors > 0))
