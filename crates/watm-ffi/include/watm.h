/*
 * watm: WebAssembly Transport Modules (WATM v1) for C and whatever calls C.
 *
 * A module is a WebAssembly file that implements a network transport. Load it, make a dialer or a
 * listener of it, and read and write its connections. README.md beside the sources has examples.
 *
 *   handles    Each pointer to an opaque type (watm_conn *, for example) is a handle. Whoever made
 *              it frees it, once, with the function of its name that ends in _free, which takes
 *              null. A handle must not be used after that, nor be freed while another thread uses
 *              it: this is not checked. Handles are independent: they may be freed in any order,
 *              and what was made from one keeps what it needs of it.
 *   threads    All functions may be called from any thread, and one handle may be used by several
 *              threads at the same time. Callbacks are called from threads of the library.
 *   errors     Most functions return a watm_status, which is 0 if they worked, and take the
 *              address of a watm_error * as their last argument. It is set in each call: to null
 *              if it worked or if the status is WATM_STATUS_AGAIN, and otherwise to an error that
 *              the caller frees. It may be null. The functions without a status cannot fail; they
 *              accept null in place of their handle, and do nothing or return what is documented.
 *   results    What is returned through a pointer has a defined value only if the call worked,
 *              except that handles are null otherwise. Such pointers must not be null unless it is
 *              said.
 *   texts      Texts are UTF-8, end with a zero byte, and have at most 1 MiB; paths may have any
 *              bytes. Texts and bytes that are passed in are copied. Bytes may be null if there
 *              are none. Texts that are returned belong to their handle.
 *   memory     Nothing that one call writes to may overlap with anything else that it was given.
 *   times      Times are in milliseconds unless their name says otherwise. Where a negative one is
 *              allowed, it means no limit.
 *   callbacks  Each gets a `user` of the application, which is handed to its `destroy` once nothing
 *              uses it any more. A callback must return: no longjmp() and no exception may leave
 *              it. It may call functions of this library, but none that waits for the connection
 *              that it was called for. A `destroy` must call none at all.
 *   panics     A defect of the library is reported as WATM_STATUS_INTERNAL.
 *   processes  After fork(), the child must not use the library before it calls exec(). From the
 *              first module on, the engine handles SIGSEGV, SIGBUS, SIGILL and SIGFPE raised by
 *              modules, and forwards those of other code. No other signal is touched. SIGPIPE is
 *              never raised by the library.
 *   releases   What is declared here stays in all releases with the same soname. Records may grow
 *              at their end: the functions that fill one take its size, and those that the library
 *              hands out have the fields of its own release. Unknown numbers of a status, an
 *              outcome or an event may come from a later release.
 *
 * This file is made by cbindgen: do not change it.
 */

#ifndef WATM_H
#define WATM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * No messages.
 */
#define WATM_LOG_OFF 0

/**
 * What went wrong for good.
 */
#define WATM_LOG_ERROR 1

/**
 * What somebody should look at.
 */
#define WATM_LOG_WARN 2

/**
 * What happened, also what modules say.
 */
#define WATM_LOG_INFO 3

/**
 * What happened in detail.
 */
#define WATM_LOG_DEBUG 4

/**
 * Everything.
 */
#define WATM_LOG_TRACE 5

/**
 * The role of a dialer, as a bit of watm_module_roles().
 */
#define WATM_ROLE_DIALER 1

/**
 * The role of a fixed dialer, which chooses its remote by itself.
 */
#define WATM_ROLE_FIXED_DIALER 2

/**
 * The role of a listener.
 */
#define WATM_ROLE_LISTENER 4

/**
 * The role of a relay.
 */
#define WATM_ROLE_RELAY 8

/**
 * Standard output and error of a module become log lines, at level info with the target
 * `watm::module::NAME`. This is the default.
 */
#define WATM_STDIO_LOG 0

/**
 * A module has the standard streams of the process.
 */
#define WATM_STDIO_INHERIT 1

/**
 * What a module writes to its standard streams is dropped.
 */
#define WATM_STDIO_NULL 2

/**
 * What a watm_dial_fn returns to let the library connect as it would without the hook.
 */
#define WATM_DIAL_CONNECT -1000000

/**
 * A connection begins to be set up.
 */
#define WATM_EVENT_BEGUN 1

/**
 * The module, or a server that forwards, has connected to a remote: `peer`.
 */
#define WATM_EVENT_CONNECTED 2

/**
 * The transport is set up, between `local` and `peer`.
 */
#define WATM_EVENT_ESTABLISHED 3

/**
 * The transport could not be set up: `code` and `message`. That is all for this connection.
 */
#define WATM_EVENT_FAILED 4

/**
 * The transport has ended, and what it wrote is delivered or lost: `outcome` and `traffic`, or
 * `code`, `message` and `traffic` if it failed. That is all for this connection.
 */
#define WATM_EVENT_ENDED 5

/**
 * Shut down reading.
 */
#define WATM_SHUTDOWN_READ 0

/**
 * Shut down writing.
 */
#define WATM_SHUTDOWN_WRITE 1

/**
 * Shut down both directions.
 */
#define WATM_SHUTDOWN_BOTH 2

/**
 * How a call went. The numbers never change; later releases may add some.
 */
enum watm_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * It worked.
   */
  WATM_STATUS_OK = 0,
  /**
   * There is nothing to do yet: the call does not wait, or has waited for as long as it was told
   * to. This is no failure, so there is no error. Call again later.
   */
  WATM_STATUS_AGAIN = 1,
  /**
   * An argument cannot be used: a null pointer, text that is not UTF-8, something malformed.
   * Nothing was done. The code is `argument`, or `key` for a key that is none.
   */
  WATM_STATUS_ARGUMENT = 2,
  /**
   * The module could not be loaded.
   */
  WATM_STATUS_LOAD = 3,
  /**
   * The settings or the configuration file cannot be used, or the module does not have the role.
   */
  WATM_STATUS_CONFIG = 4,
  /**
   * It is not possible to listen on the address.
   */
  WATM_STATUS_LISTEN = 5,
  /**
   * A connection could not be set up: the address, the network, the policy or the dial hook.
   */
  WATM_STATUS_CONNECT = 6,
  /**
   * The transport failed: its module, or its connection.
   */
  WATM_STATUS_TRANSPORT = 7,
  /**
   * A time limit has passed. The code is `timed-out`, or `connect` if it was the connection
   * below that took too long.
   */
  WATM_STATUS_TIMED_OUT = 8,
  /**
   * The dial was cancelled.
   */
  WATM_STATUS_CANCELLED = 9,
  /**
   * It is closed: no more connections, or no more bytes.
   */
  WATM_STATUS_CLOSED = 10,
  /**
   * The system failed: it had no thread, descriptor or memory left, for example.
   */
  WATM_STATUS_SYSTEM = 11,
  /**
   * The library failed. This is a defect; the message says where.
   */
  WATM_STATUS_INTERNAL = 12,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum watm_status watm_status;
#else
typedef int32_t watm_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How a transport ended when nothing went wrong.
 */
enum watm_outcome
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * The module returned because one side reached the end of its stream.
   */
  WATM_OUTCOME_COMPLETED = 0,
  /**
   * The module returned because it was asked to.
   */
  WATM_OUTCOME_CANCELLED = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum watm_outcome watm_outcome;
#else
typedef int32_t watm_outcome;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Unwraps sockets that the application accepts by itself.
 */
typedef struct watm_acceptor watm_acceptor;

/**
 * The addresses that a watm_resolve_fn finds. It belongs to the library.
 */
typedef struct watm_addresses watm_addresses;

/**
 * Cancels dials, from any thread. A token that was cancelled stays so.
 */
typedef struct watm_cancel_token watm_cancel_token;

/**
 * A plain connection that a transport carries. The transport's thread moves the bytes, and the
 * connection ends by itself.
 */
typedef struct watm_carried watm_carried;

/**
 * A configuration file: one or more tunnels, each with a module, its role, addresses and settings.
 * `docs/configuration.md` in the repository explains the format.
 */
typedef struct watm_config watm_config;

/**
 * A connection through a transport module. Two threads may use both directions at once.
 */
typedef struct watm_conn watm_conn;

/**
 * The connections that were open when a listener or a server was asked, the oldest first. They are
 * not kept open by it.
 */
typedef struct watm_connections watm_connections;

/**
 * One outgoing connection about to be made, as a watm_dial_fn sees it. It belongs to the library.
 */
typedef struct watm_dial_attempt watm_dial_attempt;

/**
 * Options of single dials, in place of what their dialer has. They are copied when a dial begins.
 */
typedef struct watm_dial_options watm_dial_options;

/**
 * Dials addresses that the application chooses.
 */
typedef struct watm_dialer watm_dialer;

/**
 * Why a call failed. It belongs to whoever got it, and is freed with watm_error_free(). It does
 * not change, so any number of threads may look at it.
 */
typedef struct watm_error watm_error;

/**
 * Dials addresses that the module chooses, as far as watm_settings_allow() lets it.
 */
typedef struct watm_fixed_dialer watm_fixed_dialer;

/**
 * Accepts connections and unwraps what comes over them. Each handshake runs on a thread of its
 * own.
 */
typedef struct watm_listener watm_listener;

/**
 * Loads modules on conditions: a hash, a signature, limits; and from a cache, which saves
 * compiling. A new loader has no conditions, and limits of 64 MiB and 60 seconds.
 */
typedef struct watm_loader watm_loader;

/**
 * A transport module, checked and compiled. Dialers and listeners keep what they need of it, so it
 * may be freed before them.
 */
typedef struct watm_module watm_module;

/**
 * A connection that is being set up. The set-up goes on whether or not anybody waits for it.
 */
typedef struct watm_pending watm_pending;

/**
 * A running server: it accepts connections and carries each over a transport, on threads of its
 * own.
 */
typedef struct watm_server watm_server;

/**
 * What modules are given: a configuration, files, addresses that they may dial, limits. By default
 * they have no files and no environment, and may not choose addresses.
 *
 * Settings are copied when something is made from them. They are checked as a whole then: the
 * calls here fail only for arguments that can never be right.
 */
typedef struct watm_settings watm_settings;

/**
 * Takes a message of the log: its level, where it comes from (`watm_wasmer::roles`,
 * `watm::module::NAME`), and its text, which is one line of UTF-8. Both texts are valid during the
 * call.
 *
 * It is called from any thread, several at a time, also within calls of this library. It should be
 * quick. What it logs itself by calling this library is dropped.
 */
typedef void (*watm_log_fn)(void *user, uint32_t level, const char *target, const char *message);

/**
 * Frees what a callback got as `user`. It must not call functions of this library.
 */
typedef void (*watm_destroy_fn)(void *user);

/**
 * Makes an outgoing connection. It returns a connected stream socket, which the library owns from
 * then on; or an error number of the system, negated, such as `-ECONNREFUSED`; or
 * WATM_DIAL_CONNECT, which lets the library connect.
 *
 * It is called on the thread of the connection, which blocks the application's signals, and may
 * take until watm_dial_attempt_deadline() is 0. `attempt` is valid during the call. It is not
 * called for an address of the module that no entry of the policy could allow; a hook that
 * connects by itself is responsible for the addresses behind a name. It must not leave by
 * longjmp() or an exception.
 */
typedef int (*watm_dial_fn)(void *user, const watm_dial_attempt *attempt);

/**
 * Prepares a socket before it connects to `remote` (`192.0.2.1:443`, `[2001:db8::1]:443`): binds
 * it to a network, marks it, or keeps it out of a VPN, as `VpnService.protect()` does on Android.
 * It returns 0, or an error number of the system, negated; then the next address is tried.
 *
 * The socket stays the library's. A name with several addresses has several sockets, and some may
 * be connecting at the same time. `remote` is valid during the call. The same holds for the thread
 * as for watm_dial_fn.
 */
typedef int (*watm_prepare_fn)(void *user, int fd, const char *remote);

/**
 * Finds the addresses of a name, and adds each with watm_addresses_add() in the order in which
 * they are to be tried. It returns 0, or an error number of the system, negated.
 *
 * `name` and `addresses` are valid during the call. The same holds for the thread as for
 * watm_dial_fn.
 */
typedef int (*watm_resolve_fn)(void *user,
                               const char *name,
                               uint16_t port,
                               watm_addresses *addresses);

/**
 * How much a connection has moved, and what that took.
 */
typedef struct {
  /**
   * Bytes received from the network, as they were on the wire.
   */
  uint64_t received;
  /**
   * Bytes sent to the network, as they were on the wire.
   */
  uint64_t sent;
  /**
   * The part of `received` that came from the client of a listener or a relay.
   */
  uint64_t client_received;
  /**
   * The part of `sent` that went to the client.
   */
  uint64_t client_sent;
  /**
   * Bytes received from the plain connection that is carried; 0 for a watm_conn.
   */
  uint64_t plain_received;
  /**
   * Bytes sent to the plain connection that is carried; 0 for a watm_conn.
   */
  uint64_t plain_sent;
  /**
   * Functions of the host that the module has called.
   */
  uint64_t host_calls;
  /**
   * System calls that moved bytes, polled, or woke a thread.
   */
  uint64_t system_calls;
  /**
   * Nanoseconds that the module's own code ran. This and the next two are 0 unless
   * watm_settings_timing() is on.
   */
  uint64_t guest_nanoseconds;
  /**
   * Nanoseconds that the host worked in calls of the module.
   */
  uint64_t host_nanoseconds;
  /**
   * Nanoseconds that the module waited in calls of the host.
   */
  uint64_t asleep_nanoseconds;
} watm_traffic;

/**
 * A stage of a connection. It is valid during the call, as is all that it points to. Later
 * releases may add fields at its end.
 */
typedef struct {
  /**
   * WATM_EVENT_BEGUN and so on. Later releases may add some.
   */
  uint32_t kind;
  /**
   * What the module is used as: WATM_ROLE_DIALER and so on.
   */
  uint32_t role;
  /**
   * A number that no other connection of this process has. The numbers grow.
   */
  uint64_t connection;
  /**
   * The time since the connection began, in nanoseconds.
   */
  uint64_t after_nanoseconds;
  /**
   * The name of the module.
   */
  const char *module;
  /**
   * The address of the client, for a connection that was accepted or that is carried. Otherwise,
   * and if it has no IP address, null.
   */
  const char *client;
  /**
   * The local address of the network connection. Null where it is not said.
   */
  const char *local;
  /**
   * The address of the peer of the network connection. Null where it is not said.
   */
  const char *peer;
  /**
   * A word for what went wrong, as of watm_error_code(); also `displaced` and `gave-way` for
   * handshakes that had to make room, and `closed` for what was cancelled. Null if nothing went
   * wrong.
   */
  const char *code;
  /**
   * What went wrong, as of watm_error_message(). Null if nothing went wrong.
   */
  const char *message;
  /**
   * How the transport ended, if it has and nothing went wrong.
   */
  watm_outcome outcome;
  /**
   * What the connection has moved, if it has ended. Null otherwise.
   */
  const watm_traffic *traffic;
} watm_event;

/**
 * Hears of a stage of a connection. It is called on the thread of the connection, in order for
 * each, and for several connections at a time. That thread blocks the application's signals, and
 * should not be held up.
 *
 * Each connection begins. Then it is established or fails, and one that was established ends. In
 * between, it connects as often as its module dials.
 */
typedef void (*watm_observe_fn)(void *user, const watm_event *event);

/**
 * What a listener or a server has done so far.
 */
typedef struct {
  /**
   * Connections accepted.
   */
  uint64_t accepted;
  /**
   * Connections that are open, including those that are being set up.
   */
  uint64_t active;
  /**
   * Connections whose transport could not be set up.
   */
  uint64_t refused;
  /**
   * Connections whose transport ended well.
   */
  uint64_t completed;
  /**
   * Connections whose transport ended with an error.
   */
  uint64_t failed;
  /**
   * Connections that were cut off by a shutdown.
   */
  uint64_t cut;
  /**
   * Bytes that ended connections have received from the network.
   */
  uint64_t received;
  /**
   * Bytes that ended connections have sent to the network.
   */
  uint64_t sent;
  /**
   * The part of `received` that came from the clients of a listener or a relay.
   */
  uint64_t client_received;
  /**
   * The part of `sent` that went to them.
   */
  uint64_t client_sent;
  /**
   * Bytes that ended connections have received from plain connections.
   */
  uint64_t plain_received;
  /**
   * Bytes that ended connections have sent to plain connections.
   */
  uint64_t plain_sent;
} watm_tally;

/**
 * A connection of a listener or a server that was open when it was asked. Later releases may add
 * fields at its end.
 */
typedef struct {
  /**
   * Its number among those that were accepted. The first is 1.
   */
  uint64_t number;
  /**
   * The time since it was accepted, in nanoseconds.
   */
  uint64_t age_nanoseconds;
  /**
   * The address of the client.
   */
  const char *client;
  /**
   * What it had moved.
   */
  const watm_traffic *traffic;
  /**
   * Whether its transport was set up.
   */
  bool is_established;
} watm_open_connection;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The status that the call returned.
 *
 * `error` may be null, which is WATM_STATUS_OK.
 */
watm_status watm_error_status(const watm_error *error);

/**
 * A word for the error that stays the same in all releases, by status:
 *
 * - WATM_STATUS_ARGUMENT: `argument`, `key`
 * - WATM_STATUS_LOAD: `read`, `too-large`, `hash`, `signature`, `not-a-module`, `malformed`,
 *   `unsupported`, `interface`, `too-complex`, `compile-timeout`, `compile`, `cache`
 * - WATM_STATUS_CONFIG: `role`, `directory`, `invalid`, `log`; of a configuration file also
 *   `read`, `too-large`, `syntax`, `unknown-key`, `no-such-tunnel`, `file`
 * - WATM_STATUS_LISTEN: `bind`
 * - WATM_STATUS_CONNECT: `address`, `resolve`, `connect`, `denied`, `instantiate`
 * - WATM_STATUS_TRANSPORT: `failed`, `trapped`, `exited`, `bad-descriptor`, `connection-lost`,
 *   `plain-lost`, `interrupted`, `undelivered`, `host`
 * - WATM_STATUS_TIMED_OUT: `timed-out`, `connect`
 * - WATM_STATUS_CANCELLED: `cancelled`
 * - WATM_STATUS_CLOSED: `closed`
 * - WATM_STATUS_SYSTEM: `host`, `system`
 * - WATM_STATUS_INTERNAL: `internal`
 *
 * Later releases may add some.
 *
 * It lives as long as the error. `error` may be null, which gives an empty text.
 */
const char *watm_error_code(const watm_error *error);

/**
 * The error number of the system, such as `ECONNREFUSED`, that describes the error best: the one
 * that caused it if that is known, or else the one for its kind. `EIO` if none fits. It is for
 * decisions that the status is too coarse for.
 *
 * 0 if `error` is null.
 */
int watm_error_errno(const watm_error *error);

/**
 * What went wrong, with all causes, in one line of UTF-8 in English. It says who is at fault: the
 * module, the peer, the configuration or the host. It may quote what they sent, escaped and cut.
 *
 * It lives as long as the error. `error` may be null, which gives an empty text.
 */
const char *watm_error_message(const watm_error *error);

/**
 * Frees an error. `error` may be null.
 */
void watm_error_free(watm_error *error);

/**
 * The version of the library, such as `0.1.0`. It lives as long as the process.
 */
const char *watm_version(void);

/**
 * How many handles there are of all kinds, errors included: what was made and not freed yet. For
 * tests that look for leaks.
 */
size_t watm_handle_count(void);

/**
 * Waits, up to a time in milliseconds, until all connections that were freed have delivered what
 * was written to them and have ended. `*left` is how many have not.
 *
 * A program whose last connections were freed rather than closed calls this before it ends, since
 * the end of the process resets their peers.
 */
watm_status watm_drain(uint64_t milliseconds, size_t *left, watm_error **error);

/**
 * Sends the messages of the library to a callback, up to a level such as WATM_LOG_INFO. Without
 * this call there are no messages.
 *
 * It works once in a process: a second call fails with WATM_STATUS_CONFIG and the code `log`. The
 * callback and `user` are used as long as the process lives, so `destroy`, which may be null, is
 * called only if the call fails.
 */
watm_status watm_log(watm_log_fn callback,
                     uint32_t level,
                     void *user,
                     watm_destroy_fn destroy,
                     watm_error **error);

/**
 * Changes up to which level there are messages, as for watm_log().
 */
watm_status watm_log_level(uint32_t level, watm_error **error);

/**
 * Makes a loader without conditions. Null if there is no memory.
 */
watm_loader *watm_loader_new(void);

/**
 * Frees a loader. Modules that it has loaded stay. `loader` may be null.
 */
void watm_loader_free(watm_loader *loader);

/**
 * Refuses modules with another SHA-256, before they are parsed or compiled.
 *
 * `sha256` has 64 hexadecimal digits. Fails with WATM_STATUS_ARGUMENT if it does not.
 */
watm_status watm_loader_sha256(const watm_loader *loader, const char *sha256, watm_error **error);

/**
 * Refuses modules that neither this key has signed nor another that was added, before they are
 * parsed or compiled.
 *
 * `key` is a public key of minisign: its 56 characters, or the text of the file. The signature is
 * read from the file beside the module's, with `.minisig` behind its name, unless the loader was
 * given another. Fails with WATM_STATUS_ARGUMENT and the code `key` if it is no such key.
 */
watm_status watm_loader_trusted_key(const watm_loader *loader, const char *key, watm_error **error);

/**
 * Adds a trusted key as watm_loader_trusted_key() does, from a file such as `minisign.pub`.
 */
watm_status watm_loader_trusted_key_file(const watm_loader *loader,
                                         const char *file,
                                         watm_error **error);

/**
 * Sets the signature of the next modules: `length` bytes that `minisign -S` has written, which are
 * copied. Without trusted keys it is by an unknown key.
 */
watm_status watm_loader_signature(const watm_loader *loader,
                                  const void *signature,
                                  size_t length,
                                  watm_error **error);

/**
 * Sets the file with the signature of the next modules. It is read when a module is loaded.
 */
watm_status watm_loader_signature_file(const watm_loader *loader,
                                       const char *file,
                                       watm_error **error);

/**
 * Refuses modules of more than this many bytes; 64 MiB by default.
 */
watm_status watm_loader_max_size(const watm_loader *loader, uint64_t size, watm_error **error);

/**
 * Gives up compiling a module after this many milliseconds; 60,000 by default.
 */
watm_status watm_loader_compile_timeout(const watm_loader *loader,
                                        uint64_t milliseconds,
                                        watm_error **error);

/**
 * Keeps compiled modules in a directory, which belongs to the user alone, and takes them from
 * there.
 *
 * A null `directory` means that of the user: `watm` in `XDG_CACHE_HOME`, or in `.cache` in the
 * home directory. It is made if it is not there. Fails with WATM_STATUS_LOAD and the code `cache`
 * if it cannot be made, belongs to another user, or can be written by others.
 */
watm_status watm_loader_cache(const watm_loader *loader, const char *directory, watm_error **error);

/**
 * Loads a module from a file. This compiles it, which takes seconds for a large one.
 *
 * The module is left in `*module` and belongs to the caller. Fails with WATM_STATUS_LOAD, and one
 * of the codes of LoadError::code: `read`, `too-large`, `hash`, `signature`, `not-a-module`,
 * `malformed`, `unsupported`, `interface`, `too-complex`, `compile-timeout` or `compile`.
 */
watm_status watm_loader_load_file(const watm_loader *loader,
                                  const char *file,
                                  watm_module **module,
                                  watm_error **error);

/**
 * Loads a module from `length` bytes, as watm_loader_load_file() does. They are not needed after
 * the call.
 */
watm_status watm_loader_load_bytes(const watm_loader *loader,
                                   const void *data,
                                   size_t length,
                                   watm_module **module,
                                   watm_error **error);

/**
 * Loads a module from a file without conditions, as watm_loader_load_file() does.
 */
watm_status watm_module_load_file(const char *file, watm_module **module, watm_error **error);

/**
 * Loads a module from `length` bytes without conditions, as watm_loader_load_bytes() does.
 */
watm_status watm_module_load_bytes(const void *data,
                                   size_t length,
                                   watm_module **module,
                                   watm_error **error);

/**
 * The name of the module in logs: that of its file, else its own, else the beginning of its hash.
 * It lives as long as the handle. Empty if `module` is null.
 */
const char *watm_module_name(const watm_module *module);

/**
 * The SHA-256 of the module in 64 hexadecimal digits. It lives as long as the handle. Empty if
 * `module` is null.
 */
const char *watm_module_sha256(const watm_module *module);

/**
 * The size of the module's file in bytes. 0 if `module` is null.
 */
uint64_t watm_module_size(const watm_module *module);

/**
 * The roles that the module offers: WATM_ROLE_DIALER and others, added together. 0 if `module` is
 * null.
 */
uint32_t watm_module_roles(const watm_module *module);

/**
 * Whether the module asks for encryption by the host, and can take it: see
 * watm_settings_host_aead(). False if `module` is null.
 */
bool watm_module_wants_host_aead(const watm_module *module);

/**
 * The number of the key that has signed the module, in 16 hexadecimal digits. It lives as long as
 * the handle. Null if the loader had no trusted keys, or if `module` is null.
 */
const char *watm_module_signature_key(const watm_module *module);

/**
 * The trusted comment of the module's signature, which is signed as well. It may hold any
 * characters, also those that move a cursor. It lives as long as the handle. Null if the loader
 * had no trusted keys, or if `module` is null.
 */
const char *watm_module_signature_comment(const watm_module *module);

/**
 * Frees a module. Whatever was made from it goes on. `module` may be null.
 */
void watm_module_free(watm_module *module);

/**
 * Makes settings with their defaults. Null if there is no memory.
 */
watm_settings *watm_settings_new(void);

/**
 * Frees settings. What was made from them keeps them. `settings` may be null.
 */
void watm_settings_free(watm_settings *settings);

/**
 * Sets the configuration of the module: the contents of its read-only file `/conf/watm.cfg`, which
 * exists in memory only. The `length` bytes are copied. Without a configuration there is no file.
 */
watm_status watm_settings_config(const watm_settings *settings,
                                 const void *data,
                                 size_t length,
                                 watm_error **error);

/**
 * Adds an argument. Argument 0 is always the name of the module.
 */
watm_status watm_settings_arg(const watm_settings *settings,
                              const char *argument,
                              watm_error **error);

/**
 * Adds an environment variable. Those of the process are not passed to modules.
 */
watm_status watm_settings_env(const watm_settings *settings,
                              const char *name,
                              const char *value,
                              watm_error **error);

/**
 * Gives the module a directory of the host under the absolute path `guest`, for reading, or for
 * writing as well. Nothing outside of it can be reached.
 */
watm_status watm_settings_dir(const watm_settings *settings,
                              const char *host,
                              const char *guest,
                              bool writable,
                              watm_error **error);

/**
 * Gives the module a file for reading, which exists in memory only, under the absolute path
 * `guest`. The `length` bytes are copied. A module may have 64 files, of 64 MiB together.
 */
watm_status watm_settings_file(const watm_settings *settings,
                               const char *guest,
                               const void *data,
                               size_t length,
                               watm_error **error);

/**
 * Sets what the module's standard streams are connected to: WATM_STDIO_LOG (the default),
 * WATM_STDIO_INHERIT or WATM_STDIO_NULL.
 */
watm_status watm_settings_stdio(const watm_settings *settings, uint32_t stdio, watm_error **error);

/**
 * Allows the module to dial addresses by itself: `[NETWORK://]HOST[:PORT]`, where `HOST` is a
 * name, `*.` and a name, `*`, an IP address or a CIDR block. Without any, it may dial none.
 *
 * What the application names is not subject to these entries. Fails with WATM_STATUS_ARGUMENT if
 * the entry is malformed or could never match.
 */
watm_status watm_settings_allow(const watm_settings *settings,
                                const char *address,
                                watm_error **error);

/**
 * Denies the module addresses, in the form of watm_settings_allow(). What is denied stays denied,
 * whatever allows it.
 */
watm_status watm_settings_deny(const watm_settings *settings,
                               const char *address,
                               watm_error **error);

/**
 * Sets whether the module may dial addresses that no entry names, which includes the host's own
 * network. False by default.
 */
watm_status watm_settings_allow_others(const watm_settings *settings,
                                       bool allow,
                                       watm_error **error);

/**
 * Adds a NAT64 prefix of the host's network, such as `64:ff9b:1::/96`. Its addresses count as the
 * IPv4 addresses that they carry, in all entries.
 */
watm_status watm_settings_nat64_prefix(const watm_settings *settings,
                                       const char *prefix,
                                       watm_error **error);

/**
 * Sets the maximum time for one outgoing connection in milliseconds, over all addresses of its
 * name; 10,000 by default.
 */
watm_status watm_settings_connect_timeout(const watm_settings *settings,
                                          uint64_t milliseconds,
                                          watm_error **error);

/**
 * Sets the maximum time for the whole set-up of a transport in milliseconds: making the instance,
 * connecting, and the handshake; 30,000 by default.
 */
watm_status watm_settings_setup_timeout(const watm_settings *settings,
                                        uint64_t milliseconds,
                                        watm_error **error);

/**
 * Sets the time in milliseconds that a transport has to end after a close; 3,000 by default. After
 * half of it the transport is told to end, and at its end it is interrupted.
 */
watm_status watm_settings_close_grace(const watm_settings *settings,
                                      uint64_t milliseconds,
                                      watm_error **error);

/**
 * Sets the maximum time in milliseconds to deliver what a transport wrote before it ended by
 * itself; 30,000 by default.
 */
watm_status watm_settings_drain_timeout(const watm_settings *settings,
                                        uint64_t milliseconds,
                                        watm_error **error);

/**
 * Sets the idle time in milliseconds after which the system probes a TCP peer; 60,000 by default,
 * at least 1,000. A negative time turns probes off: a peer that has vanished is then noticed only
 * when it does not take bytes.
 */
watm_status watm_settings_keepalive(const watm_settings *settings,
                                    int64_t milliseconds,
                                    watm_error **error);

/**
 * Sets the maximum size of the memory of an instance in bytes, in pages of 64 KiB; 256 MiB by
 * default.
 */
watm_status watm_settings_memory_limit(const watm_settings *settings,
                                       uint64_t size,
                                       watm_error **error);

/**
 * Sets how many bytes of memory an instance has from the start beyond what its module asks for;
 * 1.5 MiB by default. A garbage collector runs more rarely with more of it.
 */
watm_status watm_settings_memory_headroom(const watm_settings *settings,
                                          uint64_t size,
                                          watm_error **error);

/**
 * Sets the maximum number of descriptors of an instance, from 3 to 480; 64 by default.
 */
watm_status watm_settings_descriptor_limit(const watm_settings *settings,
                                           size_t count,
                                           watm_error **error);

/**
 * Sets the number of instances that are kept ready for new connections, up to 1,024; 0 by default.
 * Each takes about as much as an idle connection: memory, a thread and two descriptors.
 */
watm_status watm_settings_spare_instances(const watm_settings *settings,
                                          size_t count,
                                          watm_error **error);

/**
 * Sets the maximum number of instances per second with which those that are kept ready are made
 * anew, at least 1; 200 by default.
 */
watm_status watm_settings_spare_refill_rate(const watm_settings *settings,
                                            uint32_t per_second,
                                            watm_error **error);

/**
 * Sets whether connections measure how long the module and the host work, for watm_traffic; false
 * by default. It costs about 50 nanoseconds for each call of the module.
 */
watm_status watm_settings_timing(const watm_settings *settings, bool on, watm_error **error);

/**
 * Sets whether a module that asks for it may have the host encrypt and decrypt, which is faster
 * than its own cipher; true by default. See watm_module_wants_host_aead().
 */
watm_status watm_settings_host_aead(const watm_settings *settings, bool on, watm_error **error);

/**
 * Sets the maximum number of handshakes in progress with the clients of a listener or a relay, and
 * of a server that forwards; one more drops the oldest. 256 by default.
 */
watm_status watm_settings_handshake_limit(const watm_settings *settings,
                                          size_t count,
                                          watm_error **error);

/**
 * Sets the maximum number of connections that wait for watm_listener_accept(); 128 by default.
 * While that many wait, no more sockets are accepted.
 */
watm_status watm_settings_backlog(const watm_settings *settings, size_t count, watm_error **error);

/**
 * Sets the maximum number of connections of a relay or a server at the same time; 4,096 by
 * default. Further clients wait in the queue of the system.
 */
watm_status watm_settings_connection_limit(const watm_settings *settings,
                                           size_t count,
                                           watm_error **error);

/**
 * The network asked for: `tcp`, `tcp4` or `tcp6`. It lives as long as the attempt. Empty if
 * `attempt` is null.
 */
const char *watm_dial_attempt_network(const watm_dial_attempt *attempt);

/**
 * The address asked for, `host:port` or `[v6]:port`. It lives as long as the attempt. Empty if
 * `attempt` is null.
 */
const char *watm_dial_attempt_address(const watm_dial_attempt *attempt);

/**
 * How many milliseconds are left for the connection, from now on. 0 if `attempt` is null.
 */
uint64_t watm_dial_attempt_deadline(const watm_dial_attempt *attempt);

/**
 * Whether the module chose the address, not the application. False if `attempt` is null.
 */
bool watm_dial_attempt_is_chosen_by_module(const watm_dial_attempt *attempt);

/**
 * Whether nobody waits for the connection any more: a hook that takes long looks here, and returns
 * `-ECANCELED`. True if `attempt` is null.
 */
bool watm_dial_attempt_is_cancelled(const watm_dial_attempt *attempt);

/**
 * Adds an IP address to those of a name, such as `192.0.2.1` or `2001:db8::1`. Fails with
 * WATM_STATUS_ARGUMENT if it is none, or if there are 256 already.
 */
watm_status watm_addresses_add(watm_addresses *addresses, const char *address, watm_error **error);

/**
 * Sets the local IP address of outgoing connections, one for each family. A family without one is
 * left to the system.
 */
watm_status watm_settings_source_address(const watm_settings *settings,
                                         const char *address,
                                         watm_error **error);

#if (defined(__ANDROID__) || defined(__linux__))
/**
 * Binds outgoing connections to a network interface (`SO_BINDTODEVICE`), such as `eth0`. Kernels
 * before 5.7 allow it to privileged processes alone. Linux and Android only.
 */
watm_status watm_settings_interface(const watm_settings *settings,
                                    const char *name,
                                    watm_error **error);
#endif

#if (defined(__ANDROID__) || defined(__linux__))
/**
 * Marks the packets of outgoing connections for routing and filters (`SO_MARK`), which needs
 * `CAP_NET_ADMIN`. Linux and Android only.
 */
watm_status watm_settings_mark(const watm_settings *settings, uint32_t mark, watm_error **error);
#endif

/**
 * Makes outgoing connections through a proxy: `socks5://HOST:PORT` or `http://HOST:PORT`, where
 * `USER:PASSWORD@` may stand before the host, percent-encoded.
 *
 * Names are passed to the proxy and resolved there, so they do not reach the system's resolver;
 * except those that the module chose, since each of their addresses has to pass the policy. What
 * the functions above and watm_settings_prepare() say applies to the connection to the proxy.
 *
 * It replaces what watm_settings_dial_through() or watm_settings_dial_hook() has set. Fails with
 * WATM_STATUS_ARGUMENT if it is no such proxy; the message does not quote it.
 */
watm_status watm_settings_upstream_proxy(const watm_settings *settings,
                                         const char *proxy,
                                         watm_error **error);

/**
 * Makes outgoing connections through another dialer: a chain of modules. Bytes that are written go
 * through the module of these settings first, and that of `dialer` is next to the network.
 *
 * Connections to the network are made as the settings of `dialer` say. The handle may be freed
 * before the connections end. It replaces what watm_settings_upstream_proxy() or
 * watm_settings_dial_hook() has set.
 */
watm_status watm_settings_dial_through(const watm_settings *settings,
                                       const watm_dialer *dialer,
                                       watm_error **error);

/**
 * Has `acceptor` unwrap each connection that a listener, an acceptor, a relay or a server that
 * forwards accepts before its own module does: the other end of a chain.
 *
 * The handle may be freed before the connections end.
 */
watm_status watm_settings_accept_through(const watm_settings *settings,
                                         const watm_acceptor *acceptor,
                                         watm_error **error);

/**
 * Makes outgoing connections in the application: see watm_dial_fn. It replaces what
 * watm_settings_upstream_proxy() or watm_settings_dial_through() has set.
 *
 * The callback gets `user`. It is called from threads of the library, several at a time, until
 * `destroy` was called with `user`: once, from any thread, when nothing uses it any more. That
 * happens at once if the call fails. `destroy` may be null.
 */
watm_status watm_settings_dial_hook(const watm_settings *settings,
                                    watm_dial_fn dial,
                                    void *user,
                                    watm_destroy_fn destroy,
                                    watm_error **error);

/**
 * Prepares each socket before it connects, which is where a VPN program protects it: see
 * watm_prepare_fn. `user` and `destroy` are as for watm_settings_dial_hook().
 *
 * It is not called for sockets that a dial hook of the application makes, nor for those of a
 * dialer that connections go through, which has settings of its own.
 */
watm_status watm_settings_prepare(const watm_settings *settings,
                                  watm_prepare_fn prepare,
                                  void *user,
                                  watm_destroy_fn destroy,
                                  watm_error **error);

/**
 * Finds the addresses of names in place of the system's resolver, which is then never asked: see
 * watm_resolve_fn. `user` and `destroy` are as for watm_settings_dial_hook().
 */
watm_status watm_settings_resolver(const watm_settings *settings,
                                   watm_resolve_fn resolve,
                                   void *user,
                                   watm_destroy_fn destroy,
                                   watm_error **error);

/**
 * Tells a callback of the stages of each connection, whoever holds it: see watm_observe_fn. `user`
 * and `destroy` are as for watm_settings_dial_hook().
 */
watm_status watm_settings_observer(const watm_settings *settings,
                                   watm_observe_fn observe,
                                   void *user,
                                   watm_destroy_fn destroy,
                                   watm_error **error);

/**
 * Makes options that change nothing. Null if there is no memory.
 */
watm_dial_options *watm_dial_options_new(void);

/**
 * Frees options. Dials that have begun keep them. `options` may be null.
 */
void watm_dial_options_free(watm_dial_options *options);

/**
 * Sets all settings for these dials in place of those of their dialer: configuration, arguments,
 * files, policy, timeouts and the others. They are copied.
 *
 * Settings that cannot be used fail the dial with WATM_STATUS_CONFIG. The connection makes an
 * instance of its own, and takes no spare one.
 */
watm_status watm_dial_options_settings(const watm_dial_options *options,
                                       const watm_settings *settings,
                                       watm_error **error);

/**
 * Sets the configuration of the module for these dials, also in place of what
 * watm_dial_options_settings() says: the contents of `/conf/watm.cfg`, which are copied.
 */
watm_status watm_dial_options_config(const watm_dial_options *options,
                                     const void *data,
                                     size_t length,
                                     watm_error **error);

/**
 * Sets the network that is dialled: `tcp` (the default), `tcp4` or `tcp6`. It has no effect on a
 * fixed dialer.
 */
watm_status watm_dial_options_network(const watm_dial_options *options,
                                      const char *network,
                                      watm_error **error);

/**
 * Sets the maximum time for the whole set-up of a connection in milliseconds, in place of the
 * set-up timeout of the settings. 0 fails at once.
 */
watm_status watm_dial_options_timeout(const watm_dial_options *options,
                                      uint64_t milliseconds,
                                      watm_error **error);

/**
 * Lets a token cancel these dials. The token may be freed before they are over.
 */
watm_status watm_dial_options_cancel(const watm_dial_options *options,
                                     const watm_cancel_token *token,
                                     watm_error **error);

/**
 * Makes a token that cancels nothing yet. Null if there is no memory.
 */
watm_cancel_token *watm_cancel_token_new(void);

/**
 * Cancels all dials that are under way and have this token: they fail with WATM_STATUS_CANCELLED,
 * as do those that begin later. Connections that are set up go on. Does not wait. `token` may be
 * null.
 */
void watm_cancel_token_cancel(const watm_cancel_token *token);

/**
 * Whether the token was cancelled. False if `token` is null.
 */
bool watm_cancel_token_is_cancelled(const watm_cancel_token *token);

/**
 * Frees a token, which does not cancel its dials. `token` may be null.
 */
void watm_cancel_token_free(watm_cancel_token *token);

/**
 * Makes a dialer of a module. Null `settings` are the defaults.
 *
 * It is left in `*dialer` and belongs to the caller, as does what the other functions here make.
 * Fails with WATM_STATUS_CONFIG: `role`, `directory` or `invalid`.
 */
watm_status watm_dialer_new(const watm_module *module,
                            const watm_settings *settings,
                            watm_dialer **dialer,
                            watm_error **error);

/**
 * Dials `target` (`host:port` or `[v6]:port`), and returns after the handshake of the module. Null
 * `options` are the defaults.
 *
 * Fails with WATM_STATUS_CONNECT (`address`, `resolve`, `connect`, `instantiate`),
 * WATM_STATUS_TRANSPORT, WATM_STATUS_TIMED_OUT, WATM_STATUS_CANCELLED, WATM_STATUS_SYSTEM, or
 * WATM_STATUS_CONFIG for settings of these options.
 */
watm_status watm_dialer_dial(const watm_dialer *dialer,
                             const char *target,
                             const watm_dial_options *options,
                             watm_conn **conn,
                             watm_error **error);

/**
 * Begins to dial, and does not wait. What goes wrong after the arguments were checked is the
 * result of watm_pending_wait().
 */
watm_status watm_dialer_begin(const watm_dialer *dialer,
                              const char *target,
                              const watm_dial_options *options,
                              watm_pending **pending,
                              watm_error **error);

/**
 * Dials `target` as watm_dialer_dial() does, and carries the plain connection `fd`, a connected
 * stream socket, over the transport. Returns after the handshake of the module.
 *
 * The library owns `fd` from then on, and resets it if the dial fails. Only if the call fails with
 * WATM_STATUS_ARGUMENT does it stay the caller's.
 */
watm_status watm_dialer_carry(const watm_dialer *dialer,
                              int fd,
                              const char *target,
                              const watm_dial_options *options,
                              watm_carried **carried,
                              watm_error **error);

/**
 * Begins to carry the plain connection `fd`, as watm_dialer_carry() does, and does not wait: see
 * watm_pending_wait_carried().
 */
watm_status watm_dialer_begin_carrying(const watm_dialer *dialer,
                                       int fd,
                                       const char *target,
                                       const watm_dial_options *options,
                                       watm_pending **pending,
                                       watm_error **error);

/**
 * Replaces the module and the settings for connections that begin from now on; those that are
 * there go on as they are. Null `settings` are the defaults. Pending dials go on with what they
 * began with.
 *
 * Nothing changes unless one instance of the new module could be made. If then the first three
 * connections all fail because of it (it returns an error, traps, exits or does not finish its
 * handshake), what was there before is put back, and the log says so.
 *
 * Fails with WATM_STATUS_CONFIG, or as a dial does if no instance can be made.
 */
watm_status watm_dialer_replace(const watm_dialer *dialer,
                                const watm_module *module,
                                const watm_settings *settings,
                                watm_error **error);

/**
 * Frees a dialer. Its connections and pending dials go on. `dialer` may be null.
 */
void watm_dialer_free(watm_dialer *dialer);

/**
 * Makes a fixed dialer of a module, as watm_dialer_new() makes a dialer.
 */
watm_status watm_fixed_dialer_new(const watm_module *module,
                                  const watm_settings *settings,
                                  watm_fixed_dialer **dialer,
                                  watm_error **error);

/**
 * Lets the module dial, and returns after its handshake. Fails as watm_dialer_dial() does, and
 * with WATM_STATUS_CONNECT and the code `denied` if the policy does not allow the address.
 */
watm_status watm_fixed_dialer_dial(const watm_fixed_dialer *dialer,
                                   const watm_dial_options *options,
                                   watm_conn **conn,
                                   watm_error **error);

/**
 * Begins to let the module dial, as watm_dialer_begin() does.
 */
watm_status watm_fixed_dialer_begin(const watm_fixed_dialer *dialer,
                                    const watm_dial_options *options,
                                    watm_pending **pending,
                                    watm_error **error);

/**
 * Lets the module dial, and carries the plain connection `fd` over the transport, as
 * watm_dialer_carry() does.
 */
watm_status watm_fixed_dialer_carry(const watm_fixed_dialer *dialer,
                                    int fd,
                                    const watm_dial_options *options,
                                    watm_carried **carried,
                                    watm_error **error);

/**
 * Lets the module dial, and begins to carry the plain connection `fd`, as
 * watm_dialer_begin_carrying() does.
 */
watm_status watm_fixed_dialer_begin_carrying(const watm_fixed_dialer *dialer,
                                             int fd,
                                             const watm_dial_options *options,
                                             watm_pending **pending,
                                             watm_error **error);

/**
 * Replaces the module and the settings for connections that begin from now on, as
 * watm_dialer_replace() does.
 */
watm_status watm_fixed_dialer_replace(const watm_fixed_dialer *dialer,
                                      const watm_module *module,
                                      const watm_settings *settings,
                                      watm_error **error);

/**
 * Frees a fixed dialer. Its connections and pending dials go on. `dialer` may be null.
 */
void watm_fixed_dialer_free(watm_fixed_dialer *dialer);

/**
 * Waits, up to a time in milliseconds, until the connection is set up. 0 looks without waiting; a
 * negative time is none.
 *
 * The connection is left in `*conn` and belongs to the caller; the pending dial still has to be
 * freed. While the connection is not set up, it returns WATM_STATUS_AGAIN. Otherwise it fails as
 * the blocking call would. The result is given out once; after that, it fails with
 * WATM_STATUS_ARGUMENT.
 */
watm_status watm_pending_wait(const watm_pending *pending,
                              int64_t milliseconds,
                              watm_conn **conn,
                              watm_error **error);

/**
 * Waits as watm_pending_wait() does, for what watm_dialer_begin_carrying() and others begin.
 */
watm_status watm_pending_wait_carried(const watm_pending *pending,
                                      int64_t milliseconds,
                                      watm_carried **carried,
                                      watm_error **error);

/**
 * A descriptor for event loops, such as poll or epoll: it is readable while watm_pending_wait() or
 * watm_pending_wait_carried() with 0 milliseconds may have a result. There is nothing to read from
 * it.
 *
 * It is readable at first, and then after each call that returned WATM_STATUS_AGAIN once something
 * has happened. The caller closes it. Fails with WATM_STATUS_SYSTEM if there are no descriptors
 * left.
 */
watm_status watm_pending_readiness(const watm_pending *pending, int *fd, watm_error **error);

/**
 * Frees a pending dial. If its result was not taken, the connection is given up. `pending` may be
 * null.
 */
void watm_pending_free(watm_pending *pending);

/**
 * Reads up to `size` bytes into `data`, and waits for the first. `*read` is their number; 0 is the
 * end of the stream, unless `size` is 0.
 *
 * Fails with WATM_STATUS_AGAIN if there is nothing and the connection does not block,
 * WATM_STATUS_TIMED_OUT after the read timeout, and WATM_STATUS_TRANSPORT once the transport has
 * failed and everything that came before was read.
 */
watm_status watm_conn_read(const watm_conn *conn,
                           void *data,
                           size_t size,
                           size_t *read,
                           watm_error **error);

/**
 * Writes up to `length` bytes of `data`, and waits until there is room for the first. `*written`
 * is the number of those that were taken. The module has them then, which is no promise of
 * delivery.
 *
 * Fails with WATM_STATUS_AGAIN if there is no room and the connection does not block,
 * WATM_STATUS_TIMED_OUT after the write timeout, WATM_STATUS_CLOSED once writing was shut down or
 * the transport has ended, and WATM_STATUS_TRANSPORT once it has failed.
 */
watm_status watm_conn_write(const watm_conn *conn,
                            const void *data,
                            size_t length,
                            size_t *written,
                            watm_error **error);

/**
 * Writes all `length` bytes of `data`, as several calls of watm_conn_write() would. If it fails,
 * `*written` is the number of those that were taken before. `written` may be null.
 */
watm_status watm_conn_write_all(const watm_conn *conn,
                                const void *data,
                                size_t length,
                                size_t *written,
                                watm_error **error);

/**
 * Shuts down one direction or both: WATM_SHUTDOWN_READ, WATM_SHUTDOWN_WRITE or WATM_SHUTDOWN_BOTH.
 *
 * After a shutdown for writing, the module reads end of stream once it has read all bytes. Many
 * modules then end the transport; those that know half-close go on the other way.
 */
watm_status watm_conn_shutdown(const watm_conn *conn, uint32_t how, watm_error **error);

/**
 * Closes the connection and waits until the transport has ended: within the grace period of the
 * settings, and a little more for a module that does not cooperate. `*outcome` is how; `outcome`
 * may be null.
 *
 * What was written before is delivered first, as far as the peer takes it in that time. Reads
 * return 0 from now on. Closing twice reports the same again. The handle still has to be freed.
 *
 * An event loop, which must not wait, shuts down writing, reads until the end, and asks
 * watm_conn_outcome(); or it frees the connection.
 *
 * Fails with WATM_STATUS_TRANSPORT if the transport failed; with the code `undelivered` if not all
 * was delivered.
 */
watm_status watm_conn_close(const watm_conn *conn, watm_outcome *outcome, watm_error **error);

/**
 * Ends the connection as one that has failed: the peer is reset after what was written before, so
 * that it does not take a part for the whole. Does not wait. `conn` may be null.
 */
void watm_conn_abort(const watm_conn *conn);

/**
 * Waits, up to a time in milliseconds, until the transport has ended by itself and all that it
 * wrote is delivered. A negative time is none. `*outcome` is how it ended; `outcome` may be null.
 *
 * Returns WATM_STATUS_AGAIN if that takes longer, and fails with WATM_STATUS_TRANSPORT if the
 * transport failed.
 */
watm_status watm_conn_wait(const watm_conn *conn,
                           int64_t milliseconds,
                           watm_outcome *outcome,
                           watm_error **error);

/**
 * How the transport ended, as watm_conn_wait() reports it, without waiting. What it wrote may
 * still be on its way.
 */
watm_status watm_conn_outcome(const watm_conn *conn, watm_outcome *outcome, watm_error **error);

/**
 * What the connection has moved so far. `size` is `sizeof(watm_traffic)` as the caller knows it,
 * and no more bytes are written.
 */
watm_status watm_conn_stats(const watm_conn *conn,
                            watm_traffic *traffic,
                            size_t size,
                            watm_error **error);

/**
 * The local address of the network connection, such as `192.0.2.1:443` or `[2001:db8::1]:443`. It
 * lives as long as the handle. Null if there is no IP address, or if `conn` is null.
 */
const char *watm_conn_local_addr(const watm_conn *conn);

/**
 * The address of the peer of the network connection, as for watm_conn_local_addr().
 */
const char *watm_conn_peer_addr(const watm_conn *conn);

/**
 * Sets the maximum time in milliseconds that a read waits; a negative time, the default, is none.
 * Fails with WATM_STATUS_ARGUMENT for 0.
 */
watm_status watm_conn_read_timeout(const watm_conn *conn, int64_t milliseconds, watm_error **error);

/**
 * Sets the maximum time in milliseconds that a write waits for room; a negative time, the default,
 * is none. Fails with WATM_STATUS_ARGUMENT for 0.
 */
watm_status watm_conn_write_timeout(const watm_conn *conn,
                                    int64_t milliseconds,
                                    watm_error **error);

/**
 * Makes reads and writes return WATM_STATUS_AGAIN in place of waiting, or lets them wait again.
 */
watm_status watm_conn_nonblocking(const watm_conn *conn, bool nonblocking, watm_error **error);

/**
 * A descriptor for event loops, such as poll or epoll: readable while a read may go on, and
 * writable while a write may. There is nothing to read from it or to write to it.
 *
 * It says what the last call learnt: reads and writes that returned WATM_STATUS_AGAIN clear it
 * until that changes, and it is ready at first. So make the connection nonblocking, and go on
 * until WATM_STATUS_AGAIN, as with a socket. The caller closes the descriptor. Fails with
 * WATM_STATUS_SYSTEM if there are none left.
 */
watm_status watm_conn_readiness(const watm_conn *conn, int *fd, watm_error **error);

/**
 * Frees a connection. If it was not closed, it is closed without waiting: what was written is
 * still delivered within the grace period, as long as the process lives (see watm_drain()). `conn`
 * may be null.
 */
void watm_conn_free(watm_conn *conn);

/**
 * Waits, up to a time in milliseconds, until the transport has ended and all that it wrote is
 * delivered to both sides. A negative time is none. `*outcome` is how it ended; `outcome` may be
 * null.
 *
 * Returns WATM_STATUS_AGAIN if that takes longer, and fails with WATM_STATUS_TRANSPORT if the
 * transport failed.
 */
watm_status watm_carried_wait(const watm_carried *carried,
                              int64_t milliseconds,
                              watm_outcome *outcome,
                              watm_error **error);

/**
 * How the transport ended, as watm_carried_wait() reports it, without waiting. What it wrote may
 * still be on its way.
 */
watm_status watm_carried_outcome(const watm_carried *carried,
                                 watm_outcome *outcome,
                                 watm_error **error);

/**
 * What the connection has moved so far. `size` is `sizeof(watm_traffic)` as the caller knows it.
 */
watm_status watm_carried_stats(const watm_carried *carried,
                               watm_traffic *traffic,
                               size_t size,
                               watm_error **error);

/**
 * The local address of the network connection, as for watm_conn_local_addr().
 */
const char *watm_carried_local_addr(const watm_carried *carried);

/**
 * The address of the peer of the network connection, as for watm_conn_local_addr().
 */
const char *watm_carried_peer_addr(const watm_carried *carried);

/**
 * Cuts the connection off: both sides are reset after they have received what came before. Does
 * not wait. `carried` may be null.
 */
void watm_carried_abort(const watm_carried *carried);

/**
 * Cuts the connection off as watm_carried_abort() does, unless it has ended by itself, and waits
 * until that is done: within the grace period, and a little more for a module that does not
 * cooperate. `*outcome` is how it ended; `outcome` may be null. The handle still has to be freed.
 *
 * Fails with WATM_STATUS_TRANSPORT if the transport failed.
 */
watm_status watm_carried_close(const watm_carried *carried,
                               watm_outcome *outcome,
                               watm_error **error);

/**
 * Frees the handle of a carried connection. The connection goes on, and nobody can cut it off any
 * more. `carried` may be null.
 */
void watm_carried_free(watm_carried *carried);

/**
 * Listens on `address` (`host:port` or `[v6]:port`); port 0 lets the system choose, and `:port`
 * means all addresses of this machine. Null `settings` are the defaults.
 *
 * The listener is left in `*listener` and belongs to the caller. Fails with WATM_STATUS_CONFIG,
 * WATM_STATUS_LISTEN (`bind`) or WATM_STATUS_SYSTEM (`host`).
 */
watm_status watm_listener_bind(const watm_module *module,
                               const watm_settings *settings,
                               const char *address,
                               watm_listener **listener,
                               watm_error **error);

/**
 * Listens on `fd`, a socket that the application has bound and that listens, as
 * watm_listener_bind() does.
 *
 * The library owns `fd` from then on, and closes it if the call fails. Only if that is with
 * WATM_STATUS_ARGUMENT does it stay the caller's.
 */
watm_status watm_listener_from_fd(const watm_module *module,
                                  const watm_settings *settings,
                                  int fd,
                                  watm_listener **listener,
                                  watm_error **error);

/**
 * Waits for the next connection whose transport is set up. A client whose handshake fails is
 * logged, and causes no error here.
 *
 * Fails with WATM_STATUS_CLOSED once the listener is closed, or accepts no more and has none left,
 * and with WATM_STATUS_SYSTEM if its socket failed.
 */
watm_status watm_listener_accept(const watm_listener *listener,
                                 watm_conn **conn,
                                 watm_error **error);

/**
 * Returns the next connection whose transport is set up, as watm_listener_accept() does, or
 * WATM_STATUS_AGAIN if there is none yet.
 */
watm_status watm_listener_try_accept(const watm_listener *listener,
                                     watm_conn **conn,
                                     watm_error **error);

/**
 * A descriptor for event loops: it is readable while watm_listener_try_accept() may have something
 * to return. See watm_conn_readiness().
 */
watm_status watm_listener_readiness(const watm_listener *listener, int *fd, watm_error **error);

/**
 * Replaces the module and the settings for connections that begin from now on, as
 * watm_dialer_replace() does. What was there before is put back only if the new module traps or
 * exits; a handshake that fails does not count, since anybody may be the client.
 *
 * What unwraps connections before this module is replaced with it: see
 * watm_settings_accept_through(). The addresses, the backlog and the limit of handshakes stay.
 */
watm_status watm_listener_replace(const watm_listener *listener,
                                  const watm_module *module,
                                  const watm_settings *settings,
                                  watm_error **error);

/**
 * The address listened on, with the port that the system chose; the first, if there are several.
 * It lives as long as the handle. Empty if `listener` is null.
 */
const char *watm_listener_local_addr(const watm_listener *listener);

/**
 * One of the addresses listened on, from 0 on: there are several if a configuration file names
 * several. It lives as long as the handle. Null if there are not that many, or if `listener` is
 * null.
 */
const char *watm_listener_local_addr_at(const watm_listener *listener, size_t index);

/**
 * Tells which connections are open, including those that are being set up. What is told is left in
 * `*connections` and belongs to the caller.
 */
watm_status watm_listener_connections(const watm_listener *listener,
                                      watm_connections **connections,
                                      watm_error **error);

/**
 * What the listener has done so far. `size` is `sizeof(watm_tally)` as the caller knows it.
 */
watm_status watm_listener_stats(const watm_listener *listener,
                                watm_tally *tally,
                                size_t size,
                                watm_error **error);

/**
 * Stops listening. Handshakes in progress and connections go on, and watm_listener_accept()
 * returns those that are set up. `listener` may be null.
 */
void watm_listener_stop_accepting(const watm_listener *listener);

/**
 * Stops listening and waits until all connections have ended by themselves, up to a time in
 * milliseconds. Returns WATM_STATUS_AGAIN if some have not; those go on.
 */
watm_status watm_listener_drain(const watm_listener *listener,
                                uint64_t milliseconds,
                                watm_error **error);

/**
 * Stops listening and cuts all connections off, also those that were accepted, and waits until
 * that is done: within the grace period, and a little more for modules that do not cooperate.
 * `listener` may be null.
 */
void watm_listener_shutdown(const watm_listener *listener);

/**
 * Stops listening: watm_listener_accept() fails with WATM_STATUS_CLOSED at once in all threads,
 * and handshakes and connections that nobody has accepted are dropped. Connections that were
 * accepted live on. `listener` may be null.
 */
void watm_listener_close(const watm_listener *listener);

/**
 * Closes and frees a listener. No thread may be in one of its functions: call
 * watm_listener_close() first, and wait for them. `listener` may be null.
 */
void watm_listener_free(watm_listener *listener);

/**
 * Makes an acceptor of a module with the role of a listener. Null `settings` are the defaults.
 * Fails with WATM_STATUS_CONFIG.
 */
watm_status watm_acceptor_new(const watm_module *module,
                              const watm_settings *settings,
                              watm_acceptor **acceptor,
                              watm_error **error);

/**
 * Runs the module's handshake over `fd`, an accepted stream socket, and returns when it is done.
 *
 * The library owns `fd` from then on, and resets it if the handshake fails. Only if the call fails
 * with WATM_STATUS_ARGUMENT does it stay the caller's. It fails as watm_dialer_dial() does
 * otherwise.
 */
watm_status watm_acceptor_accept(const watm_acceptor *acceptor,
                                 int fd,
                                 watm_conn **conn,
                                 watm_error **error);

/**
 * Begins the module's handshake over `fd`, as watm_acceptor_accept() does, and does not wait.
 */
watm_status watm_acceptor_begin(const watm_acceptor *acceptor,
                                int fd,
                                watm_pending **pending,
                                watm_error **error);

/**
 * Runs the module's handshake over `fd`, and carries what it unwraps to `plain`, a connected
 * stream socket, and the other way round. Returns when the handshake is done.
 *
 * The library owns both descriptors from then on, as for watm_acceptor_accept().
 */
watm_status watm_acceptor_carry(const watm_acceptor *acceptor,
                                int fd,
                                int plain,
                                watm_carried **carried,
                                watm_error **error);

/**
 * Begins to carry what `fd` brings to `plain`, as watm_acceptor_carry() does, and does not wait
 * for the handshake: see watm_pending_wait_carried().
 */
watm_status watm_acceptor_begin_carrying(const watm_acceptor *acceptor,
                                         int fd,
                                         int plain,
                                         watm_pending **pending,
                                         watm_error **error);

/**
 * Replaces the module and the settings for connections that begin from now on, as
 * watm_listener_replace() does.
 */
watm_status watm_acceptor_replace(const watm_acceptor *acceptor,
                                  const watm_module *module,
                                  const watm_settings *settings,
                                  watm_error **error);

/**
 * Frees an acceptor. Its connections and pending handshakes go on. `acceptor` may be null.
 */
void watm_acceptor_free(watm_acceptor *acceptor);

/**
 * Starts a relay, which accepts connections on `address`, wraps each and dials on: to `remote`
 * (`host:port`), or, if that is null, to what the module chooses.
 *
 * `address` is as for watm_listener_bind(), and null `settings` are the defaults. The server is
 * left in `*server` and belongs to the caller. Fails with WATM_STATUS_CONFIG, WATM_STATUS_LISTEN
 * (`bind`) or WATM_STATUS_SYSTEM (`host`).
 */
watm_status watm_relay_spawn(const watm_module *module,
                             const watm_settings *settings,
                             const char *address,
                             const char *remote,
                             watm_server **server,
                             watm_error **error);

/**
 * Starts a server that accepts plain connections on `address` and carries each to `remote`
 * (`host:port`), as watm_dialer_carry() does; or, if that is null, to what the module chooses as a
 * fixed dialer.
 *
 * The rest is as for watm_relay_spawn().
 */
watm_status watm_server_carry(const watm_module *module,
                              const watm_settings *settings,
                              const char *address,
                              const char *remote,
                              watm_server **server,
                              watm_error **error);

/**
 * Starts a server that accepts the clients of a listener on `address`, and carries what it unwraps
 * to the plain server `target` (`host:port`).
 *
 * The rest is as for watm_relay_spawn().
 */
watm_status watm_server_forward(const watm_module *module,
                                const watm_settings *settings,
                                const char *address,
                                const char *target,
                                watm_server **server,
                                watm_error **error);

/**
 * The address listened on, with the port that the system chose; the first, if there are several.
 * It lives as long as the handle. Empty if `server` is null.
 */
const char *watm_server_local_addr(const watm_server *server);

/**
 * One of the addresses listened on, from 0 on: there are several if a configuration file names
 * several. It lives as long as the handle. Null if there are not that many, or if `server` is
 * null.
 */
const char *watm_server_local_addr_at(const watm_server *server, size_t index);

/**
 * Tells which connections are open, including those that are being set up. What is told is left in
 * `*connections` and belongs to the caller.
 */
watm_status watm_server_connections(const watm_server *server,
                                    watm_connections **connections,
                                    watm_error **error);

/**
 * What the server has done so far. `size` is `sizeof(watm_tally)` as the caller knows it.
 */
watm_status watm_server_stats(const watm_server *server,
                              watm_tally *tally,
                              size_t size,
                              watm_error **error);

/**
 * Replaces the module and the settings for connections that begin from now on, as
 * watm_dialer_replace() does if the server dials for plain clients, and as watm_listener_replace()
 * does otherwise.
 *
 * The module is used in the same role. What unwraps connections before it is replaced with it: see
 * watm_settings_accept_through(). The addresses, the remote or target, and the limits of
 * handshakes and connections stay.
 */
watm_status watm_server_replace(const watm_server *server,
                                const watm_module *module,
                                const watm_settings *settings,
                                watm_error **error);

/**
 * Waits until the server accepts no more connections, because it was told to end. Connections may
 * still be open then. Fails with WATM_STATUS_SYSTEM if its listening socket failed.
 */
watm_status watm_server_wait(const watm_server *server, watm_error **error);

/**
 * Stops listening. Open connections go on. `server` may be null.
 */
void watm_server_stop_accepting(const watm_server *server);

/**
 * Stops listening and waits until all connections have ended by themselves, up to a time in
 * milliseconds. Returns WATM_STATUS_AGAIN if some have not; those go on.
 */
watm_status watm_server_drain(const watm_server *server, uint64_t milliseconds, watm_error **error);

/**
 * Stops listening and cuts all connections off, and waits until that is done: within the grace
 * period, and a little more for modules that do not cooperate. `server` may be null.
 */
void watm_server_shutdown(const watm_server *server);

/**
 * Frees a server. Its connections are cut off as by watm_server_shutdown(), without waiting.
 * `server` may be null.
 */
void watm_server_free(watm_server *server);

/**
 * How many connections there were. 0 if `connections` is null.
 */
size_t watm_connections_count(const watm_connections *connections);

/**
 * One of the connections, from 0 on. It lives as long as the handle, as does what it points to.
 * Null if there are not that many, or if `connections` is null.
 */
const watm_open_connection *watm_connections_at(const watm_connections *connections, size_t index);

/**
 * Frees what was told of connections, and nothing of the connections. `connections` may be null.
 */
void watm_connections_free(watm_connections *connections);

/**
 * Reads a configuration file, in TOML or in the JSON form of the Go runtime. The files that it
 * names are not looked at yet.
 *
 * `loader` is for the modules, with its limits and its cache; the conditions of the file replace
 * its own. Null is one without conditions. Fails with WATM_STATUS_CONFIG, and a message that names
 * the line and the key.
 */
watm_status watm_config_load_file(const char *file,
                                  const watm_loader *loader,
                                  watm_config **config,
                                  watm_error **error);

/**
 * What the file says that means nothing here, or something else: one line of text for each, from 0
 * on. It lives as long as the handle. Null if there are not that many, or if `config` is null.
 */
const char *watm_config_warning(const watm_config *config, size_t index);

/**
 * How many tunnels there are: at least one. 0 if `config` is null.
 */
size_t watm_config_tunnel_count(const watm_config *config);

/**
 * The name of a tunnel, from 0 on in the order of the file. It lives as long as the handle. Null
 * if there are not that many, if it has none (in a file of the Go runtime), or if `config` is
 * null.
 */
const char *watm_config_tunnel_name(const watm_config *config, size_t index);

/**
 * Where a tunnel connects to, which is what a dialer made from it is to dial. As for
 * watm_config_tunnel_name(); null also if it has no remote.
 */
const char *watm_config_tunnel_remote(const watm_config *config, size_t index);

/**
 * The role of a tunnel: WATM_ROLE_DIALER and so on. 0 if there are not that many, if it has none
 * (in a file of the Go runtime), or if `config` is null.
 */
uint32_t watm_config_tunnel_role(const watm_config *config, size_t index);

/**
 * Makes the dialer of a tunnel. This loads its module, which compiles it, and reads the files that
 * are named.
 *
 * `name` is that of the tunnel; null is the only one. `settings`, which may be null, are what the
 * file does not set: a dial hook, an observer. The dialer is left in `*dialer` and belongs to the
 * caller. A proxy or a chain of the file replaces those of `settings`, and is refused if they
 * prepare sockets, since it would not be done there.
 *
 * Fails as watm_dialer_new() and watm_loader_load_file() do, and with WATM_STATUS_CONFIG if there
 * is no such tunnel, if it has another role, or if something that it names cannot be used.
 */
watm_status watm_config_dialer(const watm_config *config,
                               const char *name,
                               const watm_settings *settings,
                               watm_dialer **dialer,
                               watm_error **error);

/**
 * Makes the fixed dialer of a tunnel, as watm_config_dialer() makes a dialer.
 */
watm_status watm_config_fixed_dialer(const watm_config *config,
                                     const char *name,
                                     const watm_settings *settings,
                                     watm_fixed_dialer **dialer,
                                     watm_error **error);

/**
 * Makes the listener of a tunnel, which listens on its addresses, as watm_config_dialer() makes a
 * dialer. Fails as watm_listener_bind() does too.
 */
watm_status watm_config_listener(const watm_config *config,
                                 const char *name,
                                 const watm_settings *settings,
                                 watm_listener **listener,
                                 watm_error **error);

/**
 * Starts the server of a tunnel, which listens on its addresses, as watm_config_dialer() makes a
 * dialer: it carries plain connections to the remote of a dialer or to what a fixed dialer
 * chooses, forwards what a listener unwraps, or relays. Fails as watm_relay_spawn() does too.
 */
watm_status watm_config_server(const watm_config *config,
                               const char *name,
                               const watm_settings *settings,
                               watm_server **server,
                               watm_error **error);

/**
 * Frees a configuration. What was made from it goes on. `config` may be null.
 */
void watm_config_free(watm_config *config);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* WATM_H */
