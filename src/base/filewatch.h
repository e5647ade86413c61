/* SPDX-License-Identifier: Apache-2.0
 * filewatch - tells by a signal that files may have changed.
 *
 * The kernel sends the signal when something happens in a file's folder, so
 * that a file that is replaced, or made for the first time, is seen as well.
 * Folders on a network file system send nothing: whoever needs these looks
 * again from time to time.
 *
 * Owns:    its descriptor and the paths.
 * Threads: one owner; the signal goes to the process.
 * Bounds:  FILEWATCH_MAX folders, more are not watched.
 */
#ifndef NJ_BASE_FILEWATCH_H
#define NJ_BASE_FILEWATCH_H

#include <stdbool.h>

#include "base/err.h"

#define FILEWATCH_MAX 64

struct filewatch;

/* sig must be blocked in every thread; SIGIO may come in its place. */
NJ_MUST enum nj_err
filewatch_new(int sig, struct filewatch **out, struct nj_why *why);
void filewatch_free(struct filewatch *w);
/* Watches for this file too, from now on; as long as rights are there to look
 * at its folder.  One that is watched already is not watched twice. */
NJ_MUST enum nj_err filewatch_add(struct filewatch *w, const char *path);
/* Takes what was told; to be called after each signal.  True when one of the
 * files may have changed since. */
bool filewatch_changed(struct filewatch *w);

#endif
