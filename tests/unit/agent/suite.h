/* suite.h - what every kind of store must do, run against each. */
#ifndef TWINRING_TESTS_AGENT_SUITE_H
#define TWINRING_TESTS_AGENT_SUITE_H

#include <check.h>

#include "tests/unit/agent/rig.h"

/* A new session in the tree of this test, empty at its first opening; told to r when connected. */
typedef void (*suite_open_fn)(struct rig *r);

void suite_add(TCase *tc, suite_open_fn open);

#endif
