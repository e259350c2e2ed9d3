#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

// Fibers have stacks of their own, which fake ones would make useless.
extern "C" const char* __asan_default_options() { return "detect_stack_use_after_return=0"; }
