/* SPDX-License-Identifier: Apache-2.0
 * sign - starts the signer process for a broker that enrols devices, or serves
 *        with a certificate of its own CA.
 *
 * Owns:    nothing.
 * Threads: the main thread, before any other is started.
 */
#ifndef NJ_CMD_SIGN_H
#define NJ_CMD_SIGN_H

#include "cmd/wiring.h"
#include "conf/conf.h"
#include "pki/signer.h"

/*
 * *out stays NULL where no listener needs one.  passphrase_file: what the
 * command line said, or NULL.  Returns when the signer has opened the CA, or
 * with what kept it from that: unless devices enrol here, that is told in *note
 * and no error.  *server: it looks after the certificate that listeners serve
 * with; if it cannot, *note says why.
 */
NJ_MUST enum nj_err
sign_start(const struct conf *c, const char *passphrase_file,
    struct signer **out, bool *server, struct nj_why *note, struct nj_why *why);
/* Tells the listeners of the CA, and lends them s and workers. */
NJ_MUST enum nj_err sign_wire(const struct conf *c, struct signer *s,
    struct workers *workers, struct wiring *w);

#endif
