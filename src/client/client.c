/* SPDX-License-Identifier: Apache-2.0
 * client - see client.h.  This file is the client's life; link.c moves bytes,
 *          receive.c handles what arrives, flight.c what is under way.
 */
#include "client/client.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "client/impl.h"
#include "wire/encode.h"
#include "wire/topic.h"

#define MQTT31_ID_MAX 23 /* MQTT 3.1, 3.1 */
#define TRACE_LINE    1024

void
client_trace(struct client *c, const char *fmt, ...)
{
	char raw[TRACE_LINE], line[TRACE_LINE];
	va_list ap;

	if (!c->on->on_trace)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(raw, sizeof raw, fmt, ap);
	va_end(ap);
	/* Topics in it are a stranger's. */
	text_esc(line, sizeof line, slice_str(raw));
	c->on->on_trace(c->arg, line);
}

static enum nj_err
check_options(const struct client_opts *o, struct nj_why *why)
{
	const char *id = o->client_id ? o->client_id : "";
	enum mqtt_ver v = o->version ? o->version : MQTT311;

	/* [MQTT-1.5.4-1], [MQTT-3.1.3-4], [MQTT-3.1.3-12] */
	if (!utf8_ok(slice_str(id)) ||
	    (o->username && !utf8_ok(slice_str(o->username)))) {
		why_set(why, "client id and user name must be UTF-8");
		return NJ_INVALID;
	}
	if (o->will && !topic_name_ok(o->will->topic)) { /* [MQTT-3.1.3-11] */
		why_set(why, "the topic of the will cannot be published to");
		return NJ_INVALID;
	}
	if (v != MQTT5 && id[0] == '\0' && (o->persistent || v == MQTT31)) {
		why_set(why, "a client id is needed%s",
		    v == MQTT31 ? " with MQTT 3.1" : " to keep a session");
		why_mend(why, "give one with -i");
		return NJ_INVALID; /* [MQTT-3.1.3-7] */
	}
	if (v == MQTT31 && strlen(id) > MQTT31_ID_MAX) {
		why_set(why,
		    "MQTT 3.1 allows client ids of %d bytes, this one "
		    "has %zu",
		    MQTT31_ID_MAX, strlen(id));
		why_mend(why, "choose a shorter -i, or -V mqttv311");
		return NJ_INVALID;
	}
	if (v != MQTT5 && o->password && !o->username) {
		why_set(why, "a password without a user name needs MQTT 5");
		why_mend(why, "add -u NAME, or -V mqttv5");
		return NJ_INVALID; /* 3.1.1 [MQTT-3.1.2-22] */
	}
	return NJ_OK;
}

/* The CONNECT packet is made once: it holds copies of all that is in it. */
static enum nj_err
make_connect(struct client *c, const struct client_opts *o, struct nj_why *why)
{
	struct connect k = {
		.version = c->ver,
		.clean_start = !o->persistent,
		.keep_alive = o->keep_alive,
		.client_id = slice_str(c->id),
		.has_username = o->username != NULL,
		.has_password = o->password != NULL,
		.has_will = o->will != NULL,
	};
	enum nj_err e;

	if (o->username)
		k.username = slice_str(o->username);
	if (o->password)
		k.password = secret_bytes(o->password);
	if (o->will)
		k.will = *o->will;
	if (o->props)
		k.props = *o->props;
	if (c->auth)
		client_auth_connect(c, &k);
	if ((e = encode_connect(&c->connect, &k)))
		why_set(why, "CONNECT cannot be made: %s", nj_strerror(e));
	return e;
}

static void
take_limits(struct client *c, const struct client_opts *o)
{
	static const struct props none;
	const struct props *p = o->props && c->ver == MQTT5 ? o->props : &none;

	c->max_packet = o->max_packet ? o->max_packet : CLIENT_PACKET_MAX;
	if (props_has(p, PROP_MAX_PACKET_SIZE) &&
	    p->max_packet_size < c->max_packet)
		c->max_packet = p->max_packet_size;
	c->max_inflight = o->max_inflight ? o->max_inflight : CLIENT_INFLIGHT;
	c->receive_max =
	    props_has(p, PROP_RECEIVE_MAX) ? p->receive_max : UINT16_MAX;
	c->alias_max =
	    props_has(p, PROP_TOPIC_ALIAS_MAX) ? p->topic_alias_max : 0;
	c->no_problem_info =
	    props_has(p, PROP_REQUEST_PROBLEM) && !p->request_problem;
}

static bool
copy_str(char **dst, const char *src)
{
	*dst = src ? strdup(src) : NULL;
	return !src || *dst;
}

static enum nj_err
copy_proxy(struct client *c, const struct socks_opts *o)
{
	if (!o)
		return NJ_OK;
	if (!copy_str(&c->proxy_host, o->host) ||
	    !copy_str(&c->proxy_user, o->user))
		return NJ_NOMEM;
	c->proxy = (struct socks_opts){
		.host = c->proxy_host,
		.port = o->port ? o->port : SOCKS_PORT,
		.user = c->proxy_user,
	};
	if (!o->password)
		return NJ_OK;
	if (secret_new(secret_bytes(o->password), &c->proxy_password))
		return NJ_NOMEM;
	c->proxy.password = c->proxy_password;
	return NJ_OK;
}

static enum nj_err
copy_options(struct client *c, const struct client_opts *o)
{
	static const struct client_events none;
	enum nj_err e;

	c->ver = o->version ? o->version : MQTT311;
	c->port = o->port ? o->port : o->tls ? 8883 : 1883;
	c->keep_alive = o->keep_alive;
	c->persistent = o->persistent;
	c->on = o->events ? o->events : &none;
	c->arg = o->arg;
	take_limits(c, o);
	c->srv = o->srv;
	c->websocket = o->websocket;
	if ((e = copy_proxy(c, o->proxy)))
		return e;
	if (!copy_str(&c->host, o->host || o->srv ? o->host : "localhost") ||
	    !copy_str(&c->unix_path, o->unix_path) ||
	    !copy_str(&c->bind_address, o->bind_address) ||
	    !copy_str(&c->id, o->client_id ? o->client_id : ""))
		return NJ_NOMEM;
	client_set_where(c, c->host ? c->host : "this domain", c->port);
	return NJ_OK;
}

enum nj_err
client_new(const struct client_opts *o, struct client **out, struct nj_why *why)
{
	struct client *c = NULL;
	enum nj_err e;

	if ((e = check_options(o, why)))
		return e;
	if (!(c = calloc(1, sizeof *c))) {
		why_set(why, "out of memory");
		return NJ_NOMEM;
	}
	c->last = &c->flights;
	if ((e = copy_options(c, o)) || (e = stream_scratch_new(&c->scratch))) {
		why_set(why, "%s", nj_strerror(e));
		goto out;
	}
	c->own_method = o->props && props_has(o->props, PROP_AUTH_METHOD);
	if ((e = client_auth_new(c, o, why)) || (e = make_connect(c, o, why)) ||
	    (o->tls && (e = tls_client_new(o->tls, &c->tls, why))))
		goto out;
	*out = c;
	c = NULL; /* moved */
out:
	client_free(c);
	return e;
}

void
client_free(struct client *c)
{
	struct flight *next;

	if (!c)
		return;
	client_close(c);
	client_auth_free(c);
	for (struct flight *f = c->flights; f; f = next) {
		next = f->next;
		free(f);
	}
	free(c->received);
	free(c->host);
	free(c->unix_path);
	free(c->bind_address);
	free(c->proxy_host);
	free(c->proxy_user);
	secret_free(c->proxy_password);
	free(c->id);
	buf_wipe(&c->connect);
	tls_client_free(c->tls);
	stream_scratch_free(c->scratch);
	free(c);
}

/* The broker is told what it did wrong, as far as the socket takes it
 * (MQTT 5.0 4.13). */
static void
complain(struct client *c, enum nj_err e)
{
	struct disconnect d = { .code = RC_PROTOCOL_ERROR };
	size_t n = 0;

	if (c->ver != MQTT5 || c->state != LINK_UP ||
	    (e != NJ_MALFORMED && e != NJ_PROTOCOL && e != NJ_TOOBIG))
		return;
	if (e == NJ_MALFORMED)
		d.code = RC_MALFORMED_PACKET;
	else if (e == NJ_TOOBIG)
		d.code = RC_PACKET_TOO_LARGE;
	if (c->fault)
		d.code = c->fault;
	if (encode_disconnect(&c->out, c->ver, &d))
		return;
	(void)!stream_write(
	    c->stream, buf_slice(&c->out).p, buf_len(&c->out), &n);
	stream_shutdown(c->stream);
}

/* Ends the connection and hands out the reason. */
static enum nj_err
fail(struct client *c, enum nj_err e, struct nj_why *why)
{
	if (c->why.what[0] == '\0')
		why_set(&c->why, "%s: %s", c->where, nj_strerror(e));
	complain(c, e);
	client_close(c);
	if (why)
		*why = c->why;
	return e;
}

static enum nj_err
start(struct client *c, int fd, int timeout_ms, struct nj_why *why)
{
	uint64_t deadline =
	    timeout_ms < 0 ? UINT64_MAX : client_now() + (uint64_t)timeout_ms;
	enum nj_err e;

	assert(c->state == LINK_DOWN);
	c->why = (struct nj_why){ .what = "" };
	c->code = c->fault = 0;
	c->hold = false;
	if ((e = client_open(c, fd, deadline)))
		return fail(c, e, why);
	return NJ_OK;
}

enum nj_err
client_connect(struct client *c, int timeout_ms, struct nj_why *why)
{
	return start(c, -1, timeout_ms, why);
}

enum nj_err
client_connect_fd(struct client *c, int fd, int timeout_ms, struct nj_why *why)
{
	return start(c, fd, timeout_ms, why);
}

enum nj_err
client_step_beside(struct client *c, int timeout_ms, int other_fd,
    bool *readable, struct nj_why *why)
{
	enum nj_err e;

	if (readable)
		*readable = false;
	if (c->state == LINK_DOWN) {
		why_set(why, "not connected");
		return NJ_EOF;
	}
	if ((e = client_turn(c, timeout_ms, other_fd, readable)))
		return fail(c, e, why);
	return NJ_OK;
}

enum nj_err
client_step(struct client *c, int timeout_ms, struct nj_why *why)
{
	return client_step_beside(c, timeout_ms, -1, NULL, why);
}

void
client_hold(struct client *c)
{
	c->hold = true;
}

enum nj_err
client_disconnect(struct client *c, uint8_t code, const struct props *props)
{
	struct disconnect d = { .code = code };
	enum nj_err e;

	if (c->state != LINK_UP)
		return c->state == LINK_CLOSING ? NJ_OK : NJ_EOF;
	if (props)
		d.props = *props;
	if ((e = encode_disconnect(&c->bye, c->ver, &d)))
		return e;
	client_trace(c, "sending DISCONNECT");
	why_set(&c->why, "disconnected");
	c->state = LINK_CLOSING;
	return NJ_OK;
}

bool
client_connected(const struct client *c)
{
	return c->state == LINK_UP;
}

size_t
client_unanswered(const struct client *c)
{
	return c->n_flights + c->n_requests + c->n_received;
}

size_t
client_unsent(const struct client *c)
{
	return buf_len(&c->out);
}

const char *
client_id(const struct client *c)
{
	return c->id;
}

uint8_t
client_code(const struct client *c)
{
	return c->code;
}

bool
client_session_present(const struct client *c)
{
	return c->session_present;
}

const struct tls_peer *
client_tls(const struct client *c)
{
	return c->stream ? stream_tls(c->stream) : NULL;
}

int
client_fd(const struct client *c)
{
	return c->stream ? stream_fd(c->stream) : -1;
}
