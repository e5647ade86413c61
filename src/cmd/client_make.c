/* SPDX-License-Identifier: Apache-2.0
 * From the options to a client, and from its errors to an exit status.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/rand.h"
#include "cmd/client_opts.h"

#define KEYFILE_MAX   (1024 * 1024)
#define ID_RANDOM     18
#define DISCONNECT_MS 5000 /* a broker that does not read cannot hold us */

/* PEM says itself whether a key is locked (RFC 7468 11, RFC 1421 4.6.1.1). */
static bool
key_is_locked(const char *path)
{
	struct buf b = { 0 };
	bool locked = false;

	if (file_read(path, KEYFILE_MAX, &b, NULL) == NJ_OK) {
		struct slice s = buf_slice(&b);

		locked = s.p &&
		    (memmem(s.p, s.n, "BEGIN ENCRYPTED PRIVATE KEY", 27) ||
			memmem(s.p, s.n, "Proc-Type: 4,ENCRYPTED", 22));
	}
	buf_wipe(&b);
	return locked;
}

static enum nj_err
unlock_key(struct cli *c, struct nj_why *why)
{
	char prompt[512];
	enum nj_err e;

	if (c->keypass || !c->tls.keyfile)
		return NJ_OK;
	if (c->keypass_file) {
		e = secret_from_file(c->keypass_file, &c->keypass, why);
	} else if (key_is_locked(c->tls.keyfile)) {
		(void)snprintf(prompt, sizeof prompt,
		    "Passphrase of %s: ", c->tls.keyfile);
		if ((e = secret_from_tty(prompt, &c->keypass))) {
			why_set(why,
			    "the key %s has a passphrase, and there "
			    "is no terminal to ask at",
			    c->tls.keyfile);
			why_mend(why, "give --keypass-file FILE");
		}
	} else {
		return NJ_OK;
	}
	if (!e)
		c->tls.passphrase = c->keypass;
	return e;
}

/* As libmosquitto does it: MQTT 3.1 must have an id. */
static void
make_id(const struct cli *c, char *id, size_t size)
{
	static const char set[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				  "abcdefghijklmnopqrstuvwxyz";
	uint8_t r[ID_RANDOM];
	size_t n;

	if (c->id_prefix)
		(void)snprintf(id, size, "%s%ld", c->id_prefix, (long)getpid());
	else
		(void)snprintf(id, size, "%s", c->id ? c->id : "");
	if (id[0] != '\0' || c->version != MQTT31)
		return;
	rand_bytes(r, sizeof r);
	n = (size_t)snprintf(id, size, "nj-");
	for (size_t i = 0; i < sizeof r && n + 1 < size; i++)
		id[n++] = set[r[i] % (sizeof set - 1)];
	id[n] = '\0';
}

static void
set_session_expiry(struct cli *c)
{
	struct props *p = &c->connect.p;

	if (c->session_expiry < 0 && !c->persistent)
		return;
	if (c->session_expiry < 0 && props_has(p, PROP_SESSION_EXPIRY))
		return;
	p->seen |= PROP_BIT(PROP_SESSION_EXPIRY);
	p->session_expiry = c->session_expiry < 0 ? MQTT_EXPIRY_NEVER
						  : (uint32_t)c->session_expiry;
}

enum nj_err
cli_client(struct cli *c, const struct client_events *ev, void *arg,
    struct client **out, struct nj_why *why)
{
	char id[MQTT_STRING_MAX + 1];
	struct will will = {
		.topic = slice_str(c->will_topic ? c->will_topic : ""),
		.payload = slice_str(c->will_payload ? c->will_payload : ""),
		.qos = (uint8_t)c->will_qos,
		.retain = c->will_retain,
		.props = *cli_props(&c->will),
	};
	struct client_opts o = {
		.host = c->host,
		.port = (uint16_t)c->port,
		.unix_path = c->unix_path,
		.bind_address = c->bind_address,
		.srv = c->srv,
		.proxy = c->proxy.host ? &c->proxy : NULL,
		.websocket = c->websocket,
		.version = (enum mqtt_ver)c->version,
		.client_id = id,
		.username = c->user,
		.password = c->password,
		.auth_method = c->auth_method,
		.reauth_s = (uint32_t)c->reauth_s,
		.keep_alive = (uint16_t)c->keep_alive,
		.persistent = c->persistent,
		.will = c->will_topic ? &will : NULL,
		.max_packet = MQTT_VARINT_MAX + 5,
		.max_inflight = (uint16_t)c->max_inflight,
		.events = ev,
		.arg = arg,
	};
	enum nj_err e;

	set_session_expiry(c);
	o.props = cli_props(&c->connect);
	make_id(c, id, sizeof id);
	if (c->use_tls) {
		if ((e = unlock_key(c, why)))
			return e;
		o.tls = &c->tls;
	}
	return client_new(&o, out, why);
}

void
cli_not_subscribed(enum nj_err e, struct nj_why *why)
{
	if (e == NJ_UNSUPPORTED) {
		why_set(why,
		    "the broker has no wildcards, shared subscriptions or "
		    "subscription identifiers");
		why_mend(why, "name each topic by itself");
		return;
	}
	why_set(why, "cannot subscribe: %s%s", nj_strerror(e),
	    e == NJ_TOOBIG ? " for this broker" : "");
}

int
cli_status(const struct client *c, enum nj_err e)
{
	switch (e) {
	case NJ_OK:
		return 0;
	case NJ_DENIED:
		return c && client_code(c) ? client_code(c) : 1;
	case NJ_PROTOCOL:
	case NJ_MALFORMED:
		return 2; /* MOSQ_ERR_PROTOCOL */
	case NJ_EOF:
		return 7; /* MOSQ_ERR_CONN_LOST */
	case NJ_TLS:
		return 8; /* MOSQ_ERR_TLS */
	case NJ_TOOBIG:
		return 9; /* MOSQ_ERR_PAYLOAD_SIZE */
	default:
		return 1;
	}
}

void
cli_trace(const struct client *c, const char *line)
{
	const char *id = c ? client_id(c) : "";

	(void)printf("Client %s %s\n", id[0] ? id : "(null)", line);
}

enum nj_err
cli_goodbye(
    struct cli *c, struct client *client, uint8_t code, struct nj_why *why)
{
	uint64_t now = clock_mono(&clock_system), end = now + DISCONNECT_MS;
	bool said = false;
	enum nj_err e = NJ_OK;

	for (; !e && now < end; now = clock_mono(&clock_system)) {
		if (!said && client_unanswered(client) == 0) {
			if ((e = client_disconnect(
				 client, code, cli_props(&c->disconnect))))
				break;
			said = true;
		}
		e = client_step(client, (int)(end - now), why);
	}
	(void)fflush(stdout);
	return said && e == NJ_EOF ? NJ_OK : e;
}

enum nj_err
cli_refused(const struct publish *p, enum nj_err e, struct nj_why *why)
{
	switch (e) {
	case NJ_TOOBIG:
		why_set(why, "the message is larger than the broker accepts");
		why_mend(why,
		    "send less at once, or raise max_packet_size on the "
		    "broker");
		break;
	case NJ_UNSUPPORTED:
		why_set(why, "the broker does not support %s",
		    props_has(&p->props, PROP_TOPIC_ALIAS)
			? "this topic alias, or this QoS"
			: p->retain ? "retained messages, or this QoS"
				    : "this QoS");
		why_mend(
		    why, "leave out -r and topic-alias, or use a lower -q");
		break;
	default:
		why_set(why, "the message cannot be sent: %s", nj_strerror(e));
		break;
	}
	return e;
}
