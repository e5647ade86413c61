/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "wire/proxyproto.h"

#define SIG "\r\n\r\n\0\r\nQUIT\n"
/* Version 2, PROXY, TCP over IPv4, 12 bytes and what follows. */
#define V4(len) \
	SIG "\x21\x11" len "\xc0\x00\x02\x05\x7f\x00\x00\x01\x18\x83\x04\xd2"
#define ONLY_V4 V4("\x00\x0c")

/* What one row's header comes to. */
struct want {
	enum nj_err e;
	enum proxy_family family;
	const char *src; /* bytes in hexadecimal, or the path */
	uint16_t port;
	bool local, tls, cert;
	const char *cn;
};

struct row {
	const char *why;
	struct slice in;
	struct want want;
};

static void
hex(const uint8_t *p, size_t n, char *dst)
{
	for (size_t i = 0; i < n; i++)
		(void)snprintf(dst + 2 * i, 3, "%02x", p[i]);
}

static void
check_head(const char *why, const struct proxy_head *h, const struct want *want)
{
	char src[2 * UINT8_MAX] = "";

	if (h->family == PROXY_UNIX)
		(void)snprintf(src, sizeof src, "%.*s", (int)h->src_path.n,
		    (const char *)h->src_path.p);
	else if (h->family != PROXY_OWN)
		hex(h->src, h->family == PROXY_IP4 ? 4 : 16, src);
	check_true(why, h->family == want->family);
	check_true(why, strcmp(src, want->src ? want->src : "") == 0);
	check_true(why, h->src_port == want->port);
	check_true(why, h->local == want->local);
	check_true(why, h->tls == want->tls && h->cert == want->cert);
	check_slice(why, h->cn, slice_str(want->cn ? want->cn : ""));
}

/* At once, with bytes behind it, and as it grows byte by byte. */
static void
check_row(const struct row *r, unsigned version)
{
	struct proxy_head h = { 0 };
	const char *why = NULL;
	size_t used = 0, whole = 0;
	struct slice in = tight(r->in);
	enum nj_err e = proxy_parse(in, version, &h, &used, &why);

	check_err(r->why, e, r->want.e);
	if (e == NJ_OK)
		check_head(r->why, &h, &r->want);
	check_true(r->why, (e == NJ_PROTOCOL) == (why != NULL));
	whole = used;
	for (size_t n = 0; n <= in.n; n++) {
		struct slice part = tight(slice_of(in.p, n));
		enum nj_err now = proxy_parse(part, version, &h, &used, &why);

		tight_free(part);
		if (now == NJ_AGAIN) {
			check_true(r->why, n < in.n || e == NJ_AGAIN);
			check_true(r->why, e != NJ_OK || used <= whole);
			continue;
		}
		check_err(r->why, now, e);
		check_true(r->why, now != NJ_OK || n == whole);
		break;
	}
	tight_free(in);
}

#define BAD                      \
	{                        \
		.e = NJ_PROTOCOL \
	}

static void
version_1(void **state)
{
	const struct row rows[] = {
		{ "IPv4", B("PROXY TCP4 192.0.2.5 127.0.0.1 6275 1234\r\n"),
		    { .family = PROXY_IP4, .src = "c0000205", .port = 6275 } },
		{ "bytes behind it",
		    B("PROXY TCP4 192.0.2.5 127.0.0.1 6275 1234\r\n\x10\x0c"),
		    { .family = PROXY_IP4, .src = "c0000205", .port = 6275 } },
		{ "IPv6", B("PROXY TCP6 2001:db8::1 ::1 65535 1\r\n"),
		    { .family = PROXY_IP6,
			.src = "20010db8000000000000000000000001",
			.port = 65535 } },
		{ "unknown", B("PROXY UNKNOWN\r\n"), { .e = NJ_OK } },
		{ "unknown, a blank", B("PROXY UNKNOWN \r\n"), { .e = NJ_OK } },
		{ "unknown and something", B("PROXY UNKNOWN 1 2 x\r\n"),
		    { .e = NJ_OK } },
		{ "the longest",
		    B("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
		      "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535"
		      "\r\n"),
		    { .e = NJ_OK } },
		{ "nothing", B(""), { .e = NJ_AGAIN } },
		{ "a part", B("PROXY TCP4 192.0.2.5 127"), { .e = NJ_AGAIN } },
		{ "no LF", B("PROXY TCP4 192.0.2.5 127.0.0.1 6275 1234\r"),
		    { .e = NJ_AGAIN } },
		{ "MQTT", B("\x10\x0c\x00\x04MQTT"), BAD },
		{ "another word", B("PROXX TCP4"), BAD },
		{ "small letters", B("proxy TCP4"), BAD },
		{ "version 2", B(ONLY_V4), BAD },
		{ "one byte more than the longest",
		    B("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
		      "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535 "
		      "\r\n"),
		    BAD },
		{ "LF without CR",
		    B("PROXY TCP4 192.0.2.5 127.0.0.1 6275 1234\n"), BAD },
		{ "no transport", B("PROXY \r\n"), BAD },
		{ "another transport",
		    B("PROXY TCP3 192.0.2.5 127.0.0.1 6275 1234\r\n"), BAD },
		{ "a transport with no blank behind it", B("PROXY TCP4\r\n"),
		    BAD },
		{ "UNKNOWNS", B("PROXY UNKNOWNS\r\n"), BAD },
		{ "no addresses", B("PROXY TCP4 \r\n"), BAD },
		{ "one address", B("PROXY TCP4 192.0.2.5\r\n"), BAD },
		{ "no ports", B("PROXY TCP4 192.0.2.5 127.0.0.1\r\n"), BAD },
		{ "one port", B("PROXY TCP4 192.0.2.5 127.0.0.1 6275\r\n"),
		    BAD },
		{ "an empty port",
		    B("PROXY TCP4 192.0.2.5 127.0.0.1 6275 \r\n"), BAD },
		{ "three ports",
		    B("PROXY TCP4 192.0.2.5 127.0.0.1 6275 1 2\r\n"), BAD },
		{ "two blanks", B("PROXY TCP4 192.0.2.5  127.0.0.1 1 2\r\n"),
		    BAD },
		{ "a blank at the end",
		    B("PROXY TCP4 192.0.2.5 127.0.0.1 1 2 \r\n"), BAD },
		{ "port 0", B("PROXY TCP4 192.0.2.5 127.0.0.1 0 1\r\n"), BAD },
		{ "port 65536", B("PROXY TCP4 192.0.2.5 127.0.0.1 1 65536\r\n"),
		    BAD },
		{ "port 4294967297",
		    B("PROXY TCP4 192.0.2.5 127.0.0.1 1 4294967297\r\n"), BAD },
		{ "port 01", B("PROXY TCP4 192.0.2.5 127.0.0.1 01 1\r\n"),
		    BAD },
		{ "port +1", B("PROXY TCP4 192.0.2.5 127.0.0.1 +1 1\r\n"),
		    BAD },
		{ "port 0x1", B("PROXY TCP4 192.0.2.5 127.0.0.1 0x1 1\r\n"),
		    BAD },
		{ "a source that is none",
		    B("PROXY TCP4 192.0.2.256 127.0.0.1 1 1\r\n"), BAD },
		{ "a destination that is none",
		    B("PROXY TCP4 192.0.2.5 127.0.0 1 1\r\n"), BAD },
		{ "octal", B("PROXY TCP4 192.0.2.05 127.0.0.1 1 1\r\n"), BAD },
		{ "a NUL", B("PROXY TCP4 192.0.2.5\0 127.0.0.1 1 1\r\n"), BAD },
		{ "IPv6 in IPv4", B("PROXY TCP4 ::1 ::1 1 1\r\n"), BAD },
		{ "IPv4 in IPv6", B("PROXY TCP6 192.0.2.5 127.0.0.1 1 1\r\n"),
		    BAD },
		{ "a scope", B("PROXY TCP6 fe80::1%lo ::1 1 1\r\n"), BAD },
		{ "a long word",
		    B("PROXY TCP6 0000:0000:0000:0000:0000:0000:0000:0000:"
		      "0000:0000:0000:0000:0000 ::1 1 1\r\n"),
		    BAD },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++)
		check_row(&rows[i], 1);
}

static void
version_2(void **state)
{
	const struct row rows[] = {
		{ "IPv4", B(ONLY_V4),
		    { .family = PROXY_IP4, .src = "c0000205", .port = 6275 } },
		{ "bytes behind it", B(ONLY_V4 "\x10\x0c"),
		    { .family = PROXY_IP4, .src = "c0000205", .port = 6275 } },
		{ "IPv6",
		    B(SIG "\x21\x21\x00\x24"
			  "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
			  "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x18\x83\0\0"),
		    { .family = PROXY_IP6,
			.src = "20010db8000000000000000000000001",
			.port = 6275 } },
		{ "the proxy itself", B(SIG "\x20\x00\x00\x00"),
		    { .local = true } },
		{ "the proxy itself, with addresses",
		    B(SIG "\x20\x11\x00\x03"
			  "abc"),
		    { .local = true } },
		{ "nothing", B(""), { .e = NJ_AGAIN } },
		{ "15 bytes", B(SIG "\x21\x11\x00"), { .e = NJ_AGAIN } },
		{ "a part", B(SIG "\x21\x11\x00\x0c\xc0"), { .e = NJ_AGAIN } },
		{ "MQTT", B("\x10\x0c\x00\x04MQTT"), BAD },
		{ "version 1", B("PROXY UNKNOWN\r\n"), BAD },
		{ "another signature",
		    B("\r\n\r\n\0\r\nQUIT\x0b\x21\x11\x00\x0c"), BAD },
		{ "version 3", B(SIG "\x31\x11\x00\x0c"), BAD },
		{ "version 1 in binary", B(SIG "\x11\x11\x00\x0c"), BAD },
		{ "command 2", B(SIG "\x22\x11\x00\x00"), BAD },
		{ "no family", B(SIG "\x21\x00\x00\x00"), BAD },
		{ "family 4", B(SIG "\x21\x41\x00\x00"), BAD },
		{ "no transport", B(SIG "\x21\x10\x00\x00"), BAD },
		{ "UDP", B(SIG "\x21\x12\x00\x00"), BAD },
		{ "Unix datagrams", B(SIG "\x21\x32\x00\x00"), BAD },
		{ "IPv4 without a byte",
		    B(SIG "\x21\x11\x00\x0b"
			  "abcdefghijk"),
		    BAD },
		{ "IPv4 without any", B(SIG "\x21\x11\x00\x00"), BAD },
		{ "IPv6 of 12 bytes",
		    B(SIG "\x21\x21\x00\x0c"
			  "abcdefghijkl"),
		    BAD },
		{ "a Unix path too short",
		    B(SIG "\x21\x31\x00\x05"
			  "/path"),
		    BAD },
		{ "too long", B(SIG "\x21\x11\x1f\xf1"), BAD },
		{ "as long as may be", B(SIG "\x21\x11\x1f\xf0"),
		    { .e = NJ_AGAIN } },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++)
		check_row(&rows[i], 2);
}

#define OK4 .family = PROXY_IP4, .src = "c0000205", .port = 6275

static void
fields(void **state)
{
	const struct row rows[] = {
		{ "an unknown one", B(V4("\x00\x11") "\xee\x00\x02xy"),
		    { OK4 } },
		{ "empty ones", B(V4("\x00\x12") "\x04\x00\x00\x01\x00\x00"),
		    { OK4 } },
		{ "padding twice",
		    B(V4("\x00\x14") "\x04\x00\x01x\x04\x00\x01x"), { OK4 } },
		{ "ALPN and authority",
		    B(V4("\x00\x19") "\x01\x00\x04mqtt\x02\x00\x03"
				     "abc"),
		    { OK4 } },
		{ "half a field", B(V4("\x00\x0e") "\x04\x00"), BAD },
		{ "longer than the header", B(V4("\x00\x10") "\x04\x00\x02x"),
		    BAD },
		{ "authority twice",
		    B(V4("\x00\x14") "\x02\x00\x01x\x02\x00\x01y"), BAD },
		{ "TLS without a certificate",
		    B(V4("\x00\x1e") "\x20\x00\x0f\x01\x00\x00\x00\x00"
				     "\x21\x00\x07TLSv1.3"),
		    { OK4, .tls = true } },
		{ "TLS with one",
		    B(V4("\x00\x1c") "\x20\x00\x0d\x07\x00\x00\x00\x00"
				     "\x22\x00\x05"
				     "alice"),
		    { OK4, .tls = true, .cert = true, .cn = "alice" } },
		{ "one of the session that was resumed",
		    B(V4("\x00\x1c") "\x20\x00\x0d\x05\x00\x00\x00\x00"
				     "\x22\x00\x05"
				     "alice"),
		    { OK4, .tls = true, .cert = true, .cn = "alice" } },
		{ "one that was not found good",
		    B(V4("\x00\x1c") "\x20\x00\x0d\x07\x00\x00\x00\x01"
				     "\x22\x00\x05"
				     "alice"),
		    { OK4, .tls = true, .cn = "alice" } },
		{ "a name and no certificate",
		    B(V4("\x00\x1c") "\x20\x00\x0d\x01\x00\x00\x00\x00"
				     "\x22\x00\x05"
				     "alice"),
		    { OK4, .tls = true, .cn = "alice" } },
		{ "a certificate and no TLS",
		    B(V4("\x00\x1c") "\x20\x00\x0d\x06\x00\x00\x00\x00"
				     "\x22\x00\x05"
				     "alice"),
		    { OK4, .cn = "alice" } },
		{ "TLS too short",
		    B(V4("\x00\x13") "\x20\x00\x04\x01\x00\x00\x00"), BAD },
		{ "half a field of TLS",
		    B(V4("\x00\x16") "\x20\x00\x07\x01\x00\x00\x00\x00"
				     "\x21\x00"),
		    BAD },
		{ "a field of TLS that reaches beyond it",
		    B(V4("\x00\x1c") "\x20\x00\x09\x07\x00\x00\x00\x00"
				     "\x22\x00\x05\x61\x04\x00\x01x"),
		    BAD },
		{ "a name twice",
		    B(V4("\x00\x1c") "\x20\x00\x0d\x07\x00\x00\x00\x00"
				     "\x22\x00\x01"
				     "a\x22\x00\x01"
				     "b"),
		    BAD },
		{ "TLS twice",
		    B(V4("\x00\x1c") "\x20\x00\x05\x01\x00\x00\x00\x00"
				     "\x20\x00\x05\x01\x00\x00\x00\x00"),
		    BAD },
		{ "a checksum",
		    B(V4("\x00\x13") "\x03\x00\x04\x51\x0b\x81\xb3"), { OK4 } },
		{ "one that does not fit",
		    B(V4("\x00\x13") "\x03\x00\x04\x51\x0b\x81\xb2"), BAD },
		{ "one of no bytes", B(V4("\x00\x0f") "\x03\x00\x00"), BAD },
		{ "one of five",
		    B(V4("\x00\x14") "\x03\x00\x05\x51\x0b\x81\xb3\x00"), BAD },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++)
		check_row(&rows[i], 2);
}

/* The 216 bytes of a Unix socket's addresses. */
static void
unix_paths(void **state)
{
	const struct {
		const char *why;
		size_t fill;
		const char *want;
	} rows[] = {
		{ "none", 0, "" },
		{ "some", 5, "xxxxx" },
		{ "all bytes of it", 108,
		    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" },
	};
	uint8_t in[PROXY_V2_MIN + 216];

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct row r = { rows[i].why, { in, sizeof in },
			{ .family = PROXY_UNIX, .src = rows[i].want } };

		memset(in, 0, sizeof in);
		memcpy(in, SIG "\x21\x31\x00\xd8", PROXY_V2_MIN);
		memset(in + PROXY_V2_MIN, 'x', rows[i].fill);
		check_row(&r, 2);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(version_1),
		cmocka_unit_test(version_2),
		cmocka_unit_test(fields),
		cmocka_unit_test(unix_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
