// What a WebAssembly Transport Module (WATM v1) in C is written against. An author says what
// happens to the bytes of a connection and how a connection begins. The library, which is this
// header and watm.c, owns the rest: the exports, the descriptors, the loop that moves bytes in both
// directions, the configuration and the log.
//
// # A module
//
// A module defines one `watm_transport` and names the roles that it can do:
//
//     static int32_t begin(struct watm_stream *network, struct watm_connection *connection) {
//         // The handshake, if there is one, goes here.
//         connection->encode = (struct watm_codec){.update = scramble};
//         connection->decode = (struct watm_codec){.update = unscramble};
//         return 0;
//     }
//
//     const struct watm_transport watm_transport = {.dial = begin, .accept = begin};
//     WATM_DIALER;
//     WATM_LISTENER;
//
// The host calls it in this order:
//
//     init            once, with the configuration
//     dial or accept  once: the handshake, as blocking code, which chooses the two codecs
//     codecs          for every piece of the connection, until both directions have ended
//
// An instance of a module serves one connection. Static variables are therefore the state of that
// connection, and nothing has to be freed.
//
// # Results
//
// Every function that returns an `int32_t` returns a value of 0 or more, or a negated error number
// of WASI, such as -EPROTO. <errno.h> of wasi-libc has these numbers. Where nothing else is said,
// the value is 0. The host learns the number of the first error, and then nobody takes the
// connection for one that has ended: the other side gets a reset, after the bytes that came before.
//
// # Building
//
//     clang --target=wasm32-wasi -mexec-model=reactor -O2 -I guest/c
//         module.c guest/c/watm.c -o module.wasm
//
// `zig cc -target wasm32-wasi` takes the same options.
#ifndef WATM_H
#define WATM_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifdef __wasm__
#define WATM_IMPORT(name) __attribute__((import_module("env"), import_name(#name)))
#define WATM_EXPORT(name) __attribute__((export_name(#name)))
#else
// On other machines, tests link the functions themselves.
#define WATM_IMPORT(name)
#define WATM_EXPORT(name)
#endif

// ---- Codecs: what happens to the bytes of one direction ----

// What a codec has made. It belongs to the library, which writes it to where it goes.
struct watm_output;

// Adds `length` bytes to the output and returns where they are, for the codec to fill in. The
// pointer is valid until the next call for the same output. NULL if there is no memory: then the
// codec returns -ENOMEM.
uint8_t *watm_output(struct watm_output *output, size_t length);

// Takes the last `length` bytes of the output back: those that a codec asked for and did not need,
// because it knew only an upper bound. At most what was added since the codec was called.
void watm_output_shorten(struct watm_output *output, size_t length);

// Adds a copy of `length` bytes to the output. Returns 0 or -ENOMEM.
int32_t watm_output_copy(struct watm_output *output, const void *bytes, size_t length);

// How one direction of a connection is transformed. All members may be NULL: without `update`, the
// bytes pass unchanged, without a copy.
struct watm_codec {
    // Adds to the output what it makes of the input. Returns how many bytes of the input it has
    // used, from 0 to `length`, or a negated error number.
    //
    // The rest of the input comes again. If a call has used something, the next one comes as soon
    // as the output is written; if it has used nothing, with more input behind it. A codec may
    // therefore handle one frame in each call, or as many as there are, and returns 0 while a frame
    // is not complete. `length` is never 0. More than WATM_INPUT_MAX bytes that stay unused are
    // the error EMSGSIZE.
    //
    // After an error, what earlier calls have made is still delivered. What the failed call has
    // added is dropped.
    int32_t (*update)(void *state, const uint8_t *input, size_t length, struct watm_output *output);

    // Called once, at the end of the stream, after the last `update`. It may add to the output,
    // and it may say that the end is not allowed here. Input that `update` has left unused at the
    // end of the stream is a part of a frame: the library says EPROTO by itself and does not call
    // this function.
    int32_t (*finish)(void *state, struct watm_output *output);

    // Passed to both functions.
    void *state;
};

// The codecs of one connection. Both pass bytes unchanged unless a handshake sets them.
struct watm_connection {
    struct watm_codec encode; // from the application to the network
    struct watm_codec decode; // from the network to the application
};

// The most input that a codec may leave unused, in bytes. A transport with longer frames compiles
// watm.c with another value, such as -DWATM_INPUT_MAX=16777216. The limit keeps a peer that
// announces an enormous frame from filling the memory.
#ifndef WATM_INPUT_MAX
#define WATM_INPUT_MAX 262144
#endif

// ---- Streams: the network during the handshake ----

// The network side of a connection that begins. Its functions block. The host bounds the time that
// a handshake may take.
struct watm_stream;

// Reads up to `length` bytes, at least 1. Returns how many, or 0 at the end of the stream.
int32_t watm_read(struct watm_stream *stream, void *buffer, size_t length);

// Reads exactly `length` bytes. The end of the stream before the last of them is the error EPROTO.
int32_t watm_read_exactly(struct watm_stream *stream, void *buffer, size_t length);

// Gives bytes back, which were read beyond the end of the handshake. The next read gets them, or
// the decoder, before everything that follows.
int32_t watm_unread(struct watm_stream *stream, const void *bytes, size_t length);

// Writes all of `length` bytes.
int32_t watm_write(struct watm_stream *stream, const void *bytes, size_t length);

// ---- The transport: what the author defines ----

// A role whose function is NULL fails with ENOSYS.
struct watm_transport {
    // Takes the configuration, `length` bytes that stay valid and unchanged. `config` is NULL if
    // the embedder gave none. An error refuses the configuration: EINVAL, as a rule. NULL if the
    // transport has no configuration.
    int32_t (*init)(const uint8_t *config, size_t length);

    // Begins a connection as the side that has dialled: the handshake on the network, if there is
    // one, and the choice of codecs. For dialers, fixed dialers and relays.
    int32_t (*dial)(struct watm_stream *network, struct watm_connection *connection);

    // The same as the side that has accepted. For listeners.
    int32_t (*accept)(struct watm_stream *network, struct watm_connection *connection);

    // Sets the address that a fixed dialer dials, "host:port" or "[v6]:port". `network` is "tcp"
    // unless this function sets it to "tcp4" or "tcp6". Both have at most 256 bytes.
    int32_t (*address)(const char **network, const char **address);
};

// The transport of this module. The author defines it.
extern const struct watm_transport watm_transport;

// The roles. A host reads from the exports what a module can do, so that each role has to be asked
// for, by its name and a semicolon at the top level of a source file.

// Connects to the address that the host chose: `dial`.
#define WATM_DIALER WATM_ROLE(watm_dial_v1, (int32_t internal), watm_role_dial(internal))
// Connects to the address that the module chose: `address`, then `dial`.
#define WATM_FIXED_DIALER \
    WATM_ROLE(watm_dial_fixed_v1, (int32_t internal), watm_role_dial_fixed(internal))
// Accepts a connection of the host's listener: `accept`.
#define WATM_LISTENER WATM_ROLE(watm_accept_v1, (int32_t internal), watm_role_accept(internal))
// Accepts a connection, which takes the place of the application and is not transformed, and
// connects it to the address that the host chose: `dial`.
#define WATM_RELAY WATM_ROLE(watm_associate_v1, (void), watm_role_associate())

#define WATM_ROLE(name, parameters, result) \
    WATM_EXPORT(name) int32_t name parameters; \
    int32_t name parameters { return result; } \
    extern const struct watm_transport watm_transport

int32_t watm_role_dial(int32_t internal);
int32_t watm_role_dial_fixed(int32_t internal);
int32_t watm_role_accept(int32_t internal);
int32_t watm_role_associate(void);

// ---- The log ----

// Logs one line, without its newline. The line leaves in one write to standard error, which hosts
// make a record of their own log. A log that fails is not noticed.
void watm_log(const char *line);

// The same with the formats of printf. A line is cut after 511 bytes.
__attribute__((format(printf, 1, 2))) void watm_logf(const char *format, ...);

// ---- Encryption by the host, where it offers that ----
//
// AES-GCM and ChaCha20-Poly1305 on the processor's instructions, which WebAssembly does not have. It
// is the extension watm_ext_aead_v1 of the runtime watm, not a part of WATM v1. Other hosts do not
// know it, so that a module needs a cipher of its own as well:
//
//     WATM_HOST_AEAD;                                    // at the top level of a source file
//     int32_t key = watm_aead_key(WATM_AES_256_GCM, bytes, 32);
//     if (key < 0) ...                                   // the module's own cipher
//
// The module is linked with -Wl,--export-table,--growable-table. Without that, nothing is offered.
// `watm inspect` tells, and `watm dial --no-host-aead` makes no offer. docs/authors.md of the runtime
// defines the extension.

enum watm_aead_algorithm {
    WATM_AES_128_GCM = 1,       // a key of 16 bytes
    WATM_AES_256_GCM = 2,       // 32 bytes
    WATM_CHACHA20_POLY1305 = 3, // 32 bytes
};

// Bytes of a nonce, which must never seal two messages with one key, and of the tag, which follows
// a sealed message.
#define WATM_AEAD_NONCE 12
#define WATM_AEAD_TAG 16

// Gives the host a key. Returns its handle, which is never 0. -ENOSYS if the host offers nothing,
// -EINVAL for a key of another length, -ENFILE beyond 64 keys at a time.
int32_t watm_aead_key(enum watm_aead_algorithm algorithm, const void *key, size_t length);

// Has the host wipe a key.
void watm_aead_close(int32_t key);

// Seals `length` bytes, at most 1 MiB, into `length` + WATM_AEAD_TAG bytes. The additional data, at
// most 64 KiB, is authenticated too. `sealed` may be `plain`.
int32_t watm_aead_seal(int32_t key, const void *nonce, const void *aad, size_t aad_length,
                       const void *plain, size_t length, void *sealed);

// Opens `length` bytes into `length` - WATM_AEAD_TAG bytes. -EBADMSG if they were altered, or sealed
// with something else: then `plain` has zeros. `plain` may be `sealed`.
int32_t watm_aead_open(int32_t key, const void *nonce, const void *aad, size_t aad_length,
                       const void *sealed, size_t length, void *plain);

#define WATM_HOST_AEAD \
    WATM_EXPORT(watm_ext_aead_v1) int32_t watm_ext_aead_v1(uint32_t first, uint32_t count); \
    int32_t watm_ext_aead_v1(uint32_t first, uint32_t count) { \
        return watm_aead_take(first, count); \
    } \
    int32_t watm_aead_take(uint32_t first, uint32_t count)

// Takes what the host offers: `count` functions, the first at `first` in the table.
int32_t watm_aead_take(uint32_t first, uint32_t count);

// ---- The raw level: for modules that need other exports, or another loop ----
//
// Compiled with -DWATM_RAW, watm.c has only the log and the functions below. Then the module
// defines the exports itself, with WATM_EXPORT:
//
//     WATM_EXPORT(watm_start_v1) int32_t start(void) { ... }

// A buffer, as WASI and the host functions take it (`ciovec`).
struct watm_ciovec {
    const void *bytes;
    size_t length;
};

// The functions of the host. Each returns a descriptor or a negated error number. Note how they
// cross over: watm_dial_v1 uses water_dial_fixed, and watm_dial_fixed_v1 uses water_dial.
WATM_IMPORT(water_dial)
int32_t water_dial(const struct watm_ciovec *network, size_t network_count,
                   const struct watm_ciovec *address, size_t address_count);
WATM_IMPORT(water_dial_fixed) int32_t water_dial_fixed(void);
WATM_IMPORT(water_accept) int32_t water_accept(void);

// water_dial for two strings.
int32_t watm_dial_address(const char *network, const char *address);

// Reads the configuration into memory that stays valid. Returns its length, and sets `config` to
// NULL if there is none.
int32_t watm_config(const uint8_t **config);

// One fd_read and one fd_write of one buffer. Each returns how many bytes it has moved. A read
// returns 0 at the end of the stream. -EAGAIN if the descriptor does not block and is not ready.
int32_t watm_fd_read(int32_t fd, void *buffer, size_t length);
int32_t watm_fd_write(int32_t fd, const void *bytes, size_t length);

// Makes a descriptor return -EAGAIN instead of blocking.
int32_t watm_fd_set_nonblocking(int32_t fd);

// Ends the stream that this side writes. A connection that is gone already is no error. Hosts
// without half-close say -ENOSYS, -ENOTSUP or -ENOTSOCK.
int32_t watm_fd_end(int32_t fd);

#ifdef __cplusplus
}
#endif

#endif
