/*-------------------------------------------------------------------------
 *
 * html.c
 *	  Text in a page: whatever somebody has named a thing stays text there.
 *
 * The result is ASCII: other letters are character references.  So a page
 * means the same whatever encodings the database and the client have, and is
 * well-formed as HTML and as XML.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "rows.h"
#include "texts.h"
#include "utils/builtins.h"

#define REPLACEMENT_CHARACTER 0xFFFD
#define CONTROL_PICTURES 0x2400 /* a picture of each control character */
#define PICTURE_OF_DELETE 0x2421

PG_FUNCTION_INFO_V1(imon_html_1_0);

/* Does the letter change the direction of letters around it? */
static bool
is_direction(pg_wchar letter)
{
	return (letter >= 0x202A && letter <= 0x202E) ||
		(letter >= 0x2066 && letter <= 0x2069);
}

/* The letter to show for one that is not ASCII. */
static pg_wchar
shown_letter(pg_wchar letter)
{
	bool		is_control = letter < 0xA0;
	bool		is_nothing = (letter & 0xFFFE) == 0xFFFE ||
		(letter >= 0xFDD0 && letter <= 0xFDEF);

	if (is_control || is_nothing || is_direction(letter))
		return REPLACEMENT_CHARACTER;
	return letter;
}

/* Appends an ASCII character; spaces, tabs and ends of lines stay. */
static void
append_ascii(StringInfo html, unsigned char c)
{
	switch (c)
	{
		case '&':
			appendStringInfoString(html, "&amp;");
			break;
		case '<':
			appendStringInfoString(html, "&lt;");
			break;
		case '>':
			appendStringInfoString(html, "&gt;");
			break;
		case '"':
			appendStringInfoString(html, "&quot;");
			break;
		case '\'':
			appendStringInfoString(html, "&#39;");
			break;
		case '\t':
		case '\n':
			appendStringInfoChar(html, c);
			break;
		case 0x7F:
			appendStringInfo(html, "&#%d;", PICTURE_OF_DELETE);
			break;
		default:
			if (c < 0x20)
				appendStringInfo(html, "&#%d;", CONTROL_PICTURES + c);
			else
				appendStringInfoChar(html, c);
			break;
	}
}

/* SQL: html(text), what stands for a text in a page, also as an attribute. */
Datum
imon_html_1_0(PG_FUNCTION_ARGS)
{
	StringInfoData html;
	char	   *utf8;

	imon_require_arguments(fcinfo, 1);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();

	utf8 = imon_convert_to_utf8(text_to_cstring(PG_GETARG_TEXT_PP(0)),
								GetDatabaseEncoding());
	initStringInfo(&html);
	for (const unsigned char *c = (unsigned char *) utf8;
		 *c != '\0'; c += pg_utf_mblen(c))
	{
		if (*c < 0x80)
			append_ascii(&html, *c);
		else
			appendStringInfo(&html, "&#%u;", shown_letter(utf8_to_unicode(c)));
	}
	PG_RETURN_TEXT_P(cstring_to_text_with_len(html.data, html.len));
}
