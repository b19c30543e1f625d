/* config_values.h - values that several configuration files know: addresses to listen on, and log
 * levels. Pure. */
#ifndef TWINRING_COMMON_CONFIG_VALUES_H
#define TWINRING_COMMON_CONFIG_VALUES_H

#include "common/config.h"
#include "common/settings.h"

extern const struct setting_ops listen_ops;	     /* struct listen_spec                   */
extern const struct setting_ops optional_listen_ops; /* the same, or the word `off`          */
extern const struct setting_ops log_level_ops;	     /* uint32_t, 0..11 on nutcracker's scale */

#define LOG_LEVEL_UNIT "error, warn, notice, info, debug, or 0 to 11"

/* The bytes of a file, up to one more than YAML_TEXT_MAX, so that a reader sees what is too large.
 * The caller frees *text_out, which is NULL on error: ERR_IO with errno, ERR_NOMEM. */
enum err config_read_file(const char *path, char **text_out, size_t *n_out);

#endif
