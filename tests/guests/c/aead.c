// aead: takes the host's AEAD (watm_ext_aead_v1), and calls its functions as the application says. An
// order has 9 little-endian numbers: what to do, a function, and 7 arguments.
//   0    calls the function; answers with its result
//   1    puts bytes at the address in argument 0; their number is argument 1, and they follow
//   2    answers with the bytes at the address in argument 0; their number is argument 1
//   3    answers with the address of an area that is free, its length, the size of the memory, and the
//        number of functions
// The first line of the configuration is what it does when it is offered the functions: `decline`,
// `trap`, `exit`, `spin` (never returns). With anything else, or nothing, it takes them.
#include "library/module.h"

#include <string.h>

typedef int32_t (*close_function)(uint32_t);
typedef int32_t (*key_function)(uint32_t, uint32_t, uint32_t, uint32_t);
typedef int32_t (*operation)(uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t);

#define AREA (1200 << 10)
static uint8_t area[AREA];

static uint32_t first;
static uint32_t count;

EXPORT(watm_ext_aead_v1) int32_t take(uint32_t place, uint32_t functions) {
    char choice[64];
    if (config_line(0, choice, sizeof choice) < 0) choice[0] = '\0';
    if (strcmp(choice, "decline") == 0) return __WASI_ERRNO_NOSYS;
    if (strcmp(choice, "trap") == 0) __builtin_trap();
    if (strcmp(choice, "exit") == 0) __wasi_proc_exit(7);
    volatile int spins = strcmp(choice, "spin") == 0;
    while (spins) {}
    first = place;
    count = functions;
    return 0;
}

// A pointer to a function is its place in the table.
static int32_t call(uint32_t function, const uint32_t *a) {
    uint32_t place = first + function;
    switch (function) {
    case 0: return ((key_function)place)(a[0], a[1], a[2], a[3]);
    case 1: return ((close_function)place)(a[0]);
    default: return ((operation)place)(a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
    }
}

EXPORT(watm_start_v1) int32_t watm_start(void) {
    for (;;) {
        uint32_t order[9];
        int32_t result = read_exactly(module.source, order, sizeof order);
        // The application has closed.
        if (result == failed(__WASI_ERRNO_CONNRESET)) return 0;
        if (result < 0) return result;
        void *at = (void *)order[2];
        if (order[0] == 0) {
            int32_t answer = call(order[1], order + 2);
            result = write_fully(module.source, &answer, sizeof answer);
        } else if (order[0] == 1) {
            result = read_exactly(module.source, at, order[3]);
        } else if (order[0] == 2) {
            result = write_fully(module.source, at, order[3]);
        } else {
            uint32_t answer[4] = {(uint32_t)area, AREA, __builtin_wasm_memory_size(0) << 16, count};
            result = write_fully(module.source, answer, sizeof answer);
        }
        if (result < 0) return result;
    }
}
