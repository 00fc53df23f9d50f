/*
 * Fuzz target: the limits of memory of control groups, as the readiness audit
 * reads them.
 *
 * The input is /proc/self/cgroup, and behind a byte 30 what each file of a group
 * has in it.  The result is a part of the machine's memory.
 */
#include "stand_ins.h"

#include "../../src/readiness.c"

#define MEMORY (INT64CONST(64) << 30)

static char *groups;
static char *limit;

static const char *
contents(const char *path)
{
	return strcmp(path, "/proc/self/cgroup") == 0 ? groups : limit;
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	FuzzInput	input = {data, size};
	int64		memory;

	fuzz_begin();
	fuzz_file = contents;
	groups = fuzz_text(&input);
	limit = strchr(groups, '\036');
	if (limit)
		*limit++ = '\0';
	memory = limited_memory(MEMORY);
	MUST(memory > 0 && memory <= MEMORY);
	return 0;
}
