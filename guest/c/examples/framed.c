// framed: a greeting from both sides, then frames with a 2-byte length. A frame of no bytes is the
// last one, so that a stream that was cut never looks like one that has ended, also not between two
// frames. The configuration is the address of the fixed dialer, "host:port", if there is one.
#include "watm.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define HEAD 2
#define FRAME_MAX 16384

static const char DIALLED[] = "framed 1, dialled\n";
static const char ACCEPTED[] = "framed 1, accepted\n";

static int32_t add_frame(const uint8_t *bytes, size_t length, struct watm_output *output) {
    uint8_t *frame = watm_output(output, HEAD + length);
    if (frame == NULL) return -ENOMEM;
    frame[0] = (uint8_t)(length >> 8);
    frame[1] = (uint8_t)length;
    if (length > 0) memcpy(frame + HEAD, bytes, length);
    return (int32_t)length;
}

static int32_t encode(void *state, const uint8_t *input, size_t length,
                      struct watm_output *output) {
    (void)state;
    return add_frame(input, length < FRAME_MAX ? length : FRAME_MAX, output);
}

static int32_t end_encoding(void *state, struct watm_output *output) {
    (void)state;
    return add_frame(NULL, 0, output);
}

static int32_t decode(void *state, const uint8_t *input, size_t length,
                      struct watm_output *output) {
    bool *ended = state;
    if (*ended) return -EPROTO; // bytes behind the last frame
    if (length < HEAD) return 0;
    size_t size = (size_t)input[0] << 8 | input[1];
    if (size > FRAME_MAX) return -EPROTO;
    if (length - HEAD < size) return 0;
    *ended = size == 0;
    if (watm_output_copy(output, input + HEAD, size) < 0) return -ENOMEM;
    return (int32_t)(HEAD + size);
}

static int32_t end_decoding(void *state, struct watm_output *output) {
    const bool *ended = state;
    (void)output;
    return *ended ? 0 : -EPROTO;
}

static int32_t expect(struct watm_stream *network, const char *greeting, size_t length) {
    char received[sizeof ACCEPTED];
    int32_t result = watm_read_exactly(network, received, length);
    if (result < 0) return result;
    if (memcmp(received, greeting, length) == 0) return 0;
    watm_log("framed: the peer does not speak this protocol");
    return -EPROTO;
}

static void set_codecs(struct watm_connection *connection) {
    static bool ended;
    connection->encode = (struct watm_codec){.update = encode, .finish = end_encoding};
    connection->decode =
        (struct watm_codec){.update = decode, .finish = end_decoding, .state = &ended};
}

static int32_t dial(struct watm_stream *network, struct watm_connection *connection) {
    int32_t result = watm_write(network, DIALLED, strlen(DIALLED));
    if (result == 0) result = expect(network, ACCEPTED, strlen(ACCEPTED));
    set_codecs(connection);
    return result;
}

static int32_t accept(struct watm_stream *network, struct watm_connection *connection) {
    int32_t result = expect(network, DIALLED, strlen(DIALLED));
    if (result == 0) result = watm_write(network, ACCEPTED, strlen(ACCEPTED));
    set_codecs(connection);
    return result;
}

static char *server;

static int32_t init(const uint8_t *config, size_t length) {
    if (config == NULL) return 0;
    server = malloc(length + 1);
    if (server == NULL) return -ENOMEM;
    memcpy(server, config, length);
    server[length] = '\0';
    server[strcspn(server, "\r\n")] = '\0';
    return 0;
}

static int32_t address(const char **network, const char **address) {
    (void)network; // "tcp"
    if (server == NULL) return -EINVAL;
    *address = server;
    return 0;
}

const struct watm_transport watm_transport = {
    .init = init,
    .dial = dial,
    .accept = accept,
    .address = address,
};
WATM_DIALER;
WATM_FIXED_DIALER;
WATM_LISTENER;
WATM_RELAY;
