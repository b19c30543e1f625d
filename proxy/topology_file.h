/* topology_file.h - the topology that an agent pushed, kept for the next start. Main only. */
#ifndef TWINRING_PROXY_TOPOLOGY_FILE_H
#define TWINRING_PROXY_TOPOLOGY_FILE_H

#include "common/config.h"

/* Failure is only logged: the topology is in force all the same. No-op when `spec` keeps none. */
void topology_file_save(const struct proxy_spec *spec, const struct topology *t);
/* What was kept; NULL: nothing, or nothing of use, which is logged. */
struct topology *topology_file_load(const struct proxy_spec *spec);

#endif
