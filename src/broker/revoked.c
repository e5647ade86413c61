/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/revoked.h"

#include "base/log.h"
#include "broker/broker.h"
#include "net/tls.h"

static enum tls_revoked_who
who_is_revoked(const struct conn *c)
{
	const struct tls_server *tls = conn_port(c)->tls;
	const struct tls_peer *peer = stream_tls(c->stream);

	return tls && peer ? tls_server_peer_is_revoked(tls, peer)
			   : TLS_REVOKED_NONE;
}

bool
revoked_conn(const struct conn *c)
{
	return who_is_revoked(c) != TLS_REVOKED_NONE;
}

bool
revoked_end(struct conn *c)
{
	enum tls_revoked_who who = who_is_revoked(c);

	if (who == TLS_REVOKED_NONE)
		return false;
	conn_end(c, RC_ADMINISTRATIVE_ACTION,
	    "%sits certificate (serial %s) was revoked",
	    who == TLS_REVOKED_ABOVE ? "a CA above " : "",
	    stream_tls(c->stream)->serial);
	return true;
}

void
broker_recheck(struct broker *b)
{
	for (unsigned i = 0; i < b->n; i++) {
		struct shard *sh = &b->shards[i];

		/* one on its way looks at the newest lists anyway */
		if (!atomic_exchange(&sh->recheck_posted, true))
			shard_post(sh, &sh->recheck_letter);
	}
}
