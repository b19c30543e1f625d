#include "common/codec.h"

#include <stdlib.h>

enum { ARGV_KEEP = 4096 }; /* entries that a parser keeps between requests */

struct slice *parser_argv(struct parser *p, uint32_t n)
{
	if (n <= p->argv_cap) return p->argv;
	uint32_t cap = p->argv_cap ? p->argv_cap : 16;
	while (cap < n) cap *= 2;
	struct slice *argv = realloc(p->argv, (size_t)cap * sizeof(*argv));
	if (!argv) abort();
	p->argv = argv;
	p->argv_cap = cap;
	return argv;
}

void parser_trim(struct parser *p)
{
	scratch_trim(&p->tmp, 65536);
	if (p->argv_cap <= ARGV_KEEP) return;
	free(p->argv);
	p->argv = NULL;
	p->argv_cap = 0;
}

void parser_fini(struct parser *p)
{
	free(p->argv);
	scratch_fini(&p->tmp);
	*p = (struct parser){ 0 };
}
