/* SPDX-License-Identifier: Apache-2.0 */
#include "pki/pending.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/text.h"
#include "pki/token.h"

#define FILE_MAX 1024
#define HEADER	 "nightjar-pending 1 "

static char *
path_of(const char *dir, const char *id)
{
	char *p = NULL;

	return asprintf(&p, "%s/pki/pending/%s", dir, id) < 0 ? NULL : p;
}

/* The next word, or with last the rest of the line; false: none, or too
 * long. */
static bool
take(struct slice *s, bool last, char *dst, size_t size)
{
	size_t n = 0;

	while (n < s->n && s->p[n] != '\n' && (last || s->p[n] != ' '))
		n++;
	if (n == 0 || n >= size)
		return false;
	memcpy(dst, s->p, n);
	dst[n] = '\0';
	n += n < s->n;
	*s = slice_of(s->p + n, s->n - n);
	return true;
}

static bool
parse(struct slice s, struct pending *p)
{
	const struct slice head = LIT(HEADER);
	char word[24];
	long state, since;

	if (!s.p || !slice_has_prefix(s, head))
		return false;
	s = slice_of(s.p + head.n, s.n - head.n);
	if (!take(&s, false, word, sizeof word) ||
	    !text_to_long(word, PENDING_WAITS, PENDING_DENIED, &state) ||
	    !take(&s, false, word, sizeof word) ||
	    !text_to_long(word, 0, LONG_MAX, &since) ||
	    !take(&s, false, p->spki, sizeof p->spki) ||
	    !take(&s, false, p->token, sizeof p->token))
		return false;
	(void)take(&s, true, p->from, sizeof p->from);
	p->state = (enum pending_state)state;
	p->since = since;
	return true;
}

enum nj_err
pending_load(const char *dir, const char *id, struct pending *out)
{
	struct pending p = { 0 };
	struct buf text = { 0 };
	char *path;
	enum nj_err e;

	if (pki_check_id(id, NULL))
		return NJ_NOTFOUND;
	if (!(path = path_of(dir, id)))
		return NJ_NOMEM;
	e = access(path, F_OK) == 0 ? file_read(path, FILE_MAX, &text, NULL)
				    : NJ_NOTFOUND;
	if (!e && !parse(buf_slice(&text), &p))
		e = NJ_INVALID;
	buf_fini(&text);
	free(path);
	if (e)
		return e;
	(void)snprintf(p.id, sizeof p.id, "%s", id);
	*out = p;
	return NJ_OK;
}

struct count {
	const char *id, *token;
	unsigned all, same; /* others that wait, and of this token */
};

static bool
count_one(void *arg, const struct pending *p)
{
	struct count *c = arg;

	if (p->state == PENDING_DENIED || strcmp(p->id, c->id) == 0)
		return true;
	c->all++;
	c->same += strcmp(p->token, c->token) == 0;
	return true;
}

/* Whether one more may wait. */
static enum nj_err
find_room(
    const char *dir, const struct pending *p, unsigned uses, struct nj_why *why)
{
	struct count c = { .id = p->id, .token = p->token };
	enum nj_err e;

	if ((e = pending_each(dir, count_one, &c, why)))
		return e;
	if (c.same >= uses) {
		why_set(why, "as many requests wait as the token has uses (%u)",
		    uses);
		why_mend(why,
		    "nightjar ca pending shows them; approve or deny "
		    "them, or make a token for more devices");
		return NJ_FULL;
	}
	if (c.all >= ENROL_PENDING_MAX) {
		why_set(why, "%d requests wait for approval already",
		    ENROL_PENDING_MAX);
		why_mend(why,
		    "nightjar ca pending shows them; approve or deny "
		    "them");
		return NJ_FULL;
	}
	return NJ_OK;
}

static enum nj_err
store(const char *dir, const struct pending *p, struct nj_why *why)
{
	char *folder = pki_path(dir, "pki/pending"),
	     *path = path_of(dir, p->id);
	struct buf b = { 0 };
	enum nj_err e = NJ_NOMEM;

	if (!folder || !path)
		goto out;
	if ((e = file_mkdir(folder, 0700, why)))
		goto out;
	if (!(e = buf_printf(&b, HEADER "%d %" PRId64 " %s %s %s\n",
		  (int)p->state, p->since, p->spki, p->token, p->from)))
		e = file_write(path, buf_slice(&b), 0600, why);
out:
	buf_fini(&b);
	free(path);
	free(folder);
	return e;
}

enum nj_err
pending_add(
    const char *dir, const struct pending *p, unsigned uses, struct nj_why *why)
{
	enum nj_err e;

	/* what nobody can fetch takes no place */
	pending_sweep(dir, p->since);
	if ((e = find_room(dir, p, uses, why)))
		return e;
	return store(dir, p, why);
}

void
pending_remove(const char *dir, const char *id)
{
	char *path = path_of(dir, id);

	if (path)
		(void)unlink(path);
	free(path);
}

enum nj_err
pending_each(const char *dir, bool (*fn)(void *arg, const struct pending *p),
    void *arg, struct nj_why *why)
{
	char *folder = pki_path(dir, "pki/pending");
	struct pending p;
	struct dirent *en;
	bool go_on = true;
	DIR *d;

	if (!folder)
		return NJ_NOMEM;
	d = opendir(folder);
	if (!d && errno != ENOENT) {
		why_set(why, "cannot read '%s': %s", folder, strerror(errno));
		free(folder);
		return NJ_IO;
	}
	while (d && go_on && (en = readdir(d)))
		if (pending_load(dir, en->d_name, &p) == NJ_OK)
			go_on = fn(arg, &p);
	if (d)
		(void)closedir(d);
	free(folder);
	return NJ_OK;
}

struct sweep {
	const char *dir;
	int64_t now;
};

static bool
sweep_one(void *arg, const struct pending *p)
{
	const struct sweep *s = arg;

	if (!pki_token_is_there(s->dir, p->token) ||
	    (p->state == PENDING_DENIED &&
		p->since + PENDING_DENIED_S <= s->now))
		pending_remove(s->dir, p->id);
	return true;
}

void
pending_sweep(const char *dir, int64_t now)
{
	struct sweep s = { dir, now };

	(void)!pending_each(dir, sweep_one, &s, NULL);
}

enum nj_err
pending_decide(
    const char *dir, const char *id, bool approve, struct nj_why *why)
{
	struct pending p;
	enum nj_err e = pending_load(dir, id, &p);

	if (e == NJ_NOTFOUND) {
		why_set(why, "no request of that name waits");
		why_mend(why, "nightjar ca pending shows those that do");
	}
	if (e)
		return e;
	p.state = approve ? PENDING_APPROVED : PENDING_DENIED;
	p.since = (int64_t)time(NULL);
	return store(dir, &p, why);
}
