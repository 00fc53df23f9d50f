#!/usr/bin/env bash
#
# infra_monitor at work, on a machine that need not have PostgreSQL: make demo
#
# Builds a copy of the tree, installs it, starts a small server of its own and
# lets an incident happen on it: a forgotten transaction, sessions waiting
# behind it, a full pool, refused clients.  Prints what infra_monitor says about
# it.  Ends with status 0 only if infra_monitor counted as many refusals as the
# clients saw.
#
#	KEEP=1 make demo	leaves the server running and says how to reach it

set -euo pipefail
. "$(dirname "$0")/setup.sh"

# Every server under WORK is stopped when we end, so one that is to be kept is
# taken out of there by hand, see leave_running.
keep=${KEEP:-}
KEEP=

# The server, and who wants what of it.  22 slots are for ordinary roles; 6 web
# clients, 1 holder, 4 waiters and our own session leave 10 for the rush.
max_connections=25
reserved=3
web_clients=6
waiters=4
rush=(8 16 24)					# in three waves

dba=()							# file descriptors of the session behind ask
forgotten=						# of the session that forgets to commit
arrived=0						# clients that want to update the invoice
errors_before=					# how many had got an error before them
printed=-9						# when pool_line printed last, by SECONDS
last_line=						# and what
MISCOUNTED=3					# status of a demo whose numbers differ
update='UPDATE invoice SET paid = true WHERE id = 42'

# start_server: create a cluster in WORK and start it.  Nobody but TESTER and
# root can reach its socket.
start_server()
{
	as_tester "$PG_BINDIR/initdb" -D "$WORK/data" -U postgres -A trust -N \
		--no-locale --encoding=UTF8 >"$WORK/initdb.log" 2>&1 ||
		{ cat "$WORK/initdb.log" >&2; return 1; }
	as_tester tee -a "$WORK/data/postgresql.conf" >/dev/null <<-CONF
		listen_addresses = ''
		port = 5432
		unix_socket_directories = '$WORK'
		max_connections = $max_connections
		superuser_reserved_connections = $reserved
		shared_buffers = 32MB
		fsync = off
		shared_preload_libraries = 'pg_stat_statements,infra_monitor'
		infra_monitor.sample_interval = 1s
		infra_monitor.health_interval = 1s
		infra_monitor.activity_interval = 500ms
		infra_monitor.slow_query_threshold = 500ms
	CONF
	as_tester "$PG_BINDIR/pg_ctl" -D "$WORK/data" -l "$WORK/server.log" -s -w start
}

# psql_as ROLE DATABASE APPLICATION ARGUMENT...: psql, without the habits of
# its user.
psql_as()
{
	as_tester env PGAPPNAME="$3" "$PG_BINDIR/psql" -h "$WORK" -p 5432 -U "$1" -d "$2" \
		-X -q -v ON_ERROR_STOP=1 -P pager=off "${@:4}"
}

# show TITLE SQL ARGUMENT...: print what a query returns, as psql does when
# called with ARGUMENTs.
show()
{
	printf '\n-- %s\n' "$1"
	psql_as postgres postgres dba -P footer=off "${@:3}" <<<"$2" | sed '${/^$/d}'
}

# open_dba: open the superuser's session that ask uses.  There may be no slot
# for another one when it is needed.
open_dba()
{
	coproc DBA { psql_as postgres postgres watcher -A -t 2>&1; }
	dba=("${DBA[@]}")
}

# ask SQL: print what a query returns, unaligned and without a header.
ask()
{
	local line

	printf '%s;\n\\echo .\n' "$1" >&"${dba[1]}"
	while IFS= read -r -t 60 line <&"${dba[0]}" && [ "$line" != . ]; do
		printf '%s\n' "$line"
	done
}

# pool_line [--changed]: print the state of the pool on one line, if the last
# time was 2 seconds ago, or if it has changed.
pool_line()
{
	local line

	[ $((SECONDS - printed)) -ge 2 ] || [ "${1:-}" = --changed ] || return 0
	line=$(ask "SELECT format('%s %s of %s used, %s active, %s waiting, %s idle in transaction, %s refused',
			infra_monitor.bar(used_ratio, 10), used_connections, max_connections, active, waiting,
			idle_in_transaction, rejected_total)
		FROM infra_monitor.pool_pressure")
	[ $((SECONDS - printed)) -ge 2 ] || [ "$line" != "$last_line" ] || return 0
	printf '   %(%H:%M:%S)T  %s\n' -1 "$line"
	printed=$SECONDS
	last_line=$line
}

# watch_until COMMAND...: print the pool every 2 seconds until the command
# succeeds, for a minute at most.
watch_until()
{
	local start=$SECONDS

	until "$@"; do
		if [ $((SECONDS - start)) -gt 60 ]; then
			die "waited in vain for: $*"
		fi
		pool_line
		sleep 0.1
	done
	pool_line --changed
}

# is_true SQL: is this condition true?
is_true()
{
	[ "$(ask "SELECT $1")" = t ]
}

# one_more_sample: watch until a sample has been taken from now on.
one_more_sample()
{
	local now

	now=$(ask 'SELECT clock_timestamp()')
	watch_until is_true "max(sampled_at) > '$now' FROM infra_monitor.samples"
}

# client ROLE APPLICATION SQL: one client of the shop, that tries once.  What
# it is told if it fails goes to a line of its own in WORK/errors.
client()
{
	local message

	message=$(psql_as "$1" shop "$2" -c "$3" 2>&1 >/dev/null) ||
		printf '%s\n' "${message##*FATAL:  }" | head -n 1 >>"$WORK/errors"
}

# errors: print how many clients got an error.
errors()
{
	wc -l <"$WORK/errors"
}

errors_are()
{
	[ "$(errors)" -eq "$1" ]
}

# checkouts COUNT: so many clients come at once, all for the same invoice.
checkouts()
{
	for _ in $(seq "$1"); do
		client web checkout "$update" &
	done
	arrived=$((arrived + $1))
}

# all_settled: has each of the checkouts been refused, or been let in and waits?
all_settled()
{
	is_true "count(*) + $(errors) = $arrived + $errors_before FROM infra_monitor.sessions()
		WHERE application_name = 'checkout' AND wait_event_type = 'Lock'"
}

# prepare: the extension in database postgres, and a shop in database shop.
prepare()
{
	psql_as postgres postgres setup <<-'SQL'
		SET client_min_messages = warning;
		CREATE EXTENSION infra_monitor CASCADE;
		INSERT INTO infra_monitor.health_threshold_overrides (check_name, warning, critical)
		VALUES ('idle_in_transaction', 3, 60), ('lock_waits', 2, 30);
		CREATE ROLE web LOGIN;
		CREATE ROLE billing LOGIN;
		CREATE ROLE report LOGIN CONNECTION LIMIT 2;
		CREATE DATABASE shop OWNER web;
	SQL
	as_tester "$PG_BINDIR/pgbench" -h "$WORK" -p 5432 -U web -i -q shop >"$WORK/pgbench.log" 2>&1 ||
		{ cat "$WORK/pgbench.log" >&2; return 1; }
	psql_as web shop setup <<-'SQL'
		CREATE TABLE invoice AS SELECT id, false AS paid FROM generate_series(1, 1000) AS id;
		ALTER TABLE invoice ADD PRIMARY KEY (id);
		GRANT SELECT, UPDATE ON invoice TO billing;
		GRANT SELECT ON ALL TABLES IN SCHEMA public TO report;
	SQL
	: >"$WORK/errors"
	open_dba
}

# normal_load: short transactions, until stop_normal_load.
normal_load()
{
	say "normal load: $web_clients clients of the shop with short transactions"
	# shellcheck disable=SC2016 # for the inner shell
	as_tester env PGAPPNAME=web sh -c 'echo $$ >"$0"; exec "$@"' "$WORK/pgbench.pid" \
		"$PG_BINDIR/pgbench" -h "$WORK" -p 5432 -U web -n -c "$web_clients" -T 300 -R 100 \
		-b simple-update@1 -b select-only@4 shop >"$WORK/pgbench.log" 2>&1 &
	watch_until is_true 'count(*) >= 5 FROM infra_monitor.samples WHERE commits > 20'
}

stop_normal_load()
{
	kill "$(cat "$WORK/pgbench.pid")"
}

slow_reports()
{
	local sort join sleep='SELECT pg_sleep(1.5) /* asks another service */'

	sort='SELECT md5(aid::text || i), count(*) FROM pgbench_accounts, generate_series(1, 10) i
		GROUP BY 1 ORDER BY 2 DESC LIMIT 10'
	join='SELECT bid, count(*) FROM pgbench_accounts JOIN generate_series(1, 2000000) i ON i % 100000 = aid
		GROUP BY bid'

	say 'slow reports; their role may have 2 connections, so the third client is refused'
	client report report "$sleep; $join" &
	client report report "$sleep; $sort" &
	watch_until is_true "count(*) = 2 FROM infra_monitor.sessions() WHERE usename = 'report'"
	client report report "$sleep"
	watch_until is_true "(SELECT count(*) FROM infra_monitor.running_queries WHERE usename = 'report') = 2
		OR NOT EXISTS (SELECT FROM infra_monitor.sessions() WHERE usename = 'report')"
	show 'running for longer than infra_monitor.slow_query_threshold' "
		SELECT pid, usename, round(elapsed_time) AS elapsed_ms, wait_event,
			infra_monitor.one_line(query, 50) AS query
		FROM infra_monitor.running_queries"
	printf '\n'
	watch_until is_true "count(*) = 0 FROM infra_monitor.sessions() WHERE usename = 'report'"
}

forgotten_transaction()
{
	errors_before=$(errors)
	say "billing updates an invoice and forgets to commit; $waiters checkouts wait for it"
	exec {forgotten}> >(psql_as billing shop billing >"$WORK/billing.log" 2>&1)
	printf 'BEGIN; %s;\n' "$update" >&"$forgotten"
	watch_until is_true "count(*) = 1 FROM infra_monitor.sessions()
		WHERE usename = 'billing' AND state = 'idle in transaction'"
	checkouts "$waiters"
	watch_until is_true "count(*) = 2 FROM infra_monitor.health_checks
		WHERE name IN ('idle_in_transaction', 'lock_waits') AND status <> 'ok'"
}

rush_hour()
{
	local wave

	say "rush hour: $((rush[0] + rush[1] + rush[2])) more checkouts come, wait as well, and use up the connections"
	for wave in "${rush[@]}"; do
		checkouts "$wave"
		watch_until all_settled
		one_more_sample
	done
	watch_until is_true "count(*) = 2 FROM infra_monitor.health_checks
		WHERE (name, status) IN (('connections_used', 'critical'), ('connections_rejected', 'warning'))"
}

what_the_dba_sees()
{
	say 'what you would look at now'
	show 'select * from infra_monitor.dashboard()' '
		SELECT * FROM infra_monitor.dashboard()' -A -t
	show 'select * from infra_monitor.pool_pressure' '
		SELECT * FROM infra_monitor.pool_pressure' -x
	show 'who was refused, and why: pool_rejections, recent_rejections' "
		SELECT reason, total, to_char(last_at, 'HH24:MI:SS') AS last_at FROM infra_monitor.pool_rejections;
		SELECT to_char(at, 'HH24:MI:SS.MS') AS at, reason, sqlstate, usename, datname, application_name
		FROM infra_monitor.recent_rejections LIMIT 5"
	show 'checks that are not ok: health_checks' "
		SELECT name, status, round(value::numeric, 2) AS value, unit, warning, critical,
			date_trunc('second', clock_timestamp() - since) AS since_ago
		FROM infra_monitor.health_checks WHERE status <> 'ok' ORDER BY status, name"
	show 'and what to do about them' "
		SELECT format('%s: %s', name, hint) FROM infra_monitor.health_checks WHERE status <> 'ok'
		ORDER BY status, name" -A -t | fold -s -w 98 | sed 's/ *$//'
	show 'who is at the root of it: lock_waits' "
		SELECT root_pid, root_usename, root_state, root_query, count(*) AS waiters,
			round(max(wait_time)) AS longest_ms
		FROM infra_monitor.lock_waits GROUP BY 1, 2, 3, 4"
	printf '\n'
}

end_of_the_incident()
{
	say 'the DBA ends the forgotten transaction; the others go on'
	ask "SELECT pg_terminate_backend(pid) FROM infra_monitor.sessions()
		WHERE usename = 'billing'" >/dev/null
	exec {forgotten}>&-
	watch_until is_true "count(*) = 0 FROM infra_monitor.sessions() WHERE application_name = 'checkout'"
	one_more_sample
	one_more_sample
	stop_normal_load
}

what_remains()
{
	say 'what remains'
	show 'slowest statements: slow_queries' "
		SELECT usename, calls, round(mean_exec_time::numeric, 1) AS mean_ms, round(max_exec_time::numeric, 1) AS max_ms,
			temp_blks_written AS temp_blks, infra_monitor.one_line(query, 48) AS query
		FROM infra_monitor.slow_queries WHERE datname = 'shop' ORDER BY mean_exec_time DESC LIMIT 6"
	show 'who has cost others time, ms: lock_blame' "
		SELECT usename, state, round(blocked_time) AS blocked_time, incidents, infra_monitor.one_line(query, 44) AS query
		FROM infra_monitor.lock_blame ORDER BY blocked_time DESC LIMIT 3"
	show 'the last minute: pool_chart()' "
		SELECT infra_monitor.pool_chart('1 minute', height => 5)" -A -t
	show 'history, one sample per second here: samples' "
		SELECT to_char(sampled_at, 'HH24:MI:SS') AS at, status, used_connections AS used,
			round(avg_active::numeric, 1) AS active, waiting, idle_in_transaction AS in_xact,
			connects, rejected AS refused, commits, health_status AS health
		FROM (SELECT * FROM infra_monitor.samples ORDER BY sampled_at DESC LIMIT 20) s ORDER BY sampled_at"
	show 'what it costs: sampler_status' "
		SELECT state, rows_stored, missed, pg_size_pretty(bytes_stored) AS stored,
			(SELECT pg_size_pretty(sum(value::bigint)) FROM jsonb_each_text(shared_memory)) AS shared_memory,
			round(1000 * (cost->>'sample_seconds')::numeric / rows_stored, 1) AS ms_per_sample
		FROM infra_monitor.sampler_status"
	printf '\n'
}

# compare: the proof.  Ends with status MISCOUNTED unless the numbers are equal.
compare()
{
	local counted

	printf 'What the clients were told:\n'
	sort "$WORK/errors" | uniq -c
	counted=$(ask 'SELECT rejected_total FROM infra_monitor.pool_pressure')
	printf '\nRefused: %s according to the clients, %s according to infra_monitor.\n' "$(errors)" "$counted"
	errors_are "$counted" || exit $MISCOUNTED
}

# demo: all that runs in a process group of its own.
demo()
{
	set -e
	say 'starting a server of our own'
	start_server
	prepare
	cat <<-TEXT
		   $max_connections connections, $reserved of them for superusers; a sample and a look at the health checks
		   each second.  The checks idle_in_transaction and lock_waits warn after 3 and 2 seconds
		   here, for you not to wait (default: 300 and 30).
	TEXT
	normal_load
	slow_reports
	forgotten_transaction
	rush_hour
	what_the_dba_sees
	end_of_the_incident
	what_remains
	compare
}

# leave_running: say how to reach the server and how to get rid of it, and
# take it out of the hands of clean_up.
leave_running()
{
	local stop="$PG_BINDIR/pg_ctl -D $WORK/data stop"

	rm -rf "$WORK/tree" "$WORK/tmp"
	if is_root; then stop="cd / && su -s /bin/sh $TESTER -c '$stop'"; fi
	cat <<-TEXT

		The server is still running.  Look around:
		    $PG_BINDIR/psql -h $WORK -p 5432 -U postgres postgres
		Stop and remove it:
		    $stop
		    rm -r $WORK
	TEXT
	WORK=
}

find_postgres
need_build_tools
install_missing
make_workdir
cd /							# TESTER may not see where we came from
say "building for $("$PG_CONFIG" --version)"
copy_tree "$WORK/tree"
run_job build "$WORK/tree"
install_into_postgres "$WORK/tree"

# "set -e" would not be in force inside an "if"
set +e
run_job demo </dev/null
status=$?
set -e

if [ $status -eq $MISCOUNTED ]; then
	say 'infra_monitor has miscounted'
elif [ $status -ne 0 ] && [ -f "$WORK/server.log" ]; then
	say 'the demo failed; the log of its server ends with'
	tail -n 20 "$WORK/server.log"
elif [ $status -eq 0 ] && [ "$keep" = 1 ]; then
	leave_running
fi
[ $status -eq 0 ]
