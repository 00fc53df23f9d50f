/*-------------------------------------------------------------------------
 *
 * stand_ins.h
 *	  What fuzz targets share: the little of the server that parsers need.
 *
 * A target includes the file of src/ that it is about, and thereby reaches its
 * static functions.  What such a file calls of the server is in stand_ins.c or in
 * libpgcommon, or missing: then the target ends when it gets there.
 *
 *-------------------------------------------------------------------------
 */
#ifndef STAND_INS_H
#define STAND_INS_H

#include "postgres.h"

#include <setjmp.h>

#include "fmgr.h"
#include "mb/pg_wchar.h"

/* What a target is: called once for each input, with the input in malloc'd memory. */
extern int	LLVMFuzzerTestOneInput(const uint8 *data, size_t size);

/* A property that does not hold ends the target, and keeps the input. */
#define MUST(condition) \
	do { \
		if (!(condition)) \
			fuzz_broken(__FILE__, __LINE__, #condition); \
	} while (0)
extern void fuzz_broken(const char *file, int line, const char *condition)
			__attribute__((noreturn));

/*
 * Begins an input: the encoding of the database is UTF-8 again, and what was
 * palloc'd before is freed.
 */
extern void fuzz_begin(void);

/* The encoding of the database. */
extern int	fuzz_encoding;

/*
 * An input: its text is at the front, so that any text is a seed, and choices are
 * taken from its end.
 */
typedef struct FuzzInput
{
	const uint8 *data;
	size_t		size;
} FuzzInput;

/* Takes a choice: 0 if none is left, else up to 255. */
extern int	fuzz_choice(FuzzInput *input);

/* The rest as text, ended by a zero, in memory of exactly that size. */
extern char *fuzz_text(const FuzzInput *input);

/* Is the text valid in the encoding of the database? */
extern bool fuzz_is_valid(const char *text);

/* Does the one stand in the other? */
static inline bool
fuzz_has(const char *text, const char *part)
{
	return strstr(text, part) != NULL;
}

/*
 * Calls an SQL function with up to three arguments.  False if it raised an error,
 * of which the code and the texts are in the variables below.
 */
extern bool fuzz_call(PGFunction function, Datum *result, int n, Datum a, Datum b);
extern int	fuzz_sqlerrcode;
extern char fuzz_error_texts[4096];

/* The contents of a file that is opened; NULL: there is none. */
extern const char *(*fuzz_file) (const char *path);

#endif							/* STAND_INS_H */
