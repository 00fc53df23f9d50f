/*
 * Fuzz target: text in a page.
 *
 * The result is ASCII without a mark that could begin or end something, each "&"
 * begins a reference, and put back, the references are the text.
 */
#include "stand_ins.h"

#include "../../src/html.c"

char *
imon_convert_to_utf8(const char *bytes, int encoding)
{
	return pstrdup(bytes);
}

/* The letter of a reference; moves *at behind it. */
static pg_wchar
reference(const char **at)
{
	static const struct
	{
		const char *name;
		char		letter;
	}			names[] = {{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}};
	char	   *end;
	pg_wchar	letter;

	for (int i = 0; i < lengthof(names); i++)
		if (strncmp(*at, names[i].name, strlen(names[i].name)) == 0)
		{
			*at += strlen(names[i].name);
			return names[i].letter;
		}
	MUST((*at)[1] == '#' && (*at)[2] >= '1' && (*at)[2] <= '9');
	letter = strtoul(*at + 2, &end, 10);
	MUST(*end == ';');
	*at = end + 1;
	return letter;
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	FuzzInput	input = {data, size};
	char	   *bytes;
	const unsigned char *letter;
	Datum		result;
	char	   *html;
	const char *at;

	fuzz_begin();
	bytes = fuzz_text(&input);
	if (!fuzz_is_valid(bytes))
		return 0;
	MUST(fuzz_call(imon_html_1_0, &result, 1, PointerGetDatum(cstring_to_text(bytes)), 0));
	html = text_to_cstring(DatumGetTextPP(result));
	MUST(strlen(html) <= 10 * strlen(bytes));

	at = html;
	for (letter = (unsigned char *) bytes; *letter; letter += pg_utf_mblen(letter))
	{
		pg_wchar	was = utf8_to_unicode(letter);
		pg_wchar	is;

		MUST(*at == '\t' || *at == '\n' || (*at >= ' ' && *at < 0x7f));
		MUST(strchr("<>\"'", *at) == NULL);
		is = *at == '&' ? reference(&at) : *at++;
		MUST(is == was || is == REPLACEMENT_CHARACTER || is == PICTURE_OF_DELETE ||
			 is == CONTROL_PICTURES + was);
		MUST(was < 0x20 || was > 0x7e || is == was);
		MUST((is >= 0x20 || is == '\t' || is == '\n') && is <= 0x10ffff &&
			 !(is >= 0x7f && is < 0xa0) && !is_direction(is));
	}
	MUST(*at == '\0');
	return 0;
}
