#include "common/redis_import.h"

#include "common/mutation.h"

/* KEYS: the key, the epoch key, the hash of marks. ARGV: the mark, then as each script says. */
#define EPOCH_OR_REFUSE                                       \
	"if redis.call('GET',KEYS[2])~=ARGV[1] then\n"        \
	" return redis.error_reply('EPOCH is not '..ARGV[1])" \
	" end\n"

/* clang-format off */

/* ARGV[2]: most bytes. MEMORY USAGE shows a key that has expired, DUMP does not. Before 7.0 there
 * is no PEXPIRETIME. */
static const char dump_script[] =
	EPOCH_OR_REFUSE
	"local n=redis.call('MEMORY','USAGE',KEYS[1])\n"
	"if not n then return false end\n"
	"local max=tonumber(ARGV[2])\n"
	"if max>0 and n>max then return redis.error_reply('BIGKEY '..n..' bytes') end\n"
	"local v=redis.call('DUMP',KEYS[1])\n"
	"if not v then return false end\n"
	"local e=redis.pcall('PEXPIRETIME',KEYS[1])\n"
	"if type(e)=='table' then\n"
	" e=redis.call('PTTL',KEYS[1])\n"
	" if e>=0 then\n"
	"  local t=redis.call('TIME')\n"
	"  e=t[1]*1000+math.floor(t[2]/1000)+e\n"
	" end\n"
	"end\n"
	"return {v,e}";

/* ARGV[2]: expiry, ARGV[3]: the value. The mark comes last: were it first, a RESTORE that fails
 * would leave a key that counts as moved and is nowhere but at the source, where it is unlinked
 * next. */
static const char restore_script[] =
	EPOCH_OR_REFUSE
	"if redis.call('HEXISTS',KEYS[3],KEYS[1])==1 then return 0 end\n"
	"local n=0\n"
	"if ARGV[3]~='' and redis.call('EXISTS',KEYS[1])==0 then\n"
	" if tonumber(ARGV[2])<0 then redis.call('RESTORE',KEYS[1],0,ARGV[3])\n"
	" else redis.call('RESTORE',KEYS[1],ARGV[2],ARGV[3],'ABSTTL') end\n"
	" n=1\n"
	"end\n"
	"redis.call('HSET',KEYS[3],KEYS[1],1)\n"
	"return n";

static const char unlink_script[] =
	EPOCH_OR_REFUSE
	"return redis.call('UNLINK',KEYS[1])";

/* clang-format on */

#ifdef TWINRING_MUTATIONS
/* The scripts with a rule off. They return what follows first. */
static const char *without_epoch(const char *script)
{
	return script + sizeof(EPOCH_OR_REFUSE) - 1;
}

static const char restore_without_mark[] =
    "if redis.call('EXISTS',KEYS[1])==1 then return 0 end\n"
    "if tonumber(ARGV[2])<0 then redis.call('RESTORE',KEYS[1],0,ARGV[3])\n"
    "else redis.call('RESTORE',KEYS[1],ARGV[2],ARGV[3],'ABSTTL') end\n"
    "return 1";

static struct slice in_force(const char *script)
{
	if (MUTATED(NOMARK) && script == restore_script) return slice_of(restore_without_mark);
	return slice_of(MUTATED(NOEPOCH) ? without_epoch(script) : script);
}
#else
static struct slice in_force(const char *script)
{
	return slice_of(script);
}
#endif

const struct op_info *redis_import_op(enum redis_import_step step)
{
	static const uint16_t ids[] = {
		[IMPORT_DUMP] = RESP_IMPORT_DUMP,
		[IMPORT_RESTORE] = RESP_IMPORT_RESTORE,
		[IMPORT_UNLINK] = RESP_IMPORT_UNLINK,
	};
	return &resp_command_at(ids[step])->op;
}

/* --- requests --------------------------------------------------------------------------------- */

static void put_moved_key(struct scratch *out, const char *mark)
{
	size_t n = strlen(mark);
	resp_put_head(out, '$', sizeof(REDIS_MOVED_PREFIX) - 1 + n);
	scratch_puts(out, SLICE(REDIS_MOVED_PREFIX));
	scratch_put(out, mark, n);
	scratch_puts(out, SLICE("\r\n"));
}

static void put_number(struct scratch *out, int64_t v)
{
	char digits[24], *p = digits + sizeof(digits);
	uint64_t left = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
	do *--p = (char)('0' + left % 10);
	while (left /= 10);
	if (v < 0) *--p = '-';
	resp_put_bulk(out, (struct slice){ p, (size_t)(digits + sizeof(digits) - p) });
}

/* EVAL with the three keys and the mark; `more` arguments follow. */
static void put_eval(struct scratch *out, struct slice script, struct slice key, const char *mark,
		     uint32_t more)
{
	resp_put_head(out, '*', 7 + more);
	resp_put_bulk(out, SLICE("EVAL"));
	resp_put_bulk(out, script);
	resp_put_bulk(out, SLICE("3"));
	resp_put_bulk(out, key);
	resp_put_bulk(out, SLICE(REDIS_EPOCH_KEY));
	put_moved_key(out, mark);
	resp_put_bulk(out, slice_of(mark));
}

void redis_import_put_dump(struct scratch *out, struct slice key, const char *mark,
			   uint64_t max_bytes)
{
	put_eval(out, in_force(dump_script), key, mark, 1);
	put_number(out, max_bytes > INT64_MAX ? INT64_MAX : (int64_t)max_bytes);
}

void redis_import_put_restore(struct scratch *out, struct slice key, const char *mark,
			      const struct redis_dump *dump)
{
	put_eval(out, in_force(restore_script), key, mark, 2);
	put_number(out, dump->expire_ms);
	resp_put_head(out, '$', dump->value.n - 2);
}

void redis_import_put_unlink(struct scratch *out, struct slice key, const char *mark)
{
	put_eval(out, in_force(unlink_script), key, mark, 0);
}

/* --- replies ---------------------------------------------------------------------------------- */

static bool says(struct slice reply, const char *word)
{
	size_t n = strlen(word);
	return reply.n >= n && memcmp(reply.p, word, n) == 0;
}

/* "*2\r\n$3\r\nabc\r\n:-1\r\n" */
static enum redis_import_result read_dump(struct slice reply, struct redis_dump *out)
{
	size_t head;
	uint64_t count;
	if (!resp_array(reply, &head, &count) || count != 2) return IMPORT_FAILED;
	struct slice value = resp_value(reply.p + head, reply.n - head);
	struct slice expire = { value.p + value.n, reply.n - head - value.n };
	const char *line = value.n ? memchr(value.p, '\n', value.n) : NULL;
	if (!line || value.p[0] != '$' || resp_is_nil(value)) return IMPORT_FAILED;
	out->value = (struct slice){ line + 1, value.n - (size_t)(line + 1 - value.p) };
	return resp_integer(expire, &out->expire_ms) ? IMPORT_OK : IMPORT_FAILED;
}

enum redis_import_result redis_import_read(enum redis_import_step step, struct slice reply,
					   struct redis_dump *dump_out)
{
	if (says(reply, "-EPOCH ")) return IMPORT_REFUSED;
	if (says(reply, "-BIGKEY ")) return IMPORT_BIG;
	if (reply.n == 0 || reply.p[0] == '-' || reply.p[0] == '!') return IMPORT_FAILED;
	if (step != IMPORT_DUMP) return IMPORT_OK;
	if (resp_is_nil(reply)) return IMPORT_ABSENT;
	return read_dump(reply, dump_out);
}

bool redis_import_did(struct slice reply)
{
	int64_t n;
	return resp_integer(reply, &n) && n > 0;
}
