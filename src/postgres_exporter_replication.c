/*-------------------------------------------------------------------------
 *
 * postgres_exporter_replication.c
 *	  The dialect "postgres_exporter" of metrics: WAL, standbys, slots.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "compat.h"
#include "miscadmin.h"
#include "postgres_exporter.h"
#include "replication/slot.h"
#include "replication/walreceiver.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "storage/lwlock.h"
#include "storage/spin.h"
#include "texts.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

/* A replication slot. */
typedef struct ImonExportedSlot
{
	NameData	name;
	Oid			database;		/* InvalidOid: it is physical */
	XLogRecPtr	restart;		/* invalid: it retains no WAL */
	XLogRecPtr	confirmed;
	int			pid;			/* 0: not in use */
	bool		active;
} ImonExportedSlot;

/* How far WAL goes: written, or on a standby received. */
static XLogRecPtr
wal_position(void)
{
	return RecoveryInProgress() ? GetWalRcvFlushRecPtr(NULL, NULL) : GetXLogWriteRecPtr();
}

/* How far a position is behind; NaN: not known. */
static double
behind(XLogRecPtr position, XLogRecPtr then)
{
	return position == InvalidXLogRecPtr || then == InvalidXLogRecPtr ? NAN :
		(double) position - (double) then;
}

static void
export_recovery(ImonExposition *exposition)
{
	bool		is_replica = RecoveryInProgress();
	TimestampTz at = GetLatestXTime();
	double		age = at == 0 ? NAN :
		(double) Max(GetCurrentTimestamp() - at, 0) / USECS_PER_SEC;
	double		lag = !is_replica ||
		GetWalRcvFlushRecPtr(NULL, NULL) == GetXLogReplayRecPtr(NULL) ? 0 : age;
	static const char *const help =
		"Age of the last replayed transaction while received WAL waits, else 0.";

	imon_family(exposition, "replication_lag_seconds", IMON_GAUGE, help);
	imon_put_number(exposition, NULL, lag);
	imon_family(exposition, "replication_lag", IMON_GAUGE, help);
	imon_put_number(exposition, NULL, lag);
	imon_family(exposition, "replication_is_replica", IMON_GAUGE,
				"Is the server a standby, or still recovering? 1 or 0.");
	imon_put_number(exposition, NULL, is_replica);
	imon_family(exposition, "replication_last_replay_seconds", IMON_GAUGE,
				"Age of the last replayed transaction; absent if there is none.");
	imon_put_number(exposition, NULL, age);
}

/* Copies the first replication slots; returns how many. */
static int
collect_slots(ImonExportedSlot *slots)
{
	int			n = 0;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < max_replication_slots && n < IMON_EXPORTER_GROUPS; i++)
	{
		ReplicationSlot *slot = &ReplicationSlotCtl->replication_slots[i];

		if (!slot->in_use)
			continue;
		SpinLockAcquire(&slot->mutex);
		slots[n].name = slot->data.name;
		slots[n].database = slot->data.database;
		slots[n].restart = slot->data.restart_lsn;
		slots[n].confirmed = slot->data.confirmed_flush;
		slots[n].active = imon_slot_is_active(slot);
		slots[n].pid = imon_slot_pid(slot);
		SpinLockRelease(&slot->mutex);
		n++;
	}
	LWLockRelease(ReplicationSlotControlLock);
	return n;
}

/* Labels of a slot: with its database, or with its type. */
static ImonLabels
slot_labels(const ImonExportedSlot *slot, bool with_type)
{
	ImonLabels	labels = imon_label("slot_name", NameStr(slot->name));

	if (with_type)
		imon_add_label(&labels, "slot_type",
					   OidIsValid(slot->database) ? "logical" : "physical");
	else
		imon_add_label(&labels, "database", imon_database_label(slot->database));
	return labels;
}

/* What is told of a slot. */
typedef enum ImonSlotFact
{
	SLOT_ACTIVE,
	SLOT_BEHIND,
	SLOT_CURRENT,
	SLOT_CONFIRMED
} ImonSlotFact;

/* One family of slots. */
static void
export_slot_fact(ImonExposition *exposition, const ImonExportedSlot *slots,
				 int n, const char *name, ImonSlotFact fact, bool with_type,
				 const char *help)
{
	XLogRecPtr	position = wal_position();

	imon_family(exposition, name, IMON_GAUGE, help);
	for (int i = 0; i < n; i++)
	{
		ImonLabels	labels = slot_labels(&slots[i], with_type);
		double		value = NAN;

		switch (fact)
		{
			case SLOT_ACTIVE:
				value = slots[i].active;
				break;
			case SLOT_BEHIND:
				value = behind(position, slots[i].restart);
				break;
			case SLOT_CURRENT:
				value = (double) position;
				break;
			case SLOT_CONFIRMED:
				value = (double) slots[i].confirmed;
				break;
		}
		imon_put_number(exposition, &labels, value);
	}
}

static void
export_slots(ImonExposition *exposition, const ImonExportedSlot *slots, int n)
{
	export_slot_fact(exposition, slots, n, "replication_slots_active", SLOT_ACTIVE,
					 false, "Is the replication slot in use? 1 or 0.");
	export_slot_fact(exposition, slots, n, "replication_slots_pg_wal_lsn_diff", SLOT_BEHIND,
					 false, "WAL kept for the replication slot, in bytes.");
	export_slot_fact(exposition, slots, n, "replication_slots_slot_is_active", SLOT_ACTIVE,
					 true, "Is the replication slot in use? 1 or 0.");
	export_slot_fact(exposition, slots, n, "replication_slots_slot_current_wal_lsn", SLOT_CURRENT,
					 true, "Position of WAL: written, or on a standby received.");
	export_slot_fact(exposition, slots, n, "replication_slots_slot_confirmed_flush_lsn", SLOT_CONFIRMED,
					 true, "Position up to which a logical consumer has confirmed; 0 for none.");
}

/* A process that sends WAL. */
typedef struct ImonExportedSender
{
	ImonLabels	labels;
	double		behind;			/* NaN = it replays none */
} ImonExportedSender;

static const char *
sender_state(WalSndState state)
{
	switch (state)
	{
		case WALSNDSTATE_STARTUP:
			return "startup";
		case WALSNDSTATE_BACKUP:
			return "backup";
		case WALSNDSTATE_CATCHUP:
			return "catchup";
		case WALSNDSTATE_STREAMING:
			return "streaming";
		case WALSNDSTATE_STOPPING:
			return "stopping";
	}
	return "unknown";
}

/* The name of the slot that a process uses; empty if it uses none. */
static const char *
slot_of(const ImonExportedSlot *slots, int n, int pid)
{
	for (int i = 0; i < n; i++)
		if (slots[i].pid == pid)
			return NameStr(slots[i].name);
	return "";
}

static const char *
client_address(const ImonSession *session)
{
	bool		isnull;
	Datum		datum = imon_client_addr_datum(&session->status->st_clientaddr, &isnull);

	return isnull ? "" : TextDatumGetCString(DirectFunctionCall1(network_show, datum));
}

/* Collects the processes that send WAL; returns how many. */
static int
collect_senders(ImonExposition *exposition, const ImonExportedSlot *slots,
				int n_slots, ImonExportedSender *senders)
{
	XLogRecPtr	position = wal_position();
	int			n = 0;

	for (int i = 0; i < max_wal_senders && n < IMON_EXPORTER_GROUPS; i++)
	{
		WalSnd	   *walsender = &WalSndCtl->walsnds[i];
		const ImonSession *session;
		WalSndState state;
		XLogRecPtr	replayed;
		ImonLabels	labels;
		int			pid;

		SpinLockAcquire(&walsender->mutex);
		pid = walsender->pid;
		state = walsender->state;
		replayed = walsender->apply;
		SpinLockRelease(&walsender->mutex);
		session = pid == 0 ? NULL :
			imon_find_session(imon_exposed_sessions(exposition), pid);
		if (session == NULL)
			continue;
		labels = imon_label("application_name",
							imon_text_label(session->status->st_appname));
		imon_add_label(&labels, "client_addr", client_address(session));
		imon_add_label(&labels, "state", sender_state(state));
		imon_add_label(&labels, "slot_name", slot_of(slots, n_slots, pid));
		imon_add_label(&labels, "pid", psprintf("%d", pid));
		senders[n].labels = labels;
		senders[n++].behind = behind(position, replayed);
	}
	return n;
}

static void
export_senders(ImonExposition *exposition, const ImonExportedSlot *slots,
			   int n_slots)
{
	ImonExportedSender *senders = palloc(sizeof(ImonExportedSender) * IMON_EXPORTER_GROUPS);
	int			n = collect_senders(exposition, slots, n_slots, senders);

	imon_family(exposition, "stat_replication_pg_current_wal_lsn_bytes", IMON_GAUGE,
				"Position of WAL: written, or on a standby received.");
	for (int i = 0; i < n; i++)
		imon_put_number(exposition, &senders[i].labels, (double) wal_position());
	imon_family(exposition, "stat_replication_pg_wal_lsn_diff", IMON_GAUGE,
				"WAL that a standby has not replayed, in bytes.");
	for (int i = 0; i < n; i++)
		imon_put_number(exposition, &senders[i].labels, senders[i].behind);
}

void
imon_export_replication(ImonExposition *exposition)
{
	ImonExportedSlot *slots = palloc(sizeof(ImonExportedSlot) * IMON_EXPORTER_GROUPS);
	int			n = collect_slots(slots);

	export_recovery(exposition);
	export_slots(exposition, slots, n);
	if (imon_sees_all(exposition))
		export_senders(exposition, slots, n);
}
