/* SPDX-License-Identifier: Apache-2.0
 *
 * The data files of a view.  All are open as long as it is, so that a broker may
 * delete them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "store/view_impl.h"

struct view_file {
	uint64_t no;
	int fd; /* -1: it is not there */
};

static const struct view_file *
file_of(const struct view *v, uint64_t no)
{
	for (size_t i = 0; i < v->n_files; i++)
		if (v->files[i].no == no)
			return &v->files[i];
	return NULL;
}

static enum nj_err
read_place(void *arg, const struct place *p, struct slice *out)
{
	struct view *v = arg;
	const struct view_file *f = file_of(v, p->file);
	uint8_t *to;
	enum nj_err e;

	if (place_check(p) || !f || f->fd < 0)
		return NJ_MALFORMED;
	buf_truncate(&v->page, 0);
	if ((e = buf_reserve(&v->page, p->len, &to)) ||
	    (e = file_read_at(f->fd, to, (size_t)p->len, (off_t)p->at)))
		return e == NJ_EOF ? NJ_MALFORMED : e;
	buf_commit(&v->page, p->len);
	*out = buf_slice(&v->page);
	return data_sum(p->file, p->at, *out) == p->sum ? NJ_OK : NJ_MALFORMED;
}

static enum nj_err
add(struct view *v, uint64_t no)
{
	const char *base = sqlite3_db_filename(v->db, "main");
	struct view_file *to = realloc(v->files, (v->n_files + 1) * sizeof *to);
	char *name;
	int fd;

	if (!to)
		return NJ_NOMEM;
	v->files = to;
	if (!(name = data_name(base, no)))
		return NJ_NOMEM;
	fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	free(name);
	if (fd < 0 && errno != ENOENT)
		return NJ_IO;
	v->files[v->n_files++] = (struct view_file){ no, fd };
	return NJ_OK;
}

/* There is one for each 64 MiB that wait. */
static void
allow_files(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) || l.rlim_cur == l.rlim_max)
		return;
	l.rlim_cur = l.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &l);
}

enum nj_err
view_data_open(struct view *v, bool last, struct nj_why *why)
{
	sqlite3_stmt *st = NULL;
	enum nj_err e = NJ_OK;
	int rc;

	view_data_close(v);
	if (v->schema < DATA_SCHEMA)
		return NJ_OK;
	v->source = (struct data_source){ .read = read_place, .arg = v };
	if ((e = data_function(v->db, &v->source)))
		return e;
	allow_files();
	rc = sqlite3_prepare_v2(v->db,
	    "SELECT DISTINCT file FROM seg WHERE file <> 0", -1, &st, NULL);
	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		if ((rc = sqlite3_step(st)) != SQLITE_ROW)
			break;
		if ((e = add(v, (uint64_t)sqlite3_column_int64(st, 0))))
			break;
		if (v->files[v->n_files - 1].fd < 0 && !last) {
			e = NJ_AGAIN;
			break;
		}
	}
	if (e == NJ_IO)
		why_set(why, "%s: opening its data files: %s", v->path,
		    strerror(errno));
	sqlite3_finalize(st);
	/* pages or tables that are damaged are the check's to tell */
	if ((rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_ERROR)
		return NJ_OK;
	return e ? e : view_err(v, "opening it", rc, why);
}

void
view_data_close(struct view *v)
{
	for (size_t i = 0; i < v->n_files; i++)
		if (v->files[i].fd >= 0)
			close(v->files[i].fd);
	free(v->files);
	v->files = NULL;
	v->n_files = 0;
	buf_fini(&v->page);
}

void
view_data_stat(const struct view *v, uint64_t *bytes, unsigned *mode)
{
	struct stat st;

	*bytes = 0;
	*mode = 0;
	for (size_t i = 0; i < v->n_files; i++)
		if (v->files[i].fd >= 0 && fstat(v->files[i].fd, &st) == 0) {
			*bytes += (uint64_t)st.st_size;
			*mode |= (unsigned)st.st_mode;
		}
}
