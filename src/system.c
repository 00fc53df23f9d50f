/*-------------------------------------------------------------------------
 *
 * system.c
 *	  Memory, processor and disk of the machine.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/statvfs.h>

#include "fmgr.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "rows.h"
#include "shmem.h"
#include "storage/fd.h"
#include "system.h"

#define MIN_INTERVAL 0.5		/* seconds between two looks: half of the
								 * shortest sample interval */

typedef struct ImonProcessors
{
	LWLock	   *lock;			/* guards the rest */
	bool		looked;			/* is there a look before? */
	double		at;				/* its moment, monotonic, seconds */
	uint64		busy;			/* clock ticks then */
	uint64		total;
	double		ratio;			/* of the last interval, -1 = not known */
} ImonProcessors;

static ImonProcessors *processors = NULL;

PG_FUNCTION_INFO_V1(imon_system_usage_1_0);

static Size
processors_size(void)
{
	return sizeof(ImonProcessors);
}

static void
processors_init(void *part, LWLock *lock)
{
	ImonProcessors *shared = (ImonProcessors *) part;

	shared->lock = lock;
	shared->ratio = -1;
}

static const ImonShmemPart processors_part = {
	.name = "infra_monitor system",
	.size = processors_size,
	.init = processors_init,
	.address = (void **) &processors
};

void
imon_system_init(void)
{
	imon_shmem_register(&processors_part);
}

/*
 * Reads the sums of the processors' clocks: first line of /proc/stat, see
 * proc(5): user nice system idle iowait irq softirq steal.  Guest time is part
 * of user time.
 */
static bool
read_processor_clocks(uint64 *busy, uint64 *total)
{
	FILE	   *file = AllocateFile("/proc/stat", "r");
	unsigned long long t[8];
	int			n;

	if (file == NULL)
		return false;
	n = fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu",
			   &t[0], &t[1], &t[2], &t[3], &t[4], &t[5], &t[6], &t[7]);
	FreeFile(file);
	if (n != lengthof(t))
		return false;

	*busy = t[0] + t[1] + t[2] + t[5] + t[6] + t[7];
	*total = *busy + t[3] + t[4];
	return true;
}

void
imon_look_at_processors(void)
{
	instr_time	clock;
	double		now;
	uint64		busy;
	uint64		total;

	if (!read_processor_clocks(&busy, &total))
		return;
	INSTR_TIME_SET_CURRENT(clock);
	now = INSTR_TIME_GET_DOUBLE(clock);

	LWLockAcquire(processors->lock, LW_EXCLUSIVE);
	if (!processors->looked || now - processors->at >= MIN_INTERVAL)
	{
		if (processors->looked && total > processors->total &&
			busy >= processors->busy)
			processors->ratio = (double) (busy - processors->busy) /
				(double) (total - processors->total);
		processors->looked = true;
		processors->at = now;
		processors->busy = busy;
		processors->total = total;
	}
	LWLockRelease(processors->lock);
}

/* Memory by /proc/meminfo: used is what MemAvailable leaves of MemTotal. */
static void
read_memory(ImonSystem *usage)
{
	FILE	   *file = AllocateFile("/proc/meminfo", "r");
	char		line[128];
	long long	total = -1;
	long long	available = -1;
	long long	value;

	if (file == NULL)
		return;
	while ((total < 0 || available < 0) && fgets(line, sizeof(line), file))
	{
		if (sscanf(line, "MemTotal: %lld kB", &value) == 1)
			total = value;
		else if (sscanf(line, "MemAvailable: %lld kB", &value) == 1)
			available = value;
	}
	FreeFile(file);

	if (total >= 0)
		usage->memory_total = total * 1024;
	if (total >= 0 && available >= 0)
		usage->memory_used = (total - available) * 1024;
}

/* The file system of the data directory. */
static void
read_disk(ImonSystem *usage)
{
	struct statvfs fs;

	if (statvfs(DataDir, &fs) != 0)
		return;
	usage->disk_total = (int64) fs.f_blocks * (int64) fs.f_frsize;
	usage->disk_used = (int64) (fs.f_blocks - fs.f_bfree) * (int64) fs.f_frsize;
}

void
imon_read_system(ImonSystem *usage)
{
	usage->memory_used = usage->memory_total = -1;
	usage->disk_used = usage->disk_total = -1;
	usage->cpu_ratio = -1;

	read_memory(usage);
	read_disk(usage);
	if (processors)
	{
		LWLockAcquire(processors->lock, LW_SHARED);
		usage->cpu_ratio = processors->ratio;
		LWLockRelease(processors->lock);
	}
}

/*
 * SQL: system_usage, one row: cpu_ratio, memory_used, memory_total, disk_used,
 * disk_total; NULL is not known.
 */
Datum
imon_system_usage_1_0(PG_FUNCTION_ARGS)
{
	ImonSystem	usage;
	Datum		values[5];
	bool		nulls[5];

	imon_read_system(&usage);

	values[0] = Float8GetDatum(usage.cpu_ratio);
	nulls[0] = usage.cpu_ratio < 0;
	values[1] = Int64GetDatum(usage.memory_used);
	nulls[1] = usage.memory_used < 0;
	values[2] = Int64GetDatum(usage.memory_total);
	nulls[2] = usage.memory_total < 0;
	values[3] = Int64GetDatum(usage.disk_used);
	nulls[3] = usage.disk_used < 0;
	values[4] = Int64GetDatum(usage.disk_total);
	nulls[4] = usage.disk_total < 0;

	PG_RETURN_DATUM(imon_one_row(fcinfo, lengthof(values), values, nulls));
}
