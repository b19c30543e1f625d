#include "common/hash_fns.h"

static const struct {
	const char *name;
	hash_fn *fn;
} hashes[HASH_KIND_MAX] = {
	[HASH_FNV1A_64] = { "fnv1a_64", hash_fnv1a_64 },
	[HASH_ONE_AT_A_TIME] = { "one_at_a_time", hash_one_at_a_time },
	[HASH_MD5] = { "md5", hash_md5 },
	[HASH_CRC16] = { "crc16", hash_crc16 },
	[HASH_CRC32] = { "crc32", hash_crc32 },
	[HASH_CRC32A] = { "crc32a", hash_crc32a },
	[HASH_FNV1_64] = { "fnv1_64", hash_fnv1_64 },
	[HASH_FNV1_32] = { "fnv1_32", hash_fnv1_32 },
	[HASH_FNV1A_32] = { "fnv1a_32", hash_fnv1a_32 },
	[HASH_HSIEH] = { "hsieh", hash_hsieh },
	[HASH_MURMUR] = { "murmur", hash_murmur },
	[HASH_JENKINS] = { "jenkins", hash_jenkins },
};

bool hash_kind_parse(struct slice name, enum hash_kind *kind_out)
{
	for (unsigned k = 0; k < HASH_KIND_MAX; k++) {
		if (slice_eq(name, slice_of(hashes[k].name))) {
			*kind_out = (enum hash_kind)k;
			return true;
		}
	}
	return false;
}

const char *hash_kind_name(enum hash_kind kind)
{
	return (unsigned)kind < HASH_KIND_MAX ? hashes[kind].name : NULL;
}

hash_fn *hash_kind_fn(enum hash_kind kind)
{
	return hashes[kind].fn;
}

uint32_t hash_key(enum hash_kind kind, struct slice key)
{
	return hashes[kind].fn(key);
}

struct slice hash_tag_find(struct slice key, const char tag[2])
{
	const char *end = key.p + key.n;
	const char *open = memchr(key.p, tag[0], key.n);
	if (open == NULL) return key;

	const char *inside = open + 1;
	const char *shut = memchr(inside, tag[1], (size_t)(end - inside));
	if (shut == NULL || shut == inside) return key;
	return (struct slice){ inside, (size_t)(shut - inside) };
}
