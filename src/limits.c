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
#include "connection_limits.h"
#include "fmgr.h"
#include "nodes/pg_list.h"
#include "rows.h"
#include "texts.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#define LIMIT_COLUMNS 4
#define NEAREST_COLUMNS 4

PG_FUNCTION_INFO_V1(imon_limit_usage_1_0);
PG_FUNCTION_INFO_V1(imon_nearest_limit_1_0);

static int
compare_oids(const void *a, const void *b)
{
	Oid			oid_a = *(const Oid *) a;
	Oid			oid_b = *(const Oid *) b;

	return (oid_a > oid_b) - (oid_a < oid_b);
}

static List *
add_limit(List *limits, const char *scope, Oid oid, const NameData *name,
		  int connections, int limit)
{
	ImonLimit  *new = palloc(sizeof(ImonLimit));

	new->scope = scope;
	new->oid = oid;
	new->name = pstrdup(NameStr(*name));
	new->connections = connections;
	new->limit = limit;
	return lappend(limits, new);
}

/* Adds a role with so many connections; a superuser heeds no limit. */
static List *
add_role(List *limits, Oid role, int connections)
{
	HeapTuple	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	Form_pg_authid form;

	if (!HeapTupleIsValid(tuple))
		return limits;
	form = (Form_pg_authid) GETSTRUCT(tuple);
	if (form->rolconnlimit >= 0 && !form->rolsuper)
		limits = add_limit(limits, "role", role, &form->rolname,
						   connections, form->rolconnlimit);
	ReleaseSysCache(tuple);
	return limits;
}

/* Adds a database with so many connections, also those of superusers. */
static List *
add_database(List *limits, Oid database, int connections)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	Form_pg_database form;

	if (!HeapTupleIsValid(tuple))
		return limits;
	form = (Form_pg_database) GETSTRUCT(tuple);
	if (form->datconnlimit >= 0)
		limits = add_limit(limits, "database", database, &form->datname,
						   connections, form->datconnlimit);
	ReleaseSysCache(tuple);
	return limits;
}

/* Sorts the oids, and hands each to "add" with the number of its occurrences. */
static List *
add_groups(List *limits, Oid *oids, int n, List *(*add) (List *, Oid, int))
{
	int			next;

	qsort(oids, n, sizeof(Oid), compare_oids);
	for (int first = 0; first < n; first = next)
	{
		for (next = first + 1; next < n && oids[next] == oids[first];)
			next++;
		limits = add(limits, oids[first], next - first);
	}
	return limits;
}

List *
imon_collect_limits(const ImonSessions *sessions)
{
	Oid		   *roles;
	Oid		   *databases;
	int			n = 0;

	roles = palloc(sizeof(Oid) * Max(sessions->count, 1));
	databases = palloc(sizeof(Oid) * Max(sessions->count, 1));
	for (int i = 0; i < sessions->count; i++)
	{
		const ImonSession *session = &sessions->sessions[i];

		if (!session->is_client)
			continue;
		roles[n] = session->status->st_userid;
		databases[n++] = session->status->st_databaseid;
	}
	return add_groups(add_groups(NIL, roles, n, add_role),
					  databases, n, add_database);
}

/* The same, of the sessions now. */
static List *
collect_limits(void)
{
	ImonSessions sessions;

	imon_look_at_sessions(&sessions);
	return imon_collect_limits(&sessions);
}

/*
 * SQL: limit_usage, a row for each role and each database that has a limit and
 * connections: scope, name, connections, connection_limit.
 */
Datum
imon_limit_usage_1_0(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = imon_begin_rows(fcinfo, LIMIT_COLUMNS);
	ListCell   *cell;

	foreach(cell, collect_limits())
	{
		ImonLimit  *limit = lfirst(cell);
		Datum		values[LIMIT_COLUMNS];
		bool		nulls[LIMIT_COLUMNS] = {false};

		values[0] = CStringGetTextDatum(limit->scope);
		values[1] = imon_name_datum(limit->name, &nulls[1]);
		values[2] = Int32GetDatum(limit->connections);
		values[3] = Int32GetDatum(limit->limit);
		imon_put_row(rsinfo, values, nulls);
	}
	return (Datum) 0;
}

double
imon_limit_ratio(const ImonLimit *limit)
{
	return limit->limit > 0 ? (double) limit->connections / limit->limit : 1;
}

/* Will a be hit before b?  Of equally near ones that with less left. */
static bool
hit_before(const ImonLimit *a, const ImonLimit *b)
{
	int			left_a = a->limit - a->connections;
	int			left_b = b->limit - b->connections;

	if (imon_limit_ratio(a) != imon_limit_ratio(b))
		return imon_limit_ratio(a) > imon_limit_ratio(b);
	if (left_a != left_b)
		return left_a < left_b;
	return strcmp(a->name, b->name) < 0;
}

/* The one of a scope that will be hit first, or NULL. */
static ImonLimit *
nearest_of(List *limits, const char *scope)
{
	ImonLimit  *nearest = NULL;
	ListCell   *cell;

	foreach(cell, limits)
	{
		ImonLimit  *limit = lfirst(cell);

		if (strcmp(limit->scope, scope) == 0 &&
			(nearest == NULL || hit_before(limit, nearest)))
			nearest = limit;
	}
	return nearest;
}

void
imon_nearest_limits(const ImonSessions *sessions, double *role, double *database)
{
	List	   *limits = imon_collect_limits(sessions);
	ImonLimit  *of_role = nearest_of(limits, "role");
	ImonLimit  *of_database = nearest_of(limits, "database");

	*role = of_role ? imon_limit_ratio(of_role) : 0;
	*database = of_database ? imon_limit_ratio(of_database) : 0;
}

/*
 * SQL: nearest_limit(scope), the row of limit_usage of that scope whose limit
 * will be hit first: name, connections, connection_limit, ratio; or NULLs and
 * a ratio of 0.
 */
Datum
imon_nearest_limit_1_0(PG_FUNCTION_ARGS)
{
	ImonLimit  *nearest;
	Datum		values[NEAREST_COLUMNS];
	bool		nulls[NEAREST_COLUMNS] = {false};

	imon_require_arguments(fcinfo, 1);
	nearest = nearest_of(collect_limits(), PG_ARGISNULL(0) ? "" :
						 text_to_cstring(PG_GETARG_TEXT_PP(0)));

	values[0] = imon_name_datum(nearest ? nearest->name : NULL, &nulls[0]);
	values[1] = Int32GetDatum(nearest ? nearest->connections : 0);
	values[2] = Int32GetDatum(nearest ? nearest->limit : 0);
	nulls[1] = nulls[2] = (nearest == NULL);
	values[3] = Float8GetDatum(nearest ? imon_limit_ratio(nearest) : 0);
	PG_RETURN_DATUM(imon_one_row(fcinfo, NEAREST_COLUMNS, values, nulls));
}
