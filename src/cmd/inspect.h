/* SPDX-License-Identifier: Apache-2.0
 * inspect - how `nightjar inspect` and `nightjar doctor` print what pki/inspect
 *           found.
 *
 * Owns:    nothing.
 * Threads: the main thread.
 */
#ifndef NJ_CMD_INSPECT_H
#define NJ_CMD_INSPECT_H

#include "pki/inspect.h"

/* Every item in words, with what it may be used for. */
void inspect_print_items(const struct pki_items *s);
/* Findings, the worst first; how many there were. */
void inspect_print_findings(const struct pki_inspection *in);
NJ_MUST enum nj_err inspect_print_json(const struct pki_inspection *in);
/* Certificates in the order in which they are sent, lists and requests, and
 * keys if asked for, as PEM on stdout. */
NJ_MUST enum nj_err
inspect_print_pem(const struct pki_items *s, bool certs, bool keys);

#endif
