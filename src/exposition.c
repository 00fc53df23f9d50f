/*-------------------------------------------------------------------------
 *
 * exposition.c
 *	  Metrics, as the text that Prometheus reads or as rows.
 *
 * The text is of the exposition format 0.0.4.  No lock is held while it is
 * made: who exposes something copies it first.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "common/shortest_dec.h"
#include "exposition.h"
#include "histogram.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "privileges.h"
#include "rows.h"
#include "shmem.h"
#include "texts.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/syscache.h"

#define MAX_EXPOSERS 16
#define METRIC_COLUMNS 5
#define NS_IN_S 1e9
#define MAX_BOUNDS 16			/* of buckets, in an exposition */

/*
 * Much more than the text takes, and what is not written takes no memory.  It is
 * for glibc's malloc(), which keeps for later what is freed below the double of
 * the largest piece that it ever gave back.  Otherwise all that an exposition
 * allocates is returned to the system, to come back page by page, which costs
 * as much as all the rest.
 */
#define TEXT_ROOM (2 * 1024 * 1024)

/* Bounds as they are exposed: most histograms have the same as the one before. */
typedef struct ImonLes
{
	const uint64 *bounds;
	int			n;
	int			behind[MAX_BOUNDS]; /* the first bucket beyond the bound */
	char		texts[MAX_BOUNDS][DOUBLE_SHORTEST_DECIMAL_LEN];
} ImonLes;

struct ImonExposition
{
	ImonDialect dialect;
	bool		has_names;
	bool		sees_all;
	ImonSessions *sessions;		/* NULL = not looked at yet */

	/* the family */
	const char *name;
	ImonMetricType type;
	const char *help;
	bool		begun;			/* it has samples */
	uint64		samples;		/* of all families */

	/* one of these two is for the result */
	ReturnSetInfo *rows;		/* NULL: as text */
	StringInfoData text;
	StringInfoData labels;		/* of a sample, see labels_text() */
	ImonLes		les;			/* of the histogram before */
};

static const char *const type_names[] = {
	"counter", "gauge", "histogram", "untyped"
};

/* What is known as metrics_text(dialect), and how all names begin there. */
static const struct
{
	const char *name;
	const char *prefix;
}			dialects[] = {
	[IMON_OWN_DIALECT] = {"infra_monitor", "infra_monitor_"},
	[IMON_POSTGRES_EXPORTER] = {"postgres_exporter", "pg_"}
};

static struct
{
	ImonDialect dialect;
	ImonExpose	expose;
}			exposers[MAX_EXPOSERS];
static int	n_exposers = 0;

PG_FUNCTION_INFO_V1(imon_metrics_1_0);
PG_FUNCTION_INFO_V1(imon_metrics_text_1_0);

void
imon_register_dialect(ImonDialect dialect, ImonExpose expose)
{
	if (n_exposers >= MAX_EXPOSERS)
		elog(ERROR, "too many sources of metrics");
	exposers[n_exposers].dialect = dialect;
	exposers[n_exposers++].expose = expose;
}

void
imon_register_metrics(ImonExpose expose)
{
	imon_register_dialect(IMON_OWN_DIALECT, expose);
}

bool
imon_has_names(const ImonExposition *exposition)
{
	return exposition->has_names;
}

bool
imon_sees_all(const ImonExposition *exposition)
{
	return exposition->sees_all;
}

const ImonSessions *
imon_exposed_sessions(ImonExposition *exposition)
{
	if (exposition->sessions == NULL)
	{
		exposition->sessions = palloc(sizeof(ImonSessions));
		imon_look_at_sessions(exposition->sessions);
	}
	return exposition->sessions;
}

void
imon_family(ImonExposition *exposition, const char *name, ImonMetricType type,
			const char *help)
{
	exposition->name = name;
	exposition->type = type;
	exposition->help = help;
	exposition->begun = false;
}

/* Writes the name of the family. */
static void
append_name(ImonExposition *exposition)
{
	appendStringInfoString(&exposition->text,
						   dialects[exposition->dialect].prefix);
	appendStringInfoString(&exposition->text, exposition->name);
}

/* Writes what stands before the first sample of a family. */
static void
begin_family(ImonExposition *exposition)
{
	StringInfo	out = &exposition->text;

	appendStringInfoString(out, "# HELP ");
	append_name(exposition);
	appendStringInfoChar(out, ' ');
	appendStringInfoString(out, exposition->help);
	appendStringInfoString(out, "\n# TYPE ");
	append_name(exposition);
	appendStringInfoChar(out, ' ');
	appendStringInfoString(out, type_names[exposition->type]);
	appendStringInfoChar(out, '\n');
}

/* A label value may contain anything, but for these as they are. */
static void
append_escaped(StringInfo out, const char *value)
{
	size_t		length = strcspn(value, "\\\"\n");

	appendBinaryStringInfo(out, value, (int) length);
	for (const char *c = value + length; *c; c++)
	{
		if (*c == '\\' || *c == '"')
			appendStringInfoCharMacro(out, '\\');
		if (*c == '\n')
			appendStringInfoString(out, "\\n");
		else
			appendStringInfoCharMacro(out, *c);
	}
}

/*
 * The labels without their braces, each with a comma behind it; valid until the
 * next call.  There are hundreds: they take no memory each.
 */
static const char *
labels_text(ImonExposition *exposition, const ImonLabels *labels)
{
	StringInfo text = &exposition->labels;

	if (labels == NULL || labels->n == 0)
		return "";
	if (text->data == NULL)
		initStringInfo(text);
	resetStringInfo(text);
	for (int i = 0; i < labels->n; i++)
	{
		appendStringInfoString(text, labels->names[i]);
		appendStringInfoString(text, "=\"");
		append_escaped(text, labels->values[i]);
		appendStringInfoString(text, "\",");
	}
	return text->data;
}

/* Writes to where there is room; returns where that ends. */
static inline char *
write_text(char *to, const char *text, size_t length)
{
	memcpy(to, text, length);
	return to + length;
}

/*
 * Writes a line; "le" is NULL but in a histogram.  Most of the text is made
 * here, piece by piece: room is made for all of them at once.
 */
static void
put_line(ImonExposition *exposition, const char *suffix, const char *labels,
		 const char *le, const char *value)
{
	StringInfo	out = &exposition->text;
	const char *prefix = dialects[exposition->dialect].prefix;
	size_t		prefix_length = strlen(prefix);
	size_t		name_length = strlen(exposition->name);
	size_t		suffix_length = strlen(suffix);
	size_t		labels_length = strlen(labels);
	size_t		le_length = le ? strlen(le) : 0;
	size_t		value_length = strlen(value);
	char	   *to;

	enlargeStringInfo(out, (int) (prefix_length + name_length + suffix_length +
								  labels_length + le_length + value_length +
								  sizeof("{le=\"\"} \n")));
	to = out->data + out->len;
	to = write_text(to, prefix, prefix_length);
	to = write_text(to, exposition->name, name_length);
	to = write_text(to, suffix, suffix_length);
	if (labels_length > 0 || le != NULL)
	{
		*to++ = '{';
		to = write_text(to, labels, labels_length);
		if (le)
		{
			to = write_text(to, "le=\"", 4);
			to = write_text(to, le, le_length);
			*to++ = '"';
		}
		else
			to--;				/* the last comma */
		*to++ = '}';
	}
	*to++ = ' ';
	to = write_text(to, value, value_length);
	*to++ = '\n';
	*to = '\0';
	out->len = to - out->data;
}

/* The labels as jsonb. */
static Datum
labels_datum(const ImonLabels *labels, const char *le)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	for (int i = 0; labels && i < labels->n; i++)
	{
		if (i > 0)
			appendStringInfoChar(&json, ',');
		escape_json(&json, labels->names[i]);
		appendStringInfoChar(&json, ':');
		escape_json(&json, labels->values[i]);
	}
	if (le)
		appendStringInfo(&json, "%s\"le\":\"%s\"", json.len > 1 ? "," : "", le);
	appendStringInfoChar(&json, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
}

/* Adds a row of the view metrics. */
static void
put_metric(ImonExposition *exposition, const char *suffix,
		   const ImonLabels *labels, const char *le, double value)
{
	Datum		values[METRIC_COLUMNS];
	bool		nulls[METRIC_COLUMNS] = {false};

	values[0] = CStringGetTextDatum(psprintf("%s%s%s",
											 dialects[exposition->dialect].prefix,
											 exposition->name, suffix));
	values[1] = CStringGetTextDatum(type_names[exposition->type]);
	values[2] = CStringGetTextDatum(exposition->help);
	values[3] = labels_datum(labels, le);
	values[4] = Float8GetDatum(value);
	imon_put_row(exposition->rows, values, nulls);
}

/* Takes note of one more sample. */
static void
count_sample(ImonExposition *exposition)
{
	if (!exposition->begun && exposition->rows == NULL)
		begin_family(exposition);
	exposition->begun = true;
	exposition->samples++;
}

/* Prints a number as short as it can be read back, and a count. */
static void
print_number(char *buffer, double value)
{
	if (isinf(value))
		strcpy(buffer, value > 0 ? "+Inf" : "-Inf");
	else
		double_to_shortest_decimal_buf(value, buffer);
}

static void
print_count(char *buffer, uint64 value)
{
	buffer[pg_ulltoa_n(value, buffer)] = '\0';
}

void
imon_put_count(ImonExposition *exposition, const ImonLabels *labels,
			   uint64 value)
{
	char		buffer[MAXINT8LEN + 2];

	count_sample(exposition);
	if (exposition->rows)
	{
		put_metric(exposition, "", labels, NULL, (double) value);
		return;
	}
	print_count(buffer, value);
	put_line(exposition, "", labels_text(exposition, labels), NULL, buffer);
}

void
imon_put_number(ImonExposition *exposition, const ImonLabels *labels,
				double value)
{
	char		buffer[DOUBLE_SHORTEST_DECIMAL_LEN];

	if (isnan(value))
		return;
	count_sample(exposition);
	if (exposition->rows)
	{
		put_metric(exposition, "", labels, NULL, value);
		return;
	}
	print_number(buffer, value);
	put_line(exposition, "", labels_text(exposition, labels), NULL, buffer);
}

void
imon_put_moment(ImonExposition *exposition, const ImonLabels *labels,
				TimestampTz moment)
{
	if (moment != 0)
		imon_put_number(exposition, labels,
						(double) moment / USECS_PER_SEC +
						(double) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY);
}

/* One line of a histogram that is a count. */
static void
put_part(ImonExposition *exposition, const char *suffix,
		 const ImonLabels *labels, const char *text, const char *le,
		 uint64 count)
{
	char		buffer[MAXINT8LEN + 2];

	exposition->samples++;
	if (exposition->rows)
	{
		put_metric(exposition, suffix, labels, le, (double) count);
		return;
	}
	print_count(buffer, count);
	put_line(exposition, suffix, text, le, buffer);
}

/* And the one that is their sum. */
static void
put_sum(ImonExposition *exposition, const ImonLabels *labels, const char *text,
		double sum)
{
	char		buffer[DOUBLE_SHORTEST_DECIMAL_LEN];

	exposition->samples++;
	if (exposition->rows)
	{
		put_metric(exposition, "_sum", labels, NULL, sum);
		return;
	}
	print_number(buffer, sum);
	put_line(exposition, "_sum", text, NULL, buffer);
}

/* The bounds as text, and where they divide the buckets. */
static void
find_les(ImonLes *les, const uint64 *bounds)
{
	int			bucket = 0;

	les->bounds = bounds;
	for (les->n = 0; bounds[les->n] != 0; les->n++)
	{
		if (les->n == MAX_BOUNDS)
			elog(ERROR, "too many bounds of a histogram of metrics");
		while (imon_histogram_bound(bucket) <= bounds[les->n])
			bucket++;
		Assert(bucket > 0 && imon_histogram_bound(bucket - 1) == bounds[les->n]);
		les->behind[les->n] = bucket;
		print_number(les->texts[les->n], bounds[les->n] / NS_IN_S);
	}
}

void
imon_put_histogram(ImonExposition *exposition, const ImonLabels *labels,
				   const uint64 *counts, double sum, const uint64 *bounds)
{
	const char *text = exposition->rows ? NULL : labels_text(exposition, labels);
	const ImonLes *les = &exposition->les;
	uint64		cumulative = 0;
	int			bucket = 0;

	if (les->bounds != bounds)
		find_les(&exposition->les, bounds);
	count_sample(exposition);
	exposition->samples--;		/* its parts are counted */
	for (int i = 0; i < les->n; i++)
	{
		while (bucket < les->behind[i])
			cumulative += counts[bucket++];
		put_part(exposition, "_bucket", labels, text, les->texts[i], cumulative);
	}
	while (bucket < IMON_HISTOGRAM_BUCKETS)
		cumulative += counts[bucket++];
	put_part(exposition, "_bucket", labels, text, "+Inf", cumulative);
	put_sum(exposition, labels, text, sum);
	put_part(exposition, "_count", labels, text, NULL, cumulative);
}

/*
 * Is the text valid in the encoding of this database, and where that has none,
 * as UTF-8, which Prometheus wants?
 */
static bool
is_valid(const char *text)
{
	int			encoding = GetDatabaseEncoding();

	return pg_verify_mbstr(encoding == PG_SQL_ASCII ? PG_UTF8 : encoding,
						   text, strlen(text), true);
}

const char *
imon_text_label(const char *text)
{
	char	   *copy;

	if (is_valid(text))
		return pstrdup(text);
	copy = imon_valid_text(text);
	if (GetDatabaseEncoding() == PG_SQL_ASCII)
		for (char *c = copy; *c; c++)
			if (IS_HIGHBIT_SET(*c))
				*c = '?';
	return copy;
}

/* Does the text end with digits in parentheses? */
static bool
ends_with_oid(const char *text)
{
	const char *open = strrchr(text, '(');
	size_t		digits = open ? strspn(open + 1, "0123456789") : 0;

	return digits > 0 && strcmp(open + 1 + digits, ")") == 0;
}

/* The label of an object; NULL: it is no more. */
static const char *
object_label(const char *name, Oid oid)
{
	if (name == NULL)
		return psprintf("(%u)", oid);
	if (is_valid(name) && strcmp(name, IMON_OTHER_LABEL) != 0 &&
		!ends_with_oid(name))
		return pstrdup(name);
	return psprintf("%s (%u)", imon_text_label(name), oid);
}

const char *
imon_role_label(Oid role)
{
	HeapTuple	tuple;
	const char *label;

	if (!OidIsValid(role))
		return "";
	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	if (!HeapTupleIsValid(tuple))
		return object_label(NULL, role);
	label = object_label(NameStr(((Form_pg_authid) GETSTRUCT(tuple))->rolname), role);
	ReleaseSysCache(tuple);
	return label;
}

const char *
imon_database_label(Oid database)
{
	HeapTuple	tuple;
	const char *label;

	if (!OidIsValid(database))
		return "";
	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	if (!HeapTupleIsValid(tuple))
		return object_label(NULL, database);
	label = object_label(NameStr(((Form_pg_database) GETSTRUCT(tuple))->datname), database);
	ReleaseSysCache(tuple);
	return label;
}

/* Exposes all families of the dialect, and last, in ours, how much that is. */
static void
expose_all(ImonExposition *exposition)
{
	exposition->has_names = IsTransactionState() && OidIsValid(MyDatabaseId);
	/* without names there is nothing to hide */
	exposition->sees_all = !exposition->has_names ||
		imon_may_see_role(InvalidOid);
	for (int i = 0; i < n_exposers; i++)
		if (exposers[i].dialect == exposition->dialect)
			exposers[i].expose(exposition);
	if (exposition->dialect != IMON_OWN_DIALECT)
		return;

	imon_family(exposition, "series", IMON_GAUGE,
				"Samples in this exposition, this one included.");
	imon_put_count(exposition, NULL, exposition->samples + 1);
}

/* The text of a dialect; it need not be copied to be a value of SQL. */
static text *
dialect_text(ImonDialect dialect)
{
	ImonExposition exposition = {.dialect = dialect};
	StringInfo	out = &exposition.text;

	initStringInfo(out);
	enlargeStringInfo(out, TEXT_ROOM);
	out->len = VARHDRSZ;
	expose_all(&exposition);
	SET_VARSIZE(out->data, out->len);
	return (text *) out->data;
}

char *
imon_metrics_text(void)
{
	return VARDATA(dialect_text(IMON_OWN_DIALECT));
}

/* SQL: metrics(): name, type, help, labels, value. */
Datum
imon_metrics_1_0(PG_FUNCTION_ARGS)
{
	ImonExposition exposition = {0};

	imon_shmem_require();
	exposition.rows = imon_begin_rows(fcinfo, METRIC_COLUMNS);
	expose_all(&exposition);
	return (Datum) 0;
}

/* The dialect of this name; an error if there is none. */
static ImonDialect
find_dialect(const char *name)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < lengthof(dialects); i++)
	{
		if (strcmp(dialects[i].name, name) == 0)
			return i;
		appendStringInfo(&names, "%s\"%s\"", i > 0 ? ", " : "", dialects[i].name);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("dialect \"%s\" of metrics does not exist", name),
			 errhint("Dialects are %s.", names.data)));
}

/* SQL: metrics_text(dialect). */
Datum
imon_metrics_text_1_0(PG_FUNCTION_ARGS)
{
	ImonDialect dialect;

	imon_require_arguments(fcinfo, 1);
	imon_shmem_require();
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	dialect = find_dialect(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_TEXT_P(dialect_text(dialect));
}
