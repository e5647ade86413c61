/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/retaining.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "broker/shard.h"
#include "core/msg.h"

/* Where the open batch has what changed a topic last. */
struct place {
	uint32_t at;
	uint16_t len;
	uint8_t topic[];
};

/* One has room for any topic. */
#define CHUNK ((size_t)96 * 1024)

struct chunk {
	struct chunk *next;
	alignas(struct place) uint8_t v[CHUNK];
};

static struct slice
topic_of(const void *value)
{
	const struct place *p = value;

	return slice_of(p->topic, p->len);
}

void
retaining_fini(struct durable *d)
{
	struct chunk *c;

	while ((c = d->places)) {
		d->places = c->next;
		free(c);
	}
	d->places_used = d->places_bytes = 0;
	map_fini(&d->retained);
}

static size_t
size_of(struct slice topic)
{
	size_t size = sizeof(struct place) + topic.n,
	       each = alignof(struct place);

	return (size + each - 1) / each * each;
}

static struct place *
place_new(struct durable *d, struct slice topic)
{
	size_t n = size_of(topic);
	struct place *p;

	if (!d->places || CHUNK - d->places_used < n) {
		struct chunk *c = malloc(sizeof *c);

		if (!c)
			return NULL;
		c->next = d->places;
		d->places = c;
		d->places_used = 0;
		d->places_bytes += sizeof *c;
	}
	p = (void *)(d->places->v + d->places_used);
	p->at = UINT32_MAX;
	p->len = (uint16_t)topic.n;
	memcpy(p->topic, topic.p, topic.n);
	if (map_put(&d->retained, p))
		return NULL;
	d->places_used += n;
	return p;
}

/* NULL: it has a record of its own, as there is room, or no memory. */
static struct place *
place_of(struct durable *d, struct slice topic)
{
	struct place *p;

	if (!d->keep.stuck || d->keep.part)
		return NULL;
	if (d->retained_ticket != d->keep.ticket)
		retaining_fini(d);
	d->retained_ticket = d->keep.ticket;
	d->retained.key_of = topic_of;
	p = map_get(&d->retained, topic);
	return p ? p : place_new(d, topic);
}

void
retaining_keep(
    struct shard *sh, uint64_t order, struct slice topic, struct msg *m)
{
	struct durable *d = &sh->durable;
	struct keep *k = &d->keep;
	struct place *p = place_of(d, topic);
	uint32_t nowhere = UINT32_MAX;
	void *was = NULL;

	if (m)
		keep_weigh(k, m);
	keep_note(k,
	    batch_retain_at(k->into, order, topic, m ? msg_ref(m) : NULL,
		p ? &p->at : &nowhere, &was));
	if (!was)
		return;
	k->bytes -= msg_size(was);
	msg_unref(was);
}
