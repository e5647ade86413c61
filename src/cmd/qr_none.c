/* SPDX-License-Identifier: Apache-2.0
 * In the place of qr.c where libqrencode or libpng was not there.
 */
#include "cmd/qr.h"

bool
qr_works(void)
{
	return false;
}

static enum nj_err
cannot(struct nj_why *why)
{
	why_set(why, "this nightjar was built without QR codes");
	why_mend(
	    why, "build it where libqrencode-dev and libpng-dev are installed");
	return NJ_UNSUPPORTED;
}

enum nj_err
qr_print(const char *text, FILE *to, struct nj_why *why)
{
	(void)text;
	(void)to;
	return cannot(why);
}

enum nj_err
qr_png(const char *text, const char *path, struct nj_why *why)
{
	(void)text;
	(void)path;
	return cannot(why);
}
