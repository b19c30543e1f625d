/* lockstep_answer.h - a server's part: questions framed, keys found, answers written. Pure. */
#ifndef TESTS_BENCH_LOCKSTEP_ANSWER_H
#define TESTS_BENCH_LOCKSTEP_ANSWER_H

#include "tests/bench/lockstep_peers.h"

void lockstep_reserve(struct lockstep_bytes *b, size_t room);

/* Answers each whole request at in->p; returns the bytes used. Counts keys asked for or set. */
size_t lockstep_answer(const struct lg_work *w, const struct lockstep_bytes *in,
		       struct lockstep_bytes *out, uint64_t *keys);

#endif
