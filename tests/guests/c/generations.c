// generations: the workers of the TinyGo library over time, one of which most public modules
// contain. Built with GENERATION 1 to 3. Passes through or, with REVERSING, reverses every piece.
// All generations wait only for reading. They read each side until EAGAIN and write each piece to
// the other side. None polls for writing. They differ in how they handle a refused write, and in
// how they end:
//   1  EAGAIN or a short write ends the transport with EIO, the end of either stream with EPIPE.
//      After a poll without events it sleeps for 100 us.
//   2  A piece that meets EAGAIN is dropped, with a line on standard error here, and the transport
//      goes on. A short write ends it with EMSGSIZE, the end of either stream with 0.
//   3  A piece that meets EAGAIN is written again as a whole, at once. The rest is as in 2.
// Configuration: line 0 is the size of the buffer, 1 to 131072 bytes, line 1 the address for
// dial_fixed. With any other size watm_init_v1 fails with -EINVAL.
#include "library/module.h"

#include <string.h>

#define LARGEST 131072

enum { ENDED = 1 };

static uint8_t piece[LARGEST];
static size_t piece_size;

int32_t guest_init(void) {
    int32_t size = config_size(0, LARGEST);
    if (size < 0) return size;
    piece_size = (size_t)size;
    return 0;
}

int32_t guest_address(char *address, size_t capacity) { return config_line(1, address, capacity); }

static void transform(size_t length) {
#ifdef REVERSING
    for (size_t i = 0; i < length / 2; i++) {
        uint8_t byte = piece[i];
        piece[i] = piece[length - 1 - i];
        piece[length - 1 - i] = byte;
    }
#endif
}

// Returns 0 or a negative errno.
static int32_t write_piece(int32_t to, size_t length) {
    int32_t count = write_some(to, piece, length);
#if GENERATION == 1
    if (count == failed(__WASI_ERRNO_AGAIN)) return failed(__WASI_ERRNO_IO);
    if (count < 0) return count;
    return (size_t)count == length ? 0 : failed(__WASI_ERRNO_IO);
#else
#if GENERATION == 2
    if (count == failed(__WASI_ERRNO_AGAIN)) {
        log_line("a piece was dropped");
        return 0;
    }
#else
    while (count == failed(__WASI_ERRNO_AGAIN)) count = write_some(to, piece, length);
#endif
    if (count < 0) return count;
    return (size_t)count == length ? 0 : failed(__WASI_ERRNO_MSGSIZE);
#endif
}

// Returns 0 when the descriptor has no more for now, ENDED at its end, or a negative errno.
static int32_t pump(int32_t from, int32_t to) {
    for (;;) {
        int32_t length = read_some(from, piece, piece_size);
        if (length == failed(__WASI_ERRNO_AGAIN)) return 0;
        if (length < 0) return length;
        if (length == 0) return ENDED;
        transform((size_t)length);
        int32_t result = write_piece(to, (size_t)length);
        if (result < 0) return result;
    }
}

#if GENERATION == 1
static void sleep_briefly(void) {
    __wasi_subscription_t clock = {
        .u = {.tag = __WASI_EVENTTYPE_CLOCK,
              .u.clock = {.id = __WASI_CLOCKID_MONOTONIC, .timeout = 100000}},
    };
    __wasi_event_t event;
    __wasi_size_t count;
    (void)__wasi_poll_oneoff(&clock, &event, 1, &count);
}
#endif

EXPORT(watm_start_v1) int32_t watm_start(void) {
    const int32_t fds[3] = {module.control, module.source, module.remote};
    __wasi_subscription_t subscriptions[3];
    for (int i = 0; i < 3; i++) {
        int32_t result = set_nonblocking(fds[i]);
        if (result < 0) return result;
        subscriptions[i] = (__wasi_subscription_t){
            .userdata = (uint64_t)fds[i],
            .u = {.tag = __WASI_EVENTTYPE_FD_READ, .u.fd_read.file_descriptor = fds[i]},
        };
    }
    for (;;) {
        __wasi_event_t events[3];
        __wasi_size_t count;
        memset(events, 0, sizeof events);
        __wasi_errno_t error = __wasi_poll_oneoff(subscriptions, events, 3, &count);
        if (error != 0) return failed(error);
        for (int i = 0; i < 3; i++)
            if (events[i].error != 0) return failed(events[i].error);
#if GENERATION == 1
        if (count == 0) {
            sleep_briefly();
            continue;
        }
#endif
        uint8_t byte;
        int32_t result = read_some(module.control, &byte, 1);
        if (result >= 0) return failed(__WASI_ERRNO_CANCELED);
        if (result != failed(__WASI_ERRNO_AGAIN)) return result;

        result = pump(module.source, module.remote);
        if (result == 0) result = pump(module.remote, module.source);
        if (result < 0) return result;
        if (result == ENDED) return GENERATION == 1 ? failed(__WASI_ERRNO_PIPE) : 0;
    }
}
