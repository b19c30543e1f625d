/* agent_config_values.h - kinds of values that only the agent's configuration has. */
#ifndef TWINRING_AGENT_AGENT_CONFIG_VALUES_H
#define TWINRING_AGENT_AGENT_CONFIG_VALUES_H

#include "agent/agent_config.h"
#include "common/settings.h"

enum { AGENT_ID_MAX = 128, AGENT_SECRET_MAX = 4096, TEXT_LIST_MAX = 64 };

/* `set` of those with a secret reads the file. */
extern const struct setting_ops agent_source_ops;  /* struct agent_source                  */
extern const struct setting_ops agent_secret_ops;  /* struct agent_secret                  */
extern const struct setting_ops agent_digest_ops;  /* the same, and it is user:password    */
extern const struct setting_ops agent_id_ops;	   /* char *: a name for a node in the tree */
extern const struct setting_ops agent_url_ops;	   /* char *                               */
extern const struct setting_ops agent_path_ops;	   /* char *: absolute                     */
extern const struct setting_ops agent_command_ops; /* struct text_list: a program's words  */
extern const struct setting_ops agent_events_ops;  /* struct text_list: names, or `all`    */

/* NULL: it can be one; else why not (static). */
const char *agent_id_fault(const char *id);

/* Read a file of one secret. false: `why` says why not. */
bool agent_secret_read(const char *path, char **text_out, char *why, size_t cap);

#endif
