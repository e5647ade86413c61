/* SPDX-License-Identifier: Apache-2.0
 * signer_fuzz - both ends of the signer's socket.  The first byte chooses: 0, a
 *               question, as one who has taken the broker over may send it; 1,
 *               an answer, as the broker reads it; 2, what a CA's responder
 *               says (OCSP), which comes from outside, too.
 *
 * The CA is locked: all that is judged is judged, and nothing is issued.  Where
 * a question has the serial "@", that of a device there is takes its place.
 */
#include "fuzz.h"

#include <ftw.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/secret.h"
#include "pki/issue.h"
#include "pki/ocsp.h"
#include "pki/registry.h"
#include "pki/signer.h"

static struct pki_ca *ca;
static char serial[41];
static char folder[] = "/tmp/nightjar-fuzz-XXXXXX";

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	return remove(path);
}

static void
remove_folder(void)
{
	pki_ca_free(ca);
	(void)nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static bool
keep_serial(void *arg, const struct registry_entry *e)
{
	if (strcmp(e->kind, "device") == 0)
		memcpy(arg, e->serial, sizeof e->serial);
	return true;
}

static void
make_ca(void)
{
	const struct pki_ca_opts o = { 0 };
	const struct pki_device_opts d = { .id = "dev1" };
	struct secret *pass = NULL;

	HOLDS(mkdtemp(folder) != NULL);
	HOLDS(secret_new(slice_str("correct horse"), &pass) == NJ_OK);
	HOLDS(pki_ca_init(folder, &o, pass, &ca, NULL) == NJ_OK);
	HOLDS(pki_device_issue(ca, &d, NULL) == NJ_OK);
	HOLDS(registry_each(pki_ca_registry(ca), keep_serial, serial, NULL) ==
	    NJ_OK);
	pki_ca_lock(ca);
	secret_free(pass);
	(void)atexit(remove_folder);
}

/* "\0\1@" -> the length and the serial; the caller frees the buffer. */
static struct slice
with_serial(struct slice s, struct buf *room)
{
	static const uint8_t mark[] = { 0, 1, '@' };
	const uint8_t *at = memmem(s.p, s.n, mark, sizeof mark);
	size_t before;

	if (!at)
		return s;
	before = (size_t)(at - s.p);
	HOLDS(buf_put(room, s.p, before) == NJ_OK);
	HOLDS(buf_put_u16(room, (uint16_t)strlen(serial)) == NJ_OK);
	HOLDS(buf_put_slice(room, slice_str(serial)) == NJ_OK);
	if (before + sizeof mark < s.n)
		HOLDS(buf_put(room, at + sizeof mark,
			  s.n - before - sizeof mark) == NJ_OK);
	return buf_slice(room);
}

/* An answer that the broker can read, whatever was asked. */
static void
question(struct slice in)
{
	struct signer_answer a = { .result = ENROL_FAILED };
	struct buf out = { 0 }, room = { 0 };
	struct slice s = with_serial(in, &room);

	if (signer_answer(ca, NULL, s, &out) == NJ_OK) {
		HOLDS(buf_len(&out) > 0);
		HOLDS(signer_read(buf_slice(&out), &a) == NJ_OK);
		/* nothing is issued, and so nobody is told it was */
		HOLDS(a.result != ENROL_OK || !s.p || s.p[0] != 1);
		HOLDS(a.result == ENROL_OK || a.result == ENROL_WAIT ||
		    a.why.what[0]);
	}
	buf_fini(&a.certs);
	buf_fini(&room);
	buf_fini(&out);
}

static void
answer(struct slice s)
{
	struct signer_answer a = { .result = ENROL_FAILED };

	if (signer_read(s, &a) == NJ_OK) {
		HOLDS(a.result <= ENROL_FAILED);
		HOLDS(strlen(a.id) <= PKI_ID_MAX);
		HOLDS(strlen(a.why.what) < sizeof a.why.what);
		HOLDS(buf_len(&a.certs) <= s.n);
	}
	buf_fini(&a.certs);
}

static void
responder(struct slice s)
{
	struct pki_ocsp o;
	struct nj_why why = { 0 };

	/* nobody can sign for this CA */
	HOLDS(pki_ocsp_check(s, pki_ca_root(ca), pki_ca_root(ca), 1700000000,
		  &o, &why) != NJ_OK);
	HOLDS(why.what[0]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const kinds[])(
	    struct slice) = { question, answer, responder };

	if (!ca)
		make_ca();
	if (size > 1)
		kinds[data[0] % 3](slice_of(data + 1, size - 1));
	ERR_clear_error();
	return 0;
}
