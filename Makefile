# infra_monitor: pool pressure, slow queries and health of a PostgreSQL server
#
#   make, make install, make installcheck, make clean    as in any PGXS extension
#   make test     install what is missing, build a copy, run all tests
#   make lint     compilers with all warnings, exported symbols, layout
#   make demo     see it work on a throw-away server
#
# PG_CONFIG=/path/to/pg_config chooses the PostgreSQL installation.

MODULE_big = infra_monitor
OBJS = \
	$(WIN32RES) \
	src/activity.o \
	src/advice.o \
	src/baseline.o \
	src/blame.o \
	src/cgroup.o \
	src/check_states.o \
	src/concurrency.o \
	src/conditions.o \
	src/connection_churn.o \
	src/connection_times.o \
	src/connections.o \
	src/contained.o \
	src/database_checks.o \
	src/database_visit.o \
	src/disks.o \
	src/executions.o \
	src/exposition.o \
	src/extension.o \
	src/foreign_code.o \
	src/growth.o \
	src/guc.o \
	src/health.o \
	src/health_events.o \
	src/histogram.o \
	src/histogram_type.o \
	src/history.o \
	src/history_storage.o \
	src/home_database.o \
	src/html.o \
	src/infra_monitor.o \
	src/limits.o \
	src/locks.o \
	src/masking.o \
	src/metrics.o \
	src/partitions.o \
	src/pg_stat_statements.o \
	src/pool.o \
	src/postgres_exporter.o \
	src/postgres_exporter_activity.o \
	src/postgres_exporter_databases.o \
	src/postgres_exporter_replication.o \
	src/postgres_exporter_settings.o \
	src/privileges.o \
	src/readiness.o \
	src/repeated.o \
	src/rollups.o \
	src/rows.o \
	src/sampler.o \
	src/samples.o \
	src/series.o \
	src/settings.o \
	src/shmem.o \
	src/slow_log.o \
	src/slow_samples.o \
	src/statement_metrics.o \
	src/statement_samples.o \
	src/statements.o \
	src/storage.o \
	src/system.o \
	src/textfile.o \
	src/texts.o \
	src/transactions.o \
	src/trend.o \
	src/waits.o
PGFILEDESC = "infra_monitor - pool pressure, slow queries and health"
PG_CPPFLAGS = -I$(srcdir)/src

# Calls of the server's functions go there directly: a jump through a table would
# take lines of the cache that each statement has to read
PG_CFLAGS = -fno-plt

# For tests: make FAULTS=1 builds a library that fails where it is told to
ifdef FAULTS
OBJS += src/faults.o
PG_CPPFLAGS += -include $(srcdir)/src/faults.h
PG_CFLAGS += -Wno-clobbered
endif

# Loadable modules share one name space; PostgreSQL 15 hides none of our names
SHLIB_EXPORTS = src/exports.txt

# The installation script is these files, in this order
EXTENSION = infra_monitor
DATA_built = infra_monitor--1.0.sql
SQL_PARTS = \
	src/schema.sql \
	src/histogram.sql \
	src/activity.sql \
	src/connections.sql \
	src/connection_churn.sql \
	src/connection_times.sql \
	src/limits.sql \
	src/system.sql \
	src/disks.sql \
	src/conditions.sql \
	src/database_checks.sql \
	src/pg_stat_statements.sql \
	src/statements.sql \
	src/locks.sql \
	src/blame.sql \
	src/slow_queries.sql \
	src/slow_log.sql \
	src/repeated.sql \
	src/growth.sql \
	src/textfile.sql \
	src/health.sql \
	src/checks_pool.sql \
	src/checks_queries.sql \
	src/checks_maintenance.sql \
	src/checks_databases.sql \
	src/checks_system.sql \
	src/checks_replication.sql \
	src/checks_storage.sql \
	src/checks_monitoring.sql \
	src/check_scopes.sql \
	src/pool.sql \
	src/trend.sql \
	src/series.sql \
	src/storage.sql \
	src/samples.sql \
	src/history.sql \
	src/gaps.sql \
	src/waits.sql \
	src/concurrency.sql \
	src/rollups.sql \
	src/slo.sql \
	src/advice.sql \
	src/health_events.sql \
	src/pool_history.sql \
	src/pool_chart.sql \
	src/wait_history.sql \
	src/statement_samples.sql \
	src/rollup_merges.sql \
	src/compare.sql \
	src/history_storage.sql \
	src/sampler.sql \
	src/readiness.sql \
	src/dashboard.sql \
	src/changes.sql \
	src/charts.sql \
	src/report.sql \
	src/metrics.sql \
	src/privileges.sql

# A test is a file: nothing to register
top := $(dir $(lastword $(MAKEFILE_LIST)))
DOCS := $(patsubst $(top)%,%,$(wildcard $(top)doc/infra_monitor.md))
REGRESS := $(patsubst $(top)sql/%.sql,%,$(sort $(wildcard $(top)sql/*.sql)))
ISOLATION := $(patsubst $(top)test/isolation/specs/%.spec,%,$(sort $(wildcard $(top)test/isolation/specs/*.spec)))
TAP_TESTS := $(if $(wildcard $(top)test/t/*.pl),1)

# Each suite runs its own server, with one locale everywhere
TEST_SERVER = --temp-config=$(srcdir)/test/infra_monitor.conf --no-locale --encoding=UTF8
REGRESS_OPTS = --temp-instance=./tmp_check $(TEST_SERVER)
ISOLATION_OPTS = --temp-instance=./tmp_check_iso --inputdir=$(srcdir)/test/isolation $(TEST_SERVER)
PROVE_TESTS = test/t/*.pl

# The scripts install PostgreSQL if need be, so these targets go without PGXS.
# PG_CONFIG and KEEP, from the command line or the environment, reach them.
.PHONY: demo lint test
ifneq (,$(filter-out demo lint test,$(or $(MAKECMDGOALS),all)))

PG_CONFIG ?= pg_config
PGXS := $(wildcard $(shell $(PG_CONFIG) --pgxs 2>/dev/null))
# Debian's package of the client has the makefiles, too, but not the headers
ifeq (,$(and $(PGXS),$(wildcard $(shell $(PG_CONFIG) --includedir-server)/postgres.h)))
$(error $(PG_CONFIG) knows no makefiles and headers for extensions: install postgresql-server-dev-15 (Debian, Ubuntu) or postgresql15-devel (Red Hat, SUSE), or set PG_CONFIG)
endif
include $(PGXS)
ifneq (,$(filter 9.% 10 11 12 13 14,$(MAJORVERSION)))
$(error infra_monitor needs PostgreSQL 15 or later, and $(PG_CONFIG) is of version $(VERSION))
endif

# The home database of test/infra_monitor.conf
ISOLATION_TESTDB = $(CONTRIB_TESTDB)

# PGXS resets this variable
PROVE_FLAGS += -I $(srcdir)/test/perl $(EXTRA_PROVE_FLAGS)

$(DATA_built): $(SQL_PARTS) Makefile
	cat $(filter %.sql,$^) >$@

# A build directory elsewhere does not have it yet
ifdef VPATH
$(shell mkdir -p src)
endif

# PGXS installs it without its directory, but removes it with that
uninstall: uninstall-doc
.PHONY: uninstall-doc
uninstall-doc:
	rm -f '$(DESTDIR)$(docdir)/$(docmoduledir)/infra_monitor.md'

# Files for the tools around it: in a directory of ours, beside the extensions',
# as they lie in share/
SHARE := $(sort $(shell cd '$(srcdir)/share' && find * -type f ! -name '.*'))
SHARE_DIRS := $(filter-out ./,$(sort $(dir $(SHARE))))
share_dest = $(DESTDIR)$(datadir)/infra_monitor
install: install-share
uninstall: uninstall-share
.PHONY: install-share uninstall-share
install-share:
	$(MKDIR_P) '$(share_dest)' $(patsubst %,'$(share_dest)/%',$(SHARE_DIRS))
	for file in $(SHARE); do \
		$(INSTALL_DATA) "$(srcdir)/share/$$file" '$(share_dest)'"/$$file" || exit 1; \
	done
uninstall-share:
	rm -f $(patsubst %,'$(share_dest)/%',$(SHARE))
	-rmdir $(patsubst %,'$(share_dest)/%',$(SHARE_DIRS)) '$(share_dest)' 2>/dev/null

# Packaged PostgreSQL does not track headers
$(OBJS) $(OBJS:.o=.bc): $(wildcard $(srcdir)/src/*.h)

endif

demo:
	@bash $(top)test/demo.sh

lint:
	@bash $(top)test/lint.sh

test:
	@bash $(top)test/run.sh
