/* SPDX-License-Identifier: Apache-2.0
 *
 * Prints nightjar.conf(5) for tools/gen-conf-man.
 */
#include "conf/manual.h"

int
main(void)
{
	conf_man_write(stdout);
	return ferror(stdout) || fflush(stdout) != 0;
}
