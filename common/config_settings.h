/* config_settings.h - the options of a configuration file outside its pools. */
#ifndef TWINRING_COMMON_CONFIG_SETTINGS_H
#define TWINRING_COMMON_CONFIG_SETTINGS_H

#include "common/config.h"
#include "common/settings.h"

#define LISTENERS_MAX 4096

extern const struct settings config_settings;	/* the file as a whole  */
extern const struct settings proxy_settings;	/* struct proxy_spec    */
extern const struct settings listener_settings; /* struct listener_spec */

/* The whole manual of options, in Markdown. */
void config_document(FILE *out);

#endif
