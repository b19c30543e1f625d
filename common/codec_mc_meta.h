/* codec_mc_meta.h - lines of memcached's meta commands, and what their replies say.
 *
 *	mg KEY flags*            EN | HD flags* | VA SIZE flags* + value
 *	ms KEY SIZE flags*       HD | NS | EX | NF, flags*
 *	md KEY flags*            HD | EX | NF, flags*
 *	ma KEY flags*            HD | VA | NS | EX | NF, flags*
 *
 * A flag is one letter with its token right behind it. Pure; slices point into the line.
 */
#ifndef TWINRING_COMMON_CODEC_MC_META_H
#define TWINRING_COMMON_CODEC_MC_META_H

#include "common/codec_mc_text.h"
#include "common/scratch.h"

enum { MC_META_FLAGS_MAX = 24 };

/* The flags of a line, in its order. */
struct mc_flags {
	struct slice v[MC_META_FLAGS_MAX]; /* letter and token */
	uint32_t n;
};

/* False: more than there is room for. */
bool mc_flags_split(struct slice text, struct mc_flags *out);
/* The token behind this letter (perhaps empty), or NULL. *room is its memory. */
const struct slice *mc_flags_find(const struct mc_flags *f, char letter, struct slice *room);
static inline bool mc_flags_has(const struct mc_flags *f, char letter)
{
	struct slice token;
	return mc_flags_find(f, letter, &token) != NULL;
}

/* What a reply says. */
struct mc_item {
	char code[2];	    /* VA, HD, EN, NS, NF, EX; zero: an error              */
	struct slice value; /* VA: with the CRLF behind it                         */
	struct slice flags; /* the text behind code and size                       */
	uint64_t size;	    /* s, or of the value                                  */
	uint64_t cas;	    /* c                                                   */
	uint32_t client;    /* f                                                   */
	int64_t ttl;	    /* t: seconds left; -1: for ever                       */
	bool won, leased;   /* W: we are to fill it; Z: somebody else is           */
	bool stale;	    /* X                                                   */
};

void mc_item_parse(struct slice reply, struct mc_item *out);
static inline bool mc_item_is(const struct mc_item *i, const char *code)
{
	return memcmp(i->code, code, 2) == 0;
}
/* Somebody's promise to put a value there, made by `mg N`: no value, whatever a classic command
 * says of it. A stale value is one. */
static inline bool mc_item_is_placeholder(const struct mc_item *i)
{
	return (i->won || i->leased) && !i->stale && i->size == 0;
}
static inline bool mc_item_is_hit(const struct mc_item *i)
{
	return (mc_item_is(i, "VA") || mc_item_is(i, "HD")) && !mc_item_is_placeholder(i);
}

#endif
