/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/question.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "net/tls.h"
#include "pki/crl.h"

/* RFC 7030 4.5.2: an EC key on P-256, ecdsa-with-SHA256. */
static const uint8_t csr_attrs[] = { 0x30, 0x21, 0x30, 0x15, 0x06, 0x07, 0x2a,
	0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x31, 0x0a, 0x06, 0x08, 0x2a, 0x86,
	0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
	0x3d, 0x04, 0x03, 0x02 };

struct slice
question_attributes(void)
{
	return slice_of(csr_attrs, sizeof csr_attrs);
}

/* BIO to buffer; frees the BIO. */
static bool
take_bio(BIO *bio, bool ok, struct buf *out)
{
	char *p = NULL;
	long n = bio ? BIO_get_mem_data(bio, &p) : 0;

	ok = ok && n > 0 && buf_put(out, p, (size_t)n) == NJ_OK;
	BIO_free(bio);
	return ok;
}

enum nj_err
question_pem(struct slice ders, struct buf *out)
{
	BIO *bio = BIO_new(BIO_s_mem());
	bool ok = bio != NULL;

	while (ok && ders.p && ders.n > 0) {
		struct slice der = SLICE_NONE;
		const unsigned char *p;
		X509 *x;

		if (take_bin(&ders, &der))
			break;
		p = der.p;
		x = d2i_X509(NULL, &p, (long)der.n);
		ok = x && PEM_write_bio_X509(bio, x) == 1;
		X509_free(x);
	}
	return take_bio(bio, ok, out) ? NJ_OK : NJ_CRYPTO;
}

static void
read_crl(struct question *q)
{
	struct buf text = { 0 };
	X509_CRL *crl = NULL;
	BIO *in = NULL, *out = NULL;
	bool ok = q->opts->crl &&
	    file_read(q->opts->crl, PKI_CRL_MAX, &text, NULL) == NJ_OK &&
	    buf_len(&text) > 0 &&
	    (in = BIO_new_mem_buf(buf_slice(&text).p, (int)buf_len(&text))) &&
	    (crl = PEM_read_bio_X509_CRL(in, NULL, NULL, NULL)) &&
	    (out = BIO_new(BIO_s_mem())) && i2d_X509_CRL_bio(out, crl) == 1;

	q->answer.result =
	    take_bio(out, ok, &q->body) ? ENROL_OK : ENROL_FAILED;
	why_set(&q->answer.why, "there is no revocation list");
	X509_CRL_free(crl);
	BIO_free(in);
	buf_fini(&text);
}

/* On a worker. */
static void
run(struct job *j)
{
	struct question *q = LIST_OWNER(j, struct question, job);
	struct enrol_ask ask = { .token = slice_str(q->token),
		.name = slice_str(q->name),
		.from = slice_str(q->from),
		.csr = buf_slice(&q->csr) };

	q->answer.result = ENROL_FAILED;
	why_set(&q->answer.why, "the signer of the CA was not started");
	switch (
	    q->opts->signer || q->op == QUESTION_CRL_FILE ? (int)q->op : -1) {
	case QUESTION_ENROLL:
	case QUESTION_REENROLL:
		memcpy(ask.serial, q->serial, sizeof ask.serial);
		memcpy(ask.spki, q->spki, sizeof ask.spki);
		signer_enrol(q->opts->signer, &ask, &q->answer);
		break;
	case QUESTION_CACERTS:
		signer_cas(q->opts->signer, &q->answer);
		break;
	case QUESTION_CA_FILE:
		signer_cas(q->opts->signer, &q->answer);
		if (q->answer.result == ENROL_OK &&
		    question_pem(buf_slice(&q->answer.certs), &q->body))
			q->answer.result = ENROL_FAILED;
		break;
	case QUESTION_CRL_FILE:
		read_crl(q);
		break;
	}
	ERR_clear_error();
	shard_post(q->shard, &q->letter);
}

enum nj_err
question_ask(struct question *q, enum letter_kind kind)
{
	q->job.run = run;
	q->letter.kind = kind;
	return workers_submit(q->opts->workers, &q->job);
}

void
question_fini(struct question *q)
{
	buf_fini(&q->answer.certs);
	buf_fini(&q->body);
	buf_fini(&q->csr);
}

bool
question_take_cert(struct question *q, const struct conn *c)
{
	const struct tls_peer *p = stream_tls(c->stream);

	if (!p || !p->has_cert || strlen(p->serial) >= sizeof q->serial)
		return false;
	memcpy(q->serial, p->serial, strlen(p->serial) + 1);
	for (size_t i = 0; i < sizeof p->spki_sha256; i++)
		(void)snprintf(q->spki + 2 * i, 3, "%02x", p->spki_sha256[i]);
	return true;
}

unsigned
question_status(const struct question *q)
{
	switch (q->answer.result) {
	case ENROL_OK:
		return 200;
	case ENROL_WAIT:
		return 202;
	case ENROL_DENIED:
		return q->op == QUESTION_ENROLL ? 401 : 403;
	case ENROL_REFUSED:
		return 400;
	case ENROL_FAILED:
		break;
	}
	return 503;
}

void
question_log(const struct question *q, const char *peer, const char *how)
{
	const struct signer_answer *a = &q->answer;

	switch (a->result) {
	case ENROL_OK:
		if (q->op == QUESTION_ENROLL || q->op == QUESTION_REENROLL)
			nj_log(LOG_T_NOTICE,
			    "%s a certificate for '%s' at %s%s.",
			    q->op == QUESTION_REENROLL ? "Renewed" : "Issued",
			    a->id, peer, how);
		break;
	case ENROL_WAIT:
		nj_log(LOG_T_NOTICE,
		    "A certificate for '%s' at %s waits for approval: nightjar "
		    "ca approve %s",
		    a->id, peer, a->id);
		break;
	case ENROL_DENIED:
	case ENROL_REFUSED:
		break; /* told with the refusal */
	case ENROL_FAILED:
		nj_log(LOG_T_ERROR, "Enrolment for %s failed: %s. %s", peer,
		    a->why.what, a->why.mend);
		break;
	}
}
