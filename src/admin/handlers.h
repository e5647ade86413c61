/* SPDX-License-Identifier: Apache-2.0
 * handlers - the functions that the table of commands names, one line each.
 */
#ifndef NJ_ADMIN_HANDLERS_H
#define NJ_ADMIN_HANDLERS_H

#include "admin/command.h"

admin_fn admin_version;
admin_fn admin_status;
admin_fn admin_help;
admin_fn admin_reload;

admin_fn admin_clients_list;
admin_fn admin_clients_show;
admin_fn admin_clients_disconnect;

admin_fn admin_refused;

admin_fn admin_acl_explain;
admin_fn admin_dynsec;
admin_fn admin_dynsec_import;
admin_fn admin_dynsec_export;

#endif
