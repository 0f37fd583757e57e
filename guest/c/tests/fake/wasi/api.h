// What watm.c uses of WASI, for tests that run it on this machine. The functions are in ../host.c.
// Error numbers are those of this machine, on both sides.
#ifndef WASI_API_H
#define WASI_API_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#ifndef ENOTCAPABLE
#define ENOTCAPABLE 1076
#endif

typedef uint16_t __wasi_errno_t;
typedef size_t __wasi_size_t;

typedef struct {
    uint8_t *buf;
    __wasi_size_t buf_len;
} __wasi_iovec_t;

typedef struct {
    const uint8_t *buf;
    __wasi_size_t buf_len;
} __wasi_ciovec_t;

typedef uint8_t __wasi_eventtype_t;
#define __WASI_EVENTTYPE_CLOCK 0
#define __WASI_EVENTTYPE_FD_READ 1
#define __WASI_EVENTTYPE_FD_WRITE 2

typedef struct {
    uint64_t userdata;
    struct {
        uint8_t tag;
        union {
            struct {
                uint32_t id;
                uint64_t timeout;
            } clock;
            struct {
                int32_t file_descriptor;
            } fd_read;
        } u;
    } u;
} __wasi_subscription_t;

typedef struct {
    uint64_t userdata;
    __wasi_errno_t error;
    __wasi_eventtype_t type;
} __wasi_event_t;

#define __WASI_CLOCKID_MONOTONIC 1
#define __WASI_FDFLAGS_NONBLOCK 4
#define __WASI_SDFLAGS_WR 2

__wasi_errno_t __wasi_fd_read(int32_t fd, const __wasi_iovec_t *iovecs, size_t count,
                              __wasi_size_t *read);
__wasi_errno_t __wasi_fd_write(int32_t fd, const __wasi_ciovec_t *iovecs, size_t count,
                               __wasi_size_t *written);
__wasi_errno_t __wasi_fd_fdstat_set_flags(int32_t fd, uint16_t flags);
__wasi_errno_t __wasi_sock_shutdown(int32_t fd, uint8_t how);
__wasi_errno_t __wasi_poll_oneoff(const __wasi_subscription_t *subscriptions,
                                  __wasi_event_t *events, size_t count, __wasi_size_t *happened);

#endif
