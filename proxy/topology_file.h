/* topology_file.h - the topology that an agent pushed, kept for the next start. Main only.
 *
 * Two generations are kept; the newest that is whole, valid and not older than the other counts.
 * The file's time is when the topology was last known to be current.
 */
#ifndef TWINRING_PROXY_TOPOLOGY_FILE_H
#define TWINRING_PROXY_TOPOLOGY_FILE_H

#include "common/config.h"

/* ERR_NONE also when none is to be kept. */
enum err topology_file_save(const struct proxy_spec *spec, const struct topology *t,
			    struct err_at *where_out);
/* What was saved last is current. */
void topology_file_confirm(const struct proxy_spec *spec);
/* NULL: there is none that is any good. What is wrong is logged. */
struct topology *topology_file_load(const struct proxy_spec *spec, uint64_t *age_s_out);

/* <0, 0, >0: by (epoch, step, version), which only grows within one lineage. */
int topology_file_compare(const struct topology *a, const struct topology *b);

#endif
