/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/login.h"

#include <stdlib.h>

#include "auth/device_groups.h"
#include "broker/certname.h"
#include "net/listener.h"
#include "net/tls.h"

/* The name that will be its own once it is proved: of the two that it may
 * give only the certificate's counts where there is one. */
struct slice
login_client_id(const struct conn *c, const struct connect *k)
{
	const struct port_opts *po = conn_port(c);
	bool same = po->cert_id == CERT_ID_SAME && k->client_id.n == 0;
	struct slice name;

	if (!po->use_username_as_clientid && !same)
		return k->client_id;
	name = certname_of(c);
	return name.n > 0 || same ? name : k->username;
}

static void
on_decided(struct auth_request *r)
{
	struct login *l = r->arg;

	l->letter.kind = LETTER_LOGIN;
	shard_post(l->shard, &l->letter);
}

enum nj_err
login_new(struct conn *c, struct auth_request_in *ask, struct login **out)
{
	const struct tls_peer *t = stream_tls(c->stream);
	struct login *l = calloc(1, sizeof *l);
	struct buf groups = { 0 };
	enum nj_err e = NJ_OK;

	if (!l)
		return NJ_NOMEM;
	ask->address = slice_str(c->peer);
	ask->listener = slice_str(conn_port(c)->listener->where);
	ask->cert_name = certname_of(c);
	ask->has_cert = certname_has(c);
	if (t && t->has_cert)
		ask->cert_subject = slice_str(t->subject);
	if ((ask->device = certname_device(c)).n > 0) {
		e = device_groups_of(
		    conn_port(c)->groups, ask->device, &groups);
		ask->groups = buf_slice(&groups);
	}
	if (!e)
		e = auth_request_new(ask, &l->req);
	buf_fini(&groups);
	if (e) {
		free(l);
		return e;
	}
	l->shard = c->shard;
	l->conn = c;
	l->since = c->shard->home.now_ms;
	l->req->done = on_decided;
	l->req->arg = l;
	*out = l;
	return NJ_OK;
}

void
login_free(struct login *l)
{
	if (!l)
		return;
	auth_request_free(l->req);
	buf_wipe(&l->packet);
	free(l);
}

void
login_holds(struct conn *c, const struct principal *who)
{
	int64_t left = who->expires * 1000 - c->shard->wall_ms;

	c->expires_at = 0;
	if (who->expires)
		c->expires_at =
		    c->shard->home.now_ms + (uint64_t)(left > 1 ? left : 1);
}

void
login_abandon(struct conn *c)
{
	struct login *l = c->login;

	if (!l)
		return;
	c->login = NULL;
	if (l->asked) {
		l->conn = NULL; /* freed when its letter comes */
		atomic_store(&l->req->unwanted, true);
	} else {
		login_free(l);
	}
}

void
on_login(struct shard *sh, struct letter *letter)
{
	struct login *l = LIST_OWNER(letter, struct login, letter);
	struct conn *c = l->conn;

	(void)sh;
	l->asked = false; /* from here on it ends with c */
	if (!c)
		login_free(l);
	else if (l->again)
		login_go_on(l);
	else if (!list_linked(&c->work)) /* or it is about to end */
		crowd_push(c);
}

void
login_go_on(struct login *l)
{
	struct conn *c = l->conn;
	bool again = l->again;

	if (l->req->method)
		login_answered(c, l, l->req->result);
	else
		login_decided(c, l);
	if (!again && (c->state == CONN_LIVE || c->state == CONN_AUTH))
		conn_resume(c);
}
