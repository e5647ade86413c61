/* SPDX-License-Identifier: Apache-2.0
 * tls_former - what a reload has replaced, and connections still use.
 *
 * The last of them would free it: contexts, and perhaps a list of a hundred
 * thousand revoked certificates.  That is not a shard's work, so who came in its
 * place holds it until nobody else does, and is asked from time to time.
 *
 * Former ones look up revoked certificates in the lists of who came in their place:
 * what is revoked since holds for their handshakes, too, and there is one copy of the
 * lists however many there are.
 */
#include "net/tls_impl.h"

void
tls_former_lists(struct tls_server *t, struct tls_revoked *old)
{
	struct tls_revoked *new = tls_server_revoked(t), *had;

	/* those that one has are another's as a rule, so they end after the last */
	for (struct tls_server *was = t->former; was; was = was->former) {
		had = tls_server_put_lists(was, tls_revoked_ref(new));
		if (had == new || had == old)
			tls_revoked_unref(had);
		else {
			tls_revoked_end(old);
			old = had;
		}
	}
	tls_revoked_unref(new);
	tls_revoked_end(old);
}

void
tls_server_bury(struct tls_server *t)
{
	struct tls_server **at = &t->former, *was;

	tls_former_lists(t, NULL);
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
