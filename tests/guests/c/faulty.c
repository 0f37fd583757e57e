// faulty: a module that keeps every rule of `watm check` that a transport without encryption can
// keep, and breaks the one that its first argument names. Without an argument it is halfclose with a
// backlog for each direction, and closes its descriptors. With "second-connection", which breaks no
// rule, it dials twice, and uses only the second connection. A configuration is a line with a colon.
#include "guest.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const char *fault = "";
static int32_t source = -1, remote = -1, control = -1;

static bool breaks(const char *rule) { return strcmp(fault, rule) == 0; }

struct pipe {
    int32_t from, to;
    bool is_out;     // from the source to the remote
    bool has_read;   // something was read
    bool told;       // a poll has reported something to read
    bool ended;      // nothing more to read
    bool finished;   // and the end has been forwarded
    size_t ones;     // reads of one byte in a row
    size_t messages; // reads of 64 bytes
    size_t total;    // bytes read
    uint8_t *backlog;
    size_t capacity, start, end;
};
static struct pipe pipes[2];
static size_t moved;
static size_t switches; // from much in one direction to much in the other
static const struct pipe *busy;
static void *volatile leaked;

enum { PIECE = 16384, LIMIT = 2 << 20 };

// --- set-up ---

extern void __wasm_call_ctors(void);

int main(int argc, char **argv) {
    __wasm_call_ctors();
    if (argc > 1) fault = strdup(argv[1]);
    return 0;
}

EXPORT(watm_init_v1) int32_t watm_init(void) {
    char line[CONFIG_MAX];
    int32_t length = config_line(0, line, sizeof line);
    if (length < 0 && breaks("init-without-config")) __builtin_trap();
    if (length >= 0 && breaks("init-bad-config") && strchr(line, ':') == NULL) __builtin_trap();
    return breaks("init") ? failed(__WASI_ERRNO_INVAL) : 0;
}

EXPORT(watm_ctrlpipe_v1) int32_t watm_ctrlpipe(int32_t fd) {
    control = fd;
    return 0;
}

static int32_t connected(int32_t from, int32_t to) {
    source = from;
    remote = to;
    return to;
}

EXPORT(watm_dial_v1) int32_t watm_dial(int32_t internal) {
    if (breaks("role")) return failed(__WASI_ERRNO_PROTO);
    if (breaks("unsupported-role")) return failed(__WASI_ERRNO_PERM);
    int32_t fd = water_dial_fixed();
    if (fd >= 0 && breaks("second-connection")) fd = water_dial_fixed();
    if (fd < 0 && breaks("refused-dial")) __builtin_trap();
    return fd < 0 ? fd : connected(internal, fd);
}

EXPORT(watm_accept_v1) int32_t watm_accept(int32_t internal) {
    int32_t fd = water_accept();
    return fd < 0 ? fd : connected(internal, fd);
}

// --- data ---

// Reads into the backlog. Returns the bytes, or a negative errno.
static int32_t fill(struct pipe *pipe) {
    if (pipe->start == pipe->end) pipe->start = pipe->end = 0;
    if (breaks("slow-reader") && pipe->end - pipe->start > LIMIT) pipe->start = pipe->end = 0;
    if (pipe->capacity - pipe->end < PIECE) {
        size_t capacity = pipe->capacity * 2 + PIECE;
        uint8_t *larger = realloc(pipe->backlog, capacity);
        if (larger == NULL) return failed(__WASI_ERRNO_NOMEM);
        pipe->backlog = larger;
        pipe->capacity = capacity;
    }
    uint8_t *piece = pipe->backlog + pipe->end;
    int32_t count = read_some(pipe->from, piece, PIECE);
    if (count == failed(__WASI_ERRNO_AGAIN)) {
        if (pipe->told && breaks("refused-reads")) return failed(__WASI_ERRNO_PROTO);
        return count;
    }
    pipe->told = false;
    if (count == failed(__WASI_ERRNO_CONNRESET) && breaks("reset")) __builtin_trap();
    if (count < 0) return count;
    if (count == 0 && !pipe->has_read && breaks("closing-peer")) __builtin_trap();
    pipe->ones = count == 1 ? pipe->ones + 1 : 0;
    if (count >= 4096 && busy != pipe) {
        busy = pipe;
        switches++;
    }
    if (switches > 20 && breaks("both-directions")) return failed(__WASI_ERRNO_PROTO);
    pipe->messages += count == 64;
    if (pipe->messages > 1000 && breaks("messages")) __builtin_trap();
    if (pipe->ones > 2500 && breaks("one-byte-reads")) return failed(__WASI_ERRNO_PROTO);
    // With this fault, each side begins with a byte that the other expects.
    if (count > 0 && !pipe->has_read && !pipe->is_out && breaks("garbage-peer")) {
        if (piece[0] != 1) __builtin_trap();
        memmove(piece, piece + 1, (size_t)--count);
        pipe->has_read = true;
        if (count == 0) return failed(__WASI_ERRNO_AGAIN);
    }
    pipe->has_read = true;
    moved += (size_t)count;
    pipe->total += (size_t)count;
    if (count > 100 && breaks("data")) piece[100] ^= 1;
    if (count > 0 && breaks("memory")) leaked = malloc(1024);
    pipe->end += (size_t)count;
    return count;
}

static void compute(void) {
    volatile uint32_t result = 0;
    uint32_t x = 1;
    for (uint32_t i = 0; i < 100000000; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
    }
    result = x;
    (void)result;
}

// Writes a piece of the backlog, or all of it. Returns 0 or a negative errno.
static int32_t empty(struct pipe *pipe) {
    // Modules that keep a backlog read faster than they write.
    size_t most = breaks("slow-reader") || breaks("backlog-memory") ? 1024 : SIZE_MAX;
    while (pipe->start < pipe->end) {
        size_t length = pipe->end - pipe->start;
        if (length > most) length = most;
        int32_t count = write_some(pipe->to, pipe->backlog + pipe->start, length);
        if (count == failed(__WASI_ERRNO_AGAIN)) {
            if (breaks("write-spin")) continue;
            return breaks("refused-writes") ? failed(__WASI_ERRNO_IO) : 0;
        }
        if (count < 0) return count;
        pipe->start += breaks("short-writes") ? length : (size_t)count;
        if (most != SIZE_MAX) return 0;
    }
    return 0;
}

static bool looks_at_control(void) {
    if (breaks("silent-peer")) return pipes[1].has_read;
    return !breaks("control");
}

static bool keeps_backlog(const struct pipe *pipe) {
    return pipe->is_out && (breaks("slow-reader") || breaks("backlog-memory"));
}

static bool may_write(const struct pipe *pipe) {
    return pipe->is_out || pipes[0].has_read || !breaks("one-direction");
}

static int32_t forward_end(struct pipe *pipe) {
    pipe->finished = true;
    if (breaks("end-of-stream")) return 0;
    __wasi_errno_t error = __wasi_sock_shutdown(pipe->to, __WASI_SDFLAGS_WR);
    // The other side may be gone. Then there is nobody left to tell.
    return error == __WASI_ERRNO_NOTCONN ? 0 : failed(error);
}

// Moves bytes until either side has no more for now. Returns 0 or a negative errno.
static int32_t advance(struct pipe *pipe) {
    while (!pipe->finished) {
        int32_t result = may_write(pipe) ? empty(pipe) : 0;
        if (result < 0) return result;
        bool is_full = pipe->start < pipe->end;
        if (is_full && may_write(pipe) && (!keeps_backlog(pipe) || pipe->ended)) return 0;
        if (pipe->ended) return forward_end(pipe);
        result = fill(pipe);
        if (result == failed(__WASI_ERRNO_AGAIN)) return 0;
        if (result < 0) return result;
        pipe->ended = result == 0;
        // The directions take turns.
        if (breaks("both-directions") && !pipe->ended) return empty(pipe);
        if (moved >= 4 << 20 && breaks("pauses")) {
            moved = 0;
            compute();
        }
    }
    return 0;
}

// --- the worker ---

static __wasi_subscription_t subscription(int32_t fd, __wasi_eventtype_t type) {
    // fd_read and fd_write subscriptions have the same layout.
    return (__wasi_subscription_t){
        .userdata = (uint64_t)fd,
        .u = {.tag = type, .u.fd_read.file_descriptor = fd},
    };
}

// Whether a direction waits for something to read.
static bool reads(const struct pipe *pipe) {
    if (pipe->ended) return false;
    return pipe->start == pipe->end || keeps_backlog(pipe) || !may_write(pipe);
}

// Waits until control, or a direction that can go on, is ready. Returns 0 or a negative errno.
static int32_t wait(void) {
    __wasi_subscription_t subscriptions[6];
    __wasi_event_t events[6];
    size_t count = 0;
    if (looks_at_control()) subscriptions[count++] = subscription(control, __WASI_EVENTTYPE_FD_READ);
    for (int i = 0; i < 2; i++) {
        struct pipe *pipe = &pipes[i];
        if (pipe->finished && !breaks("idle")) continue;
        if ((pipe->start < pipe->end && may_write(pipe)) || breaks("idle"))
            subscriptions[count++] = subscription(pipe->to, __WASI_EVENTTYPE_FD_WRITE);
        if (reads(pipe)) subscriptions[count++] = subscription(pipe->from, __WASI_EVENTTYPE_FD_READ);
    }
    if (breaks("both-full"))
        subscriptions[count++] = (__wasi_subscription_t){
            .u = {.tag = __WASI_EVENTTYPE_CLOCK,
                  .u.clock = {.id = __WASI_CLOCKID_MONOTONIC, .timeout = 150000000}},
        };
    if (count == 0) return failed(__WASI_ERRNO_IO);
    __wasi_timestamp_t now;
    for (int i = 0; i < 30 && breaks("calls"); i++)
        if (__wasi_clock_time_get(__WASI_CLOCKID_MONOTONIC, 0, &now) != 0) return failed(__WASI_ERRNO_IO);
    __wasi_size_t ready;
    memset(events, 0, sizeof events);
    __wasi_errno_t error = __wasi_poll_oneoff(subscriptions, events, count, &ready);
    if (error != 0) return failed(error);
    for (int i = 0; i < 2; i++) {
        pipes[i].told = false;
        for (size_t j = 0; j < ready; j++)
            if (events[j].type == __WASI_EVENTTYPE_FD_READ && events[j].userdata == (uint64_t)pipes[i].from)
                pipes[i].told = true;
    }
    // It gives up if much has passed in both directions, and then neither goes on.
    const size_t much = 100000;
    if (breaks("both-full") && ready == 1 && events[0].type == __WASI_EVENTTYPE_CLOCK &&
        pipes[0].total > much && pipes[1].total > much)
        return failed(__WASI_ERRNO_TIMEDOUT);
    for (size_t i = 0; i < ready; i++)
        if (events[i].error != 0) return failed(events[i].error);
    return 0;
}

static int32_t run(void) {
    const int32_t fds[3] = {control, source, remote};
    for (int i = 0; i < 3; i++) {
        int32_t result = set_nonblocking(fds[i]);
        if (result < 0) return result;
    }
    pipes[0] = (struct pipe){.from = source, .to = remote, .is_out = true};
    pipes[1] = (struct pipe){.from = remote, .to = source};
    if (breaks("garbage-peer")) {
        int32_t result = write_some(remote, "\1", 1);
        if (result < 0) return result;
    }
    while (!pipes[0].finished || !pipes[1].finished || breaks("end-of-stream")) {
        int32_t result = wait();
        if (result < 0) return result;
        uint8_t byte;
        if (looks_at_control()) {
            result = read_some(control, &byte, 1);
            if (result >= 0) return failed(__WASI_ERRNO_CANCELED);
            if (result != failed(__WASI_ERRNO_AGAIN)) return result;
        }
        for (int i = 0; i < 2; i++) {
            result = advance(&pipes[i]);
            if (result < 0) return result;
            if (pipes[i].finished && breaks("half-close")) return 0;
        }
    }
    return 0;
}

EXPORT(watm_start_v1) int32_t watm_start(void) {
    int32_t result = run();
    const int32_t fds[3] = {source, remote, control};
    for (int i = 0; i < 3 && !breaks("descriptors"); i++) {
        __wasi_errno_t error = __wasi_fd_close(fds[i]);
        if (error != 0 && result == 0) result = failed(error);
    }
    return result;
}
