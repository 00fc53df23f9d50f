/*-------------------------------------------------------------------------
 *
 * faults.c
 *	  Faults for tests; see faults.h.  Not in an ordinary library.
 *
 * A process fails in the parts that infra_monitor.fail_in names.  There, N in
 * infra_monitor.fail_allocation means the Nth allocation from now; -1 means each
 * place once, the first time that any process passes it; -N each Nth allocation.
 * What was raised is counted in shared memory, by place and part.
 *
 * All that is shared is atomic.  The functions are not part of the extension:
 * the test declares them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "faults.h"
#include "fmgr.h"
#include "internal.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "postmaster/bgworker.h"
#include "rows.h"
#include "shmem.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#define MAX_HELD_MS (60 * 1000)
#define FAULT_COLUMNS 5

/* Where a process is. */
typedef enum ImonFaultPart
{
	PART_CONNECTION,			/* of a client, not yet established */
	PART_SESSION,
	PART_TICK,					/* the sampler outside of transactions */
	PART_TASK,					/* and in one */
	PART_VISIT,					/* of a database */
	PART_OTHER
} ImonFaultPart;

static const char *const part_names[] = {
	"connection", "session", "tick", "task", "visit"
};

typedef struct ImonFaults
{
	LWLock	   *lock;
	pg_atomic_uint32 releases;	/* of what is held or paused */
	pg_atomic_uint32 held;		/* locks, and writers that pause */
	pg_atomic_uint32 armed;		/* the next writer pauses */
	char		paused_file[NAMEDATALEN];
	pg_atomic_uint64 fired[PART_OTHER];
	pg_atomic_uint32 sites[FLEXIBLE_ARRAY_MEMBER];	/* bits by part */
} ImonFaults;

/* The linker knows where the section begins and ends. */
extern IMON_INTERNAL ImonFaultSite __start_imon_fault_sites[];
extern IMON_INTERNAL ImonFaultSite __stop_imon_fault_sites[];

static ImonFaults *faults = NULL;
static int	fail_allocation = 0;
static char *fail_in = NULL;
static int	delay_writer = 0;	/* ms */

/* Allocations until the next one that fails. */
static int	countdown = 0;

PG_FUNCTION_INFO_V1(imon_faults);
PG_FUNCTION_INFO_V1(imon_faults_fired);
PG_FUNCTION_INFO_V1(imon_hold_lock);
PG_FUNCTION_INFO_V1(imon_held);
PG_FUNCTION_INFO_V1(imon_pause_next);
PG_FUNCTION_INFO_V1(imon_release);

static int
n_sites(void)
{
	return __stop_imon_fault_sites - __start_imon_fault_sites;
}

static Size
faults_size(void)
{
	return add_size(offsetof(ImonFaults, sites),
					mul_size(n_sites(), sizeof(pg_atomic_uint32)));
}

static void
init(void *part, LWLock *lock)
{
	ImonFaults *shared = (ImonFaults *) part;

	shared->lock = lock;
	pg_atomic_init_u32(&shared->releases, 0);
	pg_atomic_init_u32(&shared->held, 0);
	pg_atomic_init_u32(&shared->armed, 0);
	for (int i = 0; i < PART_OTHER; i++)
		pg_atomic_init_u64(&shared->fired[i], 0);
	for (int i = 0; i < n_sites(); i++)
		pg_atomic_init_u32(&shared->sites[i], 0);
}

static const ImonShmemPart faults_part = {
	.name = "infra_monitor faults",
	.size = faults_size,
	.init = init,
	.address = (void **) &faults
};

/* Counts from the moment at which the number is set. */
static void
assign_fail_allocation(int newval, void *extra)
{
	countdown = abs(newval);
}

void
imon_faults_init(void)
{
	DefineCustomIntVariable("infra_monitor.fail_allocation",
							"Allocations that fail: the Nth; -1 each once; -N each Nth.",
							NULL,
							&fail_allocation, 0, -INT_MAX, INT_MAX,
							PGC_SUSET, 0,
							NULL, assign_fail_allocation, NULL);
	DefineCustomStringVariable("infra_monitor.fail_in",
							   "Parts in which allocations fail.",
							   NULL,
							   &fail_in, "",
							   PGC_SUSET, 0,
							   NULL, NULL, NULL);
	DefineCustomIntVariable("infra_monitor.delay_writer",
							"Time by which each statement of the sampler is delayed.",
							NULL,
							&delay_writer, 0, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_MS,
							NULL, NULL, NULL);
	imon_shmem_register(&faults_part);
}

/* Where this process is. */
static ImonFaultPart
current_part(void)
{
	if (MyBgworkerEntry)
	{
		if (strcmp(MyBgworkerEntry->bgw_type, "infra_monitor sampler") == 0)
			return IsTransactionState() ? PART_TASK : PART_TICK;
		if (strcmp(MyBgworkerEntry->bgw_type, "infra_monitor database check") == 0)
			return PART_VISIT;
		return PART_OTHER;
	}
	if (MyProcPort == NULL)
		return PART_OTHER;
	return IsNormalProcessingMode() ? PART_SESSION : PART_CONNECTION;
}

/* Is a fault asked for that is due in this part, at this place? */
static bool
is_due(ImonFaultPart part, int place)
{
	uint32		bit = 1U << part;
	uint32		before;

	if (part == PART_OTHER || strstr(fail_in, part_names[part]) == NULL)
		return false;
	if (fail_allocation != -1)
	{
		if (--countdown != 0)
			return false;
		countdown = Max(-fail_allocation, 0);
	}
	before = pg_atomic_fetch_or_u32(&faults->sites[place], bit);
	return fail_allocation != -1 || (before & bit) == 0;
}

bool
imon_fault_is_due(const ImonFaultSite *site, bool raises)
{
	ImonFaultPart part;

	if (fail_allocation == 0 || faults == NULL)
		return false;
	part = current_part();
	if (!is_due(part, site - __start_imon_fault_sites))
		return false;
	pg_atomic_fetch_add_u64(&faults->fired[part], 1);
	if (raises)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory"),
				 errdetail_internal("Injected at %s:%d, %s.",
									site->file, site->line, site->call)));
	return true;
}

void
imon_delay_writer(void)
{
	TimestampTz until;

	if (delay_writer == 0 || current_part() != PART_TASK)
		return;
	until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), delay_writer);
	while (GetCurrentTimestamp() < until)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 10, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* Waits until imon_release() is called, without being interrupted. */
static void
wait_for_release(void)
{
	uint32		releases = pg_atomic_read_u32(&faults->releases);

	pg_atomic_fetch_add_u32(&faults->held, 1);
	for (int ms = 0; ms < MAX_HELD_MS; ms += 10)
	{
		if (releases != pg_atomic_read_u32(&faults->releases))
			break;
		pg_usleep(10 * 1000);
	}
	pg_atomic_fetch_sub_u32(&faults->held, 1);
}

void
imon_pause(const char *file)
{
	uint32		armed = 1;

	if (faults == NULL || MyProcPort == NULL ||
		pg_atomic_read_u32(&faults->armed) == 0 ||
		strcmp(faults->paused_file, file) != 0 ||
		!pg_atomic_compare_exchange_u32(&faults->armed, &armed, 0))
		return;
	wait_for_release();
}

/* SQL: the next writer in this file pauses before it shows what it has written. */
Datum
imon_pause_next(PG_FUNCTION_ARGS)
{
	strlcpy(faults->paused_file, text_to_cstring(PG_GETARG_TEXT_PP(0)),
			NAMEDATALEN);
	pg_memory_barrier();
	pg_atomic_write_u32(&faults->armed, 1);
	PG_RETURN_VOID();
}

/*
 * SQL: holds the lock of the Nth part of shared memory, from 0 on, until it is
 * released; talks to the log meanwhile, and raises an error if asked to.
 */
Datum
imon_hold_lock(PG_FUNCTION_ARGS)
{
	/* locks of a tranche are an array; ours is the one of our part */
	int			mine = PG_GETARG_INT32(1);
	LWLockPadded *own = (LWLockPadded *) faults->lock;
	LWLock	   *lock = &own[PG_GETARG_INT32(0) - mine].lock;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	ereport(LOG, (errmsg("infra_monitor holds a lock")));
	wait_for_release();
	if (PG_GETARG_BOOL(2))
		elog(ERROR, "an error while a lock is held");
	LWLockRelease(lock);
	PG_RETURN_VOID();
}

/* SQL: how many processes hold a lock, or pause. */
Datum
imon_held(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32((int) pg_atomic_read_u32(&faults->held));
}

/* SQL: lets them go on. */
Datum
imon_release(PG_FUNCTION_ARGS)
{
	pg_atomic_write_u32(&faults->armed, 0);
	pg_atomic_fetch_add_u32(&faults->releases, 1);
	PG_RETURN_VOID();
}

/* SQL: how many faults have been raised in a part, all of them if it is NULL. */
Datum
imon_faults_fired(PG_FUNCTION_ARGS)
{
	uint64		sum = 0;

	for (int i = 0; i < PART_OTHER; i++)
		if (PG_ARGISNULL(0) ||
			strcmp(part_names[i], text_to_cstring(PG_GETARG_TEXT_PP(0))) == 0)
			sum += pg_atomic_read_u64(&faults->fired[i]);
	PG_RETURN_INT64((int64) sum);
}

/* SQL: a row for each place and part: file, line, call, part, fired. */
Datum
imon_faults(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = imon_begin_rows(fcinfo, FAULT_COLUMNS);

	for (int i = 0; i < n_sites(); i++)
		for (int part = 0; part < PART_OTHER; part++)
		{
			const ImonFaultSite *site = &__start_imon_fault_sites[i];
			Datum		values[FAULT_COLUMNS];
			bool		nulls[FAULT_COLUMNS] = {false};

			values[0] = CStringGetTextDatum(site->file);
			values[1] = Int32GetDatum(site->line);
			values[2] = CStringGetTextDatum(site->call);
			values[3] = CStringGetTextDatum(part_names[part]);
			values[4] = BoolGetDatum((pg_atomic_read_u32(&faults->sites[i]) & 1U << part) != 0);
			imon_put_row(rsinfo, values, nulls);
		}
	return (Datum) 0;
}
