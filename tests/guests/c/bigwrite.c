// bigwrite: floods the internal side with messages and reports the sizes of what it reads from
// there. Configuration: "MESSAGE TOTAL", the size of a message (1 to 65536) and of all messages
// together, in bytes. The last message may be shorter. Byte i of the stream is i modulo 251. Every
// message is one non-blocking fd_write of four iovecs. The host must take it whole or refuse it
// with EAGAIN. Otherwise the worker logs "partial write" and returns -EIO. It logs each fd_read as
// "read N". When everything is written it logs "written" and goes on reading. It returns 0 at the
// end of the stream.
#include "library/module.h"

#include <stdlib.h>
#include <string.h>

#define MESSAGE_MAX 65536
#define PERIOD 251
enum { ENDED = 1, PIECES = 4 };

// The stream repeats, so every message is part of this.
static uint8_t pattern[MESSAGE_MAX + PERIOD];
static size_t message_length;
static uint64_t total, written;

int32_t guest_init(void) {
    char line[64];
    int32_t length = config_line(0, line, sizeof line);
    if (length < 0) return length;
    char *rest;
    message_length = strtoul(line, &rest, 10);
    total = strtoull(rest, NULL, 10);
    if (message_length == 0 || message_length > MESSAGE_MAX) return failed(__WASI_ERRNO_INVAL);
    for (size_t i = 0; i < sizeof pattern; i++) pattern[i] = (uint8_t)(i % PERIOD);
    return 0;
}

// Writes messages until the host refuses one. Returns 0 or a negative errno.
static int32_t write_messages(void) {
    while (written < total) {
        const uint64_t left = total - written;
        const size_t length = left < message_length ? (size_t)left : message_length;
        const uint8_t *start = pattern + written % PERIOD;
        const size_t quarter = length / PIECES;
        __wasi_ciovec_t pieces[PIECES];
        for (size_t i = 0; i < PIECES; i++)
            pieces[i] = (__wasi_ciovec_t){
                .buf = start + i * quarter,
                .buf_len = i + 1 < PIECES ? quarter : length - i * quarter,
            };
        __wasi_size_t count;
        __wasi_errno_t error = __wasi_fd_write(module.source, pieces, PIECES, &count);
        if (error == __WASI_ERRNO_AGAIN) return 0;
        if (error != 0) return failed(error);
        if (count != length) {
            log_line("partial write: %d of %d", (int32_t)count, (int32_t)length);
            return failed(__WASI_ERRNO_IO);
        }
        written += length;
        if (written == total) log_line("written");
    }
    return 0;
}

// Returns 0, ENDED, or a negative errno.
static int32_t read_messages(void) {
    static uint8_t message[MESSAGE_MAX];
    for (;;) {
        int32_t count = read_some(module.source, message, sizeof message);
        if (count == failed(__WASI_ERRNO_AGAIN)) return 0;
        if (count < 0) return count;
        if (count == 0) return ENDED;
        log_line("read %d", count);
    }
}

EXPORT(watm_start_v1) int32_t watm_start(void) {
    int32_t result = set_nonblocking(module.source);
    if (result == 0) result = set_nonblocking(module.control);
    while (result == 0) {
        __wasi_subscription_t subscriptions[3];
        __wasi_event_t events[3];
        __wasi_size_t ready;
        memset(subscriptions, 0, sizeof subscriptions);
        subscriptions[0].u.tag = subscriptions[1].u.tag = __WASI_EVENTTYPE_FD_READ;
        subscriptions[2].u.tag = __WASI_EVENTTYPE_FD_WRITE;
        subscriptions[0].u.u.fd_read.file_descriptor = module.control;
        subscriptions[1].u.u.fd_read.file_descriptor = module.source;
        subscriptions[2].u.u.fd_write.file_descriptor = module.source;
        __wasi_errno_t error = __wasi_poll_oneoff(subscriptions, events, written < total ? 3 : 2, &ready);
        if (error != 0) return failed(error);

        uint8_t byte;
        result = read_some(module.control, &byte, 1);
        if (result >= 0) return failed(__WASI_ERRNO_CANCELED);
        if (result != failed(__WASI_ERRNO_AGAIN)) return result;
        result = write_messages();
        if (result == 0) result = read_messages();
    }
    return result == ENDED ? 0 : result;
}
