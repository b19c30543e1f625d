#include "common/err.h"

static const char *const texts[ERR_MAX] = {
#define ERR_TEXT(name, text) [name] = text,
	ERR_TABLE(ERR_TEXT)
#undef ERR_TEXT
};

const char *err_text(enum err e)
{
	return (unsigned)e < ERR_MAX ? texts[e] : "unknown error";
}
