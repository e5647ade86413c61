/* SPDX-License-Identifier: Apache-2.0
 * tls_load - what the parts of loading a listener's files share.
 */
#ifndef NJ_NET_TLS_LOAD_H
#define NJ_NET_TLS_LOAD_H

#include "net/tls_impl.h"

struct tls_loader {
	const struct tls_server_opts *o;
	tls_fault_fn *fn;
	void *arg;
	struct tls_material *m;
	bool fatal;
};

void tls_load_fault(struct tls_loader *l, bool fatal, const struct nj_why *why);
/* tls_judge.c: certfile by itself; and what does not fit together. */
void tls_judge_chain(struct tls_loader *l);
void tls_judge_together(struct tls_loader *l);

#endif
