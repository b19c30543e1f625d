/* cppcheck.h - stand-ins for the macros of <sys/queue.h> and <uthash.h>, whose real definitions are
 * beyond cppcheck. Only what they look like matters, not what they do. */
/* clang-format off */
#define LIST_HEAD(name, type) struct name { struct type *lh_first; }
#define LIST_ENTRY(type) struct { struct type *le_next, **le_prev; }
#define LIST_FOREACH(var, head, field) \
	for ((var) = (head)->lh_first; (var); (var) = (var)->field.le_next)
#define LIST_FOREACH_SAFE(var, head, field, tvar) \
	for ((var) = (head)->lh_first; (var) && ((tvar) = (var)->field.le_next, 1); \
	     (var) = (tvar))
#define STAILQ_HEAD(name, type) struct name { struct type *stqh_first, **stqh_last; }
#define STAILQ_ENTRY(type) struct { struct type *stqe_next; }
#define STAILQ_FOREACH(var, head, field) \
	for ((var) = (head)->stqh_first; (var); (var) = (var)->field.stqe_next)
#define STAILQ_FOREACH_SAFE(var, head, field, tvar) \
	for ((var) = (head)->stqh_first; (var) && ((tvar) = (var)->field.stqe_next, 1); \
	     (var) = (tvar))
#define TAILQ_HEAD(name, type) struct name { struct type *tqh_first, **tqh_last; }
#define TAILQ_ENTRY(type) struct { struct type *tqe_next, **tqe_prev; }
#define TAILQ_FOREACH(var, head, field) \
	for ((var) = (head)->tqh_first; (var); (var) = (var)->field.tqe_next)
#define TAILQ_FOREACH_SAFE(var, head, field, tvar) \
	for ((var) = (head)->tqh_first; (var) && ((tvar) = (var)->field.tqe_next, 1); \
	     (var) = (tvar))
#define HASH_ITER(hh, head, el, tmp) \
	for ((el) = (head), (tmp) = (el)->hh.next; (el); (el) = (tmp), (tmp) = (el)->hh.next)
#define HASH_FIND(hh, head, key, len, out) (out) = find_in((head), (key), (len))
#define HASH_FIND_STR(head, key, out) (out) = find_in((head), (key), 0)
#define json_object_foreach(object, key, value) \
	for ((key) = next_of(object), (value) = value_of(key); (key); (key) = next_of(object))
#define json_array_foreach(array, index, value) \
	for ((index) = 0; ((value) = value_of(index)) != 0; (index)++)
/* libbsd's trees */
#define RB_GENERATE_INTERNAL(...)
