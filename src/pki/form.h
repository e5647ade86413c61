/* SPDX-License-Identifier: Apache-2.0
 * form - the shape in which a certificate's or key's file has come, and the
 *        ways in which editors, mail programs and Windows spoil it.
 *
 * Owns:    nothing.
 * Threads: any.
 * Bounds:  the input's length; nothing it makes is longer than twice that.
 * Spec:    RFC 7468, RFC 1421 4.6 (PEM), X.690 (DER).
 */
#ifndef NJ_PKI_FORM_H
#define NJ_PKI_FORM_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

enum pki_form_kind {
	PKI_FORM_EMPTY,
	PKI_FORM_PEM,	  /* it has "BEGIN something" in it */
	PKI_FORM_DER,	  /* binary */
	PKI_FORM_BASE64,  /* PEM without its BEGIN and END lines */
	PKI_FORM_DUMP,	  /* what `openssl x509 -text` prints */
	PKI_FORM_HTML,	  /* a web page was saved */
	PKI_FORM_JKS,	  /* Java's own keystore */
	PKI_FORM_SSH_KEY, /* a key of OpenSSH or PuTTY */
	PKI_FORM_SSH_PUB, /* "ssh-rsa AAAA..." */
	PKI_FORM_OTHER
};

struct pki_form {
	enum pki_form_kind kind;
	/* What keeps programs from reading it. */
	bool bom;      /* a byte order mark comes first */
	bool utf16;    /* two bytes a letter */
	bool one_line; /* "\n" written out instead of line ends */
	bool cr_only;  /* line ends of an old Mac */
	bool indented; /* BEGIN is not at the start of its line */
	bool dashes;   /* not five hyphens around BEGIN */
	bool cut;      /* a BEGIN without its END */
	bool glued;    /* BEGIN behind an END, on one line */
	bool joined;   /* line ends turned into blanks */
	/* What does not. */
	bool crlf; /* Windows line ends */
};

struct pki_form pki_form_of(struct slice bytes);
/* What is wrong with the shape of a file that holds no readable PEM, "'x' is
 * in DER form; PEM is expected", and what mends it.  False: nothing that can
 * be told from the shape. */
bool pki_form_explain(const char *path, struct slice bytes, struct nj_why *why);

/*
 * The same contents as PEM that every program reads: ASCII, one newline a
 * line, 64 letters a line; DER and others are copied as they are.  What stands
 * between the blocks is left out.
 */
NJ_MUST enum nj_err pki_form_clean(struct slice bytes, struct buf *out);

#endif
