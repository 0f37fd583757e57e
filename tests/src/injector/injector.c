// Preloaded into a process, makes one system call of its workers fail, or move only one byte.
//
// INJECT_CALL names the function. INJECT_AT is the number of the call that fails, from 1.
// INJECT_ERROR is the errno, or 0 for a short call. Calls are counted over all threads named
// "watm-worker". See tests/tests/injected.rs.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

static atomic_long calls;

// Returns whether this is the chosen call.
static int is_hit(const char *name) {
    const char *wanted = getenv("INJECT_CALL");
    const char *at = getenv("INJECT_AT");
    char thread[16] = {0};
    if (!wanted || !at || strcmp(wanted, name) != 0) return 0;
    if (prctl(PR_GET_NAME, thread) != 0 || strcmp(thread, "watm-worker") != 0) return 0;
    if (atomic_fetch_add(&calls, 1) + 1 != atol(at)) return 0;
    // Tells the test that the call was reached.
    if (write(2, "injected\n", 9) != 9) abort();
    return 1;
}

static int error(void) {
    const char *number = getenv("INJECT_ERROR");
    return number ? atoi(number) : 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

// Fails with the errno, if there is one.
#define FAIL(name)                     \
    if (is_hit(#name) && error() != 0) { \
        errno = error();               \
        return -1;                     \
    }

#define MOVE(name, length)        \
    if (is_hit(#name)) {          \
        if (error() != 0) {       \
            errno = error();      \
            return -1;            \
        }                         \
        if (length > 1) length = 1; \
    }

ssize_t recv(int fd, void *buffer, size_t length, int flags) {
    MOVE(recv, length)
    return REAL(recv)(fd, buffer, length, flags);
}

ssize_t send(int fd, const void *buffer, size_t length, int flags) {
    MOVE(send, length)
    return REAL(send)(fd, buffer, length, flags);
}

int epoll_wait(int fd, struct epoll_event *events, int most, int timeout) {
    FAIL(epoll_wait)
    return REAL(epoll_wait)(fd, events, most, timeout);
}

int epoll_ctl(int fd, int what, int target, struct epoll_event *event) {
    FAIL(epoll_ctl)
    return REAL(epoll_ctl)(fd, what, target, event);
}

int epoll_create1(int flags) {
    FAIL(epoll_create1)
    return REAL(epoll_create1)(flags);
}

int socket(int domain, int type, int protocol) {
    FAIL(socket)
    return REAL(socket)(domain, type, protocol);
}

int connect(int fd, const struct sockaddr *address, socklen_t length) {
    FAIL(connect)
    return REAL(connect)(fd, address, length);
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t length) {
    FAIL(setsockopt)
    return REAL(setsockopt)(fd, level, name, value, length);
}

int shutdown(int fd, int how) {
    FAIL(shutdown)
    return REAL(shutdown)(fd, how);
}
