// ctrl_ignore: does not cooperate when told to stop. It never looks at control. After the end of
// the internal stream it goes on relaying from the network until that ends too. Only the host can
// end it, at a host call after the grace period.
#include "library/module.h"

#include <stdbool.h>
#include <string.h>

enum { ENDED = 1 };

// Returns 0, ENDED, or a negative errno.
static int32_t pump(int32_t from, int32_t to) {
    static uint8_t piece[4096];
    for (;;) {
        int32_t count = read_some(from, piece, sizeof piece);
        if (count == failed(__WASI_ERRNO_AGAIN)) return 0;
        if (count < 0) return count;
        if (count == 0) return ENDED;
        int32_t result = write_spinning(to, piece, (size_t)count);
        if (result < 0) return result;
    }
}

EXPORT(watm_start_v1) int32_t watm_start(void) {
    int32_t result = set_nonblocking(module.source);
    if (result == 0) result = set_nonblocking(module.remote);
    bool source_ended = false;
    while (result == 0) {
        __wasi_subscription_t subscriptions[2];
        __wasi_event_t events[2];
        __wasi_size_t ready;
        memset(subscriptions, 0, sizeof subscriptions);
        for (int i = 0; i < 2; i++) {
            subscriptions[i].u.tag = __WASI_EVENTTYPE_FD_READ;
            subscriptions[i].u.u.fd_read.file_descriptor = i == 0 ? module.remote : module.source;
        }
        __wasi_errno_t error = __wasi_poll_oneoff(subscriptions, events, source_ended ? 1 : 2, &ready);
        if (error != 0) return failed(error);
        if (!source_ended) {
            result = pump(module.source, module.remote);
            source_ended = result == ENDED;
            if (source_ended) result = 0;
        }
        if (result == 0) result = pump(module.remote, module.source);
    }
    return result == ENDED ? 0 : result;
}
