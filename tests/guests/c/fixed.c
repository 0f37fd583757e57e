// fixed: only a fixed dialer, which imports only water_dial from the host functions. Configuration:
// "network address". It passes both strings in pieces, with empty pieces between, so that the host
// must gather them.
#include "library/module.h"

#include <string.h>

enum { PIECES = 5 };

// Splits text into the first byte, nothing, a third, nothing, and the rest.
static void split(const char *text, __wasi_ciovec_t pieces[PIECES]) {
    size_t length = strlen(text);
    size_t first = length > 0 ? 1 : 0;
    size_t middle = (length - first) / 3;
    const size_t lengths[PIECES] = {first, 0, middle, 0, length - first - middle};
    const uint8_t *position = (const uint8_t *)text;
    for (int i = 0; i < PIECES; i++) {
        pieces[i] = (__wasi_ciovec_t){.buf = position, .buf_len = lengths[i]};
        position += lengths[i];
    }
}

EXPORT(watm_dial_fixed_v1) int32_t watm_dial_fixed(int32_t internal) {
    char line[CONFIG_MAX];
    int32_t length = config_line(0, line, sizeof line);
    if (length < 0) return length;
    char *space = strchr(line, ' ');
    if (space == NULL) return failed(__WASI_ERRNO_INVAL);
    *space = '\0';

    __wasi_ciovec_t network[PIECES], address[PIECES];
    split(line, network);
    split(space + 1, address);
    int32_t remote = water_dial(network, PIECES, address, PIECES);
    if (remote < 0) return remote;
    module.source = internal;
    module.remote = remote;
    return remote;
}
