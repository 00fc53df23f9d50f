/*-------------------------------------------------------------------------
 *
 * texts.c
 *	  Makes bytes from elsewhere fit to be shown.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <netdb.h>
#include <sys/socket.h>

#include "catalog/namespace.h"
#include "common/ip.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "rows.h"
#include "texts.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(imon_shown_1_0);

/* A command that can carry a secret, after CREATE or ALTER. */
typedef struct ImonSecretCommand
{
	const char *object;
	const char *option;			/* the word without which it carries none, or
								 * NULL */
	const char *tag;
} ImonSecretCommand;

static const ImonSecretCommand secret_commands[] = {
	/* USER MAPPING must come before USER */
	{"USER MAPPING", NULL, "USER MAPPING"},
	{"ROLE", "PASSWORD", "ROLE"},
	{"USER", "PASSWORD", "ROLE"},
	{"GROUP", "PASSWORD", "ROLE"},
	{"SUBSCRIPTION", NULL, "SUBSCRIPTION"},
	{"SERVER", "OPTIONS", "SERVER"},
	{"FOREIGN DATA WRAPPER", "OPTIONS", "FOREIGN DATA WRAPPER"},
	{"SYSTEM", "PRIMARY_CONNINFO", "SYSTEM"},
};

/*
 * A copy in which "?" stands for each byte that is not valid in the encoding.
 */
static char *
marked(const char *bytes, int encoding)
{
	char	   *copy = pstrdup(bytes);
	int			rest = strlen(copy);

	if (pg_verify_mbstr(encoding, copy, rest, true))
		return copy;			/* nearly all texts */

	for (char *c = copy; rest > 0;)
	{
		int			length = pg_encoding_verifymbchar(encoding, c, rest);

		if (length < 1)
		{
			*c = '?';
			length = 1;
		}
		c += length;
		rest -= length;
	}
	return copy;
}

/*
 * Converts by a conversion that exists; "?" stands for each letter that is not
 * valid or has no equivalent.
 */
static char *
convert_by(Oid conversion, const char *bytes, int from, int to)
{
	unsigned char *source = (unsigned char *) pstrdup(bytes);
	int			rest = strlen(bytes);
	int			space = rest * MAX_CONVERSION_GROWTH + 1;
	char	   *result = palloc(space);
	char	   *end = result;

	*end = '\0';
	while (rest > 0)
	{
		int			done = pg_do_encoding_conversion_buf(conversion, from, to,
														 source, rest,
														 (unsigned char *) end,
														 space - (end - result),
														 true);
		int			letter;

		source += done;
		rest -= done;
		end += strlen(end);
		if (rest == 0)
			break;

		/* it stopped at a letter: mark that one and go on behind it */
		letter = Max(pg_encoding_verifymbchar(from, (char *) source, rest), 1);
		source += letter;
		rest -= letter;
		*end++ = '?';
		*end = '\0';
	}
	return result;
}

/* Converts, through UTF-8 if there is no direct way. */
static char *
convert(const char *bytes, int from, int to)
{
	Oid			conversion;

	if (from == to || from == PG_SQL_ASCII || to == PG_SQL_ASCII)
		return marked(bytes, to);

	conversion = FindDefaultConversionProc(from, to);
	if (OidIsValid(conversion))
		return convert_by(conversion, bytes, from, to);
	if (from == PG_UTF8 || to == PG_UTF8)
		return marked(bytes, to);
	return convert(convert(bytes, from, PG_UTF8), PG_UTF8, to);
}

char *
imon_convert(const char *bytes, int encoding)
{
	return convert(bytes, encoding, GetDatabaseEncoding());
}

char *
imon_convert_to_utf8(const char *bytes, int encoding)
{
	return convert(bytes, encoding, PG_UTF8);
}

char *
imon_valid_text(const char *bytes)
{
	char	   *copy = pstrdup(bytes);

	if (pg_verifymbstr(copy, strlen(copy), true))
		return copy;

	/* then nobody knows which letters those were */
	for (char *c = copy; *c; c++)
		if (IS_HIGHBIT_SET(*c))
			*c = '?';
	return copy;
}

Datum
imon_text_datum(const char *bytes)
{
	return CStringGetTextDatum(imon_valid_text(bytes));
}

Datum
imon_name_datum(const char *name, bool *isnull)
{
	*isnull = (name == NULL);
	return name ? DirectFunctionCall1(namein,
									  CStringGetDatum(imon_valid_text(name)))
		: (Datum) 0;
}

/* SQL: shown(name), a name whose bytes may be of another encoding. */
Datum
imon_shown_1_0(PG_FUNCTION_ARGS)
{
	imon_require_arguments(fcinfo, 1);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(DirectFunctionCall1(namein,
										CStringGetDatum(imon_valid_text(NameStr(*PG_GETARG_NAME(0))))));
}

/* Skips a comment that begins here, with those inside it; else nothing. */
static const char *
skip_comment(const char *c)
{
	int			depth = 0;

	if (c[0] == '-' && c[1] == '-')
		return c + strcspn(c, "\n\r");

	while (*c && (depth > 0 || (c[0] == '/' && c[1] == '*')))
	{
		if (c[0] == '/' && c[1] == '*')
		{
			depth++;
			c += 2;
		}
		else if (c[0] == '*' && c[1] == '/')
		{
			c += 2;
			if (--depth == 0)
				break;
		}
		else
			c++;
	}
	return c;
}

static bool
is_word_char(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
		(c >= '0' && c <= '9') || c == '_' || c == '$' || IS_HIGHBIT_SET(c);
}

/* Is this white space, or part of a mark of a comment? */
static bool
is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r') || c == '-' || c == '/' || c == '*';
}

/*
 * The words of a query in upper case, each followed by one blank; whatever
 * else stands between them is one "." word, so that words are neighbours here
 * only if they are neighbours there.  The contents of quotes count as well: a
 * command inside a DO block or a function body is one.  Comments are left out,
 * as far as they can be told from quotes, or their words count, too.
 */
static char *
words_of(const char *query, bool with_comments)
{
	StringInfoData words;
	char		quote = '\0';
	bool		other = false;
	const char *c = query;

	initStringInfo(&words);
	appendStringInfoChar(&words, ' ');
	while (*c)
	{
		const char *after = with_comments || quote ? c : skip_comment(c);

		if (after != c)
			c = after;
		else if (is_word_char(*c))
		{
			if (other)
				appendStringInfoString(&words, ". ");
			other = false;
			for (; is_word_char(*c); c++)
				appendStringInfoChar(&words, pg_ascii_toupper((unsigned char) *c));
			appendStringInfoChar(&words, ' ');
		}
		else
		{
			if (quote == *c)
				quote = '\0';
			else if (!quote && (*c == '\'' || *c == '"'))
				quote = *c;
			if (!is_blank(*c))
				other = true;
			c++;
		}
	}
	return words.data;
}

/* Does the word occur anywhere, in whatever case, also inside others? */
static bool
mentions(const char *query, const char *word)
{
	size_t		length = strlen(word);

	for (; *query; query++)
		if (pg_strncasecmp(query, word, length) == 0)
			return true;
	return false;
}

/* The command tag of the first command among the words that carries a secret. */
static char *
tag_among(const char *words)
{
	static const char *const verbs[] = {"CREATE", "ALTER"};

	for (int i = 0; i < lengthof(verbs) * lengthof(secret_commands); i++)
	{
		const char *verb = verbs[i / lengthof(secret_commands)];
		const ImonSecretCommand *command =
			&secret_commands[i % lengthof(secret_commands)];
		const char *found = strstr(words, psprintf(" %s %s ", verb,
												   command->object));

		if (found && (command->option == NULL ||
					  strstr(found, psprintf(" %s ", command->option))))
			return psprintf("%s %s", verb, command->tag);
	}
	return NULL;
}

/*
 * The command tag to show instead of the query, or NULL if it carries no
 * secret.  Escapes and dollar quotes can make us mistake a quote for a comment
 * or the reverse, so the words are looked at both ways: when in doubt, it does.
 */
static char *
secret_command_tag(const char *query)
{
	char	   *tag;

	if (!mentions(query, "CREATE") && !mentions(query, "ALTER"))
		return NULL;			/* nearly all queries */
	tag = tag_among(words_of(query, false));
	return tag ? tag : tag_among(words_of(query, true));
}

Datum
imon_query_datum(const char *query)
{
	char	   *tag = secret_command_tag(query);

	return imon_text_datum(tag ? tag : query);
}

Datum
imon_client_addr_datum(const SockAddr *address, bool *isnull)
{
	char		host[NI_MAXHOST];

	*isnull = true;
	if (address->addr.ss_family != AF_INET &&
		address->addr.ss_family != AF_INET6)
		return (Datum) 0;
	if (pg_getnameinfo_all(&address->addr, address->salen,
						   host, sizeof(host), NULL, 0, NI_NUMERICHOST) != 0)
		return (Datum) 0;

	*isnull = false;
	clean_ipv6_addr(address->addr.ss_family, host);
	return DirectFunctionCall1(inet_in, CStringGetDatum(host));
}
