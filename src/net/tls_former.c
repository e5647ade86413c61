/* SPDX-License-Identifier: Apache-2.0
 * tls_former - what a reload has replaced, and connections still use.
 *
 * The last of them would free it: contexts, and perhaps a list of a hundred
 * thousand revoked certificates.  That is not a shard's work, so who came in its
 * place holds it until nobody else does, and is asked from time to time.
 */
#include "net/tls_impl.h"

void
tls_server_bury(struct tls_server *t)
{
	struct tls_server **at = &t->former, *was;

	while ((was = *at)) {
		/* no new ones come: whom nobody has now nobody will have */
		if (atomic_load(&was->refs) > 1) {
			at = &was->former;
			continue;
		}
		*at = was->former;
		was->former = NULL;
		tls_server_unref(was);
	}
}

void
tls_former_fini(struct tls_server *t)
{
	struct tls_server *was;

	while ((was = t->former)) {
		if (atomic_load(&was->refs) > 1) {
			tls_server_unref(was);
			break;
		}
		t->former = was->former;
		was->former = NULL;
		tls_server_unref(was);
	}
}
