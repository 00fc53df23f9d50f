/*-------------------------------------------------------------------------
 *
 * rows.c
 *	  What SQL functions return.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "funcapi.h"
#include "rows.h"
#include "utils/tuplestore.h"

/* Raises the error that library and SQL do not agree. */
static void
version_error(const char *what, int ours, int theirs)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("library and extension infra_monitor are of different versions"),
			 errdetail("The number of %s is %d in the library and %d in the declaration of the function.",
					   what, ours, theirs),
			 errhint("Run ALTER EXTENSION infra_monitor UPDATE, and restart the server after an upgrade of the package.")));
}

/* Raises an error unless SQL declares as many columns as the library fills. */
static void
check_columns(TupleDesc tupdesc, int n_columns)
{
	if (tupdesc->natts != n_columns)
		version_error("columns", n_columns, tupdesc->natts);
}

void
imon_require_arguments(FunctionCallInfo fcinfo, int n_arguments)
{
	if (PG_NARGS() < n_arguments)
		version_error("arguments", n_arguments, PG_NARGS());
}

ReturnSetInfo *
imon_begin_rows(FunctionCallInfo fcinfo, int n_columns)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	check_columns(rsinfo->setDesc, n_columns);
	return rsinfo;
}

void
imon_put_row(ReturnSetInfo *rsinfo, Datum *values, bool *nulls)
{
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

Datum
imon_one_row(FunctionCallInfo fcinfo, int n_columns, Datum *values, bool *nulls)
{
	TupleDesc	tupdesc;

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	check_columns(tupdesc, n_columns);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc),
											 values, nulls));
}
