/*-------------------------------------------------------------------------
 *
 * textfile.c
 *	  Files that others read without a connection: metrics and health.
 *
 * infra_monitor.textfile has the metrics, for the textfile collector of
 * node_exporter; health.json in infra_monitor.snapshot_directory is the document
 * that health() returns, as last evaluated.  Each is written whole under another
 * name in the same directory, and then renamed: a reader sees the old or the new
 * one.  It need not survive a crash, and is not flushed to disk.
 *
 * To make a file and to free another one costs a file system more than all else
 * here.  So where the system can do that, the two exchange their names, and the
 * old file of metrics is the spare one, to be overwritten the next time.  Somebody who has
 * opened it under its name may still be reading then, however long he takes.
 * Therefore it is not touched unless the system says that nobody has it open,
 * and lets nobody open it meanwhile; otherwise it is left to him, and a new one
 * is made.
 *
 * The directory may be one in which others can write.  The other name is that
 * of a new file, made by us, or of one that we have made and that has no further
 * name, or nothing is written: no link is followed, nothing that somebody has
 * put there is written to, and nothing there can block us.
 *
 * The sampler alone writes the shared memory; the lock is for its readers.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xact.h"
#include "compat.h"
#include "exposition.h"
#include "guc.h"
#include "health.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "rows.h"
#include "shmem.h"
#include "storage/fd.h"
#include "textfile.h"
#include "texts.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define HEALTH_FILE "health.json"
#define TEMPORARY_SUFFIX ".tmp"
#define READABLE_BY_ALL 0644
#define MAX_PROBLEM 256
#define STATE_COLUMNS 5

#ifndef O_NOFOLLOW
#define O_NOFOLLOW 0			/* O_EXCL alone does not follow links either */
#endif
#ifndef O_NONBLOCK
#define O_NONBLOCK 0			/* there are no spare files then */
#endif
#define ALL_PERMISSIONS 07777

typedef enum ImonFileId
{
	FILE_METRICS,
	FILE_HEALTH
} ImonFileId;

#define N_FILES (FILE_HEALTH + 1)

static const char *const file_names[] = {"metrics", "health"};

StaticAssertDecl(lengthof(file_names) == N_FILES, "each file needs a name");

/*
 * Is an old file overwritten?  Web servers may send a file without copying it,
 * and may still do so when they have closed it.  That of the metrics is for a
 * program that reads it.
 */
static const bool is_overwritten[] = {true, false};

StaticAssertDecl(lengthof(is_overwritten) == N_FILES, "each file needs an answer");

/* What has become of a file. */
typedef struct ImonFile
{
	bool		configured;
	TimestampTz written_at;		/* 0 = never */
	TimestampTz failing_since;	/* 0 = it does not */
	char		problem[MAX_PROBLEM];	/* last one, ASCII or of the system */
	uint64		writes;
	uint64		failures;
} ImonFile;

typedef struct ImonTextfile
{
	LWLock	   *lock;			/* guards all below */
	ImonFile	files[N_FILES];
} ImonTextfile;

static ImonTextfile *textfile = NULL;

/* A file, whatever its name is. */
typedef struct ImonInode
{
	bool		known;
	dev_t		device;
	ino_t		number;
} ImonInode;

/* What this process, the sampler, has written last. */
typedef struct ImonWritten
{
	char		path[MAXPGPATH];
	ImonInode	file;			/* of this name; known if it may be spare */
	ImonInode	spare;			/* of the other name */
} ImonWritten;

static ImonWritten last_written[N_FILES];

PG_FUNCTION_INFO_V1(imon_textfile_state_1_0);

static Size
textfile_size(void)
{
	return sizeof(ImonTextfile);
}

static void
textfile_init(void *part, LWLock *lock)
{
	((ImonTextfile *) part)->lock = lock;
}

static const ImonShmemPart textfile_part = {
	.name = "infra_monitor textfile",
	.size = textfile_size,
	.init = textfile_init,
	.address = (void **) &textfile
};

/* A problem that errno tells. */
static char *
problem_of(const char *what, const char *path)
{
	return psprintf("could not %s \"%s\": %s", what, path, strerror(errno));
}

/*
 * Writes all of it; NULL, or the problem.  As write() does, it goes on where it
 * was interrupted.
 */
static char *
write_all(int fd, const char *path, const char *content, size_t length)
{
	while (length > 0)
	{
		ssize_t		written;

		errno = 0;
		written = write(fd, content, length);
		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
		{
			if (errno == 0)
				errno = ENOSPC;
			return problem_of("write file", path);
		}
		content += written;
		length -= written;
	}
	return NULL;
}

/* Which file that is. */
static ImonInode
inode_of(const struct stat *status)
{
	ImonInode	inode = {true, status->st_dev, status->st_ino};

	return inode;
}

static bool
is_inode(const struct stat *status, const ImonInode *inode)
{
	return inode->known && S_ISREG(status->st_mode) &&
		status->st_dev == inode->device && status->st_ino == inode->number;
}

/* Has this file the name? */
static bool
is_there(const char *path, const ImonInode *inode)
{
	struct stat status;

	return inode->known && lstat(path, &status) == 0 &&
		is_inode(&status, inode);
}

/*
 * Makes a new file with this content; NULL, or the problem.  The inode is known
 * if the file can be overwritten some time.
 */
static char *
make_file(const char *path, const char *content, size_t length,
		  ImonInode *inode)
{
	char	   *problem = NULL;
	struct stat status;
	int			fd;

	inode->known = false;
	/* what a sampler has left that was killed, or a reader has open */
	if (unlink(path) < 0 && errno != ENOENT)
		return problem_of("remove file", path);
	fd = OpenTransientFilePerm(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | PG_BINARY,
							   READABLE_BY_ALL);
	if (fd < 0)
		return problem_of("create file", path);

	problem = write_all(fd, path, content, length);
#ifndef WIN32
	/* the server's umask is stricter */
	if (problem == NULL && fchmod(fd, READABLE_BY_ALL) < 0)
		problem = problem_of("set permissions of file", path);
#endif
	if (problem == NULL && imon_lease_file(fd) && fstat(fd, &status) == 0)
		*inode = inode_of(&status);
	if (CloseTransientFile(fd) < 0 && problem == NULL)
		problem = problem_of("close file", path);
	return problem;
}

/*
 * Is that the spare file as we have left it, with no further name, and ours for
 * as long as it is open?
 */
static bool
is_spare(int fd, const struct stat *status, const ImonInode *spare)
{
	return is_inode(status, spare) && status->st_nlink == 1 &&
		(status->st_mode & ALL_PERMISSIONS) == READABLE_BY_ALL &&
		imon_lease_file(fd);
}

/*
 * Overwrites the spare file.  False if there is none, somebody still reads it,
 * or anything else is in the way: a new one should be made.
 */
static bool
overwrite_spare(const char *path, const char *content, size_t length,
				const ImonInode *spare)
{
	struct stat status;
	bool		done;
	int			fd;

	if (!is_there(path, spare))
		return false;
	/* should it be another one meanwhile, it is not waited for */
	fd = OpenTransientFile(path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | PG_BINARY);
	if (fd < 0)
		return false;
	done = fstat(fd, &status) == 0 && is_spare(fd, &status, spare) &&
		write_all(fd, path, content, length) == NULL &&
		(status.st_size <= length || ftruncate(fd, length) == 0);
	return CloseTransientFile(fd) == 0 && done;
}

/*
 * Gives a file that was written under the other name its own; false, and errno,
 * if that fails.  If the one that has it is ours, it becomes the spare one.
 */
static bool
put_in_place(ImonWritten *last, const char *temporary, ImonInode inode)
{
	bool		exchanged = inode.known && is_there(last->path, &last->file) &&
		imon_exchange_files(temporary, last->path);

	if (!exchanged && rename(temporary, last->path) < 0)
		return false;
	last->spare = last->file;
	last->spare.known = exchanged;
	last->file = inode;
	return true;
}

/* Removes the spare file, if there is one. */
static void
remove_spare(ImonWritten *last)
{
	char		temporary[MAXPGPATH + sizeof(TEMPORARY_SUFFIX)];

	snprintf(temporary, sizeof(temporary), "%s" TEMPORARY_SUFFIX, last->path);
	if (is_there(temporary, &last->spare))
		(void) unlink(temporary);
	last->spare.known = false;
}

void
imon_remove_spare_files(void)
{
	for (int i = 0; i < N_FILES; i++)
		remove_spare(&last_written[i]);
}

/* Puts a file with this content in the place of another; NULL, or the problem. */
static char *
replace_file(ImonFileId id, const char *path, const char *content)
{
	ImonWritten *last = &last_written[id];
	char	   *temporary = psprintf("%s" TEMPORARY_SUFFIX, path);
	size_t		length = strlen(content);
	ImonInode	inode;
	char	   *problem = NULL;

	if (strcmp(last->path, path) != 0)
	{
		remove_spare(last);
		strlcpy(last->path, path, sizeof(last->path));
		last->file.known = false;
	}
	inode = last->spare;
	if (!overwrite_spare(temporary, content, length, &inode))
		problem = make_file(temporary, content, length, &inode);
	inode.known &= is_overwritten[id];
	last->spare.known = false;
	if (problem == NULL && !put_in_place(last, temporary, inode))
		problem = problem_of("rename file to", path);
	if (problem)
		(void) unlink(temporary);
	return problem;
}

/* Takes note of what has become of a file, and logs what has changed. */
static void
note_result(ImonFileId id, const char *path, const char *problem)
{
	ImonFile   *file = &textfile->files[id];
	TimestampTz now = GetCurrentTimestamp();
	bool		was_failing = file->configured && file->failing_since != 0;

	LWLockAcquire(textfile->lock, LW_EXCLUSIVE);
	file->configured = true;
	if (problem)
	{
		file->failing_since = was_failing ? file->failing_since : now;
		strlcpy(file->problem, problem, MAX_PROBLEM);
		file->failures++;
	}
	else
	{
		file->failing_since = 0;
		file->written_at = now;
		file->writes++;
	}
	LWLockRelease(textfile->lock);

	if (problem && !was_failing)
		ereport(LOG,
				(errmsg("infra_monitor could not write its file of %s: %s",
						file_names[id], problem),
				 errhint("It goes on trying, once each infra_monitor.sample_interval.")));
	else if (was_failing && !problem)
		ereport(LOG,
				(errmsg("infra_monitor writes its file of %s again, \"%s\"",
						file_names[id], path)));
}

/* A file that is not wanted has no problems. */
static void
note_unwanted(ImonFileId id)
{
	LWLockAcquire(textfile->lock, LW_EXCLUSIVE);
	textfile->files[id].configured = false;
	textfile->files[id].failing_since = 0;
	textfile->files[id].written_at = 0;
	LWLockRelease(textfile->lock);
	remove_spare(&last_written[id]);
}

/* Text of this database as UTF-8; without a database it is ASCII anyway. */
static const char *
as_utf8(const char *string)
{
	return IsTransactionState() ?
		imon_convert_to_utf8(string, GetDatabaseEncoding()) : string;
}

/* Writes the metrics. */
static void
write_metrics(void)
{
	if (imon_textfile[0] == '\0')
		note_unwanted(FILE_METRICS);
	else
		note_result(FILE_METRICS, imon_textfile,
					replace_file(FILE_METRICS, imon_textfile, as_utf8(imon_metrics_text())));
}

/*
 * Writes the document of health.  What another database has evaluated is in the
 * encoding of that one; without a transaction it cannot be converted, and the
 * file stays as it is.
 */
static void
write_health(void)
{
	int			encoding;
	char	   *document;
	char	   *path;

	if (imon_snapshot_directory[0] == '\0')
	{
		note_unwanted(FILE_HEALTH);
		return;
	}
	document = imon_health_document(&encoding);
	if (document == NULL)
		return;
	if (encoding != PG_UTF8)
	{
		if (!IsTransactionState())
			return;
		document = imon_convert_to_utf8(document, encoding);
	}
	path = psprintf("%s/" HEALTH_FILE, imon_snapshot_directory);
	note_result(FILE_HEALTH, path, replace_file(FILE_HEALTH, path, psprintf("%s\n", document)));
}

void
imon_write_textfiles(void)
{
	write_metrics();
	write_health();
}

/* Copies what has become of the files. */
static void
read_files(ImonFile *copy)
{
	LWLockAcquire(textfile->lock, LW_SHARED);
	memcpy(copy, textfile->files, sizeof(textfile->files));
	LWLockRelease(textfile->lock);
}

/* SQL: textfile_state(): file, written_at, failing_since, problem, failures. */
Datum
imon_textfile_state_1_0(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo;
	ImonFile	files[N_FILES];

	imon_shmem_require();
	rsinfo = imon_begin_rows(fcinfo, STATE_COLUMNS);
	read_files(files);
	for (int i = 0; i < N_FILES; i++)
	{
		Datum		values[STATE_COLUMNS];
		bool		nulls[STATE_COLUMNS] = {false};

		if (!files[i].configured)
			continue;
		values[0] = CStringGetTextDatum(file_names[i]);
		values[1] = imon_moment_datum(files[i].written_at, &nulls[1]);
		values[2] = imon_moment_datum(files[i].failing_since, &nulls[2]);
		values[3] = imon_text_datum(files[i].problem);
		nulls[3] = files[i].failing_since == 0;
		values[4] = Int64GetDatum((int64) files[i].failures);
		imon_put_row(rsinfo, values, nulls);
	}
	return (Datum) 0;
}

/* Metrics of the files. */
static void
expose(ImonExposition *exposition)
{
	ImonFile	files[N_FILES];

	read_files(files);
	imon_family(exposition, "file_writes_total", IMON_COUNTER,
				"Files written for others to read.");
	for (int i = 0; i < N_FILES; i++)
	{
		ImonLabels	labels = imon_label("file", file_names[i]);

		imon_put_count(exposition, &labels, files[i].writes);
	}
	imon_family(exposition, "file_failures_total", IMON_COUNTER,
				"Files that could not be written.");
	for (int i = 0; i < N_FILES; i++)
	{
		ImonLabels	labels = imon_label("file", file_names[i]);

		imon_put_count(exposition, &labels, files[i].failures);
	}
}

void
imon_textfile_init(void)
{
	imon_shmem_register(&textfile_part);
	imon_register_metrics(expose);
}
