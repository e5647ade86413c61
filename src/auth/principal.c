/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/principal.h"

#include <stdlib.h>

static struct slice
copy_bytes(uint8_t **at, struct slice s)
{
	struct slice copy = { *at, s.n };

	if (s.n > 0)
		memcpy(*at, s.p, s.n);
	*at += s.n;
	return copy;
}

enum nj_err
principal_new(const struct principal *from, struct principal **out)
{
	size_t n = from->name.n + from->claimed.n + from->client_id.n +
	    from->address.n + from->listener.n + from->subject.n +
	    from->device.n + from->groups.n;
	struct principal *p = malloc(sizeof *p + n);
	uint8_t *at;

	if (!p)
		return NJ_NOMEM;
	atomic_init(&p->refs, 1);
	p->bridge = from->bridge;
	p->certified = from->certified;
	p->by = from->by;
	at = p->text;
	p->name = copy_bytes(&at, from->name);
	p->claimed = copy_bytes(&at, from->claimed);
	p->client_id = copy_bytes(&at, from->client_id);
	p->address = copy_bytes(&at, from->address);
	p->listener = copy_bytes(&at, from->listener);
	p->subject = copy_bytes(&at, from->subject);
	p->device = copy_bytes(&at, from->device);
	p->groups = copy_bytes(&at, from->groups);
	*out = p;
	return NJ_OK;
}

void
principal_view(const struct principal *p, struct principal *out)
{
	out->bridge = p->bridge;
	out->certified = p->certified;
	out->by = p->by;
	out->name = p->name;
	out->claimed = p->claimed;
	out->client_id = p->client_id;
	out->address = p->address;
	out->listener = p->listener;
	out->subject = p->subject;
	out->device = p->device;
	out->groups = p->groups;
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
