/*-------------------------------------------------------------------------
 *
 * masking.h
 *	  Query texts without the values in them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_MASKING_H
#define IMON_MASKING_H

/*
 * Copies a query, or the part of one that begins at "location" and has "length"
 * bytes (both as in PlannedStmt; -1 is not known, 0 is to the end), into "target"
 * of "size" bytes, ended by a zero and clipped at a letter of the database's
 * encoding.  Unless "with_literals", $1, $2 and so on stand for literals, with
 * numbers above those of its parameters, and comments are left out.  Even then
 * literals are masked if the text has a word that can stand before a secret.
 *
 * Raises no error, allocates nothing and takes no lock, whatever the bytes are:
 * it may be called in the log hook.
 */
extern void imon_mask_query(char *target, int size, const char *query,
							int location, int length, bool with_literals);

/*
 * The same for a plan as EXPLAIN writes it: "?" stands for literals; costs and
 * numbers of rows and workers are kept.  False if it was clipped.
 */
extern bool imon_mask_plan(char *target, int size, const char *plan,
						   bool with_literals);

/* Does the text have a word that can stand before a secret? */
extern bool imon_mentions_secret(const char *query, int length);

#endif							/* IMON_MASKING_H */
