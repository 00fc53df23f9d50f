/*-------------------------------------------------------------------------
 *
 * extension.c
 *	  Is the extension in this database, and in our version?
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_extension.h"
#include "extension.h"
#include "fmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "version.h"

ImonExtension
imon_find_extension(Oid *oid, char **version)
{
	Relation	catalog = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	*oid = InvalidOid;
	*version = NULL;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber,
				F_NAMEEQ, CStringGetDatum("infra_monitor"));
	scan = systable_beginscan(catalog, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		value = heap_getattr(tuple, Anum_pg_extension_extversion,
										 RelationGetDescr(catalog), &isnull);

		*oid = ((Form_pg_extension) GETSTRUCT(tuple))->oid;
		*version = isnull ? pstrdup("") : TextDatumGetCString(value);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);

	if (*version == NULL)
		return IMON_EXTENSION_ABSENT;
	if (strcmp(*version, IMON_VERSION) != 0)
		return IMON_EXTENSION_OTHER_VERSION;
	return IMON_EXTENSION_PRESENT;
}

ImonExtension
imon_hold_extension(Oid *oid, char **version)
{
	ImonExtension found = imon_find_extension(oid, version);
	Oid			held = *oid;

	if (found == IMON_EXTENSION_ABSENT)
		return found;
	if (!ConditionalLockDatabaseObject(ExtensionRelationId, held, 0,
									   AccessShareLock))
		return IMON_EXTENSION_BUSY;

	/* what was found before the lock may be gone, or be another one */
	found = imon_find_extension(oid, version);
	return *oid == held ? found : IMON_EXTENSION_BUSY;
}
