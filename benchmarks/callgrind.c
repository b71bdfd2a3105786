/* What a program under valgrind says to its tool callgrind; without valgrind each of these does nothing. */

#include <valgrind/callgrind.h>

int under_valgrind(void) { return (int) RUNNING_ON_VALGRIND; }

void start(void) { CALLGRIND_START_INSTRUMENTATION; }

/* Instructions count, or no longer do. */
void toggle(void) { CALLGRIND_TOGGLE_COLLECT; }

void zero(void) { CALLGRIND_ZERO_STATS; }

void dump(const char *name) { CALLGRIND_DUMP_STATS_AT(name); }
