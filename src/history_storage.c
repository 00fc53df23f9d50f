/*-------------------------------------------------------------------------
 *
 * history_storage.c
 *	  Between which moments a partition of the history has rows.
 *
 * Rows are only added, in the order of their times, so those of the first and
 * of the last page say it: nothing else is read.  Who may not read the rows may
 * know that.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_am.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "rows.h"
#include "storage/bufmgr.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define LOOKED_AT 64			/* pages at most, if the last have no rows */

PG_FUNCTION_INFO_V1(imon_history_span_1_0);

/*
 * The column of this partition by which its table is partitioned, if that is a
 * moment; InvalidAttrNumber if it is not, or if it is no partition of ours.
 */
static AttrNumber
moment_column(Relation partition)
{
	AttrNumber	column = InvalidAttrNumber;
	Relation	parent;
	PartitionKey key;

	if (!partition->rd_rel->relispartition ||
		partition->rd_rel->relkind != RELKIND_RELATION ||
		partition->rd_rel->relam != HEAP_TABLE_AM_OID)
		return InvalidAttrNumber;
	parent = relation_open(get_partition_parent(RelationGetRelid(partition), false),
						   AccessShareLock);
	key = RelationGetPartitionKey(parent);
	if (RelationGetNamespace(parent) == get_namespace_oid("infra_monitor", false) &&
		key->partnatts == 1 && key->partattrs[0] != 0 &&
		key->parttypid[0] == TIMESTAMPTZOID)
		column = get_attnum(RelationGetRelid(partition),
							get_attname(RelationGetRelid(parent),
										key->partattrs[0], false));
	relation_close(parent, AccessShareLock);
	return column;
}

/*
 * The first (or else the last) moment in a range of pages; false if they have
 * no rows.
 */
static bool
look_at_pages(Relation partition, AttrNumber column, BlockNumber from,
			  BlockNumber to, bool first, TimestampTz *moment)
{
	ItemPointerData lowest;
	ItemPointerData highest;
	TableScanDesc scan;
	TupleTableSlot *slot = table_slot_create(partition, NULL);
	bool		found = false;

	ItemPointerSet(&lowest, from, FirstOffsetNumber);
	ItemPointerSet(&highest, to, MaxOffsetNumber);
	scan = imon_beginscan_tidrange(partition, GetActiveSnapshot(),
								   &lowest, &highest);
	while (table_scan_getnextslot_tidrange(scan, ForwardScanDirection, slot))
	{
		bool		isnull;
		Datum		value = slot_getattr(slot, column, &isnull);

		CHECK_FOR_INTERRUPTS();
		if (isnull)
			continue;
		found = true;
		*moment = DatumGetTimestampTz(value);
		if (first)
			break;
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	return found;
}

/* The same from the end on, as far as LOOKED_AT allows. */
static bool
look_at_end(Relation partition, AttrNumber column, BlockNumber pages,
			TimestampTz *moment)
{
	for (BlockNumber i = 1; i <= Min(pages, LOOKED_AT); i++)
		if (look_at_pages(partition, column, pages - i, pages - i, false, moment))
			return true;
	return false;
}

/*
 * SQL: history_span(partition), one row: first, last; NULL without rows, and for
 * what is no partition of the history.
 */
Datum
imon_history_span_1_0(PG_FUNCTION_ARGS)
{
	Datum		values[2] = {0};
	bool		nulls[2] = {true, true};
	TimestampTz moment;
	Relation	partition;

	imon_require_arguments(fcinfo, 1);
	partition = try_relation_open(PG_GETARG_OID(0), AccessShareLock);
	if (partition)
	{
		AttrNumber	column = moment_column(partition);
		BlockNumber pages = column == InvalidAttrNumber ? 0 :
			RelationGetNumberOfBlocks(partition);

		if (pages > 0 &&
			look_at_pages(partition, column, 0, pages - 1, true, &moment))
			values[0] = imon_moment_datum(moment, &nulls[0]);
		if (pages > 0 && look_at_end(partition, column, pages, &moment))
			values[1] = imon_moment_datum(moment, &nulls[1]);
		relation_close(partition, AccessShareLock);
	}
	PG_RETURN_DATUM(imon_one_row(fcinfo, lengthof(values), values, nulls));
}
