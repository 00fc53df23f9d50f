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
 * The directory may be one in which others can write.  The other name is that
 * of a new file, made by us, or nothing is written: no link is followed, nothing
 * that somebody has put there is opened, and so nothing there can block us.
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

typedef enum ImonFileId
{
	FILE_METRICS,
	FILE_HEALTH
} ImonFileId;

#define N_FILES (FILE_HEALTH + 1)

static const char *const file_names[] = {"metrics", "health"};

StaticAssertDecl(lengthof(file_names) == N_FILES, "each file needs a name");

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

/* Makes a new file with this content; NULL, or the problem. */
static char *
make_file(const char *path, const char *content, size_t length)
{
	char	   *problem = NULL;
	int			fd;

	/* what a sampler has left that was killed */
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
	if (CloseTransientFile(fd) < 0 && problem == NULL)
		problem = problem_of("close file", path);
	return problem;
}

/* Puts a file with this content in the place of another; NULL, or the problem. */
static char *
replace_file(const char *path, const char *content)
{
	char	   *temporary = psprintf("%s" TEMPORARY_SUFFIX, path);
	char	   *problem = make_file(temporary, content, strlen(content));

	if (problem == NULL && rename(temporary, path) < 0)
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
					replace_file(imon_textfile, as_utf8(imon_metrics_text())));
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
	note_result(FILE_HEALTH, path, replace_file(path, psprintf("%s\n", document)));
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
