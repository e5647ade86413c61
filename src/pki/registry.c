/* SPDX-License-Identifier: Apache-2.0 */
#include "pki/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"

#define HEADER	       "nightjar-registry 1\n"
#define LINE_MAX_BYTES 1024
#define SUM_HEX \
	32 /* half a SHA-256: against accidents and slips, as
		     * whoever can write here can also recompute it */

struct sum {
	char hex[SUM_HEX + 1];
};

/* How far a scan came. */
struct place {
	off_t end;
	struct sum last;
	unsigned line;
};

struct registry {
	int fd;
	char *path;
	struct place at; /* after the last whole line */
};

/* One for all lines of a scan: fetching the digest takes longer than a line
 * does. */
struct summer {
	EVP_MD_CTX *ctx;
	EVP_MD *sha256;
};

static enum nj_err
summer_init(struct summer *s)
{
	s->ctx = EVP_MD_CTX_new();
	s->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	return s->ctx && s->sha256 ? NJ_OK : NJ_NOMEM;
}

static void
summer_fini(struct summer *s)
{
	EVP_MD_CTX_free(s->ctx);
	EVP_MD_free(s->sha256);
}

/* Of the sum before and the line without its own sum. */
static enum nj_err
sum_next(const struct summer *s, const struct sum *before, struct slice line,
    struct sum *out)
{
	static const char digits[] = "0123456789abcdef";
	unsigned char md[EVP_MAX_MD_SIZE];

	if (EVP_DigestInit_ex(s->ctx, s->sha256, NULL) != 1 ||
	    EVP_DigestUpdate(s->ctx, before->hex, SUM_HEX) != 1 ||
	    EVP_DigestUpdate(s->ctx, line.p, line.n) != 1 ||
	    EVP_DigestFinal_ex(s->ctx, md, NULL) != 1)
		return NJ_CRYPTO;
	for (size_t i = 0; i < SUM_HEX / 2; i++) {
		out->hex[2 * i] = digits[md[i] >> 4];
		out->hex[2 * i + 1] = digits[md[i] & 15];
	}
	out->hex[SUM_HEX] = '\0';
	return NJ_OK;
}

static void
sum_start(struct sum *s)
{
	memset(s->hex, '0', SUM_HEX);
	s->hex[SUM_HEX] = '\0';
}

/* What the sum is over. */
static bool
put_fields(char *dst, size_t size, const struct registry_entry *e)
{
	int n =
	    snprintf(dst, size, "%s %s %s %" PRId64 " %" PRId64 " %s%s%s%s%s",
		e->kind, e->id, e->serial, e->issued, e->not_after, e->spki,
		e->has_groups ? " groups=" : "", e->has_groups ? e->groups : "",
		e->reason[0] ? " reason=" : "", e->reason);

	return n > 0 && (size_t)n < size;
}

static bool
take_word(struct slice *s, char *dst, size_t size)
{
	const uint8_t *space = memchr(s->p, ' ', s->n);
	size_t n = space ? (size_t)(space - s->p) : s->n;

	if (n == 0 || n >= size)
		return false;
	memcpy(dst, s->p, n);
	dst[n] = '\0';
	s->p += n + (space != NULL);
	s->n -= n + (space != NULL);
	return true;
}

static bool
take_time(struct slice *s, int64_t *out)
{
	char word[24], *end = NULL;

	if (!take_word(s, word, sizeof(word)))
		return false;
	errno = 0;
	*out = strtoll(word, &end, 10);
	return errno == 0 && *end == '\0';
}

/* The value, if the word is "key=value". */
static const char *
value_of(const char *word, const char *key)
{
	size_t n = strlen(key);

	return strncmp(word, key, n) == 0 && word[n] == '=' ? word + n + 1
							    : NULL;
}

/* "key=value" words. */
static bool
take_attributes(struct slice *s, struct registry_entry *e)
{
	char word[LINE_MAX_BYTES + 1];
	const char *v;

	e->has_groups = false;
	e->groups[0] = e->reason[0] = '\0';
	while (s->n > 0) {
		if (!take_word(s, word, sizeof(word)) || !strchr(word, '='))
			return false;
		if ((v = value_of(word, "groups"))) {
			e->has_groups = true;
			if (strlen(v) > REGISTRY_GROUPS_MAX)
				return false;
			memcpy(e->groups, v, strlen(v) + 1);
		} else if ((v = value_of(word, "reason"))) {
			if (strlen(v) >= sizeof(e->reason))
				return false;
			memcpy(e->reason, v, strlen(v) + 1);
		}
	}
	return true;
}

/* One line without its newline; false when it is not as it was written. */
static bool
parse_line(const struct summer *sm, struct slice line, const struct sum *before,
    struct sum *sum, struct registry_entry *e)
{
	struct slice fields = line, s;

	if (line.n < SUM_HEX + 2 || line.n > LINE_MAX_BYTES)
		return false;
	fields.n -= SUM_HEX + 1;
	if (fields.p[fields.n] != ' ' || sum_next(sm, before, fields, sum) ||
	    memcmp(sum->hex, fields.p + fields.n + 1, SUM_HEX) != 0)
		return false;
	s = fields;
	return take_word(&s, e->kind, sizeof(e->kind)) &&
	    take_word(&s, e->id, sizeof(e->id)) &&
	    take_word(&s, e->serial, sizeof(e->serial)) &&
	    take_time(&s, &e->issued) && take_time(&s, &e->not_after) &&
	    take_word(&s, e->spki, sizeof(e->spki)) && take_attributes(&s, e);
}

static enum nj_err
damaged(const char *path, unsigned line, struct nj_why *why)
{
	why_set(why,
	    "the registry '%s' is damaged in line %u: it was changed "
	    "or the disk lost data; nothing is issued on it",
	    path, line);
	why_mend(why, "restore the file from a backup");
	return NJ_INVALID;
}

/*
 * What a crash leaves of the last write: no newline yet, or blocks that were
 * never written, which read as NUL bytes.  Of several lines that went out in
 * one write later ones may be there and earlier ones not.
 */
static bool
is_torn(struct slice rest)
{
	const uint8_t *nl = memchr(rest.p, '\n', rest.n);

	if (!nl)
		return true;
	return rest.n <= (size_t)REGISTRY_BATCH * LINE_MAX_BYTES &&
	    memchr(rest.p, '\0', (size_t)(nl - rest.p)) != NULL;
}

/* Goes through the lines of text, which begins where *at is. */
static enum nj_err
scan_lines(const char *path, struct slice text, struct place *at,
    bool (*fn)(void *arg, const struct registry_entry *e), void *arg,
    struct nj_why *why)
{
	struct summer sm = { 0 };
	struct slice rest = text;
	enum nj_err err = summer_init(&sm);

	while (!err && rest.n > 0) {
		const uint8_t *nl = memchr(rest.p, '\n', rest.n);
		struct registry_entry e;
		struct sum next;

		at->line++;
		if (!nl ||
		    !parse_line(&sm, slice_of(rest.p, (size_t)(nl - rest.p)),
			&at->last, &next, &e)) {
			if (!is_torn(rest))
				err = damaged(path, at->line, why);
			at->line--;
			break;
		}
		at->last = next;
		at->end += nl - rest.p + 1;
		rest.n -= (size_t)(nl - rest.p) + 1;
		rest.p = nl + 1;
		if (fn && !fn(arg, &e))
			break;
	}
	summer_fini(&sm);
	return err;
}

/* Goes through all lines; *at is for the next append. */
static enum nj_err
scan(const char *path, struct slice text, struct place *at,
    bool (*fn)(void *arg, const struct registry_entry *e), void *arg,
    struct nj_why *why)
{
	const struct slice header = LIT(HEADER);
	struct slice rest = text;

	if (!text.p || !slice_has_prefix(text, header))
		return damaged(path, 1, why);
	rest.p += header.n;
	rest.n -= header.n;
	*at = (struct place){ .end = (off_t)header.n, .line = 1 };
	sum_start(&at->last);
	return scan_lines(path, rest, at, fn, arg, why);
}

enum nj_err
registry_each(const char *path,
    bool (*fn)(void *arg, const struct registry_entry *e), void *arg,
    struct nj_why *why)
{
	struct buf text = { 0 };
	struct place at;
	enum nj_err e;

	e = file_read(path, REGISTRY_MAX, &text, why);
	if (!e)
		e = scan(path, buf_slice(&text), &at, fn, arg, why);
	buf_fini(&text);
	return e;
}

static enum nj_err
io_error(const char *path, const char *verb, struct nj_why *why)
{
	int err = errno;

	why_set(
	    why, "cannot %s the registry '%s': %s", verb, path, strerror(err));
	if (err == ENOSPC || err == EDQUOT)
		why_mend(why,
		    "free space on its disk; nothing is issued that "
		    "cannot be written down");
	else if (err == EROFS)
		why_mend(why,
		    "its file system is mounted read-only: mount it for "
		    "writing, or do this where the CA is kept");
	return err == EACCES || err == EPERM ? NJ_DENIED : NJ_IO;
}

static enum nj_err
lock(struct registry *r, struct nj_why *why)
{
	while (flock(r->fd, LOCK_EX) != 0) {
		if (errno != EINTR)
			return io_error(r->path, "lock", why);
	}
	return NJ_OK;
}

/* Under the lock: where the next line goes, and what a crash left after it
 * cut away. */
static enum nj_err
find_end(struct registry *r, struct nj_why *why)
{
	struct buf text = { 0 };
	enum nj_err e;

	e = file_read(r->path, REGISTRY_MAX, &text, why);
	if (!e)
		e = scan(r->path, buf_slice(&text), &r->at, NULL, NULL, why);
	if (!e && (size_t)r->at.end < buf_len(&text) &&
	    ftruncate(r->fd, r->at.end) != 0)
		e = io_error(r->path, "mend", why);
	buf_fini(&text);
	return e;
}

enum nj_err
registry_open(
    const char *path, bool create, struct registry **out, struct nj_why *why)
{
	struct registry *r = NULL;
	enum nj_err e;

	if (create && (e = file_create(path, LIT(HEADER), 0600, why)))
		return e;
	if (!(r = calloc(1, sizeof(*r))))
		return NJ_NOMEM;
	r->fd = -1;
	if (!(r->path = strdup(path))) {
		e = NJ_NOMEM;
		goto out;
	}
	r->fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (r->fd < 0) {
		e = io_error(path, "open", why);
		goto out;
	}
	if ((e = lock(r, why)) || (e = find_end(r, why)))
		goto out;
	*out = r;
	r = NULL;
out:
	registry_close(r);
	return e;
}

void
registry_close(struct registry *r)
{
	if (!r)
		return;
	if (r->fd >= 0)
		(void)close(r->fd);
	free(r->path);
	free(r);
}

void
registry_release(struct registry *r)
{
	(void)flock(r->fd, LOCK_UN);
}

enum nj_err
registry_retake(struct registry *r, bool *grown, struct nj_why *why)
{
	struct stat st;
	enum nj_err e;

	if ((e = lock(r, why)))
		return e;
	if (fstat(r->fd, &st) != 0)
		return io_error(r->path, "look at", why);
	/* Whole lines are never changed again, so what has not grown is as we
	 * left it. */
	*grown = st.st_size != r->at.end;
	return *grown ? find_end(r, why) : NJ_OK;
}

static enum nj_err
write_lines(struct registry *r, const uint8_t *p, size_t n, struct nj_why *why)
{
	size_t done = 0;

	while (done < n) {
		ssize_t put =
		    pwrite(r->fd, p + done, n - done, r->at.end + (off_t)done);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return io_error(r->path, "write", why);
		done += (size_t)put;
	}
	return fsync(r->fd) == 0 ? NJ_OK : io_error(r->path, "sync", why);
}

/* The lines with their sums; *last is the last one's. */
static enum nj_err
put_lines(
    const struct registry_entry *v, size_t n, struct sum *last, struct buf *out)
{
	struct summer sm = { 0 };
	char line[LINE_MAX_BYTES - SUM_HEX];
	enum nj_err e = summer_init(&sm);

	for (size_t i = 0; !e && i < n; i++) {
		if (!put_fields(line, sizeof(line), &v[i]))
			e = NJ_TOOBIG;
		else if (!(e = sum_next(&sm, last, slice_str(line), last)))
			e = buf_printf(out, "%s %s\n", line, last->hex);
	}
	summer_fini(&sm);
	return e;
}

enum nj_err
registry_append_all(struct registry *r, const struct registry_entry *v,
    size_t n, struct nj_why *why)
{
	struct sum last = r->at.last;
	struct buf text = { 0 };
	enum nj_err e;

	if (n > REGISTRY_BATCH)
		return NJ_TOOBIG;
	if ((e = put_lines(v, n, &last, &text)))
		goto out;
	e = NJ_FULL;
	if (r->at.end + (off_t)buf_len(&text) > REGISTRY_MAX) {
		why_set(why, "the registry '%s' is full", r->path);
		goto out;
	}
	if ((e = write_lines(r, buf_slice(&text).p, buf_slice(&text).n, why))) {
		/* Half a line must not stand before the next one; if even
		 * this fails, the next open cuts it. */
		if (ftruncate(r->fd, r->at.end) != 0)
			r->at.end = REGISTRY_MAX;
		goto out;
	}
	r->at.end += (off_t)buf_len(&text);
	r->at.last = last;
	r->at.line += (unsigned)n;
out:
	buf_fini(&text);
	return e;
}

enum nj_err
registry_append(
    struct registry *r, const struct registry_entry *entry, struct nj_why *why)
{
	return registry_append_all(r, entry, 1, why);
}
