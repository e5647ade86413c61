/* SPDX-License-Identifier: Apache-2.0
 * verify - what must be true when all is over.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "broker/conn.h"
#include "broker/fence.h"
#include "disk.h"
#include "edge.h"
#include "sim.h"
#include "store/data.h"
#include "store/view.h"

uint64_t
verify_dropped(void)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < sim->broker->n; i++)
		n += sim->broker->shards[i].home.counts.dropped;
	return n;
}

/* The broker has more for it: its connection does not take all at once, or what is
 * retained waits for room in its queue. */
static bool
is_written_to(const struct edge *e)
{
	const struct conn *c = edge_peek(e);

	return c &&
	    (link_unsent(&c->link) > 0 || c->link.held > 0 || c->subscribing ||
		c->parked);
}

/* What is still under way; NULL: nothing. */
const char *
verify_unsettled(void)
{
	static char what[96];
	const struct client *auditor;

	for (unsigned i = 0; i < sim->is.clients; i++) {
		const struct client *c = &sim->clients[i];

		/* the broker may end it, and it does not know */
		if (!client_idle(c) || !edge_surely(c->conn->edge) ||
		    is_written_to(c->conn->edge)) {
			client_describe(c, what, sizeof what);
			return what;
		}
	}
	auditor = &sim->clients[sim->is.clients];
	if (auditor->conn && is_written_to(auditor->conn->edge))
		return "the auditor";
	if (!sim->broker)
		return "the broker";
	for (unsigned i = 0; i < sim->broker->n; i++) {
		struct shard *sh = &sim->broker->shards[i];

		if (mailbox_depth(&sh->mail) > 0)
			return "a mailbox";
		if (sh->home.counts.queued > 0)
			return "a queue";
	}
	if (net_busy())
		return "the network";
	return sim->n_logins > 0 ? "a login" : power_unsettled();
}

/* Its sender may not know whose session it resumed, and use an identifier
 * that stands for another message there. */
static bool
may_be_another(const struct mmsg *m)
{
	return m->qos == 2 && m->by && m->by->vague;
}

/* It may be too large for the client, or have expired on the way. */
static bool
may_vanish(const struct client *c, const struct mmsg *m)
{
	return m->expiry_s != MQTT_EXPIRY_NEVER || m->clear ||
	    (c->version == MQTT5 && c->max_packet &&
		m->len + 1200 > c->max_packet);
}

/* With a store, a shard that has no memory for its part of a QoS 2 message has it
 * refused; sent again under its identifier it is taken for the same. */
static bool
may_be_refused(const struct mmsg *m)
{
	return sim->is.store && sim->is.memory && m->qos == 2 && m->times > 1;
}

static void
verify_session(struct msession *s)
{
	struct model *md = &sim->model;

	for (uint32_t uid = 1; uid < md->n_msgs; uid++) {
		struct mmsg *m = &md->msgs[uid];
		struct due d;

		if (m->state != M_TAKEN || m->from < s->born ||
		    may_be_another(m) || may_be_refused(m) ||
		    may_vanish(s->client, m))
			continue;
		d = model_due(s, m);
		if (!d.sure || d.lo == 0)
			continue;
		md->n_must++;
		if (model_got(s, uid)->times > 0) {
			md->n_got++;
			continue;
		}
		md->n_lost++;
		if (!sim->is.lossy)
			sim_fail("m%u (%s, qos %u) of client-%02u was taken, "
				 "and %s never got it",
			    uid, m->topic, m->qos, m->client, s->client->id);
	}
}

/* A group. */

static const char *
inner_of(const char *filter)
{
	return strchr(strchr(filter, '/') + 1, '/') + 1;
}

/* What it was given of the group goes to others when it ends; what it had when it
 * left the group is its own, and with power cuts it has to be on disk. */
static bool
hands_over(const struct msession *s, const struct mmsg *m, const char *filter)
{
	if (m->qos != 1 || (sim->cuts > 0 && !s->kept))
		return false;
	for (unsigned i = 0; i < s->n_subs; i++)
		if (strcmp(s->subs[i].filter, filter) == 0 &&
		    model_maybe(&s->subs[i], m) && s->subs[i].undone < s->ended)
			return false;
	return true;
}

static void
verify_group_message(const char *filter, uint32_t uid)
{
	struct model *md = &sim->model;
	struct mmsg *m = &md->msgs[uid];
	bool stays = false, all_last = true, handed = true;
	unsigned takers = 0, times = 0;
	uint8_t lo = 2;

	for (unsigned i = 0; i < md->n_sessions; i++) {
		struct msession *s = md->sessions[i];
		struct due d = model_shared(s, m, filter);

		/* one that may go on from another may be a member by that */
		if (s->vague && s->ended >= m->from)
			return;
		if (!d.maybe)
			continue;
		takers += model_got(s, uid)->times > 0;
		/* who ends with the broker is sent what nobody has to keep */
		if (sim->cuts == 0 || s->kept)
			times += model_got(s, uid)->times2;
		all_last &= s->ended == NEVER && !may_vanish(s->client, m);
		handed &= !may_vanish(s->client, m) &&
		    (s->ended == NEVER || hands_over(s, m, filter));
		stays |= d.sure && s->ended == NEVER;
		lo = d.lo < lo ? d.lo : lo;
	}
	/* [MQTT-4.8.2-5] */
	if (takers > 1 && m->times == 1 && all_last && sim->cuts == 0)
		sim_fail("%u members of %s have m%u", takers, filter, uid);
	if (times > 1 && m->qos == 2)
		sim_fail("%s has m%u (qos 2) %u times", filter, uid, times);
	/* without memory a member may not have got into its group */
	if (m->state != M_TAKEN || !stays || !handed || lo == 0 ||
	    sim->is.memory)
		return;
	md->n_must++;
	md->n_got += takers > 0;
	md->n_lost += takers == 0;
	if (takers == 0 && !sim->is.lossy)
		sim_fail("m%u (%s, qos %u) was taken, and nobody of %s got it",
		    uid, m->topic, m->qos, filter);
}

static void
verify_group(const char *filter)
{
	struct model *md = &sim->model;

	for (uint32_t uid = 1; uid < md->n_msgs; uid++)
		if (model_matches(inner_of(filter), md->msgs[uid].topic))
			verify_group_message(filter, uid);
}

void
verify_deliveries(void)
{
	static const char *const groups[] = { "$share/g/s/#", "$share/g/t/#",
		"$share/h/t/#" };
	struct model *md = &sim->model;
	uint64_t dropped = sim->dropped + verify_dropped();

	for (unsigned i = 0; i < md->n_sessions; i++)
		if (md->sessions[i]->ended == NEVER && !md->sessions[i]->vague)
			verify_session(md->sessions[i]);
	for (unsigned i = 0; i < 3; i++)
		verify_group(groups[i]);
	trace("%" PRIu64 " deliveries were due, %" PRIu64 " came; %" PRIu64
	      " dropped",
	    md->n_must, md->n_got, dropped);
	/* what was dropped while a broker stopped was not seen */
	if (md->n_lost > dropped && !sim->halted)
		sim_fail("%" PRIu64 " messages are lost, %" PRIu64
			 " were dropped",
		    md->n_lost, dropped);
}

/* Retained messages. */

/* Nothing retained there is surely newer. */
static bool
may_be_last(uint32_t uid)
{
	struct model *md = &sim->model;
	struct mmsg *m = &md->msgs[uid];

	for (uint32_t k = 1; k < md->n_msgs; k++) {
		struct mmsg *o = &md->msgs[k];

		if (k != uid && o->retain && o->state == M_TAKEN &&
		    strcmp(o->topic, m->topic) == 0 && o->from > m->late)
			return false;
	}
	return true;
}

static void
verify_topic(struct msession *s, const char *topic)
{
	struct model *md = &sim->model;
	uint32_t has = 0, due = 0;
	bool none_ok = true;

	for (uint32_t uid = 1; uid < md->n_msgs; uid++) {
		struct mmsg *m = &md->msgs[uid];

		if (!m->retain || m->state == M_NEW ||
		    strcmp(m->topic, topic) != 0)
			continue;
		if (model_got(s, uid)->times > 0) {
			if (has)
				sim_fail("m%u and m%u are retained at a time",
				    has, uid);
			has = uid;
		}
		if (m->state == M_TAKEN && may_be_last(uid)) {
			due = uid;
			none_ok &= false;
		}
	}
	for (uint32_t uid = 1; uid < md->n_msgs; uid++) {
		struct mmsg *m = &md->msgs[uid];

		if (m->retain && m->state != M_NEW &&
		    strcmp(m->topic, topic) == 0 && may_be_last(uid))
			none_ok |= m->clear || m->expiry_s != MQTT_EXPIRY_NEVER;
	}
	if (has && !may_be_last(has))
		sim_fail(
		    "%s has m%u retained, which is not the last", topic, has);
	if (!has && !none_ok)
		sim_fail(
		    "nothing is retained in %s, m%u should be", topic, due);
}

void
verify_retained(struct client *auditor)
{
	struct msession *s =
	    auditor->conn ? auditor->conn->edge->session : NULL;

	if (!s) {
		sim_fail("the auditor was not let in");
		return;
	}
	for (unsigned i = 0; i < TOPICS; i++)
		verify_topic(s, topics[i]);
}

/* Nothing is left. */

static void
tell_fault(void *arg, const struct view_fault *f)
{
	/* a start drops what ended sessions left, if it can write */
	if (sim->started_ill && strncmp(f->code, "orphan-", 7) == 0)
		return;
	sim_fail("the store is not whole: %s", f->text);
}

static void
zero(const char *what, uint64_t n)
{
	if (n != 0)
		sim_fail("%" PRIu64 " %s left at the end", n, what);
}

void
verify_empty(void)
{
	struct broker *b = sim->broker;
	struct index_stats ix;
	uint64_t sockets = 0;

	index_stats(b->index, &ix);
	zero("connections", atomic_load(&b->conns));
	zero("connections of the port", atomic_load(&b->port_conns[0]));
	zero("pending connections", atomic_load(&b->pending));
	zero("sessions", atomic_load(&b->sessions));
	zero("filters", ix.filters);
	zero("subscriptions", ix.subscriptions);
	zero("connections of the network", sim->net.n);
	if (!sim->is.sys) {
		zero("retained messages", retain_count(b->retain));
		zero("bytes of them", retain_bytes(b->retain));
	}
	zero("retiring blocks", atomic_load(&b->retiring));
	for (unsigned i = 0; i < b->n; i++) {
		struct shard *sh = &b->shards[i];

		zero("letters", mailbox_depth(&sh->mail));
		zero("retired bytes", fence_waits(sh));
		sockets += sh->counts.sockets; /* they move */
		zero("connected", sh->counts.connected);
		zero("sessions of a shard", sh->counts.sessions);
		zero("queued", sh->home.counts.queued);
		zero("queued bytes", sh->home.counts.queued_bytes);
		zero("group members", sh->groups.members);
		zero("groups", sh->groups.by_key.n);
		/* the sweep and $SYS on the first shard */
		zero("timers",
		    sh->home.timers.n > (i == 0 ? 2u : 0u) ? sh->home.timers.n
							   : 0);
	}
	zero("sockets", sockets);
}

static void
check_rows(struct view *v)
{
	struct view_stats st;
	struct nj_why why = { .what = "" };

	if (view_stats(v, 0, &st, &why)) {
		sim_fail("the store cannot be counted: %s", why.what);
		return;
	}
	zero("sessions on disk", st.sessions);
	zero("subscriptions on disk", st.subscriptions);
	zero("received identifiers on disk", st.received);
	zero("wills on disk", st.wills);
	zero("messages waiting on disk", st.waiting);
	zero("messages in flight on disk", st.inflight);
	zero("retained messages on disk", st.retained);
	zero("messages on disk", st.messages);
	view_stats_fini(&st);
}

/* Those that are there; the view says of what is not. */
static bool
copy_data(const char *copy, bool out)
{
	char name[100], to[100];
	bool good = true;

	for (unsigned i = 0; i < disk_files(); i++) {
		const char *from = disk_name(i);
		size_t n = strlen(sim->file);

		if (strncmp(from, sim->file, n) != 0 ||
		    strncmp(from + n, DATA_TAIL, strlen(DATA_TAIL)) != 0)
			continue;
		(void)snprintf(name, sizeof name, "%s", from);
		(void)snprintf(to, sizeof to, "%s%s", copy, from + n);
		if (out)
			good &= disk_export(name, to);
		else
			(void)unlink(to);
	}
	return good;
}

/* A copy of it, so that looking changes nothing. */
void
verify_store(bool empty)
{
	char copy[80], log[100], name[100];
	struct nj_why why = { .what = "" };
	struct view *v = NULL;

	if (!sim->is.store || sim->failed)
		return;
	(void)snprintf(copy, sizeof copy, "%s.copy", sim->file);
	if (!disk_export(sim->file, copy)) {
		sim_fail("there is no store");
		return;
	}
	(void)snprintf(name, sizeof name, "%s-wal", sim->file);
	(void)snprintf(log, sizeof log, "%s-wal", copy);
	if (disk_size(name) > 0 && !disk_export(name, log))
		sim_fail("the store cannot be copied");
	if (!copy_data(copy, true))
		sim_fail("the store's data cannot be copied");
	if (view_open(copy, &v, &why) ||
	    view_check(v, true, tell_fault, NULL, &why))
		sim_fail("the store cannot be looked at: %s", why.what);
	else if (empty && !sim->is.memory &&
	    !sim->started_ill) /* else some ends are not recorded */
		check_rows(v);
	view_close(v);
	(void)copy_data(copy, false);
	(void)unlink(copy);
	(void)unlink(log);
	(void)snprintf(name, sizeof name, "%s-shm", copy);
	(void)unlink(name);
}
