/* SPDX-License-Identifier: Apache-2.0
 * clienthello - see clienthello.h.
 *
 * OpenSSL takes some 70 KiB for a connection as soon as it has seen six
 * bytes of a hello.  So these few lines look first, and nothing is spent on a
 * peer that never says a whole one.
 */
#include "net/clienthello.h"

#include <string.h>

#include "base/text.h"

#define REC_HANDSHAKE  22
#define REC_HEAD       5
#define MSG_HELLO      1
#define EXT_SNI	       0
#define EXT_VERSIONS   43
#define TLS_13	       0x0304
#define TLS_RECORD_MAX 16384

static bool
is_http(struct slice in)
{
	static const char *const verbs[] = { "GET ", "POST ", "HEAD ", "PUT ",
		"OPTIONS ", "CONNECT ", "DELETE ", "PATCH ", "TRACE ",
		"PRI * HTTP" };

	for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
		if (slice_has_prefix(in, slice_str(verbs[i])))
			return true;
	return false;
}

static enum nj_err
not_tls(struct slice in, struct nj_why *why)
{
	static const char use_tls[] =
	    "connect with TLS (mosquitto_sub: --cafile ca.crt), or use the "
	    "port of a listener without TLS.";
	char first[TEXT_ESC];

	if (in.p[0] == 0x10) {
		why_set(why,
		    "plain MQTT on a TLS port: the client did not "
		    "start TLS");
		why_mend(why, "%s", use_tls);
	} else if (is_http(in)) {
		why_set(why, "plain HTTP on a TLS port");
		why_mend(why, "use https:// or wss:// in the address");
	} else if (slice_has_prefix(in, LIT("PROXY ")) ||
	    slice_has_prefix(in, LIT("\r\n\r\n\0\r\nQUIT\n"))) {
		why_set(why,
		    "a PROXY protocol header came before TLS, and this "
		    "listener does not expect one");
		why_mend(why,
		    "set enable_proxy_protocol on the listener, or "
		    "turn the header off in the proxy");
	} else if (in.n >= 3 && (in.p[0] & 0x80) && in.p[2] == MSG_HELLO) {
		why_set(why,
		    "the client speaks SSL 2.0, which was retired in "
		    "2011 (RFC 6176)");
		why_mend(why, "use a client that knows TLS 1.2");
	} else {
		if (in.n > 16)
			in.n = 16;
		why_set(why, "not TLS: the connection began with \"%s\"",
		    text_esc(first, sizeof first, in));
		why_mend(why, "%s", use_tls);
	}
	return NJ_PROTOCOL;
}

/*
 * Joins the records that carry the hello.  *msg is its body, borrowed from in
 * when it came in one record (nearly always), else from work.
 */
static enum nj_err
join_records(struct slice in, uint8_t *work, struct slice *msg)
{
	size_t have = 0, need = 4;
	unsigned records = 0;

	while (in.n >= REC_HEAD) {
		size_t len = (size_t)in.p[3] << 8 | in.p[4];
		size_t part = in.n - REC_HEAD < len ? in.n - REC_HEAD : len;
		const uint8_t *body = in.p + REC_HEAD;

		if (in.p[0] != REC_HANDSHAKE || in.p[1] != 3 || len == 0 ||
		    len > TLS_RECORD_MAX)
			return NJ_PROTOCOL;
		if (have + part > HELLO_MAX)
			return NJ_TOOBIG;
		if (records++ == 0)
			*msg = slice_of(body, part);
		else if (records == 2)
			memcpy(work, msg->p, have);
		if (records > 1) {
			memcpy(work + have, body, part);
			*msg = slice_of(work, have + part);
		}
		have += part;
		if (have >= 1 && msg->p[0] != MSG_HELLO)
			return NJ_PROTOCOL;
		if (have >= 4)
			need = 4 +
			    ((size_t)msg->p[1] << 16 | (size_t)msg->p[2] << 8 |
				msg->p[3]);
		if (need > HELLO_MAX)
			return NJ_TOOBIG;
		/* OpenSSL takes records whole. */
		if (have >= need && part == len) {
			*msg = slice_of(msg->p + 4, need - 4);
			return NJ_OK;
		}
		if (part < len)
			return NJ_AGAIN;
		in.p += REC_HEAD + len;
		in.n -= REC_HEAD + len;
	}
	return NJ_AGAIN;
}

static struct slice
read_sni(struct slice ext)
{
	struct slice list = SLICE_NONE, name = SLICE_NONE;
	uint8_t type = 0;

	if (take_bin(&ext, &list) || take_u8(&list, &type) || type != 0 ||
	    take_bin(&list, &name))
		return SLICE_NONE;
	return name;
}

static uint16_t
read_versions(struct slice ext, uint16_t best)
{
	uint8_t n = 0;
	uint16_t v = 0;

	if (take_u8(&ext, &n))
		return best;
	best = 0;
	while (!take_u16(&ext, &v))
		/* what is none of ours is as if it were not there: GREASE
		 * values (RFC 8701), a version to come */
		if ((v >> 8) == 3 && v <= TLS_13 && v > best)
			best = v;
	return best;
}

/* What is damaged here is left for OpenSSL to refuse with the right alert. */
static void
read_body(struct slice msg, struct hello *out)
{
	struct slice skip, exts, ext;
	uint8_t n8 = 0;
	uint16_t type = 0;

	if (take_u16(&msg, &out->max_version))
		return;
	/* alone it promises no more than 1.2 (RFC 8446 4.1.2, 4.2.1) */
	if (out->max_version >= TLS_13)
		out->max_version = TLS_13 - 1;
	if (take_bytes(&msg, 32, &skip) || take_u8(&msg, &n8) ||
	    take_bytes(&msg, n8, &skip) || take_bin(&msg, &skip) ||
	    take_u8(&msg, &n8) || take_bytes(&msg, n8, &skip) ||
	    take_bin(&msg, &exts))
		return;
	while (!take_u16(&exts, &type) && !take_bin(&exts, &ext)) {
		if (type == EXT_SNI)
			out->sni = read_sni(ext);
		else if (type == EXT_VERSIONS)
			out->max_version = read_versions(ext, out->max_version);
	}
}

enum nj_err
hello_parse(
    struct slice in, uint8_t *work, struct hello *out, struct nj_why *why)
{
	struct slice msg = SLICE_NONE;
	struct hello h = { 0 };
	enum nj_err e;

	if (in.n == 0)
		return NJ_AGAIN;
	if (in.p[0] != REC_HANDSHAKE || (in.n > 1 && in.p[1] != 3))
		return not_tls(in, why);
	e = join_records(in, work, &msg);
	if (e == NJ_AGAIN && in.n >= HELLO_RAW_MAX)
		e = NJ_TOOBIG;
	if (e == NJ_TOOBIG)
		why_set(
		    why, "the ClientHello is larger than %d bytes", HELLO_MAX);
	else if (e == NJ_PROTOCOL)
		why_set(why,
		    "the connection began like TLS but not with a "
		    "ClientHello");
	if (e)
		return e;
	read_body(msg, &h);
	*out = h;
	return NJ_OK;
}
