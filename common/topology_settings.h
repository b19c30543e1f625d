/* topology_settings.h - the options of pools and servers, as tables for settings.h. */
#ifndef TWINRING_COMMON_TOPOLOGY_SETTINGS_H
#define TWINRING_COMMON_TOPOLOGY_SETTINGS_H

#include "common/settings.h"
#include "common/topology.h"

#define NAME_BYTES_MAX 255 /* pools, servers, routes, hosts                     */
#define PORT_MAX       65535
#define NUMBER_MAX     INT32_MAX /* what nutcracker's options can hold, so ours do too */

extern const struct settings topology_settings; /* struct topology   */
extern const struct settings pool_settings;	/* struct pool_spec  */
extern const struct settings pool_auth_settings;
extern const struct settings server_settings; /* struct server_spec */

#endif
