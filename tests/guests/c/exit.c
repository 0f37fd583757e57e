// exit0, exit3: main ends with proc_exit, as newer TinyGo's does. 0 leaves the instance usable, anything else is a
// failed load. EXIT_CODE is the code.
#include "library/module.h"

void guest_main(void) { __wasi_proc_exit(EXIT_CODE); }
