/*-------------------------------------------------------------------------
 *
 * cgroup.c
 *	  Files of the machine, and of the control group of the server.
 *
 * /proc/self/cgroup names the group of this process: "0::/path" in version 2,
 * "4:memory:/path" in version 1.  A limit of any group around it counts as
 * well.  In a container the path may be that of the host, of which only the
 * container's own part is mounted, at the top; looking at each group from the
 * path upwards finds it there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "cgroup.h"
#include "guc.h"
#include "storage/fd.h"

#define MAX_LINE 1024

/* Where control groups are mounted: version 2 alone, or beside version 1. */
static const char *const v2_mounts[] = {
	"/sys/fs/cgroup", "/sys/fs/cgroup/unified"
};
static const char *const v1_memory_mount = "/sys/fs/cgroup/memory";

/* Names of the same things in both versions. */
typedef struct ImonMemoryFiles
{
	const char *limit;
	const char *usage;
	const char *inactive_file;	/* keys of memory.stat */
	const char *active_file;
} ImonMemoryFiles;

static const ImonMemoryFiles v2_files = {
	"memory.max", "memory.current", "inactive_file", "active_file"
};
static const ImonMemoryFiles v1_files = {
	"memory.limit_in_bytes", "memory.usage_in_bytes",
	"total_inactive_file", "total_active_file"
};

FILE *
imon_open_system(const char *path)
{
	char		name[MAXPGPATH];
	int			length = snprintf(name, sizeof(name), "%s%s",
								  imon_system_root ? imon_system_root : "", path);

	return length < sizeof(name) ? AllocateFile(name, "r") : NULL;
}

/* Opens a file in the directory of a group. */
static FILE *
open_in_group(const char *mount, const char *group, const char *name)
{
	char		path[MAXPGPATH];
	int			length = snprintf(path, sizeof(path), "%s%s/%s",
								  mount, group, name);

	return length < sizeof(path) ? imon_open_system(path) : NULL;
}

/*
 * The group of this process, "" for the top: of version 2 where "controller" is
 * NULL, else of that controller of version 1.  False if it has none.
 */
static bool
own_group(const char *controller, char *group, Size size)
{
	FILE	   *file = imon_open_system("/proc/self/cgroup");
	char		line[MAX_LINE];
	bool		found = false;

	if (file == NULL)
		return false;
	while (!found && fgets(line, sizeof(line), file))
	{
		char	   *controllers = strchr(line, ':');
		char	   *path = controllers ? strchr(controllers + 1, ':') : NULL;

		if (path == NULL)
			continue;
		*path++ = '\0';
		path[strcspn(path, "\n")] = '\0';
		found = strcmp(controllers + 1, controller ? controller : "") == 0;
		if (found)
			strlcpy(group, strcmp(path, "/") == 0 ? "" : path, size);
	}
	FreeFile(file);
	return found;
}

/* Goes to the group around this one.  False if it is at the top. */
static bool
go_up(char *group)
{
	char	   *slash = strrchr(group, '/');

	if (slash == NULL)
		return false;
	*slash = '\0';
	return true;
}

/* Opens a file of a group or of the nearest around it that has one. */
static FILE *
open_nearest(const char *mount, const char *own, const char *name)
{
	char		group[MAX_LINE];
	FILE	   *file;

	strlcpy(group, own, sizeof(group));
	do
	{
		file = open_in_group(mount, group, name);
	} while (file == NULL && go_up(group));
	return file;
}

FILE *
imon_open_cgroup(const char *name)
{
	char		group[MAX_LINE];
	FILE	   *file = NULL;

	if (own_group(NULL, group, sizeof(group)))
		for (int i = 0; i < lengthof(v2_mounts) && file == NULL; i++)
			file = open_nearest(v2_mounts[i], group, name);
	return file;
}

FILE *
imon_open_memory_cgroup_v1(const char *name)
{
	char		group[MAX_LINE];

	if (!own_group("memory", group, sizeof(group)))
		return NULL;
	return open_nearest(v1_memory_mount, group, name);
}

int64
imon_read_key(FILE *file, const char *key)
{
	char		line[MAX_LINE];
	Size		length = strlen(key);

	rewind(file);
	while (fgets(line, sizeof(line), file))
		if (strncmp(line, key, length) == 0 && line[length] == ' ')
		{
			int64		value = strtoll(line + length, NULL, 10);

			return Max(value, -1);
		}
	return -1;
}

/* The number in a file of a group; -1 if there is none, as for "max". */
static int64
group_number(const char *mount, const char *group, const char *name)
{
	FILE	   *file = open_in_group(mount, group, name);
	long long	number;

	if (file == NULL)
		return -1;
	if (fscanf(file, "%lld", &number) != 1)
		number = -1;
	FreeFile(file);
	return number;
}

/* Pages of files in a group, which the kernel can take back. */
static int64
group_file_pages(const char *mount, const char *group,
				 const ImonMemoryFiles *files)
{
	FILE	   *file = open_in_group(mount, group, "memory.stat");
	int64		inactive;
	int64		active;

	if (file == NULL)
		return 0;
	inactive = imon_read_key(file, files->inactive_file);
	active = imon_read_key(file, files->active_file);
	FreeFile(file);
	/* no sum of them overflows */
	return Min(Max(inactive, 0), PG_INT64_MAX / 2) +
		Min(Max(active, 0), PG_INT64_MAX / 2);
}

/*
 * Looks at all groups from one upwards; *used and *limit become those of the
 * one that is nearest to its limit, if that is nearer than they were.
 */
static void
look_at_groups(const char *mount, char *group, const ImonMemoryFiles *files,
			   int64 total, int64 *used, int64 *limit)
{
	do
	{
		int64		max = group_number(mount, group, files->limit);
		int64		usage = group_number(mount, group, files->usage);

		if (max <= 0 || max >= total || usage < 0)
			continue;
		usage = Max(usage - group_file_pages(mount, group, files), 0);
		if (*limit < 0 || (double) usage / max > (double) *used / *limit)
		{
			*used = usage;
			*limit = max;
		}
	} while (go_up(group));
}

bool
imon_cgroup_memory(int64 total, int64 *used, int64 *limit)
{
	char		group[MAX_LINE];

	*used = *limit = -1;
	for (int i = 0; i < lengthof(v2_mounts); i++)
		if (own_group(NULL, group, sizeof(group)))
			look_at_groups(v2_mounts[i], group, &v2_files, total, used, limit);
	if (own_group("memory", group, sizeof(group)))
		look_at_groups(v1_memory_mount, group, &v1_files, total, used, limit);
	return *limit > 0;
}
