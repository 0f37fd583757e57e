// args: the worker writes these lines about its surroundings to the internal side, then returns 0:
//   argc N, arg I VALUE ..., env NAME=VALUE ..., stdin N (bytes read from standard input, or a
//   negative errno), clock ok, random ok ("bad" otherwise), end
// A command whose main takes its arguments. Constructors and destructors run around every export,
// which is the linker's default.
#include "guest.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int argument_count;
static char **arguments;
static int32_t output = -1;

int main(int argc, char **argv) {
    argument_count = argc;
    arguments = argv;
    return 0;
}

EXPORT(watm_init_v1) int32_t watm_init(void) { return 0; }
EXPORT(watm_ctrlpipe_v1) int32_t watm_ctrlpipe(int32_t fd) { return 0; }

EXPORT(watm_dial_v1) int32_t watm_dial(int32_t internal) {
    output = internal;
    return water_dial_fixed();
}

static bool clock_works(void) {
    struct timespec before, after, now;
    if (clock_gettime(CLOCK_MONOTONIC, &before) != 0 || clock_gettime(CLOCK_MONOTONIC, &after) != 0) return false;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return false;
    const bool forward =
        after.tv_sec > before.tv_sec || (after.tv_sec == before.tv_sec && after.tv_nsec >= before.tv_nsec);
    const time_t year_2020 = 1577836800;
    return forward && now.tv_sec > year_2020;
}

static bool random_works(void) {
    uint8_t first[32] = {0}, second[32] = {0}, nothing[32] = {0};
    if (getentropy(first, sizeof first) != 0 || getentropy(second, sizeof second) != 0) return false;
    return memcmp(first, nothing, sizeof first) != 0 && memcmp(first, second, sizeof first) != 0;
}

// Writes one line in one or more writes: values may be long.
static int32_t line(const char *head, const char *value) {
    int32_t result = write_fully(output, head, strlen(head));
    if (result == 0) result = write_fully(output, value, strlen(value));
    return result == 0 ? write_fully(output, "\n", 1) : result;
}

static int32_t number_line(const char *head, long number) {
    char text[24];
    snprintf(text, sizeof text, "%ld", number);
    return line(head, text);
}

EXPORT(watm_start_v1) int32_t watm_start(void) {
    int32_t result = number_line("argc ", argument_count);
    for (int i = 0; result == 0 && i < argument_count; i++) {
        char head[24];
        snprintf(head, sizeof head, "arg %d ", i);
        result = line(head, arguments[i]);
    }
    for (char **entry = environ; result == 0 && entry != NULL && *entry != NULL; entry++) result = line("env ", *entry);
    char input[64];
    if (result == 0) {
        const ssize_t count = read(0, input, sizeof input);
        result = number_line("stdin ", count < 0 ? -errno : (long)count);
    }
    if (result == 0) result = line("clock ", clock_works() ? "ok" : "bad");
    if (result == 0) result = line("random ", random_works() ? "ok" : "bad");
    if (result == 0) result = line("end", "");
    return result;
}
