// The library behind watm.h: the exports of a module and the loop that moves its bytes. It knows
// nothing of any transport.
//
// A direction reads only when everything that it made of earlier input is written, so that what it
// holds stays bounded and a slow reader slows down its writer. It writes right after it has read,
// and asks for readiness only after a write was refused or taken in part. In the common case a
// wake-up therefore costs one poll, one read and one write.
#include "watm.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wasi/api.h>

// What one read asks for, in bytes.
#define PIECE 16384

static int32_t failed(__wasi_errno_t error) { return -(int32_t)error; }

// ---- Descriptors ----

int32_t watm_fd_read(int32_t fd, void *buffer, size_t length) {
    const __wasi_iovec_t iovec = {.buf = buffer, .buf_len = length};
    __wasi_size_t count = 0;
    __wasi_errno_t error;
    do error = __wasi_fd_read(fd, &iovec, 1, &count);
    while (error == EINTR);
    return error != 0 ? failed(error) : (int32_t)count;
}

int32_t watm_fd_write(int32_t fd, const void *bytes, size_t length) {
    const __wasi_ciovec_t iovec = {.buf = bytes, .buf_len = length};
    __wasi_size_t count = 0;
    __wasi_errno_t error;
    do error = __wasi_fd_write(fd, &iovec, 1, &count);
    while (error == EINTR);
    return error != 0 ? failed(error) : (int32_t)count;
}

int32_t watm_fd_set_nonblocking(int32_t fd) {
    return failed(__wasi_fd_fdstat_set_flags(fd, __WASI_FDFLAGS_NONBLOCK));
}

int32_t watm_fd_end(int32_t fd) {
    __wasi_errno_t error = __wasi_sock_shutdown(fd, __WASI_SDFLAGS_WR);
    // Nobody is left to be told.
    return error == ENOTCONN ? 0 : failed(error);
}

int32_t watm_dial_address(const char *network, const char *address) {
    const struct watm_ciovec networks = {.bytes = network, .length = strlen(network)};
    const struct watm_ciovec addresses = {.bytes = address, .length = strlen(address)};
    return water_dial(&networks, 1, &addresses, 1);
}

// ---- Encryption by the host ----

// In WebAssembly, a pointer to a function is its place in the module's table. A call compares the
// types.
typedef int32_t (*key_function)(uint32_t, const void *, size_t, uint32_t *);
typedef int32_t (*close_function)(uint32_t);
typedef int32_t (*operation)(uint32_t, const void *, const void *, size_t, const void *, size_t,
                             void *);

// The functions that this library knows. A later host has more, behind these.
enum { AEAD_KEY, AEAD_CLOSE, AEAD_SEAL, AEAD_OPEN, AEAD_FUNCTIONS };

// The place of the first function, or 0.
static uintptr_t aead_first;

int32_t watm_aead_take(uint32_t first, uint32_t count) {
    if (first == 0 || count < AEAD_FUNCTIONS) return ENOSYS;
    aead_first = first;
    return 0;
}

int32_t watm_aead_key(enum watm_aead_algorithm algorithm, const void *key, size_t length) {
    if (aead_first == 0) return -ENOSYS;
    uint32_t handle = 0;
    int32_t error = ((key_function)(aead_first + AEAD_KEY))(algorithm, key, length, &handle);
    return error != 0 ? -error : (int32_t)handle;
}

void watm_aead_close(int32_t key) {
    if (aead_first != 0) ((close_function)(aead_first + AEAD_CLOSE))((uint32_t)key);
}

int32_t watm_aead_seal(int32_t key, const void *nonce, const void *aad, size_t aad_length,
                       const void *plain, size_t length, void *sealed) {
    if (aead_first == 0) return -ENOSYS;
    operation seal = (operation)(aead_first + AEAD_SEAL);
    return -seal((uint32_t)key, nonce, aad, aad_length, plain, length, sealed);
}

int32_t watm_aead_open(int32_t key, const void *nonce, const void *aad, size_t aad_length,
                       const void *sealed, size_t length, void *plain) {
    if (aead_first == 0) return -ENOSYS;
    operation open = (operation)(aead_first + AEAD_OPEN);
    return -open((uint32_t)key, nonce, aad, aad_length, sealed, length, plain);
}

// ---- The log ----

static void log_bytes(const char *line, size_t length) {
    const __wasi_ciovec_t parts[2] = {
        {.buf = (const uint8_t *)line, .buf_len = length},
        {.buf = (const uint8_t *)"\n", .buf_len = 1},
    };
    __wasi_size_t count;
    (void)__wasi_fd_write(STDERR_FILENO, parts, 2, &count);
}

void watm_log(const char *line) { log_bytes(line, strlen(line)); }

void watm_logf(const char *format, ...) {
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length < 0) return;
    log_bytes(line, (size_t)length < sizeof line ? (size_t)length : sizeof line - 1);
}

// ---- Bytes in a row: what a codec has made, and what it gets ----

struct watm_output {
    uint8_t *bytes;
    size_t start, end; // what is held
    size_t capacity;
};

static size_t held(const struct watm_output *buffer) { return buffer->end - buffer->start; }

// Returns room for `length` bytes behind those that are held, or NULL if there is no memory. Once a
// connection has seen its largest message, this allocates nothing more.
static uint8_t *reserve(struct watm_output *buffer, size_t length) {
    if (buffer->bytes != NULL && length <= buffer->capacity - buffer->end)
        return buffer->bytes + buffer->end;
    size_t count = held(buffer);
    if (buffer->start > 0) {
        memmove(buffer->bytes, buffer->bytes + buffer->start, count);
        buffer->start = 0;
        buffer->end = count;
    }
    size_t capacity = buffer->capacity > 0 ? buffer->capacity : PIECE;
    while (capacity - count < length) {
        if (capacity > SIZE_MAX / 2) return NULL;
        capacity *= 2;
    }
    if (capacity > buffer->capacity) {
        uint8_t *bytes = realloc(buffer->bytes, capacity);
        if (bytes == NULL) return NULL;
        buffer->bytes = bytes;
        buffer->capacity = capacity;
    }
    return buffer->bytes + count;
}

// ---- The configuration ----

int32_t watm_config(const uint8_t **config) {
    *config = NULL;
    int fd = open("/conf/watm.cfg", O_RDONLY);
    // Without a configuration, hosts differ: no such file, or no directory that could hold it.
    if (fd < 0) return errno == ENOENT || errno == EBADF || errno == ENOTCAPABLE ? 0 : -errno;
    struct watm_output text = {0};
    int32_t count;
    do {
        uint8_t *room = reserve(&text, PIECE);
        count = room != NULL ? watm_fd_read(fd, room, PIECE) : -ENOMEM;
        if (count > 0) text.end += (size_t)count;
    } while (count > 0);
    close(fd);
    if (count < 0) {
        free(text.bytes);
        return count;
    }
    *config = text.bytes;
    return (int32_t)text.end;
}

#ifndef WATM_RAW

static void consume(struct watm_output *buffer, size_t length) {
    buffer->start += length;
    if (buffer->start == buffer->end) buffer->start = buffer->end = 0;
}

// ---- What codecs add to ----

uint8_t *watm_output(struct watm_output *output, size_t length) {
    uint8_t *room = reserve(output, length);
    if (room != NULL) output->end += length;
    return room;
}

void watm_output_shorten(struct watm_output *output, size_t length) {
    output->end -= length < held(output) ? length : held(output);
}

int32_t watm_output_copy(struct watm_output *output, const void *bytes, size_t length) {
    uint8_t *room = watm_output(output, length);
    if (room == NULL) return -ENOMEM;
    if (length > 0) memcpy(room, bytes, length);
    return 0;
}

// ---- Waiting ----

// Values of `userdata`. The first two are directions.
enum { ENCODE, DECODE, CONTROL, CLOCK };

static __wasi_subscription_t subscription(int32_t fd, __wasi_eventtype_t type, uint64_t userdata) {
    // Subscriptions for reading and for writing have the same layout.
    return (__wasi_subscription_t){
        .userdata = userdata,
        .u = {.tag = type, .u.fd_read.file_descriptor = fd},
    };
}

static __wasi_subscription_t after(uint64_t nanoseconds) {
    return (__wasi_subscription_t){
        .userdata = CLOCK,
        .u = {.tag = __WASI_EVENTTYPE_CLOCK,
              .u.clock = {.id = __WASI_CLOCKID_MONOTONIC, .timeout = nanoseconds}},
    };
}

// Sets `ready` to the number of events.
static int32_t poll_for(const __wasi_subscription_t *subscriptions, __wasi_event_t *events,
                        size_t count, __wasi_size_t *ready) {
    __wasi_errno_t error;
    do error = __wasi_poll_oneoff(subscriptions, events, count, ready);
    while (error == EINTR);
    if (error == 0 && *ready == 0) {
        // The caller will poll again, and a host that does not wait would make it spin.
        const __wasi_subscription_t pause = after(1000000);
        __wasi_event_t event;
        __wasi_size_t happened;
        (void)__wasi_poll_oneoff(&pause, &event, 1, &happened);
    }
    return failed(error);
}

// Tells the host that this module polls for writing. Hosts that have seen no such poll may take a
// module for one that loses what is refused, and hold all of it in a write to a full side.
static void announce_polls_for_writing(int32_t network, int32_t internal) {
    const __wasi_subscription_t subscriptions[3] = {
        subscription(network, __WASI_EVENTTYPE_FD_WRITE, 0),
        subscription(internal, __WASI_EVENTTYPE_FD_WRITE, 0),
        after(0), // a full side must not make it wait
    };
    __wasi_event_t events[3];
    __wasi_size_t ready;
    // What is wrong with a descriptor shows when it is used.
    (void)__wasi_poll_oneoff(subscriptions, events, 3, &ready);
}

// Waits until one descriptor is ready.
static int32_t wait_for(int32_t fd, __wasi_eventtype_t type) {
    const __wasi_subscription_t one = subscription(fd, type, 0);
    __wasi_event_t event = {0};
    __wasi_size_t ready = 0;
    int32_t result = poll_for(&one, &event, 1, &ready);
    if (result < 0 || ready == 0) return result;
    return failed(event.error);
}

// ---- The network during the handshake ----

struct watm_stream {
    int32_t fd;
    bool ended;
    struct watm_output unread; // comes before what the descriptor has
};

int32_t watm_read(struct watm_stream *stream, void *buffer, size_t length) {
    size_t unread = held(&stream->unread);
    if (unread > 0 && length > 0) {
        if (length > unread) length = unread;
        memcpy(buffer, stream->unread.bytes + stream->unread.start, length);
        consume(&stream->unread, length);
        return (int32_t)length;
    }
    if (length == 0 || stream->ended) return 0;
    int32_t count;
    while ((count = watm_fd_read(stream->fd, buffer, length)) == -EAGAIN) {
        // Some hosts hand out descriptors that do not block.
        int32_t result = wait_for(stream->fd, __WASI_EVENTTYPE_FD_READ);
        if (result < 0) return result;
    }
    if (count == 0) stream->ended = true;
    return count;
}

int32_t watm_read_exactly(struct watm_stream *stream, void *buffer, size_t length) {
    for (size_t done = 0; done < length;) {
        int32_t count = watm_read(stream, (uint8_t *)buffer + done, length - done);
        if (count < 0) return count;
        if (count == 0) return -EPROTO;
        done += (size_t)count;
    }
    return 0;
}

int32_t watm_unread(struct watm_stream *stream, const void *bytes, size_t length) {
    struct watm_output *unread = &stream->unread;
    if (length == 0) return 0;
    if (reserve(unread, length) == NULL) return -ENOMEM;
    uint8_t *first = unread->bytes + unread->start;
    memmove(first + length, first, held(unread));
    memcpy(first, bytes, length);
    unread->end += length;
    return 0;
}

int32_t watm_write(struct watm_stream *stream, const void *bytes, size_t length) {
    for (size_t done = 0; done < length;) {
        int32_t count = watm_fd_write(stream->fd, (const uint8_t *)bytes + done, length - done);
        if (count == -EAGAIN || count == 0) {
            int32_t result = wait_for(stream->fd, __WASI_EVENTTYPE_FD_WRITE);
            if (result < 0) return result;
            continue;
        }
        if (count < 0) return count;
        done += (size_t)count;
    }
    return 0;
}

// ---- One direction of the connection ----

struct direction {
    int32_t from, to;
    struct watm_codec codec;
    struct watm_output input;  // read, and not used by the codec
    struct watm_output output; // made, and not written
    bool stalled;              // the codec has seen all of the input and wants more
    bool ended;                // `from` has reached its end
    bool finished;             // the codec has made the last of the output
    bool closed;               // and `to` knows that, or cannot be told
    bool stopped;              // it was made to end, so that this end means nothing to the codec
    bool stranded;             // the host has no half-close that could tell `to`
    int32_t error;             // what the codec said; reported once the output is written
    int32_t broken;            // why `to` takes nothing; reported once both directions are closed
};

static struct direction directions[2];
static bool connected;
static int32_t control = -1;

// Notes that `to` takes nothing more. The other direction goes on: a peer that no longer listens
// may still have last words.
static void break_off(struct direction *direction, int32_t error) {
    direction->broken = error;
    direction->closed = true;
    consume(&direction->output, held(&direction->output));
}

// Writes the output. Returns 1 if all of it is written, 0 if some has to wait or nothing can be
// written any more.
static int32_t flush(struct direction *direction) {
    struct watm_output *output = &direction->output;
    size_t length = held(output);
    if (length == 0) return 1;
    int32_t count = watm_fd_write(direction->to, output->bytes + output->start, length);
    // A write that takes nothing is a refusal, whatever the host calls it.
    if (count == -EAGAIN || count == 0) return 0;
    if (count < 0) {
        // The first failure is the cause.
        if (direction->error < 0) return direction->error;
        break_off(direction, count);
        return 0;
    }
    consume(output, (size_t)count);
    return held(output) == 0;
}

// Notes an error of the codec. What the failed call has added to the output is dropped: it may be
// what a check has just refused.
static void fail(struct direction *direction, int32_t error, size_t before) {
    direction->error = error;
    direction->input.start = direction->input.end = 0;
    direction->output.end = direction->output.start + before;
}

// Lets the codec work on the input, up to about a piece of output. Returns whether it had anything
// to work on.
static bool transform(struct direction *direction) {
    const struct watm_codec *codec = &direction->codec;
    struct watm_output *input = &direction->input, *output = &direction->output;
    if (held(input) == 0 || direction->stalled) return false;
    if (codec->update == NULL) {
        struct watm_output written = *output;
        *output = *input;
        *input = written;
        return true;
    }
    do {
        size_t length = held(input), before = held(output);
        int32_t used = codec->update(codec->state, input->bytes + input->start, length, output);
        if (used > 0 && (size_t)used > length) used = -EOVERFLOW; // the codec cannot count
        if (used < 0) {
            fail(direction, used, before);
            break;
        }
        direction->stalled = used == 0;
        consume(input, (size_t)used);
    } while (held(input) > 0 && !direction->stalled && held(output) < PIECE);
    return true;
}

// Reads one piece. Returns 1 if it has read something, be it the end, and 0 if there is nothing.
static int32_t fill(struct direction *direction) {
    struct watm_output *input = &direction->input;
    if (held(input) > WATM_INPUT_MAX) return -EMSGSIZE;
    uint8_t *room = reserve(input, PIECE);
    if (room == NULL) return -ENOMEM;
    int32_t count = watm_fd_read(direction->from, room, PIECE);
    if (count == -EAGAIN) return 0;
    if (count < 0) return count;
    if (count == 0) direction->ended = true;
    else direction->stalled = false;
    input->end += (size_t)count;
    return 1;
}

// After the end of the input: makes the last of the output.
static void finish(struct direction *direction) {
    const struct watm_codec *codec = &direction->codec;
    direction->finished = true;
    if (direction->stopped) return;
    int32_t result = 0;
    if (held(&direction->input) > 0) result = -EPROTO;
    else if (codec->finish != NULL) result = codec->finish(codec->state, &direction->output);
    // The output was empty.
    if (result < 0) fail(direction, result, 0);
}

// Tells the other side that this direction has ended.
static void tell_end(struct direction *direction) {
    int32_t result = watm_fd_end(direction->to);
    direction->closed = true;
    if (result == -ENOSYS || result == -ENOTSUP || result == -ENOTSOCK) direction->stranded = true;
    else if (result < 0) break_off(direction, result);
}

// Moves what can be moved without waiting, with at most one read.
static int32_t advance(struct direction *direction, bool may_read) {
    while (!direction->closed) {
        int32_t result = flush(direction);
        if (result <= 0) return result;
        if (direction->error < 0) return direction->error;
        if (transform(direction)) continue;
        if (direction->finished) {
            tell_end(direction);
        } else if (direction->ended) {
            finish(direction);
        } else {
            if (!may_read) return 0;
            may_read = false;
            result = fill(direction);
            if (result <= 0) return result;
        }
    }
    return 0;
}

// Lets both directions go on, those that are ready.
static int32_t advance_both(const bool ready[2], bool may_read) {
    for (int i = 0; i < 2; i++) {
        int32_t result = ready[i] ? advance(&directions[i], may_read) : 0;
        if (result < 0) return result;
    }
    // Nobody would learn the end of one direction while the connection lasts. So the other one ends
    // as well, once what it has read is written.
    for (int i = 0; i < 2; i++) {
        struct direction *other = &directions[1 - i];
        if (!directions[i].stranded || other->ended) continue;
        other->stopped = other->ended = true;
        int32_t result = advance(other, false);
        if (result < 0) return result;
    }
    return 0;
}

// ---- The loop ----

// Whether the host has used the control pipe: one byte, or its end. Returns 0 if not.
static int32_t look_at_control(void) {
    uint8_t byte;
    int32_t count = watm_fd_read(control, &byte, 1);
    if (count == -EAGAIN) return 0;
    return count < 0 ? count : -ECANCELED;
}

// Sleeps until a direction can go on, and marks those that can.
static int32_t wait(bool ready[2]) {
    __wasi_subscription_t subscriptions[3];
    __wasi_event_t events[3] = {0};
    size_t count = 0;
    if (control >= 0)
        subscriptions[count++] = subscription(control, __WASI_EVENTTYPE_FD_READ, CONTROL);
    for (int i = 0; i < 2; i++) {
        const struct direction *direction = &directions[i];
        ready[i] = false;
        if (direction->closed) continue;
        bool writes = held(&direction->output) > 0;
        subscriptions[count++] =
            writes ? subscription(direction->to, __WASI_EVENTTYPE_FD_WRITE, (uint64_t)i)
                   : subscription(direction->from, __WASI_EVENTTYPE_FD_READ, (uint64_t)i);
    }
    __wasi_size_t happened = 0;
    int32_t result = poll_for(subscriptions, events, count, &happened);
    for (size_t i = 0; i < happened && result == 0; i++) {
        result = failed(events[i].error);
        if (result == 0 && events[i].userdata == CONTROL) result = look_at_control();
        else if (events[i].userdata < CONTROL) ready[events[i].userdata] = true;
    }
    return result;
}

WATM_EXPORT(watm_start_v1) int32_t watm_start_v1(void);
int32_t watm_start_v1(void) {
    if (!connected) return -ENOTCONN;
    const int32_t fds[3] = {directions[ENCODE].from, directions[ENCODE].to, control};
    for (int i = 0; i < 3; i++) {
        int32_t result = fds[i] >= 0 ? watm_fd_set_nonblocking(fds[i]) : 0;
        if (result < 0) return result;
    }
    announce_polls_for_writing(directions[ENCODE].to, directions[DECODE].to);
    // What the handshake has read is there without being readable.
    bool ready[2] = {true, true}, may_read = false;
    for (;;) {
        int32_t result = advance_both(ready, may_read);
        if (result < 0) return result;
        if (directions[ENCODE].closed && directions[DECODE].closed) break;
        may_read = true;
        result = wait(ready);
        if (result < 0) return result;
    }
    return directions[ENCODE].broken < 0 ? directions[ENCODE].broken : directions[DECODE].broken;
}

// ---- How a connection begins ----

WATM_EXPORT(watm_init_v1) int32_t watm_init_v1(void);
int32_t watm_init_v1(void) {
    if (watm_transport.init == NULL) return 0;
    const uint8_t *config;
    int32_t length = watm_config(&config);
    if (length < 0) return length;
    int32_t result = watm_transport.init(config, (size_t)length);
    return result < 0 ? result : 0;
}

WATM_EXPORT(watm_ctrlpipe_v1) int32_t watm_ctrlpipe_v1(int32_t fd);
int32_t watm_ctrlpipe_v1(int32_t fd) {
    if (fd < 0) return -EBADF;
    control = fd;
    return 0;
}

// Does the handshake and keeps the connection. Returns the descriptor of the network.
static int32_t begin(int32_t source, int32_t network,
                     int32_t (*handshake)(struct watm_stream *, struct watm_connection *)) {
    if (network < 0) return network;
    struct watm_stream stream = {.fd = network};
    struct watm_connection connection = {0};
    int32_t result = handshake(&stream, &connection);
    if (result < 0) return result;
    directions[ENCODE] = (struct direction){
        .from = source,
        .to = network,
        .codec = connection.encode,
    };
    directions[DECODE] = (struct direction){
        .from = network,
        .to = source,
        .codec = connection.decode,
        .input = stream.unread,
        .ended = stream.ended,
    };
    connected = true;
    return network;
}

int32_t watm_role_dial(int32_t internal) {
    if (watm_transport.dial == NULL) return -ENOSYS;
    return begin(internal, water_dial_fixed(), watm_transport.dial);
}

int32_t watm_role_dial_fixed(int32_t internal) {
    if (watm_transport.address == NULL || watm_transport.dial == NULL) return -ENOSYS;
    const char *network = "tcp", *address = "";
    int32_t result = watm_transport.address(&network, &address);
    if (result < 0) return result;
    return begin(internal, watm_dial_address(network, address), watm_transport.dial);
}

int32_t watm_role_accept(int32_t internal) {
    if (watm_transport.accept == NULL) return -ENOSYS;
    return begin(internal, water_accept(), watm_transport.accept);
}

int32_t watm_role_associate(void) {
    if (watm_transport.dial == NULL) return -ENOSYS;
    int32_t source = water_accept();
    if (source < 0) return source;
    int32_t result = begin(source, water_dial_fixed(), watm_transport.dial);
    return result < 0 ? result : 0;
}

#endif
