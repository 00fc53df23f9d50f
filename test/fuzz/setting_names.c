/*
 * Fuzz target: metrics that are named after settings, which modules choose.
 *
 * Whatever the name of the setting is, that of the family has letters, digits and
 * underscores only, and never one that makes it part of another type.
 */
#include "stand_ins.h"

#include "../../src/postgres_exporter_settings.c"

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	FuzzInput	input = {data, size};
	int			flags = fuzz_choice(&input) | fuzz_choice(&input) << 8;
	const char *suffix;
	double		unit = unit_of(flags, &suffix);
	char	   *text;
	char	   *name;

	fuzz_begin();
	text = fuzz_text(&input);

	name = family_name(text, suffix);
	MUST(unit > 0);
	MUST(strlen(name) == strlen("settings_") + strlen(text) + strlen(suffix));
	MUST(strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") ==
		 strlen(name));
	if (type_of(name) == IMON_GAUGE)
		MUST(strlen(name) < 6 || strcmp(name + strlen(name) - 6, "_total") != 0);
	return 0;
}
