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

#include "common/ip.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "texts.h"
#include "utils/builtins.h"

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
};

Datum
imon_text_datum(const char *bytes)
{
	char	   *copy;

	if (pg_verifymbstr(bytes, strlen(bytes), true))
		return CStringGetTextDatum(bytes);

	copy = pstrdup(bytes);
	for (char *c = copy; *c; c++)
		if (IS_HIGHBIT_SET(*c))
			*c = '?';
	return CStringGetTextDatum(copy);
}

/* Skips white space and comments, nested ones too. */
static const char *
skip_blank(const char *c)
{
	for (;;)
	{
		while (*c == ' ' || (*c >= '\t' && *c <= '\r'))
			c++;
		if (c[0] == '-' && c[1] == '-')
		{
			while (*c && *c != '\n' && *c != '\r')
				c++;
		}
		else if (c[0] == '/' && c[1] == '*')
		{
			int			depth = 0;

			do
			{
				if (c[0] == '/' && c[1] == '*')
				{
					depth++;
					c += 2;
				}
				else if (c[0] == '*' && c[1] == '/')
				{
					depth--;
					c += 2;
				}
				else
					c++;
			} while (depth > 0 && *c);
		}
		else
			return c;
	}
}

static bool
is_word_char(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
		(c >= '0' && c <= '9') || c == '_' || c == '$' || IS_HIGHBIT_SET(c);
}

/*
 * The words of a query in upper case, each followed by one blank; whatever
 * else stands between them is one "." word, so that words are neighbours here
 * only if they are neighbours there.  Quotes are not honoured: a command
 * inside a DO block or a function body counts as well.
 */
static char *
words_of(const char *query)
{
	StringInfoData words;
	bool		other = false;

	initStringInfo(&words);
	appendStringInfoChar(&words, ' ');
	for (const char *c = skip_blank(query); *c; c = skip_blank(c))
	{
		if (!is_word_char(*c))
		{
			other = true;
			c++;
			continue;
		}
		if (other)
			appendStringInfoString(&words, ". ");
		other = false;
		for (; is_word_char(*c); c++)
			appendStringInfoChar(&words, pg_ascii_toupper((unsigned char) *c));
		appendStringInfoChar(&words, ' ');
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

/*
 * The command tag to show instead of the query, or NULL if it carries no
 * secret.  When in doubt, it does.
 */
static char *
secret_command_tag(const char *query)
{
	static const char *const verbs[] = {"CREATE", "ALTER"};
	char	   *words;

	if (!mentions(query, verbs[0]) && !mentions(query, verbs[1]))
		return NULL;			/* nearly all queries */
	words = words_of(query);

	for (int i = 0; i < lengthof(verbs) * lengthof(secret_commands); i++)
	{
		const char *verb = verbs[i / lengthof(secret_commands)];
		int			command = i % lengthof(secret_commands);
		char	   *pattern = psprintf(" %s %s ", verb,
									   secret_commands[command].object);
		const char *found = strstr(words, pattern);
		const char *option = secret_commands[command].option;

		if (found && (option == NULL ||
					  strstr(found, psprintf(" %s ", option))))
			return psprintf("%s %s", verb, secret_commands[command].tag);
	}
	return NULL;
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
