/* agent_config_settings.h - the options of the agent's configuration, as tables for settings.h. */
#ifndef TWINRING_AGENT_AGENT_CONFIG_SETTINGS_H
#define TWINRING_AGENT_AGENT_CONFIG_SETTINGS_H

#include "agent/agent_config.h"
#include "common/settings.h"

enum { WEBHOOKS_MAX = 64, OUTPUTS_MAX = 256 };

extern const struct settings agent_settings;   /* struct agent_config */
extern const struct settings webhook_settings; /* struct webhook_spec */
extern const struct settings output_settings;  /* struct output_spec  */

#endif
