/*-------------------------------------------------------------------------
 *
 * system.c
 *	  Memory, processors and disk of the machine.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>
#include <sys/statvfs.h>

#include "cgroup.h"
#include "clock.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "rows.h"
#include "shmem.h"
#include "storage/fd.h"
#include "system.h"
#include "utils/float.h"

#define MIN_INTERVAL 0.5		/* seconds between two looks: half of the
								 * shortest sample interval */
#define MAX_CLOCK (PG_UINT64_MAX / 8)	/* eight of them can be added */

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

PG_FUNCTION_INFO_V1(imon_system_state_1_0);
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
 * of user time.  All but idle and iowait ascend.
 */
static bool
read_processor_clocks(uint64 *busy, uint64 *total)
{
	FILE	   *file = imon_open_system("/proc/stat");
	unsigned long long t[8];
	int			n;

	if (file == NULL)
		return false;
	n = fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu",
			   &t[0], &t[1], &t[2], &t[3], &t[4], &t[5], &t[6], &t[7]);
	FreeFile(file);
	if (n != lengthof(t))
		return false;
	for (int i = 0; i < lengthof(t); i++)
		if (t[i] > MAX_CLOCK)
			return false;

	*busy = t[0] + t[1] + t[2] + t[5] + t[6] + t[7];
	*total = *busy + t[3] + t[4];
	return true;
}

void
imon_look_at_processors(void)
{
	double		now;
	uint64		busy;
	uint64		total;

	if (!read_processor_clocks(&busy, &total))
		return;
	now = imon_clock_ns() / 1e9;

	LWLockAcquire(processors->lock, LW_EXCLUSIVE);
	if (!processors->looked || now - processors->at >= MIN_INTERVAL)
	{
		if (processors->looked && total > processors->total &&
			busy >= processors->busy)
			processors->ratio = Min((double) (busy - processors->busy) /
									(double) (total - processors->total), 1);
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
	FILE	   *file = imon_open_system("/proc/meminfo");
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

	if (total < 0 || total > PG_INT64_MAX / 1024)
		return;
	usage->memory_total = total * 1024;
	if (available >= 0)
		usage->memory_used = Max(total - available, 0) * 1024;
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

/*
 * How busy the processors of the machine are: the average of the last five
 * minutes of processes that run or wait for the disk, and the number of
 * processors, which are the lines "cpu0" and so on of /proc/stat.
 */
static void
read_load(double *load, double *n_processors)
{
	FILE	   *file = imon_open_system("/proc/loadavg");
	char		line[1024];
	int			n = 0;

	if (file != NULL)
	{
		if (fscanf(file, "%*f %lf", load) != 1 || !(*load >= 0) || isinf(*load))
			*load = get_float8_nan();
		FreeFile(file);
	}
	file = imon_open_system("/proc/stat");
	if (file == NULL)
		return;
	while (fgets(line, sizeof(line), file))
		if (strncmp(line, "cpu", 3) == 0 && line[3] >= '0' && line[3] <= '9')
			n++;
	FreeFile(file);
	if (n > 0)
		*n_processors = n;
}

/*
 * Share of the last minute in which some process ("some"), or all that had work
 * to do ("full"), stood still for want of a resource: of the server's control
 * group, or of the machine.  NaN is not known.
 */
static double
read_stall(const char *resource, const char *kind)
{
	char		name[64];
	char		line[256];
	FILE	   *file;
	double		percent;
	double		stall = get_float8_nan();

	snprintf(name, sizeof(name), "%s.pressure", resource);
	file = imon_open_cgroup(name);
	if (file == NULL)
	{
		snprintf(name, sizeof(name), "/proc/pressure/%s", resource);
		file = imon_open_system(name);
	}
	if (file == NULL)
		return stall;
	while (fgets(line, sizeof(line), file))
	{
		if (strncmp(line, kind, strlen(kind)) == 0 &&
			sscanf(line + strlen(kind), " avg10=%*f avg60=%lf", &percent) == 1 &&
				percent >= 0 && percent <= 100)
				stall = percent / 100;
	}
	FreeFile(file);
	return stall;
}

/* The counter of a file, -1 = not known.  Closes the file, which may be NULL. */
static int64
read_counter(FILE *file, const char *key)
{
	int64		counter;

	if (file == NULL)
		return -1;
	counter = imon_read_key(file, key);
	FreeFile(file);
	return counter;
}

int64
imon_oom_kills(void)
{
	int64		kills = read_counter(imon_open_cgroup("memory.events"), "oom_kill");

	if (kills < 0)
		kills = read_counter(imon_open_memory_cgroup_v1("memory.oom_control"),
							 "oom_kill");
	if (kills < 0)
		kills = read_counter(imon_open_system("/proc/vmstat"), "oom_kill");
	return kills;
}

/*
 * SQL: system_state(), one row: memory_used, memory_limit, memory_of_group,
 * load, processors, cpu_stall, memory_stall, io_stall; NULL is not known.
 */
Datum
imon_system_state_1_0(PG_FUNCTION_ARGS)
{
	ImonSystem	usage = {.memory_used = -1,.memory_total = -1};
	int64		used;
	int64		limit;
	bool		limited;
	double		load = get_float8_nan();
	double		n_processors = get_float8_nan();
	Datum		values[8];
	bool		nulls[8];
	int			i = 0;

	read_memory(&usage);
	read_load(&load, &n_processors);

	/* a group can have more left than the machine */
	limited = imon_cgroup_memory(usage.memory_total < 0 ? PG_INT64_MAX :
								 usage.memory_total, &used, &limit);
	if (limited && (usage.memory_used < 0 || (double) used / limit >=
					(double) usage.memory_used / usage.memory_total))
	{
		usage.memory_used = used;
		usage.memory_total = limit;
	}
	else
		limited = false;

	values[i] = Int64GetDatum(usage.memory_used);
	nulls[i++] = usage.memory_used < 0;
	values[i] = Int64GetDatum(usage.memory_total);
	nulls[i++] = usage.memory_total < 0;
	values[i] = BoolGetDatum(limited);
	nulls[i++] = usage.memory_used < 0;
	values[i] = imon_number_datum(load, &nulls[i]);
	i++;
	values[i] = imon_number_datum(n_processors, &nulls[i]);
	i++;
	values[i] = imon_number_datum(read_stall("cpu", "some"), &nulls[i]);
	i++;
	values[i] = imon_number_datum(read_stall("memory", "full"), &nulls[i]);
	i++;
	values[i] = imon_number_datum(read_stall("io", "full"), &nulls[i]);
	i++;
	Assert(i == lengthof(values));

	PG_RETURN_DATUM(imon_one_row(fcinfo, lengthof(values), values, nulls));
}
