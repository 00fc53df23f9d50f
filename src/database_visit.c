/*-------------------------------------------------------------------------
 *
 * database_visit.c
 *	  A worker that looks at one database.
 *
 * It connects, asks the catalogs a few questions that need no extension there,
 * each in a subtransaction, and ends, all within VISIT_MS.  It writes nothing,
 * waits for no lock for long, and takes none on user tables but
 * AccessShareLock on one sequence at a time, for as long as it takes to read a
 * page, and only if nobody is in the way.
 *
 * Asked to leave by SIGTERM it ends at once and without a word: somebody wants
 * the database alone, or the server is stopping.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_class.h"
#include "commands/sequence.h"
#include "contained.h"
#include "database_checks.h"
#include "database_visit.h"
#include "executor/spi.h"
#include "foreign_code.h"
#include "home_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/bufmgr.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

#define VISIT_MS 1500
#define LOCK_TIMEOUT "200ms"

/* Somebody wants the database alone, or the server is stopping. */
static volatile sig_atomic_t must_leave = false;

/* We are connected, and what runs may be cancelled. */
static volatile sig_atomic_t connected = false;

/*
 * Each returns one row: value, and a message about its worst case.  They run
 * with search_path pg_catalog only.
 */
static const char *const queries[N_IMON_DATABASE_CHECKS] = {
	/* one that is being built is invalid, too */
	[IMON_INVALID_INDEXES] =
	"SELECT count(*)::float8, 'invalid indexes: ' || count(*) || ', such as '"
	"  || string_agg(name, ', ' ORDER BY name) FILTER (WHERE n <= 3)"
	" FROM (SELECT i.indexrelid::regclass::text AS name,"
	"   row_number() OVER (ORDER BY i.indexrelid::regclass::text) AS n"
	"  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
	"  WHERE NOT i.indisvalid AND c.relkind = 'i' AND NOT EXISTS"
	"   (SELECT FROM pg_stat_progress_create_index p"
	"    WHERE p.datname = current_database() AND p.relid = i.indrelid)) x",

	/* not in SQL */
	[IMON_SEQUENCE_EXHAUSTION] = NULL,

	/*
	 * How often the number of dead rows, or the age, at which autovacuum
	 * should have come is exceeded.  18 has a limit for the former.
	 */
	[IMON_VACUUM_DEBT] =
	"SELECT greatest(dead_debt, age_debt), name || CASE"
	"  WHEN dead_debt >= age_debt THEN ' has ' || dead || ' dead rows, autovacuum should come at ' || round(threshold::numeric)"
	"  ELSE ' is ' || age || ' transactions old, autovacuum should come at ' || max_age END"
	" FROM (SELECT name, dead, threshold, age, max_age,"
	"   CASE WHEN dead >= 10000 THEN dead / threshold ELSE 0 END AS dead_debt,"
	"   age / max_age::float8 AS age_debt"
	"  FROM (SELECT c.oid::regclass::text AS name,"
	"    pg_stat_get_dead_tuples(c.oid) AS dead,"
	"    greatest(1, least(coalesce(o.threshold, current_setting('autovacuum_vacuum_threshold')::float8)"
	"      + coalesce(o.scale, current_setting('autovacuum_vacuum_scale_factor')::float8) * greatest(c.reltuples, 0),"
	"     nullif(coalesce(o.max_threshold, current_setting('autovacuum_vacuum_max_threshold', true)::float8), -1))) AS threshold,"
	"    CASE WHEN c.relfrozenxid <> '0' THEN age(c.relfrozenxid) ELSE 0 END AS age,"
	"    least(coalesce(o.max_age, 2000000000), current_setting('autovacuum_freeze_max_age')::int) AS max_age"
	"   FROM pg_class c, LATERAL (SELECT"
	"     max(option_value) FILTER (WHERE option_name = 'autovacuum_vacuum_threshold')::float8 AS threshold,"
	"     max(option_value) FILTER (WHERE option_name = 'autovacuum_vacuum_scale_factor')::float8 AS scale,"
	"     max(option_value) FILTER (WHERE option_name = 'autovacuum_vacuum_max_threshold')::float8 AS max_threshold,"
	"     max(option_value) FILTER (WHERE option_name = 'autovacuum_freeze_max_age')::float8 AS max_age"
	"    FROM pg_options_to_table(c.reloptions)) o"
	"   WHERE c.relkind IN ('r', 'm', 't') AND c.relpersistence <> 't') t) d"
	" ORDER BY 1 DESC, name LIMIT 1",

	/* the same for changes since ANALYZE */
	[IMON_STALE_STATISTICS] =
	"SELECT mods / threshold, name || ' has ' || mods || ' changed rows since ANALYZE, autovacuum should come at '"
	"  || round(threshold::numeric)"
	" FROM (SELECT c.oid::regclass::text AS name,"
	"   pg_stat_get_mod_since_analyze(c.oid) AS mods,"
	"   greatest(1, coalesce(o.threshold, current_setting('autovacuum_analyze_threshold')::float8)"
	"    + coalesce(o.scale, current_setting('autovacuum_analyze_scale_factor')::float8) * greatest(c.reltuples, 0)) AS threshold"
	"  FROM pg_class c, LATERAL (SELECT"
	"    max(option_value) FILTER (WHERE option_name = 'autovacuum_analyze_threshold')::float8 AS threshold,"
	"    max(option_value) FILTER (WHERE option_name = 'autovacuum_analyze_scale_factor')::float8 AS scale"
	"   FROM pg_options_to_table(c.reloptions)) o"
	"  WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't') t"
	" WHERE mods >= 10000"
	" ORDER BY 1 DESC, name LIMIT 1",
};

/*
 * Sequences that can end, and where: at their limit, or at that of the column
 * which owns them.  Those of other sessions cannot be read, nor unlogged ones
 * during recovery.
 */
static const char *const sequences_query =
	"SELECT s.seqrelid, s.seqincrement > 0, s.seqmin, s.seqmax,"
	" CASE a.atttypid WHEN 'int2'::regtype THEN 32767"
	"  WHEN 'int4'::regtype THEN 2147483647 ELSE s.seqmax END::int8"
	" FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid"
	"  LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass"
	"   AND d.objid = s.seqrelid AND d.objsubid = 0"
	"   AND d.deptype IN ('a', 'i') AND d.refclassid = 'pg_class'::regclass"
	"   AND d.refobjsubid > 0"
	"  LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid"
	"   AND a.attnum = d.refobjsubid"
	" WHERE NOT s.seqcycle AND c.relpersistence <> 't'"
	"  AND NOT (c.relpersistence = 'u' AND pg_is_in_recovery())";

/*
 * Signal handler: whatever runs is cancelled, and nothing begun after it.  While
 * we connect, which is short, a cancel would be an error in the log.
 */
static void
leave_early(SIGNAL_ARGS)
{
	int			save_errno = errno;

	must_leave = true;
	if (connected)
	{
		InterruptPending = true;
		QueryCancelPending = true;
	}
	SetLatch(MyLatch);
	errno = save_errno;
}

/* A setting that neither the server, the database nor the role changes. */
static void
pin_setting(const char *name, const char *value)
{
	SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
}

static void
pin_settings(void)
{
	pin_setting("search_path", "pg_catalog, pg_temp");
	pin_setting("lock_timeout", LOCK_TIMEOUT);
	pin_setting("statement_timeout", "0");	/* we have our own */
	pin_setting("default_transaction_read_only", "on");
	pin_setting("default_transaction_isolation", "read committed");
	pin_setting("default_transaction_deferrable", "off");
	pin_setting("synchronous_commit", "off");
	pin_setting("compute_query_id", "off");
	pin_setting("infra_monitor.track", "none");
	pin_setting("jit", "off");
	pin_setting("max_parallel_workers_per_gather", "0");
	pin_setting("client_min_messages", "error");
	if (GetConfigOption("transaction_timeout", true, false))	/* 17 and later */
		pin_setting("transaction_timeout", "0");
}

/* Column "number" of a row that SPI returned, as a number; NULL is 0. */
static int64
spi_int64(uint64 row, int number)
{
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[row],
									  SPI_tuptable->tupdesc, number, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

/* Asks a question of "queries".  No row means that there is nothing. */
static void
ask(ImonDatabaseCheck check)
{
	double		value = 0;
	char	   *message = NULL;

	if (SPI_execute(queries[check], true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read the catalogs");
	if (SPI_processed == 1)
	{
		bool		isnull;
		Datum		datum = SPI_getbinval(SPI_tuptable->vals[0],
										  SPI_tuptable->tupdesc, 1, &isnull);

		value = isnull ? 0 : DatumGetFloat8(datum);
		message = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2);
	}
	imon_keep_finding(check, value, message ? message : "");
}

/*
 * Reads where a sequence is.  False if it is gone, somebody has locked it, or
 * it has no file here.
 */
static bool
read_sequence(Oid sequence, BufferAccessStrategy strategy, int64 *last)
{
	Relation	rel;
	Buffer		buffer;
	HeapTupleHeader tuple;
	bool		readable;

	if (!ConditionalLockRelationOid(sequence, AccessShareLock))
		return false;
	rel = try_relation_open(sequence, NoLock);
	if (rel == NULL)
	{
		UnlockRelationOid(sequence, AccessShareLock);
		return false;
	}
	readable = rel->rd_rel->relkind == RELKIND_SEQUENCE &&
		!(rel->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED &&
		  RecoveryInProgress());
	if (readable)
	{
		buffer = ReadBufferExtended(rel, MAIN_FORKNUM, 0, RBM_NORMAL, strategy);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		tuple = (HeapTupleHeader) PageGetItem(BufferGetPage(buffer),
											  PageGetItemId(BufferGetPage(buffer),
															FirstOffsetNumber));
		*last = ((Form_pg_sequence_data) ((char *) tuple + tuple->t_hoff))->last_value;
		UnlockReleaseBuffer(buffer);
	}
	relation_close(rel, AccessShareLock);
	return readable;
}

/* Share of its numbers that a sequence has used. */
static double
used_share(int64 last, bool ascending, int64 min, int64 max)
{
	double		room = (double) max - (double) min;

	if (room <= 0)
		return 0;
	return Max(ascending ? (double) last - (double) min :
			   (double) max - (double) last, 0) / room;
}

/* Check: the sequence that is nearest to its end. */
static void
look_at_sequences(void)
{
	BufferAccessStrategy strategy = GetAccessStrategy(BAS_BULKREAD);
	double		worst = 0;
	Oid			worst_sequence = InvalidOid;
	char	   *message = "";

	if (SPI_execute(sequences_query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not list the sequences");
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		bool		isnull;
		Oid			sequence = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[row],
															  SPI_tuptable->tupdesc,
															  1, &isnull));
		bool		ascending = spi_int64(row, 2) != 0;
		int64		max = spi_int64(row, 4);
		int64		last;
		double		used;

		CHECK_FOR_INTERRUPTS();
		if (!read_sequence(sequence, strategy, &last))
			continue;
		used = used_share(last, ascending, spi_int64(row, 3),
						  ascending ? Min(max, spi_int64(row, 5)) : max);
		if (used > worst)
		{
			worst = used;
			worst_sequence = sequence;
		}
	}
	if (OidIsValid(worst_sequence))
	{
		char	   *name = get_rel_name(worst_sequence);
		char	   *schema = get_namespace_name(get_rel_namespace(worst_sequence));

		message = psprintf("sequence %s has used %.1f %% of its numbers, or of those of its column",
						   name && schema ? quote_qualified_identifier(schema, name) : "",
						   100 * worst);
	}
	imon_keep_finding(IMON_SEQUENCE_EXHAUSTION, worst, message);
}

/*
 * Does one check in a subtransaction.  Returns false if there is no time left
 * for others.
 */
static bool
check_contained(ImonDatabaseCheck check)
{
	ImonContained contained;
	volatile bool cancelled = false;

	imon_begin_contained(&contained);
	PG_TRY();
	{
		if (queries[check] != NULL)
			ask(check);
		else
			look_at_sequences();
		imon_end_contained(&contained);
	}
	PG_CATCH();
	{
		ErrorData  *error = imon_catch_contained(&contained);

		cancelled = error->sqlerrcode == ERRCODE_QUERY_CANCELED;
		if (!must_leave)
			imon_keep_visit_error(error->message);
	}
	PG_END_TRY();
	return !cancelled;
}

/* Does all checks in a transaction, for a limited time. */
static void
look_at_database(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, "looks at the catalogs");
	SPI_connect();
	enable_timeout_after(STATEMENT_TIMEOUT, VISIT_MS);

	for (int check = 0; check < N_IMON_DATABASE_CHECKS && !must_leave; check++)
		if (!check_contained(check))
			break;

	/* a cancel that came too late is for nobody */
	disable_timeout(STATEMENT_TIMEOUT, false);
	QueryCancelPending = false;
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(true);
}

void
imon_visitor_main(Datum arg)
{
	Oid			database = DatumGetObjectId(arg);

	pqsignal(SIGTERM, leave_early);
	BackgroundWorkerUnblockSignals();

	/* sent by a sampler that is gone, or wanted no more */
	if (!imon_begin_visit(database))
		proc_exit(0);

	pin_settings();
	imon_refuse_foreign_code();
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	connected = true;
	if (!must_leave)
		look_at_database();
	if (must_leave)
		imon_cut_visit_short();
	proc_exit(0);
}
