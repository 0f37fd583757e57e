// exit0, exit3: main ends with proc_exit, as in newer TinyGo. 0 leaves the instance usable.
// Anything else makes the set-up fail. EXIT_CODE is the code.
#include "library/module.h"

void guest_main(void) { __wasi_proc_exit(EXIT_CODE); }
