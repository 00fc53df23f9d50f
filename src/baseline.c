/*-------------------------------------------------------------------------
 *
 * baseline.c
 *	  What statements had counted at the last sample that was committed.
 *
 * It is a tally in dynamic shared memory.  It is never changed: a sample writes
 * the next one to a segment of its own, and when its transaction commits the
 * handle of that takes the place of the other, which is freed.  If it does not
 * commit, its segment is freed, and nothing has happened.  Samples are
 * serialised by the writers' lock (see partitions.h), so that there is one next
 * baseline at a time.
 *
 * Segments live as long as fixed shared memory does, whoever made them: until
 * the server stops, or starts anew after a crash.  The lock guards the handle
 * only, and is held for nothing but to read or exchange it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "baseline.h"
#include "shmem.h"

typedef struct ImonBaselineState
{
	LWLock	   *lock;			/* guards all */
	dsm_handle	handle;			/* 0 = none yet */
	bool		lost;			/* it can't be opened any more */
	Size		size;
} ImonBaselineState;

static ImonBaselineState *state = NULL;

/* The next baseline, until the transaction ends. */
static dsm_segment *next = NULL;
static Size next_size;
static dsm_handle replaced;		/* by it */
static SubTransactionId next_in;

static Size
baseline_size(void)
{
	return sizeof(ImonBaselineState);
}

static void
baseline_init(void *part, LWLock *lock)
{
	ImonBaselineState *shared = (ImonBaselineState *) part;

	shared->lock = lock;
	shared->handle = DSM_HANDLE_INVALID;
	shared->lost = false;
	shared->size = 0;
}

static const ImonShmemPart baseline_part = {
	.name = "infra_monitor baseline",
	.size = baseline_size,
	.init = baseline_init,
	.address = (void **) &state
};

void
imon_baseline_init(void)
{
	imon_shmem_register(&baseline_part);
}

/* Notes that the baseline is not to be had any more. */
static void
note_lost(bool freed)
{
	LWLockAcquire(state->lock, LW_EXCLUSIVE);
	state->lost = true;
	if (freed)
		state->handle = DSM_HANDLE_INVALID;
	LWLockRelease(state->lock);
}

/*
 * Attaches to the segment.  The error that its file is not there any more is
 * one that lasts: whoever tidies up /dev/shm can cause it.  (So is, without an
 * error, that PostgreSQL does not know it.)
 */
static dsm_segment *
attach(dsm_handle handle)
{
	dsm_segment *volatile segment = NULL;

	PG_TRY();
	{
		segment = dsm_attach(handle);
	}
	PG_CATCH();
	{
		if (geterrcode() == ERRCODE_UNDEFINED_FILE)
			note_lost(false);
		PG_RE_THROW();
	}
	PG_END_TRY();

	if (segment == NULL)
	{
		note_lost(true);
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("what statements had counted at the last sample is not known any more")));
	}
	return segment;
}

void
imon_open_baseline(ImonBaseline *baseline)
{
	memset(baseline, 0, sizeof(*baseline));
	LWLockAcquire(state->lock, LW_SHARED);
	baseline->handle = state->handle;
	baseline->known = !state->lost;
	LWLockRelease(state->lock);

	if (!baseline->known || baseline->handle == DSM_HANDLE_INVALID)
		return;
	baseline->segment = attach(baseline->handle);
	baseline->tally = dsm_segment_address(baseline->segment);
}

void
imon_close_baseline(ImonBaseline *baseline)
{
	if (baseline->segment)
		dsm_detach(baseline->segment);
	baseline->segment = NULL;
	baseline->tally = NULL;
}

/* Frees the next baseline, which will never be one. */
static void
forget_next(void)
{
	if (next)
		dsm_detach(next);
	next = NULL;
}

/*
 * The next baseline takes the place of that which it was compared with.  On a
 * standby there is no writers' lock: should another have been faster, just
 * after a promotion, then its baseline stays.
 */
static void
publish_next(void)
{
	dsm_handle	obsolete = dsm_segment_handle(next);

	dsm_pin_segment(next);
	LWLockAcquire(state->lock, LW_EXCLUSIVE);
	if (state->handle == replaced)
	{
		state->handle = obsolete;
		state->size = next_size;
		state->lost = false;
		obsolete = replaced;
	}
	LWLockRelease(state->lock);
	if (obsolete != DSM_HANDLE_INVALID)
		dsm_unpin_segment(obsolete);
	forget_next();
}

/* Transaction callback: the sample is stored, or it never was. */
static void
sample_ends(XactEvent event, void *arg)
{
	if (likely(next == NULL))
		return;
	switch (event)
	{
		case XACT_EVENT_PRE_PREPARE:
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot PREPARE a transaction that has taken a sample")));
			break;
		case XACT_EVENT_COMMIT:
			publish_next();
			break;
		case XACT_EVENT_ABORT:
			forget_next();
			break;
		default:
			break;
	}
}

/* Subtransaction callback: forgets the sample if it was rolled back with it. */
static void
sample_rolled_back(SubXactEvent event, SubTransactionId mySubid,
				   SubTransactionId parentSubid, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB && next && next_in >= mySubid)
		forget_next();
}

void
imon_replace_baseline(const ImonBaseline *baseline, const ImonTally *tally)
{
	static bool registered = false;

	if (!registered)
	{
		RegisterXactCallback(sample_ends, NULL);
		RegisterSubXactCallback(sample_rolled_back, NULL);
		registered = true;
	}
	Assert(next == NULL);
	next = dsm_create(tally->size, 0);
	dsm_pin_mapping(next);		/* until the callbacks detach it */
	memcpy(dsm_segment_address(next), tally, tally->size);
	next_size = tally->size;
	replaced = baseline->handle;
	next_in = GetCurrentSubTransactionId();
}

bool
imon_baseline_pending(void)
{
	return next != NULL;
}

Size
imon_baseline_size(void)
{
	Size		size;

	LWLockAcquire(state->lock, LW_SHARED);
	size = state->size;
	LWLockRelease(state->lock);
	return size;
}
