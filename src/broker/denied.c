/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/denied.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/text.h"
#include "broker/conn.h"
#include "broker/guard.h"

#define MINUTE_MS 60000

static uint64_t
key_of(struct slice client, struct slice topic, enum action what)
{
	uint64_t h = hash_bytes(client);

	h = (h << 23 | h >> 41) ^ hash_bytes(topic);
	return (h ^ (uint64_t)what << 32) | 1; /* 0: free */
}

/* Whether it was told of within the minute; if not it is now. */
static bool
was_told(struct denied *d, uint64_t key, uint64_t now_ms)
{
	size_t from = (key >> 1) % (DENIED_KNOWN / DENIED_WAYS) * DENIED_WAYS;
	size_t oldest = from;

	for (size_t i = from; i < from + DENIED_WAYS; i++) {
		if (d->known[i].key == key && now_ms < d->known[i].until)
			return true;
		if (d->known[i].key == key) {
			oldest = i;
			break;
		}
		if (d->known[i].until < d->known[oldest].until)
			oldest = i;
	}
	d->known[oldest].key = key;
	d->known[oldest].until = now_ms + MINUTE_MS;
	return false;
}

void
denied_log(
    struct conn *c, enum action what, struct slice topic, const char *rule)
{
	struct shard *sh = c->shard;
	uint64_t key = key_of(session_id(c->session), topic, what);
	char name[TEXT_ESC], t[TEXT_ESC];

	if (!log_on(LOG_T_NOTICE) ||
	    was_told(&sh->denied, key, sh->home.now_ms) ||
	    !guard_may_log(sh, &sh->refusals, GUARD_REFUSALS))
		return;
	nj_log(LOG_T_NOTICE, "%s of %s %s '%s' refused: %s",
	    what == ACTION_PUBLISH	     ? "Publish"
		: what == ACTION_UNSUBSCRIBE ? "Unsubscribe"
					     : "Subscribe",
	    conn_name(c, name, sizeof name),
	    what == ACTION_UNSUBSCRIBE ? "from" : "to",
	    text_esc(t, sizeof t, topic), rule);
}
