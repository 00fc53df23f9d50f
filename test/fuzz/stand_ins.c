/*-------------------------------------------------------------------------
 *
 * stand_ins.c
 *	  The little of the server that parsers need, for fuzz targets.
 *
 * Memory is malloc's, each piece apart, so that the address sanitizer sees what
 * is done to it; an error is a longjmp() to fuzz_call().
 *
 *-------------------------------------------------------------------------
 */
#include "stand_ins.h"

#include "lib/stringinfo.h"
#include "parser/scansup.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/float.h"

int			fuzz_encoding = PG_UTF8;
int			fuzz_sqlerrcode;
char		fuzz_error_texts[4096];
const char *(*fuzz_file) (const char *path);

static sigjmp_buf *handler = NULL;

/* Pieces of memory, in a ring; what is handed out follows. */
typedef struct Piece
{
	struct Piece *next;
	struct Piece *previous;
} Piece;

static Piece pieces = {&pieces, &pieces};

void
fuzz_broken(const char *file, int line, const char *condition)
{
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
	abort();
}

void
fuzz_begin(void)
{
	while (pieces.next != &pieces)
		pfree(pieces.next + 1);
	fuzz_encoding = PG_UTF8;
}

int
fuzz_choice(FuzzInput *input)
{
	return input->size > 0 ? input->data[--input->size] : 0;
}

char *
fuzz_text(const FuzzInput *input)
{
	char	   *text = palloc(input->size + 1);

	memcpy(text, input->data, input->size);
	text[		input->size] = '\0';
	return text;
}

bool
fuzz_is_valid(const char *text)
{
	int			length = strlen(text);

	return pg_encoding_verifymbstr(fuzz_encoding, text, length) == length;
}

bool
fuzz_call(PGFunction function, Datum *result, int n, Datum a, Datum b)
{
	LOCAL_FCINFO(fcinfo, 2);
	sigjmp_buf	here;
	sigjmp_buf *volatile outer = handler;
	bool		completed = false;

	InitFunctionCallInfoData(*fcinfo, NULL, n, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = a;
	fcinfo->args[0].isnull = false;
	fcinfo->args[1].value = b;
	fcinfo->args[1].isnull = false;
	fuzz_error_texts[0] = '\0';
	fuzz_sqlerrcode = 0;
	if (sigsetjmp(here, 0) == 0)
	{
		handler = &here;
		*result = function(fcinfo);
		completed = true;
	}
	handler = outer;
	return completed;
}

/*
 * Memory
 */

void *
palloc(Size size)
{
	Piece	   *piece = malloc(sizeof(Piece) + size);

	if (piece == NULL || size > 0x3fffffff)
		fuzz_broken(__FILE__, __LINE__, "memory");
	piece->next = pieces.next;
	piece->previous = &pieces;
	piece->next->previous = piece;
	pieces.next = piece;
	return piece + 1;
}

void *
palloc0(Size size)
{
	return memset(palloc(size), 0, size);
}

void
pfree(void *pointer)
{
	Piece	   *piece = (Piece *) pointer - 1;

	piece->next->previous = piece->previous;
	piece->previous->next = piece->next;
	free(piece);
}

void *
repalloc(void *pointer, Size size)
{
	Piece	   *piece = (Piece *) pointer - 1;

	piece = realloc(piece, sizeof(Piece) + size);
	piece->next->previous = piece;
	piece->previous->next = piece;
	return piece + 1;
}

char *
pnstrdup(const char *text, Size length)
{
	char	   *copy;

	length = strnlen(text, length);
	copy = palloc(length + 1);
	memcpy(copy, text, length);
	copy[length] = '\0';
	return copy;
}

char *
pstrdup(const char *text)
{
	return pnstrdup(text, strlen(text));
}

/*
 * Errors
 */

bool
errstart(int elevel, const char *domain)
{
	return elevel >= ERROR;
}

bool
errstart_cold(int elevel, const char *domain)
{
	return errstart(elevel, domain);
}

int
errcode(int sqlerrcode)
{
	fuzz_sqlerrcode = sqlerrcode;
	return 0;
}

/* Texts that are not of us are not looked at: errdetail_internal("%s", ...). */
#define ADD_TEXT \
	do { \
		size_t		length = strlen(fuzz_error_texts); \
		va_list		args; \
		va_start(args, fmt); \
		vsnprintf(fuzz_error_texts + length, \
				  sizeof(fuzz_error_texts) - length, fmt, args); \
		va_end(args); \
		return 0; \
	} while (0)

int
errmsg(const char *fmt,...)
{
	ADD_TEXT;
}

int
errmsg_internal(const char *fmt,...)
{
	ADD_TEXT;
}

int
errdetail(const char *fmt,...)
{
	ADD_TEXT;
}

int
errdetail_internal(const char *fmt,...)
{
	ADD_TEXT;
}

int
errhint(const char *fmt,...)
{
	ADD_TEXT;
}

void
errfinish(const char *filename, int lineno, const char *funcname)
{
	if (handler == NULL)
		fuzz_broken(filename, lineno, fuzz_error_texts);
	siglongjmp(*handler, 1);
}

void
ExceptionalCondition(const char *condition,
#if PG_VERSION_NUM < 160000
					 const char *type,
#endif
					 const char *file, int line)
{
	fuzz_broken(file, line, condition);
}

/*
 * Encodings
 */

int
GetDatabaseEncoding(void)
{
	return fuzz_encoding;
}

int
pg_mbcliplen(const char *text, int length, int limit)
{
	int			clipped = 0;

	while (clipped < length && text[clipped])
	{
		int			letter = pg_encoding_mblen(fuzz_encoding, text +clipped);

		if (clipped + letter > limit)
			break;
		clipped += letter;
	}
	return clipped;
}

bool
pg_verify_mbstr(int encoding, const char *text, int length, bool noError)
{
	return pg_encoding_verifymbstr(encoding, text, length) == length;
}

bool
pg_verifymbstr(const char *text, int length, bool noError)
{
	return pg_verify_mbstr(fuzz_encoding, text, length, noError);
}

/*
 * Types
 */

struct varlena *
pg_detoast_datum_packed(struct varlena *datum)
{
	return datum;
}

struct varlena *
pg_detoast_datum(struct varlena *datum)
{
	return datum;
}

text *
cstring_to_text_with_len(const char *string, int length)
{
	text	   *result = palloc(VARHDRSZ + length);

	SET_VARSIZE(result, VARHDRSZ + length);
	memcpy(VARDATA(result), string, length);
	return result;
}

text *
cstring_to_text(const char *string)
{
	return cstring_to_text_with_len(string, strlen(string));
}

char *
text_to_cstring(const text *string)
{
	return pnstrdup(VARDATA_ANY(string), VARSIZE_ANY_EXHDR(string));
}

int
pg_ulltoa_n(uint64 value, char *digits)
{
	char		buffer[24];
	int			length = snprintf(buffer, sizeof(buffer), UINT64_FORMAT, value);

	memcpy(digits, buffer, length);
	return length;
}

bool
scanner_isspace(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/*
 * Files
 */

FILE *
AllocateFile(const char *name, const char *mode)
{
	const char *contents = fuzz_file ? fuzz_file(name) : NULL;

	if (contents == NULL)
		return NULL;
	return contents[0] == '\0' ? fopen("/dev/null", mode) :
		fmemopen((void *) contents, strlen(contents), mode);
}

int
FreeFile(FILE *file)
{
	return fclose(file);
}
