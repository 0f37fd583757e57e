// handshake: exchanges a greeting on blocking descriptors inside the role function, then passes
// through. The relay does both: it answers the greeting of the connection that it accepts, and
// greets the connection that it dials.
#include "library/module.h"

#include <string.h>

#define GREETING_LENGTH 16
static const char HELLO[] = "WATM-HELLO-00001";
static const char REPLY[] = "WATM-REPLY-00001";

static int32_t expect(int32_t fd, const char *greeting) {
    char received[GREETING_LENGTH];
    int32_t result = read_exactly(fd, received, sizeof received);
    if (result < 0) return result;
    return memcmp(received, greeting, sizeof received) == 0 ? 0 : failed(__WASI_ERRNO_PROTO);
}

int32_t guest_dialled(int32_t fd) {
    log_line("handshake: dialled");
    int32_t result = write_fully(fd, HELLO, GREETING_LENGTH);
    if (result < 0) return result;
    log_line("handshake: hello sent");
    result = expect(fd, REPLY);
    log_line("handshake: reply read, result %d", result);
    return result;
}

int32_t guest_accepted(int32_t fd) {
    log_line("handshake: accepted");
    int32_t result = expect(fd, HELLO);
    log_line("handshake: hello read, result %d", result);
    if (result < 0) return result;
    result = write_fully(fd, REPLY, GREETING_LENGTH);
    log_line("handshake: reply sent, result %d", result);
    return result;
}
