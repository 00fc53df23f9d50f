/*-------------------------------------------------------------------------
 *
 * contained.c
 *	  Subtransactions that contain errors.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "contained.h"
#include "utils/memutils.h"

void
imon_begin_contained(ImonContained *contained)
{
	contained->context = CurrentMemoryContext;
	contained->owner = CurrentResourceOwner;
	contained->level = GetCurrentTransactionNestLevel();
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(contained->context);
}

/* Back to where the caller was. */
static void
restore(const ImonContained *contained)
{
	MemoryContextSwitchTo(contained->context);
	CurrentResourceOwner = contained->owner;
}

void
imon_end_contained(const ImonContained *contained)
{
	ReleaseCurrentSubTransaction();
	restore(contained);
}

/* A copy of the current error, which is forgotten. */
static ErrorData *
take_error(void)
{
	static ErrorData without_memory = {
		.elevel = ERROR,
		.output_to_server = true,
		.output_to_client = true,
		.message = "out of memory"
	};
	ErrorData  *volatile error = &without_memory;

	without_memory.sqlerrcode = geterrcode();
	PG_TRY();
	{
		error = CopyErrorData();
	}
	PG_CATCH();
	{
		/* there was another one before: that is the one to report */
	}
	PG_END_TRY();
	FlushErrorState();
	return error;
}

ErrorData *
imon_catch_contained(const ImonContained *contained)
{
	ErrorData  *error;

	MemoryContextSwitchTo(contained->context);
	error = take_error();
	/* it may have come out of a subtransaction in this one */
	while (GetCurrentTransactionNestLevel() > contained->level)
		RollbackAndReleaseCurrentSubTransaction();
	restore(contained);
	return error;
}
