#!/usr/bin/env bash
#
# Makes doc/report.png: a server of its own has a few busy minutes with a forgotten
# transaction, refused clients, slow statements and a restart; the picture is
# the upper part of the report about them.  Nothing in it is made up.
#
#	bash test/report_picture.sh [--html FILE]
#
# --html FILE keeps the page.

set -euo pipefail
. "$(dirname "$0")/setup.sh"

picture=$TOP/doc/report.png
html=
[ "${1:-}" != --html ] || html=$(realpath -m "$2")

# start_server: create a cluster in WORK and start it.
start_server()
{
	as_tester "$PG_BINDIR/initdb" -D "$WORK/data" -U postgres -A trust -N \
		--no-locale --encoding=UTF8 >"$WORK/initdb.log" 2>&1 ||
		{ cat "$WORK/initdb.log" >&2; return 1; }
	as_tester tee -a "$WORK/data/postgresql.conf" >/dev/null <<-CONF
		cluster_name = 'shop-db-1'
		listen_addresses = ''
		unix_socket_directories = '$WORK'
		max_connections = 40
		shared_buffers = 32MB
		max_parallel_workers_per_gather = 0
		jit = off
		fsync = off
		timezone = 'Europe/Vienna'
		track_io_timing = on
		shared_preload_libraries = 'pg_stat_statements,infra_monitor'
		infra_monitor.sample_interval = 1s
		infra_monitor.health_interval = 1s
		infra_monitor.statement_interval = 2s
		infra_monitor.activity_interval = 100ms
		infra_monitor.slow_query_threshold = 500ms
		# how busy this machine is must not change the picture
		infra_monitor.system_root = '/nonexistent'
	CONF
	as_tester "$PG_BINDIR/pg_ctl" -D "$WORK/data" -l "$WORK/server.log" -s -w start
}

# sql ROLE DATABASE APPLICATION SQL: the answer to a statement.
sql()
{
	as_tester env PGAPPNAME="$3" PGOPTIONS="-c statement_timeout=${timeout:-0}" \
		"$PG_BINDIR/psql" -h "$WORK" -U "$1" -d "$2" -XAtqc "$4" 2>>"$WORK/errors"
}

# clients NUMBER RATE SECONDS FILE: pgbench with statements of the shop.
clients()
{
	as_tester env PGAPPNAME="${5:-web}" "$PG_BINDIR/pgbench" -h "$WORK" -U web -n -M prepared -c "$1" -R "$2" -T "$3" \
		-f "$WORK/$4" shop >>"$WORK/pgbench.log" 2>&1 || true
}

# prepare: roles, tables, and what the clients do.
prepare()
{
	local role

	sql postgres postgres dba 'CREATE EXTENSION infra_monitor CASCADE' 2>/dev/null
	for role in web billing reporting; do sql postgres postgres dba "CREATE ROLE $role LOGIN IN ROLE pg_read_all_data, pg_write_all_data"; done
	sql postgres postgres dba 'CREATE DATABASE shop'
	sql postgres shop dba 'CREATE TABLE customer (id int PRIMARY KEY, name text, country int)'
	sql postgres shop dba 'CREATE TABLE orders (id bigserial PRIMARY KEY, customer int, at timestamptz DEFAULT now(), total numeric)'
	sql postgres shop dba 'CREATE TABLE stock (item int PRIMARY KEY, left_over int)'
	sql postgres shop dba "INSERT INTO customer SELECT i, 'customer ' || i, i % 40 FROM generate_series(1, 20000) i"
	sql postgres shop dba 'INSERT INTO orders (customer, total) SELECT i % 20000, i % 977 FROM generate_series(1, 300000) i'
	sql postgres shop dba 'INSERT INTO stock SELECT i, 100000 FROM generate_series(1, 50) i'
	sql postgres shop dba 'CREATE INDEX ON orders (customer)'
	sql postgres shop dba 'VACUUM ANALYZE'
	as_tester tee "$WORK/browse.sql" >/dev/null <<-'SQL'
		\set c random(1, 20000)
		SELECT name, country FROM customer WHERE id = :c;
		SELECT id, at, total FROM orders WHERE customer = :c ORDER BY at DESC LIMIT 10;
		SELECT country, count(*) FROM customer WHERE id BETWEEN :c AND :c + 800 GROUP BY country;
	SQL
	as_tester tee "$WORK/checkout.sql" >/dev/null <<-'SQL'
		\set c random(1, 20000)
		\set i random(1, 50)
		BEGIN;
		UPDATE stock SET left_over = left_over - 1 WHERE item = :i;
		INSERT INTO orders (customer, total) VALUES (:c, :i * 3);
		COMMIT;
	SQL
}

# report_query: what is too slow, and sometimes cancelled for that.
report_query()
{
	timeout=2500 sql reporting shop reports "SELECT c.country, sum(o.total), count(DISTINCT o.customer)
		FROM orders o JOIN customer c ON c.id = o.customer, generate_series(1, $1) g GROUP BY c.country ORDER BY 2 DESC" >/dev/null || true
}

# incident: billing does not commit; checkouts wait, and more come than there
# are connections.
incident()
{
	local i

	(printf 'BEGIN;\nUPDATE stock SET left_over = left_over + 10 WHERE item <= 50;\n'; sleep 24; echo 'COMMIT;') |
		as_tester env PGAPPNAME=invoices "$PG_BINDIR/psql" -h "$WORK" -U billing -d shop -Xq &
	sleep 3
	for i in $(seq 60); do
		(timeout=60000 sql web shop checkout "UPDATE stock SET left_over = left_over - 1 WHERE item = $((i % 50 + 1))" || true) &
		sleep 0.33
	done
	wait
}

# busy SECONDS [FACTOR]: the usual clients, so long.
busy()
{
	clients 4 $((120 * ${2:-1})) "$1" browse.sql &
	clients 2 30 "$1" checkout.sql checkout &
}

# happenings: four minutes.
happenings()
{
	say 'a quiet time'
	busy 90
	sleep 30; report_query 1
	sql postgres postgres dba "ALTER SYSTEM SET work_mem = '16MB'"; sql postgres postgres dba 'SELECT pg_reload_conf()' >/dev/null
	clients 6 500 30 browse.sql campaign &
	sleep 15; report_query 4; report_query 20
	wait
	say 'a restart'
	as_tester "$PG_BINDIR/pg_ctl" -D "$WORK/data" -s -m fast stop
	sleep 12
	as_tester "$PG_BINDIR/pg_ctl" -D "$WORK/data" -l "$WORK/server.log" -s -w start
	busy 30
	sleep 20; report_query 2
	wait
	say 'an incident'
	busy 75
	(incident)
	sleep 20; report_query 3
	wait
	sleep 3
}

# take_picture: of the page in WORK.
take_picture()
{
	as_tester chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --hide-scrollbars \
		--user-data-dir="$WORK/chromium" --window-size=1180,1980 --screenshot="$WORK/report.png" \
		"file://$WORK/report.html" >/dev/null 2>&1
	pngquant --force --output "$WORK/small.png" 128 "$WORK/report.png"
}

find_postgres
need_build_tools
need_commands chromium pngquant
need fonts-dejavu-core test -d /usr/share/fonts/truetype/dejavu
install_missing
make_workdir
cd /
copy_tree "$WORK/tree"
build "$WORK/tree"
install_into_postgres "$WORK/tree"
start_server
prepare
began=$(sql postgres postgres dba 'SELECT clock_timestamp()')
happenings
sql postgres postgres dba "SELECT infra_monitor.report('$began')" >"$WORK/report.html"
[ -z "$html" ] || cp "$WORK/report.html" "$html"
take_picture
cp "$WORK/small.png" "$picture"
say "$picture: $(stat -c %s "$picture") bytes"
