/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/jwt.h"

#include <jansson.h>
#include <stdlib.h>

#include "auth/base64url.h"
#include "auth/json_read.h"
#include "base/text.h"
#include "wire/topic.h"

/* Whole seconds that a double holds exactly. */
#define SECONDS_MAX 9007199254740992.0

struct parts {
	struct slice head, claims, signature;
	struct slice signed_bytes; /* the first two, with their dot */
};

/* -- the compact form ---------------------------------------------------- */

static bool
split(struct slice s, struct parts *p)
{
	const uint8_t *one, *two;

	if (s.n == 0 || s.n > JWT_MAX || !(one = memchr(s.p, '.', s.n)))
		return false;
	p->head = slice_of(s.p, (size_t)(one - s.p));
	two = memchr(one + 1, '.', s.n - p->head.n - 1);
	if (!two)
		return false;
	p->claims = slice_of(one + 1, (size_t)(two - one - 1));
	p->signed_bytes = slice_of(s.p, (size_t)(two - s.p));
	p->signature = slice_of(two + 1, s.n - p->signed_bytes.n - 1);
	return p->head.n > 0 && p->claims.n > 0 &&
	    !(p->signature.n > 0 &&
		memchr(p->signature.p, '.', p->signature.n));
}

/* An object, which nobody could read in two ways. */
static json_t *
object_of(struct slice coded)
{
	size_t room = BASE64URL_BYTES(coded.n), n = 0;
	uint8_t *text = malloc(room);
	json_t *v = NULL;

	if (text && base64url_decode(coded, text, room, &n) == NJ_OK)
		v = json_read(slice_of(text, n), JSON_REJECT_DUPLICATES, NULL);
	free(text);
	if (json_is_object(v))
		return v;
	json_decref(v);
	return NULL;
}

/* {"alg": or {"typ": and the like, so that a password is not taken for one. */
bool
jwt_looks_like_one(struct slice s)
{
	struct parts p;
	json_t *head;
	bool yes;

	if (!split(s, &p) || s.p[0] != 'e')
		return false;
	head = object_of(p.head);
	yes = json_is_string(json_object_get(head, "alg"));
	json_decref(head);
	return yes;
}

/* -- the head ------------------------------------------------------------ */

static struct slice
string_of(const json_t *v)
{
	return json_is_string(v)
	    ? slice_of(json_string_value(v), json_string_length(v))
	    : SLICE_NONE;
}

static enum nj_err
denied(struct nj_why *why, const char *what, const char *mend)
{
	why_set(why, "%s", what);
	if (mend)
		why_mend(why, "%s", mend);
	return NJ_DENIED;
}

static enum nj_err
check_head(const struct parts *p, const json_t *head, const struct jwt_rules *r,
    struct nj_why *why)
{
	struct slice name = string_of(json_object_get(head, "alg"));
	const json_t *kid = json_object_get(head, "kid");
	enum jwk_alg alg = jwk_alg_of(name);
	uint8_t sig[JWT_MAX];
	char esc[TEXT_ESC];
	size_t n = 0;

	/* RFC 8725 3.1, 3.2: the key says which algorithm, and there are
	 * three */
	if (alg == JWK_ALGS) {
		why_set(why, "its algorithm is '%s'",
		    text_esc(esc, sizeof esc, name));
		why_mend(why, "sign with RS256, ES256 or EdDSA");
		return NJ_DENIED;
	}
	if (json_object_get(head, "crit")) /* RFC 7515 4.1.11 */
		return denied(why,
		    "it has extensions that must be understood "
		    "(crit)",
		    NULL);
	if (kid &&
	    (!json_is_string(kid) || json_string_length(kid) > JWK_KID_MAX))
		return denied(why, "its kid is no string, or too long", NULL);
	if (base64url_decode(p->signature, sig, sizeof sig, &n))
		return denied(why, "its signature is not base64url", NULL);
	switch (jwk_verify(r->keys, alg, kid != NULL, string_of(kid),
	    p->signed_bytes, slice_of(sig, n))) {
	case NJ_OK:
		return NJ_OK;
	case NJ_NOTFOUND:
		why_set(why, "no key of jwt_key_file is for %s%s%s%s",
		    name.p ? (const char *)name.p : "",
		    kid ? " and called '" : "",
		    kid ? text_esc(esc, sizeof esc, string_of(kid)) : "",
		    kid ? "'" : "");
		why_mend(why, "fetch the issuer's keys again, then reload");
		return NJ_DENIED;
	case NJ_NOMEM:
		return NJ_NOMEM;
	default:
		return denied(why,
		    "its signature is not by a key of "
		    "jwt_key_file",
		    NULL);
	}
}

/* -- the claims ---------------------------------------------------------- */

/* A time; false when there is something else. */
static bool
seconds_of(const json_t *v, int64_t *out)
{
	double d = json_number_value(v);

	if (!json_is_number(v) || !(d >= 0 && d < SECONDS_MAX))
		return false;
	*out = json_is_integer(v) ? (int64_t)json_integer_value(v) : (int64_t)d;
	return true;
}

static enum nj_err
late(struct nj_why *why, const char *what, int64_t by, const char *mend)
{
	why_set(why, what, (long long)by);
	why_mend(why, "%s", mend);
	return NJ_TIMEOUT;
}

static enum nj_err
check_times(const json_t *c, const struct jwt_rules *r, int64_t now,
    struct jwt *out, struct nj_why *why)
{
	const char *const starts[] = { "nbf", "iat" };
	int64_t skew = r->skew_s, t = 0;

	if (!seconds_of(json_object_get(c, "exp"), &t))
		return denied(why, "it has no exp, or one that is no time",
		    "issue tokens that end");
	/* not with -- so that nothing runs over */
	if (now >= t && now - t >= skew)
		return late(why, "it ended %lld s ago", now - t,
		    "give the client a new one; if it is new, set the clocks");
	out->expires = t + skew;
	for (size_t i = 0; i < 2; i++) {
		const json_t *v = json_object_get(c, starts[i]);

		if (!v)
			continue;
		if (!seconds_of(v, &t))
			return denied(why, "its nbf or iat is no time", NULL);
		if (t > now && t - now > skew)
			return late(why, "it begins in %lld s", t - now,
			    "set the clocks, here and at the issuer's");
	}
	return NJ_OK;
}

static bool
audience_has(const json_t *aud, const char *want)
{
	if (json_is_string(aud))
		return slice_is(string_of(aud), want);
	for (size_t i = 0; i < json_array_size(aud); i++)
		if (json_is_string(json_array_get(aud, i)) &&
		    slice_is(string_of(json_array_get(aud, i)), want))
			return true;
	return false;
}

static enum nj_err
check_parties(const json_t *c, const struct jwt_rules *r, struct nj_why *why)
{
	const json_t *aud = json_object_get(c, "aud");
	const json_t *iss = json_object_get(c, "iss");
	char esc[TEXT_ESC];

	if (r->issuer && !(iss && slice_is(string_of(iss), r->issuer))) {
		why_set(why, "its issuer is '%s', not that of jwt_issuer",
		    text_esc(esc, sizeof esc, string_of(iss)));
		return NJ_DENIED;
	}
	/* RFC 7519 4.1.3: who is not in the audience refuses it */
	if (!r->audience && aud)
		return denied(why, "it is for an audience (aud)",
		    "say with jwt_audience what we are called in it");
	if (r->audience && !audience_has(aud, r->audience))
		return denied(
		    why, "it is for another audience than jwt_audience", NULL);
	return NJ_OK;
}

/* What may stand in a name: nothing that is something else in a topic or in
 * the log. */
static bool
name_ok(struct slice s, size_t max)
{
	if (s.n == 0 || s.n > max || !utf8_ok(s))
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < 0x20 || s.p[i] == 0x7f || strchr("+#", s.p[i]))
			return false;
	return true;
}

static enum nj_err
take_name(
    const json_t *c, const char *claim, struct buf *out, struct nj_why *why)
{
	struct slice s = string_of(json_object_get(c, claim));
	char esc[TEXT_ESC];

	if (name_ok(s, JWT_NAME_MAX))
		return buf_put_slice(out, s);
	why_set(why,
	    "its claim %s is missing, no string, too long, or has a control "
	    "character, + or #",
	    text_esc(esc, sizeof esc, slice_str(claim)));
	return NJ_DENIED;
}

static enum nj_err
put_group(struct buf *out, struct slice s, struct nj_why *why)
{
	enum nj_err e;

	if (!name_ok(s, JWT_GROUP_MAX))
		return denied(why, "a group in it is no name", NULL);
	if ((e = buf_put_slice(out, s)))
		return e;
	return buf_put_u8(out, '\n');
}

/* A list of names, or names with blanks between, as OAuth's scope. */
static enum nj_err
take_groups(const json_t *v, struct buf *out, struct nj_why *why)
{
	struct slice rest = string_of(v);
	enum nj_err e = NJ_OK;
	size_t n = 0;

	if (!v)
		return NJ_OK;
	if (json_is_array(v)) {
		if (json_array_size(v) > JWT_GROUPS_MAX)
			return denied(why, "it has more than 64 groups", NULL);
		for (size_t i = 0; i < json_array_size(v) && !e; i++)
			e = put_group(
			    out, string_of(json_array_get(v, i)), why);
		return e;
	}
	if (!json_is_string(v))
		return denied(why, "its groups are no list", NULL);
	while (rest.n > 0 && !e) {
		const uint8_t *blank = memchr(rest.p, ' ', rest.n);
		size_t len = blank ? (size_t)(blank - rest.p) : rest.n;

		if (len > 0 && ++n > JWT_GROUPS_MAX)
			return denied(why, "it has more than 64 groups", NULL);
		if (len > 0)
			e = put_group(out, slice_of(rest.p, len), why);
		len += blank ? 1 : 0;
		rest = slice_of(rest.p + len, rest.n - len);
	}
	return e;
}

static enum nj_err
take_filters(const json_t *v, uint8_t kind, size_t *n, struct buf *out,
    struct nj_why *why)
{
	enum nj_err e = NJ_OK;

	if (!v)
		return NJ_OK;
	if (!json_is_array(v))
		return denied(why, "its topics are no lists", NULL);
	for (size_t i = 0; i < json_array_size(v) && !e; i++) {
		struct slice s = string_of(json_array_get(v, i));

		if (++*n > JWT_TOPICS_MAX)
			return denied(why, "it has more than 256 topics", NULL);
		if (!s.p || !topic_filter_ok(s) || memchr(s.p, '\n', s.n))
			return denied(why, "a topic in it is none", NULL);
		if ((e = buf_put_u8(out, kind)) || (e = buf_put_slice(out, s)))
			return e;
		e = buf_put_u8(out, '\n');
	}
	return e;
}

/* {"publish": [...], "subscribe": [...]}; missing: what others may. */
static enum nj_err
take_topics(const json_t *v, struct jwt *out, struct nj_why *why)
{
	size_t n = 0;
	enum nj_err e;

	if (!v)
		return NJ_OK;
	if (!json_is_object(v))
		return denied(why, "its topics are no object", NULL);
	out->has_topics = true;
	if ((e = take_filters(
		 json_object_get(v, "publish"), 'P', &n, &out->topics, why)))
		return e;
	return take_filters(
	    json_object_get(v, "subscribe"), 'S', &n, &out->topics, why);
}

static enum nj_err
check_claims(const json_t *c, const struct jwt_rules *r, int64_t now,
    struct jwt *out, struct nj_why *why)
{
	enum nj_err e;

	if ((e = check_parties(c, r, why)) ||
	    (e = check_times(c, r, now, out, why)) ||
	    (e = take_name(c, r->username, &out->name, why)))
		return e;
	if (r->client_id &&
	    (e = take_name(c, r->client_id, &out->client_id, why)))
		return e;
	if (r->groups &&
	    (e = take_groups(json_object_get(c, r->groups), &out->groups, why)))
		return e;
	return r->topics ? take_topics(json_object_get(c, r->topics), out, why)
			 : NJ_OK;
}

enum nj_err
jwt_check(struct slice token, const struct jwt_rules *r, int64_t now,
    struct jwt *out, struct nj_why *why)
{
	struct jwt t = { 0 };
	struct parts p;
	json_t *head = NULL, *claims = NULL;
	enum nj_err e = NJ_MALFORMED;

	why_set(why, "it is no JSON Web Token");
	if (!split(token, &p) || !(head = object_of(p.head)))
		goto out;
	/* nothing of the claims is looked at before the signature is good */
	if ((e = check_head(&p, head, r, why)))
		goto out;
	if (!(claims = object_of(p.claims))) {
		e = denied(why, "its claims are no JSON object", NULL);
		goto out;
	}
	e = check_claims(claims, r, now, &t, why);
out:
	json_decref(head);
	json_decref(claims);
	if (e)
		jwt_fini(&t);
	else
		*out = t;
	return e;
}

void
jwt_fini(struct jwt *t)
{
	buf_fini(&t->name);
	buf_fini(&t->client_id);
	buf_fini(&t->groups);
	buf_fini(&t->topics);
}

/* -- topics -------------------------------------------------------------- */

static bool
next_filter(struct slice *rest, uint8_t kind, struct slice *filter)
{
	while (rest->n > 0) {
		const uint8_t *end = memchr(rest->p, '\n', rest->n);
		size_t n = end ? (size_t)(end - rest->p) : rest->n;
		bool is = n > 0 && rest->p[0] == kind;

		if (is)
			*filter = slice_of(rest->p + 1, n - 1);
		n += end ? 1 : 0;
		*rest = slice_of(rest->p + n, rest->n - n);
		if (is)
			return true;
	}
	return false;
}

bool
jwt_topics_allow(struct slice topics, bool publish, struct slice name)
{
	struct slice filter;

	while (next_filter(&topics, publish ? 'P' : 'S', &filter))
		if (topic_matches(filter, name))
			return true;
	return false;
}

bool
jwt_topics_cover(struct slice topics, struct slice filter, bool *each)
{
	struct slice mine;
	bool some = false;

	while (next_filter(&topics, 'S', &mine)) {
		if (slice_eq(mine, filter)) {
			*each = false;
			return true;
		}
		some |= topic_filters_overlap(mine, filter);
	}
	*each = true;
	return some;
}
