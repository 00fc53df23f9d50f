/*-------------------------------------------------------------------------
 *
 * privileges.c
 *	  Who may see the texts of other sessions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "privileges.h"
#include "rows.h"
#include "utils/acl.h"

PG_FUNCTION_INFO_V1(imon_may_see_role_1_0);

bool
imon_may_see_role(Oid role)
{
	return has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS) ||
		(OidIsValid(role) && has_privs_of_role(GetUserId(), role));
}

bool
imon_may_see_role_named(const char *name)
{
	return imon_may_see_role(get_role_oid(name, true));
}

/* SQL: may_see_role(oid). */
Datum
imon_may_see_role_1_0(PG_FUNCTION_ARGS)
{
	imon_require_arguments(fcinfo, 1);
	PG_RETURN_BOOL(imon_may_see_role(PG_GETARG_OID(0)));
}
