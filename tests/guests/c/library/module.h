// The parts of a module in the style of the TinyGo library. A guest links the files that it needs
// and replaces hooks:
//   registration.c  main, watm_init_v1, watm_ctrlpipe_v1
//   roles.c         the four role functions
//   worker.c        watm_start_v1: the pass-through worker
#ifndef MODULE_H
#define MODULE_H

#include "../guest.h"

// The module's descriptors. The source of a dialer or listener is the application. The source of a
// relay is the accepted connection. The remote is the network side: dialled (dialer, relay) or
// accepted (listener).
struct descriptors {
    int32_t source;
    int32_t remote;
    int32_t control;
};
extern struct descriptors module;

enum direction { TO_REMOTE, TO_SOURCE };

// Hooks. Each has a weak definition that does nothing. The exports return what the init and
// ctrlpipe hooks return. Elsewhere the exports return only results below 0.
void guest_main(void);                                                      // at the end of main
int32_t guest_init(void);                                                   // in watm_init_v1
int32_t guest_ctrlpipe(void);                                               // in watm_ctrlpipe_v1
int32_t guest_dialled(int32_t fd);                                          // a new dialled connection, still blocking
int32_t guest_accepted(int32_t fd);                                         // a new accepted connection, still blocking
int32_t guest_address(char *address, size_t capacity);                      // for dial_fixed; default: config line 0
int32_t guest_started(void);                                                // in the worker, descriptors non-blocking
void guest_piece(enum direction direction, uint8_t *piece, size_t length);  // after the read, before the write

// A subscription that is ready when there is something to read. Its userdata is the descriptor.
static inline __wasi_subscription_t readable(int32_t fd) {
    return (__wasi_subscription_t){
        .userdata = (uint64_t)fd,
        .u = {.tag = __WASI_EVENTTYPE_FD_READ, .u.fd_read.file_descriptor = fd},
    };
}

#endif
