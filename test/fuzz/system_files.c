/*
 * Fuzz target: files of /proc and /sys, in which a container may show anything.
 *
 * The input is the contents of all of them, divided by bytes 30 in the order of
 * the list below.  What is known of memory, load and processors is not negative,
 * what is used does not exceed what there is, and all paths stay below the root.
 */
#include "stand_ins.h"

#include <math.h>

/* The file system of the data directory is the machine's. */
char	   *DataDir = "/";
char	   *imon_system_root = "";

#include "../../src/cgroup.c"
#undef MAX_LINE
#include "../../src/system.c"

#define N_FILES 12

static const char *const names[N_FILES] = {
	"/proc/self/cgroup", "/proc/meminfo", "/proc/stat", "/proc/loadavg", "memory.max",
	"memory.current", "memory.stat", "/cpu", ".pressure", "memory.limit_in_bytes",
	"memory.usage_in_bytes", "memory."
};
static char *files[N_FILES];

/* The first whose name is part of the path. */
static const char *
contents(const char *path)
{
	MUST(path[0] == '/');
	MUST(strlen(path) < MAXPGPATH);
	for (int i = 0; i < N_FILES; i++)
		if (fuzz_has(path, names[i]))
			return files[i];
	return NULL;
}

/* Divides the input; the last files may be missing. */
static void
divide(char *text)
{
	for (int i = 0; i < N_FILES; i++)
	{
		files[i] = text;

		if (text)
			text = strchr(text, '\036');

		if (text)
			*text ++= '\0';
	}
}

static void
check_memory(void)
{
	ImonSystem	usage = {.memory_used = -1,.memory_total = -1};
	int64		used;
	int64		limit;

	read_memory(&usage);
	MUST(usage.memory_used >= -1 && usage.memory_total >= -1);
	MUST(usage.memory_used <= usage.memory_total);
	if (imon_cgroup_memory(usage.memory_total < 0 ? PG_INT64_MAX :
						   usage.memory_total, &used, &limit))
	{
		MUST(limit > 0 && used >= 0);
		MUST(usage.memory_total < 0 || limit < usage.memory_total);
	}
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	FuzzInput	input = {data, size};
	uint64		busy;
	uint64		total;
	double		load = -1;
	double		n_processors = -1;
	double		stall;

	fuzz_begin();
	fuzz_file = contents;
	divide(fuzz_text(&input));

	check_memory();
	if (read_processor_clocks(&busy, &total))
		MUST(total >= busy);
	read_load(&load, &n_processors);
	MUST(isnan(load) || load == -1 || (load >= 0 && !isinf(load)));
	MUST(n_processors == -1 || n_processors >= 1);
	stall = read_stall("cpu", "some");
	MUST(isnan(stall) || (stall >= 0 && stall <= 1));
	stall = read_stall("memory", "full");
	MUST(isnan(stall) || (stall >= 0 && stall <= 1));
	MUST(imon_oom_kills() >= -1);
	return 0;
}
