/*-------------------------------------------------------------------------
 *
 * advice.c
 *	  What advice on the sizes of pools is computed from.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>
#include <unistd.h>

#include "fmgr.h"
#include "rows.h"
#include "utils/builtins.h"

/* What is added to it must also fit into an int. */
#define MOST_CONNECTIONS 1000000000

PG_FUNCTION_INFO_V1(imon_pool_formula_1_0);
PG_FUNCTION_INFO_V1(imon_processors_1_0);

/*
 * Adds the product of two arguments, of which both or none must be given, to
 * *sum.  Returns false if none is.
 */
static bool
add_product(FunctionCallInfo fcinfo, int first, const char *names[], int64 *sum)
{
	if (PG_ARGISNULL(first) && PG_ARGISNULL(first + 1))
		return false;
	for (int i = 0; i < 2; i++)
	{
		if (PG_ARGISNULL(first + i))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("%s is given without %s", names[1 - i], names[i]),
					 errhint("What is multiplied must be given together: instances with concurrent_requests, workers with worker_concurrency.")));
		if (PG_GETARG_INT32(first + i) < 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("%s must not be negative", names[i]),
					 errhint("Leave out what is not known.")));
	}
	*sum += (int64) PG_GETARG_INT32(first) * PG_GETARG_INT32(first + 1);
	return true;
}

/*
 * SQL: pool_formula(instances, concurrent_requests, workers,
 * worker_concurrency), how many connections an application can use at once;
 * NULL if nothing is given.
 */
Datum
imon_pool_formula_1_0(PG_FUNCTION_ARGS)
{
	const char *requests[] = {"instances", "concurrent_requests"};
	const char *workers[] = {"workers", "worker_concurrency"};
	int64		sum = 0;
	bool		given;

	imon_require_arguments(fcinfo, 4);
	given = add_product(fcinfo, 0, requests, &sum);
	given |= add_product(fcinfo, 2, workers, &sum);
	if (!given)
		PG_RETURN_NULL();
	if (sum > MOST_CONNECTIONS)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("no server has that many connections")));
	PG_RETURN_INT32((int32) sum);
}

/* SQL: processors, those that are online; NULL if that is not known. */
Datum
imon_processors_1_0(PG_FUNCTION_ARGS)
{
#ifdef _SC_NPROCESSORS_ONLN
	long		processors = sysconf(_SC_NPROCESSORS_ONLN);

	if (processors > 0 && processors <= INT_MAX)
		PG_RETURN_INT32((int32) processors);
#endif
	PG_RETURN_NULL();
}
