/*
 * Fuzz target: the recogniser of commands that can carry a secret, and texts of
 * unknown bytes.
 *
 * What is shown is valid and no longer than the text or a tag; a command is
 * recognised whatever its case is and whatever follows; and one that is made here,
 * with the input as a comment between its words, is recognised.
 */
#include "stand_ins.h"

#include "../../src/texts.c"

static const char *const commands[][3] = {
	{"CREATE", "ROLE", "PASSWORD"}, {"ALTER", "USER", "password"},
	{"create", "group", "Password"}, {"ALTER", "SUBSCRIPTION", "CONNECTION"},
	{"CREATE", "USER MAPPING", "FOR"}, {"ALTER", "SERVER", "OPTIONS"},
	{"CREATE", "FOREIGN DATA WRAPPER", "OPTIONS"}, {"ALTER", "SYSTEM", "primary_conninfo"}
};

/* A copy in which letters of ASCII have changed their case. */
static char *
other_case(const char *text)
{
	char	   *copy = pstrdup(text);

	for (char *c = copy; *c; c++)
		if (!IS_HIGHBIT_SET(*c) && isalpha((unsigned char) *c))
			*c ^= 0x20;
	return copy;
}

/* The text as a comment: without an end or a beginning of one in it. */
static char *
as_comment(const char *text)
{
	char	   *copy = psprintf("/*%s */", text);

	for (char *c = copy + 2; c[3] != '\0'; c++)
		if (*c == '/' || *c == '*')
			*c = ' ';
	return copy;
}

/* Without marks of quotes before it, a command with comments is one. */
static void
check_command(const char *const *words, const char *text)
{
	char	   *comment = as_comment(text);

	MUST(secret_command_tag(psprintf("%s%s%s%s$$ %s'zqj'", words[0], comment,
									 words[1], comment, words[2])) != NULL);
	MUST(secret_command_tag(psprintf("%s\n%s\t\"%s\" %s 'zqj'", words[0],
									 words[1], text, words[2])) != NULL);
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	static const int encodings[] = {PG_UTF8, PG_SQL_ASCII, PG_EUC_JP, PG_LATIN1, PG_MULE_INTERNAL};
	FuzzInput	input = {data, size};
	char	   *bytes;
	char	   *tag;
	char	   *shown;

	fuzz_begin();
	fuzz_encoding = encodings[fuzz_choice(&input) % lengthof(encodings)];
	bytes = fuzz_text(&input);

	shown = text_to_cstring(DatumGetTextPP(imon_query_datum(bytes)));
	MUST(fuzz_is_valid(shown));
	tag = secret_command_tag(bytes);
	if (tag)
	{
		char	   *again = secret_command_tag(psprintf("%s %s", bytes, commands[0][0]));
		char	   *other = secret_command_tag(other_case(bytes));

		MUST(strcmp(tag, shown) == 0);
		MUST(again != NULL && other != NULL && strcmp(tag, other) == 0);
	}
	else
	{
		MUST(strlen(shown) == strlen(bytes));
		MUST(!fuzz_is_valid(bytes) || strcmp(shown, bytes) == 0);
	}

	shown = marked(bytes, fuzz_encoding);
	MUST(fuzz_is_valid(shown));
	MUST(strlen(shown) == strlen(bytes));
	MUST(strcmp(shown, bytes) == 0 || !fuzz_is_valid(bytes));
	MUST(strcmp(shown, marked(shown, fuzz_encoding)) == 0);

	check_command(commands[fuzz_choice(&input) % lengthof(commands)], bytes);
	return 0;
}
