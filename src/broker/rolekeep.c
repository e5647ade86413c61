/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/rolekeep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "auth/rolebase.h"
#include "auth/roles_rows.h"
#include "base/file.h"
#include "base/log.h"
#include "broker/internal.h"
#include "broker/storing.h"
#include "store/facts.h"
#include "store/view.h"

/* Beside the rows: what the file was like when it was taken over. */
#define KIND_FILE 0
#define SPACE	  "dynsec:"
#define MARK_MAX  64

struct rolekeep {
	struct store *store;
	char *path, *space;
	char mark[MARK_MAX]; /* of the file that was taken over */
	char told[MARK_MAX]; /* of one that was warned about */
	bool loaded;
};

/* Empty: there is no such file. */
static void
mark_of(const char *path, char out[MARK_MAX])
{
	struct stat st;

	out[0] = '\0';
	if (stat(path, &st) == 0)
		(void)snprintf(out, MARK_MAX, "%lld %lld.%09ld",
		    (long long)st.st_size, (long long)st.st_mtim.tv_sec,
		    st.st_mtim.tv_nsec);
}

/* Somebody wrote the file and may expect that it counts. */
static void
tell_of_file(struct rolekeep *k)
{
	char now[MARK_MAX];

	mark_of(k->path, now);
	if (now[0] == '\0' || strcmp(now, k->mark) == 0 ||
	    strcmp(now, k->told) == 0)
		return;
	memcpy(k->told, now, sizeof now);
	nj_log(LOG_T_WARNING,
	    "Warning: %s has changed since its users, groups and roles were "
	    "taken over into the store, and it is not read: what is in the "
	    "store holds.  To take over what the file says now: nightjar role "
	    "import %s",
	    k->path, k->path);
}

/* Loading. */

struct loading {
	struct rolekeep *k;
	struct roles_reader *reader;
	struct nj_why *why;
};

/* On the store's thread; who asked waits. */
static enum nj_err
take(void *arg, unsigned kind, struct slice name, struct slice value)
{
	struct loading *l = arg;

	(void)name;
	if (kind != KIND_FILE)
		return roles_reader_take(
		    l->reader, (enum roles_row)kind, value, l->why);
	(void)snprintf(l->k->mark, sizeof l->k->mark, "%.*s", (int)value.n,
	    (const char *)value.p);
	return NJ_OK;
}

/* Where the store has lost what it had, the file from which that was taken over is
 * not what holds instead: it may allow what was forbidden since.  Only one that
 * somebody has written after that is. */
static enum nj_err
take_lost(void *arg, unsigned kind, struct slice name, struct slice value)
{
	struct timespec *when = arg;
	char text[MARK_MAX], *end;
	long long s;
	long ns = 0;

	(void)kind;
	(void)name;
	(void)snprintf(
	    text, sizeof text, "%.*s", (int)value.n, (const char *)value.p);
	s = strtoll(text, &end, 10);
	if (end == text)
		return NJ_MALFORMED;
	if (*end == '.')
		ns = strtol(end + 1, NULL, 10);
	*when = (struct timespec){ .tv_sec = (time_t)s, .tv_nsec = ns };
	return NJ_OK;
}

static enum nj_err
judge_file(const char *path, const struct timespec *lost, struct nj_why *why)
{
	char day[32] = "";
	struct stat st;
	struct tm tm;
	bool is = file_stat(path, &st);

	if (is &&
	    (st.st_mtim.tv_sec > lost->tv_sec ||
		(st.st_mtim.tv_sec == lost->tv_sec &&
		    st.st_mtim.tv_nsec > lost->tv_nsec)))
		return NJ_NOTFOUND;
	if (gmtime_r(&lost->tv_sec, &tm))
		(void)strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%SZ", &tm);
	why_set(why,
	    "the users, groups and roles that the store had were lost when it "
	    "was salvaged, %s; %s %s, and the broker does not begin with less "
	    "than they forbade",
	    day, path, is ? "is older than that" : "is not there");
	why_mend(why,
	    "let %s say what holds from now on (nightjar-dynsec(7)), and: "
	    "touch %s",
	    path, path);
	return NJ_DENIED;
}

static enum nj_err
load(void *arg, struct roles **out, struct nj_why *why)
{
	struct rolekeep *k = arg;
	struct loading l = { .k = k, .why = why };
	struct timespec lost;
	enum nj_err e;

	if (k->loaded) {
		tell_of_file(k);
		return NJ_EXISTS;
	}
	if ((e = roles_reader_new(k->path, &l.reader))) {
		why_set(why, "%s: %s", k->path, nj_strerror(e));
		return e;
	}
	e = facts_read(k->store, slice_str(k->space), take, &l, why);
	if (e == NJ_NOTFOUND &&
	    !(e = facts_read(k->store, LIT(FACTS_LOST), take_lost, &lost, why)))
		e = judge_file(k->path, &lost, why);
	if (!e && (e = roles_reader_end(l.reader, out)))
		why_set(
		    why, "%s: what the store has of it is not whole", k->path);
	roles_reader_free(l.reader);
	if (e)
		return e;
	k->loaded = true;
	tell_of_file(k);
	return NJ_OK;
}

static enum nj_err
take_row(void *arg, unsigned kind, struct slice name, struct slice value)
{
	struct loading *l = arg;

	(void)name;
	return kind == KIND_FILE
	    ? NJ_OK
	    : roles_reader_take(l->reader, (enum roles_row)kind, value, l->why);
}

enum nj_err
rolekeep_look(
    struct view *v, const char *path, struct roles **out, struct nj_why *why)
{
	struct loading l = { .why = why };
	struct timespec lost;
	char *space = NULL;
	enum nj_err e;

	if (asprintf(&space, SPACE "%s", path) < 0)
		return NJ_NOMEM;
	if (!(e = roles_reader_new(path, &l.reader)) &&
	    !(e = view_facts(v, slice_str(space), take_row, &l, why)) &&
	    (e = roles_reader_end(l.reader, out)))
		why_set(why, "%s: what the store has of it is not whole", path);
	else if (e == NJ_NOTFOUND &&
	    !(e = view_facts(v, LIT(FACTS_LOST), take_lost, &lost, why)))
		e = judge_file(path, &lost, why);
	roles_reader_free(l.reader);
	free(space);
	return e;
}

/* Saving. */

static enum nj_err
put(void *arg, enum roles_row kind, struct slice name, struct slice text)
{
	struct facts *f = arg;

	return text.p ? facts_put(f, kind, name, text)
		      : facts_del(f, kind, name);
}

static void
tell_taken(const struct rolekeep *k, const struct roles *r)
{
	struct roles_info info;

	roles_info(r, &info);
	nj_log(LOG_T_NOTICE,
	    "%zu users, %zu groups and %zu roles of %s are in the store from "
	    "now on; the file is not read and not written any more (nightjar "
	    "role import, role export).",
	    info.users, info.groups, info.roles, k->path);
}

static enum nj_err
save(void *arg, const struct roles *was, const struct roles *now,
    struct nj_why *why)
{
	struct rolekeep *k = arg;
	struct facts *f = NULL;
	char mark[MARK_MAX];
	enum nj_err e;

	mark_of(k->path, mark);
	if ((e = facts_new(slice_str(k->space), &f)))
		goto out;
	if (!was) {
		facts_replace_all(f);
		if ((e = facts_put(f, KIND_FILE, LIT("file"), slice_str(mark))))
			goto out;
	}
	if ((e = roles_rows_changed(was, now, put, f)) ||
	    (e = facts_commit(k->store, f, why)) || was)
		goto out;
	memcpy(k->mark, mark, sizeof mark);
	k->loaded = true;
	tell_taken(k, now);
out:
	if (e == NJ_NOMEM)
		why_set(why, "%s: out of memory", k->path);
	facts_free(f);
	return e;
}

static void
rolekeep_free(void *arg)
{
	struct rolekeep *k = arg;

	free(k->path);
	free(k->space);
	free(k);
}

static enum nj_err
move(struct broker *b, struct rolebase *rb, struct nj_why *why)
{
	struct rolebase_keeper to = { load, save, rolekeep_free, NULL };
	struct rolekeep *k = calloc(1, sizeof *k);
	enum nj_err e;

	if (!k || !(k->path = strdup(rolebase_name(rb))) ||
	    asprintf(&k->space, SPACE "%s", k->path) < 0) {
		if (k)
			free(k->path);
		free(k);
		return NJ_NOMEM;
	}
	k->store = b->store;
	to.arg = k;
	e = rolebase_move(rb, &to, why);
	/* what is wrong with it is not the store's own fault */
	return e && e != NJ_NOMEM ? NJ_INVALID : e;
}

enum nj_err
rolekeep_all(
    struct broker *b, const struct port_opts *v, size_t n, struct nj_why *why)
{
	enum nj_err e = NJ_OK;

	for (size_t i = 0; b->store && i < n && !e; i++)
		if (v[i].roles && !rolebase_is_moved(v[i].roles))
			e = move(b, v[i].roles, why);
	return e;
}
