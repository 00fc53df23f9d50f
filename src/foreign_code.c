/*-------------------------------------------------------------------------
 *
 * foreign_code.c
 *	  Code that is not ours does not run with the rights of a superuser.
 *
 * The sampler is a superuser.  What it reads and calls could be changed by
 * whoever owns it, so that it must all belong to superusers, who gain nothing by
 * it.  Two hooks see to that, in our workers only: one is asked for each function
 * that is called, whether by a query, a trigger, an index or a constraint; the
 * other one for the relations, and views, of each query.
 *
 * What is written needs more: nobody else's code belongs into that, whoever has
 * put it there.  The writers ask for it with the table locked, so that the
 * answer stays true until their transaction ends.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_proc.h"
#include "compat.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "foreign_code.h"
#include "histogram_type.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

static needs_fmgr_hook_type prev_needs_fmgr_hook = NULL;
static fmgr_hook_type prev_fmgr_hook = NULL;
static ExecutorCheckPerms_hook_type prev_ExecutorCheckPerms_hook = NULL;

/* Is this what expressions in tables of ours do not call? */
static bool
is_foreign_function(Oid function, void *context)
{
	return function >= FirstNormalObjectId ||
		func_volatile(function) == PROVOLATILE_VOLATILE;
}

/* Does an expression call a function that was not built in, or is volatile? */
static bool
has_foreign_function(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (check_functions_in_node(node, is_foreign_function, context))
		return true;
	if (IsA(node, CoerceToDomain) &&
		((CoerceToDomain *) node)->resulttype >= FirstNormalObjectId)
		return true;
	return expression_tree_walker(node, has_foreign_function, context);
}

/* The same of one that is stored; NULL has none. */
static bool
calls_foreign_function(const char *expression)
{
	return expression &&
		has_foreign_function((Node *) stringToNode(expression), NULL);
}

/* The same of a column of pg_index. */
static bool
index_calls_foreign_function(Relation index, AttrNumber column)
{
	bool		isnull;
	Datum		value = SysCacheGetAttr(INDEXRELID, index->rd_indextuple,
										column, &isnull);

	return !isnull && calls_foreign_function(TextDatumGetCString(value));
}

/* Does an index call functions that are not PostgreSQL's? */
static bool
is_foreign_index(Relation index)
{
	bool		isnull;
	Datum		value = SysCacheGetAttr(INDEXRELID, index->rd_indextuple,
										Anum_pg_index_indclass, &isnull);
	oidvector  *classes = (oidvector *) DatumGetPointer(value);

	for (int i = 0; i < classes->dim1; i++)
		if (classes->values[i] >= FirstNormalObjectId)
			return true;
	return index->rd_rel->relam >= FirstNormalObjectId ||
		index_calls_foreign_function(index, Anum_pg_index_indexprs) ||
		index_calls_foreign_function(index, Anum_pg_index_indpred);
}

static bool
has_foreign_index(Relation rel)
{
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *cell;
	bool		foreign = false;

	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), RowExclusiveLock);

		foreign |= is_foreign_index(index);
		index_close(index, NoLock);
	}
	list_free(indexes);
	return foreign;
}

/* What is wrong with the columns; NULL if nothing. */
static const char *
altered_columns(TupleDesc tupdesc)
{
	const TupleConstr *constr = tupdesc->constr;

	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(tupdesc, i);

		if (column->attisdropped)
			return "a column was dropped";
		if (column->atttypid >= FirstNormalObjectId &&
			column->atttypid != imon_histogram_type())
			return "a column has a type that is not ours";
	}
	for (int i = 0; constr && i < constr->num_defval; i++)
		if (calls_foreign_function(constr->defval[i].adbin))
			return "a column has a default, or is generated, by a function that is not ours";
	for (int i = 0; constr && i < constr->num_check; i++)
		if (calls_foreign_function(constr->check[i].ccbin))
			return "it has a check constraint with a function that is not ours";
	return NULL;
}

const char *
imon_alteration(Relation rel, char kind)
{
	if (rel->rd_rel->relkind != kind)
		return "it is no table like ours";
	if (!superuser_arg(rel->rd_rel->relowner))
		return "its owner is no superuser";
	if (rel->trigdesc != NULL)
		return "it has a trigger";
	if (rel->rd_rules != NULL)
		return "it has a rule";
	if (rel->rd_rel->relrowsecurity)
		return "it has row security";
	if (has_foreign_index(rel))
		return "it has an index with a function that is not ours";
	return altered_columns(RelationGetDescr(rel));
}

/* Was it created after PostgreSQL itself, and is of a role who is no superuser? */
static bool
is_foreign(Oid object, Oid owner)
{
	return object >= FirstNormalObjectId && OidIsValid(owner) &&
		!superuser_arg(owner);
}

/* The owner of a function; InvalidOid if it is gone. */
static Oid
function_owner(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	owner = ((Form_pg_proc) GETSTRUCT(tuple))->proowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* The owner of a relation; InvalidOid if it is gone. */
static Oid
relation_owner(Oid relation)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* Hook: is imon_fmgr_hook to be called for this function? */
static bool
imon_needs_fmgr_hook(Oid function)
{
	return is_foreign(function, function_owner(function)) ||
		(prev_needs_fmgr_hook && prev_needs_fmgr_hook(function));
}

/*
 * Hook: refuses a function.  It is also called for those that have settings of
 * their own.
 */
static void
imon_fmgr_hook(FmgrHookEventType event, FmgrInfo *flinfo, Datum *arg)
{
	Oid			owner = function_owner(flinfo->fn_oid);

	if (event == FHET_START && is_foreign(flinfo->fn_oid, owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("function \"%s\" is not called by infra_monitor: its owner \"%s\" is no superuser",
						get_func_name(flinfo->fn_oid),
						GetUserNameFromId(owner, true))));
	if (prev_fmgr_hook)
		prev_fmgr_hook(event, flinfo, arg);
}

/* Hook: refuses the relations of a query.  Views are among them. */
static bool
imon_ExecutorCheckPerms(IMON_CHECK_PERMS_PARAMETERS)
{
	ListCell   *cell;

	foreach(cell, rangeTable)
	{
		Oid			relation = ((RangeTblEntry *) lfirst(cell))->relid;
		Oid			owner = relation < FirstNormalObjectId ? InvalidOid :
			relation_owner(relation);

		if (is_foreign(relation, owner))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("relation \"%s\" is not used by infra_monitor: its owner \"%s\" is no superuser",
							get_rel_name(relation),
							GetUserNameFromId(owner, true))));
	}
	return prev_ExecutorCheckPerms_hook == NULL ||
		prev_ExecutorCheckPerms_hook(IMON_CHECK_PERMS_ARGUMENTS);
}

void
imon_refuse_foreign_code(void)
{
	prev_needs_fmgr_hook = needs_fmgr_hook;
	needs_fmgr_hook = imon_needs_fmgr_hook;
	prev_fmgr_hook = fmgr_hook;
	fmgr_hook = imon_fmgr_hook;
	prev_ExecutorCheckPerms_hook = ExecutorCheckPerms_hook;
	ExecutorCheckPerms_hook = imon_ExecutorCheckPerms;
}
