/* SPDX-License-Identifier: Apache-2.0
 * file - whole small files, read with a bound and written atomically.
 *
 * Threads: any.
 * Errors:  *why names the path, what failed and how to mend it.
 */
#ifndef NJ_BASE_FILE_H
#define NJ_BASE_FILE_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

/* Appends the file to *out; NJ_TOOBIG past max bytes. */
NJ_MUST enum nj_err
file_read(const char *path, size_t max, struct buf *out, struct nj_why *why);
/*
 * A new file beside the old (O_EXCL, O_NOFOLLOW), written, synced, renamed
 * over it, the folder synced: after a crash either the old or the new is
 * there, whole.
 */
NJ_MUST enum nj_err file_write(
    const char *path, struct slice bytes, mode_t mode, struct nj_why *why);
/* The same, but NJ_EXISTS when there is one already. */
NJ_MUST enum nj_err file_create(
    const char *path, struct slice bytes, mode_t mode, struct nj_why *why);
/* n bytes from a place on.  NJ_EOF: the file ends before, which for errno is EIO;
 * NJ_IO: errno says why. */
NJ_MUST enum nj_err file_read_at(int fd, void *to, size_t n, off_t at);
/* The folder of path, so that a new name in it survives a power cut; false: errno
 * says why not.  Where folders cannot be synced there is nothing to do. */
bool file_sync_folder(const char *path);
/* One folder, its parents as needed, all new ones with mode. */
NJ_MUST enum nj_err
file_mkdir(const char *path, mode_t mode, struct nj_why *why);
/* NJ_DENIED when group or others can read it, or it is a symbolic link. */
NJ_MUST enum nj_err file_check_private(const char *path, struct nj_why *why);
/* The same of what a symbolic link leads to: certbot and Kubernetes change
 * keys by moving a link. */
NJ_MUST enum nj_err
file_check_private_linked(const char *path, struct nj_why *why);
/*
 * Whether a file may decide who comes in and what they may do: NJ_DENIED when
 * it is a symbolic link (unless links), no regular file, empty, or can be
 * written by every user, or, unless readable, read.
 */
NJ_MUST enum nj_err file_check_rules(
    const char *path, bool links, bool readable, struct nj_why *why);
/*
 * What a broker that gave root up may not look at any more is seen through
 * keeper.h, by these and by all of the above that read.
 */
/* As stat(2); false: it is not there, or closed to us. */
bool file_stat(const char *path, struct stat *st);
/* What mends a path that leads nowhere, by the look of it. */
const char *file_mend_path(const char *path);
/* It is there, perhaps, and closed to us. */
bool file_is_hidden(const char *path);
/* Opens for reading what passes that check; the check is on the open file. */
NJ_MUST enum nj_err
file_open_private(const char *path, int *fd, struct nj_why *why);

#endif
