/* SPDX-License-Identifier: Apache-2.0
 * tls_bio - the thread's scratch, and OpenSSL's way in and out of it.
 *
 * One BIO serves all streams of a thread: it holds nothing of a connection.
 */
#include <openssl/bio.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls_impl.h"

static int
scratch_read(BIO *b, char *dst, size_t cap, size_t *n)
{
	struct stream_scratch *sc = BIO_get_data(b);
	const struct tls_stream *s = (const struct tls_stream *)sc->cur;
	size_t have = sc->in_whole - sc->in_at;

	BIO_clear_retry_flags(b);
	if (have == 0 || s->flooded) {
		BIO_set_retry_read(b);
		return 0;
	}
	if (have > cap)
		have = cap;
	memcpy(dst, sc->in + sc->in_at, have);
	sc->in_at += have;
	*n = have;
	return 1;
}

/* The callers leave room; only a flight of certificates beyond
 * TLS_CHAIN_MAX could not fit, and those are refused when loaded. */
static int
scratch_write(BIO *b, const char *src, size_t len, size_t *n)
{
	struct stream_scratch *sc = BIO_get_data(b);

	BIO_clear_retry_flags(b);
	if (SCRATCH_OUT - sc->out_len < len)
		return 0;
	memcpy(sc->out + sc->out_len, src, len);
	sc->out_len += len;
	*n = len;
	return 1;
}

static long
scratch_ctrl(BIO *b, int cmd, long num, void *ptr)
{
	/* Flushing is ours, at the end of the call. */
	return cmd == BIO_CTRL_FLUSH;
}

/* Written once, read by all. */
static BIO_METHOD *method;
static pthread_once_t method_once = PTHREAD_ONCE_INIT;

static void
method_make(void)
{
	BIO_METHOD *m =
	    BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "scratch");

	if (!m)
		return;
	if (BIO_meth_set_read_ex(m, scratch_read) &&
	    BIO_meth_set_write_ex(m, scratch_write) &&
	    BIO_meth_set_ctrl(m, scratch_ctrl))
		method = m;
	else
		BIO_meth_free(m);
}

enum nj_err
stream_scratch_new(struct stream_scratch **out)
{
	struct stream_scratch *sc = calloc(1, sizeof *sc);

	if (!sc)
		return NJ_NOMEM;
	(void)pthread_once(&method_once, method_make);
	sc->in = malloc(SCRATCH_IN);
	sc->out = malloc(SCRATCH_OUT);
	sc->plain = malloc(TLS_PLAIN_MAX);
	if (!sc->in || !sc->out || !sc->plain || !method ||
	    !(sc->bio = BIO_new(method))) {
		stream_scratch_free(sc);
		return NJ_NOMEM;
	}
	BIO_set_data(sc->bio, sc);
	BIO_set_init(sc->bio, 1);
	*out = sc;
	return NJ_OK;
}

void
stream_scratch_free(struct stream_scratch *sc)
{
	if (!sc)
		return;
	BIO_free(sc->bio);
	free(sc->in);
	free(sc->out);
	free(sc->plain);
	free(sc);
}
