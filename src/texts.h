/*-------------------------------------------------------------------------
 *
 * texts.h
 *	  Makes bytes from elsewhere fit to be shown: names sent by clients, query
 *	  texts of other databases, socket addresses.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_TEXTS_H
#define IMON_TEXTS_H

#include "libpq/pqcomm.h"

/*
 * Text in the encoding of this database, palloc'd; "?" stands for what is not
 * valid or has no equivalent in it.  Never an error.  Needs a transaction.
 */
extern char *imon_convert(const char *bytes, int encoding);

/* The same, but to UTF-8, whatever the encoding of this database. */
extern char *imon_convert_to_utf8(const char *bytes, int encoding);

/*
 * Bytes of an unknown encoding as text of this database.  If they are not valid
 * in its encoding, "?" stands for each that is not ASCII.
 */
extern char *imon_valid_text(const char *bytes);

/* A text datum of imon_valid_text(). */
extern Datum imon_text_datum(const char *bytes);

/* A name datum of it; *isnull where "name" is NULL. */
extern Datum imon_name_datum(const char *name, bool *isnull);

/*
 * A text datum of a query.  A query that can carry a secret (a password of a
 * role, a user mapping, a subscription) is reduced to its command tag.
 */
extern Datum imon_query_datum(const char *query);

/* An inet datum of a client's address; *isnull for a Unix-domain socket. */
extern Datum imon_client_addr_datum(const SockAddr *address, bool *isnull);

#endif							/* IMON_TEXTS_H */
