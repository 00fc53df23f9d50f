/*
 * Fuzz target: literals in statements that are made of tokens.
 *
 * Each byte of the input is a token, and each value in them contains "zqj" or is
 * a number with "987" in it: none of that is in what is shown.  What is no literal
 * is: names, keywords and operators, in their order.
 */
#include "stand_ins.h"

bool		standard_conforming_strings = true;

#include "../../src/masking.c"

/* Not a literal, and without blanks, so that it can be found again. */
static const char *const others[] = {
	"SELECT", "\"quoted 'name'\"", "a_name", "name7", "\"with\"\"marks\"", "$1", "$12",
	"(", ")", ",", "=", "::", "*", "+", "<->", "[", "]", "e", "b", "n", "x", "u",
	"\303\244rger", "a$b", "U&\"\\0041bc\"", "\"--\"", "\"/*\"", "||", "@>", "a.b",
	"\"$a$\"", "\"E'\"", ":name", "#>>", "%", "\"\"\"\"", "PASSWORD", "e1", "x1f"
};

/*
 * Literals of all kinds, and comments.  A line that ends between two quotes would
 * make them one, so none ends with a line.
 */
static const char *const values[] = {
	"'zqj'", "'it''s zqj'", "E'\\'zqj'", "e'\\\\zqj'", "E'''zqj\\''", "$$zqj$$",
	"$a$ zqj $$ ' $b$ zqj $a$", "$_1$zqj'$_1$", "N'zqj'", "B'zqj'", "x'zqj'",
	"U&'zqj\\0041'", "u&'z''zqj'", "987", "0.987", ".987", "987.", "1e987", "9.87e-987",
	"0x987", "1_987", "0b0987", "'a'\n'zqj'", "'a' -- '\n  'zqj'",
	"/* zqj /* ' zqj */ $$ zqj */", "-- zqj ' zqj\n;", "/*zqj*/", "'zqj--'", "'/*zqj'",
	"'\"zqj'", "E'\\\n'", "$\303\244$zqj$\303\244$", "'zqj\\'", "''", "$$$zqj$$",
	"B'1'\n'zqj'", "'zqj$$'", "987.987"
};

#define MAX_TOKENS 64

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	StringInfoData text;
	const char *shown[MAX_TOKENS];
	int			n = 0;
	char	   *result;
	const char *at;

	fuzz_begin();
	initStringInfo(&text);
	for (size_t i = 0; i < Min(size, MAX_TOKENS); i++)
	{
		int			token = data[i] & 0x7f;

		/* they end where they end, and nothing is glued to them */
		appendStringInfoString(&text, data[i] & 0x80 ? " " : "\t ");
		if (token < lengthof(others))
			shown[n++] = others[token];
		if (token < lengthof(others))
			appendStringInfoString(&text, others[token]);
		else
			appendStringInfoString(&text, values[(token - lengthof(others)) % lengthof(values)]);
		appendStringInfoChar(&text, ' ');
	}
	result = palloc(2 * text.len + 4096);
	imon_mask_query(result, 2 * text.len + 4096, text.data, -1, 0, false);
	MUST(!fuzz_has(result, "zqj"));
	MUST(!fuzz_has(result, "987"));
	at = result;
	for (int i = 0; i < n; i++)
	{
		at = strstr(at, shown[i]);
		MUST(at != NULL);
		at += strlen(shown[i]);
	}
	return 0;
}
