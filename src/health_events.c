/*-------------------------------------------------------------------------
 *
 * health_events.c
 *	  Stores changes of health, tells them to listeners, and remembers them
 *	  across a restart.
 *
 * health_events is history, with retention; health_state has one row for each
 * check, its present status, which is what a start begins with.  Both are
 * written in the same transaction, so they never disagree.  Listeners are told
 * in a later one: a full queue of notifications fails at commit, and must not
 * take the rows along.
 *
 * What has been written or told counts when its transaction commits, see
 * check_states.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "executor/spi.h"
#include "health_events.h"
#include "miscadmin.h"
#include "partitions.h"
#include "rows.h"
#include "storage.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/float.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#define CHANNEL "infra_monitor"

/* What this transaction has done, until it ends. */
static void (*pending) (uint64 number) = NULL;
static uint64 pending_number;

/* Transaction callback: it was done, or never was. */
static void
transaction_ends(XactEvent event, void *arg)
{
	void		(*done) (uint64 number) = pending;

	if (likely(done == NULL))
		return;
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT)
		pending = NULL;
	if (event == XACT_EVENT_COMMIT)
		done(pending_number);
}

/* Subtransaction callback: the same; nothing else follows in its transaction. */
static void
subtransaction_ends(SubXactEvent event, SubTransactionId mySubid,
					SubTransactionId parentSubid, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		pending = NULL;
}

/* Has "done" called with the number once the transaction commits. */
static void
expect_commit(void (*done) (uint64 number), uint64 number)
{
	static bool registered = false;

	if (!registered)
	{
		RegisterXactCallback(transaction_ends, NULL);
		RegisterSubXactCallback(subtransaction_ends, NULL);
		registered = true;
	}
	pending = done;
	pending_number = number;
}

/* Where states are stored here and now. */
static ImonOrigin
current_origin(void)
{
	ImonOrigin	origin = {MyDatabaseId, InvalidOid};

	if (!RecoveryInProgress())
		origin.table = get_relname_relid("health_state",
										 get_namespace_oid("infra_monitor", false));
	return origin;
}

/* Begins with the states that were stored.  Needs SPI to be connected. */
static void
seed_states(ImonEvaluation *evaluation)
{
	static const char *const query =
		"SELECT s.check_name, s.status, s.since, s.changed_at"
		" FROM infra_monitor.health_state s";

	if (SPI_execute(query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the stored states of the health checks");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	tupdesc = SPI_tuptable->tupdesc;
		bool		isnull;
		TimestampTz since =
			DatumGetTimestampTz(SPI_getbinval(row, tupdesc, 3, &isnull));
		TimestampTz changed_at =
			DatumGetTimestampTz(SPI_getbinval(row, tupdesc, 4, &isnull));

		imon_seed_state(evaluation, SPI_getvalue(row, tupdesc, 1),
						imon_status_named(SPI_getvalue(row, tupdesc, 2)),
						since, changed_at);
	}
}

ImonEvaluation *
imon_begin_health_evaluation(void)
{
	ImonOrigin	origin = current_origin();
	bool		known;
	ImonEvaluation *evaluation = imon_begin_evaluation(origin, &known);

	if (!known && OidIsValid(origin.table))
	{
		SPI_connect();
		seed_states(evaluation);
		SPI_finish();
	}
	return evaluation;
}

/* Inserts an event.  Needs SPI to be connected. */
static void
insert_event(const ImonHealthEvent *event)
{
	static const char *const query =
		"INSERT INTO infra_monitor.health_events (at, check_name, old_status,"
		" new_status, value, message, since, old_since)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
	Oid			types[8] = {TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID,
	FLOAT8OID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum		values[8];
	bool		unknown[8] = {false};
	char		nulls[8];
	const char *name = event->check_name;
	int			i = 0;

	values[i++] = TimestampTzGetDatum(event->at);
	values[i++] = CStringGetTextDatum(name);
	values[i] = imon_string_datum(event->first ? NULL :
								  imon_status_name(name, event->old_status),
								  &unknown[i]);
	i++;
	values[i++] = CStringGetTextDatum(imon_status_name(name, event->new_status));
	values[i] = imon_number_datum(event->value, &unknown[i]);
	i++;
	values[i] = imon_string_datum(event->message[0] ? event->message : NULL,
								  &unknown[i]);
	i++;
	values[i++] = TimestampTzGetDatum(event->since);
	values[i] = imon_moment_datum(event->old_since, &unknown[i]);
	i++;
	Assert(i == lengthof(values));
	while (i-- > 0)
		nulls[i] = unknown[i] ? 'n' : ' ';

	imon_ensure_partition("health_events", event->at);
	if (SPI_execute_with_args(query, lengthof(values), types, values, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not insert a health event");
}

/* Stores a state.  Needs SPI to be connected. */
static void
store_state(const ImonCheckState *state)
{
	static const char *const query =
		"INSERT INTO infra_monitor.health_state AS s"
		" (check_name, status, since, changed_at) VALUES ($1, $2, $3, $4)"
		" ON CONFLICT (check_name) DO UPDATE SET status = EXCLUDED.status,"
		" since = EXCLUDED.since, changed_at = EXCLUDED.changed_at";
	Oid			types[4] = {TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum		values[4];

	values[0] = CStringGetTextDatum(state->name);
	values[1] = CStringGetTextDatum(imon_status_name(state->name, state->status));
	values[2] = TimestampTzGetDatum(state->since);
	values[3] = TimestampTzGetDatum(state->changed_at);
	if (SPI_execute_with_args(query, lengthof(values), types, values, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not store the state of a health check");
}

void
imon_store_health_events(void)
{
	ImonIdentity caller;
	ImonIdentity owner;
	uint64		number;
	List	   *events;
	ListCell   *cell;
	TimestampTz now;
	bool		room;

	if (!imon_states_are_of(current_origin()))
		return;					/* until the next evaluation */
	imon_begin_writing(&caller, "health_events");
	imon_begin_writing(&owner, "health_state");
	now = GetCurrentTimestamp();
	SPI_connect();
	imon_ensure_partition("health_events", now);
	room = imon_room_to_write(IMON_WRITES_EVENTS, "health_events", now) > 0;
	events = room ? imon_events_to_store(&number) : NIL;
	foreach(cell, events)
		insert_event(lfirst(cell));
	foreach(cell, room ? imon_states_to_store() : NIL)
		store_state(lfirst(cell));
	imon_note_written("health_events", now);
	SPI_finish();
	imon_end_writing(&owner);
	imon_end_writing(&caller);
	if (room)
		expect_commit(imon_events_stored, number);
}

/*
 * What listeners are told.  Every role of the database can listen, so there is
 * no message in it, which may name roles and databases.
 */
static char *
payload_of(const ImonHealthEvent *event)
{
	const char *name = event->check_name;
	char		at[MAXDATELEN + 1];
	StringInfoData json;

	JsonEncodeDateTime(at, TimestampTzGetDatum(event->at), TIMESTAMPTZOID, NULL);
	initStringInfo(&json);
	appendStringInfo(&json, "{\"at\": \"%s\", \"check\": ", at);
	escape_json(&json, name);
	appendStringInfoString(&json, ", \"old\": ");
	if (event->first)
		appendStringInfoString(&json, "null");
	else
		escape_json(&json, imon_status_name(name, event->old_status));
	appendStringInfoString(&json, ", \"new\": ");
	escape_json(&json, imon_status_name(name, event->new_status));
	if (isnan(event->value) || isinf(event->value))
		appendStringInfoString(&json, ", \"value\": null}");
	else
		appendStringInfo(&json, ", \"value\": %s}", float8out_internal(event->value));
	return json.data;
}

void
imon_notify_health_events(void)
{
	uint64		number;
	ListCell   *cell;

	foreach(cell, imon_events_to_notify(&number))
		Async_Notify(CHANNEL, payload_of(lfirst(cell)));
	expect_commit(imon_events_notified, number);
}

bool
imon_health_events_pending(void)
{
	return !RecoveryInProgress() && imon_any_to_store();
}

bool
imon_notifications_pending(void)
{
	return !RecoveryInProgress() && imon_any_to_notify();
}
