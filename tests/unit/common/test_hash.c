/* Every hash against what the original program computed (tests/data/hash.*.json), and hash tags. */
#include <check.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>

#include "common/hash_fns.h"

enum { KEYS_PER_FILE = 209, HEX_KEYS_PER_FILE = 64 };

static json_t *vectors_load(enum hash_kind kind)
{
	char path[128];
	snprintf(path, sizeof(path), "tests/data/hash.%s.json", hash_kind_name(kind));
	json_error_t error;
	json_t *root = json_load_file(path, 0, &error);
	ck_assert_msg(root != NULL, "%s: %s", path, error.text);
	return root;
}

static size_t unhex(const char *hex, char *out)
{
	size_t n = strlen(hex) / 2;
	for (size_t i = 0; i < n; i++) {
		unsigned byte;
		ck_assert_int_eq(sscanf(hex + 2 * i, "%2x", &byte), 1);
		out[i] = (char)byte;
	}
	return n;
}

START_TEST(golden_text_keys)
{
	const enum hash_kind kind = (enum hash_kind)_i;
	json_t *root = vectors_load(kind), *want, *keys = json_object_get(root, "keys");
	const char *key;

	ck_assert_uint_ge(json_object_size(keys), KEYS_PER_FILE);
	json_object_foreach (keys, key, want) {
		uint32_t got = hash_key(kind, slice_of(key));
		ck_assert_msg(got == json_integer_value(want), "%s(%s) = %u, not %lld",
			      hash_kind_name(kind), key, got, (long long)json_integer_value(want));
	}
	json_decref(root);
}
END_TEST

START_TEST(golden_binary_keys)
{
	const enum hash_kind kind = (enum hash_kind)_i;
	json_t *root = vectors_load(kind), *want, *keys = json_object_get(root, "hex_keys");
	const char *hex;
	char bytes[1024];

	ck_assert_uint_ge(json_object_size(keys), HEX_KEYS_PER_FILE);
	json_object_foreach (keys, hex, want) {
		ck_assert_uint_le(strlen(hex), 2 * sizeof(bytes));
		/* an exact heap copy lets the sanitizer see a read past the end */
		size_t n = unhex(hex, bytes);
		char *copy = malloc(n ? n : 1);
		memcpy(copy, bytes, n);
		uint32_t got = hash_key(kind, (struct slice){ copy, n });
		ck_assert_msg(got == json_integer_value(want), "%s(0x%s) = %u, not %lld",
			      hash_kind_name(kind), hex, got, (long long)json_integer_value(want));
		free(copy);
	}
	json_decref(root);
}
END_TEST

START_TEST(names_round_trip)
{
	for (unsigned k = 0; k < HASH_KIND_MAX; k++) {
		enum hash_kind kind = HASH_KIND_MAX;
		ck_assert(hash_kind_parse(slice_of(hash_kind_name((enum hash_kind)k)), &kind));
		ck_assert_uint_eq(kind, k);
	}
	ck_assert_ptr_null(hash_kind_name(HASH_KIND_MAX));
	ck_assert_str_eq(hash_kind_name((enum hash_kind)0), "fnv1a_64");

	static const char *const wrong[] = { "", "MD5", "md", "md55", "fnv1a_64 ", "crc" };
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		enum hash_kind kind = HASH_KIND_MAX;
		ck_assert_msg(!hash_kind_parse(slice_of(wrong[i]), &kind), "%s", wrong[i]);
		ck_assert_uint_eq(kind, HASH_KIND_MAX);
	}
}
END_TEST

START_TEST(null_empty_key)
{
	for (unsigned k = 0; k < HASH_KIND_MAX; k++)
		ck_assert_uint_eq(hash_key((enum hash_kind)k, (struct slice){ NULL, 0 }),
				  hash_key((enum hash_kind)k, SLICE("")));
}
END_TEST

/* Lengths on both sides of every padding and block boundary. */
START_TEST(md5_equals_libcrypto)
{
	unsigned char text[300], digest[EVP_MAX_MD_SIZE];
	for (size_t i = 0; i < sizeof(text); i++) text[i] = (unsigned char)(i * 37 + 11);

	for (size_t n = 0; n <= sizeof(text); n++) {
		uint32_t words[4];
		ck_assert_int_eq(EVP_Digest(text, n, digest, NULL, EVP_md5(), NULL), 1);
		hash_md5_words((struct slice){ (const char *)text, n }, words);
		for (int w = 0; w < 4; w++) {
			const unsigned char *d = digest + 4 * w;
			ck_assert_uint_eq(words[w], (uint32_t)d[0] | (uint32_t)d[1] << 8 |
							(uint32_t)d[2] << 16 |
							(uint32_t)d[3] << 24);
		}
	}
}
END_TEST

START_TEST(fnv1a_unsigned)
{
	/* agrees with the signed one on ASCII, and must not on bytes from 0x80 */
	ck_assert_uint_eq(hash_fnv1a_32_unsigned(HASH_FNV_32_BASIS, SLICE("foobar")),
			  hash_key(HASH_FNV1A_32, SLICE("foobar")));
	ck_assert_uint_eq(hash_fnv1a_32_unsigned(HASH_FNV_32_BASIS, SLICE("foobar")), 0xbf9cf968);
	ck_assert_uint_ne(hash_fnv1a_32_unsigned(HASH_FNV_32_BASIS, SLICE("caf\xc3\xa9")),
			  hash_key(HASH_FNV1A_32, SLICE("caf\xc3\xa9")));
	ck_assert_uint_eq(hash_fnv1a_32_unsigned(7, SLICE("")), 7);
}
END_TEST

static const struct {
	const char *tag, *key, *want;
} tags[] = {
	{ "{}", "{user}:1", "user" },
	{ "{}", "a{b}c{d}e", "b" },
	{ "{}", "{}x{a}", "{}x{a}" },
	{ "{}", "x{{n}}y", "{n" },
	{ "{}", "}{", "}{" },
	{ "{}", "}{a}", "a" },
	{ "{}", "{open", "{open" },
	{ "{}", "shut}", "shut}" },
	{ "{}", "x{", "x{" },
	{ "{}", "", "" },
	{ "$$", "$a$b", "a" },
	{ "$$", "$$a$", "$$a$" },
	{ "$$", "$", "$" },
	{ "[]", "{a}[b]", "b" },
	{ "", "{user}:1", "{user}:1" },
};

START_TEST(tag_rules)
{
	const char tag[2] = { tags[_i].tag[0], tags[_i].tag[0] ? tags[_i].tag[1] : 0 };
	struct slice got = hash_tag_apply(slice_of(tags[_i].key), tag);
	ck_assert_msg(slice_eq(got, slice_of(tags[_i].want)), "tag %s of %s is %.*s, not %s",
		      tags[_i].tag, tags[_i].key, (int)got.n, got.p, tags[_i].want);
}
END_TEST

START_TEST(tag_stays_inside_key)
{
	/* the closing byte lies beyond the slice */
	struct slice key = { "{abc}", 4 };
	ck_assert(slice_eq(hash_tag_apply(key, "{}"), key));
	key.n = 1;
	ck_assert(slice_eq(hash_tag_apply(key, "{}"), key));
	ck_assert_uint_eq(hash_tag_apply((struct slice){ NULL, 0 }, "{}").n, 0);
	/* binary keys */
	ck_assert(slice_eq(hash_tag_apply(SLICE("\0{\0}\0"), "{}"), SLICE("\0")));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("hash");
	TCase *t = tcase_create("hash");
	tcase_add_loop_test(t, golden_text_keys, 0, HASH_KIND_MAX);
	tcase_add_loop_test(t, golden_binary_keys, 0, HASH_KIND_MAX);
	tcase_add_test(t, names_round_trip);
	tcase_add_test(t, null_empty_key);
	tcase_add_test(t, md5_equals_libcrypto);
	tcase_add_test(t, fnv1a_unsigned);
	tcase_add_loop_test(t, tag_rules, 0, sizeof(tags) / sizeof(tags[0]));
	tcase_add_test(t, tag_stays_inside_key);
	suite_add_tcase(s, t);

	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
