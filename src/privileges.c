/*-------------------------------------------------------------------------
 *
 * privileges.c
 *	  Who may see the texts of other sessions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "privileges.h"
#include "utils/acl.h"

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
