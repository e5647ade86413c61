/* SPDX-License-Identifier: Apache-2.0
 * qr - a text as a QR code, for a terminal or as a PNG.
 *
 * Threads: the main thread.
 */
#ifndef NJ_CMD_QR_H
#define NJ_CMD_QR_H

#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"

/* Whether this build can (libqrencode and libpng were there). */
bool qr_works(void);
/* Two rows of dots a line, in UTF-8, dark on light whatever the terminal's
 * colours are. */
NJ_MUST enum nj_err qr_print(const char *text, FILE *to, struct nj_why *why);
/* 0600: what it says may be a secret. */
NJ_MUST enum nj_err
qr_png(const char *text, const char *path, struct nj_why *why);

#endif
