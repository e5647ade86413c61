/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/psk_file.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "auth/scram.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/map.h"
#include "base/rand.h"
#include "base/secret.h"
#include "base/text.h"
#include "wire/topic.h"

struct entry {
	struct slice identity; /* into text */
	uint16_t n;	       /* bytes of the key */
	size_t line, at;       /* where it begins in keys */
};

struct psk_file {
	atomic_uint refs;
	struct buf text, keys;
	struct entry *v;
	struct map by_identity;
	uint8_t secret[SCRAM_KEY]; /* makes the keys that nobody has */
	struct psk_file_info info;
};

static struct slice
identity_of(const void *value)
{
	return ((const struct entry *)value)->identity;
}

static enum nj_err
refuse(const char *path, size_t line, const char *what, struct nj_why *why)
{
	why_set(why, "%s, line %zu: %s", path, line, what);
	why_mend(why,
	    "write identity:key, the key in hexadecimal digits, as "
	    "from: openssl rand -hex 32");
	return NJ_MALFORMED;
}

static int
hex_digit(uint8_t c)
{
	return c >= '0' && c <= '9' ? c - '0'
	    : c >= 'a' && c <= 'f'  ? c - 'a' + 10
	    : c >= 'A' && c <= 'F'  ? c - 'A' + 10
				    : -1;
}

/* NULL, or what is wrong with it. */
static const char *
bad_identity(struct slice s)
{
	if (s.n == 0)
		return "there is no identity before the colon";
	if (s.n > PSK_IDENTITY_MAX)
		return "the identity is longer than 255 bytes";
	if (!utf8_ok(s))
		return "the identity is not UTF-8";
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < 0x20 || s.p[i] == 0x7f)
			return "the identity has a control character";
	return NULL;
}

static const char *
read_key(struct psk_file *f, struct slice hex, struct entry *e)
{
	if (hex.n == 0)
		return "the key is empty";
	if (slice_has_prefix(hex, LIT("0x")))
		return "the key begins with 0x, which is none of it";
	for (size_t i = 0; i < hex.n; i++)
		if (hex.p[i] == ' ' || hex.p[i] == '\t')
			return "there is a blank in the key, or around it";
		else if (hex_digit(hex.p[i]) < 0)
			return "the key is not hexadecimal";
	if (hex.n % 2)
		return "the key has an odd number of hexadecimal digits";
	if (hex.n > (size_t)2 * PSK_KEY_MAX)
		return "the key is longer than 256 bytes";
	e->at = buf_len(&f->keys);
	e->n = (uint16_t)(hex.n / 2);
	for (size_t i = 0; i < hex.n; i += 2) {
		int hi = hex_digit(hex.p[i]), lo = hex_digit(hex.p[i + 1]);

		/* there is room: see parse_text */
		if (buf_put_u8(&f->keys, (uint8_t)(hi << 4 | lo)))
			return "out of memory";
	}
	f->info.short_keys += e->n < PSK_KEY_SHORT;
	return NULL;
}

static enum nj_err
parse_line(struct psk_file *f, struct slice line, size_t number,
    const char *path, struct nj_why *why)
{
	struct entry *e = &f->v[f->info.identities];
	const uint8_t *colon;
	const char *bad;

	if (line.p && line.n > 0 && line.p[line.n - 1] == '\r')
		line.n--;
	/* Windows' editors begin a file with a byte order mark. */
	if (number == 1 && slice_has_prefix(line, LIT("\xef\xbb\xbf")))
		line = slice_of(line.p + 3, line.n - 3);
	if (!line.p || line.n == 0 || line.p[0] == '#')
		return NJ_OK;
	/* no colon in a key, but there may be in an identity */
	if (!(colon = memrchr(line.p, ':', line.n)))
		return refuse(path, number, "there is no colon", why);
	*e = (struct entry){ .line = number };
	e->identity = slice_of(line.p, (size_t)(colon - line.p));
	if ((bad = bad_identity(e->identity)) ||
	    (bad = read_key(
		 f, slice_of(colon + 1, line.n - e->identity.n - 1), e)))
		return refuse(path, number, bad, why);
	switch (map_put(&f->by_identity, e)) {
	case NJ_OK:
		f->info.identities++;
		return NJ_OK;
	case NJ_EXISTS:
		return refuse(
		    path, number, "this identity stands further up too", why);
	default:
		return NJ_NOMEM;
	}
}

static enum nj_err
parse_text(struct psk_file *f, const char *path, struct nj_why *why)
{
	struct slice rest = buf_slice(&f->text);
	size_t lines = 1, number = 0;
	enum nj_err e = NJ_OK;

	for (size_t i = 0; rest.p && i < rest.n; i++)
		lines += rest.p[i] == '\n';
	if (lines > PSK_USERS_MAX) {
		why_set(why, "%s has %zu lines; %u are served", path, lines,
		    PSK_USERS_MAX);
		return NJ_TOOBIG;
	}
	/* at once, so that no copy of a key is left behind by growing */
	if (!(f->v = calloc(lines, sizeof *f->v)) ||
	    buf_grow(&f->keys, rest.n / 2 + 1))
		return NJ_NOMEM;
	while (rest.p && rest.n > 0 && !e) {
		const uint8_t *lf = memchr(rest.p, '\n', rest.n);
		size_t n = lf ? (size_t)(lf - rest.p) : rest.n;

		e = parse_line(f, slice_of(rest.p, n), ++number, path, why);
		n += lf ? 1 : 0;
		rest = slice_of(rest.p + n, rest.n - n);
	}
	if (!e && f->info.identities == 0) {
		why_set(why, "%s has no identities", path);
		why_mend(why,
		    "write identity:key, the key in hexadecimal "
		    "digits, as from: openssl rand -hex 32");
		return NJ_MALFORMED;
	}
	return e;
}

static struct psk_file *
file_new(void)
{
	struct psk_file *f = calloc(1, sizeof *f);

	if (!f)
		return NULL;
	atomic_init(&f->refs, 1);
	map_init(&f->by_identity, identity_of);
	rand_bytes(f->secret, sizeof f->secret);
	return f;
}

static enum nj_err
finish(struct psk_file *f, enum nj_err e, const char *path,
    struct psk_file **out, struct nj_why *why)
{
	if (!e)
		e = parse_text(f, path, why);
	if (e == NJ_NOMEM)
		why_set(why, "%s: out of memory", path);
	if (e) {
		psk_file_unref(f);
		return e;
	}
	*out = f;
	return NJ_OK;
}

enum nj_err
psk_file_load(const char *path, struct psk_file **out, struct nj_why *why)
{
	struct psk_file *f = file_new();

	if (!f)
		return NJ_NOMEM;
	return finish(
	    f, file_read(path, PSK_FILE_MAX, &f->text, why), path, out, why);
}

enum nj_err
psk_file_parse(struct slice text, const char *path, struct psk_file **out,
    struct nj_why *why)
{
	struct psk_file *f = file_new();

	if (!f)
		return NJ_NOMEM;
	return finish(f, buf_put_slice(&f->text, text), path, out, why);
}

struct psk_file *
psk_file_ref(struct psk_file *f)
{
	(void)atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
	return f;
}

void
psk_file_unref(struct psk_file *f)
{
	if (!f ||
	    atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) != 1)
		return;
	map_fini(&f->by_identity);
	free(f->v);
	buf_wipe(&f->keys);
	buf_wipe(&f->text);
	secret_wipe(f->secret, sizeof f->secret);
	free(f);
}

void
psk_file_info(const struct psk_file *f, struct psk_file_info *out)
{
	*out = f->info;
}

size_t
psk_file_key(const struct psk_file *f, struct slice identity,
    uint8_t key[PSK_KEY_MAX], bool *known)
{
	const struct entry *e = map_get(&f->by_identity, identity);
	struct slice all = buf_slice(&f->keys);
	size_t n = e ? e->n : SCRAM_KEY;

	memset(key, 0, PSK_KEY_MAX);
	/* made in any case, so that it takes as long */
	if (scram_hmac(slice_of(f->secret, sizeof f->secret), identity, key))
		rand_bytes(key, SCRAM_KEY);
	if (e && all.p)
		memcpy(key, all.p + e->at, n);
	*known = e != NULL;
	return n;
}
