/*-------------------------------------------------------------------------
 *
 * disks.c
 *	  File systems that the server writes to, and when they will be full.
 *
 * At every second evaluation of the health checks the sampler notes what is
 * available in each, in a ring of the last 360 notes: six hours at defaults.
 * It is the only writer.  It asks the file systems first, and then writes under
 * the exclusive lock; readers copy everything under the shared lock.
 *
 * When a file system will be full is told by windows of 8, 16, 32 ... notes, up
 * to the newest.  The rate of a window is the lower one of that of all of it
 * and that of its newest quarter: who has stopped writing fills nothing.  And it
 * is not believed for longer than four times the window: what has been going
 * on for ten minutes says nothing about tomorrow.  Of the windows that say
 * something, the worst one counts.
 *
 * Several places on one file system are one: the data directory comes first,
 * then the WAL directory, then tablespaces.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/stat.h>
#include <sys/statvfs.h>

#include "commands/tablespace.h"
#include "disks.h"
#include "fmgr.h"
#include "rows.h"
#include "shmem.h"
#include "storage/fd.h"
#include "texts.h"
#include "utils/float.h"
#include "utils/timestamp.h"

#define RING 360				/* notes */
#define MAX_DISKS 16			/* file systems; more are not looked at */
#define MIN_WINDOW 8			/* notes */
#define REACH 4					/* windows; looks no further ahead */

#define DISK_COLUMNS 7

/* A file system, and where the server uses it first. */
typedef struct ImonDisk
{
	Oid			tablespace;		/* InvalidOid = one of the directories */
	bool		is_wal;
	bool		known;			/* could it be asked? */
	dev_t		device;
	int64		used;			/* bytes */
	int64		total;
	int64		available;		/* to other users than root */
} ImonDisk;

/* Notes of one of them, by slot of the ring. */
typedef struct ImonDiskNotes
{
	bool		in_use;
	dev_t		device;
	int64		available[RING];	/* -1 = not known */
} ImonDiskNotes;

typedef struct ImonDisks
{
	LWLock	   *lock;			/* guards the rest */
	bool		every_second;	/* the next evaluation is left out */
	int			newest;			/* slot */
	int			n;				/* notes in the ring */
	TimestampTz at[RING];
	ImonDiskNotes notes[MAX_DISKS];
} ImonDisks;

static ImonDisks *disks = NULL;

PG_FUNCTION_INFO_V1(imon_disk_usage_1_0);

static Size
disks_size(void)
{
	return sizeof(ImonDisks);
}

static void
disks_init(void *part, LWLock *lock)
{
	((ImonDisks *) part)->lock = lock;
}

static const ImonShmemPart disks_part = {
	.name = "infra_monitor disks",
	.size = disks_size,
	.init = disks_init,
	.address = (void **) &disks
};

void
imon_disks_init(void)
{
	imon_shmem_register(&disks_part);
}

/*
 * Asks the file system of a directory.  False if it is one that is among the
 * first n of the list.
 */
static bool
ask_disk(const char *directory, const ImonDisk *list, int n, ImonDisk *disk)
{
	struct stat entry;
	struct statvfs fs;

	memset(disk, 0, sizeof(ImonDisk));
	if (stat(directory, &entry) != 0)
		return true;
	for (int i = 0; i < n; i++)
		if (list[i].known && list[i].device == entry.st_dev)
			return false;
	if (statvfs(directory, &fs) != 0)
		return true;

	disk->known = true;
	disk->device = entry.st_dev;
	disk->total = (int64) fs.f_blocks * (int64) fs.f_frsize;
	disk->used = (int64) (fs.f_blocks - fs.f_bfree) * (int64) fs.f_frsize;
	disk->available = (int64) fs.f_bavail * (int64) fs.f_frsize;
	return true;
}

/*
 * Makes the list of file systems, at most MAX_DISKS, and returns how many there
 * are.  Processes of the server are in the data directory.
 */
static int
list_disks(ImonDisk *list)
{
	int			n = 0;
	DIR		   *dir;
	struct dirent *entry;

	if (ask_disk(".", list, n, &list[n]))
		n++;
	if (ask_disk("pg_wal", list, n, &list[n]))
		list[n++].is_wal = true;

	dir = AllocateDir("pg_tblspc");
	while (n < MAX_DISKS &&
		   (entry = ReadDirExtended(dir, "pg_tblspc", LOG)) != NULL)
	{
		char		path[MAXPGPATH];
		Oid			tablespace = (Oid) strtoul(entry->d_name, NULL, 10);

		if (tablespace == InvalidOid)
			continue;
		snprintf(path, sizeof(path), "pg_tblspc/%s", entry->d_name);
		if (ask_disk(path, list, n, &list[n]))
			list[n++].tablespace = tablespace;
	}
	if (dir != NULL)
		FreeDir(dir);
	return n;
}

/* The notes of a file system, or NULL.  The lock must be held. */
static ImonDiskNotes *
find_notes(ImonDisks *shared, dev_t device)
{
	for (int i = 0; i < MAX_DISKS; i++)
		if (shared->notes[i].in_use && shared->notes[i].device == device)
			return &shared->notes[i];
	return NULL;
}

/* Is the file system in the list? */
static bool
is_listed(dev_t device, const ImonDisk *list, int n)
{
	for (int i = 0; i < n; i++)
		if (list[i].known && list[i].device == device)
			return true;
	return false;
}

/*
 * Notes for a file system that has none, for which there is always room once
 * those of absent ones are given up.  The lock must be held exclusively.
 */
static ImonDiskNotes *
begin_notes(dev_t device)
{
	for (int i = 0; i < MAX_DISKS; i++)
	{
		ImonDiskNotes *notes = &disks->notes[i];

		if (notes->in_use)
			continue;
		notes->in_use = true;
		notes->device = device;
		for (int slot = 0; slot < RING; slot++)
			notes->available[slot] = -1;
		return notes;
	}
	return NULL;
}

/* Adds a note of all file systems.  The lock must be held exclusively. */
static void
add_notes(const ImonDisk *list, int n, TimestampTz now)
{
	disks->newest = (disks->newest + 1) % RING;
	disks->n = Min(disks->n + 1, RING);
	disks->at[disks->newest] = now;

	for (int i = 0; i < MAX_DISKS; i++)
		if (!is_listed(disks->notes[i].device, list, n))
			disks->notes[i].in_use = false;
	for (int i = 0; i < n; i++)
	{
		ImonDiskNotes *notes;

		if (!list[i].known)
			continue;
		notes = find_notes(disks, list[i].device);
		if (notes == NULL)
			notes = begin_notes(list[i].device);
		if (notes != NULL)
			notes->available[disks->newest] = list[i].available;
	}
}

void
imon_note_disks(void)
{
	ImonDisk	list[MAX_DISKS];
	int			n = list_disks(list);
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(disks->lock, LW_EXCLUSIVE);
	if (!disks->every_second)
		add_notes(list, n, now);
	disks->every_second = !disks->every_second;
	LWLockRelease(disks->lock);
}

/* The slot of the note that was made so many before the newest. */
static int
slot_before(const ImonDisks *copy, int before)
{
	return (copy->newest - before + RING) % RING;
}

/* How many of the newest notes know this file system. */
static int
known_notes(const ImonDisks *copy, const ImonDiskNotes *notes)
{
	int			n = 0;

	while (n < copy->n && notes->available[slot_before(copy, n)] >= 0)
		n++;
	return n;
}

/* Time from a note to the newest, seconds. */
static double
length_of(const ImonDisks *copy, int before)
{
	return (copy->at[copy->newest] - copy->at[slot_before(copy, before)]) /
		(double) USECS_PER_SEC;
}

/* Bytes a second that were taken since a note; 0 if the clock was set back. */
static double
rate_since(const ImonDisks *copy, const ImonDiskNotes *notes, int before)
{
	double		length = length_of(copy, before);

	if (length <= 0)
		return 0;
	return (notes->available[slot_before(copy, before)] -
			notes->available[copy->newest]) / length;
}

/*
 * In how many seconds will the file system be full, by the n newest notes?
 * NaN: they do not say that it will.  See the head of this file.
 */
static double
seconds_to_full(const ImonDisks *copy, const ImonDiskNotes *notes, int n)
{
	double		result = get_float8_nan();

	for (int window = MIN_WINDOW; window < 2 * n; window *= 2)
	{
		int			before = Min(window, n) - 1;
		double		rate = Min(rate_since(copy, notes, before),
							   rate_since(copy, notes, Max(before / 4, 1)));
		double		seconds;

		if (n < MIN_WINDOW || rate <= 0)
			continue;
		seconds = notes->available[copy->newest] / rate;
		if (seconds <= REACH * length_of(copy, before) &&
			(isnan(result) || seconds < result))
			result = seconds;
	}
	return result;
}

static Datum
interval_datum(double seconds, bool *isnull)
{
	Interval   *interval = palloc0(sizeof(Interval));

	*isnull = isnan(seconds);
	if (!*isnull)
		interval->time = (TimeOffset) (seconds * USECS_PER_SEC);
	return IntervalPGetDatum(interval);
}

/* Puts a file system into the result.  A dropped tablespace has no name. */
static void
put_disk(ReturnSetInfo *rsinfo, const ImonDisk *disk, ImonDisks *copy)
{
	ImonDiskNotes *notes = disk->known ? find_notes(copy, disk->device) : NULL;
	int			n = notes ? known_notes(copy, notes) : 0;
	double		unknown = get_float8_nan();
	const char *tablespace = NULL;
	Datum		values[DISK_COLUMNS];
	bool		nulls[DISK_COLUMNS] = {false};
	int			i = 0;

	if (OidIsValid(disk->tablespace))
	{
		tablespace = get_tablespace_name(disk->tablespace);
		if (tablespace == NULL)
			return;
	}
	values[i++] = CStringGetTextDatum(tablespace ? "tablespace" :
									  disk->is_wal ? "WAL directory" :
									  "data directory");
	values[i] = imon_name_datum(tablespace, &nulls[i]);
	i++;
	nulls[i] = nulls[i + 1] = nulls[i + 2] = !disk->known;
	values[i++] = Int64GetDatum(disk->used);
	values[i++] = Int64GetDatum(disk->total);
	values[i++] = Int64GetDatum(disk->available);
	values[i] = interval_datum(n > 0 ? seconds_to_full(copy, notes, n) : unknown,
							   &nulls[i]);
	i++;
	values[i] = interval_datum(n >= MIN_WINDOW ? length_of(copy, n - 1) : unknown,
							   &nulls[i]);
	i++;
	Assert(i == lengthof(values));
	imon_put_row(rsinfo, values, nulls);
}

/*
 * SQL: disk_usage(), a row for each file system: what, tablespace, used, total,
 * available, full_in, observed.
 */
Datum
imon_disk_usage_1_0(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = imon_begin_rows(fcinfo, DISK_COLUMNS);
	ImonDisks  *copy = palloc0(sizeof(ImonDisks));
	ImonDisk	list[MAX_DISKS];
	int			n = list_disks(list);

	if (disks != NULL)
	{
		LWLockAcquire(disks->lock, LW_SHARED);
		memcpy(copy, disks, sizeof(ImonDisks));
		LWLockRelease(disks->lock);
	}
	for (int i = 0; i < n; i++)
		put_disk(rsinfo, &list[i], copy);
	return (Datum) 0;
}
