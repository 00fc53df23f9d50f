/*
 * Fuzz target: literals in statements and plans, any bytes.
 *
 * The result is a text within its room, valid if the input is, and has nothing
 * left to mask: masked again, it stays as it is.
 */
#include "stand_ins.h"

bool		standard_conforming_strings = true;

#include "../../src/masking.c"

/* With this in front, the text ends where no more is looked at. */
static char *
behind_long_literal(const char *text)
{
	int			length = strlen(text);
	char	   *long_text = palloc(MAX_SCANNED + length + 1);

	memset(long_text, 'x', MAX_SCANNED);
	long_text[0] = '\'';
	long_text[MAX_SCANNED - length / 2 - 1] = '\'';
	strcpy(long_text + MAX_SCANNED - length / 2, text);
	return long_text;
}

/* Masks a statement (or a plan) into memory of exactly that size. */
static char *
masked(const char *text, int size, bool is_plan, int location, int length,
	   bool with_literals)
{
	char	   *target = palloc(size);

	memset(target, 0x7f, size);
	if (is_plan)
		imon_mask_plan(target, size, text, with_literals);
	else
		imon_mask_query(target, size, text, location, length, with_literals);
	MUST(memchr(target, '\0', size) != NULL);
	return target;
}

/* The highest number of a parameter. */
static int
highest_parameter(const char *text)
{
	ImonMasker	m = {0};

	m.at = text;
	m.end = text +strlen(text);

	m.with_literals = true;
	mask(&m);
	return m.number;
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	static const int encodings[] = {PG_UTF8, PG_UTF8, PG_SQL_ASCII, PG_EUC_JP, PG_LATIN1};
	FuzzInput	input = {data, size};
	int			choices = fuzz_choice(&input);
	int			room = fuzz_choice(&input);
	bool		is_plan = choices & 1;
	bool		with_literals = choices & 2;
	bool		is_part = choices & 4;
	char	   *text;
	char	   *result;
	bool		valid;

	fuzz_begin();
	standard_conforming_strings = !(choices & 8);
	fuzz_encoding = encodings[(choices >> 4) % lengthof(encodings)];
	room = room == 0 ? 4 * (int) size + 64 : room;
	text = fuzz_text(&input);

	if (fuzz_choice(&input) == 0xff)
		text = behind_long_literal(text);

	valid = fuzz_is_valid(text);

	if (is_part)
	{
		int			location = strlen(text) * fuzz_choice(&input) / 255;

		masked(text, room, is_plan, location, fuzz_choice(&input), with_literals);
	}
	result = masked(text, room, is_plan, -1, 0, with_literals);
	MUST(!valid || fuzz_is_valid(result));
	if (with_literals && (is_plan || !imon_mentions_secret(text, strnlen(text, MAX_SCANNED))))
		return 0;

	/*
	 * In a plan what is masked depends on how its line begins, and a literal
	 * that had several lines is one "?" then.
	 */
	if (!is_plan)
	{
		MUST(strcmp(result, masked(result, 4 * strlen(result) + 64, false, -1, 0, false)) == 0);
		MUST(!fuzz_has(result, "/*") || strchr(result, '"') != NULL);
		MUST(highest_parameter(result) >= 0);
	}
	return 0;
}
