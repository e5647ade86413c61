/* SPDX-License-Identifier: Apache-2.0 */
#include "pki/token.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/rand.h"
#include "base/secret.h"
#include "base/text.h"
#include "pki/ca.h"

#define FILE_MAX 4096
#define HEADER	 "nightjar-token 1\n"

/* -- base64url, of a fixed number of bytes --------------------------------- */

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
			     "abcdefghijklmnopqrstuvwxyz0123456789-_";

/* dst has room for (n * 8 + 5) / 6 characters and a NUL. */
static void
url_encode(char *dst, const uint8_t *p, size_t n)
{
	uint32_t bits = 0;
	unsigned have = 0;

	for (size_t i = 0; i < n; i++) {
		bits = bits << 8 | p[i];
		for (have += 8; have >= 6; have -= 6)
			*dst++ = digits[bits >> (have - 6) & 63];
	}
	if (have > 0)
		*dst++ = digits[bits << (6 - have) & 63];
	*dst = '\0';
}

/* Exactly n bytes; bits that are left over must be zero. */
static bool
url_decode(struct slice text, uint8_t *dst, size_t n)
{
	uint32_t bits = 0;
	unsigned have = 0;
	size_t done = 0;

	if (text.n != (n * 8 + 5) / 6)
		return false;
	for (size_t i = 0; i < text.n; i++) {
		const char *at = text.p[i] ? strchr(digits, text.p[i]) : NULL;

		if (!at)
			return false;
		bits = bits << 6 | (uint32_t)(at - digits);
		if ((have += 6) >= 8) {
			have -= 8;
			dst[done++] = (uint8_t)(bits >> have);
		}
	}
	return done == n && (bits & ((1u << have) - 1)) == 0;
}

/* -- the text --------------------------------------------------------------- */

enum nj_err
pki_token_print(const struct pki_token_text *t, char dst[PKI_TOKEN_MAX + 1])
{
	bool brackets = strchr(t->host, ':') != NULL;
	char pin[PKI_TOKEN_PIN + 1];
	int n;

	url_encode(pin, t->pin, sizeof t->pin);
	n = snprintf(dst, PKI_TOKEN_MAX + 1, "nj1.%s%s%s:%u.%s.%s",
	    brackets ? "[" : "", t->host, brackets ? "]" : "",
	    (unsigned)t->port, pin, t->secret);
	return n > 0 && n <= PKI_TOKEN_MAX ? NJ_OK : NJ_TOOBIG;
}

/* What stands behind the last c, which is cut off with it. */
static bool
cut_last(struct slice *s, uint8_t c, struct slice *last)
{
	const uint8_t *at = s->n ? memrchr(s->p, c, s->n) : NULL;
	size_t before;

	if (!at)
		return false;
	before = (size_t)(at - s->p);
	*last = slice_of(at + 1, s->n - before - 1);
	s->n = before;
	return true;
}

/* "host:8885", "[::1]:8885" */
static bool
take_place(struct slice place, struct pki_token_text *out)
{
	struct slice port = SLICE_NONE;
	unsigned long n = 0;

	if (!cut_last(&place, ':', &port) || port.n == 0 || port.n > 5)
		return false;
	for (size_t i = 0; i < port.n; i++) {
		if (port.p[i] < '0' || port.p[i] > '9')
			return false;
		n = n * 10 + (port.p[i] - '0');
	}
	if (place.n > 2 && place.p[0] == '[' && place.p[place.n - 1] == ']')
		place = slice_of(place.p + 1, place.n - 2);
	if (n == 0 || n > 65535 || place.n == 0 || place.n >= sizeof out->host)
		return false;
	for (size_t i = 0; i < place.n; i++)
		if (place.p[i] <= ' ' || place.p[i] >= 0x7f ||
		    strchr("/\\@\"'%?#", place.p[i]))
			return false;
	memcpy(out->host, place.p, place.n);
	out->host[place.n] = '\0';
	out->port = (uint16_t)n;
	return true;
}

enum nj_err
pki_token_parse(struct slice text, struct pki_token_text *out)
{
	const struct slice head = LIT("nj1.");
	struct slice secret = SLICE_NONE, pin = SLICE_NONE;
	struct pki_token_text t = { 0 };
	uint8_t raw[16];

	if (text.n > PKI_TOKEN_MAX || !slice_has_prefix(text, head))
		return NJ_MALFORMED;
	text = slice_of(text.p + head.n, text.n - head.n);
	if (!cut_last(&text, '.', &secret) || !cut_last(&text, '.', &pin) ||
	    !url_decode(secret, raw, sizeof raw) ||
	    !url_decode(pin, t.pin, sizeof t.pin) || !take_place(text, &t))
		return NJ_MALFORMED;
	memcpy(t.secret, secret.p, PKI_TOKEN_SECRET);
	*out = t;
	return NJ_OK;
}

/* -- the files -------------------------------------------------------------- */

bool
pki_token_hash(struct slice secret, char hex[PKI_TOKEN_HASH + 1])
{
	unsigned char md[EVP_MAX_MD_SIZE];

	if (EVP_Digest(secret.p, secret.n, md, NULL, EVP_sha256(), NULL) != 1)
		return false;
	for (size_t i = 0; i < 32; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", md[i]);
	return true;
}

static enum nj_err
store(const char *path, const struct pki_token *t, const char *hash,
    struct nj_why *why)
{
	struct buf b = { 0 };
	enum nj_err e;

	e = buf_printf(&b,
	    HEADER "hash %s\nwhat %s\nexpires %" PRId64 "\nuses %u\ntries %u\n"
		   "days %u\nagain %d\napprove %d\n",
	    hash, t->what, t->expires, t->uses, t->tries, t->days, t->again,
	    t->approve);
	if (!e && t->has_groups)
		e = buf_printf(&b, "groups %s\n", t->groups);
	if (!e && t->promised[0])
		e = buf_printf(&b, "promised %s\npromised-at %" PRId64 "\n",
		    t->promised, t->promised_at);
	if (!e)
		e = file_write(path, buf_slice(&b), 0600, why);
	buf_fini(&b);
	return e;
}

static bool
parse(struct slice text, struct pki_token *t, char hash[65])
{
	int64_t uses, tries, days, again, approve;

	if (!slice_has_prefix(text, LIT(HEADER)) ||
	    !text_value(text, "hash", hash, 65) ||
	    !text_value(text, "what", t->what, sizeof t->what) ||
	    !text_number(text, "expires", &t->expires) ||
	    !text_number(text, "uses", &uses) ||
	    !text_number(text, "tries", &tries) ||
	    !text_number(text, "days", &days) ||
	    !text_number(text, "again", &again) ||
	    !text_number(text, "approve", &approve))
		return false;
	t->uses = (unsigned)uses;
	t->tries = (unsigned)tries;
	t->days = (unsigned)days;
	t->again = again != 0;
	t->approve = approve != 0;
	t->has_groups = text_value(text, "groups", t->groups, sizeof t->groups);
	if (!text_value(text, "promised", t->promised, sizeof t->promised) ||
	    !text_number(text, "promised-at", &t->promised_at) ||
	    t->promised_at <= (int64_t)time(NULL) - PKI_TOKEN_FETCH_S)
		t->promised[0] = '\0';
	return true;
}

static enum nj_err
load(const char *path, struct pki_token *t, char hash[65], struct nj_why *why)
{
	struct buf text = { 0 };
	enum nj_err e = file_read(path, FILE_MAX, &text, why);

	if (!e && (!text.p || !parse(buf_slice(&text), t, hash))) {
		why_set(why, "the token '%s' is damaged", path);
		why_mend(why, "delete the file, and make another token");
		e = NJ_INVALID;
	}
	buf_wipe(&text);
	return e;
}

static enum nj_err
open_folder(const char *dir, char **folder, int *lock, struct nj_why *why)
{
	char *path = pki_path(dir, "pki/tokens");
	enum nj_err e;

	if (!path)
		return NJ_NOMEM;
	if ((e = file_mkdir(path, 0700, why))) {
		free(path);
		return e;
	}
	*lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	while (*lock >= 0 && flock(*lock, LOCK_EX) != 0 && errno == EINTR)
		continue;
	if (*lock < 0) {
		why_set(why, "cannot open '%s': %s", path, strerror(errno));
		free(path);
		return NJ_IO;
	}
	*folder = path;
	return NJ_OK;
}

enum nj_err
pki_token_make(const char *dir, struct pki_token *t,
    char secret[PKI_TOKEN_SECRET + 1], struct nj_why *why)
{
	char *folder = NULL, *path = NULL, hash[65];
	uint8_t raw[16];
	int lock = -1;
	enum nj_err e;

	rand_bytes(raw, sizeof raw);
	url_encode(secret, raw, sizeof raw);
	secret_wipe(raw, sizeof raw);
	if (!pki_token_hash(slice_of(secret, PKI_TOKEN_SECRET), hash))
		return NJ_CRYPTO;
	(void)snprintf(t->name, sizeof t->name, "%.32s", hash);
	t->tries = PKI_TOKEN_TRIES;
	if ((e = open_folder(dir, &folder, &lock, why)))
		return e;
	if (!(path = pki_path(folder, t->name)))
		e = NJ_NOMEM;
	else
		e = store(path, t, hash, why);
	free(path);
	free(folder);
	(void)close(lock);
	return e;
}

static bool
is_name(const char *name)
{
	return strlen(name) == PKI_TOKEN_NAME &&
	    strspn(name, "0123456789abcdef") == PKI_TOKEN_NAME;
}

/* Why it is good for nothing new, or NULL. */
static const char *
why_over(const struct pki_token *t)
{
	if (t->uses == 0)
		return "not known, or was used already";
	return t->expires <= (int64_t)time(NULL) ? "too old" : NULL;
}

/* Nor for fetching. */
static bool
is_past(const struct pki_token *t)
{
	return t->expires <= (int64_t)time(NULL) - PKI_TOKEN_FETCH_S;
}

struct tokens {
	struct pki_token *v;
	size_t n, room;
};

static enum nj_err
add_token(struct tokens *all, const char *folder, const char *name)
{
	char hash[PKI_TOKEN_HASH + 1], *path = pki_path(folder, name);
	struct pki_token t = { 0 }, *v;
	enum nj_err e;

	if (!path)
		return NJ_NOMEM;
	memcpy(t.name, name, PKI_TOKEN_NAME);
	e = load(path, &t, hash, NULL);
	free(path);
	if (e || why_over(&t))
		return NJ_OK;
	if (all->n == all->room) {
		all->room = all->room ? 2 * all->room : 16;
		if (!(v = reallocarray(all->v, all->room, sizeof *v)))
			return NJ_NOMEM;
		all->v = v;
	}
	all->v[all->n++] = t;
	return NJ_OK;
}

enum nj_err
pki_token_each(const char *dir,
    bool (*fn)(void *arg, const struct pki_token *t), void *arg,
    struct nj_why *why)
{
	struct tokens all = { NULL, 0, 0 };
	char *folder = NULL;
	struct dirent *en;
	int lock = -1;
	DIR *d;
	enum nj_err e = open_folder(dir, &folder, &lock, why);

	if (e)
		return e;
	d = opendir(folder);
	while (d && !e && (en = readdir(d)))
		if (is_name(en->d_name))
			e = add_token(&all, folder, en->d_name);
	if (d)
		(void)closedir(d);
	free(folder);
	(void)close(lock);
	/* without the lock: fn may print, to who does not read on */
	for (size_t i = 0; !e && i < all.n && fn(arg, &all.v[i]); i++)
		continue;
	free(all.v);
	return e;
}

bool
pki_token_is_there(const char *dir, const char *name)
{
	char *path = NULL;
	bool there = true;

	if (!is_name(name))
		return false;
	if (asprintf(&path, "%s/pki/tokens/%s", dir, name) >= 0) {
		there = access(path, F_OK) == 0 || errno != ENOENT;
		free(path);
	}
	return there;
}

void
pki_token_sweep(const char *dir)
{
	char *folder = NULL, *tokens = pki_path(dir, "pki/tokens");
	bool none = !tokens || access(tokens, F_OK) != 0;
	struct dirent *en;
	int lock = -1;
	DIR *d;

	free(tokens);
	if (none || open_folder(dir, &folder, &lock, NULL))
		return;
	d = opendir(folder);
	while (d && (en = readdir(d))) {
		struct pki_token t = { 0 };
		char hash[PKI_TOKEN_HASH + 1], *path;

		if (!is_name(en->d_name) ||
		    !(path = pki_path(folder, en->d_name)))
			continue;
		if (load(path, &t, hash, NULL) == NJ_OK && is_past(&t))
			(void)unlink(path);
		free(path);
	}
	if (d)
		(void)closedir(d);
	free(folder);
	(void)close(lock);
}

enum nj_err
pki_token_remove(const char *dir, const char *name, struct nj_why *why)
{
	char *folder = NULL, *path = NULL, safe[TEXT_ESC];
	int lock = -1;
	enum nj_err e;

	if (!is_name(name)) {
		why_set(why, "'%s' is no token's name",
		    text_esc(safe, sizeof safe, slice_str(name)));
		why_mend(why, "nightjar ca token --list shows the names");
		return NJ_NOTFOUND;
	}
	if ((e = open_folder(dir, &folder, &lock, why)))
		return e;
	if (!(path = pki_path(folder, name))) {
		e = NJ_NOMEM;
	} else if (unlink(path) != 0) {
		e = errno == ENOENT ? NJ_NOTFOUND : NJ_IO;
		why_set(why, "cannot remove the token %s: %s", name,
		    strerror(errno));
	}
	free(path);
	free(folder);
	(void)close(lock);
	return e;
}

/* -- using one -------------------------------------------------------------- */

static enum nj_err
no_such(struct nj_why *why, const char *what)
{
	why_set(why, "the token is %s", what);
	why_mend(why, "make another: nightjar ca token ID");
	return NJ_DENIED;
}

static enum nj_err
check(struct pki_token_use *u, const char *hash, struct nj_why *why)
{
	char stored[65];
	enum nj_err e;

	if (access(u->path, F_OK) != 0)
		return no_such(why, "not known, or was used already");
	if ((e = load(u->path, &u->token, stored, why)))
		return e;
	if (!secret_eq(slice_str(stored), slice_str(hash)))
		return no_such(why, "not known, or was used already");
	if (is_past(&u->token)) {
		(void)unlink(u->path);
		return no_such(why, "too old");
	}
	if (u->token.tries == 0)
		return no_such(why, "used up");
	u->over = why_over(&u->token);
	return NJ_OK;
}

enum nj_err
pki_token_is_good(const struct pki_token_use *u, struct nj_why *why)
{
	return u->over ? no_such(why, u->over) : NJ_OK;
}

enum nj_err
pki_token_open(const char *dir, struct slice hash, struct pki_token_use *out,
    struct nj_why *why)
{
	struct pki_token_use u = { .lock = -1 };
	enum nj_err e;

	if (hash.n != PKI_TOKEN_HASH)
		return no_such(why, "not known, or was used already");
	memcpy(u.hash, hash.p, hash.n);
	(void)snprintf(u.token.name, sizeof u.token.name, "%.32s", u.hash);
	if (!is_name(u.token.name))
		return no_such(why, "not known, or was used already");
	if ((e = open_folder(dir, &u.folder, &u.lock, why)))
		return e;
	if (!(u.path = pki_path(u.folder, u.token.name)))
		e = NJ_NOMEM;
	else
		e = check(&u, u.hash, why);
	if (e) {
		pki_token_close(&u);
		return e;
	}
	*out = u;
	return NJ_OK;
}

bool
pki_token_covers(const struct pki_token *t, const char *id)
{
	size_t n = strlen(t->what);

	if (n > 0 && t->what[n - 1] == '*')
		return strncmp(t->what, id, n - 1) == 0;
	return strcmp(t->what, id) == 0;
}

static enum nj_err
write_back(struct pki_token_use *u, struct nj_why *why)
{
	if (u->token.tries > 0)
		return store(u->path, &u->token, u->hash, why);
	if (unlink(u->path) != 0 || fsync(u->lock) != 0) {
		why_set(why, "cannot remove the token %s: %s", u->token.name,
		    strerror(errno));
		return NJ_IO;
	}
	return NJ_OK;
}

enum nj_err
pki_token_spend(struct pki_token_use *u, const char *spki, struct nj_why *why)
{
	(void)snprintf(u->token.promised, sizeof u->token.promised, "%s", spki);
	u->token.promised_at = (int64_t)time(NULL);
	if (--u->token.uses == 0)
		u->token.expires = u->token.promised_at;
	return write_back(u, why);
}

void
pki_token_fail(struct pki_token_use *u)
{
	u->token.tries--;
	(void)!write_back(u, NULL);
}

void
pki_token_close(struct pki_token_use *u)
{
	if (u->lock >= 0)
		(void)close(u->lock);
	free(u->path);
	free(u->folder);
	u->path = u->folder = NULL;
	u->lock = -1;
}
