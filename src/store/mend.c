/* SPDX-License-Identifier: Apache-2.0
 *
 * What mends an error of the system's; impl.h.
 */
#include <errno.h>

#include "base/daemon.h"
#include "store/impl.h"

void
store_mend(struct nj_why *why, int err)
{
	switch (err) {
	case EMFILE:
	case ENFILE:
		why_mend(why, "%s", DAEMON_MEND_FILES);
		break;
	case EACCES:
	case EPERM:
		why_mend(why,
		    "run this as the user that the broker runs as, or give "
		    "the file and its folder to that user");
		break;
	case ENOENT:
		why_mend(why,
		    "make the folder, and give it to the user that the "
		    "broker runs as");
		break;
	case ENOTDIR:
		why_mend(why,
		    "give another path: what should be a folder in this one "
		    "is a file");
		break;
	case EISDIR:
		why_mend(why, "give the path of a file in it");
		break;
	case ELOOP:
		why_mend(why, "give the file itself, not a symbolic link");
		break;
	case EROFS:
		why_mend(why,
		    "mount its file system for writing; where that was so, the "
		    "kernel has ended it for a fault of the disk, see: dmesg");
		break;
	case ENOSPC:
	case EDQUOT:
		why_mend(why, "make room on its disk");
		break;
	case EIO:
		why_mend(why, "the disk fails, see: dmesg");
		break;
	default:
		break;
	}
}
