#include "common/freelist.h"

enum { FREELIST_KEEP = 32 }; /* objects that trimming leaves */

void freelist_init(struct freelist *p, size_t size)
{
	*p = (struct freelist){ .size = size };
}

void freelist_init_slab(struct freelist *p, size_t size, uint32_t per_slab)
{
	*p = (struct freelist){ .size = size, .per_slab = per_slab };
}

#ifndef POOL_MALLOC
static void freelist_add_slab(struct freelist *p)
{
	struct freelist_item *slab = malloc(sizeof(*slab) + p->size * p->per_slab);
	if (!slab) abort();
	slab->next = p->slabs;
	p->slabs = slab;
	char *object = (char *)(slab + 1);
	for (uint32_t i = 0; i < p->per_slab; i++, object += p->size) {
		struct freelist_item *item = (struct freelist_item *)object;
		item->next = p->free;
		p->free = item;
	}
	p->free_count += p->per_slab;
}
#endif

void *freelist_fresh(struct freelist *p)
{
#ifndef POOL_MALLOC
	if (p->per_slab) {
		freelist_add_slab(p);
		p->live--; /* counted again */
		return freelist_get(p);
	}
#endif
	p->low_water = 0;
	void *fresh = malloc(p->size);
	if (!fresh) abort();
	return fresh;
}

static void freelist_drop(struct freelist *p, uint32_t count)
{
	while (count-- > 0 && p->free) {
		struct freelist_item *item = p->free;
		p->free = item->next;
		p->free_count--;
		free(item);
	}
}

void freelist_trim(struct freelist *p)
{
	if (p->per_slab) return;
	uint32_t idle = p->low_water > FREELIST_KEEP ? p->low_water - FREELIST_KEEP : 0;
	freelist_drop(p, (idle + 1) / 2);
	p->low_water = p->free_count;
}

void freelist_fini(struct freelist *p)
{
	if (!p->per_slab) freelist_drop(p, p->free_count);
	while (p->slabs) {
		struct freelist_item *slab = p->slabs;
		p->slabs = slab->next;
		free(slab);
	}
}
