/* SPDX-License-Identifier: Apache-2.0
 */
#include "store/rawpage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "store/pagefile.h"
#include "store/pagesum.h"

/* Of the database's header. */
#define HEADER	    100
#define AT_PAGE	    16
#define AT_RESERVED 20
#define AT_PAGES    28
#define AT_MAPPED   52
#define AT_VERSION  60
#define AT_OWNER    68
/* Of the log. */
#define LOG_HEADER 32
#define LOG_FRAME  24
#define LOG_MAGIC  0x377f0682u /* or one more: sums of big-endian words */
/* The page that has this byte is never used, as files are locked there. */
#define PENDING 0x40000000u
/* In which a page is looked for that says of what size all are. */
#define GUESS_BYTES (64u << 20)

static int
open_part(const char *path, const char *tail)
{
	char *name = NULL;
	int fd;

	if (asprintf(&name, "%s%s", path, tail) < 0)
		return -1;
	fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	free(name);
	return fd;
}

/* Frames that go together, and how large the file is after them; whichever of
 * them a page had last is it. */
struct commit {
	uint32_t from, till, pages;
};

static enum nj_err
grow(struct rawpages *p, uint32_t n)
{
	uint32_t *v;

	if (n <= p->n)
		return NJ_OK;
	if (!(v = realloc(p->frame, ((size_t)n + 1) * sizeof *v)))
		return NJ_NOMEM;
	memset(v + p->n + 1, 0, ((size_t)n - p->n) * sizeof *v);
	p->frame = v;
	p->n = n;
	return NJ_OK;
}

static off_t
frame_at(const struct rawpages *p, uint32_t frame)
{
	return LOG_HEADER + (off_t)frame * (off_t)(LOG_FRAME + p->size);
}

/* What a commit has is that of its pages from now on. */
static enum nj_err
take_commit(struct rawpages *p, const struct commit *c)
{
	uint8_t head[4];
	enum nj_err e = grow(p, c->pages);

	for (uint32_t i = c->from; !e && i < c->till; i++) {
		uint32_t no;

		if ((e = file_read_at(
			 p->log, head, sizeof head, frame_at(p, i))))
			return e;
		no = raw_number(head);
		if (no > 0 && no <= c->pages)
			p->frame[no] = i + 1;
	}
	/* what was cut off is not there any more */
	if (!e)
		p->n = c->pages;
	return e;
}

/* No log has room for more pages than were in the file and are in it, whatever a
 * COMMIT says: those behind are missing. */
static uint32_t
most_pages(const struct rawpages *p, uint64_t size)
{
	uint64_t most = p->n + size / (LOG_FRAME + p->size);

	return most < UINT32_MAX ? (uint32_t)most : UINT32_MAX - 1;
}

static void
give_up(struct rawpages *p, uint64_t at, uint64_t size, bool bad)
{
	p->log_end = at;
	p->log_left = size > at ? size - at : 0;
	p->log_bad = bad;
}

/* Which pages the frames from one on would change, of which sum is that of the one
 * before.  A number that may itself be damaged is not believed; what is of an older
 * log is behind all others. */
static enum nj_err
note_lost(struct rawpages *p, uint32_t from, struct sum sum,
    const uint8_t *salt, bool big, uint8_t *frame)
{
	bool unsure = false;
	enum nj_err e = NJ_OK;

	free(p->lost);
	if (!(p->lost = calloc((size_t)p->n + 1, sizeof *p->lost)))
		return NJ_NOMEM;
	for (uint32_t i = from; !e; i++) {
		uint32_t no;
		bool ours, whole;

		if ((e = file_read_at(
			 p->log, frame, LOG_FRAME + p->size, frame_at(p, i))))
			break;
		sum = sum_add(sum, frame, 8, big);
		sum = sum_add(sum, frame + LOG_FRAME, p->size, big);
		whole = sum.a == raw_number(frame + 16) &&
		    sum.b == raw_number(frame + 20);
		sum = sum_get(frame + 16);
		ours = memcmp(frame + 8, salt, 8) == 0;
		no = raw_number(frame);
		p->lost_any |= unsure && ours;
		unsure |=
		    !whole && (!ours || pagesum_ok(frame + LOG_FRAME, p->size));
		p->lost_any |= unsure && ours;
		if (no > 0 && no <= p->n)
			p->lost[no] |= ours || whole;
	}
	return e == NJ_EOF ? NJ_OK : e;
}

/* As SQLite does: up to the last COMMIT before a frame whose sum does not fit. */
static enum nj_err
read_log(struct rawpages *p, uint8_t *frame)
{
	uint8_t h[LOG_HEADER];
	struct commit c = { .from = 0 };
	struct sum sum, before;
	struct stat st;
	enum nj_err e;
	uint32_t most;
	bool big, old;

	if (fstat(p->log, &st))
		return NJ_IO;
	if ((e = file_read_at(p->log, h, sizeof h, 0)))
		return e == NJ_EOF ? NJ_OK : e; /* empty */
	most = most_pages(p, (uint64_t)st.st_size);
	big = raw_number(h) & 1;
	sum = sum_add((struct sum){ 0, 0 }, h, LOG_FRAME, big);
	if ((raw_number(h) & ~1u) != LOG_MAGIC ||
	    raw_number(h + 8) != p->size || sum.a != raw_number(h + 24) ||
	    sum.b != raw_number(h + 28)) {
		if (st.st_size > LOG_HEADER)
			give_up(p, 0, (uint64_t)st.st_size, true);
		return NJ_OK;
	}
	for (uint32_t i = 0; !e; i++) {
		if ((e = file_read_at(
			 p->log, frame, LOG_FRAME + p->size, frame_at(p, i))))
			break;
		before = sum;
		sum = sum_add(sum, frame, 8, big);
		sum = sum_add(sum, frame + LOG_FRAME, p->size, big);
		/* an older log's frames are behind this one's */
		old = memcmp(frame + 8, h + 16, 8) != 0;
		if (old || sum.a != raw_number(frame + 16) ||
		    sum.b != raw_number(frame + 20)) {
			give_up(p, (uint64_t)frame_at(p, i),
			    (uint64_t)st.st_size, !old);
			e = note_lost(p, i, before, h + 16, big, frame);
			break;
		}
		if ((c.pages = raw_number(frame + 4))) {
			if (c.pages > most)
				c.pages = most;
			c.till = i + 1;
			e = take_commit(p, &c);
			c.from = c.till;
		}
	}
	return e == NJ_EOF ? NJ_OK : e;
}

/* Pages of that size that are as they were written, among the first of a file. */
static bool
has_pages(int fd, uint64_t bytes, size_t size, uint8_t *page)
{
	for (uint64_t at = size; at + size <= bytes && at < GUESS_BYTES;
	     at += size)
		if (file_read_at(fd, page, size, (off_t)at) == NJ_OK &&
		    pagesum_ok(page, size))
			return true;
	return false;
}

/* What the header says is believed where the page that has it is whole.  0: no page
 * has a sum that fits. */
static enum nj_err
find_size(
    const struct rawpages *p, const uint8_t *h, uint64_t bytes, size_t *out)
{
	size_t said = (size_t)h[AT_PAGE] << 8 | h[AT_PAGE + 1];
	uint8_t *page = malloc(PAGE_MOST);
	enum nj_err e = page ? NJ_OK : NJ_NOMEM;

	*out = 0;
	said = said == 1 ? PAGE_MOST : said;
	if (!e && is_page_size(said) && pagesum_is_first(h) &&
	    file_read_at(p->fd, page, said, 0) == NJ_OK &&
	    pagesum_ok(page, said))
		*out = said;
	for (size_t n = PAGE_LEAST; !e && !*out && n <= PAGE_MOST; n *= 2)
		if (has_pages(p->fd, bytes, n, page))
			*out = n;
	free(page);
	return e;
}

static enum nj_err
refuse(const char *path, const uint8_t *h, struct nj_why *why)
{
	size_t n = (size_t)h[AT_PAGE] << 8 | h[AT_PAGE + 1];

	if (!pagesum_is_first(h)) {
		why_set(why, "%s does not begin as a store does", path);
		why_mend(why, "restore the last backup");
		return NJ_MALFORMED;
	}
	if (is_page_size(n == 1 ? PAGE_MOST : n) &&
	    h[AT_RESERVED] == PAGESUM_BYTES) {
		why_set(why, "no page of %s is as it was written", path);
		why_mend(why, "restore the last backup");
		return NJ_MALFORMED;
	}
	why_set(why,
	    "%s has no checksums of its pages, which say what of it is as it "
	    "was written",
	    path);
	why_mend(why,
	    "restore the last backup; what can still be read: sqlite3 %s "
	    ".recover",
	    path);
	return NJ_UNSUPPORTED;
}

static enum nj_err
begin(struct rawpages *p, const char *path, struct nj_why *why)
{
	uint8_t h[HEADER] = { 0 };
	struct stat st;
	enum nj_err e;

	if ((p->fd = open_part(path, "")) < 0 || fstat(p->fd, &st)) {
		why_set(why, "cannot open %s: %s", path, strerror(errno));
		return errno == ENOENT ? NJ_NOTFOUND : NJ_IO;
	}
	if ((e = file_read_at(p->fd, h, sizeof h, 0)) == NJ_IO)
		why_set(why, "cannot read %s: %s", path, strerror(errno));
	if (e)
		return e == NJ_EOF ? refuse(path, h, why) : e;
	if ((e = find_size(p, h, (uint64_t)st.st_size, &p->size)))
		return e;
	if (!p->size)
		return refuse(path, h, why);
	p->usable = p->size - PAGESUM_BYTES;
	if ((p->log = open_part(path, "-wal")) < 0 && errno != ENOENT) {
		why_set(why, "cannot open %s-wal: %s", path, strerror(errno));
		return NJ_IO;
	}
	return grow(p, (uint32_t)((uint64_t)st.st_size / p->size));
}

/* What the first page says, if it is there. */
static enum nj_err
read_first(
    struct rawpages *p, const char *path, uint8_t *page, struct nj_why *why)
{
	uint32_t had;

	if (rawpages_read(p, 1, page)) {
		p->headless = true;
		p->mapped = true; /* as each that we made is */
		return NJ_OK;
	}
	if (raw_number(page + AT_OWNER) != STORE_APPLICATION) {
		why_set(why, "%s is a database of another program", path);
		return NJ_UNSUPPORTED;
	}
	if (raw_number(page + AT_VERSION) > PAGESUM_SCHEMA) {
		why_set(why, "%s was written by a newer nightjar", path);
		why_mend(why, "use that one");
		return NJ_UNSUPPORTED;
	}
	had = raw_number(page + AT_PAGES);
	p->missing = had > p->n ? had - p->n : 0;
	p->mapped = raw_number(page + AT_MAPPED) != 0;
	return NJ_OK;
}

enum nj_err
rawpages_open(const char *path, struct rawpages *out, struct nj_why *why)
{
	struct rawpages p = { .fd = -1, .log = -1 };
	uint8_t *page = NULL;
	enum nj_err e = begin(&p, path, why);

	if (!e && !(page = malloc(LOG_FRAME + p.size)))
		e = NJ_NOMEM;
	if (!e && p.log >= 0 && (e = read_log(&p, page)) == NJ_IO)
		why_set(why, "cannot read %s-wal: %s", path, strerror(errno));
	if (!e && !(e = read_first(&p, path, page, why))) {
		*out = p;
		p = (struct rawpages){ .fd = -1, .log = -1 };
	}
	free(page);
	rawpages_close(&p);
	return e;
}

void
rawpages_close(struct rawpages *p)
{
	if (p->fd >= 0)
		close(p->fd);
	if (p->log >= 0)
		close(p->log);
	free(p->frame);
	free(p->lost);
	*p = (struct rawpages){ .fd = -1, .log = -1 };
}

static bool
read_page(const struct rawpages *p, uint32_t no, uint8_t *to)
{
	off_t at;
	int fd = p->fd;

	if (no == 0 || no > p->n)
		return false;
	at = (off_t)(no - 1) * (off_t)p->size;
	if (p->frame[no]) {
		fd = p->log;
		at = frame_at(p, p->frame[no] - 1) + LOG_FRAME;
	}
	return file_read_at(fd, to, p->size, at) == NJ_OK;
}

enum nj_err
rawpages_read(const struct rawpages *p, uint32_t no, uint8_t *to)
{
	return read_page(p, no, to) && pagesum_ok(to, p->size) ? NJ_OK
							       : NJ_MALFORMED;
}

bool
rawpages_blank(const struct rawpages *p, uint32_t no, uint8_t *to)
{
	return read_page(p, no, to) && to[0] == 0 &&
	    memcmp(to, to + 1, p->size - 1) == 0;
}

uint32_t
rawpages_pending(const struct rawpages *p)
{
	return PENDING / (uint32_t)p->size + 1;
}

/* 2.5: each such page tells of as many as it has room for, behind it. */
enum nj_err
rawpages_kind(const struct rawpages *p, uint32_t no, uint8_t *scratch,
    enum raw_kind *kind, uint32_t *parent)
{
	uint32_t each = (uint32_t)(p->usable / 5) + 1;
	uint32_t pending = rawpages_pending(p), map;
	const uint8_t *at;

	*parent = 0;
	*kind = RAW_MAP;
	if (no < 3 || no == pending) {
		*kind = no == 1 ? RAW_ROOT : RAW_MAP;
		return NJ_OK;
	}
	if (!p->mapped)
		return NJ_MALFORMED;
	map = (no - 2) / each * each + 2;
	if (map == pending)
		map++;
	if (map >= no)
		return NJ_OK;
	if (rawpages_read(p, map, scratch))
		return NJ_MALFORMED;
	at = scratch + (size_t)5 * (no - map - 1);
	if (at[0] < RAW_ROOT || at[0] > RAW_TREE)
		return NJ_MALFORMED;
	*kind = (enum raw_kind)at[0];
	*parent = raw_number(at + 1);
	return NJ_OK;
}
