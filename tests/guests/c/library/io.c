// Reading and writing descriptors through plain WASI calls.
#include "../guest.h"

int32_t read_some(int32_t fd, void *buffer, size_t length) {
    __wasi_iovec_t iovec = {.buf = buffer, .buf_len = length};
    __wasi_size_t count;
    __wasi_errno_t error = __wasi_fd_read(fd, &iovec, 1, &count);
    return error != 0 ? failed(error) : (int32_t)count;
}

int32_t write_some(int32_t fd, const void *buffer, size_t length) {
    __wasi_ciovec_t iovec = {.buf = buffer, .buf_len = length};
    __wasi_size_t count;
    __wasi_errno_t error = __wasi_fd_write(fd, &iovec, 1, &count);
    return error != 0 ? failed(error) : (int32_t)count;
}

int32_t read_exactly(int32_t fd, void *buffer, size_t length) {
    for (size_t done = 0; done < length;) {
        int32_t count = read_some(fd, (uint8_t *)buffer + done, length - done);
        if (count < 0) return count;
        if (count == 0) return failed(__WASI_ERRNO_CONNRESET);
        done += (size_t)count;
    }
    return 0;
}

int32_t write_fully(int32_t fd, const void *buffer, size_t length) {
    for (size_t done = 0; done < length;) {
        int32_t count = write_some(fd, (const uint8_t *)buffer + done, length - done);
        if (count < 0) return count;
        done += (size_t)count;
    }
    return 0;
}

int32_t write_spinning(int32_t fd, const void *buffer, size_t length) {
    int32_t count;
    do count = write_some(fd, buffer, length);
    while (count == failed(__WASI_ERRNO_AGAIN));
    if (count < 0) return count;
    return (size_t)count == length ? 0 : failed(__WASI_ERRNO_IO);
}

int32_t set_nonblocking(int32_t fd) { return failed(__wasi_fd_fdstat_set_flags(fd, __WASI_FDFLAGS_NONBLOCK)); }
