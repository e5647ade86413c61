/* SPDX-License-Identifier: Apache-2.0
 * roles_file - nightjar role import and export: all users, groups and roles of
 *              a running broker from a file in Mosquitto's form, and as one.
 *
 * Threads: the main thread.
 */
#ifndef NJ_CMD_ROLES_FILE_H
#define NJ_CMD_ROLES_FILE_H

#define ROLES_IMPORT_HELP \
	"a file's users, groups and roles in place of all there are"
#define ROLES_EXPORT_HELP "users, groups and roles as such a file"

/* argv[0] is the verb; the exit status. */
int roles_import(int argc, char **argv);
int roles_export(int argc, char **argv);

#endif
