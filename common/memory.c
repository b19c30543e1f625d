#include "common/memory.h"

#include <event2/event.h>
#include <jansson.h>

static void *memory_malloc(size_t n)
{
	void *p = malloc(n);
	if (!p && n > 0) abort();
	return p;
}

static void *memory_realloc(void *old, size_t n)
{
	void *p = realloc(old, n);
	if (!p && n > 0) abort();
	return p;
}

void memory_abort_when_out(void)
{
	event_set_mem_functions(memory_malloc, memory_realloc, free);
	json_set_alloc_funcs(memory_malloc, free);
}
