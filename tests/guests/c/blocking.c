// blocking: leaves its descriptors blocking in the data phase and strictly alternates: a message
// one way, then a message the other way. A message is a length (4 bytes, big-endian, at most 65536)
// and that many bytes. With a dialer the application speaks first, with a listener the peer, with a
// relay the accepted side. Ends with 0 at an end of stream between messages. It never looks at
// control.
#include "library/module.h"

#include <stdbool.h>

#define MESSAGE_MAX 65536
enum { ENDED = 1 };

static bool has_accepted, has_dialled;

int32_t guest_accepted(int32_t fd) {
    has_accepted = true;
    return 0;
}

int32_t guest_dialled(int32_t fd) {
    has_dialled = true;
    return 0;
}

// Returns 0, ENDED, or a negative errno.
static int32_t pass_message(int32_t from, int32_t to) {
    static uint8_t message[4 + MESSAGE_MAX];
    int32_t count = read_some(from, message, 4);
    if (count < 0) return count;
    if (count == 0) return ENDED;
    int32_t result = read_exactly(from, message + count, (size_t)(4 - count));
    if (result < 0) return result;
    uint32_t length = (uint32_t)message[0] << 24 | message[1] << 16 | message[2] << 8 | message[3];
    if (length > MESSAGE_MAX) return failed(__WASI_ERRNO_MSGSIZE);
    result = read_exactly(from, message + 4, length);
    if (result < 0) return result;
    return write_fully(to, message, 4 + length);
}

EXPORT(watm_start_v1) int32_t watm_start(void) {
    const bool listener = has_accepted && !has_dialled;
    const int32_t first = listener ? module.remote : module.source;
    const int32_t second = listener ? module.source : module.remote;
    for (;;) {
        int32_t result = pass_message(first, second);
        if (result == 0) result = pass_message(second, first);
        if (result == ENDED) return 0;
        if (result < 0) return result;
    }
}
