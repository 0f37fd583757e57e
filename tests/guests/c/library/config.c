// Reads the configuration file through wasi-libc, which finds the preopened directory as in any C
// program.
#include "../guest.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int32_t config_read(char *text, size_t capacity) {
    int fd = open("/conf/watm.cfg", O_RDONLY);
    if (fd < 0) return -errno;
    size_t length = 0;
    while (length < capacity) {
        ssize_t count = read(fd, text + length, capacity - length);
        if (count < 0) {
            int error = errno;
            close(fd);
            return -error;
        }
        if (count == 0) break;
        length += (size_t)count;
    }
    close(fd);
    return (int32_t)length;
}

int32_t config_line(int index, char *line, size_t capacity) {
    char text[CONFIG_MAX];
    int32_t length = config_read(text, sizeof text - 1);
    if (length < 0) return length;
    text[length] = '\0';
    char *start = text;
    for (; index > 0; index--) {
        start = strchr(start, '\n');
        if (start == NULL) return -ENOENT;
        start++;
    }
    size_t end = strcspn(start, "\r\n");
    if (end == 0 && start[0] == '\0') return -ENOENT;
    if (end >= capacity) return -ENAMETOOLONG;
    memcpy(line, start, end);
    line[end] = '\0';
    return (int32_t)end;
}

int32_t config_size(int index, int32_t largest) {
    char text[8];
    int32_t size = 0;
    if (config_line(index, text, sizeof text) <= 0) return failed(__WASI_ERRNO_INVAL);
    for (const char *digit = text; *digit != '\0'; digit++) {
        if (*digit < '0' || *digit > '9') return failed(__WASI_ERRNO_INVAL);
        size = size * 10 + (*digit - '0');
    }
    return size >= 1 && size <= largest ? size : failed(__WASI_ERRNO_INVAL);
}
