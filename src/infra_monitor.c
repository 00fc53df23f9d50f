/*-------------------------------------------------------------------------
 *
 * infra_monitor.c
 *	  Entry point of the library.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "baseline.h"
#include "blame.h"
#include "check_states.h"
#include "compat.h"
#include "concurrency.h"
#include "conditions.h"
#include "connections.h"
#include "database_checks.h"
#include "disks.h"
#include "executions.h"
#include "fmgr.h"
#include "growth.h"
#include "guc.h"
#include "health.h"
#include "home_database.h"
#include "metrics.h"
#include "miscadmin.h"
#include "partitions.h"
#include "postgres_exporter.h"
#include "readiness.h"
#include "repeated.h"
#include "sampler.h"
#include "samples.h"
#include "series.h"
#include "shmem.h"
#include "slow_log.h"
#include "statement_metrics.h"
#include "statement_samples.h"
#include "statements.h"
#include "storage.h"
#include "system.h"
#include "textfile.h"
#include "transactions.h"
#include "waits.h"

IMON_MODULE_MAGIC;

void		_PG_init(void);

/*
 * Sets everything up when the library is preloaded.  Loaded later, by a call
 * of one of its functions, it stays silent: those functions say for themselves
 * what is missing.  Nothing at all happens during a binary upgrade, in which
 * no worker may write.
 */
void
_PG_init(void)
{
	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;

	imon_guc_init();
	imon_connections_init();
	imon_system_init();
	imon_statements_init();
	imon_baseline_init();
	imon_statement_samples_init();
	imon_slow_log_init();
	imon_repeated_init();
	imon_executions_init();
	imon_growth_init();
	imon_health_init();
	imon_check_states_init();
	imon_readiness_init();
	imon_conditions_init();
	imon_disks_init();
	imon_partitions_init();
	imon_storage_init();
	imon_samples_init();
	imon_blame_init();
	imon_series_init();
	imon_waits_init();
	imon_concurrency_init();
	imon_home_database_init();
	imon_database_checks_init();
	imon_metrics_init();
	imon_statement_metrics_init();
	imon_postgres_exporter_init();
	imon_textfile_init();
	imon_sampler_init();
	imon_transactions_init();
	imon_shmem_init();
}
