/*-------------------------------------------------------------------------
 *
 * shmem.c
 *	  Fixed shared memory, one named part for each module that needs some.
 *
 * Each part has one LWLock of the tranche "infra_monitor".  The pointer to it
 * is kept in the part, not in a static variable, so that it is right in every
 * process however that process was started.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "rows.h"
#include "shmem.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define TRANCHE_NAME "infra_monitor"
#define MAX_PARTS 40
#define MEMORY_COLUMNS 2
#define MANY_BYTES ((Size) 64 * 1024 * 1024)	/* worth a line in the log */

/* First part of all: what is common. */
typedef struct ImonShmemHeader
{
	TimestampTz created_at;		/* written once, at creation */
} ImonShmemHeader;

static ImonShmemHeader *header = NULL;

static const ImonShmemPart *parts[MAX_PARTS];
static int	n_parts = 0;

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

PG_FUNCTION_INFO_V1(imon_preloaded_1_0);
PG_FUNCTION_INFO_V1(imon_shared_memory_1_0);

static Size
header_size(void)
{
	return sizeof(ImonShmemHeader);
}

static void
header_init(void *part, LWLock *lock)
{
	((ImonShmemHeader *) part)->created_at = GetCurrentTimestamp();
}

static const ImonShmemPart header_part = {
	.name = "infra_monitor header",
	.size = header_size,
	.init = header_init,
	.address = (void **) &header
};

/*
 * Says how much memory we ask for if it is much: should the system not have it,
 * PostgreSQL's own message names only settings of its own.
 */
static void
report_many_bytes(void)
{
	Size		bytes = imon_shmem_bytes();

	if (bytes > MANY_BYTES)
		ereport(LOG,
				(errmsg("infra_monitor takes %zu MB of shared memory",
						bytes / (1024 * 1024)),
				 errhint("If that is too much, reduce infra_monitor.max_statements, infra_monitor.slow_query_log_size or infra_monitor.slow_query_text_size.")));
}

/* Asks for the memory and the locks of all parts. */
static void
imon_shmem_request(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();

	for (int i = 0; i < n_parts; i++)
		RequestAddinShmemSpace(MAXALIGN(parts[i]->size()));
	report_many_bytes();
	RequestNamedLWLockTranche(TRANCHE_NAME, n_parts);
}

/*
 * Allocates and initialises the parts, or attaches to them.  Runs in the
 * postmaster at start and after a crash of a backend.
 */
static void
imon_shmem_startup(void)
{
	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();

	/* in case this is a restart within the postmaster */
	for (int i = 0; i < n_parts; i++)
		*parts[i]->address = NULL;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	for (int i = 0; i < n_parts; i++)
	{
		Size		size = parts[i]->size();
		bool		found;
		void	   *address = ShmemInitStruct(parts[i]->name, size, &found);

		if (!found)
		{
			/* a child that was executed, not forked, does not know the name */
			LWLockPadded *locks = GetNamedLWLockTranche(TRANCHE_NAME);

			memset(address, 0, size);
			parts[i]->init(address, &locks[i].lock);
		}
		*parts[i]->address = address;
	}
	LWLockRelease(AddinShmemInitLock);
}

void
imon_shmem_register(const ImonShmemPart *part)
{
	if (n_parts >= MAX_PARTS)
		elog(ERROR, "too many parts of shared memory");
	parts[n_parts++] = part;
}

void
imon_shmem_init(void)
{
	imon_shmem_register(&header_part);

	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = imon_shmem_request;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = imon_shmem_startup;
}

bool
imon_shmem_ready(void)
{
	return header != NULL;
}

void
imon_shmem_require(void)
{
	if (!imon_shmem_ready())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("infra_monitor must be loaded via \"shared_preload_libraries\""),
				 errhint("Add pg_stat_statements and infra_monitor to \"shared_preload_libraries\" in postgresql.conf and restart the server.")));
}

TimestampTz
imon_shmem_created_at(void)
{
	return header->created_at;
}

/* SQL: preloaded(). */
Datum
imon_preloaded_1_0(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(imon_shmem_ready());
}

Size
imon_shmem_bytes(void)
{
	Size		bytes = 0;

	for (int i = 0; i < n_parts; i++)
		bytes = add_size(bytes, parts[i]->size());
	return bytes;
}

uint64
imon_read_counter(LWLock *lock, const uint64 *counter)
{
	uint64		value;

	LWLockAcquire(lock, LW_SHARED);
	value = *counter;
	LWLockRelease(lock);
	return value;
}

/*
 * SQL: shared_memory() returns (part, bytes).  Bytes as requested; the
 * allocator rounds up.
 */
Datum
imon_shared_memory_1_0(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo;

	imon_shmem_require();
	rsinfo = imon_begin_rows(fcinfo, MEMORY_COLUMNS);

	for (int i = 0; i < n_parts; i++)
	{
		Datum		values[MEMORY_COLUMNS];
		bool		nulls[MEMORY_COLUMNS] = {false};
		const char *name = parts[i]->name + strlen(TRANCHE_NAME) + 1;

		values[0] = CStringGetTextDatum(name);
		values[1] = Int64GetDatum((int64) parts[i]->size());
		imon_put_row(rsinfo, values, nulls);
	}
	return (Datum) 0;
}
