/* SPDX-License-Identifier: Apache-2.0
 */
#include "cmd/wiring_files.h"

#include "auth/psk_file.h"
#include "base/file.h"
#include "base/log.h"

enum nj_err
wiring_check_file(const struct conf *c, const char *path, struct nj_why *why)
{
	return file_check_rules(
	    path, c->allow_linked_files, !c->refuse_exposed_files, why);
}

enum nj_err
wiring_check_files(
    const struct conf *c, const struct conf_listener *l, struct nj_why *why)
{
	enum nj_err e = NJ_OK;

	if (l->password_file)
		e = wiring_check_file(c, l->password_file, why);
	if (!e && l->acl_file)
		e = wiring_check_file(c, l->acl_file, why);
	return e;
}

static size_t
psk_key(const void *arg, struct slice identity, uint8_t key[TLS_PSK_MAX],
    bool *known)
{
	_Static_assert(PSK_KEY_MAX == TLS_PSK_MAX, "the same keys");
	return psk_file_key(arg, identity, key, known);
}

static void
psk_done(const void *arg)
{
	psk_file_unref((struct psk_file *)(uintptr_t)arg);
}

enum nj_err
wiring_psk(const struct conf *c, const struct conf_listener *l,
    struct tls_psk *out, struct nj_why *why)
{
	struct psk_file *f = NULL;
	struct psk_file_info info;
	enum nj_err e;

	/* the keys stand there as they are */
	if ((e = file_check_rules(
		 l->psk_file, c->allow_linked_files, false, why)) ||
	    (e = psk_file_load(l->psk_file, &f, why)))
		return e;
	psk_file_info(f, &info);
	if (info.short_keys)
		nj_log(LOG_T_WARNING,
		    "Warning: %zu of the %zu keys of %s are shorter than %d "
		    "bytes and can be guessed. To mend it: openssl rand -hex "
		    "32",
		    info.short_keys, info.identities, l->psk_file,
		    PSK_KEY_SHORT);
	*out = (struct tls_psk){ psk_key, f, psk_done, l->psk_hint };
	return NJ_OK;
}
