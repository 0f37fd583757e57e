// dialmany: asks for connections until it gets no more, and keeps them all.
//   dial        water_dial_fixed until it fails, at most 5000 times, then logs
//               "dialled N then errno E" (errno 0: none failed); then dials every line of the
//               configuration, as below. It uses the first connection.
//   dial_fixed  water_dial for every line of the configuration, "network address", logged as
//               "dial tcp 127.0.0.1:80 -> errno 76" or "-> fd 5". It uses the first connection, or
//               returns the last failure if there is none.
#include "library/module.h"

#include <string.h>

#define DIALS_MAX 5000

// Dials every configured address. Returns the first descriptor, or the last failure, or -ENOENT if
// there was nothing to dial.
static int32_t dial_configured(void) {
    char line[CONFIG_MAX];
    int32_t first = failed(__WASI_ERRNO_NOENT);
    for (int i = 0; config_line(i, line, sizeof line) >= 0; i++) {
        char *space = strchr(line, ' ');
        if (space == NULL) continue;
        *space = '\0';
        int32_t result = dial_address(line, space + 1);
        if (result < 0)
            log_line("dial %s %s -> errno %d", line, space + 1, -result);
        else
            log_line("dial %s %s -> fd %d", line, space + 1, result);
        if (first < 0) first = result;
    }
    return first;
}

static int32_t connected(int32_t internal, int32_t remote) {
    module.source = internal;
    module.remote = remote;
    return remote;
}

EXPORT(watm_dial_v1) int32_t watm_dial(int32_t internal) {
    int32_t first = water_dial_fixed(), count = 0, result = first;
    while (result >= 0 && ++count < DIALS_MAX) result = water_dial_fixed();
    log_line("dialled %d then errno %d", count, result < 0 ? -result : 0);
    dial_configured();
    return connected(internal, first);
}

EXPORT(watm_dial_fixed_v1) int32_t watm_dial_fixed(int32_t internal) { return connected(internal, dial_configured()); }
