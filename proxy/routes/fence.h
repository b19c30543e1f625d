/* fence.h - FenceRoute: nothing passes, because what is behind may be out of date. */
#ifndef TWINRING_PROXY_ROUTES_FENCE_H
#define TWINRING_PROXY_ROUTES_FENCE_H

#include "proxy/route.h"

/* Takes `behind`, which is what people are told of. NULL: out of memory. */
struct route *route_fence_new(struct route *behind);

#endif
