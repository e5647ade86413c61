/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/reload.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "auth/acl.h"
#include "auth/cert_rules.h"
#include "auth/chain.h"
#include "auth/device_groups.h"
#include "auth/rolebase.h"
#include "base/log.h"
#include "broker/broker.h"
#include "broker/fence.h"
#include "broker/internal.h"
#include "broker/reentry.h"
#include "broker/regroup.h"
#include "broker/revoked.h"
#include "broker/rights.h"
#include "broker/sessions.h"
#include "broker/systree.h"
#include "net/tls.h"

struct reload_letter {
	struct letter letter;
	struct walk walk;
	struct broker_limits limits;
	struct port_set *set; /* one reference; from its begin on the old one */
};

/* The strings of a port, which a set owns. */
#define PORT_STRINGS(p)                                           \
	{                                                         \
		&(p)->auto_id_prefix, &(p)->clientid_prefixes,    \
		    &(p)->ws_origins, &(p)->response_information, \
		    &(p)->proxy_from, &(p)->mount_point           \
	}

/* Copies them; on failure those not copied are NULL. */
static bool
strings_own(struct port_opts *p)
{
	const char **v[] = PORT_STRINGS(p);
	bool ok = true;

	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++)
		if (*v[i] && (!ok || !(*v[i] = strdup(*v[i])))) {
			*v[i] = NULL;
			ok = false;
		}
	return ok;
}

static void
strings_free(struct port_opts *p)
{
	const char **v[] = PORT_STRINGS(p);

	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++)
		free((void *)(uintptr_t)*v[i]);
}

static void
set_free(struct port_set *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct port_opts *p = &s->v[i];

		if (p->tls)
			tls_server_unref(p->tls);
		auth_chain_unref(p->chain);
		auth_chain_unref(p->enroll_chain);
		acl_unref(p->acl);
		rolebase_unref(p->roles);
		cert_rules_unref(p->cert_rules);
		device_groups_unref(p->groups);
		strings_free(p);
	}
	free(s);
}

enum nj_err
port_set_new(const struct port_opts *v, size_t n, struct port_set **out)
{
	struct port_set *s = calloc(1, sizeof *s + n * sizeof s->v[0]);

	if (!s)
		return NJ_NOMEM;
	atomic_init(&s->refs, 1);
	for (s->n = 0; s->n < n; s->n++) {
		s->v[s->n] = v[s->n];
		if (!strings_own(&s->v[s->n])) {
			s->n++;
			port_set_disown(s);
			set_free(s);
			return NJ_NOMEM;
		}
	}
	*out = s;
	return NJ_OK;
}

void
port_set_disown(struct port_set *s)
{
	for (size_t i = 0; i < s->n; i++) {
		s->v[i].tls = NULL;
		s->v[i].chain = NULL;
		s->v[i].enroll_chain = NULL;
		s->v[i].acl = NULL;
		s->v[i].cert_rules = NULL;
		s->v[i].groups = NULL;
		s->v[i].roles = NULL;
	}
}

void
port_set_unref(struct port_set *s)
{
	if (s && atomic_fetch_sub(&s->refs, 1) == 1)
		set_free(s);
}

static struct reload_letter *
of_walk(struct walk *w)
{
	return LIST_OWNER(w, struct reload_letter, walk);
}

static void
free_set(void *s)
{
	set_free(s);
}

void
port_set_leave(struct shard *sh, struct port_set *s)
{
	if (!s || atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	if (sh->stopped)
		set_free(s);
	else
		fence_free_elsewhere(sh->broker, free_set, s);
}

/* Sessions that have not been met yet borrow what is the old set's. */
static void
walk_begin(struct shard *sh, struct walk *w)
{
	struct reload_letter *r = of_walk(w);
	struct port_set *old = sh->set;

	sh->limits = r->limits;
	sh->home.limits = r->limits.session;
	sh->set = r->set;
	r->set = old;
	systree_reload(sh);
}

static void
walk_conn(struct shard *sh, struct walk *w, struct conn *c)
{
	rights_reload(c, of_walk(w)->set, sh->set);
	reentry_check(c);
	/* by the lists of the new certificates' files */
	(void)revoked_end(c);
}

static void
walk_session(struct shard *sh, struct walk *w, struct session *s)
{
	sessions_new_rules(s, sh->set);
	regroup(sh, w, s);
}

static void
walk_end(struct shard *sh, struct walk *w)
{
	struct reload_letter *r = of_walk(w);

	sh->accepts_held_until = 0; /* the next one holds them anew */
	port_set_leave(sh, r->set);
	free(r);
}

static const struct walk_ops walk_ops = {
	.begin = walk_begin,
	.conn = walk_conn,
	.session = walk_session,
	.end = walk_end,
};

void
broker_reload_begins(struct broker *b)
{
	atomic_store(&b->reloading, true);
}

void
broker_reload_ends(struct broker *b)
{
	atomic_fetch_add(&b->reloads, 1);
	atomic_store(&b->reloading, false);
}

bool
reload_comes(struct broker *b)
{
	sigset_t set;

	/* all threads have SIGHUP blocked; it waits for the main thread, which
	 * says that it is reloading before it takes it: asked in this order one
	 * of the two is seen */
	return (sigpending(&set) == 0 && sigismember(&set, SIGHUP) == 1) ||
	    atomic_load(&b->reloading);
}

void
reload_take(struct shard *sh, struct letter *l)
{
	struct reload_letter *r = (struct reload_letter *)l;

	r->walk = (struct walk){ .ops = &walk_ops };
	walk_start(sh, &r->walk);
}

static void
letters_free(struct reload_letter **v, unsigned n)
{
	for (unsigned i = 0; v && i < n; i++)
		free(v[i]);
	free(v);
}

enum nj_err
broker_reload(struct broker *b, const struct broker_limits *limits,
    struct port_opts *ports, size_t n)
{
	struct reload_letter **v = calloc(b->n, sizeof(*v));
	struct port_set *set = NULL;
	enum nj_err e;

	if (!v)
		return NJ_NOMEM;
	for (unsigned i = 0; i < b->n; i++)
		if (!(v[i] = malloc(sizeof **v))) {
			letters_free(v, i);
			return NJ_NOMEM;
		}
	if ((e = rights_watch(b, ports, n)) ||
	    (e = port_set_new(ports, n, &set))) {
		letters_free(v, b->n);
		return e;
	}
	/* all or nothing: from here on nothing fails */
	atomic_fetch_add(&set->refs, b->n - 1);
	for (unsigned i = 0; i < b->n; i++) {
		assert(v[i]);
		v[i]->letter.kind = LETTER_RELOAD;
		v[i]->limits = *limits;
		v[i]->set = set;
		shard_post(&b->shards[i], &v[i]->letter);
	}
	free(v);
	return NJ_OK;
}
