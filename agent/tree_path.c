#include "agent/tree_path.h"

#include <stdarg.h>
#include <stdio.h>

void pool_path(char path[STORE_PATH_MAX], const char *pool, const char *format, ...)
{
	int n = snprintf(path, STORE_PATH_MAX, "pools/%.255s/", pool);
	va_list args;
	va_start(args, format);
	vsnprintf(path + n, (size_t)(STORE_PATH_MAX - n), format, args);
	va_end(args);
}

void node_name(char out[NODE_NAME_MAX], const char *server)
{
	size_t n = 0;
	for (const unsigned char *p = (const unsigned char *)server; *p && n + 4 < NODE_NAME_MAX;
	     p++) {
		if (*p == '/' || *p == '%' || *p < 0x20 || *p == 0x7f)
			n += (size_t)snprintf(out + n, 4, "%%%02x", *p);
		else out[n++] = (char)*p;
	}
	out[n] = 0;
}
