/*-------------------------------------------------------------------------
 *
 * postgres_exporter_settings.c
 *	  The dialect "postgres_exporter" of metrics: settings.
 *
 * Each setting that is a number or a switch is a family of its own, in seconds
 * or bytes if it has a unit, which then is at the end of the name.  Values are
 * those of the session that asks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "compat.h"
#include "miscadmin.h"
#include "postgres_exporter.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"

/* A setting as a metric. */
typedef struct ImonExportedSetting
{
	const char *name;			/* of the family */
	const char *help;
	double		value;
} ImonExportedSetting;

/* How many seconds or bytes the unit of a setting is; 1 if it has none. */
static double
unit_of(int flags, const char **suffix)
{
	*suffix = flags & GUC_UNIT_MEMORY ? "_bytes" : flags & GUC_UNIT_TIME ? "_seconds" : "";
	switch (flags & GUC_UNIT_MEMORY)
	{
		case GUC_UNIT_KB:
			return 1024;
		case GUC_UNIT_BLOCKS:
			return BLCKSZ;
		case GUC_UNIT_XBLOCKS:
			return XLOG_BLCKSZ;
		case GUC_UNIT_MB:
			return 1024 * 1024;
	}
	switch (flags & GUC_UNIT_TIME)
	{
		case GUC_UNIT_MS:
			return 0.001;
		case GUC_UNIT_MIN:
			return 60;
	}
	return 1;
}

/* The name of the family: only letters, digits and underscores. */
static char *
family_name(const char *setting, const char *suffix)
{
	char	   *name = psprintf("settings_%s%s", setting, suffix);

	for (char *c = name; *c; c++)
		if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
			  (*c >= '0' && *c <= '9')))
			*c = '_';
	return name;
}

/*
 * Reads a setting.  Its text without a unit is what SHOW prints if it has none:
 * that shows modes of files in octal digits, as they are written.
 */
static ImonExportedSetting *
read_setting(const struct config_generic *record)
{
	ImonExportedSetting *setting = palloc(sizeof(ImonExportedSetting));
	const char *suffix;
	double		unit = unit_of(record->flags, &suffix);
	const char *value = record->flags & GUC_UNIT ?
		GetConfigOption(record->name, false, false) :
		GetConfigOptionByName(record->name, NULL, false);

	if (record->vartype == PGC_BOOL)
		setting->value = strcmp(value, "on") == 0;
	else
		setting->value = strtod(value, NULL);
	/* -1 stands for something in any unit */
	if (setting->value != -1)
		setting->value = unit < 1 ? setting->value / (1 / unit) : setting->value * unit;
	setting->name = family_name(record->name, suffix);
	setting->help = psprintf("Setting %s%s.", imon_text_label(record->name),
							 *suffix == '_' ? psprintf(", in %s", suffix + 1) : "");
	return setting;
}

static int
compare_names(const ListCell *a, const ListCell *b)
{
	return strcmp(((const ImonExportedSetting *) lfirst(a))->name,
				  ((const ImonExportedSetting *) lfirst(b))->name);
}

/* All settings that are to be exposed, by the name of the family. */
static List *
read_settings(void)
{
	bool		sees_all = has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_SETTINGS);
	List	   *settings = NIL;
	int			n;
	struct config_generic **records = imon_guc_variables(&n);

	for (int i = 0; i < n; i++)
	{
		const struct config_generic *record = records[i];

		if (record->vartype != PGC_BOOL && record->vartype != PGC_INT &&
			record->vartype != PGC_REAL)
			continue;
		if (record->flags & GUC_NO_SHOW_ALL ||
			(record->flags & GUC_SUPERUSER_ONLY && !sees_all))
			continue;
		settings = lappend(settings, read_setting(record));
	}
	list_sort(settings, compare_names);
	return settings;
}

/* The type of a family whose name may end like that of another type. */
static ImonMetricType
type_of(const char *name)
{
	static const char *const suffixes[] = {"_total", "_count", "_sum", "_bucket"};

	for (int i = 0; i < lengthof(suffixes); i++)
	{
		size_t		length = strlen(name);
		size_t		suffix = strlen(suffixes[i]);

		if (length > suffix && strcmp(name + length - suffix, suffixes[i]) == 0)
			return IMON_UNTYPED;
	}
	return IMON_GAUGE;
}

void
imon_export_settings(ImonExposition *exposition)
{
	List	   *settings = read_settings();
	const char *last = "";
	ListCell   *cell;

	foreach(cell, settings)
	{
		const ImonExportedSetting *setting = lfirst(cell);

		/* settings of modules may differ in nothing but punctuation */
		if (strcmp(setting->name, last) == 0)
			continue;
		last = setting->name;
		imon_family(exposition, setting->name, type_of(setting->name), setting->help);
		imon_put_number(exposition, NULL, setting->value);
	}
}
