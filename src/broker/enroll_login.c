/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/certname.h"
#include "broker/enroll.h"
#include "net/tls.h"

/* Passwords that begin so are tokens of `nightjar ca token`. */
static const struct slice token_head = { (const uint8_t *)"nj1.", 4 };

enum enrolling
enroll_purpose(const struct conn *c, const struct connect *k, const char **why)
{
	const struct port_opts *po = conn_port(c);
	const struct tls_peer *t = stream_tls(c->stream);
	bool method =
	    k->version == MQTT5 && props_has(&k->props, PROP_AUTH_METHOD);
	bool late;

	if (!po->enroll || !t)
		return ENROLLING_NOT;
	if (!method && k->has_password &&
	    slice_has_prefix(k->password, token_head))
		return ENROLLING_NEW;
	if (!method && !k->has_password &&
	    slice_is(k->username, ENROLLING_NOBODY))
		return ENROLLING_LOOK;
	late = t->has_cert && t->not_after * 1000 <= c->shard->wall_ms;
	if (late && !method && certname_device(c).n > 0)
		return ENROLLING_LATE;
	if (late)
		*why = "its certificate has expired; give it a new one: "
		       "nightjar ca device ID --again";
	else if (po->enroll_else_cert && !certname_has(c))
		*why = "it sent no certificate, and no token to ask for one; "
		       "give it one: nightjar ca device ID, or a token as its "
		       "password: nightjar ca token ID";
	return ENROLLING_NOT;
}
