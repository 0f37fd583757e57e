// anysize: half-close with the library's habits, and a buffer of any size. It reads each side until
// EAGAIN, repeats the whole write on EAGAIN without polling, forwards an end of stream with
// sock_shutdown, and ends when both directions have ended. Configuration: line 0 is the buffer
// size, 1 to 65536 bytes, and line 1 the address for dial_fixed. With any other size watm_init_v1
// fails with -EINVAL.
#include "library/module.h"

#include <stdbool.h>
#include <string.h>

#define LARGEST 65536

static uint8_t piece[LARGEST];
static size_t piece_size;

struct pipe {
    int32_t from, to;
    bool ended;
};
static struct pipe pipes[2];

int32_t guest_init(void) {
    int32_t size = config_size(0, LARGEST);
    if (size < 0) return size;
    piece_size = (size_t)size;
    return 0;
}

int32_t guest_address(char *address, size_t capacity) { return config_line(1, address, capacity); }

// Moves pieces until there are no more for now. Returns 0 or a negative errno.
static int32_t pump(struct pipe *pipe) {
    while (!pipe->ended) {
        int32_t length = read_some(pipe->from, piece, piece_size);
        if (length == failed(__WASI_ERRNO_AGAIN)) return 0;
        if (length < 0) return length;
        if (length == 0) {
            pipe->ended = true;
            __wasi_errno_t error = __wasi_sock_shutdown(pipe->to, __WASI_SDFLAGS_WR);
            // The other side may be gone. Then there is nobody left to tell.
            return error != 0 && error != __WASI_ERRNO_NOTCONN ? failed(error) : 0;
        }
        int32_t result = write_spinning(pipe->to, piece, (size_t)length);
        if (result < 0) return result;
    }
    return 0;
}

// Waits until control, or a side that has not ended, is readable. An ended side would always be
// readable. Returns 0 or a negative errno.
static int32_t wait(void) {
    __wasi_subscription_t subscriptions[3];
    __wasi_event_t events[3];
    int32_t fds[3] = {module.control};
    size_t count = 1;
    for (int i = 0; i < 2; i++)
        if (!pipes[i].ended) fds[count++] = pipes[i].from;
    for (size_t i = 0; i < count; i++)
        subscriptions[i] = (__wasi_subscription_t){
            .userdata = (uint64_t)fds[i],
            .u = {.tag = __WASI_EVENTTYPE_FD_READ, .u.fd_read.file_descriptor = fds[i]},
        };
    __wasi_size_t ready;
    memset(events, 0, sizeof events);
    __wasi_errno_t error = __wasi_poll_oneoff(subscriptions, events, count, &ready);
    if (error != 0) return failed(error);
    for (size_t i = 0; i < count; i++)
        if (events[i].error != 0) return failed(events[i].error);
    return 0;
}

EXPORT(watm_start_v1) int32_t watm_start(void) {
    const int32_t fds[3] = {module.control, module.source, module.remote};
    for (int i = 0; i < 3; i++) {
        int32_t result = set_nonblocking(fds[i]);
        if (result < 0) return result;
    }
    pipes[0] = (struct pipe){.from = module.source, .to = module.remote};
    pipes[1] = (struct pipe){.from = module.remote, .to = module.source};

    while (!pipes[0].ended || !pipes[1].ended) {
        int32_t result = wait();
        if (result < 0) return result;
        uint8_t byte;
        result = read_some(module.control, &byte, 1);
        if (result >= 0) return failed(__WASI_ERRNO_CANCELED);
        if (result != failed(__WASI_ERRNO_AGAIN)) return result;
        for (int i = 0; i < 2; i++) {
            result = pump(&pipes[i]);
            if (result < 0) return result;
        }
    }
    return 0;
}
