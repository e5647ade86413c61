/* SPDX-License-Identifier: Apache-2.0
 * serve - a broker's life as a process: configuration, files, rights, threads,
 *         signals.
 *
 * Threads: serve_run is the main thread's; on_ready is called on it.
 */
#ifndef NJ_CMD_SERVE_H
#define NJ_CMD_SERVE_H

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"

struct serve_hooks {
	/* The ports are open, rights dropped, shards running. */
	void (*on_ready)(void *arg);
	void *arg;
	const char *ca_passphrase_file; /* or NULL */
	bool signer_may_fail;		/* then nobody enrols, and it is told */
	bool quiet; /* log warnings and errors only, unless the
			 * configuration says log_type */
};

/* Serves until SIGINT or SIGTERM; the exit status.  hooks may be NULL, path
 * NULL is no file. */
int serve_run(const char *path, const struct serve_hooks *hooks);

struct serve_opts {
	const char *path;
	struct conf_args args;
	const char *ca_passphrase_file; /* before the configuration's */
	bool background, quiet, signer_may_fail;
};
int serve_with(const struct serve_opts *o, const struct serve_hooks *hooks);

#endif
