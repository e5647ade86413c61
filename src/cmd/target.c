/* SPDX-License-Identifier: Apache-2.0
 */
#include "cmd/target.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

static const struct scheme {
	const char *name;
	bool tls, websocket;
	uint16_t port;
} schemes[] = {
	{ "mqtt://", false, false, 1883 },
	{ "tcp://", false, false, 1883 },
	{ "mqtts://", true, false, 8883 },
	{ "ssl://", true, false, 8883 },
	{ "tls://", true, false, 8883 },
	{ "ws://", false, true, 80 },
	{ "wss://", true, true, 443 },
	{ "http://", false, true, 80 },
	{ "https://", true, true, 443 },
};

bool
target_is_address(const char *host)
{
	struct in6_addr a;

	return inet_pton(AF_INET, host, &a) == 1 ||
	    inet_pton(AF_INET6, host, &a) == 1;
}

void
target_print(const char *host, uint16_t port, char *dst, size_t size)
{
	(void)snprintf(
	    dst, size, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
}

static enum nj_err
refuse(const char *text, struct nj_why *why)
{
	char esc[TEXT_ESC];

	why_set(why, "'%s' is no host with a port",
	    text_esc(esc, sizeof esc, slice_str(text)));
	why_mend(why,
	    "write HOST:PORT, as in broker.local:8883, "
	    "192.168.1.20:8883 or [fd00::7]:8883");
	return NJ_INVALID;
}

static bool
is_host(const char *s, size_t n)
{
	if (n == 0 || n >= TARGET_HOST_MAX)
		return false;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] <= ' ' || strchr("/@?#\\'\"", s[i]))
			return false;
	return true;
}

enum nj_err
target_parse(const char *text, struct target *out, struct nj_why *why)
{
	struct target t = { 0 };
	const char *s = text, *port = NULL;
	size_t n;
	long v;

	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
		if (strncmp(s, schemes[i].name, strlen(schemes[i].name)) != 0)
			continue;
		t.has_scheme = true;
		t.tls = schemes[i].tls;
		t.websocket = schemes[i].websocket;
		t.port = schemes[i].port;
		s += strlen(schemes[i].name);
		break;
	}
	n = strcspn(s, "/");
	if (s[n] != '\0' && !t.has_scheme)
		return refuse(text, why);
	if (s[0] == '[') {
		const char *end = memchr(s, ']', n);

		if (!end || (end[1] != '\0' && end[1] != ':' && end[1] != '/'))
			return refuse(text, why);
		port = end[1] == ':' ? end + 2 : NULL;
		s++;
		n = (size_t)(end - s);
	} else if (!target_is_address(s)) {
		port = memchr(s, ':', n);
		if (port) {
			n = (size_t)(port - s);
			port++;
		}
	}
	if (!is_host(s, n))
		return refuse(text, why);
	memcpy(t.host, s, n);
	if (port) {
		char digits[8] = "";

		n = strcspn(port, "/");
		if (n >= sizeof digits)
			return refuse(text, why);
		memcpy(digits, port, n);
		if (!text_to_long(digits, 1, UINT16_MAX, &v))
			return refuse(text, why);
		t.port = (uint16_t)v;
	}
	*out = t;
	return NJ_OK;
}
