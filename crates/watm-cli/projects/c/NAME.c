// A transport: how a connection begins, and what happens to its bytes.
//
// This one combines each direction with a repeating key, the configuration. That hides bytes from
// those who do not look closely, and from nobody else: put your own protocol in its place.
//
// Where to go on:
//
// - `init` reads the configuration: the file that --config names, as a whole.
// - `begin` is the handshake. It may call watm_read_exactly and watm_write on the network, and
//   blocks meanwhile. Give `dial` and `accept` a function each if the two sides differ.
// - `xor` is a codec. It may take a part of its input, such as whole frames, and return how much it
//   has taken: the rest comes again with more behind it. `finish` is for the end of the stream.
// - watm/examples/framed.c has a handshake, frames, and an end that no cut looks like.
//   watm/watm.h describes everything.
#include "watm.h"

static const uint8_t *key;
static size_t key_length;

// Called once. An error refuses the configuration.
static int32_t init(const uint8_t *config, size_t length) {
    if (length == 0) {
        watm_log("a key is needed: the configuration");
        return -EINVAL;
    }
    key = config;
    key_length = length;
    return 0;
}

// Combines the input with the key. `state` is the position of this direction in the key.
static int32_t xor(void *state, const uint8_t *input, size_t length, struct watm_output *output) {
    size_t *position = state;
    uint8_t *made = watm_output(output, length);
    if (made == NULL) return -ENOMEM;
    for (size_t i = 0; i < length; i++) {
        made[i] = input[i] ^ key[*position];
        *position = (*position + 1) % key_length;
    }
    return (int32_t)length;
}

// The handshake, here without a word, and the choice of the codecs. An instance of the module
// serves one connection, so that its state may be static.
static int32_t begin(struct watm_stream *network, struct watm_connection *connection) {
    static size_t sent, received;
    (void)network;
    connection->encode = (struct watm_codec){.update = xor, .state = &sent};     // to the network
    connection->decode = (struct watm_codec){.update = xor, .state = &received}; // from it
    return 0;
}

const struct watm_transport watm_transport = {.init = init, .dial = begin, .accept = begin};

// The roles of the module: what a host can do with it.
WATM_DIALER;
WATM_LISTENER;
WATM_RELAY;
