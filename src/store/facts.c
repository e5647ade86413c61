/* SPDX-License-Identifier: Apache-2.0 */
#include "store/facts.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "store/impl.h"

struct fact {
	unsigned kind;
	bool gone;
	size_t name_at, name_n, value_at, value_n; /* in text */
};

struct facts {
	struct letter letter; /* the store's, while it has it */
	struct slice space;   /* in text from here on; of a read: borrowed */
	size_t space_n;
	struct buf text;
	struct fact *v;
	size_t n, cap;
	bool all;
	facts_fn *fn; /* a read */
	void *arg;
	pthread_mutex_t lock;
	pthread_cond_t change;
	bool done;
	enum nj_err result;
	char why[256];
};

static void
facts_init(struct facts *f)
{
	*f = (struct facts){ .n = 0 };
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->change, NULL);
}

static void
facts_fini(struct facts *f)
{
	buf_wipe(&f->text);
	free(f->v);
	pthread_cond_destroy(&f->change);
	pthread_mutex_destroy(&f->lock);
}

enum nj_err
facts_new(struct slice space, struct facts **out)
{
	struct facts *f = malloc(sizeof *f);
	enum nj_err e;

	if (!f)
		return NJ_NOMEM;
	facts_init(f);
	f->space_n = space.n;
	if ((e = buf_put_slice(&f->text, space))) {
		facts_free(f);
		return e;
	}
	*out = f;
	return NJ_OK;
}

void
facts_free(struct facts *f)
{
	if (f)
		facts_fini(f);
	free(f);
}

void
facts_replace_all(struct facts *f)
{
	f->all = true;
}

static enum nj_err
add(struct facts *f, const struct fact *x, struct slice name,
    struct slice value)
{
	size_t before = buf_len(&f->text);
	enum nj_err e;

	if (f->n == f->cap) {
		size_t cap = f->cap ? f->cap * 2 : 16;
		struct fact *v = reallocarray(f->v, cap, sizeof *v);

		if (!v)
			return NJ_NOMEM;
		f->v = v;
		f->cap = cap;
	}
	if ((e = buf_put_slice(&f->text, name)) ||
	    (e = buf_put_slice(&f->text, value))) {
		buf_truncate(&f->text, before);
		return e;
	}
	f->v[f->n] = *x;
	f->v[f->n].name_at = before;
	f->v[f->n].name_n = name.n;
	f->v[f->n].value_at = before + name.n;
	f->v[f->n++].value_n = value.n;
	return NJ_OK;
}

enum nj_err
facts_put(struct facts *f, unsigned kind, struct slice name, struct slice value)
{
	return add(f, &(struct fact){ .kind = kind }, name, value);
}

enum nj_err
facts_del(struct facts *f, unsigned kind, struct slice name)
{
	return add(
	    f, &(struct fact){ .kind = kind, .gone = true }, name, SLICE_NONE);
}

/* The store's side. */

static struct slice
part(const struct facts *f, size_t at, size_t n)
{
	return slice_of(buf_slice(&f->text).p + at, n);
}

static enum nj_err
write_one(struct store *s, const struct facts *f, const struct fact *x)
{
	enum statement which = x->gone ? ST_FACT_END : ST_FACT;
	sqlite3_stmt *st = sql_get(s, which);
	enum nj_err e;

	sql_bind_slice(st, 1, f->space);
	sqlite3_bind_int64(st, 2, x->kind);
	sql_bind_slice(st, 3, part(f, x->name_at, x->name_n));
	if (!x->gone)
		sql_bind_slice(st, 4, part(f, x->value_at, x->value_n));
	e = sql_run(s, which);
	sqlite3_clear_bindings(st);
	return e;
}

static enum nj_err
write_all(struct store *s, struct facts *f)
{
	enum nj_err e = NJ_OK;

	f->space = part(f, 0, f->space_n);
	if (f->all) {
		sql_bind_slice(sql_get(s, ST_FACTS_END), 1, f->space);
		e = sql_run(s, ST_FACTS_END);
	}
	for (size_t i = 0; i < f->n && !e; i++)
		e = write_one(s, f, &f->v[i]);
	return e;
}

/* The callback's error is the reader's, not the store's. */
static enum nj_err
read_all(struct store *s, const struct facts *f)
{
	sqlite3_stmt *st = sql_get(s, ST_FACTS_READ);
	enum nj_err e = NJ_OK;
	size_t n = 0;
	int rc;

	sql_bind_slice(st, 1, f->space);
	while ((rc = sqlite3_step(st)) == SQLITE_ROW && !e) {
		e = f->fn(f->arg, (unsigned)sqlite3_column_int(st, 0),
		    sql_column(st, 1), sql_column(st, 2));
		n++;
	}
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	if (!e && rc != SQLITE_DONE)
		e = sql_err(rc);
	return !e && n == 0 ? NJ_NOTFOUND : e;
}

enum nj_err
facts_apply(struct store *s, struct letter *l)
{
	struct facts *f = (struct facts *)l;

	return f->fn ? NJ_OK : write_all(s, f);
}

bool
facts_write(const struct letter *l)
{
	return !((const struct facts *)l)->fn;
}

void
facts_answer(struct store *s, struct letter *l, enum nj_err e)
{
	struct facts *f = (struct facts *)l;

	if (!e && f->fn && (e = read_all(s, f)) && e != NJ_NOTFOUND)
		(void)snprintf(
		    f->why, sizeof f->why, "%s", sqlite3_errmsg(s->db));
	else if (e)
		(void)snprintf(f->why, sizeof f->why, "%s",
		    e == NJ_EOF ? "the broker ends" : s->why);
	pthread_mutex_lock(&f->lock);
	f->result = e;
	f->done = true;
	/* f may be gone when the lock is free */
	pthread_cond_signal(&f->change);
	pthread_mutex_unlock(&f->lock);
}

/* Without a thread. */
static enum nj_err
alone(struct store *s, struct facts *f)
{
	enum nj_err e;

	if (f->fn)
		return read_all(s, f);
	if ((e = sql_begin(s)))
		return e;
	if (!(e = write_all(s, f)) && !(e = sql_run(s, ST_COMMIT)))
		return NJ_OK;
	if (!sqlite3_get_autocommit(s->db) && sql_run(s, ST_ROLLBACK))
		return NJ_IO;
	return e;
}

static enum nj_err
wait_for(struct store *s, struct facts *f, struct nj_why *why)
{
	enum nj_err e;

	f->done = false;
	if (!s->running || s->opts.no_thread) {
		if ((e = alone(s, f)) && e != NJ_NOTFOUND)
			sql_why(s, why, f->fn ? "reading it" : "writing it");
		return e;
	}
	f->letter.kind = STORE_FACTS;
	mailbox_post(&s->mail, &f->letter);
	pthread_mutex_lock(&f->lock);
	while (!f->done)
		pthread_cond_wait(&f->change, &f->lock);
	e = f->result;
	pthread_mutex_unlock(&f->lock);
	if (e && e != NJ_NOTFOUND)
		why_set(why, "%s: %s", s->path, f->why);
	return e;
}

enum nj_err
facts_commit(struct store *s, struct facts *f, struct nj_why *why)
{
	return wait_for(s, f, why);
}

enum nj_err
facts_read(struct store *s, struct slice space, facts_fn *fn, void *arg,
    struct nj_why *why)
{
	struct facts f;
	enum nj_err e;

	facts_init(&f);
	f.space = space;
	f.fn = fn;
	f.arg = arg;
	e = wait_for(s, &f, why);
	facts_fini(&f);
	return e;
}
