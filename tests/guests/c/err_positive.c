// err_positive: fails in one chosen place, in one chosen way. The first line of the configuration
// is the choice:
//   init, ctrlpipe, associate, start    that function returns a positive errno: 28, 28, 14, 29
//   refused                             dial returns -14
//   badfd, badfd0, badfd-internal       dial returns 77, 0 or the internal descriptor: not a
//                                       connection that it got
//   unknown                             start returns -9999
//   trap-init, trap-dial, trap-ctrlpipe, trap    that function traps (trap is start)
//   exit-init, exit-dial, exit-ctrlpipe, exit    that function calls proc_exit(7) (exit is start)
//   done                                start returns 0 at once
// With anything else, or nothing, the worker waits in a blocking read of control and returns
// -ECANCELED.
#include "library/module.h"

#include <stdbool.h>
#include <string.h>

static char choice[64];

static bool chosen(const char *word) { return strcmp(choice, word) == 0; }

static void trap_or_exit(const char *trap, const char *exit) {
    if (chosen(trap)) __builtin_trap();
    if (chosen(exit)) __wasi_proc_exit(7);
}

int32_t guest_init(void) {
    if (config_line(0, choice, sizeof choice) < 0) choice[0] = '\0';
    trap_or_exit("trap-init", "exit-init");
    return chosen("init") ? __WASI_ERRNO_INVAL : 0;
}

int32_t guest_ctrlpipe(void) {
    trap_or_exit("trap-ctrlpipe", "exit-ctrlpipe");
    return chosen("ctrlpipe") ? __WASI_ERRNO_INVAL : 0;
}

EXPORT(watm_dial_v1) int32_t watm_dial(int32_t internal) {
    trap_or_exit("trap-dial", "exit-dial");
    if (chosen("refused")) return failed(__WASI_ERRNO_CONNREFUSED);
    if (chosen("badfd")) return 77;
    if (chosen("badfd0")) return 0;
    if (chosen("badfd-internal")) return internal;
    return water_dial_fixed();
}

EXPORT(watm_associate_v1) int32_t watm_associate(void) {
    if (chosen("associate")) return __WASI_ERRNO_CONNREFUSED;
    int32_t source = water_accept();
    if (source < 0) return source;
    int32_t remote = water_dial_fixed();
    return remote < 0 ? remote : 0;
}

EXPORT(watm_start_v1) int32_t watm_start(void) {
    trap_or_exit("trap", "exit");
    if (chosen("start")) return __WASI_ERRNO_IO;
    if (chosen("unknown")) return -9999;
    if (chosen("done")) return 0;
    uint8_t byte;
    int32_t result = read_some(module.control, &byte, 1);
    return result < 0 ? result : failed(__WASI_ERRNO_CANCELED);
}
