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

#include "base/log.h"

#define HEADER	 32
#define FRAME	 24
#define MAGIC	 0x377f0682u /* or one more: sums of big-endian words */
#define VERSION	 3007000u
#define OUR_PAGE 4096u
#define PAGE_MIN 512u
#define PAGE_MAX 65536u

struct sum {
	uint32_t a, b;
};

struct walk {
	sqlite3_file *f;
	sqlite3_int64 size, at;
	uint8_t *buf; /* a frame and its page */
	uint8_t header[HEADER];
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

static void
put_number(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
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

/* What it was before that was added. */
static struct sum
take_away(struct sum s, const uint8_t *p, size_t n, bool big)
{
	for (; n >= 8; n -= 8) {
		s.b -= word(p + n - 4, big) + s.a;
		s.a -= word(p + n - 8, big) + s.b;
	}
	return s;
}

static bool
is_sum(struct sum s, const uint8_t *p)
{
	return s.a == number(p) && s.b == number(p + 4);
}

static bool
is_page(uint32_t n)
{
	return n >= PAGE_MIN && n <= PAGE_MAX && (n & (n - 1)) == 0;
}

enum header { NO_HEADER, TORN_HEADER, WHOLE_HEADER };

static enum header
read_header(struct walk *w)
{
	uint8_t *h = w->header;

	if (w->f->pMethods->xFileSize(w->f, &w->size) != SQLITE_OK ||
	    w->size < HEADER ||
	    w->f->pMethods->xRead(w->f, h, HEADER, 0) != SQLITE_OK)
		return NO_HEADER;
	w->big = number(h) & 1;
	w->page = number(h + 8);
	w->sum = add((struct sum){ 0, 0 }, h, FRAME, w->big);
	if ((number(h) & ~1u) != MAGIC || !is_sum(w->sum, h + FRAME) ||
	    !is_page(w->page))
		return TORN_HEADER;
	memcpy(w->salt, h + 16, sizeof w->salt);
	return WHOLE_HEADER;
}

/* Behind a whole header. */
static enum nj_err
begin(struct walk *w)
{
	w->padded = !(w->f->pMethods->xDeviceCharacteristics(w->f) &
	    SQLITE_IOCAP_POWERSAFE_OVERWRITE);
	w->at = HEADER;
	w->buf = malloc(FRAME + w->page);
	return w->buf ? NJ_OK : NJ_NOMEM;
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

/* Which number the log must have for this header to have that sum: each of its
 * words is added to one half of the sum, and goes into the other. */
static uint32_t
solve_number(const uint8_t *h, struct sum sum, bool big)
{
	struct sum s = add((struct sum){ 0, 0 }, h, 8, big);
	uint32_t b = sum.b - word(h + 20, big) - sum.a;
	uint8_t raw[4];

	s.a += word(h + 8, big) + s.b;
	put_number(raw, b - s.b - s.a);
	return word(raw, big);
}

/* Whether the first frame, in w->buf, stands behind this header; its sum is put
 * into it. */
static bool
begins(struct walk *w, uint8_t *h, uint32_t which)
{
	put_number(h + 12, which);
	w->sum = add((struct sum){ 0, 0 }, h, FRAME, w->big);
	put_number(h + FRAME, w->sum.a);
	put_number(h + FRAME + 4, w->sum.b);
	return follows(w);
}

/* All of it is known but the number of the log and the sum.  That is what the first
 * frame's was made from, and says the number. */
static bool
guess_header(struct walk *w, bool big, uint8_t *h)
{
	const uint8_t *frame = w->buf;
	struct sum s = { number(frame + 16), number(frame + 20) };

	s = take_away(s, frame + FRAME, w->page, big);
	s = take_away(s, frame, 8, big);
	w->big = big;
	put_number(h, MAGIC | big);
	put_number(h + 4, VERSION);
	put_number(h + 8, w->page);
	memcpy(h + 16, w->salt, sizeof w->salt);
	return begins(w, h, solve_number(h, s, big));
}

/*
 * Of a header that is not as it should be: NJ_OK and the one that the frames behind
 * it had in h; NJ_NOTFOUND: there are none that SQLite would take;
 * NJ_MALFORMED: there are, but not from the first on.
 */
static enum nj_err
find_header_of(struct walk *w, uint32_t page, uint8_t h[HEADER])
{
	enum nj_err e;

	w->page = page;
	if (w->size < HEADER + FRAME + w->page)
		return NJ_NOTFOUND;
	free(w->buf);
	if (!(w->buf = malloc(FRAME + w->page)))
		return NJ_NOMEM;
	if (w->f->pMethods->xRead(
		w->f, w->buf, (int)(FRAME + w->page), HEADER) != SQLITE_OK)
		return NJ_IO;
	memcpy(w->salt, w->buf + 8, sizeof w->salt);
	if (guess_header(w, false, h) || guess_header(w, true, h))
		return NJ_OK;
	if (w->size < HEADER + 2 * (sqlite3_int64)(FRAME + w->page))
		return NJ_NOTFOUND;
	if (w->f->pMethods->xRead(w->f, w->salt, sizeof w->salt,
		HEADER + FRAME + w->page + 8) != SQLITE_OK)
		return NJ_IO;
	for (unsigned big = 0; big < 2; big++) {
		w->big = big;
		w->at = w->bad = HEADER;
		if ((e = walk(w)))
			return e;
	}
	return NJ_NOTFOUND;
}

static enum nj_err
find_header(struct walk *w, uint8_t h[HEADER])
{
	uint32_t said = w->page;
	enum nj_err e = find_header_of(w, OUR_PAGE, h);

	if (e == NJ_NOTFOUND && said != OUR_PAGE && is_page(said))
		e = find_header_of(w, said, h);
	return e;
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

static enum nj_err
check_log(struct walk *w, const char *log, const char *path, struct nj_why *why)
{
	uint8_t h[HEADER];
	enum nj_err e;

	switch (read_header(w)) {
	case NO_HEADER:
		return NJ_OK;
	case WHOLE_HEADER:
		if (!(e = begin(w)))
			e = walk(w);
		explain(w, e, log, path, why);
		return e;
	case TORN_HEADER:
		break;
	}
	if ((e = find_header(w, h))) {
		explain(w, e, log, path, why);
		return e == NJ_NOTFOUND ? NJ_OK : e;
	}
	why_set(why, "%s is damaged in its first %d bytes", log, HEADER);
	why_mend(why, "start the broker, which makes them anew");
	return NJ_MALFORMED;
}

enum nj_err
walcheck(const char *name, const char *path, struct nj_why *why)
{
	struct walk w = { .bad = 0 };
	char *log;
	enum nj_err e = open_log(&w, name, path, SQLITE_OPEN_READONLY, &log);

	if (e)
		return e;
	if (w.f)
		e = check_log(&w, log, path, why);
	free(w.buf);
	close_log(&w, log);
	return e;
}

/* Its header is h; NULL: it is emptied. */
static enum nj_err
mend(struct walk *w, const uint8_t *h, const char *log, struct nj_why *why)
{
	const sqlite3_io_methods *io = w->f->pMethods;
	int rc = h ? io->xWrite(w->f, h, HEADER, 0) : io->xTruncate(w->f, 0);

	if (rc != SQLITE_OK || io->xSync(w->f, SQLITE_SYNC_FULL) != SQLITE_OK) {
		why_set(why, "%s has no whole header, and cannot be %s", log,
		    h ? "written" : "emptied");
		return NJ_IO;
	}
	nj_log(LOG_T_WARNING, "%s had no whole header: %s", log,
	    h ? "it has that of what is in it again" : "it is emptied");
	return NJ_OK;
}

enum nj_err
walcheck_mend_header(
    const char *name, const char *path, bool give_up, struct nj_why *why)
{
	struct walk w = { .bad = 0 };
	uint8_t h[HEADER];
	char *log;
	enum nj_err e = open_log(&w, name, path, SQLITE_OPEN_READWRITE, &log);

	if (e)
		return e;
	if (w.f && read_header(&w) == TORN_HEADER) {
		e = find_header(&w, h);
		if (!e || e == NJ_NOTFOUND || (e == NJ_MALFORMED && give_up))
			e = mend(&w, e ? NULL : h, log, why);
		else if (e == NJ_MALFORMED)
			e = NJ_OK; /* the check says so */
		else
			explain(&w, e, log, path, why);
	}
	free(w.buf);
	close_log(&w, log);
	return e;
}
