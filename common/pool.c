#include "common/pool.h"

#include <stdlib.h>

enum { POOL_KEEP = 32 }; /* objects that trimming leaves */

void pool_init(struct pool *p, size_t size)
{
	*p = (struct pool){ .size = size };
}

void pool_init_slab(struct pool *p, size_t size, uint32_t per_slab)
{
	*p = (struct pool){ .size = size, .per_slab = per_slab };
}

#ifndef POOL_MALLOC
static void pool_add_slab(struct pool *p)
{
	struct pool_item *slab = malloc(sizeof(*slab) + p->size * p->per_slab);
	if (!slab) abort();
	slab->next = p->slabs;
	p->slabs = slab;
	char *object = (char *)(slab + 1);
	for (uint32_t i = 0; i < p->per_slab; i++, object += p->size) {
		struct pool_item *item = (struct pool_item *)object;
		item->next = p->free;
		p->free = item;
	}
	p->free_count += p->per_slab;
}
#endif

void *pool_get(struct pool *p)
{
	p->live++;
#ifndef POOL_MALLOC
	if (!p->free && p->per_slab) pool_add_slab(p);
#endif
	struct pool_item *item = p->free;
	if (item) {
		p->free = item->next;
		if (--p->free_count < p->low_water) p->low_water = p->free_count;
		return item;
	}
	p->low_water = 0;
	void *fresh = malloc(p->size);
	if (!fresh) abort();
	return fresh;
}

void pool_put(struct pool *p, void *object)
{
	p->live--;
#ifdef POOL_MALLOC
	free(object);
#else
	struct pool_item *item = object;
	item->next = p->free;
	p->free = item;
	p->free_count++;
#endif
}

static void pool_drop(struct pool *p, uint32_t count)
{
	while (count-- > 0 && p->free) {
		struct pool_item *item = p->free;
		p->free = item->next;
		p->free_count--;
		free(item);
	}
}

void pool_trim(struct pool *p)
{
	if (p->per_slab) return;
	uint32_t idle = p->low_water > POOL_KEEP ? p->low_water - POOL_KEEP : 0;
	pool_drop(p, (idle + 1) / 2);
	p->low_water = p->free_count;
}

void pool_fini(struct pool *p)
{
	if (!p->per_slab) pool_drop(p, p->free_count);
	while (p->slabs) {
		struct pool_item *slab = p->slabs;
		p->slabs = slab->next;
		free(slab);
	}
}
