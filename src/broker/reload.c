/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/reload.h"

#include <stdlib.h>
#include <string.h>

#include "auth/chain.h"
#include "base/log.h"
#include "broker/broker.h"
#include "broker/internal.h"
#include "broker/systree.h"
#include "net/tls.h"

struct reload_letter {
	struct letter letter;
	struct broker_limits limits;
	struct port_set *set; /* one reference */
};

static void
set_free(struct port_set *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct port_opts *p = &s->v[i];

		if (p->tls)
			tls_server_unref(p->tls);
		auth_chain_unref(p->chain);
		free((void *)(uintptr_t)p->auto_id_prefix);
		free((void *)(uintptr_t)p->clientid_prefixes);
		free((void *)(uintptr_t)p->ws_origins);
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
		struct port_opts *p = &s->v[s->n];

		*p = v[s->n];
		p->auto_id_prefix = strdup(p->auto_id_prefix);
		if (p->clientid_prefixes)
			p->clientid_prefixes = strdup(p->clientid_prefixes);
		if (p->ws_origins)
			p->ws_origins = strdup(p->ws_origins);
		if (!p->auto_id_prefix ||
		    (v[s->n].clientid_prefixes && !p->clientid_prefixes) ||
		    (v[s->n].ws_origins && !p->ws_origins)) {
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
	}
}

void
port_set_unref(struct port_set *s)
{
	if (s && atomic_fetch_sub(&s->refs, 1) == 1)
		set_free(s);
}

void
reload_take(struct shard *sh, struct letter *l)
{
	struct reload_letter *r = (struct reload_letter *)l;

	sh->limits = r->limits;
	sh->home.limits = r->limits.session;
	port_set_unref(sh->set);
	sh->set = r->set;
	systree_reload(sh);
	free(r);
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
	if ((e = port_set_new(ports, n, &set))) {
		letters_free(v, b->n);
		return e;
	}
	/* all or nothing: from here on nothing fails */
	atomic_fetch_add(&set->refs, b->n - 1);
	for (unsigned i = 0; i < b->n; i++) {
		v[i]->letter.kind = LETTER_RELOAD;
		v[i]->limits = *limits;
		v[i]->set = set;
		shard_post(&b->shards[i], &v[i]->letter);
	}
	free(v);
	return NJ_OK;
}
