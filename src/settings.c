/*-------------------------------------------------------------------------
 *
 * settings.c
 *	  Stores the settings of the server, and their changes.
 *
 * A setting of the whole server changes for the sampler when that reads the
 * configuration, or starts.  Only then, and on each new day, are they compared
 * with what is stored: that of today or, if today has nothing yet, of the last
 * day that has.  So a day is complete by itself, and none depends on older ones.
 *
 * A setting that might be a secret is stored without its value, nor anything
 * made of it.  That it has changed is known from the copies that this process
 * keeps in its own memory, where all settings are anyway; so a change while
 * there is no sampler is only seen if the setting was or is at its default.
 *
 * What is kept here for the next time counts when the transaction commits.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "partitions.h"
#include "samples.h"
#include "settings.h"
#include "storage.h"
#include "texts.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define COLUMNS 10				/* of setting_samples */

/* A setting as it is, and as it was stored last.  Strings may be NULL. */
typedef struct ImonSetting
{
	const char *name;
	const char *value;
	const char *boot_value;
	const char *unit;
	const char *source;			/* "default", also of one that has a source
								 * but the same value */
	bool		pending;
	bool		exists;			/* or else it only did */
	bool		secret;

	bool		known;			/* it was stored */
	const char *old_value;
	const char *old_source;
	bool		old_pending;
} ImonSetting;

/* What the last setting that is stored tells about all. */
typedef struct ImonStored
{
	bool		any;
	bool		today;
	int64		number;			/* of the last writing */
} ImonStored;

typedef struct ImonSecret
{
	char	   *name;
	char	   *value;
} ImonSecret;

/* What is in force is stored, for this day. */
static bool all_stored = false;
static char stored_day[16];

/* Secrets as they are, and as they will be if the transaction commits. */
static MemoryContext secrets_context = NULL;
static List *secrets = NIL;
static MemoryContext next_context = NULL;
static List *next_secrets = NIL;
static char next_day[16];

void
imon_settings_changed(void)
{
	all_stored = false;
}

bool
imon_settings_pending(void)
{
	if (RecoveryInProgress())
		return false;
	return !all_stored ||
		strcmp(stored_day, imon_day_name(GetCurrentTimestamp())) != 0;
}

void
imon_settings_stored(void)
{
	if (next_context == NULL)
		return;
	if (secrets_context)
		MemoryContextDelete(secrets_context);
	secrets_context = next_context;
	secrets = next_secrets;
	next_context = NULL;
	strlcpy(stored_day, next_day, sizeof(stored_day));
	all_stored = true;
}

/* Nothing was stored: forgets what was noted. */
static void
discard_secrets(void)
{
	MemoryContextDelete(next_context);
	next_context = NULL;
}

/* Begins to note what will be kept. */
static void
begin_secrets(TimestampTz at)
{
	if (next_context)
		discard_secrets();
	next_context = AllocSetContextCreate(TopMemoryContext,
										 "infra_monitor settings",
										 ALLOCSET_SMALL_SIZES);
	next_secrets = NIL;
	strlcpy(next_day, imon_day_name(at), sizeof(next_day));
}

static void
note_secret(const ImonSetting *setting)
{
	MemoryContext context = MemoryContextSwitchTo(next_context);
	ImonSecret *secret = palloc(sizeof(ImonSecret));

	secret->name = pstrdup(setting->name);
	secret->value = pstrdup(setting->value ? setting->value : "");
	next_secrets = lappend(next_secrets, secret);
	MemoryContextSwitchTo(context);
}

/* Has a secret another value than when it was last looked at, if it was? */
static bool
secret_differs(const ImonSetting *setting)
{
	ListCell   *cell;

	foreach(cell, secrets)
	{
		ImonSecret *secret = lfirst(cell);

		if (strcmp(secret->name, setting->name) == 0)
			return strcmp(secret->value,
						  setting->value ? setting->value : "") != 0;
	}
	return false;
}

static bool
ends_with(const char *string, const char *end)
{
	size_t		length = strlen(string);

	return length >= strlen(end) &&
		strcmp(string + length - strlen(end), end) == 0;
}

/*
 * Might the value be a secret?  What not everybody may see, commands, and any
 * text of other modules, of which we know nothing.
 */
static bool
is_secret(const char *name, const char *type)
{
	if (GetConfigOptionFlags(name, true) & GUC_SUPERUSER_ONLY)
		return true;
	if (strcmp(type, "string") != 0)
		return false;
	if (strchr(name, '.'))
		return strncmp(name, "infra_monitor.", strlen("infra_monitor.")) != 0;
	return ends_with(name, "_command") || ends_with(name, "_conninfo");
}

static bool
same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool
is_default(const char *source)
{
	return source && strcmp(source, "default") == 0;
}

static bool
value_changed(const ImonSetting *setting)
{
	if (setting->secret)
		return (!setting->known || is_default(setting->old_source)) !=
			is_default(setting->source) || secret_differs(setting);
	return !same(setting->known ? setting->old_value : setting->boot_value,
				 setting->value);
}

/* What has changed, as it stands in setting_samples; NULL: nothing. */
static const char *
change_of(const ImonSetting *setting)
{
	if (value_changed(setting))
		return "value";
	if (setting->pending != (setting->known && setting->old_pending))
		return "pending_restart";
	if (!same(setting->known ? setting->old_source : "default", setting->source))
		return "source";
	return NULL;
}

/* Compares what there is with what is stored.  Needs SPI to be connected. */
static void
read_settings(TimestampTz at)
{
	/*
	 * Of a setting that the sampler has a value of its own for, the server's
	 * is what RESET would give.
	 */
	static const char *const query =
		"WITH base AS MATERIALIZED ("
		" SELECT CASE WHEN EXISTS (SELECT FROM infra_monitor.setting_samples s"
		"   WHERE s.sampled_at OPERATOR(pg_catalog.>=) $1"
		"    AND s.sampled_at OPERATOR(pg_catalog.<) $2) THEN $1"
		"  ELSE (SELECT pg_catalog.date_bin('24 hours', max(s.sampled_at), $1)"
		"   FROM infra_monitor.setting_samples s"
		"   WHERE s.sampled_at OPERATOR(pg_catalog.<) $1) END AS day"
		"), stored AS MATERIALIZED ("
		" SELECT DISTINCT ON (s.name) s.* FROM infra_monitor.setting_samples s"
		" WHERE s.sampled_at OPERATOR(pg_catalog.>=) (SELECT b.day FROM base b)"
		"  AND s.sampled_at OPERATOR(pg_catalog.<)"
		"   ((SELECT b.day FROM base b) OPERATOR(pg_catalog.+)"
		"    '24 hours'::pg_catalog.interval)"
		" ORDER BY s.name, s.number DESC"
		"), settings AS ("
		" SELECT p.name, p.reset_val, p.boot_val, p.unit, p.vartype, p.pending_restart,"
		"  CASE WHEN p.reset_val IS NOT DISTINCT FROM p.boot_val THEN 'default'"
		"   WHEN p.source OPERATOR(pg_catalog.<>) 'session' THEN p.source END AS source"
		" FROM pg_catalog.pg_settings p"
		" WHERE (p.context OPERATOR(pg_catalog.<>) 'internal'"
		"   OR p.name OPERATOR(pg_catalog.=) 'data_checksums')"
		/* these are of the session or the transaction */
		"  AND p.name OPERATOR(pg_catalog.<>) ALL ('{application_name,"
		"client_encoding,transaction_deferrable,transaction_isolation,"
		"transaction_read_only}')"
		")"
		" SELECT coalesce(f.name, t.name), f.reset_val, f.boot_val,"
		"  coalesce(f.unit, t.unit), f.vartype, f.source, f.pending_restart::pg_catalog.int4,"
		"  (t.name IS NOT NULL)::pg_catalog.int4, t.setting, t.source, t.pending_restart::pg_catalog.int4,"
		"  (SELECT b.day OPERATOR(pg_catalog.=) $1 FROM base b)::pg_catalog.int4,"
		"  (SELECT max(x.number) FROM stored x)"
		" FROM settings f FULL JOIN stored t ON t.name OPERATOR(pg_catalog.=) f.name"
		" WHERE f.source IS DISTINCT FROM 'default' OR f.pending_restart"
		"  OR t.name IS NOT NULL";
	TimestampTz day = at - ((at % USECS_PER_DAY) + USECS_PER_DAY) % USECS_PER_DAY;
	Oid			types[2] = {TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum		values[2];

	values[0] = TimestampTzGetDatum(day);
	values[1] = TimestampTzGetDatum(day + USECS_PER_DAY);
	if (SPI_execute_with_args(query, 2, types, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the settings");
}

/* A row of read_settings(). */
static void
read_row(uint64 row, ImonSetting *setting, ImonStored *stored)
{
	SPITupleTable *rows = SPI_tuptable;
	const char *columns[13];
	int			i = 0;

	for (int column = 0; column < lengthof(columns); column++)
		columns[column] = SPI_getvalue(rows->vals[row], rows->tupdesc, column + 1);
	setting->name = columns[i++];
	setting->value = columns[i] ? imon_valid_text(columns[i]) : NULL;
	i++;
	setting->boot_value = columns[i++];
	setting->unit = columns[i++];
	setting->exists = columns[i] != NULL;
	setting->secret = setting->exists && is_secret(setting->name, columns[i]);
	i++;
	setting->source = columns[i++];
	setting->pending = same(columns[i++], "1");
	setting->known = same(columns[i++], "1");
	setting->old_value = columns[i++];
	setting->old_source = columns[i++];
	setting->old_pending = same(columns[i++], "1");
	stored->today = same(columns[i++], "1");
	stored->any = columns[i] != NULL;
	stored->number = stored->any ? pg_strtoint64(columns[i]) : 0;
}

/* The command that inserts a row.  Needs SPI to be connected. */
static SPIPlanPtr
prepare_insert(void)
{
	Oid			types[COLUMNS] = {
		TIMESTAMPTZOID, INT8OID, INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,
		BOOLOID, TEXTOID, TEXTOID
	};
	SPIPlanPtr	plan = SPI_prepare("INSERT INTO infra_monitor.setting_samples"
								   " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
								   COLUMNS, types);

	if (plan == NULL)
		elog(ERROR, "could not prepare to insert settings");
	return plan;
}

/* Is this a setting that each day has? */
static bool
belongs_to_day(const ImonSetting *setting)
{
	return setting->exists &&
		(!is_default(setting->source) || setting->pending);
}

/* Puts a string into the row that is inserted. */
static void
put_string(Datum *values, char *nulls, int column, const char *string)
{
	nulls[column] = string ? ' ' : 'n';
	values[column] = string ? imon_text_datum(string) : (Datum) 0;
}

static void
insert_setting(SPIPlanPtr plan, TimestampTz at, int64 epoch, int64 number,
			   const ImonSetting *setting, const char *change)
{
	bool		value_has_changed = same(change, "value");
	Datum		values[COLUMNS];
	char		nulls[COLUMNS];
	int			i = 0;

	memset(nulls, ' ', sizeof(nulls));
	values[i++] = TimestampTzGetDatum(at);
	values[i++] = Int64GetDatum(epoch);
	values[i++] = Int64GetDatum(number);
	put_string(values, nulls, i++, setting->name);
	put_string(values, nulls, i++, setting->secret ? NULL : setting->value);
	put_string(values, nulls, i++, setting->unit);
	put_string(values, nulls, i++, setting->source);
	values[i++] = BoolGetDatum(setting->pending);
	put_string(values, nulls, i++, change);
	put_string(values, nulls, i++, setting->secret || !value_has_changed ? NULL :
			   setting->known ? setting->old_value : setting->boot_value);
	Assert(i == COLUMNS);
	if (SPI_execute_plan(plan, values, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not insert a setting");
}

/* Writes what has to be written.  Needs SPI to be connected. */
static void
write_settings(TimestampTz at)
{
	int64		epoch = imon_current_epoch();
	SPIPlanPtr	plan = prepare_insert();
	SPITupleTable *rows;
	uint64		n;

	read_settings(at);
	rows = SPI_tuptable;
	n = SPI_processed;
	for (uint64 row = 0; row < n; row++)
	{
		ImonSetting setting;
		ImonStored	stored;
		const char *change;

		SPI_tuptable = rows;
		read_row(row, &setting, &stored);
		change = stored.any ? change_of(&setting) : NULL;
		if (setting.secret)
			note_secret(&setting);
		if (change || (!stored.today && belongs_to_day(&setting)))
			insert_setting(plan, at, epoch, stored.number + 1, &setting, change);
	}
}

void
imon_store_settings(void)
{
	ImonIdentity identity;
	TimestampTz at;
	bool		room;

	imon_begin_writing(&identity, "setting_samples");
	at = GetCurrentTimestamp();
	begin_secrets(at);
	SPI_connect();
	imon_ensure_partition("setting_samples", at);
	room = imon_room_to_write(IMON_WRITES_SAMPLES, "setting_samples", at) > 0;
	if (room)
	{
		write_settings(at);
		imon_note_written("setting_samples", at);
	}
	SPI_finish();
	imon_end_writing(&identity);
	if (!room)
		discard_secrets();
}
