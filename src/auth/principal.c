/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/principal.h"

#include <stdlib.h>

#include "auth/epoch.h"

static struct slice
copy_bytes(uint8_t **at, struct slice s)
{
	struct slice copy = { *at, s.n };

	if (s.n > 0)
		memcpy(*at, s.p, s.n);
	*at += s.n;
	return copy;
}

/* Of IPv6 there can be the interface: "[fe80::1%eth0]:4711". */
bool
principal_address(struct slice s, uint8_t ip[CIDR_BYTES])
{
	const uint8_t *end;
	struct cidr c;

	if (s.n > 0 && s.p[0] == '[') {
		s = slice_of(s.p + 1, s.n - 1);
		end = s.n > 0 ? memchr(s.p, ']', s.n) : NULL;
	} else {
		end = s.n > 0 ? memchr(s.p, ':', s.n) : NULL;
	}
	if (!end)
		return false;
	s.n = (size_t)(end - s.p);
	if (s.n > 0 && (end = memchr(s.p, '%', s.n)))
		s.n = (size_t)(end - s.p);
	if (!cidr_read(s, &c) || c.bits != CIDR_BYTES * 8)
		return false;
	memcpy(ip, c.addr, CIDR_BYTES);
	return true;
}

enum nj_err
principal_new(const struct principal *from, struct principal **out)
{
	size_t n = from->name.n + from->claimed.n + from->client_id.n +
	    from->address.n + from->listener.n + from->subject.n +
	    from->device.n + from->groups.n + from->topics.n + from->enrols.n +
	    from->token.n;
	struct principal *p = malloc(sizeof *p + n);
	uint8_t *at;

	if (!p)
		return NJ_NOMEM;
	atomic_init(&p->refs, 1);
	p->epoch = epoch_new();
	p->bridge = from->bridge;
	p->certified = from->certified;
	p->has_topics = from->has_topics;
	p->expires = from->expires;
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
	p->has_ip = principal_address(p->address, p->ip);
	p->topics = copy_bytes(&at, from->topics);
	p->right = from->right;
	p->enrols = copy_bytes(&at, from->enrols);
	p->token = copy_bytes(&at, from->token);
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
	out->topics = p->topics;
	out->has_topics = p->has_topics;
	out->expires = p->expires;
	out->right = p->right;
	out->enrols = p->enrols;
	out->token = p->token;
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
