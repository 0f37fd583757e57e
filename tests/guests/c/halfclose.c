// halfclose: a well-behaved modern module. It keeps what it could not write, waits for room instead
// of spinning, forwards an end of stream with sock_shutdown, and ends when both directions have
// ended.
#include "library/module.h"

#include <stdbool.h>
#include <string.h>

struct pipe {
    int32_t from, to;
    bool ended;        // nothing more to read
    bool finished;     // and the end has been forwarded
    size_t start, end; // bytes read and not yet written
    uint8_t buffer[16384];
};
static struct pipe pipes[2];

// Moves bytes until either side has no more for now. Returns 0 or a negative errno.
static int32_t advance(struct pipe *pipe) {
    const int32_t again = failed(__WASI_ERRNO_AGAIN);
    while (!pipe->finished) {
        if (pipe->start < pipe->end) {
            int32_t count = write_some(pipe->to, pipe->buffer + pipe->start, pipe->end - pipe->start);
            if (count == again) return 0;
            if (count < 0) return count;
            pipe->start += (size_t)count;
        } else if (pipe->ended) {
            __wasi_errno_t error = __wasi_sock_shutdown(pipe->to, __WASI_SDFLAGS_WR);
            // The other side may be gone. Then there is nobody left to tell.
            if (error != 0 && error != __WASI_ERRNO_NOTCONN) return failed(error);
            pipe->finished = true;
        } else {
            int32_t count = read_some(pipe->from, pipe->buffer, sizeof pipe->buffer);
            if (count == again) return 0;
            if (count < 0) return count;
            pipe->ended = count == 0;
            pipe->start = 0;
            pipe->end = (size_t)count;
        }
    }
    return 0;
}

static __wasi_subscription_t subscription(int32_t fd, __wasi_eventtype_t type) {
    // fd_read and fd_write subscriptions have the same layout.
    return (__wasi_subscription_t){
        .userdata = (uint64_t)fd,
        .u = {.tag = type, .u.fd_read.file_descriptor = fd},
    };
}

// Waits until control, or a direction that can go on, is ready. Returns 0 or a negative errno.
static int32_t wait(void) {
    __wasi_subscription_t subscriptions[3];
    __wasi_event_t events[3];
    size_t count = 0;
    subscriptions[count++] = subscription(module.control, __WASI_EVENTTYPE_FD_READ);
    for (int i = 0; i < 2; i++) {
        struct pipe *pipe = &pipes[i];
        if (pipe->finished) continue;
        subscriptions[count++] = pipe->start < pipe->end ? subscription(pipe->to, __WASI_EVENTTYPE_FD_WRITE)
                                                         : subscription(pipe->from, __WASI_EVENTTYPE_FD_READ);
    }
    __wasi_size_t ready;
    memset(events, 0, sizeof events);
    __wasi_errno_t error = __wasi_poll_oneoff(subscriptions, events, count, &ready);
    if (error != 0) return failed(error);
    if (ready == 0) return failed(__WASI_ERRNO_IO); // without a clock, something must be ready
    for (size_t i = 0; i < ready; i++)
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

    while (!pipes[0].finished || !pipes[1].finished) {
        int32_t result = wait();
        if (result < 0) return result;
        uint8_t byte;
        result = read_some(module.control, &byte, 1);
        if (result >= 0) return failed(__WASI_ERRNO_CANCELED);
        if (result != failed(__WASI_ERRNO_AGAIN)) return result;
        for (int i = 0; i < 2; i++) {
            result = advance(&pipes[i]);
            if (result < 0) return result;
        }
    }
    return 0;
}
