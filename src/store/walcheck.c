/* SPDX-License-Identifier: Apache-2.0
 *
 * The format is SQLite's (https://www.sqlite.org/fileformat2.html#walformat):
 * 32 bytes, then frames of 24 and a page; numbers are big-endian.  Each frame has
 * the checksum of itself and all before it, so two that stand one behind the
 * other can be compared without those before them.
 */
#include "store/walcheck.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER	 32
#define FRAME	 24
#define MAGIC	 0x377f0682u /* or one more: sums of big-endian words */
#define PAGE_MIN 512u
#define PAGE_MAX 65536u

struct sum {
	uint32_t a, b;
};

struct walk {
	sqlite3_file *f;
	sqlite3_int64 size, at;
	uint8_t *buf; /* a frame and its page */
	uint8_t salt[8];
	uint32_t page; /* bytes */
	bool big;
	bool
	    padded; /* a COMMIT may be there several times, for a whole sector */
	struct sum sum; /* as the last frame says */
	/* behind a frame that is not as it should be */
	sqlite3_int64 bad;  /* where that is; 0: none */
	uint32_t committed; /* page of a COMMIT since; 0: none */
};

static uint32_t
number(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	    (uint32_t)p[2] << 8 | p[3];
}

static uint32_t
word(const uint8_t *p, bool big)
{
	return big ? number(p)
		   : (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 |
		(uint32_t)p[1] << 8 | p[0];
}

static struct sum
add(struct sum s, const uint8_t *p, size_t n, bool big)
{
	for (; n >= 8; n -= 8, p += 8) {
		s.a += word(p, big) + s.b;
		s.b += word(p + 4, big) + s.a;
	}
	return s;
}

static bool
is_sum(struct sum s, const uint8_t *p)
{
	return s.a == number(p) && s.b == number(p + 4);
}

enum header { NO_HEADER, TORN_HEADER, WHOLE_HEADER };

static enum header
read_header(struct walk *w)
{
	uint8_t h[HEADER];

	if (w->f->pMethods->xFileSize(w->f, &w->size) != SQLITE_OK ||
	    w->size < HEADER ||
	    w->f->pMethods->xRead(w->f, h, HEADER, 0) != SQLITE_OK)
		return NO_HEADER;
	w->big = number(h) & 1;
	w->page = number(h + 8);
	w->sum = add((struct sum){ 0, 0 }, h, FRAME, w->big);
	if ((number(h) & ~1u) != MAGIC || !is_sum(w->sum, h + FRAME) ||
	    w->page < PAGE_MIN || w->page > PAGE_MAX ||
	    (w->page & (w->page - 1)) != 0)
		return TORN_HEADER;
	memcpy(w->salt, h + 16, sizeof w->salt);
	return WHOLE_HEADER;
}

/* False: there is no log, or SQLite takes none of it. */
static bool
begin(struct walk *w)
{
	if (read_header(w) != WHOLE_HEADER)
		return false;
	w->padded = !(w->f->pMethods->xDeviceCharacteristics(w->f) &
	    SQLITE_IOCAP_POWERSAFE_OVERWRITE);
	w->at = HEADER;
	w->buf = malloc(FRAME + w->page);
	return w->buf != NULL;
}

/* The next frame; whether it stands behind the one before. */
static bool
follows(struct walk *w)
{
	struct sum s = add(w->sum, w->buf, 8, w->big);

	s = add(s, w->buf + FRAME, w->page, w->big);
	w->sum = (struct sum){ number(w->buf + 16), number(w->buf + 20) };
	return memcmp(w->buf + 8, w->salt, sizeof w->salt) == 0 &&
	    number(w->buf) != 0 && is_sum(s, w->buf + 16);
}

/* NJ_MALFORMED: it is damaged, at w->bad.  What cannot be read is no damage; and
 * SQLite does not read what is behind a bad frame. */
static enum nj_err
walk(struct walk *w)
{
	for (; w->at + FRAME + w->page <= w->size; w->at += FRAME + w->page) {
		bool good;
		uint32_t page, commit;

		if (w->f->pMethods->xRead(w->f, w->buf, (int)(FRAME + w->page),
			w->at) != SQLITE_OK)
			return NJ_IO;
		good = follows(w);
		page = number(w->buf);
		commit = number(w->buf + 4);
		if (!good) {
			if (w->bad == 0)
				w->bad = w->at;
			w->committed = 0;
		} else if (w->committed &&
		    (!w->padded || page != w->committed)) {
			return NJ_MALFORMED;
		}
		/* of a bad one that may be an older log's, cut in its header */
		if (good && w->bad && commit)
			w->committed = page;
	}
	return NJ_OK;
}

static void
explain(const struct walk *w, enum nj_err e, const char *log, const char *path,
    struct nj_why *why)
{
	if (e == NJ_MALFORMED) {
		why_set(why,
		    "%s is damaged at %lld: what was acknowledged after that "
		    "would be lost",
		    log, (long long)w->bad);
		why_mend(why,
		    "restore a backup, or go on with what is before it: "
		    "nightjar store check --repair %s; or start empty with "
		    "'persistence_on_damage start_empty'",
		    path);
	} else if (e == NJ_IO) {
		why_set(
		    why, "%s cannot be read at %lld", log, (long long)w->at);
	}
}

/* w->f is NULL where there is none, or it cannot be opened; *log is its name. */
static enum nj_err
open_log(
    struct walk *w, const char *name, const char *path, int flags, char **log)
{
	sqlite3_vfs *vfs = sqlite3_vfs_find(name);
	sqlite3_file *f;
	int is = 0, got = 0;

	if (!vfs || asprintf(log, "%s-wal", path) < 0)
		return NJ_NOMEM;
	if (!(f = calloc(1, (size_t)vfs->szOsFile))) {
		free(*log);
		return NJ_NOMEM;
	}
	if (vfs->xAccess(vfs, *log, SQLITE_ACCESS_EXISTS, &is) == SQLITE_OK &&
	    is &&
	    vfs->xOpen(vfs, *log, f, flags | SQLITE_OPEN_WAL, &got) ==
		SQLITE_OK)
		w->f = f;
	if (!w->f && f->pMethods)
		f->pMethods->xClose(f);
	if (!w->f)
		free(f);
	return NJ_OK;
}

static void
close_log(struct walk *w, char *log)
{
	if (w->f)
		w->f->pMethods->xClose(w->f);
	free(w->f);
	free(log);
}

enum nj_err
walcheck(const char *name, const char *path, struct nj_why *why)
{
	struct walk w = { .bad = 0 };
	char *log;
	enum nj_err e = open_log(&w, name, path, SQLITE_OPEN_READONLY, &log);

	if (e)
		return e;
	if (w.f && begin(&w)) {
		e = walk(&w);
		explain(&w, e, log, path, why);
	}
	if (!e && w.at && !w.buf)
		e = NJ_NOMEM;
	free(w.buf);
	close_log(&w, log);
	return e;
}

enum nj_err
walcheck_forget_torn(const char *name, const char *path, struct nj_why *why)
{
	struct walk w = { .bad = 0 };
	char *log;
	enum nj_err e = open_log(&w, name, path, SQLITE_OPEN_READWRITE, &log);

	if (e)
		return e;
	if (w.f && read_header(&w) == TORN_HEADER &&
	    (w.f->pMethods->xTruncate(w.f, 0) != SQLITE_OK ||
		w.f->pMethods->xSync(w.f, SQLITE_SYNC_FULL) != SQLITE_OK)) {
		why_set(
		    why, "%s has no whole header, and cannot be emptied", log);
		e = NJ_IO;
	}
	close_log(&w, log);
	return e;
}
