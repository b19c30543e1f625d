#include "common/codec_mc_scan.h"

struct mc_number {
	uint64_t magnitude;
	bool negative;
};

static bool mc_parse_number(struct slice s, struct mc_number *out, bool *plain)
{
	const char *p = s.p, *end = s.p + s.n;
	bool sign = p < end && (*p == '+' || *p == '-');
	bool negative = sign && *p == '-';
	const char *digits = p + sign;
	if (mc_digits(digits, end, UINT64_MAX, &out->magnitude) != end) return false;
	out->negative = negative && out->magnitude != 0;
	if (sign && !out->negative) *plain = false;
	if (*digits == '0' && end - digits > 1) *plain = false;
	return true;
}

bool mc_parse_u64(struct slice s, uint64_t *out, bool *plain)
{
	struct mc_number v;
	if (!mc_parse_number(s, &v, plain) || v.negative) return false;
	*out = v.magnitude;
	return true;
}

bool mc_parse_flags(struct slice s, uint32_t *out, bool *plain)
{
	uint64_t v;
	if (!mc_parse_u64(s, &v, plain)) return false;
	if (v > UINT32_MAX) *plain = false;
	*out = (uint32_t)v;
	return true;
}

bool mc_parse_exptime(struct slice s, int32_t *out, bool *plain)
{
	struct mc_number v;
	if (!mc_parse_number(s, &v, plain)) return false;
	if (v.magnitude > (uint64_t)INT64_MAX + v.negative) return false;
	if (v.magnitude > (uint64_t)INT32_MAX + v.negative) *plain = false;
	*out = (int32_t)(uint32_t)(v.negative ? -v.magnitude : v.magnitude);
	return true;
}

bool mc_parse_length(struct slice s, uint32_t *out, bool *plain)
{
	uint64_t v;
	if (!mc_parse_u64(s, &v, plain) || v > INT32_MAX - 2) return false;
	*out = (uint32_t)v;
	return true;
}
