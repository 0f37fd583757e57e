// Registers the module in main, as TinyGo modules do, and fails if the host has skipped main.
#include "module.h"

#include <stdbool.h>

struct descriptors module = {-1, -1, -1};

static bool registered;

#ifdef REACTOR
// A reactor has no main: its constructors run in _initialize.
__attribute__((constructor)) static void initialize(void) { registered = true; }
#else
// By default, the linker wraps every export of a command in constructors and destructors, unless
// the program calls the constructors by name. Here they run once. WRAPPED keeps the default.
extern void __wasm_call_ctors(void);

int main(void) {
#ifndef WRAPPED
    __wasm_call_ctors();
#endif
    registered = true;
    guest_main();
    return 0;
}
#endif

EXPORT(watm_init_v1) int32_t watm_init(void) {
    if (!registered) return failed(__WASI_ERRNO_PERM);
    return guest_init();
}

EXPORT(watm_ctrlpipe_v1) int32_t watm_ctrlpipe(int32_t fd) {
    module.control = fd;
    return guest_ctrlpipe();
}

__attribute__((weak)) void guest_main(void) {}
__attribute__((weak)) int32_t guest_init(void) { return 0; }
__attribute__((weak)) int32_t guest_ctrlpipe(void) { return 0; }
