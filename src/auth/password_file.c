/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/password_file.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "auth/base64.h"
#include "auth/password.h"
#include "auth/recall.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/map.h"
#include "base/rand.h"
#include "base/secret.h"
#include "base/text.h"
#include "wire/topic.h"

#define WEAK_ITERATIONS 10000
#define COSTS_MAX	64 /* kinds that are counted to find the commonest */

struct user {
	struct slice name; /* into text */
	size_t line;
	struct password_hash hash;
};

struct password_file {
	atomic_uint refs;
	char *path;
	struct buf text;
	struct user *users;
	struct map by_name;
	struct password_hash dummy; /* what unknown users are checked with */
	struct scram_verifier fake; /* iterations and length of the salt */
	uint8_t secret[PASSWORD_FILE_SECRET]; /* for the rest of it */
	size_t secret_line;		      /* 0: none */
	struct password_file_info info;
	struct recall *recall;
};

/* Where a fault is: for the operator, counted from 1. */
struct place {
	const char *path;
	size_t line, column;
};

static struct slice
name_of(const void *value)
{
	return ((const struct user *)value)->name;
}

static enum nj_err
refuse_at(const struct place *at, struct nj_why *why, enum nj_err e)
{
	why_prefix(
	    why, "%s, line %zu, column %zu", at->path, at->line, at->column);
	return e;
}

/* Spaces and tabs around a field do not count, as with Mosquitto. */
static struct slice
trim(struct slice s)
{
	while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

static bool
take_line(struct slice *rest, struct slice *line)
{
	const uint8_t *lf;
	size_t n;

	if (!rest->p || rest->n == 0)
		return false;
	lf = memchr(rest->p, '\n', rest->n);
	n = lf ? (size_t)(lf - rest->p) : rest->n;
	*line = slice_of(rest->p, n);
	if (n > 0 && line->p[n - 1] == '\r')
		line->n--;
	n += lf ? 1 : 0;
	rest->p += n;
	rest->n -= n;
	return true;
}

static enum nj_err
check_name(struct slice name, struct place *at, struct nj_why *why)
{
	if (name.n == 0) {
		why_set(why, "there is no user name before the colon");
		why_mend(why, "remove line %zu of %s", at->line, at->path);
		return refuse_at(at, why, NJ_MALFORMED);
	}
	if (name.n > MQTT_STRING_MAX || !utf8_ok(name)) {
		why_set(why,
		    "no client can have this user name: it is longer "
		    "than 65535 bytes, or not UTF-8");
		why_mend(why, "remove line %zu of %s", at->line, at->path);
		return refuse_at(at, why, NJ_MALFORMED);
	}
	return NJ_OK;
}

static enum nj_err
parse_hash(struct slice text, struct slice name, struct place *at,
    struct password_hash *out, struct nj_why *why)
{
	char user[TEXT_ESC];
	size_t off = 0;
	enum nj_err e;

	(void)text_esc(user, sizeof user, name);
	if (text.n == 0) {
		why_set(why, "user %s has an empty password", user);
		why_mend(why, "nightjar passwd %s %s", at->path, user);
		return refuse_at(at, why, NJ_MALFORMED);
	}
	if (!(e = password_parse(text, out, &off, why)))
		return NJ_OK;
	at->column += off;
	/* The text itself may be a password and is not repeated. */
	if (e == NJ_UNSUPPORTED)
		why_mend(why,
		    "nightjar passwd -U %s hashes all plaintext passwords "
		    "of the file",
		    at->path);
	else
		why_mend(why, "nightjar passwd %s %s", at->path, user);
	return refuse_at(at, why, NJ_MALFORMED);
}

/* Puts the user into the table; the array has room. */
static enum nj_err
add_user(struct password_file *pf, const struct user *u, struct place *at,
    struct nj_why *why)
{
	struct user *slot = &pf->users[pf->info.users];
	char name[TEXT_ESC];
	enum nj_err e;

	*slot = *u;
	if ((e = map_put(&pf->by_name, slot)) == NJ_OK) {
		pf->info.users++;
		return NJ_OK;
	}
	if (e == NJ_EXISTS) {
		const struct user *other = map_get(&pf->by_name, u->name);

		why_set(why, "user %s stands on line %zu already",
		    text_esc(name, sizeof name, u->name),
		    other ? other->line : 0);
		why_mend(why, "remove one of the two lines");
		return refuse_at(at, why, NJ_MALFORMED);
	}
	why_set(why, "%s", nj_strerror(e));
	return refuse_at(at, why, e);
}

static bool
is_weak(const struct password_cost *c)
{
	return c->kind == PASSWORD_SHA512 ||
	    (c->kind == PASSWORD_PBKDF2 && c->iterations < WEAK_ITERATIONS);
}

static enum nj_err
parse_secret(struct password_file *pf, struct slice line, struct place *at,
    struct nj_why *why)
{
	size_t head = sizeof PASSWORD_FILE_SECRET_LINE - 1, n = 0;

	if (pf->secret_line == 0 &&
	    base64_decode(trim(slice_of(line.p + head, line.n - head)), true,
		pf->secret, sizeof pf->secret, &n) == NJ_OK &&
	    n == sizeof pf->secret) {
		pf->secret_line = at->line;
		return NJ_OK;
	}
	at->column = 1;
	why_set(why,
	    "the secret for SCRAM is damaged, or stands on another line too");
	why_mend(why,
	    "remove line %zu of %s; nightjar passwd -H scram-sha-256 writes a "
	    "new one",
	    at->line, at->path);
	return refuse_at(at, why, NJ_MALFORMED);
}

static enum nj_err
parse_line(struct password_file *pf, struct slice line, struct place *at,
    struct nj_why *why)
{
	const uint8_t *colon;
	struct slice name, hash;
	struct user u = { .line = at->line };
	enum nj_err e;

	if (slice_has_prefix(line, LIT(PASSWORD_FILE_SECRET_LINE)))
		return parse_secret(pf, line, at, why);
	if (line.n == 0 || line.p[0] == '#')
		return NJ_OK;
	if (!(colon = memchr(line.p, ':', line.n))) {
		pf->info.skipped += trim(line).n > 0;
		return NJ_OK;
	}
	name = trim(slice_of(line.p, (size_t)(colon - line.p)));
	hash = trim(slice_of(colon + 1, line.n - (size_t)(colon + 1 - line.p)));
	at->column = 1;
	if ((e = check_name(name, at, why)))
		return e;
	u.name = name;
	at->column = (size_t)(hash.p - line.p) + 1;
	if ((e = parse_hash(hash, name, at, &u.hash, why)))
		return e;
	at->column = 1;
	if ((e = add_user(pf, &u, at, why)))
		return e;
	pf->info.weak += is_weak(&u.hash.cost);
	pf->info.scram += u.hash.cost.kind == PASSWORD_SCRAM;
	return NJ_OK;
}

/* Lines that may become users. */
static size_t
count_candidates(struct slice text)
{
	struct slice line;
	size_t n = 0;

	while (take_line(&text, &line))
		n += line.n > 0 && line.p[0] != '#' &&
		    memchr(line.p, ':', line.n) != NULL;
	return n;
}

/* Without a secret of its own a file has what only its readers know. */
static enum nj_err
make_secret(struct password_file *pf)
{
	struct slice text = buf_slice(&pf->text);

	if (pf->secret_line != 0 || pf->info.scram == 0)
		return NJ_OK;
	return scram_hmac(LIT("nightjar scram"), text, pf->secret);
}

static bool
same_cost(const struct password_cost *a, const struct password_cost *b)
{
	return a->kind == b->kind && a->iterations == b->iterations &&
	    a->memory == b->memory && a->lanes == b->lanes;
}

/* The hash whose cost is the commonest, of SCRAM's alone or of all; NULL: there
 * is none. */
static const struct password_hash *
commonest(const struct password_file *pf, bool scram)
{
	struct {
		const struct password_hash *h;
		size_t n;
	} seen[COSTS_MAX];
	size_t n = 0, best = 0;

	for (size_t i = 0; i < pf->info.users; i++) {
		const struct password_hash *h = &pf->users[i].hash;
		size_t k = 0;

		if (scram && h->cost.kind != PASSWORD_SCRAM)
			continue;
		while (k < n && !same_cost(&seen[k].h->cost, &h->cost))
			k++;
		if (k == COSTS_MAX)
			continue;
		if (k == n) {
			seen[n].h = h;
			seen[n++].n = 0;
		}
		if (++seen[k].n > seen[best].n)
			best = k;
	}
	return n > 0 ? seen[best].h : NULL;
}

/* A hash that nothing matches, at the commonest cost: that of an empty file
 * is the default one. */
static void
make_dummy(struct password_file *pf)
{
	const struct password_hash *h = commonest(pf, false);

	pf->dummy = (struct password_hash){
		.cost = password_default_cost(PASSWORD_ARGON2ID),
		.version = 0x13,
		.salt_n = 16,
		.hash_n = 32,
	};
	if (h)
		pf->dummy = *h;
	rand_bytes(pf->dummy.salt, pf->dummy.salt_n);
	rand_bytes(pf->dummy.hash, pf->dummy.hash_n);
	if ((h = commonest(pf, true))) {
		pf->fake.iterations = h->cost.iterations;
		pf->fake.salt_n = h->salt_n;
	}
}

static enum nj_err
parse_text(struct password_file *pf, const char *path, struct nj_why *why)
{
	struct slice rest = buf_slice(&pf->text), line;
	size_t n = count_candidates(rest);
	struct place at = { .path = path };

	if (slice_has_prefix(rest, LIT("\xff\xfe")) ||
	    slice_has_prefix(rest, LIT("\xfe\xff"))) {
		why_set(why,
		    "%s is in UTF-16, as PowerShell and Notepad write it",
		    path);
		why_mend(why, "iconv -f UTF-16 -t UTF-8 %s >NEW", path);
		return NJ_MALFORMED;
	}
	/* Windows' editors begin a file with a byte order mark. */
	if (slice_has_prefix(rest, LIT("\xef\xbb\xbf")))
		rest = slice_of(rest.p + 3, rest.n - 3);
	if (n > PASSWORD_USERS_MAX) {
		why_set(why, "%s has %zu users; %u are served", path, n,
		    PASSWORD_USERS_MAX);
		return NJ_TOOBIG;
	}
	if (!(pf->users = calloc(n > 0 ? n : 1, sizeof *pf->users))) {
		why_set(why, "%s: out of memory for %zu users", path, n);
		return NJ_NOMEM;
	}
	while (take_line(&rest, &line)) {
		enum nj_err e;

		at.line++;
		if ((e = parse_line(pf, line, &at, why)))
			return e;
	}
	make_dummy(pf);
	if (recall_new(pf->info.users, &pf->recall)) {
		why_set(why, "%s: out of memory", path);
		return NJ_NOMEM;
	}
	return make_secret(pf);
}

static struct password_file *
file_new(const char *path)
{
	struct password_file *pf = calloc(1, sizeof *pf);

	if (!pf)
		return NULL;
	if (!(pf->path = strdup(path))) {
		free(pf);
		return NULL;
	}
	atomic_init(&pf->refs, 1);
	map_init(&pf->by_name, name_of);
	return pf;
}

enum nj_err
password_file_load(
    const char *path, struct password_file **out, struct nj_why *why)
{
	struct password_file *pf = file_new(path);
	enum nj_err e = NJ_NOMEM;

	if (!pf) {
		why_set(why, "%s: out of memory", path);
		goto out;
	}
	if ((e = file_read(path, PASSWORD_FILE_MAX, &pf->text, why)) ||
	    (e = parse_text(pf, path, why)))
		goto out;
	*out = pf;
	pf = NULL; /* moved */
out:
	password_file_unref(pf);
	return e;
}

enum nj_err
password_file_parse(struct slice text, const char *path,
    struct password_file **out, struct nj_why *why)
{
	struct password_file *pf = file_new(path);
	enum nj_err e = NJ_NOMEM;

	if (!pf) {
		why_set(why, "%s: out of memory", path);
		goto out;
	}
	if ((e = buf_put_slice(&pf->text, text))) {
		why_set(why, "%s: %s", path, nj_strerror(e));
		goto out;
	}
	if ((e = parse_text(pf, path, why)))
		goto out;
	*out = pf;
	pf = NULL; /* moved */
out:
	password_file_unref(pf);
	return e;
}

struct password_file *
password_file_ref(struct password_file *pf)
{
	(void)atomic_fetch_add_explicit(&pf->refs, 1, memory_order_relaxed);
	return pf;
}

void
password_file_unref(struct password_file *pf)
{
	if (!pf ||
	    atomic_fetch_sub_explicit(&pf->refs, 1, memory_order_acq_rel) != 1)
		return;
	secret_wipe(pf->secret, sizeof pf->secret);
	recall_free(pf->recall);
	if (pf->users)
		secret_wipe(pf->users, pf->info.users * sizeof *pf->users);
	free(pf->users);
	map_fini(&pf->by_name);
	buf_wipe(&pf->text);
	free(pf->path);
	free(pf);
}

const char *
password_file_path(const struct password_file *pf)
{
	return pf->path;
}

void
password_file_info(
    const struct password_file *pf, struct password_file_info *out)
{
	*out = pf->info;
}

bool
password_file_has(const struct password_file *pf, struct slice user)
{
	return map_get(&pf->by_name, user) != NULL;
}

static bool
same_hash(const struct password_hash *a, const struct password_hash *b)
{
	return same_cost(&a->cost, &b->cost) && a->version == b->version &&
	    a->salt_n == b->salt_n && a->hash_n == b->hash_n &&
	    memcmp(a->salt, b->salt, a->salt_n) == 0 &&
	    memcmp(a->hash, b->hash, a->hash_n) == 0;
}

const char *
password_file_objection(const struct password_file *pf,
    const struct password_file *was, struct slice user)
{
	const struct user *now = map_get(&pf->by_name, user);
	const struct user *before = map_get(&was->by_name, user);

	if (!now)
		return "its user is not in the password_file any more";
	return before && same_hash(&now->hash, &before->hash)
	    ? NULL
	    : "its user has another password in the password_file";
}

/* 32 bytes that are always the same for this name and what they are for. */
static enum nj_err
invent(const struct password_file *pf, const char *what, struct slice user,
    uint8_t out[SCRAM_KEY])
{
	uint8_t key[SCRAM_KEY];
	enum nj_err e = scram_hmac(
	    slice_of(pf->secret, sizeof pf->secret), slice_str(what), key);

	if (!e)
		e = scram_hmac(slice_of(key, sizeof key), user, out);
	secret_wipe(key, sizeof key);
	return e;
}

enum nj_err
password_file_scram(const struct password_file *pf, struct slice user,
    struct scram_verifier *out, bool *known)
{
	const struct user *u = map_get(&pf->by_name, user);
	struct scram_verifier v = pf->fake;
	enum nj_err e;

	_Static_assert(SCRAM_SALT_MAX == 2 * SCRAM_KEY, "two keys are a salt");
	if ((e = invent(pf, "salt", user, v.salt)) ||
	    (e = invent(pf, "salt 2", user, v.salt + SCRAM_KEY)) ||
	    (e = invent(pf, "stored", user, v.stored)) ||
	    (e = invent(pf, "server", user, v.server)))
		return e;
	*known = u && u->hash.cost.kind == PASSWORD_SCRAM;
	if (*known)
		password_verifier(&u->hash, &v);
	*out = v;
	return NJ_OK;
}

bool
password_file_recalls(
    struct password_file *pf, struct slice user, struct slice password)
{
	return recall_knows(pf->recall, user, SLICE_NONE, password);
}

enum auth_result
password_file_check(struct password_file *pf, struct slice user,
    struct slice password, enum auth_reason *reason)
{
	const struct user *u = map_get(&pf->by_name, user);
	enum nj_err e;

	if (password.n == 0) {
		*reason = AUTH_R_EMPTY_PASSWORD;
		return AUTH_DENY;
	}
	/* The same work whether or not there is such a user. */
	e = password_verify(u ? &u->hash : &pf->dummy, password);
	if (e && e != NJ_DENIED) {
		*reason = AUTH_R_FAILED;
		return AUTH_DENY;
	}
	if (!u) {
		*reason = AUTH_R_UNKNOWN_USER;
		return AUTH_NOT_MINE;
	}
	if (!e)
		recall_note(pf->recall, user, SLICE_NONE, password);
	*reason = e ? AUTH_R_WRONG_PASSWORD : AUTH_R_NONE;
	return e ? AUTH_DENY : AUTH_ALLOW;
}
