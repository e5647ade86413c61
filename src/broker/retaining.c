/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/retaining.h"

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

static struct slice
topic_of(const void *value)
{
	const struct place *p = value;

	return slice_of(p->topic, p->len);
}

void
retaining_fini(struct durable *d)
{
	struct place *p;
	size_t at = 0;

	while ((p = map_next(&d->retained, &at)))
		free(p);
	map_fini(&d->retained);
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
	if ((p = map_get(&d->retained, topic)) ||
	    !(p = malloc(sizeof *p + topic.n)))
		return p;
	p->at = UINT32_MAX;
	p->len = (uint16_t)topic.n;
	memcpy(p->topic, topic.p, topic.n);
	if (map_put(&d->retained, p)) {
		free(p);
		return NULL;
	}
	return p;
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
