/* SPDX-License-Identifier: Apache-2.0
 *
 * What an earlier life of the broker has stored, taken up before clients come.
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "auth/principal.h"
#include "base/log.h"
#include "base/text.h"
#include "broker/groups.h"
#include "broker/guard.h"
#include "broker/identity.h"
#include "broker/internal.h"
#include "broker/regroup.h"
#include "broker/sessions.h"
#include "broker/source.h"
#include "broker/storing.h"
#include "wire/topic.h"

struct restoring {
	struct broker *b;
	struct map by_id; /* sessions, by their number in the store */
	uint64_t retained, waiting, inflight;
	const struct session *of; /* whose entries come */
	uint64_t newest;	  /* of its keys so far */
};

static struct slice
id_of(const void *value)
{
	const struct session *s = value;

	return slice_of(&s->kept->id, sizeof s->kept->id);
}

/* NULL: it belongs to no session (any more). */
static struct session *
find(const struct restoring *r, uint64_t id)
{
	return map_get(&r->by_id, slice_of(&id, sizeof id));
}

static struct shard *
shard_of(struct session *s)
{
	return LIST_OWNER(s->home, struct shard, home);
}

static enum nj_err
set_mount(struct session *s, struct slice prefix)
{
	char *text;
	enum nj_err e;

	if (prefix.n == 0)
		return NJ_OK;
	if (!(text = strndup((const char *)prefix.p, prefix.n)))
		return NJ_NOMEM;
	e = mount_new(text, &s->mount);
	free(text);
	return e;
}

static enum nj_err
fill(struct restoring *r, struct session *s, const struct store_session *from)
{
	struct principal who = {
		.name = from->user,
		.claimed = from->user,
		.client_id = from->client,
		.by = from->version == STORE_IMPORTED ? SESSION_IMPORTED
						      : "store",
	};
	enum nj_err e;

	if (!(s->kept = calloc(1, sizeof *s->kept)))
		return NJ_NOMEM;
	s->kept->session = s;
	s->kept->id = from->id;
	s->kept->there = true;
	/* a client may know by its identifier what was lost */
	s->kept->next_key = from->sent + 1;
	s->kept->sent = s->kept->sent_before = from->sent;
	s->kept->known = s->kept->last = from->sent;
	s->version = from->version == STORE_IMPORTED ? MQTT311 : from->version;
	s->expiry_s = from->expiry_s;
	s->offline_since = from->offline_ms == STORE_NEVER
	    ? clock_mono(r->b->clock) /* it was connected until the end */
	    : storing_past(r->b, from->offline_ms);
	/* of an older store no more is known than the name */
	if (from->who.n > 0 && identity_read(from->who, &who))
		return NJ_MALFORMED;
	if ((e = set_mount(s, from->mount)) ||
	    (e = principal_new(&who, &s->who)))
		return e;
	sessions_restore_rules(shard_of(s), s);
	return map_put(&r->by_id, s);
}

/* Of two with one client identifier the newer counts, which the client used last.  No
 * broker leaves two: the end of one is on disk no later than what comes in its place. */
static void
forget(struct restoring *r, struct session *s)
{
	struct shard *sh = shard_of(s);
	char id[TEXT_ESC];

	nj_log(LOG_T_WARNING,
	    "Warning: the store has two sessions of client %s, as damage or "
	    "another program can leave them: the older one ends, its will is "
	    "not sent and what it had is not delivered.",
	    text_esc(id, sizeof id, session_id(s)));
	(void)map_del(&r->by_id, id_of(s));
	keep_note(&sh->durable.keep,
	    batch_session_end(sh->durable.keep.into, s->kept->id));
	sessions_drop(sh, s);
}

static enum nj_err
take_session(void *arg, const struct store_session *from)
{
	struct restoring *r = arg;
	struct broker *b = r->b;
	struct shard *sh = &b->shards[shard_of_id(b, from->client)];
	struct session *s = session_find(&sh->home, from->client);
	enum nj_err e;

	if (s)
		forget(r, s);
	if ((e = session_new(&sh->home, from->client, &s)))
		return e;
	atomic_fetch_add(&b->sessions, 1);
	count_add(&sh->counts.sessions, 1);
	if ((e = fill(r, s, from)))
		return e;
	/* it had ended, and was there for what it hands over */
	if (from->expiry_s == 0 && from->offline_ms == STORE_ENDED)
		sessions_leave_name(sh, s);
	return NJ_OK;
}

static enum nj_err
take_will(void *arg, const struct store_will *from, void *msg)
{
	struct session *s = find(arg, from->session);
	struct session_will *w;

	if (!s || !(w = calloc(1, sizeof *w))) {
		msg_unref(msg);
		return s ? NJ_NOMEM : NJ_OK;
	}
	w->msg = msg;
	w->msg->from = s->number;
	w->msg->expires_at = MSG_NEVER;
	w->delay_s = from->delay_s;
	w->expiry_s = from->expiry_s;
	s->will = w;
	return NJ_OK;
}

static enum nj_err
take_sub(void *arg, const struct store_sub *from)
{
	struct restoring *r = arg;
	struct session *s = find(r, from->session);
	struct slice group, filter = from->filter;
	bool existed;

	if (!s)
		return NJ_OK;
	if (topic_share(from->filter, &group, &filter) == NJ_OK)
		return sessions_join(shard_of(s), s, from->filter, group,
		    filter, from->options, from->share, &existed);
	if (s->ended)
		return NJ_OK;
	return subs_put(&s->subs, r->b->index, s->home->shard, from->filter, s,
	    from->options, s->full, &existed);
}

static enum nj_err
take_received(void *arg, uint64_t session, uint16_t pid)
{
	struct session *s = find(arg, session);
	enum nj_err e = s && pid ? idset_add(&s->in, pid) : NJ_OK;

	return e == NJ_EXISTS ? NJ_OK : e;
}

/* Its new entries' identifiers follow on those of what it has (kept_pid): where one is
 * taken, the new entry gets another, which has to be written before it is sent.  What
 * was lost had QoS 1, and no client remembers that. */
static void
follow(struct restoring *r, struct session *s, uint64_t key)
{
	struct kept *k = s->kept;
	uint64_t next = key + 1;

	if (r->of != s)
		r->newest = 0;
	r->of = s;
	if (key <= r->newest)
		return;
	r->newest = key;
	if (k->next_key > next)
		next += (k->next_key - next + KEPT_PIDS - 1) / KEPT_PIDS *
		    KEPT_PIDS;
	k->next_key = next;
}

static enum nj_err
take_inflight(void *arg, const struct store_entry *en)
{
	struct restoring *r = arg;
	struct session *s = find(r, en->session);
	struct delivery d = {
		.msg = en->msg,
		.key = en->seq,
		.rec = UINT32_MAX,
		.pid = en->pid,
		.qos = en->qos & 3,
		.retain = en->retain,
		.state = en->state & 3,
		.share = en->share,
	};
	enum nj_err e;

	if (!s || d.qos == 0 || d.state == DELIVERY_QUEUED) {
		msg_unref(en->msg);
		return NJ_OK;
	}
	d.ids = keep_ids(en->ids);
	if (d.state == DELIVERY_WAIT_PUBCOMP) {
		msg_unref(d.msg);
		d.msg = NULL;
	} else {
		s->inflight_bytes += d.msg->payload_len;
	}
	follow(r, s, en->seq);
	if ((e = inflight_restore(&s->out, &d))) {
		delivery_fini(&d);
		return e == NJ_EXISTS ? NJ_OK : e;
	}
	r->inflight++;
	return NJ_OK;
}

static enum nj_err
take_waiting(void *arg, const struct store_waiting *w)
{
	struct restoring *r = arg;
	struct session *s = find(r, w->session);
	struct kept *k;

	if (!s)
		return NJ_OK;
	k = s->kept;
	k->tail_n = w->n;
	k->tail_bytes = w->bytes + w->n * sizeof(struct msg);
	k->tail_from = w->first;
	k->known_n = w->sent;
	follow(r, s, w->last);
	count_add(&s->home->counts.queued, k->tail_n);
	count_add(&s->home->counts.queued_bytes, k->tail_bytes);
	r->waiting += w->n;
	return NJ_OK;
}

static enum nj_err
take_retained(void *arg, void *msg)
{
	struct restoring *r = arg;
	struct slice owner = SLICE_NONE;
	enum nj_err e;
	uint64_t who;

	/* it counts for who published it, as before */
	if (r->b->opts.max_retained_per_user && source_owner(msg, &who))
		owner = slice_of(&who, sizeof who);
	e = retain_set_for(r->b->retain, msg, owner);
	msg_unref(msg);
	r->retained += e == NJ_OK;
	/* a limit that is lower now: it stays on disk, and is not served */
	return e == NJ_FULL || e == NJ_BUSY ? NJ_OK : e;
}

static void
progress(void *arg, const char *what, uint64_t n)
{
	(void)arg;
	if (n == 0 || n % STORE_PROGRESS) /* the end of its kind */
		return;
	nj_log(LOG_T_NOTICE, "Loading: %llu %s so far ...",
	    (unsigned long long)n, what);
}

/* Groups know all their members before any ends, and leaves them something.  What else
 * has come, such as that a table has grown (fence.h), is for the first turn. */
static void
join_all(struct shard *sh)
{
	struct letter *l;
	bool any;

	do {
		size_t n = mailbox_depth(&sh->mail);

		for (any = false; n > 0; n--) {
			/* its sender is between its two steps */
			while (!(l = mailbox_take(&sh->mail)))
				(void)sched_yield();
			if (l->kind == LETTER_GROUP) {
				groups_take(sh, l);
				any = true;
			} else {
				shard_post(sh, l);
			}
		}
	} while (any);
}

/* Their clocks run; those that have ended hand over what they have. */
static void
wait_all(struct shard *sh)
{
	struct map *all = &sh->home.numbers;
	struct session *s;
	size_t at = 0;

	while ((s = map_next(&sh->home.sessions, &at)))
		regroup_whole(sh, s);
	at = 0;
	while ((s = map_next(all, &at)))
		if (sessions_restored(sh, s))
			at--; /* another may have moved into its slot */
}

enum nj_err
storing_load(struct broker *b, struct nj_why *why)
{
	struct restoring r = { .b = b };
	struct store_loader l = {
		.session = take_session,
		.will = take_will,
		.sub = take_sub,
		.received = take_received,
		.inflight = take_inflight,
		.waiting = take_waiting,
		.retained = take_retained,
		.progress = progress,
		.arg = &r,
		.now_ms = clock_wall(b->clock),
	};
	uint64_t began = clock_mono(b->clock), n = 0;
	enum nj_err e;

	if (!b->store)
		return NJ_OK;
	map_init(&r.by_id, id_of);
	if ((e = store_load(b->store, &l, why))) {
		why_set(why, "%s cannot be loaded: %s", b->opts.store_path,
		    why->what[0] ? why->what : nj_strerror(e));
		map_fini(&r.by_id);
		return e;
	}
	n = r.by_id.n;
	map_fini(&r.by_id);
	for (unsigned i = 0; i < b->n; i++)
		join_all(&b->shards[i]);
	for (unsigned i = 0; i < b->n; i++)
		wait_all(&b->shards[i]);
	if (n + r.retained > 0)
		nj_log(LOG_T_NOTICE,
		    "Loaded %llu sessions, %llu messages waiting, %llu in "
		    "flight, %llu retained in %llu ms from %s.",
		    (unsigned long long)n, (unsigned long long)r.waiting,
		    (unsigned long long)r.inflight,
		    (unsigned long long)r.retained,
		    (unsigned long long)(clock_mono(b->clock) - began),
		    b->opts.store_path);
	return store_start(b->store, why);
}
