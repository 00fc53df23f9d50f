/*-------------------------------------------------------------------------
 *
 * masking.c
 *	  Query texts without the values in them.
 *
 * This is a scanner of its own, with the same tokens as the core scanner
 * (scan.l) as far as they matter for where a literal begins and ends: quotes of
 * all kinds, numbers, comments, identifiers, parameters.  The core scanner
 * raises errors, allocates, and wants a statement that is right; this one gets
 * along with anything, also where an error is just being reported.  What a
 * quote that does not end has in it is a literal to the end of the text.
 *
 * It works on bytes: in all encodings that a database can have, bytes below
 * 128 are ASCII, wherever they stand.  Time is bounded by MAX_SCANNED; what is
 * behind that many bytes is not shown.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "masking.h"
#include "mb/pg_wchar.h"

#define MAX_SCANNED (256 * 1024)

/* A text on its way through. */
typedef struct ImonMasker
{
	const char *at;				/* next byte */
	const char *end;
	char	   *target;			/* NULL: only parameters are looked for */
	int			size;
	int			used;
	bool		full;			/* no room; the rest is left out */
	bool		with_literals;	/* keep literals and comments */
	bool		is_plan;
	bool		keep_numbers;	/* in this line of a plan */
	int			number;			/* of the last parameter or literal */
} ImonMasker;

static inline bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Can an identifier begin like this? */
static inline bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
		IS_HIGHBIT_SET(c);
}

static inline bool
is_newline(char c)
{
	return c == '\n' || c == '\r';
}

static inline bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The byte at this distance, or 0 behind the end. */
static inline char
peek(const ImonMasker *m, int distance)
{
	return m->end - m->at > distance ? m->at[distance] : '\0';
}

/* Puts bytes out, as far as there is room. */
static void
put(ImonMasker *m, const char *bytes, int length)
{
	int			room = m->size - 1 - m->used;

	if (m->target == NULL || m->full)
		return;
	if (length > room)
	{
		m->full = true;
		length = room;
	}
	memcpy(m->target + m->used, bytes, length);
	m->used += length;
}

/* Can the byte be part of an identifier or a parameter? */
static inline bool
is_word_char(char c)
{
	return is_letter(c) || is_digit(c) || c == '$';
}

/* Puts out a blank, unless one stands there. */
static void
put_blank(ImonMasker *m)
{
	if (m->used > 0 && !is_space(m->target[m->used - 1]))
		put(m, " ", 1);
}

/* Puts out a parameter with the next number, apart from words beside it. */
static void
put_parameter(ImonMasker *m)
{
	char		digits[12];
	int			first = lengthof(digits);
	uint32		number = (uint32) ++m->number;

	if (m->used > 0 && is_word_char(m->target[m->used - 1]))
		put_blank(m);
	do
	{
		digits[--first] = '0' + number % 10;
		number /= 10;
	} while (number > 0);
	digits[--first] = '$';
	if (lengthof(digits) - first > m->size - 1 - m->used)
		m->full = true;			/* not a part of it */
	else
		put(m, digits + first, lengthof(digits) - first);
	if (is_word_char(peek(m, 0)))
		put_blank(m);
}

/* Puts out what stands for a literal, or the literal itself from "start" on. */
static void
put_literal(ImonMasker *m, const char *start)
{
	if (m->with_literals)
		put(m, start, m->at - start);
	else if (m->is_plan)
		put(m, "?", 1);
	else if (m->target)
		put_parameter(m);
}

/* Goes to the end of the line. */
static void
skip_line(ImonMasker *m)
{
	while (m->at < m->end && !is_newline(*m->at))
		m->at++;
}

/* Skips a comment with those inside it. */
static void
skip_block_comment(ImonMasker *m)
{
	int			depth = 0;

	while (m->at < m->end)
	{
		if (peek(m, 0) == '/' && peek(m, 1) == '*')
		{
			depth++;
			m->at += 2;
		}
		else if (peek(m, 0) == '*' && peek(m, 1) == '/')
		{
			m->at += 2;
			if (--depth == 0)
				return;
		}
		else
			m->at++;
	}
}

/* Does a quote that ended here go on in another line?  Then goes behind it. */
static bool
quote_continues(ImonMasker *m)
{
	const char *end_of_quote = m->at;
	bool		newline = false;

	for (;;)
	{
		if (m->at < m->end && is_space(*m->at))
			newline |= is_newline(*m->at++);
		else if (peek(m, 0) == '-' && peek(m, 1) == '-')
			skip_line(m);
		else
			break;
	}
	if (newline && peek(m, 0) == '\'')
	{
		m->at++;
		return true;
	}
	m->at = end_of_quote;
	return false;
}

/*
 * Goes behind a quote, from behind its first mark.  Two marks stand for one in
 * it, unless it is one of bits.
 */
static void
skip_quote(ImonMasker *m, char mark, bool bits, bool backslashes)
{
	while (m->at < m->end)
	{
		char		c = *m->at++;

		if (c == '\\' && backslashes)
		{
			if (m->at < m->end)
				m->at++;
		}
		else if (c == mark)
		{
			if (!bits && peek(m, 0) == mark)
				m->at++;
			else if (mark != '\'' || !quote_continues(m))
				return;
		}
	}
}

/* A literal in quotes, with so many bytes before its contents. */
static void
string(ImonMasker *m, int prefix, bool bits, bool backslashes)
{
	const char *start = m->at;

	m->at += prefix;
	skip_quote(m, '\'', bits, backslashes);
	put_literal(m, start);
}

/* An identifier in quotes. */
static void
quoted_identifier(ImonMasker *m, int prefix)
{
	const char *start = m->at;

	m->at += prefix;
	skip_quote(m, '"', false, false);
	put(m, start, m->at - start);
}

/* Does a plain quote have backslashes that mean something? */
static inline bool
has_backslashes(const ImonMasker *m)
{
	return imon_strings_have_escapes() && !m->is_plan;
}

/* A word: an identifier, or the letter before a quote. */
static void
word(ImonMasker *m)
{
	const char *start = m->at;
	char		c = pg_ascii_tolower((unsigned char) *start);

	if ((c == 'b' || c == 'x' || c == 'e') && peek(m, 1) == '\'')
		string(m, 2, c != 'e', c == 'e');
	else if (c == 'n' && peek(m, 1) == '\'')
		string(m, 2, false, has_backslashes(m));
	else if (c == 'u' && peek(m, 1) == '&' && peek(m, 2) == '\'')
		string(m, 3, false, false);
	else if (c == 'u' && peek(m, 1) == '&' && peek(m, 2) == '"')
		quoted_identifier(m, 3);
	else
	{
		while (m->at < m->end && is_word_char(*m->at))
			m->at++;
		put(m, start, m->at - start);
	}
}

/*
 * Goes behind digits, and letters that may belong to them.  Can they have an
 * exponent ("decimal"), and had they one?
 */
static bool
skip_digits(ImonMasker *m, bool decimal)
{
	bool		exponent = false;

	while (m->at < m->end && (is_letter(*m->at) || is_digit(*m->at)))
	{
		char		c = *m->at++;
		bool		sign = peek(m, 0) == '+' || peek(m, 0) == '-';

		if (decimal && !exponent && (c == 'e' || c == 'E') &&
			is_digit(peek(m, sign ? 1 : 0)))
		{
			exponent = true;
			m->at++;
		}
	}
	return exponent;
}

/* A number, with or without digits before its point. */
static void
number(ImonMasker *m)
{
	const char *start = m->at;
	bool		decimal = !(*start == '0' && is_letter(peek(m, 1)) &&
							peek(m, 1) != 'e' && peek(m, 1) != 'E');

	if (!skip_digits(m, decimal) && decimal &&
		peek(m, 0) == '.' && peek(m, 1) != '.')
	{
		m->at++;
		skip_digits(m, true);
	}
	if (m->keep_numbers)
		put(m, start, m->at - start);
	else
		put_literal(m, start);
}

/* A parameter, a quote in dollars, or nothing of the kind. */
static void
dollar(ImonMasker *m)
{
	const char *start = m->at++;
	int			tag;

	if (is_digit(peek(m, 0)))
	{
		int			parameter = 0;

		for (; is_digit(peek(m, 0)); m->at++)
			if (parameter < PG_INT16_MAX)
				parameter = parameter * 10 + (*m->at - '0');
		if (m->target == NULL)
			m->number = Max(m->number, parameter);
		put(m, start, m->at - start);
		return;
	}

	for (tag = 0; is_letter(peek(m, tag)) || (tag > 0 && is_digit(peek(m, tag)));)
		tag++;
	if (peek(m, tag) != '$')
	{
		put(m, start, 1);
		return;
	}
	tag += 2;					/* with both its dollars */
	m->at = start + tag;
	while (m->end - m->at >= tag && memcmp(m->at, start, tag) != 0)
		m->at++;
	m->at = m->end - m->at >= tag ? m->at + tag : m->end;
	put_literal(m, start);
}

/*
 * Are the numbers in this line of a plan its own?  They are unless the line is
 * that of a property, "Name: expression".
 */
static bool
line_has_own_numbers(const char *line, const char *end)
{
	static const char *const properties[] = {
		"Workers Planned: ", "Planned Partitions: ", "Subplans Removed: ",
		"Disabled Nodes: "
	};

	while (line < end && *line == ' ')
		line++;
	for (int i = 0; i < lengthof(properties); i++)
	{
		size_t		length = strlen(properties[i]);

		if (end - line >= length && memcmp(line, properties[i], length) == 0)
			return true;
	}
	for (; line < end && !is_newline(*line) && *line != '('; line++)
		if (line[0] == ':' && end - line > 1 && line[1] == ' ')
			return false;
	return true;
}

/* A comment.  Without its contents it is a blank. */
static void
comment(ImonMasker *m)
{
	const char *start = m->at;

	if (*start == '-')
		skip_line(m);
	else
		skip_block_comment(m);
	if (m->target == NULL)
		return;
	if (m->with_literals)
		put(m, start, m->at - start);
	else
	{
		put_blank(m);
		while (m->at < m->end && is_space(*m->at))
			m->at++;
	}
}

/* Puts out one token. */
static void
token(ImonMasker *m)
{
	char		c = *m->at;

	if (is_letter(c))
		word(m);
	else if (is_digit(c) || (c == '.' && is_digit(peek(m, 1))))
		number(m);
	else if (c == '\'')
		string(m, 1, false, has_backslashes(m));
	else if (c == '"')
		quoted_identifier(m, 1);
	else if (c == '$')
		dollar(m);
	else if (!m->is_plan &&
			 ((c == '-' && peek(m, 1) == '-') || (c == '/' && peek(m, 1) == '*')))
		comment(m);
	else
	{
		/* two dots are not the beginning of a number */
		int			length = c == '.' && peek(m, 1) == '.' ? 2 : 1;

		put(m, m->at, length);
		m->at += length;
		if (m->is_plan && c == '\n')
			m->keep_numbers = line_has_own_numbers(m->at, m->end);
	}
}

/* Puts out all tokens, and ends the text. */
static void
mask(ImonMasker *m)
{
	while (m->at < m->end && !m->full)
		token(m);
	if (m->target == NULL)
		return;
	if (m->full)
		m->used = pg_mbcliplen(m->target, m->used, m->used);
	while (m->used > 0 && is_space(m->target[m->used - 1]))
		m->used--;
	m->target[m->used] = '\0';
}

/* Does the word occur in the text, in whatever case? */
static bool
mentions(const char *query, int length, const char *word)
{
	int			word_length = strlen(word);

	for (; length >= word_length; query++, length--)
		if (pg_ascii_toupper((unsigned char) *query) == *word &&
			pg_strncasecmp(query, word, word_length) == 0)
			return true;
	return false;
}

bool
imon_mentions_secret(const char *query, int length)
{
	static const char *const words[] = {
		"PASSWORD", "OPTIONS", "MAPPING", "SUBSCRIPTION", "CONNINFO"
	};

	for (int i = 0; i < lengthof(words); i++)
		if (mentions(query, length, words[i]))
			return true;
	return false;
}

/*
 * How many bytes of a text are looked at, if it has no more than "length": whole
 * letters, where the text goes on behind them.
 */
static int
scanned(const char *text, int length)
{
	int			bytes = strnlen(text, Min(length, MAX_SCANNED));

	return bytes < MAX_SCANNED ? bytes : pg_mbcliplen(text, bytes, bytes);
}

void
imon_mask_query(char *target, int size, const char *query, int location,
				int length, bool with_literals)
{
	ImonMasker	m = {0};
	int			rest;

	query += Max(location, 0);
	rest = scanned(query, length > 0 ? length : MAX_SCANNED);
	for (; rest > 0 && is_space(*query); query++)
		rest--;

	m.at = query;
	m.end = query + rest;
	m.with_literals = with_literals && !imon_mentions_secret(query, rest);
	if (!m.with_literals)
	{
		mask(&m);				/* the numbers of its parameters */
		m.at = query;
	}
	m.target = target;
	m.size = size;
	mask(&m);
}

bool
imon_mask_plan(char *target, int size, const char *plan, bool with_literals)
{
	ImonMasker	m = {0};

	m.at = plan;
	m.end = plan + scanned(plan, MAX_SCANNED);
	m.target = target;
	m.size = size;
	m.is_plan = true;
	m.with_literals = with_literals;
	m.keep_numbers = line_has_own_numbers(m.at, m.end);
	mask(&m);
	return !m.full && *m.end == '\0';
}
