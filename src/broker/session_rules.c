/* SPDX-License-Identifier: Apache-2.0
 *
 * Whose rules a session has, and what they say; sessions.h.
 */
#include "broker/internal.h"
#include "broker/sessions.h"
#include "net/listener.h"

static bool
reads_all(const struct session *s)
{
	struct roles_asker who;

	if (!s->roles || !s->who)
		return !s->roles;
	who =
	    (struct roles_asker){ s->who->name, session_id(s), s->who->groups };
	return roles_reads_all(rolebase_seen(s->roles, s->home->shard), &who);
}

void
sessions_set_rules(struct session *s, const struct conn *c)
{
	const struct acl *acl = conn_port(c)->acl;
	struct rolebase *roles = conn_port(c)->roles;

	/* what it subscribed to under other rules is looked at again */
	if (s->acl != acl || s->roles != roles)
		s->check_reads = acl != NULL;
	s->acl = acl;
	s->roles = roles;
	s->port = c->port;
	s->anywhere = false;
	if (!s->decided && (acl || roles))
		s->decided = decided_new();
	/* who it is now may read less than who subscribed */
	if (s->subs.n + s->n_shared > 0 || s->out.n > 0 ||
	    session_queued(s) > 0)
		sessions_recheck_reads(s);
}

void
sessions_recheck_reads(struct session *s)
{
	s->check_reads |= !reads_all(s) || (s->acl && acl_varies(s->acl)) ||
	    (s->who && s->who->has_topics);
}

void
sessions_new_rules(struct session *s, const struct port_set *set)
{
	s->acl = set->v[s->port].acl;
	s->roles = set->v[s->port].roles;
	s->check_reads = s->anywhere || s->acl != NULL;
	sessions_recheck_reads(s);
}

/* What any listener's rules forbid: it may have come by that one. */
static bool
may_anywhere(const struct session *s, enum action what, struct slice topic,
    struct decision *why)
{
	const struct shard *sh = LIST_OWNER(s->home, struct shard, home);
	struct asker a = sessions_asker(s);

	for (size_t i = 0; i < sh->set->n; i++) {
		const struct port_opts *po = &sh->set->v[i];

		a.acl = po->acl;
		a.roles =
		    po->roles ? rolebase_seen(po->roles, sh->home.shard) : NULL;
		if (!po->est && !decide(&a, what, topic, why))
			return false;
	}
	return true;
}

bool
sessions_may(const struct session *s, enum action what, struct slice topic,
    struct decision *why)
{
	struct asker a = sessions_asker(s);

	return s->anywhere ? may_anywhere(s, what, topic, why)
			   : decided_ask(s->decided, &a, what, topic, why);
}

void
sessions_restore_rules(struct shard *sh, struct session *s)
{
	const struct port_set *set = sh->set;

	s->anywhere = true;
	for (size_t i = 0; i < set->n && s->anywhere; i++) {
		if (!slice_is(s->who->listener, set->v[i].listener->where))
			continue;
		s->anywhere = false;
		s->port = (uint16_t)i;
		s->acl = set->v[i].acl;
		s->roles = set->v[i].roles;
	}
	s->check_reads =
	    s->anywhere || s->acl || s->roles || s->who->has_topics;
}

bool
sessions_may_read(const struct session *s, const struct msg *m)
{
	struct decision rule;

	return sessions_may(s, ACTION_RECEIVE, msg_topic(m), &rule);
}
