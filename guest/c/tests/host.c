// The functions of WASI, of WATM hosts and of the C library that watm.c calls, on `host`.
#include "host.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wasi/api.h>

#include "../watm.h"

struct host host;

void host_reset(void) {
    memset(&host, 0, sizeof host);
    for (int fd = 0; fd < DESCRIPTORS; fd++) {
        struct descriptor *descriptor = &host.fds[fd];
        descriptor->read_limit = descriptor->write_limit = descriptor->room = UNLIMITED;
    }
    host.dialled_fixed = host.dialled = NETWORK;
    host.accepted = ACCEPTED;
    host.open_error = ENOENT;
}

void host_send(int fd, const void *bytes, size_t length) {
    struct descriptor *descriptor = &host.fds[fd];
    size_t before = descriptor->input_length;
    uint8_t *input = malloc(before + length);
    if (before > 0) memcpy(input, descriptor->input, before);
    memcpy(input + before, bytes, length);
    descriptor->input = input;
    descriptor->input_length = before + length;
}

static _Noreturn void give_up(const char *why) {
    printf("    %s\n", why);
    exit(1);
}

static bool interrupted(void) {
    static bool last;
    last = host.interrupts && !last;
    return last;
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

static bool is_readable(const struct descriptor *descriptor) {
    return descriptor->input_length > 0 || descriptor->ends || descriptor->read_error != 0;
}

static bool is_writable(const struct descriptor *descriptor) {
    return descriptor->room > 0 || descriptor->write_error != 0;
}

// Lets time pass.
static void pass(void) {
    if (host.idle == NULL || !host.idle(host.steps++)) give_up("the module sleeps forever");
}

__wasi_errno_t __wasi_fd_read(int32_t fd, const __wasi_iovec_t *iovecs, size_t count,
                              __wasi_size_t *read) {
    if (fd < INTERNAL || fd >= DESCRIPTORS) return EBADF;
    if (count != 1) return EINVAL;
    if (interrupted()) return EINTR;
    struct descriptor *descriptor = &host.fds[fd];
    descriptor->reads++;
    while (!is_readable(descriptor)) {
        if (descriptor->nonblocking) return EAGAIN;
        pass();
    }
    if (descriptor->input_length == 0 && !descriptor->ends)
        return (__wasi_errno_t)descriptor->read_error;
    size_t length = least(descriptor->input_length, iovecs[0].buf_len);
    length = least(length, descriptor->read_limit);
    if (length > 0) memcpy(iovecs[0].buf, descriptor->input, length);
    descriptor->input += length;
    descriptor->input_length -= length;
    *read = length;
    return 0;
}

static void log_line(const __wasi_ciovec_t *iovecs, size_t count) {
    host.log_writes++;
    for (size_t i = 0; i < count; i++)
        strncat(host.log, (const char *)iovecs[i].buf, iovecs[i].buf_len);
}

__wasi_errno_t __wasi_fd_write(int32_t fd, const __wasi_ciovec_t *iovecs, size_t count,
                               __wasi_size_t *written) {
    if (fd == 2) {
        log_line(iovecs, count);
        *written = 0;
        return 0;
    }
    if (fd < INTERNAL || fd >= DESCRIPTORS) return EBADF;
    if (count != 1) return EINVAL;
    if (interrupted()) return EINTR;
    struct descriptor *descriptor = &host.fds[fd];
    descriptor->writes++;
    if (descriptor->ended) return EPIPE;
    if (descriptor->write_error != 0) return (__wasi_errno_t)descriptor->write_error;
    if (descriptor->room == 0 && descriptor->nonblocking) return EAGAIN;
    if (descriptor->room == 0) descriptor->room = descriptor->refill;
    if (descriptor->empty_writes > 0) {
        descriptor->empty_writes--;
        *written = 0;
        return 0;
    }
    size_t length = least(iovecs[0].buf_len, least(descriptor->write_limit, descriptor->room));
    if (length > sizeof descriptor->output - descriptor->output_length) give_up("it is too much");
    memcpy(descriptor->output + descriptor->output_length, iovecs[0].buf, length);
    descriptor->output_length += length;
    if (descriptor->room != UNLIMITED) descriptor->room -= length;
    *written = length;
    return 0;
}

__wasi_errno_t __wasi_fd_fdstat_set_flags(int32_t fd, uint16_t flags) {
    if (fd < INTERNAL || fd >= DESCRIPTORS) return EBADF;
    host.fds[fd].nonblocking = flags == __WASI_FDFLAGS_NONBLOCK;
    return 0;
}

__wasi_errno_t __wasi_sock_shutdown(int32_t fd, uint8_t how) {
    if (fd < INTERNAL || fd >= DESCRIPTORS || how != __WASI_SDFLAGS_WR) return EINVAL;
    struct descriptor *descriptor = &host.fds[fd];
    if (descriptor->shutdown_error != 0) return (__wasi_errno_t)descriptor->shutdown_error;
    if (descriptor->ended) give_up("a side is ended twice");
    descriptor->ended = true;
    return 0;
}

static bool is_clock(const __wasi_subscription_t *subscription) {
    return subscription->u.tag == __WASI_EVENTTYPE_CLOCK;
}

// Polls with a clock, which comes last: a sleep, or the announcement of polls for writing.
static __wasi_size_t poll_with_clock(const __wasi_subscription_t *subscriptions,
                                     __wasi_event_t *events, size_t count) {
    const __wasi_subscription_t *clock = &subscriptions[count - 1];
    if (clock->u.u.clock.id != __WASI_CLOCKID_MONOTONIC) give_up("another clock is used");
    if (clock->u.u.clock.timeout != (count == 1 ? 1000000 : 0)) give_up("the sleep is wrong");
    host.sleeps += count == 1;
    for (size_t i = 0; i + 1 < count; i++) {
        if (subscriptions[i].u.tag != __WASI_EVENTTYPE_FD_WRITE) give_up("no poll for writing");
        host.fds[subscriptions[i].u.u.fd_read.file_descriptor].announced = true;
    }
    events[0] = (__wasi_event_t){.userdata = clock->userdata, .type = clock->u.tag};
    return 1;
}

// Writes the events of the subscriptions that are ready. Returns how many there are.
static size_t look(const __wasi_subscription_t *subscriptions, __wasi_event_t *events,
                   size_t count) {
    size_t happened = 0;
    for (size_t i = 0; i < count; i++) {
        __wasi_event_t event = {.userdata = subscriptions[i].userdata,
                                .type = subscriptions[i].u.tag};
        int32_t fd = subscriptions[i].u.u.fd_read.file_descriptor;
        if (fd < INTERNAL || fd >= DESCRIPTORS) {
            event.error = EBADF;
            events[happened++] = event;
        } else if (event.type == __WASI_EVENTTYPE_FD_WRITE ? is_writable(&host.fds[fd])
                                                           : is_readable(&host.fds[fd])) {
            events[happened++] = event;
        }
    }
    return happened;
}

__wasi_errno_t __wasi_poll_oneoff(const __wasi_subscription_t *subscriptions,
                                  __wasi_event_t *events, size_t count, __wasi_size_t *happened) {
    if (count == 0) return EINVAL;
    if (interrupted()) return EINTR;
    if (is_clock(&subscriptions[count - 1])) {
        *happened = poll_with_clock(subscriptions, events, count);
        return 0;
    }
    if (++host.polls > 1000000) give_up("the module spins");
    if (host.empty_polls > 0) {
        host.empty_polls--;
        *happened = 0;
        return 0;
    }
    for (size_t i = 0; i < count; i++)
        if (subscriptions[i].u.tag == __WASI_EVENTTYPE_FD_WRITE) host.polls_for_writing++;
    while ((*happened = look(subscriptions, events, count)) == 0) {
        bool refilled = false;
        for (size_t i = 0; i < count; i++) {
            if (subscriptions[i].u.tag != __WASI_EVENTTYPE_FD_WRITE) continue;
            struct descriptor *descriptor = &host.fds[subscriptions[i].u.u.fd_read.file_descriptor];
            descriptor->room = descriptor->refill;
            refilled = refilled || descriptor->room > 0;
        }
        if (!refilled) pass();
    }
    return 0;
}

int32_t water_dial_fixed(void) { return host.dialled_fixed; }
int32_t water_accept(void) { return host.accepted; }
int32_t water_dial(const struct watm_ciovec *network, size_t network_count,
                   const struct watm_ciovec *address, size_t address_count) {
    if (network_count != 1 || address_count != 1) return -EINVAL;
    memcpy(host.network, network->bytes, network->length);
    memcpy(host.address, address->bytes, address->length);
    return host.dialled;
}

// The linker puts these in the place of the C library's.
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...) {
    (void)flags;
    if (strcmp(path, "/conf/watm.cfg") != 0) give_up("another file is opened");
    errno = host.open_error;
    return host.open_error != 0 ? -1 : CONFIG;
}

int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd) { return fd == CONFIG && host.open_error == 0 ? 0 : __real_close(fd); }

void *__real_realloc(void *bytes, size_t length);
void *__wrap_realloc(void *bytes, size_t length);
void *__wrap_realloc(void *bytes, size_t length) {
    host.allocations++;
    return __real_realloc(bytes, length);
}
