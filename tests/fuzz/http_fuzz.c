/* SPDX-License-Identifier: Apache-2.0
 * http_fuzz - the request of a WebSocket client: at once, byte by byte and line
 *             by line must give the same; and of what is taken, a slower
 *             reader must find that it is one request and no more.  The first
 *             byte chooses the bound.
 */
#include "fuzz.h"

#include <string.h>
#include <strings.h>

#include "wire/http.h"

/* Judged as wsupgrade.c does: at the first byte, at line ends, at the bound. */
static enum nj_err
by_lines(struct slice all, size_t max, struct http_upgrade *u)
{
	struct slice in = slice_of(all.p, 0);
	enum nj_err e = http_take_upgrade(&in, max, u);

	for (size_t n = 1; n <= all.n && e == NJ_AGAIN; n++) {
		in = slice_of(all.p, n);
		if (n == 1 || n >= max || all.p[n - 1] == '\n')
			e = http_take_upgrade(&in, max, u);
	}
	return e;
}

static enum nj_err
by_bytes(struct slice all, size_t max, struct http_upgrade *u)
{
	enum nj_err e = NJ_AGAIN;

	for (size_t n = 0; n <= all.n && e == NJ_AGAIN; n++) {
		struct slice in = slice_of(all.p, n);

		e = http_take_upgrade(&in, max, u);
	}
	return e;
}

static void
same(const struct http_upgrade *a, enum nj_err ea, const struct http_upgrade *b,
    enum nj_err eb)
{
	HOLDS(ea == eb);
	HOLDS(a->status == b->status && a->why == b->why);
	HOLDS(ea || (slice_eq(a->key, b->key) && slice_eq(a->host, b->host)));
	HOLDS(ea || slice_eq(a->target, b->target));
	HOLDS(ea || a->protocol == b->protocol);
}

static unsigned
count(const char *head, const char *name)
{
	size_t n = strlen(name);
	unsigned found = 0;

	for (const char *at = head; (at = strchr(at, '\n')); at++)
		found += strncasecmp(at + 1, name, n) == 0 && at[1 + n] == ':';
	return found;
}

/* What a proxy in front could take for something else. */
static void
is_one_request(struct slice head)
{
	char *s = malloc(head.n + 1);

	HOLDS(s);
	memcpy(s, head.p, head.n);
	s[head.n] = '\0';
	HOLDS(strlen(s) == head.n); /* no NUL */
	HOLDS(strncmp(s, "GET ", 4) == 0);
	HOLDS(strstr(s, "\r\n\r\n") == s + head.n - 4);
	for (size_t i = 0; i < head.n; i++) {
		HOLDS((s[i] == '\r') == (i + 1 < head.n && s[i + 1] == '\n'));
		HOLDS(s[i] != '\n' || (s[i + 1] != ' ' && s[i + 1] != '\t'));
	}
	HOLDS(count(s, "Host") == 1 && count(s, "Upgrade") == 1);
	HOLDS(count(s, "Sec-WebSocket-Key") == 1);
	HOLDS(count(s, "Sec-WebSocket-Version") == 1);
	HOLDS(count(s, "Origin") <= 1 && count(s, "Content-Length") <= 1);
	HOLDS(count(s, "Transfer-Encoding") == 0);
	free(s);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_upgrade u, v;
	struct slice all, rest;
	size_t max;
	enum nj_err e;

	if (size == 0)
		return 0;
	max = data[0] % 2 ? HTTP_HEAD_USUAL : 16u * data[0] + 1;
	rest = all = slice_of(data + 1, size - 1);
	e = http_take_upgrade(&rest, max, &u);
	same(&u, e, &v, by_bytes(all, max, &v));
	same(&u, e, &v, by_lines(all, max, &v));
	HOLDS(e == NJ_OK || e == NJ_AGAIN || e == NJ_PROTOCOL);
	HOLDS(e == NJ_OK || (rest.p == all.p && rest.n == all.n));
	HOLDS(e != NJ_AGAIN || all.n < max);
	HOLDS(e != NJ_PROTOCOL || (u.why && (!u.status || u.status >= 400)));
	if (e)
		return 0;
	HOLDS(u.key.n == HTTP_KEY_LEN && u.protocol);
	HOLDS((size_t)(rest.p - all.p) <= max);
	is_one_request(slice_of(all.p, all.n - rest.n));
	return 0;
}
