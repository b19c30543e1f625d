/* spec_settings.h - the options of a spec beside the pool's own, as tables for settings.h. */
#ifndef TWINRING_COMMON_SPEC_SETTINGS_H
#define TWINRING_COMMON_SPEC_SETTINGS_H

#include "common/settings.h"
#include "common/spec.h"

extern const struct settings spec_settings;	     /* struct spec                    */
extern const struct settings spec_moving_settings;   /* struct spec, fields of moving  */
extern const struct settings spec_health_settings;   /* struct spec, fields of health  */
extern const struct settings spec_ejection_settings; /* struct spec, those of ejection */

#endif
