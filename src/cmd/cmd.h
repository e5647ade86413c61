/* SPDX-License-Identifier: Apache-2.0
 * cmd - the subcommands; main.c has the table that leads to them.
 *
 * argv[0] is the subcommand's name, or that of the program it was linked as.
 * The result is the exit status.
 */
#ifndef NJ_CMD_CMD_H
#define NJ_CMD_CMD_H

int cmd_up(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_pub(int argc, char **argv);
int cmd_sub(int argc, char **argv);
int cmd_rr(int argc, char **argv);
int cmd_passwd(int argc, char **argv);
int cmd_ca(int argc, char **argv);
int cmd_enroll(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_store(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_audit(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_clients(int argc, char **argv);
int cmd_reload(int argc, char **argv);
int cmd_acl(int argc, char **argv);
int cmd_completion(int argc, char **argv);
int cmd_user(int argc, char **argv);
int cmd_group(int argc, char **argv);
int cmd_role(int argc, char **argv);
/* --test-config: every file that the configuration names. */
struct conf_args;
int cmd_test_config(const char *path, const struct conf_args *args);
/* --help-options: the option table. */
int cmd_help_options(void);

#endif
