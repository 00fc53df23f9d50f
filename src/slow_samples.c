/*-------------------------------------------------------------------------
 *
 * slow_samples.c
 *	  Stores single executions over infra_monitor.slow_query_threshold.
 *
 * The sampler takes executions over from the ring of slow_log.c, one after the
 * other, and inserts a row for each.  When its transaction commits they are
 * stored, and remain in the ring for those whose snapshot does not have the
 * rows.  When it aborts, in whatever way, it returns them; what has gone from
 * the ring by then is lost, and counted there.
 *
 * Which executions were taken over stands in the ring itself, in shared memory,
 * so that the next sampler goes on where this one ends.  An execution that is
 * still being written is left for the next time, wherever it stands.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "guc.h"
#include "miscadmin.h"
#include "partitions.h"
#include "slow_log.h"
#include "slow_samples.h"
#include "storage.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* At most so many rows, and bytes of queries, in one step. */
#define MAX_ROWS 1024
#define MAX_BYTES (8 * 1024 * 1024)

/* What a row takes at most: the texts, and names, numbers and waits. */
#define MAX_ROW_BYTES (imon_slow_query_text_size * 5 / 4 + 2048)

#define TABLE_COLUMNS (1 + IMON_SLOW_LOG_COLUMNS)

/* What this transaction has taken over, until it ends. */
static uint64 taken[MAX_ROWS];
static int	n_taken = 0;
static uint64 looked_through;	/* slots before this */

/* Types of the columns: sampled_at, then those of slow_query_log(). */
static const Oid column_types[] = {
	TIMESTAMPTZOID,
	TIMESTAMPTZOID, FLOAT8OID, TEXTOID, TEXTOID, INT4OID, NAMEOID, NAMEOID,
	TEXTOID, INETOID, INT8OID, BOOLOID, INT8OID, INT8OID, INT8OID, INT8OID,
	INT8OID, JSONBOID, INT4OID, TEXTOID, TEXTOID, FLOAT8OID, OIDOID, OIDOID,
	TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID
};

StaticAssertDecl(lengthof(column_types) == TABLE_COLUMNS,
				 "each column needs a type");

/* What was taken over is not stored: returns it. */
static void
return_all(void)
{
	while (n_taken > 0)
		imon_return_slow_query(taken[--n_taken]);
}

/* Transaction callback: what was taken over is stored, or it is returned. */
static void
storing_ends(XactEvent event, void *arg)
{
	if (likely(n_taken == 0))
		return;
	if (event == XACT_EVENT_ABORT)
		return_all();
	if (event != XACT_EVENT_COMMIT)
		return;
	n_taken = 0;
	imon_slow_log_looked_through(looked_through);
}

/* Subtransaction callback: the same; nothing else follows in its transaction. */
static void
storing_rolled_back(SubXactEvent event, SubTransactionId mySubid,
					SubTransactionId parentSubid, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		return_all();
}

/* Asks to be told how the transaction ends. */
static void
await_end(void)
{
	static bool registered = false;

	if (registered)
		return;
	RegisterXactCallback(storing_ends, NULL);
	RegisterSubXactCallback(storing_rolled_back, NULL);
	registered = true;
}

/* The command that inserts one row.  Needs SPI to be connected. */
static SPIPlanPtr
prepare_insert(void)
{
	static const char *const command =
		"INSERT INTO infra_monitor.slow_query_samples VALUES"
		" ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15,"
		" $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27)";
	Oid			types[TABLE_COLUMNS];
	SPIPlanPtr	plan;

	memcpy(types, column_types, sizeof(types));
	plan = SPI_prepare(command, lengthof(types), types);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	return plan;
}

/*
 * Takes over one execution and inserts its row; nothing if it has gone.  Leaves
 * memory behind.
 */
static void
store_one(SPIPlanPtr insert, TimestampTz at, uint64 number)
{
	Datum		values[TABLE_COLUMNS];
	bool		nulls[TABLE_COLUMNS];
	char		null_marks[TABLE_COLUMNS];

	if (!imon_take_slow_query(number, values + 1, nulls + 1))
		return;
	taken[n_taken++] = number;

	values[0] = TimestampTzGetDatum(at);
	nulls[0] = false;
	for (int i = 0; i < TABLE_COLUMNS; i++)
		null_marks[i] = nulls[i] ? 'n' : ' ';
	if (SPI_execute_plan(insert, values, null_marks, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not insert a slow query");
}

/*
 * Stores the executions from *slot until before "end", of one step; *slot is
 * then where the next one begins.  Needs SPI to be connected.
 */
static void
store_range(TimestampTz at, uint64 *slot, uint64 end, int64 room)
{
	uint64		number;
	int			max_rows = Min(MAX_ROWS, MAX_BYTES / imon_slow_query_text_size);
	SPIPlanPtr	insert = prepare_insert();
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "infra_monitor slow query",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);

	max_rows = Min(max_rows, 1 + room / MAX_ROW_BYTES);
	for (; n_taken < max_rows && imon_next_slow_query(slot, end, &number); (*slot)++)
	{
		CHECK_FOR_INTERRUPTS();
		store_one(insert, at, number);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
}

bool
imon_store_slow_queries(void)
{
	ImonIdentity identity;
	TimestampTz at;
	uint64		slot;
	uint64		end;
	uint64		number;
	int64		room;

	imon_slow_log_range(&slot, &end);
	if (!imon_next_slow_query(&slot, end, &number))
	{
		imon_slow_log_looked_through(end);
		return true;
	}

	await_end();
	imon_begin_writing(&identity, "slow_query_samples");
	at = GetCurrentTimestamp();
	SPI_connect();
	imon_ensure_partition("slow_query_samples", at);
	room = imon_room_to_write(IMON_WRITES_DETAIL, "slow_query_samples", at);
	if (room > 0)
	{
		store_range(at, &slot, end, room);
		imon_note_written("slow_query_samples", at);
	}
	SPI_finish();
	imon_end_writing(&identity);
	if (room == 0)
		return true;			/* what is in memory waits */
	looked_through = slot;
	return !imon_next_slow_query(&slot, end, &number);
}
