// records: frames what goes to the remote, with a big-endian 2-byte length and a body, and removes
// the frames of what comes from there. Reads as some real modules do: a head and then its body,
// from a non-blocking descriptor. It assumes that a record is there as a whole. If a read in the
// middle of a record is refused, it has lost its place and fails with -EPROTO.
#include "library/module.h"

#include <string.h>

#define HEAD 2
#define BODY_MAX 16384

static uint8_t record[HEAD + BODY_MAX];

// Sends one piece to the remote. Returns 0 when there is nothing, 1 at the end of stream, or a
// negative errno.
static int32_t wrap(void) {
    int32_t length = read_some(module.source, record + HEAD, BODY_MAX);
    if (length == failed(__WASI_ERRNO_AGAIN)) return 0;
    if (length <= 0) return length < 0 ? length : 1;
    record[0] = (uint8_t)(length >> 8);
    record[1] = (uint8_t)length;
    return write_fully(module.remote, record, HEAD + (size_t)length);
}

static int32_t refused(int32_t result) { return result == failed(__WASI_ERRNO_AGAIN) ? failed(__WASI_ERRNO_PROTO) : result; }

// Receives one record from the remote.
static int32_t unwrap(void) {
    int32_t result = read_some(module.remote, record, HEAD);
    if (result == failed(__WASI_ERRNO_AGAIN)) return 0;
    if (result <= 0) return result < 0 ? result : 1;
    result = refused(read_exactly(module.remote, record + result, HEAD - (size_t)result));
    if (result < 0) return result;
    size_t length = (size_t)record[0] << 8 | record[1];
    if (length > BODY_MAX) return failed(__WASI_ERRNO_PROTO);
    result = refused(read_exactly(module.remote, record, length));
    return result < 0 ? result : write_fully(module.source, record, length);
}

EXPORT(watm_start_v1) int32_t watm_start(void) {
    const int32_t fds[3] = {module.control, module.source, module.remote};
    __wasi_subscription_t subscriptions[3];
    for (int i = 0; i < 3; i++) {
        int32_t result = set_nonblocking(fds[i]);
        if (result < 0) return result;
        subscriptions[i] = readable(fds[i]);
    }
    for (;;) {
        __wasi_event_t events[3];
        __wasi_size_t count;
        __wasi_errno_t error = __wasi_poll_oneoff(subscriptions, events, 3, &count);
        if (error != 0) return failed(error);
        uint8_t byte;
        int32_t result = read_some(module.control, &byte, 1);
        if (result >= 0) return failed(__WASI_ERRNO_CANCELED);
        if (result != failed(__WASI_ERRNO_AGAIN)) return result;
        result = wrap();
        if (result == 0) result = unwrap();
        if (result != 0) return result < 0 ? result : 0;
    }
}
