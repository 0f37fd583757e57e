// The worker of the TinyGo library. It waits only for reading, reads each side until EAGAIN, writes
// by spinning, and ends at the first end of stream. It deliberately has the habits that hosts have
// trouble with.
#include "module.h"

#include <string.h>

#ifndef BUF
#define BUF 1024
#endif

#ifdef POLLS
// Called before each poll.
void guest_polls(void);
#else
static void guest_polls(void) {}
#endif

enum { ENDED = 1 };

// Returns 0 when the descriptor has no more for now, ENDED at its end, or a negative errno.
static int32_t pump(int32_t from, int32_t to, enum direction direction) {
    static uint8_t piece[BUF];
    for (;;) {
        int32_t length = read_some(from, piece, sizeof piece);
        if (length == failed(__WASI_ERRNO_AGAIN)) return 0;
        if (length < 0) return length;
        if (length == 0) return ENDED;
        guest_piece(direction, piece, (size_t)length);
        int32_t result = write_spinning(to, piece, (size_t)length);
        if (result < 0) return result;
    }
}

EXPORT(watm_start_v1) int32_t watm_start(void) {
    const int32_t fds[3] = {module.control, module.source, module.remote};
    __wasi_subscription_t subscriptions[3];
    for (int i = 0; i < 3; i++) {
        int32_t result = set_nonblocking(fds[i]);
        if (result < 0) return result;
        subscriptions[i] = readable(fds[i]);
    }
    int32_t result = guest_started();
    if (result < 0) return result;

    for (;;) {
        __wasi_event_t events[3];
        __wasi_size_t count;
        memset(events, 0, sizeof events);
        guest_polls();
        __wasi_errno_t error = __wasi_poll_oneoff(subscriptions, events, 3, &count);
        if (error != 0) return failed(error);
        // Looks at every slot, not only the first `count`, to catch a host that writes more than it
        // reports.
        for (int i = 0; i < 3; i++)
            if (events[i].error != 0) return failed(events[i].error);

        uint8_t byte;
        result = read_some(module.control, &byte, 1);
        if (result >= 0) return failed(__WASI_ERRNO_CANCELED);
        if (result != failed(__WASI_ERRNO_AGAIN)) return result;

        result = pump(module.source, module.remote, TO_REMOTE);
        if (result == 0) result = pump(module.remote, module.source, TO_SOURCE);
        if (result < 0) return result;
        if (result == ENDED) return 0;
    }
}

__attribute__((weak)) int32_t guest_started(void) { return 0; }
__attribute__((weak)) void guest_piece(enum direction direction, uint8_t *piece, size_t length) {}
