// Registers the module in main, as TinyGo modules do, and refuses to go on when the host skipped that.
#include "module.h"

#include <stdbool.h>

struct descriptors module = {-1, -1, -1};

static bool registered;

#ifdef REACTOR
// A reactor has no main: its constructors run in _initialize.
__attribute__((constructor)) static void initialize(void) { registered = true; }
#else
// The linker's way for commands is to wrap every export in constructors and destructors, unless somebody calls the
// constructors by name: here they run once. WRAPPED leaves the linker its way.
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
