/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/rolebase.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/dynsec.h"
#include "auth/roles_first.h"
#include "auth/roles_json.h"
#include "base/file.h"
#include "base/log.h"

struct rolebase {
	atomic_uint refs;
	char *name;
	struct rolebase_keeper keeper;
	bool moved;
	enum nj_err first; /* why there is no state before it is moved */
	struct nj_why first_why;
	/* taken before lock, and for as long as a change takes */
	pthread_mutex_t changing;
	struct roles *pending; /* read and not adopted yet */
	pthread_mutex_t lock;  /* now, which changes under both */
	struct roles *now;
	rolebase_fn *fn;
	void *arg;
	/* a reference each; a slot is its shard's */
	struct roles **seen;
	unsigned shards;
};

/* The file. */

struct kept_file {
	char *path;
	struct stat last; /* as it was read or written last */
	int fd;		  /* open to be read; -1 */
	struct stat st;	  /* of fd */
};

static bool
same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino &&
	    a->st_size == b->st_size &&
	    a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	    a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static enum nj_err
open_kept(const char *path, int *out, struct stat *st, struct nj_why *why)
{
	int fd = open(
	    path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0) {
		int err = errno;

		why_set(why, "cannot open %s: %s", path,
		    err == ELOOP ? "it is a symbolic link" : strerror(err));
		if (err == ENOENT)
			why_mend(why,
			    "make it: mosquitto_ctrl dynsec init %s ADMIN",
			    path);
		else if (err == ELOOP)
			why_mend(why, "give the file itself, not a link to it");
		else
			why_mend(why,
			    "let the user that starts the broker read it; "
			    "see: namei -l %s",
			    path);
		return err == ENOENT ? NJ_NOTFOUND : NJ_DENIED;
	}
	if (fstat(fd, st) || !S_ISREG(st->st_mode)) {
		why_set(why, "%s is not a plain file", path);
		why_mend(why, "give the path of a file");
	} else if (st->st_mode & (S_IRWXO & ~S_IXOTH)) {
		why_set(why,
		    "%s can be %s by every user of this machine, and it holds "
		    "password hashes and rights",
		    path, st->st_mode & S_IWOTH ? "written" : "read");
		why_mend(why, "chmod 0600 %s", path);
	} else {
		*out = fd;
		return NJ_OK;
	}
	(void)close(fd);
	return NJ_DENIED;
}

static enum nj_err
read_kept(int fd, const struct stat *st, const char *path, struct buf *out,
    struct nj_why *why)
{
	size_t want = (size_t)st->st_size;
	uint8_t *at;

	if (want > ROLEBASE_FILE_MAX) {
		why_set(why, "%s is larger than %zu bytes", path,
		    ROLEBASE_FILE_MAX);
		return NJ_TOOBIG;
	}
	while (want > 0) {
		ssize_t got;

		if (buf_reserve(out, want, &at)) {
			why_set(why, "%s: out of memory", path);
			return NJ_NOMEM;
		}
		got = read(fd, at, want);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			why_set(
			    why, "cannot read %s: %s", path, strerror(errno));
			return NJ_IO;
		}
		if (got == 0)
			break;
		buf_commit(out, (size_t)got);
		want -= (size_t)got;
	}
	return NJ_OK;
}

/* NJ_EXISTS: it is the one that was read or written last. */
static enum nj_err
load_new(struct kept_file *k, bool any, struct roles **out, struct nj_why *why)
{
	struct buf text = { 0 };
	struct stat st = k->st;
	size_t loose;
	int fd = k->fd;
	enum nj_err e = NJ_OK;

	k->fd = -1;
	if (fd < 0 && (e = open_kept(k->path, &fd, &st, why)))
		return e;
	if (!any && same_file(&st, &k->last)) {
		(void)close(fd);
		return NJ_EXISTS;
	}
	if (!(e = read_kept(fd, &st, k->path, &text, why)))
		e = roles_parse(buf_slice(&text), k->path, out, &loose, why);
	(void)close(fd);
	buf_wipe(&text);
	if (e)
		return e;
	k->last = st;
	if (loose)
		nj_log(LOG_T_WARNING,
		    "Warning: %s has %zu mentions of roles or clients that "
		    "are not there; they are passed by.",
		    k->path, loose);
	if (st.st_mode & S_IRWXG)
		nj_log(LOG_T_WARNING,
		    "Warning: %s can be read by its group.  To mend it: chmod "
		    "0600 %s",
		    k->path, k->path);
	return NJ_OK;
}

static enum nj_err
file_load(void *arg, struct roles **out, struct nj_why *why)
{
	struct kept_file *k = arg;

	return load_new(k, k->last.st_ino == 0, out, why);
}

static enum nj_err
file_save(void *arg, const struct roles *was, const struct roles *now,
    struct nj_why *why)
{
	struct kept_file *k = arg;
	struct buf text = { 0 };
	enum nj_err e;

	(void)was;
	if ((e = roles_print(now, &text)))
		why_set(why, "%s: out of memory", k->path);
	else
		e = file_write(k->path, buf_slice(&text), 0600, why);
	buf_wipe(&text);
	if (!e && stat(k->path, &k->last))
		k->last = (struct stat){ .st_ino = 1 };
	return e;
}

static void
file_free(void *arg)
{
	struct kept_file *k = arg;

	if (k->fd >= 0)
		(void)close(k->fd);
	free(k->path);
	free(k);
}

static enum nj_err
file_keeper(const char *path, struct rolebase_keeper *out, struct nj_why *why)
{
	struct kept_file *k = calloc(1, sizeof *k);

	if (!k || !(k->path = strdup(path))) {
		free(k);
		why_set(why, "%s: out of memory", path);
		return NJ_NOMEM;
	}
	k->fd = -1;
	out->load = file_load;
	out->save = file_save;
	out->free = file_free;
	out->arg = k;
	return NJ_OK;
}

/* Of a file that is nobody's yet. */
static enum nj_err
load_once(const char *path, struct roles **out, struct nj_why *why)
{
	struct rolebase_keeper k;
	enum nj_err e = file_keeper(path, &k, why);

	if (e)
		return e;
	e = k.load(k.arg, out, why);
	k.free(k.arg);
	return e;
}

/* The rolebase. */

/* Takes keeper->arg. */
static enum nj_err
make(const struct rolebase_keeper *keeper, const char *name,
    struct rolebase **out, struct nj_why *why)
{
	struct rolebase *rb = calloc(1, sizeof *rb);

	if (!rb || !(rb->name = strdup(name))) {
		why_set(why, "%s: out of memory", name);
		free(rb);
		keeper->free(keeper->arg);
		return NJ_NOMEM;
	}
	atomic_init(&rb->refs, 1);
	pthread_mutex_init(&rb->changing, NULL);
	pthread_mutex_init(&rb->lock, NULL);
	rb->keeper = *keeper;
	*out = rb;
	return NJ_OK;
}

enum nj_err
rolebase_new(const struct rolebase_keeper *keeper, const char *name,
    struct rolebase **out, struct nj_why *why)
{
	struct rolebase *rb = NULL;
	enum nj_err e = make(keeper, name, &rb, why);

	if (!e && (e = keeper->load(keeper->arg, &rb->now, why))) {
		rolebase_unref(rb);
		return e;
	}
	if (!e)
		*out = rb;
	return e;
}

enum nj_err
rolebase_open(const char *path, struct rolebase **out, struct nj_why *why)
{
	struct rolebase_keeper k;
	enum nj_err e = file_keeper(path, &k, why);

	return e ? e : rolebase_new(&k, path, out, why);
}

enum nj_err
rolebase_open_to_move(const char *path, const char *password_file,
    struct rolebase **out, struct nj_why *why)
{
	struct rolebase_keeper k;
	struct rolebase *rb = NULL;
	struct kept_file *file;
	enum nj_err e;

	if ((e = file_keeper(path, &k, why)) || (e = make(&k, path, &rb, why)))
		return e;
	/* who serves later may not be able to open it */
	file = k.arg;
	rb->first = open_kept(path, &file->fd, &file->st, &rb->first_why);
	if (rb->first == NJ_NOTFOUND && password_file)
		rb->first =
		    roles_first(password_file, &rb->now, &rb->first_why);
	*out = rb;
	return NJ_OK;
}

/* What is in its new place, or what it was elsewhere, put there. */
static enum nj_err
settle(
    struct rolebase *rb, const struct rolebase_keeper *from, struct nj_why *why)
{
	struct roles *r = NULL;
	enum nj_err e = rb->keeper.load(rb->keeper.arg, &r, why);

	if (!e) {
		roles_unref(rb->now);
		rb->now = r;
		return NJ_OK;
	}
	if (e != NJ_NOTFOUND)
		return e;
	if (!rb->now && rb->first) {
		if (why)
			*why = rb->first_why;
		return rb->first;
	}
	if (!rb->now && (e = from->load(from->arg, &rb->now, why)))
		return e;
	return rb->keeper.save(rb->keeper.arg, NULL, rb->now, why);
}

enum nj_err
rolebase_move(
    struct rolebase *rb, const struct rolebase_keeper *to, struct nj_why *why)
{
	struct rolebase_keeper from;
	enum nj_err e;

	pthread_mutex_lock(&rb->changing);
	from = rb->keeper;
	rb->keeper = *to;
	rb->moved = true;
	e = settle(rb, &from, why);
	from.free(from.arg);
	pthread_mutex_unlock(&rb->changing);
	return e;
}

static enum nj_err
nowhere_load(void *arg, struct roles **out, struct nj_why *why)
{
	(void)arg;
	(void)out;
	(void)why;
	return NJ_EXISTS;
}

static enum nj_err
nowhere_save(void *arg, const struct roles *was, const struct roles *now,
    struct nj_why *why)
{
	(void)arg;
	(void)was;
	(void)now;
	why_set(why, "the broker ends");
	return NJ_EOF;
}

static void
nowhere_free(void *arg)
{
	(void)arg;
}

void
rolebase_homeless(struct rolebase *rb)
{
	pthread_mutex_lock(&rb->changing);
	if (rb->moved) {
		rb->keeper.free(rb->keeper.arg);
		rb->keeper = (struct rolebase_keeper){ nowhere_load,
			nowhere_save, nowhere_free, NULL };
		rb->moved = false;
	}
	pthread_mutex_unlock(&rb->changing);
}

bool
rolebase_is_moved(struct rolebase *rb)
{
	bool moved;

	pthread_mutex_lock(&rb->changing);
	moved = rb->moved;
	pthread_mutex_unlock(&rb->changing);
	return moved;
}

struct rolebase *
rolebase_ref(struct rolebase *rb)
{
	(void)atomic_fetch_add_explicit(&rb->refs, 1, memory_order_relaxed);
	return rb;
}

void
rolebase_unref(struct rolebase *rb)
{
	if (!rb ||
	    atomic_fetch_sub_explicit(&rb->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (unsigned i = 0; i < rb->shards; i++)
		roles_unref(rb->seen[i]);
	free(rb->seen);
	roles_unref(rb->now);
	roles_unref(rb->pending);
	rb->keeper.free(rb->keeper.arg);
	pthread_mutex_destroy(&rb->changing);
	pthread_mutex_destroy(&rb->lock);
	free(rb->name);
	free(rb);
}

const char *
rolebase_name(const struct rolebase *rb)
{
	return rb->name;
}

struct roles *
rolebase_now(struct rolebase *rb)
{
	struct roles *r;

	pthread_mutex_lock(&rb->lock);
	r = roles_ref(rb->now);
	pthread_mutex_unlock(&rb->lock);
	return r;
}

enum nj_err
rolebase_watch(struct rolebase *rb, unsigned shards, rolebase_fn *fn, void *arg)
{
	enum nj_err e = NJ_OK;

	pthread_mutex_lock(&rb->changing);
	if (!rb->seen) {
		rb->seen = calloc(shards, sizeof(*rb->seen));
		e = rb->seen ? NJ_OK : NJ_NOMEM;
		for (unsigned i = 0; i < shards && !e; i++)
			rb->seen[i] = roles_ref(rb->now);
		rb->shards = e ? 0 : shards;
	}
	rb->fn = fn;
	rb->arg = arg;
	pthread_mutex_unlock(&rb->changing);
	return e;
}

void
rolebase_unwatch(struct rolebase *rb)
{
	pthread_mutex_lock(&rb->changing);
	rb->fn = NULL;
	pthread_mutex_unlock(&rb->changing);
}

const struct roles *
rolebase_seen(const struct rolebase *rb, unsigned shard)
{
	return rb->seen[shard];
}

struct roles *
rolebase_take(struct rolebase *rb, unsigned shard, struct roles *now)
{
	struct roles *was = rb->seen[shard];

	rb->seen[shard] = now;
	return was;
}

/* While changing is held.  Consumes the reference. */
static void
publish(struct rolebase *rb, struct roles *now)
{
	struct roles *was = rb->now;

	pthread_mutex_lock(&rb->lock);
	rb->now = now;
	pthread_mutex_unlock(&rb->lock);
	roles_unref(was);
	roles_unref(rb->pending);
	rb->pending = NULL;
	if (rb->fn)
		rb->fn(rb->arg);
}

/* The same. */
static enum nj_err
keep(struct rolebase *rb, const struct roles *r)
{
	struct nj_why why = { .what = "" };
	enum nj_err e = rb->keeper.save(rb->keeper.arg, rb->now, r, &why);

	if (e)
		nj_log(LOG_T_ERROR,
		    "Dynamic security: a change could not be kept, so it does "
		    "not hold: %s%s%s",
		    why.what, why.mend[0] ? ". " : "", why.mend);
	return e;
}

enum nj_err
rolebase_run(struct rolebase *rb, const struct rolebase_admin *who,
    struct slice json, struct buf *answer)
{
	struct dynsec d = { .who = who };
	enum nj_err e;

	pthread_mutex_lock(&rb->changing);
	d.now = roles_ref(rb->now);
	e = dynsec_run(&d, json);
	if (!e && d.now != rb->now) {
		if (keep(rb, d.now))
			dynsec_failed(&d);
		else
			publish(rb, roles_ref(d.now));
	}
	if (!e)
		e = dynsec_answer(&d, answer);
	dynsec_fini(&d);
	pthread_mutex_unlock(&rb->changing);
	return e;
}

enum nj_err
rolebase_reread(struct rolebase *rb, struct nj_why *why)
{
	struct roles *r = NULL;
	enum nj_err e;

	pthread_mutex_lock(&rb->changing);
	e = rb->keeper.load(rb->keeper.arg, &r, why);
	if (e == NJ_OK) {
		roles_unref(rb->pending);
		rb->pending = r;
	}
	pthread_mutex_unlock(&rb->changing);
	/* NJ_EXISTS: the same as before, adopted or not */
	return e == NJ_EXISTS ? NJ_OK : e;
}

void
rolebase_adopt(struct rolebase *rb)
{
	pthread_mutex_lock(&rb->changing);
	if (rb->pending)
		publish(rb, roles_ref(rb->pending));
	pthread_mutex_unlock(&rb->changing);
}

enum nj_err
rolebase_import(struct rolebase *rb, const char *path, struct nj_why *why)
{
	struct roles *r = NULL;
	enum nj_err e = load_once(path, &r, why);

	if (e)
		return e;
	assert(r); /* a file that was read is a state */
	pthread_mutex_lock(&rb->changing);
	/* another state, whatever the file counted */
	if (r->changes <= rb->now->changes)
		r->changes = rb->now->changes + 1;
	if (!(e = rb->keeper.save(rb->keeper.arg, NULL, r, why)))
		publish(rb, roles_ref(r));
	pthread_mutex_unlock(&rb->changing);
	roles_unref(r);
	return e;
}

enum nj_err
rolebase_export(struct rolebase *rb, struct buf *out)
{
	struct roles *r = rolebase_now(rb);
	enum nj_err e = roles_print(r, out);

	roles_unref(r);
	return e;
}
