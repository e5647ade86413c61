/* SPDX-License-Identifier: Apache-2.0 */
#include "pki/signer.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "pki/crl.h"

#define OP_ENROL  1
#define OP_CAS	  2
#define OP_SERVER 3
#define OP_LOOK	  4

#define RENEW_LIST_BEFORE_S (6 * 86400) /* of its 7 days: daily */
#define SIGNER_FILES	    5
#define LOOK_AT_LIST_MS	    (3600 * 1000)
#define SIGNER_ROOM	    (sizeof(uint32_t) + SIGNER_MESSAGE_MAX)

/* -- certificates on the way ------------------------------------------------ */

static enum nj_err
put_cert(struct buf *b, X509 *x)
{
	unsigned char *der = NULL;
	int n = i2d_X509(x, &der);
	enum nj_err e = NJ_CRYPTO;

	if (n > 0 && n <= UINT16_MAX && !(e = buf_put_u16(b, (uint16_t)n)))
		e = buf_put(b, der, (size_t)n);
	OPENSSL_free(der);
	return e;
}

static enum nj_err
put_chain(struct buf *b, const STACK_OF(X509) * chain)
{
	enum nj_err e = NJ_OK;

	for (int i = 0; !e && i < sk_X509_num(chain); i++)
		e = put_cert(b, sk_X509_value(chain, i));
	return e;
}

/* RFC 7030 4.1.3: a client that knows one root finds the other by these. */
static enum nj_err
put_rollover(struct buf *b, const struct pki_ca *ca)
{
	const STACK_OF(X509) *more = pki_ca_rollover(ca);
	const STACK_OF(X509) *chain = pki_ca_chain(ca);
	enum nj_err e = NJ_OK;

	for (int i = 0; !e && more && i < sk_X509_num(more); i++) {
		X509 *x = sk_X509_value(more, i);
		bool there = false;

		for (int k = 0; k < sk_X509_num(chain); k++)
			there |= X509_cmp(x, sk_X509_value(chain, k)) == 0;
		if (!there)
			e = put_cert(b, x);
	}
	return e;
}

static enum nj_err
put_bin(struct buf *b, struct slice s)
{
	enum nj_err e;

	if (s.n > UINT16_MAX)
		return NJ_TOOBIG;
	if ((e = buf_put_u16(b, (uint16_t)s.n)))
		return e;
	return buf_put_slice(b, s);
}

/* -- the signer's side ------------------------------------------------------ */

/* result, id, what, mend, certificates to the end */
static enum nj_err
put_answer(struct buf *out, enum enrol_result res, const char *id,
    const struct nj_why *why)
{
	enum nj_err e;

	if ((e = buf_put_u8(out, (uint8_t)res)) ||
	    (e = put_bin(out, slice_str(id))) ||
	    (e = put_bin(out, slice_str(why->what))))
		return e;
	return put_bin(out, slice_str(why->mend));
}

static enum nj_err
take_text(struct slice *s, char *dst, size_t size)
{
	struct slice v = SLICE_NONE;
	enum nj_err e;

	if ((e = take_bin(s, &v)))
		return e;
	if (v.n >= size)
		return NJ_TOOBIG;
	if (v.n > 0)
		memcpy(dst, v.p, v.n);
	dst[v.n] = '\0';
	return NJ_OK;
}

static enum nj_err
answer_enrol(struct pki_ca *ca, struct slice q, struct buf *out)
{
	char id[PKI_ID_MAX + 1] = "";
	struct nj_why why = { 0 };
	struct enrol_ask ask = { 0 };
	enum enrol_result res;
	X509 *x = NULL;
	enum nj_err e;

	if ((e = take_bin(&q, &ask.token)) || (e = take_bin(&q, &ask.name)) ||
	    (e = take_text(&q, ask.serial, sizeof ask.serial)) ||
	    (e = take_text(&q, ask.spki, sizeof ask.spki)) ||
	    (e = take_bin(&q, &ask.from)) || (e = take_bin(&q, &ask.csr)))
		return e;
	/* one proof, not none */
	if (q.n != 0 || (ask.token.n == 0 && !ask.serial[0]))
		return NJ_MALFORMED;
	res = enrol(ca, &ask, &x, id, &why);
	e = put_answer(out, res, id, &why);
	if (!e && x && !(e = put_cert(out, x)))
		e = put_chain(out, pki_ca_chain(ca));
	X509_free(x);
	return e;
}

static enum nj_err
answer_look(struct pki_ca *ca, struct slice q, struct buf *out)
{
	struct slice token = SLICE_NONE, name = SLICE_NONE;
	char id[PKI_ID_MAX + 1] = "";
	struct nj_why why = { 0 };
	enum enrol_result res;
	enum nj_err e;

	if ((e = take_bin(&q, &token)) || (e = take_bin(&q, &name)))
		return e;
	if (q.n != 0)
		return NJ_MALFORMED;
	res = enrol_look(ca, token, name, id, &why);
	return put_answer(out, res, id, &why);
}

static enum nj_err
answer_cas(struct pki_ca *ca, struct buf *out)
{
	const struct nj_why none = { 0 };
	enum nj_err e;

	if ((e = put_answer(out, ENROL_OK, "", &none)) ||
	    (e = put_chain(out, pki_ca_roots(ca))) ||
	    (e = put_chain(out, pki_ca_chain(ca))))
		return e;
	return put_rollover(out, ca);
}

static enum nj_err
answer_server(struct pki_ca *ca, struct upkeep *up, struct buf *out)
{
	static const enum enrol_result results[] = { [UPKEEP_GOOD] = ENROL_WAIT,
		[UPKEEP_MADE] = ENROL_OK,
		[UPKEEP_LATER] = ENROL_WAIT,
		[UPKEEP_FAILED] = ENROL_FAILED };
	struct nj_why why = { 0 };
	enum enrol_result res = ENROL_WAIT;

	if (up)
		res = results[upkeep_server(up, ca, &why)];
	return put_answer(out, res, "", &why);
}

enum nj_err
signer_answer(struct pki_ca *ca, struct upkeep *up, struct slice question,
    struct buf *out)
{
	uint8_t op = 0;
	enum nj_err e;

	if ((e = take_u8(&question, &op)))
		return e;
	if (op == OP_ENROL)
		return answer_enrol(ca, question, out);
	if (op == OP_LOOK)
		return answer_look(ca, question, out);
	if (op == OP_CAS && question.n == 0)
		return answer_cas(ca, out);
	if (op == OP_SERVER && question.n == 0)
		return answer_server(ca, up, out);
	return NJ_MALFORMED;
}

static bool
unlocked(struct pki_ca *ca, const struct signer_side *side)
{
	struct nj_why why;

	return pki_ca_is_unlocked(ca) ||
	    (side->unlock && side->unlock(side->arg, ca, &why) == NJ_OK);
}

static void
refresh_list(struct pki_ca *ca, const struct signer_side *side, uint64_t *next)
{
	uint64_t mono = clock_mono(side->clock);
	int64_t until;

	if (mono < *next)
		return;
	*next = mono + LOOK_AT_LIST_MS;
	until = pki_crl_until(pki_ca_dir(ca));
	if ((until < (int64_t)time(NULL) + RENEW_LIST_BEFORE_S ||
		pki_crl_is_behind(ca)) &&
	    (until != 0 || side->list) && unlocked(ca, side))
		(void)!pki_crl_renew(ca, 0, NULL);
	enrol_sweep(ca);
}

/* What a roll-over changes. */
static void
look(const struct pki_ca *ca, struct stat v[SIGNER_FILES])
{
	static const char *const files[SIGNER_FILES] = { "pki/ca.crt",
		"pki/ca.key", "pki/issuing.crt", "pki/bridge.crt",
		"pki/cross.crt" };

	for (size_t i = 0; i < SIGNER_FILES; i++) {
		char *path = pki_path(pki_ca_dir(ca), files[i]);

		if (!path || stat(path, &v[i]) != 0)
			memset(&v[i], 0, sizeof v[i]);
		free(path);
	}
}

static bool
same(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_size == b->st_size &&
	    a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	    a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* The CA as it is now, where its files changed and can be opened. */
static void
follow(struct pki_ca **ca, struct stat was[SIGNER_FILES],
    const struct signer_side *side)
{
	struct stat now[SIGNER_FILES];
	struct pki_ca *new = NULL;
	bool changed = false;

	look(*ca, now);
	for (size_t i = 0; i < SIGNER_FILES; i++)
		changed |= !same(&was[i], &now[i]);
	if (!changed || !side->open || !(new = side->open(pki_ca_dir(*ca))))
		return;
	/* who was unlocked stays so, or is not taken */
	if (pki_ca_is_unlocked(*ca) && !unlocked(new, side)) {
		pki_ca_free(new);
		return;
	}
	pki_ca_free(*ca);
	*ca = new;
	memcpy(was, now, sizeof now);
}

/* Devices enrol with a CA that is unlocked; a question about the server's
 * certificate seldom needs its key. */
static void
answer_one(struct pki_ca *ca, struct upkeep *up, const struct signer_side *side,
    struct slice q, struct buf *out)
{
	bool ready = q.n > 0 && (q.p[0] != OP_ENROL || unlocked(ca, side));

	if (ready &&
	    signer_answer(ca, side->server ? up : NULL, q, out) == NJ_OK)
		return;
	buf_fini(out); /* which no answer is: it failed */
}

/* The number of a question is that of its answer. */
static ssize_t
reply(int fd, uint32_t number, struct slice answer)
{
	struct iovec v[2] = { { &number, sizeof number },
		{ (void *)(uintptr_t)answer.p, answer.n } };
	const struct msghdr m = { .msg_iov = v, .msg_iovlen = 2 };

	return sendmsg(fd, &m, MSG_NOSIGNAL);
}

void
signer_serve(struct pki_ca **ca, int fd, const struct signer_side *side)
{
	uint8_t *q = malloc(SIGNER_ROOM);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct upkeep up = { .clock = side->clock,
		.addresses = side->addresses,
		.unlock = side->unlock,
		.arg = side->arg };
	struct stat was[SIGNER_FILES];
	uint64_t look_at = 0;

	look(*ca, was);
	while (q) {
		struct buf out = { 0 };
		uint32_t number;
		ssize_t n;
		int ready;

		refresh_list(*ca, side, &look_at);
		ready = poll(&p, 1, LOOK_AT_LIST_MS);
		if (ready < 0 && errno == EINTR)
			continue;
		follow(ca, was, side);
		if (ready == 0)
			continue;
		n = recv(fd, q, SIGNER_ROOM, 0);
		if (n < (ssize_t)sizeof number)
			break; /* the broker has ended */
		memcpy(&number, q, sizeof number);
		answer_one(*ca, &up, side,
		    slice_of(q + sizeof number, (size_t)n - sizeof number),
		    &out);
		n = reply(fd, number, buf_slice(&out));
		buf_fini(&out);
		if (n < 0)
			break;
	}
	free(q);
}

/* -- the broker's side ------------------------------------------------------ */

struct signer {
	int fd;
	pthread_mutex_t lock;	  /* one question at a time */
	uint32_t asked, answered; /* numbers of the last ones */
	/* number of signer_server's question, 0 when it was heard; its answer,
	 * when that came after the question was given up */
	uint32_t server;
	struct buf late;
};

enum nj_err
signer_new(int fd, struct signer **out)
{
	struct signer *s = calloc(1, sizeof *s);

	if (!s)
		return NJ_NOMEM;
	s->fd = fd;
	(void)pthread_mutex_init(&s->lock, NULL);
	*out = s;
	return NJ_OK;
}

void
signer_free(struct signer *s)
{
	if (!s)
		return;
	(void)close(s->fd);
	(void)pthread_mutex_destroy(&s->lock);
	buf_fini(&s->late);
	free(s);
}

enum nj_err
signer_read(struct slice a, struct signer_answer *out)
{
	uint8_t res = 0;
	enum nj_err e;

	if ((e = take_u8(&a, &res)) || res > ENROL_FAILED ||
	    (e = take_text(&a, out->id, sizeof out->id)) ||
	    (e = take_text(&a, out->why.what, sizeof out->why.what)) ||
	    (e = take_text(&a, out->why.mend, sizeof out->why.mend)))
		return e ? e : NJ_MALFORMED;
	if ((e = buf_put_slice(&out->certs, a)))
		return e;
	out->result = (enum enrol_result)res;
	return NJ_OK;
}

static bool
say(struct signer *s, struct slice question)
{
	uint32_t number = s->asked + 1;
	struct iovec v[2] = { { &number, sizeof number },
		{ (void *)(uintptr_t)question.p, question.n } };
	const struct msghdr m = { .msg_iov = v, .msg_iovlen = 2 };

	if (sendmsg(s->fd, &m, MSG_NOSIGNAL) < 0)
		return false;
	s->asked = number;
	return true;
}

/* What was done about the server's certificate is told once: the one who asks
 * next hears it. */
static void
keep_late(struct signer *s, struct slice answer)
{
	if (s->server == 0 || s->answered != s->server)
		return;
	s->server = 0;
	buf_fini(&s->late);
	if (buf_put_slice(&s->late, answer)) /* no memory: it is lost */
		buf_fini(&s->late);
}

/* Waits for an answer to the last question, and passes over others; false: it
 * did not come by then. */
static bool
hear(struct signer *s, uint64_t until, uint8_t *room, struct slice *out)
{
	struct pollfd p = { .fd = s->fd, .events = POLLIN };

	while (s->answered != s->asked) {
		uint64_t now = clock_mono(&clock_system);
		int ready = poll(&p, 1, now < until ? (int)(until - now) : 0);
		ssize_t n;

		if (ready < 0 && errno == EINTR)
			continue;
		if (ready <= 0)
			return false;
		n = recv(s->fd, room, SIGNER_ROOM, 0);
		if (n < (ssize_t)sizeof s->answered)
			return false; /* it has ended */
		memcpy(&s->answered, room, sizeof s->answered);
		*out = slice_of(
		    room + sizeof s->answered, (size_t)n - sizeof s->answered);
		keep_late(s, *out);
	}
	return true;
}

/* False: there is none. */
static bool
take_late(struct signer *s, uint8_t *room, struct slice *out)
{
	struct slice late = buf_slice(&s->late);

	if (!late.p || late.n == 0)
		return false;
	memcpy(room, late.p, late.n);
	*out = slice_of(room, late.n);
	buf_fini(&s->late);
	return true;
}

/* While it is at one that was given up, nobody waits: they would hold up the
 * workers, who have logins to look at. */
static bool
exchange(
    struct signer *s, struct slice question, uint8_t *room, struct slice *out)
{
	const uint8_t op = OP_SERVER;
	bool server = slice_eq(question, slice_of(&op, 1));

	if (!hear(s, 0, room, out))
		return false;
	if (server && take_late(s, room, out))
		return true;
	if (!say(s, question))
		return false;
	if (server)
		s->server = s->asked;
	if (!hear(s, clock_mono(&clock_system) + SIGNER_PATIENCE_MS, room, out))
		return false;
	if (server) /* in time */
		buf_fini(&s->late);
	return true;
}

static void
ask(struct signer *s, struct slice question, struct signer_answer *out)
{
	uint8_t *room = malloc(SIGNER_ROOM);
	struct slice answer = SLICE_NONE;
	bool ok = false;

	(void)pthread_mutex_lock(&s->lock);
	if (room)
		ok = exchange(s, question, room, &answer);
	(void)pthread_mutex_unlock(&s->lock);
	if (ok && signer_read(answer, out) == NJ_OK) {
		free(room);
		return;
	}
	free(room);
	buf_fini(&out->certs);
	*out = (struct signer_answer){ .result = ENROL_FAILED };
	why_set(&out->why, "the signer does not answer");
	why_mend(&out->why,
	    "see the broker's log; while it says nothing, another program "
	    "may hold the CA's files. If it has ended, restart the broker");
}

void
signer_enrol(
    struct signer *s, const struct enrol_ask *a, struct signer_answer *out)
{
	struct buf q = { 0 };

	*out = (struct signer_answer){ .result = ENROL_FAILED };
	if (buf_put_u8(&q, OP_ENROL) || put_bin(&q, a->token) ||
	    put_bin(&q, a->name) || put_bin(&q, slice_str(a->serial)) ||
	    put_bin(&q, slice_str(a->spki)) || put_bin(&q, a->from) ||
	    put_bin(&q, a->csr))
		why_set(&out->why, "the request is too large");
	else
		ask(s, buf_slice(&q), out);
	buf_wipe(&q);
}

void
signer_look(struct signer *s, struct slice token, struct slice name,
    struct signer_answer *out)
{
	struct buf q = { 0 };

	*out = (struct signer_answer){ .result = ENROL_FAILED };
	if (buf_put_u8(&q, OP_LOOK) || put_bin(&q, token) || put_bin(&q, name))
		why_set(&out->why, "the user name is too long");
	else
		ask(s, buf_slice(&q), out);
	buf_fini(&q);
}

void
signer_cas(struct signer *s, struct signer_answer *out)
{
	const uint8_t op = OP_CAS;

	*out = (struct signer_answer){ .result = ENROL_FAILED };
	ask(s, slice_of(&op, 1), out);
}

void
signer_server(struct signer *s, struct signer_answer *out)
{
	const uint8_t op = OP_SERVER;

	*out = (struct signer_answer){ .result = ENROL_FAILED };
	ask(s, slice_of(&op, 1), out);
}
