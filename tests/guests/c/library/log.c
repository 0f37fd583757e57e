// Log lines on standard error. Without stdio, a guest that logs stays small, and a line is one
// fd_write.
#include "../guest.h"

#include <stdarg.h>
#include <string.h>

static size_t put_number(char *out, int32_t number) {
    char digits[10];
    size_t count = 0, length = 0;
    uint32_t rest = number < 0 ? -(uint32_t)number : (uint32_t)number;
    do digits[count++] = (char)('0' + rest % 10);
    while ((rest /= 10) != 0);
    if (number < 0) out[length++] = '-';
    while (count > 0) out[length++] = digits[--count];
    return length;
}

void log_line(const char *format, ...) {
    char line[512];
    size_t length = 0;
    const size_t room = sizeof line - 16;
    va_list arguments;
    va_start(arguments, format);
    for (; *format != '\0' && length < room; format++) {
        if (*format != '%') {
            line[length++] = *format;
            continue;
        }
        if (*++format == 'd') {
            length += put_number(line + length, va_arg(arguments, int32_t));
        } else {
            const char *text = va_arg(arguments, const char *);
            size_t count = strnlen(text, room - length);
            memcpy(line + length, text, count);
            length += count;
        }
    }
    va_end(arguments);
    line[length++] = '\n';
    write_some(2, line, length);
}
