/* SPDX-License-Identifier: Apache-2.0 */
#include "illdisk.h"

#include <stdio.h>
#include <unistd.h>

#include "clients.h"
#include "disk.h"

static char file[64];

void
illdisk_begin(struct world *w, unsigned shards)
{
	disk_reset(1);
	world_init(w, shards);
	(void)snprintf(
	    file, sizeof file, "/tmp/nightjar-illdisk-%d", (int)getpid());
	w->opts.store_path = file;
	w->opts.store_vfs = DISK_VFS;
	w->opts.store_no_thread = true;
	check("a broker", world_start(w) == NJ_OK);
}

void
illdisk_end(struct world *w)
{
	char lock[80];

	disk_fail(0);
	world_stop(w);
	world_fini(w);
	disk_fini();
	(void)unlink(file);
	(void)snprintf(lock, sizeof lock, "%s.lock", file);
	(void)unlink(lock);
}
