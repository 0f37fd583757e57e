// compute: writes "computing" to the network, computes without calling the host, then passes
// through. The written bytes must be sent while it computes. Configuration: the number of steps,
// each of a few nanoseconds. With " both" after it, the guest also writes to its source side.
#include "library/module.h"

#include <stdlib.h>
#include <string.h>

static const char NOTE[] = "computing";

static uint64_t compute(uint64_t steps) {
    uint64_t state = 88172645463325252u;
    for (; steps > 0; steps--) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    return state;
}

int32_t guest_started(void) {
    char line[64];
    int32_t result = config_line(0, line, sizeof line);
    if (result < 0) return result;
    char *rest;
    const uint64_t steps = strtoull(line, &rest, 10);
    result = write_spinning(module.remote, NOTE, sizeof NOTE - 1);
    if (result == 0 && strcmp(rest, " both") == 0) result = write_spinning(module.source, NOTE, sizeof NOTE - 1);
    if (result < 0) return result;
    // Uses the result, which is never 0, so that the compiler keeps the loop.
    return compute(steps) == 0 ? failed(__WASI_ERRNO_IO) : 0;
}
