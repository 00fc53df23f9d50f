/*-------------------------------------------------------------------------
 *
 * limits.c
 *	  How many connections roles and databases have of those that they may.
 *
 * Goes from the sessions to the roles and databases that have some, not the
 * other way round: a server may have thousands of roles and databases, and
 * most of them nobody is connected as, or to.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "activity.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "fmgr.h"
#include "rows.h"
#include "texts.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#define LIMIT_COLUMNS 4

PG_FUNCTION_INFO_V1(imon_limit_usage_1_0);

static int
compare_oids(const void *a, const void *b)
{
	Oid			oid_a = *(const Oid *) a;
	Oid			oid_b = *(const Oid *) b;

	return (oid_a > oid_b) - (oid_a < oid_b);
}

/* Puts a limit and what is used of it into the result. */
static void
put_limit(ReturnSetInfo *rsinfo, const char *scope, const char *name,
		  int connections, int limit)
{
	Datum		values[LIMIT_COLUMNS];
	bool		nulls[LIMIT_COLUMNS] = {false};

	values[0] = CStringGetTextDatum(scope);
	values[1] = imon_name_datum(name, &nulls[1]);
	values[2] = Int32GetDatum(connections);
	values[3] = Int32GetDatum(limit);
	imon_put_row(rsinfo, values, nulls);
}

/* A role with so many connections; a superuser heeds no limit. */
static void
put_role(ReturnSetInfo *rsinfo, Oid role, int connections)
{
	HeapTuple	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	Form_pg_authid form;

	if (!HeapTupleIsValid(tuple))
		return;
	form = (Form_pg_authid) GETSTRUCT(tuple);
	if (form->rolconnlimit >= 0 && !form->rolsuper)
		put_limit(rsinfo, "role", NameStr(form->rolname), connections,
				  form->rolconnlimit);
	ReleaseSysCache(tuple);
}

/* A database with so many connections, those of superusers among them. */
static void
put_database(ReturnSetInfo *rsinfo, Oid database, int connections)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	Form_pg_database form;

	if (!HeapTupleIsValid(tuple))
		return;
	form = (Form_pg_database) GETSTRUCT(tuple);
	if (form->datconnlimit >= 0)
		put_limit(rsinfo, "database", NameStr(form->datname), connections,
				  form->datconnlimit);
	ReleaseSysCache(tuple);
}

/* Sorts the oids, and hands each to "put" with the number of times it occurs. */
static void
put_groups(ReturnSetInfo *rsinfo, Oid *oids, int n,
		   void (*put) (ReturnSetInfo *, Oid, int))
{
	int			next;

	qsort(oids, n, sizeof(Oid), compare_oids);
	for (int first = 0; first < n; first = next)
	{
		for (next = first + 1; next < n && oids[next] == oids[first];)
			next++;
		put(rsinfo, oids[first], next - first);
	}
}

/*
 * SQL: limit_usage, a row for each role and each database that has a limit and
 * connections: scope, name, connections, connection_limit.
 */
Datum
imon_limit_usage_1_0(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = imon_begin_rows(fcinfo, LIMIT_COLUMNS);
	ImonSessions sessions;
	Oid		   *roles;
	Oid		   *databases;
	int			n = 0;

	imon_look_at_sessions(&sessions);
	roles = palloc(sizeof(Oid) * Max(sessions.count, 1));
	databases = palloc(sizeof(Oid) * Max(sessions.count, 1));
	for (int i = 0; i < sessions.count; i++)
	{
		const ImonSession *session = &sessions.sessions[i];

		if (!session->is_client)
			continue;
		roles[n] = session->status->st_userid;
		databases[n++] = session->status->st_databaseid;
	}
	put_groups(rsinfo, roles, n, put_role);
	put_groups(rsinfo, databases, n, put_database);
	return (Datum) 0;
}
