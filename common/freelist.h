/* freelist.h - free list of fixed-size objects for one thread.
 *
 * Objects come back zeroed only if the caller zeroes them. A list that grew in a burst is trimmed
 * again: freelist_trim() gives back half of what lay unused since the call before. With POOL_MALLOC
 * (sanitizer builds) every object is a fresh allocation, so that a stale pointer is caught.
 */
#ifndef TWINRING_COMMON_FREELIST_H
#define TWINRING_COMMON_FREELIST_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

struct freelist_item {
	struct freelist_item *next;
};

struct freelist {
	struct freelist_item *free;
	size_t size; /* bytes of one object */
	uint32_t free_count;
	uint32_t low_water; /* fewest free since the last trim */
	uint32_t live;	    /* objects handed out */
	uint32_t per_slab;  /* > 0: objects are cut from slabs of so many, which are kept */
	struct freelist_item *slabs;
};

void freelist_init(struct freelist *p, size_t size);
/* For many small long-lived objects: slabs save malloc's overhead, but are freed only at the
 * end. */
void freelist_init_slab(struct freelist *p, size_t size, uint32_t per_slab);
/* For freelist_get(), when none is free. */
void *freelist_fresh(struct freelist *p);

/* Aborts when out of memory: callers bound how many they take. */
static inline void *freelist_get(struct freelist *p)
{
	struct freelist_item *item = p->free;
	p->live++;
	if (!item) return freelist_fresh(p);
	p->free = item->next;
	if (--p->free_count < p->low_water) p->low_water = p->free_count;
	return item;
}

static inline void freelist_put(struct freelist *p, void *object)
{
	p->live--;
#ifdef POOL_MALLOC
	free(object);
#else
	struct freelist_item *item = object;
	item->next = p->free;
	p->free = item;
	p->free_count++;
#endif
}

void freelist_trim(struct freelist *p);
void freelist_fini(struct freelist *p);

#endif
