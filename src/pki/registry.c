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
#define LINE_MAX_BYTES 320
#define SUM_HEX \
	32 /* half a SHA-256: against accidents and slips, as
		     * whoever can write here can also recompute it */

struct sum {
	char hex[SUM_HEX + 1];
};

struct registry {
	int fd;
	char *path;
	off_t end; /* after the last whole line */
	struct sum last;
};

/* Of the sum before and the line without its own sum. */
static enum nj_err
sum_next(const struct sum *before, struct slice line, struct sum *out)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char md[EVP_MAX_MD_SIZE];
	enum nj_err e = NJ_CRYPTO;

	if (!ctx)
		return NJ_NOMEM;
	if (EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
	    EVP_DigestUpdate(ctx, before->hex, SUM_HEX) == 1 &&
	    EVP_DigestUpdate(ctx, line.p, line.n) == 1 &&
	    EVP_DigestFinal_ex(ctx, md, NULL) == 1) {
		for (size_t i = 0; i < SUM_HEX / 2; i++)
			(void)snprintf(out->hex + 2 * i, 3, "%02x", md[i]);
		e = NJ_OK;
	}
	EVP_MD_CTX_free(ctx);
	return e;
}

static void
sum_start(struct sum *s)
{
	memset(s->hex, '0', SUM_HEX);
	s->hex[SUM_HEX] = '\0';
}

/* "kind id serial issued not_after spki", what the sum is over. */
static bool
put_fields(char *dst, size_t size, const struct registry_entry *e)
{
	int n = snprintf(dst, size, "%s %s %s %" PRId64 " %" PRId64 " %s",
	    e->kind, e->id, e->serial, e->issued, e->not_after, e->spki);

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

/* One line without its newline; false when it is not as it was written. */
static bool
parse_line(struct slice line, const struct sum *before, struct sum *sum,
    struct registry_entry *e)
{
	struct slice fields = line, s;

	if (line.n < SUM_HEX + 2 || line.n > LINE_MAX_BYTES)
		return false;
	fields.n -= SUM_HEX + 1;
	if (fields.p[fields.n] != ' ' || sum_next(before, fields, sum) ||
	    memcmp(sum->hex, fields.p + fields.n + 1, SUM_HEX) != 0)
		return false;
	s = fields;
	return take_word(&s, e->kind, sizeof(e->kind)) &&
	    take_word(&s, e->id, sizeof(e->id)) &&
	    take_word(&s, e->serial, sizeof(e->serial)) &&
	    take_time(&s, &e->issued) && take_time(&s, &e->not_after) &&
	    take_word(&s, e->spki, sizeof(e->spki)) && s.n == 0;
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

/* What a crash leaves of the last line: no newline yet, or blocks that were
 * never written, which read as NUL bytes. */
static bool
is_torn(struct slice rest)
{
	const uint8_t *nl = memchr(rest.p, '\n', rest.n);

	if (!nl)
		return true;
	return nl + 1 == rest.p + rest.n &&
	    memchr(rest.p, '\0', rest.n) != NULL;
}

/* Goes through all lines; *end and *last are for the next append. */
static enum nj_err
scan(const char *path, struct slice text, off_t *end, struct sum *last,
    bool (*fn)(void *arg, const struct registry_entry *e), void *arg,
    struct nj_why *why)
{
	const struct slice header = LIT(HEADER);
	struct slice rest = text;
	struct sum sum;
	unsigned n = 1;

	if (!text.p || !slice_has_prefix(text, header))
		return damaged(path, 1, why);
	rest.p += header.n;
	rest.n -= header.n;
	sum_start(&sum);
	while (rest.n > 0) {
		const uint8_t *nl = memchr(rest.p, '\n', rest.n);
		struct registry_entry e;
		struct sum next;

		n++;
		if (!nl ||
		    !parse_line(slice_of(rest.p, (size_t)(nl - rest.p)), &sum,
			&next, &e)) {
			if (!is_torn(rest))
				return damaged(path, n, why);
			break;
		}
		sum = next;
		rest.n -= (size_t)(nl - rest.p) + 1;
		rest.p = nl + 1;
		if (fn && !fn(arg, &e))
			break;
	}
	*end = (off_t)(text.n - rest.n);
	*last = sum;
	return NJ_OK;
}

enum nj_err
registry_each(const char *path,
    bool (*fn)(void *arg, const struct registry_entry *e), void *arg,
    struct nj_why *why)
{
	struct buf text = { 0 };
	struct sum last;
	enum nj_err e;
	off_t end;

	e = file_read(path, REGISTRY_MAX, &text, why);
	if (!e)
		e = scan(path, buf_slice(&text), &end, &last, fn, arg, why);
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
		e = scan(r->path, buf_slice(&text), &r->end, &r->last, NULL,
		    NULL, why);
	if (!e && (size_t)r->end < buf_len(&text) &&
	    ftruncate(r->fd, r->end) != 0)
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

static enum nj_err
write_line(struct registry *r, const char *line, size_t n, struct nj_why *why)
{
	size_t done = 0;

	while (done < n) {
		ssize_t put =
		    pwrite(r->fd, line + done, n - done, r->end + (off_t)done);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return io_error(r->path, "write", why);
		done += (size_t)put;
	}
	return fsync(r->fd) == 0 ? NJ_OK : io_error(r->path, "sync", why);
}

enum nj_err
registry_append(
    struct registry *r, const struct registry_entry *entry, struct nj_why *why)
{
	char line[LINE_MAX_BYTES + 2];
	struct sum sum;
	enum nj_err e;
	size_t n;

	if (!put_fields(line, sizeof(line) - SUM_HEX - 3, entry))
		return NJ_TOOBIG;
	if ((e = sum_next(&r->last, slice_str(line), &sum)))
		return e;
	n = strlen(line);
	n += (size_t)snprintf(line + n, sizeof(line) - n, " %s\n", sum.hex);
	if (r->end + (off_t)n > REGISTRY_MAX) {
		why_set(why, "the registry '%s' is full", r->path);
		return NJ_FULL;
	}
	if ((e = write_line(r, line, n, why))) {
		/* Half a line must not stand before the next one; if even
		 * this fails, the next open cuts it. */
		if (ftruncate(r->fd, r->end) != 0)
			r->end = REGISTRY_MAX;
		return e;
	}
	r->end += (off_t)n;
	r->last = sum;
	return NJ_OK;
}
