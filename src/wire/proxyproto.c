/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/proxyproto.h"

#include <arpa/inet.h>
#include <string.h>

#define IP4_ADDRESSES  12 /* two addresses, two ports */
#define IP6_ADDRESSES  36
#define UNIX_ADDRESSES 216
#define UNIX_PATH      108
#define UNIQUE_ID_MAX  128
#define LINE_TEXT_MAX  64 /* any address or port in print */

/* 2.2: bytes that no other protocol begins with. */
static const uint8_t signature[12] = { 0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a,
	0x51, 0x55, 0x49, 0x54, 0x0a };

enum command { COMMAND_LOCAL = 0, COMMAND_PROXY = 1 };

/* Family in the high half, transport in the low one: only streams here. */
enum family {
	FAMILY_UNSPEC = 0x00,
	FAMILY_TCP4 = 0x11,
	FAMILY_TCP6 = 0x21,
	FAMILY_STREAM = 0x31
};

/* 2.2.1 and on */
enum tlv {
	TLV_ALPN = 0x01,
	TLV_AUTHORITY = 0x02,
	TLV_CRC32C = 0x03,
	TLV_NOOP = 0x04,
	TLV_UNIQUE_ID = 0x05,
	TLV_SSL = 0x20,
	TLV_SSL_VERSION = 0x21,
	TLV_SSL_CN = 0x22,
	TLV_SSL_CIPHER = 0x23,
};

enum client {
	CLIENT_SSL = 0x01,
	CLIENT_CERT_CONN = 0x02,
	CLIENT_CERT_SESS = 4
};

static enum nj_err
wrong(const char **why, const char *text)
{
	*why = text;
	return NJ_PROTOCOL;
}

/* -- version 1 ----------------------------------------------------------- */

/* The next word of the line; words are parted by one blank each. */
static bool
next_word(struct slice *rest, bool last, struct slice *word)
{
	const uint8_t *blank =
	    rest->n > 0 ? memchr(rest->p, ' ', rest->n) : NULL;

	*word = *rest;
	if (last)
		return !blank && word->n > 0;
	if (!blank || blank == rest->p)
		return false;
	word->n = (size_t)(blank - rest->p);
	rest->p += word->n + 1;
	rest->n -= word->n + 1;
	return true;
}

static bool
read_address(struct slice word, int family, uint8_t *dst)
{
	char text[LINE_TEXT_MAX];

	if (word.n >= sizeof text)
		return false;
	memcpy(text, word.p, word.n);
	text[word.n] = '\0';
	return strlen(text) == word.n && inet_pton(family, text, dst) == 1;
}

/* 1 to 65535 in its shortest form. */
static bool
read_port(struct slice word, uint16_t *dst)
{
	uint32_t n = 0;

	if (word.n < 1 || word.n > 5 || word.p[0] == '0')
		return false;
	for (size_t i = 0; i < word.n; i++) {
		if (word.p[i] < '0' || word.p[i] > '9')
			return false;
		n = n * 10 + (word.p[i] - '0');
	}
	if (n > UINT16_MAX)
		return false;
	*dst = (uint16_t)n;
	return true;
}

/* What is behind "PROXY TCPn ". */
static enum nj_err
read_line(struct slice rest, int family, struct proxy_head *h, const char **why)
{
	struct slice src, dst, sport, dport;

	if (!next_word(&rest, false, &src) || !next_word(&rest, false, &dst) ||
	    !next_word(&rest, false, &sport) || !next_word(&rest, true, &dport))
		return wrong(why, "not two addresses and two ports");
	if (!read_address(src, family, h->src) ||
	    !read_address(dst, family, h->dst))
		return wrong(why, "an address that is none of its kind");
	if (!read_port(sport, &h->src_port) || !read_port(dport, &h->dst_port))
		return wrong(why, "a port that is none");
	h->family = family == AF_INET ? PROXY_IP4 : PROXY_IP6;
	return NJ_OK;
}

static enum nj_err
parse_v1(struct slice in, struct proxy_head *h, size_t *used, const char **why)
{
	static const struct slice start = LIT("PROXY ");
	struct slice line = { in.p, in.n < PROXY_V1_MAX ? in.n : PROXY_V1_MAX };
	size_t n = in.n < start.n ? in.n : start.n;
	const uint8_t *end;

	*used = n;
	if (n > 0 && memcmp(in.p, start.p, n) != 0)
		return wrong(why, "no PROXY line of version 1");
	if (n < start.n)
		return NJ_AGAIN;
	*used = line.n;
	if (!(end = memchr(line.p, '\n', line.n)))
		return line.n < PROXY_V1_MAX
		    ? NJ_AGAIN
		    : wrong(why, "a PROXY line of more than 107 bytes");
	line.n = (size_t)(end - line.p);
	*used = line.n + 1;
	if (line.p[line.n - 1] != '\r')
		return wrong(why, "a PROXY line that does not end in CR LF");
	line = slice_of(line.p + start.n, line.n - 1 - start.n);
	if (slice_has_prefix(line, LIT("TCP4 ")))
		return read_line(
		    slice_of(line.p + 5, line.n - 5), AF_INET, h, why);
	if (slice_has_prefix(line, LIT("TCP6 ")))
		return read_line(
		    slice_of(line.p + 5, line.n - 5), AF_INET6, h, why);
	/* Whatever else stands in such a line is to be ignored (2.1). */
	if (slice_is(line, "UNKNOWN") ||
	    slice_has_prefix(line, LIT("UNKNOWN ")))
		return NJ_OK;
	return wrong(why, "a transport that is not TCP4, TCP6 or UNKNOWN");
}

/* -- version 2 ----------------------------------------------------------- */

/* RFC 3720 B.4, bits reversed.  skip stands for four bytes of zero. */
static uint32_t
crc32c(struct slice s, const uint8_t *skip)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < s.n; i++) {
		const uint8_t *at = s.p + i;

		crc ^= at >= skip && at < skip + 4 ? 0 : *at;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return ~crc;
}

static enum nj_err
take_tlv(struct slice *s, uint8_t *type, struct slice *value, const char **why)
{
	if (take_u8(s, type) || take_bin(s, value))
		return wrong(why, "a field that is longer than the header");
	return NJ_OK;
}

/* One that stands twice could be read in two ways. */
static enum nj_err
once(struct slice *field, struct slice value, const char **why)
{
	if (field->p)
		return wrong(why, "a field that stands twice");
	*field = value;
	return NJ_OK;
}

static enum nj_err
read_ssl(struct slice s, struct proxy_head *h, const char **why)
{
	struct slice value;
	uint32_t verify;
	uint8_t client, type;
	enum nj_err e;

	if (take_u8(&s, &client) || take_u32(&s, &verify))
		return wrong(why, "a TLS field that is too short");
	while (s.n > 0) {
		struct slice *field = NULL;

		if ((e = take_tlv(&s, &type, &value, why)))
			return e;
		if (type == TLV_SSL_VERSION)
			field = &h->tls_version;
		else if (type == TLV_SSL_CN)
			field = &h->cn;
		else if (type == TLV_SSL_CIPHER)
			field = &h->cipher;
		if (field && (e = once(field, value, why)))
			return e;
	}
	h->tls = client & CLIENT_SSL;
	/* Zero means that a certificate was found good only where there was
	 * one: on this connection, or on one whose session it resumes. */
	h->cert = h->tls && (client & CLIENT_CERT_SESS) && verify == 0;
	return NJ_OK;
}

/* The fields behind the addresses; all is the whole header. */
static enum nj_err
read_tlvs(
    struct slice s, struct slice all, struct proxy_head *h, const char **why)
{
	struct slice value, sum = SLICE_NONE, ssl = SLICE_NONE;
	uint32_t crc = 0;
	uint8_t type;
	enum nj_err e = NJ_OK;

	while (s.n > 0 && !e) {
		if ((e = take_tlv(&s, &type, &value, why)))
			return e;
		if (type == TLV_CRC32C)
			e = once(&sum, value, why);
		else if (type == TLV_SSL)
			e = once(&ssl, value, why);
		else if (type == TLV_ALPN)
			e = once(&h->alpn, value, why);
		else if (type == TLV_AUTHORITY)
			e = once(&h->authority, value, why);
		else if (type == TLV_UNIQUE_ID)
			e = once(&h->unique_id, value, why);
	}
	if (!e && h->unique_id.n > UNIQUE_ID_MAX)
		e = wrong(why, "an identifier of more than 128 bytes");
	if (!e && ssl.p)
		e = read_ssl(ssl, h, why);
	if (e || !sum.p)
		return e;
	value = sum;
	if (sum.n != 4 || take_u32(&value, &crc) || crc != crc32c(all, sum.p))
		return wrong(why, "a checksum that does not fit");
	return NJ_OK;
}

static void
read_ports(const uint8_t *p, struct proxy_head *h)
{
	h->src_port = (uint16_t)(p[0] << 8 | p[1]);
	h->dst_port = (uint16_t)(p[2] << 8 | p[3]);
}

/* Takes the addresses off *s. */
static enum nj_err
read_addresses(
    struct slice *s, uint8_t family, struct proxy_head *h, const char **why)
{
	struct slice a = SLICE_NONE;
	size_t n = family == FAMILY_TCP4 ? IP4_ADDRESSES
	    : family == FAMILY_TCP6	 ? IP6_ADDRESSES
					 : UNIX_ADDRESSES;
	const uint8_t *nul;

	if (take_bytes(s, n, &a))
		return wrong(why, "fewer bytes than its addresses need");
	switch (family) {
	case FAMILY_TCP4:
		h->family = PROXY_IP4;
		memcpy(h->src, a.p, 4);
		memcpy(h->dst, a.p + 4, 4);
		read_ports(a.p + 8, h);
		break;
	case FAMILY_TCP6:
		h->family = PROXY_IP6;
		memcpy(h->src, a.p, 16);
		memcpy(h->dst, a.p + 16, 16);
		read_ports(a.p + 32, h);
		break;
	default:
		h->family = PROXY_UNIX;
		nul = memchr(a.p, '\0', UNIX_PATH);
		h->src_path =
		    slice_of(a.p, nul ? (size_t)(nul - a.p) : UNIX_PATH);
		break;
	}
	return NJ_OK;
}

static enum nj_err
parse_body(struct slice all, uint8_t command, uint8_t family,
    struct proxy_head *h, const char **why)
{
	struct slice s = slice_of(all.p + PROXY_V2_MIN, all.n - PROXY_V2_MIN);
	enum nj_err e;

	/* Everything in it is to be thrown away (2.2). */
	if (command == COMMAND_LOCAL) {
		h->local = true;
		return NJ_OK;
	}
	if (command != COMMAND_PROXY)
		return wrong(why, "a command that is not LOCAL or PROXY");
	if (family != FAMILY_TCP4 && family != FAMILY_TCP6 &&
	    family != FAMILY_STREAM)
		return wrong(why,
		    "a client whose address is not of TCP or of a Unix "
		    "socket");
	if ((e = read_addresses(&s, family, h, why)))
		return e;
	return read_tlvs(s, all, h, why);
}

static enum nj_err
parse_v2(struct slice in, struct proxy_head *h, size_t *used, const char **why)
{
	size_t n = in.n < sizeof signature ? in.n : sizeof signature;
	size_t all;

	*used = PROXY_V2_MIN;
	if (n > 0 && memcmp(in.p, signature, n) != 0)
		return wrong(why, "no PROXY header of version 2");
	if (in.n > 12 && in.p[12] >> 4 != 2)
		return wrong(why, "a version that is not 2");
	if (in.n < PROXY_V2_MIN)
		return NJ_AGAIN;
	all = PROXY_V2_MIN + ((size_t)in.p[14] << 8 | in.p[15]);
	if (all > PROXY_V2_MAX)
		return wrong(why, "a header of more than 8192 bytes");
	*used = all;
	if (in.n < all)
		return NJ_AGAIN;
	return parse_body(
	    slice_of(in.p, all), in.p[12] & 0x0f, in.p[13], h, why);
}

enum nj_err
proxy_parse(struct slice in, unsigned version, struct proxy_head *out,
    size_t *used, const char **why)
{
	struct proxy_head h = { .family = PROXY_OWN };
	size_t n = 0;
	enum nj_err e = version == 1 ? parse_v1(in, &h, &n, why)
				     : parse_v2(in, &h, &n, why);

	if (!e)
		*out = h;
	if (!e || e == NJ_AGAIN)
		*used = n;
	return e;
}
