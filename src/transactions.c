/*-------------------------------------------------------------------------
 *
 * transactions.c
 *	  Who wants to know that the transaction of this process has ended.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "transactions.h"

#define MAX_CALLBACKS 3

static struct
{
	uint32		what;
	void		(*callback) (XactEvent);
}			callbacks[MAX_CALLBACKS];
static int	n_callbacks = 0;

/* The first transaction is the one that establishes the session. */
IMON_HOT_DATA uint32 imon_awaits = IMON_AWAITS_CONNECTION | IMON_AWAITS_FAILURE;

void
imon_await_transactions(uint32 what, void (*callback) (XactEvent))
{
	Assert(n_callbacks < MAX_CALLBACKS);
	callbacks[n_callbacks].what = what;
	callbacks[n_callbacks++].callback = callback;
}

/* Transaction callback. */
static pg_attribute_hot void
transaction_ends(XactEvent event, void *arg)
{
	if (likely(imon_awaits == 0))
		return;
	for (int i = 0; i < n_callbacks; i++)
		if ((imon_awaits & callbacks[i].what) != 0)
			callbacks[i].callback(event);
}

void
imon_transactions_init(void)
{
	RegisterXactCallback(transaction_ends, NULL);
}
