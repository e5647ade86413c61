/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/principal.h"

#include <stddef.h>
#include <stdlib.h>

/* All the strings, which stand behind the struct in its allocation. */
static const size_t strings[] = {
	offsetof(struct principal, name),
	offsetof(struct principal, claimed),
	offsetof(struct principal, client_id),
	offsetof(struct principal, address),
	offsetof(struct principal, listener),
	offsetof(struct principal, cert_subject),
	offsetof(struct principal, cert_cn),
};

#define STRINGS (sizeof strings / sizeof *strings)

static struct slice *
string_at(struct principal *p, size_t i)
{
	return (struct slice *)(void *)((char *)p + strings[i]);
}

enum nj_err
principal_new(const struct principal *what, struct principal **out)
{
	struct principal copy = {
		.by = what->by,
		.bridge = what->bridge,
		.name = what->name,
		.claimed = what->claimed,
		.client_id = what->client_id,
		.address = what->address,
		.listener = what->listener,
		.cert_subject = what->cert_subject,
		.cert_cn = what->cert_cn,
	};
	size_t total = sizeof copy;
	struct principal *p;
	uint8_t *at;

	for (size_t i = 0; i < STRINGS; i++)
		total += string_at(&copy, i)->n;
	if (!(p = malloc(total)))
		return NJ_NOMEM;
	*p = copy;
	atomic_init(&p->refs, 1);
	at = (uint8_t *)(p + 1);
	for (size_t i = 0; i < STRINGS; i++) {
		struct slice *s = string_at(p, i);

		if (s->n > 0)
			memcpy(at, s->p, s->n);
		s->p = at;
		at += s->n;
	}
	*out = p;
	return NJ_OK;
}

struct principal *
principal_ref(struct principal *p)
{
	(void)atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
	return p;
}

void
principal_unref(struct principal *p)
{
	if (p &&
	    atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) == 1)
		free(p);
}
