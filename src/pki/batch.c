/* SPDX-License-Identifier: Apache-2.0 */
#include "pki/batch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "pki/explain.h"
#include "pki/fleet.h"
#include "pki/key.h"
#include "pki/registry.h"

#define REMOVE_FDS 8 /* that nftw may hold */

enum state {
	TO_MAKE,
	TO_REGISTER, /* all files are written */
	TO_NAME,     /* registered, in this step or before a crash */
	DONE
};

struct device {
	const struct batch_item *item;
	char *part, *final; /* OUT/.new-ID, OUT/ID */
	enum state state;
	bool found; /* was registered before */
	struct registry_entry entry;
};

struct batch {
	struct pki_ca *ca;
	const struct batch_opts *o;
	struct registry *registry;
	struct fleet *fleet;
	STACK_OF(X509) * roots;
	int out_fd;
	struct device step[BATCH_STEP];
	size_t n;
};

/*
 * Files.
 */

static bool
exists(const char *path)
{
	struct stat st;

	return path && lstat(path, &st) == 0;
}

static enum nj_err
io_error(const char *verb, const char *path, struct nj_why *why)
{
	int err = errno;

	why_set(why, "cannot %s '%s': %s", verb, path, strerror(err));
	if (err == ENOSPC || err == EDQUOT)
		why_mend(why,
		    "free space on its disk, and run the same line again: it "
		    "goes on where it stopped");
	return err == EACCES || err == EPERM ? NJ_DENIED : NJ_IO;
}

static enum nj_err
write_all(int fd, struct slice bytes)
{
	while (bytes.n > 0) {
		ssize_t put = write(fd, bytes.p, bytes.n);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return NJ_IO;
		bytes = slice_of(bytes.p + put, bytes.n - (size_t)put);
	}
	return NJ_OK;
}

enum nj_err
batch_put(const char *folder, const char *name, struct slice bytes, mode_t mode,
    struct nj_why *why)
{
	char *path = pki_path(folder, name);
	enum nj_err e = NJ_OK;
	int fd;

	if (!path)
		return NJ_NOMEM;
	fd = open(
	    path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0 || fchmod(fd, mode) != 0 || write_all(fd, bytes))
		e = io_error("write", path, why);
	if (fd >= 0 && close(fd) != 0 && !e)
		e = io_error("write", path, why);
	free(path);
	return e;
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	return remove(path);
}

/* A folder of ours that nobody was ever given. */
static enum nj_err
remove_part(const char *path, struct nj_why *why)
{
	if (!exists(path) ||
	    nftw(path, remove_one, REMOVE_FDS, FTW_DEPTH | FTW_PHYS) == 0)
		return NJ_OK;
	return io_error("remove", path, why);
}

/* Everything below OUT, at once: ten thousand fsyncs take minutes. */
static enum nj_err
sync_out(struct batch *b, struct nj_why *why)
{
	if (syncfs(b->out_fd) == 0)
		return NJ_OK;
	return io_error("sync", b->o->out, why);
}

/*
 * One device.
 */

static void
day_of(int64_t t, char *dst, size_t size)
{
	time_t at = (time_t)t;
	struct tm tm;

	if (!gmtime_r(&at, &tm) || strftime(dst, size, "%Y-%m-%d", &tm) == 0)
		dst[0] = '\0';
}

/* The certificate in a folder, or NULL. */
static X509 *
cert_in(const char *folder)
{
	char *path = pki_path(folder, "client.crt");
	STACK_OF(X509) *chain = NULL;
	X509 *x = NULL;

	if (path && exists(path) && pki_chain_load(path, &chain, NULL) == NJ_OK)
		x = sk_X509_shift(chain);
	sk_X509_pop_free(chain, X509_free);
	free(path);
	return x;
}

static bool
is_registered(const struct batch *b, const char *id, const char *part)
{
	const struct fleet_device *d = fleet_find(b->fleet, slice_str(id));
	X509 *x = d ? cert_in(part) : NULL;
	char serial[48] = "";

	if (x)
		pki_serial(x, serial, sizeof(serial));
	X509_free(x);
	return d && serial[0] && strcmp(serial, d->serial) == 0;
}

/* Whether the folder holds the key that the registry tells of, and only the
 * certificate went away. */
static bool
has_its_key(const struct batch *b, const struct device *d, const char *want)
{
	char *path = pki_path(d->final, "client.key");
	EVP_PKEY *key = NULL;
	uint8_t spki[32];
	char hex[65] = "";

	if (path &&
	    pki_key_load(path, b->o->pass, false, &key, NULL) == NJ_OK &&
	    pki_key_spki_sha256(key, spki) == NJ_OK)
		for (size_t i = 0; i < sizeof(spki); i++)
			(void)snprintf(hex + 2 * i, 3, "%02x", spki[i]);
	EVP_PKEY_free(key);
	free(path);
	return strcmp(hex, want) == 0;
}

/* Two devices under one name cannot be told apart later. */
static enum nj_err
refuse_second(const struct batch *b, const struct device *d, struct nj_why *why)
{
	const char *id = d->item->id;
	const struct fleet_device *known = fleet_find(b->fleet, slice_str(id));
	char day[16];

	if (!known || !known->serial[0] ||
	    known->not_after <= (int64_t)time(NULL) ||
	    has_its_key(b, d, known->spki))
		return NJ_OK;
	day_of(known->not_after, day, sizeof(day));
	why_set(why,
	    "'%s' was given a certificate that is valid until %s (serial "
	    "%s), though its files are not in '%s'",
	    id, day, known->serial, b->o->out);
	why_mend(why,
	    "give this device another name, or add --again to make "
	    "a second one for it");
	return NJ_EXISTS;
}

static enum nj_err
refuse_folder(const struct device *d, struct nj_why *why)
{
	why_set(why, "'%s' has its certificate already, in '%s'", d->item->id,
	    d->final);
	why_mend(why,
	    "use that, give this device another name, or "
	    "make a new one in its place with --again");
	return NJ_EXISTS;
}

/* An id has a letter or digit first, so nothing else is called .old. */
enum nj_err
batch_set_aside(const char *out, const char *id, struct nj_why *why)
{
	char *from = pki_path(out, id), *old = pki_path(out, ".old");
	char *to = NULL, serial[48] = "unknown";
	X509 *x = from ? cert_in(from) : NULL;
	enum nj_err e = NJ_NOMEM;

	if (x)
		pki_serial(x, serial, sizeof(serial));
	if (!from || !old || asprintf(&to, "%s/%s-%s", old, id, serial) < 0) {
		to = NULL;
		goto out;
	}
	if (!(e = file_mkdir(old, 0700, why)) && rename(from, to) != 0)
		e = io_error("move", from, why);
out:
	X509_free(x);
	free(to);
	free(old);
	free(from);
	return e;
}

/* What is there of it already. */
static enum nj_err
look(const struct batch *b, struct device *d, struct nj_why *why)
{
	char *crt = pki_path(d->final, "client.crt");
	bool there = crt && exists(crt);

	free(crt);
	if (is_registered(b, d->item->id, d->part)) {
		d->state = TO_NAME;
		d->found = true;
		return NJ_OK;
	}
	if (there && b->o->keep && !b->o->again) {
		d->state = DONE;
		return NJ_OK;
	}
	if (there && !b->o->again)
		return refuse_folder(d, why);
	if (!b->o->again) {
		enum nj_err e = refuse_second(b, d, why);

		if (e)
			return e;
	}
	return NJ_OK;
}

static enum nj_err
put_pem(const char *folder, const char *name, X509 *leaf,
    const STACK_OF(X509) * chain, struct nj_why *why)
{
	struct buf text = { 0 };
	enum nj_err e = pki_chain_pem(leaf, chain, &text);

	if (!e)
		e = batch_put(folder, name, buf_slice(&text), 0644, why);
	buf_fini(&text);
	return e;
}

static enum nj_err
put_key(const struct batch *b, const char *folder, EVP_PKEY *key,
    struct nj_why *why)
{
	struct buf text = { 0 };
	enum nj_err e = pki_key_pem(key, b->o->pass, PKI_KEY_PBKDF2, &text);

	if (e)
		why_set(why, "the key could not be encoded");
	else
		e = batch_put(
		    folder, "client.key", buf_slice(&text), 0600, why);
	buf_wipe(&text);
	return e;
}

static enum nj_err
sign(struct batch *b, struct device *d, EVP_PKEY *key, X509 **out,
    struct nj_why *why)
{
	char uri[64 + PKI_CA_ID + PKI_ID_MAX];
	const struct batch_item *i = d->item;
	struct pki_cert_spec spec = { .profile = PKI_DEVICE,
		.key = key,
		.cn = i->id,
		.uri = uri,
		.names = i->names,
		.groups = i->groups,
		.days = i->days ? i->days : PKI_DEVICE_DAYS };

	(void)snprintf(uri, sizeof(uri), "urn:nightjar:%s:device:%s",
	    pki_ca_short_id(b->ca), i->id);
	return pki_ca_sign(b->ca, &spec, i->id, out, &d->entry, why);
}

static enum nj_err
put_files(struct batch *b, struct device *d, EVP_PKEY *key, X509 *leaf,
    struct nj_why *why)
{
	const struct batch_made made = { .id = d->item->id,
		.folder = d->part,
		.final = d->final,
		.key = key,
		.leaf = leaf,
		.chain = pki_ca_chain(b->ca),
		.roots = pki_ca_roots(b->ca) };
	enum nj_err e;

	if (mkdir(d->part, 0700) != 0)
		return io_error("make", d->part, why);
	if ((e = put_key(b, d->part, key, why)) ||
	    (e = put_pem(d->part, "ca.crt", NULL, made.roots, why)) ||
	    (b->o->fill && (e = b->o->fill(b->o->arg, &made, why))))
		return e;
	return put_pem(d->part, "client.crt", leaf, made.chain, why);
}

static enum nj_err
make(struct batch *b, struct device *d, struct nj_why *why)
{
	EVP_PKEY *key = NULL;
	X509 *leaf = NULL;
	enum nj_err e;

	if ((e = remove_part(d->part, why)) || (e = pki_key_new_p256(&key)))
		return e;
	if (!(e = sign(b, d, key, &leaf, why)) &&
	    !(e = put_files(b, d, key, leaf, why)))
		d->state = TO_REGISTER;
	if (e)
		(void)remove_part(d->part, NULL);
	X509_free(leaf);
	EVP_PKEY_free(key);
	return e;
}

/*
 * A step: some devices at once.
 */

static void
drop_step(struct batch *b)
{
	for (size_t i = 0; i < b->n; i++) {
		free(b->step[i].part);
		free(b->step[i].final);
	}
	memset(b->step, 0, sizeof(b->step));
	b->n = 0;
}

static enum nj_err
take_step(
    struct batch *b, const struct batch_item *v, size_t n, struct nj_why *why)
{
	enum nj_err e = NJ_OK;

	for (size_t i = 0; !e && i < n; i++) {
		struct device *d = &b->step[i];

		b->n = i + 1;
		d->item = &v[i];
		if (asprintf(&d->part, "%s/.new-%s", b->o->out, v[i].id) < 0)
			d->part = NULL;
		d->final = pki_path(b->o->out, v[i].id);
		e = d->part && d->final ? look(b, d, why) : NJ_NOMEM;
	}
	return e;
}

/* All of the step with one write.  Another process may have made one of them
 * since we looked. */
static enum nj_err
register_step(struct batch *b, struct nj_why *why)
{
	struct registry_entry *v = calloc(BATCH_STEP, sizeof(*v));
	bool grown = false;
	enum nj_err e;
	size_t n = 0;

	if (!v)
		return NJ_NOMEM;
	if ((e = registry_retake(b->registry, &grown, why))) {
		free(v);
		return e;
	}
	if (grown) {
		fleet_unref(b->fleet);
		b->fleet = NULL;
		e = fleet_load(pki_ca_registry(b->ca), &b->fleet, why);
	}
	for (size_t i = 0; !e && i < b->n; i++) {
		if (b->step[i].state != TO_REGISTER)
			continue;
		if (grown && !b->o->again)
			e = refuse_second(b, &b->step[i], why);
		v[n++] = b->step[i].entry;
	}
	if (!e && n > 0)
		e = registry_append_all(b->registry, v, n, why);
	registry_release(b->registry);
	for (size_t i = 0; !e && i < n; i++)
		e = fleet_note(b->fleet, &v[i]);
	for (size_t i = 0; !e && i < b->n; i++)
		if (b->step[i].state == TO_REGISTER)
			b->step[i].state = TO_NAME;
	free(v);
	return e;
}

static enum nj_err
name_one(struct batch *b, struct device *d, struct nj_why *why)
{
	enum nj_err e = NJ_OK;

	if (exists(d->final))
		e = batch_set_aside(b->o->out, d->item->id, why);
	if (!e && rename(d->part, d->final) != 0)
		e = io_error("name", d->final, why);
	return e;
}

static enum nj_err
name_step(struct batch *b, struct batch_result *out, struct nj_why *why)
{
	enum nj_err e = NJ_OK;

	for (size_t i = 0; !e && i < b->n; i++) {
		struct device *d = &b->step[i];

		if (d->state == DONE) {
			out->kept++;
			continue;
		}
		if ((e = name_one(b, d, why)))
			break;
		*(d->found ? &out->finished : &out->made) += 1;
	}
	return e;
}

static enum nj_err
run_step(struct batch *b, const struct batch_item *v, size_t n,
    struct batch_result *out, struct nj_why *why)
{
	bool any = false;
	enum nj_err e;

	if ((e = take_step(b, v, n, why)))
		return e;
	for (size_t i = 0; i < n; i++) {
		if (b->step[i].state == TO_MAKE &&
		    (e = make(b, &b->step[i], why)))
			return e;
		any = any || b->step[i].state == TO_REGISTER;
	}
	if (any && ((e = sync_out(b, why)) || (e = register_step(b, why))))
		return e;
	return name_step(b, out, why);
}

/* Those of a step that did not come to be registered. */
static void
drop_unregistered(struct batch *b)
{
	for (size_t i = 0; i < b->n; i++)
		if (b->step[i].state == TO_REGISTER)
			(void)remove_part(b->step[i].part, NULL);
}

static enum nj_err
open_batch(struct batch *b, struct nj_why *why)
{
	const char *path = pki_ca_registry(b->ca);
	enum nj_err e;

	b->out_fd = open(b->o->out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (b->out_fd < 0)
		return io_error("open", b->o->out, why);
	while (flock(b->out_fd, LOCK_EX) != 0)
		if (errno != EINTR)
			return io_error("lock", b->o->out, why);
	if ((e = registry_open(path, false, &b->registry, why)))
		return e;
	e = fleet_load(path, &b->fleet, why);
	registry_release(b->registry);
	return e;
}

static bool
grouped(const struct batch_item *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (v[i].groups)
			return true;
	return false;
}

enum nj_err
batch_run(struct pki_ca *ca, const struct batch_item *v, size_t n,
    const struct batch_opts *o, struct batch_result *out, struct nj_why *why)
{
	struct batch *b = calloc(1, sizeof(*b));
	enum nj_err e = NJ_OK, export;

	*out = (struct batch_result){ 0 };
	if (!b)
		return NJ_NOMEM;
	b->ca = ca;
	b->o = o;
	b->out_fd = -1;
	e = open_batch(b, why);
	for (size_t at = 0; !e && at < n; at += BATCH_STEP) {
		size_t some = n - at < BATCH_STEP ? n - at : BATCH_STEP;

		e = run_step(b, v + at, some, out, why);
		if (e)
			drop_unregistered(b);
		drop_step(b);
		if (!e && o->progress)
			o->progress(o->arg, at + some, n);
	}
	if (b->out_fd >= 0 && out->made + out->finished > 0 && !e)
		e = sync_out(b, why);
	/* Also after a failure: what was registered holds. */
	if (b->fleet && grouped(v, n)) {
		export = fleet_export(b->fleet, pki_ca_dir(ca), e ? NULL : why);
		e = e ? e : export;
	}
	drop_step(b);
	registry_close(b->registry);
	fleet_unref(b->fleet);
	if (b->out_fd >= 0)
		(void)close(b->out_fd);
	free(b);
	return e;
}
