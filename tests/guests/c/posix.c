// posix: a pass-through on wasi-libc's POSIX layer instead of raw WASI: fstat, fcntl, select, poll,
// read, write, recv with MSG_PEEK and MSG_WAITALL, send, shutdown. It reads the first 8 bytes from
// the source in blocking mode: it peeks, then waits for all of them. After that the descriptors are
// non-blocking, and it forwards an end of stream.
#include "library/module.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST 8

// Checks that the descriptor is a socket.
static int32_t check_socket(int fd) {
    struct stat status;
    if (fstat(fd, &status) != 0) return -errno;
    return S_ISSOCK(status.st_mode) ? 0 : -ENOTSOCK;
}

static int32_t switch_nonblocking(int fd) {
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0) return -errno;
    if ((flags & O_NONBLOCK) != 0) return -EIO;
    if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) return -errno;
    flags = fcntl(fd, F_GETFL);
    if (flags < 0) return -errno;
    return (flags & O_NONBLOCK) != 0 ? 0 : -EIO;
}

static int32_t write_all(int fd, const char *bytes, size_t length) {
    while (length > 0) {
        ssize_t count = write(fd, bytes, length);
        if (count >= 0) {
            bytes += count;
            length -= (size_t)count;
        } else if (errno == EAGAIN) {
            struct pollfd writable = {.fd = fd, .events = POLLOUT};
            if (poll(&writable, 1, -1) < 0) return -errno;
        } else {
            return -errno;
        }
    }
    return 0;
}

// Peeks at the first bytes, then reads them in one call. There may be fewer if the stream ends
// early.
static int32_t pass_first(void) {
    char peeked[FIRST], read[FIRST];
    ssize_t seen = recv(module.source, peeked, sizeof peeked, MSG_PEEK);
    if (seen < 0) return -errno;
    ssize_t count = recv(module.source, read, sizeof read, MSG_WAITALL);
    if (count < 0) return -errno;
    if (count < seen || memcmp(peeked, read, (size_t)seen) != 0) return -EIO;
    log_line("posix: peeked %d, read %d", (int32_t)seen, (int32_t)count);
    if (count == 0) return 0;
    ssize_t sent = send(module.remote, read, (size_t)count, 0);
    if (sent < 0) return -errno;
    return sent == count ? 0 : -EIO;
}

// Moves bytes until EAGAIN. Forwards the end of the stream.
static int32_t pump(int from, int to, bool *ended) {
    static char buffer[8192];
    for (;;) {
        ssize_t count = read(from, buffer, sizeof buffer);
        if (count < 0) return errno == EAGAIN ? 0 : -errno;
        if (count == 0) {
            *ended = true;
            return shutdown(to, SHUT_WR) == 0 || errno == ENOTCONN ? 0 : -errno;
        }
        int32_t result = write_all(to, buffer, (size_t)count);
        if (result < 0) return result;
    }
}

EXPORT(watm_start_v1) int32_t watm_start(void) {
    const int fds[3] = {module.control, module.source, module.remote};
    int32_t result;
    for (int i = 0; i < 3; i++)
        if ((result = check_socket(fds[i])) < 0) return result;
    if ((result = pass_first()) < 0) return result;
    for (int i = 0; i < 3; i++)
        if ((result = switch_nonblocking(fds[i])) < 0) return result;

    bool source_ended = false, remote_ended = false;
    while (!source_ended || !remote_ended) {
        fd_set readable;
        FD_ZERO(&readable);
        FD_SET(module.control, &readable);
        if (!source_ended) FD_SET(module.source, &readable);
        if (!remote_ended) FD_SET(module.remote, &readable);
        if (select(FD_SETSIZE, &readable, NULL, NULL, NULL) < 0) return -errno;
        if (FD_ISSET(module.control, &readable)) return -ECANCELED;
        if (!source_ended && FD_ISSET(module.source, &readable))
            if ((result = pump(module.source, module.remote, &source_ended)) < 0) return result;
        if (!remote_ended && FD_ISSET(module.remote, &readable))
            if ((result = pump(module.remote, module.source, &remote_ended)) < 0) return result;
    }
    return 0;
}
